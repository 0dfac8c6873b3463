/* client - what the benches do through libdunlin: fill a space, keep a writer busy, measure reads.
 */
#ifndef DUNLIN_BENCH_CLIENT_H
#define DUNLIN_BENCH_CLIENT_H

#include "bench/daemon.h"
#include "bench/keys.h"
#include "bench/sampler.h"
#include "engine/agent/dunlin.h"

#define CLIENT_GET_BATCH 32u

struct client {
    struct dunlin *handle;
    struct dunlin_space *space;
    uint32_t key_bits;
    enum dunlin_mode mode;
    bool chained; /* each get waits for the one before */
    uint64_t position;
    struct sampler *get_sampler, *many_sampler;
};

/* Attach to the daemon, waiting until it serves.  Returns 0, or -errno after a word on stderr. */
MUST_USE int client_open(struct client *c, const struct daemon *d, uint32_t key_bits,
                         double ticks_per_ns);
void client_close(struct client *c);

/* Write every key once, in random order, many in flight.  Returns 0, or -errno after a word. */
MUST_USE int client_fill(struct client *c);

/* Submit the nth write of the order of writing, collecting answers only where the ring or a window
 * has no room.  Returns 0, or -errno of it or of a write that was collected. */
MUST_USE int client_submit(struct client *c, uint64_t nth);
/* Collect answers until no more than left are awaited.  Returns 0, or -errno of the first write that
 * failed; -ETIMEDOUT: none came for 5 s. */
MUST_USE int client_collect(struct client *c, size_t left);

/* Write count keys from the nth on of the order of writing, at most window in flight; all are
 * answered when it returns.  As client_fill. */
MUST_USE int client_put_many(struct client *c, uint64_t nth, uint64_t count, uint32_t window);

/* pairs_measure of dunlin_get, and of dunlin_get_many per key. */
int client_measure_get(void *context, uint64_t duration_ns, double *value);
int client_measure_get_many(void *context, uint64_t duration_ns, double *value);

/* A child process that writes random keys as fast as it can while it is let. */
struct client_writer {
    pid_t pid;
    struct client_writer_shared *shared;
};

/* Fork it, stopped; call this before anything big is mapped.  cpu: nth usable. */
MUST_USE int client_writer_start(struct client_writer *w, const struct daemon *d, uint32_t key_bits,
                                 uint32_t cpu);
/* Let it run; returns when it writes. -ECHILD: it failed (and said why). */
MUST_USE int client_writer_resume(struct client_writer *w);
/* Writes answered since it was started. */
uint64_t client_writer_count(const struct client_writer *w);
void client_writer_stop(struct client_writer *w);

#endif
