/* bench - what the parts of dunlin-bench share: the benches themselves, their options, their place
 * in the file system, and what the process exits with.
 *
 * dunlin-bench forks: a supervisor, which only waits, and a worker, which runs the bench in a
 * process group of its own.  Whatever ends the worker or interrupts the supervisor, the supervisor
 * ends the whole group, reaps it, and removes the directory; so a bench may simply return or die.
 */
#ifndef DUNLIN_BENCH_BENCH_H
#define DUNLIN_BENCH_BENCH_H

#include "engine/base.h"

/* Exit codes, which every bench returns. */
enum bench_exit {
    BENCH_OK = 0,      /* measured; goals may have been missed, the rows say so */
    BENCH_REFUSED = 1, /* a baseline swung too much, or the bench itself failed */
    BENCH_USAGE = 2,
};

#define BENCH_SECONDS_DEFAULT 20.0

struct bench_options {
    bool json;
    double seconds;   /* bound of the whole run, filling and baselines included */
    const char *only; /* the part that is to run alone; NULL: all */
};

/* For benches with no options of their own: argv[0] is the bench's name.
 * Returns 0, or -EINVAL after a word on stderr: exit with BENCH_USAGE. */
MUST_USE int bench_options_parse(int argc, char **argv, struct bench_options *options);

/* A bench in parts that may run alone.  parts ends with NULL: what --only takes. */
MUST_USE int bench_options_parse_parts(int argc, char **argv, const char *const *parts,
                                       struct bench_options *options);

struct report;

/* The end of a bench: prints its report, or why there is none (error: 0 or -errno).  Returns its exit
 * code. */
MUST_USE int bench_end(const struct report *report, int error, bool json);

/* A fresh directory of this run, mode 0700, removed with all that is in it at the end. */
const char *bench_directory(void);

/* Each prints its report to stdout and returns an enum bench_exit. */
int bench_read(int argc, char **argv);
int bench_ring(int argc, char **argv);
int bench_append(int argc, char **argv);
int bench_replicate(int argc, char **argv);
int bench_transport(int argc, char **argv);
int bench_failover(int argc, char **argv);
int bench_fleet(int argc, char **argv);

#endif
