/* replica_snapshot - how a peer that the log cannot feed catches up: the leader tells it the live state
 * piece by piece (engine/snapshot.h), it asks for each (engine/install.h), then joins as any other.
 *
 * Pure core; called by the replica's other files alone.  A leader tells one snapshot at a time per
 * group, at the pace of the peer's asking, so that catching up never costs the others more than one
 * small piece per round trip.  While it lasts, and until the peer has joined, the log is kept from
 * where the snapshot begins. */
#ifndef DUNLIN_DATAPLANE_REPLICA_SNAPSHOT_H
#define DUNLIN_DATAPLANE_REPLICA_SNAPSHOT_H

#include "dataplane/group.h"
#include "dataplane/replica.h"

/* ---- as the leader ---- */

/* The peer in this slot, whose log ends at lsn_end, has nothing in common with what is kept of ours.  While
 * another one is told a snapshot it waits for its turn. */
void replica_snapshot_offer(struct replica *r, uint32_t slot, uint64_t lsn_end, uint64_t now,
                            struct replica_update *u);
/* It may be the turn of one that waits. */
void replica_snapshot_turn(struct replica *r, uint64_t now, struct replica_update *u);
int replica_on_want(struct replica *r, uint32_t slot, const struct message *m, uint64_t now,
                    struct replica_update *u);
/* From where on the log must be kept for it; UINT64_MAX: nothing. */
uint64_t replica_snapshot_kept(const struct replica *r, uint64_t now);
/* The peer has joined; slot 0: we lead no more. */
void replica_snapshot_end(const struct replica *r, uint32_t slot);

/* ---- as a follower ---- */

int replica_on_piece(struct replica *r, const struct message *m, uint64_t now,
                     struct replica_update *u);
/* It is time to say something again: ask for the piece that is missing.  False: there is none. */
bool replica_snapshot_wants(struct replica *r, struct replica_update *u);

#endif
