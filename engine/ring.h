/* ring - one direction of messages between an agent and an lcore, in memory both can write.
 *
 * A single-producer, single-consumer ring of messages in 64-byte cells.  A message's first word
 * says that it is there (its length is not 0), so that one cache line carries a small message: the
 * consumer polls the word itself, not a position elsewhere.  Before the consumer gives cells back
 * it clears their first words, so what an earlier lap left is never read as a message.  (Why not
 * the producer, one message ahead: the line that the consumer polls would go to and fro twice a
 * message.) Claim space, build in place, commit (Aeron's tryClaim).
 *
 * Trust: each side keeps its own position and the geometry in private memory (struct ring) and
 * reads of the shared memory only first words, the payload, and the other side's position, all of
 * which may hold anything at any time: a wrong one is -EPROTO, for which the daemon detaches the
 * agent. The consumer gets a pointer; it copies what it must judge, once, and then judges the copy.
 *
 * Memory order: A1 commit (release) synchronises with A2 peek (acquire): the message is whole.
 *               B1 consume (release) synchronises with B2 claim (acquire): the cells are free. */
#ifndef DUNLIN_ENGINE_RING_H
#define DUNLIN_ENGINE_RING_H

#include "engine/base.h"
#include "engine/layout.h"

#include <string.h>

/* ---- messages ---- */

enum ring_operation {
    RING_NOP = 1,          /* answered at once; measures the ring, proves the daemon lives */
    RING_SESSION_OPEN = 2, /* key: the 16-byte session id; of one shard */
    RING_PUT = 3,
    RING_DELETE = 4,
    RING_GET = 5, /* linearizable, by the owner of the shard */
    RING_SESSION_CLOSE =
        6,                /* key: as OPEN; its owner will never ask again what became of a write */
    RING_TRANSACTION = 7, /* no key; value: packed struct ring_item, of keys of one shard */
    RING_INCREMENT = 8,   /* value: what to add, int64_t; what is stored is decimal text */
    /* User leases: a key with an owner and a ttl.  The token is the LSN of the acquire. */
    RING_LEASE_ACQUIRE =
        9, /* value: the owner's name; extension TTL; only if there is no such key */
    RING_LEASE_RENEW = 10,   /* expected_lsn: the token, which stays; extension TTL */
    RING_LEASE_RELEASE = 11, /* expected_lsn: the token */
    /* Of one shard, no key; lsn: position up to which all is committed that was appended before the
     * question.  What is read anywhere at it or above is linearizable. */
    RING_POSITION = 12,
    RING_OPERATION_COUNT
};

enum ring_status {
    RING_OK = 0,
    RING_NOT_FOUND = 1,
    RING_CONDITION = 2,   /* compare failed; lsn: version that stands there, 0 none */
    RING_UNAVAILABLE = 3, /* no lease, no quorum, or the space does not exist here */
    RING_ACCESS = 4,      /* refused by the space's access list */
    RING_QUOTA = 5,       /* the shard is full of live data */
    RING_INPUT = 6,       /* malformed: lengths, shard, operation */
    RING_TOO_LARGE = 7,   /* key or value above the limit, or the buffer for the answer too small */
    /* Session unknown or forgotten: not applied now; if it was sent before, nobody knows whether it was
     * applied then.  Opening the same id again begins a session that remembers nothing of the one before: a
     * write repeated under it is applied, be it for the second time. */
    RING_FATE_UNKNOWN = 8,
    RING_SESSION_LIMIT = 9,
    RING_SEQUENCE = 10, /* a gap or older than the results that are kept; not applied */
    /* The shard is not led here, or the epoch changed: nothing of it counts yet, and the same
     * sequence again is safe.  epoch 0: it was never appended; else it was, and cut, and where a
     * minority still holds it, it may count in the end. */
    RING_RETRY = 11,
    RING_NOT_NUMBER = 12,  /* INCREMENT of what is no decimal int64; lsn: what stands there */
    RING_RANGE = 13,       /* INCREMENT past an int64; lsn: as above */
    RING_UNSUPPORTED = 14, /* the leader, or a peer of the shard, runs a release without it; not
                              applied */
    RING_STATUS_COUNT
};

/* PUT, DELETE, INCREMENT: only if the newest version is expected_lsn */
#define RING_FLAG_COMPARE 0x0001u
#define RING_FLAG_BULK 0x0002u     /* value lies (GET: is wanted) in the bulk buffer */
#define RING_FLAG_EXISTING 0x0004u /* SESSION_OPEN: FATE_UNKNOWN rather than open a new one */

#define RING_CELL 64u

/* First word of every message, stored and loaded as one. */
struct ring_head {
    uint32_t length;   /* of the message, head included; 0: none here; not rounded */
    uint8_t operation; /* enum ring_operation; 0 is filler up to the ring's end */
    uint8_t reserved;
    uint16_t flags;
};
_Static_assert(sizeof(struct ring_head) == 8, "one word");

/* Agent to lcore.  Payload: extensions, key, value (unless BULK), each with zeros up to 8 bytes as
 * in a record, so that the lcore copies and sums them in whole words: ring_request_bytes. */
struct ring_request {
    struct ring_head head;
    uint16_t space;
    uint16_t reserved;
    uint32_t shard;
    uint64_t tag; /* given back in the completion */
    uint32_t session_slot;
    uint16_t key_length;
    uint16_t extension_length;
    uint64_t session; /* LSN of the session's opening record in this shard */
    uint64_t sequence;
    uint64_t expected_lsn;
    uint32_t value_length; /* GET: room for the value, in the completion or at bulk_offset */
    uint32_t bulk_offset;
};
_Static_assert(sizeof(struct ring_request) == 64, "one cell, then the payload");

/* Length of a request with this payload (value_length 0 when BULK). */
static inline uint64_t ring_request_bytes(uint64_t extension_length, uint64_t key_length,
                                          uint64_t value_length)
{
    return sizeof(struct ring_request) + align_up(extension_length, 8) + align_up(key_length, 8) +
           align_up(value_length, 8);
}

/* A part of such a payload, with its zeros; at has room for both.  Returns what follows it. */
static inline uint8_t *ring_put_padded(uint8_t *at, const void *bytes, uint64_t length)
{
    uint64_t padded = align_up(length, 8);
    if (padded == 0)
        return at;
    memset(at + padded - 8, 0, 8);
    memcpy(at, bytes, length);
    return at + padded;
}

/* One part of a RING_TRANSACTION, then its key and its value, each with zeros up to 8 bytes.  All
 * conditions are judged first: if they hold, what stands under THEN is done, else what stands under ELSE;
 * where nothing does, nothing is, and the answer is RING_CONDITION. */
enum ring_section {
    RING_SECTION_THEN = 0,    /* a write; or, as NOP, a condition; or both */
    RING_SECTION_COMPARE = 1, /* NOP: a condition */
    RING_SECTION_ELSE = 2,    /* a write */
};

enum ring_compare {
    RING_COMPARE_NONE = 0,
    RING_COMPARE_VERSION = 1, /* the newest version is expected; 0: there is no such key */
    RING_COMPARE_EXISTS = 2,
    RING_COMPARE_ABSENT = 3,
    RING_COMPARE_TOKEN = 4, /* the key is there, and its fencing token is expected */
    RING_COMPARE_COUNT
};

struct ring_item {
    uint8_t section;   /* enum ring_section */
    uint8_t operation; /* RING_PUT, RING_DELETE, RING_INCREMENT, RING_NOP */
    uint8_t compare;   /* enum ring_compare */
    uint8_t reserved;
    uint16_t key_length;
    uint16_t extension_length; /* PUT: of a TTL, in front of the key; else 0 */
    uint64_t expected;         /* LSN or token */
    uint32_t value_length;     /* INCREMENT: 8 */
    uint32_t reserved_too;
};
_Static_assert(sizeof(struct ring_item) == 24, "no holes");

/* Length of a packed item without an extension. */
static inline uint64_t ring_item_bytes(uint64_t key_length, uint64_t value_length)
{
    return sizeof(struct ring_item) + align_up(key_length, 8) + align_up(value_length, 8);
}

/* Lcore to agent.  Payload: value of a GET (unless BULK). */
struct ring_completion {
    struct ring_head head;
    uint64_t tag;
    uint32_t status; /* enum ring_status */
    uint32_t value_length;
    uint64_t lsn; /* of the record made or read; CONDITION: of the one that was met */
    uint64_t epoch;
    uint32_t log;
    uint32_t session_slot;
    uint64_t sequence;
    /* INCREMENT: the value now; TRANSACTION: 1 THEN ran, 0 ELSE did; LEASE_ACQUIRE, LEASE_RENEW: the
     * token; CONDITION: the token of the lease that was met; else 0 */
    int64_t number;
};
_Static_assert(sizeof(struct ring_completion) == 64, "one cell");

/* ---- shared memory of one agent ---- */

/* Control words of one ring, each line with one writer. */
struct ring_shared {
    alignas(
        CACHE_LINE) _Atomic uint64_t consumed; /* consumer: position up to which cells are free */
    /* request ring, lcore: who must be woken; see RING_CONSUMER_* */
    alignas(CACHE_LINE) _Atomic uint32_t consumer_state;
    /* completion ring, agent: 1 while it sleeps on wake; the lcore adds 1 to wake and wakes it */
    alignas(CACHE_LINE) _Atomic uint32_t agent_sleeping;
    _Atomic uint32_t wake;
};

#define RING_CONSUMER_DOORBELL 0u /* set the doorbell bit; ring the eventfd if the lcore sleeps */
#define RING_CONSUMER_POLLING 1u  /* the lcore looks at this ring each pass */

/* A pin: 0, or space (bits 48..63), frame + 1 (bits 0..31).  Written by the agent only. */
struct ring_pins {
    alignas(CACHE_LINE) _Atomic uint64_t pin[LIMIT_PINS];
};
static inline uint64_t ring_pin_make(uint32_t space, uint64_t frame)
{
    return (uint64_t)space << 48 | (frame + 1);
}

/* First page of the agent file.  The daemon writes it once and never reads its geometry back. */
struct ring_file {
    uint64_t magic;
    uint64_t fingerprint;
    uint64_t bytes;
    uint32_t lcore_count;
    uint32_t request_bytes;    /* data of each request ring, power of two */
    uint32_t completion_bytes; /* data of each completion ring, power of two */
    uint32_t bulk_bytes;
    uint32_t agent_slot; /* number of its doorbell bit */
    uint32_t reserved;
    struct ring_pins pins;
};
_Static_assert(sizeof(struct ring_file) <= PAGE, "the header is one page");

/* Places in an agent file, from its geometry.  Each pair: two control pages, requests, answers. */
static inline uint64_t ring_file_shared(const struct ring_file *f, uint32_t lcore, bool completion)
{
    uint64_t pair = 2 * (uint64_t)PAGE + f->request_bytes + f->completion_bytes;
    return PAGE + lcore * pair + (completion ? PAGE : 0);
}
static inline uint64_t ring_file_data(const struct ring_file *f, uint32_t lcore, bool completion)
{
    return ring_file_shared(f, lcore, false) + 2 * (uint64_t)PAGE +
           (completion ? f->request_bytes : 0);
}
static inline uint64_t ring_file_bulk(const struct ring_file *f)
{
    return ring_file_shared(f, f->lcore_count, false);
}
static inline uint64_t ring_file_bytes(const struct ring_file *f)
{
    return align_up(ring_file_bulk(f) + f->bulk_bytes, PAGE);
}

/* ---- one side of a ring ---- */

struct ring {
    uint8_t *data;
    struct ring_shared *shared;
    uint64_t bytes;    /* power of two */
    uint64_t position; /* own: next to produce or consume; only grows */
    uint64_t seen;     /* producer: consumed as last read; consumer: consumed as last published */
};

/* bytes: power of two from LIMIT_RING_BYTES_MIN on.  Memory is zero when the first side joins. */
void ring_join(struct ring *r, struct ring_shared *shared, void *data, uint64_t bytes);

/* Largest message: a quarter of the ring, so that one always fits once the consumer caught up. */
static inline uint64_t ring_message_max(const struct ring *r)
{
    return r->bytes / 4;
}

/* Producer: room for a message of length bytes (head included) at *message, 64-aligned.  Nothing is
 * visible before ring_commit.  Returns 0, or
 *   -EAGAIN    full: try again when the other side has consumed
 *   -EMSGSIZE  longer than ring_message_max: use the bulk buffer
 *   -EPROTO    the consumer's position is impossible: stop using this ring. */
MUST_USE static ALWAYS_INLINE int ring_claim(struct ring *r, uint64_t length, void **message);

/* Producer: 1 if a message of this length can be claimed now, 0 if not, -EPROTO as above. */
MUST_USE static ALWAYS_INLINE int ring_has_room(struct ring *r, uint64_t length);

/* Producer: publish the claimed message; everything but its first word is already written. */
static ALWAYS_INLINE void ring_commit(struct ring *r, void *message, struct ring_head head);

/* Consumer: 1 and the next message with a copy of its head, 0 when there is none, or
 *   -EPROTO    the head is impossible: stop using this ring.
 * The message stays until ring_consume. */
MUST_USE static ALWAYS_INLINE int ring_peek(struct ring *r, void **message, struct ring_head *head);

/* Consumer: pass over the message that ring_peek gave, then (ring_publish) let the producer have
 * the cells of all passed messages; once per batch. */
static ALWAYS_INLINE void ring_consume(struct ring *r, const struct ring_head *head);
static ALWAYS_INLINE void ring_publish(struct ring *r);

/* As ring_publish, once it is worth it: its stores to lines that the producer wrote last keep the
 * next message waiting.  What is held back never keeps the longest message out. */
static ALWAYS_INLINE void ring_publish_due(struct ring *r);

/* ---- inside ---- */

/* Why inline: a message is a handful of loads and stores, of which a call would be half. */

static ALWAYS_INLINE _Atomic uint64_t *ring_first_word(const struct ring *r, uint64_t position)
{
    return (_Atomic uint64_t *)(void *)(r->data + (position & (r->bytes - 1)));
}

static ALWAYS_INLINE uint64_t ring_to_end(const struct ring *r)
{
    return r->bytes - (r->position & (r->bytes - 1));
}

/* Whether cells bytes fit here, as far as is known, without filler.  One cell stays empty: a
 * consumer that passed all others without giving them back finds the end there, not the first of
 * them again. */
static ALWAYS_INLINE bool ring_fits(const struct ring *r, uint64_t cells)
{
    return r->position + cells + RING_CELL - r->seen <= r->bytes && cells <= ring_to_end(r);
}

/* The rest of ring_has_room and ring_claim: the other side's position is loaded anew, filler
 * written; of ring_peek: filler passed over, and everything impossible. */
MUST_USE int ring_has_room_slowly(struct ring *r, uint64_t length);
MUST_USE int ring_claim_slowly(struct ring *r, uint64_t length, void **message);
MUST_USE int ring_peek_slowly(struct ring *r, void **message, struct ring_head *head);

static ALWAYS_INLINE int ring_has_room(struct ring *r, uint64_t length)
{
    return LIKELY(ring_fits(r, align_up(length, RING_CELL))) ? 1 : ring_has_room_slowly(r, length);
}

static ALWAYS_INLINE int ring_claim(struct ring *r, uint64_t length, void **message)
{
    if (UNLIKELY(length > ring_message_max(r) || length < sizeof(struct ring_head)))
        return -EMSGSIZE;
    if (UNLIKELY(!ring_fits(r, align_up(length, RING_CELL))))
        return ring_claim_slowly(r, length, message);
    *message = r->data + (r->position & (r->bytes - 1));
    return 0;
}

static ALWAYS_INLINE void ring_commit(struct ring *r, void *message, struct ring_head head)
{
    uint64_t word;
    memcpy(&word, &head, sizeof word);
    ASSERT_SLOW(message == r->data + (r->position & (r->bytes - 1)));
    /* A1: release, the message is whole */
    atomic_store_explicit((_Atomic uint64_t *)message, word, memory_order_release);
    r->position += align_up(head.length, RING_CELL);
}

/* The head is one that an honest producer may have written in front of a message. */
static ALWAYS_INLINE bool ring_head_sound(const struct ring *r, const struct ring_head *head)
{
    return head->operation != 0 && head->length >= sizeof *head &&
           head->length <= ring_message_max(r) &&
           align_up(head->length, RING_CELL) <= ring_to_end(r);
}

static ALWAYS_INLINE int ring_peek(struct ring *r, void **message, struct ring_head *head)
{
    /* A2: acquire */
    uint64_t word = atomic_load_explicit(ring_first_word(r, r->position), memory_order_acquire);
    memcpy(head, &word, sizeof word);
    if (head->length == 0)
        return 0;
    if (UNLIKELY(!ring_head_sound(r, head)))
        return ring_peek_slowly(r, message, head);
    *message = r->data + (r->position & (r->bytes - 1));
    return 1;
}

static ALWAYS_INLINE void ring_consume(struct ring *r, const struct ring_head *head)
{
    r->position += align_up(head->length, RING_CELL);
}

static ALWAYS_INLINE void ring_publish(struct ring *r)
{
    if (r->position == r->seen)
        return;
    for (uint64_t at = r->seen; at < r->position; at += RING_CELL)
        /* relaxed: B1 orders it before the producer gets that far */
        atomic_store_explicit(ring_first_word(r, at), 0, memory_order_relaxed);
    /* B1: release, our reads of the cells are done, and their first words cleared */
    atomic_store_explicit(&r->shared->consumed, r->position, memory_order_release);
    r->seen = r->position;
}

#define RING_PUBLISH_BYTES 8192u
/* Why: less than an eighth held back, less than a quarter of filler, a quarter of message, one
 * cell. */
_Static_assert(LIMIT_RING_BYTES_MIN >= 16 * RING_CELL, "the longest message fits beside them");

static ALWAYS_INLINE void ring_publish_due(struct ring *r)
{
    if (UNLIKELY(r->position - r->seen >= min_u64(r->bytes / 8, RING_PUBLISH_BYTES)))
        ring_publish(r);
}

#endif
