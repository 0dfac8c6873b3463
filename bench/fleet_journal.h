/* fleet_journal - what a process of the fleet writes down, in memory that outlives it.
 *
 * One region of shared memory per life of a process: counters, a ring of entries for the checker,
 * and a slot per agent it flies.  The process is the only writer; the supervisor takes entries and
 * reads the slots, the observer reads slots while they change.  kill -9 stops the writer between
 * any two instructions, so an intent is stored before its request is submitted, an outcome after it
 * is known, and each with a release store of the word that says so.
 *
 * Memory order: J1 tail (release) -> J2 tail (acquire): entries are whole.
 *               K1 head (release) -> K2 head (acquire): their places are free.
 *               S1 slot words (release) -> S2 (acquire): an acknowledged version is visible in
 * Dunlin to whoever saw it written here. */
#ifndef DUNLIN_BENCH_FLEET_JOURNAL_H
#define DUNLIN_BENCH_FLEET_JOURNAL_H

#include "bench/histogram.h"
#include "engine/base.h"

#define FLEET_JOURNAL_ENTRIES 16384u
#define FLEET_JOURNAL_RESERVE 64u /* places kept for outcomes when new commands must wait */

enum fleet_entry_kind {
    FLEET_ENTRY_WRITE = 1,   /* of a sector, acknowledged: lsn_expected -> lsn */
    FLEET_ENTRY_UNKNOWN = 2, /* of a sector, fate unknown: lsn_expected -> perhaps something */
    FLEET_ENTRY_HELD = 3,    /* owner_before had the sector for sure from ns_from until ns_until */
    FLEET_ENTRY_FINDING = 4, /* a check of the process itself failed */
};

enum fleet_finding {
    FLEET_FINDING_VERSION_FELL = 1, /* a key's newer acknowledgement or read has a lower version */
    FLEET_FINDING_TORN,             /* a value is not whole, or of another key */
    FLEET_FINDING_MISSING,          /* an acknowledged put is not there */
    FLEET_FINDING_NOT_ACKNOWLEDGED, /* a value that was never submitted, or not the one acknowledged
                                     */
    FLEET_FINDING_NOT_VISIBLE,      /* a linearizable read from before an acknowledgement */
    FLEET_FINDING_UNDELETED,        /* an acknowledged delete is undone */
    FLEET_FINDING_STOLEN,           /* a held sector was written by somebody else */
    FLEET_FINDING_VIEW,             /* a view changed although its release said it was safe */
    FLEET_FINDING_REPLICA_VERSION,  /* at the end another node has another version */
    FLEET_FINDING_REPLICA_VALUE,    /* or another value of the same version */
    FLEET_FINDING_WATCH_VERSION,    /* a watch gave out no newer version than before */
    FLEET_FINDING_WATCH_SKIPPED,    /* it left a write out, and told of no lag */
    FLEET_FINDING_WATCH_MISSED,     /* at the end: what stands there is not what it gave out last */
    FLEET_FINDING_WATCH_REMAINS,    /* at the end: it gave out a key, and not that it was deleted */
    FLEET_FINDING_WATCH_FOREIGN,    /* it gave out a key that it was not asked for */
    FLEET_FINDING_WATCH_BROKEN,     /* it says that the memory is damaged, or another space */
    FLEET_FINDING_COUNT
};

struct fleet_entry {
    uint64_t start;  /* of the daemon that it holds for */
    uint32_t cell;   /* findings about telemetry: GEOHASH_NONE */
    uint8_t kind;    /* enum fleet_entry_kind */
    uint8_t node;    /* findings: at the nth node, from 0 */
    uint16_t detail; /* enum fleet_finding */
    uint64_t owner_before,
        owner_after;            /* 0: free; findings: whose key it is about, in owner_before */
    uint64_t lsn_expected, lsn; /* findings: what was expected, what was found */
    uint64_t ns_from, ns_until;
};
_Static_assert(sizeof(struct fleet_entry) == 64, "one line");

/* Telemetry of an agent. */
enum fleet_slot_state {
    FLEET_SLOT_FLYING = 1,
    FLEET_SLOT_LINGERING = 2, /* its last row is told; its key stays for a while */
    FLEET_SLOT_DELETING = 3,  /* its key is being deleted: it may be there or not */
    FLEET_SLOT_DELETED = 4,   /* acknowledged */
};

/* In these states what was acknowledged must be there. */
static inline bool fleet_slot_state_is_live(uint32_t state)
{
    return state == FLEET_SLOT_FLYING || state == FLEET_SLOT_LINGERING;
}

/* One agent.  Cells are GEOHASH_NONE when there is none. */
struct fleet_slot {
    alignas(2 * CACHE_LINE) _Atomic uint64_t owner; /* 0: unused; fleet_value.h */
    _Atomic uint64_t number_submitted;              /* of its puts, from 1 */
    _Atomic uint64_t number_acked, lsn_acked;
    _Atomic uint32_t state; /* enum fleet_slot_state */
    _Atomic uint32_t cell_held, cell_claiming, cell_releasing;
    _Atomic uint64_t lsn_held, ns_held;
    _Atomic uint64_t lsn_claiming, lsn_releasing; /* expected */
};

/* Counters, each written by its process alone and only growing. */
enum fleet_counter {
    FLEET_ROWS,
    FLEET_UPDATES, /* telemetry puts acknowledged */
    FLEET_CLAIMS,  /* commands: claims granted or diverted */
    FLEET_GRANTED,
    FLEET_CONFLICTS,       /* commands that met a sector owned by another */
    FLEET_COMPARES_FAILED, /* claims that the daemon refused for their version */
    FLEET_DIVERTED,
    FLEET_RELEASES,
    FLEET_UNKNOWN, /* writes of unknown fate */
    FLEET_REFUSED, /* writes refused: quota, access, sizes */
    FLEET_RING_BYTES,
    FLEET_AGENTS_STARTED,
    FLEET_AGENTS_ENDED,
    FLEET_RETIRED, /* telemetry keys verified and deleted */
    FLEET_ATTACHED,
    FLEET_RESTARTS,           /* of the daemon, seen and got over */
    FLEET_READS,              /* observer: gets */
    FLEET_READS_LINEARIZABLE, /* of them, linearizable and answered */
    FLEET_READS_REFUSED,      /* of them, not answered: the node was not able to */
    FLEET_READS_IN_PLACE,     /* told by the library at the end */
    FLEET_READS_BY_RING,
    FLEET_VIEWS,
    FLEET_FENCED,        /* sectors written once more, so that a write of unknown fate fails */
    FLEET_JOURNAL_WAITS, /* times a process waited for its journal to be read */
    FLEET_CPU_NS,        /* used by the process, now and then */
    FLEET_PUTS_FAILED,   /* of telemetry: refused, or of unknown fate: its number may be left out */
    FLEET_WATCHES,       /* watchers: open */
    FLEET_EVENTS,
    FLEET_LAGS,
    FLEET_WATCHES_JUDGED, /* held against what stood in Dunlin at the end */
    FLEET_COUNTERS
};

#define FLEET_CHAOS_KILLS_MAX 256u

struct fleet_region {
    _Atomic uint64_t counters[FLEET_COUNTERS];
    _Atomic uint64_t start;       /* of the daemon that slots hold for; 0: in between */
    _Atomic int64_t virtual_us;   /* of the next row to be replayed; INT64_MAX: there is none */
    _Atomic int32_t last_refusal; /* -errno */
    _Atomic uint32_t is_dead;     /* supervisor: its process was killed, its slots no longer hold */
    uint32_t process, life;
    uint32_t node; /* that its process looks at; agents and watchers: 0 */
    uint32_t slot_count;
    uint64_t slots_at;                         /* bytes from here */
    alignas(CACHE_LINE) _Atomic uint64_t tail; /* process */
    alignas(CACHE_LINE) _Atomic uint64_t head; /* supervisor */
    /* Of each kill of a node the claim that took longest, of those that ended before the next one. */
    _Atomic uint64_t longest_ns[FLEET_CHAOS_KILLS_MAX];
    struct histogram latency; /* ns: of commands; observer, watchers: of propagation to them */
    struct fleet_entry entries[FLEET_JOURNAL_ENTRIES];
};

static inline size_t fleet_region_bytes(uint32_t slot_count)
{
    return align_up(sizeof(struct fleet_region), PAGE) +
           align_up(slot_count * sizeof(struct fleet_slot), PAGE);
}

static inline struct fleet_slot *fleet_region_slots(const struct fleet_region *r)
{
    return (struct fleet_slot *)((uintptr_t)r + r->slots_at);
}

/* r: zeros.  Before any process is forked; process is set when its own is. */
void fleet_region_init(struct fleet_region *r, uint32_t life, uint32_t slot_count);

/* relaxed: one writer, and who reads wants no order */
static inline void fleet_count(struct fleet_region *r, enum fleet_counter counter, uint64_t by)
{
    uint64_t old = atomic_load_explicit(&r->counters[counter], memory_order_relaxed);
    atomic_store_explicit(&r->counters[counter], old + by, memory_order_relaxed);
}

static inline uint64_t fleet_counted(const struct fleet_region *r, enum fleet_counter counter)
{
    return atomic_load_explicit(&r->counters[counter], memory_order_relaxed);
}

/* Process: true if a new command may start, whose outcome will then find room. */
bool fleet_journal_has_room(const struct fleet_region *r);
/* Process: write an entry down; waits for the supervisor if the ring is quite full. */
void fleet_journal_put(struct fleet_region *r, const struct fleet_entry *entry);
/* Supervisor, also when the process is dead: take up to capacity entries; returns how many. */
size_t fleet_journal_take(struct fleet_region *r, struct fleet_entry *entries, size_t capacity);

#endif
