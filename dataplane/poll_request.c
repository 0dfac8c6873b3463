#include "dataplane/lcore_forward.h"
#include "dataplane/poll_cut_off.h"
#include "dataplane/request.h"
#include "engine/lease.h"
#include "engine/plant.h"

#include <string.h>

/* Of a pass; its frames leave behind the last one. */
#define ROUNDS_MAX 8u

/* Completions are whole cells; a value travels behind the first one. */
static uint64_t completion_bytes(const struct lcore_request *q, uint64_t message_max)
{
    bool value = q->copy.head.operation == RING_GET && (q->copy.head.flags & RING_FLAG_BULK) == 0;
    uint64_t room = value ? min_u64(q->copy.value_length, message_max) : 0;
    return align_up(min_u64(sizeof(struct ring_completion) + room, message_max), RING_CELL);
}

static struct request_scope scope_of(const struct lcore *l, const struct agent *a, uint16_t space)
{
    struct request_scope scope = {.bulk_bytes = a->file.bulk_bytes};
    const struct node_space *s = space <= LIMIT_SPACES ? l->spaces[space] : NULL;
    if (s != NULL) {
        scope.geometry = &s->geometry;
        scope.partition_prefix = s->config.partition_prefix;
        scope.value_bytes_max = space_value_max(&s->config, &s->geometry);
        /* relaxed: node_agent.c */
        scope.access = atomic_load_explicit(&a->access[space], memory_order_relaxed);
    }
    return scope;
}

/* Copy what must be judged and judge the copy.  Key bytes are read once. */
static void judge(struct lcore *l, struct lcore_request *q, const uint8_t *message)
{
    if (q->head.length < sizeof q->copy) {
        q->copy = (struct ring_request){.head = q->head};
        q->status = RING_INPUT;
        return;
    }
    q->copy.head = q->head; /* the one that was judged by ring_peek */
    memcpy((uint8_t *)&q->copy + sizeof q->head, message + sizeof q->head,
           sizeof q->copy - sizeof q->head);
    struct request_scope scope = scope_of(l, q->agent, q->copy.space);
    q->status = request_check(&q->head, &q->copy, &scope);
    if (q->status != RING_OK || q->copy.head.operation == RING_NOP)
        return;
    struct record_ttl ttl;
    q->payload = message + sizeof q->copy;
    memcpy(&ttl, q->payload, min_u64(q->copy.extension_length, sizeof ttl));
    q->payload += align_up(q->copy.extension_length, 8);
    memcpy(q->key, q->payload, q->copy.key_length);
    q->status = request_check_ttl(&q->copy, &ttl, &q->ttl_ns);
    if (q->status == RING_OK)
        q->status = request_check_key(&q->copy, q->key, &scope, &q->hash);
    if (q->status != RING_OK)
        return;
    const struct node_space *space = l->spaces[q->copy.space];
    if (space->boards[q->copy.shard].lcore != l->number) {
        q->status = RING_INPUT;
        return;
    }
    q->shard = space->shards[q->copy.shard];
    shard_prefetch_self(q->shard);
}

/* No token for a request that is there: it stays in the ring, which fills up until the agent's policy says
 * what to do. */
static void leave(struct lcore *l, struct agent *a)
{
    _Atomic uint64_t *count = &a->rings[l->number].throttled;
    /* Why: a ring that the lcore lets go of is looked into at once, and would come back. */
    a->rings[l->number].ticks_used = l->now;
    if (a->rings[l->number].is_waiting)
        return;
    a->rings[l->number].is_waiting = true;
    counter_add(l->counters, COUNTER_AGENTS_THROTTLED, 1);
    /* relaxed, both: one writer, and a number for people */
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* Whether a limited agent may have one more request taken. */
static bool has_token(const struct lcore *l, const struct agent *a)
{
    return bucket_has(a->rings[l->number].bucket, &l->agent_rate, l->now);
}

static void use_token(struct lcore *l, struct agent *a)
{
    (void)bucket_take(&a->rings[l->number].bucket, &l->agent_rate, l->now);
    a->rings[l->number].is_waiting = false;
}

/* Take messages of one agent into the batch.  Returns false if its ring is broken. */
static bool gather_agent(struct lcore *l, struct agent *a)
{
    struct ring *ring = &a->rings[l->number].request;
    struct ring *answers = &a->rings[l->number].completion;
    uint64_t *owed = &a->rings[l->number].owed;
    const bool limited = a->rings[l->number].limited;
    while (l->request_count < LIMIT_BATCH) {
        void *message;
        struct ring_head head;
        uint64_t position = ring->position;
        int found = ring_peek(ring, &message, &head);
        if (found <= 0)
            return found == 0;
        if (UNLIKELY(limited) && !has_token(l, a)) {
            ring->position = position;
            leave(l, a);
            return true;
        }
        struct lcore_request *q = &l->requests[l->request_count];
        q->agent = a;
        q->shard = NULL;
        q->position = position;
        q->put_back = false;
        q->head = head;
        judge(l, q, message);
        q->owed = completion_bytes(q, ring_message_max(answers));
        int room = ring_has_room(answers, *owed + q->owed);
        if (room <= 0) {
            ring->position = position;
            return room == 0; /* the agent must take completions first */
        }
        *owed += q->owed;
        ring_consume(ring, &head);
        if (UNLIKELY(limited))
            use_token(l, a);
        a->rings[l->number].ticks_used = l->now;
        l->request_count++;
    }
    return true;
}

static void gather(struct lcore *l)
{
    l->request_count = 0;
    uint32_t hot = l->hot_count;
    uint32_t next = l->hot_next < hot ? l->hot_next : 0;
    l->hot_next = next + 1;
    for (uint32_t i = 0; i < hot && l->request_count < LIMIT_BATCH; i++) {
        struct agent *a = lcore_agent(l, l->hot[next]);
        next = next + 1 < hot ? next + 1 : 0;
        /* relaxed: set by this lcore or its SIGBUS handler */
        if (a == NULL || atomic_load_explicit(&a->fault, memory_order_relaxed) != AGENT_FAULT_NONE)
            continue;
        if (!gather_agent(l, a))
            lcore_fault(l, a, AGENT_FAULT_RING);
    }
}

static struct shard_origin origin_of(const struct lcore *l, const struct lcore_request *q)
{
    return (struct shard_origin){
        .generation = q->agent->generation,
        .tag = q->copy.tag,
        .agent = q->agent->slot,
        .lcore = l->number,
        .room = q->copy.value_length,
        .bulk_offset = q->copy.bulk_offset,
        .owed = (uint32_t)q->owed,
        .operation = q->copy.head.operation,
        .bulk = (q->copy.head.flags & RING_FLAG_BULK) != 0,
    };
}

static int execute_write(struct lcore *l, const struct lcore_operation *o)
{
    int64_t delta = 0;
    if (o->origin.operation == RING_INCREMENT)
        memcpy(&delta, o->value, sizeof delta);
    struct shard_write w = {
        .origin = o->origin,
        .hash = o->hash,
        .key = o->key,
        .value = o->value,
        .value_length = o->value_length,
        .key_length = o->key_length,
        .compare = (o->flags & RING_FLAG_COMPARE) != 0 ? RING_COMPARE_VERSION : RING_COMPARE_NONE,
        .expected_lsn = o->expected_lsn,
        .delta = delta,
        .session_slot = o->session_slot,
        .uid = o->uid,
        .session = o->session,
        .sequence = o->sequence,
        .clock_ns = l->clock_ns,
    };
    const struct record_ttl ttl = extension_ttl_make(o->ttl_ns);
    if (UNLIKELY(o->ttl_ns != 0)) {
        w.extension = &ttl;
        w.extension_length = sizeof ttl;
        /* Why the clock anew: the process may have stood still since the pass began, and who asked
         * meanwhile counts from then. */
        uint64_t ticks = PLANTED(TTL_COUNTED_FROM_PASS) ? l->now : clock_ticks(l->node->clock_kind);
        w.steady_ns = clock_ticks_to_ns(max_u64(l->now, ticks), l->node->ticks_per_s);
        poll_expiry_due(l, o->ttl_ns);
    }
    /* Agents write in sessions only: without one nothing would be applied exactly once. */
    return o->session_slot == SESSION_NONE ? RING_FATE_UNKNOWN : shard_write(o->shard, &w);
}

/* Writes and reads of one key; those of a transaction are counted where they are known. */
static void key_count(struct lcore *l, const struct lcore_operation *o)
{
    const struct hot_keys_asked key = {.length = o->key_length, .hash = o->hash, .bytes = o->key};
    bool is_session =
        o->origin.operation == RING_SESSION_OPEN || o->origin.operation == RING_SESSION_CLOSE;
    if (key.length != 0 && !is_session)
        poll_key_count(l, o->shard, &key);
}

/* What older releases do not know. */
static int execute_newer(struct lcore *l, const struct lcore_operation *o)
{
    enum ring_status status = poll_transactions_supported(l, o->shard);
    if (UNLIKELY(status != RING_OK))
        return (int)status;
    return o->origin.operation == RING_TRANSACTION ? poll_execute_transaction(l, o)
                                                   : execute_write(l, o);
}

int poll_execute(struct lcore *l, const struct lcore_operation *o)
{
    key_count(l, o);
    switch (o->origin.operation) {
    case RING_SESSION_OPEN:
        if ((o->flags & RING_FLAG_EXISTING) != 0 &&
            session_find(&o->shard->sessions, o->key) == SESSION_NONE)
            return RING_FATE_UNKNOWN;
        return shard_session_open(o->shard, &o->origin, o->key, o->uid, l->clock_ns);
    case RING_SESSION_CLOSE:
        return shard_session_close(o->shard, &o->origin, o->key, o->uid, l->clock_ns);
    case RING_GET: {
        struct shard_read read = {
            .origin = o->origin,
            .hash = o->hash,
            .key = o->key,
            .key_length = o->key_length,
        };
        return shard_read(o->shard, &read);
    }
    case RING_POSITION:
        return shard_position(o->shard, &o->origin);
    case RING_TRANSACTION:
    case RING_INCREMENT:
        return execute_newer(l, o);
    default:
        return o->ttl_ns != 0 || lease_is_operation(o->origin.operation) ? execute_newer(l, o)
                                                                         : execute_write(l, o);
    }
}

static int execute(struct lcore *l, const struct lcore_request *q)
{
    const struct ring_request *r = &q->copy;
    bool is_read = r->head.operation == RING_GET || r->head.operation == RING_POSITION;
    bool bulk = (r->head.flags & RING_FLAG_BULK) != 0;
    const struct lcore_operation o = {
        .shard = q->shard,
        .origin = origin_of(l, q),
        .key = q->key,
        .value = bulk ? q->agent->bulk + r->bulk_offset : q->payload + align_up(r->key_length, 8),
        .hash = q->hash,
        .session = r->session,
        .sequence = r->sequence,
        .expected_lsn = r->expected_lsn,
        .ttl_ns = q->ttl_ns,
        .value_length = r->value_length,
        .session_slot = r->session_slot,
        .uid = q->agent->uid,
        .key_length = r->key_length,
        .flags = r->head.flags,
    };
    bool may_write = poll_cluster_may_write(l, q->shard);
    if (UNLIKELY(poll_is_cut_off(l->cluster)) && poll_forward_is_vain(l, q->shard))
        return RING_RETRY;
    if (may_write || (is_read && poll_cluster_may_answer(l, q->shard, l->now)))
        return poll_execute(l, &o);
    return poll_forward_ask(l, q, &o.origin);
}

static void refuse(struct lcore *l, const struct lcore_request *q, uint32_t status)
{
    if (status == RING_ACCESS)
        counter_add(l->counters, COUNTER_REFUSED_ACCESS, 1);
    else if (status == RING_INPUT || status == RING_TOO_LARGE)
        counter_add(l->counters, COUNTER_REFUSED_INPUT, 1);
    struct ring_completion c = {
        .head.operation = q->copy.head.operation,
        .tag = q->copy.tag,
        .status = status,
        .session_slot = SESSION_NONE,
        .sequence = q->copy.sequence,
    };
    q->agent->rings[l->number].owed -= q->owed;
    poll_complete(l, q->agent, &c, NULL);
}

/* This request and all behind it from the same ring wait for a later pass. */
static void put_back(struct lcore *l, uint32_t first)
{
    struct lcore_request *q = &l->requests[first];
    struct agent *a = q->agent;
    uint32_t i;
    a->rings[l->number].request.position = q->position;
    for (i = first; i < l->request_count && l->requests[i].agent == a; i++) {
        l->requests[i].put_back = true;
        a->rings[l->number].owed -= l->requests[i].owed;
    }
    if (a->rings[l->number].limited)
        bucket_return(&a->rings[l->number].bucket, &l->agent_rate, i - first);
    counter_add(l->counters, COUNTER_BACK_PRESSURE, 1);
    lcore_mark_dirty(l, q->shard);
}

static void execute_at(struct lcore *l, uint32_t i)
{
    struct lcore_request *q = &l->requests[i];
    if (q->put_back)
        return;
    if (q->status != RING_OK || q->shard == NULL) {
        refuse(l, q, q->status);
        return;
    }
    int result = execute(l, q);
    if (result == -EAGAIN) {
        put_back(l, i);
        return;
    }
    ASSERT(result >= 0);
    /* Why now: another leader may have followed since this pass began, and written.  What is too large
     * is so for every leader, and what a release does not know no other leader makes it know. */
    if (result > 0 && result != RING_TOO_LARGE && result != RING_UNSUPPORTED &&
        !poll_cluster_may_answer(l, q->shard, clock_ticks(l->node->clock_kind)))
        result = RING_RETRY;
    /* Why not asked again: in vain, and nothing of it was appended. */
    if (result == RING_RETRY && poll_is_cut_off(l->cluster) && poll_forward_is_vain(l, q->shard))
        result = RING_UNAVAILABLE;
    if (result > 0)
        refuse(l, q, (uint32_t)result);
    else
        lcore_mark_dirty(l, q->shard);
}

/* Why in stages: each leads to what the next one fetches, and the misses of requests overlap. */
static void prefetch(struct lcore *l)
{
    uint32_t keyed = 0;
    for (uint32_t i = 0; i < l->request_count; i++) {
        const struct lcore_request *q = &l->requests[i];
        if (q->shard == NULL)
            continue;
        shard_prefetch(q->shard, q->hash);
        shard_prefetch_session(q->shard, q->copy.session_slot, q->copy.sequence);
        keyed++;
    }
    if (keyed == 0)
        return;
    l->clock_ns = clock_realtime_ns();
    for (uint32_t i = 0; i < l->request_count; i++)
        if (l->requests[i].shard != NULL)
            shard_prefetch_record(l->requests[i].shard, l->requests[i].hash);
}

static void round_run(struct lcore *l)
{
    gather(l);
    /* Why early suffices: leases and grants count from it, so it makes them only shorter. */
    l->now = max_u64(l->now, clock_ticks_early(l->node->clock_kind));
    if (l->request_count == 0)
        return;
    prefetch(l);
    for (uint32_t i = 0; i < l->request_count; i++)
        execute_at(l, i);
    for (uint32_t i = 0; i < l->request_count; i++)
        if (i + 1 == l->request_count || l->requests[i].agent != l->requests[i + 1].agent)
            ring_publish_due(&l->requests[i].agent->rings[l->number].request);
}

/* Whether there may be more that can be taken now. */
static bool round_was_full(const struct lcore *l)
{
    bool put_back = false;
    for (uint32_t i = 0; i < l->request_count; i++)
        put_back |= l->requests[i].put_back;
    return l->request_count == LIMIT_BATCH && !put_back;
}

/* Why several rounds in a cluster: what they append to a shard leaves in one message for each peer, and a
 * message costs as much as the judging of many requests. */
uint32_t poll_requests(struct lcore *l)
{
    const uint32_t rounds_max = l->cluster != NULL ? ROUNDS_MAX : 1;
    uint32_t taken = 0, rounds = 0;
    do {
        round_run(l);
        taken += l->request_count;
    } while (++rounds < rounds_max && round_was_full(l));
    return taken;
}
