/* model - two nodes with a shard each, and a map of what every key held at every LSN: whatever leader and
 * follower do to their logs (land, commit, cut, clean, change places, take over a snapshot), each read in
 * place, each answer and each condition is what the map says.
 *
 * One thread; everything random comes from the seed.  A failed check names seed and step, and ends the
 * test.  Of the keys some hundred share all 32 bits of their hash with another one. */
#ifndef DUNLIN_TESTS_UNIT_ENGINE_MODEL_H
#define DUNLIN_TESTS_UNIT_ENGINE_MODEL_H

#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#define MODEL_KEYS 9000u
#define MODEL_SUMS 24u /* further keys, that are only counted with */
#define MODEL_SESSIONS 6u
#define MODEL_VALUE_MAX 3000u
#define MODEL_UID 7u
/* Remembered of a session and of the reads by the ring: more than can be pending, or asked for again. */
#define MODEL_OUTCOMES 4096u

/* version 0: deleted.  lsn_end: where its transaction ends; visible from there on. */
struct model_version {
    uint64_t lsn, lsn_end, version;
    uint32_t length;
    int64_t sum; /* length 0: this number stands there */
};

struct model_key {
    char name[24];
    uint32_t length;
    uint64_t hash;
    struct model_version *versions; /* oldest first */
    uint32_t count, room;
};

struct model_outcome {
    uint64_t lsn, lsn_end;
    uint32_t status;
    int64_t number;
};

struct model_session {
    uint8_t id[SESSION_ID_BYTES];
    uint64_t lsn;       /* 0: not open */
    uint64_t lsn_old;   /* of the one that was closed last */
    uint64_t lsn_close; /* end of the record that closed it; 0: it was open then */
    uint64_t sequence;  /* last one used */
    struct model_outcome outcomes[MODEL_OUTCOMES];
};

/* A read by the ring, and what it met. */
struct model_read {
    uint64_t lsn, version;
    bool is_sum; /* the value does not begin with its version */
};

/* How often things happened; a run in which one stays 0 proves little. */
struct model_counts {
    uint64_t pages, reads, transactions, duplicates, cuts, swaps, snapshots, asked, retried;
    uint64_t at_found, at_older, at_missed, at_compacted; /* reads at a version */
    uint64_t sums, not_numbers, out_of_range, elses;
    uint64_t chunks_made, chunks_taken, chunks_kept;
};

/* What the space keeps: versions.h. */
struct model_policy {
    uint32_t history;
    uint64_t history_ns;
    bool exits; /* the first check that fails ends the process: model_fail */
};

struct model {
    struct model_policy policy;
    uint64_t installed[2]; /* each node has no history from below: a snapshot, or it gave it up */
    uint64_t histories_cut[2];
    uint64_t seed, random;
    uint32_t step;
    struct fixture nodes[2];
    uint32_t leader;
    uint64_t committed; /* in the cluster */
    uint64_t epoch, versions, snapshots;
    uint32_t keys_in_use;
    struct model_key keys[MODEL_KEYS + MODEL_SUMS];
    struct model_session sessions[MODEL_SESSIONS];
    uint64_t reads_asked;
    struct model_read reads[MODEL_OUTCOMES];
    uint8_t values[LIMIT_TRANSACTION_RECORDS][MODEL_VALUE_MAX];
    struct model_counts counts;
};

#define MODEL_CHECK(m, condition)                                                                  \
    do {                                                                                           \
        bool holds = (condition);                                                                  \
        if (!holds)                                                                                \
            printf("\nseed %llu step %u: %s does not hold\n", (unsigned long long)(m)->seed,       \
                   (m)->step, #condition);                                                         \
        if (!holds && (m)->policy.exits)                                                           \
            model_fail();                                                                          \
        CU_ASSERT_FATAL(holds);                                                                    \
    } while (0)

struct model *model_open(uint64_t seed, const struct model_policy *policy);
/* Exit code 3, at once. */
_Noreturn void model_fail(void);
void model_close(struct model *m);

uint32_t model_below(struct model *m, uint32_t n);
uint32_t model_some_key(struct model *m);
static inline struct fixture *model_leader(struct model *m)
{
    return &m->nodes[m->leader];
}
static inline struct fixture *model_follower(struct model *m)
{
    return &m->nodes[1 - m->leader];
}

/* ---- the map ---- */

void model_add(struct model *m, uint32_t number, struct model_version v);
/* NULL: deleted, or never there. */
const struct model_version *model_at(const struct model *m, uint32_t number, uint64_t lsn);
const struct model_version *model_newest(const struct model *m, uint32_t number);
/* What ends above lsn never was. */
void model_forget(struct model *m, uint64_t lsn);

/* A value that was read is that of a version. */
void model_check_value(struct model *m, uint32_t number, const struct model_version *v,
                       const uint8_t *value, uint32_t length);
/* A read in place finds what the map says, or has to begin again. */
void model_check_key(struct model *m, const struct fixture *f, uint32_t number);
void model_check_all(struct model *m);
/* A page of a scan is what the map says, or has to be read again. */
void model_check_page(struct model *m, const struct fixture *f);
/* So does one at some version of some key, or says that it is compacted, where that may be (model_history.c). */
void model_check_at(struct model *m, const struct fixture *f);
/* Live bytes are counted right, unless a snapshot is on its way. */
void model_check_live(struct model *m, const struct fixture *f);

/* ---- operations at the leader (model_write.c) ---- */

/* One, of any kind: what it does and answers is checked against the map, which learns of it. */
void model_write(struct model *m);
/* Take and check the answers that are due. */
void model_answers(struct model *m, struct fixture *f);
/* The same, then one pass of housekeeping, with grace periods held up and pins now and then. */
void model_maintain(struct model *m, struct fixture *f);

#endif
