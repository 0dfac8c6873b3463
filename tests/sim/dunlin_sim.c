/* dunlin-sim - runs the simulator over seeds; COMMANDS: --seed, --seeds, --scenario, --steps, --plant,
 * --trace. */
#include "tests/sim/control_run.h"
#include "tests/sim/sim_model.h"
#include "tests/sim/sim_scenario.h"

#include "engine/plant.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
    uint64_t seed, seeds, steps;
    const char *plant;
    const struct sim_scenario *scenario;
    bool is_control; /* the scenario of the control plane, which has a world of its own */
    bool trace;
};

static int usage(FILE *to)
{
    (void)fprintf(
        to, "usage: dunlin-sim [--seed N] [--seeds COUNT] [--scenario NAME|list] [--steps N]\n"
            "                  [--plant BUG|list] [--trace]\n");
    return to == stdout ? 0 : 2;
}

static bool number(const char *text, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == 0 && *text != '-';
}

static int scenario_list(void)
{
    const struct sim_scenario *c;
    for (uint32_t i = 0; (c = sim_scenario_at(i)) != NULL; i++)
        printf("%-16s %s\n", c->name, c->text);
    printf("%-16s %s\n", CONTROL_RUN_NAME, CONTROL_RUN_TEXT);
    return 0;
}

/* Returns -1 to go on, else the exit code. */
static int scenario_choose(struct options *o, const char *name)
{
    if (strcmp(name, "list") == 0)
        return scenario_list();
    o->is_control = strcmp(name, CONTROL_RUN_NAME) == 0;
    o->scenario = sim_scenario_find(o->is_control ? "default" : name);
    if (o->scenario != NULL)
        return -1;
    (void)fprintf(
        stderr, "dunlin-sim: --scenario %s: no such scenario; --scenario list names them\n", name);
    return 2;
}

/* One option.  Returns -1 to go on, else the exit code. */
static int option_take(struct options *o, int option, const char *argument)
{
    switch (option) {
    case 's':
        return number(argument, &o->seed) ? -1 : usage(stderr);
    case 'n':
        return number(argument, &o->seeds) && o->seeds != 0 ? -1 : usage(stderr);
    case 'e':
        return number(argument, &o->steps) && o->steps != 0 ? -1 : usage(stderr);
    case 'c':
        return scenario_choose(o, argument);
    case 'p':
        o->plant = argument;
        return -1;
    case 't':
        o->trace = true;
        return -1;
    default:
        return usage(option == 'h' ? stdout : stderr);
    }
}

/* Returns -1 to go on, else the exit code. */
static int options_read(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {
        {"seed", required_argument, NULL, 's'},     {"seeds", required_argument, NULL, 'n'},
        {"scenario", required_argument, NULL, 'c'}, {"steps", required_argument, NULL, 'e'},
        {"plant", required_argument, NULL, 'p'},    {"trace", no_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0}};
    *o = (struct options){.seed = 1, .seeds = 1, .scenario = sim_scenario_find("default")};
    int status = -1;
    int c;
    while (status < 0 && (c = getopt_long(argc, argv, "", known, NULL)) != -1)
        status = option_take(o, c, optarg);
    return status < 0 && optind != argc ? usage(stderr) : status;
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
    for (uint32_t i = 0; i < s->operation_count; i++) {
        const struct sim_operation *o = &s->history[i];
        t->unknown += o->returned == 0;
        t->refused +=
            o->returned != 0 && !sim_model_is_answered(o) && o->status != RING_FATE_UNKNOWN;
    }
    for (unsigned i = 0; i < FAULT_COUNT; i++)
        t->faults[i] += s->fault_counts[i];
    for (unsigned i = 0; i < REPLICA_COUNT_COUNT; i++)
        t->counts[i] += s->counts[i];
    t->reads_leader += s->reads_leader;
    t->reads_holder += s->reads_holder;
    t->reads_board += s->reads_board;
    t->reads_between += s->reads_between;
    t->reads_split_again += s->reads_split_again;
    t->reads_refused += s->reads_refused;
    t->reads_late += s->reads_late;
    t->batches += s->batches;
    t->stalls += s->stalls;
    t->writes_late += s->writes_late;
    t->transactions += s->transactions;
    t->halves += s->halves;
    t->undecided += s->undecided;
    t->elses += s->elses;
    t->pages += s->pages;
    t->scans_newest += s->scans_newest;
    t->scans_position += s->scans_position;
    t->scans_waited += s->scans_waited;
    t->pages_split += s->pages_split;
    t->pages_again += s->pages_again;
    t->followed += s->followed;
    t->follow_moves += s->follow_moves;
    t->lagged += s->lagged;
    t->reads_at += s->reads_at;
    t->reads_compacted += s->reads_compacted;
    t->increments += s->increments;
    t->growths += s->growths;
    t->not_numbers += s->not_numbers;
    t->out_of_range += s->out_of_range;
    t->sessions_expired += s->sessions_expired;
    t->sessions_resumed += s->sessions_resumed;
    t->sessions_late += s->sessions_late;
    t->expired += s->expired;
    t->acquired += s->acquired;
    t->renewed += s->renewed;
    t->lease_refused += s->lease_refused;
}

/* All that happened, and all that the scenario has a word to say about. */
static void table(const struct sim_scenario *c, const struct sim_totals *t)
{
    for (uint32_t i = 0; i < HAPPENING_END; i++) {
        uint64_t count = sim_happening_count(t, i);
        if (count != 0 || sim_happening_is_in(&c->must, i) || sim_happening_is_in(&c->must_not, i))
            printf("  %-40s %12llu\n", sim_happening_name(i), (unsigned long long)count);
    }
}

/* Enough whole seeds were run, and something did not happen that must, or did that must not. */
static bool is_incomplete(const struct options *o, const struct sim_totals *t)
{
    if (o->seeds < o->scenario->seeds || o->steps != 0)
        return false;
    uint32_t wrong = sim_scenario_wrong(o->scenario, t);
    if (wrong != HAPPENING_END)
        printf("scenario %s: \"%s\" %s\n", o->scenario->name, sim_happening_name(wrong),
               sim_happening_count(t, wrong) == 0 ? "must have happened"
                                                  : "must not have happened");
    return wrong != HAPPENING_END;
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
    (void)signal(SIGABRT, on_abort);
    if (o.is_control) {
        const struct control_run run = {.seed = o.seed,
                                        .seeds = o.seeds,
                                        .trace = o.trace,
                                        .is_planted = o.plant != NULL,
                                        .begin = abort_prepare};
        return control_run(&run);
    }
    struct sim *s = sim_new();
    s->scenario = o.scenario;
    s->steps_max = o.steps;
    struct sim_totals totals = {0};
    bool good = true;
    for (uint64_t i = 0; i < o.seeds && good; i++) {
        abort_prepare(o.seed + i);
        good = sim_run(s, o.seed + i, o.trace);
        add(&totals, s);
        if (!good)
            printf("seed %llu step %llu: %s does not hold: %s\n", (unsigned long long)s->seed,
                   (unsigned long long)s->steps, s->broken, s->broken_detail);
    }
    printf("%llu seeds%s\n", (unsigned long long)totals.seeds,
           o.plant != NULL && !good ? ", the planted bug was found" : "");
    table(o.scenario, &totals);
    if (good && is_incomplete(&o, &totals))
        good = false;
    sim_free(s);
    return good ? 0 : 1;
}
