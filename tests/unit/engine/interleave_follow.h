/* interleave_follow - the writer of interleave.h as a follower: what a leader wrote lands in pieces
 * and in any order, is checked and indexed, committed up to some transaction end, or cut and
 * replaced by other bytes at the same LSNs.
 *
 * The leader is a byte stream that the test writes itself, transactions of one to three records.
 * A record joins the history of its key when it is committed, just before the follower is told:
 * what was cut is in no history, and its version number is never given again, so that a reader who
 * shows it, or bytes of it, is found out. */
#ifndef DUNLIN_TESTS_UNIT_ENGINE_INTERLEAVE_FOLLOW_H
#define DUNLIN_TESTS_UNIT_ENGINE_INTERLEAVE_FOLLOW_H

#include "tests/unit/engine/interleave.h"

extern const struct interleave_writer interleave_follower;

/* As interleave_open and interleave_keep, for a scene whose writer follows. */
void interleave_follow_open(struct interleave_scene *s, uint64_t quota, uint32_t frames);
void interleave_follow_keep(struct interleave_scene *s);

/* The leader appends one transaction: a value of this length, or a delete. */
void interleave_follow_put(uint32_t key, uint32_t length);
void interleave_follow_delete(uint32_t key);

/* All that the leader has lands and is checked; until then memory is reclaimed as it must. */
void interleave_follow_catch_up(void);
/* Keys from .. to - 1, landed and committed without a pass of housekeeping. */
void interleave_follow_fill(uint32_t from, uint32_t to);
/* All that is checked is committed. */
void interleave_follow_commit(void);
/* All that is not committed is cut, and the leader of another epoch goes on from there. */
void interleave_follow_cut(void);

#endif
