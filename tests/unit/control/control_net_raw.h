/* control_net_raw - the other end of a control_net connection, made by hand in a thread of its own: it may
 * show any certificate, say anything, or nothing.  For tests. */
#ifndef DUNLIN_TESTS_UNIT_CONTROL_CONTROL_NET_RAW_H
#define DUNLIN_TESTS_UNIT_CONTROL_CONTROL_NET_RAW_H

#include "tests/unit/control/control_net_nodes.h"

#include <pthread.h>

#define RAW_BYTES 64u

struct raw {
    /* What it does. */
    bool serves; /* accepts one connection on `listener` instead of connecting */
    int listener;
    struct sockaddr_storage address; /* connects there */
    uint32_t source;                 /* from that IPv4 address, host order; 0: any */
    const char *certificate_path, *key_path, *authority_path; /* NULL: shows none, trusts all */
    bool old_tls;                                             /* 1.2 at most */
    uint8_t clear[RAW_BYTES];                                 /* sent before, or instead of, TLS */
    size_t clear_length;
    bool is_silent;          /* no TLS, nothing: waits for the end */
    uint8_t said[RAW_BYTES]; /* inside TLS */
    size_t said_length;

    /* What came of it, once it is done. */
    bool connected, tls;
    size_t heard_length; /* bytes inside TLS before the other side closed */
    uint8_t heard[RAW_BYTES];

    pthread_t thread;
    _Atomic bool is_connected, done;
};

/* Show node id's certificate (0: none). */
void raw_init(struct raw *r, const struct net_nodes *t, uint32_t id);
/* Listen on a port of the kernel's choice, for serves; returns where. */
struct sockaddr_storage raw_listen(struct raw *r);
void raw_start(struct raw *r);
bool raw_is_connected(const struct raw *r);
bool raw_is_done(const struct raw *r);
void raw_join(struct raw *r);

/* A certificate and key of the authority in t, for any name, as DIR/strange.crt and .key. */
void raw_certificate_make(const struct net_nodes *t, const char *uri);

#endif
