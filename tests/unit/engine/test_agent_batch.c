/* Batched gets while transactions go on, beside real lcores (agent_node.h): those of a shard are seen as of
 * one moment, also when they have to be read once more, and where no lease covers this machine.  There
 * neither they nor views show what is old where this machine is behind its leader. */
#include "engine/agent/agent.h"
#include "engine/base.h"
#include "engine/limits.h"
#include "engine/read.h"
#include "tests/unit/engine/agent_node.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define LONG_MS 20000
#define SHORT_NS (300 * NS_PER_MS) /* for calls that are to time out */
#define KEYS 3u

static const char *const names[KEYS] = {"{p}/a", "{p}/b", "{p}/c"};

/* What the next validations meet: so many transactions are done just before one each, and so many of the
 * validations then refuse. */
static unsigned writes_between, refuse_validate;
static bool refuse_lease;
/* So many reads begin at an older commit LSN, as at a follower that is behind. */
static unsigned begin_behind;
static uint64_t lsn_behind;
/* So many reads met something above the commit LSN, as at a follower; once a lease covers all but that, the
 * next epoch begins, which cut it. */
static unsigned begin_pending;
static bool epoch_after;
static struct layout_board *epoch_board;
static struct dunlin_space *writer;
static unsigned generation;

/* One value in all keys. */
static void write_all(void)
{
    char value[16];
    struct dunlin_write writes[KEYS];
    size_t length = (size_t)snprintf(value, sizeof value, "%u", ++generation);
    for (unsigned i = 0; i < KEYS; i++)
        writes[i] = (struct dunlin_write){.operation = DUNLIN_PUT,
                                          .key = names[i],
                                          .key_length = strlen(names[i]),
                                          .value = value,
                                          .value_length = length};
    const struct dunlin_transaction t = {.then_writes = writes, .then_count = KEYS};
    CU_ASSERT_EQUAL_FATAL(dunlin_transaction(writer, &t, NULL), 0);
}

void __real_read_begin(struct read_point *p, const struct read_space *s, uint32_t shard);
void __wrap_read_begin(struct read_point *p, const struct read_space *s, uint32_t shard);
void __wrap_read_begin(struct read_point *p, const struct read_space *s, uint32_t shard)
{
    __real_read_begin(p, s, shard);
    if (begin_behind != 0) {
        begin_behind--;
        p->lsn = lsn_behind;
    }
    if (begin_pending != 0) {
        begin_pending--;
        p->pending = UINT64_MAX;
    }
}

bool __real_read_validate(const struct read_point *p, const struct read_space *s, bool missed);
bool __wrap_read_validate(const struct read_point *p, const struct read_space *s, bool missed);
bool __wrap_read_validate(const struct read_point *p, const struct read_space *s, bool missed)
{
    bool good = __real_read_validate(p, s, missed);
    if (writes_between != 0) {
        writes_between--;
        write_all();
    }
    if (refuse_validate != 0) {
        refuse_validate--;
        return false;
    }
    return good;
}

bool __real_read_lease(const struct read_point *p, const struct read_space *s);
bool __wrap_read_lease(const struct read_point *p, const struct read_space *s);
bool __wrap_read_lease(const struct read_point *p, const struct read_space *s)
{
    bool holds = !refuse_lease && p->pending == 0 && __real_read_lease(p, s);
    if (holds && epoch_after) {
        epoch_after = false;
        atomic_fetch_add_explicit(&epoch_board->epoch, 1, memory_order_release);
    }
    return holds;
}
uint64_t __real_read_lease_deadline(const struct read_point *p, const struct read_space *s);
uint64_t __wrap_read_lease_deadline(const struct read_point *p, const struct read_space *s);
uint64_t __wrap_read_lease_deadline(const struct read_point *p, const struct read_space *s)
{
    return refuse_lease || p->pending != 0 ? 0 : __real_read_lease_deadline(p, s);
}

struct world {
    struct agent_node *node;
    struct dunlin *reading, *writing;
    struct dunlin_space *space;
};

static struct world world_make(void)
{
    /* Why so long: a busy machine must not end the lease where one is wanted. */
    const struct agent_node_options options = {
        .shard_count = 2, .history = 8, .lease_ns = 10 * NS_PER_S};
    struct world w = {.node = agent_node_make(&options)};
    w.writing = agent_node_attach(w.node, LONG_MS, &writer);
    w.reading = agent_node_attach(w.node, LONG_MS, &w.space);
    write_all();
    return w;
}

static void world_free(struct world *w)
{
    writes_between = refuse_validate = begin_behind = begin_pending = 0;
    refuse_lease = epoch_after = false;
    dunlin_close(w->reading);
    dunlin_close(w->writing);
    agent_node_free(w->node);
}

/* One value in all of them, at least the one that was written before. */
static void expect_whole(struct world *w, enum dunlin_mode mode)
{
    char values[KEYS][16];
    struct dunlin_get_entry entries[KEYS];
    unsigned before = generation;
    memset(values, 0, sizeof values);
    memset(entries, 0, sizeof entries);
    for (unsigned i = 0; i < KEYS; i++) {
        entries[i].key = names[i];
        entries[i].key_length = strlen(names[i]);
        entries[i].buffer = values[i];
        entries[i].capacity = sizeof values[i] - 1;
        entries[i].read.mode = mode;
    }
    CU_ASSERT_EQUAL_FATAL(dunlin_get_many(w->space, entries, KEYS), 0);
    for (unsigned i = 0; i < KEYS; i++) {
        CU_ASSERT_EQUAL_FATAL(entries[i].result, 0);
        CU_ASSERT_EQUAL(entries[i].read.length, strlen(values[0]));
        CU_ASSERT_STRING_EQUAL(values[i], values[0]);
        CU_ASSERT_TRUE(mode == DUNLIN_LOCAL || strtoul(values[i], NULL, 10) >= before);
    }
}

static void a_batch_that_is_read_again_is_whole(void)
{
    struct world w = world_make();
    for (unsigned times = 1; times < LIMIT_READ_RETRIES; times++)
        for (int mode = DUNLIN_LINEARIZABLE; mode <= DUNLIN_LOCAL; mode++) {
            refuse_validate = times;
            writes_between = times + KEYS;
            expect_whole(&w, (enum dunlin_mode)mode);
        }
    world_free(&w);
}

static void without_a_lease_it_is_whole(void)
{
    struct world w = world_make();
    struct dunlin_info before, after;
    refuse_lease = true;
    for (unsigned i = 0; i < 20; i++) {
        writes_between = 2 * KEYS;
        dunlin_info(w.reading, &before);
        expect_whole(&w, DUNLIN_LINEARIZABLE);
        dunlin_info(w.reading, &after);
        CU_ASSERT_EQUAL(after.reads_by_ring - before.reads_by_ring, 1);
    }
    world_free(&w);
}

static void what_is_behind_is_waited_for(void)
{
    struct world w = world_make();
    struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
    struct dunlin_view view = {.read = {.mode = DUNLIN_LINEARIZABLE}};
    char value[16], newest[16];
    write_all();
    CU_ASSERT_EQUAL(dunlin_get(w.space, names[0], strlen(names[0]), value, sizeof value, &read), 0);
    lsn_behind = read.version.lsn; /* of the transaction's first record: nothing of it is visible */
    size_t length = (size_t)snprintf(newest, sizeof newest, "%u", generation);
    refuse_lease = true;
    for (unsigned behind = 2; behind < 5; behind++) {
        begin_behind = behind;
        expect_whole(&w, DUNLIN_LINEARIZABLE);
        CU_ASSERT_EQUAL(begin_behind, 0);
        begin_behind = behind;
        CU_ASSERT_EQUAL_FATAL(dunlin_view(w.space, names[1], strlen(names[1]), &view), 0);
        CU_ASSERT_EQUAL(begin_behind, 0);
        CU_ASSERT_EQUAL(view.read.length, length);
        CU_ASSERT_EQUAL(memcmp(view.value, newest, length), 0);
        CU_ASSERT_EQUAL(dunlin_release(w.space, &view), 0);
    }
    world_free(&w);
}

/* The epoch is looked at before what it is to be that of; else its end would not be seen, and the wait for
 * what it cut would last until the time is up. */
static void what_the_next_epoch_cut_is_not_waited_for(void)
{
    struct world w = world_make();
    struct node_space *on_node = node_space_find(&w.node->node, "real");
    epoch_board = &on_node->boards[(size_t)dunlin_shard(w.space, names[0], strlen(names[0]))];
    uint64_t epoch = atomic_load_explicit(&epoch_board->epoch, memory_order_acquire);
    expect_whole(&w, DUNLIN_LINEARIZABLE); /* the memory is mapped */
    begin_pending = 2; /* the batch's read, and the one that finds what to wait for */
    epoch_after = true;
    expect_whole(&w, DUNLIN_LINEARIZABLE);
    CU_ASSERT_FALSE(epoch_after); /* what was met had to be waited for */
    CU_ASSERT_EQUAL(begin_pending, 0);
    CU_ASSERT_EQUAL(atomic_load_explicit(&epoch_board->epoch, memory_order_acquire), epoch + 1);
    world_free(&w);
}

static void a_daemon_that_stands_still_is_said(void)
{
    struct world w = world_make();
    struct dunlin_space *space;
    struct dunlin *d = agent_node_attach(w.node, LONG_MS, &space);
    char value[2][16];
    struct dunlin_get_entry entries[2] = {
        {.key = names[0], .key_length = strlen(names[0]), .buffer = value[0], .capacity = 16},
        {.key = names[1], .key_length = strlen(names[1]), .buffer = value[1], .capacity = 16}};
    agent_node_stop_lcores(w.node);
    d->options.timeout_ns = SHORT_NS;
    refuse_lease = true;
    CU_ASSERT_EQUAL(dunlin_get_many(space, entries, 2), 0);
    for (unsigned i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(entries[i].result, -ENOTCONN);
        CU_ASSERT_EQUAL(entries[i].read.length, 0);
        CU_ASSERT_EQUAL(entries[i].read.version.lsn, 0);
    }
    dunlin_close(d);
    world_free(&w);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_batch_that_is_read_again_is_whole),
    UNIT_TEST(without_a_lease_it_is_whole),
    UNIT_TEST(what_is_behind_is_waited_for),
    UNIT_TEST(what_the_next_epoch_cut_is_not_waited_for),
    UNIT_TEST(a_daemon_that_stands_still_is_said),
};
UNIT_MAIN("agent_batch", tests)
