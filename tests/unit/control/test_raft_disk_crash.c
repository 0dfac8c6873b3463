/* The power fails before every single change and sync, in random histories: what the disk then holds, with
 * unsynced sectors lost, torn or kept, is what was acknowledged, and a part of what was asked for since. */
#include "tests/unit/control/raft_disk_fixture.h"
#include "tests/unit/control/raft_disk_shim.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdlib.h>

/* Under the thread sanitizer one takes a minute. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SEEDS 1u
#endif
#endif
#ifndef SEEDS
#define SEEDS 4u
#endif
#define OPERATIONS 50u

struct crash {
    struct disk_fixture *fixture;
    struct shim *shim;
    char path[64], again[64];
    unsigned seed;
    unsigned checks, bad, corrupt, partial, late;
    pthread_mutex_t asking; /* held while the test asks: a worker waits before its first change */
    struct shim *recovery;  /* of a disk that recovers from a crash, and crashes */
};

/* A crash while it recovers: the recovered disk holds the same. */
static void at_recovery(void *context)
{
    struct crash *c = context;
    int code;
    if (rand_r(&c->seed) % 4 != 0)
        return;
    shim_directory_clear(c->again);
    shim_crash(c->recovery, c->again, rand_r(&c->seed) % 3, &c->seed);
    int happened = disk_holds(c->fixture, c->again, &code);
    c->checks++;
    c->bad += happened < 0;
}

static void crash_now(struct crash *c, int level)
{
    int code;
    shim_directory_clear(c->path);
    shim_crash(c->shim, c->path, level, &c->seed);
    int happened = disk_holds(c->fixture, c->path, &code);
    c->checks++;
    c->bad += happened < 0;
    c->corrupt += code == RAFT_CORRUPT;
    c->partial += happened > 0 && (unsigned)happened < c->fixture->step_count;
    c->late += happened > 0;
    if (happened < 0)
        fprintf(stderr, "level %d holds %d, code %d, steps %u, check %u\n", level, happened, code,
                c->fixture->step_count, c->checks);
}

static void at_point(void *context)
{
    struct crash *c = context;
    (void)pthread_mutex_lock(&c->asking);
    crash_now(c, 0);
    crash_now(c, 1);
    crash_now(c, 2);
    (void)pthread_mutex_unlock(&c->asking);
}

/* ---- histories as libraft makes them ---- */

static uint64_t term_of(const struct disk_fixture *f)
{
    return f->model.term;
}

static uint64_t lowest(const struct disk_fixture *f)
{
    return f->model.snapshot_index + 1;
}

static void some_appends(struct disk_fixture *f, unsigned *seed)
{
    unsigned count = 1 + (unsigned)rand_r(seed) % 3;
    for (unsigned i = 0; i < count; i++) {
        bool large = rand_r(seed) % 8 == 0;
        uint32_t length = (uint32_t)rand_r(seed) % (large ? 300000u : 900u);
        CU_ASSERT_EQUAL(disk_append(f, 1 + (unsigned)rand_r(seed) % 3, term_of(f),
                                    (uint32_t)rand_r(seed), length),
                        0);
        if (rand_r(seed) % 5 == 0 && f->next > lowest(f) + 2)
            CU_ASSERT_EQUAL(disk_truncate(f, f->next - 1 - (uint64_t)(rand_r(seed) % 2)), 0);
    }
    /* Why: what follows a truncation makes it acknowledged. */
    CU_ASSERT_EQUAL(disk_append(f, 1, term_of(f), 7, 40), 0);
}

static void some_snapshot(struct disk_fixture *f, unsigned *seed)
{
    bool install = rand_r(seed) % 3 == 0;
    uint64_t index = f->next - 1;
    uint32_t length = (uint32_t)rand_r(seed) % 3000;
    if (install) {
        /* Why within the log, too: what stands behind it in the log is void, though it would fit. */
        uint64_t span = rand_r(seed) % 2 == 0 ? 30 : f->next - lowest(f) + 1;
        index = lowest(f) + (uint64_t)rand_r(seed) % span;
        CU_ASSERT_EQUAL(disk_snapshot(f, index, term_of(f), 0, length), 0);
    } else if (index >= lowest(f) && index >= f->model.base) {
        CU_ASSERT_EQUAL(disk_snapshot(f, index, f->model.log[index].term,
                                      1 + (unsigned)rand_r(seed) % 5, length),
                        0);
    }
}

static void operation(struct crash *c, unsigned *seed)
{
    struct disk_fixture *f = c->fixture;
    (void)pthread_mutex_lock(&c->asking);
    switch (rand_r(seed) % 8) {
    case 0:
        CU_ASSERT_EQUAL(disk_term(f, term_of(f) + 1), 0);
        break;
    case 1:
        CU_ASSERT_EQUAL(disk_vote(f, (uint64_t)(rand_r(seed) % 5)), 0);
        break;
    case 2:
        some_snapshot(f, seed);
        break;
    case 3:
        disk_close(f);
        CU_ASSERT_EQUAL_FATAL(disk_open(f), 0);
        CU_ASSERT(disk_loads_model(f));
        break;
    default:
        some_appends(f, seed);
        break;
    }
    (void)pthread_mutex_unlock(&c->asking);
    disk_wait(f);
}

static void history(struct crash *c, unsigned seed)
{
    struct disk_fixture *f = c->fixture;
    disk_begin(f);
    c->seed = seed;
    c->shim = shim_begin(f->path, at_point, c);
    CU_ASSERT_EQUAL_FATAL(disk_open(f), 0);
    CU_ASSERT(disk_loads_model(f));
    CU_ASSERT_EQUAL(disk_term(f, 1), 0);
    for (unsigned i = 0; i < OPERATIONS && c->bad == 0; i++)
        operation(c, &seed);
    disk_close(f);
    shim_end(c->shim);
    CU_ASSERT_EQUAL_FATAL(disk_open(f), 0);
    CU_ASSERT(disk_loads_model(f));
    disk_end(f);
}

static struct crash *crash_make(void)
{
    struct crash *c = calloc(1, sizeof *c);
    pthread_mutexattr_t attributes;
    c->fixture = malloc(sizeof *c->fixture);
    (void)pthread_mutexattr_init(&attributes);
    (void)pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    (void)pthread_mutex_init(&c->asking, &attributes);
    (void)pthread_mutexattr_destroy(&attributes);
    return c;
}

static void crash_free(struct crash *c)
{
    (void)pthread_mutex_destroy(&c->asking);
    free(c->fixture);
    free(c);
}

static void a_crash_anywhere_loses_nothing_that_was_acknowledged(void)
{
    struct crash *c = crash_make();
    shim_directory_make(c->path);
    for (unsigned seed = 1; seed <= SEEDS && c->bad == 0; seed++) {
        history(c, seed);
        if (c->bad != 0)
            fprintf(stderr, "seed %u\n", seed);
    }
    CU_ASSERT_EQUAL(c->bad, 0);
    CU_ASSERT_EQUAL(c->corrupt, 0); /* no crash looks like damage */
    CU_ASSERT(c->checks > 250 * SEEDS && c->late > 2 * SEEDS);
    printf("%u crashes, %u kept something unacknowledged, %u a part of it; ", c->checks, c->late,
           c->partial);
    shim_directory_remove(c->path);
    crash_free(c);
}

static void a_crash_while_it_recovers_loses_nothing_either(void)
{
    struct crash *c = crash_make();
    struct disk_fixture *f = c->fixture;
    shim_directory_make(c->path);
    shim_directory_make(c->again);
    for (unsigned seed = 100; seed < 100 + SEEDS; seed++) {
        unsigned random = c->seed = seed;
        disk_begin(f);
        c->shim = shim_begin(f->path, NULL, NULL);
        CU_ASSERT_EQUAL_FATAL(disk_open(f), 0);
        CU_ASSERT(disk_loads_model(f));
        CU_ASSERT_EQUAL(disk_term(f, 1), 0);
        for (unsigned i = 0; i < OPERATIONS / 2; i++) {
            int code;
            operation(c, &random);
            shim_directory_clear(c->path);
            shim_crash(c->shim, c->path, 1, &c->seed);
            c->recovery = shim_adopt(c->path);
            shim_at_point(c->recovery, at_recovery, c);
            c->bad += disk_holds(f, c->path, &code) < 0;
            shim_end(c->recovery);
        }
        disk_close(f);
        shim_end(c->shim);
        disk_end(f);
    }
    CU_ASSERT_EQUAL(c->bad, 0);
    CU_ASSERT(c->checks > 25 * SEEDS);
    printf("%u crashes of recoveries; ", c->checks);
    shim_directory_remove(c->path);
    shim_directory_remove(c->again);
    crash_free(c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_crash_anywhere_loses_nothing_that_was_acknowledged),
    UNIT_TEST(a_crash_while_it_recovers_loses_nothing_either),
};
UNIT_MAIN("raft_disk_crash", tests)
