/* agent_rate - how much an lcore takes from each agent: what node_config says, and what it says later.
 *
 * Control changes it while lcores run; each lcore takes the new numbers over in its housekeeping, between two
 * passes, so that a pass has one rate from its beginning to its end.  Every bucket is full then.
 *
 * Threads: agent_rate_set control's, agent_rate_look each lcore's own.
 * Memory order: the numbers are stored before node.arena_round is counted up (release), and loaded after that
 * was seen (acquire); two changes at once may be seen mixed for a pass, and the round behind them mends that. */
#ifndef DUNLIN_DATAPLANE_AGENT_RATE_H
#define DUNLIN_DATAPLANE_AGENT_RATE_H

#include "dataplane/lcore.h"

/* node_config.agent_rate and agent_burst in ticks; without a limit no agent asks. */
struct bucket_rate agent_rate_of(const struct node_config *config, uint64_t ticks_per_s);

/* Whether an agent is one of those that are bounded. */
static inline bool agent_rate_limits(const struct node_config *config, const struct agent *a)
{
    return config->agent_rate != 0 && (config->agents_all || !a->trusted);
}

/* From now on, for agents that are attached, too: rate and burst as node_config says. */
void agent_rate_set(struct node *n, uint64_t rate, uint64_t burst, bool all);

/* Take over what was set. */
void agent_rate_look(struct lcore *l);

#endif
