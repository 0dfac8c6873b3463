/* ruling - how the next configuration of a shard follows from its newest one: the rule that every
 * coordinator obeys, nothing else.
 *
 *   An epoch is one more than the newest.
 *   Its predecessor is the last active epoch: the newest one if that is active, else the newest one's own
 *   predecessor.  voters_before are that epoch's voters, and nobody is ever replaced among them.
 *   A node that has lost its memory is replaced by its new incarnation in voters alone.
 *   Who leads an epoch that has a predecessor holds what a voter of the predecessor held: a member of
 *   voters_before, as long as there is one.
 *   An epoch that was never active and has no voters of a predecessor holds nothing: voters may be replaced
 *   freely.  That is the first one, or a lossy one that gave up all there was.
 *   When fewer than a majority are left, a lossy epoch may follow that takes what the best of some of them holds:
 *   voters_before are those, and every one of them counts.
 *   When nobody is left who held what was, a lossy epoch may follow that begins empty, above every LSN
 *   there was: somebody has to want that.
 *
 * Pure.  Whoever calls compares epochs under its own lock: nothing here knows what others decided.
 * Units: epoch  configuration number, only ever grows
 *        since  ordinal: who has a lower one has been the same incarnation for longer
 * Source: DESIGN section 5; Lamport, Malkhi, Zhou, "Vertical Paxos" (2009), section 3: a ballot that is
 * not complete is superseded by one that reads from the same complete predecessor. */
#ifndef DUNLIN_CONTROL_RULING_H
#define DUNLIN_CONTROL_RULING_H

#include "dataplane/configuration.h"

/* The first epoch of a shard, led by the first of voter_count (1 .. LIMIT_VOTERS) voters. */
void ruling_first(struct configuration *first, uint64_t epoch, const struct member *voters,
                  uint32_t voter_count);

/* The epoch after newest (whose active is what counts here), with the same voters, led by one of
 * them.  Not in place. */
void ruling_follow(struct configuration *next, const struct configuration *newest,
                   const struct member *leader);

/* Likewise with other voters, of whom the leader is one; where newest is active it was a voter of that, too. */
void ruling_change(struct configuration *next, const struct configuration *newest,
                   const struct member *leader, const struct member *voters, uint32_t voter_count);

/* The epoch after newest when a voter came back as born, its node's new incarnation.  Somebody else's
 * leadership stays.  What it led itself goes to one of those voters that can, of these to those with the
 * lowest since (by position in voters: who came back lately may hold nothing yet, and can then not
 * lead), of these to the one that turn says, counted from the next position on: shards with different
 * turns spread evenly.  Nobody can, or there is nothing to hold: born leads.  Not in place. */
void ruling_restart(struct configuration *next, const struct configuration *newest,
                    const struct member *born, const uint64_t *since, uint32_t turn);

/* Whether a voter may lead an epoch that follows newest. */
bool ruling_may_lead(const struct configuration *newest, const struct member *voter);

/* The epoch after newest (ruling_is_gone) that gives up all there was: led by the same node, empty, above
 * lsn_floor (not 0).  Not in place. */
void ruling_give_up(struct configuration *next, const struct configuration *newest,
                    uint64_t lsn_floor);

/* The epoch after newest (ruling_is_lost) that goes on with what survivors of its predecessor's voters (some)
 * hold, above lsn_floor (not 0).  The leader is one of them, and of the voters.  Not in place. */
struct ruling_recovery {
    struct member leader;
    uint32_t survivor_count, voter_count;
    struct member survivors[LIMIT_VOTERS], voters[LIMIT_VOTERS];
    uint64_t lsn_floor;
};
void ruling_recover(struct configuration *next, const struct configuration *newest,
                    const struct ruling_recovery *r);

/* Whether newest can never be recovered: it is pending, and of its predecessor's voters fewer than a majority (of a
 * lossy one's survivors: not all) are still the incarnations that they were, which is what its members are. */
bool ruling_is_lost(const struct configuration *newest);

/* Whether nobody holds anything of it: it is lost, and none of its predecessor's voters is left. */
bool ruling_is_gone(const struct configuration *newest);

#endif
