/* What operations mean: versions, conditions, sessions, answers, the log they leave behind. */
#include "engine/hash.h"
#include "engine/land.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

static struct fixture f;
static struct shard_answer answer;

static void open(void)
{
    fixture_open(&f, &(struct fixture_config){.quota_bytes = UINT64_C(4) << 20, .shard_count = 1});
    shard_grant(f.shard, UINT64_C(1) << 40);
    CU_ASSERT_FALSE(shard_answer_next(f.shard, &answer)); /* nobody waits for the epoch's record */
}

static struct shard_write write_to(uint8_t operation, const char *key, const char *value)
{
    struct shard_write w = fixture_write_of(&f, operation, key, (uint32_t)strlen(key));
    w.value = value;
    w.value_length = value != NULL ? (uint32_t)strlen(value) : 0;
    w.origin.tag = 42;
    return w;
}

/* Write, commit, and take the one answer. */
static uint32_t done(const struct shard_write *w)
{
    CU_ASSERT_EQUAL_FATAL(shard_write(f.shard, w), 0);
    fixture_commit(&f);
    CU_ASSERT_TRUE_FATAL(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.origin.tag, w->origin.tag);
    return answer.status;
}

static uint32_t put(const char *key, const char *value)
{
    struct shard_write w = write_to(RING_PUT, key, value);
    return done(&w);
}

static uint32_t put_if(const char *key, const char *value, uint64_t expected)
{
    struct shard_write w = write_to(RING_PUT, key, value);
    w.compare = true;
    w.expected_lsn = expected;
    return done(&w);
}

static uint32_t erase(const char *key)
{
    struct shard_write w = write_to(RING_DELETE, key, NULL);
    return done(&w);
}

static uint32_t erase_if(const char *key, uint64_t expected)
{
    struct shard_write w = write_to(RING_DELETE, key, NULL);
    w.compare = true;
    w.expected_lsn = expected;
    return done(&w);
}

static uint32_t get(const char *key)
{
    struct shard_read r = {
        .origin = {.operation = RING_GET},
        .hash = hash_key(key, strlen(key)),
        .key = key,
        .key_length = (uint16_t)strlen(key),
    };
    CU_ASSERT_EQUAL_FATAL(shard_read(f.shard, &r), 0);
    fixture_commit(&f);
    CU_ASSERT_TRUE_FATAL(shard_answer_next(f.shard, &answer));
    return answer.status;
}

static bool value_is(const char *expected)
{
    return answer.record != NULL && answer.record->value_length == strlen(expected) &&
           memcmp(record_value(answer.record), expected, strlen(expected)) == 0;
}

static void a_version_is_the_lsn_of_its_record(void)
{
    open();
    CU_ASSERT_EQUAL(get("k"), RING_NOT_FOUND);
    CU_ASSERT_EQUAL(put("k", "one"), RING_OK);
    uint64_t first = answer.lsn;
    CU_ASSERT_EQUAL(get("k"), RING_OK);
    CU_ASSERT_TRUE(value_is("one"));
    CU_ASSERT_EQUAL(answer.lsn, first);
    CU_ASSERT_EQUAL(put("k", "two"), RING_OK);
    CU_ASSERT(answer.lsn > first);
    uint64_t second = answer.lsn;
    CU_ASSERT_EQUAL(get("k"), RING_OK);
    CU_ASSERT_TRUE(value_is("two"));
    CU_ASSERT_EQUAL(answer.record->lsn_previous, first);
    CU_ASSERT_EQUAL(erase("k"), RING_OK);
    CU_ASSERT(answer.lsn > second);
    CU_ASSERT_EQUAL(get("k"), RING_NOT_FOUND);
    CU_ASSERT_EQUAL(erase("k"), RING_NOT_FOUND);
    CU_ASSERT_EQUAL(put("k", ""), RING_OK); /* an empty value is a value */
    CU_ASSERT_EQUAL(get("k"), RING_OK);
    CU_ASSERT_TRUE(value_is(""));
    fixture_close(&f);
}

static void a_comparison_holds_at_the_newest_version_only(void)
{
    open();
    CU_ASSERT_EQUAL(put_if("k", "x", 8), RING_CONDITION);
    CU_ASSERT_EQUAL(answer.lsn, 0);
    CU_ASSERT_EQUAL(put_if("k", "x", 0), RING_OK); /* 0: must not exist */
    uint64_t first = answer.lsn;
    CU_ASSERT_EQUAL(put_if("k", "y", 0), RING_CONDITION);
    CU_ASSERT_EQUAL(answer.lsn, first);
    CU_ASSERT_EQUAL(put_if("k", "y", first), RING_OK);
    uint64_t second = answer.lsn;
    CU_ASSERT_EQUAL(put_if("k", "z", first), RING_CONDITION);
    CU_ASSERT_EQUAL(answer.lsn, second);
    CU_ASSERT_EQUAL(erase_if("k", first), RING_CONDITION);
    CU_ASSERT_EQUAL(erase_if("k", second), RING_OK);
    uint64_t tombstone = answer.lsn;
    CU_ASSERT_EQUAL(put_if("k", "w", tombstone), RING_CONDITION); /* a tombstone is no version */
    CU_ASSERT_EQUAL(answer.lsn, 0);
    CU_ASSERT_EQUAL(put_if("k", "w", 0), RING_OK);
    CU_ASSERT_EQUAL(get("k"), RING_OK);
    CU_ASSERT_TRUE(value_is("w"));
    fixture_close(&f);
}

/* Nothing is visible in place, and nothing is answered, before its commit. */
static void what_is_not_committed_is_not_seen(void)
{
    open();
    struct read_found found;
    CU_ASSERT_EQUAL(put("k", "old"), RING_OK);
    uint64_t old = answer.lsn;
    struct shard_write a = write_to(RING_PUT, "k", "new"), b = write_to(RING_DELETE, "k", NULL);
    CU_ASSERT_EQUAL(shard_write(f.shard, &a), 0);
    uint64_t middle = f.shard->log.lsn_end;
    CU_ASSERT_EQUAL(shard_write(f.shard, &b), 0);
    CU_ASSERT_FALSE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(fixture_read(&f, "k", 1, &found), 1);
    CU_ASSERT_EQUAL(found.lsn, old);
    shard_commit(f.shard, middle);
    CU_ASSERT_EQUAL(fixture_read(&f, "k", 1, &found), 1);
    CU_ASSERT(found.lsn > old && memcmp(found.value, "new", 3) == 0);
    CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.lsn, found.lsn);
    CU_ASSERT_FALSE(shard_answer_next(f.shard, &answer));
    fixture_commit(&f);
    CU_ASSERT_EQUAL(fixture_read(&f, "k", 1, &found), 0);
    CU_ASSERT(found.lsn > middle - 1);
    fixture_close(&f);
}

/* A comparison and a read by the ring see what is pending; the read's answer waits for its commit.
 */
static void operations_are_judged_at_the_newest_record(void)
{
    open();
    struct shard_write a = write_to(RING_PUT, "k", "1"), b = write_to(RING_PUT, "k", "2");
    CU_ASSERT_EQUAL(shard_write(f.shard, &a), 0);
    b.compare = true;
    CU_ASSERT_EQUAL(shard_write(f.shard, &b), 0); /* must not exist: it does, though pending */
    struct shard_read r = {
        .origin = {.operation = RING_GET}, .hash = hash_key("k", 1), .key = "k", .key_length = 1};
    CU_ASSERT_EQUAL(shard_read(f.shard, &r), 0);
    CU_ASSERT_FALSE(shard_answer_next(f.shard, &answer));
    fixture_commit(&f);
    CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.status, RING_OK);
    uint64_t version = answer.lsn;
    CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.status, RING_CONDITION);
    CU_ASSERT_EQUAL(answer.lsn, version);
    CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.status, RING_OK);
    CU_ASSERT_TRUE(value_is("1"));
    fixture_close(&f);
}

static void answers_come_in_the_order_of_the_log(void)
{
    open();
    const uint32_t room = LIMIT_PENDING - LIMIT_EPOCHS; /* the rest is for records of epochs */
    uint32_t first = f.shard->pending_tail;
    for (uint64_t i = 0; i < room; i++) {
        struct shard_write w =
            write_to(i % 5 == 4 ? RING_DELETE : RING_PUT, i % 2 ? "a" : "b", NULL);
        w.origin.tag = i;
        CU_ASSERT_EQUAL_FATAL(shard_write(f.shard, &w), 0);
    }
    struct shard_write more = write_to(RING_PUT, "c", "x");
    CU_ASSERT_EQUAL(shard_write(f.shard, &more), -EAGAIN); /* they are all taken */
    uint64_t taken = 0;
    for (uint32_t position = 0; position < room; position += 100) {
        shard_commit(f.shard, f.shard->pending[(first + position) % LIMIT_PENDING].lsn_wait);
        while (shard_answer_next(f.shard, &answer))
            CU_ASSERT_EQUAL(answer.origin.tag, taken++);
        CU_ASSERT_EQUAL(taken, position + 1);
    }
    fixture_commit(&f);
    while (shard_answer_next(f.shard, &answer))
        CU_ASSERT_EQUAL(answer.origin.tag, taken++);
    CU_ASSERT_EQUAL(taken, room);
    CU_ASSERT_EQUAL(done(&more), RING_OK);
    fixture_close(&f);
}

/* ---- sessions ---- */

static const uint8_t id[] = "0123456789abcdef";

static uint64_t session_open_now(uint32_t uid, uint64_t clock_ns)
{
    struct shard_origin origin = {.operation = RING_SESSION_OPEN};
    CU_ASSERT_EQUAL_FATAL(shard_session_open(f.shard, &origin, id, uid, clock_ns), 0);
    fixture_commit(&f);
    CU_ASSERT_TRUE_FATAL(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.status, RING_OK);
    return answer.lsn;
}

static struct shard_write in_session(struct shard_write w, uint64_t session, uint64_t sequence)
{
    w.session_slot = 0;
    w.session = session;
    w.sequence = sequence;
    w.uid = 7;
    return w;
}

static void a_duplicate_gets_the_answer_of_the_original(void)
{
    open();
    uint64_t s = session_open_now(7, 0);
    struct shard_write w = in_session(write_to(RING_PUT, "k", "1"), s, 1);
    w.compare = true;
    CU_ASSERT_EQUAL(done(&w), RING_OK);
    uint64_t version = answer.lsn, end = f.shard->log.lsn_end;
    CU_ASSERT_EQUAL(done(&w), RING_OK); /* the condition would not hold any more */
    CU_ASSERT_EQUAL(answer.lsn, version);
    CU_ASSERT_EQUAL(f.shard->log.lsn_end, end);
    /* a failed condition is a result too */
    w = in_session(write_to(RING_PUT, "k", "2"), s, 2);
    w.compare = true;
    CU_ASSERT_EQUAL(done(&w), RING_CONDITION);
    CU_ASSERT_EQUAL(erase("k"), RING_OK);
    CU_ASSERT_EQUAL(done(&w), RING_CONDITION); /* now it would hold */
    CU_ASSERT_EQUAL(answer.lsn, version);
    CU_ASSERT_EQUAL(get("k"), RING_NOT_FOUND);
    fixture_close(&f);
}

static void a_duplicate_of_a_pending_write_waits_for_it(void)
{
    open();
    uint64_t s = session_open_now(7, 0);
    struct shard_write w = in_session(write_to(RING_PUT, "k", "1"), s, 1);
    CU_ASSERT_EQUAL(shard_write(f.shard, &w), 0);
    w.origin.tag = 43;
    CU_ASSERT_EQUAL(shard_write(f.shard, &w), 0);
    CU_ASSERT_FALSE(shard_answer_next(f.shard, &answer));
    fixture_commit(&f);
    CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.origin.tag, 42);
    uint64_t version = answer.lsn;
    CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.origin.tag, 43);
    CU_ASSERT_EQUAL(answer.lsn, version);
    CU_ASSERT_FALSE(shard_answer_next(f.shard, &answer));
    fixture_close(&f);
}

static void gaps_strangers_and_the_unknown_are_refused(void)
{
    open();
    uint64_t s = session_open_now(7, 0), end = f.shard->log.lsn_end;
    struct shard_write w = in_session(write_to(RING_PUT, "k", "1"), s, 2);
    CU_ASSERT_EQUAL(shard_write(f.shard, &w), RING_SEQUENCE);
    w = in_session(write_to(RING_PUT, "k", "1"), s, 1);
    w.uid = 8;
    CU_ASSERT_EQUAL(shard_write(f.shard, &w), RING_FATE_UNKNOWN);
    w = in_session(write_to(RING_PUT, "k", "1"), s + 8, 1);
    CU_ASSERT_EQUAL(shard_write(f.shard, &w), RING_FATE_UNKNOWN);
    w = in_session(write_to(RING_PUT, "k", "1"), s, 1);
    w.value_length = f.shard->value_bytes_max + 1;
    CU_ASSERT_EQUAL(shard_write(f.shard, &w), RING_TOO_LARGE);
    struct shard_origin origin = {.operation = RING_SESSION_OPEN};
    CU_ASSERT_EQUAL(shard_session_open(f.shard, &origin, id, 8, 0), RING_ACCESS);
    CU_ASSERT_EQUAL(f.shard->log.lsn_end, end);
    w = in_session(write_to(RING_PUT, "k", "1"), s, 1);
    CU_ASSERT_EQUAL(done(&w), RING_OK); /* none of it counted */
    fixture_close(&f);
}

static void a_silent_session_is_forgotten_by_a_record(void)
{
    open();
    uint64_t s = session_open_now(7, NS_PER_S), live = f.shard->live_bytes;
    shard_sweep_sessions(f.shard, 100, 2 * NS_PER_S - 1);
    CU_ASSERT_EQUAL(f.shard->log.lsn_end, f.shard->lsn_committed);
    shard_sweep_sessions(f.shard, 100, 2 * NS_PER_S);
    CU_ASSERT(f.shard->log.lsn_end > f.shard->lsn_committed);
    struct shard_write w = in_session(write_to(RING_PUT, "k", "1"), s, 1);
    CU_ASSERT_EQUAL(shard_write(f.shard, &w), RING_FATE_UNKNOWN);
    struct shard_origin origin = {.operation = RING_SESSION_OPEN};
    CU_ASSERT_EQUAL(shard_session_open(f.shard, &origin, id, 7, 0), -EAGAIN);
    fixture_commit(&f);
    CU_ASSERT_FALSE(shard_answer_next(f.shard, &answer));
    CU_ASSERT(f.shard->live_bytes < live);
    CU_ASSERT_EQUAL(shard_write(f.shard, &w), RING_FATE_UNKNOWN);
    uint64_t again = session_open_now(7, 3 * NS_PER_S);
    CU_ASSERT(again > s);
    CU_ASSERT_EQUAL(shard_write(f.shard, &w), RING_FATE_UNKNOWN); /* under the old opening: never */
    w = in_session(write_to(RING_PUT, "k", "1"), again, 1);
    CU_ASSERT_EQUAL(done(&w), RING_OK);
    fixture_close(&f);
}

/* ---- the log
 * -----------------------------------------------------------------------------------------------
 */

struct newest {
    uint64_t lsn[64];
};

/* Every record checks, ends no transaction late, and names its key's version before it. */
static void walk(const struct shard *s, uint64_t from, struct newest *n)
{
    uint64_t clock = 0;
    for (uint64_t lsn = from; lsn < s->log.lsn_end;) {
        uint64_t available;
        const uint8_t *bytes = log_bytes_at(&s->log, lsn, &available);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        struct record h;
        int64_t size = record_check(bytes, available, &h);
        CU_ASSERT_FATAL(size > 0);
        if (h.kind != RECORD_PAD) {
            CU_ASSERT_EQUAL(h.lsn, lsn);
            CU_ASSERT_EQUAL(h.log, 7);
            CU_ASSERT(h.hybrid_clock > clock);
            CU_ASSERT(h.flags & RECORD_FLAG_TRANSACTION_END);
            clock = h.hybrid_clock;
        }
        if (h.kind == RECORD_DATA || h.kind == RECORD_TOMBSTONE) {
            uint32_t key =
                (uint32_t)strtoul((const char *)record_key((const void *)bytes) + 4, NULL, 10);
            CU_ASSERT_EQUAL(h.lsn_previous, n->lsn[key]);
            CU_ASSERT_EQUAL(h.hash,
                            (uint32_t)hash_key(record_key((const void *)bytes), h.key_length));
            n->lsn[key] = h.lsn;
        }
        lsn += (uint64_t)size;
    }
}

static void the_log_tells_everything_in_order(void)
{
    open();
    struct newest n = {.lsn = {0}};
    uint64_t seed = 11, from = f.shard->log.epochs[0].lsn_start;
    static uint8_t value[3000];
    for (unsigned i = 0; i < 800; i++) {
        char key[32];
        uint32_t number = fixture_below(&seed, 64), length = fixture_key(number, key);
        int r = fixture_below(&seed, 4)
                    ? fixture_put(&f, key, length, value, fixture_below(&seed, 3000))
                    : fixture_delete(&f, key, length);
        CU_ASSERT_EQUAL(r, 0);
        if (i % 8 == 0)
            fixture_commit(&f);
        while (shard_answer_next(f.shard, &answer)) {
        }
    }
    walk(f.shard, from, &n);
    fixture_close(&f);
}

/* That a session is forgotten is said when it is so: where the expiry is cut, it was not. */
static void a_session_closed_twice_is_gone_when_the_first_is_committed(void)
{
    for (unsigned cut = 0; cut < 2; cut++) {
        open();
        const struct shard_origin origin = {.operation = RING_SESSION_CLOSE};
        CU_ASSERT_EQUAL(shard_session_open(f.shard, &origin, id, 5, 0), 0);
        fixture_commit(&f);
        CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
        CU_ASSERT_FALSE(answer.judged);
        CU_ASSERT_EQUAL(shard_session_open(f.shard, &origin, id, 5, 0), 0);
        CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
        CU_ASSERT_TRUE(answer.judged); /* that it is there: another leader may know better */
        CU_ASSERT_EQUAL(shard_session_close(f.shard, &origin, id, 5, 0), 0);
        CU_ASSERT_EQUAL(shard_session_close(f.shard, &origin, id, 5, 0), 0);
        CU_ASSERT_FALSE(shard_answer_next(f.shard, &answer));
        if (cut != 0) {
            CU_ASSERT_EQUAL(land_cut(f.shard, f.shard->lsn_committed, &f.now), 0);
            struct shard_write w = write_to(RING_PUT, "k", "v");
            CU_ASSERT_EQUAL(shard_write(f.shard, &w), 0);
        }
        fixture_commit(&f);
        CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
        CU_ASSERT_EQUAL(answer.status, cut != 0 ? RING_RETRY : RING_OK);
        CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
        CU_ASSERT_EQUAL(answer.status, cut != 0 ? RING_RETRY : RING_NOT_FOUND);
        CU_ASSERT_EQUAL(session_find(&f.shard->sessions, id) == SESSION_NONE, cut == 0);
        fixture_close(&f);
    }
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_version_is_the_lsn_of_its_record),
    UNIT_TEST(a_comparison_holds_at_the_newest_version_only),
    UNIT_TEST(what_is_not_committed_is_not_seen),
    UNIT_TEST(operations_are_judged_at_the_newest_record),
    UNIT_TEST(answers_come_in_the_order_of_the_log),
    UNIT_TEST(a_duplicate_gets_the_answer_of_the_original),
    UNIT_TEST(a_duplicate_of_a_pending_write_waits_for_it),
    UNIT_TEST(gaps_strangers_and_the_unknown_are_refused),
    UNIT_TEST(a_silent_session_is_forgotten_by_a_record),
    UNIT_TEST(the_log_tells_everything_in_order),
    UNIT_TEST(a_session_closed_twice_is_gone_when_the_first_is_committed),
};
UNIT_MAIN("shard", tests)
