#include "bench/client.h"

#include "bench/machine.h"
#include "engine/clock.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define GROUP 16u
#define FILL_WINDOW 512u
#define POLL_BATCH 64u
#define POLL_WAIT_NS (5 * NS_PER_S)
#define WRITER_STEP 4096u

int client_open(struct client *c, const struct daemon *d, uint32_t key_bits, double ticks_per_ns)
{
    *c = (struct client){.key_bits = key_bits, .mode = DUNLIN_LINEARIZABLE, .chained = true};
    int rc = daemon_attach(d, 0, &c->handle);
    if (rc != 0)
        return rc;
    rc = dunlin_space(c->handle, DAEMON_SPACE, &c->space);
    if (rc != 0) {
        (void)fprintf(stderr, "dunlin-bench: no space: %s\n", strerror(-rc));
        goto fail_handle;
    }
    c->get_sampler = sampler_new(GROUP, ticks_per_ns);
    c->many_sampler = sampler_new(CLIENT_GET_BATCH, ticks_per_ns);
    if (c->get_sampler != NULL && c->many_sampler != NULL)
        return 0;
    rc = -ENOMEM;
    sampler_delete(c->get_sampler);
    sampler_delete(c->many_sampler);
fail_handle:
    dunlin_close(c->handle);
    return rc;
}

void client_close(struct client *c)
{
    sampler_delete(c->get_sampler);
    sampler_delete(c->many_sampler);
    dunlin_close(c->handle);
}

/* ---- writing ---- */

int client_collect(struct client *c, size_t left)
{
    struct dunlin_completion done[POLL_BATCH];
    while (dunlin_in_flight(c->handle) > left) {
        size_t count = dunlin_poll(c->handle, done, POLL_BATCH, POLL_WAIT_NS);
        if (count == 0)
            return -ETIMEDOUT;
        for (size_t i = 0; i < count; i++)
            if (done[i].result != 0)
                return done[i].result;
    }
    return 0;
}

int client_submit(struct client *c, uint64_t nth)
{
    char key[KEYS_LENGTH];
    uint64_t value[KEYS_VALUE_BYTES / 8] = {nth};
    keys_text(keys_shuffle_write(nth, c->key_bits), key);
    struct dunlin_write write = {
        .operation = DUNLIN_PUT,
        .key = key,
        .key_length = sizeof key,
        .value = value,
        .value_length = sizeof value,
    };
    int rc = 0;
    while (rc == 0 && (rc = dunlin_submit(c->space, &write)) == -EAGAIN) {
        size_t in_flight = dunlin_in_flight(c->handle);
        rc = client_collect(c, in_flight > 0 ? in_flight - 1 : 0);
    }
    return rc;
}

int client_put_many(struct client *c, uint64_t nth, uint64_t count, uint32_t window)
{
    int rc = 0;
    for (uint64_t i = nth; i < nth + count && rc == 0; i++) {
        if (dunlin_in_flight(c->handle) >= window)
            rc = client_collect(c, window - 1 - window / 4);
        if (rc == 0)
            rc = client_submit(c, i);
    }
    if (rc == 0)
        rc = client_collect(c, 0);
    if (rc != 0)
        (void)fprintf(stderr, "dunlin-bench: a write failed: %s\n", strerror(-rc));
    return rc;
}

int client_fill(struct client *c)
{
    return client_put_many(c, 0, UINT64_C(1) << c->key_bits, FILL_WINDOW);
}

/* ---- reading ---- */

static ALWAYS_INLINE int get_one(struct client *c, uint64_t *buffer)
{
    uint64_t wait = c->chained ? keys_wait_for(buffer[0]) : 0;
    char key[KEYS_LENGTH];
    keys_text(keys_shuffle(c->position++ + wait, c->key_bits), key);
    struct dunlin_read read = {.mode = c->mode};
    int rc = dunlin_get(c->space, key, KEYS_LENGTH, buffer, KEYS_VALUE_BYTES, &read);
    return UNLIKELY(rc == 0 && read.length != KEYS_VALUE_BYTES) ? -EBADMSG : rc;
}

int client_measure_get(void *context, uint64_t duration_ns, double *value)
{
    struct client *c = context;
    uint64_t buffer[KEYS_VALUE_BYTES / 8] = {0};
    bool more;
    sampler_start(c->get_sampler, duration_ns);
    do {
        uint64_t from = sampler_now();
        for (uint32_t i = 0; i < GROUP; i++) {
            int rc = get_one(c, buffer);
            if (UNLIKELY(rc != 0)) {
                (void)fprintf(stderr, "dunlin-bench: a get failed: %s\n", strerror(-rc));
                return rc;
            }
        }
        more = sampler_add(c->get_sampler, from, sampler_now());
    } while (more);
    *value = sampler_finish(c->get_sampler);
    return 0;
}

struct batch {
    struct dunlin_get_entry entries[CLIENT_GET_BATCH];
    char keys[CLIENT_GET_BATCH][KEYS_LENGTH];
    uint64_t buffers[CLIENT_GET_BATCH][KEYS_VALUE_BYTES / 8];
};

static ALWAYS_INLINE int get_batch(struct client *c, struct batch *b)
{
    for (uint32_t i = 0; i < CLIENT_GET_BATCH; i++) {
        keys_text(keys_shuffle(c->position++, c->key_bits), b->keys[i]);
        struct dunlin_get_entry *e = &b->entries[i];
        e->key = b->keys[i];
        e->key_length = KEYS_LENGTH;
        e->buffer = b->buffers[i];
        e->capacity = KEYS_VALUE_BYTES;
        e->read.mode = c->mode;
        e->read.max_age_ns = 0;
    }
    int rc = dunlin_get_many(c->space, b->entries, CLIENT_GET_BATCH);
    for (uint32_t i = 0; i < CLIENT_GET_BATCH && rc == 0; i++)
        rc = b->entries[i].result;
    return rc;
}

int client_measure_get_many(void *context, uint64_t duration_ns, double *value)
{
    struct client *c = context;
    struct batch batch;
    memset(&batch, 0, sizeof batch);
    bool more;
    sampler_start(c->many_sampler, duration_ns);
    do {
        uint64_t from = sampler_now();
        int rc = get_batch(c, &batch);
        if (UNLIKELY(rc != 0)) {
            (void)fprintf(stderr, "dunlin-bench: a batched get failed: %s\n", strerror(-rc));
            return rc;
        }
        more = sampler_add(c->many_sampler, from, sampler_now());
    } while (more);
    *value = sampler_finish(c->many_sampler);
    return 0;
}

/* ---- busy writer ---- */

struct client_writer_shared {
    _Atomic uint64_t count; /* writer */
};

static _Noreturn void writer_run(const struct client_writer *w, const struct daemon *d,
                                 uint32_t key_bits, uint32_t cpu)
{
    struct client c;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)raise(SIGSTOP);
    (void)!machine_pin(cpu);
    if (client_open(&c, d, key_bits, 1) != 0)
        _exit(1);
    for (uint64_t nth = 0;; nth += WRITER_STEP) {
        if (client_put_many(&c, nth, WRITER_STEP, FILL_WINDOW) != 0)
            _exit(1);
        /* relaxed: a counter */
        atomic_store_explicit(&w->shared->count, nth + WRITER_STEP, memory_order_relaxed);
    }
}

int client_writer_start(struct client_writer *w, const struct daemon *d, uint32_t key_bits,
                        uint32_t cpu)
{
    w->shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (w->shared == MAP_FAILED)
        return -errno;
    w->pid = fork();
    if (w->pid == 0)
        writer_run(w, d, key_bits, cpu);
    if (w->pid < 0) {
        int rc = -errno;
        (void)munmap(w->shared, PAGE);
        return rc;
    }
    int status;
    if (waitpid(w->pid, &status, WUNTRACED) == w->pid && WIFSTOPPED(status))
        return 0;
    (void)munmap(w->shared, PAGE);
    return -ECHILD;
}

int client_writer_resume(struct client_writer *w)
{
    uint64_t before = client_writer_count(w);
    (void)kill(w->pid, SIGCONT);
    while (client_writer_count(w) == before) {
        if (waitpid(w->pid, NULL, WNOHANG) == w->pid) {
            w->pid = 0;
            return -ECHILD;
        }
        (void)usleep(1000);
    }
    return 0;
}

uint64_t client_writer_count(const struct client_writer *w)
{
    return atomic_load_explicit(&w->shared->count, memory_order_relaxed); /* relaxed: a counter */
}

void client_writer_stop(struct client_writer *w)
{
    if (w->pid > 0) {
        (void)kill(w->pid, SIGKILL);
        (void)waitpid(w->pid, NULL, 0);
    }
    (void)munmap(w->shared, PAGE);
}
