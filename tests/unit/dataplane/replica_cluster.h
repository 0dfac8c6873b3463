/* replica_cluster - up to five replicas of one shard with their groups, a network that keeps order,
 * and a trace of all that they say and of what it changes, as it would stand in a paper.
 *
 * Nothing has a thread or a clock of its own: time moves when a test says so, and every node's clock
 * differs from every other's by far, so that a reading of the wrong one shows.  All that is sent is
 * encoded, and decoded where it arrives.  In the trace LSNs count from the log's origin and times from
 * the test's beginning.  Lines that start with two spaces are what a pass changed at its node. */
#ifndef DUNLIN_TESTS_UNIT_DATAPLANE_REPLICA_CLUSTER_H
#define DUNLIN_TESTS_UNIT_DATAPLANE_REPLICA_CLUSTER_H

#include "dataplane/group.h"
#include "tests/unit/engine/fixture.h"

#define CLUSTER_NODES_MAX 5u
#define CLUSTER_LOG 7u
#define CLUSTER_LETTERS 256u
#define CLUSTER_TRACE_BYTES 16384u

#define CLUSTER_LEASE 1000u
#define CLUSTER_HEARTBEAT 100u
#define CLUSTER_RETRY 40u

struct cluster_config {
    uint32_t node_count;
    bool read_leases;
    bool strangers; /* no pair has exchanged a frame yet */
    bool log_write;
    uint32_t log_write_above;
    uint64_t quota_bytes; /* 0: two MiB, in segments of 64 KiB */
};

/* An epoch that gives up what a lost majority had; its survivors are the voters before that have not
 * restarted. */
struct cluster_lossy {
    uint64_t epoch;
    uint32_t leader, voter_mask;
    uint64_t floor; /* above the log's origin */
};

/* One datagram. */
struct cluster_letter {
    uint32_t from, to;
    uint8_t *bytes;
    uint64_t length;
};

/* A log write that was posted and has not landed. */
struct cluster_write {
    uint32_t from, to;
    const uint8_t *bytes; /* in the sender's log */
    uint32_t length;
    uint64_t number;
    struct grant_token token;
};

/* What was last traced of a node. */
struct cluster_seen {
    enum replica_role role;
    bool may_read;
    uint64_t lsn_committed;
    uint32_t holder_mask;
};

struct cluster_node {
    struct fixture shard;
    struct replica replica;
    struct group group;
    struct pair pairs[CLUSTER_NODES_MAX - 1];
    uint64_t memory[CLUSTER_NODES_MAX - 1][(PAIR_CHANGES_PER_SHARD + 1) * 3];
    struct replica *replicas[1], *busy[1];
    struct replica_update update;
    struct cluster_seen seen;
    uint64_t late; /* ticks that a pass takes before its frames leave */
};

struct cluster {
    struct cluster_node nodes[CLUSTER_NODES_MAX];
    uint32_t node_count;
    struct replica_times times;
    struct configuration configuration; /* newest, of the control plane */
    uint64_t time;
    uint64_t quota_bytes;
    uint64_t origin;                                    /* LSN */
    bool cut_off[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX]; /* [from][to]: what is sent is lost */
    bool delayed[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX]; /* what arrives waits in late */
    bool damaged[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX]; /* the next range on this link is, once */
    uint8_t lost[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX]; /* the next of this kind on this link is */
    struct cluster_letter queue[CLUSTER_LETTERS], late[CLUSTER_LETTERS];
    uint32_t queue_head, queue_tail, late_count;
    bool writes_late; /* log writes land when the test says so, else before they are announced */
    struct cluster_write writes[CLUSTER_LETTERS];
    uint32_t write_count;
    bool quiet; /* trace nothing */
    char trace[CLUSTER_TRACE_BYTES];
    size_t trace_bytes;
};

void cluster_open(struct cluster *c, const struct cluster_config *config);
void cluster_close(struct cluster *c);

/* A reading of this node's clock. */
uint64_t cluster_clock(const struct cluster *c, uint32_t node);
/* An LSN as the trace tells it. */
unsigned long long cluster_lsn(const struct cluster *c, uint64_t lsn);

/* ---- what happens; all that is sent in consequence is delivered, or lost ---- */

/* A pass of one node in which nothing arrives. */
void cluster_pass(struct cluster *c, uint32_t node);
/* Time passes, then each node has a pass. */
void cluster_wait(struct cluster *c, uint64_t ticks);
/* The same in steps of a heartbeat. */
void cluster_run(struct cluster *c, uint64_t ticks);
/* The control plane decides on the next configuration: voters by node in mask, the others learners
 * if learn.  It is told to its leader alone. */
void cluster_pend(struct cluster *c, uint64_t epoch, uint32_t leader, uint32_t voter_mask);
void cluster_learn(struct cluster *c, uint64_t epoch, uint32_t leader, uint32_t voter_mask);
void cluster_pend_lossy(struct cluster *c, const struct cluster_lossy *lossy);
void cluster_activate(struct cluster *c);
/* The newest configuration again, with a ceiling so far above the log's origin. */
void cluster_grant(struct cluster *c, uint64_t ceiling);
/* A write of length bytes at this node, which leads. */
void cluster_put(struct cluster *c, uint32_t node, uint64_t key, uint32_t length);
/* Neither what it sends nor what is sent to it arrives. */
void cluster_cut_off(struct cluster *c, uint32_t node, bool off);
/* What was delayed arrives. */
void cluster_deliver_late(struct cluster *c);
/* The node lost its memory and comes back under another incarnation. */
void cluster_restart(struct cluster *c, uint32_t node);
void cluster_hand_over(struct cluster *c, uint32_t node);
/* The log writes that are under way land, and are complete. */
void cluster_writes_land(struct cluster *c);

/* What replica_receive or group_receive says to it; nothing is sent. */
int cluster_tell(struct cluster *c, uint32_t node, const struct message *m);
int cluster_tell_frame(struct cluster *c, uint32_t node, const struct pair_frame *f);

/* Three voters, or all that there are, led by 0 in epoch 1, one write committed and shown everywhere,
 * no read leases but what config says; nothing traced. */
void cluster_lead(struct cluster *c, const struct cluster_config *config);

/* ---- what is checked ---- */

/* The trace since the last call is golden. */
void cluster_expect(struct cluster *c, const char *golden);
void cluster_forget(struct cluster *c);
bool cluster_may_answer(const struct cluster *c, uint32_t node);
/* Commit LSN as the trace tells it. */
unsigned long long cluster_committed(const struct cluster *c, uint32_t node);
unsigned long long cluster_log_end(const struct cluster *c, uint32_t node);
uint64_t cluster_count(const struct cluster *c, uint32_t node, enum replica_count which);
/* Both logs hold the same bytes. */
bool cluster_same_log(const struct cluster *c, uint32_t a, uint32_t b);
struct pair *cluster_pair(struct cluster *c, uint32_t node, uint32_t with);

/* ---- between the files ---- */

void cluster_write_post(struct cluster *c, uint32_t node, const struct replica_out *out);

#endif
