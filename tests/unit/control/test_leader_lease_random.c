/* Voters, holders and a control leader under random schedules: messages late, lost and out of order, clocks that go
 * differently, voters that forget, holders that stop and start again.  At no real time may a majority of
 * statements that a node's lease is over be good while the node believes to have it.  The same seed gives the
 * same run; DUNLIN_SEED runs one. */
#include "control/leader_lease.h"
#include "control/leader_lease_tally.h"
#include "engine/plant.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define SEEDS 400u
#define END (3 * NS_PER_S)
#define NODES 3u
#define EVENTS 4096u
#define ENTRIES 16384u
#define NEVER UINT64_MAX
/* Any two differ by less than twice the bound that each side of a lease allows for by itself. */
#define PPM 999

enum kind { ASK, GRANT, QUESTION, ANSWER, SAID, COMMITTED, KNOWN };

struct event {
    uint64_t at; /* real time; here and below in ns */
    enum kind kind;
    uint32_t voter, node;
    uint64_t start, number, index;
    struct leader_lease_grant grant;
    struct leader_lease_over over[NODES];
    uint32_t over_count;
};

struct clock {
    uint64_t offset;
    int64_t ppm;
};

struct voter {
    struct clock clock;
    struct leader_lease_voter lease;
    uint64_t up_at;   /* down until then */
    uint64_t applied; /* of the log; not forgotten */
};

/* Of the control log: what was decided. */
struct entry {
    uint32_t node;
    uint64_t start;
};

struct holder {
    struct clock clock;
    struct leader_lease_holder lease;
    uint64_t ask_at;
    bool had; /* the lease, when it was looked at last */
};

static struct {
    uint64_t seed, random, now;
    bool calm;
    uint32_t voter_count;
    uint64_t duration, duration_max;
    struct voter voters[LIMIT_VOTERS];
    struct holder holders[NODES];
    uint64_t cut_until[NODES][LIMIT_VOTERS][2]; /* to the voter, and back */
    struct clock clock;                         /* of the control leader */
    struct leader_lease_tally tally;
    uint64_t question_at, fault_at;
    struct entry log[ENTRIES]; /* from index 1 on */
    uint64_t committed;
    struct event events[EVENTS];
    uint32_t event_count;
    /* findings */
    uint64_t violations, lost_while_calm;
    uint64_t granted, silent, bound, denied, stale, over, is_over, decided, regained,
        voter_restarts, node_restarts, leader_changes;
} w;

static uint64_t draw(uint64_t below)
{
    w.random ^= w.random << 13;
    w.random ^= w.random >> 7;
    w.random ^= w.random << 17;
    return w.random % below;
}

static uint64_t local(const struct clock *c, uint64_t real)
{
    return c->offset + real + (uint64_t)((int64_t)real * c->ppm / 1000000);
}

/* The first real time at which the clock shows that. */
static uint64_t real_of(const struct clock *c, uint64_t shown)
{
    if (shown == NEVER)
        return NEVER;
    if (shown <= local(c, 0))
        return 0;
    uint64_t real = (shown - c->offset) * 1000000 / (uint64_t)(1000000 + c->ppm);
    real = real > 4 ? real - 4 : 0;
    while (local(c, real) < shown)
        real++;
    return real;
}

static struct clock clock_make(void)
{
    static const int64_t rates[] = {-PPM, PPM, 0};
    uint64_t which = draw(4);
    return (struct clock){.offset = NS_PER_S + draw(UINT64_C(1) << 40),
                          .ppm = which < 3 ? rates[which] : (int64_t)draw(2 * PPM + 1) - PPM};
}

/* ---- messages ---- */

static uint64_t delay(void)
{
    uint64_t which = draw(16);
    if (w.calm || which < 8)
        return which < 5 ? 0 : draw(NS_PER_MS);
    return which == 8 ? draw(2 * w.duration) : draw(2 * NS_PER_MS);
}

static void send(const struct event *e)
{
    if (w.event_count == EVENTS || (!w.calm && draw(25) == 0))
        return;
    w.events[w.event_count] = *e;
    w.events[w.event_count++].at = w.now + delay();
}

static bool is_cut(uint32_t node, uint32_t voter, uint32_t way)
{
    return w.now < w.cut_until[node][voter][way];
}

static void ask_all(uint32_t node)
{
    struct holder *h = &w.holders[node];
    const struct leader_lease_ask ask = leader_lease_asked(&h->lease, local(&h->clock, w.now));
    for (uint32_t i = 0; i < w.voter_count; i++)
        if (!is_cut(node, i, 0))
            send(&(struct event){
                .kind = ASK, .voter = i, .node = node, .start = ask.start, .number = ask.number});
    h->ask_at = w.now + w.duration / 4;
}

static void question_all(void)
{
    uint64_t number = leader_lease_tally_asked(&w.tally, local(&w.clock, w.now));
    for (uint32_t i = 0; i < w.voter_count; i++)
        send(&(struct event){.kind = QUESTION, .voter = i, .number = number});
    w.question_at = w.now + w.duration / 2;
}

static void voter_init(struct voter *v, uint32_t at)
{
    const struct leader_lease_voter_config config = {
        .voter = at + 1, .duration_ns = w.duration, .duration_max_ns = w.duration_max};
    leader_lease_voter_init(&v->lease, &config, local(&v->clock, w.now));
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_EQUAL(
            leader_lease_know(&v->lease, i + 1, w.holders[i].lease.start, local(&v->clock, w.now)),
            0);
}

static void asked(struct voter *v, const struct event *e)
{
    const struct leader_lease_ask ask = {
        .node = e->node + 1, .start = e->start, .number = e->number};
    struct event answer = {.kind = GRANT, .voter = e->voter, .node = e->node};
    bool denied = !w.calm && draw(50) == 0;
    int error = leader_lease_ask(&v->lease, &ask, local(&v->clock, w.now), denied, &answer.grant);
    w.granted += error == 0;
    w.silent += error == -EAGAIN;
    w.bound += error == -EBUSY;
    w.denied += error == -EACCES;
    w.stale += error == -ESTALE;
    if (error == 0 && !is_cut(e->node, e->voter, 1))
        send(&answer);
}

static void questioned(const struct voter *v, const struct event *e)
{
    struct leader_lease_over over[LIMIT_NODES];
    struct event answer = {
        .kind = ANSWER, .voter = e->voter, .number = e->number, .index = v->applied};
    answer.over_count = leader_lease_bound(&v->lease, local(&v->clock, w.now), over);
    CU_ASSERT_FATAL(answer.over_count <= NODES);
    memcpy(answer.over, over, answer.over_count * sizeof over[0]);
    send(&answer);
}

/* An entry of the log; of no node: what a leader begins with.  Voters learn of it late. */
static uint64_t commit(uint32_t node, uint64_t start)
{
    CU_ASSERT_FATAL(w.committed + 1 < ENTRIES);
    w.log[++w.committed] = (struct entry){.node = node, .start = start};
    for (uint32_t i = 0; i < w.voter_count; i++)
        send(&(struct event){.kind = COMMITTED, .voter = i, .index = w.committed});
    return w.committed;
}

static void decide(uint32_t node, uint64_t start)
{
    leader_lease_tally_decided(&w.tally, node, start, commit(node, start));
    w.decided++;
}

static void committed(struct voter *v, uint64_t index)
{
    for (; v->applied < index; v->applied++) {
        const struct entry *e = &w.log[v->applied + 1];
        leader_lease_decided(&v->lease, e->node, e->start, local(&v->clock, w.now));
    }
}

static void answered(const struct event *e)
{
    for (uint32_t i = 0; i < e->over_count; i++) {
        const struct leader_lease_answer answer = {
            .voter = e->voter + 1, .number = e->number, .index = e->index};
        int error = leader_lease_tally_said(&w.tally, &answer, &e->over[i]);
        CU_ASSERT_TRUE(error == 0 || error == -ESTALE);
    }
}

static void arrives(const struct event *e)
{
    struct voter *v = &w.voters[e->voter];
    uint64_t shown = local(&v->clock, w.now);
    struct holder *h = &w.holders[e->kind == GRANT ? e->node : 0];
    bool is_down = w.now < v->up_at;
    if (is_down && e->kind != GRANT && e->kind != ANSWER && e->kind != SAID)
        return;
    switch (e->kind) {
    case ASK:
        asked(v, e);
        break;
    case GRANT:
        (void)!leader_lease_granted(&h->lease, &e->grant, local(&h->clock, w.now));
        break;
    case QUESTION:
        questioned(v, e);
        break;
    case ANSWER:
        answered(e);
        break;
    case SAID:
        w.question_at = w.now;
        break;
    case COMMITTED:
        committed(v, e->index);
        break;
    case KNOWN:
        CU_ASSERT_EQUAL(leader_lease_know(&v->lease, e->node, e->start, shown), 0);
    }
}

/* ---- what happens by itself ---- */

static uint64_t step_at(const struct voter *v)
{
    uint64_t at = real_of(&v->clock, leader_lease_next(&v->lease));
    return max_u64(max_u64(at, w.now), v->up_at);
}

static void step(struct voter *v, uint32_t at)
{
    struct leader_lease_over over[LIMIT_NODES];
    uint32_t count = leader_lease_step(&v->lease, local(&v->clock, w.now), over);
    w.over += count;
    if (count != 0)
        send(&(struct event){.kind = SAID, .voter = at});
}

static void node_restart(uint32_t node)
{
    struct holder *h = &w.holders[node];
    uint32_t ids[LIMIT_VOTERS];
    for (uint32_t i = 0; i < w.voter_count; i++)
        ids[i] = i + 1;
    uint64_t start = h->lease.start + 1;
    leader_lease_holder_init(&h->lease, node + 1, start, ids, w.voter_count);
    h->ask_at = w.now + draw(2 * w.duration);
    for (uint32_t i = 0; i < w.voter_count; i++)
        send(&(struct event){.kind = KNOWN, .voter = i, .node = node + 1, .start = start});
}

static void leader_change(void)
{
    uint32_t ids[LIMIT_VOTERS];
    for (uint32_t i = 0; i < w.voter_count; i++)
        ids[i] = i + 1;
    w.clock = clock_make();
    leader_lease_tally_init(&w.tally, ids, w.voter_count, commit(0, 0));
    w.question_at = w.now + draw(w.duration);
}

static void fault(void)
{
    uint32_t node = (uint32_t)draw(NODES), voter = (uint32_t)draw(w.voter_count);
    struct voter *v = &w.voters[voter];
    switch (draw(8)) {
    case 0:
    case 1: /* forgets; at once, or after a while, with another clock */
        v->up_at = w.now + (draw(2) == 0 ? 0 : draw(w.duration));
        v->clock = clock_make();
        voter_init(v, voter);
        w.voter_restarts++;
        break;
    case 2:
    case 3: /* stops asking; its clock goes on */
        w.holders[node].ask_at = w.now + draw(4 * w.duration);
        break;
    case 4:
    case 5:
        w.cut_until[node][voter][draw(2)] = w.now + draw(6 * w.duration);
        break;
    case 6:
        node_restart(node);
        w.node_restarts++;
        break;
    default:
        leader_change();
        w.leader_changes++;
    }
    w.fault_at = w.now + draw(w.duration);
}

/* ---- one run ---- */

static void check(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        struct holder *h = &w.holders[i];
        uint64_t start = h->lease.start;
        bool has = leader_lease_margin_ns(&h->lease, local(&h->clock, w.now)) > 0;
        bool over = leader_lease_tally_is_over(&w.tally, i + 1, start, local(&w.clock, w.now));
        w.lost_while_calm += w.calm && h->had && !has;
        w.regained += !h->had && has;
        w.is_over += over;
        if (has && over && w.violations++ < 3)
            (void)fprintf(stderr, "    seed %llu: over, and held, at %llu ns\n",
                          (unsigned long long)w.seed, (unsigned long long)w.now);
        h->had = has;
        if (over && draw(4) == 0)
            decide(i + 1, start);
    }
}

static void begin(uint64_t seed, bool calm)
{
    static const uint32_t voter_counts[] = {3, 1, 3, 5};
    w.seed = seed;
    w.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    w.calm = calm;
    w.now = w.event_count = 0;
    w.committed = 0;
    w.voter_count = voter_counts[draw(4)];
    w.duration = NS_PER_MS * (5 + draw(46));
    w.duration_max = w.duration * (1 + draw(4));
    memset(w.holders, 0, sizeof w.holders);
    memset(w.cut_until, 0, sizeof w.cut_until);
    for (uint32_t i = 0; i < NODES; i++) {
        w.holders[i].clock = clock_make();
        w.holders[i].lease.start = 100;
        node_restart(i);
    }
    for (uint32_t i = 0; i < w.voter_count; i++) {
        w.voters[i] = (struct voter){.clock = clock_make()};
        voter_init(&w.voters[i], i);
    }
    leader_change();
    w.fault_at = calm ? NEVER : w.duration;
}

static uint64_t next_time(void)
{
    uint64_t next = min_u64(w.question_at, w.fault_at);
    for (uint32_t i = 0; i < w.event_count; i++)
        next = min_u64(next, w.events[i].at);
    for (uint32_t i = 0; i < NODES; i++)
        next = min_u64(next, w.holders[i].ask_at);
    for (uint32_t i = 0; i < w.voter_count; i++)
        next = min_u64(next, step_at(&w.voters[i]));
    return next;
}

static void pass(void)
{
    for (uint32_t i = 0; i < w.voter_count; i++)
        if (step_at(&w.voters[i]) <= w.now)
            step(&w.voters[i], i);
    for (uint32_t i = 0; i < NODES; i++)
        if (w.holders[i].ask_at <= w.now)
            ask_all(i);
    if (w.question_at <= w.now)
        question_all();
    if (w.fault_at <= w.now)
        fault();
    for (uint32_t i = 0; i < w.event_count;) {
        if (w.events[i].at > w.now) {
            i++;
            continue;
        }
        const struct event e = w.events[i];
        w.events[i] = w.events[--w.event_count];
        arrives(&e);
        check();
    }
}

static void run(uint64_t seed, bool calm)
{
    begin(seed, calm);
    while (w.now < END) {
        w.now = next_time();
        pass();
    }
}

static void nobody_holds_what_a_majority_says_is_over(void)
{
    const char *given = getenv("DUNLIN_SEED");
    uint64_t first = given != NULL ? strtoull(given, NULL, 0) : 1;
    memset(&w, 0, sizeof w);
    for (uint64_t seed = first; seed < first + (given != NULL ? 1 : SEEDS); seed++)
        run(seed, false);
    CU_ASSERT_EQUAL(w.violations, 0);
    (void)printf(" (%llu granted, %llu refused, %llu over, %llu decided, %llu had again) ",
                 (unsigned long long)w.granted, (unsigned long long)w.bound,
                 (unsigned long long)w.over, (unsigned long long)w.decided,
                 (unsigned long long)w.regained);
    CU_ASSERT(given != NULL ||
              (w.granted > SEEDS && w.silent > SEEDS && w.bound > SEEDS && w.denied > SEEDS &&
               w.stale != 0 && w.over > SEEDS && w.is_over > SEEDS && w.decided > SEEDS &&
               w.regained > SEEDS && w.voter_restarts > SEEDS && w.node_restarts > SEEDS &&
               w.leader_changes > SEEDS));
}

/* Without a fault nobody who asks loses a lease, and nothing is said of anybody. */
static void nobody_loses_a_lease_for_nothing(void)
{
    memset(&w, 0, sizeof w);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        run(seed, true);
        for (uint32_t i = 0; i < NODES; i++)
            CU_ASSERT_TRUE(w.holders[i].had);
    }
    CU_ASSERT_EQUAL(w.lost_while_calm, 0);
    CU_ASSERT_EQUAL(w.bound + w.is_over, 0);
}

#ifdef DUNLIN_PLANT
static void is_found(const char *bug)
{
    memset(&w, 0, sizeof w);
    CU_ASSERT_EQUAL(plant_set(bug), 0);
    for (uint64_t seed = 1; seed <= SEEDS && w.violations == 0; seed++)
        run(seed, false);
    CU_ASSERT_EQUAL(plant_set("none"), 0);
    (void)printf(" (%s: seed %llu) ", bug, (unsigned long long)w.seed);
    CU_ASSERT(w.violations != 0);
}

static void planted_bugs_are_found(void)
{
    is_found("lease-after-amnesia");
    is_found("leader-lease-from-answer");
    is_found("lease-over-unbound");
    is_found("leader-rate-ignored");
}
#endif

static const struct unit_test tests[] = {
    UNIT_TEST(nobody_holds_what_a_majority_says_is_over),
    UNIT_TEST(nobody_loses_a_lease_for_nothing),
#ifdef DUNLIN_PLANT
    UNIT_TEST(planted_bugs_are_found),
#endif
};
UNIT_MAIN("leader_lease_random", tests)
