/* throttle - a rogue that floods and an agent that does not, as processes of two users beside one daemon that
 * bounds what each agent may ask (`agents: rate`).  While the polite one writes, the rogue gets no more than
 * its rate; of the daemon without a bound it takes far more, or the test proves nothing.
 *
 * Operations are counted, and time is only what the bound is counted by: no speed is asked of the machine.
 *
 *   throttle DUNLIND BOUND.yaml FREE.yaml SOCKET LOG      (throttle.sh) */
#include "tests/e2e/e2e.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPACE "things"
#define RATE 1000u /* of BOUND.yaml */
#define BURST 64u
#define IN_FLIGHT 64u /* of the rogue: one shard */
#define POLITE_PUTS 3000u
#define WAITS_MIN 20u /* times that the rogue must have been held back */
#define STATUS_BYTES (1u << 20)
#define LONG_MS UINT64_C(60000)
#define UNBOUND_MS UINT64_C(30000) /* until the rogue must have got far more */

struct shared {
    _Atomic uint64_t done; /* operations of the rogue that were answered */
    _Atomic bool stop;
};
static struct shared *shared;

static uint64_t rogue_done(void)
{
    /* acquire: what it did before is done */
    return atomic_load_explicit(&shared->done, memory_order_acquire);
}

static _Noreturn void rogue(const char *socket)
{
    struct dunlin_completion completions[IN_FLIGHT];
    e2e_become_stranger();
    struct dunlin *d = e2e_open(socket, LONG_MS);
    struct dunlin_space *s = e2e_space(d, SPACE);
    const struct dunlin_write w = {.operation = DUNLIN_PUT,
                                   .key = "rogue",
                                   .key_length = 5,
                                   .value = "mine",
                                   .value_length = 4};
    while (!atomic_load_explicit(&shared->stop, memory_order_acquire)) {
        int error = dunlin_submit(s, &w);
        if (error != 0 && error != -EAGAIN)
            _exit(3);
        if (error == 0)
            continue;
        size_t count = dunlin_poll(d, completions, IN_FLIGHT, NS_PER_MS);
        for (size_t i = 0; i < count; i++)
            if (completions[i].result != 0)
                _exit(4);
        atomic_fetch_add_explicit(&shared->done, count, memory_order_release);
    }
    dunlin_close(d);
    _exit(0);
}

/* How often agents of a user were throttled, as the status says. */
static uint64_t throttled(struct dunlin *d, uint32_t uid)
{
    char *text = malloc(STATUS_BYTES);
    if (text == NULL || dunlin_status_json(d, text, STATUS_BYTES) < 0)
        e2e_die("no status");
    json_t *status = json_loads(text, 0, NULL);
    json_t *list = json_object_get(json_object_get(status, "agents"), "list");
    uint64_t sum = 0;
    size_t i;
    const json_t *a;
    json_array_foreach(list, i, a)
    {
        if (json_integer_value(json_object_get(a, "uid")) == (json_int_t)uid)
            sum += (uint64_t)json_integer_value(json_object_get(a, "throttled"));
    }
    json_decref(status);
    free(text);
    return sum;
}

struct outcome {
    uint64_t polite, rogue, allowed, throttled_rogue, throttled_polite;
};

static void put(struct dunlin_space *s, uint64_t number)
{
    int error = dunlin_put(s, "polite", 6, &number, sizeof number, NULL);
    if (error != 0)
        e2e_fail("put %llu of the polite one: %s", (unsigned long long)number, strerror(-error));
}

/* What a bound allows meanwhile, rounded up, what it had saved, and what was answered but not counted yet. */
static uint64_t allowed(uint64_t took_ns)
{
    return RATE * took_ns / NS_PER_S * 102 / 100 + 1 + BURST + IN_FLIGHT;
}

/* Why not after some puts alone: the rogue may not have run meanwhile. */
static bool has_shown(struct dunlin *d, bool is_bound, uint64_t rogue_before, uint64_t began_ns)
{
    if (is_bound)
        return throttled(d, E2E_STRANGER_UID) >= WAITS_MIN;
    uint64_t took_ns = clock_boottime_ns() - began_ns;
    return rogue_done() - rogue_before > 2 * allowed(took_ns) || took_ns > UNBOUND_MS * NS_PER_MS;
}

/* The polite one writes, and until the rogue was held back often enough if it is to be, or got far more. */
static struct outcome run(struct e2e_daemon *daemon, bool is_bound)
{
    struct outcome o = {.polite = 0};
    atomic_store_explicit(&shared->done, 0, memory_order_relaxed);
    atomic_store_explicit(&shared->stop, false, memory_order_relaxed);
    e2e_daemon_start(daemon);
    pid_t pid = e2e_fork();
    if (pid == 0)
        rogue(daemon->socket);
    struct dunlin *d = e2e_open(daemon->socket, LONG_MS);
    struct dunlin_space *s = e2e_space(d, SPACE);
    while (rogue_done() == 0)
        e2e_sleep_ms(1);
    uint64_t began_ns = clock_boottime_ns(), rogue_before = rogue_done();
    while (o.polite < POLITE_PUTS || !has_shown(d, is_bound, rogue_before, began_ns))
        put(s, o.polite++);
    o.rogue = rogue_done() - rogue_before;
    o.allowed = allowed(clock_boottime_ns() - began_ns);
    o.throttled_rogue = throttled(d, E2E_STRANGER_UID);
    o.throttled_polite = throttled(d, (uint32_t)geteuid());
    atomic_store_explicit(&shared->stop, true, memory_order_release);
    int status = e2e_wait(pid, LONG_MS);
    if (status != 0)
        e2e_fail("the rogue ended with %d", status);
    dunlin_close(d);
    if (e2e_daemon_stop(daemon) != 0)
        e2e_fail("the daemon did not end well");
    (void)printf("%s: polite %llu, rogue %llu of %llu that a bound allows, throttled %llu times\n",
                 is_bound ? "bound" : "free", (unsigned long long)o.polite,
                 (unsigned long long)o.rogue, (unsigned long long)o.allowed,
                 (unsigned long long)o.throttled_rogue);
    return o;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        (void)fprintf(stderr, "usage: throttle DUNLIND BOUND.yaml FREE.yaml SOCKET LOG\n");
        return 2;
    }
    e2e_begin();
    shared = e2e_shared(sizeof *shared);
    struct e2e_daemon daemon = {
        .program = argv[1], .config = argv[2], .socket = argv[4], .log = argv[5]};
    struct outcome bound = run(&daemon, true);
    daemon.config = argv[3];
    struct outcome unbound = run(&daemon, false);
    if (bound.rogue > bound.allowed)
        e2e_fail("the rogue did %llu operations, and its rate allows %llu",
                 (unsigned long long)bound.rogue, (unsigned long long)bound.allowed);
    if (bound.throttled_polite != 0)
        e2e_fail("root was throttled");
    if (unbound.rogue <= unbound.allowed)
        e2e_fail("without a bound the rogue did no more than %llu operations: nothing is proved",
                 (unsigned long long)unbound.rogue);
    if (unbound.throttled_rogue != 0)
        e2e_fail("throttled without a bound");
    return e2e_verdict();
}
