#include "dataplane/group.h"

#include "dataplane/lease.h"
#include "dataplane/replica_grant.h"
#include "dataplane/replica_lease.h"
#include "engine/plant.h"

void group_init(struct group *g, const struct member *self, const struct replica_times *times)
{
    *g = (struct group){.self = *self, .times = *times, .prover = grant_prover_plain};
}

/* ---- rights of leaders ---- */

/* The newest ask that a majority of the voters, ourselves among them, has promised. */
static uint64_t majority_ask(const struct group *g, const struct right *right, uint64_t now)
{
    uint64_t asks[LIMIT_PEERS] = {0};
    for (uint32_t i = 0; i < right->voter_count; i++) {
        const struct pair *p = group_pair(g, right->voters[i].node);
        if (member_equal(&right->voters[i], &g->self))
            asks[i] = now;
        else if (p != NULL && member_equal(&right->voters[i], &p->peer))
            asks[i] = p->ask_echoed;
    }
    return commit_ranked(asks, right->voter_count, majority_of(right->voter_count));
}

/* Why every shard that joins has it from a newer ask on, and not before: its coming made the pairs
 * forget what was echoed, so only promises that name it lead to a newer one. */
static void right_renew(struct group *g, struct right *right, uint64_t now)
{
    uint64_t ask = majority_ask(g, right, now);
    if (ask <= right->ask)
        return;
    right->ask = ask;
    uint64_t end = lease_right_end(PLANTED(LEASE_FROM_ECHO) ? now : ask, g->times.lease);
    if (end <= now)
        return;
    if (now >= right->cell.end)
        right->cell.generation++;
    right->cell.end = max_u64(right->cell.end, end);
    while (right->joining != NULL) {
        struct replica *r = right->joining;
        right->joining = r->joining_next;
        replica_lease_begin(r);
        group_wake(g, r); /* its followers may have read leases now */
    }
}

static void rights_renew(struct group *g, uint64_t now)
{
    for (uint32_t i = 0; i < g->right_count; i++)
        if (g->rights[i].user_count != 0)
            right_renew(g, &g->rights[i], now);
}

/* ---- lists begin anew ---- */

void group_list_again(struct group *g, struct pair *p)
{
    pair_restart(p);
    for (uint32_t i = 0; i < g->replica_count; i++)
        replica_lease_list(g->replicas[i], p);
}

/* The peer's read leases are over: commits wait for it no more, and it begins anew. */
static void holders_lapse(struct group *g, uint64_t now)
{
    for (uint32_t i = 0; i < g->pair_count; i++) {
        struct pair *p = &g->pairs[i];
        if (p->holder_until == 0 || now < p->holder_until)
            continue;
        p->holder_until = 0;
        if (p->reader_count != 0)
            group_list_again(g, p);
    }
}

void group_begin(struct group *g, uint64_t now)
{
    g->now = now;
    g->copy_waits = false;
    g->beats = false;
    if (now >= g->rest_until)
        g->ready_count = g->busy_count;
    for (uint32_t i = 0; i < g->pair_count; i++)
        g->pairs[i].bytes_fed = 0;
    holders_lapse(g, now);
    rights_renew(g, now);
}

/* ---- connections for log writes ---- */

void group_disconnected(struct group *g, uint32_t node)
{
    struct pair *p = group_pair(g, node);
    if (p != NULL)
        p->connection = ++g->connections;
    for (uint32_t i = 0; i < g->replica_count; i++)
        replica_grant_void(g->replicas[i], node);
}

#define CONNECTION_BITS 20u /* of a key; above them stands the incarnation */

uint64_t group_connection_key(const struct group *g, uint32_t node)
{
    const struct pair *p = group_pair(g, node);
    uint64_t connection = p != NULL ? p->connection : 0;
    return g->self.incarnation << CONNECTION_BITS |
           (connection & ((UINT64_C(1) << CONNECTION_BITS) - 1));
}

/* ---- frames ---- */

/* The peer is not who it was: nothing that it promised or was promised is carried on. */
static void peer_is_new(struct group *g, struct pair *p, const struct member *from)
{
    for (uint32_t i = 0; i < g->replica_count; i++)
        if (g->replicas[i]->list_pair == p)
            replica_lease_leave(g->replicas[i]);
    p->peer = *from;
    p->list_number = 0;
    p->promise_end = 0;
    p->ask_unechoed = 0;
    p->cell.end = 0;
    p->cell.generation++;
    pair_include_all(p);
    group_list_again(g, p); /* who it was may read until holder_until */
}

static int on_echo(struct group *g, struct pair *p, const struct pair_frame *f, uint64_t now)
{
    for (uint32_t i = 0; i < f->count; i++) {
        struct replica *r = g->find(g->context, f->items[i].log);
        if (r != NULL)
            replica_lease_excluded(r, f->items[i].epoch);
    }
    int error = pair_on_echo(p, f, now);
    if (error == 0)
        rights_renew(g, now);
    return error;
}

static void change_apply(struct group *g, struct pair *p, const struct pair_change *c)
{
    if (c->what == PAIR_RESET) {
        for (uint32_t i = 0; i < g->replica_count; i++)
            if (g->replicas[i]->list_pair == p)
                replica_lease_leave(g->replicas[i]);
        pair_include_all(p);
        return;
    }
    struct replica *r = g->find(g->context, c->log);
    if (r != NULL)
        replica_lease_change(r, p, c);
}

/* Why nothing of such a frame is taken: an echo would promise for a shard whose memory is not made here yet,
 * and is made without knowing that.  The leader lists one that we dropped until it has, too. */
static bool lists_unknown(const struct group *g, const struct pair_frame *f)
{
    for (uint32_t i = 0; i < f->count; i++)
        if (f->items[i].what == PAIR_ADD && g->find(g->context, f->items[i].log) == NULL)
            return true;
    return false;
}

static int on_pulse(struct group *g, struct pair *p, const struct pair_frame *f, uint64_t now)
{
    uint32_t first, count;
    if (lists_unknown(g, f))
        return -ESTALE;
    int error = pair_on_pulse(p, f, &first, &count);
    if (error != 0)
        return error;
    for (uint32_t i = 0; i < f->count && PLANTED(HAND_OVER_DELAYED); i++) {
        struct replica *r = g->find(g->context, f->items[i].log);
        if (r != NULL && f->items[i].what == PAIR_RELEASE)
            replica_lease_forget(r);
    }
    for (uint32_t i = 0; i < count; i++)
        change_apply(g, p, &f->items[first + i]);
    pair_on_grant(p, f, now);
    return 0;
}

static void wake_all(struct group *g)
{
    for (uint32_t i = 0; i < g->replica_count; i++)
        group_wake(g, g->replicas[i]);
}

int group_receive(struct group *g, const struct pair_frame *f, uint64_t now)
{
    struct pair *p = group_pair(g, f->from.node);
    if (p == NULL)
        return -EPROTO;
    if (f->from.incarnation < p->peer.incarnation || (f->to != 0 && f->to != g->self.incarnation))
        return -ESTALE;
    if (f->from.incarnation > p->peer.incarnation)
        peer_is_new(g, p, &f->from);
    if (f->to == 0 && f->kind == PAIR_ECHO)
        return -ESTALE; /* an answer to somebody else */
    if (now - p->ticks_heard >= g->times.lease)
        wake_all(g); /* it was given up as silent */
    p->ticks_heard = now;
    return f->kind == PAIR_ECHO ? on_echo(g, p, f, now) : on_pulse(g, p, f, now);
}

/* How long the peer may read for: as long as every right that its shards have part in.  One that
 * lapsed withholds the grant for all of them; with other voters it comes back within a heartbeat. */
static uint64_t grant_duration(const struct group *g, const struct pair *p, uint64_t now)
{
    uint64_t duration = g->times.lease;
    bool any = false;
    for (uint32_t i = 0; i < g->right_count; i++) {
        const struct right *right = &g->rights[i];
        if (right->user_count == 0 ||
            (p->learner_count == 0 && member_find(right->voters, right->voter_count, &p->peer) < 0))
            continue;
        any = true;
        duration = min_u64(duration, right->cell.end > now ? right->cell.end - now : 0);
    }
    return any && p->listed != 0 && g->times.read_leases ? duration : 0;
}

/* Of a heartbeat's interval: so much earlier it leaves with another one. */
#define EARLY_SHARE 4u

static bool pulse_leaves(const struct group *g, const struct pair *p)
{
    uint64_t heartbeat = g->times.heartbeat;
    return pair_pulse_due(p, g->now, g->beats ? heartbeat - heartbeat / EARLY_SHARE : heartbeat);
}

bool group_frame(struct group *g, struct pair_frame *f, uint32_t *to, uint64_t now_late)
{
    for (uint32_t i = 0; i < g->pair_count; i++) {
        struct pair *p = &g->pairs[i];
        uint64_t want = g->times.read_leases ? g->now : 0;
        *to = p->peer.node;
        if (pair_echo(p, f, want, now_late, g->times.lease)) {
            f->from = g->self;
            g->beats = true;
            return true;
        }
        if (pulse_leaves(g, p)) {
            g->beats = true;
            bool first = p->holder_until == 0;
            pair_pulse(p, f, g->now, now_late, grant_duration(g, p, now_late));
            if (first && p->holder_until != 0)
                wake_all(g); /* shards may be marked for it now */
            f->from = g->self;
            return true;
        }
    }
    return false;
}

bool group_tell(struct group *g)
{
    for (uint32_t i = 0; i < g->ready_count && !g->tell; i++)
        g->tell = replica_is_untold(g->busy[i]);
    return g->tell;
}

void group_settle(struct group *g)
{
    g->tell = false;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < g->ready_count; i++) {
        struct replica *r = g->busy[i];
        r->busy = !replica_is_idle(r);
        if (r->busy)
            group_place(g, r, kept++);
    }
    /* The last of those that rest fill the places that became empty. */
    uint32_t resting = g->busy_count - g->ready_count;
    uint32_t empty = (uint32_t)min_u64(g->ready_count - kept, resting);
    for (uint32_t i = 0; i < empty; i++)
        group_place(g, g->busy[g->busy_count - 1 - i], kept + i);
    g->ready_count = kept;
    g->busy_count = kept + resting;
}

/* A part of retry: what is said again in vain comes so much later at most. */
#define RESTS_PER_RETRY 4u

void group_rest(struct group *g)
{
    bool first = g->ready_count == g->busy_count;
    for (uint32_t i = g->ready_count; i-- > 0;) {
        struct replica *r = g->busy[i];
        if (!replica_waits(r))
            continue;
        group_place(g, g->busy[--g->ready_count], i);
        group_place(g, r, g->ready_count);
    }
    if (first)
        g->rest_until = g->now + g->times.retry / RESTS_PER_RETRY;
}

uint64_t group_wait(const struct group *g, uint64_t now)
{
    uint64_t wait = g->busy_count != 0 ? 0 : UINT64_MAX;
    for (uint32_t i = 0; i < g->pair_count; i++)
        wait = min_u64(wait, pair_pulse_wait(&g->pairs[i], now, g->times.heartbeat));
    return wait;
}

uint32_t group_append_bytes(uint32_t piece)
{
    if (piece == 0 || piece > GROUP_APPEND_BYTES + MESSAGE_HEAD_BYTES)
        return GROUP_APPEND_BYTES;
    uint32_t frames = (GROUP_APPEND_BYTES + MESSAGE_HEAD_BYTES + piece / 2) / piece;
    return frames * piece - MESSAGE_HEAD_BYTES;
}

bool group_is_short(const struct group *g)
{
    for (uint32_t i = 0; i < g->pair_count; i++)
        if (group_feed_left(&g->pairs[i]) == 0)
            return true;
    return false;
}
