/* A scan and the writer, interleaved at every atomic step of either: keys come, are deleted and forgotten,
 * nodes split, are joined and used again, logs are cut and cleaned, while a page stands between two of its
 * loads.  A page is what the shard held at its commit LSN between where it began and where it ended: no
 * key more, none less, each with its version.  One thread, two stacks, all from one seed. */
#include "engine/land.h"
#include "engine/plant.h"
#include "engine/scan.h"
#include "tests/unit/engine/alternate.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/engine/hooked_atomics.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define SEEDS 300u
#define PAGES 60u
#define KEYS 500u
#define PAST_MAX 400u
#define BYTES (1u << 16)

struct past {
    uint64_t lsn_end;
    uint32_t length; /* of the value; 0: deleted */
};

struct name {
    char bytes[256];
    uint32_t length, count;
    struct past past[PAST_MAX];
};

static struct {
    struct fixture f, saved_f;
    uint8_t *saved, *bytes;
    struct name *names, *names_saved; /* sorted */
    uint64_t seed;
    uint32_t failures, length;
    uint64_t pages, entries, again, cuts, forgotten;
} w;

static void fail(const char *what)
{
    if (w.failures++ < 5)
        (void)fprintf(stderr, "    seed %llu: %s\n", (unsigned long long)w.seed, what);
}

/* ---- the writer ---- */

/* Told before the record is there, so that no reader is ahead; false: it came to nothing. */
static void past_add(struct name *n, uint32_t length)
{
    if (n->count == PAST_MAX) {
        memmove(n->past, n->past + PAST_MAX / 2, sizeof n->past / 2);
        n->count = PAST_MAX / 2;
    }
    n->past[n->count++] = (struct past){.lsn_end = w.f.shard->log.lsn_end, .length = length};
}

static uint32_t length_now(const struct name *n)
{
    return n->count != 0 ? n->past[n->count - 1].length : 0;
}

static void put(struct name *n)
{
    static const uint8_t value[4000];
    uint32_t length = 1 + ++w.length % (alternate_below(8) == 0 ? (uint32_t)sizeof value : 100u);
    if (fixture_put(&w.f, n->bytes, n->length, value, length) == 0)
        past_add(n, length);
}

static void take_out(struct name *n)
{
    if (length_now(n) != 0 && fixture_delete(&w.f, n->bytes, n->length) == 0)
        past_add(n, 0);
}

static void cut(void)
{
    uint64_t lsn = w.f.shard->lsn_committed;
    fixture_answers(&w.f);
    for (uint32_t i = 0; land_cut(w.f.shard, lsn, &w.f.now) != 0; i++) {
        ASSERT(i < 1000);
        (void)fixture_maintain(&w.f);
    }
    w.cuts++;
    for (uint32_t i = 0; i < KEYS; i++)
        while (w.names[i].count != 0 && w.names[i].past[w.names[i].count - 1].lsn_end > lsn)
            w.names[i].count--;
}

static void act(void)
{
    uint32_t first = alternate_below(KEYS), count = 1 + alternate_below(40);
    switch (alternate_below(10)) {
    case 0:
        for (uint32_t i = 0; i < count; i++)
            put(&w.names[(first + i) % KEYS]);
        break;
    case 1:
    case 2:
        for (uint32_t i = 0; i < count; i++)
            take_out(&w.names[(first + i) % KEYS]);
        break;
    case 3:
        cut();
        break;
    case 4:
    case 5:
        fixture_commit(&w.f);
        for (uint32_t i = 1 + alternate_below(6); i != 0; i--)
            (void)fixture_maintain(&w.f);
        break;
    case 6:
        fixture_commit(&w.f);
        break;
    default:
        put(&w.names[first]);
    }
}

/* ---- the reader ---- */

static const struct past *past_at(const struct name *n, uint64_t lsn)
{
    for (uint32_t i = n->count; i-- != 0;)
        if (n->past[i].lsn_end <= lsn)
            return &n->past[i];
    return NULL;
}

static int compare(const struct name *n, const struct order_key *k)
{
    uint32_t shorter = n->length < k->length ? n->length : k->length;
    int compared = memcmp(n->bytes, k->bytes, shorter);
    return compared != 0 ? compared : (n->length > k->length) - (n->length < k->length);
}

static void judge(const struct scan_page *page, const struct order_key *from, uint64_t lsn)
{
    const struct scan_entry *e = (const void *)page->buffer;
    uint32_t left = page->count;
    w.entries += left;
    for (uint32_t i = 0; i < KEYS; i++) {
        const struct name *n = &w.names[i];
        const struct past *past = past_at(n, lsn);
        if (past == NULL || past->length == 0 || compare(n, from) < 0 ||
            (!page->done && compare(n, &page->from) >= 0))
            continue;
        if (left == 0 || e->key_length != n->length ||
            memcmp(scan_entry_key(e), n->bytes, n->length) != 0) {
            fail("a key is missing, or one is there that was not");
            return;
        }
        if (e->value_length != past->length)
            fail("another version");
        e = scan_entry_next(e, false);
        left--;
    }
    if (left != 0)
        fail("a key too many");
}

static void read_page(struct scan_page *page)
{
    struct read_point p;
    struct order_key from = page->from;
    uint64_t committed = HOOKED_LOAD(&w.f.board->lsn_committed, memory_order_relaxed);
    page->count_max = alternate_below(2) == 0 ? 1 + alternate_below(8) : 300;
    if (scan_read(page, &w.f.space, &p) != 0) {
        w.again++;
        return;
    }
    if (p.lsn < committed)
        fail("a page of an older state");
    w.pages++;
    judge(page, &from, p.lsn);
}

static void reader_main(void *argument)
{
    (void)argument;
    struct scan_page *page = malloc(sizeof *page);
    ASSERT(page != NULL);
    *page = (struct scan_page){.buffer = w.bytes, .capacity = BYTES, .done = true};
    for (uint32_t i = 0; i < PAGES; i++) {
        const struct name *n = &w.names[alternate_below(KEYS)];
        if (page->done)
            scan_begin(page, "", 0, n->bytes, alternate_below(2) == 0 ? n->length : 0);
        read_page(page);
        interleave_point();
    }
    free(page);
}

/* ---- a run ---- */

static uint32_t entries_below(uint32_t number)
{
    const struct order_node *n = (const void *)(w.f.arena + ((uint64_t)number << ORDER_NODE_SHIFT));
    struct order_meta m = order_meta_of(order_word(n, 1));
    uint32_t count = m.level == 0 ? m.count : 0;
    for (uint32_t i = 0; m.level != 0 && i < m.count; i++)
        count += entries_below(order_head_payload(order_word(n, order_base(&m) + 2 * i + 1)));
    return count;
}

static uint64_t horizon_now(void)
{
    return HOOKED_LOAD(&w.f.board->lsn_tombstone_horizon, memory_order_relaxed);
}

static void run(uint64_t seed)
{
    fixture_restore(&w.f, w.saved);
    w.f = w.saved_f;
    w.f.now.context = &w.f;
    memcpy(w.names, w.names_saved, KEYS * sizeof *w.names);
    w.seed = seed;
    uint64_t horizon = horizon_now();
    alternate_begin(seed, reader_main);
    while (!alternate.reader_done)
        act();
    alternate_end();
    const struct order *o = &w.f.shard->order;
    w.forgotten += horizon_now() != horizon;
    if (o->root != 0 && entries_below(o->root - 1) != w.f.shard->index.key_count)
        fail("the tree holds other keys than the index");
    if (w.f.shard->live_bytes != fixture_live_bytes(&w.f, NULL))
        fail("live bytes");
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->bytes, ((const struct name *)b)->bytes);
}

/* Long keys, so that a few make many nodes. */
static void open(void)
{
    memset(&w, 0, sizeof w);
    alternate = (struct alternate){.random = 1, .reader_steps = 600, .writer_steps = 5000};
    w.names = calloc(KEYS, sizeof *w.names);
    w.names_saved = calloc(KEYS, sizeof *w.names);
    w.bytes = malloc(BYTES);
    ASSERT(w.names != NULL && w.names_saved != NULL && w.bytes != NULL);
    for (uint32_t i = 0; i < KEYS; i++) {
        struct name *n = &w.names[i];
        memset(n->bytes, 'a' + (int)(i % 3), 150);
        n->length = 150 + (uint32_t)snprintf(n->bytes + 150, 90, "%u/%080u", i % 7, i);
    }
    qsort(w.names, KEYS, sizeof *w.names, by_bytes);
    fixture_open(&w.f, &(struct fixture_config){
                           .quota_bytes = UINT64_C(2) << 20, .shard_count = 1, .ordered = true});
    for (uint32_t i = 0; i < KEYS; i += 2) {
        put(&w.names[i]);
        if (i % 16 == 0)
            fixture_settle(&w.f);
    }
    fixture_settle(&w.f);
    ASSERT(w.f.shard->order.levels == 3 || w.f.shard->order.levels == 2);
    w.saved = fixture_save(&w.f);
    w.saved_f = w.f;
    memcpy(w.names_saved, w.names, KEYS * sizeof *w.names);
}

static void close_all(void)
{
    free(w.names);
    free(w.names_saved);
    free(w.bytes);
    free(w.saved);
    fixture_close(&w.f);
}

static void pages_hold_while_the_tree_changes(void)
{
    open();
    bool all = alternate_seeds(SEEDS, run, &w.failures);
    printf("\n    pages %llu entries %llu again %llu cuts %llu forgotten %llu\n",
           (unsigned long long)w.pages, (unsigned long long)w.entries, (unsigned long long)w.again,
           (unsigned long long)w.cuts, (unsigned long long)w.forgotten);
    CU_ASSERT_EQUAL(w.failures, 0);
    CU_ASSERT(!all ||
              (w.pages != 0 && w.entries != 0 && w.again != 0 && w.cuts != 0 && w.forgotten != 0));
    close_all();
}

#ifdef DUNLIN_PLANT
static void is_found(const char *bug)
{
    open();
    CU_ASSERT_EQUAL(plant_set(bug), 0);
    for (uint64_t seed = 1; seed <= SEEDS && w.failures == 0; seed++)
        run(seed);
    CU_ASSERT_EQUAL(plant_set("none"), 0);
    CU_ASSERT(w.failures != 0);
    close_all();
}

static void planted_bugs_are_found(void)
{
    is_found("node-version-skipped");
    is_found("order-not-undone");
}
#endif

static const struct unit_test tests[] = {
    UNIT_TEST(pages_hold_while_the_tree_changes),
#ifdef DUNLIN_PLANT
    UNIT_TEST(planted_bugs_are_found),
#endif
};
UNIT_MAIN("scan_interleaved", tests)
