/* What a service manager hears, at a socket of the test. */
#include "control/notify.h"

#include "tests/unit/unit.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char directory[64], path[96];
static int manager; /* its socket */

static void manager_open(const char *name, size_t length)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, name, length);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(manager >= 0);
    CU_ASSERT_EQUAL_FATAL(bind(manager, (const struct sockaddr *)&address,
                               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)),
                          0);
}

static void directory_open(void)
{
    (void)snprintf(directory, sizeof directory, "/tmp/dunlin-test-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/notify", directory);
    manager_open(path, strlen(path));
}

static void directory_close(void)
{
    (void)close(manager);
    (void)unlink(path);
    CU_ASSERT_EQUAL(rmdir(directory), 0);
}

/* What was heard next; "" nothing. */
static const char *heard(void)
{
    static char text[128];
    ssize_t length = recv(manager, text, sizeof text - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    return text;
}

static void states_arrive_one_by_one(void)
{
    struct notify n;
    directory_open();
    CU_ASSERT_EQUAL(notify_open(&n, &(struct notify_environment){.socket = path}), 0);
    CU_ASSERT_EQUAL(n.watchdog_ns, 0);
    CU_ASSERT_EQUAL(notify_say(&n, "READY=1"), 0);
    CU_ASSERT_EQUAL(notify_say(&n, "STOPPING=1\nSTATUS=over"), 0);
    CU_ASSERT_STRING_EQUAL(heard(), "READY=1");
    CU_ASSERT_STRING_EQUAL(heard(), "STOPPING=1\nSTATUS=over");
    CU_ASSERT_STRING_EQUAL(heard(), "");
    notify_close(&n);
    CU_ASSERT_EQUAL(notify_say(&n, "READY=1"), 0);
    CU_ASSERT_STRING_EQUAL(heard(), "");
    directory_close();
}

static void an_abstract_name_begins_with_an_at(void)
{
    struct notify n;
    char name[64];
    int length = snprintf(name, sizeof name, "@dunlin-test-%ld", (long)getpid());
    char bytes[64];
    memcpy(bytes, name, sizeof bytes);
    bytes[0] = '\0';
    manager_open(bytes, (size_t)length);
    CU_ASSERT_EQUAL_FATAL(notify_open(&n, &(struct notify_environment){.socket = name}), 0);
    CU_ASSERT_EQUAL(notify_say(&n, "READY=1"), 0);
    CU_ASSERT_STRING_EQUAL(heard(), "READY=1");
    notify_close(&n);
    (void)close(manager);
}

static void nobody_needs_to_listen(void)
{
    struct notify n;
    CU_ASSERT_EQUAL(notify_open(&n, &(struct notify_environment){.watchdog_us = "1000"}), 0);
    CU_ASSERT_EQUAL(n.fd, -1);
    CU_ASSERT_EQUAL(n.watchdog_ns, 0);
    CU_ASSERT_EQUAL(notify_say(&n, "READY=1"), 0);
    notify_close(&n);
    CU_ASSERT_EQUAL(notify_open(&n, &(struct notify_environment){.socket = ""}), 0);
    CU_ASSERT_EQUAL(n.fd, -1);
}

static void names_that_are_none_are_refused(void)
{
    struct notify n;
    char long_name[200];
    memset(long_name, 'x', sizeof long_name);
    long_name[0] = '/';
    long_name[sizeof long_name - 1] = '\0';
    CU_ASSERT_EQUAL(notify_open(&n, &(struct notify_environment){.socket = "run/x"}), -EINVAL);
    CU_ASSERT_EQUAL(notify_open(&n, &(struct notify_environment){.socket = long_name}), -EINVAL);
    CU_ASSERT_EQUAL(notify_open(&n, &(struct notify_environment){.socket = "/nonexistent/notify"}),
                    -ENOENT);
    CU_ASSERT_EQUAL(n.fd, -1);
}

static uint64_t watchdog_of(const char *us, const char *pid)
{
    struct notify n;
    const struct notify_environment e = {
        .socket = path, .watchdog_us = us, .watchdog_pid = pid, .pid = 4711};
    CU_ASSERT_EQUAL_FATAL(notify_open(&n, &e), 0);
    uint64_t ns = n.watchdog_ns;
    notify_close(&n);
    return ns;
}

static void the_watchdog_is_of_one_process(void)
{
    directory_open();
    CU_ASSERT_EQUAL(watchdog_of("3000000", NULL), 3 * NS_PER_S);
    CU_ASSERT_EQUAL(watchdog_of("3000000", "4711"), 3 * NS_PER_S);
    CU_ASSERT_EQUAL(watchdog_of("3000000", "4712"), 0);
    CU_ASSERT_EQUAL(watchdog_of("3000000", "x"), 0);
    CU_ASSERT_EQUAL(watchdog_of("3s", NULL), 0);
    CU_ASSERT_EQUAL(watchdog_of("-3", NULL), 0);
    CU_ASSERT_EQUAL(watchdog_of("18446744073709551615", NULL), 0);
    CU_ASSERT_EQUAL(watchdog_of("18446744073709551616", NULL), 0);
    CU_ASSERT_EQUAL(watchdog_of(NULL, "4711"), 0);
    directory_close();
}

/* A manager that does not read holds up nobody. */
static void a_full_socket_is_an_error(void)
{
    struct notify n;
    directory_open();
    CU_ASSERT_EQUAL_FATAL(notify_open(&n, &(struct notify_environment){.socket = path}), 0);
    int error = 0;
    for (uint32_t i = 0; i < 100000 && error == 0; i++)
        error = notify_say(&n, "WATCHDOG=1");
    CU_ASSERT_EQUAL(error, -EAGAIN);
    notify_close(&n);
    directory_close();
}

static const struct unit_test tests[] = {
    UNIT_TEST(states_arrive_one_by_one),       UNIT_TEST(an_abstract_name_begins_with_an_at),
    UNIT_TEST(nobody_needs_to_listen),         UNIT_TEST(names_that_are_none_are_refused),
    UNIT_TEST(the_watchdog_is_of_one_process), UNIT_TEST(a_full_socket_is_an_error),
};
UNIT_MAIN("notify", tests)
