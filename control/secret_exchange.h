/* secret_exchange - frame_secrets at work: over control_net, with the kernel's random numbers, into the memory that
 * the lcores read.
 *
 * What is void is overwritten here, in the table and in the transports.  Not so the copies that TLS, its queues and
 * the kernel made on the way: they lie in memory that was given back, until something else is written there.
 *
 * open, close: any thread.  What lies between: the thread of control_net's loop, from attach on; NULL for x
 * does nothing.
 *
 * Log events:
 *   frame_secret peer start number        frames to that start of that node are sealed with the secret of that
 *                                         number from now on
 *   frame_keys_differ peer help           it has a key file and this node has none, or the other way round: neither
 *                                         opens the other's frames */
#ifndef DUNLIN_CONTROL_SECRET_EXCHANGE_H
#define DUNLIN_CONTROL_SECRET_EXCHANGE_H

#include "control/control_net.h"
#include "dataplane/pair_secrets.h"

struct secret_exchange;

struct secret_exchange_config {
    uint32_t node;
    uint64_t start;
    /* Outlives the exchange; NULL: secrets come from a file, and what is exchanged is that. */
    struct pair_secrets *shared;
    uint64_t age_ns, grace_ns; /* as in frame_secrets_config */
};

/* Returns 0 or -ENOMEM. */
MUST_USE int secret_exchange_open(struct secret_exchange **x,
                                  const struct secret_exchange_config *config);
/* All secrets are overwritten, those in shared, too: what transports have taken they keep until they are
 * closed.  x may be NULL. */
void secret_exchange_close(struct secret_exchange *x);

/* Where messages go, and of which type they are.  net NULL: nowhere. */
void secret_exchange_attach(struct secret_exchange *x, struct control_net *net, uint8_t type);

/* As control_net told. */
void secret_exchange_link(struct secret_exchange *x, uint32_t node, bool up);
void secret_exchange_received(struct secret_exchange *x, uint32_t node, const uint8_t *bytes,
                              size_t length);

/* Time has passed: every second or sooner. */
void secret_exchange_step(struct secret_exchange *x);

/* As frame_secrets. */
void secret_exchange_renew(struct secret_exchange *x);
void secret_exchange_forget(struct secret_exchange *x, uint32_t node);

#endif
