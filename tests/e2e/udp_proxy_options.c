#include "tests/e2e/udp_proxy_options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: udp_proxy --listen ADDR:PORT --to ADDR:PORT [OPTION...]\n"
    "Relays datagrams of clients to a server and back; IPv4.  P is a probability, 0 to 1.\n"
    "  --bind-upstream ADDR:PORT  address at which the server finds the one client\n"
    "  --seed N        of the faults (1)        --reorder P   let up to 8 later ones pass\n"
    "  --loss P        forget it                --replay P    send again one seen long ago\n"
    "  --duplicate P   send it twice            --corrupt P   turn one bit\n"
    "  --delay-us N    send it so much later    --record FILE what came, as pcap (link type 147,\n"
    "                                           each after 4 bytes: direction, client, 0, 0)\n"
    "Prints `listening ADDR:PORT`; at SIGUSR1, SIGTERM and SIGINT a line of counts.\n"
    "Exit: 0 ended by a signal, 1 cannot start, 2 bad usage.\n";

static bool parse_address(const char *text, struct sockaddr_in *address)
{
    char host[INET_ADDRSTRLEN];
    char *end;
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof host || colon[1] < '0' || colon[1] > '9')
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    unsigned long port = strtoul(colon + 1, &end, 10);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    return *end == '\0' && port <= UINT16_MAX && inet_pton(AF_INET, host, &address->sin_addr) == 1;
}

static bool parse_share(const char *text, double *share)
{
    char *end;
    *share = strtod(text, &end);
    return end != text && *end == '\0' && *share >= 0 && *share <= 1;
}

static bool parse_number(const char *text, uint64_t max, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *number <= max;
}

static bool parse_option(struct udp_proxy_options *o, int option)
{
    switch (option) {
    case 'f':
        return parse_address(optarg, &o->listen);
    case 't':
        return parse_address(optarg, &o->to) && o->to.sin_port != 0;
    case 'b':
        return parse_address(optarg, &o->bind_upstream);
    case 's':
        return parse_number(optarg, UINT64_MAX, &o->faults.seed);
    case 'l':
        return parse_share(optarg, &o->faults.loss);
    case 'd':
        return parse_share(optarg, &o->faults.duplicate);
    case 'o':
        return parse_share(optarg, &o->faults.reorder);
    case 'p':
        return parse_share(optarg, &o->faults.replay);
    case 'c':
        return parse_share(optarg, &o->faults.corrupt);
    case 'y':
        if (!parse_number(optarg, UINT32_MAX, &o->faults.delay_ns))
            return false;
        o->faults.delay_ns *= 1000;
        return true;
    case 'r':
        o->record = optarg;
        return true;
    default:
        return false;
    }
}

int udp_proxy_options_parse(struct udp_proxy_options *o, int argc, char **argv)
{
    static const struct option names[] = {{"listen", required_argument, NULL, 'f'},
                                          {"to", required_argument, NULL, 't'},
                                          {"loss", required_argument, NULL, 'l'},
                                          {"duplicate", required_argument, NULL, 'd'},
                                          {"reorder", required_argument, NULL, 'o'},
                                          {"replay", required_argument, NULL, 'p'},
                                          {"corrupt", required_argument, NULL, 'c'},
                                          {"delay-us", required_argument, NULL, 'y'},
                                          {"record", required_argument, NULL, 'r'},
                                          {"bind-upstream", required_argument, NULL, 'b'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    for (int option, i = 0; (option = getopt_long(argc, argv, "", names, &i)) != -1;) {
        if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (option == '?')
            return 2;
        if (!parse_option(o, option)) {
            fprintf(stderr, "udp_proxy: --%s cannot be '%s'\n", names[i].name, optarg);
            return 2;
        }
    }
    if (optind == argc && o->listen.sin_family != 0 && o->to.sin_family != 0)
        return 0;
    fputs(usage, stderr);
    return 2;
}
