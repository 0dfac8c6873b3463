#include "tests/e2e/hostile.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* What the stranger was passed.  Only the doorbell and its own file may be written by it. */
struct passed {
    const char *name;
    int fd;
    uint64_t bytes;
    bool shared; /* both sides write it */
};

struct passed_all {
    struct raw agent;
    struct raw_space space;
    struct passed files[5];
};

static void receive_all(struct hostile *h, struct passed_all *p)
{
    hostile_attach(h, &p->agent, 1 << 20);
    hostile_space(&p->agent, HOSTILE_SHARED, &p->space);
    if (p->space.chunk_fd < 0)
        e2e_die("no chunk of space shared");
    p->files[0] = (struct passed){"node file", p->agent.fds[0], sizeof(struct layout_node), false};
    p->files[1] = (struct passed){"space file", p->space.fd, p->space.bytes, false};
    p->files[2] = (struct passed){"chunk", p->space.chunk_fd, p->space.chunk_bytes, false};
    p->files[3] =
        (struct passed){"doorbell", p->agent.fds[1], sizeof(struct layout_doorbell), true};
    p->files[4] = (struct passed){"agent file", p->agent.fds[2], p->agent.hello.file.bytes, true};
}

static void expect_refused(const char *what, const struct passed *f, int64_t result)
{
    if (result >= 0)
        e2e_fail("%s of the %s was let through (%" PRId64 ")", what, f->name, result);
}

#define EACH(all, f) (const struct passed *f = (all)->files; f < (all)->files + 5; f++)

void attack_reopen(struct hostile *h)
{
    struct passed_all p;
    receive_all(h, &p);
    for
        EACH(&p, f)
        {
            char path[64];
            (void)snprintf(path, sizeof path, "/proc/self/fd/%d", f->fd);
            expect_refused("reopening for writing", f, open(path, O_RDWR | O_CLOEXEC));
            expect_refused("reopening to append", f, open(path, O_WRONLY | O_APPEND | O_CLOEXEC));
            expect_refused("reopening with truncation", f,
                           open(path, O_RDWR | O_TRUNC | O_CLOEXEC));
            expect_refused("a change of mode", f, fchmod(f->fd, 0666));
            expect_refused("a change of owner", f,
                           fchown(f->fd, E2E_STRANGER_UID, E2E_STRANGER_UID));
        }
}

void attack_map_writable(struct hostile *h)
{
    struct passed_all p;
    receive_all(h, &p);
    for
        EACH(&p, f)
        {
            if (f->shared)
                continue;
            void *at = mmap(NULL, f->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
            expect_refused("a writable mapping", f, at == MAP_FAILED ? -1 : 0);
            at = mmap(NULL, f->bytes, PROT_READ, MAP_SHARED, f->fd, 0);
            if (at == MAP_FAILED) {
                e2e_fail("the %s cannot be mapped for reading", f->name);
                continue;
            }
            expect_refused("mprotect to writable", f,
                           mprotect(at, f->bytes, PROT_READ | PROT_WRITE));
            expect_refused("MADV_REMOVE", f, madvise(at, f->bytes, MADV_REMOVE));
            /* A private copy is ours to spoil. */
            uint8_t *own = mmap(NULL, f->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, f->fd, 0);
            if (own != MAP_FAILED)
                memset(own, 0xff, min_u64(f->bytes, 1 << 20));
        }
}

void attack_resize(struct hostile *h)
{
    struct passed_all p;
    receive_all(h, &p);
    for
        EACH(&p, f)
        {
            expect_refused("truncation to nothing", f, ftruncate(f->fd, 0));
            expect_refused("truncation by a page", f, ftruncate(f->fd, (off_t)(f->bytes - PAGE)));
            expect_refused("growing by a page", f, ftruncate(f->fd, (off_t)(f->bytes + PAGE)));
            expect_refused("growing to a terabyte", f, ftruncate(f->fd, (off_t)1 << 40));
            expect_refused("allocating behind the end", f,
                           fallocate(f->fd, 0, (off_t)f->bytes, 1 << 20));
        }
}

void attack_punch(struct hostile *h)
{
    static const int modes[] = {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
                                FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE,
                                FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    struct passed_all p;
    receive_all(h, &p);
    do {
        for
            EACH(&p, f)
            {
                for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
                    int result = fallocate(f->fd, modes[i], 0, (off_t)f->bytes);
                    if (!f->shared)
                        expect_refused("fallocate", f, result);
                }
                /* What is ours to allocate and to punch we do: it costs nobody else anything. */
                (void)fallocate(f->fd, 0, 0, (off_t)f->bytes);
                (void)fallocate(f->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)f->bytes);
            }
    } while (hostile_goes_on(h));
}

void attack_write(struct hostile *h)
{
    struct passed_all p;
    uint8_t bytes[PAGE];
    memset(bytes, 0xa5, sizeof bytes);
    receive_all(h, &p);
    for
        EACH(&p, f)
        {
            struct iovec vector = {.iov_base = bytes, .iov_len = sizeof bytes};
            int source = memfd_create("source", MFD_CLOEXEC);
            if (f->shared || source < 0 || write(source, bytes, sizeof bytes) < 0)
                continue;
            expect_refused("write", f, write(f->fd, bytes, sizeof bytes));
            expect_refused("pwrite", f, pwrite(f->fd, bytes, sizeof bytes, PAGE));
            expect_refused("pwritev2", f, pwritev2(f->fd, &vector, 1, 0, RWF_DSYNC));
            off_t from = 0;
            expect_refused("copy_file_range", f,
                           copy_file_range(source, &from, f->fd, &from, sizeof bytes, 0));
            (void)close(source);
        }
}

void attack_seal(struct hostile *h)
{
    static const int seals[] = {F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_SHRINK, F_SEAL_GROW,
                                F_SEAL_SEAL};
    struct passed_all p;
    receive_all(h, &p);
    for
        EACH(&p, f)
    for (size_t i = 0; i < sizeof seals / sizeof seals[0]; i++)
        expect_refused("a further seal", f, fcntl(f->fd, F_ADD_SEALS, seals[i]));
}

void attack_daemon(struct hostile *h)
{
    const struct passed daemon = {.name = "daemon"};
    char path[64];
    uint64_t word = 0;
    struct iovec own = {.iov_base = &word, .iov_len = sizeof word};
    struct iovec other = {.iov_base = (void *)(uintptr_t)PAGE, .iov_len = sizeof word};
    (void)snprintf(path, sizeof path, "/proc/%d/mem", (int)h->daemon_pid);
    expect_refused("opening the memory", &daemon, open(path, O_RDWR | O_CLOEXEC));
    expect_refused("process_vm_writev", &daemon,
                   process_vm_writev(h->daemon_pid, &own, 1, &other, 1, 0));
    expect_refused("ptrace", &daemon, ptrace(PTRACE_ATTACH, h->daemon_pid, NULL, NULL));
    expect_refused("SIGKILL", &daemon, kill(h->daemon_pid, SIGKILL));
    for (int fd = 0; fd < 64; fd++) {
        (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)h->daemon_pid, fd);
        expect_refused("reopening a descriptor", &daemon, open(path, O_RDWR | O_CLOEXEC));
    }
    int pid_fd = (int)syscall(SYS_pidfd_open, h->daemon_pid, 0);
    for (int fd = 3; pid_fd >= 0 && fd < 64; fd++)
        expect_refused("pidfd_getfd", &daemon, syscall(SYS_pidfd_getfd, pid_fd, fd, 0));
}
