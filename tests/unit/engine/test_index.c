#include "engine/hash.h"
#include "engine/index.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

/* An index of its own in a fixture's frames.  Records of keys are made once, in ordinary memory
 * behind the arena's first segment: the index only looks at their key. */
#define KEYS 24000u

static struct {
    struct fixture f;
    struct index *x;
    uint64_t offset[KEYS]; /* of the key's record */
    uint32_t hash[KEYS];
    bool there[KEYS];
    uint32_t count;
} t;

static void open(uint64_t quota)
{
    memset(&t, 0, sizeof t);
    fixture_open(&t.f, &(struct fixture_config){.quota_bytes = quota, .shard_count = 1});
    t.x = &t.f.shard->index;
    shard_grant(t.f.shard, UINT64_C(1) << 40);
}

/* A record for key n under a chosen hash, straight into the log. */
static bool key_make(uint32_t n, uint32_t hash)
{
    struct record h = {.kind = RECORD_DATA, .key_length = 4, .hash = hash};
    struct record_parts parts = {.key = &n};
    t.hash[n] = hash;
    return log_append(&t.f.shard->log, &h, &parts, 1, &t.offset[n]) == 0;
}

static int insert(uint32_t n)
{
    struct index_place place;
    int r = index_find(t.x, t.hash[n], &n, 4, &place);
    if (r == 0)
        r = index_make_room(t.x, &place);
    if (r != 0)
        return r;
    t.count += !t.there[n];
    index_set(t.x, &place, t.hash[n], t.offset[n]);
    t.there[n] = true;
    return 0;
}

static int erase(uint32_t n)
{
    struct index_place place;
    int r = index_find(t.x, t.hash[n], &n, 4, &place);
    if (r != 0 || place.value == 0)
        return r != 0 ? r : -ENOENT;
    index_erase(t.x, &place);
    t.there[n] = false;
    t.count--;
    return 0;
}

static void step(uint32_t buckets)
{
    t.f.now.ticket_done = t.f.now.ticket_next++;
    t.f.now.context = &t.f;
    index_step(t.x, buckets, &t.f.now);
    (void)reclaim_step(&t.f.shard->reclaim, &t.f.now);
}

static bool agrees(uint32_t n)
{
    struct index_place place;
    if (index_find(t.x, t.hash[n], &n, 4, &place) != 0)
        return false;
    if (!t.there[n])
        return place.value == 0;
    return place.value != 0 && layout_slot_offset(place.value) == t.offset[n] &&
           layout_slot_matches(place.value, t.hash[n]);
}

static uint32_t disagreements(uint32_t keys)
{
    uint32_t wrong = t.x->key_count != t.count;
    for (uint32_t n = 0; n < keys; n++)
        wrong += !agrees(n);
    return wrong;
}

static void a_million_random_steps_agree_with_the_model(void)
{
    open(UINT64_C(8) << 20);
    uint64_t seed = 5;
    uint32_t wrong = 0, waited = 0, keys = 0;
    while (keys < KEYS && key_make(keys, (uint32_t)fixture_random(&seed)))
        keys++;
    CU_ASSERT(keys > 10000);
    for (uint32_t i = 0; i < 1000000; i++) {
        /* waves of growing and shrinking */
        uint32_t n = fixture_below(&seed, keys);
        bool grow = fixture_below(&seed, 100) < (i / 100000 % 2 == 0 ? 80u : 40u);
        int r = grow ? insert(n) : erase(n);
        waited += r == -EAGAIN;
        wrong += r != 0 && r != -EAGAIN && r != -ENOENT;
        wrong += !agrees(fixture_below(&seed, keys));
        if (fixture_below(&seed, 16) == 0)
            step(fixture_below(&seed, 8));
    }
    wrong += disagreements(keys);
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(t.x->table.bits > 10);
    (void)waited;
    fixture_close(&t.f);
}

/* Stop the growth after every number of buckets, and look at all keys. */
static void growth_may_stop_anywhere(void)
{
    open(UINT64_C(4) << 20);
    uint64_t seed = 6;
    const uint32_t keys = 4700;
    for (uint32_t n = 0; n < keys; n++) {
        CU_ASSERT_TRUE_FATAL(key_make(n, (uint32_t)fixture_random(&seed)));
        CU_ASSERT_EQUAL_FATAL(insert(n), 0);
    }
    step(0);
    CU_ASSERT_TRUE_FATAL(t.x->growing);
    uint8_t *saved = fixture_save(&t.f);
    uint32_t wrong = 0;
    for (uint32_t stop = 0; stop <= 1024; stop += 64) {
        fixture_restore(&t.f, saved);
        t.f.shard->reclaim.count = 0;
        step(stop); /* lookups below move what they touch: so before them, some by hand */
        for (uint32_t n = 0; n < stop; n++)
            wrong += !agrees(fixture_below(&seed, keys));
        wrong += disagreements(keys);
        step(2000);
        wrong += t.x->growing;
        wrong += disagreements(keys);
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(t.x->table.bits, 11);
    free(saved);
    fixture_close(&t.f);
}

/* One bucket for all: the chain has an end, and who is in it stays reachable. */
static void a_chain_is_refused_at_its_limit(void)
{
    open(UINT64_C(2) << 20);
    uint32_t most = LIMIT_INDEX_CHAIN * LAYOUT_BUCKET_SLOTS, n = 0;
    int r = 0;
    for (; r == 0 && n < 200; n++) {
        CU_ASSERT_TRUE_FATAL(key_make(n, n << 20 | 5)); /* same low bits, other tags */
        r = insert(n);
    }
    CU_ASSERT_EQUAL(r, -ENOSPC);
    CU_ASSERT_EQUAL(n, most + 1);
    CU_ASSERT_EQUAL(disagreements(most), 0);
    CU_ASSERT_EQUAL(erase(3), 0);
    CU_ASSERT_EQUAL(insert(most), 0); /* into the gap */
    CU_ASSERT_EQUAL(disagreements(most + 1), 0);
    fixture_close(&t.f);
}

/* Equal hashes: only the keys tell them apart, and growth keeps them together. */
static void equal_hashes_are_told_apart_by_their_keys(void)
{
    open(UINT64_C(4) << 20);
    uint64_t seed = 7;
    for (uint32_t n = 0; n < 50; n++) {
        CU_ASSERT_TRUE_FATAL(key_make(n, 0xdeadbeef));
        CU_ASSERT_EQUAL_FATAL(insert(n), 0);
    }
    for (uint32_t n = 50; n < 4750; n++) {
        CU_ASSERT_TRUE_FATAL(key_make(n, (uint32_t)fixture_random(&seed)));
        CU_ASSERT_EQUAL_FATAL(insert(n), 0);
    }
    for (unsigned i = 0; i < 100; i++)
        step(64);
    CU_ASSERT_EQUAL(t.x->table.bits, 11);
    CU_ASSERT_EQUAL(disagreements(4750), 0);
    fixture_close(&t.f);
}

/* Chains everywhere when a growth begins, and writers that use up overflow meanwhile. */
static void a_growth_of_long_chains_never_runs_out(void)
{
    open(UINT64_C(4) << 20);
    uint32_t n = 0, refused = 0;
    for (uint32_t bucket = 0; bucket < 128; bucket++)
        for (uint32_t i = 0; i < 50 && n < 9000; i++, n++) {
            CU_ASSERT_TRUE_FATAL(key_make(n, i << 26 | bucket));
            int r = insert(n);
            refused += r == -ENOSPC || r == -EAGAIN;
            CU_ASSERT(r == 0 || r == -ENOSPC || r == -EAGAIN);
        }
    step(0);
    CU_ASSERT_TRUE(t.x->growing);
    uint32_t more = n;
    for (; more < n + 1500; more++) {
        CU_ASSERT_TRUE_FATAL(key_make(more, more << 11 | (more & 1) << 10 | (900 + more % 64)));
        int r = insert(more);
        CU_ASSERT(r == 0 || r == -ENOSPC || r == -EAGAIN);
        if (more % 16 == 0)
            step(1);
    }
    for (unsigned i = 0; i < 100; i++)
        step(64);
    CU_ASSERT_FALSE(t.x->growing);
    CU_ASSERT_EQUAL(disagreements(more), 0);
    (void)refused;
    fixture_close(&t.f);
}

/* Frames that were used before hold whatever they held: of a page of a growing table, or of overflow, only
 * buckets that were cleared are looked at. */
static void growth_clears_what_it_uses(void)
{
    open(UINT64_C(4) << 20);
    const struct frames *f = &t.f.shard->frames;
    const uint32_t shift = t.f.geometry.segment_shift;
    uint64_t seed = 10;
    CU_ASSERT_TRUE_FATAL(key_make(0, 0xdeadbeef)); /* the log has its frame */
    for (uint32_t n = f->fresh_next; n < frames_existing(f); n++)
        memset(t.f.arena + (layout_frame_of(&t.f.geometry, 0, n) << shift), 0xff,
               (size_t)1 << shift);
    for (uint32_t n = 0; n < 4700; n++) {
        CU_ASSERT_TRUE_FATAL(key_make(n, n < 30 ? 0xdeadbeef : (uint32_t)fixture_random(&seed)));
        CU_ASSERT_EQUAL_FATAL(insert(n), 0);
    }
    step(0);
    CU_ASSERT_TRUE_FATAL(t.x->growing);
    CU_ASSERT_EQUAL(disagreements(2000), 0);
    for (unsigned i = 0; i < 100; i++)
        step(64);
    CU_ASSERT_FALSE(t.x->growing);
    CU_ASSERT_NOT_EQUAL(t.x->table.overflow_used, 0);
    CU_ASSERT_EQUAL(disagreements(4700), 0);
    fixture_close(&t.f);
}

static void growth_waits_for_frames_and_goes_on(void)
{
    open(UINT64_C(4) << 20);
    uint64_t seed = 8;
    for (uint32_t n = 0; n < 4700; n++) {
        CU_ASSERT_TRUE_FATAL(key_make(n, (uint32_t)fixture_random(&seed)));
        CU_ASSERT_EQUAL_FATAL(insert(n), 0);
    }
    uint32_t taken[FIXTURE_FRAMES], count = 0;
    while (frames_available(&t.f.shard->frames) > 3)
        CU_ASSERT_EQUAL_FATAL(frames_take(&t.f.shard->frames, FRAME_TAIL, 1, &taken[count++]), 0);
    step(64);
    CU_ASSERT_FALSE(t.x->growing); /* three pages and one for the cleaner are wanted */
    CU_ASSERT_EQUAL(index_pages_wanted(t.x), 3);
    CU_ASSERT_EQUAL(disagreements(4700), 0);
    frames_give(&t.f.shard->frames, taken[--count]);
    step(64);
    CU_ASSERT_TRUE(t.x->growing);
    CU_ASSERT_EQUAL(frames_available(&t.f.shard->frames), FRAMES_KEPT);
    for (unsigned i = 0; i < 40; i++)
        step(64);
    CU_ASSERT_FALSE(t.x->growing);
    CU_ASSERT_EQUAL(t.f.shard->frames.reserved, 0);
    CU_ASSERT_EQUAL(disagreements(4700), 0);
    fixture_close(&t.f);
}

/* The cleaner may borrow what a growth was promised: who needs it then waits, and is never told
 * "full". */
static void a_borrowed_page_is_waited_for(void)
{
    open(UINT64_C(4) << 20);
    uint64_t seed = 9;
    for (uint32_t n = 0; n < 4700; n++) {
        CU_ASSERT_TRUE_FATAL(key_make(n, (uint32_t)fixture_random(&seed)));
        CU_ASSERT_EQUAL_FATAL(insert(n), 0);
    }
    step(0);
    CU_ASSERT_TRUE_FATAL(t.x->growing);
    uint32_t taken[FIXTURE_FRAMES], count = 0;
    while (frames_take(&t.f.shard->frames, FRAME_BASE, 0, &taken[count]) == 0)
        count++;
    struct index_place place;
    uint32_t n = 17;
    CU_ASSERT_EQUAL(index_find(t.x, t.hash[n], &n, 4, &place), -EAGAIN);
    step(64);
    while (count != 0)
        frames_give(&t.f.shard->frames, taken[--count]);
    CU_ASSERT_EQUAL(disagreements(4700), 0);
    fixture_close(&t.f);
}

/* By the tag alone: all keys of one hash, through the chain, wherever the bucket is. */
static void candidates_are_all_that_share_the_tag(void)
{
    uint64_t offsets[16], sum = 0;
    open(UINT64_C(8) << 20);
    for (uint32_t n = 0; n < 10; n++) {
        CU_ASSERT_TRUE_FATAL(key_make(n, 0x12345678));
        CU_ASSERT_EQUAL(insert(n), 0);
        sum += t.offset[n];
    }
    CU_ASSERT_TRUE_FATAL(key_make(10, 0x92345678)); /* the same bucket, another tag */
    CU_ASSERT_EQUAL(insert(10), 0);
    CU_ASSERT_EQUAL(index_candidates(t.x, 0x12345678, offsets, 2), 10);
    CU_ASSERT_EQUAL(index_candidates(t.x, 0x12345678, offsets, 16), 10);
    for (uint32_t n = 0; n < 10; n++)
        sum -= offsets[n];
    CU_ASSERT_EQUAL(sum, 0);
    CU_ASSERT_EQUAL(index_candidates(t.x, 0x92345678, offsets, 16), 1);
    CU_ASSERT_EQUAL(offsets[0], t.offset[10]);
    CU_ASSERT_EQUAL(index_candidates(t.x, 0x52345678, offsets, 16), 0);
    fixture_close(&t.f);
}

static void page_arrays_are_reused_only_after_the_stamps(void)
{
    open(UINT64_C(4) << 20);
    uint64_t seed = 10;
    uint32_t keys = 0;
    for (; keys < 9500; keys++) {
        CU_ASSERT_TRUE_FATAL(key_make(keys, (uint32_t)fixture_random(&seed)));
        int r = insert(keys);
        CU_ASSERT(r == 0 || r == -EAGAIN);
        if (keys == 4700)
            step(0);
    }
    CU_ASSERT_TRUE(t.x->growing);
    while (t.x->growing) { /* grace periods stand still: nothing is stamped */
        index_step(t.x, 64, &t.f.now);
    }
    CU_ASSERT(t.f.shard->reclaim.count != 0);
    for (unsigned i = 0; i < 10; i++) {
        index_step(t.x, 64, &t.f.now);
        CU_ASSERT_FALSE(t.x->growing);
    }
    step(0);
    step(64);
    CU_ASSERT_TRUE(t.x->growing);
    fixture_close(&t.f);
}

static struct record *record_of(uint32_t n)
{
    return (struct record *)(void *)(t.f.shard->arena + t.offset[n]);
}

static bool version_is(uint32_t n, uint64_t lsn, bool found)
{
    struct index_place place;
    if (index_find_version(t.x, t.hash[n], lsn, &place) != 0)
        return false;
    return found ? layout_slot_offset(place.value) == t.offset[n] : place.value == 0;
}

static void a_version_in_the_tail_is_known_by_its_place(void)
{
    open(UINT64_C(8) << 20);
    CU_ASSERT(key_make(0, 77) && key_make(1, 77) && key_make(2, 77));
    CU_ASSERT_EQUAL(insert(0), 0);
    CU_ASSERT_EQUAL(insert(1), 0);
    uint64_t lsn[] = {record_of(0)->lsn, record_of(1)->lsn, record_of(2)->lsn};
    record_of(0)->lsn = record_of(1)->lsn = 8; /* not looked at */
    CU_ASSERT(version_is(0, lsn[0], true) && version_is(1, lsn[1], true));
    CU_ASSERT(version_is(2, lsn[2], false)); /* no slot names it */
    /* What the cleaner moved keeps its LSN, but not its place. */
    struct layout_frame *f =
        &t.f.shard->directory[t.offset[0] >> t.f.shard->geometry.segment_shift];
    atomic_store_explicit(&f->kind, (uint32_t)FRAME_BASE, memory_order_relaxed);
    record_of(0)->lsn = 16;
    CU_ASSERT(version_is(0, 16, true) && version_is(1, 8, true) && version_is(0, lsn[0], false));
    atomic_store_explicit(&f->kind, (uint32_t)FRAME_TAIL, memory_order_relaxed);
    fixture_close(&t.f);
}

static uint64_t size_told(uint64_t size)
{
    struct index_place place;
    CU_ASSERT_EQUAL(index_find(t.x, t.hash[0], &(uint32_t){0}, 4, &place), 0);
    index_set_sized(t.x, &place, t.hash[0], (struct index_record){t.offset[0], size});
    CU_ASSERT(agrees(0)); /* whatever it tells, it names the key */
    CU_ASSERT_EQUAL(index_find(t.x, t.hash[0], &(uint32_t){0}, 4, &place), 0);
    return layout_slot_size(place.value);
}

static void a_slot_tells_the_size_of_a_small_record(void)
{
    open(UINT64_C(8) << 20);
    CU_ASSERT(key_make(0, UINT32_MAX));
    CU_ASSERT_EQUAL(insert(0), 0);
    CU_ASSERT_EQUAL(size_told(64), 0); /* not told */
    CU_ASSERT_EQUAL(size_told(72), 72);
    CU_ASSERT_EQUAL(size_told(184), 184);
    CU_ASSERT_EQUAL(size_told(192), 0);
    uint64_t link = layout_link_make(t.offset[0]) | layout_link_units(1 << 21);
    CU_ASSERT_EQUAL(layout_link_size(link), 1 << 21);
    CU_ASSERT_EQUAL(layout_slot_offset(link), t.offset[0]);
    CU_ASSERT_EQUAL(link & LAYOUT_LINK_CUT, 0);
    CU_ASSERT_EQUAL(layout_link_size(layout_link_make(t.offset[0])), 0);
    fixture_close(&t.f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_million_random_steps_agree_with_the_model),
    UNIT_TEST(growth_may_stop_anywhere),
    UNIT_TEST(a_chain_is_refused_at_its_limit),
    UNIT_TEST(equal_hashes_are_told_apart_by_their_keys),
    UNIT_TEST(a_growth_of_long_chains_never_runs_out),
    UNIT_TEST(growth_clears_what_it_uses),
    UNIT_TEST(growth_waits_for_frames_and_goes_on),
    UNIT_TEST(a_borrowed_page_is_waited_for),
    UNIT_TEST(candidates_are_all_that_share_the_tag),
    UNIT_TEST(a_version_in_the_tail_is_known_by_its_place),
    UNIT_TEST(a_slot_tells_the_size_of_a_small_record),
    UNIT_TEST(page_arrays_are_reused_only_after_the_stamps),
};
UNIT_MAIN("index", tests)
