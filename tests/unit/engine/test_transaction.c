/* Several writes that count together or not at all: conditions, answers, room. */
#include "engine/pending.h"
#include "tests/unit/engine/transaction_items.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#define ITEMS LIMIT_TRANSACTION_RECORDS
#define ROOM (LIMIT_PENDING - LIMIT_EPOCHS) /* of the pending list, for operations of agents */

static struct fixture f;
static struct shard_answer answer;

static const struct fixture_config ordinary = {.quota_bytes = UINT64_C(4) << 20, .shard_count = 1};
/* so little that the cleaner works all the time */
static const struct fixture_config small = {.quota_bytes = UINT64_C(2) << 20, .shard_count = 1};

static void open(void)
{
    fixture_open(&f, &ordinary);
    shard_grant(f.shard, UINT64_C(1) << 40);
    CU_ASSERT_FALSE(shard_answer_next(f.shard, &answer)); /* nobody waits for the epoch's record */
}

#define TRY(...) transaction_try(&f, ITEMS_OF(__VA_ARGS__))
#define DONE(...) transaction_done(&f, &answer, ITEMS_OF(__VA_ARGS__))

/* ---- what it means ---- */

static void all_of_it_is_done(void)
{
    open();
    CU_ASSERT_EQUAL(DONE(put("c", "gone soon")), RING_OK);
    uint64_t c = answer.lsn;
    CU_ASSERT_EQUAL(DONE(put("d", "asked for")), RING_OK);
    uint64_t d = answer.lsn;
    uint64_t start = f.shard->log.lsn_end;
    CU_ASSERT_EQUAL(
        DONE(only_if(put("a", "one"), 0), check("d", d), only_if(erase("c"), c), put("b", "two")),
        RING_OK);
    CU_ASSERT_TRUE(fixture_holds(&f, "a", "one"));
    CU_ASSERT_TRUE(fixture_holds(&f, "b", "two"));
    CU_ASSERT_TRUE(fixture_holds(&f, "d", "asked for"));
    CU_ASSERT_EQUAL(version_of(&f, "c"), 0);
    CU_ASSERT_EQUAL(version_of(&f, "d"), d);
    CU_ASSERT_EQUAL(answer.lsn, version_of(&f, "b")); /* the last record's */
    CU_ASSERT(version_of(&f, "a") >= start && version_of(&f, "a") < version_of(&f, "b"));
    CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    fixture_close(&f);
}

/* One end flag, on the last record, which alone names the session. */
static void its_records_stand_next_to_each_other(void)
{
    open();
    uint64_t at = f.shard->log.lsn_end;
    CU_ASSERT_EQUAL(DONE(put("a", "1"), check("x", 0), put("b", "2"), put("c", "3")), RING_OK);
    uint32_t count = 0, ends = 0;
    while (at < f.shard->log.lsn_end) {
        uint64_t available;
        struct record h;
        const uint8_t *bytes = log_bytes_at(&f.shard->log, at, &available);
        int64_t size = record_check(bytes, available, &h);
        CU_ASSERT_FATAL(size > 0);
        at += (uint64_t)size;
        if (h.kind == RECORD_PAD)
            continue;
        count++;
        CU_ASSERT_EQUAL(h.kind, RECORD_DATA);
        CU_ASSERT_EQUAL((h.flags & RECORD_FLAG_TRANSACTION_END) != 0, count == 3);
        ends += (h.flags & RECORD_FLAG_TRANSACTION_END) != 0;
    }
    CU_ASSERT_EQUAL(count, 3);
    CU_ASSERT_EQUAL(ends, 1);
    fixture_close(&f);
}

static void one_condition_that_fails_refuses_all(void)
{
    open();
    CU_ASSERT_EQUAL(DONE(put("a", "one")), RING_OK);
    uint64_t a = answer.lsn;
    CU_ASSERT_EQUAL(DONE(put("b", "two"), put("a", "three"), check("c", 8)), RING_CONDITION);
    CU_ASSERT_EQUAL(answer.lsn, 0); /* nothing stands there */
    CU_ASSERT_EQUAL(DONE(put("b", "two"), only_if(put("a", "three"), 0)), RING_CONDITION);
    CU_ASSERT_EQUAL(answer.lsn, a);
    /* the first of two */
    CU_ASSERT_EQUAL(DONE(check("b", 8), check("a", 0)), RING_CONDITION);
    CU_ASSERT_EQUAL(answer.lsn, 0);
    CU_ASSERT_EQUAL(DONE(only_if(erase("a"), a + 8), put("b", "two")), RING_CONDITION);
    CU_ASSERT_EQUAL(answer.lsn, a);
    CU_ASSERT_TRUE(fixture_holds(&f, "a", "one"));
    CU_ASSERT_EQUAL(version_of(&f, "b"), 0);
    CU_ASSERT_EQUAL(fixture_counter(&f, COUNTER_CONDITIONS_FAILED), 4);
    CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    fixture_close(&f);
}

static void what_is_gone_already_needs_no_record(void)
{
    open();
    CU_ASSERT_EQUAL(DONE(erase("a"), put("b", "two"), erase("c")), RING_OK);
    CU_ASSERT_EQUAL(answer.lsn, version_of(&f, "b"));
    uint64_t b = answer.lsn;
    CU_ASSERT_EQUAL(DONE(erase("a"), erase("c")), RING_OK);
    CU_ASSERT_EQUAL(answer.lsn, 0);
    CU_ASSERT_EQUAL(DONE(check("a", 0), check("b", b)), RING_OK);
    CU_ASSERT_EQUAL(answer.lsn, 0);
    CU_ASSERT_EQUAL(fixture_counter(&f, COUNTER_CONDITIONS_FAILED), 0);
    CU_ASSERT_TRUE(fixture_holds(&f, "b", "two"));
    fixture_close(&f);
}

/* In place nothing of it is there before all of it is; by the ring a read waits for all of it. */
static void nothing_of_it_is_seen_before_all_is_committed(void)
{
    open();
    CU_ASSERT_EQUAL(DONE(put("a", "old"), put("b", "old")), RING_OK);
    uint64_t before = f.shard->log.lsn_whole;
    CU_ASSERT_EQUAL(TRY(put("a", "new"), put("b", "new"), put("c", "new")), 0);
    for (uint32_t i = f.shard->pending_applied; i != f.shard->pending_tail; i++)
        CU_ASSERT_EQUAL(pending_at(f.shard, i)->lsn_wait, f.shard->log.lsn_whole);
    shard_commit(f.shard, before);
    CU_ASSERT_FALSE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_TRUE(fixture_holds(&f, "a", "old"));
    CU_ASSERT_TRUE(fixture_holds(&f, "b", "old"));
    CU_ASSERT_EQUAL(version_of(&f, "c"), 0);
    struct shard_read r = {
        .origin = {.operation = RING_GET},
        .hash = hash_key("a", 1),
        .key = "a",
        .key_length = 1,
    };
    CU_ASSERT_EQUAL_FATAL(shard_read(f.shard, &r), 0);
    CU_ASSERT_FALSE(shard_answer_next(f.shard, &answer));
    shard_commit(f.shard, f.shard->log.lsn_whole);
    CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.origin.tag, TRANSACTION_TAG);
    CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.lsn, version_of(&f, "a"));
    CU_ASSERT_TRUE(fixture_holds(&f, "a", "new"));
    CU_ASSERT_TRUE(fixture_holds(&f, "c", "new"));
    fixture_close(&f);
}

static void what_cannot_be_is_refused_by_name(void)
{
    static struct shard_item items[ITEMS + 1];
    static char names[ITEMS + 1][32];
    static char value[1u << LIMIT_SEGMENT_SHIFT_MAX];
    open();
    uint64_t end = f.shard->log.lsn_end;
    CU_ASSERT_EQUAL(transaction_try(&f, items, 0), RING_INPUT);
    CU_ASSERT_EQUAL(TRY(put("a", "1"), put("b", "2"), erase("a")), RING_INPUT);
    CU_ASSERT_EQUAL(TRY(put("a", "1"), check("a", 0)), RING_INPUT);
    CU_ASSERT_EQUAL(TRY(put("a", "1"), item_of(RING_NOP, "b", NULL)), RING_INPUT);
    CU_ASSERT_EQUAL(TRY(put("a", "1"), item_of(RING_GET, "b", NULL)), RING_INPUT);
    for (uint32_t i = 0; i <= ITEMS; i++) {
        (void)fixture_key(i, names[i]);
        items[i] = put(names[i], "v");
    }
    CU_ASSERT_EQUAL(transaction_try(&f, items, ITEMS + 1), RING_TOO_LARGE);
    items[1].value = value;
    items[1].value_length = f.shard->value_bytes_max + 1;
    CU_ASSERT_EQUAL(transaction_try(&f, items, 2), RING_TOO_LARGE);
    items[0].value = value;
    items[0].value_length = f.shard->value_bytes_max / 2;
    items[1].value_length = f.shard->value_bytes_max;
    CU_ASSERT_EQUAL(transaction_try(&f, items, 2), RING_TOO_LARGE);
    CU_ASSERT_EQUAL(f.shard->log.lsn_end, end);
    CU_ASSERT_FALSE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(transaction_done(&f, &answer, items + 2, ITEMS - 1),
                    RING_OK); /* as many as there may be */
    CU_ASSERT_EQUAL(f.shard->index.key_count, ITEMS - 1);
    fixture_close(&f);
}

/* ---- sessions ---- */

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

static void a_sequence_is_one_transaction_and_counts_once(void)
{
    open();
    const struct shard_item items[] = {put("a", "1"), put("b", "2")};
    struct shard_transaction t = transaction(items, 2);
    open_session(&t);
    t.sequence = 2;
    CU_ASSERT_EQUAL(shard_transaction(f.shard, &t), RING_SEQUENCE);
    t.sequence = 1;
    CU_ASSERT_EQUAL(shard_transaction(f.shard, &t), 0);
    uint64_t end = f.shard->log.lsn_end;
    CU_ASSERT_EQUAL(shard_transaction(f.shard, &t), 0); /* not committed yet */
    fixture_commit(&f);
    CU_ASSERT_EQUAL(shard_transaction(f.shard, &t), 0);
    for (unsigned i = 0; i < 3; i++) {
        CU_ASSERT_TRUE_FATAL(shard_answer_next(f.shard, &answer));
        CU_ASSERT_EQUAL(answer.status, RING_OK);
        CU_ASSERT_EQUAL(answer.lsn, version_of(&f, "b"));
        CU_ASSERT_EQUAL(answer.sequence, 1);
    }
    CU_ASSERT_FALSE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(f.shard->log.lsn_end, end);
    CU_ASSERT_EQUAL(fixture_counter(&f, COUNTER_OPERATIONS), 1);
    /* what failed is remembered as well; then the next one goes on */
    const struct shard_item failing[] = {put("c", "3"), check("a", 0)};
    t.items = failing;
    t.sequence = 2;
    for (unsigned i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(shard_transaction(f.shard, &t), 0);
        fixture_commit(&f);
        CU_ASSERT_TRUE_FATAL(shard_answer_next(f.shard, &answer));
        CU_ASSERT_EQUAL(answer.status, RING_CONDITION);
        CU_ASSERT_EQUAL(answer.lsn, version_of(&f, "a"));
    }
    t.uid = 6;
    t.sequence = 3;
    CU_ASSERT_EQUAL(shard_transaction(f.shard, &t), RING_FATE_UNKNOWN);
    fixture_close(&f);
}

/* ---- room ---- */

/* Wherever the tail is, the records of one lie in one segment. */
static void it_lies_in_one_segment(void)
{
    fixture_open(&f, &small);
    uint64_t segment = UINT64_C(1) << f.geometry.segment_shift;
    uint64_t seed = 1;
    uint32_t changes = 0;
    for (uint32_t round = 0; round < 4000; round++) {
        uint32_t count = 1 + fixture_below(&seed, 8);
        uint32_t length = fixture_below(&seed, (uint32_t)segment / count - 200);
        (void)fixture_maintain(&f);
        uint64_t from = f.shard->log.lsn_whole;
        int result = transaction_try(&f, many(fixture_below(&seed, 3), count, length), count);
        CU_ASSERT(result == 0 || result == -EAGAIN);
        if (result != 0) {
            CU_ASSERT_EQUAL(f.shard->log.lsn_whole, from);
            CU_ASSERT_EQUAL(f.shard->pending_tail, f.shard->pending_head);
            continue;
        }
        uint64_t end = f.shard->log.lsn_whole;
        uint64_t first = pending_at(f.shard, f.shard->pending_head)->lsn;
        CU_ASSERT_EQUAL(f.shard->pending_tail - f.shard->pending_head, count);
        CU_ASSERT_EQUAL(first / segment, (end - 1) / segment);
        changes += from / segment != first / segment;
        fixture_commit(&f);
        fixture_answers(&f);
        CU_ASSERT_EQUAL_FATAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    }
    CU_ASSERT(changes > 500);
    CU_ASSERT(fixture_counter(&f, COUNTER_SEGMENTS_FREED) > 100);
    fixture_close(&f);
}

/* Nothing is appended while the ceiling is too low for all of it, whichever segment it goes to. */
static void the_ceiling_is_above_all_of_it(void)
{
    for (uint32_t lead = 0; lead < 30; lead++) {
        fixture_open(&f, &small);
        uint64_t segment = UINT64_C(1) << f.geometry.segment_shift;
        for (uint32_t i = 0; i < lead; i++)
            CU_ASSERT_EQUAL(transaction_done(&f, &answer, many(i, 1, 4000), 1), RING_OK);
        uint64_t end = f.shard->log.lsn_end;
        f.shard->log.lsn_ceiling = end;
        int result = -EAGAIN;
        for (uint32_t step = 0; result == -EAGAIN && step < 100000; step++) {
            CU_ASSERT_EQUAL_FATAL(f.shard->log.lsn_end, end);
            shard_grant(f.shard, f.shard->log.lsn_ceiling + 8);
            result = transaction_try(&f, many(40, 4, 8000), 4);
        }
        CU_ASSERT_EQUAL(result, 0);
        CU_ASSERT_EQUAL(f.shard->log.lsn_end + segment, f.shard->log.lsn_ceiling);
        fixture_close(&f);
    }
}

static void the_pending_list_has_room_for_all_of_it(void)
{
    open();
    uint32_t appended = 0;
    while (appended < ROOM - 2 && transaction_try(&f, many(appended, 1, 8), 1) == 0)
        appended++;
    CU_ASSERT_EQUAL(appended, ROOM - 2);
    uint64_t end = f.shard->log.lsn_end;
    CU_ASSERT_EQUAL(TRY(put("a", "1"), put("b", "2"), put("c", "3")), -EAGAIN);
    CU_ASSERT_EQUAL(f.shard->log.lsn_end, end);
    CU_ASSERT_EQUAL(TRY(put("a", "1"), put("b", "2")), 0);
    fixture_settle(&f);
    CU_ASSERT_TRUE(fixture_holds(&f, "a", "1"));
    CU_ASSERT_EQUAL(f.answers, ROOM - 1);
    fixture_close(&f);
}

/* No segment is free: it comes back with nothing appended, and a read that came meanwhile does not wait
 * for it, since the memory comes only when no read waits. */
static void without_memory_nothing_of_it_is_appended(void)
{
    struct fixture_config few = small;
    few.frames_per_shard = LIMIT_SHARD_FRAMES_MIN;
    fixture_open(&f, &few);
    f.grace_held = true;
    int result = 0;
    for (uint32_t i = 0; i < 1000 && result == 0; i++) {
        (void)fixture_maintain(&f);
        result = transaction_try(&f, many(0, 5, 10000), 5);
        shard_commit(f.shard, f.shard->log.lsn_whole);
    }
    CU_ASSERT_EQUAL(result, -EAGAIN);
    CU_ASSERT_EQUAL(f.shard->pending_applied, f.shard->pending_tail);
    CU_ASSERT(f.shard->log.lsn_end > f.shard->log.lsn_whole); /* the segment was filled up */
    const struct shard_item *asked = many(2, 1, 8);
    struct shard_read r = {
        .origin = {.operation = RING_GET},
        .hash = asked->hash,
        .key = asked->key,
        .key_length = asked->key_length,
    };
    fixture_answers(&f);
    CU_ASSERT_EQUAL_FATAL(shard_read(f.shard, &r), 0);
    CU_ASSERT_TRUE(shard_answer_next(f.shard, &answer));
    CU_ASSERT_EQUAL(answer.status, RING_OK);
    f.grace_held = false;
    for (uint32_t i = 0; i < 1000 && result == -EAGAIN; i++) {
        (void)fixture_maintain(&f);
        result = transaction_try(&f, many(0, 5, 10000), 5);
    }
    CU_ASSERT_EQUAL(result, 0);
    fixture_close(&f);
}

#define NEW_KEYS 60u

/* What a transaction of new keys comes to while no frame is to be had. */
static int try_without_frames(bool ordered, uint64_t *end)
{
    struct fixture_config c = ordinary;
    uint32_t taken[FIXTURE_FRAMES], count = 0;
    c.ordered = ordered;
    fixture_open(&f, &c);
    CU_ASSERT_EQUAL_FATAL(fixture_put(&f, "a", 1, "1", 1), 0);
    fixture_settle(&f);
    struct frames *frames = &f.shard->frames;
    while (frames_available(frames) > FRAMES_KEPT)
        CU_ASSERT_EQUAL_FATAL(frames_take(frames, FRAME_TAIL, 0, &taken[count++]), 0);
    *end = f.shard->log.lsn_end;
    int result = transaction_try(&f, many(0, NEW_KEYS, 8), NEW_KEYS);
    while (count != 0)
        frames_give(frames, taken[--count]);
    return result;
}

/* The ordered index would need nodes: all is as if nobody had asked, and comes later. */
static void without_memory_for_the_order_nothing_is_left(void)
{
    uint64_t end;
    CU_ASSERT_EQUAL(try_without_frames(false, &end), 0); /* nothing else is short of it */
    CU_ASSERT(f.shard->log.lsn_end > end);
    fixture_close(&f);
    CU_ASSERT_EQUAL_FATAL(try_without_frames(true, &end), -EAGAIN);
    const struct order *o = &f.shard->order;
    CU_ASSERT_EQUAL(f.shard->log.lsn_end, end);
    CU_ASSERT_EQUAL(f.shard->pending_applied, f.shard->pending_tail);
    CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    /* relaxed: this thread's own */
    CU_ASSERT_EQUAL(atomic_load_explicit(&f.board->key_count, memory_order_relaxed), 1);
    CU_ASSERT(o->levels == 1 && o->frame_count == 1);
    const struct order_node *leaf =
        (const void *)(f.arena + ((uint64_t)(o->root - 1) << ORDER_NODE_SHIFT));
    CU_ASSERT_EQUAL(order_meta_of(order_word(leaf, 1)).count, 1);
    for (uint32_t i = 0; i < NEW_KEYS; i++) {
        struct read_found found;
        const struct shard_item *item = many(i, 1, 8);
        CU_ASSERT_EQUAL(fixture_read(&f, item->key, item->key_length, &found), 0);
    }
    CU_ASSERT_EQUAL(transaction_try(&f, many(0, NEW_KEYS, 8), NEW_KEYS), 0);
    fixture_settle(&f);
    CU_ASSERT_EQUAL(atomic_load_explicit(&f.board->key_count, memory_order_relaxed), 1 + NEW_KEYS);
    CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    fixture_close(&f);
}

/* So many new keys that chains fill up, each transaction with several for one bucket. */
static void new_keys_of_one_bucket_find_room(void)
{
    open();
    uint32_t refused = 0;
    for (uint32_t first = 0; first < 30000; first += ITEMS) {
        int result = transaction_try(&f, many(first, ITEMS, 8), ITEMS);
        CU_ASSERT(result == 0 || result == -EAGAIN || result == RING_QUOTA);
        refused += result != 0;
        fixture_commit(&f);
        (void)fixture_maintain(&f);
        CU_ASSERT_EQUAL_FATAL(f.shard->index.key_count % ITEMS, 0);
    }
    CU_ASSERT(f.shard->index.key_count > 10000);
    CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    char name[32];
    uint32_t found = 0;
    for (uint32_t i = 0; i < 30000; i++) {
        struct read_found one;
        found += fixture_read(&f, name, fixture_key(i, name), &one) == 1;
    }
    CU_ASSERT_EQUAL(found, f.shard->index.key_count);
    printf("\n    %u keys, %u refused ", found, refused);
    fixture_close(&f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(all_of_it_is_done),
    UNIT_TEST(its_records_stand_next_to_each_other),
    UNIT_TEST(one_condition_that_fails_refuses_all),
    UNIT_TEST(what_is_gone_already_needs_no_record),
    UNIT_TEST(nothing_of_it_is_seen_before_all_is_committed),
    UNIT_TEST(what_cannot_be_is_refused_by_name),
    UNIT_TEST(a_sequence_is_one_transaction_and_counts_once),
    UNIT_TEST(it_lies_in_one_segment),
    UNIT_TEST(the_ceiling_is_above_all_of_it),
    UNIT_TEST(the_pending_list_has_room_for_all_of_it),
    UNIT_TEST(without_memory_nothing_of_it_is_appended),
    UNIT_TEST(without_memory_for_the_order_nothing_is_left),
    UNIT_TEST(new_keys_of_one_bucket_find_room),
};
UNIT_MAIN("transaction", tests)
