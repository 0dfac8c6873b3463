/* transport_framed - datagrams between servers in sealed frames: what every body has in common that carries
 * frames of its own, and not the memory of the peer.
 *
 *   transport_framed.c          configuration, memory, peers
 *   transport_framed_pair.c     HELLOs, keys and what comes and goes with a start of the peer
 *   transport_framed_secrets.c  secrets that come and go while it runs
 *   transport_framed_send.c     hot path: cut up, seal, queue
 *   transport_framed_receive.c  hot path: open, put together, sleep
 *   transport_framed_range.c    proofs of bytes that a body wrote to the peer's memory itself
 *   transport_framed_count.c    names of what it counts, and what other threads see of peers
 *
 * One endpoint per lcore; everything of it belongs to the lcore's thread, set-up too.  Each datagram is cut into
 * frames (frame.h), sealed with a key of the pair of starts (frame_key.h), which the two agree on first
 * (handshake.h).  Until a peer is up, and again when it has a new start, what is sent to it is taken and
 * dropped, counted: it is lost on the way.
 *
 * The body (struct transport_framed_body: transport_udp.h) carries frames: it has the memory that they are sealed in
 * and received in, and says how far a queue could leave.
 *
 * Completion: send seals a datagram into the peer's queue, which copies its bytes, encrypted or not, so
 * the hold is given back by the next complete.  A body that can send log memory in place does so with what is to
 * be authentic only and long enough (chain_bytes); such a datagram completes when the body has let go of all of it.
 *
 * Frames leave when 64 of them wait, and at the next complete, receive or sleep: one call of the body for all
 * that a pass of the poll loop sends.  A full queue, the body's or the pace's, refuses (transport.h).
 *
 * What is received stands where the body has it, is decrypted there, and is handed out from there; only
 * datagrams of several frames are put together elsewhere.
 *
 * Ranges: a body with log writes (transport.h) has bytes of the log written where no frame is around them.  What the
 * peer then says of them in a datagram holds a proof: a tag by the pair's key over their range, as it lies in memory.
 * Why no replay window for proofs: each comes in a frame, which is taken once, and is proven with it; what the range
 * is to be (epoch, LSN) the frame says, too.  Their nonces are counted with those of frames.
 *
 * Sleeping: sleep says true only after the body said that there was nothing; frames that wait for the pace are
 * sent at the deadline.
 *
 * Alive: a peer that is up and was silent for silence_ns is sent a HELLO that asks for an answer, again and
 * again; whoever is there answers, so a pair whose nodes have nothing to say to each other costs two
 * datagrams in that time, and one that talks costs none.  When a peer was heard of last is published. */
#ifndef DUNLIN_DATAPLANE_TRANSPORT_FRAMED_H
#define DUNLIN_DATAPLANE_TRANSPORT_FRAMED_H

#include "dataplane/fragments.h"
#include "dataplane/frame_key.h"
#include "dataplane/handshake.h"
#include "dataplane/pacing.h"
#include "dataplane/pair_secrets.h"
#include "dataplane/transport.h"
#include "engine/limits.h"

#include <sys/socket.h>

#define TRANSPORT_FRAMED_FRAME_BYTES 1400u
#define TRANSPORT_FRAMED_FRAME_PATH UINT32_MAX /* what the path to each peer carries */
#define TRANSPORT_FRAMED_LENGTH_MAX (1u << 15)
#define TRANSPORT_FRAMED_QUEUE_FRAMES 256u
#define TRANSPORT_FRAMED_QUEUE_FRAMES_MAX 8192u
#define TRANSPORT_FRAMED_PLACES 16u
#define TRANSPORT_FRAMED_TIMEOUT_NS (100 * NS_PER_MS)
#define TRANSPORT_FRAMED_SILENCE_NS (250 * NS_PER_MS)

struct transport_framed_secret {
    uint16_t key_id;
    uint8_t bytes[FRAME_SECRET_BYTES];
};

/* Time, in nanoseconds; does not go back. */
typedef uint64_t transport_framed_clock(void *context);

/* 0 stands for the default of the same name above, where there is one. */
struct transport_framed_config {
    uint32_t node;
    uint8_t lcore;
    uint64_t cluster, start;                       /* start: of this daemon, not 0 */
    struct sockaddr_storage address;               /* own */
    const struct transport_framed_secret *secrets; /* read during open; the first seals, all open */
    uint32_t secret_count; /* 1 .. FRAME_SECRETS_MAX, of different key ids */
    /* Or, and then there are none of those: secrets shared with each peer alone, as they come; outlives the
     * endpoint.  A peer with which none is shared is not up. */
    struct pair_secrets *pair_secrets;
    uint64_t key_frames; /* of one key, then another secret of pair_secrets is asked for; 0:
                            FRAME_KEY_BLOCKS in the longest ones */
    bool authentic_only; /* tags, but no encryption, of what is sent */
    uint8_t version_lowest, version_highest; /* 0: what this program speaks */
    uint64_t features;
    uint32_t frame_bytes;  /* UDP payload: FRAME_BYTES_MIN .. FRAME_BYTES_MAX, or _FRAME_PATH */
    uint32_t length_max;   /* up to FRAME_LENGTH_MAX */
    uint32_t queue_frames; /* of each peer; a power of two that holds the longest datagram */
    uint32_t places;       /* datagrams put together at a time, of each peer */
    uint64_t timeout_ns;   /* for the fragments of one datagram */
    uint64_t silence_ns;   /* of a peer, after which it is asked whether it is there */
    uint64_t rate,
        burst; /* of what is sent to each peer, bytes per second and bytes; 0: no limit */
    transport_framed_clock *clock; /* NULL: CLOCK_BOOTTIME */
    void *clock_context;
};

struct transport_framed_counters {
    uint64_t refused[FRAME_REFUSALS]; /* frames that came, by reason; [0]: those taken */
    uint64_t datagrams_sent, datagrams_received;
    uint64_t frames_sent, bytes_sent;
    uint64_t calls_sent, calls_received; /* into the kernel, or bursts of a port */
    uint64_t queue_full;                 /* datagrams refused */
    uint64_t nonces_out;                 /* datagrams refused: the key has no nonce left */
    uint64_t not_up;                     /* datagrams taken and dropped */
    uint64_t frames_ended;               /* queued frames dropped: the peer has a new start */
    uint64_t send_retries;               /* the body had no room for what was to leave */
    uint64_t send_errors;                /* frames dropped: they could not leave at all */
    uint64_t seal_failures;              /* libcrypto had no memory */
    uint64_t hellos_sent, hellos_received;
    uint64_t pairs_up;                    /* times that a pair came up */
    uint64_t secrets_taken, secrets_void; /* of pair_secrets */
    /* proven to peers; by peers; and not, because the bytes were others, or the key */
    uint64_t ranges_proven, ranges_taken, ranges_refused;
    /* see fragments.h */
    uint64_t fragments_timed_out, fragments_evicted, fragments_doubled, fragments_unlike;
    uint64_t datagrams_too_long;
};

/* Before the endpoint is used, or by its thread; else transport_peer_make.  Returns 0, or
 *   -EEXIST, -EINVAL  the node is there already, or is this one
 *   -ENOSPC           LIMIT_NODES
 *   -EAFNOSUPPORT     no IPv4 or IPv6 address, or one that the own address cannot reach
 *   -ENOMEM, -EMFILE, -ENFILE, -ENETUNREACH ... nothing is left behind. */
MUST_USE int transport_framed_add(struct transport *t, uint32_t node,
                                  const struct sockaddr_storage *address);
/* While nothing received is unreleased.  0 or -ENOENT. */
MUST_USE int transport_framed_remove(struct transport *t, uint32_t node);

/* Summed up; the owner's thread. */
void transport_framed_count(const struct transport *t, struct transport_framed_counters *counters);

/* Whether datagrams to that node are sent, and by what was agreed (features and version may be NULL). */
bool transport_framed_is_up(const struct transport *t, uint32_t node, uint8_t *version,
                            uint64_t *features);

/* The start of that node which datagrams go to and come from, as of the last transport_publish; 0: there is
 * none now.  Any thread. */
uint64_t transport_framed_start_shown(const struct transport *t, uint32_t node);

/* When something came of that node that its present start sealed, and that was no recording, in time of the
 * endpoint's clock, as of the last transport_publish; 0: never.  Any thread. */
uint64_t transport_framed_heard_shown(const struct transport *t, uint32_t node);

/* When the endpoint wants receive to be called even if nothing comes: HELLOs and frames that are
 * due.  Time of the endpoint's clock, UINT64_MAX: never. */
uint64_t transport_framed_deadline(const struct transport *t);

/* ---- for bodies and between the files ---- */

#define TRANSPORT_FRAMED_FLUSH_FRAMES 64u
#define TRANSPORT_FRAMED_HOLDS 4096u /* completions that wait; a power of two */
#define TRANSPORT_FRAMED_WHOLE 64u   /* datagrams of several frames between two releases */
#define TRANSPORT_FRAMED_TICK_NS NS_PER_MS

struct transport_framed_endpoint;
struct transport_framed_peer;

/* What a body does; all by the endpoint's thread but for peer_open and peer_close, which control calls, and which
 * use nothing of the endpoint but what is constant since open. */
struct transport_framed_body {
    const struct transport_ops *ops; /* TRANSPORT_FRAMED_OPS, and its counters' names */
    uint64_t peer_bytes; /* size of its peer, which begins with a transport_framed_peer */
    /* The peer's address, frame_bytes, and memory for its queue.  0, or what transport_framed_add says, and then
     * nothing is left behind. */
    int (*peer_open)(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                     const struct sockaddr_storage *address);
    void (*peer_close)(struct transport_framed_peer *p);
    /* A peer is used from now on; it is not any more, and frames may wait in its queue until peer_close.  NULL:
     * nothing. */
    void (*join)(struct transport_framed_endpoint *e, struct transport_framed_peer *p);
    void (*leave)(struct transport_framed_endpoint *e, struct transport_framed_peer *p);
    /* Each millisecond, or not much later.  NULL: nothing. */
    void (*tick)(struct transport_framed_endpoint *e, uint64_t now);
    /* Memory for so many frames of the peer, which are sealed next; false: there is none now.  NULL: there always
     * is. */
    bool (*reserve)(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                    uint32_t frames);
    /* Where the frame at the tail of the peer's queue is sealed: slot_bytes from there on; the queue is not full. */
    uint8_t *(*room)(struct transport_framed_endpoint *e, struct transport_framed_peer *p);
    /* It was sealed there, and is so long, but for what it goes on with; the tail moves on behind it. */
    void (*queued)(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                   uint32_t length);
    /* Chained frames, whose end is log memory itself; NULL where chain_bytes is UINT32_MAX.  chain_begin: of this
     * datagram some may be, if it says true; then its hold is the body's from chain_end on, until complete.
     * chain: the frame at room goes on with those bytes; false: it cannot. */
    bool (*chain_begin)(struct transport_framed_endpoint *e, const struct transport_datagram *d);
    bool (*chain)(struct transport_framed_endpoint *e, const struct frame_octets *bytes);
    void (*chain_end)(struct transport_framed_endpoint *e);
    uint32_t (*complete)(struct transport_framed_endpoint *e, uint64_t *holds, uint32_t count);
    /* What is in the peer's queue is not sent; the queue is emptied next.  NULL: nothing is to be done. */
    void (*drop)(struct transport_framed_endpoint *e, struct transport_framed_peer *p);
    /* Send what is queued, as far as pace and room allow (transport_framed_left). */
    void (*flush)(struct transport_framed_endpoint *e);
    /* A frame beside the queue, sent at once or not at all. */
    bool (*send_beside)(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                        const uint8_t *frame, uint32_t length);
    /* The next frame that came, in memory that stays as it is until release, and may be written to; NULL: there
     * is none now.  It sets drained when it knows that there will be none; then it is asked no more before the
     * next receive.  pass: it was seen to; only then comes the next one. */
    uint8_t *(*next)(struct transport_framed_endpoint *e, uint32_t *length);
    void (*pass)(struct transport_framed_endpoint *e);
    /* Frames that were passed are given back. */
    void (*release)(struct transport_framed_endpoint *e);
    /* As transport_sleep: nothing is there to receive, and what comes from now on wakes. */
    bool (*sleep)(struct transport_framed_endpoint *e);
    /* Afterwards.  NULL: nothing. */
    void (*awake)(struct transport_framed_endpoint *e);
    /* Its own counters, behind those of struct transport_framed_counters. */
    void (*count)(const struct transport_framed_endpoint *e, uint64_t *counted);
};

/* What other threads see of a node, in a place that is its own while it is a peer. */
struct transport_framed_shown {
    _Atomic uint32_t node; /* TRANSPORT_FRAMED_NOBODY: unused */
    _Atomic uint64_t start, heard;
};
#define TRANSPORT_FRAMED_NOBODY UINT32_MAX

struct transport_framed_peer {
    const struct transport_framed_body *body;
    uint32_t node;
    struct transport_framed_shown *shown;
    uint32_t frame_bytes, piece; /* longest frame, by the body; its payload, a multiple of 8 */
    struct handshake handshake;
    struct frame_key *hello_out, *out;
    struct frame_key *hello_in[FRAME_SECRETS_MAX], *in[FRAME_SECRETS_MAX];
    struct frame_window windows[FRAME_SECRETS_MAX]; /* of in */
    /* What the keys come from, at the same places.  Key id 0 of a secret of pair_secrets: its place is free. */
    struct transport_framed_secret secrets[FRAME_SECRETS_MAX];
    uint32_t numbers[FRAME_SECRETS_MAX]; /* of those of pair_secrets */
    uint32_t seals;         /* place of the one that seals; FRAME_SECRETS_MAX: there is none */
    uint16_t key_id;        /* of that one */
    uint64_t secrets_start; /* of the peer that those of pair_secrets are shared with */
    uint64_t sealed_before; /* nonces used before the present key of out */
    uint64_t sealed_long;   /* what it sealed besides, of ranges longer than a frame, in frames */
    uint64_t nonce; /* last one used, of out and, as long as the pair is up, of those before it */
    uint64_t hello_nonce;
    uint64_t hello_heard; /* nonce of its newest HELLO since it came up */
    uint64_t heard_at;    /* any frame of it; 0: never */
    uint64_t asked_at;    /* whether it is there */
    struct pacing pacing;
    /* Queue of sealed frames: [head, tail), of which those below sending are in the body's hands.  Positions;
     * where the frames lie is the body's. */
    uint32_t head, sending, tail;
    struct fragments fragments;
    uint8_t *memory; /* of fragments */
    uint64_t memory_bytes;
};

struct transport_framed_whole {
    struct fragments *fragments;
    struct fragments_place *place;
};

/* A body's endpoint begins with it. */
struct transport_framed_endpoint {
    struct transport transport; /* first: the ops get it */
    const struct transport_framed_body *body;
    struct frame_local local;
    struct transport_framed_config config; /* defaults filled in; addresses of secrets void */
    struct transport_framed_secret secrets[FRAME_SECRETS_MAX];
    struct transport_framed_counters counters;
    uint64_t secrets_seen; /* changes of pair_secrets */
    uint32_t slot_bytes;   /* of the longest frame, a multiple of 8 */
    uint32_t
        chain_bytes; /* at the end of a frame, from which on they are not copied; by the body */
    bool chains;     /* frames of the datagram at hand may be chained */
    uint64_t tick_at;
    uint32_t nodes[LIMIT_NODES]; /* ids of the peers */
    struct transport_framed_shown shown[LIMIT_NODES];
    struct transport_framed_peer *peers[LIMIT_NODES];
    uint32_t peer_count;
    uint32_t found; /* index found last */
    /* sending */
    uint32_t queued; /* frames in all queues */
    uint32_t turn;   /* peer that is sent to first */
    uint64_t holds[TRANSPORT_FRAMED_HOLDS];
    uint32_t holds_head, holds_tail;
    uint64_t receive_at; /* time of the last receive */
    /* receiving */
    uint8_t *frame; /* that the body gave, and that it was not told to pass; NULL: none */
    uint32_t frame_length;
    bool drained;      /* the body: there is no more */
    bool wakes_nobody; /* the body: what comes may not wake; it is looked for after a millisecond */
    bool opened;       /* the frame is, and waits for a place; header and peer are of it */
    struct frame_header header;
    struct transport_framed_peer *from;
    struct transport_framed_whole whole[TRANSPORT_FRAMED_WHOLE];
    uint32_t whole_count;
};

static inline struct transport_framed_endpoint *transport_framed_endpoint_of(struct transport *t)
{
    return (struct transport_framed_endpoint *)(void *)t; /* its first member */
}

/* The peer whose turn it is to be sent to, and then it is the next one's; there is a peer. */
static inline struct transport_framed_peer *
transport_framed_turn(struct transport_framed_endpoint *e)
{
    uint32_t at = e->turn < e->peer_count ? e->turn : 0; /* peers leave */
    e->turn = at + 1;
    return e->peers[at];
}

/* Set up an endpoint without peers, in memory that is zero.  Returns 0, or -EINVAL: something in config is out of
 * bounds, and nothing is to be undone. */
MUST_USE int transport_framed_init(struct transport_framed_endpoint *e,
                                   const struct transport_framed_config *config,
                                   const struct transport_framed_body *body);
/* Peers and secrets go; before the body's own memory. */
void transport_framed_fini(struct transport_framed_endpoint *e);

/* For those of a body, too: pages that are never used cost nothing.  NULL: there is no memory. */
uint8_t *transport_framed_map(uint64_t bytes);

/* Frames at the head of the peer's queue left, or are given up. */
static inline void transport_framed_left(struct transport_framed_endpoint *e,
                                         struct transport_framed_peer *p, uint32_t frames)
{
    p->head += frames;
    e->queued -= frames;
    /* Why: a queue that is empty begins at memory that is still in the cache. */
    if (p->head == p->tail)
        p->head = p->sending = p->tail = 0;
}

/* NULL: there is no such peer. */
struct transport_framed_peer *transport_framed_find(struct transport_framed_endpoint *e,
                                                    uint32_t node);
uint64_t transport_framed_now(const struct transport_framed_endpoint *e);

/* Keys and handshake of a new peer: 0, -ENOMEM, or what getrandom says. */
MUST_USE int transport_framed_pair_open(struct transport_framed_endpoint *e,
                                        struct transport_framed_peer *p);
void transport_framed_pair_close(struct transport_framed_peer *p);
/* A HELLO of that peer, under the key of secrets[secret]; length is that of its payload. */
MUST_USE enum frame_refusal transport_framed_pair_hello(struct transport_framed_endpoint *e,
                                                        struct transport_framed_peer *p,
                                                        const struct frame_header *h,
                                                        uint8_t *frame, uint32_t length);
/* What is due by now: HELLOs, fragments that waited too long. */
void transport_framed_pair_tick(struct transport_framed_endpoint *e, uint64_t now);
/* Place of the peer's secret of that key id, after a look for newer ones if need be; or FRAME_SECRETS_MAX. */
uint32_t transport_framed_secret_find(struct transport_framed_endpoint *e,
                                      struct transport_framed_peer *p, uint16_t key_id);
/* Take what is new in pair_secrets, of all peers, and say whose keys are used up.  What cannot be taken now (it is
 * being written, or memory is out) is taken later. */
void transport_framed_secrets_look(struct transport_framed_endpoint *e);
void transport_framed_secrets_spend(struct transport_framed_endpoint *e,
                                    struct transport_framed_peer *p);
/* Places for secrets that a peer has. */
uint32_t transport_framed_secret_places(const struct transport_framed_endpoint *e);
/* Derive a key of that peer from the secret at a place.  0 or -ENOMEM. */
MUST_USE int transport_framed_key_set(struct transport_framed_endpoint *e,
                                      struct transport_framed_peer *p, struct frame_key *key,
                                      uint32_t place);
/* The start of the peer that we were up with is over: what was sealed for it is for nobody. */
void transport_framed_pair_forget(struct transport_framed_endpoint *e,
                                  struct transport_framed_peer *p);

/* Send what is queued, as far as the pace and the body allow. */
void transport_framed_flush(struct transport_framed_endpoint *e);

/* A place among what is shown for a peer that joins; and it is given up. */
void transport_framed_show(struct transport_framed_endpoint *e, struct transport_framed_peer *p);
void transport_framed_show_none(const struct transport_framed_peer *p);

/* ---- functions of struct transport_ops ---- */

uint32_t transport_framed_send(struct transport *t, const struct transport_datagram *datagrams,
                               uint32_t count);
uint32_t transport_framed_complete(struct transport *t, uint64_t *holds, uint32_t count);
uint32_t transport_framed_receive(struct transport *t, struct transport_received *received,
                                  uint32_t count);
void transport_framed_release(struct transport *t);
bool transport_framed_sleep(struct transport *t);
void transport_framed_awake(struct transport *t);
uint8_t transport_framed_version(const struct transport *t, uint32_t node);
/* The counters in the order of their struct, and the body's behind them. */
void transport_framed_count_all(struct transport *t, uint64_t *counted);
int transport_framed_peer_make(struct transport *t, uint32_t node,
                               const struct sockaddr_storage *address,
                               struct transport_peer **peer);
void transport_framed_peer_join(struct transport *t, struct transport_peer *peer);
struct transport_peer *transport_framed_peer_leave(struct transport *t, uint32_t node);
void transport_framed_peer_free(struct transport_peer *peer);

/* For bodies with log writes: transport_prove and transport_proves, by the endpoint's thread. */
bool transport_framed_prove(struct transport *t, uint32_t node, const struct grant_range *range,
                            struct grant_proof *proof);
bool transport_framed_proves(struct transport *t, uint32_t node, const struct grant_range *range,
                             const struct grant_proof *proof);

/* All of a body's struct transport_ops but count_names and those of log writes. */
#define TRANSPORT_FRAMED_OPS                                                                       \
    .send = transport_framed_send, .receive = transport_framed_receive,                            \
    .release = transport_framed_release, .complete = transport_framed_complete,                    \
    .sleep = transport_framed_sleep, .awake = transport_framed_awake,                              \
    .version = transport_framed_version, .deadline = transport_framed_deadline,                    \
    .count = transport_framed_count_all, .peer_make = transport_framed_peer_make,                  \
    .peer_join = transport_framed_peer_join, .peer_leave = transport_framed_peer_leave,            \
    .peer_free = transport_framed_peer_free

/* Names of what is counted, in the order of struct transport_framed_counters, which has nothing but words; a
 * body's own and NULL follow. */
#define TRANSPORT_FRAMED_COUNT_NAMES                                                               \
    "frames_taken", "refused_too_short", "refused_other_magic", "refused_version_older",           \
        "refused_version_newer", "refused_other_cluster", "refused_other_lcore",                   \
        "refused_unknown_peer", "refused_unknown_key", "refused_not_up", "refused_other_start",    \
        "refused_replayed", "refused_too_old", "refused_wrong_tag", "refused_malformed",           \
        "datagrams_sent", "datagrams_received", "frames_sent", "bytes_sent", "calls_sent",         \
        "calls_received", "queue_full", "nonces_out", "not_up", "frames_ended", "send_retries",    \
        "send_errors", "seal_failures", "hellos_sent", "hellos_received", "pairs_up",              \
        "secrets_taken", "secrets_void", "ranges_proven", "ranges_taken", "ranges_refused",        \
        "fragments_timed_out", "fragments_evicted", "fragments_doubled", "fragments_unlike",       \
        "datagrams_too_long"

#define TRANSPORT_FRAMED_COUNTS (sizeof(struct transport_framed_counters) / sizeof(uint64_t))
_Static_assert(FRAME_TAKEN == 0 && FRAME_MALFORMED == 14 && FRAME_REFUSALS == 15,
               "order of the refusals");

#endif
