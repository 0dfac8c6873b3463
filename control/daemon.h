/* daemon - the nodes of one process on one libuv loop: start, serve, stop.
 *
 * `dunlind --config` has one node, `dunlind dev` a whole cluster.  Each node has its own place in
 * the file system, memory, keeper, server and lcores; they share the control thread, its loop, and
 * what a process has once: signals, descriptors, the guard's table (guard.h).
 *
 * Nodes of one process are one start: they take the same start number and begin their logs at the
 * same LSN, above those of all that any of them had before.
 *
 * Order: every node's socket and memory, then join, then every node's lcores, then the servers.  To
 * end, all lcores stop before any node's memory goes: lcores may read what belongs to another node.
 *
 * Control thread, which daemon_prepare makes of its caller. */
#ifndef DUNLIN_CONTROL_DAEMON_H
#define DUNLIN_CONTROL_DAEMON_H

#include "control/config.h"
#include "control/server.h"

/* How long leadership may take to go elsewhere once the daemon is to end. */
#define DAEMON_DRAIN_NS (5 * NS_PER_S)

/* What a program adds; each may be NULL. */
struct daemon_hooks {
    /* The start number is known, and no memory is made yet.  *lsn_origin: as it comes, the LSN ceiling of
     * earlier starts, 0: not known; then where logs begin, 0: where the daemon likes.  0, or -errno: the
     * start fails. */
    int (*begin)(void *context, uint64_t start, uint64_t *lsn_origin);
    /* Before the lcores start: make the nodes a cluster.  0, or -errno: the start fails; -ECANCELED: it was
     * asked to end meanwhile. */
    int (*join)(void *context, struct node *const *nodes, uint32_t node_count);
    /* After they stopped, if begin or join was well: take it back. */
    void (*leave)(void *context);
    /* While it serves: lcores woke control, fd (-1: none) is readable, or period_ms (0: KEEPER_PERIOD_MS)
     * are over.  fd counts from after join.  0, or -errno: the daemon ends at once, and daemon_serve returns
     * it. */
    int (*step)(void *context);
    int (*fd)(void *context);
    /* From begin on, asked after every step: up to where logs may go.  is_short: one comes near that. */
    uint64_t (*lsn_granted)(void *context, bool is_short);
    uint32_t period_ms;
    /* It is to end: called with every step until it is true, at most for DAEMON_DRAIN_NS; a second signal
     * ends at once. */
    bool (*drain)(void *context);
    const struct server_admin *admin; /* what servers ask for administrators; outlives the daemon */
    const struct server_spaces *spaces; /* likewise, for spaces that are made while it runs */
    /* All of it serves. */
    void (*ready)(void *context);
    /* Of the one node of the process, to be read again by SIGHUP and `dunlind --reload`; NULL: it is not. */
    const char *config_path;
    int (*certificates)(void *context, FILE *errors); /* as reload.h says */
    /* How long a thread that the hooks' owner has made no progress: service.h. */
    uint64_t (*silent_ns)(void *context);
    void *context;
};

/* Once in a process, before its threads: SIGTERM and SIGINT are held until it serves, and again
 * from when one came (so that each end is a clean one), SIGPIPE is ignored, and the thread is known
 * to rcu.h, offline. */
void daemon_prepare(void);

struct daemon;

/* Start a node for each of node_count configurations (1 .. LIMIT_PROCESS_NODES), which are copied.
 * Returns 0, or -errno with nothing left behind; the log says which step of which node failed. */
MUST_USE int daemon_start(struct daemon **d, const struct config *configs, uint32_t node_count,
                          const struct daemon_hooks *hooks);

/* Serve until SIGTERM or SIGINT: 0; or until a step says that it is to end: what it returned. */
MUST_USE int daemon_serve(struct daemon *d);

/* Stop what still runs, and free all of it. */
void daemon_stop(struct daemon *d);

/* The nth node, good until daemon_stop. */
struct node *daemon_node(struct daemon *d, uint32_t number);

#endif
