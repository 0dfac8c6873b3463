/* The side where the shard is led. */
#include "dataplane/lcore_forward.h"
#include "dataplane/request.h"
#include "engine/lease.h"

#include <string.h>

/* One ask, from its datagram to the shard. */
struct asked {
    struct forward_ask ask;
    const uint8_t *key, *value; /* in the datagram, or where the parts were put together */
    struct lcore_replica *replica;
    struct ring_request request; /* what its agent put into a ring, as far as it counts here */
    uint64_t hash;
    uint32_t status; /* RING_OK: carry it out */
};

/* ---- answering ---- */

static bool answer_packed(struct lcore_forward *f, struct forward_peer *p,
                          const struct forward_answer *a, const void *value)
{
    return forward_put_answer(&p->answers, a, NULL, value) ||
           (forward_send(f, p, &p->answers, NULL) &&
            forward_put_answer(&p->answers, a, NULL, value));
}

/* Why nothing is done where there is no room: the origin gives it up in time. */
static void answer_now(struct lcore_forward *f, struct forward_peer *p, const struct asked *q,
                       uint32_t status)
{
    const struct forward_answer a = {
        .start = p->window.start,
        .number = q->ask.number,
        .session_slot = SESSION_NONE,
        .status = (uint8_t)status,
    };
    (void)!answer_packed(f, p, &a, NULL);
}

/* A value that is not small, from offset on: as many parts as may be on the way. */
static void value_send(struct lcore_forward *f, struct forward_peer *p, const struct shard *s,
                       const struct record *r, struct forward_answer *a)
{
    uint64_t at = (uint64_t)((const uint8_t *)r - s->arena);
    uint32_t frame = (uint32_t)(at >> s->geometry.segment_shift);
    const uint8_t *value = record_value(r);
    a->how = FORWARD_BESIDE;
    for (uint32_t part = 1; part <= LIMIT_FORWARD_PARTS && a->value_offset < r->value_length;
         part++, a->value_offset += a->value_here) {
        uint32_t left = r->value_length - a->value_offset;
        a->value_here = (uint32_t)min_u64(left, f->part_bytes);
        /* The last of several has the key, by which the origin asks for the rest. */
        bool more = part == LIMIT_FORWARD_PARTS && a->value_here < left;
        a->key_length = more ? r->key_length : 0;
        const struct forward_bytes beside = {
            .bytes = value + a->value_offset,
            .length = a->value_here,
            .hold = hold_word(s->log.number >> NODE_LOG_SPACE_SHIFT, frame),
        };
        if (!forward_send(f, p, &p->answers, NULL))
            return;
        bool fits = forward_put_answer(&p->answers, a, record_key(r), NULL);
        ASSERT(fits); /* an empty pack holds any key */
        if (!forward_send(f, p, &p->answers, &beside)) {
            p->answers.length = 0;
            return;
        }
    }
}

void poll_forward_answer(struct lcore *l, const struct shard *s, const struct shard_answer *answer,
                         struct ring_completion *c)
{
    struct lcore_forward *f = l->cluster->forward;
    struct forward_peer *p = &f->peers[answer->origin.agent - LIMIT_AGENTS];
    if (p->window.start != answer->origin.generation)
        return; /* that start of it is over, or the node was removed */
    const struct record *r = c->status == RING_OK ? answer->record : NULL;
    /* Why not of a put, which may repeat the sequence of an increment: its origin knows of no number. */
    bool has_number = c->number != 0 && forward_has_number(answer->origin.operation) &&
                      (c->status == RING_OK || c->status == RING_CONDITION);
    uint32_t offset = answer->origin.bulk_offset;
    struct forward_answer a = {
        .start = answer->origin.generation,
        .number = answer->origin.tag,
        .lsn = c->lsn,
        .epoch = c->epoch,
        .session_slot = c->session_slot,
        .value_length = r != NULL    ? r->value_length
                        : has_number ? sizeof c->number
                                     : 0,
    };
    if (r != NULL && offset != 0 && offset >= r->value_length)
        c->status = RING_RETRY; /* another version than the one that it has parts of */
    else if (r != NULL && r->value_length > answer->origin.room)
        c->status = RING_TOO_LARGE;
    a.status = (uint8_t)c->status;
    if (c->status != RING_OK)
        r = NULL;
    if (r == NULL || (r->value_length <= FORWARD_SMALL_BYTES && offset == 0)) {
        a.value_here = r != NULL || has_number ? a.value_length : 0;
        (void)!answer_packed(f, p, &a, r != NULL ? record_value(r) : (const void *)&c->number);
        return;
    }
    a.value_offset = offset;
    value_send(f, p, s, r, &a);
}

/* ---- judging ---- */

/* What a request of an agent must hold to, holds here, too, but for what it may do: its own node judged
 * that, and says who it is. */
static void judge(const struct lcore_forward *f, struct asked *q)
{
    const struct forward_ask *a = &q->ask;
    struct ring_request *r = &q->request;
    q->status = RING_UNAVAILABLE;
    q->replica = lcore_replica_of(f->cluster, a->log);
    if (q->replica == NULL)
        return;
    *r = (struct ring_request){
        .head = {.operation = a->operation, .flags = a->flags},
        .space = (uint16_t)(a->log >> NODE_LOG_SPACE_SHIFT),
        .shard = a->log & ((1u << NODE_LOG_SPACE_SHIFT) - 1),
        .key_length = a->key_length,
        .value_length = a->value_length,
    };
    bool inside = forward_has_value(a->operation);
    r->extension_length = a->ttl_ns != 0 ? sizeof(struct record_ttl) : 0;
    r->head.length = (uint32_t)ring_request_bytes(r->extension_length, a->key_length,
                                                  inside ? a->value_length : 0);
    const struct node_space *s = f->cluster->lcore->spaces[r->space];
    const struct request_scope scope = {
        .geometry = &s->geometry,
        .partition_prefix = s->config.partition_prefix,
        .value_bytes_max = space_value_max(&s->config, &s->geometry),
        .access = REQUEST_MAY_READ | REQUEST_MAY_WRITE,
    };
    q->status =
        (r->head.flags & RING_FLAG_BULK) != 0 ? RING_INPUT : request_check(&r->head, r, &scope);
    if (q->status == RING_OK)
        q->status = request_check_key(r, q->key, &scope, &q->hash);
}

/* ---- values in parts ---- */

/* The place of an ask that a part continues; NULL: there is none, or it is not its next part. */
static struct forward_put *put_of(struct lcore_forward *f, const struct forward_peer *p,
                                  const struct forward_ask *a)
{
    for (uint32_t i = 0; i < LIMIT_FORWARD_PUTS; i++) {
        struct forward_put *put = &f->puts[i];
        if (put->from == p && put->start == p->window.start && put->ask.number == a->number)
            return put->arrived == a->value_offset && put->ask.value_length == a->value_length &&
                           put->ask.log == a->log && put->ask.epoch == a->epoch &&
                           put->ask.operation == a->operation
                       ? put
                       : NULL;
    }
    return NULL;
}

/* A place for a first part; the oldest goes for it if all are taken. */
static struct forward_put *put_begin(struct lcore_forward *f, const struct forward_peer *p,
                                     const struct asked *q)
{
    struct forward_put *put = &f->puts[0];
    for (uint32_t i = 0; i < LIMIT_FORWARD_PUTS && put->from != NULL; i++)
        if (f->puts[i].from == NULL || f->puts[i].ticks < put->ticks)
            put = &f->puts[i];
    put->from = p;
    put->start = p->window.start;
    put->ticks = f->cluster->lcore->now;
    put->arrived = 0;
    put->hash = q->hash;
    put->ask = q->ask;
    memcpy(put->key, q->key, q->ask.key_length);
    return put;
}

/* Take a part.  True: it was the last one, and q is the whole operation now. */
static bool part_take(struct lcore_forward *f, struct forward_peer *p, struct asked *q)
{
    const struct forward_ask *part = &q->ask;
    struct forward_put *put = part->value_offset == 0 ? put_begin(f, p, q) : put_of(f, p, part);
    if (put == NULL)
        return false;
    memcpy(put->value + put->arrived, q->value, part->value_here);
    put->arrived += part->value_here;
    if (put->arrived == part->value_length) {
        q->ask = put->ask;
        q->hash = put->hash;
        q->key = put->key;
        q->value = put->value;
        put->from = NULL; /* its memory stays as it is until the next part of anybody */
        return true;
    }
    const struct forward_answer more = {
        .start = p->window.start,
        .number = part->number,
        .session_slot = SESSION_NONE,
        .value_length = part->value_length,
        .value_offset = put->arrived,
        .how = FORWARD_MORE,
    };
    (void)!answer_packed(f, p, &more, NULL);
    return false;
}

/* ---- carrying out ---- */

static struct lcore_operation operation_of(const struct lcore_forward *f,
                                           const struct forward_peer *p, const struct asked *q)
{
    const struct forward_ask *a = &q->ask;
    return (struct lcore_operation){
        .shard = q->replica->replica.shard,
        .origin = {.generation = p->window.start,
                   .tag = a->number,
                   .agent = LIMIT_AGENTS + (uint32_t)(p - f->peers),
                   .lcore = f->cluster->lcore->number,
                   .room = a->value_length,
                   .bulk_offset = a->value_offset,
                   .operation = a->operation},
        .key = q->key,
        .value = q->value,
        .hash = q->hash,
        .session = a->session,
        .sequence = a->sequence,
        .expected_lsn = a->expected_lsn,
        .ttl_ns = a->ttl_ns,
        .value_length = a->value_length,
        .session_slot = a->session_slot,
        .uid = a->uid,
        .key_length = a->key_length,
        .flags = a->flags,
    };
}

/* A sequence that was refused because one before it is missing. */
static bool is_gap(const struct lcore_operation *o)
{
    const struct session *s = session_get(&o->shard->sessions, o->session, o->session_slot, o->uid);
    return s != NULL && o->sequence > s->appended + 1;
}

/* RING_OK: it will be answered when it is committed. */
static uint32_t carry_out(struct lcore_forward *f, const struct lcore_operation *o)
{
    struct lcore *l = f->cluster->lcore;
    int result = poll_execute(l, o);
    counter_add(l->counters, COUNTER_FORWARDS_EXECUTED, 1);
    if (result == 0 || result == -EAGAIN)
        lcore_mark_dirty(l, o->shard);
    if (result == -EAGAIN)
        return RING_RETRY;
    ASSERT(result >= 0);
    /* As for agents here: another leader may have followed since this pass began, and written. */
    if (result > 0 && !poll_cluster_may_answer(l, o->shard, clock_ticks(l->node->clock_kind)))
        return RING_RETRY;
    /* Why: the one before may have been lost on the way, and will be sent again. */
    bool is_write = forward_has_value(o->origin.operation) || o->origin.operation == RING_DELETE ||
                    lease_is_operation(o->origin.operation);
    return result == RING_SEQUENCE && is_write && is_gap(o) ? RING_RETRY : (uint32_t)result;
}

static void execute(struct lcore_forward *f, struct forward_peer *p, struct asked *q)
{
    if (q->status == RING_OK &&
        (q->replica->replica.promised != q->ask.epoch || !replica_leads(&q->replica->replica)))
        q->status = RING_RETRY;
    bool in_parts = forward_is_long(q->ask.operation) && q->ask.value_here != q->ask.value_length;
    if (q->status == RING_OK && in_parts && !part_take(f, p, q))
        return;
    if (q->status == RING_OK) {
        const struct lcore_operation o = operation_of(f, p, q);
        q->status = carry_out(f, &o);
    }
    if (q->status != RING_OK)
        answer_now(f, p, q, q->status);
}

/* ---- a datagram ---- */

/* Why in stages: as in poll_request.c. */
static void prefetch(const struct asked *asked, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (asked[i].status == RING_OK)
            shard_prefetch_self(asked[i].replica->replica.shard);
    for (uint32_t i = 0; i < count; i++) {
        const struct asked *q = &asked[i];
        if (q->status != RING_OK)
            continue;
        shard_prefetch(q->replica->replica.shard, q->hash);
        shard_prefetch_session(q->replica->replica.shard, q->ask.session_slot, q->ask.sequence);
    }
    for (uint32_t i = 0; i < count; i++)
        if (asked[i].status == RING_OK)
            shard_prefetch_record(asked[i].replica->replica.shard, asked[i].hash);
}

/* A part behind the first has no key, and is not an operation before the last one is here. */
static void judge_next(const struct lcore_forward *f, struct asked *q)
{
    q->status = RING_OK;
    q->hash = 0;
    if (!forward_is_long(q->ask.operation) || q->ask.value_offset == 0) {
        judge(f, q);
        return;
    }
    q->replica = lcore_replica_of(f->cluster, q->ask.log);
    if (q->replica == NULL)
        q->status = RING_UNAVAILABLE;
}

int forward_asks_received(struct lcore_forward *f, struct forward_peer *from,
                          struct forward_reader *r)
{
    struct asked asked[FORWARD_ASKS_MAX];
    uint32_t count = 0;
    struct asked *q = asked;
    int more;
    /* Why one past the last is never written: so many fill the longest head. */
    while ((more = forward_next_ask(r, &q->ask, &q->key, &q->value)) > 0)
        q = &asked[++count];
    if (more < 0)
        return -EPROTO;
    enum forward_order order = forward_window_take(&from->window, r->start, r->number);
    if (order == FORWARD_SEEN)
        return 0;
    if (order == FORWARD_LATE) {
        for (uint32_t i = 0; i < count; i++)
            answer_now(f, from, &asked[i], RING_RETRY);
        return 0;
    }
    for (uint32_t i = 0; i < count; i++)
        judge_next(f, &asked[i]);
    prefetch(asked, count);
    f->cluster->lcore->clock_ns = clock_realtime_ns();
    for (uint32_t i = 0; i < count; i++)
        execute(f, from, &asked[i]);
    return 0;
}
