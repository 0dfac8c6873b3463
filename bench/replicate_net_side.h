/* replicate_net_side - one of the replicated stores (or a floor below them) of the replicate bench over
 * sockets: what its client does, which processes stand behind it, and what one measurement of it gives.
 *
 * The calling process is the client of all sides in turn, so that all clients run on the same cpu and make
 * the same writes.  A write is a batch: so many operations in flight at once, the next batch when all of
 * them are answered.  Its latency is the time from the first submission to the last answer, of making the
 * keys nothing.  CPU is that of the client and of every process behind it, from the kernel's own account of
 * their run time (nanoseconds, what it does in their name for loopback included).
 *
 * Worker thread of the bench. */
#ifndef DUNLIN_BENCH_REPLICATE_NET_SIDE_H
#define DUNLIN_BENCH_REPLICATE_NET_SIDE_H

#include "bench/histogram.h"
#include "bench/keys.h"

#include <sys/types.h>

#define NET_BATCH_MAX 512u
#define NET_SERVERS 3u
#define NET_CPUS_MAX 16u
/* A server that is silent for so long is lost.  Why so long: on an emulated machine, busy besides, leaders change. */
#define NET_WAIT_NS (60 * NS_PER_S)
#define NET_SAMPLES_MAX 32768u /* batches of a measurement */

struct net_write {
    char key[KEYS_LENGTH];
    uint64_t value[KEYS_VALUE_BYTES / 8];
};

/* Writes count (1 .. NET_BATCH_MAX) values, all in flight at once; returns when all are replicated: 0, or
 * -errno, which ends the run. */
typedef int (*net_write_batch)(void *client, const struct net_write *writes, uint32_t count);

/* Where the processes run: the client on the first, server number i (1 ..) on number i modulo their count. */
struct net_cpus {
    uint32_t count;
    uint32_t list[NET_CPUS_MAX]; /* nth usable, as machine_pin's */
};
/* A list of numbers with commas between: cpus by their place among the usable ones, from 0.
 * Returns 0, or -EINVAL after a word on stderr. */
MUST_USE int net_cpus_parse(const char *text, struct net_cpus *cpus);

uint32_t net_cpu(const struct net_cpus *cpus, uint32_t process);

struct net_side {
    net_write_batch write;
    void *client;
    uint32_t key_count;
    pid_t pids[NET_SERVERS + 1];
    uint32_t pid_count;
    uint64_t position;        /* operations so far: which keys come next */
    struct histogram latency; /* ns per batch, since net_side_reset */
    uint32_t samples[NET_SAMPLES_MAX];
};

/* Of one measurement. */
struct net_values {
    double p50_ns, p99_ns; /* of a batch */
    double cpu_ns;         /* per operation, all processes */
    double rate;           /* operations a second */
};

/* Forget the latencies of other batch sizes. */
void net_side_reset(struct net_side *s);

/* Every key once, batch at a time.  Returns 0 or -errno. */
MUST_USE int net_side_fill(struct net_side *s, uint32_t batch);

/* Write random keys for about duration_ns; the first quarter warms caches that the other sides used.
 * Returns 0 or -errno. */
MUST_USE int net_side_measure(struct net_side *s, uint32_t batch, uint64_t duration_ns,
                              struct net_values *values);

/* A child that runs task(context) on that cpu (machine_pin) until it is killed, by net_end or by our own
 * end.  It has a copy of our memory, but for what is mapped shared.  Returns its pid or -errno. */
MUST_USE pid_t net_fork(uint32_t cpu, void (*task)(void *context), void *context);
/* SIGKILL and wait; 0 is nobody. */
void net_end(pid_t pid);

/* A datagram socket bound to a free port of 127.0.0.1, with room for bursts; a receive on it ends with
 * EAGAIN after timeout_ns.  Returns 0 and its port in network order, or -errno. */
MUST_USE int net_socket(int *fd, uint16_t *port, uint64_t timeout_ns);
MUST_USE int net_connect(int fd, uint16_t port);

/* Ports of 127.0.0.1 that nobody has now, for sockets of that type (SOCK_DGRAM, SOCK_STREAM), in host
 * order.  Returns 0 or -errno. */
MUST_USE int net_ports_find(int type, uint16_t ports[NET_SERVERS]);

/* Wait until a shared word differs from seen, and wake whoever waits: between two processes.
 * Returns 0, or -ETIMEDOUT after NET_WAIT_NS. */
MUST_USE int net_word_await(_Atomic uint32_t *word, uint32_t seen);
void net_word_wake(_Atomic uint32_t *word);

/* Between a client and a process in front of others, which makes one write at a time for it; both sleep meanwhile. */
struct net_front {
    alignas(CACHE_LINE) _Atomic uint32_t asked;
    alignas(CACHE_LINE) _Atomic uint32_t answered;
    int status;
    struct net_write write;
};

/* The client: returns what the exchange did, or -ETIMEDOUT. */
MUST_USE int net_front_ask(struct net_front *f, const struct net_write *write);

/* The process in front, for ever.  number: of the write, from 1 on; exchange returns 0 or -errno. */
__attribute__((noreturn)) void
net_front_serve(struct net_front *f,
                int (*exchange)(void *context, const struct net_write *write, uint32_t number),
                void *context);

#endif
