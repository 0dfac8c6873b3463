/* daemon_killed PROGRAM CONFIG DIRECTORY [AGENTS] - the daemon dies, freezes and comes back under a
 * hundred agents, which come back by themselves.
 *
 * Each agent is a process that writes its own key, reads it linearizably and locally, for ever, and
 * never opens anything again.  What it checks of every call:
 *   put           done, refused because nobody is there, or of unknown fate; versions only grow,
 * also over restarts; no call lasts longer than its timeout linearizable  the last write done, or a
 * later one of unknown fate; nothing only if the daemon lost its memory since; refused while the
 * daemon is silent for longer than the lease local         the same values; while the daemon is
 * silent, stale, and as old as the silence */
#include "tests/e2e/e2e.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPACE "fleet"
#define AGENTS_MAX 200u
#define SHORT_MS 300u
#define LONG_MS 5000u
#define LATE_NS                                                                                    \
    (5 * NS_PER_S) /* a call may return so long after its timeout on a crowded machine */
#define BACK_NS (90 * NS_PER_S)
#define VALUE_BYTES 120u
#define LOCAL_READS 4u

/* Written by one agent, read by the judge. */
struct report {
    alignas(CACHE_LINE) _Atomic uint32_t round; /* the last in which it wrote and read */
    _Atomic uint32_t starts_seen;
    _Atomic uint64_t done, refused, unknown;      /* puts */
    _Atomic uint64_t read, read_refused;          /* linearizable */
    _Atomic uint64_t silent_refused, silent_read; /* linearizable and local, in silence */
    _Atomic uint64_t late_ns;                     /* most that a call exceeded its timeout by */
    _Atomic uint64_t age_ns;                      /* greatest */
};

struct swarm {
    /* Since when the daemon is known to be dead or stopped, CLOCK_BOOTTIME; 0: it may serve.  Set
     * after it is, cleared before it is not: a call between two equal readings met a silent one. */
    _Atomic uint64_t silent_ns;
    _Atomic uint32_t round;
    _Atomic bool quit;
    uint64_t lease_ns;
    struct report reports[AGENTS_MAX];
};

/* relaxed: counters with one writer */
static void bump(_Atomic uint64_t *word)
{
    atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void raise_to(_Atomic uint64_t *word, uint64_t value)
{
    if (value > atomic_load_explicit(word, memory_order_relaxed))
        atomic_store_explicit(word, value, memory_order_relaxed);
}

/* ---- an agent ---- */

struct agent {
    struct swarm *swarm;
    struct report *report;
    struct dunlin *handle;
    struct dunlin_space *space;
    uint32_t number;
    uint64_t timeout_ns;
    uint64_t sequence;   /* of the last write, whatever became of it */
    uint64_t done;       /* of the last one that is known to be done */
    uint64_t done_start; /* start of the daemon that did it */
    uint64_t done_lsn;
    uint64_t random;
    char key[32];
    uint8_t value[VALUE_BYTES];
};

/* A call: begun when, and the daemon silent since when. */
struct call {
    uint64_t begun_ns, silent_ns;
};

static struct call call_begin(const struct agent *a)
{
    return (struct call){
        .silent_ns = atomic_load_explicit(&a->swarm->silent_ns, memory_order_acquire),
        .begun_ns = clock_boottime_ns(),
    };
}

/* Returns how long the daemon was silent before the call, if it was so all the time; else 0. */
static uint64_t call_end(struct agent *a, const struct call *c)
{
    uint64_t took = clock_boottime_ns() - c->begun_ns;
    if (took > a->timeout_ns)
        raise_to(&a->report->late_ns, took - a->timeout_ns);
    if (took > a->timeout_ns + LATE_NS)
        e2e_fail("agent %" PRIu32 ": a call with a timeout of %.1f s took %.1f s", a->number,
                 (double)a->timeout_ns / NS_PER_S, (double)took / NS_PER_S);
    uint64_t silent = atomic_load_explicit(&a->swarm->silent_ns, memory_order_acquire);
    return silent != 0 && silent == c->silent_ns ? c->begun_ns - silent : 0;
}

static uint64_t start_of(const struct agent *a)
{
    struct dunlin_info info;
    dunlin_info(a->handle, &info);
    return info.start;
}

static int put(struct agent *a)
{
    struct dunlin_version version = {0};
    e2e_value_make(a->value, sizeof a->value, a->number, ++a->sequence);
    struct call call = call_begin(a);
    int result = dunlin_put(a->space, a->key, strlen(a->key), a->value, sizeof a->value, &version);
    (void)call_end(a, &call);
    switch (result) {
    case 0:
        if (version.lsn <= a->done_lsn)
            e2e_fail("agent %" PRIu32 ": version %" PRIu64 " after %" PRIu64, a->number,
                     version.lsn, a->done_lsn);
        a->done = a->sequence;
        a->done_lsn = version.lsn;
        a->done_start = start_of(a);
        bump(&a->report->done);
        break;
    case -ENOTCONN:
        bump(&a->report->refused);
        break;
    case -EOWNERDEAD:
        bump(&a->report->unknown);
        break;
    default:
        e2e_fail("agent %" PRIu32 ": put: %s", a->number, strerror(-result));
        break;
    }
    return result;
}

/* Is what was read (0 or -ENOENT) what may stand there?  started: the daemon that was asked. */
static void check_value(struct agent *a, int result, size_t length, uint64_t started)
{
    uint64_t sequence = 0;
    if (result == -ENOENT) {
        if (a->done != 0 && a->done_start == started)
            e2e_fail("agent %" PRIu32 ": write %" PRIu64 " was done and is not there", a->number,
                     a->done);
        return;
    }
    if (!e2e_value_check(a->value, length, a->number, &sequence))
        e2e_fail("agent %" PRIu32 ": a torn or foreign value", a->number);
    else if (sequence < a->done || sequence > a->sequence)
        e2e_fail("agent %" PRIu32 ": read %" PRIu64 ", done is %" PRIu64 ", last %" PRIu64,
                 a->number, sequence, a->done, a->sequence);
}

static int read_linearizable(struct agent *a)
{
    struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
    uint64_t started = start_of(a);
    struct call call = call_begin(a);
    int result = dunlin_get(a->space, a->key, strlen(a->key), a->value, sizeof a->value, &read);
    uint64_t silent = call_end(a, &call);
    if (result == -ENOTCONN) {
        bump(silent > a->swarm->lease_ns ? &a->report->silent_refused : &a->report->read_refused);
        return result;
    }
    if (result != 0 && result != -ENOENT) {
        e2e_fail("agent %" PRIu32 ": linearizable read: %s", a->number, strerror(-result));
        return result;
    }
    bump(&a->report->read);
    if (silent > a->swarm->lease_ns)
        e2e_fail("agent %" PRIu32 ": a linearizable read %.0f ms after the daemon's last sign",
                 a->number, (double)silent / NS_PER_MS);
    if (start_of(a) == started)
        check_value(a, result, read.length, started);
    return result;
}

static void read_local(struct agent *a)
{
    struct dunlin_read read = {.mode = DUNLIN_LOCAL};
    uint64_t started = start_of(a);
    struct call call = call_begin(a);
    int result = dunlin_get(a->space, a->key, strlen(a->key), a->value, sizeof a->value, &read);
    uint64_t silent = call_end(a, &call);
    if (result != 0 && result != -ENOENT) {
        e2e_fail("agent %" PRIu32 ": local read: %s", a->number, strerror(-result));
        return;
    }
    if (start_of(a) == started)
        check_value(a, result, read.length, started);
    if (read.age_ns != UINT64_MAX) /* the daemon's clock was not proven before it went */
        raise_to(&a->report->age_ns, read.age_ns);
    if (silent < 4 * a->swarm->lease_ns)
        return;
    bump(&a->report->silent_read);
    /* A hundredth less: the two clocks are calibrated, not the same. */
    if (read.stale == 0 || read.age_ns < silent - silent / 100)
        e2e_fail("agent %" PRIu32 ": local read after %.0f ms of silence: stale %d, age %.0f ms",
                 a->number, (double)silent / NS_PER_MS, read.stale,
                 (double)read.age_ns / NS_PER_MS);
}

static _Noreturn void agent_run(struct swarm *swarm, const char *socket, uint32_t number)
{
    struct agent agent = {.swarm = swarm,
                          .report = &swarm->reports[number],
                          .number = number,
                          .random = number,
                          .timeout_ns = (number % 2 == 0 ? SHORT_MS : LONG_MS) * NS_PER_MS};
    struct agent *a = &agent;
    (void)snprintf(a->key, sizeof a->key, "agent-%" PRIu32, number);
    a->handle = e2e_open(socket, a->timeout_ns / NS_PER_MS);
    a->space = e2e_space(a->handle, SPACE);
    uint64_t start = 0;
    while (!atomic_load_explicit(&swarm->quit, memory_order_relaxed)) {
        /* Before the calls: they count for a round that had begun. */
        uint32_t round = atomic_load_explicit(&swarm->round, memory_order_acquire);
        bool wrote = put(a) == 0;
        bool served = read_linearizable(a) == 0;
        for (uint32_t i = 0; i < LOCAL_READS; i++)
            read_local(a);
        if (start_of(a) != start) {
            start = start_of(a);
            atomic_fetch_add_explicit(&a->report->starts_seen, 1, memory_order_relaxed);
        }
        if (wrote && served)
            atomic_store_explicit(&a->report->round, round, memory_order_release);
        e2e_sleep_ms(1 + e2e_random(&a->random) % 8);
    }
    dunlin_close(a->handle);
    exit(EXIT_SUCCESS);
}

/* ---- the judge ---- */

struct judge {
    struct e2e_daemon daemon;
    struct swarm *swarm;
    uint32_t count;
    pid_t pids[AGENTS_MAX];
};

static void silent(struct judge *j, bool yes)
{
    atomic_store_explicit(&j->swarm->silent_ns, yes ? clock_boottime_ns() : 0,
                          memory_order_release);
}

static uint32_t agents_missing(struct judge *j, uint32_t round)
{
    uint32_t missing = 0;
    for (uint32_t i = 0; i < j->count; i++) {
        int status;
        if (waitpid(j->pids[i], &status, WNOHANG) != 0)
            e2e_die("agent %" PRIu32 " ended: status %x", i, (unsigned)status);
        missing += atomic_load_explicit(&j->swarm->reports[i].round, memory_order_acquire) != round;
    }
    return missing;
}

/* All agents write and read again, in calls that begin now. */
static void everybody_back(struct judge *j, const char *after)
{
    uint32_t round = atomic_load_explicit(&j->swarm->round, memory_order_relaxed) + 1;
    uint64_t begun = clock_boottime_ns();
    uint32_t missing;
    atomic_store_explicit(&j->swarm->round, round, memory_order_release);
    while ((missing = agents_missing(j, round)) != 0) {
        if (!e2e_daemon_alive(&j->daemon))
            return;
        if (clock_boottime_ns() - begun > BACK_NS) {
            e2e_fail("%s: %" PRIu32 " agents are not back", after, missing);
            return;
        }
        e2e_sleep_ms(5);
    }
    (void)printf("%-44s all %" PRIu32 " back within %6.0f ms\n", after, j->count,
                 (double)(clock_boottime_ns() - begun) / NS_PER_MS);
}

static void killed(struct judge *j, uint64_t pause_ms)
{
    e2e_daemon_kill(&j->daemon);
    silent(j, true);
    e2e_sleep_ms(pause_ms);
    silent(j, false);
    e2e_daemon_start(&j->daemon);
}

static void frozen(struct judge *j, uint64_t pause_ms)
{
    int status;
    (void)kill(j->daemon.pid, SIGSTOP);
    (void)waitpid(j->daemon.pid, &status, WUNTRACED);
    silent(j, true);
    e2e_sleep_ms(pause_ms);
    silent(j, false);
    (void)kill(j->daemon.pid, SIGCONT);
}

static void stopped(struct judge *j)
{
    int status = e2e_daemon_stop(&j->daemon);
    if (status != 0)
        e2e_fail("the daemon ended with status %d on SIGTERM", status);
    silent(j, true);
    e2e_sleep_ms(500);
    silent(j, false);
    e2e_daemon_start(&j->daemon);
}

static void scenes(struct judge *j)
{
    everybody_back(j, "started");
    e2e_sleep_ms(500);
    killed(j, 1000);
    everybody_back(j, "killed, started after a second");
    killed(j, 0);
    killed(j, 100);
    everybody_back(j, "killed twice in a row");
    frozen(j, 1500);
    everybody_back(j, "frozen for longer than the lease, thawed");
    (void)unlink(j->daemon.socket);
    everybody_back(j, "socket removed under a living daemon");
    killed(j, 300);
    everybody_back(j, "then killed");
    stopped(j);
    everybody_back(j, "stopped by SIGTERM, started");
    killed(j, LONG_MS + 1000);
    everybody_back(j, "killed, away for longer than every timeout");
}

static uint64_t sum(const struct judge *j, size_t offset)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < j->count; i++) {
        const uint8_t *report = (const uint8_t *)&j->swarm->reports[i];
        const _Atomic uint64_t *word = (const void *)(report + offset);
        total += atomic_load_explicit(word, memory_order_relaxed);
    }
    return total;
}

#define SUM(j, member) sum((j), offsetof(struct report, member))

static void account(const struct judge *j)
{
    uint64_t late = 0, age = 0, seen = UINT64_MAX;
    for (uint32_t i = 0; i < j->count; i++) {
        const struct report *r = &j->swarm->reports[i];
        late = max_u64(late, atomic_load_explicit(&r->late_ns, memory_order_relaxed));
        age = max_u64(age, atomic_load_explicit(&r->age_ns, memory_order_relaxed));
        seen = min_u64(seen, atomic_load_explicit(&r->starts_seen, memory_order_relaxed));
    }
    (void)printf("puts: %" PRIu64 " done, %" PRIu64 " refused, %" PRIu64 " of unknown fate\n",
                 SUM(j, done), SUM(j, refused), SUM(j, unknown));
    (void)printf("linearizable reads: %" PRIu64 " served, %" PRIu64 " refused, %" PRIu64
                 " of them in silence\n",
                 SUM(j, read), SUM(j, read_refused) + SUM(j, silent_refused),
                 SUM(j, silent_refused));
    (void)printf("local reads in silence: %" PRIu64 "; greatest age %.0f ms\n", SUM(j, silent_read),
                 (double)age / NS_PER_MS);
    (void)printf("latest return after a timeout: %.0f ms; each agent saw at least %" PRIu64
                 " daemons\n",
                 (double)late / NS_PER_MS, seen);
    if (SUM(j, silent_refused) == 0 || SUM(j, silent_read) == 0)
        e2e_fail("nobody read while the daemon was silent: nothing was shown");
}

static void farewell(struct judge *j)
{
    struct dunlin *handle = e2e_open(j->daemon.socket, LONG_MS);
    uint64_t attached = e2e_status(handle, "agents", "attached");
    if (attached != j->count + 1)
        e2e_fail("%" PRIu64 " agents are attached instead of %" PRIu32, attached, j->count + 1);
    if (e2e_status(handle, "agents", "faults") != 0)
        e2e_fail("the daemon found faults with honest agents");
    dunlin_close(handle);
    atomic_store_explicit(&j->swarm->quit, true, memory_order_relaxed);
    for (uint32_t i = 0; i < j->count; i++) {
        int status = e2e_wait(j->pids[i], 2 * LONG_MS);
        if (status != 0)
            e2e_fail("agent %" PRIu32 " ended with %d", i, status);
    }
    int status = e2e_daemon_stop(&j->daemon);
    if (status != 0)
        e2e_fail("the daemon ended with status %d", status);
}

int main(int argc, char **argv)
{
    static struct judge judge;
    struct judge *j = &judge;
    char socket_path[256], log[256];
    if (argc < 4)
        e2e_die("usage: daemon_killed DUNLIND CONFIG DIRECTORY [AGENTS]");
    e2e_begin();
    (void)snprintf(socket_path, sizeof socket_path, "%s/dunlind.sock", argv[3]);
    (void)snprintf(log, sizeof log, "%s/dunlind.log", argv[3]);
    j->daemon = (struct e2e_daemon){
        .program = argv[1], .config = argv[2], .socket = socket_path, .log = log};
    j->count = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 0) : 100;
    if (j->count == 0 || j->count > AGENTS_MAX)
        e2e_die("1 to %u agents", AGENTS_MAX);
    j->swarm = e2e_shared(sizeof *j->swarm);
    e2e_daemon_start(&j->daemon);
    struct dunlin *handle = e2e_open(socket_path, LONG_MS);
    struct dunlin_info info;
    dunlin_info(handle, &info);
    j->swarm->lease_ns = info.lease_ns;
    dunlin_close(handle);
    for (uint32_t i = 0; i < j->count; i++) {
        j->pids[i] = e2e_fork();
        if (j->pids[i] < 0)
            e2e_die("cannot fork: %s", strerror(errno));
        if (j->pids[i] == 0)
            agent_run(j->swarm, socket_path, i);
    }
    scenes(j);
    account(j);
    if (e2e_daemon_alive(&j->daemon))
        farewell(j);
    return e2e_verdict();
}
