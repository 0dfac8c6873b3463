/* libdunlin's writes against a daemon that forgets, refuses, dies and lies (agent_fake.h). */
#include "engine/agent/agent.h"
#include "tests/unit/engine/agent_fake.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <unistd.h>

/* Keys "a".. lie in this shard of the fake's space, found by asking where they went. */
static uint32_t shard_of(struct dunlin *d)
{
    struct dunlin_write_id id;
    CU_ASSERT_EQUAL_FATAL(dunlin_last_write(d, &id), 0);
    return id.shard;
}

static int put(struct dunlin_space *s, const char *key, const char *value,
               struct dunlin_version *version)
{
    return dunlin_put(s, key, strlen(key), value, strlen(value), version);
}

static int submit(struct dunlin_space *s, const char *key, const char *value, uint64_t context)
{
    const struct dunlin_write w = {.operation = DUNLIN_PUT,
                                   .key = key,
                                   .key_length = strlen(key),
                                   .value = value,
                                   .value_length = strlen(value),
                                   .context = context};
    return dunlin_submit(s, &w);
}

static int get(struct dunlin_space *s, const char *key, char *value, size_t capacity)
{
    struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
    memset(value, 0, capacity);
    return dunlin_get(s, key, strlen(key), value, capacity - 1, &read);
}

/* Poll until count completions came, at most two seconds without any. */
static size_t poll_all(struct dunlin *d, struct dunlin_completion *c, size_t count)
{
    size_t got = 0;
    while (got < count) {
        size_t n = dunlin_poll(d, c + got, count - got, 2 * NS_PER_S);
        if (n == 0)
            break;
        got += n;
    }
    return got;
}

static void set_frozen(struct fake *f, bool frozen)
{
    fake_lock(f);
    f->frozen = frozen;
    fake_unlock(f);
}

static void set_withhold(struct fake *f, bool withhold)
{
    fake_lock(f);
    f->withhold = withhold;
    fake_unlock(f);
}

#define SHORT_MS 500 /* for calls that are to time out; ample for those that are not */
#define LOOK_US 2000 /* longer than libdunlin goes without a look at the socket */

/* Wait until the fake has seen so many requests; the other thread does the work. */
static void wait_requests(struct fake *f, uint32_t count)
{
    for (unsigned i = 0; i < 5000; i++) {
        if (fake_read(f, &f->requests) >= count)
            return;
        (void)usleep(1000);
    }
    CU_FAIL("the fake never saw the requests");
}

static void an_answer_carries_version_and_condition(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, 2000, &s);
    struct dunlin_version first, second, met;
    char value[16];
    CU_ASSERT_EQUAL(put(s, "k", "one", &first), 0);
    CU_ASSERT_EQUAL(first.log, 100 + shard_of(d));
    CU_ASSERT_EQUAL(dunlin_put_if(s, "k", 1, "two", 3, first.lsn, &second), 0);
    CU_ASSERT_TRUE(second.lsn > first.lsn);
    CU_ASSERT_EQUAL(dunlin_put_if(s, "k", 1, "x", 1, first.lsn, &met), -ECANCELED);
    CU_ASSERT_EQUAL(met.lsn, second.lsn);
    CU_ASSERT_EQUAL(dunlin_put_if(s, "k", 1, "x", 1, 0, &met), -ECANCELED);
    CU_ASSERT_EQUAL(get(s, "k", value, sizeof value), 0);
    CU_ASSERT_STRING_EQUAL(value, "two");
    CU_ASSERT_EQUAL(dunlin_delete_if(s, "k", 1, first.lsn, NULL), -ECANCELED);
    CU_ASSERT_EQUAL(dunlin_delete(s, "k", 1, NULL), 0);
    CU_ASSERT_EQUAL(dunlin_delete(s, "k", 1, NULL), -ENOENT);
    CU_ASSERT_EQUAL(get(s, "k", value, sizeof value), -ENOENT);
    CU_ASSERT_EQUAL(dunlin_put_if(s, "k", 1, "x", 1, 0, NULL), 0);
    CU_ASSERT_EQUAL(fake_read(f, &f->session_opens), 1);
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
}

static void bad_arguments_are_named_and_not_sent(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, 2000, &s);
    char long_key[DUNLIN_KEY_MAX + 1];
    struct dunlin_write_id id;
    memset(long_key, 'k', sizeof long_key);
    CU_ASSERT_EQUAL(dunlin_put(s, "", 0, "v", 1, NULL), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_put(s, NULL, 1, "v", 1, NULL), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_put(NULL, "k", 1, "v", 1, NULL), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, NULL, 1, NULL), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_put(s, long_key, sizeof long_key, "v", 1, NULL), -EMSGSIZE);
    CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, long_key, FAKE_VALUE_MAX + 1, NULL), -EMSGSIZE);
    CU_ASSERT_EQUAL(dunlin_submit(s, NULL), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_submit(s, &(struct dunlin_write){.key = "k", .key_length = 1}), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_last_write(d, &id), -ENOENT);
    CU_ASSERT_EQUAL(fake_read(f, &f->requests), 0);
    CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, NULL, 0, NULL), 0); /* an empty value is one */
    CU_ASSERT_EQUAL(dunlin_put(s, long_key, DUNLIN_KEY_MAX, "v", 1, NULL), 0);
    dunlin_close(d);
    fake_free(f);
}

static void asynchronous_writes_keep_their_order_and_the_window(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, 2000, &s);
    struct dunlin_completion c[LIMIT_SESSION_WINDOW];
    set_frozen(f, true);
    for (uint64_t i = 0; i < LIMIT_SESSION_WINDOW; i++)
        CU_ASSERT_EQUAL(submit(s, "k", "v", i), 0);
    CU_ASSERT_EQUAL(submit(s, "k", "v", 99), -EAGAIN);
    CU_ASSERT_EQUAL(dunlin_in_flight(d), LIMIT_SESSION_WINDOW);
    CU_ASSERT_EQUAL(dunlin_poll(d, c, 1, 0), 0);
    set_frozen(f, false);
    CU_ASSERT_EQUAL(poll_all(d, c, LIMIT_SESSION_WINDOW), LIMIT_SESSION_WINDOW);
    for (uint64_t i = 0; i < LIMIT_SESSION_WINDOW; i++) {
        CU_ASSERT_EQUAL(c[i].context, i);
        CU_ASSERT_EQUAL(c[i].result, 0);
        CU_ASSERT_PTR_EQUAL(c[i].space, s);
    }
    CU_ASSERT_EQUAL(dunlin_in_flight(d), 0);
    CU_ASSERT_EQUAL(dunlin_poll(d, c, 1, NS_PER_S), 0); /* nothing to wait for */
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
}

/* More than any ring or copy buffer holds, over all shards: -EAGAIN now and then, nothing lost. */
static void many_writes_pass_a_small_ring(void)
{
    enum { COUNT = 20000 };
    struct fake *f = fake_make(2);
    const struct dunlin_options options = {
        .socket = f->path, .request_bytes = LIMIT_RING_BYTES_MIN, .completion_bytes = 1u << 16};
    struct dunlin_space *s;
    struct dunlin *d;
    CU_ASSERT_EQUAL_FATAL(dunlin_open(&options, &d), 0);
    CU_ASSERT_EQUAL_FATAL(dunlin_space(d, "fake", &s), 0);
    unsigned sent = 0, done = 0, full = 0;
    while (done < COUNT) {
        struct dunlin_completion c[16];
        char key[16];
        (void)snprintf(key, sizeof key, "key-%u", sent % 100);
        int error = sent < COUNT ? submit(s, key, "value", sent) : -EAGAIN;
        sent += error == 0;
        if (error == 0)
            continue;
        CU_ASSERT_EQUAL_FATAL(error, -EAGAIN);
        full++;
        size_t n = dunlin_poll(d, c, 16, 2 * NS_PER_S);
        CU_ASSERT_TRUE_FATAL(n != 0);
        for (size_t i = 0; i < n; i++)
            CU_ASSERT_EQUAL_FATAL(c[i].result, 0);
        done += (unsigned)n;
    }
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), COUNT);
    CU_ASSERT_TRUE(full > 10);
    CU_ASSERT_EQUAL(fake_read(f, &f->session_opens), FAKE_SHARDS);
    dunlin_close(d);
    fake_free(f);
}

/* The daemon forgot the idle session: nobody needs to know. */
static void a_forgotten_session_is_replaced_unnoticed(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, 2000, &s);
    struct dunlin_completion c[8];
    struct dunlin_write_id before, after;
    CU_ASSERT_EQUAL(put(s, "k", "before", NULL), 0);
    CU_ASSERT_EQUAL(dunlin_last_write(d, &before), 0);
    fake_lock(f);
    f->sessions[0].lsn++; /* no session of that name and place any more */
    memset(f->sessions[0].id, 0, 16);
    fake_unlock(f);
    for (uint64_t i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(submit(s, "k", "after", i), 0);
    CU_ASSERT_EQUAL(poll_all(d, c, 8), 8);
    for (uint64_t i = 0; i < 8; i++) {
        CU_ASSERT_EQUAL(c[i].result, 0);
        CU_ASSERT_EQUAL(c[i].context, i);
    }
    CU_ASSERT_EQUAL(dunlin_last_write(d, &after), 0);
    CU_ASSERT_TRUE(memcmp(before.session, after.session, 16) != 0);
    CU_ASSERT_EQUAL(after.sequence, 8);
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 9);
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
}

/* One of several in flight is refused for good: those behind it get its number, and none is lost.
 */
static void a_refused_write_leaves_no_gap(void)
{
    static const struct {
        uint32_t status;
        int error;
    } cases[] = {{RING_QUOTA, -EDQUOT},
                 {RING_ACCESS, -EACCES},
                 {RING_TOO_LARGE, -EMSGSIZE},
                 {RING_UNAVAILABLE, -ENOTCONN},
                 {RING_INPUT, -EPROTO}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake *f = fake_make(1);
        struct dunlin_space *s;
        struct dunlin *d = fake_attach(f, 2000, &s);
        struct dunlin_completion c[8];
        CU_ASSERT_EQUAL(put(s, "k", "v", NULL), 0);
        fake_lock(f);
        f->refuse_status = cases[i].status;
        f->refuse_after = 2;
        f->refuse_count = 1;
        f->frozen = true;
        fake_unlock(f);
        for (uint64_t j = 0; j < 8; j++)
            CU_ASSERT_EQUAL(submit(s, "k", "v", j), 0);
        set_frozen(f, false);
        CU_ASSERT_EQUAL(poll_all(d, c, 8), 8);
        for (unsigned j = 0; j < 8; j++)
            CU_ASSERT_EQUAL(c[j].result, c[j].context == 2 ? cases[i].error : 0);
        CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 8);
        CU_ASSERT_EQUAL(fake_read(f, &f->session_opens), 1); /* the same session goes on */
        CU_ASSERT_TRUE(fake_applied_once(f));
        CU_ASSERT_EQUAL(put(s, "k", "v", NULL), 0);
        dunlin_close(d);
        fake_free(f);
    }
}

static void too_many_sessions_are_named(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, 2000, &s);
    fake_lock(f);
    f->sessions_max = 0;
    fake_unlock(f);
    CU_ASSERT_EQUAL(put(s, "k", "v", NULL), -EUSERS);
    fake_lock(f);
    f->sessions_max = 1;
    fake_unlock(f);
    CU_ASSERT_EQUAL(put(s, "k", "v", NULL), 0);
    dunlin_close(d);
    fake_free(f);
}

static void a_space_that_may_not_be_written_refuses(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    f->writable = false;
    struct dunlin *d = fake_attach(f, 2000, &s);
    CU_ASSERT_EQUAL(put(s, "k", "v", NULL), -EACCES);
    CU_ASSERT_EQUAL(submit(s, "k", "v", 0), -EACCES);
    CU_ASSERT_EQUAL(fake_read(f, &f->requests), 0);
    dunlin_close(d);
    fake_free(f);
}

/* ---- the daemon dies ---- */

/* It applied them, told nobody, and lost its memory: nobody can say.
 * The first case is the harder one: a session opened anew under the old name would take the writes.
 */
static void writes_sent_to_a_daemon_that_lost_its_memory_are_of_unknown_fate(void)
{
    for (uint32_t before = 0; before < 2; before++) {
        struct fake *f = fake_make(1);
        struct dunlin_space *s;
        struct dunlin *d = fake_attach(f, 2000, &s);
        struct dunlin_completion c[4];
        struct dunlin_info info;
        if (before != 0)
            CU_ASSERT_EQUAL(put(s, "k", "v", NULL), 0);
        set_withhold(f, true);
        for (uint64_t i = 0; i < 4; i++)
            CU_ASSERT_EQUAL(submit(s, "k", "v", i), 0);
        while (fake_read(f, &f->applied_count) != 4 + before)
            CU_ASSERT_EQUAL(dunlin_poll(d, c, 4, NS_PER_MS), 0);
        fake_kill(f);
        f->withhold = false;
        fake_restart(f);
        CU_ASSERT_EQUAL(poll_all(d, c, 4), 4);
        for (uint64_t i = 0; i < 4; i++) {
            CU_ASSERT_EQUAL(c[i].context, i);
            CU_ASSERT_EQUAL(c[i].result, -EOWNERDEAD);
        }
        CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 4 + before); /* and not once more */
        CU_ASSERT_EQUAL(put(s, "k", "after", NULL), 0);
        CU_ASSERT_TRUE(fake_applied_once(f));
        dunlin_info(d, &info);
        CU_ASSERT_EQUAL(info.attached_count, 2);
        CU_ASSERT_EQUAL(info.start, f->start);
        dunlin_close(d);
        fake_free(f);
    }
}

/* The connection went, the daemon did not: the same names again, each applied once. */
static void writes_are_sent_again_under_their_names(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, 2000, &s);
    struct dunlin_completion c[10];
    CU_ASSERT_EQUAL(put(s, "applied", "v", NULL), 0);
    set_withhold(f, true);
    for (uint64_t i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(submit(s, "applied", "v", i), 0);
    wait_requests(f, 7);
    set_frozen(f, true);
    for (uint64_t i = 5; i < 10; i++)
        CU_ASSERT_EQUAL(submit(s, "applied", "v", i), 0); /* these lie in the old ring only */
    fake_hang_up(f);
    fake_lock(f);
    f->frozen = f->withhold = false;
    fake_unlock(f);
    CU_ASSERT_EQUAL(poll_all(d, c, 10), 10);
    for (uint64_t i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(c[i].context, i);
        CU_ASSERT_EQUAL(c[i].result, 0);
    }
    CU_ASSERT_EQUAL(fake_applied_key(f, "applied"), 11);
    CU_ASSERT_EQUAL(fake_read(f, &f->session_opens), 1); /* the daemon knows it still */
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
}

static void a_synchronous_write_outlives_the_daemon(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, 5000, &s);
    CU_ASSERT_EQUAL(put(s, "k", "v", NULL), 0);
    fake_kill(f);
    fake_restart(f);
    (void)usleep(LOOK_US);
    CU_ASSERT_EQUAL(put(s, "k", "again", NULL), 0); /* not sent to the dead one */
    fake_hang_up(f);
    CU_ASSERT_EQUAL(put(s, "k", "again", NULL), 0);
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
}

static void without_a_daemon_nothing_is_sent(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, SHORT_MS, &s);
    char value[8];
    CU_ASSERT_EQUAL(put(s, "k", "v", NULL), 0);
    fake_kill(f);
    (void)usleep(LOOK_US);
    CU_ASSERT_EQUAL(get(s, "k", value, sizeof value), -ENOTCONN);
    CU_ASSERT_EQUAL(submit(s, "k", "v", 0), -ENOTCONN);
    CU_ASSERT_EQUAL(put(s, "k", "v", NULL), -ENOTCONN);
    CU_ASSERT_EQUAL(dunlin_ping(d, 0), -ENOTCONN);
    CU_ASSERT_EQUAL(dunlin_in_flight(d), 0);
    fake_restart(f);
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 1);
    dunlin_close(d);
    fake_free(f);
}

static void a_daemon_that_stays_away_ends_the_waiting(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, SHORT_MS, &s);
    struct dunlin_completion c[2];
    set_frozen(f, true);
    CU_ASSERT_EQUAL(submit(s, "k", "v", 0), 0); /* waits for its session: never sent */
    fake_kill(f);
    CU_ASSERT_EQUAL(poll_all(d, c, 1), 1);
    CU_ASSERT_EQUAL(c[0].result, -ENOTCONN);
    f->frozen = false;
    fake_restart(f);
    (void)usleep(110 * 1000);
    CU_ASSERT_EQUAL(put(s, "k", "v", NULL), 0);
    set_withhold(f, true);
    CU_ASSERT_EQUAL(submit(s, "k", "v", 1), 0);
    fake_kill(f);
    CU_ASSERT_EQUAL(poll_all(d, c, 1), 1);
    CU_ASSERT_EQUAL(c[0].result, -EOWNERDEAD);
    CU_ASSERT_EQUAL(c[0].context, 1);
    f->withhold = false;
    fake_restart(f);
    (void)usleep(110 * 1000);
    CU_ASSERT_EQUAL(put(s, "k", "v", NULL), 0);
    set_withhold(f, true);
    CU_ASSERT_EQUAL(submit(s, "k", "v", 2), 0);
    fake_kill(f);
    size_t got = 0;
    for (unsigned i = 0; i < 5000 && got == 0; i++) { /* without ever waiting */
        got = dunlin_poll(d, c, 1, 0);
        (void)usleep(i % 64 == 0 ? 1000 : 100);
    }
    CU_ASSERT_EQUAL(got, 1);
    CU_ASSERT_EQUAL(c[0].result, -EOWNERDEAD);
    f->withhold = false;
    fake_restart(f);
    dunlin_close(d);
    fake_free(f);
}

/* ---- nobody answers in time ---- */

static void a_write_that_times_out_can_be_repeated_under_its_name(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, SHORT_MS, &s);
    struct dunlin_write_id id;
    struct dunlin_version version;
    const struct dunlin_write w = {
        .operation = DUNLIN_PUT, .key = "k", .key_length = 1, .value = "v", .value_length = 1};
    CU_ASSERT_EQUAL(put(s, "k", "v", NULL), 0);
    set_withhold(f, true);
    CU_ASSERT_EQUAL(put(s, "k", "v", NULL), -EOWNERDEAD);
    CU_ASSERT_EQUAL(dunlin_last_write(d, &id), 0);
    CU_ASSERT_EQUAL(id.sequence, 2);
    set_withhold(f, false);
    CU_ASSERT_EQUAL(dunlin_retry(s, &id, &w, &version), 0);
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 2);
    CU_ASSERT_EQUAL(version.lsn >> 32, f->start);
    CU_ASSERT_EQUAL(put(s, "k", "v", NULL), 0);
    dunlin_close(d);
    d = fake_attach(f, SHORT_MS, &s); /* another process, the same user */
    CU_ASSERT_EQUAL(dunlin_retry(s, &id, &w, &version), 0);
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 3);
    id.sequence = 9;
    CU_ASSERT_EQUAL(dunlin_retry(s, &id, &w, &version), -EOWNERDEAD);
    id.session[0] ^= 1;
    id.sequence = 1;
    uint32_t sessions = fake_read(f, &f->session_count);
    CU_ASSERT_EQUAL(dunlin_retry(s, &id, &w, &version), -EOWNERDEAD);
    CU_ASSERT_EQUAL(fake_read(f, &f->session_count),
                    sessions); /* a session that is not there is not made */
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 3);
    id.shard = (id.shard + 1) % FAKE_SHARDS;
    CU_ASSERT_EQUAL(dunlin_retry(s, &id, &w, &version), -EINVAL);
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
}

/* Writes behind one that timed out: the daemon thaws, everything goes on under the same session. */
static void a_frozen_daemon_thaws(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, SHORT_MS, &s);
    char value[8];
    CU_ASSERT_EQUAL(put(s, "k", "v", NULL), 0);
    set_frozen(f, true);
    CU_ASSERT_EQUAL(put(s, "k", "late", NULL), -EOWNERDEAD);
    CU_ASSERT_EQUAL(get(s, "k", value, sizeof value), -ENOTCONN);
    CU_ASSERT_EQUAL(get(s, "k", value, sizeof value), -ENOTCONN);
    CU_ASSERT_EQUAL(submit(s, "k", "last", 5), 0);
    set_frozen(f, false);
    struct dunlin_completion c;
    CU_ASSERT_EQUAL(poll_all(d, &c, 1), 1);
    CU_ASSERT_EQUAL(c.result, 0);
    CU_ASSERT_EQUAL(get(s, "k", value, sizeof value), 0);
    CU_ASSERT_STRING_EQUAL(value, "last");
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 3);
    CU_ASSERT_EQUAL(fake_read(f, &f->session_opens), 1);
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
}

/* Never sent, because even the session's opening was not answered: it can be taken back. */
static void an_unsent_write_is_taken_back(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, SHORT_MS, &s);
    set_frozen(f, true);
    CU_ASSERT_EQUAL(put(s, "gone", "v", NULL), -ENOTCONN);
    set_frozen(f, false);
    CU_ASSERT_EQUAL(put(s, "gone", "v", NULL), 0);
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 1);
    dunlin_close(d);
    fake_free(f);
}

/* False: not every close was answered in time. */
static bool a_close_forgets(void)
{
    struct fake *f = fake_make(2);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, SHORT_MS, &s);
    for (char key = 'a'; key <= 'p'; key++)
        CU_ASSERT_EQUAL(dunlin_put(s, &key, 1, "v", 1, NULL), 0);
    CU_ASSERT_EQUAL(fake_read(f, &f->session_opens), FAKE_SHARDS);
    set_withhold(f, true);
    CU_ASSERT_EQUAL(put(s, "a", "v", NULL), -EOWNERDEAD);
    set_withhold(f, false);
    dunlin_close(d);
    const uint32_t closes = fake_read(f, &f->session_closes);
    CU_ASSERT(closes <= FAKE_SHARDS - 1);
    if (closes == FAKE_SHARDS - 1) {
        set_frozen(f, true);
        d = fake_attach(f, SHORT_MS, &s);
        dunlin_close(d); /* nothing to close, and nobody to wait for */
        CU_ASSERT_EQUAL(fake_read(f, &f->session_closes), FAKE_SHARDS - 1);
    }
    fake_free(f);
    return closes == FAKE_SHARDS - 1;
}

/* Programs that come and go leave no session behind, but for one that somebody may ask for.  Why several times: a
 * handle that is closed waits only for a moment (AGENT_CLOSE_NS), in which a busy machine may not answer. */
static void closing_forgets_what_nobody_can_ask_for(void)
{
    bool forgot = false;
    for (uint32_t tries = 0; tries < 10 && !forgot; tries++)
        forgot = a_close_forgets();
    CU_ASSERT_TRUE(forgot);
}

/* ---- large values, several lcores, forged completions ---- */

static void large_values_go_through_the_bulk_buffer(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, 2000, &s);
    static char value[FAKE_VALUE_MAX];
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (char)(i * 31 >> 3);
    const size_t lengths[] = {1, 16000, 16384, 70001, FAKE_VALUE_MAX};
    for (size_t i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, value, lengths[i], NULL), 0);
        CU_ASSERT_TRUE(fake_last_value_is(f, value, lengths[i]));
    }
    /* and again after the connection went: from the new bulk buffer */
    set_frozen(f, true);
    const struct dunlin_write w = {.operation = DUNLIN_PUT,
                                   .key = "k",
                                   .key_length = 1,
                                   .value = value + 1,
                                   .value_length = 100000};
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(dunlin_submit(s, &w), 0);
    fake_hang_up(f);
    set_frozen(f, false);
    struct dunlin_completion c[3];
    CU_ASSERT_EQUAL(poll_all(d, c, 3), 3);
    CU_ASSERT_EQUAL(c[2].result, 0);
    CU_ASSERT_TRUE(fake_last_value_is(f, value + 1, 100000));
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
}

static void a_value_beyond_the_bulk_buffer_is_named(void)
{
    struct fake *f = fake_make(1);
    f->bulk_bytes = 64u << 10;
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, 2000, &s);
    static char value[100000];
    CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, value, sizeof value, NULL), -EMSGSIZE);
    CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, value, 60000, NULL), 0);
    dunlin_close(d);
    fake_free(f);
}

/* What had gone over already gives its room back. */
static void a_new_daemon_with_less_room_gives_up_what_does_not_fit(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, 2000, &s);
    static char value[250000];
    struct dunlin_completion c[3];
    const struct dunlin_write w = {.operation = DUNLIN_PUT,
                                   .key = "k",
                                   .key_length = 1,
                                   .value = value,
                                   .value_length = 100000};
    CU_ASSERT_EQUAL(put(s, "k", "v", NULL), 0);
    set_frozen(f, true);
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(dunlin_submit(s, &w), 0);
    fake_lock(f);
    f->bulk_bytes = 256u << 10; /* two of them fit */
    fake_unlock(f);
    fake_hang_up(f);
    set_frozen(f, false);
    CU_ASSERT_EQUAL(poll_all(d, c, 3), 3);
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(c[i].result, -EOWNERDEAD);
    CU_ASSERT_EQUAL(d->now->bulk_pieces.count, 0);
    CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, value, sizeof value, NULL), 0);
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
}

static void several_lcores_are_waited_for_together(void)
{
    struct fake *f = fake_make(4);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, 2000, &s);
    bool seen[200] = {false};
    for (unsigned round = 0; round < 20; round++) {
        struct dunlin_completion c[10];
        for (unsigned i = 0; i < 10; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "key-%u", i);
            CU_ASSERT_EQUAL(submit(s, key, "v", round * 10 + i), 0);
        }
        CU_ASSERT_EQUAL_FATAL(poll_all(d, c, 10), 10);
        for (unsigned i = 0; i < 10; i++) {
            CU_ASSERT_EQUAL(c[i].result, 0);
            seen[c[i].context] = true;
        }
    }
    for (unsigned i = 0; i < 200; i++)
        CU_ASSERT_TRUE(seen[i]);
    for (uint32_t l = 0; l < 4; l++)
        CU_ASSERT_EQUAL(dunlin_ping(d, l), 0);
    CU_ASSERT_EQUAL(dunlin_ping(d, 4), -EINVAL);
    dunlin_close(d);
    fake_free(f);
}

/* A completion for nobody: the ring is not to be trusted, a new attachment is. */
static void a_forged_completion_ends_the_attachment_only(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, 2000, &s);
    struct dunlin_info info;
    CU_ASSERT_EQUAL(put(s, "k", "v", NULL), 0);
    fake_lock(f);
    f->forge_tag = true;
    fake_unlock(f);
    CU_ASSERT_EQUAL(put(s, "k", "w", NULL), 0);
    dunlin_info(d, &info);
    CU_ASSERT_EQUAL(info.attached_count, 2);
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 2);
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(an_answer_carries_version_and_condition),
    UNIT_TEST(bad_arguments_are_named_and_not_sent),
    UNIT_TEST(asynchronous_writes_keep_their_order_and_the_window),
    UNIT_TEST(many_writes_pass_a_small_ring),
    UNIT_TEST(a_forgotten_session_is_replaced_unnoticed),
    UNIT_TEST(a_refused_write_leaves_no_gap),
    UNIT_TEST(too_many_sessions_are_named),
    UNIT_TEST(a_space_that_may_not_be_written_refuses),
    UNIT_TEST(writes_sent_to_a_daemon_that_lost_its_memory_are_of_unknown_fate),
    UNIT_TEST(writes_are_sent_again_under_their_names),
    UNIT_TEST(a_synchronous_write_outlives_the_daemon),
    UNIT_TEST(without_a_daemon_nothing_is_sent),
    UNIT_TEST(a_daemon_that_stays_away_ends_the_waiting),
    UNIT_TEST(a_write_that_times_out_can_be_repeated_under_its_name),
    UNIT_TEST(a_frozen_daemon_thaws),
    UNIT_TEST(an_unsent_write_is_taken_back),
    UNIT_TEST(closing_forgets_what_nobody_can_ask_for),
    UNIT_TEST(large_values_go_through_the_bulk_buffer),
    UNIT_TEST(a_value_beyond_the_bulk_buffer_is_named),
    UNIT_TEST(a_new_daemon_with_less_room_gives_up_what_does_not_fit),
    UNIT_TEST(several_lcores_are_waited_for_together),
    UNIT_TEST(a_forged_completion_ends_the_attachment_only),
};
UNIT_MAIN("agent_write", tests)
