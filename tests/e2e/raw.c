#include "tests/e2e/raw.h"

#include "engine/clock.h"
#include "engine/hash.h"

#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define EXCHANGE_MS 5000
#define ANSWER_MS 5000u

int raw_connect(const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(socket_path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = -errno;
    (void)close(fd);
    return error;
}

static uint32_t take_fds(struct msghdr *message, int *fds)
{
    uint32_t count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        uint32_t here = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds + count, CMSG_DATA(c), here * sizeof(int));
        count += here;
    }
    return count;
}

static int receive(int fd, struct attach_answer *answer, int *fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(ATTACH_FDS_MAX * sizeof(int))];
    } control;
    struct iovec data = {.iov_base = answer, .iov_len = sizeof *answer};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (poll(&ready, 1, EXCHANGE_MS) != 1)
        return -ETIMEDOUT;
    ssize_t received = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (received <= 0)
        return -EPIPE;
    answer->fd_count = take_fds(&message, fds);
    return received == (ssize_t)sizeof *answer ? 0 : -EPROTO;
}

int raw_exchange(int fd, const struct attach_request *request, struct attach_answer *answer,
                 int *fds)
{
    if (send(fd, request, sizeof *request, MSG_NOSIGNAL) != (ssize_t)sizeof *request)
        return -EPIPE;
    return receive(fd, answer, fds);
}

static void *map(int fd, uint64_t bytes, int protection)
{
    void *at = mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void join(struct raw *r)
{
    const struct ring_file *f = &r->hello.file;
    for (uint32_t l = 0; l < f->lcore_count; l++) {
        ring_join(&r->request[l], (void *)(r->file + ring_file_shared(f, l, false)),
                  r->file + ring_file_data(f, l, false), f->request_bytes);
        ring_join(&r->completion[l], (void *)(r->file + ring_file_shared(f, l, true)),
                  r->file + ring_file_data(f, l, true), f->completion_bytes);
    }
}

int raw_open(struct raw *r, const struct raw_options *options)
{
    const struct attach_request request = {
        .kind = ATTACH_HELLO,
        .fingerprint = LAYOUT_FINGERPRINT,
        .request_bytes = options->ring_bytes,
        .completion_bytes = options->ring_bytes,
        .bulk_bytes = options->bulk_bytes,
    };
    *r = (struct raw){.socket = raw_connect(options->socket_path)};
    if (r->socket < 0)
        return r->socket;
    int error = raw_exchange(r->socket, &request, &r->hello, r->fds);
    r->fd_count = error == 0 ? r->hello.fd_count : 0;
    if (error == 0)
        error = r->hello.error;
    if (error == 0 && r->fd_count == 3 + r->hello.file.lcore_count) {
        r->node = map(r->fds[0], sizeof *r->node, PROT_READ);
        r->doorbell = map(r->fds[1], sizeof *r->doorbell, PROT_READ | PROT_WRITE);
        r->file = map(r->fds[2], r->hello.file.bytes, PROT_READ | PROT_WRITE);
    }
    if (error == 0 && (r->node == NULL || r->doorbell == NULL || r->file == NULL))
        error = -EPROTO;
    if (error != 0) {
        raw_close(r);
        return error;
    }
    join(r);
    return 0;
}

static void unmap(const void *at, uint64_t bytes)
{
    if (at != NULL)
        (void)munmap((void *)(uintptr_t)at, bytes);
}

void raw_close(struct raw *r)
{
    unmap(r->node, sizeof *r->node);
    unmap(r->doorbell, sizeof *r->doorbell);
    unmap(r->file, r->hello.file.bytes);
    for (uint32_t i = 0; i < r->fd_count; i++)
        (void)close(r->fds[i]);
    (void)close(r->socket);
    *r = (struct raw){.socket = -1};
}

/* One descriptor, or the daemon's refusal. */
static int ask_fd(struct raw *r, const struct attach_request *request, struct attach_answer *answer)
{
    int fds[ATTACH_FDS_MAX];
    int error = raw_exchange(r->socket, request, answer, fds);
    if (error != 0)
        return error;
    if (answer->error == 0 && answer->fd_count == 1)
        return fds[0];
    for (uint32_t i = 0; i < answer->fd_count; i++)
        (void)close(fds[i]);
    return answer->error != 0 ? answer->error : -EPROTO;
}

int raw_space_open(struct raw *r, const char *name, struct raw_space *s)
{
    struct attach_request request = {.kind = ATTACH_SPACE};
    struct attach_answer answer = {.kind = 0};
    memcpy(request.space, name, strlen(name) + 1);
    *s = (struct raw_space){.fd = ask_fd(r, &request, &answer), .chunk_fd = -1};
    if (s->fd < 0)
        return s->fd;
    s->bytes = answer.bytes;
    s->id = answer.space_id;
    s->header = map(s->fd, s->bytes, PROT_READ);
    if (s->header == NULL) {
        raw_space_close(s);
        return -ENOMEM;
    }
    s->boards = (const void *)((const uint8_t *)s->header + layout_board_offset(0));
    request = (struct attach_request){.kind = ATTACH_CHUNK, .space_id = s->id, .chunk = 0};
    s->chunk_fd = ask_fd(r, &request, &answer);
    s->chunk_bytes = answer.bytes;
    if (s->chunk_fd >= 0 || s->chunk_fd == -ENOENT)
        return 0;
    int error = s->chunk_fd;
    raw_space_close(s);
    return error;
}

void raw_space_close(struct raw_space *s)
{
    unmap(s->header, s->bytes);
    if (s->fd >= 0)
        (void)close(s->fd);
    if (s->chunk_fd >= 0)
        (void)close(s->chunk_fd);
    *s = (struct raw_space){.fd = -1, .chunk_fd = -1};
}

void raw_bell(struct raw *r, uint32_t lcore)
{
    uint32_t slot = r->hello.agent_slot;
    (void)atomic_fetch_or_explicit(&r->doorbell->lcores[lcore].bits[slot / 64],
                                   UINT64_C(1) << (slot % 64), memory_order_seq_cst);
    const uint64_t one = 1;
    /* Why the result does not matter: a bell that rings already needs no second pull. */
    if (atomic_load_explicit(&r->node->lcores[lcore].sleeping, memory_order_seq_cst) != 0)
        (void)!write(r->fds[3 + lcore], &one, sizeof one);
}

int raw_send(struct raw *r, uint32_t lcore, const struct raw_message *m)
{
    const struct ring_request *q = &m->request;
    bool has_value = q->head.operation != RING_GET && (q->head.flags & RING_FLAG_BULK) == 0;
    uint64_t length = q->head.length;
    if (length == 0)
        length =
            ring_request_bytes(q->extension_length, q->key_length, has_value ? q->value_length : 0);
    void *at;
    int error = ring_claim(&r->request[lcore], length, &at);
    if (error != 0)
        return error;
    struct ring_request header = *q;
    header.head.length = (uint32_t)length;
    header.tag = ++r->tag;
    memset((uint8_t *)at + sizeof header.head, 0, length - sizeof header.head);
    memcpy((uint8_t *)at + sizeof header.head, (const uint8_t *)&header + sizeof header.head,
           min_u64(length, sizeof header) - sizeof header.head);
    uint64_t room = length - min_u64(length, sizeof header);
    uint8_t *payload = (uint8_t *)at + sizeof header;
    uint64_t value_at = align_up(m->key_bytes, 8);
    if (m->key_bytes <= room && m->key_bytes != 0)
        memcpy(payload, m->key, m->key_bytes);
    if (has_value && value_at + m->value_bytes <= room && m->value_bytes != 0)
        memcpy(payload + value_at, m->value, m->value_bytes);
    ring_commit(&r->request[lcore], at, header.head);
    raw_bell(r, lcore);
    return 0;
}

bool raw_detached(const struct raw *r)
{
    char byte;
    ssize_t received = recv(r->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return received == 0 || (received < 0 && errno != EAGAIN && errno != EINTR);
}

int raw_receive(struct raw *r, uint32_t lcore, struct ring_completion *c, uint64_t timeout_ms)
{
    uint64_t until = clock_boottime_ns() + timeout_ms * NS_PER_MS;
    for (uint32_t round = 0;; round++) {
        void *message;
        struct ring_head head;
        int found = ring_peek(&r->completion[lcore], &message, &head);
        if (found < 0)
            return found;
        if (found > 0) {
            memcpy(c, message, sizeof *c);
            c->head = head;
            ring_consume(&r->completion[lcore], &head);
            ring_publish(&r->completion[lcore]);
            return 0;
        }
        if (round % 64 != 63)
            continue;
        if (raw_detached(r))
            return -EPIPE;
        if (clock_boottime_ns() >= until)
            return -ETIMEDOUT;
        const struct timespec pause = {.tv_nsec = 20000};
        (void)nanosleep(&pause, NULL);
    }
}

int raw_ask(struct raw *r, uint32_t lcore, const struct raw_message *m, struct ring_completion *c)
{
    int error = raw_send(r, lcore, m);
    if (error == 0)
        error = raw_receive(r, lcore, c, ANSWER_MS);
    if (error != 0)
        return error;
    return c->tag == r->tag ? (int)c->status : -EPROTO;
}

uint32_t raw_shard(const struct raw_space *s, const void *key, size_t key_length)
{
    return hash_shard(key, key_length, hash_key(key, key_length), s->header->partition_prefix,
                      s->header->geometry.shard_count);
}

struct raw_message raw_message_make(const struct raw_space *s, uint8_t operation, const char *key,
                                    const void *value, uint32_t value_length)
{
    return (struct raw_message){
        .request = {.head = {.operation = operation},
                    .space = (uint16_t)s->id,
                    .shard = raw_shard(s, key, strlen(key)),
                    .key_length = (uint16_t)strlen(key),
                    .value_length = value_length},
        .key = key,
        .value = value,
        .key_bytes = (uint32_t)strlen(key),
        .value_bytes = value != NULL ? value_length : 0,
    };
}

int raw_session_open(struct raw *r, const struct raw_space *s, struct raw_session *session)
{
    const struct raw_message m = {
        .request = {.head = {.operation = RING_SESSION_OPEN},
                    .space = (uint16_t)s->id,
                    .shard = session->shard,
                    .key_length = sizeof session->id},
        .key = session->id,
        .key_bytes = sizeof session->id,
    };
    struct ring_completion c;
    int status = raw_ask(r, s->boards[session->shard].lcore, &m, &c);
    if (status == RING_OK) {
        session->slot = c.session_slot;
        session->lsn = c.lsn;
    }
    return status;
}
