/* fleet_agent - one agent process: the agents it flies, and the state of their commands.
 *
 * A row of an agent is a telemetry put, and when its sector changes a command: release of the old
 * sector, claim of the new.  An agent has one command at a time; a row that needs another waits for
 * it, and with it the later rows of the same source.  Many agents' commands are in flight at once.
 *
 * Claim    look at the sector in place; owned by another: conflict, look again a few times, then
 * divert (fly on without one).  Free: put_if on the version seen.  A quarter of the agents claim
 * from memory first, without looking, as an agent would whose view is old: the compare must refuse
 * them. Fate     unknown: look.  Applied: go on.  Not applied: it may still be, so write the sector
 * once more under the version it expected (a fence): then one of the two has failed for good. */
#ifndef DUNLIN_BENCH_FLEET_AGENT_H
#define DUNLIN_BENCH_FLEET_AGENT_H

#include "bench/fleet.h"
#include "bench/geohash.h"

#define FLEET_CLAIM_TRIES 4u
#define FLEET_CLAIM_BACKOFF_NS 20000u /* doubles with each try */
#define FLEET_LINGER 64u              /* ended agents whose telemetry is kept, per process */
#define FLEET_REMEMBERED 64u          /* deleted ones that are looked at once more at the end */
#define FLEET_MEMORY 4096u            /* sectors of which a process remembers its last version */

enum fleet_phase {
    FLEET_IDLE = 0,
    FLEET_TO_SUBMIT, /* at ns_next */
    FLEET_IN_FLIGHT,
    FLEET_TO_RESOLVE, /* fate unknown: look, at ns_next */
    FLEET_FENCING,    /* a fence is in flight */
};

/* What a completion belongs to: kind << 62 | flyer << 40 | number. */
enum fleet_request { FLEET_PUT = 0, FLEET_CLAIM = 1, FLEET_RELEASE = 2, FLEET_DELETE = 3 };
#define FLEET_FLYERS_MAX (1u << 22)
#define FLEET_NUMBERS (UINT64_C(1) << 40)

struct fleet_command {
    enum fleet_phase phase;
    uint32_t cell;
    uint32_t tries;
    bool met_conflict, from_memory;
    uint64_t lsn_expected;
    uint64_t ns_begin, ns_submitted, ns_next;
};

/* An agent being flown; same index as its slot in the region. */
struct fleet_flyer {
    uint64_t owner;
    uint32_t cell; /* where it is; GEOHASH_NONE: needs no sector */
    uint32_t put_in_flight;
    bool leaving, ended, retiring;
    bool queued; /* in todo */
    struct fleet_command claim, release;
    struct fleet_key key; /* of its telemetry */
};

struct fleet_fifo {
    uint32_t *items;
    uint32_t head, count, room;
};

struct fleet_cursor {
    uint32_t at, end; /* in the source's order */
    uint32_t first;
    uint32_t repetition;
};

struct fleet_process {
    const struct fleet *fleet;
    struct fleet_region *region;
    struct fleet_slot *slots;
    struct fleet_seat seat;
    uint64_t start;
    uint64_t now_ns; /* of this pass */
    uint64_t cpu_told_ns;
    struct fleet_flyer *flyers;
    uint32_t *free, *todo;
    uint32_t free_count, todo_count;
    uint32_t commands; /* not idle */
    struct fleet_fifo retiring, deleted;
    uint32_t *flyer_of[FLEET_SOURCES_MAX]; /* recorded agent to flyer + 1 */
    struct fleet_cursor cursors[FLEET_SOURCES_MAX];
    struct {
        uint32_t cell;
        uint64_t lsn;
    } memory[FLEET_MEMORY];
};

/* relaxed: the slot's reader takes what it needs by S2 on the words that matter */
static inline void fleet_slot_set(_Atomic uint64_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release); /* S1 */
}

static inline uint64_t fleet_request(enum fleet_request kind, uint32_t flyer, uint64_t number)
{
    uint64_t who = (uint64_t)kind * FLEET_FLYERS_MAX + flyer;
    return who * FLEET_NUMBERS + number % FLEET_NUMBERS;
}

/* ---- fleet_command.c ---- */

/* The agent enters a cell (GEOHASH_NONE: leaves its own for good).  Its commands must be idle. */
void fleet_command_begin(struct fleet_process *p, uint32_t flyer, uint32_t cell);
static inline bool fleet_command_is_idle(const struct fleet_flyer *f)
{
    return f->claim.phase == FLEET_IDLE && f->release.phase == FLEET_IDLE && !f->leaving;
}
/* Do what can be done now for a flyer; true if it must be called again. */
bool fleet_command_advance(struct fleet_process *p, uint32_t flyer);
/* A claim's or release's completion, and that of its fence. */
void fleet_command_complete(struct fleet_process *p, uint32_t flyer,
                            const struct dunlin_completion *done);
/* The daemon lost its memory and nothing is in flight: sectors are gone. */
void fleet_command_forget(struct fleet_process *p, uint32_t flyer);

/* ---- fleet_agent.c ---- */

void fleet_todo(struct fleet_process *p, uint32_t flyer);
/* A write that Dunlin refused for a reason that is nobody's fate: counted and kept for the summary.
 */
void fleet_refused(struct fleet_process *p, int error);

#endif
