/* The hold rule where it counts: a real log, its cleaner, and a port that hands frames on by reference.  Who has them
 * keeps some while cleaning goes on: their memory is not used again, nor given back, before they are let go of. */
#include "dataplane/node_arena.h"
#include "dataplane/node_change.h"
#include "tests/unit/dataplane/hold_nodes.h"
#include "tests/unit/unit.h"

/* Last: what it names shadows names of the others. */
#include "tests/unit/dataplane/dpdk_ends.h"

#include <pthread.h>
#include <stdio.h>

#include <rte_mbuf.h>

#define KEPT 4u
#define KEYS 40u
#define FREED 200u /* segments: thrice as many as there are */
#define QUOTA (UINT64_C(8) << 20)
#define START_LSN 1u
#define TURNS 500000u /* what has not come by then never comes */

/* A frame that its receiver has not let go of, and what it said when it came. */
struct kept {
    struct rte_mbuf *mbuf;
    uint32_t frame;
    uint32_t length;
    uint8_t copy[FRAME_BYTES_MAX];
};

static struct hold_nodes n;
static struct kept kept[KEPT];
static uint32_t kept_count, kept_wanted, kept_from; /* of frames from that one on */

static const uint8_t *log_of(const struct rte_mbuf *m)
{
    return rte_pktmbuf_mtod(m->next, const uint8_t *);
}

/* One of a segment, of which it is the first. */
static bool is_wanted(const struct rte_mbuf *m)
{
    if (m->nb_segs != 2 || kept_count == kept_wanted)
        return false;
    uint32_t frame = hold_nodes_frame(&n, log_of(m));
    for (uint32_t i = 0; i < kept_count; i++)
        if (kept[i].frame == frame)
            return false;
    return frame != UINT32_MAX && frame >= kept_from;
}

static void keep(struct rte_mbuf *m)
{
    struct kept *k = &kept[kept_count++];
    *k = (struct kept){
        .mbuf = m, .frame = hold_nodes_frame(&n, log_of(m)), .length = m->next->data_len};
    memcpy(k->copy, log_of(m), k->length);
}

/* What the leader sent goes on; of what is kept, a copy. */
static void between(void)
{
    uint32_t got = catch ();
    for (uint32_t i = 0; i < got; i++) {
        struct rte_mbuf *m = caught[i];
        if (is_wanted(m)) {
            keep(m);
            m = rte_pktmbuf_copy(m, ports[0]->queues[0].pool, 0, UINT32_MAX);
            CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        }
        put(m);
    }
}

static void open(void)
{
    configure();
    port_config.mtu = 9000;
    config_a.frame_bytes = config_b.frame_bytes = TRANSPORT_FRAMED_FRAME_PATH;
    config_a.authentic_only = config_b.authentic_only = true;
    config_a.clock = config_b.clock = NULL;
    open_both();
    const struct hold_nodes_config config = {.ids = {A, B},
                                             .transports = {a, b},
                                             .port = ports[0],
                                             .quota_bytes = QUOTA,
                                             .between = between};
    kept_count = kept_wanted = kept_from = 0;
    hold_nodes_open(&n, &config);
    for (uint32_t i = 0; i < TURNS && dpdk_counters.chain_state != DPDK_CHAIN_PROVEN; i++) {
        hold_nodes_pass(&n);
        count(a);
    }
    CU_ASSERT_EQUAL_FATAL(dpdk_counters.chain_state, DPDK_CHAIN_PROVEN);
}

static void let_go(void)
{
    for (uint32_t i = 0; i < kept_count; i++)
        rte_pktmbuf_free(kept[i].mbuf);
    kept_count = kept_wanted = 0;
}

static void close(void)
{
    let_go();
    for (uint32_t i = 0; i < TURNS && n.nodes[0].lcore->cluster->holds[RING_AGENT_SPACE].total != 0;
         i++)
        hold_nodes_pass(&n);
    CU_ASSERT_EQUAL(n.nodes[0].lcore->cluster->holds[RING_AGENT_SPACE].total, 0);
    hold_nodes_end_lcores(&n);
    hold_nodes_close(&n);
    CU_ASSERT_EQUAL(n.mapped, 0);
    close_both();
}

static void kept_are_as_they_were(void)
{
    for (uint32_t i = 0; i < kept_count; i++)
        CU_ASSERT_EQUAL_FATAL(memcmp(log_of(kept[i].mbuf), kept[i].copy, kept[i].length), 0);
}

/* Write the same keys over and over until that many segments were freed, and all is kept that is to be. */
static void clean(uint64_t segments)
{
    uint64_t until = hold_nodes_counted(&n, COUNTER_SEGMENTS_FREED) + segments;
    for (uint32_t i = 0;
         hold_nodes_counted(&n, COUNTER_SEGMENTS_FREED) < until || kept_count < kept_wanted; i++) {
        CU_ASSERT_FATAL(i < TURNS);
        CU_ASSERT_TRUE_FATAL(hold_nodes_write(&n, i % KEYS));
        kept_are_as_they_were();
    }
}

static uint32_t retiring(const uint32_t *frames)
{
    uint32_t count_retiring = 0;
    for (uint32_t i = 0; i < KEPT; i++)
        count_retiring += hold_nodes_kind(&n, frames[i]) == (FRAME_TAIL | FRAME_RETIRING);
    return count_retiring;
}

static void a_segment_that_a_receiver_has_is_not_used_again(void)
{
    uint32_t frames[KEPT];
    open();
    kept_wanted = KEPT;
    clean(1);
    clean(FREED);
    count(a);
    CU_ASSERT_EQUAL(dpdk_counters.chain_unmapped, 0);
    for (uint32_t i = 0; i < KEPT; i++)
        frames[i] = kept[i].frame;
    /* Nothing leads there any more, and all others have been used thrice. */
    CU_ASSERT_EQUAL(retiring(frames), KEPT);
    let_go();
    for (uint32_t i = 0; i < TURNS && retiring(frames) != 0; i++)
        hold_nodes_pass(&n);
    CU_ASSERT_EQUAL(retiring(frames), 0);
    clean(FREED);
    close();
}

/* A chunk that is to be given back, which one frame on its way lies in. */
static void a_chunk_that_a_receiver_has_is_not_given_back(void)
{
    struct node *node = &n.nodes[0].node;
    uint64_t now_ns = NS_PER_S;
    open();
    n.space->chunks_wanted = UINT32_MAX;
    CU_ASSERT(node_chunks_grow(node, n.space) > 0);
    const struct layout_geometry *g = &n.space->geometry;
    uint32_t last = g->chunk_count_max - 1, mapped = n.mapped;
    CU_ASSERT_EQUAL(mapped, g->chunk_count_max);
    kept_wanted = 1;
    kept_from = last << (g->chunk_shift - g->segment_shift);
    for (uint32_t i = 0; kept_count == 0; i++) {
        CU_ASSERT_FATAL(i < TURNS);
        CU_ASSERT_TRUE_FATAL(hold_nodes_write(&n, i % KEYS));
    }
    node_arena_leave(node, n.space, last, now_ns);
    for (uint32_t i = 0; i < 500; i++) {
        CU_ASSERT_TRUE(hold_nodes_write(&n, i % KEYS));
        CU_ASSERT_EQUAL_FATAL(node_arena_step(node, n.space, now_ns), 0);
        kept_are_as_they_were();
    }
    CU_ASSERT_EQUAL(n.mapped, mapped);
    CU_ASSERT_TRUE(node_chunk_is_mapped(n.space, last));
    let_go();
    uint32_t taken = 0;
    for (uint32_t i = 0; i < TURNS && taken == 0; i++) {
        hold_nodes_pass(&n);
        taken = node_arena_step(node, n.space, now_ns);
    }
    CU_ASSERT_EQUAL(taken, 1);
    CU_ASSERT_EQUAL(n.mapped, mapped - 1);
    CU_ASSERT_FALSE(node_chunk_is_mapped(n.space, last));
    close();
}

/* What the port cannot have is copied, and is no matter to cleaning. */
static void memory_that_the_port_cannot_have_is_copied(void)
{
    open();
    node_watch_end(&n.nodes[0].node);
    CU_ASSERT_EQUAL(n.mapped, 0);
    count(a);
    uint64_t before = dpdk_counters.frames_chained;
    clean(FREED / 4);
    /* Why it may take a while: a learner that was behind is sent no log until it has what is before it. */
    for (uint32_t i = 0; i < TURNS && dpdk_counters.chain_unmapped == 0; i++) {
        CU_ASSERT_TRUE_FATAL(hold_nodes_write(&n, i % KEYS));
        count(a);
    }
    CU_ASSERT(dpdk_counters.chain_unmapped != 0);
    CU_ASSERT_EQUAL(dpdk_counters.frames_chained, before);
    close();
}

/* ---- a space that goes ---- */

static _Atomic uint32_t pump_stops;

static void *pump_run(void *context)
{
    (void)context;
    qsbr_thread_register();
    /* relaxed: it says when, and nothing else */
    while (atomic_load_explicit(&pump_stops, memory_order_relaxed) == 0)
        hold_nodes_pass(&n);
    qsbr_thread_unregister();
    return NULL;
}

/* The lcores go on in a thread of their own, as control is to wait for their passes. */
static pthread_t pump_start(void)
{
    pthread_t thread;
    /* relaxed: as above */
    atomic_store_explicit(&pump_stops, 0, memory_order_relaxed);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, pump_run, NULL), 0);
    return thread;
}

static void pump_stop(pthread_t thread)
{
    /* relaxed: as above */
    atomic_store_explicit(&pump_stops, 1, memory_order_relaxed);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
}

/* Dropped while a receiver has a frame of it: nobody finds it, and its memory is there. */
static void drop_while_kept(void)
{
    struct node *node = &n.nodes[0].node;
    kept_wanted = 1;
    clean(1);
    CU_ASSERT_EQUAL_FATAL(kept_count, 1);
    uint32_t mapped = n.mapped;
    pthread_t pump = pump_start();
    node_space_drop_begin(node, n.space, 0);
    for (uint32_t i = 0; i < 100; i++)
        CU_ASSERT_FALSE(node_space_drop_step(node));
    pump_stop(pump);
    CU_ASSERT_PTR_NULL(node->spaces[RING_AGENT_SPACE]);
    CU_ASSERT_PTR_EQUAL(node->dropped, n.space);
    CU_ASSERT_EQUAL(n.mapped, mapped);
    kept_are_as_they_were();
}

static struct space_config another(uint32_t id)
{
    struct space_config c;
    space_config_default(&c);
    c.id = id;
    (void)snprintf(c.name, sizeof c.name, "sedge%u", id);
    c.shard_count = 1;
    c.quota_bytes = QUOTA;
    c.sessions_max = 8;
    return c;
}

/* Chunks of its spaces that the port has. */
static uint32_t mapped_of(const struct node *node)
{
    uint32_t count = 0;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++)
        for (uint32_t i = 0; node->spaces[id] != NULL && i < LIMIT_CHUNKS; i++)
            count += node_chunk_is_mapped(node->spaces[id], i);
    return count;
}

static void control_goes_on_while_a_receiver_has_a_space_that_was_dropped(void)
{
    struct node *node = &n.nodes[0].node;
    const uint32_t other = RING_AGENT_SPACE + 1;
    struct space_config again = another(RING_AGENT_SPACE), beside = another(other);
    open();
    drop_while_kept();
    CU_ASSERT_EQUAL(node_space_add(node, &again), -EBUSY);

    /* Others come and change meanwhile. */
    pthread_t pump = pump_start();
    CU_ASSERT_EQUAL_FATAL(node_space_add_online(node, &beside, START_LSN, 0), 0);
    beside.quota_bytes *= 2;
    node_space_alter(node, node->spaces[other], &beside, 0);
    CU_ASSERT_FALSE(node_space_drop_step(node));
    pump_stop(pump);
    kept_are_as_they_were();

    let_go();
    for (uint32_t i = 0; i < TURNS && !node_space_drop_step(node); i++)
        hold_nodes_pass(&n);
    CU_ASSERT_PTR_NULL(node->dropped);
    CU_ASSERT_EQUAL(mapped_of(node), n.mapped); /* the other one's alone */
    pump = pump_start();
    CU_ASSERT_EQUAL(node_space_add_online(node, &again, START_LSN, 0), 0);
    node_space_drop(node, node->spaces[other], 0);
    pump_stop(pump);
    CU_ASSERT_EQUAL(mapped_of(node), n.mapped);
    close();
}

/* The daemon ends before it was let go of. */
static void a_space_that_was_dropped_goes_with_its_node(void)
{
    open();
    drop_while_kept();
    close();
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_segment_that_a_receiver_has_is_not_used_again),
    UNIT_TEST(a_chunk_that_a_receiver_has_is_not_given_back),
    UNIT_TEST(memory_that_the_port_cannot_have_is_copied),
    UNIT_TEST(control_goes_on_while_a_receiver_has_a_space_that_was_dropped),
    UNIT_TEST(a_space_that_was_dropped_goes_with_its_node),
};
UNIT_MAIN("hold_rule", tests)
