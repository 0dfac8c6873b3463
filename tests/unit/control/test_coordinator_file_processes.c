/* Several processes at one coordinator's file, some of them killed at any moment.  Every version that the
 * file ever had is looked at: each writer links it beside the file, by its revision, before it lets go of
 * the lock. */
#include "control/coordinator_file.h"
#include "control/coordinator_store.h"
#include "tests/unit/control/coordinator_check.h"
#include "tests/unit/control/coordinator_fixture.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 60u /* of one process */
#define STARTS_EVERY 10u
#define STEPS_MAX 12u /* of one round */
#define KILLS 15u     /* from outside; and so many more at a rename */

/* Of all processes. */
static struct shared {
    _Atomic uint64_t start;  /* last one given */
    _Atomic uint64_t rounds; /* done by all */
    _Atomic uint32_t errors; /* answers that nothing explains */
    _Atomic int32_t deaths;  /* left to die at a rename */
} * shared;

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);

/* With the lock held: before the new file is there, and after, before anybody was told. */
static void die_perhaps(void)
{
    static unsigned seed;
    if (seed == 0)
        seed = (unsigned)getpid();
    /* relaxed: numbers */
    if (rand_r(&seed) % 6 == 0 && atomic_load_explicit(&shared->deaths, memory_order_relaxed) > 0 &&
        atomic_fetch_sub_explicit(&shared->deaths, 1, memory_order_relaxed) > 0)
        (void)raise(SIGKILL);
}

/* Why after: what was not renamed was never a version.  Who is killed in between leaves a gap. */
int __wrap_rename(const char *from, const char *to)
{
    struct coordinator_state *s = NULL;
    struct coordinator_fault fault;
    char kept[160], bytes[1 << 16];
    die_perhaps();
    int rc = __real_rename(from, to);
    int fd = rc == 0 ? open(to, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t length = fd >= 0 ? read(fd, bytes, sizeof bytes) : 0;
    if (length > 0 && coordinator_parse(bytes, (size_t)length, &s, &fault) == 0) {
        (void)snprintf(kept, sizeof kept, "%s.%08llu", to, (unsigned long long)s->revision);
        (void)!link(to, kept);
    }
    free(s);
    if (fd >= 0)
        (void)close(fd);
    die_perhaps();
    return rc;
}

/* ---- one process ---- */

static void error_count(int64_t error)
{
    if (error < 0 && error != -EAGAIN)
        atomic_fetch_add_explicit(&shared->errors, 1, memory_order_relaxed); /* a number */
}

/* What lcores would: at random, also late, twice, and of epochs that are over. */
static void shards_ask(const struct fixture_node *n, unsigned *seed)
{
    const struct node_cluster *c = n->node.cluster;
    for (uint32_t i = 0; i < FIXTURE_SHARDS; i++) {
        const struct configuration known = fixture_configuration(n, i);
        uint64_t epoch = known.epoch - (rand_r(seed) % 8 == 0);
        if (rand_r(seed) % 2 == 0)
            (void)fixture_activate(n, i, epoch);
        if (rand_r(seed) % 2 == 0 && c->hands_over(c->context, FIXTURE_LOG(i), known.epoch))
            c->handed_over(c->context, FIXTURE_LOG(i), known.epoch);
    }
}

static void round_run(struct fixture_node *n, unsigned *seed)
{
    unsigned steps = 1 + (unsigned)rand_r(seed) % STEPS_MAX;
    for (unsigned i = 0; i < steps; i++) {
        uint32_t first = (uint32_t)rand_r(seed) % FIXTURE_SHARDS;
        shards_ask(n, seed);
        if (rand_r(seed) % 6 == 0)
            error_count(coordinator_file_move(n->coordinator, FIXTURE_LOG(first),
                                              FIXTURE_LOG(first + 1),
                                              10 * (1 + (uint32_t)rand_r(seed) % 3)));
        error_count(coordinator_file_step(n->coordinator));
    }
    /* relaxed: numbers */
    atomic_fetch_add_explicit(&shared->rounds, 1, memory_order_relaxed);
}

static int process_enter(struct fixture_node *n, uint64_t start)
{
    int error = fixture_node_open(n, start);
    if (error == 0)
        error = coordinator_file_await(n->coordinator, 20000);
    return error == 0 ? coordinator_file_join(n->coordinator, &n->node) : error;
}

static void process_run(uint32_t number, unsigned seed)
{
    static struct fixture_node n;
    /* What it logs is nobody's to read, and there is much of it. */
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)dup2(null, STDERR_FILENO);
    fixture_node_init(&n, number, 0, FIXTURE_SHARDS);
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i % STARTS_EVERY == 0) {
            uint64_t start =
                /* relaxed: a number */
                atomic_fetch_add_explicit(&shared->start, 1, memory_order_relaxed) + 1;
            int error = process_enter(&n, start);
            if (error != 0) {
                (void)dprintf(STDOUT_FILENO, "node %u start %llu: %s\n", n.config.node,
                              (unsigned long long)start, strerrordesc_np(-error));
                _exit(1);
            }
        }
        round_run(&n, &seed);
    }
    coordinator_file_close(n.coordinator);
    _exit(0);
}

static pid_t process_start(uint32_t number)
{
    static unsigned seed;
    seed++;
    pid_t child = fork();
    if (child == 0)
        process_run(number, seed * 7919);
    CU_ASSERT_TRUE_FATAL(child > 0);
    return child;
}

/* ---- all of them ---- */

/* The lock was let go with each that died; what it left is in nobody's way, as the rest went on. */
static struct coordinator_check versions_check(uint64_t revision)
{
    static struct coordinator_check check;
    check = (struct coordinator_check){0};
    for (uint64_t r = 1; r <= revision; r++) {
        struct coordinator_store f;
        struct coordinator_state *s;
        struct coordinator_fault fault;
        char kept[160];
        (void)snprintf(kept, sizeof kept, "%s.%08llu", fixture_path, (unsigned long long)r);
        if (access(kept, F_OK) != 0)
            continue; /* its writer was killed before it linked it */
        CU_ASSERT_EQUAL_FATAL(coordinator_store_open(&f, kept), 0);
        CU_ASSERT_EQUAL_FATAL(coordinator_store_read(&f, &s, &fault), 0);
        CU_ASSERT_EQUAL(s->revision, r);
        const char *broken = coordinator_check_next(&check, s);
        if (broken != NULL)
            printf("revision %llu: %s\n", (unsigned long long)r, broken);
        CU_ASSERT_PTR_NULL_FATAL(broken);
        free(s);
        coordinator_store_close(&f);
    }
    return check;
}

static uint64_t revision_last(void)
{
    struct coordinator_store f;
    struct coordinator_state *s;
    struct coordinator_fault fault;
    CU_ASSERT_EQUAL_FATAL(coordinator_store_open(&f, fixture_path), 0);
    CU_ASSERT_EQUAL_FATAL(coordinator_store_read(&f, &s, &fault), 0);
    uint64_t revision = s->revision;
    free(s);
    coordinator_store_close(&f);
    return revision;
}

/* Wait for one to end, or for any (-1): true: it was killed, and which it was. */
static bool is_killed(pid_t child, pid_t *which)
{
    int status;
    *which = waitpid(child, &status, 0);
    CU_ASSERT_TRUE_FATAL(*which > 0);
    CU_ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* Until all have ended well.  Why any: one that waits for another to register needs that one back. */
static unsigned all_end(pid_t *children)
{
    unsigned killed = 0;
    for (uint32_t left = FIXTURE_NODES; left != 0;) {
        pid_t which;
        uint32_t i = 0;
        if (!is_killed(-1, &which)) {
            left--;
            continue;
        }
        while (i + 1 < FIXTURE_NODES && children[i] != which)
            i++;
        children[i] = process_start(i);
        killed++;
    }
    return killed;
}

static unsigned processes_run(unsigned kills)
{
    pid_t children[FIXTURE_NODES];
    pid_t which;
    unsigned seed = 4711, killed = 0;
    for (uint32_t i = 0; i < FIXTURE_NODES; i++)
        children[i] = process_start(i);
    for (unsigned i = 0; i < kills; i++) {
        uint32_t victim = (uint32_t)rand_r(&seed) % FIXTURE_NODES;
        (void)usleep((useconds_t)rand_r(&seed) % 30000);
        (void)kill(children[victim], SIGKILL);
        killed += is_killed(children[victim], &which);
        children[victim] = process_start(victim);
    }
    return killed + all_end(children);
}

static void hammered(unsigned kills)
{
    fixture_begin();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_TRUE_FATAL(shared != MAP_FAILED);
    atomic_store_explicit(&shared->start, FIXTURE_START, memory_order_relaxed); /* alone */
    atomic_store_explicit(&shared->deaths, (int32_t)kills, memory_order_relaxed);
    unsigned killed = processes_run(kills);
    const struct coordinator_check check = versions_check(revision_last());
    printf("versions=%u gaps=%u killed=%u restarts=%u epochs=%u replaced=%u activations=%u "
           "moves=%u ",
           check.versions, check.gaps, killed, check.restarts, check.epochs, check.replaced,
           check.activations, check.moves);
    CU_ASSERT_EQUAL(atomic_load_explicit(&shared->errors, memory_order_relaxed), 0);
    CU_ASSERT_TRUE(check.gaps <= killed);
    CU_ASSERT_TRUE(check.versions > FIXTURE_NODES && check.restarts != 0 && check.replaced != 0 &&
                   check.activations != 0 && check.moves != 0);
    CU_ASSERT_TRUE(kills == 0 ? killed == 0 : killed > kills); /* some of them at a rename */
    (void)munmap(shared, sizeof *shared);
    fixture_end();
}

static void rules_hold_in_every_version(void)
{
    hammered(0);
}

static void rules_hold_whoever_is_killed(void)
{
    hammered(KILLS);
}

static const struct unit_test tests[] = {
    UNIT_TEST(rules_hold_in_every_version),
    UNIT_TEST(rules_hold_whoever_is_killed),
};
UNIT_MAIN("coordinator_file_processes", tests)
