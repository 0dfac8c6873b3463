#include "tests/unit/control/raft_disk_shim.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512u
#define FILES 512u
#define CHANGES 64u
#define NAME 80u

struct piece {
    struct piece *next;
    uint64_t offset;
    size_t length;
    bool is_zero; /* no bytes */
    uint8_t bytes[];
};

struct file {
    dev_t device;
    ino_t number;
    uint8_t *synced;
    size_t synced_length;
    struct piece *waiting;
};

struct change {
    char from[NAME]; /* "": it is made */
    char to[NAME];   /* "": it goes */
    struct file *file;
};

struct name {
    char text[NAME];
    struct file *file;
};

struct shim {
    struct shim *next;
    dev_t device;
    ino_t number;
    void (*at_point)(void *context);
    void *context;
    struct file files[FILES];
    unsigned file_count;
    struct name now[FILES], synced[FILES]; /* file NULL: free */
    struct change changes[CHANGES];
    unsigned change_count, points;
    unsigned fail_count, fail_parts;
    int fail_error;
    bool fail_syncs;
};

static struct shim *shims;
static pthread_mutex_t shims_mutex = PTHREAD_MUTEX_INITIALIZER;

int __real_openat64(int directory, const char *path, int flags, ...);
ssize_t __real_pwrite64(int fd, const void *bytes, size_t length, off_t offset);
int __real_fdatasync(int fd);
int __real_fsync(int fd);
int __real_renameat(int from_directory, const char *from, int to_directory, const char *to);
int __real_unlinkat(int directory, const char *path, int flags);
int __wrap_openat64(int directory, const char *path, int flags, unsigned mode);
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t length, off_t offset);
int __wrap_fdatasync(int fd);
int __wrap_fsync(int fd);
int __wrap_renameat(int from_directory, const char *from, int to_directory, const char *to);
int __wrap_unlinkat(int directory, const char *path, int flags);

/* ---- names and files ---- */

static void text_copy(char to[NAME], const char *text)
{
    size_t length = strlen(text);
    ASSERT(length < NAME);
    memcpy(to, text, length + 1);
}

static struct name *name_find(struct name *names, const char *text)
{
    for (unsigned i = 0; i < FILES; i++) {
        if (names[i].file != NULL && strcmp(names[i].text, text) == 0)
            return &names[i];
    }
    return NULL;
}

static void name_set(struct name *names, const char *text, struct file *file)
{
    struct name *n = name_find(names, text);
    for (unsigned i = 0; n == NULL && i < FILES; i++) {
        if (names[i].file == NULL)
            n = &names[i];
    }
    ASSERT(n != NULL);
    text_copy(n->text, text);
    n->file = file;
}

static void name_drop(struct name *names, const char *text)
{
    struct name *n = name_find(names, text);
    if (n != NULL)
        n->file = NULL;
}

static void change_apply(struct name *names, const struct change *c)
{
    if (c->from[0] != 0)
        name_drop(names, c->from);
    if (c->to[0] != 0)
        name_set(names, c->to, c->file);
}

/* Its number may be another file's from now on. */
static void name_forget(struct shim *s, const char *text)
{
    struct name *n = name_find(s->now, text);
    if (n != NULL)
        n->file->number = 0;
}

static void change_add(struct shim *s, const char *from, const char *to, struct file *file)
{
    struct change *c = &s->changes[s->change_count++];
    ASSERT(s->change_count <= CHANGES);
    text_copy(c->from, from);
    text_copy(c->to, to);
    c->file = file;
    name_forget(s, to[0] != 0 ? to : from);
    change_apply(s->now, c);
}

static struct shim *shim_of_directory(int fd)
{
    struct stat status;
    struct shim *found = NULL;
    if (fstat(fd, &status) != 0)
        return NULL;
    (void)pthread_mutex_lock(&shims_mutex);
    for (struct shim *s = shims; s != NULL; s = s->next) {
        if (s->device == status.st_dev && s->number == status.st_ino)
            found = s;
    }
    (void)pthread_mutex_unlock(&shims_mutex);
    return found;
}

/* The newest with that number: an earlier one was removed. */
static struct file *file_in(struct shim *s, const struct stat *status)
{
    for (unsigned i = s->file_count; i-- != 0;) {
        if (s->files[i].device == status->st_dev && s->files[i].number == status->st_ino)
            return &s->files[i];
    }
    return NULL;
}

static struct file *file_of(int fd, struct shim **shim)
{
    struct stat status;
    struct file *file = NULL;
    *shim = NULL;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return NULL;
    (void)pthread_mutex_lock(&shims_mutex);
    for (struct shim *s = shims; s != NULL && file == NULL; s = s->next) {
        file = file_in(s, &status);
        *shim = s;
    }
    (void)pthread_mutex_unlock(&shims_mutex);
    return file;
}

static struct file *file_make(struct shim *s, int fd)
{
    struct stat status;
    struct file *file = &s->files[s->file_count++];
    ASSERT(s->file_count <= FILES && fstat(fd, &status) == 0);
    *file = (struct file){.device = status.st_dev, .number = status.st_ino};
    return file;
}

/* ---- content ---- */

static bool is_zero(const uint8_t *bytes, size_t length)
{
    return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

static void piece_add(struct file *f, uint64_t offset, const uint8_t *bytes, size_t length)
{
    bool zero = is_zero(bytes, length);
    struct piece *p = malloc(sizeof *p + (zero ? 0 : length));
    struct piece **end = &f->waiting;
    ASSERT(p != NULL);
    *p = (struct piece){.offset = offset, .length = length, .is_zero = zero};
    if (!zero)
        memcpy(p->bytes, bytes, length);
    while (*end != NULL)
        end = &(*end)->next;
    *end = p;
}

static void pieces_add(struct file *f, uint64_t offset, const uint8_t *bytes, size_t length)
{
    if (is_zero(bytes, length)) {
        piece_add(f, offset, bytes, length);
        return;
    }
    while (length != 0) {
        size_t now = min_u64(length, SECTOR - offset % SECTOR);
        piece_add(f, offset, bytes, now);
        offset += now;
        bytes += now;
        length -= now;
    }
}

static void piece_apply(uint8_t **bytes, size_t *length, const struct piece *p)
{
    size_t end = p->offset + p->length;
    if (end > *length) {
        *bytes = realloc(*bytes, end);
        ASSERT(*bytes != NULL);
        memset(*bytes + *length, 0, end - *length);
        *length = end;
    }
    if (p->is_zero)
        memset(*bytes + p->offset, 0, p->length);
    else
        memcpy(*bytes + p->offset, p->bytes, p->length);
}

static void pieces_end(struct file *f, bool are_synced)
{
    while (f->waiting != NULL) {
        struct piece *p = f->waiting;
        f->waiting = p->next;
        if (are_synced)
            piece_apply(&f->synced, &f->synced_length, p);
        free(p);
    }
}

/* ---- failures ---- */

/* True: it fails, errno says how. */
static bool point(struct shim *s, bool is_sync)
{
    (void)pthread_mutex_lock(&shims_mutex);
    s->points++;
    (void)pthread_mutex_unlock(&shims_mutex);
    if (s->at_point != NULL)
        s->at_point(s->context);
    if (s->fail_error == 0 || (is_sync && !s->fail_syncs))
        return false;
    if (s->fail_count > 1) {
        s->fail_count--;
        return false;
    }
    errno = s->fail_error;
    return true;
}

static bool is_spared(struct shim *s, const struct file *file)
{
    bool spared = false;
    (void)pthread_mutex_lock(&shims_mutex);
    for (unsigned i = 0; i < FILES; i++) {
        if (s->now[i].file == file && strncmp(s->now[i].text, "metadata", 8) == 0)
            spared = strstr(s->now[i].text, ".new") == NULL;
    }
    (void)pthread_mutex_unlock(&shims_mutex);
    return spared;
}

void shim_fail(struct shim *s, unsigned count, int error, bool syncs)
{
    s->fail_count = count;
    s->fail_error = error;
    s->fail_syncs = syncs;
}

unsigned shim_points(const struct shim *s)
{
    return s->points;
}

/* ---- the calls ---- */

static bool is_known(struct shim *s, const char *path)
{
    (void)pthread_mutex_lock(&shims_mutex);
    bool is_there = name_find(s->now, path) != NULL;
    (void)pthread_mutex_unlock(&shims_mutex);
    return is_there;
}

int __wrap_openat64(int directory, const char *path, int flags, unsigned mode)
{
    struct shim *s = (flags & O_CREAT) != 0 ? shim_of_directory(directory) : NULL;
    if (s == NULL)
        return __real_openat64(directory, path, flags, mode);
    bool is_there = is_known(s, path);
    if (!is_there && point(s, false))
        return -1;
    int fd = __real_openat64(directory, path, flags, mode);
    (void)pthread_mutex_lock(&shims_mutex);
    if (fd >= 0 && !is_there)
        change_add(s, "", path, file_make(s, fd));
    (void)pthread_mutex_unlock(&shims_mutex);
    return fd;
}

ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t length, off_t offset)
{
    struct shim *s;
    struct file *f = file_of(fd, &s);
    if (f != NULL && !is_spared(s, f) && point(s, false)) {
        /* Why whole sectors: the kernel takes a write by pages. */
        if (s->fail_error != ENOSPC || s->fail_parts++ % 2 != 0 || length < 2u * SECTOR)
            return -1;
        length = length / 2 / SECTOR * SECTOR; /* the rest fails */
    }
    ssize_t count = __real_pwrite64(fd, bytes, length, offset);
    (void)pthread_mutex_lock(&shims_mutex);
    if (f != NULL && count > 0)
        pieces_add(f, (uint64_t)offset, bytes, (size_t)count);
    (void)pthread_mutex_unlock(&shims_mutex);
    return count;
}

static int sync_fd(int fd, int (*real)(int fd))
{
    struct shim *s;
    struct file *f = file_of(fd, &s);
    if (f == NULL) {
        s = shim_of_directory(fd);
        if (s == NULL)
            return real(fd);
        if (point(s, true))
            return -1;
        (void)pthread_mutex_lock(&shims_mutex);
        for (unsigned i = 0; i < s->change_count; i++)
            change_apply(s->synced, &s->changes[i]);
        s->change_count = 0;
        (void)pthread_mutex_unlock(&shims_mutex);
        return 0;
    }
    bool fails = point(s, true);
    (void)pthread_mutex_lock(&shims_mutex);
    pieces_end(f, !fails);
    (void)pthread_mutex_unlock(&shims_mutex);
    return fails ? -1 : 0;
}

int __wrap_fdatasync(int fd)
{
    return sync_fd(fd, __real_fdatasync);
}

int __wrap_fsync(int fd)
{
    return sync_fd(fd, __real_fsync);
}

int __wrap_renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    struct shim *s = shim_of_directory(from_directory);
    if (s != NULL)
        (void)point(s, true);
    int rc = __real_renameat(from_directory, from, to_directory, to);
    (void)pthread_mutex_lock(&shims_mutex);
    if (s != NULL && rc == 0)
        change_add(s, from, to, name_find(s->now, from)->file);
    (void)pthread_mutex_unlock(&shims_mutex);
    return rc;
}

int __wrap_unlinkat(int directory, const char *path, int flags)
{
    struct shim *s = shim_of_directory(directory);
    if (s != NULL && is_known(s, path))
        (void)point(s, true);
    int rc = __real_unlinkat(directory, path, flags);
    (void)pthread_mutex_lock(&shims_mutex);
    if (s != NULL && rc == 0)
        change_add(s, path, "", NULL);
    (void)pthread_mutex_unlock(&shims_mutex);
    return rc;
}

/* ---- crash ---- */

static void file_write(int directory, const struct name *n, int level, unsigned *seed)
{
    size_t length = n->file->synced_length;
    uint8_t *bytes = malloc(length + 1);
    ASSERT(bytes != NULL);
    if (length != 0)
        memcpy(bytes, n->file->synced, length);
    for (const struct piece *p = n->file->waiting; p != NULL; p = p->next) {
        if (level == 2 || (level == 1 && rand_r(seed) % 2 == 0))
            piece_apply(&bytes, &length, p);
    }
    int fd =
        __real_openat64(directory, n->text, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)0600);
    ASSERT(fd >= 0 && ftruncate(fd, (off_t)length) == 0);
    for (size_t at = 0; at < length; at += PAGE) {
        size_t now = min_u64(PAGE, length - at);
        if (!is_zero(bytes + at, now))
            ASSERT(__real_pwrite64(fd, bytes + at, now, (off_t)at) == (ssize_t)now);
    }
    (void)close(fd);
    free(bytes);
}

static bool depends(const struct change *c, const struct change *earlier)
{
    const char *const mine[2] = {c->from, c->to}, *const its[2] = {earlier->from, earlier->to};
    for (unsigned i = 0; i < 4; i++) {
        if (mine[i / 2][0] != 0 && strcmp(mine[i / 2], its[i % 2]) == 0)
            return true;
    }
    return false;
}

static bool is_kept(const struct shim *s, const bool *lost, unsigned i, unsigned *seed)
{
    for (unsigned k = 0; k < i; k++) {
        if (lost[k] && depends(&s->changes[i], &s->changes[k]))
            return false;
    }
    return rand_r(seed) % 2 == 0;
}

void shim_crash(const struct shim *s, const char *directory, int level, unsigned *seed)
{
    static _Thread_local struct name names[FILES];
    bool lost[CHANGES] = {false};
    bool in_order = rand_r(seed) % 2 == 0;
    unsigned count = level == 2   ? s->change_count
                     : level == 1 ? (unsigned)rand_r(seed) % (s->change_count + 1)
                                  : 0;
    memcpy(names, s->synced, sizeof names);
    for (unsigned i = 0; i < s->change_count; i++) {
        lost[i] = level == 1 && !in_order ? !is_kept(s, lost, i, seed) : i >= count;
        if (!lost[i])
            change_apply(names, &s->changes[i]);
    }
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT(fd >= 0);
    for (unsigned i = 0; i < FILES; i++) {
        if (names[i].file != NULL)
            file_write(fd, &names[i], level, seed);
    }
    (void)close(fd);
}

/* ---- begin and end ---- */

struct shim *shim_begin(const char *directory, void (*at_point)(void *context), void *context)
{
    struct shim *s = calloc(1, sizeof *s);
    struct stat status;
    ASSERT(s != NULL && stat(directory, &status) == 0);
    s->device = status.st_dev;
    s->number = status.st_ino;
    s->at_point = at_point;
    s->context = context;
    (void)pthread_mutex_lock(&shims_mutex);
    s->next = shims;
    shims = s;
    (void)pthread_mutex_unlock(&shims_mutex);
    return s;
}

void shim_end(struct shim *s)
{
    (void)pthread_mutex_lock(&shims_mutex);
    struct shim **at = &shims;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    (void)pthread_mutex_unlock(&shims_mutex);
    for (unsigned i = 0; i < s->file_count; i++) {
        pieces_end(&s->files[i], false);
        free(s->files[i].synced);
    }
    free(s);
}

/* What a directory holds that nobody watched counts as synced. */
static void adopt(struct shim *s, int directory, const char *name)
{
    struct stat status;
    int fd = __real_openat64(directory, name, O_RDONLY | O_CLOEXEC);
    ASSERT(fd >= 0 && fstat(fd, &status) == 0);
    struct file *f = file_make(s, fd);
    f->synced_length = (size_t)status.st_size;
    f->synced = malloc(f->synced_length + 1);
    ASSERT(f->synced != NULL && pread(fd, f->synced, f->synced_length, 0) == status.st_size);
    (void)close(fd);
    name_set(s->now, name, f);
    name_set(s->synced, name, f);
}

struct shim *shim_adopt(const char *directory)
{
    struct shim *watched = shim_begin(directory, NULL, NULL);
    DIR *stream = opendir(directory);
    ASSERT(stream != NULL);
    for (const struct dirent *e = readdir(stream); e != NULL; e = readdir(stream)) {
        if (e->d_name[0] != '.')
            adopt(watched, dirfd(stream), e->d_name);
    }
    (void)closedir(stream);
    return watched;
}

void shim_at_point(struct shim *s, void (*at_point)(void *context), void *context)
{
    s->at_point = at_point;
    s->context = context;
}

void shim_directory_make(char path[64])
{
    (void)snprintf(path, 64, "/dev/shm/dunlin-disk-XXXXXX");
    if (mkdtemp(path) == NULL) {
        (void)snprintf(path, 64, "/tmp/dunlin-disk-XXXXXX");
        ASSERT(mkdtemp(path) != NULL);
    }
}

void shim_directory_clear(const char *path)
{
    DIR *stream = opendir(path);
    ASSERT(stream != NULL);
    /* Why again: a stream may pass over names while others are removed. */
    for (bool is_empty = false; !is_empty; rewinddir(stream)) {
        is_empty = true;
        for (const struct dirent *e = readdir(stream); e != NULL; e = readdir(stream)) {
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                continue;
            is_empty = false;
            ASSERT(__real_unlinkat(dirfd(stream), e->d_name, 0) == 0);
        }
    }
    (void)closedir(stream);
}

void shim_directory_remove(const char *path)
{
    shim_directory_clear(path);
    (void)rmdir(path);
}
