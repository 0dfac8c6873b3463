#include "control/cli.h"
#include "control/cluster_key.h"
#include "engine/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ASK_REST_NS (20 * NS_PER_MS)

#define TEXT_BYTES_MIN ((size_t)4 << 20)
#define TEXT_BYTES_MAX ((size_t)64 << 20)

/* To be freed; NULL: *error says why. */
static char *text_get(struct dunlin *handle, cli_text_source *source, int *error)
{
    *error = -ENOBUFS;
    for (size_t bytes = TEXT_BYTES_MIN; *error == -ENOBUFS && bytes <= TEXT_BYTES_MAX; bytes *= 4) {
        char *text = malloc(bytes);
        int64_t length = text != NULL ? source(handle, text, bytes) : -ENOMEM;
        *error = length < 0 ? (int)length : 0;
        if (*error == 0)
            return text;
        free(text);
    }
    return NULL;
}

json_t *cli_object_get(struct dunlin *handle, cli_text_source *source, int *error)
{
    char *text = text_get(handle, source, error);
    json_t *o = text != NULL ? json_loads(text, 0, NULL) : NULL;
    if (*error == 0 && o == NULL)
        *error = -EPROTO;
    free(text);
    return o;
}

json_int_t cli_number_at(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

const char *cli_text_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

/* ---- asking, and waiting ---- */

void cli_rest(uint64_t ns)
{
    const struct timespec pause = {.tv_nsec = (long)ns};
    (void)nanosleep(&pause, NULL);
}

uint64_t cli_until_ns(const struct cli *c, uint64_t wait_ms)
{
    return clock_boottime_ns() + (c->timeout_ms != 0 ? c->timeout_ms : wait_ms) * NS_PER_MS;
}

bool cli_asks_again(struct cli_asking *a, int64_t result)
{
    if (result != -EBUSY || clock_boottime_ns() >= a->until_ns)
        return false;
    a->was_busy = true;
    cli_rest(ASK_REST_NS);
    return true;
}

/* ---- status ---- */

static const char *text_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "?";
}

static void print_spaces(const json_t *spaces)
{
    size_t i;
    json_t *s;
    (void)printf("%-20s %-10s %7s %12s %14s %14s\n", "space", "keeps", "shards", "keys",
                 "live bytes", "quota bytes");
    json_array_foreach(spaces, i, s)(void)
        printf("%-20s %-10s %7" PRId64 " %12" PRId64 " %14" PRId64 " %14" PRId64 "\n",
               text_at(s, "name"), text_at(s, "consistency"), (int64_t)cli_number_at(s, "shards"),
               (int64_t)cli_number_at(s, "keys"), (int64_t)cli_number_at(s, "live_bytes"),
               (int64_t)cli_number_at(s, "quota_bytes"));
}

static void print_rdma(const json_t *port)
{
    (void)printf(
        "port %s, rdma, link %s; link downs %" PRId64 ", removals %" PRId64 ", connections %" PRId64
        ", broken %" PRId64 ", failures %" PRId64 ", chunks %" PRId64 ", short %" PRId64 "\n",
        text_at(port, "name"), json_is_true(json_object_get(port, "link_up")) ? "up" : "down",
        (int64_t)cli_number_at(port, "link_downs"), (int64_t)cli_number_at(port, "removals"),
        (int64_t)cli_number_at(port, "connections"), (int64_t)cli_number_at(port, "broken"),
        (int64_t)cli_number_at(port, "failures"), (int64_t)cli_number_at(port, "chunks"),
        (int64_t)cli_number_at(port, "chunks_short"));
}

/* Nothing of a node that has sockets. */
static void print_port(const json_t *port)
{
    if (!json_is_object(port))
        return;
    if (strcmp(text_at(port, "kind"), "rdma") == 0) {
        print_rdma(port);
        return;
    }
    (void)printf("port %s, driver %s, %s, link %s; link downs %" PRId64 ", resets %" PRId64
                 ", failed %" PRId64 ", missed %" PRId64 "\n",
                 text_at(port, "name"), text_at(port, "driver"), text_at(port, "state"),
                 json_is_true(json_object_get(port, "link_up")) ? "up" : "down",
                 (int64_t)cli_number_at(port, "link_downs"), (int64_t)cli_number_at(port, "resets"),
                 (int64_t)cli_number_at(port, "resets_failed"),
                 (int64_t)cli_number_at(port, "missed"));
}

static void print_cluster(const json_t *cluster)
{
    (void)printf(
        "cluster %s, this is node %" PRId64 "; shards %" PRId64 ", pending %" PRId64
        ", moving %" PRId64 ", lost %" PRId64 "\n",
        text_at(cluster, "cluster"), (int64_t)cli_number_at(cluster, "node"),
        (int64_t)cli_number_at(cluster, "shards"), (int64_t)cli_number_at(cluster, "pending"),
        (int64_t)cli_number_at(cluster, "moving"), (int64_t)cli_number_at(cluster, "lost"));
    print_port(json_object_get(cluster, "port"));
}

/* Nothing of a daemon that does not tell it. */
static void print_redundancy(const json_t *cluster)
{
    const json_t *r = json_object_get(cluster, "redundancy");
    if (!json_is_object(r))
        return;
    (void)printf("redundancy: %" PRId64 " voters wanted, of any shard at least %" PRId64
                 " are up and hold all; below that %" PRId64 " shards, changing %" PRId64 "\n",
                 (int64_t)cli_number_at(cluster, "replicas"), (int64_t)cli_number_at(r, "least"),
                 (int64_t)cli_number_at(r, "below"), (int64_t)cli_number_at(r, "changing"));
}

/* Nothing of a cluster without a control log. */
static void print_control(const json_t *control)
{
    if (!json_is_object(control))
        return;
    (void)printf("control leader %" PRId64 ", term %" PRId64
                 "; this node is %s, connected to %" PRId64 " others%s\n",
                 (int64_t)cli_number_at(control, "leader"), (int64_t)cli_number_at(control, "term"),
                 json_is_true(json_object_get(control, "voter")) ? "a voter" : "no voter",
                 (int64_t)cli_number_at(control, "connected"),
                 json_is_true(json_object_get(control, "full")) ? ", its disk is full" : "");
}

/* Agents that used up their rate. */
static void print_throttled(const json_t *agents)
{
    size_t i;
    const json_t *a;
    json_array_foreach(agents, i, a) if (cli_number_at(a, "throttled") != 0)(void)
        printf("agent of process %" PRId64 " (user %" PRId64 ") throttled %" PRId64 " times\n",
               (int64_t)cli_number_at(a, "pid"), (int64_t)cli_number_at(a, "uid"),
               (int64_t)cli_number_at(a, "throttled"));
}

static void print_hot_keys(const json_t *keys)
{
    size_t i;
    const json_t *k;
    json_array_foreach(keys, i, k)(void)
        printf("hot key %s %s, %.1f %% of what lcore %" PRId64 " was asked\n", text_at(k, "space"),
               text_at(k, "key"), 100 * json_real_value(json_object_get(k, "share")),
               (int64_t)cli_number_at(k, "lcore"));
}

static int print_status(const json_t *status)
{
    const json_t *node = json_object_get(status, "node");
    const json_t *agents = json_object_get(status, "agents");
    (void)printf("node %s (%" PRId64 "), dunlin %s, up %" PRId64 " s, start %" PRId64 "\n",
                 text_at(node, "name"), (int64_t)cli_number_at(node, "id"),
                 text_at(status, "version"), (int64_t)cli_number_at(status, "uptime_ms") / 1000,
                 (int64_t)cli_number_at(status, "start"));
    (void)printf("agents %" PRId64 " of %" PRId64 ", operations %" PRId64 "\n",
                 (int64_t)cli_number_at(agents, "attached"),
                 (int64_t)cli_number_at(agents, "limit"),
                 (int64_t)cli_number_at(json_object_get(status, "counters"), "operations"));
    print_throttled(json_object_get(agents, "list"));
    print_hot_keys(json_object_get(status, "hot_keys"));
    if (json_object_get(status, "cluster") != NULL)
        print_cluster(json_object_get(status, "cluster"));
    print_redundancy(json_object_get(status, "cluster"));
    print_spaces(json_object_get(status, "spaces"));
    return cli_flushed(CLI_DONE);
}

static int print_text(char *text)
{
    (void)printf("%s\n", text);
    free(text);
    return cli_flushed(CLI_DONE);
}

static int print_object(json_t *o, int (*print)(const json_t *o))
{
    int exit_code = print(o);
    json_decref(o);
    return exit_code;
}

/* What a text says: as it is, or for people.  fail: what its errors mean. */
static int show(const struct cli *c, cli_text_source *source, int (*print)(const json_t *o),
                int (*fail)(const struct cli *c, int error))
{
    struct dunlin *handle;
    int exit_code = cli_attach(c, &handle);
    if (exit_code != CLI_DONE)
        return exit_code;
    int error;
    char *text = c->json ? text_get(handle, source, &error) : NULL;
    json_t *o = c->json ? NULL : cli_object_get(handle, source, &error);
    if (error != 0)
        exit_code = fail(c, error);
    else
        exit_code = c->json ? print_text(text) : print_object(o, print);
    dunlin_close(handle);
    return exit_code;
}

int cli_status(const struct cli *c)
{
    return show(c, dunlin_status_json, print_status, cli_fail_by);
}

/* ---- nodes ---- */

int cli_fail_of_cluster(const struct cli *c, int error)
{
    if (error == -EOPNOTSUPP)
        return cli_fail(CLI_UNAVAILABLE,
                        "%s: the node of the daemon at %s is alone; a section cluster in its "
                        "configuration makes it one of several",
                        c->command, cli_socket(c));
    return cli_fail_by(c, error);
}

/* A number, or "-" where the daemon does not tell it. */
static const char *number_text(const json_t *object, const char *name, char text[24])
{
    const json_t *number = json_object_get(object, name);
    (void)snprintf(text, 24, "-");
    if (json_is_integer(number))
        (void)snprintf(text, 24, "%" PRId64, (int64_t)json_integer_value(number));
    return text;
}

static const char *yes_or_no(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "-";
}

static void print_node(const json_t *n)
{
    char id[24], start[24], leads[24], votes[24], learns[24], heard[24], lag[24], behind[24],
        weight[24];
    const char *zone = json_string_value(json_object_get(n, "zone"));
    (void)printf("%10s %-24s %-4s %9s %20s %6s %6s %6s %12s %7s %7s %-8s %s\n",
                 number_text(n, "id", id), text_at(n, "address"), yes_or_no(n, "up"),
                 number_text(n, "heard_ms", heard), number_text(n, "start", start),
                 number_text(n, "leads", leads), number_text(n, "votes", votes),
                 number_text(n, "learns", learns), number_text(n, "lag", lag),
                 number_text(n, "lag_ms", behind), number_text(n, "weight", weight),
                 text_at(n, "standing"), zone != NULL && zone[0] != '\0' ? zone : "-");
}

static int print_nodes(const json_t *cluster)
{
    const json_t *nodes = json_object_get(cluster, "nodes");
    size_t i;
    json_t *n;
    print_cluster(cluster);
    print_redundancy(cluster);
    print_control(json_object_get(cluster, "control"));
    (void)printf("%10s %-24s %-4s %9s %20s %6s %6s %6s %12s %7s %7s %-8s %s\n", "node", "address",
                 "up", "heard ms", "start", "leads", "votes", "learns", "lag bytes", "lag ms",
                 "weight", "standing", "zone");
    json_array_foreach(nodes, i, n) print_node(n);
    return cli_flushed(CLI_DONE);
}

int cli_nodes(const struct cli *c)
{
    return show(c, dunlin_nodes_json, print_nodes, cli_fail_of_cluster);
}

/* ---- key ---- */

/* Why write and not stdio: its buffer would keep the secret. */
int cli_key(const struct cli *c)
{
    char line[CLUSTER_KEY_LINE_BYTES];
    int error = cluster_key_line(line);
    if (error != 0)
        return cli_fail(CLI_UNAVAILABLE, "%s: no random numbers: %s", c->command, strerror(-error));
    size_t length = strlen(line);
    ssize_t written = write(STDOUT_FILENO, line, length);
    int reason = written < 0 ? errno : ENOSPC;
    explicit_bzero(line, sizeof(line));
    if (written == (ssize_t)length)
        return CLI_DONE;
    return cli_fail(CLI_UNAVAILABLE, "cannot write to standard output: %s", strerror(reason));
}
