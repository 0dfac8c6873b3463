/* top_view - what `dunlin top` shows, as lines of text: two looks at a daemon and the time between them.
 *
 * No I/O and no clock.  A look is what `dunlin status --json` (with its member cluster) and `dunlin shards --json`
 * say; what one of them lacks, as a node alone lacks a cluster, is left out or "-".
 *
 * Rates are differences of the two looks; what began anew between them, as a restarted daemon does, has none.
 * Redundancy is of the shards that the node leads, since only a leader knows who holds what: a voter holds a shard
 * when it is up and lacks at most TOP_NEAR_BYTES of its log, or what was written to it in a second. */
#ifndef DUNLIN_CONTROL_TOP_VIEW_H
#define DUNLIN_CONTROL_TOP_VIEW_H

#include "engine/base.h"

#include <jansson.h>

#define TOP_NEAR_BYTES 65536.0
#define TOP_LINE_BYTES 256u

struct top_look {
    json_t *status, *shards; /* the caller's */
};

struct top_view {
    struct top_look before, now; /* before.status NULL: there was none */
    double seconds;              /* between them, above 0 */
};

/* Takes a line without its end; is_heading: it names columns. */
struct top_sink {
    void (*line)(void *context, bool is_heading, const char *text);
    void *context;
};

/* The node, its cluster, the redundancy, its spaces; the heading of the shards is the last line. */
void top_view_head(const struct top_view *v, const struct top_sink *sink);

/* A line for each shard, in their order, or those with the highest rate first. */
void top_view_shards(const struct top_view *v, bool by_rate, const struct top_sink *sink);

#endif
