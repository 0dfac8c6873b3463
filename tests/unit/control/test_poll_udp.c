/* The poll loop over the udp transport: three nodes, their lcores threads, sockets between them. */
#include "control/status.h"
#include "engine/shard.h"
#include "tests/unit/control/udp_cluster.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define ALL 7u
/* Of the length of a value: so that few writes are more than a shard's memory. */
#define LONG_BYTES 6000u
#define LONG_COUNT (UDP_SHARDS * 160u)

static struct udp_client client;

static void finish(uint32_t leader)
{
    CU_ASSERT_TRUE_FATAL(udp_cluster_converges(leader, ALL));
    udp_client_close(&client);
    udp_cluster_stop();
    udp_cluster_compare();
    udp_cluster_close();
}

/* Something that an lcore publishes now and then. */
static bool published(uint32_t node, const char *name, uint64_t least)
{
    for (unsigned i = 0; i < WAIT_MS && udp_cluster_counted(node, 0, name) < least; i++)
        (void)usleep(1000);
    uint64_t counted = udp_cluster_counted(node, 0, name);
    return counted >= least && counted != UINT64_MAX;
}

static bool all_sleep(void)
{
    for (uint32_t n = 0; n < UDP_NODES; n++)
        if (atomic_load_explicit(&nodes[n].node.shared->lcores[0].sleeping, memory_order_relaxed) ==
            0)
            return false;
    return true;
}

/* ---- writing ---- */

static void write_and_move(const struct udp_cluster_options *options)
{
    udp_cluster_open(options);
    udp_client_open(&client, 0);
    udp_client_write(&client, 60, 40, 1);
    udp_client_write(&client, 300, 900, 16);
    CU_ASSERT_TRUE(udp_cluster_converges(0, ALL));
    for (uint32_t leader = 1; leader <= 3; leader++) {
        udp_client_close(&client);
        udp_cluster_move(leader % UDP_NODES);
        udp_client_open(&client, leader % UDP_NODES);
        udp_client_write(&client, 100, 300, 16);
    }
    for (uint32_t n = 0; n < UDP_NODES; n++)
        CU_ASSERT_EQUAL(udp_cluster_counter(n, COUNTER_PEER_PROTOCOL), 0);
    finish(0);
}

static void writes_reach_all_and_leaders_move(void)
{
    write_and_move(&(struct udp_cluster_options){.lcore_count = 1});
}

static void two_lcores_have_endpoints_of_their_own(void)
{
    write_and_move(&(struct udp_cluster_options){.lcore_count = 2});
}

static void tags_alone_will_do(void)
{
    write_and_move(&(struct udp_cluster_options){.lcore_count = 1, .authentic_only = true});
}

static void who_spins_never_sleeps(void)
{
    udp_cluster_open(&(struct udp_cluster_options){.lcore_count = 1, .spin = true});
    udp_client_open(&client, 0);
    udp_client_write(&client, 40, 40, 1);
    for (uint32_t n = 0; n < UDP_NODES; n++)
        CU_ASSERT_EQUAL(udp_cluster_counter(n, COUNTER_SLEEPS), 0);
    finish(0);
}

/* A write with all asleep wakes who is needed: nothing but its datagrams would within the hour. */
static void sleepers_are_woken(void)
{
    udp_cluster_open(&(struct udp_cluster_options){.lcore_count = 1, .hours = true});
    udp_client_open(&client, 0);
    CU_ASSERT_TRUE(udp_cluster_converges(0, ALL));
    for (unsigned i = 0; i < 20; i++) {
        bool asleep = all_sleep(); /* once is enough: one may still have had a word to say */
        for (unsigned wait = 0; wait < WAIT_MS && !asleep; wait++, asleep = all_sleep())
            (void)usleep(1000);
        CU_ASSERT_TRUE_FATAL(asleep);
        udp_client_write(&client, 1, 40, 1);
    }
    finish(0);
}

/* ---- away ---- */

static uint64_t log_end(uint32_t node, uint32_t shard)
{
    return atomic_load_explicit(&nodes[node].node.spaces[RING_AGENT_SPACE]->boards[shard].lsn_end,
                                memory_order_relaxed);
}

static bool is_longer_than(uint64_t since_ns, uint64_t ns)
{
    return clock_boottime_ns() - since_ns > ns;
}

static void who_stood_still_for_long_takes_a_snapshot(void)
{
    udp_cluster_open(&(struct udp_cluster_options){.lcore_count = 1});
    udp_client_open(&client, 0);
    udp_client_write(&client, 50, 300, 8);
    CU_ASSERT_TRUE(udp_cluster_converges(0, ALL));
    udp_cluster_hold(2);
    uint64_t held_at = clock_boottime_ns(), ends[UDP_SHARDS];
    for (uint32_t s = 0; s < UDP_SHARDS; s++)
        ends[s] = log_end(2, s);
    udp_client_write(&client, LONG_COUNT, LONG_BYTES, 8);
    while (!is_longer_than(held_at, 2 * LEASE_NS))
        (void)usleep(1000);
    uint64_t stalls = udp_cluster_counter(2, COUNTER_STALLS);
    udp_cluster_release(2);
    udp_client_write(&client, 50, 300, 8);
    CU_ASSERT_TRUE_FATAL(udp_cluster_converges(0, ALL));
    CU_ASSERT(udp_cluster_counter(2, COUNTER_STALLS) > stalls);
    CU_ASSERT(udp_cluster_counter(2, COUNTER_STALL_LONGEST_NS) >= 2 * LEASE_NS);
    udp_client_close(&client);
    udp_cluster_stop();
    udp_cluster_compare();
    for (uint32_t s = 0; s < UDP_SHARDS; s++)
        CU_ASSERT(nodes[2].node.spaces[RING_AGENT_SPACE]->shards[s]->log.lsn_base > ends[s]);
    udp_cluster_close();
}

static void a_leader_that_stood_still_follows(void)
{
    udp_cluster_open(&(struct udp_cluster_options){.lcore_count = 1});
    udp_client_open(&client, 0);
    udp_client_write(&client, 50, 300, 8);
    udp_client_close(&client);
    udp_cluster_hold(0);
    udp_cluster_move(1);
    udp_client_open(&client, 1);
    udp_client_write(&client, 100, 300, 8);
    CU_ASSERT_TRUE(udp_cluster_converges(1, 6));
    udp_cluster_release(0);
    udp_client_write(&client, 100, 300, 8);
    finish(1);
}

static void who_was_cut_off_catches_up(void)
{
    udp_cluster_open(&(struct udp_cluster_options){.lcore_count = 1});
    udp_client_open(&client, 0);
    for (uint32_t round = 0; round < 3; round++) {
        udp_cluster_cut_off(1 + round % 2);
        udp_client_write(&client, round == 2 ? LONG_COUNT : 40, LONG_BYTES, 8);
        udp_cluster_cut_off(UDP_NODES);
        CU_ASSERT_TRUE_FATAL(udp_cluster_converges(0, ALL));
    }
    finish(0);
}

/* What waits for the pace is slept upon, and sent when it may be. */
static void catching_up_keeps_the_pace(void)
{
    const struct udp_cluster_options options = {.lcore_count = 1, .rate = 4000000, .burst = 20000};
    uint64_t from = clock_boottime_ns();
    udp_cluster_open(&options);
    udp_client_open(&client, 0);
    udp_cluster_cut_off(2);
    udp_client_write(&client, LONG_COUNT / 4, LONG_BYTES, 8);
    udp_cluster_cut_off(UDP_NODES);
    udp_client_write(&client, LONG_COUNT / 4, LONG_BYTES, 8);
    CU_ASSERT_TRUE_FATAL(udp_cluster_converges(0, ALL));
    CU_ASSERT_TRUE(published(0, "bytes_sent", LONG_COUNT / 2 * LONG_BYTES));
    uint64_t sent = udp_cluster_counted(0, 0, "bytes_sent");
    uint64_t elapsed_ns = clock_boottime_ns() - from;
    uint64_t frame = TRANSPORT_FRAMED_FRAME_BYTES; /* the last one may put the tokens below zero */
    CU_ASSERT(sent <= 2 * (options.burst + frame + options.rate * elapsed_ns / NS_PER_S));
    finish(0);
}

static void endpoints_of_a_new_start_come_up_again(void)
{
    udp_cluster_open(&(struct udp_cluster_options){.lcore_count = 2});
    udp_client_open(&client, 0);
    for (uint32_t round = 0; round < 6; round++) {
        udp_cluster_renew(round % UDP_NODES);
        udp_client_write(&client, 40, 300, 8);
    }
    CU_ASSERT_TRUE_FATAL(udp_cluster_converges(0, ALL));
    /* Its own is new as well: what it counted began anew with it. */
    CU_ASSERT_TRUE(published(0, "pairs_up", 3));
    finish(0);
}

/* Of what goes to nobody, per second, at each of the others; and that it was looked at long enough. */
#define NOT_UP_PER_S 1500u
#define HELLOS_PER_S 500u

static void who_is_not_there_yet_is_not_flooded(void)
{
    udp_cluster_open(&(struct udp_cluster_options){.lcore_count = 1, .absent = 3});
    udp_client_open(&client, 0);
    udp_client_write(&client, LONG_COUNT, LONG_BYTES, 8);
    CU_ASSERT_TRUE(published(0, "not_up", 1));
    uint64_t from = clock_boottime_ns();
    uint64_t not_up = udp_cluster_counted(0, 0, "not_up");
    uint64_t hellos = udp_cluster_counted(0, 0, "hellos_sent");
    while (!is_longer_than(from, NS_PER_S))
        (void)usleep(10000);
    not_up = udp_cluster_counted(0, 0, "not_up") - not_up;
    hellos = udp_cluster_counted(0, 0, "hellos_sent") - hellos;
    uint64_t elapsed_ns = clock_boottime_ns() - from;
    CU_ASSERT(not_up * NS_PER_S <= NOT_UP_PER_S * elapsed_ns);
    CU_ASSERT(hellos * NS_PER_S <= HELLOS_PER_S * elapsed_ns);
    udp_cluster_arrive(2);
    udp_client_write(&client, 50, 300, 8);
    finish(0);
}

/* ---- strangers ---- */

struct flood {
    pthread_t thread;
    _Atomic bool stop;
    uint32_t node;
    uint64_t sent;
};

static void *flood_main(void *argument)
{
    struct flood *f = argument;
    uint8_t frame[1200] = {0};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(udp_cluster_port(f->node, 0))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    while (!atomic_load_explicit(&f->stop, memory_order_acquire))
        f->sent += sendto(fd, frame, sizeof frame, 0, (const struct sockaddr *)&to, sizeof to) > 0;
    (void)close(fd);
    return NULL;
}

static void a_flood_starves_nobody(void)
{
    udp_cluster_open(&(struct udp_cluster_options){.lcore_count = 1});
    udp_client_open(&client, 0);
    for (uint32_t node = 0; node < 2; node++) {
        struct flood f = {.node = node};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&f.thread, NULL, flood_main, &f), 0);
        udp_client_write(&client, 100, 300, 4);
        CU_ASSERT_TRUE(published(node, "refused_other_magic", 1000));
        atomic_store_explicit(&f.stop, true, memory_order_release);
        (void)pthread_join(f.thread, NULL);
        CU_ASSERT(f.sent >= 1000);
    }
    finish(0);
}

/* ---- what is told ---- */

static void status_names_what_was_dropped(void)
{
    udp_cluster_open(&(struct udp_cluster_options){.lcore_count = 1});
    udp_client_open(&client, 0);
    CU_ASSERT_TRUE(published(0, "datagrams_received", 1));
    const struct status_source source = {.node = &nodes[0].node};
    char *text = status_json(&source);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"transport\":{\"frames_taken\":"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"refused_wrong_tag\":0,"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"stall_longest_ns\":"));
    CU_ASSERT_PTR_NULL(strstr(text, "\"datagrams_received\":0,"));
    free(text);
    finish(0);
}

static const struct unit_test tests[] = {
    UNIT_TEST(writes_reach_all_and_leaders_move),
    UNIT_TEST(two_lcores_have_endpoints_of_their_own),
    UNIT_TEST(tags_alone_will_do),
    UNIT_TEST(who_spins_never_sleeps),
    UNIT_TEST(sleepers_are_woken),
    UNIT_TEST(who_stood_still_for_long_takes_a_snapshot),
    UNIT_TEST(a_leader_that_stood_still_follows),
    UNIT_TEST(who_was_cut_off_catches_up),
    UNIT_TEST(catching_up_keeps_the_pace),
    UNIT_TEST(endpoints_of_a_new_start_come_up_again),
    UNIT_TEST(who_is_not_there_yet_is_not_flooded),
    UNIT_TEST(a_flood_starves_nobody),
    UNIT_TEST(status_names_what_was_dropped),
};
UNIT_MAIN("poll_udp", tests)
