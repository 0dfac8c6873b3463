#include "bench/daemon.h"

#include "bench/bench.h"
#include "bench/machine.h"
#include "engine/agent/dunlin.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STOP_STEPS 500u    /* of 10 ms */
#define ATTACH_STEPS 1000u /* of 10 ms */
#define SERVE_STEPS 12000u /* of as long */
#define CALL_TIMEOUT_NS (10 * NS_PER_S)
#define THREADS_MAX 64u

int daemon_beside(char *directory, size_t capacity)
{
    ssize_t length = readlink("/proc/self/exe", directory, capacity - 1);
    if (length < 0)
        return -errno;
    directory[length] = '\0';
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        return -ENOENT;
    *slash = '\0';
    return 0;
}

/* dunlind lies beside us when installed, in control/ in a build directory. */
static int find_program(char *path, size_t capacity)
{
    char self[512];
    int rc = daemon_beside(self, sizeof self);
    if (rc != 0)
        return rc;
    static const char *const places[] = {"dunlind", "../control/dunlind"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        int written = snprintf(path, capacity, "%s/%s", self, places[i]);
        if (written > 0 && (size_t)written < capacity && access(path, X_OK) == 0)
            return 0;
    }
    (void)fprintf(stderr, "dunlin-bench: no dunlind in %s or %s/../control: build it first\n", self,
                  self);
    return -ENOENT;
}

static int write_config(const struct daemon *d, const struct daemon_options *o, const char *path)
{
    FILE *file = fopen(path, "wex");
    if (file == NULL)
        return -errno;
    (void)fprintf(file, "node:\n  name: bench\n  id: 1\nsocket:\n  path: %s\n  mode: 0600\n",
                  d->socket_path);
    (void)fprintf(file, "lcores:\n  count: 1\n  spin: %s\n", o->spin ? "true" : "false");
    if (o->cpu >= 0)
        (void)fprintf(file, "  cpus: [%d]\n", o->cpu);
    (void)fprintf(file,
                  "spaces:\n  - name: " DAEMON_SPACE "\n    id: 1\n    shards: %" PRIu32
                  "\n    quota: %" PRIu64 "KiB\n",
                  o->shard_count, o->quota_bytes >> 10);
    if (o->quiet_space)
        (void)fprintf(file, "  - name: " DAEMON_SPACE_QUIET "\n    id: 2\n    shards: 1\n"
                            "    quota: 4096KiB\n");
    return fclose(file) == 0 ? 0 : -errno;
}

struct start {
    char program[600];
    const char *config, *log;
    bool pinned;
    uint32_t cpu;
    pid_t parent;
};

static _Noreturn void become(const struct start *s)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    machine_unpin();
    int fd = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (getppid() != s->parent || fd < 0 || dup2(fd, STDERR_FILENO) < 0 ||
        dup2(fd, STDOUT_FILENO) < 0 || (s->pinned && machine_pin(s->cpu) < 0))
        _exit(127);
    (void)execl(s->program, "dunlind", "--config", s->config, (char *)NULL);
    _exit(127);
}

static int launch(struct daemon *d, struct start *s)
{
    int rc = find_program(s->program, sizeof s->program);
    if (rc != 0)
        return rc;
    s->log = d->log_path;
    s->parent = getpid();
    d->pid = fork();
    if (d->pid == 0)
        become(s);
    if (d->pid > 0)
        return 0;
    rc = -errno;
    (void)fprintf(stderr, "dunlin-bench: cannot fork: %s\n", strerror(-rc));
    return rc;
}

void daemon_name(struct daemon *d, const char *name)
{
    (void)snprintf(d->socket_path, sizeof d->socket_path, "%s/%s.sock", bench_directory(), name);
    (void)snprintf(d->log_path, sizeof d->log_path, "%s/%s.log", bench_directory(), name);
}

int daemon_launch(struct daemon *d, const char *config_path, uint32_t cpu)
{
    struct start start = {.config = config_path, .pinned = cpu != DAEMON_ANYWHERE, .cpu = cpu};
    return launch(d, &start);
}

int daemon_start(struct daemon *d, const struct daemon_options *options)
{
    char config[96];
    struct start start = {.config = config};
    daemon_name(d, options->name);
    (void)snprintf(config, sizeof config, "%s/%s.yaml", bench_directory(), options->name);
    int rc = write_config(d, options, config);
    if (rc == 0)
        return launch(d, &start);
    (void)fprintf(stderr, "dunlin-bench: cannot write %s: %s\n", config, strerror(-rc));
    return rc;
}

void daemon_log_print(const struct daemon *d)
{
    FILE *file = fopen(d->log_path, "re");
    if (file == NULL)
        return;
    char line[512];
    while (fgets(line, sizeof line, file) != NULL)
        (void)fputs(line, stderr);
    (void)fclose(file);
}

static bool has_ended(const struct daemon *d)
{
    siginfo_t info = {.si_pid = 0};
    return waitid(P_PID, (id_t)d->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

void daemon_await(const struct daemon *d)
{
    for (uint32_t i = 0; i < SERVE_STEPS && access(d->socket_path, F_OK) != 0; i++) {
        if (has_ended(d))
            return;
        (void)usleep(10000);
    }
}

int daemon_attach(const struct daemon *d, uint64_t spin_ns, struct dunlin **handle)
{
    struct dunlin_options options = {
        .socket = d->socket_path, .timeout_ns = CALL_TIMEOUT_NS, .spin_ns = spin_ns};
    int rc = -ENOTCONN;
    for (uint32_t i = 0; i < ATTACH_STEPS && rc == -ENOTCONN; i++) {
        rc = dunlin_open(&options, handle);
        if (rc != -ENOTCONN || has_ended(d))
            break; /* ended: no use waiting */
        (void)usleep(10000);
    }
    if (rc != 0) {
        (void)fprintf(stderr, "dunlin-bench: cannot attach to %s: %s; dunlind said:\n",
                      d->socket_path, strerror(-rc));
        daemon_log_print(d);
    }
    return rc;
}

void daemon_stop(struct daemon *d)
{
    (void)kill(d->pid, SIGTERM);
    (void)kill(d->pid, SIGCONT);
    for (uint32_t i = 0; i < STOP_STEPS; i++) {
        if (waitpid(d->pid, NULL, WNOHANG) == d->pid)
            return;
        (void)usleep(10000);
    }
    (void)fprintf(stderr, "dunlin-bench: dunlind did not end, killing it\n");
    (void)kill(d->pid, SIGKILL);
    (void)waitpid(d->pid, NULL, 0);
}

void daemon_freeze(struct daemon *d)
{
    int status;
    (void)kill(d->pid, SIGSTOP);
    (void)waitpid(d->pid, &status, WUNTRACED);
}

void daemon_thaw(struct daemon *d)
{
    (void)kill(d->pid, SIGCONT);
}

int daemon_cpu_ns(const struct daemon *d, uint64_t *ns)
{
    clockid_t clock;
    int rc = clock_getcpuclockid(d->pid, &clock);
    if (rc != 0)
        return -rc;
    struct timespec used;
    if (clock_gettime(clock, &used) != 0)
        return -errno;
    *ns = (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
    return 0;
}

int daemon_thread_ns(const struct daemon *d, uint32_t thread, uint64_t *ns)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task/%" PRIu32 "/schedstat", (int)d->pid, thread);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -errno;
    const int found = fscanf(file, "%" SCNu64, ns);
    (void)fclose(file);
    return found == 1 ? 0 : -EBADMSG;
}

/* The numbers of its threads.  Returns how many, or -errno. */
static int threads_of(const struct daemon *d, uint32_t *threads, uint32_t capacity)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)d->pid);
    DIR *directory = opendir(path);
    if (directory == NULL)
        return -errno;
    uint32_t count = 0;
    for (const struct dirent *e; (e = readdir(directory)) != NULL && count < capacity;) {
        const uint32_t number = (uint32_t)strtoul(e->d_name, NULL, 10);
        if (number != 0)
            threads[count++] = number;
    }
    (void)closedir(directory);
    return (int)count;
}

int daemon_lcore(const struct daemon *d, uint32_t *thread)
{
    uint32_t threads[THREADS_MAX] = {0};
    const int count = threads_of(d, threads, THREADS_MAX);
    uint64_t most_ns = 0, ns = 0;
    for (int i = 0; i < count; i++) {
        if (threads[i] == (uint32_t)d->pid || daemon_thread_ns(d, threads[i], &ns) != 0 ||
            ns <= most_ns)
            continue;
        most_ns = ns;
        *thread = threads[i];
    }
    return count < 0 ? count : most_ns != 0 ? 0 : -ESRCH;
}

int daemon_confine(const struct daemon *d, uint32_t thread, int cpu)
{
    uint32_t threads[THREADS_MAX] = {0};
    const int count = threads_of(d, threads, THREADS_MAX);
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    for (int i = 0; i < count; i++)
        if (threads[i] != thread && sched_setaffinity((pid_t)threads[i], sizeof set, &set) != 0)
            return -errno;
    return count < 0 ? count : 0;
}
