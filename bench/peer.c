#include "bench/peer.h"

#include "bench/machine.h"

static void *run(void *argument)
{
    struct peer *p = argument;
    /* An unpinned peer measures the same thing with more noise, which the swing rule judges. */
    (void)!machine_pin(p->cpu);
    (void)pthread_mutex_lock(&p->mutex);
    while (!p->ending) {
        if (!p->wanted) {
            (void)pthread_cond_wait(&p->changed, &p->mutex);
            continue;
        }
        p->running = true;
        (void)pthread_cond_broadcast(&p->changed);
        (void)pthread_mutex_unlock(&p->mutex);
        p->task(p->context, &p->stop);
        (void)pthread_mutex_lock(&p->mutex);
        p->running = p->wanted = false;
        (void)pthread_cond_broadcast(&p->changed);
    }
    (void)pthread_mutex_unlock(&p->mutex);
    return NULL;
}

int peer_open(struct peer *p, uint32_t cpu, peer_task task, void *context)
{
    *p = (struct peer){.task = task, .context = context, .cpu = cpu};
    int rc = pthread_mutex_init(&p->mutex, NULL);
    if (rc != 0)
        return -rc;
    rc = pthread_cond_init(&p->changed, NULL);
    if (rc != 0)
        goto fail_mutex;
    rc = pthread_create(&p->thread, NULL, run, p);
    if (rc != 0)
        goto fail_cond;
    return 0;
fail_cond:
    (void)pthread_cond_destroy(&p->changed);
fail_mutex:
    (void)pthread_mutex_destroy(&p->mutex);
    return -rc;
}

void peer_resume(struct peer *p)
{
    /* relaxed: the mutex orders it before the task */
    atomic_store_explicit(&p->stop, 0, memory_order_relaxed);
    (void)pthread_mutex_lock(&p->mutex);
    p->wanted = true;
    (void)pthread_cond_broadcast(&p->changed);
    while (!p->running)
        (void)pthread_cond_wait(&p->changed, &p->mutex);
    (void)pthread_mutex_unlock(&p->mutex);
}

void peer_pause(struct peer *p)
{
    /* relaxed: a hint, the mutex orders the return */
    atomic_store_explicit(&p->stop, 1, memory_order_relaxed);
    (void)pthread_mutex_lock(&p->mutex);
    while (p->running)
        (void)pthread_cond_wait(&p->changed, &p->mutex);
    (void)pthread_mutex_unlock(&p->mutex);
}

void peer_close(struct peer *p)
{
    (void)pthread_mutex_lock(&p->mutex);
    p->ending = true;
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->mutex);
    (void)pthread_join(p->thread, NULL);
    (void)pthread_cond_destroy(&p->changed);
    (void)pthread_mutex_destroy(&p->mutex);
}
