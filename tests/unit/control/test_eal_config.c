/* What DPDK's environment is told of a configuration: its arguments, those of the command line, and which devices. */
#include "control/eal_config.h"

#include "dataplane/dpdk_eal.h"
#include "tests/unit/unit.h"

/* Wrapped: a process starts it once. */
int __wrap_dpdk_eal_start(const struct dpdk_eal_config *config);
static char told[512];

int __wrap_dpdk_eal_start(const struct dpdk_eal_config *config)
{
    told[0] = '\0';
    for (uint32_t i = 0; i < config->argument_count; i++) {
        size_t used = strlen(told);
        (void)snprintf(told + used, sizeof told - used, "%s%s", i != 0 ? " " : "",
                       config->arguments[i]);
    }
    return config->argument_count > DPDK_EAL_ARGUMENTS_MAX ? -E2BIG : 0;
}

static const char *start(const char *port, const char *eal, char *const *more)
{
    struct config_dpdk dpdk = {.eal_more = more};
    (void)snprintf(dpdk.port, sizeof dpdk.port, "%s", port);
    (void)snprintf(dpdk.eal, sizeof dpdk.eal, "%s", eal);
    CU_ASSERT_EQUAL(eal_config_start(&dpdk), 0);
    return told;
}

static void a_card_is_the_only_one(void)
{
    CU_ASSERT_STRING_EQUAL(start("0000:3b:00.0", "", NULL), "-a 0000:3b:00.0");
    CU_ASSERT_STRING_EQUAL(start("0000:3b:00.0,dv=1", "-m 64", NULL), "-m 64 -a 0000:3b:00.0,dv=1");
}

static void a_virtual_device_wants_no_card(void)
{
    CU_ASSERT_STRING_EQUAL(start("net_af_xdp0,iface=a:b", "", NULL), "--no-pci");
}

static void who_says_which_devices_is_obeyed(void)
{
    static char block[] = "-b", blocked[] = "0000:01:00.0", log[] = "--log-level=*:error";
    char *const more[] = {block, blocked, NULL};
    char *const other[] = {log, NULL};
    CU_ASSERT_STRING_EQUAL(start("0000:3b:00.0", "-m 64", more), "-m 64 -b 0000:01:00.0");
    CU_ASSERT_STRING_EQUAL(start("0000:3b:00.0", "--allow=0000:3b:00.0", NULL),
                           "--allow=0000:3b:00.0");
    CU_ASSERT_STRING_EQUAL(start("net_ring0", "--no-pci", NULL), "--no-pci");
    CU_ASSERT_STRING_EQUAL(start("net_ring0", "-m 64", other),
                           "-m 64 --log-level=*:error --no-pci");
}

static void too_many_arguments_are_refused(void)
{
    static char one[] = "-v";
    char *more[DPDK_EAL_ARGUMENTS_MAX + 8];
    struct config_dpdk dpdk = {.port = "net_ring0", .eal_more = more};
    for (uint32_t i = 0; i < DPDK_EAL_ARGUMENTS_MAX + 7; i++)
        more[i] = one;
    more[DPDK_EAL_ARGUMENTS_MAX + 7] = NULL;
    CU_ASSERT_EQUAL(eal_config_start(&dpdk), -E2BIG);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_card_is_the_only_one),
    UNIT_TEST(a_virtual_device_wants_no_card),
    UNIT_TEST(who_says_which_devices_is_obeyed),
    UNIT_TEST(too_many_arguments_are_refused),
};
UNIT_MAIN("eal_config", tests)
