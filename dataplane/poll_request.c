#include "dataplane/lcore_forward.h"
#include "dataplane/request.h"

#include <string.h>

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
    const struct node_space *s = space <= LIMIT_SPACES ? l->node->spaces[space] : NULL;
    if (s != NULL) {
        scope.geometry = &s->geometry;
        scope.partition_prefix = s->config.partition_prefix;
        scope.value_bytes_max = space_value_max(&s->config, &s->geometry);
        scope.access = a->access[space];
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
    q->payload = message + sizeof q->copy;
    memcpy(q->key, q->payload, q->copy.key_length);
    q->status = request_check_key(&q->copy, q->key, &scope, &q->hash);
    if (q->status != RING_OK)
        return;
    const struct node_space *space = l->node->spaces[q->copy.space];
    if (space->boards[q->copy.shard].lcore != l->number) {
        q->status = RING_INPUT;
        return;
    }
    q->shard = space->shards[q->copy.shard];
    shard_prefetch_self(q->shard);
}

/* Take messages of one agent into the batch.  Returns false if its ring is broken. */
static bool gather_agent(struct lcore *l, struct agent *a)
{
    struct ring *ring = &a->rings[l->number].request;
    struct ring *answers = &a->rings[l->number].completion;
    uint64_t *owed = &a->rings[l->number].owed;
    while (l->request_count < LIMIT_BATCH) {
        void *message;
        struct ring_head head;
        uint64_t position = ring->position;
        int found = ring_peek(ring, &message, &head);
        if (found <= 0)
            return found == 0;
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
    struct shard_write w = {
        .origin = o->origin,
        .hash = o->hash,
        .key = o->key,
        .value = o->value,
        .value_length = o->value_length,
        .key_length = o->key_length,
        .compare = (o->flags & RING_FLAG_COMPARE) != 0,
        .expected_lsn = o->expected_lsn,
        .session_slot = o->session_slot,
        .uid = o->uid,
        .session = o->session,
        .sequence = o->sequence,
        .clock_ns = l->clock_ns,
    };
    /* Agents write in sessions only: without one nothing would be applied exactly once. */
    return o->session_slot == SESSION_NONE ? RING_FATE_UNKNOWN : shard_write(o->shard, &w);
}

int poll_execute(struct lcore *l, const struct lcore_operation *o)
{
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
    default:
        return execute_write(l, o);
    }
}

static int execute(struct lcore *l, const struct lcore_request *q)
{
    const struct ring_request *r = &q->copy;
    bool is_read = r->head.operation == RING_GET;
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
        .value_length = r->value_length,
        .session_slot = r->session_slot,
        .uid = q->agent->uid,
        .key_length = r->key_length,
        .flags = r->head.flags,
    };
    if (poll_cluster_may_write(l, q->shard) ||
        (is_read && poll_cluster_may_answer(l, q->shard, l->now)))
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
    a->rings[l->number].request.position = q->position;
    for (uint32_t i = first; i < l->request_count && l->requests[i].agent == a; i++) {
        l->requests[i].put_back = true;
        a->rings[l->number].owed -= l->requests[i].owed;
    }
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
     * is so for every leader. */
    if (result > 0 && result != RING_TOO_LARGE &&
        !poll_cluster_may_answer(l, q->shard, clock_ticks(l->node->clock_kind)))
        result = RING_RETRY;
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

uint32_t poll_requests(struct lcore *l)
{
    gather(l);
    /* Why early suffices: leases and grants count from it, so it makes them only shorter. */
    l->now = max_u64(l->now, clock_ticks_early(l->node->clock_kind));
    if (l->request_count == 0)
        return 0;
    prefetch(l);
    for (uint32_t i = 0; i < l->request_count; i++)
        execute_at(l, i);
    for (uint32_t i = 0; i < l->request_count; i++)
        if (i + 1 == l->request_count || l->requests[i].agent != l->requests[i + 1].agent)
            ring_publish_due(&l->requests[i].agent->rings[l->number].request);
    return l->request_count;
}
