/* What a leader tells of its state while it goes on writing: every key that needs telling, whole. */
#include "engine/checksum.h"
#include "engine/log.h"
#include "engine/pending.h"
#include "engine/snapshot.h"
#include "tests/unit/engine/history.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

static const struct fixture_config config = {
    .quota_bytes = UINT64_C(7) << 20,
    .shard_count = 1,
    .sessions_max = 16,
};

/* What was told. */
struct told {
    uint64_t lsn[HISTORY_KEYS]; /* of the version told */
    uint64_t records, twice, parts, broken_off;
    uint64_t sessions, epochs;
    uint64_t pieces;
    struct snapshot_header header;
    struct snapshot_end end;
    bool ended;
    uint8_t *whole; /* a record put together */
    struct snapshot_record part;
    uint32_t part_bytes;
};

static void told_record(struct told *t, const struct history *h, uint64_t lsn_start)
{
    struct record r;
    CU_ASSERT_EQUAL_FATAL(record_check(t->whole, t->part.size, &r), t->part.size);
    CU_ASSERT(r.lsn == t->part.lsn && r.lsn + t->part.size <= lsn_start);
    if (r.kind == RECORD_SESSION)
        return;
    CU_ASSERT_EQUAL(r.kind, RECORD_DATA);
    char key[32] = {0};
    memcpy(key, record_key((const void *)t->whole), r.key_length);
    uint32_t number = (uint32_t)strtoul(key + 4, NULL, 10);
    CU_ASSERT_FATAL(number < HISTORY_KEYS);
    const struct history_entry *e = history_at(h, number, lsn_start);
    CU_ASSERT_PTR_NOT_NULL_FATAL(e);
    CU_ASSERT_EQUAL(e->lsn, r.lsn);
    t->twice += t->lsn[number] != 0;
    t->lsn[number] = r.lsn;
    t->records++;
}

static void told_item(struct told *t, const struct history *h, uint64_t lsn_start,
                      const uint8_t *at)
{
    struct snapshot_item item;
    memcpy(&item, at, sizeof item);
    at += sizeof item;
    struct snapshot_record part;
    switch (item.kind) {
    case SNAPSHOT_HEADER:
        CU_ASSERT_EQUAL(t->pieces, 0);
        memcpy(&t->header, at, sizeof t->header);
        break;
    case SNAPSHOT_EPOCH:
        t->epochs++;
        break;
    case SNAPSHOT_RECORD:
        memcpy(&part, at, sizeof part);
        t->broken_off += part.offset == 0 && t->part_bytes != 0;
        if (part.offset == 0)
            t->part_bytes = 0;
        t->parts += part.offset != 0;
        CU_ASSERT_EQUAL_FATAL(part.offset, t->part_bytes);
        CU_ASSERT_FATAL(part.size <= 65536 && item.bytes - sizeof part + part.offset <= part.size);
        t->part = part;
        memcpy(t->whole + part.offset, at + sizeof part, item.bytes - sizeof part);
        t->part_bytes += item.bytes - (uint32_t)sizeof part;
        if (t->part_bytes == part.size) {
            told_record(t, h, lsn_start);
            t->part_bytes = 0;
        }
        break;
    case SNAPSHOT_SESSION:
        t->sessions++;
        break;
    case SNAPSHOT_END:
        memcpy(&t->end, at, sizeof t->end);
        t->ended = true;
        break;
    default:
        CU_FAIL("an unknown item");
    }
}

static void told_piece(struct told *t, const struct history *h, const struct snapshot_cursor *c,
                       const struct snapshot_piece *p)
{
    struct snapshot_head head;
    memcpy(&head, p->bytes, sizeof head);
    CU_ASSERT(p->length <= p->capacity && head.bytes == p->length);
    CU_ASSERT_EQUAL(head.number, t->pieces);
    CU_ASSERT_EQUAL(head.crc, checksum(0, p->bytes + 8, p->length - 8));
    CU_ASSERT_EQUAL(head.lsn_start, c->lsn_start);
    for (uint64_t at = sizeof head; at < p->length;) {
        struct snapshot_item item;
        memcpy(&item, p->bytes + at, sizeof item);
        CU_ASSERT_FATAL(item.bytes % 8 == 0 && at + sizeof item + item.bytes <= p->length);
        CU_ASSERT_FALSE(t->ended);
        told_item(t, h, c->lsn_start, p->bytes + at);
        at += sizeof item + item.bytes;
    }
    t->pieces++;
}

static struct told *told_open(void)
{
    struct told *t = calloc(1, sizeof *t);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t);
    t->whole = aligned_alloc(64, 1 << 17);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t->whole);
    return t;
}

static void told_close(struct told *t)
{
    free(t->whole);
    free(t);
}

/* All that was live at S0 and is what it was at S1 was told. */
static void check_told(const struct told *t, const struct history *h, uint64_t lsn_start)
{
    CU_ASSERT_TRUE(t->ended);
    CU_ASSERT(t->end.lsn_end >= lsn_start);
    CU_ASSERT_EQUAL(t->end.record_count, t->records);
    CU_ASSERT_EQUAL(t->end.session_count, t->sessions);
    uint64_t missing = 0, distinct = 0;
    for (uint32_t number = 0; number < HISTORY_KEYS; number++) {
        const struct history_entry *before = history_at(h, number, lsn_start);
        const struct history_entry *after = history_at(h, number, t->end.lsn_end);
        missing += before != NULL && before == after && t->lsn[number] != before->lsn;
        distinct += t->lsn[number] != 0;
    }
    CU_ASSERT_EQUAL(missing, 0);
    CU_ASSERT(distinct <= t->header.key_count);
}

static void a_walk_under_writes_tells_every_key(void)
{
    uint64_t grown = 0, parts = 0, sessions = 0, moved = 0, twice = 0;
    for (uint64_t run = 1; run <= 6; run++) {
        struct fixture leader;
        struct history *h = history_open(run, 3000);
        struct told *t = told_open();
        fixture_open(&leader, &config);
        history_write(h, &leader, 25000);
        h->keys_in_use = HISTORY_KEYS; /* so that the index grows under the walk */
        history_write(h, &leader, 200 * (uint32_t)run);
        struct snapshot_cursor c;
        CU_ASSERT_EQUAL_FATAL(snapshot_begin(&c, leader.shard, 42), 0);
        leader.shard->lsn_kept = c.lsn_start;
        uint32_t bits = leader.shard->index.table.bits;
        uint8_t *bytes = malloc(1 << 16);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        int more = 1;
        while (more != 0) {
            struct snapshot_piece p = {
                .bytes = bytes,
                .capacity = SNAPSHOT_PIECE_MIN + 8 * (uint64_t)fixture_below(&h->seed, 1200),
            };
            more = snapshot_next(&c, leader.shard, &p);
            CU_ASSERT_FATAL(more >= 0 || more == -EAGAIN);
            if (more >= 0)
                told_piece(t, h, &c, &p);
            history_write(h, &leader, fixture_below(&h->seed, 100));
            history_commit(h, &leader);
        }
        struct snapshot_piece p = {.bytes = bytes, .capacity = 1 << 16};
        CU_ASSERT_EQUAL(snapshot_next(&c, leader.shard, &p), -EINVAL);
        check_told(t, h, c.lsn_start);
        grown += leader.shard->index.table.bits - bits;
        parts += t->parts;
        sessions += t->sessions;
        twice += t->twice;
        /* no more than the bucket that it stood in */
        CU_ASSERT(t->twice <= LIMIT_INDEX_CHAIN * LAYOUT_BUCKET_SLOTS);
        moved += fixture_counter(&leader, COUNTER_CLEANED_RECORDS);
        free(bytes);
        told_close(t);
        history_close(h);
        fixture_close(&leader);
    }
    CU_ASSERT(grown > 0);
    CU_ASSERT(parts > 0);
    CU_ASSERT(sessions > 0);
    CU_ASSERT(moved > 0);
    CU_ASSERT(twice > 0); /* a bucket that moved is begun again */
}

static struct fixture f;

static void put(const char *key, uint32_t length)
{
    static const uint8_t value[60000];
    CU_ASSERT_EQUAL_FATAL(fixture_put(&f, key, (uint32_t)strlen(key), value, length), 0);
}

/* Log so far that what was written before lies below S0. */
static void log_moves_on(void)
{
    put("filler", 60000);
    put("filler", 60000);
    fixture_settle(&f);
}

/* The next data record of a snapshot; size 0: there is none. */
static struct snapshot_record next_record(struct snapshot_cursor *c, uint64_t capacity)
{
    uint8_t bytes[8192];
    struct snapshot_record r = {.size = 0};
    struct snapshot_piece p = {.bytes = bytes, .capacity = capacity};
    CU_ASSERT_FATAL(snapshot_next(c, f.shard, &p) >= 0);
    for (uint64_t at = sizeof(struct snapshot_head); at < p.length;) {
        struct snapshot_item item;
        memcpy(&item, bytes + at, sizeof item);
        if (item.kind == SNAPSHOT_RECORD)
            memcpy(&r, bytes + at + sizeof item, sizeof r);
        at += sizeof item + item.bytes;
    }
    return r;
}

static void the_newest_committed_version_counts(void)
{
    fixture_open(&f, &config);
    put("k", 100);
    uint64_t lsn = pending_at(f.shard, f.shard->pending_tail - 1)->lsn;
    log_moves_on();
    for (unsigned i = 0; i < 10; i++)
        put("k", 50); /* pending */
    struct snapshot_cursor c;
    CU_ASSERT_EQUAL(snapshot_begin(&c, f.shard, 1), 0);
    struct snapshot_record r = next_record(&c, 4096);
    CU_ASSERT_EQUAL(r.lsn, lsn);
    fixture_settle(&f);
    CU_ASSERT_EQUAL(snapshot_begin(&c, f.shard, 1), 0);
    CU_ASSERT_EQUAL(next_record(&c, 4096).size, 0); /* the log has it */
    log_moves_on();
    CU_ASSERT_EQUAL(fixture_delete(&f, "k", 1), 0);
    log_moves_on();
    CU_ASSERT_EQUAL(snapshot_begin(&c, f.shard, 1), 0);
    CU_ASSERT_EQUAL(next_record(&c, 4096).size, 0); /* deleted */
    fixture_close(&f);
}

static void a_record_in_parts_goes_on_wherever_it_moves_and_ends_when_overwritten(void)
{
    fixture_open(&f, &config);
    put("k", 20000);
    log_moves_on();
    struct snapshot_cursor c;
    CU_ASSERT_EQUAL(snapshot_begin(&c, f.shard, 1), 0);
    struct snapshot_record first = next_record(&c, 4096);
    CU_ASSERT(first.offset == 0 && first.size > 20000);
    uint64_t cleaned = fixture_counter(&f, COUNTER_CLEANED_RECORDS);
    for (unsigned i = 0; i < 200; i++)
        log_moves_on();
    CU_ASSERT(fixture_counter(&f, COUNTER_CLEANED_RECORDS) > cleaned);
    struct snapshot_record second = next_record(&c, 4096);
    CU_ASSERT(second.lsn == first.lsn && second.offset > 3000);
    put("k", 20);
    CU_ASSERT(next_record(&c, 4096).offset > second.offset); /* not committed yet */
    fixture_settle(&f);
    CU_ASSERT_EQUAL(next_record(&c, 4096).size, 0);
    fixture_close(&f);
}

static bool is_met[HISTORY_KEYS];

static uint32_t number_of(uint64_t slot)
{
    char key[32] = {0};
    const struct record *r = shard_record(f.shard, layout_slot_offset(slot));
    memcpy(key, record_key(r), r->key_length);
    return (uint32_t)strtoul(key + 4, NULL, 10);
}

/* Walk on over up to count slots; false: to the end. */
static bool walk_some(struct index_walk *w, uint32_t count)
{
    for (; count != 0; count--, index_walk_on(w)) {
        uint64_t slot;
        uint32_t budget = UINT32_MAX;
        int met = index_walk(&f.shard->index, w, &budget, &slot);
        CU_ASSERT_FATAL(met >= 0);
        if (met == 0)
            return false;
        is_met[number_of(slot)] = true;
    }
    return true;
}

#define WALK_KEYS 4600u /* the table is about to grow */

static void fill(uint32_t from, uint32_t to)
{
    shard_grant(f.shard, f.shard->log.lsn_end + (UINT64_C(1) << 30));
    for (uint32_t i = from; i < to; i++) {
        char key[32];
        uint64_t value = i;
        CU_ASSERT_EQUAL_FATAL(fixture_put(&f, key, fixture_key(i, key), &value, sizeof value), 0);
        if (i % 64 == 0 || i + 1 == to) {
            fixture_commit(&f);
            fixture_answers(&f);
        }
    }
}

/* Wherever in a bucket it has come when the table begins to double, and when that is over. */
static void a_walk_passes_no_key_when_the_index_grows(void)
{
    fixture_open(&f, &config);
    fill(0, WALK_KEYS);
    CU_ASSERT(!f.shard->index.growing);
    uint8_t *saved = fixture_save(&f);
    struct fixture kept = f;
    for (uint32_t stop = 0; stop < 120; stop++) {
        fixture_restore(&f, saved);
        f = kept;
        memset(is_met, 0, sizeof is_met);
        struct index_walk w = {.bits = 0};
        CU_ASSERT_TRUE(walk_some(&w, stop + 30 * (stop % 7)));
        fill(WALK_KEYS, WALK_KEYS + 40);
        f.shard->bytes_appended = 0;
        (void)fixture_maintain(&f);
        CU_ASSERT_TRUE(f.shard->index.growing);
        CU_ASSERT_TRUE(walk_some(&w, stop % 50));
        if (stop % 2 == 0)
            fixture_settle(&f);
        CU_ASSERT_FALSE(walk_some(&w, UINT32_MAX));
        uint32_t missed = 0;
        for (uint32_t i = 0; i < WALK_KEYS; i++)
            missed += !is_met[i];
        CU_ASSERT_EQUAL(missed, 0);
    }
    free(saved);
    fixture_close(&f);
}

static void what_is_refused(void)
{
    fixture_open(&f, &config);
    struct snapshot_cursor c;
    uint8_t bytes[SNAPSHOT_PIECE_MIN];
    struct snapshot_piece p = {.bytes = bytes, .capacity = sizeof bytes - 8};
    CU_ASSERT_EQUAL(snapshot_begin(&c, f.shard, 1), 0);
    CU_ASSERT_EQUAL(snapshot_next(&c, f.shard, &p), -EINVAL);
    p.capacity += 8;
    CU_ASSERT_EQUAL(snapshot_next(&c, f.shard, &p), 0);
    CU_ASSERT_EQUAL(snapshot_next(&c, f.shard, &p), -EINVAL);
    fixture_close(&f);
    struct fixture_config empty = config;
    empty.follower = true;
    fixture_open(&f, &empty);
    CU_ASSERT_EQUAL(snapshot_begin(&c, f.shard, 1), -EAGAIN);
    fixture_close(&f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_walk_under_writes_tells_every_key),
    UNIT_TEST(the_newest_committed_version_counts),
    UNIT_TEST(a_record_in_parts_goes_on_wherever_it_moves_and_ends_when_overwritten),
    UNIT_TEST(a_walk_passes_no_key_when_the_index_grows),
    UNIT_TEST(what_is_refused),
};
UNIT_MAIN("snapshot", tests)
