/* port_switch - an Ethernet switch whose ports are shared memory: net_memif joins two processes, this joins more.
 *
 * It makes a file and behind it the ports 1 to port_count, each for one client (port_net_memif with that file and
 * number).  It learns behind which port a station is, sends what is for that station there, and all else to every
 * other port; what a port has behind it is forgotten when its client goes.
 *
 * One thread, in a process whose environment of DPDK runs (dpdk_eal.h).  It polls: it yields after each look in vain for
 * 20 us, as a node's lcore does on a port that wakes nobody, then naps as short as the kernel can; where nothing came
 * for a millisecond it rests for as long. */
#ifndef DUNLIN_BENCH_PORT_SWITCH_H
#define DUNLIN_BENCH_PORT_SWITCH_H

#include "engine/base.h"

#define PORT_SWITCH_PORTS_MAX 8u
#define PORT_SWITCH_MEMORY_MIB 64u /* that its environment needs */

struct port_switch;

/* Frames: to where their station was known to be; to all others; lost, since a port took no more or no buffer was
 * left. */
struct port_switch_counters {
    uint64_t forwarded, flooded, dropped;
};

/* Returns 0, or -errno with nothing open, after a word on stderr.  port_count: 2 to PORT_SWITCH_PORTS_MAX. */
MUST_USE int port_switch_open(struct port_switch **s, const char *file, uint32_t port_count);
/* Until *stopped is not 0 (relaxed: nothing else hangs on it). */
void port_switch_run(struct port_switch *s, const _Atomic uint32_t *stopped);
const struct port_switch_counters *port_switch_counters(const struct port_switch *s);
void port_switch_close(struct port_switch *s);

#endif
