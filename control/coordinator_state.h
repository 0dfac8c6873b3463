/* coordinator_state - what the file of the static coordinator says, and how that may change.
 *
 * Whoever changes a state read it under the file's lock just before, and writes it before the lock is let
 * go (coordinator_file.c): so each change here is a compare-and-set on what all have decided so far.
 * A change takes what the asker knew (epoch, incarnation) and does nothing if that is no longer so.
 *
 * Invariant: the voters of each shard's newest configuration are all nodes, in their order, each as the
 * incarnation that it has now (its start).
 *
 * Pure.  Units: start  of a node, as listener.h issues them; its incarnation in every shard
 *               since  ordinal of a registration after the first decision, or of a wish to end; 0:
 *                      neither.  Who has a lower one is preferred
 * Source: DESIGN section 5; ruling.h for how one configuration follows from another. */
#ifndef DUNLIN_CONTROL_COORDINATOR_STATE_H
#define DUNLIN_CONTROL_COORDINATOR_STATE_H

#include "dataplane/configuration.h"

#define COORDINATOR_SHARDS_MAX 65536u
_Static_assert(COORDINATOR_SHARDS_MAX == LIMIT_SPACES * LIMIT_SHARDS, "of all spaces");
#define COORDINATOR_START_MAX ((UINT64_C(1) << 41) - 1) /* node_open's */
/* Of epochs, LSNs and all else that counts: room for what is added, and exact in JSON libraries' 64-bit
 * integers. */
#define COORDINATOR_NUMBER_MAX ((UINT64_C(1) << 62) - 1)

struct coordinator_node {
    uint32_t id;
    uint64_t start; /* 0: never registered */
    uint64_t since;
};

struct coordinator_shard {
    uint32_t log;
    uint32_t
        move; /* node that is to lead it, until it does; 0: none.  Active: its leader is to let go */
    struct configuration configuration; /* newest */
};

struct coordinator_state {
    uint64_t cluster, origin, spaces; /* as coordinator_file.h says */
    uint64_t lsn_ceiling;             /* likewise; 0: not known */
    uint64_t revision;                /* of the file: one more with each write */
    uint32_t node_count;
    struct coordinator_node nodes[LIMIT_VOTERS];
    uint32_t shard_count;              /* 0: nothing is decided yet */
    struct coordinator_shard shards[]; /* by log, ascending */
};

static inline size_t coordinator_state_bytes(uint32_t shard_count)
{
    return sizeof(struct coordinator_state) + shard_count * sizeof(struct coordinator_shard);
}

/* NULL if a state is one that a coordinator could have written, else what is wrong with it. */
const char *coordinator_state_fault(const struct coordinator_state *s);

/* Whether a state may follow one known before: of the same cluster, and nothing of it went back. */
bool coordinator_state_follows(const struct coordinator_state *s,
                               const struct coordinator_state *known);

/* The shard of a log, or NULL. */
const struct coordinator_shard *coordinator_state_find(const struct coordinator_state *s,
                                                       uint32_t log);

/* A node has started.  1: changed; every shard has its new incarnation; 0: known already;
 * -ENOENT no such node, -ESTALE a higher start of it is known. */
MUST_USE int coordinator_state_register(struct coordinator_state *s, uint32_t node, uint64_t start);

/* Whether every node has registered: the first epochs may be decided. */
bool coordinator_state_is_complete(const struct coordinator_state *s);
/* Decide them: shards have their logs, and nothing else yet. */
void coordinator_state_begin(struct coordinator_state *s);

/* The leader of a pending epoch asks that it be active.  True: it was pending, and is. */
bool coordinator_state_activate(struct coordinator_state *s, uint32_t log, uint64_t epoch,
                                const struct member *leader);

/* The leader of an epoch has let go, or was waited for in vain.  True: an epoch led by the node that
 * it is to move to follows. */
bool coordinator_state_let_go(struct coordinator_state *s, uint32_t log, uint64_t epoch);

/* Shards first .. last shall be led by a node: an active leader is to let go; a pending one, which has
 * no rights, is replaced at once if the next one could lead what follows, else when its epoch is
 * active.  Returns how many changed; -ENOENT no such node or shard; -EAGAIN one has had no active epoch
 * yet, then nothing changed. */
MUST_USE int64_t coordinator_state_move(struct coordinator_state *s, uint32_t first, uint32_t last,
                                        uint32_t node);

/* What a node leads, or is asked to, goes to that one of others (which are not it) that has been there
 * for longest: who came back lately may hold nothing yet.  A shard that had no active epoch yet, or is lost,
 * stays.
 * Returns how many changed; -ENOENT: none of them is a node. */
MUST_USE int64_t coordinator_state_leave(struct coordinator_state *s, uint32_t node,
                                         const uint32_t *others, uint32_t other_count);

/* The leader of a pending epoch was waited for in vain.  True: an epoch follows that is led by the next
 * node, in their order, that may; a move to the one that could not is one to that, now. */
bool coordinator_state_pass_on(struct coordinator_state *s, uint32_t log, uint64_t epoch);

/* Give up every shard that nobody holds anything of any more (ruling_is_gone): it begins again, empty, above
 * every LSN that was granted as far as that is known, and above all that the clock allowed for.  Returns how
 * many. */
uint32_t coordinator_state_give_up(struct coordinator_state *s);

/* A node is about to end: of those that could lead, others are asked before it (coordinator_state_leave). */
void coordinator_state_retire(struct coordinator_state *s, uint32_t node);

/* Shards that a node leads, or is asked to, and that another one could lead instead. */
uint32_t coordinator_state_duties(const struct coordinator_state *s, uint32_t node);

/* Highest floor of a lossy epoch; 0: there is none. */
uint64_t coordinator_state_lsn_floor(const struct coordinator_state *s);

struct coordinator_counts {
    uint32_t shards, pending, moving;
    uint32_t lost; /* for good, of which */
    uint32_t gone; /* nobody holds anything */
};
void coordinator_state_counts(const struct coordinator_state *s, struct coordinator_counts *counts);

#endif
