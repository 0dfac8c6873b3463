#include "control/dev.h"

#include "control/coordinator_script.h"
#include "control/daemon.h"
#include "control/dev_moves.h"
#include "control/space_keeper.h"
#include "dataplane/transport_mem.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_BAD_INPUT 2
#define DIRECTORY_NAME "dunlin-dev.XXXXXX"

/* One lcore that sleeps when idle is the default.  Why the quotas: each node has them once more. */
static const char configuration[] = "node: {name: node, id: 1}\n"
                                    "spaces:\n"
                                    "  - {name: airspace, id: 1, quota: 64MiB}\n"
                                    "  - {name: fleet, id: 2, quota: 64MiB}\n";

struct dev {
    const struct dev_options *options;
    char directory[PATH_MAX];
    bool is_private; /* made by us, to be removed */
    bool is_new;     /* made by us, to be removed if nothing comes of it */
    struct coordinator_script *coordinator;
    struct dev_moves *moves;
    struct dev_links *links; /* NULL: nothing moves */
    struct transport_mem_hub *hub;
    struct space_keeper spaces; /* of a node alone, made while it runs */
    struct config configs[DEV_NODES_MAX];
};

/* ---- the directory ---- */

static int complain(const char *what, const char *path, int error)
{
    (void)fprintf(stderr, "dunlind dev: %s %s: %s\n", what, path, strerror(-error));
    return error;
}

static int directory_take(struct dev *d, const char *path)
{
    struct stat status;
    d->is_new = mkdir(path, 0700) == 0;
    if (!d->is_new && errno != EEXIST)
        return complain("cannot make the directory", path, -errno);
    if (stat(path, &status) != 0 || realpath(path, d->directory) == NULL)
        return complain("cannot use the directory", path, -errno);
    return S_ISDIR(status.st_mode) ? 0 : complain("cannot use the directory", path, -ENOTDIR);
}

static bool private_make(struct dev *d, const char *parent)
{
    int length = snprintf(d->directory, sizeof(d->directory), "%s/%s", parent, DIRECTORY_NAME);
    d->is_private =
        length > 0 && (size_t)length < sizeof(d->directory) && mkdtemp(d->directory) != NULL;
    return d->is_private;
}

static int directory_open(struct dev *d)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (d->options->directory != NULL)
        return directory_take(d, d->options->directory);
    /* Why /tmp after a failure, too: the variable often outlives its directory (su, sudo). */
    if ((runtime != NULL && runtime[0] == '/' && private_make(d, runtime)) ||
        private_make(d, "/tmp"))
        return 0;
    return complain("cannot make a directory below", "/tmp", -errno);
}

/* The sockets are gone by now; what the next start would need is of no use in a directory that
 * never comes again. */
static void directory_close(const struct dev *d)
{
    char path[PATH_MAX + 64];
    if (!d->is_private)
        return;
    for (uint32_t i = 0; i < d->options->node_count; i++) {
        (void)snprintf(path, sizeof(path), "%s/node%u.sock.state", d->directory, i + 1);
        (void)unlink(path);
        (void)snprintf(path, sizeof(path), "%s/node%u.sock.spaces", d->directory, i + 1);
        (void)unlink(path);
    }
    if (rmdir(d->directory) != 0)
        (void)complain("cannot remove", d->directory, -errno);
}

/* ---- the nodes ---- */

int dev_configure(const struct dev_options *o, const char *directory,
                  struct config configs[DEV_NODES_MAX], FILE *errors)
{
    struct config *first = &configs[0];
    struct config given;
    int error = config_parse("defaults", (const uint8_t *)configuration, strlen(configuration),
                             first, errors);
    if (error == 0 && o->spaces != NULL) {
        error = config_load_spaces(o->spaces, &given, errors);
        if (error == 0) {
            first->space_count = given.space_count;
            memcpy(first->spaces, given.spaces, sizeof(given.spaces));
        }
    }
    for (uint32_t i = 0; i < o->node_count && error == 0; i++) {
        struct config *c = &configs[i];
        if (i != 0)
            *c = *first;
        c->node.id = i + 1;
        c->node.replicated = o->node_count > 1;
        (void)snprintf(c->node.name, sizeof(c->node.name), "node%u", i + 1);
        int length =
            snprintf(c->socket_path, sizeof(c->socket_path), "%s/node%u.sock", directory, i + 1);
        if (length < 0 || (size_t)length >= sizeof(c->socket_path))
            error = -ENAMETOOLONG;
    }
    return error;
}

static int hub_open(struct dev *d, struct node *const *nodes, uint32_t node_count)
{
    uint32_t ids[DEV_NODES_MAX];
    uint32_t lcore_count = nodes[0]->config.lcore_count;
    for (uint32_t i = 0; i < node_count; i++)
        ids[i] = nodes[i]->config.id;
    const struct transport_mem_config config = {
        .nodes = ids, .node_count = node_count, .lcore_count = lcore_count};
    int error = transport_mem_open(&d->hub, &config);
    if (error != 0)
        return error;
    if (d->options->moves_ms != 0)
        error = dev_links_open(&d->links, node_count * lcore_count);
    for (uint32_t i = 0; error == 0 && i < node_count; i++)
        for (uint32_t l = 0; l < lcore_count; l++) {
            struct transport *t = transport_mem_endpoint(d->hub, ids[i], l);
            nodes[i]->cluster->transports[l] = d->links != NULL ? dev_link_over(d->links, t) : t;
        }
    return error;
}

static void leave(void *context)
{
    struct dev *d = context;
    dev_moves_stop(d->moves);
    d->moves = NULL;
    coordinator_script_close(d->coordinator);
    d->coordinator = NULL;
    if (d->hub != NULL)
        transport_mem_close(d->hub);
    d->hub = NULL;
    dev_links_close(d->links);
    d->links = NULL;
}

/* One node has nobody to agree with: it is a node alone. */
static int join(void *context, struct node *const *nodes, uint32_t node_count)
{
    struct dev *d = context;
    if (node_count == 1)
        return space_keeper_join(&d->spaces, nodes[0]);
    int error = coordinator_script_open(&d->coordinator, nodes, node_count, nodes[0]->start);
    if (error == 0)
        error = hub_open(d, nodes, node_count);
    if (error != 0)
        leave(d);
    return error;
}

static void ready(void *context)
{
    struct dev *d = context;
    const struct dev_options *o = d->options;
    /* Why here: signals are still held, so the thread never gets one. */
    const struct dev_moves_config moves = {.coordinator = d->coordinator,
                                           .links = d->links,
                                           .node_count = o->node_count,
                                           .period_ms = o->moves_ms};
    int error = o->moves_ms != 0 ? dev_moves_start(&d->moves, &moves) : 0;
    if (error != 0)
        (void)fprintf(stderr, "dunlind dev: leaders stay where they are: %s\n", strerror(-error));
    for (uint32_t i = 0; i < d->options->node_count; i++)
        (void)printf("node %u socket %s\n", i + 1, d->configs[i].socket_path);
    (void)puts("ready");
    (void)fflush(stdout);
}

/* ---- the run ---- */

static int serve(struct dev *d)
{
    struct daemon_hooks hooks = {.join = join, .leave = leave, .ready = ready, .context = d};
    struct daemon *daemon;
    int error = dev_configure(d->options, d->directory, d->configs, stderr);
    if (error == -ENAMETOOLONG)
        (void)complain("no socket fits a path in", d->directory, error);
    /* Why of one alone: the shards that several agree on are those of their beginning. */
    if (error == 0 && d->options->node_count == 1) {
        error = space_keeper_open(&d->spaces, &d->configs[0], stderr);
        hooks.spaces = &d->spaces.admin;
    }
    if (error != 0)
        return EXIT_BAD_INPUT;
    error = daemon_start(&daemon, d->configs, d->options->node_count, &hooks);
    if (error != 0)
        return EXIT_FAILURE;
    error = daemon_serve(daemon);
    daemon_stop(daemon);
    return error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int dev_run(const struct dev_options *o)
{
    struct dev *d = calloc(1, sizeof(*d));
    if (d == NULL) {
        (void)fputs("dunlind dev: out of memory\n", stderr);
        return EXIT_FAILURE;
    }
    d->options = o;
    int error = directory_open(d);
    int code = error == 0 ? serve(d) : o->directory != NULL ? EXIT_BAD_INPUT : EXIT_FAILURE;
    directory_close(d);
    if (d->is_new && code != EXIT_SUCCESS)
        (void)rmdir(d->directory); /* what lies in it already has to stay */
    free(d);
    return code;
}
