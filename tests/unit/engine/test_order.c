/* The tree of the ordered index against a sorted array: whatever comes and goes, its keys are those that
 * are in, in order, in nodes that are as they must be, and no node is lost. */
#include "engine/order.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define KEYS 6000u

struct name {
    uint32_t length;
    uint8_t bytes[LIMIT_KEY_BYTES];
};

static struct {
    struct fixture f;
    struct order order;
    struct name names[KEYS]; /* sorted, all different */
    bool in[KEYS];
    uint32_t count; /* of names */
    uint64_t random;
} t;

static int by_bytes(const void *a, const void *b)
{
    const struct name *one = a, *other = b;
    uint32_t shorter = one->length < other->length ? one->length : other->length;
    int compared = memcmp(one->bytes, other->bytes, shorter);
    return compared != 0 ? compared : (one->length > other->length) - (one->length < other->length);
}

static uint32_t below(uint32_t n)
{
    return fixture_below(&t.random, n);
}

/* ---- keys of several kinds ---- */

static void make_numbered(struct name *n, uint32_t i)
{
    n->length = (uint32_t)snprintf((char *)n->bytes, 64, "vehicle/%06u", i * 7);
}

/* Short ones of few different bytes, zeros among them: many are the beginning of others. */
static void make_dense(struct name *n, uint32_t i)
{
    (void)i;
    n->length = 1 + below(12);
    for (uint32_t b = 0; b < n->length; b++)
        n->bytes[b] = (uint8_t)(below(4) == 0 ? 255 : below(3));
}

/* Up to the longest, most of it the same. */
static void make_long(struct name *n, uint32_t i)
{
    n->length = LIMIT_KEY_BYTES - below(below(4) == 0 ? 500 : 20);
    memset(n->bytes, 'a', n->length);
    for (uint32_t k = 0; k < 1 + i % 4; k++)
        n->bytes[n->length - 1 - below(below(2) != 0 ? 12 : n->length - 1)] = (uint8_t)below(256);
}

/* The longest, with nothing in common. */
static void make_wild(struct name *n, uint32_t i)
{
    (void)i;
    n->length = LIMIT_KEY_BYTES - below(3);
    for (uint32_t b = 0; b < n->length; b++)
        n->bytes[b] = (uint8_t)below(256);
}

static void make_mixed(struct name *n, uint32_t i)
{
    static void (*const makers[])(struct name *, uint32_t) = {make_numbered, make_dense, make_long,
                                                              make_wild};
    makers[below(4)](n, i);
}

static void open_with(void (*make)(struct name *, uint32_t), uint32_t count, uint64_t seed)
{
    t.random = seed;
    fixture_open(&t.f,
                 &(struct fixture_config){.quota_bytes = UINT64_C(32) << 20, .shard_count = 1});
    t.order = (struct order){
        .board = t.f.board,
        .frames = &t.f.shard->frames,
        .arena = t.f.arena,
        .list = calloc(t.f.geometry.frames_per_shard, sizeof(uint32_t)),
        .enabled = true,
    };
    for (uint32_t i = 0; i < count; i++)
        make(&t.names[i], i);
    qsort(t.names, count, sizeof t.names[0], by_bytes);
    t.count = 0;
    for (uint32_t i = 0; i < count; i++)
        if (t.count == 0 || by_bytes(&t.names[t.count - 1], &t.names[i]) != 0)
            t.names[t.count++] = t.names[i];
    memset(t.in, 0, sizeof t.in);
}

static void close_all(void)
{
    free(t.order.list);
    fixture_close(&t.f);
}

/* ---- the tree, walked ---- */

struct seen {
    uint32_t nodes;
    uint32_t next; /* name */
    bool sound;
};

static const struct order_node *node_of(uint32_t number)
{
    return (const void *)(t.f.arena + ((uint64_t)number << ORDER_NODE_SHIFT));
}

static void entry_check(struct seen *seen, const struct order_key *k, uint32_t payload)
{
    while (seen->next < t.count && !t.in[seen->next])
        seen->next++;
    const struct name *n = &t.names[seen->next];
    seen->sound &= seen->next < t.count && n->length == k->length &&
                   memcmp(n->bytes, k->bytes, k->length) == 0 && payload == seen->next;
    seen->next++;
}

/* An entry against any key. */
static int compare(const struct order_node *n, const struct order_meta *m, uint32_t i,
                   const struct order_key *k)
{
    int place = order_prefix_compare(n, m, k);
    return place != 0 ? -place : order_entry_compare(n, m, i, k);
}

/* low, high: what its keys must lie between; NULL: anything goes. */
static void node_check(struct seen *seen, uint32_t number, uint32_t level,
                       const struct order_key *low, const struct order_key *high)
{
    const struct order_node *n = node_of(number);
    struct order_meta m = order_meta_of(order_word(n, 1));
    struct order_key keys[2];
    seen->nodes++;
    seen->sound &= order_meta_sound(&m) && m.level == level && order_word(n, 0) % 2 == 0;
    for (uint32_t i = 0; i < m.count && seen->sound; i++) {
        struct order_key *k = &keys[i % 2], *after = &keys[(i + 1) % 2];
        uint32_t payload = order_head_payload(order_word(n, order_base(&m) + 2 * i + 1));
        bool equal;
        if (level == 0 || i != 0) {
            seen->sound &= order_key_load(n, &m, i, k);
            seen->sound &= order_find(n, &m, level != 0, k, &equal) == i && equal;
            seen->sound &= low == NULL || compare(n, &m, i, low) >= (level != 0);
            seen->sound &= high == NULL || compare(n, &m, i, high) < 0;
        }
        if (level == 0) {
            entry_check(seen, k, payload);
            continue;
        }
        bool last = i + 1 == m.count;
        if (!last)
            seen->sound &= order_key_load(n, &m, i + 1, after);
        node_check(seen, payload, level - 1, i != 0 ? k : low, last ? high : after);
    }
}

static void check_all(void)
{
    struct seen seen = {.sound = true};
    uint32_t used = 0;
    if (t.order.root != 0)
        node_check(&seen, t.order.root - 1, t.order.levels - 1, NULL, NULL);
    while (seen.next < t.count && !t.in[seen.next])
        seen.next++;
    CU_ASSERT_FATAL(seen.sound && seen.next == t.count);
    for (uint32_t i = 0; i < t.order.frame_count; i++)
        used +=
            atomic_load_explicit(&t.f.directory[t.order.list[i]].bytes_live, memory_order_relaxed);
    uint32_t all = t.order.frame_count << (t.f.geometry.segment_shift - ORDER_NODE_SHIFT);
    CU_ASSERT_FATAL(used == seen.nodes << ORDER_NODE_SHIFT);
    CU_ASSERT_FATAL(all == seen.nodes + t.order.free_count);
    CU_ASSERT_FATAL(atomic_load_explicit(&t.f.board->order_root, memory_order_relaxed) ==
                    t.order.root);
}

static void put(uint32_t i)
{
    CU_ASSERT_FATAL(!t.in[i] && order_make_room(&t.order, 1) == 0);
    order_insert(&t.order, t.names[i].bytes, t.names[i].length, i);
    t.in[i] = true;
}

static void take_out(uint32_t i)
{
    CU_ASSERT_FATAL(t.in[i]);
    order_erase(&t.order, t.names[i].bytes, t.names[i].length);
    t.in[i] = false;
}

static bool retire(void)
{
    t.f.now.context = &t.f;
    bool more = order_step(&t.order, &t.f.shard->reclaim, &t.f.now);
    t.f.now.ticket_done = ++t.f.now.ticket_next;
    (void)reclaim_step(&t.f.shard->reclaim, &t.f.now);
    return more;
}

/* Fills and empties, in turns, at random. */
static void churn(uint32_t steps)
{
    uint32_t lean = 80;
    for (uint32_t step = 0; step < steps; step++) {
        uint32_t i = below(t.count);
        if (step % (t.count * 2) == 0)
            lean = lean == 80 ? 20 : 80;
        if (!t.in[i] && below(100) < lean)
            put(i);
        else if (t.in[i] && below(100) >= lean)
            take_out(i);
        if (step % 977 == 0) {
            (void)retire();
            check_all();
        }
    }
    check_all();
}

static void empty_it(void)
{
    for (uint32_t i = 0; i < t.count; i++)
        if (t.in[i])
            take_out(i);
    check_all();
    CU_ASSERT_EQUAL(t.order.levels, 0);
    (void)retire();
    CU_ASSERT_EQUAL(t.order.frame_count, 0);
}

/* ---- tests ---- */

static void the_tree_holds_what_is_in(void)
{
    static void (*const makers[])(struct name *, uint32_t) = {make_numbered, make_dense, make_long,
                                                              make_wild, make_mixed};
    static const uint32_t counts[] = {6000, 6000, 1500, 1200, 4000};
    for (uint32_t i = 0; i < sizeof makers / sizeof makers[0]; i++) {
        open_with(makers[i], counts[i], 17 + i);
        check_all();
        churn(60000);
        CU_ASSERT(t.order.levels > 1);
        empty_it();
        close_all();
    }
}

/* Keys that come in order fill their nodes; in the other order, too, they need no more than twice that. */
static void keys_in_order_fill_their_nodes(void)
{
    open_with(make_numbered, KEYS, 1);
    for (uint32_t i = 0; i < t.count; i++)
        put(i);
    check_all();
    uint32_t per_frame = 1u << (t.f.geometry.segment_shift - ORDER_NODE_SHIFT);
    uint32_t nodes = t.order.frame_count * per_frame - t.order.free_count;
    CU_ASSERT(nodes < t.count / 120);
    empty_it();
    for (uint32_t i = t.count; i-- > 0;)
        put(i);
    check_all();
    CU_ASSERT(t.order.frame_count * per_frame - t.order.free_count < t.count / 60);
    close_all();
}

/* What is left of many keys fits few nodes. */
static void nodes_that_are_nearly_empty_are_joined(void)
{
    open_with(make_numbered, KEYS, 2);
    for (uint32_t i = 0; i < t.count; i++)
        put(i);
    for (uint32_t i = 0; i < t.count; i++)
        if (i % 40 != 0)
            take_out(i);
    check_all();
    uint32_t per_frame = 1u << (t.f.geometry.segment_shift - ORDER_NODE_SHIFT);
    CU_ASSERT(t.order.frame_count * per_frame - t.order.free_count <= 8);
    close_all();
}

/* The nodes that are left of many lie in few frames: a frame with a few of them is emptied, bit by bit. */
static void frames_that_are_nearly_empty_are_left(void)
{
    for (uint64_t run = 1; run <= 4; run++) {
        open_with(make_wild, 4000, 40 + run);
        for (uint32_t i = 0; i < t.count; i++)
            put(run % 2 == 0 ? i : t.count - 1 - i);
        uint32_t full = t.order.frame_count;
        for (uint32_t i = 0; i < t.count; i++)
            if (i % 60 != 0)
                take_out(i);
        for (uint32_t step = 0; retire(); step++) {
            CU_ASSERT_FATAL(step < 100);
            check_all();
        }
        check_all();
        CU_ASSERT_EQUAL(t.order.leaving, 0);
        CU_ASSERT(full > 4);
        CU_ASSERT_EQUAL(t.order.frame_count, 1);
        churn(5000);
        empty_it();
        close_all();
    }
}

/* What is promised for several keys suffices for them, wherever they go. */
static void room_for_several_is_enough(void)
{
    open_with(make_mixed, 4000, 3);
    for (uint32_t round = 0; round < 900; round++) {
        uint32_t some[LIMIT_TRANSACTION_RECORDS], count = 0, words = 0, splits = 0;
        uint32_t near = below(t.count);
        for (uint32_t i = 0; i < 200 && count < LIMIT_TRANSACTION_RECORDS; i++) {
            uint32_t key = round % 2 == 0 ? below(t.count) : (near + i) % t.count;
            bool twice = t.in[key];
            for (uint32_t j = 0; j < count; j++)
                twice |= some[j] == key;
            if (!twice)
                some[count++] = key;
        }
        for (uint32_t i = 0; i < count; i++)
            words += order_key_words(t.names[some[i]].length);
        for (uint32_t i = 0; i < count; i++)
            splits +=
                order_splits_for(&t.order, t.names[some[i]].bytes, t.names[some[i]].length, words);
        CU_ASSERT_FATAL(order_make_room(&t.order, splits) == 0);
        uint32_t left = t.order.free_count;
        for (uint32_t i = 0; i < count; i++) {
            order_insert(&t.order, t.names[some[i]].bytes, t.names[some[i]].length, some[i]);
            t.in[some[i]] = true;
        }
        CU_ASSERT_FATAL(left - t.order.free_count <= order_nodes_for(&t.order, splits));
        for (uint32_t i = 0; i < t.count; i++)
            if (t.in[i] && below(50) == 0)
                take_out(i);
        if (round % 50 == 0)
            check_all();
    }
    close_all();
}

/* Memory is asked for before a key goes in, and what is not there is said. */
static void without_memory_there_is_no_room(void)
{
    open_with(make_wild, 2000, 4);
    uint32_t in = 0;
    t.f.shard->frames.reserved = frames_available(&t.f.shard->frames) - FRAMES_KEPT - 2;
    while (in < t.count && order_make_room(&t.order, 1) == 0)
        put(in++);
    CU_ASSERT(in != 0 && in < t.count);
    CU_ASSERT_EQUAL(order_make_room(&t.order, 1), -EAGAIN);
    CU_ASSERT(frames_available(&t.f.shard->frames) == FRAMES_KEPT);
    CU_ASSERT_EQUAL(order_frames_wanted(&t.order), 1);
    check_all();
    empty_it();
    close_all();
}

/* A tree that is built beside another is not to be found before it is shown. */
static void one_that_is_built_beside_is_not_shown(void)
{
    open_with(make_numbered, 1000, 5);
    static uint32_t frames[FIXTURE_FRAMES];
    struct order shown = t.order;
    for (uint32_t i = 0; i < t.count; i++)
        put(i);
    shown = t.order;
    uint32_t root = shown.root;
    t.order.root = t.order.levels = t.order.frame_count = t.order.free_count = 0;
    t.order.current = 0;
    t.order.list = calloc(t.f.geometry.frames_per_shard, sizeof(uint32_t));
    t.order.unshown = true;
    memset(t.in, 0, sizeof t.in);
    for (uint32_t i = 0; i < t.count; i += 2)
        put(i);
    CU_ASSERT_EQUAL(atomic_load_explicit(&t.f.board->order_root, memory_order_relaxed), root);
    order_show(&t.order);
    check_all();
    uint32_t count = shown.frame_count;
    CU_ASSERT_EQUAL(order_abandon(&shown, frames), count);
    CU_ASSERT_EQUAL(shown.root, 0);
    check_all();
    CU_ASSERT(order_abandon(&t.order, frames) != 0);
    CU_ASSERT_EQUAL(atomic_load_explicit(&t.f.board->order_root, memory_order_relaxed),
                    LAYOUT_ORDER_GIVEN_UP);
    free(shown.list);
    close_all();
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_tree_holds_what_is_in),
    UNIT_TEST(keys_in_order_fill_their_nodes),
    UNIT_TEST(nodes_that_are_nearly_empty_are_joined),
    UNIT_TEST(frames_that_are_nearly_empty_are_left),
    UNIT_TEST(room_for_several_is_enough),
    UNIT_TEST(without_memory_there_is_no_room),
    UNIT_TEST(one_that_is_built_beside_is_not_shown),
};
UNIT_MAIN("order", tests)
