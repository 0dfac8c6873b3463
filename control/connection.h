/* connection - one peer of the server; internal to it (server.c, connection.c, answer.c). */
#ifndef DUNLIN_CONTROL_CONNECTION_H
#define DUNLIN_CONTROL_CONNECTION_H

#include "control/server.h"
#include "control/waker.h"
#include "engine/agent/attach_protocol.h"

struct connection {
    uv_poll_t poll;
    struct server *server;
    struct agent *agent; /* NULL before HELLO */
    int fd;
    uint32_t uid;
    int32_t pid;
    uint32_t place; /* in server.connections */
    uint64_t attached_ns;
    uint64_t asked_ns; /* the last request, or the accept; CLOCK_BOOTTIME */
    uint64_t requests; /* bucket */
    const char *words; /* of the request that is being answered; NULL: it has none */
    bool watches;      /* it was counted by server.waker */
    bool paused;       /* not read for now: */
    bool admitted; /* false: its user came too often, and waits for a token of server.visitors */
};

/* How often users that are not trusted came.  When there are more of them than entries, the one
 * that has been quiet longest makes room. */
#define SERVER_VISITORS 64u
struct visitor {
    uint32_t uid;
    uint64_t bucket;
};

/* JSON as it was made last; NULL: never. */
struct server_text {
    char *text;
    uint64_t made_ns, took_ns;
};

struct server {
    struct node *node;
    uv_loop_t *loop;
    uv_poll_t listen;
    uv_timer_t tick; /* runs only while somebody waits for it */
    struct waker waker;
    int listen_fd;
    uint32_t own_uid;
    uint32_t handles_open; /* of libuv: listen, tick, waker, every connection's */
    uint32_t connection_count;
    bool stopping;
    bool paused; /* not accepting, until: */
    uint64_t paused_until_ns;
    int accept_error; /* that the log knows of */
    uint64_t started_boottime_ns;
    struct status_server counts;
    const struct server_admin *admin;   /* NULL: alone */
    const struct server_spaces *spaces; /* NULL: none is made while it runs */
    const struct server_reload *reload; /* NULL: there is no configuration to read again */
    struct server_text status, nodes, shards;
    struct server_text status_trusted; /* with what is not for strangers */
    struct visitor visitors[SERVER_VISITORS];
    struct connection *connections[SERVER_CONNECTIONS];
};

static inline bool server_trusts(const struct server *s, uint32_t uid)
{
    return uid == 0 || uid == s->own_uid;
}

/* Have connection_tick called on everybody soon. */
void server_tick_start(struct server *s);

/* May this user's next connection be served now?  Takes a token if so. */
bool server_admits(struct server *s, uint32_t uid, uint64_t now_ns);

/* Take a connected socket.  Returns 0: it is the server's; or -ENOMEM, -errno: it is the caller's.
 */
MUST_USE int connection_open(struct server *s, int fd, uint32_t uid, int32_t pid);

/* Detach its agent, close it, forget it.  why: a word for the log. */
void connection_close(struct connection *c, const char *why);

/* Go on with a peer that had to wait; close one that never said HELLO.  True: call again later. */
bool connection_tick(struct connection *c, uint64_t now_ns);

/* An answer and its descriptors, in order.  Those from fds_own on are closed after sending. */
struct answer {
    struct attach_answer message;
    int fds[ATTACH_FDS_MAX];
    uint32_t fds_own; /* number of the first one; fd_count: none */
};

/* Do what a validated request asks. */
void answer_make(struct connection *c, const struct attach_request *request, struct answer *answer);

/* Send it, without waiting.  Returns 0, or -errno: close the connection. */
MUST_USE int answer_send(const struct connection *c, struct answer *answer);

#endif
