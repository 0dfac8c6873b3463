/* lcore_forward - agents on any node: operations of a shard that another node leads go there and come
 * back, so that an agent is served wherever it is attached.
 *
 *   poll_forward.c       where the agent is: places, asks, answers to its rings
 *   poll_forward_lead.c  where the leader is: asks are judged and carried out like an agent's
 *
 * The way of one operation.  poll_request.c finds that it may not be carried out here and calls
 * poll_forward_ask; it waits in a place while its ask travels in a datagram with others of the same
 * pass (forward.h).  The leader judges it as it judges an agent's, executes it, and answers when an
 * agent would be answered.  The origin then completes it in the agent's ring.
 *
 * Exactly once is the session's business, not this one's: nothing is repeated here.  An operation that
 * is not answered within two lease times, or whose shard has another epoch by then, is given up: the
 * agent gets RING_RETRY and asks again under the same sequence.  Its epoch is 0 only where it certainly
 * was not carried out.  A later answer finds no place.  Of a session's writes one that is lost makes a
 * gap: those behind it are answered RING_RETRY, not RING_SEQUENCE.
 *
 * Values.  Up to FORWARD_SMALL_BYTES they travel in the datagram's head, copied.  A PUT's larger one is
 * copied, once, from the agent's memory to a buffer that stands still until the transport lets go; a
 * GET's is read in place from the log, under a hold.  One longer than FORWARD_PART_BYTES goes in parts,
 * LIMIT_FORWARD_PARTS at a time: the leader confirms those of a PUT, the origin asks for the rest of a
 * GET, and gives it up if another version stands there then.  (One that lies in a ring goes at once,
 * since the ring's memory is given back.)  What does not come in order is left
 * lying, and the operation is given up in time.
 *
 * Back-pressure: without a place, a buffer or room for the datagram a request stays in its ring.
 *
 * The lcore's thread only. */
#ifndef DUNLIN_DATAPLANE_LCORE_FORWARD_H
#define DUNLIN_DATAPLANE_LCORE_FORWARD_H

#include "dataplane/forward.h"
#include "dataplane/lcore_cluster.h"

#define FORWARD_PART_BYTES (1u << 15)
/* Owner of the copy buffers among the lcore's holds: no space has this id. */
#define FORWARD_HOLDS 0u

struct forward_peer {
    uint32_t node;      /* PAIR_NOBODY: unused, as pairs are */
    uint8_t version;    /* of the wire, as last agreed; 0: not heard of yet */
    bool is_silent;     /* an ask to it was given up, and nothing has come from it since */
    uint64_t asks_sent; /* datagrams; the next one's number is one more */
    struct forward_window window; /* of its asks */
    struct forward_pack asks, answers;
};

/* A PUT or transaction whose value comes in parts. */
struct forward_put {
    const struct forward_peer *from; /* NULL: unused */
    uint64_t start;                  /* of the origin */
    uint64_t ticks;                  /* when it was begun */
    uint32_t arrived;                /* bytes of the value */
    uint64_t hash;                   /* of the key */
    struct forward_ask ask;          /* the first part's */
    alignas(8) uint8_t key[LIMIT_KEY_BYTES];
    uint8_t *value; /* LIMIT_VALUE_BYTES, touched as they are used */
};

struct lcore_forward {
    struct lcore_cluster *cluster;
    struct forward_table table;
    struct forward_peer *peers;
    uint32_t peer_count;
    uint32_t part_bytes; /* as long as a part may be */
    uint8_t *buffers;    /* LIMIT_FORWARD_BUFFERS of FORWARD_PART_BYTES */
    uint32_t buffer_next;
    uint64_t version; /* of the coordinator's decisions, when places were last looked at */
    uint64_t ticks_looked;
    uint64_t ticks_began; /* the first pass; 0: it is not over */
    struct forward_put puts[LIMIT_FORWARD_PUTS];
    void *memory[4]; /* what close frees */
    uint32_t buffer_counts[LIMIT_FORWARD_BUFFERS];
};

/* Set-up, on control's thread, once c->transport is there.  Returns 0 or -ENOMEM with nothing left
 * behind.  close: f may be NULL; no transport reads its buffers any more, so lcores whose bodies read in
 * place (transport_mem) are all stopped before one is closed. */
MUST_USE int lcore_forward_open(struct lcore_cluster *c);
void lcore_forward_close(struct lcore_forward *f);

/* Send an agent's request to the leader of its shard.  Returns 0: it waits in a place;
 *   RING_RETRY      no other node is known to lead the shard, or nothing is agreed with it now; it went nowhere
 *   RING_TOO_LARGE  a value that is not in the bulk buffer and needs more buffers than there are
 *   RING_UNSUPPORTED  the leader runs a release that does not know the operation; it went nowhere
 *   -EAGAIN         no room now: leave it in the ring, ask again in a later pass. */
MUST_USE int poll_forward_ask(struct lcore *l, const struct lcore_request *q,
                              const struct shard_origin *origin);

/* For a node that is cut off (poll_cut_off.h): whether to ask for anything of the shard, here or at its leader, is in
 * vain as far as the data plane shows. */
bool poll_forward_is_vain(const struct lcore *l, const struct shard *s);

/* A datagram that forward_is.  Returns 0, or -EPROTO  no correct peer says this: count it. */
MUST_USE int poll_forward_received(struct lcore *l, const struct transport_received *d);

/* Whether an answer is for another node; then poll_forward_answer sends it there.  c: what an agent
 * here would get, without its value. */
static inline bool poll_forward_is_origin(const struct shard_origin *origin)
{
    return origin->agent >= LIMIT_AGENTS;
}
void poll_forward_answer(struct lcore *l, const struct shard *s, const struct shard_answer *answer,
                         struct ring_completion *c);

/* What waits for leaders of a space that is dropped here is given up. */
void poll_forward_space_end(struct lcore *l, uint32_t space);

/* A node comes; or goes, and what waits for it is given up as with one that does not answer. */
void poll_forward_meet(struct lcore *l, uint32_t node);
void poll_forward_part(struct lcore *l, uint32_t node);

/* Once per pass, behind its answers: send what was gathered, give up what was not answered. */
void poll_forward_flush(struct lcore *l);

/* ---- between the files ---- */

struct forward_peer *forward_peer_of(const struct lcore_forward *f, uint32_t node);

/* What travels beside a datagram's head. */
struct forward_bytes {
    const uint8_t *bytes;
    uint32_t length;
    uint64_t hold; /* its word */
};
/* Send a pack and empty it.  False: the transport is full; it is as it was. */
MUST_USE bool forward_send(struct lcore_forward *f, struct forward_peer *p,
                           struct forward_pack *pack, const struct forward_bytes *beside);

int forward_asks_received(struct lcore_forward *f, struct forward_peer *from,
                          struct forward_reader *r);
int forward_answers_received(struct lcore_forward *f, const struct forward_peer *from,
                             struct forward_reader *r);

#endif
