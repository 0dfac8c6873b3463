/* cluster_agent [--writer SOCKET] [--reader|--unleased SOCKET]... [OPTION...] - one key, counted up at one node of a
 * cluster and read at others, for ever: nobody may ever read less than what was acknowledged before.
 *
 *   --unleased SOCKET   a reader that no lease covers: all its linearizable reads go by the ring
 *   --space NAME        strong space (telemetry)
 *   --key NAME          (its process id)
 *   --bytes N           length of each value, 24 to 65536 (24)
 *   --pause-us N        after each call (200)
 *   --timeout-ms N      of each call (5000)
 *
 * One thread for each socket; a handle is opened once and never again, so what happens to its daemon is the
 * library's affair.  A put of unknown fate, or one that was refused, is followed by the next number, not
 * repeated: so a number that appears twice, or one that comes back, is a write applied late or twice.
 *
 * What a reader checks of every linearizable get: the number is at least what the writer had acknowledged,
 * and this reader had read, before the get began, and at most what was submitted when it ended.  Of
 * local ones: at most what was submitted.  Every SCAN_EVERYth linearizable one is a scan, whose first page
 * comes from every shard.
 *
 * Prints a line of counts every PERIOD_MS, the last one at SIGTERM or SIGINT: NAME=VALUE with blanks between,
 * those of the nth reader as rN.NAME.  Exit: 0 all held, 1 something did not (the first are on stderr), 2 bad
 * usage or no daemon. */
#include "engine/read.h"
#include "tests/e2e/e2e.h"

#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define READERS_MAX 7u
#define PERIOD_MS 50u
#define NUMBER_BYTES 24u
#define VALUE_BYTES_MAX 65536u
#define LOCAL_EVERY 8u
#define SCAN_EVERY 4u
#define TOLD_MAX 10u

struct side {
    const char *socket;
    struct dunlin *handle;
    struct dunlin_space *space;
    struct dunlin_read read; /* the last one, */
    const char *how;         /* and by which way it was answered */
    pthread_t thread;
    _Atomic uint64_t attached; /* times */
    _Atomic uint64_t done;     /* puts, or linearizable gets */
    _Atomic uint64_t refused;  /* -ENOTCONN */
    _Atomic uint64_t unknown;  /* -EOWNERDEAD, of puts */
    _Atomic uint64_t other;    /* any other error */
    _Atomic uint64_t local, local_stale, local_age_ns;
    _Atomic uint64_t scanned, scans_asked; /* scans that were done, and leaders asked by scans */
    _Atomic uint64_t scans_refused, scan_refused_longest_ns;
    _Atomic uint64_t wrong;
    bool unleased;
    _Atomic uint64_t longest_ns; /* call that was done */
    _Atomic uint64_t last_ns;    /* when the last one was done */
};

struct rig {
    const char *space, *key;
    size_t value_bytes;
    uint64_t pause_us, timeout_ms;
    uint32_t reader_count;
    struct side writer, readers[READERS_MAX];
    /* N1 acknowledged, submitted (release) -> N2 (acquire): a reader that finds a number began after it */
    _Atomic uint64_t submitted, acknowledged;
    _Atomic bool quit;
    _Atomic uint32_t told;
};

/* Those of this thread find no lease. */
static _Thread_local bool refuse_lease;
bool __real_read_lease(const struct read_point *p, const struct read_space *s);
bool __wrap_read_lease(const struct read_point *p, const struct read_space *s);
bool __wrap_read_lease(const struct read_point *p, const struct read_space *s)
{
    return !refuse_lease && __real_read_lease(p, s);
}

static struct rig rig = {.space = "telemetry", .value_bytes = NUMBER_BYTES, .pause_us = 200};

/* relaxed everywhere in these three: counters of one writer, for people */
static uint64_t count_of(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static void bump(_Atomic uint64_t *word)
{
    atomic_store_explicit(word, count_of(word) + 1, memory_order_relaxed);
}

static void raise_to(_Atomic uint64_t *word, uint64_t value)
{
    if (value > count_of(word))
        atomic_store_explicit(word, value, memory_order_relaxed);
}

static bool is_over(void)
{
    return atomic_load_explicit(&rig.quit, memory_order_relaxed); /* relaxed: looked at again */
}

static void rest(void)
{
    const struct timespec pause = {.tv_sec = (time_t)(rig.pause_us / 1000000),
                                   .tv_nsec = (long)(rig.pause_us % 1000000) * 1000};
    (void)nanosleep(&pause, NULL); /* shorter does no harm */
}

static void done(struct side *s, uint64_t begun_ns)
{
    struct dunlin_info info;
    uint64_t now = clock_boottime_ns();
    dunlin_info(s->handle, &info);
    raise_to(&s->attached, info.attached_count);
    raise_to(&s->longest_ns, now - begun_ns);
    raise_to(&s->last_ns, now);
    bump(&s->done);
}

static void not_done(struct side *s, int error)
{
    if (error == -ENOTCONN)
        bump(&s->refused);
    else if (error == -EOWNERDEAD)
        bump(&s->unknown);
    else
        bump(&s->other);
}

static void *writer_run(void *context)
{
    static char value[VALUE_BYTES_MAX + 1];
    struct side *s = context;
    for (uint64_t n = 1; !is_over(); n++) {
        memset(value, ' ', rig.value_bytes);
        int length = snprintf(value, sizeof(value), "%" PRIu64, n);
        value[length] = ' ';
        atomic_store_explicit(&rig.submitted, n, memory_order_release); /* N1 */
        uint64_t begun_ns = clock_boottime_ns();
        int error = dunlin_put(s->space, rig.key, strlen(rig.key), value, rig.value_bytes, NULL);
        if (error == 0) {
            atomic_store_explicit(&rig.acknowledged, n, memory_order_release); /* N1 */
            done(s, begun_ns);
        } else {
            not_done(s, error);
        }
        rest();
    }
    return NULL;
}

static void wrong(struct side *s, const char *what, uint64_t got, uint64_t bound)
{
    bump(&s->wrong);
    /* relaxed: how many lines */
    if (atomic_fetch_add_explicit(&rig.told, 1, memory_order_relaxed) < TOLD_MAX)
        (void)fprintf(stderr,
                      "cluster_agent: at %s: %s: %" PRIu64 ", bound %" PRIu64 "; epoch %" PRIu64
                      ", lsn %" PRIu64 ", %s\n",
                      s->socket, what, got, bound, s->read.epoch, s->read.version.lsn, s->how);
}

/* One get.  *number: 0: no such key. */
static int get(struct side *s, enum dunlin_mode mode, uint64_t *number, char *buffer)
{
    struct dunlin_info before, after;
    struct dunlin_read *read = &s->read;
    *read = (struct dunlin_read){.mode = mode};
    dunlin_info(s->handle, &before);
    int error = dunlin_get(s->space, rig.key, strlen(rig.key), buffer, VALUE_BYTES_MAX, read);
    dunlin_info(s->handle, &after);
    s->how = after.reads_in_place != before.reads_in_place ? "in place" : "by the ring";
    *number = 0;
    if (error == 0) {
        buffer[read->length] = '\0';
        *number = strtoull(buffer, NULL, 10);
    }
    return error == -ENOENT ? 0 : error;
}

/* A scan of the key: of those that begin with it, it is the first.  As get. */
static int scan_first(struct side *s, uint64_t *number, char *buffer)
{
    const struct dunlin_scan_options options = {.prefix = rig.key,
                                                .prefix_length = strlen(rig.key)};
    struct dunlin_scan *scan;
    struct dunlin_scan_entry e;
    *number = 0;
    int error = dunlin_scan_open(s->space, &options, &scan);
    if (error != 0)
        return error;
    error = dunlin_scan_next(scan, &e);
    if (error == 0 && e.key_length == options.prefix_length) {
        memcpy(buffer, e.value, e.value_length);
        buffer[e.value_length] = '\0';
        *number = strtoull(buffer, NULL, 10);
        s->read.version = e.version;
        s->read.epoch = e.epoch;
    }
    dunlin_scan_close(scan);
    return error == -ENOENT ? 0 : error;
}

static int scan(struct side *s, uint64_t *number, char *buffer)
{
    struct dunlin_info before, after;
    uint64_t begun_ns = clock_boottime_ns();
    s->how = "by a scan";
    dunlin_info(s->handle, &before);
    int error = scan_first(s, number, buffer);
    dunlin_info(s->handle, &after);
    /* relaxed: for people */
    atomic_fetch_add_explicit(&s->scans_asked, after.reads_by_ring - before.reads_by_ring,
                              memory_order_relaxed);
    if (error == 0) {
        bump(&s->scanned);
    } else {
        bump(&s->scans_refused);
        raise_to(&s->scan_refused_longest_ns, clock_boottime_ns() - begun_ns);
    }
    return error;
}

static void read_linearizable(struct side *s, bool by_scan, uint64_t *seen, char *buffer)
{
    uint64_t number;
    uint64_t floor = atomic_load_explicit(&rig.acknowledged, memory_order_acquire); /* N2 */
    uint64_t begun_ns = clock_boottime_ns();
    int error = by_scan ? scan(s, &number, buffer) : get(s, DUNLIN_LINEARIZABLE, &number, buffer);
    if (error != 0) {
        not_done(s, error);
        return;
    }
    done(s, begun_ns);
    uint64_t ceiling = atomic_load_explicit(&rig.submitted, memory_order_acquire); /* N2 */
    if (number < floor)
        wrong(s, "less than was acknowledged", number, floor);
    else if (number < *seen)
        wrong(s, "less than was read before", number, *seen);
    else if (number > ceiling)
        wrong(s, "more than was written", number, ceiling);
    *seen = max_u64(*seen, number);
}

static void read_local(struct side *s, char *buffer)
{
    uint64_t number;
    if (get(s, DUNLIN_LOCAL, &number, buffer) != 0)
        return;
    uint64_t ceiling = atomic_load_explicit(&rig.submitted, memory_order_acquire); /* N2 */
    bump(&s->local);
    if (s->read.stale != 0)
        bump(&s->local_stale);
    raise_to(&s->local_age_ns, s->read.age_ns);
    if (number > ceiling)
        wrong(s, "local: more than was written", number, ceiling);
}

static void *reader_run(void *context)
{
    struct side *s = context;
    char *buffer = malloc(VALUE_BYTES_MAX + 1);
    uint64_t seen = 0;
    refuse_lease = s->unleased;
    if (buffer == NULL)
        e2e_die("no memory");
    for (uint64_t n = 0; !is_over(); n++) {
        if (n % LOCAL_EVERY == 0)
            read_local(s, buffer);
        else
            read_linearizable(s, n % SCAN_EVERY == 1, &seen, buffer);
        rest();
    }
    free(buffer);
    return NULL;
}

/* ---- what it prints ---- */

static void print_side(const struct side *s, const char *prefix, uint64_t now)
{
    uint64_t last = count_of(&s->last_ns);
    (void)printf(
        "%sdone=%" PRIu64 " %srefused=%" PRIu64 " %sunknown=%" PRIu64 " %sother=%" PRIu64
        " %slongest_ms=%" PRIu64 " %ssilent_ms=%" PRIu64 " %sattached=%" PRIu64 " ",
        prefix, count_of(&s->done), prefix, count_of(&s->refused), prefix, count_of(&s->unknown),
        prefix, count_of(&s->other), prefix, count_of(&s->longest_ns) / NS_PER_MS, prefix,
        last == 0 || last > now ? 0 : (now - last) / NS_PER_MS, prefix, count_of(&s->attached));
}

static void print_line(void)
{
    uint64_t now = clock_boottime_ns();
    if (rig.writer.socket != NULL)
        print_side(&rig.writer, "w.", now);
    for (uint32_t i = 0; i < rig.reader_count; i++) {
        const struct side *s = &rig.readers[i];
        char prefix[16];
        (void)snprintf(prefix, sizeof(prefix), "r%u.", i);
        print_side(s, prefix, now);
        (void)printf("%slocal=%" PRIu64 " %sstale=%" PRIu64 " %sage_ms=%" PRIu64 " %swrong=%" PRIu64
                     " ",
                     prefix, count_of(&s->local), prefix, count_of(&s->local_stale), prefix,
                     count_of(&s->local_age_ns) / NS_PER_MS, prefix, count_of(&s->wrong));
        (void)printf("%sscanned=%" PRIu64 " %sasked=%" PRIu64 " %sscans_refused=%" PRIu64
                     " %sscan_refused_ms=%" PRIu64 " ",
                     prefix, count_of(&s->scanned), prefix, count_of(&s->scans_asked), prefix,
                     count_of(&s->scans_refused), prefix,
                     count_of(&s->scan_refused_longest_ns) / NS_PER_MS);
    }
    (void)printf("end=1\n");
    (void)fflush(stdout);
}

/* ---- the run ---- */

static void side_start(struct side *s, void *(*run)(void *))
{
    s->handle = e2e_open(s->socket, rig.timeout_ms);
    s->space = e2e_space(s->handle, rig.space);
    if (pthread_create(&s->thread, NULL, run, s) != 0)
        e2e_die("no thread");
}

static bool number_read(const char *text, uint64_t least, uint64_t most, uint64_t *number)
{
    char *end;
    *number = strtoull(text, &end, 10);
    return end != text && *end == '\0' && *number >= least && *number <= most;
}

static bool take(int option)
{
    uint64_t bytes = 0;
    switch (option) {
    case 'w':
        rig.writer.socket = optarg;
        return true;
    case 'r':
    case 'u':
        if (rig.reader_count == READERS_MAX)
            return false;
        rig.readers[rig.reader_count].unleased = option == 'u';
        rig.readers[rig.reader_count++].socket = optarg;
        return true;
    case 's':
        rig.space = optarg;
        return true;
    case 'k':
        rig.key = optarg;
        return true;
    case 'b':
        if (!number_read(optarg, NUMBER_BYTES, VALUE_BYTES_MAX, &bytes))
            return false;
        rig.value_bytes = (size_t)bytes;
        return true;
    case 'p':
        return number_read(optarg, 0, 1000000, &rig.pause_us);
    case 't':
        return number_read(optarg, 1, 1000000, &rig.timeout_ms);
    default:
        return false;
    }
}

static bool options_read(int argc, char **argv)
{
    static const struct option table[] = {
        {"writer", required_argument, NULL, 'w'},
        {"reader", required_argument, NULL, 'r'},
        {"unleased", required_argument, NULL, 'u'},
        {"space", required_argument, NULL, 's'},
        {"key", required_argument, NULL, 'k'},
        {"bytes", required_argument, NULL, 'b'},
        {"pause-us", required_argument, NULL, 'p'},
        {"timeout-ms", required_argument, NULL, 't'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", table, NULL)) != -1)
        if (!take(option))
            return false;
    return optind == argc && (rig.writer.socket != NULL || rig.reader_count > 0);
}

int main(int argc, char **argv)
{
    static char key[32];
    const struct timespec period = {.tv_nsec = PERIOD_MS * (long)NS_PER_MS};
    uint64_t wrongs = 0;
    sigset_t ends;
    rig.timeout_ms = 5000;
    (void)snprintf(key, sizeof(key), "%d", (int)getpid());
    rig.key = key;
    if (!options_read(argc, argv)) {
        (void)fprintf(stderr,
                      "usage: cluster_agent [--writer SOCKET] [--reader|--unleased SOCKET]... "
                      "[--space NAME] [--key NAME] [--bytes N] [--pause-us N] "
                      "[--timeout-ms N]\n");
        return 2;
    }
    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGTERM);
    (void)sigaddset(&ends, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &ends, NULL); /* before the threads, which inherit it */
    if (rig.writer.socket != NULL)
        side_start(&rig.writer, writer_run);
    for (uint32_t i = 0; i < rig.reader_count; i++)
        side_start(&rig.readers[i], reader_run);
    while (sigtimedwait(&ends, NULL, &period) < 0)
        print_line();
    atomic_store_explicit(&rig.quit, true, memory_order_relaxed); /* relaxed: looked at again */
    if (rig.writer.socket != NULL)
        (void)pthread_join(rig.writer.thread, NULL);
    for (uint32_t i = 0; i < rig.reader_count; i++) {
        (void)pthread_join(rig.readers[i].thread, NULL);
        wrongs += count_of(&rig.readers[i].wrong);
        dunlin_close(rig.readers[i].handle);
    }
    dunlin_close(rig.writer.handle);
    print_line();
    return wrongs == 0 ? 0 : 1;
}
