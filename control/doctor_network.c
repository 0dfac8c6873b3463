#include "control/doctor.h"
#include "control/doctor_read.h"

#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PCI_CLASS_ETHERNET 0x0200
#define PCI_CLASS_BRIDGE 0x06
#define ROUTE_REJECT 0x0200u
#define ROUTE_LOCAL 0x80000000u /* in /proc/net/ipv6_route */

struct reading {
    struct doctor_facts *facts;
    const char *root;
    struct doctor_card *card;
    const char *directory;
};

/* ---- links ---- */

static int32_t link_find(const struct doctor_facts *f, const char *name)
{
    for (uint32_t i = 0; i < f->link_count; i++)
        if (strcmp(f->links[i].name, name) == 0)
            return (int32_t)i;
    return -1;
}

/* Number of the link, a new one if it was not known; -2: there is no room for it. */
static int32_t link_take(struct doctor_facts *f, const char *name)
{
    int32_t known = link_find(f, name);
    if (known >= 0)
        return known;
    if (f->link_count == DOCTOR_LINKS_MAX)
        return -2;
    (void)snprintf(f->links[f->link_count].name, DOCTOR_NAME_BYTES, "%s", name);
    return (int32_t)f->link_count++;
}

static void link_read(struct doctor_link *l, const struct doctor_source *source)
{
    char path[DOCTOR_PATH_BYTES], word[DOCTOR_NAME_BYTES];
    int64_t mtu = 0;
    (void)snprintf(path, sizeof path, "sys/class/net/%s/mtu", l->name);
    if (doctor_number(source->root, path, &mtu) && mtu > 0 && mtu <= UINT32_MAX)
        l->mtu = (uint32_t)mtu;
    (void)snprintf(path, sizeof path, "sys/class/net/%s/operstate", l->name);
    /* Why: a loopback has no carrier to know of. */
    l->up = doctor_word(source->root, path, word, sizeof word) &&
            (strcmp(word, "up") == 0 || strcmp(word, "unknown") == 0);
    l->offloads_known = source->offloads != NULL && source->offloads(l->name, &l->offloads);
}

bool doctor_offloads(const char *link, uint32_t *offloads)
{
    static const struct {
        uint32_t command, offload;
    } asked[] = {{ETHTOOL_GRXCSUM, DOCTOR_RECEIVE_CHECKSUM},
                 {ETHTOOL_GTXCSUM, DOCTOR_SEND_CHECKSUM},
                 {ETHTOOL_GGSO, DOCTOR_SEND_SEGMENTS},
                 {ETHTOOL_GGRO, DOCTOR_RECEIVE_MERGED}};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool known = fd >= 0 && strlen(link) < IFNAMSIZ;
    *offloads = 0;
    for (size_t i = 0; known && i < sizeof asked / sizeof asked[0]; i++) {
        struct ethtool_value value = {.cmd = asked[i].command};
        struct ifreq request = {.ifr_data = (void *)&value};
        memcpy(request.ifr_name, link, strlen(link) + 1);
        known = ioctl(fd, SIOCETHTOOL, &request) == 0;
        *offloads |= value.data != 0 ? asked[i].offload : 0;
    }
    if (fd >= 0)
        (void)close(fd);
    return known;
}

/* ---- cards ---- */

static bool neighbour_take(void *context, const char *name)
{
    struct reading *r = context;
    char path[DOCTOR_PATH_BYTES], driver[DOCTOR_NAME_BYTES], shown[DOCTOR_NAME_BYTES];
    int64_t kind = 0;
    doctor_name(shown, sizeof shown, name);
    if (strcmp(shown, r->card->address) == 0)
        return true;
    (void)snprintf(path, sizeof path, "sys/bus/pci/devices/%s/class", shown);
    if (doctor_number(r->root, path, &kind) && kind >> 16 == PCI_CLASS_BRIDGE)
        return true;
    (void)snprintf(path, sizeof path, "sys/bus/pci/devices/%s/driver", shown);
    if (doctor_target(r->root, path, driver, sizeof driver) && strcmp(driver, "vfio-pci") != 0 &&
        strcmp(driver, "pci-stub") != 0)
        memcpy(r->card->neighbour, shown, sizeof shown);
    return true;
}

static bool card_link_take(void *context, const char *name)
{
    struct reading *r = context;
    doctor_name(r->card->link, sizeof r->card->link, name);
    (void)link_take(r->facts, r->card->link);
    return false;
}

/* Why: the link of a virtio card is below the virtio device, which is below the card. */
static bool card_below_take(void *context, const char *name)
{
    struct reading *r = context;
    char path[DOCTOR_PATH_BYTES];
    if (strncmp(name, "virtio", 6) != 0)
        return true;
    (void)snprintf(path, sizeof path, "%s/%s/net", r->directory, name);
    return !doctor_entries(r->root, path, card_link_take, r);
}

static int64_t card_number(const struct reading *r, const char *name)
{
    char path[DOCTOR_PATH_BYTES];
    int64_t number = -1;
    (void)snprintf(path, sizeof path, "%s/%s", r->directory, name);
    return doctor_number(r->root, path, &number) && number >= INT32_MIN && number <= INT32_MAX
               ? number
               : -1;
}

static void card_read(struct reading *r)
{
    struct doctor_card *c = r->card;
    char path[DOCTOR_PATH_BYTES], group[DOCTOR_NAME_BYTES];
    struct doctor_cpus number = {0};
    c->vendor = (uint32_t)card_number(r, "vendor") & 0xffff;
    c->device = (uint32_t)card_number(r, "device") & 0xffff;
    c->numa = (int32_t)card_number(r, "numa_node");
    (void)snprintf(path, sizeof path, "%s/driver", r->directory);
    (void)doctor_target(r->root, path, c->driver, sizeof c->driver);
    (void)snprintf(path, sizeof path, "%s/net", r->directory);
    if (!doctor_entries(r->root, path, card_link_take, r))
        (void)doctor_entries(r->root, r->directory, card_below_take, r);
    (void)snprintf(path, sizeof path, "%s/iommu_group", r->directory);
    c->group = -1;
    if (!doctor_target(r->root, path, group, sizeof group) ||
        doctor_cpus_parse(group, &number) != 0 || strlen(group) > 6)
        return;
    c->group = (int32_t)strtol(group, NULL, 10);
    (void)snprintf(path, sizeof path, "sys/kernel/iommu_groups/%s/devices", group);
    (void)doctor_entries(r->root, path, neighbour_take, r);
}

static bool card_take(void *context, const char *name)
{
    struct reading *r = context;
    char path[DOCTOR_PATH_BYTES];
    int64_t kind = 0;
    if (r->facts->card_count == DOCTOR_CARDS_MAX)
        return false;
    struct doctor_card *c = &r->facts->cards[r->facts->card_count];
    *c = (struct doctor_card){0};
    doctor_name(c->address, sizeof c->address, name);
    (void)snprintf(path, sizeof path, "sys/bus/pci/devices/%s", c->address);
    r->card = c;
    r->directory = path;
    char class_path[DOCTOR_PATH_BYTES + 8];
    (void)snprintf(class_path, sizeof class_path, "%s/class", path);
    if (!doctor_number(r->root, class_path, &kind) || kind >> 8 != PCI_CLASS_ETHERNET)
        return true;
    card_read(r);
    r->facts->card_count++;
    return true;
}

static int card_order(const void *a, const void *b)
{
    const struct doctor_card *left = a, *right = b;
    return strcmp(left->address, right->address);
}

static bool group_take(void *context, const char *name)
{
    struct reading *r = context;
    char path[DOCTOR_PATH_BYTES], word[DOCTOR_NAME_BYTES];
    (void)snprintf(path, sizeof path, "sys/kernel/iommu_groups/%s/name", name);
    /* Why not these: vfio makes them where there is no IOMMU and it was told to do without. */
    if (!doctor_word(r->root, path, word, sizeof word) || strcmp(word, "vfio-noiommu") != 0)
        r->facts->iommu_groups++;
    return true;
}

/* ---- the way to the other nodes ---- */

struct route_search {
    struct doctor_facts *facts;
    const struct sockaddr_storage *to;
    int32_t prefix; /* of the best route yet, -1: none */
    char link[DOCTOR_NAME_BYTES];
};

static void route_offer(struct route_search *s, int32_t prefix, const char *link)
{
    if (prefix <= s->prefix)
        return;
    s->prefix = prefix;
    doctor_name(s->link, sizeof s->link, link);
}

/* Iface Destination Gateway Flags RefCnt Use Metric Mask ...; addresses as the machine has them in memory. */
static bool route4_take(void *context, const char *line)
{
    struct route_search *s = context;
    char link[DOCTOR_NAME_BYTES];
    unsigned int destination, flags, mask;
    if (sscanf(line, "%23s %8x %*8x %4x %*s %*s %*s %8x", link, &destination, &flags, &mask) != 4 ||
        (flags & RTF_UP) == 0 || (flags & ROUTE_REJECT) != 0)
        return true;
    if (s->to == NULL) {
        int32_t i = mask == 0 ? link_take(s->facts, link) : -1;
        if (i >= 0)
            s->facts->links[i].default_route = true;
        return true;
    }
    uint32_t to = ((const struct sockaddr_in *)(const void *)s->to)->sin_addr.s_addr;
    if ((to & mask) == destination)
        route_offer(s, __builtin_popcount(mask), link);
    return true;
}

static bool is_below(const uint8_t *address, const char *hex, uint32_t prefix)
{
    for (uint32_t bit = 0; bit < prefix; bit += 8) {
        char two[3] = {hex[bit / 4], hex[bit / 4 + 1], '\0'};
        uint32_t mask = prefix - bit >= 8 ? 0xff : 0xffu << (8 - (prefix - bit)) & 0xff;
        if (((address[bit / 8] ^ (uint32_t)strtoul(two, NULL, 16)) & mask) != 0)
            return false;
    }
    return true;
}

/* Destination, its prefix length, source, its length, next hop, metric, count, use, flags, link. */
static bool route6_take(void *context, const char *line)
{
    struct route_search *s = context;
    char destination[33], link[DOCTOR_NAME_BYTES];
    unsigned int prefix, flags;
    if (sscanf(line, "%32s %2x %*s %*s %*s %*s %*s %*s %8x %23s", destination, &prefix, &flags,
               link) != 4 ||
        strlen(destination) != 32 || prefix > 128 || (flags & RTF_UP) == 0 ||
        (flags & ROUTE_REJECT) != 0)
        return true;
    const struct sockaddr_in6 *to = (const struct sockaddr_in6 *)(const void *)s->to;
    if (is_below(to->sin6_addr.s6_addr, destination, prefix))
        route_offer(s, (int32_t)prefix, (flags & ROUTE_LOCAL) != 0 ? "lo" : link);
    return true;
}

static void path_read(struct doctor_facts *f, const char *root, const struct config_node *node)
{
    struct doctor_path *p = &f->paths[f->path_count++];
    struct route_search search = {.facts = f, .to = &node->address, .prefix = -1};
    const struct sockaddr_in *four = (const void *)&node->address;
    const struct sockaddr_in6 *six = (const void *)&node->address;
    *p = (struct doctor_path){
        .node = node->id, .ipv6 = node->address.ss_family == AF_INET6, .link = -1};
    (void)inet_ntop(p->ipv6 ? AF_INET6 : AF_INET,
                    p->ipv6 ? (const void *)&six->sin6_addr : (const void *)&four->sin_addr,
                    p->address, sizeof p->address);
    if (p->ipv6)
        (void)doctor_lines(root, "proc/net/ipv6_route", route6_take, &search);
    else if (ntohl(four->sin_addr.s_addr) >> 24 == 127)
        route_offer(&search, 8, "lo"); /* the local table is in no file of this form */
    else
        (void)doctor_lines(root, "proc/net/route", route4_take, &search);
    if (search.prefix >= 0)
        p->link = link_take(f, search.link);
    if (p->link >= 0)
        f->links[p->link].leads_to_peers = true;
}

void doctor_network_read(struct doctor_facts *f, const struct doctor_source *source)
{
    struct reading r = {.facts = f, .root = source->root};
    struct route_search defaults = {.facts = f};
    char word[DOCTOR_NAME_BYTES];
    (void)doctor_entries(source->root, "sys/bus/pci/devices", card_take, &r);
    qsort(f->cards, f->card_count, sizeof f->cards[0], card_order);
    (void)doctor_entries(source->root, "sys/kernel/iommu_groups", group_take, &r);
    f->vfio = doctor_exists(source->root, "sys/bus/pci/drivers/vfio-pci");
    f->vfio_unsafe =
        doctor_word(source->root, "sys/module/vfio/parameters/enable_unsafe_noiommu_mode", word,
                    sizeof word) &&
        (word[0] == 'Y' || word[0] == '1');
    (void)doctor_lines(source->root, "proc/net/route", route4_take, &defaults);
    for (uint32_t i = 0; f->config != NULL && i < f->config->cluster.node_count; i++)
        if (f->config->cluster.nodes[i].id != f->config->node.id)
            path_read(f, source->root, &f->config->cluster.nodes[i]);
    for (uint32_t i = 0; i < f->link_count; i++)
        link_read(&f->links[i], source);
}
