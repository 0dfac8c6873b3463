/* coordinator_space - the spaces that were made while the cluster runs, as part of the coordinator's state: the
 * list itself (space_list.h), which nodes have carried it out, and the shards that follow from it.
 *
 *   create  MAKING: every node makes it and says so (made)
 *   serve   when all nodes that are up have: its shards get their first epochs (coordinator_members_first), led by
 *           one that is up.  One that is down may be a voter all the same, as it last started: it does not answer,
 *           and when it comes back it is somebody else, and makes all that is listed
 *   drop    its shards are no more; every node lets go of it and says so, then its id is free
 *
 * Each is a change as those of coordinator_state.h are: on the state as it is now, in the order of the log.  First epochs lie above every epoch that a log of that number had, LSNs likewise.
 *
 * Pure.
 * Units: clock_ns since 1970, of who asks; LSN, epoch, number as in space_list.h. */
#ifndef DUNLIN_CONTROL_COORDINATOR_SPACE_H
#define DUNLIN_CONTROL_COORDINATOR_SPACE_H

#include "control/coordinator_state.h"

/* One of these changes, as it is asked for: what a body of the coordinator carries. */
enum coordinator_space_kind {
    COORDINATOR_SPACE_CREATE = 1, /* config, clock_ns, taken */
    COORDINATOR_SPACE_ALTER = 2,  /* config */
    COORDINATOR_SPACE_DROP = 3,   /* config->id, lsn_floor */
    COORDINATOR_SPACE_MADE = 4,   /* member, number, lsn_floor */
    COORDINATOR_SPACE_SERVE = 5,  /* up */
};
struct coordinator_space_asked {
    enum coordinator_space_kind kind;
    const struct space_config *config;
    struct member member;
    uint64_t number, lsn_floor, clock_ns;
    uint64_t taken; /* ids that the configuration has: bit id - 1 */
    uint32_t up[LIMIT_VOTERS];
    uint32_t up_count;
};

/* Apply it; of SERVE the state has room for coordinator_space_due more shards.  Above 0: changed (CREATE: the id);
 * 0: nothing had to; else refused, as the functions below say. */
MUST_USE int64_t coordinator_space_apply(struct coordinator_state *s,
                                         const struct coordinator_space_asked *asked);

/* As space_list_create, above every LSN that was granted; -EAGAIN: the cluster has not begun. */
MUST_USE int coordinator_space_create(struct coordinator_state *s,
                                      const struct space_config *config, uint64_t clock_ns,
                                      uint64_t taken);
/* As space_list_alter, space_list_drop; of a drop the node says how far its logs have come. */
MUST_USE int coordinator_space_alter(struct coordinator_state *s,
                                     const struct space_config *config);
MUST_USE int coordinator_space_drop(struct coordinator_state *s, uint32_t id, uint64_t lsn_floor);

/* A node, as this start, has carried out all changes up to this number; none of what it dropped is above
 * lsn_floor.  True: that is news. */
bool coordinator_space_made(struct coordinator_state *s, const struct member *node, uint64_t number,
                            uint64_t lsn_floor);

/* Who was waited for may have left: forget what all that are nodes have let go of. */
void coordinator_space_sweep(struct coordinator_state *s);

/* Serve what all of these nodes (up: those that are, at least a majority of those that have come) have made: how many shards will that
 * be?  And do it; the state has room for so many more.  Returns how many spaces. */
uint32_t coordinator_space_due(const struct coordinator_state *s, const uint32_t *up,
                               uint32_t up_count);
uint32_t coordinator_space_serve(struct coordinator_state *s, const uint32_t *up,
                                 uint32_t up_count);

/* NULL, or what of it cannot be. */
const char *coordinator_space_fault(const struct coordinator_state *s);
/* Whether the shards of a state may follow those known before: the same, but for spaces that came or went. */
bool coordinator_space_follows(const struct coordinator_state *s,
                               const struct coordinator_state *known);

#endif
