/* bucket - a token bucket in one word: how often something may happen.
 *
 * Pure.  Virtual scheduling (the generic cell rate algorithm, ITU-T I.371): the word is the time at
 * which the bucket will be full again; 0 is a full one. */
#ifndef DUNLIN_CONTROL_BUCKET_H
#define DUNLIN_CONTROL_BUCKET_H

#include "engine/base.h"

struct bucket_rate {
    uint64_t interval_ns; /* between two, in the long run */
    uint64_t burst;       /* at once, after a rest */
};

/* Take a token at now_ns.  False: there is none; nothing changes. */
static inline bool bucket_take(uint64_t *bucket, const struct bucket_rate *rate, uint64_t now_ns)
{
    uint64_t full_at = max_u64(*bucket, now_ns);
    if (full_at - now_ns > (rate->burst - 1) * rate->interval_ns)
        return false;
    *bucket = full_at + rate->interval_ns;
    return true;
}

#endif
