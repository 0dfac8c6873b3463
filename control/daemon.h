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

/* What a program adds; each may be NULL. */
struct daemon_hooks {
    /* Before the lcores start: make the nodes a cluster.  0, or -errno: the start fails. */
    int (*join)(void *context, struct node *const *nodes, uint32_t node_count);
    /* After they stopped, if join was well: take it back. */
    void (*leave)(void *context);
    /* All of it serves. */
    void (*ready)(void *context);
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

/* Serve until SIGTERM or SIGINT. */
void daemon_serve(struct daemon *d);

/* Stop what still runs, and free all of it. */
void daemon_stop(struct daemon *d);

/* The nth node, good until daemon_stop. */
struct node *daemon_node(struct daemon *d, uint32_t number);

#endif
