#include "control/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES (4u << 20)

/* Where a key lives, as far as the daemon says. */
struct whereabouts {
    int64_t shard;   /* below 0: not known */
    uint32_t here;   /* node that the daemon is */
    uint32_t leader; /* 0: not known */
    bool leader_up;
    int64_t heard_ms; /* of the leader; below 0: not known */
};

static json_int_t number_at(const json_t *object, const char *name)
{
    const json_t *number = json_object_get(object, name);
    return json_is_integer(number) ? json_integer_value(number) : -1;
}

static uint32_t leader_of(const json_t *cluster, const char *space, int64_t shard)
{
    const json_t *range;
    size_t i;
    json_array_foreach(json_object_get(cluster, "leaders"), i, range)
    {
        const char *name = json_string_value(json_object_get(range, "space"));
        if (name != NULL && strcmp(name, space) == 0 && number_at(range, "first") <= shard &&
            number_at(range, "last") >= shard)
            return (uint32_t)number_at(range, "node");
    }
    return 0;
}

static void leader_look(const json_t *cluster, struct whereabouts *w)
{
    const json_t *n;
    size_t i;
    json_array_foreach(json_object_get(cluster, "nodes"), i, n)
    {
        if (number_at(n, "id") != (json_int_t)w->leader)
            continue;
        w->leader_up = json_is_true(json_object_get(n, "up"));
        w->heard_ms = number_at(n, "heard_ms");
    }
}

/* Returns 0, -EOPNOTSUPP (the node is alone), or -errno: the daemon does not say. */
static int where_is(const struct cli *c, struct dunlin *handle, struct dunlin_space *space,
                    struct whereabouts *w)
{
    struct dunlin_info info;
    dunlin_info(handle, &info);
    *w = (struct whereabouts){.here = info.node_id, .heard_ms = -1};
    const char *key = c->key != NULL ? c->key : c->operands[1];
    w->shard = dunlin_shard(space, key, c->key != NULL ? c->key_length : strlen(key));
    char *text = malloc(TEXT_BYTES);
    int64_t length = text != NULL ? dunlin_nodes_json(handle, text, TEXT_BYTES) : -ENOMEM;
    json_t *cluster = length >= 0 ? json_loads(text, 0, NULL) : NULL;
    free(text);
    if (cluster == NULL)
        return length < 0 ? (int)length : -EPROTO;
    w->leader = w->shard >= 0 ? leader_of(cluster, c->operands[0], w->shard) : 0;
    leader_look(cluster, w);
    json_decref(cluster);
    return 0;
}

static int fail_of_leader(const struct cli *c, const struct whereabouts *w)
{
    char heard[64] = "";
    if (w->heard_ms >= 0)
        (void)snprintf(heard, sizeof heard, ", heard of %" PRId64 " ms ago", w->heard_ms);
    return cli_fail(CLI_UNAVAILABLE,
                    "%s %s %s: no answer in time: attached to node %" PRIu32 "; node %" PRIu32
                    " leads shard %" PRId64
                    " of the space and did not answer (up: %s%s); see dunlin "
                    "nodes, and try again, or dunlin move to a node that is up",
                    c->command, c->operands[0], c->operands[1], w->here, w->leader, w->shard,
                    w->leader_up ? "yes" : "no", heard);
}

/* Attached, and the daemon itself answers. */
static int fail_here(const struct cli *c, const struct whereabouts *w, bool not_led)
{
    if (not_led)
        return cli_fail(CLI_UNAVAILABLE,
                        "%s %s %s: shard not led by this node (%" PRIu32
                        ") now, nor by another that it can reach; see pending and lost in dunlin "
                        "nodes, and try again later",
                        c->command, c->operands[0], c->operands[1], w->here);
    return cli_fail(CLI_UNAVAILABLE,
                    "%s %s %s: attached to node %" PRIu32
                    ", which leads the shard and did not answer in time; it may be busy, or wait "
                    "for most of the other nodes: see dunlin nodes, and try again",
                    c->command, c->operands[0], c->operands[1], w->here);
}

int cli_fail_at_key(const struct cli *c, struct dunlin *handle, struct dunlin_space *space,
                    int error)
{
    struct whereabouts w;
    struct dunlin_info info;
    if (error != -ENOTCONN)
        return cli_fail_by(c, error);
    dunlin_info(handle, &info); /* before where_is, which may attach again */
    int unknown = where_is(c, handle, space, &w);
    if (unknown != 0 && unknown != -EOPNOTSUPP)
        return cli_fail_by(c, error);
    if (w.leader != 0 && w.leader != w.here)
        return fail_of_leader(c, &w);
    return fail_here(c, &w, info.ended_not_led != 0);
}
