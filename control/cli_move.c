/* `dunlin move`.
 *
 * What came of it is judged shard by shard, and not by how many a node leads: meanwhile spaces are made and
 * dropped. */
#include "control/cli.h"
#include "engine/clock.h"
#include "engine/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MOVE_WAIT_MS UINT64_C(10000)
#define MOVE_LOOK_NS (20 * NS_PER_MS)
#define LOG_NAME_BYTES 24

struct move {
    const struct cli *c;
    struct dunlin *handle;
    uint32_t node, shard;
    const char *space; /* "": all */
    uint64_t until_ns;
    json_t *
        meant; /* shards when it was asked for: where each log begins, by its number; NULL: nobody waits */
};

/* Returns CLI_DONE or CLI_USAGE with its message. */
static int take_move(const struct cli *c, struct move *m)
{
    uint64_t node, shard = DUNLIN_SHARDS_ALL;
    if (cli_number_parse(c->operands[0], UINT32_MAX, &node) != 0 || node == 0)
        return cli_fail(CLI_USAGE, "move: '%s' is no id of a node; give one of dunlin nodes",
                        c->operands[0]);
    /* Why not an empty name: a script whose variable is empty would move everything. */
    if (c->operands[1] != NULL &&
        (c->operands[1][0] == '\0' || strlen(c->operands[1]) >= LIMIT_NAME_BYTES))
        return cli_fail(CLI_USAGE, "move: '%s' is no name of a space; give one of dunlin status",
                        c->operands[1]);
    if (c->operands[2] != NULL && cli_number_parse(c->operands[2], LIMIT_SHARDS - 1, &shard) != 0)
        return cli_fail(CLI_USAGE, "move: '%s' is no number of a shard; they count from 0",
                        c->operands[2]);
    *m = (struct move){.c = c,
                       .node = (uint32_t)node,
                       .shard = (uint32_t)shard,
                       .space = c->operands[1] != NULL ? c->operands[1] : ""};
    return CLI_DONE;
}

/* ---- what went wrong ---- */

static bool has_node(const json_t *cluster, uint32_t node)
{
    size_t i;
    const json_t *n;
    const json_t *nodes = json_object_get(cluster, "nodes");
    json_array_foreach(nodes, i, n) if (cli_number_at(n, "id") == node) return true;
    return false;
}

/* Which one there is not, the daemon does not say. */
static int fail_not_found(const struct move *m)
{
    int error;
    json_t *cluster = cli_object_get(m->handle, dunlin_nodes_json, &error);
    bool known = error != 0 || has_node(cluster, m->node);
    json_decref(cluster);
    if (!known)
        return cli_fail(CLI_USAGE, "move: there is no node %u; dunlin nodes lists those there are",
                        m->node);
    if (m->shard == DUNLIN_SHARDS_ALL)
        return cli_fail(CLI_NOT_FOUND,
                        "move: there is no space '%s'; dunlin status lists those there are",
                        m->space);
    return cli_fail(CLI_NOT_FOUND,
                    "move: there is no space '%s' with a shard %u; dunlin status lists the spaces, "
                    "whose shards count from 0",
                    m->space, m->shard);
}

static int fail_move(const struct move *m, int error)
{
    switch (error) {
    case -ENOENT:
        return fail_not_found(m);
    case -EACCES:
        return cli_fail(CLI_REFUSED,
                        "move: access refused to this user; root and the user of the daemon may");
    case -EAGAIN:
        return cli_fail(CLI_UNAVAILABLE,
                        "move: a shard has no leader yet; see dunlin nodes, and try again");
    case -EBUSY:
        return cli_fail(CLI_UNAVAILABLE,
                        "move: the control log does not answer: see dunlin nodes that most of its "
                        "voters are up, then ask again, which does no harm");
    case -EBADMSG:
        return cli_fail(CLI_REFUSED,
                        "move: the control log's leader runs an older release that does "
                        "not know it; update that one");
    default:
        return cli_fail_of_cluster(m->c, error);
    }
}

/* ---- asking for it ---- */

static const char *log_name(const json_t *shard, char text[LOG_NAME_BYTES])
{
    (void)snprintf(text, LOG_NAME_BYTES, "%" PRId64, (int64_t)cli_number_at(shard, "log"));
    return text;
}

static bool votes(const json_t *shard, uint32_t node)
{
    size_t i;
    const json_t *id;
    const json_t *voters = json_object_get(shard, "voters");
    json_array_foreach(voters, i, id) if (json_integer_value(id) == node) return true;
    return false;
}

/* Where the node does not vote, it is not asked to lead. */
static bool is_meant(const struct move *m, const json_t *shard)
{
    return (m->space[0] == '\0' || strcmp(cli_text_at(shard, "space"), m->space) == 0) &&
           (m->shard == DUNLIN_SHARDS_ALL || cli_number_at(shard, "shard") == m->shard) &&
           votes(shard, m->node);
}

/* Returns 0 or -errno. */
static int remember(struct move *m)
{
    int error;
    size_t i;
    const json_t *s;
    char log[LOG_NAME_BYTES];
    json_t *all = cli_object_get(m->handle, dunlin_shards_json, &error);
    json_t *meant = json_object();
    bool whole = meant != NULL;
    json_array_foreach(json_object_get(all, "shards"), i, s) if (is_meant(m, s)) whole =
        whole &&
        json_object_set_new(meant, log_name(s, log), json_string(cli_text_at(s, "lsn_start"))) == 0;
    json_decref(all);
    json_decref(m->meant);
    m->meant = meant;
    return error == 0 && !whole ? -ENOMEM : error;
}

/* As dunlin_move. */
static int64_t ask_once(struct move *m)
{
    int error = m->c->no_wait ? 0 : remember(m);
    return error == 0 ? dunlin_move(m->handle, m->node, m->space, m->shard) : (int64_t)error;
}

/* Why again and again: a space that has just been made has no leaders for a moment, and the control log may have
 * none either. */
static int64_t ask(struct move *m)
{
    struct cli_asking asking = {.until_ns = m->until_ns};
    for (;;) {
        int64_t shards = ask_once(m);
        if (cli_asks_again(&asking, shards))
            continue;
        if (shards != -EAGAIN || m->c->no_wait || clock_boottime_ns() >= m->until_ns)
            return shards;
        cli_rest(MOVE_LOOK_NS);
    }
}

/* ---- waiting for it ---- */

/* Whether it is one of those that were asked for, and not one that was made again in its place. */
static bool is_still_meant(const struct move *m, const json_t *shard)
{
    char log[LOG_NAME_BYTES];
    const char *start = json_string_value(json_object_get(m->meant, log_name(shard, log)));
    /* Why by voters: without them it has been dropped, and the daemon's node has yet to carry that out. */
    return start != NULL && strcmp(start, cli_text_at(shard, "lsn_start")) == 0 &&
           json_array_size(json_object_get(shard, "voters")) != 0;
}

/* Of those that are meant: how many are on their way, and how many are not and have another leader. */
static void look(const struct move *m, const json_t *all, int64_t *moving, int64_t *missed)
{
    size_t i;
    const json_t *s;
    *moving = *missed = 0;
    json_array_foreach(json_object_get(all, "shards"), i, s)
    {
        if (!is_still_meant(m, s))
            continue;
        bool is_moving = strcmp(cli_text_at(s, "state"), "moving") == 0;
        *moving += is_moving ? 1 : 0;
        *missed += !is_moving && cli_number_at(s, "leader") != m->node ? 1 : 0;
    }
}

static int wait_moved(const struct move *m)
{
    for (;;) {
        int error;
        int64_t moving, missed;
        json_t *all = cli_object_get(m->handle, dunlin_shards_json, &error);
        look(m, all, &moving, &missed);
        json_decref(all);
        if (error != 0)
            return cli_fail_of_cluster(m->c, error);
        if (moving == 0 && missed > 0)
            return cli_fail(CLI_UNAVAILABLE,
                            "move: node %u did not take %" PRId64
                            " shards, and others lead them; see "
                            "dunlin nodes whether it is up, and try again",
                            m->node, missed);
        if (moving == 0)
            return CLI_DONE;
        if (clock_boottime_ns() >= m->until_ns)
            return cli_fail(CLI_UNAVAILABLE,
                            "move: %" PRId64 " shards are still moving; it goes on by itself, see "
                            "dunlin nodes",
                            moving);
        cli_rest(MOVE_LOOK_NS);
    }
}

/* ---- the command ---- */

static int print_move(const struct move *m, int64_t shards)
{
    if (m->c->json)
        return cli_print_json(
            json_pack("{s:I, s:I}", "shards", (json_int_t)shards, "node", (json_int_t)m->node),
            CLI_DONE);
    (void)printf("%" PRId64 " shards move to node %u\n", shards, m->node);
    return cli_flushed(CLI_DONE);
}

int cli_move(const struct cli *c)
{
    struct move m = {.c = c};
    int exit_code = take_move(c, &m);
    if (exit_code == CLI_DONE)
        exit_code = cli_attach(c, &m.handle);
    if (exit_code != CLI_DONE)
        return exit_code;
    m.until_ns = cli_until_ns(c, MOVE_WAIT_MS);
    int64_t shards = ask(&m);
    exit_code = shards < 0 ? fail_move(&m, (int)shards) : print_move(&m, shards);
    if (exit_code == CLI_DONE && !c->no_wait)
        exit_code = wait_moved(&m);
    json_decref(m.meant);
    dunlin_close(m.handle);
    return exit_code;
}
