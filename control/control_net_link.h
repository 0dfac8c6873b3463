/* control_net_link - one connection of control_net: TCP, TLS over memory BIOs, frames, a bounded queue.
 *
 * What is sent waits until the loop is about to wait, so that messages of one turn share a TLS record and a write;
 * one that goes down gives the kernel what it takes of them.
 *
 * Internal to control_net, whose thread and bounds are its own.  A link is made connecting or accepted, says
 * HELLO once TLS is done and its owner has judged the peer, is up when the peer's HELLO came, and goes down once,
 * for a reason; its owner is told at the end of that, when its memory is about to go. */
#ifndef DUNLIN_CONTROL_CONTROL_NET_LINK_H
#define DUNLIN_CONTROL_CONTROL_NET_LINK_H

#include "control/authority.h"
#include "control/control_net.h"
#include "control/control_net_frame.h"

#include <openssl/ssl.h>

#define CONTROL_LINK_READ_BYTES ((size_t)64 << 10)
#define CONTROL_LINK_PLAIN_BYTES ((size_t)16 << 10) /* the most a TLS record holds */
#define CONTROL_LINK_ADDRESS_BYTES 64u

struct control_link;

/* What a link tells, from the loop. */
struct control_link_owner {
    /* Who it is, by a certificate of the authority.  NULL: welcome; else why not. */
    const char *(*judge)(struct control_link *l, const struct authority_identity *who);
    void (*up)(struct control_link *l);
    void (*received)(struct control_link *l, const struct control_frame *f);
    void (*closed)(struct control_link *l);
    /* Shared by the links of a loop, used within one callback. */
    uint8_t read_bytes[CONTROL_LINK_READ_BYTES];
    uint8_t plain[CONTROL_LINK_PLAIN_BYTES];
    uint8_t record[CONTROL_LINK_PLAIN_BYTES]; /* to be encrypted */
};

enum control_link_state {
    CONTROL_LINK_CONNECTING,
    CONTROL_LINK_TLS,
    CONTROL_LINK_HELLO, /* said ours */
    CONTROL_LINK_UP,
    CONTROL_LINK_DOWN,
};

struct control_link_message;

struct control_link {
    struct control_link_owner *owner;
    void *context, *peer;                 /* the owner's */
    struct control_link *previous, *next; /* the owner's */
    bool outgoing, is_of_node;            /* is_of_node: the owner's */
    bool
        is_unknown; /* the owner's, when it judges: who is refused is told that it is no node of ours */
    bool is_refused; /* it is down because the other side said that */
    enum control_link_state state;
    const char *reason; /* why it is down; static or OpenSSL's */
    int lost;       /* what unsent requests are told: -ECONNRESET unless the owner says otherwise */
    uint64_t up_ms; /* of uv_now */
    struct sockaddr_storage address;

    uv_tcp_t tcp;
    uv_timer_t deadline;
    uv_prepare_t due; /* started while there may be something to write */
    unsigned handles_open;
    uv_connect_t connecting;
    SSL *ssl;
    BIO *in, *out; /* ciphertext; of ssl */
    struct control_frame_reader reader;

    struct control_link_message *first, *last; /* not yet with the kernel */
    struct control_link_message *next_plain;   /* of these, the first that is not all encrypted */
    size_t queued_bytes;
    uv_write_t write;
    bool writing;
    uint8_t *wire; /* what write writes */
    size_t wire_capacity;
};

struct control_link_config {
    uv_loop_t *loop;
    SSL_CTX *tls;
    struct control_link_owner *owner;
    void *context, *peer;
};

/* Begin to connect.  Returns NULL without memory; whatever else fails is a link that goes down. */
MUST_USE struct control_link *control_link_connect(const struct control_link_config *c,
                                                   const struct sockaddr_storage *address);
/* Take a connection that the listener has.  As above. */
MUST_USE struct control_link *control_link_accept(const struct control_link_config *c,
                                                  uv_tcp_t *listener);

/* As control_net_send; -ENOTCONN: it is not up. */
MUST_USE int control_link_send(struct control_link *l, uint8_t type, const struct iovec *pieces,
                               unsigned count, struct control_net_request *request);

/* It goes down; nothing is told from within.  Again: nothing. */
void control_link_drop(struct control_link *l, const char *reason);

/* "10.0.0.1:7700", "[fd00::1]:7700". */
void control_link_address_print(char text[CONTROL_LINK_ADDRESS_BYTES],
                                const struct sockaddr_storage *address);

#endif
