/* raft_instance - libraft on this node: started, looked after, started again when it cannot go on, ended.
 *
 * libraft gives up (RAFT_UNAVAILABLE) when its disk fails it; what it holds in memory is then not to be
 * trusted, so it is closed, and a new one reads the disk: once a second, until that works.
 *
 * Log events: control_failed, control_disk_full, control_disk_back; raft_node.h has their fields.
 *
 * Thread: the loop's; open may be called before the loop runs. */
#ifndef DUNLIN_CONTROL_RAFT_INSTANCE_H
#define DUNLIN_CONTROL_RAFT_INSTANCE_H

#include "control/raft_body.h"
#include "control/raft_machine.h"
#include "control/raft_node.h"
#include "control/raft_proposals.h"
#include "control/raft_roster.h"

struct raft_instance {
    const struct raft_node_config *config;
    uv_loop_t *loop;
    struct control_net *net;
    uint8_t type; /* of its messages on the mesh */
    struct raft_proposals *proposals;
    struct raft_machine machine; /* raft_machine_init was called */
    /* internal */
    uv_timer_t timer; /* until it is tried again, or a hand-over is late */
    struct raft_body body;
    struct raft raft;
    struct raft_barrier barrier;
    struct raft_transfer transfer;
    struct raft_roster roster;
    bool has_timer, has_raft, has_failed, is_held, is_closing, is_ending;
    bool has_barrier, wants_barrier;
    uint64_t
        leader_seen_ns; /* by clock_boottime_ns, or when it asked for votes in earnest; 0: not yet */
    raft_index index_first; /* while it leads: its first entry; 0: it does not */
    bool is_full;           /* the disk: said, and not back */
    void (*ended)(void *context);
    void *context;
};

/* The caller filled what is not internal, all else is zero.  Returns 0, or -errno as raft_node_open says; end it
 * in either case. */
MUST_USE int raft_instance_open(struct raft_instance *i);

/* Of the type. */
void raft_instance_received(struct raft_instance *i, uint32_t node, const uint8_t *bytes,
                            size_t length);

/* One that begins on an empty directory takes no part before this: raft_node.h says why.  Whether it waits for
 * it: i->is_held.  joins: the cluster is not new, and its leader feeds this one. */
void raft_instance_release(struct raft_instance *i, bool joins);

/* While it waits: its directory never had anything. */
bool raft_instance_is_pristine(const struct raft_instance *i);

/* Have members and voters changed as the state says, if it leads; now and then. */
void raft_instance_change(struct raft_instance *i, uint64_t now_ns);
/* Whether that may be asked of the log now, while it leads.  An id may be added that is not in libraft's
 * configuration any more, which knows what the one before held.  Of those who vote in the log the next one may
 * be removed when the one before votes no more: the others are a majority.  And one that is being made a voter
 * (raft_roster.h) when that is over. */
bool raft_instance_may_change(struct raft_instance *i, const struct coordinator_node_asked *asked);

/* The connection to a node has ended. */
void raft_instance_lost(struct raft_instance *i, uint32_t node);

/* Who votes; false: libraft is away. */
bool raft_instance_voters(const struct raft_instance *i, struct raft_roster_voters *voters);

/* With every turn of the loop, and from nowhere else: what has failed is closed. */
void raft_instance_look(struct raft_instance *i);

/* With every turn of the loop; applied: something was since.  A leader appends an entry that says nothing when it
 * begins, which is its first, and when something was applied: others learn what is committed with the next entry,
 * or with the next heartbeat, which is later. */
void raft_instance_lead(struct raft_instance *i, bool applied);

/* It sent something since the last call: what goes to the same nodes now wakes nobody for itself. */
bool raft_instance_has_sent(struct raft_instance *i);
/* How long to wait with what is due at that time of clock_boottime_ns, so that it goes with a heartbeat: a leader's are
 * known before. */
uint64_t raft_instance_beat_ms(struct raft_instance *i, uint64_t next_ns);

/* Whom this node follows, itself included; 0: nobody. */
uint32_t raft_instance_leader(struct raft_instance *i);
bool raft_instance_leads(struct raft_instance *i);

/* Hand leadership over, if it leads and another voter is there, and close.  ended is called once, from the
 * loop or from within. */
void raft_instance_end(struct raft_instance *i, void (*ended)(void *context), void *context);

#endif
