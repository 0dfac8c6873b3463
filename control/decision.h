/* decision - what a coordinator has decided about the shards of this process, where lcores can read it.
 *
 * One decision tells of all shards, by log number; a new one replaces it as a whole.  A coordinator
 * makes one, fills it, and publishes it to those lcores whose wakes it has.
 *
 * Threads: the reading functions are lcores', or a coordinator's own; publish and tell are for one thread
 *   at a time, registered with RCU and offline (rcu.h); wakes are opened and closed while no lcore runs.
 * Memory order: R1 newest (release, publish) -> R1 (acquire, decision_newest): the decision is whole.
 *   E1 version (release) -> E2 (acquire): cluster.h.
 * Memory: a published decision is freed when the next one is, or by decisions_fini. */
#ifndef DUNLIN_CONTROL_DECISION_H
#define DUNLIN_CONTROL_DECISION_H

#include "dataplane/configuration.h"
#include "dataplane/node.h"

enum decision_state {
    DECISION_PENDING = 0,
    DECISION_ACTIVE = 1,
    DECISION_REPLACED = 2, /* by a higher epoch before it was active */
};

/* One shard. */
struct decision_shard {
    uint32_t log;
    struct configuration configuration; /* as decided; its word active is not kept up to date */
    _Atomic uint32_t state;             /* enum decision_state; leaves PENDING once, for good */
    _Atomic bool hands_over;            /* another leader will follow */
    _Atomic bool handed_over;
};

/* What is not atomic in it never changes once it is published. */
struct decision {
    uint32_t count;
    _Atomic uint32_t active, handed_over; /* shards that are, where a coordinator counts them */
    struct decision_shard shards[];       /* by log, ascending */
};

/* How the lcores of a node are woken: eventfds that nobody reads; an edge comes with every write. */
struct decision_wakes {
    uint32_t count;
    int fds[LIMIT_LCORES];
};

struct decisions {
    _Atomic(struct decision *) newest; /* RCU */
    _Atomic uint64_t version;          /* cluster.h */
    uint32_t node_count;               /* of this process */
    struct decision_wakes wakes[LIMIT_VOTERS];
};

/* Add the wakes of one node more.  Returns 0 or -errno; what was opened, decisions_fini closes. */
MUST_USE int decisions_wake(struct decisions *d, const struct node *n);

/* After the lcores stopped: close and free all. */
void decisions_fini(struct decisions *d);

/* All zero; the caller's until it is published; or NULL.  free() it if it never is. */
struct decision *decision_make(uint32_t count);

/* Replace the newest decision, tell the lcores, wait until none of them can read the one before. */
void decisions_publish(struct decisions *d, struct decision *next);

/* Something atomic in the newest one has changed: move the version, wake the lcores. */
void decisions_tell(struct decisions *d);

/* Good until the caller is quiescent; NULL before the first one was published. */
static inline struct decision *decision_newest(const struct decisions *d)
{
    return atomic_load_explicit(&d->newest, memory_order_acquire); /* R1 */
}

/* The shard of a log, or NULL. */
struct decision_shard *decision_find(struct decision *d, uint32_t log);
/* The same if this epoch is its newest. */
struct decision_shard *decision_at(struct decision *d, uint32_t log, uint64_t epoch);

/* As node_cluster.configuration says. */
bool decision_configuration(struct decision *d, uint32_t log, uint64_t known_epoch,
                            struct configuration *copy);

#endif
