/* pacing - a token bucket: how many bytes may leave now.
 *
 * Pure; owned by whoever sends.  Time is given, in nanoseconds of any clock that does not go back.
 * A frame may leave while there are tokens at all, and may put them below zero: so one that is longer
 * than the burst leaves too, and is paid for by what follows. */
#ifndef DUNLIN_DATAPLANE_PACING_H
#define DUNLIN_DATAPLANE_PACING_H

#include "engine/base.h"

#define PACING_RATE_MAX (UINT64_C(1) << 40)
#define PACING_BURST_MAX (UINT64_C(1) << 40)

__extension__ typedef unsigned __int128 pacing_wide;

struct pacing {
    uint64_t rate;  /* bytes per second, at most PACING_RATE_MAX; 0: no limit */
    uint64_t burst; /* bytes, at most PACING_BURST_MAX */
    int64_t tokens; /* bytes */
    uint64_t since; /* when tokens were counted */
};

static inline void pacing_init(struct pacing *p, uint64_t rate, uint64_t burst, uint64_t now)
{
    *p = (struct pacing){.rate = rate, .burst = burst, .tokens = (int64_t)burst, .since = now};
}

/* Count the tokens of the time that went by. */
static inline void pacing_tick(struct pacing *p, uint64_t now)
{
    if (p->rate == 0 || now <= p->since)
        return;
    /* Why wide: the tokens of a long sleep fit no word; the burst is all that stays of them. */
    pacing_wide earned = (pacing_wide)(now - p->since) * p->rate / NS_PER_S;
    if (earned >= (pacing_wide)((int64_t)p->burst - p->tokens)) {
        p->tokens = (int64_t)p->burst;
        p->since = now;
        return;
    }
    /* Why not now: what is left of a byte would be lost at each tick. */
    p->tokens += (int64_t)earned;
    p->since += (uint64_t)((earned * NS_PER_S + p->rate - 1) / p->rate);
}

static inline bool pacing_may_send(const struct pacing *p)
{
    return p->rate == 0 || p->tokens > 0;
}

static inline void pacing_sent(struct pacing *p, uint64_t bytes)
{
    if (p->rate != 0)
        p->tokens -= (int64_t)bytes;
}

/* What was counted as sent was not. */
static inline void pacing_unsent(struct pacing *p, uint64_t bytes)
{
    if (p->rate != 0)
        p->tokens += (int64_t)bytes;
}

/* Nanoseconds after since at which something may leave again; 0: now. */
static inline uint64_t pacing_wait(const struct pacing *p)
{
    if (pacing_may_send(p))
        return 0;
    return (uint64_t)(((pacing_wide)(uint64_t)(1 - p->tokens) * NS_PER_S + p->rate - 1) / p->rate);
}

#endif
