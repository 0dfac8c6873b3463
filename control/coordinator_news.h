/* coordinator_news - what a process logs of the decisions that it learns of.
 *
 *   epochs_decided shards pending revision   so many shards have a new epoch
 *   epochs_active shards                     none is pending any more
 *   move_begun shards, move_done shards      as this process learned of it
 *   voters_changed shards                    in so many shards others vote than did
 *   learners votes learns                    how much is voted in and learned by all nodes, when it is another number
 *   node_added id zone weight, node_draining id, node_back id (it drains no more), node_leaving id,
 *   node_removed id                          what people asked for; the last when no shard names it any more
 *   space_lost space lost gone shards help   more of its shards than before can never be recovered; of gone
 *                                            ones nobody holds anything
 *
 * Control thread. */
#ifndef DUNLIN_CONTROL_COORDINATOR_NEWS_H
#define DUNLIN_CONTROL_COORDINATOR_NEWS_H

#include "control/coordinator_state.h"
#include "dataplane/node.h"

/* All zero at first. */
struct coordinator_news {
    uint32_t lost[LIMIT_SPACES + 1], gone[LIMIT_SPACES + 1]; /* by space id, as last said */
};

/* known: the state before; NULL: none. */
void coordinator_news_say(const struct coordinator_state *known, const struct coordinator_state *s);

/* Once for each space of the node.  reopens: gone ones are begun again by this process itself. */
void coordinator_news_lost(struct coordinator_news *said, const struct coordinator_state *s,
                           const struct node *n, bool reopens);

#endif
