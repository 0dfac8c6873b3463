/* threads - what the threads of a process have used: CPU time, and how often they went to sleep.
 *
 * By the kernel's own account of each (schedstat, status): neither depends on what else the machine does, but for
 * caches.  Any thread. */
#ifndef DUNLIN_BENCH_THREADS_H
#define DUNLIN_BENCH_THREADS_H

#include "engine/base.h"

#include <sys/types.h>

struct threads_used {
    uint64_t cpu_ns;
    uint64_t sleeps; /* and so many wake-ups */
};

/* All threads of a process whose name is that, NULL: whatever their name; those that have ended are not counted.
 * Returns 0 or -errno. */
MUST_USE int threads_look(pid_t process, const char *name, struct threads_used *used);

#endif
