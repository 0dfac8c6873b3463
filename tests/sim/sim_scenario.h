/* sim_scenario - what a run of the simulator is about: which faults may fire and how often, how far
 * clocks drift, and what must have happened, or must not, when its seeds are over.
 *
 * A table, constant.  A scenario has no code of its own: it only weighs what sim_world.c can do. */
#ifndef DUNLIN_TESTS_SIM_SIM_SCENARIO_H
#define DUNLIN_TESTS_SIM_SIM_SCENARIO_H

#include "tests/sim/sim.h"

/* What is counted over the seeds, a bit each in what a scenario asks for. */
enum sim_happening {
    HAPPENING_OPERATIONS,
    HAPPENING_UNKNOWN, /* operations of unknown fate */
    HAPPENING_REFUSED, /* operations answered with neither success nor a condition that failed */
    HAPPENING_READS_LEADER,
    HAPPENING_READS_HOLDER,
    HAPPENING_READS_BOARD,       /* that came to R7 */
    HAPPENING_READS_BETWEEN,     /* steps of readers between two of a pass */
    HAPPENING_READS_SPLIT_AGAIN, /* that paused amid their loads, and began again */
    HAPPENING_READS_REFUSED,     /* at R7 */
    HAPPENING_READS_LATE,        /* of them, by the clock alone */
    HAPPENING_BATCHES,           /* of keys read in place, at one commit LSN */
    HAPPENING_READS_AT,          /* at a version */
    HAPPENING_READS_COMPACTED,   /* of it, and it was not kept */
    HAPPENING_PAGES,             /* of scans */
    HAPPENING_SCANS_NEWEST,      /* of them, under a lease */
    HAPPENING_SCANS_POSITION,    /* and at or above what a leader said */
    HAPPENING_SCANS_WAITED,      /* of them, which were below what they had to hold */
    HAPPENING_PAGES_SPLIT,       /* pages and batches that paused amid their loads */
    HAPPENING_PAGES_AGAIN,       /* of them, to no avail */
    HAPPENING_FOLLOWED,          /* records that cursors gave out */
    HAPPENING_FOLLOW_MOVES,      /* of cursors, to another node */
    HAPPENING_LAGGED,            /* cursors that were told so */
    HAPPENING_STALLS,            /* passes that stood still between two steps */
    HAPPENING_WRITES_LATE,       /* log writes that landed in quarantined memory */
    HAPPENING_TRANSACTIONS,      /* answered, with records of several keys */
    HAPPENING_ELSES,             /* of them, that did what stands under else */
    HAPPENING_INCREMENTS,        /* done */
    HAPPENING_NOT_NUMBERS,       /* increments, alone or in a transaction, of what is no number */
    HAPPENING_OUT_OF_RANGE,      /* and past the largest or the smallest */
    HAPPENING_SESSIONS_EXPIRED,  /* forgotten after their ttl */
    HAPPENING_SESSIONS_RESUMED,  /* asked for again by who had them */
    HAPPENING_SESSIONS_LATE,     /* and by who came too late */
    HAPPENING_EXPIRED,           /* keys whose ttl was over */
    HAPPENING_ACQUIRED,          /* leases */
    HAPPENING_RENEWED,           /* leases */
    HAPPENING_LEASE_REFUSED,     /* acquires and renewals, since somebody else has it */
    HAPPENING_HALVES,            /* of transactions that an epoch ended amid */
    HAPPENING_GROWTHS,           /* of hash tables */
    HAPPENING_UNDECIDED,         /* histories of a shard that were too much for the search */
    HAPPENING_FAULT,             /* and on: one for each enum sim_fault */
    HAPPENING_COUNT = HAPPENING_FAULT + FAULT_COUNT, /* and on: for each enum replica_count */
    HAPPENING_END = HAPPENING_COUNT + REPLICA_COUNT_COUNT
};
_Static_assert((int)HAPPENING_COUNT < 64 && (int)REPLICA_COUNT_COUNT < 64, "a bit each in 64");

/* Some of them. */
struct sim_happenings {
    uint64_t some;   /* below HAPPENING_COUNT */
    uint64_t counts; /* bits of enum replica_count */
};

struct sim_scenario {
    const char *name;
    const char *text;              /* one line for --scenario list */
    uint32_t node_count;           /* 0: 3, or 5 in three seeds of ten */
    uint32_t weights[FAULT_COUNT]; /* how often each is drawn among them; 0: never */
    uint32_t faults;               /* that a seed has at least; 0: none fires */
    uint32_t faults_at_once;
    uint64_t pause_least_ns, pause_ns; /* before the next draw: least, and up to so much more */
    bool drift_extreme;                /* every clock runs as fast or as slow as any may */
    bool grows;                        /* a shard, to so many keys that its hash table does */
    bool log_write;                    /* in every other seed, where the bytes of the log go so */
    uint64_t seeds;                    /* from which on the next two must hold */
    struct sim_happenings must, must_not; /* have happened over them */
};

/* NULL: no such scenario.  "default" always exists. */
const struct sim_scenario *sim_scenario_find(const char *name);
/* The nth of the table, NULL behind its end. */
const struct sim_scenario *sim_scenario_at(uint32_t n);

/* ---- where the simulator asks ---- */

uint32_t sim_scenario_nodes(struct sim *s);
/* The nodes have started: their clocks, if the scenario says how they drift. */
void sim_scenario_clocks(struct sim *s);
enum sim_fault sim_scenario_fault(struct sim *s);
uint64_t sim_scenario_pause(struct sim *s);

/* ---- at the end ---- */

bool sim_happening_is_in(const struct sim_happenings *set, uint32_t happening);
const char *sim_happening_name(uint32_t happening);
uint64_t sim_happening_count(const struct sim_totals *t, uint32_t happening);
/* First of what must have happened and did not, or must not have and did; HAPPENING_END: all is as it
 * must be. */
uint32_t sim_scenario_wrong(const struct sim_scenario *c, const struct sim_totals *t);

#endif
