/* dunlin-bench - main: which bench, and the supervisor that cleans up behind it (bench.h). */
#include "bench/bench.h"
#include "bench/report.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROOM_WANTED (UINT64_C(2) << 30) /* in memory, for LMDB's file */

static const struct bench_entry {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} benches[] = {
    {"read", bench_read, "get in place, against plain memory reads, liburcu and LMDB"},
    {"ring", bench_ring, "agent ring round trip and stream, against bare cache lines and rte_ring"},
    {"append", bench_append, "what a write costs in the engine and through libdunlin, idle cost"},
    {"replicate", bench_replicate,
     "what a write costs three replicas in one thread, against libraft; or between processes"},
    {"transport", bench_transport,
     "frames and tags between two processes, against plain UDP, over sockets or DPDK's ports"},
    {"failover", bench_failover,
     "how long nobody is served when a leader is killed; at least 45 kills, about two minutes"},
    {"fleet", bench_fleet,
     "recorded fleets replayed into a running daemon, and checked (fleet --help)"},
};

static const char *const benches_later[] = {"merge", "scale"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char directory[64];

const char *bench_directory(void)
{
    return directory;
}

static int take_seconds(const char *text, struct bench_options *options)
{
    char *end;
    options->seconds = strtod(text, &end);
    if (end != text && *end == '\0' && options->seconds >= 1 && options->seconds <= 3600)
        return 0;
    (void)fprintf(stderr, "dunlin-bench: --seconds %s: a number from 1 to 3600 was expected\n",
                  text);
    return -EINVAL;
}

static int take_part(const char *text, const char *const *parts, struct bench_options *options)
{
    options->only = text;
    for (const char *const *part = parts; *part != NULL; part++)
        if (strcmp(*part, text) == 0)
            return 0;
    (void)fprintf(stderr, "dunlin-bench: --only %s: expected one of", text);
    for (const char *const *part = parts; *part != NULL; part++)
        (void)fprintf(stderr, " %s", *part);
    (void)fprintf(stderr, "\n");
    return -EINVAL;
}

int bench_options_parse_parts(int argc, char **argv, const char *const *parts,
                              struct bench_options *options)
{
    *options = (struct bench_options){.seconds = BENCH_SECONDS_DEFAULT};
    int rc = 0;
    for (int i = 1; i < argc && rc == 0; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            options->json = true;
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            rc = take_seconds(argv[++i], options);
        } else if (parts != NULL && strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
            rc = take_part(argv[++i], parts, options);
        } else {
            (void)fprintf(stderr,
                          "dunlin-bench %s: unknown argument %s; known: --json, --seconds N%s\n",
                          argv[0], argv[i], parts != NULL ? ", --only PART" : "");
            rc = -EINVAL;
        }
    }
    return rc;
}

int bench_options_parse(int argc, char **argv, struct bench_options *options)
{
    return bench_options_parse_parts(argc, argv, NULL, options);
}

int bench_end(const struct report *report, int error, bool json)
{
    if (error == 0)
        error = report_print(report, json);
    if (error != 0)
        (void)fprintf(stderr, "dunlin-bench %s: %s\n", report->bench, strerror(-error));
    return error != 0 || report_refused(report) ? BENCH_REFUSED : BENCH_OK;
}

static void usage(FILE *out)
{
    (void)fprintf(out, "usage: dunlin-bench NAME [--json] [--seconds N] [--only PART]\n\n");
    for (size_t i = 0; i < COUNT(benches); i++)
        (void)fprintf(out, "  %-9s %s\n", benches[i].name, benches[i].about);
    (void)fprintf(
        out,
        "\nN bounds the whole run, default %.0f.  PART: of append and read, alone (a wrong one "
        "lists them).\n"
        "transport [--transport udp|dpdk|rdma] [--port DEVARGS]...: over what; a port for each of\n"
        "2 sides, without, as root, ends of virtual cables.  replicate [--transport mem|udp|dpdk|\n"
        "rdma] [--port DEVARGS]... [--cpus LIST]: the same of 3 nodes; where the client and they\n"
        "run.  Both: [--device NAME]: of RDMA, without, the first that has an IPv4 address.\n"
        "Exit: 0 measured (rows say which goals "
        "were missed),\n1 a baseline swung too much or the bench failed, 2 usage.\n",
        BENCH_SECONDS_DEFAULT);
}

/* ---- directory ---- */

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *ftw)
{
    (void)status, (void)kind, (void)ftw;
    return remove(path);
}

static int directory_make(void)
{
    /* Why not always /dev/shm: in containers it may be 64 MiB. */
    struct statvfs room;
    const char *parent = getenv("TMPDIR");
    if (parent == NULL || strlen(parent) > 32)
        parent = "/tmp";
    if (statvfs("/dev/shm", &room) == 0 && (uint64_t)room.f_bavail * room.f_frsize >= ROOM_WANTED &&
        access("/dev/shm", W_OK) == 0)
        parent = "/dev/shm";
    (void)snprintf(directory, sizeof directory, "%s/dunlin-bench.XXXXXX", parent);
    return mkdtemp(directory) != NULL ? 0 : -errno;
}

static void directory_remove(void)
{
    if (nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0)
        (void)fprintf(stderr, "dunlin-bench: cannot remove %s: %s\n", directory, strerror(errno));
}

/* ---- supervisor ---- */

static _Noreturn void worker_run(const struct bench_entry *bench, int argc, char **argv,
                                 const sigset_t *unblocked, pid_t supervisor)
{
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != supervisor)
        _exit(BENCH_REFUSED); /* it died before we asked to be told */
    (void)sigprocmask(SIG_SETMASK, unblocked, NULL);
    int code = bench->run(argc, argv);
    exit(code);
}

/* Wait for the worker or a signal that ends us.  Returns the exit code. */
static int supervise(pid_t worker, const sigset_t *signals)
{
    for (;;) {
        int number = sigwaitinfo(signals, NULL);
        int status;
        if (number == SIGCHLD && waitpid(worker, &status, WNOHANG) == worker) {
            if (WIFEXITED(status))
                return WEXITSTATUS(status);
            (void)fprintf(stderr, "dunlin-bench: ended by signal %d\n", WTERMSIG(status));
            return BENCH_REFUSED;
        }
        if (number > 0 && number != SIGCHLD)
            return 128 + number;
    }
}

static int run_supervised(const struct bench_entry *bench, int argc, char **argv)
{
    sigset_t signals, before;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGHUP);
    (void)sigaddset(&signals, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &signals, &before);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* what the worker leaves behind becomes ours */
    int rc = directory_make();
    if (rc != 0) {
        (void)fprintf(stderr, "dunlin-bench: cannot make a directory: %s\n", strerror(-rc));
        return BENCH_REFUSED;
    }
    pid_t self = getpid();
    pid_t worker = fork();
    if (worker == 0)
        worker_run(bench, argc, argv, &before, self);
    int code = BENCH_REFUSED;
    (void)signal(SIGPIPE, SIG_IGN); /* who reads us may go; the directory is removed all the same */
    if (worker > 0) {
        (void)setpgid(worker, worker);
        code = supervise(worker, &signals);
        (void)kill(-worker, SIGKILL);
        while (waitpid(-worker, NULL, 0) > 0)
            continue;
    } else {
        (void)fprintf(stderr, "dunlin-bench: cannot fork: %s\n", strerror(errno));
    }
    directory_remove();
    return code;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return BENCH_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return BENCH_OK;
    }
    for (size_t i = 0; i < COUNT(benches); i++)
        if (strcmp(argv[1], benches[i].name) == 0)
            return run_supervised(&benches[i], argc - 1, argv + 1);
    for (size_t i = 0; i < COUNT(benches_later); i++)
        if (strcmp(argv[1], benches_later[i]) == 0) {
            (void)fprintf(stderr, "dunlin-bench: %s: not in this version\n", argv[1]);
            return BENCH_USAGE;
        }
    (void)fprintf(stderr, "dunlin-bench: unknown bench %s\n", argv[1]);
    usage(stderr);
    return BENCH_USAGE;
}
