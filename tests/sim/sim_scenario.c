#include "tests/sim/sim_scenario.h"

#include <string.h>

#define BIT(happening) (UINT64_C(1) << (happening))
#define FAULT_BIT(fault) BIT(HAPPENING_FAULT + (fault))
#define COUNT_BIT(count) BIT(HAPPENING_COUNT + (count))
/* All but a lost majority, which has a scenario of its own. */
#define ALL_FAULTS (COUNT_BIT(0) - FAULT_BIT(0) - FAULT_BIT(FAULT_LOSE))
#define ALL_COUNTS (BIT(HAPPENING_END) - COUNT_BIT(0) - COUNT_BIT(REPLICA_COUNT_LOSSY))
#define READS                                                                                      \
    (BIT(HAPPENING_OPERATIONS) | BIT(HAPPENING_TRANSACTIONS) | BIT(HAPPENING_READS_LEADER) |       \
     BIT(HAPPENING_READS_HOLDER) | BIT(HAPPENING_READS_BOARD) | BIT(HAPPENING_READS_BETWEEN) |     \
     BIT(HAPPENING_BATCHES) | BIT(HAPPENING_ELSES) | BIT(HAPPENING_INCREMENTS) |                   \
     BIT(HAPPENING_EXPIRED) | BIT(HAPPENING_ACQUIRED) | BIT(HAPPENING_RENEWED) |                   \
     BIT(HAPPENING_LEASE_REFUSED) | BIT(HAPPENING_READS_AT) | BIT(HAPPENING_PAGES) |               \
     BIT(HAPPENING_SCANS_NEWEST) | BIT(HAPPENING_FOLLOWED) | BIT(HAPPENING_FOLLOW_MOVES))

#define CLOCK_PPM_MAX 500 /* of one clock */

_Static_assert(FAULT_COUNT == 12, "each has a weight in default and a name below");
static const struct sim_scenario scenarios[] = {
    {
        .name = "default",
        .text = "every fault there is, at random, up to two at a time",
        .weights = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, [FAULT_JUMP] = 1},
        .faults = 20,
        .faults_at_once = 2,
        .pause_least_ns = 10 * NS_PER_MS,
        .pause_ns = 100 * NS_PER_MS,
        .seeds = 2000,
        .log_write = true,
        .must = READS | BIT(HAPPENING_READS_SPLIT_AGAIN) | BIT(HAPPENING_READS_REFUSED) |
                BIT(HAPPENING_READS_LATE) | BIT(HAPPENING_READS_COMPACTED) | BIT(HAPPENING_LAGGED) |
                BIT(HAPPENING_STALLS) | BIT(HAPPENING_WRITES_LATE) | BIT(HAPPENING_HALVES) |
                ALL_FAULTS | ALL_COUNTS,
    },
    {
        .name = "calm",
        .text = "no faults: every operation is answered, by one leader in one epoch",
        .seeds = 1,
        .must = READS | COUNT_BIT(REPLICA_COUNT_GRANTS),
        .must_not = BIT(HAPPENING_UNKNOWN) | BIT(HAPPENING_REFUSED) | ALL_FAULTS |
                    COUNT_BIT(REPLICA_COUNT_CUTS) | COUNT_BIT(REPLICA_COUNT_FETCHES) |
                    COUNT_BIT(REPLICA_COUNT_DAMAGED) | COUNT_BIT(REPLICA_COUNT_STALE) |
                    COUNT_BIT(REPLICA_COUNT_SEALS_WITH_TAIL) |
                    COUNT_BIT(REPLICA_COUNT_SEALS_WAITED) | COUNT_BIT(REPLICA_COUNT_SNAPSHOTS) |
                    COUNT_BIT(REPLICA_COUNT_INSTALLS) | COUNT_BIT(REPLICA_COUNT_PROMOTIONS) |
                    COUNT_BIT(REPLICA_COUNT_LOSSY) | COUNT_BIT(REPLICA_COUNT_HAND_OVERS) |
                    COUNT_BIT(REPLICA_COUNT_RESENDS) | COUNT_BIT(REPLICA_COUNT_RELAPSES) |
                    COUNT_BIT(REPLICA_COUNT_LAPSES),
    },
    {
        .name = "lossy-network",
        .text = "messages lost, late, doubled, damaged; all nodes and links stay",
        .weights = {[FAULT_LOSS] = 3, [FAULT_DELAY] = 2, [FAULT_DOUBLE] = 1, [FAULT_DAMAGE] = 2},
        .faults = 40,
        .faults_at_once = 4,
        .pause_least_ns = 5 * NS_PER_MS,
        .pause_ns = 50 * NS_PER_MS,
        .seeds = 20,
        .log_write = true,
        .must = READS | FAULT_BIT(FAULT_LOSS) | FAULT_BIT(FAULT_DELAY) | FAULT_BIT(FAULT_DOUBLE) |
                FAULT_BIT(FAULT_DAMAGE) | COUNT_BIT(REPLICA_COUNT_NAKS) |
                COUNT_BIT(REPLICA_COUNT_RESENDS) | COUNT_BIT(REPLICA_COUNT_DAMAGED),
    },
    {
        .name = "partitions",
        .text =
            "nodes cut off both ways, links that carry one way only, leadership moved meanwhile",
        .node_count = 5,
        .weights = {[FAULT_CUT_BOTH] = 2, [FAULT_CUT_ONE_WAY] = 1, [FAULT_MOVE] = 1},
        .faults = 30,
        .faults_at_once = 3,
        .pause_least_ns = 10 * NS_PER_MS,
        .pause_ns = 80 * NS_PER_MS,
        .seeds = 100,
        .log_write = true,
        .must = READS | BIT(HAPPENING_READS_REFUSED) | FAULT_BIT(FAULT_CUT_BOTH) |
                FAULT_BIT(FAULT_CUT_ONE_WAY) | COUNT_BIT(REPLICA_COUNT_RESENDS) |
                COUNT_BIT(REPLICA_COUNT_LAPSES) | COUNT_BIT(REPLICA_COUNT_HOLDER_WAITS) |
                COUNT_BIT(REPLICA_COUNT_SEALS_WAITED) | COUNT_BIT(REPLICA_COUNT_CUTS),
    },
    {
        .name = "clocks",
        .text = "nodes that stand still longer than a lease; clocks as far apart as they may be, "
                "times of day set",
        .weights = {[FAULT_FREEZE] = 4, [FAULT_MOVE] = 1, [FAULT_JUMP] = 1},
        .faults = 30,
        .faults_at_once = 2,
        .pause_least_ns = 10 * NS_PER_MS,
        .pause_ns = 80 * NS_PER_MS,
        .drift_extreme = true,
        .seeds = 100,
        .log_write = true,
        .must = READS | BIT(HAPPENING_READS_REFUSED) | FAULT_BIT(FAULT_FREEZE) |
                FAULT_BIT(FAULT_JUMP) | COUNT_BIT(REPLICA_COUNT_SEALS_WAITED) |
                COUNT_BIT(REPLICA_COUNT_LAPSES) | COUNT_BIT(REPLICA_COUNT_HOLDER_WAITS),
    },
    {
        .name = "amnesia",
        .text = "nodes lose their memory and come back as others, while voters change",
        .node_count = 5,
        .weights = {[FAULT_CRASH] = 4, [FAULT_VOTERS] = 1, [FAULT_LOSS] = 1},
        .faults = 30,
        .faults_at_once = 2,
        .pause_least_ns = 10 * NS_PER_MS,
        .pause_ns = 80 * NS_PER_MS,
        .seeds = 100,
        .log_write = true,
        .must = READS | FAULT_BIT(FAULT_CRASH) | FAULT_BIT(FAULT_VOTERS) |
                COUNT_BIT(REPLICA_COUNT_FETCHES) | COUNT_BIT(REPLICA_COUNT_ACTIVATIONS),
    },
    {
        .name = "lost-majority",
        .text = "a majority of a shard's voters loses its memory; the survivors' best log goes on",
        .node_count = 5,
        .weights = {[FAULT_LOSE] = 2, [FAULT_CRASH] = 1, [FAULT_MOVE] = 1, [FAULT_LOSS] = 1},
        .faults = 20,
        .faults_at_once = 2,
        .pause_least_ns = 50 * NS_PER_MS,
        .pause_ns = 200 * NS_PER_MS,
        .seeds = 100,
        .log_write = true,
        .must = READS | FAULT_BIT(FAULT_LOSE) | COUNT_BIT(REPLICA_COUNT_LOSSY) |
                COUNT_BIT(REPLICA_COUNT_INSTALLS),
    },
    {
        .name = "leader-moves",
        .text = "leadership moves without need, again and again, over slow links",
        .weights = {[FAULT_MOVE] = 6, [FAULT_DELAY] = 1, [FAULT_LOSS] = 1},
        .faults = 60,
        .faults_at_once = 2,
        .pause_least_ns = 5 * NS_PER_MS,
        .pause_ns = 40 * NS_PER_MS,
        .seeds = 100,
        .log_write = true,
        .must = READS | FAULT_BIT(FAULT_MOVE) | COUNT_BIT(REPLICA_COUNT_SEALS_WITH_TAIL) |
                COUNT_BIT(REPLICA_COUNT_CUTS) | COUNT_BIT(REPLICA_COUNT_STALE) |
                COUNT_BIT(REPLICA_COUNT_ACTIVATIONS),
    },
};

const struct sim_scenario *sim_scenario_at(uint32_t n)
{
    return n < sizeof scenarios / sizeof scenarios[0] ? &scenarios[n] : NULL;
}

const struct sim_scenario *sim_scenario_find(const char *name)
{
    const struct sim_scenario *c;
    for (uint32_t i = 0; (c = sim_scenario_at(i)) != NULL; i++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

/* ---- where the simulator asks ---- */

uint32_t sim_scenario_nodes(struct sim *s)
{
    if (s->scenario->node_count != 0)
        return s->scenario->node_count;
    return sim_chance(s, 70) ? 3 : 5;
}

void sim_scenario_clocks(struct sim *s)
{
    for (uint32_t i = 0; i < s->node_count && s->scenario->drift_extreme; i++)
        s->nodes[i].clock_ppm = sim_chance(s, 50) ? CLOCK_PPM_MAX : -CLOCK_PPM_MAX;
    for (uint32_t i = 0; i < SIM_CLIENTS; i++)
        s->clients[i].clock_ppm = (int32_t)sim_below(s, 2 * CLOCK_PPM_MAX + 1) - CLOCK_PPM_MAX;
}

enum sim_fault sim_scenario_fault(struct sim *s)
{
    const uint32_t *weights = s->scenario->weights;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < FAULT_COUNT; i++)
        sum += weights[i];
    uint32_t fault = 0;
    for (uint32_t dice = sim_below(s, sum); dice >= weights[fault]; fault++)
        dice -= weights[fault];
    return (enum sim_fault)fault;
}

uint64_t sim_scenario_pause(struct sim *s)
{
    return s->scenario->pause_least_ns + sim_below(s, (uint32_t)s->scenario->pause_ns);
}

/* ---- at the end ---- */

static const char *const names[HAPPENING_END] = {
    [HAPPENING_OPERATIONS] = "operations",
    [HAPPENING_UNKNOWN] = "operations of unknown fate",
    [HAPPENING_REFUSED] = "operations refused",
    [HAPPENING_READS_LEADER] = "reads in place at leaders",
    [HAPPENING_READS_HOLDER] = "reads in place at holders",
    [HAPPENING_READS_BOARD] = "board reads",
    [HAPPENING_READS_BETWEEN] = "steps of readers amid a pass",
    [HAPPENING_READS_SPLIT_AGAIN] = "split reads retried",
    [HAPPENING_READS_REFUSED] = "reads refused at R7",
    [HAPPENING_READS_LATE] = "of them by the clock alone",
    [HAPPENING_BATCHES] = "batches read in place",
    [HAPPENING_READS_AT] = "reads at a version",
    [HAPPENING_READS_COMPACTED] = "reads at a version compacted",
    [HAPPENING_PAGES] = "pages of scans",
    [HAPPENING_SCANS_NEWEST] = "of them under a lease",
    [HAPPENING_FOLLOWED] = "records that cursors gave out",
    [HAPPENING_FOLLOW_MOVES] = "cursors moved to another node",
    [HAPPENING_LAGGED] = "cursors that lagged",
    [HAPPENING_STALLS] = "passes that stood still",
    [HAPPENING_WRITES_LATE] = "log writes into quarantined memory",
    [HAPPENING_TRANSACTIONS] = "transactions committed",
    [HAPPENING_ELSES] = "transactions that did the else",
    [HAPPENING_INCREMENTS] = "increments",
    [HAPPENING_EXPIRED] = "keys that expired",
    [HAPPENING_ACQUIRED] = "leases acquired",
    [HAPPENING_RENEWED] = "leases renewed",
    [HAPPENING_LEASE_REFUSED] = "leases refused",
    [HAPPENING_HALVES] = "transactions cut in half at a follower",
    [HAPPENING_UNDECIDED] = "histories too long for the search",
    [HAPPENING_FAULT + FAULT_LOSS] = "loss",
    [HAPPENING_FAULT + FAULT_DELAY] = "delay",
    [HAPPENING_FAULT + FAULT_DOUBLE] = "double",
    [HAPPENING_FAULT + FAULT_DAMAGE] = "damage",
    [HAPPENING_FAULT + FAULT_CUT_BOTH] = "cut-both",
    [HAPPENING_FAULT + FAULT_CUT_ONE_WAY] = "cut-one-way",
    [HAPPENING_FAULT + FAULT_FREEZE] = "freeze",
    [HAPPENING_FAULT + FAULT_CRASH] = "crash",
    [HAPPENING_FAULT + FAULT_MOVE] = "move-leader",
    [HAPPENING_FAULT + FAULT_VOTERS] = "change-voters",
    [HAPPENING_FAULT + FAULT_LOSE] = "lose-majority",
    [HAPPENING_FAULT + FAULT_JUMP] = "jump of the time of day",
    [HAPPENING_COUNT + REPLICA_COUNT_SEALS_WITH_TAIL] = "seals with an uncommitted tail",
    [HAPPENING_COUNT + REPLICA_COUNT_SEALS_WAITED] = "seals that waited for a promise",
    [HAPPENING_COUNT + REPLICA_COUNT_FETCHES] = "recoveries from another voter's log",
    [HAPPENING_COUNT + REPLICA_COUNT_CUTS] = "cuts that removed records",
    [HAPPENING_COUNT + REPLICA_COUNT_NAKS] = "NAK repairs",
    [HAPPENING_COUNT + REPLICA_COUNT_RESENDS] = "resends after a timer",
    [HAPPENING_COUNT + REPLICA_COUNT_DAMAGED] = "damaged ranges dropped",
    [HAPPENING_COUNT + REPLICA_COUNT_STALE] = "messages of older epochs",
    [HAPPENING_COUNT + REPLICA_COUNT_ACTIVATIONS] = "activations",
    [HAPPENING_COUNT + REPLICA_COUNT_GRANTS] = "read leases granted",
    [HAPPENING_COUNT + REPLICA_COUNT_HOLDER_WAITS] = "commits that waited for a holder",
    [HAPPENING_COUNT + REPLICA_COUNT_RELAPSES] = "read leases taken from who was slow",
    [HAPPENING_COUNT + REPLICA_COUNT_LAPSES] = "rights to read that ended",
    [HAPPENING_COUNT + REPLICA_COUNT_SNAPSHOTS] = "snapshots begun for a peer",
    [HAPPENING_COUNT + REPLICA_COUNT_INSTALLS] = "snapshots taken over",
    [HAPPENING_COUNT + REPLICA_COUNT_PROMOTIONS] = "learners found fit to vote",
    [HAPPENING_COUNT + REPLICA_COUNT_LOSSY] = "epochs that gave up what was lost",
    [HAPPENING_COUNT + REPLICA_COUNT_HAND_OVERS] = "rights given up in a hand-over",
    [HAPPENING_COUNT + REPLICA_COUNT_ANNOUNCED] = "announced ranges accepted",
    [HAPPENING_COUNT + REPLICA_COUNT_UNWRITTEN] = "ranges announced before written",
    [HAPPENING_COUNT + REPLICA_COUNT_RETURNED] = "grants returned",
    [HAPPENING_COUNT + REPLICA_COUNT_DISCONNECTS] = "connections torn down for grants",
};

const char *sim_happening_name(uint32_t happening)
{
    return names[happening];
}

uint64_t sim_happening_count(const struct sim_totals *t, uint32_t happening)
{
    if (happening >= HAPPENING_COUNT)
        return t->counts[happening - HAPPENING_COUNT];
    switch (happening) {
    case HAPPENING_OPERATIONS:
        return t->operations;
    case HAPPENING_UNKNOWN:
        return t->unknown;
    case HAPPENING_REFUSED:
        return t->refused;
    case HAPPENING_READS_LEADER:
        return t->reads_leader;
    case HAPPENING_READS_HOLDER:
        return t->reads_holder;
    case HAPPENING_READS_BOARD:
        return t->reads_board;
    case HAPPENING_READS_BETWEEN:
        return t->reads_between;
    case HAPPENING_READS_SPLIT_AGAIN:
        return t->reads_split_again;
    case HAPPENING_READS_REFUSED:
        return t->reads_refused;
    case HAPPENING_READS_LATE:
        return t->reads_late;
    case HAPPENING_BATCHES:
        return t->batches;
    case HAPPENING_READS_AT:
        return t->reads_at;
    case HAPPENING_READS_COMPACTED:
        return t->reads_compacted;
    case HAPPENING_PAGES:
        return t->pages;
    case HAPPENING_SCANS_NEWEST:
        return t->scans_newest;
    case HAPPENING_FOLLOWED:
        return t->followed;
    case HAPPENING_FOLLOW_MOVES:
        return t->follow_moves;
    case HAPPENING_LAGGED:
        return t->lagged;
    case HAPPENING_STALLS:
        return t->stalls;
    case HAPPENING_WRITES_LATE:
        return t->writes_late;
    case HAPPENING_TRANSACTIONS:
        return t->transactions;
    case HAPPENING_ELSES:
        return t->elses;
    case HAPPENING_INCREMENTS:
        return t->increments;
    case HAPPENING_EXPIRED:
        return t->expired;
    case HAPPENING_ACQUIRED:
        return t->acquired;
    case HAPPENING_RENEWED:
        return t->renewed;
    case HAPPENING_LEASE_REFUSED:
        return t->lease_refused;
    case HAPPENING_HALVES:
        return t->halves;
    case HAPPENING_UNDECIDED:
        return t->undecided;
    default:
        return t->faults[happening - HAPPENING_FAULT];
    }
}

uint32_t sim_scenario_wrong(const struct sim_scenario *c, const struct sim_totals *t)
{
    for (uint32_t i = 0; i < HAPPENING_END; i++) {
        bool happened = sim_happening_count(t, i) != 0;
        if (((c->must & BIT(i)) != 0 && !happened) || ((c->must_not & BIT(i)) != 0 && happened))
            return i;
    }
    return HAPPENING_END;
}
