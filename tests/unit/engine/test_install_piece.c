/* Pieces of a snapshot that are damaged, of something else, or sound and against the rules. */
#include "engine/checksum.h"
#include "tests/unit/engine/install_world.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define RECORDED_MAX 600u

/* A whole snapshot of a small shard, nothing written meanwhile. */
struct recorded {
    uint8_t *pieces[RECORDED_MAX];
    uint64_t lengths[RECORDED_MAX];
    uint32_t count;
};

static void record_snapshot(struct recorded *r, struct install_world *w, uint64_t id)
{
    struct snapshot_cursor c;
    r->count = 0;
    CU_ASSERT_EQUAL_FATAL(snapshot_begin(&c, w->leader.shard, id), 0);
    for (int more = 1; more != 0; r->count++) {
        CU_ASSERT_FATAL(r->count < RECORDED_MAX);
        struct snapshot_piece p = {.bytes = w->piece, .capacity = SNAPSHOT_PIECE_MIN};
        CU_ASSERT_FATAL((more = snapshot_next(&c, w->leader.shard, &p)) >= 0);
        r->pieces[r->count] = malloc(p.length);
        CU_ASSERT_PTR_NOT_NULL_FATAL(r->pieces[r->count]);
        memcpy(r->pieces[r->count], p.bytes, p.length);
        r->lengths[r->count] = p.length;
    }
}

static void record_close(struct recorded *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        free(r->pieces[i]);
}

/* Up to the piece before this number; the older state is that of the world. */
static void feed_up_to(struct install_world *w, const struct recorded *r, uint32_t number)
{
    for (uint32_t i = 0; i < number; i++) {
        int taken = -EAGAIN;
        while ((taken = install_piece(w->follower.shard, r->pieces[i], r->lengths[i])) == -EAGAIN)
            install_follower_maintain(w);
        CU_ASSERT_EQUAL_FATAL(taken, 0);
    }
}

static void seal(uint8_t *piece, uint64_t length)
{
    uint32_t crc = checksum(0, piece + 8, length - 8);
    memcpy(piece + 4, &crc, sizeof crc);
}

/* Each bit matters to somebody, but not each can be told from another right value: sessions' results
 * and ages, clocks, counts that are bounds. */
static bool is_an_answer(int taken)
{
    return taken == 0 || taken == 1 || taken == -EAGAIN || taken == -ENOSPC || taken == -EBADMSG ||
           taken == -ENOENT || taken == -ESTALE || taken == -EPROTO;
}

static const struct fixture_config small = {
    .quota_bytes = UINT64_C(2) << 20,
    .shard_count = 1,
    .sessions_max = HISTORY_SESSIONS,
};

static void a_piece_changed_anywhere_is_refused_by_name(void)
{
    static struct install_world w;
    static struct recorded r;
    install_world_open(&w, 700, &small);
    w.h->keys_in_use = 600;
    history_write(w.h, &w.leader, 300);
    install_catch_up(&w, 20);
    history_write(w.h, &w.leader, 1500);
    fixture_settle(&w.leader);
    install_world_begin(&w);
    record_snapshot(&r, &w, w.id);
    CU_ASSERT(r.count > 15);
    uint8_t *saved = fixture_save(&w.follower);
    struct fixture kept = w.follower;
    uint64_t refused = 0, tried = 0;
    for (uint32_t number = 0; number < r.count; number++) {
        /* the first, the last, where sessions are, and a few between */
        if (number > 2 && number + 8 < r.count && number % 8 != 0)
            continue;
        fixture_restore(&w.follower, saved);
        w.follower = kept;
        feed_up_to(&w, &r, number);
        uint8_t *at = fixture_save(&w.follower);
        struct fixture there = w.follower;
        uint64_t length = r.lengths[number];
        for (uint64_t i = 0; i < 60; i++) {
            uint64_t byte = i < 40 ? i * 4 : fixture_below(&w.seed, (uint32_t)length);
            if (byte >= length)
                continue;
            memcpy(w.piece, r.pieces[number], length);
            w.piece[byte] ^= (uint8_t)(1u << fixture_below(&w.seed, 8));
            CU_ASSERT_EQUAL(install_piece(w.follower.shard, w.piece, length), -EBADMSG);
            seal(w.piece, length);
            int taken = install_piece(w.follower.shard, w.piece, length);
            CU_ASSERT(is_an_answer(taken));
            tried++;
            refused += taken < 0;
            if (taken == 1)
                install_follower_maintain(&w);
            fixture_restore(&w.follower, at);
            w.follower = there;
        }
        /* cut short */
        for (uint64_t short_length = 0; short_length < length; short_length += 8) {
            memcpy(w.piece, r.pieces[number], length);
            CU_ASSERT_EQUAL(install_piece(w.follower.shard, w.piece, short_length), -EBADMSG);
        }
        free(at);
    }
    CU_ASSERT(refused * 10 > tried * 7);
    fixture_restore(&w.follower, saved);
    w.follower = kept;
    free(saved);
    record_close(&r);
    install_abort(w.follower.shard);
    CU_ASSERT_EQUAL(history_differences(w.h, &w.follower), 0);
    install_world_close(&w);
}

/* The body of the first item of this kind from a piece on. */
static uint8_t *item_find(struct recorded *r, uint32_t kind, uint32_t *number)
{
    for (*number = 0; *number < r->count; ++*number) {
        for (uint64_t at = sizeof(struct snapshot_head); at < r->lengths[*number];) {
            struct snapshot_item item;
            memcpy(&item, r->pieces[*number] + at, sizeof item);
            at += sizeof item;
            if (item.kind == kind)
                return r->pieces[*number] + at;
            at += item.bytes;
        }
    }
    CU_FAIL_FATAL("no such item");
    return NULL;
}

/* A snapshot in which one word of one item is another; what comes of it. */
static int install_with(struct install_world *w, uint32_t kind, uint64_t offset, uint64_t word)
{
    static struct recorded r;
    uint32_t number;
    install_world_begin(w);
    record_snapshot(&r, w, w->id);
    uint8_t *body = item_find(&r, kind, &number);
    memcpy(body + offset, &word, sizeof word);
    seal(r.pieces[number], r.lengths[number]);
    feed_up_to(w, &r, number);
    int taken;
    while ((taken = install_piece(w->follower.shard, r.pieces[number], r.lengths[number])) ==
           -EAGAIN)
        install_follower_maintain(w);
    record_close(&r);
    install_abort(w->follower.shard);
    return taken;
}

static void the_rules_of_a_snapshot(void)
{
    static struct install_world w;
    install_world_open(&w, 800, &small);
    w.h->keys_in_use = 200;
    for (w.h->sessions_opened = 0; w.h->sessions_opened < 20;)
        history_write(w.h, &w.leader, 100);
    install_catch_up(&w, 20);
    history_write(w.h, &w.leader, 1000);
    fixture_settle(&w.leader);
    /* bounds that are too small, and tables that cannot be */
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_HEADER, 0, 0), -EPROTO);
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_HEADER, 0, UINT64_C(1) << 40), -EPROTO);
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_HEADER, 8, UINT64_C(1) << 30), -ENOSPC);
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_HEADER, 16, 30), -EPROTO);
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_HEADER, 16, 15), -ENOSPC);
    /* epochs */
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_EPOCH, 0, 0), -EPROTO);
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_EPOCH, 8, UINT64_MAX), -EPROTO);
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_EPOCH, 24, 2), -EPROTO);
    /* records: another LSN than its own, no size, too much */
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_RECORD, 0, 8), -EPROTO);
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_RECORD, 8, 0), -EPROTO);
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_RECORD, 8, UINT64_C(64) << 32 | 128), -EPROTO);
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_RECORD, 8, UINT32_MAX - 7), -EPROTO);
    /* sessions: unknown, more results than sequences */
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_SESSION, 0, 8), -EPROTO);
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_SESSION, 24, 65), -EPROTO);
    /* the end: before S0, and with other counts */
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_END, 0, 8), -EPROTO);
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_END, 0, UINT64_MAX), -EPROTO);
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_END, 16, 1), -EPROTO);
    CU_ASSERT_EQUAL(install_with(&w, SNAPSHOT_END, 24, 1000), -EPROTO);
    CU_ASSERT_EQUAL(history_differences(w.h, &w.follower), 0);
    install_take_snapshot(&w, 10);
    install_catch_up(&w, 10);
    install_check_equal(&w);
    install_world_close(&w);
}

/* A snapshot in which the first data record is another, sound one; what comes of it. */
static int install_with_record(struct install_world *w,
                               void (*change)(struct record *h, uint64_t lsn_start))
{
    static struct recorded r;
    uint32_t number;
    uint8_t old[1u << 16];
    install_world_begin(w);
    record_snapshot(&r, w, w->id);
    struct snapshot_head head;
    memcpy(&head, r.pieces[0], sizeof head);
    uint8_t *body = item_find(&r, SNAPSHOT_RECORD, &number);
    struct snapshot_record item;
    struct record h;
    memcpy(&item, body, sizeof item);
    CU_ASSERT_EQUAL_FATAL(item.offset, 0);
    memcpy(old, body + sizeof item, item.size);
    memcpy(&h, old, sizeof h);
    const struct record was = h;
    change(&h, head.lsn_start);
    CU_ASSERT_FATAL(record_size(&h) <= record_size(&was));
    const struct record_parts parts = {
        .extension = old + RECORD_HEADER_BYTES,
        .key = old + RECORD_HEADER_BYTES + align_up(was.extension_length, 8),
        .value = old + RECORD_HEADER_BYTES + align_up(was.extension_length, 8) +
                 align_up(was.key_length, 8),
    };
    uint8_t aligned[1u << 16] __attribute__((aligned(8)));
    memcpy(aligned, old, item.size);
    record_write(aligned, &h, &parts);
    memcpy(body + sizeof item, aligned, item.size);
    memcpy(body, &h.lsn, sizeof h.lsn);
    seal(r.pieces[number], r.lengths[number]);
    feed_up_to(w, &r, number);
    int taken = install_piece(w->follower.shard, r.pieces[number], r.lengths[number]);
    record_close(&r);
    install_abort(w->follower.shard);
    return taken;
}

static void change_nothing(struct record *h, uint64_t lsn_start)
{
    CU_ASSERT(h->kind == RECORD_DATA && h->lsn < lsn_start && h->value_length >= 8);
}
static void change_hash(struct record *h, uint64_t lsn_start)
{
    (void)lsn_start;
    h->hash++;
}
static void change_log(struct record *h, uint64_t lsn_start)
{
    (void)lsn_start;
    h->log++;
}
static void change_kind(struct record *h, uint64_t lsn_start)
{
    (void)lsn_start;
    h->kind = RECORD_TOMBSTONE;
}
static void change_to_session(struct record *h, uint64_t lsn_start)
{
    (void)lsn_start;
    h->kind = RECORD_SESSION;
}
static void change_lsn_to_start(struct record *h, uint64_t lsn_start)
{
    h->lsn = lsn_start;
}
static void change_lsn_across_start(struct record *h, uint64_t lsn_start)
{
    h->lsn = lsn_start - 8;
}
static void change_length(struct record *h, uint64_t lsn_start)
{
    (void)lsn_start;
    h->value_length -= 8;
}

static void a_sound_record_that_does_not_belong_there_is_refused(void)
{
    static struct install_world w;
    install_world_open(&w, 850, &small);
    w.h->keys_in_use = 200;
    history_write(w.h, &w.leader, 1500);
    fixture_settle(&w.leader);
    CU_ASSERT_EQUAL(install_with_record(&w, change_nothing), 0);
    CU_ASSERT_EQUAL(install_with_record(&w, change_hash), -EPROTO);
    CU_ASSERT_EQUAL(install_with_record(&w, change_log), -EPROTO);
    CU_ASSERT_EQUAL(install_with_record(&w, change_kind), -EPROTO);
    CU_ASSERT_EQUAL(install_with_record(&w, change_to_session), -EPROTO);
    CU_ASSERT_EQUAL(install_with_record(&w, change_lsn_to_start), -EPROTO);
    CU_ASSERT_EQUAL(install_with_record(&w, change_lsn_across_start), -EPROTO);
    CU_ASSERT_EQUAL(install_with_record(&w, change_length), -EPROTO);
    install_world_close(&w);
}

static uint64_t stamp_of(const struct install_world *w, uint32_t frame)
{
    return atomic_load_explicit(&w->follower.directory[frame].stamp, memory_order_relaxed);
}

/* A record of which no more came than a few bytes, and never will: the cleaner walks over its place. */
static void a_record_broken_off_leaves_nothing_behind(void)
{
    static struct install_world w;
    static struct recorded r;
    install_world_open(&w, 860, &small);
    w.h->keys_in_use = 200;
    history_write(w.h, &w.leader, 1500);
    fixture_settle(&w.leader);
    install_world_begin(&w);
    record_snapshot(&r, &w, w.id);
    /* in front of what piece 1 tells */
    const struct snapshot_item item = {.kind = SNAPSHOT_RECORD,
                                       .bytes = sizeof(struct snapshot_record) + 24};
    const struct snapshot_record part = {.lsn = 64, .size = 4096};
    uint64_t more = sizeof item + item.bytes;
    uint8_t *with = malloc(r.lengths[1] + more);
    CU_ASSERT_PTR_NOT_NULL_FATAL(with);
    uint8_t *at = with + sizeof(struct snapshot_head);
    memcpy(with, r.pieces[1], sizeof(struct snapshot_head));
    memcpy(at + more, r.pieces[1] + sizeof(struct snapshot_head),
           r.lengths[1] - sizeof(struct snapshot_head));
    memset(at, 0xff, more);
    memcpy(at, &item, sizeof item);
    memcpy(at + sizeof item, &part, sizeof part);
    free(r.pieces[1]);
    r.pieces[1] = with;
    r.lengths[1] += more;
    memcpy(with + offsetof(struct snapshot_head, bytes), &r.lengths[1], sizeof r.lengths[1]);
    seal(with, r.lengths[1]);
    feed_up_to(&w, &r, 2);
    uint32_t frame = w.follower.shard->install.cleaner.base.frame;
    uint64_t stamp = stamp_of(&w, frame);
    for (uint32_t i = 2; i < r.count; i++)
        CU_ASSERT_EQUAL(install_piece(w.follower.shard, r.pieces[i], r.lengths[i]),
                        i + 1 == r.count);
    record_close(&r);
    /* new keys fill the segment, which is cleaned in its turn */
    w.h->keys_in_use = 1000;
    history_write(w.h, &w.leader, 600);
    history_commit(w.h, &w.leader);
    install_catch_up(&w, 0);
    uint64_t cleaned = fixture_counter(&w.follower, COUNTER_CLEANED_RECORDS);
    for (uint32_t i = 0; i < 200 && stamp_of(&w, frame) == stamp; i++) {
        w.follower.shard->starved = true; /* clean whatever can be */
        (void)fixture_maintain(&w.follower);
    }
    CU_ASSERT(stamp_of(&w, frame) != stamp);
    CU_ASSERT(fixture_counter(&w.follower, COUNTER_CLEANED_RECORDS) > cleaned + 20);
    install_check_equal(&w);
    install_world_close(&w);
}

static void pieces_of_something_else_are_told_apart(void)
{
    static struct install_world w;
    static struct recorded r;
    install_world_open(&w, 900, &small);
    w.h->keys_in_use = 200;
    history_write(w.h, &w.leader, 600);
    fixture_settle(&w.leader);
    install_world_begin(&w);
    struct shard *s = w.follower.shard;
    record_snapshot(&r, &w, w.id + 1); /* another attempt */
    CU_ASSERT_EQUAL(install_piece(s, r.pieces[0], r.lengths[0]), -ESTALE);
    record_close(&r);
    record_snapshot(&r, &w, w.id);
    CU_ASSERT_EQUAL(install_piece(s, r.pieces[1], r.lengths[1]), -ENOENT);
    feed_up_to(&w, &r, 1);
    CU_ASSERT_EQUAL(install_piece(s, r.pieces[0], r.lengths[0]), 0);
    CU_ASSERT_EQUAL(install_piece(s, r.pieces[2], r.lengths[2]), -ENOENT);
    CU_ASSERT_EQUAL(install_piece_next(s), 1);
    /* the log comes after all, and what is shown gets newer than the snapshot */
    history_write(w.h, &w.leader, 100);
    install_catch_up(&w, 0);
    feed_up_to(&w, &r, r.count - 1);
    CU_ASSERT_EQUAL(install_piece(s, r.pieces[r.count - 1], r.lengths[r.count - 1]), -ESTALE);
    install_abort(s);
    record_close(&r);
    install_check_equal(&w);
    install_world_close(&w);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_piece_changed_anywhere_is_refused_by_name),
    UNIT_TEST(the_rules_of_a_snapshot),
    UNIT_TEST(a_sound_record_that_does_not_belong_there_is_refused),
    UNIT_TEST(a_record_broken_off_leaves_nothing_behind),
    UNIT_TEST(pieces_of_something_else_are_told_apart),
};
UNIT_MAIN("install_piece", tests)
