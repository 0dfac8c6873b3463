/* What must hold in the scenario `control`, looked at as it happens:
 *   one log       every node applies the same commands at the same indexes, and has the same state behind each
 *   told          what an asker was told is what the log says, and it says so for ever
 *   epochs        only grow; each has one leader, which alone makes it active, once
 *   starts        of a node only grow; none counts for two processes
 *   ceilings      what begins again begins above every LSN that was granted
 *   leases        nobody believes in a lease while most voters are bound by "over" (real time)
 *   quiet         when faults are over, every shard that can be led is, by who is there */
#include "tests/sim/control_seams.h"
#include "tests/sim/control_world.h"

#include "control/control_net.h"
#include "control/coordinator_text.h"
#include "control/ruling.h"
#include "engine/hash.h"

/* ---- one log ---- */

static uint64_t command_hash(const struct coordinator_command *c)
{
    size_t bytes = coordinator_command_bytes(c);
    uint8_t *encoded = control_malloc(bytes);
    coordinator_command_encode(c, encoded);
    uint64_t hash = hash_key(encoded, bytes);
    control_free(encoded);
    return hash;
}

static uint64_t state_hash(const struct coordinator_state *s)
{
    char *text;
    size_t length;
    if (s == NULL)
        return 0;
    ASSERT(coordinator_print(s, &text, &length) == 0);
    uint64_t hash = hash_key(text, length);
    control_free(text);
    return hash;
}

static struct coordinator_state *state_copy(const struct coordinator_state *s)
{
    if (s == NULL)
        return NULL;
    struct coordinator_state *copy = malloc(coordinator_state_bytes(s->shard_count));
    ASSERT(copy != NULL);
    memcpy(copy, s, coordinator_state_bytes(s->shard_count));
    return copy;
}

/* Commands up to that index. */
static uint32_t applied_before(uint64_t index)
{
    const struct control_world *w = control_world;
    uint32_t low = 0, high = w->applied_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (w->applied[middle].index <= index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- epochs, ceilings ---- */

/* Above what anybody may have led it up to: removed since, no voter for long, or cut off and leading on. */
static void lossy_check(const struct coordinator_shard *now)
{
    const struct configuration *c = &now->configuration;
    uint64_t granted = control_world->granted[now->log & (CONTROL_SHARDS - 1)];
    control_count(c->voter_before_count == 0 ? CONTROL_GIVEN_UP : CONTROL_RECOVERED);
    if (c->lsn_floor <= granted)
        control_break("what begins again begins above what was granted",
                      "shard %x floor %llx, granted %llx", now->log,
                      (unsigned long long)c->lsn_floor, (unsigned long long)granted);
}

static void shard_check(const struct coordinator_shard *before, const struct coordinator_shard *now,
                        const struct coordinator_command *c)
{
    const struct configuration *a = &before->configuration, *b = &now->configuration;
    if (b->epoch < a->epoch || (b->epoch == a->epoch && !member_equal(&a->leader, &b->leader)))
        control_break("an epoch has one leader", "shard %x epoch %llu", now->log,
                      (unsigned long long)b->epoch);
    if (b->epoch == a->epoch && a->active && !b->active)
        control_break("an active epoch stays so", "shard %x epoch %llu", now->log,
                      (unsigned long long)b->epoch);
    if (b->epoch != a->epoch && b->active)
        control_break("an epoch begins pending", "shard %x epoch %llu", now->log,
                      (unsigned long long)b->epoch);
    if (b->lsn_floor != a->lsn_floor && b->lossy)
        lossy_check(now);
    if (!ruling_is_lost(a) && ruling_is_lost(b))
        control_count(CONTROL_LOST);
    if (b->epoch != a->epoch || b->active == a->active)
        return;
    control_count(CONTROL_ACTIVATED);
    bool is_asked = false;
    for (uint32_t i = 0; c->type == COORDINATOR_ACTIVATE && i < c->epochs.count; i++)
        is_asked =
            is_asked || (c->epochs.list[i].log == now->log && c->epochs.list[i].epoch == b->epoch);
    if (!is_asked || c->node != b->leader.node || c->start != b->leader.incarnation)
        control_break("an epoch is made active by its leader", "shard %x epoch %llu by node %u",
                      now->log, (unsigned long long)b->epoch, c->node);
}

static void states_check(const struct coordinator_state *before,
                         const struct coordinator_state *now, const struct coordinator_command *c)
{
    if (before == NULL)
        return;
    if (!coordinator_state_follows(now, before))
        control_break("a state goes on from the one before", "revision %llu",
                      (unsigned long long)now->revision);
    for (uint32_t i = 0; before->shard_count != 0 && i < now->shard_count; i++)
        shard_check(&before->shards[i], &now->shards[i], c);
    const char *fault = coordinator_state_fault(now);
    if (fault != NULL)
        control_break("a state is one that can be", "%s", fault);
}

/* ---- what commands did ---- */

static bool is_late_activate(const struct coordinator_state *s, const struct coordinator_command *c)
{
    for (uint32_t i = 0; c->type == COORDINATOR_ACTIVATE && i < c->epochs.count; i++) {
        const struct coordinator_shard *shard =
            s != NULL ? coordinator_state_find(s, c->epochs.list[i].log) : NULL;
        if (shard != NULL && shard->configuration.epoch > c->epochs.list[i].epoch)
            return true;
    }
    return false;
}

static void failed_count(const struct coordinator_command *c)
{
    control_count(CONTROL_FAILED);
    for (uint32_t i = 0; i < control_world->node_count; i++) {
        const struct control_node *n = &control_world->nodes[i];
        if (n->id == c->node && n->process != NULL && n->process->start == c->start)
            control_count(CONTROL_FAILED_ALIVE);
    }
}

static void command_count(const struct coordinator_command *c, int64_t result)
{
    static const enum control_happening kinds[] = {
        [COORDINATOR_REGISTER] = CONTROL_REGISTERED, [COORDINATOR_LET_GO] = CONTROL_LET_GO,
        [COORDINATOR_PASS_ON] = CONTROL_PASSED_ON,   [COORDINATOR_MOVE] = CONTROL_MOVED,
        [COORDINATOR_LEAVE] = CONTROL_LEFT,          [COORDINATOR_RETIRE] = CONTROL_RETIRED,
        [COORDINATOR_PROMOTE] = CONTROL_PROMOTED,    [COORDINATOR_CEILING] = CONTROL_RAISED};
    control_count(result > 0 ? CONTROL_COMMANDS : CONTROL_REFUSED);
    if (result <= 0)
        return;
    if (c->type == COORDINATOR_FAIL)
        failed_count(c);
    else if (c->type < sizeof kinds / sizeof kinds[0] && kinds[c->type] != 0)
        control_count(kinds[c->type]);
}

/* The first node that gets so far. */
static void applied_add(const struct control_applied *a, const struct coordinator_state *state,
                        const struct coordinator_command *c)
{
    struct control_world *w = control_world;
    if (is_late_activate(w->state, c))
        control_count(CONTROL_ACTIVATE_LATE);
    if (w->applied_count == w->applied_room) {
        w->applied_room = w->applied_room != 0 ? 2 * w->applied_room : 256;
        w->applied = realloc(w->applied, w->applied_room * sizeof w->applied[0]);
        ASSERT(w->applied != NULL);
    }
    w->applied[w->applied_count++] = *a;
    control_trace("applies %llu: %s of node %u start %llu: %lld", (unsigned long long)a->index,
                  coordinator_command_name(c->type), c->node, (unsigned long long)c->start,
                  (long long)a->result);
    command_count(c, a->result);
    if (a->result <= 0)
        return;
    if (state == NULL)
        return;
    states_check(w->state, state, c);
    for (uint32_t i = 0; w->state != NULL && i < w->state->node_count; i++)
        if (coordinator_state_node(state, w->state->nodes[i].id) == NULL)
            control_count(CONTROL_NODES_GONE);
    free(w->state);
    w->state = state_copy(state);
}

int64_t seam_apply(struct coordinator_state **state, const struct coordinator_command *c)
{
    struct control_process *p = control_world->current;
    int64_t result = coordinator_command_apply(state, c);
    const struct control_applied a = {.index = raft_last_applied(p->raft) + 1,
                                      .command = command_hash(c),
                                      .state = state_hash(*state),
                                      .result = result};
    uint32_t ordinal = applied_before(a.index);
    bool is_known = ordinal != 0 && control_world->applied[ordinal - 1].index == a.index;
    if (!is_known && ordinal != control_world->applied_count)
        control_break("nodes apply the same commands", "node %u has one at %llu, where none was",
                      control_world->nodes[p->node].id, (unsigned long long)a.index);
    if (!is_known)
        applied_add(&a, *state, c);
    const struct control_applied *known = &control_world->applied[applied_before(a.index) - 1];
    if (known->command != a.command || known->state != a.state || known->result != a.result)
        control_break("nodes apply the same commands", "node %u another one at %llu: %s",
                      control_world->nodes[p->node].id, (unsigned long long)a.index,
                      coordinator_command_name(c->type));
    return result;
}

/* ---- leases ---- */

static uint32_t bound_by(const struct leader_lease_voter *v, const struct control_node *voter,
                         const struct control_process *of)
{
    uint64_t now = control_clock_ns(voter);
    for (uint32_t i = 0; i < v->count; i++) {
        const struct leader_lease_entry *e = &v->entries[i];
        if (e->node == control_world->nodes[of->node].id)
            return e->start == of->start && e->standing == LEADER_LEASE_OVER && now < e->until_ns;
    }
    return 0;
}

bool seam_is_over(bool is_over, uint32_t node, uint64_t start)
{
    for (uint32_t i = 0; is_over && i < control_world->node_count; i++) {
        const struct control_node *n = &control_world->nodes[i];
        const struct control_process *p = n->process;
        if (n->id == node && p != NULL && p->start == start && p->holder != NULL &&
            control_clock_ns(n) < leader_lease_until(p->holder))
            control_break("who is found to be over has no lease", "node %u", node);
    }
    return is_over;
}

static void lease_check(const struct control_process *p)
{
    const struct control_world *w = control_world;
    const struct leader_lease_holder *h = p->holder;
    uint32_t bound = 0;
    /* Why not a lease that voters of before gave: what these say of it, the next check looks at. */
    if (h == NULL || leader_lease_until(h) == h->until_ns)
        return;
    for (uint32_t i = 0; i < h->voter_count; i++) {
        const struct control_node *n = &w->nodes[h->voters[i] - 1];
        bool is_bound = n->process != NULL && n->process->voter != NULL &&
                        bound_by(n->process->voter, n, p) != 0;
        bound += is_bound || bound_by(n->bound, n, p) != 0;
    }
    if (bound <= h->voter_count / 2)
        return;
    control_count(CONTROL_LEASES_OVER);
    if (control_clock_ns(&w->nodes[p->node]) < leader_lease_until(p->holder))
        control_break("no lease is held that most voters say is over", "node %u, by %u of %u",
                      w->nodes[p->node].id, bound, h->voter_count);
}

/* ---- after each turn ---- */

static void log_check(struct control_process *p)
{
    const struct control_world *w = control_world;
    uint64_t index = raft_last_applied(p->raft);
    if (index == p->index)
        return;
    p->index = index;
    uint32_t count = applied_before(index);
    uint64_t state = 0;
    for (uint32_t i = count; i != 0 && state == 0; i--)
        state = w->applied[i - 1].state;
    if (state_hash(p->machine->state) != state)
        control_break("nodes have the same state", "node %u at %llu", w->nodes[p->node].id,
                      (unsigned long long)index);
}

void control_check_turn(struct control_process *p)
{
    const struct control_world *w = control_world;
    if (p->raft != NULL && p->machine != NULL && p->disk != NULL) {
        log_check(p);
        control_check_configuration(p);
    }
    if (p->voter == NULL) {
        lease_check(p);
        return;
    }
    for (uint32_t i = 0; i < w->node_count; i++)
        if (w->nodes[i].process != NULL)
            lease_check(w->nodes[i].process);
}

/* ---- what processes are told ---- */

void control_check_registered(struct control_process *p)
{
    struct control_node *n = &control_world->nodes[p->node];
    if (n->start_registered == p->start && n->uid_registered != p->uid)
        control_break("a start is of one process", "node %u start %llu", n->id,
                      (unsigned long long)p->start);
    if (p->start < n->start_registered)
        control_break("starts of a node grow", "node %u", n->id);
    /* What it lost is not missed any more: nothing had been promised. */
    control_store_free(n->store_lost);
    n->store_lost = NULL;
    if (n->start_registered == 0 && p->node >= control_world->first_count)
        control_count(CONTROL_NODES_JOINED);
    n->start_registered = p->start;
    n->uid_registered = p->uid;
}

void control_check_told(const struct coordinator_command *c, uint64_t applied_count, int64_t result)
{
    const struct control_world *w = control_world;
    if (result == -ETIMEDOUT || result == -EBADMSG) {
        control_count(CONTROL_TOLD_UNKNOWN);
        return;
    }
    uint64_t hash = command_hash(c);
    control_count(CONTROL_TOLD);
    for (uint32_t i = (uint32_t)applied_count; i < w->applied_count; i++)
        if (w->applied[i].command == hash && w->applied[i].result == result)
            return;
    control_break("what is told was applied", "%s of node %u: %lld",
                  coordinator_command_name(c->type), c->node, (long long)result);
}

/* ---- when all is quiet ---- */

static const char *node_unwell(const struct control_node *n)
{
    const struct control_process *p = n->process;
    if (n->is_out)
        return p == NULL ? NULL : "a node that was removed does not end";
    if (!control_check_is_node(
            n)) /* of one whose directory is gone nobody knows that it was a node */
        return n->start_registered == 0 || n->store_lost != NULL
                   ? NULL
                   : "a node is not told that it was removed";
    if (p == NULL || !p->is_registered || p->raft == NULL || p->machine->state == NULL)
        return "a node is not back";
    if (n->frozen_until_ns > control_world->now_ns)
        return "a node stands still";
    if (p->wants_stop)
        return "a node is about to end";
    if (p->machine->state->revision != control_world->state->revision)
        return "a node does not follow";
    if (control_clock_ns(n) >= leader_lease_until(p->holder))
        return "a node has no lease";
    return NULL;
}

static const char *shard_unwell(const struct coordinator_shard *s)
{
    const struct control_world *w = control_world;
    const struct configuration *c = &s->configuration;
    if (ruling_is_lost(c))
        return ruling_is_gone(c) ? "nobody gives a shard up" : NULL;
    if (!c->active)
        return "a shard has no active leader";
    if (s->move != 0)
        return "a move has no end";
    for (uint32_t i = 0; i < w->node_count; i++)
        if (w->nodes[i].id == c->leader.node)
            return w->nodes[i].process->start == c->leader.incarnation
                       ? NULL
                       : "a shard is led by who is gone";
    return "a shard is led by nobody";
}

const char *control_check_unwell(void)
{
    const struct control_world *w = control_world;
    if (w->state == NULL || w->state->shard_count == 0)
        return "the cluster does not begin";
    for (uint32_t i = 0; i < w->node_count; i++) {
        const char *unwell = node_unwell(&w->nodes[i]);
        if (unwell != NULL)
            return unwell;
    }
    const char *members = control_members_unwell();
    if (members != NULL)
        return members;
    for (uint32_t i = 0; i < w->state->shard_count; i++) {
        const char *unwell = shard_unwell(&w->state->shards[i]);
        if (unwell != NULL)
            return unwell;
    }
    return NULL;
}

void control_check_describe(void)
{
    for (uint32_t i = 0; i < control_world->node_count; i++) {
        const struct control_node *n = &control_world->nodes[i];
        struct raft *r = n->process != NULL ? n->process->raft : NULL;
        for (unsigned k = 0; r != NULL && k < r->configuration.n; k++)
            control_trace(
                "node %u: in its configuration %llu has role %d, %s", n->id,
                r->configuration.servers[k].id, r->configuration.servers[k].role,
                control_net_is_up(n->process->net, (uint32_t)r->configuration.servers[k].id)
                    ? "link"
                    : "no link");
        if (r != NULL)
            control_trace("node %u: state %d, term %llu, voted for %llu, last %llu, applied %llu",
                          n->id, raft_state(r), r->current_term, r->voted_for, raft_last_index(r),
                          raft_last_applied(r));
    }
}

bool control_check_is_well(void)
{
    return control_check_unwell() == NULL;
}
