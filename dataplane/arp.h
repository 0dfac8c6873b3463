/* arp - which Ethernet station a neighbour's IPv4 address is: asked for, answered, aged.
 *
 * Pure; a table belongs to one lcore, which is the only caller.  Time is given, in nanoseconds of a clock that does
 * not go back.  The body sends what arp_next says, hands in what came (packet_judge: PACKET_ARP), and asks
 * arp_find for each packet that it sends.
 *
 * The neighbours are those that peers are reached by: the peer itself where it is on our link (prefix), else the
 * gateway.  They are few and stay: each is asked for when it is added, again and again with growing pauses until it
 * answers, and once more before what it said is too old.  While it is asked, the old answer serves on; it is
 * dropped when it was not confirmed for ARP_AGE_NS.  A packet without a neighbour is the caller's to
 * drop and to count: datagrams may be lost.
 *
 * Nothing is learned from who was not asked for: only the address of a neighbour that we have, only from
 * a packet for our address (an answer, or a request for us), and a changed station is taken (a peer's new
 * port, a gateway that failed over) and counted.  Who may send on the link can still lie, as in any ARP:
 * that moves packets, whose frames are sealed, and proves nothing.  A neighbour that tells others of another station
 * (an announcement) is asked soon.
 *
 * Source: RFC 826; RFC 1122 2.3.2 (ageing, rate of requests); RFC 5227 1.1 for what a host answers. */
#ifndef DUNLIN_DATAPLANE_ARP_H
#define DUNLIN_DATAPLANE_ARP_H

#include "dataplane/packet.h"
#include "engine/limits.h"

#define ARP_NEIGHBOURS (LIMIT_NODES + 1u) /* the gateway, too */
#define ARP_ASK_MIN_NS                                                                             \
    (100 * NS_PER_MS) /* pause behind the first question; each next one is twice as long */
#define ARP_ASK_MAX_NS (UINT64_C(2) * NS_PER_S)
#define ARP_FRESH_NS (UINT64_C(30) * NS_PER_S) /* then it is asked again */
#define ARP_AGE_NS (UINT64_C(90) * NS_PER_S)   /* not confirmed for so long: unknown again */
#define ARP_ANSWERS 16u                        /* that wait to be sent; more are dropped, counted */

struct arp_config {
    struct packet_mac mac; /* own */
    uint32_t address;      /* own, host order */
    uint8_t prefix;        /* bits of the address that all on the link share, 0 .. 32 */
    uint32_t gateway;      /* for all others; 0: there is none */
};

struct arp_counters {
    uint64_t asked, answered;  /* packets that arp_next gave */
    uint64_t learned, changed; /* a neighbour that was unknown; one that is another station now */
    uint64_t expired;          /* not confirmed in time */
    uint64_t doubted;          /* told others that it is another station: it is asked */
    uint64_t not_asked_for;    /* packets that nothing was learned from, by their sender */
    uint64_t own_address;      /* of others who say that they have our address */
    uint64_t answers_dropped;
};

struct arp_neighbour {
    uint32_t address; /* 0: unused */
    uint32_t users;   /* peers reached by it */
    bool known;
    struct packet_mac mac;
    uint64_t confirmed_at;
    uint64_t ask_at; /* next; UINT64_MAX: not */
    uint64_t pause;  /* behind the next question */
};

struct arp {
    struct arp_config config;
    struct arp_counters counters;
    struct arp_neighbour neighbours[ARP_NEIGHBOURS];
    struct packet_arp answers[ARP_ANSWERS];
    uint32_t answer_count;
    uint32_t found; /* place found last */
};

/* Returns 0, or -EINVAL: no mac or address of a single host, a prefix over 32, a gateway off the link. */
MUST_USE int arp_init(struct arp *a, const struct arp_config *config);

/* The address of the neighbour that packets to an address go by; 0: it is ours, no single host's, or off the link
 * and there is no gateway. */
MUST_USE uint32_t arp_hop(const struct arp *a, uint32_t address);

/* A peer at that address is to be reached: its neighbour is asked for from now on.  Returns 0, or
 *   -EHOSTUNREACH  there is no way (arp_hop)
 *   -ENOSPC        ARP_NEIGHBOURS. */
MUST_USE int arp_add(struct arp *a, uint32_t address, uint64_t now);
/* One that was added is not reached any more. */
void arp_remove(struct arp *a, uint32_t address);

/* The station that packets to that address of a peer go to.  False: it is not known (yet). */
MUST_USE bool arp_find(struct arp *a, uint32_t address, struct packet_mac *mac);

/* What packet_judge found to be ARP. */
void arp_receive(struct arp *a, const struct packet_arp *packet, uint64_t now);

/* The next packet to send now, answers first, and the station that it goes to.  False: there is none.  Call it until
 * then. */
MUST_USE bool arp_next(struct arp *a, uint64_t now, struct packet_arp *packet,
                       struct packet_mac *to);

/* When arp_next wants to be called: UINT64_MAX: not before something comes. */
MUST_USE uint64_t arp_deadline(const struct arp *a);

/* The port's link came up: each neighbour is asked again at once, which also tells the switch where we are; what is
 * known stays in use. */
void arp_link_up(struct arp *a, uint64_t now);

#endif
