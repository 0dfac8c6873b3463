/* Who watches a node's log memory is told of each piece before it can be named, and before it is unmapped. */
#include "dataplane/node_arena.h"
#include "dataplane/node_change.h"
#include "tests/unit/dataplane/ring_agent.h"
#include "tests/unit/unit.h"

#include <stdio.h>

#define SPACE 2u
#define LATE 3u

static struct ring_node r;
static uint32_t made[LIMIT_SPACES + 1], gone[LIMIT_SPACES + 1];
static uint32_t refused_from; /* this chunk and those behind it */

static uint32_t published(const struct node_space *s)
{
    return atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)&s->header->chunk_count,
                                memory_order_relaxed);
}

/* It is there, and written to as ever. */
static void is_mapped_memory(const struct node_space *s, uint32_t chunk)
{
    uint8_t *base = s->chunks[chunk].base;
    CU_ASSERT_PTR_EQUAL_FATAL(base, s->arena + ((uint64_t)chunk << s->geometry.chunk_shift));
    base[s->chunks[chunk].bytes - 1] = base[s->chunks[chunk].bytes - 1];
}

static bool on_made(void *context, const struct node_space *s, uint32_t chunk)
{
    CU_ASSERT_PTR_EQUAL(context, &r);
    CU_ASSERT_FALSE(node_chunk_is_mapped(s, chunk));
    is_mapped_memory(s, chunk);
    made[s->config.id]++;
    return chunk < refused_from;
}

static void on_gone(void *context, const struct node_space *s, uint32_t chunk)
{
    CU_ASSERT_PTR_EQUAL(context, &r);
    CU_ASSERT(chunk < refused_from);
    is_mapped_memory(s, chunk);
    gone[s->config.id]++;
}

static const struct node_watch watch = {.made = on_made, .gone = on_gone, .context = &r};

static struct space_config config_of(uint32_t id, const char *name)
{
    struct space_config c;
    space_config_default(&c);
    c.id = id;
    (void)snprintf(c.name, sizeof c.name, "%s", name);
    c.shard_count = 3;
    c.quota_bytes = UINT64_C(32) << 20;
    c.sessions_max = 8;
    return c;
}

static void open(void)
{
    const struct space_config c = config_of(SPACE, "marsh");
    memset(made, 0, sizeof made);
    memset(gone, 0, sizeof gone);
    refused_from = UINT32_MAX;
    ring_node_open(&r, 1, 1);
    CU_ASSERT_EQUAL_FATAL(node_space_add(&r.node, &c), 0);
}

static uint32_t mapped(const struct node_space *s)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < LIMIT_CHUNKS; i++)
        count += node_chunk_is_mapped(s, i);
    return count;
}

static void it_is_told_of_what_there_is_and_of_what_comes(void)
{
    open();
    struct node_space *s = r.node.spaces[SPACE];
    uint32_t first = published(s);
    CU_ASSERT_EQUAL(mapped(s), 0);
    node_watch(&r.node, &watch);
    CU_ASSERT_EQUAL(made[SPACE], first);
    CU_ASSERT_EQUAL(made[RING_AGENT_SPACE], published(r.node.spaces[RING_AGENT_SPACE]));
    s->chunks_wanted = first + 3;
    CU_ASSERT_EQUAL(node_chunks_grow(&r.node, s), 3);
    CU_ASSERT_EQUAL(made[SPACE], first + 3);
    CU_ASSERT_EQUAL(mapped(s), first + 3);
    node_watch_end(&r.node);
    CU_ASSERT_EQUAL(gone[SPACE], first + 3);
    CU_ASSERT_EQUAL(mapped(s), 0);
    s->chunks_wanted = first + 4;
    CU_ASSERT_EQUAL(node_chunks_grow(&r.node, s), 1);
    CU_ASSERT_EQUAL(made[SPACE], first + 3);
    ring_node_close(&r);
    CU_ASSERT_EQUAL(gone[SPACE], first + 3);
}

/* Nobody can name a chunk before the count of them says that it is there. */
static bool on_made_early(void *context, const struct node_space *s, uint32_t chunk)
{
    CU_ASSERT(published(s) <= chunk);
    return on_made(context, s, chunk);
}

static void on_gone_late(void *context, const struct node_space *s, uint32_t chunk)
{
    CU_ASSERT(published(s) <= chunk);
    on_gone(context, s, chunk);
}

static void before_it_can_be_named_and_after_it_can(void)
{
    static const struct node_watch strict = {
        .made = on_made_early, .gone = on_gone_late, .context = &r};
    uint64_t now_ns = NS_PER_S;
    open();
    struct node_space *s = r.node.spaces[SPACE];
    node_watch(&r.node, &watch);
    r.node.watch = strict;
    s->chunks_wanted = UINT32_MAX;
    CU_ASSERT(node_chunks_grow(&r.node, s) > 4);
    uint32_t all = published(s);
    CU_ASSERT_EQUAL(mapped(s), all);
    ring_node_passes(&r, 1);
    node_arena_leave(&r.node, s, all - 2, now_ns);
    uint32_t taken = 0;
    for (uint32_t i = 0; i < 1000 && taken == 0; i++) {
        ring_node_passes(&r, 1);
        taken = node_arena_step(&r.node, s, now_ns);
    }
    CU_ASSERT_EQUAL(taken, 2);
    CU_ASSERT_EQUAL(gone[SPACE], 2);
    CU_ASSERT_EQUAL(mapped(s), all - 2);
    /* And there again. */
    s->chunks_wanted = UINT32_MAX;
    CU_ASSERT_EQUAL(node_chunks_grow(&r.node, s), 2);
    CU_ASSERT_EQUAL(mapped(s), all);
    r.node.watch = watch;
    ring_node_close(&r);
    CU_ASSERT_EQUAL(gone[SPACE], all + 2);
    CU_ASSERT_EQUAL(made[SPACE], all + 2);
}

static void a_space_that_is_made_and_dropped_while_it_runs(void)
{
    const struct space_config late = config_of(LATE, "late");
    open();
    node_watch(&r.node, &watch);
    ring_node_passes(&r, 1);
    /* Why without lcores: they are the test's own, and would be waited for. */
    lcore_close(r.lcore);
    r.lcore = NULL;
    CU_ASSERT_EQUAL_FATAL(node_space_add_online(&r.node, &late, r.node.lsn_start, 0), 0);
    struct node_space *s = r.node.spaces[LATE];
    CU_ASSERT(made[LATE] != 0);
    CU_ASSERT_EQUAL(mapped(s), made[LATE]);
    node_space_drop(&r.node, s, 0);
    CU_ASSERT_EQUAL(gone[LATE], made[LATE]);
    CU_ASSERT_EQUAL(gone[SPACE], 0);
    ring_node_close(&r);
}

/* What it could not have is not taken from it. */
static void what_was_refused_is_not_told_of_again(void)
{
    open();
    struct node_space *s = r.node.spaces[SPACE];
    uint32_t first = published(s);
    refused_from = first + 1;
    node_watch(&r.node, &watch);
    s->chunks_wanted = first + 3;
    CU_ASSERT_EQUAL(node_chunks_grow(&r.node, s), 3);
    CU_ASSERT_EQUAL(made[SPACE], first + 3);
    CU_ASSERT_EQUAL(mapped(s), first + 1);
    CU_ASSERT_TRUE(node_chunk_is_mapped(s, first));
    CU_ASSERT_FALSE(node_chunk_is_mapped(s, first + 1));
    ring_node_close(&r);
    CU_ASSERT_EQUAL(gone[SPACE], first + 1);
}

static const struct unit_test tests[] = {
    UNIT_TEST(it_is_told_of_what_there_is_and_of_what_comes),
    UNIT_TEST(before_it_can_be_named_and_after_it_can),
    UNIT_TEST(a_space_that_is_made_and_dropped_while_it_runs),
    UNIT_TEST(what_was_refused_is_not_told_of_again),
};
UNIT_MAIN("node_watch", tests)
