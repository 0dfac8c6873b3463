/* libdunlin's reads in place, beside real lcores that go on writing (agent_node.h). */
#include "engine/agent/agent.h"
#include "engine/clock.h"
#include "engine/limits.h"
#include "engine/read.h"
#include "tests/unit/engine/agent_node.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <unistd.h>

#define LONG_MS 20000
#define SHORT_NS (300 * NS_PER_MS) /* for calls that are to time out */

static int put(struct dunlin_space *s, const char *key, const void *value, size_t length)
{
    return dunlin_put(s, key, strlen(key), value, length, NULL);
}

static struct dunlin_info info_of(const struct dunlin *d)
{
    struct dunlin_info info;
    dunlin_info(d, &info);
    return info;
}

/* Submit key-0 .. key-<count-1>, each with fill(i) as its value. */
static void put_many(struct dunlin *d, struct dunlin_space *s, unsigned count,
                     size_t (*fill)(unsigned i, char *value))
{
    static char value[LIMIT_VALUE_BYTES];
    unsigned sent = 0, done = 0;
    while (done < count) {
        char key[32];
        struct dunlin_write w = {.operation = DUNLIN_PUT, .key = key, .value = value};
        w.key_length = (size_t)snprintf(key, sizeof key, "key-%u", sent);
        w.value_length = sent < count ? fill(sent, value) : 0;
        int error = sent < count ? dunlin_submit(s, &w) : -EAGAIN;
        sent += error == 0;
        if (error == 0)
            continue;
        CU_ASSERT_EQUAL_FATAL(error, -EAGAIN);
        struct dunlin_completion c[64];
        size_t n = dunlin_poll(d, c, 64, LONG_MS * NS_PER_MS);
        CU_ASSERT_TRUE_FATAL(n != 0);
        for (size_t i = 0; i < n; i++)
            CU_ASSERT_EQUAL_FATAL(c[i].result, 0);
        done += (unsigned)n;
    }
}

static size_t fill_number(unsigned i, char *value)
{
    return (size_t)snprintf(value, 64, "value of %u", i);
}

static void every_length_comes_back_whole(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.quota_bytes = 0});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    static char value[40000], back[40001];
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (char)(i * 7 + (i >> 8));
    for (size_t length = 0; length < sizeof value; length += length < 100 ? 1 : 997) {
        struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
        CU_ASSERT_EQUAL_FATAL(put(s, "k", value, length), 0);
        memset(back, 0x55, length + 1);
        CU_ASSERT_EQUAL_FATAL(dunlin_get(s, "k", 1, back, length, &read), 0);
        CU_ASSERT_EQUAL_FATAL(read.length, length);
        CU_ASSERT_FATAL(memcmp(back, value, length) == 0 && back[length] == 0x55);
        if (length == 0)
            continue;
        CU_ASSERT_EQUAL_FATAL(dunlin_get(s, "k", 1, back, length - 1, &read), -ENOBUFS);
        CU_ASSERT_EQUAL_FATAL(read.length, length);
    }
    dunlin_close(d);
    agent_node_free(n);
}

static void hits_and_misses_need_no_message(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.lcore_count = 2});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_version version;
    struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
    char value[32] = {0};
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, &read), -ENOENT);
    CU_ASSERT_EQUAL(read.version.lsn, 0);
    CU_ASSERT_EQUAL(dunlin_put(s, "k", 1, "v", 1, &version), 0);
    uint64_t by_ring = info_of(d).reads_by_ring;
    unsigned in_place = 0;
    for (unsigned i = 0; i < 100000; i++) {
        CU_ASSERT_EQUAL_FATAL(dunlin_get(s, "k", 1, value, sizeof value, &read), 0);
        CU_ASSERT_EQUAL_FATAL(read.version.lsn, version.lsn);
        in_place++;
    }
    CU_ASSERT_EQUAL(read.version.log, version.log);
    CU_ASSERT_EQUAL(read.epoch, n->node.start);
    CU_ASSERT_EQUAL(read.age_ns, 0);
    /* A lease that lapsed because a thread was not scheduled is the ring's business, and rare. */
    CU_ASSERT_TRUE(info_of(d).reads_by_ring - by_ring < in_place / 10);
    CU_ASSERT_EQUAL(dunlin_delete(s, "k", 1, NULL), 0);
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, &read), -ENOENT);
    read.mode = DUNLIN_LOCAL;
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, &read), -ENOENT);
    dunlin_close(d);
    agent_node_free(n);
}

/* The index grows and chunks are added while somebody else, who mapped fewer, reads. */
static void a_reader_follows_a_growing_space(void)
{
    enum { COUNT = 60000 };
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.quota_bytes = 0});
    struct dunlin_space *s, *reader_space;
    struct dunlin *reader = agent_node_attach(n, LONG_MS, &reader_space);
    char value[64], expected[64];
    CU_ASSERT_EQUAL(dunlin_get(reader_space, "key-0", 5, value, sizeof value, NULL), -ENOENT);
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    put_many(d, s, COUNT, fill_number);
    for (unsigned i = 0; i < COUNT; i++) {
        char key[32];
        struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
        size_t key_length = (size_t)snprintf(key, sizeof key, "key-%u", i);
        size_t length = fill_number(i, expected);
        CU_ASSERT_EQUAL_FATAL(dunlin_get(reader_space, key, key_length, value, sizeof value, &read),
                              0);
        CU_ASSERT_FATAL(read.length == length && memcmp(value, expected, length) == 0);
    }
    CU_ASSERT_TRUE(info_of(reader).reads_in_place > COUNT / 2);
    dunlin_close(d);
    dunlin_close(reader);
    agent_node_free(n);
}

static void a_batch_answers_as_single_reads_do(void)
{
    enum { COUNT = 300 };
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.shard_count = 16});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    static char keys[COUNT][32], values[COUNT][64];
    static struct dunlin_get_entry entries[COUNT];
    put_many(d, s, COUNT / 2, fill_number); /* the other half misses */
    for (unsigned i = 0; i < COUNT; i++) {
        unsigned number = i % 5 == 0 ? 7 : i; /* some twice */
        entries[i] = (struct dunlin_get_entry){
            .key = keys[i],
            .key_length = (size_t)snprintf(keys[i], sizeof keys[i], "key-%u", number),
            .buffer = values[i],
            .capacity = i % 7 == 0 ? 3 : sizeof values[i]};
    }
    for (int mode = DUNLIN_LINEARIZABLE; mode <= DUNLIN_LOCAL; mode++) {
        entries[0].read.mode = (enum dunlin_mode)mode;
        CU_ASSERT_EQUAL(dunlin_get_many(s, entries, COUNT), 0);
        for (unsigned i = 0; i < COUNT; i++) {
            char value[64];
            struct dunlin_read read = {.mode = (enum dunlin_mode)mode};
            int result =
                dunlin_get(s, keys[i], entries[i].key_length, value, entries[i].capacity, &read);
            CU_ASSERT_EQUAL_FATAL(entries[i].result, result);
            CU_ASSERT_EQUAL_FATAL(entries[i].read.length, read.length);
            CU_ASSERT_EQUAL_FATAL(entries[i].read.version.lsn, read.version.lsn);
            CU_ASSERT_EQUAL_FATAL(entries[i].read.version.log, read.version.log);
            if (result == 0)
                CU_ASSERT_EQUAL_FATAL(memcmp(value, values[i], read.length), 0);
        }
    }
    dunlin_close(d);
    agent_node_free(n);
}

/* ---- views ---- */

static void a_view_is_the_record_in_place(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.quota_bytes = 0});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_view views[LIMIT_PINS + 1];
    memset(views, 0, sizeof views);
    CU_ASSERT_EQUAL(dunlin_view(s, "k", 1, &views[0]), -ENOENT);
    CU_ASSERT_EQUAL(dunlin_release(s, &views[0]), -EINVAL);
    CU_ASSERT_EQUAL(put(s, "k", "value", 5), 0);
    for (unsigned i = 0; i < LIMIT_PINS; i++) {
        CU_ASSERT_EQUAL_FATAL(dunlin_view(s, "k", 1, &views[i]), 0);
        CU_ASSERT_EQUAL(views[i].read.length, 5);
        CU_ASSERT_EQUAL(memcmp(views[i].value, "value", 5), 0);
        CU_ASSERT_TRUE(views[i].deadline_ns > clock_boottime_ns());
    }
    CU_ASSERT_EQUAL(dunlin_view(s, "k", 1, &views[LIMIT_PINS]), -EAGAIN);
    CU_ASSERT_EQUAL(put(s, "k", "other", 5), 0);
    CU_ASSERT_EQUAL(memcmp(views[3].value, "value", 5), 0); /* a record never changes */
    for (unsigned i = 0; i < LIMIT_PINS; i++) {
        CU_ASSERT_EQUAL(dunlin_release(s, &views[i]), 0);
        CU_ASSERT_EQUAL(dunlin_release(s, &views[i]), -EINVAL);
    }
    CU_ASSERT_EQUAL(dunlin_view(s, "k", 1, &views[0]), 0);
    CU_ASSERT_EQUAL(memcmp(views[0].value, "other", 5), 0);
    CU_ASSERT_EQUAL(dunlin_release(s, &views[0]), 0);
    dunlin_close(d);
    agent_node_free(n);
}

/* Write so much that every segment is used again. */
static void churn(struct dunlin *d, struct dunlin_space *s, uint64_t bytes)
{
    static char value[4000];
    memset(value, 'c', sizeof value);
    uint64_t sent = 0;
    struct dunlin_completion c[64];
    while (sent < bytes || dunlin_in_flight(d) != 0) {
        char key[32];
        struct dunlin_write w = {
            .operation = DUNLIN_PUT, .key = key, .value = value, .value_length = sizeof value};
        w.key_length = (size_t)snprintf(key, sizeof key, "churn-%u", (unsigned)(sent / 4000 % 20));
        int error = sent < bytes ? dunlin_submit(s, &w) : -EAGAIN;
        if (error == 0) {
            sent += sizeof value;
            continue;
        }
        CU_ASSERT_EQUAL_FATAL(error, -EAGAIN);
        size_t count = dunlin_poll(d, c, 64, LONG_MS * NS_PER_MS);
        CU_ASSERT_TRUE_FATAL(count != 0);
        for (size_t i = 0; i < count; i++)
            CU_ASSERT_EQUAL_FATAL(c[i].result, 0);
    }
}

static void a_view_holds_its_segment_until_it_lapses(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){
        .shard_count = 1, .quota_bytes = UINT64_C(8) << 20, .view_ns = 2 * NS_PER_S});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_view view = {.read = {.mode = DUNLIN_LOCAL}};
    char expected[1000];
    memset(expected, 'v', sizeof expected);
    CU_ASSERT_EQUAL(put(s, "viewed", expected, sizeof expected), 0);
    CU_ASSERT_EQUAL_FATAL(dunlin_view(s, "viewed", 6, &view), 0);
    CU_ASSERT_EQUAL(put(s, "viewed", "gone", 4), 0);
    churn(d, s, UINT64_C(24) << 20);
    bool intact = memcmp(view.value, expected, sizeof expected) == 0;
    bool in_time = clock_boottime_ns() < view.deadline_ns;
    int released = dunlin_release(s, &view);
    CU_ASSERT_TRUE(!in_time || (intact && released == 0));
    CU_ASSERT_TRUE(intact || released == -ESTALE);
    dunlin_close(d);
    agent_node_free(n);
}

static void a_view_held_too_long_says_so(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){
        .shard_count = 1, .quota_bytes = UINT64_C(8) << 20, .view_ns = NS_PER_MS});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_view view = {.read = {.mode = DUNLIN_LOCAL}};
    CU_ASSERT_EQUAL(put(s, "viewed", "value", 5), 0);
    CU_ASSERT_EQUAL_FATAL(dunlin_view(s, "viewed", 6, &view), 0);
    CU_ASSERT_EQUAL(put(s, "viewed", "gone", 4), 0);
    churn(d, s, UINT64_C(64) << 20);
    CU_ASSERT_EQUAL(dunlin_release(s, &view), -ESTALE);
    dunlin_close(d);
    agent_node_free(n);
}

/* ---- without a daemon ---- */

static void local_reads_age_when_the_lcores_stand(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.quota_bytes = 0});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_read read = {.mode = DUNLIN_LOCAL};
    char value[8];
    CU_ASSERT_EQUAL(put(s, "k", "v", 1), 0);
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, &read), 0);
    agent_node_stop_lcores(n);
    d->options.timeout_ns = SHORT_NS;
    (void)usleep(150 * 1000); /* lease 50 ms, heartbeat 100 ms */
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, &read), 0);
    CU_ASSERT_EQUAL(read.stale, 1);
    CU_ASSERT_TRUE(read.age_ns >= 100 * NS_PER_MS);
    uint64_t age_ns = read.age_ns;
    read.max_age_ns = 1000;
    value[0] = 0;
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, &read), -ESTALE);
    CU_ASSERT_EQUAL(value[0], 'v'); /* and is returned all the same */
    CU_ASSERT_TRUE(read.age_ns > age_ns);
    CU_ASSERT_EQUAL(dunlin_get(s, "none", 4, value, sizeof value, &read), -ESTALE);
    CU_ASSERT_EQUAL(read.version.lsn, 0);
    read.max_age_ns = UINT64_C(1000) * NS_PER_S;
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, &read), 0);
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, NULL), -ENOTCONN);
    struct dunlin_get_entry entries[2] = {
        {.key = "k", .key_length = 1, .buffer = value, .capacity = 8, .read = read},
        {.key = "none", .key_length = 4, .buffer = value, .capacity = 8}};
    CU_ASSERT_EQUAL(dunlin_get_many(s, entries, 2), 0);
    CU_ASSERT_EQUAL(entries[0].result, 0);
    CU_ASSERT_EQUAL(entries[0].read.stale, 1);
    CU_ASSERT_EQUAL(entries[1].result, -ENOENT);
    CU_ASSERT_EQUAL(entries[1].read.stale, 1);
    dunlin_close(d);
    agent_node_free(n);
}

static void memory_outlives_the_daemon(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.quota_bytes = 0});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_read read = {.mode = DUNLIN_LOCAL};
    struct dunlin_view view = {.read = {.mode = DUNLIN_LOCAL}};
    char value[8];
    CU_ASSERT_EQUAL(put(s, "k", "value", 5), 0);
    CU_ASSERT_EQUAL_FATAL(dunlin_view(s, "k", 1, &view), 0);
    agent_node_kill(n);
    d->options.timeout_ns = SHORT_NS;
    (void)usleep(150 * 1000);
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, &read), 0);
    CU_ASSERT_EQUAL(memcmp(value, "value", 5), 0);
    CU_ASSERT_EQUAL(read.stale, 1);
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, NULL), -ENOTCONN);
    CU_ASSERT_EQUAL(memcmp(view.value, "value", 5), 0);
    /* The next daemon knows nothing; the view is still good. */
    d->options.timeout_ns = LONG_MS * NS_PER_MS;
    struct agent_node *next = agent_node_make(&(struct agent_node_options){.quota_bytes = 0});
    CU_ASSERT_EQUAL_FATAL(rename(next->path, n->path), 0);
    int result = 0;
    for (unsigned i = 0; i < 5000 && result != -ENOENT; i++) {
        result = dunlin_get(s, "k", 1, value, sizeof value, &read);
        (void)usleep(1000);
    }
    CU_ASSERT_EQUAL(result, -ENOENT);
    CU_ASSERT_EQUAL(info_of(d).attached_count, 2);
    CU_ASSERT_EQUAL(memcmp(view.value, "value", 5), 0);
    CU_ASSERT_EQUAL(dunlin_release(s, &view), 0);
    CU_ASSERT_EQUAL(put(s, "k", "again", 5), 0);
    dunlin_close(d);
    agent_node_free(next);
    (void)unlink(n->path);
    agent_node_free(n);
}

/* ---- what the protocol of read.h refuses --------------------------------------------------------
 */

/* The linker puts these in front (--wrap): so many answers are refused, whatever they are. */
static unsigned refuse_validate, refuse_lease;

bool __real_read_validate(const struct read_point *p, const struct read_space *s, bool missed);
bool __wrap_read_validate(const struct read_point *p, const struct read_space *s, bool missed);
uint64_t __real_read_lease_deadline(const struct read_point *p, const struct read_space *s);
uint64_t __wrap_read_lease_deadline(const struct read_point *p, const struct read_space *s);
bool __real_read_lease(const struct read_point *p, const struct read_space *s);
bool __wrap_read_lease(const struct read_point *p, const struct read_space *s);

bool __wrap_read_validate(const struct read_point *p, const struct read_space *s, bool missed)
{
    if (refuse_validate == 0)
        return __real_read_validate(p, s, missed);
    refuse_validate--;
    return false;
}

bool __wrap_read_lease(const struct read_point *p, const struct read_space *s)
{
    if (refuse_lease == 0)
        return __real_read_lease(p, s);
    refuse_lease--;
    return false;
}

uint64_t __wrap_read_lease_deadline(const struct read_point *p, const struct read_space *s)
{
    return refuse_lease == 0 ? __real_read_lease_deadline(p, s) : 0;
}

static void an_answer_that_is_refused_is_not_given(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.quota_bytes = 0});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_read read = {.mode = DUNLIN_LOCAL};
    struct dunlin_view view = {.read = {.mode = DUNLIN_LOCAL}};
    char value[8];
    struct dunlin_get_entry entry = {.key = "k", .key_length = 1, .buffer = value, .capacity = 8};
    CU_ASSERT_EQUAL(put(s, "k", "v", 1), 0);

    refuse_validate = 3;
    uint64_t retried = info_of(d).reads_retried;
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, &read), 0);
    CU_ASSERT_EQUAL(info_of(d).reads_retried, retried + 3);

    uint64_t by_ring = info_of(d).reads_by_ring;
    refuse_validate = UINT32_MAX; /* for ever: then the owner is asked */
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, &read), 0);
    CU_ASSERT_EQUAL(read.age_ns, 0);
    CU_ASSERT_EQUAL(info_of(d).reads_by_ring, by_ring + 1);
    CU_ASSERT_EQUAL(dunlin_get_many(s, &entry, 1), 0);
    CU_ASSERT_EQUAL(entry.result, 0);
    CU_ASSERT_EQUAL(info_of(d).reads_by_ring, by_ring + 2);
    CU_ASSERT_EQUAL(dunlin_get(s, "none", 4, value, sizeof value, NULL), -ENOENT);
    CU_ASSERT_EQUAL(info_of(d).reads_by_ring, by_ring + 3);
    CU_ASSERT_EQUAL(dunlin_view(s, "k", 1, &view), -EAGAIN);
    refuse_validate = 2;
    CU_ASSERT_EQUAL(dunlin_view(s, "k", 1, &view), 0);
    CU_ASSERT_EQUAL(dunlin_release(s, &view), 0);
    dunlin_close(d);
    agent_node_free(n);
}

static void without_a_lease_the_owner_is_asked(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.quota_bytes = 0});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_view view = {.read = {.mode = DUNLIN_LINEARIZABLE}};
    char value[8];
    static char large[40000], back[40000];
    struct dunlin_get_entry entry = {.key = "k", .key_length = 1, .buffer = value, .capacity = 8};
    memset(large, 'l', sizeof large);
    CU_ASSERT_EQUAL(put(s, "k", "v", 1), 0);
    CU_ASSERT_EQUAL(put(s, "large", large, sizeof large), 0);
    uint64_t by_ring = info_of(d).reads_by_ring;
    refuse_lease = UINT32_MAX;
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, NULL), 0);
    CU_ASSERT_EQUAL(info_of(d).reads_by_ring, by_ring + 1);
    CU_ASSERT_EQUAL(dunlin_get_many(s, &entry, 1), 0);
    CU_ASSERT_EQUAL(entry.result, 0);
    CU_ASSERT_EQUAL(info_of(d).reads_by_ring, by_ring + 2);
    CU_ASSERT_EQUAL(dunlin_view(s, "k", 1, &view), 0);
    CU_ASSERT_EQUAL(memcmp(view.value, "v", 1), 0);
    CU_ASSERT_EQUAL(info_of(d).reads_by_ring, by_ring + 3);
    CU_ASSERT_EQUAL(dunlin_release(s, &view), 0);
    CU_ASSERT_EQUAL(dunlin_view(s, "none", 4, &view), -ENOENT);
    /* first in the ring, where it does not fit, then through the bulk buffer */
    CU_ASSERT_EQUAL(dunlin_get(s, "large", 5, back, sizeof back, NULL), 0);
    CU_ASSERT_EQUAL(memcmp(back, large, sizeof large), 0);
    struct dunlin_read read = {.mode = DUNLIN_LOCAL};
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, value, sizeof value, &read), 0);
    CU_ASSERT_TRUE(read.stale == 0 || read.age_ns > 100 * NS_PER_MS);
    refuse_lease = 0;
    dunlin_close(d);
    agent_node_free(n);
}

/* ---- many come and go */

static void programs_that_come_and_go_use_up_no_sessions(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.sessions_max = 2});
    for (unsigned i = 0; i < 50; i++) {
        struct dunlin_space *s;
        struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
        for (char key = 'a'; key <= 'h'; key++)
            CU_ASSERT_EQUAL_FATAL(dunlin_put(s, &key, 1, "v", 1, NULL), 0);
        dunlin_close(d);
    }
    agent_node_free(n);
}

/* ---- beside a busy writer ---- */

struct writer {
    struct agent_node *n;
    _Atomic bool stop;
    _Atomic unsigned writes;
    int error;
};

/* A value says its key and its length, and repeats one byte. */
static size_t value_make(char *value, unsigned key, unsigned turn)
{
    size_t length = 16 + (key * 37 + turn * 101) % 900;
    memset(value, (char)('a' + (key + turn) % 26), length);
    (void)snprintf(value, 16, "%05u %05u", key, (unsigned)length);
    return length;
}

static bool value_whole(const char *value, size_t length, unsigned key)
{
    char head[16];
    (void)snprintf(head, sizeof head, "%05u %05u", key, (unsigned)length);
    if (length < 16 || memcmp(value, head, 11) != 0)
        return false;
    for (size_t i = 17; i < length; i++)
        if (value[i] != value[16])
            return false;
    return true;
}

#define BUSY_KEYS 200u
#define BUSY_WRITES 100000u

static void *write_on(void *argument)
{
    struct writer *w = argument;
    struct dunlin_space *s;
    struct dunlin *d;
    const struct dunlin_options options = {.socket = w->n->path};
    w->error = dunlin_open(&options, &d);
    if (w->error != 0)
        return NULL;
    w->error = dunlin_space(d, "real", &s);
    while (w->error == 0 && !atomic_load_explicit(&w->stop, memory_order_relaxed)) {
        char key[16], value[1024];
        unsigned turn = atomic_load_explicit(&w->writes, memory_order_relaxed);
        unsigned number = turn * 7 % BUSY_KEYS;
        struct dunlin_write write = {.operation = DUNLIN_PUT, .key = key, .value = value};
        write.key_length = (size_t)snprintf(key, sizeof key, "key-%u", number);
        write.value_length = value_make(value, number, turn);
        int error = dunlin_submit(s, &write);
        if (error == 0)
            atomic_store_explicit(&w->writes, turn + 1, memory_order_relaxed);
        struct dunlin_completion c[64];
        size_t count = dunlin_poll(d, c, 64, error == -EAGAIN ? NS_PER_S : 0);
        w->error = error == -EAGAIN ? 0 : error;
        for (size_t i = 0; i < count && w->error == 0; i++)
            w->error = c[i].result;
    }
    dunlin_close(d);
    atomic_store_explicit(&w->stop, true, memory_order_relaxed);
    return NULL;
}

static void check_views(struct dunlin_space *s, unsigned number, unsigned *torn)
{
    char key[16];
    struct dunlin_view view = {.read = {.mode = DUNLIN_LOCAL}};
    size_t key_length = (size_t)snprintf(key, sizeof key, "key-%u", number);
    if (dunlin_view(s, key, key_length, &view) != 0)
        return;
    bool whole = value_whole(view.value, view.read.length, number);
    *torn += dunlin_release(s, &view) == 0 && !whole;
}

/* The space was overwritten several times, beside many reads; or the writer failed. */
static bool busy_enough(struct writer *w, unsigned reads)
{
    return atomic_load_explicit(&w->stop, memory_order_relaxed) ||
           (reads > 20000 && atomic_load_explicit(&w->writes, memory_order_relaxed) > BUSY_WRITES);
}

/* A quota so small that the segments are used again and again under the reader. */
static void a_reader_never_sees_torn_values(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){
        .shard_count = 2, .quota_bytes = UINT64_C(8) << 20, .view_ns = NS_PER_MS});
    struct writer w = {.n = n};
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    pthread_t thread;
    unsigned torn = 0, found = 0, back = 0;
    static uint64_t newest[BUSY_KEYS];
    memset(newest, 0, sizeof newest);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, write_on, &w), 0);
    for (unsigned i = 0; !busy_enough(&w, i); i++) {
        char key[16], value[1024];
        struct dunlin_read read = {.mode = i % 2 != 0 ? DUNLIN_LOCAL : DUNLIN_LINEARIZABLE};
        unsigned number = i % BUSY_KEYS;
        size_t key_length = (size_t)snprintf(key, sizeof key, "key-%u", number);
        int result = dunlin_get(s, key, key_length, value, sizeof value, &read);
        found += result == 0;
        torn += result == 0 && !value_whole(value, read.length, number);
        back += result == 0 && read.version.lsn < newest[number];
        newest[number] = result == 0 ? read.version.lsn : newest[number];
        /* once written, a key is never absent */
        back += result == -ENOENT && newest[number] != 0;
        if (i % 16 == 0)
            check_views(s, number, &torn);
    }
    atomic_store_explicit(&w.stop, true, memory_order_relaxed);
    (void)pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(w.error, 0);
    CU_ASSERT_EQUAL(torn, 0);
    CU_ASSERT_EQUAL(back, 0);
    CU_ASSERT_TRUE(found > 1000);
    dunlin_close(d);
    agent_node_free(n);
}

static const struct unit_test tests[] = {
    UNIT_TEST(every_length_comes_back_whole),
    UNIT_TEST(hits_and_misses_need_no_message),
    UNIT_TEST(a_reader_follows_a_growing_space),
    UNIT_TEST(a_batch_answers_as_single_reads_do),
    UNIT_TEST(a_view_is_the_record_in_place),
    UNIT_TEST(a_view_holds_its_segment_until_it_lapses),
    UNIT_TEST(a_view_held_too_long_says_so),
    UNIT_TEST(local_reads_age_when_the_lcores_stand),
    UNIT_TEST(memory_outlives_the_daemon),
    UNIT_TEST(an_answer_that_is_refused_is_not_given),
    UNIT_TEST(without_a_lease_the_owner_is_asked),
    UNIT_TEST(programs_that_come_and_go_use_up_no_sessions),
    UNIT_TEST(a_reader_never_sees_torn_values),
};
UNIT_MAIN("agent_read", tests)
