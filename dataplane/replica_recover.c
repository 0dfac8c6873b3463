#include "dataplane/lease.h"
#include "dataplane/replica.h"
#include "dataplane/replica_grant.h"

#include "engine/plant.h"

#include <string.h>

/* A recovered range comes in pieces of this size. */
#define FETCH_BYTES (1u << 14)

static uint32_t sealed_count(const struct replica *r)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->configuration.voter_before_count; i++)
        count += r->sealed[i].here;
    return count;
}

/* Our own seal, as a voter of the predecessor; like every voter's, once our promise has run out. */
static void seal_self(struct replica *r, uint64_t now)
{
    const struct configuration *c = &r->configuration;
    int slot = member_find(c->voters_before, c->voter_before_count, &r->self);
    if (slot < 0 || r->sealed[slot].here || (now < r->promise_end && !PLANTED(SEAL_WITHOUT_WAIT)))
        return;
    const struct log *l = &r->shard->log;
    if (replica_has_nothing(r)) {
        r->sealed[slot] =
            (struct replica_sealed){.here = true, .lsn_committed = r->shard->lsn_committed};
        return;
    }
    r->sealed[slot] = (struct replica_sealed){
        .here = true,
        .epoch = l->epoch_count != 0 ? l->epochs[l->epoch_count - 1].epoch : 0,
        .lsn_base = l->lsn_base,
        .lsn_end = l->lsn_whole,
        .lsn_committed = r->shard->lsn_committed,
        .table_count = l->epoch_count,
    };
    memcpy(r->sealed[slot].table, l->epochs, l->epoch_count * sizeof l->epochs[0]);
}

void replica_recover_begin(struct replica *r, uint64_t now, struct replica_update *u)
{
    replica_promise(r, r->configuration.epoch, &r->self);
    r->role = REPLICA_SEALING;
    r->ticks_asked = 0;
    r->ticks_recover = now;
    memset(r->sealed, 0, sizeof r->sealed);
    replica_recover_tick(r, now, u);
}

int replica_on_sealed(struct replica *r, const struct message *m)
{
    const struct configuration *c = &r->configuration;
    int slot = member_find(c->voters_before, c->voter_before_count, &m->from);
    if (slot < 0)
        return -EPROTO; /* S13: not the voter that the predecessor had */
    if (r->role != REPLICA_SEALING || r->sealed[slot].here)
        return 0;
    r->sealed[slot] = (struct replica_sealed){
        .here = true,
        .epoch = m->table_count != 0 ? m->table[m->table_count - 1].epoch : 0,
        .lsn_base = m->lsn_kept,
        .lsn_end = m->lsn_end,
        .lsn_committed = m->lsn_committed,
        .table_count = m->table_count,
    };
    memcpy(r->sealed[slot].table, m->table, m->table_count * sizeof m->table[0]);
    return 0;
}

/* Ongaro 3.6.1: the later log is the one whose last record is of the higher epoch, then the longer.
 */
static uint32_t best_sealed(const struct replica *r)
{
    uint32_t best = LIMIT_VOTERS;
    for (uint32_t i = 0; i < r->configuration.voter_before_count; i++) {
        const struct replica_sealed *s = &r->sealed[i];
        if (s->here &&
            (best == LIMIT_VOTERS || s->epoch > r->sealed[best].epoch ||
             (s->epoch == r->sealed[best].epoch && s->lsn_end > r->sealed[best].lsn_end)))
            best = i;
    }
    return best;
}

/* ---- the log is complete: open the epoch ---- */

static void peers_init(struct replica *r, uint64_t now)
{
    const struct configuration *c = &r->configuration;
    uint32_t count = 1;
    memset(r->peers, 0, sizeof r->peers);
    r->peers[0].id = r->self;
    for (uint32_t i = 0; i < c->voter_count + c->learner_count; i++) {
        const struct member *m =
            i < c->voter_count ? &c->voters[i] : &c->learners[i - c->voter_count];
        if (!member_equal(m, &r->self))
            r->peers[count++].id = *m;
    }
    for (uint32_t i = 0; i < count; i++)
        r->peers[i].ticks_moved = now;
    commit_init(&r->commit, c->epoch, c->voter_count, count);
}

static int epoch_open(struct replica *r)
{
    const struct configuration *c = &r->configuration;
    uint64_t lsn_floor = PLANTED(LOSSY_FLOOR_IGNORED) ? 0 : c->lsn_floor;
    return c->lossy ? shard_epoch_lossy(r->shard, r->promised, lsn_floor, r->clock_ns)
                    : shard_epoch_begin(r->shard, r->promised, r->clock_ns);
}

/* What the sealed majority knew to be committed is; more commits only in an active epoch.  Why not so of
 * the survivors of a lost one: who gave its state up knows of commits that no survivor's log holds. */
static uint64_t sealed_committed(const struct replica *r)
{
    uint64_t lsn_committed = r->shard->lsn_committed;
    for (uint32_t i = 0; i < r->configuration.voter_before_count; i++)
        if (r->sealed[i].here && (!r->configuration.lossy || i == r->best))
            lsn_committed = max_u64(lsn_committed, r->sealed[i].lsn_committed);
    return lsn_committed;
}

static void bring_begin(struct replica *r, uint64_t now, struct replica_update *u)
{
    uint64_t lsn_committed = sealed_committed(r);
    if (replica_grant_fence(r) != 0 || epoch_open(r) != 0)
        return; /* no segment now: the next tick tries again */
    if (r->configuration.lossy) {
        lsn_committed = r->shard->log.lsn_whole; /* that is what was decided */
        r->counts[REPLICA_COUNT_LOSSY]++;
    }
    replica_show(r, lsn_committed);
    peers_init(r, now);
    r->commit.lsn_committed = r->shard->lsn_committed;
    r->commit.lsn_epoch_start = r->shard->log.lsn_whole;
    commit_on_append(&r->commit, r->shard->log.lsn_whole);
    r->role = REPLICA_BRINGING;
    r->ticks_asked = 0;
    replica_lead_tick(r, now, u);
}

/* ---- completing our own log ---- */

/* Cut our log to what it has in common with the best one. */
static bool cut_to_best(struct replica *r)
{
    const struct replica_sealed *best = &r->sealed[r->best];
    const struct replica_log other = {
        .table = best->table,
        .table_count = best->table_count,
        .lsn_base = best->lsn_base,
        .lsn_end = best->lsn_end,
    };
    uint64_t cut = replica_has_nothing(r) ? 0 : replica_common(r, &other);
    if (cut == 0)
        return false; /* nothing in common: who needs a snapshot cannot lead; another one will */
    if (cut < r->shard->lsn_committed) {
        r->lsn_stopped = cut;
        r->role = REPLICA_STOPPED;
        return false;
    }
    bool removes = cut < r->shard->log.lsn_whole;
    int error = land_cut(r->shard, cut, r->reclaim);
    if (error != 0) {
        if (error != -EAGAIN)
            r->role = REPLICA_STOPPED;
        return false;
    }
    r->counts[REPLICA_COUNT_CUTS] += removes;
    r->cutting = false;
    return true;
}

static void fetch_more(struct replica *r, uint64_t now, struct replica_update *u)
{
    if (r->ticks_asked != 0 && now - r->ticks_asked < r->times.retry)
        return;
    struct message *m =
        replica_say(r, u, r->configuration.voters_before[r->best].node, MESSAGE_FETCH);
    if (m == NULL)
        return;
    r->ticks_asked = now;
    m->lsn = max_u64(r->shard->log.lsn_whole, r->shard->landing.lsn_received);
    m->length = FETCH_BYTES;
}

/* Make what was received part of our log.  What is known to be committed is shown as it comes, so that
 * there is room for what waits behind it.  Why once is enough: a message brings fewer records than may wait,
 * and what stays uncommitted did wait where it comes from. */
static int take_in(struct replica *r)
{
    int error = land_check(r->shard);
    replica_show(r, sealed_committed(r));
    return error;
}

int replica_on_fetched(struct replica *r, const struct message *m)
{
    const struct member *best = &r->configuration.voters_before[r->best];
    if (!member_equal(&m->from, best) || r->cutting)
        return -EPROTO;
    uint64_t lsn_end = r->sealed[r->best].lsn_end;
    if (m->lsn >= lsn_end)
        return 0;
    uint32_t length = (uint32_t)min_u64(m->length, lsn_end - m->lsn);
    int landed = length != 0 ? land_bytes(r->shard, m->lsn, m->bytes, length) : 0;
    if (landed == -EINVAL)
        return -EPROTO;
    int taken = take_in(r);
    if (taken == -EPROTO)
        return taken;
    if (taken == -EBADMSG) {
        r->counts[REPLICA_COUNT_DAMAGED]++;
        if (PLANTED(CORRUPT_IS_ABSENT))
            r->sealed[r->best].lsn_end = r->shard->log.lsn_whole;
    }
    if (landed == 1)
        r->ticks_asked =
            0; /* ask for what comes next at once; a copy of an answer asks for nothing */
    return 0;
}

static void complete(struct replica *r, uint64_t now, struct replica_update *u)
{
    if (r->cutting && !cut_to_best(r))
        return;
    (void)!take_in(r); /* what was damaged was dropped, and is fetched again */
    if (r->shard->log.lsn_whole < r->sealed[r->best].lsn_end)
        fetch_more(r, now, u);
    else
        bring_begin(r, now, u);
}

/* ---- sealing ---- */

static void seal_ask(struct replica *r, uint64_t now, struct replica_update *u)
{
    const struct configuration *c = &r->configuration;
    if (r->ticks_asked != 0 && now - r->ticks_asked < r->times.retry)
        return;
    r->ticks_asked = now;
    for (uint32_t i = 0; i < c->voter_before_count; i++) {
        if (r->sealed[i].here || member_equal(&c->voters_before[i], &r->self))
            continue;
        struct message *m = replica_say(r, u, c->voters_before[i].node, MESSAGE_SEAL);
        if (m != NULL)
            m->lsn = c->epoch_before;
    }
}

static void seal_done(struct replica *r, uint64_t now, struct replica_update *u)
{
    if (r->configuration.voter_before_count == 0) {
        /* No voter of before is left.  What this one holds itself goes on: mostly nothing, or what it
         * learned, or had fetched of a survivor that is lost, too. */
        bring_begin(r, now, u);
        return;
    }
    r->role = REPLICA_FETCHING;
    r->best = best_sealed(r);
    r->ticks_asked = 0;
    r->cutting = true;
    const struct replica_sealed *best = &r->sealed[r->best];
    if (r->shard->log.lsn_whole < best->lsn_end)
        r->counts[REPLICA_COUNT_FETCHES]++;
    complete(r, now, u);
}

/* Whether enough is known, and nobody reads in an older epoch any more. */
static bool is_sealed(const struct replica *r, uint64_t now)
{
    const struct configuration *c = &r->configuration;
    /* Who was lost may have given a right that no survivor knows of. */
    if (c->lossy)
        return sealed_count(r) == c->voter_before_count &&
               now >= lease_promise_end(r->ticks_recover, r->times.lease);
    return sealed_count(r) >= (PLANTED(SKIP_SEAL) ? 1 : majority_of(c->voter_before_count));
}

void replica_recover_tick(struct replica *r, uint64_t now, struct replica_update *u)
{
    if (r->role == REPLICA_FETCHING) {
        complete(r, now, u);
        return;
    }
    if (r->configuration.epoch_before == 0) {
        bring_begin(r, now, u); /* the first epoch has nothing to recover */
        return;
    }
    seal_self(r, now);
    if (is_sealed(r, now))
        seal_done(r, now, u);
    else
        seal_ask(r, now, u);
}
