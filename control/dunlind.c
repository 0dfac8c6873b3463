/* dunlind - the command line of the daemon.
 *
 *   dunlind --config FILE [-- ARGUMENT...]
 *                                    serve until SIGTERM or SIGINT; prints `ready` when it serves; arguments
 *                                    of DPDK's environment go behind those of the file
 *   dunlind --config FILE --check    validate the file; faults with file, line and what was
 *                                    expected
 *   dunlind --config FILE --reload   have the daemon of that file read its configuration again (reload.h)
 *   dunlind dev [--nodes N] [--dir DIR] [--spaces FILE] [--moves MS]
 *                                    a cluster in one process (dev.h)
 *
 * Exit: 0 stopped as asked, or the file is good · 1 could not start: the log says why · 2 usage, or
 * the file has faults · 3 another daemon has registered under this node's id, or the cluster has no node
 * of it: do not start it again before that is mended, or the two end each other in turn.  One whose node was
 * removed while it ran (dunlin node remove) has stopped as asked.  Of --reload: reload_ask.h. */
#include "control/cluster_node.h"
#include "control/coordinator.h"
#include "control/daemon.h"
#include "control/dev.h"
#include "control/dev_moves.h"
#include "control/raft_node.h"
#include "control/reload_ask.h"
#include "control/service.h"
#include "control/space_keeper.h"
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
        "usage: dunlind --config FILE [--check | --reload | -- ARGUMENT...]\n"
        "       dunlind dev [--nodes N] [--dir DIR] [--spaces FILE] [--moves MS]\n"
        "\n"
        "  --config FILE  serve as FILE says, until SIGTERM or SIGINT; prints `ready`\n"
        "  --check        only validate FILE: each fault with its line and what was expected\n"
        "  --reload       have the daemon that runs with FILE read it again: agents' rates and\n"
        "                 certificates change at once, each other key that differs is named\n"
        "  -- ARGUMENT... for DPDK's environment (EAL), behind those of FILE; transport dpdk\n"
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
        "      3 another daemon runs under this node's id, or it is no node of the cluster\n"
        "exit of --reload: 0 all is as FILE says; 1 something stays until a restart; 2 FILE has\n"
        "      faults; 3 no daemon; 5 refused to this user\n",
        out);
}

struct arguments {
    const char *config;
    bool check, reload;
    bool is_dev;
    struct dev_options dev;
    char **eal; /* behind "--"; NULL ends them */
};

enum option_code {
    OPTION_CONFIG = 256,
    OPTION_CHECK,
    OPTION_RELOAD,
    OPTION_NODES,
    OPTION_DIR,
    OPTION_SPACES,
    OPTION_MOVES,
    OPTION_HELP,
    OPTION_VERSION,
};

static const struct option options_daemon[] = {
    {"config", required_argument, NULL, OPTION_CONFIG}, {"check", no_argument, NULL, OPTION_CHECK},
    {"reload", no_argument, NULL, OPTION_RELOAD},       {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},     {NULL, 0, NULL, 0},
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
    case OPTION_RELOAD:
        a->reload = true;
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
    bool has_eal = !a->is_dev && optind < argc && strcmp(argv[optind - 1], "--") == 0;
    a->eal = &argv[has_eal ? optind : argc];
    if (code < 0 && ((optind < argc && !has_eal) || (!a->is_dev && a->config == NULL))) {
        usage(stderr);
        code = EXIT_USAGE;
    }
    if (code < 0 && a->check && a->reload) {
        (void)fputs("dunlind: --check and --reload exclude each other\n", stderr);
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

static uint64_t lsn_granted(void *context, bool is_short)
{
    return cluster_node_lsn_granted(context, is_short);
}

static int fd(void *context)
{
    return cluster_node_fd(context);
}

static int certificates(void *context, FILE *errors)
{
    struct raft_node *n = cluster_node_control(context);
    return n != NULL ? raft_node_reload(n, errors) : 0;
}

static uint64_t silent_ns(void *context)
{
    struct raft_node_shown shown;
    struct raft_node *n = cluster_node_control(context);
    if (n == NULL)
        return 0;
    raft_node_shown(n, &shown);
    uint64_t now = clock_boottime_ns();
    return now > shown.turned_ns ? now - shown.turned_ns : 0;
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
        return error == -ECANCELED ? EXIT_SUCCESS
               : error == -EIDRM   ? EXIT_SUPERSEDED
                                   : EXIT_FAILURE;
    error = daemon_serve(daemon);
    daemon_stop(daemon);
    return error == -ESTALE ? EXIT_SUPERSEDED : EXIT_SUCCESS;
}

static int join_alone(void *context, struct node *const *nodes, uint32_t node_count)
{
    ASSERT(node_count == 1);
    return space_keeper_join(context, nodes[0]);
}

static int serve_alone(const struct config *config, const char *path)
{
    static struct space_keeper spaces;
    if (space_keeper_open(&spaces, config, stderr) != 0)
        return EXIT_USAGE;
    return serve(config, &(struct daemon_hooks){.join = join_alone,
                                                .ready = ready,
                                                .config_path = path,
                                                .spaces = &spaces.admin,
                                                .context = &spaces});
}

/* What a start would refuse beside the file itself. */
static int check(const struct config *config)
{
    static struct space_keeper spaces;
    if (config->cluster.name[0] != '\0')
        return EXIT_SUCCESS;
    return space_keeper_open(&spaces, config, stderr) == 0 ? EXIT_SUCCESS : EXIT_USAGE;
}

static int serve_cluster(const struct config *config, const char *path)
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
        .lsn_granted = lsn_granted,
        .fd = fd,
        .period_ms = (uint32_t)(COORDINATOR_LOOK_NS / NS_PER_MS),
        .drain = drain,
        .config_path = path,
        .certificates = certificates,
        .silent_ns = silent_ns,
        .admin = cluster_node_admin(cluster),
        .spaces = cluster_node_spaces(cluster),
        .context = cluster,
    };
    int code = serve(config, &hooks);
    cluster_node_close(cluster);
    return code;
}

static int serve_one(const struct config *config, const char *path)
{
    return config->cluster.name[0] != '\0' ? serve_cluster(config, path)
                                           : serve_alone(config, path);
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
    if (*arguments.eal != NULL && config.cluster.transport != CONFIG_TRANSPORT_DPDK) {
        (void)fprintf(stderr, "dunlind: %s: behind -- is for DPDK; expected transport dpdk in %s\n",
                      *arguments.eal, arguments.config);
        return EXIT_USAGE;
    }
    config.cluster.dpdk.eal_more = arguments.eal;
    if (arguments.check && !arguments.is_dev)
        return check(&config);
    if (arguments.reload)
        return reload_ask(config.socket_path, stdout, stderr);
    if (plant_from_environment() != 0)
        return EXIT_USAGE;
    /* Why held: SIGHUP would end it while it starts, and means a reload when it serves. */
    if (!arguments.is_dev)
        service_hold();
    daemon_prepare();
    code = arguments.is_dev ? dev_run(&arguments.dev) : serve_one(&config, arguments.config);
    qsbr_thread_unregister();
    return code;
}
