/* Control gives chunks back: when it asks, when it gives up, and that nothing of what went is held. */
#include "dataplane/node_arena.h"

#include "engine/shard.h"
#include "tests/unit/dataplane/ring_agent.h"
#include "tests/unit/unit.h"

#include <dirent.h>

#define SPACE 2u
#define TURNS_MAX 200u

static struct ring_node r;
static struct node_space *s;
static uint64_t now_ns;

static uint32_t count(void)
{
    return atomic_load_explicit(&s->header->chunk_count, memory_order_relaxed);
}

static bool is_leaving(void)
{
    uint64_t word = atomic_load_explicit(&s->header->leave, memory_order_relaxed);
    return word != 0 && (uint32_t)word != LAYOUT_LEAVE_NONE;
}

static uint32_t open_fds(void)
{
    uint32_t fds = 0;
    DIR *d = opendir("/proc/self/fd");
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    while (readdir(d) != NULL)
        fds++;
    (void)closedir(d);
    return fds;
}

/* A node with a space of all its chunks, which was looked at once. */
static void open(void)
{
    struct space_config c;
    ring_node_open(&r, 1, 1);
    space_config_default(&c);
    c.id = SPACE;
    (void)snprintf(c.name, sizeof c.name, "marsh");
    c.shard_count = 3;
    c.quota_bytes = UINT64_C(32) << 20;
    c.sessions_max = 8;
    CU_ASSERT_EQUAL_FATAL(node_space_add(&r.node, &c), 0);
    s = r.node.spaces[SPACE];
    s->chunks_wanted = UINT32_MAX;
    CU_ASSERT_FATAL(node_chunks_grow(&r.node, s) > 8);
    ring_node_passes(&r, 1);
    now_ns = 100 * NS_PER_S;
    CU_ASSERT_EQUAL(node_arena_step(&r.node, s, now_ns), 0);
}

/* One second of control, and of the lcore. */
static uint32_t turn(void)
{
    now_ns += NS_PER_S;
    uint32_t taken = node_arena_step(&r.node, s, now_ns);
    CU_ASSERT(node_chunks_grow(&r.node, s) >= 0);
    ring_node_passes(&r, 50);
    return taken;
}

static void until_leaving(void)
{
    for (uint32_t i = 0; !is_leaving(); i++) {
        CU_ASSERT_FATAL(i < TURNS_MAX);
        now_ns += NS_PER_S;
        CU_ASSERT_EQUAL(node_arena_step(&r.node, s, now_ns), 0);
    }
}

static void a_quiet_space_shrinks_to_the_least(void)
{
    open();
    uint32_t first = count(), fds = open_fds(), taken = 0;
    for (uint32_t i = 1; i < NODE_ARENA_QUIET_NS / NS_PER_S; i++)
        CU_ASSERT_EQUAL(turn(), 0);
    CU_ASSERT_FALSE(is_leaving());
    (void)turn();
    CU_ASSERT_TRUE(is_leaving());
    for (uint32_t i = 0; i < TURNS_MAX; i++)
        taken += turn();
    CU_ASSERT(taken > first / 2);
    CU_ASSERT_EQUAL(count(), first - taken);
    CU_ASSERT_EQUAL(open_fds(), fds - taken);
    CU_ASSERT_EQUAL(s->giving.taken, taken);
    CU_ASSERT_FALSE(is_leaving());
    for (uint32_t i = 0; i < LIMIT_CHUNKS; i++)
        CU_ASSERT_EQUAL(s->chunks[i].fd >= 0, i < count());
    /* And it can have them all again. */
    s->chunks_wanted = UINT32_MAX;
    CU_ASSERT_EQUAL(node_chunks_grow(&r.node, s), (int)taken);
    CU_ASSERT_EQUAL(*layout_chunk_generation(s->header, first - 1), s->header->arena_generation);
    CU_ASSERT_EQUAL(*layout_chunk_generation(s->header, 0), 0);
    ring_node_close(&r);
}

static void who_writes_keeps_what_there_is(void)
{
    open();
    for (uint32_t i = 0; i < TURNS_MAX; i++) {
        /* As if shard 1 had written a chunk's worth in some seconds. */
        s->boards[1].lsn_end += (UINT64_C(1) << s->geometry.chunk_shift) / 8;
        CU_ASSERT_EQUAL(node_arena_step(&r.node, s, now_ns += NS_PER_S), 0);
        CU_ASSERT_FALSE(is_leaving());
    }
    ring_node_close(&r);
}

static void it_gives_up_for_who_wants_more(void)
{
    open();
    uint32_t first = count();
    until_leaving();
    s->chunks_wanted = first;
    CU_ASSERT_EQUAL(node_arena_step(&r.node, s, now_ns), 0);
    CU_ASSERT_FALSE(is_leaving());
    CU_ASSERT_EQUAL(count(), first);
    ring_node_close(&r);
}

static void it_gives_up_when_one_shard_refuses(void)
{
    open();
    until_leaving();
    uint64_t word = s->header->leave;
    s->boards[0].leave_answer = s->boards[1].leave_answer = word;
    s->boards[2].leave_answer = word | LAYOUT_LEAVE_REFUSED;
    CU_ASSERT_EQUAL(node_arena_step(&r.node, s, now_ns), 0);
    CU_ASSERT_FALSE(is_leaving());
    /* Fewer, perhaps; and if not those either, not again soon. */
    s->giving.refused = true;
    until_leaving();
    s->boards[2].leave_answer = s->header->leave | LAYOUT_LEAVE_REFUSED;
    CU_ASSERT_EQUAL(node_arena_step(&r.node, s, now_ns), 0);
    uint64_t since = now_ns;
    until_leaving();
    CU_ASSERT(now_ns - since >= NODE_ARENA_PAUSE_NS);
    ring_node_close(&r);
}

/* An answer to what was asked before is none. */
static void an_old_answer_counts_for_nothing(void)
{
    open();
    until_leaving();
    uint64_t word = s->header->leave;
    for (uint32_t i = 0; i < 3; i++)
        s->boards[i].leave_answer = word;
    s->chunks_wanted = count();
    CU_ASSERT_EQUAL(node_arena_step(&r.node, s, now_ns), 0);
    uint32_t first = count();
    until_leaving();
    CU_ASSERT_EQUAL(node_arena_step(&r.node, s, now_ns), 0);
    CU_ASSERT_EQUAL(count(), first);
    CU_ASSERT_EQUAL(node_arena_step(&r.node, s, now_ns + NODE_ARENA_LEAVE_NS), 0);
    CU_ASSERT_FALSE(is_leaving());
    ring_node_close(&r);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_quiet_space_shrinks_to_the_least), UNIT_TEST(who_writes_keeps_what_there_is),
    UNIT_TEST(it_gives_up_for_who_wants_more),     UNIT_TEST(it_gives_up_when_one_shard_refuses),
    UNIT_TEST(an_old_answer_counts_for_nothing),
};
UNIT_MAIN("node_arena", tests)
