/* rdma_ends - endpoints of the rdma transport on a fabric without devices, driven by one thread with a clock of its
 * own: nodes 7 and 3, and 9 where a test has it come. */
#ifndef DUNLIN_TESTS_UNIT_DATAPLANE_RDMA_ENDS_H
#define DUNLIN_TESTS_UNIT_DATAPLANE_RDMA_ENDS_H

#include "dataplane/transport_rdma.h"
#include "tests/unit/dataplane/rdma_fabric.h"

#define A 7u /* node ids */
#define B 3u
#define C 9u
#define PASSES 20000u /* what has not come by then never comes */
#define LOG_BYTES (UINT64_C(1) << 18)
#define HALF (LOG_BYTES / 2) /* a's log; b's is behind it */

extern struct transport_framed_config config_a, config_b, config_c;
extern struct transport *a, *b, *c;
extern struct transport_received in[256];
extern uint64_t holds[2048];
extern uint8_t *bytes; /* of the log of a */
extern uint8_t *there; /* of the log of b */
extern uint64_t now;
extern struct transport_framed_counters counters; /* of what was counted last */
extern struct transport_rdma_counters rdma_counters;

/* Configurations of two that come up with each other: tags alone, log writes; and a fabric as a port has it. */
void configure(void);
void open_both(void);
/* c, with both. */
void open_third(void);
/* All receive once, and nothing comes; a millisecond goes by. */
void pass(void);
void come_up(void);
void open_up(void);
/* No connection is left then, nothing is held, and no device has refused anything. */
void close_both(void);

void count(const struct transport *t);
struct transport_datagram datagram(uint32_t to, const char *head, uint32_t length);
bool send_one(struct transport *t, uint32_t to, const char *head, uint32_t length);
/* Send what is queued; holds that came back. */
uint32_t complete(struct transport *t);
/* Wait for one datagram at t, with time going by: in[0]. */
bool comes(struct transport *t);
/* Whether it is this one, aligned, with the bytes that send_one sends. */
bool is(const struct transport_received *r, const char *head, uint32_t length);
/* The token for memory at there + at, of b for a; the test ends if there is none.  It may be used. */
struct grant_token token(uint64_t at, uint64_t length);
/* It may be used when b has posted, and that was delivered. */
struct grant_token token_staged(uint64_t at, uint64_t length);
/* Log write of a: its bytes from at on, to the same place at b. */
int write_at(uint64_t at, uint32_t length, struct grant_token to, uint64_t hold);

#endif
