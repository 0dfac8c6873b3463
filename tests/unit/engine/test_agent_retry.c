/* libdunlin at a node that does not lead the shard for a while, or whose record was cut: the same again
 * under the same sequence, until the call's time is up (agent_fake.h plays the daemon). */
#include "engine/agent/agent.h"
#include "engine/clock.h"
#include "tests/unit/engine/agent_fake.h"
#include "tests/unit/unit.h"

#include <unistd.h>

#define SHORT_MS 1000 /* for calls that are to time out, and for what stands between them */
#define LONG_MS 5000  /* for those that are not */

static int put(struct dunlin_space *s, const char *key, const char *value)
{
    return dunlin_put(s, key, strlen(key), value, strlen(value), NULL);
}

static int submit(struct dunlin_space *s, const char *key, uint64_t context)
{
    const struct dunlin_write w = {.operation = DUNLIN_PUT,
                                   .key = key,
                                   .key_length = strlen(key),
                                   .value = "v",
                                   .value_length = 1,
                                   .context = context};
    return dunlin_submit(s, &w);
}

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

static void set_not_led(struct fake *f, bool not_led)
{
    fake_lock(f);
    f->not_led = not_led;
    fake_unlock(f);
}

/* The next count writes behind the after next ones: cut: they were appended and taken back. */
static void refuse(struct fake *f, uint32_t after, uint32_t count, bool cut)
{
    fake_lock(f);
    f->refuse_status = RING_RETRY;
    f->refuse_after = after;
    f->refuse_count = count;
    f->refuse_cut = cut;
    fake_unlock(f);
}

static uint64_t ended_not_led(const struct dunlin *d)
{
    struct dunlin_info info;
    dunlin_info(d, &info);
    return info.ended_not_led;
}

static void refused_then_accepted(void)
{
    for (int cut = 0; cut <= 1; cut++) {
        struct fake *f = fake_make(1);
        struct dunlin_space *s;
        struct dunlin *d = fake_attach(f, LONG_MS, &s);
        struct dunlin_write_id before, after;
        CU_ASSERT_EQUAL(put(s, "k", "first"), 0);
        CU_ASSERT_EQUAL(dunlin_last_write(d, &before), 0);
        refuse(f, 0, 3, cut != 0);
        CU_ASSERT_EQUAL(put(s, "k", "second"), 0);
        CU_ASSERT_EQUAL(dunlin_last_write(d, &after), 0);
        CU_ASSERT_EQUAL(memcmp(before.session, after.session, 16), 0);
        CU_ASSERT_EQUAL(after.sequence, before.sequence + 1);
        CU_ASSERT_EQUAL(fake_read(f, &f->requests), 1 + 2 + 3); /* open, writes, refusals */
        CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 2);
        CU_ASSERT_TRUE(fake_last_value_is(f, "second", 6));
        CU_ASSERT_TRUE(fake_applied_once(f));
        CU_ASSERT_EQUAL(ended_not_led(d), 0);
        dunlin_close(d);
        fake_free(f);
    }
}

/* It was cut at this node, another one kept it, and it counts in the end: its repetition is answered
 * and applied no second time. */
static void cut_then_answered_as_the_duplicate_it_is(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, LONG_MS, &s);
    struct dunlin_completion c[1];
    CU_ASSERT_EQUAL(put(s, "k", "v"), 0);
    refuse(f, 0, 1, true);
    fake_lock(f);
    f->refuse_stays = true;
    fake_unlock(f);
    CU_ASSERT_EQUAL(submit(s, "k", 7), 0);
    CU_ASSERT_EQUAL(poll_all(d, c, 1), 1);
    CU_ASSERT_EQUAL(c[0].context, 7);
    CU_ASSERT_EQUAL(c[0].result, 0);
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 2);
    CU_ASSERT_TRUE(fake_applied_once(f));
    CU_ASSERT_EQUAL(dunlin_poll(d, c, 1, NS_PER_MS), 0); /* answered once */
    dunlin_close(d);
    fake_free(f);
}

/* One of a window is refused: those behind it fall into the gap, and follow it again. */
static void a_pipeline_keeps_its_order(void)
{
    for (int cut = 0; cut <= 1; cut++) {
        struct fake *f = fake_make(1);
        struct dunlin_space *s;
        struct dunlin *d = fake_attach(f, LONG_MS, &s);
        struct dunlin_completion c[LIMIT_SESSION_WINDOW];
        CU_ASSERT_EQUAL(put(s, "k", "v"), 0);
        refuse(f, 2, 1, cut != 0);
        fake_lock(f);
        f->frozen = true;
        fake_unlock(f);
        for (uint64_t i = 0; i < LIMIT_SESSION_WINDOW; i++)
            CU_ASSERT_EQUAL(submit(s, "k", i), 0);
        fake_lock(f);
        f->frozen = false;
        fake_unlock(f);
        CU_ASSERT_EQUAL(poll_all(d, c, LIMIT_SESSION_WINDOW), LIMIT_SESSION_WINDOW);
        for (uint64_t i = 0; i < LIMIT_SESSION_WINDOW; i++) {
            CU_ASSERT_EQUAL(c[i].context, i);
            CU_ASSERT_EQUAL(c[i].result, 0);
        }
        CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 1 + LIMIT_SESSION_WINDOW);
        CU_ASSERT_EQUAL(fake_read(f, &f->session_opens), 1);
        CU_ASSERT_TRUE(fake_applied_once(f));
        dunlin_close(d);
        fake_free(f);
    }
}

/* Cut, and then in the gap behind an earlier one that is refused once more: still its own turn later. */
static void a_gap_says_nothing_of_what_was_cut(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, LONG_MS, &s);
    struct dunlin_completion c[4];
    CU_ASSERT_EQUAL(put(s, "k", "v"), 0);
    refuse(f, 0, 5, true); /* the first, then gaps, five times over */
    for (uint64_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(submit(s, "k", i), 0);
    CU_ASSERT_EQUAL(poll_all(d, c, 4), 4);
    for (uint64_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(c[i].context, i);
        CU_ASSERT_EQUAL(c[i].result, 0);
    }
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 5);
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
}

struct later {
    struct fake *fake;
    uint32_t requests;
};

/* Leads again once so many requests were refused. */
static void *lead_later(void *argument)
{
    struct later *l = argument;
    for (unsigned i = 0; i < 5000 && fake_read(l->fake, &l->fake->requests) < l->requests; i++)
        (void)usleep(1000);
    set_not_led(l->fake, false);
    return NULL;
}

static void sessions_and_reads_wait_for_the_leader(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, LONG_MS, &s);
    struct later later = {.fake = f, .requests = 4};
    pthread_t thread;
    char value[8] = "";
    set_not_led(f, true);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, lead_later, &later), 0);
    CU_ASSERT_EQUAL(put(s, "k", "v"), 0);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 1);
    later.requests = fake_read(f, &f->requests) + 4;
    set_not_led(f, true);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, lead_later, &later), 0);
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof(value), NULL), 0);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    CU_ASSERT_EQUAL(value[0], 'v');
    CU_ASSERT_EQUAL(ended_not_led(d), 0);
    dunlin_close(d);
    fake_free(f);
}

/* Writes of a session that is open, while nobody leads.  False: the time was over while a try was under way, as may be
 * on a busy machine; its fate is unknown then. */
static bool end_unavailable(struct dunlin *d, struct dunlin_space *s)
{
    struct dunlin_completion c[4];
    int result = put(s, "k", "v");
    if (result == -EOWNERDEAD)
        return false;
    CU_ASSERT_EQUAL(result, -ENOTCONN);
    for (uint64_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(submit(s, "k", i), 0);
    CU_ASSERT_EQUAL(poll_all(d, c, 4), 4);
    if (c[0].result == -EOWNERDEAD)
        return false;
    for (uint64_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(c[i].result, -ENOTCONN);
    return true;
}

static bool nothing_is_appended(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, SHORT_MS, &s);
    char value[8];
    set_not_led(f, true);
    uint64_t begun = clock_boottime_ns();
    CU_ASSERT_EQUAL(put(s, "k", "v"), -ENOTCONN); /* while the session opens */
    CU_ASSERT_TRUE(clock_boottime_ns() - begun >= SHORT_MS * NS_PER_MS);
    CU_ASSERT_EQUAL(ended_not_led(d), 1);
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof(value), NULL), -ENOTCONN);
    /* Why not 2 alone: as above. */
    uint64_t ended = ended_not_led(d);
    CU_ASSERT(ended == 1 || ended == 2);
    set_not_led(f, false);
    CU_ASSERT_EQUAL(put(s, "k", "v"), 0);
    set_not_led(f, true);
    bool is_known = end_unavailable(d, s);
    CU_ASSERT(!is_known || ended_not_led(d) == ended + 5);
    set_not_led(f, false);
    CU_ASSERT_EQUAL(put(s, "k", "last"), 0);
    CU_ASSERT(!is_known || fake_read(f, &f->applied_count) == 2);
    /* the session outlives it */
    CU_ASSERT(!is_known || fake_read(f, &f->session_opens) == 1);
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
    return is_known;
}

/* Nobody leads for longer than a call waits: unavailable, and nothing of it is ever applied. */
static void what_was_never_appended_ends_unavailable(void)
{
    bool is_known = false;
    for (uint32_t tries = 0; tries < 10 && !is_known; tries++)
        is_known = nothing_is_appended();
    CU_ASSERT_TRUE(is_known);
}

/* False: the time was over while a try was under way, as may be on a busy machine; then it was not told that the
 * try was cut, and the session goes on. */
static bool cut_is_told(bool asynchronous)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, SHORT_MS, &s);
    struct dunlin_completion c[1];
    struct dunlin_write_id cut, after;
    CU_ASSERT_EQUAL(put(s, "k", "v"), 0);
    refuse(f, 0, UINT32_MAX, true);
    if (asynchronous) {
        CU_ASSERT_EQUAL(submit(s, "k", 1), 0);
        CU_ASSERT_EQUAL(poll_all(d, c, 1), 1);
        CU_ASSERT_EQUAL(c[0].result, -EOWNERDEAD);
    } else {
        CU_ASSERT_EQUAL(put(s, "k", "cut"), -EOWNERDEAD);
    }
    CU_ASSERT_EQUAL(dunlin_last_write(d, &cut), 0);
    refuse(f, 0, 0, false);
    CU_ASSERT_EQUAL(put(s, "k", "after"), 0);
    CU_ASSERT_EQUAL(dunlin_last_write(d, &after), 0);
    bool is_told = memcmp(cut.session, after.session, 16) != 0;
    CU_ASSERT(!is_told || fake_read(f, &f->applied_count) == 2);
    CU_ASSERT_TRUE(fake_applied_once(f));
    /* Under its own name it can still be repeated. */
    const struct dunlin_write again = {
        .operation = DUNLIN_PUT, .key = "k", .key_length = 1, .value = "cut", .value_length = 3};
    CU_ASSERT_EQUAL(dunlin_retry(s, &cut, &again, NULL), 0);
    CU_ASSERT(!is_told || fake_last_value_is(f, "cut", 3));
    dunlin_close(d);
    fake_free(f);
    return is_told;
}

/* Appended, cut, and nobody leads any more: it may still count, so its fate is unknown, it is not sent
 * again, and its name comes to mean nothing else. */
static void what_was_cut_ends_unknown(void)
{
    for (int asynchronous = 0; asynchronous <= 1; asynchronous++) {
        bool is_told = false;
        for (uint32_t tries = 0; tries < 10 && !is_told; tries++)
            is_told = cut_is_told(asynchronous != 0);
        CU_ASSERT_TRUE(is_told);
    }
}

/* The daemon dies while its writes wait for a leader: the next one gets them, once. */
static void a_restart_takes_over_what_waits(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, LONG_MS, &s);
    struct dunlin_completion c[4];
    CU_ASSERT_EQUAL(put(s, "k", "v"), 0);
    set_not_led(f, true);
    for (uint64_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(submit(s, "k", i), 0);
    /* Until they wait for their time: what is in a ring when it dies is of unknown fate. */
    while (fake_read(f, &f->requests) < 2 + 4 * 2 || d->now->unanswered != 0)
        CU_ASSERT_EQUAL(dunlin_poll(d, c, 4, 0), 0);
    fake_kill(f);
    f->not_led = false;
    fake_restart(f);
    CU_ASSERT_EQUAL(poll_all(d, c, 4), 4);
    for (uint64_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(c[i].context, i);
        CU_ASSERT_EQUAL(c[i].result, 0);
    }
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 5);
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
}

/* The answer to the second of five was lost between nodes, those behind it were not. */
static void completions_keep_the_order_of_writes(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, LONG_MS, &s);
    struct dunlin_completion c[5];
    CU_ASSERT_EQUAL(put(s, "k", "first"), 0);
    fake_lock(f);
    f->refuse_status = RING_RETRY;
    f->refuse_after = 1;
    f->refuse_count = 1;
    f->refuse_cut = f->refuse_stays = true;
    fake_unlock(f);
    for (uint64_t i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(submit(s, "k", i), 0);
    CU_ASSERT_EQUAL_FATAL(poll_all(d, c, 5), 5);
    for (uint64_t i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(c[i].context, i);
        CU_ASSERT_EQUAL(c[i].result, 0);
        CU_ASSERT(i == 0 || c[i].version.lsn > c[i - 1].version.lsn);
    }
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 6);
    dunlin_close(d);
    fake_free(f);
}

/* Cut, sent again and refused then: of unknown fate, so its name must not come to mean another write. */
static void what_was_cut_and_then_refused_keeps_its_name(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, LONG_MS, &s);
    struct dunlin_completion c[1];
    struct dunlin_write_id cut, after;
    CU_ASSERT_EQUAL(put(s, "k", "v"), 0);
    refuse(f, 0, 1, true);
    CU_ASSERT_EQUAL(submit(s, "k", 1), 0);
    CU_ASSERT_EQUAL(dunlin_last_write(d, &cut), 0);
    while (fake_read(f, &f->refuse_count) != 0)
        (void)usleep(100);
    refuse(f, 0, 1, false); /* it is sent again by nobody but the poll below */
    fake_lock(f);
    f->refuse_status = RING_QUOTA;
    fake_unlock(f);
    CU_ASSERT_EQUAL(poll_all(d, c, 1), 1);
    CU_ASSERT_EQUAL(c[0].result, -EOWNERDEAD);
    CU_ASSERT_EQUAL(put(s, "k", "after"), 0);
    CU_ASSERT_EQUAL(dunlin_last_write(d, &after), 0);
    CU_ASSERT_TRUE(memcmp(cut.session, after.session, 16) != 0);
    const struct dunlin_write again = {
        .operation = DUNLIN_PUT, .key = "k", .key_length = 1, .value = "v", .value_length = 1};
    CU_ASSERT_EQUAL(dunlin_retry(s, &cut, &again, NULL), 0);
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 3);
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
}

/* The daemon dies with a write that it applied, and the next one, which has the session from a log that
 * outlived it, leaves its questions in the ring. */
static void *restart_frozen(void *argument)
{
    static struct fake_session kept[FAKE_SESSIONS];
    struct fake *f = argument;
    for (unsigned i = 0; i < 5000 && fake_read(f, &f->applied_count) < 2; i++)
        (void)usleep(1000);
    fake_lock(f);
    uint32_t count = f->session_count;
    memcpy(kept, f->sessions, sizeof kept);
    fake_unlock(f);
    fake_kill(f);
    f->withhold = false;
    f->frozen = true;
    fake_restart(f);
    fake_lock(f);
    f->session_count = count;
    memcpy(f->sessions, kept, sizeof kept);
    fake_unlock(f);
    return NULL;
}

/* A write is given up while its session is looked for: the answer to that, which comes late, is not
 * taken for the session that the next write is sent in. */
static void a_session_that_is_given_up_is_not_the_next_one(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, 2 * SHORT_MS, &s);
    struct dunlin_completion c[1];
    pthread_t thread;
    CU_ASSERT_EQUAL(put(s, "k", "v"), 0);
    fake_lock(f);
    f->withhold = true;
    fake_unlock(f);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, restart_frozen, f), 0);
    CU_ASSERT_EQUAL(put(s, "k", "lost"), -EOWNERDEAD);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    uint32_t hellos = fake_read(f, &f->hellos);
    CU_ASSERT_EQUAL(submit(s, "k", 3), 0);
    fake_lock(f);
    f->frozen = false;
    fake_unlock(f);
    CU_ASSERT_EQUAL(poll_all(d, c, 1), 1);
    CU_ASSERT_EQUAL(c[0].result, 0);
    CU_ASSERT_EQUAL(fake_read(f, &f->applied_count), 3);
    CU_ASSERT_EQUAL(fake_read(f, &f->hellos), hellos); /* nor for an answer that nobody asked for */
    CU_ASSERT_TRUE(fake_applied_once(f));
    dunlin_close(d);
    fake_free(f);
}

/* Dies when it has the question behind those of before. */
static uint32_t requests_before;
static void *die_with_the_next(void *argument)
{
    struct fake *f = argument;
    for (unsigned i = 0; i < 5000 && fake_read(f, &f->requests) < requests_before + 2; i++)
        (void)usleep(1000); /* the session is asked for first */
    fake_kill(f);
    return NULL;
}

/* What is repeated when the daemon dies may have been applied, of whatever kind it is. */
static void a_repeated_write_that_is_lost_is_of_unknown_fate(void)
{
    static const struct dunlin_write kinds[] = {
        {.operation = DUNLIN_PUT, .key = "k", .key_length = 1},
        {.operation = DUNLIN_DELETE, .key = "k", .key_length = 1},
        {.operation = DUNLIN_INCREMENT, .key = "k", .key_length = 1, .delta = 1}};
    for (uint32_t i = 0; i < 4; i++) {
        struct fake *f = fake_make(1);
        struct dunlin_space *s;
        struct dunlin *d = fake_attach(f, LONG_MS, &s);
        struct dunlin_write_id id, named;
        pthread_t thread;
        CU_ASSERT_EQUAL_FATAL(put(s, "k", "v"), 0);
        CU_ASSERT_EQUAL_FATAL(dunlin_last_write(d, &id), 0);
        id.sequence++;
        fake_lock(f);
        f->withhold = true;
        requests_before = f->requests;
        fake_unlock(f);
        CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, die_with_the_next, f), 0);
        const struct dunlin_transaction t = {.then_writes = kinds, .then_count = 1};
        int error = i < 2    ? dunlin_retry(s, &id, &kinds[i], NULL)
                    : i == 2 ? dunlin_retry_increment(s, &id, &kinds[i], NULL, NULL)
                             : dunlin_retry_transaction(s, &id, &t, NULL);
        CU_ASSERT_EQUAL(error, -EOWNERDEAD);
        CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
        CU_ASSERT_EQUAL(dunlin_last_write(d, &named), 0);
        CU_ASSERT_EQUAL(memcmp(&named, &id, sizeof id), 0);
        dunlin_close(d);
        fake_free(f);
    }
}

/* Nor does it say "never applied" where nobody leads, or no daemon is: that would be said of the first time,
 * too.  What may be asked once more is named, what cannot is not. */
static void a_repeated_write_that_nobody_answers_is_of_unknown_fate(void)
{
    const struct dunlin_write w = {
        .operation = DUNLIN_PUT, .key = "k", .key_length = 1, .value = "v", .value_length = 1};
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, SHORT_MS, &s);
    struct dunlin_write_id id, named, forgotten;
    CU_ASSERT_EQUAL_FATAL(put(s, "k", "v"), 0);
    CU_ASSERT_EQUAL_FATAL(dunlin_last_write(d, &id), 0);
    CU_ASSERT_EQUAL_FATAL(put(s, "k", "w"), 0);
    set_not_led(f, true);
    CU_ASSERT_EQUAL(dunlin_retry(s, &id, &w, NULL), -EOWNERDEAD);
    CU_ASSERT_EQUAL(dunlin_last_write(d, &named), 0);
    CU_ASSERT_EQUAL(memcmp(&named, &id, sizeof id), 0);
    set_not_led(f, false);
    CU_ASSERT_EQUAL(dunlin_retry(s, &named, &w, NULL), 0);
    forgotten = id;
    forgotten.session[0] ^= 1;
    CU_ASSERT_EQUAL(dunlin_retry(s, &forgotten, &w, NULL), -EOWNERDEAD);
    CU_ASSERT_EQUAL(dunlin_last_write(d, &named), -ENOENT);
    fake_kill(f);
    CU_ASSERT_EQUAL(dunlin_retry(s, &id, &w, NULL), -EOWNERDEAD);
    CU_ASSERT_EQUAL(dunlin_last_write(d, &named), 0);
    CU_ASSERT_EQUAL(memcmp(&named, &id, sizeof id), 0);
    dunlin_close(d);
    fake_free(f);
}

/* A session whose shard is not led just now is closed all the same, a moment later.  Why several times: a
 * handle that is closed waits only for a moment (AGENT_CLOSE_NS), in which a busy machine may not answer. */
static void a_close_is_said_again(void)
{
    struct fake *f = fake_make(1);
    bool closed = false;
    for (uint32_t i = 0; i < 50 && !closed; i++) {
        struct dunlin_space *s;
        struct dunlin *d = fake_attach(f, LONG_MS, &s);
        CU_ASSERT_EQUAL_FATAL(put(s, "k", "v"), 0);
        fake_lock(f);
        f->close_retries = 3;
        f->session_closes = 0;
        fake_unlock(f);
        dunlin_close(d);
        fake_lock(f);
        closed = f->session_closes == 1;
        f->close_retries = 0;
        fake_unlock(f);
    }
    CU_ASSERT_TRUE(closed);
    fake_free(f);
}

/* One that nobody ever leads: closing ends all the same. */
static void a_close_in_vain_ends(void)
{
    struct fake *f = fake_make(1);
    struct dunlin_space *s;
    struct dunlin *d = fake_attach(f, LONG_MS, &s);
    CU_ASSERT_EQUAL_FATAL(put(s, "k", "v"), 0);
    set_not_led(f, true);
    dunlin_close(d);
    CU_ASSERT_EQUAL(f->session_closes, 0);
    fake_free(f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(refused_then_accepted),
    UNIT_TEST(cut_then_answered_as_the_duplicate_it_is),
    UNIT_TEST(a_pipeline_keeps_its_order),
    UNIT_TEST(a_gap_says_nothing_of_what_was_cut),
    UNIT_TEST(completions_keep_the_order_of_writes),
    UNIT_TEST(sessions_and_reads_wait_for_the_leader),
    UNIT_TEST(what_was_never_appended_ends_unavailable),
    UNIT_TEST(what_was_cut_ends_unknown),
    UNIT_TEST(what_was_cut_and_then_refused_keeps_its_name),
    UNIT_TEST(a_session_that_is_given_up_is_not_the_next_one),
    UNIT_TEST(a_repeated_write_that_is_lost_is_of_unknown_fate),
    UNIT_TEST(a_repeated_write_that_nobody_answers_is_of_unknown_fate),
    UNIT_TEST(a_restart_takes_over_what_waits),
    UNIT_TEST(a_close_is_said_again),
    UNIT_TEST(a_close_in_vain_ends),
};
UNIT_MAIN("agent_retry", tests)
