/* An agent that reads while chunks go and come again, interleaved with the writer at every atomic step of
 * either.  Each chunk is a file of its own, as in a daemon: the agent has those mapped that it mapped, and what
 * control took is unreachable for the writer.  Every get and every page of a scan that validates is what the
 * shard held at its commit LSN.  One thread, two stacks, all from one seed. */
#include "engine/hash.h"
#include "engine/memory.h"
#include "engine/plant.h"
#include "engine/scan.h"
#include "tests/unit/engine/alternate.h"
#include "tests/unit/engine/chunks.h"
#include "tests/unit/engine/hooked_atomics.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <unistd.h>

#define SEEDS 160u
#define READS 400u
#define KEYS 240u
#define PAST_MAX 400u
#define BYTES (1u << 16)
#define CHUNKS_LEAST 2u
#define CHUNKS_MOST 4u
#define SHRINK_PASSES 400u

struct past {
    uint64_t lsn_end, version; /* version 0: deleted */
    uint32_t length;
};

struct name {
    char bytes[32];
    uint32_t length, count;
    struct past past[PAST_MAX];
};

static struct {
    struct fixture f, saved_f;
    uint8_t *saved, *bytes;
    struct name *names, *names_saved; /* sorted */
    struct memory files[CHUNKS_MOST];
    /* what the agent has */
    struct read_space space;
    uint8_t *mapped;
    uint32_t count;
    uint64_t seed, version;
    uint32_t failures;
    uint64_t gets, pages, again, taken, made, unmapped, refused;
} w;

static void fail(const char *what)
{
    if (w.failures++ < 5)
        (void)fprintf(stderr, "    seed %llu: %s\n", (unsigned long long)w.seed, what);
}

/* ---- chunks ---- */

static uint64_t chunk_bytes(void)
{
    return UINT64_C(1) << w.f.geometry.chunk_shift;
}

static void file_make(struct fixture *f, uint32_t chunk)
{
    ASSERT(w.files[chunk].fd < 0);
    int error = memory_create(&w.files[chunk], "chunk", chunk_bytes(), MEMORY_READ_ONLY, false,
                              f->arena + (uint64_t)chunk * chunk_bytes());
    ASSERT(error == 0);
}

static void file_drop(struct fixture *f, uint32_t chunk)
{
    (void)f;
    memory_destroy(&w.files[chunk], true);
}

static const struct chunks_memory files = {.make = file_make, .drop = file_drop};

/* As libdunlin does: engine/agent/space.c. */
static void agent_map(void)
{
    struct layout_space *h = w.f.header;
    uint32_t generation = HOOKED_LOAD(&h->arena_generation, memory_order_acquire);
    uint32_t exist = HOOKED_LOAD(&h->chunk_count, memory_order_acquire), before = w.count;
    w.count = w.count < exist ? w.count : exist;
    while (w.count != 0 && HOOKED_LOAD(layout_chunk_generation(h, w.count - 1),
                                       memory_order_relaxed) > w.space.arena_generation)
        w.count--;
    if (w.count != before)
        memory_unmap(w.mapped + w.count * chunk_bytes(), (before - w.count) * chunk_bytes());
    w.unmapped += before - w.count;
    for (; w.count < exist; w.count++) {
        uint8_t *at;
        int error = memory_map(&at, dup(w.files[w.count].fd), chunk_bytes(), MEMORY_READ_ONLY,
                               false, w.mapped + w.count * chunk_bytes());
        ASSERT(error == 0);
    }
    w.space.arena_generation = generation;
    w.space.mapped_bytes = w.count * chunk_bytes();
}

/* ---- the writer ---- */

static void past_add(struct name *n, uint64_t version, uint32_t length)
{
    if (n->count == PAST_MAX) {
        memmove(n->past, n->past + PAST_MAX / 2, sizeof n->past / 2);
        n->count = PAST_MAX / 2;
    }
    n->past[n->count++] =
        (struct past){.lsn_end = w.f.shard->log.lsn_end, .version = version, .length = length};
}

static void put(uint32_t i)
{
    static uint8_t value[6000];
    struct name *n = &w.names[i];
    uint32_t length = 8 + alternate_below(alternate_below(3) == 0 ? 5900 : 100);
    fixture_value(i, ++w.version, value, length);
    if (fixture_put(&w.f, n->bytes, n->length, value, length) == 0)
        past_add(n, w.version, length);
}

static void take_out(uint32_t i)
{
    struct name *n = &w.names[i];
    if (n->count != 0 && n->past[n->count - 1].version != 0 &&
        fixture_delete(&w.f, n->bytes, n->length) == 0)
        past_add(n, 0, 0);
}

static void maintain(uint32_t passes)
{
    while (passes-- != 0)
        (void)fixture_maintain(&w.f);
}

/* Have the last chunks left, and take them if that comes to an end. */
static void shrink(void)
{
    uint32_t count = chunks_count(&w.f);
    if (count <= CHUNKS_LEAST)
        return;
    fixture_commit(&w.f);
    chunks_leave(&w.f, CHUNKS_LEAST + alternate_below(count - CHUNKS_LEAST));
    for (uint32_t i = 0; i < SHRINK_PASSES && chunks_answer(&w.f) == 0; i++) {
        if (alternate_below(8) == 0)
            put(alternate_below(KEYS));
        fixture_commit(&w.f);
        maintain(1);
    }
    w.refused += chunks_answer(&w.f) < 0;
    if (chunks_answer(&w.f) == 1)
        chunks_take(&w.f);
    else
        chunks_give_up(&w.f);
    w.taken += count - chunks_count(&w.f);
    maintain(1);
}

static void grow(void)
{
    uint32_t count = chunks_count(&w.f);
    /* As a shard that needs more would. */
    if (HOOKED_LOAD(w.f.chunks_wanted, memory_order_relaxed) <= count && count < CHUNKS_MOST)
        HOOKED_STORE(w.f.chunks_wanted, count + 1, memory_order_relaxed);
    w.made += chunks_grow(&w.f);
}

static void act(void)
{
    uint32_t first = alternate_below(KEYS), count = 1 + alternate_below(400);
    switch (alternate_below(12)) {
    case 0:
    case 1:
    case 2:
        for (uint32_t i = 0; i < count; i++) {
            put((first + i) % KEYS);
            fixture_commit(&w.f);
            maintain(1);
        }
        break;
    case 3:
        for (uint32_t i = 0; i < count / 24; i++)
            take_out((first + i) % KEYS);
        break;
    case 4:
    case 5:
        shrink();
        break;
    case 6:
    case 7:
        grow();
        break;
    case 8:
    case 9:
        fixture_commit(&w.f);
        maintain(1 + alternate_below(6));
        break;
    default:
        put(first);
    }
}

/* ---- the reader ---- */

static const struct past *past_at(const struct name *n, uint64_t lsn)
{
    for (uint32_t i = n->count; i-- != 0;)
        if (n->past[i].lsn_end <= lsn)
            return n->past[i].version != 0 ? &n->past[i] : NULL;
    return NULL;
}

static void get(uint32_t i)
{
    const struct name *n = &w.names[i];
    struct read_key k;
    struct read_point p;
    struct read_found found = {.value_length = 0};
    read_key_init(&k, &w.space, n->bytes, n->length);
    read_begin(&p, &w.space, 0);
    int result = read_find(&p, &w.space, &k, &found);
    if (result == -EFAULT)
        agent_map();
    if (result == 1)
        read_copy(&found, w.bytes, BYTES);
    if (result < 0 || !read_validate(&p, &w.space, result == 0)) {
        w.again++;
        return;
    }
    w.gets++;
    const struct past *past = past_at(n, p.lsn);
    if ((result == 1) != (past != NULL))
        fail(past != NULL ? "a key is missing" : "a key is there that was not");
    else if (past != NULL && (found.value_length != past->length ||
                              !fixture_value_is(i, past->version, w.bytes, past->length)))
        fail("other bytes");
}

static int compare(const struct name *n, const struct order_key *k)
{
    uint32_t shorter = n->length < k->length ? n->length : k->length;
    int compared = memcmp(n->bytes, k->bytes, shorter);
    return compared != 0 ? compared : (n->length > k->length) - (n->length < k->length);
}

static void page_judge(const struct scan_page *page, const struct order_key *from, uint64_t lsn)
{
    const struct scan_entry *e = (const void *)page->buffer;
    uint32_t left = page->count;
    for (uint32_t i = 0; i < KEYS; i++) {
        const struct name *n = &w.names[i];
        const struct past *past = past_at(n, lsn);
        if (past == NULL || compare(n, from) < 0 || (!page->done && compare(n, &page->from) >= 0))
            continue;
        if (left == 0 || e->key_length != n->length ||
            memcmp(scan_entry_key(e), n->bytes, n->length) != 0 ||
            e->value_length != past->length) {
            fail("a page misses a key, or has another");
            return;
        }
        e = scan_entry_next(e, true);
        left--;
    }
    if (left != 0)
        fail("a page has a key too many");
}

static void page_read(struct scan_page *page)
{
    struct read_point p;
    struct order_key from = page->from;
    page->count_max = 1 + alternate_below(60);
    int result = scan_read(page, &w.space, &p);
    if (result == -EFAULT)
        agent_map();
    if (result != 0) {
        w.again++;
        return;
    }
    w.pages++;
    page_judge(page, &from, p.lsn);
}

static void reader_main(void *argument)
{
    (void)argument;
    struct scan_page *page = malloc(sizeof *page);
    ASSERT(page != NULL);
    *page =
        (struct scan_page){.buffer = w.bytes, .capacity = BYTES, .keys_only = true, .done = true};
    for (uint32_t i = 0; i < READS; i++) {
        if (alternate_below(3) != 0) {
            get(alternate_below(KEYS));
        } else {
            if (page->done)
                scan_begin(page, "", 0, "", 0);
            page_read(page);
        }
        interleave_point();
    }
    free(page);
}

/* ---- a run ---- */

static void files_drop(void)
{
    for (uint32_t i = 0; i < CHUNKS_MOST; i++)
        memory_destroy(&w.files[i], true);
}

/* The block as it was saved, each chunk in a file of its own, the agent without any. */
static void restore(void)
{
    files_drop();
    for (uint32_t i = 0; i < CHUNKS_MOST; i++)
        file_make(&w.f, i);
    fixture_restore(&w.f, w.saved);
    w.f = w.saved_f;
    w.f.now.context = &w.f;
    for (uint32_t i = chunks_count(&w.f); i < CHUNKS_MOST; i++)
        file_drop(&w.f, i);
    memory_unmap(w.mapped, CHUNKS_MOST * chunk_bytes());
    w.count = 0;
    w.space = w.f.space;
    w.space.arena = w.mapped;
    w.space.arena_generation = 0;
    w.space.mapped_bytes = 0;
}

static void run(uint64_t seed)
{
    restore();
    memcpy(w.names, w.names_saved, KEYS * sizeof *w.names);
    w.seed = seed;
    w.version = 1000;
    alternate_begin(seed, reader_main);
    while (!alternate.reader_done)
        act();
    alternate_end();
    if (w.f.shard->live_bytes != fixture_live_bytes(&w.f, NULL))
        fail("live bytes");
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->bytes, ((const struct name *)b)->bytes);
}

static void open(void)
{
    memset(&w, 0, sizeof w);
    alternate = (struct alternate){.random = 1, .reader_steps = 600, .writer_steps = 20000};
    w.names = calloc(KEYS, sizeof *w.names);
    w.names_saved = calloc(KEYS, sizeof *w.names);
    w.bytes = malloc(BYTES);
    ASSERT(w.names != NULL && w.names_saved != NULL && w.bytes != NULL);
    for (uint32_t i = 0; i < KEYS; i++)
        w.names[i].length = fixture_key(i, w.names[i].bytes);
    qsort(w.names, KEYS, sizeof *w.names, by_bytes);
    fixture_open(&w.f, &(struct fixture_config){.quota_bytes = UINT64_C(8) << 20,
                                                .shard_count = 1,
                                                .chunks = CHUNKS_MOST - 1,
                                                .ordered = true});
    ASSERT(w.f.geometry.chunk_count_max == CHUNKS_MOST);
    for (uint32_t i = 0; i < CHUNKS_MOST; i++)
        w.files[i].fd = -1;
    for (uint32_t i = 0; i < KEYS; i += 2) {
        put(i);
        fixture_settle(&w.f);
    }
    w.saved = fixture_save(&w.f);
    w.saved_f = w.f;
    memcpy(w.names_saved, w.names, KEYS * sizeof *w.names);
    ASSERT(memory_reserve(&w.mapped, CHUNKS_MOST * chunk_bytes()) == 0);
    chunks_memory = &files;
}

static void close_all(void)
{
    files_drop();
    chunks_memory = NULL;
    memory_unreserve(w.mapped, CHUNKS_MOST * chunk_bytes());
    free(w.names);
    free(w.names_saved);
    free(w.bytes);
    free(w.saved);
    fixture_close(&w.f);
}

static void reads_hold_while_chunks_go_and_come(void)
{
    open();
    bool all = alternate_seeds(SEEDS, run, &w.failures);
    printf(
        "\n    gets %llu pages %llu again %llu taken %llu made %llu unmapped %llu refused %llu\n",
        (unsigned long long)w.gets, (unsigned long long)w.pages, (unsigned long long)w.again,
        (unsigned long long)w.taken, (unsigned long long)w.made, (unsigned long long)w.unmapped,
        (unsigned long long)w.refused);
    CU_ASSERT_EQUAL(w.failures, 0);
    CU_ASSERT(!all || (w.gets != 0 && w.pages != 0 && w.again != 0 && w.taken != 0 && w.made != 0 &&
                       w.unmapped != 0));
    close_all();
}

#ifdef DUNLIN_PLANT
static void planted_chunk_generation_ignored_is_found(void)
{
    open();
    CU_ASSERT_EQUAL(plant_set("chunk-generation-ignored"), 0);
    for (uint64_t seed = 1; seed <= SEEDS && w.failures == 0; seed++)
        run(seed);
    CU_ASSERT_EQUAL(plant_set("none"), 0);
    CU_ASSERT(w.failures != 0);
    close_all();
}
#endif

static const struct unit_test tests[] = {
    UNIT_TEST(reads_hold_while_chunks_go_and_come),
#ifdef DUNLIN_PLANT
    UNIT_TEST(planted_chunk_generation_ignored_is_found),
#endif
};
UNIT_MAIN("leave_interleaved", tests)
