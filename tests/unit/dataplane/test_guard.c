#include "dataplane/guard.h"

#include "engine/limits.h"
#include "tests/unit/unit.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES ((size_t)4 * PAGE)
#define FAULT 2u

static _Atomic uint32_t woken;

static void wake(void *context)
{
    (void)context;
    atomic_fetch_add_explicit(&woken, 1, memory_order_relaxed);
}

/* A shared file of ones that, unlike an agent's, may still shrink. */
struct victim {
    int fd;
    uint8_t *base;
    int entry;
    _Atomic uint32_t fault;
};

static void victim_open(struct victim *v)
{
    v->fd = memfd_create("guard-test", MFD_CLOEXEC);
    CU_ASSERT_FATAL(v->fd >= 0 && ftruncate(v->fd, (off_t)BYTES) == 0);
    v->base = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    CU_ASSERT_FATAL(v->base != MAP_FAILED);
    memset(v->base, 1, BYTES);
    atomic_store_explicit(&v->fault, 0, memory_order_relaxed);
    v->entry = guard_add(v->base, BYTES, &v->fault, FAULT);
    CU_ASSERT_FATAL(v->entry >= 0);
}

static void victim_close(struct victim *v)
{
    guard_remove(v->entry);
    CU_ASSERT_EQUAL(munmap(v->base, BYTES), 0);
    CU_ASSERT_EQUAL(close(v->fd), 0);
}

/* A read the compiler must make. */
static uint8_t peek(const uint8_t *at)
{
    return atomic_load_explicit((const _Atomic uint8_t *)at, memory_order_relaxed);
}

static void a_lost_page_costs_its_agent_alone(void)
{
    struct victim bad, good;
    CU_ASSERT_EQUAL_FATAL(guard_install(wake, NULL), 0);
    victim_open(&bad);
    victim_open(&good);
    CU_ASSERT_EQUAL(ftruncate(bad.fd, PAGE), 0);
    CU_ASSERT_EQUAL(peek(bad.base), 1);
    CU_ASSERT_EQUAL(atomic_load_explicit(&bad.fault, memory_order_relaxed), 0);

    CU_ASSERT_EQUAL(peek(bad.base + 2 * PAGE), 0); /* SIGBUS here */

    CU_ASSERT_EQUAL(atomic_load_explicit(&bad.fault, memory_order_relaxed), FAULT);
    CU_ASSERT_EQUAL(atomic_load_explicit(&woken, memory_order_relaxed), 1);
    CU_ASSERT_EQUAL(peek(bad.base), 0); /* all of it is zeros now */
    bad.base[BYTES - 1] = 7;            /* and may be written: no second signal */
    CU_ASSERT_EQUAL(peek(bad.base + BYTES - 1), 7);
    CU_ASSERT_EQUAL(atomic_load_explicit(&woken, memory_order_relaxed), 1);
    CU_ASSERT_EQUAL(atomic_load_explicit(&good.fault, memory_order_relaxed), 0);
    CU_ASSERT_EQUAL(peek(good.base + 2 * PAGE), 1);
    victim_close(&bad);
    victim_close(&good);
}

static void a_write_to_a_lost_page_is_survived_too(void)
{
    struct victim bad;
    CU_ASSERT_EQUAL_FATAL(guard_install(NULL, NULL), 0);
    victim_open(&bad);
    CU_ASSERT_EQUAL(ftruncate(bad.fd, 0), 0);
    atomic_store_explicit((_Atomic uint8_t *)bad.base, 9, memory_order_relaxed);
    CU_ASSERT_EQUAL(peek(bad.base), 9);
    CU_ASSERT_EQUAL(atomic_load_explicit(&bad.fault, memory_order_relaxed), FAULT);
    victim_close(&bad);
}

/* The signal that a child dies of when it does this; 0: it lived. */
static int signal_of(void (*act)(struct victim *v))
{
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct victim v;
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        if (guard_install(NULL, NULL) != 0)
            _exit(1);
        victim_open(&v);
        act(&v);
        _exit(0);
    }
    int status = 0;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void touch_unguarded(struct victim *v)
{
    guard_remove(v->entry);
    if (ftruncate(v->fd, 0) == 0)
        (void)peek(v->base);
}

static void touch_behind_the_range(struct victim *v)
{
    guard_remove(v->entry);
    if (guard_add(v->base, PAGE, &v->fault, FAULT) < 0)
        _exit(1);
    if (ftruncate(v->fd, 0) == 0)
        (void)peek(v->base + PAGE);
}

static void be_sent_one(struct victim *v)
{
    (void)v;
    (void)kill(getpid(), SIGBUS);
}

static void touch_guarded(struct victim *v)
{
    if (ftruncate(v->fd, 0) == 0)
        (void)peek(v->base);
}

static void any_other_sigbus_ends_the_process(void)
{
    CU_ASSERT_EQUAL(signal_of(touch_guarded), 0);
    CU_ASSERT_EQUAL(signal_of(touch_unguarded), SIGBUS);
    CU_ASSERT_EQUAL(signal_of(touch_behind_the_range), SIGBUS);
    CU_ASSERT_EQUAL(signal_of(be_sent_one), SIGBUS);
}

/* Ranges of all nodes of the process, more than one node alone has agents. */
static void entries_are_handed_out_lowest_first_until_there_are_no_more(void)
{
    static _Atomic uint32_t fault;
    struct victim bad;
    uint8_t *nowhere = (uint8_t *)(uintptr_t)PAGE;
    CU_ASSERT_EQUAL_FATAL(guard_install(NULL, NULL), 0);
    for (uint32_t i = 0; i < GUARD_ENTRIES; i++)
        CU_ASSERT_EQUAL(guard_add(nowhere, PAGE, &fault, FAULT), (int)i);
    CU_ASSERT_EQUAL(guard_add(nowhere, PAGE, &fault, FAULT), -EUSERS);
    guard_remove(GUARD_ENTRIES - 1);
    guard_remove(LIMIT_AGENTS);
    CU_ASSERT_EQUAL(guard_add(nowhere, PAGE, &fault, FAULT), (int)LIMIT_AGENTS);

    victim_open(&bad);
    CU_ASSERT_EQUAL(bad.entry, (int)GUARD_ENTRIES - 1);
    CU_ASSERT_EQUAL(ftruncate(bad.fd, 0), 0);
    CU_ASSERT_EQUAL(peek(bad.base), 0); /* SIGBUS here */
    CU_ASSERT_EQUAL(atomic_load_explicit(&bad.fault, memory_order_relaxed), FAULT);
    CU_ASSERT_EQUAL(atomic_load_explicit(&fault, memory_order_relaxed), 0);
    victim_close(&bad);
    for (uint32_t i = 0; i < GUARD_ENTRIES - 1; i++)
        guard_remove((int)i);
}

/* The range that used an entry before is nobody's any more, whatever its length was. */
static void touch_what_an_entry_had_before(struct victim *v)
{
    struct victim next;
    guard_remove(v->entry);
    victim_open(&next);
    if (next.entry == v->entry && ftruncate(v->fd, 0) == 0)
        (void)peek(v->base);
}

static void an_entry_forgets_what_it_had_before(void)
{
    CU_ASSERT_EQUAL(signal_of(touch_what_an_entry_had_before), SIGBUS);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_lost_page_costs_its_agent_alone),
    UNIT_TEST(a_write_to_a_lost_page_is_survived_too),
    UNIT_TEST(any_other_sigbus_ends_the_process),
    UNIT_TEST(entries_are_handed_out_lowest_first_until_there_are_no_more),
    UNIT_TEST(an_entry_forgets_what_it_had_before),
};
UNIT_MAIN("guard", tests)
