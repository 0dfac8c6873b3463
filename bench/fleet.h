/* fleet - a recorded fleet replayed into a running daemon by many processes, and what it proves.
 *
 * Processes  the supervisor (fleet.c) loads the data, forks, keeps the virtual clock, reads the
 * journals, kills and replaces agent processes, frees the sectors of dead agents
 * (fleet_controller), and judges.  Each agent process (fleet_agent, fleet_command) flies the
 * recorded agents that were dealt to it.  The observer (fleet_observer) reads in place what all
 * others write; the watchers' processes (fleet_watcher) are given it as it is committed.
 * Nodes      agents attach to the first or, when each is a process of its own, to all in turn; the
 * controller to the first, the observer to all of them, and at the
 * end every key is compared between the first and each other (fleet_replicas), and each says how
 * often its shards were led anew, and whether one stopped (fleet_nodes).
 * Memory     fleet_shared and one fleet_region per life of a process are shared, the observer's one
 * for each node, then the watchers'; sources are the supervisor's own, copied on write, never written
 * after the first fork.
 * Data       space `telemetry`: one key per agent, put for every row.  Space `sectors`: one key per
 * geohash cell, written only by compare-and-set; its value names the owner. */
#ifndef DUNLIN_BENCH_FLEET_H
#define DUNLIN_BENCH_FLEET_H

#include "bench/fleet_check.h"
#include "bench/fleet_data.h"
#include "bench/fleet_journal.h"
#include "bench/fleet_look.h"
#include "bench/fleet_value.h"
#include "engine/agent/dunlin.h"
#include "engine/base.h"

#define FLEET_SPEED_AUTO 0.0
#define FLEET_SPEED_UNBOUND (-1.0)
#define FLEET_KILLS_MAX 1000u
#define FLEET_WATCHES_MAX 10000u
#define FLEET_WATCHERS_MAX 3u            /* processes that hold them */
#define FLEET_COMMAND_LIMIT_NS NS_PER_MS /* of the 99th percentile */

struct fleet_options {
    /* The first is where agents write; none: $DUNLIN_SOCKET, else a daemon of our own. */
    const char *sockets[FLEET_NODES_MAX];
    uint32_t socket_count;
    const char *paths[FLEET_SOURCES_MAX];
    uint32_t path_count;
    bool generate_sparse, generate_crowd;
    const char *agent_column;
    const char *telemetry_space, *sectors_space;
    double seconds;
    double speed; /* FLEET_SPEED_AUTO, FLEET_SPEED_UNBOUND, or recorded seconds per second */
    uint32_t agents, kills;
    uint32_t watches; /* 0: none */
    uint64_t seed;
    int daemon_pids
        [FLEET_NODES_MAX]; /* in the order of the sockets; or of one that has all nodes */
    uint32_t daemon_pid_count;
    const char *chaos;  /* fleet_chaos.h; NULL: none */
    const char *dunlin; /* the command, for moves */
    int switch_pid; /* a process in the namespace whose bridge has a port for each node; 0: none */
    const char *adder; /* program that adds the last node and has it started; NULL: all are there */
    bool spares_last;  /* agents stay away from the last node of those that are there at first */
    bool removes_last; /* and watchers, too: it is removed */
    bool sort, json, restarts_expected;
};

struct fleet_chaos;

/* chaos: what options->chaos asks for, nothing without.  Returns 0; -EINVAL after a word on stderr; or 1:
 * --help was printed. */
MUST_USE int fleet_options_parse(int argc, char **argv, struct fleet_options *options,
                                 struct fleet_chaos *chaos);

/* The virtual clock: written by the supervisor, read by all.  A sequence lock; odd while written.
 * C1 sequence (release) -> C2 (acquire) and a fence bracket the words. */
struct fleet_clock {
    _Atomic uint64_t sequence;
    _Atomic uint64_t base_ns;
    _Atomic int64_t base_us;
    _Atomic uint64_t us_per_s;  /* speed, in recorded microseconds per second */
    _Atomic int64_t horizon_us; /* nobody replays past it, so that the slowest is not left behind */
};
void fleet_clock_set(struct fleet_clock *c, uint64_t now_ns, int64_t now_us, double speed);
int64_t fleet_clock_us(const struct fleet_clock *c, uint64_t now_ns);

/* What was asked of nodes while they were cut off; the prober's, read when it has ended. */
struct fleet_probed {
    uint64_t cuts; /* times one was probed */
    uint64_t refused, applied, unknown;
    uint64_t silent_ns;  /* the longest from the cut until a write was refused for the first time */
    uint64_t slowest_ns; /* refusal of a write that began after that */
    uint64_t reads, reads_failed, stale;
    uint64_t age_ns; /* greatest, of a local read */
};

struct fleet_shared {
    struct fleet_clock clock;
    _Atomic uint32_t stop;
    _Atomic uint32_t is_quiet;    /* nobody writes any more: the watchers judge, and end */
    _Atomic uint32_t kill_count;  /* of nodes */
    _Atomic uint32_t member_mask; /* nodes that are in the cluster now; bits are positions */
    struct fleet_probed probed;   /* of nodes that were cut off */
    struct histogram farthest;    /* observer: ns from submission to visible at every node */
};

struct fleet {
    struct fleet_options options;
    struct fleet_source sources[FLEET_SOURCES_MAX];
    uint32_t source_count;
    uint32_t run;           /* number in all keys */
    uint32_t node_count;    /* one for each socket */
    uint32_t first_count;   /* of these, those that are there at first */
    uint32_t life_count;    /* agents + kills */
    uint32_t watcher_count; /* processes */
    uint32_t region_count;  /* one for each life, the observer's for each node, the watchers' */
    uint32_t slot_count;    /* in each region */
    uint64_t cpu_ns_dead;   /* used by daemons that were killed */
    struct fleet_shared *shared;
    struct fleet_region **regions;
};

static inline struct fleet_region *fleet_region_observer(const struct fleet *f, uint32_t node)
{
    return f->regions[f->life_count + node];
}

static inline struct fleet_region *fleet_region_watcher(const struct fleet *f, uint32_t watcher)
{
    return f->regions[f->life_count + f->node_count + watcher];
}

/* An attachment with both spaces. */
struct fleet_seat {
    struct dunlin *handle;
    struct dunlin_space *telemetry, *sectors;
};

/* Attach to the nth node, to write there, or to read alone, which is given up sooner.  Returns 0, or a
 * negative errno after a word on stderr. */
MUST_USE int fleet_attach(const struct fleet *f, uint32_t node, bool writes,
                          struct fleet_seat *seat);
void fleet_detach(struct fleet_seat *seat);

/* Nodes that are processes of their own: what was acknowledged outlives each of them. */
static inline bool fleet_is_cluster(const struct fleet *f)
{
    return f->options.daemon_pid_count > 1;
}

/* Where an agent process attaches: all of a cluster in turn, but for the last node, which may be frozen or
 * removed, when that is asked for. */
static inline uint32_t fleet_node_of(const struct fleet *f, uint32_t process)
{
    uint32_t nodes = f->first_count - (f->options.spares_last && f->first_count > 1);
    return fleet_is_cluster(f) ? process % nodes : 0;
}

/* Nodes that are there from the beginning to the end, the first ones: where watchers are. */
static inline uint32_t fleet_staying(const struct fleet *f)
{
    return f->first_count - f->options.removes_last;
}

/* Nodes that are in the cluster now. */
static inline uint32_t fleet_members(const struct fleet *f)
{
    /* acquire: M1 -> M2: who is in it serves */
    return atomic_load_explicit(&f->shared->member_mask, memory_order_acquire);
}

static inline bool fleet_is_member(const struct fleet *f, uint32_t node)
{
    return (fleet_members(f) & 1u << node) != 0;
}

/* The number of the daemon's start that a handle is attached to. */
static inline uint64_t fleet_start_of_daemon(const struct dunlin *handle)
{
    struct dunlin_info info;
    dunlin_info(handle, &info);
    return info.start;
}

/* What changes when all that was acknowledged is lost. */
static inline uint64_t fleet_start(const struct fleet *f, const struct dunlin *handle)
{
    return fleet_is_cluster(f) ? 1 : fleet_start_of_daemon(handle);
}

/* What stands in a sector.  Returns 0, -EBADMSG: the value is not whole, or an error of dunlin_get. */
MUST_USE int fleet_sector_get(const struct fleet *f, struct dunlin_space *sectors, uint32_t cell,
                              struct fleet_sector_state *state);

/* Telemetry of an owner, in place and linearizable.  Returns as fleet_sector_get. */
struct fleet_telemetry_state {
    uint64_t lsn, number, stamp_ns;
};
MUST_USE int fleet_telemetry_get(const struct fleet *f, struct dunlin_space *telemetry,
                                 uint64_t owner, struct fleet_telemetry_state *state);

/* True if what stands in Dunlin is what the slot says was acknowledged, or a later put of it. */
bool fleet_telemetry_agrees(const struct fleet_slot *slot,
                            const struct fleet_telemetry_state *state);

/* For processes that sleep most of the time; keeps the nice value 0. */
void fleet_short_slice(void);

/* Fork.  The child dies with its parent and runs soon after it was woken.  Returns 0 in it, its pid in the
 * parent, or -errno. */
MUST_USE int fleet_fork(void);

/* Bodies of the forked processes; return the exit code. */
int fleet_agent_main(const struct fleet *f, struct fleet_region *region);
int fleet_observer_main(const struct fleet *f);
int fleet_watcher_main(const struct fleet *f, struct fleet_region *region);

/* What goes into a process's journal when a check of its own fails. */
struct fleet_mismatch {
    enum fleet_finding finding;
    uint32_t cell; /* GEOHASH_NONE: telemetry */
    uint64_t owner, expected, found;
};
void fleet_journal_finding(struct fleet_region *region, uint64_t start,
                           const struct fleet_mismatch *mismatch);

/* The supervisor's own hands in the data: frees what dead agents held, judges and removes it all.
 */
struct fleet_controller {
    const struct fleet *fleet;
    struct fleet_check *check; /* told what the controller writes and finds */
    struct fleet_seat seat;
    uint32_t *cells; /* seen by fleet_controller_judge, for cleaning */
    uint32_t cell_count, cell_room;
    uint64_t freed, fenced;
    uint64_t compared; /* keys, each at one other node */
};

/* A process is dead and its journal is read: make every command of its agents known or impossible,
 * and free their sectors.  Returns 0, or an error of Dunlin: call again later. */
MUST_USE int fleet_controller_adopt(struct fleet_controller *c, const struct fleet_region *dead);

/* All processes ended and their journals are read: telemetry of every slot against what was
 * acknowledged, every sector against its chain.  Returns 0, -ENOMEM or an error of Dunlin. */
MUST_USE int fleet_controller_judge(struct fleet_controller *c);

/* After fleet_controller_judge: every key that the run knows, read locally at the first node and at
 * each other: presence, version and value are the same, or become so within a bounded time, or that
 * is a finding.  Returns 0, -ENOMEM or an error of Dunlin. */
MUST_USE int fleet_replicas_judge(struct fleet_controller *c);

/* What the nodes say of themselves, while the fleet flies and afterwards. */
struct fleet_nodes {
    struct dunlin *handles[FLEET_NODES_MAX];
    uint64_t activations_before; /* at the first node; the rest is of the last look */
    uint64_t activations; /* there, since then: epochs of shards that began to be led there */
    uint64_t shards;
    uint64_t stopped;                    /* shards, over all nodes: each a violation */
    uint64_t log_bytes[FLEET_NODES_MAX]; /* committed, as that node knows, of all shards together */
    uint32_t away_mask;                  /* nodes that cannot answer now, and are not asked */
    bool told;                           /* of stopped */
};
/* Attach to all that are there at first.  Returns 0 or as fleet_nodes_look; close it in any case. */
MUST_USE int fleet_nodes_open(const struct fleet *f, struct fleet_nodes *nodes);
void fleet_nodes_close(struct fleet_nodes *nodes);
/* A shard stops where what was committed is not in the log of a later leader: a violation, told once
 * on stderr.  Returns 0, -ENOMEM, -EPROTO (no status as we know it), or an error of Dunlin. */
MUST_USE int fleet_nodes_look(const struct fleet *f, struct fleet_nodes *nodes);

/* Delete every key of the run that is still there.  Returns 0 or an error of Dunlin. */
MUST_USE int fleet_controller_clean(struct fleet_controller *c);

#endif
