/* libraft on three of these disks, with a network and a clock of the test: what it does with disks that are
 * full, and that a new instance on the same directory goes on. */
#include "tests/unit/control/raft_disk_fixture.h"
#include "tests/unit/control/raft_disk_shim.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define PEERS 3u
#define COMMANDS 400u
#define STEP_MS 10u

struct cluster;

struct peer {
    struct cluster *cluster;
    struct raft_disk *disk;
    struct shim *shim;
    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    raft_io_tick_cb tick;
    raft_io_recv_cb receive;
    raft_io_close_cb close;
    char path[64];
    raft_id id;
    bool is_up, is_failed, is_cut_off;
    uint64_t applied[COMMANDS];
    unsigned applied_count, snapshots, restores;
    int code; /* of the raft that ended */
};

struct message {
    struct message *next;
    struct peer *from, *to;
    struct raft_message message;
    struct raft_io_send *request;
    raft_io_send_cb sent;
};

struct cluster {
    uv_loop_t loop;
    raft_time now;
    unsigned seed;
    struct peer peers[PEERS];
    struct message *messages, **messages_end;
    uint64_t number; /* of the next command */
    unsigned done, refused;
};

/* ---- messages: copies, since what is sent stays the sender's ---- */

static void *copy_of(const void *bytes, size_t length)
{
    void *copy = raft_malloc(length + 1);
    ASSERT(copy != NULL);
    if (length != 0)
        memcpy(copy, bytes, length);
    return copy;
}

static void entries_copy(struct raft_append_entries *a)
{
    struct raft_entry *entries = NULL;
    if (a->n_entries != 0)
        entries = copy_of(a->entries, a->n_entries * sizeof *entries);
    for (unsigned i = 0; i < a->n_entries; i++) {
        entries[i].buf.base = copy_of(entries[i].buf.base, entries[i].buf.len);
        entries[i].batch = entries[i].buf.base;
    }
    a->entries = entries;
}

static void snapshot_copy(struct raft_install_snapshot *s)
{
    struct raft_configuration conf;
    raft_configuration_init(&conf);
    for (unsigned i = 0; i < s->conf.n; i++)
        ASSERT(raft_configuration_add(&conf, s->conf.servers[i].id, s->conf.servers[i].address,
                                      s->conf.servers[i].role) == 0);
    s->conf = conf;
    s->data.base = copy_of(s->data.base, s->data.len);
}

static void message_drop(struct raft_message *m)
{
    for (unsigned i = 0; m->type == RAFT_IO_APPEND_ENTRIES && i < m->append_entries.n_entries; i++)
        raft_free(m->append_entries.entries[i].batch);
    if (m->type == RAFT_IO_APPEND_ENTRIES)
        raft_free(m->append_entries.entries);
    if (m->type == RAFT_IO_INSTALL_SNAPSHOT) {
        raft_configuration_close(&m->install_snapshot.conf);
        raft_free(m->install_snapshot.data.base);
    }
}

static int io_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *message,
                   raft_io_send_cb cb)
{
    struct peer *p = io->impl;
    struct message *m = calloc(1, sizeof *m);
    ASSERT(m != NULL);
    m->from = p;
    m->to = &p->cluster->peers[message->server_id - 1];
    m->message = *message;
    m->message.server_id = p->id;
    m->message.server_address = "peer";
    m->request = req;
    m->sent = cb;
    if (message->type == RAFT_IO_APPEND_ENTRIES)
        entries_copy(&m->message.append_entries);
    if (message->type == RAFT_IO_INSTALL_SNAPSHOT)
        snapshot_copy(&m->message.install_snapshot);
    *p->cluster->messages_end = m;
    p->cluster->messages_end = &m->next;
    return 0;
}

static bool is_delivered(const struct message *m)
{
    return m->to->is_up && !m->to->is_failed && !m->from->is_failed && !m->to->is_cut_off &&
           !m->from->is_cut_off && m->to->receive != NULL;
}

static void deliver(struct cluster *c)
{
    struct message *list = c->messages;
    c->messages = NULL;
    c->messages_end = &c->messages;
    while (list != NULL) {
        struct message *m = list;
        list = m->next;
        if (is_delivered(m))
            m->to->receive(&m->to->io, &m->message);
        else
            message_drop(&m->message);
        m->sent(m->request, 0);
        free(m);
    }
}

/* ---- the state machine: the list of all commands ---- */

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    struct peer *p = fsm->data;
    ASSERT(buf->len == sizeof(uint64_t) && p->applied_count < COMMANDS);
    memcpy(&p->applied[p->applied_count++], buf->base, sizeof(uint64_t));
    *result = NULL;
    return 0;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct peer *p = fsm->data;
    size_t bytes = p->applied_count * sizeof p->applied[0];
    p->snapshots++;
    *bufs = raft_malloc(sizeof **bufs);
    (*bufs)[0] = (struct raft_buffer){.base = copy_of(p->applied, bytes), .len = bytes};
    *n_bufs = 1;
    return 0;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    struct peer *p = fsm->data;
    p->restores++;
    p->applied_count = (unsigned)(buf->len / sizeof p->applied[0]);
    memcpy(p->applied, buf->base, buf->len);
    raft_free(buf->base);
    return 0;
}

/* ---- raft_io ---- */

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
    (void)io, (void)id, (void)address;
    return 0;
}

/* NOLINTNEXTLINE(readability-function-size): seven parameters are what libraft calls it with */
static int io_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry *entries[], size_t *n_entries)
{
    struct peer *p = io->impl;
    return raft_disk_load(p->disk, term, voted_for, snapshot, start_index, entries, n_entries);
}

static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    struct peer *p = io->impl;
    (void)msecs;
    p->tick = tick;
    p->receive = recv;
    return 0;
}

static void on_disk_closed(void *context)
{
    struct peer *p = context;
    p->disk = NULL;
    p->close(&p->io);
}

static void io_close(struct raft_io *io, raft_io_close_cb cb)
{
    struct peer *p = io->impl;
    p->close = cb;
    p->tick = NULL;
    p->receive = NULL;
    raft_disk_close(p->disk, on_disk_closed, p);
}

static struct raft_disk *disk_of(struct raft_io *io)
{
    return ((struct peer *)io->impl)->disk;
}

static int io_bootstrap(struct raft_io *io, const struct raft_configuration *conf)
{
    return raft_disk_bootstrap(disk_of(io), conf);
}

static int io_set_term(struct raft_io *io, raft_term term)
{
    return raft_disk_set_term(disk_of(io), term);
}

static int io_set_vote(struct raft_io *io, raft_id server)
{
    return raft_disk_set_vote(disk_of(io), server);
}

static int io_append(struct raft_io *io, struct raft_io_append *req,
                     const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    return raft_disk_append(disk_of(io), req, entries, n, cb);
}

static int io_truncate(struct raft_io *io, raft_index index)
{
    return raft_disk_truncate(disk_of(io), index);
}

static int io_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    return raft_disk_snapshot_put(disk_of(io), trailing, req, snapshot, cb);
}

static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req,
                           raft_io_snapshot_get_cb cb)
{
    return raft_disk_snapshot_get(disk_of(io), req, cb);
}

static raft_time io_time(struct raft_io *io)
{
    return ((struct peer *)io->impl)->cluster->now;
}

static int io_random(struct raft_io *io, int min, int max)
{
    struct peer *p = io->impl;
    return min + rand_r(&p->cluster->seed) % (max - min);
}

static const struct raft_io io_model = {.version = 1,
                                        .init = io_init,
                                        .close = io_close,
                                        .load = io_load,
                                        .start = io_start,
                                        .bootstrap = io_bootstrap,
                                        .set_term = io_set_term,
                                        .set_vote = io_set_vote,
                                        .send = io_send,
                                        .append = io_append,
                                        .truncate = io_truncate,
                                        .snapshot_put = io_snapshot_put,
                                        .snapshot_get = io_snapshot_get,
                                        .time = io_time,
                                        .random = io_random};

/* ---- the cluster ---- */

static void on_failed(void *context, int status)
{
    struct peer *p = context;
    p->is_failed = true;
    p->code = status;
}

/* A new instance on the directory.  Returns as raft_disk_open. */
static int peer_start(struct peer *p)
{
    const struct raft_disk_config config = {.loop = &p->cluster->loop,
                                            .directory = p->path,
                                            .cluster = 1,
                                            .node = p->id,
                                            .failed = on_failed,
                                            .context = p};
    int error = raft_disk_open(&p->disk, &config);
    if (error != 0)
        return error;
    p->io = io_model;
    p->io.impl = p;
    p->fsm = (struct raft_fsm){.version = 1,
                               .data = p,
                               .apply = fsm_apply,
                               .snapshot = fsm_snapshot,
                               .restore = fsm_restore};
    p->applied_count = 0;
    p->is_failed = false;
    CU_ASSERT_EQUAL_FATAL(raft_init(&p->raft, &p->io, &p->fsm, p->id, "peer"), 0);
    raft_set_election_timeout(&p->raft, 100);
    raft_set_heartbeat_timeout(&p->raft, 20);
    raft_set_snapshot_threshold(&p->raft, 30);
    raft_set_snapshot_trailing(&p->raft, 10);
    raft_set_pre_vote(&p->raft, true);
    return 0;
}

static void peer_run(struct peer *p)
{
    CU_ASSERT_EQUAL_FATAL(raft_start(&p->raft), 0);
    p->is_up = true;
}

static void on_raft_closed(struct raft *raft)
{
    *(bool *)raft->data = true;
}

static void peer_stop(struct peer *p)
{
    bool is_closed = false;
    p->is_up = false;
    p->raft.data = &is_closed;
    raft_close(&p->raft, on_raft_closed);
    while (!is_closed) {
        deliver(p->cluster);
        (void)uv_run(&p->cluster->loop, UV_RUN_NOWAIT);
    }
}

static struct cluster *cluster_begin(void)
{
    struct cluster *c = calloc(1, sizeof *c);
    struct raft_configuration conf;
    c->seed = 7;
    c->now = 1000;
    c->messages_end = &c->messages;
    CU_ASSERT_EQUAL_FATAL(uv_loop_init(&c->loop), 0);
    raft_configuration_init(&conf);
    for (unsigned i = 0; i < PEERS; i++) {
        char address[8];
        (void)snprintf(address, sizeof address, "%u", i);
        CU_ASSERT_EQUAL(raft_configuration_add(&conf, i + 1, address, RAFT_VOTER), 0);
    }
    for (unsigned i = 0; i < PEERS; i++) {
        struct peer *p = &c->peers[i];
        p->cluster = c;
        p->id = i + 1;
        shim_directory_make(p->path);
        p->shim = shim_begin(p->path, NULL, NULL);
        CU_ASSERT_EQUAL_FATAL(peer_start(p), 0);
        CU_ASSERT_EQUAL(raft_bootstrap(&p->raft, &conf), 0);
        peer_run(p);
    }
    raft_configuration_close(&conf);
    return c;
}

static void cluster_end(struct cluster *c)
{
    for (unsigned i = 0; i < PEERS; i++) {
        if (c->peers[i].is_up)
            peer_stop(&c->peers[i]);
    }
    deliver(c);
    CU_ASSERT_EQUAL(uv_loop_close(&c->loop), 0);
    for (unsigned i = 0; i < PEERS; i++) {
        shim_end(c->peers[i].shim);
        shim_directory_remove(c->peers[i].path);
    }
    free(c);
}

/* What raft_node has to do: an instance whose disk failed is closed. */
static void step(struct cluster *c)
{
    c->now += STEP_MS;
    deliver(c);
    for (unsigned i = 0; i < PEERS; i++) {
        struct peer *p = &c->peers[i];
        if (p->is_up && p->tick != NULL && !p->is_failed)
            p->tick(&p->io);
    }
    (void)uv_run(&c->loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < PEERS; i++) {
        if (c->peers[i].is_up && c->peers[i].is_failed)
            peer_stop(&c->peers[i]);
    }
}

static struct peer *leader(struct cluster *c)
{
    for (unsigned i = 0; i < 500; i++) {
        for (unsigned k = 0; k < PEERS; k++) {
            struct peer *p = &c->peers[k];
            if (p->is_up && !p->is_cut_off && raft_state(&p->raft) == RAFT_LEADER)
                return p;
        }
        step(c);
    }
    CU_FAIL_FATAL("nobody leads");
    return NULL;
}

static struct peer *follower(struct cluster *c)
{
    const struct peer *l = leader(c);
    for (unsigned i = 0; i < PEERS; i++) {
        if (&c->peers[i] != l && c->peers[i].is_up)
            return &c->peers[i];
    }
    CU_FAIL_FATAL("nobody follows");
    return NULL;
}

static void on_applied(struct raft_apply *request, int status, void *result)
{
    struct cluster *c = request->data;
    (void)result;
    c->done += status == 0;
    c->refused += status != 0;
    free(request);
}

static void propose(struct cluster *c, struct peer *p)
{
    struct raft_apply *request = calloc(1, sizeof *request);
    uint64_t number = ++c->number;
    struct raft_buffer buf = {.base = copy_of(&number, sizeof number), .len = sizeof number};
    request->data = c;
    int code = p->is_failed ? RAFT_NOTLEADER : raft_apply(&p->raft, request, &buf, 1, on_applied);
    if (code != 0) {
        raft_free(buf.base);
        free(request);
        c->refused++;
    }
}

/* Done commands, one after the other. */
static void commands(struct cluster *c, unsigned count)
{
    unsigned done = c->done + count;
    for (unsigned i = 0; i < 1000 && c->done < done; i++) {
        propose(c, leader(c));
        step(c);
        step(c);
    }
    CU_ASSERT(c->done >= done);
}

static bool is_same(const struct cluster *c)
{
    const struct peer *a = &c->peers[0];
    for (unsigned i = 1; i < PEERS; i++) {
        const struct peer *b = &c->peers[i];
        if (a->applied_count != b->applied_count ||
            memcmp(a->applied, b->applied, a->applied_count * sizeof a->applied[0]) != 0)
            return false;
    }
    return true;
}

static void settle(struct cluster *c)
{
    for (unsigned i = 0; i < 300; i++)
        step(c);
    CU_ASSERT(is_same(c));
    CU_ASSERT(c->peers[0].applied_count >= c->done);
}

/* ---- tests ---- */

static void all_hold_the_same_after_a_restart_of_all(void)
{
    struct cluster *c = cluster_begin();
    commands(c, 100);
    settle(c);
    CU_ASSERT(c->peers[0].snapshots >= 2);
    unsigned done = c->done;
    for (unsigned i = 0; i < PEERS; i++) {
        peer_stop(&c->peers[i]);
        CU_ASSERT_EQUAL_FATAL(peer_start(&c->peers[i]), 0);
        peer_run(&c->peers[i]);
    }
    commands(c, 1);
    settle(c);
    CU_ASSERT(c->peers[0].applied_count > done && c->peers[0].applied_count >= 101);
    CU_ASSERT(c->peers[0].restores >= 1);
    cluster_end(c);
}

static void one_that_is_far_behind_gets_a_snapshot(void)
{
    struct cluster *c = cluster_begin();
    commands(c, 5);
    struct peer *behind = follower(c);
    behind->is_cut_off = true;
    commands(c, 120);
    behind->is_cut_off = false;
    settle(c);
    CU_ASSERT(behind->restores >= 1);
    peer_stop(behind);
    CU_ASSERT_EQUAL_FATAL(peer_start(behind), 0);
    peer_run(behind);
    commands(c, 1);
    settle(c);
    cluster_end(c);
}

/* Its disk fills while several commands are under way; the others go on; then there is room. */
static void full(struct cluster *c, struct peer *p)
{
    shim_fail(p->shim, 1, ENOSPC, false);
    for (unsigned i = 0; i < 4; i++)
        propose(c, leader(c));
    for (unsigned i = 0; i < 20 && p->is_up; i++)
        step(c);
    CU_ASSERT(!p->is_up && p->code == RAFT_NOSPACE);
    commands(c, 50);
    char reserve[96];
    (void)snprintf(reserve, sizeof reserve, "%s/reserve", p->path);
    (void)remove(reserve);
    CU_ASSERT_EQUAL(peer_start(p), -ENOSPC);
    shim_fail(p->shim, 0, 0, false);
    CU_ASSERT_EQUAL_FATAL(peer_start(p), 0);
    peer_run(p);
    commands(c, 3);
    settle(c);
}

static void a_leader_whose_disk_is_full_is_replaced_and_comes_back(void)
{
    struct cluster *c = cluster_begin();
    commands(c, 5);
    for (unsigned i = 0; i < 4; i++)
        full(c, leader(c));
    cluster_end(c);
}

static void a_follower_whose_disk_is_full_comes_back(void)
{
    struct cluster *c = cluster_begin();
    commands(c, 5);
    for (unsigned i = 0; i < 4; i++)
        full(c, follower(c));
    CU_ASSERT_EQUAL(c->refused, 0);
    cluster_end(c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(all_hold_the_same_after_a_restart_of_all),
    UNIT_TEST(one_that_is_far_behind_gets_a_snapshot),
    UNIT_TEST(a_leader_whose_disk_is_full_is_replaced_and_comes_back),
    UNIT_TEST(a_follower_whose_disk_is_full_comes_back),
};
UNIT_MAIN("raft_disk_raft", tests)
