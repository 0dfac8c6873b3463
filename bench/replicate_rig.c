#include "bench/replicate_rig.h"

#include "bench/keys.h"
#include "engine/hash.h"

#include <stdio.h>
#include <stdlib.h>

#define FILL_BATCH 64u
#define ROUNDS_MAX 1000u /* of messages until a batch is answered */
#define LEADER 0u

/* One write of a batch, made before it is timed as a request of an agent would be. */
struct request {
    char key[KEYS_LENGTH];
    uint64_t hash;
    uint32_t shard;
};

static void make_request(const struct replicate_rig *r, uint64_t number, struct request *q)
{
    keys_text((uint32_t)number, q->key);
    q->hash = hash_key(q->key, KEYS_LENGTH);
    q->shard = hash_shard(q->key, KEYS_LENGTH, q->hash, 0, r->shape.shard_count);
}

/* A number below key_count for the nth write, as good as random. */
static ALWAYS_INLINE uint64_t number_of(const struct replicate_rig *r, uint64_t nth)
{
    uint64_t x = nth * UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return (x >> 32) * r->shape.key_count >> 32;
}

static struct replicate_session *session_of(const struct replicate_rig *r, const struct request *q,
                                            uint64_t nth)
{
    return &r->sessions[q->shard * REPLICATE_SESSIONS + (uint32_t)(nth % REPLICATE_SESSIONS)];
}

/* As the poll loop fetches it; its requests bring their session along. */
static void prefetch(const struct replicate_rig *r, const struct request *requests, uint32_t count)
{
    struct shard *const *shards = r->nodes[LEADER].shards;
    for (uint32_t i = 0; i < count; i++) {
        PREFETCH(session_of(r, &requests[i], r->position + i));
        shard_prefetch_self(shards[requests[i].shard]);
    }
    for (uint32_t i = 0; i < count && r->shape.shard_count > 1; i++)
        shard_prefetch_board(shards[requests[i].shard]);
    for (uint32_t i = 0; i < count; i++) {
        const struct request *q = &requests[i];
        const struct replicate_session *session = session_of(r, q, r->position + i);
        shard_prefetch(shards[q->shard], q->hash);
        shard_prefetch_session(shards[q->shard], session->slot, session->sequence + 1);
    }
    for (uint32_t i = 0; i < count; i++)
        shard_prefetch_record(shards[requests[i].shard], requests[i].hash);
}

static int write_one(struct replicate_rig *r, const struct request *q)
{
    static const uint64_t value[KEYS_VALUE_BYTES / 8] = {0x64756e6c696e};
    struct replicate_node *leader = &r->nodes[LEADER];
    struct shard *shard = leader->shards[q->shard];
    struct replicate_session *session = session_of(r, q, r->position);
    struct shard_write w = {
        .origin = {.operation = RING_PUT, .generation = UINT64_MAX},
        .hash = q->hash,
        .key = q->key,
        .value = value,
        .value_length = sizeof value,
        .key_length = KEYS_LENGTH,
        .session_slot = session->slot,
        .session = session->lsn,
        .sequence = session->sequence + 1,
        .clock_ns = leader->clock_ns,
    };
    replicate_node_mark(leader, shard); /* refused for now, it needs housekeeping, too */
    int rc = shard_write(shard, &w);
    if (LIKELY(rc == 0)) {
        session->sequence++;
        r->position++;
    }
    return rc;
}

/* Take as many requests as there is room for now.  Returns 0 or what refused one. */
static int requests_take(struct replicate_rig *r, const struct request *requests, uint32_t count,
                         uint32_t *taken)
{
    if (count == 0)
        return 0;
    replicate_node_clock(&r->nodes[LEADER]);
    for (uint32_t fetched = 0; *taken < count; (*taken)++) {
        if (*taken >= fetched) {
            uint32_t more = (uint32_t)min_u64(LIMIT_BATCH, count - *taken);
            prefetch(r, requests + *taken, more);
            fetched = *taken + more;
        }
        int rc = write_one(r, &requests[*taken]);
        if (UNLIKELY(rc != 0))
            return rc == -EAGAIN ? 0 : rc > 0 ? -EDQUOT : rc;
    }
    return 0;
}

/* A pass of every node: the leader's takes what it can of the requests. */
static int pass(struct replicate_rig *r, const struct request *requests, uint32_t count,
                uint32_t *taken)
{
    int rc = 0;
    for (uint32_t i = 0; i < REPLICATE_NODES; i++) {
        struct replicate_node *n = &r->nodes[i];
        replicate_node_begin(n);
        replicate_node_deliver(n, r->nodes);
        if (i == LEADER)
            rc = requests_take(r, requests, count, taken);
        replicate_node_decide(n, r->nodes);
        replicate_node_finish(n);
    }
    return rc;
}

/* One batch, until it is with the followers and all before it is answered. */
static int write_batch(struct replicate_rig *r, const struct request *requests, uint32_t count)
{
    const struct replicate_node *leader = &r->nodes[LEADER];
    uint64_t due = r->opened + r->position;
    uint32_t rounds = 0, taken = 0;
    do {
        int rc = pass(r, requests, count, &taken);
        if (rc != 0)
            return rc;
        if (++rounds > ROUNDS_MAX)
            return -ETIMEDOUT;
    } while (taken != count || leader->answer_count < due);
    return leader->refused_count == 0 ? 0 : -EPROTO;
}

/* Until all is answered. */
static int drain(struct replicate_rig *r)
{
    return write_batch(r, NULL, 0);
}

/* ---- making ---- */

static int fill(struct replicate_rig *r)
{
    struct request requests[FILL_BATCH];
    int rc = 0;
    for (uint64_t number = 0; number < r->shape.key_count && rc == 0;) {
        uint32_t count = 0;
        while (count < FILL_BATCH && number < r->shape.key_count)
            make_request(r, number++, &requests[count++]);
        rc = write_batch(r, requests, count);
    }
    return rc == 0 ? drain(r) : rc;
}

/* The answer to its opening names a session; here the record appended does, before it is. */
static int sessions_open(struct replicate_rig *r)
{
    struct replicate_node *leader = &r->nodes[LEADER];
    replicate_node_begin(leader);
    replicate_node_clock(leader);
    for (uint32_t i = 0; i < r->shape.shard_count * REPLICATE_SESSIONS; i++) {
        struct shard *shard = leader->shards[i / REPLICATE_SESSIONS];
        struct shard_origin origin = {.operation = RING_SESSION_OPEN};
        uint8_t id[SESSION_ID_BYTES] = {0};
        memcpy(id, &i, sizeof i);
        int rc = shard_session_open(shard, &origin, id, 0, leader->clock_ns);
        if (rc != 0)
            return rc > 0 ? -EUSERS : rc;
        uint32_t slot = session_find(&shard->sessions, id);
        r->sessions[i] = (struct replicate_session){
            .lsn = shard->sessions.entries[slot].lsn_opened,
            .slot = slot,
        };
        replicate_node_mark(leader, shard);
    }
    r->opened = (uint64_t)r->shape.shard_count * REPLICATE_SESSIONS;
    return drain(r);
}

static int nodes_open(struct replicate_rig *r)
{
    for (uint32_t i = 0; i < REPLICATE_NODES; i++) {
        int rc = replicate_node_open(&r->nodes[i], i, &r->shape);
        if (rc == 0)
            continue;
        while (i-- > 0)
            replicate_node_close(&r->nodes[i]);
        return rc;
    }
    return 0;
}

struct replicate_rig *replicate_rig_new(const struct replicate_shape *shape)
{
    struct replicate_rig *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->shape = *shape;
    r->shape.sessions_max = REPLICATE_SESSIONS;
    r->sessions = calloc((size_t)shape->shard_count * REPLICATE_SESSIONS, sizeof *r->sessions);
    int rc = r->sessions == NULL ? -ENOMEM : nodes_open(r);
    if (rc == 0) {
        rc = replicate_nodes_lead(r->nodes);
        if (rc == 0)
            rc = sessions_open(r);
        if (rc == 0)
            rc = fill(r);
        if (rc == 0)
            return r;
        for (uint32_t i = 0; i < REPLICATE_NODES; i++)
            replicate_node_close(&r->nodes[i]);
    }
    (void)fprintf(stderr, "dunlin-bench: no replicas of %u keys in %u shards: %s\n",
                  shape->key_count, shape->shard_count, strerror(-rc));
    free(r->sessions);
    free(r);
    return NULL;
}

void replicate_rig_delete(struct replicate_rig *r)
{
    if (r == NULL)
        return;
    for (uint32_t i = 0; i < REPLICATE_NODES; i++)
        replicate_node_close(&r->nodes[i]);
    free(r->sessions);
    free(r);
}

/* ---- measuring ---- */

int replicate_rig_measure(void *context, uint64_t duration_ns, double *value)
{
    struct replicate_side *side = context;
    struct replicate_rig *r = side->rig;
    struct request requests[REPLICATE_BATCH_MAX];
    uint32_t group = side->sampler->group;
    ASSERT(group <= REPLICATE_BATCH_MAX && group % side->batch == 0);
    bool more;
    sampler_start(side->sampler, duration_ns);
    do {
        for (uint32_t i = 0; i < group; i++)
            make_request(r, number_of(r, r->position + i), &requests[i]);
        uint64_t from = sampler_now();
        for (uint32_t i = 0; i < group; i += side->batch) {
            int rc = write_batch(r, requests + i, side->batch);
            if (rc != 0)
                return rc;
        }
        more = sampler_add(side->sampler, from, sampler_now());
    } while (more);
    *value = sampler_finish_mean(side->sampler);
    return drain(r);
}

bool replicate_rig_agrees(const struct replicate_rig *r)
{
    for (uint32_t shard = 0; shard < r->shape.shard_count; shard++) {
        const struct shard *leader = r->nodes[LEADER].shards[shard];
        for (uint32_t i = 1; i < REPLICATE_NODES; i++) {
            const struct shard *follower = r->nodes[i].shards[shard];
            if (leader->lsn_committed != leader->log.lsn_end ||
                follower->log.lsn_end != leader->log.lsn_end ||
                follower->index.key_count != leader->index.key_count)
                return false;
        }
    }
    return r->nodes[LEADER].refused_count == 0;
}

void replicate_rig_amplification(const struct replicate_rig *r, uint64_t *cleaned,
                                 uint64_t *appended)
{
    /* relaxed: written by this thread */
    const struct layout_counters *c = r->nodes[LEADER].counters;
    *cleaned = atomic_load_explicit(&c->value[COUNTER_CLEANED_BYTES], memory_order_relaxed);
    *appended = atomic_load_explicit(&c->value[COUNTER_RECORD_BYTES], memory_order_relaxed);
}
