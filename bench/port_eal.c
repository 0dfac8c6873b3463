#include "bench/port_eal.h"

#include "dataplane/dpdk_eal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "0000:3b:00.0", or without the domain; devargs may follow. */
static bool is_pci(const char *device)
{
    unsigned a, b, c, d;
    return sscanf(device, "%4x:%2x:%2x.%1x", &a, &b, &c, &d) == 4 ||
           sscanf(device, "%2x:%2x.%1x", &a, &b, &c) == 3;
}

int port_eal_files(const char *directory)
{
    return setenv("RUNTIME_DIRECTORY", directory, 1) == 0 ? 0 : -errno;
}

void port_eal_words(struct port_eal_words *words, const char *device)
{
    *words = (struct port_eal_words){.list = {"--no-telemetry"}, .count = 1};
    if (!is_pci(device)) {
        words->list[words->count++] = "--no-pci";
        return;
    }
    /* Why by name: a process that finds other cards takes them, too. */
    (void)snprintf(words->name, sizeof words->name, "%.*s", (int)strcspn(device, ","), device);
    words->list[words->count++] = "-a";
    words->list[words->count++] = words->name;
}

int port_eal_start(const char *device)
{
    struct port_eal_words words;
    port_eal_words(&words, device);
    int rc = dpdk_eal_start(
        &(struct dpdk_eal_config){.arguments = words.list, .argument_count = words.count});
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: no environment of DPDK for %s: %s\n", device,
                      strerror(-rc));
    return rc;
}

void port_eal_name(const char *device, char name[PORT_EAL_NAME_BYTES])
{
    size_t length = strcspn(device, ",");
    while (!is_pci(device) && length > 1 && device[length - 1] >= '0' && device[length - 1] <= '9')
        length--;
    (void)snprintf(name, PORT_EAL_NAME_BYTES, "%.*s", (int)length, device);
}
