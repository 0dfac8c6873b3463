/* fixture - one shard in ordinary memory: arena, board, directory, node page, and a reader's view
 * of them, in one block that can be saved and put back.
 *
 * Nothing here has a thread or a clock of its own: ticks and grace periods move when a test says
 * so. Everything random comes from a seed (fixture_random). */
#ifndef DUNLIN_TESTS_UNIT_ENGINE_FIXTURE_H
#define DUNLIN_TESTS_UNIT_ENGINE_FIXTURE_H

#include "engine/read.h"
#include "engine/shard.h"
#include "engine/space.h"

#define FIXTURE_FRAMES 4096u

struct fixture_config {
    uint64_t quota_bytes;
    uint32_t shard_count;
    uint32_t number; /* of the shard that is made */
    uint32_t sessions_max;
    uint32_t frames_per_shard; /* 0: what the quota gives */
    uint32_t chunks;           /* that exist at first; 0: all */
    uint32_t history;          /* as in shard_config */
    uint64_t history_ns;
    bool follower; /* an empty log, no epoch begun */
    bool ordered;
};

struct fixture {
    struct layout_geometry geometry;
    uint8_t *block; /* everything below lies in it */
    uint64_t block_bytes;
    struct layout_space *header;
    struct layout_board *boards, *board;
    struct layout_frame *directory;
    struct layout_node *node;
    uint8_t *arena;
    _Atomic uint32_t *chunks_wanted;
    struct shard *shard;
    struct read_space space;
    struct reclaim_now now; /* pinned() looks at pinned[] */
    bool grace_held;        /* no grace period ends */
    bool pinned[FIXTURE_FRAMES];
    uint64_t clock_ns;
    uint64_t answers; /* taken by fixture_settle */
};

/* A shard as of shard_init.  Aborts when that fails: a test without a shard says nothing. */
void fixture_open(struct fixture *f, const struct fixture_config *c);
void fixture_close(struct fixture *f);

/* The block as it is now, in memory of malloc; and back.  Pointers stay good: it goes to the same
 * place. The struct fixture itself is the caller's to keep. */
uint8_t *fixture_save(const struct fixture *f);
void fixture_restore(struct fixture *f, const uint8_t *saved);

/* Writes without a session; what shard_write returned. */
int fixture_put(struct fixture *f, const void *key, uint32_t key_length, const void *value,
                uint32_t value_length);
int fixture_delete(struct fixture *f, const void *key, uint32_t key_length);
struct shard_write fixture_write_of(const struct fixture *f, uint8_t operation, const void *key,
                                    uint32_t key_length);

void fixture_commit(struct fixture *f);
/* One pass of housekeeping; what shard_maintain returned.  All due answers are taken first. */
bool fixture_maintain(struct fixture *f);
/* Take the answers that are due. */
void fixture_answers(struct fixture *f);
/* Commit, take the answers, maintain until there is nothing left to do. */
void fixture_settle(struct fixture *f);

/* A read in place, repeated until it validates.  Returns read_find's 0 or 1; aborts after a
 * thousand tries. */
int fixture_read(const struct fixture *f, const void *key, uint32_t key_length,
                 struct read_found *found);

uint64_t fixture_counter(const struct fixture *f, enum counter which);

/* splitmix64; below(n): 0 .. n-1. */
uint64_t fixture_random(uint64_t *state);
uint32_t fixture_below(uint64_t *state, uint32_t n);

/* A key, and the bytes that version of it holds, so that any mix-up shows. */
uint32_t fixture_key(uint32_t number, char key[32]);
void fixture_value(uint32_t number, uint64_t version, void *value, uint32_t length);
bool fixture_value_is(uint32_t number, uint64_t version, const void *value, uint32_t length);

/* live bytes, counted afresh: every record that a slot, a pending link, a session or the epoch
 * table names.  frame_live: per frame, FIXTURE_FRAMES words, or NULL. */
uint64_t fixture_live_bytes(const struct fixture *f, uint32_t *frame_live);

#endif
