/* The disk of control/raft_disk.h under simulated processes: what is asked for is written in order and
 * synced behind the write; a crash keeps as much of what was not synced as it likes, from its begin on.
 * When a write fails, all that waits fails, newest first, until the directory is opened again. */
#include "tests/sim/control_records.h"
#include "tests/sim/control_world.h"

#include "engine/plant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum op_kind { OP_APPEND, OP_TRUNCATE, OP_PUT, OP_GET };

struct op {
    struct op *next;
    enum op_kind kind;
    raft_index index; /* TRUNCATE */
    unsigned count, trailing;
    const struct raft_entry *entries;
    const struct raft_snapshot *snapshot;
    struct raft_io_append *append;
    raft_io_append_cb append_cb;
    struct raft_io_snapshot_put *put;
    raft_io_snapshot_put_cb put_cb;
    struct raft_io_snapshot_get *get;
    raft_io_snapshot_get_cb get_cb;
};

struct raft_disk {
    struct raft_disk_config config;
    struct control_store *store;
    struct op *waiting, *running;
    struct record *writing; /* of those that run: not synced */
    bool is_working, is_closing, is_full;
    int failed;
    void (*closed)(void *context);
    void *context;
};

void control_store_crash(struct control_store *s, struct raft_disk *d)
{
    uint32_t count = control_records_count(d->writing);
    if (control_records_apply(s, d->writing, count != 0 ? (uint32_t)control_below(count + 1) : 0) !=
        0)
        control_count(CONTROL_UNSYNCED_LOST);
    d->writing = NULL;
}

/* ---- operations become records ---- */

static struct record **append_records(struct record **at, const struct op *op)
{
    for (unsigned i = 0; i < op->count; i++) {
        const struct raft_entry *e = &op->entries[i];
        const struct record r = {.kind = RECORD_ENTRY,
                                 .entry = {.term = e->term,
                                           .type = e->type,
                                           .length = e->buf.len,
                                           .bytes = control_copy(e->buf.base, e->buf.len)}};
        at = control_record_add(at, &r);
    }
    return at;
}

static struct store_snapshot snapshot_copy(const struct raft_snapshot *from)
{
    struct store_snapshot s = {.index = from->index,
                               .term = from->term,
                               .configuration_index = from->configuration_index,
                               .server_count = from->configuration.n};
    ASSERT(s.server_count <= SERVERS_MAX);
    for (uint32_t i = 0; i < s.server_count; i++) {
        s.ids[i] = (uint32_t)from->configuration.servers[i].id;
        s.roles[i] = from->configuration.servers[i].role;
        (void)snprintf(s.addresses[i], sizeof s.addresses[i], "%s",
                       from->configuration.servers[i].address);
    }
    for (unsigned i = 0; i < from->n_bufs; i++)
        s.length += from->bufs[i].len;
    s.bytes = control_copy(NULL, 0);
    s.bytes = realloc(s.bytes, s.length + 1);
    ASSERT(s.bytes != NULL);
    size_t at = 0;
    for (unsigned i = 0; i < from->n_bufs; i++) {
        memcpy(s.bytes + at, from->bufs[i].base, from->bufs[i].len);
        at += from->bufs[i].len;
    }
    return s;
}

static struct record **put_records(struct record **at, const struct op *op)
{
    const struct raft_snapshot *s = op->snapshot;
    struct record r = {.kind = RECORD_SNAPSHOT, .snapshot = snapshot_copy(s)};
    at = control_record_add(at, &r);
    r = (struct record){.kind = RECORD_RESET, .index = s->index + 1};
    control_count(op->trailing == 0 ? CONTROL_INSTALLED : CONTROL_SNAPSHOTS);
    if (op->trailing != 0)
        r = (struct record){.kind = RECORD_FORGET,
                            .index = s->index > op->trailing ? s->index - op->trailing : 0};
    return control_record_add(at, &r);
}

static struct record *records_of(const struct op *op)
{
    struct record *list = NULL, **at = &list;
    for (; op != NULL; op = op->next) {
        const struct record truncate = {.kind = RECORD_TRUNCATE, .index = op->index};
        if (op->kind == OP_APPEND)
            at = append_records(at, op);
        else if (op->kind == OP_TRUNCATE)
            at = control_record_add(at, &truncate);
        else if (op->kind == OP_PUT)
            at = put_records(at, op);
    }
    return list;
}

/* ---- what libraft gets ---- */

static struct raft_snapshot *snapshot_make(const struct store_snapshot *s)
{
    if (s->index == 0)
        return NULL;
    struct raft_snapshot *made = raft_calloc(1, sizeof *made);
    made->index = s->index;
    made->term = s->term;
    made->configuration_index = s->configuration_index;
    raft_configuration_init(&made->configuration);
    for (uint32_t i = 0; i < s->server_count; i++) {
        ASSERT(raft_configuration_add(&made->configuration, s->ids[i], s->addresses[i],
                                      s->roles[i]) == 0);
    }
    made->bufs = raft_malloc(sizeof *made->bufs);
    made->n_bufs = 1;
    made->bufs[0] = (struct raft_buffer){.base = raft_malloc(s->length + 1), .len = s->length};
    memcpy(made->bufs[0].base, s->bytes, s->length);
    return made;
}

/* All of them in one batch. */
static struct raft_entry *entries_make(const struct control_store *s)
{
    size_t bytes = 0, at = 0;
    if (s->count == 0)
        return NULL;
    for (size_t i = 0; i < s->count; i++)
        bytes += align_up(s->entries[i].length, 8);
    struct raft_entry *made = raft_calloc(s->count, sizeof made[0]);
    uint8_t *batch = raft_malloc(bytes + 8);
    for (size_t i = 0; i < s->count; i++) {
        const struct store_entry *e = &s->entries[i];
        made[i] = (struct raft_entry){.term = e->term,
                                      .type = e->type,
                                      .buf = {.base = batch + at, .len = e->length},
                                      .batch = batch};
        memcpy(batch + at, e->bytes, e->length);
        at += align_up(e->length, 8);
    }
    return made;
}

/* ---- the queue ---- */

static void op_end(struct op *op, int status)
{
    const struct raft_disk *d = control_world->current->disk;
    if (op->kind == OP_APPEND)
        op->append_cb(op->append, status);
    else if (op->kind == OP_PUT)
        op->put_cb(op->put, status);
    else if (op->kind == OP_GET)
        op->get_cb(op->get, status == 0 ? snapshot_make(&d->store->snapshot) : NULL, status);
    control_free(op);
}

static void ops_end(struct op *list, int status)
{
    while (list != NULL) {
        struct op *op = list;
        list = op->next;
        op_end(op, status);
    }
}

static void ops_fail(struct op *list, int status)
{
    struct op *reversed = NULL;
    while (list != NULL) {
        struct op *op = list;
        list = op->next;
        op->next = reversed;
        reversed = op;
    }
    ops_end(reversed, status);
}

static bool is_log(const struct op *op)
{
    return op->kind == OP_APPEND || op->kind == OP_TRUNCATE;
}

static void start_next(struct raft_disk *d);

static bool is_full(const struct control_node *n)
{
    return n->full_until_ns > control_world->now_ns;
}

/* 0, or why the write that is over failed. */
static int write_status(struct raft_disk *d, const struct op *group)
{
    struct control_node *n = &control_world->nodes[control_world->current->node];
    if (group == NULL || group->kind == OP_GET || d->failed != 0)
        return d->failed;
    d->is_full = is_full(n);
    if (d->is_full)
        return RAFT_NOSPACE;
    if (!n->fails_write)
        return 0;
    n->fails_write = false;
    return RAFT_IOERR;
}

static void close_end(struct raft_disk *d)
{
    void (*closed)(void *context) = d->closed;
    void *context = d->context;
    ops_fail(d->waiting, RAFT_CANCELED);
    control_world->current->disk = NULL;
    control_free(d);
    closed(context);
}

static void group_end(struct raft_disk *d, struct op *group, int status)
{
    bool is_fatal =
        group != NULL && (is_log(group) || (group->kind == OP_PUT && group->trailing == 0));
    if (status != 0 && d->failed == 0 && is_fatal) {
        d->failed = status;
        if (d->config.failed != NULL)
            d->config.failed(d->config.context, status);
    }
    if (d->failed == 0) {
        ops_end(group, status);
        return;
    }
    struct op *waiting = d->waiting;
    d->waiting = NULL;
    ops_fail(waiting, d->failed);
    ops_fail(group, d->failed);
}

static void on_synced(const struct control_event *e)
{
    struct raft_disk *d = control_world->current->disk;
    (void)e;
    if (d == NULL)
        return;
    (void)control_records_apply(d->store, d->writing, UINT32_MAX);
    d->writing = NULL;
}

static void on_worked(const struct control_event *e)
{
    struct raft_disk *d = control_world->current->disk;
    struct op *group = d->running;
    int status = write_status(d, group);
    (void)e;
    d->running = NULL;
    if (status != 0)
        /* Some of it may be there all the same. */
        (void)control_records_apply(d->store, d->writing, (uint32_t)control_below(3));
    else if (!PLANTED(RAFT_ACK_BEFORE_SYNC))
        (void)control_records_apply(d->store, d->writing, UINT32_MAX);
    if (status != 0 || !PLANTED(RAFT_ACK_BEFORE_SYNC))
        d->writing = NULL;
    control_trace("wrote to %llu: %d", (unsigned long long)(d->store->first + d->store->count - 1),
                  status);
    group_end(d, group, status);
    d->is_working = false;
    if (d->is_closing) {
        on_synced(e);
        close_end(d);
        return;
    }
    if (d->writing != NULL)
        control_event_own(control_below(10 * NS_PER_MS), on_synced, 0);
    start_next(d);
}

static void start_next(struct raft_disk *d)
{
    struct control_node *n = &control_world->nodes[control_world->current->node];
    struct op *last = d->waiting;
    if (last == NULL)
        return;
    while (is_log(d->waiting) && last->next != NULL && is_log(last->next))
        last = last->next;
    d->running = d->waiting;
    d->waiting = last->next;
    last->next = NULL;
    d->is_working = true;
    /* What a planted bug has acknowledged and not yet synced goes first. */
    (void)control_records_apply(d->store, d->writing, UINT32_MAX);
    d->writing = records_of(d->running);
    uint64_t ns = 100000 + control_below(control_chance(5) ? 20 * NS_PER_MS : 1500000);
    if (n->slow_until_ns > control_world->now_ns)
        ns += control_below(100 * NS_PER_MS);
    control_event_own(ns, on_worked, 0);
    control_fault_writing(n, ns);
}

static int queue(struct raft_disk *d, const struct op *model)
{
    struct op **at = &d->waiting;
    if (d->is_closing)
        return RAFT_CANCELED;
    while (*at != NULL)
        at = &(*at)->next;
    *at = control_malloc(sizeof **at);
    **at = *model;
    if (!d->is_working)
        start_next(d);
    return 0;
}

/* ---- what the product asks for ---- */

int raft_disk_open(struct raft_disk **disk, const struct raft_disk_config *config)
{
    struct control_process *p = control_world->current;
    const struct control_node *n = &control_world->nodes[p->node];
    if (is_full(n))
        return -ENOSPC;
    ASSERT(p->disk == NULL);
    p->disk = control_calloc(1, sizeof *p->disk);
    p->disk->config = *config;
    p->disk->store = n->store;
    *disk = p->disk;
    return 0;
}

/* An installed snapshot may be there, and the log that it replaces, too. */
static bool log_fits(const struct control_store *s)
{
    if (s->first == s->snapshot.index + 1)
        return true;
    return s->snapshot.index >= s->first && s->snapshot.index - s->first < s->count &&
           s->entries[s->snapshot.index - s->first].term == s->snapshot.term;
}

/* NOLINTNEXTLINE(readability-function-size): as libraft's load */
int raft_disk_load(struct raft_disk *d, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry **entries, size_t *n_entries)
{
    struct control_store *s = d->store;
    if (s->snapshot.index != 0 && !log_fits(s))
        control_log_reset(s, s->snapshot.index + 1);
    if (s->count != 0 && s->entries[s->count - 1].term > s->term)
        control_break("no entry is newer than the term", "%llu", (unsigned long long)s->term);
    *term = s->term;
    *voted_for = s->vote;
    *snapshot = snapshot_make(&s->snapshot);
    *start_index = s->first;
    *entries = entries_make(s);
    *n_entries = s->count;
    return 0;
}

int raft_disk_look(struct raft_disk *d)
{
    (void)d;
    return 0;
}

int raft_disk_bootstrap(struct raft_disk *d, const struct raft_configuration *conf)
{
    struct control_store *s = d->store;
    struct raft_buffer encoded;
    if (s->term != 0)
        return RAFT_CANTBOOTSTRAP;
    ASSERT(raft_configuration_encode(conf, &encoded) == 0);
    const struct store_entry e = {.term = 1,
                                  .type = RAFT_CHANGE,
                                  .length = encoded.len,
                                  .bytes = control_copy(encoded.base, encoded.len)};
    raft_free(encoded.base);
    control_entry_add(s, &e);
    s->term = 1;
    return 0;
}

int raft_disk_recover(struct raft_disk *d, const struct raft_configuration *conf)
{
    (void)d;
    (void)conf;
    return RAFT_INVALID; /* nobody asks for it */
}

static int meta_status(struct raft_disk *d)
{
    d->is_full = is_full(&control_world->nodes[control_world->current->node]);
    return d->is_full && control_chance(50) ? RAFT_NOSPACE : 0; /* there is some in reserve */
}

int raft_disk_set_term(struct raft_disk *d, raft_term term)
{
    int code = meta_status(d);
    if (code != 0)
        return code;
    d->store->term = term;
    d->store->vote = 0;
    return 0;
}

int raft_disk_set_vote(struct raft_disk *d, raft_id server)
{
    int code = meta_status(d);
    if (code == 0)
        d->store->vote = server;
    return code;
}

int raft_disk_append(struct raft_disk *d, struct raft_io_append *req,
                     const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    return queue(
        d, &(struct op){
               .kind = OP_APPEND, .append = req, .append_cb = cb, .entries = entries, .count = n});
}

int raft_disk_truncate(struct raft_disk *d, raft_index index)
{
    return queue(d, &(struct op){.kind = OP_TRUNCATE, .index = index});
}

int raft_disk_snapshot_put(struct raft_disk *d, unsigned trailing, struct raft_io_snapshot_put *req,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    return queue(
        d,
        &(struct op){
            .kind = OP_PUT, .put = req, .put_cb = cb, .snapshot = snapshot, .trailing = trailing});
}

int raft_disk_snapshot_get(struct raft_disk *d, struct raft_io_snapshot_get *req,
                           raft_io_snapshot_get_cb cb)
{
    return queue(d, &(struct op){.kind = OP_GET, .get = req, .get_cb = cb});
}

raft_term raft_disk_term(const struct raft_disk *d)
{
    return d->store->term;
}

bool raft_disk_is_new(const struct raft_disk *d)
{
    const struct control_store *s = d->store;
    return s->term <= 1 && s->vote == 0 && s->first + s->count <= 2;
}

const char *raft_disk_error(const struct raft_disk *d)
{
    return d->is_full ? "the simulated disk is full" : "the simulated disk fails";
}

bool raft_disk_is_full(const struct raft_disk *d)
{
    return d->is_full;
}

void raft_disk_close(struct raft_disk *d, void (*closed)(void *context), void *context)
{
    d->closed = closed;
    d->context = context;
    d->is_closing = true;
    if (d->is_working)
        return;
    d->is_working = true;
    control_event_own(control_below(NS_PER_MS), on_worked, 0);
}
