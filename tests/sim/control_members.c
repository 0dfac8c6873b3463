/* Who is a node and who votes in the control log, in the scenario `control`: what must hold of it, and what libraft
 * takes back. */
#include "tests/sim/control_seams.h"
#include "tests/sim/control_world.h"

#include "control/raft_members.h"
#include "control/ruling.h"

bool control_check_is_node(const struct control_node *n)
{
    const struct control_world *w = control_world;
    if (w->state == NULL || w->state->shard_count == 0)
        return n < w->nodes + w->first_count;
    return coordinator_state_node(w->state, n->id) != NULL;
}

/* ---- what libraft takes back ---- */

int seam_receive(const struct raft_repair *r, struct raft *raft,
                 const struct raft_append_entries *a)
{
    const struct raft_server *before = raft->configuration.servers;
    int code = raft_repair_receive(r, raft, a);
    if (raft->configuration.servers != before) {
        control_count(CONTROL_TAKEN_BACK);
        control_trace("takes a change of members back");
    }
    return code;
}

/* The newest change in its log, or in its snapshot, is the configuration that libraft goes by. */
void control_check_configuration(const struct control_process *p)
{
    const struct control_node *n = &control_world->nodes[p->node];
    const struct raft *r = p->raft;
    const struct raft_log *l = &r->log;
    size_t count = l->front <= l->back ? l->back - l->front : l->size - l->front + l->back;
    struct raft_buffer encoded;
    while (count != 0 && l->entries[(l->front + count - 1) % l->size].type != RAFT_CHANGE)
        count--;
    if (count == 0 || r->state != RAFT_LEADER)
        return; /* a follower goes by an entry when it is on its disk */
    const struct raft_entry *e = &l->entries[(l->front + count - 1) % l->size];
    size_t used = 1 + sizeof(uint64_t); /* what pads it is of any value */
    for (unsigned i = 0; i < r->configuration.n; i++)
        used += sizeof(uint64_t) + strlen(r->configuration.servers[i].address) + 2;
    ASSERT(raft_configuration_encode(&r->configuration, &encoded) == 0);
    if (encoded.len != e->buf.len || memcmp(encoded.base, e->buf.base, used) != 0)
        control_break("a leader goes by the newest configuration in its log", "node %u at %llu",
                      n->id, (unsigned long long)(l->offset + count));
    raft_free(encoded.base);
}

/* ---- in quiet ---- */

static const char *leader_unwell(const struct raft *r)
{
    const struct coordinator_state *s = control_world->state;
    uint32_t voters = 0, eligible = 0;
    for (uint32_t i = 0; i < s->node_count; i++)
        eligible += s->nodes[i].start != 0 && s->nodes[i].standing != COORDINATOR_LEAVING ? 1 : 0;
    for (unsigned i = 0; i < r->configuration.n; i++) {
        const struct raft_server *server = &r->configuration.servers[i];
        const struct coordinator_node *n = coordinator_state_node(s, (uint32_t)server->id);
        if (n == NULL)
            return "who is no node takes part in the log";
        if (server->role == RAFT_SPARE)
            return "a node gets no entries";
        voters += server->role == RAFT_VOTER ? 1 : 0;
    }
    if (r->configuration.n != s->node_count)
        return "a node takes no part in the log";
    return voters == (eligible >= RAFT_MEMBERS_VOTERS ? RAFT_MEMBERS_VOTERS : 1)
               ? NULL
               : "others vote in the log than should";
}

static bool is_any_lost(void)
{
    const struct coordinator_state *s = control_world->state;
    for (uint32_t i = 0; i < s->shard_count; i++)
        if (ruling_is_lost(&s->shards[i].configuration))
            return true;
    return false;
}

static const char *voter_unwell(const struct control_process *p)
{
    bool is_voter = false;
    for (unsigned i = 0; i < p->raft->configuration.n; i++)
        is_voter = is_voter || (p->raft->configuration.servers[i].id == p->raft->id &&
                                p->raft->configuration.servers[i].role == RAFT_VOTER);
    for (uint32_t i = 0; is_voter && i < p->voter->count; i++)
        if (coordinator_state_node(control_world->state, p->voter->entries[i].node) == NULL)
            return "a node that was removed counts";
    return NULL;
}

const char *control_members_unwell(void)
{
    const struct control_world *w = control_world;
    const char *unwell = NULL;
    uint32_t leaders = 0;
    if (w->wanted.id != 0)
        return "what people asked for is not answered";
    for (uint32_t i = 0; i < w->state->node_count; i++)
        if (w->state->nodes[i].standing == COORDINATOR_LEAVING && !is_any_lost())
            return "a node does not go";
    for (uint32_t i = 0; i < w->node_count && unwell == NULL; i++) {
        const struct control_process *p = w->nodes[i].process;
        if (p == NULL || p->raft == NULL || p->voter == NULL ||
            !control_check_is_node(&w->nodes[i]))
            continue;
        unwell = voter_unwell(p);
        if (unwell == NULL && raft_state(p->raft) == RAFT_LEADER)
            unwell = leader_unwell(p->raft);
        leaders += raft_state(p->raft) == RAFT_LEADER ? 1 : 0;
    }
    if (unwell != NULL)
        return unwell;
    return leaders == 1 ? NULL : "not one leads the log";
}
