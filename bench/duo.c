#include "bench/duo.h"

#include "engine/clock.h"

#define STREAM_PIECE (DUO_BURST * 256u) /* messages between looks at the clock */

static void echo_task(void *argument, const _Atomic uint32_t *stop)
{
    struct duo *d = argument;
    d->channel->echo(d->context, stop);
}

static void sink_task(void *argument, const _Atomic uint32_t *stop)
{
    struct duo *d = argument;
    d->channel->sink(d->context, &d->sink, stop);
}

int duo_open(struct duo *d, const struct duo_channel *channel, void *context, uint32_t peer_cpu,
             double ticks_per_ns)
{
    *d = (struct duo){.channel = channel, .context = context};
    d->sampler = sampler_new(DUO_GROUP, ticks_per_ns);
    if (d->sampler == NULL)
        return -ENOMEM;
    int rc = peer_open(&d->echo_peer, peer_cpu, echo_task, d);
    if (rc != 0)
        goto fail_sampler;
    rc = peer_open(&d->sink_peer, peer_cpu, sink_task, d);
    if (rc != 0)
        goto fail_echo;
    return 0;
fail_echo:
    peer_close(&d->echo_peer);
fail_sampler:
    sampler_delete(d->sampler);
    return rc;
}

void duo_close(struct duo *d)
{
    peer_close(&d->sink_peer);
    peer_close(&d->echo_peer);
    sampler_delete(d->sampler);
}

int duo_measure_round_trip(void *context, uint64_t duration_ns, double *value)
{
    struct duo *d = context;
    peer_resume(&d->echo_peer);
    bool more;
    sampler_start(d->sampler, duration_ns);
    do {
        uint64_t from = sampler_now();
        d->channel->exchange(d->context, DUO_GROUP);
        more = sampler_add(d->sampler, from, sampler_now());
    } while (more);
    peer_pause(&d->echo_peer);
    *value = sampler_finish(d->sampler);
    return 0;
}

int duo_measure_stream(void *context, uint64_t duration_ns, double *value)
{
    struct duo *d = context;
    peer_resume(&d->sink_peer);
    uint64_t began_ns = clock_boottime_ns();
    uint64_t counted = 0, counted_from_ns = began_ns, now_ns;
    do {
        d->channel->pour(d->context, d->poured, STREAM_PIECE);
        d->poured += STREAM_PIECE;
        now_ns = clock_boottime_ns();
        if (now_ns - began_ns < duration_ns / 4)
            counted_from_ns = now_ns; /* warming up */
        else
            counted += STREAM_PIECE;
    } while (counted == 0 || now_ns - began_ns < duration_ns);
    /* acquire: nothing, the pause below orders the sum; it only must be seen to arrive */
    while (atomic_load_explicit(&d->sink.taken, memory_order_acquire) < d->poured)
        continue;
    peer_pause(&d->sink_peer);
    uint64_t n = d->poured;
    uint64_t expected = DUO_WORDS * (n * (n - 1) / 2) + n * (DUO_WORDS * (DUO_WORDS - 1) / 2);
    if (d->sink.sum != expected)
        return -EBADMSG;
    *value = (double)counted * 1000.0 / (double)(now_ns - counted_from_ns);
    return 0;
}
