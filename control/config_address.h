/* config_address - where a node of the cluster receives, as a configuration writes it.
 *
 *   10.0.0.1:7700      IPv4
 *   [fd00::1]:7700     IPv6; in YAML in quotes, since a bracket begins a list there
 *
 * Pure: names are not looked up, so that a daemon never waits for a resolver and both ends mean the
 * same address.  Internal to config.
 * Source: RFC 3986, 3.2.2, for the brackets. */
#ifndef DUNLIN_CONTROL_CONFIG_ADDRESS_H
#define DUNLIN_CONTROL_CONFIG_ADDRESS_H

#include "engine/base.h"

#include <netinet/in.h>
#include <sys/socket.h>

/* The bytes of a sockaddr_storage that an address of either kind may use. */
#define CONFIG_ADDRESS_BYTES sizeof(struct sockaddr_in6)
#define CONFIG_ADDRESS_TEXT_BYTES (INET6_ADDRSTRLEN + sizeof("[]:65535"))

/* Returns 0 and *address, its bytes past the family's own zero, or -EINVAL: not of the form above,
 * or no single node can be reached there (unspecified, multicast, broadcast, link-local IPv6, which
 * would need an interface, and IPv4 mapped into IPv6, which is the same address twice). */
MUST_USE int config_address_parse(const char *text, size_t size, struct sockaddr_storage *address);

uint32_t config_address_port(const struct sockaddr_storage *address);

/* The same host, whatever the port? */
bool config_address_same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b);

#endif
