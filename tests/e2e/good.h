/* good - an agent that behaves, and must not notice what another does beside it: its reads stay
 * correct, none of its operations hangs, and its p99 stays within 2x.
 *
 *   good_agent.c  the agent: writes, reads, verifies all the time, and measures
 *   good.c        starting it, and judging what it did
 *
 * The agent is two processes: one writes, and reads back by every sort of call; the other only
 * reads in place, so that how long that takes does not hang on how long writes take. */
#ifndef DUNLIN_TESTS_E2E_GOOD_H
#define DUNLIN_TESTS_E2E_GOOD_H

#include "bench/histogram.h"
#include "tests/e2e/e2e.h"

#define GOOD_KEYS 4096u
#define GOOD_RATIO_MAX 2.0

struct good_stats {
    uint64_t writes, reads;
    uint64_t wrong;                  /* reads that gave anything but what was written */
    uint64_t refused;                /* operations that failed */
    uint64_t worst_ns;               /* longest operation of the writer */
    char fault[160];                 /* the first of them, in words */
    struct histogram in_place_ticks; /* of the reader */
};

enum good_side { GOOD_WRITER, GOOD_READER, GOOD_SIDES };

/* Memory that both sides and the judge share.  Each side writes live; when cut_wanted moves it
 * copies live to report, clears it and follows with cut_done (release, G1 -> acquire, G2). */
struct good_shared {
    _Atomic uint32_t cut_wanted;
    _Atomic uint32_t ready; /* 1: keys are written, last_write is set */
    struct dunlin_write_id last_write;
    /* Newest write of a key that was sent, and that was answered.  Release by the writer, before
     * the call and after; acquire by the reader, after its read and before. */
    _Atomic uint64_t sent[GOOD_KEYS], done[GOOD_KEYS];
    struct {
        _Atomic uint32_t cut_done;
        struct good_stats live, report;
    } sides[GOOD_SIDES];
};

struct good {
    const char *socket, *space;
    struct good_shared *shared;
    pid_t pids[GOOD_SIDES];
    double ns_per_tick;
    double p99_quiet_ns; /* 0: not known */
};

/* good_agent.c.  Never returns. */
_Noreturn void good_run(const struct good *g, enum good_side side);

/* Start both sides; dies if they cannot begin. */
void good_begin(struct good *g, const char *socket, const char *space);
void good_end(struct good *g);

/* False, and a failure is printed, if a side is gone. */
bool good_alive(struct good *g);

/* Have both sides report what they did since the last cut.  False: one is stuck or gone. */
bool good_cut(struct good *g);

/* The table: its head, and a line of the last cut.  A wrong read, an operation that was refused or
 * took more than 5 s, and a side that stood still are failures.  newcomer_ns is printed as it is.
 * Returns the ratio of the p99 of reads in place to the quiet one, 0 if too little is known. */
void good_print_head(const char *title);
double good_judge(struct good *g, const char *name, uint64_t newcomer_ns);

/* Measure the quiet for a while. */
void good_measure_quiet(struct good *g, uint64_t ms);

#endif
