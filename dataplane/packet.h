/* packet - what stands in front of a frame where no kernel writes it: Ethernet II, IPv4, UDP, and the ARP and
 * ICMP echo packets that a host on such a network has to understand.
 *
 * Pure; no thread of its own.  A packet is the bytes of one Ethernet frame without its checksum:
 *
 *    0  14  Ethernet: destination, source, type
 *   14  20  IPv4 without options, not fragmented
 *   34   8  UDP, or the head of an ICMP echo
 *   42      payload: a frame (frame.h), or what an echo carries
 *
 * Addresses and ports are in host order here, in network order in the packet.
 *
 * What is sent says "do not fragment" and has the identification 0 (RFC 6864, atomic datagrams): frames
 * are as long as the path carries.  What is received is hostile: every length is checked, and each reason not
 * to take a packet has a name.  IPv4 options and fragments are refused: no node of ours sends any.
 * A UDP checksum of 0 means that there is none (RFC 768).
 *
 * Source: RFC 826 (ARP), RFC 791 (IPv4), RFC 768 (UDP), RFC 792 (ICMP echo), RFC 894 (IPv4 over Ethernet),
 * RFC 1071 (checksum), RFC 1122 3.2 (what a host refuses), RFC 6864 (identification). */
#ifndef DUNLIN_DATAPLANE_PACKET_H
#define DUNLIN_DATAPLANE_PACKET_H

#include "engine/base.h"

#define PACKET_HEADER_BYTES 42u /* in front of the payload of UDP, and of ICMP echo */
#define PACKET_ETHERNET_BYTES 14u
#define PACKET_IP_BYTES 20u  /* without options */
#define PACKET_UDP_BYTES 8u  /* and as many of an ICMP echo */
#define PACKET_BYTES_MIN 60u /* of Ethernet: what is shorter gets zeros behind it */
#define PACKET_MTU_MIN 576u
#define PACKET_MTU_MAX 9216u
#define PACKET_PAYLOAD_MAX (PACKET_MTU_MAX - PACKET_IP_BYTES - PACKET_UDP_BYTES)
#define PACKET_MAC_BYTES 6u

struct packet_mac {
    uint8_t bytes[PACKET_MAC_BYTES];
};

extern const struct packet_mac packet_broadcast;

/* What a packet is, or why it is not taken, in the order of the checks. */
enum packet_verdict {
    PACKET_UDP = 0,      /* for one of our ports */
    PACKET_ARP,          /* sound; arp.h judges what it says */
    PACKET_ECHO_REQUEST, /* somebody asks whether we are there: packet_echo_answer */
    PACKET_ECHO_REPLY,   /* to a request of ours, perhaps */
    PACKET_TAKEN,        /* so many verdicts are no refusals */
    PACKET_TOO_SHORT = PACKET_TAKEN,
    PACKET_OTHER_MAC,     /* sent to another station, or by a group of them */
    PACKET_VLAN_TAGGED,   /* 802.1Q: the port should have a VLAN of its own */
    PACKET_OTHER_TYPE,    /* neither ARP nor IPv4 */
    PACKET_OTHER_ARP,     /* not of IPv4 over Ethernet, or of another operation */
    PACKET_OTHER_VERSION, /* says IPv4 outside and something else inside */
    PACKET_IP_OPTIONS,
    PACKET_WRONG_LENGTH, /* of IPv4: longer than what came, or shorter than its header */
    PACKET_WRONG_IP_CHECKSUM,
    PACKET_FRAGMENT,
    PACKET_OTHER_ADDRESS,  /* for another host, or a group of them */
    PACKET_WRONG_SOURCE,   /* an address that no single host on a network has */
    PACKET_OTHER_PROTOCOL, /* neither UDP nor ICMP echo */
    PACKET_WRONG_UDP_LENGTH,
    PACKET_OTHER_PORT,
    PACKET_WRONG_CHECKSUM, /* of UDP or ICMP */
    PACKET_VERDICTS
};

/* In words, for logs and counters. */
const char *packet_verdict_name(enum packet_verdict verdict);

/* What packets are taken for. */
struct packet_local {
    struct packet_mac mac;
    uint32_t address;
    uint16_t port, port_count; /* port .. port + port_count - 1 */
};

/* A packet that was taken; the pointer lies in the packet. */
struct packet_received {
    const uint8_t *payload; /* behind PACKET_HEADER_BYTES */
    uint32_t length;        /* of it: what was put behind a short packet is not counted */
    struct packet_mac source_mac;
    uint32_t source;               /* address */
    uint16_t source_port, port;    /* of UDP */
    uint16_t identifier, sequence; /* of ICMP echo */
};

/* Checksums that somebody else looks at: of a packet received, that the port has found right or, of UDP, that
 * the caller does not want looked at; of a packet to be sent, that the port writes.
 * Why a caller does not want UDP's: the tag of a frame proves more; and a virtual link hands over packets of a
 * kernel whose checksum was left to hardware that is not there. */
enum packet_offload { PACKET_IP_BY_PORT = 1, PACKET_UDP_BY_PORT = 2 };

/* Judge the bytes of one packet; offloads: of enum packet_offload.  *r is set for PACKET_UDP and both echoes.  An
 * echo's checksum is always looked at. */
MUST_USE enum packet_verdict packet_judge(struct packet_received *r, const uint8_t *bytes,
                                          uint32_t length, const struct packet_local *local,
                                          uint32_t offloads);

/* Where packets of UDP go. */
struct packet_path {
    struct packet_mac from_mac, to_mac;
    uint32_t from, to;
    uint16_t from_port, to_port;
};

/* Write the PACKET_HEADER_BYTES in front of a payload of length bytes, at most PACKET_PAYLOAD_MAX.  sum is the
 * packet_sum of the payload; it is not looked at if the port writes UDP's checksum: then the sum of the
 * pseudo-header stands in its place, as ports expect it.  0 stands in place of IPv4's that the port writes. */
void packet_write(uint8_t *bytes, const struct packet_path *path, uint32_t length,
                  uint32_t offloads, uint32_t sum);

/* Add bytes to a sum of 16-bit words, which is 0 to begin with; all parts but the last are of even length.  At most
 * 64 KiB in all. */
MUST_USE uint32_t packet_sum(uint32_t sum, const uint8_t *bytes, uint32_t length);
/* The checksum of a sum, in host order. */
MUST_USE uint16_t packet_checksum(uint32_t sum);

/* Whether a single host on a network can have that address (RFC 1122 3.2.1.3). */
static inline bool packet_is_host(uint32_t address)
{
    uint32_t first = address >> 24;
    return first != 0 && first != 127 && first < 224;
}

/* ---- ARP ---- */

enum packet_arp_operation { PACKET_ARP_REQUEST = 1, PACKET_ARP_REPLY = 2 };

struct packet_arp {
    enum packet_arp_operation operation;
    struct packet_mac sender_mac, target_mac;
    uint32_t sender, target; /* addresses */
};

/* Read an ARP packet that packet_judge found to be one. */
void packet_arp_read(struct packet_arp *arp, const uint8_t *bytes);

/* Write PACKET_BYTES_MIN bytes: an ARP packet to that station, padded. */
void packet_arp_write(uint8_t *bytes, const struct packet_arp *arp, const struct packet_mac *to);

/* ---- ICMP echo ---- */

/* Write the PACKET_HEADER_BYTES in front of length bytes that an echo carries; sum is their packet_sum.  The ports of
 * the path are the identifier (from_port) and the sequence number (to_port).  IPv4's checksum as in packet_write. */
void packet_echo_write(uint8_t *bytes, const struct packet_path *path, uint32_t length,
                       uint32_t offloads, uint32_t sum);

/* Make a PACKET_ECHO_REQUEST the reply to itself, in place; both checksums are in it.  Returns its length, without what
 * was put behind a short packet. */
uint32_t packet_echo_answer(uint8_t *bytes, const struct packet_received *r,
                            const struct packet_local *local);

#endif
