/* port_net - a network of a bench's own: namespaces that its processes are in, and virtual cables between them; or
 * memory that two of them share.
 *
 * A namespace is there as long as a process is in it, and its cables go with it: nothing is to be cleaned up, whoever
 * is killed.  Needs root and iproute2. */
#ifndef DUNLIN_BENCH_PORT_NET_H
#define DUNLIN_BENCH_PORT_NET_H

#include "engine/base.h"

/* What a kernel driver and its device are called, for ports on cables. */
struct port_net_kind {
    const char *driver;
    const char *devargs; /* of a port at a cable's end, PORT_NET_CABLE */
    int family;          /* of sockets, which the kernel must have; 0: nothing is asked */
};
#define PORT_NET_KINDS 2u
extern const struct port_net_kind port_net_kinds[PORT_NET_KINDS];

#define PORT_NET_CABLE "cable" /* interface at which a port is opened */

/* What to open as either end of a net_memif, which needs no cable.  The server makes the file, behind which there may
 * be several, by number; it is found from any network namespace. */
#define PORT_NET_MEMIF_BYTES 192u
void port_net_memif(char devargs[PORT_NET_MEMIF_BYTES], const char *file, uint32_t number,
                    bool is_server);

/* Whether this kernel has what that driver needs. */
bool port_net_has(const struct port_net_kind *kind);

/* A namespace of its own for the calling process, which has one thread.  Returns 0 or -errno. */
MUST_USE int port_net_leave(void);

/* Lines for ip -batch, in the calling process's namespace; "%s" and the like as printf.
 * Returns 0, or -EIO after ip's own word on stderr, or -errno. */
MUST_USE int port_net_ip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A cable of so many Mbit/s (10^6 bits of Ethernet frames, without preamble and checksum): what goes into it at this
 * end, an interface in the calling process's namespace, waits in a token bucket (tc-tbf(8)) until the rate lets it
 * go.  At a bridge's end that is what its node receives.  The bucket holds what the rate brings in 250 us, or two
 * frames: enough that a timer which fires late loses nothing of the rate, and too little to hide the pauses of who
 * sends.  PORT_NET_CABLE_FRAMES wait before any is dropped.
 * Returns 0; -ENOENT no tc; -EIO after tc's own word on stderr, such as that this kernel has no token buckets;
 * or -errno. */
MUST_USE int port_net_limit(const char *interface, uint32_t mbit);

#define PORT_NET_FRAME_BYTES 1514u /* as token buckets count one of an mtu of 1,500 */
#define PORT_NET_CABLE_FRAMES 512u

/* The command of it. */
#define PORT_NET_COMMAND_BYTES 128u
void port_net_limit_command(char command[PORT_NET_COMMAND_BYTES], const char *interface,
                            uint32_t mbit);

/* Commands that bring up an interface which nobody but a port uses: the kernel neither asks nor answers there.
 * Why one queue: AF_XDP serves those that it is told of, and what comes to others is not for it. */
#define PORT_NET_QUEUES "numtxqueues 1 numrxqueues 1"
#define PORT_NET_UP "addrgenmode none arp off up"

#endif
