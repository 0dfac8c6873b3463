#include "control/keeper.h"

#include "control/logline.h"
#include "dataplane/node_arena.h"

int keeper_open(struct keeper *k, struct node *node, struct listener *listener, uint64_t lsn_origin)
{
    *k = (struct keeper){.node = node, .listener = listener};
    node->lsn_start =
        lsn_origin != 0 ? lsn_origin : max_u64(node->lsn_start, listener->lsn_ceiling);
    uint64_t ceiling = max_u64(node->lsn_start + NODE_LSN_GRANT, listener->lsn_ceiling);
    int error = listener_grant(listener, ceiling);
    /* relaxed: no lcore runs yet */
    atomic_store_explicit(&node->lsn_ceiling, ceiling, memory_order_relaxed);
    return error;
}

static void grow(struct keeper *k, struct node_space *s)
{
    int made = node_chunks_grow(k->node, s);
    bool *full = &k->full[s->config.id];
    if (made < 0 && !*full)
        log_event(LOG_ERROR, "space_memory_short", LOG_TEXT("space", s->config.name),
                  LOG_ERRNO(made), LOG_TEXT("node", k->node->config.name));
    if (made >= 0 && *full)
        log_event(LOG_INFO, "space_memory_back", LOG_TEXT("space", s->config.name),
                  LOG_TEXT("node", k->node->config.name));
    *full = made < 0;
}

/* Memory that the space needs no more. */
static void give_back(struct keeper *k, struct node_space *s)
{
    uint32_t taken = node_arena_step(k->node, s, clock_boottime_ns());
    if (taken != 0)
        log_event(LOG_INFO, "space_memory_given_back", LOG_TEXT("space", s->config.name),
                  LOG_NUMBER("bytes", (uint64_t)taken << s->geometry.chunk_shift),
                  LOG_TEXT("node", k->node->config.name));
}

static uint64_t lsn_highest(const struct node *n)
{
    uint64_t highest = 0;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        const struct node_space *s = n->spaces[id];
        for (uint32_t i = 0; s != NULL && i < s->config.shard_count; i++)
            /* relaxed: a number that only grows; half a grant is the margin */
            highest =
                max_u64(highest, atomic_load_explicit(&s->boards[i].lsn_end, memory_order_relaxed));
    }
    return highest;
}

static void ceiling_raise(struct keeper *k)
{
    struct node *n = k->node;
    /* relaxed: control alone writes it */
    uint64_t ceiling = atomic_load_explicit(&n->lsn_ceiling, memory_order_relaxed);
    uint64_t highest = lsn_highest(n), next = k->lsn_granted;
    k->is_short = highest + NODE_LSN_GRANT / 2 >= max_u64(ceiling, next);
    /* Why the larger: a log may have begun above it. */
    if (next == 0 && k->is_short)
        next = max_u64(ceiling, highest) + NODE_LSN_GRANT / 2;
    if (next <= ceiling)
        return;
    ceiling = next;
    int error = listener_grant(k->listener, ceiling);
    if (error != 0) {
        if (!k->ceiling_failed)
            log_event(LOG_ERROR, "lsn_grant_failed", LOG_ERRNO(error),
                      LOG_TEXT("node", n->config.name));
        k->ceiling_failed = true;
        return;
    }
    k->ceiling_failed = false;
    /* relaxed: nothing hangs on it but the number */
    atomic_store_explicit(&n->lsn_ceiling, ceiling, memory_order_relaxed);
}

void keeper_step(struct keeper *k)
{
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++)
        if (k->node->spaces[id] != NULL) {
            give_back(k, k->node->spaces[id]);
            grow(k, k->node->spaces[id]);
        }
    ceiling_raise(k);
}
