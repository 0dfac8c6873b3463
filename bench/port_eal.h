/* port_eal - DPDK's environment for a bench's process: as little as its port needs. */
#ifndef DUNLIN_BENCH_PORT_EAL_H
#define DUNLIN_BENCH_PORT_EAL_H

#include "engine/base.h"

#define PORT_EAL_WORDS_MAX 8u
#define PORT_EAL_NAME_BYTES 32u

struct port_eal_words {
    const char *list[PORT_EAL_WORDS_MAX];
    uint32_t count;
    char name[PORT_EAL_NAME_BYTES];
};

/* Have the environments of this process, and of those that it starts, keep their files in that directory, which is
 * removed whatever becomes of them.  Before any of them; returns 0 or -errno. */
MUST_USE int port_eal_files(const char *directory);

/* Arguments for a process that opens that device (dpdk_port.h) and no other. */
void port_eal_words(struct port_eal_words *words, const char *device);

/* Start it with them, once in a process.  Returns 0, or what dpdk_eal_start says, after a word on stderr. */
MUST_USE int port_eal_start(const char *device);

/* How rows call a port: its driver ("net_memif0,role=server": net_memif), or its PCI address. */
void port_eal_name(const char *device, char name[PORT_EAL_NAME_BYTES]);

#endif
