#include "bench/rig.h"

#include "bench/keys.h"
#include "engine/hash.h"

#include <stdio.h>
#include <stdlib.h>

#define SPACE_ID 1u
#define FILL_BATCH 64u
#define STALLS_MAX 1000u /* passes in a row that take nothing: the space is too small */

#define KEEPER_NS (NS_PER_MS / 4)

static void nap(uint64_t ns)
{
    const struct timespec pause = {.tv_nsec = (long)ns};
    (void)nanosleep(&pause, NULL);
}

/* One write of a batch, made before it is timed as a request of an agent would be. */
struct request {
    char key[KEYS_LENGTH];
    uint64_t hash;
    uint32_t shard;
};

static void make_request(const struct rig *r, uint64_t number, struct request *q)
{
    keys_text((uint32_t)number, q->key);
    q->hash = hash_key(q->key, KEYS_LENGTH);
    q->shard = hash_shard(q->key, KEYS_LENGTH, q->hash, 0, r->shape.shard_count);
}

/* A number below key_count for the nth write, as good as random. */
static ALWAYS_INLINE uint64_t number_of(const struct rig *r, uint64_t nth)
{
    uint64_t x = nth * UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return (x >> 32) * r->shape.key_count >> 32;
}

/* What the poll loop does after the requests of a pass. */
static void finish_pass(struct rig *r)
{
    struct lcore *l = r->lcore;
    poll_commit(l);
    l->now_late = clock_ticks(l->node->clock_kind);
    poll_answers(l);
    poll_upkeep(l);
    if (r->passes != NULL)
        passes_end(r->passes);
}

static void begin_pass(struct rig *r)
{
    struct lcore *l = r->lcore;
    if (r->passes != NULL)
        passes_begin(r->passes);
    l->now = clock_ticks(l->node->clock_kind);
    l->clock_ns = clock_realtime_ns();
}

/* Session of the nth write. */
static struct rig_session *session_of(const struct rig *r, const struct request *q, uint64_t nth)
{
    return &r->sessions[q->shard * RIG_SESSIONS + (uint32_t)(nth % RIG_SESSIONS)];
}

/* As the poll loop fetches it; its requests bring their session along. */
static void prefetch_self(const struct rig *r, const struct request *q, uint64_t nth)
{
    PREFETCH(session_of(r, q, nth));
    shard_prefetch_self(r->space->shards[q->shard]);
}

static void prefetch(const struct rig *r, const struct request *q, uint64_t nth)
{
    const struct rig_session *session = session_of(r, q, nth);
    const struct shard *shard = r->space->shards[q->shard];
    shard_prefetch(shard, q->hash);
    shard_prefetch_session(shard, session->slot, session->sequence + 1);
}

static int write_one(struct rig *r, const struct request *q)
{
    static const uint64_t value[KEYS_VALUE_BYTES / 8] = {0x64756e6c696e};
    struct shard *shard = r->space->shards[q->shard];
    struct rig_session *session = session_of(r, q, r->position++);
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
        .clock_ns = r->lcore->clock_ns,
    };
    int rc = shard_write(shard, &w);
    if (LIKELY(rc == 0)) {
        session->sequence++;
        lcore_mark_dirty(r->lcore, shard);
    }
    return rc;
}

/* One pass of the poll loop with count requests. */
static int write_batch(struct rig *r, const struct request *requests, uint32_t count)
{
    begin_pass(r);
    for (uint32_t i = 0; i < count; i++)
        prefetch_self(r, &requests[i], r->position + i);
    for (uint32_t i = 0; i < count; i++)
        prefetch(r, &requests[i], r->position + i);
    for (uint32_t i = 0; i < count; i++)
        shard_prefetch_record(r->space->shards[requests[i].shard], requests[i].hash);
    uint32_t stalls = 0;
    for (uint32_t i = 0; i < count;) {
        int rc = write_one(r, &requests[i]);
        if (LIKELY(rc == 0)) {
            i++;
            continue;
        }
        if (rc != -EAGAIN || ++stalls > STALLS_MAX)
            return rc > 0 ? -EDQUOT : rc;
        r->position--; /* the same session again: sequences have no gaps */
        lcore_mark_dirty(r->lcore, r->space->shards[requests[i].shard]);
        finish_pass(r);
        if (r->shape.grows)
            nap(KEEPER_NS);
        begin_pass(r);
    }
    finish_pass(r);
    return 0;
}

static int fill(struct rig *r)
{
    struct request requests[FILL_BATCH];
    uint32_t bits = 31 - (uint32_t)__builtin_clz(r->shape.key_count);
    int rc = 0;
    uint64_t began_ns = clock_boottime_ns();
    for (uint64_t nth = 0; nth < r->shape.key_count && rc == 0;) {
        uint32_t count = 0;
        for (; count < FILL_BATCH && nth < r->shape.key_count; nth++)
            make_request(r, r->shape.shuffled ? keys_shuffle(nth, bits) : nth, &requests[count++]);
        rc = write_batch(r, requests, count);
    }
    r->fill_ns = clock_boottime_ns() - began_ns;
    return rc;
}

/* The first answer of a shard, which opened a session. */
static int sessions_open(struct rig *r)
{
    begin_pass(r);
    for (uint32_t i = 0; i < r->shape.shard_count * RIG_SESSIONS; i++) {
        struct shard *shard = r->space->shards[i / RIG_SESSIONS];
        struct shard_origin origin = {.operation = RING_SESSION_OPEN};
        struct shard_answer answer;
        uint8_t id[SESSION_ID_BYTES] = {0};
        memcpy(id, &i, sizeof i);
        int rc = shard_session_open(shard, &origin, id, 0, r->lcore->clock_ns);
        if (rc != 0)
            return rc > 0 ? -EUSERS : rc;
        shard_commit(shard, shard->log.lsn_end);
        if (!shard_answer_next(shard, &answer) || answer.status != RING_OK)
            return -EPROTO;
        r->sessions[i] = (struct rig_session){.lsn = answer.lsn, .slot = answer.session_slot};
    }
    return 0;
}

/* What the control thread does for a space that needs more of its memory. */
static void *keep(void *argument)
{
    struct rig *r = argument;
    while (!atomic_load_explicit(&r->stop, memory_order_acquire)) {
        if (node_chunks_grow(&r->node, r->space) < 0)
            break; /* the writer finds that none comes */
        nap(KEEPER_NS);
    }
    return NULL;
}

/* All memory now, or as it is asked for. */
static int open_memory(struct rig *r)
{
    if (r->shape.grows)
        return -pthread_create(&r->keeper, NULL, keep, r);
    atomic_store_explicit(&r->space->chunks_wanted, r->space->geometry.chunk_count_max,
                          memory_order_relaxed); /* relaxed: this thread reads it */
    const int made = node_chunks_grow(&r->node, r->space);
    return made < 0 ? made : 0;
}

static void close_node(struct rig *r)
{
    atomic_store_explicit(&r->stop, true, memory_order_release);
    if (r->shape.grows)
        (void)pthread_join(r->keeper, NULL);
    lcore_close(r->lcore);
    node_close(&r->node);
}

static int open_node(struct rig *r)
{
    struct node_config config = {
        .name = "rig",
        .id = 1,
        .lcore_count = 1,
        .lcore_cpus = {-1},
        .lease_ns = 50 * NS_PER_MS,
        .heartbeat_ns = 100 * NS_PER_MS,
        .view_ns = NS_PER_S,
        .spin = true,
    };
    int rc = node_open(&r->node, &config, 1);
    if (rc != 0)
        return rc;
    struct space_config space;
    space_config_default(&space);
    space.id = SPACE_ID;
    memcpy(space.name, "rig", sizeof "rig");
    space.shard_count = r->shape.shard_count;
    space.quota_bytes = r->shape.quota_bytes;
    space.sessions_max = RIG_SESSIONS;
    space.ordered = !r->shape.unordered;
    rc = node_space_add(&r->node, &space);
    if (rc != 0)
        goto fail;
    r->space = r->node.spaces[SPACE_ID];
    rc = lcore_open(&r->node, 0, &r->lcore);
    if (rc != 0)
        goto fail;
    rc = open_memory(r);
    if (rc == 0)
        return 0;
    lcore_close(r->lcore);
fail:
    node_close(&r->node);
    return rc;
}

uint64_t rig_quota_for(uint32_t key_count)
{
    const uint64_t mib = UINT64_C(1) << 20;
    const uint64_t per_key = record_bytes(0, KEYS_LENGTH, KEYS_VALUE_BYTES) * 9 / 8 + 32;
    return max_u64(64 * mib, align_up(2 * per_key * key_count, mib));
}

struct rig *rig_new(const struct rig_shape *shape)
{
    struct rig *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->shape = *shape;
    r->sessions = calloc((size_t)shape->shard_count * RIG_SESSIONS, sizeof *r->sessions);
    int rc = r->sessions == NULL ? -ENOMEM : open_node(r);
    if (rc != 0)
        goto fail;
    rc = sessions_open(r);
    if (rc == 0)
        rc = fill(r);
    if (rc == 0)
        return r;
    close_node(r);
fail:
    (void)fprintf(stderr, "dunlin-bench: no engine of %u keys in %u shards: %s\n", shape->key_count,
                  shape->shard_count, strerror(-rc));
    free(r->sessions);
    free(r);
    return NULL;
}

void rig_delete(struct rig *r)
{
    if (r == NULL)
        return;
    close_node(r);
    free(r->sessions);
    free(r);
}

int rig_pass(struct rig *r, const uint32_t *numbers, uint32_t count)
{
    struct request requests[RIG_BATCH_MAX];
    ASSERT(count <= RIG_BATCH_MAX);
    for (uint32_t i = 0; i < count; i++)
        make_request(r, numbers[i], &requests[i]);
    return write_batch(r, requests, count);
}

int rig_measure(void *context, uint64_t duration_ns, double *value)
{
    struct rig_side *side = context;
    struct rig *r = side->rig;
    struct request requests[RIG_BATCH_MAX];
    uint32_t group = side->sampler->group;
    ASSERT(group <= RIG_BATCH_MAX && group % side->batch == 0);
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
    return 0;
}

void rig_amplification(const struct rig *r, uint64_t *cleaned, uint64_t *appended)
{
    /* relaxed: written by this thread */
    const struct layout_counters *c = r->lcore->counters;
    *cleaned = atomic_load_explicit(&c->value[COUNTER_CLEANED_BYTES], memory_order_relaxed);
    *appended = atomic_load_explicit(&c->value[COUNTER_RECORD_BYTES], memory_order_relaxed);
}
