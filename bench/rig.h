/* rig - one node's engine driven by the calling thread, without agents, rings and sockets: what a
 * write costs where it is carried out.
 *
 * It does what the poll loop does with a batch of requests (prefetch buckets, prefetch records,
 * write, commit, take the answers, housekeeping with cleaner and reclamation), in sessions as
 * agents have them; the answers go to agents that are not there and are dropped. */
#ifndef DUNLIN_BENCH_RIG_H
#define DUNLIN_BENCH_RIG_H

#include "bench/pairs.h"
#include "bench/passes.h"
#include "bench/sampler.h"
#include "dataplane/lcore.h"

#include <pthread.h>

#define RIG_BATCH_MAX 512u
#define RIG_SESSIONS 8u /* per shard: their windows together hold the greatest batch */
_Static_assert(RIG_SESSIONS *LIMIT_SESSION_WINDOW >= RIG_BATCH_MAX, "a batch fits the windows");

struct rig_shape {
    uint32_t key_count;
    uint32_t shard_count;
    uint64_t quota_bytes;
    bool unordered; /* the space keeps no order of its keys */
    bool shuffled;  /* first written in random order: 2^10 keys, or a higher power of two */
    bool grows;     /* chunks are made as they are asked for, by a thread of its own */
};

struct rig_session {
    uint64_t lsn;
    uint64_t sequence;
    uint32_t slot;
};

struct rig {
    struct rig_shape shape;
    struct node node;
    struct node_space *space;
    struct lcore *lcore;
    struct rig_session *sessions; /* RIG_SESSIONS of shard 0, of shard 1 ... */
    uint64_t position;
    uint64_t fill_ns;      /* what writing every key once took */
    struct passes *passes; /* that count the passes; NULL: nobody does */
    pthread_t keeper;      /* of a rig that grows */
    _Atomic bool stop;     /* it is to end */
};

/* Quota for so many keys of the benches: twice what they need, so that the cleaner has the room it has in
 * use. */
uint64_t rig_quota_for(uint32_t key_count);

/* Make the node, all its memory, and write every key once.  Owned by the caller until rig_delete.
 * Returns NULL after a word on stderr. */
struct rig *rig_new(const struct rig_shape *shape);
void rig_delete(struct rig *r);

/* One pass that writes count (up to RIG_BATCH_MAX) keys, by their numbers (keys.h).  Where memory is still
 * to be made, it takes several.  Returns 0 or -errno: end the bench. */
MUST_USE int rig_pass(struct rig *r, const uint32_t *numbers, uint32_t count);

/* One side of a comparison: a rig and the batch it writes in. */
struct rig_side {
    struct rig *rig;
    uint32_t batch;
    struct sampler *sampler; /* its group is the batch, or a multiple of it */
};

/* pairs_measure of writes to random keys; context is a struct rig_side. */
int rig_measure(void *context, uint64_t duration_ns, double *value);

/* Bytes copied by the cleaner and bytes appended so far. */
void rig_amplification(const struct rig *r, uint64_t *cleaned, uint64_t *appended);

#endif
