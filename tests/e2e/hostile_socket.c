#include "tests/e2e/hostile.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELD 1700u /* more than one uid may hold */
#define SESSIONS 4200u

static void descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void close_all(const int *fds, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        (void)close(fds[i]);
}

/* ---- connections ---- */

void attack_connect(struct hostile *h)
{
    static int held[HELD];
    uint64_t made = 0;
    descriptors_raise();
    while (hostile_goes_on(h)) {
        uint32_t count = 0;
        /* Some that are dropped at once, the others held until no more are to be had. */
        while (count < HELD && hostile_goes_on(h)) {
            int fd = raw_connect(h->socket_path);
            made += fd >= 0;
            if (fd >= 0 && made % 4 == 0)
                (void)close(fd);
            else if (fd >= 0)
                held[count++] = fd;
            else
                break;
        }
        close_all(held, count);
    }
    if (made == 0)
        e2e_fail("not one connection was made");
}

/* ---- requests ---- */

static void send_with_fds(int fd, const void *bytes, size_t length)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control;
    struct iovec data = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    memset(&control, 0, sizeof control);
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(8 * sizeof(int))};
    const int fds[8] = {fd, fd, fd, fd, fd, fd, fd, fd};
    memcpy(CMSG_DATA(head), fds, sizeof fds);
    (void)sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Random bytes of random length, or a request with some bytes changed, with descriptors or cut. */
static void send_garbage(int fd, uint64_t *random)
{
    uint8_t bytes[2 * ATTACH_MESSAGE_MAX];
    struct attach_request request = {.kind = 1 + (uint32_t)(e2e_random(random) % 6),
                                     .fingerprint = LAYOUT_FINGERPRINT,
                                     .space = HOSTILE_SHARED};
    size_t length = e2e_random(random) % sizeof bytes;
    for (size_t i = 0; i + 8 <= sizeof bytes; i += 8) {
        uint64_t word = e2e_random(random);
        memcpy(bytes + i, &word, sizeof word);
    }
    if (e2e_random(random) % 4 != 0) {
        memcpy(bytes, &request, sizeof request);
        length = sizeof request;
        for (uint64_t n = e2e_random(random) % 4; n > 0; n--)
            bytes[e2e_random(random) % sizeof request] = (uint8_t)e2e_random(random);
        if (e2e_random(random) % 4 == 0)
            length = e2e_random(random) % sizeof request;
    }
    if (e2e_random(random) % 4 == 0)
        send_with_fds(fd, bytes, length);
    else
        (void)send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void attack_garbage(struct hostile *h)
{
    while (hostile_goes_on(h)) {
        int fd = raw_connect(h->socket_path);
        if (fd < 0)
            continue;
        for (uint64_t n = 1 + e2e_random(&h->seed) % 8; n > 0; n--)
            send_garbage(fd, &h->seed);
        if (e2e_random(&h->seed) % 2 == 0)
            (void)shutdown(fd, SHUT_WR);
        (void)close(fd);
    }
}

/* Requests without end, whose answers nobody reads. */
void attack_deaf(struct hostile *h)
{
    const struct attach_request hello = {.kind = ATTACH_HELLO, .fingerprint = LAYOUT_FINGERPRINT};
    const struct attach_request status = {.kind = ATTACH_STATUS};
    struct attach_request space = {.kind = ATTACH_SPACE, .space = HOSTILE_SHARED};
    while (hostile_goes_on(h)) {
        int fd = raw_connect(h->socket_path);
        if (fd < 0)
            continue;
        (void)send(fd, &hello, sizeof hello, MSG_NOSIGNAL | MSG_DONTWAIT);
        for (uint32_t i = 0; i < 400 && hostile_goes_on(h); i++) {
            const struct attach_request *r = i % 2 == 0 ? &status : &space;
            if (send(fd, r, sizeof *r, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
                break;
        }
        (void)close(fd);
    }
}

/* ---- what is not to be had ---- */

static void expect_error(struct raw *r, const char *what, const struct attach_request *request,
                         int expected)
{
    struct attach_answer answer;
    int fds[ATTACH_FDS_MAX];
    int error = raw_exchange(r->socket, request, &answer, fds);
    if (error != 0) {
        e2e_fail("%s: no answer (%d)", what, error);
        return;
    }
    if (answer.error != expected)
        e2e_fail("%s: answered %" PRId32 " instead of %d", what, answer.error, expected);
    if (answer.fd_count != 0)
        e2e_fail("%s: %" PRIu32 " descriptors came with the refusal", what, answer.fd_count);
    close_all(fds, answer.fd_count);
}

/* Each on a connection of its own, which the daemon ends. */
static void expect_protocol_error(struct hostile *h, const char *what, bool attached,
                                  const struct attach_request *request)
{
    struct raw r = {.socket = -1};
    if (attached)
        hostile_attach(h, &r, 0);
    else
        r.socket = raw_connect(h->socket_path);
    expect_error(&r, what, request, -EPROTO);
    struct attach_answer answer;
    int fds[ATTACH_FDS_MAX];
    const struct attach_request again = {.kind = ATTACH_CLOCK};
    if (raw_exchange(r.socket, &again, &answer, fds) != -EPIPE)
        e2e_fail("%s: the connection goes on", what);
    raw_close(&r);
}

void attack_denied(struct hostile *h)
{
    struct attach_request r = {.kind = ATTACH_SPACE, .space = HOSTILE_SECRET};
    struct raw agent;
    hostile_attach(h, &agent, 0);
    expect_error(&agent, "a space that it may not read", &r, -EACCES);
    for (uint32_t chunk = 0; chunk < LIMIT_CHUNKS; chunk += 1 + chunk / 4) {
        r = (struct attach_request){.kind = ATTACH_CHUNK, .space_id = 2, .chunk = chunk};
        expect_error(&agent, "a chunk of it", &r, -EACCES);
    }
    r = (struct attach_request){.kind = ATTACH_SPACE, .space = "nowhere"};
    expect_error(&agent, "a space that is not there", &r, -ENOENT);
    r = (struct attach_request){.kind = ATTACH_CHUNK, .space_id = 1, .chunk = LIMIT_CHUNKS - 1};
    expect_error(&agent, "a chunk that is not there", &r, -ENOENT);
    r = (struct attach_request){.kind = ATTACH_CHUNK, .space_id = LIMIT_SPACES, .chunk = 0};
    expect_error(&agent, "a chunk of a space that is not there", &r, -ENOENT);
    raw_close(&agent);

    r = (struct attach_request){.kind = ATTACH_SPACE};
    expect_protocol_error(h, "a space without a name", true, &r);
    memset(r.space, 'a', sizeof r.space);
    expect_protocol_error(h, "a name without an end", true, &r);
    r = (struct attach_request){.kind = ATTACH_CHUNK, .space_id = 0};
    expect_protocol_error(h, "space number 0", true, &r);
    r.space_id = UINT32_MAX;
    expect_protocol_error(h, "space number 4294967295", true, &r);
    r = (struct attach_request){.kind = ATTACH_CHUNK, .space_id = 1, .chunk = UINT32_MAX};
    expect_protocol_error(h, "chunk number 4294967295", true, &r);
    r = (struct attach_request){.kind = ATTACH_HELLO, .fingerprint = LAYOUT_FINGERPRINT};
    expect_protocol_error(h, "a second greeting", true, &r);
    r.fingerprint++;
    expect_protocol_error(h, "another fingerprint", false, &r);
    r = (struct attach_request){
        .kind = ATTACH_HELLO, .fingerprint = LAYOUT_FINGERPRINT, .request_bytes = 3 << 12};
    expect_protocol_error(h, "a ring of 12 KiB", false, &r);
    r.request_bytes = 1u << 31;
    expect_protocol_error(h, "a ring of 2 GiB", false, &r);
    r.request_bytes = 0;
    r.bulk_bytes = UINT32_MAX;
    expect_protocol_error(h, "a bulk buffer of 4 GiB", false, &r);
    r = (struct attach_request){.kind = ATTACH_SPACE, .space = HOSTILE_SHARED};
    expect_protocol_error(h, "a space before the greeting", false, &r);
    r = (struct attach_request){.kind = ATTACH_CHUNK, .space_id = 1};
    expect_protocol_error(h, "a chunk before the greeting", false, &r);
    r = (struct attach_request){.kind = 77};
    expect_protocol_error(h, "an unknown request", false, &r);
}

/* ---- more than there is room for ---- */

void attack_crowd(struct hostile *h)
{
    static struct raw agents[HELD];
    const struct raw_options options = {.socket_path = h->socket_path,
                                        .ring_bytes = LIMIT_RING_BYTES_MIN};
    uint32_t count = 0;
    int error = 0;
    descriptors_raise();
    while (count < HELD && (error = raw_open(&agents[count], &options)) == 0)
        count++;
    if (error == 0)
        e2e_fail("one uid attached %" PRIu32 " times and was not refused", count);
    if (count < 256 && error != -EMFILE)
        e2e_fail("one uid attached only %" PRIu32 " times: %d", count, error);
    while (hostile_goes_on(h))
        for (uint32_t i = 0; i < count; i++)
            for (uint32_t l = 0; l < agents[i].hello.file.lcore_count; l++)
                raw_bell(&agents[i], l);
    for (uint32_t i = 0; i < count; i++)
        raw_close(&agents[i]);
}

void attack_session_flood(struct hostile *h)
{
    struct raw agent;
    struct raw_space space;
    uint32_t opened = 0;
    int status = RING_OK;
    hostile_attach(h, &agent, 0);
    hostile_space(&agent, HOSTILE_FLOOD, &space);
    for (uint32_t i = 0; i < SESSIONS && status == RING_OK; i++) {
        struct raw_session session = {.shard = 0};
        memcpy(session.id, &i, sizeof i);
        status = raw_session_open(&agent, &space, &session);
        opened += status == RING_OK;
    }
    if (status != RING_SESSION_LIMIT)
        e2e_fail("%" PRIu32 " sessions opened, then %d", opened, status);
    /* Those that are open stay open: nobody was evicted for the one too many. */
    struct raw_session first = {.shard = 0};
    status = raw_session_open(&agent, &space, &first);
    if (status != RING_OK)
        e2e_fail("the first of %" PRIu32 " sessions is gone: %d", opened, status);
    raw_close(&agent);
}

void attack_none(struct hostile *h)
{
    struct dunlin *handle = e2e_open(h->socket_path, 5000);
    struct dunlin_space *space = e2e_space(handle, HOSTILE_SHARED);
    char value[64] = "";
    while (hostile_goes_on(h)) {
        int error = dunlin_put(space, "neighbour", 9, value, sizeof value, NULL);
        for (uint32_t i = 0; i < 64 && error == 0; i++)
            error = dunlin_get(space, "neighbour", 9, value, sizeof value, NULL);
        if (error != 0) {
            e2e_fail("an honest neighbour: %d", error);
            break;
        }
    }
    dunlin_close(handle);
}
