/* coordinator_register - how a node enters the file of the static coordinator: what it must agree on with
 * those that are there, the file's first state, and the first epochs when the last node has come.
 *
 * Control thread; the caller holds the file's lock, and writes what has changed.
 * Units: start, LSN as coordinator_file.h says. */
#ifndef DUNLIN_CONTROL_COORDINATOR_REGISTER_H
#define DUNLIN_CONTROL_COORDINATOR_REGISTER_H

#include "control/coordinator_file.h"

struct coordinator_state;

/* 0, or -EINVAL: counts or ids of nodes, the start, or spaces that cannot be. */
MUST_USE int coordinator_register_check(const struct coordinator_file_config *config);

/* Enter a node into *state, which is what the file says, or NULL if there is no file; it stays the
 * caller's to free().  1: changed, to be written; 0: it is there already; else it is to be thrown away:
 *   -EEXIST  of another cluster, or of other nodes or spaces
 *   -ESTALE  a higher start of this node is known
 *   -EINVAL  as above
 *   -ENOMEM */
MUST_USE int coordinator_register(struct coordinator_state **state,
                                  const struct coordinator_file_config *config);

/* Why the file refused a registration, for people; empty where the error itself says it. */
const char *coordinator_refusal(int error);

#endif
