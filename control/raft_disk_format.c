#include "control/raft_disk_format.h"

#include "engine/checksum.h"

#include <string.h>

#define FORMAT 1u

/* ---- records ---- */

struct record_header {
    uint32_t crc; /* of all that follows, padding included */
    uint32_t length;
    uint64_t index;
    uint64_t term;
    uint16_t kind;
    uint16_t type;
    uint32_t zero;
};
_Static_assert(sizeof(struct record_header) == RAFT_DISK_RECORD_BYTES, "record header");

size_t raft_disk_record_bytes(size_t length)
{
    return RAFT_DISK_RECORD_BYTES + align_up(length, 8);
}

static uint32_t record_checksum(const uint8_t *record, size_t bytes)
{
    return checksum(0, record + sizeof(uint32_t), bytes - sizeof(uint32_t));
}

size_t raft_disk_record_put(uint8_t *to, const struct raft_disk_record *r)
{
    struct record_header h = {
        .length = r->length, .index = r->index, .term = r->term, .kind = r->kind, .type = r->type};
    size_t bytes = raft_disk_record_bytes(r->length);
    memset(to + sizeof h, 0, bytes - sizeof h);
    memcpy(to, &h, sizeof h);
    if (r->length != 0)
        memcpy(to + sizeof h, r->data, r->length);
    h.crc = record_checksum(to, bytes);
    memcpy(to, &h, sizeof h);
    return bytes;
}

static bool record_is_possible(const struct record_header *h)
{
    if (h->zero != 0 || h->kind < RAFT_DISK_START || h->kind > RAFT_DISK_RESET)
        return false;
    if (h->index == 0 || h->index == UINT64_MAX)
        return false;
    if (h->kind == RAFT_DISK_ENTRY)
        return h->term != 0;
    return h->term == 0 && h->type == 0 && h->length == 0;
}

int raft_disk_record_next(const uint8_t *payload, size_t length, size_t *offset,
                          struct raft_disk_record *r)
{
    struct record_header h;
    size_t left = length - *offset;
    const uint8_t *at = payload + *offset;
    if (left == 0)
        return 0;
    if (left < sizeof h)
        return -EBADMSG;
    memcpy(&h, at, sizeof h);
    if (h.length > RAFT_DISK_ENTRY_MAX || raft_disk_record_bytes(h.length) > left)
        return -EBADMSG;
    size_t bytes = raft_disk_record_bytes(h.length);
    if (record_checksum(at, bytes) != h.crc || !record_is_possible(&h))
        return -EBADMSG;
    *r = (struct raft_disk_record){.kind = h.kind,
                                   .type = h.type,
                                   .index = h.index,
                                   .term = h.term,
                                   .data = at + sizeof h,
                                   .length = h.length};
    *offset += bytes;
    return 1;
}

/* ---- sectors ---- */

enum sector_kind { SECTOR_ZERO, SECTOR_FIRST, SECTOR_REST, SECTOR_BAD };

struct sector_header {
    uint32_t crc;
    uint16_t used; /* of its payload: all, but in the last one of a write */
    uint8_t kind;
    uint8_t format;
    uint32_t left; /* sectors of this write from this one on */
};
_Static_assert(sizeof(struct sector_header) + RAFT_DISK_PAYLOAD == RAFT_DISK_SECTOR, "sector");

static uint32_t place_checksum(const struct raft_disk_place *place, uint64_t sector)
{
    uint64_t words[4] = {place->cluster, place->node, place->file, sector};
    return checksum(0, words, sizeof words);
}

static uint32_t sector_checksum(const struct raft_disk_place *place, uint64_t sector,
                                const uint8_t *bytes)
{
    return checksum(place_checksum(place, sector), bytes + sizeof(uint32_t),
                    RAFT_DISK_SECTOR - sizeof(uint32_t));
}

size_t raft_disk_sector_count(size_t payload_length)
{
    return (payload_length + RAFT_DISK_PAYLOAD - 1) / RAFT_DISK_PAYLOAD;
}

void raft_disk_pack(const struct raft_disk_place *place, uint64_t first, const uint8_t *payload,
                    size_t length, uint8_t *to)
{
    size_t count = raft_disk_sector_count(length);
    ASSERT(length != 0 && count <= UINT32_MAX);
    for (size_t i = 0; i < count; i++, to += RAFT_DISK_SECTOR) {
        size_t done = i * RAFT_DISK_PAYLOAD;
        size_t used = min_u64(length - done, RAFT_DISK_PAYLOAD);
        struct sector_header h = {.used = (uint16_t)used,
                                  .kind = i == 0 ? SECTOR_FIRST : SECTOR_REST,
                                  .format = FORMAT,
                                  .left = (uint32_t)(count - i)};
        memset(to, 0, RAFT_DISK_SECTOR);
        memcpy(to, &h, sizeof h);
        memcpy(to + sizeof h, payload + done, used);
        h.crc = sector_checksum(place, first + i, to);
        memcpy(to, &h, sizeof h);
    }
}

static bool is_zero(const uint8_t *bytes, size_t length)
{
    return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

static enum sector_kind sector_look(const struct raft_disk_place *place, const uint8_t *bytes,
                                    uint64_t sector, struct sector_header *h)
{
    const uint8_t *at = bytes + sector * RAFT_DISK_SECTOR;
    memcpy(h, at, sizeof *h);
    if (is_zero(at, RAFT_DISK_SECTOR))
        return SECTOR_ZERO;
    if (sector_checksum(place, sector, at) != h->crc || h->format != FORMAT || h->left == 0)
        return SECTOR_BAD;
    if (h->used == 0 || h->used > RAFT_DISK_PAYLOAD ||
        (h->left > 1 && h->used != RAFT_DISK_PAYLOAD))
        return SECTOR_BAD;
    return h->kind == SECTOR_FIRST || h->kind == SECTOR_REST ? h->kind : SECTOR_BAD;
}

static int sectors_fault(struct raft_disk_unpacked *u, size_t sector, const char *fault)
{
    u->fault = fault;
    u->fault_offset = sector * RAFT_DISK_SECTOR;
    return -EBADMSG;
}

/* How many sectors the whole write has that begins here; 0: there is none. */
static size_t write_length(const struct raft_disk_place *place, const uint8_t *bytes, size_t at,
                           size_t count)
{
    struct sector_header h;
    if (sector_look(place, bytes, at, &h) != SECTOR_FIRST || h.left > count - at)
        return 0;
    size_t length = h.left;
    for (size_t i = 1; i < length; i++) {
        if (sector_look(place, bytes, at + i, &h) != SECTOR_REST || h.left != length - i)
            return 0;
    }
    return length;
}

/* From sector at on there is no whole write.  Is that all zeros, or one write that was torn?  end: where the
 * torn one would have ended. */
static int tail_check(const struct raft_disk_place *place, const uint8_t *bytes, size_t at,
                      size_t count, struct raft_disk_unpacked *u)
{
    struct sector_header h;
    size_t end = 0, present = 0;
    for (size_t q = at; q < count; q++) {
        enum sector_kind kind = sector_look(place, bytes, q, &h);
        if (kind == SECTOR_ZERO)
            continue;
        if (kind == SECTOR_BAD)
            return sectors_fault(u, q, "a sector fails its check");
        if ((kind == SECTOR_FIRST) != (q == at))
            return sectors_fault(u, at, "a write is not whole, and another one stands behind it");
        if (h.left > count - q || (end != 0 && end != q + h.left))
            return sectors_fault(u, q, "a sector belongs to no write");
        end = q + h.left;
        present++;
    }
    /* Why so: a write that is whole was seen by write_length; one whose sectors are all there is none that a
     * crash cut short. */
    if (end != 0 && present == end - at)
        return sectors_fault(u, at, "the sectors of a write contradict each other");
    u->is_torn = end != 0;
    return 0;
}

int raft_disk_unpack(const struct raft_disk_place *place, uint8_t *bytes, size_t length,
                     struct raft_disk_unpacked *u)
{
    size_t count = length / RAFT_DISK_SECTOR;
    size_t at = 0;
    *u = (struct raft_disk_unpacked){0};
    if (length % RAFT_DISK_SECTOR != 0)
        return sectors_fault(u, count, "half a sector at the end");
    for (;;) {
        size_t write = at < count ? write_length(place, bytes, at, count) : 0;
        if (write == 0)
            break;
        at += write;
    }
    u->sector_count = at;
    if (tail_check(place, bytes, at, count, u) != 0)
        return -EBADMSG;
    for (size_t i = 0; i < at; i++) {
        struct sector_header h;
        const uint8_t *sector = bytes + i * RAFT_DISK_SECTOR;
        memcpy(&h, sector, sizeof h);
        memmove(bytes + u->length, sector + sizeof h, h.used);
        u->length += h.used;
    }
    return 0;
}

/* ---- metadata ---- */

struct metadata_sector {
    uint32_t crc;
    uint32_t format;
    uint64_t version, term, vote;
    uint8_t zero[RAFT_DISK_SECTOR - 32];
};
_Static_assert(sizeof(struct metadata_sector) == RAFT_DISK_SECTOR, "metadata");

void raft_disk_metadata_put(const struct raft_disk_place *place, const struct raft_disk_metadata *m,
                            uint8_t to[RAFT_DISK_SECTOR])
{
    struct metadata_sector s = {
        .format = FORMAT, .version = m->version, .term = m->term, .vote = m->vote};
    memcpy(to, &s, sizeof s);
    s.crc = sector_checksum(place, 0, to);
    memcpy(to, &s, sizeof s);
}

int raft_disk_metadata_get(const struct raft_disk_place *place, const uint8_t *bytes, size_t length,
                           struct raft_disk_metadata *m)
{
    struct metadata_sector s;
    if (length != sizeof s)
        return -EBADMSG;
    memcpy(&s, bytes, sizeof s);
    if (sector_checksum(place, 0, bytes) != s.crc || s.format != FORMAT || s.version == 0)
        return -EBADMSG;
    *m = (struct raft_disk_metadata){.version = s.version, .term = s.term, .vote = s.vote};
    return 0;
}

/* ---- snapshots ---- */

struct snapshot_header {
    uint32_t crc; /* of the rest of the header, chained to the place */
    uint32_t format;
    uint64_t index, term, configuration_index;
    uint64_t data_bytes;
    uint32_t configuration_bytes;
    uint32_t body_crc;
    uint64_t zero[2];
};
_Static_assert(sizeof(struct snapshot_header) == RAFT_DISK_SNAPSHOT_HEADER_BYTES,
               "snapshot header");

static uint32_t header_checksum(const struct raft_disk_place *place, const uint8_t *bytes)
{
    return checksum(place_checksum(place, 0), bytes + sizeof(uint32_t),
                    RAFT_DISK_SNAPSHOT_HEADER_BYTES - sizeof(uint32_t));
}

void raft_disk_snapshot_put_header(const struct raft_disk_place *place,
                                   const struct raft_disk_snapshot_header *h,
                                   uint8_t to[RAFT_DISK_SNAPSHOT_HEADER_BYTES])
{
    struct snapshot_header s = {.format = FORMAT,
                                .index = h->index,
                                .term = h->term,
                                .configuration_index = h->configuration_index,
                                .data_bytes = h->data_bytes,
                                .configuration_bytes = h->configuration_bytes,
                                .body_crc = h->body_checksum};
    memcpy(to, &s, sizeof s);
    s.crc = header_checksum(place, to);
    memcpy(to, &s, sizeof s);
}

int raft_disk_snapshot_check(const struct raft_disk_place *place, const uint8_t *bytes,
                             size_t length, struct raft_disk_snapshot_header *h)
{
    struct snapshot_header s;
    if (length < sizeof s)
        return -EBADMSG;
    memcpy(&s, bytes, sizeof s);
    if (header_checksum(place, bytes) != s.crc || s.format != FORMAT)
        return -EBADMSG;
    if (s.index == 0 || s.index >= UINT64_MAX - 1 || s.term == 0 || s.zero[0] != 0 ||
        s.zero[1] != 0)
        return -EBADMSG;
    if (s.data_bytes > RAFT_DISK_SNAPSHOT_MAX || s.configuration_bytes > RAFT_DISK_SNAPSHOT_MAX ||
        length != sizeof s + s.configuration_bytes + s.data_bytes)
        return -EBADMSG;
    if (checksum(0, bytes + sizeof s, length - sizeof s) != s.body_crc)
        return -EBADMSG;
    *h = (struct raft_disk_snapshot_header){.index = s.index,
                                            .term = s.term,
                                            .configuration_index = s.configuration_index,
                                            .configuration_bytes = s.configuration_bytes,
                                            .data_bytes = s.data_bytes,
                                            .body_checksum = s.body_crc};
    return 0;
}
