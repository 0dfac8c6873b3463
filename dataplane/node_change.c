#include "dataplane/node_change.h"

#include "dataplane/lag.h"
#include "dataplane/lcore_cluster.h"
#include "dataplane/node_space.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOK_US 50u
#define LOOKS_PER_WAKE 20u

void *lcore_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory != MAP_FAILED ? memory : NULL;
}

void lcore_memory_free(void *memory, size_t bytes)
{
    if (memory != NULL)
        (void)munmap(memory, bytes);
}

/* ---- telling the lcores ---- */

static void wake(const struct node *n)
{
    const uint64_t one = 1;
    for (uint32_t i = 0; i < n->config.lcore_count; i++)
        if (n->lcores[i] != NULL)
            /* Why ignored: one that cannot be written rings already. */
            (void)!write(n->lcores[i]->stop_fd, &one, sizeof one);
}

void node_change_post(struct node *n, const struct node_change *change)
{
    for (uint32_t i = 0; i < n->config.lcore_count; i++)
        if (n->lcores[i] != NULL)
            atomic_store_explicit(&n->lcores[i]->change, change, memory_order_release); /* S1 */
    wake(n);
}

bool node_change_is_done(const struct node *n)
{
    for (uint32_t i = 0; i < n->config.lcore_count; i++)
        if (n->lcores[i] != NULL &&
            atomic_load_explicit(&n->lcores[i]->change, memory_order_acquire) != NULL) /* S4 */
            return false;
    return true;
}

void node_change_run(struct node *n, const struct node_change *change)
{
    node_change_post(n, change);
    for (uint32_t looks = 1; !node_change_is_done(n); looks++) {
        (void)usleep(LOOK_US);
        /* Why again: one that waits for its transport may have gone to sleep meanwhile. */
        if (looks % LOOKS_PER_WAKE == 0)
            wake(n);
    }
}

/* ---- spaces ---- */

static int parts_make(const struct node *n, struct node_space *s)
{
    for (uint32_t i = 0; i < n->config.lcore_count && n->cluster != NULL; i++) {
        s->parts[i] = lcore_space_make(s, i);
        if (s->parts[i] == NULL)
            return -ENOMEM;
    }
    return 0;
}

int node_space_add_online(struct node *n, const struct space_config *config, uint64_t lsn_start,
                          uint32_t own_uid)
{
    int error = node_space_add_at(n, config, lsn_start);
    if (error != 0)
        return error;
    struct node_space *s = n->spaces[config->id];
    error = parts_make(n, s);
    if (error != 0) {
        n->spaces[config->id] = NULL;
        node_space_free(n, s);
        return error;
    }
    node_access_resolve(n, config->id, own_uid);
    const struct node_change change = {.kind = NODE_SPACE_ADD, .space = s};
    node_change_run(n, &change);
    return 0;
}

void node_space_alter(struct node *n, struct node_space *s, const struct space_config *config,
                      uint32_t own_uid)
{
    /* Why one by one: lcores read others of the same struct meanwhile. */
    s->config.history = config->history;
    s->config.history_ns = config->history_ns;
    s->config.session_ttl_ns = config->session_ttl_ns;
    s->config.read = config->read;
    s->config.write = config->write;
    node_space_quota(s, config->quota_bytes);
    /* Why now: what lcores asked for in vain they do not ask for again.  A lack of memory is met again by who
     * calls it every second. */
    (void)!node_chunks_grow(n, s);
    node_access_resolve(n, s->config.id, own_uid);
    const struct node_change change = {.kind = NODE_SPACE_ALTER, .space = s};
    node_change_run(n, &change);
}

void node_space_drop_begin(struct node *n, struct node_space *s, uint32_t own_uid)
{
    ASSERT(n->spaces[s->config.id] == s && n->dropped == NULL);
    /* release: before any board of it gives up its right to read */
    atomic_store_explicit(&s->header->dropped, 1, memory_order_release);
    n->spaces[s->config.id] = NULL;
    n->dropped = s;
    const struct node_change change = {.kind = NODE_SPACE_REMOVE, .space = s};
    node_change_run(n, &change);
    node_access_resolve(n, s->config.id, own_uid);
}

static bool is_left(const struct node *n)
{
    for (uint32_t i = 0; i < n->config.lcore_count; i++)
        if (n->lcores[i] != NULL &&
            atomic_load_explicit(&n->lcores[i]->leaving, memory_order_acquire) != 0) /* S6 */
            return false;
    return true;
}

bool node_space_drop_step(struct node *n)
{
    struct node_space *s = n->dropped;
    if (s == NULL)
        return true;
    if (!is_left(n)) {
        wake(n); /* Why: an lcore looks when it runs, and may have gone to sleep. */
        return false;
    }
    n->dropped = NULL;
    node_space_free(n, s);
    return true;
}

void node_space_drop(struct node *n, struct node_space *s, uint32_t own_uid)
{
    node_space_drop_begin(n, s, own_uid);
    while (!node_space_drop_step(n))
        (void)usleep(LOOK_US);
}

/* ---- peers ---- */

/* Position of a node in the cluster's list, or how many there are. */
static uint32_t position_of(const struct node_cluster *c, uint32_t node)
{
    uint32_t i = 0;
    while (i < c->node_count && c->nodes[i] != node)
        i++;
    return i;
}

static void peers_free(const struct node *n, struct transport_peer *const *peers)
{
    for (uint32_t i = 0; i < n->config.lcore_count; i++)
        transport_peer_free(n->cluster->transports[i], peers[i]);
}

/* Lcores that do not run yet find it in the list when they are opened. */
static void peers_hand_over(struct node *n, const struct node_change *change)
{
    for (uint32_t i = 0; i < n->config.lcore_count; i++) {
        struct transport *t = n->cluster->transports[i];
        struct lag *lag = n->cluster->lags[i];
        if (n->lcores[i] != NULL)
            continue;
        if (lag != NULL)
            (change->kind == NODE_PEER_ADD ? lag_node_add : lag_node_remove)(lag, change->node);
        if (change->kind == NODE_PEER_ADD)
            transport_peer_join(t, change->peers[i]);
        else
            change->peers[i] = transport_peer_leave(t, change->node);
    }
    node_change_run(n, change);
}

int node_peer_add(struct node *n, const struct node_peer *peer)
{
    struct node_cluster *c = n->cluster;
    struct transport_peer *peers[LIMIT_LCORES] = {NULL};
    if (position_of(c, peer->node) != c->node_count || peer->node == c->self.node)
        return -EEXIST;
    if (c->node_count >= LIMIT_VOTERS)
        return -ENOSPC;
    for (uint32_t i = 0; i < n->config.lcore_count; i++) {
        int error =
            transport_peer_make(c->transports[i], peer->node, &peer->addresses[i], &peers[i]);
        if (error != 0) {
            peers_free(n, peers);
            return error;
        }
    }
    const struct node_change change = {.kind = NODE_PEER_ADD, .node = peer->node, .peers = peers};
    peers_hand_over(n, &change);
    c->nodes[c->node_count++] = peer->node;
    return 0;
}

void node_peer_remove(struct node *n, uint32_t node)
{
    struct node_cluster *c = n->cluster;
    struct transport_peer *peers[LIMIT_LCORES] = {NULL};
    uint32_t at = position_of(c, node);
    ASSERT(node != c->self.node);
    if (at == c->node_count)
        return;
    memmove(&c->nodes[at], &c->nodes[at + 1], (c->node_count - at - 1) * sizeof c->nodes[0]);
    c->node_count--;
    const struct node_change change = {.kind = NODE_PEER_REMOVE, .node = node, .peers = peers};
    peers_hand_over(n, &change);
    peers_free(n, peers);
}
