/* Nodes that come, drain and go: coordinator_state.h. */
#include "control/coordinator_members.h"
#include "control/coordinator_space.h"

#include <string.h>

/* ---- as it is asked for ---- */

/* Nodes that are to vote, but for one. */
static uint32_t members_but(const struct coordinator_state *s, uint32_t node)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct coordinator_node *n = &s->nodes[i];
        count += n->id != node && n->start != 0 && n->standing == COORDINATOR_MEMBER;
    }
    return count;
}

static int64_t node_add(struct coordinator_state *s, const struct coordinator_node_asked *asked)
{
    if (coordinator_state_node(s, asked->id) != NULL)
        return -EEXIST;
    if (s->node_count == LIMIT_VOTERS)
        return -ENOSPC;
    struct coordinator_node *n = &s->nodes[s->node_count++];
    memset(n, 0, sizeof *n);
    n->id = asked->id;
    n->weight = asked->weight;
    memcpy(n->zone, asked->zone, sizeof n->zone);
    memcpy(n->address, asked->address, sizeof n->address);
    memcpy(n->control, asked->control, sizeof n->control);
    return 1;
}

static int64_t standing_set(struct coordinator_state *s, uint32_t id, enum coordinator_standing to)
{
    struct coordinator_node *n = NULL;
    for (uint32_t i = 0; i < s->node_count; i++)
        if (s->nodes[i].id == id)
            n = &s->nodes[i];
    if (n == NULL)
        return -ENOENT;
    if (n->standing == to)
        return 0;
    if (n->standing == COORDINATOR_LEAVING)
        return -EPERM;
    /* Why not of one that has not come: nothing changes with it. */
    if (to != COORDINATOR_MEMBER && n->start != 0 && members_but(s, id) < COORDINATOR_NODES_MIN)
        return -EPERM;
    n->standing = to;
    return 1;
}

static int64_t change_apply(struct coordinator_state *s, const struct coordinator_node_asked *asked)
{
    switch (asked->kind) {
    case COORDINATOR_NODE_ADD:
        return node_add(s, asked);
    case COORDINATOR_NODE_DRAIN:
        return standing_set(s, asked->id, COORDINATOR_DRAINING);
    case COORDINATOR_NODE_UNDRAIN:
        return standing_set(s, asked->id, COORDINATOR_MEMBER);
    case COORDINATOR_NODE_REMOVE:
        return standing_set(s, asked->id, COORDINATOR_LEAVING);
    }
    return -EINVAL;
}

int64_t coordinator_state_node_change(struct coordinator_state *s,
                                      const struct coordinator_node_asked *asked)
{
    if (s->shard_count == 0)
        return -EAGAIN;
    int64_t changed = change_apply(s, asked);
    for (uint32_t i = 0; changed > 0 && i < s->shard_count; i++)
        coordinator_members_settle(s, &s->shards[i]);
    return changed;
}

/* ---- who has left ---- */

static bool is_named(const struct coordinator_state *s, uint32_t node)
{
    for (uint32_t i = 0; i < s->shard_count; i++) {
        const struct configuration *c = &s->shards[i].configuration;
        if (coordinator_members_name(c->voters, c->voter_count, node) ||
            coordinator_members_name(c->learners, c->learner_count, node) ||
            (!c->active && coordinator_members_name(c->voters_before, c->voter_before_count, node)))
            return true;
    }
    return false;
}

bool coordinator_state_sweep(struct coordinator_state *s)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < s->node_count; i++) {
        if (s->nodes[i].standing == COORDINATOR_LEAVING && !is_named(s, s->nodes[i].id))
            continue;
        if (left != i)
            s->nodes[left] = s->nodes[i];
        left++;
    }
    bool any = left != s->node_count;
    memset(&s->nodes[left], 0, (s->node_count - left) * sizeof s->nodes[0]);
    s->node_count = left;
    if (any)
        coordinator_space_sweep(s); /* it may have been the last that others waited for */
    return any;
}

/* ---- how much of it is a node's ---- */

uint32_t coordinator_state_votes(const struct coordinator_state *s, uint32_t node)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->shard_count; i++)
        count += coordinator_members_name(s->shards[i].configuration.voters,
                                          s->shards[i].configuration.voter_count, node);
    return count;
}

uint32_t coordinator_state_learns(const struct coordinator_state *s, uint32_t node)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->shard_count; i++)
        count += coordinator_members_name(s->shards[i].configuration.learners,
                                          s->shards[i].configuration.learner_count, node);
    return count;
}
