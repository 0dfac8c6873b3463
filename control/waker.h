/* waker - wakes agents that sleep until something is committed in a space.
 *
 * Control thread, on its libuv loop; no lcore makes a system call for a watcher.  While agents watch, a
 * timer looks at the spaces of which somebody said in the doorbell file that he sleeps, and if an lcore has
 * committed there since the last wake.  It looks every millisecond, and more seldom after a while in which it
 * woke nobody: nothing is committed, or all who watch are busy with what they have.
 * All of a space sleep on one word of its file, by rounds.  The first few are woken here; each wakes some
 * more that slept through the same change (engine/agent/watch.c), so that thousands cost this thread no more
 * than one.  Where a chain breaks, because who was woken is frozen or dead, or hostile, some of earlier rounds
 * sleep on: the next looks wake more each, until none is left.
 *
 * Memory order: an agent loads the round (X1), sets its bit, fences and looks at the boards (X2); the
 * waker clears the bit (X3), then changes the round (X4), then wakes.  An agent that the wake misses finds
 * either the commit or another round than it loaded. */
#ifndef DUNLIN_CONTROL_WAKER_H
#define DUNLIN_CONTROL_WAKER_H

#include "dataplane/node.h"

#include <uv.h>

struct waker {
    uv_timer_t timer;
    struct node *node;
    uint32_t watching; /* connections */
    uint32_t quiet;    /* looks since somebody was woken */
    /* By id - 1 of a space. */
    uint64_t waking;                           /* a bit each: some of earlier rounds may sleep on */
    uint32_t wakes[LIMIT_SPACES];              /* then: so many of them are woken next */
    uint32_t told[LIMIT_SPACES][LIMIT_LCORES]; /* counts of commits at the last wake */
};

/* The timer is the caller's to close; node and loop outlive it. */
void waker_init(struct waker *w, uv_loop_t *loop, struct node *node);

/* A connection more that watches, or one less. */
void waker_add(struct waker *w);
void waker_remove(struct waker *w);

/* One look; the timer's work.  True: somebody was to be woken. */
bool waker_look(struct waker *w);
/* Until the next one. */
uint64_t waker_pause_ms(const struct waker *w);

#endif
