/* transport_rdma_nodes - two nodes with the rdma transport over a real device: node 1 in this process, and node 2 in one of
 * its own, which does what node 1 says, and is killed in the end.  For programs that run in the guest: what fails is
 * said to stdout, and ends them by 1.  See transport_rdma_guest.c. */
#ifndef DUNLIN_TESTS_UNIT_DATAPLANE_TRANSPORT_RDMA_NODES_H
#define DUNLIN_TESTS_UNIT_DATAPLANE_TRANSPORT_RDMA_NODES_H

#include "dataplane/transport_rdma.h"

#define HERE 1u /* nodes */
#define THERE 2u
#define CHUNK (UINT64_C(2) << 20)

/* What a node is asked.  TOKEN, REVOKE, BLANK (is nothing there?): of length bytes of its target from at on. */
enum what { ECHO, TOKEN, REVOKE, BLANK, ANNOUNCE, DISCONNECT, STREAM_BEGIN, STREAMED, REPLY };

struct command {
    uint32_t what, is_right;
    uint64_t n;
    uint32_t at, length;
    struct grant_token token;
    struct grant_proof proof;
};

/* How both are opened: arguments of the process of node 2. */
extern struct mode {
    uint32_t authentic, messages, sends;
    uint64_t start;
} mode;

extern struct stream {
    uint64_t to_send, sent, received;
} stream;

extern const char *addresses[2];
extern struct transport *t;
extern uint8_t *pattern, *target; /* chunks of log memory; pattern is the same in both nodes */
extern uint32_t self, peer;
extern uint64_t given_back, named; /* holds, connections */
extern struct command answer;      /* the last one */
extern uint64_t answers, wrong;    /* how many came, and how many of them said that it is not so */
extern uint64_t answers_wanted;

_Noreturn void fail(const char *what);
void check(bool is, const char *what);
uint32_t random_below(uint32_t bound);

/* ---- this node ---- */

void memory_open(void);
void node_open(void);
/* Node 2, until it is killed. */
_Noreturn void serve(void);
/* False: nothing was there to do. */
bool pass(void);
/* Passes until it is so, asleep between them. */
void await(bool (*is_so)(void), const char *what);
bool send_command(const struct command *c);

/* ---- both ---- */

void both_open(void);
void both_close(void);
void peer_start(void);
void peer_kill(void);
bool is_up(void);
/* Until the peer answers. */
void greet(void);
/* Until answers_wanted came. */
bool is_answered(void);
/* And wait for the answer. */
void ask(const struct command *c);

#endif
