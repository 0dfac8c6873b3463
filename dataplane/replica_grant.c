#include "dataplane/replica_grant.h"

#include "dataplane/group.h"

/* A grant under which so many ranges were missed is not used any more. */
#define MISSED_MAX 8u
/* Recalls in vain, each after a longer time, before a connection is torn down; when memory is short, and
 * when it is not. */
#define RECALLS_SHORT 6u
#define RECALLS_MAX 16u

static const struct grant_prover *prover_of(const struct replica *r)
{
    return r->group != NULL ? &r->group->prover : &grant_prover_plain;
}

static const struct grant_revoker *revoker_of(const struct replica *r)
{
    static const struct grant_revoker nobody = {.revoke = NULL};
    return r->group != NULL ? &r->group->revoker : &nobody;
}

/* ---- as a follower ---- */

void replica_grant_offer(struct replica *r, struct replica_update *u)
{
    if (!r->times.log_write || r->group == NULL || !r->joined)
        return;
    const struct grant_holder leader = {
        .node = r->leader.node,
        .incarnation = r->leader.incarnation,
        .epoch = r->promised,
    };
    while (u->out_count < REPLICA_OUT_MAX) {
        const struct grant *g = land_grant(r->shard, &leader);
        struct message *m = g != NULL ? replica_say(r, u, r->leader.node, MESSAGE_GRANT) : NULL;
        if (m == NULL)
            return;
        m->lsn = g->lsn_start;
        m->number = g->number;
        m->token = (struct grant_token){
            .address = (uint64_t)g->frame << r->shard->geometry.segment_shift,
            .key = group_connection_key(r->group, r->leader.node),
        };
    }
}

int replica_grant_announced(struct replica *r, const struct message *m)
{
    const struct grant_holder holder = {
        .node = m->from.node,
        .incarnation = m->from.incarnation,
        .epoch = m->epoch,
    };
    const struct land_announcement announced = {
        .range = {.lsn_start = m->lsn, .lsn_end = m->lsn + m->length},
        .proof = &m->proof,
        .prover = prover_of(r),
    };
    int landed = land_announced(r->shard, &holder, &announced);
    if (landed == -EAGAIN) {
        r->counts[REPLICA_COUNT_UNWRITTEN]++;
        return 0;
    }
    r->counts[REPLICA_COUNT_ANNOUNCED] += landed >= 0;
    return landed;
}

/* Not in the log any more, or full: or what is written there is never asked for. */
static bool is_wanted_back(const struct replica *r, const struct grant *g)
{
    return g->number != 0 && (!land_grant_is_open(r->shard, g) || g->holder.epoch != r->promised);
}

/* The grant that is wanted back most: the oldest one.  NULL: none is. */
static const struct grant *oldest_wanted(const struct replica *r)
{
    const struct grant *oldest = NULL;
    for (unsigned i = 0; i < LIMIT_GRANTS; i++) {
        const struct grant *g = &r->shard->grants.out[i];
        if (is_wanted_back(r, g) && (oldest == NULL || g->number < oldest->number))
            oldest = g;
    }
    return oldest;
}

/* 0: none is. */
static uint64_t number_wanted(const struct replica *r)
{
    const struct grant *oldest = oldest_wanted(r);
    return oldest != NULL ? oldest->number : 0;
}

bool replica_grant_waits(const struct replica *r)
{
    return oldest_wanted(r) != NULL;
}

/* Those with a number above the one given. */
static void recall(struct replica *r, uint64_t above, struct replica_update *u)
{
    for (unsigned i = 0; i < LIMIT_GRANTS; i++) {
        const struct grant *g = &r->shard->grants.out[i];
        if (!is_wanted_back(r, g) || g->number <= above)
            continue;
        struct message *m = replica_say(r, u, g->holder.node, MESSAGE_RECALL);
        if (m == NULL)
            return;
        m->lsn = g->number;
        r->grant_recalled = max_u64(r->grant_recalled, g->number);
    }
}

static bool is_short(const struct replica *r)
{
    return frames_available(&r->shard->frames) <= FRAMES_KEPT + 1;
}

void replica_grant_tick(struct replica *r, uint64_t now, struct replica_update *u)
{
    const struct grant *oldest = oldest_wanted(r);
    if (!r->times.log_write || oldest == NULL)
        return;
    uint64_t shift = min_u64(r->recalls, REPLICA_RETRY_SHIFT_MAX);
    if (r->ticks_recalled != 0 && now - r->ticks_recalled < r->times.retry << shift) {
        recall(r, r->grant_recalled, u); /* whose holder was not asked in vain yet */
        return;
    }
    if (r->recalls >= (is_short(r) ? RECALLS_SHORT : RECALLS_MAX)) {
        u->disconnect = true;
        u->disconnect_node = oldest->holder.node;
        r->recalls = 0;
        r->counts[REPLICA_COUNT_DISCONNECTS]++;
        return;
    }
    r->ticks_recalled = now;
    r->recalls++;
    recall(r, 0, u);
}

/* Some came back, or went with their connection; number: of the oldest that was wanted, 0: none was.
 * Why recalls in vain go on for that one: who returns its grants would hide another that does not. */
static void returned(struct replica *r, uint32_t count, uint64_t number)
{
    r->counts[REPLICA_COUNT_RETURNED] += count;
    if (number_wanted(r) == number)
        return;
    r->ticks_recalled = 0;
    r->recalls = 0;
}

int replica_grant_take_back(struct shard *s, const struct grant_revoker *revoker,
                            uint64_t incarnation, const struct message *m)
{
    uint32_t frames[LIMIT_GRANTS];
    if (m->lsn_end != incarnation)
        return -ESTALE; /* numbers begin anew at every start */
    if (m->lsn > s->grants.number)
        return -EPROTO;
    uint32_t count = grant_return(&s->grants, m->from.node, m->from.incarnation, m->lsn, frames);
    for (uint32_t i = 0; i < count && revoker->revoke != NULL; i++)
        revoker->revoke(revoker->context, m->from.node,
                        s->arena + ((uint64_t)frames[i] << s->geometry.segment_shift));
    return (int)count;
}

int replica_on_return(struct replica *r, const struct message *m)
{
    uint64_t number = number_wanted(r);
    int count = replica_grant_take_back(r->shard, revoker_of(r), r->self.incarnation, m);
    if (count < 0)
        return count;
    returned(r, (uint32_t)count, number);
    return 0;
}

int replica_grant_fence(struct replica *r)
{
    struct shard *s = r->shard;
    /* Why the second: who leads because no voter survived was not cut to anybody's log. */
    return land_tail_is_granted(s) || land_has_ahead(s) ? land_cut(s, s->log.lsn_whole, r->reclaim)
                                                        : 0;
}

/* ---- as the leader ---- */

int replica_on_grant(struct replica *r, uint32_t slot, const struct message *m)
{
    struct replica_peer *peer = &r->peers[slot];
    if (!r->times.log_write)
        return 0; /* its transport can, and ours cannot */
    if (m->number <= peer->grant_seen)
        return 0; /* late, and perhaps recalled meanwhile */
    peer->grant_seen = m->number;
    for (unsigned i = 0; i < LIMIT_GRANTS_HELD; i++) {
        struct replica_grant *g = &r->held[i];
        if (g->peer.incarnation != 0)
            continue;
        *g = (struct replica_grant){
            .peer = m->from,
            .number = m->number,
            .lsn_start = m->lsn,
            .token = m->token,
        };
        return 0;
    }
    return 0; /* it will be recalled unused */
}

/* Nothing more is written under it. */
static void held_end(struct replica_grant *g)
{
    g->over = true;
    if (g->writes == 0)
        *g = (struct replica_grant){.number = 0};
}

/* The newest grant of a peer for the segment that lsn falls into; NULL: none that may be used. */
static struct replica_grant *grant_for(struct replica *r, uint32_t slot, uint64_t lsn)
{
    uint64_t segment = UINT64_C(1) << r->shard->geometry.segment_shift;
    struct replica_grant *newest = NULL;
    for (unsigned i = 0; i < LIMIT_GRANTS_HELD; i++) {
        struct replica_grant *g = &r->held[i];
        if (g->peer.incarnation != 0 && member_equal(&g->peer, &r->peers[slot].id) &&
            lsn - g->lsn_start < segment && (newest == NULL || g->number > newest->number))
            newest = g;
    }
    return newest != NULL && !newest->over ? newest : NULL;
}

void replica_grant_use(struct replica *r, uint32_t slot, struct message *m)
{
    if (!r->times.log_write || m->lsn < r->peers[slot].lsn_sent ||
        m->length <= r->times.log_write_above)
        return;
    struct replica_grant *g = grant_for(r, slot, m->lsn);
    const struct grant_range range = {.bytes = m->bytes, .length = m->length};
    const struct grant_prover *prover = prover_of(r);
    if (g == NULL || !prover->prove(prover->context, g->peer.node, &range, &m->proof))
        return;
    g->writes++;
    m->kind = MESSAGE_ANNOUNCE;
    m->number = g->number;
    m->token = g->token;
    m->token.address += m->lsn - g->lsn_start;
}

void replica_grant_missed(struct replica *r, uint32_t slot, uint64_t lsn)
{
    struct replica_grant *g = grant_for(r, slot, lsn);
    if (g != NULL && ++g->missed >= MISSED_MAX)
        g->over = true;
}

void replica_written(struct replica *r, const struct member *peer, uint64_t number)
{
    for (unsigned i = 0; i < LIMIT_GRANTS_HELD; i++) {
        struct replica_grant *g = &r->held[i];
        if (g->number != number || !member_equal(&g->peer, peer))
            continue;
        ASSERT(g->writes != 0);
        g->writes--;
        if (g->over)
            held_end(g);
        return;
    }
}

int replica_on_recall(struct replica *r, const struct message *m, struct replica_update *u)
{
    bool writes = false;
    for (unsigned i = 0; i < LIMIT_GRANTS_HELD; i++) {
        struct replica_grant *g = &r->held[i];
        if (!member_equal(&g->peer, &m->from) || g->number > m->lsn)
            continue;
        writes |= g->writes != 0;
        held_end(g);
    }
    for (uint32_t i = 1; i < r->commit.peer_count; i++)
        if (member_equal(&r->peers[i].id, &m->from))
            r->peers[i].grant_seen = max_u64(r->peers[i].grant_seen, m->lsn);
    if (writes)
        return 0; /* it asks again */
    struct message *answer = replica_say(r, u, m->from.node, MESSAGE_RETURN);
    if (answer == NULL)
        return 0;
    answer->lsn = m->lsn;
    answer->lsn_end = m->from.incarnation;
    return 0;
}

/* ---- both ---- */

void replica_grant_void(struct replica *r, uint32_t node)
{
    uint64_t number = number_wanted(r);
    returned(r, grant_void(&r->shard->grants, node), number);
    /* Why not forgotten: what was posted may still land there, until that node has torn its end down. */
    for (unsigned i = 0; i < LIMIT_GRANTS_HELD; i++)
        if (r->held[i].peer.incarnation != 0 && r->held[i].peer.node == node)
            held_end(&r->held[i]);
}
