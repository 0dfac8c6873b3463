/* coordinator_members - who is to vote and who to learn in a shard, and how the one comes about from the other.
 *
 * Wanted voters of a shard are those that placement.h chooses of all nodes that are members and have come.  What
 * a shard has follows them by epochs, each of which its leader has let go for:
 *
 *   due      an active epoch that needs no promotion to be better: a node that has come is neither voter nor
 *            learner, a learner is one that restarted, one is leaving; or all wanted ones vote, and others, too.
 *            Its leader is asked to let go (move), of itself where it may go on
 *   promote  a learner that is wanted has kept up, as the leader says: it takes the place of a voter that is not
 *            wanted, or comes in addition as long as there are fewer than wanted, or nobody else is left of those
 *            that voted.  If it is the first choice, leadership goes to it when that epoch is active
 *
 * Who leads the next epoch voted in the one before.  Who leaves and was a voter of what the next epoch recovers
 * from learns in it: so who is still there is among its members (ruling_is_lost), and one epoch later it is gone.
 * Every epoch, whatever for, has the learners that are right when it is decided.
 *
 * Pure: changes of a coordinator_state as those of coordinator_state.h, of which this is a part. */
#ifndef DUNLIN_CONTROL_COORDINATOR_MEMBERS_H
#define DUNLIN_CONTROL_COORDINATOR_MEMBERS_H

#include "control/coordinator_state.h"

/* Nodes that are up, or of which else is chosen; count 0: all. */
struct coordinator_some {
    const uint32_t *ids;
    uint32_t count;
};

/* Whether a list of ids, or of members (as whatever start), names a node. */
bool coordinator_ids_name(uint32_t id, const uint32_t *ids, uint32_t count);
bool coordinator_members_name(const struct member *list, uint32_t count, uint32_t node);

/* Ids of the nodes that are to vote in a log, best first; only of these.  Returns how many. */
uint32_t coordinator_members_wanted(const struct coordinator_state *s, uint32_t log,
                                    const struct coordinator_some *of,
                                    uint32_t wanted[LIMIT_VOTERS]);

/* By id, ascending: one set of voters is one list, whoever came when. */
void coordinator_members_sort(struct member *list, uint32_t count);

/* The first epoch of a shard, led by the first choice of those that are up; where most of the wanted ones are not,
 * others vote at first. */
void coordinator_members_first(const struct coordinator_state *s, struct coordinator_shard *shard,
                               uint64_t epoch, const struct coordinator_some *up);

/* An epoch that follows is the newest; with the learners of now, and without a promotion or a move to somebody
 * who does not vote in it. */
void coordinator_members_take(const struct coordinator_state *s, struct coordinator_shard *shard,
                              struct configuration *next);

/* The leader of an active epoch has let go, and shall be followed by move. */
void coordinator_members_let_go(const struct coordinator_state *s, struct coordinator_shard *shard);

/* What was pending is active now. */
void coordinator_members_active(const struct coordinator_state *s, struct coordinator_shard *shard);

/* If it is due, ask its leader to let go. */
void coordinator_members_settle(const struct coordinator_state *s, struct coordinator_shard *shard);
bool coordinator_members_are_due(const struct coordinator_state *s,
                                 const struct coordinator_shard *shard);

#endif
