/* raft_calls - commands that the control thread hands to the loop of raft_node.h, and their results back.
 *
 * Threads: submit and ask are the control thread's; open, take and close the loop's, or anybody's while it does
 *   not run.  What both share is behind one mutex.
 * Memory: a call is the loop's until it is done; one that is waited for is its waiter's again then. */
#ifndef DUNLIN_CONTROL_RAFT_CALLS_H
#define DUNLIN_CONTROL_RAFT_CALLS_H

#include "control/coordinator_command.h"
#include "control/raft_proposals.h"

struct raft_calls;

/* wake_loop: there is something to take.  wake_control: what was submitted has ended.  Returns 0, -ENOMEM, or
 * -errno of the mutex. */
MUST_USE int raft_calls_open(struct raft_calls **c, void (*wake_loop)(void *context),
                             void (*wake_control)(void *context), void *context);

/* As raft_node.h says. */
MUST_USE int raft_calls_submit(struct raft_calls *c, const struct coordinator_command *command,
                               uint64_t wait_ns);
MUST_USE int64_t raft_calls_ask(struct raft_calls *c, const struct coordinator_command *command,
                                uint64_t wait_ns);

/* What was handed over becomes proposals. */
void raft_calls_take(struct raft_calls *c, struct raft_proposals *proposals);

/* No call is under way.  c may be NULL. */
void raft_calls_close(struct raft_calls *c);

#endif
