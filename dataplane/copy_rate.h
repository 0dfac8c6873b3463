/* copy_rate - how many bytes an lcore may spend now on copies in the background: pieces of snapshots, and the
 * log for peers that were behind.  What is fed in step with the log is none of it.
 *
 * Pure.  A token bucket by virtual scheduling (the generic cell rate algorithm, ITU-T I.371): one word, the
 * time at which all that was spent is paid for.  A copy may begin while there are tokens at all, however long
 * it is; so one that is longer than the burst leaves too, and is paid for by what follows.
 * Units: bytes, ticks of the caller's clock. */
#ifndef DUNLIN_DATAPLANE_COPY_RATE_H
#define DUNLIN_DATAPLANE_COPY_RATE_H

#include "engine/base.h"

#define COPY_RATE_UNIT_SHIFT 10u    /* rates are kept by the KiB */
#define COPY_RATE_BURSTS_PER_S 100u /* a rest is worth so much of a second */
#define COPY_RATE_BYTES_MAX (UINT64_C(1) << 22)

struct copy_rate {
    uint64_t ticks_per_kib; /* 0: no bound */
    uint64_t burst;         /* ticks */
    uint64_t wait_max;      /* ticks: nobody waits longer, though the rate is not kept then */
    uint64_t paid_at;       /* all that was spent is paid for then */
};

/* bytes_per_s 0: no bound; less than a KiB counts as one.  wait_max: above the burst, so short that nobody who
 * waits for a piece gives up. */
static inline void copy_rate_init(struct copy_rate *c, uint64_t bytes_per_s, uint64_t ticks_per_s,
                                  uint64_t wait_max)
{
    uint64_t kib = bytes_per_s >> COPY_RATE_UNIT_SHIFT;
    uint64_t ticks = ticks_per_s / max_u64(kib, 1);
    *c = (struct copy_rate){
        .ticks_per_kib = bytes_per_s != 0 ? max_u64(ticks, 1) : 0,
        .burst = ticks_per_s / COPY_RATE_BURSTS_PER_S,
        .wait_max = max_u64(wait_max, 1),
    };
}

/* Whether a copy may begin. */
static inline bool copy_rate_allows(const struct copy_rate *c, uint64_t now)
{
    return c->ticks_per_kib == 0 || c->paid_at <= now || c->paid_at - now < c->burst;
}

/* So many were copied; at most COPY_RATE_BYTES_MAX. */
static inline void copy_rate_spend(struct copy_rate *c, uint64_t bytes, uint64_t now)
{
    if (c->ticks_per_kib == 0)
        return;
    ASSERT(bytes <= COPY_RATE_BYTES_MAX);
    uint64_t cost = (bytes * c->ticks_per_kib) >> COPY_RATE_UNIT_SHIFT;
    c->paid_at = min_u64(max_u64(c->paid_at, now) + cost, now + c->burst + c->wait_max);
}

#endif
