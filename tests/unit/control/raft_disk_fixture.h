/* raft_disk_fixture - a raft_disk under test, and a model of what it has to hold.
 *
 * What was asked for is a list of steps; those that were acknowledged are in the model, the rest may have
 * happened up to any point. */
#ifndef DUNLIN_TESTS_UNIT_CONTROL_RAFT_DISK_FIXTURE_H
#define DUNLIN_TESTS_UNIT_CONTROL_RAFT_DISK_FIXTURE_H

#include "control/raft_disk.h"

#define DISK_INDICES 2048u
#define DISK_STEPS 256u
#define DISK_CLUSTER UINT64_C(77)
#define DISK_NODE UINT64_C(3)

struct disk_item {
    uint64_t term;
    uint32_t seed, length; /* of its data */
    uint16_t type;         /* snapshot: entries that it leaves in the log */
};

struct disk_model {
    uint64_t term, vote;
    uint64_t base, next; /* the log holds base .. next - 1 */
    uint64_t keep;       /* entries from here on were to be kept, whatever a snapshot covers */
    struct disk_item log[DISK_INDICES];
    uint64_t snapshot_index; /* 0: none */
    struct disk_item snapshot;
};

enum disk_step_kind { STEP_ENTRY, STEP_TRUNCATE, STEP_SNAPSHOT, STEP_RESET, STEP_TERM, STEP_VOTE };

struct disk_step {
    enum disk_step_kind kind;
    uint64_t number; /* index, term or vote */
    struct disk_item item;
};

struct disk_fixture {
    uv_loop_t loop;
    struct raft_disk *disk;
    char path[64];
    struct disk_model model;
    uint64_t next; /* with all that was asked for */
    struct disk_step steps[DISK_STEPS];
    unsigned step_count;
    unsigned open_count;      /* appends and snapshots that were not answered yet */
    unsigned answers;         /* so many came */
    int status;               /* of the last answer */
    uint64_t answered_first;  /* index of the last append that was answered */
    int failed;               /* what the hook was told; 0: it was not */
    unsigned answers_by_then; /* answers when it was */
};

void disk_begin(struct disk_fixture *f);
void disk_end(struct disk_fixture *f);
/* Returns as raft_disk_open. */
int disk_open(struct disk_fixture *f);
void disk_close(struct disk_fixture *f);
void disk_wait(struct disk_fixture *f); /* until all was answered, and nothing runs */

/* Ask, and note the steps.  Return what the call did. */
int disk_append(struct disk_fixture *f, unsigned count, uint64_t term, uint32_t seed,
                uint32_t length);
int disk_truncate(struct disk_fixture *f, uint64_t index);
int disk_snapshot(struct disk_fixture *f, uint64_t index, uint64_t term, unsigned trailing,
                  uint32_t length);
int disk_term(struct disk_fixture *f, uint64_t term);
int disk_vote(struct disk_fixture *f, uint64_t vote);

/* What a directory holds: loaded, and how many of the unanswered steps that is, or -1 (no number of them), or
 * -2 (it could not be loaded: code). */
int disk_holds(struct disk_fixture *f, const char *path, int *code);
/* The disk that is open holds exactly what was acknowledged. */
bool disk_loads_model(struct disk_fixture *f);

#endif
