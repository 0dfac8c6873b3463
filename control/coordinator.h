/* coordinator - who decides which start of each node counts, who leads each shard, in which epoch, and whether
 * that epoch is active; and what lcores of this process are told of it and ask.
 *
 * Body: coordinator_raft.h, a log that the nodes replicate; tests have another one.
 * What they have in common is here: the newest state that is known, as lcores read it (decision.h), what
 * lcores ask (in atomic words; they wake control, which carries it to the body in coordinator_step), and how long
 * leaders are waited for.
 *
 * A move: the leader is asked to let go of its rights (hand-over); when it said so, or after
 * COORDINATOR_HAND_OVER_NS without, an epoch with the next leader follows.  It is given up when the node
 * that was to lead restarts.
 *
 * An epoch that is pending for COORDINATOR_PASS_ON_NS, and could be active, is followed by one with the next
 * leader that may: the one it has is down, or came back lately and needs a snapshot first.
 *
 * Threads: control's, but for what it puts into node.cluster, which is for the lcores and lock-free.
 * Source: Lamport, Malkhi, Zhou, "Vertical Paxos" (2009): a configuration master outside the replicas. */
#ifndef DUNLIN_CONTROL_COORDINATOR_H
#define DUNLIN_CONTROL_COORDINATOR_H

#include "control/coordinator_command.h"
#include "control/coordinator_news.h"
#include "control/coordinator_space.h"
#include "control/coordinator_state.h"
#include "control/decision.h"
#include "dataplane/cluster.h"
#include "dataplane/node.h"

#define COORDINATOR_HAND_OVER_NS NS_PER_S
#define COORDINATOR_PASS_ON_NS (3 * NS_PER_S) /* at first; twice as long with each time in a row */
#define COORDINATOR_LOOK_NS (100 * NS_PER_MS) /* step looks this often, told or not */

struct coordinator;

struct coordinator_body {
    int (*await)(struct coordinator *c, uint32_t timeout_ms);
    int (*step)(struct coordinator *c);
    int (*fd)(const struct coordinator *c);
    int64_t (*move)(struct coordinator *c, uint32_t first, uint32_t last, uint32_t node);
    int64_t (*leave)(struct coordinator *c, const uint32_t *others, uint32_t other_count);
    int (*retire)(struct coordinator *c);
    int64_t (*space)(struct coordinator *c, const struct coordinator_space_asked *asked);
    int64_t (*node_change)(struct coordinator *c, const struct coordinator_node_asked *asked);
    int64_t (*recover)(struct coordinator *c, const struct coordinator_recover_asked *asked);
    void (*close)(struct coordinator *c);
};

/* What lcores ask for a shard: written by the one that owns it, read by control.  A word holds an
 * epoch, and nothing ever takes it out: one that is not the newest asks for nothing. */
struct coordinator_ask {
    _Atomic uint64_t activate, handed_over;
    /* Learners of an epoch that may vote: bit i for the one at i, below the epoch (of which that cuts off what
     * none ever has). */
    _Atomic uint64_t fit;
};
#define COORDINATOR_FIT_BITS 8u
_Static_assert(LIMIT_PEERS <= COORDINATOR_FIT_BITS, "a bit for each learner");

/* Since when an epoch's leader is waited for, to let go or to be active; control's. */
struct coordinator_wait {
    uint64_t epoch, since_ns;
    bool was_active;
    uint32_t doublings; /* of the wait for a pending one */
};

/* The first member of each body's own; internal to them. */
struct coordinator {
    const struct coordinator_body *body;
    struct coordinator_state *state; /* newest that is known */
    struct member self;
    bool reopens_lost;
    uint32_t gone; /* shards of the state that nobody holds */
    /* Ceiling of LSNs that the node's logs come near to; asked for is more than that.  0: none does. */
    uint64_t lsn_short;
    struct coordinator_news news;
    /* from join on */
    struct node *node;
    struct node_cluster cluster;
    struct decisions decisions;
    /* By space, LIMIT_SHARDS each; made before a decision names its shards, kept until the end. */
    struct coordinator_ask *asks[LIMIT_SPACES + 1];
    struct coordinator_wait *waits[LIMIT_SPACES + 1];
};

/* ---- for everybody ---- */

/* Wait until every node has registered once, which is when the first epochs are decided.  At most
 * timeout_ms; returns 0, -ETIMEDOUT (call again), or -errno.  One that has decisions waits for nobody. */
MUST_USE static inline int coordinator_await(struct coordinator *c, uint32_t timeout_ms)
{
    return c->body->await(c, timeout_ms);
}

/* After the node's spaces were added, before its lcores start: fill and set node->cluster (no
 * transport).  Returns 0, -EEXIST (the node's shards are not those of the state), -ENOMEM, or -errno of the
 * eventfds that wake lcores. */
MUST_USE int coordinator_join(struct coordinator *c, struct node *node);

/* Carry what lcores asked to the body, take what others decided, publish it.  Control calls it when it was
 * woken (node.wake_control), when the descriptor below is readable, and every COORDINATOR_LOOK_NS.
 * Returns 0, or -errno: the body cannot be read or written now; nothing is lost, call again.  Among them
 *   -EAGAIN   others write, or it is under way: usual for a moment
 *   -ESTALE   a later start of this node has registered: this one decides nothing any more, end it
 *   those of the body. */
MUST_USE static inline int coordinator_step(struct coordinator *c)
{
    return c->body->step(c);
}

/* Readable when there may be something new; -1: not to be had here, the period will do. */
static inline int coordinator_fd(const struct coordinator *c)
{
    return c->body->fd(c);
}

/* Move leadership of the shards with log numbers first .. last (both included, of one space or of all:
 * 0 .. UINT32_MAX) to a node.  Returns how many are to move (0: it leads all of them, or is asked to), or
 *   -ENOENT    no such node or shard
 *   -EAGAIN    a first epoch is not active yet
 *   -EBUSY     others write, and do not come to an end
 *   those of the body.
 * It is done when coordinator_state_counts says that none is moving. */
MUST_USE static inline int64_t coordinator_move(struct coordinator *c, uint32_t first,
                                                uint32_t last, uint32_t node)
{
    return c->body->move(c, first, last, node);
}

/* Move what this node leads to one of these others: coordinator_state_leave.  Returns how many are to move,
 * -ENOENT (no others), -ESTALE (a later start of this node leads them), or as coordinator_move. */
MUST_USE static inline int64_t coordinator_leave(struct coordinator *c, const uint32_t *others,
                                                 uint32_t other_count)
{
    return c->body->leave(c, others, other_count);
}

/* Say that this node is about to end, so that others hand over what they lead to it only if there is nobody
 * else.  Returns 0, or -errno as coordinator_leave: then they do not know. */
MUST_USE static inline int coordinator_retire(struct coordinator *c)
{
    return c->body->retire(c);
}

/* Spaces that are made while the cluster runs.  Returns as coordinator_space_apply, -EBUSY, or those of the
 * body.  It is done at a node when control there carried it out (cluster_space.h). */
MUST_USE static inline int64_t coordinator_space(struct coordinator *c,
                                                 const struct coordinator_space_asked *asked)
{
    return c->body->space(c, asked);
}

/* A node comes, drains or goes.  Returns above 0: it is so from now on (what follows from it is in the state, as
 * it comes), 0: it was already, as coordinator_command_apply says of a NODE, -EBUSY, or those of the body. */
MUST_USE static inline int64_t coordinator_node_change(struct coordinator *c,
                                                       const struct coordinator_node_asked *asked)
{
    return c->body->node_change(c, asked);
}

/* Shards that are lost begin again, from what survivors hold: what was committed may be gone.  Returns how many,
 * 0: none of these is lost, as coordinator_command_apply says of a RECOVER, -EBUSY, or those of the body. */
MUST_USE static inline int64_t coordinator_recover(struct coordinator *c,
                                                   const struct coordinator_recover_asked *asked)
{
    return c->body->recover(c, asked);
}

/* The newest state that is known, good until the next call that is not const. */
static inline const struct coordinator_state *coordinator_known(const struct coordinator *c)
{
    return c->state;
}

/* coordinator_state_duties of this node. */
static inline uint32_t coordinator_duties(const struct coordinator *c)
{
    return coordinator_state_duties(c->state, c->self.node);
}

/* Up to where logs of the node may go, as far as is known here.  is_short: one comes near it, so that more is asked
 * for with the next steps. */
static inline uint64_t coordinator_lsn_granted(struct coordinator *c, bool is_short)
{
    c->lsn_short = is_short ? c->state->lsn_ceiling : 0;
    return c->state->lsn_ceiling;
}

/* Newest decision about a log, good until the next call that is not const; NULL: there is none. */
static inline const struct coordinator_shard *coordinator_shard(const struct coordinator *c,
                                                                uint32_t log)
{
    return coordinator_state_find(c->state, log);
}

/* A copy of what it says who holds the shard.  False: there is none. */
static inline bool coordinator_configuration(const struct coordinator *c, uint32_t log,
                                             struct configuration *copy)
{
    const struct coordinator_shard *s = coordinator_shard(c, log);
    if (s != NULL)
        *copy = s->configuration;
    return s != NULL;
}

/* After the lcores stopped; the registration stays.  c may be NULL. */
static inline void coordinator_close(struct coordinator *c)
{
    if (c != NULL)
        c->body->close(c);
}

/* ---- for bodies ---- */

/* A state that follows the one that is known is the newest; it is this coordinator's to free from here on,
 * whatever comes.  Returns 0 or -ENOMEM: it is gone, the one before stands. */
MUST_USE int coordinator_take(struct coordinator *c, struct coordinator_state *s);

enum coordinator_wish {
    COORDINATOR_WISH_NONE,
    COORDINATOR_WISH_ACTIVATE, /* asked by our own lcore */
    COORDINATOR_WISH_LET_GO,   /* its leader has, or was waited for long enough */
    COORDINATOR_WISH_PASS_ON, /* its leader was waited for in vain: whoever says so first is right */
    COORDINATOR_WISH_PROMOTE, /* a learner that our own lcore leads is wanted, and has kept up */
};
/* What is asked for a shard of any state.  now: by clock_boottime_ns. */
enum coordinator_wish coordinator_wish(struct coordinator *c, const struct coordinator_shard *s,
                                       uint64_t now);
/* The learner of a wish to promote; 0: there is none. */
uint32_t coordinator_fit(const struct coordinator *c, const struct coordinator_shard *s);
/* The command that carries the most urgent of what is asked, of all shards that ask for it; epochs: room for
 * COORDINATOR_SHARDS_MAX, good as long as the command.  False: nothing is asked; always before join. */
bool coordinator_asks(struct coordinator *c, uint64_t now, struct coordinator_epoch *epochs,
                      struct coordinator_command *command);

/* It was a node of the cluster that has begun, and was removed: nothing is asked of it any more. */
bool coordinator_is_removed(const struct coordinator *c);

/* Another daemon runs under our id: it is its to ask. */
bool coordinator_is_superseded(const struct coordinator *c);

/* The opposite of join, and free what is here but the body's own. */
void coordinator_fini(struct coordinator *c);

#endif
