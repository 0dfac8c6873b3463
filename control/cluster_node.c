#include "control/cluster_node.h"

#include "control/cluster_inner.h"
#include "control/cluster_key.h"
#include "control/control_net_link.h"
#include "control/coordinator_raft.h"
#include "control/logline.h"
#include "control/quorum.h"
#include "control/secret_exchange.h"
#include "control/service.h"
#include "dataplane/lag.h"
#include "dataplane/node_change.h"
#include "engine/clock.h"
#include "engine/hash.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define AWAIT_MS 100u
#define HELP_BYTES 384u
#define LEAVES_MAX 2u
#define REMOVED_WAIT_NS (5 * NS_PER_S)
#define CONTROL_VOTERS 3u
#define SILENT_NS_MAX                                                                              \
    (600 * NS_PER_MS) /* nodes with nothing to say ask each other four times a second */

uint64_t cluster_id(const struct config *config)
{
    return hash_key(config->cluster.name, (uint32_t)strlen(config->cluster.name));
}

/* ---- what administrators ask ---- */

static int64_t move(void *context, uint32_t first_log, uint32_t last_log, uint32_t node)
{
    struct cluster_node *c = context;
    return coordinator_move(c->coordinator, first_log, last_log, node);
}

static bool others_can_go_on(const struct cluster_node *c, uint32_t node)
{
    uint32_t up[LIMIT_VOTERS] = {c->config->node.id};
    const struct coordinator_some some = {.ids = up, .count = 1 + cluster_others_up(c, &up[1])};
    return quorum_stays_without(coordinator_known(c->coordinator), node, &some);
}

static int64_t node_change(void *context, const struct server_node_asked *asked)
{
    static const enum coordinator_node_kind kinds[] = {
        [SERVER_NODE_ADD] = COORDINATOR_NODE_ADD,
        [SERVER_NODE_DRAIN] = COORDINATOR_NODE_DRAIN,
        [SERVER_NODE_UNDRAIN] = COORDINATOR_NODE_UNDRAIN,
        [SERVER_NODE_REMOVE] = COORDINATOR_NODE_REMOVE,
    };
    struct cluster_node *c = context;
    struct coordinator_node_asked change = {.kind = kinds[asked->kind], .id = asked->id};
    bool takes_votes = asked->kind == SERVER_NODE_DRAIN || asked->kind == SERVER_NODE_REMOVE;
    if (takes_votes && !others_can_go_on(c, asked->id))
        return -EHOSTDOWN;
    if (asked->kind == SERVER_NODE_ADD) {
        int error = cluster_members_judge(&c->members, asked->id, asked->words.address);
        if (error != 0)
            return error;
        _Static_assert(COORDINATOR_ADDRESS_BYTES == NODE_WORDS_ADDRESS_BYTES, "the same texts");
        change.weight = asked->words.weight;
        memcpy(change.zone, asked->words.zone, sizeof change.zone);
        memcpy(change.address, asked->words.address, sizeof change.address);
        memcpy(change.control, asked->words.control, sizeof change.control);
    }
    return coordinator_node_change(c->coordinator, &change);
}

static int64_t recover(void *context, uint32_t first_log, uint32_t last_log, uint32_t from)
{
    struct cluster_node *c = context;
    struct coordinator_recover_asked asked = {
        .first = first_log, .last = last_log, .from = from, .up = {c->config->node.id}};
    asked.up_count = 1 + cluster_others_up(c, &asked.up[1]);
    return coordinator_recover(c->coordinator, &asked);
}

const struct server_admin *cluster_node_admin(const struct cluster_node *c)
{
    return &c->admin;
}

const struct server_spaces *cluster_node_spaces(const struct cluster_node *c)
{
    return &c->spaces.admin;
}

/* ---- open, begin, join ---- */

/* Else the secrets of frames come over the control plane, for each pair of starts its own. */
static bool has_key_file(const struct cluster_node *c)
{
    return c->config->cluster.key_path[0] != 0;
}

int cluster_node_open(struct cluster_node **cluster, const struct config *config, FILE *errors)
{
    struct cluster_node *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    c->config = config;
    cluster_members_begin(&c->members, config);
    cluster_space_init(&c->spaces, config);
    c->admin = (struct server_admin){.move = move,
                                     .node = node_change,
                                     .recover = recover,
                                     .nodes_json = cluster_nodes_json,
                                     .shard = cluster_shard,
                                     .context = c};
    pair_secrets_init(&c->pair_secrets);
    int error = has_key_file(c) ? cluster_key_load(config->cluster.key_path, c->secrets,
                                                   &c->secret_count, errors)
                                : 0;
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

/* Whether it is to be said: what it waits for is not what was said last. */
static bool begins_to_wait(struct cluster_node *c, enum cluster_wait waits_for, const char *why)
{
    bool begins = c->waits_for != waits_for;
    c->waits_for = waits_for;
    if (begins)
        service_waiting(why);
    return begins;
}

static const struct config_node *own_entry(const struct config *config)
{
    const struct config_node *own = config->cluster.nodes;
    while (own->id != config->node.id)
        own++; /* config_load has seen that it is there */
    return own;
}

/* The command that adds this node, as the others have to give it. */
static void help_to_add(const struct cluster_node *c, char *help, size_t bytes)
{
    const struct config_node *own = own_entry(c->config);
    char address[CONTROL_LINK_ADDRESS_BYTES], control[CONTROL_LINK_ADDRESS_BYTES] = "";
    bool has_control = own->control_address.ss_family != AF_UNSPEC;
    control_link_address_print(address, &own->address);
    if (has_control)
        control_link_address_print(control, &own->control_address);
    (void)snprintf(help, bytes,
                   "the cluster has no such node; on a node of it: dunlin node add %u --address "
                   "%s%s%s%s%s",
                   own->id, address, has_control ? " --control " : "", control,
                   own->zone[0] != 0 ? " --zone " : "", own->zone);
}

static void waits(void *context, uint32_t no_node_peer)
{
    static const char voters[] = "most voters of the control log do not answer: the start waits "
                                 "until they are up, and reached at the addresses of this "
                                 "configuration";
    struct cluster_node *c = context;
    char add[HELP_BYTES];
    help_to_add(c, add, sizeof add);
    if (no_node_peer != 0 && begins_to_wait(c, CLUSTER_WAIT_ADD, add))
        log_event(LOG_WARN, "control_no_node", LOG_NUMBER("id", c->config->node.id),
                  LOG_NUMBER("peer", no_node_peer), LOG_TEXT("help", add),
                  LOG_TEXT("node", c->config->node.name));
    if (no_node_peer == 0 && begins_to_wait(c, CLUSTER_WAIT_VOTERS, voters))
        log_event(LOG_INFO, "control_awaited", LOG_NUMBER("id", c->config->node.id),
                  LOG_TEXT("help", voters), LOG_TEXT("node", c->config->node.name));
}

static int await(struct cluster_node *c)
{
    static const char others[] = "the cluster is new: it begins when all of its nodes have come";
    int error;
    while ((error = coordinator_await(c->coordinator, AWAIT_MS)) == -ETIMEDOUT) {
        if (is_ended())
            return -ECANCELED;
        if (begins_to_wait(c, CLUSTER_WAIT_NODES, others))
            log_event(LOG_INFO, "nodes_awaited", LOG_TEXT("cluster", c->config->cluster.name),
                      LOG_TEXT("help", others), LOG_TEXT("node", c->config->node.name));
    }
    return error;
}

int cluster_join_failed(const struct cluster_node *c, const char *step, int error)
{
    log_event(LOG_ERROR, "join_failed", LOG_TEXT("step", step), LOG_ERRNO(error),
              LOG_TEXT("cluster", c->config->cluster.name), LOG_TEXT("node", c->config->node.name));
    return error;
}

static struct sockaddr_storage control_address_of(const struct config_node *node)
{
    return node->control_address.ss_family != AF_UNSPEC ? node->control_address : node->address;
}

/* The nodes of the lowest ids: three, or one where that many cannot survive the loss of one. */
static bool is_control_voter(const struct config_cluster *cluster, uint32_t node)
{
    uint32_t below = 0;
    for (uint32_t i = 0; i < cluster->node_count; i++)
        below += cluster->nodes[i].id < node ? 1 : 0;
    return below < (cluster->node_count >= CONTROL_VOTERS ? CONTROL_VOTERS : 1);
}

/* From the thread of the control log: what it reads is constant, or shown to any thread. */
static void evidence(void *context, struct health_report *report)
{
    const struct cluster_node *c = context;
    uint32_t others[CLUSTER_OTHERS];
    report->count = cluster_members_others(&c->members, others);
    for (uint32_t i = 0; i < report->count; i++)
        report->views[i] =
            (struct health_view){.node = others[i],
                                 .silent_ms = (uint32_t)min_u64(
                                     cluster_silent_ns(c, others[i]) / NS_PER_MS, HEALTH_NEVER_MS)};
}

static int exchange_open(struct cluster_node *c)
{
    const struct secret_exchange_config config = {.node = c->config->node.id,
                                                  .start = c->start,
                                                  .shared =
                                                      has_key_file(c) ? NULL : &c->pair_secrets};
    return secret_exchange_open(&c->exchange, &config);
}

static int control_open(struct cluster_node *c, const struct coordinator_entry_config *entry,
                        uint64_t *lsn_origin)
{
    const struct config_cluster *cluster = &c->config->cluster;
    const struct config_control *control = &cluster->control;
    struct coordinator_raft_config config = {
        .cluster = *entry,
        .raft = {.node = entry->node,
                 .start = entry->start,
                 .cluster = entry->cluster,
                 .cluster_name = cluster->name,
                 .directory = control->directory,
                 .certificate_path = control->certificate_path,
                 .key_path = control->key_path,
                 .authority_path = control->authority_path,
                 .lease_ns = control->lease_ns,
                 .lease_max_ns = control->lease_ns,
                 .silent_ns_max = max_u64(control->lease_ns, SILENT_NS_MAX),
                 .evidence = evidence,
                 .context = c,
                 .secrets = c->exchange},
        .errors = stderr,
        .is_ended = is_ended,
        .waits = waits,
        .context = c,
    };
    for (uint32_t i = 0; i < cluster->node_count; i++)
        config.raft.members[config.raft.member_count++] =
            (struct raft_node_member){.node = cluster->nodes[i].id,
                                      .is_voter = is_control_voter(cluster, cluster->nodes[i].id),
                                      .address = control_address_of(&cluster->nodes[i])};
    return coordinator_raft_open(&c->coordinator, &config, lsn_origin);
}

int cluster_node_begin(struct cluster_node *c, uint64_t start, uint64_t *lsn_origin)
{
    const struct config *config = c->config;
    struct coordinator_entry_node nodes[LIMIT_VOTERS];
    for (uint32_t i = 0; i < config->cluster.node_count; i++) {
        const struct config_node *n = &config->cluster.nodes[i];
        nodes[i] = (struct coordinator_entry_node){.id = n->id, .weight = n->weight};
        (void)snprintf(nodes[i].zone, sizeof nodes[i].zone, "%s", n->zone);
    }
    const struct coordinator_entry_config cluster = {
        .cluster = cluster_id(config),
        .node = config->node.id,
        .start = start,
        .replicas = config->cluster.replicas,
        .node_count = config->cluster.node_count,
        .nodes = nodes,
        .lcore_count = config->node.lcore_count,
        .space_count = config->space_count,
        .spaces = config->spaces,
        .reopens_lost = config->cluster.lost_reopens,
        .lsn_ceiling = *lsn_origin,
    };
    c->start = start;
    /* Why first: a start that is registered ends the one before, and only then is this one to run.  What
     * peers send meanwhile is lost to a full socket at worst. */
    int error = cluster_transports_open(c);
    if (error == 0)
        error = exchange_open(c);
    if (error != 0)
        return error;
    return control_open(c, &cluster, lsn_origin);
}

static int lags_make(struct cluster_node *c, struct node *node)
{
    const struct node_cluster *cluster = node->cluster;
    /* Why for all that there could ever be: spaces come while it runs, and what is not used is not there. */
    const uint32_t shards = COORDINATOR_SHARDS_MAX;
    for (uint32_t i = 0; i < node->config.lcore_count; i++) {
        c->lags[i] = lcore_memory(lag_bytes(shards));
        if (c->lags[i] == NULL)
            return -ENOMEM;
        lag_init(c->lags[i], cluster->nodes, cluster->node_count, shards);
        c->lags[i]->interval = clock_ns_to_ticks(LAG_INTERVAL_NS, node->ticks_per_s);
        node->cluster->lags[i] = c->lags[i];
    }
    return 0;
}

/* Why not what the configuration says: that is only for a cluster that begins, or it was added with another. */
static void zone_publish(const struct cluster_node *c, struct node *node)
{
    const struct coordinator_node *self =
        coordinator_state_node(coordinator_known(c->coordinator), c->config->node.id);
    /* Why it may be none: it was removed meanwhile, and ends. */
    if (self != NULL)
        memcpy(node->shared->zone, self->zone, sizeof node->shared->zone);
}

int cluster_node_join(struct cluster_node *c, struct node *node)
{
    int error = await(c);
    if (error == -ECANCELED)
        return error;
    if (error == 0)
        error = cluster_members_join(&c->members, coordinator_known(c->coordinator), c->transports);
    if (error == 0)
        error = cluster_space_join(&c->spaces, node, c->coordinator);
    if (error == 0)
        error = coordinator_join(c->coordinator, node);
    if (error != 0)
        return cluster_join_failed(c, "coordinator", error);
    c->node = node;
    zone_publish(c, node);
    struct raft_node *control = coordinator_raft_node(c->coordinator);
    node->cluster->lead_until_ns = control != NULL ? raft_node_lease(control) : NULL;
    for (uint32_t i = 0; i < node->config.lcore_count; i++)
        node->cluster->transports[i] = c->transports[i];
    cluster_transports_join(c, node);
    error = lags_make(c, node);
    return error != 0 ? cluster_join_failed(c, "memory", error) : 0;
}

/* ---- while it serves ---- */

/* The first time in the log. */
static int is_over(struct cluster_node *c, int error, const char *event, const char *why)
{
    if (!c->is_told_end)
        log_event(error == -EIDRM ? LOG_WARN : LOG_ERROR, event,
                  LOG_TEXT("node", c->config->node.name), LOG_NUMBER("id", c->config->node.id),
                  LOG_NUMBER("start", c->start), LOG_TEXT("help", why));
    c->is_told_end = true;
    return error;
}

/* By the state, or, where its last entries did not come any more, by what the others say. */
static bool is_removed(const struct cluster_node *c)
{
    struct raft_node_shown shown;
    raft_node_shown(coordinator_raft_node(c->coordinator), &shown);
    return coordinator_is_removed(c->coordinator) || shown.is_removed;
}

/* Why it stays for a moment: as long as it is a voter of the control log, the others need it more than they will. */
static bool is_awaited(struct cluster_node *c)
{
    struct raft_node_shown shown;
    uint64_t now = clock_boottime_ns();
    raft_node_shown(coordinator_raft_node(c->coordinator), &shown);
    if (c->removed_ns == 0)
        c->removed_ns = now;
    return shown.is_voter && !shown.is_removed && now - c->removed_ns < REMOVED_WAIT_NS;
}

int cluster_node_step(struct cluster_node *c)
{
    uint32_t up[LIMIT_VOTERS] = {c->config->node.id};
    /* Why other results do not matter: it says itself, once, what it cannot do, and is called again. */
    if (coordinator_step(c->coordinator) == -ESTALE)
        return is_over(c, -ESTALE, "superseded",
                       "another daemon has registered under this node's id with the coordinator; "
                       "this one ends: each node needs an id of its own");
    if (is_removed(c) && is_awaited(c))
        return 0;
    if (is_removed(c))
        return is_over(c, -EIDRM, "removed",
                       "the cluster goes on without this node; to have it back, empty its control "
                       "directory and add it (dunlin node add)");
    cluster_transports_tick(c);
    cluster_members_step(&c->members, coordinator_known(c->coordinator), c->node);
    cluster_space_step(&c->spaces, up, 1 + cluster_others_up(c, &up[1]));
    return 0;
}

int cluster_node_fd(const struct cluster_node *c)
{
    return coordinator_fd(c->coordinator);
}

uint64_t cluster_node_lsn_granted(struct cluster_node *c, bool is_short)
{
    return coordinator_lsn_granted(c->coordinator, is_short);
}

struct raft_node *cluster_node_control(const struct cluster_node *c)
{
    return coordinator_raft_node(c->coordinator);
}

/* ---- while it drains ---- */

static bool drain_ends(const struct cluster_node *c, const char *event, uint32_t up,
                       const char *why)
{
    log_event(LOG_WARN, event, LOG_TEXT("node", c->config->node.name),
              LOG_NUMBER("leads", coordinator_duties(c->coordinator)), LOG_NUMBER("up", up),
              LOG_TEXT("help", why));
    return true;
}

/* Whether another one could lead a shard that is led here: of its voters most are needed. */
static bool can_go(const struct configuration *newest, uint32_t self, const uint32_t *up,
                   uint32_t up_count)
{
    uint32_t there = 0;
    for (uint32_t i = 0; i < newest->voter_count; i++)
        for (uint32_t j = 0; j < up_count; j++)
            there += newest->voters[i].node != self && newest->voters[i].node == up[j] ? 1 : 0;
    return there >= majority_of(newest->voter_count);
}

/* How many of those that are led here can go. */
static uint32_t can_go_count(const struct cluster_node *c, const uint32_t *up, uint32_t up_count)
{
    const struct coordinator_state *s = coordinator_known(c->coordinator);
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->shard_count; i++)
        count += s->shards[i].configuration.leader.node == c->config->node.id &&
                         can_go(&s->shards[i].configuration, c->config->node.id, up, up_count)
                     ? 1
                     : 0;
    return count;
}

bool cluster_node_drain(struct cluster_node *c)
{
    uint32_t others[CLUSTER_OTHERS];
    /* Why the result does not matter: those that end as well may then ask us in vain. */
    if (!c->is_draining)
        (void)!coordinator_retire(c->coordinator);
    c->is_draining = true;
    if (cluster_node_step(c) != 0 || coordinator_duties(c->coordinator) == 0)
        return true;
    uint32_t up = cluster_others_up(c, others);
    if (can_go_count(c, others, up) == 0)
        return drain_ends(c, "hand_over_skipped", up,
                          "too few other voters are up for any of them to lead");
    /* Why again, once: one that it was moved to may be down, or a move to us was under way. */
    int64_t left = coordinator_leave(c->coordinator, others, up);
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
    /* First: its thread reads what transports show. */
    coordinator_close(c->coordinator);
    c->coordinator = NULL;
    cluster_transports_close(c);
    for (uint32_t i = 0; i < LIMIT_LCORES; i++) {
        lcore_memory_free(c->lags[i], lag_bytes(COORDINATOR_SHARDS_MAX));
        c->lags[i] = NULL;
    }
    secret_exchange_close(c->exchange);
    c->exchange = NULL;
}

void cluster_node_close(struct cluster_node *c)
{
    if (c == NULL)
        return;
    cluster_node_leave(c);
    explicit_bzero(c->secrets, sizeof(c->secrets));
    free(c);
}
