#include "dataplane/node_clock.h"

#include <cpuid.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define CALIBRATION_NS (20 * NS_PER_MS)
#define SAMPLES 16
#define RATE_MIN UINT64_C(100000000)
#define RATE_MAX (UINT64_C(1) << 36) /* clock.h */
#define CPUID_POWER 0x80000007u
#define CPUID_POWER_INVARIANT_TSC (1u << 8)

/* One instant on both clocks. */
struct instant {
    uint64_t ticks;
    uint64_t ns;
};

/* Why CLOCK_MONOTONIC_RAW: time adjustment may run the other clocks up to 500 ppm fast or slow for
 * as long as the calibration takes. */
static uint64_t raw_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Why the narrowest of several brackets: an interrupt between the readings would tilt the rate. */
static struct instant sample(void)
{
    struct instant best = {0, 0};
    uint64_t width_best = UINT64_MAX;
    for (int i = 0; i < SAMPLES; i++) {
        uint64_t before = clock_tsc_ordered();
        uint64_t ns = raw_ns();
        uint64_t width = clock_tsc_ordered() - before;
        if (width < width_best) {
            width_best = width;
            best = (struct instant){before + width / 2, ns};
        }
    }
    return best;
}

static bool processor_says_invariant(void)
{
    unsigned int a, b, c, d;
    return __get_cpuid(CPUID_POWER, &a, &b, &c, &d) != 0 && (d & CPUID_POWER_INVARIANT_TSC) != 0;
}

/* The kernel takes a counter that it caught jumping or drifting off the list.  Where the list
 * cannot be read (no /sys in a container) the processor's word stands alone. */
static bool kernel_trusts_tsc(void)
{
    char text[256];
    int fd = open("/sys/devices/system/clocksource/clocksource0/available_clocksource",
                  O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    ssize_t length = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    if (length <= 0)
        return true;
    text[length] = 0;
    char *rest = NULL;
    for (char *word = strtok_r(text, " \n", &rest); word != NULL;
         word = strtok_r(NULL, " \n", &rest))
        if (strcmp(word, "tsc") == 0)
            return true;
    return false;
}

void node_clock_choose(struct node_clock *c)
{
    *c = (struct node_clock){.kind = CLOCK_KIND_BOOTTIME, .ticks_per_s = NS_PER_S};
    if (!processor_says_invariant() || !kernel_trusts_tsc())
        return;
    struct instant start = sample();
    struct timespec pause = {.tv_nsec = (long)CALIBRATION_NS};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR)
        continue;
    struct instant end = sample();
    if (end.ticks <= start.ticks || end.ns <= start.ns)
        return;
    clock_wide ticks = (clock_wide)(end.ticks - start.ticks) * NS_PER_S;
    uint64_t rate = (uint64_t)(ticks / (end.ns - start.ns));
    if (rate >= RATE_MIN && rate <= RATE_MAX)
        *c = (struct node_clock){.kind = CLOCK_KIND_TSC, .ticks_per_s = rate};
}
