/* One writer drives a shard as an lcore would, in an arena so small that segments are reused all
 * the time; readers read in place, hold views, and check every byte: torture_shard [SECONDS].
 *
 * A value is made from (key, version), so any mix-up shows.  What a read must be, by tables that
 * the writer keeps: no older than what was committed before the read began; nothing only if the key
 * was deleted meanwhile or before.  Exit 0: no violation, and everything that is counted happened.
 */
#include "engine/clock.h"
#include "engine/scan.h"
#include "tests/unit/engine/fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEYS 64u
#define READERS 2u
#define VALUE_MAX 3000u
#define SCAN_BYTES (1u << 15)

struct key_state {
    alignas(CACHE_LINE) _Atomic uint64_t committed; /* version; odd: there, even: deleted */
    _Atomic uint64_t appended;
};

struct reader {
    pthread_t thread;
    struct ring_pins pins;
    uint64_t seed;
    uint64_t reads, found, missed, retries, views, views_unsafe, again;
    uint64_t lsn_seen[KEYS];
    uint64_t pages, pages_again;
    uint64_t violations;
    uint8_t value[VALUE_MAX + 8];
};

static struct {
    struct fixture f;
    struct key_state keys[KEYS];
    struct reader readers[READERS];
    _Atomic bool stop;
} t;

static void violation(struct reader *r, const char *what, uint32_t key)
{
    if (r->violations++ < 5)
        (void)fprintf(stderr, "torture_shard: %s, key %u\n", what, key);
}

/* ---- readers ---- */

static bool value_is_sound(uint32_t key, const uint8_t *value, uint32_t length, uint64_t *version)
{
    if (length < 8)
        return false;
    memcpy(version, value, 8);
    return fixture_value_is(key, *version, value + 8, length - 8);
}

/* Hold a view for some time; whatever was read of it counts only if its segment was not given up.
 */
static void view(struct reader *r, const struct read_point *p, const struct read_found *found,
                 uint32_t key)
{
    _Atomic uint64_t *pin = &r->pins.pin[0];
    /* relaxed: V1's fence orders it */
    atomic_store_explicit(pin, ring_pin_make(1, found->frame), memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (read_pin_holds(p, &t.f.space, found->frame) && read_validate(p, &t.f.space, false)) {
        for (uint32_t i = fixture_below(&r->seed, 200); i != 0; i--)
            cpu_relax();
        if (fixture_below(&r->seed, 64) == 0)
            (void)usleep(fixture_below(&r->seed, 3000)); /* sometimes beyond the time of a view */
        uint64_t version;
        read_copy(found, r->value, VALUE_MAX);
        bool sound = value_is_sound(key, r->value, found->value_length, &version);
        atomic_thread_fence(memory_order_acquire);
        bool safe = atomic_load_explicit(&t.f.directory[found->frame].stamp,
                                         memory_order_relaxed) <= p->reclaim_count;
        r->views++;
        r->views_unsafe += !safe;
        if (safe && !sound)
            violation(r, "a safe view changed", key);
    }
    atomic_store_explicit(pin, 0, memory_order_release);
}

struct bounds {
    uint64_t committed, appended;
};

static void judge_found(struct reader *r, const struct read_point *p,
                        const struct read_found *found, uint32_t key, struct bounds before)
{
    uint64_t version = 0;
    uint64_t appended = atomic_load_explicit(&t.keys[key].appended, memory_order_acquire);
    r->found++;
    if (!value_is_sound(key, r->value, found->value_length, &version))
        violation(r, "a value of no version", key);
    else if (version < before.committed || version > appended)
        violation(r, "a version out of its time", key);
    if (found->lsn < r->lsn_seen[key])
        violation(r, "an older version than before", key);
    r->lsn_seen[key] = found->lsn;
    if (fixture_below(&r->seed, 8) == 0)
        view(r, p, found, key);
}

static void judge_missed(struct reader *r, uint32_t key, struct bounds before)
{
    uint64_t appended = atomic_load_explicit(&t.keys[key].appended, memory_order_acquire);
    r->missed++;
    /* there at the beginning, and no delete since: versions go up by one, deletes are even */
    if (before.committed % 2 == 1 && appended == before.committed)
        violation(r, "nothing where something was", key);
}

static void read_one(struct reader *r)
{
    uint32_t key = fixture_below(&r->seed, KEYS);
    char name[32];
    struct read_key k;
    struct bounds before = {
        .committed = atomic_load_explicit(&t.keys[key].committed, memory_order_acquire),
    };
    read_key_init(&k, &t.f.space, name, fixture_key(key, name));
    for (;;) {
        struct read_point p;
        struct read_found found;
        r->reads++;
        read_begin(&p, &t.f.space, 0);
        int result = read_find(&p, &t.f.space, &k, &found);
        if (result < 0) {
            r->again++;
            continue;
        }
        if (result == 1)
            read_copy(&found, r->value, VALUE_MAX);
        if (!read_validate(&p, &t.f.space, result == 0)) {
            r->retries++;
            continue;
        }
        if (result == 1)
            judge_found(r, &p, &found, key, before);
        else
            judge_missed(r, key, before);
        return;
    }
}

/* A page from some key on: in order, each value of some version of its key. */
static void read_page(struct reader *r)
{
    alignas(8) uint8_t bytes[SCAN_BYTES];
    struct scan_page page = {.buffer = bytes, .capacity = sizeof bytes};
    struct read_point p;
    struct order_key last;
    char name[32];
    uint32_t length = fixture_key(fixture_below(&r->seed, KEYS), name);
    page.count_max = 1 + fixture_below(&r->seed, 40);
    scan_begin(&page, name, 5, name, length);
    last = page.from;
    int error = scan_read(&page, &t.f.space, &p);
    r->pages_again += error != 0;
    r->pages += error == 0;
    const struct scan_entry *e = (const void *)bytes;
    for (uint32_t i = 0; i < page.count; i++, e = scan_entry_next(e, false)) {
        uint64_t version;
        uint32_t key = (uint32_t)strtoul((const char *)scan_entry_key(e) + 4, NULL, 10);
        uint32_t shorter = e->key_length < last.length ? e->key_length : last.length;
        int compared = memcmp(scan_entry_key(e), last.bytes, shorter);
        if (compared < 0 || (compared == 0 && e->key_length < last.length))
            violation(r, "a page out of order", key);
        if (key < KEYS && !value_is_sound(key, scan_entry_value(e), e->value_length, &version))
            violation(r, "a page with a value of no version", key);
        order_key_set(&last, scan_entry_key(e), e->key_length);
    }
}

static void *reader_main(void *argument)
{
    struct reader *r = argument;
    while (!atomic_load_explicit(&t.stop, memory_order_acquire)) {
        read_one(r);
        if (fixture_below(&r->seed, 8) == 0)
            read_page(r);
    }
    return NULL;
}

/* ---- the writer ---- */

static bool any_pin(void *context, uint32_t frame)
{
    (void)context;
    for (unsigned i = 0; i < READERS; i++)
        /* relaxed: W2's fence orders it */
        if (atomic_load_explicit(&t.readers[i].pins.pin[0], memory_order_relaxed) ==
            ring_pin_make(1, frame))
            return true;
    return false;
}

/* What was appended in this pass, to be told when it is committed. */
static struct {
    uint32_t key[LIMIT_BATCH];
    uint64_t version[LIMIT_BATCH];
    uint32_t count;
} batch;

static void write_one(uint64_t *seed)
{
    static uint8_t value[VALUE_MAX + 8];
    uint32_t key = fixture_below(seed, KEYS);
    uint64_t last = atomic_load_explicit(&t.keys[key].appended, memory_order_relaxed);
    bool put = last % 2 == 0 || fixture_below(seed, 4) != 0;
    uint64_t version = last + (put && last % 2 == 1 ? 2 : 1);
    char name[32];
    uint32_t name_length = fixture_key(key, name);
    uint32_t length = 8 + fixture_below(seed, VALUE_MAX - 16);
    memcpy(value, &version, 8);
    fixture_value(key, version, value + 8, length - 8);
    /* before it can be seen */
    atomic_store_explicit(&t.keys[key].appended, version, memory_order_release);
    int r = put ? fixture_put(&t.f, name, name_length, value, length)
                : fixture_delete(&t.f, name, name_length);
    if (r != 0) {
        atomic_store_explicit(&t.keys[key].appended, last, memory_order_release);
        return;
    }
    batch.key[batch.count] = key;
    batch.version[batch.count++] = version;
}

/* New keys, so that the index grows; each is deleted a while later. */
static void churn_index(uint64_t *next)
{
    char name[32];
    for (unsigned i = 0; i < 8; i++) {
        uint64_t n = *next % 12000;
        uint32_t length = fixture_key(1000 + (uint32_t)n, name);
        if (*next / 12000 % 2 == 0)
            (void)fixture_put(&t.f, name, length, name, 8);
        else
            (void)fixture_delete(&t.f, name, length);
        ++*next;
    }
}

static void write_for(double seconds)
{
    uint64_t seed = 1, churned = 0;
    uint64_t end = clock_boottime_ns() + (uint64_t)(seconds * 1e9);
    while (clock_boottime_ns() < end) {
        batch.count = 0;
        for (uint32_t i = 1 + fixture_below(&seed, 16); i != 0; i--)
            write_one(&seed);
        churn_index(&churned);
        fixture_commit(&t.f);
        for (uint32_t i = 0; i < batch.count; i++)
            /* release: who sees it finds it committed */
            atomic_store_explicit(&t.keys[batch.key[i]].committed, batch.version[i],
                                  memory_order_release);
        t.f.now.ticks = clock_tsc_ordered();
        (void)fixture_maintain(&t.f);
    }
}

/* ---- both ---- */

static int report(void)
{
    struct reader sum = {.reads = 0};
    for (unsigned i = 0; i < READERS; i++) {
        const struct reader *r = &t.readers[i];
        sum.reads += r->reads;
        sum.found += r->found;
        sum.missed += r->missed;
        sum.retries += r->retries;
        sum.again += r->again;
        sum.views += r->views;
        sum.views_unsafe += r->views_unsafe;
        sum.pages += r->pages;
        sum.pages_again += r->pages_again;
        sum.violations += r->violations;
    }
    uint64_t freed = fixture_counter(&t.f, COUNTER_SEGMENTS_FREED);
    uint32_t bits = t.f.shard->index.table.bits;
    printf("reads %llu found %llu missed %llu invalid %llu again %llu views %llu unsafe %llu, "
           "segments freed %llu, index bits %u, violations %llu\n",
           (unsigned long long)sum.reads, (unsigned long long)sum.found,
           (unsigned long long)sum.missed, (unsigned long long)sum.retries,
           (unsigned long long)sum.again, (unsigned long long)sum.views,
           (unsigned long long)sum.views_unsafe, (unsigned long long)freed, bits,
           (unsigned long long)sum.violations);
    printf("pages %llu again %llu, levels of the tree %u\n", (unsigned long long)sum.pages,
           (unsigned long long)sum.pages_again, t.f.shard->order.levels);
    bool met = sum.pages != 0 && sum.found != 0 && sum.missed != 0 && sum.views != 0 &&
               freed > 20 && bits > 10;
    if (!met)
        (void)fprintf(stderr, "torture_shard: something never happened\n");
    if (t.f.shard->live_bytes != fixture_live_bytes(&t.f, NULL)) {
        (void)fprintf(stderr, "torture_shard: live bytes are miscounted\n");
        return 1;
    }
    return sum.violations == 0 && met ? 0 : 1;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 5;
    fixture_open(&t.f, &(struct fixture_config){
                           .quota_bytes = UINT64_C(4) << 20, .shard_count = 1, .ordered = true});
    t.f.now.pinned = any_pin;
    t.f.now.view_ticks = 2000000; /* about a millisecond */
    for (unsigned i = 0; i < READERS; i++) {
        t.readers[i].seed = 100 + i;
        ASSERT(pthread_create(&t.readers[i].thread, NULL, reader_main, &t.readers[i]) == 0);
    }
    write_for(seconds);
    atomic_store_explicit(&t.stop, true, memory_order_release);
    for (unsigned i = 0; i < READERS; i++)
        ASSERT(pthread_join(t.readers[i].thread, NULL) == 0);
    int status = report();
    fixture_close(&t.f);
    return status;
}
