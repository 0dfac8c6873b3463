#include "bench/transport_side.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LOOKS 4096u               /* between two looks at the clock */
#define ANSWER_NS (20 * NS_PER_S) /* what has not come by then never comes */
#define LOSS_NS (200 * NS_PER_MS) /* a stream that stands still for so long has lost something */
#define WARM_PART 4u              /* of a measurement, not counted */

/* One writer, the partner; the caller reads.  relaxed, all of it: counts, and the bytes counted went
 * through the kernel. */
struct transport_sink {
    alignas(CACHE_LINE) _Atomic uint64_t taken; /* bytes */
    _Atomic uint64_t busy_ticks;
    _Atomic int32_t error;
};

static void idle(const struct transport_side *s)
{
    if (s->shape.one_cpu)
        (void)sched_yield();
    else
        __builtin_ia32_pause();
}

/* ---- partner ---- */

static void count(_Atomic uint64_t *word, uint64_t by)
{
    /* relaxed: one writer */
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    atomic_store_explicit(word, old + by, memory_order_relaxed);
}

static int sink_once(struct transport_side *s)
{
    uint64_t from = sampler_now();
    int got = s->link->take(s->ends[1]);
    if (got <= 0)
        return got;
    count(&s->sink->busy_ticks, sampler_now() - from);
    count(&s->sink->taken, (uint64_t)got);
    return got;
}

void transport_side_serve(struct transport_side *s, enum transport_side_task task,
                          const _Atomic uint32_t *stop)
{
    /* relaxed: a hint */
    while (atomic_load_explicit(stop, memory_order_relaxed) == 0) {
        int did = task == TRANSPORT_SIDE_ECHO ? s->link->echo(s->ends[1]) : sink_once(s);
        if (did == 0)
            idle(s);
        if (did < 0)
            atomic_store_explicit(&s->sink->error, did, memory_order_relaxed);
    }
}

static void partner_run(void *context, uint32_t what, const _Atomic uint32_t *stop)
{
    transport_side_serve(context, (enum transport_side_task)what, stop);
}

/* ---- opening ---- */

void transport_side_fini(struct transport_side *s)
{
    if (s->sink != NULL)
        (void)munmap(s->sink, sizeof *s->sink);
    sampler_delete(s->sampler);
    free(s->log);
}

int transport_side_init(struct transport_side *s, const struct transport_link *link,
                        double ticks_per_ns)
{
    *s = (struct transport_side){.link = link};
    s->sampler = sampler_new(1, ticks_per_ns);
    s->log = malloc(TRANSPORT_SIDE_LOG_BYTES);
    void *sink =
        mmap(NULL, sizeof *s->sink, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    s->sink = sink != MAP_FAILED ? sink : NULL;
    if (s->sampler == NULL || s->log == NULL || s->sink == NULL) {
        transport_side_fini(s);
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < TRANSPORT_SIDE_LOG_BYTES; i++)
        s->log[i] = (uint8_t)(i * 37 + i / 256);
    return 0;
}

static void ends_close(const struct transport_side *s)
{
    for (uint32_t i = 0; i < 2; i++)
        s->link->close(s->ends[i]);
}

int transport_side_open(struct transport_side *s, const struct transport_link *link,
                        void *const ends[2], const struct transport_shape *shape)
{
    int rc = transport_side_init(s, link, shape->ticks_per_ns);
    s->ends[0] = ends[0];
    s->ends[1] = ends[1];
    s->shape = *shape;
    if (rc == 0) {
        rc = transport_partner_open(&s->partner, 1, partner_run, s);
        if (rc != 0)
            transport_side_fini(s);
    }
    if (rc != 0)
        ends_close(s);
    return rc;
}

void transport_side_close(struct transport_side *s)
{
    transport_partner_close(&s->partner);
    transport_side_fini(s);
    ends_close(s);
}

/* ---- round trips ---- */

static uint64_t ticks_of(const struct transport_side *s, uint64_t ns)
{
    return (uint64_t)((double)ns * s->shape.ticks_per_ns);
}

static int exchange(struct transport_side *s)
{
    int came = s->link->send(s->ends[0], s->log, s->shape.length, 1);
    uint64_t deadline = 0;
    uint32_t missing = s->shape.length;
    for (uint32_t look = 1; came >= 0; look++) {
        came = s->link->take(s->ends[0]);
        if (came > 0 && (uint32_t)came >= missing)
            return 0;
        if (came > 0)
            missing -= (uint32_t)came;
        if (came == 0)
            idle(s);
        if (look % LOOKS != 0)
            continue;
        if (deadline == 0)
            deadline = sampler_now() + ticks_of(s, ANSWER_NS);
        if (sampler_now() > deadline)
            return -ETIMEDOUT;
    }
    return came;
}

/* What the partner met, or 0. */
static int partner_error(const struct transport_side *s)
{
    return atomic_load_explicit(&s->sink->error, memory_order_relaxed);
}

int transport_side_measure_round_trip(void *context, uint64_t duration_ns, double *value)
{
    struct transport_side *s = context;
    int rc = transport_partner_resume(&s->partner, s->task_first + TRANSPORT_SIDE_ECHO);
    if (rc != 0)
        return rc;
    bool more = true;
    sampler_start(s->sampler, duration_ns);
    while (more && rc == 0) {
        uint64_t from = sampler_now();
        rc = exchange(s);
        more = sampler_add(s->sampler, from, sampler_now());
    }
    int paused = transport_partner_pause(&s->partner);
    rc = rc != 0 ? rc : paused != 0 ? paused : partner_error(s);
    if (rc == 0)
        *value = sampler_finish(s->sampler);
    return rc;
}

/* ---- streams ---- */

static uint64_t taken_of(const struct transport_side *s)
{
    return atomic_load_explicit(&s->sink->taken, memory_order_relaxed);
}

/* Of both processes, ever. */
static uint64_t busy_of(const struct transport_side *s)
{
    return s->busy_ticks + atomic_load_explicit(&s->sink->busy_ticks, memory_order_relaxed);
}

/* Bytes that are neither taken nor lost.  Why below 0 is 0: some come after they were written off. */
static uint64_t under_way(const struct transport_side *s)
{
    uint64_t taken = taken_of(s) + s->written_off;
    return s->sent > taken ? s->sent - taken : 0;
}

/* Until no more than so many bytes are under way. */
static void wait_room(struct transport_side *s, uint64_t bytes)
{
    uint64_t taken = taken_of(s);
    uint64_t deadline = sampler_now() + ticks_of(s, LOSS_NS);
    for (uint32_t look = 1; under_way(s) > bytes; look++) {
        idle(s);
        if (look % LOOKS != 0)
            continue;
        if (taken_of(s) != taken) {
            taken = taken_of(s);
            deadline = sampler_now() + ticks_of(s, LOSS_NS);
        } else if (sampler_now() > deadline) {
            s->written_off += under_way(s);
        }
    }
}

static int pour(struct transport_side *s)
{
    uint64_t bytes = (uint64_t)s->shape.length * s->shape.burst;
    if (s->at + bytes > TRANSPORT_SIDE_LOG_BYTES)
        s->at = 0;
    uint64_t from = sampler_now();
    int rc = s->link->send(s->ends[0], s->log + s->at, s->shape.length, s->shape.burst);
    s->busy_ticks += sampler_now() - from;
    s->at += bytes;
    s->sent += bytes;
    return rc < 0 ? rc : 0;
}

/* Send a window's worth, waiting for room, and note how long it took. */
static int pour_group(struct transport_side *s)
{
    uint64_t burst = (uint64_t)s->shape.length * s->shape.burst;
    uint64_t from = sampler_now(), busy = busy_of(s);
    int rc = 0;
    for (uint64_t bytes = 0; bytes < s->shape.window && rc == 0; bytes += burst) {
        wait_room(s, s->shape.window - burst);
        rc = pour(s);
    }
    s->group_ns[s->group_count] = (double)(sampler_now() - from) / s->shape.ticks_per_ns;
    s->group_busy_ns[s->group_count++] = (double)(busy_of(s) - busy) / s->shape.ticks_per_ns;
    return rc;
}

/* Groups until then, and so many in any case. */
static int pour_until(struct transport_side *s, uint64_t ticks, uint32_t groups_min)
{
    int rc = 0;
    s->group_count = 0;
    while (rc == 0 && s->group_count < TRANSPORT_SIDE_GROUPS_MAX &&
           (s->group_count < groups_min || sampler_now() < ticks))
        rc = pour_group(s);
    return rc;
}

int transport_side_measure_stream(void *context, uint64_t duration_ns, double *value)
{
    struct transport_side *s = context;
    int rc = transport_partner_resume(&s->partner, s->task_first + TRANSPORT_SIDE_SINK);
    if (rc != 0)
        return rc;
    uint64_t now = sampler_now();
    rc = pour_until(s, now + ticks_of(s, duration_ns / WARM_PART), 1);
    if (rc == 0)
        rc = pour_until(s, now + ticks_of(s, duration_ns), TRANSPORT_SIDE_GROUPS_MIN);
    wait_room(s, 0);
    int paused = transport_partner_pause(&s->partner);
    /* Why anew: what was written off may have been late, not lost. */
    s->written_off = 0;
    s->written_off = under_way(s);
    rc = rc != 0 ? rc : paused != 0 ? paused : partner_error(s);
    if (rc != 0)
        return rc;
    double messages = (double)s->shape.window / s->shape.length;
    *value = messages * 1e9 / pairs_median(s->group_ns, s->group_count);
    s->cpu[s->cpu_count++ % PAIRS_MAX] = pairs_median(s->group_busy_ns, s->group_count) / messages;
    return 0;
}
