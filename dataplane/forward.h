/* forward - operations that another node leads: what their datagrams say, the places that wait for
 * their answers, and which datagrams of a peer come late.
 *
 * Pure; the lcore's thread.  A datagram is a head of 24 bytes and one or more items, all of one kind:
 *
 *   ASK     origin -> leader: carry this out, in this epoch
 *   ANSWER  leader -> origin: what became of the ask of this number
 *
 * An item is a fixed part, the key, and the value, the latter two with zeros up to 8 bytes.  The value of
 * a transaction is its packed parts; that of an answer is its number where it has one but 0.  A value
 * that is not small travels beside the head, in the datagram's bytes, and is then alone in it; one that
 * is longer than a datagram comes in several parts, of which only the first has the key.
 *
 * Numbers.  The places of an lcore are numbered from 1 on, and never twice in one start.  Datagrams
 * of asks are numbered for each peer.  A leader takes them in that order only: what was given up by its
 * origin and sent again must not be carried out after what was sent later, since a sequence that was
 * refused may mean another write by then.  The epoch in an ask does the same between leaders.
 *
 * Nothing in it is trusted: lengths and counts are checked here, the operation itself by request.h.
 * Units: ticks of the caller's clock.  Integers are little-endian.
 * Source: RFC 6479 for the window of numbers. */
#ifndef DUNLIN_DATAPLANE_FORWARD_H
#define DUNLIN_DATAPLANE_FORWARD_H

#include "dataplane/transport.h"
#include "engine/shard.h"

/* First byte of the datagram: other values than enum message_kind and enum pair_kind. */
enum forward_kind { FORWARD_ASK = 48, FORWARD_ANSWER = 49 };

#define FORWARD_WIRE_VERSION 2u      /* from this version of the wire on (frame.h) */
#define FORWARD_WIRE_TRANSACTIONS 3u /* transactions, increments, ttl, leases: from this one on */
#define FORWARD_HEAD_BYTES 24u
/* A longer value travels beside the head. */
#define FORWARD_SMALL_BYTES 1024u

enum forward_flag {
    FORWARD_BESIDE = 1, /* the value is the datagram's bytes */
    FORWARD_TTL = 4,    /* ASK: its ttl follows the fixed part */
    FORWARD_MORE = 2,   /* ANSWER: not the end: the ask's value is here up to value_offset */
};

struct forward_ask {
    uint64_t number; /* of the place */
    uint64_t epoch;  /* that the leader is to lead in */
    uint64_t session, sequence, expected_lsn;
    uint32_t log;
    uint32_t uid; /* of the agent; what it may do was judged where it is attached */
    uint32_t session_slot;
    uint32_t value_length; /* of all of it; GET: room for it */
    uint32_t value_offset; /* of this part; GET: the answer begins there */
    uint32_t value_here;   /* bytes of it in this datagram */
    uint16_t flags;        /* RING_FLAG_* */
    uint16_t key_length;   /* 0 in every part but the first */
    uint8_t operation;     /* enum ring_operation */
    uint8_t how;           /* FORWARD_BESIDE, FORWARD_TTL */
    uint16_t reserved;
    /* On the wire only with FORWARD_TTL. */
    uint64_t ttl_ns; /* 0: none */
};
#define FORWARD_ASK_BYTES offsetof(struct forward_ask, ttl_ns)

struct forward_answer {
    uint64_t start;  /* of the origin, as its ask said */
    uint64_t number; /* of the place there */
    uint64_t lsn, epoch;
    uint32_t session_slot;
    uint32_t value_length; /* of all of it */
    uint32_t value_offset, value_here;
    uint16_t key_length; /* of a value whose rest must be asked for; else 0 */
    uint8_t status;      /* enum ring_status */
    uint8_t how;         /* enum forward_flag */
    uint32_t reserved;
};
_Static_assert(sizeof(struct forward_ask) == 80 && FORWARD_ASK_BYTES == 72 &&
                   sizeof(struct forward_answer) == 56,
               "no holes");

/* Whether the value of an ask may come in parts. */
static inline bool forward_is_long(uint8_t operation)
{
    return operation == RING_PUT || operation == RING_TRANSACTION;
}
/* Whether it travels from the origin to the leader. */
static inline bool forward_has_value(uint8_t operation)
{
    return forward_is_long(operation) || operation == RING_INCREMENT ||
           operation == RING_LEASE_ACQUIRE;
}
/* Whether its answer may have a number. */
static inline bool forward_has_number(uint8_t operation)
{
    return operation >= RING_TRANSACTION;
}
/* Version of the wire (frame.h) that a peer must speak to be asked for it. */
static inline uint8_t forward_version(const struct forward_ask *a)
{
    return a->operation < RING_TRANSACTION && a->ttl_ns == 0 ? FORWARD_WIRE_VERSION
                                                             : FORWARD_WIRE_TRANSACTIONS;
}

/* ---- writing ---- */

/* A datagram's head that is being filled; length 0: empty. */
struct forward_pack {
    uint32_t length;
    alignas(8) uint8_t bytes[TRANSPORT_HEAD_MAX];
};

/* Room that an item takes beside the head of its datagram. */
uint64_t forward_item_bytes(uint64_t fixed, uint64_t key_length, uint64_t value_inside);

/* Put an item at the end.  key, value: key_length and, unless it travels beside, value_here bytes; they
 * may change under us and are read once.  False: there is no room, send what is there. */
MUST_USE bool forward_put_ask(struct forward_pack *p, const struct forward_ask *a, const void *key,
                              const void *value);
MUST_USE bool forward_put_answer(struct forward_pack *p, const struct forward_answer *a,
                                 const void *key, const void *value);

/* Before it is sent: the sender's start, and the datagram's number (0 in answers). */
void forward_seal(struct forward_pack *p, uint64_t start, uint64_t number);

/* ---- reading ---- */

struct forward_reader {
    uint8_t kind; /* enum forward_kind */
    uint64_t start, number;
    const uint8_t *at, *end;
    const uint8_t *bytes; /* beside the head */
    uint32_t length;
    uint32_t count; /* items read */
};

static inline bool forward_is(const uint8_t *head, uint32_t head_length)
{
    return head_length != 0 && (head[0] == FORWARD_ASK || head[0] == FORWARD_ANSWER);
}

/* Begin with a datagram.  Returns 0, or -EBADMSG  drop it, count it. */
MUST_USE int forward_open(struct forward_reader *r, const struct transport_received *d);
/* Next item, as the reader's kind says: 1, with key and value in the datagram; 0 at its end, or
 *   -EBADMSG  lengths, kinds or counts do not agree: drop the whole datagram, count it. */
MUST_USE int forward_next_ask(struct forward_reader *r, struct forward_ask *a, const uint8_t **key,
                              const uint8_t **value);
MUST_USE int forward_next_answer(struct forward_reader *r, struct forward_answer *a,
                                 const uint8_t **key, const uint8_t **value);

/* Asks that one datagram can hold. */
#define FORWARD_ASKS_MAX ((TRANSPORT_HEAD_MAX - FORWARD_HEAD_BYTES) / (uint32_t)FORWARD_ASK_BYTES)

/* ---- datagrams that come late ---- */

/* Of one peer: numbers seen in its newest start; all zero to begin with. */
struct forward_window {
    uint64_t start, highest, seen; /* bit i of seen: highest - i */
};

enum forward_order {
    FORWARD_IN_ORDER,
    FORWARD_LATE, /* behind a later one: nothing in it may be carried out; not seen before */
    FORWARD_SEEN, /* twice, or too late to tell, or of an older start: nothing to say to it */
};
enum forward_order forward_window_take(struct forward_window *w, uint64_t start, uint64_t number);

/* ---- places ---- */

/* An operation that waits for its leader's answer. */
struct forward_place {
    uint64_t number;
    struct shard_origin origin;
    uint64_t epoch, ticks; /* ticks: last that something moved */
    uint64_t sequence;
    uint64_t lsn;     /* GET in parts: of the version */
    uint32_t leader;  /* node */
    uint32_t log;     /* of the shard */
    uint32_t uid;     /* of the agent */
    uint32_t length;  /* of the value; GET: 0 */
    uint32_t done;    /* bytes sent; GET: bytes here */
    uint32_t arrived; /* bytes that the leader has */
    bool open;
};

/* A ring by number, from which open places are left out when it comes round to them: one that waits for
 * long, as for an answer that was lost, keeps nobody else waiting. */
struct forward_table {
    struct forward_place *places; /* LIMIT_FORWARDS */
    uint64_t head, tail;          /* every open place is that of one of [head, tail) */
    uint32_t open_count;
};

/* memory: LIMIT_FORWARDS places, the caller's, outlives the table. */
void forward_table_init(struct forward_table *t, struct forward_place *memory);
/* The place that would be numbered tail as it is then, emptied; NULL: all are open.  It is taken by
 * forward_table_take, and what is done with it before can be forgotten. */
struct forward_place *forward_table_next(struct forward_table *t);
void forward_table_take(struct forward_table *t);
/* The open place of a number that this leader may answer; NULL: it was given up, or never was. */
struct forward_place *forward_table_find(const struct forward_table *t, uint64_t number,
                                         uint32_t leader);
/* The open place of a number that is known to be; in a walk from head to tail, the one of an older number
 * that may be there instead.  NULL: there is none. */
static inline struct forward_place *forward_table_at(const struct forward_table *t, uint64_t number)
{
    struct forward_place *p = &t->places[number % LIMIT_FORWARDS];
    return p->open ? p : NULL;
}
/* It is answered or given up. */
void forward_table_end(struct forward_table *t, uint64_t number);

#endif
