#include "tests/unit/dataplane/rdma_ends.h"

#include "tests/unit/dataplane/datagrams.h"
#include "tests/unit/unit.h"

#include <sys/mman.h>

static const struct transport_framed_secret secret = {.key_id = 4, .bytes = {1, 2, 3}};
struct transport_framed_config config_a, config_b, config_c;
struct transport *a, *b, *c;
struct transport_received in[256];
uint64_t holds[2048];
uint8_t *bytes, *there;
uint64_t now;
struct transport_framed_counters counters;
struct transport_rdma_counters rdma_counters;
static struct rdma_port port_a = {.node = A}, port_b = {.node = B}, port_c = {.node = C};
static const struct sockaddr_storage anywhere = {.ss_family = AF_INET};

static uint64_t clock_read(void *context)
{
    return *(uint64_t *)context;
}

void configure(void)
{
    now = NS_PER_S;
    if (fabric.log == NULL) {
        fabric.log =
            mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CU_ASSERT_PTR_NOT_EQUAL_FATAL((void *)fabric.log, MAP_FAILED);
        fabric.log_bytes = LOG_BYTES;
    }
    bytes = fabric.log;
    there = fabric.log + HALF;
    for (uint32_t i = 0; i < HALF; i++)
        bytes[i] = (uint8_t)(i * 37 + i / 256 + 11);
    memset(there, 0, HALF);
    fabric_reset();
    config_a = (struct transport_framed_config){
        .node = A,
        .cluster = 5,
        .start = 50,
        .secrets = &secret,
        .secret_count = 1,
        .authentic_only = true,
        .length_max = FRAME_LENGTH_MAX,
        .clock = clock_read,
        .clock_context = &now,
    };
    config_b = config_c = config_a;
    config_b.node = B;
    config_b.start = 60;
    config_c.node = C;
    config_c.start = 70;
}

void open_both(void)
{
    CU_ASSERT_EQUAL_FATAL(transport_rdma_open(&a, &config_a, &port_a), 0);
    CU_ASSERT_EQUAL_FATAL(transport_rdma_open(&b, &config_b, &port_b), 0);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(a, B, &anywhere), 0);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(b, A, &anywhere), 0);
}

void open_third(void)
{
    CU_ASSERT_EQUAL_FATAL(transport_rdma_open(&c, &config_c, &port_c), 0);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(c, A, &anywhere), 0);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(c, B, &anywhere), 0);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(a, C, &anywhere), 0);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(b, C, &anywhere), 0);
}

static void receives_nothing(struct transport *t)
{
    if (t == NULL)
        return;
    CU_ASSERT_EQUAL(transport_receive(t, in, 8), 0);
    transport_release(t);
    CU_ASSERT_EQUAL(complete(t), 0);
}

void pass(void)
{
    fabric_connect();
    if (!fabric.held)
        fabric_deliver_all();
    receives_nothing(a);
    receives_nothing(b);
    receives_nothing(c);
    now += NS_PER_MS;
}

static bool are_up(void)
{
    return transport_framed_is_up(a, B, NULL, NULL) && transport_framed_is_up(b, A, NULL, NULL) &&
           (c == NULL ||
            (transport_framed_is_up(c, A, NULL, NULL) && transport_framed_is_up(c, B, NULL, NULL) &&
             transport_framed_is_up(a, C, NULL, NULL) && transport_framed_is_up(b, C, NULL, NULL)));
}

void come_up(void)
{
    for (uint32_t i = 0; i < PASSES && !are_up(); i++)
        pass();
    CU_ASSERT_TRUE_FATAL(are_up());
}

void open_up(void)
{
    open_both();
    come_up();
}

void close_both(void)
{
    if (!fabric.held)
        fabric_deliver_all();
    CU_ASSERT_EQUAL(fabric.violations, 0);
    transport_rdma_close(a);
    transport_rdma_close(b);
    if (c != NULL)
        transport_rdma_close(c);
    a = b = c = NULL;
    CU_ASSERT_EQUAL(fabric_connections(), 0);
}

/* ---- datagrams ---- */

void count(const struct transport *t)
{
    transport_framed_count(t, &counters);
    transport_rdma_count(t, &rdma_counters);
}

struct transport_datagram datagram(uint32_t to, const char *head, uint32_t length)
{
    return datagram_of(to, head, bytes, length);
}

bool send_one(struct transport *t, uint32_t to, const char *head, uint32_t length)
{
    const struct transport_datagram d = datagram(to, head, length);
    return transport_send(t, &d, 1) == 1;
}

uint32_t complete(struct transport *t)
{
    return transport_complete(t, holds, sizeof holds / sizeof holds[0]);
}

bool comes(struct transport *t)
{
    for (uint32_t i = 0; i < PASSES; i++) {
        struct transport *other = t == a ? b : a;
        fabric_connect();
        fabric_deliver_all();
        if (transport_receive(t, in, 1) == 1)
            return true;
        transport_release(t);
        CU_ASSERT_EQUAL(transport_receive(other, in, 1), 0);
        transport_release(other);
        now += NS_PER_MS / 4;
    }
    return false;
}

bool is(const struct transport_received *r, const char *head, uint32_t length)
{
    return datagram_came(r, head, bytes, length);
}

/* ---- log writes ---- */

struct grant_token token_staged(uint64_t at, uint64_t length)
{
    struct grant_token t = {0};
    CU_ASSERT_TRUE_FATAL(transport_token(b, A, there + at, length, &t));
    return t;
}

struct grant_token token(uint64_t at, uint64_t length)
{
    struct transport_rdma_endpoint *e = transport_rdma_of(transport_framed_endpoint_of(b));
    struct grant_token t = token_staged(at, length);
    transport_rdma_post(e, transport_rdma_peer_of(transport_framed_find(&e->framed, A)));
    (void)fabric_deliver(B, A, UINT32_MAX);
    return t;
}

int write_at(uint64_t at, uint32_t length, struct grant_token to, uint64_t hold)
{
    const struct transport_log_write w = {
        .to = B, .token = to, .bytes = bytes + at, .length = length, .hold = hold};
    return transport_log_write(a, &w);
}
