/* transport_side - round trips and one-way streams between two pinned processes over some link: what
 * is common to the sides of the transport bench, so that test and baseline idle, wait, count and are
 * timed alike.
 *
 * A link has two ends, both made before the partner is forked; the caller uses the first and the
 * partner the second.  Messages are bytes; which of them begin where is the link's business.
 *
 * Idling is spinning; sched_yield between two looks where both processes share one cpu.
 *
 * Streams: at most a window of bytes is under way, by a count that the sink keeps in shared memory, so
 * that no socket's buffer overflows.  What is lost all the same is noticed by time, counted, and sent
 * no more.  A window's worth of bytes is timed as a group; the value is of the median group, so that one
 * in which a process had to wait for its cpu does not move it.
 *
 * CPU: the time of calls that sent or brought something, of both processes, per group as well.  Looks in
 * vain are idling, and what the kernel does to deliver over loopback it does in the sender's call. */
#ifndef DUNLIN_BENCH_TRANSPORT_SIDE_H
#define DUNLIN_BENCH_TRANSPORT_SIDE_H

#include "bench/pairs.h"
#include "bench/sampler.h"
#include "bench/transport_partner.h"

#define TRANSPORT_SIDE_LOG_BYTES (UINT64_C(8) << 20) /* what is streamed comes from here, in turn */
#define TRANSPORT_SIDE_BURST_MAX 64u
#define TRANSPORT_SIDE_GROUPS_MIN 8u /* however long they take */
#define TRANSPORT_SIDE_GROUPS_MAX 4096u

/* Each gets one end; all but close return 0 or more, or -errno, which ends the run. */
struct transport_link {
    /* count messages of length bytes that lie one behind the other, to the other end. */
    int (*send)(void *end, const uint8_t *bytes, uint32_t length, uint32_t count);
    /* Take what has come.  Returns its bytes; 0: nothing. */
    int (*take)(void *end);
    /* Send back what has come, if something has. */
    int (*echo)(void *end);
    void (*close)(void *end);
};

struct transport_shape {
    uint32_t length; /* of a message, bytes */
    uint32_t burst;  /* messages of one send; round trips: 1 */
    uint64_t window; /* bytes under way at most; a multiple of burst * length */
    double ticks_per_ns;
    bool one_cpu;
};

enum transport_side_task { TRANSPORT_SIDE_ECHO, TRANSPORT_SIDE_SINK, TRANSPORT_SIDE_TASKS };

struct transport_sink; /* the partner's counts, in shared memory */

struct transport_side {
    const struct transport_link *link;
    void *ends[2];
    struct transport_shape shape;
    struct transport_partner partner;
    uint32_t task_first; /* of the partner's; another one's that does more than this side's */
    struct transport_sink *sink;
    struct sampler *sampler; /* of round trips */
    uint32_t group_count;    /* of the last stream: nanoseconds, waiting and busy */
    double group_ns[TRANSPORT_SIDE_GROUPS_MAX], group_busy_ns[TRANSPORT_SIDE_GROUPS_MAX];
    uint8_t *log;
    uint64_t at;          /* in the log */
    uint64_t sent;        /* bytes, ever */
    uint64_t written_off; /* of those, lost */
    uint64_t busy_ticks;  /* of the caller's sends */
    uint32_t cpu_count;   /* measurements of streams, ever */
    double
        cpu[PAIRS_MAX]; /* nanoseconds per message of the last ones, at their number modulo size */
};

/* Forks the partner.  The ends are the side's from then on, also if it fails.  Returns 0 or -errno. */
MUST_USE int transport_side_open(struct transport_side *s, const struct transport_link *link,
                                 void *const ends[2], const struct transport_shape *shape);
void transport_side_close(struct transport_side *s);

/* The same without a partner: several sides may share one, whose process does transport_side_serve for the side and
 * task that it is resumed with (task_first).  The caller sets partner, task_first, ends (here the first, there
 * the second) and shape before it measures, and closes all of them.  Returns 0 or -ENOMEM. */
MUST_USE int transport_side_init(struct transport_side *s, const struct transport_link *link,
                                 double ticks_per_ns);
void transport_side_fini(struct transport_side *s);

/* The partner's part: echo, or take, what comes to the second end until *stop. */
void transport_side_serve(struct transport_side *s, enum transport_side_task task,
                          const _Atomic uint32_t *stop);

/* pairs_measure of round trips, nanoseconds each; -ETIMEDOUT: one did not come back. */
int transport_side_measure_round_trip(void *context, uint64_t duration_ns, double *value);

/* pairs_measure of the stream, messages per second. */
int transport_side_measure_stream(void *context, uint64_t duration_ns, double *value);

#endif
