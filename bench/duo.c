#include "bench/duo.h"

/* Messages timed together: some laps of a channel's buffer, so that waiting for room is in it. */
#define STREAM_PIECE (4u * DUO_RING_BYTES / DUO_MESSAGE_BYTES)

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
    d->stream_sampler = sampler_new(STREAM_PIECE, ticks_per_ns);
    int rc = -ENOMEM;
    if (d->sampler == NULL || d->stream_sampler == NULL)
        goto fail_sampler;
    rc = peer_open(&d->echo_peer, peer_cpu, echo_task, d);
    if (rc != 0)
        goto fail_sampler;
    rc = peer_open(&d->sink_peer, peer_cpu, sink_task, d);
    if (rc != 0)
        goto fail_echo;
    return 0;
fail_echo:
    peer_close(&d->echo_peer);
fail_sampler:
    sampler_delete(d->stream_sampler);
    sampler_delete(d->sampler);
    return rc;
}

void duo_close(struct duo *d)
{
    peer_close(&d->sink_peer);
    peer_close(&d->echo_peer);
    sampler_delete(d->stream_sampler);
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
    struct sampler *s = d->stream_sampler;
    peer_resume(&d->sink_peer);
    bool more;
    sampler_start(s, duration_ns);
    do {
        uint64_t from = sampler_now();
        d->channel->pour(d->context, d->poured, STREAM_PIECE);
        d->poured += STREAM_PIECE;
        more = sampler_add(s, from, sampler_now());
    } while (more);
    /* relaxed: a count; the pause orders the sum */
    while (atomic_load_explicit(&d->sink.taken, memory_order_relaxed) < d->poured)
        continue;
    peer_pause(&d->sink_peer);
    uint64_t n = d->poured;
    uint64_t expected = DUO_WORDS * (n * (n - 1) / 2) + n * (DUO_WORDS * (DUO_WORDS - 1) / 2);
    if (d->sink.sum != expected)
        return -EBADMSG;
    *value = 1000.0 / sampler_finish(s);
    return 0;
}
