#include "control/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LIST_BYTES 96u

/* Those that the configuration pins lcores to. */
static struct doctor_cpus pinned(const struct doctor_facts *facts)
{
    struct doctor_cpus set = {0};
    for (uint32_t i = 0; facts->config != NULL && i < facts->config->cpu_count; i++)
        if (facts->config->node.lcore_cpus[i] >= 0)
            doctor_cpus_add(&set, (uint32_t)facts->config->node.lcore_cpus[i]);
    return set;
}

/* What of a is not in b. */
static struct doctor_cpus without(const struct doctor_cpus *a, const struct doctor_cpus *b)
{
    struct doctor_cpus left;
    for (size_t i = 0; i < sizeof left.words / sizeof left.words[0]; i++)
        left.words[i] = a->words[i] & ~b->words[i];
    return left;
}

/* The highest ones that are there: the lowest are where the kernel does its own work. */
static struct doctor_cpus suggested(const struct doctor_facts *facts)
{
    struct doctor_cpus set = {0};
    uint32_t count = 0;
    for (uint32_t cpu = DOCTOR_CPUS_MAX; cpu-- > 1 && count < facts->config->node.lcore_count;)
        if (doctor_cpus_has(&facts->processors.online, cpu)) {
            doctor_cpus_add(&set, cpu);
            count++;
        }
    return set;
}

static bool shares_a_core(const struct doctor_facts *facts, const struct doctor_cpus *set)
{
    for (uint32_t i = 0; i < facts->config->cpu_count; i++) {
        struct doctor_cpus own = {0};
        doctor_cpus_add(&own, (uint32_t)facts->config->node.lcore_cpus[i]);
        struct doctor_cpus others = without(&facts->processors.siblings[i], &own);
        struct doctor_cpus strangers = without(&others, set);
        if (doctor_cpus_count(&others) != doctor_cpus_count(&strangers))
            return true;
    }
    return false;
}

static void lcores(const struct doctor_facts *facts, struct doctor_report *report)
{
    char list[LIST_BYTES], free_list[LIST_BYTES];
    struct doctor_cpus set = pinned(facts), proposal = suggested(facts);
    struct doctor_cpus absent = without(&set, &facts->processors.online);
    bool polls = facts->config->node.spin || facts->dpdk;
    struct doctor_finding *f = doctor_add(
        report, "lcores", "",
        "a polling thread wants a processor, and a core, to itself: what shares it delays "
        "every message");
    doctor_cpus_print(&set, list, sizeof list);
    doctor_cpus_print(&proposal, free_list, sizeof free_list);
    if (facts->config->cpu_count == 0)
        doctor_is(f, "%" PRIu32 ", not pinned%s", facts->config->node.lcore_count,
                  polls ? ", and they poll for ever" : "");
    else
        doctor_is(f, "%" PRIu32 " on processors %s", facts->config->node.lcore_count, list);
    if (doctor_cpus_count(&absent) != 0) {
        doctor_cpus_print(&absent, list, sizeof list);
        doctor_is(f, "processors %s are not there, or offline", list);
        doctor_mend(f, DOCTOR_FAULT, "in %s: lcores: {cpus: [%s]}", facts->config_path, free_list);
    } else if (facts->config->cpu_count == 0 && polls) {
        doctor_mend(f, DOCTOR_WARNING, "in %s: lcores: {cpus: [%s]}", facts->config_path,
                    free_list);
    } else if (shares_a_core(facts, &set)) {
        doctor_is(f, "two of them, on processors %s, share a core", list);
        doctor_mend(f, DOCTOR_WARNING,
                    "in %s: lcores: {cpus: [...]} with one of each "
                    "/sys/devices/system/cpu/cpu*/topology/thread_siblings_list",
                    facts->config_path);
    }
}

static void isolation(const struct doctor_facts *facts, struct doctor_report *report)
{
    const struct doctor_processors *p = &facts->processors;
    char list[LIST_BYTES], words[3 * LIST_BYTES + 64] = "";
    struct doctor_cpus set = pinned(facts);
    const struct {
        const char *word;
        const struct doctor_cpus *cpus;
    } wanted[] = {{"isolcpus=domain,managed_irq,", &p->isolated},
                  {"nohz_full=", &p->tickless},
                  {"rcu_nocbs=", &p->callbacks_off}};
    struct doctor_finding *f = doctor_add(report, "isolation", "",
                                          "the scheduler's tick, interrupts and others' threads on "
                                          "its processor hold a polling thread "
                                          "up for microseconds to milliseconds");
    doctor_cpus_print(&set, list, sizeof list);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        struct doctor_cpus left = without(&set, wanted[i].cpus);
        size_t used = strlen(words);
        if (doctor_cpus_count(&left) != 0)
            (void)snprintf(words + used, sizeof words - used, "%s%s%s", used != 0 ? " " : "",
                           wanted[i].word, list);
    }
    if (doctor_cpus_count(&set) == 0) {
        doctor_is(f, "no lcore is pinned");
    } else if (words[0] == '\0') {
        doctor_is(f, "processors %s are left to the lcores", list);
    } else {
        doctor_is(f, "processors %s are used by others, too", list);
        doctor_mend_kernel(f, DOCTOR_WARNING, words);
    }
}

static void governor(const struct doctor_facts *facts, struct doctor_report *report)
{
    const struct doctor_processors *p = &facts->processors;
    char list[LIST_BYTES];
    struct doctor_cpus set = pinned(facts), slowed = p->slowed;
    struct doctor_finding *f = doctor_add(
        report, "governor", "",
        "a processor that slows down when it has little to do answers the next message late");
    if (doctor_cpus_count(&set) != 0) {
        struct doctor_cpus fast = without(&set, &p->slowed);
        slowed = without(&set, &fast);
    }
    doctor_cpus_print(&slowed, list, sizeof list);
    if (!p->scaled) {
        doctor_is(f, "the kernel does not change speeds here");
    } else if (doctor_cpus_count(&slowed) == 0) {
        doctor_is(f, "performance");
    } else {
        doctor_is(f, "%s on processors %s", p->governor, list);
        doctor_mend(f, DOCTOR_WARNING,
                    "for f in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo "
                    "performance >$f; done");
    }
}

static void clocks(const struct doctor_processors *p, struct doctor_report *report)
{
    struct doctor_finding *f = doctor_add(
        report, "clock", "",
        "reads in place compare a deadline with the processor's counter, if it runs evenly "
        "and the kernel trusts it; else each costs a reading of the kernel's clock");
    const char *source = p->clocksource[0] != '\0' ? p->clocksource : "unknown";
    if (!p->tsc_constant || !p->tsc_nonstop) {
        doctor_is(f, "%s; the processor's counter is not invariant", source);
        doctor_mend(f, DOCTOR_WARNING, "%s",
                    p->hypervisor
                        ? "have the hypervisor show the guest an invariant counter (qemu: "
                          "-cpu host,+invtsc,migratable=no)"
                        : "this processor cannot: leases are told in CLOCK_BOOTTIME");
    } else if (!p->tsc_available) {
        doctor_is(f, "%s; the kernel does not trust the processor's counter", source);
        doctor_mend_kernel(f, DOCTOR_WARNING, "tsc=reliable");
    } else {
        doctor_is(f, "%s; the processor's counter is invariant", source);
        if (strcmp(source, "tsc") != 0)
            doctor_mend(f, DOCTOR_WARNING,
                        "echo tsc "
                        ">/sys/devices/system/clocksource/clocksource0/current_clocksource");
    }
}

static void hypervisor(const struct doctor_facts *facts, struct doctor_report *report)
{
    bool is_virtual = facts->config != NULL && facts->config->node.lease_virtual;
    struct doctor_finding *f =
        doctor_add(report, "hypervisor", "",
                   "a guest that is paused or migrated loses time without noticing: linearizable "
                   "reads in place "
                   "could then be old; `lease: virtual` has them go through the daemon");
    doctor_is(f, "%s%s",
              facts->processors.hypervisor ? "this is a guest"
                                           : "none: the machine's own processors",
              is_virtual ? ", `lease: virtual`" : "");
    if (facts->processors.hypervisor && !is_virtual)
        doctor_mend(f, DOCTOR_WARNING,
                    "in %s: `lease: virtual`, unless this guest is never paused or migrated",
                    facts->config_path != NULL ? facts->config_path : "dunlind.yaml");
}

void doctor_judge_processors(const struct doctor_facts *facts, struct doctor_report *report)
{
    if (facts->config != NULL) {
        lcores(facts, report);
        isolation(facts, report);
    }
    governor(facts, report);
    clocks(&facts->processors, report);
    hypervisor(facts, report);
}
