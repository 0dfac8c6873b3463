#include "bench/replicate_net_dunlin.h"

#include "bench/bench.h"
#include "bench/cluster_files.h"
#include "dataplane/frame.h"
#include "engine/agent/dunlin.h"
#include "engine/limits.h"

#include <jansson.h>
#include <sys/socket.h>
#include <unistd.h>

#define SPACE_NARROW "one-log"
#define SPACE_WIDE "many-logs"
#define SHARDS_WIDE 16u
/* Several times what the keys need, and little enough that the logs soon reuse their memory: growing is no
 * part of what a write costs in the long run. */
#define QUOTA_MIB 64u
#define REQUEST_RING_BYTES (256u << 10) /* a batch of the greatest size fits */
#define LEAD_STEPS 6000u                /* of 10 ms */
#define LEADER_LEASE_MS 1000u           /* nobody dies here, and the machine is full of work */
#define COMPLETIONS 64u

/* ---- writes ---- */

static int collect_all(struct dunlin *handle)
{
    struct dunlin_completion done[COMPLETIONS];
    while (dunlin_in_flight(handle) != 0) {
        size_t count = dunlin_poll(handle, done, COMPLETIONS, NET_WAIT_NS);
        if (count == 0)
            return -ETIMEDOUT;
        for (size_t i = 0; i < count; i++)
            if (done[i].result != 0)
                return done[i].result;
    }
    return 0;
}

/* Where ring or window has no room: what is under way first. */
static int submit(struct net_dunlin_client *c, struct dunlin_space *space,
                  const struct net_write *w)
{
    const struct dunlin_write write = {
        .operation = DUNLIN_PUT,
        .key = w->key,
        .key_length = KEYS_LENGTH,
        .value = c->large != NULL ? c->large : (const void *)w->value,
        .value_length = c->large != NULL ? c->large_bytes : KEYS_VALUE_BYTES,
    };
    int rc = dunlin_submit(space, &write);
    while (rc == -EAGAIN) {
        rc = collect_all(c->handle);
        if (rc == 0)
            rc = dunlin_submit(space, &write);
    }
    return rc;
}

int net_dunlin_write(void *client, const struct net_write *writes, uint32_t count)
{
    struct net_dunlin_client *c = client;
    bool is_wide = c->always_wide || count > LIMIT_SESSION_WINDOW;
    struct dunlin_space *space = is_wide ? c->wide : c->narrow;
    if (count == 1)
        return dunlin_put(space, writes->key, KEYS_LENGTH, writes->value, KEYS_VALUE_BYTES, NULL);
    int rc = 0;
    for (uint32_t i = 0; i < count && rc == 0; i++)
        rc = submit(c, space, &writes[i]);
    return rc != 0 ? rc : collect_all(c->handle);
}

/* ---- the cluster's files ---- */

void net_dunlin_spaces_print(FILE *file)
{
    (void)fprintf(file,
                  "spaces:\n  - {name: " SPACE_NARROW ", id: 1, shards: 1, quota: %uMiB}\n"
                  "  - {name: " SPACE_WIDE ", id: 2, shards: %u, quota: %uMiB}\n",
                  QUOTA_MIB, SHARDS_WIDE, QUOTA_MIB);
}

static int config_write(const struct net_dunlin *d, uint32_t number,
                        const uint16_t ports[NET_SERVERS], const char *path)
{
    FILE *file = fopen(path, "wex");
    if (file == NULL)
        return -errno;
    const struct cluster_files_node node = {.id = number + 1,
                                            .socket_path = d->daemons[number].socket_path,
                                            .ports = ports,
                                            .lease_ms = LEADER_LEASE_MS,
                                            .frame_bytes = FRAME_BYTES_MAX};
    cluster_files_print(file, &node);
    net_dunlin_spaces_print(file);
    return fclose(file) == 0 ? 0 : -errno;
}

static int daemons_start(struct net_dunlin *d, const struct net_cpus *cpus)
{
    uint16_t ports[NET_SERVERS];
    char path[128];
    int rc = cluster_files_write();
    if (rc == 0)
        rc = net_ports_find(SOCK_DGRAM, ports);
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "node%u", i + 1);
        daemon_name(&d->daemons[i], name);
        (void)snprintf(path, sizeof path, "%s/%s.yaml", bench_directory(), name);
        rc = config_write(d, i, ports, path);
        if (rc == 0)
            rc = daemon_launch(&d->daemons[i], path, net_cpu(cpus, i + 1));
        d->daemon_count += rc == 0;
    }
    return rc;
}

/* ---- who leads ---- */

/* Nothing moves or waits any more.  Returns 1, 0, or -errno. */
static int is_settled(struct dunlin *handle)
{
    char text[32768];
    int64_t length = dunlin_nodes_json(handle, text, sizeof text);
    if (length < 0)
        return (int)length;
    json_t *nodes = json_loads(text, 0, NULL);
    const json_t *moving = json_object_get(nodes, "moving");
    const json_t *pending = json_object_get(nodes, "pending");
    int rc = !json_is_integer(moving) || !json_is_integer(pending)
                 ? -EPROTO
                 : json_integer_value(moving) == 0 && json_integer_value(pending) == 0;
    json_decref(nodes);
    return rc;
}

/* Why asked again and again: a cluster that begins has no leaders to move yet, and on a busy machine its control log may
 * have no leader for a moment. */
static int lead(struct dunlin *handle)
{
    for (uint32_t i = 0; i < LEAD_STEPS; i++) {
        int64_t moved = dunlin_move(handle, NET_DUNLIN_LEADER, NULL, DUNLIN_SHARDS_ALL);
        int rc = moved < 0 ? (int)moved : is_settled(handle);
        if (rc == 1 && moved == 0)
            return 0;
        if (rc < 0 && rc != -EAGAIN && rc != -ENOTCONN && rc != -EBUSY)
            return rc;
        (void)usleep(10000);
    }
    return -ETIMEDOUT;
}

/* ---- attaching ---- */

static int attach(struct net_dunlin_client *c, const struct daemon *d)
{
    const struct dunlin_options options = {.socket = d->socket_path,
                                           .timeout_ns = NET_WAIT_NS,
                                           .request_bytes = REQUEST_RING_BYTES,
                                           .completion_bytes = REQUEST_RING_BYTES};
    int rc = dunlin_open(&options, &c->handle);
    if (rc == 0)
        rc = dunlin_space(c->handle, SPACE_NARROW, &c->narrow);
    if (rc == 0)
        rc = dunlin_space(c->handle, SPACE_WIDE, &c->wide);
    return rc;
}

int net_dunlin_settle(struct net_dunlin_client *at_leader, const struct daemon *daemons)
{
    struct dunlin *handle = NULL;
    int rc = 0;
    for (uint32_t i = NET_SERVERS; i-- != 0 && rc == 0;) {
        dunlin_close(handle);
        handle = NULL;
        rc = daemon_attach(&daemons[i], 0, &handle);
    }
    if (rc == 0)
        rc = lead(handle);
    dunlin_close(handle);
    return rc != 0 ? rc : attach(at_leader, &daemons[NET_DUNLIN_LEADER - 1]);
}

int net_dunlin_open(struct net_dunlin *d, const struct net_cpus *cpus)
{
    *d = (struct net_dunlin){.daemon_count = 0};
    int rc = daemons_start(d, cpus);
    if (rc == 0)
        rc = net_dunlin_settle(&d->at_leader, d->daemons);
    if (rc == 0)
        rc = attach(&d->at_follower, &d->daemons[NET_DUNLIN_LEADER]);
    if (rc == 0)
        rc = attach(&d->at_leader_wide, &d->daemons[NET_DUNLIN_LEADER - 1]);
    d->at_leader_wide.always_wide = true;
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: no cluster: %s\n", strerror(-rc));
    return rc;
}

static int value_equal(const struct net_dunlin *d, bool is_wide, uint32_t number)
{
    const struct net_dunlin_client *const clients[] = {&d->at_leader, &d->at_follower};
    uint64_t values[2][KEYS_VALUE_BYTES / 8] = {{0}};
    char key[KEYS_LENGTH];
    keys_text(number, key);
    for (uint32_t i = 0; i < 2; i++) {
        struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
        struct dunlin_space *space = is_wide ? clients[i]->wide : clients[i]->narrow;
        int rc = dunlin_get(space, key, sizeof key, values[i], sizeof values[i], &read);
        if (rc != 0)
            return rc;
    }
    return memcmp(values[0], values[1], sizeof values[0]) == 0 ? 0 : -EPROTO;
}

int net_dunlin_verify(const struct net_dunlin *d, uint32_t key_count)
{
    int rc = 0;
    for (uint32_t number = 0; number < key_count && rc == 0; number++) {
        rc = value_equal(d, false, number);
        if (rc == 0)
            rc = value_equal(d, true, number);
    }
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: the cluster's nodes differ: %s\n", strerror(-rc));
    return rc;
}

void net_dunlin_close(struct net_dunlin *d)
{
    dunlin_close(d->at_leader.handle);
    dunlin_close(d->at_follower.handle);
    dunlin_close(d->at_leader_wide.handle);
    /* Why not asked to end: they would hand their leaderships around first. */
    for (uint32_t i = 0; i < d->daemon_count; i++)
        net_end(d->daemons[i].pid);
}
