/* udp_faults - what a bad network does to one direction of a flow of datagrams, by a seed.
 *
 * A part of udp_proxy.c that knows neither sockets nor clocks: datagrams and times (nanoseconds of a clock
 * that does not go back) are given.  Memory is malloc's.  One thread.
 *
 * Each datagram draws the same count of random numbers, whatever becomes of it, so the fates of a flow
 * depend on the seed, the stream and the order of arrival alone; how long a held one waits when
 * nothing follows depends on time, too.  In this order a datagram may be
 *
 *   lost         forgotten
 *   corrupted    one of its bits turned; in what is duplicated of it, too
 *   reordered    held back until 1 to UDP_FAULTS_HELD later ones were taken, or UDP_FAULTS_HOLD_NS
 *   duplicated   sent twice, one behind the other; the second is not held back
 *   replayed     followed by another one that was taken before, as that one came: any one since the start,
 *                all as likely
 *
 * and all that leave do so delay_ns after that, in the order in which they became ready.
 *
 * Source: Vitter, "Random sampling with a reservoir" (1985), algorithm R, for what is replayed: so old
 * nonces come back, below any window, and so do those of a peer's start that is over. */
#ifndef DUNLIN_TESTS_E2E_UDP_FAULTS_H
#define DUNLIN_TESTS_E2E_UDP_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#define UDP_FAULTS_HELD 8u
#define UDP_FAULTS_HOLD_NS UINT64_C(20000000)
#define UDP_FAULTS_HISTORY 256u
#define UDP_FAULTS_QUEUE_BYTES (UINT64_C(64) << 20) /* what waits, of one direction */

struct udp_faults_config {
    uint64_t seed;
    double loss, corrupt, duplicate, reorder, replay; /* probabilities, 0 to 1 */
    uint64_t delay_ns;
};

/* What leaves is received - lost + duplicated + replayed - dropped. */
struct udp_faults_counters {
    uint64_t received, lost, corrupted, duplicated, replayed;
    uint64_t reordered; /* one that came later left earlier */
    uint64_t dropped;   /* UDP_FAULTS_QUEUE_BYTES are waiting, or there is no memory */
};

struct udp_datagram {
    struct udp_datagram *next;
    uint64_t number; /* of its arrival */
    uint64_t due;
    uint32_t length;
    uint8_t bytes[];
};

struct udp_faults_held {
    struct udp_datagram *datagram; /* NULL: free */
    uint32_t behind;               /* so many later ones are still to be taken */
    uint64_t until;
};

struct udp_faults {
    struct udp_faults_config config;
    struct udp_faults_counters counters;
    uint64_t random;
    uint64_t taken;           /* not lost */
    uint64_t number_left_max; /* of those that left or wait for nothing but the delay */
    struct udp_datagram *head, *tail;
    uint64_t queued_bytes;
    struct udp_faults_held held[UDP_FAULTS_HELD + 1]; /* the last ones and the newest */
    struct udp_datagram *history[UDP_FAULTS_HISTORY];
};

/* stream: flows of one seed that differ; fini frees what waits. */
void udp_faults_init(struct udp_faults *f, const struct udp_faults_config *config, uint64_t stream);
void udp_faults_fini(struct udp_faults *f);

/* One datagram has come. */
void udp_faults_take(struct udp_faults *f, const void *bytes, uint32_t length, uint64_t now);

/* The next one to leave, which the caller frees; NULL: none now.  now UINT64_MAX: all of them. */
struct udp_datagram *udp_faults_next(struct udp_faults *f, uint64_t now);

/* When udp_faults_next will have one, if none comes before; UINT64_MAX: never. */
uint64_t udp_faults_deadline(const struct udp_faults *f);

#endif
