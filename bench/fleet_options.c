#include "bench/bench.h"
#include "bench/fleet.h"
#include "bench/fleet_chaos.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECONDS_MAX 1e6

static const char help[] =
    "dunlin-bench fleet - replay recorded fleets into a running daemon and check what it did\n"
    "\n"
    "  --socket PATH          daemon to attach to (default: $DUNLIN_SOCKET, else one of its own); "
    "may be\n"
    "                         given several times, for the nodes of a cluster: agents write at the "
    "first,\n"
    "                         all are read in place and must be equal in the end\n"
    "  --data FILE            CSV, plain or gzip: time_s,lat_deg,lon_deg, an agent column, further "
    "columns;\n"
    "                         may be given several times: the files run side by side\n"
    "  --generate KINDS       made-up data: sparse, crowd or sparse,crowd (the default without "
    "--data)\n"
    "  --agent-column NAME    default: the first of agent, icao24, mmsi, track_id, device\n"
    "  --sort                 sort rows by time; without it a file out of order is refused\n"
    "  --seconds N            how long (default 20); the data repeats with new agents until then\n"
    "  --speed X|max          replay X times faster than recorded, or without a clock; default: as "
    "fast as\n"
    "                         the 99th percentile of command latency stays under 1 ms\n"
    "  --agents P             agent processes (default 20)\n"
    "  --kill N               kill N of them with SIGKILL at random moments and replace them\n"
    "  --watchers N           watches (default 0) of a part of the keys or of all, in up to 3 "
    "processes, at\n"
    "                         all nodes: each must be given every write, once and in its order\n"
    "  --seed N               of kills, of made-up data and of what is looked at (default: the "
    "time)\n"
    "  --daemon-pid PID       count this process's CPU time too; several times, one for each "
    "--socket:\n"
    "                         a cluster of processes, with agents at all nodes\n"
    "  --chaos SPEC           with a cluster: freeze:A-Bs stops the last node's process from "
    "second A "
    "to B,\n"
    "                         move:Ns moves all leaderships every N seconds to the next node; no "
    "write may\n"
    "                         fail then. kill-leader:Ns kills the leader of most every N seconds; "
    "partition:Ns\n"
    "                         cuts the next node off for a second; add-node:Ns adds the last "
    "--socket's\n"
    "                         node at second N, remove-node:Ns removes the last of the others "
    "then: no write\n"
    "                         may fail.  Several with commas\n"
    "  --add-node PROGRAM     for add-node: adds that node, and has its daemon started\n"
    "  --dunlin PATH          the command dunlin, for move and remove-node\n"
    "  --switch-pid PID       for partition: a process in the network namespace of the nodes' "
    "bridge, where\n"
    "                         node N of the order of --socket is at portN\n"
    "  --daemon-restarts-expected  the daemon is killed from outside meanwhile: check each start "
    "alone\n"
    "  --telemetry-space NAME, --sectors-space NAME   strong spaces (default: telemetry, sectors)\n"
    "  --json                 the report as JSON; progress goes to stderr\n";

enum option_code {
    OPTION_SOCKET = 256,
    OPTION_DATA,
    OPTION_GENERATE,
    OPTION_AGENT_COLUMN,
    OPTION_SORT,
    OPTION_SECONDS,
    OPTION_SPEED,
    OPTION_AGENTS,
    OPTION_KILL,
    OPTION_WATCHERS,
    OPTION_SEED,
    OPTION_DAEMON_PID,
    OPTION_CHAOS,
    OPTION_DUNLIN,
    OPTION_ADDER,
    OPTION_SWITCH,
    OPTION_RESTARTS,
    OPTION_TELEMETRY,
    OPTION_SECTORS,
    OPTION_JSON,
    OPTION_HELP,
};

static const struct option table[] = {
    {"socket", required_argument, NULL, OPTION_SOCKET},
    {"data", required_argument, NULL, OPTION_DATA},
    {"generate", required_argument, NULL, OPTION_GENERATE},
    {"agent-column", required_argument, NULL, OPTION_AGENT_COLUMN},
    {"sort", no_argument, NULL, OPTION_SORT},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"speed", required_argument, NULL, OPTION_SPEED},
    {"agents", required_argument, NULL, OPTION_AGENTS},
    {"kill", required_argument, NULL, OPTION_KILL},
    {"watchers", required_argument, NULL, OPTION_WATCHERS},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"daemon-pid", required_argument, NULL, OPTION_DAEMON_PID},
    {"chaos", required_argument, NULL, OPTION_CHAOS},
    {"dunlin", required_argument, NULL, OPTION_DUNLIN},
    {"add-node", required_argument, NULL, OPTION_ADDER},
    {"switch-pid", required_argument, NULL, OPTION_SWITCH},
    {"daemon-restarts-expected", no_argument, NULL, OPTION_RESTARTS},
    {"telemetry-space", required_argument, NULL, OPTION_TELEMETRY},
    {"sectors-space", required_argument, NULL, OPTION_SECTORS},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static int usage(const char *what, const char *value)
{
    (void)fprintf(stderr, "dunlin-bench fleet: %s: %s (--help)\n", what, value);
    return -EINVAL;
}

static int parse_number(const char *text, double low, double high, double *value)
{
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (errno != 0 || end == text || *end != 0 || !isfinite(v) || v < low || v > high)
        return -EINVAL;
    *value = v;
    return 0;
}

static int parse_whole(const char *text, uint64_t low, uint64_t high, uint64_t *value)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != 0 || text[0] == '-' || v < low || v > high)
        return -EINVAL;
    *value = v;
    return 0;
}

static int parse_kinds(const char *text, struct fleet_options *o)
{
    o->generate_sparse = strcmp(text, "sparse") == 0 || strcmp(text, "sparse,crowd") == 0;
    o->generate_crowd = strcmp(text, "crowd") == 0 || strcmp(text, "sparse,crowd") == 0;
    return o->generate_sparse || o->generate_crowd
               ? 0
               : usage("--generate takes sparse, crowd or sparse,crowd, not", text);
}

static int parse_speed(const char *text, struct fleet_options *o)
{
    if (strcmp(text, "max") == 0)
        o->speed = FLEET_SPEED_UNBOUND;
    else if (parse_number(text, 1e-3, 1e7, &o->speed) != 0)
        return usage("--speed takes 0.001 to 10000000 or max, not", text);
    return 0;
}

static int take_text(int code, const char *value, struct fleet_options *o)
{
    switch (code) {
    case OPTION_SOCKET:
        if (o->socket_count == FLEET_NODES_MAX)
            return usage("too many --socket", value);
        o->sockets[o->socket_count++] = value;
        return 0;
    case OPTION_DATA:
        if (o->path_count == FLEET_SOURCES_MAX - 2)
            return usage("too many --data", value);
        o->paths[o->path_count++] = value;
        return 0;
    case OPTION_GENERATE:
        return parse_kinds(value, o);
    case OPTION_AGENT_COLUMN:
        o->agent_column = value;
        return 0;
    case OPTION_SPEED:
        return parse_speed(value, o);
    case OPTION_CHAOS:
        o->chaos = value;
        return 0;
    case OPTION_DUNLIN:
        o->dunlin = value;
        return 0;
    case OPTION_ADDER:
        o->adder = value;
        return 0;
    case OPTION_TELEMETRY:
        o->telemetry_space = value;
        return 0;
    case OPTION_SECTORS:
        o->sectors_space = value;
        return 0;
    default:
        return -ENOSYS; /* not a text */
    }
}

static int take_number(int code, const char *value, struct fleet_options *o)
{
    uint64_t n = 0;
    switch (code) {
    case OPTION_SECONDS:
        return parse_number(value, 1, SECONDS_MAX, &o->seconds) == 0
                   ? 0
                   : usage("--seconds takes 1 to 1000000, not", value);
    case OPTION_AGENTS:
        if (parse_whole(value, 1, FLEET_PROCESSES_MAX, &n) != 0)
            return usage("--agents takes 1 to 512, not", value);
        o->agents = (uint32_t)n;
        return 0;
    case OPTION_KILL:
        if (parse_whole(value, 0, FLEET_KILLS_MAX, &n) != 0)
            return usage("--kill takes 0 to 1000, not", value);
        o->kills = (uint32_t)n;
        return 0;
    case OPTION_WATCHERS:
        if (parse_whole(value, 0, FLEET_WATCHES_MAX, &n) != 0)
            return usage("--watchers takes 0 to 10000, not", value);
        o->watches = (uint32_t)n;
        return 0;
    case OPTION_SEED:
        return parse_whole(value, 0, UINT64_MAX, &o->seed) == 0
                   ? 0
                   : usage("--seed takes a whole number, not", value);
    case OPTION_DAEMON_PID:
        if (parse_whole(value, 1, INT32_MAX, &n) != 0)
            return usage("--daemon-pid takes a process id, not", value);
        if (o->daemon_pid_count == FLEET_NODES_MAX)
            return usage("too many --daemon-pid", value);
        o->daemon_pids[o->daemon_pid_count++] = (int)n;
        return 0;
    case OPTION_SWITCH:
        if (parse_whole(value, 1, INT32_MAX, &n) != 0)
            return usage("--switch-pid takes a process id, not", value);
        o->switch_pid = (int)n;
        return 0;
    default:
        return -ENOSYS; /* not a number */
    }
}

static int take(int code, const char *value, struct fleet_options *o)
{
    int error = take_text(code, value, o);
    if (error == -ENOSYS)
        error = take_number(code, value, o);
    if (error != -ENOSYS)
        return error;
    switch (code) {
    case OPTION_SORT:
        o->sort = true;
        return 0;
    case OPTION_RESTARTS:
        o->restarts_expected = true;
        return 0;
    case OPTION_JSON:
        o->json = true;
        return 0;
    case OPTION_HELP:
        (void)fputs(help, stdout);
        return 1;
    default:
        return -EINVAL; /* getopt_long has said what */
    }
}

/* What belongs together.  Returns 0 or -EINVAL. */
static int check_nodes(const struct fleet_options *o, const struct fleet_chaos *chaos)
{
    if (fleet_chaos_has(chaos, FLEET_CHAOS_PARTITION) && o->switch_pid == 0)
        return usage("--chaos partition needs", "--switch-pid");
    if (fleet_chaos_has(chaos, FLEET_CHAOS_ADD) != (o->adder != NULL))
        return usage("--chaos add-node", "with --add-node, and only then");
    if (o->daemon_pid_count > 1 && o->daemon_pid_count + (o->adder != NULL) != o->socket_count)
        return usage("--daemon-pid", "one for all nodes, or one for each that is there at first");
    if (o->chaos != NULL && (o->daemon_pid_count < 2 || o->dunlin == NULL))
        return usage("--chaos needs nodes that are processes of their own",
                     "--daemon-pid, --dunlin");
    /* Why: what the daemon held is lost then, and with it what watchers are held against. */
    if (o->watches != 0 && o->restarts_expected)
        return usage("--watchers", "not with --daemon-restarts-expected");
    return 0;
}

int fleet_options_parse(int argc, char **argv, struct fleet_options *options,
                        struct fleet_chaos *chaos)
{
    int code, error = 0;
    *options = (struct fleet_options){.seconds = BENCH_SECONDS_DEFAULT,
                                      .agents = 20,
                                      .speed = FLEET_SPEED_AUTO,
                                      .telemetry_space = "telemetry",
                                      .sectors_space = "sectors",
                                      .seed = UINT64_MAX};
    optind = 1;
    while (error == 0 && (code = getopt_long(argc, argv, "", table, NULL)) != -1)
        error = take(code, optarg, options);
    if (error == 0 && optind != argc)
        error = usage("unexpected argument", argv[optind]);
    if (error == 0 && options->chaos != NULL && fleet_chaos_parse(options->chaos, chaos) != 0)
        error = usage("--chaos takes freeze:A-Bs, move:Ns, kill-leader:Ns, partition:Ns, "
                      "add-node:Ns and remove-node:Ns, not",
                      options->chaos);
    if (error == 0)
        error = check_nodes(options, chaos);
    options->removes_last = error == 0 && fleet_chaos_has(chaos, FLEET_CHAOS_REMOVE);
    options->spares_last =
        error == 0 && (options->removes_last || fleet_chaos_has(chaos, FLEET_CHAOS_FREEZE) ||
                       fleet_chaos_has(chaos, FLEET_CHAOS_MOVE));
    if (error == 0 && options->path_count == 0 && !options->generate_sparse &&
        !options->generate_crowd)
        options->generate_sparse = options->generate_crowd = true;
    return error;
}
