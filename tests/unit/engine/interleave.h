/* interleave - the read protocol against the writer, step by step: before every atomic load and
 * store of either the other may run on, for one step or for thousands.  One thread, two stacks, all
 * from one seed.
 *
 * What is held against the writer's own history of each key:
 *   a validated read equals the history at the LSN it read at: a value, a tombstone, nothing;
 *   that LSN is not below what was committed when the read began;
 *   a pinned record keeps its bytes until it is let go, or its segment's stamp says otherwise;
 *   after a lapsed lease no read that began before calls itself linearizable.
 * A failure prints the seed; with it in the environment as DUNLIN_SEED that one alone is run. */
#ifndef DUNLIN_TESTS_UNIT_ENGINE_INTERLEAVE_H
#define DUNLIN_TESTS_UNIT_ENGINE_INTERLEAVE_H

#include "tests/unit/engine/coroutine.h"
#include "tests/unit/engine/fixture.h"

#define INTERLEAVE_HOT_KEYS 12u
#define INTERLEAVE_HISTORY_MAX 512u
#define INTERLEAVE_VALUE_MAX 24000u
#define INTERLEAVE_BATCH_MAX 4u

struct interleave_past {
    uint64_t lsn_end; /* visible from here on */
    uint64_t lsn;     /* of the record */
    uint64_t version; /* 0: deleted */
    uint32_t length;
};

struct interleave_history {
    struct interleave_past past[INTERLEAVE_HISTORY_MAX];
    uint32_t count;
};

/* What readers met; a run in which one of them stayed zero has not tested it. */
struct interleave_met {
    uint64_t reads, found, missed, tombstones, again, invalid, stamped, horizon, survived_count,
        moved, cut, growths, reuses, pins, pins_refused, pins_kept, pins_lapsed, leases,
        leases_lost, batches, cuts, cuts_waited, cut_records, rewritten,
        together; /* transactions of several hot keys */
};

/* Who writes: the leader of interleave.c, or the follower of interleave_follow.c. */
struct interleave_writer {
    void (*begin)(void); /* of a seed: the scene is as it was kept */
    void (*act)(void);   /* one thing of many, by interleave.random */
};

struct interleave_scene {
    struct fixture f;
    const struct interleave_writer *writer;
    uint8_t *saved;
    struct fixture saved_f;
    struct interleave_history saved_histories[INTERLEAVE_HOT_KEYS];
};

extern struct interleave {
    struct interleave_scene *scene;
    struct fixture *f;
    struct coroutine *reader;
    struct interleave_history histories[INTERLEAVE_HOT_KEYS];
    struct interleave_met met;
    uint64_t seed, random;
    uint64_t budget; /* steps until the other side runs */
    bool words_only; /* of the writer's steps only stores of words that lead readers count */
    uint64_t version, lapses;
    uint32_t filler, focus; /* the key that most of it is about */
    uint32_t reads;         /* of a seed */
    bool active, reader_done;
    bool to_the_end; /* the reader stops no more */
    uint32_t failures;
    uint8_t values[INTERLEAVE_BATCH_MAX][INTERLEAVE_VALUE_MAX + 8];
    uint8_t check[INTERLEAVE_VALUE_MAX + 8];
} interleave;

/* Forget what was met; reads: of each seed. */
void interleave_begin(uint32_t reads);
void interleave_print(const char *scene);

/* A shard whose state, once kept, every seed starts from. */
void interleave_open(struct interleave_scene *s, uint64_t quota, uint32_t frames);
void interleave_keep(struct interleave_scene *s);
void interleave_close(struct interleave_scene *s);
void interleave_seeds(struct interleave_scene *s, uint64_t first, uint64_t count);

/* What the writer does; with a hot key it joins the history. */
void interleave_put(uint32_t key, uint32_t length);
void interleave_fill(uint32_t from, uint32_t to);
void interleave_maintain(uint32_t passes);
/* Delete, and let so much log go by that the tombstone is given up. */
void interleave_bury(uint32_t key);

/* The next version of a hot key's history. */
void interleave_history_add(uint32_t key, const struct interleave_past *past);
/* The key's newest version that is visible at lsn; version 0: none. */
const struct interleave_past *interleave_past_at(uint32_t key, uint64_t lsn);
/* One that the seed is mostly about, or any hot one. */
uint32_t interleave_some_key(void);
void interleave_lease_lapse(void);
void interleave_fail(const char *what, uint32_t key);

/* One attempt of the reader, judged: of one key, or of several at one commit LSN. */
void interleave_read_once(void);
void interleave_read_batch(uint32_t count);

/* ---- one stop, at a chosen step of a read (interleave_stop.c) ---- */

/* One read of the focus key that stops before its nth step, script, and the rest of the read.
 * Returns false when the read was over before. */
bool interleave_stop_read(struct interleave_scene *s, uint32_t stop, void (*script)(void));
/* The same, but the rest of the read runs before the script's mth store of a word that leads
 * readers.  Returns false when the script has no so many. */
bool interleave_stop_stores(struct interleave_scene *s, uint32_t stop, uint64_t store,
                            void (*script)(void));
/* interleave_stop_read with each hot key as the focus and each step as the stop. */
void interleave_stop_everywhere(struct interleave_scene *s, void (*script)(void));

#endif
