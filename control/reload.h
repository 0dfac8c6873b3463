/* reload - reads the daemon's configuration again while it runs, and changes what can be changed.
 *
 *   agents.rate, agents.burst, agents.all   from now on, for agents that are attached, too
 *   certificates of the control plane       the files that the daemon started with are read again; what they say
 *                                           counts for connections made from now on
 *   cluster.replicas, cluster.nodes, zone   are for a cluster that begins, and the list is then kept by the nodes
 *   and weight of a node there              (dunlin node): they are named, and nothing is due
 *   every other key                         stays what it was until a restart: each that differs is named
 *
 * A file with faults changes nothing.  What a key is compared with is what the daemon runs with: one that stayed
 * differs again the next time.
 *
 * Report: a line PATH:LINE:COLUMN: KEY ... for each key that differs, faults as config.h has them, then one line
 * with the sum.  In the log:
 *   reload_kept key line             differs, needs a restart
 *   reload_failed path error         the file cannot be used; its faults are in the report, or on stderr
 *   reloaded path changed kept
 *
 * Control thread; blocks for as long as a file takes. */
#ifndef DUNLIN_CONTROL_RELOAD_H
#define DUNLIN_CONTROL_RELOAD_H

#include "control/config.h"
#include "dataplane/node.h"

#include <stdio.h>

struct reload {
    const char *path;       /* of the configuration; NULL: there is no file to read again */
    struct config *running; /* what the daemon runs with */
    struct node *node;
    /* Reads certificates again.  Returns 0, or -errno with faults on errors, and the old ones stay.  NULL: there
     * are none. */
    int (*certificates)(void *context, FILE *errors);
    void *context;
};

/* report: where lines go; NULL: to the log alone.  Returns how many things stayed as they were though the files
 * say otherwise, or
 *   -EOPNOTSUPP  there is no file
 *   or as config_load: nothing changed. */
int reload_run(struct reload *r, FILE *report);

#endif
