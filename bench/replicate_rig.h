/* replicate_rig - three replicas of a space in the calling thread, and batches of writes: what a
 * replicated write costs all its nodes together, without agents, rings, sockets and networks.
 *
 * A batch is written to the leader in sessions, as agents do, fed to both followers, landed,
 * checked, indexed and acknowledged there, committed and answered; then every node does its
 * housekeeping.  Batches follow each other as they do in a poll loop that has requests waiting: the
 * pass that takes one commits and answers the one before, and one message to each follower carries both
 * the bytes and that commit, as libraft's do. */
#ifndef DUNLIN_BENCH_REPLICATE_RIG_H
#define DUNLIN_BENCH_REPLICATE_RIG_H

#include "bench/pairs.h"
#include "bench/replicate_node.h"
#include "bench/sampler.h"

#define REPLICATE_BATCH_MAX 512u
#define REPLICATE_SESSIONS                                                                         \
    16u /* per shard: their windows together hold two of the greatest batch */
_Static_assert(REPLICATE_SESSIONS *LIMIT_SESSION_WINDOW >= 2 * REPLICATE_BATCH_MAX, "batches fit");

struct replicate_session {
    uint64_t lsn;
    uint64_t sequence;
    uint32_t slot;
};

struct replicate_rig {
    struct replicate_shape shape;
    struct replicate_node nodes[REPLICATE_NODES];
    struct replicate_session *sessions; /* of shard 0, of shard 1 ... */
    uint64_t position;                  /* writes taken so far */
    uint64_t opened;                    /* sessions */
};

/* Make the nodes, all their memory, and write every key once.  Owned by the caller until
 * replicate_rig_delete.  Returns NULL after a word on stderr. */
struct replicate_rig *replicate_rig_new(const struct replicate_shape *shape);
void replicate_rig_delete(struct replicate_rig *r);

/* Whether both followers hold all that the leader has, it is committed, and every answer was OK. */
bool replicate_rig_agrees(const struct replicate_rig *r);

/* One side of a comparison: a rig and the batch it writes in. */
struct replicate_side {
    struct replicate_rig *rig;
    uint32_t batch;
    struct sampler *sampler; /* its group is the batch, or a multiple of it */
};

/* pairs_measure of writes to random keys; context is a struct replicate_side. */
int replicate_rig_measure(void *context, uint64_t duration_ns, double *value);

/* Bytes copied by the leader's cleaner and bytes appended so far. */
void replicate_rig_amplification(const struct replicate_rig *r, uint64_t *cleaned,
                                 uint64_t *appended);

#endif
