#include "control/waker.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOOK_MS 1u
#define LOOK_QUIET_MS 4u
#define QUIET_LOOKS 100u /* in a row that woke nobody: then more seldom */
#define WAKES_FIRST 4u   /* sleepers of a space that one look wakes ... */
#define WAKES_MOST 32u   /* ... doubling up to this */

void waker_init(struct waker *w, uv_loop_t *loop, struct node *node)
{
    *w = (struct waker){.node = node};
    (void)uv_timer_init(loop, &w->timer); /* cannot fail: it only fills the struct */
    w->timer.data = w;
}

/* Something was committed in the space that was not told; from now on it is. */
static bool news_take(struct waker *w, uint32_t at)
{
    bool news = false;
    for (uint32_t i = 0; i < w->node->config.lcore_count; i++) {
        /* acquire: pairs with the lcore's release; the boards were stored before */
        uint32_t commits =
            atomic_load_explicit(&w->node->shared->lcores[i].commits[at], memory_order_acquire);
        news |= commits != w->told[at][i];
        w->told[at][i] = commits;
    }
    return news;
}

/* Some of those of earlier rounds, and more the next time if there may be more. */
static void wake_some(struct waker *w, uint32_t at, _Atomic uint32_t *round)
{
    const uint32_t count = w->wakes[at];
    /* relaxed: only this thread changes it.  Why errors are as none: the word is mapped. */
    const long woken =
        syscall(SYS_futex, round, FUTEX_WAKE_BITSET, count, NULL, NULL,
                ~layout_watch_bit(atomic_load_explicit(round, memory_order_relaxed)));
    w->wakes[at] = (uint32_t)min_u64(UINT64_C(2) * count, WAKES_MOST);
    if (woken < (long)count)
        w->waking &= ~(UINT64_C(1) << at);
}

/* watched: somebody says that he sleeps.  True: it was, or is, somebody's time to wake. */
static bool look_space(struct waker *w, uint32_t at, bool watched)
{
    const uint64_t bit = UINT64_C(1) << at;
    const struct node_space *space = w->node->spaces[at + 1];
    if (space == NULL) {
        w->waking &= ~bit;
        return false;
    }
    _Atomic uint32_t *round = &space->header->watch_round;
    if (watched && news_take(w, at)) {
        /* X3, X4 */
        (void)atomic_fetch_and_explicit(&w->node->doorbell->watched, ~bit, memory_order_seq_cst);
        atomic_fetch_add_explicit(round, 1, memory_order_seq_cst);
        if ((w->waking & bit) == 0)
            w->wakes[at] = WAKES_FIRST;
        w->waking |= bit;
    } else if ((w->waking & bit) == 0) {
        return false;
    }
    wake_some(w, at, round);
    return true;
}

bool waker_look(struct waker *w)
{
    /* relaxed: who is not seen now is at the next look, by news that are not told yet */
    const uint64_t watched =
        atomic_load_explicit(&w->node->doorbell->watched, memory_order_relaxed);
    bool any = false;
    w->quiet += w->quiet < QUIET_LOOKS;
    for (uint64_t left = watched | w->waking; left != 0; left &= left - 1) {
        const uint32_t at = (uint32_t)__builtin_ctzll(left);
        any |= look_space(w, at, (watched >> at & 1) != 0);
    }
    if (any)
        w->quiet = 0;
    return any;
}

uint64_t waker_pause_ms(const struct waker *w)
{
    return w->quiet < QUIET_LOOKS ? LOOK_MS : LOOK_QUIET_MS;
}

static void on_timer(uv_timer_t *timer)
{
    struct waker *w = timer->data;
    (void)waker_look(w);
    (void)uv_timer_start(timer, on_timer, waker_pause_ms(w), 0);
}

void waker_add(struct waker *w)
{
    if (w->watching++ == 0)
        (void)uv_timer_start(&w->timer, on_timer, LOOK_MS, 0);
}

void waker_remove(struct waker *w)
{
    ASSERT(w->watching != 0);
    if (--w->watching == 0)
        (void)uv_timer_stop(&w->timer);
}
