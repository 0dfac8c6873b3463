/* The servers' half of replicate_net_raft.h: libraft, and its I/O over one socket. */
#include "bench/replicate_net_raft.h"
#include "engine/clock.h"

#include <arpa/inet.h>
#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define DATAGRAM_BYTES NET_RAFT_DATAGRAM_BYTES
#define IN_MAX 8u   /* datagrams of a call */
#define OUT_MAX 16u /* datagrams that wait for the end of a pass */
#define PENDING_MAX 256u
#define SNAPSHOT_THRESHOLD 8192u
#define SNAPSHOT_TRAILING 2048u

enum pending_kind { PENDING_SEND, PENDING_APPEND, PENDING_SNAPSHOT };

/* What libraft asked of its I/O, to be completed once it has returned. */
struct pending {
    enum pending_kind kind;
    void *request;
    void (*callback)(void); /* of the kind's type */
};

/* A message as it travels: between processes of one program, so as it lies in memory, its pointers
 * cleared.  Entries follow. */
struct wire {
    struct raft_message message; /* server_id: the sender's */
    uint64_t entry_count;
};

struct wire_entry {
    uint64_t term;
    uint32_t type;
    uint32_t length; /* of the bytes that follow */
};

struct server {
    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    const struct net_raft_server *self;
    char address[4];
    struct raft_buffer configuration; /* entry 1 */
    raft_io_tick_cb tick;
    raft_io_recv_cb receive;
    uint32_t tick_ms;
    uint64_t now_ms, ticked_ms;
    struct pending pending[PENDING_MAX];
    uint32_t pending_count;
    struct raft_apply apply; /* of the client's batch */
    struct sockaddr_in peers[NET_SERVERS];
    struct mmsghdr in[IN_MAX], out[OUT_MAX];
    struct iovec in_parts[IN_MAX], out_parts[OUT_MAX];
    uint32_t out_count;
    alignas(CACHE_LINE) uint8_t in_bytes[IN_MAX][DATAGRAM_BYTES];
    alignas(CACHE_LINE) uint8_t out_bytes[OUT_MAX][DATAGRAM_BYTES];
};

/* ---- state machine ---- */

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buffer, void **result)
{
    struct server *s = fsm->data;
    *result = NULL;
    return raft_table_put(s->self->table, buffer->base) == 0 ? 0 : RAFT_NOMEM;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *buffers[], unsigned *count)
{
    (void)fsm;
    *buffers = raft_malloc(sizeof **buffers);
    if (*buffers == NULL)
        return RAFT_NOMEM;
    (*buffers)->len = 8;
    (*buffers)->base = raft_calloc(1, 8);
    *count = 1;
    return (*buffers)->base != NULL ? 0 : RAFT_NOMEM;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buffer)
{
    (void)fsm;
    (void)buffer;
    return RAFT_CORRUPT; /* nobody falls so far behind here */
}

/* ---- what libraft calls: messages ---- */

static void pend(struct raft_io *io, enum pending_kind kind, void *request, void (*callback)(void))
{
    struct server *s = io->impl;
    ASSERT(s->pending_count < PENDING_MAX);
    s->pending[s->pending_count++] = (struct pending){kind, request, callback};
}

static void flush(struct server *s)
{
    for (uint32_t sent = 0; sent < s->out_count;) {
        int rc = sendmmsg(s->self->fd, s->out + sent, s->out_count - sent, 0);
        if (rc < 0 && errno == EINTR)
            continue;
        sent += rc > 0 ? (uint32_t)rc : 1; /* what cannot be sent is lost, as datagrams are */
    }
    s->out_count = 0;
}

/* Entries behind the header, as many as a datagram takes: libraft sends the others when it learns that
 * they are missing.  Returns the datagram's length. */
static size_t encode_entries(const struct raft_append_entries *m, uint8_t *bytes)
{
    struct wire *wire = (struct wire *)(void *)bytes;
    size_t at = sizeof *wire;
    for (unsigned i = 0; i < m->n_entries; i++) {
        const struct raft_entry *e = &m->entries[i];
        const struct wire_entry w = {e->term, e->type, (uint32_t)e->buf.len};
        if (at + sizeof w + e->buf.len > DATAGRAM_BYTES)
            break;
        memcpy(bytes + at, &w, sizeof w);
        memcpy(bytes + at + sizeof w, e->buf.base, e->buf.len);
        at += sizeof w + e->buf.len;
        wire->entry_count++;
    }
    return at;
}

/* The header of what is sent; that of the same entries to another follower is the same. */
static void encode_header(const struct server *s, const struct raft_message *message,
                          struct wire *wire)
{
    memset(wire, 0, sizeof *wire);
    memcpy(&wire->message, message, sizeof wire->message);
    wire->message.server_id = s->raft.id;
    wire->message.server_address = NULL;
    if (message->type == RAFT_IO_APPEND_ENTRIES)
        wire->message.append_entries.entries = NULL;
}

static bool same_as_last(const struct server *s, const struct wire *header)
{
    const struct wire *last = (const struct wire *)(const void *)s->out_bytes[s->out_count - 1];
    const struct raft_append_entries *a = &last->message.append_entries;
    const struct raft_append_entries *b = &header->message.append_entries;
    return last->message.type == RAFT_IO_APPEND_ENTRIES &&
           header->message.type == RAFT_IO_APPEND_ENTRIES && a->term == b->term &&
           a->prev_log_index == b->prev_log_index && a->prev_log_term == b->prev_log_term &&
           a->leader_commit == b->leader_commit && a->n_entries == b->n_entries;
}

static int io_send(struct raft_io *io, struct raft_io_send *request,
                   const struct raft_message *message, raft_io_send_cb callback)
{
    struct server *s = io->impl;
    struct wire header;
    if (s->out_count == OUT_MAX)
        flush(s);
    encode_header(s, message, &header);
    uint32_t n = s->out_count;
    if (n > 0 && same_as_last(s, &header)) {
        s->out_parts[n] = s->out_parts[n - 1];
        memcpy(s->out_bytes[n], s->out_bytes[n - 1], sizeof header); /* for the next comparison */
    } else {
        memcpy(s->out_bytes[n], &header, sizeof header);
        size_t length = sizeof header;
        if (message->type == RAFT_IO_APPEND_ENTRIES)
            length = encode_entries(&message->append_entries, s->out_bytes[n]);
        s->out_parts[n] = (struct iovec){s->out_bytes[n], length};
    }
    s->out[n].msg_hdr = (struct msghdr){.msg_name = &s->peers[message->server_id - 1],
                                        .msg_namelen = sizeof s->peers[0],
                                        .msg_iov = &s->out_parts[n],
                                        .msg_iovlen = 1};
    s->out_count++;
    pend(io, PENDING_SEND, request, (void (*)(void))callback);
    return 0;
}

/* ---- what libraft calls: the rest ---- */

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
    (void)io;
    (void)id;
    (void)address;
    return 0;
}

static void io_close(struct raft_io *io, raft_io_close_cb callback)
{
    callback(io);
}

static int io_bootstrap(struct raft_io *io, const struct raft_configuration *configuration)
{
    struct server *s = io->impl;
    return raft_configuration_encode(configuration, &s->configuration);
}

/* NOLINTNEXTLINE(readability-function-size): seven parameters are what libraft calls it with */
static int io_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry *entries[], size_t *entry_count)
{
    struct server *s = io->impl;
    struct raft_entry *first = raft_malloc(sizeof *first);
    if (first == NULL)
        return RAFT_NOMEM;
    *first = (struct raft_entry){
        .term = 1,
        .type = RAFT_CHANGE,
        .buf = s->configuration,
        .batch = s->configuration.base,
    };
    *term = 1;
    *voted_for = 0;
    *snapshot = NULL;
    *start_index = 1;
    *entries = first;
    *entry_count = 1;
    return 0;
}

static int io_start(struct raft_io *io, unsigned tick_ms, raft_io_tick_cb tick,
                    raft_io_recv_cb receive)
{
    struct server *s = io->impl;
    s->tick_ms = tick_ms;
    s->tick = tick;
    s->receive = receive;
    return 0;
}

static int io_recover(struct raft_io *io, const struct raft_configuration *configuration)
{
    (void)io;
    (void)configuration;
    return RAFT_INVALID;
}

static int io_set_term(struct raft_io *io, raft_term term)
{
    (void)io;
    (void)term;
    return 0;
}

static int io_set_vote(struct raft_io *io, raft_id id)
{
    (void)io;
    (void)id;
    return 0;
}

static int io_append(struct raft_io *io, struct raft_io_append *request,
                     const struct raft_entry entries[], unsigned count, raft_io_append_cb callback)
{
    (void)entries;
    (void)count;
    pend(io, PENDING_APPEND, request, (void (*)(void))callback);
    return 0;
}

static int io_truncate(struct raft_io *io, raft_index index)
{
    (void)io;
    (void)index;
    return 0;
}

static int io_snapshot_put(struct raft_io *io, unsigned trailing,
                           struct raft_io_snapshot_put *request,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb callback)
{
    (void)trailing;
    (void)snapshot;
    pend(io, PENDING_SNAPSHOT, request, (void (*)(void))callback);
    return 0;
}

static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request,
                           raft_io_snapshot_get_cb callback)
{
    (void)io;
    (void)request;
    (void)callback;
    return RAFT_NOTFOUND;
}

static raft_time io_time(struct raft_io *io)
{
    const struct server *s = io->impl;
    return s->now_ms;
}

/* The leader to be waits the shortest. */
static int io_random(struct raft_io *io, int least, int most)
{
    const struct server *s = io->impl;
    return s->self->number == 0 ? least : most;
}

/* ---- the loop ---- */

/* The entries of a message in memory that libraft frees.  Returns 0, -ENOMEM, or -EBADMSG. */
static int decode_entries(const uint8_t *bytes, size_t length, struct raft_append_entries *m)
{
    const struct wire *wire = (const struct wire *)(const void *)bytes;
    m->entries = NULL;
    m->n_entries = (unsigned)wire->entry_count;
    if (wire->entry_count == 0)
        return 0;
    if (wire->entry_count > length / sizeof(struct wire_entry))
        return -EBADMSG;
    struct raft_entry *entries = raft_malloc(wire->entry_count * sizeof *entries);
    uint8_t *batch = raft_malloc(length);
    size_t at = sizeof *wire, to = 0;
    int rc = entries == NULL || batch == NULL ? -ENOMEM : 0;
    for (uint64_t i = 0; i < wire->entry_count && rc == 0; i++) {
        struct wire_entry w = {.length = UINT32_MAX};
        if (at + sizeof w <= length)
            memcpy(&w, bytes + at, sizeof w);
        at += sizeof w;
        if (at + w.length > length) {
            rc = -EBADMSG;
            break;
        }
        memcpy(batch + to, bytes + at, w.length);
        entries[i] = (struct raft_entry){.term = w.term,
                                         .type = (unsigned short)w.type,
                                         .buf = {.base = batch + to, .len = w.length},
                                         .batch = batch};
        at += w.length;
        to += w.length;
    }
    m->entries = entries;
    if (rc != 0) {
        raft_free(entries);
        raft_free(batch);
    }
    return rc;
}

static void answer(struct server *s, int status)
{
    struct net_raft_shared *shared = s->self->shared;
    shared->status = status;
    /* relaxed: nobody else writes it; release: status comes before it */
    uint32_t answered = atomic_load_explicit(&shared->answered, memory_order_relaxed);
    atomic_store_explicit(&shared->answered, answered + 1, memory_order_release);
    net_word_wake(&shared->answered);
}

static void on_applied(struct raft_apply *apply, int status, void *result)
{
    (void)result;
    answer(apply->data, status == 0 ? 0 : -EPROTO);
}

static int take_request(struct server *s)
{
    struct raft_buffer buffers[NET_BATCH_MAX];
    const struct net_raft_shared *shared = s->self->shared;
    uint32_t count = (uint32_t)min_u64(shared->count, NET_BATCH_MAX);
    for (uint32_t i = 0; i < count; i++) {
        buffers[i].len = sizeof shared->commands[i];
        buffers[i].base = raft_malloc(sizeof shared->commands[i]);
        if (buffers[i].base == NULL)
            return -ENOMEM;
        memcpy(buffers[i].base, &shared->commands[i], sizeof shared->commands[i]);
    }
    s->apply.data = s;
    return raft_apply(&s->raft, &s->apply, buffers, count, on_applied) == 0 ? 0 : -EPROTO;
}

static int take_datagram(struct server *s, uint8_t *bytes, size_t length)
{
    static const unsigned types[] = {RAFT_IO_APPEND_ENTRIES, RAFT_IO_APPEND_ENTRIES_RESULT,
                                     RAFT_IO_REQUEST_VOTE, RAFT_IO_REQUEST_VOTE_RESULT};
    struct raft_message m;
    int rc = -EBADMSG;
    if (length == 1)
        return take_request(s);
    if (length < sizeof(struct wire))
        return 0;
    memcpy(&m, &((const struct wire *)(const void *)bytes)->message, sizeof m);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (m.type == types[i] && m.server_id >= 1 && m.server_id <= NET_SERVERS)
            rc = 0;
    m.server_address = s->address;
    if (rc == 0 && m.type == RAFT_IO_APPEND_ENTRIES)
        rc = decode_entries(bytes, length, &m.append_entries);
    if (rc == 0)
        s->receive(&s->io, &m);
    return rc == -EBADMSG ? 0 : rc;
}

/* Complete what libraft asked for, until nothing follows from it any more. */
static void complete(struct server *s)
{
    struct pending now[PENDING_MAX];
    while (s->pending_count != 0) {
        uint32_t count = s->pending_count;
        memcpy(now, s->pending, count * sizeof now[0]);
        s->pending_count = 0;
        for (uint32_t i = 0; i < count; i++) {
            if (now[i].kind == PENDING_SEND)
                ((raft_io_send_cb)now[i].callback)(now[i].request, 0);
            else if (now[i].kind == PENDING_APPEND)
                ((raft_io_append_cb)now[i].callback)(now[i].request, 0);
            else
                ((raft_io_snapshot_put_cb)now[i].callback)(now[i].request, 0);
        }
    }
}

static void tick(struct server *s)
{
    s->now_ms = clock_boottime_ns() / NS_PER_MS;
    if (s->now_ms - s->ticked_ms < s->tick_ms)
        return;
    s->ticked_ms = s->now_ms;
    s->tick(&s->io);
    complete(s);
    if (s->self->number == 0)
        /* release: what a leader is ready for comes before it says so */
        atomic_store_explicit(&s->self->shared->leading, raft_state(&s->raft) == RAFT_LEADER,
                              memory_order_release);
}

static int pass(struct server *s)
{
    int count = recvmmsg(s->self->fd, s->in, IN_MAX, MSG_WAITFORONE, NULL);
    int rc = 0;
    if (count < 0 && errno != EAGAIN && errno != EINTR)
        return -errno;
    for (int i = 0; i < count && rc == 0; i++) {
        rc = take_datagram(s, s->in_bytes[i], s->in[i].msg_len);
        complete(s);
    }
    tick(s);
    flush(s);
    return rc;
}

/* ---- making ---- */

static void io_format(struct server *s)
{
    s->io = (struct raft_io){
        .version = 1,
        .impl = s,
        .init = io_init,
        .close = io_close,
        .load = io_load,
        .start = io_start,
        .bootstrap = io_bootstrap,
        .recover = io_recover,
        .set_term = io_set_term,
        .set_vote = io_set_vote,
        .send = io_send,
        .append = io_append,
        .truncate = io_truncate,
        .snapshot_put = io_snapshot_put,
        .snapshot_get = io_snapshot_get,
        .time = io_time,
        .random = io_random,
    };
    s->fsm = (struct raft_fsm){
        .version = 1,
        .data = s,
        .apply = fsm_apply,
        .snapshot = fsm_snapshot,
        .restore = fsm_restore,
    };
}

static int configure(struct raft_configuration *c)
{
    raft_configuration_init(c);
    for (uint32_t i = 1; i <= NET_SERVERS; i++) {
        char address[4];
        (void)snprintf(address, sizeof address, "%u", i);
        if (raft_configuration_add(c, i, address, RAFT_VOTER) != 0)
            return -ENOMEM;
    }
    return 0;
}

static int raft_make(struct server *s)
{
    struct raft_configuration c;
    int rc = configure(&c);
    io_format(s);
    (void)snprintf(s->address, sizeof s->address, "%u", s->self->number + 1);
    if (rc == 0)
        rc = raft_init(&s->raft, &s->io, &s->fsm, s->self->number + 1, s->address);
    if (rc == 0) {
        raft_set_snapshot_threshold(&s->raft, SNAPSHOT_THRESHOLD);
        raft_set_snapshot_trailing(&s->raft, SNAPSHOT_TRAILING);
        rc = raft_bootstrap(&s->raft, &c);
    }
    if (rc == 0)
        rc = raft_start(&s->raft);
    raft_configuration_close(&c);
    return rc != 0 ? -EPROTO : 0;
}

static void messages_init(struct server *s)
{
    for (uint32_t i = 0; i < NET_SERVERS; i++)
        s->peers[i] = (struct sockaddr_in){.sin_family = AF_INET,
                                           .sin_port = s->self->ports[i],
                                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (uint32_t i = 0; i < IN_MAX; i++) {
        s->in_parts[i] = (struct iovec){s->in_bytes[i], DATAGRAM_BYTES};
        s->in[i].msg_hdr = (struct msghdr){.msg_iov = &s->in_parts[i], .msg_iovlen = 1};
    }
}

void net_raft_serve(void *context)
{
    struct server *s = aligned_alloc(alignof(struct server), sizeof *s);
    if (s == NULL)
        return;
    memset(s, 0, sizeof *s);
    s->self = context;
    s->now_ms = s->ticked_ms = clock_boottime_ns() / NS_PER_MS;
    messages_init(s);
    int rc = raft_make(s);
    while (rc == 0)
        rc = pass(s);
    (void)fprintf(stderr, "dunlin-bench: a server of libraft: %s\n", strerror(-rc));
    if (s->self->number == 0)
        answer(s, rc);
    free(s);
}
