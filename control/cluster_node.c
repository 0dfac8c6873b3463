#include "control/cluster_node.h"

#include "control/cluster_key.h"
#include "control/coordinator_file.h"
#include "control/logline.h"
#include "dataplane/transport_udp.h"
#include "engine/hash.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define AWAIT_MS 100u

struct cluster_node {
    const struct config *config;
    struct node *node; /* from join on */
    struct coordinator_file *coordinator;
    struct transport *transports[LIMIT_LCORES];
    struct server_admin admin;
    struct transport_udp_secret secrets[FRAME_SECRETS_MAX];
    uint32_t secret_count;
    uint64_t start;
    bool is_draining;
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
        start = i == 0 ? transport_udp_start_shown(c->transports[i], node)
                       : min_u64(start, transport_udp_start_shown(c->transports[i], node));
    return start;
}

static json_t *node_json(const struct cluster_node *c, uint32_t number, uint64_t leads)
{
    const struct config_node *n = &c->config->cluster.nodes[number];
    bool self = n->id == c->config->node.id;
    uint64_t start = start_of(c, n->id);
    json_t *node =
        json_pack("{s:I, s:o, s:b, s:b, s:I}", "id", (json_int_t)n->id, "address", address_json(n),
                  "self", self, "up", start != 0, "leads", (json_int_t)leads);
    if (start != 0)
        (void)json_object_set_new(node, "start", json_integer((json_int_t)start));
    return node;
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
    json_t *all =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "cluster", c->config->cluster.name,
                  "node", (json_int_t)c->config->node.id, "shards", (json_int_t)counts.shards,
                  "pending", (json_int_t)counts.pending, "moving", (json_int_t)counts.moving,
                  "lost", (json_int_t)counts.lost, "nodes", nodes, "transport", transport_json(c));
    char *text = json_dumps(all, JSON_INDENT(2));
    json_decref(all);
    return text;
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
    c->admin = (struct server_admin){.move = move, .nodes_json = nodes_json, .context = c};
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
        error = transport_udp_add(c->transports[lcore], cluster->nodes[i].id, &address);
    }
    return error;
}

static int transport_make(struct cluster_node *c, uint32_t lcore)
{
    const struct config_cluster *cluster = &c->config->cluster;
    const struct transport_udp_config config = {
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
    int error = transport_udp_open(&c->transports[lcore], &config);
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
    };
    c->start = start;
    /* Why first: a start that is registered ends the one before, and only then is this one to run.  What
     * peers send meanwhile is lost to a full socket at worst. */
    int error = transports_make(c);
    return error != 0 ? error : coordinator_file_open(&c->coordinator, &file, lsn_origin);
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
    return 0;
}

/* ---- while it serves ---- */

void cluster_node_step(struct cluster_node *c)
{
    /* Why the result does not matter: it says itself, once, what it cannot do, and is called again. */
    (void)!coordinator_file_step(c->coordinator);
}

int cluster_node_fd(const struct cluster_node *c)
{
    return coordinator_file_fd(c->coordinator);
}

/* The other nodes that every lcore talks to; returns how many. */
static uint32_t others_up(const struct cluster_node *c, uint32_t others[LIMIT_VOTERS])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->config->cluster.node_count; i++) {
        uint32_t id = c->config->cluster.nodes[i].id;
        if (id != c->config->node.id && start_of(c, id) != 0)
            others[count++] = id;
    }
    return count;
}

bool cluster_node_drain(struct cluster_node *c)
{
    uint64_t leads[LIMIT_VOTERS];
    uint32_t others[LIMIT_VOTERS];
    struct coordinator_file_counts counts;
    cluster_node_step(c);
    leads_count(c, leads);
    coordinator_file_counts(c->coordinator, &counts);
    if (c->is_draining && counts.moving != 0)
        return false;
    uint64_t own = leads[own_node(c->config) - c->config->cluster.nodes];
    if (own == 0 && counts.moving == 0)
        return true;
    /* Why again when nothing moves any more: somebody else's move, or one passed on, may have come to us. */
    int64_t left = coordinator_file_leave(c->coordinator, others, others_up(c, others));
    c->is_draining |= left > 0;
    return (left == 0 && (own == 0 || counts.moving == 0)) || left == -ENOENT || left == -ESTALE;
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
