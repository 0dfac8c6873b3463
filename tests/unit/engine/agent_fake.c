#include "tests/unit/engine/agent_fake.h"

#include "engine/clock.h"
#include "tests/unit/unit.h"

#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- shared memory ---- */

static void make_node(struct fake *f)
{
    uint64_t bytes = align_up(sizeof(struct layout_node), PAGE);
    CU_ASSERT_EQUAL_FATAL(memory_create(&f->node, "fake", bytes, MEMORY_READ_ONLY, false, NULL), 0);
    struct layout_node *n = (void *)f->node.base;
    n->magic = LAYOUT_MAGIC_NODE;
    n->fingerprint = LAYOUT_FINGERPRINT;
    n->start = f->start;
    n->node_id = 7;
    n->clock_kind = CLOCK_KIND_BOOTTIME;
    n->ticks_per_s = NS_PER_S;
    n->lease_ns = 50 * NS_PER_MS;
    n->heartbeat_ns = 20 * NS_PER_MS;
    n->view_ns = NS_PER_S;
    n->lcore_count = f->lcore_count;
    for (uint32_t l = 0; l < f->lcore_count; l++)
        atomic_store_explicit(&n->lcores[l].sleeping, 1, memory_order_relaxed);
    bytes = align_up(sizeof(struct layout_doorbell), PAGE);
    CU_ASSERT_EQUAL_FATAL(memory_create(&f->doorbell, "fake", bytes, MEMORY_SHARED, false, NULL),
                          0);
}

static void make_space(struct fake *f)
{
    const struct layout_geometry g = {.segment_shift = 16,
                                      .chunk_shift = 21,
                                      .frames_per_chunk = 28,
                                      .frames_per_shard = 7,
                                      .shard_count = FAKE_SHARDS,
                                      .chunk_count_max = 1};
    CU_ASSERT_EQUAL_FATAL(
        memory_create(&f->space, "fake", layout_space_bytes(&g), MEMORY_READ_ONLY, false, NULL), 0);
    struct layout_space *s = (void *)f->space.base;
    *s = (struct layout_space){.magic = LAYOUT_MAGIC_SPACE,
                               .fingerprint = LAYOUT_FINGERPRINT,
                               .start = f->start,
                               .bytes = layout_space_bytes(&g),
                               .geometry = g,
                               .id = 3,
                               .consistency = 1,
                               .value_bytes_max = FAKE_VALUE_MAX,
                               .name = "fake"};
    for (uint32_t shard = 0; shard < FAKE_SHARDS; shard++) {
        struct layout_board *b = (void *)(f->space.base + layout_board_offset(shard));
        b->lcore = (uint16_t)(shard % f->lcore_count);
        b->log = 100 + shard;
    }
}

static void make_file(struct fake *f, const struct attach_request *r)
{
    f->geometry =
        (struct ring_file){.magic = LAYOUT_MAGIC_AGENT,
                           .fingerprint = LAYOUT_FINGERPRINT,
                           .lcore_count = f->lcore_count,
                           .request_bytes = r->request_bytes,
                           .completion_bytes = r->completion_bytes,
                           .bulk_bytes = f->bulk_bytes != 0 ? f->bulk_bytes : r->bulk_bytes,
                           .agent_slot = 70};
    f->geometry.bytes = ring_file_bytes(&f->geometry);
    if (memory_create(&f->file, "fake", f->geometry.bytes, MEMORY_SHARED, false, NULL) != 0)
        abort();
    for (uint32_t l = 0; l < f->lcore_count; l++) {
        struct ring_shared *shared =
            (void *)(f->file.base + ring_file_shared(&f->geometry, l, false));
        ring_join(&f->lanes[l].request, shared,
                  f->file.base + ring_file_data(&f->geometry, l, false), f->geometry.request_bytes);
        atomic_store_explicit(&shared->consumer_state, RING_CONSUMER_DOORBELL,
                              memory_order_relaxed);
        ring_join(&f->lanes[l].completion,
                  (void *)(f->file.base + ring_file_shared(&f->geometry, l, true)),
                  f->file.base + ring_file_data(&f->geometry, l, true),
                  f->geometry.completion_bytes);
    }
}

/* ---- the socket ---- */

static void send_answer(const struct fake *f, struct attach_answer *answer, const int *fds)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * ATTACH_FDS_MAX)];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct iovec data = {.iov_base = answer, .iov_len = sizeof *answer};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    size_t bytes = answer->fd_count * sizeof(int);
    if (bytes != 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(head), fds, bytes);
    }
    answer->clock_ticks = clock_boottime_ns() + f->clock_offset;
    (void)!sendmsg(f->connection, &message, MSG_NOSIGNAL);
}

static void drop_connection(struct fake *f)
{
    if (f->connection >= 0)
        (void)close(f->connection);
    f->connection = -1;
    memory_destroy(&f->file, false);
}

static void answer_hello(struct fake *f, const struct attach_request *r)
{
    struct attach_answer answer = {.kind = ATTACH_HELLO, .start = f->start};
    f->hellos++;
    if (f->hello == FAKE_HELLO_SILENT)
        return;
    if (f->hello == FAKE_HELLO_CLOSE) {
        drop_connection(f);
        return;
    }
    if (f->hello == FAKE_HELLO_ERROR) {
        answer.error = f->hello_error;
        send_answer(f, &answer, NULL);
        return;
    }
    make_file(f, r);
    answer.file = f->geometry;
    answer.agent_slot = f->geometry.agent_slot;
    int fds[ATTACH_FDS_MAX] = {f->node.fd, f->doorbell.fd, f->file.fd};
    for (uint32_t l = 0; l < f->lcore_count; l++)
        fds[3 + l] = f->event_fds[l];
    answer.fd_count = 3 + f->lcore_count;
    ((struct layout_node *)(void *)f->node.base)->fingerprint =
        LAYOUT_FINGERPRINT ^ (f->hello == FAKE_HELLO_FINGERPRINT);
    int bare = -1;
    if (f->hello == FAKE_HELLO_GEOMETRY)
        answer.file.request_bytes += 1;
    if (f->hello == FAKE_HELLO_FEW_FDS)
        answer.fd_count--;
    if (f->hello == FAKE_HELLO_UNSEALED) {
        bare = memfd_create("bare", MFD_CLOEXEC);
        if (ftruncate(bare, (off_t)f->geometry.bytes) != 0)
            abort();
        fds[2] = bare;
    }
    send_answer(f, &answer, fds);
    if (bare >= 0)
        (void)close(bare);
}

static void answer_space(struct fake *f, const struct attach_request *r)
{
    struct attach_answer answer = {.kind = ATTACH_SPACE,
                                   .fd_count = 1,
                                   .bytes = f->space.bytes,
                                   .space_id = 3,
                                   .writable = f->writable};
    if (strcmp(r->space, "fake") != 0 || f->space_gone)
        answer = (struct attach_answer){.kind = ATTACH_SPACE, .error = -ENOENT};
    send_answer(f, &answer, &f->space.fd);
}

static void answer_status(struct fake *f)
{
    static const char text[] = "{\"fake\":true}";
    struct memory m;
    struct attach_answer answer = {.kind = ATTACH_STATUS, .fd_count = 1, .bytes = sizeof text - 1};
    if (memory_create(&m, "fake", PAGE, MEMORY_READ_ONLY, false, NULL) != 0)
        abort();
    memcpy(m.base, text, sizeof text);
    send_answer(f, &answer, &m.fd);
    memory_destroy(&m, false);
}

static void serve_socket(struct fake *f)
{
    struct attach_request r;
    ssize_t got = recv(f->connection, &r, sizeof r, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got != (ssize_t)sizeof r) {
        drop_connection(f);
        return;
    }
    struct attach_answer answer = {.kind = r.kind};
    if (r.kind != ATTACH_HELLO)
        (void)usleep(f->slow_ms * 1000);
    switch (r.kind) {
    case ATTACH_HELLO:
        answer_hello(f, &r);
        break;
    case ATTACH_SPACE:
        answer_space(f, &r);
        break;
    case ATTACH_STATUS:
        answer_status(f);
        break;
    case ATTACH_CHUNK:
        answer.error = -ENOENT;
        send_answer(f, &answer, NULL);
        break;
    default:
        send_answer(f, &answer, NULL);
        break;
    }
}

/* ---- the rings ---- */

static void complete(struct fake *f, uint32_t lcore, struct ring_completion *c, const void *value,
                     uint32_t value_length)
{
    struct ring *r = &f->lanes[lcore].completion;
    void *at;
    c->head.length = (uint32_t)sizeof *c + value_length;
    if (f->forge_tag) {
        f->forge_tag = false;
        c->tag ^= UINT64_C(1) << 40;
    }
    if (ring_claim(r, c->head.length, &at) != 0)
        abort(); /* tests stay below the ring's size */
    memcpy((uint8_t *)at + sizeof c->head, (const uint8_t *)c + sizeof c->head,
           sizeof *c - sizeof c->head);
    if (value_length != 0)
        memcpy((uint8_t *)at + sizeof *c, value, value_length);
    ring_commit(r, at, c->head);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&r->shared->agent_sleeping, memory_order_relaxed) == 0)
        return;
    (void)atomic_fetch_add_explicit(&r->shared->wake, 1, memory_order_release);
    (void)syscall(SYS_futex, &r->shared->wake, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static struct fake_session *session_by_id(struct fake *f, const void *id, uint32_t shard)
{
    for (uint32_t i = 0; i < f->session_count; i++)
        if (memcmp(f->sessions[i].id, id, 16) == 0 && f->sessions[i].shard == shard)
            return &f->sessions[i];
    return NULL;
}

static void open_session(struct fake *f, const struct ring_request *r, const uint8_t *payload,
                         struct ring_completion *c)
{
    struct fake_session *s = session_by_id(f, payload, r->shard);
    f->session_opens++;
    if (s == NULL && (r->head.flags & RING_FLAG_EXISTING) != 0) {
        c->status = RING_FATE_UNKNOWN;
        return;
    }
    if (s == NULL && f->session_count == f->sessions_max) {
        c->status = RING_SESSION_LIMIT;
        return;
    }
    if (s == NULL) {
        s = &f->sessions[f->session_count++];
        *s = (struct fake_session){.shard = r->shard, .lsn = f->lsn += 128};
        memcpy(s->id, payload, 16);
    }
    c->lsn = s->lsn;
    c->session_slot = (uint32_t)(s - f->sessions);
}

static void close_session(struct fake *f, const struct ring_request *r, const uint8_t *payload,
                          struct ring_completion *c)
{
    struct fake_session *s = session_by_id(f, payload, r->shard);
    f->session_closes++;
    c->status = s != NULL ? RING_OK : RING_NOT_FOUND;
    if (s != NULL)
        *s = (struct fake_session){.lsn = 0};
}

static int key_number(struct fake *f, const char *key, size_t length, bool make)
{
    for (uint32_t i = 0; i < f->key_count; i++)
        if (strlen(f->keys[i].key) == length && memcmp(f->keys[i].key, key, length) == 0)
            return (int)i;
    if (!make || f->key_count == FAKE_KEYS)
        return -1;
    memset(&f->keys[f->key_count], 0, sizeof f->keys[0]);
    memcpy(f->keys[f->key_count].key, key, length);
    return (int)f->key_count++;
}

static void apply(struct fake *f, const struct ring_request *r, const uint8_t *payload,
                  struct ring_completion *c)
{
    struct fake_applied *a = &f->applied[f->applied_count++ % FAKE_APPLIED];
    const struct fake_session *s = &f->sessions[r->session_slot];
    const uint8_t *value = (r->head.flags & RING_FLAG_BULK) != 0
                               ? f->file.base + ring_file_bulk(&f->geometry) + r->bulk_offset
                               : payload + align_up(r->key_length, 8);
    *a = (struct fake_applied){.shard = r->shard, .sequence = r->sequence};
    memcpy(a->session, s->id, 16);
    memcpy(a->key, payload, min_u64(r->key_length, sizeof a->key - 1));
    int key = key_number(f, (const char *)payload, r->key_length, r->head.operation == RING_PUT);
    bool there = key >= 0 && f->keys[key].lsn != 0;
    c->lsn = f->lsn += 128;
    if (r->head.operation == RING_DELETE && !there) {
        c->status = RING_NOT_FOUND;
        return;
    }
    if ((r->head.flags & RING_FLAG_COMPARE) != 0 &&
        r->expected_lsn != (there ? f->keys[key].lsn : 0)) {
        c->status = RING_CONDITION;
        c->lsn = there ? f->keys[key].lsn : 0;
        return;
    }
    f->last_value_length = r->value_length;
    memcpy(f->last_value, value, r->value_length);
    if (key < 0)
        return;
    f->keys[key].lsn = r->head.operation == RING_PUT ? c->lsn : 0;
    memset(f->keys[key].value, 0, sizeof f->keys[key].value);
    memcpy(f->keys[key].value, value, min_u64(r->value_length, sizeof f->keys[key].value - 1));
}

static void write_request(struct fake *f, const struct ring_request *r, const uint8_t *payload,
                          struct ring_completion *c)
{
    struct fake_session *s = &f->sessions[r->session_slot % FAKE_SESSIONS];
    c->session_slot = r->session_slot;
    c->sequence = r->sequence;
    if (r->session_slot >= f->session_count || s->lsn != r->session || s->shard != r->shard) {
        c->status = RING_FATE_UNKNOWN;
        return;
    }
    if (r->sequence == 0 || r->sequence > s->applied + 1 ||
        r->sequence + LIMIT_SESSION_WINDOW <= s->applied) {
        c->status = RING_SEQUENCE;
        return;
    }
    if (r->sequence <= s->applied) {
        c->status = s->results[r->sequence % LIMIT_SESSION_WINDOW].status;
        c->lsn = s->results[r->sequence % LIMIT_SESSION_WINDOW].lsn;
        return;
    }
    bool refused = f->refuse_after == 0 && f->refuse_count != 0;
    f->refuse_after -= f->refuse_after != 0;
    f->refuse_count -= refused;
    if (!refused || f->refuse_stays) {
        apply(f, r, payload, c);
        s->applied = r->sequence;
        s->results[r->sequence % LIMIT_SESSION_WINDOW].status = c->status;
        s->results[r->sequence % LIMIT_SESSION_WINDOW].lsn = c->lsn;
    }
    if (!refused)
        return;
    c->status = f->refuse_status;
    if (c->status == RING_RETRY && !f->refuse_cut)
        c->epoch = 0;
}

static void get_request(struct fake *f, uint32_t lcore, const struct ring_request *r,
                        const uint8_t *payload, struct ring_completion *c)
{
    int key = key_number(f, (const char *)payload, r->key_length, false);
    if (key < 0 || f->keys[key].lsn == 0) {
        c->status = RING_NOT_FOUND;
        complete(f, lcore, c, NULL, 0);
        return;
    }
    c->lsn = f->keys[key].lsn;
    c->value_length = (uint32_t)strlen(f->keys[key].value);
    if (c->value_length > r->value_length)
        c->status = RING_TOO_LARGE;
    bool inside = c->status == RING_OK && (r->head.flags & RING_FLAG_BULK) == 0;
    if (c->status == RING_OK && !inside)
        memcpy(f->file.base + ring_file_bulk(&f->geometry) + r->bulk_offset, f->keys[key].value,
               c->value_length);
    complete(f, lcore, c, f->keys[key].value, inside ? c->value_length : 0);
}

static void serve_request(struct fake *f, uint32_t lcore, const struct ring_request *r,
                          const uint8_t *payload)
{
    struct ring_completion c = {
        .head.operation = r->head.operation, .tag = r->tag, .log = 100 + r->shard, .epoch = 1};
    f->requests++;
    bool retry_close = r->head.operation == RING_SESSION_CLOSE && f->close_retries != 0;
    f->close_retries -= retry_close;
    if (retry_close || (f->not_led && r->head.operation != RING_NOP)) {
        c.status = RING_RETRY;
        c.epoch = 0;
        complete(f, lcore, &c, NULL, 0);
        return;
    }
    switch (r->head.operation) {
    case RING_SESSION_OPEN:
        open_session(f, r, payload, &c);
        break;
    case RING_SESSION_CLOSE:
        close_session(f, r, payload, &c);
        break;
    case RING_PUT:
    case RING_DELETE:
        write_request(f, r, payload, &c);
        break;
    case RING_GET:
        get_request(f, lcore, r, payload, &c);
        return;
    default:
        break;
    }
    if (!f->withhold || r->head.operation == RING_SESSION_OPEN)
        complete(f, lcore, &c, NULL, 0);
}

static void serve_lane(struct fake *f, uint32_t lcore)
{
    struct ring *ring = &f->lanes[lcore].request;
    struct layout_doorbell *bells = (void *)f->doorbell.base;
    void *message;
    struct ring_head head;
    (void)atomic_exchange_explicit(&bells->lcores[lcore].bits[1], 0, memory_order_acquire);
    while (ring_peek(ring, &message, &head) == 1) {
        struct ring_request r;
        memcpy(&r, message, sizeof r);
        r.head = head;
        serve_request(f, lcore, &r, (const uint8_t *)message + sizeof r);
        ring_consume(ring, &head);
    }
    ring_publish(ring);
}

/* ---- the thread ---- */

static void clear_event(int fd)
{
    uint64_t count;
    (void)!read(fd, &count, sizeof count);
}

/* Before the ring is looked at: who does not see this is seen. */
static void sleep_anew(struct fake *f, uint32_t lcore)
{
    struct layout_node *n = (void *)f->node.base;
    (void)atomic_fetch_add_explicit(&n->lcores[lcore].sleeping, 1, memory_order_seq_cst);
}

static void accept_agent(struct fake *f)
{
    int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    drop_connection(f);
    f->connection = fd;
}

static void *serve(void *argument)
{
    struct fake *f = argument;
    pthread_mutex_lock(&f->lock);
    while (!f->stop) {
        struct pollfd fds[3 + LIMIT_LCORES] = {
            {.fd = f->wake, .events = POLLIN},
            {.fd = f->deaf ? -1 : f->listener, .events = POLLIN},
            {.fd = f->deaf ? -1 : f->connection, .events = POLLIN}};
        for (uint32_t l = 0; l < f->lcore_count; l++)
            fds[3 + l] = (struct pollfd){.fd = f->frozen ? -1 : f->event_fds[l], .events = POLLIN};
        pthread_mutex_unlock(&f->lock);
        (void)poll(fds, 3 + f->lcore_count, -1);
        pthread_mutex_lock(&f->lock);
        if (fds[0].revents != 0)
            clear_event(f->wake);
        if (fds[2].revents != 0 && f->connection >= 0 && !f->deaf)
            serve_socket(f);
        if (fds[1].revents != 0 && !f->deaf)
            accept_agent(f);
        for (uint32_t l = 0; l < f->lcore_count && f->file.fd >= 0 && !f->frozen; l++)
            if (fds[3 + l].revents != 0) {
                clear_event(f->event_fds[l]);
                sleep_anew(f, l);
                serve_lane(f, l);
            }
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* ---- for the tests ---- */

static void wake_up(struct fake *f)
{
    const uint64_t one = 1;
    (void)!write(f->wake, &one, sizeof one);
}

void fake_lock(struct fake *f)
{
    pthread_mutex_lock(&f->lock);
}

void fake_unlock(struct fake *f)
{
    pthread_mutex_unlock(&f->lock);
    wake_up(f);
}

uint32_t fake_read(struct fake *f, const uint32_t *count)
{
    pthread_mutex_lock(&f->lock);
    uint32_t value = *count;
    pthread_mutex_unlock(&f->lock);
    return value;
}

bool fake_last_value_is(struct fake *f, const void *value, size_t length)
{
    pthread_mutex_lock(&f->lock);
    bool same = f->last_value_length == length && memcmp(f->last_value, value, length) == 0;
    pthread_mutex_unlock(&f->lock);
    return same;
}

static void live(struct fake *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    f->start++;
    f->lsn = f->start << 32;
    f->session_count = f->key_count = 0;
    f->connection = -1;
    f->file.fd = -1;
    f->stop = false;
    make_node(f);
    make_space(f);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", f->path);
    f->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CU_ASSERT_EQUAL_FATAL(bind(f->listener, (void *)&address, sizeof address), 0);
    CU_ASSERT_EQUAL_FATAL(listen(f->listener, 16), 0);
    for (uint32_t l = 0; l < f->lcore_count; l++)
        f->event_fds[l] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    f->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&f->thread, NULL, serve, f), 0);
    f->alive = true;
}

void fake_kill(struct fake *f)
{
    if (!f->alive)
        return;
    f->alive = false;
    fake_lock(f);
    f->stop = true;
    fake_unlock(f);
    (void)pthread_join(f->thread, NULL);
    (void)unlink(f->path);
    (void)close(f->listener);
    drop_connection(f);
    for (uint32_t l = 0; l < f->lcore_count; l++)
        (void)close(f->event_fds[l]);
    (void)close(f->wake);
    memory_destroy(&f->node, false);
    memory_destroy(&f->doorbell, false);
    memory_destroy(&f->space, false);
}

void fake_restart(struct fake *f)
{
    live(f);
}

void fake_hang_up(struct fake *f)
{
    fake_lock(f);
    drop_connection(f);
    fake_unlock(f);
}

/* Interrupted: take the socket and its directory along. */
static char interrupted_path[96], interrupted_directory[64];

static void on_interrupt(int signal_number)
{
    (void)unlink(interrupted_path);
    (void)rmdir(interrupted_directory);
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

static void remember_to_clean(const struct fake *f)
{
    memcpy(interrupted_path, f->path, sizeof interrupted_path);
    memcpy(interrupted_directory, f->directory, sizeof interrupted_directory);
    (void)signal(SIGINT, on_interrupt);
    (void)signal(SIGTERM, on_interrupt);
}

struct fake *fake_make(uint32_t lcore_count)
{
    struct fake *f = calloc(1, sizeof *f);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    f->lcore_count = lcore_count;
    f->writable = true;
    f->sessions_max = FAKE_SESSIONS;
    (void)pthread_mutex_init(&f->lock, NULL);
    (void)snprintf(f->directory, sizeof f->directory, "/tmp/dunlin-fake-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(f->directory));
    (void)snprintf(f->path, sizeof f->path, "%s/socket", f->directory);
    remember_to_clean(f);
    live(f);
    return f;
}

void fake_free(struct fake *f)
{
    fake_kill(f);
    (void)rmdir(f->directory);
    (void)pthread_mutex_destroy(&f->lock);
    free(f);
}

struct dunlin *fake_attach(struct fake *f, uint64_t timeout_ms, struct dunlin_space **space)
{
    const struct dunlin_options options = {.socket = f->path, .timeout_ns = timeout_ms * NS_PER_MS};
    struct dunlin *d = NULL;
    CU_ASSERT_EQUAL_FATAL(dunlin_open(&options, &d), 0);
    CU_ASSERT_EQUAL_FATAL(dunlin_space(d, "fake", space), 0);
    return d;
}

bool fake_applied_once(struct fake *f)
{
    bool good = true;
    fake_lock(f);
    for (uint32_t i = 0; i < f->applied_count && good; i++) {
        const struct fake_applied *a = &f->applied[i];
        uint64_t before = 0;
        for (uint32_t j = 0; j < i; j++)
            if (f->applied[j].shard == a->shard &&
                memcmp(f->applied[j].session, a->session, 16) == 0)
                before = f->applied[j].sequence;
        good = a->sequence == before + 1;
    }
    fake_unlock(f);
    return good;
}

unsigned fake_applied_key(struct fake *f, const char *key)
{
    unsigned count = 0;
    fake_lock(f);
    for (uint32_t i = 0; i < f->applied_count; i++)
        count += strcmp(f->applied[i].key, key) == 0;
    fake_unlock(f);
    return count;
}
