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

/* Put the groups into the histogram.  Returns picoseconds per operation in a group's tick. */
static double collect(struct sampler *s)
{
    ASSERT(s->count > 0);
    double ps_per_tick = 1000.0 / s->ticks_per_ns / s->group;
    for (uint32_t i = 0; i < s->count; i++)
        histogram_add_many(&s->histogram, (uint64_t)(s->ticks[i] * ps_per_tick), s->group);
    return ps_per_tick;
}

double sampler_finish_mean(struct sampler *s)
{
    double ps_per_tick = collect(s);
    double limit = SAMPLER_INTERRUPTED_NS * s->ticks_per_ns;
    double sum = 0, all = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        all += s->ticks[i];
        if (s->ticks[i] <= limit) {
            sum += s->ticks[i];
            count++;
        }
    }
    double mean = count != 0 ? sum / count : all / s->count;
    return mean * ps_per_tick * SAMPLER_SCALE;
}

double sampler_finish(struct sampler *s)
{
    double ps_per_tick = collect(s);
    qsort(s->ticks, s->count, sizeof s->ticks[0], compare_ticks);
    uint32_t median = s->ticks[s->count / 2];
    return median * ps_per_tick * SAMPLER_SCALE;
}
