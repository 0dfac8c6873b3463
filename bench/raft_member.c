#include "bench/raft_member.h"

#include <stdio.h>

#define SNAPSHOT_THRESHOLD 8192u
#define SNAPSHOT_TRAILING 2048u

/* ---- state machine ---- */

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buffer, void **result)
{
    struct raft_member *m = fsm->data;
    *result = NULL;
    return raft_table_put(m->table, buffer->base) == 0 ? 0 : RAFT_NOMEM;
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

/* ---- what libraft asks ---- */

void raft_member_pend(struct raft_member *m, enum raft_pending_kind kind, void *request,
                      void (*callback)(void))
{
    ASSERT(m->pending_count < RAFT_PENDING_MAX);
    m->pending[m->pending_count++] = (struct raft_pending){kind, request, callback};
}

void raft_pending_done(const struct raft_pending *p)
{
    switch (p->kind) {
    case RAFT_PENDING_SEND:
        ((raft_io_send_cb)p->callback)(p->request, 0);
        return;
    case RAFT_PENDING_APPEND:
        ((raft_io_append_cb)p->callback)(p->request, 0);
        return;
    case RAFT_PENDING_SNAPSHOT:
        ((raft_io_snapshot_put_cb)p->callback)(p->request, 0);
        return;
    }
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
    struct raft_member *m = io->impl;
    m->closed = callback;
}

static int io_bootstrap(struct raft_io *io, const struct raft_configuration *configuration)
{
    struct raft_member *m = io->impl;
    return raft_configuration_encode(configuration, &m->configuration);
}

/* NOLINTNEXTLINE(readability-function-size): seven parameters are what libraft calls it with */
static int io_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry *entries[], size_t *entry_count)
{
    struct raft_member *m = io->impl;
    struct raft_entry *first = raft_malloc(sizeof *first);
    if (first == NULL)
        return RAFT_NOMEM;
    *first = (struct raft_entry){
        .term = 1,
        .type = RAFT_CHANGE,
        .buf = m->configuration,
        .batch = m->configuration.base,
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
    struct raft_member *m = io->impl;
    m->tick_ms = tick_ms;
    m->tick = tick;
    m->receive = receive;
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
    raft_member_pend(io->impl, RAFT_PENDING_APPEND, request, (void (*)(void))callback);
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
    raft_member_pend(io->impl, RAFT_PENDING_SNAPSHOT, request, (void (*)(void))callback);
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
    const struct raft_member *m = io->impl;
    return m->now_ms;
}

/* The leader to be waits the shortest. */
static int io_random(struct raft_io *io, int least, int most)
{
    const struct raft_member *m = io->impl;
    return m->number == 0 ? least : most;
}

/* ---- making ---- */

void raft_member_init(struct raft_member *m, uint32_t number, struct raft_table *table)
{
    *m = (struct raft_member){.number = number, .table = table};
    (void)snprintf(m->address, sizeof m->address, "%u", number + 1);
    m->io = (struct raft_io){
        .version = 1,
        .impl = m,
        .init = io_init,
        .close = io_close,
        .load = io_load,
        .start = io_start,
        .bootstrap = io_bootstrap,
        .recover = io_recover,
        .set_term = io_set_term,
        .set_vote = io_set_vote,
        .append = io_append,
        .truncate = io_truncate,
        .snapshot_put = io_snapshot_put,
        .snapshot_get = io_snapshot_get,
        .time = io_time,
        .random = io_random,
    };
    m->fsm = (struct raft_fsm){
        .version = 1,
        .data = m,
        .apply = fsm_apply,
        .snapshot = fsm_snapshot,
        .restore = fsm_restore,
    };
}

static int configure(struct raft_configuration *c)
{
    raft_configuration_init(c);
    for (uint32_t i = 1; i <= RAFT_MEMBERS; i++) {
        char address[4];
        (void)snprintf(address, sizeof address, "%u", i);
        if (raft_configuration_add(c, i, address, RAFT_VOTER) != 0)
            return -ENOMEM;
    }
    return 0;
}

static int bootstrap(struct raft_member *m, const struct raft_configuration *c)
{
    if (raft_init(&m->raft, &m->io, &m->fsm, m->number + 1, m->address) != 0)
        return -EPROTO;
    raft_set_snapshot_threshold(&m->raft, SNAPSHOT_THRESHOLD);
    raft_set_snapshot_trailing(&m->raft, SNAPSHOT_TRAILING);
    return raft_bootstrap(&m->raft, c) == 0 && raft_start(&m->raft) == 0 ? 0 : -EPROTO;
}

int raft_member_start(struct raft_member *m)
{
    struct raft_configuration c;
    int rc = configure(&c);
    if (rc == 0)
        rc = bootstrap(m, &c);
    raft_configuration_close(&c);
    return rc;
}

/* ---- commands ---- */

int raft_member_buffers(struct raft_buffer *buffers, const struct raft_command *commands,
                        uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        buffers[i].len = sizeof commands[i];
        buffers[i].base = raft_malloc(sizeof commands[i]);
        if (buffers[i].base == NULL)
            return -ENOMEM;
        memcpy(buffers[i].base, &commands[i], sizeof commands[i]);
    }
    return 0;
}
