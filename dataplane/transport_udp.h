/* transport_udp - datagrams between servers over kernel sockets: no privileges, any network.
 *
 *   transport_udp.c          set-up: socket, peers, memory
 *   transport_udp_pair.c     HELLOs, keys and what comes and goes with a start of the peer
 *   transport_udp_send.c     hot path: seal, queue, pace, send
 *   transport_udp_receive.c  hot path: receive, open, put together, sleep
 *   transport_udp_count.c    names of what it counts
 *
 * One endpoint per lcore with one socket and port of its own; everything of it belongs to the lcore's
 * thread, set-up too.  Each UDP datagram is one frame (frame.h), sealed with a key of the pair of
 * starts (frame_key.h), which the two agree on first (handshake.h).  Until a peer is up, and again when
 * it has a new start, what is sent to it is taken and dropped, counted: it is lost on the way.
 *
 * Completion: send seals a datagram into the peer's queue, which copies its bytes, encrypted or not, so
 * the hold is given back by the next complete.  Why not sent in place when only authenticity is wanted:
 * a frame may wait in the queue for tokens or for the kernel, and log memory would wait with it.
 *
 * Frames leave when 64 of them wait, and at the next complete, receive or sleep: one system call for all
 * that a pass of the poll loop sends.  A full queue, the kernel's or the pace's, refuses (transport.h).
 *
 * Generic segmentation offload on both sides where the kernel has it: one call, and one way through
 * the kernel, carries up to 64 frames.  What is received stands where the kernel put it, is decrypted
 * there, and is handed out from there; only datagrams of several frames are put together elsewhere.
 *
 * Sleeping: wake_fd is the socket, which wakes an edge-triggered epoll set at each arrival by itself.
 * sleep says true only after the kernel said that there was nothing; frames that wait for the pace are
 * sent at the deadline.
 *
 * Alive: a peer that is up and was silent for silence_ns is sent a HELLO that asks for an answer, again and
 * again; whoever is there answers, so a pair whose nodes have nothing to say to each other costs two
 * datagrams in that time, and one that talks costs none.  When a peer was heard of last is published.
 *
 * Source: RFC 8899 for the choice of a size that the path carries; Linux UDP_SEGMENT and UDP_GRO,
 * Willem de Bruijn, "Optimizing UDP for content delivery" (Linux Plumbers 2018). */
#ifndef DUNLIN_DATAPLANE_TRANSPORT_UDP_H
#define DUNLIN_DATAPLANE_TRANSPORT_UDP_H

#include "dataplane/fragments.h"
#include "dataplane/frame_key.h"
#include "dataplane/handshake.h"
#include "dataplane/pacing.h"
#include "dataplane/transport.h"
#include "engine/limits.h"

#include <sys/socket.h>
#include <sys/uio.h>

#define TRANSPORT_UDP_FRAME_BYTES 1400u
#define TRANSPORT_UDP_FRAME_PATH UINT32_MAX /* ask the route to each peer */
#define TRANSPORT_UDP_LENGTH_MAX (1u << 15)
#define TRANSPORT_UDP_QUEUE_FRAMES 256u
#define TRANSPORT_UDP_QUEUE_FRAMES_MAX 8192u
#define TRANSPORT_UDP_PLACES 16u
#define TRANSPORT_UDP_TIMEOUT_NS (100 * NS_PER_MS)
#define TRANSPORT_UDP_SOCKET_BYTES (1u << 22)
#define TRANSPORT_UDP_SILENCE_NS (250 * NS_PER_MS)

struct transport_udp_secret {
    uint16_t key_id;
    uint8_t bytes[FRAME_SECRET_BYTES];
};

/* Time, in nanoseconds; does not go back. */
typedef uint64_t transport_udp_clock(void *context);

/* 0 stands for the default of the same name above, where there is one. */
struct transport_udp_config {
    uint32_t node;
    uint8_t lcore;
    uint64_t cluster, start;         /* start: of this daemon, not 0 */
    struct sockaddr_storage address; /* own; an IPv6 one reaches IPv4 peers, too; port 0: any */
    const struct transport_udp_secret *secrets; /* read during open; the first seals, all open */
    uint32_t secret_count;                      /* 1 .. FRAME_SECRETS_MAX, of different key ids */
    bool authentic_only;                        /* tags, but no encryption, of what is sent */
    bool plain_socket;                          /* no segmentation offload */
    uint8_t version_lowest, version_highest;    /* 0: what this program speaks */
    uint64_t features;
    uint32_t frame_bytes;  /* UDP payload: FRAME_BYTES_MIN .. FRAME_BYTES_MAX, or _FRAME_PATH */
    uint32_t length_max;   /* up to FRAME_LENGTH_MAX */
    uint32_t queue_frames; /* of each peer; a power of two that holds the longest datagram */
    uint32_t places;       /* datagrams put together at a time, of each peer */
    uint64_t timeout_ns;   /* for the fragments of one datagram */
    uint64_t silence_ns;   /* of a peer, after which it is asked whether it is there */
    uint64_t rate,
        burst; /* of what is sent to each peer, bytes per second and bytes; 0: no limit */
    uint32_t socket_bytes;      /* kernel's buffers, as far as it allows */
    transport_udp_clock *clock; /* NULL: CLOCK_BOOTTIME */
    void *clock_context;
};

struct transport_udp_counters {
    uint64_t refused[FRAME_REFUSALS]; /* frames that came, by reason; [0]: those taken */
    uint64_t datagrams_sent, datagrams_received;
    uint64_t frames_sent, bytes_sent;
    uint64_t calls_sent, calls_received; /* into the kernel */
    uint64_t queue_full;                 /* datagrams refused */
    uint64_t nonces_out;                 /* datagrams refused: the key has no nonce left */
    uint64_t not_up;                     /* datagrams taken and dropped */
    uint64_t frames_ended;               /* queued frames dropped: the peer has a new start */
    uint64_t send_retries;               /* the kernel had no room: EAGAIN, ENOBUFS */
    uint64_t send_errors;                /* frames dropped: the kernel refused them */
    uint64_t offload_errors; /* peers reached without segmentation offload from then on */
    uint64_t receive_errors;
    uint64_t kernel_dropped; /* of what came: its buffer was full */
    uint64_t truncated;      /* longer than any frame */
    uint64_t seal_failures;  /* libcrypto had no memory */
    uint64_t hellos_sent, hellos_received;
    uint64_t pairs_up; /* times that a pair came up */
    /* see fragments.h */
    uint64_t fragments_timed_out, fragments_evicted, fragments_doubled, fragments_unlike;
    uint64_t datagrams_too_long;
};

/* Returns 0 and an endpoint without peers, which the caller closes; or
 *   -EINVAL  something in config is out of bounds
 *   -ENOMEM, or what socket and bind say (-EADDRINUSE, -EACCES, -EAFNOSUPPORT ...). */
MUST_USE int transport_udp_open(struct transport **t, const struct transport_udp_config *config);
void transport_udp_close(struct transport *t);

/* The socket's port, in host order: the one asked for or, for 0, the one got. */
uint16_t transport_udp_port(const struct transport *t);

/* Before the endpoint is used.  Returns 0, or
 *   -EEXIST, -EINVAL  the node is there already, or is this one
 *   -ENOSPC           LIMIT_NODES
 *   -EAFNOSUPPORT     no IPv4 or IPv6 address, or one that the own address cannot reach
 *   -ENOMEM, -EMFILE, -ENFILE, -ENETUNREACH ... nothing is left behind. */
MUST_USE int transport_udp_add(struct transport *t, uint32_t node,
                               const struct sockaddr_storage *address);
/* While nothing received is unreleased.  0 or -ENOENT. */
MUST_USE int transport_udp_remove(struct transport *t, uint32_t node);

/* Summed up; the owner's thread. */
void transport_udp_count(const struct transport *t, struct transport_udp_counters *counters);

/* Whether datagrams to that node are sent, and by what was agreed (features and version may be NULL). */
bool transport_udp_is_up(const struct transport *t, uint32_t node, uint8_t *version,
                         uint64_t *features);

/* The start of that node which datagrams go to and come from, as of the last transport_publish; 0: there is
 * none now.  Any thread. */
uint64_t transport_udp_start_shown(const struct transport *t, uint32_t node);

/* When something came of that node that its present start sealed, and that was no recording, in time of the
 * endpoint's clock, as of the last transport_publish; 0: never.  Any thread. */
uint64_t transport_udp_heard_shown(const struct transport *t, uint32_t node);

/* When the endpoint wants receive to be called even if nothing comes: HELLOs and frames that are
 * due.  Time of the endpoint's clock, UINT64_MAX: never. */
uint64_t transport_udp_deadline(const struct transport *t);

/* ---- between the files ---- */

#define TRANSPORT_UDP_BUFFERS 32u  /* received into; a power of two */
#define TRANSPORT_UDP_BATCH 32u    /* messages of one sendmmsg */
#define TRANSPORT_UDP_SEGMENTS 64u /* frames of one message: UDP_MAX_SEGMENTS of older kernels */
#define TRANSPORT_UDP_MESSAGE_BYTES 65000u
#define TRANSPORT_UDP_FLUSH_FRAMES 64u
#define TRANSPORT_UDP_HOLDS 4096u /* completions that wait; a power of two */
#define TRANSPORT_UDP_WHOLE 64u   /* datagrams of several frames between two releases */
#define TRANSPORT_UDP_TICK_NS NS_PER_MS

/* A sealed frame that waits, in the peer's memory. */
struct transport_udp_frame {
    uint32_t at, length;
};

struct transport_udp_peer {
    uint32_t node;
    uint32_t frame_bytes, piece; /* longest frame; its payload, a multiple of 8 */
    bool offload;
    struct sockaddr_storage address;
    socklen_t address_length;
    struct handshake handshake;
    struct frame_key *hello_out, *out;
    struct frame_key *hello_in[FRAME_SECRETS_MAX], *in[FRAME_SECRETS_MAX];
    struct frame_window windows[FRAME_SECRETS_MAX]; /* of in */
    uint64_t nonce;                                 /* last one used of out */
    uint64_t hello_nonce;
    uint64_t hello_heard; /* nonce of its newest HELLO since it came up */
    uint64_t heard_at;    /* any frame of it; 0: never */
    uint64_t asked_at;    /* whether it is there */
    struct pacing pacing;
    /* Queue of sealed frames: [head, tail), of which those below sending are in the batch. */
    uint32_t head, sending, tail;
    struct transport_udp_frame *queue;
    uint8_t *frames; /* packed one behind the other, in a circle */
    uint64_t frames_bytes;
    struct fragments fragments;
    uint8_t *memory; /* of frames and fragments */
    uint64_t memory_bytes;
};

/* A message of a batch. */
struct transport_udp_message {
    struct transport_udp_peer *peer;
    uint32_t frames, bytes, segment; /* segment: length of all frames but the last */
};

struct transport_udp_control {
    alignas(struct cmsghdr) uint8_t bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint32_t))];
};

struct transport_udp_whole {
    struct fragments *fragments;
    struct fragments_place *place;
};

struct transport_udp_endpoint {
    struct transport transport; /* first: the ops get it */
    struct frame_local local;
    struct transport_udp_config config; /* defaults filled in; addresses of secrets void */
    struct transport_udp_secret secrets[FRAME_SECRETS_MAX];
    struct transport_udp_counters counters;
    bool offload;        /* the kernel can cut what we send */
    uint32_t slot_bytes; /* of the longest frame, a multiple of 8 */
    uint64_t tick_at;
    uint32_t nodes[LIMIT_NODES]; /* ids of the peers */
    _Atomic uint64_t starts_shown[LIMIT_NODES], heard_shown[LIMIT_NODES];
    struct transport_udp_peer *peers[LIMIT_NODES];
    uint32_t peer_count;
    uint32_t found; /* index found last */
    /* sending */
    uint32_t queued; /* frames in all queues */
    uint32_t turn;   /* peer that is sent to first */
    uint64_t holds[TRANSPORT_UDP_HOLDS];
    uint32_t holds_head, holds_tail;
    struct mmsghdr out[TRANSPORT_UDP_BATCH];
    struct transport_udp_message messages[TRANSPORT_UDP_BATCH];
    struct transport_udp_control out_control[TRANSPORT_UDP_BATCH];
    struct iovec out_parts[TRANSPORT_UDP_BATCH][TRANSPORT_UDP_SEGMENTS];
    uint64_t receive_at; /* time of the last receive */
    /* Receiving: buffers [released, current) are handed out, current is being cut at, those below
     * filled wait.  Counts that only grow. */
    uint64_t released, current, filled;
    uint32_t at;
    bool drained;  /* by the last call into the kernel */
    uint32_t came; /* buffers that it filled */
    bool opened;   /* the frame at `at` is, and waits for a place; header and peer are */
    struct frame_header header;
    struct transport_udp_peer *from;
    uint32_t kernel_dropped; /* as the kernel counts */
    uint32_t buffer_bytes;
    uint8_t *buffers;
    uint64_t buffers_bytes;
    uint32_t lengths[TRANSPORT_UDP_BUFFERS], segments[TRANSPORT_UDP_BUFFERS];
    struct mmsghdr in[TRANSPORT_UDP_BUFFERS];
    struct iovec in_parts[TRANSPORT_UDP_BUFFERS];
    struct transport_udp_control in_control[TRANSPORT_UDP_BUFFERS];
    struct transport_udp_whole whole[TRANSPORT_UDP_WHOLE];
    uint32_t whole_count;
};

static inline struct transport_udp_endpoint *transport_udp_endpoint_of(struct transport *t)
{
    return (struct transport_udp_endpoint *)(void *)t; /* its first member */
}

/* NULL: there is no such peer. */
struct transport_udp_peer *transport_udp_find(struct transport_udp_endpoint *e, uint32_t node);
uint64_t transport_udp_now(const struct transport_udp_endpoint *e);

/* Keys and handshake of a new peer: 0, -ENOMEM, or what getrandom says. */
MUST_USE int transport_udp_pair_open(struct transport_udp_endpoint *e,
                                     struct transport_udp_peer *p);
void transport_udp_pair_close(struct transport_udp_peer *p);
/* A HELLO of that peer, under the key of secrets[secret]; length is that of its payload. */
MUST_USE enum frame_refusal transport_udp_pair_hello(struct transport_udp_endpoint *e,
                                                     struct transport_udp_peer *p,
                                                     const struct frame_header *h, uint8_t *frame,
                                                     uint32_t length);
/* What is due by now: HELLOs, fragments that waited too long. */
void transport_udp_pair_tick(struct transport_udp_endpoint *e, uint64_t now);
/* Index of the secret, or FRAME_SECRETS_MAX. */
uint32_t transport_udp_secret_find(const struct transport_udp_endpoint *e, uint16_t key_id);

uint32_t transport_udp_send(struct transport *t, const struct transport_datagram *datagrams,
                            uint32_t count);
uint32_t transport_udp_complete(struct transport *t, uint64_t *holds, uint32_t count);
/* Send what is queued, as far as the pace and the kernel allow. */
void transport_udp_flush(struct transport_udp_endpoint *e);

uint32_t transport_udp_receive(struct transport *t, struct transport_received *received,
                               uint32_t count);
void transport_udp_release(struct transport *t);
bool transport_udp_sleep(struct transport *t);
/* The counters, in the order of their struct, and their names; transport.h. */
void transport_udp_count_all(struct transport *t, uint64_t *counted);
extern const char *const transport_udp_count_names[];
/* Buffers ready to be received into. */
void transport_udp_receive_init(struct transport_udp_endpoint *e);

#endif
