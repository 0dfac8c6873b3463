/* Two nodes with certificates, a connection between them, and an endpoint each: frames pass under secrets that came
 * over the connection.  One starts again, one has a key file, the connection breaks. */
#include "control/secret_exchange.h"

#include "dataplane/transport_udp.h"
#include "engine/clock.h"
#include "tests/unit/control/control_net_nodes.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define TYPE 6u
#define ENDS 2u
#define AGES UINT64_MAX /* nothing is renewed by itself */

static const struct transport_framed_secret file = {.key_id = 4, .bytes = {1, 2, 3}};

struct end {
    uint32_t node;
    uint64_t start, linked_at;
    struct secret_exchange *exchange;
    struct pair_secrets shared;
    struct transport *transport;
    struct sockaddr_storage address; /* of its transport */
    bool has_file;
    uint64_t received; /* datagrams */
};

static struct net_nodes net;
static struct end ends[ENDS + 1]; /* by node */
static uint64_t awaited;          /* datagrams at the end that is looked at */

static struct end *other_of(const struct end *e)
{
    return &ends[ENDS + 1 - e->node];
}

/* ---- the connection ---- */

static void on_received(void *context, uint32_t node, uint8_t type, const uint8_t *bytes,
                        size_t length)
{
    struct end *e = context;
    CU_ASSERT_EQUAL(type, TYPE);
    secret_exchange_received(e->exchange, node, bytes, length);
}

static void on_link(void *context, uint32_t node, bool up)
{
    struct end *e = context;
    e->linked_at = up ? clock_boottime_ns() : 0;
    secret_exchange_link(e->exchange, node, up);
}

static void connection_open(struct end *e)
{
    static char paths[ENDS + 1][3][128];
    struct control_net_peer peers[NET_NODES];
    struct control_net_config config = net_config(&net, e->node, peers);
    const char **const given[] = {&config.certificate_path, &config.key_path,
                                  &config.authority_path};
    for (uint32_t i = 0; i < 3; i++) {
        (void)snprintf(paths[e->node][i], sizeof(paths[e->node][i]), "%s", *given[i]);
        *given[i] = paths[e->node][i];
    }
    config.received = on_received;
    config.link = on_link;
    config.context = e;
    struct net_node *n = &net.nodes[e->node];
    CU_ASSERT_EQUAL_FATAL(control_net_open(&n->net, &config, stderr), 0);
    control_net_address(n->net, &n->address);
    secret_exchange_attach(e->exchange, n->net, TYPE);
}

static void connection_close(struct end *e)
{
    secret_exchange_attach(e->exchange, NULL, 0);
    net_close(&net, e->node);
    if (e->linked_at != 0)
        on_link(e, other_of(e)->node, false);
}

/* ---- ends ---- */

static struct sockaddr_storage address_any(void)
{
    struct sockaddr_storage address = {.ss_family = AF_INET};
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)&address;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void transport_make(struct end *e)
{
    struct transport_framed_config config = {.node = e->node,
                                             .cluster = 9,
                                             .start = e->start,
                                             .address = e->address.ss_family == 0 ? address_any()
                                                                                  : e->address,
                                             .secrets = e->has_file ? &file : NULL,
                                             .secret_count = e->has_file ? 1 : 0,
                                             .pair_secrets = e->has_file ? NULL : &e->shared};
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&e->transport, &config, NULL), 0);
    e->address = address_any();
    ((struct sockaddr_in *)(void *)&e->address)->sin_port = htons(transport_udp_port(e->transport));
}

static void end_open(struct end *e, uint64_t start)
{
    e->start = start;
    e->linked_at = 0;
    pair_secrets_init(&e->shared);
    const struct secret_exchange_config config = {
        .node = e->node, .start = start, .shared = e->has_file ? NULL : &e->shared, .age_ns = AGES};
    CU_ASSERT_EQUAL_FATAL(secret_exchange_open(&e->exchange, &config), 0);
    transport_make(e);
}

static void end_close(struct end *e)
{
    connection_close(e);
    transport_udp_close(e->transport);
    secret_exchange_close(e->exchange);
}

/* Why the second first: it listens before the first one is told where. */
static void begin(bool has_file_1, bool has_file_2)
{
    net_nodes_init(&net);
    memset(ends, 0, sizeof ends);
    ends[1] = (struct end){.node = 1, .has_file = has_file_1};
    ends[2] = (struct end){.node = 2, .has_file = has_file_2};
    end_open(&ends[1], 100);
    end_open(&ends[2], 200);
    CU_ASSERT_EQUAL(transport_framed_add(ends[1].transport, 2, &ends[2].address), 0);
    CU_ASSERT_EQUAL(transport_framed_add(ends[2].transport, 1, &ends[1].address), 0);
    connection_open(&ends[2]);
    connection_open(&ends[1]);
}

static void finish(void)
{
    end_close(&ends[1]);
    end_close(&ends[2]);
    net_nodes_fini(&net);
}

/* ---- what is awaited ---- */

static void turn(void)
{
    struct transport_received in[8];
    for (uint32_t i = 1; i <= ENDS; i++) {
        secret_exchange_step(ends[i].exchange);
        ends[i].received += transport_receive(ends[i].transport, in, 8);
        transport_release(ends[i].transport);
    }
}

static bool are_up(struct net_nodes *t)
{
    (void)t;
    turn();
    return transport_framed_is_up(ends[1].transport, 2, NULL, NULL) &&
           transport_framed_is_up(ends[2].transport, 1, NULL, NULL);
}

static bool has_come(struct net_nodes *t)
{
    (void)t;
    turn();
    return ends[1].received + ends[2].received == awaited;
}

static bool are_linked(struct net_nodes *t)
{
    (void)t;
    turn();
    return ends[1].linked_at != 0 && ends[2].linked_at != 0;
}

static void passes(struct end *from)
{
    struct transport_datagram d = {.to = other_of(from)->node};
    awaited = ends[1].received + ends[2].received + 1;
    CU_ASSERT_EQUAL_FATAL(transport_send(from->transport, &d, 1), 1);
    CU_ASSERT_TRUE_FATAL(net_until(&net, has_come));
}

static struct transport_framed_counters counted(const struct end *e)
{
    struct transport_framed_counters counters;
    transport_framed_count(e->transport, &counters);
    return counters;
}

static uint32_t number_shared(const struct end *e)
{
    struct pair_secrets_view v;
    int got = pair_secrets_get(&e->shared, other_of(e)->node, &v);
    return got == 1 && v.seals == v.secrets[0].number ? v.seals : 0;
}

static bool are_second(struct net_nodes *t)
{
    (void)t;
    turn();
    return number_shared(&ends[1]) == 2 && number_shared(&ends[2]) == 2;
}

static bool have_looked(struct net_nodes *t)
{
    return are_second(t) && counted(&ends[1]).secrets_taken == 2 &&
           counted(&ends[2]).secrets_taken == 2;
}

/* ---- */

static void frames_pass_under_what_came_over_the_connection(void)
{
    struct pair_secrets_view a, b;
    begin(false, false);
    CU_ASSERT_TRUE_FATAL(net_until(&net, are_up));
    passes(&ends[1]);
    uint64_t first_at = clock_boottime_ns();
    passes(&ends[2]);
    CU_ASSERT_EQUAL(pair_secrets_get(&ends[1].shared, 2, &a), 1);
    CU_ASSERT_EQUAL(pair_secrets_get(&ends[2].shared, 1, &b), 1);
    CU_ASSERT_EQUAL(a.start, 200);
    CU_ASSERT_EQUAL(b.start, 100);
    CU_ASSERT_EQUAL(memcmp(a.secrets[0].bytes, b.secrets[0].bytes, FRAME_SECRET_BYTES), 0);
    /* For people to look at: timing decides nothing. */
    (void)printf("from the link to the first frame: %lu us ",
                 (unsigned long)((first_at - ends[2].linked_at) / 1000));
    finish();
}

static void renewed_without_a_loss(void)
{
    uint64_t unknown[ENDS + 1];
    begin(false, false);
    CU_ASSERT_TRUE_FATAL(net_until(&net, are_up));
    for (uint32_t i = 1; i <= ENDS; i++)
        unknown[i] = counted(&ends[i]).refused[FRAME_UNKNOWN_KEY];
    for (uint32_t i = 0; i < 2; i++) {
        secret_exchange_renew(ends[2 - i].exchange);
        for (uint32_t n = 0; n < 10; n++) {
            passes(&ends[1]);
            passes(&ends[2]);
        }
    }
    CU_ASSERT_TRUE_FATAL(net_until(&net, have_looked));
    passes(&ends[1]);
    passes(&ends[2]);
    for (uint32_t i = 1; i <= ENDS; i++) {
        struct transport_framed_counters c = counted(&ends[i]);
        CU_ASSERT_EQUAL(c.pairs_up, 1);
        CU_ASSERT_EQUAL(c.refused[FRAME_WRONG_TAG] + c.refused[FRAME_UNKNOWN_KEY] - unknown[i], 0);
    }
    finish();
}

static void a_start_follows_another(void)
{
    begin(false, false);
    for (uint32_t i = 0; i < 4; i++) {
        struct end *e = &ends[1 + i % 2];
        CU_ASSERT_TRUE_FATAL(net_until(&net, are_up));
        passes(&ends[1]);
        passes(&ends[2]);
        end_close(e);
        end_open(e, e->start + 1);
        struct end *other = other_of(e);
        CU_ASSERT_EQUAL(transport_framed_add(e->transport, other->node, &other->address), 0);
        connection_open(e);
        CU_ASSERT_FALSE(transport_framed_is_up(e->transport, other->node, NULL, NULL));
    }
    CU_ASSERT_TRUE_FATAL(net_until(&net, are_up));
    passes(&ends[1]);
    passes(&ends[2]);
    CU_ASSERT_EQUAL(counted(&ends[1]).pairs_up, 2);
    finish();
}

static void without_the_connection_frames_go_on(void)
{
    begin(false, false);
    CU_ASSERT_TRUE_FATAL(net_until(&net, are_up));
    connection_close(&ends[1]);
    secret_exchange_renew(ends[1].exchange);
    for (uint32_t i = 0; i < 20; i++) {
        passes(&ends[1]);
        passes(&ends[2]);
    }
    CU_ASSERT_EQUAL(counted(&ends[1]).secrets_taken, 1);
    connection_open(&ends[1]);
    CU_ASSERT_TRUE_FATAL(net_until(&net, are_second));
    passes(&ends[1]);
    passes(&ends[2]);
    CU_ASSERT_EQUAL(counted(&ends[1]).pairs_up, 1);
    finish();
}

static void a_file_and_none_stay_apart(void)
{
    for (uint32_t i = 0; i < 2; i++) {
        begin(i == 0, i != 0);
        CU_ASSERT_TRUE_FATAL(net_until(&net, are_linked));
        for (uint32_t n = 0; n < 50; n++)
            (void)net_until(&net, are_linked);
        CU_ASSERT_FALSE(transport_framed_is_up(ends[1].transport, 2, NULL, NULL) ||
                        transport_framed_is_up(ends[2].transport, 1, NULL, NULL));
        struct transport_framed_counters c = counted(&ends[i == 0 ? 2 : 1]);
        CU_ASSERT_EQUAL(c.secrets_taken + c.hellos_sent, 0);
        CU_ASSERT(c.refused[FRAME_UNKNOWN_KEY] != 0);
        finish();
    }
}

static void with_files_it_is_as_before(void)
{
    begin(true, true);
    CU_ASSERT_TRUE_FATAL(net_until(&net, are_up));
    passes(&ends[1]);
    passes(&ends[2]);
    CU_ASSERT_EQUAL(counted(&ends[1]).secrets_taken, 0);
    finish();
}

static const struct unit_test tests[] = {
    UNIT_TEST(frames_pass_under_what_came_over_the_connection),
    UNIT_TEST(renewed_without_a_loss),
    UNIT_TEST(a_start_follows_another),
    UNIT_TEST(without_the_connection_frames_go_on),
    UNIT_TEST(a_file_and_none_stay_apart),
    UNIT_TEST(with_files_it_is_as_before),
};
UNIT_MAIN("secret_exchange", tests)
