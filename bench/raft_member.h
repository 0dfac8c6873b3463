/* raft_member - one server of the libraft baselines: what libraft asks of its I/O, but for sending, and
 * the state machine.  The log that libraft keeps in memory is the log: nothing is written, and snapshots,
 * which it needs to trim that log, cost nothing but their bookkeeping.
 *
 * Who has one sends its messages (io.send, set before raft_member_start), moves its clock, ticks it, and
 * completes what it asked for: libraft wants each callback after the call that asked has returned. */
#ifndef DUNLIN_BENCH_RAFT_MEMBER_H
#define DUNLIN_BENCH_RAFT_MEMBER_H

#include "bench/raft_table.h"

#include <raft.h>

#define RAFT_MEMBERS 3u
#define RAFT_PENDING_MAX 256u

enum raft_pending_kind { RAFT_PENDING_SEND, RAFT_PENDING_APPEND, RAFT_PENDING_SNAPSHOT };

/* What libraft asked of its I/O, to be completed once it has returned. */
struct raft_pending {
    enum raft_pending_kind kind;
    void *request;
    void (*callback)(void); /* of the kind's type */
};

struct raft_member {
    struct raft raft;
    struct raft_io io; /* its impl is the member */
    struct raft_fsm fsm;
    struct raft_table *table;
    uint32_t number; /* from 0; the first leads, as its elections wait the shortest */
    uint64_t now_ms; /* libraft's clock */
    char address[4];
    struct raft_buffer configuration; /* entry 1 */
    raft_io_tick_cb tick;
    raft_io_recv_cb receive;
    raft_io_close_cb closed; /* NULL: it is not being closed */
    uint32_t tick_ms;
    struct raft_pending pending[RAFT_PENDING_MAX];
    uint32_t pending_count;
};

/* A zeroed member; the table outlives it.  io.send is the caller's to set then. */
void raft_member_init(struct raft_member *m, uint32_t number, struct raft_table *table);

/* With all of RAFT_MEMBERS as voters.  Returns 0, -ENOMEM or -EPROTO. */
MUST_USE int raft_member_start(struct raft_member *m);

static inline struct raft_member *raft_member_of(const struct raft_io *io)
{
    return io->impl;
}

void raft_member_pend(struct raft_member *m, enum raft_pending_kind kind, void *request,
                      void (*callback)(void));
/* Tell libraft that it is done. */
void raft_pending_done(const struct raft_pending *p);

/* A batch of commands in memory that raft_apply takes over.  Returns 0 or -ENOMEM. */
MUST_USE int raft_member_buffers(struct raft_buffer *buffers, const struct raft_command *commands,
                                 uint32_t count);

#endif
