/* Transactions and increments, carried out where their shard is led: what they need beside a put. */
#include "dataplane/handshake.h"
#include "dataplane/items.h"
#include "dataplane/lcore_forward.h"
#include "engine/extension.h"

#include <string.h>

/* ---- releases ---- */

/* From this node's start on, a peer that runs is heard of sooner: twice the longest pause between HELLOs. */
#define UNHEARD_NS (2 * HANDSHAKE_RESEND_MAX_NS)

/* Why what was agreed last, where a peer is down: it comes back as it went, or newer.  One that is down since
 * before this start is waited for, but not for ever, as a minority that is down must not hold up the others:
 * is it of an older release all the same, it cannot read what was written meanwhile, and stays behind until
 * it is updated. */
static enum ring_status peer_look(const struct lcore *l, uint32_t node)
{
    const struct lcore_cluster *c = l->cluster;
    struct forward_peer *p = forward_peer_of(c->forward, node);
    uint8_t version = transport_version(c->transport, node);
    if (p == NULL)
        return RING_OK; /* this node */
    p->version = version != 0 ? version : p->version;
    if (p->version >= FORWARD_WIRE_TRANSACTIONS)
        return RING_OK;
    if (p->version != 0)
        return RING_UNSUPPORTED;
    uint64_t began = c->forward->ticks_began;
    bool is_early =
        began == 0 || l->now < began + clock_ns_to_ticks(UNHEARD_NS, l->node->ticks_per_s);
    return is_early ? RING_RETRY : RING_OK;
}

/* What counts of two peers: the one that cannot. */
static enum ring_status both(enum ring_status one, enum ring_status other)
{
    return one == RING_UNSUPPORTED || other == RING_OK ? one : other;
}

enum ring_status poll_transactions_supported(const struct lcore *l, const struct shard *s)
{
    enum ring_status all = RING_OK;
    if (l->cluster == NULL)
        return all;
    const struct configuration *c =
        &lcore_replica_of(l->cluster, s->log.number)->replica.configuration;
    for (uint32_t i = 0; i < c->voter_count; i++)
        all = both(all, peer_look(l, c->voters[i].node));
    for (uint32_t i = 0; i < c->learner_count; i++)
        all = both(all, peer_look(l, c->learners[i].node));
    return all;
}

/* ---- carrying out ---- */

int poll_execute_transaction(struct lcore *l, const struct lcore_operation *o)
{
    struct items items;
    const struct node_space *space = l->spaces[o->shard->log.number >> NODE_LOG_SPACE_SHIFT];
    const struct request_scope scope = {
        .geometry = &space->geometry,
        .partition_prefix = space->config.partition_prefix,
    };
    /* Why a copy: the agent may change its bytes while they are judged. */
    memcpy(l->transaction, o->value, o->value_length);
    enum ring_status status =
        items_take(&items, &scope, o->shard->number, l->transaction, o->value_length);
    if (status != RING_OK)
        return (int)status;
    for (uint32_t i = 0; i < items.count; i++) {
        const struct hot_keys_asked key = {.length = items.items[i].key_length,
                                           .hash = items.items[i].hash,
                                           .bytes = items.items[i].key};
        poll_key_count(l, o->shard, &key);
    }
    uint64_t steady_ns = 0;
    for (uint32_t i = 0; i < items.count; i++) {
        const struct shard_item *item = &items.items[i];
        if (item->extension_length == 0)
            continue;
        /* Why the clock anew: as for a single write (poll_request.c). */
        if (steady_ns == 0)
            steady_ns = clock_ticks_to_ns(max_u64(l->now, clock_ticks(l->node->clock_kind)),
                                          l->node->ticks_per_s);
        poll_expiry_due(l, extension_ttl_asked(item->extension, item->extension_length));
    }
    const struct shard_transaction t = {
        .origin = o->origin,
        .items = items.items,
        .count = items.count,
        .session_slot = o->session_slot,
        .uid = o->uid,
        .session = o->session,
        .sequence = o->sequence,
        .clock_ns = l->clock_ns,
        .steady_ns = steady_ns,
    };
    return o->session_slot == SESSION_NONE ? RING_FATE_UNKNOWN : shard_transaction(o->shard, &t);
}
