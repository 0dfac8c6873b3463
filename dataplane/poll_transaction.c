/* Transactions and increments, carried out where their shard is led: what they need beside a put. */
#include "dataplane/items.h"
#include "dataplane/lcore_forward.h"

#include <string.h>

/* ---- releases ---- */

/* Why what was agreed last, where a peer is down: it comes back as it went, or newer.  One that was never
 * heard of since this start holds nobody up, as a minority that is down must not. */
static bool speaks(struct lcore_cluster *c, uint32_t node)
{
    struct forward_peer *p = forward_peer_of(c->forward, node);
    uint8_t version = transport_version(c->transport, node);
    if (p == NULL)
        return true; /* this node */
    p->version = version != 0 ? version : p->version;
    return p->version == 0 || p->version >= FORWARD_WIRE_TRANSACTIONS;
}

bool poll_transactions_supported(const struct lcore *l, const struct shard *s)
{
    if (l->cluster == NULL)
        return true;
    const struct configuration *c =
        &lcore_replica_of(l->cluster, s->log.number)->replica.configuration;
    bool all = true;
    for (uint32_t i = 0; i < c->voter_count; i++)
        all = speaks(l->cluster, c->voters[i].node) && all;
    for (uint32_t i = 0; i < c->learner_count; i++)
        all = speaks(l->cluster, c->learners[i].node) && all;
    return all;
}

/* ---- carrying out ---- */

int poll_execute_transaction(struct lcore *l, const struct lcore_operation *o)
{
    struct items items;
    const struct node_space *space = l->node->spaces[o->shard->log.number >> NODE_LOG_SPACE_SHIFT];
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
    const struct shard_transaction t = {
        .origin = o->origin,
        .items = items.items,
        .count = items.count,
        .session_slot = o->session_slot,
        .uid = o->uid,
        .session = o->session,
        .sequence = o->sequence,
        .clock_ns = l->clock_ns,
    };
    return o->session_slot == SESSION_NONE ? RING_FATE_UNKNOWN : shard_transaction(o->shard, &t);
}
