/* raft_node - one node's part in the control log of its cluster: libraft, its disk, its connections and its
 * leader leases, on a uv loop of their own in a thread of their own.
 *
 * Every node of the cluster has the log and applies it to its own coordinator_state; a few, the control
 * voters, decide what is in it.  The daemon's control thread takes the newest state here, and asks for
 * commands; the thread of this module waits for no lcore and no lcore for it.
 *
 * Leader leases (leader_lease.h) need no entry and no leader: each node asks the voters, and a voter that
 * heard of a node no more says so.  When most voters said so of one, raft's leader proposes that it has
 * failed: what it led is led by others.  Safety does not rest on it, but on seals (DESIGN section 5): to take
 * a node that lives for failed costs a change of leaders, no more.
 *
 * A voter's memory is its directory: one that came back without it could vote twice.  So a node whose directory is
 * empty takes no part before every other node has told it that the cluster is as new as that; if one knows
 * better, its start is refused.  Not known: that it took part in the first moments of a cluster, before others had
 * learned that it is registered.  One that was added to a cluster begins with an empty directory, and is fed by the
 * others (raft_peers.h); also one of an id that was there before.
 *
 * Who takes part in the log, and who votes, follows the nodes of the state: raft_roster.h.  The members of the
 * configuration say so for a new cluster alone, and where nodes live of which the state does not say it.
 *
 * Log events:
 *   control_leader id term           whom this node follows; id 0: nobody, commands wait
 *   control_failed error help        libraft or its disk cannot go on: tried again every second
 *   control_disk_full directory help, control_disk_back directory
 *   control_lost directory peer help  its directory is empty, and the cluster is not new
 *   control_members_differ peer help  both directories are empty, and the configurations list other members
 *   control_removed directory peer help  the cluster does not have this node any more
 *   those of raft_roster.h
 *   node_failed id start shards      raft's leader found a node's lease over; so many shards move
 *
 * Threads: the functions are for one thread, the daemon's control; their own thread runs the loop.
 * Memory order: what both share is behind one mutex, or in the descriptor that wakes control.
 * Source: Ongaro, Ousterhout, "In Search of an Understandable Consensus Algorithm" (USENIX ATC 2014), by
 * libraft; Burrows, "The Chubby lock service" (OSDI 2006), for leases from the memory of voters. */
#ifndef DUNLIN_CONTROL_RAFT_NODE_H
#define DUNLIN_CONTROL_RAFT_NODE_H

#include "control/coordinator_command.h"
#include "control/health.h"

#include <stdio.h>
#include <sys/socket.h>

#define RAFT_NODE_SUBMIT_NS NS_PER_S /* a submitted command is given up after this */

struct raft_node;
struct secret_exchange;

struct raft_node_member {
    uint32_t node;
    bool is_voter; /* of the control log of a new cluster */
    struct sockaddr_storage address;
};

struct raft_node_config {
    uint32_t node; /* own id, one of members */
    uint64_t start;
    uint64_t cluster;         /* id, for what is on the disk */
    const char *cluster_name; /* for certificates */
    const char *directory;
    const char *certificate_path, *key_path, *authority_path;
    uint32_t member_count; /* 2 .. LIMIT_VOTERS */
    struct raft_node_member members[LIMIT_VOTERS];
    uint64_t lease_ns;
    uint64_t lease_max_ns;  /* of any node at any time: what a voter that restarted waits */
    uint64_t silent_ns_max; /* of the data plane of a node: more is not heard */
    /* What the data plane of this node says of the others, for the report that travels with an ask.  From the
     * loop's thread; NULL: it says nothing. */
    void (*evidence)(void *context, struct health_report *report);
    void *context;
    /* Works on the loop's thread, from open to close; NULL: no frame's secrets come over this node's connections.  A
     * reload of certificates renews them. */
    struct secret_exchange *secrets;
};

/* What is in config is copied.  Faults of files are lines on errors.  Returns 0, or with nothing left behind
 *   -EINVAL    members, ids
 *   -EBUSY     another process has the directory
 *   -EBADMSG   the directory is another cluster's or node's, or damaged: the log says where
 *   another -errno of files, sockets and threads. */
MUST_USE int raft_node_open(struct raft_node **n, const struct raft_node_config *config,
                            FILE *errors);

/* Readable when there is a newer state, or a submitted command has ended. */
int raft_node_fd(const struct raft_node *n);
/* The newest state since the last call, the caller's to free(); NULL: no newer one. */
struct coordinator_state *raft_node_take(struct raft_node *n);

/* Have a command applied, sometime.  Returns 0, -EBUSY (one is under way: when that one has ended, raft_node_fd
 * is readable), or -ENOMEM. */
MUST_USE int raft_node_submit(struct raft_node *n, const struct coordinator_command *command);

/* The same, and wait: returns as coordinator_command_apply, or -ETIMEDOUT: whether it was or will be applied
 * is not known; -EBADMSG: the control leader is of a release that does not know it; -ENOMEM. */
MUST_USE int64_t raft_node_ask(struct raft_node *n, const struct coordinator_command *command,
                               uint32_t wait_ms);

struct raft_node_shown {
    uint32_t leader; /* 0: none is known */
    uint64_t term, applied;
    bool is_voter, is_full;
    bool is_lost;            /* control_lost was said: this start is over */
    bool is_removed;         /* control_removed was: likewise */
    uint32_t no_node_peer;   /* who said last that the cluster has no such node; 0: nobody */
    uint64_t lease_until_ns; /* of the leader lease, by clock_boottime_ns; 0: none */
    uint32_t connected;      /* other nodes */
    uint64_t turned_ns; /* when its thread last made a turn, by clock_boottime_ns; 0: not yet */
};
void raft_node_shown(struct raft_node *n, struct raft_node_shown *shown);

/* Read the certificates anew, on the loop, and wait for that: as control_net_reload. */
MUST_USE int raft_node_reload(struct raft_node *n, FILE *errors);

/* shown's lease_until_ns, for any thread; good as long as n. */
const _Atomic uint64_t *raft_node_lease(const struct raft_node *n);

/* Control leadership goes to another voter first, if there is one.  n may be NULL. */
void raft_node_close(struct raft_node *n);

#endif
