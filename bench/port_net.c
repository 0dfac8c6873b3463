#include "bench/port_net.h"

#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef AF_XDP
#define AF_XDP 44
#endif

#define BURST_US 250u  /* of a timer that is late */
#define NO_PROGRAM 127 /* the shell's exit code */

const struct port_net_kind port_net_kinds[PORT_NET_KINDS] = {
    {"net_af_packet", "net_af_packet0,iface=" PORT_NET_CABLE, 0},
    {"net_af_xdp", "net_af_xdp0,busy_budget=0,iface=" PORT_NET_CABLE, AF_XDP},
};

void port_net_memif(char devargs[PORT_NET_MEMIF_BYTES], const char *file, uint32_t number,
                    bool is_server)
{
    int length = snprintf(devargs, PORT_NET_MEMIF_BYTES,
                          "net_memif%u,role=%s,id=%u,socket=%s,socket-abstract=no", number,
                          is_server ? "server" : "client", number, file);
    ASSERT(length > 0 && (uint32_t)length < PORT_NET_MEMIF_BYTES);
}

bool port_net_has(const struct port_net_kind *kind)
{
    if (kind->family == 0)
        return true;
    int fd = socket(kind->family, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

int port_net_leave(void)
{
    return unshare(CLONE_NEWNET) == 0 ? 0 : -errno;
}

int port_net_ip(const char *format, ...)
{
    va_list values;
    FILE *ip = popen("exec ip -batch -", "we");
    if (ip == NULL)
        return -errno;
    va_start(values, format);
    int written = vfprintf(ip, format, values);
    va_end(values);
    int status = pclose(ip);
    return written < 0 || status != 0 ? -EIO : 0;
}

void port_net_limit_command(char command[PORT_NET_COMMAND_BYTES], const char *interface,
                            uint32_t mbit)
{
    const uint64_t burst =
        max_u64(UINT64_C(2) * PORT_NET_FRAME_BYTES, (uint64_t)mbit * BURST_US / 8);
    int length =
        snprintf(command, PORT_NET_COMMAND_BYTES,
                 "exec tc qdisc replace dev %s root tbf rate %umbit burst %" PRIu64 " limit %u",
                 interface, mbit, burst, PORT_NET_CABLE_FRAMES * PORT_NET_FRAME_BYTES);
    ASSERT(length > 0 && (uint32_t)length < PORT_NET_COMMAND_BYTES);
}

int port_net_limit(const char *interface, uint32_t mbit)
{
    char command[PORT_NET_COMMAND_BYTES];
    port_net_limit_command(command, interface, mbit);
    FILE *tc = popen(command, "we"); /* it reads nothing */
    if (tc == NULL)
        return -errno;
    int status = pclose(tc);
    if (status == 0)
        return 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == NO_PROGRAM ? -ENOENT : -EIO;
}
