/* Spaces and nodes that come, change and go: the lcore's side of node_change.h. */
#include "dataplane/lcore_forward.h"

#include <string.h>

/* Place of the first shard of a log at or above this one. */
static uint32_t place_of(const struct lcore *l, uint32_t log)
{
    uint32_t at = 0;
    while (at < l->shard_count && l->shards[at]->log.number < log)
        at++;
    return at;
}

static uint32_t owned(const struct lcore *l, const struct node_space *s)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->geometry.shard_count; i++)
        count += s->boards[i].lcore == l->number;
    return count;
}

/* ---- one that comes ---- */

/* The right to read that all shards of a node alone share (poll_lease). */
static void right_begin(const struct lcore *l, const struct shard *s)
{
    /* relaxed: this lcore alone writes it */
    uint64_t generation = atomic_load_explicit(&l->lease->generation, memory_order_relaxed);
    /* release: pairs with R1 */
    atomic_store_explicit(&s->board->lease_generation, generation << 1 | LAYOUT_GENERATION_MAY_READ,
                          memory_order_release);
}

static void space_add(struct lcore *l, struct node_space *s)
{
    uint32_t count = owned(l, s), at = place_of(l, s->config.id << NODE_LOG_SPACE_SHIFT);
    memmove(&l->shards[at + count], &l->shards[at], (l->shard_count - at) * sizeof(void *));
    l->shard_count += count;
    l->spaces[s->config.id] = s;
    l->chunks_told[s->config.id] = 0;
    for (uint32_t i = 0; i < s->geometry.shard_count; i++) {
        if (s->boards[i].lcore != l->number)
            continue;
        l->shards[at++] = s->shards[i];
        lcore_mark_dirty(l,
                         s->shards[i]); /* Why: its first record is answered, and LSNs granted. */
        if (l->cluster == NULL)
            right_begin(l, s->shards[i]);
    }
    if (l->cluster != NULL)
        lcore_cluster_take(l->cluster, s);
}

/* ---- one that goes ---- */

/* Those of a space are left out; returns how many stay. */
static uint32_t without(struct shard **list, uint32_t count, uint32_t space)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (list[i]->log.number >> NODE_LOG_SPACE_SHIFT != space)
            list[kept++] = list[i];
    return kept;
}

static void board_end(const struct shard *s)
{
    _Atomic uint64_t *word = &s->board->lease_generation;
    /* relaxed: this lcore alone writes it */
    uint64_t generation = atomic_load_explicit(word, memory_order_relaxed);
    /* release: pairs with R7; even: no right, and no reader has met it before */
    atomic_store_explicit(word, (generation | LAYOUT_GENERATION_MAY_READ) + 1,
                          memory_order_release);
}

static void space_leave(struct lcore *l, struct node_space *s)
{
    uint32_t space = s->config.id;
    for (uint32_t i = 0; i < l->shard_count; i++)
        if (l->shards[i]->log.number >> NODE_LOG_SPACE_SHIFT == space)
            poll_give_up(l, l->shards[i]);
    if (l->cluster != NULL) {
        poll_forward_space_end(l, space);
        lcore_cluster_leave(l->cluster, s);
        poll_log_write_leave(l->cluster, s);
    }
    for (uint32_t i = 0; i < l->shard_count; i++)
        if (l->shards[i]->log.number >> NODE_LOG_SPACE_SHIFT == space)
            board_end(l->shards[i]);
    l->dirty_count = without(l->dirty, l->dirty_count, space);
    l->active_count = without(l->active, l->active_count, space);
    l->shard_count = without(l->shards, l->shard_count, space);
    l->spaces[space] = NULL;
}

/* Whether nobody reads its memory for this lcore any more, nor may anybody write to it. */
static bool space_is_free(const struct lcore *l, uint32_t space)
{
    struct lcore_cluster *c = l->cluster;
    if (c == NULL)
        return true;
    return poll_log_write_has_left(c, space) && c->holds[space].total == 0;
}

/* ---- one that is being left ---- */

void poll_leave(struct lcore *l)
{
    /* relaxed: this lcore alone writes it */
    uint32_t space = atomic_load_explicit(&l->leaving, memory_order_relaxed);
    if (space_is_free(l, space))
        /* release, S5 -> S6: nothing of the space is read, written or counted for this lcore any more */
        atomic_store_explicit(&l->leaving, 0, memory_order_release);
}

/* ---- one that changes ---- */

static void space_alter(const struct lcore *l, const struct node_space *s)
{
    for (uint32_t i = 0; i < s->geometry.shard_count; i++)
        if (s->boards[i].lcore == l->number)
            shard_alter(s->shards[i], s->config.history, s->config.history_ns,
                        s->config.session_ttl_ns);
}

/* ---- a node that goes ---- */

/* Whether it has: not before nobody there may write here any more. */
static bool node_leave(struct lcore *l, const struct node_change *change)
{
    struct lcore_cluster *c = l->cluster;
    if (c->parting != change->node)
        poll_log_write_part(c, change->node);
    if (!c->has_parted)
        return false;
    change->peers[l->number] = poll_cluster_part(l, change->node);
    return true;
}

/* ---- all of it ---- */

void poll_change(struct lcore *l, const struct node_change *change)
{
    struct node_space *s = change->space;
    bool is_done = true;
    switch (change->kind) {
    case NODE_SPACE_ADD:
        space_add(l, s);
        break;
    case NODE_SPACE_ALTER:
        space_alter(l, s);
        break;
    case NODE_SPACE_REMOVE:
        space_leave(l, s);
        /* relaxed: S3 hands it on, or S5 in this very pass */
        atomic_store_explicit(&l->leaving, s->config.id, memory_order_relaxed);
        break;
    case NODE_PEER_ADD:
        poll_cluster_meet(l, change->node, change->peers[l->number]);
        break;
    case NODE_PEER_REMOVE:
        is_done = node_leave(l, change);
        break;
    }
    if (is_done)
        atomic_store_explicit(&l->change, NULL,
                              memory_order_release); /* S3; else again in the next pass */
}
