#include "dataplane/replica.h"

#include "dataplane/group.h"
#include "dataplane/replica_grant.h"
#include "dataplane/replica_lease.h"
#include "dataplane/replica_snapshot.h"

#include "engine/plant.h"

#include <string.h>

void replica_init(struct replica *r, struct shard *shard, const struct member *self,
                  const struct replica_times *times)
{
    *r = (struct replica){
        .shard = shard,
        .self = *self,
        .times = *times,
        .generation = 1,
    };
}

struct message *replica_say(const struct replica *r, struct replica_update *u, uint32_t to,
                            enum message_kind kind)
{
    if (u->out_count == REPLICA_OUT_MAX) {
        u->more = true;
        return NULL;
    }
    struct replica_out *out = &u->out[u->out_count++];
    struct message *m = &out->message;
    out->to = to;
    m->kind = (uint8_t)kind;
    m->table_count = 0;
    m->log = r->shard->log.number;
    m->epoch = r->promised;
    m->from = r->self;
    m->lsn = m->lsn_end = m->lsn_committed = m->lsn_kept = 0;
    m->length = 0;
    m->bytes = NULL;
    return m;
}

static void copy_table(const struct replica *r, struct message *m)
{
    const struct log *l = &r->shard->log;
    m->table_count = (uint8_t)l->epoch_count;
    memcpy(m->table, l->epochs, l->epoch_count * sizeof l->epochs[0]);
}

bool replica_has_nothing(const struct replica *r)
{
    return install_lsn_visible(r->shard) == UINT64_MAX;
}

void replica_tell_log(const struct replica *r, struct message *m)
{
    const struct log *l = &r->shard->log;
    m->lsn_committed = r->shard->lsn_committed;
    if (replica_has_nothing(r))
        return; /* its log begins at the commit LSN, and it stands for nothing below */
    m->lsn_end = l->lsn_whole;
    m->lsn_kept = l->lsn_base;
    copy_table(r, m);
}

void replica_promise(struct replica *r, uint64_t epoch, const struct member *who)
{
    ASSERT(epoch > r->promised); /* S2 */
    replica_lease_withdraw(r);
    replica_snapshot_end(r, 0);
    r->promised = epoch;
    r->leader = *who;
    r->role = REPLICA_FOLLOWER;
    r->leader_ready = false;
    r->joined = false;
    r->lsn_told = 0;
    r->seal_unanswered = false;
    r->ticks_said = 0;
    r->retry_shift = 0;
    r->lsn_dropped = 0;
    r->commit.lease_holder_mask = 0;
    r->ticks_waited_from = 0;
}

void replica_show(struct replica *r, uint64_t lsn_committed)
{
    uint64_t lsn = min_u64(lsn_committed, r->shard->log.lsn_whole);
    shard_commit(r->shard, lsn);
}

/* Where an epoch ends in a log: where the next one's leader began, which is before the next one's
 * first record if a pad lies between (that pad is of the next epoch), or at the log's end. */
static uint64_t epoch_end(const struct log_epoch *table, uint32_t count, uint32_t i,
                          uint64_t lsn_end)
{
    return i + 1 < count ? table[i + 1].lsn_end_before : lsn_end;
}

/* By the tables alone. */
static uint64_t common_of_tables(const struct replica *r, const struct log_epoch *table,
                                 uint32_t table_count, uint64_t lsn_end)
{
    const struct log *l = &r->shard->log;
    /* An empty log is a prefix of every one that began where it does. */
    if (table_count == 0 || l->epoch_count == 0) {
        uint64_t empty_end = table_count == 0 ? lsn_end : l->lsn_whole;
        return empty_end == l->lsn_origin ? empty_end : 0;
    }
    if (PLANTED(ONE_EPOCH_PAIR))
        return min_u64(lsn_end, l->lsn_whole);
    for (uint32_t i = table_count; i-- > 0;) {
        for (uint32_t j = l->epoch_count; j-- > 0;) {
            if (l->epochs[j].epoch != table[i].epoch)
                continue;
            if (l->epochs[j].lsn_start != table[i].lsn_start)
                return 0;
            return min_u64(epoch_end(table, table_count, i, lsn_end),
                           epoch_end(l->epochs, l->epoch_count, j, l->lsn_whole));
        }
    }
    /* Two histories, both known from where the log began empty: that they have in common. */
    bool whole =
        table[0].lsn_end_before == l->lsn_origin && l->epochs[0].lsn_end_before == l->lsn_origin;
    return whole ? l->lsn_origin : 0;
}

/* The newest lossy epoch in a table; NULL: none. */
static const struct log_epoch *lossy_epoch(const struct log_epoch *table, uint32_t count)
{
    for (uint32_t i = count; i-- > 0;)
        if (table[i].lossy != 0)
            return &table[i];
    return NULL;
}

/* Whether a log with this table and base comes after a lossy epoch: what lies before it was given up
 * where it did not survive, so nothing is in common with a log that knows nothing of it. */
static bool comes_after(const struct log_epoch *lossy, const struct replica_log *log)
{
    const struct log_epoch *own = lossy_epoch(log->table, log->table_count);
    return lossy == NULL || log->lsn_base >= lossy->lsn_start ||
           (own != NULL && own->epoch >= lossy->epoch);
}

/* A log begins at a base that it took over with a snapshot, and the other is as long, but their tables agree
 * only up to common: whether nothing lies from there to the base in either, but for a pad.  Why it is asked:
 * what follows in a log that is as long may be a tail that was never committed. */
static bool is_empty_to(uint64_t lsn_base, uint64_t common, const struct replica_log *other,
                        const struct replica_log *based)
{
    for (uint32_t i = 0; i < based->table_count; i++)
        if (based->table[i].lsn_end_before >= common && based->table[i].lsn_start < lsn_base)
            return false;
    for (uint32_t i = 0; i < other->table_count; i++)
        if ((i == 0 || other->table[i].lsn_end_before == common) &&
            other->table[i].lsn_start >= lsn_base)
            return true;
    return false;
}

uint64_t replica_common(const struct replica *r, const struct replica_log *other)
{
    const struct log *l = &r->shard->log;
    const struct replica_log own = {
        .table = l->epochs,
        .table_count = l->epoch_count,
        .lsn_base = l->lsn_base,
    };
    if (!comes_after(lossy_epoch(l->epochs, l->epoch_count), other) ||
        !comes_after(lossy_epoch(other->table, other->table_count), &own))
        return 0;
    uint64_t common = common_of_tables(r, other->table, other->table_count, other->lsn_end);
    if (common < l->lsn_base && l->lsn_base <= other->lsn_end &&
        is_empty_to(l->lsn_base, common, other, &own))
        return l->lsn_base;
    if (common < other->lsn_base && other->lsn_base <= l->lsn_whole &&
        is_empty_to(other->lsn_base, common, &own, other))
        return other->lsn_base;
    return common;
}

/* ---- events ---- */

/* An epoch is led by one start of its leader only. */
static bool is_self(const struct replica *r, const struct member *m)
{
    return PLANTED(SAME_EPOCH_TWICE) ? m->node == r->self.node : member_equal(m, &r->self);
}

void replica_configure(struct replica *r, const struct configuration *c, uint64_t now,
                       struct replica_update *u)
{
    if (r->role == REPLICA_STOPPED || c->epoch < r->configuration.epoch || c->epoch < r->promised)
        return;
    bool known = c->epoch == r->configuration.epoch;
    r->configuration = *c;
    if (r->group != NULL)
        group_wake(r->group, r);
    /* It only grows; one of an older epoch was dropped above. */
    if (is_self(r, &c->leader) && c->lsn_ceiling != 0)
        shard_grant(r->shard, c->lsn_ceiling);
    if (is_self(r, &c->leader)) {
        if (c->epoch > r->promised && !c->active)
            replica_recover_begin(r, now, u);
        else if (known && c->active && r->role == REPLICA_BRINGING) {
            r->role = REPLICA_LEADING;
            r->counts[REPLICA_COUNT_ACTIVATIONS]++;
            replica_lead_tick(r, now, u);
        }
    }
}

/* Messages that only the leader of an epoch sends; the first one from it names it. */
static int receive_from_leader(struct replica *r, const struct message *m, uint64_t now,
                               struct replica_update *u)
{
    if (m->kind == MESSAGE_SEAL)
        return replica_on_seal(r, m, now, u);
    if (m->epoch > r->promised)
        /* Only a leader with a sealed majority sends this: it seals without a wait. */
        replica_promise(r, m->epoch, &m->from);
    if (r->leader.incarnation == 0)
        r->leader = m->from;
    if (!member_equal(&r->leader, &m->from))
        return -EPROTO; /* S1 */
    r->leader_ready |= m->kind != MESSAGE_FETCH;
    switch (m->kind) {
    case MESSAGE_FETCH:
        return replica_on_fetch(r, m, u);
    case MESSAGE_CUT:
        return replica_on_cut(r, m, u);
    case MESSAGE_PIECE:
        return replica_on_piece(r, m, now, u);
    default:
        return replica_on_append(r, m, now, u);
    }
}

static int receive_as_leader(struct replica *r, const struct message *m, uint64_t now,
                             struct replica_update *u)
{
    if (m->kind == MESSAGE_SEALED)
        return replica_on_sealed(r, m);
    if (r->role < REPLICA_BRINGING)
        return -ESTALE;
    switch (m->kind) {
    case MESSAGE_JOIN:
        return replica_on_join(r, m, now, u);
    case MESSAGE_ACK:
        return replica_on_ack(r, m, now);
    case MESSAGE_NAK:
        return replica_on_nak(r, m);
    case MESSAGE_WANT:
        return replica_on_wanted(r, m, now, u);
    case MESSAGE_GRANT:
        return replica_on_granted(r, m);
    default:
        return -EPROTO;
    }
}

static bool is_for_leader(const struct replica *r, const struct message *m)
{
    switch (m->kind) {
    case MESSAGE_SEALED:
    case MESSAGE_JOIN:
    case MESSAGE_ACK:
    case MESSAGE_NAK:
    case MESSAGE_WANT:
    case MESSAGE_GRANT:
        return true;
    case MESSAGE_APPEND:
        return r->role == REPLICA_FETCHING && m->epoch == r->promised;
    default:
        return false;
    }
}

/* Of whatever epoch: memory that was granted is given back also by who leads no more. */
static bool is_of_grants(const struct message *m)
{
    return m->kind == MESSAGE_RECALL || m->kind == MESSAGE_RETURN;
}

int replica_receive(struct replica *r, const struct message *m, uint64_t now,
                    struct replica_update *u)
{
    if (UNLIKELY(m->from.node == r->self.node))
        return -EPROTO; /* forged: nobody speaks to himself */
    if (UNLIKELY(is_of_grants(m)) && m->log == r->shard->log.number)
        return m->kind == MESSAGE_RECALL ? replica_on_recall(r, m, u) : replica_on_return(r, m);
    if (r->role == REPLICA_STOPPED || m->log != r->shard->log.number)
        return -EPROTO;
    if (r->group != NULL)
        group_wake(r->group, r);
    bool old = m->epoch < r->promised;
    if (old && PLANTED(ACK_AFTER_SEAL) && m->kind == MESSAGE_APPEND)
        return replica_on_append(r, m, now, u);
    if (old) {
        r->counts[REPLICA_COUNT_STALE]++;
        return -ESTALE;
    }
    if (!is_for_leader(r, m))
        return receive_from_leader(r, m, now, u);
    if (m->epoch > r->promised || r->role == REPLICA_FOLLOWER)
        return -ESTALE;
    int error =
        m->kind == MESSAGE_APPEND ? replica_on_fetched(r, m) : receive_as_leader(r, m, now, u);
    /* In a group one tick follows all that a pass brings. */
    if (error == 0 && r->group == NULL)
        replica_tick(r, now, u);
    return error;
}

void replica_tick(struct replica *r, uint64_t now, struct replica_update *u)
{
    switch (r->role) {
    case REPLICA_FOLLOWER:
        replica_follow_tick(r, now, u);
        break;
    case REPLICA_SEALING:
    case REPLICA_FETCHING:
        replica_recover_tick(r, now, u);
        break;
    case REPLICA_BRINGING:
    case REPLICA_LEADING:
        replica_lead_tick(r, now, u);
        break;
    default:
        break;
    }
    replica_grant_tick(r, now, u);
}

bool replica_may_answer(const struct replica *r, uint64_t now)
{
    return r->may_read && now < r->cell->end;
}

bool replica_waits(const struct replica *r)
{
    return r->role == REPLICA_LEADING && replica_lead_waits(r);
}

bool replica_is_idle(const struct replica *r)
{
    if (r->times.log_write && replica_grant_waits(r))
        return false;
    switch (r->role) {
    case REPLICA_FOLLOWER:
        return !r->seal_unanswered && (r->joined || !r->leader_ready);
    case REPLICA_LEADING:
        return replica_lead_is_idle(r);
    default:
        return r->role == REPLICA_STOPPED;
    }
}
