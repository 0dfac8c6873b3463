/* commit - how far a shard's log is committed: the rule of DESIGN section 5, nothing else.
 *
 * Pure core.  The shard's lcore is the only caller; readers learn of a commit from shard.h.
 * Units:  lsn    byte position in this shard's log
 *         epoch  configuration number, only ever grows
 * Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014), 3.6.2; Moraru et al., "Paxos
 * Quorum Leases" (SoCC 2014) for the holders of read leases. */
#ifndef DUNLIN_DATAPLANE_COMMIT_H
#define DUNLIN_DATAPLANE_COMMIT_H

#include "engine/base.h"
#include "engine/limits.h"

struct commit {
    uint64_t epoch;
    uint64_t lsn_epoch_start;        /* acks below it never commit by themselves */
    uint64_t lsn_end;                /* end of the leader's log */
    uint64_t lsn_committed;          /* never falls */
    uint64_t lsn_match[LIMIT_PEERS]; /* held by that peer; voters first, slot 0 is the leader */
    uint32_t peer_count, voter_count, lease_holder_mask; /* holders by slot */
};

struct commit_ack {
    uint64_t epoch;
    uint64_t lsn;
    uint32_t peer;
};

/* slot 0 holds lsn_end, the others nothing yet.  lsn_epoch_start: end of the epoch's first record.
 */
void commit_init(struct commit *c, uint64_t epoch, uint32_t voter_count, uint32_t peer_count);

/* The leader's own log grew. */
void commit_on_append(struct commit *c, uint64_t lsn_end);

/* Count one peer's ack, straight from the wire, so nothing in it is trusted.
 * Returns 1 if lsn_committed may have risen (call commit_advance), 0 if not (duplicates and
 * reordering are normal), -ESTALE  ack of an older epoch: drop it -EPROTO  unknown peer, newer
 * epoch, or past our log: stop listening to that peer. */
MUST_USE int commit_on_ack(struct commit *c, const struct commit_ack *ack);

/* The rank-th highest of count values (rank 1: the highest); 1 <= rank <= count <= LIMIT_PEERS.  With the
 * size of a majority as rank: what a majority has reached. */
uint64_t commit_ranked(const uint64_t *values, uint32_t count, uint32_t rank);

/* Apply the rule.  True: lsn_committed rose. */
MUST_USE bool commit_advance(struct commit *c);

#endif
