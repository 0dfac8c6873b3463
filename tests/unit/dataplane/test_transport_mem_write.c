/* Log writes of a hub whose endpoints are driven by this thread, and a connection torn down. */
#include "dataplane/transport_mem.h"
#include "tests/unit/unit.h"

static const uint32_t ids[] = {7, 3, 40};

static uint8_t bytes[640];
static uint8_t memory[2][1024]; /* of node 3: what nodes 7 and 40 were granted */
static uint64_t key;            /* of the connections that are there now */

static void place(void *context, uint32_t from, const struct grant_token *token,
                  const uint8_t *source, uint32_t length)
{
    CU_ASSERT_PTR_EQUAL(context, memory);
    if (token->key == key && token->address + length <= sizeof memory[0])
        memcpy(memory[from == 40] + token->address, source, length);
}

static struct transport_log_write write_of(uint8_t value, uint64_t address)
{
    memset(bytes, value, sizeof bytes);
    return (struct transport_log_write){
        .to = 3,
        .token = {.address = address, .key = key},
        .bytes = bytes,
        .length = sizeof bytes,
        .hold = value,
    };
}

static void what_was_posted_before_a_disconnect_does_not_land(void)
{
    const struct transport_mem_config config = {
        .nodes = ids, .node_count = 3, .lcore_count = 1, .log_writes = true};
    struct transport_mem_hub *hub;
    struct transport_received in[4];
    uint64_t holds[4];
    CU_ASSERT_EQUAL_FATAL(transport_mem_open(&hub, &config), 0);
    struct transport *a = transport_mem_endpoint(hub, 7, 0);
    struct transport *b = transport_mem_endpoint(hub, 3, 0);
    struct transport *c = transport_mem_endpoint(hub, 40, 0);
    b->place = place;
    b->place_context = memory;
    key = 1;
    struct transport_log_write w = write_of(0x11, 64);
    struct transport_datagram d = {.to = 3, .head = (const uint8_t *)"x", .head_length = 1};
    CU_ASSERT_EQUAL(transport_log_write(a, &w), 0);
    CU_ASSERT_EQUAL(transport_send(a, &d, 1), 1);
    CU_ASSERT_EQUAL(transport_log_write(c, &w), 0);
    CU_ASSERT_EQUAL(transport_disconnected(b), TRANSPORT_NOBODY);
    transport_disconnect(b, 7);
    transport_disconnect(b, 999); /* nobody */
    CU_ASSERT_EQUAL(transport_disconnected(b), 7);
    CU_ASSERT_EQUAL(transport_disconnected(b), TRANSPORT_NOBODY);
    CU_ASSERT_EQUAL(transport_receive(b, in, 4), 1); /* datagrams need no connection */
    CU_ASSERT_EQUAL(memory[0][64], 0);
    CU_ASSERT_EQUAL(memory[1][64], 0x11); /* another node's */
    transport_release(b);
    CU_ASSERT_EQUAL(transport_complete(a, holds, 4), 1); /* dropped is complete */
    CU_ASSERT_EQUAL(transport_complete(c, holds, 4), 1);
    CU_ASSERT_EQUAL(transport_log_write(a, &w), 0);
    CU_ASSERT_EQUAL(transport_receive(b, in, 4), 0);
    CU_ASSERT_EQUAL(memory[0][64], 0x11); /* over the new connection */
    transport_release(b);
    key = 2;
    CU_ASSERT_EQUAL(transport_log_write(a, &w), 0); /* a token of the old one */
    memset(memory, 0, sizeof memory);
    CU_ASSERT_EQUAL(transport_receive(b, in, 4), 0);
    CU_ASSERT_EQUAL(memory[0][64], 0);
    transport_release(b);
    transport_mem_close(hub);
}

static void each_that_was_disconnected_is_named_once(void)
{
    const struct transport_mem_config config = {
        .nodes = ids, .node_count = 3, .lcore_count = 1, .log_writes = true};
    struct transport_mem_hub *hub;
    CU_ASSERT_EQUAL_FATAL(transport_mem_open(&hub, &config), 0);
    struct transport *b = transport_mem_endpoint(hub, 3, 0);
    CU_ASSERT_TRUE(transport_sleep(b));
    transport_awake(b);
    for (unsigned i = 0; i < 2; i++) { /* nothing was ever written: named all the same */
        transport_disconnect(b, 40);
        transport_disconnect(b, 7);
        transport_disconnect(b, 40);
        CU_ASSERT_FALSE(transport_sleep(b)); /* there is something to hear */
        CU_ASSERT_EQUAL(transport_disconnected(b), 7);
        CU_ASSERT_EQUAL(transport_disconnected(b), 40);
        CU_ASSERT_EQUAL(transport_disconnected(b), TRANSPORT_NOBODY);
    }
    CU_ASSERT_TRUE(transport_sleep(b));
    transport_disconnect(b, 3); /* itself */
    CU_ASSERT_EQUAL(transport_disconnected(b), TRANSPORT_NOBODY);
    transport_mem_close(hub);
}

static const struct unit_test tests[] = {
    UNIT_TEST(each_that_was_disconnected_is_named_once),
    UNIT_TEST(what_was_posted_before_a_disconnect_does_not_land),
};
UNIT_MAIN("transport_mem_write", tests)
