#include "dataplane/packet.h"

#include <string.h>

#define TYPE_IP 0x0800u
#define TYPE_ARP 0x0806u
#define TYPE_VLAN 0x8100u
#define TYPE_VLAN_OUTER 0x88a8u

#define IP_AT PACKET_ETHERNET_BYTES
#define UDP_AT (IP_AT + PACKET_IP_BYTES)
#define ARP_BYTES 28u
#define TTL 64u
#define PROTOCOL_ICMP 1u
#define PROTOCOL_UDP 17u
#define ECHO_REPLY 0u
#define ECHO_REQUEST 8u
#define IP_DO_NOT_FRAGMENT 0x4000u
#define IP_FRAGMENTED 0x3fffu /* more fragments follow, or this is not the first */

const struct packet_mac packet_broadcast = {.bytes = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

const char *packet_verdict_name(enum packet_verdict verdict)
{
    static const char *const names[PACKET_VERDICTS] = {
        [PACKET_UDP] = "udp",
        [PACKET_ARP] = "arp",
        [PACKET_ECHO_REQUEST] = "echo request",
        [PACKET_ECHO_REPLY] = "echo reply",
        [PACKET_TOO_SHORT] = "too short",
        [PACKET_OTHER_MAC] = "other mac",
        [PACKET_VLAN_TAGGED] = "vlan tagged",
        [PACKET_OTHER_TYPE] = "other type",
        [PACKET_OTHER_ARP] = "other arp",
        [PACKET_OTHER_VERSION] = "other version",
        [PACKET_IP_OPTIONS] = "ip options",
        [PACKET_WRONG_LENGTH] = "wrong length",
        [PACKET_WRONG_IP_CHECKSUM] = "wrong ip checksum",
        [PACKET_FRAGMENT] = "fragment",
        [PACKET_OTHER_ADDRESS] = "other address",
        [PACKET_WRONG_SOURCE] = "wrong source",
        [PACKET_OTHER_PROTOCOL] = "other protocol",
        [PACKET_WRONG_UDP_LENGTH] = "wrong udp length",
        [PACKET_OTHER_PORT] = "other port",
        [PACKET_WRONG_CHECKSUM] = "wrong checksum",
    };
    return verdict < PACKET_VERDICTS ? names[verdict] : "unknown";
}

/* ---- words ---- */

static uint16_t get16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static uint32_t get32(const uint8_t *bytes)
{
    return (uint32_t)get16(bytes) << 16 | get16(bytes + 2);
}

static void put16(uint8_t *bytes, uint32_t value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

static void put32(uint8_t *bytes, uint32_t value)
{
    put16(bytes, value >> 16);
    put16(bytes + 2, value);
}

static bool same_mac(const uint8_t *bytes, const struct packet_mac *mac)
{
    return memcmp(bytes, mac->bytes, PACKET_MAC_BYTES) == 0;
}

/* ---- checksums ---- */

static uint64_t swap16x4(uint64_t v)
{
    return (v & 0xff00ff00ff00ff00u) >> 8 | (v & 0x00ff00ff00ff00ffu) << 8;
}

static uint32_t fold(uint64_t sum)
{
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffffu) + (sum >> 16);
    sum = (sum & 0xffffu) + (sum >> 16);
    return (uint32_t)sum;
}

uint32_t packet_sum(uint32_t sum, const uint8_t *bytes, uint32_t length)
{
    /* Why two: 32-bit halves of words added in 64 bits never overflow, whatever the length; and a sum
     * of swapped bytes is the swapped sum (RFC 1071, 2 (B)). */
    uint64_t low = 0, high = 0;
    uint32_t at = 0;
    for (; at + 8 <= length; at += 8) {
        uint64_t word;
        memcpy(&word, bytes + at, sizeof word);
        low += word & 0xffffffffu;
        high += word >> 32;
    }
    uint64_t own = fold(swap16x4(fold(low + high)));
    for (; at + 2 <= length; at += 2)
        own += get16(bytes + at);
    if (at < length)
        own += (uint64_t)bytes[at] << 8;
    return fold(own + sum);
}

uint16_t packet_checksum(uint32_t sum)
{
    return (uint16_t)~fold(sum);
}

/* Of UDP: what its checksum counts beside its own bytes. */
static uint32_t pseudo_sum(uint32_t from, uint32_t to, uint32_t udp_length)
{
    return fold((uint64_t)(from >> 16) + (from & 0xffff) + (to >> 16) + (to & 0xffff) +
                PROTOCOL_UDP + udp_length);
}

/* ---- received ---- */

static enum packet_verdict judge_arp(const uint8_t *bytes, uint32_t length)
{
    const uint8_t *arp = bytes + PACKET_ETHERNET_BYTES;
    if (length < PACKET_ETHERNET_BYTES + ARP_BYTES)
        return PACKET_TOO_SHORT;
    uint16_t operation = get16(arp + 6);
    if (get16(arp) != 1 || get16(arp + 2) != TYPE_IP || arp[4] != PACKET_MAC_BYTES || arp[5] != 4 ||
        (operation != PACKET_ARP_REQUEST && operation != PACKET_ARP_REPLY))
        return PACKET_OTHER_ARP;
    return PACKET_ARP;
}

static enum packet_verdict judge_udp(struct packet_received *r, const uint8_t *udp,
                                     const struct packet_local *local, uint32_t offloads)
{
    uint32_t length = get16(udp + 4);
    if (length < PACKET_UDP_BYTES || length > r->length)
        return PACKET_WRONG_UDP_LENGTH;
    r->source_port = get16(udp);
    r->port = get16(udp + 2);
    if (r->port < local->port || r->port - local->port >= local->port_count)
        return PACKET_OTHER_PORT;
    if ((offloads & PACKET_UDP_BY_PORT) == 0 && get16(udp + 6) != 0) {
        uint32_t sum = pseudo_sum(r->source, local->address, length);
        if (packet_checksum(packet_sum(sum, udp, length)) != 0)
            return PACKET_WRONG_CHECKSUM;
    }
    r->length = length - PACKET_UDP_BYTES;
    return PACKET_UDP;
}

static enum packet_verdict judge_icmp(struct packet_received *r, const uint8_t *icmp)
{
    if ((icmp[0] != ECHO_REPLY && icmp[0] != ECHO_REQUEST) || icmp[1] != 0)
        return PACKET_OTHER_PROTOCOL;
    if (packet_checksum(packet_sum(0, icmp, r->length)) != 0)
        return PACKET_WRONG_CHECKSUM;
    r->identifier = get16(icmp + 4);
    r->sequence = get16(icmp + 6);
    r->length -= PACKET_UDP_BYTES;
    return icmp[0] == ECHO_REPLY ? PACKET_ECHO_REPLY : PACKET_ECHO_REQUEST;
}

/* Checks in front of what the IPv4 packet carries; sets the length of that. */
static enum packet_verdict judge_ip(struct packet_received *r, const uint8_t *ip, uint32_t length,
                                    const struct packet_local *local, uint32_t offloads)
{
    if (length < PACKET_IP_BYTES)
        return PACKET_TOO_SHORT;
    if (ip[0] >> 4 != 4)
        return PACKET_OTHER_VERSION;
    if ((ip[0] & 15) != PACKET_IP_BYTES / 4)
        return (ip[0] & 15) > PACKET_IP_BYTES / 4 ? PACKET_IP_OPTIONS : PACKET_WRONG_LENGTH;
    uint32_t total = get16(ip + 2);
    if (total < PACKET_IP_BYTES || total > length)
        return PACKET_WRONG_LENGTH;
    if ((offloads & PACKET_IP_BY_PORT) == 0 &&
        packet_checksum(packet_sum(0, ip, PACKET_IP_BYTES)) != 0)
        return PACKET_WRONG_IP_CHECKSUM;
    if ((get16(ip + 6) & IP_FRAGMENTED) != 0)
        return PACKET_FRAGMENT;
    if (get32(ip + 16) != local->address)
        return PACKET_OTHER_ADDRESS;
    r->source = get32(ip + 12);
    if (!packet_is_host(r->source))
        return PACKET_WRONG_SOURCE;
    if (ip[9] != PROTOCOL_UDP && ip[9] != PROTOCOL_ICMP)
        return PACKET_OTHER_PROTOCOL;
    r->length = total - PACKET_IP_BYTES;
    return PACKET_UDP;
}

enum packet_verdict packet_judge(struct packet_received *r, const uint8_t *bytes, uint32_t length,
                                 const struct packet_local *local, uint32_t offloads)
{
    if (UNLIKELY(length < PACKET_ETHERNET_BYTES))
        return PACKET_TOO_SHORT;
    bool for_us = same_mac(bytes, &local->mac);
    uint16_t type = get16(bytes + 12);
    /* Why the source, too: an answer would go to a group. */
    if (UNLIKELY((!for_us && (type != TYPE_ARP || !same_mac(bytes, &packet_broadcast))) ||
                 (bytes[PACKET_MAC_BYTES] & 1) != 0))
        return PACKET_OTHER_MAC;
    if (UNLIKELY(type != TYPE_IP)) {
        if (type == TYPE_ARP)
            return judge_arp(bytes, length);
        return type == TYPE_VLAN || type == TYPE_VLAN_OUTER ? PACKET_VLAN_TAGGED
                                                            : PACKET_OTHER_TYPE;
    }
    const uint8_t *ip = bytes + IP_AT;
    enum packet_verdict verdict = judge_ip(r, ip, length - PACKET_ETHERNET_BYTES, local, offloads);
    if (UNLIKELY(verdict != PACKET_UDP))
        return verdict;
    bool udp = ip[9] == PROTOCOL_UDP;
    if (UNLIKELY(r->length < PACKET_UDP_BYTES))
        return udp ? PACKET_WRONG_UDP_LENGTH : PACKET_TOO_SHORT;
    memcpy(r->source_mac.bytes, bytes + PACKET_MAC_BYTES, PACKET_MAC_BYTES);
    r->payload = bytes + PACKET_HEADER_BYTES;
    r->source_port = r->port = r->identifier = r->sequence = 0;
    return udp ? judge_udp(r, bytes + UDP_AT, local, offloads) : judge_icmp(r, bytes + UDP_AT);
}

/* ---- sent ---- */

static void ethernet_write(uint8_t *bytes, const struct packet_mac *to,
                           const struct packet_mac *from, uint32_t type)
{
    memcpy(bytes, to->bytes, PACKET_MAC_BYTES);
    memcpy(bytes + PACKET_MAC_BYTES, from->bytes, PACKET_MAC_BYTES);
    put16(bytes + 12, type);
}

/* length: of what the IPv4 packet carries. */
static void ip_write(uint8_t *bytes, const struct packet_path *path, uint32_t length,
                     uint32_t protocol, uint32_t offloads)
{
    uint8_t *ip = bytes + IP_AT;
    ethernet_write(bytes, &path->to_mac, &path->from_mac, TYPE_IP);
    ip[0] = 4u << 4 | PACKET_IP_BYTES / 4;
    ip[1] = 0;
    put16(ip + 2, PACKET_IP_BYTES + length);
    put16(ip + 4, 0);
    put16(ip + 6, IP_DO_NOT_FRAGMENT);
    ip[8] = TTL;
    ip[9] = (uint8_t)protocol;
    put16(ip + 10, 0);
    put32(ip + 12, path->from);
    put32(ip + 16, path->to);
    if ((offloads & PACKET_IP_BY_PORT) == 0)
        put16(ip + 10, packet_checksum(packet_sum(0, ip, PACKET_IP_BYTES)));
}

void packet_write(uint8_t *bytes, const struct packet_path *path, uint32_t length,
                  uint32_t offloads, uint32_t sum)
{
    ASSERT(length <= PACKET_PAYLOAD_MAX);
    uint8_t *udp = bytes + UDP_AT;
    uint32_t udp_length = PACKET_UDP_BYTES + length;
    ip_write(bytes, path, udp_length, PROTOCOL_UDP, offloads);
    put16(udp, path->from_port);
    put16(udp + 2, path->to_port);
    put16(udp + 4, udp_length);
    uint32_t pseudo = pseudo_sum(path->from, path->to, udp_length);
    if ((offloads & PACKET_UDP_BY_PORT) != 0) {
        put16(udp + 6, pseudo);
        return;
    }
    /* A checksum of 0 is sent as its other form: 0 means none. */
    uint16_t checksum = packet_checksum(fold((uint64_t)packet_sum(pseudo, udp, 6) + sum));
    put16(udp + 6, checksum != 0 ? checksum : 0xffff);
}

/* ---- ARP ---- */

void packet_arp_read(struct packet_arp *arp, const uint8_t *bytes)
{
    const uint8_t *at = bytes + PACKET_ETHERNET_BYTES;
    arp->operation = (enum packet_arp_operation)get16(at + 6);
    memcpy(arp->sender_mac.bytes, at + 8, PACKET_MAC_BYTES);
    arp->sender = get32(at + 14);
    memcpy(arp->target_mac.bytes, at + 18, PACKET_MAC_BYTES);
    arp->target = get32(at + 24);
}

void packet_arp_write(uint8_t *bytes, const struct packet_arp *arp, const struct packet_mac *to)
{
    uint8_t *at = bytes + PACKET_ETHERNET_BYTES;
    memset(bytes, 0, PACKET_BYTES_MIN);
    ethernet_write(bytes, to, &arp->sender_mac, TYPE_ARP);
    put16(at, 1);
    put16(at + 2, TYPE_IP);
    at[4] = PACKET_MAC_BYTES;
    at[5] = 4;
    put16(at + 6, arp->operation);
    memcpy(at + 8, arp->sender_mac.bytes, PACKET_MAC_BYTES);
    put32(at + 14, arp->sender);
    memcpy(at + 18, arp->target_mac.bytes, PACKET_MAC_BYTES);
    put32(at + 24, arp->target);
}

/* ---- ICMP echo ---- */

void packet_echo_write(uint8_t *bytes, const struct packet_path *path, uint32_t length,
                       uint32_t offloads, uint32_t sum)
{
    ASSERT(length <= PACKET_PAYLOAD_MAX);
    uint8_t *icmp = bytes + UDP_AT;
    ip_write(bytes, path, PACKET_UDP_BYTES + length, PROTOCOL_ICMP, offloads);
    icmp[0] = ECHO_REQUEST;
    icmp[1] = 0;
    put16(icmp + 2, 0);
    put16(icmp + 4, path->from_port);
    put16(icmp + 6, path->to_port);
    put16(icmp + 2, packet_checksum(fold((uint64_t)packet_sum(0, icmp, PACKET_UDP_BYTES) + sum)));
}

uint32_t packet_echo_answer(uint8_t *bytes, const struct packet_received *r,
                            const struct packet_local *local)
{
    uint8_t *icmp = bytes + UDP_AT;
    struct packet_path back = {
        .from_mac = local->mac, .to_mac = r->source_mac, .from = local->address, .to = r->source};
    uint32_t icmp_length = PACKET_UDP_BYTES + r->length;
    ip_write(bytes, &back, icmp_length, PROTOCOL_ICMP, 0);
    icmp[0] = ECHO_REPLY;
    put16(icmp + 2, 0);
    put16(icmp + 2, packet_checksum(packet_sum(0, icmp, icmp_length)));
    return UDP_AT + icmp_length;
}
