/* The network, the faults and the scripted coordinator. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

/* ---- network ---- */

static uint64_t network_delay(struct sim *s)
{
    uint64_t delay = 10000 + sim_below(s, 60000);
    if (sim_chance(s, s->slow_percent))
        delay += sim_chance(s, 10) ? sim_below(s, 400000000) : sim_below(s, 20000000);
    return delay;
}

static void deliver(struct sim *s, uint32_t to, const uint8_t *bytes, uint64_t length)
{
    uint8_t *copy = malloc(length);
    ASSERT(copy != NULL);
    memcpy(copy, bytes, length);
    sim_schedule(
        s, network_delay(s),
        (struct sim_event){.kind = EVENT_MESSAGE, .node = to, .bytes = copy, .length = length});
}

void sim_send(struct sim *s, uint32_t from, uint32_t to, const struct message *m)
{
    static uint8_t bytes[MESSAGE_BYTES_MAX];
    if (s->link_cut[from][to] || sim_chance(s, s->loss_percent))
        return;
    uint64_t length = message_bytes(m);
    message_encode(m, bytes);
    if (m->length != 0 && m->kind == MESSAGE_APPEND && sim_chance(s, s->damage_percent))
        bytes[length - 1 - sim_below(s, m->length)] ^= (uint8_t)(1u << sim_below(s, 8));
    deliver(s, to, bytes, length);
    if (sim_chance(s, s->double_percent))
        deliver(s, to, bytes, length);
}

/* ---- coordinator: decisions are serial, their news are late ---- */

static void publish(struct sim *s)
{
    for (uint32_t i = 0; i < s->node_count; i++)
        sim_schedule(s, 20000 + sim_below(s, 2000000),
                     (struct sim_event){.kind = EVENT_CONFIGURE, .node = i});
}

static struct member member_of(const struct sim *s, uint32_t node)
{
    return (struct member){.node = node, .incarnation = s->nodes[node].incarnation};
}

static void issue(struct sim *s, const struct configuration *c)
{
    ASSERT(configuration_is_valid(c));
    s->configuration = *c;
    publish(s);
}

void sim_coordinator_start(struct sim *s)
{
    struct configuration c = {.epoch = 1, .voter_count = 3};
    for (uint32_t i = 0; i < 3; i++)
        c.voters[i] = member_of(s, i);
    c.leader = c.voters[0];
    issue(s, &c);
    sim_schedule(s, 20 * NS_PER_MS, (struct sim_event){.kind = EVENT_COORDINATOR});
}

/* S14: compare-and-set on (pending epoch, predecessor). */
void sim_coordinator_activate(struct sim *s, uint64_t epoch, uint32_t node, uint64_t incarnation)
{
    struct configuration *c = &s->configuration;
    struct member who = {.node = node, .incarnation = incarnation};
    if (epoch != c->epoch || !member_equal(&who, &c->leader))
        return;
    if (s->active.epoch != epoch) {
        if (s->active.epoch != c->epoch_before)
            return;
        s->active = *c;
        s->active.active = true;
    }
    publish(s);
}

static bool is_alive(const struct sim *s, const struct member *m)
{
    return s->nodes[m->node].up && s->nodes[m->node].incarnation == m->incarnation;
}

static uint32_t alive_count(const struct sim *s, const struct configuration *c)
{
    uint32_t alive = 0;
    for (uint32_t i = 0; i < c->voter_count; i++)
        alive += is_alive(s, &c->voters[i]);
    return alive;
}

/* Voters of the next configuration: those of the active one that kept their memory, then, if that
 * changes voters or some lost theirs, others.  The first epoch has nothing to lose. */
static void choose_voters(struct sim *s, struct configuration *c, bool change)
{
    const struct configuration *old = s->active.epoch != 0 ? &s->active : &s->configuration;
    uint32_t skip = change ? sim_below(s, old->voter_count) : UINT32_MAX;
    c->voter_count = 0;
    for (uint32_t i = 0; i < old->voter_count; i++)
        if (is_alive(s, &old->voters[i]) && i != skip)
            c->voters[c->voter_count++] = old->voters[i];
    uint32_t first = sim_below(s, s->node_count);
    for (uint32_t i = 0; i < s->node_count && c->voter_count < 3; i++) {
        uint32_t node = (first + i) % s->node_count;
        struct member m = member_of(s, node);
        bool known = false;
        for (uint32_t v = 0; v < c->voter_count; v++)
            known |= c->voters[v].node == node;
        if (!known && s->nodes[node].up)
            c->voters[c->voter_count++] = m;
    }
}

void sim_coordinator_change(struct sim *s, bool change_voters)
{
    struct configuration c = {
        .epoch = s->configuration.epoch + 1,
        .epoch_before = s->active.epoch,
        .voter_before_count = s->active.voter_count,
    };
    memcpy(c.voters_before, s->active.voters, sizeof c.voters_before);
    choose_voters(s, &c, change_voters);
    if (c.voter_count < 2)
        return;
    c.leader = c.voters[sim_below(s, c.voter_count)];
    issue(s, &c);
}

/* Is somebody leading what was decided last?  If not, decide again. */
void sim_coordinator_look(struct sim *s)
{
    sim_schedule(s, 30 * NS_PER_MS + sim_below(s, 30000000),
                 (struct sim_event){.kind = EVENT_COORDINATOR});
    const struct member *leader = &s->configuration.leader;
    const struct sim_node *n = &s->nodes[leader->node];
    bool leads = is_alive(s, leader) && !n->frozen && replica_leads(&n->replica) &&
                 n->replica.promised == s->configuration.epoch;
    if (leads && alive_count(s, &s->active) == s->active.voter_count)
        return;
    if (!leads && sim_chance(s, 50)) {
        publish(s); /* perhaps it has not heard */
        return;
    }
    sim_coordinator_change(s, false);
}

/* ---- faults
 * ------------------------------------------------------------------------------------------------
 */

static uint32_t crash_candidate(struct sim *s)
{
    /* Memory may be lost on a minority of the active voters only, and on the others one at a time:
     * more is a lost majority, which recover opens, and which is another scenario. */
    uint32_t node = sim_below(s, s->node_count);
    for (uint32_t i = 0; i < s->active.voter_count; i++)
        if (s->active.voters[i].node == node && is_alive(s, &s->active.voters[i]) &&
            alive_count(s, &s->active) <= majority_of(s->active.voter_count))
            return SIM_NODES;
    return s->nodes[node].up ? node : SIM_NODES;
}

static void cut_links(struct sim *s, bool both, bool cut, uint64_t which)
{
    uint32_t node = (uint32_t)(which % s->node_count);
    uint32_t other = (uint32_t)(which / s->node_count % s->node_count);
    for (uint32_t i = 0; i < s->node_count; i++) {
        if (both)
            s->link_cut[i][node] = s->link_cut[node][i] = cut && i != node;
        else if (i == other && i != node)
            s->link_cut[node][i] = cut;
    }
}

static void fault_switch(struct sim *s, enum sim_fault fault, bool on, uint64_t which)
{
    switch (fault) {
    case FAULT_LOSS:
        s->loss_percent = on ? 5 + (uint32_t)(which % 30) : 0;
        break;
    case FAULT_DELAY:
        s->slow_percent = on ? 30 : 0;
        break;
    case FAULT_DOUBLE:
        s->double_percent = on ? 30 : 0;
        break;
    case FAULT_DAMAGE:
        s->damage_percent = on ? 20 : 0;
        break;
    case FAULT_CUT_BOTH:
        cut_links(s, true, on, which);
        break;
    case FAULT_CUT_ONE_WAY:
        cut_links(s, false, on, which);
        break;
    case FAULT_FREEZE:
        s->nodes[which % s->node_count].frozen = on && s->nodes[which % s->node_count].up;
        break;
    default:
        break;
    }
}

static bool fault_at_once(struct sim *s, enum sim_fault fault)
{
    uint32_t node;
    switch (fault) {
    case FAULT_CRASH:
        node = crash_candidate(s);
        if (node == SIM_NODES)
            return false;
        sim_node_stop(s, node);
        sim_node_start(s, node, false);
        return true;
    case FAULT_MOVE:
    case FAULT_VOTERS:
        sim_coordinator_change(s, fault == FAULT_VOTERS);
        return true;
    default:
        return true;
    }
}

void sim_fault_begin(struct sim *s)
{
    sim_schedule(s, 10 * NS_PER_MS + sim_below(s, 100000000),
                 (struct sim_event){.kind = EVENT_FAULT});
    enum sim_fault fault = (enum sim_fault)sim_below(s, FAULT_COUNT);
    uint64_t which = sim_random(s) >> 32;
    if (s->faults_now >= 2 || !fault_at_once(s, fault))
        return;
    fault_switch(s, fault, true, which);
    s->fault_counts[fault]++;
    s->faults_now++;
    sim_schedule(s, 5 * NS_PER_MS + sim_below(s, 150000000),
                 (struct sim_event){.kind = EVENT_FAULT_END, .a = fault, .b = which});
}

void sim_fault_end(struct sim *s, const struct sim_event *e)
{
    fault_switch(s, (enum sim_fault)e->a, false, e->b);
    s->faults_now--;
    s->faults_done++;
}
