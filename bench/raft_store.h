/* raft_store - baseline of the replicate bench: three servers of libraft in the calling thread, each
 * with a state machine that keeps keys and values in a hash table.
 *
 * As fair to libraft as we could make it: its I/O makes no system call and writes nothing (the log
 * that libraft keeps in memory is the log), messages are handed over directly, their entries copied
 * once into memory that the receiver owns, as libraft asks; a batch is one raft_apply, so one request
 * and one message per follower; snapshots, which it needs to trim its log, cost nothing but their
 * bookkeeping; nothing is summed, and writes carry no session and are not applied exactly once.
 * Its clock goes on as it works, a microsecond per entry, so that pauses between measurements are no
 * elections; it is ticked at the interval that it asks for.
 * Source: Ongaro (2014); libraft 0.15, raft.h. */
#ifndef DUNLIN_BENCH_RAFT_STORE_H
#define DUNLIN_BENCH_RAFT_STORE_H

#include "bench/pairs.h"
#include "bench/raft_table.h"
#include "bench/sampler.h"

#define RAFT_STORE_SERVERS 3u
#define RAFT_STORE_BATCH_MAX 512u

struct raft_server_state;

struct raft_store {
    enum raft_table_kind kind;
    uint32_t key_count;
    uint32_t batch;          /* of the next measurement */
    struct sampler *sampler; /* of the next measurement; its group is the batch or a multiple */
    uint64_t position;
    uint64_t entry_count; /* its clock: entries, and what waiting took */
    uint64_t tick_count;
    struct raft_server_state *servers; /* RAFT_STORE_SERVERS; the first leads */
};

/* Three servers, the first elected, every key written once.  Of the SHARED kind one is open at a time:
 * the calling thread, which is the one that measures, is registered with QSBR until it is closed.
 * Returns 0 or -errno after a word on stderr, nothing being left behind. */
MUST_USE int raft_store_open(struct raft_store *s, enum raft_table_kind kind, uint32_t key_count);
void raft_store_close(struct raft_store *s);

/* pairs_measure of writes to random keys. */
int raft_store_measure(void *context, uint64_t duration_ns, double *value);

/* Whether all servers hold the same values, once a heartbeat has told what is committed. */
bool raft_store_agrees(struct raft_store *s);

#endif
