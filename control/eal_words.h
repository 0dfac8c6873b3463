/* eal_words - what the arguments of EAL that a configuration has say of memory, and whether that is enough for its port.
 *
 * Arithmetic.  Where nothing is said EAL is asked for as much as the port takes (dpdk_size.h); what is said wins.  It
 * is a bound where pages are small or --legacy-mem is said: else DPDK takes more huge pages while there are free ones. */
#ifndef DUNLIN_CONTROL_EAL_WORDS_H
#define DUNLIN_CONTROL_EAL_WORDS_H

#include "dataplane/dpdk_size.h"

struct eal_words {
    uint32_t memory_mib; /* of -m, the last one, or the sum of --socket-mem; 0: it is not said */
    bool no_huge, legacy;
};

void eal_words_read(struct eal_words *words, const char *text);

/* MiB that the port takes at least, where less is said than that and no more is to be had; else 0.
 * size: its small_pages is of what is there; words may say so, too. */
uint32_t eal_words_missing(const struct eal_words *words, const struct dpdk_size *size);

#endif
