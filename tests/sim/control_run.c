#include "tests/sim/control_run.h"

#include "tests/sim/control_world.h"

#include <stdio.h>
#include <stdlib.h>

#define PPM_MAX 499                /* of one clock, so that two differ by less than 1,000 */
#define SEEDS_ENOUGH 1000          /* from here on everything must have happened */
#define WELL_NS (1500 * NS_PER_MS) /* what was asked before is over by then */
#define STILL_NS NS_PER_S

static const char *const names[CONTROL_HAPPENINGS] = {
    [CONTROL_KILL] = "fault: a process killed",
    [CONTROL_KILL_ALL] = "fault: most or all killed at once",
    [CONTROL_STOP] = "fault: a process asked to end",
    [CONTROL_FREEZE] = "fault: a process stands still",
    [CONTROL_CUT] = "fault: links cut",
    [CONTROL_CUT_ONE_WAY] = "fault: links cut one way",
    [CONTROL_CUT_DATA] = "fault: links of the data plane cut",
    [CONTROL_SLOW_LINKS] = "fault: links slow",
    [CONTROL_FULL] = "fault: a disk full",
    [CONTROL_WRITE_ERROR] = "fault: a write fails",
    [CONTROL_WIPE] = "fault: a directory lost",
    [CONTROL_ADD] = "fault: a node to be added",
    [CONTROL_REMOVE] = "fault: a node to be removed",
    [CONTROL_DRAIN] = "fault: a node to be drained, or not any more",
    [CONTROL_MESSAGES] = "messages",
    [CONTROL_MESSAGES_LOST] = "messages lost",
    [CONTROL_UNSYNCED_LOST] = "crashes that lost unsynced writes",
    [CONTROL_AMNESIA] = "starts refused for an empty directory",
    [CONTROL_ABANDONED] = "clusters that could not begin",
    [CONTROL_REOPENED] = "instances of libraft opened again",
    [CONTROL_LEADERS] = "control leaders seen",
    [CONTROL_SNAPSHOTS] = "snapshots",
    [CONTROL_INSTALLED] = "snapshots installed",
    [CONTROL_COMMANDS] = "commands that changed something",
    [CONTROL_REFUSED] = "commands that changed nothing",
    [CONTROL_TOLD] = "askers told the result",
    [CONTROL_TOLD_UNKNOWN] = "askers told that it is unknown",
    [CONTROL_REGISTERED] = "starts registered",
    [CONTROL_ACTIVATED] = "epochs made active",
    [CONTROL_ACTIVATE_LATE] = "activations asked too late",
    [CONTROL_LET_GO] = "leaders that let go",
    [CONTROL_PASSED_ON] = "pending epochs passed on",
    [CONTROL_MOVED] = "moves",
    [CONTROL_LEFT] = "nodes that handed over what they led",
    [CONTROL_RETIRED] = "nodes that retired",
    [CONTROL_FAILED] = "nodes found to have failed",
    [CONTROL_FAILED_ALIVE] = "of them, that ran",
    [CONTROL_RAISED] = "ceilings raised",
    [CONTROL_GIVEN_UP] = "shards that began again with nothing",
    [CONTROL_RECOVERED] = "shards that began again with what was left",
    [CONTROL_LOST] = "shards that most voters had lost",
    [CONTROL_LEASES_OVER] = "turns with a lease over by a majority",
    [CONTROL_NODES_ADDED] = "nodes added",
    [CONTROL_NODES_JOINED] = "empty directories that the others fed",
    [CONTROL_NODES_GONE] = "nodes that no shard named any more",
    [CONTROL_NODES_ENDED] = "nodes told that they were removed",
    [CONTROL_PROMOTED] = "learners asked for as voters",
    [CONTROL_VOTERS_MADE] = "control voters made",
    [CONTROL_MEMBERS_REMOVED] = "members of the control log removed",
    [CONTROL_TAKEN_BACK] = "changes of control members taken back",
};

/* ---- one seed ---- */

static void world_make(const struct control_run *run, uint64_t seed)
{
    static struct control_world world;
    world = (struct control_world){.seed = seed, .random = seed, .trace = run->trace};
    control_world = &world;
    world.first_count = 2 + (uint32_t)control_below(4);
    world.node_count = world.first_count + 2;
    world.voter_count = world.first_count < 3 || control_chance(15) ? 1 : 3;
    world.mesh = control_mesh_make();
    for (uint32_t i = 0; i < world.node_count; i++) {
        struct control_node *n = &world.nodes[i];
        n->id = i + 1;
        n->is_out = i >= world.first_count;
        n->ppm = (int64_t)control_below(2 * PPM_MAX + 1) - PPM_MAX;
        n->clock_ns = NS_PER_S + control_below(3600 * NS_PER_S);
        n->store = control_store_make();
        n->bound = calloc(1, sizeof *n->bound);
        ASSERT(n->bound != NULL);
    }
}

static void world_free(void)
{
    struct control_world *w = control_world;
    for (uint32_t i = 0; i < w->node_count; i++) {
        struct control_node *n = &w->nodes[i];
        if (n->process != NULL)
            control_process_kill(n, false);
        control_store_free(n->store);
        control_store_free(n->store_lost);
        free(n->bound);
    }
    for (uint32_t i = 0; i < w->event_count; i++)
        free(w->events[i].data);
    control_mesh_free(w->mesh);
    free(w->events);
    free(w->applied);
    free(w->state);
}

static bool goes_on(void)
{
    return control_world->broken == NULL && !control_world->is_abandoned;
}

/* Until all is well, and what was asked for before that is over: that of a node that leaves while most voters of some
 * shard are lost, say, for which nobody waits. */
static void become_well(uint64_t end_ns)
{
    struct control_world *w = control_world;
    do {
        while (goes_on() && w->now_ns < end_ns && !control_check_is_well())
            control_run_until(w->now_ns + 50 * NS_PER_MS);
        if (goes_on())
            control_run_until(w->now_ns + WELL_NS);
    } while (goes_on() && w->now_ns < end_ns && !control_check_is_well());
}

/* Faults are over: all becomes well, and stays as it is. */
static void quiet(void)
{
    struct control_world *w = control_world;
    become_well(w->now_ns + CONTROL_QUIET_NS);
    if (w->is_abandoned)
        return;
    if (!control_check_is_well())
        control_check_describe();
    if (w->broken == NULL && !control_check_is_well())
        control_break("in quiet all becomes well", "%s", control_check_unwell());
    if (w->broken != NULL)
        return;
    uint64_t revision = w->state->revision;
    control_run_until(w->now_ns + STILL_NS);
    if (w->broken == NULL && (w->state->revision != revision || !control_check_is_well()))
        control_break("in quiet nothing changes", "%s",
                      control_check_is_well() ? "the state does" : control_check_unwell());
}

static bool seed_run(const struct control_run *run, uint64_t seed, struct control_totals *totals)
{
    world_make(run, seed);
    struct control_world *w = control_world;
    control_fault_begin();
    control_run_until(CONTROL_RUN_NS);
    if (w->is_abandoned)
        control_count(CONTROL_ABANDONED);
    if (w->broken == NULL && !w->is_abandoned) {
        control_fault_heal();
        quiet();
    }
    bool good = w->broken == NULL;
    if (!good)
        printf("seed %llu at %.3f ms: %s does not hold: %s\n", (unsigned long long)seed,
               (double)w->now_ns / (double)NS_PER_MS, w->broken, w->broken_detail);
    for (uint32_t i = 0; i < CONTROL_HAPPENINGS; i++)
        totals->counts[i] += w->totals.counts[i];
    totals->seeds++;
    world_free();
    return good;
}

/* ---- all of them ---- */

static bool is_complete(const struct control_totals *t)
{
    bool complete = true;
    for (uint32_t i = 0; i < CONTROL_HAPPENINGS; i++) {
        if (t->counts[i] != 0 || i == CONTROL_ABANDONED) /* nobody wants that */
            continue;
        printf("scenario %s: \"%s\" must have happened\n", CONTROL_RUN_NAME, names[i]);
        complete = false;
    }
    return complete;
}

int control_run(const struct control_run *run)
{
    struct control_totals totals = {0};
    bool good = true;
    control_heap_libraft();
    for (uint64_t i = 0; i < run->seeds && good; i++) {
        run->begin(run->seed + i);
        good = seed_run(run, run->seed + i, &totals);
    }
    printf("%llu seeds%s\n", (unsigned long long)totals.seeds,
           run->is_planted && !good ? ", the planted bug was found" : "");
    for (uint32_t i = 0; i < CONTROL_HAPPENINGS; i++)
        printf("  %-40s %12llu\n", names[i], (unsigned long long)totals.counts[i]);
    if (good && run->seeds >= SEEDS_ENOUGH)
        good = is_complete(&totals);
    return good ? 0 : 1;
}
