/* sim - a cluster of a few shards in one thread, from one seed: nodes with their clocks, a network
 * that delays, loses, doubles, reorders, damages and cuts, clients with sessions, a scripted
 * coordinator, and a checker that sees everything (DESIGN sections 5 and 11).
 *
 * Nothing reads a clock or memory that is not derived from the seed: the same seed gives the same
 * trace.  Units: time is ns of the world; each node tells it by a clock of its own (sim_clock). */
#ifndef DUNLIN_TESTS_SIM_SIM_H
#define DUNLIN_TESTS_SIM_SIM_H

#include "dataplane/group.h"
#include "dataplane/holds.h"
#include "engine/read.h"
#include "engine/space.h"

#define SIM_NODES 5u
#define SIM_SHARDS 3u
#define SIM_LSN_START (UINT64_C(1) << 20)
#define SIM_LSN_GRANT (UINT64_C(5) << 16) /* at a time: five segments */
#define SIM_FRAMES 256u                   /* of a node's arena, at most */
#define SIM_CLIENTS 6u
#define SIM_READS 8u /* in place, under way at a time */
#define SIM_KEYS 12u
#define SIM_OPERATIONS_MAX 40000u
#define SIM_RECORDS_MAX 60000u
#define SIM_VALUE_BYTES 8u /* what tells values apart; they are longer */
#define SIM_VALUE_BYTES_MAX 960u

enum sim_fault {
    FAULT_LOSS,        /* a burst of lost messages */
    FAULT_DELAY,       /* a burst of slow, reordered messages */
    FAULT_DOUBLE,      /* messages delivered twice */
    FAULT_DAMAGE,      /* log bytes that arrive changed */
    FAULT_CUT_BOTH,    /* a node cut off both ways */
    FAULT_CUT_ONE_WAY, /* a link that carries one way only */
    FAULT_FREEZE,      /* a node stands still, longer than the lease */
    FAULT_CRASH,       /* a node loses its memory and comes back as another incarnation */
    FAULT_MOVE,        /* leadership moved without need */
    FAULT_VOTERS,      /* voters changed */
    FAULT_LOSE,        /* a majority loses its memory at once */
    FAULT_COUNT
};

enum sim_event_kind {
    EVENT_MESSAGE,
    EVENT_TICK,
    EVENT_FLUSH,
    EVENT_CONFIGURE,
    EVENT_ACTIVATE,
    EVENT_REQUEST,
    EVENT_REPLY,
    EVENT_CLIENT,
    EVENT_READ,
    EVENT_READ_END,
    EVENT_FAULT,
    EVENT_FAULT_END,
    EVENT_COORDINATOR,
    EVENT_MOVE,
    EVENT_PROMOTE,
    EVENT_CEILING,
    EVENT_WRITE,
};

struct sim_event {
    enum sim_event_kind kind;
    uint32_t node, client;
    uint64_t a, b, c; /* by kind */
    uint8_t *bytes;   /* MESSAGE: owned */
    uint64_t length;
    uint64_t log_bytes, offset; /* MESSAGE: as in sim_datagram; node and start of the sender: */
    uint64_t from_incarnation;
    uint32_t from;
    bool damaged;
    uint32_t
        log; /* WRITE: a: number of the grant, b: where to, c: its key; of the bytes' log, their */
    uint64_t lsn, written; /* position there, and how many have landed */
};

/* When one is due. */
struct sim_due {
    uint64_t time, order; /* order: of scheduling, among equal times */
    uint32_t event;       /* index */
};

/* One shard at one node. */
struct sim_replica {
    struct shard *shard;
    struct replica replica;
    struct replica_update update; /* what the pass so far wants done */
    uint64_t lsn_checked;         /* the checker compared our committed bytes up to here */
    bool amid;                    /* the last record there did not end its transaction */
    uint64_t promised_max;        /* S2 */
    uint64_t installs;            /* snapshots taken when it was last checked */
};

struct sim_node {
    bool up;
    bool frozen;
    bool stalled; /* between the first reading of the clock of a pass and the second */
    struct sim_event
        waiting[SIM_CLIENTS + SIM_READS]; /* requests that come meanwhile are its own */
    uint32_t waiting_count;
    uint64_t incarnation;
    int64_t clock_offset;
    int32_t clock_ppm;
    uint8_t *memory;
    struct layout_space *header;
    struct layout_board *boards;
    struct layout_frame *directory;
    struct layout_node *page;
    uint8_t *arena;
    struct read_space read;
    _Atomic uint32_t chunks_wanted;
    struct reclaim_now reclaim;
    struct holds holds; /* frames that the network still reads */
    uint32_t hold_counts[SIM_FRAMES];
    struct sim_replica shards[SIM_SHARDS];
    struct group group;
    struct pair pairs[SIM_NODES - 1];
    uint64_t starts[SIM_NODES]; /* newest of each node that was heard of */
    struct replica *replicas[SIM_SHARDS], *busy[SIM_SHARDS];
};

#define SIM_PARTS 3u /* of a transaction */

enum sim_operation_kind {
    OPERATION_PUT,
    OPERATION_PUT_IF,
    OPERATION_DELETE,
    OPERATION_GET,
    OPERATION_TRANSACTION,
    OPERATION_CHECK, /* of a transaction only: a condition */
};

/* A transaction's PUT, DELETE or CHECK of one key. */
struct sim_part {
    enum sim_operation_kind kind;
    bool compare;
    uint32_t key;
    uint64_t expected, value;
    uint32_t value_length;
};

/* One operation of a client's history. */
struct sim_operation {
    enum sim_operation_kind kind;
    uint32_t client, key;
    uint64_t invoked, returned; /* returned 0: fate unknown */
    uint64_t lsn_floor;         /* highest LSN anybody had been told when it was invoked */
    uint64_t session, sequence; /* session: LSN that opened it */
    uint64_t expected, value;
    uint32_t value_length;
    uint32_t status;
    uint64_t lsn, read_value;
    uint32_t part_count; /* TRANSACTION: of several keys of one shard, key is the first's */
    struct sim_part parts[SIM_PARTS];
};

/* What is committed, in order; learned from the first node that commits it. */
struct sim_record {
    uint64_t lsn, lsn_end, epoch, session, sequence, value;
    uint32_t key; /* SIM_KEYS: none */
    uint8_t kind;
    bool ends; /* a transaction */
    bool lost; /* a lossy epoch gave it up */
    uint32_t crc;
};

/* A client's session in one shard. */
struct sim_session {
    uint8_t id[SESSION_ID_BYTES];
    uint64_t lsn; /* that opened it, 0: none */
    uint32_t slot;
    uint64_t sequence;
    bool closed; /* its id may be opened again */
};

struct sim_client {
    struct sim_session sessions[SIM_SHARDS];
    uint32_t shard;   /* of the current operation */
    uint32_t leader;  /* guess */
    uint32_t attempt; /* replies to others are stale */
    uint32_t tries;   /* of the current operation */
    bool busy;
    bool opening;
    bool closing;
    struct sim_operation now;
    uint64_t seen[SIM_KEYS]; /* last version seen, for compares */
};

/* A read in place: its steps are events of their own. */
struct sim_read {
    bool open, copied;
    uint32_t node, key;
    int result;         /* of read_find */
    uint32_t ring_read; /* 0: in place */
    uint64_t invoked, lsn_floor, incarnation, generation, cell_generation, lsn, value;
    const struct lease_cell *cell;
    struct read_point point;
    struct read_found found;
};

/* What the coordinator decided for a shard, and what was committed there. */
struct sim_shard {
    struct configuration configuration; /* newest issued */
    struct configuration active;
    struct sim_record *records;
    uint32_t record_count;
    uint64_t lsn_told;                           /* highest LSN that a client was told of */
    uint64_t lsn_rights;                         /* committed end when rights were compared last */
    uint64_t lsn_granted;                        /* S18: no log goes beyond */
    uint64_t epoch_lossy, lsn_lossy, time_lossy; /* newest that gave something up, 0: none */
    uint64_t epoch_led;                          /* S1: newest that somebody led, and who */
    struct member led_by;
};

struct sim {
    const struct sim_scenario *scenario; /* this and steps_max: the caller's, between seeds */
    uint64_t steps_max;                  /* events after which a seed ends; 0: when it is done */
    uint64_t seed, random, time, order;
    uint64_t steps;           /* events so far */
    struct sim_event *events; /* those from heap_count on in the heap are free */
    struct sim_due *heap;
    uint32_t heap_count, event_capacity;
    struct sim_node nodes[SIM_NODES];
    uint32_t node_count;
    bool link_cut[SIM_NODES][SIM_NODES];
    uint32_t loss_percent, double_percent, damage_percent, slow_percent;
    struct sim_shard shards[SIM_SHARDS];
    uint64_t incarnations;
    struct sim_client clients[SIM_CLIENTS];
    struct sim_operation *history;
    uint32_t operation_count;
    uint32_t place_count; /* reads in place, from the history's other end down */
    struct sim_read reads[SIM_READS];
    uint64_t fault_counts[FAULT_COUNT];
    uint64_t counts[REPLICA_COUNT_COUNT];
    uint64_t reads_leader, reads_holder, reads_refused, reads_by_ring, reads_again, stalls;
    uint32_t undecided;    /* shards whose history was too much for the search */
    uint64_t transactions; /* answered, with records of several keys */
    uint64_t halves;       /* of a transaction that an epoch ended amid, at one of its followers */
    uint64_t writes_late;  /* that landed in quarantined memory */
    uint32_t faults_done, faults_now, ring_reads;
    bool log_write; /* in this seed */
    bool trace;
    const char *broken; /* first invariant that did not hold */
    char broken_detail[256];
};

struct sim_totals {
    uint64_t seeds, operations, unknown, refused, faults[FAULT_COUNT], counts[REPLICA_COUNT_COUNT];
    uint64_t reads_leader, reads_holder, reads_refused, reads_by_ring, stalls;
    uint64_t writes_late, transactions, halves, undecided;
};

/* Run one seed.  Returns true if every check held; else s->broken says what did not. */
bool sim_run(struct sim *s, uint64_t seed, bool trace);
struct sim *sim_new(void);
void sim_free(struct sim *s);

/* ---- between the files ---- */

uint64_t sim_random(struct sim *s);
uint32_t sim_below(struct sim *s, uint32_t n);
bool sim_chance(struct sim *s, uint32_t percent);
void sim_schedule(struct sim *s, uint64_t delay, struct sim_event e);
uint64_t sim_clock(const struct sim *s, const struct sim_node *n);
void sim_broken(struct sim *s, const char *invariant, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void sim_node_start(struct sim *s, uint32_t node, bool first);
void sim_node_stop(struct sim *s, uint32_t node);
void sim_node_tick(struct sim *s, uint32_t node);
void sim_node_receive(struct sim *s, const struct sim_event *e);
void sim_node_flush(struct sim *s, uint32_t node);
void sim_node_configure(struct sim *s, uint32_t node, uint32_t shard);
void sim_node_request(struct sim *s, const struct sim_event *e);

/* The replica of a log at a node. */
struct replica *sim_node_replica(const struct sim_node *n, uint32_t log);

static inline uint32_t sim_shard_of(uint64_t key)
{
    return (uint32_t)(key % SIM_SHARDS);
}

/* What a node sends.  The last log_bytes are of its log, where they lie at offset: the network reads
 * them there, late, and may damage them on the way. */
struct sim_datagram {
    uint32_t from, to;
    const uint8_t *bytes;
    uint64_t length, log_bytes, offset;
};
void sim_send(struct sim *s, const struct sim_datagram *d);
/* The network is done with a message: it lets go of the memory that it read (S12). */
void sim_let_go(struct sim *s, const struct sim_event *e);

/* The bytes of an announcement are written, some time; a step of that. */
void sim_write(struct sim *s, uint32_t from, const struct replica_out *out);
void sim_write_step(struct sim *s, const struct sim_event *e);

void sim_client_next(struct sim *s, uint32_t client);
/* Carry out a client's transaction; as shard_transaction. */
int sim_client_transact(struct sim *s, struct shard *shard, const struct shard_origin *origin);
void sim_client_reply(struct sim *s, const struct sim_event *e);
void sim_client_timeout(struct sim *s, const struct sim_event *e);

void sim_read_begin(struct sim *s, uint32_t node);
void sim_read_step(struct sim *s, uint32_t slot);
void sim_read_reply(struct sim *s, const struct sim_event *e);

void sim_coordinator_start(struct sim *s);
void sim_coordinator_activate(struct sim *s, const struct sim_event *e);
void sim_coordinator_change(struct sim *s, uint32_t shard, bool voters);
void sim_coordinator_promote(struct sim *s, const struct sim_event *e);
void sim_coordinator_grant(struct sim *s, const struct sim_event *e);
void sim_coordinator_look(struct sim *s);

void sim_fault_begin(struct sim *s);
void sim_fault_end(struct sim *s, const struct sim_event *e);

/* The nth read in place of the history. */
static inline struct sim_operation *sim_place(const struct sim *s, uint32_t n)
{
    return &s->history[SIM_OPERATIONS_MAX - 1 - n];
}

void sim_check_node(struct sim *s, uint32_t node);
void sim_check_history(struct sim *s);
void sim_check_read(struct sim *s, const struct sim_read *r);

#endif
