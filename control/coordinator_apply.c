/* Commands as changes of a state.  What then happens is coordinator_state.c's; who may ask for it is judged
 * here. */
#include "control/coordinator_command.h"
#include "dataplane/node.h"

#include <stdlib.h>
#include <string.h>

/* ---- a node has started ---- */

static struct coordinator_state *state_make(const struct coordinator_entry *e)
{
    struct coordinator_state *s = calloc(1, coordinator_state_bytes(0));
    if (s == NULL)
        return NULL;
    s->cluster = e->cluster;
    s->spaces = e->spaces;
    s->origin = e->origin;
    coordinator_state_lsn_reach(s, e->origin);
    s->replicas = e->replicas;
    s->node_count = e->node_count;
    for (uint32_t i = 0; i < e->node_count; i++) {
        s->nodes[i].id = e->nodes[i].id;
        s->nodes[i].weight = e->nodes[i].weight;
        memcpy(s->nodes[i].zone, e->nodes[i].zone, sizeof s->nodes[i].zone);
    }
    return s;
}

static bool is_alike(const struct coordinator_node *n, const struct coordinator_entry_node *e)
{
    return n->id == e->id && n->weight == e->weight &&
           memcmp(n->zone, e->zone, sizeof n->zone) == 0;
}

/* Whether all of them agree on who is to begin the cluster. */
static bool nodes_are_ours(const struct coordinator_state *s, const struct coordinator_entry *e)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < s->node_count; i++)
        for (uint32_t j = 0; j < e->node_count; j++)
            found += is_alike(&s->nodes[i], &e->nodes[j]);
    return s->replicas == e->replicas && s->node_count == e->node_count && found == s->node_count;
}

static bool is_ours(const struct coordinator_state *s, const struct coordinator_entry *e)
{
    return s->cluster == e->cluster && s->spaces == e->spaces &&
           (s->shard_count != 0 || nodes_are_ours(s, e));
}

static uint32_t shards_of(const struct coordinator_entry *e)
{
    uint32_t shards = 0;
    for (uint32_t i = 0; i < e->space_count; i++)
        shards += e->space[i].shard_count;
    return shards;
}

/* A copy with room for so many more shards. */
static struct coordinator_state *state_widen(const struct coordinator_state *s, uint32_t more)
{
    struct coordinator_state *wide = calloc(1, coordinator_state_bytes(s->shard_count + more));
    if (wide != NULL)
        memcpy(wide, s, coordinator_state_bytes(s->shard_count));
    return wide;
}

static void shards_begin(struct coordinator_state *s, const struct coordinator_entry *e)
{
    for (uint32_t i = 0; i < e->space_count; i++)
        for (uint32_t n = 0; n < e->space[i].shard_count; n++)
            s->shards[s->shard_count++].log = e->space[i].id << NODE_LOG_SPACE_SHIFT | n;
    coordinator_state_begin(s);
}

/* On a state of its own, with room for the shards: there is nothing to undo when there is no memory. */
static int entry_begin(struct coordinator_state **state, const struct coordinator_command *c)
{
    struct coordinator_state *s = state_widen(*state, shards_of(&c->entry));
    if (s == NULL)
        return -ENOMEM;
    int changed = coordinator_state_register(s, c->node, c->start);
    if (changed > 0)
        s->lsn_ceiling = max_u64(s->lsn_ceiling, c->entry.lsn_ceiling);
    if (changed >= 0 && coordinator_state_is_complete(s)) {
        shards_begin(s, &c->entry);
        changed = 1;
    }
    if (changed <= 0) {
        free(s);
        return changed;
    }
    free(*state);
    *state = s;
    return changed;
}

static int entry_apply(struct coordinator_state **state, const struct coordinator_command *c)
{
    struct coordinator_state *s = *state;
    if (!is_ours(s, &c->entry))
        return -EEXIST;
    if (s->shard_count == 0)
        return entry_begin(state, c);
    int changed = coordinator_state_register(s, c->node, c->start);
    if (changed > 0)
        s->lsn_ceiling = max_u64(s->lsn_ceiling, c->entry.lsn_ceiling);
    return changed;
}

int coordinator_enter(struct coordinator_state **state, const struct coordinator_command *c)
{
    struct coordinator_state *made = NULL;
    if (*state == NULL)
        *state = made = state_make(&c->entry);
    if (*state == NULL)
        return -ENOMEM;
    int changed = entry_apply(state, c);
    if (changed <= 0 && made != NULL) {
        free(made);
        *state = NULL;
    }
    return changed;
}

/* ---- spaces that are made while the cluster runs ---- */

/* Ids that have shards: to make a space of one of them is refused, whatever the asker took for taken. */
static uint64_t ids_taken(const struct coordinator_state *s)
{
    uint64_t taken = 0;
    for (uint32_t i = 0; i < s->shard_count; i++)
        taken |= UINT64_C(1) << ((s->shards[i].log >> NODE_LOG_SPACE_SHIFT) - 1);
    return taken;
}

static int64_t space_apply(struct coordinator_state **state, const struct coordinator_command *c)
{
    struct coordinator_space_asked asked = c->space.asked;
    struct coordinator_state *wide = NULL;
    asked.config = &c->space.config;
    asked.member = (struct member){.node = c->node, .incarnation = c->start};
    if (asked.kind == COORDINATOR_SPACE_CREATE)
        asked.taken |= ids_taken(*state);
    if (asked.kind == COORDINATOR_SPACE_SERVE) {
        wide = state_widen(*state, coordinator_space_due(*state, asked.up, asked.up_count));
        if (wide == NULL)
            return -ENOMEM;
    }
    int64_t changed = coordinator_space_apply(wide != NULL ? wide : *state, &asked);
    if (wide != NULL && changed > 0) {
        free(*state);
        *state = wide;
    } else {
        free(wide);
    }
    return changed;
}

/* ---- the rest ---- */

/* Whether it is asked by who is the node now. */
static int asker_check(const struct coordinator_state *s, const struct coordinator_command *c)
{
    for (uint32_t i = 0; i < s->node_count; i++)
        if (s->nodes[i].id == c->node)
            return s->nodes[i].start > c->start ? -ESTALE : 0;
    return -ENOENT;
}

static bool epoch_apply(struct coordinator_state *s, const struct coordinator_command *c,
                        const struct coordinator_epoch *e)
{
    const struct member leader = {.node = c->node, .incarnation = c->start};
    switch (c->type) {
    case COORDINATOR_ACTIVATE:
        return coordinator_state_activate(s, e->log, e->epoch, &leader);
    case COORDINATOR_LET_GO:
        return coordinator_state_let_go(s, e->log, e->epoch);
    case COORDINATOR_PROMOTE:
        return coordinator_state_promote(
            s,
            &(struct coordinator_promotion){
                .leader = leader, .epoch = e->epoch, .log = e->log, .learner = c->epochs.learner});
    default:
        return coordinator_state_pass_on(s, e->log, e->epoch);
    }
}

static int64_t epochs_apply(struct coordinator_state *s, const struct coordinator_command *c)
{
    int64_t changed = 0;
    for (uint32_t i = 0; i < c->epochs.count; i++)
        changed += epoch_apply(s, c, &c->epochs.list[i]);
    return changed;
}

static int64_t asked_apply(struct coordinator_state **state, const struct coordinator_command *c)
{
    struct coordinator_state *s = *state;
    int error = asker_check(s, c);
    if (error != 0)
        return error;
    switch (c->type) {
    case COORDINATOR_LEAVE:
        return coordinator_state_leave(s, c->node, c->others.nodes, c->others.count);
    case COORDINATOR_RETIRE:
        coordinator_state_retire(s, c->node);
        return 1;
    case COORDINATOR_GIVE_UP:
        return coordinator_state_give_up(s);
    case COORDINATOR_SPACE:
        return space_apply(state, c);
    case COORDINATOR_RECOVER:
        return coordinator_state_recover(s, &c->recover);
    case COORDINATOR_CEILING:
        return coordinator_state_lsn_grant(s, c->lsn_ceiling);
    default:
        return epochs_apply(s, c);
    }
}

static int64_t command_apply(struct coordinator_state **state, const struct coordinator_command *c)
{
    switch (c->type) {
    case COORDINATOR_REGISTER:
        return coordinator_enter(state, c);
    case COORDINATOR_MOVE:
        return coordinator_state_move(*state, c->logs.first, c->logs.last, c->node);
    case COORDINATOR_FAIL:
        return coordinator_state_fail(*state, c->node, c->start, c->others.nodes, c->others.count);
    case COORDINATOR_NODE:
        return coordinator_state_node_change(*state, &c->change);
    default:
        return asked_apply(state, c);
    }
}

int64_t coordinator_command_apply(struct coordinator_state **state,
                                  const struct coordinator_command *c)
{
    if (*state == NULL && c->type != COORDINATOR_REGISTER)
        return -ENOMEDIUM;
    if (*state != NULL && (*state)->revision >= COORDINATOR_REVISION_MAX)
        return -EOVERFLOW;
    int64_t changed = command_apply(state, c);
    if (changed > 0) {
        (*state)->revision++;
        (void)coordinator_state_sweep(*state);
        ASSERT_SLOW(coordinator_state_fault(*state) == NULL);
    }
    return changed;
}
