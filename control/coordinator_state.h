/* coordinator_state - what the nodes of a cluster have decided, and how that may change.
 *
 * Each change is an entry of a log that all nodes apply in its order (coordinator_command.h): so it is a
 * compare-and-set on what all have decided so far.  A change takes what the asker knew (epoch, incarnation) and
 * does nothing if that is no longer so.
 *
 * Every node holds every shard; `replicas` of them vote, those of placement.h, the others learn.  How the members
 * of a shard follow their wanted ones is coordinator_members.h's.
 *
 * Invariants: members of a newest configuration are nodes of the state, by id, ascending; its voters as the
 * incarnations that they have now (their starts).  A learner may be an older one while the epoch is active: it
 * does not answer, and the shard is due.  Who was a voter of a pending epoch's predecessor is a member of it, as
 * long as it is the incarnation that it was.
 *
 * LSNs: no node lets a log grow past the lsn_ceiling of a state that it knows.  Who needs more asks for a grant
 * first, whatever its shards and whoever leads them; what begins again begins above it (coordinator_state_lsn_next).
 * So that is above every LSN that ever was visible: what was committed when most of a shard's voters were lost had
 * been written before, below a ceiling that this log has from before.  No clock has a part in it, nor has it to be
 * known who led or voted when.
 *
 * Pure.  Units: start  of a node, as listener.h issues them; its incarnation in every shard
 *               since  ordinal of a registration after the first decision, or of a wish to end; 0:
 *                      neither.  Who has a lower one is preferred
 * Source: DESIGN section 5; ruling.h for how one configuration follows from another. */
#ifndef DUNLIN_CONTROL_COORDINATOR_STATE_H
#define DUNLIN_CONTROL_COORDINATOR_STATE_H

#include "control/space_list.h"
#include "dataplane/configuration.h"

#define COORDINATOR_SHARDS_MAX 65536u
_Static_assert(COORDINATOR_SHARDS_MAX == LIMIT_SPACES * LIMIT_SHARDS, "of all spaces");
#define COORDINATOR_START_MAX ((UINT64_C(1) << 41) - 1) /* node_open's */
/* Of epochs, LSNs and all else that counts: room for what is added, and exact in JSON libraries' 64-bit
 * integers. */
#define COORDINATOR_NUMBER_MAX ((UINT64_C(1) << 62) - 1)

#define COORDINATOR_ADDRESS_BYTES 64u
#define COORDINATOR_WEIGHT_MAX 1000u
#define COORDINATOR_NODES_MIN 2u /* that are to vote, however many shards want */

enum coordinator_standing {
    COORDINATOR_MEMBER = 0,
    COORDINATOR_DRAINING = 1, /* it shall not vote; it learns */
    COORDINATOR_LEAVING = 2   /* neither; when no shard names it, it is no node any more */
};

struct coordinator_node {
    uint32_t id;
    uint32_t
        weight; /* 1 .. COORDINATOR_WEIGHT_MAX: its part of the votes, against those of others */
    uint32_t standing;           /* enum coordinator_standing */
    char zone[LIMIT_NAME_BYTES]; /* what may fail as a whole; "": none */
    /* Of its data plane, "host:port", as whoever added it said; "": as each node's own configuration says. */
    char address[COORDINATOR_ADDRESS_BYTES];
    char control[COORDINATOR_ADDRESS_BYTES]; /* likewise, of its control plane */
    uint64_t start;                          /* 0: it was added, and has not come yet */
    uint64_t since;
    uint64_t made; /* this start has carried out the list of spaces up to this number */
};

struct coordinator_shard {
    uint32_t log;
    uint32_t
        move; /* voter that is to lead it, until it does; 0: none.  Active: its leader is to let go */
    uint32_t
        promote; /* active: learner that votes when its leader has let go; pending: who just did; 0: none */
    struct configuration configuration; /* newest */
};

struct coordinator_state {
    uint64_t cluster; /* its id: nodes of another one are refused */
    uint64_t origin;  /* LSN at which every log of the cluster begins, chosen once */
    uint64_t
        spaces; /* fingerprint of the configurations' spaces and number of lcores: as coordinator_register.h */
    uint64_t lsn_ceiling; /* granted to all logs of the cluster: see below */
    uint64_t revision;    /* one more with each change */
    uint32_t replicas;    /* voters that a shard is to have, where there are as many nodes */
    uint32_t node_count;
    struct coordinator_node nodes[LIMIT_VOTERS];
    struct space_list list;            /* spaces made while it runs: coordinator_space.h */
    uint32_t shard_count;              /* 0: nothing is decided yet */
    struct coordinator_shard shards[]; /* by log, ascending */
};

static inline size_t coordinator_state_bytes(uint32_t shard_count)
{
    return sizeof(struct coordinator_state) + shard_count * sizeof(struct coordinator_shard);
}

/* Whether so many bytes are a word of a node's (zone, address): printable, without blanks, quotes or
 * backslashes, and from its end on all 0. */
bool coordinator_word_is_valid(const char *word, size_t bytes);

/* NULL if a state is one that a coordinator could have written, else what is wrong with it. */
const char *coordinator_state_fault(const struct coordinator_state *s);

/* Whether a state may follow one known before: of the same cluster, and nothing of it went back. */
bool coordinator_state_follows(const struct coordinator_state *s,
                               const struct coordinator_state *known);

/* The shard of a log, or NULL. */
const struct coordinator_shard *coordinator_state_find(const struct coordinator_state *s,
                                                       uint32_t log);
/* Likewise if that epoch is its newest; for those that change it. */
struct coordinator_shard *coordinator_state_shard(struct coordinator_state *s, uint32_t log,
                                                  uint64_t epoch);
/* The node of an id, or NULL. */
const struct coordinator_node *coordinator_state_node(const struct coordinator_state *s,
                                                      uint32_t id);
/* Shards in whose newest configuration a node votes, or learns. */
uint32_t coordinator_state_votes(const struct coordinator_state *s, uint32_t node);
uint32_t coordinator_state_learns(const struct coordinator_state *s, uint32_t node);

/* A node has started.  1: changed; every shard in which it votes has its new incarnation, all others are due;
 * 0: known already;
 * -ENOENT no such node, -ESTALE a higher start of it is known. */
MUST_USE int coordinator_state_register(struct coordinator_state *s, uint32_t node, uint64_t start);

/* Whether every node has registered: the first epochs may be decided. */
bool coordinator_state_is_complete(const struct coordinator_state *s);
/* Decide them, led by first choices: shards have their logs, and nothing else yet. */
void coordinator_state_begin(struct coordinator_state *s);

/* The leader of a pending epoch asks that it be active.  True: it was pending, and is. */
bool coordinator_state_activate(struct coordinator_state *s, uint32_t log, uint64_t epoch,
                                const struct member *leader);

/* The leader of an epoch has let go, or was waited for in vain.  True: an epoch led by the node that
 * it is to move to follows, or by another where that does not go on voting; with the members that are due. */
bool coordinator_state_let_go(struct coordinator_state *s, uint32_t log, uint64_t epoch);

/* Shards first .. last shall be led by a node, those in which it votes: an active leader is to let go; a pending one, which has
 * no rights, is replaced at once if the next one could lead what follows, else when its epoch is
 * active.  Returns how many changed; -ENOENT no such node or shard, or it votes in none of them, or is to vote no
 * more; -EAGAIN one has had no active epoch yet, then nothing changed. */
MUST_USE int64_t coordinator_state_move(struct coordinator_state *s, uint32_t first, uint32_t last,
                                        uint32_t node);

/* What a node leads, or is asked to, goes to that one of others (which are not it) that votes in it and has been
 * there for longest: who came back lately may hold nothing yet; to one that shall not go on voting only where
 * there is no other.  A shard in which none of them votes, that had no active epoch yet, or is lost, stays.
 * Returns how many changed; -ENOENT: none of them is a node. */
MUST_USE int64_t coordinator_state_leave(struct coordinator_state *s, uint32_t node,
                                         const uint32_t *others, uint32_t other_count);

/* The leader of a pending epoch was waited for in vain.  True: an epoch follows that is led by the next
 * voter, in their order, that may; a move to the one that could not is one to that, now. */
bool coordinator_state_pass_on(struct coordinator_state *s, uint32_t log, uint64_t epoch);
/* Whether it could: its newest epoch is pending, is not lost, and has a predecessor or is a new space's. */
bool coordinator_state_may_pass_on(const struct coordinator_state *s,
                                   const struct coordinator_shard *shard);

/* A node's start has ended without a word, as a majority of those that grant leader leases say.  What it leads
 * goes, by an epoch that follows, to the one of others (which are not it) that it was to move to; else to
 * those that have been there for longest, evenly by log.  What it was to lead stays where it is.  What nobody
 * of others may lead, or is lost, stays as well.  The node stays a voter, and is asked last from here on.
 * Returns how much changed, 0 when it is known already, or
 *   -ENOENT  no such node
 *   -ESTALE  a later start of it is known, which is somebody else.  One later than the known one is not: that
 *            ended before it. */
MUST_USE int64_t coordinator_state_fail(struct coordinator_state *s, uint32_t node, uint64_t start,
                                        const uint32_t *others, uint32_t other_count);

/* The lowest LSN above all that was granted. */
uint64_t coordinator_state_lsn_next(const struct coordinator_state *s);
/* Something begins at an LSN: there is a grant of room from there on. */
void coordinator_state_lsn_reach(struct coordinator_state *s, uint64_t lsn);
/* A node's logs come near the ceiling that it knows.  True: it was that, and is one grant higher. */
bool coordinator_state_lsn_grant(struct coordinator_state *s, uint64_t known);

/* Give up every shard that nobody holds anything of any more (ruling_is_gone): it begins again, empty, above
 * every LSN that was granted.  Returns how many. */
uint32_t coordinator_state_give_up(struct coordinator_state *s);

/* A node is about to end: of those that could lead, others are asked before it (coordinator_state_leave). */
void coordinator_state_retire(struct coordinator_state *s, uint32_t node);

/* Shards that a node leads, or is asked to, and that another one could lead instead. */
uint32_t coordinator_state_duties(const struct coordinator_state *s, uint32_t node);

/* ---- nodes that come and go, and what becomes of the votes ---- */

enum coordinator_node_kind {
    COORDINATOR_NODE_ADD = 1, /* weight, zone, address, control */
    COORDINATOR_NODE_DRAIN = 2,
    COORDINATOR_NODE_UNDRAIN = 3,
    COORDINATOR_NODE_REMOVE = 4
};
struct coordinator_node_asked {
    enum coordinator_node_kind kind;
    uint32_t id, weight;
    char zone[LIMIT_NAME_BYTES];
    char address[COORDINATOR_ADDRESS_BYTES], control[COORDINATOR_ADDRESS_BYTES];
};

struct coordinator_recover_asked {
    uint32_t first, last; /* log numbers, both included; 0 .. UINT32_MAX: all */
    uint32_t from;        /* the one survivor that counts; 0: the best of all that are up */
    uint32_t up[LIMIT_VOTERS];
    uint32_t up_count;
};

/* Above 0: it is so from now on; 0: it was; else nothing changed, for what a NODE is refused for:
 * coordinator_command.h. */
MUST_USE int64_t coordinator_state_node_change(struct coordinator_state *s,
                                               const struct coordinator_node_asked *asked);

/* Forget nodes that leave and that no shard names any more.  True: there were such. */
bool coordinator_state_sweep(struct coordinator_state *s);

/* Whether a node is to vote in a log. */
bool coordinator_state_wants(const struct coordinator_state *s, uint32_t log, uint32_t node);

/* The leader of an active epoch says that a learner of it has kept up. */
struct coordinator_promotion {
    struct member leader;
    uint64_t epoch;
    uint32_t log, learner;
};
/* True: it is wanted, and the leader is asked to let go, so that it may vote.  One at a time. */
bool coordinator_state_promote(struct coordinator_state *s, const struct coordinator_promotion *p);

/* Shards that are lost (ruling_is_lost) begin a lossy epoch with what survivors hold that are up, or where there
 * is nobody left, with nothing.  Returns how many; 0: none is lost; -ENOENT: there is no such shard, or no such
 * survivor in any of them. */
MUST_USE int64_t coordinator_state_recover(struct coordinator_state *s,
                                           const struct coordinator_recover_asked *asked);

struct coordinator_counts {
    uint32_t shards, pending, moving;
    uint32_t lost; /* for good, of which */
    uint32_t gone; /* nobody holds anything */
};
void coordinator_state_counts(const struct coordinator_state *s, struct coordinator_counts *counts);

#endif
