/* What one voter grants and says, what one holder makes of it, and what a control leader counts: in all of them
 * time is a number.  Several together: test_leader_lease_random.c. */
#include "control/leader_lease.h"

#include "control/leader_lease_tally.h"
#include "dataplane/lease.h"
#include "tests/unit/unit.h"

#define LEASE (50 * NS_PER_MS)
#define LONGEST (200 * NS_PER_MS)
#define SILENCE (lease_promise_end(BEGIN, LONGEST))
#define BEGIN NS_PER_S
#define START UINT64_C(100)

static const struct leader_lease_voter_config config = {
    .voter = 1, .duration_ns = LEASE, .duration_max_ns = LONGEST};

static struct leader_lease_over over[LIMIT_NODES];

static struct leader_lease_voter made(void)
{
    struct leader_lease_voter v;
    leader_lease_voter_init(&v, &config, BEGIN);
    return v;
}

static int ask(struct leader_lease_voter *v, uint32_t node, uint64_t start, uint64_t now)
{
    struct leader_lease_grant grant;
    const struct leader_lease_ask a = {.node = node, .start = start, .number = 3};
    int error = leader_lease_ask(v, &a, now, false, &grant);
    if (error == 0)
        CU_ASSERT_TRUE(grant.voter == 1 && grant.start == start && grant.number == 3 &&
                       grant.duration_ns == LEASE);
    return error;
}

/* Says at now, and no sooner, that this node alone is over. */
static void says(struct leader_lease_voter *v, uint32_t node, uint64_t start, uint64_t now)
{
    CU_ASSERT_EQUAL(leader_lease_next(v), now);
    CU_ASSERT_EQUAL(leader_lease_step(v, now - 1, over), 0);
    CU_ASSERT_EQUAL_FATAL(leader_lease_step(v, now, over), 1);
    CU_ASSERT_EQUAL(over[0].node, node);
    CU_ASSERT_EQUAL(over[0].start, start);
    CU_ASSERT_EQUAL(leader_lease_standing(v, node, start, now), LEADER_LEASE_OVER);
}

/* ---- voter ---- */

static void a_voter_that_has_started_is_silent(void)
{
    struct leader_lease_voter v = made();
    CU_ASSERT_EQUAL(leader_lease_next(&v), UINT64_MAX);
    CU_ASSERT_EQUAL(ask(&v, 10, START, BEGIN), -EAGAIN);
    CU_ASSERT_EQUAL(ask(&v, 10, START, SILENCE - 1), -EAGAIN);
    CU_ASSERT_EQUAL(leader_lease_step(&v, SILENCE - 1, over), 0);
    CU_ASSERT_EQUAL(leader_lease_bound(&v, SILENCE - 1, over), 0);
    CU_ASSERT_EQUAL(ask(&v, 10, START, SILENCE), 0);
    CU_ASSERT_EQUAL(leader_lease_standing(&v, 10, START, SILENCE), LEADER_LEASE_GRANTED);
}

static void who_was_granted_and_does_not_ask_again_is_over(void)
{
    struct leader_lease_voter v = made();
    CU_ASSERT_EQUAL(ask(&v, 10, START, SILENCE), 0);
    CU_ASSERT_EQUAL(ask(&v, 10, START, SILENCE + LEASE), 0);
    uint64_t end = lease_promise_end(SILENCE + LEASE, LEASE);
    says(&v, 10, START, end);
    CU_ASSERT(over[0].bound_ns <= LONGEST && over[0].bound_ns > LONGEST - LONGEST / 500);
    /* Once said, it binds, and is told to who asks with what is left of it. */
    CU_ASSERT_EQUAL(ask(&v, 10, START, end), -EBUSY);
    CU_ASSERT_EQUAL(leader_lease_step(&v, end, over), 0);
    CU_ASSERT_EQUAL(leader_lease_bound(&v, end + LEASE, over), 1);
    CU_ASSERT(over[0].bound_ns < LONGEST - LEASE + LONGEST / 1000);
    uint64_t last = lease_promise_end(end, LONGEST) - 1;
    CU_ASSERT_EQUAL(leader_lease_bound(&v, last, over), 1);
    CU_ASSERT_EQUAL(over[0].bound_ns, 0);
    CU_ASSERT_EQUAL(ask(&v, 10, START, last), -EBUSY);
    CU_ASSERT_EQUAL(leader_lease_bound(&v, last + 1, over), 0);
    CU_ASSERT_EQUAL(ask(&v, 10, START, last + 1), 0);
}

static void it_is_said_again_of_who_does_not_ask(void)
{
    struct leader_lease_voter v = made();
    CU_ASSERT_EQUAL(ask(&v, 10, START, SILENCE), 0);
    uint64_t end = lease_promise_end(SILENCE, LEASE);
    says(&v, 10, START, end);
    uint64_t second = lease_promise_end(end, LONGEST);
    says(&v, 10, START, second);
    /* One that asked in vain meanwhile gets a lease's time to ask again. */
    CU_ASSERT_EQUAL(ask(&v, 10, START, second + 5), -EBUSY);
    uint64_t third = lease_promise_end(second, LONGEST);
    CU_ASSERT_EQUAL(leader_lease_step(&v, third, over), 0);
    CU_ASSERT_EQUAL(leader_lease_standing(&v, 10, START, third), LEADER_LEASE_EXPECTED);
    says(&v, 10, START, lease_promise_end(third, LEASE));
}

static void a_decision_lifts_the_bond(void)
{
    struct leader_lease_voter v = made();
    CU_ASSERT_EQUAL(ask(&v, 10, START, SILENCE), 0);
    leader_lease_decided(&v, 10, START, SILENCE); /* others said so, this voter has not */
    CU_ASSERT_EQUAL(leader_lease_standing(&v, 10, START, SILENCE), LEADER_LEASE_GRANTED);
    uint64_t end = lease_promise_end(SILENCE, LEASE);
    says(&v, 10, START, end);
    leader_lease_decided(&v, 10, START - 1, end);
    CU_ASSERT_EQUAL(ask(&v, 10, START, end), -EBUSY);
    leader_lease_decided(&v, 10, START, end);
    CU_ASSERT_EQUAL(leader_lease_standing(&v, 10, START, end), LEADER_LEASE_DECIDED);
    CU_ASSERT_EQUAL(leader_lease_bound(&v, end, over), 0);
    CU_ASSERT_EQUAL(ask(&v, 10, START, end), 0);
    /* One that does not come back is over once more: nobody may have been able to take all it led. */
    uint64_t next = lease_promise_end(end, LEASE);
    says(&v, 10, START, next);
    leader_lease_decided(&v, 10, START, next);
    says(&v, 10, START, lease_promise_end(next, LONGEST));
}

static void a_later_start_is_somebody_else(void)
{
    struct leader_lease_voter v = made();
    CU_ASSERT_EQUAL(ask(&v, 10, START, SILENCE), 0);
    uint64_t end = lease_promise_end(SILENCE, LEASE);
    says(&v, 10, START, end);
    CU_ASSERT_EQUAL(ask(&v, 10, START + 1, end), 0);
    CU_ASSERT_EQUAL(ask(&v, 10, START, end), -ESTALE);
    CU_ASSERT_EQUAL(leader_lease_standing(&v, 10, START, end), LEADER_LEASE_UNKNOWN);
    CU_ASSERT_EQUAL(leader_lease_standing(&v, 10, START + 1, end), LEADER_LEASE_GRANTED);
    /* That the state names what is known changes nothing. */
    CU_ASSERT_EQUAL(leader_lease_know(&v, 10, START, end), 0);
    CU_ASSERT_EQUAL(leader_lease_know(&v, 10, START + 1, end), 0);
    CU_ASSERT_EQUAL(leader_lease_standing(&v, 10, START + 1, end), LEADER_LEASE_GRANTED);
    CU_ASSERT_EQUAL(leader_lease_know(&v, 10, START + 2, end), 0);
    CU_ASSERT_EQUAL(leader_lease_standing(&v, 10, START + 2, end), LEADER_LEASE_EXPECTED);
    CU_ASSERT_EQUAL(ask(&v, 10, START + 1, end), -ESTALE);
}

/* Nobody is over that the state does not name, and nobody before it had time to ask. */
static void a_cluster_that_starts_fails_nobody(void)
{
    struct leader_lease_voter v = made();
    CU_ASSERT_EQUAL(leader_lease_know(&v, 10, START, BEGIN), 0);
    CU_ASSERT_EQUAL(leader_lease_know(&v, 20, START, BEGIN), 0);
    CU_ASSERT_EQUAL(leader_lease_step(&v, SILENCE, over), 0);
    CU_ASSERT_EQUAL(ask(&v, 20, START, SILENCE + LEASE), 0);
    uint64_t late = SILENCE + LEASE + 5;
    CU_ASSERT_EQUAL(leader_lease_know(&v, 30, START, late), 0);
    says(&v, 10, START, lease_promise_end(SILENCE, LEASE));
    CU_ASSERT_EQUAL(leader_lease_next(&v), lease_promise_end(SILENCE + LEASE, LEASE));
    CU_ASSERT_EQUAL(ask(&v, 20, START, late), 0);
    CU_ASSERT_EQUAL(ask(&v, 20, START, late + 1), 0);
    says(&v, 30, START, lease_promise_end(late, LEASE));
}

static void who_is_denied_runs_out(void)
{
    struct leader_lease_voter v = made();
    struct leader_lease_grant grant;
    const struct leader_lease_ask a = {.node = 10, .start = START, .number = 1};
    CU_ASSERT_EQUAL(leader_lease_ask(&v, &a, SILENCE, false, &grant), 0);
    CU_ASSERT_EQUAL(leader_lease_ask(&v, &a, SILENCE + 5, true, &grant), -EACCES);
    uint64_t end = lease_promise_end(SILENCE, LEASE);
    says(&v, 10, START, end);
    /* Asks that are denied are none: it is over for as long as it is. */
    CU_ASSERT_EQUAL(leader_lease_ask(&v, &a, end + 5, true, &grant), -EACCES);
    says(&v, 10, START, lease_promise_end(end, LONGEST));
}

static void there_is_room_for_so_many_nodes(void)
{
    struct leader_lease_voter v = made();
    for (uint32_t i = 1; i <= LIMIT_NODES; i++)
        CU_ASSERT_EQUAL(leader_lease_know(&v, i, START, BEGIN), 0);
    CU_ASSERT_EQUAL(leader_lease_know(&v, LIMIT_NODES + 1, START, BEGIN), -ENOSPC);
    CU_ASSERT_EQUAL(ask(&v, LIMIT_NODES + 1, START, SILENCE), -ENOSPC);
    CU_ASSERT_EQUAL(leader_lease_step(&v, 2 * SILENCE, over), LIMIT_NODES);
    CU_ASSERT_EQUAL(leader_lease_bound(&v, 2 * SILENCE, over), LIMIT_NODES);
}

static const uint32_t voters[] = {1, 2, 3};

static void who_is_forgotten_leaves_nothing_behind(void)
{
    struct leader_lease_voter v = made();
    for (uint32_t node = 10; node < 13; node++)
        CU_ASSERT_EQUAL(ask(&v, node, START + node, SILENCE), 0);
    leader_lease_forget(&v, 10);
    leader_lease_forget(&v, 99);
    CU_ASSERT_EQUAL(leader_lease_standing(&v, 10, START + 10, SILENCE), LEADER_LEASE_UNKNOWN);
    CU_ASSERT_EQUAL(leader_lease_standing(&v, 12, START + 12, SILENCE), LEADER_LEASE_GRANTED);
    /* One that comes gets a place of its own, also with a lower start than who was there had. */
    CU_ASSERT_EQUAL(ask(&v, 13, START, SILENCE), 0);
    CU_ASSERT_EQUAL(leader_lease_standing(&v, 13, START, SILENCE), LEADER_LEASE_GRANTED);
    CU_ASSERT_EQUAL(v.count, 3);
}

static void one_that_votes_again_grants_nothing_before_what_it_said_is_over(void)
{
    struct leader_lease_voter v = made();
    CU_ASSERT_EQUAL(ask(&v, 10, START + 5, SILENCE), 0);
    uint64_t end = SILENCE + LEASE;
    leader_lease_voter_end(&v, end);
    leader_lease_voter_begin(&v);
    CU_ASSERT_EQUAL(leader_lease_standing(&v, 10, START + 5, end), LEADER_LEASE_UNKNOWN);
    CU_ASSERT_EQUAL(ask(&v, 11, START, lease_promise_end(end, LONGEST) - 1), -EAGAIN);
    CU_ASSERT_EQUAL(ask(&v, 11, START, lease_promise_end(end, LONGEST)), 0);
    CU_ASSERT_EQUAL(v.count, 1);
    /* One that never was a voter has said nothing. */
    v = made();
    leader_lease_voter_begin(&v);
    CU_ASSERT_EQUAL(ask(&v, 10, START, SILENCE), 0);
}

/* ---- holder ---- */

static struct leader_lease_holder held(void)
{
    struct leader_lease_holder h;
    leader_lease_holder_init(&h, 10, START, voters, 3);
    return h;
}

static int granted(struct leader_lease_holder *h, uint32_t voter, uint64_t number,
                   uint64_t duration)
{
    const struct leader_lease_grant g = {
        .voter = voter, .start = START, .number = number, .duration_ns = duration};
    return leader_lease_granted(h, &g, BEGIN + 9 * NS_PER_S);
}

static void a_majority_of_grants_is_a_lease_from_the_ask_on(void)
{
    struct leader_lease_holder h = held();
    struct leader_lease_ask a = leader_lease_asked(&h, BEGIN);
    CU_ASSERT(a.node == 10 && a.start == START && a.number == 1);
    CU_ASSERT_EQUAL(leader_lease_margin_ns(&h, BEGIN), INT64_MIN);
    CU_ASSERT_EQUAL(granted(&h, 2, 1, LEASE), 0);
    CU_ASSERT_EQUAL(granted(&h, 2, 1, LEASE), 0); /* one voter is one, however often */
    CU_ASSERT_EQUAL(leader_lease_until(&h), 0);
    CU_ASSERT_EQUAL(granted(&h, 3, 1, LEASE), 0);
    uint64_t until = lease_right_end(BEGIN, LEASE);
    CU_ASSERT_EQUAL(leader_lease_until(&h), until);
    CU_ASSERT_EQUAL(leader_lease_margin_ns(&h, until - 7), 7);
    CU_ASSERT_EQUAL(leader_lease_margin_ns(&h, until + 7), -7);
    /* The second best counts, and none of them falls. */
    (void)leader_lease_asked(&h, BEGIN + 10);
    CU_ASSERT_EQUAL(granted(&h, 2, 2, LEASE), 0);
    CU_ASSERT_EQUAL(leader_lease_until(&h), until);
    CU_ASSERT_EQUAL(granted(&h, 1, 2, LEASE), 0);
    CU_ASSERT_EQUAL(leader_lease_until(&h), until + 10);
    CU_ASSERT_EQUAL(granted(&h, 1, 1, LEASE), 0);
    CU_ASSERT_EQUAL(leader_lease_until(&h), until + 10);
}

static void grants_that_cannot_be_are_refused(void)
{
    struct leader_lease_holder h = held();
    (void)leader_lease_asked(&h, BEGIN);
    CU_ASSERT_EQUAL(granted(&h, 4, 1, LEASE), -ENOENT);
    CU_ASSERT_EQUAL(granted(&h, 1, 0, LEASE), -ENOENT);
    CU_ASSERT_EQUAL(granted(&h, 1, 2, LEASE), -ENOENT);
    const struct leader_lease_grant other = {
        .voter = 1, .start = START - 1, .number = 1, .duration_ns = LEASE};
    CU_ASSERT_EQUAL(leader_lease_granted(&h, &other, BEGIN), -ESTALE);
    for (uint32_t i = 0; i < LEADER_LEASE_ASKS; i++)
        (void)leader_lease_asked(&h, BEGIN + 1 + i);
    CU_ASSERT_EQUAL(granted(&h, 1, 1, LEASE), -ESTALE);
    CU_ASSERT_EQUAL(granted(&h, 1, 2, LEASE), 0);
    CU_ASSERT_EQUAL(granted(&h, 2, 2, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(leader_lease_until(&h), lease_right_end(BEGIN + 1, LEASE));
    CU_ASSERT_EQUAL(granted(&h, 3, 2, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(leader_lease_until(&h), lease_right_end(BEGIN + 1, LEADER_LEASE_NS_MAX));
}

static void one_voter_is_a_majority_of_one(void)
{
    struct leader_lease_holder h;
    leader_lease_holder_init(&h, 10, START, voters, 1);
    (void)leader_lease_asked(&h, BEGIN);
    CU_ASSERT_EQUAL(granted(&h, 1, 1, LEASE), 0);
    CU_ASSERT_EQUAL(leader_lease_until(&h), lease_right_end(BEGIN, LEASE));
}

/* ---- tally ---- */

/* From a voter that has applied the log up to index 7, to the leader's question of this order. */
static int said(struct leader_lease_tally *t, uint32_t voter, uint64_t order, uint64_t start)
{
    const struct leader_lease_answer answer = {
        .voter = voter, .number = (t->index_first << 24) + order, .index = 7};
    const struct leader_lease_over statement = {.node = 10, .start = start, .bound_ns = LONGEST};
    return leader_lease_tally_said(t, &answer, &statement);
}

static void a_majority_of_statements_counts_from_the_question(void)
{
    struct leader_lease_tally t;
    leader_lease_tally_init(&t, voters, 3, 7);
    CU_ASSERT_EQUAL(leader_lease_tally_asked(&t, BEGIN), (UINT64_C(7) << 24) + 1);
    CU_ASSERT_EQUAL(said(&t, 1, 1, START), 0);
    CU_ASSERT_EQUAL(said(&t, 1, 1, START), 0);
    CU_ASSERT_FALSE(leader_lease_tally_is_over(&t, 10, START, BEGIN));
    CU_ASSERT_EQUAL(said(&t, 3, 1, START), 0);
    uint64_t end = lease_right_end(BEGIN, LONGEST);
    CU_ASSERT_TRUE(leader_lease_tally_is_over(&t, 10, START, end - 1));
    CU_ASSERT_FALSE(leader_lease_tally_is_over(&t, 10, START, end));
    CU_ASSERT_FALSE(leader_lease_tally_is_over(&t, 10, START + 1, BEGIN));
    CU_ASSERT_FALSE(leader_lease_tally_is_over(&t, 20, START, BEGIN));
    CU_ASSERT_EQUAL(said(&t, 4, 1, START), -ENOENT);
    CU_ASSERT_EQUAL(said(&t, 2, 2, START), -ENOENT);
    CU_ASSERT_EQUAL(said(&t, 2, 1, START - 1), -ESTALE);
    CU_ASSERT_EQUAL(said(&t, 2, 1, START + 1), 0); /* forgets what was said of the older one */
    CU_ASSERT_FALSE(leader_lease_tally_is_over(&t, 10, START, BEGIN));
    CU_ASSERT_FALSE(leader_lease_tally_is_over(&t, 10, START + 1, BEGIN));
}

static void what_was_said_before_a_decision_counts_for_nothing(void)
{
    struct leader_lease_tally t;
    leader_lease_tally_init(&t, voters, 3, 7);
    (void)leader_lease_tally_asked(&t, BEGIN);
    CU_ASSERT_EQUAL(said(&t, 1, 1, START), 0);
    CU_ASSERT_EQUAL(said(&t, 2, 1, START), 0);
    leader_lease_tally_decided(&t, 10, START - 1, 7);
    CU_ASSERT_TRUE(leader_lease_tally_is_over(&t, 10, START, BEGIN));
    leader_lease_tally_decided(&t, 10, START, 7);
    CU_ASSERT_FALSE(leader_lease_tally_is_over(&t, 10, START, BEGIN));
    /* Again, by voters that have applied it. */
    CU_ASSERT_EQUAL(said(&t, 1, 1, START), 0);
    CU_ASSERT_EQUAL(said(&t, 3, 1, START), 0);
    CU_ASSERT_TRUE(leader_lease_tally_is_over(&t, 10, START, BEGIN));
    leader_lease_tally_decided(&t, 10, START, 8);
    CU_ASSERT_EQUAL(said(&t, 1, 1, START), -ESTALE);
    leader_lease_tally_init(&t, voters, 3, 8);
    (void)leader_lease_tally_asked(&t, BEGIN);
    CU_ASSERT_EQUAL(said(&t, 1, 1, START), -ESTALE);
}

static void late_answers_count_for_nothing(void)
{
    struct leader_lease_tally t;
    leader_lease_tally_init(&t, voters, 1, 7);
    for (uint32_t i = 0; i <= LEADER_LEASE_ASKS; i++)
        (void)leader_lease_tally_asked(&t, BEGIN);
    CU_ASSERT_EQUAL(said(&t, 1, 1, START), -ESTALE);
    CU_ASSERT_FALSE(leader_lease_tally_is_over(&t, 10, START, BEGIN));
    CU_ASSERT_EQUAL(said(&t, 1, 2, START), 0);
    CU_ASSERT_TRUE(leader_lease_tally_is_over(&t, 10, START, BEGIN));
}

/* ---- voters that change ---- */

static void a_lease_outlives_the_voters_that_gave_it(void)
{
    const uint32_t others[] = {2, 3, 4};
    struct leader_lease_holder h = held();
    struct leader_lease_ask asked = leader_lease_asked(&h, BEGIN);
    for (uint32_t i = 0; i < 2; i++) {
        const struct leader_lease_grant g = {
            .voter = voters[i], .start = START, .number = asked.number, .duration_ns = LEASE};
        CU_ASSERT_EQUAL(leader_lease_granted(&h, &g, BEGIN), 0);
    }
    uint64_t until = leader_lease_until(&h);
    CU_ASSERT_EQUAL(until, lease_right_end(BEGIN, LEASE));
    leader_lease_holder_voters(&h, others, 3);
    CU_ASSERT_EQUAL(leader_lease_until(&h), until);
    /* What voters of before gave is no part of a new one: one grant is no majority. */
    asked = leader_lease_asked(&h, BEGIN + LEASE);
    const struct leader_lease_grant one = {
        .voter = 4, .start = START, .number = asked.number, .duration_ns = LEASE};
    CU_ASSERT_EQUAL(leader_lease_granted(&h, &one, BEGIN + LEASE), 0);
    CU_ASSERT_EQUAL(leader_lease_until(&h), until);
}

static void statements_stay_with_their_voters(void)
{
    const uint32_t first[] = {1, 2, 3}, more[] = {2, 3, 4, 5}, fewer[] = {1, 3, 4};
    struct leader_lease_tally t;
    leader_lease_tally_init(&t, first, 3, 7);
    struct leader_lease_answer answer = {.number = leader_lease_tally_asked(&t, BEGIN), .index = 9};
    const struct leader_lease_over said = {.node = 10, .start = START, .bound_ns = LONGEST};
    for (answer.voter = 2; answer.voter <= 3; answer.voter++)
        CU_ASSERT_EQUAL(leader_lease_tally_said(&t, &answer, &said), 0);
    CU_ASSERT_TRUE(leader_lease_tally_is_over(&t, 10, START, BEGIN));
    leader_lease_tally_voters(&t, more, 4);
    CU_ASSERT_FALSE(leader_lease_tally_is_over(&t, 10, START, BEGIN)); /* two of four */
    answer.voter = 5;
    CU_ASSERT_EQUAL(leader_lease_tally_said(&t, &answer, &said), 0);
    CU_ASSERT_TRUE(leader_lease_tally_is_over(&t, 10, START, BEGIN));
    answer.voter = 1;
    CU_ASSERT_EQUAL(leader_lease_tally_said(&t, &answer, &said), -ENOENT);
    leader_lease_tally_voters(&t, fewer, 3);
    CU_ASSERT_FALSE(leader_lease_tally_is_over(&t, 10, START, BEGIN)); /* of them 3 alone */
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_voter_that_has_started_is_silent),
    UNIT_TEST(who_was_granted_and_does_not_ask_again_is_over),
    UNIT_TEST(it_is_said_again_of_who_does_not_ask),
    UNIT_TEST(a_decision_lifts_the_bond),
    UNIT_TEST(a_later_start_is_somebody_else),
    UNIT_TEST(a_cluster_that_starts_fails_nobody),
    UNIT_TEST(who_is_denied_runs_out),
    UNIT_TEST(there_is_room_for_so_many_nodes),
    UNIT_TEST(a_majority_of_grants_is_a_lease_from_the_ask_on),
    UNIT_TEST(grants_that_cannot_be_are_refused),
    UNIT_TEST(one_voter_is_a_majority_of_one),
    UNIT_TEST(a_majority_of_statements_counts_from_the_question),
    UNIT_TEST(what_was_said_before_a_decision_counts_for_nothing),
    UNIT_TEST(late_answers_count_for_nothing),
    UNIT_TEST(who_is_forgotten_leaves_nothing_behind),
    UNIT_TEST(one_that_votes_again_grants_nothing_before_what_it_said_is_over),
    UNIT_TEST(a_lease_outlives_the_voters_that_gave_it),
    UNIT_TEST(statements_stay_with_their_voters),
};
UNIT_MAIN("leader_lease", tests)
