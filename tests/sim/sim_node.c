#include "tests/sim/sim_scenario.h"

#include "engine/pending.h"
#include "engine/plant.h"

#include <stdlib.h>
#include <string.h>

#define LOG_NUMBER 7u /* of shard 0 */
#define TICK_NS NS_PER_MS
#define DAY_APART_NS 20000000 /* how far times of day are from ours at first, at most */
/* So few that the cleaner works all the time, and logs do not reach back far. */
#define SHARD_FRAMES (LIMIT_SHARD_FRAMES_MIN > 9u ? LIMIT_SHARD_FRAMES_MIN : 9u)
#define QUOTA_GROWS 4u /* times as much where a shard grows, and so many frames */
#define SHARD_FRAMES_GROWS 40u

static const struct replica_times times = {
    .lease = 50 * NS_PER_MS,
    .heartbeat = 10 * NS_PER_MS,
    .retry = 4 * NS_PER_MS,
    .notice = NS_PER_MS / 5,
    .read_leases = true,
};

static bool nothing_pinned(void *context, uint32_t frame)
{
    (void)context;
    (void)frame;
    return false;
}

static bool is_held(void *context, uint32_t frame)
{
    const struct sim_node *n = context;
    return hold_is_held(&n->holds, frame) && !PLANTED(HOLDS_IGNORED);
}

/* ---- one node's memory ---- */

static void geometry(const struct sim *s, struct space_config *c, struct layout_geometry *g)
{
    space_config_default(c);
    c->shard_count = SIM_SHARDS;
    c->sessions_max = 256;
    c->quota_bytes = space_quota_min(SIM_SHARDS) * (s->scenario->grows ? QUOTA_GROWS : 1);
    int error = space_geometry(c, g);
    ASSERT(error == 0);
    g->frames_per_shard = s->scenario->grows ? SHARD_FRAMES_GROWS : SHARD_FRAMES;
}

static uint64_t memory_bytes(const struct space_config *c, const struct layout_geometry *g)
{
    return layout_space_bytes(g) + align_up(sizeof(struct layout_node), PAGE) +
           ((uint64_t)g->chunk_count_max << g->chunk_shift) +
           SIM_SHARDS * align_up(shard_bytes(g, c->sessions_max), PAGE) +
           (SIM_NODES - 1) * align_up(pair_bytes(SIM_SHARDS), PAGE);
}

/* Returns what follows the arena. */
static uint8_t *memory_place(const struct sim *s, struct sim_node *n)
{
    struct space_config c;
    struct layout_geometry g;
    geometry(s, &c, &g);
    uint64_t arena_bytes = (uint64_t)g.chunk_count_max << g.chunk_shift;
    if (n->memory == NULL) {
        n->memory = aligned_alloc(PAGE, memory_bytes(&c, &g));
        ASSERT(n->memory != NULL);
    }
    /* The arena keeps what was in it: garbage must do no harm. */
    uint8_t *at = n->memory;
    memset(at, 0, layout_space_bytes(&g));
    n->header = (struct layout_space *)(void *)at;
    n->header->geometry = g;
    n->header->id = 1;
    atomic_store_explicit(&n->header->chunk_count, g.chunk_count_max, memory_order_relaxed);
    atomic_store_explicit(&n->header->chunk_limit, g.chunk_count_max, memory_order_relaxed);
    n->boards = (struct layout_board *)(void *)(at + layout_board_offset(0));
    n->directory = (struct layout_frame *)(void *)(at + layout_directory_offset(&g));
    at += layout_space_bytes(&g);
    n->page = (struct layout_node *)(void *)at;
    memset(at, 0, sizeof *n->page);
    at += align_up(sizeof *n->page, PAGE);
    n->arena = at;
    n->read = (struct read_space){
        .arena = n->arena,
        .mapped_bytes = arena_bytes,
        .geometry = g,
        .boards = n->boards,
        .directory = n->directory,
        .node = n->page,
    };
    return at + arena_bytes;
}

static void shard_make(struct sim_node *n, uint32_t k, const struct space_config *c, uint8_t *at,
                       uint64_t session_ttl_ns)
{
    struct sim_replica *at_shard = &n->shards[k];
    *at_shard =
        (struct sim_replica){.shard = (struct shard *)(void *)at, .lsn_checked = SIM_LSN_START};
    memset(at, 0, shard_bytes(&n->header->geometry, c->sessions_max));
    struct shard_config config = {
        .header = n->header,
        .directory = n->directory,
        .board = &n->boards[k],
        .arena = n->arena,
        .chunks_wanted = &n->chunks_wanted,
        .counters = &n->page->counters[0],
        .number = k,
        .log = LOG_NUMBER + k,
        .sessions_max = c->sessions_max,
        .value_bytes_max = 1024,
        .session_ttl_ns = session_ttl_ns,
        .lsn_start = SIM_LSN_START,
        .ordered = true,
        .history = c->history,
        .history_ns = c->history_ns,
    };
    int error = shard_init(at_shard->shard, &config);
    ASSERT(error == 0);
    at_shard->shard->lsn_kept = 0;
}

struct replica *sim_node_replica(const struct sim_node *n, uint32_t log)
{
    return log - LOG_NUMBER < SIM_SHARDS ? n->replicas[log - LOG_NUMBER] : NULL;
}

static struct replica *replica_of(void *context, uint32_t log)
{
    return sim_node_replica(context, log);
}

static void group_make(struct sim *s, uint32_t node, uint8_t *at)
{
    struct sim_node *n = &s->nodes[node];
    struct member self = {.node = node, .incarnation = n->incarnation};
    group_init(&n->group, &self, &times);
    n->group.find = replica_of;
    n->group.context = n;
    n->group.pairs = n->pairs;
    n->group.replicas = n->replicas;
    n->group.busy = n->busy;
    n->group.replica_count = SIM_SHARDS;
    for (uint32_t i = 0; i < s->node_count; i++) {
        if (i == node)
            continue;
        pair_init(&n->pairs[n->group.pair_count++], i, SIM_SHARDS, at);
        at += align_up(pair_bytes(SIM_SHARDS), PAGE);
    }
    boards_init(&n->shown, &n->group, n->page->leases, 0);
    for (uint32_t k = 0; k < SIM_SHARDS; k++) {
        struct replica *r = &n->shards[k].replica;
        replica_init(r, n->shards[k].shard, &self, &times);
        r->reclaim = &n->reclaim;
        r->clock_ns = sim_day(s, n);
        r->group = &n->group;
        r->times.log_write = s->log_write;
        r->times.log_write_above = s->log_write_above;
        n->replicas[k] = r;
    }
}

void sim_node_start(struct sim *s, uint32_t node, bool first)
{
    struct sim_node *n = &s->nodes[node];
    struct space_config c;
    struct layout_geometry g;
    n->incarnation = !first && PLANTED(VOTE_AFTER_AMNESIA) ? n->incarnation : ++s->incarnations;
    n->up = true;
    n->frozen = false;
    n->stalled = false;
    n->waiting_count = 0;
    n->stage = SIM_STAGE_END;
    n->at = 0;
    n->rode = 0;
    n->ticked = false;
    n->expiry_next = 0;
    n->sweep_next = 0;
    memset(n->starts, 0, sizeof n->starts);
    geometry(s, &c, &g);
    c.history = s->versions;
    c.history_ns = s->history_ns;
    uint8_t *at = memory_place(s, n);
    for (uint32_t k = 0; k < SIM_SHARDS; k++) {
        shard_make(n, k, &c, at, s->session_ttl_ns);
        at += align_up(shard_bytes(&g, c.sessions_max), PAGE);
    }
    if (first) {
        n->clock_offset = (int64_t)sim_below(s, 1000000000);
        n->clock_ppm = (int32_t)sim_below(s, 1000) - 500; /* two clocks: at most 1,000 ppm apart */
        n->day_offset = (int64_t)sim_below(s, 2 * DAY_APART_NS) - DAY_APART_NS;
        sim_schedule(s, sim_below(s, TICK_NS),
                     (struct sim_event){.kind = EVENT_TICK, .node = node});
    }
    ASSERT(layout_frame_count(&g) <= SIM_FRAMES);
    holds_init(&n->holds, n->hold_counts, (uint32_t)layout_frame_count(&g));
    n->reclaim = (struct reclaim_now){
        .ticket_next = 1,
        .ticket_done = 1,
        .pinned = nothing_pinned,
        .held = is_held,
        .context = n,
    };
    group_make(s, node, at);
    /* Who restarted waits for a lease before it answers a seal: it does not know what it promised.
     */
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        n->shards[k].replica.promise_end =
            first ? 0 : sim_clock(s, n) + times.lease + times.lease / 500;
}

void sim_node_stop(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    n->up = false;
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        for (unsigned c = 0; c < REPLICA_COUNT_COUNT; c++)
            s->counts[c] += n->shards[k].replica.counts[c];
    /* relaxed: in one thread */
    s->growths += atomic_load_explicit(&n->page->counters[0].value[COUNTER_INDEX_GROWTHS],
                                       memory_order_relaxed);
}
