#include "bench/cursor.h"

#include "bench/passes.h"
#include "engine/agent/agent.h"
#include "engine/clock.h"
#include "engine/cursor.h"

#include <stdlib.h>

#define BYTES (1u << 18)

int cursor_side_open(struct cursor_side *s, struct dunlin_space *space)
{
    *s = (struct cursor_side){.space = space, .bytes = aligned_alloc(CACHE_LINE, BYTES)};
    while (s->bytes != NULL && agent_space_map_more(space) == 0)
        continue;
    return s->bytes != NULL ? 0 : -ENOMEM;
}

void cursor_side_close(struct cursor_side *s)
{
    free(s->bytes);
}

/* What an agent does at least: where each record is, and how long. */
static uint64_t count_records(struct cursor_side *s, const struct cursor_batch *b)
{
    uint64_t count = 0;
    for (uint64_t at = 0; at < b->length;) {
        struct record h;
        at += record_step(b->bytes + at, &h);
        count += h.kind != RECORD_PAD;
        s->sum += h.kind != RECORD_PAD ? h.lsn : 0;
    }
    return count;
}

static int pass_shard(struct cursor_side *s, uint32_t shard, uint64_t *records)
{
    static const struct topic everything = {.prefix = true};
    struct cursor c = {.shard = shard, .start = CURSOR_OLDEST};
    struct cursor_batch b = {.bytes = s->bytes, .capacity = BYTES};
    int result;
    while ((result = cursor_read(&c, &s->space->read, &everything, &b)) == 1)
        *records += count_records(s, &b);
    return result;
}

int cursor_measure(void *context, uint64_t duration_ns, double *value)
{
    struct cursor_side *s = context;
    uint64_t records = 0, began_ns = clock_boottime_ns(), now_ns = began_ns;
    const uint64_t cpu_ns = passes_cpu_ns();
    while (now_ns - began_ns < duration_ns) {
        for (uint32_t i = 0; i < s->space->read.geometry.shard_count; i++) {
            int result = pass_shard(s, i, &records);
            if (result != 0)
                return result;
        }
        now_ns = clock_boottime_ns();
    }
    *value = (double)(passes_cpu_ns() - cpu_ns) / (double)max_u64(records, 1);
    s->clock_ns += now_ns - began_ns;
    s->records += records;
    return 0;
}

/* ---- the baseline ---- */

static uint64_t walk_plain(struct cursor_side *s, const uint8_t *at, const uint8_t *end)
{
    uint64_t count = 0;
    while (at < end) {
        struct record h;
        uint64_t size = record_step(at, &h);
        for (uint64_t i = 0; h.kind != RECORD_PAD && i < size; i += 8) {
            uint64_t word;
            memcpy(&word, at + i, 8);
            s->sum += word;
        }
        count += h.kind != RECORD_PAD;
        at += size;
    }
    return count;
}

/* Where the tail's segments lie is in the table that cursors use. */
static uint64_t pass_plain(struct cursor_side *s, uint32_t shard)
{
    const struct read_space *space = &s->space->read;
    const struct layout_geometry *g = &space->geometry;
    const _Atomic uint32_t *table = (const void *)(space->directory + layout_frame_count(g));
    uint64_t segment = UINT64_C(1) << g->segment_shift, records = 0;
    /* relaxed: nobody writes */
    uint64_t end = atomic_load_explicit(
        (_Atomic uint64_t *)(uintptr_t)&space->boards[shard].lsn_committed, memory_order_relaxed);
    for (uint64_t at = cursor_oldest(space, shard); at < end; at += segment) {
        uint64_t entry =
            (uint64_t)shard * g->frames_per_shard + (at >> g->segment_shift) % g->frames_per_shard;
        uint32_t frame = atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&table[entry],
                                              memory_order_relaxed) -
                         1;
        const uint8_t *base = space->arena + ((uint64_t)frame << g->segment_shift);
        records += walk_plain(s, base, base + min_u64(segment, end - at));
    }
    return records;
}

int cursor_measure_plain(void *context, uint64_t duration_ns, double *value)
{
    struct cursor_side *s = context;
    uint64_t records = 0, began_ns = clock_boottime_ns(), now_ns = began_ns;
    const uint64_t cpu_ns = passes_cpu_ns();
    while (now_ns - began_ns < duration_ns) {
        for (uint32_t i = 0; i < s->space->read.geometry.shard_count; i++)
            records += pass_plain(s, i);
        now_ns = clock_boottime_ns();
    }
    *value = (double)(passes_cpu_ns() - cpu_ns) / (double)max_u64(records, 1);
    return 0;
}
