#include "control/decision.h"

#include "engine/rcu.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- asked by lcores ---- */

static int compare_log(const void *key, const void *element)
{
    uint32_t log = *(const uint32_t *)key;
    const struct decision_shard *s = element;
    return log < s->log ? -1 : log > s->log;
}

struct decision_shard *decision_find(struct decision *d, uint32_t log)
{
    return bsearch(&log, d->shards, d->count, sizeof(d->shards[0]), compare_log);
}

struct decision_shard *decision_at(struct decision *d, uint32_t log, uint64_t epoch)
{
    struct decision_shard *s = decision_find(d, log);
    return s != NULL && s->configuration.epoch == epoch ? s : NULL;
}

bool decision_configuration(struct decision *d, uint32_t log, uint64_t known_epoch,
                            struct configuration *copy)
{
    const struct decision_shard *s = decision_find(d, log);
    if (s == NULL || s->configuration.epoch <= known_epoch)
        return false;
    *copy = s->configuration;
    return true;
}

/* ---- decided ---- */

struct decision *decision_make(uint32_t count)
{
    struct decision *d = calloc(1, sizeof(*d) + count * sizeof(d->shards[0]));
    if (d != NULL)
        d->count = count;
    return d;
}

void decisions_tell(struct decisions *d)
{
    const uint64_t one = 1;
    atomic_fetch_add_explicit(&d->version, 1, memory_order_release); /* E1 */
    for (uint32_t i = 0; i < d->node_count; i++)
        for (uint32_t l = 0; l < d->wakes[i].count; l++)
            /* Why ignored: one that cannot be written rings already. */
            (void)!write(d->wakes[i].fds[l], &one, sizeof(one));
}

void decisions_publish(struct decisions *d, struct decision *next)
{
    struct decision *before = atomic_load_explicit(&d->newest, memory_order_relaxed); /* ours */
    atomic_store_explicit(&d->newest, next, memory_order_release);                    /* R1 */
    decisions_tell(d);
    if (before == NULL)
        return;
    qsbr_synchronize();
    free(before);
}

/* ---- open and close ---- */

int decisions_wake(struct decisions *d, const struct node *n)
{
    ASSERT(d->node_count < LIMIT_VOTERS);
    struct decision_wakes *w = &d->wakes[d->node_count++];
    /* Above the slots of agents, as node.h says. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = LIMIT_AGENTS + 1};
    for (uint32_t l = 0; l < n->config.lcore_count; l++) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
            return -errno;
        w->fds[w->count++] = fd;
        if (epoll_ctl(n->sleep_fds[l], EPOLL_CTL_ADD, fd, &event) != 0)
            return -errno;
    }
    return 0;
}

void decisions_fini(struct decisions *d)
{
    for (uint32_t i = 0; i < d->node_count; i++)
        while (d->wakes[i].count != 0)
            (void)close(d->wakes[i].fds[--d->wakes[i].count]); /* and out of the epoll with it */
    d->node_count = 0;
    free(
        atomic_exchange_explicit(&d->newest, NULL, memory_order_relaxed)); /* nobody else is left */
}
