#include "control/raft_disk_snapshot.h"

#include "engine/checksum.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "snapshot-"

/* ---- configuration: for each server id, role, length of its address, address ---- */

struct server_header {
    uint64_t id;
    uint32_t role;
    uint32_t address_bytes; /* with its final 0 */
};

static size_t configuration_bytes(const struct raft_configuration *c)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < c->n; i++)
        bytes += sizeof(struct server_header) + strlen(c->servers[i].address) + 1;
    return bytes;
}

static void configuration_put(uint8_t *to, const struct raft_configuration *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        const struct raft_server *s = &c->servers[i];
        const struct server_header h = {.id = s->id,
                                        .role = (uint32_t)s->role,
                                        .address_bytes = (uint32_t)strlen(s->address) + 1};
        memcpy(to, &h, sizeof h);
        memcpy(to + sizeof h, s->address, h.address_bytes);
        to += sizeof h + h.address_bytes;
    }
}

static int configuration_get(const uint8_t *bytes, size_t length, struct raft_configuration *c)
{
    while (length != 0) {
        struct server_header h;
        if (length < sizeof h)
            return RAFT_CORRUPT;
        memcpy(&h, bytes, sizeof h);
        const char *address = (const char *)bytes + sizeof h;
        if (h.address_bytes == 0 || h.address_bytes > length - sizeof h || h.id == 0 ||
            h.role > RAFT_SPARE || memchr(address, 0, h.address_bytes) == NULL)
            return RAFT_CORRUPT;
        int code = raft_configuration_add(c, h.id, address, (int)h.role);
        if (code != 0)
            return code == RAFT_NOMEM ? code : RAFT_CORRUPT;
        bytes += sizeof h + h.address_bytes;
        length -= sizeof h + h.address_bytes;
    }
    return 0;
}

/* ---- the file ---- */

void raft_disk_snapshot_free(struct raft_snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    for (unsigned i = 0; i < snapshot->n_bufs; i++)
        raft_free(snapshot->bufs[i].base);
    raft_free(snapshot->bufs);
    raft_configuration_close(&snapshot->configuration);
    raft_free(snapshot);
}

uint64_t raft_disk_snapshot_bytes(const struct raft_snapshot *snapshot)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < snapshot->n_bufs; i++)
        bytes += snapshot->bufs[i].len;
    return bytes;
}

static int snapshot_fill(struct raft_snapshot *s, const struct raft_disk_snapshot_header *h,
                         const uint8_t *body)
{
    s->index = h->index;
    s->term = h->term;
    s->configuration_index = h->configuration_index;
    raft_configuration_init(&s->configuration);
    s->bufs = raft_malloc(sizeof *s->bufs);
    if (s->bufs == NULL)
        return RAFT_NOMEM;
    /* Why never none: libraft takes no memory for "there is no buffer". */
    s->bufs[0] = (struct raft_buffer){.base = raft_malloc(h->data_bytes + 1), .len = h->data_bytes};
    s->n_bufs = 1;
    if (s->bufs[0].base == NULL)
        return RAFT_NOMEM;
    memcpy(s->bufs[0].base, body + h->configuration_bytes, h->data_bytes);
    return configuration_get(body, h->configuration_bytes, &s->configuration);
}

int raft_disk_snapshot_parse(const struct raft_disk_place *place, const uint8_t *bytes,
                             size_t length, struct raft_snapshot **snapshot)
{
    struct raft_disk_snapshot_header h;
    *snapshot = NULL;
    if (raft_disk_snapshot_check(place, bytes, length, &h) != 0 || h.index != place->file)
        return RAFT_CORRUPT;
    struct raft_snapshot *s = raft_calloc(1, sizeof *s);
    if (s == NULL)
        return RAFT_NOMEM;
    int code = snapshot_fill(s, &h, bytes + RAFT_DISK_SNAPSHOT_HEADER_BYTES);
    if (code != 0) {
        raft_disk_snapshot_free(s);
        return code;
    }
    *snapshot = s;
    return 0;
}

/* ---- the directory ---- */

struct snapshot_name {
    uint64_t term, index;
};

static void name_put(char name[RAFT_DISK_NAME_BYTES], struct snapshot_name n)
{
    (void)snprintf(name, RAFT_DISK_NAME_BYTES, PREFIX "%020llu-%020llu", (unsigned long long)n.term,
                   (unsigned long long)n.index);
}

static bool name_get(const char *name, struct snapshot_name *n)
{
    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
        return false;
    const char *at = raft_disk_files_number(name + strlen(PREFIX), '-', &n->term);
    return at != NULL && raft_disk_files_number(at, 0, &n->index) != NULL;
}

/* Committed indices only grow, and terms with them. */
static bool is_newer(struct snapshot_name a, struct snapshot_name b)
{
    return a.index != b.index ? a.index > b.index : a.term > b.term;
}

static int newest_look(void *context, const char *name)
{
    struct snapshot_name *newest = context, n;
    if (name_get(name, &n) && is_newer(n, *newest))
        *newest = n;
    return 0;
}

struct removal {
    struct raft_disk_files *files;
    struct snapshot_name newest;
};

static int removal_look(void *context, const char *name)
{
    const struct removal *r = context;
    struct snapshot_name n;
    return name_get(name, &n) && is_newer(r->newest, n) ? raft_disk_files_remove(r->files, name)
                                                        : 0;
}

int raft_disk_snapshot_read(struct raft_disk_files *f, struct raft_snapshot **snapshot)
{
    struct snapshot_name newest = {0};
    char name[RAFT_DISK_NAME_BYTES];
    uint8_t *bytes;
    size_t length;
    *snapshot = NULL;
    int code = raft_disk_files_list(f, newest_look, &newest);
    if (code != 0 || newest.index == 0)
        return code;
    name_put(name, newest);
    code = raft_disk_files_read(f, name, 2 * (size_t)RAFT_DISK_SNAPSHOT_MAX, &bytes, &length);
    if (code == RAFT_NOTFOUND)
        return raft_disk_files_fail(f, "somebody removed", name, ENOENT);
    if (code != 0)
        return code;
    const struct raft_disk_place place = {
        .cluster = f->cluster, .node = f->node, .file = newest.index};
    code = raft_disk_snapshot_parse(&place, bytes, length, snapshot);
    free(bytes);
    if (code == RAFT_NOMEM)
        return raft_disk_files_fail(f, "cannot read", name, ENOMEM);
    if (code != 0 || (*snapshot)->term != newest.term) {
        raft_disk_snapshot_free(*snapshot);
        *snapshot = NULL;
        return raft_disk_files_corrupt(f, name, 0, "it fails its check");
    }
    return 0;
}

static uint8_t *snapshot_print(const struct raft_disk_files *f, const struct raft_snapshot *s,
                               size_t *length)
{
    const struct raft_disk_place place = {.cluster = f->cluster, .node = f->node, .file = s->index};
    struct raft_disk_snapshot_header h = {.index = s->index,
                                          .term = s->term,
                                          .configuration_index = s->configuration_index,
                                          .configuration_bytes =
                                              (uint32_t)configuration_bytes(&s->configuration),
                                          .data_bytes = raft_disk_snapshot_bytes(s)};
    size_t body_bytes = h.configuration_bytes + h.data_bytes;
    uint8_t *bytes = malloc(RAFT_DISK_SNAPSHOT_HEADER_BYTES + body_bytes);
    if (bytes == NULL)
        return NULL;
    uint8_t *body = bytes + RAFT_DISK_SNAPSHOT_HEADER_BYTES, *at = body + h.configuration_bytes;
    configuration_put(body, &s->configuration);
    for (unsigned i = 0; i < s->n_bufs; i++) {
        if (s->bufs[i].len != 0)
            memcpy(at, s->bufs[i].base, s->bufs[i].len);
        at += s->bufs[i].len;
    }
    h.body_checksum = checksum(0, body, body_bytes);
    raft_disk_snapshot_put_header(&place, &h, bytes);
    *length = RAFT_DISK_SNAPSHOT_HEADER_BYTES + body_bytes;
    return bytes;
}

int raft_disk_snapshot_write(struct raft_disk_files *f, const struct raft_snapshot *snapshot)
{
    struct removal r = {.files = f, .newest = {.term = snapshot->term, .index = snapshot->index}};
    char name[RAFT_DISK_NAME_BYTES];
    size_t length;
    uint8_t *bytes = snapshot_print(f, snapshot, &length);
    name_put(name, r.newest);
    if (bytes == NULL)
        return raft_disk_files_fail(f, "cannot write", name, ENOMEM);
    int code = raft_disk_files_replace(f, name, bytes, length);
    free(bytes);
    return code == 0 ? raft_disk_files_list(f, removal_look, &r) : code;
}
