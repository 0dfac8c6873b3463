#include "bench/watchers.h"

#include "bench/machine.h"
#include "engine/agent/dunlin.h"
#include "engine/clock.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define EVENTS 64u
#define WAIT_NS (100 * NS_PER_MS)
#define STACK_BYTES (256u << 10)
#define START_STEPS 3000u /* of 10 ms */
#define NEIGHBOUR_BYTES (64u << 20)
#define STRIDE (64u << 10)

struct watchers_shared {
    _Atomic uint32_t ready;
    _Atomic int error;
    _Atomic uint64_t events, lags;
};

/* In the child. */
struct job {
    const struct daemon *daemon;
    const struct watchers_what *what;
    struct watchers_shared *shared;
};

/* One watch, for ever; ends on an error, which is told. */
static int watch(const struct job *j)
{
    struct dunlin *handle;
    struct dunlin_space *space;
    struct dunlin_watch *watch;
    struct dunlin_event events[EVENTS];
    const struct dunlin_watch_options options = {
        .prefix = j->what->prefix,
        .prefix_length = j->what->prefix != NULL ? strlen(j->what->prefix) : 0,
    };
    int rc = daemon_attach(j->daemon, 0, &handle);
    if (rc == 0)
        rc = dunlin_space(handle, j->what->space, &space);
    if (rc == 0)
        rc = dunlin_watch_open(space, &options, &watch);
    if (rc != 0)
        return rc;
    atomic_fetch_add_explicit(&j->shared->ready, 1, memory_order_release);
    for (;;) {
        int64_t count = dunlin_watch_next(watch, events, EVENTS, WAIT_NS);
        if (count < 0 && count != -ENODATA)
            return (int)count;
        /* relaxed: counts */
        if (count > 0)
            atomic_fetch_add_explicit(&j->shared->events, (uint64_t)count, memory_order_relaxed);
        else if (count != 0)
            atomic_fetch_add_explicit(&j->shared->lags, 1, memory_order_relaxed);
    }
}

static void *watch_main(void *argument)
{
    const struct job *j = argument;
    /* release: pairs with the acquire of who waits for all */
    atomic_store_explicit(&j->shared->error, watch(j), memory_order_release);
    return NULL;
}

static uint64_t read_lines(const uint8_t *at)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < STRIDE; i += CACHE_LINE) {
        uint64_t word;
        memcpy(&word, at + i, sizeof word);
        sum += word;
    }
    return sum;
}

static _Noreturn void neighbour(const struct job *j)
{
    uint8_t *bytes = aligned_alloc(CACHE_LINE, NEIGHBOUR_BYTES);
    uint8_t *to = aligned_alloc(CACHE_LINE, STRIDE);
    if (bytes == NULL || to == NULL)
        _exit(1);
    memset(bytes, 1, NEIGHBOUR_BYTES);
    atomic_store_explicit(&j->shared->ready, WATCHERS_COUNT, memory_order_release);
    for (uint64_t sum = 0;;)
        for (uint32_t at = 0; at < NEIGHBOUR_BYTES; at += STRIDE) {
            if (j->what->copies)
                memcpy(to, bytes + at, STRIDE);
            else
                sum += read_lines(bytes + at);
            __asm__ volatile("" : : "r"(to), "r"(sum) : "memory"); /* none of it may be left out */
        }
}

static _Noreturn void child(struct job *j, pid_t parent)
{
    pthread_attr_t attributes;
    pthread_t thread;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || machine_pin(j->what->cpu) < 0 ||
        pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setstacksize(&attributes, STACK_BYTES) != 0)
        _exit(1);
    if (j->what->is_neighbour)
        neighbour(j);
    for (uint32_t i = 0; i < WATCHERS_COUNT; i++) {
        if (pthread_create(&thread, &attributes, watch_main, j) != 0)
            _exit(1);
        /* One after the other: a thousand at once are in each other's way, and nobody measures that. */
        while (atomic_load_explicit(&j->shared->ready, memory_order_acquire) == i)
            (void)usleep(100);
    }
    for (;;)
        (void)pause();
}

static int wait_all(struct watchers *w)
{
    for (uint32_t i = 0; i < START_STEPS; i++) {
        int error = atomic_load_explicit(&w->shared->error, memory_order_acquire);
        if (atomic_load_explicit(&w->shared->ready, memory_order_acquire) == WATCHERS_COUNT)
            return 0;
        if (error != 0 || waitpid(w->pid, NULL, WNOHANG) == w->pid)
            return error != 0 ? error : -ECHILD;
        (void)usleep(10000);
    }
    return -ETIMEDOUT;
}

int watchers_start(struct watchers *w, const struct daemon *d, const struct watchers_what *what)
{
    const pid_t parent = getpid();
    *w = (struct watchers){.shared = mmap(NULL, sizeof *w->shared, PROT_READ | PROT_WRITE,
                                          MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
    if (w->shared == MAP_FAILED)
        return -ENOMEM;
    struct job job = {.daemon = d, .what = what, .shared = w->shared};
    w->pid = fork();
    if (w->pid == 0)
        child(&job, parent);
    w->since_ns = clock_boottime_ns();
    int rc = w->pid > 0 ? wait_all(w) : -EAGAIN;
    if (rc == 0)
        return 0;
    (void)fprintf(stderr, "dunlin-bench: %u of %u watchers: %s\n",
                  atomic_load_explicit(&w->shared->ready, memory_order_relaxed), WATCHERS_COUNT,
                  strerror(-rc));
    watchers_stop(w);
    return rc;
}

void watchers_stop(struct watchers *w)
{
    if (w->pid > 0) {
        (void)kill(w->pid, SIGKILL); /* it may have ended by itself */
        (void)waitpid(w->pid, NULL, 0);
    }
    (void)munmap(w->shared, sizeof *w->shared);
}

void watchers_pause(struct watchers *w)
{
    int status;
    (void)kill(w->pid, SIGSTOP);
    (void)waitpid(w->pid, &status, WUNTRACED);
    w->running_ns += clock_boottime_ns() - w->since_ns;
}

void watchers_resume(struct watchers *w)
{
    int status;
    w->since_ns = clock_boottime_ns();
    (void)kill(w->pid, SIGCONT);
    (void)waitpid(w->pid, &status, WCONTINUED);
}

void watchers_count(const struct watchers *w, struct watchers_counted *counted)
{
    clockid_t clock;
    struct timespec used = {0};
    if (clock_getcpuclockid(w->pid, &clock) == 0)
        (void)clock_gettime(clock, &used);
    const double cpu_ns = (double)used.tv_sec * 1e9 + (double)used.tv_nsec;
    /* relaxed: counts of who stands still */
    *counted = (struct watchers_counted){
        .events = atomic_load_explicit(&w->shared->events, memory_order_relaxed),
        .lags = atomic_load_explicit(&w->shared->lags, memory_order_relaxed),
        .cores = cpu_ns / (double)max_u64(w->running_ns, 1),
    };
}
