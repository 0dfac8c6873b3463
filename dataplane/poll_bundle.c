/* What leaves for peers: short messages of a pass together, long ones with the log's bytes in place. */
#include "dataplane/lcore_cluster.h"

static struct bundle *bundle_of(const struct lcore_cluster *c, uint32_t node)
{
    for (uint32_t i = 0; i < c->group.pair_count; i++)
        if (c->group.pairs[i].peer.node == node)
            return &c->bundles[i];
    return NULL;
}

/* Why what is refused is dropped: a peer whose queue is full is behind, and is sent it again by the
 * timers that loss needs anyhow. */
static void send(struct lcore_cluster *c, const struct transport_datagram *d)
{
    if (transport_send(c->transport, d, 1) == 0 && d->bytes != NULL)
        hold_sub(&c->holds[hold_word_owner(d->hold)], hold_word_frame(d->hold));
}

static void bundle_send(struct lcore_cluster *c, struct bundle *b, uint32_t node)
{
    struct transport_datagram d = {.to = node};
    d.head = bundle_close(b, &d.head_length);
    if (d.head_length != 0)
        send(c, &d);
}

/* What can be no item of a bundle, behind all that was said to that peer before.  Why nothing to others: a node
 * that was removed may still lead what a replica here has heard nothing newer of. */
void poll_bundle_alone(struct lcore_cluster *c, const struct transport_datagram *d)
{
    struct bundle *b = bundle_of(c, d->to);
    if (b == NULL) {
        if (d->bytes != NULL)
            hold_sub(&c->holds[hold_word_owner(d->hold)], hold_word_frame(d->hold));
        return;
    }
    bundle_send(c, b, d->to);
    send(c, d);
}

uint8_t *poll_bundle_place(struct lcore_cluster *c, uint32_t node, uint64_t length)
{
    struct bundle *b = bundle_of(c, node);
    uint32_t limit = transport_head_whole(c->transport);
    if (b == NULL || length > BUNDLE_ITEM_BYTES_MAX ||
        transport_version(c->transport, node) < BUNDLE_WIRE_VERSION)
        return NULL;
    uint8_t *place = bundle_place(b, (uint32_t)length, limit);
    if (place != NULL || b->length == 0)
        return place;
    bundle_send(c, b, node);
    return bundle_place(b, (uint32_t)length, limit);
}

void poll_bundle_flush(struct lcore_cluster *c)
{
    for (uint32_t i = 0; i < c->group.pair_count; i++)
        bundle_send(c, &c->bundles[i], c->group.pairs[i].peer.node);
}
