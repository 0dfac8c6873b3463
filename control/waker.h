/* waker - wakes agents that sleep until something is committed.
 *
 * Control thread, on its libuv loop; no lcore makes a system call for a watcher.  While agents watch, a
 * timer looks if an lcore has committed since the last wake, and if anybody said in the doorbell file that
 * he sleeps; then all are woken at once, by the one word of the node file that they sleep on.  It looks
 * every millisecond, and more seldom while nothing is committed.
 *
 * Memory order: an agent loads the round (X1), stores its word, fences and looks at the boards (X2); the
 * waker clears the word (X3), then changes the round (X4), then wakes.  An agent that the wake misses finds
 * either the commit or another round than it loaded. */
#ifndef DUNLIN_CONTROL_WAKER_H
#define DUNLIN_CONTROL_WAKER_H

#include "dataplane/node.h"

#include <uv.h>

struct waker {
    uv_timer_t timer;
    struct node *node;
    uint32_t watching;           /* connections */
    uint32_t quiet;              /* looks since something was committed */
    uint32_t told[LIMIT_LCORES]; /* counts of commits at the last wake */
};

/* The timer is the caller's to close; node and loop outlive it. */
void waker_init(struct waker *w, uv_loop_t *loop, struct node *node);

/* A connection more that watches, or one less. */
void waker_add(struct waker *w);
void waker_remove(struct waker *w);

/* One look; the timer's work.  True: who slept was woken. */
bool waker_look(struct waker *w);

#endif
