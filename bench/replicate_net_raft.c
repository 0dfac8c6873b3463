#include "bench/replicate_net_raft.h"

#include "engine/hash.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECEIVE_WAIT_NS (50 * NS_PER_MS) /* half of libraft's tick */
#define ELECTION_STEPS 1500u             /* of 10 ms */
#define SETTLE_US 300000u                /* three heartbeats */

static int servers_open(struct net_raft *r, const struct net_cpus *cpus, uint32_t key_count)
{
    int rc = 0;
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++) {
        rc = raft_table_open(&r->tables[i], RAFT_TABLE_PLAIN, key_count);
        if (rc == 0)
            rc = net_socket(&r->servers[i].fd, &r->ports[i], RECEIVE_WAIT_NS);
    }
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++) {
        struct net_raft_server *s = &r->servers[i];
        s->number = i;
        s->ports = r->ports;
        s->shared = r->shared;
        s->table = &r->tables[i];
        r->pids[i] = net_fork(net_cpu(cpus, i + 1), net_raft_serve, s);
        rc = r->pids[i] < 0 ? (int)r->pids[i] : 0;
    }
    return rc;
}

static int elected(const struct net_raft *r)
{
    for (uint32_t i = 0; i < ELECTION_STEPS; i++) {
        /* acquire: what the server set up before it said so */
        if (atomic_load_explicit(&r->shared->leading, memory_order_acquire) != 0)
            return 0;
        (void)usleep(10000);
    }
    return -ETIMEDOUT;
}

int net_raft_open(struct net_raft *r, const struct net_cpus *cpus, uint32_t key_count)
{
    *r = (struct net_raft){.fd = -1};
    for (uint32_t i = 0; i < NET_SERVERS; i++) {
        r->servers[i].fd = -1;
        r->tables[i].slots.fd = -1;
    }
    void *shared =
        mmap(NULL, sizeof *r->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -errno;
    r->shared = shared;
    uint16_t port;
    int rc = servers_open(r, cpus, key_count);
    if (rc == 0)
        rc = net_socket(&r->fd, &port, NET_WAIT_NS);
    if (rc == 0)
        rc = net_connect(r->fd, r->ports[0]);
    if (rc == 0)
        rc = elected(r);
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: no libraft: %s\n", strerror(-rc));
    return rc;
}

void net_raft_close(struct net_raft *r)
{
    for (uint32_t i = 0; i < NET_SERVERS; i++) {
        net_end(r->pids[i]);
        if (r->servers[i].fd >= 0)
            (void)close(r->servers[i].fd);
        raft_table_close(&r->tables[i]);
    }
    if (r->fd >= 0)
        (void)close(r->fd);
    if (r->shared != NULL)
        (void)munmap(r->shared, sizeof *r->shared);
}

static void make_command(const struct net_write *w, struct raft_command *c)
{
    c->hash = hash_key(w->key, KEYS_LENGTH);
    memcpy(c->key, w->key, sizeof c->key);
    memcpy(c->value, w->value, sizeof c->value);
}

int net_raft_write(void *client, const struct net_write *writes, uint32_t count)
{
    struct net_raft *r = client;
    /* relaxed: the last change of it was awaited */
    uint32_t seen = atomic_load_explicit(&r->shared->answered, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++)
        make_command(&writes[i], &r->shared->commands[i]);
    r->shared->count = count;
    /* Ordering: the system calls of both sides, the datagram between them. */
    if (send(r->fd, "", 1, 0) != 1)
        return -errno;
    int rc = net_word_await(&r->shared->answered, seen);
    return rc != 0 ? rc : r->shared->status;
}

bool net_raft_agrees(const struct net_raft *r, uint32_t key_count)
{
    (void)usleep(SETTLE_US);
    for (uint32_t number = 0; number < key_count; number++) {
        struct net_write w = {.value = {0}};
        struct raft_command c;
        uint8_t here[KEYS_VALUE_BYTES], there[KEYS_VALUE_BYTES];
        keys_text(number, w.key);
        make_command(&w, &c);
        if (!raft_table_get(&r->tables[0], &c, here))
            return false;
        for (uint32_t i = 1; i < NET_SERVERS; i++)
            if (!raft_table_get(&r->tables[i], &c, there) || memcmp(here, there, sizeof here) != 0)
                return false;
    }
    return true;
}
