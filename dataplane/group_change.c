/* Replicas and pairs that join a group and leave it while it runs (group.h). */
#include "dataplane/group.h"
#include "dataplane/replica_grant.h"
#include "dataplane/replica_lease.h"
#include "dataplane/replica_snapshot.h"

#include <string.h>

static uint32_t place_of(const struct group *g, uint32_t log)
{
    uint32_t at = 0;
    while (at < g->replica_count && g->replicas[at]->shard->log.number < log)
        at++;
    return at;
}

static void pairs_limit(struct group *g)
{
    for (uint32_t i = 0; i < g->pair_count; i++)
        pair_limit(&g->pairs[i], g->replica_count + 1);
}

void group_add(struct group *g, struct replica *r)
{
    uint32_t at = place_of(g, r->shard->log.number);
    memmove(&g->replicas[at + 1], &g->replicas[at],
            (g->replica_count - at) * sizeof(struct replica *));
    g->replicas[at] = r;
    g->replica_count++;
    r->group = g;
    pairs_limit(g);
}

/* The last of those that are ready fills its place, the last of all the place of that one. */
static void busy_leave(struct group *g, struct replica *r)
{
    uint32_t at = r->busy_at;
    if (!r->busy)
        return;
    if (at < g->ready_count) {
        group_place(g, g->busy[--g->ready_count], at);
        at = g->ready_count;
    }
    g->busy_count--;
    /* Why not always: where none rest the last of all has just been moved. */
    if (at < g->busy_count)
        group_place(g, g->busy[g->busy_count], at);
    r->busy = false;
}

void group_remove(struct group *g, struct replica *r)
{
    uint32_t log = r->shard->log.number, at = place_of(g, log);
    ASSERT(at < g->replica_count && g->replicas[at] == r);
    replica_lease_withdraw(r);
    for (uint32_t i = 0; i < g->pair_count; i++)
        pair_include(&g->pairs[i], log, UINT64_MAX);
    busy_leave(g, r);
    if (g->stream.replica == r)
        g->stream.replica = NULL;
    g->replica_count--;
    memmove(&g->replicas[at], &g->replicas[at + 1],
            (g->replica_count - at) * sizeof(struct replica *));
    r->group = NULL;
    pairs_limit(g);
}

/* ---- pairs ---- */

struct pair *group_pair_add(struct group *g, uint32_t node)
{
    struct pair *p = group_pair(g, PAIR_NOBODY);
    ASSERT(group_pair(g, node) == NULL);
    if (p == NULL)
        p = &g->pairs[g->pair_count++];
    pair_begin(p, node);
    /* Why not from 0 again: it may have been here before, and may write still as it could then. */
    p->connection = ++g->connections;
    pair_limit(p, g->replica_count + 1);
    for (uint32_t i = 0; i < g->replica_count; i++) {
        replica_lease_meet(g->replicas[i], p);
        group_wake(g, g->replicas[i]);
    }
    return p;
}

/* What a leader has under way for the node. */
static void feeding_end(struct replica *r, uint32_t node)
{
    if (r->role < REPLICA_BRINGING || r->role > REPLICA_LEADING)
        return;
    for (uint32_t i = 1; i < r->commit.peer_count; i++) {
        if (r->peers[i].id.node != node)
            continue;
        r->peers[i].joined = false;
        r->peers[i].wants_snapshot = false;
        replica_snapshot_end(r, i);
    }
}

void group_pair_remove(struct group *g, struct pair *p)
{
    const uint32_t node = p->peer.node;
    group_disconnected(g, node);
    for (uint32_t i = 0; i < g->replica_count; i++) {
        feeding_end(g->replicas[i], node);
        replica_lease_part(g->replicas[i], p);
        group_wake(g, g->replicas[i]);
    }
    pair_include_all(p);
    pair_end(p);
}
