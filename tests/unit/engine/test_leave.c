/* A shard that is asked to leave its last chunks: when it refuses, what it moves, and that nothing of it is
 * lost or left behind. */
#include "engine/leave.h"

#include "engine/land.h"
#include "engine/scan.h"
#include "tests/unit/engine/chunks.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define KEYS 3000u
#define PASSES_MAX 20000u
#define CHUNKS 7u
#define CHUNK_TAIL 5u /* log goes so far before it is cleaned */

static struct fixture f;
static uint8_t value[65536];

static void open_with(const struct fixture_config *c)
{
    fixture_open(&f, c);
    shard_grant(f.shard, UINT64_C(1) << 40);
}

/* Chunks of 14 segments of 128 KiB, seven of them. */
static void open(void)
{
    open_with(&(struct fixture_config){
        .quota_bytes = UINT64_C(14) << 20, .shard_count = 1, .sessions_max = 4, .ordered = true});
}

static void put(uint32_t number, uint64_t version, uint32_t length)
{
    char key[32];
    uint32_t key_length = fixture_key(number, key);
    fixture_value(number, version, value, length);
    for (unsigned i = 0; fixture_put(&f, key, key_length, value, length) != 0; i++) {
        CU_ASSERT_FATAL(i < PASSES_MAX);
        fixture_settle(&f);
        (void)chunks_grow(&f);
    }
    chunks_map(&f);
}

/* Much more log than is live: all frames have been used. */
static void fill(uint32_t keys)
{
    for (uint32_t round = 1; round <= CHUNKS * 14; round++) {
        put(0, round, 60000);
        put(1, round, 60000);
        put(round % keys, round, 100);
        fixture_settle(&f);
    }
    for (uint32_t i = 0; i < keys; i++) {
        put(i, i + 1, 100);
        if (i % 64 == 0)
            fixture_settle(&f);
    }
    fixture_settle(&f);
}

/* Until the segment that is being filled lies in that chunk. */
static void tail_into(uint32_t chunk)
{
    uint32_t shift = f.geometry.chunk_shift - f.geometry.segment_shift;
    for (uint32_t i = 0; f.shard->log.tail.frame >> shift != chunk; i++) {
        CU_ASSERT_FATAL(i < PASSES_MAX);
        put(2, 3, 60000);
        fixture_settle(&f);
    }
}

static bool all_there(uint32_t keys)
{
    for (uint32_t i = 0; i < keys; i++) {
        struct read_found found;
        char key[32];
        if (fixture_read(&f, key, fixture_key(i, key), &found) != 1 || found.value_length != 100 ||
            !fixture_value_is(i, i + 1, found.value, 100))
            return false;
    }
    return true;
}

/* Frames in use behind a chunk's beginning. */
static uint32_t used_from(uint32_t chunk)
{
    uint32_t first = chunk << (f.geometry.chunk_shift - f.geometry.segment_shift), count = 0;
    for (uint32_t i = first; i < layout_frame_count(&f.geometry); i++)
        count += atomic_load_explicit(&f.directory[i].kind, memory_order_relaxed) != FRAME_FREE;
    return count;
}

static uint32_t scanned(void)
{
    static uint8_t buffer[1 << 16];
    struct scan_page page = {.buffer = buffer, .capacity = sizeof buffer, .count_max = 500};
    struct read_point p;
    uint32_t count = 0;
    scan_begin(&page, "", 0, "", 0);
    for (unsigned i = 0; !page.done && i < PASSES_MAX; i++)
        if (scan_read(&page, &f.space, &p) == 0)
            count += page.count;
    return count;
}

static void all_that_is_live_moves_and_the_chunks_go(void)
{
    open();
    fill(KEYS);
    CU_ASSERT(used_from(3) > 20);
    CU_ASSERT_TRUE(chunks_shrink(&f, 3));
    CU_ASSERT_EQUAL(chunks_count(&f), 3);
    CU_ASSERT_EQUAL(used_from(3), 0);
    CU_ASSERT_TRUE(all_there(KEYS));
    CU_ASSERT_EQUAL(scanned(), KEYS);
    CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    CU_ASSERT_EQUAL(f.shard->frames.fresh_next, f.shard->frames.leave_n);
    fixture_close(&f);
}

static void what_went_comes_again_and_is_used(void)
{
    open();
    fill(500);
    for (uint32_t turn = 0; turn < 3; turn++) {
        CU_ASSERT_TRUE(chunks_shrink(&f, 2));
        CU_ASSERT_TRUE(all_there(500));
        uint64_t count = atomic_load_explicit(&f.board->reclaim_count, memory_order_relaxed);
        fill(500);
        CU_ASSERT_EQUAL(chunks_count(&f), f.geometry.chunk_count_max);
        CU_ASSERT(used_from(2) != 0);
        CU_ASSERT_TRUE(all_there(500));
        CU_ASSERT_EQUAL(f.board->arena_generation, turn + 1);
        /* L1: every frame there says that it came after the chunk did. */
        uint32_t first = 2u << (f.geometry.chunk_shift - f.geometry.segment_shift);
        for (uint32_t i = first; i < layout_frame_count(&f.geometry); i++)
            if (f.directory[i].kind != FRAME_FREE)
                CU_ASSERT(f.directory[i].stamp >= count);
    }
    fixture_close(&f);
}

static void too_little_would_be_left(void)
{
    open();
    CU_ASSERT_FALSE(chunks_shrink(&f, 0));
    for (uint32_t i = 0; i < 40; i++) {
        put(i, 1, 60000);
        fixture_settle(&f);
    }
    CU_ASSERT_FALSE(
        chunks_shrink(&f, 3)); /* 2.4 MB live, which may take up twice that; 5.5 MB left */
    CU_ASSERT_EQUAL(chunks_count(&f), CHUNKS);
    CU_ASSERT_TRUE(chunks_shrink(&f, 6));
    CU_ASSERT_EQUAL(f.shard->frames.away, 0);
    fixture_close(&f);
}

/* No frame is lost where it comes to nothing. */
static void given_up_it_uses_what_is_there_again(void)
{
    open();
    fill(KEYS);
    fixture_settle(&f);
    struct frames *frames = &f.shard->frames;
    uint32_t all = frames_available(frames) + used_from(0);
    for (uint32_t passes = 0; passes < 60; passes += 3) {
        chunks_leave(&f, 4);
        for (uint32_t i = 0; i < passes && chunks_answer(&f) == 0; i++)
            (void)fixture_maintain(&f);
        CU_ASSERT(passes == 0 || frames->leave_chunk == 4);
        chunks_give_up(&f);
        fixture_settle(&f);
        CU_ASSERT_EQUAL(frames->leave_frame, UINT32_MAX);
        CU_ASSERT_EQUAL(frames_available(frames) + used_from(0), all);
        CU_ASSERT_EQUAL(f.shard->order.leaving, 0);
        CU_ASSERT_TRUE(all_there(KEYS));
    }
    fixture_close(&f);
}

/* Why it matters: control would wait for this shard for ever. */
static void an_idle_shard_leaves_too(void)
{
    open();
    put(1, 1, 100);
    fixture_settle(&f);
    tail_into(CHUNK_TAIL);
    put(0, 1, 100);
    fixture_settle(&f);
    uint64_t lsn = f.shard->log.lsn_end;
    CU_ASSERT_TRUE(chunks_shrink(&f, CHUNK_TAIL));
    CU_ASSERT_EQUAL(f.shard->log.lsn_end, lsn); /* nothing was written for it */
    CU_ASSERT_TRUE(all_there(1));
    put(0, 1, 100);
    fixture_settle(&f);
    CU_ASSERT_TRUE(all_there(1));
    fixture_close(&f);
}

/* The tail is whole: every byte of it is where it was asked for before, and the same. */
static void the_tail_keeps_its_bytes(void)
{
    static uint8_t before[1 << 22];
    open();
    fill(200);
    const struct log *l = &f.shard->log;
    uint64_t start = l->lsn_end - (sizeof before >> 1), available;
    for (uint64_t at = start; at < l->lsn_end; at += available) {
        const uint8_t *bytes = log_bytes_at(l, at, &available);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        memcpy(before + (at - start), bytes, available);
    }
    CU_ASSERT_TRUE(chunks_shrink(&f, 4));
    uint32_t moved = 0;
    for (uint64_t at = start; at < l->lsn_end; at += available) {
        const uint8_t *bytes = log_bytes_at(l, at, &available);
        if (bytes == NULL) { /* cleaned, for room: from the front only */
            CU_ASSERT_EQUAL(moved, 0);
            available = 8;
            continue;
        }
        moved++;
        CU_ASSERT_EQUAL(memcmp(before + (at - start), bytes, available), 0);
    }
    CU_ASSERT(moved > 8);
    fixture_close(&f);
}

/* What waits for a commit stays where it is, and everything else goes. */
static void what_is_pending_holds_it_up(void)
{
    open();
    fill(KEYS);
    char key[32];
    tail_into(CHUNK_TAIL);
    CU_ASSERT_EQUAL(fixture_put(&f, key, fixture_key(1, key), value, 50), 0); /* not committed */
    chunks_leave(&f, CHUNK_TAIL);
    for (uint32_t i = 0; i < 3000; i++)
        (void)fixture_maintain(&f);
    CU_ASSERT_EQUAL(chunks_answer(&f), 0);
    CU_ASSERT_EQUAL(used_from(CHUNK_TAIL), 1);
    fixture_commit(&f);
    for (uint32_t i = 0; i < 3000 && chunks_answer(&f) == 0; i++)
        (void)fixture_maintain(&f);
    CU_ASSERT_EQUAL(chunks_answer(&f), 1);
    CU_ASSERT_EQUAL(used_from(CHUNK_TAIL), 0);
    fixture_close(&f);
}

/* A cut in the middle of a segment's move is as any cut. */
static void a_cut_ends_a_move(void)
{
    open();
    fill(KEYS);
    struct shard *s = f.shard;
    tail_into(CHUNK_TAIL);
    for (uint32_t i = 0; i < KEYS; i++) {
        put(i, i + 1, 100);
        if (i % 64 == 0)
            fixture_settle(&f);
    }
    fixture_settle(&f);
    chunks_leave(&f, 2);
    uint32_t cuts = 0;
    for (uint32_t i = 0; i < PASSES_MAX && chunks_answer(&f) == 0; i++) {
        if (s->cleaner.moved_to != 0 && s->cleaner.position != 0) {
            char key[32];
            CU_ASSERT_EQUAL(fixture_put(&f, key, fixture_key(1, key), value, 50), 0);
            CU_ASSERT_EQUAL(land_cut(s, s->lsn_committed, &f.now), 0);
            CU_ASSERT_EQUAL(s->cleaner.moved_to, 0);
            CU_ASSERT_EQUAL(s->live_bytes, fixture_live_bytes(&f, NULL));
            cuts++;
        }
        (void)fixture_maintain(&f);
    }
    CU_ASSERT(cuts != 0);
    CU_ASSERT_EQUAL(chunks_answer(&f), 1);
    CU_ASSERT_TRUE(all_there(KEYS));
    fixture_close(&f);
}

/* L2 */
static void who_mapped_before_maps_anew(void)
{
    open();
    fill(100);
    struct read_space before = f.space;
    CU_ASSERT_TRUE(chunks_shrink(&f, 5));
    struct read_key k;
    struct read_point p;
    struct read_found found;
    char key[32];
    read_key_init(&k, &before, key, fixture_key(1, key));
    read_begin(&p, &before, 0);
    CU_ASSERT_EQUAL(read_find(&p, &before, &k, &found), -EFAULT);
    read_begin(&p, &f.space, 0);
    CU_ASSERT_EQUAL(read_find(&p, &f.space, &k, &found), 1);
    fixture_close(&f);
}

/* A pass moves a segment, a page, or some nodes, and cleans so much. */
static void each_pass_is_bounded(void)
{
    open();
    fill(KEYS);
    chunks_leave(&f, 2);
    uint32_t passes = 0, used = used_from(2);
    uint64_t cleaned = fixture_counter(&f, COUNTER_CLEANED_BYTES);
    for (; passes < PASSES_MAX && chunks_answer(&f) == 0; passes++) {
        (void)fixture_maintain(&f);
        uint64_t now = fixture_counter(&f, COUNTER_CLEANED_BYTES);
        CU_ASSERT(now - cleaned <= 2 * (UINT64_C(1) << f.geometry.segment_shift));
        cleaned = now;
    }
    CU_ASSERT_EQUAL(chunks_answer(&f), 1);
    CU_ASSERT(passes > used);
    fixture_close(&f);
}

/* ---- what was deleted ---- */

#define SMALL_KEYS 30000u /* of which each tombstone takes as much as its value did */

static void put_small(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        put(i, i + 1, 40);
        if (i % 64 == 0)
            fixture_settle(&f);
    }
    fixture_settle(&f);
}

static void drop(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        char key[32];
        uint32_t length = fixture_key(i, key);
        CU_ASSERT_EQUAL_FATAL(fixture_delete(&f, key, length), 0);
        if (i % 64 == 0)
            fixture_settle(&f);
    }
    fixture_settle(&f);
}

static uint64_t cleaned(void)
{
    return fixture_counter(&f, COUNTER_CLEANED_BYTES) +
           (fixture_counter(&f, COUNTER_SEGMENTS_FREED) << f.geometry.segment_shift);
}

static void an_emptied_shard_leaves_whatever_it_held(uint32_t history)
{
    open_with(&(struct fixture_config){.quota_bytes = UINT64_C(14) << 20,
                                       .shard_count = 1,
                                       .sessions_max = 4,
                                       .history = history,
                                       .ordered = true});
    put_small(0, SMALL_KEYS);
    drop(100, SMALL_KEYS);
    CU_ASSERT(f.shard->live_charge > (uint64_t)SMALL_KEYS * RECORD_SMALL_BYTES / 2);
    CU_ASSERT_TRUE(chunks_shrink(&f, 3));
    CU_ASSERT_EQUAL(used_from(3), 0);
    CU_ASSERT_EQUAL(scanned(), 100);
    CU_ASSERT_EQUAL(f.shard->live_bytes, fixture_live_bytes(&f, NULL));
    fixture_close(&f);
}

static void tombstones_go_before_it_refuses(void)
{
    an_emptied_shard_leaves_whatever_it_held(1);
}

static void versions_of_what_was_deleted_go_too(void)
{
    an_emptied_shard_leaves_whatever_it_held(3);
}

/* A round in small steps, and no second one for the same deletes. */
static void what_gains_nothing_is_done_once(void)
{
    open();
    put_small(0, SMALL_KEYS);
    uint64_t before = cleaned();
    CU_ASSERT_FALSE(chunks_shrink(&f, 3));
    CU_ASSERT_EQUAL(cleaned(), before); /* nothing was deleted */
    drop(0, SMALL_KEYS / 4 * 3);
    put_small(0, SMALL_KEYS / 4 * 3);
    uint32_t segments = f.shard->log.queue_count, passes = 0;
    before = cleaned();
    for (chunks_leave(&f, 3); passes < PASSES_MAX && chunks_answer(&f) == 0; passes++) {
        uint64_t now = fixture_counter(&f, COUNTER_CLEANED_BYTES);
        (void)fixture_maintain(&f);
        CU_ASSERT(fixture_counter(&f, COUNTER_CLEANED_BYTES) - now <=
                  UINT64_C(1) << f.geometry.segment_shift);
    }
    CU_ASSERT_EQUAL(chunks_answer(&f), -EBUSY);
    CU_ASSERT(cleaned() != before);
    CU_ASSERT(passes > segments && passes < 4 * segments);
    chunks_give_up(&f);
    fixture_settle(&f);
    before = cleaned();
    CU_ASSERT_FALSE(chunks_shrink(&f, 3));
    CU_ASSERT_EQUAL(cleaned(), before);
    CU_ASSERT_EQUAL(scanned(), SMALL_KEYS);
    fixture_close(&f);
}

/* What a peer needs stays, and goes when it needs it no more. */
static void a_kept_tail_holds_it_up(void)
{
    open();
    put_small(0, SMALL_KEYS);
    drop(100, SMALL_KEYS);
    f.shard->lsn_kept = f.shard->log.lsn_base;
    CU_ASSERT_FALSE(chunks_shrink(&f, 3));
    CU_ASSERT_EQUAL(f.shard->frames.leave_chunk, UINT32_MAX);
    f.shard->lsn_kept = UINT64_MAX;
    CU_ASSERT_TRUE(chunks_shrink(&f, 3));
    CU_ASSERT_EQUAL(scanned(), 100);
    fixture_close(&f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(tombstones_go_before_it_refuses),
    UNIT_TEST(versions_of_what_was_deleted_go_too),
    UNIT_TEST(what_gains_nothing_is_done_once),
    UNIT_TEST(a_kept_tail_holds_it_up),
    UNIT_TEST(all_that_is_live_moves_and_the_chunks_go),
    UNIT_TEST(what_went_comes_again_and_is_used),
    UNIT_TEST(too_little_would_be_left),
    UNIT_TEST(given_up_it_uses_what_is_there_again),
    UNIT_TEST(an_idle_shard_leaves_too),
    UNIT_TEST(the_tail_keeps_its_bytes),
    UNIT_TEST(what_is_pending_holds_it_up),
    UNIT_TEST(a_cut_ends_a_move),
    UNIT_TEST(who_mapped_before_maps_anew),
    UNIT_TEST(each_pass_is_bounded),
};
UNIT_MAIN("leave", tests)
