/* The side where the agent is, and what both sides need. */
#include "dataplane/lcore_forward.h"
#include "dataplane/poll_cut_off.h"

#include <stdlib.h>
#include <string.h>

/* Without an answer for so many lease times: given up. */
#define LEASES_GIVEN_UP 2u
/* Places are looked at so often per lease time. */
#define LOOKS_PER_LEASE 8u

/* ---- set-up ---- */

static void *take(struct lcore_forward *f, uint32_t which, size_t count, size_t bytes)
{
    f->memory[which] = calloc(count, bytes);
    return f->memory[which];
}

static void peer_add(struct lcore_forward *f, uint32_t node)
{
    struct forward_peer *p = forward_peer_of(f, PAIR_NOBODY);
    if (p == NULL) {
        ASSERT(f->peer_count < LIMIT_VOTERS);
        p = &f->peers[f->peer_count++];
    }
    p->node = node;
}

static void peers_init(struct lcore_forward *f)
{
    const struct node_cluster *n = f->cluster->node;
    for (uint32_t i = 0; i < n->node_count; i++)
        if (n->nodes[i] != n->self.node)
            peer_add(f, n->nodes[i]);
}

int lcore_forward_open(struct lcore_cluster *c)
{
    struct lcore_forward *f = calloc(1, sizeof *f);
    if (f == NULL)
        return -ENOMEM;
    f->cluster = c;
    f->part_bytes = (uint32_t)min_u64(c->transport->length_max, FORWARD_PART_BYTES);
    struct forward_place *places = take(f, 0, LIMIT_FORWARDS, sizeof *places);
    f->peers = take(f, 1, LIMIT_VOTERS, sizeof *f->peers);
    f->buffers = take(f, 2, LIMIT_FORWARD_BUFFERS, FORWARD_PART_BYTES);
    uint8_t *values = take(f, 3, LIMIT_FORWARD_PUTS, LIMIT_VALUE_BYTES);
    if (places == NULL || f->peers == NULL || f->buffers == NULL || values == NULL) {
        lcore_forward_close(f);
        return -ENOMEM;
    }
    forward_table_init(&f->table, places);
    peers_init(f);
    for (uint32_t i = 0; i < LIMIT_FORWARD_PUTS; i++)
        f->puts[i].value = values + (size_t)i * LIMIT_VALUE_BYTES;
    holds_init(&c->holds[FORWARD_HOLDS], f->buffer_counts, LIMIT_FORWARD_BUFFERS);
    c->forward = f;
    return 0;
}

void lcore_forward_close(struct lcore_forward *f)
{
    if (f == NULL)
        return;
    for (uint32_t i = 0; i < sizeof f->memory / sizeof f->memory[0]; i++)
        free(f->memory[i]);
    free(f);
}

/* ---- sending ---- */

struct forward_peer *forward_peer_of(const struct lcore_forward *f, uint32_t node)
{
    for (uint32_t i = 0; i < f->peer_count; i++)
        if (f->peers[i].node == node)
            return &f->peers[i];
    return NULL;
}

bool forward_send(struct lcore_forward *f, struct forward_peer *p, struct forward_pack *pack,
                  const struct forward_bytes *beside)
{
    struct lcore_cluster *c = f->cluster;
    if (pack->length == 0)
        return true;
    bool is_ask = pack->bytes[0] == FORWARD_ASK;
    struct transport_datagram d = {
        .to = p->node,
        .head = pack->bytes,
        .head_length = pack->length,
    };
    if (beside != NULL) {
        d.bytes = beside->bytes;
        d.length = beside->length;
        d.hold = beside->hold;
        d.is_mapped = lcore_cluster_is_mapped(c, d.hold);
        hold_add(&c->holds[hold_word_owner(d.hold)], hold_word_frame(d.hold));
    }
    forward_seal(pack, c->lcore->node->start, is_ask ? p->asks_sent + 1 : 0);
    if (transport_send(c->transport, &d, 1) != 1) {
        if (beside != NULL)
            hold_sub(&c->holds[hold_word_owner(d.hold)], hold_word_frame(d.hold));
        return false;
    }
    p->asks_sent += is_ask;
    pack->length = 0;
    return true;
}

/* A buffer that no transport reads; NULL: there is none. */
static uint8_t *buffer_take(struct lcore_forward *f, uint64_t *hold)
{
    const struct holds *holds = &f->cluster->holds[FORWARD_HOLDS];
    for (uint32_t i = 0; i < LIMIT_FORWARD_BUFFERS; i++) {
        uint32_t buffer = (f->buffer_next + i) % LIMIT_FORWARD_BUFFERS;
        if (hold_is_held(holds, buffer))
            continue;
        f->buffer_next = buffer + 1;
        *hold = hold_word(FORWARD_HOLDS, buffer);
        return f->buffers + (size_t)buffer * FORWARD_PART_BYTES;
    }
    return NULL;
}

/* An ask whose value travels beside it, alone in its datagram, behind all that was packed before. */
static bool ask_beside(struct lcore_forward *f, struct forward_peer *p, struct forward_ask *a,
                       const void *key, const void *value)
{
    struct forward_bytes beside = {.length = a->value_here};
    if (!forward_send(f, p, &p->asks, NULL))
        return false;
    uint8_t *buffer = buffer_take(f, &beside.hold);
    if (buffer == NULL)
        return false;
    memcpy(buffer, value, a->value_here);
    beside.bytes = buffer;
    a->how |= FORWARD_BESIDE;
    bool fits = forward_put_ask(&p->asks, a, key, NULL);
    ASSERT(fits); /* an empty pack holds any key */
    bool sent = forward_send(f, p, &p->asks, &beside);
    if (!sent)
        p->asks.length = 0; /* Why: what it would say of its value is not kept. */
    return sent;
}

static bool ask_packed(struct lcore_forward *f, struct forward_peer *p, const struct forward_ask *a,
                       const void *key, const void *value)
{
    return forward_put_ask(&p->asks, a, key, value) ||
           (forward_send(f, p, &p->asks, NULL) && forward_put_ask(&p->asks, a, key, value));
}

/* ---- the end of a place ---- */

/* The agent that waits in a place; NULL: it is gone. */
static struct agent *agent_of(const struct lcore *l, const struct forward_place *place)
{
    struct agent *a = lcore_agent(l, place->origin.agent);
    return a != NULL && a->generation == place->origin.generation ? a : NULL;
}

/* The place is over; who waits in it gets c and, unless NULL, the value. */
static void end(struct lcore_forward *f, uint64_t number, struct ring_completion *c,
                const void *value)
{
    struct lcore *l = f->cluster->lcore;
    struct forward_place *place = forward_table_at(&f->table, number);
    struct agent *agent = agent_of(l, place);
    if (agent != NULL) {
        c->head.operation = place->origin.operation;
        c->tag = place->origin.tag;
        c->log = place->log;
        c->sequence = place->sequence;
        agent->rings[l->number].owed -= place->origin.owed;
        poll_complete(l, agent, c, value);
    }
    forward_table_end(&f->table, number);
}

/* epoch: as in RING_RETRY; 0 where the leader certainly did nothing. */
static void give_up(struct lcore_forward *f, uint64_t number, uint64_t epoch)
{
    struct ring_completion c = {.status = RING_RETRY, .epoch = epoch, .session_slot = SESSION_NONE};
    end(f, number, &c, NULL);
    counter_add(f->cluster->lcore->counters, COUNTER_FORWARDED_RETRIED, 1);
}

/* ---- asking ---- */

/* Who leads the shard, as far as is known here, and in which epoch; 0: nobody else, or nobody who can be
 * asked for anything. */
static uint32_t leader_of(const struct lcore_cluster *c, uint32_t log, uint64_t *epoch)
{
    const struct replica *r = &lcore_replica_of(c, log)->replica;
    bool decided = r->configuration.epoch >= r->promised;
    uint32_t node = decided ? r->configuration.leader.node : r->leader.node;
    *epoch = decided ? r->configuration.epoch : r->promised;
    if (node == c->node->self.node || transport_version(c->transport, node) < FORWARD_WIRE_VERSION)
        return 0;
    return node;
}

/* Bytes of a GET's answer that its agent has room for. */
static uint32_t room_of(const struct lcore_forward *f, const struct shard_origin *o)
{
    if (o->bulk)
        return (uint32_t)min_u64(o->room, LIMIT_VALUE_BYTES);
    uint64_t inside = o->owed - sizeof(struct ring_completion);
    return (uint32_t)min_u64(min_u64(o->room, inside), f->part_bytes);
}

static struct forward_ask ask_of(const struct lcore_forward *f, const struct lcore_request *q,
                                 const struct shard_origin *origin)
{
    const struct ring_request *r = &q->copy;
    bool is_get = r->head.operation == RING_GET;
    bool has_value = forward_has_value(r->head.operation);
    return (struct forward_ask){
        .session = r->session,
        .sequence = r->sequence,
        .expected_lsn = r->expected_lsn,
        .log = q->shard->log.number,
        .uid = q->agent->uid,
        .session_slot = r->session_slot,
        .value_length = is_get ? room_of(f, origin) : r->value_length,
        .value_here = has_value ? (uint32_t)min_u64(r->value_length, f->part_bytes) : 0,
        .flags = r->head.flags & (RING_FLAG_COMPARE | RING_FLAG_EXISTING),
        .key_length = r->key_length,
        .operation = r->head.operation,
        .how = q->ttl_ns != 0 ? FORWARD_TTL : 0,
        .ttl_ns = q->ttl_ns,
    };
}

/* Further parts of a value, until limit bytes of it are sent or there is no room. */
static void parts_send(struct lcore_forward *f, uint64_t number, const uint8_t *value,
                       uint64_t limit)
{
    struct forward_place *place = forward_table_at(&f->table, number);
    struct forward_peer *p = forward_peer_of(f, place->leader);
    while (place->done < place->length && place->done < limit) {
        struct forward_ask a = {
            .number = number,
            .epoch = place->epoch,
            .log = place->log,
            .value_length = place->length,
            .value_offset = place->done,
            .value_here = (uint32_t)min_u64(place->length - place->done, f->part_bytes),
            .operation = place->origin.operation,
        };
        if (!ask_beside(f, p, &a, NULL, value + place->done))
            return;
        place->done += a.value_here;
    }
}

/* Bytes that may be sent of a value in the bulk buffer when the leader has so many. */
static uint64_t parts_limit(const struct lcore_forward *f, uint32_t arrived)
{
    return arrived + (uint64_t)LIMIT_FORWARD_PARTS * f->part_bytes;
}

/* Whether a value in the ring, all of whose parts must be sent at once, can be: 0, RING_TOO_LARGE or
 * -EAGAIN. */
static int parts_fit(const struct lcore_forward *f, uint32_t length)
{
    uint64_t parts = ((uint64_t)length + f->part_bytes - 1) / f->part_bytes;
    if (parts > LIMIT_FORWARD_BUFFERS)
        return RING_TOO_LARGE;
    return parts + f->cluster->holds[FORWARD_HOLDS].total <= LIMIT_FORWARD_BUFFERS ? 0 : -EAGAIN;
}

/* The first part, with others of the pass where it is small. */
static bool first_send(struct lcore_forward *f, struct forward_peer *p, struct forward_ask *a,
                       const struct lcore_request *q, const uint8_t *value)
{
    return a->value_here > FORWARD_SMALL_BYTES ? ask_beside(f, p, a, q->key, value)
                                               : ask_packed(f, p, a, q->key, value);
}

/* Whether most nodes, this one among them, are agreed with and have not left an ask without an answer. */
static bool reaches_most(const struct lcore_forward *f)
{
    uint32_t reached = 1, count = 1;
    for (uint32_t i = 0; i < f->peer_count; i++) {
        if (f->peers[i].node == PAIR_NOBODY)
            continue;
        count++;
        reached += !f->peers[i].is_silent &&
                   transport_version(f->cluster->transport, f->peers[i].node) != 0;
    }
    return reached >= majority_of(count);
}

bool poll_forward_is_vain(const struct lcore *l, const struct shard *s)
{
    const struct lcore_forward *f = l->cluster->forward;
    uint64_t epoch;
    if (poll_cluster_may_write(l, s))
        return !poll_cluster_may_answer(l, s, l->now);
    const struct forward_peer *p = forward_peer_of(f, leader_of(l->cluster, s->log.number, &epoch));
    return p != NULL ? p->is_silent : !reaches_most(f);
}

int poll_forward_ask(struct lcore *l, const struct lcore_request *q,
                     const struct shard_origin *origin)
{
    struct lcore_forward *f = l->cluster->forward;
    struct forward_ask a = ask_of(f, q, origin);
    struct forward_peer *p = forward_peer_of(f, leader_of(l->cluster, a.log, &a.epoch));
    if (p == NULL)
        return RING_RETRY;
    uint8_t version = transport_version(l->cluster->transport, p->node);
    if (version < forward_version(&a))
        return version == 0 ? RING_RETRY : RING_UNSUPPORTED;
    bool in_parts = forward_is_long(a.operation) && a.value_here != a.value_length;
    int fit = in_parts && !origin->bulk ? parts_fit(f, a.value_length) : 0;
    if (fit != 0)
        return fit;
    struct forward_place *place = forward_table_next(&f->table);
    const uint8_t *value = origin->bulk ? q->agent->bulk + origin->bulk_offset
                                        : q->payload + align_up(a.key_length, 8);
    a.number = f->table.tail;
    if (place == NULL || !first_send(f, p, &a, q, value))
        return -EAGAIN;
    *place = (struct forward_place){
        .origin = *origin,
        .epoch = a.epoch,
        .ticks = l->now,
        .sequence = a.sequence,
        .leader = p->node,
        .log = a.log,
        .uid = a.uid,
        .length = forward_has_value(a.operation) ? a.value_length : 0,
        .done = a.value_here,
    };
    forward_table_take(&f->table);
    counter_add(l->counters, COUNTER_FORWARDED, 1);
    if (!in_parts)
        return 0;
    parts_send(f, a.number, value, origin->bulk ? parts_limit(f, 0) : UINT64_MAX);
    /* Why: the ring's memory is given back.  The leader does nothing before it has all of the value. */
    if (!origin->bulk && place->done != place->length)
        give_up(f, a.number, 0);
    return 0;
}

/* ---- answers ---- */

/* The leader has the value up to there. */
static void parts_arrived(struct lcore_forward *f, const struct forward_answer *a)
{
    struct forward_place *place = forward_table_at(&f->table, a->number);
    if (!forward_is_long(place->origin.operation) || a->value_offset <= place->arrived ||
        a->value_offset > place->done)
        return;
    place->arrived = a->value_offset;
    place->ticks = f->cluster->lcore->now;
    const struct agent *agent = agent_of(f->cluster->lcore, place);
    /* Why nothing where it is gone: so is its memory, and nobody waits for the rest. */
    if (place->origin.bulk && agent != NULL)
        parts_send(f, a->number, agent->bulk + place->origin.bulk_offset,
                   parts_limit(f, place->arrived));
    if (place->arrived == place->done && place->done != place->length)
        give_up(f, a->number, 0);
}

/* All parts that were on the way are here: ask for those behind them. */
static void rest_ask(struct lcore_forward *f, const struct forward_answer *a, const void *key)
{
    const struct forward_place *place = forward_table_at(&f->table, a->number);
    const struct forward_ask ask = {
        .number = a->number,
        .epoch = place->epoch,
        .log = place->log,
        .uid = place->uid,
        .session_slot = SESSION_NONE,
        .value_length = room_of(f, &place->origin),
        .value_offset = place->done,
        .key_length = a->key_length,
        .operation = RING_GET,
    };
    if (!ask_packed(f, forward_peer_of(f, place->leader), &ask, key, NULL))
        give_up(f, a->number, 0);
}

/* A part of a value that goes to the bulk buffer.  True: it was the last one. */
static bool part_take(struct lcore_forward *f, const struct forward_answer *a, const void *key,
                      const void *value)
{
    struct lcore *l = f->cluster->lcore;
    struct forward_place *place = forward_table_at(&f->table, a->number);
    const struct agent *agent = agent_of(l, place);
    if (a->value_offset != place->done)
        return false;
    if (place->done != 0 && a->lsn != place->lsn) {
        give_up(f, a->number, 0); /* another version: what came before is none of it */
        return false;
    }
    if (agent != NULL)
        memcpy(agent->bulk + place->origin.bulk_offset + a->value_offset, value, a->value_here);
    place->done += a->value_here;
    place->lsn = a->lsn;
    place->ticks = l->now;
    if (place->done == a->value_length)
        return true;
    if (a->key_length != 0)
        rest_ask(f, a, key);
    return false;
}

/* Whether a value is one that the place has room for; else no correct leader sent it. */
static bool value_fits(const struct lcore_forward *f, const struct forward_place *place,
                       const struct forward_answer *a)
{
    if (place->origin.operation != RING_GET)
        return a->value_length == a->value_here &&
               (a->value_length == 0 || (a->value_length == sizeof(int64_t) &&
                                         forward_has_number(place->origin.operation)));
    if (a->status != RING_OK)
        return a->value_here == 0;
    return a->value_length <= room_of(f, &place->origin) &&
           (a->value_length == 0 || a->value_here != 0) &&
           (place->origin.bulk || a->value_here == a->value_length);
}

static int answer_take(struct lcore_forward *f, uint32_t from, const struct forward_answer *a,
                       const uint8_t *const parts[2])
{
    struct lcore *l = f->cluster->lcore;
    const struct forward_place *place =
        a->start == l->node->start ? forward_table_find(&f->table, a->number, from) : NULL;
    if (place == NULL) {
        counter_add(l->counters, COUNTER_FORWARDS_LATE, 1);
        return 0;
    }
    if (a->how & FORWARD_MORE) {
        parts_arrived(f, a);
        return 0;
    }
    if (!value_fits(f, place, a))
        return -EPROTO;
    bool is_get = place->origin.operation == RING_GET;
    bool in_bulk = place->origin.bulk && is_get && a->value_here != 0;
    if (in_bulk && !part_take(f, a, parts[0], parts[1]))
        return 0;
    struct ring_completion c = {
        .status = a->status,
        .value_length = a->value_length,
        .lsn = a->lsn,
        .epoch = a->epoch,
        .session_slot = a->session_slot,
    };
    if (!is_get) {
        c.value_length = 0;
        memcpy(&c.number, parts[1], a->value_here);
    }
    end(f, a->number, &c, !is_get || in_bulk || a->value_here == 0 ? NULL : parts[1]);
    counter_add(l->counters, COUNTER_FORWARDED_ANSWERED, 1);
    return 0;
}

/* Why twice: a datagram that is not sound to its end has no effect. */
int forward_answers_received(struct lcore_forward *f, const struct forward_peer *from,
                             struct forward_reader *r)
{
    struct forward_reader judge = *r;
    struct forward_answer a;
    const uint8_t *parts[2];
    int more, error = 0;
    while ((more = forward_next_answer(&judge, &a, &parts[0], &parts[1])) > 0) {
    }
    if (more < 0)
        return -EPROTO;
    while (forward_next_answer(r, &a, &parts[0], &parts[1]) > 0)
        if (answer_take(f, from->node, &a, parts) != 0)
            error = -EPROTO;
    return error;
}

int poll_forward_received(struct lcore *l, const struct transport_received *d)
{
    struct lcore_forward *f = l->cluster->forward;
    struct forward_peer *from = forward_peer_of(f, d->from);
    struct forward_reader r;
    if (from == NULL || forward_open(&r, d) != 0)
        return -EPROTO;
    from->is_silent = false;
    return r.kind == FORWARD_ASK ? forward_asks_received(f, from, &r)
                                 : forward_answers_received(f, from, &r);
}

/* ---- time ---- */

static bool is_late(const struct lcore_forward *f, const struct forward_place *place)
{
    const struct lcore *l = f->cluster->lcore;
    return l->now - place->ticks > LEASES_GIVEN_UP * l->ticks.lease;
}

/* Whether nobody will answer in a place any more. */
static bool is_over(const struct lcore_forward *f, const struct forward_place *place)
{
    uint64_t epoch;
    return is_late(f, place) || leader_of(f->cluster, place->log, &epoch) != place->leader ||
           epoch != place->epoch;
}

static void places_look(struct lcore_forward *f)
{
    const struct lcore *l = f->cluster->lcore;
    if (f->table.open_count == 0 || (f->version == f->cluster->version &&
                                     l->now - f->ticks_looked < l->ticks.lease / LOOKS_PER_LEASE))
        return;
    f->version = f->cluster->version;
    f->ticks_looked = l->now;
    uint64_t tail = f->table.tail;
    for (uint64_t i = f->table.head; i < tail; i++) {
        const struct forward_place *place = forward_table_at(&f->table, i);
        if (place == NULL || !is_over(f, place))
            continue;
        struct forward_peer *p = forward_peer_of(f, place->leader);
        p->is_silent = p->is_silent || is_late(f, place);
        give_up(f, place->number, place->epoch);
    }
}

/* Why with the epoch: its leader may have carried it out. */
void poll_forward_space_end(struct lcore *l, uint32_t space)
{
    struct lcore_forward *f = l->cluster->forward;
    uint64_t tail = f->table.tail;
    for (uint64_t i = f->table.head; i < tail; i++) {
        const struct forward_place *place = forward_table_at(&f->table, i);
        if (place != NULL && place->log >> NODE_LOG_SPACE_SHIFT == space)
            give_up(f, place->number, place->epoch);
    }
}

/* Why what is refused stays: the peer's queue is full, and places that wait too long are given up. */
void poll_forward_flush(struct lcore *l)
{
    if (l->cluster == NULL)
        return;
    struct lcore_forward *f = l->cluster->forward;
    if (UNLIKELY(f->ticks_began == 0))
        f->ticks_began = l->now;
    places_look(f);
    poll_cut_off_step(l);
    for (uint32_t i = 0; i < f->peer_count; i++) {
        struct forward_peer *p = &f->peers[i];
        (void)!forward_send(f, p, &p->asks, NULL);
        (void)!forward_send(f, p, &p->answers, NULL);
    }
}

/* ---- nodes that come and go ---- */

void poll_forward_meet(struct lcore *l, uint32_t node)
{
    peer_add(l->cluster->forward, node);
}

/* Why the places with the epoch: it may have carried them out.  What it asked is carried out, and its answers
 * are dropped: the window that they are for is gone. */
void poll_forward_part(struct lcore *l, uint32_t node)
{
    struct lcore_forward *f = l->cluster->forward;
    struct forward_peer *p = forward_peer_of(f, node);
    uint64_t tail = f->table.tail;
    for (uint64_t i = f->table.head; i < tail; i++) {
        const struct forward_place *place = forward_table_at(&f->table, i);
        if (place != NULL && place->leader == node)
            give_up(f, place->number, place->epoch);
    }
    for (uint32_t i = 0; i < LIMIT_FORWARD_PUTS; i++)
        if (f->puts[i].from == p)
            f->puts[i].from = NULL;
    p->node = PAIR_NOBODY;
    p->version = 0;
    p->is_silent = false;
    p->window = (struct forward_window){0};
    p->asks.length = p->answers.length = 0;
}
