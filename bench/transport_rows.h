/* transport_rows - what the transport bench asks, and the rows that answer it, over sockets and over ports alike. */
#ifndef DUNLIN_BENCH_TRANSPORT_ROWS_H
#define DUNLIN_BENCH_TRANSPORT_ROWS_H

#include "bench/report.h"
#include "bench/transport_side.h"

#define TRANSPORT_ROWS_KIB 1024u

struct transport_rows {
    struct report report;
    uint64_t deadline_ns; /* of the whole run */
    uint32_t left;        /* questions that are still to be asked, this one included */
};

/* A row or two: a message length under a way to send. */
struct transport_question {
    uint32_t length;
    bool stream; /* else round trips */
    bool authentic_only, plain_socket;
    uint32_t frame_bytes;
    struct pairs_goal goal;
};

/* What rows are called besides. */
struct transport_rows_names {
    const char *over;     /* in front of them: a port's driver; "": sockets */
    const char *baseline; /* what the raw side does */
};

/* Measure both sides in turn, within the share of the time that is left, and add the rows.  Returns 0 or -errno, which
 * ends the run. */
MUST_USE int transport_rows_ask(struct transport_rows *r, const struct transport_question *q,
                                const struct transport_rows_names *names,
                                struct transport_side *sealed, struct transport_side *raw);

#endif
