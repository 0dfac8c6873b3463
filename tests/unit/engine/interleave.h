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

struct interleave_past {
    uint64_t lsn_end; /* visible from here on */
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
        leases_lost;
};

struct interleave_scene {
    struct fixture f;
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
    uint8_t value[INTERLEAVE_VALUE_MAX + 8], check[INTERLEAVE_VALUE_MAX + 8];
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

/* One attempt of the reader, judged. */
void interleave_read_once(void);

#endif
