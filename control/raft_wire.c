#include "control/raft_wire.h"

#include <endian.h>
#include <string.h>

#define HEAD_BYTES 8u
#define ENTRY_BYTES 16u
#define SERVER_BYTES 12u
#define BATCH_ALIGNMENT 8u

/* ---- to bytes ---- */

/* Into memory whose size was computed before. */
struct writer {
    uint8_t *at;
};

static void put_u8(struct writer *w, uint8_t value)
{
    *w->at++ = value;
}

static void put_u16(struct writer *w, uint16_t value)
{
    uint16_t wire = htole16(value);
    memcpy(w->at, &wire, sizeof(wire));
    w->at += sizeof(wire);
}

static void put_u32(struct writer *w, uint32_t value)
{
    uint32_t wire = htole32(value);
    memcpy(w->at, &wire, sizeof(wire));
    w->at += sizeof(wire);
}

static void put_u64(struct writer *w, uint64_t value)
{
    uint64_t wire = htole64(value);
    memcpy(w->at, &wire, sizeof(wire));
    w->at += sizeof(wire);
}

/* What an encoded message has beside its data: bytes of the first piece, and pieces after it. */
struct shape {
    size_t bytes;
    uint32_t count, data_count;
};

static int append_shape(const struct raft_append_entries *a, struct shape *s)
{
    if (a->n_entries > RAFT_WIRE_ENTRIES_MAX)
        return -EMSGSIZE;
    s->count = s->data_count = a->n_entries;
    s->bytes = HEAD_BYTES + 4 * sizeof(uint64_t) + (size_t)a->n_entries * ENTRY_BYTES;
    for (unsigned i = 0; i < a->n_entries; i++)
        if (a->entries[i].buf.len > UINT32_MAX)
            return -EMSGSIZE;
    return 0;
}

static int snapshot_shape(const struct raft_install_snapshot *a, struct shape *s)
{
    if (a->conf.n > RAFT_WIRE_SERVERS_MAX)
        return -EMSGSIZE;
    s->count = a->conf.n;
    s->data_count = 1;
    s->bytes = HEAD_BYTES + 5 * sizeof(uint64_t);
    for (unsigned i = 0; i < a->conf.n; i++) {
        size_t length = strlen(a->conf.servers[i].address);
        if (length > RAFT_WIRE_ADDRESS_BYTES)
            return -EMSGSIZE;
        s->bytes += SERVER_BYTES + length;
    }
    return 0;
}

static int shape_of(const struct raft_message *m, struct shape *s)
{
    *s = (struct shape){.bytes = HEAD_BYTES};
    switch (m->type) {
    case RAFT_IO_APPEND_ENTRIES:
        return append_shape(&m->append_entries, s);
    case RAFT_IO_INSTALL_SNAPSHOT:
        return snapshot_shape(&m->install_snapshot, s);
    case RAFT_IO_REQUEST_VOTE:
        s->bytes += 4 * sizeof(uint64_t) + 2;
        return 0;
    case RAFT_IO_REQUEST_VOTE_RESULT:
        s->bytes += sizeof(uint64_t) + 2;
        return 0;
    case RAFT_IO_APPEND_ENTRIES_RESULT:
    case RAFT_IO_TIMEOUT_NOW:
        s->bytes += 3 * sizeof(uint64_t);
        return 0;
    default:
        return -EINVAL;
    }
}

static void append_encode(const struct raft_append_entries *a, struct writer *w,
                          struct iovec *pieces)
{
    put_u64(w, a->term);
    put_u64(w, a->prev_log_index);
    put_u64(w, a->prev_log_term);
    put_u64(w, a->leader_commit);
    for (unsigned i = 0; i < a->n_entries; i++) {
        const struct raft_entry *e = &a->entries[i];
        put_u64(w, e->term);
        put_u32(w, (uint32_t)e->buf.len);
        put_u16(w, e->type);
        put_u16(w, 0);
        pieces[i] = (struct iovec){.iov_base = e->buf.base, .iov_len = e->buf.len};
    }
}

static void snapshot_encode(const struct raft_install_snapshot *a, struct writer *w,
                            struct iovec *pieces)
{
    put_u64(w, a->term);
    put_u64(w, a->last_index);
    put_u64(w, a->last_term);
    put_u64(w, a->conf_index);
    put_u64(w, a->data.len);
    for (unsigned i = 0; i < a->conf.n; i++) {
        const struct raft_server *s = &a->conf.servers[i];
        size_t length = strlen(s->address);
        put_u64(w, s->id);
        put_u16(w, (uint16_t)length);
        put_u8(w, (uint8_t)s->role);
        put_u8(w, 0);
        memcpy(w->at, s->address, length);
        w->at += length;
    }
    pieces[0] = (struct iovec){.iov_base = a->data.base, .iov_len = a->data.len};
}

static void body_encode(const struct raft_message *m, struct writer *w, struct iovec *pieces)
{
    switch (m->type) {
    case RAFT_IO_APPEND_ENTRIES:
        append_encode(&m->append_entries, w, pieces);
        break;
    case RAFT_IO_INSTALL_SNAPSHOT:
        snapshot_encode(&m->install_snapshot, w, pieces);
        break;
    case RAFT_IO_REQUEST_VOTE:
        put_u64(w, m->request_vote.term);
        put_u64(w, m->request_vote.candidate_id);
        put_u64(w, m->request_vote.last_log_index);
        put_u64(w, m->request_vote.last_log_term);
        put_u8(w, m->request_vote.disrupt_leader);
        put_u8(w, m->request_vote.pre_vote);
        break;
    case RAFT_IO_REQUEST_VOTE_RESULT:
        put_u64(w, m->request_vote_result.term);
        put_u8(w, m->request_vote_result.vote_granted);
        put_u8(w, (uint8_t)m->request_vote_result.pre_vote);
        break;
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        put_u64(w, m->append_entries_result.term);
        put_u64(w, m->append_entries_result.rejected);
        put_u64(w, m->append_entries_result.last_log_index);
        break;
    default: /* RAFT_IO_TIMEOUT_NOW: shape_of knows no other */
        put_u64(w, m->timeout_now.term);
        put_u64(w, m->timeout_now.last_log_index);
        put_u64(w, m->timeout_now.last_log_term);
    }
}

int raft_wire_encode(struct raft_wire *w, const struct raft_message *m)
{
    struct shape s;
    int error = shape_of(m, &s);
    if (error != 0)
        return error;
    size_t pieces_bytes = ((size_t)s.data_count + 1) * sizeof(struct iovec);
    struct iovec *pieces = raft_malloc(pieces_bytes + s.bytes);
    if (pieces == NULL)
        return -ENOMEM;
    uint8_t *head = (uint8_t *)pieces + pieces_bytes;
    struct writer out = {.at = head};
    put_u8(&out, RAFT_WIRE_VERSION);
    put_u8(&out, (uint8_t)m->type);
    put_u16(&out, 0);
    put_u32(&out, s.count);
    pieces[0] = (struct iovec){.iov_base = head, .iov_len = s.bytes};
    body_encode(m, &out, pieces + 1);
    ASSERT(out.at == head + s.bytes);
    *w = (struct raft_wire){.pieces = pieces, .count = s.data_count + 1};
    return 0;
}

void raft_wire_free(struct raft_wire *w)
{
    raft_free(w->pieces);
    *w = (struct raft_wire){0};
}

/* ---- from bytes ---- */

/* Once past the end it stays bad and everything read is 0. */
struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static const uint8_t *take(struct reader *r, size_t length)
{
    if (r->bad || r->left < length) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *at = r->at;
    r->at += length;
    r->left -= length;
    return at;
}

static uint8_t take_u8(struct reader *r)
{
    const uint8_t *at = take(r, 1);
    return at != NULL ? *at : 0;
}

static uint16_t take_u16(struct reader *r)
{
    uint16_t wire = 0;
    const uint8_t *at = take(r, sizeof(wire));
    if (at != NULL)
        memcpy(&wire, at, sizeof(wire));
    return le16toh(wire);
}

static uint32_t take_u32(struct reader *r)
{
    uint32_t wire = 0;
    const uint8_t *at = take(r, sizeof(wire));
    if (at != NULL)
        memcpy(&wire, at, sizeof(wire));
    return le32toh(wire);
}

static uint64_t take_u64(struct reader *r)
{
    uint64_t wire = 0;
    const uint8_t *at = take(r, sizeof(wire));
    if (at != NULL)
        memcpy(&wire, at, sizeof(wire));
    return le64toh(wire);
}

/* A byte that is at most maximum. */
static uint8_t take_choice(struct reader *r, uint8_t maximum)
{
    uint8_t value = take_u8(r);
    r->bad = r->bad || value > maximum;
    return value;
}

static int verdict(const struct reader *r)
{
    return r->bad || r->left != 0 ? -EBADMSG : 0;
}

/* Data of a change, as raft_configuration_encode makes them: u8 1, u64 servers, for each u64 id, the
 * address with its final 0, u8 role; then zeros up to a multiple of 8. */
static bool change_is_sound(const uint8_t *bytes, size_t length)
{
    struct reader r = {.at = bytes, .left = length};
    bool known = take_u8(&r) == 1;
    uint64_t servers = take_u64(&r);
    if (!known || r.bad || servers > RAFT_WIRE_SERVERS_MAX)
        return false;
    for (uint64_t i = 0; i < servers; i++) {
        (void)take_u64(&r);
        const uint8_t *end = r.left != 0 ? memchr(r.at, 0, r.left) : NULL;
        if (end == NULL)
            return false;
        (void)take(&r, (size_t)(end - r.at) + 1);
        (void)take_choice(&r, RAFT_SPARE);
    }
    return !r.bad;
}

/* The heads of the entries, read for the first time: how much memory their data take, each aligned. */
static int batch_measure(struct reader heads, uint32_t count, size_t data_bytes, size_t *bytes)
{
    uint64_t sum = 0;
    *bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        (void)take_u64(&heads);
        uint32_t length = take_u32(&heads);
        uint16_t type = take_u16(&heads);
        if (type < RAFT_COMMAND || type > RAFT_CHANGE || take_u16(&heads) != 0)
            return -EBADMSG;
        sum += length;
        *bytes += align_up(length, BATCH_ALIGNMENT);
    }
    return sum == data_bytes ? 0 : -EBADMSG;
}

/* They fit: batch_measure has seen them. */
static int entries_fill(struct reader *heads, struct reader *data, struct raft_append_entries *a,
                        uint8_t *batch)
{
    uint8_t *at = batch;
    for (unsigned i = 0; i < a->n_entries; i++) {
        struct raft_entry *e = &a->entries[i];
        e->term = take_u64(heads);
        size_t length = take_u32(heads);
        e->type = take_u16(heads);
        (void)take_u16(heads);
        const uint8_t *bytes = take(data, length);
        if (length != 0)
            memcpy(at, bytes, length);
        e->buf = (struct raft_buffer){.base = at, .len = length};
        e->batch = batch;
        at += align_up(length, BATCH_ALIGNMENT);
        if (e->type == RAFT_CHANGE && !change_is_sound(e->buf.base, length))
            return -EBADMSG;
    }
    return 0;
}

static int entries_decode(struct reader *r, uint32_t count, struct raft_append_entries *a)
{
    size_t batch_bytes;
    if (count > RAFT_WIRE_ENTRIES_MAX)
        return -EBADMSG;
    const uint8_t *first = take(r, (size_t)count * ENTRY_BYTES);
    if (r->bad)
        return -EBADMSG;
    struct reader heads = {.at = first, .left = (size_t)count * ENTRY_BYTES};
    int error = batch_measure(heads, count, r->left, &batch_bytes);
    if (error != 0 || count == 0)
        return error;
    a->entries = raft_calloc(count, sizeof(a->entries[0]));
    /* Why never empty: libraft tells by the batch that the entries' memory is one. */
    uint8_t *batch = raft_malloc(max_u64(batch_bytes, BATCH_ALIGNMENT));
    error = a->entries == NULL || batch == NULL ? -ENOMEM : 0;
    if (error == 0) {
        a->n_entries = count;
        error = entries_fill(&heads, r, a, batch);
    }
    if (error == 0)
        return 0;
    raft_free(batch);
    raft_free(a->entries);
    a->entries = NULL;
    a->n_entries = 0;
    return error;
}

static int append_decode(struct reader *r, uint32_t count, struct raft_append_entries *a)
{
    a->term = take_u64(r);
    a->prev_log_index = take_u64(r);
    a->prev_log_term = take_u64(r);
    a->leader_commit = take_u64(r);
    return entries_decode(r, count, a);
}

static int server_decode(struct reader *r, struct raft_configuration *c)
{
    char address[RAFT_WIRE_ADDRESS_BYTES + 1];
    uint64_t id = take_u64(r);
    uint16_t length = take_u16(r);
    uint8_t role = take_choice(r, RAFT_SPARE);
    (void)take_choice(r, 0);
    const uint8_t *text = length <= RAFT_WIRE_ADDRESS_BYTES ? take(r, length) : NULL;
    if (r->bad || text == NULL || memchr(text, 0, length) != NULL || id == 0)
        return -EBADMSG;
    memcpy(address, text, length);
    address[length] = 0;
    int error = raft_configuration_add(c, id, address, role);
    return error == 0 ? 0 : error == RAFT_NOMEM ? -ENOMEM : -EBADMSG;
}

static int snapshot_decode(struct reader *r, uint32_t count, struct raft_install_snapshot *a)
{
    a->term = take_u64(r);
    a->last_index = take_u64(r);
    a->last_term = take_u64(r);
    a->conf_index = take_u64(r);
    uint64_t length = take_u64(r);
    int error = r->bad || count > RAFT_WIRE_SERVERS_MAX ? -EBADMSG : 0;
    raft_configuration_init(&a->conf);
    for (uint32_t i = 0; error == 0 && i < count; i++)
        error = server_decode(r, &a->conf);
    if (error == 0 && r->left != length)
        error = -EBADMSG;
    if (error == 0) {
        a->data.base = raft_malloc(max_u64(length, 1));
        error = a->data.base == NULL ? -ENOMEM : 0;
    }
    if (error != 0) {
        raft_configuration_close(&a->conf);
        return error;
    }
    a->data.len = length;
    const uint8_t *bytes = take(r, length);
    if (length != 0)
        memcpy(a->data.base, bytes, length);
    return 0;
}

static int vote_decode(struct reader *r, raft_id sender, struct raft_request_vote *a)
{
    a->term = take_u64(r);
    a->candidate_id = take_u64(r);
    a->last_log_index = take_u64(r);
    a->last_log_term = take_u64(r);
    a->disrupt_leader = take_choice(r, 1) != 0;
    a->pre_vote = take_choice(r, 1) != 0;
    return a->candidate_id == sender ? verdict(r) : -EBADMSG;
}

static int body_decode(struct reader *r, uint32_t count, struct raft_message *m)
{
    bool counts = m->type == RAFT_IO_APPEND_ENTRIES || m->type == RAFT_IO_INSTALL_SNAPSHOT;
    if (!counts && count != 0)
        return -EBADMSG;
    switch (m->type) {
    case RAFT_IO_APPEND_ENTRIES:
        return append_decode(r, count, &m->append_entries);
    case RAFT_IO_INSTALL_SNAPSHOT:
        return snapshot_decode(r, count, &m->install_snapshot);
    case RAFT_IO_REQUEST_VOTE:
        return vote_decode(r, m->server_id, &m->request_vote);
    case RAFT_IO_REQUEST_VOTE_RESULT:
        m->request_vote_result.term = take_u64(r);
        m->request_vote_result.vote_granted = take_choice(r, 1) != 0;
        m->request_vote_result.pre_vote = (raft_tribool)take_choice(r, raft_tribool_false);
        return verdict(r);
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        m->append_entries_result.term = take_u64(r);
        m->append_entries_result.rejected = take_u64(r);
        m->append_entries_result.last_log_index = take_u64(r);
        return verdict(r);
    case RAFT_IO_TIMEOUT_NOW:
        m->timeout_now.term = take_u64(r);
        m->timeout_now.last_log_index = take_u64(r);
        m->timeout_now.last_log_term = take_u64(r);
        return verdict(r);
    default:
        return -EBADMSG;
    }
}

int raft_wire_decode(const uint8_t *bytes, size_t length, raft_id server_id,
                     const char *server_address, struct raft_message *m)
{
    struct reader r = {.at = bytes, .left = length};
    *m = (struct raft_message){.server_id = server_id, .server_address = server_address};
    uint8_t version = take_u8(&r);
    m->type = take_u8(&r);
    uint16_t zero = take_u16(&r);
    uint32_t count = take_u32(&r);
    if (r.bad)
        return -EBADMSG;
    if (version != RAFT_WIRE_VERSION)
        return -EPROTONOSUPPORT;
    return zero == 0 ? body_decode(&r, count, m) : -EBADMSG;
}

void raft_wire_message_free(struct raft_message *m)
{
    if (m->type == RAFT_IO_APPEND_ENTRIES && m->append_entries.n_entries != 0) {
        raft_free(m->append_entries.entries[0].batch);
        raft_free(m->append_entries.entries);
    }
    if (m->type == RAFT_IO_INSTALL_SNAPSHOT) {
        raft_configuration_close(&m->install_snapshot.conf);
        raft_free(m->install_snapshot.data.base);
    }
    *m = (struct raft_message){0};
}
