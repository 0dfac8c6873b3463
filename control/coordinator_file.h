/* coordinator_file - the static coordinator: one file that every daemon of the cluster can lock, read and
 * replace.
 *
 * It decides what is asked of it, and little by itself: which start of each node counts, who leads each
 * shard, in which epoch, and whether that epoch is active.  There is no failure detection: the leader of an
 * active epoch that is gone is replaced when it comes back (as somebody else, below) or by `dunlin move`.
 * Part E replaces it.  On one machine any directory will do; between servers the file needs a file system that all of them
 * share, with locks (NFSv4).
 *
 * The file (JSON, replaced as a whole under the flock of PATH.lock: a reader never sees half of it) says
 *   cluster   its id: a file of another cluster is refused
 *   origin    the LSN at which every log of the cluster begins, chosen once
 *   ceiling   highest LSN ceiling of those that registered with one; only if there is one
 *   spaces    fingerprint of the spaces and of the number of lcores: a node that has others is refused
 *             (an lcore talks to that of the same number on every other node)
 *   nodes     id and start of each node that ever registered
 *   shards    by log number: the newest configuration, and what is asked of its leader
 *
 * A node that registers with a new start has lost its memory: in every shard it is replaced, as a voter, by
 * its new incarnation, by a new epoch whose predecessor is the active one; a shard that it led gets
 * another leader: of those voters that have not restarted since the predecessor, one that has been there
 * for longest (who came back lately may hold nothing yet, and nobody tells this file when it does); shards
 * spread evenly over several such.  So a restarted node comes back by itself, and the others carry on
 * meanwhile.  A shard most of whose predecessor's voters are gone that way can never be recovered from this
 * file: it is lost.  It stays pending, the log says so once for each space, and coordinator_file_counts says
 * how many there are.  One that nobody holds anything of any more, since all of them are gone, is begun
 * again by a process that is told to (reopens_lost): empty, by a lossy epoch above every LSN that was granted,
 * for which such processes register their ceilings.
 *
 * A move: the leader is asked to let go of its rights (hand-over); when it said so, or after
 * COORDINATOR_HAND_OVER_NS without, an epoch with the next leader follows.  It is given up when the node
 * that was to lead restarts.
 *
 * An epoch that is pending for COORDINATOR_PASS_ON_NS, and could be active, is followed by one with the next
 * leader that may: the one it has is down, or came back lately and needs a snapshot first.
 *
 * A file that went back (an old copy, another cluster's) is refused for as long as it is there; what was
 * decided stands meanwhile.  PATH must be no symbolic link: it is replaced by rename.  Locks and the order
 * of what is written: coordinator_store.h; the rules: ruling.h, coordinator_state.h.
 *
 * Log events:
 *   node_registered id start revision
 *   those of coordinator_news.h
 *   epochs_passed_on shards                  their leaders were waited for in vain
 *   shards_given_up shards help              they begin again, empty
 *   coordinator_file_failed error path where, coordinator_file_back path   once each
 *
 * Threads: control's (which waits for as long as the file system does), but for what it puts into
 * node.cluster, which is for the lcores and lock-free: they leave what they ask (activation, hand-over done)
 * in atomic words and wake control, which carries it to the file in coordinator_file_step.
 * Source: Lamport, Malkhi, Zhou, "Vertical Paxos" (2009): a configuration master outside the replicas. */
#ifndef DUNLIN_CONTROL_COORDINATOR_FILE_H
#define DUNLIN_CONTROL_COORDINATOR_FILE_H

#include "control/coordinator_state.h"
#include "dataplane/cluster.h"
#include "dataplane/node.h"

#define COORDINATOR_HAND_OVER_NS NS_PER_S
#define COORDINATOR_PASS_ON_NS (3 * NS_PER_S) /* at first; twice as long with each time in a row */
#define COORDINATOR_LOOK_NS (100 * NS_PER_MS) /* step looks at the file this often, told or not */

struct coordinator_file;

struct coordinator_file_config {
    const char *path;
    uint64_t cluster;
    uint32_t node; /* own id, one of nodes */
    uint64_t start;
    uint32_t node_count;   /* 2 .. LIMIT_VOTERS */
    const uint32_t *nodes; /* ids; the voters of every shard; the first one leads at first */
    uint32_t lcore_count;
    uint32_t space_count;
    const struct space_config *spaces;
    bool reopens_lost;
    uint64_t lsn_ceiling; /* of earlier starts of the node; 0: not known */
};

/* Register this start; make the file if there is none.  Before node_open.  The directory must exist.
 * *lsn_origin: where the logs of this node begin.  Returns 0, or with nothing left open
 *   -EINVAL    counts, ids
 *   -EBADMSG   the file is not one of these, or not whole: the log says where; nobody touched it
 *   -EEXIST    it is another cluster's, or its spaces, nodes or number of lcores are not ours
 *   -ESTALE    it knows a higher start of this node: another daemon runs under this id
 *   another -errno of the files. */
MUST_USE int coordinator_file_open(struct coordinator_file **c,
                                   const struct coordinator_file_config *config,
                                   uint64_t *lsn_origin);

/* Wait until every node has registered once, which is when the first epochs are decided.  At most
 * timeout_ms; returns 0, -ETIMEDOUT (call again), or -errno.  A file that has decisions waits for nobody. */
MUST_USE int coordinator_file_await(struct coordinator_file *c, uint32_t timeout_ms);

/* After the node's spaces were added, before its lcores start: fill and set node->cluster (no
 * transport).  Returns 0, -EEXIST (the node's shards are not those of the file), -ENOMEM, or -errno of the
 * eventfds that wake lcores. */
MUST_USE int coordinator_file_join(struct coordinator_file *c, struct node *node);

/* Carry what lcores asked to the file, take what others decided, publish it.  Control calls it when it was
 * woken (node.wake_control), when the descriptor below is readable, and every COORDINATOR_LOOK_NS.
 * Returns 0, or -errno: the file cannot be read or written now; nothing is lost, call again.  Among them
 *   -EAGAIN   others hold the lock: usual for a moment
 *   -ENOENT   somebody removed the file; nobody makes it again but a node that starts
 *   -EBADMSG  as above, or it went back
 *   -ESTALE   a later start of this node has registered: this one decides nothing any more, end it. */
MUST_USE int coordinator_file_step(struct coordinator_file *c);

/* Readable when the file was replaced (inotify); -1: not to be had here, the period will do. */
int coordinator_file_fd(const struct coordinator_file *c);

/* Move leadership of the shards with log numbers first .. last (both included, of one space or of all:
 * 0 .. UINT32_MAX) to a node.  Returns how many are to move (0: it leads all of them, or is asked to), or
 *   -ENOENT    no such node or shard
 *   -EAGAIN    a first epoch is not active yet
 *   -EBUSY     others hold the file's lock, and do not let go of it
 *   -ENOMEDIUM somebody removed the file
 *   -EBADMSG   the file is not whole, not one of these, or went back
 *   another -errno of the files.
 * It is done when coordinator_file_counts says that none is moving. */
MUST_USE int64_t coordinator_file_move(struct coordinator_file *c, uint32_t first, uint32_t last,
                                       uint32_t node);

/* Move what this node leads to one of these others: coordinator_state_leave.  Returns how many are to move,
 * -ENOENT (no others), -ESTALE (a later start of this node leads them), or as coordinator_file_move. */
MUST_USE int64_t coordinator_file_leave(struct coordinator_file *c, const uint32_t *others,
                                        uint32_t other_count);

/* Say that this node is about to end, so that others hand over what they lead to it only if there is nobody
 * else.  Returns 0, or -errno as coordinator_file_leave: then they do not know. */
MUST_USE int coordinator_file_retire(struct coordinator_file *c);

struct coordinator_file_counts {
    uint32_t shards;
    uint32_t pending; /* newest epoch not active */
    uint32_t moving;  /* asked to, and not led by the next leader in an active epoch yet */
    uint32_t lost;    /* most voters of the predecessor are gone */
    uint32_t gone;    /* of them: all are */
};
void coordinator_file_counts(const struct coordinator_file *c,
                             struct coordinator_file_counts *counts);

/* coordinator_state_duties of this node. */
uint32_t coordinator_file_duties(const struct coordinator_file *c);

/* Logs may go on behind this LSN, whatever was granted before: lossy epochs begin there.  0: none does. */
uint64_t coordinator_file_lsn_floor(const struct coordinator_file *c);

/* Newest decision about a log, good until the next call that is not const; NULL: there is none. */
const struct coordinator_shard *coordinator_file_shard(const struct coordinator_file *c,
                                                       uint32_t log);
/* A copy of what it says who holds the shard.  False: there is none. */
static inline bool coordinator_file_configuration(const struct coordinator_file *c, uint32_t log,
                                                  struct configuration *copy)
{
    const struct coordinator_shard *s = coordinator_file_shard(c, log);
    if (s != NULL)
        *copy = s->configuration;
    return s != NULL;
}

/* After the lcores stopped; the registration stays in the file.  c may be NULL. */
void coordinator_file_close(struct coordinator_file *c);

#endif
