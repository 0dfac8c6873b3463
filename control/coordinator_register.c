#include "control/coordinator_register.h"

#include "control/coordinator_state.h"
#include "engine/hash.h"

#include <stdlib.h>
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
static int spaces_print(const struct coordinator_file_config *config, uint64_t *print,
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

static bool nodes_are_valid(const struct coordinator_file_config *config)
{
    bool has_own = false;
    if (config->node_count < 2 || config->node_count > LIMIT_VOTERS)
        return false;
    for (uint32_t i = 0; i < config->node_count; i++) {
        has_own |= config->nodes[i] == config->node;
        for (uint32_t j = 0; j < i; j++)
            if (config->nodes[i] == config->nodes[j])
                return false;
        if (config->nodes[i] == 0)
            return false;
    }
    return has_own && config->start != 0 && config->start <= COORDINATOR_START_MAX;
}

static struct coordinator_state *state_make(const struct coordinator_file_config *config,
                                            uint64_t print)
{
    struct coordinator_state *s = calloc(1, coordinator_state_bytes(0));
    if (s == NULL)
        return NULL;
    s->cluster = config->cluster;
    s->spaces = print;
    s->origin = config->start << NODE_LSN_PER_START_SHIFT;
    s->node_count = config->node_count;
    for (uint32_t i = 0; i < config->node_count; i++)
        s->nodes[i].id = config->nodes[i];
    return s;
}

static bool is_ours(const struct coordinator_state *s, const struct coordinator_file_config *config,
                    uint64_t print)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < s->node_count; i++)
        for (uint32_t j = 0; j < config->node_count; j++)
            found += s->nodes[i].id == config->nodes[j];
    return s->cluster == config->cluster && s->spaces == print &&
           s->node_count == config->node_count && found == s->node_count;
}

/* Every node has registered: the first epochs, pending. */
static int shards_begin(struct coordinator_state **state,
                        const struct coordinator_file_config *config, uint32_t shards)
{
    struct coordinator_state *s = calloc(1, coordinator_state_bytes(shards));
    uint32_t at = 0;
    if (s == NULL)
        return -ENOMEM;
    memcpy(s, *state, sizeof *s);
    s->shard_count = shards;
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++)
        for (uint32_t i = 0; i < config->space_count; i++)
            for (uint32_t n = 0; config->spaces[i].id == id && n < config->spaces[i].shard_count;
                 n++)
                s->shards[at++].log = id << NODE_LOG_SPACE_SHIFT | n;
    ASSERT(at == shards);
    coordinator_state_begin(s);
    free(*state);
    *state = s;
    return 0;
}

int coordinator_register_check(const struct coordinator_file_config *config)
{
    uint64_t print;
    uint32_t shards;
    return nodes_are_valid(config) ? spaces_print(config, &print, &shards) : -EINVAL;
}

int coordinator_register(struct coordinator_state **state,
                         const struct coordinator_file_config *config)
{
    uint64_t print;
    uint32_t shards;
    int error = spaces_print(config, &print, &shards);
    if (error != 0)
        return error;
    if (*state == NULL)
        *state = state_make(config, print);
    if (*state == NULL)
        return -ENOMEM;
    if (!is_ours(*state, config, print))
        return -EEXIST;
    int changed = coordinator_state_register(*state, config->node, config->start);
    if (changed > 0 && config->reopens_lost)
        (*state)->lsn_ceiling = max_u64((*state)->lsn_ceiling, config->lsn_ceiling);
    if (changed < 0 || (*state)->shard_count != 0 || !coordinator_state_is_complete(*state))
        return changed;
    error = shards_begin(state, config, shards);
    return error != 0 ? error : 1;
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
    case -EAGAIN:
        return "another daemon holds its lock, PATH.lock, and does not let go";
    default:
        return "";
    }
}
