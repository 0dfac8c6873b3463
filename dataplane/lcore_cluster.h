/* lcore_cluster - what an lcore has when its node is one of several: a replica for each of its shards,
 * their group, and the transport to the same lcore of the other nodes.
 *
 *   lcore_cluster.c   set-up: memory, replicas, the first configurations
 *   poll_cluster.c    its phases of a pass: receive, decide, publish, send
 *   poll_bundle.c     what leaves for one peer, in as few datagrams as there can be
 *   poll_log_write.c  log writes, and memory that peers may write to
 *
 * The lcore's thread only, but for what cluster.h says. */
#ifndef DUNLIN_DATAPLANE_LCORE_CLUSTER_H
#define DUNLIN_DATAPLANE_LCORE_CLUSTER_H

#include "dataplane/boards.h"
#include "dataplane/bundle.h"
#include "dataplane/cluster.h"
#include "dataplane/group.h"
#include "dataplane/holds.h"
#include "dataplane/lcore.h"
#include "dataplane/log_writes.h"
#include "dataplane/transport.h"

/* One shard of the lcore. */
struct lcore_replica {
    struct replica replica;
    uint64_t epoch_asked;      /* whose activation was asked for; 0: none */
    bool waits_for_answer;     /* neither granted nor refused yet */
    uint64_t epoch_granted;    /* granted, and not yet told the replica */
    uint64_t epoch_letting_go; /* a hand-over was asked for; 0: none is under way */
    bool stop_counted;
};

/* What an lcore has of one space; control's memory, one piece, freed with the space. */
struct lcore_space {
    uint32_t *frames;                /* held by the transport, by frame */
    struct lcore_replica **by_shard; /* NULL: another lcore's */
    uint32_t replica_count;
    struct lcore_replica replicas[];
};

struct lcore_forward;

struct lcore_cluster {
    struct lcore *lcore;
    const struct node_cluster *node;
    uint64_t version; /* of the coordinator's decisions, as last looked at */
    struct transport *transport;
    uint64_t ticks_published; /* when its counters last were */
    uint64_t publish_interval;
    uint64_t ticks_cut_off;        /* until then the node was not (poll_cut_off.h) */
    uint64_t ticks_cut_off_looked; /* when that was last looked at */
    bool is_cut_off;
    struct group group;
    struct boards boards; /* what agents see of it */
    uint32_t turn;        /* replica that decides first, among those that are ready */
    struct lcore_space *spaces[LIMIT_SPACES + 1]; /* by id, as lcore.spaces */
    struct holds holds[LIMIT_SPACES + 1];         /* by space: frames that the transport reads */
    struct lcore_forward *forward; /* holds[0]: its buffers that the transport reads */
    struct replica_update update;
    struct bundle *bundles; /* what leaves at the end of the pass; as group.pairs */
    struct log_writes writes;
    uint32_t parting; /* node that goes: nothing is granted to it; TRANSPORT_NOBODY: none does */
    bool has_parted;  /* the connection with it for log writes is torn down */
    /* By id, spaces that left and whose grants may be out; NULL: none. */
    struct lcore_left {
        struct node_space *space;
        uint32_t recalls;        /* of them, in vain */
        uint64_t ticks_recalled; /* when they last were */
    } left[LIMIT_SPACES + 1];
    struct {
        void *at;
        size_t bytes;
    } memory[4]; /* what close frees */
    uint8_t head[TRANSPORT_HEAD_MAX];
};

/* Set-up, on control's thread before the lcore's.  Returns 0, -ENOMEM, or -EINVAL: no transport. */
MUST_USE int lcore_cluster_open(struct lcore *l);
void lcore_cluster_close(struct lcore *l);

/* For an lcore and a space that is made: on control's thread.  NULL: no memory; else it is for free(). */
struct lcore_space *lcore_space_make(const struct node_space *s, uint32_t lcore);
/* Its replicas join, or leave: the shards are, or still are, the lcore's.  Configurations come with the next
 * look at the coordinator's decisions. */
void lcore_cluster_take(struct lcore_cluster *c, struct node_space *s);
void lcore_cluster_leave(struct lcore_cluster *c, const struct node_space *s);

/* The nth of its replicas, as lcore.shards. */
static inline struct lcore_replica *lcore_replica_at(const struct lcore_cluster *c, uint32_t n)
{
    return (struct lcore_replica *)(void *)c->group.replicas[n];
}
_Static_assert(offsetof(struct lcore_replica, replica) == 0, "they are one");

/* The replica of a shard that this lcore owns; NULL: there is none. */
static inline struct lcore_replica *lcore_replica_of(const struct lcore_cluster *c, uint32_t log)
{
    uint32_t space = log >> NODE_LOG_SPACE_SHIFT;
    uint32_t shard = log & ((1u << NODE_LOG_SPACE_SHIFT) - 1);
    const struct node_space *s = space <= LIMIT_SPACES ? c->lcore->spaces[space] : NULL;
    if (s == NULL || shard >= s->geometry.shard_count)
        return NULL;
    return c->spaces[space]->by_shard[shard];
}

/* Whether a device may read the frame of a hold itself; a buffer of forward.h: no. */
static inline bool lcore_cluster_is_mapped(const struct lcore_cluster *c, uint64_t hold)
{
    const struct node_space *s = c->lcore->spaces[hold_word_owner(hold)];
    const uint32_t shift = s != NULL ? s->geometry.chunk_shift - s->geometry.segment_shift : 0;
    return s != NULL && node_chunk_is_mapped(s, hold_word_frame(hold) >> shift);
}

/* ---- phases; no-ops for a node alone ---- */

/* What arrived: messages and frames, and decisions of the coordinator.  Reads the clock after the
 * last of the messages. */
void poll_cluster_receive(struct lcore *l);
/* Let every replica that has something to do decide; commit. */
void poll_cluster_decide(struct lcore *l);
/* The rest of what leaves: frames of pairs. l->now_late was read. */
void poll_cluster_flush(struct lcore *l);
/* Whether operations may be appended to a shard here, and whether an answer to a read that was judged
 * here may leave at this time. */
bool poll_cluster_may_write(const struct lcore *l, const struct shard *s);
bool poll_cluster_may_answer(const struct lcore *l, const struct shard *s, uint64_t now);
/* A peer was fed all that one has in a pass, so that there may be more for it. */
bool poll_cluster_feeds(const struct lcore *l);
/* Before the lcore blocks.  True: it must not, the next pass tells peers of commits that waited for bytes to
 * carry them. */
MUST_USE bool poll_cluster_tell(struct lcore *l);
/* Before the lcore blocks: false: do not, something arrived.  *ms: no longer than that. */
bool poll_cluster_sleep(struct lcore *l, int *ms);
void poll_cluster_awake(struct lcore *l);
/* Whether a transport still reads a frame of a space. */
bool poll_cluster_holds(const struct lcore *l, uint32_t space, uint32_t frame);
/* Now and then, what the transport counted to where status finds it (transport_counted). */
void poll_cluster_publish(struct lcore *l);

/* A node comes, with the transport's peer that was made for it, or goes, when the connection with it was torn down
 * (poll_log_write_part); then the peer is the caller's.  Between two passes (node_change.h). */
void poll_cluster_meet(struct lcore *l, uint32_t node, struct transport_peer *peer);
MUST_USE struct transport_peer *poll_cluster_part(struct lcore *l, uint32_t node);

/* ---- log writes ---- */

/* memory: LIMIT_LOG_WRITES, the caller's. */
void poll_log_write_open(struct lcore_cluster *c, struct log_write *memory);
/* A GRANT or an ANNOUNCE of a replica is about to be told: where to, or it is written; then, or instead, it goes as it
 * is now.  False: it is not told. */
MUST_USE bool poll_log_write_send(struct lcore_cluster *c, struct replica *r,
                                  struct replica_out *out);
/* A hold that log_writes_is_word came back. */
void poll_log_write_completed(struct lcore_cluster *c, uint64_t hold);
/* Behind transport_receive: memory that those may not write to any more who were disconnected is free. */
void poll_log_write_disconnected(struct lcore_cluster *c);
/* A message for a shard that has no replica here.  0, -ESTALE or -EPROTO, as replica_receive. */
MUST_USE int poll_log_write_stranger(struct lcore_cluster *c, const struct message *m);
/* A space's replicas left: its grants are wanted back. */
void poll_log_write_leave(struct lcore_cluster *c, struct node_space *s);
/* Whether nobody may write to its memory for this lcore any more.  Each pass, until it is so. */
MUST_USE bool poll_log_write_has_left(struct lcore_cluster *c, uint32_t space);
/* A node is about to go: nothing is granted to it, and the connection with it is torn down.  It goes when has_parted. */
void poll_log_write_part(struct lcore_cluster *c, uint32_t node);

/* ---- what leaves ---- */

/* A place for a datagram without bytes to that node, which leaves at the end of the pass, behind all that was
 * said to it before; the caller fills it before the next of these calls.  NULL: it goes by poll_bundle_alone. */
uint8_t *poll_bundle_place(struct lcore_cluster *c, uint32_t node, uint64_t length);
/* A datagram of its own, behind all that was said to the node before. */
void poll_bundle_alone(struct lcore_cluster *c, const struct transport_datagram *d);
/* All that waits leaves. */
void poll_bundle_flush(struct lcore_cluster *c);

#endif
