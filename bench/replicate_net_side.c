#include "bench/replicate_net_side.h"

#include "bench/machine.h"
#include "engine/clock.h"

#include <arpa/inet.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAMPLES_MIN 8u
#define SOCKET_BYTES (4 << 20)

int net_cpus_parse(const char *text, struct net_cpus *cpus)
{
    *cpus = (struct net_cpus){.count = 0};
    for (const char *at = text; cpus->count < NET_CPUS_MAX;) {
        char *end;
        unsigned long number = strtoul(at, &end, 10);
        if (end == at || *at < '0' || *at > '9' || number > 1023)
            break;
        cpus->list[cpus->count++] = (uint32_t)number;
        if (*end == '\0')
            return 0;
        if (*end != ',')
            break;
        at = end + 1;
    }
    (void)fprintf(stderr,
                  "dunlin-bench: --cpus %s: up to %u numbers with commas between were expected\n",
                  text, NET_CPUS_MAX);
    return -EINVAL;
}

uint32_t net_cpu(const struct net_cpus *cpus, uint32_t process)
{
    return cpus->list[process % cpus->count];
}

void net_side_reset(struct net_side *s)
{
    histogram_reset(&s->latency);
}

/* ---- writes ---- */

/* A number below key_count for the nth write, as good as random. */
static uint32_t number_of(const struct net_side *s, uint64_t nth)
{
    uint64_t x = nth * UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)((x >> 32) * s->key_count >> 32);
}

static void make_write(uint32_t number, uint64_t stamp, struct net_write *w)
{
    keys_text(number, w->key);
    memset(w->value, 0, sizeof w->value);
    w->value[0] = stamp;
}

int net_side_fill(struct net_side *s, uint32_t batch)
{
    struct net_write writes[NET_BATCH_MAX];
    int rc = 0;
    for (uint32_t number = 0; number < s->key_count && rc == 0;) {
        uint32_t count = 0;
        while (count < batch && number < s->key_count)
            make_write(number++, 0, &writes[count++]);
        rc = s->write(s->client, writes, count);
    }
    return rc;
}

/* ---- measuring ---- */

static int cpu_add(clockid_t clock, uint64_t *ns)
{
    struct timespec used;
    if (clock_gettime(clock, &used) != 0)
        return -errno;
    *ns += (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
    return 0;
}

static int cpu_all(const struct net_side *s, uint64_t *ns)
{
    *ns = 0;
    int rc = cpu_add(CLOCK_PROCESS_CPUTIME_ID, ns);
    for (uint32_t i = 0; i < s->pid_count && rc == 0; i++) {
        clockid_t clock;
        rc = -clock_getcpuclockid(s->pids[i], &clock);
        if (rc == 0)
            rc = cpu_add(clock, ns);
    }
    return rc;
}

static int write_next(struct net_side *s, uint32_t batch, uint64_t *took_ns)
{
    struct net_write writes[NET_BATCH_MAX];
    for (uint32_t i = 0; i < batch; i++, s->position++)
        make_write(number_of(s, s->position), s->position, &writes[i]);
    uint64_t from_ns = clock_boottime_ns();
    int rc = s->write(s->client, writes, batch);
    *took_ns = clock_boottime_ns() - from_ns;
    return rc;
}

static int compare_samples(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void values_set(struct net_side *s, uint32_t count, struct net_values *values)
{
    for (uint32_t i = 0; i < count; i++)
        histogram_add(&s->latency, s->samples[i]);
    qsort(s->samples, count, sizeof s->samples[0], compare_samples);
    uint64_t middle = count / 2, late = (uint64_t)count * 99 / 100;
    values->p50_ns = s->samples[middle];
    values->p99_ns = s->samples[late];
}

int net_side_measure(struct net_side *s, uint32_t batch, uint64_t duration_ns,
                     struct net_values *values)
{
    uint64_t warm_ns = clock_boottime_ns() + duration_ns / 4;
    uint64_t took_ns, cpu_from_ns, cpu_to_ns;
    int rc;
    do
        rc = write_next(s, batch, &took_ns);
    while (rc == 0 && clock_boottime_ns() < warm_ns);
    if (rc == 0)
        rc = cpu_all(s, &cpu_from_ns);
    uint64_t from_ns = clock_boottime_ns(), to_ns = from_ns;
    uint32_t count = 0;
    while (rc == 0 && count < NET_SAMPLES_MAX &&
           (count < SAMPLES_MIN || to_ns < from_ns + duration_ns * 3 / 4)) {
        rc = write_next(s, batch, &took_ns);
        s->samples[count++] = (uint32_t)min_u64(took_ns, UINT32_MAX);
        to_ns = clock_boottime_ns();
    }
    if (rc == 0)
        rc = cpu_all(s, &cpu_to_ns);
    if (rc != 0)
        return rc;
    double operations = (double)count * batch;
    values->cpu_ns = (double)(cpu_to_ns - cpu_from_ns) / operations;
    values->rate = operations * (double)NS_PER_S / (double)(to_ns - from_ns);
    values_set(s, count, values);
    return 0;
}

/* ---- processes ---- */

pid_t net_fork(uint32_t cpu, void (*task)(void *context), void *context)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid > 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent && machine_pin(cpu) >= 0)
        task(context);
    _exit(1);
}

void net_end(pid_t pid)
{
    if (pid <= 0)
        return;
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

/* ---- between processes ---- */

int net_socket(int *fd, uint16_t *port, uint64_t timeout_ns)
{
    static const int bytes = SOCKET_BYTES;
    const struct timeval timeout = {.tv_sec = (time_t)(timeout_ns / NS_PER_S),
                                    .tv_usec = (suseconds_t)(timeout_ns % NS_PER_S / 1000)};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    *fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return -errno;
    /* By force where we may, up to the system's limit where not. */
    if (setsockopt(*fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
        (void)setsockopt(*fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (setsockopt(*fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0)
        (void)setsockopt(*fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    int rc = 0;
    if (setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0 ||
        bind(*fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        getsockname(*fd, (struct sockaddr *)&address, &length) != 0)
        rc = -errno;
    *port = address.sin_port;
    if (rc != 0) {
        (void)close(*fd);
        *fd = -1;
    }
    return rc;
}

int net_connect(int fd, uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 ? 0 : -errno;
}

int net_ports_find(int type, uint16_t ports[NET_SERVERS])
{
    int fds[NET_SERVERS] = {-1, -1, -1}, rc = 0;
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof address;
        fds[i] = socket(AF_INET, type | SOCK_CLOEXEC, 0);
        if (fds[i] < 0 || bind(fds[i], (const struct sockaddr *)&address, sizeof address) != 0 ||
            getsockname(fds[i], (struct sockaddr *)&address, &length) != 0)
            rc = -errno;
        ports[i] = ntohs(address.sin_port);
    }
    for (uint32_t i = 0; i < NET_SERVERS; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
    return rc;
}

int net_word_await(_Atomic uint32_t *word, uint32_t seen)
{
    static const struct timespec limit = {.tv_sec = (time_t)(NET_WAIT_NS / NS_PER_S)};
    /* acquire: what was written before the word was changed is there */
    while (atomic_load_explicit(word, memory_order_acquire) == seen)
        if (syscall(SYS_futex, word, FUTEX_WAIT, seen, &limit, NULL, 0) != 0 && errno == ETIMEDOUT)
            return -ETIMEDOUT;
    return 0;
}

void net_word_wake(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

int net_front_ask(struct net_front *f, const struct net_write *write)
{
    /* relaxed: the last change of it was awaited */
    uint32_t seen = atomic_load_explicit(&f->answered, memory_order_relaxed);
    f->write = *write;
    atomic_store_explicit(&f->asked, seen + 1, memory_order_release);
    net_word_wake(&f->asked);
    int rc = net_word_await(&f->answered, seen);
    return rc != 0 ? rc : f->status;
}

void net_front_serve(struct net_front *f,
                     int (*exchange)(void *context, const struct net_write *write, uint32_t number),
                     void *context)
{
    for (uint32_t seen = 0;; seen++) {
        while (net_word_await(&f->asked, seen) != 0)
            continue; /* nothing for a long time is no fault */
        f->status = exchange(context, &f->write, seen + 1);
        atomic_store_explicit(&f->answered, seen + 1, memory_order_release);
        net_word_wake(&f->answered);
    }
}
