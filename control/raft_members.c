#include "control/raft_members.h"

struct raft_server *raft_members_server(const struct raft_configuration *c, raft_id id)
{
    for (unsigned i = 0; i < c->n; i++)
        if (c->servers[i].id == id)
            return &c->servers[i];
    return NULL;
}

static uint32_t target_of(const struct raft_member *m, uint32_t count)
{
    uint32_t eligible = 0;
    for (uint32_t i = 0; i < count; i++)
        eligible += m[i].is_eligible ? 1 : 0;
    return eligible >= RAFT_MEMBERS_VOTERS ? RAFT_MEMBERS_VOTERS : eligible != 0 ? 1 : 0;
}

/* How many voters stay, as bits of kept by position. */
static uint32_t keep(const struct raft_member *m, uint32_t count, uint32_t target, uint32_t *kept)
{
    uint32_t held = 0;
    *kept = 0;
    for (uint32_t i = 0; i < count && held < target; i++)
        if (m[i].role == RAFT_VOTER && m[i].is_eligible) {
            *kept |= 1u << i;
            held++;
        }
    return held;
}

/* Nodes of the state become standbys, by way of spares. */
static struct raft_members_step enter(const struct raft_member *m, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!m[i].is_named)
            continue;
        if (m[i].role == RAFT_MEMBERS_ABSENT)
            return (struct raft_members_step){.kind = RAFT_MEMBERS_ADD, .node = m[i].node};
        if (m[i].role == RAFT_SPARE)
            return (struct raft_members_step){
                .kind = RAFT_MEMBERS_ASSIGN, .node = m[i].node, .role = RAFT_STANDBY};
    }
    return (struct raft_members_step){.kind = RAFT_MEMBERS_NONE};
}

static struct raft_members_step promote(const struct raft_member *m, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (m[i].role == RAFT_STANDBY && m[i].is_eligible && m[i].is_up)
            return (struct raft_members_step){.kind = RAFT_MEMBERS_ASSIGN,
                                              .node = m[i].node,
                                              .role = RAFT_VOTER,
                                              .is_of_voters = true};
    return (struct raft_members_step){.kind = RAFT_MEMBERS_NONE};
}

static struct raft_members_step transfer(const struct raft_member *m, uint32_t count, uint32_t kept)
{
    for (uint32_t i = 0; i < count; i++)
        if ((kept & 1u << i) != 0 && m[i].is_up)
            return (struct raft_members_step){.kind = RAFT_MEMBERS_TRANSFER, .node = m[i].node};
    return (struct raft_members_step){.kind = RAFT_MEMBERS_NONE};
}

/* How much a voter is missed least: who is no node any more, who is down, who leaves; 0: it stays. */
static uint32_t demotion_rank(const struct raft_member *m, bool is_kept, bool is_whole)
{
    if (m->role != RAFT_VOTER || is_kept || (m->is_named && !is_whole))
        return 0;
    return 1 + (!m->is_named ? 4u : 0) + (!m->is_up ? 2u : 0) + (!m->is_eligible ? 1u : 0);
}

/* Of several the highest id.  Why who is down before who is up: the other way round those that are left could be
 * no majority, and nobody would decide any more. */
static struct raft_members_step demote(const struct raft_member *m, uint32_t count, uint32_t kept,
                                       bool is_whole)
{
    struct raft_members_step step = {.kind = RAFT_MEMBERS_NONE};
    uint32_t best = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t rank = demotion_rank(&m[i], (kept & 1u << i) != 0, is_whole);
        if (rank == 0 || rank < best)
            continue;
        best = rank;
        step = (struct raft_members_step){.kind = RAFT_MEMBERS_ASSIGN,
                                          .node = m[i].node,
                                          .role = RAFT_STANDBY,
                                          .is_of_voters = true};
    }
    return step;
}

static struct raft_members_step leave(const struct raft_member *m, uint32_t count, uint32_t self)
{
    for (uint32_t i = 0; i < count; i++)
        if (!m[i].is_named && m[i].is_due && m[i].node != self && m[i].role != RAFT_VOTER &&
            m[i].role != RAFT_MEMBERS_ABSENT)
            return (struct raft_members_step){.kind = RAFT_MEMBERS_REMOVE, .node = m[i].node};
    return (struct raft_members_step){.kind = RAFT_MEMBERS_NONE};
}

struct raft_members_step raft_members_next(const struct raft_member *m, uint32_t count,
                                           uint32_t self)
{
    uint32_t kept, target = target_of(m, count), held = keep(m, count, target, &kept);
    bool is_kept = false;
    ASSERT(count <= RAFT_MEMBERS_MAX);
    for (uint32_t i = 0; i < count; i++)
        is_kept = is_kept || (m[i].node == self && (kept & 1u << i) != 0);
    struct raft_members_step step = enter(m, count);
    if (step.kind == RAFT_MEMBERS_NONE && held < target)
        step = promote(m, count);
    /* Why nothing else without a voter that stays: nobody would be left to decide. */
    if (step.kind != RAFT_MEMBERS_NONE || held == 0)
        return step;
    if (!is_kept)
        step = transfer(m, count, kept);
    else
        step = demote(m, count, kept, held == target);
    return step.kind != RAFT_MEMBERS_NONE ? step : leave(m, count, self);
}
