/* Scans of a shard against a sorted list of what it holds: every range, by pages of every size. */
#include "engine/scan.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define KEYS 3000u
#define VALUE_MAX 200u
#define BUFFER_BYTES (1u << 16)

struct name {
    char bytes[LIMIT_KEY_BYTES];
    uint32_t length;
    uint64_t version; /* committed; 0: none */
    uint64_t pending; /* UINT64_MAX: as committed */
};

static struct {
    struct fixture f;
    struct name names[KEYS]; /* sorted */
    uint64_t random, version;
} t;

alignas(8) static uint8_t buffer[BUFFER_BYTES];

static int by_bytes(const void *a, const void *b)
{
    const struct name *one = a, *other = b;
    uint32_t shorter = one->length < other->length ? one->length : other->length;
    int compared = memcmp(one->bytes, other->bytes, shorter);
    return compared != 0 ? compared : (one->length > other->length) - (one->length < other->length);
}

/* A third are long and have most in common. */
static void name_make(struct name *n, uint32_t i)
{
    memset(n, 0, sizeof *n);
    n->pending = UINT64_MAX;
    if (i % 3 != 0) {
        n->length = (uint32_t)snprintf(n->bytes, 64, "%c/%u/%u", 'a' + (int)(i % 5), i % 17, i);
        return;
    }
    memset(n->bytes, 'c', 450);
    n->length = 450 + (uint32_t)snprintf(n->bytes + 450, 60, "/%u", i);
}

static void open_with(uint64_t seed, uint64_t quota)
{
    t.random = seed;
    t.version = 1;
    fixture_open(&t.f, &(struct fixture_config){
                           .quota_bytes = quota << 20, .shard_count = 1, .ordered = true});
    for (uint32_t i = 0; i < KEYS; i++)
        name_make(&t.names[i], i);
    qsort(t.names, KEYS, sizeof t.names[0], by_bytes);
}

static uint32_t below(uint32_t n)
{
    return fixture_below(&t.random, n);
}

/* ---- writing ---- */

static void write_one(uint32_t i)
{
    static uint8_t value[VALUE_MAX + 8];
    struct name *n = &t.names[i];
    uint64_t now = n->pending != UINT64_MAX ? n->pending : n->version;
    bool remove = now != 0 && below(3) == 0;
    uint64_t version = ++t.version;
    fixture_value(i, version, value, (uint32_t)(version % VALUE_MAX));
    int r = remove ? fixture_delete(&t.f, n->bytes, n->length)
                   : fixture_put(&t.f, n->bytes, n->length, value, (uint32_t)(version % VALUE_MAX));
    CU_ASSERT_FATAL(r == 0 || r == -EAGAIN || r == RING_QUOTA);
    if (r == 0)
        n->pending = remove ? 0 : version;
}

static void commit(void)
{
    fixture_commit(&t.f);
    for (uint32_t i = 0; i < KEYS; i++) {
        if (t.names[i].pending != UINT64_MAX)
            t.names[i].version = t.names[i].pending;
        t.names[i].pending = UINT64_MAX;
    }
}

static void write_some(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        write_one(below(KEYS));
        if (below(40) == 0) {
            commit();
            (void)fixture_maintain(&t.f);
        }
    }
}

/* ---- scanning ---- */

struct asked {
    char prefix[LIMIT_KEY_BYTES], after[LIMIT_KEY_BYTES];
    uint32_t prefix_length, after_length;
    bool keys_only;
};

static bool is_asked(const struct asked *a, const struct name *n)
{
    struct name after = {.length = a->after_length};
    memcpy(after.bytes, a->after, a->after_length);
    return n->version != 0 && n->length >= a->prefix_length &&
           memcmp(n->bytes, a->prefix, a->prefix_length) == 0 &&
           (a->after_length == 0 || by_bytes(n, &after) > 0);
}

/* Returns false where it is not the next one. */
static bool entry_is(const struct asked *a, uint32_t *next, const struct scan_entry *e)
{
    while (*next < KEYS && !is_asked(a, &t.names[*next]))
        ++*next;
    if (*next == KEYS)
        return false;
    const struct name *n = &t.names[*next];
    bool same = e->key_length == n->length && memcmp(scan_entry_key(e), n->bytes, n->length) == 0 &&
                e->value_length == n->version % VALUE_MAX;
    if (same && !a->keys_only)
        same = fixture_value_is(*next, n->version, scan_entry_value(e), e->value_length);
    ++*next;
    return same;
}

static void scan_and_check(const struct asked *a)
{
    struct scan_page page = {.keys_only = a->keys_only, .buffer = buffer};
    struct read_point p;
    uint32_t next = 0, again = 0;
    scan_begin(&page, a->prefix, a->prefix_length, a->after, a->after_length);
    while (!page.done) {
        page.count_max = 1 + below(below(2) == 0 ? 5 : 1000);
        page.capacity = below(4) == 0 ? below(400) : BUFFER_BYTES;
        int error = scan_read(&page, &t.f.space, &p);
        if (error == -ENOBUFS) {
            CU_ASSERT_FATAL(page.wanted > page.capacity && page.wanted < 1024);
            page.capacity = page.wanted;
            error = scan_read(&page, &t.f.space, &p);
        }
        CU_ASSERT_FATAL(error == 0 && again++ < 10 * KEYS);
        const struct scan_entry *e = (const void *)buffer;
        for (uint32_t i = 0; i < page.count; i++, e = scan_entry_next(e, a->keys_only))
            CU_ASSERT_FATAL(entry_is(a, &next, e));
        CU_ASSERT_FATAL((const uint8_t *)e == buffer + page.used);
    }
    while (next < KEYS && !is_asked(a, &t.names[next]))
        next++;
    CU_ASSERT_EQUAL_FATAL(next, KEYS);
}

static void ask_at_random(struct asked *a)
{
    const struct name *n = &t.names[below(KEYS)], *other = &t.names[below(KEYS)];
    memset(a, 0, sizeof *a);
    a->keys_only = below(4) == 0;
    a->prefix_length = below(3) == 0 ? 0 : below(n->length < 460 ? 6 : 460);
    memcpy(a->prefix, n->bytes, a->prefix_length);
    if (below(2) == 0)
        return;
    if (below(2) == 0)
        other = n;
    a->after_length = other->length - (below(3) == 0 ? below(other->length) : 0);
    memcpy(a->after, other->bytes, a->after_length);
    if (below(8) == 0)
        a->after[a->after_length - 1]++;
}

/* ---- tests ---- */

static void an_empty_shard_has_nothing(void)
{
    open_with(1, 8);
    struct asked a = {.prefix_length = 0};
    scan_and_check(&a);
    memcpy(a.prefix, "any", 3);
    a.prefix_length = 3;
    scan_and_check(&a);
    write_one(7); /* not committed */
    a.prefix_length = 0;
    scan_and_check(&a);
    struct scan_page page = {.buffer = buffer, .capacity = BUFFER_BYTES, .count_max = 9};
    struct read_point p;
    scan_begin(&page, "", 0, "", 0);
    CU_ASSERT(scan_read(&page, &t.f.space, &p) == 0 && page.count == 0);
    CU_ASSERT_EQUAL(p.pending, t.f.shard->log.lsn_end);
    commit();
    scan_and_check(&a);
    fixture_close(&t.f);
}

static void pages_are_what_is_committed(void)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        open_with(seed, seed % 2 == 0 ? 4 : 16);
        for (uint32_t round = 0; round < 150; round++) {
            struct asked a;
            write_some(200);
            ask_at_random(&a);
            scan_and_check(&a);
        }
        fixture_settle(&t.f);
        CU_ASSERT(t.f.shard->order.levels > 1);
        CU_ASSERT_EQUAL(t.f.shard->live_bytes, fixture_live_bytes(&t.f, NULL));
        fixture_close(&t.f);
    }
}

/* Keys that are deleted leave the tree when the cleaner gives up their tombstones, and so do its frames. */
static void what_is_forgotten_takes_no_memory(void)
{
    static uint8_t filler[20000];
    open_with(9, 4);
    struct asked a = {.prefix_length = 0};
    write_some(4000);
    commit();
    for (uint32_t i = 0; i < KEYS; i++) {
        if (t.names[i].version == 0)
            continue;
        CU_ASSERT_FATAL(fixture_delete(&t.f, t.names[i].bytes, t.names[i].length) == 0);
        t.names[i].pending = 0;
        if (i % 64 == 0) {
            commit();
            (void)fixture_maintain(&t.f);
        }
    }
    commit();
    scan_and_check(&a);
    for (uint32_t i = 0; i < 400; i++) {
        (void)!fixture_put(&t.f, "~", 1, filler, sizeof filler);
        fixture_settle(&t.f);
    }
    CU_ASSERT_EQUAL(t.f.shard->index.key_count, 1);
    CU_ASSERT_EQUAL(t.f.shard->order.levels, 1);
    CU_ASSERT_EQUAL(t.f.shard->order.frame_count, 1);
    fixture_close(&t.f);
}

/* Keys that all begin alike, and with something else than what is asked for. */
static void a_prefix_that_no_key_has_finds_none(void)
{
    open_with(13, 8);
    static const char *const keys[] = {"6", "66", "6a"};
    for (uint32_t count = 1; count <= sizeof keys / sizeof keys[0]; count++) {
        CU_ASSERT_EQUAL(
            fixture_put(&t.f, keys[count - 1], (uint32_t)strlen(keys[count - 1]), "v", 1), 0);
        fixture_settle(&t.f);
        static const char *const others[] = {"5", "7", "6b", "65"};
        for (uint32_t i = 0; i < sizeof others / sizeof others[0]; i++) {
            struct scan_page page = {.buffer = buffer, .capacity = BUFFER_BYTES, .count_max = 9};
            struct read_point p;
            scan_begin(&page, others[i], (uint32_t)strlen(others[i]), "", 0);
            CU_ASSERT_EQUAL(scan_read(&page, &t.f.space, &p), 0);
            CU_ASSERT_EQUAL(page.count, 0);
        }
    }
    fixture_close(&t.f);
}

/* A page that was put together while a tombstone was given up is no page. */
static void a_page_from_before_the_horizon_is_read_again(void)
{
    open_with(11, 8);
    write_some(500);
    commit();
    struct scan_page page = {.buffer = buffer, .capacity = BUFFER_BYTES, .count_max = 1000};
    struct read_point p;
    scan_begin(&page, "", 0, "", 0);
    uint64_t end = t.f.shard->log.lsn_end;
    atomic_store_explicit(&t.f.board->lsn_tombstone_horizon, end + 8, memory_order_release);
    CU_ASSERT_EQUAL(scan_read(&page, &t.f.space, &p), -EAGAIN);
    atomic_store_explicit(&t.f.board->lsn_tombstone_horizon, end, memory_order_release);
    CU_ASSERT_EQUAL(scan_read(&page, &t.f.space, &p), 0);
    CU_ASSERT(page.count != 0);
    fixture_close(&t.f);
}

/* A node that is being written is waited for, wherever it lies. */
static void a_node_that_is_written_gives_no_page(void)
{
    open_with(12, 8);
    write_some(4000);
    commit();
    struct scan_page page = {.buffer = buffer, .capacity = BUFFER_BYTES, .count_max = 1000};
    struct read_point p;
    scan_begin(&page, "", 0, "", 0);
    uint64_t offset = (uint64_t)(t.f.shard->order.root - 1) << ORDER_NODE_SHIFT;
    struct order_node *root = (void *)(t.f.arena + offset);
    uint64_t version = order_word(root, 0);
    atomic_store_explicit(&root->words[0], version + 1, memory_order_release);
    CU_ASSERT_EQUAL(scan_read(&page, &t.f.space, &p), -EAGAIN);
    atomic_store_explicit(&root->words[0], version, memory_order_release);
    CU_ASSERT_EQUAL(scan_read(&page, &t.f.space, &p), 0);
    t.f.space.mapped_bytes = offset;
    CU_ASSERT_EQUAL(scan_read(&page, &t.f.space, &p), -EFAULT);
    fixture_close(&t.f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(an_empty_shard_has_nothing),
    UNIT_TEST(pages_are_what_is_committed),
    UNIT_TEST(what_is_forgotten_takes_no_memory),
    UNIT_TEST(a_prefix_that_no_key_has_finds_none),
    UNIT_TEST(a_page_from_before_the_horizon_is_read_again),
    UNIT_TEST(a_node_that_is_written_gives_no_page),
};
UNIT_MAIN("scan", tests)
