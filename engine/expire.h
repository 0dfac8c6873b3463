/* expire - keys that go by themselves: what the leader of a shard does to a value whose ttl ran out.
 *
 * Pure: no clock (time comes in); the shard's lcore only.  DESIGN section 3, ttl and user leases.
 *
 * Only a log record expires a key: RECORD_EXPIRE with RECORD_FLAG_KEY, which acts as a tombstone.  The
 * leader appends it when its own clock says so; readers never judge a ttl.  Every replica keeps the
 * entries of expiry.h, so that a new leader has them; it counts every ttl afresh from its first look in
 * its epoch on, since it knows nothing of the clock of the one before.
 *
 * Which clock: the lcore's steady one (never set, it only grows), so that a jump of the time of day
 * expires nothing.  The records' hybrid clocks are of the time of day and count for nothing here.
 *
 * What an entry's due_ns is: a lower bound.  A key that was written again, or whose leader is new, is
 * not moved in the heap; when its old time comes, its newest version says what is true.
 *
 * Units: steady_ns nanoseconds of that clock, not 0; clock_ns since 1970, for the record. */
#ifndef DUNLIN_ENGINE_EXPIRE_H
#define DUNLIN_ENGINE_EXPIRE_H

#include "engine/base.h"
#include "engine/record.h"

struct shard;

/* Entries that a shard of this geometry needs: two records with a ttl never share a block of
 * RECORD_SMALL_BYTES. */
struct layout_geometry;
uint32_t expire_capacity(const struct layout_geometry *g);

/* The newest version of a key is another one now.  from, to: in the arena; NULL: there is none.
 * steady_ns: when it was written, or later; 0: somebody else's writing, or its undoing. */
void expire_follow(struct shard *s, const struct record *from, const struct record *to,
                   uint64_t steady_ns);

/* Leader: since when the ttl of a version counts here, the newest of its key; 0: not known. */
uint64_t expire_counted(const struct shard *s, const struct record *r);

/* Whether so many more keys may have a ttl. */
MUST_USE bool expire_has_room(struct shard *s, uint32_t count);

/* Leader only: expire what is due, a bounded number of keys and looks.  The records wait for their commit
 * like writes.  Returns when to call again at the latest: UINT64_MAX no key has a ttl; steady_ns or less:
 * there is more to do, or no room now, in the next pass. */
MUST_USE uint64_t shard_expire(struct shard *s, uint64_t steady_ns, uint64_t clock_ns);

#endif
