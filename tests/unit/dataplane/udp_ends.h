/* udp_ends - two endpoints of the udp transport on the loopback interface, driven by one thread with a
 * clock of its own: directly, or with the wire between them in the hands of the test. */
#ifndef DUNLIN_TESTS_UNIT_DATAPLANE_UDP_ENDS_H
#define DUNLIN_TESTS_UNIT_DATAPLANE_UDP_ENDS_H

#include "dataplane/transport_udp.h"

#define WAIT_MS 20000 /* what has not come by then never comes */
#define CLUSTER UINT64_C(0xc1c1)
#define CAUGHT_MAX 64u

struct frame_on_wire {
    bool from_a;
    uint32_t length;
    uint8_t frame[FRAME_BYTES_MAX + 8];
};

extern const struct transport_framed_secret secrets[2];
extern struct transport_framed_config config_a, config_b;
extern struct transport_udp_socket socket_a, socket_b; /* of those */
extern struct transport *a, *b;                        /* nodes 7 and 3 */
extern struct transport_received in[256];
extern uint64_t holds[TRANSPORT_FRAMED_HOLDS];
extern uint8_t bytes[FRAME_LENGTH_MAX];
extern uint64_t now;
extern struct transport_framed_counters counters; /* as last counted */
extern struct transport_udp_counters udp_counters;

extern int wire;                                /* each endpoint takes it for its peer */
extern struct frame_on_wire caught[CAUGHT_MAX]; /* frames off the wire */
extern struct frame_on_wire hello_a, hello_b;   /* the last HELLO of each */

/* Configurations of two that come up with each other. */
void configure(void);
struct sockaddr_storage loopback(sa_family_t family, uint16_t port);
struct sockaddr_storage address_of(int fd);

/* As configured, without a wire; up. */
void introduce(struct transport *t, struct transport *to);
void open_both(void);
void come_up(void);
void open_up(void);
/* The same with the wire. */
struct transport *wire_open_one(const struct transport_framed_config *config, uint32_t peer);
void wire_open_both(void);
void wire_come_up(void);
void wire_open_up(void);
/* Either. */
void close_both(void);

struct transport_datagram datagram(uint32_t to, const char *head, uint32_t length);
bool send_one(struct transport *t, uint32_t to, const char *head, uint32_t length);
/* Send what is queued. */
void flush(struct transport *t);
/* Receive what is there by now; waits a little when there is nothing. */
uint32_t receive(struct transport *t, uint32_t count);
/* Wait for one datagram at t: in[0]. */
bool comes(struct transport *t);
/* Whether it is this one, aligned, with the bytes that send_one sends. */
bool is(const struct transport_received *r, const char *head, uint32_t length);
/* Set counters and udp_counters. */
void count(const struct transport *t);
/* Wait for a counter (a member of counters or udp_counters) of t to reach so much, and see that it goes no further.
 * Datagrams must not come meanwhile. */
bool reaches(struct transport *t, const uint64_t *counter, uint64_t wanted);
bool refuses(struct transport *t, enum frame_refusal refusal, uint64_t wanted);

bool is_hello(const struct frame_on_wire *f);
/* A frame off the wire, if there is one by then. */
bool wire_take(struct frame_on_wire *f, int ms);
/* The same, no HELLO, or the test ends. */
void wire_take_next(struct frame_on_wire *f);
/* To the endpoint that it is meant for. */
void wire_put(const struct frame_on_wire *f);
/* Send one from a to b and catch its frames.  Returns how many. */
uint32_t wire_catch(const char *head, uint32_t length);

#endif
