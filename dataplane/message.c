#include "dataplane/message.h"

#include <string.h>

#define EPOCH_BYTES 32u

struct head {
    uint8_t kind, table_count;
    uint16_t reserved;
    uint32_t log;
    uint64_t epoch;
    uint32_t node, length;
    uint64_t incarnation, lsn, lsn_end, lsn_committed, lsn_kept;
} __attribute__((packed, may_alias)); /* anywhere in a datagram */
_Static_assert(sizeof(struct head) == MESSAGE_HEAD_BYTES, "no holes on the wire");
_Static_assert(sizeof(struct log_epoch) == EPOCH_BYTES, "a table entry is four words");

/* What follows the head of a GRANT.  Behind that of an ANNOUNCE stands its proof: 32 bytes, where up to version 3 of
 * the wire 8 with a crc stood; no two processes of those versions had anything to announce to each other. */
struct grant_part {
    uint64_t number, address, key;
};
_Static_assert(sizeof(struct grant_part) == 24 && sizeof(struct grant_proof) == 32, "no holes");

static bool has_table(uint8_t kind)
{
    return kind == MESSAGE_SEALED || kind == MESSAGE_JOIN;
}

static uint64_t payload_bytes(const struct message *m)
{
    return m->kind == MESSAGE_APPEND || m->kind == MESSAGE_PIECE ? m->length : 0;
}

static uint64_t part_bytes(uint8_t kind)
{
    switch (kind) {
    case MESSAGE_GRANT:
        return sizeof(struct grant_part);
    case MESSAGE_ANNOUNCE:
        return sizeof(struct grant_proof);
    default:
        return 0;
    }
}

uint64_t message_head_bytes(const struct message *m)
{
    return MESSAGE_HEAD_BYTES + part_bytes(m->kind) + (uint64_t)m->table_count * EPOCH_BYTES;
}

uint64_t message_bytes(const struct message *m)
{
    return message_head_bytes(m) + payload_bytes(m);
}

static void part_encode(const struct message *m, uint8_t *into)
{
    const struct grant_part grant = {m->number, m->token.address, m->token.key};
    if (m->kind == MESSAGE_GRANT)
        memcpy(into, &grant, sizeof grant);
    else if (m->kind == MESSAGE_ANNOUNCE)
        memcpy(into, &m->proof, sizeof m->proof);
}

/* Its length was judged before. */
static void part_decode(struct message *m, const uint8_t *from)
{
    struct grant_part grant;
    if (m->kind == MESSAGE_GRANT) {
        memcpy(&grant, from, sizeof grant);
        m->number = grant.number;
        m->token = (struct grant_token){.address = grant.address, .key = grant.key};
    } else if (m->kind == MESSAGE_ANNOUNCE) {
        memcpy(&m->proof, from, sizeof m->proof);
    }
}

uint32_t message_peek_log(const uint8_t *head, uint64_t length)
{
    uint32_t log = 0;
    if (length >= MESSAGE_HEAD_BYTES)
        memcpy(&log, head + offsetof(struct head, log), sizeof log);
    return log;
}

void message_encode_head(const struct message *m, uint8_t *into)
{
    ASSERT(m->table_count <= LIMIT_EPOCHS && payload_bytes(m) <= MESSAGE_PAYLOAD_MAX);
    /* Why in place: a copy of what was just put together word by word, in other sizes, waits until those
     * stores are done; that took longer than all the rest of a small message. */
    struct head *head = (struct head *)(void *)into;
    head->kind = m->kind;
    head->table_count = m->table_count;
    head->reserved = 0;
    head->log = m->log;
    head->epoch = m->epoch;
    head->node = m->from.node;
    head->length = m->length;
    head->incarnation = m->from.incarnation;
    head->lsn = m->lsn;
    head->lsn_end = m->lsn_end;
    head->lsn_committed = m->lsn_committed;
    head->lsn_kept = m->lsn_kept;
    into += sizeof *head;
    part_encode(m, into);
    into += part_bytes(m->kind);
    memcpy(into, m->table, (size_t)m->table_count * EPOCH_BYTES);
}

void message_encode(const struct message *m, uint8_t *into)
{
    message_encode_head(m, into);
    if (payload_bytes(m) != 0)
        memcpy(into + message_head_bytes(m), m->bytes, payload_bytes(m));
}

/* Epochs and their starts only grow; each begins at or behind the end of the one before. */
static bool table_is_ordered(const struct message *m)
{
    for (uint32_t i = 0; i < m->table_count; i++) {
        const struct log_epoch *e = &m->table[i];
        if (e->lsn_end_before > e->lsn_start)
            return false;
        if (i != 0 &&
            (e->epoch <= m->table[i - 1].epoch || e->lsn_end_before <= m->table[i - 1].lsn_start))
            return false;
    }
    return true;
}

/* The head at bytes, of which there are length; its own is message_head_bytes then. */
static int head_decode(struct message *m, const uint8_t *bytes, uint64_t length)
{
    struct head head;
    if (length < sizeof head)
        return -EBADMSG;
    memcpy(&head, bytes, sizeof head);
    if (head.kind == 0 || head.kind >= MESSAGE_KIND_COUNT || head.table_count > LIMIT_EPOCHS ||
        (head.table_count != 0 && !has_table(head.kind)) || head.length > MESSAGE_PAYLOAD_MAX ||
        head.incarnation == 0 || head.lsn > INT64_MAX) /* no sum of it and a length wraps */
        return -EBADMSG;
    m->kind = head.kind;
    m->table_count = head.table_count;
    m->log = head.log;
    m->epoch = head.epoch;
    m->from = (struct member){.node = head.node, .incarnation = head.incarnation};
    m->lsn = head.lsn;
    m->lsn_end = head.lsn_end;
    m->lsn_committed = head.lsn_committed;
    m->lsn_kept = head.lsn_kept;
    m->length = head.length;
    if (message_head_bytes(m) > length)
        return -EBADMSG;
    part_decode(m, bytes + sizeof head);
    memcpy(m->table, bytes + sizeof head + part_bytes(m->kind),
           (size_t)m->table_count * EPOCH_BYTES);
    return table_is_ordered(m) ? 0 : -EBADMSG;
}

int message_decode_parts(struct message *m, const uint8_t *head, uint64_t head_length,
                         const uint8_t *bytes, uint64_t length)
{
    int error = head_decode(m, head, head_length);
    m->bytes = bytes;
    if (error != 0 || message_head_bytes(m) != head_length || payload_bytes(m) != length)
        return -EBADMSG;
    return 0;
}

int message_decode(struct message *m, const uint8_t *bytes, uint64_t length)
{
    int error = head_decode(m, bytes, length);
    if (error != 0 || message_bytes(m) != length)
        return -EBADMSG;
    m->bytes = bytes + message_head_bytes(m);
    return 0;
}
