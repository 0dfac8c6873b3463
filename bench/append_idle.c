#include "bench/append_idle.h"

#include "bench/failover_cluster.h"
#include "bench/threads.h"
#include "engine/clock.h"

#include <stdio.h>
#include <unistd.h>

#define CONTROL "dunlin-control" /* name of its threads */
#define SETTLE_US 1000000u
#define LIMIT_PERCENT 2.0
#define MOVE_TRIES 1000u
#define MOVE_AGAIN_US 10000u

struct node_used {
    struct threads_used all, control;
};

static int look(const struct failover_cluster *c, struct node_used used[NET_SERVERS])
{
    int rc = 0;
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++) {
        rc = threads_look(c->daemons[i].pid, NULL, &used[i].all);
        if (rc == 0)
            rc = threads_look(c->daemons[i].pid, CONTROL, &used[i].control);
    }
    return rc;
}

static struct threads_used since(const struct threads_used *now, const struct threads_used *then)
{
    return (struct threads_used){.cpu_ns = now->cpu_ns - then->cpu_ns,
                                 .sleeps = now->sleeps - then->sleeps};
}

static void row_add(struct report *report, const char *name, const struct node_used *used,
                    double passed_ns)
{
    static const struct pairs_goal goal = {PAIRS_AT_MOST, LIMIT_PERCENT};
    const struct threads_used *all = &used->all, *control = &used->control;
    const double percent = 100 / passed_ns, rate = 1e9 / passed_ns;
    struct report_row *row = report_add(report, name, "%", percent * (double)all->cpu_ns);
    row->samples = 1;
    report_goal(row, goal);
    report_note(row,
                "of one core, all threads of its dunlind, default leases, over %.1f s: control log "
                "%.2f %% in %.0f wake-ups a second, the rest (the lcore) %.2f %% in %.0f",
                passed_ns / 1e9, percent * (double)control->cpu_ns, rate * (double)control->sleeps,
                percent * (double)(all->cpu_ns - control->cpu_ns),
                rate * (double)(all->sleeps - control->sleeps));
}

/* Every node leads something: the first shards, one each. */
static int lead_all(const struct failover_cluster *c)
{
    for (uint32_t i = 0; i < NET_SERVERS; i++) {
        int64_t moved;
        for (uint32_t tries = 0;; tries++) {
            moved = dunlin_move(c->handles[i], i + 1, FAILOVER_SPACE, i);
            if ((moved != -EAGAIN && moved != -EBUSY) || tries == MOVE_TRIES)
                break;
            (void)usleep(MOVE_AGAIN_US);
        }
        if (moved < 0)
            return (int)moved;
    }
    return 0;
}

static int measure(struct failover_cluster *c, struct report *report, uint64_t duration_ns)
{
    struct node_used before[NET_SERVERS], after[NET_SERVERS];
    uint32_t leader;
    char name[64];
    int rc = lead_all(c);
    if (rc == 0)
        rc = failover_cluster_await(c, &leader);
    if (rc != 0)
        return rc;
    (void)usleep(SETTLE_US);
    uint64_t begun_ns = clock_boottime_ns();
    rc = look(c, before);
    if (rc != 0)
        return rc;
    (void)usleep((useconds_t)(duration_ns / 1000));
    rc = look(c, after);
    const double passed_ns = (double)(clock_boottime_ns() - begun_ns);
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++) {
        const struct node_used used = {since(&after[i].all, &before[i].all),
                                       since(&after[i].control, &before[i].control)};
        (void)snprintf(name, sizeof name, "idle node %u of %u, %u shards%s", i + 1, NET_SERVERS,
                       c->shard_count, i == leader ? ", control leader" : "");
        row_add(report, name, &used, passed_ns);
    }
    return rc;
}

int append_idle_run(struct report *report, uint32_t shard_count, uint64_t duration_ns)
{
    struct failover_cluster cluster;
    int rc = failover_cluster_open(&cluster, shard_count);
    if (rc == 0)
        rc = measure(&cluster, report, duration_ns);
    failover_cluster_close(&cluster);
    return rc;
}
