#include "bench/passes.h"

#include "bench/sampler.h"

#include <sys/resource.h>
#include <time.h>

uint64_t passes_cpu_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

void passes_reset(struct passes *p, double ticks_per_ns)
{
    p->ns_per_tick = 1 / ticks_per_ns;
    p->count_clock = p->count_own = p->count_switched = p->count_faulting = 0;
    p->longest_ns = 0;
    histogram_reset(&p->clock);
    histogram_reset(&p->own);
}

/* The kernel's clock outside of the other: asking it is no part of the pass. */
void passes_begin(struct passes *p)
{
    struct rusage use = {0};
    (void)getrusage(RUSAGE_THREAD, &use);
    p->switches = use.ru_nivcsw;
    p->faults = use.ru_minflt + use.ru_majflt;
    p->cpu_ns = passes_cpu_ns();
    p->ticks = sampler_now();
}

void passes_end(struct passes *p)
{
    const uint64_t ticks = sampler_now() - p->ticks;
    const uint64_t cpu_ns = passes_cpu_ns() - p->cpu_ns;
    const uint64_t clock_ns = (uint64_t)((double)ticks * p->ns_per_tick);
    const uint64_t own_ns = min_u64(clock_ns, cpu_ns);
    histogram_add(&p->clock, clock_ns);
    histogram_add(&p->own, own_ns);
    p->own_ns = own_ns;
    p->count_clock += clock_ns > PASSES_LONG_NS;
    struct rusage use = {0};
    (void)getrusage(RUSAGE_THREAD, &use);
    p->was_switched = use.ru_nivcsw != p->switches;
    if (!p->was_switched)
        p->longest_ns = max_u64(p->longest_ns, own_ns);
    if (own_ns <= PASSES_LONG_NS)
        return;
    p->count_own++;
    p->count_switched += p->was_switched;
    p->count_faulting += use.ru_minflt + use.ru_majflt != p->faults;
}
