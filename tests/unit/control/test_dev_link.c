#include "control/dev_link.h"

#include "dataplane/transport_mem.h"
#include "tests/unit/unit.h"

#define NODES 3u

static struct transport_mem_hub *hub;
static struct dev_links *links;
static struct transport *ends[NODES];

static void links_open(void)
{
    static const uint32_t ids[NODES] = {1, 2, 3};
    const struct transport_mem_config config = {
        .nodes = ids, .node_count = NODES, .lcore_count = 1};
    CU_ASSERT_EQUAL_FATAL(transport_mem_open(&hub, &config), 0);
    CU_ASSERT_EQUAL_FATAL(dev_links_open(&links, NODES), 0);
    for (uint32_t i = 0; i < NODES; i++)
        ends[i] = dev_link_over(links, transport_mem_endpoint(hub, ids[i], 0));
}

static void links_close(void)
{
    transport_mem_close(hub);
    dev_links_close(links);
}

static void send(uint32_t from, uint32_t to, uint8_t what)
{
    static const uint8_t bytes[8] = {0};
    const struct transport_datagram d = {.to = to,
                                         .head_length = 1,
                                         .head = &what,
                                         .bytes = bytes,
                                         .length = sizeof(bytes),
                                         .hold = what};
    CU_ASSERT_EQUAL(transport_send(ends[from - 1], &d, 1), 1);
}

/* The heads of all that arrives at a node, as a text in the order of arrival. */
static const char *received(uint32_t node)
{
    static char text[16];
    struct transport_received r[8];
    uint32_t count = transport_receive(ends[node - 1], r, 8);
    for (uint32_t i = 0; i < count; i++)
        text[i] = (char)r[i].head[0];
    text[count] = '\0';
    transport_release(ends[node - 1]);
    return text;
}

static uint32_t completed(uint32_t node)
{
    uint64_t holds[8];
    return transport_complete(ends[node - 1], holds, 8);
}

static void what_is_not_cut_off_passes(void)
{
    links_open();
    CU_ASSERT_EQUAL(ends[1]->node, 2);
    CU_ASSERT_TRUE(transport_wake_fd(ends[1]) >= 0);
    CU_ASSERT_FALSE(transport_can_log_write(ends[1]));
    send(1, 2, 'a');
    send(1, 2, 'b');
    CU_ASSERT_FALSE(transport_sleep(ends[1]));
    CU_ASSERT_STRING_EQUAL(received(2), "ab");
    CU_ASSERT_EQUAL(completed(1), 2);
    CU_ASSERT_TRUE(transport_sleep(ends[1]));
    transport_awake(ends[1]);
    links_close();
}

static void nothing_gets_in_or_out_until_it_is_let_in(void)
{
    links_open();
    dev_links_cut_off(links, 2);
    send(1, 2, 'a');
    send(2, 1, 'b');
    send(3, 1, 'c');
    send(1, 3, 'd');
    CU_ASSERT_STRING_EQUAL(received(2), "");
    CU_ASSERT_STRING_EQUAL(received(1), "c");
    CU_ASSERT_STRING_EQUAL(received(3), "d");
    CU_ASSERT_EQUAL(completed(1), 2); /* lost or not */
    CU_ASSERT_EQUAL(completed(2), 1);
    dev_links_cut_off(links, 0);
    CU_ASSERT_STRING_EQUAL(received(2), ""); /* lost for good */
    send(1, 2, 'e');
    send(2, 1, 'f');
    CU_ASSERT_STRING_EQUAL(received(2), "e");
    CU_ASSERT_STRING_EQUAL(received(1), "f");
    links_close();
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_is_not_cut_off_passes),
    UNIT_TEST(nothing_gets_in_or_out_until_it_is_let_in),
};
UNIT_MAIN("dev_link", tests)
