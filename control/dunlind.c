/* dunlind - the command line of the daemon.
 *
 *   dunlind --config FILE            serve until SIGTERM or SIGINT; prints `ready` when it serves
 *   dunlind --config FILE --check    validate the file; faults with file, line and what was
 *                                    expected
 *   dunlind dev [--nodes N] [--dir DIR] [--spaces FILE] [--moves MS]
 *                                    a cluster in one process (dev.h)
 *
 * Exit: 0 stopped as asked, or the file is good · 1 could not start: the log says why · 2 usage, or
 * the file has faults · 3 another daemon has registered under this node's id: do not start it again
 * before that is mended, or the two end each other in turn. */
#include "control/cluster_node.h"
#include "control/coordinator_file.h"
#include "control/daemon.h"
#include "control/dev.h"
#include "control/dev_moves.h"
#include "engine/agent/dunlin.h"
#include "engine/plant.h"
#include "engine/rcu.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_USAGE 2
#define EXIT_SUPERSEDED 3

static void usage(FILE *out)
{
    (void)fputs(
        "usage: dunlind --config FILE [--check]\n"
        "       dunlind dev [--nodes N] [--dir DIR] [--spaces FILE] [--moves MS]\n"
        "\n"
        "  --config FILE  serve as FILE says, until SIGTERM or SIGINT; prints `ready`\n"
        "  --check        only validate FILE: each fault with its line and what was expected\n"
        "  --help         this text\n"
        "  --version      the version\n"
        "\n"
        "  dev            a whole cluster in one process, for development; prints a line\n"
        "                 `node ID socket PATH` for each node, then `ready`\n"
        "  --nodes N      1 to 7; default 3\n"
        "  --dir DIR      where the sockets are; default: a fresh directory below\n"
        "                 $XDG_RUNTIME_DIR or /tmp, removed at the end\n"
        "  --spaces FILE  a configuration, or only its `spaces:`; default: two strong spaces,\n"
        "                 airspace and fleet\n"
        "  --moves MS     every MS milliseconds (20 to 3600000) another node leads all shards for\n"
        "                 a moment; default: node 1 leads them all the time\n"
        "\n"
        "exit: 0 stopped as asked, or FILE is good; 1 could not start; 2 usage, or FILE has "
        "faults;\n"
        "      3 another daemon runs under this node's id\n",
        out);
}

struct arguments {
    const char *config;
    bool check;
    bool is_dev;
    struct dev_options dev;
};

enum option_code {
    OPTION_CONFIG = 256,
    OPTION_CHECK,
    OPTION_NODES,
    OPTION_DIR,
    OPTION_SPACES,
    OPTION_MOVES,
    OPTION_HELP,
    OPTION_VERSION,
};

static const struct option options_daemon[] = {
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"check", no_argument, NULL, OPTION_CHECK},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static const struct option options_dev[] = {
    {"nodes", required_argument, NULL, OPTION_NODES},
    {"dir", required_argument, NULL, OPTION_DIR},
    {"spaces", required_argument, NULL, OPTION_SPACES},
    {"moves", required_argument, NULL, OPTION_MOVES},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static bool nodes_read(const char *text, uint32_t *count)
{
    if (text[0] < '1' || text[0] > '9' || text[1] != '\0')
        return false;
    *count = (uint32_t)(text[0] - '0');
    return *count <= DEV_NODES_MAX;
}

static bool moves_read(const char *text, uint32_t *ms)
{
    char *end;
    unsigned long value = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
    if (value < DEV_MOVES_MS_MIN || value > DEV_MOVES_MS_MAX || *end != '\0')
        return false;
    *ms = (uint32_t)value;
    return true;
}

/* Returns -1 to go on, else the exit code. */
static int argument_take(struct arguments *a, int option)
{
    switch (option) {
    case OPTION_CONFIG:
        a->config = optarg;
        return -1;
    case OPTION_CHECK:
        a->check = true;
        return -1;
    case OPTION_NODES:
        if (nodes_read(optarg, &a->dev.node_count))
            return -1;
        (void)fprintf(stderr, "dunlind dev: --nodes %s: expected 1 to %u\n", optarg, DEV_NODES_MAX);
        return EXIT_USAGE;
    case OPTION_DIR:
        a->dev.directory = optarg;
        return -1;
    case OPTION_SPACES:
        a->dev.spaces = optarg;
        return -1;
    case OPTION_MOVES:
        if (moves_read(optarg, &a->dev.moves_ms))
            return -1;
        (void)fprintf(stderr, "dunlind dev: --moves %s: expected %u to %u milliseconds\n", optarg,
                      DEV_MOVES_MS_MIN, DEV_MOVES_MS_MAX);
        return EXIT_USAGE;
    case OPTION_HELP:
        usage(stdout);
        return EXIT_SUCCESS;
    case OPTION_VERSION:
        (void)puts("dunlind " DUNLIN_VERSION_STRING);
        return EXIT_SUCCESS;
    default:
        usage(stderr);
        return EXIT_USAGE;
    }
}

/* Returns -1 to go on, else the exit code. */
static int arguments_read(int argc, char **argv, struct arguments *a)
{
    int code = -1;
    a->is_dev = argc > 1 && strcmp(argv[1], "dev") == 0;
    optind = a->is_dev ? 2 : 1;
    for (int c;
         code < 0 &&
         (c = getopt_long(argc, argv, "", a->is_dev ? options_dev : options_daemon, NULL)) != -1;)
        code = argument_take(a, c);
    if (code < 0 && (optind < argc || (!a->is_dev && a->config == NULL))) {
        usage(stderr);
        code = EXIT_USAGE;
    }
    if (code < 0 && a->dev.moves_ms != 0 && a->dev.node_count < 2) {
        (void)fputs(
            "dunlind dev: --moves: there is nowhere to move to; expected --nodes 2 or more\n",
            stderr);
        code = EXIT_USAGE;
    }
    return code;
}

/* In a build with known bugs, the one that DUNLIN_PLANT names is switched on; elsewhere naming one
 * is an error, so that nobody takes a sound build for a planted one. */
static int plant_from_environment(void)
{
    const char *name = getenv("DUNLIN_PLANT");
    if (name == NULL || name[0] == '\0')
        return 0;
    int error = plant_set(name);
    if (error != 0)
        (void)fprintf(stderr, "dunlind: DUNLIN_PLANT=%s: %s\n", name,
                      error == -ENOENT ? "no such bug" : "this is not a build with -Dplant=true");
    return error;
}

static void ready(void *context)
{
    (void)context;
    (void)puts("ready");
    (void)fflush(stdout);
}

/* ---- a node of a cluster ---- */

static int begin(void *context, uint64_t start, uint64_t *lsn_origin)
{
    return cluster_node_begin(context, start, lsn_origin);
}

static int join(void *context, struct node *const *nodes, uint32_t node_count)
{
    ASSERT(node_count == 1);
    return cluster_node_join(context, nodes[0]);
}

static void leave(void *context)
{
    cluster_node_leave(context);
}

static int step(void *context)
{
    return cluster_node_step(context);
}

static uint64_t lsn_floor(void *context)
{
    return cluster_node_lsn_floor(context);
}

static int fd(void *context)
{
    return cluster_node_fd(context);
}

static bool drain(void *context)
{
    return cluster_node_drain(context);
}

/* ---- the run ---- */

static int serve(const struct config *config, const struct daemon_hooks *hooks)
{
    struct daemon *daemon;
    int error = daemon_start(&daemon, config, 1, hooks);
    if (error != 0)
        return error == -ECANCELED ? EXIT_SUCCESS : EXIT_FAILURE;
    error = daemon_serve(daemon);
    daemon_stop(daemon);
    return error == -ESTALE ? EXIT_SUPERSEDED : EXIT_SUCCESS;
}

static int serve_alone(const struct config *config)
{
    return serve(config, &(struct daemon_hooks){.ready = ready});
}

static int serve_cluster(const struct config *config)
{
    struct cluster_node *cluster;
    if (cluster_node_open(&cluster, config, stderr) != 0)
        return EXIT_USAGE;
    const struct daemon_hooks hooks = {
        .begin = begin,
        .join = join,
        .leave = leave,
        .ready = ready,
        .step = step,
        .lsn_floor = lsn_floor,
        .fd = fd,
        .period_ms = (uint32_t)(COORDINATOR_LOOK_NS / NS_PER_MS),
        .drain = drain,
        .admin = cluster_node_admin(cluster),
        .context = cluster,
    };
    int code = serve(config, &hooks);
    cluster_node_close(cluster);
    return code;
}

static int serve_one(const struct config *config)
{
    return config->cluster.name[0] != '\0' ? serve_cluster(config) : serve_alone(config);
}

int main(int argc, char **argv)
{
    static struct config config;
    struct arguments arguments = {.dev.node_count = DEV_NODES_DEFAULT};
    int code = arguments_read(argc, argv, &arguments);
    if (code >= 0)
        return code;
    if (!arguments.is_dev && config_load(arguments.config, &config, stderr) != 0)
        return EXIT_USAGE;
    if (arguments.check)
        return EXIT_SUCCESS;
    if (plant_from_environment() != 0)
        return EXIT_USAGE;
    daemon_prepare();
    code = arguments.is_dev ? dev_run(&arguments.dev) : serve_one(&config);
    qsbr_thread_unregister();
    return code;
}
