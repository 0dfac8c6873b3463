#include "dataplane/replica.h"
#include "dataplane/replica_grant.h"
#include "dataplane/replica_lease.h"
#include "dataplane/replica_snapshot.h"

#include "engine/plant.h"

/* ---- as a voter ---- */

static void seal_answer(struct replica *r, uint64_t now, struct replica_update *u)
{
    if (!r->seal_unanswered || (now < r->promise_end && !PLANTED(SEAL_WITHOUT_WAIT)))
        return;
    struct message *m = replica_say(r, u, r->leader.node, MESSAGE_SEALED);
    if (m == NULL)
        return;
    replica_tell_log(r, m);
    r->seal_unanswered = false;
    if (m->lsn_end > m->lsn_committed)
        r->counts[REPLICA_COUNT_SEALS_WITH_TAIL]++;
}

int replica_on_seal(struct replica *r, const struct message *m, uint64_t now,
                    struct replica_update *u)
{
    if (m->epoch > r->promised)
        replica_promise(r, m->epoch, &m->from);
    else if (r->role != REPLICA_FOLLOWER ||
             (!member_equal(&r->leader, &m->from) && !PLANTED(SAME_EPOCH_TWICE)))
        return -EPROTO; /* S1: an epoch is recovered by one start of its leader only */
    if (now < r->promise_end)
        r->counts[REPLICA_COUNT_SEALS_WAITED]++;
    r->seal_unanswered = true;
    seal_answer(r, now, u);
    return 0;
}

int replica_on_fetch(struct replica *r, const struct message *m, struct replica_update *u)
{
    uint64_t available;
    const uint8_t *bytes = log_bytes_at(&r->shard->log, m->lsn, &available);
    if (bytes == NULL)
        return -EPROTO; /* it asks for what we never told it to have */
    struct message *answer = replica_say(r, u, m->from.node, MESSAGE_APPEND);
    if (answer == NULL)
        return 0;
    answer->lsn = m->lsn;
    answer->bytes = bytes;
    answer->length =
        (uint32_t)min_u64(min_u64(available, m->length), MESSAGE_PAYLOAD_MAX) & ~UINT32_C(7);
    return 0;
}

/* ---- as a follower ---- */

static bool may_say(struct replica *r, uint64_t now)
{
    if (r->ticks_said != 0 && now - r->ticks_said < r->times.retry << r->retry_shift)
        return false;
    if (r->ticks_said != 0)
        r->retry_shift = (uint32_t)min_u64(r->retry_shift + 1, REPLICA_RETRY_SHIFT_MAX);
    r->ticks_said = now;
    return true;
}

void replica_follow_join(struct replica *r, uint64_t now, struct replica_update *u)
{
    struct message *m = replica_say(r, u, r->leader.node, MESSAGE_JOIN);
    if (m == NULL)
        return;
    r->ticks_said = now;
    replica_tell_log(r, m);
}

/* Say what we are missing, if it is time to. */
static void join(struct replica *r, uint64_t now, struct replica_update *u)
{
    if (may_say(r, now) && !replica_snapshot_wants(r, u))
        replica_follow_join(r, now, u);
}

/* Our word for what is checked. */
static void acknowledge(const struct replica *r, uint64_t lsn, struct replica_update *u)
{
    struct message *m = replica_say(r, u, r->leader.node, MESSAGE_ACK);
    if (m == NULL)
        return;
    m->lsn = lsn;
    m->lsn_committed = r->shard->lsn_committed;
}

int replica_on_cut(struct replica *r, const struct message *m, struct replica_update *u)
{
    struct shard *s = r->shard;
    /* An answer to what our log was: an older one comes late when we joined and had to join again. */
    if (r->joined || m->lsn_end != s->log.lsn_whole)
        return 0;
    if (m->lsn > s->log.lsn_whole)
        return -EPROTO;
    if (m->lsn < s->lsn_committed) {
        r->lsn_stopped = m->lsn;
        r->role = REPLICA_STOPPED; /* what was committed must not be cut: stop and say so */
        return -EPROTO;
    }
    bool removes = m->lsn < s->log.lsn_whole;
    int error = land_cut(s, m->lsn, r->reclaim);
    if (error != 0)
        return error == -EAGAIN ? 0 : -EPROTO; /* no segment now: we ask to join again */
    r->counts[REPLICA_COUNT_CUTS] += removes;
    r->joined = true;
    r->ticks_said = 0;
    r->retry_shift = 0;
    replica_lease_hold(r);
    acknowledge(r, s->log.lsn_whole, u);
    replica_grant_offer(r, u);
    return 0;
}

static void missing_ask(struct replica *r, const struct message *m, uint64_t now,
                        struct replica_update *u)
{
    struct land_range missing;
    if (!land_missing(r->shard, m->lsn_end, &missing) ||
        (m->length != 0 && m->lsn + m->length <= missing.lsn_start) || !may_say(r, now))
        return;
    struct message *nak = replica_say(r, u, r->leader.node, MESSAGE_NAK);
    if (nak == NULL)
        return;
    nak->lsn = missing.lsn_start;
    nak->lsn_end = missing.lsn_end;
    r->counts[REPLICA_COUNT_NAKS]++;
}

static int land(struct replica *r, const struct message *m)
{
    if (m->kind == MESSAGE_ANNOUNCE)
        return replica_grant_announced(r, m);
    return m->length != 0 ? land_bytes(r->shard, m->lsn, m->bytes, m->length) : 0;
}

int replica_on_append(struct replica *r, const struct message *m, uint64_t now,
                      struct replica_update *u)
{
    struct shard *s = r->shard;
    if (PLANTED(COMMIT_BEFORE_CUT))
        replica_show(r, m->lsn_committed);
    if (m->lsn_kept > s->log.lsn_whole && r->joined) {
        r->joined = false; /* what follows our end is kept no more: we begin anew */
        replica_lease_lapse(r);
    }
    if (!r->joined && !PLANTED(ACK_AFTER_SEAL)) {
        join(r, now, u);
        return 0;
    }
    int landed = land(r, m);
    if (landed == -EINVAL)
        return -EPROTO;
    if (landed == -EAGAIN)
        r->lsn_dropped = max_u64(r->lsn_dropped, m->lsn + m->length);
    int checked = land_check(s);
    if (checked == -EPROTO)
        return checked;
    r->counts[REPLICA_COUNT_DAMAGED] += checked == -EBADMSG;
    if (checked == 1) {
        r->ticks_said = 0;
        r->retry_shift = 0;
    }
    /* Its tail is here and makes no transaction: damage made it look as if more were to come. */
    if (checked == 0 && s->landing.lsn_received >= m->lsn_end && s->log.lsn_whole < m->lsn_end) {
        land_forget(s);
        r->counts[REPLICA_COUNT_DAMAGED]++;
    }
    uint64_t shown = s->lsn_committed;
    r->lsn_told = max_u64(r->lsn_told, m->lsn_committed);
    if (PLANTED(SHOW_ABOVE_INDEXED))
        atomic_store_explicit(&s->board->lsn_committed, r->lsn_told, memory_order_release);
    else
        replica_show(r, r->lsn_told);
    replica_lease_hold(r);
    s->lsn_kept = max_u64(m->lsn_kept, s->lsn_kept == UINT64_MAX ? 0 : s->lsn_kept);
    uint64_t lsn = s->log.lsn_whole;
    if (PLANTED(ACK_BEFORE_CHECK))
        lsn = max_u64(lsn, m->lsn + m->length);
    /* What tells of a commit alone is confirmed by the next acknowledgement, or when it comes again. */
    if (m->length != 0 || s->lsn_committed == shown)
        acknowledge(r, lsn, u);
    missing_ask(r, m, now, u);
    replica_grant_offer(r, u);
    return 0;
}

/* There was no memory for a range: ask for it as soon as there may be, not when the leader's timer says
 * that it was lost. */
static void dropped_ask(struct replica *r, uint64_t now, struct replica_update *u)
{
    struct land_range missing;
    if (r->lsn_dropped == 0 || now - r->ticks_said < r->times.retry / 4)
        return;
    if (!r->joined || !land_missing(r->shard, r->lsn_dropped, &missing)) {
        r->lsn_dropped = 0;
        return;
    }
    struct message *nak = replica_say(r, u, r->leader.node, MESSAGE_NAK);
    if (nak == NULL)
        return;
    r->ticks_said = now;
    nak->lsn = missing.lsn_start;
    nak->lsn_end = missing.lsn_end;
    r->counts[REPLICA_COUNT_NAKS]++;
}

void replica_follow_tick(struct replica *r, uint64_t now, struct replica_update *u)
{
    seal_answer(r, now, u);
    /* Why not before: it would be refused, and the next one would wait for a retry. */
    if (r->leader_ready && !r->joined)
        join(r, now, u);
    dropped_ask(r, now, u);
}
