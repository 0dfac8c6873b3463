#include "control/listener.h"

#include "engine/clock.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64], path[96], state_path[128];

static void directory_remove(void)
{
    (void)unlink(path);
    (void)unlink(state_path);
    (void)rmdir(directory);
}

static void on_interrupt(int number)
{
    directory_remove();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void directory_make(void)
{
    (void)snprintf(directory, sizeof(directory), "/tmp/dunlin-test-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/socket", directory);
    (void)snprintf(state_path, sizeof(state_path), "%s.state", path);
    (void)signal(SIGINT, on_interrupt);
    (void)signal(SIGTERM, on_interrupt);
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT(fputs(text, file) >= 0);
    CU_ASSERT_EQUAL(fclose(file), 0);
}

static int connect_to(const struct listener *l, int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    int error =
        connect(fd, (const struct sockaddr *)&l->address, sizeof(l->address)) == 0 ? 0 : -errno;
    (void)close(fd);
    return error;
}

static void listens_with_the_mode_it_was_given(void)
{
    struct listener l;
    struct stat status;
    directory_make();
    mode_t mask = umask(0077);
    CU_ASSERT_EQUAL_FATAL(listener_open(&l, path, 0666), 0);
    CU_ASSERT_EQUAL(lstat(path, &status), 0);
    CU_ASSERT(S_ISSOCK(status.st_mode));
    CU_ASSERT_EQUAL(status.st_mode & 07777, 0666);
    CU_ASSERT_EQUAL(stat(state_path, &status), 0);
    CU_ASSERT_EQUAL(status.st_mode & 07777, 0600);
    CU_ASSERT_EQUAL(connect_to(&l, SOCK_SEQPACKET), 0);
    listener_close(&l);
    CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
    CU_ASSERT_EQUAL_FATAL(listener_open(&l, path, 0600), 0);
    CU_ASSERT_EQUAL(lstat(path, &status), 0);
    CU_ASSERT_EQUAL(status.st_mode & 07777, 0600);
    listener_close(&l);
    CU_ASSERT_EQUAL(umask(mask), 0077);
    directory_remove();
}

static void makes_a_missing_directory(void)
{
    struct listener l;
    struct stat status;
    directory_make();
    CU_ASSERT_EQUAL(rmdir(directory), 0);
    CU_ASSERT_EQUAL_FATAL(listener_open(&l, path, 0600), 0);
    CU_ASSERT_EQUAL(stat(directory, &status), 0);
    CU_ASSERT_EQUAL(status.st_mode & 0777, 0755);
    listener_close(&l);
    directory_remove();
}

static void refuses_where_a_daemon_lives(void)
{
    struct listener first, second;
    directory_make();
    CU_ASSERT_EQUAL_FATAL(listener_open(&first, path, 0600), 0);
    uint64_t start = first.start;
    CU_ASSERT_EQUAL(listener_open(&second, path, 0600), -EADDRINUSE);
    CU_ASSERT_EQUAL(second.fd, -1);
    CU_ASSERT_EQUAL(second.state_fd, -1);
    CU_ASSERT_EQUAL(connect_to(&first, SOCK_SEQPACKET), 0); /* it is still there */
    listener_close(&first);
    CU_ASSERT_EQUAL_FATAL(listener_open(&second, path, 0600), 0);
    CU_ASSERT(second.start > start);
    listener_close(&second);
    directory_remove();
}

/* A daemon that was killed leaves its socket file. */
static void replaces_what_a_dead_daemon_left(void)
{
    struct listener l;
    directory_make();
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(listener_open(&l, path, 0600) == 0 ? 0 : 1);
    int status = -1;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_EQUAL(access(path, F_OK), 0);
    CU_ASSERT_EQUAL_FATAL(listener_open(&l, path, 0600), 0);
    CU_ASSERT_EQUAL(connect_to(&l, SOCK_SEQPACKET), 0);
    listener_close(&l);
    directory_remove();
}

static void leaves_others_alone(void)
{
    struct listener l;
    directory_make();
    write_file(path, "precious");
    CU_ASSERT_EQUAL(listener_open(&l, path, 0600), -ENOTSOCK);
    CU_ASSERT_EQUAL(access(path, F_OK), 0);
    CU_ASSERT_EQUAL(unlink(path), 0);

    /* A program that knows nothing of our lock listens there, with another kind of socket. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL(bind(other, (struct sockaddr *)&address, sizeof(address)), 0);
    CU_ASSERT_EQUAL(listen(other, 1), 0);
    CU_ASSERT_EQUAL(listener_open(&l, path, 0600), -EADDRINUSE);
    (void)close(other);
    CU_ASSERT_EQUAL_FATAL(listener_open(&l, path, 0600), 0);

    /* Somebody put something else at our place: it is not ours to unlink. */
    CU_ASSERT_EQUAL(unlink(path), 0);
    write_file(path, "precious");
    listener_close(&l);
    CU_ASSERT_EQUAL(access(path, F_OK), 0);
    directory_remove();
}

static void refuses_impossible_paths(void)
{
    struct listener l;
    char long_path[256];
    memset(long_path, 'a', sizeof(long_path));
    long_path[0] = '/';
    long_path[sizeof(long_path) - 1] = 0;
    CU_ASSERT_EQUAL(listener_open(&l, long_path, 0600), -ENAMETOOLONG);
    CU_ASSERT_EQUAL(listener_open(&l, "", 0600), -EINVAL);
    CU_ASSERT_EQUAL(listener_open(&l, "/proc/dunlin-test/none/socket", 0600), -ENOENT);
}

static uint64_t start_after(const char *state)
{
    struct listener l;
    if (state != NULL)
        write_file(state_path, state);
    CU_ASSERT_EQUAL_FATAL(listener_open(&l, path, 0600), 0);
    uint64_t start = l.start;
    listener_close(&l);
    return start;
}

static void start_numbers_only_grow(void)
{
    directory_make();
    uint64_t now_ms = clock_realtime_ns() / NS_PER_MS;
    uint64_t first = start_after(NULL);
    CU_ASSERT(first >= now_ms && first <= clock_realtime_ns() / NS_PER_MS);
    CU_ASSERT(start_after(NULL) > first);
    /* The clock was set back since. */
    CU_ASSERT_EQUAL(start_after("start=00000002100000000000\nlsn_ceiling=00000000000000000007\n"),
                    UINT64_C(2100000000001));
    CU_ASSERT_EQUAL(start_after(NULL), UINT64_C(2100000000002));
    /* Damage counts as no file. */
    static const char *const damaged[] = {
        "",
        "\n",
        "start=",
        "start=99999999999999999999\nlsn_ceiling=00000000000000000007\n",
        "start=00009999999999999999\nlsn_ceiling=00000000000000000007\n",
        "start=00000002199023255552\nlsn_ceiling=00000000000000000007\n",
        "start=-1\nlsn_ceiling=0\n",
        "start=00000002100000000000\n",
        "\377\376\375",
    };
    for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
        now_ms = clock_realtime_ns() / NS_PER_MS;
        uint64_t start = start_after(damaged[i]);
        CU_ASSERT(start >= now_ms && start <= clock_realtime_ns() / NS_PER_MS);
    }
    directory_remove();
}

/* Logs of a start beyond would begin above 2^63. */
static void the_last_start_number_is_not_passed(void)
{
    struct listener l;
    directory_make();
    CU_ASSERT_EQUAL(start_after("start=00000002199023255550\nlsn_ceiling=00000000000000000007\n"),
                    UINT64_C(2199023255551));
    CU_ASSERT_EQUAL(listener_open(&l, path, 0600), -EOVERFLOW);
    CU_ASSERT_EQUAL(listener_open(&l, path, 0600), -EOVERFLOW); /* and nothing of it was stored */
    directory_remove();
}

static void the_ceiling_outlives_the_daemon(void)
{
    struct listener l;
    directory_make();
    CU_ASSERT_EQUAL_FATAL(listener_open(&l, path, 0600), 0);
    CU_ASSERT_EQUAL(l.lsn_ceiling, 0);
    CU_ASSERT_EQUAL(listener_grant(&l, UINT64_C(1) << 63), 0);
    CU_ASSERT_EQUAL(listener_grant(&l, 5), 0); /* a lower one is none */
    listener_close(&l);
    CU_ASSERT_EQUAL_FATAL(listener_open(&l, path, 0600), 0);
    CU_ASSERT_EQUAL(l.lsn_ceiling, UINT64_C(1) << 63);
    (void)close(l.state_fd);
    l.state_fd = open("/dev/full", O_RDWR | O_CLOEXEC);
    CU_ASSERT(listener_grant(&l, UINT64_MAX) < 0);
    listener_close(&l);
    directory_remove();
}

static void takes_over_a_higher_start(void)
{
    struct listener l;
    directory_make();
    CU_ASSERT_EQUAL_FATAL(listener_open(&l, path, 0600), 0);
    uint64_t start = l.start;
    CU_ASSERT_EQUAL(listener_raise(&l, start - 1, 7), 0);
    CU_ASSERT_EQUAL(l.start, start);
    CU_ASSERT_EQUAL(l.lsn_ceiling, 7);
    CU_ASSERT_EQUAL(listener_raise(&l, start + 1000000, 6), 0);
    CU_ASSERT_EQUAL(l.start, start + 1000000);
    CU_ASSERT_EQUAL(l.lsn_ceiling, 7);
    listener_close(&l);
    CU_ASSERT_EQUAL(start_after(NULL), start + 1000001);
    directory_remove();
}

static const struct unit_test tests[] = {
    UNIT_TEST(listens_with_the_mode_it_was_given),
    UNIT_TEST(makes_a_missing_directory),
    UNIT_TEST(refuses_where_a_daemon_lives),
    UNIT_TEST(replaces_what_a_dead_daemon_left),
    UNIT_TEST(leaves_others_alone),
    UNIT_TEST(refuses_impossible_paths),
    UNIT_TEST(start_numbers_only_grow),
    UNIT_TEST(the_last_start_number_is_not_passed),
    UNIT_TEST(the_ceiling_outlives_the_daemon),
    UNIT_TEST(takes_over_a_higher_start),
};
UNIT_MAIN("listener", tests)
