#include "engine/agent/agent.h"

#include <string.h>

/* ---- building a request ---- */

/* A GET only names the room for its answer. */
static bool value_inside(const struct ask_message *m)
{
    return m->head.head.operation != RING_GET && (m->head.head.flags & RING_FLAG_BULK) == 0;
}

uint64_t agent_ask_bytes(const struct ask_message *m)
{
    return ring_request_bytes(m->head.extension_length, m->head.key_length,
                              value_inside(m) ? m->head.value_length : 0);
}

struct ring_head agent_ask_build(struct ring_request *at, const struct ask_message *m)
{
    struct ring_head head = m->head.head;
    head.length = (uint32_t)agent_ask_bytes(m);
    memcpy((uint8_t *)at + sizeof head, (const uint8_t *)&m->head + sizeof head,
           sizeof m->head - sizeof head);
    uint8_t *key = ring_put_padded((uint8_t *)(at + 1), &m->ttl, m->head.extension_length);
    uint8_t *value = ring_put_padded(key, m->key, m->head.key_length);
    if (value_inside(m))
        (void)ring_put_padded(value, m->value, m->head.value_length);
    return head;
}

/* ---- one message outside of sessions, and its answer ---- */

/* 0 sent, or done because the attachment ended, -EAGAIN no room now, -ENOTCONN. */
static int ask_send(struct dunlin *d, struct operation *o, struct ask_message *m)
{
    if (o->state == OPERATION_DONE)
        return 0;
    if (!agent_attached(d))
        return -ENOTCONN;
    struct attachment *a = d->now;
    struct lane *lane = &a->lanes[o->lcore];
    void *at;
    int error = ring_claim(&lane->request, agent_ask_bytes(m), &at);
    if (error == -EPROTO) {
        agent_attach_lost(d);
        return -ENOTCONN;
    }
    if (error != 0)
        return error;
    m->head.tag = agent_operation_tag(d, o);
    ring_commit(&lane->request, at, agent_ask_build(at, m));
    lane->unanswered++;
    a->unanswered++;
    o->state = OPERATION_SENT;
    agent_wait_bell(a, o->lcore);
    return 0;
}

static int wait_answer(struct dunlin *d, const struct operation *o, const struct waiter *w)
{
    for (;;) {
        agent_complete_all(d);
        if (o->state != OPERATION_SENT)
            return 0;
        if (!agent_wait_pause(d, w, o->lcore))
            return -ETIMEDOUT;
    }
}

/* Sent once, and answered if it is OPERATION_DONE then.  Returns as agent_ask. */
static int ask_attempt(struct dunlin *d, struct operation *o, struct ask_message *m,
                       const struct waiter *w)
{
    int error;
    while ((error = ask_send(d, o, m)) == -EAGAIN) {
        agent_complete_all(d);
        if (!agent_wait_pause(d, w, o->lcore))
            break;
    }
    if (error != 0) {
        agent_operation_free(d, o);
        return -ENOTCONN;
    }
    error = wait_answer(d, o, w);
    if (error != 0)
        agent_operation_abandon(d, o);
    return error;
}

/* Let pause_ns pass.  False: the caller's time is up. */
static bool let_pass(struct dunlin *d, const struct waiter *w, uint64_t pause_ns)
{
    uint64_t until_ns = clock_boottime_ns() + pause_ns;
    const struct waiter part = {.deadline_ns = min_u64(until_ns, w->deadline_ns)};
    do
        agent_complete_all(d);
    while (agent_wait_pause(d, &part, WAIT_ANY_LCORE));
    return until_ns < w->deadline_ns;
}

int agent_ask(struct dunlin *d, struct operation *o, struct ask_message *m, const struct waiter *w)
{
    uint64_t pause_ns = AGENT_RETRY_MIN_NS;
    o->kind = m->head.head.operation;
    for (;;) {
        int error = ask_attempt(d, o, m, w);
        if (error != 0 || o->state == OPERATION_DONE)
            return error;
        if (!let_pass(d, w, pause_ns))
            break;
        pause_ns = min_u64(2 * pause_ns, AGENT_RETRY_MAX_NS);
    }
    if (o->state == OPERATION_QUEUED) {
        d->ended_not_led++;
        agent_operation_finish(d, o, agent_space_error(o->space, o->status));
    }
    return 0;
}

void agent_ask_answered(struct dunlin *d, struct operation *o, const struct ring_completion *c,
                        const uint8_t *payload)
{
    bool bulk = o->bulk_piece != FIFO_NONE;
    if (c->status == RING_RETRY && !o->abandoned) {
        o->state = OPERATION_QUEUED; /* agent_ask sends it again */
        return;
    }
    o->epoch = c->epoch;
    o->session_slot = c->session_slot;
    o->value_length = c->value_length;
    if (o->kind == RING_GET && c->status == RING_OK) {
        uint64_t room = bulk ? o->bulk_room : c->head.length - sizeof *c;
        if (c->value_length > room)
            o->status = RING_INPUT;
        else if (o->buffer != NULL)
            memcpy(o->buffer, bulk ? d->now->bulk + o->bulk_offset : payload,
                   min_u64(c->value_length, o->capacity));
    }
    agent_operation_finish(d, o, agent_space_error(o->space, o->status));
}

/* ---- get ---- */

/* Room for a value that does not fit the ring. */
static int take_room(struct dunlin *d, struct operation *o, uint32_t room, const struct waiter *w)
{
    while (agent_attached(d)) {
        if (room > d->now->bulk_pieces.bytes)
            return -ENOTCONN;
        if (agent_fifo_take(&d->now->bulk_pieces, room, &o->bulk_offset, &o->bulk_piece) == 0) {
            o->bulk_room = room;
            return 0;
        }
        agent_complete_all(d);
        if (!agent_wait_pause(d, w, WAIT_ANY_LCORE))
            break;
    }
    return -ENOTCONN;
}

/* One question; room 0: the answer is to come in the ring.  Returns as ask. */
static int ask_once(struct dunlin_space *space, struct operation *o, const struct read_key *k,
                    uint32_t room, const struct waiter *w)
{
    struct dunlin *d = space->handle;
    uint64_t room_in_ring = d->now->geometry.completion_bytes / 4 - sizeof(struct ring_completion);
    struct ask_message m = {.head = {.head = {.operation = RING_GET},
                                     .space = (uint16_t)space->id,
                                     .shard = k->shard,
                                     .key_length = (uint16_t)k->length,
                                     .value_length = (uint32_t)min_u64(room_in_ring, o->capacity)},
                            .key = k->words};
    o->lcore = space->read.boards[k->shard].lcore;
    if (room != 0) {
        if (take_room(d, o, room, w) != 0) {
            agent_operation_free(d, o);
            return -ENOTCONN;
        }
        m.head.head.flags = RING_FLAG_BULK;
        m.head.value_length = room;
        m.head.bulk_offset = o->bulk_offset;
    }
    return agent_ask(d, o, &m, w);
}

/* Take over what the answer says of the value. */
static int judge(const struct operation *o, size_t capacity, struct dunlin_read *read)
{
    if (o->result != 0)
        return o->result;
    read->version = o->version;
    read->epoch = o->epoch;
    read->length = o->value_length;
    return o->value_length > capacity ? -ENOBUFS : 0;
}

int agent_ask_get(struct dunlin_space *space, const struct read_key *k,
                  const struct get_target *target, struct dunlin_read *read)
{
    struct dunlin *d = space->handle;
    struct waiter w = agent_wait_begin(d, d->options.timeout_ns);
    uint32_t room = 0;
    read->length = 0;
    read->version = (struct dunlin_version){0};
    read->age_ns = 0;
    read->stale = 0;
    agent_complete_all(d);
    /* Why: a daemon that left the last question unanswered is frozen; ask again when it thaws. */
    if (d->gets_abandoned != 0 || !agent_attached(d))
        return -ENOTCONN;
    for (;;) {
        struct operation *o = agent_operation_take(d, true);
        if (o == NULL)
            return -ENOTCONN;
        o->space = space;
        o->buffer = target->buffer;
        o->capacity = target->capacity;
        if (ask_once(space, o, k, room, &w) != 0)
            return -ENOTCONN;
        d->reads_by_ring++;
        int result = judge(o, target->capacity, read);
        uint32_t wanted = o->value_length;
        agent_operation_free(d, o);
        if (result != -EMSGSIZE)
            return result;
        read->length = wanted;
        if (wanted > target->capacity)
            return -ENOBUFS;
        if (wanted <= room)
            return -EPROTO;
        room = wanted;
    }
}

/* ---- a position ---- */

int agent_ask_position(struct dunlin_space *space, uint32_t shard, uint64_t *lsn)
{
    struct dunlin *d = space->handle;
    const struct waiter w = agent_wait_begin(d, d->options.timeout_ns);
    agent_complete_all(d);
    /* Why: as in agent_ask_get. */
    if (d->gets_abandoned != 0 || !agent_attached(d))
        return -ENOTCONN;
    struct operation *o = agent_operation_take(d, true);
    if (o == NULL)
        return -ENOTCONN;
    struct ask_message m = {.head = {.head = {.operation = RING_POSITION},
                                     .space = (uint16_t)space->id,
                                     .shard = shard}};
    o->space = space;
    o->lcore = space->read.boards[shard].lcore;
    if (agent_ask(d, o, &m, &w) != 0)
        return -ENOTCONN;
    d->reads_by_ring++;
    int result = o->result;
    *lsn = o->version.lsn;
    agent_operation_free(d, o);
    return result;
}
