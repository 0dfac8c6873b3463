/* node_change - spaces, and other nodes, that come, change and go while the lcores run.
 *
 * Control makes all of a space, or of a peer, before it posts it, and frees all of it after every lcore has let go.  An
 * lcore takes the change over between two passes, for the shards that it owns, and says so; no lcore ever
 * waits, and none reads control's list of spaces (node.h) while it runs: it has its own.
 *
 *   NODE_SPACE_ADD     its shards are the lcore's from then on; in a cluster without a configuration, so
 *                      that nothing is served before the coordinator decides one
 *   NODE_SPACE_ALTER   history and session ttl, as space->config says now
 *   NODE_SPACE_REMOVE  what waits in its shards ends unanswered, no board of it gives a right to read, its
 *                      replicas leave their lists; lcore.leaving is its id until the transport has let go of its frames,
 *                      and so have peers that may write to them (poll_log_write.c)
 *   NODE_PEER_ADD      the lcore talks to another node from then on
 *   NODE_PEER_REMOVE   it has never heard of it: what waits for that node ends as with one that does not
 *                      answer, and what comes from it is dropped and counted; done when the connection for its
 *                      log writes is torn down
 *
 * Control thread; one change at a time.  Agents keep what they have mapped of a space that went: its memory
 * is theirs until they unmap it, and its header says that it was dropped.
 * Memory order: S1 lcore.change (release, control) -> S2 (acquire, lcore): the space is whole.  S3 the same
 *   word, NULL (release, lcore) -> S4 (acquire, control): the lcore has done all that it does with it.
 *   S5 lcore.leaving (release, lcore) -> S6 (acquire, control): no transport reads the space's memory for it, nor
 *   does anybody write there. */
#ifndef DUNLIN_DATAPLANE_NODE_CHANGE_H
#define DUNLIN_DATAPLANE_NODE_CHANGE_H

#include "dataplane/node.h"

struct sockaddr_storage;
struct transport_peer;

enum node_change_kind {
    NODE_SPACE_ADD,
    NODE_SPACE_ALTER,
    NODE_SPACE_REMOVE,
    NODE_PEER_ADD,
    NODE_PEER_REMOVE
};

struct node_change {
    enum node_change_kind kind;
    struct node_space *space; /* of the first three */
    uint32_t node;            /* of the others: its id, */
    /* and by lcore what the transport has of it: made by control, or, of one that goes, left by the lcore */
    struct transport_peer **peers;
};

struct node_peer {
    uint32_t node;
    const struct sockaddr_storage *addresses; /* by lcore */
};

/* Tell every lcore; change outlives node_change_is_done.  Without lcores it is done at once. */
void node_change_post(struct node *n, const struct node_change *change);
bool node_change_is_done(const struct node *n);
/* Post it and wait: as long as the longest pass of an lcore takes, which is control's to wait as for a grace
 * period.  The caller is offline (rcu.h). */
void node_change_run(struct node *n, const struct node_change *change);

/* node_space_add_at while the lcores run.  own_uid: the daemon's, for agents that are attached. */
MUST_USE int node_space_add_online(struct node *n, const struct space_config *config,
                                   uint64_t lsn_start, uint32_t own_uid);
/* Quota, history, session ttl and access of config are the space's from now on; nothing else of it may
 * differ. */
void node_space_alter(struct node *n, struct node_space *s, const struct space_config *config,
                      uint32_t own_uid);
/* In two steps: when the first returns, nobody finds the space any more, and no lcore has it; the second, which is
 * asked again and again, frees its memory once no transport has anything of it.  Why not in one: who would wait for a
 * card that stands still is who resets it.  One space at a time.  Returns true when none is being dropped (any more);
 * until then there is none to be made of its id (-EBUSY). */
void node_space_drop_begin(struct node *n, struct node_space *s, uint32_t own_uid);
MUST_USE bool node_space_drop_step(struct node *n);
/* Both, waiting: of a node alone, whose memory no transport reads. */
void node_space_drop(struct node *n, struct node_space *s, uint32_t own_uid);

/* Another node of the cluster, up to LIMIT_VOTERS with this one, as long as it is one of cluster->nodes, which
 * these keep, too: they are control's to read meanwhile.  Returns 0, or with nothing changed
 *   -EEXIST          it is there already (with another address: remove it first)
 *   -ENOSPC, -ENOMEM
 *   or what the transport says to its address: -EAFNOSUPPORT, -ENETUNREACH, -EMFILE ... */
MUST_USE int node_peer_add(struct node *n, const struct node_peer *peer);
/* No configuration names it any more, though a replica here may not have heard of the newest yet; one that is
 * not there is no matter. */
void node_peer_remove(struct node *n, uint32_t node);

/* Zeroed memory that is only there where it is touched, for lists as long as they could ever be. NULL: none. */
void *lcore_memory(size_t bytes);
void lcore_memory_free(void *memory, size_t bytes);

#endif
