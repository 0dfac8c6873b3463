#include "dataplane/lag.h"
#include "dataplane/lcore_forward.h"

#include "engine/plant.h"

#define RECEIVE_BURST 64u
#define COMPLETE_BURST 64u

/* ---- sending ---- */

/* A message by itself, its bytes in the log. */
static void datagram_make(struct lcore_cluster *c, const struct replica *r,
                          const struct replica_out *out, struct transport_datagram *d)
{
    const struct message *m = &out->message;
    *d = (struct transport_datagram){
        .to = out->to,
        .head = c->head,
        .head_length = (uint32_t)message_head_bytes(m),
    };
    if (m->kind == MESSAGE_PIECE) {
        /* Copied: the next piece is made where this one stands. */
        message_encode(m, c->head);
        d->head_length = (uint32_t)message_bytes(m);
        return;
    }
    message_encode_head(m, c->head);
    if (m->kind != MESSAGE_APPEND || m->length == 0)
        return;
    const struct shard *s = r->shard;
    uint64_t offset = (uint64_t)(m->bytes - s->arena);
    uint32_t space = s->log.number >> NODE_LOG_SPACE_SHIFT;
    d->bytes = m->bytes;
    d->length = m->length;
    d->hold = hold_word(space, (uint32_t)(offset >> s->geometry.segment_shift));
    d->is_mapped = lcore_cluster_is_mapped(c, d->hold);
    hold_add(&c->holds[space], hold_word_frame(d->hold));
}

static void message_send(struct lcore_cluster *c, struct replica *r, struct replica_out *out)
{
    if (UNLIKELY(message_is_of_log_write(&out->message)) && !poll_log_write_send(c, r, out))
        return;
    uint8_t *place = poll_bundle_place(c, out->to, message_bytes(&out->message));
    if (place != NULL) {
        message_encode(&out->message, place);
        return;
    }
    struct transport_datagram d;
    datagram_make(c, r, out, &d);
    poll_bundle_alone(c, &d);
}

/* Why the grant is not told here: the replica may be in the middle of a step. */
static void activation_ask(struct lcore_cluster *c, struct lcore_replica *r)
{
    uint32_t log = r->replica.shard->log.number;
    enum cluster_activation answer = c->node->activate(c->node->context, log, r->epoch_asked);
    r->waits_for_answer = answer == CLUSTER_ASKED;
    if (answer == CLUSTER_ACTIVE)
        r->epoch_granted = r->epoch_asked;
}

static void activation_begin(struct lcore_cluster *c, struct lcore_replica *r)
{
    uint64_t epoch = c->update.activate;
    if (epoch == 0 || r->epoch_asked == epoch)
        return;
    r->epoch_asked = epoch;
    activation_ask(c, r);
}

static void promotion_tell(const struct lcore_cluster *c, const struct replica *r)
{
    const struct node_cluster *n = c->node;
    if (UNLIKELY(c->update.promote.incarnation != 0) && n->promote != NULL)
        n->promote(n->context, r->shard->log.number, r->promised, &c->update.promote);
}

/* What a step wanted: shown first, then sent. */
static void update_send(struct lcore_cluster *c, struct lcore_replica *r)
{
    board_show(&c->boards, &r->replica);
    for (uint32_t i = 0; i < c->update.out_count; i++)
        message_send(c, &r->replica, &c->update.out[i]);
    activation_begin(c, r);
    promotion_tell(c, &r->replica);
    if (UNLIKELY(c->update.disconnect))
        transport_disconnect(c->transport, c->update.disconnect_node);
    if (UNLIKELY(r->replica.role == REPLICA_STOPPED) && !r->stop_counted) {
        r->stop_counted = true;
        counter_add(c->lcore->counters, COUNTER_STOPPED, 1);
    }
    replica_update_reset(&c->update);
    lcore_mark_dirty(c->lcore, r->replica.shard);
}

/* Ready for a call of its replica. */
static struct replica *enter(struct lcore_cluster *c, struct lcore_replica *r)
{
    struct lcore *l = c->lcore;
    r->replica.clock_ns = l->clock_ns;
    r->replica.reclaim = &l->reclaim;
    l->question.space = r->replica.shard->frames.header->id; /* what reclaim asks of pins */
    return &r->replica;
}

/* ---- the coordinator's decisions ---- */

/* Asked for with a decision, or while this node did not know yet that it leads. */
static void hand_over_take(const struct lcore_cluster *c, struct lcore_replica *r)
{
    const struct node_cluster *n = c->node;
    struct replica *replica = &r->replica;
    if (!replica_leads(replica) || r->epoch_letting_go == replica->promised ||
        !n->hands_over(n->context, replica->shard->log.number, replica->promised))
        return;
    r->epoch_letting_go = replica->promised;
    replica_hand_over(replica);
}

static void decision_take(struct lcore_cluster *c, struct lcore_replica *r)
{
    const struct node_cluster *n = c->node;
    struct replica *replica = enter(c, r);
    uint32_t log = replica->shard->log.number;
    struct configuration newer;
    if (n->configuration(n->context, log, replica->configuration.epoch, &newer)) {
        replica_configure(replica, &newer, c->lcore->now, &c->update);
        update_send(c, r);
    }
    if (r->waits_for_answer) {
        activation_ask(c, r);
        group_wake(&c->group, replica);
    }
    hand_over_take(c, r);
}

/* Why all shards: decisions are seldom, and one of them concerns many. */
static void decisions_take(struct lcore_cluster *c)
{
    struct lcore *l = c->lcore;
    uint64_t version = cluster_version(c->node);
    if (LIKELY(version == c->version))
        return;
    c->version = version;
    l->clock_ns = clock_realtime_ns();
    l->ticks_busy = l->now;
    for (uint32_t i = 0; i < l->shard_count; i++)
        decision_take(c, lcore_replica_at(c, i));
}

/* ---- receiving ---- */

static void received(struct lcore_cluster *c, const struct transport_received *d)
{
    struct lcore *l = c->lcore;
    struct message m;
    struct pair_frame f;
    int error = -EPROTO;
    bool is_whole = d->bytes == NULL && message_decode(&m, d->head, d->head_length) == 0;
    if (forward_is(d->head, d->head_length)) {
        error = poll_forward_received(l, d);
    } else if (is_whole ||
               message_decode_parts(&m, d->head, d->head_length, d->bytes, d->length) == 0) {
        struct lcore_replica *r = lcore_replica_of(c, m.log);
        if (r == NULL) {
            /* Its space is not made here yet, or was dropped. */
            error = m.from.node == d->from ? poll_log_write_stranger(c, &m) : -EPROTO;
        } else if (m.from.node == d->from) {
            error = replica_receive(enter(c, r), &m, l->now, &c->update);
            update_send(c, r);
        }
    } else if (d->length == 0 && pair_frame_decode(&f, d->head, d->head_length) == 0 &&
               f.from.node == d->from) {
        error = group_receive(&c->group, &f, l->now);
    }
    l->ticks_busy = l->now;
    if (error == -EPROTO)
        counter_add(l->counters, COUNTER_PEER_PROTOCOL, 1);
    else
        counter_add(l->counters, COUNTER_PEER_MESSAGES, 1);
}

/* Why in stages: each leads to what the next one fetches, and the misses of messages for many shards
 * overlap.  Nothing that is read here was judged: hints. */
static void burst_prefetch(const struct lcore_cluster *c, const struct transport_received *burst,
                           uint32_t count)
{
    const struct lcore_replica *replicas[RECEIVE_BURST];
    const struct shard *shards[RECEIVE_BURST];
    ASSERT(count <= RECEIVE_BURST);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t log = message_peek_log(burst[i].head, burst[i].head_length);
        replicas[i] = lcore_replica_of(c, log);
        if (replicas[i] != NULL)
            replica_prefetch(&replicas[i]->replica);
        PREFETCH(burst[i].bytes);
    }
    for (uint32_t i = 0; i < count; i++) {
        shards[i] = replicas[i] != NULL ? replicas[i]->replica.shard : NULL;
        if (shards[i] != NULL)
            shard_prefetch_self(shards[i]);
    }
    for (uint32_t i = 0; i < count; i++)
        if (shards[i] != NULL)
            shard_prefetch_board(shards[i]);
    for (uint32_t i = 0; i < count; i++)
        if (shards[i] != NULL)
            shard_prefetch_land(shards[i], burst[i].bytes, burst[i].length);
    for (uint32_t i = 0; i < count; i++)
        if (shards[i] != NULL)
            shard_prefetch_apply(shards[i], burst[i].bytes, burst[i].length);
}

/* What the transport let go of; what was sent leaves. */
static void completed(struct lcore_cluster *c)
{
    uint64_t holds[COMPLETE_BURST];
    uint32_t count;
    do {
        count = transport_complete(c->transport, holds, COMPLETE_BURST);
        for (uint32_t i = 0; i < count; i++) {
            if (log_writes_is_word(holds[i]))
                poll_log_write_completed(c, holds[i]);
            else
                hold_sub(&c->holds[hold_word_owner(holds[i])], hold_word_frame(holds[i]));
        }
    } while (count == COMPLETE_BURST);
}

/* An item as a message in two parts: what is fetched for it, before it is judged. */
static struct transport_received hint_of(const struct bundle_item *item)
{
    bool has_bytes = item->length > MESSAGE_HEAD_BYTES;
    return (struct transport_received){
        .head = item->bytes,
        .head_length = item->length,
        .bytes = has_bytes ? item->bytes + MESSAGE_HEAD_BYTES : NULL,
        .length = has_bytes ? item->length - MESSAGE_HEAD_BYTES : 0,
    };
}

/* By what it says of itself: a hint. */
static bool is_pair_frame(const struct transport_received *d)
{
    return d->head_length != 0 && (d->head[0] == PAIR_PULSE || d->head[0] == PAIR_ECHO);
}

/* Returns whether it is more than a heartbeat. */
static bool single_received(struct lcore_cluster *c, const struct transport_received *d)
{
    received(c, d);
    return !is_pair_frame(d);
}

/* Returns whether there is more in it than heartbeats. */
static bool bundle_received(struct lcore_cluster *c, const struct transport_received *d)
{
    struct bundle_item items[BUNDLE_ITEMS_MAX];
    struct transport_received hints[BUNDLE_ITEMS_MAX];
    bool is_busy = false;
    int count = d->bytes == NULL ? bundle_split(d->head, d->head_length, items) : -EPROTO;
    if (count < 0)
        counter_add(c->lcore->counters, COUNTER_PEER_PROTOCOL, 1);
    for (int i = 0; i < count; i++)
        hints[i] = hint_of(&items[i]);
    if (count > 1)
        burst_prefetch(c, hints, (uint32_t)count);
    for (int i = 0; i < count; i++) {
        const struct transport_received part = {
            .from = d->from, .head = items[i].bytes, .head_length = items[i].length};
        is_busy |= single_received(c, &part);
    }
    return is_busy;
}

void poll_cluster_receive(struct lcore *l)
{
    struct lcore_cluster *c = l->cluster;
    if (c == NULL)
        return;
    struct transport_received burst[RECEIVE_BURST];
    uint32_t count = transport_receive(c->transport, burst, RECEIVE_BURST);
    /* Why the larger: what counts from a reading is unsigned, and processors may differ by a little. */
    l->now = max_u64(l->now, clock_ticks(l->node->clock_kind));
    group_begin(&c->group, l->now);
    poll_log_write_disconnected(c);
    poll_reclaim(l);
    if (count > 1 && l->shard_count > 1)
        burst_prefetch(c, burst, count);
    const uint64_t ticks_busy = l->ticks_busy;
    bool is_busy = false;
    for (uint32_t i = 0; i < count; i++) {
        if (UNLIKELY(group_pair(&c->group, burst[i].from) == NULL))
            counter_add(l->counters, COUNTER_PEER_PROTOCOL, 1); /* of a node that was removed */
        else if (bundle_is(burst[i].head, burst[i].head_length))
            is_busy |= bundle_received(c, &burst[i]);
        else
            is_busy |= single_received(c, &burst[i]);
    }
    /* Why not for heartbeats: an idle node would poll on for a while after each of them. */
    if (!is_busy)
        l->ticks_busy = ticks_busy;
    transport_release(c->transport);
    decisions_take(c);
}

/* ---- deciding ---- */

/* The epoch that we asked for is active: lead. */
static void activation_tell(struct lcore_cluster *c, struct lcore_replica *r)
{
    struct replica *replica = &r->replica;
    if (r->epoch_granted == 0)
        return;
    if (replica->role == REPLICA_BRINGING && r->epoch_granted == replica->promised) {
        struct configuration active = replica->configuration;
        active.active = true;
        replica_configure(replica, &active, c->lcore->now, &c->update);
        update_send(c, r);
        counter_add(c->lcore->counters, COUNTER_ACTIVATIONS, 1);
        hand_over_take(c, r);
    }
    r->epoch_granted = 0;
}

/* Its rights are given up, or it leads no more. */
static void hand_over_tell(const struct lcore_cluster *c, struct lcore_replica *r)
{
    uint64_t epoch = r->epoch_letting_go;
    if (epoch == 0 || r->replica.handing_over)
        return;
    r->epoch_letting_go = 0;
    c->node->handed_over(c->node->context, r->replica.shard->log.number, epoch);
}

static void decide(struct lcore_cluster *c, uint32_t at)
{
    struct lcore_replica *r = lcore_replica_of(c, c->group.busy[at]->shard->log.number);
    struct replica *replica = enter(c, r);
    activation_tell(c, r);
    bool more;
    do {
        replica_tick(replica, c->lcore->now, &c->update);
        more = c->update.more;
        update_send(c, r);
    } while (more);
    hand_over_tell(c, r);
}

void poll_cluster_decide(struct lcore *l)
{
    struct lcore_cluster *c = l->cluster;
    if (c == NULL)
        return;
    for (uint32_t i = 0; i < l->dirty_count; i++)
        group_wake(&c->group, &lcore_replica_of(c, l->dirty[i]->log.number)->replica);
    /* Why in turn: who comes first may leave nothing of what a peer may be fed in a pass. */
    const uint32_t first_count = c->group.ready_count;
    for (uint32_t i = 0; i < c->group.ready_count; i++)
        decide(c, i < first_count ? (c->turn + i) % first_count : i);
    /* Why behind the others: then it is known which peers something leaves for. */
    for (uint32_t i = 0; i < c->group.ready_count; i++)
        if (replica_rides(c->group.busy[i]))
            decide(c, i);
    c->turn += group_is_short(&c->group) || c->group.copy_waits;
}

void poll_cluster_flush(struct lcore *l)
{
    struct lcore_cluster *c = l->cluster;
    if (c == NULL)
        return;
    struct pair_frame f;
    struct transport_datagram d = {.head = c->head};
    while (boards_frame(&c->boards, &f, &d.to, l->now_late)) {
        d.head_length = (uint32_t)pair_frame_bytes(&f);
        uint8_t *place = poll_bundle_place(c, d.to, d.head_length);
        pair_frame_encode(&f, place != NULL ? place : c->head);
        if (place == NULL)
            poll_bundle_alone(c, &d);
    }
    poll_bundle_flush(c);
    group_settle(&c->group);
    group_rest(&c->group);
    completed(c); /* and all of it leaves, before others have the processor */
}

/* ---- what the other phases ask ---- */

bool poll_cluster_may_write(const struct lcore *l, const struct shard *s)
{
    return l->cluster == NULL ||
           replica_leads(&lcore_replica_of(l->cluster, s->log.number)->replica);
}

bool poll_cluster_may_answer(const struct lcore *l, const struct shard *s, uint64_t now)
{
    if (l->cluster == NULL)
        return now < l->now + l->ticks.lease; /* we stood still for longer than the lease */
    uint64_t at = PLANTED(CLOCK_READ_ONCE) ? l->now : now;
    return replica_may_answer(&lcore_replica_of(l->cluster, s->log.number)->replica, at);
}

/* Nanoseconds until something is due that nobody wakes us for. */
static uint64_t due_in_ns(const struct lcore *l)
{
    const struct lcore_cluster *c = l->cluster;
    uint64_t ticks = group_wait(&c->group, l->now);
    uint64_t wait =
        ticks == UINT64_MAX ? UINT64_MAX : clock_ticks_to_ns(ticks, l->node->ticks_per_s);
    uint64_t deadline = transport_deadline(c->transport);
    if (deadline == UINT64_MAX)
        return wait;
    uint64_t now = clock_boottime_ns();
    return min_u64(wait, deadline > now ? deadline - now : 0);
}

bool poll_cluster_feeds(const struct lcore *l)
{
    return l->cluster != NULL && group_is_short(&l->cluster->group);
}

bool poll_cluster_tell(struct lcore *l)
{
    return l->cluster != NULL && group_tell(&l->cluster->group);
}

bool poll_cluster_sleep(struct lcore *l, int *ms)
{
    struct lcore_cluster *c = l->cluster;
    if (c == NULL)
        return true;
    /* Why first: what the pass sent leaves now, and is due no more. */
    if (group_is_short(&c->group) || !transport_sleep(c->transport))
        return false;
    /* Why a millisecond longer rather than shorter: whoever wakes too soon wakes twice. */
    *ms = (int)min_u64((uint64_t)*ms, due_in_ns(l) / NS_PER_MS + 1);
    return true;
}

void poll_cluster_awake(struct lcore *l)
{
    if (l->cluster != NULL)
        transport_awake(l->cluster->transport);
}

bool poll_cluster_holds(const struct lcore *l, uint32_t space, uint32_t frame)
{
    return l->cluster != NULL && hold_is_held(&l->cluster->holds[space], frame);
}

void poll_cluster_publish(struct lcore *l)
{
    struct lcore_cluster *c = l->cluster;
    if (c == NULL || l->now - c->ticks_published < c->publish_interval)
        return;
    c->ticks_published = l->now;
    transport_publish(c->transport);
    struct lag *lag = c->node->lags[l->number];
    if (lag != NULL)
        lag_look(lag, &c->group, l->now);
}

/* ---- nodes that come and go ---- */

static struct bundle *bundle_at(const struct lcore_cluster *c, const struct pair *p)
{
    return &c->bundles[p - c->group.pairs];
}

void poll_cluster_meet(struct lcore *l, uint32_t node, struct transport_peer *peer)
{
    struct lcore_cluster *c = l->cluster;
    struct lag *lag = c->node->lags[l->number];
    transport_peer_join(c->transport, peer);
    c->group.append_bytes = group_append_bytes(c->transport->head_whole);
    struct pair *p = group_pair_add(&c->group, node);
    ASSERT(bundle_at(c, p)->length == 0);
    poll_forward_meet(l, node);
    if (lag != NULL)
        lag_node_add(lag, node);
    boards_again(&c->boards);
}

struct transport_peer *poll_cluster_part(struct lcore *l, uint32_t node)
{
    struct lcore_cluster *c = l->cluster;
    struct lag *lag = c->node->lags[l->number];
    struct pair *p = group_pair(&c->group, node);
    ASSERT(p != NULL);
    poll_forward_part(l, node);
    bundle_at(c, p)->length = 0; /* what was said to it goes nowhere */
    bundle_at(c, p)->count = 0;
    group_pair_remove(&c->group, p);
    c->parting = TRANSPORT_NOBODY;
    if (lag != NULL)
        lag_node_remove(lag, node);
    boards_again(&c->boards); /* who reads under its leases sees that they are over */
    return transport_peer_leave(c->transport, node);
}
