#include "engine/hash.h"
#include "engine/write.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

static struct fixture f;
static uint8_t value[65536];

static void open(uint32_t history, uint64_t history_ns)
{
    fixture_open(&f, &(struct fixture_config){
                         .quota_bytes = UINT64_C(2) << 20,
                         .shard_count = 1,
                         .history = history,
                         .history_ns = history_ns,
                     });
    shard_grant(f.shard, UINT64_C(1) << 40);
    f.clock_ns = NS_PER_S;
}

/* Every test ends with the live bytes counted afresh. */
static void close(void)
{
    CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    fixture_close(&f);
}

/* A version of a key, committed.  Returns its LSN. */
static uint64_t put(const char *key, uint64_t version, uint32_t length)
{
    fixture_value(1, version, value, length);
    CU_ASSERT_EQUAL(fixture_put(&f, key, (uint32_t)strlen(key), value, length), 0);
    uint64_t lsn = f.shard->pending[(f.shard->pending_tail - 1) % LIMIT_PENDING].lsn;
    fixture_settle(&f);
    return lsn;
}

static uint64_t drop(const char *key)
{
    CU_ASSERT_EQUAL(fixture_delete(&f, key, (uint32_t)strlen(key)), 0);
    uint64_t lsn = f.shard->pending[(f.shard->pending_tail - 1) % LIMIT_PENDING].lsn;
    fixture_settle(&f);
    return lsn;
}

/* As read_find_at, validated; a miss that is no answer is -ENODATA. */
static int read_at(const char *key, uint64_t lsn, struct read_found *found)
{
    struct read_key k;
    struct read_point p;
    read_key_init(&k, &f.space, key, strlen(key));
    read_begin(&p, &f.space, 0);
    int result = read_find_at(&p, &f.space, &k, lsn, found);
    CU_ASSERT_TRUE(read_validate(&p, &f.space, false));
    return result == 0 && found->lsn == 0 && !read_missed_at(&p, lsn) ? -ENODATA : result;
}

static void check_at(const char *key, uint64_t lsn, uint64_t version)
{
    struct read_found found;
    CU_ASSERT_EQUAL_FATAL(read_at(key, lsn, &found), 1);
    CU_ASSERT_TRUE(fixture_value_is(1, version, found.value, found.value_length));
}

/* So much that each segment that is there is met by the cleaner so many times. */
static void log_moves_on(uint32_t times)
{
    for (uint32_t i = 0; i < times * 100; i++) {
        int r = fixture_put(&f, "filler", 6, value, 20000);
        CU_ASSERT(r == 0 || r == -EAGAIN || r == RING_QUOTA);
        fixture_commit(&f);
        f.shard->starved = true;
        (void)fixture_maintain(&f);
    }
    fixture_settle(&f);
}

static void so_many_versions_are_kept_as_the_space_says(void)
{
    uint64_t lsn[8];
    struct read_found found;
    open(4, 0);
    for (uint32_t i = 0; i < 8; i++) {
        lsn[i] = put("k", i, 100 + i);
        put("other", i, 50);
        CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    }
    for (uint32_t i = 4; i < 8; i++)
        check_at("k", lsn[i], i);
    for (uint32_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(read_at("k", lsn[i], &found), -ENODATA);
        CU_ASSERT_EQUAL(found.lsn, lsn[4]); /* the oldest that is kept */
    }
    CU_ASSERT_EQUAL(read_at("never", lsn[0], &found), 0);
    close();
}

/* By another key's version, too: the shard as it was then. */
static void a_version_names_a_state_of_the_whole_shard(void)
{
    struct read_found found;
    open(4, 0);
    uint64_t before = put("x", 0, 8);
    uint64_t first = put("k", 1, 100);
    uint64_t between = put("x", 1, 8);
    uint64_t gone = drop("k");
    uint64_t again = put("k", 2, 90);
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(read_at("k", before, &found), 0);
        check_at("k", first, 1);
        check_at("k", between, 1);
        CU_ASSERT_EQUAL(read_at("k", gone, &found), 0);
        CU_ASSERT_EQUAL(found.lsn, gone);
        check_at("k", again, 2);
        check_at("x", again, 1);
        log_moves_on(2);
    }
    CU_ASSERT(fixture_counter(&f, COUNTER_CLEANED_RECORDS) > 3);
    close();
}

/* ---- transactions ---- */

static void transact(uint64_t version, uint64_t lsn[3])
{
    static const char *const keys[3] = {"a", "b", "c"};
    struct shard_item items[3];
    fixture_value(1, version, value, 40);
    for (uint32_t i = 0; i < 3; i++)
        items[i] = (struct shard_item){
            .hash = hash_key(keys[i], 1),
            .key = keys[i],
            .value = value,
            .value_length = 40,
            .key_length = 1,
            .operation = RING_PUT,
        };
    const struct shard_transaction t = {
        .origin = {.operation = RING_PUT},
        .items = items,
        .count = 3,
        .session_slot = SESSION_NONE,
        .clock_ns = f.clock_ns,
    };
    CU_ASSERT_EQUAL_FATAL(shard_transaction(f.shard, &t), 0);
    for (uint32_t i = 0; i < 3; i++)
        lsn[i] = f.shard->pending[(f.shard->pending_tail - 3 + i) % LIMIT_PENDING].lsn;
    fixture_settle(&f);
}

static void a_transaction_is_seen_whole_at_any_of_its_versions(void)
{
    uint64_t first[3], second[3];
    struct read_found found;
    open(4, 0);
    transact(1, first);
    transact(2, second);
    for (uint32_t i = 0; i < 3; i++) {
        check_at("a", first[i], 1);
        check_at("b", first[i], 1);
        check_at("c", first[i], 1);
        check_at("a", second[i], 2);
        check_at("b", second[i], 2);
        check_at("c", second[i], 2);
    }
    log_moves_on(2); /* what tells where a transaction ends is gone: never half of it */
    for (uint32_t i = 0; i < 3; i++) {
        check_at("a", second[i], 2);
        CU_ASSERT(read_at("c", second[i], &found) == (i == 2 ? 1 : -ENODATA));
    }
    check_at("b", second[2], 2);
    check_at("b", first[1], 1); /* its own */
    CU_ASSERT_EQUAL(read_at("b", first[2], &found), -ENODATA);
    check_at("a", first[2], 1); /* the first of a transaction belongs to none before */
    close();
}

/* ---- by time ---- */

static void versions_go_when_they_were_replaced_too_long_ago(void)
{
    uint64_t lsn[6];
    struct read_found found;
    open(1, 1000 * NS_PER_MS);
    for (uint32_t i = 0; i < 6; i++) {
        lsn[i] = put("k", i, 100);
        f.clock_ns += 300 * NS_PER_MS;
    }
    for (uint32_t i = 0; i < 6; i++)
        check_at("k", lsn[i], i);
    /* Replaced 1.5 s ago, 1.2 s ago, 0.9 s ago, ... */
    for (uint32_t i = 0; i < 40; i++)
        put("filler", 0, 3000);
    CU_ASSERT_EQUAL(read_at("k", lsn[0], &found), -ENODATA);
    CU_ASSERT_EQUAL(read_at("k", lsn[1], &found), -ENODATA);
    CU_ASSERT_EQUAL(found.lsn, lsn[2]);
    check_at("k", lsn[2], 2);
    f.clock_ns += 2000 * NS_PER_MS;
    for (uint32_t i = 0; i < 40; i++)
        put("filler", 0, 3000);
    CU_ASSERT_EQUAL(read_at("k", lsn[4], &found), -ENODATA);
    check_at("k", lsn[5], 5);
    close();
}

static void of_a_key_that_is_written_fast_there_is_an_end(void)
{
    struct read_found found;
    uint64_t lsn[300];
    open(1, 3600 * NS_PER_S);
    for (uint32_t i = 0; i < 300; i++)
        lsn[i] = put("k", i, 60);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < 300; i++)
        kept += read_at("k", lsn[i], &found) == 1;
    CU_ASSERT(kept <= LIMIT_VERSION_WALK && kept >= LIMIT_VERSION_WALK - LAYOUT_LINK_COUNTS);
    check_at("k", lsn[299 - (kept - 1)], 299 - (kept - 1));
    close();
}

/* The longer of the two: neither pushes out what the other keeps. */
static void count_and_time_together_keep_what_either_does(void)
{
    uint64_t lsn[6];
    struct read_found found;
    open(3, 1000 * NS_PER_MS);
    for (uint32_t i = 0; i < 6; i++)
        lsn[i] = put("k", i, 100);
    f.clock_ns += 2000 * NS_PER_MS;
    for (uint32_t i = 0; i < 40; i++)
        put("filler", 0, 3000);
    CU_ASSERT_EQUAL(read_at("k", lsn[2], &found), -ENODATA);
    for (uint32_t i = 3; i < 6; i++)
        check_at("k", lsn[i], i);
    put("k", 6, 100); /* the cursor is past them: the commit cuts */
    CU_ASSERT_EQUAL(read_at("k", lsn[3], &found), -ENODATA);
    check_at("k", lsn[4], 4);
    close();
}

/* However large the count is: it is the limit on time that gives way to it. */
static void time_pushes_out_nothing_that_counts(void)
{
    uint64_t lsn[200];
    struct read_found found;
    for (uint32_t count = LIMIT_VERSION_WALK - LAYOUT_LINK_COUNTS - 1; count <= LIMIT_VERSION_WALK;
         count++) {
        open(count, 1000 * NS_PER_MS);
        for (uint32_t i = 0; i < 200; i++) {
            lsn[i] = put("k", i, 60);
            uint32_t kept = 0;
            for (uint32_t k = 0; k <= i; k++)
                kept += read_at("k", lsn[k], &found) == 1 || k == i;
            CU_ASSERT_FATAL(kept >= (i + 1 < count ? i + 1 : count) && kept <= LIMIT_VERSION_WALK);
        }
        close();
    }
}

/* ---- memory ---- */

static void a_deleted_key_keeps_its_versions_for_a_while(void)
{
    struct read_found found;
    open(4, 0);
    uint64_t first = put("k", 1, 100);
    uint64_t gone = drop("k");
    uint64_t keys = f.shard->index.key_count;
    check_at("k", first, 1);
    log_moves_on(1);
    uint32_t turns = 0;
    for (; f.shard->index.key_count > keys && turns < 50; turns++)
        log_moves_on(1);
    CU_ASSERT(turns < 50); /* "filler" came, "k" went */
    CU_ASSERT_EQUAL(read_at("k", first, &found), -ENODATA);
    CU_ASSERT_EQUAL(read_at("k", gone, &found), -ENODATA);
    close();
}

/* Nothing is appended to a shard that is full, so that no record tells that time has passed. */
static void a_full_shard_trims_when_time_has_passed(void)
{
    int result = 0;
    open(1, 1000 * NS_PER_MS);
    for (uint32_t i = 0; i < 3000 && result != RING_QUOTA; i++) {
        char key[32];
        result = fixture_put(&f, key, fixture_key(i % 50, key), value, 2000);
        CU_ASSERT(result == 0 || result == -EAGAIN || result == RING_QUOTA);
        fixture_settle(&f);
    }
    CU_ASSERT_EQUAL_FATAL(result, RING_QUOTA);
    uint64_t live = f.shard->live_bytes;
    f.clock_ns += 3000 * NS_PER_MS;
    for (uint32_t i = 0; i < 200 && result != 0; i++) {
        result = fixture_put(&f, "k", 1, value, 2000);
        CU_ASSERT(result == 0 || result == -EAGAIN || result == RING_QUOTA);
        fixture_settle(&f);
    }
    CU_ASSERT_EQUAL(result, 0);
    for (uint32_t i = 0; i < 2000 && fixture_maintain(&f); i++) {
    }
    CU_ASSERT(f.shard->live_bytes < live / 2);
    close();
}

/* A delete leaves more than it frees, at first. */
static void a_full_shard_can_be_told_to_delete(void)
{
    int result = 0;
    char key[LIMIT_KEY_BYTES];
    open(4, 0);
    for (uint32_t i = 0; i < 20000 && result != RING_QUOTA; i++) {
        result = fixture_put(&f, key, fixture_key(i, key), value, 30);
        CU_ASSERT(result == 0 || result == -EAGAIN || result == RING_QUOTA);
        fixture_settle(&f);
    }
    CU_ASSERT_EQUAL_FATAL(result, RING_QUOTA);
    CU_ASSERT_EQUAL(fixture_delete(&f, key, fixture_key(0, key)), 0);
    const struct shard_item item = {
        .hash = hash_key(key, fixture_key(1, key)),
        .key = key,
        .key_length = (uint16_t)fixture_key(1, key),
        .operation = RING_DELETE,
    };
    const struct shard_transaction t = {
        .origin = {.operation = RING_PUT},
        .items = &item,
        .count = 1,
        .session_slot = SESSION_NONE,
        .clock_ns = f.clock_ns,
    };
    CU_ASSERT_EQUAL(shard_transaction(f.shard, &t), 0);
    fixture_settle(&f);
    close();
}

/* What a link tells of a size stays right wherever the cleaner puts the record. */
static void links_tell_sizes_after_cleaning(void)
{
    open(4, 0);
    for (uint32_t i = 0; i < 4; i++)
        put("k", i, 100 + 200 * i);
    log_moves_on(3);
    struct index_place place;
    CU_ASSERT_EQUAL(index_find(&f.shard->index, (uint32_t)hash_key("k", 1), "k", 1, &place), 0);
    uint64_t offset = layout_slot_offset(place.value);
    for (uint32_t i = 3; i-- > 0;) {
        uint64_t link = atomic_load_explicit(shard_link(f.shard, offset), memory_order_relaxed);
        CU_ASSERT_TRUE_FATAL((link & LAYOUT_SLOT_VALID) != 0);
        offset = layout_slot_offset(link);
        CU_ASSERT_EQUAL(layout_link_size(link), record_bytes(0, 1, 100 + 200 * i));
        CU_ASSERT_EQUAL(layout_link_size(link), record_size((const void *)(f.arena + offset)));
    }
    close();
}

static const struct unit_test tests[] = {
    UNIT_TEST(so_many_versions_are_kept_as_the_space_says),
    UNIT_TEST(a_version_names_a_state_of_the_whole_shard),
    UNIT_TEST(a_transaction_is_seen_whole_at_any_of_its_versions),
    UNIT_TEST(versions_go_when_they_were_replaced_too_long_ago),
    UNIT_TEST(of_a_key_that_is_written_fast_there_is_an_end),
    UNIT_TEST(count_and_time_together_keep_what_either_does),
    UNIT_TEST(time_pushes_out_nothing_that_counts),
    UNIT_TEST(a_deleted_key_keeps_its_versions_for_a_while),
    UNIT_TEST(a_full_shard_trims_when_time_has_passed),
    UNIT_TEST(a_full_shard_can_be_told_to_delete),
    UNIT_TEST(links_tell_sizes_after_cleaning),
};
UNIT_MAIN("versions", tests)
