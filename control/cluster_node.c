#include "control/cluster_node.h"

#include "control/cluster_key.h"
#include "control/coordinator_file.h"
#include "control/logline.h"
#include "control/ruling.h"
#include "dataplane/lag.h"
#include "dataplane/transport_udp.h"
#include "engine/clock.h"
#include "engine/hash.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define AWAIT_MS 100u
#define UP_HEARTBEATS 5u
#define LEAVES_MAX 2u

struct cluster_node {
    const struct config *config;
    struct node *node; /* from join on */
    struct coordinator_file *coordinator;
    struct transport *transports[LIMIT_LCORES];
    struct server_admin admin;
    struct transport_framed_secret secrets[FRAME_SECRETS_MAX];
    uint32_t secret_count;
    struct lag *lags[LIMIT_LCORES];
    uint64_t start;
    bool is_draining;
    uint32_t leaves; /* while it drains: times that others were asked to lead */
    bool is_superseded;
};

static uint64_t cluster_id(const struct config *config)
{
    return hash_key(config->cluster.name, (uint32_t)strlen(config->cluster.name));
}

/* ---- addresses ---- */

static in_port_t *port_of(struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6 ? &((struct sockaddr_in6 *)(void *)address)->sin6_port
                                          : &((struct sockaddr_in *)(void *)address)->sin_port;
}

/* Where an lcore of that node receives. */
static struct sockaddr_storage address_of(const struct config_node *node, uint32_t lcore)
{
    struct sockaddr_storage address = node->address;
    in_port_t *port = port_of(&address);
    *port = htons((uint16_t)(ntohs(*port) + lcore));
    return address;
}

static json_t *address_json(const struct config_node *node)
{
    char host[INET6_ADDRSTRLEN];
    struct sockaddr_storage address = node->address;
    bool is_6 = address.ss_family == AF_INET6;
    const void *bytes = is_6 ? (const void *)&((struct sockaddr_in6 *)(void *)&address)->sin6_addr
                             : (const void *)&((struct sockaddr_in *)(void *)&address)->sin_addr;
    if (inet_ntop(address.ss_family, bytes, host, sizeof(host)) == NULL)
        return NULL;
    return json_sprintf(is_6 ? "[%s]:%u" : "%s:%u", host, (unsigned)ntohs(*port_of(&address)));
}

static const struct config_node *own_node(const struct config *config)
{
    for (uint32_t i = 0; i < config->cluster.node_count; i++)
        if (config->cluster.nodes[i].id == config->node.id)
            return &config->cluster.nodes[i];
    return NULL;
}

/* ---- what administrators ask ---- */

static int64_t move(void *context, uint32_t first_log, uint32_t last_log, uint32_t node)
{
    struct cluster_node *c = context;
    return coordinator_file_move(c->coordinator, first_log, last_log, node);
}

/* How many shards each node leads, in the order of the configuration. */
static void leads_count(const struct cluster_node *c, uint64_t leads[LIMIT_VOTERS])
{
    const struct config_cluster *cluster = &c->config->cluster;
    memset(leads, 0, LIMIT_VOTERS * sizeof(leads[0]));
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        const struct node_space *s = c->node->spaces[id];
        for (uint32_t i = 0; s != NULL && i < s->config.shard_count; i++) {
            struct configuration newest;
            if (!coordinator_file_configuration(c->coordinator, s->boards[i].log, &newest))
                continue;
            for (uint32_t n = 0; n < cluster->node_count; n++)
                leads[n] += cluster->nodes[n].id == newest.leader.node ? 1 : 0;
        }
    }
}

/* Start of a node that every lcore talks to; 0: one does not. */
static uint64_t start_of(const struct cluster_node *c, uint32_t node)
{
    uint64_t start = c->start;
    for (uint32_t i = 0; node != c->config->node.id && i < c->node->config.lcore_count; i++)
        start = i == 0 ? transport_framed_start_shown(c->transports[i], node)
                       : min_u64(start, transport_framed_start_shown(c->transports[i], node));
    return start;
}

/* How long ago an lcore heard of a node last, the one that it is longest for; UINT64_MAX: one never did. */
static uint64_t silent_ns(const struct cluster_node *c, uint32_t node)
{
    uint64_t now = clock_boottime_ns(), longest = 0;
    for (uint32_t i = 0; node != c->config->node.id && i < c->node->config.lcore_count; i++) {
        uint64_t heard = transport_framed_heard_shown(c->transports[i], node);
        uint64_t silent = heard == 0 ? UINT64_MAX : now > heard ? now - heard : 0;
        longest = max_u64(longest, silent);
    }
    return longest;
}

static bool is_up(const struct cluster_node *c, uint32_t node)
{
    uint64_t limit = max_u64(CLUSTER_NODE_UP_NS, UP_HEARTBEATS * c->config->node.heartbeat_ns);
    return start_of(c, node) != 0 && silent_ns(c, node) <= limit;
}

struct lag_sum {
    uint64_t shards, bytes_max, bytes_sum, behind_ns;
};

/* Over the lcores.  relaxed: lag.h */
static struct lag_sum lag_sum(const struct cluster_node *c, uint32_t node)
{
    struct lag_sum sum = {0};
    for (uint32_t i = 0; i < c->node->config.lcore_count; i++) {
        const struct lag_shown *l = lag_of(c->lags[i], node);
        uint64_t shards = atomic_load_explicit(&l->shards, memory_order_relaxed);
        uint64_t ticks = atomic_load_explicit(&l->ticks_behind, memory_order_relaxed);
        if (shards == 0)
            continue;
        sum.shards += shards;
        sum.bytes_sum += atomic_load_explicit(&l->bytes_sum, memory_order_relaxed);
        sum.bytes_max =
            max_u64(sum.bytes_max, atomic_load_explicit(&l->bytes_max, memory_order_relaxed));
        sum.behind_ns = max_u64(sum.behind_ns, clock_ticks_to_ns(ticks, c->node->ticks_per_s));
    }
    return sum;
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)min_u64(value, INT64_MAX));
}

static void lag_set(const struct cluster_node *c, uint32_t id, json_t *node)
{
    struct lag_sum lag = lag_sum(c, id);
    bool any = lag.shards != 0;
    (void)json_object_set_new(node, "lag", any ? number(lag.bytes_sum) : json_null());
    (void)json_object_set_new(node, "lag_max", any ? number(lag.bytes_max) : json_null());
    (void)json_object_set_new(node, "lag_ms",
                              any ? number(lag.behind_ns / NS_PER_MS) : json_null());
}

static json_t *node_json(const struct cluster_node *c, uint32_t position, uint64_t leads)
{
    const struct config_node *n = &c->config->cluster.nodes[position];
    bool self = n->id == c->config->node.id;
    uint64_t start = start_of(c, n->id), silent = silent_ns(c, n->id);
    json_t *node = json_pack("{s:I, s:o, s:b, s:b, s:I, s:o}", "id", (json_int_t)n->id, "address",
                             address_json(n), "self", self, "up", self || is_up(c, n->id), "leads",
                             (json_int_t)leads, "heard_ms",
                             silent != UINT64_MAX ? number(silent / NS_PER_MS) : json_null());
    lag_set(c, n->id, node);
    if (start != 0)
        (void)json_object_set_new(node, "start", json_integer((json_int_t)start));
    return node;
}

/* ---- who leads which shard ---- */

static void range_append(json_t *ranges, const struct node_space *s, const uint32_t at[2],
                         uint32_t leader)
{
    (void)json_array_append_new(ranges, json_pack("{s:s, s:I, s:I, s:I}", "space", s->config.name,
                                                  "first", (json_int_t)at[0], "last",
                                                  (json_int_t)at[1], "node", (json_int_t)leader));
}

/* Neighbours with one leader are one entry. */
static void space_leaders(const struct cluster_node *c, const struct node_space *s, json_t *ranges)
{
    uint32_t at[2] = {0, 0}, leader = 0;
    for (uint32_t i = 0; i < s->config.shard_count; i++) {
        struct configuration newest = {.epoch = 0};
        (void)coordinator_file_configuration(c->coordinator, s->boards[i].log, &newest);
        if (i != 0 && newest.leader.node != leader) {
            range_append(ranges, s, at, leader);
            at[0] = i;
        }
        at[1] = i;
        leader = newest.leader.node;
    }
    range_append(ranges, s, at, leader);
}

static json_t *leaders_json(const struct cluster_node *c)
{
    json_t *ranges = json_array();
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++)
        if (c->node->spaces[id] != NULL)
            space_leaders(c, c->node->spaces[id], ranges);
    return ranges;
}

/* What the transports of all lcores counted. */
static json_t *transport_json(const struct cluster_node *c)
{
    json_t *counts = json_object();
    const char *name;
    for (uint32_t i = 0; (name = transport_count_name(c->transports[0], i)) != NULL; i++) {
        uint64_t sum = 0;
        for (uint32_t l = 0; l < c->node->config.lcore_count; l++)
            sum += transport_counted(c->transports[l], i);
        (void)json_object_set_new(counts, name, json_integer((json_int_t)sum));
    }
    return counts;
}

static char *nodes_json(void *context)
{
    const struct cluster_node *c = context;
    struct coordinator_file_counts counts;
    uint64_t leads[LIMIT_VOTERS];
    coordinator_file_counts(c->coordinator, &counts);
    leads_count(c, leads);
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < c->config->cluster.node_count; i++)
        (void)json_array_append_new(nodes, node_json(c, i, leads[i]));
    json_t *all = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "cluster",
                            c->config->cluster.name, "node", (json_int_t)c->config->node.id,
                            "shards", (json_int_t)counts.shards, "pending",
                            (json_int_t)counts.pending, "moving", (json_int_t)counts.moving, "lost",
                            (json_int_t)counts.lost, "gone", (json_int_t)counts.gone, "nodes",
                            nodes, "leaders", leaders_json(c), "transport", transport_json(c));
    char *text = json_dumps(all, JSON_INDENT(2));
    json_decref(all);
    return text;
}

/* ---- one shard ---- */

static enum server_shard_state state_of(const struct coordinator_shard *s)
{
    if (ruling_is_lost(&s->configuration))
        return SERVER_SHARD_LOST;
    if (s->move != 0)
        return SERVER_SHARD_MOVING;
    return s->configuration.active ? SERVER_SHARD_ACTIVE : SERVER_SHARD_PENDING;
}

static void shard(void *context, const struct server_shard_asked *asked, struct server_shard *told)
{
    const struct cluster_node *c = context;
    const struct config_cluster *cluster = &c->config->cluster;
    const struct coordinator_shard *s = coordinator_file_shard(c->coordinator, asked->log);
    *told = (struct server_shard){.state = SERVER_SHARD_PENDING};
    if (s == NULL)
        return;
    told->leader = s->configuration.leader.node;
    told->epoch = s->configuration.epoch;
    told->state = state_of(s);
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        uint64_t missing;
        if (!lag_of_shard(c->lags[asked->lcore], cluster->nodes[i].id, asked->number, &missing))
            continue;
        told->peers[told->peer_count].node = cluster->nodes[i].id;
        told->peers[told->peer_count++].missing = missing;
    }
}

const struct server_admin *cluster_node_admin(const struct cluster_node *c)
{
    return &c->admin;
}

/* ---- open, begin, join ---- */

int cluster_node_open(struct cluster_node **cluster, const struct config *config, FILE *errors)
{
    struct cluster_node *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    c->config = config;
    c->admin =
        (struct server_admin){.move = move, .nodes_json = nodes_json, .shard = shard, .context = c};
    int error = cluster_key_load(config->cluster.key_path, c->secrets, &c->secret_count, errors);
    if (error != 0) {
        cluster_node_close(c);
        return error;
    }
    *cluster = c;
    return 0;
}

static bool is_ended(void)
{
    sigset_t waiting;
    (void)sigemptyset(&waiting);
    (void)sigpending(&waiting);
    return sigismember(&waiting, SIGTERM) == 1 || sigismember(&waiting, SIGINT) == 1;
}

static int await(struct cluster_node *c)
{
    bool told = false;
    int error;
    while ((error = coordinator_file_await(c->coordinator, AWAIT_MS)) == -ETIMEDOUT) {
        if (is_ended())
            return -ECANCELED;
        if (!told)
            log_event(LOG_INFO, "nodes_awaited", LOG_TEXT("cluster", c->config->cluster.name),
                      LOG_TEXT("node", c->config->node.name));
        told = true;
    }
    return error;
}

static int peers_add(const struct cluster_node *c, uint32_t lcore)
{
    const struct config_cluster *cluster = &c->config->cluster;
    int error = 0;
    for (uint32_t i = 0; i < cluster->node_count && error == 0; i++) {
        if (cluster->nodes[i].id == c->config->node.id)
            continue;
        struct sockaddr_storage address = address_of(&cluster->nodes[i], lcore);
        error = transport_framed_add(c->transports[lcore], cluster->nodes[i].id, &address);
    }
    return error;
}

static int transport_make(struct cluster_node *c, uint32_t lcore)
{
    const struct config_cluster *cluster = &c->config->cluster;
    const struct transport_framed_config config = {
        .node = c->config->node.id,
        .lcore = (uint8_t)lcore,
        .cluster = cluster_id(c->config),
        .start = c->start,
        .address = address_of(own_node(c->config), lcore),
        .secrets = c->secrets,
        .secret_count = c->secret_count,
        .authentic_only = !cluster->encrypt,
        .version_lowest = FRAME_VERSION_LOWEST,
        .version_highest = (uint8_t)cluster->wire_version,
        .frame_bytes = cluster->frame_bytes,
        .rate = cluster->rate,
    };
    int error = transport_udp_open(&c->transports[lcore], &config, NULL);
    return error != 0 ? error : peers_add(c, lcore);
}

static int failed(const struct cluster_node *c, const char *step, int error)
{
    log_event(LOG_ERROR, "join_failed", LOG_TEXT("step", step), LOG_ERRNO(error),
              LOG_TEXT("cluster", c->config->cluster.name), LOG_TEXT("node", c->config->node.name));
    return error;
}

static int transports_make(struct cluster_node *c)
{
    int error = 0;
    for (uint32_t i = 0; i < c->config->node.lcore_count && error == 0; i++)
        error = transport_make(c, i);
    explicit_bzero(c->secrets, sizeof(c->secrets));
    return error != 0 ? failed(c, "transport", error) : 0;
}

int cluster_node_begin(struct cluster_node *c, uint64_t start, uint64_t *lsn_origin)
{
    const struct config *config = c->config;
    uint32_t ids[LIMIT_VOTERS];
    for (uint32_t i = 0; i < config->cluster.node_count; i++)
        ids[i] = config->cluster.nodes[i].id;
    const struct coordinator_file_config file = {
        .path = config->cluster.coordinator_path,
        .cluster = cluster_id(config),
        .node = config->node.id,
        .start = start,
        .node_count = config->cluster.node_count,
        .nodes = ids,
        .lcore_count = config->node.lcore_count,
        .space_count = config->space_count,
        .spaces = config->spaces,
        .reopens_lost = config->cluster.lost_reopens,
        .lsn_ceiling = *lsn_origin,
    };
    c->start = start;
    /* Why first: a start that is registered ends the one before, and only then is this one to run.  What
     * peers send meanwhile is lost to a full socket at worst. */
    int error = transports_make(c);
    return error != 0 ? error : coordinator_file_open(&c->coordinator, &file, lsn_origin);
}

static int lags_make(struct cluster_node *c, struct node *node)
{
    const struct node_cluster *cluster = node->cluster;
    uint32_t shards = 0;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++)
        shards += node->spaces[id] != NULL ? node->spaces[id]->config.shard_count : 0;
    for (uint32_t i = 0; i < node->config.lcore_count; i++) {
        c->lags[i] = calloc(1, lag_bytes(shards));
        if (c->lags[i] == NULL)
            return -ENOMEM;
        lag_init(c->lags[i], cluster->nodes, cluster->node_count, shards);
        c->lags[i]->interval = clock_ns_to_ticks(LAG_INTERVAL_NS, node->ticks_per_s);
        node->cluster->lags[i] = c->lags[i];
    }
    return 0;
}

int cluster_node_join(struct cluster_node *c, struct node *node)
{
    int error = await(c);
    if (error == -ECANCELED)
        return error;
    if (error == 0)
        error = coordinator_file_join(c->coordinator, node);
    if (error != 0)
        return failed(c, "coordinator", error);
    c->node = node;
    for (uint32_t i = 0; i < node->config.lcore_count; i++)
        node->cluster->transports[i] = c->transports[i];
    error = lags_make(c, node);
    return error != 0 ? failed(c, "memory", error) : 0;
}

/* ---- while it serves ---- */

int cluster_node_step(struct cluster_node *c)
{
    /* Why other results do not matter: it says itself, once, what it cannot do, and is called again. */
    if (coordinator_file_step(c->coordinator) != -ESTALE)
        return 0;
    if (!c->is_superseded)
        log_event(LOG_ERROR, "superseded", LOG_TEXT("node", c->config->node.name),
                  LOG_NUMBER("id", c->config->node.id), LOG_NUMBER("start", c->start),
                  LOG_TEXT("help", "another daemon has registered under this node's id with the "
                                   "coordinator; this one ends: each node needs an id of its own"));
    c->is_superseded = true;
    return -ESTALE;
}

int cluster_node_fd(const struct cluster_node *c)
{
    return coordinator_file_fd(c->coordinator);
}

uint64_t cluster_node_lsn_floor(const struct cluster_node *c)
{
    return coordinator_file_lsn_floor(c->coordinator);
}

/* ---- while it drains ---- */

/* The other nodes that are there; returns how many. */
static uint32_t others_up(const struct cluster_node *c, uint32_t others[LIMIT_VOTERS])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->config->cluster.node_count; i++) {
        uint32_t id = c->config->cluster.nodes[i].id;
        if (id != c->config->node.id && is_up(c, id))
            others[count++] = id;
    }
    return count;
}

static bool drain_ends(const struct cluster_node *c, const char *event, uint32_t up,
                       const char *why)
{
    log_event(LOG_WARN, event, LOG_TEXT("node", c->config->node.name),
              LOG_NUMBER("leads", coordinator_file_duties(c->coordinator)), LOG_NUMBER("up", up),
              LOG_TEXT("help", why));
    return true;
}

bool cluster_node_drain(struct cluster_node *c)
{
    uint32_t others[LIMIT_VOTERS];
    /* Why the result does not matter: those that end as well may then ask us in vain. */
    if (!c->is_draining)
        (void)!coordinator_file_retire(c->coordinator);
    c->is_draining = true;
    if (cluster_node_step(c) != 0 || coordinator_file_duties(c->coordinator) == 0)
        return true;
    uint32_t up = others_up(c, others);
    /* Why: all nodes are voters of every shard, and who leads needs most of them. */
    if (up < majority_of(c->config->cluster.node_count))
        return drain_ends(c, "hand_over_skipped", up,
                          "too few other nodes are up for any of them to lead");
    /* Why again, once: one that it was moved to may be down, or a move to us was under way. */
    int64_t left = coordinator_file_leave(c->coordinator, others, up);
    c->leaves += left > 0;
    if (c->leaves > LEAVES_MAX)
        return drain_ends(c, "hand_over_given_up", up,
                          "what was handed over comes back: others are ending, too");
    return left == -ESTALE;
}

void cluster_node_leave(struct cluster_node *c)
{
    if (c == NULL)
        return;
    if (c->node != NULL)
        c->node->cluster = NULL;
    c->node = NULL;
    for (uint32_t i = 0; i < LIMIT_LCORES; i++) {
        if (c->transports[i] != NULL)
            transport_udp_close(c->transports[i]);
        c->transports[i] = NULL;
        free(c->lags[i]);
        c->lags[i] = NULL;
    }
    coordinator_file_close(c->coordinator);
    c->coordinator = NULL;
}

void cluster_node_close(struct cluster_node *c)
{
    if (c == NULL)
        return;
    cluster_node_leave(c);
    explicit_bzero(c->secrets, sizeof(c->secrets));
    free(c);
}
