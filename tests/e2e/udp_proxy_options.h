/* udp_proxy_options - the command line of udp_proxy; `udp_proxy --help` prints it. */
#ifndef DUNLIN_TESTS_E2E_UDP_PROXY_OPTIONS_H
#define DUNLIN_TESTS_E2E_UDP_PROXY_OPTIONS_H

#include "tests/e2e/udp_faults.h"

#include <netinet/in.h>

struct udp_proxy_options {
    struct sockaddr_in listen, to, bind_upstream; /* bind_upstream: sin_family 0: none */
    struct udp_faults_config faults;
    const char *record; /* NULL: none; points into argv */
};

/* Options not named stay as they are.  0, or 2 with the fault printed; --help ends the program. */
int udp_proxy_options_parse(struct udp_proxy_options *o, int argc, char **argv);

#endif
