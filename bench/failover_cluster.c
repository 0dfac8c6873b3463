#include "bench/failover_cluster.h"

#include "bench/bench.h"
#include "bench/cluster_files.h"
#include "engine/clock.h"
#include "engine/space.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_BYTES (256u << 10)
#define AWAIT_NS (30 * NS_PER_S)
#define LOOK_US 10000u
#define MOVE_AGAIN_NS (2 * NS_PER_S) /* what came in between took it back */
#define LAG_MS_MAX 20                /* more is behind, not on its way */
#define QUOTA_BYTES (UINT64_C(16) << 20)
#define FRAME_BYTES 1400u /* the default */

/* ---- files ---- */

static int config_write(const struct failover_cluster *c, uint32_t position,
                        const uint16_t ports[NET_SERVERS])
{
    FILE *file = fopen(c->configs[position], "wex");
    if (file == NULL)
        return -errno;
    const struct cluster_files_node node = {.id = position + 1,
                                            .socket_path = c->daemons[position].socket_path,
                                            .ports = ports,
                                            .lease_ms = FAILOVER_LEASE_MS,
                                            .frame_bytes = FRAME_BYTES};
    cluster_files_print(file, &node);
    (void)fprintf(
        file, "spaces:\n  - {name: " FAILOVER_SPACE ", id: 1, shards: %u, quota: %" PRIu64 "KiB}\n",
        c->shard_count, max_u64(space_quota_min(c->shard_count), QUOTA_BYTES) >> 10);
    return fclose(file) == 0 ? 0 : -errno;
}

/* ---- what nodes say ---- */

struct seen {
    bool is_whole; /* nothing moves, all are there and have what there is */
    uint32_t leader;
    json_int_t leads[NET_SERVERS];
};

static json_int_t number_at(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

/* Returns 0, or -errno: -ENOTCONN, it is not there (yet). */
static int see(const struct failover_cluster *c, uint32_t position, struct seen *seen)
{
    int64_t length = dunlin_nodes_json(c->handles[position], c->text, TEXT_BYTES);
    json_t *all = length < 0 ? NULL : json_loads(c->text, 0, NULL);
    const json_t *control = json_object_get(all, "control");
    const json_t *node;
    size_t i;
    if (!json_is_object(control)) {
        json_decref(all);
        return length < 0 ? (int)length : -EPROTO;
    }
    *seen = (struct seen){.leader = (uint32_t)number_at(control, "leader")};
    seen->is_whole = number_at(all, "pending") == 0 && number_at(all, "moving") == 0 &&
                     number_at(control, "connected") == NET_SERVERS - 1 && seen->leader != 0;
    json_array_foreach(json_object_get(all, "nodes"), i, node)
    {
        seen->is_whole = seen->is_whole && json_is_true(json_object_get(node, "up")) &&
                         number_at(node, "lag_ms") <= LAG_MS_MAX;
        if (i < NET_SERVERS)
            seen->leads[i] = number_at(node, "leads");
    }
    json_decref(all);
    return 0;
}

static int complain(const char *what, int error)
{
    (void)fprintf(stderr, "dunlin-bench failover: %s: %s\n", what, strerror(-error));
    return error;
}

/* All of them say so, and follow one control leader.  Returns 1, 0 or -errno. */
static int is_whole(const struct failover_cluster *c, uint32_t *leader)
{
    struct seen seen = {.leader = 0};
    uint32_t first = 0;
    for (uint32_t i = 0; i < NET_SERVERS; i++) {
        int rc = see(c, i, &seen);
        if (rc == -ENOTCONN || rc == -ETIMEDOUT)
            return 0;
        if (rc != 0)
            return rc;
        if (i == 0)
            first = seen.leader;
        if (!seen.is_whole || seen.leader != first)
            return 0;
    }
    *leader = first - 1;
    return 1;
}

int failover_cluster_await(struct failover_cluster *c, uint32_t *leader)
{
    uint64_t until = clock_boottime_ns() + AWAIT_NS;
    int rc;
    while ((rc = is_whole(c, leader)) == 0 && clock_boottime_ns() < until)
        (void)usleep(LOOK_US);
    if (rc == 1)
        return 0;
    return complain("the cluster is not whole", rc == 0 ? -ETIMEDOUT : rc);
}

int failover_cluster_lead(struct failover_cluster *c, uint32_t position)
{
    uint64_t now = clock_boottime_ns(), until = now + AWAIT_NS, next = now;
    struct seen seen = {.leader = 0};
    int rc = 0;
    for (; rc == 0 && now < until; now = clock_boottime_ns()) {
        if (now >= next) {
            int64_t moved =
                dunlin_move(c->handles[position], position + 1, NULL, DUNLIN_SHARDS_ALL);
            bool again = moved == -EAGAIN || moved == -EBUSY;
            rc = moved < 0 && !again ? (int)moved : 0;
            next = again ? now : now + MOVE_AGAIN_NS;
        }
        if (rc == 0)
            rc = see(c, position, &seen);
        if (rc == 0 && seen.is_whole && seen.leads[position] == c->shard_count)
            return 0;
        (void)usleep(LOOK_US);
    }
    return complain("leadership does not move", rc == 0 ? -ETIMEDOUT : rc);
}

/* ---- daemons ---- */

void failover_cluster_kill(struct failover_cluster *c, uint32_t position)
{
    (void)kill(c->daemons[position].pid, SIGKILL);
    (void)waitpid(c->daemons[position].pid, NULL, 0);
}

int failover_cluster_start(struct failover_cluster *c, uint32_t position)
{
    return daemon_launch(&c->daemons[position], c->configs[position], DAEMON_ANYWHERE);
}

int failover_cluster_open(struct failover_cluster *c, uint32_t shard_count)
{
    uint16_t ports[NET_SERVERS];
    uint32_t leader;
    *c = (struct failover_cluster){.text = malloc(TEXT_BYTES), .shard_count = shard_count};
    int rc = c->text == NULL ? -ENOMEM : cluster_files_write();
    /* Why of that type: the control plane listens at the same number; of both kinds of ports one that is
     * free is nearly always free in the other. */
    if (rc == 0)
        rc = net_ports_find(SOCK_STREAM, ports);
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "node%u", i + 1);
        daemon_name(&c->daemons[i], name);
        (void)snprintf(c->configs[i], sizeof c->configs[i], "%s/%s.yaml", bench_directory(), name);
        rc = config_write(c, i, ports);
        if (rc == 0)
            rc = failover_cluster_start(c, i);
        c->daemon_count += rc == 0;
    }
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++)
        rc = daemon_attach(&c->daemons[i], 0, &c->handles[i]);
    return rc != 0 ? complain("no cluster", rc) : failover_cluster_await(c, &leader);
}

void failover_cluster_close(struct failover_cluster *c)
{
    /* Why not asked to end: they would hand their leaderships around first. */
    for (uint32_t i = 0; i < c->daemon_count; i++)
        failover_cluster_kill(c, i);
    for (uint32_t i = 0; i < NET_SERVERS; i++)
        dunlin_close(c->handles[i]);
    free(c->text);
}
