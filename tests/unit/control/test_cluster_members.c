/* Which nodes a node talks to, and where: from its configuration, then from what was decided.  Endpoints are real,
 * nobody uses them. */
#include "control/cluster_members.h"

#include "control/config_address.h"
#include "dataplane/transport_udp.h"

#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

static struct config config;
static struct cluster_members members;
static struct coordinator_state *state;
static struct transport *transport;

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage a;
    CU_ASSERT_EQUAL_FATAL(config_address_parse(text, strlen(text), &a), 0);
    return a;
}

static void node_in_config(uint32_t id, const char *text)
{
    config.cluster.nodes[config.cluster.node_count++] =
        (struct config_node){.id = id, .weight = 100, .address = address(text)};
}

static void node_in_state(uint32_t id, const char *text)
{
    struct coordinator_node *n = &state->nodes[state->node_count++];
    *n = (struct coordinator_node){.id = id, .weight = 100};
    (void)snprintf(n->address, sizeof n->address, "%s", text);
}

/* Node 2 of the configured 1, 2, 3. */
static void begin(void)
{
    static const struct transport_framed_secret secret = {.key_id = 1, .bytes = {1}};
    config = (struct config){.node = {.name = "n", .id = 2, .lcore_count = 1}};
    node_in_config(1, "127.0.0.1:7701");
    node_in_config(2, "127.0.0.1:7702");
    node_in_config(3, "127.0.0.1:7703");
    cluster_members_begin(&members, &config);
    state = calloc(1, coordinator_state_bytes(1));
    CU_ASSERT_PTR_NOT_NULL_FATAL(state);
    state->shard_count = 1;
    const struct transport_framed_config udp = {.node = 2,
                                                .cluster = 1,
                                                .start = 1,
                                                .address = address("127.0.0.1:1"),
                                                .secrets = &secret,
                                                .secret_count = 1};
    struct transport_framed_config any = udp;
    ((struct sockaddr_in *)(void *)&any.address)->sin_port = 0;
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&transport, &any, NULL), 0);
    for (uint32_t i = 1; i < members.count; i++)
        CU_ASSERT_EQUAL(
            transport_framed_add(transport, members.list[i].id, &members.list[i].address), 0);
}

static void end(void)
{
    transport_udp_close(transport);
    free(state);
}

static uint32_t port_of(uint32_t id)
{
    const struct cluster_member *m = cluster_members_find(&members, id);
    return m != NULL ? config_address_port(&m->address) : 0;
}

static void the_configuration_comes_first(void)
{
    uint32_t others[CLUSTER_OTHERS];
    begin();
    CU_ASSERT_EQUAL(members.count, 3);
    CU_ASSERT_EQUAL(members.list[0].id, 2);
    CU_ASSERT_EQUAL(cluster_members_others(&members, others), 2);
    CU_ASSERT_EQUAL(others[0], 1);
    CU_ASSERT_EQUAL(others[1], 3);
    CU_ASSERT_EQUAL(port_of(3), 7703);
    end();
}

static void what_was_decided_counts(void)
{
    uint32_t others[CLUSTER_OTHERS];
    begin();
    node_in_state(1, "");
    node_in_state(2, "");
    node_in_state(4, "127.0.0.1:7704");
    node_in_state(5, ""); /* nobody says where */
    CU_ASSERT_EQUAL(cluster_members_join(&members, state, &transport), 0);
    CU_ASSERT_EQUAL(cluster_members_others(&members, others), 2);
    CU_ASSERT_EQUAL(others[0], 1);
    CU_ASSERT_EQUAL(others[1], 4);
    CU_ASSERT_EQUAL(port_of(1), 7701);
    CU_ASSERT_EQUAL(port_of(4), 7704);
    CU_ASSERT_EQUAL(port_of(3) + port_of(5), 0);
    CU_ASSERT_EQUAL(transport_framed_remove(transport, 3), -ENOENT);
    CU_ASSERT_EQUAL(transport_framed_remove(transport, 4), 0);
    end();
}

/* A node that was removed and added elsewhere: old files still say where it was. */
static void who_was_added_is_where_that_was_said(void)
{
    begin();
    node_in_state(1, "127.0.0.1:8801");
    node_in_state(2, "");
    node_in_state(3, "127.0.0.1:7703");
    CU_ASSERT_EQUAL(cluster_members_join(&members, state, &transport), 0);
    CU_ASSERT_EQUAL(members.count, 3);
    CU_ASSERT_EQUAL(port_of(1), 8801);
    CU_ASSERT_EQUAL(port_of(3), 7703);
    end();
}

static void addresses_that_cannot_be_are_refused(void)
{
    begin();
    config.node.lcore_count = 4;
    CU_ASSERT_EQUAL(cluster_members_judge(&members, 4, "127.0.0.1:7707"), 0);
    CU_ASSERT_EQUAL(cluster_members_judge(&members, 4, "127.0.0.1:7706"), -EADDRINUSE);
    CU_ASSERT_EQUAL(cluster_members_judge(&members, 4, "127.0.0.1:7698"), -EADDRINUSE);
    CU_ASSERT_EQUAL(cluster_members_judge(&members, 4, "127.0.0.1:7697"), 0);
    CU_ASSERT_EQUAL(cluster_members_judge(&members, 4, "127.0.0.2:7702"), 0);
    CU_ASSERT_EQUAL(cluster_members_judge(&members, 4, "[::1]:7707"), -EAFNOSUPPORT);
    CU_ASSERT_EQUAL(cluster_members_judge(&members, 4, "127.0.0.1:65532"), 0);
    CU_ASSERT_EQUAL(cluster_members_judge(&members, 4, "127.0.0.1:65533"), -EINVAL);
    CU_ASSERT_EQUAL(cluster_members_judge(&members, 4, "here:1"), -EINVAL);
    end();
}

static void lcores_have_ports_but_over_rdma(void)
{
    begin();
    for (uint32_t lcore = 0; lcore < 3; lcore++) {
        config.cluster.transport = CONFIG_TRANSPORT_DPDK;
        struct sockaddr_storage own = cluster_address_of(&config, &members.list[0].address, lcore);
        CU_ASSERT_EQUAL(config_address_port(&own), 7702 + lcore);
        config.cluster.transport = CONFIG_TRANSPORT_RDMA;
        own = cluster_address_of(&config, &members.list[0].address, lcore);
        CU_ASSERT_EQUAL(config_address_port(&own), 7702);
        CU_ASSERT(config_address_same_host(&own, &members.list[0].address));
    }
    end();
}

static const struct unit_test tests[] = {
    UNIT_TEST(lcores_have_ports_but_over_rdma),
    UNIT_TEST(the_configuration_comes_first),
    UNIT_TEST(what_was_decided_counts),
    UNIT_TEST(who_was_added_is_where_that_was_said),
    UNIT_TEST(addresses_that_cannot_be_are_refused),
};
UNIT_MAIN("cluster_members", tests)
