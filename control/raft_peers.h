/* raft_peers - with whom a node has links of the control plane, and what nodes tell each other when they meet or
 * something of it changes: the HELLO of raft_node.h.
 *
 * Peers are the members of the configuration, the nodes of the state, and those of libraft's configuration, which knows
 * where the added ones live: without them nothing may be applied that the state could say it by; who is neither any more stays one for
 * RAFT_PEERS_GONE_NS, to be told.  Addresses are those of the state, else of the configuration.
 *
 *   places            of nodes that were added: who was away finds those that lead by now
 *   empty directory   begins the log of a new cluster when every member has said that its own is new, and that its
 *                     configuration lists the same members: the first entry of the log is that list.  One that was
 *                     added lists others than those that began, and so is none of a new cluster for them, should one
 *                     of them have lost its directory.  Joins a cluster that has begun when libraft's leader says that it was added to it, and has not come yet;
 *                     takes no part when the leader knows a start of it, or somebody else does and no leader says
 *                     more for RAFT_PEERS_LOST_NS.  Why the leader: what others have not learned
 *                     yet may be that it came, was made a voter, and lost its directory
 *   removed           libraft's leader, whose state is newer than ours, knows no such node.  Who still votes in the
 *                     log goes on until it does not: those that stay may need its vote to take it away
 *   format            of commands (coordinator_command.h): the oldest that a node of the state has named, of those
 *                     that we met.  Why not of all: who is gone for good could not be removed
 *
 * On the mesh: struct raft_peers_hello, in the byte order of the machines that it runs on; more may follow.
 *
 * Thread: the loop's. */
#ifndef DUNLIN_CONTROL_RAFT_PEERS_H
#define DUNLIN_CONTROL_RAFT_PEERS_H

#include "control/control_net.h"
#include "control/coordinator_state.h"
#include "control/raft_node.h"
#include "control/raft_roster.h"

#define RAFT_PEERS_GONE_NS (60 * NS_PER_S)
#define RAFT_PEERS_LOST_NS (5 * NS_PER_S) /* that somebody may yet say that we were added */

enum raft_peers_known {
    RAFT_PEERS_UNKNOWN =
        0, /* there is no state yet, the cluster has not begun, or it is not ours to say */
    RAFT_PEERS_NO_NODE = 1,   /* it has, and has no such node */
    RAFT_PEERS_ADDED = 2,     /* it has the node, which has not come yet */
    RAFT_PEERS_REGISTERED = 3 /* start_known is its start */
};

/* Where an added node lives. */
struct raft_peers_place {
    uint32_t node; /* 0: none */
    char address[COORDINATOR_ADDRESS_BYTES];
};

struct raft_peers_hello {
    uint64_t was_new;     /* 1: the directory was, when it started */
    uint64_t start_known; /* of who is told, as the log has it; 0: none */
    uint64_t revision;    /* of the state that says so */
    uint32_t known;       /* enum raft_peers_known, of who is told */
    uint32_t format;      /* of commands, the newest known */
    uint64_t leads;       /* 1: it is libraft's leader, and knows all that was decided */
    struct raft_peers_place places[LIMIT_VOTERS];
    uint32_t unused; /* 0 */
    uint64_t
        members; /* of the configuration, a number that no other list of them has; 0: of a release before */
};

enum raft_peers_verdict {
    RAFT_PEERS_WAIT = 0,
    RAFT_PEERS_BEGIN, /* the cluster is new */
    RAFT_PEERS_JOIN,  /* it is not, and we were added */
    RAFT_PEERS_LOST,  /* it is not, and what we promised is gone */
};

struct raft_peer {
    uint32_t node; /* 0: free */
    bool is_heard; /* while we are held: its directory is new, its list of members ours */
    bool was_told;
    struct raft_peers_hello told; /* as we said it last, on the link that is up */
    uint32_t format;              /* that it named; 0: not met */
    uint64_t gone_ns;             /* since when it is none; 0: it is one */
    uint64_t revision;            /* of the state by which somebody told us of it; 0: nobody did */
    struct sockaddr_storage address;
};

struct raft_peers {
    const struct raft_node_config *config;
    struct control_net *net;
    uint8_t type; /* of its messages on the mesh */
    bool is_held; /* the directory is empty, and we wait: the caller's */
    bool was_new; /* it was, when we started: likewise */
    /* internal */
    uint64_t members;        /* as in the hello */
    uint64_t revision;       /* of our own state */
    uint64_t revision_named; /* newest state known to have us */
    uint64_t revision_said;  /* newest of which libraft's leader told us what it knows */
    /* Somebody else knew that the cluster is not new, since then; 0: nobody, or the leader's word is newer. */
    uint64_t suspect_ns, revision_suspect;
    uint32_t lost_peer, no_node_peer;
    uint32_t differs_peer; /* its directory is new, and it lists others than we do; 0: nobody */
    bool is_joining, is_lost, is_removed, is_no_node;
    struct raft_peer peers[LIMIT_NODES];
};

/* The caller filled what is not internal, all else is zero; the net has the members as its peers. */
void raft_peers_init(struct raft_peers *p);

/* A link went up, or down. */
void raft_peers_link(struct raft_peers *p, uint32_t node);
/* Of the type. */
void raft_peers_received(struct raft_peers *p, uint32_t node, const uint8_t *bytes, size_t length,
                         uint64_t now);
struct raft_peers_now {
    uint64_t now_ns;
    const struct coordinator_state *state;   /* NULL: none yet */
    const struct raft_roster_voters *voters; /* of the log; NULL: libraft is away */
    const struct raft_configuration *log;    /* likewise: all who take part */
    bool leads; /* we are libraft's leader, and have applied what those before us had decided */
};
/* When the state has changed, and now and then: links, and what is said. */
void raft_peers_follow(struct raft_peers *p, const struct raft_peers_now *now);

/* While we are held. */
enum raft_peers_verdict raft_peers_verdict(const struct raft_peers *p, uint64_t now);

/* Newest format that every node of the state knows, as the head of this file says. */
uint32_t raft_peers_format(const struct raft_peers *p, const struct coordinator_state *s);

#endif
