/* transport_udp - frames between servers over kernel sockets: no privileges, any network.
 *
 *   transport_udp.c          set-up: socket, peers, memory
 *   transport_udp_send.c     hot path: queue, pace, send
 *   transport_udp_receive.c  hot path: receive, sleep
 *   transport_udp_count.c    names of what it counts
 *
 * A body of transport_framed.h, with one socket and port of its own for each endpoint: each UDP datagram is one
 * frame.
 *
 * Generic segmentation offload on both sides where the kernel has it: one call, and one way through
 * the kernel, carries up to 64 frames.  What is received stands where the kernel put it until release.
 *
 * Sleeping: wake_fd is the socket, which wakes an edge-triggered epoll set at each arrival by itself.
 *
 * Source: RFC 8899 for the choice of a size that the path carries; Linux UDP_SEGMENT and UDP_GRO,
 * Willem de Bruijn, "Optimizing UDP for content delivery" (Linux Plumbers 2018). */
#ifndef DUNLIN_DATAPLANE_TRANSPORT_UDP_H
#define DUNLIN_DATAPLANE_TRANSPORT_UDP_H

#include "dataplane/transport_framed.h"

#include <sys/uio.h>

#define TRANSPORT_UDP_SOCKET_BYTES (1u << 22)

/* What is the socket's alone; 0 stands for the default. */
struct transport_udp_socket {
    bool plain;     /* no segmentation offload */
    uint32_t bytes; /* kernel's buffers, as far as it allows */
};

struct transport_udp_counters {
    uint64_t offload_errors; /* peers reached without segmentation offload from then on */
    uint64_t receive_errors;
    uint64_t kernel_dropped; /* of what came: its buffer was full */
    uint64_t truncated;      /* longer than any frame */
};

/* config: its address is the socket's; an IPv6 one reaches IPv4 peers, too; port 0: any.  FRAME_PATH asks the
 * route to each peer.  socket: NULL stands for all defaults.
 * Returns 0 and an endpoint without peers, which the caller closes; or
 *   -EINVAL  something in config is out of bounds
 *   -ENOMEM, or what socket and bind say (-EADDRINUSE, -EACCES, -EAFNOSUPPORT ...). */
MUST_USE int transport_udp_open(struct transport **t, const struct transport_framed_config *config,
                                const struct transport_udp_socket *socket);
void transport_udp_close(struct transport *t);

/* The socket's port, in host order: the one asked for or, for 0, the one got. */
uint16_t transport_udp_port(const struct transport *t);

/* What this body counts beside transport_framed_count; the owner's thread. */
void transport_udp_count(const struct transport *t, struct transport_udp_counters *counters);

/* ---- between the files ---- */

#define TRANSPORT_UDP_BUFFERS 32u  /* received into; a power of two */
#define TRANSPORT_UDP_BATCH 32u    /* messages of one sendmmsg */
#define TRANSPORT_UDP_SEGMENTS 64u /* frames of one message: UDP_MAX_SEGMENTS of older kernels */
#define TRANSPORT_UDP_MESSAGE_BYTES 65000u

/* A sealed frame that waits, in the peer's memory. */
struct transport_udp_frame {
    uint32_t at, length;
};

struct transport_udp_peer {
    struct transport_framed_peer framed; /* first */
    bool offload;
    struct sockaddr_storage address;
    socklen_t address_length;
    struct transport_udp_frame *queue; /* of the positions [head, tail) */
    uint8_t *frames;                   /* packed one behind the other, in a circle */
    uint64_t frames_bytes;
    uint32_t room; /* that was given last */
};

/* A message of a batch. */
struct transport_udp_message {
    struct transport_udp_peer *peer;
    uint32_t frames, bytes, segment; /* segment: length of all frames but the last */
};

struct transport_udp_control {
    alignas(struct cmsghdr) uint8_t bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint32_t))];
};

struct transport_udp_endpoint {
    struct transport_framed_endpoint framed; /* first: the ops get it */
    struct transport_udp_socket socket;      /* defaults filled in */
    struct transport_udp_counters counters;
    bool offload; /* the kernel can cut what we send */
    /* sending */
    struct mmsghdr out[TRANSPORT_UDP_BATCH];
    struct transport_udp_message messages[TRANSPORT_UDP_BATCH];
    struct transport_udp_control out_control[TRANSPORT_UDP_BATCH];
    struct iovec out_parts[TRANSPORT_UDP_BATCH][TRANSPORT_UDP_SEGMENTS];
    /* Receiving: buffers [released, current) are handed out, current is being cut at, those below
     * filled wait.  Counts that only grow. */
    uint64_t released, current, filled;
    uint32_t at, length;     /* of the frame that next gave */
    uint32_t came;           /* buffers that the last call into the kernel filled */
    uint32_t kernel_dropped; /* as the kernel counts */
    uint32_t buffer_bytes;
    uint8_t *buffers;
    uint64_t buffers_bytes;
    uint32_t lengths[TRANSPORT_UDP_BUFFERS], segments[TRANSPORT_UDP_BUFFERS];
    struct mmsghdr in[TRANSPORT_UDP_BUFFERS];
    struct iovec in_parts[TRANSPORT_UDP_BUFFERS];
    struct transport_udp_control in_control[TRANSPORT_UDP_BUFFERS];
};

static inline struct transport_udp_endpoint *transport_udp_endpoint_of(struct transport *t)
{
    return (struct transport_udp_endpoint *)(void *)t; /* its first member */
}

static inline struct transport_udp_endpoint *
transport_udp_of(struct transport_framed_endpoint *framed)
{
    return (struct transport_udp_endpoint *)(void *)framed; /* its first member */
}

static inline struct transport_udp_peer *transport_udp_peer_of(struct transport_framed_peer *framed)
{
    return (struct transport_udp_peer *)(void *)framed; /* its first member */
}

/* Functions of struct transport_framed_body. */
uint8_t *transport_udp_room(struct transport_framed_endpoint *framed,
                            struct transport_framed_peer *p);
void transport_udp_queued(struct transport_framed_endpoint *framed, struct transport_framed_peer *p,
                          uint32_t length);
void transport_udp_flush(struct transport_framed_endpoint *framed);
bool transport_udp_send_beside(struct transport_framed_endpoint *framed,
                               struct transport_framed_peer *p, const uint8_t *frame,
                               uint32_t length);
uint8_t *transport_udp_next(struct transport_framed_endpoint *framed, uint32_t *length);
void transport_udp_pass(struct transport_framed_endpoint *framed);
void transport_udp_release(struct transport_framed_endpoint *framed);
bool transport_udp_sleep(struct transport_framed_endpoint *framed);
void transport_udp_count_all(const struct transport_framed_endpoint *framed, uint64_t *counted);
extern const char *const transport_udp_count_names[];
/* Buffers ready to be received into. */
void transport_udp_receive_init(struct transport_udp_endpoint *e);

#endif
