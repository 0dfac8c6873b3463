/* space_keeper - the spaces of a node that is alone, beside those of its configuration: made, altered and dropped
 * while it runs, and there again after a restart, empty.
 *
 * They are kept (space_list.h) in SOCKET.spaces beside SOCKET.state, replaced as a whole: a daemon that is
 * killed leaves the old list or the new one.  A space is in the list before it is made and out of it before it
 * is dropped.  The configuration's own spaces come first: a list that has one of their names or ids is refused
 * by that name, at start and by --check.
 *
 * Log events: space_created space id, space_altered space, space_dropped space, and at start
 * space_failed space error.
 * Control thread, registered with rcu.h and offline. */
#ifndef DUNLIN_CONTROL_SPACE_KEEPER_H
#define DUNLIN_CONTROL_SPACE_KEEPER_H

#include "control/config.h"
#include "control/server.h"
#include "control/space_list.h"

struct space_keeper {
    struct node *node; /* from join on */
    uint64_t taken;    /* ids of the configuration: bit id - 1 */
    uint32_t own_uid;
    struct space_list list;
    struct server_spaces admin;
    char path[CONFIG_PATH_BYTES], path_new[CONFIG_PATH_BYTES];
};

/* Read the list.  Each conflict is a line on errors.  Returns 0, -EEXIST (conflicts), -EBADMSG (the file is
 * damaged, or not one of these; reported, too), or -errno of the file. */
MUST_USE int space_keeper_open(struct space_keeper *k, const struct config *config, FILE *errors);
/* Before the lcores start: make what it has.  Returns 0, or as node_space_add. */
MUST_USE int space_keeper_join(struct space_keeper *k, struct node *node);

/* A policy as it was asked for: of a space of this name that was made here; -ENOENT there is none, -EPERM it
 * is the configuration's. */
MUST_USE int space_keeper_policy(const struct space_list *l, const struct node *node,
                                 const char *name, struct space_config *config);

#endif
