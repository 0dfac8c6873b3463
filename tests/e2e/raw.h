/* raw - an agent without libdunlin: speaks the attach protocol and the rings itself, and can say
 * what the library never would.
 *
 * The peer is the daemon under test and behaves; what cannot be carried out is an error code, since
 * to be refused is what a hostile agent expects. */
#ifndef DUNLIN_TESTS_E2E_RAW_H
#define DUNLIN_TESTS_E2E_RAW_H

#include "engine/agent/attach_protocol.h"
#include "engine/base.h"
#include "engine/layout.h"
#include "engine/ring.h"

/* Connected, or -errno. */
MUST_USE int raw_connect(const char *socket_path);

/* One request and its answer.  fds has room for ATTACH_FDS_MAX and is the caller's to close; answer
 * tells how many really came (fd_count).  Returns 0 (the answer may be an error), -EPIPE the daemon
 * ended the connection, -ETIMEDOUT. */
MUST_USE int raw_exchange(int fd, const struct attach_request *request,
                          struct attach_answer *answer, int *fds);

struct raw {
    int socket;
    struct attach_answer hello;
    int fds[ATTACH_FDS_MAX];
    uint32_t fd_count;
    const struct layout_node *node;
    struct layout_doorbell *doorbell;
    uint8_t *file;
    uint64_t tag;
    struct ring request[LIMIT_LCORES], completion[LIMIT_LCORES];
};

struct raw_options {
    const char *socket_path;
    uint32_t ring_bytes; /* of every ring */
    uint32_t bulk_bytes;
};

/* Attach.  Returns 0, or -errno with nothing held. */
MUST_USE int raw_open(struct raw *r, const struct raw_options *options);
void raw_close(struct raw *r);

struct raw_space {
    int fd;
    uint64_t bytes;
    uint32_t id;
    const struct layout_space *header;
    const struct layout_board *boards;
    int chunk_fd; /* of chunk 0, -1: none */
    uint64_t chunk_bytes;
};

/* Map a space's file and get its first chunk.  Returns 0 or -errno, the daemon's refusal. */
MUST_USE int raw_space_open(struct raw *r, const char *name, struct raw_space *s);
void raw_space_close(struct raw_space *s);

struct raw_message {
    struct ring_request request; /* head.length 0: the right one; tag is set here */
    const void *key, *value;
    uint32_t key_bytes, value_bytes; /* what there really is, whatever the request says */
};

/* Put a message into the ring of an lcore and ring the bell.  Returns 0, -EAGAIN full, -EMSGSIZE,
 * -EPROTO. */
MUST_USE int raw_send(struct raw *r, uint32_t lcore, const struct raw_message *m);
/* The doorbell bit, and the eventfd if the lcore sleeps. */
void raw_bell(struct raw *r, uint32_t lcore);
/* Next completion.  Returns 0, -ETIMEDOUT, -EPIPE detached, -EPROTO. */
MUST_USE int raw_receive(struct raw *r, uint32_t lcore, struct ring_completion *c,
                         uint64_t timeout_ms);
/* Both: the status (enum ring_status), or -errno. */
MUST_USE int raw_ask(struct raw *r, uint32_t lcore, const struct raw_message *m,
                     struct ring_completion *c);
/* The daemon ended the attachment. */
bool raw_detached(const struct raw *r);

/* Shard of a key and the lcore that owns it. */
uint32_t raw_shard(const struct raw_space *s, const void *key, size_t key_length);
/* A request of this operation with space, shard and lengths set right. */
struct raw_message raw_message_make(const struct raw_space *s, uint8_t operation, const char *key,
                                    const void *value, uint32_t value_length);
/* Open a session in a shard.  0 and its slot and LSN, or a status, or -errno. */
struct raw_session {
    uint8_t id[16];
    uint32_t shard, slot;
    uint64_t lsn;
};
MUST_USE int raw_session_open(struct raw *r, const struct raw_space *s,
                              struct raw_session *session);

#endif
