#include "bench/net_options.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int transport_parse(const char *value, struct net_options *o)
{
    static const struct {
        const char *name;
        enum net_transport transport;
    } known[] = {{"mem", NET_MEM}, {"udp", NET_UDP}, {"dpdk", NET_DPDK}, {"rdma", NET_RDMA}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(value, known[i].name) == 0)
            o->transport = known[i].transport;
    if (o->transport != NET_UNSAID)
        return 0;
    (void)fprintf(stderr, "dunlin-bench: --transport %s: mem, udp, dpdk or rdma was expected\n",
                  value);
    return -EINVAL;
}

static int port_parse(const char *value, struct net_options *o)
{
    if (o->port_count < NET_PORTS_MAX && value[0] != '\0') {
        o->ports[o->port_count++] = value;
        return 0;
    }
    (void)fprintf(stderr, "dunlin-bench: --port %s: up to %u devices were expected\n", value,
                  NET_PORTS_MAX);
    return -EINVAL;
}

static int device_parse(const char *value, struct net_options *o)
{
    if (value[0] != '\0') {
        o->device = value;
        return 0;
    }
    (void)fprintf(stderr, "dunlin-bench: --device: a name of an RDMA device was expected\n");
    return -EINVAL;
}

static int option_parse(const char *name, const char *value, struct net_options *o)
{
    if (value == NULL) {
        (void)fprintf(stderr, "dunlin-bench: %s needs a value\n", name);
        return -EINVAL;
    }
    return strcmp(name, "--cpus") == 0     ? net_cpus_parse(value, &o->cpus)
           : strcmp(name, "--port") == 0   ? port_parse(value, o)
           : strcmp(name, "--device") == 0 ? device_parse(value, o)
                                           : transport_parse(value, o);
}

static bool is_own(const char *name)
{
    return strcmp(name, "--transport") == 0 || strcmp(name, "--port") == 0 ||
           strcmp(name, "--cpus") == 0 || strcmp(name, "--device") == 0;
}

int net_options_take(int *count, char **arguments, struct net_options *options)
{
    *options = (struct net_options){.transport = NET_UNSAID};
    int left = 1;
    for (int i = 1; i < *count; i++) {
        if (!is_own(arguments[i])) {
            arguments[left++] = arguments[i];
            continue;
        }
        const char *value = i + 1 < *count ? arguments[i + 1] : NULL;
        if (option_parse(arguments[i], value, options) != 0)
            return -EINVAL;
        i++;
    }
    *count = left;
    return 0;
}

int net_options_judge(const struct net_options *options, uint32_t transports, uint32_t port_count)
{
    const char *fault = NULL;
    if (options->transport != NET_UNSAID && ((uint32_t)options->transport & transports) == 0)
        fault = "has no such --transport";
    else if (options->device != NULL && options->transport != NET_RDMA)
        fault = "needs --transport rdma for --device";
    else if (options->port_count != 0 && options->transport != NET_DPDK)
        fault = "needs --transport dpdk for --port";
    else if (options->port_count != 0 && options->port_count != port_count)
        fault = port_count == 2 ? "needs --port twice, once for each side"
                                : "needs --port three times, once for each node";
    else if (options->cpus.count != 0 && port_count == 2)
        fault = "chooses the processors of its two processes itself: no --cpus";
    else if (options->transport == NET_DPDK && options->port_count == 0 && geteuid() != 0)
        fault = "needs root for namespaces and cables of its own; or say which ports: --port";
    if (fault == NULL)
        return 0;
    (void)fprintf(stderr, "dunlin-bench: this bench %s\n", fault);
    return -EINVAL;
}
