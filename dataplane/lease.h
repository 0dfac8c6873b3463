/* lease - the arithmetic of promises and of rights to read; nothing else.
 *
 * Pure.  All times are readings of one node's own clock, in its ticks.  The holder counts from
 * before it asked, the granter from after it answered, and between two clocks lies a rate bound: a
 * duration of d ticks told by one clock is at least d - d / LEASE_RATE and at most d + d /
 * LEASE_RATE by another. Leases protect reads only; the safety of writes never depends on a clock.
 * Source: DESIGN section 5; Gray and Cheriton, "Leases" (SOSP 1989), section 3.1 and 5. */
#ifndef DUNLIN_DATAPLANE_LEASE_H
#define DUNLIN_DATAPLANE_LEASE_H

#include "engine/base.h"

#define LEASE_RATE 1000u /* 1,000 ppm */

/* Until when a right of this duration holds that was asked for at asked, by the asker's clock. */
static inline uint64_t lease_right_end(uint64_t asked, uint64_t duration)
{
    return asked + duration - duration / LEASE_RATE;
}

/* Until when a promise of this duration binds that was given at answered, by the granter's clock.
 */
static inline uint64_t lease_promise_end(uint64_t answered, uint64_t duration)
{
    return answered + duration + duration / LEASE_RATE + 1;
}

#endif
