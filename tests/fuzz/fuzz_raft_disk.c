/* Any bytes as a file of raft_disk: a segment, its records, metadata, a snapshot, each refused or taken for
 * what it says; and any list of well-formed records as a log, which is loaded as one that libraft can have, or
 * refused.  The first byte chooses. */
#include "control/raft_disk_log.h"
#include "control/raft_disk_snapshot.h"
#include "engine/checksum.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BYTES (UINT32_C(1) << 16)

static const struct raft_disk_place place = {.cluster = 1, .node = 2, .file = 3};

static void require_records(const uint8_t *payload, size_t length)
{
    struct raft_disk_record r;
    size_t offset = 0, before = 0;
    while (raft_disk_record_next(payload, length, &offset, &r) == 1) {
        ASSERT(offset > before && offset <= length);
        ASSERT(r.data >= payload && r.data + r.length <= payload + offset && r.index != 0);
        before = offset;
    }
}

/* Whole sectors of the input, some of them with a sum that fits: sectors that are whole, but not where they
 * should be. */
static void segment(const uint8_t *bytes, size_t size)
{
    static uint8_t copy[BYTES];
    struct raft_disk_unpacked u;
    size_t length = min_u64(size, sizeof copy);
    memcpy(copy, bytes, length);
    int rc = raft_disk_unpack(&place, copy, length, &u);
    ASSERT(rc == 0 || (rc == -EBADMSG && u.fault != NULL && u.fault_offset <= length));
    if (rc != 0)
        return;
    ASSERT(u.length <= length && u.sector_count * RAFT_DISK_SECTOR <= length);
    require_records(copy, u.length);
}

/* Writes of the lengths that the input names, of which it loses sectors: torn, or refused; never more than was
 * written, and all that stands before the first loss if it is not refused. */
static void writes(const uint8_t *bytes, size_t size)
{
    static uint8_t file[64 * RAFT_DISK_SECTOR], payload[8 * RAFT_DISK_PAYLOAD];
    struct raft_disk_unpacked u;
    size_t sector = 0, end = 64, at = 0, lost = SIZE_MAX;
    memset(file, 0, sizeof file);
    memset(payload, 'p', sizeof payload);
    for (; at < size && bytes[at] != 0; at++) {
        size_t length = 1 + bytes[at] * sizeof payload / 256;
        size_t count = raft_disk_sector_count(length);
        if (sector + count > end)
            break;
        raft_disk_pack(&place, sector, payload, length, file + sector * RAFT_DISK_SECTOR);
        sector += count;
    }
    for (at++; at < size; at++) {
        memset(file + bytes[at] % 64u * RAFT_DISK_SECTOR, 0, RAFT_DISK_SECTOR);
        lost = min_u64(lost, bytes[at] % 64u);
    }
    if (raft_disk_unpack(&place, file, sizeof file, &u) != 0) {
        ASSERT(lost < sector);
        return;
    }
    ASSERT(u.sector_count <= sector && (lost < sector || u.sector_count == sector));
    for (size_t i = 0; i < u.length; i++)
        ASSERT(file[i] == 'p');
}

static void metadata(const uint8_t *bytes, size_t size)
{
    struct raft_disk_metadata m;
    uint8_t again[RAFT_DISK_SECTOR];
    if (raft_disk_metadata_get(&place, bytes, size, &m) != 0)
        return;
    raft_disk_metadata_put(&place, &m, again);
    ASSERT(memcmp(again, bytes, 40) == 0);
}

/* The input as body, with a header that fits. */
static void snapshot(const uint8_t *bytes, size_t size)
{
    struct raft_snapshot *s;
    uint8_t file[RAFT_DISK_SNAPSHOT_HEADER_BYTES + 2048];
    size_t body = min_u64(size, 2048);
    const struct raft_disk_snapshot_header h = {
        .index = place.file,
        .term = 1,
        .configuration_bytes = (uint32_t)(size != 0 ? bytes[0] % (body + 1) : 0),
        .data_bytes = body - (size != 0 ? bytes[0] % (body + 1) : 0),
        .body_checksum = checksum(0, bytes, body)};
    if (raft_disk_snapshot_parse(&place, bytes, size, &s) == 0)
        raft_disk_snapshot_free(s);
    raft_disk_snapshot_put_header(&place, &h, file);
    memcpy(file + RAFT_DISK_SNAPSHOT_HEADER_BYTES, bytes, body);
    int code = raft_disk_snapshot_parse(&place, file, RAFT_DISK_SNAPSHOT_HEADER_BYTES + body, &s);
    ASSERT(code == 0 || code == RAFT_CORRUPT);
    if (code == 0)
        ASSERT(s->index == place.file && s->n_bufs == 1 && s->bufs[0].len == h.data_bytes);
    if (code == 0)
        raft_disk_snapshot_free(s);
}

/* ---- a directory ---- */

static struct raft_disk_files files = {.directory = -1, .cluster = 1, .node = 2};
static char path[] = "/dev/shm/dunlin-fuzz-XXXXXX";

static void directory_remove(void)
{
    (void)rmdir(path);
}

static void directory_make(void)
{
    if (files.directory >= 0)
        return;
    ASSERT(mkdtemp(path) != NULL);
    files.path = path;
    files.directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT(files.directory >= 0);
    (void)atexit(directory_remove);
}

static int remove_one(void *context, const char *name)
{
    (void)context;
    return name[0] == '.' ? 0 : raft_disk_files_remove(&files, name);
}

/* Three bytes a record. */
static size_t records_make(const uint8_t *bytes, size_t size, uint8_t *payload, size_t room)
{
    size_t length = 0;
    for (size_t i = 0; i + 3 <= size && length + 64 <= room; i += 3) {
        const uint8_t *b = bytes + i;
        struct raft_disk_record r = {.kind = (uint16_t)(b[0] % 4 + 1), .index = b[1] % 32u + 1};
        if (r.kind == RAFT_DISK_ENTRY) {
            r.term = b[2] / 64u + 1;
            r.data = b;
            r.length = b[2] % 4u;
        }
        length += raft_disk_record_put(payload + length, &r);
    }
    return length;
}

static void require_log(const struct raft_disk_log *l, const struct raft_disk_entries *e)
{
    ASSERT(l->fd < 0 && l->next == e->first + e->count);
    for (size_t i = 1; i < e->count; i++)
        ASSERT(e->list[i].term >= e->list[i - 1].term);
}

static void logs(const uint8_t *bytes, size_t size)
{
    static uint8_t payload[4096], sectors[16 * RAFT_DISK_SECTOR];
    struct raft_disk_log l;
    struct raft_disk_entries entries, again;
    const struct raft_disk_place first = {.cluster = 1, .node = 2, .file = 1};
    size_t length = records_make(bytes, size, payload, sizeof payload);
    directory_make();
    memset(sectors, 0, sizeof sectors);
    if (length != 0)
        raft_disk_pack(&first, 0, payload, length, sectors);
    ASSERT(raft_disk_files_replace(&files, "open-00000000000000000001", sectors, sizeof sectors) ==
           0);
    raft_disk_log_init(&l, &files);
    int code = raft_disk_log_load(&l, &entries);
    ASSERT(code == 0 || code == RAFT_CORRUPT);
    if (code == 0) {
        require_log(&l, &entries);
        ASSERT(raft_disk_log_load(&l, &again) == 0);
        ASSERT(again.first == entries.first && again.count == entries.count);
        raft_disk_entries_drop(&entries);
        raft_disk_entries_drop(&again);
    }
    raft_disk_log_fini(&l);
    ASSERT(raft_disk_files_list(&files, remove_one, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    switch (bytes[0] % 6) {
    case 0:
        segment(bytes + 1, size - 1);
        break;
    case 1:
        require_records(bytes + 1, size - 1);
        break;
    case 2:
        writes(bytes + 1, size - 1);
        break;
    case 3:
        metadata(bytes + 1, size - 1);
        break;
    case 4:
        snapshot(bytes + 1, size - 1);
        break;
    default:
        logs(bytes + 1, size - 1);
        break;
    }
    return 0;
}
