#include "control/doctor_cpus.h"

#include <stdio.h>
#include <string.h>

uint32_t doctor_cpus_count(const struct doctor_cpus *set)
{
    uint32_t count = 0;
    for (size_t i = 0; i < DOCTOR_CPUS_MAX / 64; i++)
        count += (uint32_t)__builtin_popcountll(set->words[i]);
    return count;
}

/* A number of at most seven digits, and what is behind it; NULL: none is there. */
static const char *number_take(const char *at, uint32_t *number)
{
    const char *begin = at;
    *number = 0;
    while (*at >= '0' && *at <= '9' && at - begin < 7)
        *number = *number * 10 + (uint32_t)(*at++ - '0');
    return at != begin && (*at < '0' || *at > '9') ? at : NULL;
}

int doctor_cpus_parse(const char *text, struct doctor_cpus *set)
{
    const char *at = text;
    while (*at != '\0' && *at != '\n') {
        uint32_t first, last;
        if ((at = number_take(at, &first)) == NULL)
            return -EINVAL;
        last = first;
        if (*at == '-' && (at = number_take(at + 1, &last)) == NULL)
            return -EINVAL;
        if (last < first)
            return -EINVAL;
        for (uint32_t cpu = first; cpu <= last && cpu < DOCTOR_CPUS_MAX; cpu++)
            doctor_cpus_add(set, cpu);
        if (*at == ',' && at[1] != '\0' && at[1] != '\n')
            at++;
        else if (*at != '\0' && *at != '\n')
            return -EINVAL;
    }
    return 0;
}

void doctor_cpus_print(const struct doctor_cpus *set, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t cpu = 0; cpu < DOCTOR_CPUS_MAX; cpu++) {
        if (!doctor_cpus_has(set, cpu))
            continue;
        uint32_t last = cpu;
        char part[24];
        while (doctor_cpus_has(set, last + 1))
            last++;
        int length = last == cpu
                         ? snprintf(part, sizeof part, "%s%u", used != 0 ? "," : "", cpu)
                         : snprintf(part, sizeof part, "%s%u-%u", used != 0 ? "," : "", cpu, last);
        if (used + (size_t)length + sizeof ",..." > bytes) {
            (void)snprintf(text + used, bytes - used, "%s...", used != 0 ? "," : "");
            return;
        }
        memcpy(text + used, part, (size_t)length + 1);
        used += (size_t)length;
        cpu = last;
    }
}
