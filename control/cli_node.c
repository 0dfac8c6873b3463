/* `dunlin node add`, `drain`, `remove`, and `dunlin recover`. */
#include "control/cli.h"
#include "control/node_words.h"
#include "engine/clock.h"
#include "engine/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Long, since what is to vote has to have caught up first. */
#define CHANGE_WAIT_MS UINT64_C(120000)
#define RECOVER_WAIT_MS UINT64_C(10000)
/* One of the same id that was removed is told so for some seconds, and meanwhile none is added. */
#define ASK_WAIT_MS UINT64_C(20000)
#define LOOK_NS (50 * NS_PER_MS)

_Static_assert(NODE_WORDS_BYTES >= SPACE_WORDS_BYTES, "what cli_options puts together fits");

/* ---- what went wrong ---- */

static int fail(const struct cli *c, int exit_code, const char *why)
{
    bool is_node = strcmp(c->command, "node") == 0;
    return cli_fail(exit_code, "%s%s%s: %s", c->command, is_node ? " " : "",
                    is_node ? c->operands[0] : "", why);
}

/* Returns the exit code, with a message. */
static int fail_by(const struct cli *c, int error)
{
    switch (error) {
    case -EACCES:
        return fail(c, CLI_REFUSED,
                    "access refused to this user; root and the user of the daemon may");
    case -EEXIST:
        return fail(c, CLI_REFUSED,
                    "there is a node of that id, or one of it is still going; see dunlin nodes");
    case -EADDRINUSE:
        return fail(c, CLI_REFUSED,
                    "another node has that address, or lcores of the two would share a port; see "
                    "dunlin nodes, and give another --address");
    case -EAFNOSUPPORT:
        return fail(c, CLI_USAGE,
                    "the addresses of a cluster are all IPv4 or all IPv6; see dunlin nodes");
    case -ENOSPC:
        return cli_fail(CLI_REFUSED,
                        "node add: there are %u nodes, and no cluster has more; remove one first",
                        LIMIT_VOTERS);
    case -EPERM:
        return fail(c, CLI_REFUSED,
                    "fewer than two nodes that vote would stay; add one, or undo another drain");
    case -EHOSTDOWN:
        return fail(c, CLI_REFUSED,
                    "of the nodes that would vote then too few are up; see dunlin nodes, and start "
                    "those, or remove them first");
    case -EAGAIN:
        return fail(c, CLI_UNAVAILABLE,
                    "the cluster has not begun: each of its first nodes has to come once; see "
                    "dunlin nodes");
    case -EBUSY:
        return fail(c, CLI_UNAVAILABLE,
                    "the control log does not answer: see dunlin nodes that most of its voters are "
                    "up, then ask again, which does no harm");
    case -EBADMSG:
        return fail(c, CLI_REFUSED,
                    "the control log's leader runs an older release that does not know it; update "
                    "that one");
    case -EINVAL:
        return fail(c, CLI_USAGE, "the daemon does not take it; see dunlin --help");
    case -EOPNOTSUPP:
        return fail(c, CLI_UNAVAILABLE,
                    "the daemon's node is alone, or of a dunlind dev, whose nodes stay those that "
                    "they are; a section cluster in its configuration makes it one of several");
    default:
        return cli_fail_by(c, error);
    }
}

static int fail_node(const struct cli *c, uint32_t node, int error)
{
    if (error == -ENOENT)
        return cli_fail(CLI_NOT_FOUND,
                        "node %s: there is no node %u; dunlin nodes lists those there are",
                        c->operands[0], node);
    return fail_by(c, error);
}

/* ---- waiting ---- */

/* What is waited for, and how it stands. */
struct waiting {
    const struct cli *c;
    struct dunlin *handle;
    cli_text_source *source;
    /* What is left to do; 0: it is done. */
    int64_t (*left)(const struct waiting *w, const json_t *seen);
    uint64_t until_ns; /* CLOCK_BOOTTIME */
    uint32_t node, shard;
    bool is_own; /* it is the daemon's node that goes */
};

/* Returns 0, what was left when the time was over, or -errno. */
static int64_t wait_done(const struct waiting *w)
{
    for (;;) {
        int error;
        json_t *seen = cli_object_get(w->handle, w->source, &error);
        int64_t left = error == 0 ? w->left(w, seen) : error;
        json_decref(seen);
        if (left <= 0 || clock_boottime_ns() >= w->until_ns)
            return left;
        cli_rest(LOOK_NS);
    }
}

static const json_t *node_of(const json_t *cluster, uint32_t node)
{
    size_t i;
    const json_t *n;
    json_array_foreach(json_object_get(cluster, "nodes"), i, n)
    {
        if (cli_number_at(n, "id") == (json_int_t)node)
            return n;
    }
    return NULL;
}

static int64_t left_of_drain(const struct waiting *w, const json_t *cluster)
{
    const json_t *n = node_of(cluster, w->node);
    return (int64_t)(cli_number_at(n, "votes") + cli_number_at(n, "leads"));
}

static int64_t left_of_remove(const struct waiting *w, const json_t *cluster)
{
    return node_of(cluster, w->node) != NULL ? 1 : 0;
}

/* ---- the verbs of node ---- */

static int print(const struct cli *c, uint32_t node, const char *what)
{
    if (c->json)
        return cli_print_json(json_pack("{s:I}", "node", (json_int_t)node), CLI_DONE);
    (void)printf("node %u %s\n", node, what);
    return cli_flushed(CLI_DONE);
}

static int add(const struct cli *c, struct dunlin *handle, uint32_t node)
{
    struct cli_asking asking = {.until_ns = cli_until_ns(c, ASK_WAIT_MS)};
    int error;
    do
        error = dunlin_node_add(handle, node, c->words);
    while (cli_asks_again(&asking, error));
    /* Why it is done: a time before, it was, and was not said. */
    if (error == -EEXIST && asking.was_busy)
        error = 0;
    return error < 0 ? fail_node(c, node, error)
                     : print(c, node, "is of the cluster; now its daemon may start");
}

static int drain(const struct cli *c, struct dunlin *handle, uint32_t node)
{
    const struct waiting w = {.c = c,
                              .handle = handle,
                              .source = dunlin_nodes_json,
                              .left = left_of_drain,
                              .until_ns = cli_until_ns(c, CHANGE_WAIT_MS),
                              .node = node};
    struct cli_asking asking = {.until_ns = cli_until_ns(c, ASK_WAIT_MS)};
    int error;
    do
        error = dunlin_node_drain(handle, node, c->undo ? 1 : 0);
    while (cli_asks_again(&asking, error));
    if (error < 0)
        return fail_node(c, node, error);
    if (c->undo)
        return print(c, node, "may vote and lead again");
    if (c->no_wait)
        return print(c, node, "drains");
    int64_t left = wait_done(&w);
    if (left < 0)
        return fail_by(c, (int)left);
    return left == 0 ? print(c, node, "votes and leads no more")
                     : cli_fail(CLI_UNAVAILABLE,
                                "node drain: node %u still votes or leads; it goes on by itself, "
                                "see dunlin nodes whether the others are up",
                                node);
}

static int remove_node(const struct cli *c, struct dunlin *handle, uint32_t node)
{
    struct waiting w = {.c = c,
                        .handle = handle,
                        .source = dunlin_nodes_json,
                        .left = left_of_remove,
                        .until_ns = cli_until_ns(c, CHANGE_WAIT_MS),
                        .node = node};
    struct cli_asking asking = {.until_ns = cli_until_ns(c, ASK_WAIT_MS)};
    int error;
    json_t *before = cli_object_get(handle, dunlin_nodes_json, &error);
    w.is_own = error == 0 && cli_number_at(before, "node") == (json_int_t)node;
    bool was_there = node_of(before, node) != NULL;
    json_decref(before);
    do
        error = dunlin_node_remove(handle, node);
    while (cli_asks_again(&asking, error));
    if (error == -ENOENT && asking.was_busy && was_there)
        error = 0;
    if (error < 0)
        return fail_node(c, node, error);
    if (c->no_wait)
        return print(c, node, "leaves");
    int64_t left = wait_done(&w);
    if (left == -ENOTCONN && w.is_own)
        return print(c, node, "is removed: its daemon, which was asked, has ended");
    if (left < 0)
        return fail_by(c, (int)left);
    return left == 0 ? print(c, node, "is removed")
                     : cli_fail(CLI_UNAVAILABLE,
                                "node remove: node %u still is of the cluster; it goes on by "
                                "itself, see dunlin nodes whether the others are up",
                                node);
}

/* Why by the same table before it is sent: it says what was expected. */
static int words_judge(const struct cli *c)
{
    struct node_words words;
    char fault[NODE_WORDS_FAULT_BYTES];
    if (node_words_read(&words, c->words, fault) == 0)
        return CLI_DONE;
    return cli_fail(CLI_USAGE, "node add: %s", fault);
}

int cli_node(const struct cli *c)
{
    static const struct {
        const char *name;
        int (*run)(const struct cli *c, struct dunlin *handle, uint32_t node);
        bool takes_words, takes_undo;
    } verbs[] = {{"add", add, true, false},
                 {"drain", drain, false, true},
                 {"remove", remove_node, false, false}};
    uint64_t node;
    if (cli_number_parse(c->operands[1], UINT32_MAX, &node) != 0 || node == 0)
        return cli_fail(CLI_USAGE, "node: '%s' is no id of a node; one is a number from 1 to %u",
                        c->operands[1], UINT32_MAX);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        struct dunlin *handle;
        if (strcmp(verbs[i].name, c->operands[0]) != 0)
            continue;
        if ((!verbs[i].takes_words && c->words[0] != '\0') || (!verbs[i].takes_undo && c->undo))
            return cli_fail(CLI_USAGE, "node %s has no such option; see dunlin --help",
                            c->operands[0]);
        int exit_code = verbs[i].takes_words ? words_judge(c) : CLI_DONE;
        if (exit_code == CLI_DONE)
            exit_code = cli_attach(c, &handle);
        if (exit_code != CLI_DONE)
            return exit_code;
        exit_code = verbs[i].run(c, handle, (uint32_t)node);
        dunlin_close(handle);
        return exit_code;
    }
    return cli_fail(CLI_USAGE, "node: '%s' is none of add, drain, remove", c->operands[0]);
}

/* ---- recover ---- */

static int64_t left_of_recover(const struct waiting *w, const json_t *all)
{
    size_t i;
    const json_t *s;
    int64_t left = 0;
    json_array_foreach(json_object_get(all, "shards"), i, s)
    {
        bool is_meant = strcmp(cli_text_at(s, "space"), w->c->operands[0]) == 0 &&
                        (w->shard == DUNLIN_SHARDS_ALL || cli_number_at(s, "shard") == w->shard);
        left += is_meant && strcmp(cli_text_at(s, "state"), "active") != 0 ? 1 : 0;
    }
    return left;
}

/* Returns CLI_DONE or CLI_USAGE with its message. */
static int take_recover(const struct cli *c, struct waiting *w)
{
    const char *space = c->operands[0];
    uint64_t shard = DUNLIN_SHARDS_ALL, from = 0;
    if (space[0] == '\0' || strlen(space) >= LIMIT_NAME_BYTES)
        return cli_fail(CLI_USAGE, "recover: '%s' is no name of a space", space);
    if (c->operands[1] != NULL && cli_number_parse(c->operands[1], LIMIT_SHARDS - 1, &shard) != 0)
        return cli_fail(CLI_USAGE, "recover: '%s' is no number of a shard; they count from 0",
                        c->operands[1]);
    if (c->from != NULL && (cli_number_parse(c->from, UINT32_MAX, &from) != 0 || from == 0))
        return cli_fail(CLI_USAGE, "recover: '%s' is no id of a node; give one of dunlin nodes",
                        c->from);
    if (!c->accept_loss)
        return cli_fail(CLI_USAGE,
                        "recover: what only the lost nodes of '%s' held is lost for good, although "
                        "it was acknowledged; if none of them can come back, say so with "
                        "--accept-loss",
                        space);
    w->shard = (uint32_t)shard;
    w->node = (uint32_t)from;
    return CLI_DONE;
}

static int print_recover(const struct cli *c, int64_t shards)
{
    if (c->json)
        return cli_print_json(
            json_pack("{s:s, s:I}", "space", c->operands[0], "shards", (json_int_t)shards),
            CLI_DONE);
    if (shards == 0)
        (void)printf("nothing is lost of %s\n", c->operands[0]);
    else
        (void)printf("%" PRId64 " shards of %s begin again\n", shards, c->operands[0]);
    return cli_flushed(CLI_DONE);
}

static int recover(const struct waiting *w)
{
    const struct cli *c = w->c;
    int64_t shards = dunlin_recover(w->handle, c->operands[0], w->shard, w->node);
    if (shards == -ENOENT)
        return cli_fail(
            CLI_NOT_FOUND,
            "recover: there is no such space or shard, or the node of --from is up with "
            "none of it; see dunlin shards and dunlin nodes");
    if (shards < 0)
        return fail_by(c, (int)shards);
    int64_t left = c->no_wait || shards == 0 ? 0 : wait_done(w);
    if (left < 0)
        return fail_by(c, (int)left);
    if (left > 0)
        return cli_fail(CLI_UNAVAILABLE,
                        "recover: %" PRId64 " shards are not served yet; it goes on by itself, see "
                        "dunlin shards %s",
                        left, c->operands[0]);
    return print_recover(c, shards);
}

int cli_recover(const struct cli *c)
{
    struct waiting w = {.c = c, .source = dunlin_shards_json, .left = left_of_recover};
    int exit_code = take_recover(c, &w);
    if (exit_code == CLI_DONE)
        exit_code = cli_attach(c, &w.handle);
    if (exit_code != CLI_DONE)
        return exit_code;
    w.until_ns = cli_until_ns(c, RECOVER_WAIT_MS);
    exit_code = recover(&w);
    dunlin_close(w.handle);
    return exit_code;
}
