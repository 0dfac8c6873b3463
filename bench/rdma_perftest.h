/* rdma_perftest - ib_write_lat and ib_write_bw of perftest as baselines: what the device itself takes for bytes
 * written from one process's memory to another's, both on this machine and this device.
 *
 * Both of a run's processes spin. With as many processors as processes each is pinned to its own; the caller is to
 * start no more than fit.
 *
 * Source: perftest 6.06 (linux-rdma/perftest), the columns of its report. */
#ifndef DUNLIN_BENCH_RDMA_PERFTEST_H
#define DUNLIN_BENCH_RDMA_PERFTEST_H

#include "bench/rdma_device.h"

#define RDMA_PERFTEST_PAIRS_MAX 2u
#define RDMA_PERFTEST_ITERATIONS_MIN 100u
#define RDMA_PERFTEST_ITERATIONS_MAX 1000000u

enum rdma_perftest_kind {
    RDMA_PERFTEST_LATENCY, /* ib_write_lat: nanoseconds one way, the typical one */
    RDMA_PERFTEST_RATE,    /* ib_write_bw: bytes a second, on average */
};

/* One question.  iterations: 0 before the first run, then as many as are to fill the time. */
struct rdma_perftest {
    const struct rdma_device *device;
    enum rdma_perftest_kind kind;
    uint32_t bytes; /* of a write */
    uint32_t
        pairs; /* of processes at a time, 1 .. RDMA_PERFTEST_PAIRS_MAX; the best one's value counts */
    uint32_t iterations;
};

/* Whether its programs are there. */
bool rdma_perftest_is_there(void);

/* Run it for about duration_ns beside what it takes to start.  Returns 0, or -errno after a word on stderr. */
MUST_USE int rdma_perftest_run(struct rdma_perftest *p, uint64_t duration_ns, double *value);

/* What a report says: the value of the line for that many bytes.  Pure.
 * Returns 0, or -EPROTO: there is no such line, or its columns are others than we know. */
MUST_USE int rdma_perftest_parse(const char *text, enum rdma_perftest_kind kind, uint32_t bytes,
                                 double *value);

/* Iterations that take duration_ns by what the last run said. */
uint32_t rdma_perftest_iterations(const struct rdma_perftest *p, double value,
                                  uint64_t duration_ns);

#endif
