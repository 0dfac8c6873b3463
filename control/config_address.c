#include "control/config_address.h"

#include <arpa/inet.h>
#include <string.h>

static struct sockaddr_in *as_4(struct sockaddr_storage *a)
{
    return (struct sockaddr_in *)(void *)a;
}

static struct sockaddr_in6 *as_6(struct sockaddr_storage *a)
{
    return (struct sockaddr_in6 *)(void *)a;
}

static bool is_of_one_node_4(struct in_addr address)
{
    uint32_t host = ntohl(address.s_addr);
    /* 0/8 is "this network", from 224/4 on it is multicast, reserved and broadcast. */
    return host >> 24 != 0 && host < 0xe0000000u;
}

static bool is_of_one_node_6(const struct in6_addr *address)
{
    return !IN6_IS_ADDR_UNSPECIFIED(address) && !IN6_IS_ADDR_MULTICAST(address) &&
           !IN6_IS_ADDR_LINKLOCAL(address) && !IN6_IS_ADDR_V4MAPPED(address);
}

/* 1 .. 65535 without leading zeros; 0: it is none. */
static uint32_t port_parse(const char *text)
{
    uint32_t port = 0;
    if (text[0] == '0')
        return 0;
    for (; *text >= '0' && *text <= '9' && port <= UINT16_MAX; text++)
        port = port * 10 + (uint32_t)(*text - '0');
    return *text == '\0' && port <= UINT16_MAX ? port : 0;
}

int config_address_parse(const char *text, size_t size, struct sockaddr_storage *address)
{
    char host[CONFIG_ADDRESS_TEXT_BYTES];
    struct sockaddr_storage parsed = {0};
    if (size >= sizeof(host) || memchr(text, '\0', size) != NULL)
        return -EINVAL;
    memcpy(host, text, size);
    host[size] = '\0';
    char *colon = strrchr(host, ':');
    uint32_t port = colon != NULL ? port_parse(colon + 1) : 0;
    if (port == 0)
        return -EINVAL;
    *colon = '\0';
    bool is_6 = host[0] == '[' && colon[-1] == ']';
    if (is_6) {
        colon[-1] = '\0';
        parsed.ss_family = AF_INET6;
        as_6(&parsed)->sin6_port = htons((uint16_t)port);
        if (inet_pton(AF_INET6, host + 1, &as_6(&parsed)->sin6_addr) != 1 ||
            !is_of_one_node_6(&as_6(&parsed)->sin6_addr))
            return -EINVAL;
    } else {
        parsed.ss_family = AF_INET;
        as_4(&parsed)->sin_port = htons((uint16_t)port);
        if (inet_pton(AF_INET, host, &as_4(&parsed)->sin_addr) != 1 ||
            !is_of_one_node_4(as_4(&parsed)->sin_addr))
            return -EINVAL;
    }
    *address = parsed;
    return 0;
}

uint32_t config_address_port(const struct sockaddr_storage *address)
{
    struct sockaddr_storage a = *address;
    return ntohs(a.ss_family == AF_INET6 ? as_6(&a)->sin6_port : as_4(&a)->sin_port);
}

bool config_address_same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    struct sockaddr_storage x = *a, y = *b;
    if (x.ss_family != y.ss_family)
        return false;
    return x.ss_family == AF_INET6
               ? memcmp(&as_6(&x)->sin6_addr, &as_6(&y)->sin6_addr, sizeof(struct in6_addr)) == 0
               : as_4(&x)->sin_addr.s_addr == as_4(&y)->sin_addr.s_addr;
}
