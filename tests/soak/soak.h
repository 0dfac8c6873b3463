/* soak - every operation of libdunlin at all nodes of a running cluster, for as long as one likes, while
 * leadership moves and followers stop.
 *
 * One process, a thread and a handle for each part at each node; what each part knows of its own keys it
 * checks by itself.  The script of the same name starts the daemons and ends them.
 * Keys    k/W/NN      of the writer at node W: soak_keys.c; watched: soak_watches.c
 *         c/N, b{N}/  counters and accounts, of all: soak_sums.c
 *         l{N}/       leases and what is done under them, of all: soak_leases.c
 *         h/          of handles that come and go: soak_handles.c
 * Fate    of every write is known in the end: no daemon dies, so one of unknown fate is repeated under its
 *         name until it is answered.  Only a write that is refused as unavailable was not done.
 * Threads all counters are shared; the rest says whose it is. */
#ifndef DUNLIN_TESTS_SOAK_SOAK_H
#define DUNLIN_TESTS_SOAK_SOAK_H

#include "tests/e2e/e2e.h"

#include <pthread.h>

#define SOAK_NODES 3u
#define SOAK_SPACE "soak"
#define SOAK_KEYS 32u /* of each writer */
#define SOAK_VALUE_MAX 65536u
#define SOAK_TIMES 20u /* as often as that the arena is to be written */
#define SOAK_TIMEOUT_MS 10000u

/* What was done; each must have been, but for those from SOAK_REQUIRED on. */
enum soak_count {
    SOAK_PUTS,
    SOAK_DELETES,
    SOAK_BURSTS,
    SOAK_GETS,
    SOAK_VIEWS,
    SOAK_BATCHES,
    SOAK_READS_AT,
    SOAK_SCANS,
    SOAK_TTL_PUTS,
    SOAK_TTL_GONE,
    SOAK_INCREMENTS,
    SOAK_THEN,
    SOAK_ELSE,
    SOAK_SUMS,
    SOAK_ACQUIRED,
    SOAK_RENEWED,
    SOAK_RELEASED,
    SOAK_LAPSED,
    SOAK_HELD,
    SOAK_FENCED,
    SOAK_HANDLES,
    SOAK_EVENTS,
    SOAK_CHAINED,
    SOAK_RESUMED,
    SOAK_LAGGED,
    SOAK_MOVES,
    SOAK_FREEZES,
    SOAK_SAMPLES,
    SOAK_REQUIRED,
    SOAK_COMPACTED = SOAK_REQUIRED,
    SOAK_UNKNOWN,
    SOAK_UNAVAILABLE,
    SOAK_COUNTS,
};

void soak_count(enum soak_count what);
uint64_t soak_counted(enum soak_count what);

/* The writing is over. */
bool soak_over(void);

/* Bytes of logs that a node had when it was last asked, and of memory that the space may have on each. */
uint64_t soak_written(uint32_t node);
uint64_t soak_arena(void);

/* One of the threads of a part; node counts from 0. */
struct soak_thread {
    pthread_t thread;
    struct dunlin *handle;
    struct dunlin_space *space;
    uint32_t node;
    uint64_t random;
};
const char *soak_socket(uint32_t node);
uint64_t soak_seed(void); /* one for a thread; the main thread only */
/* A handle of its own, and the thread, or die. */
void soak_start(struct soak_thread *t, uint32_t node, void *(*run)(void *));
/* Until it has ended; closes the handle. */
void soak_join(struct soak_thread *t);

/* A number below bound. */
static inline uint64_t soak_below(struct soak_thread *t, uint64_t bound)
{
    return e2e_random(&t->random) % bound;
}

/* Carry out a write, an increment (number may be NULL) or a transaction, until its fate is known.  Returns
 * as the call of libdunlin; never -EOWNERDEAD: that is a failure of the test, and -ENOTCONN. */
MUST_USE int soak_write(struct soak_thread *t, const struct dunlin_write *write, int64_t *number,
                        struct dunlin_version *version);
MUST_USE int soak_transaction(struct soak_thread *t, const struct dunlin_transaction *transaction,
                              struct dunlin_transaction_result *result);
/* After -EOWNERDEAD of the write of that name. */
MUST_USE int soak_retry(struct soak_thread *t, const struct dunlin_write_id *id,
                        const struct dunlin_write *write, struct dunlin_version *version);

/* True if an error is one that a caller passes over: it is counted, and nothing was done or read. */
MUST_USE bool soak_unavailable(int error);

/* ---- the parts: begin starts their threads, end joins them, check looks at what is left ---- */

void soak_keys_begin(void);
void soak_keys_end(void);
/* What a node has of all writers' keys, when nobody writes any more. */
void soak_keys_check(struct soak_thread *t);
/* LSN and log of the last change of a writer's key; after soak_keys_end. */
struct dunlin_version soak_keys_last(uint32_t writer, uint32_t key);
/* True if value is whole; previous: LSN of the change before it (0: none, or the value is too short). */
MUST_USE bool soak_value_check(uint32_t id, const void *value, size_t length, uint64_t *previous);

void soak_sums_begin(void);
void soak_sums_end(void);
void soak_sums_check(struct soak_thread *t);

void soak_leases_begin(void);
void soak_leases_end(void);

void soak_handles_begin(void);
void soak_handles_end(void);

void soak_watches_begin(void);
/* After soak_keys_end: every watch sees the last change of each key, or is told that it is gone, within a
 * minute. */
void soak_watches_end(void);

/* What the daemons hold, sampled every second. */
void soak_memory_begin(const pid_t pids[SOAK_NODES], uint64_t seconds);
/* SIGSTOP or SIGCONT is next, or was just given: a stopped daemon is not asked. */
void soak_memory_pause(uint32_t node, bool stopped);
/* The last quarter is held against the second one; prints both. */
void soak_memory_end(void);

#endif
