/* watchers - a child process whose threads each wait in a watch of their own at a daemon, as a thousand agents
 * do that want to be told.  Or, for a baseline, one that keeps its processor and the memory as busy and has
 * nothing to do with the daemon. */
#ifndef DUNLIN_BENCH_WATCHERS_H
#define DUNLIN_BENCH_WATCHERS_H

#include "bench/daemon.h"

#define WATCHERS_COUNT 1000u

struct watchers_what {
    const char *space;
    const char *prefix; /* NULL: all keys */
    uint32_t cpu;       /* place of machine_pin */
    bool
        is_neighbour; /* nobody watches: one thread reads memory of its own as cursors would read a log, */
    bool copies; /* and copies it, as those do for which all matches */
};

struct watchers {
    pid_t pid;
    struct watchers_shared *shared;
    uint64_t running_ns, since_ns; /* by the clock; since_ns 0: they stand still */
};

struct watchers_counted {
    uint64_t events, lags;
    double cores; /* that it used while it ran */
};

/* Fork it; returns when all watch.  d is not asked by a neighbour.  It dies with us.  Returns 0, or -errno after a word on stderr. */
MUST_USE int watchers_start(struct watchers *w, const struct daemon *d,
                            const struct watchers_what *what);
void watchers_stop(struct watchers *w);

/* Have all its threads stand still, and go on; both return when they do. */
void watchers_pause(struct watchers *w);
void watchers_resume(struct watchers *w);

/* Since it was started; it stands still. */
void watchers_count(const struct watchers *w, struct watchers_counted *counted);

#endif
