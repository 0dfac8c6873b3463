#include "control/eal_config.h"
#include "dataplane/dpdk_eal.h"
#include "dataplane/dpdk_size.h"

#include <string.h>

/* One more than there may be is counted, and refused by who takes them. */
struct eal_arguments {
    const char *list[DPDK_EAL_ARGUMENTS_MAX + 1];
    uint32_t count;
};

static void argument_add(struct eal_arguments *a, const char *argument)
{
    if (a->count <= DPDK_EAL_ARGUMENTS_MAX)
        a->list[a->count++] = argument;
}

static bool says(const struct eal_arguments *a, const char *option)
{
    for (uint32_t i = 0; i < a->count; i++)
        if (strncmp(a->list[i], option, strlen(option)) == 0)
            return true;
    return false;
}

/* Why: else DPDK takes every card that it can have, also those of another node, or looks at the kernel's.  A
 * virtual device wants none of them. */
static void devices_limit(struct eal_arguments *a, const char *port)
{
    static const char *const chosen[] = {"-a", "--allow", "-b", "--block", "--no-pci"};
    for (size_t i = 0; i < sizeof chosen / sizeof chosen[0]; i++)
        if (says(a, chosen[i]))
            return;
    bool is_pci = memchr(port, ':', strcspn(port, ",")) != NULL;
    argument_add(a, is_pci ? "-a" : "--no-pci");
    if (is_pci)
        argument_add(a, port);
}

/* What the port takes, where that is more than EAL is asked for anyway. */
static uint32_t memory_mib(const struct config_dpdk *dpdk, uint32_t lcore_count, bool small_pages)
{
    const struct dpdk_size size = {.device = dpdk->port,
                                   .lcore_count = lcore_count,
                                   .mtu = dpdk->mtu,
                                   .small_pages = small_pages};
    return (uint32_t)max_u64(dpdk_size_mib(&size), DPDK_EAL_MEMORY_MIB);
}

int eal_config_start(const struct config_dpdk *dpdk, uint32_t lcore_count)
{
    char text[CONFIG_LINE_BYTES], *rest;
    struct eal_arguments a = {.count = 0};
    memcpy(text, dpdk->eal, sizeof text);
    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        argument_add(&a, word);
    for (char *const *more = dpdk->eal_more; more != NULL && *more != NULL; more++)
        argument_add(&a, *more);
    devices_limit(&a, dpdk->port);
    return dpdk_eal_start(
        &(struct dpdk_eal_config){.arguments = a.list,
                                  .argument_count = a.count,
                                  .memory_mib = memory_mib(dpdk, lcore_count, false),
                                  .memory_small_mib = memory_mib(dpdk, lcore_count, true)});
}
