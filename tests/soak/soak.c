/* soak --socket SOCKET --daemon-pid PID [twice more] [--seconds N] [--seed N]
 *
 * See soak.h.  Every MOVE_MS leadership of all shards goes to another node, every STOP_MS a follower, or for
 * once the leader, is stopped for up to two seconds.  It writes for N seconds (600), and longer, up to
 * LONGEST times, until the arena was written SOAK_TIMES over: so how fast a machine is decides nothing.  Then
 * all writers end, the watches come to the end, and the replicas are compared.
 *
 * Exit: 0 all held, 1 something did not, or was not exercised (named on stdout), 2 bad usage or no cluster. */
#include "tests/soak/soak.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOVE_MS 3000u
#define STOP_MS 9000u
#define LEADER_EVERY 3u
#define LONGEST 5u
#define STEP_MS 50u
#define END_MS 60000u
#define COMPACTED_SHARE 20u

struct rig {
    const char *sockets[SOAK_NODES];
    pid_t pids[SOAK_NODES];
    uint32_t socket_count, pid_count;
    uint64_t seconds, seed;
    _Atomic bool over;
    struct soak_thread at[SOAK_NODES]; /* handles of the main thread; no threads */
    uint32_t leader, stopped;          /* SOAK_NODES: none */
    uint64_t random;
};

static struct rig rig = {.seconds = 600, .seed = 1, .stopped = SOAK_NODES};

static const char *const count_names[SOAK_COUNTS] = {
    [SOAK_PUTS] = "puts",
    [SOAK_DELETES] = "deletes",
    [SOAK_BURSTS] = "bursts of puts",
    [SOAK_GETS] = "gets",
    [SOAK_VIEWS] = "views",
    [SOAK_BATCHES] = "batched gets",
    [SOAK_READS_AT] = "reads at a version",
    [SOAK_SCANS] = "scans",
    [SOAK_TTL_PUTS] = "puts with a ttl",
    [SOAK_TTL_GONE] = "of them seen to be gone",
    [SOAK_INCREMENTS] = "increments",
    [SOAK_THEN] = "transactions: then",
    [SOAK_ELSE] = "transactions: else",
    [SOAK_SUMS] = "sums of accounts",
    [SOAK_ACQUIRED] = "leases acquired",
    [SOAK_RENEWED] = "leases renewed",
    [SOAK_RELEASED] = "leases released",
    [SOAK_LAPSED] = "leases left to lapse",
    [SOAK_HELD] = "leases found held",
    [SOAK_FENCED] = "transactions under a lease",
    [SOAK_HANDLES] = "handles opened and closed",
    [SOAK_EVENTS] = "events seen by watches",
    [SOAK_CHAINED] = "of them with the change before",
    [SOAK_RESUMED] = "watches resumed",
    [SOAK_LAGGED] = "lags told",
    [SOAK_MOVES] = "moves of leadership",
    [SOAK_FREEZES] = "nodes stopped",
    [SOAK_SAMPLES] = "samples of memory",
    [SOAK_COMPACTED] = "versions not kept any more",
    [SOAK_UNKNOWN] = "writes repeated under their name",
    [SOAK_UNAVAILABLE] = "calls refused as unavailable",
};

bool soak_over(void)
{
    return atomic_load_explicit(&rig.over, memory_order_relaxed); /* relaxed: looked at again */
}

const char *soak_socket(uint32_t node)
{
    return rig.sockets[node];
}

uint64_t soak_seed(void)
{
    return e2e_random(&rig.random);
}

/* ---- disturbances ---- */

static uint32_t other_node(uint32_t than)
{
    return (than + 1 + (uint32_t)(e2e_random(&rig.random) % (SOAK_NODES - 1))) % SOAK_NODES;
}

static void move(void)
{
    uint32_t to = other_node(rig.leader);
    uint32_t by = other_node(rig.stopped);
    if (to == rig.stopped)
        return;
    int64_t moved = dunlin_move(rig.at[by].handle, to + 1, NULL, DUNLIN_SHARDS_ALL);
    if (moved < 0)
        (void)printf("   move to node %u: %s\n", to + 1, strerror((int)-moved));
    else
        soak_count(SOAK_MOVES);
    if (moved >= 0)
        rig.leader = to;
}

/* A follower; every few times the leader, which then is another. */
static void stop(void)
{
    bool leader = soak_counted(SOAK_FREEZES) % LEADER_EVERY == LEADER_EVERY - 1;
    rig.stopped = leader ? rig.leader : other_node(rig.leader);
    soak_memory_pause(rig.stopped, true);
    if (kill(rig.pids[rig.stopped], SIGSTOP) != 0)
        e2e_die("node %u cannot be stopped: %s", rig.stopped + 1, strerror(errno));
    soak_count(SOAK_FREEZES);
    if (leader)
        move();
}

static void go_on(void)
{
    (void)kill(rig.pids[rig.stopped], SIGCONT);
    soak_memory_pause(rig.stopped, false);
    rig.stopped = SOAK_NODES;
}

static bool is_alive(void)
{
    for (uint32_t n = 0; n < SOAK_NODES; n++)
        if (kill(rig.pids[n], 0) != 0) {
            e2e_fail("the daemon of node %u ended by itself", n + 1);
            return false;
        }
    return true;
}

static uint64_t written(void)
{
    uint64_t most = 0;
    for (uint32_t n = 0; n < SOAK_NODES; n++)
        most = max_u64(most, soak_written(n));
    return most;
}

/* False: a daemon ended, so nothing more will come of it. */
static bool disturb(void)
{
    uint64_t begun = clock_boottime_ns(), now = begun;
    uint64_t move_at = begun + MOVE_MS * NS_PER_MS, stop_at = begun + STOP_MS * NS_PER_MS / 2;
    uint64_t go_on_at = 0;
    uint64_t until = begun + rig.seconds * NS_PER_S,
             longest = begun + LONGEST * rig.seconds * NS_PER_S;
    while (now < longest &&
           (now < until || written() < SOAK_TIMES * soak_arena() || rig.stopped != SOAK_NODES)) {
        if (rig.stopped != SOAK_NODES && now >= go_on_at)
            go_on();
        if (now >= move_at) {
            move();
            move_at = now + MOVE_MS * NS_PER_MS;
        }
        if (rig.stopped == SOAK_NODES && now >= stop_at && now < until) {
            stop();
            go_on_at = now + (200 + e2e_random(&rig.random) % 1800) * NS_PER_MS;
            stop_at = now + STOP_MS * NS_PER_MS;
        }
        if (!is_alive())
            return false;
        e2e_sleep_ms(STEP_MS);
        now = clock_boottime_ns();
    }
    if (rig.stopped != SOAK_NODES)
        go_on();
    return true;
}

/* ---- the end ---- */

struct digest {
    uint64_t hash, keys;
    bool whole;   /* the scan came to its end */
    bool passing; /* a key is there that will go by itself */
};

static void digest_bytes(struct digest *d, const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < length; i++)
        d->hash = (d->hash ^ at[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
}

/* All that a node has. */
static struct digest digest_of(struct soak_thread *t)
{
    struct digest d = {.hash = UINT64_C(0xcbf29ce484222325)};
    struct dunlin_scan *scan;
    struct dunlin_scan_entry e;
    int error = dunlin_scan_open(t->space, NULL, &scan);
    if (error != 0)
        return d;
    while ((error = dunlin_scan_next(scan, &e)) == 0) {
        digest_bytes(&d, e.key, e.key_length);
        digest_bytes(&d, e.value, e.value_length);
        digest_bytes(&d, &e.version.lsn, sizeof e.version.lsn);
        if (e.key_length > 6 && memcmp((const char *)e.key + e.key_length - 6, "/lease", 6) == 0)
            d.passing = true;
        d.keys++;
    }
    d.whole = error == -ENOENT;
    dunlin_scan_close(scan);
    return d;
}

/* Until the leases have run out and all nodes have the same; keys with a ttl are gone before. */
static void compare(void)
{
    struct digest d[SOAK_NODES] = {{0}};
    uint64_t until = clock_boottime_ns() + END_MS * NS_PER_MS;
    bool same = false;
    while (!same && clock_boottime_ns() < until) {
        for (uint32_t n = 0; n < SOAK_NODES; n++)
            d[n] = digest_of(&rig.at[n]);
        same = true;
        for (uint32_t n = 0; n < SOAK_NODES; n++)
            same = same && d[n].whole && !d[n].passing && d[n].hash == d[0].hash;
        if (!same)
            e2e_sleep_ms(200);
    }
    for (uint32_t n = 0; n < SOAK_NODES; n++)
        if (!same)
            e2e_fail("at the end node %u has %" PRIu64 " keys, hash %016" PRIx64 "%s%s", n + 1,
                     d[n].keys, d[n].hash, d[n].whole ? "" : ", not to be read to the end",
                     d[n].passing ? ", and a lease that does not run out" : "");
    if (same)
        (void)printf("   replicas are equal: %" PRIu64 " keys\n", d[0].keys);
}

static void report(uint64_t writing_ns)
{
    uint64_t all = written(), arena = soak_arena();
    (void)printf("   %" PRIu64 " s: %" PRIu64 " MiB written, %.1f times the arena\n",
                 writing_ns / NS_PER_S, all >> 20, (double)all / (double)arena);
    for (enum soak_count i = 0; i < SOAK_COUNTS; i++) {
        (void)printf("   %10" PRIu64 " %s\n", soak_counted(i), count_names[i]);
        if (i < SOAK_REQUIRED && soak_counted(i) == 0)
            e2e_fail("not exercised: no %s", count_names[i]);
    }
    if (soak_counted(SOAK_COMPACTED) > soak_counted(SOAK_READS_AT) / COMPACTED_SHARE)
        e2e_fail("versions that the space has to keep are gone, more than snapshots explain");
    if (all < SOAK_TIMES * arena)
        e2e_fail("not exercised: the arena was not written %u times", SOAK_TIMES);
}

static bool number_read(const char *text, uint64_t most, uint64_t *to)
{
    char *end;
    *to = strtoull(text, &end, 10);
    return end != text && *end == '\0' && *to > 0 && *to <= most;
}

static bool take(int option)
{
    uint64_t pid = 0;
    switch (option) {
    case 'k':
        if (rig.socket_count == SOAK_NODES)
            return false;
        rig.sockets[rig.socket_count++] = optarg;
        return true;
    case 'p':
        if (rig.pid_count == SOAK_NODES || !number_read(optarg, INT32_MAX, &pid))
            return false;
        rig.pids[rig.pid_count++] = (pid_t)pid;
        return true;
    case 's':
        return number_read(optarg, 86400, &rig.seconds);
    case 'r':
        return number_read(optarg, UINT64_MAX, &rig.seed);
    default:
        return false;
    }
}

static bool options_read(int argc, char **argv)
{
    static const struct option table[] = {
        {"socket", required_argument, NULL, 'k'},
        {"daemon-pid", required_argument, NULL, 'p'},
        {"seconds", required_argument, NULL, 's'},
        {"seed", required_argument, NULL, 'r'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", table, NULL)) != -1)
        if (!take(option))
            return false;
    return optind == argc && rig.socket_count == SOAK_NODES && rig.pid_count == SOAK_NODES;
}

int main(int argc, char **argv)
{
    if (!options_read(argc, argv)) {
        (void)fprintf(stderr, "usage: soak --socket SOCKET --daemon-pid PID [twice more] "
                              "[--seconds N] [--seed N]\n");
        return 2;
    }
    e2e_begin();
    rig.random = rig.seed;
    for (uint32_t n = 0; n < SOAK_NODES; n++) {
        rig.at[n].node = n;
        rig.at[n].handle = e2e_open(rig.sockets[n], SOAK_TIMEOUT_MS);
        rig.at[n].space = e2e_space(rig.at[n].handle, SOAK_SPACE);
    }
    soak_memory_begin(rig.pids, rig.seconds);
    soak_watches_begin();
    soak_keys_begin();
    soak_sums_begin();
    soak_leases_begin();
    soak_handles_begin();
    uint64_t begun = clock_boottime_ns();
    if (!disturb())
        return e2e_verdict();
    uint64_t writing_ns = clock_boottime_ns() - begun;
    atomic_store_explicit(&rig.over, true, memory_order_relaxed); /* relaxed: looked at again */
    soak_keys_end();
    soak_sums_end();
    soak_leases_end();
    soak_handles_end();
    soak_memory_end();
    soak_watches_end();
    compare();
    for (uint32_t n = 0; n < SOAK_NODES; n++) {
        soak_keys_check(&rig.at[n]);
        soak_sums_check(&rig.at[n]);
        dunlin_close(rig.at[n].handle);
    }
    report(writing_ns);
    return e2e_verdict();
}
