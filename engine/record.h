/* record - one immutable entry of a log, as it lies in memory, on the wire and on disk.
 *
 *   0 crc32c | 4 format | 5 kind | 6 flags | 7 operation | 8 log | 12 value length
 *  16 key length | 18 extension length | 20 hash | 24 lsn | 32 lsn of the key's previous version
 *  40 session | 48 sequence | 56 hybrid clock | 64 extensions, key, value, each with zeros up to 8
 *
 * Little-endian.  A record starts at a multiple of 8; one of up to 128 bytes does not cross a
 * 128-byte boundary; none crosses a segment.  Gaps are pads, whose first 8 bytes are all there is
 * to say: crc over bytes 4 to 7, format, kind, and the length in 8-byte units at byte 6; the rest is 0.
 * crc32c covers the payload first (bytes 64 to the end), then bytes 4 to 63: so the payload can be
 * copied and summed in one pass before the header is known.
 * A transaction is one record or several next to each other in one segment, pads between them apart; only
 * its last has the end flag, and the session and sequence under which all of it was asked for.
 * A version is identified by its log and lsn.  Whoever holds a pointer to a record in a log holds
 * it under the rules of reclaim.h; bytes below the log's end never change. */
#ifndef DUNLIN_ENGINE_RECORD_H
#define DUNLIN_ENGINE_RECORD_H

#include "engine/base.h"
#include "engine/limits.h"

#include <string.h>

#define RECORD_FORMAT 1u
#define RECORD_HEADER_BYTES 64u
#define RECORD_SMALL_BYTES 128u
#define RECORD_PAD_UNITS_MAX 65535u

enum record_kind {
    RECORD_DATA = 1,
    RECORD_TOMBSTONE = 2,
    RECORD_PAD = 3,
    RECORD_EPOCH = 4,   /* first record of an epoch: extension EPOCH holds the table entry */
    RECORD_VOID = 5,    /* an operation whose condition did not hold; lsn_previous: what it met */
    RECORD_SESSION = 6, /* opens a session: key is its 16-byte id, value its owner's uid */
    RECORD_EXPIRE = 7,  /* forgets a session (key: id), or a key by its ttl (RECORD_FLAG_KEY) */
    RECORD_MERGED = 8,  /* state logs of causal and eventual spaces, later */
};

#define RECORD_FLAG_TRANSACTION_END 0x01u
#define RECORD_FLAG_TRACED 0x02u
#define RECORD_FLAG_CONTINUES 0x10u /* not the first of its transaction */
/* EXPIRE: of a key whose ttl ran out, as a tombstone of it; without the flag a session's. */
#define RECORD_FLAG_KEY 0x04u
/* With the end flag, of a RING_TRANSACTION: its conditions did not hold, and this is what it did then. */
#define RECORD_FLAG_ELSE 0x08u

/* Extensions: each a 4-byte head (type, length of what follows) and its bytes padded to 4.
 * Unknown types are carried. */
enum record_extension {
    RECORD_EXTENSION_TTL = 1,
    RECORD_EXTENSION_TOKEN = 2,
    RECORD_EXTENSION_RESULT = 3,
    RECORD_EXTENSION_DOT = 4,
    RECORD_EXTENSION_DEPENDENCIES = 5,
    RECORD_EXTENSION_EPOCH = 6,
};

/* Extension RESULT of a void, and EPOCH of an epoch record, heads included. */
struct record_result {
    uint16_t type;
    uint16_t length;
    uint32_t status; /* enum ring_status */
};
/* Extension TOKEN: who holds this fencing token may act on what the record says. */
struct record_token {
    uint16_t type;
    uint16_t length;
    uint32_t reserved;
    uint64_t token; /* 0: the record's own LSN, which is not known while it is built */
};
_Static_assert(sizeof(struct record_token) == 16, "no holes");
/* Extension TTL: the value goes by itself so long after it was written; its shard's leader counts. */
struct record_ttl {
    uint16_t type;
    uint16_t length;
    uint32_t reserved;
    uint64_t ttl_ns;
};
_Static_assert(sizeof(struct record_ttl) == 16, "no holes");
struct record_epoch {
    uint16_t type;
    uint16_t length;
    uint32_t lossy;
    uint64_t epoch, lsn_start, lsn_end_before;
};

struct record {
    uint32_t crc;
    uint8_t format;
    uint8_t kind; /* enum record_kind */
    uint8_t flags;
    uint8_t operation; /* enum ring_operation of the request that made it */
    uint32_t log;
    uint32_t value_length;
    uint16_t key_length;
    uint16_t extension_length;
    uint32_t hash; /* low 32 bits of hash_key(key) */
    uint64_t lsn;
    uint64_t lsn_previous; /* of the same key, 0: none */
    uint64_t session;      /* LSN of the record that opened the session, 0: none */
    uint64_t sequence;     /* within (session, shard), from 1 */
    uint64_t hybrid_clock; /* ns since 1970 of the writer, made to grow within a log */
};
_Static_assert(sizeof(struct record) == RECORD_HEADER_BYTES, "header is one line");

/* Bytes a record of these lengths takes in a log, without the pad in front of it. */
static ALWAYS_INLINE uint64_t record_bytes(uint64_t extension_length, uint64_t key_length,
                                           uint64_t value_length)
{
    return RECORD_HEADER_BYTES + align_up(extension_length, 8) + align_up(key_length, 8) +
           align_up(value_length, 8);
}

static ALWAYS_INLINE uint64_t record_size(const struct record *r)
{
    return record_bytes(r->extension_length, r->key_length, r->value_length);
}

/* Pad that a record of size bytes needs in front of it at this position of a segment. */
static ALWAYS_INLINE uint64_t record_pad_before(uint64_t position, uint64_t size)
{
    uint64_t in_block = position & (RECORD_SMALL_BYTES - 1);
    return size <= RECORD_SMALL_BYTES && in_block + size > RECORD_SMALL_BYTES
               ? RECORD_SMALL_BYTES - in_block
               : 0;
}

/* It is a version of a key: the index leads to it. */
static ALWAYS_INLINE bool record_is_keyed(const struct record *r)
{
    return r->kind == RECORD_DATA || r->kind == RECORD_TOMBSTONE ||
           (r->kind == RECORD_EXPIRE && (r->flags & RECORD_FLAG_KEY) != 0);
}

static ALWAYS_INLINE const uint8_t *record_key(const struct record *r)
{
    return (const uint8_t *)r + RECORD_HEADER_BYTES + align_up(r->extension_length, 8);
}

static ALWAYS_INLINE const uint8_t *record_value(const struct record *r)
{
    return record_key(r) + align_up(r->key_length, 8);
}

/* What to write; extension, key and value may lie in memory that others change meanwhile (a ring):
 * each byte of them is read once. */
struct record_parts {
    const void *extension, *key, *value;
};

/* Write a whole record at destination (8-aligned, record_size(header) bytes of log memory that may
 * still be read by optimistic readers: relaxed 8-byte stores only).  header->crc is ignored. */
void record_write(uint8_t *destination, const struct record *header,
                  const struct record_parts *parts);

/* Copy a record unchanged, crc included, with the same stores. */
void record_copy(uint8_t *destination, const uint8_t *source, uint64_t size);

/* Copy the record or pad that stands at source[0..available) into log memory and judge it in one
 * pass: each byte is read once, and what was judged is what was stored.  Returns as record_check,
 * *header being set only with a size; what was stored otherwise is for nobody to read. */
MUST_USE int64_t record_land(uint8_t *destination, const uint8_t *source, uint64_t available,
                             struct record *header);

/* Write pads over length bytes (a multiple of 8). */
void record_write_pad(uint8_t *destination, uint64_t length);

/* Copy the extension of a type, which is bytes long, head included, from a whole record.  False: it has
 * none of that type and length. */
bool record_extension(const struct record *r, uint16_t type, void *into, uint64_t bytes);

/* One step of walking foreign or own bytes: judge what stands at bytes[0..available).
 * Returns its total size, pads included, and sets *header to a copy (for a pad only kind and
 * format are set), or
 *   -EAGAIN    the bytes end before the record does: absent, not corrupt, if this is a log's end
 *   -EBADMSG   checksum, format, kind or a length is wrong: the range is unknown, fetch it anew. */
MUST_USE int64_t record_check(const uint8_t *bytes, uint64_t available, struct record *header);

/* Total size of a record or pad that was judged before and has not changed since; *header as in
 * record_check. */
static ALWAYS_INLINE uint64_t record_step(const uint8_t *bytes, struct record *header)
{
    if (UNLIKELY(bytes[5] == RECORD_PAD)) {
        uint16_t units;
        memcpy(&units, bytes + 6, sizeof units);
        header->kind = RECORD_PAD;
        header->format = RECORD_FORMAT;
        return (uint64_t)units * 8;
    }
    memcpy(header, bytes, sizeof *header);
    return record_size(header);
}

#endif
