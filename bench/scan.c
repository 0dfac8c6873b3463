#include "bench/scan.h"

#include "bench/passes.h"
#include "engine/clock.h"

static int scan_once(struct client *c, uint64_t *records)
{
    struct dunlin_scan *scan;
    struct dunlin_scan_entry e;
    uint64_t count = 0, sum = 0;
    int rc = dunlin_scan_open(c->space, NULL, &scan);
    if (rc != 0)
        return rc;
    while ((rc = dunlin_scan_next(scan, &e)) == 0) {
        uint64_t word;
        memcpy(&word, e.value, sizeof word);
        sum += word;
        count++;
    }
    __asm__ volatile("" : : "r"(sum));
    dunlin_scan_close(scan);
    *records += count;
    if (rc != -ENOENT)
        return rc;
    return count == UINT64_C(1) << c->key_bits ? 0 : -ENODATA;
}

int scan_measure(void *context, uint64_t duration_ns, double *value)
{
    struct client *c = context;
    uint64_t records = 0, began_ns = clock_boottime_ns(), now_ns = began_ns;
    const uint64_t cpu_ns = passes_cpu_ns();
    while (now_ns - began_ns < duration_ns) {
        int rc = scan_once(c, &records);
        if (rc != 0)
            return rc;
        now_ns = clock_boottime_ns();
    }
    *value = (double)(passes_cpu_ns() - cpu_ns) / (double)records;
    return 0;
}
