/* What the kernel and the memory refuse: each call of set-up fails once, and the calls of the hot path
 * fail by every name.  The linker puts the functions below in front of the real ones (--wrap). */
#include "tests/unit/dataplane/udp_ends.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <sys/mman.h>

/* ---- failing ---- */

static uint32_t calls, fail_at; /* of set-up; 0: none */

static bool fails(void)
{
    return ++calls == fail_at;
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
/* What mmap is called where file offsets have 64 bits. */
void *__real_mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);
ssize_t __real_getrandom(void *to, size_t length, unsigned flags);
ssize_t __wrap_getrandom(void *to, size_t length, unsigned flags);
int __real_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

/* Why six parameters: they are the system's.  NOLINTNEXTLINE(readability-function-size) */
void *__wrap_mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    if (fails()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap64(address, length, protection, flags, fd, offset);
}

int __wrap_socket(int family, int type, int protocol)
{
    if (fails()) {
        errno = EMFILE;
        return -1;
    }
    return __real_socket(family, type, protocol);
}

ssize_t __wrap_getrandom(void *to, size_t length, unsigned flags)
{
    if (fails()) {
        errno = EAGAIN;
        return -1;
    }
    return __real_getrandom(to, length, flags);
}

static int send_error;       /* of the next call; 0: none */
static unsigned send_most;   /* messages that a call takes; 0: all */
static uint32_t send_many;   /* messages of several frames that were handed over */
static bool send_many_fails; /* with send_error, for ever */

/* Whether the call is to fail, by errno. */
static bool send_fails(const struct msghdr *message)
{
    bool many = message->msg_controllen != 0; /* what the kernel is to cut */
    if (send_error != 0 && (many || !send_many_fails)) {
        errno = send_error;
        send_error = send_many_fails ? send_error : 0;
        return true;
    }
    send_many += many;
    return false;
}

int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    if (send_fails(&messages[0].msg_hdr))
        return -1;
    if (send_most != 0 && count > send_most)
        count = send_most;
    return __real_sendmmsg(fd, messages, count, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return send_fails(message) ? -1 : __real_sendmsg(fd, message, flags);
}

/* ---- set-up ---- */

static void each_failure_of_opening_leaves_nothing(void)
{
    configure();
    for (fail_at = 1; fail_at < 100; fail_at++) {
        calls = 0;
        int error = transport_udp_open(&a, &config_a, NULL);
        if (error == 0)
            break;
        CU_ASSERT(error == -ENOMEM || error == -EMFILE);
    }
    CU_ASSERT_EQUAL(fail_at, 4); /* endpoint, socket, buffers */
    struct sockaddr_storage address = loopback(AF_INET, 9);
    config_a.frame_bytes = TRANSPORT_FRAMED_FRAME_PATH;
    transport_udp_close(a);
    fail_at = 0;
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&a, &config_a, NULL), 0);
    for (fail_at = 1; fail_at < 100; fail_at++) {
        calls = 0;
        int error = transport_framed_add(a, 3, &address);
        if (error == 0)
            break;
        CU_ASSERT(error == -ENOMEM || error == -EMFILE || error == -EAGAIN);
        CU_ASSERT_EQUAL(transport_framed_remove(a, 3), -ENOENT);
    }
    /* Peer, route's socket, queue, its memory, fragments, 2 x random, 4 keys. */
    CU_ASSERT_EQUAL(fail_at, 12);
    fail_at = 0;
    transport_udp_close(a);
}

/* ---- sending ---- */

static void send_some(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        CU_ASSERT_TRUE(send_one(a, 3, "some", i % 5 * 8));
}

static void some_come(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        CU_ASSERT_TRUE_FATAL(comes(b));
        CU_ASSERT_TRUE(is(&in[0], "some", i % 5 * 8));
        transport_release(b);
    }
}

static void a_kernel_without_room_is_asked_again(void)
{
    static const int errors[] = {EAGAIN, ENOBUFS, ENOMEM};
    configure();
    open_up();
    for (uint32_t i = 0; i < 3; i++) {
        send_some(10);
        send_error = errors[i];
        flush(a);
        count(a);
        CU_ASSERT_EQUAL(counters.send_retries, i + 1);
        CU_ASSERT_EQUAL(transport_framed_endpoint_of(a)->queued, 10);
        flush(a);
        some_come(10);
    }
    CU_ASSERT_EQUAL(counters.send_errors, 0);
    close_both();
}

static void an_interrupted_call_is_made_again(void)
{
    configure();
    open_up();
    send_some(3);
    send_error = EINTR;
    flush(a);
    some_come(3);
    count(a);
    CU_ASSERT_EQUAL(counters.send_retries + counters.send_errors, 0);
    close_both();
}

static void a_call_may_take_a_part(void)
{
    configure();
    open_up();
    send_some(30);
    send_most = 1;
    flush(a);
    send_most = 0;
    some_come(30);
    close_both();
}

static void what_the_kernel_refuses_is_dropped_alone(void)
{
    configure();
    socket_a.plain = true;
    open_up();
    CU_ASSERT_TRUE(send_one(a, 3, "refused", 0));
    send_some(4);
    send_error = EPERM;
    flush(a);
    some_come(4);
    count(a);
    CU_ASSERT_EQUAL(counters.send_errors, 1);
    CU_ASSERT_EQUAL(transport_framed_endpoint_of(a)->queued, 0);
    close_both();
}

static void tokens_of_what_did_not_leave_come_back(void)
{
    configure();
    config_a.rate = 1;
    config_a.burst = 5 * 72;
    open_up();
    for (uint32_t i = 0; i < 8; i++)
        CU_ASSERT_TRUE(send_one(a, 3, "1", 0));
    send_error = EAGAIN;
    flush(a);
    flush(a);
    count(a);
    CU_ASSERT_EQUAL(counters.frames_sent, 5);
    close_both();
}

static void a_route_without_offload_is_served_without(void)
{
    static const int errors[] = {EIO, EINVAL, EMSGSIZE};
    for (uint32_t i = 0; i < 3; i++) {
        configure();
        open_up();
        if (!transport_udp_endpoint_of(a)->offload) {
            close_both();
            return; /* a kernel without it */
        }
        send_error = errors[i];
        send_many_fails = true;
        send_many = 0;
        CU_ASSERT_TRUE(send_one(a, 3, "long", 30000));
        flush(a);
        CU_ASSERT_TRUE_FATAL(comes(b));
        CU_ASSERT_TRUE(is(&in[0], "long", 30000));
        send_error = 0;
        send_many_fails = false;
        count(a);
        CU_ASSERT_EQUAL(udp_counters.offload_errors, 1);
        CU_ASSERT_EQUAL(counters.send_errors, 0);
        transport_release(b);
        CU_ASSERT_TRUE(send_one(a, 3, "long", 30000));
        flush(a);
        CU_ASSERT_TRUE_FATAL(comes(b));
        CU_ASSERT_EQUAL(send_many, 0);
        close_both();
    }
}

static const struct unit_test tests[] = {
    UNIT_TEST(each_failure_of_opening_leaves_nothing),
    UNIT_TEST(a_kernel_without_room_is_asked_again),
    UNIT_TEST(an_interrupted_call_is_made_again),
    UNIT_TEST(a_call_may_take_a_part),
    UNIT_TEST(what_the_kernel_refuses_is_dropped_alone),
    UNIT_TEST(tokens_of_what_did_not_leave_come_back),
    UNIT_TEST(a_route_without_offload_is_served_without),
};
UNIT_MAIN("transport_udp_failures", tests)
