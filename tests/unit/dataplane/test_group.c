/* What the shards of one lcore share: lists too long for a frame, rights that many shards have in
 * common, exclusions, peers that come back as others.  Three nodes with forty shards whose logs are
 * never touched; frames go by hand, encoded and decoded. */
#include "dataplane/group.h"
#include "dataplane/lease.h"
#include "dataplane/replica_lease.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define SHARDS 40u
#define NODES 3u
#define LOG_FIRST 100u
#define LEASE UINT64_C(1000)
#define HEARTBEAT UINT64_C(100)

static const struct replica_times times = {.lease = LEASE, .heartbeat = HEARTBEAT, .retry = 40};

struct node {
    struct group group;
    struct pair pairs[NODES - 1];
    uint64_t memory[NODES - 1][SHARDS * (PAIR_CHANGES_PER_SHARD + 1) * 3];
    struct shard *shards; /* SHARDS of them */
    struct replica *replicas;
    struct replica *all[SHARDS], *busy[SHARDS];
};

struct world {
    struct node nodes[NODES];
    uint64_t now;
};

static struct replica *find(void *context, uint32_t log)
{
    struct node *n = context;
    return log - LOG_FIRST < SHARDS ? n->all[log - LOG_FIRST] : NULL;
}

static void node_open(struct world *w, uint32_t id, uint64_t incarnation)
{
    struct node *n = &w->nodes[id];
    const struct member self = {.node = id, .incarnation = incarnation};
    n->shards = n->shards != NULL ? n->shards : calloc(SHARDS, sizeof n->shards[0]);
    n->replicas = n->replicas != NULL ? n->replicas : calloc(SHARDS, sizeof n->replicas[0]);
    CU_ASSERT_FATAL(n->shards != NULL && n->replicas != NULL);
    group_init(&n->group, &self, &times);
    n->group.find = find;
    n->group.context = n;
    n->group.pairs = n->pairs;
    n->group.replicas = n->all;
    n->group.busy = n->busy;
    n->group.replica_count = SHARDS;
    for (uint32_t i = 0; i < NODES; i++)
        if (i != id) {
            uint32_t at = n->group.pair_count++;
            pair_init(&n->pairs[at], i, SHARDS, n->memory[at]);
        }
    for (uint32_t i = 0; i < SHARDS; i++) {
        n->shards[i].log.number = LOG_FIRST + i;
        replica_init(&n->replicas[i], &n->shards[i], &self, &times);
        n->replicas[i].group = &n->group;
        n->all[i] = &n->replicas[i];
    }
}

/* All that anybody has to say arrives, and what that leads to; not at those who are deaf. */
static void exchange(struct world *w, uint32_t deaf)
{
    bool any = true;
    for (uint32_t i = 0; i < NODES; i++)
        group_begin(&w->nodes[i].group, w->now);
    while (any) {
        any = false;
        for (uint32_t i = 0; i < NODES; i++) {
            struct pair_frame f, back;
            uint8_t bytes[PAIR_FRAME_BYTES_MAX];
            uint32_t to;
            while (group_frame(&w->nodes[i].group, &f, &to, w->now)) {
                any = true;
                if ((deaf & 1u << to) != 0)
                    continue;
                pair_frame_encode(&f, bytes);
                CU_ASSERT_EQUAL_FATAL(pair_frame_decode(&back, bytes, pair_frame_bytes(&f)), 0);
                (void)!group_receive(&w->nodes[to].group, &back, w->now);
            }
        }
    }
}

static void world_open(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->now = 10000;
    for (uint32_t i = 0; i < NODES; i++)
        node_open(w, i, i + 1);
    exchange(w, 0);
    exchange(w, 0);
}

static void world_close(struct world *w)
{
    for (uint32_t i = 0; i < NODES; i++) {
        free(w->nodes[i].shards);
        free(w->nodes[i].replicas);
    }
}

/* Node 0 leads this shard in this epoch, established, with all nodes of the mask as voters. */
static struct replica *lead(struct world *w, uint32_t shard, uint64_t epoch, uint32_t mask)
{
    struct replica *r = &w->nodes[0].replicas[shard];
    struct configuration *c = &r->configuration;
    replica_promise(r, epoch, &r->self);
    r->role = REPLICA_LEADING;
    *c = (struct configuration){.epoch = epoch, .active = true, .leader = r->self};
    memset(r->peers, 0, sizeof r->peers);
    for (uint32_t i = 0; i < NODES; i++)
        if ((mask & 1u << i) != 0) {
            struct member m = w->nodes[i].group.self;
            r->peers[c->voter_count].id = m;
            c->voters[c->voter_count++] = m;
        }
    commit_init(&r->commit, epoch, c->voter_count, c->voter_count);
    replica_lease_lead(r);
    return r;
}

static bool may_answer(const struct world *w, uint32_t shard)
{
    return replica_may_answer(&w->nodes[0].replicas[shard], w->now);
}

static struct pair *pair_of(struct world *w, uint32_t node, uint32_t with)
{
    return group_pair(&w->nodes[node].group, with);
}

/* ---- lists ---- */

static void a_list_longer_than_a_frame_is_promised_whole(void)
{
    static struct world w;
    world_open(&w);
    for (uint32_t i = 0; i < SHARDS; i++)
        lead(&w, i, 1, 7);
    struct pair_frame f;
    uint32_t to;
    w.now += HEARTBEAT;
    group_begin(&w.nodes[0].group, w.now);
    CU_ASSERT_FATAL(group_frame(&w.nodes[0].group, &f, &to, w.now) && to == 1);
    CU_ASSERT_EQUAL(f.count, PAIR_ITEMS);
    CU_ASSERT_FALSE(w.nodes[1].group.reads_changed);
    CU_ASSERT_EQUAL(group_receive(&w.nodes[1].group, &f, w.now), 0);
    CU_ASSERT(w.nodes[1].group.reads_changed); /* boards go by the list, too */
    CU_ASSERT_FATAL(group_frame(&w.nodes[1].group, &f, &to, w.now) && to == 0);
    CU_ASSERT(f.kind == PAIR_ECHO && f.ask == w.now);
    CU_ASSERT_EQUAL(group_receive(&w.nodes[0].group, &f, w.now), 0);
    CU_ASSERT_FALSE(may_answer(&w, 0)); /* the list that it promises is shorter than ours */
    exchange(&w, 4);                    /* 1 alone hears: with 0 a majority */
    for (uint32_t i = 0; i < SHARDS; i++) {
        CU_ASSERT(may_answer(&w, i));
        CU_ASSERT_PTR_EQUAL(w.nodes[1].replicas[i].list_pair, pair_of(&w, 1, 0));
        CU_ASSERT_PTR_NULL(w.nodes[2].replicas[i].list_pair);
    }
    world_close(&w);
}

/* A shard that comes to a right has it from a newer ask on; those that have it keep it. */
static void a_shard_joins_a_right_with_the_next_ask(void)
{
    static struct world w;
    world_open(&w);
    lead(&w, 0, 1, 7);
    w.now += HEARTBEAT;
    exchange(&w, 0);
    CU_ASSERT(may_answer(&w, 0));
    const struct right *right = w.nodes[0].replicas[0].right;
    lead(&w, 1, 1, 7);
    CU_ASSERT_PTR_EQUAL(w.nodes[0].replicas[1].right, right);
    CU_ASSERT_EQUAL(right->user_count, 2);
    exchange(&w, 6); /* nobody hears of it */
    CU_ASSERT(may_answer(&w, 0));
    CU_ASSERT_FALSE(may_answer(&w, 1));
    uint64_t generation = right->cell.generation;
    w.now += HEARTBEAT;
    exchange(&w, 0);
    CU_ASSERT(may_answer(&w, 0) && may_answer(&w, 1));
    CU_ASSERT_EQUAL(right->cell.generation, generation);
    world_close(&w);
}

/* Each set of voters has its own right; there are so many and no more. */
static void rights_are_shared_by_shards_with_the_same_voters(void)
{
    static struct world w;
    world_open(&w);
    const struct replica *all = lead(&w, 0, 1, 7);
    const struct replica *two = lead(&w, 1, 1, 3);
    CU_ASSERT(all->right != NULL && two->right != NULL && all->right != two->right);
    /* Voters of other starts are others. */
    for (uint64_t i = 2; i < LIMIT_RIGHTS; i++) {
        w.nodes[1].group.self.incarnation += 100;
        CU_ASSERT_PTR_NOT_NULL(lead(&w, (uint32_t)i, 1, 7)->right);
    }
    w.nodes[1].group.self.incarnation += 100;
    struct replica *r = lead(&w, LIMIT_RIGHTS, 1, 7);
    CU_ASSERT_PTR_NULL(r->right);
    CU_ASSERT_FALSE(replica_may_answer(r, w.now));
    replica_lease_end(&w.nodes[0].replicas[2], PAIR_REMOVE);
    replica_lease_lead(r);
    CU_ASSERT_PTR_NOT_NULL(r->right);
    world_close(&w);
}

static void a_full_journal_begins_the_list_anew(void)
{
    static struct world w;
    world_open(&w);
    struct pair *p = pair_of(&w, 0, 1);
    for (uint32_t i = 0; i < SHARDS; i++)
        lead(&w, i, 1, 7);
    w.now += HEARTBEAT;
    exchange(&w, 0);
    uint64_t first = p->number_first, epoch = 2;
    /* Each change of epoch is a REMOVE and an ADD. */
    for (; p->number_first == first; epoch++) {
        CU_ASSERT_FATAL(epoch < 2 + SHARDS * PAIR_CHANGES_PER_SHARD);
        lead(&w, 0, epoch, 7);
    }
    CU_ASSERT_EQUAL(p->listed, SHARDS);
    CU_ASSERT_EQUAL(p->ask_echoed, 0);
    w.now += HEARTBEAT;
    exchange(&w, 0);
    for (uint32_t i = 0; i < SHARDS; i++) {
        const struct replica *r = &w.nodes[1].replicas[i];
        CU_ASSERT(may_answer(&w, i));
        CU_ASSERT_PTR_EQUAL(r->list_pair, pair_of(&w, 1, 0));
        CU_ASSERT_EQUAL(r->list_epoch, i == 0 ? epoch - 1 : 1);
    }
    CU_ASSERT_EQUAL(pair_of(&w, 1, 0)->list_number, p->number);
    world_close(&w);
}

/* ---- exclusions ---- */

/* Node 1 has promised epoch 2 of the first shards to node 2. */
static void promise_elsewhere(struct world *w, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        replica_promise(&w->nodes[1].replicas[i], 2, &w->nodes[2].group.self);
}

static void what_is_excluded_takes_nothing_from_the_others(void)
{
    static struct world w;
    world_open(&w);
    for (uint32_t i = 0; i < SHARDS; i++)
        lead(&w, i, 1, 7);
    promise_elsewhere(&w, PAIR_ITEMS);
    w.now += HEARTBEAT;
    exchange(&w, 4);
    for (uint32_t i = 0; i < SHARDS; i++) {
        CU_ASSERT_EQUAL(may_answer(&w, i), i >= PAIR_ITEMS);
        CU_ASSERT_EQUAL(w.nodes[0].replicas[i].right_given_up, i < PAIR_ITEMS);
    }
    CU_ASSERT_EQUAL(pair_of(&w, 0, 1)->listed, SHARDS - PAIR_ITEMS);
    CU_ASSERT_EQUAL(pair_of(&w, 1, 0)->excluded_count, 0); /* they were taken off the list */
    world_close(&w);
}

/* More than a frame names: it promises nothing until the leader has taken some off. */
static void too_many_exclusions_promise_nothing(void)
{
    static struct world w;
    world_open(&w);
    for (uint32_t i = 0; i < SHARDS; i++)
        lead(&w, i, 1, 7);
    promise_elsewhere(&w, PAIR_ITEMS + 1);
    w.now += HEARTBEAT;
    struct pair *p = pair_of(&w, 1, 0);
    uint64_t promise_end = p->promise_end;
    struct pair_frame f;
    uint32_t to;
    group_begin(&w.nodes[0].group, w.now);
    for (uint32_t i = 0; i < 2; i++) { /* the whole list, at once */
        CU_ASSERT_FATAL(group_frame(&w.nodes[0].group, &f, &to, w.now) && to == 1);
        CU_ASSERT_EQUAL(group_receive(&w.nodes[1].group, &f, w.now), 0);
        if (i == 0) /* only so that the rest is named */
            pair_of(&w, 0, 1)->number_echoed = f.number_from + f.count - 1;
    }
    CU_ASSERT_EQUAL(p->excluded_count, PAIR_ITEMS + 1);
    CU_ASSERT_FATAL(group_frame(&w.nodes[1].group, &f, &to, w.now) && to == 0);
    CU_ASSERT(f.kind == PAIR_ECHO && f.ask == 0 && f.count == PAIR_ITEMS);
    CU_ASSERT_EQUAL(p->promise_end, promise_end);
    CU_ASSERT_EQUAL(group_receive(&w.nodes[0].group, &f, w.now), 0);
    CU_ASSERT_FALSE(may_answer(&w, SHARDS - 1));
    exchange(&w, 4); /* the leader took off what was named; the last is named next */
    for (uint32_t i = 0; i < SHARDS; i++)
        CU_ASSERT_EQUAL(w.nodes[0].replicas[i].right_given_up, i <= PAIR_ITEMS);
    w.now += HEARTBEAT;
    exchange(&w, 4);
    CU_ASSERT(may_answer(&w, SHARDS - 1));
    CU_ASSERT_FALSE(may_answer(&w, PAIR_ITEMS));
    CU_ASSERT_EQUAL(p->excluded_count, 0);
    world_close(&w);
}

/* ---- who is who ---- */

static void frames_of_or_to_who_is_no_more_are_stale(void)
{
    static struct world w;
    world_open(&w);
    struct group *g = &w.nodes[0].group;
    struct pair *p = pair_of(&w, 0, 1);
    struct pair_frame f = {
        .kind = PAIR_PULSE, .from = {.node = 1, .incarnation = 2}, .to = 1, .ask = 5, .number = 1};
    f.number_from = 1;
    CU_ASSERT_EQUAL(group_receive(g, &f, w.now), 0);
    f.to = 2;
    CU_ASSERT_EQUAL(group_receive(g, &f, w.now), -ESTALE); /* to another start of ours */
    f.to = 0;
    CU_ASSERT_EQUAL(group_receive(g, &f, w.now), 0); /* it does not know us yet */
    f.kind = PAIR_ECHO;
    f.ask = w.now;
    CU_ASSERT_EQUAL(group_receive(g, &f, w.now), -ESTALE);
    f.kind = PAIR_PULSE;
    f.to = 1;
    f.from.incarnation = 1;
    CU_ASSERT_EQUAL(group_receive(g, &f, w.now), -ESTALE); /* of an older start of its */
    CU_ASSERT_EQUAL(p->peer.incarnation, 2);
    f.from.node = 9;
    CU_ASSERT_EQUAL(group_receive(g, &f, w.now), -EPROTO);
    f.from.node = 0; /* ourselves */
    CU_ASSERT_EQUAL(group_receive(g, &f, w.now), -EPROTO);
    world_close(&w);
}

/* A voter that comes back as somebody else promised nothing, and is promised nothing. */
static void a_peer_that_restarted_is_met_anew(void)
{
    static struct world w;
    world_open(&w);
    lead(&w, 0, 1, 7);
    w.now += HEARTBEAT;
    exchange(&w, 0);
    CU_ASSERT(may_answer(&w, 0));
    node_open(&w, 1, 12);
    node_open(&w, 2, 13);
    w.now += HEARTBEAT;
    exchange(&w, 0);
    CU_ASSERT_EQUAL(pair_of(&w, 0, 1)->peer.incarnation, 12);
    w.now += LEASE;
    exchange(&w, 0);
    CU_ASSERT_FALSE(may_answer(&w, 0)); /* they echo, and are not its voters */
    CU_ASSERT(pair_of(&w, 0, 1)->ask_echoed != 0);
    lead(&w, 0, 2, 7);
    w.now += HEARTBEAT;
    exchange(&w, 0);
    CU_ASSERT(may_answer(&w, 0));
    world_close(&w);
}

/* The follower's side: who led comes back as somebody else.  What was promised to it stays. */
static void a_leader_that_restarted_is_owed_what_was_promised(void)
{
    static struct world w;
    world_open(&w);
    lead(&w, 0, 1, 7);
    w.now += HEARTBEAT;
    exchange(&w, 0);
    struct replica *r = &w.nodes[1].replicas[0];
    struct pair *p = pair_of(&w, 1, 0);
    uint64_t promise_end = p->promise_end;
    CU_ASSERT_EQUAL(promise_end, lease_promise_end(w.now, LEASE));
    CU_ASSERT_EQUAL(r->promise_end, 0); /* it is in the pair */
    node_open(&w, 0, 11);
    w.now += HEARTBEAT;
    exchange(&w, 0);
    CU_ASSERT_EQUAL(p->peer.incarnation, 11);
    CU_ASSERT_PTR_NULL(r->list_pair);
    CU_ASSERT_EQUAL(r->promise_end, promise_end);
    world_close(&w);
}

/* ---- passes ---- */

static void a_replica_is_woken_once(void)
{
    static struct world w;
    world_open(&w);
    struct group *g = &w.nodes[0].group;
    group_settle(g);
    CU_ASSERT_EQUAL(g->busy_count, 0);
    group_wake(g, g->replicas[3]);
    group_wake(g, g->replicas[3]);
    CU_ASSERT_EQUAL(g->busy_count, 1);
    CU_ASSERT_FALSE(group_is_quiet(g));
    g->replicas[3]->seal_unanswered = true; /* it waits for a promise to run out */
    group_settle(g);
    CU_ASSERT_EQUAL(g->busy_count, 1);
    g->replicas[3]->seal_unanswered = false;
    group_settle(g);
    CU_ASSERT_EQUAL(g->busy_count, 0);
    CU_ASSERT(group_is_quiet(g));
    CU_ASSERT_FALSE(g->replicas[3]->busy);
    world_close(&w);
}

/* A leader whose followers were sent all and have not answered. */
static struct replica *wait_for_answers(struct world *w, uint32_t shard)
{
    struct replica *r = lead(w, shard, 1, 7);
    r->shard->log.lsn_whole = 4096;
    for (uint32_t i = 1; i < r->commit.peer_count; i++) {
        r->peers[i].joined = true;
        r->peers[i].lsn_next = 4096;
        r->peers[i].lsn_commit_sent = r->shard->lsn_committed;
    }
    r->right_given_up = true;
    return r;
}

static void who_waits_for_answers_rests(void)
{
    static struct world w;
    world_open(&w);
    struct group *g = &w.nodes[0].group;
    struct replica *first = wait_for_answers(&w, 3), *second = wait_for_answers(&w, 5);
    struct replica *other = g->replicas[7];
    other->seal_unanswered = true; /* it waits for a promise to run out: no answer ends that */
    group_settle(g);
    group_wake(g, first);
    group_wake(g, other);
    group_wake(g, second);
    group_settle(g);
    CU_ASSERT_EQUAL(g->ready_count, 3);
    CU_ASSERT(replica_waits(first) && replica_waits(second) && !replica_waits(other));
    group_rest(g);
    CU_ASSERT(g->busy_count == 3 && g->ready_count == 1 && g->busy[0] == other);
    CU_ASSERT_FALSE(group_is_quiet(g));
    group_wake(g, second); /* something happened */
    CU_ASSERT(g->busy_count == 3 && g->ready_count == 2 && g->busy[1] == second);
    other->seal_unanswered = false;
    second->shard->log.lsn_whole += 64; /* not sent yet */
    group_settle(g);
    group_rest(g);
    CU_ASSERT(g->busy_count == 2 && g->ready_count == 1 && g->busy[0] == second);
    CU_ASSERT(g->busy[1] == first && first->busy_at == 1 && !other->busy);
    group_begin(g, g->rest_until - 1);
    CU_ASSERT_EQUAL(g->ready_count, 1);
    group_begin(g, g->rest_until); /* it may be time to say it again */
    CU_ASSERT_EQUAL(g->ready_count, 2);
    world_close(&w);
}

/* Its memory is not made there yet, or was freed: an echo would promise what nobody knows of. */
static void nobody_promises_for_a_shard_that_is_not_here(void)
{
    const uint32_t last = SHARDS - 1;
    struct world *w = calloc(1, sizeof *w);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    world_open(w);
    for (uint32_t i = 1; i < NODES; i++) {
        group_remove(&w->nodes[i].group, &w->nodes[i].replicas[last]);
        w->nodes[i].all[last] = NULL;
        CU_ASSERT_EQUAL(w->nodes[i].group.replica_count, SHARDS - 1);
    }
    (void)lead(w, last, 5, (1u << NODES) - 1);
    exchange(w, 0);
    CU_ASSERT_FALSE(may_answer(w, last));
    for (uint32_t i = 1; i < NODES; i++)
        group_add(&w->nodes[i].group, &w->nodes[i].replicas[last]);
    w->now += times.heartbeat;
    exchange(w, 0);
    exchange(w, 0);
    CU_ASSERT_TRUE(may_answer(w, last));
    for (uint32_t i = 1; i < NODES; i++)
        CU_ASSERT_EQUAL(w->nodes[i].replicas[last].promised, 5);
    world_close(w);
    free(w);
}

static void what_leaves_is_listed_nowhere(void)
{
    const uint32_t last = SHARDS - 1;
    struct world *w = calloc(1, sizeof *w);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    world_open(w);
    struct group *g = &w->nodes[0].group;
    struct replica *gone = lead(w, last, 5, (1u << NODES) - 1);
    (void)lead(w, 0, 5, (1u << NODES) - 1);
    exchange(w, 0);
    exchange(w, 0);
    CU_ASSERT_TRUE(may_answer(w, 0) && may_answer(w, last));
    for (uint32_t i = 0; i < SHARDS; i++)
        group_wake(g, &w->nodes[0].replicas[i]);
    /* Why it first: another one is then to take its place. */
    struct replica *first = g->busy[0];
    group_place(g, first, gone->busy_at);
    group_place(g, gone, 0);
    uint32_t listed = w->nodes[0].pairs[0].listed;
    group_remove(g, gone);
    w->nodes[0].all[last] = NULL;
    CU_ASSERT_EQUAL(g->busy_count, SHARDS - 1);
    CU_ASSERT_EQUAL(g->ready_count, SHARDS - 1);
    for (uint32_t i = 0; i < g->busy_count; i++)
        CU_ASSERT(g->busy[i] != gone && g->busy[i]->busy_at == i);
    CU_ASSERT_EQUAL(w->nodes[0].pairs[0].listed, listed - 1);
    CU_ASSERT_PTR_NULL(gone->right);
    CU_ASSERT_FALSE(gone->may_read);
    /* The others go on. */
    w->now += times.heartbeat;
    exchange(w, 0);
    exchange(w, 0);
    CU_ASSERT_TRUE(may_answer(w, 0));
    world_close(w);
    free(w);
}

/* What a node sends in one pass, one bit for each frame of a kind and receiver; frames go nowhere. */
static uint32_t said(struct group *g)
{
    struct pair_frame f;
    uint32_t to, mask = 0;
    while (group_frame(g, &f, &to, g->now))
        mask |= 1u << (f.kind == PAIR_PULSE ? to : NODES + to);
    return mask;
}

/* Node 1 has something to say in each interval, and did so that long ago, to both of the others. */
static void pulsed(struct group *g, uint64_t now, uint64_t ago)
{
    group_begin(g, now);
    for (uint32_t i = 0; i < g->pair_count; i++) {
        g->pairs[i].listed = 1;
        g->pairs[i].ticks_pulse = now - ago;
    }
}

/* Its own are due soon when another one's come, and it says both at once; so it is from then on. */
static void heartbeats_that_are_due_soon_leave_with_another_one(void)
{
    static const struct {
        uint64_t ago;
        uint32_t mask;
    } cases[] = {{HEARTBEAT * 3 / 4 - 1, 0}, {HEARTBEAT * 3 / 4, 1u << 0 | 1u << 2}};
    struct world *w = calloc(1, sizeof *w);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    world_open(w);
    struct group *g = &w->nodes[1].group;
    struct pair_frame f = {.kind = PAIR_PULSE, .from = w->nodes[0].group.self, .to = 2};
    f.number = f.number_from = 1;
    f.ask = w->now;
    for (uint32_t i = 0; i < 2; i++) {
        pulsed(g, w->now, cases[i].ago);
        CU_ASSERT_EQUAL(said(g), 0);
        CU_ASSERT_EQUAL(group_receive(g, &f, w->now), 0);
        CU_ASSERT_EQUAL(said(g), cases[i].mask | 1u << (NODES + 0));
        group_begin(g, w->now); /* another pass: nothing leaves in it */
        CU_ASSERT_EQUAL(said(g), 0);
        /* One of its own that is due takes the other one along. */
        pulsed(g, w->now, cases[i].ago);
        g->pairs[0].ticks_pulse = w->now - HEARTBEAT;
        CU_ASSERT_EQUAL(said(g), cases[i].mask | 1u << g->pairs[0].peer.node);
    }
    world_close(w);
    free(w);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_list_longer_than_a_frame_is_promised_whole),
    UNIT_TEST(a_shard_joins_a_right_with_the_next_ask),
    UNIT_TEST(rights_are_shared_by_shards_with_the_same_voters),
    UNIT_TEST(a_full_journal_begins_the_list_anew),
    UNIT_TEST(what_is_excluded_takes_nothing_from_the_others),
    UNIT_TEST(too_many_exclusions_promise_nothing),
    UNIT_TEST(frames_of_or_to_who_is_no_more_are_stale),
    UNIT_TEST(a_peer_that_restarted_is_met_anew),
    UNIT_TEST(a_leader_that_restarted_is_owed_what_was_promised),
    UNIT_TEST(a_replica_is_woken_once),
    UNIT_TEST(who_waits_for_answers_rests),
    UNIT_TEST(nobody_promises_for_a_shard_that_is_not_here),
    UNIT_TEST(what_leaves_is_listed_nowhere),
    UNIT_TEST(heartbeats_that_are_due_soon_leave_with_another_one),
};
UNIT_MAIN("group", tests)
