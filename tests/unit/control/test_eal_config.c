/* What DPDK's environment is told of a configuration: its arguments, those of the command line, which devices, and how
 * much memory. */
#include "control/eal_config.h"
#include "control/eal_words.h"

#include "dataplane/dpdk_eal.h"
#include "tests/unit/unit.h"

/* Wrapped: a process starts it once. */
int __wrap_dpdk_eal_start(const struct dpdk_eal_config *config);
static char told[512];
static uint32_t asked_mib, asked_small_mib;

int __wrap_dpdk_eal_start(const struct dpdk_eal_config *config)
{
    told[0] = '\0';
    asked_mib = config->memory_mib;
    asked_small_mib = config->memory_small_mib;
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
    CU_ASSERT_EQUAL(eal_config_start(&dpdk, 1), 0);
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

static void as_much_memory_is_asked_for_as_the_port_takes(void)
{
    struct config_dpdk dpdk = {.port = "0000:3b:00.0", .mtu = 1500};
    CU_ASSERT_EQUAL(eal_config_start(&dpdk, 1), 0);
    CU_ASSERT_EQUAL(asked_mib, DPDK_EAL_MEMORY_MIB); /* never less */
    CU_ASSERT_EQUAL(asked_small_mib, DPDK_EAL_MEMORY_MIB);
    dpdk.mtu = 9000;
    CU_ASSERT_EQUAL(eal_config_start(&dpdk, 3), 0);
    CU_ASSERT_EQUAL(asked_mib, DPDK_EAL_MEMORY_MIB);
    CU_ASSERT_EQUAL(asked_small_mib, 308);
    CU_ASSERT_EQUAL(eal_config_start(&dpdk, 8), 0);
    CU_ASSERT_EQUAL(asked_mib, 661);
    CU_ASSERT_EQUAL(asked_small_mib, 817);
}

/* What words say, and what is missing for three lcores with packets of 9000 bytes: 300 MiB of small pages. */
static void what_is_said_of_memory_is_understood(void)
{
    static const struct {
        const char *words;
        uint32_t memory_mib, missing;
    } cases[] = {
        {"", 0, 0},
        {"--no-huge", 0, 0},
        {"-m 299 --no-huge", 299, 300},
        {"  --no-huge   -m299", 299, 300},
        {"--no-huge -m 300", 300, 0},
        {"-m 64 --no-huge -m 512", 512, 0}, /* the last one wins */
        {"-m 512 --no-huge -m 64", 64, 300},
        {"-m 64", 64, 0}, /* DPDK takes more huge pages */
        {"-m 64 --legacy-mem", 64, 241},
        {"--no-huge --socket-mem=100,150", 250, 300},
        {"--no-huge --socket-mem 100,200", 300, 0},
        {"--no-huge -m", 0, 0}, /* EAL itself says so */
        {"--no-huge -m none", 0, 0},
        {"--no-huge-unlink -m 1 --main-lcore 7", 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct dpdk_size size = {.device = "0000:3b:00.0", .lcore_count = 3, .mtu = 9000};
        struct eal_words words;
        eal_words_read(&words, cases[i].words);
        CU_ASSERT_EQUAL(words.memory_mib, cases[i].memory_mib);
        CU_ASSERT_EQUAL(eal_words_missing(&words, &size), cases[i].missing);
    }
}

static void too_many_arguments_are_refused(void)
{
    static char one[] = "-v";
    char *more[DPDK_EAL_ARGUMENTS_MAX + 8];
    struct config_dpdk dpdk = {.port = "net_ring0", .eal_more = more};
    for (uint32_t i = 0; i < DPDK_EAL_ARGUMENTS_MAX + 7; i++)
        more[i] = one;
    more[DPDK_EAL_ARGUMENTS_MAX + 7] = NULL;
    CU_ASSERT_EQUAL(eal_config_start(&dpdk, 1), -E2BIG);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_card_is_the_only_one),
    UNIT_TEST(a_virtual_device_wants_no_card),
    UNIT_TEST(who_says_which_devices_is_obeyed),
    UNIT_TEST(as_much_memory_is_asked_for_as_the_port_takes),
    UNIT_TEST(what_is_said_of_memory_is_understood),
    UNIT_TEST(too_many_arguments_are_refused),
};
UNIT_MAIN("eal_config", tests)
