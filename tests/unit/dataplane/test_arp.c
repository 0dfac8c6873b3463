/* Neighbours asked for, answered, aged, and what nobody may teach us. */
#include "dataplane/arp.h"
#include "tests/unit/unit.h"

#define OURS 0x0a000001u
#define PEER 0x0a000002u
#define GATEWAY 0x0a0000feu
#define FAR 0x0b000001u
#define BEGIN (UINT64_C(1000) * NS_PER_S)

static const struct arp_config config = {
    .mac = {{2, 0, 0, 0, 0, 1}}, .address = OURS, .prefix = 24, .gateway = GATEWAY};
static const struct packet_mac peer_mac = {{2, 0, 0, 0, 0, 2}};
static const struct packet_mac other_mac = {{2, 0, 0, 0, 0, 3}};
static struct arp a;
static uint64_t now;
static struct packet_arp sent;
static struct packet_mac to, mac;

static void open(void)
{
    CU_ASSERT_EQUAL_FATAL(arp_init(&a, &config), 0);
    now = BEGIN;
}

static bool same(const struct packet_mac *x, const struct packet_mac *y)
{
    return memcmp(x, y, sizeof *x) == 0;
}

static bool next(void)
{
    return arp_next(&a, now, &sent, &to);
}

static void receive(enum packet_arp_operation operation, uint32_t sender,
                    const struct packet_mac *sender_mac, uint32_t target)
{
    struct packet_arp p = {.operation = operation,
                           .sender = sender,
                           .sender_mac = *sender_mac,
                           .target = target,
                           .target_mac = config.mac};
    arp_receive(&a, &p, now);
}

/* PEER is a neighbour and has answered. */
static void open_known(void)
{
    open();
    CU_ASSERT_EQUAL_FATAL(arp_add(&a, PEER, now), 0);
    CU_ASSERT_TRUE_FATAL(next());
    receive(PACKET_ARP_REPLY, PEER, &peer_mac, OURS);
    CU_ASSERT_TRUE_FATAL(arp_find(&a, PEER, &mac));
}

/* ---- set-up ---- */

static void faults_of_the_configuration_are_refused(void)
{
    struct arp_config c = config;
    c.mac.bytes[0] = 3;
    CU_ASSERT_EQUAL(arp_init(&a, &c), -EINVAL);
    c = config;
    memset(&c.mac, 0, sizeof c.mac);
    CU_ASSERT_EQUAL(arp_init(&a, &c), -EINVAL);
    c = config;
    c.address = 0xe0000001;
    CU_ASSERT_EQUAL(arp_init(&a, &c), -EINVAL);
    c = config;
    c.prefix = 33;
    CU_ASSERT_EQUAL(arp_init(&a, &c), -EINVAL);
    c = config;
    c.gateway = FAR;
    CU_ASSERT_EQUAL(arp_init(&a, &c), -EINVAL);
    c.gateway = OURS;
    CU_ASSERT_EQUAL(arp_init(&a, &c), -EINVAL);
    c.gateway = 0;
    CU_ASSERT_EQUAL(arp_init(&a, &c), 0);
}

static void hops_go_by_the_prefix(void)
{
    open();
    CU_ASSERT_EQUAL(arp_hop(&a, PEER), PEER);
    CU_ASSERT_EQUAL(arp_hop(&a, GATEWAY), GATEWAY);
    CU_ASSERT_EQUAL(arp_hop(&a, FAR), GATEWAY);
    CU_ASSERT_EQUAL(arp_hop(&a, 0x0a000102), GATEWAY);
    CU_ASSERT_EQUAL(arp_hop(&a, OURS), 0);
    CU_ASSERT_EQUAL(arp_hop(&a, 0xe0000001), 0);
    CU_ASSERT_EQUAL(arp_hop(&a, 0), 0);
    a.config.gateway = 0;
    CU_ASSERT_EQUAL(arp_hop(&a, FAR), 0);
    a.config.prefix = 0;
    CU_ASSERT_EQUAL(arp_hop(&a, FAR), FAR);
    a.config.prefix = 32;
    CU_ASSERT_EQUAL(arp_hop(&a, PEER), 0);
}

static void who_cannot_be_reached_is_refused(void)
{
    open();
    CU_ASSERT_EQUAL(arp_add(&a, OURS, now), -EHOSTUNREACH);
    for (uint32_t i = 0; i < ARP_NEIGHBOURS; i++)
        CU_ASSERT_EQUAL(arp_add(&a, PEER + i, now), 0);
    CU_ASSERT_EQUAL(arp_add(&a, FAR, now), -ENOSPC);
    CU_ASSERT_EQUAL(arp_add(&a, PEER, now), 0); /* is there */
    arp_remove(&a, PEER + 5);
    CU_ASSERT_EQUAL(arp_add(&a, FAR, now), 0);
}

static void peers_behind_a_gateway_share_it(void)
{
    open();
    CU_ASSERT_EQUAL(arp_add(&a, FAR, now), 0);
    CU_ASSERT_EQUAL(arp_add(&a, FAR + 1, now), 0);
    CU_ASSERT_TRUE(next());
    CU_ASSERT_EQUAL(sent.target, GATEWAY);
    CU_ASSERT_FALSE(next());
    receive(PACKET_ARP_REPLY, GATEWAY, &peer_mac, OURS);
    CU_ASSERT_TRUE(arp_find(&a, FAR, &mac) && same(&mac, &peer_mac));
    CU_ASSERT_TRUE(arp_find(&a, FAR + 1, &mac) && same(&mac, &peer_mac));
    arp_remove(&a, FAR);
    CU_ASSERT_TRUE(arp_find(&a, FAR + 1, &mac));
    arp_remove(&a, FAR + 1);
    CU_ASSERT_FALSE(arp_find(&a, FAR + 1, &mac));
    CU_ASSERT_EQUAL(arp_deadline(&a), UINT64_MAX);
    arp_remove(&a, FAR + 1); /* nothing is there */
}

/* ---- asking ---- */

static void a_neighbour_is_asked_at_once_and_with_growing_pauses(void)
{
    uint64_t pause = ARP_ASK_MIN_NS;
    open();
    CU_ASSERT_FALSE(next());
    CU_ASSERT_EQUAL(arp_add(&a, PEER, now), 0);
    for (uint32_t i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(arp_deadline(&a), now);
        CU_ASSERT_TRUE(next());
        CU_ASSERT_EQUAL(sent.operation, PACKET_ARP_REQUEST);
        CU_ASSERT_EQUAL(sent.sender, OURS);
        CU_ASSERT_EQUAL(sent.target, PEER);
        CU_ASSERT_TRUE(same(&sent.sender_mac, &config.mac));
        CU_ASSERT_TRUE(same(&to, &packet_broadcast));
        CU_ASSERT_EQUAL(arp_deadline(&a), now + pause);
        now += pause - 1;
        CU_ASSERT_FALSE(next());
        now++;
        pause = min_u64(2 * pause, ARP_ASK_MAX_NS);
        CU_ASSERT_FALSE(arp_find(&a, PEER, &mac));
    }
    CU_ASSERT_EQUAL(a.counters.asked, 10);
}

static void an_answer_is_learned(void)
{
    open_known();
    CU_ASSERT_TRUE(same(&mac, &peer_mac));
    CU_ASSERT_EQUAL(a.counters.learned, 1);
    CU_ASSERT_EQUAL(a.counters.changed, 0);
    CU_ASSERT_EQUAL(arp_deadline(&a), now + ARP_FRESH_NS);
    CU_ASSERT_FALSE(next());
}

static void what_is_known_is_confirmed_before_it_is_too_old(void)
{
    open_known();
    now += ARP_FRESH_NS;
    CU_ASSERT_TRUE(next());
    CU_ASSERT_TRUE(same(&to, &peer_mac)); /* it alone */
    CU_ASSERT_TRUE(arp_find(&a, PEER, &mac));
    receive(PACKET_ARP_REPLY, PEER, &peer_mac, OURS);
    CU_ASSERT_EQUAL(arp_deadline(&a), now + ARP_FRESH_NS);
    CU_ASSERT_EQUAL(a.counters.learned + a.counters.changed, 1);
}

static void what_is_not_confirmed_serves_on_and_is_forgotten_in_time(void)
{
    uint64_t learned = BEGIN;
    uint32_t to_all = 0;
    open_known();
    while (arp_find(&a, PEER, &mac)) {
        now = arp_deadline(&a);
        CU_ASSERT_TRUE_FATAL(now <= learned + ARP_AGE_NS);
        CU_ASSERT_TRUE(next());
        to_all += same(&to, &packet_broadcast);
    }
    CU_ASSERT_EQUAL(now, learned + ARP_AGE_NS);
    CU_ASSERT_EQUAL(a.counters.expired, 1);
    CU_ASSERT_TRUE(to_all > 2);
    receive(PACKET_ARP_REPLY, PEER, &other_mac, OURS);
    CU_ASSERT_TRUE(arp_find(&a, PEER, &mac) && same(&mac, &other_mac));
    CU_ASSERT_EQUAL(a.counters.learned, 2);
    CU_ASSERT_EQUAL(a.counters.changed, 0);
}

static void a_link_that_came_up_has_all_asked_and_nothing_forgotten(void)
{
    open_known();
    arp_link_up(&a, now + 5);
    CU_ASSERT_EQUAL(arp_deadline(&a), now + 5);
    now += 5;
    CU_ASSERT_TRUE(next());
    CU_ASSERT_TRUE(same(&to, &packet_broadcast));
    CU_ASSERT_FALSE(next());
    CU_ASSERT_TRUE(arp_find(&a, PEER, &mac));
}

/* ---- answering ---- */

static void requests_for_us_are_answered_and_no_others(void)
{
    open();
    receive(PACKET_ARP_REQUEST, PEER, &peer_mac, OURS + 7);
    CU_ASSERT_FALSE(next());
    receive(PACKET_ARP_REQUEST, PEER, &peer_mac, OURS);
    CU_ASSERT_EQUAL(arp_deadline(&a), 0);
    CU_ASSERT_TRUE(next());
    CU_ASSERT_EQUAL(sent.operation, PACKET_ARP_REPLY);
    CU_ASSERT_EQUAL(sent.sender, OURS);
    CU_ASSERT_TRUE(same(&sent.sender_mac, &config.mac));
    CU_ASSERT_EQUAL(sent.target, PEER);
    CU_ASSERT_TRUE(same(&sent.target_mac, &peer_mac) && same(&to, &peer_mac));
    CU_ASSERT_FALSE(next());
    CU_ASSERT_EQUAL(a.counters.answered, 1);
}

static void a_probe_is_answered(void)
{
    open();
    receive(PACKET_ARP_REQUEST, 0, &other_mac, OURS);
    CU_ASSERT_TRUE(next());
    CU_ASSERT_TRUE(same(&to, &other_mac) && sent.target == 0);
    CU_ASSERT_EQUAL(a.counters.learned, 0);
}

static void more_requests_than_fit_are_dropped(void)
{
    open();
    for (uint32_t i = 0; i < ARP_ANSWERS + 3; i++)
        receive(PACKET_ARP_REQUEST, PEER, &peer_mac, OURS);
    for (uint32_t i = 0; i < ARP_ANSWERS; i++)
        CU_ASSERT_TRUE(next());
    CU_ASSERT_FALSE(next());
    CU_ASSERT_EQUAL(a.counters.answers_dropped, 3);
}

/* ---- learning ---- */

static void a_request_for_us_of_a_neighbour_teaches(void)
{
    open();
    CU_ASSERT_EQUAL(arp_add(&a, PEER, now), 0);
    receive(PACKET_ARP_REQUEST, PEER, &peer_mac, OURS);
    CU_ASSERT_TRUE(arp_find(&a, PEER, &mac) && same(&mac, &peer_mac));
}

static void strangers_teach_nothing(void)
{
    open_known();
    receive(PACKET_ARP_REPLY, PEER + 1, &other_mac, OURS);
    receive(PACKET_ARP_REQUEST, PEER + 1, &other_mac, OURS);
    CU_ASSERT_EQUAL(a.counters.not_asked_for, 2);
    CU_ASSERT_FALSE(arp_find(&a, PEER + 1, &mac));
    CU_ASSERT_EQUAL(arp_add(&a, PEER + 1, now), 0);
    CU_ASSERT_FALSE(arp_find(&a, PEER + 1, &mac));
    CU_ASSERT_EQUAL(a.counters.learned, 1);
}

static void groups_are_no_stations(void)
{
    static const struct packet_mac group = {{1, 0, 0x5e, 0, 0, 1}};
    static const struct packet_mac none;
    open_known();
    receive(PACKET_ARP_REPLY, PEER, &group, OURS);
    receive(PACKET_ARP_REPLY, PEER, &packet_broadcast, OURS);
    receive(PACKET_ARP_REQUEST, PEER, &none, OURS);
    CU_ASSERT_TRUE(arp_find(&a, PEER, &mac) && same(&mac, &peer_mac));
    CU_ASSERT_FALSE(next());
}

static void another_station_is_taken_and_counted(void)
{
    open_known();
    receive(PACKET_ARP_REPLY, PEER, &other_mac, OURS);
    CU_ASSERT_TRUE(arp_find(&a, PEER, &mac) && same(&mac, &other_mac));
    CU_ASSERT_EQUAL(a.counters.changed, 1);
    CU_ASSERT_EQUAL(a.counters.learned, 1);
}

static void an_announcement_has_the_neighbour_asked_soon_and_not_often(void)
{
    open_known();
    receive(PACKET_ARP_REQUEST, PEER, &peer_mac, PEER); /* says what is known */
    CU_ASSERT_EQUAL(arp_deadline(&a), now + ARP_FRESH_NS);
    for (uint32_t i = 0; i < 5; i++) {
        receive(PACKET_ARP_REQUEST, PEER, &other_mac, PEER);
        now++;
    }
    CU_ASSERT_TRUE(arp_find(&a, PEER, &mac) && same(&mac, &peer_mac));
    CU_ASSERT_EQUAL(a.counters.doubted, 5);
    CU_ASSERT_FALSE(next());
    now = arp_deadline(&a);
    CU_ASSERT_EQUAL(now, BEGIN + ARP_ASK_MIN_NS);
    CU_ASSERT_TRUE(next());
    CU_ASSERT_TRUE(same(&to, &packet_broadcast));
    CU_ASSERT_FALSE(next());
}

static void who_has_our_address_is_counted(void)
{
    open();
    receive(PACKET_ARP_REQUEST, OURS, &other_mac, OURS);
    receive(PACKET_ARP_REPLY, OURS, &other_mac, PEER);
    CU_ASSERT_EQUAL(a.counters.own_address, 2);
    receive(PACKET_ARP_REQUEST, OURS, &config.mac, PEER); /* ours, sent back */
    CU_ASSERT_EQUAL(a.counters.own_address, 2);
    CU_ASSERT_FALSE(next());
}

static const struct unit_test tests[] = {
    UNIT_TEST(faults_of_the_configuration_are_refused),
    UNIT_TEST(hops_go_by_the_prefix),
    UNIT_TEST(who_cannot_be_reached_is_refused),
    UNIT_TEST(peers_behind_a_gateway_share_it),
    UNIT_TEST(a_neighbour_is_asked_at_once_and_with_growing_pauses),
    UNIT_TEST(an_answer_is_learned),
    UNIT_TEST(what_is_known_is_confirmed_before_it_is_too_old),
    UNIT_TEST(what_is_not_confirmed_serves_on_and_is_forgotten_in_time),
    UNIT_TEST(a_link_that_came_up_has_all_asked_and_nothing_forgotten),
    UNIT_TEST(requests_for_us_are_answered_and_no_others),
    UNIT_TEST(a_probe_is_answered),
    UNIT_TEST(more_requests_than_fit_are_dropped),
    UNIT_TEST(a_request_for_us_of_a_neighbour_teaches),
    UNIT_TEST(strangers_teach_nothing),
    UNIT_TEST(groups_are_no_stations),
    UNIT_TEST(another_station_is_taken_and_counted),
    UNIT_TEST(an_announcement_has_the_neighbour_asked_soon_and_not_often),
    UNIT_TEST(who_has_our_address_is_counted),
};
UNIT_MAIN("arp", tests)
