#include "control/coordinator_space.h"

#include "control/coordinator_members.h"
#include "dataplane/node.h"

#include <string.h>

static uint32_t space_of(const struct coordinator_shard *s)
{
    return s->log >> NODE_LOG_SPACE_SHIFT;
}

/* Of the state's, those of a space lie from the first to before the second. */
static void range_of(const struct coordinator_state *s, uint32_t id, uint32_t range[2])
{
    range[0] = 0;
    while (range[0] < s->shard_count && space_of(&s->shards[range[0]]) < id)
        range[0]++;
    range[1] = range[0];
    while (range[1] < s->shard_count && space_of(&s->shards[range[1]]) == id)
        range[1]++;
}

/* ---- what may be ---- */

const char *coordinator_space_fault(const struct coordinator_state *s)
{
    const char *fault = space_list_fault(&s->list);
    for (uint32_t i = 0; i < s->node_count && fault == NULL; i++)
        if (s->nodes[i].made > s->list.number)
            fault = "spaces made by a node";
    for (uint32_t i = 0; i < s->list.count && fault == NULL; i++) {
        const struct space_entry *e = &s->list.entries[i];
        uint32_t range[2];
        range_of(s, e->config.id, range);
        uint32_t expected = e->state == SPACE_SERVING ? e->config.shard_count : 0;
        if (range[1] - range[0] != expected)
            fault = "shards of a space";
        for (uint32_t n = range[0]; n < range[1] && fault == NULL; n++)
            if (s->shards[n].log != (e->config.id << NODE_LOG_SPACE_SHIFT | (n - range[0])))
                fault = "shards of a space";
    }
    return fault;
}

static uint64_t made_of(const struct coordinator_state *s, uint32_t space)
{
    const struct space_entry *e = space_list_at(&s->list, space);
    return e != NULL ? e->made : 0;
}

static bool shard_follows(const struct coordinator_shard *shard,
                          const struct coordinator_shard *known)
{
    const struct configuration *c = &shard->configuration, *k = &known->configuration;
    return c->epoch >= k->epoch && c->epoch_before >= k->epoch_before &&
           (c->epoch > k->epoch || c->active >= k->active);
}

bool coordinator_space_follows(const struct coordinator_state *s,
                               const struct coordinator_state *known)
{
    bool same = s->list.number == known->list.number;
    uint32_t i = 0, k = 0;
    if (s->list.number < known->list.number || s->list.lsn_floor < known->list.lsn_floor ||
        s->list.epoch_floor < known->list.epoch_floor)
        return false;
    while (known->shard_count != 0 && (i < s->shard_count || k < known->shard_count)) {
        bool none = i == s->shard_count, none_known = k == known->shard_count;
        uint32_t log = none ? UINT32_MAX : s->shards[i].log;
        uint32_t log_known = none_known ? UINT32_MAX : known->shards[k].log;
        uint32_t space = (log < log_known ? log : log_known) >> NODE_LOG_SPACE_SHIFT;
        bool again = made_of(s, space) != made_of(known, space);
        /* Why also without a newer number: one that was made is served by a change of its own. */
        if (log != log_known && (log > log_known ? same : made_of(s, space) == 0))
            return false;
        if (log == log_known && !again && !shard_follows(&s->shards[i], &known->shards[k]))
            return false;
        i += log <= log_known;
        k += log_known <= log;
    }
    return true;
}

/* ---- changes ---- */

int coordinator_space_create(struct coordinator_state *s, const struct space_config *config,
                             uint64_t clock_ns, uint64_t taken)
{
    /* Why the clock as well: the origin was chosen by it. */
    uint64_t by_clock = ((clock_ns / NS_PER_MS) << NODE_LSN_PER_START_SHIFT) + NODE_LSN_GRANT;
    if (s->shard_count == 0)
        return -EAGAIN;
    if (by_clock > INT64_MAX)
        return -EINVAL;
    int id = space_list_create(&s->list, config, max_u64(by_clock, coordinator_state_lsn_next(s)),
                               taken);
    if (id > 0)
        coordinator_state_lsn_reach(s, space_list_at(&s->list, (uint32_t)id)->lsn_start);
    return id;
}

int coordinator_space_alter(struct coordinator_state *s, const struct space_config *config)
{
    return space_list_alter(&s->list, config);
}

int coordinator_space_drop(struct coordinator_state *s, uint32_t id, uint64_t lsn_floor)
{
    uint32_t range[2];
    int error = space_list_drop(&s->list, id);
    if (error != 0)
        return error;
    range_of(s, id, range);
    for (uint32_t i = range[0]; i < range[1]; i++)
        s->list.epoch_floor = max_u64(s->list.epoch_floor, s->shards[i].configuration.epoch);
    s->list.lsn_floor = max_u64(s->list.lsn_floor, lsn_floor);
    memmove(&s->shards[range[0]], &s->shards[range[1]],
            (s->shard_count - range[1]) * sizeof s->shards[0]);
    s->shard_count -= range[1] - range[0];
    return 0;
}

static bool all_have_made(const struct coordinator_state *s, uint64_t number)
{
    for (uint32_t i = 0; i < s->node_count; i++)
        /* Why not of one that has not come: it makes what is listed when it does. */
        if (s->nodes[i].start != 0 && s->nodes[i].made < number)
            return false;
    return true;
}

void coordinator_space_sweep(struct coordinator_state *s)
{
    for (uint32_t id = 1; id <= LIMIT_SPACES; id++) {
        const struct space_entry *e = space_list_at(&s->list, id);
        if (e != NULL && e->state == SPACE_DROPPING && all_have_made(s, e->number))
            (void)space_list_forget(&s->list, id);
    }
}

bool coordinator_space_made(struct coordinator_state *s, const struct member *node, uint64_t number,
                            uint64_t lsn_floor)
{
    bool changed = false;
    for (uint32_t i = 0; i < s->node_count; i++) {
        struct coordinator_node *n = &s->nodes[i];
        if (n->id != node->node || n->start != node->incarnation || number <= n->made ||
            number > s->list.number)
            continue;
        n->made = number;
        changed = true;
    }
    if (!changed)
        return false;
    s->list.lsn_floor = max_u64(s->list.lsn_floor, lsn_floor);
    coordinator_space_sweep(s);
    return true;
}

/* ---- first epochs ---- */

/* Nodes that have come. */
static uint32_t count_here(const struct coordinator_state *s)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->node_count; i++)
        count += s->nodes[i].start != 0;
    return count;
}

/* Whether a space is to be served. */
static bool is_due(const struct coordinator_state *s, const struct space_entry *e,
                   const uint32_t *up, uint32_t up_count)
{
    for (uint32_t i = 0; i < up_count; i++) {
        const struct coordinator_node *n = coordinator_state_node(s, up[i]);
        if (n == NULL || n->start == 0 || n->made < e->made)
            return false;
    }
    return e->state == SPACE_MAKING && up_count >= majority_of(count_here(s));
}

uint32_t coordinator_space_due(const struct coordinator_state *s, const uint32_t *up,
                               uint32_t up_count)
{
    uint32_t shards = 0;
    for (uint32_t i = 0; i < s->list.count; i++)
        if (is_due(s, &s->list.entries[i], up, up_count))
            shards += s->list.entries[i].config.shard_count;
    return shards;
}

static void shards_begin(struct coordinator_state *s, const struct space_entry *e,
                         const uint32_t *up, uint32_t up_count)
{
    const struct coordinator_some some = {.ids = up, .count = up_count};
    uint64_t epoch = s->list.epoch_floor + 1;
    uint32_t range[2], id = e->config.id, count = e->config.shard_count;
    for (uint32_t i = 0; i < s->node_count; i++)
        epoch = max_u64(epoch, s->nodes[i].start);
    range_of(s, id, range);
    ASSERT(range[0] == range[1]);
    memmove(&s->shards[range[0] + count], &s->shards[range[0]],
            (s->shard_count - range[0]) * sizeof s->shards[0]);
    s->shard_count += count;
    memset(&s->shards[range[0]], 0, count * sizeof s->shards[0]);
    for (uint32_t i = 0; i < count; i++) {
        struct coordinator_shard *shard = &s->shards[range[0] + i];
        shard->log = id << NODE_LOG_SPACE_SHIFT | i;
        coordinator_members_first(s, shard, epoch, &some);
    }
    (void)space_list_serve(&s->list, id);
}

uint32_t coordinator_space_serve(struct coordinator_state *s, const uint32_t *up, uint32_t up_count)
{
    uint32_t served = 0;
    for (uint32_t i = 0; i < s->list.count; i++) {
        if (!is_due(s, &s->list.entries[i], up, up_count))
            continue;
        shards_begin(s, &s->list.entries[i], up, up_count);
        served++;
    }
    return served;
}

/* ---- as they are asked for ---- */

int64_t coordinator_space_apply(struct coordinator_state *s,
                                const struct coordinator_space_asked *asked)
{
    int error;
    switch (asked->kind) {
    case COORDINATOR_SPACE_CREATE:
        return coordinator_space_create(s, asked->config, asked->clock_ns, asked->taken);
    case COORDINATOR_SPACE_ALTER:
        error = coordinator_space_alter(s, asked->config);
        return error != 0 ? error : 1;
    case COORDINATOR_SPACE_DROP:
        error = coordinator_space_drop(s, asked->config->id, asked->lsn_floor);
        return error != 0 ? error : 1;
    case COORDINATOR_SPACE_MADE:
        return coordinator_space_made(s, &asked->member, asked->number, asked->lsn_floor);
    case COORDINATOR_SPACE_SERVE:
        return coordinator_space_serve(s, asked->up, asked->up_count);
    }
    return -EINVAL;
}
