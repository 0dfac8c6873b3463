/* coordinator_command - what the nodes of a cluster ask of its control state, as entries of a replicated log.
 *
 * A command is encoded by who asks, goes through the log, and is applied by every node, in the log's order, to a
 * coordinator_state of its own: so all of them know the same.  Applying reads no clock and draws no number;
 * what needs one comes in the command.  A snapshot of the log is a state as coordinator_print writes it.
 *
 * Bytes, little-endian, none of them padding:
 *   format u8, type u8, zero u16, node u32, start u64     COORDINATOR_COMMAND_HEAD_BYTES
 *   REGISTER  cluster u64, spaces u64, origin u64, lsn_ceiling u64, replicas u32, node_count u32,
 *             space_count u32, zero u32, then of each node id u32, weight u32, zone, then of each space id u32,
 *             shard_count u32
 *   ACTIVATE, LET_GO, PASS_ON   count u32, then log u32, epoch u64 of each
 *   MOVE      first u32, last u32
 *   LEAVE, FAIL                 count u32, then a u32 for each of the others
 *   RETIRE, GIVE_UP             nothing
 *   SPACE     kind u32, id u32, number u64, lsn_floor u64, clock_ns u64, taken u64, up_count u32,
 *             policy_bytes u32, then a u32 for each that is up, then the policy: the bytes of a space_list
 *             of it alone, as number 1, under the id or, of none, 1
 *   NODE      kind u32, weight u32, zone, address, control
 *   CEILING   lsn_ceiling u64
 *   PROMOTE   learner u32, count u32, then log u32, epoch u64 of each
 *   RECOVER   first u32, last u32, from u32, up_count u32, then a u32 for each that is up
 * Of words (zone LIMIT_NAME_BYTES, address and control COORDINATOR_ADDRESS_BYTES) what is behind the first 0 is 0.
 *
 * Formats: a command is encoded in the oldest one that has it as it is: 2 for a REGISTER and what came behind
 * SPACE.  A REGISTER of format 1 is refused: from where it was applied, what voters follow is another story, so
 * a log that has one cannot be gone on with.  One that a release does not know can be neither
 * applied nor passed over: every copy would differ from then on.  So it is refused before it gets into
 * the log: nodes name the newest format they know (COORDINATOR_COMMAND_FORMAT) when they connect, and whoever
 * appends calls coordinator_command_admit with the oldest that any node has named that it has met.  Why not 1 for
 * one that it never met: who is dead could then not be removed.
 *
 * Encoding and decoding are pure; applying allocates a state when it begins and when it gets shards.  Any one
 * thread at a time for each state.
 * Units: node, start, since, LSN as in coordinator_state.h
 * Source: Schneider, "Implementing Fault-Tolerant Services Using the State Machine Approach" (1990). */
#ifndef DUNLIN_CONTROL_COORDINATOR_COMMAND_H
#define DUNLIN_CONTROL_COORDINATOR_COMMAND_H

#include "control/coordinator_space.h"
#include "control/coordinator_state.h"

#define COORDINATOR_COMMAND_FORMAT 2u
#define COORDINATOR_COMMAND_HEAD_BYTES 16u
#define COORDINATOR_COMMAND_BYTES_MAX (UINT32_C(1) << 20)
/* Changes of one state; no number in it can pass COORDINATOR_NUMBER_MAX before. */
#define COORDINATOR_REVISION_MAX (COORDINATOR_NUMBER_MAX / 2)

enum coordinator_command_type {
    COORDINATOR_REGISTER = 1, /* node has started */
    COORDINATOR_ACTIVATE = 2, /* node, as start, leads these epochs, which shall be active */
    COORDINATOR_LET_GO = 3,   /* the leaders of these have let go, or were waited for in vain */
    COORDINATOR_PASS_ON = 4,  /* the leaders of these pending epochs were waited for in vain */
    COORDINATOR_MOVE = 5,     /* node shall lead these shards; start is 0 */
    COORDINATOR_LEAVE = 6,    /* what node leads goes to one of others */
    COORDINATOR_RETIRE = 7,   /* node is about to end: it is asked last */
    COORDINATOR_GIVE_UP = 8,  /* what nobody holds any more begins again */
    COORDINATOR_FAIL = 9,     /* node, as start, has ended without a word */
    COORDINATOR_SPACE =
        10, /* a space that is made while the cluster runs; MADE: by node, as start */
    COORDINATOR_NODE = 11,    /* node comes, drains, goes; start is 0 */
    COORDINATOR_PROMOTE = 12, /* node, as start, leads these epochs, of which a learner may vote */
    COORDINATOR_RECOVER =
        13, /* what is lost begins again, from what those that are up still hold */
    COORDINATOR_CEILING = 14, /* node's logs come near the ceiling that it knows */
};

/* As it stands in the log, at any address. */
struct coordinator_epoch {
    uint32_t log;
    uint64_t epoch;
} __attribute__((packed, may_alias));
_Static_assert(sizeof(struct coordinator_epoch) == 12, "no holes in the log");
_Static_assert(COORDINATOR_SHARDS_MAX * sizeof(struct coordinator_epoch) +
                       COORDINATOR_COMMAND_HEAD_BYTES + 8 <=
                   COORDINATOR_COMMAND_BYTES_MAX,
               "all shards fit one command");

struct coordinator_space {
    uint32_t id, shard_count; /* its logs are id << NODE_LOG_SPACE_SHIFT | 0 .. shard_count - 1 */
};

/* A node of the first ones. */
struct coordinator_entry_node {
    uint32_t id, weight;
    char zone[LIMIT_NAME_BYTES];
};

/* What a node must agree on with those that are there, and what the first one brings.  Once the cluster has
 * begun, replicas and nodes are what the state says, whatever is asked. */
struct coordinator_entry {
    uint64_t cluster, spaces; /* as in coordinator_state */
    uint64_t origin;          /* of the first one's state: where logs begin */
    uint64_t lsn_ceiling;     /* that logs of the node went up to, here or before; 0: not known */
    uint32_t replicas, node_count, space_count;
    struct coordinator_entry_node nodes[LIMIT_VOTERS]; /* node among them, none twice */
    struct coordinator_space space[LIMIT_SPACES];      /* ids ascending */
};

struct coordinator_command {
    enum coordinator_command_type type;
    uint32_t node; /* who asks, or whom it is about; never 0 */
    uint64_t start;
    union {
        struct coordinator_entry entry; /* REGISTER */
        struct {
            const struct coordinator_epoch
                *list;        /* logs ascending; of a decoded one: in its bytes */
            uint32_t count;   /* 1 .. COORDINATOR_SHARDS_MAX */
            uint32_t learner; /* PROMOTE, and only there */
        } epochs;             /* ACTIVATE, LET_GO, PASS_ON, PROMOTE */
        struct {
            uint32_t first, last;
        } logs; /* MOVE */
        struct {
            uint32_t nodes[LIMIT_VOTERS];
            uint32_t count; /* LEAVE: not 0 */
        } others;           /* LEAVE, FAIL: node not among them, none twice */
        struct {
            struct coordinator_space_asked
                asked;                  /* but for config and member; 0 what its kind has not */
            struct space_config config; /* CREATE, ALTER; of DROP the id */
        } space;                        /* SPACE */
        struct coordinator_node_asked change;     /* NODE; id: node */
        struct coordinator_recover_asked recover; /* RECOVER */
        uint64_t lsn_ceiling;                     /* CEILING: the one that is known; not 0 */
    };
};

/* What people call a type; "" if there is none. */
const char *coordinator_command_name(enum coordinator_command_type type);

/* NULL if it is one that may be encoded, else what is wrong with it. */
const char *coordinator_command_fault(const struct coordinator_command *c);

/* Bytes of one without a fault; at most COORDINATOR_COMMAND_BYTES_MAX. */
size_t coordinator_command_bytes(const struct coordinator_command *c);
/* Write as many. */
void coordinator_command_encode(const struct coordinator_command *c, uint8_t *into);

/* Lists stay where they are: good as long as bytes.  Returns 0, or
 *   -EPROTONOSUPPORT  of a format or type that this release does not know.  From a peer: refuse it by name.
 *                     From the log: this node can apply nothing behind it, and has to end
 *   -EBADMSG          not a command, or one with a fault: likewise */
MUST_USE int coordinator_command_decode(struct coordinator_command *c, const uint8_t *bytes,
                                        size_t length);

/* Whether bytes may be appended to a log whose nodes all know the formats up to format_all.  Returns as
 * decode does; nothing that is refused here may get into the log. */
MUST_USE int coordinator_command_admit(const uint8_t *bytes, size_t length, uint32_t format_all);

/* Apply one without a fault to *state, which is the caller's to free() and may have moved; NULL: there is none
 * yet.  A state that changes has one revision more.  Above 0: so much of it changed; 0: nothing had to;
 * else nothing changed, on any node:
 *   -ENOMEDIUM  there is no state: nobody has registered
 *   -ENOENT     no such node or shard
 *   -EEXIST     REGISTER: of another cluster, or of other nodes or spaces
 *   of a SPACE also as coordinator_space_apply; of CREATE what it returns is the id
 *   -ESTALE     a later start of the node is known
 *   -EAGAIN     MOVE: a first epoch is not active yet; NODE: the cluster has not begun
 *   of a NODE also
 *     -EEXIST   ADD: it is there
 *     -ENOSPC   ADD: so many nodes as there can be are there
 *     -EPERM    DRAIN, REMOVE: fewer than COORDINATOR_NODES_MIN that vote would stay; DRAIN, UNDRAIN: it is leaving
 *   -ENOENT of a REGISTER: the cluster has begun, and the node is none of it; of a RECOVER: no such shard, or
 *               nobody of whom it is asked holds anything of what is lost
 *   -EOVERFLOW  the state has changed as often as it can
 *   -ENOMEM     on this node alone, before anything changed: apply it again or end */
MUST_USE int64_t coordinator_command_apply(struct coordinator_state **state,
                                           const struct coordinator_command *c);

/* Likewise of a REGISTER, but for the revision, which stays: whoever counts it otherwise applies it so.  The state of
 * the first one has revision 0. */
MUST_USE int coordinator_enter(struct coordinator_state **state,
                               const struct coordinator_command *c);

#endif
