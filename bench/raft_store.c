#include "bench/raft_store.h"

#include "bench/raft_member.h"
#include "engine/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <urcu/urcu-qsbr.h>

#define FILL_BATCH 64u
#define LEADER 0u
#define ENTRIES_PER_MS 1000u /* of libraft's clock */
#define ELECTION_MS_MAX 10000u
#define PENDING_MAX 256u /* requests to a server's I/O that are not completed */
struct raft_server_state {
    struct raft_member member; /* first: its I/O leads to it */
    struct raft_store *store;
    struct raft_message
        messages[RAFT_PENDING_MAX]; /* of member.pending, where that is to be sent */
    struct raft_table table;
};

_Static_assert(offsetof(struct raft_server_state, member) == 0 &&
                   RAFT_STORE_SERVERS == RAFT_MEMBERS,
               "as raft_member.h has it");

/* ---- I/O ---- */

static int io_send(struct raft_io *io, struct raft_io_send *request,
                   const struct raft_message *message, raft_io_send_cb callback)
{
    struct raft_member *m = raft_member_of(io);
    struct raft_server_state *server = (struct raft_server_state *)(void *)m;
    server->messages[m->pending_count] = *message;
    raft_member_pend(m, RAFT_PENDING_SEND, request, (void (*)(void))callback);
    return 0;
}

/* The entries of a message in memory that the receiver owns: libraft frees it. */
static int entries_copy(struct raft_append_entries *m)
{
    const struct raft_entry *from = m->entries;
    m->entries = NULL;
    if (m->n_entries == 0)
        return 0;
    size_t bytes = 0;
    for (unsigned i = 0; i < m->n_entries; i++)
        bytes += from[i].buf.len;
    struct raft_entry *entries = raft_malloc(m->n_entries * sizeof *entries);
    uint8_t *batch = raft_malloc(bytes);
    if (entries == NULL || batch == NULL) {
        raft_free(entries);
        raft_free(batch);
        return -ENOMEM;
    }
    uint8_t *at = batch;
    for (unsigned i = 0; i < m->n_entries; i++) {
        entries[i] = from[i];
        entries[i].buf.base = at;
        entries[i].batch = batch;
        memcpy(at, from[i].buf.base, from[i].buf.len);
        at += from[i].buf.len;
    }
    m->entries = entries;
    return 0;
}

static int deliver(struct raft_server_state *from, const struct raft_message *message)
{
    struct raft_member *to = &from->store->servers[message->server_id - 1].member;
    struct raft_message m = *message;
    m.server_id = from->member.raft.id;
    m.server_address = from->member.address;
    if (m.type == RAFT_IO_APPEND_ENTRIES && entries_copy(&m.append_entries) != 0)
        return -ENOMEM;
    to->receive(&to->io, &m);
    return 0;
}

/* Complete what server's libraft asked for so far; what follows from it is there for the next call. */
static int complete(struct raft_server_state *server)
{
    struct raft_pending now[RAFT_PENDING_MAX];
    struct raft_message messages[RAFT_PENDING_MAX];
    uint32_t count = server->member.pending_count;
    memcpy(now, server->member.pending, count * sizeof now[0]);
    memcpy(messages, server->messages, count * sizeof messages[0]);
    server->member.pending_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (now[i].kind == RAFT_PENDING_SEND && deliver(server, &messages[i]) != 0)
            return -ENOMEM;
        raft_pending_done(&now[i]);
    }
    return 0;
}

static int complete_all(struct raft_store *s)
{
    int rc = 0;
    for (bool any = true; any && rc == 0;) {
        any = false;
        for (uint32_t i = 0; i < RAFT_STORE_SERVERS && rc == 0; i++) {
            any |= s->servers[i].member.pending_count != 0;
            rc = complete(&s->servers[i]);
        }
    }
    return rc;
}

/* Time goes on by count entries. */
static void clock_advance(struct raft_store *s, uint64_t count)
{
    s->entry_count += count;
    uint64_t now_ms = s->entry_count / ENTRIES_PER_MS;
    for (uint32_t i = 0; i < RAFT_STORE_SERVERS; i++)
        s->servers[i].member.now_ms = now_ms;
    if (now_ms / s->servers[LEADER].member.tick_ms == s->tick_count)
        return;
    s->tick_count = now_ms / s->servers[LEADER].member.tick_ms;
    for (uint32_t i = 0; i < RAFT_STORE_SERVERS; i++)
        s->servers[i].member.tick(&s->servers[i].member.io);
}

/* ---- writing ---- */

static uint32_t number_of(const struct raft_store *s, uint64_t nth)
{
    uint64_t x = nth * UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)((x >> 32) * s->key_count >> 32);
}

struct request {
    struct raft_apply apply; /* first: the callback finds us by it */
    bool done;
    int status;
};

static void on_applied(struct raft_apply *apply, int status, void *result)
{
    (void)result;
    struct request *q = (struct request *)apply;
    q->done = true;
    q->status = status;
}

/* One batch, until the leader has applied it; its commands were made as a client would. */
static int write_batch(struct raft_store *s, const struct raft_command *commands, uint32_t count)
{
    struct raft_buffer buffers[RAFT_STORE_BATCH_MAX];
    if (raft_member_buffers(buffers, commands, count) != 0)
        return -ENOMEM;
    struct request q = {.done = false};
    int rc = raft_apply(&s->servers[LEADER].member.raft, &q.apply, buffers, count, on_applied);
    if (rc == 0 && complete_all(s) == 0 && q.done)
        rc = q.status;
    else
        rc = -EPROTO;
    clock_advance(s, count);
    return rc != 0 ? -EPROTO : 0;
}

static void make_command(uint32_t number, uint64_t version, struct raft_command *c)
{
    keys_text(number, c->key);
    c->hash = hash_key(c->key, KEYS_LENGTH);
    memset(c->value, 0, sizeof c->value);
    memcpy(c->value, &version, sizeof version);
}

static int fill(struct raft_store *s)
{
    struct raft_command commands[FILL_BATCH];
    int rc = 0;
    for (uint32_t number = 0; number < s->key_count && rc == 0;) {
        uint32_t count = 0;
        while (count < FILL_BATCH && number < s->key_count)
            make_command(number++, 0, &commands[count++]);
        rc = write_batch(s, commands, count);
    }
    return rc;
}

/* ---- making ---- */

static int server_open(struct raft_store *s, uint32_t number)
{
    struct raft_server_state *server = &s->servers[number];
    int rc = raft_table_open(&server->table, s->kind, s->key_count);
    if (rc != 0)
        return rc;
    server->store = s;
    raft_member_init(&server->member, number, &server->table);
    server->member.io.send = io_send;
    return raft_member_start(&server->member);
}

static int servers_open(struct raft_store *s)
{
    int rc = 0;
    for (uint32_t i = 0; i < RAFT_STORE_SERVERS; i++)
        s->servers[i].table.slots.fd = -1;
    for (uint32_t i = 0; i < RAFT_STORE_SERVERS && rc == 0; i++)
        rc = server_open(s, i);
    return rc;
}

static int elect(struct raft_store *s)
{
    for (uint32_t ms = 0; ms < ELECTION_MS_MAX; ms++) {
        clock_advance(s, ENTRIES_PER_MS);
        int rc = complete_all(s);
        if (rc != 0 || raft_state(&s->servers[LEADER].member.raft) == RAFT_LEADER)
            return rc;
    }
    return -ETIMEDOUT;
}

int raft_store_open(struct raft_store *s, enum raft_table_kind kind, uint32_t key_count)
{
    *s = (struct raft_store){.kind = kind, .key_count = key_count};
    if (kind == RAFT_TABLE_SHARED)
        urcu_qsbr_register_thread();
    s->servers = calloc(RAFT_STORE_SERVERS, sizeof *s->servers);
    int rc = s->servers == NULL ? -ENOMEM : servers_open(s);
    if (rc == 0)
        rc = elect(s);
    if (rc == 0)
        rc = fill(s);
    if (rc == 0)
        return 0;
    (void)fprintf(stderr, "dunlin-bench: no libraft of %u keys: %s\n", key_count, strerror(-rc));
    raft_store_close(s);
    return rc;
}

static void server_close(struct raft_server_state *server)
{
    struct raft_member *m = &server->member;
    if (m->io.impl != NULL) {
        raft_close(&m->raft, NULL);
        (void)complete(server);
        if (m->closed != NULL)
            m->closed(&m->io);
    }
    raft_table_close(&server->table);
}

void raft_store_close(struct raft_store *s)
{
    for (uint32_t i = 0; i < RAFT_STORE_SERVERS && s->servers != NULL; i++)
        server_close(&s->servers[i]);
    free(s->servers);
    s->servers = NULL;
    if (s->kind == RAFT_TABLE_SHARED)
        urcu_qsbr_unregister_thread();
}

/* ---- measuring ---- */

int raft_store_measure(void *context, uint64_t duration_ns, double *value)
{
    struct raft_store *s = context;
    struct raft_command commands[RAFT_STORE_BATCH_MAX];
    uint32_t group = s->sampler->group;
    ASSERT(group <= RAFT_STORE_BATCH_MAX && group % s->batch == 0);
    bool more;
    sampler_start(s->sampler, duration_ns);
    do {
        for (uint32_t i = 0; i < group; i++) {
            make_command(number_of(s, s->position), s->position, &commands[i]);
            s->position++;
        }
        uint64_t from = sampler_now();
        for (uint32_t i = 0; i < group; i += s->batch) {
            int rc = write_batch(s, commands + i, s->batch);
            if (rc != 0)
                return rc;
        }
        more = sampler_add(s->sampler, from, sampler_now());
    } while (more);
    *value = sampler_finish_mean(s->sampler);
    return 0;
}

bool raft_store_agrees(struct raft_store *s)
{
    /* The next heartbeat tells the followers what is committed. */
    clock_advance(s, 2 * (uint64_t)s->servers[LEADER].member.tick_ms * ENTRIES_PER_MS);
    if (complete_all(s) != 0)
        return false;
    for (uint32_t number = 0; number < s->key_count; number++) {
        struct raft_command key;
        uint8_t here[KEYS_VALUE_BYTES], there[KEYS_VALUE_BYTES];
        make_command(number, 0, &key);
        if (!raft_table_get(&s->servers[LEADER].table, &key, here))
            return false;
        for (uint32_t i = 1; i < RAFT_STORE_SERVERS; i++)
            if (!raft_table_get(&s->servers[i].table, &key, there) ||
                memcmp(here, there, sizeof here) != 0)
                return false;
    }
    return true;
}
