/* What a follower makes of several writes that count together or not at all, and what a cut does. */
#include "engine/land.h"
#include "engine/pending.h"
#include "tests/unit/engine/transaction_items.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define ITEMS LIMIT_TRANSACTION_RECORDS

static struct fixture f, follower;
static struct shard_answer answer;

static const struct fixture_config ordinary = {.quota_bytes = UINT64_C(4) << 20, .shard_count = 1};

#define TRY(...) transaction_try(&f, ITEMS_OF(__VA_ARGS__))
#define DONE(...) transaction_done(&f, &answer, ITEMS_OF(__VA_ARGS__))

static void open_session(struct shard_transaction *t)
{
    static const uint8_t id[SESSION_ID_BYTES] = {1};
    const struct shard_origin origin = {.operation = RING_SESSION_OPEN};
    CU_ASSERT_EQUAL_FATAL(shard_session_open(f.shard, &origin, id, 5, 0), 0);
    fixture_commit(&f);
    CU_ASSERT_TRUE_FATAL(shard_answer_next(f.shard, &answer));
    t->session = answer.lsn;
    t->session_slot = answer.session_slot;
    t->uid = 5;
}

static void land(uint64_t lsn, uint64_t length)
{
    uint64_t available;
    const uint8_t *bytes = log_bytes_at(&f.shard->log, lsn, &available);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    int result = land_bytes(follower.shard, lsn, bytes, min_u64(length, available));
    CU_ASSERT(result >= 0);
    CU_ASSERT(land_check(follower.shard) >= 0);
}

static void open_both(void)
{
    fixture_open(&f, &ordinary);
    fixture_open(&follower, &ordinary);
    shard_grant(f.shard, UINT64_C(1) << 40);
}

/* However it is cut into pieces, the follower's log grows by whole transactions. */
static void half_of_it_is_nothing_at_a_follower(void)
{
    open_both();
    uint64_t start = f.shard->log.lsn_whole;
    CU_ASSERT_EQUAL(DONE(put("a", "old")), RING_OK);
    uint64_t first = f.shard->log.lsn_whole;
    CU_ASSERT_EQUAL(DONE(put("a", "1"), put("b", "2"), put("c", "3")), RING_OK);
    uint64_t end = f.shard->log.lsn_whole;
    for (uint64_t at = start; at < end; at += 8) {
        land(at, 8);
        uint64_t whole = at + 8 >= end ? end : at + 8 >= first ? first : start;
        CU_ASSERT_EQUAL(follower.shard->log.lsn_whole, whole);
    }
    CU_ASSERT_EQUAL(follower.shard->pending_tail - follower.shard->pending_applied, 4);
    shard_commit(follower.shard, first);
    CU_ASSERT_EQUAL(follower.shard->pending_tail - follower.shard->pending_applied, 3);
    shard_commit(follower.shard, end);
    CU_ASSERT_EQUAL(follower.shard->pending_tail, follower.shard->pending_applied);
    CU_ASSERT_EQUAL(follower.shard->live_bytes, fixture_live_bytes(&follower, NULL));
    fixture_close(&f);
    fixture_close(&follower);
}

static void it_is_cut_as_a_whole(void)
{
    open_both();
    CU_ASSERT_EQUAL(DONE(put("a", "old"), put("c", "old")), RING_OK);
    uint64_t before = f.shard->log.lsn_whole;
    CU_ASSERT_EQUAL(TRY(put("a", "1"), put("b", "2"), erase("c")), 0);
    uint64_t inside = pending_at(f.shard, f.shard->pending_tail - 2)->lsn;
    CU_ASSERT_EQUAL(f.shard->index.key_count, 3);
    f.now.context = &f;
    CU_ASSERT_EQUAL(land_cut(f.shard, inside, &f.now), -EINVAL); /* no end of a transaction */
    CU_ASSERT_EQUAL(f.shard->log.lsn_whole, f.shard->log.lsn_end);
    CU_ASSERT_EQUAL(land_cut(f.shard, before, &f.now), 0);
    CU_ASSERT_EQUAL(f.shard->log.lsn_end, before);
    CU_ASSERT_EQUAL(f.shard->index.key_count, 2);
    CU_ASSERT_TRUE(fixture_holds(&f, "a", "old"));
    CU_ASSERT_TRUE(fixture_holds(&f, "c", "old"));
    CU_ASSERT_EQUAL(version_of(&f, "b"), 0);
    CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    /* who waits for it hears so with the next commit, once */
    CU_ASSERT_EQUAL(transaction_try(&f, many(1, 1, 8), 1), 0);
    fixture_commit(&f);
    CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.status, RING_RETRY);
    CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.status, RING_OK);
    CU_ASSERT_FALSE(shard_answer_next(f.shard, &answer));
    fixture_close(&f);
    fixture_close(&follower);
}

/* The list of what waits for its commit is full in the midst of it: it is taken whole, later. */
static void a_follower_without_room_takes_it_later(void)
{
    open_both();
    uint64_t start = f.shard->log.lsn_whole;
    for (uint32_t i = 0; i < LIMIT_PENDING / ITEMS + 1; i++) {
        CU_ASSERT_EQUAL(transaction_done(&f, &answer, many(i, ITEMS - 1, 8), ITEMS - 1), RING_OK);
        (void)fixture_maintain(&f);
    }
    uint64_t at = start;
    int result = 0;
    while (at < f.shard->log.lsn_whole && result >= 0) {
        uint64_t available;
        const uint8_t *bytes = log_bytes_at(&f.shard->log, at, &available);
        CU_ASSERT(land_bytes(follower.shard, at, bytes, available) >= 0);
        at += available;
        result = land_check(follower.shard);
    }
    CU_ASSERT_EQUAL(result, -EAGAIN);
    uint32_t waiting = follower.shard->pending_tail - follower.shard->pending_applied;
    CU_ASSERT(waiting > LIMIT_PENDING - ITEMS);
    CU_ASSERT_EQUAL(waiting % (ITEMS - 1), 0);
    fixture_commit(&follower);
    fixture_answers(&follower);
    CU_ASSERT(land_check(follower.shard) > 0);
    CU_ASSERT_EQUAL(follower.shard->log.lsn_whole, f.shard->log.lsn_whole);
    fixture_settle(&follower);
    CU_ASSERT_EQUAL(follower.shard->live_bytes, fixture_live_bytes(&follower, NULL));
    fixture_close(&f);
    fixture_close(&follower);
}

/* The one that takes over gives the same answer to who asks again. */
static void a_duplicate_is_answered_where_it_landed(void)
{
    open_both();
    const struct shard_item items[] = {put("a", "1"), put("b", "2"), erase("a")};
    struct shard_transaction t = transaction(items, 2);
    uint64_t at = f.shard->log.lsn_whole;
    open_session(&t);
    t.sequence = 1;
    CU_ASSERT_EQUAL(shard_transaction(f.shard, &t), 0);
    t.items = &items[1];
    t.sequence = 2;
    CU_ASSERT_EQUAL(shard_transaction(f.shard, &t), 0);
    fixture_commit(&f);
    land(at, UINT64_MAX / 2);
    fixture_commit(&follower);
    CU_ASSERT_EQUAL(follower.shard->log.lsn_whole, f.shard->log.lsn_whole);
    for (t.sequence = 1; t.sequence <= 2; t.sequence++) {
        struct shard_answer there;
        CU_ASSERT_TRUE_FATAL(shard_answer_next(f.shard, &answer));
        t.items = &items[t.sequence - 1];
        CU_ASSERT_EQUAL(shard_transaction(follower.shard, &t), 0);
        CU_ASSERT_TRUE_FATAL(shard_answer_next(follower.shard, &there));
        CU_ASSERT_EQUAL(there.status, answer.status);
        CU_ASSERT_EQUAL(there.lsn, answer.lsn);
    }
    CU_ASSERT_EQUAL(follower.shard->log.lsn_whole, f.shard->log.lsn_whole);
    fixture_close(&f);
    fixture_close(&follower);
}

static const struct unit_test tests[] = {
    UNIT_TEST(half_of_it_is_nothing_at_a_follower),
    UNIT_TEST(it_is_cut_as_a_whole),
    UNIT_TEST(a_follower_without_room_takes_it_later),
    UNIT_TEST(a_duplicate_is_answered_where_it_landed),
};
UNIT_MAIN("transaction_land", tests)
