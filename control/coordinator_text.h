/* coordinator_text - a state of the coordinator as text, and back: what a snapshot of the control log is.
 *
 * Pure but for memory.  Any one thread at a time for each state. */
#ifndef DUNLIN_CONTROL_COORDINATOR_TEXT_H
#define DUNLIN_CONTROL_COORDINATOR_TEXT_H

#include "control/coordinator_state.h"

#define COORDINATOR_FAULT_BYTES 200u

/* Where bytes are not those of a state, for people. */
struct coordinator_fault {
    char text[COORDINATOR_FAULT_BYTES];
};

/* Bytes to a state, which is the caller's to free().  Returns 0, -EBADMSG with the fault, or -ENOMEM. */
MUST_USE int coordinator_parse(const char *bytes, size_t length, struct coordinator_state **s,
                               struct coordinator_fault *fault);

/* A state to bytes, with a final 0 that does not count; the caller's to free(); they parse to the same.
 * Returns 0 or -ENOMEM. */
MUST_USE int coordinator_print(const struct coordinator_state *s, char **bytes, size_t *length);

#endif
