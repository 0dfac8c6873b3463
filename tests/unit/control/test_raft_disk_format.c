#include "control/raft_disk_format.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define SECTORS 16u

static const struct raft_disk_place place = {.cluster = 7, .node = 2, .file = 5};

struct file {
    uint8_t bytes[SECTORS * RAFT_DISK_SECTOR];
    uint8_t payload[4000];
};

/* Two writes: one of a sector, one of four. */
static void file_make(struct file *f)
{
    memset(f, 0, sizeof *f);
    for (size_t i = 0; i < sizeof f->payload; i++)
        f->payload[i] = (uint8_t)(i * 13 + 1);
    raft_disk_pack(&place, 0, f->payload, 100, f->bytes);
    raft_disk_pack(&place, 1, f->payload + 100, 1600, f->bytes + RAFT_DISK_SECTOR);
}

static int unpack(const struct file *f, struct file *copy, struct raft_disk_unpacked *u)
{
    *copy = *f;
    return raft_disk_unpack(&place, copy->bytes, sizeof copy->bytes, u);
}

static void what_was_packed_is_unpacked(void)
{
    static struct file f, copy;
    struct raft_disk_unpacked u;
    file_make(&f);
    CU_ASSERT_EQUAL(raft_disk_sector_count(1), 1);
    CU_ASSERT_EQUAL(raft_disk_sector_count(500), 1);
    CU_ASSERT_EQUAL(raft_disk_sector_count(501), 2);
    CU_ASSERT_EQUAL_FATAL(unpack(&f, &copy, &u), 0);
    CU_ASSERT_EQUAL(u.length, 1700);
    CU_ASSERT_EQUAL(u.sector_count, 5);
    CU_ASSERT(!u.is_torn);
    CU_ASSERT_EQUAL(memcmp(copy.bytes, f.payload, 1700), 0);
    memset(f.bytes, 0, sizeof f.bytes);
    CU_ASSERT_EQUAL(unpack(&f, &copy, &u), 0);
    CU_ASSERT(u.length == 0 && !u.is_torn);
    CU_ASSERT_EQUAL(raft_disk_unpack(&place, copy.bytes, 700, &u), -EBADMSG);
}

/* Any of the sectors of the last write may be missing, in all combinations. */
static void a_torn_last_write_is_cut(void)
{
    static struct file f, copy;
    struct raft_disk_unpacked u;
    for (unsigned kept = 0; kept < 16; kept++) {
        file_make(&f);
        for (unsigned i = 0; i < 4; i++) {
            if ((kept & 1u << i) == 0)
                memset(f.bytes + (1 + i) * RAFT_DISK_SECTOR, 0, RAFT_DISK_SECTOR);
        }
        CU_ASSERT_EQUAL(unpack(&f, &copy, &u), 0);
        CU_ASSERT_EQUAL(u.length, kept == 15 ? 1700 : 100);
        CU_ASSERT_EQUAL(u.is_torn, kept != 0 && kept != 15);
    }
}

static void a_write_that_another_one_follows_is_not_torn(void)
{
    static struct file f, copy;
    struct raft_disk_unpacked u;
    for (unsigned lost = 0; lost < 5; lost++) {
        file_make(&f);
        raft_disk_pack(&place, 5, f.payload, 10, f.bytes + 5 * (size_t)RAFT_DISK_SECTOR);
        memset(f.bytes + lost * RAFT_DISK_SECTOR, 0, RAFT_DISK_SECTOR);
        CU_ASSERT_EQUAL(unpack(&f, &copy, &u), -EBADMSG);
        CU_ASSERT(u.fault != NULL && u.fault_offset <= lost * RAFT_DISK_SECTOR);
    }
}

static void every_flipped_bit_is_found(void)
{
    static struct file f, copy;
    struct raft_disk_unpacked u;
    unsigned missed = 0, misplaced = 0;
    file_make(&f);
    for (size_t bit = 0; bit < sizeof f.bytes * 8; bit++) {
        f.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        missed += unpack(&f, &copy, &u) != -EBADMSG;
        misplaced += u.fault_offset != bit / 8 / RAFT_DISK_SECTOR * RAFT_DISK_SECTOR;
        f.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CU_ASSERT_EQUAL(missed, 0);
    CU_ASSERT_EQUAL(misplaced, 0);
}

static void a_sector_of_elsewhere_is_found(void)
{
    static struct file f, copy;
    struct raft_disk_unpacked u;
    struct raft_disk_place other = place;
    file_make(&f);
    memcpy(f.bytes + 5 * (size_t)RAFT_DISK_SECTOR, f.bytes, RAFT_DISK_SECTOR); /* its place */
    CU_ASSERT_EQUAL(unpack(&f, &copy, &u), -EBADMSG);
    other.file++;
    file_make(&f);
    raft_disk_pack(&other, 5, f.payload, 10, f.bytes + 5 * (size_t)RAFT_DISK_SECTOR);
    CU_ASSERT_EQUAL(unpack(&f, &copy, &u), -EBADMSG);
    other = place;
    other.node++;
    file_make(&f);
    CU_ASSERT_EQUAL(raft_disk_unpack(&other, f.bytes, sizeof f.bytes, &u), -EBADMSG);
    other = place;
    other.cluster++;
    file_make(&f);
    CU_ASSERT_EQUAL(raft_disk_unpack(&other, f.bytes, sizeof f.bytes, &u), -EBADMSG);
}

static void records_come_back(void)
{
    uint8_t bytes[512];
    const struct raft_disk_record in[3] = {
        {.kind = RAFT_DISK_START, .index = 9},
        {.kind = RAFT_DISK_ENTRY,
         .index = 9,
         .term = 4,
         .type = 3,
         .data = (const uint8_t *)"hello",
         .length = 5},
        {.kind = RAFT_DISK_TRUNCATE, .index = 9},
    };
    struct raft_disk_record out;
    size_t length = 0, offset = 0;
    for (unsigned i = 0; i < 3; i++)
        length += raft_disk_record_put(bytes + length, &in[i]);
    CU_ASSERT_EQUAL(length, 3u * RAFT_DISK_RECORD_BYTES + 8);
    for (unsigned i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(raft_disk_record_next(bytes, length, &offset, &out), 1);
        CU_ASSERT(out.kind == in[i].kind && out.index == in[i].index && out.term == in[i].term);
        CU_ASSERT(out.type == in[i].type && out.length == in[i].length);
        CU_ASSERT(out.length == 0 || memcmp(out.data, in[i].data, out.length) == 0);
    }
    CU_ASSERT_EQUAL(raft_disk_record_next(bytes, length, &offset, &out), 0);
    unsigned missed = 0;
    for (size_t bit = 0; bit < length * 8; bit++) {
        int rc = 1;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        for (offset = 0; rc == 1;)
            rc = raft_disk_record_next(bytes, length, &offset, &out);
        missed += rc != -EBADMSG;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CU_ASSERT_EQUAL(missed, 0);
    offset = 0;
    CU_ASSERT_EQUAL(raft_disk_record_next(bytes, 20, &offset, &out), -EBADMSG);
}

static void impossible_records_are_refused(void)
{
    const struct raft_disk_record bad[] = {
        {.kind = 0, .index = 1},
        {.kind = RAFT_DISK_RESET + 1, .index = 1},
        {.kind = RAFT_DISK_ENTRY, .index = 0, .term = 1},
        {.kind = RAFT_DISK_ENTRY, .index = 1, .term = 0},
        {.kind = RAFT_DISK_ENTRY, .index = UINT64_MAX, .term = 1},
        {.kind = RAFT_DISK_TRUNCATE, .index = 1, .term = 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t bytes[64];
        struct raft_disk_record r;
        size_t offset = 0, length = raft_disk_record_put(bytes, &bad[i]);
        CU_ASSERT_EQUAL(raft_disk_record_next(bytes, length, &offset, &r), -EBADMSG);
    }
}

static void metadata_comes_back_or_is_damaged(void)
{
    const struct raft_disk_metadata in = {.version = 3, .term = 8, .vote = 2};
    struct raft_disk_metadata out;
    uint8_t bytes[RAFT_DISK_SECTOR];
    unsigned missed = 0;
    raft_disk_metadata_put(&place, &in, bytes);
    CU_ASSERT_EQUAL(raft_disk_metadata_get(&place, bytes, sizeof bytes, &out), 0);
    CU_ASSERT(out.version == 3 && out.term == 8 && out.vote == 2);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        missed += raft_disk_metadata_get(&place, bytes, sizeof bytes, &out) != -EBADMSG;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CU_ASSERT_EQUAL(missed, 0);
    CU_ASSERT_EQUAL(raft_disk_metadata_get(&place, bytes, 511, &out), -EBADMSG);
    memset(bytes, 0, sizeof bytes);
    CU_ASSERT_EQUAL(raft_disk_metadata_get(&place, bytes, sizeof bytes, &out), -EBADMSG);
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_was_packed_is_unpacked),
    UNIT_TEST(a_torn_last_write_is_cut),
    UNIT_TEST(a_write_that_another_one_follows_is_not_torn),
    UNIT_TEST(every_flipped_bit_is_found),
    UNIT_TEST(a_sector_of_elsewhere_is_found),
    UNIT_TEST(records_come_back),
    UNIT_TEST(impossible_records_are_refused),
    UNIT_TEST(metadata_comes_back_or_is_damaged),
};
UNIT_MAIN("raft_disk_format", tests)
