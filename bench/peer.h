/* peer - a pinned thread on another core that works when told and sleeps in between, so that the
 * sides of a comparison can take turns on the same two cores.
 *
 * One thread owns a peer and calls these.  The task runs from peer_resume to peer_pause; it looks
 * at *stop often (relaxed is enough: it is a hint, peer_pause waits for the task's return). */
#ifndef DUNLIN_BENCH_PEER_H
#define DUNLIN_BENCH_PEER_H

#include "engine/base.h"

#include <pthread.h>

typedef void (*peer_task)(void *context, const _Atomic uint32_t *stop);

struct peer {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    peer_task task;
    void *context;
    uint32_t cpu;                 /* nth usable, see machine_pin */
    bool wanted, running, ending; /* under mutex */
    alignas(CACHE_LINE) _Atomic uint32_t stop;
};

/* Returns 0 or -errno.  It sleeps at first. */
MUST_USE int peer_open(struct peer *p, uint32_t cpu, peer_task task, void *context);
/* Returns when the task has been started. */
void peer_resume(struct peer *p);
/* Returns when the task has returned. */
void peer_pause(struct peer *p);
void peer_close(struct peer *p);

#endif
