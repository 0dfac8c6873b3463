/* The network, the faults and the scripted coordinator. */
#include "tests/sim/sim.h"
#include "tests/sim/sim_scenario.h"

#include "engine/plant.h"

#include <stdlib.h>
#include <string.h>

#define JUMP_NS (2 * NS_PER_S) /* of a time of day, from ours, at most */

static bool sim_may(const struct sim *s, enum sim_fault fault)
{
    return s->scenario->weights[fault] != 0;
}

/* ---- network ---- */

static uint64_t network_delay(struct sim *s, const struct sim_datagram *d)
{
    uint64_t delay = 10000 + sim_below(s, 60000);
    uint64_t held = max_u64(s->nodes[d->from].held_out, s->nodes[d->to].held_in);
    if (sim_chance(s, s->slow_percent))
        delay += sim_chance(s, 10) ? sim_below(s, 400000000) : sim_below(s, 20000000);
    return delay + (held > s->time ? held - s->time : 0);
}

static void deliver(struct sim *s, const struct sim_datagram *d, bool damaged)
{
    struct sim_node *n = &s->nodes[d->from];
    uint8_t *copy = malloc(d->length);
    ASSERT(copy != NULL);
    memcpy(copy, d->bytes, d->length);
    if (damaged)
        copy[d->length - 1 - sim_below(s, (uint32_t)d->log_bytes)] ^=
            (uint8_t)(1u << sim_below(s, 8));
    if (d->log_bytes != 0)
        hold_add(&n->holds, (uint32_t)(d->offset >> n->header->geometry.segment_shift));
    sim_schedule(s, network_delay(s, d),
                 (struct sim_event){.kind = EVENT_MESSAGE,
                                    .node = d->to,
                                    .bytes = copy,
                                    .length = d->length,
                                    .log_bytes = d->log_bytes,
                                    .offset = d->offset,
                                    .from_incarnation = n->incarnation,
                                    .from = d->from,
                                    .damaged = damaged});
}

void sim_send(struct sim *s, const struct sim_datagram *d)
{
    if (s->link_cut[d->from][d->to] || sim_chance(s, s->loss_percent))
        return;
    deliver(s, d, d->log_bytes != 0 && sim_chance(s, s->damage_percent));
    if (sim_chance(s, s->double_percent))
        deliver(s, d, false);
}

void sim_let_go(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = &s->nodes[e->from];
    if (e->log_bytes == 0 || n->incarnation != e->from_incarnation || !n->up)
        return;
    if (!e->damaged &&
        memcmp(n->arena + e->offset, e->bytes + e->length - e->log_bytes, e->log_bytes) != 0)
        sim_broken(s, "S12", "node %u reused memory at %llu that the network still read", e->from,
                   (unsigned long long)e->offset);
    hold_sub(&n->holds, (uint32_t)(e->offset >> n->header->geometry.segment_shift));
}

/* ---- coordinator: decisions are serial, their news are late ---- */

static void publish(struct sim *s, uint32_t shard)
{
    for (uint32_t i = 0; i < s->node_count; i++)
        sim_schedule(s, 20000 + sim_below(s, 2000000),
                     (struct sim_event){.kind = EVENT_CONFIGURE, .node = i, .a = shard});
}

static struct member member_of(const struct sim *s, uint32_t node)
{
    return (struct member){.node = node, .incarnation = s->nodes[node].incarnation};
}

static void issue(struct sim *s, uint32_t shard, const struct configuration *c)
{
    ASSERT(configuration_is_valid(c));
    s->shards[shard].configuration = *c;
    s->shards[shard].configuration.lsn_ceiling = s->shards[shard].lsn_granted;
    publish(s, shard);
}

static bool votes(const struct configuration *c, uint32_t node)
{
    bool is = false;
    for (uint32_t i = 0; i < c->voter_count; i++)
        is |= c->voters[i].node == node;
    return is;
}

/* Every node that does not vote, and is there. */
static void learners_all(const struct sim *s, struct configuration *c)
{
    c->learner_count = 0;
    for (uint32_t i = 0; i < s->node_count; i++)
        if (s->nodes[i].up && !votes(c, i))
            c->learners[c->learner_count++] = member_of(s, i);
}

void sim_coordinator_start(struct sim *s)
{
    struct configuration c = {.epoch = 1, .voter_count = 3};
    for (uint32_t i = 0; i < 3; i++)
        c.voters[i] = member_of(s, i);
    if (s->learns)
        learners_all(s, &c);
    for (uint32_t k = 0; k < SIM_SHARDS; k++) {
        c.leader = c.voters[sim_below(s, 2)];
        s->shards[k].lsn_granted = SIM_LSN_START + SIM_LSN_GRANT;
        issue(s, k, &c);
    }
    sim_schedule(s, 20 * NS_PER_MS, (struct sim_event){.kind = EVENT_COORDINATOR});
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
static void choose_voters(struct sim *s, const struct sim_shard *shard, struct configuration *c,
                          bool change)
{
    const struct configuration *old =
        shard->active.epoch != 0 ? &shard->active : &shard->configuration;
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

/* The leader that is to go is told first, mostly: then the next one need not wait for it. */
static void move_begin(struct sim *s, uint32_t number, bool change_voters)
{
    const struct member *leader = &s->shards[number].active.leader;
    if (is_alive(s, leader) && sim_chance(s, 60))
        replica_hand_over(&s->nodes[leader->node].shards[number].replica);
    sim_schedule(s, sim_below(s, 5000000),
                 (struct sim_event){.kind = EVENT_MOVE, .a = number, .b = change_voters});
}

/* A ceiling is granted to an epoch, ahead of use, before it is told. */
void sim_coordinator_grant(struct sim *s, const struct sim_event *e)
{
    struct sim_shard *shard = &s->shards[e->c];
    if (e->b != shard->configuration.epoch)
        return;
    while (shard->lsn_granted < e->a)
        shard->lsn_granted += SIM_LSN_GRANT;
    shard->configuration.lsn_ceiling = shard->lsn_granted;
    publish(s, (uint32_t)e->c);
}

/* A node that is no voter learns first, mostly, and takes a voter's place when it is fit to. */
static void choose_learner(struct sim *s, struct configuration *c)
{
    uint32_t node = sim_below(s, s->node_count);
    struct member m = member_of(s, node);
    if (!votes(c, node) && s->nodes[node].up)
        c->learners[c->learner_count++] = m;
}

/* The leader says that a learner of its epoch keeps up.  Where learners stay, few are to vote. */
void sim_coordinator_promote(struct sim *s, const struct sim_event *e)
{
    struct sim_shard *shard = &s->shards[e->c];
    struct member learner = {.node = e->node, .incarnation = e->a};
    const struct configuration *active = &shard->active;
    if (e->b != active->epoch || shard->configuration.epoch != active->epoch ||
        !is_alive(s, &learner) ||
        member_find(active->learners, active->learner_count, &learner) < 0 ||
        (s->learns && (s->resting || !sim_chance(s, 20))))
        return;
    struct configuration c = *active;
    c.epoch = active->epoch + 1;
    c.epoch_before = active->epoch;
    c.active = c.lossy = false;
    c.lsn_floor = 0;
    c.voter_before_count = active->voter_count;
    memcpy(c.voters_before, active->voters, sizeof c.voters_before);
    c.learner_count = 0;
    uint32_t leaver = sim_below(s, c.voter_count);
    if (member_equal(&c.voters[leaver], &c.leader))
        leaver = (leaver + 1) % c.voter_count;
    c.voters[leaver] = learner;
    if (s->learns)
        learners_all(s, &c);
    issue(s, (uint32_t)e->c, &c);
}

/* What an operator's "recover --accept-loss" leads to, once a majority is gone for good. */
static void recover_lossy(struct sim *s, uint32_t number)
{
    struct sim_shard *shard = &s->shards[number];
    const struct configuration *active = &shard->active;
    struct configuration c = {
        .epoch = shard->configuration.epoch + 1,
        .epoch_before = active->epoch,
        .lossy = true,
        .lsn_floor = shard->lsn_granted,
    };
    shard->lsn_granted += 4 * SIM_LSN_GRANT;
    for (uint32_t i = 0; i < active->voter_count; i++)
        if (is_alive(s, &active->voters[i]))
            c.voters_before[c.voter_before_count++] = active->voters[i];
    choose_voters(s, shard, &c, false);
    uint32_t survivors = c.voter_before_count != 0 ? c.voter_before_count : c.voter_count;
    c.leader = c.voters[sim_below(s, survivors)];
    if (s->learns)
        learners_all(s, &c);
    if (c.voter_count >= 2)
        issue(s, number, &c);
}

void sim_coordinator_change(struct sim *s, uint32_t number, bool change_voters)
{
    const struct configuration *now = &s->shards[number].active;
    if (now->epoch != 0 && alive_count(s, now) < majority_of(now->voter_count)) {
        recover_lossy(s, number);
        return;
    }

    const struct sim_shard *shard = &s->shards[number];
    struct configuration c = {
        .epoch = shard->configuration.epoch + 1,
        .epoch_before = shard->active.epoch,
        .voter_before_count = shard->active.voter_count,
    };
    memcpy(c.voters_before, shard->active.voters, sizeof c.voters_before);
    bool by_learning = change_voters && sim_chance(s, 60);
    choose_voters(s, shard, &c, change_voters && !by_learning);
    if (c.voter_count < 2)
        return;
    if (s->learns)
        learners_all(s, &c);
    else if (by_learning)
        choose_learner(s, &c);
    c.leader = c.voters[sim_below(s, c.voter_count)];
    /* Leaders of several shards share pairs and rights among them. */
    const struct member *neighbour = &s->shards[(number + 1) % SIM_SHARDS].active.leader;
    if (sim_chance(s, 50) && member_find(c.voters, c.voter_count, neighbour) >= 0)
        c.leader = *neighbour;
    issue(s, number, &c);
}

/* Memory may be lost on a minority of a shard's active voters only, and on the others one at a time:
 * more is a lost majority, which recover opens, and which is another scenario. */
static bool may_crash(struct sim *s, const struct configuration *active, uint32_t node)
{
    for (uint32_t i = 0; i < active->voter_count; i++)
        if (active->voters[i].node == node && is_alive(s, &active->voters[i]) &&
            alive_count(s, active) <= majority_of(active->voter_count))
            return false;
    return true;
}

static bool node_may_crash(struct sim *s, uint32_t node)
{
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        if (!may_crash(s, &s->shards[k].active, node))
            return false;
    return s->nodes[node].up;
}

/* The node that asks for activation loses its memory while it does. */
static bool leader_crashes(struct sim *s, uint32_t node)
{
    if (!sim_may(s, FAULT_CRASH) || !sim_chance(s, 2) || !node_may_crash(s, node))
        return false;
    sim_node_stop(s, node);
    sim_node_start(s, node, false);
    return true;
}

/* S14: compare-and-set on (pending epoch, predecessor). */
void sim_coordinator_activate(struct sim *s, const struct sim_event *e)
{
    struct sim_shard *shard = &s->shards[e->c];
    const struct configuration *c = &shard->configuration;
    struct member who = {.node = e->node, .incarnation = e->b};
    if (e->a != c->epoch || (!member_equal(&who, &c->leader) && !PLANTED(SAME_EPOCH_TWICE)))
        return;
    if (leader_crashes(s, e->node))
        return;
    if (shard->active.epoch != c->epoch) {
        if (shard->active.epoch != c->epoch_before)
            return;
        shard->active = *c;
        shard->active.active = true;
    }
    publish(s, (uint32_t)e->c);
    /* Trouble seldom comes alone: the next move begins while this one's news are on their way, and who
     * leads then is not heard. */
    if (!sim_may(s, FAULT_MOVE) || !sim_chance(s, 25))
        return;
    sim_schedule(s, sim_below(s, 4000000), (struct sim_event){.kind = EVENT_MOVE, .a = e->c});
    if (sim_may(s, FAULT_HOLD) && sim_chance(s, 50))
        sim_schedule(s, sim_below(s, 2000000),
                     (struct sim_event){.kind = EVENT_FAULT,
                                        .a = 1,
                                        .b = FAULT_HOLD,
                                        .c = e->node + s->node_count * sim_below(s, 3)});
}

/* Where learners stay: every node that is there votes or learns, as who it is now. */
static bool all_have_a_part(const struct sim *s, const struct configuration *c)
{
    bool all = true;
    for (uint32_t i = 0; i < s->node_count && s->learns; i++) {
        struct member m = member_of(s, i);
        all &= !s->nodes[i].up || member_find(c->voters, c->voter_count, &m) >= 0 ||
               member_find(c->learners, c->learner_count, &m) >= 0;
    }
    return all;
}

/* Is somebody leading what was decided last?  If not, decide again. */
static void shard_look(struct sim *s, uint32_t number)
{
    const struct sim_shard *shard = &s->shards[number];
    const struct member *leader = &shard->configuration.leader;
    const struct sim_node *n = &s->nodes[leader->node];
    const struct replica *r = &n->shards[number].replica;
    bool leads = is_alive(s, leader) && !n->frozen && !n->stalled && replica_leads(r) &&
                 r->promised == shard->configuration.epoch;
    if (leads && alive_count(s, &shard->active) == shard->active.voter_count &&
        all_have_a_part(s, &shard->active))
        return;
    if (!leads && sim_chance(s, 50)) {
        publish(s, number); /* perhaps it has not heard */
        return;
    }
    sim_coordinator_change(s, number, false);
}

void sim_coordinator_look(struct sim *s)
{
    sim_schedule(s, 30 * NS_PER_MS + sim_below(s, 30000000),
                 (struct sim_event){.kind = EVENT_COORDINATOR});
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        shard_look(s, k);
}

/* ---- faults
 * ------------------------------------------------------------------------------------------------
 */

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

/* Now and then nobody is left. */
static bool majority_lose(struct sim *s, uint32_t number)
{
    const struct configuration *active = &s->shards[number].active;
    uint32_t survivor = sim_chance(s, 85) ? sim_below(s, 3) : UINT32_MAX;
    if (active->epoch == 0)
        return false;
    for (uint32_t i = 0; i < active->voter_count; i++) {
        if (i == survivor || !is_alive(s, &active->voters[i]))
            continue;
        sim_node_stop(s, active->voters[i].node);
        sim_node_start(s, active->voters[i].node, false);
    }
    return true;
}

static bool fault_at_once(struct sim *s, enum sim_fault fault, uint64_t which)
{
    uint32_t node;
    switch (fault) {
    case FAULT_CRASH:
        node = sim_below(s, s->node_count);
        if (!node_may_crash(s, node))
            return false;
        sim_node_stop(s, node);
        sim_node_start(s, node, false);
        return true;
    case FAULT_JUMP:
        s->nodes[sim_below(s, s->node_count)].day_offset =
            (int64_t)sim_below(s, 2 * JUMP_NS) - (int64_t)JUMP_NS;
        return true;
    case FAULT_LOSE:
        return majority_lose(s, sim_below(s, SIM_SHARDS));
    case FAULT_MOVE:
    case FAULT_VOTERS:
        move_begin(s, (uint32_t)(which % SIM_SHARDS), fault == FAULT_VOTERS);
        return true;
    default:
        return true;
    }
}

/* As queues of its NIC that a process stands still on: out, in, or both. */
static void hold(struct sim *s, uint64_t which, uint64_t lasts)
{
    struct sim_node *n = &s->nodes[which % s->node_count];
    uint64_t queue = which / s->node_count % 3;
    n->held_out = queue != 1 ? s->time + lasts : n->held_out;
    n->held_in = queue != 0 ? s->time + lasts : n->held_in;
}

static void fault_start(struct sim *s, enum sim_fault fault, uint64_t which)
{
    uint64_t lasts = 5 * NS_PER_MS + sim_below(s, 150000000);
    fault_switch(s, fault, true, which);
    if (fault == FAULT_HOLD)
        hold(s, which, lasts);
    s->fault_counts[fault]++;
    s->faults_now++;
    sim_schedule(s, lasts, (struct sim_event){.kind = EVENT_FAULT_END, .a = fault, .b = which});
}

/* What was said before leadership moves comes late. */
static void move_trouble(struct sim *s, uint32_t shard)
{
    uint32_t leader = s->shards[shard].active.leader.node;
    if (sim_may(s, FAULT_DELAY) && sim_chance(s, 50))
        fault_start(s, FAULT_DELAY, 0);
    if (sim_may(s, FAULT_HOLD) && sim_chance(s, 50))
        fault_start(s, FAULT_HOLD, leader + s->node_count * sim_below(s, 3));
}

void sim_fault_more(struct sim *s, const struct sim_event *e)
{
    fault_start(s, (enum sim_fault)e->b, e->c);
}

void sim_fault_begin(struct sim *s)
{
    sim_schedule(s, sim_scenario_pause(s), (struct sim_event){.kind = EVENT_FAULT});
    enum sim_fault fault = sim_scenario_fault(s);
    uint64_t which = sim_random(s) >> 32;
    if (s->faults_now >= s->scenario->faults_at_once || !fault_at_once(s, fault, which))
        return;
    fault_start(s, fault, which);
    if (fault == FAULT_MOVE)
        move_trouble(s, (uint32_t)(which % SIM_SHARDS));
}

void sim_fault_end(struct sim *s, const struct sim_event *e)
{
    fault_switch(s, (enum sim_fault)e->a, false, e->b);
    s->faults_now--;
    s->faults_done++;
}
