/* grant - which segments of a follower's log its leader may write to without being asked again.
 *
 * Pure; the shard's lcore only.  A grant names a frame that nobody else uses, for one segment of the
 * log, to one start of one node, in one epoch.  What that leader writes there at whatever moment are
 * bytes of its own log at that position, so while the frame is part of this log no checked byte
 * changes.  The frame leaves the log by a cut, by cleaning, or for a snapshot; its grant does not end
 * by that: until the peer has returned it (its writes are over and none follows), or the connection
 * over which it was given is torn down, the frame is in quarantine and reclaim.h does not give it
 * back.  A grant is open while its frame holds the log's tail or lies ahead of it.
 *
 * Grants are the credits of log writes: LIMIT_GRANTS of a shard at a time, quarantined ones counted,
 * and no more than a share of its frames.  Without one, bytes come in messages.
 * Source: DESIGN section 5, "No byte is rewritten"; section 6, row rdma. */
#ifndef DUNLIN_ENGINE_GRANT_H
#define DUNLIN_ENGINE_GRANT_H

#include "engine/base.h"
#include "engine/limits.h"

/* Where the bytes of a segment go, in the words of the transport that writes them: opaque to all but
 * the node that gave it and its transport. */
struct grant_token {
    uint64_t address; /* in the core: offset of the segment in the shard's arena */
    uint64_t key;     /* names the connection: a write over another one finds no memory */
};

/* Bytes of a log where they lie now. */
struct grant_range {
    const uint8_t *bytes;
    uint32_t length;
};

/* What proves that a range was written as its writer meant it, in the words of the transport: opaque to all
 * others.  Where the transport has none of its own: crc32c in the first four bytes, and zeros. */
#define GRANT_PROOF_BYTES 32u
struct grant_proof {
    uint8_t bytes[GRANT_PROOF_BYTES];
};

void grant_proof_make(const struct grant_range *range, struct grant_proof *proof);
MUST_USE bool grant_proof_is_sound(const struct grant_range *range,
                                   const struct grant_proof *proof);

/* How ranges are proven to and by nodes, and judged; same arguments, same answer. */
struct grant_prover {
    bool (*prove)(void *context, uint32_t node, const struct grant_range *range,
                  struct grant_proof *proof); /* false: cannot now */
    bool (*proves)(void *context, uint32_t node, const struct grant_range *range,
                   const struct grant_proof *proof);
    void *context;
};

/* By crc32c alone. */
extern const struct grant_prover grant_prover_plain;

/* Who wants to know of each grant that came back: the transport may then take from the node the means to write
 * there.  Nothing rests on it. */
struct grant_revoker {
    void (*revoke)(void *context, uint32_t node, const uint8_t *memory); /* or NULL: nobody */
    void *context;
};

/* To whom. */
struct grant_holder {
    uint64_t incarnation;
    uint64_t epoch;
    uint32_t node;
};

struct grant {
    uint64_t number; /* of the shard's grants since its start; 0: unused */
    uint64_t lsn_start;
    struct grant_holder holder;
    uint32_t frame;
};

struct grants {
    uint64_t number; /* given last */
    struct grant out[LIMIT_GRANTS];
};

/* Whether somebody may still write into a frame. */
bool grant_is_out(const struct grants *g, uint32_t frame);

/* Whether any is out. */
bool grant_any(const struct grants *g);

/* Whether this node may. */
bool grant_is_out_to(const struct grants *g, uint32_t frame, uint32_t node);

/* A grant that nobody was told of is none. */
void grant_withdraw(struct grants *g, uint64_t number);

/* A start of a node writes under no grant up to number any more.  Returns how many that were, and their frames. */
uint32_t grant_return(struct grants *g, uint32_t node, uint64_t incarnation, uint64_t number,
                      uint32_t frames[LIMIT_GRANTS]);

/* The connection with a node is gone, and with it what it could write.  Returns how many that was. */
uint32_t grant_void(struct grants *g, uint32_t node);

#endif
