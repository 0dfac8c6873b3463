/* hostile PROGRAM CONFIG DIRECTORY [SEED [CASE...]]: see hostile.h.  DIRECTORY holds dunlind.sock.
 */
#include "tests/e2e/hostile.h"
#include "tests/e2e/good.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ATTACK_MS 1500u
#define QUIET_MS 500u
#define SETTLE_MS 300u
#define CASE_TIMEOUT_MS 60000u
#define STALL_NS (5 * NS_PER_S)
#define ATTEMPTS 3u
#define VICTIM_KEY "victim"
#define VICTIM_VALUE "untouched"

struct attack {
    const char *name;
    void (*run)(struct hostile *h);
    uint32_t ms; /* how long it goes on; 0: done at once */
};

static const struct attack attacks[] = {
    {"honest neighbour", attack_none, ATTACK_MS},
    {"reopen what was passed", attack_reopen, 0},
    {"map it writable", attack_map_writable, 0},
    {"resize it", attack_resize, 0},
    {"punch and collapse it", attack_punch, ATTACK_MS},
    {"write into it", attack_write, 0},
    {"seal it further", attack_seal, 0},
    {"reach into the daemon", attack_daemon, 0},
    {"clear all doorbell bits", attack_doorbell_clear, 2 * ATTACK_MS},
    {"set all doorbell bits", attack_doorbell_set, ATTACK_MS},
    {"random bytes over its file", attack_random_bytes, 2 * ATTACK_MS},
    {"forged ring positions", attack_positions, ATTACK_MS},
    {"forged heads", attack_heads, ATTACK_MS},
    {"forged fields", attack_fields, 0},
    {"forged transactions", attack_items, 0},
    {"sessions of others", attack_sessions, 0},
    {"writes of others repeated", attack_retry, 0},
    {"pins on every frame", attack_pins, 3 * ATTACK_MS},
    {"never taking an answer", attack_never_consume, ATTACK_MS},
    {"eventfd drained, poisoned", attack_eventfd, ATTACK_MS},
    {"space flooded", attack_quota, ATTACK_MS},
    {"sessions flooded", attack_session_flood, 0},
    {"thousands of connections", attack_connect, ATTACK_MS},
    {"garbage on the socket", attack_garbage, ATTACK_MS},
    {"answers never read", attack_deaf, ATTACK_MS},
    {"what it may not have", attack_denied, 0},
    {"as many agents as it may", attack_crowd, ATTACK_MS},
};
#define ATTACKS (sizeof attacks / sizeof attacks[0])

struct judge {
    struct e2e_daemon daemon;
    struct good good;
    struct hostile hostile;
    struct raw root; /* owns the session that is to be stolen */
    struct raw_space space;
    struct dunlin *handle;
    uint64_t newcomer_worst_ns;
};

void hostile_attach(const struct hostile *h, struct raw *r, uint32_t bulk_bytes)
{
    const struct raw_options options = {
        .socket_path = h->socket_path, .ring_bytes = 1 << 14, .bulk_bytes = bulk_bytes};
    int error = -EAGAIN;
    /* Why more than once: a queue filled a moment ago by ourselves is no finding. */
    for (uint32_t i = 0; i < 1000 && (error == -EAGAIN || error == -EPIPE); i++) {
        error = raw_open(r, &options);
        if (error != 0)
            e2e_sleep_ms(5);
    }
    if (error != 0)
        e2e_die("the stranger cannot attach: %s", strerror(-error));
}

void hostile_space(struct raw *r, const char *name, struct raw_space *s)
{
    int error = raw_space_open(r, name, s);
    if (error != 0)
        e2e_die("the stranger cannot open space %s: %s", name, strerror(-error));
}

/* ---- what is to be stolen ---- */

static struct raw_message victim_put(const struct judge *j, const char *value, uint64_t sequence)
{
    struct raw_message m =
        raw_message_make(&j->space, RING_PUT, VICTIM_KEY, value, (uint32_t)strlen(value));
    m.request.session_slot = j->hostile.session.slot;
    m.request.session = j->hostile.session.lsn;
    m.request.sequence = sequence;
    return m;
}

static void victim_make(struct judge *j)
{
    const struct raw_options options = {.socket_path = j->daemon.socket, .ring_bytes = 1 << 14};
    struct hostile *h = &j->hostile;
    struct ring_completion c;
    int error = raw_open(&j->root, &options);
    if (error == 0)
        error = raw_space_open(&j->root, HOSTILE_SHARED, &j->space);
    if (error != 0)
        e2e_die("root cannot attach by the raw protocol: %s", strerror(-error));
    (void)snprintf(h->session_key, sizeof h->session_key, "%s", VICTIM_KEY);
    h->session.shard = raw_shard(&j->space, VICTIM_KEY, strlen(VICTIM_KEY));
    memcpy(h->session.id, "a victim's name.", sizeof h->session.id);
    int status = raw_session_open(&j->root, &j->space, &h->session);
    struct raw_message m = victim_put(j, VICTIM_VALUE, 1);
    if (status == RING_OK)
        status = raw_ask(&j->root, j->space.boards[h->session.shard].lcore, &m, &c);
    if (status != RING_OK)
        e2e_die("the victim's write: %d", status);
}

/* Its value stands, and its next number is still free. */
static void victim_check(struct judge *j)
{
    char value[64];
    struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
    struct dunlin_space *space = e2e_space(j->handle, HOSTILE_SHARED);
    struct ring_completion c;
    int error = dunlin_get(space, VICTIM_KEY, strlen(VICTIM_KEY), value, sizeof value, &read);
    if (error != 0 || read.length != strlen(VICTIM_VALUE) ||
        memcmp(value, VICTIM_VALUE, read.length) != 0)
        e2e_fail("the victim's value is not what it wrote: %d", error);
    struct raw_message m = victim_put(j, VICTIM_VALUE, 2);
    int status = raw_ask(&j->root, j->space.boards[j->hostile.session.shard].lcore, &m, &c);
    if (status != RING_OK)
        e2e_fail("the victim's second write: answered %d", status);
}

/* ---- cases
 * ------------------------------------------------------------------------------------------------
 */

/* Somebody who comes just now is served, too. */
static void newcomer(struct judge *j)
{
    const struct dunlin_options options = {
        .socket = j->daemon.socket, .timeout_ns = 4 * STALL_NS, .flags = DUNLIN_OPEN_WAIT};
    struct dunlin *handle;
    struct dunlin_space *space = NULL;
    uint64_t begun = clock_boottime_ns();
    int error = dunlin_open(&options, &handle);
    if (error == 0) {
        char value[64];
        error = dunlin_space(handle, HOSTILE_SHARED, &space);
        if (error == 0)
            error = dunlin_get(space, VICTIM_KEY, strlen(VICTIM_KEY), value, sizeof value, NULL);
        dunlin_close(handle);
    }
    uint64_t took = clock_boottime_ns() - begun;
    j->newcomer_worst_ns = max_u64(j->newcomer_worst_ns, took);
    if (error != 0)
        e2e_fail("a newcomer of root's is not served: %s", strerror(-error));
    else if (took > STALL_NS)
        e2e_fail("a newcomer waited %.1f s", (double)took / NS_PER_S);
}

static void attack_child(struct judge *j, const struct attack *a)
{
    e2e_become_stranger();
    j->hostile.until_ns = clock_boottime_ns() + a->ms * NS_PER_MS;
    a->run(&j->hostile);
    exit(EXIT_SUCCESS);
}

static void attack_once(struct judge *j, const struct attack *a)
{
    int status = 0;
    uint64_t begun = clock_boottime_ns();
    pid_t pid = e2e_fork();
    if (pid < 0)
        e2e_die("cannot fork: %s", strerror(errno));
    if (pid == 0)
        attack_child(j, a);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        newcomer(j);
        e2e_sleep_ms(50);
        if (clock_boottime_ns() - begun > CASE_TIMEOUT_MS * NS_PER_MS)
            (void)kill(pid, SIGKILL);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        e2e_fail("%s: the stranger ended by %s %d (9: it hung)", a->name,
                 WIFEXITED(status) ? "status" : "signal",
                 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    /* One that is over at once leaves time to see whether it did harm. */
    if (a->ms == 0)
        e2e_sleep_ms(SETTLE_MS);
}

/* Beyond 2x three times over, each held against the quiet just before it, is a finding; once is the
 * machine. */
static void run_case(struct judge *j, const struct attack *a)
{
    double ratio = 0;
    for (uint32_t attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (a->ms != 0)
            good_measure_quiet(&j->good, QUIET_MS);
        j->newcomer_worst_ns = 0;
        if (!good_cut(&j->good))
            return;
        attack_once(j, a);
        if (!good_cut(&j->good) || !e2e_daemon_alive(&j->daemon))
            return;
        ratio = good_judge(&j->good, a->name, j->newcomer_worst_ns);
        if (ratio <= GOOD_RATIO_MAX || a->ms == 0)
            return;
    }
    e2e_fail("%s: p99 of reads in place is %.2f times the quiet one, %u times over", a->name, ratio,
             ATTEMPTS);
}

/* ---- the whole
 * ------------------------------------------------------------------------------------------------
 */

static void expect_counted(struct judge *j, const char *object, const char *name)
{
    uint64_t count = e2e_status(j->handle, object, name);
    (void)printf("%s.%s %" PRIu64 "\n", object, name, count);
    if (count == 0)
        e2e_fail("status counts nothing as %s.%s", object, name);
}

static void check_status(struct judge *j)
{
    uint64_t attached = 0;
    /* The two of the good agent, root's raw one and its handle stay. */
    for (uint32_t i = 0; i < 100; i++) {
        attached = e2e_status(j->handle, "agents", "attached");
        if (attached == GOOD_SIDES + 2)
            break;
        e2e_sleep_ms(50);
    }
    if (attached != GOOD_SIDES + 2)
        e2e_fail("%" PRIu64 " agents are attached although all strangers are gone", attached);
    expect_counted(j, "agents", "faults");
    expect_counted(j, "counters", "agent_faults");
    expect_counted(j, "counters", "refused_input");
    expect_counted(j, "counters", "refused_access");
    expect_counted(j, "counters", "refused_session");
    expect_counted(j, "counters", "refused_quota");
    expect_counted(j, "counters", "segments_freed");
    expect_counted(j, "server", "refused_requests");
    expect_counted(j, "server", "refused_connections");
}

static bool selected(const char *name, int count, char **names)
{
    for (int i = 0; i < count; i++)
        if (strstr(name, names[i]) != NULL)
            return true;
    return count <= 0;
}

int main(int argc, char **argv)
{
    static struct judge judge;
    struct judge *j = &judge;
    char socket_path[256], log[256];
    if (argc < 4)
        e2e_die("usage: hostile DUNLIND CONFIG DIRECTORY [SEED [CASE...]]");
    e2e_begin();
    (void)snprintf(socket_path, sizeof socket_path, "%s/dunlind.sock", argv[3]);
    (void)snprintf(log, sizeof log, "%s/dunlind.log", argv[3]);
    j->daemon = (struct e2e_daemon){
        .program = argv[1], .config = argv[2], .socket = socket_path, .log = log};
    j->hostile.socket_path = socket_path;
    j->hostile.seed = argc > 4 ? strtoull(argv[4], NULL, 0) : 1;
    (void)printf("seed %" PRIu64 "\n", j->hostile.seed);
    e2e_daemon_start(&j->daemon);
    j->hostile.daemon_pid = j->daemon.pid;
    j->handle = e2e_open(socket_path, 20000);
    victim_make(j);
    good_begin(&j->good, socket_path, HOSTILE_SHARED);
    j->hostile.victim = j->good.shared->last_write;
    good_print_head("the good agent, under");
    for (size_t i = 0; i < ATTACKS; i++)
        if (selected(attacks[i].name, argc - 5, argv + 5) && e2e_daemon_alive(&j->daemon) &&
            good_alive(&j->good))
            run_case(j, &attacks[i]);
    if (e2e_daemon_alive(&j->daemon)) {
        victim_check(j);
        if (argc <= 5)
            check_status(j);
        good_end(&j->good);
        dunlin_close(j->handle);
        raw_close(&j->root);
        int status = e2e_daemon_stop(&j->daemon);
        if (status != 0)
            e2e_fail("the daemon stopped with status %d", status);
    }
    return e2e_verdict();
}
