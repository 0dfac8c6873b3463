/* quorum - whether the shards of a cluster can do without a node that is to drain or to go.
 *
 * Who is to vote on a shard once a node shall not is known from the nodes alone (coordinator_members.h), but not by
 * the log that decides it: who is up is what the node that is asked knows.  So it is looked at before anything is
 * asked of the log; a node that dies a moment later is the loss of one voter, as ever.
 *
 * Pure: any thread, any state. */
#ifndef DUNLIN_CONTROL_QUORUM_H
#define DUNLIN_CONTROL_QUORUM_H

#include "control/coordinator_members.h"

/* Of every shard that a node is to vote on, most of those that are to vote without it are up.  True, too, of one that
 * is to vote on nothing, and of one that is not up: whoever takes its place, no fewer of the voters are up then.
 * up: at least one. */
bool quorum_stays_without(const struct coordinator_state *s, uint32_t node,
                          const struct coordinator_some *up);

#endif
