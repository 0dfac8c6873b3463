/* bucket - a token bucket in one word: how often something may happen.
 *
 * Pure.  Virtual scheduling (the generic cell rate algorithm, ITU-T I.371): the word is the time at
 * which the bucket will be full again; 0 is a full one.
 * Units: time of the caller's choice (nanoseconds, ticks), the same in rate and now. */
#ifndef DUNLIN_ENGINE_BUCKET_H
#define DUNLIN_ENGINE_BUCKET_H

#include "engine/base.h"

struct bucket_rate {
    uint64_t interval; /* between two, in the long run */
    uint64_t burst;    /* at once, after a rest; at least 1 */
};

/* Whether there is a token now. */
static inline bool bucket_has(uint64_t bucket, const struct bucket_rate *rate, uint64_t now)
{
    return bucket <= now || bucket - now <= (rate->burst - 1) * rate->interval;
}

/* Take a token.  False: there is none; nothing changes. */
static inline bool bucket_take(uint64_t *bucket, const struct bucket_rate *rate, uint64_t now)
{
    if (!bucket_has(*bucket, rate, now))
        return false;
    *bucket = max_u64(*bucket, now) + rate->interval;
    return true;
}

/* Give back as many as were taken for nothing. */
static inline void bucket_return(uint64_t *bucket, const struct bucket_rate *rate, uint64_t count)
{
    *bucket -= count * rate->interval;
}

#endif
