/* duo - round trips and one-way streams between two pinned threads, over some channel.
 *
 * What is common to the sides of the ring bench: the calling thread sends and times, the peer on
 * the other core echoes, or sinks what is streamed; in between it sleeps.  A channel supplies four
 * loops:
 *
 *   echo      peer: answer whatever comes, until *stop
 *   sink      peer: take what is streamed, until *stop, and count it in *taken (messages, relaxed,
 * at least once per DUO_BURST) exchange  caller: count round trips, one after the other pour
 * caller: stream count messages (a multiple of DUO_BURST) of DUO_MESSAGE_BYTES, waiting for room as
 * needed
 *
 * Every message is filled and read whole: DUO_WORDS words, of which the sink keeps a sum. */
#ifndef DUNLIN_BENCH_DUO_H
#define DUNLIN_BENCH_DUO_H

#include "bench/pairs.h"
#include "bench/peer.h"
#include "bench/sampler.h"

#define DUO_MESSAGE_BYTES 64u
#define DUO_WORDS 7u /* of payload: one of the eight says that the message is there */
#define DUO_BURST 32u
#define DUO_RING_BYTES (64u << 10) /* each channel's buffer: what an agent's ring has */
#define DUO_GROUP 8u               /* round trips timed together */

/* What the sink did, in a line of its own. */
struct duo_sink {
    alignas(CACHE_LINE) _Atomic uint64_t taken;
    uint64_t sum; /* sink only, read after it has returned */
};

struct duo_channel {
    void (*echo)(void *channel, const _Atomic uint32_t *stop);
    void (*sink)(void *channel, struct duo_sink *sink, const _Atomic uint32_t *stop);
    void (*exchange)(void *channel, uint32_t count);
    void (*pour)(void *channel, uint64_t first, uint32_t count);
};

struct duo {
    const struct duo_channel *channel;
    void *context;
    struct duo_sink sink;
    struct peer echo_peer, sink_peer;
    struct sampler *sampler;        /* of round trips */
    struct sampler *stream_sampler; /* per message */
    uint64_t poured;
};

/* context is the channel's and outlives the duo.  Returns 0 or -errno. */
MUST_USE int duo_open(struct duo *d, const struct duo_channel *channel, void *context,
                      uint32_t peer_cpu, double ticks_per_ns);
void duo_close(struct duo *d);

/* pairs_measure of round trips: nanoseconds each. */
int duo_measure_round_trip(void *context, uint64_t duration_ns, double *value);

/* pairs_measure of the stream: million messages a second, filling and reading included.
 * -EBADMSG if the sink's sum is not that of what was poured. */
int duo_measure_stream(void *context, uint64_t duration_ns, double *value);

/* Payload of the nth message and what it adds to the sum. */
static ALWAYS_INLINE void duo_fill(uint64_t words[DUO_WORDS], uint64_t nth)
{
    for (uint32_t i = 0; i < DUO_WORDS; i++)
        words[i] = nth + i;
}

static ALWAYS_INLINE uint64_t duo_read(const uint64_t words[DUO_WORDS])
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < DUO_WORDS; i++)
        sum += words[i];
    return sum;
}

#endif
