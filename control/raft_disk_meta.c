#include "control/raft_disk_meta.h"

#include <raft.h>
#include <stdlib.h>
#include <unistd.h>

/* By version, odd and even. */
static const char *const names[2] = {"metadata2", "metadata1"};

static struct raft_disk_place place_of(const struct raft_disk_files *f)
{
    return (struct raft_disk_place){.cluster = f->cluster, .node = f->node};
}

static int slot_make(struct raft_disk_files *f, uint64_t version)
{
    const struct raft_disk_place place = place_of(f);
    const struct raft_disk_metadata m = {.version = version};
    uint8_t sector[RAFT_DISK_SECTOR];
    raft_disk_metadata_put(&place, &m, sector);
    return raft_disk_files_replace(f, names[version % 2], sector, sizeof sector);
}

/* version 0: there is no such file. */
static int slot_read(struct raft_disk_files *f, unsigned slot, struct raft_disk_metadata *m)
{
    const struct raft_disk_place place = place_of(f);
    uint8_t *bytes;
    size_t length;
    *m = (struct raft_disk_metadata){0};
    int code = raft_disk_files_read(f, names[slot], RAFT_DISK_SECTOR, &bytes, &length);
    if (code == RAFT_NOTFOUND)
        return 0;
    if (code != 0)
        return code;
    if (raft_disk_metadata_get(&place, bytes, length, m) != 0 || m->version % 2 != slot)
        code = raft_disk_files_corrupt(f, names[slot], 0,
                                       "it fails its check, or is another node's or cluster's");
    free(bytes);
    return code;
}

static int slots_read(struct raft_disk_meta *m, bool is_new)
{
    struct raft_disk_metadata read[2];
    for (unsigned slot = 0; slot < 2; slot++) {
        int code = slot_read(m->files, slot, &read[slot]);
        if (code != 0)
            return code;
    }
    /* The first start makes version 1 and then version 2: a crash leaves nothing, or 1 alone. */
    bool has_begun = read[0].version == 0 && read[1].version <= 1 && read[1].term == 0;
    for (uint64_t version = 1; has_begun && is_new && version <= 2; version++) {
        int code = read[version % 2].version == 0 ? slot_make(m->files, version) : 0;
        if (code != 0)
            return code;
        read[version % 2] = (struct raft_disk_metadata){.version = version};
    }
    for (unsigned slot = 0; slot < 2; slot++) {
        if (read[slot].version == 0)
            return raft_disk_files_corrupt(m->files, names[slot], 0, "it is missing");
    }
    m->now = read[read[1].version > read[0].version];
    m->version_next = m->now.version + 1;
    return 0;
}

int raft_disk_meta_open(struct raft_disk_meta *m, struct raft_disk_files *files, bool is_new)
{
    *m = (struct raft_disk_meta){.files = files, .fd = {-1, -1}};
    int code = slots_read(m, is_new);
    for (unsigned slot = 0; code == 0 && slot < 2; slot++)
        code = raft_disk_files_open(files, names[slot], &m->fd[slot]);
    return code;
}

int raft_disk_meta_write(struct raft_disk_meta *m, uint64_t term, uint64_t vote)
{
    const struct raft_disk_place place = place_of(m->files);
    const struct raft_disk_metadata next = {.version = m->version_next, .term = term, .vote = vote};
    const unsigned slot = next.version % 2;
    const struct raft_disk_target to = {.fd = m->fd[slot], .name = names[slot]};
    uint8_t sector[RAFT_DISK_SECTOR];
    raft_disk_metadata_put(&place, &next, sector);
    int code = raft_disk_files_write(m->files, &to, sector, sizeof sector);
    if (code == RAFT_NOSPACE && raft_disk_files_remove(m->files, RAFT_DISK_RESERVE) == 0)
        code = raft_disk_files_write(m->files, &to, sector, sizeof sector);
    /* Why two more after a failure: the same slot again, above what may have reached it. */
    m->version_next += code == 0 ? 1 : 2;
    if (code == 0)
        m->now = next;
    return code;
}

void raft_disk_meta_close(struct raft_disk_meta *m)
{
    for (unsigned slot = 0; slot < 2; slot++) {
        if (m->fd[slot] >= 0)
            (void)close(m->fd[slot]);
        m->fd[slot] = -1;
    }
}
