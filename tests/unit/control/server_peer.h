/* server_peer - a peer of the server for its tests: speaks the attach protocol by hand.
 *
 * Server and peers share one thread: server_peer_pump gives the server's loop turns, so a test
 * decides when the server sees what. */
#ifndef DUNLIN_TESTS_SERVER_PEER_H
#define DUNLIN_TESTS_SERVER_PEER_H

#include "control/connection.h"
#include "control/listener.h"

struct fixture {
    char directory[64];
    char path[96];
    struct listener listener;
    struct node node;
    uv_loop_t loop;
    struct server *server;
};

/* Node with two lcores that do not run, and two spaces: "open" to all, "closed" to root and own
 * uid. */
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);

/* Let the loop handle what is there, and what follows from it. */
void fixture_pump(struct fixture *f);
/* Let it go on until done(context), at most 20 s.  Returns what done said last. */
bool fixture_wait(struct fixture *f, bool (*done)(void *context), void *context);

struct reply {
    struct attach_answer message;
    int fds[ATTACH_FDS_MAX];
    uint32_t fd_count;
};

/* A connected, nonblocking socket, not yet accepted. */
int peer_connect(const struct fixture *f);
/* Returns 0 or -errno. */
int peer_send(int fd, const void *bytes, size_t length);
/* Returns 1 an answer, 0 the server closed, -EAGAIN nothing yet. */
int peer_receive(int fd, struct reply *reply);
void reply_close(struct reply *reply);

/* Send, pump, receive; as peer_receive. */
int peer_ask(struct fixture *f, int fd, const struct attach_request *request, struct reply *reply);
struct attach_request request_hello(void);
struct attach_request request_of(uint32_t kind);
struct attach_request request_space(const char *name);
struct attach_request request_chunk(uint32_t space, uint32_t chunk);
/* Connect and say HELLO; the reply's descriptors are closed. */
int peer_attach(struct fixture *f, struct reply *reply);

/* Have talk speak to the server from another process and as another user (root only), while the loop goes on:
 * it returns what is wrong, as a number from 3 on, or 0, which is asserted. */
void peer_as_stranger(struct fixture *f, int (*talk)(int fd));

struct status_server counts_of(const struct fixture *f);

/* For fixture_wait: has an answer come?  It is kept. */
struct waiting {
    int fd;
    struct reply reply;
    bool answered;
};
bool is_answered(void *context);

/* xorshift64*: any numbers, the same ones every time. */
uint64_t next_random(uint64_t *state);

int open_fds(void);

#endif
