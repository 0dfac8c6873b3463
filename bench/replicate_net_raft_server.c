/* The servers' half of replicate_net_raft.h: libraft, and its I/O over one socket. */
#include "bench/raft_member.h"
#include "bench/replicate_net_raft.h"
#include "engine/clock.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define DATAGRAM_BYTES NET_RAFT_DATAGRAM_BYTES
#define IN_MAX 8u   /* datagrams of a call */
#define OUT_MAX 16u /* datagrams that wait for the end of a pass */

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
    struct raft_member member; /* first: its I/O leads to it */
    const struct net_raft_server *self;
    uint64_t ticked_ms;
    struct raft_apply apply; /* of the client's batch */
    struct sockaddr_in peers[NET_SERVERS];
    struct mmsghdr in[IN_MAX], out[OUT_MAX];
    struct iovec in_parts[IN_MAX], out_parts[OUT_MAX];
    uint32_t out_count;
    alignas(CACHE_LINE) uint8_t in_bytes[IN_MAX][DATAGRAM_BYTES];
    alignas(CACHE_LINE) uint8_t out_bytes[OUT_MAX][DATAGRAM_BYTES];
};

_Static_assert(offsetof(struct server, member) == 0 && NET_SERVERS == RAFT_MEMBERS,
               "as raft_member.h has it");

/* ---- sending ---- */

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
    wire->message.server_id = s->member.raft.id;
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
    struct server *s = (struct server *)(void *)raft_member_of(io);
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
    raft_member_pend(&s->member, RAFT_PENDING_SEND, request, (void (*)(void))callback);
    return 0;
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
    if (raft_member_buffers(buffers, shared->commands, count) != 0)
        return -ENOMEM;
    s->apply.data = s;
    return raft_apply(&s->member.raft, &s->apply, buffers, count, on_applied) == 0 ? 0 : -EPROTO;
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
    m.server_address = s->member.address;
    if (rc == 0 && m.type == RAFT_IO_APPEND_ENTRIES)
        rc = decode_entries(bytes, length, &m.append_entries);
    if (rc == 0)
        s->member.receive(&s->member.io, &m);
    return rc == -EBADMSG ? 0 : rc;
}

/* Complete what libraft asked for, until nothing follows from it any more. */
static void complete(struct raft_member *m)
{
    struct raft_pending now[RAFT_PENDING_MAX];
    while (m->pending_count != 0) {
        uint32_t count = m->pending_count;
        memcpy(now, m->pending, count * sizeof now[0]);
        m->pending_count = 0;
        for (uint32_t i = 0; i < count; i++)
            raft_pending_done(&now[i]);
    }
}

static void tick(struct server *s)
{
    struct raft_member *m = &s->member;
    m->now_ms = clock_boottime_ns() / NS_PER_MS;
    if (m->now_ms - s->ticked_ms < m->tick_ms)
        return;
    s->ticked_ms = m->now_ms;
    m->tick(&m->io);
    complete(m);
    if (s->self->number == 0)
        /* release: what a leader is ready for comes before it says so */
        atomic_store_explicit(&s->self->shared->leading, raft_state(&m->raft) == RAFT_LEADER,
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
        complete(&s->member);
    }
    tick(s);
    flush(s);
    return rc;
}

/* ---- making ---- */

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
    raft_member_init(&s->member, s->self->number, s->self->table);
    s->member.io.send = io_send;
    s->member.now_ms = s->ticked_ms = clock_boottime_ns() / NS_PER_MS;
    messages_init(s);
    int rc = raft_member_start(&s->member);
    while (rc == 0)
        rc = pass(s);
    (void)fprintf(stderr, "dunlin-bench: a server of libraft: %s\n", strerror(-rc));
    if (s->self->number == 0)
        answer(s, rc);
    free(s);
}
