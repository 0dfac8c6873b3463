/* dunlin-sim - runs the simulator over seeds; COMMANDS: --seed, --seeds, --plant, --trace. */
#include "tests/sim/sim.h"

#include "engine/plant.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEEDS_TO_BE_COMPLETE 2000u

static const char *const fault_names[FAULT_COUNT] = {
    [FAULT_LOSS] = "loss",         [FAULT_DELAY] = "delay",
    [FAULT_DOUBLE] = "double",     [FAULT_DAMAGE] = "damage",
    [FAULT_CUT_BOTH] = "cut-both", [FAULT_CUT_ONE_WAY] = "cut-one-way",
    [FAULT_FREEZE] = "freeze",     [FAULT_CRASH] = "crash",
    [FAULT_MOVE] = "move-leader",  [FAULT_VOTERS] = "change-voters",
};

static const char *const count_names[REPLICA_COUNT_COUNT] = {
    [REPLICA_COUNT_SEALS_WITH_TAIL] = "seals with an uncommitted tail",
    [REPLICA_COUNT_SEALS_WAITED] = "seals that waited for a promise",
    [REPLICA_COUNT_FETCHES] = "recoveries from another voter's log",
    [REPLICA_COUNT_CUTS] = "cuts that removed records",
    [REPLICA_COUNT_NAKS] = "NAK repairs",
    [REPLICA_COUNT_RESENDS] = "resends after a timer",
    [REPLICA_COUNT_DAMAGED] = "damaged ranges dropped",
    [REPLICA_COUNT_STALE] = "messages of older epochs",
    [REPLICA_COUNT_ACTIVATIONS] = "activations",
    [REPLICA_COUNT_GRANTS] = "read leases granted",
    [REPLICA_COUNT_HOLDER_WAITS] = "commits that waited for a holder",
    [REPLICA_COUNT_LAPSES] = "rights to read that lapsed",
};

struct options {
    uint64_t seed, seeds;
    const char *plant;
    bool trace;
};

static int usage(FILE *to)
{
    (void)fprintf(to,
                  "usage: dunlin-sim [--seed N] [--seeds COUNT] [--plant BUG|list] [--trace]\n");
    return to == stdout ? 0 : 2;
}

static bool number(const char *text, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == 0 && *text != '-';
}

/* Returns -1 to go on, else the exit code. */
static int options_read(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {
        {"seed", required_argument, NULL, 's'},  {"seeds", required_argument, NULL, 'n'},
        {"plant", required_argument, NULL, 'p'}, {"trace", no_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0}};
    *o = (struct options){.seed = 1, .seeds = 1};
    for (;;) {
        int c = getopt_long(argc, argv, "", known, NULL);
        if (c == -1)
            return optind == argc && o->seeds != 0 ? -1 : usage(stderr);
        if ((c == 's' && !number(optarg, &o->seed)) || (c == 'n' && !number(optarg, &o->seeds)))
            return usage(stderr);
        if (c == 'p')
            o->plant = optarg;
        if (c == 't')
            o->trace = true;
        if (c == 'h' || c == '?')
            return usage(c == 'h' ? stdout : stderr);
    }
}

static int plant(const char *name)
{
    if (strcmp(name, "list") == 0) {
        for (unsigned i = PLANT_NONE + 1; i < PLANT_COUNT; i++)
            printf("%s\n", plant_name((enum plant)i));
        return 0;
    }
    int error = plant_set(name);
    if (error == 0)
        return -1;
    (void)fprintf(stderr, "dunlin-sim: --plant %s: %s\n", name,
                  error == -ENOENT ? "no such bug; --plant list names them"
                                   : "this build has none; configure with -Dplant=true");
    return 2;
}

static void add(struct sim_totals *t, const struct sim *s)
{
    t->seeds++;
    t->operations += s->operation_count;
    for (uint32_t i = 0; i < s->operation_count; i++)
        t->unknown += s->history[i].returned == 0;
    for (unsigned i = 0; i < FAULT_COUNT; i++)
        t->faults[i] += s->fault_counts[i];
    for (unsigned i = 0; i < REPLICA_COUNT_COUNT; i++)
        t->counts[i] += s->counts[i];
    t->reads_leader += s->reads_leader;
    t->reads_holder += s->reads_holder;
    t->reads_refused += s->reads_refused;
}

static bool line(const char *name, uint64_t count)
{
    printf("  %-40s %12llu\n", name, (unsigned long long)count);
    return count != 0;
}

/* Returns whether everything happened at least once. */
static bool table(const struct sim_totals *t)
{
    bool all = line("operations", t->operations);
    (void)line("operations of unknown fate", t->unknown);
    all &= line("reads in place at leaders", t->reads_leader);
    all &= line("reads in place at holders", t->reads_holder);
    all &= line("reads in place refused", t->reads_refused);
    for (unsigned i = 0; i < FAULT_COUNT; i++)
        all &= line(fault_names[i], t->faults[i]);
    for (unsigned i = 0; i < REPLICA_COUNT_COUNT; i++)
        all &= line(count_names[i], t->counts[i]);
    return all;
}

/* What an assertion of the core says when it fails: a finding like any other.  Made before each seed,
 * since nothing can be formatted in a signal handler. */
static char abort_text[96];
static size_t abort_bytes;

static void on_abort(int number_of_signal)
{
    (void)number_of_signal;
    _exit(write(STDOUT_FILENO, abort_text, abort_bytes) == (ssize_t)abort_bytes ? 1 : 3);
}

static void abort_prepare(uint64_t seed)
{
    int length = snprintf(abort_text, sizeof abort_text, "seed %llu: an assertion does not hold\n",
                          (unsigned long long)seed);
    abort_bytes = (size_t)length;
}

int main(int argc, char **argv)
{
    struct options o;
    int status = options_read(&o, argc, argv);
    if (status < 0 && o.plant != NULL)
        status = plant(o.plant);
    if (status >= 0)
        return status;
    struct sim *s = sim_new();
    (void)signal(SIGABRT, on_abort);
    struct sim_totals totals = {0};
    bool good = true;
    for (uint64_t i = 0; i < o.seeds && good; i++) {
        abort_prepare(o.seed + i);
        good = sim_run(s, o.seed + i, o.trace);
        add(&totals, s);
        if (!good)
            printf("seed %llu step %llu: %s does not hold: %s\n", (unsigned long long)s->seed,
                   (unsigned long long)s->order, s->broken, s->broken_detail);
    }
    printf("%llu seeds%s\n", (unsigned long long)totals.seeds,
           o.plant != NULL && !good ? ", the planted bug was found" : "");
    bool complete = table(&totals);
    if (good && o.seeds >= SEEDS_TO_BE_COMPLETE && !complete) {
        printf("not everything happened: see the lines at 0\n");
        good = false;
    }
    sim_free(s);
    return good ? 0 : 1;
}
