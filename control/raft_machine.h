/* raft_machine - the state machine that libraft replicates: commands applied to a coordinator_state.
 *
 * Entries of the log are coordinator_command.h's bytes; a snapshot is coordinator_text's.  What every node
 * applies is the same, so a command that cannot be decoded here was written by a newer release: the machine
 * stops with -EPROTO rather than go on with another state than the others have.
 *
 * Thread: the loop's. */
#ifndef DUNLIN_CONTROL_RAFT_MACHINE_H
#define DUNLIN_CONTROL_RAFT_MACHINE_H

#include "control/coordinator_command.h"

#include <raft.h>

struct raft_machine {
    struct raft_fsm fsm;             /* for raft_init */
    struct coordinator_state *state; /* NULL: nobody has registered yet */
    bool is_changed;                 /* since somebody took it back */
    int error;                       /* why it stopped; 0: it has not */
    /* A command was applied, and did that. */
    void (*applied)(void *context, const struct coordinator_command *command, int64_t result);
    void *context;
};

void raft_machine_init(struct raft_machine *m);
/* A new instance of raft begins with its own snapshot and log. */
void raft_machine_reset(struct raft_machine *m);

/* A copy, the caller's to free(), or NULL: no memory, or there is none. */
struct coordinator_state *raft_machine_copy(const struct raft_machine *m);

#endif
