/* daemon - a dunlind of this build as a child process, for as long as a bench needs it.
 *
 * It serves one space, "bench", open to us alone, from the bench's directory.  It dies with us. */
#ifndef DUNLIN_BENCH_DAEMON_H
#define DUNLIN_BENCH_DAEMON_H

#include "engine/base.h"

#include <sys/types.h>

#define DAEMON_SPACE "bench"
#define DAEMON_SPACE_QUIET "quiet"

struct dunlin;

struct daemon_options {
    const char *name; /* of its files in the directory */
    int cpu;          /* its lcore is pinned there; -1: not */
    bool spin;        /* never sleeps; otherwise as users run it */
    uint32_t shard_count;
    uint64_t quota_bytes;
    bool quiet_space; /* a small second space, DAEMON_SPACE_QUIET */
};

struct daemon {
    pid_t pid;
    char socket_path[96];
    char log_path[96];
};

/* Where this program lies.  0 or -errno. */
MUST_USE int daemon_beside(char *directory, size_t capacity);

/* Returns 0, or -errno after a word on stderr; -ENOENT: there is no dunlind beside this program. */
MUST_USE int daemon_start(struct daemon *d, const struct daemon_options *options);

/* The same in two steps, for one of several nodes: the paths of d by its name, then the daemon on a
 * configuration that the caller wrote, whose socket is d->socket_path; all of its threads stay on the nth
 * usable cpu, or, for DAEMON_ANYWHERE, run where the system puts them. */
#define DAEMON_ANYWHERE UINT32_MAX
void daemon_name(struct daemon *d, const char *name);
MUST_USE int daemon_launch(struct daemon *d, const char *config_path, uint32_t cpu);
/* Until it serves, or ended, for one that takes longer than daemon_attach waits: an emulated card does. */
void daemon_await(const struct daemon *d);
/* Attach, as soon as it serves.  spin_ns as in struct dunlin_options.  Returns 0 and *handle, or
 * -errno after a word on stderr. */
MUST_USE int daemon_attach(const struct daemon *d, uint64_t spin_ns, struct dunlin **handle);
/* All that it said so far, to stderr. */
void daemon_log_print(const struct daemon *d);
/* SIGTERM and wait; SIGKILL if it does not obey in 5 s. */
void daemon_stop(struct daemon *d);

/* Stop it from running, and let it run on, for a baseline that needs its core.  freeze returns when
 * it has stopped. */
void daemon_freeze(struct daemon *d);
void daemon_thaw(struct daemon *d);

/* CPU time it has used, ns.  Returns 0 or -errno. */
MUST_USE int daemon_cpu_ns(const struct daemon *d, uint64_t *ns);

/* The thread that worked most so far, but for the control thread: with one lcore, and after some work, the
 * lcore.  To have all others stay on a cpu.  And the CPU time that a thread has used, ns, exact while it does
 * not run.  Return 0 or -errno. */
MUST_USE int daemon_lcore(const struct daemon *d, uint32_t *thread);
MUST_USE int daemon_confine(const struct daemon *d, uint32_t thread, int cpu);
MUST_USE int daemon_thread_ns(const struct daemon *d, uint32_t thread, uint64_t *ns);

#endif
