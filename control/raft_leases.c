#include "control/raft_leases.h"

#include "control/leader_lease.h"
#include "control/leader_lease_tally.h"
#include "engine/clock.h"
#include "engine/plant.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define FAIL_NS NS_PER_S /* a proposal that a node has failed is given up after this */
#define FAIL_AGAIN_NS (100 * NS_PER_MS) /* while a node that has failed still leads something */

#define QUESTIONS_OVER 16u /* in a lease, while one is over */

enum kind { ASK = 1, GRANT, HINT, QUESTION, BOUND };

struct ask {
    uint32_t kind, zero;
    uint64_t start, number;
    struct health_report evidence;
};

struct grant {
    uint32_t kind, zero;
    uint64_t start, number, duration_ns;
    uint64_t set; /* of voters, as the granter knows it */
};

/* Something is over: ask. */
struct hint {
    uint32_t kind, zero;
};

struct question {
    uint32_t kind, zero;
    uint64_t number;
};

struct bound {
    uint32_t kind, count;
    uint64_t number, index;
    struct leader_lease_over over[LIMIT_NODES];
};

union message {
    uint32_t kind;
    struct ask ask;
    struct grant grant;
    struct hint hint;
    struct question question;
    struct bound bound;
};

/* That a node has failed, on its way into the log. */
struct failing {
    struct raft_proposal proposal; /* its data is the leases */
    uint32_t node;                 /* 0: it is not under way */
    uint32_t about;                /* whom next_ns is about; 0: nobody yet */
    uint64_t next_ns;              /* not before */
    uint8_t bytes[256];
};

struct raft_leases {
    struct raft_leases_config config;
    struct leader_lease_holder holder;
    struct leader_lease_voter voter;  /* if is_voter */
    struct leader_lease_tally tally;  /* if leads */
    struct health health;             /* if is_voter */
    struct raft_roster_voters voters; /* that vote; of none nothing is asked */
    uint32_t node_count;              /* of the cluster, as health has them */
    uint32_t nodes[LIMIT_VOTERS];
    bool is_voter, leads, has_begun; /* the cluster has */
    uint64_t asked_ns, questioned_ns;
    uint32_t leader;  /* of raft */
    uint64_t applied; /* entries of the log, up to this index */
    struct failing failing[LIMIT_VOTERS];
};

static void tell(const struct raft_leases *l, uint32_t node, const void *message, size_t length)
{
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)message, .iov_len = length};
    /* Why the result does not matter: all of it is said again soon. */
    (void)!control_net_send(l->config.net, node, l->config.type, &piece, 1, NULL);
}

/* ---- voter ---- */

static bool is_node(const struct raft_leases *l, uint32_t node)
{
    if (PLANTED(REMOVED_NODE_COUNTED))
        return true;
    for (uint32_t i = 0; i < l->node_count; i++)
        if (l->nodes[i] == node)
            return true;
    return false;
}

/* But for what it says of nodes that we do not know of, or not any more. */
static void report_take(struct raft_leases *l, const struct health_report *report, uint64_t now)
{
    struct health_report known = {.from = report->from};
    for (uint32_t i = 0; i < report->count; i++)
        if (is_node(l, report->views[i].node))
            known.views[known.count++] = report->views[i];
    /* Why the result does not matter: a report that is not one proves nothing against anybody. */
    (void)!health_report(&l->health, &known, now);
}

static void ask_answer(struct raft_leases *l, uint32_t node, const struct ask *ask)
{
    uint64_t now = clock_boottime_ns();
    const struct leader_lease_ask asked = {
        .node = node, .start = ask->start, .number = ask->number};
    struct leader_lease_grant grant;
    if (!l->is_voter || ask->evidence.from != node || (l->has_begun && !is_node(l, node)))
        return;
    report_take(l, &ask->evidence, now);
    bool is_denied = health_is_denied(&l->health, node, now);
    if (leader_lease_ask(&l->voter, &asked, now, is_denied, &grant) != 0)
        return;
    if (node == l->config.self) {
        (void)!leader_lease_granted(&l->holder, &grant, now); /* our own, just asked for */
        return;
    }
    const struct grant told = {.kind = GRANT,
                               .start = grant.start,
                               .number = grant.number,
                               .duration_ns = grant.duration_ns,
                               .set = l->voters.set};
    tell(l, node, &told, sizeof told);
}

/* What binds this voter, for whoever asks. */
static size_t bound_make(const struct raft_leases *l, uint64_t number, struct bound *bound)
{
    *bound = (struct bound){.kind = BOUND, .number = number, .index = l->applied};
    bound->count = leader_lease_bound(&l->voter, clock_boottime_ns(), bound->over);
    return offsetof(struct bound, over) + bound->count * sizeof bound->over[0];
}

static void question_answer(struct raft_leases *l, uint32_t node, uint64_t number)
{
    struct bound bound;
    if (l->is_voter)
        tell(l, node, &bound, bound_make(l, number, &bound));
}

/* ---- raft's leader ---- */

static void bound_take(struct raft_leases *l, uint32_t voter, const struct bound *bound)
{
    const struct leader_lease_answer answer = {
        .voter = voter, .number = bound->number, .index = bound->index};
    /* Why the results do not matter: a statement that does not count is as if it was not made. */
    for (uint32_t i = 0; l->leads && i < bound->count; i++)
        (void)!leader_lease_tally_said(&l->tally, &answer, &bound->over[i]);
}

static void question_ask(struct raft_leases *l, uint64_t now)
{
    struct question q = {.kind = QUESTION, .number = leader_lease_tally_asked(&l->tally, now)};
    struct bound own;
    l->questioned_ns = now;
    for (uint32_t i = 0; i < l->voters.count; i++)
        if (l->voters.ids[i] != l->config.self)
            tell(l, l->voters.ids[i], &q, sizeof q);
    (void)bound_make(l, q.number, &own);
    bound_take(l, l->config.self, &own);
}

static void on_failed(struct raft_proposal *p, int status, int64_t result)
{
    struct failing *f = (struct failing *)(void *)p; /* its first member */
    (void)status;
    (void)result; /* raft_leases_applied says it, on every node */
    f->node = 0;
}

/* Its place; else one of a node that is gone, or of none.  NULL: all are under way. */
static struct failing *failing_of(struct raft_leases *l, uint32_t node)
{
    struct failing *free_one = NULL;
    for (uint32_t i = 0; i < LIMIT_VOTERS; i++) {
        struct failing *f = &l->failing[i];
        if (f->about == node)
            return f;
        if (f->node == 0 && (f->about == 0 || !is_node(l, f->about)))
            free_one = f;
    }
    if (free_one != NULL)
        *free_one = (struct failing){.about = node};
    return free_one;
}

static void fail(struct raft_leases *l, const struct coordinator_node *n,
                 const struct raft_leases_now *now)
{
    struct failing *f = failing_of(l, n->id);
    struct coordinator_command command = {
        .type = COORDINATOR_FAIL, .node = n->id, .start = n->start};
    if (f == NULL || f->node != 0 || now->now_ns < f->next_ns)
        return;
    for (uint32_t i = 0; i < now->state->node_count; i++) {
        const struct coordinator_node *other = &now->state->nodes[i];
        if (other->id != n->id && leader_lease_standing(&l->voter, other->id, other->start,
                                                        now->now_ns) == LEADER_LEASE_GRANTED)
            command.others.nodes[command.others.count++] = other->id;
    }
    size_t length = coordinator_command_bytes(&command);
    ASSERT(coordinator_command_fault(&command) == NULL && length <= sizeof f->bytes);
    coordinator_command_encode(&command, f->bytes);
    f->node = n->id;
    f->next_ns = now->now_ns + FAIL_AGAIN_NS;
    f->proposal = (struct raft_proposal){.bytes = f->bytes,
                                         .length = length,
                                         .deadline_ns = now->now_ns + FAIL_NS,
                                         .done = on_failed,
                                         .data = l};
    raft_proposals_add(l->config.proposals, &f->proposal);
}

/* It was decided before, when nobody could take over all that it leads. */
static bool is_left(const struct raft_leases *l, const struct coordinator_node *n,
                    const struct raft_leases_now *now)
{
    return leader_lease_standing(&l->voter, n->id, n->start, now->now_ns) == LEADER_LEASE_DECIDED &&
           coordinator_state_duties(now->state, n->id) != 0;
}

/* Why so often while a lease is over: a voter's word counts only behind the leader's first entry, which voters apply
 * a little after it. */
static uint64_t question_period_ns(const struct raft_leases *l, uint64_t now)
{
    struct leader_lease_over over[LIMIT_NODES];
    bool any = leader_lease_bound(&l->voter, now, over) != 0;
    return any ? l->config.lease_ns / QUESTIONS_OVER : l->config.lease_ns;
}

/* Why before it is due: it is called when something else goes to the same nodes, too. */
static uint64_t soonest_ns(uint64_t period_ns)
{
    return period_ns - period_ns / 4;
}

static void lead(struct raft_leases *l, const struct raft_leases_now *now)
{
    bool leads = now->index_first != 0 && l->is_voter;
    if (leads && !l->leads)
        leader_lease_tally_init(&l->tally, l->voters.ids, l->voters.count, now->index_first);
    /* Voters say when there is something to ask for; what they say may be lost. */
    if (leads && (!l->leads ||
                  now->now_ns - l->questioned_ns >= soonest_ns(question_period_ns(l, now->now_ns))))
        question_ask(l, now->now_ns);
    l->leads = leads;
    for (uint32_t i = 0; leads && now->state != NULL && i < now->state->node_count; i++) {
        const struct coordinator_node *n = &now->state->nodes[i];
        if (n->start != 0 && (leader_lease_tally_is_over(&l->tally, n->id, n->start, now->now_ns) ||
                              is_left(l, n, now)))
            fail(l, n, now);
    }
}

/* ---- every node ---- */

static void ask(struct raft_leases *l, const struct raft_leases_now *now)
{
    struct leader_lease_ask asked = leader_lease_asked(&l->holder, now->now_ns);
    struct ask message = {.kind = ASK, .start = asked.start, .number = asked.number};
    if (l->config.evidence != NULL)
        l->config.evidence(l->config.context, &message.evidence);
    message.evidence.from = l->config.self;
    l->asked_ns = now->now_ns;
    for (uint32_t i = 0; i < l->voters.count; i++)
        if (l->voters.ids[i] != l->config.self)
            tell(l, l->voters.ids[i], &message, sizeof message);
    ask_answer(l, l->config.self, &message);
}

static bool is_registered(const struct raft_leases *l, const struct coordinator_state *s)
{
    for (uint32_t i = 0; s != NULL && i < s->node_count; i++)
        if (s->nodes[i].id == l->config.self)
            return s->nodes[i].start == l->config.start;
    return false;
}

/* Whoever is no node of the state any more. */
static void voter_forget(struct raft_leases *l)
{
    for (uint32_t i = l->voter.count; l->has_begun && i-- != 0;)
        if (!is_node(l, l->voter.entries[i].node))
            leader_lease_forget(&l->voter, l->voter.entries[i].node);
}

static void voter_step(struct raft_leases *l, const struct raft_leases_now *now)
{
    struct leader_lease_over over[LIMIT_NODES];
    const struct hint hint = {.kind = HINT};
    if (!l->is_voter)
        return;
    voter_forget(l);
    /* Why the result does not matter: a cluster has fewer nodes than there is room for. */
    for (uint32_t i = 0; now->state != NULL && i < now->state->node_count; i++)
        if (now->state->nodes[i].start != 0)
            (void)!leader_lease_know(&l->voter, now->state->nodes[i].id, now->state->nodes[i].start,
                                     now->now_ns);
    if (now->now_ns < leader_lease_next(&l->voter) ||
        leader_lease_step(&l->voter, now->now_ns, over) == 0)
        return;
    if (l->leads)
        question_ask(l, now->now_ns);
    else if (l->leader != 0)
        tell(l, l->leader, &hint, sizeof hint);
}

/* ---- who votes, and who is there ---- */

static bool is_same(const struct raft_roster_voters *a, const struct raft_roster_voters *b)
{
    return a->count == b->count && memcmp(a->ids, b->ids, a->count * sizeof a->ids[0]) == 0;
}

static void voters_follow(struct raft_leases *l, const struct raft_roster_voters *voters,
                          uint64_t now)
{
    bool was_voter = l->is_voter, is_voter = false;
    if (voters == NULL || voters->count == 0 || is_same(voters, &l->voters))
        return;
    for (uint32_t i = 0; i < voters->count; i++)
        is_voter = is_voter || voters->ids[i] == l->config.self;
    l->voters = *voters;
    l->is_voter = is_voter;
    leader_lease_holder_voters(&l->holder, voters->ids, voters->count);
    if (l->leads)
        leader_lease_tally_voters(&l->tally, voters->ids, voters->count);
    if (l->is_voter && !was_voter)
        leader_lease_voter_begin(&l->voter);
    if (was_voter && !l->is_voter)
        leader_lease_voter_end(&l->voter, now);
    l->asked_ns = 0; /* those who vote now are asked at once */
}

static void health_begin(struct raft_leases *l)
{
    struct health_config health = {.node_count = l->node_count,
                                   .silent_ms_max = (uint32_t)(l->config.silent_ns_max / NS_PER_MS),
                                   .report_ns_max = l->config.lease_ns};
    memcpy(health.nodes, l->nodes, sizeof health.nodes);
    health_init(&l->health, &health);
}

/* Nodes that have registered.  Why nobody is denied for a while when they change: reports come again. */
static void nodes_follow(struct raft_leases *l, const struct coordinator_state *s)
{
    uint32_t count = 0, nodes[LIMIT_VOTERS] = {0};
    if (s == NULL || s->shard_count == 0)
        return;
    for (uint32_t i = 0; i < s->node_count; i++)
        if (s->nodes[i].start != 0)
            nodes[count++] = s->nodes[i].id;
    bool is_other = count != l->node_count || memcmp(nodes, l->nodes, sizeof nodes) != 0;
    l->has_begun = true;
    if (!is_other || count < 2)
        return;
    l->node_count = count;
    memcpy(l->nodes, nodes, sizeof nodes);
    health_begin(l);
}

uint64_t raft_leases_step(struct raft_leases *l, const struct raft_leases_now *now)
{
    uint64_t period = l->config.lease_ns / RAFT_LEASES_ASKS;
    l->leader = now->leader;
    nodes_follow(l, now->state);
    voters_follow(l, now->voters, now->now_ns);
    if (is_registered(l, now->state) && now->now_ns - l->asked_ns >= soonest_ns(period))
        ask(l, now);
    voter_step(l, now);
    lead(l, now);
    uint64_t next = (l->asked_ns + period > now->now_ns ? l->asked_ns : now->now_ns) + period;
    if (l->leads)
        next = min_u64(next, l->questioned_ns + question_period_ns(l, now->now_ns));
    return l->is_voter ? min_u64(next, leader_lease_next(&l->voter)) : next;
}

static void grant_take(struct raft_leases *l, uint32_t voter, const struct grant *g)
{
    const struct leader_lease_grant grant = {
        .voter = voter, .start = g->start, .number = g->number, .duration_ns = g->duration_ns};
    /* Why the result does not matter: a grant that does not count is as if it was not given. */
    if (g->set == l->voters.set || PLANTED(LEASE_OF_OLD_VOTERS))
        (void)!leader_lease_granted(&l->holder, &grant, clock_boottime_ns());
}

static bool is_whole(const union message *m, size_t length)
{
    switch (m->kind) {
    case ASK:
        return length == sizeof m->ask && m->ask.evidence.count <= LIMIT_VOTERS;
    case GRANT:
        return length == sizeof m->grant;
    case HINT:
        return length == sizeof m->hint;
    case QUESTION:
        return length == sizeof m->question;
    case BOUND:
        return length >= offsetof(struct bound, over) && m->bound.count <= LIMIT_NODES &&
               length ==
                   offsetof(struct bound, over) + m->bound.count * sizeof(struct leader_lease_over);
    default:
        return false;
    }
}

void raft_leases_received(struct raft_leases *l, uint32_t node, const uint8_t *bytes, size_t length)
{
    union message m = {.kind = 0};
    if (length < sizeof m.kind || length > sizeof m)
        return;
    memcpy(&m, bytes, length);
    if (!is_whole(&m, length))
        return;
    switch (m.kind) {
    case ASK:
        ask_answer(l, node, &m.ask);
        return;
    case GRANT:
        grant_take(l, node, &m.grant);
        return;
    case HINT:
        if (l->leads)
            question_ask(l, clock_boottime_ns());
        return;
    case QUESTION:
        question_answer(l, node, m.question.number);
        return;
    default:
        bound_take(l, node, &m.bound);
        return;
    }
}

void raft_leases_applied(struct raft_leases *l, const struct coordinator_command *command,
                         uint64_t index)
{
    if (command->type != COORDINATOR_FAIL)
        return;
    /* The tally first: what voters said before does not count any more. */
    if (l->leads)
        leader_lease_tally_decided(&l->tally, command->node, command->start, index);
    if (l->is_voter)
        leader_lease_decided(&l->voter, command->node, command->start, clock_boottime_ns());
}

void raft_leases_progress(struct raft_leases *l, uint64_t index)
{
    l->applied = index;
}

uint64_t raft_leases_until_ns(const struct raft_leases *l)
{
    return leader_lease_until(&l->holder);
}

/* ---- open and close ---- */

int raft_leases_open(struct raft_leases **leases, const struct raft_leases_config *config)
{
    struct raft_leases *l = calloc(1, sizeof *l);
    if (l == NULL)
        return -ENOMEM;
    l->config = *config;
    /* Why ourselves: who votes comes with the first step, before anything is asked. */
    leader_lease_holder_init(&l->holder, config->self, config->start, &config->self, 1);
    const struct leader_lease_voter_config voter = {.voter = config->self,
                                                    .duration_ns = config->lease_ns,
                                                    .duration_max_ns = config->lease_max_ns};
    leader_lease_voter_init(&l->voter, &voter, clock_boottime_ns());
    l->node_count = config->node_count;
    memcpy(l->nodes, config->nodes, sizeof l->nodes);
    health_begin(l);
    *leases = l;
    return 0;
}

void raft_leases_close(struct raft_leases *l)
{
    free(l);
}
