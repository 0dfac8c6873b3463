#include "tests/sim/sim_scenario.h"

#include <string.h>

#define BIT(happening) (UINT64_C(1) << (happening))
#define FAULT_BIT(fault) BIT(HAPPENING_FAULT + (fault))
#define COUNT_BIT(count) (UINT64_C(1) << (REPLICA_COUNT_##count))
/* All but a lost majority, which has a scenario of its own. */
#define ALL_FAULTS (BIT(HAPPENING_COUNT) - FAULT_BIT(0) - FAULT_BIT(FAULT_LOSE))
#define ALL_COUNTS ((UINT64_C(1) << REPLICA_COUNT_COUNT) - 1 - COUNT_BIT(LOSSY))
#define READS                                                                                      \
    (BIT(HAPPENING_OPERATIONS) | BIT(HAPPENING_TRANSACTIONS) | BIT(HAPPENING_READS_LEADER) |       \
     BIT(HAPPENING_READS_HOLDER) | BIT(HAPPENING_READS_BOARD) | BIT(HAPPENING_READS_BETWEEN) |     \
     BIT(HAPPENING_BATCHES) | BIT(HAPPENING_ELSES) | BIT(HAPPENING_INCREMENTS) |                   \
     BIT(HAPPENING_NOT_NUMBERS) | BIT(HAPPENING_OUT_OF_RANGE) | BIT(HAPPENING_EXPIRED) |           \
     BIT(HAPPENING_ACQUIRED) | BIT(HAPPENING_RENEWED) | BIT(HAPPENING_LEASE_REFUSED) |             \
     BIT(HAPPENING_READS_AT) | BIT(HAPPENING_PAGES) | BIT(HAPPENING_SCANS_NEWEST) |                \
     BIT(HAPPENING_FOLLOWED) | BIT(HAPPENING_FOLLOW_MOVES) | BIT(HAPPENING_PAGES_SPLIT))

#define CLOCK_PPM_MAX 500 /* of one clock */

_Static_assert(FAULT_COUNT == 13, "each has a weight in default and a name below");
static const struct sim_scenario scenarios[] = {
    {
        .name = "default",
        .text = "every fault there is, at random, up to two at a time",
        .weights = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, [FAULT_JUMP] = 1, [FAULT_HOLD] = 1},
        .faults = 20,
        .faults_at_once = 2,
        .pause_least_ns = 10 * NS_PER_MS,
        .pause_ns = 100 * NS_PER_MS,
        .seeds = 2000,
        .log_write = true,
        .must = {.some = READS | BIT(HAPPENING_READS_SPLIT_AGAIN) | BIT(HAPPENING_READS_REFUSED) |
                         BIT(HAPPENING_READS_LATE) | BIT(HAPPENING_READS_COMPACTED) |
                         BIT(HAPPENING_LAGGED) | BIT(HAPPENING_STALLS) |
                         BIT(HAPPENING_WRITES_LATE) | BIT(HAPPENING_HALVES) | ALL_FAULTS,
                 .counts = ALL_COUNTS},
    },
    {
        .name = "calm",
        .text = "no faults: every operation is answered, by one leader in one epoch",
        .seeds = 1,
        .must = {.some = READS, .counts = COUNT_BIT(GRANTS)},
        .must_not = {.some = BIT(HAPPENING_UNKNOWN) | BIT(HAPPENING_REFUSED) | ALL_FAULTS,
                     .counts = COUNT_BIT(CUTS) | COUNT_BIT(FETCHES) | COUNT_BIT(DAMAGED) |
                               COUNT_BIT(STALE) | COUNT_BIT(SEALS_WITH_TAIL) |
                               COUNT_BIT(SEALS_WAITED) | COUNT_BIT(SNAPSHOTS) |
                               COUNT_BIT(INSTALLS) | COUNT_BIT(PROMOTIONS) | COUNT_BIT(LOSSY) |
                               COUNT_BIT(HAND_OVERS) | COUNT_BIT(RESENDS) | COUNT_BIT(RELAPSES) |
                               COUNT_BIT(LAPSES)},
    },
    {
        .name = "lossy-network",
        .text = "messages lost, late, doubled, damaged; all nodes and links stay",
        .weights = {[FAULT_LOSS] = 3,
                    [FAULT_DELAY] = 2,
                    [FAULT_DOUBLE] = 1,
                    [FAULT_DAMAGE] = 2,
                    [FAULT_HOLD] = 1},
        .faults = 40,
        .faults_at_once = 4,
        .pause_least_ns = 5 * NS_PER_MS,
        .pause_ns = 50 * NS_PER_MS,
        .seeds = 20,
        .log_write = true,
        .must = {.some = READS | FAULT_BIT(FAULT_LOSS) | FAULT_BIT(FAULT_DELAY) |
                         FAULT_BIT(FAULT_DOUBLE) | FAULT_BIT(FAULT_DAMAGE),
                 .counts = COUNT_BIT(NAKS) | COUNT_BIT(RESENDS) | COUNT_BIT(DAMAGED)},
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
        .must = {.some = READS | BIT(HAPPENING_READS_REFUSED) | FAULT_BIT(FAULT_CUT_BOTH) |
                         FAULT_BIT(FAULT_CUT_ONE_WAY),
                 .counts = COUNT_BIT(RESENDS) | COUNT_BIT(LAPSES) | COUNT_BIT(HOLDER_WAITS) |
                           COUNT_BIT(SEALS_WAITED) | COUNT_BIT(CUTS)},
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
        .must = {.some = READS | BIT(HAPPENING_READS_REFUSED) | FAULT_BIT(FAULT_FREEZE) |
                         FAULT_BIT(FAULT_JUMP),
                 .counts = COUNT_BIT(SEALS_WAITED) | COUNT_BIT(LAPSES) | COUNT_BIT(HOLDER_WAITS)},
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
        .must = {.some = READS | FAULT_BIT(FAULT_CRASH) | FAULT_BIT(FAULT_VOTERS),
                 .counts = COUNT_BIT(FETCHES) | COUNT_BIT(ACTIVATIONS)},
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
        .must = {.some = READS | FAULT_BIT(FAULT_LOSE),
                 .counts = COUNT_BIT(LOSSY) | COUNT_BIT(INSTALLS)},
    },
    {
        .name = "leader-moves",
        .text = "leadership moves without need, again and again, over slow links",
        .weights = {[FAULT_MOVE] = 6, [FAULT_DELAY] = 1, [FAULT_LOSS] = 1, [FAULT_HOLD] = 1},
        .faults = 60,
        .faults_at_once = 2,
        .pause_least_ns = 5 * NS_PER_MS,
        .pause_ns = 40 * NS_PER_MS,
        .seeds = 100,
        .log_write = true,
        .must = {.some = READS | FAULT_BIT(FAULT_MOVE),
                 .counts = COUNT_BIT(SEALS_WITH_TAIL) | COUNT_BIT(CUTS) | COUNT_BIT(STALE) |
                           COUNT_BIT(ACTIVATIONS)},
    },
    {
        .name = "growth",
        .text = "a shard gets thousands of keys, and its hash table grows under its readers",
        .weights = {[FAULT_LOSS] = 1, [FAULT_MOVE] = 1, [FAULT_CRASH] = 1, [FAULT_FREEZE] = 1},
        .faults = 10,
        .faults_at_once = 1,
        .pause_least_ns = 20 * NS_PER_MS,
        .pause_ns = 100 * NS_PER_MS,
        .grows = true,
        .seeds = 20,
        .log_write = true,
        .must = {.some = READS | BIT(HAPPENING_GROWTHS) | BIT(HAPPENING_PAGES_AGAIN)},
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
    [HAPPENING_SCANS_POSITION] = "of them at a leader's position",
    [HAPPENING_SCANS_WAITED] = "of them below it, given up",
    [HAPPENING_PAGES_SPLIT] = "pages and batches split",
    [HAPPENING_PAGES_AGAIN] = "of them in vain",
    [HAPPENING_FOLLOWED] = "records that cursors gave out",
    [HAPPENING_FOLLOW_MOVES] = "cursors moved to another node",
    [HAPPENING_LAGGED] = "cursors that lagged",
    [HAPPENING_STALLS] = "passes that stood still",
    [HAPPENING_WRITES_LATE] = "log writes into quarantined memory",
    [HAPPENING_TRANSACTIONS] = "transactions committed",
    [HAPPENING_ELSES] = "transactions that did the else",
    [HAPPENING_INCREMENTS] = "increments",
    [HAPPENING_NOT_NUMBERS] = "increments of what is no number",
    [HAPPENING_OUT_OF_RANGE] = "increments out of range",
    [HAPPENING_SESSIONS_EXPIRED] = "sessions forgotten",
    [HAPPENING_SESSIONS_RESUMED] = "sessions resumed",
    [HAPPENING_SESSIONS_LATE] = "sessions resumed too late",
    [HAPPENING_EXPIRED] = "keys that expired",
    [HAPPENING_ACQUIRED] = "leases acquired",
    [HAPPENING_RENEWED] = "leases renewed",
    [HAPPENING_LEASE_REFUSED] = "leases refused",
    [HAPPENING_HALVES] = "transactions cut in half at a follower",
    [HAPPENING_GROWTHS] = "hash tables that grew",
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
    [HAPPENING_FAULT + FAULT_HOLD] = "hold and release",
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

bool sim_happening_is_in(const struct sim_happenings *set, uint32_t happening)
{
    return ((happening >= HAPPENING_COUNT ? set->counts >> (happening - HAPPENING_COUNT)
                                          : set->some >> happening) &
            1) != 0;
}

const char *sim_happening_name(uint32_t happening)
{
    return names[happening];
}

/* Where each is counted. */
static const size_t happening_places[HAPPENING_FAULT] = {
    [HAPPENING_OPERATIONS] = offsetof(struct sim_totals, operations),
    [HAPPENING_UNKNOWN] = offsetof(struct sim_totals, unknown),
    [HAPPENING_REFUSED] = offsetof(struct sim_totals, refused),
    [HAPPENING_READS_LEADER] = offsetof(struct sim_totals, reads_leader),
    [HAPPENING_READS_HOLDER] = offsetof(struct sim_totals, reads_holder),
    [HAPPENING_READS_BOARD] = offsetof(struct sim_totals, reads_board),
    [HAPPENING_READS_BETWEEN] = offsetof(struct sim_totals, reads_between),
    [HAPPENING_READS_SPLIT_AGAIN] = offsetof(struct sim_totals, reads_split_again),
    [HAPPENING_READS_REFUSED] = offsetof(struct sim_totals, reads_refused),
    [HAPPENING_READS_LATE] = offsetof(struct sim_totals, reads_late),
    [HAPPENING_BATCHES] = offsetof(struct sim_totals, batches),
    [HAPPENING_READS_AT] = offsetof(struct sim_totals, reads_at),
    [HAPPENING_READS_COMPACTED] = offsetof(struct sim_totals, reads_compacted),
    [HAPPENING_PAGES] = offsetof(struct sim_totals, pages),
    [HAPPENING_SCANS_NEWEST] = offsetof(struct sim_totals, scans_newest),
    [HAPPENING_SCANS_POSITION] = offsetof(struct sim_totals, scans_position),
    [HAPPENING_SCANS_WAITED] = offsetof(struct sim_totals, scans_waited),
    [HAPPENING_PAGES_SPLIT] = offsetof(struct sim_totals, pages_split),
    [HAPPENING_PAGES_AGAIN] = offsetof(struct sim_totals, pages_again),
    [HAPPENING_FOLLOWED] = offsetof(struct sim_totals, followed),
    [HAPPENING_FOLLOW_MOVES] = offsetof(struct sim_totals, follow_moves),
    [HAPPENING_LAGGED] = offsetof(struct sim_totals, lagged),
    [HAPPENING_STALLS] = offsetof(struct sim_totals, stalls),
    [HAPPENING_WRITES_LATE] = offsetof(struct sim_totals, writes_late),
    [HAPPENING_TRANSACTIONS] = offsetof(struct sim_totals, transactions),
    [HAPPENING_ELSES] = offsetof(struct sim_totals, elses),
    [HAPPENING_INCREMENTS] = offsetof(struct sim_totals, increments),
    [HAPPENING_NOT_NUMBERS] = offsetof(struct sim_totals, not_numbers),
    [HAPPENING_OUT_OF_RANGE] = offsetof(struct sim_totals, out_of_range),
    [HAPPENING_SESSIONS_EXPIRED] = offsetof(struct sim_totals, sessions_expired),
    [HAPPENING_SESSIONS_RESUMED] = offsetof(struct sim_totals, sessions_resumed),
    [HAPPENING_SESSIONS_LATE] = offsetof(struct sim_totals, sessions_late),
    [HAPPENING_EXPIRED] = offsetof(struct sim_totals, expired),
    [HAPPENING_ACQUIRED] = offsetof(struct sim_totals, acquired),
    [HAPPENING_RENEWED] = offsetof(struct sim_totals, renewed),
    [HAPPENING_LEASE_REFUSED] = offsetof(struct sim_totals, lease_refused),
    [HAPPENING_HALVES] = offsetof(struct sim_totals, halves),
    [HAPPENING_GROWTHS] = offsetof(struct sim_totals, growths),
    [HAPPENING_UNDECIDED] = offsetof(struct sim_totals, undecided),
};

uint64_t sim_happening_count(const struct sim_totals *t, uint32_t happening)
{
    if (happening >= HAPPENING_COUNT)
        return t->counts[happening - HAPPENING_COUNT];
    if (happening >= HAPPENING_FAULT)
        return t->faults[happening - HAPPENING_FAULT];
    uint64_t count;
    memcpy(&count, (const uint8_t *)t + happening_places[happening], sizeof count);
    return count;
}

uint32_t sim_scenario_wrong(const struct sim_scenario *c, const struct sim_totals *t)
{
    for (uint32_t i = 0; i < HAPPENING_END; i++) {
        bool happened = sim_happening_count(t, i) != 0;
        if (sim_happening_is_in(happened ? &c->must_not : &c->must, i))
            return i;
    }
    return HAPPENING_END;
}
