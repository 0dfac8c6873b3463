/* control_world - the scenario `control` of dunlin-sim: the control planes of a cluster in one thread, from a seed.
 *
 * Each process runs what the daemon runs: control/raft_node.h with all that is behind it, libraft included, on
 * the simulator's clock, memory, threads and libuv (control_seams.h), disk (control_store.c) and mesh
 * (control_mesh.c).  In place of the daemon's control thread and its lcores stands control_thread.c, which asks
 * for what they would.  control_fault.c draws what goes wrong, control_check.c judges.
 *
 * There is one world, and while something runs one process that it runs for; both are global, because what the
 * product calls has no place for a context.
 *
 * Time: now_ns is real; a node's clock goes faster or slower than that by ppm.
 * Determinism: all that happens is an event with a time and an order; nothing depends on an address. */
#ifndef DUNLIN_TESTS_SIM_CONTROL_WORLD_H
#define DUNLIN_TESTS_SIM_CONTROL_WORLD_H

#include "control/leader_lease.h"
#include "control/raft_disk.h"
#include "control/raft_machine.h"
#include "control/raft_node.h"
#include "tests/sim/control_heap.h"

#define CONTROL_NODES_MAX 7u
#define CONTROL_SHARDS 4u
#define CONTROL_SPACE 1u
#define CONTROL_HANDLES_MAX 8u
#define CONTROL_LEASE_NS (50 * NS_PER_MS)
#define CONTROL_RUN_NS (8 * NS_PER_S)    /* faults fire */
#define CONTROL_QUIET_NS (60 * NS_PER_S) /* by then all must be well again */

/* What is counted.  Names: control_run.c. */
enum control_happening {
    CONTROL_KILL,
    CONTROL_KILL_ALL,
    CONTROL_STOP,
    CONTROL_FREEZE,
    CONTROL_CUT,
    CONTROL_CUT_ONE_WAY,
    CONTROL_CUT_DATA,
    CONTROL_SLOW_LINKS,
    CONTROL_FULL,
    CONTROL_WRITE_ERROR,
    CONTROL_WIPE,
    CONTROL_ADD,
    CONTROL_REMOVE,
    CONTROL_DRAIN,
    CONTROL_FAULTS, /* end of what is drawn */
    CONTROL_MESSAGES = CONTROL_FAULTS,
    CONTROL_MESSAGES_LOST,
    CONTROL_UNSYNCED_LOST, /* crashes that lost writes */
    CONTROL_AMNESIA,       /* starts that found their directory empty, and were refused */
    CONTROL_ABANDONED,     /* clusters that could not begin, since a node was lost as others did */
    CONTROL_REOPENED,      /* instances of libraft after one that failed */
    CONTROL_LEADERS,       /* elections that a node saw the end of */
    CONTROL_SNAPSHOTS,
    CONTROL_INSTALLED, /* of them, from another node */
    CONTROL_COMMANDS,  /* that changed something */
    CONTROL_REFUSED,   /* that changed nothing */
    CONTROL_TOLD,
    CONTROL_TOLD_UNKNOWN,
    CONTROL_REGISTERED,
    CONTROL_ACTIVATED,
    CONTROL_ACTIVATE_LATE, /* asked for an epoch that is over */
    CONTROL_LET_GO,
    CONTROL_PASSED_ON,
    CONTROL_MOVED,
    CONTROL_LEFT,
    CONTROL_RETIRED,
    CONTROL_FAILED,       /* nodes that were found to have */
    CONTROL_FAILED_ALIVE, /* of them, that ran */
    CONTROL_RAISED,       /* ceilings of LSNs */
    CONTROL_GIVEN_UP,     /* shards that began again, with nothing */
    CONTROL_RECOVERED,    /* and with what survivors held */
    CONTROL_LOST,         /* and shards that most voters of had lost */
    CONTROL_LEASES_OVER,  /* of nodes that ran */
    CONTROL_NODES_ADDED,
    CONTROL_NODES_JOINED,    /* empty directories that the others fed */
    CONTROL_NODES_GONE,      /* that no shard named any more */
    CONTROL_NODES_ENDED,     /* that were told so */
    CONTROL_PROMOTED,        /* learners that were asked for as voters */
    CONTROL_VOTERS_MADE,     /* of the control log */
    CONTROL_MEMBERS_REMOVED, /* from it */
    CONTROL_TAKEN_BACK,      /* changes of members that were overwritten */
    CONTROL_HAPPENINGS
};

struct control_totals {
    uint64_t seeds, counts[CONTROL_HAPPENINGS];
};

struct control_event {
    uint64_t at_ns, order;
    /* A process, of this node: it is dropped when that has ended, and late while it is frozen; 0: nobody's. */
    uint64_t process;
    uint32_t node;
    bool is_loop; /* a turn of the loop of raft_node.c */
    void (*run)(const struct control_event *e);
    void *data; /* freed behind it */
    uint64_t number, other;
};

enum control_handle_kind { HANDLE_OTHER, HANDLE_ASYNC, HANDLE_CHECK, HANDLE_TIMER };

struct control_handle {
    void *handle; /* NULL: free */
    enum control_handle_kind kind;
    bool is_active, is_closing;
    uint64_t generation, due_ms, repeat_ms;
    union {
        uv_async_cb async;
        uv_check_cb check;
        uv_timer_cb timer;
    };
    uv_close_cb closed;
};

struct coroutine;

/* One start of a node's daemon. */
struct control_process {
    uint64_t uid, start;
    uint32_t node; /* position */
    struct control_heap heap;
    struct coroutine *thread;
    bool is_woken, is_signalled; /* an event will resume the thread; the descriptor is readable */
    bool wants_stop, is_registered;
    struct control_handle handles[CONTROL_HANDLES_MAX];
    uint64_t generation, sleeps;
    struct control_net *net;
    struct raft_disk *disk;
    struct raft_node *raft_node;
    /* what the checks look at */
    struct raft *raft;
    struct raft_machine *machine;
    struct leader_lease_voter *voter;
    struct leader_lease_holder *holder;
    uint64_t index;                  /* applied when it was looked at last */
    uint64_t sequence;               /* commands that it is known to have applied */
    uint64_t reboots;                /* instances of libraft */
    struct coordinator_state *state; /* the thread's */
};

struct control_store;

struct control_node {
    uint32_t id;
    int64_t ppm;
    uint64_t clock_ns; /* when the world began */
    uint64_t start_last, start_registered, uid_registered;
    uint64_t frozen_until_ns, full_until_ns, slow_until_ns;
    uint64_t ceiling;  /* of LSNs, as it is on its own disk */
    bool fails_write;  /* the next one */
    bool dies_writing; /* likewise */
    bool is_lost;      /* its directory */
    bool is_out;       /* nobody wants it: it was not added yet, or it was removed and knows */
    bool is_added;     /* to a cluster that there was */
    struct control_store *store, *store_lost;
    struct control_process *process;  /* NULL: it is down */
    struct leader_lease_voter *bound; /* what the process before this one had said */
    uint64_t heard_ns[CONTROL_NODES_MAX];
};

struct control_applied {
    uint64_t index, command, state; /* hashes */
    uint64_t ordinal;
    int64_t result;
};

struct control_world {
    uint64_t seed, random, now_ns, order, uid;
    bool trace, is_quiet, is_abandoned;   /* the last one: it cannot begin any more */
    uint32_t node_count, voter_count;     /* machines; voters of the control log at first */
    uint32_t first_count;                 /* of the machines, that the cluster begins with */
    struct coordinator_node_asked wanted; /* that somebody is to ask for; id 0: nothing */
    struct control_node nodes[CONTROL_NODES_MAX];
    bool cut[CONTROL_NODES_MAX][CONTROL_NODES_MAX]; /* of the mesh, from, to */
    bool cut_data[CONTROL_NODES_MAX][CONTROL_NODES_MAX];
    uint64_t slow_ns; /* added to each message, up to */
    struct control_event *events;
    uint32_t event_count, event_room;
    struct control_process *current;
    struct control_mesh *mesh;
    struct control_applied *applied; /* by ordinal */
    uint32_t applied_count, applied_room;
    struct coordinator_state *state;  /* after the newest of them */
    uint64_t granted[CONTROL_SHARDS]; /* LSN up to which somebody may have led the shard, ever */
    const char *broken;
    char broken_detail[200];
    struct control_totals totals;
};

extern struct control_world *control_world;

/* ---- the world: control_world.c ---- */

uint64_t control_random(void);
uint64_t control_below(uint64_t bound); /* not 0 */
bool control_chance(uint32_t percent);
void control_count(enum control_happening what);
__attribute__((format(printf, 1, 2))) void control_trace(const char *format, ...);
/* A check failed: the first one counts. */
__attribute__((format(printf, 2, 3))) void control_break(const char *what, const char *format, ...);

uint64_t control_clock_ns(const struct control_node *n);
/* The real time at which the node's clock shows that, or a little later. */
uint64_t control_clock_at(const struct control_node *n, uint64_t clock_ns);

/* at_ns is made now_ns at least. */
void control_event_add(const struct control_event *e);
/* Of the process that runs. */
void control_event_own(uint64_t delay_ns, void (*run)(const struct control_event *e),
                       uint64_t number);
/* Until the time, or nothing is left, or a check failed. */
void control_run_until(uint64_t until_ns);

/* The daemon of a node that is down. */
void control_process_begin(struct control_node *n);
/* kill -9; is_power: the machine goes down with it. */
void control_process_kill(struct control_node *n, bool is_power);
/* What it said binds it, whatever becomes of it; nothing of it is looked at any more. */
void control_process_forget(struct control_process *p);

/* ---- the loop, and the thread beside it: control_loop.c ---- */

void control_loop_turn_end(struct control_process *p);
/* The thread goes on soon. */
void control_thread_wake(struct control_process *p);
/* From within the thread: until it is woken, or that much later. */
void control_thread_sleep(struct control_process *p, uint64_t ns);

/* ---- control_thread.c ---- */

void control_thread_run(void *process);
bool control_data_reaches(const struct control_node *from, const struct control_node *to);

/* ---- control_mesh.c ---- */

struct control_mesh;
struct control_mesh *control_mesh_make(void);
void control_mesh_free(struct control_mesh *m);
/* A process has ended, and its connections with it. */
void control_mesh_dead(const struct control_node *n, bool is_power);
/* control_world.cut has changed. */
void control_mesh_changed(void);

/* ---- control_store.c ---- */

struct control_store *control_store_make(void);
void control_store_free(struct control_store *s);
/* A process ended without a word, and this was its disk. */
void control_store_crash(struct control_store *s, struct raft_disk *d);

/* ---- control_fault.c ---- */

void control_fault_begin(void);
/* Links are whole again, who is down comes back. */
void control_fault_heal(void);
/* A process has ended by itself. */
void control_fault_ended(struct control_node *n);
/* Its disk begins to write, for so long. */
void control_fault_writing(struct control_node *n, uint64_t ns);

/* ---- control_members.c ---- */

/* The newest state that anybody has applied has the node, or there is none yet and it will. */
bool control_check_is_node(const struct control_node *n);
/* After each turn. */
void control_check_configuration(const struct control_process *p);
/* As control_check_unwell. */
const char *control_members_unwell(void);

/* ---- control_check.c ---- */

/* After each turn of a process. */
void control_check_turn(struct control_process *p);
/* A process is registered, as its thread was told. */
void control_check_registered(struct control_process *p);
/* What was told of a command that was asked for when so many had been applied. */
void control_check_told(const struct coordinator_command *c, uint64_t applied_count,
                        int64_t result);
/* Whether all is as it must be in quiet. */
bool control_check_is_well(void);
const char *control_check_unwell(void); /* why not */
void control_check_describe(void);      /* to the trace, what libraft is at */

#endif
