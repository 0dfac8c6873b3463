/* doctor_cpus - sets of processors, or of other small numbers, as the kernel writes them: "0-3,8,10-11".
 *
 * Pure. */
#ifndef DUNLIN_CONTROL_DOCTOR_CPUS_H
#define DUNLIN_CONTROL_DOCTOR_CPUS_H

#include "engine/base.h"

#define DOCTOR_CPUS_MAX 1024u

struct doctor_cpus {
    uint64_t words[DOCTOR_CPUS_MAX / 64];
};

static inline bool doctor_cpus_has(const struct doctor_cpus *set, uint32_t cpu)
{
    return cpu < DOCTOR_CPUS_MAX && (set->words[cpu / 64] >> (cpu % 64) & 1) != 0;
}

static inline void doctor_cpus_add(struct doctor_cpus *set, uint32_t cpu)
{
    if (cpu < DOCTOR_CPUS_MAX)
        set->words[cpu / 64] |= UINT64_C(1) << (cpu % 64);
}

uint32_t doctor_cpus_count(const struct doctor_cpus *set);

/* Adds what a list names; "" names none.  Numbers of DOCTOR_CPUS_MAX and above are left out.  Returns 0, or
 * -EINVAL where the text is no such list: then all before the fault was added. */
MUST_USE int doctor_cpus_parse(const char *text, struct doctor_cpus *set);

/* The list of a set; what does not fit is left out whole, and the list then ends by "...". */
void doctor_cpus_print(const struct doctor_cpus *set, char *text, size_t bytes);

#endif
