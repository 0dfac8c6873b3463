/* torture_readers - readers on threads of their own, of a shard that one thread writes: gets and views,
 * scans, cursors.  What they are given is held against what the writer says here.
 *
 * Keys of the shard, each value with a struct torture_value in front:
 *   p00000/a p00000/b   pairs: always written by one transaction, with one version; odd versions are there,
 *                       even ones deleted.  No version is given twice, also where a cut takes one back
 *   s9999999 s9999998   a queue, the newest first: each is written once, and the oldest are deleted, by the
 *                       transaction that writes a newer one: whoever sees two sees all between them
 * Every value has the next number of the log, and that of the value before it there. */
#ifndef DUNLIN_TESTS_TORTURE_READERS_H
#define DUNLIN_TESTS_TORTURE_READERS_H

#include "engine/ring.h"
#include "tests/unit/engine/fixture.h"

#include <pthread.h>

#define TORTURE_PAIRS 48u
#define TORTURE_VALUE_MAX 1500u
#define TORTURE_QUEUE_MAX 3000u /* keys of it that are there */

struct torture_value {
    uint64_t version, number, number_before;
};

/* What may and what must be seen; the writer stores may before a commit and must after it. */
struct torture_bounds {
    alignas(CACHE_LINE) _Atomic uint64_t must, may;
};

struct torture_shown {
    struct fixture *f;
    struct torture_bounds pairs[TORTURE_PAIRS]; /* versions */
    struct torture_bounds queue;                /* numbers given */
    _Atomic bool stop;
};

struct torture_counts {
    uint64_t gets, missed, again, views, views_unsafe, hidden;
    uint64_t pages, scans, pages_again, events, lags, mapped;
    uint64_t violations;
};

enum torture_kind {
    TORTURE_GETS,
    TORTURE_SCANS,
    TORTURE_SCANS_OF_ENDS, /* of the queue: where the tree changes */
    TORTURE_CURSOR,
    TORTURE_CURSOR_DAWDLING, /* it lags */
    TORTURE_CURSOR_OLDEST,   /* always at the segment that goes next */
};

struct torture_reader {
    struct torture_shown *shown;
    struct read_space space; /* its own: it maps chunks as it meets them */
    pthread_t thread;
    enum torture_kind kind;
    uint64_t seed;
    struct ring_pins pins;
    struct torture_counts counts;
};

/* Names: all as long. */
#define TORTURE_KEY_BYTES 8u
void torture_key_pair(uint32_t pair, bool second, char key[32]);
#define TORTURE_QUEUE_TOP 9999999u /* what number 0 is called */
void torture_key_queue(uint32_t number, char key[32]);
/* What the bytes behind struct torture_value are made from. */
static inline uint32_t torture_id_pair(uint32_t pair, bool second)
{
    return 2 * pair + second;
}
static inline uint32_t torture_id_queue(uint32_t number)
{
    return 2 * TORTURE_PAIRS + number;
}

/* The body of a thread: until shown->stop; argument is the reader. */
void *torture_reader_main(void *argument);

/* From the writer's thread, now and then: stop some reader wherever it is, for a few milliseconds.  Before
 * any reader is started: torture_stalls_prepare. */
void torture_stalls_prepare(void);
void torture_stall(const struct torture_reader *r);

#endif
