/* transport_partner - another process, pinned, that works when told and sleeps in between: what
 * peer.h is with a thread.
 *
 * One thread owns a partner and calls these.  The child is a copy of the caller as it was when the
 * partner was opened, and shares with it only what was mapped MAP_SHARED before.  The task runs from
 * transport_partner_resume to transport_partner_pause; it looks at *stop often (relaxed is enough:
 * it is a hint, pause waits for the task's return).  It dies with its parent. */
#ifndef DUNLIN_BENCH_TRANSPORT_PARTNER_H
#define DUNLIN_BENCH_TRANSPORT_PARTNER_H

#include "engine/base.h"

#include <sys/types.h>

/* A partner that is silent for so long is lost.  Why so long: an emulated card takes half of it to be opened. */
#define TRANSPORT_PARTNER_WAIT_S 60

typedef void (*transport_partner_task)(void *context, uint32_t what, const _Atomic uint32_t *stop);

struct transport_partner_shared;

struct transport_partner {
    struct transport_partner_shared *shared;
    pid_t pid;
};

/* Runs on the nth usable cpu (machine_pin).  Returns 0 or -errno with nothing left behind. */
MUST_USE int transport_partner_open(struct transport_partner *p, uint32_t cpu,
                                    transport_partner_task task, void *context);
/* Returns 0 when the task has been started with that word, or -ETIMEDOUT: close it, measure no more. */
MUST_USE int transport_partner_resume(struct transport_partner *p, uint32_t what);
/* Returns 0 when the task has returned, or -ETIMEDOUT as above. */
MUST_USE int transport_partner_pause(struct transport_partner *p);
void transport_partner_close(struct transport_partner *p);

#endif
