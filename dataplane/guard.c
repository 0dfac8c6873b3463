#include "dataplane/guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct guard_entry {
    _Atomic uintptr_t base; /* 0: free */
    _Atomic uint64_t bytes;
    _Atomic(_Atomic uint32_t *) fault;
    _Atomic uint32_t value;
};

/* One table per process because a signal handler is one per process. */
static struct guard_entry guard_table[GUARD_ENTRIES];
/* Entries from here on were never used: searches stop there. */
static _Atomic uint32_t guard_used;
/* Constant once the handler is there. */
static void (*guard_wake)(void *context);
static void *guard_wake_context;

_Static_assert(ATOMIC_POINTER_LOCK_FREE == 2 && ATOMIC_LONG_LOCK_FREE == 2,
               "a signal handler takes no lock");

static bool covers(const struct guard_entry *e, uintptr_t address)
{
    uintptr_t base = atomic_load_explicit(&e->base, memory_order_acquire);  /* G2 */
    uint64_t bytes = atomic_load_explicit(&e->bytes, memory_order_acquire); /* G4 */
    /* Why once more: an entry of somebody else may be changing hands, and the length be that of its
     * next use.  relaxed: ordered behind the length by G4. */
    return base != 0 && address >= base && address - base < bytes &&
           atomic_load_explicit(&e->base, memory_order_relaxed) == base;
}

static struct guard_entry *find(uintptr_t address)
{
    /* acquire: the entry of a range that is in use was counted before the range was published */
    uint32_t used = atomic_load_explicit(&guard_used, memory_order_acquire);
    for (uint32_t i = 0; i < used; i++)
        if (covers(&guard_table[i], address))
            return &guard_table[i];
    return NULL;
}

/* Why the whole range and not the page: one signal per agent is the most there can be.
 * Why a raw system call: mmap of libc may be wrapped by what is not safe in a handler. */
static bool cover(const struct guard_entry *e)
{
    /* relaxed: found by G2, and in use as long as the instruction that broke is not repeated */
    uintptr_t base = atomic_load_explicit(&e->base, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&e->bytes, memory_order_relaxed);
    long at = syscall(SYS_mmap, base, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0L);
    return at == (long)base;
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
    (void)context;
    int saved = errno;
    /* A code of 0 or less: somebody sent it, no address in it. */
    struct guard_entry *e = info->si_code > 0 ? find((uintptr_t)info->si_addr) : NULL;
    if (e != NULL && cover(e)) {
        _Atomic uint32_t *fault = atomic_load_explicit(&e->fault, memory_order_relaxed);
        uint32_t value = atomic_load_explicit(&e->value, memory_order_relaxed);
        /* release: whoever detaches for it comes after the mapping. */
        atomic_store_explicit(fault, value, memory_order_release);
        if (guard_wake != NULL)
            guard_wake(guard_wake_context);
        errno = saved;
        return;
    }
    /* Back to the instruction, which now dies by it; one that was sent has to be sent again. */
    (void)signal(number, SIG_DFL);
    if (info->si_code <= 0)
        (void)raise(number);
    errno = saved;
}

int guard_install(void (*wake)(void *context), void *context)
{
    guard_wake = wake;
    guard_wake_context = context;
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    (void)sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, NULL) == 0 ? 0 : -errno;
}

int guard_add(uint8_t *base, uint64_t bytes, _Atomic uint32_t *fault, uint32_t value)
{
    /* relaxed: control alone changes the table, here and in guard_remove */
    uint32_t used = atomic_load_explicit(&guard_used, memory_order_relaxed);
    uint32_t at = 0;
    while (at < used && atomic_load_explicit(&guard_table[at].base, memory_order_relaxed) != 0)
        at++;
    if (at == GUARD_ENTRIES)
        return -EUSERS;
    struct guard_entry *e = &guard_table[at];
    atomic_store_explicit(&e->bytes, bytes, memory_order_release); /* G3 */
    /* relaxed: G1 publishes them. */
    atomic_store_explicit(&e->fault, fault, memory_order_relaxed);
    atomic_store_explicit(&e->value, value, memory_order_relaxed);
    atomic_store_explicit(&e->base, (uintptr_t)base, memory_order_release); /* G1 */
    if (at == used)
        atomic_store_explicit(&guard_used, used + 1, memory_order_release);
    return (int)at;
}

void guard_remove(int entry)
{
    ASSERT(entry >= 0 && (uint32_t)entry < GUARD_ENTRIES);
    /* relaxed: G3 of the next use comes after it; until then the entry is whole, and nobody touches
     * its range */
    atomic_store_explicit(&guard_table[entry].base, 0, memory_order_relaxed);
}
