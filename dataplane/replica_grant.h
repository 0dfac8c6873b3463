/* replica_grant - log writes: the leader puts bytes of its log into a follower's memory without the
 * follower's processor.
 *
 * Pure core; called by the replica's other files, group.c, and (replica_written) the lcore.
 * A follower that joined grants its leader the tail's segment and the next (GRANT).  The leader hands a
 * range and its token to the transport, and announces it (ANNOUNCE) at the same time: which of the two
 * comes first nobody knows.  The follower believes what it finds: a range counts as received when it lies
 * in an open grant of this leader in this epoch and its proof is sound; else it asks for it (NAK), and what
 * is sent again goes by message; so does what is so short that a message carries it at the price of its announcement.
 * It acknowledges what land_check made part of its log, as ever.
 * A segment that is full, cut off or given up is recalled (RECALL, again until it comes), and its frame
 * is in quarantine meanwhile (engine/grant.h).  The leader of then returns all grants up to a number
 * (RETURN) once no write under them is under way; it never uses one of a number that was recalled, so
 * a late GRANT does no harm.  Who does not return them for long has its connection torn down.
 * Fencing: a grant counts in its epoch only, and the first byte of another epoch comes after a cut, which
 * moves what counts of a partly filled segment to a fresh one.
 * Source: DESIGN sections 5 and 6; Aguilera et al., "Microsecond Consensus for Microsecond Applications"
 * (OSDI 2020), for what goes wrong when a leader of the past can still write, and the other answer to it
 * (permissions changed at the NIC). */
#ifndef DUNLIN_DATAPLANE_REPLICA_GRANT_H
#define DUNLIN_DATAPLANE_REPLICA_GRANT_H

#include "dataplane/replica.h"

/* ---- the lcore ---- */

/* A log write under a grant of a peer is over: the transport completed it, or would not take it. */
void replica_written(struct replica *r, const struct member *peer, uint64_t number);

/* ---- as a follower ---- */

/* We joined, or our log grew: grant what may be granted. */
void replica_grant_offer(struct replica *r, struct replica_update *u);
/* Returns as land_bytes; what was not found written is counted, and is 0 like any gap. */
MUST_USE int replica_grant_announced(struct replica *r, const struct message *m);
/* Ask for grants back whose segments are not the log's tail any more. */
void replica_grant_tick(struct replica *r, uint64_t now, struct replica_update *u);
/* Whether there are such. */
bool replica_grant_waits(const struct replica *r);
MUST_USE int replica_on_return(struct replica *r, const struct message *m);
/* A RETURN to this shard, of a start of ours, whether or not it has a replica any more; revoker hears of each grant.
 * Returns how many came back, or -ESTALE: it is for another start; -EPROTO: nobody was given such a number. */
MUST_USE int replica_grant_take_back(struct shard *s, const struct grant_revoker *revoker,
                                     uint64_t incarnation, const struct message *m);
/* Before the first record of an epoch of ours: nobody may write into the segment that it goes to, and none
 * waits ahead of it.  Returns 0 or -EAGAIN: no segment is free now. */
MUST_USE int replica_grant_fence(struct replica *r);

/* ---- as the leader ---- */

MUST_USE int replica_on_grant(struct replica *r, uint32_t slot, const struct message *m);
/* An APPEND for the peer in this slot, with all bytes that one log write would carry: an ANNOUNCE if it can be. */
void replica_grant_use(struct replica *r, uint32_t slot, struct message *m);
/* What was announced at lsn was not found. */
void replica_grant_missed(struct replica *r, uint32_t slot, uint64_t lsn);
MUST_USE int replica_on_recall(struct replica *r, const struct message *m,
                               struct replica_update *u);

/* ---- both ---- */

/* The connection with a node was torn down. */
void replica_grant_void(struct replica *r, uint32_t node);

#endif
