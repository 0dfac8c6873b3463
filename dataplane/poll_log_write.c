/* Log writes of an lcore: grants told to leaders, ranges handed to the transport, what comes of them.
 *
 * The replicas decide (replica_grant.h); here stands what they leave to their lcore:
 *   - tokens.  A grant names memory in words of the transport; one that the transport has no words for now was never
 *     given.  A body that leaves the placing to the receiver's processor gets ours: space and offset in its arena.
 *     Of each grant that comes back the transport is told (transport.h, L5).
 *   - holds.  A range is held like that of a datagram until its write is complete (log_writes.h); one that is refused
 *     goes by message.
 *   - shards and nodes that go.  Memory that somebody may still write to is not let go of: for a space that goes its
 *     grants are asked for, by who has no replica for them any more, and holders that do not return them have their
 *     connection torn down; for a node that goes it is torn down in any case. */
#include "dataplane/lcore_cluster.h"
#include "dataplane/replica_grant.h"
#include "dataplane/transport_framed.h"

/* Grants of a space that goes are asked for so often, at intervals of the retry time, before the connections with
 * their holders are torn down. */
#define LEAVE_RECALLS 8u
_Static_assert(GROUP_LOG_WRITE_BYTES <= TRANSPORT_FRAMED_LENGTH_MAX, "one that is refused is sent");

/* ---- what a peer writes here, where that is the processor's work ---- */

/* Nothing in it is trusted.  NULL: it has no place. */
static uint8_t *place_for(const struct lcore_cluster *c, uint32_t from,
                          const struct grant_token *token, uint32_t length)
{
    uint64_t space = token->address >> LIMIT_ARENA_SHIFT;
    uint64_t offset = token->address & ((UINT64_C(1) << LIMIT_ARENA_SHIFT) - 1);
    const struct node_space *s = space <= LIMIT_SPACES ? c->lcore->spaces[space] : NULL;
    if (s == NULL || group_pair(&c->group, from) == NULL ||
        token->key != group_connection_key(&c->group, from))
        return NULL;
    const struct layout_geometry *g = &s->geometry;
    uint64_t segment = UINT64_C(1) << g->segment_shift;
    if (offset >= layout_arena_bytes(g) || (offset | length) % 8 != 0 || length == 0 ||
        (offset & (segment - 1)) + length > segment)
        return NULL;
    uint32_t frame = (uint32_t)(offset >> g->segment_shift);
    uint32_t shard = layout_frame_shard(g, frame);
    if (s->boards[shard].lcore != c->lcore->number ||
        !grant_is_out_to(&s->shards[shard]->grants, frame, from))
        return NULL;
    return s->arena + offset;
}

static void placed(void *context, uint32_t from, const struct grant_token *token,
                   const uint8_t *bytes, uint32_t length)
{
    const struct lcore_cluster *c = context;
    uint8_t *to = place_for(c, from, token, length);
    if (to != NULL)
        record_copy(to, bytes, length);
    else
        counter_add(c->lcore->counters, COUNTER_LOG_WRITES_STRAY, 1);
}

/* ---- set-up ---- */

static bool prove(void *context, uint32_t node, const struct grant_range *range,
                  struct grant_proof *proof)
{
    const struct lcore_cluster *c = context;
    return transport_prove(c->transport, node, range, proof);
}

static bool proves(void *context, uint32_t node, const struct grant_range *range,
                   const struct grant_proof *proof)
{
    const struct lcore_cluster *c = context;
    return transport_proves(c->transport, node, range, proof);
}

static void revoke(void *context, uint32_t node, const uint8_t *memory)
{
    const struct lcore_cluster *c = context;
    transport_revoke(c->transport, node, memory);
}

void poll_log_write_open(struct lcore_cluster *c, struct log_write *memory)
{
    log_writes_init(&c->writes, memory, LIMIT_LOG_WRITES);
    c->group.prover = (struct grant_prover){.prove = prove, .proves = proves, .context = c};
    c->group.revoker = (struct grant_revoker){.revoke = revoke, .context = c};
    c->parting = TRANSPORT_NOBODY;
    c->transport->place = placed;
    c->transport->place_context = c;
}

/* ---- what leaves ---- */

/* Why not to a node that goes: its connection was torn down for it, and may be there again. */
static bool grant_send(struct lcore_cluster *c, const struct replica *r, struct replica_out *out)
{
    struct grant_token *token = &out->message.token;
    struct shard *s = r->shard;
    const uint8_t *memory = s->arena + token->address;
    token->address |= (uint64_t)(s->log.number >> NODE_LOG_SPACE_SHIFT) << LIMIT_ARENA_SHIFT;
    if (out->to != c->parting && group_pair(&c->group, out->to) != NULL &&
        transport_token(c->transport, out->to, memory, UINT64_C(1) << s->geometry.segment_shift,
                        token))
        return true;
    grant_withdraw(&s->grants, out->message.number);
    return false;
}

static const struct member *peer_of(const struct replica *r, uint32_t node)
{
    uint32_t slot = 1;
    while (slot < r->commit.peer_count && r->peers[slot].id.node != node)
        slot++;
    ASSERT(slot < r->commit.peer_count); /* it has just been fed */
    return &r->peers[slot].id;
}

/* False: the transport has not taken it, nor is anything of it held. */
static bool range_write(struct lcore_cluster *c, const struct replica_out *out,
                        const struct log_write *write)
{
    struct holds *holds = &c->holds[hold_word_owner(write->hold)];
    const struct message *m = &out->message;
    const struct transport_log_write w = {
        .to = out->to,
        .token = m->token,
        .bytes = m->bytes,
        .length = m->length,
        .hold = log_writes_add(&c->writes, write),
    };
    if (w.hold == 0)
        return false;
    hold_add(holds, hold_word_frame(write->hold));
    if (transport_log_write(c->transport, &w) == 0)
        return true;
    hold_sub(holds, hold_word_frame(write->hold));
    (void)log_writes_end(&c->writes, w.hold);
    return false;
}

/* Why an APPEND where it was refused: nothing is lost, and nobody waits for what is not coming. */
static void announce_send(struct lcore_cluster *c, struct replica *r, struct replica_out *out)
{
    const struct shard *s = r->shard;
    uint64_t offset = (uint64_t)(out->message.bytes - s->arena);
    const struct log_write write = {
        .peer = *peer_of(r, out->to),
        .number = out->message.number,
        .hold = hold_word(s->log.number >> NODE_LOG_SPACE_SHIFT,
                          (uint32_t)(offset >> s->geometry.segment_shift)),
        .log = s->log.number,
    };
    if (range_write(c, out, &write)) {
        counter_add(c->lcore->counters, COUNTER_LOG_WRITES, 1);
        return;
    }
    counter_add(c->lcore->counters, COUNTER_LOG_WRITES_REFUSED, 1);
    replica_written(r, &write.peer, write.number);
    out->message.kind = MESSAGE_APPEND;
}

bool poll_log_write_send(struct lcore_cluster *c, struct replica *r, struct replica_out *out)
{
    if (out->message.kind == MESSAGE_GRANT)
        return grant_send(c, r, out);
    if (out->message.kind == MESSAGE_ANNOUNCE)
        announce_send(c, r, out);
    return true;
}

void poll_log_write_completed(struct lcore_cluster *c, uint64_t hold)
{
    const struct log_write done = log_writes_end(&c->writes, hold);
    /* Why it is not another one under the same number: its space is not gone before this hold came back. */
    struct lcore_replica *r = lcore_replica_of(c, done.log);
    hold_sub(&c->holds[hold_word_owner(done.hold)], hold_word_frame(done.hold));
    if (r != NULL)
        replica_written(&r->replica, &done.peer, done.number);
}

/* ---- shards without a replica ---- */

static void say(struct lcore_cluster *c, uint32_t node, const struct message *m)
{
    uint8_t *place = poll_bundle_place(c, node, message_bytes(m));
    message_encode(m, place != NULL ? place : c->head);
    if (place != NULL)
        return;
    const struct transport_datagram d = {
        .to = node, .head = c->head, .head_length = (uint32_t)message_bytes(m)};
    poll_bundle_alone(c, &d);
}

/* Nobody here writes to that log any more, once the last write is complete. */
static int recall_answer(struct lcore_cluster *c, const struct message *m)
{
    uint32_t space = m->log >> NODE_LOG_SPACE_SHIFT;
    if (space > LIMIT_SPACES || c->lcore->spaces[space] != NULL ||
        log_writes_any(&c->writes, m->log, &m->from))
        return -ESTALE;
    const struct message answer = {
        .kind = MESSAGE_RETURN,
        .log = m->log,
        .epoch = m->epoch,
        .from = c->node->self,
        .lsn = m->lsn,
        .lsn_end = m->from.incarnation,
    };
    say(c, m->from.node, &answer);
    return 0;
}

static bool is_own(const struct lcore_cluster *c, const struct node_space *s, uint32_t shard)
{
    return shard < s->geometry.shard_count && s->boards[shard].lcore == c->lcore->number;
}

/* NULL: there is no such one. */
static struct shard *left_shard(const struct lcore_cluster *c, uint32_t log)
{
    uint32_t id = log >> NODE_LOG_SPACE_SHIFT, shard = log & ((1u << NODE_LOG_SPACE_SHIFT) - 1);
    const struct node_space *s = id <= LIMIT_SPACES ? c->left[id].space : NULL;
    return s != NULL && is_own(c, s, shard) ? s->shards[shard] : NULL;
}

int poll_log_write_stranger(struct lcore_cluster *c, const struct message *m)
{
    if (m->kind == MESSAGE_RECALL)
        return recall_answer(c, m);
    struct shard *s = m->kind == MESSAGE_RETURN ? left_shard(c, m->log) : NULL;
    if (s == NULL)
        return -ESTALE;
    int count = replica_grant_take_back(s, &c->group.revoker, c->node->self.incarnation, m);
    return count < 0 ? count : 0;
}

/* ---- a space that goes ---- */

typedef void grant_visit(struct lcore_cluster *c, struct shard *s, const struct grant *g);

/* Returns how many there are. */
static uint32_t grants_each(struct lcore_cluster *c, const struct node_space *s, grant_visit *visit)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->geometry.shard_count * LIMIT_GRANTS; i++) {
        struct shard *shard = s->shards[i / LIMIT_GRANTS];
        const struct grant *g = &shard->grants.out[i % LIMIT_GRANTS];
        if (!is_own(c, s, i / LIMIT_GRANTS) || g->number == 0)
            continue;
        count++;
        if (visit != NULL)
            visit(c, shard, g);
    }
    return count;
}

static void recall(struct lcore_cluster *c, struct shard *s, const struct grant *g)
{
    const struct message m = {
        .kind = MESSAGE_RECALL,
        .log = s->log.number,
        .epoch = g->holder.epoch,
        .from = c->node->self,
        .lsn = g->number,
    };
    say(c, g->holder.node, &m);
}

static void disconnect(struct lcore_cluster *c, struct shard *s, const struct grant *g)
{
    (void)s;
    transport_disconnect(c->transport, g->holder.node);
}

void poll_log_write_leave(struct lcore_cluster *c, struct node_space *s)
{
    c->left[s->config.id] = (struct lcore_left){.space = s};
}

bool poll_log_write_has_left(struct lcore_cluster *c, uint32_t space)
{
    struct lcore_left *left = &c->left[space];
    if (left->space == NULL || grants_each(c, left->space, NULL) == 0) {
        left->space = NULL;
        return true;
    }
    if (left->recalls != 0 && c->lcore->now - left->ticks_recalled < c->group.times.retry)
        return false;
    left->ticks_recalled = c->lcore->now;
    if (left->recalls++ % (LEAVE_RECALLS + 1) == LEAVE_RECALLS)
        (void)grants_each(c, left->space, disconnect);
    else
        (void)grants_each(c, left->space, recall);
    return false;
}

/* ---- connections ---- */

void poll_log_write_part(struct lcore_cluster *c, uint32_t node)
{
    c->parting = node;
    c->has_parted = !transport_can_log_write(c->transport);
    transport_disconnect(c->transport, node);
}

static void left_void(const struct lcore_cluster *c, uint32_t node)
{
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        const struct node_space *s = c->left[id].space;
        for (uint32_t i = 0; s != NULL && i < s->geometry.shard_count; i++)
            if (is_own(c, s, i))
                (void)grant_void(&s->shards[i]->grants, node);
    }
}

void poll_log_write_disconnected(struct lcore_cluster *c)
{
    for (;;) {
        uint32_t node = transport_disconnected(c->transport);
        if (LIKELY(node == TRANSPORT_NOBODY))
            return;
        group_disconnected(&c->group, node);
        left_void(c, node);
        c->has_parted |= node == c->parting;
        counter_add(c->lcore->counters, COUNTER_DISCONNECTS, 1);
    }
}
