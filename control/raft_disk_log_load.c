#include "control/raft_disk_log.h"

#include <stdlib.h>
#include <string.h>

/* Bounds what is read of one file: the largest write, in sectors, and as much again. */
#define SEGMENT_BYTES_MAX (2 * (size_t)RAFT_DISK_ENTRY_MAX + RAFT_DISK_SEGMENT_BYTES)

/* ---- entries ---- */

void raft_disk_entries_cut(struct raft_disk_entries *e, uint64_t index)
{
    while (e->count != 0 && e->first + e->count > index)
        raft_free(e->list[--e->count].batch);
}

void raft_disk_entries_drop(struct raft_disk_entries *e)
{
    raft_disk_entries_cut(e, e->first);
    raft_free(e->list);
    *e = (struct raft_disk_entries){0};
}

static int entries_add(struct raft_disk_entries *e, const struct raft_disk_record *r)
{
    if (e->count == e->room) {
        size_t room = e->room * 2 + 64;
        struct raft_entry *list = raft_realloc(e->list, room * sizeof *list);
        if (list == NULL)
            return RAFT_NOMEM;
        e->list = list;
        e->room = room;
    }
    /* Why a batch of its own: libraft frees what it loaded by batches. */
    uint8_t *copy = raft_malloc(r->length + 1u);
    if (copy == NULL)
        return RAFT_NOMEM;
    memcpy(copy, r->data, r->length);
    e->list[e->count++] = (struct raft_entry){
        .term = r->term, .type = r->type, .buf = {.base = copy, .len = r->length}, .batch = copy};
    return 0;
}

static void entries_restart(struct raft_disk_entries *e, uint64_t index)
{
    raft_disk_entries_cut(e, e->first);
    e->first = index;
}

/* ---- names ---- */

static bool name_parse(const char *name, struct raft_disk_segment *s, bool *is_open)
{
    const char *at;
    *s = (struct raft_disk_segment){0};
    if (strlen(name) >= sizeof s->name)
        return false;
    memcpy(s->name, name, strlen(name) + 1);
    *is_open = strncmp(name, "open-", 5) == 0;
    if (*is_open)
        return raft_disk_files_number(name + 5, 0, &s->counter) != NULL;
    if (strncmp(name, "log-", 4) != 0)
        return false;
    at = raft_disk_files_number(name + 4, '-', &s->counter);
    at = at != NULL ? raft_disk_files_number(at, '-', &s->first) : NULL;
    return at != NULL && raft_disk_files_number(at, 0, &s->last) != NULL;
}

static int segment_found(void *context, const char *name)
{
    struct raft_disk_log *l = context;
    struct raft_disk_segment s;
    bool is_open;
    if (!name_parse(name, &s, &is_open))
        return 0;
    if (l->segment_count == l->segment_room) {
        size_t room = l->segment_room * 2 + 8;
        struct raft_disk_segment *segments = realloc(l->segments, room * sizeof s);
        if (segments == NULL)
            return raft_disk_files_fail(l->files, "cannot list", "", ENOMEM);
        l->segments = segments;
        l->segment_room = room;
    }
    l->segments[l->segment_count++] = s;
    return 0;
}

static bool is_open(const struct raft_disk_segment *s)
{
    return s->name[0] == 'o';
}

/* The closed one of a pair first. */
static int segment_compare(const void *a, const void *b)
{
    const struct raft_disk_segment *x = a, *y = b;
    if (x->counter != y->counter)
        return x->counter < y->counter ? -1 : 1;
    return is_open(x) - is_open(y);
}

/* Sort them; of an open one that was written to its closed file already, take that. */
static int segments_sort(struct raft_disk_log *l)
{
    size_t kept = 0;
    if (l->segment_count != 0)
        qsort(l->segments, l->segment_count, sizeof *l->segments, segment_compare);
    for (size_t i = 0; i < l->segment_count; i++) {
        const struct raft_disk_segment *s = &l->segments[i];
        const struct raft_disk_segment *before = kept != 0 ? &l->segments[kept - 1] : NULL;
        if (before != NULL && before->counter == s->counter) {
            int code = is_open(s)
                           ? raft_disk_files_remove(l->files, s->name)
                           : raft_disk_files_corrupt(l->files, s->name, 0, "it is there twice");
            if (code != 0)
                return code;
            continue;
        }
        if (before != NULL && before->counter + 1 != s->counter)
            return raft_disk_files_corrupt(l->files, s->name, 0, "the segment before it is gone");
        l->segments[kept++] = *s;
    }
    l->segment_count = kept;
    return 0;
}

/* ---- one segment ---- */

struct segment_bytes {
    uint8_t *bytes; /* its payload, then */
    struct raft_disk_unpacked unpacked;
};

static int segment_read(struct raft_disk_log *l, struct raft_disk_segment *s, bool is_last,
                        struct segment_bytes *b)
{
    const struct raft_disk_place place = {
        .cluster = l->files->cluster, .node = l->files->node, .file = s->counter};
    size_t length;
    int code = raft_disk_files_read(l->files, s->name, SEGMENT_BYTES_MAX, &b->bytes, &length);
    if (code == RAFT_NOTFOUND)
        code = raft_disk_files_fail(l->files, "somebody removed", s->name, ENOENT);
    if (code != 0)
        return code;
    if (raft_disk_unpack(&place, b->bytes, length, &b->unpacked) != 0)
        return raft_disk_files_corrupt(l->files, s->name, b->unpacked.fault_offset,
                                       b->unpacked.fault);
    const uint64_t end = b->unpacked.sector_count * RAFT_DISK_SECTOR;
    if (b->unpacked.is_torn && !(is_last && is_open(s)))
        return raft_disk_files_corrupt(l->files, s->name, end, "sectors of a write are missing");
    if (b->unpacked.length == 0 && !(is_last && is_open(s)))
        return raft_disk_files_corrupt(l->files, s->name, 0, "it is empty");
    return 0;
}

/* What a record does to the log.  Returns 0, RAFT_NOMEM, or RAFT_CORRUPT: it fits nowhere. */
static int record_apply(struct raft_disk_log *l, struct raft_disk_entries *e,
                        const struct raft_disk_record *r)
{
    if (r->kind == RAFT_DISK_ENTRY) {
        uint64_t term = e->count != 0 ? e->list[e->count - 1].term : 0;
        if (r->index != l->next || r->term < term)
            return RAFT_CORRUPT;
        l->next++;
        return entries_add(e, r);
    }
    if (r->kind == RAFT_DISK_TRUNCATE && r->index <= l->next) {
        raft_disk_entries_cut(e, r->index);
        if (e->count == 0)
            e->first = r->index;
    } else if (r->kind == RAFT_DISK_RESET) {
        entries_restart(e, r->index);
    } else {
        return RAFT_CORRUPT;
    }
    l->next = r->index;
    return 0;
}

static int segment_start(struct raft_disk_log *l, struct raft_disk_entries *e, size_t number,
                         const struct raft_disk_record *r)
{
    struct raft_disk_segment *s = &l->segments[number];
    if (is_open(s))
        s->first = r->index;
    if (r->kind != RAFT_DISK_START || r->index != s->first)
        return RAFT_CORRUPT;
    if (number == 0) {
        e->first = r->index;
        l->next = r->index;
    }
    return r->index == l->next ? 0 : RAFT_CORRUPT;
}

static int segment_apply(struct raft_disk_log *l, size_t number, const struct segment_bytes *b,
                         struct raft_disk_entries *e)
{
    struct raft_disk_segment *s = &l->segments[number];
    struct raft_disk_record r;
    size_t offset = 0, before = 0;
    int rc;
    while ((rc = raft_disk_record_next(b->bytes, b->unpacked.length, &offset, &r)) == 1) {
        int code = before == 0 ? segment_start(l, e, number, &r) : record_apply(l, e, &r);
        if (code == RAFT_NOMEM)
            return raft_disk_files_fail(l->files, "cannot read", s->name, ENOMEM);
        if (code != 0)
            break;
        before = offset;
    }
    if (rc != 0)
        return raft_disk_files_corrupt(l->files, s->name, before,
                                       rc < 0 ? "a record fails its check (byte of its payload)"
                                              : "a record does not continue those before it (byte "
                                                "of its payload)");
    if (is_open(s))
        s->last = l->next - 1;
    else if (l->next - 1 != s->last)
        return raft_disk_files_corrupt(l->files, s->name, 0, "it does not end where its name says");
    return 0;
}

/* ---- the open one ---- */

/* Write what was read to a new file.  Why not rename it: what reads well may be in memory alone, if a sync
 * failed before this process began. */
static int segment_rewrite(struct raft_disk_log *l, struct raft_disk_segment *s,
                           const struct segment_bytes *b)
{
    const struct raft_disk_place place = {
        .cluster = l->files->cluster, .node = l->files->node, .file = s->counter};
    struct raft_disk_segment old = *s;
    size_t bytes = raft_disk_sector_count(b->unpacked.length) * RAFT_DISK_SECTOR;
    uint8_t *sectors = malloc(bytes);
    if (sectors == NULL)
        return raft_disk_files_fail(l->files, "cannot write", s->name, ENOMEM);
    raft_disk_pack(&place, 0, b->bytes, b->unpacked.length, sectors);
    raft_disk_segment_name(s);
    int code = raft_disk_files_replace(l->files, s->name, sectors, bytes);
    if (code == RAFT_NOSPACE && raft_disk_files_remove(l->files, RAFT_DISK_RESERVE) == 0)
        code = raft_disk_files_replace(l->files, s->name, sectors, bytes);
    free(sectors);
    return code == 0 ? raft_disk_files_remove(l->files, old.name) : code;
}

static int segment_settle(struct raft_disk_log *l, size_t number, const struct segment_bytes *b)
{
    struct raft_disk_segment *s = &l->segments[number];
    if (!is_open(s))
        return 0;
    if (b->unpacked.length != 0)
        return segment_rewrite(l, s, b);
    l->segment_count--; /* Only the last one can be empty. */
    return raft_disk_files_remove(l->files, s->name);
}

int raft_disk_log_load(struct raft_disk_log *l, struct raft_disk_entries *entries)
{
    raft_disk_log_fini(l);
    *entries = (struct raft_disk_entries){.first = 1};
    int code = raft_disk_files_list(l->files, segment_found, l);
    if (code == 0)
        code = segments_sort(l);
    size_t count = l->segment_count;
    for (size_t i = 0; code == 0 && i < count; i++) {
        struct segment_bytes b = {0};
        code = segment_read(l, &l->segments[i], i + 1 == count, &b);
        if (code == 0)
            code = segment_apply(l, i, &b, entries);
        if (code == 0)
            code = segment_settle(l, i, &b);
        free(b.bytes);
    }
    if (code == 0)
        code = raft_disk_files_sync(l->files);
    if (code != 0)
        raft_disk_entries_drop(entries);
    return code;
}
