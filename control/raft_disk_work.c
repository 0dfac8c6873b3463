#include "control/raft_disk_queue.h"
#include "control/raft_disk_snapshot.h"

#include <string.h>

/* Bytes of records that are put together to one write, but for one that is larger by itself. */
#define WRITE_BYTES (UINT32_C(1) << 18)

static int record_add(struct raft_disk_log *l, const struct raft_disk_record *r)
{
    int code = raft_disk_log_add(l, r);
    if (code == 0 && l->payload_length >= WRITE_BYTES)
        code = raft_disk_log_flush(l);
    return code;
}

static int append_add(struct raft_disk_log *l, const struct raft_disk_op *op)
{
    int code = 0;
    for (unsigned i = 0; code == 0 && i < op->append.count; i++) {
        const struct raft_entry *e = &op->append.entries[i];
        const struct raft_disk_record r = {.kind = RAFT_DISK_ENTRY,
                                           .type = e->type,
                                           .term = e->term,
                                           .data = e->buf.base,
                                           .length = (uint32_t)e->buf.len};
        code = record_add(l, &r);
    }
    return code;
}

static int write_all(struct raft_disk_log *l, const struct raft_disk_op *op)
{
    int code = 0;
    for (; code == 0 && op != NULL; op = op->next) {
        const struct raft_disk_record r = {.kind = RAFT_DISK_TRUNCATE, .index = op->truncate};
        if (op->kind == RAFT_DISK_OP_APPEND)
            code = append_add(l, op);
        else if (op->truncate < l->next)
            code = record_add(l, &r);
    }
    return code == 0 ? raft_disk_log_flush(l) : code;
}

static int put(struct raft_disk *d, const struct raft_disk_op *op)
{
    const struct raft_snapshot *s = op->put.snapshot;
    int code = raft_disk_snapshot_write(&d->work_files, s);
    if (code != 0)
        return code;
    if (op->put.trailing != 0)
        return s->index > op->put.trailing
                   ? raft_disk_log_forget(&d->log, s->index - op->put.trailing)
                   : 0;
    const struct raft_disk_record r = {.kind = RAFT_DISK_RESET, .index = s->index + 1};
    code = record_add(&d->log, &r);
    if (code == 0)
        code = raft_disk_log_flush(&d->log);
    return code == 0 ? raft_disk_log_forget(&d->log, s->index) : code;
}

static int get(struct raft_disk *d, struct raft_disk_op *op)
{
    int code = raft_disk_snapshot_read(&d->work_files, &op->get.snapshot);
    return code == 0 && op->get.snapshot == NULL ? RAFT_NOTFOUND : code;
}

void raft_disk_work(struct raft_disk *d)
{
    struct raft_disk_op *op = d->running;
    d->work_status = d->failed;
    if (d->failed != 0)
        return;
    switch (op->kind) {
    case RAFT_DISK_OP_APPEND:
    case RAFT_DISK_OP_TRUNCATE:
        d->work_status = write_all(&d->log, op);
        break;
    case RAFT_DISK_OP_PUT:
        d->work_status = put(d, op);
        break;
    case RAFT_DISK_OP_GET:
        d->work_status = get(d, op);
        break;
    case RAFT_DISK_OP_RESERVE:
        d->log.wants_reserve = false;
        d->work_status =
            raft_disk_files_zeros(&d->work_files, RAFT_DISK_RESERVE, RAFT_DISK_SEGMENT_BYTES);
        break;
    case RAFT_DISK_OP_NOTHING:
        break;
    }
}
