/* control_net - messages between the nodes of a cluster, for the control plane: one connection per pair of
 * nodes, used both ways, over TLS 1.3 where both sides show a certificate of the cluster's own authority.
 *
 * The node of the lower id connects, again and again, at most once in CONTROL_NET_BACKOFF_MS_MAX while it fails.
 * One that has no link at all knocks at those of lower ids, too: whom a node has not in its list it connects to
 * never, and so could never tell.  Who is knocked at by a node of its list connects to that at once.
 * Who a peer is says its certificate (authority.h), never its address: one of another authority, of
 * another cluster, of a node that is not in the list or is ourselves, is refused; a node that is not in the list
 * is told so, and nothing else.  A link is up when both
 * sides have said HELLO (control_net_frame.h), so each knows that the other accepted it.  Of two links with
 * one peer the newer stays: its old process is dead, or its old connection is.
 *
 * Messages of a link keep their order and arrive whole or not at all; those on the way when it goes down may
 * or may not have arrived.  Nothing is repeated: the caller's protocol does that.
 *
 * Bounds: a message is at most CONTROL_FRAME_LENGTH_MAX; a peer's queue CONTROL_NET_QUEUE_BYTES and one
 * message; what comes is handed over at once, so nothing queues.  Of connections that have not shown a
 * good certificate yet there are at most CONTROL_NET_STRANGERS, and as many again from addresses of
 * nodes; in each of these pools the oldest goes when another comes; CONTROL_NET_STRANGERS_PER_S of the
 * former are accepted.  One is over after CONTROL_NET_HANDSHAKE_MS whatever it does.  So a stranger
 * costs a bounded share of the loop, and no node its connection.  A peer that takes nothing for
 * CONTROL_NET_SILENCE_MS loses its link; one that is silent and gone is noticed a few seconds later.
 *
 * A certificate that ends while its link is up does not end the link.
 *
 * Log events, all with node=, our own id:
 *   control_listening address
 *   control_link_up peer address
 *   control_link_down peer address reason
 *   control_refused address reason suppressed      somebody that is no node of ours; once a minute for all of them
 *   control_unreachable peer address reason suppressed  once a minute for each peer
 *   control_certificate_ends days until            30 days before, then each day; level error when it has
 *   control_certificate_loaded until               by control_net_reload
 * suppressed: how many more since the line before.
 *
 * The thread of the loop, and nobody else; the process ignores SIGPIPE.  Every callback comes from the loop,
 * none from within a call of this file; each of them may call anything here.
 * Source: RFC 8446; RFC 5482 for the timeout of a connection that is not acknowledged. */
#ifndef DUNLIN_CONTROL_CONTROL_NET_H
#define DUNLIN_CONTROL_CONTROL_NET_H

#include "control/control_net_frame.h"
#include "engine/base.h"
#include "engine/limits.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <uv.h>

#define CONTROL_NET_QUEUE_BYTES ((size_t)16 << 20)
#define CONTROL_NET_BACKOFF_MS_MIN 10u
#define CONTROL_NET_BACKOFF_MS_MAX 1000u /* between the beginnings of two attempts */
#define CONTROL_NET_KNOCK_MS 2000u       /* without a link, and between two knocks */
#define CONTROL_NET_CONNECT_MS 1000u
#define CONTROL_NET_HANDSHAKE_MS 2000u
#define CONTROL_NET_SILENCE_MS 2000u
#define CONTROL_NET_STRANGERS 64u
#define CONTROL_NET_STRANGERS_PER_S 128u

struct control_net;

struct control_net_peer {
    uint32_t node;
    struct sockaddr_storage address;
};

struct control_net_config {
    uv_loop_t *loop;
    uint32_t self;
    const char *cluster; /* its name */
    struct sockaddr_storage listen;
    const struct control_net_peer *peers; /* copied; ourselves among them is passed over */
    uint32_t peer_count;                  /* up to LIMIT_NODES */
    const char *certificate_path, *key_path, *authority_path; /* until control_net_close */
    /* type 1 .. 255; bytes good during the call, of any alignment, NULL if length is 0. */
    void (*received)(void *context, uint32_t node, uint8_t type, const uint8_t *bytes,
                     size_t length);
    /* Down and up in turn, up first.  When a newer connection takes the place of one, both at once. */
    void (*link)(void *context, uint32_t node, bool up);
    /* A peer said that we are no node of its list.  Again and again as long as it does; NULL: nobody minds. */
    void (*refused)(void *context, uint32_t node);
    void *context;
};

struct control_net_request {
    /* Once, never from within send: 0 when the kernel has the message, -ECONNRESET: the link went down,
     * -ECANCELED: control_net_close.  Then the request is the caller's again. */
    void (*sent)(struct control_net_request *r, int error);
    void *data;
};

/* Listen, and begin to connect.  Returns 0 and *n, for control_net_close; or, told on errors,
 *   -EINVAL, -EPERM, -EKEYEXPIRED, -EIO ...  control_tls_open: the files
 *   -EINVAL  too many peers, or two of one id
 *   -EADDRINUSE and others of the socket: the loop has to run once more to be rid of it
 *   -ENOMEM */
MUST_USE int control_net_open(struct control_net **n, const struct control_net_config *config,
                              FILE *errors);

/* From now on there is one peer more, and links with it are made as with all.  Returns 0, or
 *   -EINVAL     ourselves, or it is a peer already
 *   -ENOSPC     LIMIT_NODES of them, those whose links are not closed yet included: try again later
 *   -ESHUTDOWN  control_net_close was called. */
MUST_USE int control_net_add(struct control_net *n, const struct control_net_peer *peer);
/* It is a peer no more: its link goes down, and it is refused as any stranger.  No such peer: nothing. */
void control_net_remove(struct control_net *n, uint32_t node);

/* Copies.  Returns 0, and sent will be called, or, and it will not,
 *   -ENOTCONN  no link with that node now
 *   -ENOBUFS   its queue is full: it is slow, try later
 *   -EMSGSIZE  too long for ever
 *   -EINVAL    type 0, or no such node
 *   -ENOMEM */
MUST_USE int control_net_send(struct control_net *n, uint32_t node, uint8_t type,
                              const struct iovec *pieces, unsigned count,
                              struct control_net_request *request);

bool control_net_is_up(const struct control_net *n, uint32_t node);

/* Where it listens: the port is the kernel's choice if that of the configuration is 0. */
void control_net_address(const struct control_net *n, struct sockaddr_storage *address);

/* Read the certificates anew, for connections made from now on; those that are up stay.  Returns 0 or, told
 * on errors and with nothing changed, as control_tls_open. */
MUST_USE int control_net_reload(struct control_net *n, FILE *errors);

/* No callback follows but those of requests (-ECANCELED), then closed, from the loop; n is gone. */
void control_net_close(struct control_net *n, void (*closed)(void *context), void *context);

#endif
