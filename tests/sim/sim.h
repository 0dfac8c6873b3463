/* sim - a cluster of a few shards in one thread, from one seed: nodes with their clocks, a network
 * that delays, loses, doubles, reorders, damages and cuts, clients with sessions, a scripted
 * coordinator, and a checker that sees everything (DESIGN sections 5 and 11).
 *
 * Nothing reads a clock or memory that is not derived from the seed: the same seed gives the same
 * trace.  Units: time is ns of the world; each node tells it by a clock of its own (sim_clock). */
#ifndef DUNLIN_TESTS_SIM_SIM_H
#define DUNLIN_TESTS_SIM_SIM_H

#include "dataplane/boards.h"
#include "dataplane/group.h"
#include "dataplane/holds.h"
#include "engine/cursor.h"
#include "engine/number.h"
#include "engine/read.h"
#include "engine/ring.h"
#include "engine/scan.h"
#include "engine/space.h"
#include "tests/sim/sim_call.h"

#define SIM_NODES 5u
#define SIM_SHARDS 3u
#define SIM_LSN_START (UINT64_C(1) << 20)
#define SIM_LSN_GRANT (UINT64_C(5) << 16) /* at a time: five segments */
#define SIM_FRAMES 256u                   /* of a node's arena, at most */
#define SIM_CLIENTS 6u
#define SIM_STAGE_END 6u /* stages of a pass */
#define SIM_READS 8u     /* in place, under way at a time */
/* Who may ask a node: clients, readers by their slots, and the scan at each node. */
#define SIM_ASKERS (SIM_CLIENTS + SIM_READS + SIM_NODES)
/* Keys that are written once and expire: they are new to the index again and again.  Their first byte
 * is the last there is, so that they come behind the others in order. */
#define SIM_KEY_ONCE 255u
#define SIM_FOLLOWERS 6u
#define SIM_SHARD_GROWS 0u /* in scenarios that grow: to so many keys */
#define SIM_KEYS_GROWN 6000u
#define SIM_KEYS 18u
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
    FAULT_JUMP,        /* somebody sets a node's time of day */
    FAULT_HOLD,        /* all that goes out of a node, or into it, waits and comes at once */
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
    EVENT_READ_STEP,
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
    int64_t number;        /* REPLY: as in struct ring_completion */
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
    struct replica_update update; /* what the pass so far wants done, */
    uint32_t sent;                /* and of its messages those that left */
    uint64_t lsn_checked;         /* the checker compared our committed bytes up to here */
    bool amid;                    /* the last record there did not end its transaction */
    uint64_t promised_max;        /* S2 */
    uint64_t installs;            /* snapshots taken when it was last checked */
};

struct sim_node {
    bool up;
    bool frozen;
    bool stalled;      /* amid a pass, */
    uint64_t resumes;  /* until then */
    uint32_t stage;    /* of the pass that it is amid; SIM_STAGE_END: of none */
    uint32_t at;       /* of the replicas to be ticked, within that, */
    uint32_t rode;     /* and of those whose commits ride on what leaves by then */
    bool ticked, more; /* it was, and has more to say */
    uint32_t received; /* shard that the pass began with a message for; SIM_SHARDS: none */
    uint64_t now_late; /* as in the lcore */
    struct sim_event waiting[SIM_ASKERS]; /* requests, in its rings */
    uint32_t waiting_count;
    uint64_t incarnation;
    int64_t clock_offset;
    int32_t clock_ppm;
    int64_t day_offset;         /* of its time of day, which may be set */
    uint64_t sweep_next;        /* by its clock: when it looks for sessions without traffic, */
    uint32_t sweep_shard;       /* and of which shard */
    uint64_t held_out, held_in; /* until then, what it sends and what is sent to it waits */
    uint64_t expiry_next;       /* by its clock: when it looks for keys whose ttl is over */
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
    struct boards shown; /* of the group: boards and lease cells, as agents see them */
    struct pair pairs[SIM_NODES - 1];
    uint64_t starts[SIM_NODES]; /* newest of each node that was heard of */
    struct replica *replicas[SIM_SHARDS], *busy[SIM_SHARDS];
};

#define SIM_PARTS 4u /* of a transaction */

enum sim_operation_kind {
    OPERATION_PUT,
    OPERATION_PUT_IF,
    OPERATION_DELETE,
    OPERATION_GET,
    OPERATION_TRANSACTION,
    OPERATION_CHECK, /* of a transaction only: a condition */
    OPERATION_INCREMENT,
    OPERATION_ACQUIRE, /* of a lease */
    OPERATION_RENEW,
    OPERATION_RELEASE,
    OPERATION_EXPIRE, /* nobody asked for it: the leader did it */
};

/* A transaction's PUT, DELETE, INCREMENT or CHECK of one key. */
struct sim_part {
    enum sim_operation_kind kind;
    uint8_t section; /* enum ring_section */
    uint8_t compare; /* enum ring_compare */
    uint32_t key;
    uint64_t expected, value;
    int64_t delta;
    uint32_t value_length;
};

/* One operation of a client's history. */
struct sim_operation {
    enum sim_operation_kind kind;
    uint32_t client, key;
    uint64_t invoked, returned; /* returned 0: fate unknown */
    uint64_t lsn_floor;         /* highest LSN anybody had been told when it was invoked */
    uint64_t session, sequence; /* session: LSN that opened it */
    uint64_t expected, value;   /* expected: a version, or a lease's token */
    uint64_t ttl_ns;            /* 0: it stays */
    int64_t delta;
    uint32_t value_length;
    uint32_t status;
    uint64_t lsn, read_value;
    int64_t number;      /* answered: as in struct ring_completion */
    uint64_t written;    /* when a leader appended it first, 0: not known */
    uint32_t part_count; /* TRANSACTION: of several keys of one shard, key is the first's */
    struct sim_part parts[SIM_PARTS];
};

/* What is committed, in order; learned from the first node that commits it. */
struct sim_record {
    uint64_t lsn, lsn_end, lsn_previous, epoch, session, sequence;
    uint64_t value; /* its first bytes */
    uint64_t token; /* of a lease, or that a void says */
    uint64_t ttl_ns, learned, written;
    uint64_t clock_ns; /* its hybrid clock */
    uint32_t key;      /* SIM_KEYS: none */
    uint8_t kind;      /* TOMBSTONE also where it expired */
    uint8_t operation;
    uint8_t flags;
    uint8_t status; /* of a void */
    bool expired;
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
    uint32_t tries;   /* of the current operation: */
    bool refused;     /* the last one was, */
    bool unsure;      /* and one before may have been carried out */
    bool busy;
    bool opening;
    bool closing;
    bool grows;    /* its operation is to */
    bool napped;   /* for long, before it asked */
    bool resuming; /* opening what it had: only if that is still there */
    struct sim_operation now;
    uint64_t seen[SIM_KEYS];  /* last version seen, for compares */
    uint64_t token[SIM_KEYS]; /* of the last lease that it had, which may be over */
    uint64_t holds[SIM_KEYS]; /* it takes itself for the owner until then */
    int32_t clock_ppm;
};

/* What an agent that reads in place does next. */
enum sim_read_next {
    READ_NOTHING,
    READ_FIND, /* R1 to R4 */
    READ_COPY,
    READ_VALIDATE, /* R5, R6 */
    READ_DEADLINE, /* R7: deadline and generations */
    READ_CLOCK,    /* R7: whether it is still ahead */
    READ_RING,     /* no lease: it waits for the daemon's answer */
};

/* What was found of a key. */
struct sim_found {
    uint32_t key;
    int result;          /* of read_find */
    uint64_t lsn, value; /* of a tombstone, too; 0: nothing was there */
    struct read_found in_place;
};

/* A read in place, of one key or a batch: its steps are events of their own, or come between two steps of its node. */
struct sim_read {
    enum sim_read_next next;
    bool split; /* it paused since R1 */
    uint32_t node, tries;
    uint32_t turn; /* an event of an older one is not for it */
    uint64_t invoked, lsn_floor, incarnation, deadline;
    uint64_t lsn_at; /* a version to read at; 0: the newest */
    const struct read_space *space;
    struct read_point point;
    uint32_t count, at; /* keys, of one shard and at one commit LSN; the next of them */
    struct sim_found found[SIM_PARTS];
};

/* A scan of one shard, page by page, as of engine/agent/scan.c. */
struct sim_scan {
    struct scan_page page;
    struct order_key from; /* where the page began that is being read */
    const struct read_space *space;
    struct read_point point;
    int result; /* of scan_read */
    uint32_t node;
    uint64_t incarnation;
    bool begun;
    bool linearizable;
    uint64_t told;       /* highest LSN that somebody had been told of when that page was begun, */
    uint64_t told_floor; /* and when what follows was asked for */
    uint64_t lsn_floor;  /* a page at or above it is new enough; 0: none is known */
    uint64_t lsn_wait;   /* the same of the next page, in that epoch */
    uint64_t epoch_wait;
    uint32_t asking; /* turn of the question for a floor, 0: there is none */
    uint64_t asked;  /* when */
};

/* A subscription to one shard, at whichever node it is now. */
struct sim_follower {
    struct cursor cursor;
    struct topic topic;
    uint32_t node;
    uint64_t incarnation;
    bool begun;
    /* its read, under way or not */
    const struct read_space *space;
    struct cursor_batch batch;
    bool was_ready; /* then: */
    uint64_t from;  /* where the cursor stood */
    int result;     /* of cursor_read */
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
    bool learns;  /* in this seed: every node that does not vote learns, and few are to vote */
    bool resting; /* nobody asks for anything any more */
    bool link_cut[SIM_NODES][SIM_NODES];
    uint32_t loss_percent, double_percent, damage_percent, slow_percent;
    struct sim_shard shards[SIM_SHARDS];
    uint64_t incarnations;
    struct sim_client clients[SIM_CLIENTS];
    struct sim_operation *history;
    uint32_t operation_count;
    uint32_t place_count; /* reads in place, from the history's other end down */
    struct sim_read reads[SIM_READS];
    struct sim_scan scans[SIM_NODES];
    struct sim_follower followers[SIM_FOLLOWERS];
    struct sim_call read_calls[SIM_READS], scan_calls[SIM_NODES], follow_calls[SIM_FOLLOWERS];
    uint64_t fault_counts[FAULT_COUNT];
    uint64_t counts[REPLICA_COUNT_COUNT];
    uint64_t reads_leader, reads_holder, reads_refused, reads_by_ring, stalls;
    uint64_t reads_board;       /* that came to R7 */
    uint64_t reads_between;     /* steps of agents between two of a pass */
    uint64_t reads_split_again; /* that paused amid their loads, and began again */
    uint64_t reads_late;        /* refused by the clock alone */
    uint64_t batches;           /* answered in place */
    uint64_t reads_at;          /* at a version, answered, */
    uint64_t reads_compacted;   /* and those that were not */
    uint64_t pages;             /* of scans, */
    uint64_t scans_newest;      /* of them under a lease, */
    uint64_t scans_position;    /* at or above what a leader said, */
    uint64_t scans_waited;      /* or not yet, and so given up */
    uint64_t pages_split;       /* pages and batches that stood still amid their loads, */
    uint64_t pages_again;       /* and of them those that found that all had changed */
    uint64_t followed;          /* records that cursors gave out */
    uint64_t follow_moves;      /* of cursors, to another node */
    uint64_t lagged;            /* cursors were told so */
    uint32_t steps_to_agent, steps_to_pause, echoes_to_pause, rights_to_pause; /* countdowns */
    uint32_t undecided;    /* shards whose history was too much for the search */
    uint64_t transactions; /* answered, with records of several keys */
    uint64_t elses; /* of them, whose conditions did not hold and that had something to do then */
    uint64_t increments;                /* answered, and done, */
    uint64_t not_numbers, out_of_range; /* or refused, of transactions, too */
    uint64_t sessions_expired, sessions_resumed, sessions_late; /* late: resumed, and forgotten */
    uint64_t expired;                                           /* keys */
    uint64_t acquired, renewed, lease_refused;                  /* leases */
    uint64_t halves;      /* of a transaction that an epoch ended amid, at one of its followers */
    uint64_t writes_late; /* that landed in quarantined memory */
    uint32_t faults_done, faults_now, read_turns, keys_grown;
    uint64_t growths; /* of hash tables */
    bool log_write;   /* in this seed */
    /* Bytes; in every other one of those seeds ranges of up to so many go by message. */
    uint32_t log_write_above;
    uint32_t versions;   /* of a key that are kept, */
    uint64_t history_ns; /* and for how long */
    uint64_t session_ttl_ns;
    bool close_unknown; /* nobody knows what became of a session that was to be closed */
    bool trace;
    const char *broken; /* first invariant that did not hold */
    char broken_detail[256];
};

struct sim_totals {
    uint64_t seeds, operations, unknown, refused, faults[FAULT_COUNT], counts[REPLICA_COUNT_COUNT];
    uint64_t reads_leader, reads_holder, reads_refused, reads_board, reads_between;
    uint64_t reads_split_again, reads_late, batches, stalls, writes_late, transactions, halves,
        undecided, elses, increments, expired, acquired, renewed, lease_refused, reads_at,
        reads_compacted, pages, scans_newest, scans_position, scans_waited, pages_split,
        pages_again, followed, follow_moves, lagged, not_numbers, out_of_range, sessions_expired,
        sessions_resumed, sessions_late, growths;
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
/* Its time of day, since 1970 in our world. */
uint64_t sim_day(const struct sim *s, const struct sim_node *n);
void sim_broken(struct sim *s, const char *invariant, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void sim_node_start(struct sim *s, uint32_t node, bool first);
void sim_node_stop(struct sim *s, uint32_t node);
void sim_node_tick(struct sim *s, uint32_t node);
void sim_node_receive(struct sim *s, const struct sim_event *e);
void sim_node_flush(struct sim *s, const struct sim_event *e);
void sim_node_configure(struct sim *s, uint32_t node, uint32_t shard);
void sim_node_request(struct sim *s, const struct sim_event *e);
/* Carry a request out, if it is still wanted. */
void sim_request_take(struct sim *s, struct sim_node *n, const struct sim_event *e);
/* Expire the keys whose time has come, of shards that are led here; and a session without traffic. */
void sim_node_expire(struct sim *s, struct sim_node *n);
void sim_node_sweep(struct sim *s, struct sim_node *n);

/* The replica of a log at a node. */
struct replica *sim_node_replica(const struct sim_node *n, uint32_t log);

static inline bool sim_is_once(uint32_t key)
{
    return key > SIM_KEYS;
}

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
/* Whether it is to be one that makes a shard grow. */
bool sim_client_grows(struct sim *s);
/* What its next operation is, of a key. */
void sim_client_choose(struct sim *s, uint32_t client, uint32_t key);
/* What an answer says to its client: about versions, for later conditions, and about leases, that no two
 * hold at once (S20). */
void sim_client_learn(struct sim *s, uint32_t client);
void sim_client_reply(struct sim *s, const struct sim_event *e);
void sim_client_timeout(struct sim *s, const struct sim_event *e);

/* Now and then somebody begins a read at a node. */
void sim_read_some(struct sim *s, uint32_t node);
/* A node is between two steps of its pass: an agent of it goes on, or begins. */
void sim_read_between(struct sim *s, uint32_t node);
void sim_read_step(struct sim *s, uint32_t slot);
void sim_read_reply(struct sim *s, const struct sim_event *e);

/* One page of a scan at a node; a look of one that follows a log. */
void sim_scan_step(struct sim *s, uint32_t node);
void sim_scan_reply(struct sim *s, const struct sim_event *e);
void sim_follow_step(struct sim *s, uint32_t node);

void sim_coordinator_start(struct sim *s);
void sim_coordinator_activate(struct sim *s, const struct sim_event *e);
void sim_coordinator_change(struct sim *s, uint32_t shard, bool voters);
void sim_coordinator_promote(struct sim *s, const struct sim_event *e);
void sim_coordinator_grant(struct sim *s, const struct sim_event *e);
void sim_coordinator_look(struct sim *s);

void sim_fault_begin(struct sim *s);
/* One that comes with another: b is which, c of what. */
void sim_fault_more(struct sim *s, const struct sim_event *e);
void sim_fault_end(struct sim *s, const struct sim_event *e);

/* The nth read in place of the history. */
static inline struct sim_operation *sim_place(const struct sim *s, uint32_t n)
{
    return &s->history[SIM_OPERATIONS_MAX - 1 - n];
}

void sim_check_node(struct sim *s, uint32_t node);
/* That part of it which a reader must come after: what the node shows is known to be committed. */
void sim_check_shown(struct sim *s, uint32_t node);
void sim_check_history(struct sim *s);
/* That part of it which is about reads by the ring. */
void sim_check_gets(struct sim *s);
/* Every record is explained by an operation, carried out on what the records before it left, and every
 * answer by a record: the log is the witness. */
void sim_replay(struct sim *s, uint32_t shard);
/* It joins the history that must be explained. */
void sim_place_add(struct sim *s, const struct sim_operation *o);
void sim_check_read(struct sim *s, const struct sim_read *r);
/* S22: what is in order are the keys of the index. */
void sim_check_order(struct sim *s, uint32_t node, uint32_t k);
void sim_check_read_at(struct sim *s, const struct sim_read *r);

/* What is committed at an LSN, and the newest committed version of a key at or below one; NULL: nothing
 * is. */
const struct sim_record *sim_record_find(const struct sim_shard *s, uint64_t lsn);
const struct sim_record *sim_version_at(const struct sim_shard *s, uint32_t key, uint64_t lsn);

#endif
