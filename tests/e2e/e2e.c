#include "tests/e2e/e2e.h"

#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MS 20000u
#define STOP_MS 15000u
#define FAILURES_PRINTED 40u
#define STATUS_BYTES (4u << 20)
#define VALUE_MAGIC 0x65326521u

static _Atomic uint32_t *failures;

void e2e_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    exit(2);
}

void *e2e_shared(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        e2e_die("no %zu bytes of shared memory: %s", bytes, strerror(errno));
    return at;
}

void e2e_begin(void)
{
    /* Why lines: children write to the same file, and what a killed one said is kept. */
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    failures = e2e_shared(sizeof *failures);
    /* Should the script be killed, nobody else would end us. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void e2e_fail(const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    /* relaxed: a counter; who reads it has waited for the child */
    if (atomic_fetch_add_explicit(failures, 1, memory_order_relaxed) < FAILURES_PRINTED)
        (void)printf("FAIL  %s\n", text);
}

uint32_t e2e_failures(void)
{
    return atomic_load_explicit(failures, memory_order_relaxed);
}

int e2e_verdict(void)
{
    return e2e_failures() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

void e2e_sleep_ms(uint64_t ms)
{
    const struct timespec pause = {.tv_sec = (time_t)(ms / 1000),
                                   .tv_nsec = (long)(ms % 1000 * NS_PER_MS)};
    (void)nanosleep(&pause, NULL);
}

pid_t e2e_fork(void)
{
    pid_t parent = getpid();
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(2);
    }
    return pid;
}

void e2e_become_stranger(void)
{
    if (setgroups(0, NULL) != 0 ||
        setresgid(E2E_STRANGER_UID, E2E_STRANGER_UID, E2E_STRANGER_UID) != 0 ||
        setresuid(E2E_STRANGER_UID, E2E_STRANGER_UID, E2E_STRANGER_UID) != 0)
        e2e_die("cannot become uid %u: %s", E2E_STRANGER_UID, strerror(errno));
    /* Why again: a change of uid clears it. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int e2e_wait(pid_t pid, uint64_t timeout_ms)
{
    uint64_t until = clock_boottime_ns() + timeout_ms * NS_PER_MS;
    int status;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_boottime_ns() >= until) {
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, &status, 0);
            return -1;
        }
        e2e_sleep_ms(1);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- the daemon --------------------------------------------------------------------------------
 */

static _Noreturn void become_daemon(const struct e2e_daemon *d, int ready)
{
    int log = open(d->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0 || dup2(log, STDERR_FILENO) < 0 || dup2(ready, STDOUT_FILENO) < 0)
        _exit(127);
    (void)execl(d->program, "dunlind", "--config", d->config, (char *)NULL);
    _exit(127);
}

static bool says_ready(int fd)
{
    char text[16] = "";
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    return poll(&wait, 1, (int)READY_MS) == 1 && read(fd, text, sizeof text - 1) > 0 &&
           strncmp(text, "ready", 5) == 0;
}

void e2e_daemon_start(struct e2e_daemon *d)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        e2e_die("no pipe: %s", strerror(errno));
    d->pid = e2e_fork();
    if (d->pid < 0)
        e2e_die("cannot fork: %s", strerror(errno));
    if (d->pid == 0)
        become_daemon(d, ends[1]);
    (void)close(ends[1]);
    if (!says_ready(ends[0]))
        e2e_die("%s is not ready; see its log", d->program);
    (void)close(ends[0]);
}

void e2e_daemon_kill(struct e2e_daemon *d)
{
    (void)kill(d->pid, SIGKILL);
    (void)waitpid(d->pid, NULL, 0);
    d->pid = 0;
}

int e2e_daemon_stop(struct e2e_daemon *d)
{
    (void)kill(d->pid, SIGTERM);
    int status = e2e_wait(d->pid, STOP_MS);
    d->pid = 0;
    return status;
}

bool e2e_daemon_alive(struct e2e_daemon *d)
{
    int status;
    if (d->pid != 0 && waitpid(d->pid, &status, WNOHANG) == 0)
        return true;
    if (d->pid != 0)
        e2e_fail("the daemon ended by itself: %s %d", WIFEXITED(status) ? "status" : "signal",
                 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    d->pid = 0;
    return false;
}

/* ---- agents ------------------------------------------------------------------------------------
 */

struct dunlin *e2e_open(const char *socket, uint64_t timeout_ms)
{
    const struct dunlin_options options = {
        .socket = socket, .timeout_ns = timeout_ms * NS_PER_MS, .flags = DUNLIN_OPEN_WAIT};
    uint64_t until = clock_boottime_ns() + READY_MS * NS_PER_MS;
    struct dunlin *handle;
    int error;
    /* Why again: a crowd may need longer than the timeout that is wanted afterwards. */
    do
        error = dunlin_open(&options, &handle);
    while (error == -ENOTCONN && clock_boottime_ns() < until);
    if (error != 0)
        e2e_die("cannot attach to %s: %s", socket, strerror(-error));
    return handle;
}

struct dunlin_space *e2e_space(struct dunlin *handle, const char *name)
{
    struct dunlin_space *space;
    uint64_t until = clock_boottime_ns() + READY_MS * NS_PER_MS;
    int error;
    do /* why again: as above */
        error = dunlin_space(handle, name, &space);
    while (error == -ENOTCONN && clock_boottime_ns() < until);
    if (error != 0)
        e2e_die("cannot open space %s: %s", name, strerror(-error));
    return space;
}

uint64_t e2e_status(struct dunlin *handle, const char *object, const char *name)
{
    char *text = malloc(STATUS_BYTES);
    int64_t length = text != NULL ? dunlin_status_json(handle, text, STATUS_BYTES) : -ENOMEM;
    if (length < 0)
        e2e_die("no status: %s", strerror((int)-length));
    json_t *root = json_loadb(text, (size_t)length, 0, NULL);
    const json_t *number = json_object_get(json_object_get(root, object), name);
    if (!json_is_integer(number))
        e2e_die("status has no number %s.%s: %s", object, name, text);
    uint64_t value = (uint64_t)json_integer_value(number);
    json_decref(root);
    free(text);
    return value;
}

/* ---- values ---- */

struct value_head {
    uint32_t magic;
    uint32_t key;
    uint64_t sequence;
    uint64_t length;
};
_Static_assert(sizeof(struct value_head) == E2E_VALUE_MIN, "the least value is its head");

static void fill(uint8_t *at, size_t length, const struct value_head *head)
{
    uint64_t state = head->sequence * 0x10001u + head->key;
    for (size_t done = 0; done < length; done += sizeof state) {
        uint64_t word = e2e_random(&state);
        memcpy(at + done, &word, min_u64(sizeof word, length - done));
    }
}

void e2e_value_make(void *value, size_t length, uint32_t key, uint64_t sequence)
{
    const struct value_head head = {
        .magic = VALUE_MAGIC, .key = key, .sequence = sequence, .length = length};
    memcpy(value, &head, sizeof head);
    fill((uint8_t *)value + sizeof head, length - sizeof head, &head);
}

bool e2e_value_check(const void *value, size_t length, uint32_t key, uint64_t *sequence)
{
    struct value_head head;
    if (length < sizeof head)
        return false;
    memcpy(&head, value, sizeof head);
    if (head.magic != VALUE_MAGIC || head.key != key || head.length != length)
        return false;
    const uint8_t *at = (const uint8_t *)value + sizeof head;
    uint64_t state = head.sequence * 0x10001u + head.key;
    for (size_t done = 0; done < length - sizeof head; done += sizeof state) {
        uint64_t word = e2e_random(&state);
        if (memcmp(at + done, &word, min_u64(sizeof word, length - sizeof head - done)) != 0)
            return false;
    }
    *sequence = head.sequence;
    return true;
}
