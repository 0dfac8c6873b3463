#include "control/coordinator_register.h"

#include "dataplane/node.h"
#include "engine/hash.h"

#include <string.h>

/* What nodes must agree on to be replicas of each other; quotas count by what follows from them, access
 * is each node's own affair. */
struct space_print {
    uint64_t session_ttl_ns;
    uint32_t id, consistency, durability, shard_count, partition_prefix, value_bytes_max,
        sessions_max;
    uint32_t geometry[6];
    char name[LIMIT_NAME_BYTES];
    uint32_t history;
};
_Static_assert(sizeof(struct space_print) == 8 + 4 * 14 + LIMIT_NAME_BYTES, "no byte is padding");

/* 0 by default, so that daemons that know of no history agree with those whose spaces keep none. */
static uint32_t history_print(const struct space_config *s)
{
    const uint64_t words[2] = {s->history, s->history_ns};
    if (s->history <= 1 && s->history_ns == 0)
        return 0;
    return (uint32_t)hash_key(words, sizeof words);
}

static int space_print(const struct space_config *s, struct space_print *p)
{
    struct layout_geometry g;
    int error = space_geometry(s, &g);
    if (error != 0 || s->id == 0 || s->id > LIMIT_SPACES)
        return -EINVAL;
    *p = (struct space_print){
        .session_ttl_ns = s->session_ttl_ns,
        .id = s->id,
        .consistency = s->consistency,
        .durability = s->durability,
        .shard_count = s->shard_count,
        .partition_prefix = s->partition_prefix,
        .value_bytes_max = s->value_bytes_max,
        .sessions_max = s->sessions_max,
        .history = history_print(s),
        .geometry = {g.segment_shift, g.chunk_shift, g.frames_per_chunk, g.frames_per_shard,
                     g.shard_count, g.chunk_count_max},
    };
    memcpy(p->name, s->name, strnlen(s->name, sizeof p->name));
    return 0;
}

/* By id, whatever order they are named in.  *shards: how many they have. */
static int spaces_print(const struct coordinator_entry_config *config, uint64_t *print,
                        uint32_t *shards)
{
    struct space_print prints[LIMIT_SPACES + 1] = {[0] = {.id = config->lcore_count}};
    *shards = 0;
    if (config->space_count == 0 || config->space_count > LIMIT_SPACES)
        return -EINVAL;
    for (uint32_t i = 0; i < config->space_count; i++) {
        const struct space_config *s = &config->spaces[i];
        struct space_print p;
        int error = space_print(s, &p);
        if (error != 0 || prints[s->id].id != 0)
            return -EINVAL;
        prints[s->id] = p;
        *shards += s->shard_count;
    }
    *print = hash_key(prints, sizeof prints);
    return 0;
}

static bool nodes_are_valid(const struct coordinator_entry_config *config)
{
    bool has_own = false;
    if (config->node_count < COORDINATOR_NODES_MIN || config->node_count > LIMIT_VOTERS ||
        config->replicas == 0 || config->replicas > LIMIT_VOTERS)
        return false;
    for (uint32_t i = 0; i < config->node_count; i++) {
        const struct coordinator_entry_node *n = &config->nodes[i];
        has_own |= n->id == config->node;
        for (uint32_t j = 0; j < i; j++)
            if (n->id == config->nodes[j].id)
                return false;
        if (n->id == 0 || n->weight == 0 || n->weight > COORDINATOR_WEIGHT_MAX ||
            !coordinator_word_is_valid(n->zone, sizeof n->zone))
            return false;
    }
    return has_own && config->start != 0 && config->start <= COORDINATOR_START_MAX;
}

int coordinator_register_check(const struct coordinator_entry_config *config)
{
    uint64_t print;
    uint32_t shards;
    return nodes_are_valid(config) ? spaces_print(config, &print, &shards) : -EINVAL;
}

static void spaces_name(const struct coordinator_entry_config *config, struct coordinator_entry *e)
{
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++)
        for (uint32_t i = 0; i < config->space_count; i++)
            if (config->spaces[i].id == id)
                e->space[e->space_count++] =
                    (struct coordinator_space){id, config->spaces[i].shard_count};
}

int coordinator_register_command(const struct coordinator_entry_config *config,
                                 struct coordinator_command *command)
{
    uint32_t shards;
    struct coordinator_entry *e = &command->entry;
    *command = (struct coordinator_command){
        .type = COORDINATOR_REGISTER, .node = config->node, .start = config->start};
    int error = nodes_are_valid(config) ? spaces_print(config, &e->spaces, &shards) : -EINVAL;
    if (error != 0)
        return error;
    e->cluster = config->cluster;
    e->origin = config->start << NODE_LSN_PER_START_SHIFT;
    e->lsn_ceiling = min_u64(config->lsn_ceiling, INT64_MAX);
    e->replicas = config->replicas;
    e->node_count = config->node_count;
    memcpy(e->nodes, config->nodes, config->node_count * sizeof e->nodes[0]);
    spaces_name(config, e);
    return coordinator_command_fault(command) == NULL ? 0 : -EINVAL;
}

const char *coordinator_refusal(int error)
{
    switch (error) {
    case -EEXIST:
        return "it is of another cluster name, or of other nodes, spaces or numbers of lcores than "
               "this "
               "configuration's";
    case -ESTALE:
        return "it knows a later start of this node: another daemon has its id, or the clock was "
               "set back";
    case -ENOENT:
        return "it has begun without this node, or removed it: an administrator has to add it "
               "(dunlin node add)";
    default:
        return "";
    }
}
