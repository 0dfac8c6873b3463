#include "bench/raft_store.h"

#include "engine/hash.h"

#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <urcu/urcu-qsbr.h>

#define FILL_BATCH 64u
#define LEADER 0u
#define ENTRIES_PER_MS 1000u /* of libraft's clock */
#define ELECTION_MS_MAX 10000u
#define PENDING_MAX 256u /* requests to a server's I/O that are not completed */
#define SNAPSHOT_THRESHOLD 8192u
#define SNAPSHOT_TRAILING 2048u

enum pending_kind { PENDING_SEND, PENDING_APPEND, PENDING_SNAPSHOT };

/* What libraft asked of its I/O, to be completed once it has returned. */
struct pending {
    enum pending_kind kind;
    void *request;
    void (*callback)(void); /* of the kind's type */
    struct raft_message message;
};

struct raft_server_state {
    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    struct raft_store *store;
    char address[4];
    struct raft_buffer configuration; /* entry 1 */
    raft_io_tick_cb tick;
    raft_io_recv_cb receive;
    raft_io_close_cb closed;
    uint32_t tick_ms;
    struct pending pending[PENDING_MAX];
    uint32_t pending_count;
    struct raft_table table;
};

/* ---- state machine ---- */

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buffer, void **result)
{
    struct raft_server_state *server = fsm->data;
    *result = NULL;
    return raft_table_put(&server->table, buffer->base) == 0 ? 0 : RAFT_NOMEM;
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

/* ---- I/O: what libraft calls ---- */

static struct pending *pend(struct raft_io *io, enum pending_kind kind, void *request)
{
    struct raft_server_state *server = io->impl;
    ASSERT(server->pending_count < PENDING_MAX);
    struct pending *p = &server->pending[server->pending_count++];
    p->kind = kind;
    p->request = request;
    return p;
}

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
    (void)io;
    (void)id;
    (void)address;
    return 0;
}

static void io_close(struct raft_io *io, raft_io_close_cb callback)
{
    struct raft_server_state *server = io->impl;
    server->closed = callback;
}

static int io_bootstrap(struct raft_io *io, const struct raft_configuration *configuration)
{
    struct raft_server_state *server = io->impl;
    return raft_configuration_encode(configuration, &server->configuration);
}

/* NOLINTNEXTLINE(readability-function-size): seven parameters are what libraft calls it with */
static int io_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry *entries[], size_t *entry_count)
{
    struct raft_server_state *server = io->impl;
    struct raft_entry *first = raft_malloc(sizeof *first);
    if (first == NULL)
        return RAFT_NOMEM;
    *first = (struct raft_entry){
        .term = 1,
        .type = RAFT_CHANGE,
        .buf = server->configuration,
        .batch = server->configuration.base,
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
    struct raft_server_state *server = io->impl;
    server->tick_ms = tick_ms;
    server->tick = tick;
    server->receive = receive;
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

static int io_send(struct raft_io *io, struct raft_io_send *request,
                   const struct raft_message *message, raft_io_send_cb callback)
{
    struct pending *p = pend(io, PENDING_SEND, request);
    p->callback = (void (*)(void))callback;
    p->message = *message;
    return 0;
}

static int io_append(struct raft_io *io, struct raft_io_append *request,
                     const struct raft_entry entries[], unsigned count, raft_io_append_cb callback)
{
    (void)entries;
    (void)count;
    pend(io, PENDING_APPEND, request)->callback = (void (*)(void))callback;
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
    pend(io, PENDING_SNAPSHOT, request)->callback = (void (*)(void))callback;
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
    const struct raft_server_state *server = io->impl;
    return server->store->entry_count / ENTRIES_PER_MS;
}

/* The leader to be waits the shortest. */
static int io_random(struct raft_io *io, int least, int most)
{
    const struct raft_server_state *server = io->impl;
    return server == &server->store->servers[LEADER] ? least : most;
}

/* ---- I/O: what it carries out ---- */

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

static int deliver(struct raft_server_state *from, const struct pending *p)
{
    struct raft_server_state *to = &from->store->servers[p->message.server_id - 1];
    struct raft_message m = p->message;
    m.server_id = from->raft.id;
    m.server_address = from->address;
    if (m.type == RAFT_IO_APPEND_ENTRIES && entries_copy(&m.append_entries) != 0)
        return -ENOMEM;
    to->receive(&to->io, &m);
    ((raft_io_send_cb)p->callback)(p->request, 0);
    return 0;
}

/* Complete what server's libraft asked for so far; what follows from it is there for the next call. */
static int complete(struct raft_server_state *server)
{
    struct pending now[PENDING_MAX];
    uint32_t count = server->pending_count;
    memcpy(now, server->pending, count * sizeof now[0]);
    server->pending_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct pending *p = &now[i];
        if (p->kind == PENDING_APPEND)
            ((raft_io_append_cb)p->callback)(p->request, 0);
        else if (p->kind == PENDING_SNAPSHOT)
            ((raft_io_snapshot_put_cb)p->callback)(p->request, 0);
        else if (deliver(server, p) != 0)
            return -ENOMEM;
    }
    return 0;
}

static int complete_all(struct raft_store *s)
{
    int rc = 0;
    for (bool any = true; any && rc == 0;) {
        any = false;
        for (uint32_t i = 0; i < RAFT_STORE_SERVERS && rc == 0; i++) {
            any |= s->servers[i].pending_count != 0;
            rc = complete(&s->servers[i]);
        }
    }
    return rc;
}

/* Time goes on by count entries. */
static void clock_advance(struct raft_store *s, uint64_t count)
{
    s->entry_count += count;
    if (s->entry_count / ENTRIES_PER_MS / s->servers[LEADER].tick_ms == s->tick_count)
        return;
    s->tick_count = s->entry_count / ENTRIES_PER_MS / s->servers[LEADER].tick_ms;
    for (uint32_t i = 0; i < RAFT_STORE_SERVERS; i++)
        s->servers[i].tick(&s->servers[i].io);
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
    for (uint32_t i = 0; i < count; i++) {
        buffers[i].len = sizeof commands[i];
        buffers[i].base = raft_malloc(sizeof commands[i]);
        if (buffers[i].base == NULL)
            return -ENOMEM;
        memcpy(buffers[i].base, &commands[i], sizeof commands[i]);
    }
    struct request q = {.done = false};
    int rc = raft_apply(&s->servers[LEADER].raft, &q.apply, buffers, count, on_applied);
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

static void io_format(struct raft_server_state *server)
{
    server->io = (struct raft_io){
        .version = 1,
        .impl = server,
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
    server->fsm = (struct raft_fsm){
        .version = 1,
        .data = server,
        .apply = fsm_apply,
        .snapshot = fsm_snapshot,
        .restore = fsm_restore,
    };
}

static int raft_make(struct raft_server_state *server, const struct raft_configuration *c)
{
    raft_id id = (raft_id)(server - server->store->servers) + 1;
    io_format(server);
    int rc = raft_init(&server->raft, &server->io, &server->fsm, id, server->address);
    if (rc != 0)
        return -EPROTO;
    raft_set_snapshot_threshold(&server->raft, SNAPSHOT_THRESHOLD);
    raft_set_snapshot_trailing(&server->raft, SNAPSHOT_TRAILING);
    rc = raft_bootstrap(&server->raft, c);
    if (rc == 0)
        rc = raft_start(&server->raft);
    return rc != 0 ? -EPROTO : 0;
}

static int server_open(struct raft_store *s, uint32_t number, const struct raft_configuration *c)
{
    struct raft_server_state *server = &s->servers[number];
    int rc = raft_table_open(&server->table, s->kind, s->key_count);
    return rc != 0 ? rc : raft_make(server, c);
}

static int servers_open(struct raft_store *s)
{
    struct raft_configuration c;
    raft_configuration_init(&c);
    int rc = 0;
    for (uint32_t i = 0; i < RAFT_STORE_SERVERS && rc == 0; i++) {
        struct raft_server_state *server = &s->servers[i];
        server->store = s;
        server->table.slots.fd = -1;
        (void)snprintf(server->address, sizeof server->address, "%u", i + 1);
        rc = raft_configuration_add(&c, i + 1, server->address, RAFT_VOTER) != 0 ? -ENOMEM : 0;
    }
    for (uint32_t i = 0; i < RAFT_STORE_SERVERS && rc == 0; i++)
        rc = server_open(s, i, &c);
    raft_configuration_close(&c);
    return rc;
}

static int elect(struct raft_store *s)
{
    for (uint32_t ms = 0; ms < ELECTION_MS_MAX; ms++) {
        clock_advance(s, ENTRIES_PER_MS);
        int rc = complete_all(s);
        if (rc != 0 || raft_state(&s->servers[LEADER].raft) == RAFT_LEADER)
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
    if (server->io.impl != NULL) {
        raft_close(&server->raft, NULL);
        (void)complete(server);
        if (server->closed != NULL)
            server->closed(&server->io);
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
    clock_advance(s, 2 * (uint64_t)s->servers[LEADER].tick_ms * ENTRIES_PER_MS);
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
