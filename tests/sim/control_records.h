/* control_records - what is on a simulated disk of the scenario `control`, and the steps of a write to it. */
#ifndef DUNLIN_TESTS_SIM_CONTROL_RECORDS_H
#define DUNLIN_TESTS_SIM_CONTROL_RECORDS_H

#include "tests/sim/control_world.h"

#define SERVERS_MAX CONTROL_NODES_MAX

struct store_entry {
    raft_term term;
    unsigned short type;
    size_t length;
    uint8_t *bytes;
};

struct store_snapshot {
    raft_index index; /* 0: there is none */
    raft_term term;
    raft_index configuration_index;
    uint32_t server_count;
    uint32_t ids[SERVERS_MAX];
    int roles[SERVERS_MAX];
    char addresses[SERVERS_MAX][COORDINATOR_ADDRESS_BYTES];
    size_t length;
    uint8_t *bytes;
};

struct control_store {
    raft_term term;
    raft_id vote;
    raft_index first; /* of the entries */
    size_t count, room;
    struct store_entry *entries;
    struct store_snapshot snapshot;
};

enum record_kind { RECORD_ENTRY, RECORD_TRUNCATE, RECORD_SNAPSHOT, RECORD_RESET, RECORD_FORGET };

/* One step of a write, in the order in which it gets to the disk; memory of its own. */
struct record {
    struct record *next;
    enum record_kind kind;
    raft_index index; /* TRUNCATE, RESET: first that is gone, or that follows; FORGET: up to it */
    struct store_entry entry;
    struct store_snapshot snapshot;
};

/* The caller's to free(). */
uint8_t *control_copy(const void *bytes, size_t length);

/* What the entry holds is the store's. */
void control_entry_add(struct control_store *s, const struct store_entry *e);
/* It goes on at that index, and has nothing. */
void control_log_reset(struct control_store *s, raft_index index);

/* Where the next one goes. */
struct record **control_record_add(struct record **at, const struct record *model);
uint32_t control_records_count(const struct record *list);
/* So many of them get to the disk, the rest does not; all are freed.  Returns how many did not. */
uint32_t control_records_apply(struct control_store *s, struct record *list, uint32_t count);

#endif
