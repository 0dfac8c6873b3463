/* lease - user leases: a key with an owner, a ttl and a fencing token.
 *
 * Pure; the shard's lcore only.  Three operations of agents (ring.h), judged and written like any other
 * write of a session (write.h):
 *
 *   acquire   the key must not exist, or have expired.  Its value is the owner's name; its token, for as
 *             long as it is held, is the LSN of this record, so tokens of a key only grow
 *   renew     whoever has the token: the ttl begins again, owner and token stay
 *   release   whoever has the token: a tombstone
 *
 * Refused with RING_CONDITION, lsn and number saying who holds it: what comes with another token; an
 * acquire of what is held, also by the same owner, since one who asks twice may be two; and every plain
 * write of a held key, so that no lease is lost by accident.
 * Source: Burrows, "The Chubby lock service" (OSDI 2006), 2.4, for sequencers. */
#ifndef DUNLIN_ENGINE_LEASE_H
#define DUNLIN_ENGINE_LEASE_H

#include "engine/extension.h"
#include "engine/ring.h"

struct shard_write;
struct write_judgement;

static ALWAYS_INLINE bool lease_is_operation(uint8_t operation)
{
    return operation >= RING_LEASE_ACQUIRE && operation <= RING_LEASE_RELEASE;
}

/* Extensions of the record of a lease. */
struct lease_extensions {
    struct record_ttl ttl;
    struct record_token token;
};

/* Extensions of a void, the second one only where a lease was met. */
struct lease_void {
    struct record_result result;
    struct record_token token;
};
_Static_assert(sizeof(struct lease_void) == 24, "no holes");

/* Judge a write of a lease, or of a key whose newest version has extensions: what j says of the key is
 * filled in, and its status as a plain write's. */
void lease_judge(const struct shard_write *w, struct write_judgement *j);

/* Extensions of the record that an acquire or a renewal makes. */
struct lease_extensions lease_extensions_of(const struct shard_write *w,
                                            const struct write_judgement *j);

/* The token that the answer to a lease operation names, as its record says; 0: it is none. */
uint64_t lease_number(const struct record *r);

#endif
