/* raft_body - the raft_io that libraft runs on: a disk (raft_disk.h), a mesh of connections
 * (control_net.h) and timers of a uv loop.
 *
 * A body lives as long as one instance of raft: raft_close closes its disk, too.  The mesh is borrowed, and
 * goes on: whoever owns it gives the body what arrives for it.
 *
 * What libraft 0.15 answers to entries, or to a heartbeat, is its own last index, whatever stands behind those that
 * it was asked about; and the leader takes that many for its own.  What stands there may be of an older term and
 * of somebody else: so a leader could commit what nobody else holds.  The body tells no more than up to where the
 * leader of this term has shown to agree.
 *   Told to stand for election at once (TIMEOUT_NOW), it frees what it never had if the new term cannot be written.  The
 * body says then that it was, sends nothing any more and sets has_failed: whoever owns it closes it.
 *
 *   libraft asks for a tick in each of its heartbeat timeouts.  A follower that hears of its leader has nothing to do in
 * one: its tick comes when it is to stand for election, and not some time after it.  A leader is ticked in every other
 * one, so that each tick finds all of them due, whatever went out since the one before: heartbeats are twice the timeout
 * apart, and go to all followers at once.  has_sent is for the owner, who may send more with it.
 *   When leaders are silent, voters stand for election one after the other, in the order of the configuration, between one
 * and two election timeouts later: nobody is elected before a majority has given up its leader, and two that ask at the
 * same time get half of the votes each.
 *
 *   What it gets wrong about configurations that change, raft_repair.h puts right.
 *
 * Thread: the loop's.
 * Source: Ongaro (2014), 3.5: what matches is what was sent; raft.h, struct raft_io. */
#ifndef DUNLIN_CONTROL_RAFT_BODY_H
#define DUNLIN_CONTROL_RAFT_BODY_H

#include "control/control_net.h"
#include "control/raft_disk.h"
#include "control/raft_repair.h"

#include <raft.h>
#include <uv.h>

struct raft_body {
    struct raft_io io; /* for raft_init */
    struct raft_disk *disk;
    struct control_net *net;
    uint8_t type;    /* of its messages on the mesh */
    bool is_mute;    /* set: nothing is sent any more */
    bool has_failed; /* to be closed */
    bool is_urged;   /* TIMEOUT_NOW is being received */
    bool is_earnest; /* set: the next round of a candidate is no question whether it would win */
    raft_term term_agreed;
    raft_index index_agreed; /* the log is that of the leader of that term, up to here */
    bool is_refused;         /* what is being received */
    struct raft_repair repair;
    uv_timer_t tick;
    unsigned period_ms; /* libraft's heartbeat timeout */
    bool has_looked;    /* for what its leader may have sent; a tick is due */
    bool has_sent;
    struct raft_body_sending
        *sending; /* messages that the mesh has, and of which libraft waits to hear */
    raft_io_tick_cb on_tick;
    raft_io_recv_cb on_receive; /* NULL: not started, or closed */
    raft_io_close_cb on_close;
};

/* disk is the body's from here on, net is not.  type: of messages on the mesh, for raft_body_received. */
void raft_body_init(struct raft_body *b, uv_loop_t *loop, struct raft_disk *disk,
                    struct control_net *net, uint8_t type);

/* A message of that type came from a node.  Bytes that are not one are dropped: returns -EBADMSG, or
 * -ENOMEM, or 0. */
MUST_USE int raft_body_received(struct raft_body *b, uint32_t node, const uint8_t *bytes,
                                size_t length);

/* The connection to a node has ended, perhaps with the node: a leader at its end counts as silent for an election timeout
 * by now, until it is heard of again.  If it lives, the others say so, and nobody is elected. */
void raft_body_lost(struct raft_body *b, uint32_t node);

/* How long after a tick the next one comes, while it does more than to wait for a leader. */
uint64_t raft_body_tick_ms(const struct raft_body *b);

/* What raft knows a node as. */
#define RAFT_BODY_ADDRESS_BYTES 12u
void raft_body_address(char address[RAFT_BODY_ADDRESS_BYTES], uint32_t node);

#endif
