#include "control/dev_moves.h"

#include "control/logline.h"
#include "engine/clock.h"
#include "engine/rcu.h"

#include <pthread.h>
#include <stdlib.h>

#define LOOK_NS (NS_PER_MS / 2)       /* between looks whether something has happened */
#define HAND_OVER_NS (20 * NS_PER_MS) /* then it moves all the same */
#define ACTIVE_NS NS_PER_S            /* then another epoch replaces the one that does not come */

/* Why so long: longer than a lease, and then as long again. */
#define LAG_NS (100 * NS_PER_MS)
#define CUT_OFF_NS (150 * NS_PER_MS)

struct dev_moves {
    struct dev_moves_config config;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* on CLOCK_MONOTONIC */
    bool stop;
};

/* Let time pass.  False: it is to end. */
static bool rest(struct dev_moves *m, uint64_t ns)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t sum = (uint64_t)until.tv_nsec + ns;
    until.tv_sec += (time_t)(sum / NS_PER_S);
    until.tv_nsec = (long)(sum % NS_PER_S);
    (void)pthread_mutex_lock(&m->lock);
    while (!m->stop && pthread_cond_timedwait(&m->changed, &m->lock, &until) == 0) {
        /* woken for nothing */
    }
    bool stop = m->stop;
    (void)pthread_mutex_unlock(&m->lock);
    return !stop;
}

/* Wait for a condition at most so long, or until the end. */
static void await(struct dev_moves *m, bool (*is)(const struct coordinator_script *c), uint64_t ns)
{
    uint64_t until_ns = clock_boottime_ns() + ns;
    while (!is(m->config.coordinator) && clock_boottime_ns() < until_ns && rest(m, LOOK_NS))
        continue;
}

static void move_to(struct dev_moves *m, uint32_t leader, bool hand_over)
{
    if (hand_over) {
        coordinator_script_hand_over(m->config.coordinator);
        await(m, coordinator_script_is_handed_over, HAND_OVER_NS);
    }
    int error = coordinator_script_move(m->config.coordinator, leader);
    if (error != 0)
        log_event(LOG_WARN, "move_failed", LOG_NUMBER("node", leader + 1), LOG_ERRNO(error));
    await(m, coordinator_script_is_active, ACTIVE_NS);
}

/* There and back. */
static void move(struct dev_moves *m, uint32_t turn)
{
    uint32_t next = 1 + turn % (m->config.node_count - 1);
    bool hand_over = turn % 2 == 0;
    bool is_late = turn % 4 == 2, is_cut_off = turn % 4 == 3;
    uint64_t begun_ns = clock_boottime_ns();
    if (is_late) {
        dev_links_cut_off(m->config.links, next + 1);
        (void)rest(m, LAG_NS); /* what follows ends at once if it is to */
        dev_links_cut_off(m->config.links, 0);
    }
    if (is_cut_off)
        dev_links_cut_off(m->config.links, 1);
    move_to(m, next, hand_over);
    uint64_t passed_ns = clock_boottime_ns() - begun_ns;
    if (is_cut_off && passed_ns < CUT_OFF_NS)
        (void)rest(m, CUT_OFF_NS - passed_ns);
    dev_links_cut_off(m->config.links, 0);
    move_to(m, 0, hand_over);
}

static void *moves_main(void *argument)
{
    struct dev_moves *m = argument;
    uint64_t period_ns = m->config.period_ms * NS_PER_MS;
    uint64_t next_ns = clock_boottime_ns() + period_ns;
    qsbr_thread_register();
    qsbr_offline();
    for (uint32_t turn = 0;; turn++) {
        uint64_t now_ns = clock_boottime_ns();
        if (!rest(m, next_ns > now_ns ? next_ns - now_ns : 0))
            break;
        next_ns = max_u64(next_ns, now_ns) + period_ns;
        move(m, turn);
    }
    qsbr_thread_unregister();
    return NULL;
}

int dev_moves_start(struct dev_moves **moves, const struct dev_moves_config *config)
{
    ASSERT(config->node_count >= 2 && config->period_ms >= DEV_MOVES_MS_MIN);
    pthread_condattr_t attributes;
    struct dev_moves *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return -ENOMEM;
    m->config = *config;
    (void)pthread_mutex_init(&m->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&m->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    int error = -pthread_create(&m->thread, NULL, moves_main, m);
    if (error != 0) {
        (void)pthread_cond_destroy(&m->changed);
        (void)pthread_mutex_destroy(&m->lock);
        free(m);
        return error;
    }
    *moves = m;
    return 0;
}

void dev_moves_stop(struct dev_moves *m)
{
    if (m == NULL)
        return;
    (void)pthread_mutex_lock(&m->lock);
    m->stop = true;
    (void)pthread_cond_signal(&m->changed);
    (void)pthread_mutex_unlock(&m->lock);
    (void)pthread_join(m->thread, NULL);
    (void)pthread_cond_destroy(&m->changed);
    (void)pthread_mutex_destroy(&m->lock);
    free(m);
}
