/* raft_members - who is in libraft's configuration, and as what: the next step from what it is to what the control
 * state wants.
 *
 *   standby   every node of the state
 *   voters    three, or of fewer than three nodes that may be one, one.  Nodes that may be have registered and are
 *             not leaving.  Who is a voter stays one as long as he may; room is filled by those that are up, by id.
 *   removed   who is no node of the state any more, a while after
 *
 * One step at a time.  A voter is promoted before another one is demoted, so redundancy never falls where it need
 * not.  The leader takes no vote from itself: it hands leadership over first.
 *
 * Pure.  Source: Ongaro (2014), 4.1 to 4.2; raft.h for the roles. */
#ifndef DUNLIN_CONTROL_RAFT_MEMBERS_H
#define DUNLIN_CONTROL_RAFT_MEMBERS_H

#include "engine/base.h"
#include "engine/limits.h"

#include <raft.h>

#define RAFT_MEMBERS_VOTERS 3u
#define RAFT_MEMBERS_MAX                                                                           \
    (4 * LIMIT_VOTERS)           /* of the state and of libraft's configuration together */
#define RAFT_MEMBERS_ABSENT (-1) /* beside libraft's roles */

struct raft_member {
    uint32_t node;
    int role;         /* in libraft's configuration */
    bool is_named;    /* a node of the state */
    bool is_eligible; /* one that may be a voter */
    bool is_up;       /* there is a link with it, or it is ourselves */
    bool is_due;      /* not named for long enough */
};

enum raft_members_kind {
    RAFT_MEMBERS_NONE = 0,
    RAFT_MEMBERS_ADD,     /* node, which is a spare then */
    RAFT_MEMBERS_ASSIGN,  /* node gets role */
    RAFT_MEMBERS_REMOVE,  /* node */
    RAFT_MEMBERS_TRANSFER /* node is to lead */
};

struct raft_members_step {
    enum raft_members_kind kind;
    uint32_t node;
    int role;
    bool is_of_voters; /* they are others then */
};

/* The one of that id in libraft's configuration, good as long as it is as it is; NULL: it has none. */
struct raft_server *raft_members_server(const struct raft_configuration *c, raft_id id);

/* members: by id, ascending, up to RAFT_MEMBERS_MAX; self leads. */
struct raft_members_step raft_members_next(const struct raft_member *members, uint32_t count,
                                           uint32_t self);

#endif
