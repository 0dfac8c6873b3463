/* dev - `dunlind dev`: a whole cluster in one process, for development.
 *
 * What it adds to daemon.h: a directory for the sockets, configurations for nodes 1 .. N (one lcore
 * each, which sleeps when idle), and one coordinator for all of them (coordinator_script.h), which
 * leaves leadership at node 1 unless it is told to move it about (dev_moves.h).  No node survives
 * another: it is one process.
 *
 *   DIR/node1.sock ...         sockets, mode 0600
 *   DIR/node1.sock.state ...   what the next start in DIR must be above (listener.h)
 *   DIR/node1.sock.spaces      of a node alone: spaces made while it runs (space_keeper.h).  Several nodes have
 *                              those of their beginning, and no nodes come or go
 *
 * When it serves it prints a line `node ID socket PATH` for each node, and then `ready`. */
#ifndef DUNLIN_CONTROL_DEV_H
#define DUNLIN_CONTROL_DEV_H

#include "control/config.h"

#define DEV_NODES_DEFAULT 3u
#define DEV_NODES_MAX LIMIT_PROCESS_NODES

struct dev_options {
    uint32_t node_count; /* 1 .. DEV_NODES_MAX */
    const char
        *directory;     /* made (0700) if it is missing, and kept; NULL: a fresh private one below
                            * $XDG_RUNTIME_DIR, else /tmp, that is removed at the end */
    const char *spaces; /* file: a configuration or its spaces alone; NULL: spaces airspace and
                            * fleet, for root and our own uid */
    uint32_t
        moves_ms; /* leadership leaves node 1 so often, for a moment; 0: never.  Several nodes */
};

/* Configurations for the nodes, whose sockets lie in directory (absolute).  Faults of the file are
 * lines on errors.  Returns 0, -ENAMETOOLONG (no socket fits there), or as config_load. */
MUST_USE int dev_configure(const struct dev_options *o, const char *directory,
                           struct config configs[DEV_NODES_MAX], FILE *errors);

/* Serve until SIGTERM or SIGINT, after daemon_prepare.  Returns the exit code of the program: 0; 1,
 * it could not start; 2, the directory or the file is of no use; stderr says why. */
MUST_USE int dev_run(const struct dev_options *o);

#endif
