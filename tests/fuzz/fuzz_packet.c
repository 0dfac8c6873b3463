/* Any bytes as packets, and as what neighbours say: judging stays inside, what is taken lies in the packet, an answer to
 * an echo is sound, and whatever is said on the link, only neighbours are known, and none for ever.
 *
 * The first byte chooses: checksums of a packet are made right first (so that more than chance gets behind them), or
 * not; or the rest is a sequence of ARP packets and times. */
#include "dataplane/arp.h"

#include <stdlib.h>
#include <string.h>

static const struct packet_local local = {
    .mac = {{2, 0, 0, 0, 0, 1}}, .address = 0x0a000001, .port = 7000, .port_count = 16};

/* ---- packets ---- */

static void checksums_set(uint8_t *bytes, uint32_t length)
{
    if (length < 34)
        return;
    bytes[24] = bytes[25] = 0;
    uint16_t checksum = packet_checksum(packet_sum(0, bytes + 14, 20));
    bytes[24] = (uint8_t)(checksum >> 8);
    bytes[25] = (uint8_t)checksum;
    uint32_t total = (uint32_t)(bytes[16] << 8 | bytes[17]);
    if (bytes[23] != 1 || total < 28 || total > length - 14)
        return;
    bytes[36] = bytes[37] = 0;
    checksum = packet_checksum(packet_sum(0, bytes + 34, total - 20));
    bytes[36] = (uint8_t)(checksum >> 8);
    bytes[37] = (uint8_t)checksum;
}

static void answer_check(uint8_t *bytes, const struct packet_received *r)
{
    struct packet_local peer = {.mac = r->source_mac, .address = r->source};
    struct packet_received back;
    uint32_t length = packet_echo_answer(bytes, r, &local);
    ASSERT(length == PACKET_HEADER_BYTES + r->length);
    ASSERT(packet_judge(&back, bytes, length, &peer, 0) == PACKET_ECHO_REPLY);
    ASSERT(back.length == r->length && back.source == local.address);
    ASSERT(back.identifier == r->identifier && back.sequence == r->sequence);
}

static void packet_take(const uint8_t *data, size_t size, uint8_t choice)
{
    struct packet_received r = {0};
    uint32_t length = (uint32_t)size;
    uint8_t *copy = malloc(size != 0 ? size : 1);
    ASSERT(copy != NULL);
    memcpy(copy, data, size);
    if ((choice & 4) != 0)
        checksums_set(copy, length);
    enum packet_verdict verdict = packet_judge(&r, copy, length, &local, choice & 3u);
    ASSERT(verdict < PACKET_VERDICTS && packet_verdict_name(verdict) != NULL);
    if (verdict == PACKET_UDP || verdict == PACKET_ECHO_REQUEST || verdict == PACKET_ECHO_REPLY) {
        ASSERT(r.payload == copy + PACKET_HEADER_BYTES);
        ASSERT(r.length <= length - PACKET_HEADER_BYTES && packet_is_host(r.source));
    }
    if (verdict == PACKET_UDP)
        ASSERT(r.port >= local.port && r.port < local.port + local.port_count);
    if (verdict == PACKET_ECHO_REQUEST)
        answer_check(copy, &r);
    if (verdict == PACKET_ARP) {
        struct packet_arp arp;
        packet_arp_read(&arp, copy);
    }
    free(copy);
}

/* ---- neighbours ---- */

#define ADDRESSES 8u

struct event {
    uint8_t what, sender, target, station;
    uint16_t wait; /* in 10 ms */
};

static void asked_check(struct arp *a, uint64_t now)
{
    struct packet_arp packet;
    struct packet_mac to;
    uint32_t sent = 0;
    while (arp_next(a, now, &packet, &to)) {
        ASSERT(packet.sender == local.address);
        ASSERT(++sent <= ARP_ANSWERS + ARP_NEIGHBOURS);
    }
    ASSERT(arp_deadline(a) > now);
}

static void event_take(struct arp *a, const struct event *e, uint32_t *users, uint64_t now)
{
    uint32_t address = local.address + e->sender % ADDRESSES;
    struct packet_arp packet = {
        .operation = (e->what & 8) != 0 ? PACKET_ARP_REQUEST : PACKET_ARP_REPLY,
        .sender = address,
        .sender_mac = {{(uint8_t)(e->station >> 6), 0, 0, 0, 0, e->station}},
        .target = local.address + e->target % ADDRESSES};
    switch (e->what % 8) {
    case 0:
        if (arp_add(a, address, now) == 0)
            users[e->sender % ADDRESSES]++;
        break;
    case 1:
        if (users[e->sender % ADDRESSES] != 0) {
            arp_remove(a, address);
            users[e->sender % ADDRESSES]--;
        }
        break;
    case 2:
        arp_link_up(a, now);
        break;
    case 3:
        asked_check(a, now);
        break;
    default:
        arp_receive(a, &packet, now);
    }
}

static void arp_take(const uint8_t *data, size_t size)
{
    struct arp a;
    struct arp_config config = {.mac = local.mac, .address = local.address, .prefix = 24};
    uint32_t users[ADDRESSES] = {0};
    uint64_t now = NS_PER_S;
    struct packet_mac mac;
    ASSERT(arp_init(&a, &config) == 0);
    for (size_t at = 0; at + sizeof(struct event) <= size; at += sizeof(struct event)) {
        struct event e;
        memcpy(&e, data + at, sizeof e);
        now += e.wait * 10 * NS_PER_MS;
        event_take(&a, &e, users, now);
        for (uint32_t i = 0; i < ADDRESSES; i++)
            if (arp_find(&a, local.address + i, &mac))
                ASSERT(users[i] != 0 && (mac.bytes[0] & 1) == 0);
    }
    now += ARP_AGE_NS;
    asked_check(&a, now);
    asked_check(&a, now + ARP_AGE_NS);
    for (uint32_t i = 0; i < ADDRESSES; i++)
        ASSERT(!arp_find(&a, local.address + i, &mac));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > PACKET_MTU_MAX)
        return 0;
    if ((data[0] & 8) != 0)
        arp_take(data + 1, size - 1);
    else
        packet_take(data + 1, size - 1, data[0]);
    return 0;
}
