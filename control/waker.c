#include "control/waker.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOOK_MS 1u
#define LOOK_QUIET_MS 4u
#define QUIET_LOOKS 100u /* in a row, without a commit: then more seldom */

void waker_init(struct waker *w, uv_loop_t *loop, struct node *node)
{
    *w = (struct waker){.node = node};
    (void)uv_timer_init(loop, &w->timer); /* cannot fail: it only fills the struct */
    w->timer.data = w;
}

/* Counts of commits that differ from told; with take they are told from now on. */
static bool has_news(struct waker *w, bool take)
{
    bool news = false;
    for (uint32_t i = 0; i < w->node->config.lcore_count; i++) {
        /* acquire: pairs with the lcore's release; the boards were stored before */
        uint32_t commits =
            atomic_load_explicit(&w->node->shared->lcores[i].commits, memory_order_acquire);
        news |= commits != w->told[i];
        if (take)
            w->told[i] = commits;
    }
    return news;
}

bool waker_look(struct waker *w)
{
    _Atomic uint32_t *watchers = &w->node->doorbell->watchers;
    _Atomic uint32_t *round = &w->node->shared->watch_round;
    if (!has_news(w, false)) {
        w->quiet += w->quiet < QUIET_LOOKS;
        return false;
    }
    w->quiet = 0;
    /* relaxed: who is not seen now is at the next look, by news that are not told yet */
    if (atomic_load_explicit(watchers, memory_order_relaxed) == 0)
        return false;
    (void)has_news(w, true);
    /* X3, X4 */
    (void)atomic_exchange_explicit(watchers, 0, memory_order_seq_cst);
    atomic_fetch_add_explicit(round, 1, memory_order_seq_cst);
    /* Why ignored: the word is mapped, waking nobody is fine. */
    (void)syscall(SYS_futex, round, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    return true;
}

static void on_timer(uv_timer_t *timer)
{
    struct waker *w = timer->data;
    (void)waker_look(w);
    uint64_t next_ms = w->quiet < QUIET_LOOKS ? LOOK_MS : LOOK_QUIET_MS;
    (void)uv_timer_start(timer, on_timer, next_ms, 0);
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
