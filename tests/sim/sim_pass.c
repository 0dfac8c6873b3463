/* A pass of a node, as the steps of the poll loop (poll_pass in dataplane/poll.c, in its order; order.sh
 * compares the two).  Between any two steps the process may stand still, for a moment or for longer
 * than a lease, and agents, who are other processes, read. */
#include "tests/sim/sim_model.h"
#include "tests/sim/sim_scenario.h"

#include "engine/pending.h"
#include "engine/plant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_NS NS_PER_MS
#define AGENT_STEPS 60u    /* of all passes, to one of an agent between them */
#define PAUSE_STEPS 10000u /* to one behind which the process stands still */
#define PAUSE_ECHOES 60u   /* the same of echoes that left, */
#define PAUSE_RIGHTS 10u   /* and of passes in which rights to read began or ended */

/* ---- between two steps ---- */

/* Mostly for less than a lease: what left before is acted upon while agents still read here. */
static uint64_t pause_choose(struct sim *s)
{
    uint32_t dice = sim_below(s, 100);
    if (dice < 40)
        return 1 + sim_below(s, 1000000);
    return dice < 85 ? 1 + sim_below(s, 20000000) : 1 + sim_below(s, 200000000);
}

/* Count down to what comes once in so many steps, about. */
static bool is_due(struct sim *s, uint32_t *steps_to, uint32_t steps)
{
    if (--*steps_to != 0)
        return false;
    *steps_to = 1 + sim_below(s, 2 * steps);
    return true;
}

static bool stand_still(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    if (s->scenario->weights[FAULT_FREEZE] == 0)
        return false;
    sim_check_node(s, node);
    uint64_t pause = pause_choose(s);
    n->stalled = true;
    n->resumes = s->time + pause;
    s->stalls++;
    sim_schedule(s, pause,
                 (struct sim_event){.kind = EVENT_FLUSH, .node = node, .a = n->incarnation});
    return true;
}

/* True: the process stands still here; the pass goes on when sim_node_flush is called. */
static bool between(struct sim *s, uint32_t node)
{
    if (is_due(s, &s->steps_to_agent, AGENT_STEPS)) {
        sim_check_shown(s, node); /* what is shown may be read from now on */
        sim_read_between(s, node);
    }
    return is_due(s, &s->steps_to_pause, PAUSE_STEPS) && stand_still(s, node);
}

/* ---- what leaves ---- */

static void answers_send(struct sim *s, uint32_t node, struct sim_replica *at)
{
    struct sim_node *n = &s->nodes[node];
    uint64_t now_late = PLANTED(CLOCK_READ_ONCE) ? n->group.now : n->now_late;
    struct shard_answer a;
    while (shard_answer_next(at->shard, &a)) {
        uint64_t value = 0;
        uint32_t status = a.status;
        if (a.judged && !replica_may_answer(&at->replica, now_late))
            status = RING_UNAVAILABLE;
        else if (a.record != NULL)
            value = sim_model_value(record_value(a.record), a.record->value_length);
        struct sim_event e = {
            .kind = EVENT_REPLY,
            .node = node,
            .client = a.origin.agent,
            .a = a.origin.generation | (uint64_t)status << 32,
            .b = a.lsn,
            .c = a.origin.operation == RING_GET ? value : a.session_slot,
            .number = a.number,
        };
        if (!sim_chance(s, s->loss_percent) || e.client >= SIM_CLIENTS)
            sim_schedule(s, 20000 + sim_below(s, 200000), e);
    }
}

static void message_send(struct sim *s, uint32_t from, const struct replica_out *out)
{
    static uint8_t bytes[MESSAGE_BYTES_MAX];
    const struct message *m = &out->message;
    struct sim_datagram d = {
        .from = from,
        .to = out->to,
        .bytes = bytes,
        .length = message_bytes(m),
        .log_bytes = m->kind == MESSAGE_APPEND ? m->length : 0,
        .offset = (uint64_t)(m->bytes - s->nodes[from].arena),
    };
    message_encode(m, bytes);
    if (m->kind == MESSAGE_ANNOUNCE)
        sim_write(s, from, out);
    sim_send(s, &d);
}

static void coordinator_ask(struct sim *s, uint32_t node, uint32_t k)
{
    const struct sim_node *n = &s->nodes[node];
    const struct replica_update *u = &n->shards[k].update;
    struct sim_event e = {.node = node, .c = k, .b = n->shards[k].replica.promised};
    if (u->activate != 0) {
        struct sim_event asked = e;
        asked.kind = EVENT_ACTIVATE;
        asked.a = u->activate;
        asked.b = n->incarnation;
        sim_schedule(s, 50000 + sim_below(s, 500000), asked);
    }
    if (u->ceiling != 0) {
        e.kind = EVENT_CEILING;
        e.a = u->ceiling;
        sim_schedule(s, 50000 + sim_below(s, 500000), e);
    }
    if (u->promote.incarnation != 0) {
        e.kind = EVENT_PROMOTE;
        e.node = u->promote.node;
        e.a = u->promote.incarnation;
        sim_schedule(s, 50000 + sim_below(s, 500000), e);
    }
}

/* As update_send of dataplane/poll_cluster.c: shown first, then sent.  False: the process stands still
 * amid it, and it is called again. */
static bool update_send(struct sim *s, uint32_t node, uint32_t k)
{
    struct sim_node *n = &s->nodes[node];
    struct sim_replica *at = &n->shards[k];
    struct replica_update *u = &at->update;
    board_show(&n->shown, &at->replica);
    while (at->sent < u->out_count) {
        message_send(s, node, &u->out[at->sent++]);
        if (between(s, node))
            return false;
    }
    at->sent = 0;
    coordinator_ask(s, node, k);
    if (u->disconnect)
        group_disconnected(&n->group, u->disconnect_node);
    replica_update_reset(u);
    return true;
}

/* ---- the steps: false, the process stands still amid one, and it is called again ---- */

static bool receive_end(struct sim *s, uint32_t node)
{
    uint32_t k = s->nodes[node].received;
    return k == SIM_SHARDS || update_send(s, node, k);
}

static bool requests(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    for (uint32_t i = 0; i < n->waiting_count; i++)
        sim_request_take(s, n, &n->waiting[i]);
    n->waiting_count = 0;
    return true;
}

/* One replica, as often as it has more to say. */
static bool decide_one(struct sim *s, uint32_t node, struct replica *r)
{
    struct sim_node *n = &s->nodes[node];
    uint32_t k = r->shard->number;
    bool more;
    do {
        if (!n->ticked) {
            replica_tick(r, n->group.now, &n->shards[k].update);
            n->more = n->shards[k].update.more;
        }
        n->ticked = true;
        more = n->more;
        if (!update_send(s, node, k))
            return false;
        n->ticked = false;
    } while (more);
    return true;
}

static bool decide(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    for (; n->at < n->group.ready_count; n->at++)
        if (!decide_one(s, node, n->group.busy[n->at]))
            return false;
    for (; n->rode < n->group.ready_count; n->rode++)
        if ((n->ticked || replica_rides(n->group.busy[n->rode])) &&
            !decide_one(s, node, n->group.busy[n->rode]))
            return false;
    sim_check_node(s, node);
    n->now_late = sim_clock(s, n);
    return true;
}

static bool answers(struct sim *s, uint32_t node)
{
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        answers_send(s, node, &s->nodes[node].shards[k]);
    return true;
}

static bool frames(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    struct pair_frame f;
    uint32_t to;
    uint8_t bytes[PAIR_FRAME_BYTES_MAX];
    bool changed = n->group.reads_changed;
    while (boards_frame(&n->shown, &f, &to, n->now_late)) {
        pair_frame_encode(&f, bytes);
        struct sim_datagram d = {
            .from = node, .to = to, .bytes = bytes, .length = pair_frame_bytes(&f)};
        sim_send(s, &d);
        /* Why more often there: what an echo says binds the time behind it. */
        if (between(s, node) ||
            (f.kind == PAIR_ECHO && is_due(s, &s->echoes_to_pause, PAUSE_ECHOES) &&
             stand_still(s, node)))
            return false;
    }
    /* Why also there: a right that has just begun stands on what voters promised last. */
    if (changed && is_due(s, &s->rights_to_pause, PAUSE_RIGHTS) && stand_still(s, node))
        return false;
    group_settle(&n->group);
    group_rest(&n->group);
    if (sim_chance(s, 5))
        (void)!group_tell(&n->group); /* as before it sleeps: what waited to ride goes alone */
    return true;
}

static bool upkeep(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    for (uint32_t k = 0; k < SIM_SHARDS; k++) {
        struct shard *shard = n->shards[k].shard;
        if (shard->pending_head == shard->pending_applied)
            (void)!shard_maintain(shard, &n->reclaim);
    }
    sim_node_sweep(s, n);
    sim_node_expire(s, n);
    return true;
}

/* In the order of poll_pass, each under the name that it has there. */
static const struct {
    const char *name;
    bool (*carry_out)(struct sim *s, uint32_t node);
} stages[] = {
    {"poll_cluster_receive", receive_end},
    {"poll_requests", requests},
    {"poll_commit", decide},
    {"poll_answers", answers},
    {"poll_cluster_flush", frames},
    {"poll_upkeep", upkeep},
};
_Static_assert(sizeof stages / sizeof stages[0] == SIM_STAGE_END, "an end behind the last of them");

/* ---- passes ---- */

static bool is_awake(const struct sim_node *n)
{
    return n->up && !n->frozen && !n->stalled;
}

static uint64_t pass_begin(struct sim *s, struct sim_node *n)
{
    uint64_t now = sim_clock(s, n);
    ASSERT(n->stage == SIM_STAGE_END);
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        n->shards[k].replica.clock_ns = sim_day(s, n);
    n->stage = 0;
    n->received = SIM_SHARDS;
    group_begin(&n->group, now);
    return now;
}

/* Its steps, until the process stands still. */
static void pass_step(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    while (n->stage < SIM_STAGE_END && !n->stalled) {
        if (!stages[n->stage].carry_out(s, node))
            return;
        n->stage++;
        n->at = 0;
        n->rode = 0;
        if (n->stage < SIM_STAGE_END)
            (void)between(s, node);
    }
}

/* What was asked for while it stood still behind the requests of its pass is for the next. */
static void pass_go_on(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    pass_step(s, node);
    while (n->stage == SIM_STAGE_END && n->waiting_count != 0) {
        (void)pass_begin(s, n);
        pass_step(s, node);
    }
    if (s->trace && n->stalled)
        printf("node=%u stands still at %s\n", node, stages[n->stage].name);
}

void sim_node_flush(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = &s->nodes[e->node];
    if (!n->up || n->incarnation != e->a)
        return;
    if (n->frozen) {
        struct sim_event later = *e;
        sim_schedule(s, NS_PER_MS, later);
        return;
    }
    n->stalled = false;
    pass_go_on(s, e->node);
}

void sim_node_tick(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    sim_schedule(s, TICK_NS, (struct sim_event){.kind = EVENT_TICK, .node = node});
    if (!is_awake(n))
        return;
    (void)pass_begin(s, n);
    pass_go_on(s, node);
}

/* Another start of a node: its connection for log writes is torn down, then what it could write to is
 * free. */
static void start_heard(struct sim_node *n, const struct member *m)
{
    if (m->incarnation <= n->starts[m->node])
        return;
    if (n->starts[m->node] != 0)
        group_disconnected(&n->group, m->node);
    n->starts[m->node] = m->incarnation;
}

static void receive(struct sim_node *n, const struct sim_event *e, uint64_t now)
{
    struct message m;
    struct pair_frame f;
    /* the network damages log bytes only: frames are authenticated */
    if (message_decode(&m, e->bytes, e->length) == 0) {
        struct replica *r = sim_node_replica(n, m.log);
        ASSERT(r != NULL);
        n->received = r->shard->number;
        start_heard(n, &m.from);
        (void)!replica_receive(r, &m, now, &n->shards[n->received].update);
    } else {
        int error = pair_frame_decode(&f, e->bytes, e->length);
        ASSERT(error == 0);
        start_heard(n, &f.from);
        (void)!group_receive(&n->group, &f, now);
    }
}

/* It waits in the socket. */
static void receive_later(struct sim *s, const struct sim_node *n, const struct sim_event *e)
{
    struct sim_event later = *e;
    later.bytes = malloc(e->length);
    ASSERT(later.bytes != NULL);
    memcpy(later.bytes, e->bytes, e->length);
    bool frozen = n->frozen || n->resumes <= s->time;
    sim_schedule(s, frozen ? 2 * NS_PER_MS : n->resumes - s->time, later);
}

void sim_node_receive(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = &s->nodes[e->node];
    if (n->up && !is_awake(n)) {
        receive_later(s, n, e);
        return;
    }
    sim_let_go(s, e);
    if (!n->up)
        return;
    uint64_t now = pass_begin(s, n);
    receive(n, e, now);
    (void)between(s, e->node);
    pass_go_on(s, e->node);
}

void sim_node_configure(struct sim *s, uint32_t node, uint32_t shard)
{
    struct sim_node *n = &s->nodes[node];
    if (!is_awake(n))
        return;
    struct configuration c = s->shards[shard].configuration;
    c.active = s->shards[shard].active.epoch == c.epoch;
    for (uint32_t i = 0; i < c.voter_count; i++)
        if (c.voters[i].node != node)
            start_heard(n, &c.voters[i]);
    uint64_t now = pass_begin(s, n);
    n->received = shard;
    replica_configure(&n->shards[shard].replica, &c, now, &n->shards[shard].update);
    (void)between(s, node);
    pass_go_on(s, node);
}

void sim_node_request(struct sim *s, const struct sim_event *e)
{
    struct sim_node *n = &s->nodes[e->node];
    if (!n->up || n->frozen || n->waiting_count == SIM_ASKERS)
        return;
    n->waiting[n->waiting_count++] = *e; /* it lies in the ring until the pass comes to it */
    if (n->stalled)
        return;
    (void)pass_begin(s, n);
    pass_go_on(s, e->node);
}
