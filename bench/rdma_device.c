#include "bench/rdma_device.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORTS_MAX 8u
#define LINE_BYTES 64u
#define PATH_BYTES 512u

/* First line of the file at path, without its end; "" if there is none. */
static void line_read(const char *path, char line[LINE_BYTES])
{
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(line, (int)LINE_BYTES, file) == NULL)
        line[0] = '\0';
    if (file != NULL)
        (void)fclose(file);
    line[strcspn(line, "\n")] = '\0';
}

/* A GID as the kernel prints it: true if it is an IPv4 address. */
static bool address_of(const char *gid, char address[INET_ADDRSTRLEN])
{
    struct in6_addr v6;
    return inet_pton(AF_INET6, gid, &v6) == 1 && IN6_IS_ADDR_V4MAPPED(&v6) &&
           inet_ntop(AF_INET, &v6.s6_addr[12], address, INET_ADDRSTRLEN) != NULL;
}

/* directory: of a port. */
static bool gid_find(const char *directory, struct rdma_device *device)
{
    char path[PATH_BYTES], line[LINE_BYTES];
    for (uint32_t i = 0; i < RDMA_DEVICE_GIDS_MAX; i++) {
        (void)snprintf(path, sizeof path, "%s/gids/%u", directory, i);
        line_read(path, line);
        if (!address_of(line, device->address))
            continue;
        (void)snprintf(path, sizeof path, "%s/gid_attrs/types/%u", directory, i);
        line_read(path, line);
        if (strcmp(line, "RoCE v2") != 0)
            continue;
        device->gid_index = i;
        return true;
    }
    return false;
}

static bool port_find(const char *directory, const char *name, struct rdma_device *device)
{
    char port[PATH_BYTES / 2], path[PATH_BYTES], line[LINE_BYTES];
    for (uint32_t i = 1; i <= PORTS_MAX; i++) {
        (void)snprintf(port, sizeof port, "%s/%s/ports/%u", directory, name, i);
        (void)snprintf(path, sizeof path, "%s/state", port);
        line_read(path, line);
        if (strstr(line, "ACTIVE") == NULL || !gid_find(port, device))
            continue;
        (void)snprintf(device->name, sizeof device->name, "%s", name);
        device->port = i;
        return true;
    }
    return false;
}

int rdma_device_find(const char *directory, const char *name, struct rdma_device *device)
{
    struct dirent **entries;
    bool found = false;
    int count = scandir(directory, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        const char *at = entries[i]->d_name;
        if (!found && at[0] != '.' && strlen(at) < RDMA_DEVICE_NAME_BYTES &&
            (name == NULL || strcmp(at, name) == 0))
            found = port_find(directory, at, device);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return found ? 0 : -ENODEV;
}

struct sockaddr_storage rdma_device_address(const struct rdma_device *device, uint16_t port)
{
    struct sockaddr_storage address = {.ss_family = AF_INET};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    (void)inet_pton(AF_INET, device->address, &v4.sin_addr);
    memcpy(&address, &v4, sizeof v4);
    return address;
}

/* Source: linux/drivers/infiniband/sw/rxe/rxe_hw_counters.c; Documentation/ABI/stable/sysfs-class-infiniband. */
int rdma_device_packets(const char *directory, const struct rdma_device *device, uint64_t *packets)
{
    static const char *const names[] = {"hw_counters/sent_pkts", "counters/port_xmit_packets"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[PATH_BYTES], line[LINE_BYTES], *end;
        (void)snprintf(path, sizeof path, "%s/%s/ports/%u/%s", directory, device->name,
                       device->port, names[i]);
        line_read(path, line);
        *packets = strtoull(line, &end, 10);
        if (line[0] >= '0' && line[0] <= '9' && *end == '\0')
            return 0;
    }
    return -ENOENT;
}
