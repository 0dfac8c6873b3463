#include "bench/transport_partner.h"

#include "bench/machine.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct transport_partner_shared {
    sem_t wanted, started, done;
    uint32_t what; /* written before wanted is posted */
    alignas(CACHE_LINE) _Atomic uint32_t stop;
};

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        continue; /* a signal */
}

static _Noreturn void child_run(struct transport_partner_shared *shared,
                                transport_partner_task task, void *context)
{
    for (;;) {
        wait_for(&shared->wanted);
        (void)sem_post(&shared->started);
        task(context, shared->what, &shared->stop);
        (void)sem_post(&shared->done);
    }
}

static int wait_some_time(sem_t *semaphore)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += TRANSPORT_PARTNER_WAIT_S;
    while (sem_timedwait(semaphore, &until) != 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int transport_partner_open(struct transport_partner *p, uint32_t cpu, transport_partner_task task,
                           void *context)
{
    p->shared =
        mmap(NULL, sizeof *p->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p->shared == MAP_FAILED)
        return -errno;
    (void)sem_init(&p->shared->wanted, 1, 0);
    (void)sem_init(&p->shared->started, 1, 0);
    (void)sem_init(&p->shared->done, 1, 0);
    pid_t parent = getpid();
    p->pid = fork();
    if (p->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || machine_pin(cpu) < 0)
            _exit(1);
        child_run(p->shared, task, context);
    }
    if (p->pid > 0)
        return 0;
    int rc = -errno;
    (void)munmap(p->shared, sizeof *p->shared);
    return rc;
}

int transport_partner_resume(struct transport_partner *p, uint32_t what)
{
    p->shared->what = what;
    /* relaxed: the semaphore orders it */
    atomic_store_explicit(&p->shared->stop, 0, memory_order_relaxed);
    (void)sem_post(&p->shared->wanted);
    return wait_some_time(&p->shared->started);
}

int transport_partner_pause(struct transport_partner *p)
{
    /* relaxed: a hint, the semaphore orders what the task did */
    atomic_store_explicit(&p->shared->stop, 1, memory_order_relaxed);
    return wait_some_time(&p->shared->done);
}

void transport_partner_close(struct transport_partner *p)
{
    (void)kill(p->pid, SIGKILL);
    while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    (void)munmap(p->shared, sizeof *p->shared);
}
