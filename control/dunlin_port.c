/* dunlin-port - what a port of DPDK is that nobody uses: opens it, tells, closes it.  Asked by `dunlin doctor`, which has
 * no DPDK in it.
 *
 *   dunlin-port [--config FILE] [--port DEVICE]
 *
 * With FILE the port, its lcores and the environment's arguments are those of the configuration, and the other nodes of
 * it are asked to show whether frames may be sent from log memory.  Prints one object of JSON: step, error and what they
 * mean, or the facts.  Exit: 0 told, also what is wrong; 2 bad usage, or a configuration with faults. */
#include "control/eal_config.h"
#include "dataplane/dpdk_eal.h"
#include "dataplane/dpdk_trial.h"
#include "engine/clock.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define USAGE 2
#define UDP_PORT 7700u
#define LINK_NS (UINT64_C(10) * NS_PER_S) /* for a link to come up */
#define TRIAL_NS (UINT64_C(5) * NS_PER_S)

static int print(json_t *o)
{
    char *text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (text == NULL)
        return EXIT_FAILURE;
    (void)puts(text);
    free(text);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int failed(const char *step, int error)
{
    return print(
        json_pack("{s:s, s:i, s:s}", "step", step, "error", -error, "meaning", strerror(-error)));
}

static uint32_t address_of(const struct config_node *node)
{
    struct sockaddr_in v4;
    memcpy(&v4, &node->address, sizeof v4);
    return ntohl(v4.sin_addr.s_addr);
}

static const struct config_node *own_node(const struct config *config)
{
    for (uint32_t i = 0; i < config->cluster.node_count; i++)
        if (config->cluster.nodes[i].id == config->node.id)
            return &config->cluster.nodes[i];
    return NULL;
}

static uint16_t udp_port(const struct config *config)
{
    struct sockaddr_in v4 = {.sin_port = htons(UDP_PORT)};
    if (own_node(config) != NULL)
        memcpy(&v4, &own_node(config)->address, sizeof v4);
    return ntohs(v4.sin_port);
}

/* A card takes seconds for it. */
static void link_await(struct dpdk_port *port)
{
    static const struct timespec pause = {.tv_nsec = 10 * NS_PER_MS};
    uint64_t end = clock_boottime_ns() + LINK_NS;
    /* relaxed: a word of this thread */
    while (atomic_load_explicit(&dpdk_port_shown(port)->link_up, memory_order_relaxed) == 0 &&
           clock_boottime_ns() < end) {
        (void)nanosleep(&pause, NULL);
        dpdk_port_tick(port, clock_boottime_ns());
    }
}

/* NULL: there is nobody to ask, or no memory. */
static json_t *trial_json(struct dpdk_port *port, const struct config *config)
{
    struct dpdk_trial result;
    struct in_addr gateway = {.s_addr = 0};
    uint32_t neighbours[LIMIT_VOTERS];
    const struct config_node *own = own_node(config);
    struct dpdk_trial_config trial = {.prefix = (uint8_t)config->cluster.dpdk.prefix,
                                      .neighbours = neighbours,
                                      .wait_ns = TRIAL_NS};
    if (own == NULL || !dpdk_port_facts(port)->multi_segs)
        return NULL;
    for (uint32_t i = 0; i < config->cluster.node_count; i++)
        if (&config->cluster.nodes[i] != own)
            neighbours[trial.neighbour_count++] = address_of(&config->cluster.nodes[i]);
    (void)inet_pton(AF_INET, config->cluster.dpdk.gateway, &gateway); /* or there is none */
    trial.gateway = ntohl(gateway.s_addr);
    trial.address = address_of(own);
    if (dpdk_trial_run(port, &trial, &result) != 0)
        return NULL;
    return json_pack("{s:i, s:s, s:i, s:I}", "state", (int)result.state, "name",
                     dpdk_chain_state_name(result.state), "neighbours_known",
                     (int)result.neighbours_known, "answers", (json_int_t)result.answers);
}

static json_t *facts_json(const struct dpdk_port *port)
{
    const struct dpdk_port_facts *f = dpdk_port_facts(port);
    const struct dpdk_port_shown *s = dpdk_port_shown(port);
    return json_pack("{s:s, s:s, s:b, s:i, s:i, s:i, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:i}",
                     "name", f->name, "driver", f->driver, "huge_pages", dpdk_eal_has_huge_pages(),
                     "mtu", (int)f->mtu, "socket", f->socket, "queues", (int)f->pairs, "multi_segs",
                     f->multi_segs, "ip_out", f->ip_out, "udp_out", f->udp_out, "ip_in", f->ip_in,
                     "udp_in", f->udp_in, "steered", f->steered, "interrupts", f->interrupts,
                     "link_up", atomic_load_explicit(&s->link_up, memory_order_relaxed) != 0,
                     "speed_mbps",
                     (int)atomic_load_explicit(&s->speed_mbps,
                                               memory_order_relaxed)); /* relaxed: this thread's */
}

static int tell(const struct config *config)
{
    struct dpdk_port *port;
    const struct config_dpdk *dpdk = &config->cluster.dpdk;
    const struct dpdk_port_config wanted = {
        .device = dpdk->port,
        .mtu = dpdk->mtu,
        .lcore_count = config->node.lcore_count != 0 ? config->node.lcore_count : 1,
        .udp_port = udp_port(config)};
    int error = eal_config_start(dpdk, wanted.lcore_count);
    if (error != 0)
        return failed("environment", error);
    error = dpdk_port_open(&port, &wanted);
    if (error != 0) {
        dpdk_eal_stop();
        return failed("port", error);
    }
    link_await(port);
    json_t *trial = trial_json(port, config);
    json_t *facts = facts_json(port);
    if (trial != NULL)
        (void)json_object_set_new(facts, "chain", trial);
    dpdk_port_close(port);
    dpdk_eal_stop();
    return print(facts);
}

int main(int argc, char **argv)
{
    static struct config config;
    const char *file = NULL, *port = NULL;
    for (int i = 1; i < argc; i += 2) {
        const char **value = strcmp(argv[i], "--config") == 0 ? &file
                             : strcmp(argv[i], "--port") == 0 ? &port
                                                              : NULL;
        if (value == NULL || i + 1 == argc)
            goto usage;
        *value = argv[i + 1];
    }
    if (file == NULL && port == NULL)
        goto usage;
    if (file != NULL && config_load(file, &config, stderr) != 0)
        return USAGE;
    if (port != NULL && (size_t)snprintf(config.cluster.dpdk.port, sizeof config.cluster.dpdk.port,
                                         "%s", port) >= sizeof config.cluster.dpdk.port)
        goto usage;
    return tell(&config);
usage:
    (void)fputs("usage: dunlin-port [--config FILE] [--port DEVICE]\n", stderr);
    return USAGE;
}
