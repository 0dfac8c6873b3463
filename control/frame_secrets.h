/* frame_secrets - how the two ends of each pair of nodes come to share secrets for their frames, over the control
 * plane's connections: the protocol, and nothing else.
 *
 * Pure; one thread, the one of the connections.  A secret belongs to one pair of starts.  The node of the lower id
 * draws it, the other one learns it, both give it to their lcores (pair_secrets.h).  Who tells whom what:
 *
 *   START   both, when their connection is up: my start; yours, and the newest of our secrets, as I know them
 *   SECRET  lower to higher: a number, and the secret of that number
 *   HELD    higher to lower: my lcores may open with that one, and seal with it from now on
 *   DONE    lower to higher: nothing is sealed with the one before any more, forget it
 *   RENEW   higher to lower: the key of that number is used up
 *
 *   lower            higher
 *     |<--- START -----|
 *     |---- SECRET 1 ->|      both open and seal with 1
 *     |<--- HELD 1 ----|
 *     :                :      an hour, or FRAME_KEY_BLOCKS
 *     |---- SECRET 2 ->|      lower opens with 1 and 2, seals with 1; higher opens with both, seals with 2
 *     |<--- HELD 2 ----|      lower seals with 2, and FRAME_SECRETS_GRACE_NS later forgets 1
 *     |---- DONE 2 --->|      higher forgets 1
 *
 * So at no time does one seal with what the other may not open, wherever the connection breaks: with the next START
 * it goes on from what the higher one holds.  Without a connection nothing is drawn, and what there is stays.
 *
 * A newer start of the peer voids what was shared with the one before at once; an older one is not heard.  Each node
 * says also whether its secrets come from a file: of two that differ in that none can open the other's frames.
 *
 * A message, integers little-endian, newer releases may append:
 *    0   1  1, the version      1   1  kind      2   1  1: my secrets come from a file      3   1  0
 *    4   4  number              8   8  start of the sender
 *   16   8  start of the receiver, as the sender knows it; 0: it does not
 *   24  32  SECRET: the secret; else zeros
 *
 * Time: nanoseconds of a clock that does not go back.
 * Source: Needham and Schroeder (1978) for a key that one side makes and both have shown to hold; the overlap of keys
 * as in RFC 9001, 6.5. */
#ifndef DUNLIN_CONTROL_FRAME_SECRETS_H
#define DUNLIN_CONTROL_FRAME_SECRETS_H

#include "dataplane/pair_secrets.h"

#define FRAME_SECRETS_MESSAGE_BYTES 56u
/* How long the secret before the newest still opens: frames on their way, an lcore that does not run. */
#define FRAME_SECRETS_GRACE_NS (10 * NS_PER_S)
/* Who reads the memory of a node reads what was recorded of its frames of so long, and no more. */
#define FRAME_SECRETS_AGE_NS (3600 * NS_PER_S)

struct frame_secrets_config {
    uint32_t node;
    uint64_t start;
    bool has_file;
    uint64_t age_ns, grace_ns; /* 0: as above */
};

/* What it asks of its edge, from within frame_secrets_step.  False: not now; it asks again with a later step. */
struct frame_secrets_edge {
    bool (*draw)(void *context, uint8_t bytes[FRAME_SECRET_BYTES]);
    /* Give the lcores what is shared with a node now. */
    bool (*share)(void *context, uint32_t node, const struct pair_secrets_view *view);
    bool (*send)(void *context, uint32_t node, const uint8_t *bytes, uint32_t length);
    /* The secret that lcores have used up, of that node. */
    uint32_t (*spent)(void *context, uint32_t node);
    void *context;
};

struct frame_secrets_peer {
    uint32_t node; /* 0: nobody's */
    bool is_linked;
    bool is_met;             /* said START over this link: its start is known for sure */
    bool is_told;            /* its secrets come from elsewhere than ours, and it was said */
    bool is_changed;         /* the lcores do not know yet */
    bool wants;              /* another secret is to be drawn */
    uint32_t owed;           /* messages, a bit for each kind */
    uint32_t floor;          /* a secret that is drawn has a higher number */
    uint32_t held;           /* the lower's: newest that the peer holds */
    uint32_t renewed;        /* the higher's: last one that it asked to be renewed */
    uint32_t worn;           /* is used up, says frame_secrets_renew */
    uint64_t start;          /* of the peer; 0: not known */
    uint64_t since, void_at; /* when the newest came; when the one before is void: the lower's */
    struct pair_secrets_view shared;
};

struct frame_secrets {
    struct frame_secrets_config config;
    struct frame_secrets_peer peers[LIMIT_NODES];
};

void frame_secrets_init(struct frame_secrets *s, const struct frame_secrets_config *config);

/* A connection is up, or down. */
void frame_secrets_link(struct frame_secrets *s, uint32_t node, bool up);

/* A message of that node, of which nothing is trusted but who sent it.  Returns 0, or
 *   -EPROTO  no message, or one that is not for who it came to: drop it
 *   -EXDEV   said once for a link: one of the two has a key file and the other has not; they share nothing. */
MUST_USE int frame_secrets_received(struct frame_secrets *s, uint32_t node, const uint8_t *bytes,
                                    uint64_t length);

/* Do what is due: behind link and received, and again every second or sooner. */
void frame_secrets_step(struct frame_secrets *s, uint64_t now,
                        const struct frame_secrets_edge *edge);

/* Let all secrets be followed by others. */
void frame_secrets_renew(struct frame_secrets *s);

/* The node is none of the cluster any more: nothing is shared with it. */
void frame_secrets_forget(struct frame_secrets *s, uint32_t node);

#endif
