/* The wire of the replication core: what was said comes through, and nothing else does. */
#include "dataplane/message.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

static uint8_t payload[MESSAGE_PAYLOAD_MAX];

static bool has_table(uint8_t kind)
{
    return kind == MESSAGE_SEALED || kind == MESSAGE_JOIN;
}

/* One of this kind with all that it may carry. */
static struct message full_message(uint8_t kind)
{
    struct message m = {
        .kind = kind,
        .log = 3,
        .epoch = 4,
        .from = {.node = 5, .incarnation = 6},
        .lsn = 7,
        .lsn_end = 8,
        .lsn_committed = 9,
        .lsn_kept = 10,
        .bytes = payload,
    };
    for (uint32_t i = 0; kind == MESSAGE_ANNOUNCE && i < GRANT_PROOF_BYTES; i++)
        m.proof.bytes[i] = (uint8_t)(100 + i);
    if (kind == MESSAGE_GRANT) {
        m.number = 12;
        m.token = (struct grant_token){.address = 13, .key = 14};
    }
    m.length = kind == MESSAGE_APPEND                              ? 4096
               : kind == MESSAGE_PIECE                             ? MESSAGE_PIECE_MAX
               : kind == MESSAGE_FETCH || kind == MESSAGE_ANNOUNCE ? 1u << 14
                                                                   : 0;
    m.table_count = has_table(kind) ? LIMIT_EPOCHS : 0;
    for (uint32_t i = 0; i < m.table_count; i++)
        m.table[i] = (struct log_epoch){.epoch = 10 + i,
                                        .lsn_start = 1000 * i + 800,
                                        .lsn_end_before = 1000 * i,
                                        .lossy = i % 2};
    return m;
}

static bool messages_equal(const struct message *a, const struct message *b, uint64_t bytes)
{
    return a->kind == b->kind && a->table_count == b->table_count && a->log == b->log &&
           a->epoch == b->epoch && member_equal(&a->from, &b->from) && a->lsn == b->lsn &&
           a->lsn_end == b->lsn_end && a->lsn_committed == b->lsn_committed &&
           a->lsn_kept == b->lsn_kept && a->length == b->length &&
           (a->kind != MESSAGE_ANNOUNCE || memcmp(&a->proof, &b->proof, sizeof a->proof) == 0) &&
           (a->kind != MESSAGE_GRANT ||
            (a->number == b->number && memcmp(&a->token, &b->token, sizeof a->token) == 0)) &&
           memcmp(a->table, b->table, a->table_count * sizeof a->table[0]) == 0 &&
           memcmp(a->bytes, b->bytes, bytes) == 0;
}

static void every_kind_comes_through_as_it_was(void)
{
    static uint8_t bytes[MESSAGE_BYTES_MAX];
    for (uint32_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 7);
    for (uint8_t kind = MESSAGE_SEAL; kind < MESSAGE_KIND_COUNT; kind++) {
        static struct message back;
        struct message m = full_message(kind);
        uint64_t length = message_bytes(&m), head = message_head_bytes(&m);
        CU_ASSERT_FATAL(length <= sizeof bytes);
        message_encode(&m, bytes);
        CU_ASSERT_EQUAL(message_decode(&back, bytes, length), 0);
        CU_ASSERT_EQUAL(message_peek_log(bytes, length), back.log);
        CU_ASSERT_EQUAL(message_peek_log(bytes, MESSAGE_HEAD_BYTES - 1), 0);
        CU_ASSERT(messages_equal(&m, &back, length - head));
        memset(bytes, 0, sizeof bytes);
        message_encode_head(&m, bytes);
        CU_ASSERT_EQUAL(message_decode_parts(&back, bytes, head, payload, length - head), 0);
        CU_ASSERT(messages_equal(&m, &back, length - head));
        CU_ASSERT_PTR_EQUAL(back.bytes, payload);
    }
}

/* Decoded in memory that ends with the bytes, so that a read beyond is found. */
static int decode_exact(const uint8_t *bytes, uint64_t length)
{
    static struct message m;
    uint8_t *copy = malloc(length != 0 ? length : 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, bytes, length);
    int error = message_decode(&m, copy, length);
    free(copy);
    return error;
}

static int decode_parts_exact(const uint8_t *head, uint64_t head_length, uint64_t length)
{
    static struct message m;
    uint8_t *copy = malloc(head_length != 0 ? head_length : 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, head, head_length);
    int error = message_decode_parts(&m, copy, head_length, payload, length);
    free(copy);
    return error;
}

static void no_other_length_is_a_message(void)
{
    static uint8_t bytes[MESSAGE_BYTES_MAX];
    for (uint8_t kind = MESSAGE_SEAL; kind < MESSAGE_KIND_COUNT; kind++) {
        struct message m = full_message(kind);
        m.table_count = m.table_count != 0 ? 2 : 0;
        m.length = kind == MESSAGE_APPEND ? 64 : m.length;
        uint64_t whole = message_bytes(&m), head = message_head_bytes(&m);
        message_encode(&m, bytes);
        for (uint64_t length = 0; length <= whole + 40; length++)
            CU_ASSERT_EQUAL(decode_exact(bytes, length), length == whole ? 0 : -EBADMSG);
        for (uint64_t length = 0; length <= head + 40; length++)
            CU_ASSERT_EQUAL(decode_parts_exact(bytes, length, whole - head),
                            length == head ? 0 : -EBADMSG);
        for (uint64_t length = 0; length <= whole - head + 40; length++)
            CU_ASSERT_EQUAL(decode_parts_exact(bytes, head, length),
                            length == whole - head ? 0 : -EBADMSG);
    }
}

static void hostile_heads_are_refused(void)
{
    static uint8_t bytes[MESSAGE_BYTES_MAX];
    static struct message back;
    for (uint8_t kind = MESSAGE_SEAL; kind < MESSAGE_KIND_COUNT; kind++) {
        struct message m = full_message(kind);
        uint64_t length = message_bytes(&m);
        message_encode(&m, bytes);
        bytes[0] = 0; /* kind */
        CU_ASSERT_EQUAL(message_decode(&back, bytes, length), -EBADMSG);
        bytes[0] = MESSAGE_KIND_COUNT;
        CU_ASSERT_EQUAL(message_decode(&back, bytes, length), -EBADMSG);
        bytes[0] = 255;
        CU_ASSERT_EQUAL(message_decode(&back, bytes, length), -EBADMSG);
        bytes[0] = kind;
        bytes[1] = LIMIT_EPOCHS + 1; /* table_count, with the bytes that it needs */
        CU_ASSERT_EQUAL(message_decode(&back, bytes, length + 32), -EBADMSG);
        bytes[1] = 255;
        CU_ASSERT_EQUAL(message_decode(&back, bytes, MESSAGE_HEAD_BYTES + 255 * 32), -EBADMSG);
        if (!has_table(kind)) {
            bytes[1] = 1; /* of a kind that has none */
            CU_ASSERT_EQUAL(message_decode(&back, bytes, length + 32), -EBADMSG);
        }
        bytes[1] = m.table_count;
        bytes[24] = 0; /* incarnation 0: nobody */
        CU_ASSERT_EQUAL(message_decode(&back, bytes, length), -EBADMSG);
        bytes[24] = 6;
        bytes[39] = 0x80; /* an LSN from which no sum may be taken */
        CU_ASSERT_EQUAL(message_decode(&back, bytes, length), -EBADMSG);
        bytes[39] = 0;
        uint32_t huge = MESSAGE_PAYLOAD_MAX + 1; /* length */
        memcpy(bytes + 20, &huge, sizeof huge);
        CU_ASSERT_EQUAL(message_decode(&back, bytes, length), -EBADMSG);
        huge = UINT32_MAX;
        memcpy(bytes + 20, &huge, sizeof huge);
        CU_ASSERT_EQUAL(message_decode(&back, bytes, length), -EBADMSG);
        memcpy(bytes + 20, &m.length, sizeof m.length);
        CU_ASSERT_EQUAL(message_decode(&back, bytes, length), 0);
    }
}

static int decode_table(const struct log_epoch *table, uint8_t count)
{
    static uint8_t bytes[MESSAGE_BYTES_MAX];
    static struct message back;
    struct message m = full_message(MESSAGE_JOIN);
    m.table_count = count;
    memcpy(m.table, table, count * sizeof table[0]);
    message_encode(&m, bytes);
    return message_decode(&back, bytes, message_bytes(&m));
}

static void a_table_out_of_order_is_refused(void)
{
    static const struct log_epoch good[] = {
        {.epoch = 1, .lsn_start = 100, .lsn_end_before = 100},
        {.epoch = 3, .lsn_start = 256, .lsn_end_before = 208},
        {.epoch = 4, .lsn_start = 400, .lsn_end_before = 352},
    };
    struct log_epoch bad[3];
    CU_ASSERT_EQUAL(decode_table(good, 0), 0);
    CU_ASSERT_EQUAL(decode_table(good, 3), 0);
    memcpy(bad, good, sizeof bad);
    bad[2].epoch = 3; /* the same epoch twice */
    CU_ASSERT_EQUAL(decode_table(bad, 3), -EBADMSG);
    bad[2].epoch = 2;
    CU_ASSERT_EQUAL(decode_table(bad, 3), -EBADMSG);
    memcpy(bad, good, sizeof bad);
    bad[0].lsn_end_before = 101; /* it begins before the end of what was before */
    CU_ASSERT_EQUAL(decode_table(bad, 3), -EBADMSG);
    memcpy(bad, good, sizeof bad);
    bad[2].lsn_end_before = 256; /* the one before has no record */
    CU_ASSERT_EQUAL(decode_table(bad, 3), -EBADMSG);
    bad[2].lsn_end_before = 257;
    CU_ASSERT_EQUAL(decode_table(bad, 3), 0);
}

static const struct unit_test tests[] = {
    UNIT_TEST(every_kind_comes_through_as_it_was),
    UNIT_TEST(no_other_length_is_a_message),
    UNIT_TEST(hostile_heads_are_refused),
    UNIT_TEST(a_table_out_of_order_is_refused),
};
UNIT_MAIN("message", tests)
