/* dpdk_eal - DPDK's environment layer, of which a process has one.
 *
 * Edge; control thread, before any port is opened and after all are closed.  The layer is told to use one
 * processor and none of its own polling threads: ours are plain threads, which join it (dpdk_eal_join) to have
 * caches of their own in memory pools.  Where the caller may run is not changed by it.
 *
 * Arguments: ours first, then the user's, so that the user's win.  Ours: memory (dpdk_size.h) without files that stay behind, a
 * file prefix of this process (several nodes on one machine do not meet), small pages where there are no
 * huge ones, warnings and worse in its log (stderr).  Telemetry stays on.
 *
 * Files: DPDK keeps some for each process; they go with it, and those of processes that were killed go with the next
 * that starts.
 *
 * Source: DPDK 22.11 Programmer's Guide, "Environment Abstraction Layer". */
#ifndef DUNLIN_DATAPLANE_DPDK_EAL_H
#define DUNLIN_DATAPLANE_DPDK_EAL_H

#include "engine/base.h"

#define DPDK_EAL_ARGUMENTS_MAX 64u /* of the user's */
#define DPDK_EAL_MEMORY_MIB 256u

enum dpdk_eal_pages {
    DPDK_EAL_PAGES_FREE, /* huge ones if the machine has enough free, else small ones */
    DPDK_EAL_PAGES_HUGE,
    DPDK_EAL_PAGES_SMALL,
};

struct dpdk_eal_config {
    const char *const *arguments; /* as on a command line, without a program name; copied */
    uint32_t argument_count;
    enum dpdk_eal_pages pages;
    /* Of huge pages, and of small ones where those are taken; 0: DPDK_EAL_MEMORY_MIB.  Huge ones become more while
     * there are free ones, small ones never do. */
    uint32_t memory_mib, memory_small_mib;
};

/* Returns 0, or
 *   -EALREADY  this process has (had) one: it starts once and cannot start again
 *   -E2BIG     DPDK_EAL_ARGUMENTS_MAX
 *   -EINVAL    an argument that DPDK does not take; it said which to stderr
 *   -ENOMEM, -EACCES ... what DPDK says. */
MUST_USE int dpdk_eal_start(const struct dpdk_eal_config *config);

/* All ports are closed.  Nothing stays behind in the file system. */
void dpdk_eal_stop(void);

bool dpdk_eal_is_started(void);
/* Its memory is of huge pages. */
bool dpdk_eal_has_huge_pages(void);

/* True: addresses that devices use are the process's own (an IOMMU translates them, or the port copies), so that they
 * may read memory that DPDK did not allocate, as long as the log's is.  False: they are physical, frames are copied. */
bool dpdk_eal_addresses_are_virtual(void);

/* By a thread that is going to use ports, and before it ends.  Returns 0, or
 *   -ENOSPC, -EINVAL  it has no place: it works without, slower. */
MUST_USE int dpdk_eal_join(void);
void dpdk_eal_leave(void);

#endif
