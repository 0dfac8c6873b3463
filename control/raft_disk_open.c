#include "control/raft_disk_queue.h"
#include "control/raft_disk_snapshot.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the directory ---- */

/* Why the parent is synced: votes in a directory that a crash takes away were promises, too. */
static int directory_make(const char *path)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return -errno;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = fchmod(fd, 0700) == 0 ? 0 : -errno;
    int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (error == 0 && (parent < 0 || fsync(parent) != 0))
        error = -errno;
    if (parent >= 0)
        (void)close(parent);
    if (error == 0)
        return fd;
    (void)close(fd);
    return error;
}

static int directory_lock(int directory)
{
    int fd = openat(directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    int error = -errno;
    (void)close(fd);
    return error;
}

struct look {
    struct raft_disk_files *files;
    bool is_new; /* nothing in it that depends on the metadata */
};

static int left_look(void *context, const char *name)
{
    struct look *k = context;
    size_t length = strlen(name);
    if (length > 4 && strcmp(name + length - 4, ".new") == 0)
        return raft_disk_files_remove(k->files, name);
    if (strncmp(name, "log-", 4) == 0 || strncmp(name, "open-", 5) == 0 ||
        strncmp(name, "snapshot-", 9) == 0)
        k->is_new = false;
    return 0;
}

static int reserve_make(struct raft_disk_files *f)
{
    struct stat status;
    if (fstatat(f->directory, RAFT_DISK_RESERVE, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(status.st_mode) && status.st_size == RAFT_DISK_SEGMENT_BYTES)
        return 0;
    return raft_disk_files_zeros(f, RAFT_DISK_RESERVE, RAFT_DISK_SEGMENT_BYTES);
}

/* Damage is for raft_disk_load to say; what cannot be made now is for the caller to try again. */
static int directory_look(struct raft_disk *d)
{
    struct look k = {.files = &d->loop_files, .is_new = true};
    int code = raft_disk_files_list(&d->loop_files, left_look, &k);
    if (code == 0)
        code = reserve_make(&d->loop_files);
    if (code != 0)
        return code;
    code = raft_disk_meta_open(&d->meta, &d->loop_files, k.is_new);
    d->meta_status = raft_disk_said(d, &d->loop_files, code);
    return code == RAFT_CORRUPT ? 0 : code;
}

static int errno_of(int code)
{
    return code == 0 ? 0 : code == RAFT_NOSPACE ? -ENOSPC : code == RAFT_NOMEM ? -ENOMEM : -EIO;
}

int raft_disk_open(struct raft_disk **disk, const struct raft_disk_config *config)
{
    struct raft_disk *d = calloc(1, sizeof *d);
    int error = 0;
    if (d == NULL)
        return -ENOMEM;
    d->config = *config;
    d->path = strdup(config->directory);
    d->config.directory = d->path;
    d->lock_fd = -1;
    d->loop_files = (struct raft_disk_files){
        .directory = -1, .path = d->path, .cluster = config->cluster, .node = config->node};
    d->meta = (struct raft_disk_meta){.fd = {-1, -1}};
    raft_disk_log_init(&d->log, &d->work_files);
    if (d->path == NULL)
        error = -ENOMEM;
    if (error == 0)
        error = d->loop_files.directory = directory_make(d->path);
    if (error >= 0)
        error = d->lock_fd = directory_lock(d->loop_files.directory);
    if (error >= 0)
        error = errno_of(directory_look(d));
    d->work_files = d->loop_files;
    if (error == 0)
        *disk = d;
    else
        raft_disk_free(d);
    return error;
}

void raft_disk_free(struct raft_disk *d)
{
    raft_disk_log_fini(&d->log);
    raft_disk_meta_close(&d->meta);
    if (d->lock_fd >= 0)
        (void)close(d->lock_fd);
    if (d->loop_files.directory >= 0)
        (void)close(d->loop_files.directory);
    free(d->path);
    free(d);
}

/* ---- what it holds ---- */

struct held {
    struct raft_snapshot *snapshot; /* NULL: none */
    struct raft_disk_entries entries;
};

static void held_drop(struct held *h)
{
    raft_disk_snapshot_free(h->snapshot);
    raft_disk_entries_drop(&h->entries);
    h->snapshot = NULL;
}

/* Void what the log holds: the next entry has this index. */
static int log_reset(struct raft_disk *d, struct held *h, uint64_t index)
{
    const struct raft_disk_record r = {.kind = RAFT_DISK_RESET, .index = index};
    raft_disk_entries_drop(&h->entries);
    h->entries.first = index;
    d->log.next = index;
    if (d->log.segment_count == 0)
        return 0;
    int code = raft_disk_log_add(&d->log, &r);
    return code == 0 ? raft_disk_log_flush(&d->log) : code;
}

/* Whether the log continues the snapshot: it was installed over another log if not, and a crash came before
 * that could be voided. */
static bool log_fits(const struct held *h)
{
    const struct raft_disk_entries *e = &h->entries;
    const struct raft_snapshot *s = h->snapshot;
    if (e->first == s->index + 1)
        return true;
    return s->index >= e->first && s->index - e->first < e->count &&
           e->list[s->index - e->first].term == s->term;
}

static int terms_check(struct raft_disk *d, const struct held *h)
{
    const struct raft_disk_entries *e = &h->entries;
    uint64_t term = e->count != 0 ? e->list[e->count - 1].term : 0;
    if (h->snapshot != NULL)
        term = max_u64(term, h->snapshot->term);
    return term <= d->meta.now.term
               ? 0
               : raft_disk_files_corrupt(&d->work_files, "metadata1", 0,
                                         "log or snapshot have a higher term than metadata");
}

/* A bootstrap writes its entry first, then the term: what it left before that is void. */
static bool is_half_bootstrapped(const struct raft_disk *d, const struct held *h)
{
    const struct raft_disk_entries *e = &h->entries;
    return d->meta.now.term == 0 && h->snapshot == NULL && e->count == 1 && e->first == 1 &&
           e->list[0].type == RAFT_CHANGE && e->list[0].term == 1;
}

static int held_settle(struct raft_disk *d, struct held *h)
{
    if (is_half_bootstrapped(d, h))
        return log_reset(d, h, 1);
    int code = terms_check(d, h);
    if (code != 0)
        return code;
    uint64_t first = h->snapshot != NULL ? h->snapshot->index + 1 : 1;
    if (d->log.segment_count == 0)
        return log_reset(d, h, first);
    if (h->entries.first > first)
        return raft_disk_files_corrupt(&d->work_files, d->log.segments[0].name, 0,
                                       "the log before it, or a snapshot of that, is gone");
    return h->snapshot == NULL || log_fits(h) ? 0 : log_reset(d, h, first);
}

static int held_load(struct raft_disk *d, struct held *h)
{
    ASSERT(!d->is_working && d->waiting == NULL);
    *h = (struct held){0};
    if (d->meta_status != 0)
        return d->meta_status;
    int code = raft_disk_snapshot_read(&d->work_files, &h->snapshot);
    if (code == 0)
        code = raft_disk_log_load(&d->log, &h->entries);
    if (code == 0)
        code = held_settle(d, h);
    if (code != 0)
        held_drop(h);
    return raft_disk_said(d, &d->work_files, code);
}

/* NOLINTNEXTLINE(readability-function-size): seven parameters are what libraft calls it with */
int raft_disk_load(struct raft_disk *d, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry **entries, size_t *n_entries)
{
    struct held h;
    int code = held_load(d, &h);
    if (code != 0)
        return code;
    *term = d->meta.now.term;
    *voted_for = d->meta.now.vote;
    *snapshot = h.snapshot;
    *start_index = h.entries.first;
    *n_entries = h.entries.count;
    if (h.entries.count == 0)
        raft_disk_entries_drop(&h.entries);
    *entries = h.entries.list;
    return 0;
}

int raft_disk_look(struct raft_disk *d)
{
    struct held h;
    int code = held_load(d, &h);
    if (code == 0)
        held_drop(&h);
    return code;
}

/* ---- the first entry, and one by force ---- */

static int configuration_append(struct raft_disk *d, uint64_t term,
                                const struct raft_configuration *conf)
{
    struct raft_buffer encoded;
    int code = raft_configuration_encode(conf, &encoded);
    if (code != 0)
        return code;
    const struct raft_disk_record r = {.kind = RAFT_DISK_ENTRY,
                                       .type = RAFT_CHANGE,
                                       .term = term,
                                       .data = encoded.base,
                                       .length = (uint32_t)encoded.len};
    code = raft_disk_log_add(&d->log, &r);
    raft_free(encoded.base);
    return raft_disk_said(d, &d->work_files, code == 0 ? raft_disk_log_flush(&d->log) : code);
}

int raft_disk_bootstrap(struct raft_disk *d, const struct raft_configuration *conf)
{
    struct held h;
    int code = held_load(d, &h);
    if (code != 0)
        return code;
    held_drop(&h);
    if (d->meta.now.term != 0)
        return RAFT_CANTBOOTSTRAP;
    code = configuration_append(d, 1, conf);
    return code == 0 ? raft_disk_set_term(d, 1) : code;
}

bool raft_disk_is_new(const struct raft_disk *d)
{
    /* The first configuration is entry 1, of term 1.  Why the log, too: a voter that is alone leads in that term,
     * without an election. */
    return d->meta.now.term <= 1 && d->meta.now.vote == 0 && d->log.next <= 2;
}

int raft_disk_recover(struct raft_disk *d, const struct raft_configuration *conf)
{
    struct held h;
    int code = held_load(d, &h);
    if (code != 0)
        return code;
    held_drop(&h);
    return d->meta.now.term != 0 ? configuration_append(d, d->meta.now.term, conf) : RAFT_INVALID;
}
