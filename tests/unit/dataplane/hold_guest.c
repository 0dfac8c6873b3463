/* hold_guest CARD CARD - the hold rule with a real driver: two PCI cards that reach each other, given to vfio, a log
 * whose frames leave from its own memory through the IOMMU, its cleaner, and a transmit ring that stands still.
 *
 * The ring is stopped behind the driver's back, in the card's register TCTL: what the driver has posted stays posted.
 * For cards of Intel's 8254x kind only.  Run by tests/vm/hold.test.sh; exit 0, 1 with a word to stdout, 2.
 *
 * Source: Intel, "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual", 13.4.33 (TCTL). */
#include "dataplane/dpdk_eal.h"
#include "dataplane/transport_dpdk.h"
#include "engine/clock.h"
#include "tests/unit/dataplane/hold_nodes.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEYS 40u
#define KEPT 16u
#define WRITES 5000u
#define UDP_PORT 7000u
#define QUOTA (UINT64_C(8) << 20)
#define CHAIN_BYTES 512u
#define BAR_BYTES (UINT64_C(128) << 10)
#define TCTL (0x400 / sizeof(uint32_t))
#define TCTL_EN 0x2u
#define HANGS_NS (180 * NS_PER_S) /* so long nothing takes; it decides nothing else */
#define TICK_PASSES 64u

static struct dpdk_port *ports[2];
static struct transport *ends[2];
static struct hold_nodes n;
static _Atomic uint32_t *registers; /* of the leader's card */

/* A segment that the card may read, as it was when the ring stood still. */
static struct {
    uint32_t frame;
    uint8_t *copy;
} kept[KEPT];
static uint32_t kept_count;

static void fail(const char *what)
{
    printf("FAIL  %s\n", what);
    exit(1);
}

static void check(bool is, const char *what)
{
    if (!is)
        fail(what);
}

static void tick(void)
{
    static uint32_t passes;
    if (passes++ % TICK_PASSES == 0)
        for (uint32_t i = 0; i < 2; i++)
            dpdk_port_tick(ports[i], clock_boottime_ns());
}

/* Let the nodes go on until it is so. */
static void await(bool (*is_so)(void), const char *what)
{
    uint64_t begun = clock_boottime_ns();
    while (!is_so()) {
        hold_nodes_pass(&n);
        check(clock_boottime_ns() - begun < HANGS_NS, what);
    }
    printf("ok    %s\n", what);
}

/* ---- the cards ---- */

static void ports_open(char **cards)
{
    char allow[2][32];
    const char *arguments[] = {"-a", allow[0], "-a", allow[1], "--iova-mode=va", "--no-telemetry"};
    for (uint32_t i = 0; i < 2; i++)
        (void)snprintf(allow[i], sizeof allow[i], "%s", cards[i]);
    const struct dpdk_eal_config eal = {.arguments = arguments,
                                        .argument_count = sizeof arguments / sizeof arguments[0],
                                        .pages = DPDK_EAL_PAGES_SMALL};
    check(dpdk_eal_start(&eal) == 0, "DPDK starts");
    for (uint32_t i = 0; i < 2; i++) {
        const struct dpdk_port_config config = {
            .device = cards[i], .lcore_count = 1, .udp_port = UDP_PORT};
        check(dpdk_port_open(&ports[i], &config) == 0, "a port opens");
    }
    printf("ok    two ports of %s, chained mbufs %s\n", dpdk_port_facts(ports[0])->driver,
           dpdk_port_facts(ports[0])->multi_segs ? "offered" : "not offered");
}

static void registers_open(const char *card)
{
    char path[128];
    (void)snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/resource0", card);
    int fd = open(path, O_RDWR | O_SYNC);
    void *at = fd >= 0 ? mmap(NULL, BAR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : NULL;
    check(fd >= 0 && at != MAP_FAILED, "its registers are there");
    (void)close(fd);
    registers = at;
}

static void ring_stop(bool stops)
{
    /* seq_cst, all: a device's */
    uint32_t word = atomic_load_explicit(&registers[TCTL], memory_order_seq_cst);
    word = stops ? word & ~TCTL_EN : word | TCTL_EN;
    atomic_store_explicit(&registers[TCTL], word, memory_order_seq_cst);
    word = atomic_load_explicit(&registers[TCTL], memory_order_seq_cst);
    check((word & TCTL_EN) == (stops ? 0 : TCTL_EN), "the card does as it is told");
}

static struct sockaddr_storage address_of(uint32_t i)
{
    struct sockaddr_storage to = {0};
    const struct sockaddr_in v4 = {.sin_family = AF_INET,
                                   .sin_port = htons(UDP_PORT),
                                   .sin_addr.s_addr = htonl(0x0a000001 + i)};
    memcpy(&to, &v4, sizeof v4);
    return to;
}

static void ends_open(void)
{
    static const struct transport_framed_secret secret = {.key_id = 4, .bytes = {1, 2, 3}};
    for (uint32_t i = 0; i < 2; i++) {
        const struct transport_dpdk_link link = {
            .port = ports[i], .prefix = 24, .chain_bytes = CHAIN_BYTES};
        const struct transport_framed_config config = {.node = 1 + i,
                                                       .cluster = 5,
                                                       .start = 50,
                                                       .address = address_of(i),
                                                       .secrets = &secret,
                                                       .secret_count = 1,
                                                       .authentic_only = true,
                                                       .length_max = FRAME_LENGTH_MAX,
                                                       .frame_bytes = TRANSPORT_FRAMED_FRAME_PATH};
        const struct sockaddr_storage other = address_of(1 - i);
        check(transport_dpdk_open(&ends[i], &config, &link) == 0 &&
                  transport_framed_add(ends[i], 2 - i, &other) == 0,
              "an endpoint opens");
    }
}

/* ---- what is held ---- */

static uint64_t chained(void)
{
    struct transport_dpdk_counters c;
    transport_dpdk_count(ends[0], &c);
    return c.frames_chained;
}

static struct dpdk_chain *self_test(void)
{
    return &transport_dpdk_of(transport_framed_endpoint_of(ends[0]))->chain->chain;
}

static const struct holds *held(void)
{
    return &n.nodes[0].lcore->cluster->holds[RING_AGENT_SPACE];
}

static uint8_t *segment(uint32_t frame)
{
    return n.space->arena + ((uint64_t)frame << n.space->geometry.segment_shift);
}

static uint64_t segment_bytes(void)
{
    return UINT64_C(1) << n.space->geometry.segment_shift;
}

/* Segments of which something was written since, and is held.  Why only those: this driver lets go of what was sent
 * when it sends more, and then has no more reason to hold the others. */
static void keep(uint64_t lsn_since)
{
    kept_count = 0;
    for (uint32_t frame = 0; frame < held()->frame_count; frame++) {
        /* relaxed: this thread's own */
        uint64_t lsn =
            atomic_load_explicit(&n.space->directory[frame].lsn_start, memory_order_relaxed);
        /* Why not the one that is being filled: it changes behind what was sent of it. */
        if (held()->counts[frame] == 0 || hold_nodes_kind(&n, frame) != FRAME_TAIL ||
            lsn + segment_bytes() <= lsn_since || kept_count == KEPT ||
            frame == n.space->shards[0]->log.tail.frame)
            continue;
        kept[kept_count].frame = frame;
        kept[kept_count].copy = malloc(segment_bytes());
        check(kept[kept_count].copy != NULL, "memory");
        memcpy(kept[kept_count++].copy, segment(frame), segment_bytes());
    }
}

static bool kept_is_held(void)
{
    bool is_held = false;
    for (uint32_t i = 0; i < kept_count; i++)
        is_held |= held()->counts[kept[i].frame] != 0;
    return is_held;
}

static void kept_are_as_they_were(void)
{
    for (uint32_t i = 0; i < kept_count; i++) {
        check(held()->counts[kept[i].frame] != 0, "a segment in the ring is held");
        check(memcmp(kept[i].copy, segment(kept[i].frame), segment_bytes()) == 0,
              "a segment that the card may read is as it was");
    }
}

static void kept_forget(void)
{
    for (uint32_t i = 0; i < kept_count; i++)
        free(kept[i].copy);
    kept_count = 0;
}

static uint32_t kept_retiring(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < kept_count; i++)
        count += hold_nodes_kind(&n, kept[i].frame) == (FRAME_TAIL | FRAME_RETIRING);
    return count;
}

/* ---- steps ---- */

static bool leads_a_learner(void)
{
    return transport_framed_is_up(ends[0], 2, NULL, NULL) &&
           transport_framed_is_up(ends[1], 1, NULL, NULL);
}

static bool self_test_is_over(void)
{
    return self_test()->state != DPDK_CHAIN_UNPROVEN;
}

static uint64_t log_end(uint32_t i)
{
    /* relaxed: a number that only grows */
    return atomic_load_explicit(&n.nodes[i].node.spaces[RING_AGENT_SPACE]->boards[0].lsn_end,
                                memory_order_relaxed);
}

static bool learner_has_all(void)
{
    return log_end(1) == log_end(0);
}

/* Without anything being written: its driver lets go of what was sent when its ring went round (dpdk_press.h). */
static bool all_is_free(void)
{
    return kept_retiring() == 0;
}

static bool nothing_of_it_is_held(void)
{
    return !kept_is_held();
}

static void write_until_freed(uint64_t segments)
{
    uint64_t until = hold_nodes_counted(&n, COUNTER_SEGMENTS_FREED) + segments;
    for (uint32_t i = 0; hold_nodes_counted(&n, COUNTER_SEGMENTS_FREED) < until; i++) {
        check(hold_nodes_write(&n, i % KEYS), "a value is written");
        if (i % 16 == 0)
            kept_are_as_they_were();
    }
    kept_are_as_they_were();
}

/* Write into a ring that stands still until whole segments wait in it. */
static void ring_fill(void)
{
    await(learner_has_all, "the learner has all of it");
    ring_stop(true);
    uint64_t since = log_end(0), until = since + 4 * segment_bytes();
    for (uint32_t i = 0; log_end(0) < until || kept_count == 0; i++) {
        check(i < WRITES, "the card has memory of the log");
        check(hold_nodes_write(&n, i % KEYS), "a value is written");
        if (log_end(0) >= until)
            keep(since);
    }
    printf("ok    the ring stands still: %u segments in %lu datagrams held\n", kept_count,
           (unsigned long)held()->total);
}

static void cleaning_runs(void)
{
    uint32_t all = n.space->geometry.frames_per_shard;
    write_until_freed(2 * (uint64_t)all);
    check(kept_retiring() == kept_count, "what is held waits, and nothing else does");
    printf("ok    %u segments were freed twice over, none of those held\n", all);
    check(n.mapped > 1, "memory that came since is the card's, too");
    printf("ok    %u chunks of log memory mapped by now\n", n.mapped);
}

static bool nothing_is_held(void)
{
    return held()->total == 0;
}

/* Frames that say something. */
static uint64_t frames_own(void)
{
    const struct dpdk_queue_counters *c = &dpdk_port_queue(ports[0], 0)->counters;
    return c->sent - c->pushed;
}

/* A log to which nothing is written: what is held comes back long before heartbeats have gone round the ring. */
static void rest(void)
{
    await(learner_has_all, "the learner has all of it");
    for (uint32_t i = 0; i < 8; i++)
        check(hold_nodes_write(&n, i), "a value is written");
    await(learner_has_all, "the learner has all of it");
    uint64_t total = held()->total, before = frames_own();
    await(nothing_is_held, "nothing of a log at rest is held");
    uint64_t own = frames_own() - before;
    printf("      %lu datagrams were, until %lu frames more\n", (unsigned long)total,
           (unsigned long)own);
    check(own < ports[0]->descriptors_out / 2, "what the nodes say by themselves did not do it");
}

static void run(void)
{
    await(leads_a_learner, "the nodes hear each other");
    await(self_test_is_over, "the self-test of chained frames has a verdict");
    printf("      which is: %s\n", dpdk_chain_state_name(self_test()->state));
    /* Why all the same: a card that lets go late is refused, as it may keep what an idle log would give back. */
    self_test()->state = DPDK_CHAIN_PROVEN;
    for (uint32_t i = 0; i < 4 * KEYS; i++)
        check(hold_nodes_write(&n, i % KEYS), "a value is written");
    await(learner_has_all, "the card read the log's memory right");
    check(chained() > 4 * KEYS, "frames were chained");
    printf("ok    %lu frames chained\n", (unsigned long)chained());
    ring_fill();
    cleaning_runs();
    ring_stop(false);
    await(all_is_free, "the ring goes on: the segments are free");
    kept_forget();
    ring_fill();
    cleaning_runs();
    dpdk_port_ask_reset(ports[0]);
    await(nothing_of_it_is_held, "the port was reset: they are held no more");
    await(all_is_free, "and the segments are free");
    kept_forget();
    rest();
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: hold_guest CARD CARD\n");
        return 2;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    ports_open(argv + 1);
    registers_open(argv[1]);
    ends_open();
    const struct hold_nodes_config config = {.ids = {1, 2},
                                             .transports = {ends[0], ends[1]},
                                             .port = ports[0],
                                             .quota_bytes = QUOTA,
                                             .between = tick};
    hold_nodes_open(&n, &config);
    printf("ok    %u chunks of log memory mapped for the card\n", n.mapped);
    check(n.mapped != 0, "the card may read the log");
    run();
    hold_nodes_end_lcores(&n);
    for (uint32_t i = 0; i < 2; i++)
        transport_dpdk_close(ends[i]);
    for (uint32_t i = 0; i < 2; i++)
        dpdk_port_stop(ports[i]);
    hold_nodes_close(&n);
    check(n.mapped == 0, "all memory is given back");
    for (uint32_t i = 0; i < 2; i++)
        dpdk_port_close(ports[i]);
    dpdk_eal_stop();
    printf("ok    closed, all memory unmapped\n");
    return 0;
}
