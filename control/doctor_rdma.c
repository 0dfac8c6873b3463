/* Which device of verbs has this node's address, and in what state it is. */
#include "control/doctor.h"
#include "control/doctor_read.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICES "sys/class/infiniband"
#define GID_BYTES 16u
#define PLACE_BYTES 192u /* of a port's directory */
#define GID_PLACE_BYTES 256u

/* How well a port fits; of two that fit alike the one of the first name counts. */
enum fit {
    FIT_NONE,
    FIT_UNKNOWN, /* nobody can say: there is no address to look for, or it is the link's of InfiniBand */
    FIT_V1,
    FIT_V2,
};

struct search {
    struct doctor_rdma *rdma;
    const char *root;
    bool has_own;
    uint8_t own[GID_BYTES]; /* this node's address as devices have it */
    enum fit best;
    /* at hand */
    char device[DOCTOR_NAME_BYTES];
    char place[PLACE_BYTES]; /* directory of a port of it */
    enum fit fit;
    char index[DOCTOR_NAME_BYTES]; /* of the GID that fits */
};

static void place_text(const struct search *s, const char *name, char *text, size_t bytes)
{
    char path[DOCTOR_PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", s->place, name);
    (void)doctor_text(s->root, path, text, bytes);
}

static void gid_text(const struct search *s, const char *what, const char *index, char *text,
                     size_t bytes)
{
    char name[GID_PLACE_BYTES];
    (void)snprintf(name, sizeof name, "%s/%s", what, index);
    place_text(s, name, text, bytes);
}

/* One of a port's addresses; several of one kind are alike. */
static bool gid_take(void *context, const char *name)
{
    struct search *s = context;
    char index[DOCTOR_NAME_BYTES], text[INET6_ADDRSTRLEN], kind[DOCTOR_NAME_BYTES];
    uint8_t gid[GID_BYTES];
    doctor_name(index, sizeof index, name);
    gid_text(s, "gids", index, text, sizeof text);
    if (inet_pton(AF_INET6, text, gid) != 1 || memcmp(gid, s->own, sizeof gid) != 0)
        return true;
    gid_text(s, "gid_attrs/types", index, kind, sizeof kind);
    enum fit fit = strcmp(kind, "RoCE v2") == 0 ? FIT_V2 : FIT_V1;
    if (fit > s->fit) {
        s->fit = fit;
        (void)snprintf(s->index, sizeof s->index, "%s", index);
    }
    return true;
}

/* "4: ACTIVE" */
static void state_read(const struct search *s, struct doctor_rdma *r)
{
    char text[64];
    place_text(s, "state", text, sizeof text);
    const char *word = strchr(text, ' ');
    doctor_name(r->state, sizeof r->state, word != NULL ? word + 1 : text);
    r->active = strcmp(r->state, "ACTIVE") == 0;
}

static void link_read(const struct search *s, struct doctor_rdma *r)
{
    char path[DOCTOR_PATH_BYTES], name[64];
    int64_t mtu = 0;
    gid_text(s, "gid_attrs/ndevs", s->index, name, sizeof name);
    doctor_name(r->link, sizeof r->link, name);
    (void)snprintf(path, sizeof path, "sys/class/net/%s/mtu", r->link);
    if (r->link[0] != '\0' && doctor_number(s->root, path, &mtu) && mtu > 0 && mtu <= UINT32_MAX)
        r->mtu = (uint32_t)mtu;
}

/* What librdmacm's kernel side was told to make connections over; "": nothing, then RoCE v2 if the device can. */
static void mode_read(const struct search *s, struct doctor_rdma *r)
{
    char path[DOCTOR_PATH_BYTES];
    (void)snprintf(path, sizeof path,
                   "sys/kernel/config/rdma_cm/%s/ports/%" PRIu32 "/default_roce_mode", s->device,
                   r->port);
    (void)doctor_text(s->root, path, r->mode, sizeof r->mode);
}

/* Of those that have another address, or none: the first name. */
static void spare_read(const struct search *s)
{
    struct doctor_rdma *r = s->rdma;
    char text[64], name[DOCTOR_NAME_BYTES];
    gid_text(s, "gid_attrs/ndevs", "0", text, sizeof text);
    doctor_name(name, sizeof name, text);
    if (name[0] != '\0' && (r->spare[0] == '\0' || strcmp(name, r->spare) < 0))
        memcpy(r->spare, name, sizeof name);
}

static bool port_take(void *context, const char *name)
{
    struct search *s = context;
    char number[DOCTOR_NAME_BYTES], layer[DOCTOR_NAME_BYTES], gids[DOCTOR_PATH_BYTES];
    struct doctor_rdma *r = s->rdma;
    doctor_name(number, sizeof number, name);
    (void)snprintf(s->place, sizeof s->place, DEVICES "/%s/ports/%s", s->device, number);
    place_text(s, "link_layer", layer, sizeof layer);
    bool ethernet = strcmp(layer, "Ethernet") == 0;
    s->fit = s->has_own && ethernet ? FIT_NONE : FIT_UNKNOWN;
    s->index[0] = '\0';
    (void)snprintf(gids, sizeof gids, "%s/gids", s->place);
    if (s->has_own && ethernet)
        (void)doctor_entries(s->root, gids, gid_take, s);
    if (s->fit == FIT_NONE)
        spare_read(s);
    if (s->fit < s->best || s->fit == FIT_NONE ||
        (s->fit == s->best && strcmp(s->device, r->device) > 0))
        return true;
    s->best = s->fit;
    memcpy(r->device, s->device, sizeof r->device);
    r->port = (uint32_t)strtoul(number, NULL, 10);
    r->ethernet = ethernet;
    r->has_address = s->fit >= FIT_V1;
    r->v2 = s->fit == FIT_V2;
    r->link[0] = '\0';
    r->mtu = 0;
    state_read(s, r);
    link_read(s, r);
    mode_read(s, r);
    return true;
}

static bool device_take(void *context, const char *name)
{
    struct search *s = context;
    char ports[DOCTOR_PATH_BYTES];
    s->rdma->device_count++;
    doctor_name(s->device, sizeof s->device, name);
    (void)snprintf(ports, sizeof ports, DEVICES "/%s/ports", s->device);
    (void)doctor_entries(s->root, ports, port_take, s);
    return true;
}

static bool node_take(void *context, const char *name)
{
    struct doctor_rdma *r = context;
    r->uverbs = r->uverbs || strncmp(name, "uverbs", 6) == 0;
    r->manager = r->manager || strcmp(name, "rdma_cm") == 0;
    return true;
}

/* An IPv4 address is a GID as ::ffff:a.b.c.d. */
static void own_read(struct search *s, const struct config *config)
{
    for (uint32_t i = 0; config != NULL && i < config->cluster.node_count; i++) {
        const struct sockaddr_storage *address = &config->cluster.nodes[i].address;
        const struct sockaddr_in *four = (const void *)address;
        const struct sockaddr_in6 *six = (const void *)address;
        bool ipv6 = address->ss_family == AF_INET6;
        if (config->cluster.nodes[i].id != config->node.id)
            continue;
        s->has_own = true;
        s->own[10] = s->own[11] = 0xff;
        memcpy(s->own + 12, &four->sin_addr, sizeof four->sin_addr);
        if (ipv6)
            memcpy(s->own, &six->sin6_addr, sizeof s->own);
        (void)inet_ntop(address->ss_family,
                        ipv6 ? (const void *)&six->sin6_addr : (const void *)&four->sin_addr,
                        s->rdma->address, sizeof s->rdma->address);
    }
}

void doctor_rdma_read(struct doctor_facts *facts, const char *root)
{
    struct search s = {.rdma = &facts->rdma, .root = root};
    facts->rdma = (struct doctor_rdma){.wanted = facts->rdma.wanted};
    own_read(&s, facts->config);
    (void)doctor_entries(root, "dev/infiniband", node_take, &facts->rdma);
    (void)doctor_entries(root, DEVICES, device_take, &s);
}
