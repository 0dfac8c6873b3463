#include "dataplane/lease.h"
#include "dataplane/replica.h"

#include "engine/plant.h"

/* ---- as a voter ---- */

static void seal_answer(struct replica *r, uint64_t now, struct replica_update *u)
{
    if (!r->seal_unanswered || (now < r->promise_end && !PLANTED(SEAL_WITHOUT_WAIT)))
        return;
    struct message *m = replica_say(r, u, r->leader.node, MESSAGE_SEALED);
    if (m == NULL)
        return;
    m->lsn_end = r->shard->log.lsn_end;
    m->lsn_committed = r->shard->lsn_committed;
    replica_copy_table(r, m);
    r->seal_unanswered = false;
    if (m->lsn_end > m->lsn_committed)
        r->counts[REPLICA_COUNT_SEALS_WITH_TAIL]++;
}

int replica_on_seal(struct replica *r, const struct message *m, uint64_t now,
                    struct replica_update *u)
{
    if (m->epoch > r->promised)
        replica_promise(r, m->epoch, &m->from);
    else if (!member_equal(&r->leader, &m->from) || r->role != REPLICA_FOLLOWER)
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
    if (r->ticks_said != 0 && now - r->ticks_said < r->times.retry)
        return false;
    r->ticks_said = now;
    return true;
}

static void join(struct replica *r, uint64_t now, struct replica_update *u)
{
    if (!may_say(r, now))
        return;
    struct message *m = replica_say(r, u, r->leader.node, MESSAGE_JOIN);
    if (m == NULL)
        return;
    m->lsn_end = r->shard->log.lsn_end;
    m->lsn_committed = r->shard->lsn_committed;
    replica_copy_table(r, m);
}

/* Our word for what is checked; with the ask it binds us for the lease time. */
static void acknowledge(struct replica *r, uint64_t lsn, uint64_t ask, uint64_t now,
                        struct replica_update *u)
{
    struct message *m = replica_say(r, u, r->leader.node, MESSAGE_ACK);
    if (m == NULL)
        return;
    m->lsn = lsn;
    m->ask = ask;
    if (ask != 0)
        r->promise_end = max_u64(r->promise_end, lease_promise_end(now, r->times.lease));
}

int replica_on_cut(struct replica *r, const struct message *m, uint64_t now,
                   struct replica_update *u)
{
    if (r->joined)
        return 0;
    struct shard *s = r->shard;
    if (m->lsn > s->log.lsn_end)
        return -EPROTO;
    if (m->lsn < s->lsn_committed) {
        r->role = REPLICA_STOPPED; /* what was committed must not be cut: stop and say so */
        return -EPROTO;
    }
    bool removes = m->lsn < s->log.lsn_end;
    int error = land_cut(s, m->lsn, r->reclaim);
    if (error != 0)
        return error == -EAGAIN ? 0 : -EPROTO; /* no segment now: we ask to join again */
    r->counts[REPLICA_COUNT_CUTS] += removes;
    r->joined = true;
    r->ticks_said = 0;
    acknowledge(r, s->log.lsn_end, 0, now, u);
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

/* ---- read leases ---- */

/* A right begins, or begins anew, only when our log has reached where the leader's stood: what was
 * loaded before must not be validated by it. */
static void grant_take(struct replica *r, uint64_t now)
{
    if (r->grant_end == 0 || (r->shard->log.lsn_end < r->grant_lsn && !PLANTED(READ_LEASE_SHORT)))
        return;
    if (r->grant_end > now) {
        replica_begin_right(r);
        r->right_end = r->grant_end;
    }
    r->grant_end = 0;
}

int replica_on_grant(struct replica *r, const struct message *m, uint64_t now)
{
    if (!r->joined || m->ask > now)
        return -EPROTO;
    uint64_t end = lease_right_end(m->ask, m->duration);
    if (end <= now || end <= r->right_end)
        return 0;
    if (now < r->right_end) {
        r->right_end = end; /* one without a gap saw all since it began */
        return 0;
    }
    r->grant_end = end;
    r->grant_lsn = m->lsn_end;
    grant_take(r, now);
    return 0;
}

int replica_on_append(struct replica *r, const struct message *m, uint64_t now,
                      struct replica_update *u)
{
    struct shard *s = r->shard;
    if (PLANTED(COMMIT_BEFORE_CUT))
        replica_show(r, m->lsn_committed);
    if (!r->joined && !PLANTED(ACK_AFTER_SEAL)) {
        join(r, now, u);
        return 0;
    }
    if (m->length != 0 && land_bytes(s, m->lsn, m->bytes, m->length) == -EINVAL)
        return -EPROTO;
    if (land_check(s) == -EBADMSG)
        r->counts[REPLICA_COUNT_DAMAGED]++;
    r->lsn_told = max_u64(r->lsn_told, m->lsn_committed);
    if (PLANTED(SHOW_ABOVE_INDEXED))
        atomic_store_explicit(&s->board->lsn_committed, r->lsn_told, memory_order_release);
    else
        replica_show(r, r->lsn_told);
    grant_take(r, now);
    s->lsn_kept = max_u64(m->lsn_kept, s->lsn_kept == UINT64_MAX ? 0 : s->lsn_kept);
    uint64_t lsn = s->log.lsn_end;
    if (PLANTED(ACK_BEFORE_CHECK))
        lsn = max_u64(lsn, m->lsn + m->length);
    acknowledge(r, lsn, m->ask, now, u);
    missing_ask(r, m, now, u);
    return 0;
}

void replica_follow_tick(struct replica *r, uint64_t now, struct replica_update *u)
{
    seal_answer(r, now, u);
    if (r->leader.incarnation == 0)
        return;
    if (!r->joined || !r->times.read_leases)
        return;
    if (r->right_end > now + r->times.lease / 2 || !may_say(r, now))
        return;
    struct message *m = replica_say(r, u, r->leader.node, MESSAGE_WANT);
    if (m != NULL)
        m->ask = now;
}
