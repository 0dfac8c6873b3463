/* server - the daemon's Unix socket: agents attach here, and ask for status.
 *
 * One connection is one attachment at most; it ends with the connection, and the connection ends
 * when the peer dies, breaks the protocol, does not read its answers, or damages its memory.  What
 * peers ask is judged by attach_validate.h; who they are is SO_PEERCRED of the connection.
 *
 * Only root and the daemon's own uid may move leaders.  What it is like in the cluster is told to
 * everybody who can connect, as the status is.
 *
 * Bounded, so that no peer hurts another:
 *   connections      SERVER_CONNECTIONS in all; one uid that is neither root nor the daemon's own
 *                    holds at most SERVER_CONNECTIONS_PER_UID; one that has not said HELLO
 *                    is closed after SERVER_IDLE_NS without a request; who comes more often
 *                    than 200 times a second, in the long run, waits his turn
 *   requests         SERVER_REQUESTS_PER_TURN per connection and loop iteration, and a token bucket
 *                    each; who is faster is not read for a while
 *   status, nodes,   text for strangers is at most SERVER_STATUS_AGE_NS old, not made for each; where it
 *   shards           takes long to make it may be older, so that making it takes a fiftieth of the time
 *   answers          never waited for: a peer whose socket is full is closed
 *   descriptors      when they run out, nobody is accepted for SERVER_PAUSE_NS
 *
 * Control thread, on its libuv loop; registered with rcu.h and offline.  Never blocks, but for the
 * grace period of a detach. */
#ifndef DUNLIN_CONTROL_SERVER_H
#define DUNLIN_CONTROL_SERVER_H

#include "control/node_words.h"
#include "control/status.h"
#include "dataplane/node.h"

#include <stdio.h>
#include <uv.h>

#define SERVER_CONNECTIONS (LIMIT_AGENTS + 128u)
#define SERVER_CONNECTIONS_PER_UID (LIMIT_AGENTS_PER_UID + 64u)
#define SERVER_ACCEPTS_PER_TURN 16u
#define SERVER_REQUESTS_PER_TURN 8u
#define SERVER_IDLE_NS (10 * NS_PER_S)
#define SERVER_PAUSE_NS (100 * NS_PER_MS)
#define SERVER_STATUS_AGE_NS (20 * NS_PER_MS)

struct server;

/* Of one shard, as the cluster's side knows it. */
enum server_shard_state {
    SERVER_SHARD_ACTIVE,
    SERVER_SHARD_PENDING, /* without an active leader now */
    SERVER_SHARD_MOVING,  /* another node is to lead it */
    SERVER_SHARD_LOST,    /* never to be recovered */
};
struct server_shard_asked {
    uint32_t log, lcore;
    uint32_t number; /* among those of its lcore, by space and shard */
};
struct server_shard {
    uint32_t leader; /* node; 0: nobody */
    uint64_t epoch;
    enum server_shard_state state;
    uint32_t voter_count, learner_count;
    uint32_t voters[LIMIT_VOTERS], learners[LIMIT_PEERS]; /* nodes */
    uint32_t peer_count;                                  /* below; 0: it is not led here */
    struct {
        uint32_t node;
        uint64_t missing; /* bytes of log */
    } peers[LIMIT_VOTERS];
};

/* A node that is to come or go. */
enum server_node_kind {
    SERVER_NODE_ADD,
    SERVER_NODE_DRAIN,
    SERVER_NODE_UNDRAIN,
    SERVER_NODE_REMOVE,
};
struct server_node_asked {
    enum server_node_kind kind;
    uint32_t id;
    struct node_words words; /* ADD */
};

/* What only the cluster's side of a daemon can answer.  Called on the control thread; neither may
 * block for longer than a file takes. */
struct server_admin {
    /* Lead the logs first_log .. last_log, both included, by that node.  Returns how many shards
     * are to move, or -ENOENT no such node or shard, -EAGAIN a shard has no leader yet, another
     * -errno. */
    int64_t (*move)(void *context, uint32_t first_log, uint32_t last_log, uint32_t node);
    /* Change who is of the cluster.  Returns 0 or more: it is decided; or -errno as dunlin_node_add says. */
    int64_t (*node)(void *context, const struct server_node_asked *asked);
    /* Begin lost shards again, of the logs first_log .. last_log, by the log of node from, 0: the best.  Returns
     * how many, or -errno as dunlin_recover says. */
    int64_t (*recover)(void *context, uint32_t first_log, uint32_t last_log, uint32_t from);
    /* The cluster as one JSON object, the caller's to free; NULL: no memory. */
    char *(*nodes_json)(void *context);
    /* Who leads a shard, and how far others are behind; fills all of *told. */
    void (*shard)(void *context, const struct server_shard_asked *asked, struct server_shard *told);
    void *context;
};

/* Spaces that are made, altered and dropped while the node runs: what administrators ask for.  Called on the
 * control thread.  Each returns the id of the space, or -errno as dunlin.h says. */
struct server_spaces {
    /* id 0: choose one. */
    int (*create)(void *context, const struct space_config *config);
    /* words: space_words.h */
    int (*alter)(void *context, const char *name, const char *words);
    int (*drop)(void *context, const char *name);
    void *context;
};

/* The configuration, read again: what administrators ask for.  Called on the control thread; lines for people go to
 * report.  Returns as reload_run. */
struct server_reload {
    int (*run)(void *context, FILE *report);
    void *context;
};

/* Serve node on a nonblocking listening SOCK_SEQPACKET descriptor, which stays the caller's.
 * own_uid: the daemon's.  node and loop outlive the server.  Returns 0, -ENOMEM, or -errno of
 * libuv. */
MUST_USE int server_open(struct server **server, uv_loop_t *loop, struct node *node, int listen_fd,
                         uint32_t own_uid);

/* From now on the node is one of a cluster, which admin speaks for; it outlives the server.
 * Without, or with NULL, the node is alone. */
void server_set_admin(struct server *s, const struct server_admin *admin);

/* From now on spaces can be made; spaces outlives the server.  Without they cannot. */
void server_set_spaces(struct server *s, const struct server_spaces *spaces);

/* From now on the configuration can be read again; reload outlives the server.  Without it cannot. */
void server_set_reload(struct server *s, const struct server_reload *reload);

/* Detach every agent that an lcore or the guard found at fault.  Call when lcores woke control. */
void server_detach_faulty(struct server *s);

/* Stop listening and detach everybody.  Then run the loop until its handles are closed, and free.
 */
void server_stop(struct server *s);
void server_free(struct server *s);

/* What it counted; connections is the present number. */
void server_counts(const struct server *s, struct status_server *counts);

#endif
