/* replica_lease - one replica's part in the promises, rights and read leases of its group.
 *
 * Pure core; called by the replica's other files and by group.c alone.
 * A leader takes part from its first committed record on: the shard is listed with every peer, and
 * from the next majority of asks on it may answer.  It ends with the epoch, or when a voter says that
 * it promised elsewhere (that epoch will never lead again without trouble, so it gives up its right for
 * good), or by hand-over.
 * A follower's promise lives in the pair while the shard is listed there, and moves to promise_end when
 * it is not any more; so an echo costs the same for one shard and for a thousand. */
#ifndef DUNLIN_DATAPLANE_REPLICA_LEASE_H
#define DUNLIN_DATAPLANE_REPLICA_LEASE_H

#include "dataplane/pair.h"
#include "dataplane/replica.h"

/* ---- as the leader ---- */

/* The epoch's first record is committed: list the shard, join a right. */
void replica_lease_lead(struct replica *r);
/* List the shard with this pair, whose list is empty, if it belongs there. */
void replica_lease_list(struct replica *r, struct pair *p);
/* The right that the shard joined was renewed. */
void replica_lease_begin(struct replica *r);
/* The peer in this slot confirmed what it shows, or more was committed: keep the pair's count. */
void replica_lease_behind(struct replica *r, uint32_t slot);
/* what: PAIR_REMOVE, or PAIR_RELEASE once nobody reads under it any more. */
void replica_lease_end(struct replica *r, enum pair_what what);
/* A voter listed for this epoch has promised another one. */
void replica_lease_excluded(struct replica *r, uint64_t epoch);
/* Read leases of followers: those that end, those that lag, those that may begin; and hand-over. */
void replica_lease_tick(struct replica *r, uint64_t now);

/* ---- as a follower ---- */

/* A change of the leader's list names the shard. */
void replica_lease_change(struct replica *r, struct pair *p, const struct pair_change *c);
/* The shard is off the list: what was promised for it stays. */
void replica_lease_leave(struct replica *r);
/* It is no peer of the leader's any more, and reads no longer. */
void replica_lease_lapse(struct replica *r);
/* As if nothing had been promised: only for a planted bug. */
void replica_lease_forget(struct replica *r);
/* The log grew, or joined: a read lease that waited for it begins. */
void replica_lease_hold(struct replica *r);

/* ---- both ---- */

/* A higher epoch was promised: no right of this one goes on, no echo covers it. */
void replica_lease_withdraw(struct replica *r);

/* A node has come, and its pair is new: the shard is listed there if it belongs there. */
void replica_lease_meet(struct replica *r, struct pair *p);
/* The node of this pair goes: the shard is on neither of its lists, and points to it no more. */
void replica_lease_part(struct replica *r, const struct pair *p);

#endif
