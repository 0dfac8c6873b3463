#include "tests/unit/engine/model_cursor.h"

#include <stdlib.h>

#define BYTES (1u << 18)
#define TURNS_MAX 10000u

void model_cursors_open(struct model_cursors *c)
{
    *c = (struct model_cursors){.bytes = aligned_alloc(8, BYTES), .random = 1};
    CU_ASSERT_PTR_NOT_NULL_FATAL(c->bytes);
    CU_ASSERT_EQUAL(topic_prefix(&c->topics[0], NULL, 0), 0);
    CU_ASSERT_EQUAL(topic_prefix(&c->topics[1], "k1", 2), 0);
    CU_ASSERT_EQUAL(topic_pattern(&c->topics[2], "*", 1), 0);
    CU_ASSERT_EQUAL(topic_pattern(&c->topics[3], "k7", 2), 0);
    for (uint32_t node = 0; node < 2; node++)
        for (uint32_t i = 0; i < MODEL_CURSORS; i++)
            c->cursors[node][i].start = i % 2 == 0 ? CURSOR_OLDEST : CURSOR_NOW;
}

void model_cursors_close(struct model_cursors *c)
{
    free(c->bytes);
    free(c->records);
}

/* ---- what is committed ---- */

static void record_add(struct model_cursors *c, const struct record *r, uint64_t lsn, uint64_t size)
{
    if (c->count == c->room) {
        c->room = c->room != 0 ? 2 * c->room : 4096;
        c->records = realloc(c->records, c->room * sizeof *c->records);
        CU_ASSERT_PTR_NOT_NULL_FATAL(c->records);
    }
    struct model_record *to = &c->records[c->count++];
    *to = (struct model_record){
        .lsn = lsn,
        .lsn_end = lsn + size,
        .crc = r->crc,
        .end = (r->flags & RECORD_FLAG_TRANSACTION_END) != 0,
    };
    bool keyed = r->kind == RECORD_DATA || r->kind == RECORD_TOMBSTONE ||
                 (r->kind == RECORD_EXPIRE && (r->flags & RECORD_FLAG_KEY) != 0);
    for (uint32_t i = 0; i < MODEL_CURSORS; i++)
        to->matters[i] = keyed && topic_match(&c->topics[i], record_key(r), r->key_length);
}

static void learn(struct model_cursors *c, struct model *m)
{
    const struct log *l = &model_leader(m)->shard->log;
    if (c->lsn_to == 0)
        c->lsn_from = c->lsn_to = m->committed;
    while (c->lsn_to < m->committed) {
        uint64_t available;
        const uint8_t *at = log_bytes_at(l, c->lsn_to, &available);
        if (at == NULL) {
            /* It was cleaned within one step: the model commits in small steps and cleans in smaller ones, but
             * where chunks go it cleans on. */
            uint64_t next = align_up(c->lsn_to + 1, UINT64_C(1) << l->segment_shift);
            c->lsn_from = c->lsn_to = min_u64(next, m->committed);
            c->count = 0;
            c->skipped++;
            continue;
        }
        uint64_t end = c->lsn_to + min_u64(available, m->committed - c->lsn_to);
        while (c->lsn_to < end) {
            struct record h;
            uint64_t size = record_step(at, &h);
            if (h.kind != RECORD_PAD)
                record_add(c, (const void *)at, c->lsn_to, size);
            c->lsn_to += size;
            at += size;
        }
    }
}

/* Number of the first record at or above lsn. */
static uint32_t record_from(const struct model_cursors *c, uint64_t lsn)
{
    uint32_t low = 0, high = c->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (c->records[middle].lsn < lsn)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- reading ---- */

static void lag(struct model_cursors *c, struct model *m, uint32_t node, struct cursor *cursor)
{
    const struct shard *s = m->nodes[node].shard;
    uint64_t available, from = cursor->lsn;
    bool installing = s->lsn_visible != 0;
    MODEL_CHECK(m, installing || log_bytes_at(&s->log, from, &available) == NULL);
    uint64_t missed = cursor_resume(cursor, &m->nodes[node].space);
    MODEL_CHECK(m, missed != 0 && cursor->lsn == from + missed);
    MODEL_CHECK(m, cursor->lsn <= m->committed);
    c->lagged++;
}

struct model_read_range {
    uint64_t from, to;
    uint32_t which; /* topic */
};

/* Behind the records of a transaction, and only there, it says where that ends. */
static uint64_t mark_check(struct model *m, const struct cursor_batch *b, uint64_t at,
                           uint64_t lsn_end)
{
    struct cursor_mark mark;
    MODEL_CHECK(m, at + sizeof mark <= b->length);
    memcpy(&mark, b->bytes + at, sizeof mark);
    MODEL_CHECK(m, mark.kind == RECORD_PAD && mark.lsn_end == lsn_end);
    return sizeof mark;
}

/* What came is what is committed in the range. */
static void batch_check(struct model_cursors *c, struct model *m,
                        const struct model_read_range *range, const struct cursor_batch *b)
{
    uint32_t next = record_from(c, range->from);
    uint64_t at = 0;
    bool any = false; /* of this transaction */
    for (; next < c->count && c->records[next].lsn < range->to; next++) {
        const struct model_record *r = &c->records[next];
        struct record h;
        MODEL_CHECK(m, r->lsn_end <= range->to);
        if (r->matters[range->which]) {
            MODEL_CHECK(m, at < b->length && record_check(b->bytes + at, b->length - at, &h) > 0);
            MODEL_CHECK(m, h.lsn == r->lsn && h.crc == r->crc);
            at += record_size(&h);
            any = true;
            c->events++;
        }
        if (r->end && any)
            at += mark_check(m, b, at, r->lsn_end);
        any = any && !r->end;
    }
    MODEL_CHECK(m, at == b->length);
    MODEL_CHECK(m, next == 0 || c->records[next - 1].end);
}

/* One call.  Returns what cursor_read did. */
static int read_once(struct model_cursors *c, struct model *m, uint32_t node, uint32_t which)
{
    struct cursor *cursor = &c->cursors[node][which];
    const struct fixture *f = &m->nodes[node];
    struct cursor_batch b = {.bytes = c->bytes,
                             .capacity = fixture_below(&c->random, 4) == 0 ? 1024 : BYTES};
    bool begins = cursor->start != CURSOR_READY;
    uint64_t from = cursor->lsn;
    bool known = from >= c->lsn_from; /* what is older is on no list */
    int result = cursor_read(cursor, &f->space, &c->topics[which], &b);
    if (result == -ENOBUFS) {
        MODEL_CHECK(m, b.needed > b.capacity && b.needed <= BYTES && b.length == 0);
        c->grown++;
        b.capacity = BYTES;
        result = cursor_read(cursor, &f->space, &c->topics[which], &b);
    }
    if (result == -ENODATA)
        lag(c, m, node, cursor);
    MODEL_CHECK(m, result == 1 || result == 0 || result == -ENODATA);
    if (result != 1)
        return result;
    c->sought += begins;
    if (begins) {
        MODEL_CHECK(m, b.length == 0);
        return result;
    }
    MODEL_CHECK(m, cursor->lsn > from && cursor->lsn <= m->committed);
    const struct model_read_range range = {.from = from, .to = cursor->lsn, .which = which};
    if (known)
        batch_check(c, m, &range, &b);
    return result;
}

void model_cursors_step(struct model_cursors *c, struct model *m)
{
    learn(c, m);
    for (uint32_t node = 0; node < 2; node++)
        for (uint32_t i = 0; i < MODEL_CURSORS; i++)
            if (fixture_below(&c->random, i == 3 ? 2000 : 4) ==
                0) /* one is slow, so that it lags */
                (void)read_once(c, m, node, i);
}

void model_cursors_drain(struct model_cursors *c, struct model *m)
{
    learn(c, m);
    for (uint32_t node = 0; node < 2; node++)
        for (uint32_t i = 0; i < MODEL_CURSORS; i++) {
            uint32_t turn = 0;
            while (read_once(c, m, node, i) != 0)
                MODEL_CHECK(m, turn++ < TURNS_MAX);
            uint64_t shown =
                atomic_load_explicit(&m->nodes[node].board->lsn_committed, memory_order_relaxed);
            MODEL_CHECK(m, c->cursors[node][i].lsn == shown);
        }
}
