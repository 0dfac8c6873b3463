/* node - what the control thread and the lcores of one daemon share in private memory.
 *
 * Control makes everything, publishes it, and takes it away again; lcores only use it.
 *   spaces   control's list; each lcore has its own of those that it took over (node_change.h)
 *   chunks   added by control when an lcore asks (chunks_wanted); layout_space.chunk_count publishes;
 *            given back by control when the space needs them no more (node_arena.h); a watch is told of each
 *            before its memory can be named and after it is named no more
 *   agents   RCU: a slot is published, unpublished, and freed after a grace period (rcu.h, QSBR;
 *            every lcore is quiescent once per loop and offline while it sleeps)
 * Memory order: N1 slot store (release) -> N2 slot load (acquire): the agent is whole. */
#ifndef DUNLIN_DATAPLANE_NODE_H
#define DUNLIN_DATAPLANE_NODE_H

#include "engine/base.h"
#include "engine/clock.h"
#include "engine/layout.h"
#include "engine/memory.h"
#include "engine/ring.h"
#include "engine/space.h"

struct shard;
struct lcore;
struct lcore_space;
struct node_cluster;
struct node_space;

enum agent_fault {
    AGENT_FAULT_NONE = 0,
    AGENT_FAULT_RING = 1,   /* an impossible head or position in its rings */
    AGENT_FAULT_MEMORY = 2, /* SIGBUS in its file */
};

#define AGENT_MAY_READ 0x1u
#define AGENT_MAY_WRITE 0x2u

/* One attached agent.  Control fills all of it, then publishes; lcore i alone uses rings[i]. */
struct agent {
    uint32_t slot;
    uint32_t uid;
    bool trusted;          /* root, or the daemon's own uid */
    uint64_t generation;   /* differs for every attachment: completions of others are dropped */
    struct memory memory;  /* its file */
    struct ring_file file; /* geometry as made; never read back from the agent */
    const struct ring_pins *pins;             /* in its file */
    uint8_t *bulk;                            /* in its file */
    _Atomic uint8_t access[LIMIT_SPACES + 1]; /* by space id: AGENT_MAY_*; control's */
    int event_fds[LIMIT_LCORES];              /* eventfds, in the lcores' sleep_fds; see there */
    int guard;                                /* its entry in the table of guard.h */
    _Atomic uint32_t fault; /* enum agent_fault, set by an lcore; control then detaches it */
    struct {
        alignas(CACHE_LINE) struct ring request, completion;
        uint64_t owed;       /* bytes of completions of requests taken and not answered yet */
        uint64_t ticks_used; /* when the lcore last found a request */
        uint64_t bucket;     /* tokens for its requests, in ticks (bucket.h); if it is limited */
        /* Times that it had none left for a request that was there; its lcore is the only writer. */
        _Atomic uint64_t throttled;
        bool wake_pending; /* completions were put since the last wake */
        bool limited;      /* it may take no more than node_config.agent_rate; agent_rate.h */
        bool is_waiting;   /* for a token */
    } rings[LIMIT_LCORES];
};

/* Who makes log memory readable to a device, so that a transport sends it from where it lies.  Control thread. */
struct node_watch {
    /* A chunk is there, and nobody names it yet.  True: devices may read it, until gone. */
    bool (*made)(void *context, const struct node_space *s, uint32_t chunk);
    /* Of a chunk that made was true for, which no transport reads any more and which is about to be unmapped. */
    void (*gone)(void *context, const struct node_space *s, uint32_t chunk);
    void *context;
};

/* What node_arena.h knows of a space whose last chunks may go. */
struct node_arena {
    uint64_t lsn_sum; /* of its logs' ends, at quiet_since_ns */
    uint64_t quiet_since_ns;
    uint64_t asked_ns;
    uint64_t pause_until_ns;
    uint64_t taken; /* chunks, in all */
    bool refused;   /* more than one at a time */
};

struct node_space {
    struct space_config config;
    struct layout_geometry geometry;
    struct memory file;          /* space file */
    struct layout_space *header; /* in it */
    struct layout_board *boards;
    struct layout_frame *directory;
    uint8_t *arena; /* reserved address range, chunk 0 first */
    struct memory chunks[LIMIT_CHUNKS];
    _Atomic uint64_t mapped[LIMIT_CHUNKS / 64]; /* by chunk: devices may read it; control's */
    struct node_arena giving;
    _Atomic uint32_t
        chunks_wanted;  /* lcores raise it; control makes chunks until there are so many */
    uint64_t lsn_start; /* where its logs begin */
    struct shard *shards[LIMIT_SHARDS]; /* shard i belongs to lcore boards[i].lcore */
    uint8_t *shard_memory;              /* all of them */
    uint64_t shard_memory_bytes;
    struct lcore_space
        *parts[LIMIT_LCORES]; /* what lcores of a cluster have of it: lcore_cluster.h */
};

/* Identity of a log within the cluster: which space, which shard. */
#define NODE_LOG_SPACE_SHIFT 16u

struct node_config {
    char name[LIMIT_NAME_BYTES];
    uint32_t id;
    uint32_t lcore_count;
    int32_t lcore_cpus[LIMIT_LCORES]; /* -1: not pinned */
    uint64_t lease_ns, heartbeat_ns, view_ns;
    bool lease_virtual;
    bool spin;       /* never sleep */
    bool replicated; /* epochs come from the cluster's coordinator, not from the start */
    /* Requests per second that an lcore takes from an agent in the long run, and at once after a rest
     * (never less than come in 2 ms: an lcore that sleeps looks that often); 0: no limit; a burst of 0: what
     * comes in 10 ms.  What is too much stays in the agent's ring.  Root and the daemon's uid are free. */
    uint64_t agent_rate, agent_burst;
    bool agents_all; /* those two, too */
    /* Bytes per second that an lcore of a cluster spends on copies in the background: snapshots, and the log
     * for peers that were behind; 0: no bound.  copy_rate.h */
    uint64_t copy_rate;
};

/* What node_config says of agents, where it was changed since the lcores started: agent_rate.h. */
struct node_limit {
    _Atomic uint64_t rate, burst;
    _Atomic bool all, is_set;
};

struct node {
    struct node_config config;
    uint64_t start;
    uint64_t lsn_start; /* where the logs of this start begin: above every LSN of earlier starts */
    /* No log is written past it.  Control raises it, after it is stored where the next start looks;
     * the lcore hands it on by shard_grant in its housekeeping, long before it is reached. */
    _Atomic uint64_t lsn_ceiling;
    /* Counted up when shards are to look what their spaces' headers say of chunks: engine/leave.h; and when
     * limit, below, was changed. */
    _Atomic uint64_t arena_round;
    struct node_limit limit;
    struct node_watch watch; /* made NULL: none */
    enum clock_kind clock_kind;
    uint64_t ticks_per_s;
    struct memory node_file, doorbell_file;
    struct layout_node *shared;                  /* in node_file */
    struct layout_doorbell *doorbell;            /* in doorbell_file */
    struct node_space *spaces[LIMIT_SPACES + 1]; /* by id, NULL: none */
    /* One that is gone for all but a transport, which has its memory still (node_change.h); NULL: none. */
    struct node_space *dropped;
    _Atomic(struct agent *) agents[LIMIT_AGENTS];
    _Atomic uint32_t agent_slots; /* slots that were ever used: sweeps stop there */
    struct lcore *lcores[LIMIT_LCORES];
    struct node_cluster *cluster; /* set before the lcores start, constant then; NULL: alone */
    /* Epoll descriptors, one per lcore, which blocks on its own.  Control adds the eventfd of every
     * agent (data.u64: its slot) edge-triggered, and takes it out before it closes it.  Why nobody
     * ever reads them: the agent shares the descriptor and could drain it or make it block; an edge
     * comes with every write all the same.  The lcore may add eventfds of its own, data.u64 from
     * LIMIT_AGENTS on. */
    int sleep_fds[LIMIT_LCORES];
    uint64_t agent_generation;           /* control: of the agent attached last */
    void (*wake_control)(void *context); /* from lcores, seldom: chunks wanted, an agent at fault */
    void *wake_context;
};

/* Bytes that each log may grow before the ceiling has to be raised again, a minute at full speed.
 */
#define NODE_LSN_GRANT (UINT64_C(1) << 38)
/* A start is worth so many LSNs: start numbers count milliseconds, so logs may write 4 GB/s on
 * average and still stay below where a daemon that knows nothing but the time begins. */
#define NODE_LSN_PER_START_SHIFT 22u

/* Make node file and doorbell, calibrate the clock (20 ms).  lcore_count 1 .. LIMIT_LCORES; start
 * above 0 and below 2^41, since LSNs have 63 bits; also the epoch of all shards.  lsn_start is
 * start << NODE_LSN_PER_START_SHIFT, lsn_ceiling a grant above; who knows better raises both before
 * node_space_add.  Returns 0, or -EINVAL, or -errno with nothing left behind. */
MUST_USE int node_open(struct node *n, const struct node_config *config, uint64_t start);
/* After the lcores stopped and the agents are gone: free everything that node_* made. */
void node_close(struct node *n);

/* Before the lcores start: make a space, its file, its first chunks, its shards.
 * Returns 0, -EEXIST (id or name), -EBUSY (one of that id is being dropped), or as space_geometry and
 * memory_create. */
MUST_USE int node_space_add(struct node *n, const struct space_config *config);
/* The same where its logs begin elsewhere than at lsn_start of the node. */
MUST_USE int node_space_add_at(struct node *n, const struct space_config *config,
                               uint64_t lsn_start);
struct node_space *node_space_find(const struct node *n, const char *name);
/* Control: what agents that are attached may do in a space, after it was made, altered or dropped. */
void node_access_resolve(struct node *n, uint32_t space, uint32_t own_uid);
/* Control: the quota of a space, at most what was reserved for it.  Less than is used refuses writes that
 * need more until enough was freed. */
void node_space_quota(struct node_space *s, uint64_t quota_bytes);

/* Control thread: make the chunks that lcores asked for.  Returns how many were made, or -errno
 * when not all could be (chunk_limit falls to what there is): the lcores then see a full arena and
 * refuse by quota until a later call succeeds; control calls again every second. */
MUST_USE int node_chunks_grow(struct node *n, struct node_space *s);

/* Tell w of the chunks that there are and, from then on, of those that come and go; before the lcores start.
 * End it when no transport reads any chunk, before the node is closed: each that made was true for is gone. */
void node_watch(struct node *n, const struct node_watch *w);
void node_watch_end(struct node *n);

/* Whether devices may read a chunk.  By who may name its memory; others may see it late. */
static inline bool node_chunk_is_mapped(const struct node_space *s, uint32_t chunk)
{
    /* relaxed: it was stored before chunk_count, which is acquired before the chunk is used (frames_take), and is
     * taken back when nothing of the chunk is held */
    uint64_t word = atomic_load_explicit(&s->mapped[chunk / 64], memory_order_relaxed);
    return (word >> chunk % 64 & 1) != 0;
}

/* Control thread: make an agent with its file, rings and eventfds for a peer of this uid; publish
 * it. own_uid is the daemon's.  Of wanted only the three sizes count; a ring size of 0 means
 * NODE_RING_BYTES.  A uid that is neither root nor own_uid gets at most LIMIT_AGENTS_PER_UID slots.
 * Returns 0, -EUSERS (no slot), -EINVAL (sizes), or as memory_create; -EMFILE, -ENFILE. */
#define NODE_RING_BYTES (1u << 16)
MUST_USE int node_agent_attach(struct node *n, uint32_t uid, uint32_t own_uid,
                               const struct ring_file *wanted, struct agent **agent);
/* Control thread, RCU-registered: unpublish, wait for a grace period, free. */
void node_agent_detach(struct node *n, struct agent *agent);

/* What is asked for most at an lcore, for control; NULL: it does not run. */
struct hot_keys_shown;
const struct hot_keys_shown *node_hot_keys(const struct node *n, uint32_t lcore);

/* Start and stop the polling threads.  lcores_start returns 0 or -errno with none running. */
MUST_USE int node_lcores_start(struct node *n);
void node_lcores_stop(struct node *n);
/* The same for several nodes of one process with as many lcores each (1 .. LIMIT_PROCESS_NODES): one
 * thread per lcore number goes from node to node.  Why: on few processors a message between them then
 * costs no switch between threads. */
MUST_USE int nodes_lcores_start(struct node *const *nodes, uint32_t count);
void nodes_lcores_stop(struct node *const *nodes, uint32_t count);

#endif
