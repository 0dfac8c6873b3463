#include "control/raft_disk_queue.h"
#include "control/raft_disk_snapshot.h"

#include <stdlib.h>
#include <string.h>

int raft_disk_said(struct raft_disk *d, const struct raft_disk_files *files, int code)
{
    if (code != 0)
        memcpy(d->fault, files->fault, sizeof d->fault);
    if (code == 0 || code == RAFT_NOSPACE)
        d->is_full = code == RAFT_NOSPACE;
    return code;
}

const char *raft_disk_error(const struct raft_disk *d)
{
    return d->fault;
}

bool raft_disk_is_full(const struct raft_disk *d)
{
    return d->is_full;
}

/* ---- metadata ---- */

int raft_disk_set_term(struct raft_disk *d, raft_term term)
{
    return raft_disk_said(d, &d->loop_files, raft_disk_meta_write(&d->meta, term, 0));
}

raft_term raft_disk_term(const struct raft_disk *d)
{
    return d->meta.now.term;
}

int raft_disk_set_vote(struct raft_disk *d, raft_id server)
{
    return raft_disk_said(d, &d->loop_files,
                          raft_disk_meta_write(&d->meta, d->meta.now.term, server));
}

/* ---- callbacks ---- */

static void op_end(struct raft_disk_op *op, int status)
{
    switch (op->kind) {
    case RAFT_DISK_OP_APPEND:
        op->append.callback(op->append.request, status);
        break;
    case RAFT_DISK_OP_PUT:
        op->put.callback(op->put.request, status);
        break;
    case RAFT_DISK_OP_GET:
        if (status != 0)
            raft_disk_snapshot_free(op->get.snapshot);
        op->get.callback(op->get.request, status == 0 ? op->get.snapshot : NULL, status);
        break;
    case RAFT_DISK_OP_TRUNCATE:
        break;
    case RAFT_DISK_OP_RESERVE:
    case RAFT_DISK_OP_NOTHING:
        return; /* not allocated */
    }
    free(op);
}

static void ops_end(struct raft_disk_op *list, int status)
{
    while (list != NULL) {
        struct raft_disk_op *op = list;
        list = op->next;
        op_end(op, status);
    }
}

static struct raft_disk_op *ops_reversed(struct raft_disk_op *list)
{
    struct raft_disk_op *reversed = NULL;
    while (list != NULL) {
        struct raft_disk_op *op = list;
        list = op->next;
        op->next = reversed;
        reversed = op;
    }
    return reversed;
}

static struct raft_disk_op *waiting_take(struct raft_disk *d)
{
    struct raft_disk_op *list = d->waiting;
    d->waiting = d->waiting_last = NULL;
    return list;
}

/* Newest first: raft_disk.h. */
static void all_fail(struct raft_disk *d, struct raft_disk_op *running, int status)
{
    struct raft_disk_op *waiting = waiting_take(d);
    ops_end(ops_reversed(waiting), status);
    ops_end(ops_reversed(running), status);
}

/* ---- the queue ---- */

static bool is_write_of_log(const struct raft_disk_op *op)
{
    return op->kind == RAFT_DISK_OP_APPEND || op->kind == RAFT_DISK_OP_TRUNCATE;
}

/* The first that waits, with all that follow it and can be of the same write. */
static struct raft_disk_op *group_take(struct raft_disk *d)
{
    struct raft_disk_op *first = d->waiting, *last = first;
    while (is_write_of_log(first) && last->next != NULL && is_write_of_log(last->next))
        last = last->next;
    d->waiting = last->next;
    if (d->waiting == NULL)
        d->waiting_last = NULL;
    last->next = NULL;
    return first;
}

static void worked(uv_work_t *work, int status);

static void on_worker(uv_work_t *work)
{
    raft_disk_work(work->data);
}

static void start(struct raft_disk *d, struct raft_disk_op *group)
{
    d->running = group;
    d->is_working = true;
    d->work.data = d;
    int rc = uv_queue_work(d->config.loop, &d->work, on_worker, worked);
    ASSERT(rc == 0); /* it refuses a call without a function alone */
}

static void start_own(struct raft_disk *d, enum raft_disk_op_kind kind)
{
    d->own = (struct raft_disk_op){.kind = kind};
    start(d, &d->own);
}

static void start_next(struct raft_disk *d)
{
    if (d->waiting != NULL)
        start(d, group_take(d));
    else if (d->log.wants_reserve && d->failed == 0)
        start_own(d, RAFT_DISK_OP_RESERVE);
}

static void finish(struct raft_disk *d)
{
    void (*closed)(void *context) = d->closed;
    void *context = d->closed_context;
    all_fail(d, NULL, RAFT_CANCELED);
    raft_disk_free(d);
    closed(context);
}

/* An own snapshot that could not be written leaves the log as it was. */
static bool is_fatal(const struct raft_disk_op *op)
{
    return is_write_of_log(op) || (op->kind == RAFT_DISK_OP_PUT && op->put.trailing == 0);
}

static void worked(uv_work_t *work, int status)
{
    struct raft_disk *d = work->data;
    struct raft_disk_op *group = d->running;
    int code = d->work_status;
    (void)status; /* never cancelled */
    d->running = NULL;
    d->is_working = false;
    if (d->failed == 0 && group->kind != RAFT_DISK_OP_NOTHING && group->kind != RAFT_DISK_OP_GET)
        (void)raft_disk_said(d, &d->work_files, code);
    else if (d->failed == 0 && code != 0)
        memcpy(d->fault, d->work_files.fault, sizeof d->fault);
    if (code != 0 && d->failed == 0 && is_fatal(group)) {
        d->failed = code;
        if (d->config.failed != NULL)
            d->config.failed(d->config.context, code);
    }
    /* Why it is marked as working: a callback that asks for more must not start it. */
    d->is_working = true;
    if (d->failed != 0)
        all_fail(d, group, d->failed);
    else
        ops_end(group, code);
    d->is_working = false;
    if (d->is_closing)
        finish(d);
    else
        start_next(d);
}

static int queue(struct raft_disk *d, const struct raft_disk_op *model)
{
    if (d->is_closing)
        return RAFT_CANCELED;
    struct raft_disk_op *op = malloc(sizeof *op);
    if (op == NULL)
        return RAFT_NOMEM;
    *op = *model;
    if (d->waiting_last != NULL)
        d->waiting_last->next = op;
    else
        d->waiting = op;
    d->waiting_last = op;
    if (!d->is_working)
        start_next(d);
    return 0;
}

/* ---- what is asked for ---- */

int raft_disk_append(struct raft_disk *d, struct raft_io_append *req,
                     const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    const struct raft_disk_op op = {
        .kind = RAFT_DISK_OP_APPEND,
        .append = {.request = req, .callback = cb, .entries = entries, .count = n}};
    for (unsigned i = 0; i < n; i++) {
        if (entries[i].buf.len > RAFT_DISK_ENTRY_MAX)
            return RAFT_TOOBIG;
    }
    return queue(d, &op);
}

int raft_disk_truncate(struct raft_disk *d, raft_index index)
{
    const struct raft_disk_op op = {.kind = RAFT_DISK_OP_TRUNCATE, .truncate = index};
    ASSERT(index != 0);
    return queue(d, &op);
}

int raft_disk_snapshot_put(struct raft_disk *d, unsigned trailing, struct raft_io_snapshot_put *req,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    const struct raft_disk_op op = {
        .kind = RAFT_DISK_OP_PUT,
        .put = {.request = req, .callback = cb, .snapshot = snapshot, .trailing = trailing}};
    return raft_disk_snapshot_bytes(snapshot) > RAFT_DISK_SNAPSHOT_MAX ? RAFT_TOOBIG
                                                                       : queue(d, &op);
}

int raft_disk_snapshot_get(struct raft_disk *d, struct raft_io_snapshot_get *req,
                           raft_io_snapshot_get_cb cb)
{
    const struct raft_disk_op op = {.kind = RAFT_DISK_OP_GET,
                                    .get = {.request = req, .callback = cb}};
    return queue(d, &op);
}

void raft_disk_close(struct raft_disk *d, void (*closed)(void *context), void *context)
{
    d->closed = closed;
    d->closed_context = context;
    d->is_closing = true;
    if (!d->is_working)
        start_own(d, RAFT_DISK_OP_NOTHING);
}
