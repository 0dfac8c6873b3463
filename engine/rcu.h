/* rcu - liburcu's QSBR flavour for the threads of one process, behind names of our own.
 *
 * A thread that reads RCU-protected pointers registers, and calls qsbr_quiescent when it holds none
 * of them: an lcore once per loop.  A thread that blocks goes offline first and online afterwards;
 * offline it may hold no such pointer.  Control is offline but for the moments in which it reads.
 *
 *   publish   store the pointer with release, load it with acquire (C11 atomics, at the owner)
 *   take away store NULL, qsbr_synchronize (or qsbr_defer), then free: no reader has it any more
 *
 * Who may block: qsbr_synchronize waits for every online thread, so lcores never call it; they use
 * qsbr_defer, whose callback runs on a thread of liburcu, in order of the calls of one thread.
 *
 * Memory order: Q1 quiescent, offline (release) -> Q2 synchronize, callback (acquire): all that the
 * reader did with the pointer is over.  liburcu orders this by full barriers in code that is not
 * instrumented, and ThreadSanitizer reports races that are none; so under TSan the same edge is
 * drawn once more through an atomic.  It is a read-modify-write there: a plain store would break
 * the release sequence and hide the readers before it.  No suppressions are needed. */
#ifndef DUNLIN_ENGINE_RCU_H
#define DUNLIN_ENGINE_RCU_H

#include "engine/base.h"

#include <semaphore.h>
#include <urcu/urcu-qsbr.h>

#if defined(__SANITIZE_THREAD__)
#define QSBR_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define QSBR_TSAN 1
#endif
#endif

#ifdef QSBR_TSAN
extern _Atomic uint64_t qsbr_edge;
/* weak: one object per program although every file that includes this defines it. */
__attribute__((weak)) _Atomic uint64_t qsbr_edge;
/* Q1 */
#define QSBR_EDGE_RELEASE() ((void)atomic_fetch_add_explicit(&qsbr_edge, 1, memory_order_release))
/* Q2 */
#define QSBR_EDGE_ACQUIRE() ((void)atomic_load_explicit(&qsbr_edge, memory_order_acquire))
#else
#define QSBR_EDGE_RELEASE() ((void)0)
#define QSBR_EDGE_ACQUIRE() ((void)0)
#endif

/* Once per thread, before anything else here; the thread is online then. */
static inline void qsbr_thread_register(void)
{
    urcu_qsbr_register_thread();
}

static inline void qsbr_thread_unregister(void)
{
    QSBR_EDGE_RELEASE();
    urcu_qsbr_unregister_thread();
}

static inline void qsbr_online(void)
{
    urcu_qsbr_thread_online();
}

static inline void qsbr_offline(void)
{
    QSBR_EDGE_RELEASE();
    urcu_qsbr_thread_offline();
}

/* I hold no RCU-protected pointer now.  Cheap when no grace period is waited for. */
static inline void qsbr_quiescent(void)
{
    QSBR_EDGE_RELEASE();
    urcu_qsbr_quiescent_state();
}

/* Wait until every thread that was online has been quiescent or offline.  The caller may be online
 * (it counts as quiescent meanwhile) or offline. */
static inline void qsbr_synchronize(void)
{
    QSBR_EDGE_RELEASE();
    urcu_qsbr_synchronize_rcu();
    QSBR_EDGE_ACQUIRE();
}

/* Part of what shall be freed; the caller's memory until the callback. */
struct qsbr_head {
    struct rcu_head rcu; /* first: the callback finds the rest by it */
    void (*callback)(struct qsbr_head *head);
};

static inline void qsbr_run_callback(struct rcu_head *rcu)
{
    struct qsbr_head *head = (struct qsbr_head *)rcu;
    QSBR_EDGE_ACQUIRE();
    head->callback(head);
}

/* Make the thread that runs callbacks, by a thread whose CPU set it shall inherit: before the first
 * qsbr_defer of a pinned thread. */
static inline void qsbr_defer_start(void)
{
    (void)urcu_qsbr_get_default_call_rcu_data();
}

/* Call callback(head) after a grace period, on a thread of liburcu.  Never blocks; the caller is
 * registered. */
static inline void qsbr_defer(struct qsbr_head *head, void (*callback)(struct qsbr_head *head))
{
    head->callback = callback;
    QSBR_EDGE_RELEASE();
    urcu_qsbr_call_rcu(&head->rcu, qsbr_run_callback);
}

struct qsbr_drain {
    struct qsbr_head head;
    sem_t done;
};

static inline void qsbr_drained(struct qsbr_head *head)
{
    (void)sem_post(&((struct qsbr_drain *)head)->done);
}

/* Wait until all callbacks deferred so far, by whatever thread, have run: at shutdown, before what
 * they use goes.  The caller may be online (it counts as quiescent meanwhile) or offline. */
static inline void qsbr_defer_drain(void)
{
    /* why not urcu_qsbr_barrier: TSan takes its hand-over of memory inside liburcu for a race.  One
     * worker runs all callbacks in order, so the last one says the same. */
    struct qsbr_drain drain;
    bool online = urcu_qsbr_read_ongoing() != 0;
    (void)sem_init(&drain.done, 0, 0);
    qsbr_defer(&drain.head, qsbr_drained);
    if (online)
        qsbr_offline();
    while (sem_wait(&drain.done) != 0) {
        /* interrupted by a signal */
    }
    if (online)
        qsbr_online();
    (void)sem_destroy(&drain.done);
}

#endif
