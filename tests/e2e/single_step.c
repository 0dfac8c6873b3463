/* single_step PROGRAM CONFIG DIRECTORY [SEED [SECONDS]] - an agent that dies at every instruction
 * of a call.
 *
 * A child of another uid attaches, stops itself, is single-stepped into a call of libdunlin and
 * killed with SIGKILL after its nth instruction.  After each death a second agent is served as
 * ever, the key holds the value before the call or the one of the call, and the daemon has the slot
 * back. n goes through all instructions of a call in a random order, and each kind of call stops
 * when its share of the time is over; the table says how many were reached.
 *
 * The way there is shortened: one child is stepped through the whole call and its path written
 * down; the others run to the last place before n that the path passes only once (a breakpoint of
 * the processor), and are stepped from there. */
#include "tests/e2e/good.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPACE "shared"
#define KEYS 64u
#define SMALL_BYTES 100u
#define BIG_BYTES 16500u  /* more than a message of the ring holds: by the bulk buffer */
#define CALLS_MAX 100000u /* instructions of the longest call */
#define STALL_NS (5 * NS_PER_S)
#define SLOT_BACK_NS (5 * NS_PER_S)
#define CHURN 6000u
#define ATTACHED (1 + GOOD_SIDES) /* who stays: we and the good agent */
#define QUIET_MS 1000u
#define TOO_SLOW_MAX 2u /* more often than that is not the machine */

enum call { CALL_PUT, CALL_BIG_PUT, CALL_DELETE, CALL_GET, CALL_VIEW, CALL_ATTACH };

struct kind {
    const char *name;
    enum call call;
    uint32_t share; /* of the time, in percent */
    bool writes;
};

static const struct kind kinds[] = {
    {"put", CALL_PUT, 30, true},
    {"put by bulk", CALL_BIG_PUT, 15, true},
    {"delete", CALL_DELETE, 15, true},
    {"get in place", CALL_GET, 10, false},
    {"view, release", CALL_VIEW, 10, false},
    {"attach", CALL_ATTACH, 20, false},
};

struct stepper {
    struct e2e_daemon daemon;
    struct dunlin *handle;
    struct dunlin_space *space;
    uint64_t random;
    uint64_t sequence; /* of the newest value; the child writes the one after it */
    uint64_t worst_ns;
    struct good good;
    uint32_t too_slow; /* kinds of call under which the good agent's p99 was beyond 2x */
    uint32_t seconds;
    uint64_t until_ns;        /* the shares of all kinds so far */
    uint32_t length;          /* of the path of the present kind of call */
    uint64_t path[CALLS_MAX]; /* address of each instruction */
    uint32_t
        anchor[CALLS_MAX]; /* the last place not behind this one that is passed once; 0: none */
    uint32_t order[CALLS_MAX];
};

struct tally {
    uint32_t killed, before, after;
};

static void key_make(char *key, size_t room, uint32_t number, const char *more)
{
    (void)snprintf(key, room, "{step-%" PRIu32 "}%s", number, more);
}

/* ---- the child ---- */

struct victim {
    const char *socket;
    enum call call;
    uint32_t key;
    uint64_t sequence;
};

static void call_once(const struct victim *v, struct dunlin_space *space, const char *key,
                      uint8_t *value)
{
    size_t length = strlen(key);
    struct dunlin_view view = {.read.mode = DUNLIN_LOCAL};
    struct dunlin *handle;
    switch (v->call) {
    case CALL_PUT:
        (void)!dunlin_put(space, key, length, value, SMALL_BYTES, NULL);
        break;
    case CALL_BIG_PUT:
        (void)!dunlin_put(space, key, length, value, BIG_BYTES, NULL);
        break;
    case CALL_DELETE:
        (void)!dunlin_delete(space, key, length, NULL);
        break;
    case CALL_GET:
        (void)!dunlin_get(space, key, length, value, BIG_BYTES, NULL);
        break;
    case CALL_VIEW:
        if (dunlin_view(space, key, length, &view) == 0)
            (void)!dunlin_release(space, &view);
        break;
    case CALL_ATTACH:
        handle = e2e_open(v->socket, 5000);
        (void)e2e_space(handle, SPACE);
        break;
    }
}

static _Noreturn void victim_run(const struct victim *v)
{
    static uint8_t value[BIG_BYTES];
    struct dunlin_space *space = NULL;
    char key[64], warm[64];
    if (geteuid() == 0)
        e2e_become_stranger();
    /* Why: a change of uid hides its memory from the parent, who reads the instructions there. */
    (void)prctl(PR_SET_DUMPABLE, 1);
    key_make(key, sizeof key, v->key, "");
    key_make(warm, sizeof warm, v->key, "warm");
    if (v->call != CALL_ATTACH) {
        space = e2e_space(e2e_open(v->socket, 5000), SPACE);
        if (dunlin_put(space, warm, strlen(warm), "warm", 4, NULL) != 0)
            e2e_die("the victim cannot write");
        if (v->call == CALL_GET || v->call == CALL_VIEW)
            call_once(v, space, key, value);
    }
    e2e_value_make(value, v->call == CALL_BIG_PUT ? BIG_BYTES : SMALL_BYTES, v->key, v->sequence);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(3);
    (void)raise(SIGSTOP); /* the steps begin here ... */
    call_once(v, space, key, value);
    (void)raise(SIGSTOP); /* ... and end here, if nobody killed us */
    _exit(0);
}

/* ---- steps ---- */

/* A child that stands in front of its call; 0: it failed before. */
static pid_t victim_start(const struct victim *v)
{
    int status;
    pid_t pid = e2e_fork();
    if (pid < 0)
        e2e_die("cannot fork: %s", strerror(errno));
    if (pid == 0)
        victim_run(v);
    if (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status))
        return pid;
    e2e_fail("the victim ended before its call: status %x", (unsigned)status);
    return 0;
}

/* Let it run as request says.  False: the call is over, or it is. */
static bool resume(pid_t pid, enum __ptrace_request request)
{
    int status;
    return ptrace(request, pid, NULL, NULL) == 0 && waitpid(pid, &status, 0) == pid &&
           WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
}

static uint64_t address_of(pid_t pid)
{
    errno = 0;
    return (uint64_t)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.rip), NULL);
}

static void breakpoint(pid_t pid, uint64_t address)
{
    const uint64_t on = address != 0 ? 1 : 0;
    if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), address) != 0 ||
        ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), on) != 0)
        e2e_die("no breakpoint to be had: %s", strerror(errno));
}

/* Length of a repeated string instruction at this address. */
static uint64_t repeated_bytes(pid_t pid, uint64_t address)
{
    uint64_t bytes = (uint64_t)ptrace(PTRACE_PEEKTEXT, pid, address, NULL);
    bool wide = (bytes >> 8 & 0xf0) == 0x40; /* a REX prefix */
    return wide ? 3 : 2;
}

/* One instruction.  False: the call is over.  Why not a step alone: it stops after each round of a
 * repeated string instruction, of which there may be as many as bytes. */
static bool step(pid_t pid)
{
    uint64_t before = address_of(pid);
    if (!resume(pid, PTRACE_SINGLESTEP))
        return false;
    if (address_of(pid) != before)
        return true;
    breakpoint(pid, before + repeated_bytes(pid, before));
    bool going = resume(pid, PTRACE_CONT);
    if (going)
        breakpoint(pid, 0);
    return going;
}

static void victim_kill(pid_t pid)
{
    int status;
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) == pid && !WIFSIGNALED(status) && !WIFEXITED(status))
        continue;
}

/* False: this machine lets nobody step or set breakpoints (a container may forbid both). */
static bool steps_are_allowed(void)
{
    int status;
    pid_t pid = e2e_fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0)
            (void)raise(SIGSTOP);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        return false;
    bool allowed =
        resume(pid, PTRACE_SINGLESTEP) &&
        ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), address_of(pid)) == 0 &&
        ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), 1) == 0;
    victim_kill(pid);
    return allowed;
}

/* Kill it after its nth instruction, or at the end of the call if it comes before. */
static void step_and_kill(const struct stepper *s, const struct victim *v, uint32_t n)
{
    uint32_t done = s->anchor[n];
    pid_t pid = victim_start(v);
    if (pid == 0)
        return;
    bool going = true;
    if (done != 0) {
        breakpoint(pid, s->path[done]);
        going = resume(pid, PTRACE_CONT);
        if (going)
            breakpoint(pid, 0);
    }
    for (; going && done < n; done++)
        going = step(pid);
    victim_kill(pid);
}

static int by_address(const void *left, const void *right, void *path)
{
    uint64_t a = ((const uint64_t *)path)[*(const uint32_t *)left];
    uint64_t b = ((const uint64_t *)path)[*(const uint32_t *)right];
    return a < b ? -1 : a > b;
}

/* Step one through the whole call, and find the places that its path passes once. */
static void path_record(struct stepper *s, const struct victim *v)
{
    pid_t pid = victim_start(v);
    s->length = 0;
    do {
        s->path[s->length] = address_of(pid);
        s->order[s->length] = s->length;
        s->anchor[s->length] = 0;
        s->length++;
    } while (s->length < CALLS_MAX - 1 && step(pid));
    victim_kill(pid);
    qsort_r(s->order, s->length, sizeof s->order[0], by_address, s->path);
    for (uint32_t i = 0; i < s->length; i++) {
        uint64_t here = s->path[s->order[i]];
        if ((i == 0 || s->path[s->order[i - 1]] != here) &&
            (i + 1 == s->length || s->path[s->order[i + 1]] != here))
            s->anchor[s->order[i]] = s->order[i];
    }
    for (uint32_t i = 1; i < s->length; i++)
        if (s->anchor[i] == 0)
            s->anchor[i] = s->anchor[i - 1];
}

/* ---- what must hold after a death ---- */

static void timed(struct stepper *s, uint64_t begun_ns)
{
    s->worst_ns = max_u64(s->worst_ns, clock_boottime_ns() - begun_ns);
}

static void write_old(struct stepper *s, uint32_t number)
{
    uint8_t value[SMALL_BYTES];
    char key[64];
    key_make(key, sizeof key, number, "");
    e2e_value_make(value, sizeof value, number, ++s->sequence);
    uint64_t begun = clock_boottime_ns();
    int error = dunlin_put(s->space, key, strlen(key), value, sizeof value, NULL);
    timed(s, begun);
    if (error != 0)
        e2e_fail("the agent beside it cannot write: %s", strerror(-error));
}

static void check_value(struct stepper *s, const struct kind *k, uint32_t number,
                        struct tally *tally)
{
    static uint8_t value[BIG_BYTES];
    char key[64];
    uint64_t sequence = 0;
    struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
    key_make(key, sizeof key, number, "");
    uint64_t begun = clock_boottime_ns();
    int result = dunlin_get(s->space, key, strlen(key), value, sizeof value, &read);
    timed(s, begun);
    bool whole = result == 0 && e2e_value_check(value, read.length, number, &sequence);
    bool old = whole && sequence == s->sequence;
    bool new = k->call == CALL_DELETE ? result == -ENOENT
                                      : whole && k->writes &&sequence == s->sequence + 1;
    if (!old && !new)
        e2e_fail("%s: the key holds neither the old nor the new value (%d, %" PRIu64 ")", k->name,
                 result, sequence);
    tally->before += old;
    tally->after += new;
    s->sequence++;
}

static void check_slot(struct stepper *s, const struct kind *k)
{
    uint64_t until = clock_boottime_ns() + SLOT_BACK_NS;
    uint64_t attached;
    while ((attached = e2e_status(s->handle, "agents", "attached")) != ATTACHED) {
        if (clock_boottime_ns() > until) {
            e2e_fail("%s: %" PRIu64 " agents are attached after the death", k->name, attached);
            return;
        }
        e2e_sleep_ms(1);
    }
}

/* ---- one kind of call ---- */

/* n 0: record the path of the whole call. */
static void die_at(struct stepper *s, const struct kind *k, uint32_t n, struct tally *tally)
{
    uint32_t number = (uint32_t)(e2e_random(&s->random) % KEYS);
    write_old(s, number);
    const struct victim v = {
        .socket = s->daemon.socket, .call = k->call, .key = number, .sequence = s->sequence + 1};
    if (n == 0)
        path_record(s, &v);
    else
        step_and_kill(s, &v, n);
    check_value(s, k, number, tally);
    check_slot(s, k);
}

static void shuffle(struct stepper *s, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        s->order[i] = i + 1;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t j = (uint32_t)(e2e_random(&s->random) % i);
        uint32_t swapped = s->order[i - 1];
        s->order[i - 1] = s->order[j];
        s->order[j] = swapped;
    }
}

static void judge_kind(struct stepper *s, const struct kind *k, const struct tally *tally)
{
    if (!good_cut(&s->good))
        return;
    double ratio = good_judge(&s->good, k->name, s->worst_ns);
    s->too_slow += ratio > GOOD_RATIO_MAX;
    (void)printf("  died after %" PRIu32 " of %" PRIu32 " instructions: %" PRIu32 " times the old"
                 " value stood, %" PRIu32 " times the new\n",
                 tally->killed, s->length - 1, tally->before, tally->after);
    if (k->writes && tally->killed > 100 && (tally->before == 0 || tally->after == 0))
        e2e_fail("%s: all deaths fell on one side of its effect: nothing was shown", k->name);
    if (s->worst_ns > STALL_NS)
        e2e_fail("%s: an operation of the agent beside it took %.1f s", k->name,
                 (double)s->worst_ns / NS_PER_S);
    s->worst_ns = 0;
}

static void run_kind(struct stepper *s, const struct kind *k)
{
    struct tally tally = {0}, whole = {0};
    die_at(s, k, 0, &whole);
    if (s->length < 2 || s->length == CALLS_MAX - 1) {
        e2e_fail("%s: %" PRIu32 " instructions; the call cannot be stepped", k->name, s->length);
        return;
    }
    if (k->writes && whole.after == 0)
        e2e_fail("%s: it had no effect although it was not interrupted", k->name);
    shuffle(s, s->length - 1);
    /* Why for each kind: the machine may have become slower since.  It is not of anybody's share. */
    uint64_t quiet_ns = clock_boottime_ns();
    good_measure_quiet(&s->good, QUIET_MS);
    s->until_ns += clock_boottime_ns() - quiet_ns;
    if (!good_cut(&s->good))
        return;
    /* What an earlier kind left of its share is for the later ones. */
    s->until_ns += (uint64_t)s->seconds * NS_PER_S * k->share / 100;
    while (tally.killed < s->length - 1 && clock_boottime_ns() < s->until_ns &&
           e2e_failures() == 0 && e2e_daemon_alive(&s->daemon)) {
        die_at(s, k, s->order[tally.killed], &tally);
        tally.killed++;
    }
    judge_kind(s, k, &tally);
}

/* The dead hold nothing: three times the space's memory goes through it. */
static void churn(struct stepper *s)
{
    static uint8_t value[8000];
    for (uint32_t i = 0; i < CHURN; i++) {
        char key[32];
        int length = snprintf(key, sizeof key, "churn-%" PRIu32, i % 16);
        int error = dunlin_put(s->space, key, (size_t)length, value, sizeof value, NULL);
        if (error != 0) {
            e2e_fail("put number %" PRIu32 " after all the deaths: %s", i, strerror(-error));
            return;
        }
    }
}

int main(int argc, char **argv)
{
    static struct stepper stepper;
    struct stepper *s = &stepper;
    char socket_path[256], log[256];
    if (argc < 4)
        e2e_die("usage: single_step DUNLIND CONFIG DIRECTORY [SEED [SECONDS]]");
    e2e_begin();
    (void)snprintf(socket_path, sizeof socket_path, "%s/dunlind.sock", argv[3]);
    (void)snprintf(log, sizeof log, "%s/dunlind.log", argv[3]);
    s->daemon = (struct e2e_daemon){
        .program = argv[1], .config = argv[2], .socket = socket_path, .log = log};
    s->random = argc > 4 ? strtoull(argv[4], NULL, 0) : 1;
    s->seconds = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 0) : 60;
    (void)printf("seed %" PRIu64 "\n", s->random);
    if (!steps_are_allowed()) {
        (void)printf("no process may be single-stepped here\n");
        return 77;
    }
    e2e_daemon_start(&s->daemon);
    s->handle = e2e_open(socket_path, 10000);
    s->space = e2e_space(s->handle, SPACE);
    good_begin(&s->good, socket_path, SPACE);
    good_print_head("the good agent, by a death in");
    s->until_ns = clock_boottime_ns();
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && e2e_failures() == 0; i++)
        run_kind(s, &kinds[i]);
    if (s->too_slow > TOO_SLOW_MAX)
        e2e_fail("p99 of reads in place was beyond %.0f times the quiet one, %" PRIu32
                 " times over",
                 GOOD_RATIO_MAX, s->too_slow);
    good_end(&s->good);
    if (e2e_daemon_alive(&s->daemon)) {
        churn(s);
        dunlin_close(s->handle);
        int status = e2e_daemon_stop(&s->daemon);
        if (status != 0)
            e2e_fail("the daemon stopped with status %d", status);
    }
    return e2e_verdict();
}
