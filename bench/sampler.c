#include "bench/sampler.h"

#include <stdlib.h>
#include <string.h>

struct sampler *sampler_new(uint32_t group, double ticks_per_ns)
{
    struct sampler *s = calloc(1, sizeof *s);
    if (s != NULL) {
        s->group = group;
        s->ticks_per_ns = ticks_per_ns;
    }
    return s;
}

void sampler_delete(struct sampler *s)
{
    free(s);
}

void sampler_start(struct sampler *s, uint64_t duration_ns)
{
    uint64_t now = sampler_now();
    uint64_t ticks = (uint64_t)((double)duration_ns * s->ticks_per_ns);
    s->count = 0;
    s->ticks_warm = now + ticks / 4;
    s->ticks_deadline = now + ticks;
}

static int compare_ticks(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

double sampler_finish(struct sampler *s)
{
    ASSERT(s->count > 0);
    double ps_per_tick = 1000.0 / s->ticks_per_ns / s->group;
    for (uint32_t i = 0; i < s->count; i++)
        histogram_add_many(&s->histogram, (uint64_t)(s->ticks[i] * ps_per_tick), s->group);
    qsort(s->ticks, s->count, sizeof s->ticks[0], compare_ticks);
    return s->ticks[s->count / 2] * ps_per_tick * SAMPLER_SCALE;
}
