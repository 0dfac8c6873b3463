#include "dataplane/arp.h"

#include <string.h>

/* Of one station: neither a group nor zero. */
static bool is_station(const struct packet_mac *mac)
{
    static const struct packet_mac none;
    return (mac->bytes[0] & 1) == 0 && memcmp(mac, &none, sizeof none) != 0;
}

static bool same_mac(const struct packet_mac *a, const struct packet_mac *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static bool is_on_link(const struct arp_config *config, uint32_t address)
{
    uint32_t mask = config->prefix == 0 ? 0 : UINT32_MAX << (32 - config->prefix);
    return ((address ^ config->address) & mask) == 0;
}

/* ---- neighbours ---- */

int arp_init(struct arp *a, const struct arp_config *config)
{
    if (!is_station(&config->mac) || !packet_is_host(config->address) || config->prefix > 32)
        return -EINVAL;
    if (config->gateway != 0 &&
        (!packet_is_host(config->gateway) || config->gateway == config->address ||
         !is_on_link(config, config->gateway)))
        return -EINVAL;
    memset(a, 0, sizeof *a);
    a->config = *config;
    return 0;
}

uint32_t arp_hop(const struct arp *a, uint32_t address)
{
    if (!packet_is_host(address) || address == a->config.address)
        return 0;
    return is_on_link(&a->config, address) ? address : a->config.gateway;
}

static struct arp_neighbour *find(struct arp *a, uint32_t address)
{
    if (LIKELY(a->neighbours[a->found].address == address))
        return &a->neighbours[a->found];
    for (uint32_t i = 0; i < ARP_NEIGHBOURS; i++)
        if (a->neighbours[i].address == address) {
            a->found = i;
            return &a->neighbours[i];
        }
    return NULL;
}

int arp_add(struct arp *a, uint32_t address, uint64_t now)
{
    uint32_t hop = arp_hop(a, address);
    if (hop == 0)
        return -EHOSTUNREACH;
    struct arp_neighbour *n = find(a, hop);
    if (n == NULL) {
        n = find(a, 0);
        if (n == NULL)
            return -ENOSPC;
        *n = (struct arp_neighbour){.address = hop, .ask_at = now, .pause = ARP_ASK_MIN_NS};
    }
    n->users++;
    return 0;
}

void arp_remove(struct arp *a, uint32_t address)
{
    uint32_t hop = arp_hop(a, address);
    struct arp_neighbour *n = hop != 0 ? find(a, hop) : NULL;
    if (n != NULL && --n->users == 0)
        *n = (struct arp_neighbour){0};
}

bool arp_find(struct arp *a, uint32_t address, struct packet_mac *mac)
{
    uint32_t hop = arp_hop(a, address);
    struct arp_neighbour *n = hop != 0 ? find(a, hop) : NULL;
    if (n == NULL || !n->known)
        return false;
    *mac = n->mac;
    return true;
}

/* ---- packets ---- */

static void learn(struct arp *a, struct arp_neighbour *n, const struct packet_mac *mac,
                  uint64_t now)
{
    if (!n->known)
        a->counters.learned++;
    else if (!same_mac(&n->mac, mac))
        a->counters.changed++;
    n->known = true;
    n->mac = *mac;
    n->confirmed_at = now;
    n->ask_at = now + ARP_FRESH_NS;
    n->pause = ARP_ASK_MIN_NS;
}

/* It says to others that it is another station.  Why not taken: nobody asked; and why not at once: so that
 * who says it often does not make us ask often. */
static void doubt(struct arp *a, struct arp_neighbour *n, uint64_t now)
{
    a->counters.doubted++;
    n->ask_at = min_u64(n->ask_at, now + ARP_ASK_MIN_NS);
    n->pause = max_u64(n->pause, 2 * ARP_ASK_MIN_NS);
}

static void answer(struct arp *a, const struct packet_arp *request)
{
    if (a->answer_count == ARP_ANSWERS) {
        a->counters.answers_dropped++;
        return;
    }
    a->answers[a->answer_count++] = (struct packet_arp){
        .operation = PACKET_ARP_REPLY,
        .sender_mac = a->config.mac,
        .sender = a->config.address,
        .target_mac = request->sender_mac,
        .target = request->sender,
    };
}

void arp_receive(struct arp *a, const struct packet_arp *packet, uint64_t now)
{
    if (packet->sender == a->config.address) {
        /* Our own question that a switch sent back is nobody else's. */
        if (!same_mac(&packet->sender_mac, &a->config.mac))
            a->counters.own_address++;
        return;
    }
    if (!is_station(&packet->sender_mac))
        return;
    struct arp_neighbour *n = packet->sender != 0 ? find(a, packet->sender) : NULL;
    if (packet->target != a->config.address) {
        if (n != NULL && n->known && !same_mac(&n->mac, &packet->sender_mac))
            doubt(a, n, now);
        return;
    }
    if (n != NULL)
        learn(a, n, &packet->sender_mac, now);
    else
        a->counters.not_asked_for++;
    /* Why from anybody: also a probe (RFC 5227), whose sender has no address yet, must hear that ours is taken. */
    if (packet->operation == PACKET_ARP_REQUEST)
        answer(a, packet);
}

static bool ask(struct arp *a, struct arp_neighbour *n, uint64_t now, struct packet_arp *packet,
                struct packet_mac *to)
{
    if (n->known && now - n->confirmed_at >= ARP_AGE_NS) {
        n->known = false;
        a->counters.expired++;
    }
    *packet = (struct packet_arp){.operation = PACKET_ARP_REQUEST,
                                  .sender_mac = a->config.mac,
                                  .sender = a->config.address,
                                  .target = n->address};
    /* Why once to the station itself: it troubles nobody else (RFC 1122 2.3.2.1, unicast poll). */
    bool poll = n->known && n->pause == ARP_ASK_MIN_NS;
    *to = poll ? n->mac : packet_broadcast;
    n->ask_at = now + n->pause;
    n->pause = min_u64(2 * n->pause, ARP_ASK_MAX_NS);
    /* Not later than it is too old. */
    if (n->known)
        n->ask_at = min_u64(n->ask_at, n->confirmed_at + ARP_AGE_NS);
    a->counters.asked++;
    return true;
}

bool arp_next(struct arp *a, uint64_t now, struct packet_arp *packet, struct packet_mac *to)
{
    if (UNLIKELY(a->answer_count != 0)) {
        *packet = a->answers[--a->answer_count];
        *to = packet->target_mac;
        a->counters.answered++;
        return true;
    }
    for (uint32_t i = 0; i < ARP_NEIGHBOURS; i++) {
        struct arp_neighbour *n = &a->neighbours[i];
        if (n->address != 0 && n->ask_at <= now)
            return ask(a, n, now, packet, to);
    }
    return false;
}

uint64_t arp_deadline(const struct arp *a)
{
    uint64_t at = a->answer_count != 0 ? 0 : UINT64_MAX;
    for (uint32_t i = 0; i < ARP_NEIGHBOURS; i++)
        if (a->neighbours[i].address != 0)
            at = min_u64(at, a->neighbours[i].ask_at);
    return at;
}

void arp_link_up(struct arp *a, uint64_t now)
{
    for (uint32_t i = 0; i < ARP_NEIGHBOURS; i++)
        if (a->neighbours[i].address != 0) {
            a->neighbours[i].ask_at = now;
            /* Why not the shortest: a switch learns where we are from a question to all. */
            a->neighbours[i].pause = 2 * ARP_ASK_MIN_NS;
        }
}
