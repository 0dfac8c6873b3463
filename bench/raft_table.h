/* raft_table - the state that a server of the libraft baseline applies its log to: keys and values in
 * a hash table, of one of two kinds.
 *
 *   RAFT_TABLE_PLAIN   open addressing, values copied in place: the least that a state machine can do;
 *                      nobody else may look at it while it is written
 *   RAFT_TABLE_SHARED  liburcu's cds_lfht, a node from malloc per write, the replaced ones freed in
 *                      batches after a grace period: other threads may read it meanwhile, as agents
 *                      read a shard in place */
#ifndef DUNLIN_BENCH_RAFT_TABLE_H
#define DUNLIN_BENCH_RAFT_TABLE_H

#include "bench/keys.h"
#include "engine/memory.h"

enum raft_table_kind { RAFT_TABLE_PLAIN, RAFT_TABLE_SHARED };

/* One write as it lies in libraft's log. */
struct raft_command {
    uint64_t hash;
    char key[KEYS_LENGTH];
    uint8_t value[KEYS_VALUE_BYTES];
};

#define RAFT_TABLE_RETIRED 512u

struct cds_lfht;
struct raft_table_node;

struct raft_table {
    enum raft_table_kind kind;
    struct memory slots; /* PLAIN */
    uint64_t mask;
    struct cds_lfht *shared; /* SHARED */
    struct raft_table_node *retired[RAFT_TABLE_RETIRED];
    uint32_t retired_count;
};

/* The calling thread, registered with QSBR before the first SHARED one is opened and until the last
 * is closed, is the only one to call.  Returns 0 or -ENOMEM; raft_table_close is due in any case. */
MUST_USE int raft_table_open(struct raft_table *t, enum raft_table_kind kind, uint32_t key_count);
void raft_table_close(struct raft_table *t);

/* Returns 0 or -ENOMEM. */
MUST_USE int raft_table_put(struct raft_table *t, const struct raft_command *c);

/* Copy the value of a key.  False: it is not there. */
bool raft_table_get(const struct raft_table *t, const struct raft_command *key,
                    uint8_t value[KEYS_VALUE_BYTES]);

#endif
