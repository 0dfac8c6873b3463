/* Increments, the branch that is done else, and conditions other than on a version. */
#include "engine/land.h"
#include "engine/pending.h"
#include "tests/unit/engine/transaction_items.h"
#include "tests/unit/unit.h"

#define UID 5u

static struct fixture f, follower;
static struct shard_answer answer;
static struct shard_write session; /* what names it */

static const struct fixture_config ordinary = {.quota_bytes = UINT64_C(4) << 20, .shard_count = 1};

static void open(void)
{
    static const uint8_t id[SESSION_ID_BYTES] = {1};
    const struct shard_origin origin = {.operation = RING_SESSION_OPEN};
    fixture_open(&f, &ordinary);
    fixture_open(&follower, &ordinary);
    shard_grant(f.shard, UINT64_C(1) << 40);
    shard_grant(follower.shard, UINT64_C(1) << 40);
    CU_ASSERT_EQUAL_FATAL(shard_session_open(f.shard, &origin, id, UID, 0), 0);
    fixture_commit(&f);
    CU_ASSERT_TRUE_FATAL(shard_answer_next(f.shard, &answer));
    session = (struct shard_write){
        .session = answer.lsn, .session_slot = answer.session_slot, .uid = UID, .sequence = 0};
}

static void close(void)
{
    CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    fixture_close(&f);
    fixture_close(&follower);
}

static struct shard_write increment(const char *key, int64_t delta, uint64_t sequence)
{
    struct shard_write w = fixture_write_of(&f, RING_INCREMENT, key, (uint32_t)strlen(key));
    w.delta = delta;
    w.session = session.session;
    w.session_slot = session.session_slot;
    w.uid = UID;
    w.sequence = sequence;
    return w;
}

/* In the session, committed; the answer is in answer. */
static uint32_t add(const char *key, int64_t delta)
{
    struct shard_write w = increment(key, delta, ++session.sequence);
    CU_ASSERT_EQUAL_FATAL(shard_write(f.shard, &w), 0);
    fixture_commit(&f);
    CU_ASSERT_TRUE_FATAL(shard_answer_next(f.shard, &answer));
    return answer.status;
}

static struct shard_item plus(const char *key, int64_t delta)
{
    struct shard_item i = item_of(RING_INCREMENT, key, NULL);
    i.delta = delta;
    return i;
}

static struct shard_item otherwise(struct shard_item i)
{
    i.section = RING_SECTION_ELSE;
    return i;
}

static struct shard_item asked(const char *key, uint8_t compare, uint64_t expected)
{
    struct shard_item i = check(key, expected);
    i.section = RING_SECTION_COMPARE;
    i.compare = compare;
    return i;
}

static int carry_out(const struct shard_item *items, uint32_t count, uint64_t sequence)
{
    struct shard_transaction t = transaction(items, count);
    t.origin.operation = RING_TRANSACTION;
    t.session = session.session;
    t.session_slot = session.session_slot;
    t.uid = UID;
    t.sequence = sequence;
    return shard_transaction(f.shard, &t);
}

static uint32_t done(const struct shard_item *items, uint32_t count)
{
    CU_ASSERT_EQUAL_FATAL(carry_out(items, count, ++session.sequence), 0);
    fixture_commit(&f);
    CU_ASSERT_TRUE_FATAL(shard_answer_next(f.shard, &answer));
    return answer.status;
}

#define DONE(...) done(ITEMS_OF(__VA_ARGS__))

static void land_all(void)
{
    struct land_range missing;
    while (land_missing(follower.shard, f.shard->log.lsn_end, &missing)) {
        uint64_t available;
        const uint8_t *bytes = log_bytes_at(&f.shard->log, missing.lsn_start, &available);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        CU_ASSERT(land_bytes(follower.shard, missing.lsn_start, bytes, available) >= 0);
        CU_ASSERT(land_check(follower.shard) >= 0);
    }
    fixture_commit(&follower);
    fixture_answers(&follower);
}

/* ---- increments ---- */

static void sums_are_kept_as_text(void)
{
    open();
    CU_ASSERT_EQUAL(add("n", 5), RING_OK);
    CU_ASSERT_EQUAL(answer.number, 5);
    CU_ASSERT_EQUAL(answer.lsn, version_of(&f, "n"));
    CU_ASSERT_TRUE(fixture_holds(&f, "n", "5"));
    CU_ASSERT_EQUAL(add("n", -12), RING_OK);
    CU_ASSERT_EQUAL(answer.number, -7);
    CU_ASSERT_TRUE(fixture_holds(&f, "n", "-7"));
    CU_ASSERT_EQUAL(add("n", 7), RING_OK);
    CU_ASSERT_EQUAL(answer.number, 0);
    CU_ASSERT_TRUE(fixture_holds(&f, "n", "0"));
    /* what was put is counted on, and a key that was deleted begins anew */
    CU_ASSERT_EQUAL(fixture_put(&f, "n", 1, "40", 2), 0);
    CU_ASSERT_EQUAL(add("n", 2), RING_OK);
    CU_ASSERT_EQUAL(answer.origin.operation, RING_PUT);
    CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.number, 42);
    CU_ASSERT_EQUAL(fixture_delete(&f, "n", 1), 0);
    fixture_settle(&f);
    CU_ASSERT_EQUAL(add("n", 3), RING_OK);
    CU_ASSERT_EQUAL(answer.number, 3);
    close();
}

static void what_cannot_be_added_leaves_a_void(void)
{
    open();
    CU_ASSERT_EQUAL(fixture_put(&f, "word", 4, "heron", 5), 0);
    fixture_settle(&f);
    uint64_t word = version_of(&f, "word");
    CU_ASSERT_EQUAL(add("word", 1), RING_NOT_NUMBER);
    CU_ASSERT_EQUAL(answer.lsn, word);
    CU_ASSERT_EQUAL(answer.number, 0);
    CU_ASSERT_EQUAL(add("n", INT64_MAX), RING_OK);
    uint64_t n = answer.lsn;
    CU_ASSERT_EQUAL(add("n", 1), RING_RANGE);
    CU_ASSERT_EQUAL(answer.lsn, n);
    CU_ASSERT_EQUAL(add("n", INT64_MIN), RING_OK);
    CU_ASSERT_EQUAL(answer.number, -1);
    CU_ASSERT_EQUAL(add("n", INT64_MIN), RING_RANGE);
    CU_ASSERT_TRUE(fixture_holds(&f, "word", "heron"));
    CU_ASSERT_TRUE(fixture_holds(&f, "n", "-1"));
    CU_ASSERT_EQUAL(session.sequence, 5); /* none of them was refused for a gap */
    close();
}

/* Not committed, committed, and where it landed. */
static void one_that_is_repeated_adds_once(void)
{
    open();
    struct shard_write w = increment("n", 5, 1);
    CU_ASSERT_EQUAL(shard_write(f.shard, &w), 0);
    CU_ASSERT_EQUAL(shard_write(f.shard, &w), 0);
    fixture_commit(&f);
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_TRUE_FATAL(shard_answer_next(f.shard, &answer));
        CU_ASSERT_EQUAL(answer.number, 5);
    }
    session.sequence = 1;
    CU_ASSERT_EQUAL(add("n", 100), RING_OK);
    CU_ASSERT_EQUAL(answer.number, 105);
    land_all();
    struct shard *const both[] = {f.shard, follower.shard};
    for (uint32_t i = 0; i < 2; i++) {
        for (w.sequence = 1; w.sequence <= 2; w.sequence++) {
            CU_ASSERT_EQUAL(shard_write(both[i], &w), 0);
            CU_ASSERT_TRUE_FATAL(shard_answer_next(both[i], &answer));
            CU_ASSERT_EQUAL(answer.status, RING_OK);
            CU_ASSERT_EQUAL(answer.number, w.sequence == 1 ? 5 : 105);
        }
    }
    CU_ASSERT_TRUE(fixture_holds(&f, "n", "105"));
    CU_ASSERT_TRUE(fixture_holds(&follower, "n", "105"));
    close();
}

static void a_condition_goes_with_it(void)
{
    open();
    struct shard_write w = increment("n", 5, 1);
    w.compare = RING_COMPARE_VERSION;
    CU_ASSERT_EQUAL(shard_write(f.shard, &w), 0);
    w.sequence = 2;
    CU_ASSERT_EQUAL(shard_write(f.shard, &w), 0);
    fixture_commit(&f);
    CU_ASSERT_TRUE_FATAL(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.status, RING_OK);
    uint64_t lsn = answer.lsn;
    CU_ASSERT_TRUE_FATAL(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.status, RING_CONDITION);
    CU_ASSERT_EQUAL(answer.lsn, lsn);
    CU_ASSERT_EQUAL(answer.number, 0);
    close();
}

/* ---- transactions ---- */

static void the_conditions_choose_the_branch(void)
{
    open();
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(DONE(asked("a", RING_COMPARE_ABSENT, 0), put("a", "then"), plus("n", 1),
                             otherwise(put("b", "else")), otherwise(plus("n", 100)),
                             otherwise(erase("a"))),
                        RING_OK);
        CU_ASSERT_EQUAL(answer.number, i != 1);
        CU_ASSERT_EQUAL(answer.lsn, i != 1 ? version_of(&f, "n") : answer.lsn);
        CU_ASSERT_EQUAL(version_of(&f, "a") != 0, i != 1);
        CU_ASSERT_EQUAL(version_of(&f, "b") != 0, i != 0);
    }
    CU_ASSERT_TRUE(fixture_holds(&f, "n", "102"));
    /* nothing is to be done then */
    uint64_t end = f.shard->log.lsn_whole;
    CU_ASSERT_EQUAL(
        DONE(asked("a", RING_COMPARE_ABSENT, 0), put("a", "again"), otherwise(erase("nobody"))),
        RING_OK);
    CU_ASSERT_EQUAL(answer.number, 0);
    CU_ASSERT_EQUAL(answer.lsn, 0);
    CU_ASSERT(f.shard->log.lsn_whole > end); /* the sequence went on */
    CU_ASSERT_EQUAL(DONE(asked("a", RING_COMPARE_ABSENT, 0), put("a", "again")), RING_CONDITION);
    CU_ASSERT_EQUAL(answer.lsn, version_of(&f, "a"));
    CU_ASSERT_TRUE(fixture_holds(&f, "a", "then"));
    close();
}

static void its_branch_is_told_again_where_it_landed(void)
{
    static const int64_t branches[] = {1, 0, 1, 0, 0};
    open();
    const struct shard_item first[] = {asked("a", RING_COMPARE_ABSENT, 0), put("a", "1"),
                                       otherwise(put("b", "2"))};
    const struct shard_item nothing[] = {asked("a", RING_COMPARE_EXISTS, 0), erase("nobody"),
                                         otherwise(put("b", "3"))};
    const struct shard_item else_nothing[] = {asked("a", RING_COMPARE_ABSENT, 0), put("a", "4"),
                                              otherwise(erase("nobody"))};
    const struct shard_item refused[] = {asked("a", RING_COMPARE_ABSENT, 0), put("a", "5")};
    CU_ASSERT_EQUAL(done(first, 3), RING_OK);
    CU_ASSERT_EQUAL(done(first, 3), RING_OK);
    CU_ASSERT_EQUAL(done(nothing, 3), RING_OK);
    CU_ASSERT_EQUAL(done(else_nothing, 3), RING_OK);
    CU_ASSERT_EQUAL(done(refused, 2), RING_CONDITION);
    land_all();
    struct shard *const both[] = {f.shard, follower.shard};
    for (uint32_t i = 0; i < 2; i++) {
        struct shard_transaction t = transaction(refused, 2);
        t.origin.operation = RING_TRANSACTION;
        t.session = session.session;
        t.session_slot = session.session_slot;
        t.uid = UID;
        for (t.sequence = 1; t.sequence <= 5; t.sequence++) {
            CU_ASSERT_EQUAL(shard_transaction(both[i], &t), 0);
            CU_ASSERT_TRUE_FATAL(shard_answer_next(both[i], &answer));
            CU_ASSERT_EQUAL(answer.number, branches[t.sequence - 1]);
            CU_ASSERT_EQUAL(answer.status, t.sequence == 5 ? RING_CONDITION : RING_OK);
        }
    }
    CU_ASSERT_TRUE(fixture_holds(&follower, "a", "1"));
    CU_ASSERT_TRUE(fixture_holds(&follower, "b", "2"));
    close();
}

static void one_sum_that_cannot_be_refuses_all(void)
{
    open();
    CU_ASSERT_EQUAL(DONE(put("a", "no number"), plus("n", INT64_MAX)), RING_OK);
    uint64_t a = version_of(&f, "a"), n = version_of(&f, "n");
    CU_ASSERT_EQUAL(DONE(put("b", "1"), plus("a", 1), plus("n", 1)), RING_NOT_NUMBER);
    CU_ASSERT_EQUAL(answer.lsn, a);
    CU_ASSERT_EQUAL(DONE(put("b", "1"), plus("n", 1)), RING_RANGE);
    CU_ASSERT_EQUAL(answer.lsn, n);
    /* in the branch that is not done it refuses nothing */
    CU_ASSERT_EQUAL(
        DONE(asked("a", RING_COMPARE_EXISTS, 0), put("c", "1"), otherwise(plus("a", 1))), RING_OK);
    CU_ASSERT_EQUAL(answer.number, 1);
    CU_ASSERT_EQUAL(version_of(&f, "b"), 0);
    close();
}

static void what_has_no_meaning_is_refused_by_name(void)
{
    open();
    uint64_t end = f.shard->log.lsn_end;
    uint64_t next = session.sequence + 1;
    CU_ASSERT_EQUAL(carry_out(ITEMS_OF(otherwise(only_if(put("a", "1"), 0))), next), RING_INPUT);
    CU_ASSERT_EQUAL(carry_out(ITEMS_OF(otherwise(check("a", 0))), next), RING_INPUT);
    struct shard_item item = put("a", "1");
    item.section = RING_SECTION_COMPARE;
    CU_ASSERT_EQUAL(carry_out(&item, 1, next), RING_INPUT);
    item.section = RING_SECTION_ELSE + 1;
    CU_ASSERT_EQUAL(carry_out(&item, 1, next), RING_INPUT);
    CU_ASSERT_EQUAL(carry_out(ITEMS_OF(asked("a", RING_COMPARE_COUNT, 0)), next), RING_INPUT);
    CU_ASSERT_EQUAL(carry_out(ITEMS_OF(plus("a", 1), plus("a", 2)), next), RING_INPUT);
    CU_ASSERT_EQUAL(carry_out(ITEMS_OF(otherwise(plus("a", 1)), otherwise(erase("a"))), next),
                    RING_INPUT);
    CU_ASSERT_EQUAL(f.shard->log.lsn_end, end);
    /* but a key may be asked for twice, and be in both branches */
    CU_ASSERT_EQUAL(DONE(asked("a", RING_COMPARE_ABSENT, 0), asked("a", RING_COMPARE_VERSION, 0),
                         put("a", "1"), otherwise(put("a", "2"))),
                    RING_OK);
    close();
}

static void a_token_is_compared(void)
{
    open();
    const struct record_token token = {
        .type = RECORD_EXTENSION_TOKEN, .length = sizeof token - 4, .token = 4096};
    struct shard_item held = put("door", "open");
    held.extension = &token;
    held.extension_length = sizeof token;
    CU_ASSERT_EQUAL(DONE(held, put("plain", "1")), RING_OK);
    CU_ASSERT_EQUAL(DONE(asked("door", RING_COMPARE_TOKEN, 4096), put("x", "1")), RING_OK);
    CU_ASSERT_EQUAL(DONE(asked("door", RING_COMPARE_TOKEN, 4104), put("x", "2")), RING_CONDITION);
    CU_ASSERT_EQUAL(answer.lsn, version_of(&f, "door"));
    CU_ASSERT_EQUAL(DONE(asked("plain", RING_COMPARE_TOKEN, 4096), put("x", "2")), RING_CONDITION);
    CU_ASSERT_EQUAL(DONE(asked("gone", RING_COMPARE_TOKEN, 0), put("x", "2")), RING_CONDITION);
    CU_ASSERT_TRUE(fixture_holds(&f, "x", "1"));
    close();
}

static const struct unit_test tests[] = {
    UNIT_TEST(sums_are_kept_as_text),
    UNIT_TEST(what_cannot_be_added_leaves_a_void),
    UNIT_TEST(one_that_is_repeated_adds_once),
    UNIT_TEST(a_condition_goes_with_it),
    UNIT_TEST(the_conditions_choose_the_branch),
    UNIT_TEST(its_branch_is_told_again_where_it_landed),
    UNIT_TEST(one_sum_that_cannot_be_refuses_all),
    UNIT_TEST(what_has_no_meaning_is_refused_by_name),
    UNIT_TEST(a_token_is_compared),
};
UNIT_MAIN("increment", tests)
