/* One writer drives a shard as an lcore would, in an arena so small that segments are reused all the time;
 * cursors follow it on threads of their own: torture_cursor [SECONDS].
 *
 * Every write has the next number in its value, so what a cursor gives out counts up by one, each record
 * with its checksum; only after it was told that it lagged it may leave numbers out.  One cursor dawdles, so
 * that it lags.  Exit 0: no violation, and everything that is counted happened. */
#include "engine/clock.h"
#include "engine/cursor.h"
#include "tests/unit/engine/transaction_items.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define READERS 3u
#define VALUE_MAX 3000u
#define BYTES (1u << 18)
#define BATCH_MAX 8u

struct reader {
    pthread_t thread;
    bool dawdles;
    uint8_t *bytes;
    uint64_t number; /* of the last event; 0: any may come */
    uint64_t events, lagged, again, idle, violations;
};

static struct {
    struct fixture f;
    struct topic everything;
    struct reader readers[READERS];
    uint64_t number; /* of the last write */
    _Atomic bool stop;
} t;

static void violation(struct reader *r, const char *what)
{
    if (r->violations++ < 5)
        (void)fprintf(stderr, "torture_cursor: %s after number %llu\n", what,
                      (unsigned long long)r->number);
}

/* ---- readers ---- */

static void judge(struct reader *r, const struct cursor_batch *b)
{
    for (uint64_t at = 0; at < b->length;) {
        struct record h;
        uint64_t number, size = record_step(b->bytes + at, &h);
        if (h.kind != RECORD_PAD) {
            if (record_check(b->bytes + at, size, &h) != (int64_t)size)
                violation(r, "a damaged record");
            memcpy(&number, record_value((const void *)(b->bytes + at)), sizeof number);
            if (r->number != 0 && number != r->number + 1)
                violation(r, "a number is missing or comes twice");
            r->number = number;
            r->events++;
        }
        at += size;
    }
}

static void *reader_main(void *argument)
{
    struct reader *r = argument;
    struct cursor c = {.start = CURSOR_OLDEST};
    /* acquire: the end is after the last commit */
    while (!atomic_load_explicit(&t.stop, memory_order_acquire)) {
        struct cursor_batch b = {.bytes = r->bytes, .capacity = BYTES};
        int result = cursor_read(&c, &t.f.space, &t.everything, &b);
        r->again += result == -EAGAIN;
        r->idle += result == 0;
        if (result == 1)
            judge(r, &b);
        if (result == -ENODATA && cursor_resume(&c, &t.f.space) != 0) {
            r->lagged++;
            r->number = 0;
        }
        if (result == -EBADMSG || result == -ENOBUFS || result == -EFAULT)
            violation(r, "no log");
        if (r->dawdles)
            (void)usleep(2000);
        else if (result == 0)
            cpu_relax();
    }
    return NULL;
}

/* ---- the writer ---- */

/* One value, or several in a transaction. */
static void write_some(uint64_t *seed)
{
    static uint8_t values[BATCH_MAX][VALUE_MAX];
    static struct shard_item items[BATCH_MAX];
    static char keys[BATCH_MAX][32];
    uint32_t count = fixture_below(seed, 4) == 0 ? 2 + fixture_below(seed, BATCH_MAX - 1) : 1;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t number = t.number + 1 + i;
        uint32_t key_length = fixture_key(fixture_below(seed, 8) + 8 * i, keys[i]);
        memcpy(values[i], &number, sizeof number);
        items[i] = (struct shard_item){
            .hash = hash_key(keys[i], key_length),
            .key = keys[i],
            .key_length = (uint16_t)key_length,
            .value = values[i],
            .value_length = 8 + fixture_below(seed, VALUE_MAX - 8),
            .operation = RING_PUT,
        };
    }
    if (transaction_try(&t.f, items, count) == 0)
        t.number += count;
}

static void write_for(double seconds)
{
    uint64_t seed = 1, end_ns = clock_boottime_ns() + (uint64_t)(seconds * 1e9);
    while (clock_boottime_ns() < end_ns) {
        for (uint32_t i = fixture_below(&seed, 20); i != 0; i--)
            write_some(&seed);
        fixture_commit(&t.f);
        (void)fixture_maintain(&t.f);
    }
}

/* ---- the whole ---- */

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 5;
    fixture_open(&t.f,
                 &(struct fixture_config){.quota_bytes = UINT64_C(2) << 20, .shard_count = 1});
    ASSERT(topic_prefix(&t.everything, NULL, 0) == 0);
    for (uint32_t i = 0; i < READERS; i++) {
        t.readers[i].dawdles = i == 0;
        t.readers[i].bytes = aligned_alloc(8, BYTES);
        ASSERT(t.readers[i].bytes != NULL);
        ASSERT(pthread_create(&t.readers[i].thread, NULL, reader_main, &t.readers[i]) == 0);
    }
    write_for(seconds);
    atomic_store_explicit(&t.stop, true, memory_order_release);
    uint64_t events = 0, lagged = 0, violations = 0;
    for (uint32_t i = 0; i < READERS; i++) {
        struct reader *r = &t.readers[i];
        ASSERT(pthread_join(r->thread, NULL) == 0);
        free(r->bytes);
        events += r->events;
        lagged += r->lagged;
        violations += r->violations;
    }
    (void)printf("torture_cursor: %llu writes, %llu events, %llu lags, %llu violations\n",
                 (unsigned long long)t.number, (unsigned long long)events,
                 (unsigned long long)lagged, (unsigned long long)violations);
    fixture_close(&t.f);
    return violations == 0 && events != 0 && lagged != 0 ? 0 : 1;
}
