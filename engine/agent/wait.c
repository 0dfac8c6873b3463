#include "engine/agent/agent.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* Linux 5.16 */
#endif

#define SPIN_ROUND 32u
#define SLEEP_BLIND_NS                                                                             \
    NS_PER_MS /* on one ring of several, where the kernel cannot wait for all                      \
               */

struct waiter agent_wait_begin(const struct dunlin *d, uint64_t timeout_ns)
{
    uint64_t now = clock_boottime_ns();
    uint64_t left = min_u64(timeout_ns, UINT64_MAX - now);
    return (struct waiter){.deadline_ns = now + left, .spin_end_ns = now + d->options.spin_ns};
}

/* ---- sleeping on completion rings ---- */

static bool has_message(struct ring *r)
{
    struct ring_head head;
    void *message;
    return ring_peek(r, &message, &head) != 0;
}

struct sleep_set {
    struct lane *lanes[LIMIT_LCORES];
    uint32_t wakes[LIMIT_LCORES];
    uint32_t count;
};

static void sleep_add(struct sleep_set *set, struct lane *lane)
{
    set->lanes[set->count++] = lane;
}

/* S1: sleeping is stored, seq_cst fence, then the ring is looked at; the lcore publishes, fences
 * and then looks at sleeping (S2).  One of the two sees the other. Returns false if there is
 * something already. */
static bool sleep_prepare(struct sleep_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        struct ring_shared *shared = set->lanes[i]->completion.shared;
        /* relaxed: the fence below orders both */
        set->wakes[i] = atomic_load_explicit(&shared->wake, memory_order_relaxed);
        atomic_store_explicit(&shared->agent_sleeping, 1, memory_order_relaxed);
    }
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i < set->count; i++)
        if (has_message(&set->lanes[i]->completion))
            return false;
    return true;
}

static void sleep_end(const struct sleep_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        /* relaxed: a wake too many does no harm */
        atomic_store_explicit(&set->lanes[i]->completion.shared->agent_sleeping, 0,
                              memory_order_relaxed);
}

static void sleep_one(struct sleep_set *set, uint32_t i, uint64_t for_ns)
{
    const struct timespec timeout = {.tv_sec = (time_t)(for_ns / NS_PER_S),
                                     .tv_nsec = (long)(for_ns % NS_PER_S)};
    /* Why the result does not matter: the caller looks at the ring and at the clock anyway. */
    (void)syscall(SYS_futex, &set->lanes[i]->completion.shared->wake, FUTEX_WAIT, set->wakes[i],
                  &timeout, NULL, 0);
}

static void sleep_many(struct sleep_set *set, uint64_t for_ns)
{
    struct futex_waitv waits[LIMIT_LCORES];
    uint64_t until_ns = clock_boottime_ns() + for_ns;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t monotonic_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec + for_ns;
    const struct timespec until = {.tv_sec = (time_t)(monotonic_ns / NS_PER_S),
                                   .tv_nsec = (long)(monotonic_ns % NS_PER_S)};
    for (uint32_t i = 0; i < set->count; i++)
        waits[i] = (struct futex_waitv){
            .val = set->wakes[i],
            .uaddr = (uintptr_t)&set->lanes[i]->completion.shared->wake,
            .flags = FUTEX_32,
        };
    if (syscall(SYS_futex_waitv, waits, set->count, 0, &until, CLOCK_MONOTONIC) >= 0 ||
        errno != ENOSYS)
        return;
    /* An older kernel: on each in turn for a short time. */
    for (uint32_t i = 0; clock_boottime_ns() < until_ns; i = (i + 1) % set->count) {
        sleep_one(set, i, min_u64(for_ns, SLEEP_BLIND_NS));
        if (has_message(&set->lanes[(i + 1) % set->count]->completion))
            return;
    }
}

static void wait_sleep(struct dunlin *d, uint32_t lcore, uint64_t for_ns)
{
    struct attachment *a = d->now;
    struct sleep_set set = {.count = 0};
    for (uint32_t l = 0; l < a->lcore_count; l++)
        if (l == lcore || (lcore == WAIT_ANY_LCORE && a->lanes[l].unanswered != 0))
            sleep_add(&set, &a->lanes[l]);
    if (set.count == 0) {
        const struct timespec pause = {.tv_nsec = (long)min_u64(for_ns, SLEEP_BLIND_NS)};
        (void)nanosleep(&pause, NULL);
        return;
    }
    if (sleep_prepare(&set)) {
        if (set.count == 1)
            sleep_one(&set, 0, for_ns);
        else
            sleep_many(&set, for_ns);
    }
    sleep_end(&set);
}

/* ---- waiting ---- */

/* No daemon: look for the next one, at the pace of agent_attach_try. */
static void wait_attach(struct dunlin *d, uint64_t now, uint64_t deadline_ns)
{
    if (d->try_ns > now) {
        uint64_t for_ns = min_u64(d->try_ns, deadline_ns) - now;
        const struct timespec pause = {.tv_sec = (time_t)(for_ns / NS_PER_S),
                                       .tv_nsec = (long)(for_ns % NS_PER_S)};
        (void)nanosleep(&pause, NULL);
    }
    /* Why the result does not matter: the caller looks whether it is attached. */
    (void)!agent_attach_try(d, min_u64(deadline_ns - now, AGENT_TRY_MAX_NS));
}

bool agent_wait_pause(struct dunlin *d, const struct waiter *w, uint32_t lcore)
{
    uint64_t now = clock_boottime_ns();
    if (now >= w->deadline_ns)
        return false;
    if (!agent_attached(d)) {
        wait_attach(d, now, w->deadline_ns);
        return true;
    }
    if (now < w->spin_end_ns) {
        for (uint32_t i = 0; i < SPIN_ROUND; i++) {
            cpu_relax();
            if (lcore != WAIT_ANY_LCORE && has_message(&d->now->lanes[lcore].completion))
                break;
        }
        return true;
    }
    uint64_t for_ns = min_u64(w->deadline_ns - now, d->now->node->heartbeat_ns);
    if (d->retry_ns != 0)
        for_ns = min_u64(for_ns, d->retry_ns > now ? d->retry_ns - now : 0);
    if (for_ns != 0)
        wait_sleep(d, lcore, for_ns);
    (void)agent_attach_look(d);
    return true;
}

int agent_wait_operation(struct dunlin *d, const struct operation *o, const struct waiter *w)
{
    for (;;) {
        agent_complete_all(d);
        if (o->state == OPERATION_DONE)
            return 0;
        if (!agent_wait_pause(d, w, o->lcore))
            return -ETIMEDOUT;
    }
}

/* ---- waking the other side ---- */

void agent_wait_bell(struct attachment *a, uint32_t lcore)
{
    struct ring_shared *shared = a->lanes[lcore].request.shared;
    /* D1: the message is published, seq_cst fence, then the lcore's state is looked at; the lcore
     * stores its state, fences, and then looks at the ring (D2).  Where it fences for both sides
     * (membarrier), only the compiler must keep the order here. */
    if (LIKELY(a->light_fences))
        atomic_signal_fence(memory_order_seq_cst);
    else
        atomic_thread_fence(memory_order_seq_cst);
    if (LIKELY(atomic_load_explicit(&shared->consumer_state, memory_order_relaxed) ==
               RING_CONSUMER_POLLING))
        return;
    /* D3: the same once more, with the bit for the message and sleeping for the state. */
    (void)atomic_fetch_or_explicit(&a->doorbell->lcores[lcore].bits[a->agent_slot / 64],
                                   UINT64_C(1) << (a->agent_slot % 64), memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t sleeping =
        atomic_load_explicit(&a->node->lcores[lcore].sleeping, memory_order_relaxed);
    /* Why once: the edge of the first wakes it, and whatever is in front of D3 by then it finds. */
    if (sleeping == 0 || sleeping == a->lanes[lcore].rung)
        return;
    a->lanes[lcore].rung = sleeping;
    /* Why the result does not matter: -EAGAIN is a bell that rings already. */
    const uint64_t one = 1;
    (void)!write(a->lanes[lcore].event_fd, &one, sizeof one);
}
