#include "control/raft_disk_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void raft_disk_log_init(struct raft_disk_log *l, struct raft_disk_files *files)
{
    *l = (struct raft_disk_log){.files = files, .fd = -1, .next = 1};
}

void raft_disk_log_fini(struct raft_disk_log *l)
{
    if (l->fd >= 0)
        (void)close(l->fd);
    free(l->segments);
    free(l->payload);
    raft_disk_log_init(l, l->files);
}

static struct raft_disk_place place_of(const struct raft_disk_log *l, uint64_t counter)
{
    return (struct raft_disk_place){
        .cluster = l->files->cluster, .node = l->files->node, .file = counter};
}

static struct raft_disk_segment *segment_last(const struct raft_disk_log *l)
{
    return &l->segments[l->segment_count - 1];
}

/* ---- writing ---- */

static int payload_make_room(struct raft_disk_log *l, size_t bytes)
{
    if (l->payload_length + bytes <= l->payload_room)
        return 0;
    size_t room = align_up((l->payload_length + bytes) * 2, PAGE);
    uint8_t *payload = realloc(l->payload, room);
    if (payload == NULL)
        return raft_disk_files_fail(l->files, "cannot write", "a segment", ENOMEM);
    l->payload = payload;
    l->payload_room = room;
    return 0;
}

int raft_disk_log_add(struct raft_disk_log *l, const struct raft_disk_record *r)
{
    /* Why at the front, room for one more: the first write of a segment begins with START. */
    size_t start = l->payload_length == 0 ? RAFT_DISK_RECORD_BYTES : 0;
    struct raft_disk_record record = *r;
    int code = payload_make_room(l, start + raft_disk_record_bytes(r->length));
    if (code != 0)
        return code;
    if (r->kind == RAFT_DISK_ENTRY)
        record.index = l->next++;
    else
        l->next = r->index;
    l->payload_length += start;
    l->payload_length += raft_disk_record_put(l->payload + l->payload_length, &record);
    return 0;
}

static void name_open(struct raft_disk_segment *s)
{
    (void)snprintf(s->name, sizeof s->name, "open-%020llu", (unsigned long long)s->counter);
}

void raft_disk_segment_name(struct raft_disk_segment *s)
{
    (void)snprintf(s->name, sizeof s->name, "log-%020llu-%020llu-%020llu",
                   (unsigned long long)s->counter, (unsigned long long)s->first,
                   (unsigned long long)s->last);
}

/* Why the directory need not be synced here: it is for the next segment, and a crash before that shows the
 * old name. */
static int segment_close(struct raft_disk_log *l)
{
    struct raft_disk_segment *s = segment_last(l);
    const struct raft_disk_segment old = *s;
    (void)close(l->fd);
    l->fd = -1;
    raft_disk_segment_name(s);
    int code = raft_disk_files_rename(l->files, old.name, s->name);
    return code == RAFT_NOTFOUND
               ? raft_disk_files_fail(l->files, "somebody removed", old.name, ENOENT)
               : code;
}

static int segments_make_room(struct raft_disk_log *l)
{
    if (l->segment_count < l->segment_room)
        return 0;
    size_t room = l->segment_room * 2 + 8;
    struct raft_disk_segment *segments = realloc(l->segments, room * sizeof *segments);
    if (segments == NULL)
        return raft_disk_files_fail(l->files, "cannot make", "a segment", ENOMEM);
    l->segments = segments;
    l->segment_room = room;
    return 0;
}

static int segment_take_reserve(struct raft_disk_log *l, const char *name)
{
    int code = raft_disk_files_rename(l->files, RAFT_DISK_RESERVE, name);
    return code == 0 ? raft_disk_files_sync(l->files) : code;
}

/* first: index of the next entry when it begins. */
static int segment_make(struct raft_disk_log *l, uint64_t first, uint64_t sectors)
{
    struct raft_disk_segment s = {.first = first};
    const uint64_t usual = RAFT_DISK_SEGMENT_BYTES / RAFT_DISK_SECTOR;
    int code = segments_make_room(l);
    if (code != 0)
        return code;
    s.counter = l->segment_count != 0 ? segment_last(l)->counter + 1 : 1;
    name_open(&s);
    code = sectors <= usual ? segment_take_reserve(l, s.name) : RAFT_NOTFOUND;
    if (code == RAFT_NOTFOUND)
        code = raft_disk_files_zeros(l->files, s.name, max_u64(sectors, usual) * RAFT_DISK_SECTOR);
    if (code == 0)
        code = raft_disk_files_open(l->files, s.name, &l->fd);
    if (code != 0)
        return code;
    l->segments[l->segment_count++] = s;
    l->wants_reserve = true;
    l->sector = 0;
    l->sector_count = max_u64(sectors, usual);
    return 0;
}

static int payload_write(struct raft_disk_log *l, const uint8_t *payload, size_t length)
{
    const struct raft_disk_segment *s = segment_last(l);
    const struct raft_disk_place place = place_of(l, s->counter);
    size_t count = raft_disk_sector_count(length), bytes = count * RAFT_DISK_SECTOR;
    uint8_t *sectors = malloc(bytes);
    if (sectors == NULL)
        return raft_disk_files_fail(l->files, "cannot write", s->name, ENOMEM);
    raft_disk_pack(&place, l->sector, payload, length, sectors);
    const struct raft_disk_target to = {
        .fd = l->fd, .name = s->name, .offset = l->sector * RAFT_DISK_SECTOR};
    int code = raft_disk_files_write(l->files, &to, sectors, bytes);
    free(sectors);
    l->sector += count;
    return code;
}

/* Where the log is before the first record of this write; the first segment of all begins with that. */
static uint64_t payload_first(const struct raft_disk_log *l)
{
    struct raft_disk_record r;
    size_t offset = RAFT_DISK_RECORD_BYTES;
    if (l->segment_count != 0)
        return segment_last(l)->last + 1;
    int rc = raft_disk_record_next(l->payload, l->payload_length, &offset, &r);
    ASSERT(rc == 1);
    return r.index;
}

int raft_disk_log_flush(struct raft_disk_log *l)
{
    size_t start = RAFT_DISK_RECORD_BYTES, length = l->payload_length;
    int code = 0;
    if (length == 0)
        return 0;
    if (l->fd >= 0 && l->sector + raft_disk_sector_count(length - start) > l->sector_count)
        code = segment_close(l);
    if (code == 0 && l->fd < 0) {
        const struct raft_disk_record r = {.kind = RAFT_DISK_START, .index = payload_first(l)};
        start = 0;
        (void)raft_disk_record_put(l->payload, &r);
        code = segment_make(l, r.index, raft_disk_sector_count(length));
    }
    if (code == 0)
        code = payload_write(l, l->payload + start, length - start);
    if (code == 0)
        segment_last(l)->last = l->next - 1;
    l->payload_length = 0;
    return code;
}

/* Why each is synced: the counters of those that are left have no gap, whenever the power fails. */
static int segment_remove(struct raft_disk_log *l, const struct raft_disk_segment *s)
{
    int code = raft_disk_files_remove(l->files, s->name);
    return code == 0 ? raft_disk_files_sync(l->files) : code;
}

/* All that a segment still adds lies below where the next one begins: what it had above was truncated before
 * that, and what a later one truncates or resets makes it less. */
int raft_disk_log_forget(struct raft_disk_log *l, uint64_t index)
{
    size_t count = 0;
    int code = 0;
    while (code == 0 && count + 1 < l->segment_count && l->segments[count + 1].first <= index + 1)
        code = segment_remove(l, &l->segments[count++]);
    count -= code != 0;
    memmove(l->segments, l->segments + count, (l->segment_count - count) * sizeof *l->segments);
    l->segment_count -= count;
    return code;
}
