/* What stands in place of a daemon's control thread and its lcores: it registers, asks that what it leads be
 * active when the voters of the shard can be reached, lets go, moves, retires - by the rules of
 * control/coordinator.h and coordinator_raft.h. */
#include "tests/sim/control_world.h"

#include "control/coordinator_members.h"
#include "control/ruling.h"
#include "dataplane/node.h"

#include <string.h>

#define REGISTER_NS (500 * NS_PER_MS)
#define ASK_MS 500u
#define HAND_OVER_NS NS_PER_S
#define PASS_ON_NS (3 * NS_PER_S)
#define LOOK_NS (100 * NS_PER_MS)
#define STOP_NS (700 * NS_PER_MS)

/* Since when an epoch is as it is. */
struct waited {
    uint64_t epoch, since_ns;
    bool was_active;
    uint32_t doublings;
};

struct thread {
    struct control_process *p;
    struct control_node *n;
    struct raft_node_config config;
    struct waited waited[CONTROL_SHARDS];
    uint64_t holds_ns; /* from then on it has what it needs to lead, by its clock */
    bool is_short;     /* a log comes near the ceiling */
};

static uint64_t clock_of(const struct thread *t)
{
    return control_clock_ns(t->n);
}

/* ---- the data plane, as far as there is one ---- */

static bool is_running(const struct control_node *n)
{
    return n->process != NULL && n->frozen_until_ns <= control_world->now_ns;
}

bool control_data_reaches(const struct control_node *from, const struct control_node *to)
{
    const struct control_world *w = control_world;
    return is_running(from) && is_running(to) && !w->cut_data[from - w->nodes][to - w->nodes];
}

static void evidence(void *context, struct health_report *report)
{
    struct control_node *n = context;
    uint64_t now = control_clock_ns(n);
    for (uint32_t i = 0; i < control_world->node_count; i++) {
        const struct control_node *other = &control_world->nodes[i];
        if (other == n)
            continue;
        if (control_data_reaches(other, n) && other->process->is_registered)
            n->heard_ns[i] = now;
        report->views[report->count++] = (struct health_view){
            .node = other->id,
            .silent_ms = n->heard_ns[i] != 0
                             ? (uint32_t)min_u64((now - n->heard_ns[i]) / NS_PER_MS, UINT32_MAX)
                             : HEALTH_NEVER_MS};
    }
}

static bool is_there(const struct thread *t, const struct member *m)
{
    for (uint32_t i = 0; i < control_world->node_count; i++) {
        const struct control_node *n = &control_world->nodes[i];
        if (n->id == m->node)
            return is_running(n) && n->process->start == m->incarnation &&
                   (n == t->n || (control_data_reaches(t->n, n) && control_data_reaches(n, t->n)));
    }
    return false;
}

/* Most of the epoch before are sealed (of survivors all), and most of this one hold what they held. */
static bool can_activate(const struct thread *t, const struct configuration *c)
{
    uint32_t voters = 0, before = 0;
    for (uint32_t i = 0; i < c->voter_count; i++)
        voters += is_there(t, &c->voters[i]);
    for (uint32_t i = 0; i < c->voter_before_count; i++)
        before += is_there(t, &c->voters_before[i]);
    uint32_t sealed = c->lossy ? c->voter_before_count : majority_of(c->voter_before_count);
    return voters >= majority_of(c->voter_count) &&
           (c->voter_before_count == 0 || before >= sealed);
}

/* As keeper.c: a log may go up to the ceiling of the state that is known here, which is on the node's own disk
 * before that, and comes near it sometimes.  Who leads an epoch that has been followed by a lossy one stays below that. */
static void grant(struct thread *t, uint32_t shard)
{
    struct control_world *w = control_world;
    const struct configuration *known = &t->p->state->shards[shard].configuration;
    const struct configuration *newest = &w->state->shards[shard].configuration;
    t->n->ceiling = max_u64(t->n->ceiling, t->p->state->lsn_ceiling);
    t->is_short = t->is_short || (!w->is_quiet && control_chance(2));
    w->granted[shard] = max_u64(w->granted[shard], t->p->state->lsn_ceiling);
    if (newest->lossy && newest->epoch > known->epoch &&
        newest->lsn_floor <= t->p->state->lsn_ceiling)
        control_break("an epoch that was given up is granted nothing more", "shard %x at node %u",
                      t->p->state->shards[shard].log, t->n->id);
}

/* ---- what is asked for ---- */

static int64_t ask(const struct thread *t, const struct coordinator_command *c)
{
    uint64_t applied = control_world->applied_count;
    control_trace("asks %s", coordinator_command_name(c->type));
    int64_t result = raft_node_ask(t->p->raft_node, c, ASK_MS);
    control_trace("is told %lld of %s", (long long)result, coordinator_command_name(c->type));
    control_check_told(c, applied, result);
    return result;
}

static void look(struct thread *t)
{
    struct coordinator_state *s = raft_node_take(t->p->raft_node);
    if (s == NULL)
        return;
    if (t->p->state != NULL && !coordinator_state_follows(s, t->p->state))
        control_break("what a node knows never goes back", "node %u", t->n->id);
    control_free(t->p->state);
    t->p->state = s;
}

static uint64_t start_of(const struct thread *t)
{
    for (uint32_t i = 0; t->p->state != NULL && i < t->p->state->node_count; i++)
        if (t->p->state->nodes[i].id == t->n->id)
            return t->p->state->nodes[i].start;
    return 0;
}

static void register_command(const struct thread *t, struct coordinator_command *c)
{
    *c = (struct coordinator_command){
        .type = COORDINATOR_REGISTER, .node = t->n->id, .start = t->p->start};
    c->entry.cluster = 7;
    c->entry.spaces = 9;
    c->entry.origin = t->p->start << NODE_LSN_PER_START_SHIFT;
    c->entry.lsn_ceiling = t->n->ceiling;
    c->entry.replicas = 3;
    c->entry.node_count = control_world->first_count;
    for (uint32_t i = 0; i < control_world->first_count; i++)
        c->entry.nodes[i] =
            (struct coordinator_entry_node){.id = control_world->nodes[i].id, .weight = 100};
    /* Once the cluster has begun, its list need not be that of the others. */
    if (t->p->node >= control_world->first_count)
        c->entry.nodes[c->entry.node_count++] =
            (struct coordinator_entry_node){.id = t->n->id, .weight = 100};
    c->entry.space_count = 1;
    c->entry.space[0] = (struct coordinator_space){CONTROL_SPACE, CONTROL_SHARDS};
}

/* Its directory is empty, and the cluster is not new. */
static void refused(struct control_node *n)
{
    const struct coordinator_state *s = control_world->state;
    control_count(CONTROL_AMNESIA);
    n->is_lost = n->store_lost != NULL;
    if (n->is_lost)
        return;
    /* It had none yet when the others began: people have to make the cluster anew, which holds nothing. */
    if (s == NULL || s->shard_count == 0)
        control_world->is_abandoned = true;
    /* One that was added, while nobody leads the log who could say so, is told the same, and starts again. */
    else if (n->start_registered != 0)
        control_break("who has lost nothing is not refused", "node %u", n->id);
}

/* It is told that it is no node any more. */
static bool is_removed(const struct thread *t)
{
    struct raft_node_shown shown;
    raft_node_shown(t->p->raft_node, &shown);
    if (!shown.is_removed)
        return false;
    control_count(CONTROL_NODES_ENDED);
    if (control_check_is_node(t->n))
        control_break("who is a node is not told otherwise", "node %u", t->n->id);
    t->n->is_out = true;
    return true;
}

/* As coordinator_raft_open does.  False: the start is refused, or the process is to end. */
static bool enter(struct thread *t)
{
    struct coordinator_command c;
    register_command(t, &c);
    while (start_of(t) != t->p->start) {
        struct raft_node_shown shown;
        raft_node_shown(t->p->raft_node, &shown);
        if (shown.is_lost) {
            refused(t->n);
            return false;
        }
        if (t->p->wants_stop || is_removed(t))
            return false;
        int64_t result = ask(t, &c);
        look(t);
        if (result == -ENOENT && !control_check_is_node(t->n))
            continue; /* it was removed meanwhile, and will be told */
        if (result < 0 && result != -ETIMEDOUT)
            control_break("a start is not refused", "node %u start %llu: %lld", t->n->id,
                          (unsigned long long)t->p->start, (long long)result);
        if (result < 0 && result != -ETIMEDOUT)
            return false;
    }
    t->p->is_registered = true;
    control_check_registered(t->p);
    return true;
}

static void wait_look(struct waited *w, const struct configuration *c, uint64_t now)
{
    if (w->epoch == c->epoch && w->was_active == c->active)
        return;
    w->doublings = c->active || w->was_active ? 0 : (uint32_t)min_u64(w->doublings + 1, 4);
    w->epoch = c->epoch;
    w->since_ns = now;
    w->was_active = c->active;
}

/* COORDINATOR_GIVE_UP: nothing of the kind. */
static enum coordinator_command_type wish(struct thread *t, uint32_t shard)
{
    const struct coordinator_shard *s = &t->p->state->shards[shard];
    const struct configuration *c = &s->configuration;
    bool leads = c->leader.node == t->n->id && c->leader.incarnation == t->p->start;
    uint64_t now = clock_of(t);
    wait_look(&t->waited[shard], c, now);
    uint64_t waited_ns = now - t->waited[shard].since_ns;
    if (leads && c->active)
        grant(t, shard);
    if (leads && !c->active && !ruling_is_lost(c) && now >= t->holds_ns && can_activate(t, c))
        return COORDINATOR_ACTIVATE;
    if (c->active && s->move != 0 && (leads || waited_ns >= HAND_OVER_NS))
        return COORDINATOR_LET_GO;
    if (!c->active && waited_ns >= PASS_ON_NS << t->waited[shard].doublings &&
        coordinator_state_may_pass_on(t->p->state, s))
        return COORDINATOR_PASS_ON;
    return COORDINATOR_GIVE_UP;
}

/* A learner that is to vote in a shard that this node leads, and is there; 0: none. */
static uint32_t learner_of(const struct thread *t, const struct coordinator_shard *s)
{
    const struct configuration *c = &s->configuration;
    const struct coordinator_some all = {.count = 0};
    uint32_t wanted[LIMIT_VOTERS];
    if (!c->active || s->move != 0 || c->leader.node != t->n->id ||
        c->leader.incarnation != t->p->start)
        return 0;
    uint32_t count = coordinator_members_wanted(t->p->state, s->log, &all, wanted);
    for (uint32_t i = 0; i < c->learner_count; i++)
        for (uint32_t k = 0; k < count; k++)
            if (wanted[k] == c->learners[i].node && is_there(t, &c->learners[i]))
                return wanted[k];
    return 0;
}

/* All shards of which one learner is to be a voter. */
static void promotion_make(const struct thread *t, struct coordinator_command *c,
                           struct coordinator_epoch *list)
{
    const struct coordinator_state *s = t->p->state;
    uint32_t learner = 0, count = 0;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        uint32_t here = learner_of(t, &s->shards[i]);
        learner = learner != 0 ? learner : here;
        if (here != 0 && here == learner)
            list[count++] = (struct coordinator_epoch){.log = s->shards[i].log,
                                                       .epoch = s->shards[i].configuration.epoch};
    }
    if (count == 0)
        return;
    c->type = COORDINATOR_PROMOTE;
    c->epochs.list = list;
    c->epochs.count = count;
    c->epochs.learner = learner;
}

/* As coordinator_raft.c: one command at a time. */
static void submit(struct thread *t)
{
    static const enum coordinator_command_type types[] = {COORDINATOR_ACTIVATE, COORDINATOR_LET_GO,
                                                          COORDINATOR_PASS_ON};
    const struct coordinator_state *s = t->p->state;
    struct coordinator_command c = {
        .type = COORDINATOR_GIVE_UP, .node = t->n->id, .start = t->p->start};
    enum coordinator_command_type wishes[CONTROL_SHARDS];
    struct coordinator_epoch list[CONTROL_SHARDS];
    uint32_t gone = 0;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        wishes[i] = wish(t, i);
        gone += ruling_is_gone(&s->shards[i].configuration);
    }
    for (uint32_t k = 0; k < 3 && c.type == COORDINATOR_GIVE_UP; k++) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < s->shard_count; i++)
            if (wishes[i] == types[k])
                list[count++] = (struct coordinator_epoch){
                    .log = s->shards[i].log, .epoch = s->shards[i].configuration.epoch};
        if (count == 0)
            continue;
        c.type = types[k];
        c.epochs.list = list;
        c.epochs.count = count;
    }
    if (c.type == COORDINATOR_GIVE_UP && gone == 0)
        promotion_make(t, &c, list);
    if (t->is_short) {
        c.type = COORDINATOR_CEILING;
        c.lsn_ceiling = s->lsn_ceiling;
        t->is_short = false;
    }
    if (c.type != COORDINATOR_GIVE_UP || gone != 0)
        /* Why the result does not matter: what is still wanted is asked for again. */
        (void)!raft_node_submit(t->p->raft_node, &c);
}

static void move(const struct thread *t)
{
    const struct coordinator_state *s = t->p->state;
    if (s->shard_count == 0)
        return;
    uint32_t first = (uint32_t)control_below(s->shard_count);
    const struct coordinator_command c = {
        .type = COORDINATOR_MOVE,
        .node = control_world->nodes[control_below(control_world->node_count)].id,
        .logs = {.first = s->shards[first].log,
                 .last = control_chance(50) ? s->shards[first].log : UINT32_MAX}};
    (void)ask(t, &c);
}

/* People have what is lost begin again with what is left, where they do not wait for more to be lost. */
static void recover(const struct thread *t)
{
    const struct coordinator_state *s = t->p->state;
    struct coordinator_command c = {.type = COORDINATOR_RECOVER,
                                    .node = t->n->id,
                                    .start = t->p->start,
                                    .recover = {.last = UINT32_MAX}};
    bool is_lost = false;
    for (uint32_t i = 0; i < s->shard_count; i++)
        is_lost = is_lost || ruling_is_lost(&s->shards[i].configuration);
    for (uint32_t i = 0; i < control_world->node_count; i++) {
        const struct control_node *n = &control_world->nodes[i];
        if (n == t->n || control_data_reaches(n, t->n))
            c.recover.up[c.recover.up_count++] = n->id;
    }
    if (control_chance(30))
        c.recover.from = c.recover.up[control_below(c.recover.up_count)];
    if (is_lost)
        (void)ask(t, &c);
}

/* ---- its life ---- */

static void config_make(struct thread *t)
{
    const struct control_world *w = control_world;
    t->config = (struct raft_node_config){.node = t->n->id,
                                          .start = t->p->start,
                                          .cluster = 7,
                                          .cluster_name = "flock",
                                          .directory = "control",
                                          .certificate_path = "",
                                          .key_path = "",
                                          .authority_path = "",
                                          .member_count = w->first_count,
                                          .lease_ns = CONTROL_LEASE_NS,
                                          .lease_max_ns = CONTROL_LEASE_NS,
                                          .silent_ns_max = CONTROL_LEASE_NS,
                                          .evidence = evidence,
                                          .context = t->n};
    for (uint32_t i = 0; i < w->first_count; i++)
        t->config.members[i] =
            (struct raft_node_member){.node = w->nodes[i].id, .is_voter = i < w->voter_count};
    /* Whoever adds a node writes down all that there are, itself included. */
    for (uint32_t i = w->first_count; t->n->is_added && i < w->node_count; i++)
        if (!w->nodes[i].is_out)
            t->config.members[t->config.member_count++] =
                (struct raft_node_member){.node = w->nodes[i].id, .is_voter = true};
}

/* What people ask for, at any node, until it is answered. */
static void change(const struct thread *t)
{
    struct control_world *w = control_world;
    const struct coordinator_node_asked wanted = w->wanted;
    struct coordinator_command c = {.type = COORDINATOR_NODE, .node = wanted.id, .change = wanted};
    if (wanted.id == 0)
        return;
    int64_t result = ask(t, &c);
    if (result != -ETIMEDOUT && result != -EAGAIN && w->wanted.id == wanted.id &&
        w->wanted.kind == wanted.kind)
        w->wanted.id = 0;
    if (result > 0 && wanted.kind == COORDINATOR_NODE_ADD)
        control_count(CONTROL_NODES_ADDED);
}

static void serve(struct thread *t)
{
    while (!t->p->wants_stop && !is_removed(t) && start_of(t) == t->p->start) {
        submit(t);
        if (control_chance(5))
            change(t);
        if (!control_world->is_quiet && control_chance(2))
            move(t);
        if (!control_world->is_quiet && control_chance(2))
            recover(t);
        if (!t->p->is_signalled)
            control_thread_sleep(t->p,
                                 control_chance(80) ? control_below(20 * NS_PER_MS) + 1 : LOOK_NS);
        t->p->is_signalled = false;
        look(t);
    }
}

/* SIGTERM: what it leads goes to others first, as daemon.c does. */
static void leave(struct thread *t)
{
    struct coordinator_command c = {
        .type = COORDINATOR_LEAVE, .node = t->n->id, .start = t->p->start};
    uint64_t until = clock_of(t) + STOP_NS;
    for (uint32_t i = 0; i < control_world->node_count; i++)
        if (&control_world->nodes[i] != t->n &&
            control_data_reaches(&control_world->nodes[i], t->n))
            c.others.nodes[c.others.count++] = control_world->nodes[i].id;
    if (c.others.count != 0)
        (void)ask(t, &c);
    c = (struct coordinator_command){
        .type = COORDINATOR_RETIRE, .node = t->n->id, .start = t->p->start};
    (void)ask(t, &c);
    look(t);
    while (clock_of(t) < until && coordinator_state_duties(t->p->state, t->n->id) != 0) {
        submit(t);
        control_thread_sleep(t->p, 10 * NS_PER_MS);
        look(t);
    }
}

void control_thread_run(void *process)
{
    struct thread t = {.p = process};
    t.n = &control_world->nodes[t.p->node];
    memset(t.n->heard_ns, 0, sizeof t.n->heard_ns);
    config_make(&t);
    /* Who has lost its memory needs a snapshot first, which takes a while. */
    t.holds_ns = clock_of(&t) + (control_chance(10) ? 5 * NS_PER_S : 0);
    int error = raft_node_open(&t.p->raft_node, &t.config, stderr);
    if (error != 0) {
        control_trace("cannot start: %d", error);
        return;
    }
    if (enter(&t)) {
        serve(&t);
        if (t.p->wants_stop && control_chance(80))
            leave(&t);
    }
    raft_node_close(t.p->raft_node);
}
