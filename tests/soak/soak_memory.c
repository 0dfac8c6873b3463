/* What the daemons hold: resident memory, segments that are not free, chunks, and bytes not committed.
 * Whatever is never given back shows as a last quarter above the second one, when all has been warm for
 * long.  How many sessions there are is bounded by the space: soak_handles.c. */
#include "tests/soak/soak.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PERIOD_MS 1000u
#define STATUS_BYTES (1u << 20)
#define STATUS_TIMEOUT_MS 1000u
#define LONGEST 6u /* times as long as was asked for, a run may take */
#define GROWTH_PERCENT 5u
#define WARM_ARENAS                                                                                \
    4u /* are written before the first sample counts: by then all that is kept was touched */
#define SAMPLES_MIN 8u

enum metric { RESIDENT, SEGMENTS, CHUNKS, PENDING, METRICS };

/* Beyond the percentage: what is in flight differs from sample to sample. */
static const struct {
    const char *name;
    uint64_t slack;
} metrics[METRICS] = {
    [RESIDENT] = {"resident KiB", 512},
    [SEGMENTS] = {"segments in use", 2},
    [CHUNKS] = {"chunks", 0},
    [PENDING] = {"bytes not committed", 2u << 20},
};

struct sampled {
    pid_t pid;
    struct dunlin *handle;
    _Atomic bool stopped;
    _Atomic uint64_t written; /* relaxed: of one writer, for who looks again */
    uint64_t (*samples)[METRICS];
    size_t count;
};

static struct sampled nodes[SOAK_NODES];
static size_t capacity;
static _Atomic uint64_t arena; /* relaxed: always the same once it is known */
static _Atomic bool ended;
static pthread_t thread;
static char status[STATUS_BYTES];

uint64_t soak_written(uint32_t node)
{
    return atomic_load_explicit(&nodes[node].written, memory_order_relaxed); /* as said there */
}

uint64_t soak_arena(void)
{
    return atomic_load_explicit(&arena, memory_order_relaxed); /* as said there */
}

void soak_memory_pause(uint32_t node, bool stopped)
{
    /* relaxed: who does not see it yet waits for a second */
    atomic_store_explicit(&nodes[node].stopped, stopped, memory_order_relaxed);
}

static uint64_t resident_kib(pid_t pid)
{
    char path[32], line[128];
    unsigned long kib = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmRSS: %lu", &kib) == 1)
            break;
    if (file != NULL)
        (void)fclose(file);
    return kib;
}

static uint64_t number(const json_t *object, const char *name)
{
    const json_t *n = json_object_get(object, name);
    if (!json_is_integer(n))
        e2e_die("status has no number %s", name);
    return (uint64_t)json_integer_value(n);
}

static void sample_space(struct sampled *s, const json_t *space)
{
    const json_t *segments = json_object_get(space, "segments");
    uint64_t *to = s->samples[s->count];
    const char *name;
    const json_t *value;
    uint64_t all = 0;
    json_object_foreach((json_t *)segments, name, value) all +=
        strcmp(name, "free") == 0 ? 0 : (uint64_t)json_integer_value(value);
    to[SEGMENTS] = all;
    to[CHUNKS] = number(space, "chunks");
    to[PENDING] = number(space, "uncommitted_bytes");
    /* relaxed: as said there */
    atomic_store_explicit(&s->written, number(space, "log_bytes"), memory_order_relaxed);
    atomic_store_explicit(&arena, number(space, "quota_bytes"), memory_order_relaxed);
}

static void sample(struct sampled *s)
{
    if (s->count == capacity || atomic_load_explicit(&s->stopped, memory_order_relaxed))
        return; /* relaxed: as said there */
    int64_t length = dunlin_status_json(s->handle, status, sizeof status);
    if (length < 0)
        return;
    json_t *root = json_loadb(status, (size_t)length, 0, NULL);
    const json_t *spaces = json_object_get(root, "spaces");
    if (json_array_size(spaces) != 1)
        e2e_die("not one space in the status: %s", status);
    sample_space(s, json_array_get(spaces, 0));
    s->samples[s->count][RESIDENT] = resident_kib(s->pid);
    s->count += soak_written((uint32_t)(s - nodes)) >= WARM_ARENAS * soak_arena();
    json_decref(root);
    soak_count(SOAK_SAMPLES);
}

static void *sampler_run(void *context)
{
    (void)context;
    while (!atomic_load_explicit(&ended, memory_order_relaxed)) { /* relaxed: looked at again */
        for (uint32_t n = 0; n < SOAK_NODES; n++)
            sample(&nodes[n]);
        e2e_sleep_ms(PERIOD_MS);
    }
    return NULL;
}

void soak_memory_begin(const pid_t pids[SOAK_NODES], uint64_t seconds)
{
    capacity = (size_t)seconds * LONGEST + 64;
    for (uint32_t n = 0; n < SOAK_NODES; n++) {
        nodes[n].pid = pids[n];
        nodes[n].samples = calloc(capacity, sizeof nodes[n].samples[0]);
        nodes[n].handle = e2e_open(soak_socket(n), STATUS_TIMEOUT_MS);
        if (nodes[n].samples == NULL)
            e2e_die("no memory");
        sample(&nodes[n]);
    }
    if (pthread_create(&thread, NULL, sampler_run, NULL) != 0)
        e2e_die("no thread");
}

/* The greatest of samples from .. to. */
static uint64_t greatest(const struct sampled *s, enum metric m, size_t from, size_t to)
{
    uint64_t most = 0;
    for (size_t i = from; i < to; i++)
        most = max_u64(most, s->samples[i][m]);
    return most;
}

static void judge(uint32_t node)
{
    const struct sampled *s = &nodes[node];
    size_t n = s->count;
    if (n < SAMPLES_MIN)
        e2e_fail("not exercised: node %u was looked at %zu times", node + 1, n);
    for (enum metric m = 0; m < METRICS; m++) {
        uint64_t before = greatest(s, m, n / 4, n / 2);
        uint64_t after = greatest(s, m, n - n / 4, n);
        (void)printf("   node %u: %s: second quarter %" PRIu64 ", last quarter %" PRIu64 "\n",
                     node + 1, metrics[m].name, before, after);
        if (after > before + before * GROWTH_PERCENT / 100 + metrics[m].slack)
            e2e_fail("node %u: %s grew from %" PRIu64 " to %" PRIu64, node + 1, metrics[m].name,
                     before, after);
    }
}

void soak_memory_end(void)
{
    atomic_store_explicit(&ended, true, memory_order_relaxed); /* relaxed: looked at again */
    (void)pthread_join(thread, NULL);
    for (uint32_t n = 0; n < SOAK_NODES; n++) {
        judge(n);
        dunlin_close(nodes[n].handle);
        free(nodes[n].samples);
    }
}
