#include "tests/unit/engine/fixture.h"

#include "engine/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_pinned(void *context, uint32_t frame)
{
    const struct fixture *f = context;
    return f->pinned[frame];
}

static struct layout_geometry geometry_of(const struct fixture_config *c)
{
    struct space_config space;
    struct layout_geometry g;
    space_config_default(&space);
    space.shard_count = c->shard_count;
    space.quota_bytes = c->quota_bytes;
    ASSERT(space_geometry(&space, &g) == 0);
    if (c->frames_per_shard != 0) {
        ASSERT(c->frames_per_shard <= g.frames_per_shard);
        g.frames_per_shard = c->frames_per_shard;
    }
    ASSERT(layout_frame_count(&g) <= FIXTURE_FRAMES);
    return g;
}

/* Hand out the block from its beginning. */
static void *take(uint8_t **at, uint64_t bytes)
{
    void *part = *at;
    *at += align_up(bytes, PAGE);
    return part;
}

static void block_make(struct fixture *f, uint32_t sessions_max)
{
    uint64_t arena_bytes = (uint64_t)f->geometry.chunk_count_max << f->geometry.chunk_shift;
    uint64_t shard = shard_bytes(&f->geometry, sessions_max);
    f->block_bytes = layout_space_bytes(&f->geometry) + align_up(sizeof *f->node, PAGE) +
                     arena_bytes + PAGE + align_up(shard, PAGE);
    f->block = aligned_alloc(PAGE, f->block_bytes);
    ASSERT(f->block != NULL);
    memset(f->block, 0, f->block_bytes);
    uint8_t *at = f->block;
    f->header = take(&at, layout_space_bytes(&f->geometry));
    f->boards = (void *)((uint8_t *)f->header + layout_board_offset(0));
    f->directory = (void *)((uint8_t *)f->header + layout_directory_offset(&f->geometry));
    f->node = take(&at, sizeof *f->node);
    f->arena = take(&at, arena_bytes);
    f->chunks_wanted = take(&at, sizeof *f->chunks_wanted);
    f->shard = take(&at, shard);
}

void fixture_open(struct fixture *f, const struct fixture_config *c)
{
    memset(f, 0, sizeof *f);
    f->geometry = geometry_of(c);
    uint32_t sessions = c->sessions_max != 0 ? c->sessions_max : 16;
    block_make(f, sessions);
    uint32_t chunks = c->chunks != 0 ? c->chunks : f->geometry.chunk_count_max;
    f->header->geometry = f->geometry;
    f->header->id = 1;
    atomic_store_explicit(&f->header->chunk_count, chunks, memory_order_relaxed);
    atomic_store_explicit(&f->header->chunk_limit, f->geometry.chunk_count_max,
                          memory_order_relaxed);
    f->node->ticks_per_s = NS_PER_S;
    f->node->clock_kind = CLOCK_KIND_TSC;
    f->board = &f->boards[c->number];
    struct space_config space = {.value_bytes_max = 0};
    struct shard_config config = {
        .header = f->header,
        .directory = f->directory,
        .board = f->board,
        .arena = f->arena,
        .chunks_wanted = f->chunks_wanted,
        .counters = &f->node->counters[0],
        .number = c->number,
        .log = 7,
        .sessions_max = sessions,
        .value_bytes_max = space_value_max(&space, &f->geometry),
        .session_ttl_ns = NS_PER_S,
        .lsn_start = 12345678,
        .epoch = c->follower ? 0 : 1,
        .ordered = c->ordered,
        .history = c->history,
        .history_ns = c->history_ns,
    };
    ASSERT(shard_init(f->shard, &config) == 0);
    f->space = (struct read_space){
        .arena = f->arena,
        .mapped_bytes = (uint64_t)chunks << f->geometry.chunk_shift,
        .geometry = f->geometry,
        .boards = f->boards,
        .directory = f->directory,
        .node = f->node,
    };
    f->now = (struct reclaim_now){
        .view_ticks = 100,
        .ticket_next = 1,
        .pinned = is_pinned,
        .context = f,
    };
}

void fixture_close(struct fixture *f)
{
    free(f->block);
    f->block = NULL;
}

uint8_t *fixture_save(const struct fixture *f)
{
    uint8_t *saved = malloc(f->block_bytes);
    ASSERT(saved != NULL);
    memcpy(saved, f->block, f->block_bytes);
    return saved;
}

void fixture_restore(struct fixture *f, const uint8_t *saved)
{
    memcpy(f->block, saved, f->block_bytes);
}

struct shard_write fixture_write_of(const struct fixture *f, uint8_t operation, const void *key,
                                    uint32_t key_length)
{
    return (struct shard_write){
        .origin = {.operation = operation},
        .hash = hash_key(key, key_length),
        .key = key,
        .key_length = (uint16_t)key_length,
        .session_slot = SESSION_NONE,
        .clock_ns = f->clock_ns,
    };
}

int fixture_put(struct fixture *f, const void *key, uint32_t key_length, const void *value,
                uint32_t value_length)
{
    struct shard_write w = fixture_write_of(f, RING_PUT, key, key_length);
    w.value = value;
    w.value_length = value_length;
    return shard_write(f->shard, &w);
}

int fixture_delete(struct fixture *f, const void *key, uint32_t key_length)
{
    struct shard_write w = fixture_write_of(f, RING_DELETE, key, key_length);
    return shard_write(f->shard, &w);
}

void fixture_commit(struct fixture *f)
{
    shard_commit(f->shard, f->shard->log.lsn_end);
}

void fixture_answers(struct fixture *f)
{
    struct shard_answer answer;
    while (shard_answer_next(f->shard, &answer))
        f->answers++;
}

bool fixture_maintain(struct fixture *f)
{
    fixture_answers(f);
    shard_grant(f->shard, f->shard->log.lsn_end + (UINT64_C(1) << 32));
    f->now.ticks++;
    f->now.ticket_next++;
    if (!f->grace_held)
        f->now.ticket_done = f->now.ticket_next - 1;
    f->now.context = f;
    return shard_maintain(f->shard, &f->now);
}

void fixture_settle(struct fixture *f)
{
    fixture_commit(f);
    for (unsigned i = 0; fixture_maintain(f) && i < 100000; i++) {
    }
}

int fixture_read(const struct fixture *f, const void *key, uint32_t key_length,
                 struct read_found *found)
{
    struct read_key k;
    read_key_init(&k, &f->space, key, key_length);
    uint32_t shard = (uint32_t)(f->board - f->boards);
    for (unsigned i = 0; i < 1000; i++) {
        struct read_point p;
        read_begin(&p, &f->space, shard);
        int result = read_find(&p, &f->space, &k, found);
        if (result >= 0 && read_validate(&p, &f->space, result == 0))
            return result;
    }
    ASSERT(false);
    return -1;
}

uint64_t fixture_counter(const struct fixture *f, enum counter which)
{
    return atomic_load_explicit(&f->node->counters[0].value[which], memory_order_relaxed);
}

uint64_t fixture_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t fixture_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)(((fixture_random(state) >> 32) * n) >> 32);
}

uint32_t fixture_key(uint32_t number, char key[32])
{
    return (uint32_t)snprintf(key, 32, "key-%u", number);
}

void fixture_value(uint32_t number, uint64_t version, void *value, uint32_t length)
{
    uint64_t state = version << 20 ^ number;
    uint8_t *to = value;
    for (uint32_t i = 0; i < length; i += 8) {
        uint64_t word = fixture_random(&state);
        memcpy(to + i, &word, min_u64(8, length - i));
    }
}

bool fixture_value_is(uint32_t number, uint64_t version, const void *value, uint32_t length)
{
    uint64_t state = version << 20 ^ number;
    const uint8_t *from = value;
    for (uint32_t i = 0; i < length; i += 8) {
        uint64_t word = fixture_random(&state);
        if (memcmp(from + i, &word, min_u64(8, length - i)) != 0)
            return false;
    }
    return true;
}

/* ---- live bytes, counted afresh ---- */

struct live_count {
    const struct fixture *f;
    uint32_t *frame_live;
    uint64_t bytes;
};

static void live_record(struct live_count *c, uint64_t offset)
{
    const struct record *r = (const void *)(c->f->arena + offset);
    c->bytes += record_size(r);
    if (c->frame_live != NULL)
        c->frame_live[offset >> c->f->geometry.segment_shift] += (uint32_t)record_size(r);
}

/* A slot's record and those behind its links: pending ones, and what history is kept. */
static void live_slot(struct live_count *c, uint64_t slot)
{
    for (;;) {
        uint64_t offset = layout_slot_offset(slot);
        live_record(c, offset);
        slot = atomic_load_explicit(shard_link(c->f->shard, offset), memory_order_relaxed);
        if (!(slot & LAYOUT_SLOT_VALID))
            return;
    }
}

static const struct layout_bucket *bucket_at(const struct live_count *c,
                                             const struct index_table *t, uint32_t number)
{
    uint32_t shift = c->f->geometry.segment_shift - 6;
    uint32_t page =
        atomic_load_explicit(&c->f->board->pages[t->array][number >> shift], memory_order_relaxed);
    if (page == 0)
        return NULL;
    const struct layout_bucket *b =
        (const void *)(c->f->arena + ((uint64_t)(page - 1) << (shift + 6)));
    return b + (number & ((1u << shift) - 1));
}

/* Of a table that grows the buckets that are not moved, of the next one those that are: nothing else in
 * it means anything. */
static bool is_truth(const struct live_count *c, const struct index_table *t, uint32_t number)
{
    const struct index *x = &c->f->shard->index;
    const struct layout_bucket *old = bucket_at(c, &x->table, number & ((1u << x->table.bits) - 1));
    bool moved =
        (atomic_load_explicit(&old->meta, memory_order_relaxed) & LAYOUT_BUCKET_MOVED) != 0;
    return moved == (t == &x->next);
}

static void live_table(struct live_count *c, const struct index_table *t)
{
    for (uint32_t i = 0; i < (1u << t->bits); i++) {
        const struct layout_bucket *b = is_truth(c, t, i) ? bucket_at(c, t, i) : NULL;
        while (b != NULL) {
            for (unsigned j = 0; j < LAYOUT_BUCKET_SLOTS; j++) {
                uint64_t slot = atomic_load_explicit(&b->slots[j], memory_order_relaxed);
                if (slot != 0)
                    live_slot(c, slot);
            }
            uint32_t number = (uint32_t)atomic_load_explicit(&b->meta, memory_order_relaxed);
            b = number != 0 ? bucket_at(c, t, number) : NULL;
        }
    }
}

uint64_t fixture_live_bytes(const struct fixture *f, uint32_t *frame_live)
{
    struct live_count c = {.f = f, .frame_live = frame_live};
    const struct shard *s = f->shard;
    live_table(&c, &s->index.table);
    if (s->index.growing)
        live_table(&c, &s->index.next);
    for (uint32_t i = 0; i < s->sessions.fresh; i++)
        if (s->sessions.entries[i].lsn_opened != 0)
            live_record(&c, s->sessions.entries[i].offset);
    /* The only epoch record of a shard of one node; it moves with the cleaner, so its size is all.
     */
    c.bytes += record_bytes(32, 0, 0) * s->log.epoch_count;
    return c.bytes;
}
