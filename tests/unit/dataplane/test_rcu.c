/* RCU as node_agent and the lcores use it.  Under TSan also: the wrapper draws every edge itself.
 */
#include "engine/rcu.h"

#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdlib.h>

#define READERS 2
#define ROUNDS 1000
#define HELD 200 /* looks at an item: long enough to meet one that was taken away too early */
#define GONE 0xdeadu

struct item {
    struct qsbr_head head;
    uint32_t value; /* GONE once nobody may see it any more */
};

static _Atomic(struct item *) published;
static _Atomic bool stop;
static _Atomic uint32_t freed;
static pthread_barrier_t begin;

/* Returns how often it saw what it must not see. */
static void *reader_main(void *argument)
{
    uintptr_t wrong = 0;
    uint32_t rounds = 0;
    (void)argument;
    qsbr_thread_register();
    qsbr_offline();
    (void)pthread_barrier_wait(&begin);
    qsbr_online();
    while (!atomic_load_explicit(&stop, memory_order_acquire)) {
        const struct item *item = atomic_load_explicit(&published, memory_order_acquire);
        for (int i = 0; item != NULL && i < HELD; i++) {
            wrong += item->value == GONE ? 1 : 0;
            cpu_relax();
        }
        qsbr_quiescent();
        if (++rounds % 64 == 0) {
            qsbr_offline();
            cpu_relax();
            qsbr_online();
        }
    }
    qsbr_thread_unregister();
    return (void *)wrong;
}

static void item_free(struct qsbr_head *head)
{
    struct item *item = (struct item *)head;
    item->value = GONE;
    free(item);
    atomic_fetch_add_explicit(&freed, 1, memory_order_relaxed);
}

static struct item *exchange(uint32_t value)
{
    struct item *item = calloc(1, sizeof(*item));
    CU_ASSERT_PTR_NOT_NULL_FATAL(item);
    item->value = value;
    return atomic_exchange_explicit(&published, item, memory_order_acq_rel);
}

static void nobody_sees_what_was_taken_away(void)
{
    pthread_t readers[READERS];
    void *wrong;
    qsbr_thread_register();
    qsbr_offline();
    qsbr_defer_start();
    CU_ASSERT_EQUAL_FATAL(pthread_barrier_init(&begin, NULL, READERS + 1), 0);
    for (int i = 0; i < READERS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&readers[i], NULL, reader_main, NULL), 0);
    CU_ASSERT_PTR_NULL(exchange(0));
    (void)pthread_barrier_wait(&begin);
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        struct item *old = exchange(i);
        if (i % 2 != 0) {
            qsbr_synchronize();
            item_free(&old->head);
        } else {
            qsbr_defer(&old->head, item_free);
        }
    }
    atomic_store_explicit(&stop, true, memory_order_release);
    for (int i = 0; i < READERS; i++) {
        CU_ASSERT_EQUAL(pthread_join(readers[i], &wrong), 0);
        CU_ASSERT_PTR_NULL(wrong);
    }
    (void)pthread_barrier_destroy(&begin);
    qsbr_defer_drain();
    CU_ASSERT_EQUAL(atomic_load_explicit(&freed, memory_order_relaxed), ROUNDS);
    free(atomic_load_explicit(&published, memory_order_relaxed));
    qsbr_thread_unregister();
}

static const struct unit_test tests[] = {
    UNIT_TEST(nobody_sees_what_was_taken_away),
};
UNIT_MAIN("rcu", tests)
