#include "dataplane/lease.h"
#include "dataplane/replica.h"

#include "engine/plant.h"

#define APPEND_BYTES (1u << 13)
#define WINDOW_BYTES (1u << 17) /* sent to a peer and not acknowledged */

static int peer_slot(const struct replica *r, const struct member *m)
{
    for (uint32_t i = 1; i < r->commit.peer_count; i++)
        if (member_equal(&r->peers[i].id, m))
            return (int)i;
    return -1;
}

/* ---- committing ---- */

static void commit_try(struct replica *r)
{
    if (r->role != REPLICA_LEADING && !PLANTED(COMMIT_OLD_EPOCH_BY_COUNT))
        return;
    if (commit_advance(&r->commit)) {
        replica_show(r, r->commit.lsn_committed);
    } else if (r->commit.lease_holder_mask != 0) {
        struct commit without = r->commit;
        without.lease_holder_mask = 0;
        if (commit_advance(&without))
            r->counts[REPLICA_COUNT_HOLDER_WAITS]++;
    }
}

/* A majority of the new voters holds our log up to the first record of the epoch. */
static bool epoch_is_held(const struct replica *r)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < r->commit.voter_count; i++)
        held += r->commit.lsn_match[i] >= r->commit.lsn_epoch_start;
    return held >= majority_of(r->commit.voter_count);
}

/* ---- the right to read ---- */

/* The newest ask that a majority of the voters, ourselves among them, has answered. */
static uint64_t majority_ask(const struct replica *r, uint64_t now)
{
    uint64_t asks[LIMIT_PEERS] = {now};
    for (uint32_t i = 1; i < r->commit.voter_count; i++)
        asks[i] = r->peers[i].ask_echoed;
    return commit_ranked(asks, r->commit.voter_count, majority_of(r->commit.voter_count));
}

static void right_renew(struct replica *r, uint64_t now)
{
    bool established =
        r->role == REPLICA_LEADING && r->commit.lsn_committed >= r->commit.lsn_epoch_start;
    if (!established && !PLANTED(LEASE_BEFORE_ACTIVE))
        return;
    uint64_t ask = majority_ask(r, now);
    if (ask == 0)
        return;
    if (PLANTED(LEASE_FROM_ECHO))
        ask = now;
    uint64_t end = lease_right_end(ask, r->times.lease);
    if (end > now && end > r->right_end) {
        if (now >= r->right_end)
            replica_begin_right(r);
        r->right_end = end;
    }
    /* We are a voter too: our own answer binds us. */
    r->promise_end = max_u64(r->promise_end, lease_promise_end(now, r->times.lease));
}

int replica_on_want(struct replica *r, const struct message *m, uint64_t now,
                    struct replica_update *u)
{
    int slot = peer_slot(r, &m->from);
    if (slot < 0)
        return -EPROTO;
    struct replica_peer *peer = &r->peers[slot];
    /* A slow peer gets no lease: it would hold up every commit. */
    if (!replica_may_answer(r, now) || !peer->joined ||
        (r->commit.lsn_match[slot] < r->commit.lsn_committed && !PLANTED(READ_LEASE_SHORT)))
        return 0;
    struct message *grant = replica_say(r, u, m->from.node, MESSAGE_GRANT);
    if (grant == NULL)
        return 0;
    uint64_t duration = min_u64(r->times.lease, r->right_end - now);
    grant->ask = m->ask;
    grant->duration = duration;
    grant->lsn_end = r->shard->log.lsn_end;
    peer->holder_until = max_u64(peer->holder_until, lease_promise_end(now, duration));
    r->commit.lease_holder_mask |= 1u << slot; /* S9: before the grant leaves */
    r->counts[REPLICA_COUNT_GRANTS]++;
    return 0;
}

static void holders_expire(struct replica *r, uint64_t now)
{
    for (uint32_t i = 1; i < r->commit.peer_count; i++)
        if (r->peers[i].holder_until != 0 && now >= r->peers[i].holder_until) {
            r->peers[i].holder_until = 0;
            r->commit.lease_holder_mask &= ~(1u << i);
        }
}

/* ---- feeding ---- */

static struct message *append_say(struct replica *r, uint32_t slot, uint64_t now,
                                  struct replica_update *u)
{
    struct message *m = replica_say(r, u, r->peers[slot].id.node, MESSAGE_APPEND);
    if (m == NULL)
        return NULL;
    m->lsn_end = r->shard->log.lsn_end;
    m->lsn_committed = r->shard->lsn_committed;
    m->lsn_kept = r->shard->lsn_kept;
    m->ask = r->role == REPLICA_LEADING || PLANTED(LEASE_BEFORE_ACTIVE) ? now : 0;
    r->peers[slot].ticks_sent = now;
    return m;
}

static void feed(struct replica *r, uint32_t slot, uint64_t now, struct replica_update *u)
{
    struct replica_peer *peer = &r->peers[slot];
    uint64_t match = r->commit.lsn_match[slot];
    if (!peer->joined)
        return;
    if (peer->lsn_next > match && now - peer->ticks_moved >= r->times.retry) {
        peer->lsn_next = max_u64(match, 1);
        peer->ticks_moved = now;
        r->counts[REPLICA_COUNT_RESENDS]++;
    }
    while (peer->lsn_next < r->shard->log.lsn_end && peer->lsn_next - match < WINDOW_BYTES) {
        uint64_t available;
        const uint8_t *bytes = log_bytes_at(&r->shard->log, peer->lsn_next, &available);
        if (bytes == NULL)
            return;
        struct message *m = append_say(r, slot, now, u);
        if (m == NULL)
            return;
        m->lsn = peer->lsn_next;
        m->bytes = bytes;
        m->length = (uint32_t)min_u64(available, APPEND_BYTES);
        peer->lsn_next += m->length;
    }
}

static void feed_all(struct replica *r, uint64_t now, struct replica_update *u)
{
    uint64_t kept = r->shard->lsn_committed;
    for (uint32_t i = 1; i < r->commit.peer_count; i++) {
        feed(r, i, now, u);
        if (r->peers[i].ticks_sent == 0 || now - r->peers[i].ticks_sent >= r->times.heartbeat)
            (void)append_say(r, i, now, u);
        kept = min_u64(kept, r->commit.lsn_match[i]);
    }
    r->shard->lsn_kept = kept;
}

int replica_on_join(struct replica *r, const struct message *m, uint64_t now,
                    struct replica_update *u)
{
    int slot = peer_slot(r, &m->from);
    if (slot < 0)
        return -EPROTO;
    uint64_t cut = replica_common(r, m->table, m->table_count, m->lsn_end);
    if (cut == 0 || cut < m->lsn_committed)
        return -EPROTO;
    struct replica_peer *peer = &r->peers[slot];
    struct message *answer = replica_say(r, u, m->from.node, MESSAGE_CUT);
    if (answer == NULL)
        return 0;
    answer->lsn = cut;
    answer->lsn_committed = r->shard->lsn_committed;
    peer->lsn_next = cut;
    peer->ticks_moved = now;
    return 0;
}

int replica_on_ack(struct replica *r, const struct message *m, uint64_t now)
{
    int slot = peer_slot(r, &m->from);
    if (slot < 0)
        return -EPROTO; /* S13 */
    struct replica_peer *peer = &r->peers[slot];
    struct commit_ack ack = {.epoch = m->epoch, .lsn = m->lsn, .peer = (uint32_t)slot};
    int counted = commit_on_ack(&r->commit, &ack);
    if (counted < 0)
        return counted;
    peer->joined = true;
    peer->lsn_next = max_u64(peer->lsn_next, m->lsn);
    if (counted == 1)
        peer->ticks_moved = now;
    if (m->ask > now)
        return -EPROTO;
    peer->ask_echoed = max_u64(peer->ask_echoed, m->ask);
    return 0;
}

int replica_on_nak(struct replica *r, const struct message *m)
{
    int slot = peer_slot(r, &m->from);
    if (slot < 0 || m->lsn < r->commit.lsn_match[slot] || m->lsn > r->shard->log.lsn_end)
        return -EPROTO;
    r->peers[slot].lsn_next = min_u64(r->peers[slot].lsn_next, m->lsn);
    return 0;
}

static void activation_ask(struct replica *r, uint64_t now, struct replica_update *u)
{
    if (r->role != REPLICA_BRINGING || !epoch_is_held(r))
        return;
    if (r->ticks_asked != 0 && now - r->ticks_asked < r->times.retry)
        return;
    r->ticks_asked = now;
    u->activate = r->promised;
}

void replica_lead_tick(struct replica *r, uint64_t now, struct replica_update *u)
{
    commit_on_append(&r->commit, r->shard->log.lsn_end);
    holders_expire(r, now);
    commit_try(r);
    right_renew(r, now);
    activation_ask(r, now, u);
    feed_all(r, now, u);
}
