/* clock - the two clocks that leases and ages are told in, and how to read them.
 *
 * CLOCK_KIND_TSC is used where the processor's counter is invariant: an agent can compare it with a
 * deadline without a system call.  Otherwise ticks are nanoseconds of CLOCK_BOOTTIME.  A deadline
 * is always in ticks of the kind that the node page names.  Pure cores never include this file. */
#ifndef DUNLIN_ENGINE_CLOCK_H
#define DUNLIN_ENGINE_CLOCK_H

#include "engine/base.h"

#include <time.h>

enum clock_kind { CLOCK_KIND_TSC = 1, CLOCK_KIND_BOOTTIME = 2 };

static inline uint64_t clock_boottime_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static inline uint64_t clock_realtime_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* lfence: the counter is not read before the loads in front of it are done (Intel SDM 4.3 RDTSC). */
static ALWAYS_INLINE uint64_t clock_tsc_ordered(void)
{
    __builtin_ia32_lfence();
    return __builtin_ia32_rdtsc();
}

static ALWAYS_INLINE uint64_t clock_ticks(enum clock_kind kind)
{
    return LIKELY(kind == CLOCK_KIND_TSC) ? clock_tsc_ordered() : clock_boottime_ns();
}

/* As clock_ticks, or a little earlier: it may be read while loads in front of it are still on their way.
 * For what counts from a reading, where an early one only errs to the safe side. */
static ALWAYS_INLINE uint64_t clock_ticks_early(enum clock_kind kind)
{
    return LIKELY(kind == CLOCK_KIND_TSC) ? __builtin_ia32_rdtsc() : clock_boottime_ns();
}

__extension__ typedef unsigned __int128 clock_wide;

/* Ticks to nanoseconds and back; ticks_per_s is at most 2^36, so the product needs 128 bits. */
static inline uint64_t clock_ticks_to_ns(uint64_t ticks, uint64_t ticks_per_s)
{
    return (uint64_t)((clock_wide)ticks * NS_PER_S / ticks_per_s);
}

static inline uint64_t clock_ns_to_ticks(uint64_t ns, uint64_t ticks_per_s)
{
    return (uint64_t)((clock_wide)ns * ticks_per_s / NS_PER_S);
}

#endif
