/* memif_switch - a switch of ports that are shared memory (bench/port_switch.h) as a program.
 *
 *   memif_switch SOCKET PORTS
 *
 * Each of its ports, from 1, is for one client (net_memif: role=client, id=PORT, socket-abstract=no).  Says "ready" on
 * stdout; ends by SIGTERM or SIGINT, with status 0, and what it did on stdout.
 *
 * Status 1: DPDK does not start, or not a port of it: it said why to stderr.  2: bad usage. */
#include "bench/port_switch.h"
#include "dataplane/dpdk_eal.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint32_t stopped;

static void stop(int number)
{
    (void)number;
    /* relaxed: the loop sees it, and nothing else hangs on it */
    atomic_store_explicit(&stopped, 1, memory_order_relaxed);
}

static int run(const char *file, uint32_t port_count)
{
    struct port_switch *s;
    int error = port_switch_open(&s, file, port_count);
    if (error != 0)
        return error;
    (void)printf("ready\n");
    (void)fflush(stdout);
    port_switch_run(s, &stopped);
    const struct port_switch_counters *did = port_switch_counters(s);
    (void)printf("forwarded %" PRIu64 " flooded %" PRIu64 " dropped %" PRIu64 "\n", did->forwarded,
                 did->flooded, did->dropped);
    port_switch_close(s);
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const arguments[] = {"--no-pci", "--no-telemetry"};
    const struct dpdk_eal_config eal = {.arguments = arguments,
                                        .argument_count = 2,
                                        .pages = DPDK_EAL_PAGES_SMALL,
                                        .memory_mib = PORT_SWITCH_MEMORY_MIB};
    const struct sigaction action = {.sa_handler = stop};
    uint32_t port_count = argc == 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    if (port_count < 2 || port_count > PORT_SWITCH_PORTS_MAX) {
        (void)fprintf(stderr, "usage: memif_switch SOCKET PORTS (2 to %u)\n",
                      PORT_SWITCH_PORTS_MAX);
        return 2;
    }
    if (sigaction(SIGTERM, &action, NULL) != 0 || sigaction(SIGINT, &action, NULL) != 0)
        return 1;
    int error = dpdk_eal_start(&eal);
    if (error != 0) {
        (void)fprintf(stderr, "memif_switch: EAL: %s\n", strerror(-error));
        return 1;
    }
    error = run(argv[1], port_count);
    dpdk_eal_stop();
    return error == 0 ? 0 : 1;
}
