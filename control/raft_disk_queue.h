/* raft_disk_queue - what raft_disk is inside: operations that wait for a worker, and the one that runs.
 *
 * Thread: the loop's, but for raft_disk_work, which a thread of libuv's pool runs: meanwhile log, work_files
 * and the operations in `running` are its own, and the loop leaves them alone.  At most one runs. */
#ifndef DUNLIN_CONTROL_RAFT_DISK_QUEUE_H
#define DUNLIN_CONTROL_RAFT_DISK_QUEUE_H

#include "control/raft_disk.h"
#include "control/raft_disk_log.h"
#include "control/raft_disk_meta.h"

enum raft_disk_op_kind {
    RAFT_DISK_OP_APPEND,
    RAFT_DISK_OP_TRUNCATE,
    RAFT_DISK_OP_PUT,
    RAFT_DISK_OP_GET,
    RAFT_DISK_OP_RESERVE, /* make the next segment, when nothing else waits */
    RAFT_DISK_OP_NOTHING, /* come back to the loop */
};

struct raft_disk_op {
    struct raft_disk_op *next;
    enum raft_disk_op_kind kind;
    union {
        struct {
            struct raft_io_append *request;
            raft_io_append_cb callback;
            const struct raft_entry *entries;
            unsigned count;
        } append;
        raft_index truncate;
        struct {
            struct raft_io_snapshot_put *request;
            raft_io_snapshot_put_cb callback;
            const struct raft_snapshot *snapshot;
            unsigned trailing;
        } put;
        struct {
            struct raft_io_snapshot_get *request;
            raft_io_snapshot_get_cb callback;
            struct raft_snapshot *snapshot;
        } get;
    };
};

struct raft_disk {
    struct raft_disk_config config; /* its directory is path */
    char *path;
    int lock_fd;
    struct raft_disk_files loop_files, work_files;
    struct raft_disk_meta meta;
    int meta_status; /* a RAFT_ code: what opening the metadata ended with */
    struct raft_disk_log log;

    struct raft_disk_op *waiting, *waiting_last;
    struct raft_disk_op *running; /* one, or several that become one write */
    struct raft_disk_op own;      /* RESERVE or NOTHING, while it runs */
    uv_work_t work;
    bool is_working;
    int work_status;
    int failed; /* the RAFT_ code that everything ends with from now on */
    bool is_full;
    char fault[RAFT_DISK_FAULT_BYTES];

    bool is_closing;
    void (*closed)(void *context);
    void *closed_context;
};

/* Remember the text of a failure of the loop's or the worker's files, and what it says about space.  Returns
 * code. */
int raft_disk_said(struct raft_disk *d, const struct raft_disk_files *files, int code);

/* Carry out d->running; d->work_status is what came of it. */
void raft_disk_work(struct raft_disk *d);

/* Let go of files and memory; nothing runs. */
void raft_disk_free(struct raft_disk *d);

#endif
