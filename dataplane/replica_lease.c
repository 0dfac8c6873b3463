#include "dataplane/replica_lease.h"

#include "dataplane/group.h"
#include "engine/install.h"
#include "engine/plant.h"

#include <string.h>

/* After a relapse a follower waits this often twice as long, at most. */
#define BACK_OFF_SHIFT_MAX 6u

static void may_read_set(struct replica *r, bool may_read)
{
    if (r->may_read == may_read)
        return;
    r->counts[REPLICA_COUNT_LAPSES] += !may_read;
    r->may_read = may_read;
    r->generation++;
    if (r->group != NULL)
        r->group->reads_changed = true;
}

/* ---- as the leader: the right ---- */

static bool right_is_for(const struct right *right, const struct configuration *c)
{
    if (right->user_count == 0 || right->voter_count != c->voter_count)
        return false;
    for (uint32_t i = 0; i < c->voter_count; i++)
        if (!member_equal(&right->voters[i], &c->voters[i]))
            return false;
    return true;
}

static struct right *right_find(struct group *g, const struct configuration *c)
{
    struct right *unused = g->right_count < LIMIT_RIGHTS ? &g->rights[g->right_count] : NULL;
    for (uint32_t i = g->right_count; i-- > 0;) {
        if (right_is_for(&g->rights[i], c))
            return &g->rights[i];
        if (g->rights[i].user_count == 0)
            unused = &g->rights[i];
    }
    if (unused == NULL)
        return NULL;
    g->right_count = (uint32_t)max_u64(g->right_count, (uint64_t)(unused - g->rights) + 1);
    *unused = (struct right){
        .voter_count = c->voter_count,
        .cell.generation = unused->cell.generation + 1,
    };
    memcpy(unused->voters, c->voters, c->voter_count * sizeof c->voters[0]);
    return unused;
}

void replica_lease_lead(struct replica *r)
{
    struct group *g = r->group;
    if (g == NULL || r->right != NULL || r->right_given_up)
        return;
    struct right *right = right_find(g, &r->configuration);
    if (right == NULL)
        return; /* more sets of voters than an lcore keeps rights for: no reads until one is free */
    right->user_count++;
    r->right = right;
    r->cell = &right->cell;
    for (uint32_t i = 1; i < r->commit.peer_count; i++) {
        r->peers[i].pair = group_pair(g, r->peers[i].id.node);
        if (r->peers[i].pair != NULL)
            replica_lease_list(r, r->peers[i].pair);
    }
    r->joining_next = right->joining;
    right->joining = r;
}

void replica_lease_begin(struct replica *r)
{
    r->joining_next = NULL;
    may_read_set(r, true);
}

static void right_leave(struct replica *r)
{
    struct right *right = r->right;
    struct replica **at = &right->joining;
    while (*at != NULL && *at != r)
        at = &(*at)->joining_next;
    if (*at == r)
        *at = r->joining_next;
    r->joining_next = NULL;
    right->user_count--;
    r->right = NULL;
    struct group *g = r->group;
    while (g->right_count != 0 && g->rights[g->right_count - 1].user_count == 0)
        g->right_count--;
}

/* ---- as the leader: the lists ---- */

static uint64_t list_change(struct replica *r, uint32_t slot, enum pair_what what)
{
    struct pair *p = r->peers[slot].pair;
    const struct pair_change change = {
        .log = r->shard->log.number,
        .what = what,
        .epoch = r->commit.epoch,
        .lsn = r->shard->log.lsn_whole,
    };
    uint64_t number = pair_change(p, &change);
    if (number == 0)
        group_list_again(r->group, p);
    return number;
}

static void behind_set(struct replica_peer *peer, bool behind)
{
    if (peer->behind == behind || !peer->listed)
        return;
    peer->behind = behind;
    peer->pair->behind += behind ? 1 : UINT32_MAX;
}

void replica_lease_behind(struct replica *r, uint32_t slot)
{
    behind_set(&r->peers[slot], r->peers[slot].lsn_shown < r->shard->lsn_committed);
}

/* Until the peer knows, or its grants ran out, it may still read. */
static void reads_end(struct replica_peer *peer, uint64_t number)
{
    if (!peer->reads)
        return;
    peer->reads = false;
    peer->pair->reader_count--;
    peer->off_number = number;
    peer->off_until = peer->pair->holder_until;
}

void replica_lease_list(struct replica *r, struct pair *p)
{
    if (r->right == NULL)
        return;
    for (uint32_t i = 1; i < r->commit.peer_count; i++) {
        struct replica_peer *peer = &r->peers[i];
        if (peer->pair != p)
            continue;
        reads_end(peer, p->number);
        if (p->listed == 0)
            p->ticks_heard = max_u64(p->ticks_heard, r->group->now); /* not silent yet */
        peer->listed = true;
        peer->behind = false;
        p->listed++;
        p->learner_count += i >= r->commit.voter_count;
        replica_lease_behind(r, i);
        (void)list_change(r, i, PAIR_ADD); /* on a list that begins anew it stands already */
    }
}

static void list_drop(struct replica *r, uint32_t slot)
{
    struct replica_peer *peer = &r->peers[slot];
    struct pair *p = peer->pair;
    /* Whoever may still read under us binds us as a voter. */
    if ((r->commit.lease_holder_mask & 1u << slot) != 0)
        r->promise_end = max_u64(r->promise_end, peer->reads ? p->holder_until : peer->off_until);
    reads_end(peer, p->number);
    behind_set(peer, false);
    peer->listed = false;
    p->listed--;
    p->learner_count -= slot >= r->commit.voter_count;
}

static void list_leave(struct replica *r, uint32_t slot, enum pair_what what)
{
    if (!r->peers[slot].listed)
        return;
    list_drop(r, slot);
    (void)list_change(r, slot, what); /* on a list that begins anew it does not stand */
}

void replica_lease_end(struct replica *r, enum pair_what what)
{
    if (r->right == NULL)
        return;
    may_read_set(r, false);
    right_leave(r);
    for (uint32_t i = 1; i < r->commit.peer_count; i++)
        list_leave(r, i, what);
}

void replica_lease_excluded(struct replica *r, uint64_t epoch)
{
    if (r->right == NULL || r->commit.epoch != epoch)
        return;
    replica_lease_end(r, PAIR_REMOVE);
    r->right_given_up = true;
}

/* ---- as the leader: followers that read ---- */

static void reader_stop(struct replica *r, uint32_t slot, uint64_t now)
{
    struct replica_peer *peer = &r->peers[slot];
    r->counts[REPLICA_COUNT_RELAPSES]++;
    peer->back_off = (uint32_t)min_u64(peer->back_off + 1, BACK_OFF_SHIFT_MAX);
    peer->read_after = now + (r->times.lease << peer->back_off);
    reads_end(peer, peer->pair->number + 1);
    (void)list_change(r, slot, PAIR_READ_OFF);
}

static void reader_end(struct replica *r, uint32_t slot, uint64_t now)
{
    const struct replica_peer *peer = &r->peers[slot];
    uint32_t bit = 1u << slot;
    if ((r->commit.lease_holder_mask & bit) == 0 || peer->reads)
        return;
    /* Why not another incarnation's word: agents of the one before may still read its memory. */
    bool knows = peer->listed && peer->pair->number_echoed >= peer->off_number &&
                 member_equal(&peer->id, &peer->pair->peer);
    if (knows || now >= peer->off_until)
        r->commit.lease_holder_mask &= ~bit;
}

/* A slow peer gets no lease: it would hold up every commit. */
static bool reader_may_begin(const struct replica *r, uint32_t slot, uint64_t now)
{
    const struct replica_peer *peer = &r->peers[slot];
    if (!r->may_read || r->handing_over || !peer->listed || peer->reads || !peer->joined ||
        (r->commit.lease_holder_mask & 1u << slot) != 0)
        return false;
    return member_equal(&peer->id, &peer->pair->peer) && now < peer->pair->holder_until &&
           now >= peer->read_after &&
           (r->commit.lsn_match[slot] >= r->commit.lsn_committed || PLANTED(READ_LEASE_SHORT));
}

static void reader_begin(struct replica *r, uint32_t slot)
{
    struct replica_peer *peer = &r->peers[slot];
    /* S9: before the change is named */
    r->commit.lease_holder_mask |= 1u << slot;
    peer->reads = true;
    peer->pair->reader_count++;
    r->counts[REPLICA_COUNT_GRANTS]++;
    (void)list_change(r, slot, PAIR_READ);
}

/* It holds up commits for longer than a healthy one ever does. */
static bool reader_is_slow(const struct replica *r, uint32_t slot, uint64_t now)
{
    return r->peers[slot].reads && r->ticks_waited_from != 0 &&
           now - r->ticks_waited_from >= r->times.lease / 2 &&
           r->commit.lsn_match[slot] <= r->commit.lsn_committed;
}

static void hand_over(struct replica *r)
{
    for (uint32_t i = 1; i < r->commit.peer_count; i++)
        if (r->peers[i].reads) {
            reads_end(&r->peers[i], r->peers[i].pair->number + 1);
            (void)list_change(r, i, PAIR_READ_OFF);
        }
    if (r->commit.lease_holder_mask != 0)
        return;
    replica_lease_end(r, PAIR_RELEASE);
    r->right_given_up = true;
    r->handing_over = false;
    r->counts[REPLICA_COUNT_HAND_OVERS]++;
}

void replica_lease_tick(struct replica *r, uint64_t now)
{
    for (uint32_t i = 1; i < r->commit.peer_count; i++) {
        reader_end(r, i, now);
        if (r->right == NULL)
            continue;
        if (reader_is_slow(r, i, now))
            reader_stop(r, i, now);
        if (reader_may_begin(r, i, now))
            reader_begin(r, i);
    }
    if (r->handing_over)
        hand_over(r);
}

/* ---- as a follower ---- */

/* Its board goes by the list, too: its age. */
static void list_changed(const struct replica *r)
{
    if (r->group != NULL)
        r->group->reads_changed = true;
}

static void list_forget(struct replica *r)
{
    r->list_pair = NULL;
    list_changed(r);
    r->list_reads = false;
    may_read_set(r, false);
}

void replica_lease_forget(struct replica *r)
{
    r->promise_end = 0;
    list_forget(r);
}

void replica_lease_leave(struct replica *r)
{
    r->promise_end = max_u64(r->promise_end, r->list_pair->promise_end);
    list_forget(r);
}

void replica_lease_lapse(struct replica *r)
{
    r->list_reads = false;
    may_read_set(r, false);
}

void replica_lease_hold(struct replica *r)
{
    /* The state of a snapshot is shown, and may be read, from where it is whole. */
    if (!r->list_reads || r->may_read || !r->joined || install_lsn_visible(r->shard) != 0)
        return;
    if (r->shard->log.lsn_whole >= r->grant_lsn || PLANTED(READ_LEASE_SHORT))
        may_read_set(r, true);
}

static void listed(struct replica *r, struct pair *p, const struct pair_change *c)
{
    if (c->epoch > r->promised && r->role != REPLICA_STOPPED)
        /* Only the leader of an active epoch lists it: it seals without a wait. */
        replica_promise(r, c->epoch, &p->peer);
    if (r->leader.incarnation == 0)
        r->leader = p->peer;
    if (c->epoch != r->promised || r->role != REPLICA_FOLLOWER ||
        !member_equal(&r->leader, &p->peer)) {
        pair_exclude(p, c->log, c->epoch);
        return;
    }
    if (r->list_pair != NULL)
        replica_lease_leave(r);
    pair_include(p, c->log, c->epoch);
    r->leader_ready = true;
    r->list_pair = p;
    r->list_epoch = c->epoch;
    list_changed(r);
}

void replica_lease_change(struct replica *r, struct pair *p, const struct pair_change *c)
{
    bool mine = r->list_pair == p && r->list_epoch == c->epoch;
    switch (c->what) {
    case PAIR_ADD:
        listed(r, p, c);
        break;
    case PAIR_READ:
        if (!mine)
            break;
        r->cell = &p->cell;
        r->list_reads = true;
        r->grant_lsn = c->lsn;
        replica_lease_hold(r);
        break;
    case PAIR_READ_OFF:
        if (!mine)
            break;
        r->list_reads = false;
        may_read_set(r, false);
        break;
    case PAIR_RELEASE:
        if (mine)
            list_forget(r);
        pair_include(p, c->log, c->epoch);
        break;
    default:
        if (mine)
            replica_lease_leave(r);
        pair_include(p, c->log, c->epoch);
    }
}

/* ---- both ---- */

void replica_lease_withdraw(struct replica *r)
{
    replica_lease_end(r, PAIR_REMOVE);
    r->right_given_up = false;
    r->handing_over = false;
    if (r->list_pair == NULL)
        return;
    struct pair *p = r->list_pair;
    uint64_t epoch = r->list_epoch;
    replica_lease_leave(r);
    pair_exclude(p, r->shard->log.number, epoch);
}

/* ---- nodes that come and go ---- */

void replica_lease_meet(struct replica *r, struct pair *p)
{
    if (r->right == NULL)
        return;
    for (uint32_t i = 1; i < r->commit.peer_count; i++)
        if (r->peers[i].id.node == p->peer.node)
            r->peers[i].pair = p;
    replica_lease_list(r, p);
}

void replica_lease_part(struct replica *r, const struct pair *p)
{
    if (r->list_pair == p)
        replica_lease_leave(r);
    for (uint32_t i = 1; r->right != NULL && i < r->commit.peer_count; i++)
        if (r->peers[i].pair == p && r->peers[i].listed)
            list_drop(r, i);
    /* Also of who leads no more: what it was is overwritten only when it leads again. */
    for (uint32_t i = 1; i < LIMIT_PEERS; i++)
        if (r->peers[i].pair == p)
            r->peers[i].pair = NULL;
    if (r->cell == &p->cell)
        r->cell = NULL;
}
