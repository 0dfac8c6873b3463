/* Two handshakes, HELLOs carried by hand. */
#include "dataplane/handshake.h"
#include "tests/unit/unit.h"

static struct handshake a, b;
static uint64_t now;

static void start_with(struct handshake *h, uint64_t start, uint8_t lowest, uint8_t highest)
{
    struct handshake_hello own = {
        .start = start, .features = 0xf0 + start, .version_lowest = lowest};
    own.version_highest = highest;
    memset(own.challenge, (int)(start + (h == &a ? 0 : 100)), sizeof own.challenge);
    handshake_init(h, &own, now);
}

static void start(struct handshake *h, uint64_t number)
{
    start_with(h, number, 1, 1);
}

static void start_both(void)
{
    now = 1000;
    start(&a, 5);
    start(&b, 9);
}

/* What h sends now; a start of 0: nothing. */
static struct handshake_hello sent(struct handshake *h)
{
    struct handshake_hello hello = {.start = 0};
    uint8_t wire[HANDSHAKE_HELLO_BYTES];
    if (!handshake_send(h, now, &hello))
        return (struct handshake_hello){.start = 0};
    struct handshake_hello copy;
    handshake_hello_encode(&hello, wire);
    CU_ASSERT_TRUE(handshake_hello_decode(&copy, wire, sizeof wire));
    copy.start = hello.start;
    return copy;
}

/* Carry HELLOs to and fro until nobody has anything to say.  Returns how many there were. */
static uint32_t talk(void)
{
    for (uint32_t count = 0; count < 100;) {
        struct handshake_hello of_a = sent(&a);
        struct handshake_hello of_b = sent(&b);
        if (of_a.start == 0 && of_b.start == 0)
            return count;
        count += (of_a.start != 0 ? 1u : 0) + (of_b.start != 0 ? 1u : 0);
        if (of_a.start != 0)
            (void)!handshake_receive(&b, &of_a);
        if (of_b.start != 0)
            (void)!handshake_receive(&a, &of_b);
    }
    return 100;
}

static void both_come_up_when_hellos_cross(void)
{
    start_both();
    struct handshake_hello of_a = sent(&a);
    struct handshake_hello of_b = sent(&b);
    CU_ASSERT_EQUAL(handshake_receive(&a, &of_b), HANDSHAKE_REPLACED);
    CU_ASSERT_EQUAL(handshake_receive(&b, &of_a), HANDSHAKE_REPLACED);
    CU_ASSERT_FALSE(a.up || b.up);
    of_a = sent(&a);
    of_b = sent(&b);
    CU_ASSERT_EQUAL(handshake_receive(&a, &of_b), HANDSHAKE_UP);
    CU_ASSERT_EQUAL(handshake_receive(&b, &of_a), HANDSHAKE_UP);
    CU_ASSERT_TRUE(a.up && b.up);
    CU_ASSERT_EQUAL(a.peer_start, 9);
    CU_ASSERT_EQUAL(b.peer_start, 5);
    CU_ASSERT_EQUAL(memcmp(a.peer_challenge, b.own.challenge, sizeof a.peer_challenge), 0);
    CU_ASSERT_EQUAL(memcmp(b.peer_challenge, a.own.challenge, sizeof b.peer_challenge), 0);
    CU_ASSERT_EQUAL(a.version, 1);
    CU_ASSERT_EQUAL(a.features, (0xf0 + 5) & (0xf0 + 9));
    CU_ASSERT_EQUAL(b.features, a.features);
    CU_ASSERT(talk() <= 2);
    now += 3600 * NS_PER_S;
    CU_ASSERT_EQUAL(talk(), 0); /* who is up says nothing more */
    CU_ASSERT_EQUAL(handshake_deadline(&a), UINT64_MAX);
}

static void one_side_alone_brings_both_up(void)
{
    start_both();
    (void)sent(&b); /* lost */
    struct handshake_hello of_a = sent(&a);
    CU_ASSERT_EQUAL(handshake_receive(&b, &of_a), HANDSHAKE_REPLACED);
    struct handshake_hello of_b = sent(&b); /* at once, not when the back-off says */
    CU_ASSERT_EQUAL(of_b.start, 9);
    CU_ASSERT_EQUAL(handshake_receive(&a, &of_b), HANDSHAKE_UP);
    of_a = sent(&a);
    CU_ASSERT_TRUE(of_a.up);
    CU_ASSERT_EQUAL(handshake_receive(&b, &of_a), HANDSHAKE_UP);
    CU_ASSERT_EQUAL(sent(&b).start, 0); /* nobody waits for it */
}

static void the_last_hello_may_be_lost(void)
{
    start_both();
    struct handshake_hello of_a = sent(&a);
    (void)!handshake_receive(&b, &of_a);
    struct handshake_hello of_b = sent(&b);
    CU_ASSERT_EQUAL(handshake_receive(&a, &of_b), HANDSHAKE_UP);
    (void)sent(&a); /* lost: b does not know */
    CU_ASSERT_FALSE(b.up);
    CU_ASSERT_EQUAL(sent(&b).start, 0);
    now = handshake_deadline(&b);
    of_b = sent(&b);
    CU_ASSERT_EQUAL(of_b.start, 9);
    CU_ASSERT_EQUAL(handshake_receive(&a, &of_b), HANDSHAKE_NOTHING);
    of_a = sent(&a);
    CU_ASSERT_EQUAL(handshake_receive(&b, &of_a), HANDSHAKE_UP);
}

static void resends_back_off(void)
{
    start_both();
    uint64_t wait = HANDSHAKE_RESEND_NS;
    CU_ASSERT_EQUAL(handshake_deadline(&a), now);
    CU_ASSERT_EQUAL(sent(&a).start, 5);
    for (uint32_t i = 0; i < 12; i++) {
        CU_ASSERT_EQUAL(handshake_deadline(&a), now + wait);
        now += wait - 1;
        CU_ASSERT_EQUAL(sent(&a).start, 0);
        now++;
        CU_ASSERT_EQUAL(sent(&a).start, 5);
        wait = min_u64(2 * wait, HANDSHAKE_RESEND_MAX_NS);
    }
    CU_ASSERT_EQUAL(wait, HANDSHAKE_RESEND_MAX_NS);
}

static void answers_to_the_same_hello_are_limited(void)
{
    start_both();
    struct handshake_hello of_a = sent(&a);
    (void)talk();
    CU_ASSERT_TRUE(a.up && b.up);
    now += NS_PER_S;
    uint32_t answers = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        CU_ASSERT_EQUAL(handshake_receive(&b, &of_a), HANDSHAKE_NOTHING);
        answers += sent(&b).start != 0;
        now += HANDSHAKE_ANSWER_NS / 100;
    }
    CU_ASSERT(answers >= 9 && answers <= 11);
}

static void a_replayed_hello_changes_nothing(void)
{
    start_both();
    struct handshake_hello first = sent(&a);
    (void)!handshake_receive(&b, &first);
    struct handshake_hello of_b = sent(&b);
    (void)!handshake_receive(&a, &of_b);
    struct handshake_hello second = sent(&a);
    (void)!handshake_receive(&b, &second);
    CU_ASSERT_TRUE(b.up);
    start(&a, 6);
    now += NS_PER_S;
    (void)talk();
    CU_ASSERT_TRUE(a.up && b.up && b.peer_start == 6);
    struct handshake before = b;
    CU_ASSERT_EQUAL(handshake_receive(&b, &first), HANDSHAKE_OLDER_START);
    CU_ASSERT_EQUAL(handshake_receive(&b, &second), HANDSHAKE_OLDER_START);
    CU_ASSERT_EQUAL(memcmp(&before, &b, sizeof b), 0);
    CU_ASSERT_EQUAL(sent(&b).start, 0);
}

static void a_recording_brings_nobody_up(void)
{
    start_both();
    (void)talk();
    struct handshake_hello recorded = a.own; /* echoes b's challenge of start 9 */
    CU_ASSERT_TRUE(recorded.up);
    start(&b, 10);
    b.own.challenge[0] ^= 1;
    now += NS_PER_S;
    CU_ASSERT_EQUAL(handshake_receive(&b, &recorded), HANDSHAKE_REPLACED);
    CU_ASSERT_FALSE(b.up);
    CU_ASSERT_EQUAL(handshake_receive(&b, &recorded), HANDSHAKE_NOTHING);
    CU_ASSERT_FALSE(b.up);
}

static void a_restart_replaces_the_pair(void)
{
    start_both();
    (void)talk();
    now += NS_PER_S;
    start(&a, 6);
    struct handshake_hello of_a = sent(&a);
    CU_ASSERT_EQUAL(handshake_receive(&b, &of_a), HANDSHAKE_REPLACED);
    CU_ASSERT_FALSE(b.up); /* with start 5 no more, with 6 not yet */
    struct handshake_hello of_b = sent(&b);
    CU_ASSERT_EQUAL(of_b.start, 9);
    CU_ASSERT_FALSE(of_b.up);
    CU_ASSERT_EQUAL(handshake_receive(&a, &of_b), HANDSHAKE_UP);
    (void)talk();
    CU_ASSERT_TRUE(a.up && b.up);
    CU_ASSERT_EQUAL(b.peer_start, 6);
    now += NS_PER_S;
    start(&b, 10);
    (void)talk();
    CU_ASSERT_TRUE(a.up && b.up);
    CU_ASSERT_EQUAL(a.peer_start, 10);
}

/* As when the secret that a pair came up with is void: it is up again only with a start that has another. */
static void a_pair_that_ended_begins_anew(void)
{
    start_both();
    (void)talk();
    now += NS_PER_S;
    CU_ASSERT_EQUAL(handshake_deadline(&b), UINT64_MAX);
    handshake_end(&b);
    CU_ASSERT_FALSE(b.up);
    CU_ASSERT_EQUAL(b.peer_start, 5);
    struct handshake_hello of_b = sent(&b); /* at once */
    CU_ASSERT_EQUAL(of_b.start, 9);
    CU_ASSERT_FALSE(of_b.up);
    CU_ASSERT_EQUAL(handshake_deadline(&b), now + HANDSHAKE_RESEND_NS);
    start(&a, 4);
    struct handshake_hello of_a = sent(&a);
    CU_ASSERT_EQUAL(handshake_receive(&b, &of_a), HANDSHAKE_OLDER_START);
    start(&a, 6);
    (void)talk();
    CU_ASSERT_TRUE(a.up && b.up);
    CU_ASSERT_EQUAL(b.peer_start, 6);
}

static void who_may_be_understood_now_speaks_at_once(void)
{
    start_both();
    for (uint32_t i = 0; i < 12; i++) {
        CU_ASSERT_EQUAL(sent(&a).start, 5);
        now = handshake_deadline(&a);
    }
    CU_ASSERT_EQUAL(sent(&a).start, 5);
    CU_ASSERT_EQUAL(sent(&a).start, 0);
    handshake_hurry(&a);
    CU_ASSERT_EQUAL(sent(&a).start, 5);
    CU_ASSERT_EQUAL(handshake_deadline(&a), now + HANDSHAKE_RESEND_NS);
    (void)talk();
    CU_ASSERT_TRUE(a.up && b.up);
    handshake_hurry(&a);
    CU_ASSERT_TRUE(a.up);
    CU_ASSERT_EQUAL(sent(&a).start, 0);
}

static void a_lower_start_is_refused(void)
{
    start_both();
    (void)talk();
    start(&a, 4);
    now += NS_PER_S;
    struct handshake_hello of_a = sent(&a);
    CU_ASSERT_EQUAL(handshake_receive(&b, &of_a), HANDSHAKE_OLDER_START);
    CU_ASSERT_TRUE(b.up);
    CU_ASSERT_EQUAL(b.peer_start, 5);
    CU_ASSERT_EQUAL(sent(&b).start, 0);
    of_a.start = 0;
    CU_ASSERT_EQUAL(handshake_receive(&b, &of_a), HANDSHAKE_OLDER_START);
}

static void the_same_start_with_another_challenge_is_refused(void)
{
    start_both();
    struct handshake_hello of_a = sent(&a);
    (void)!handshake_receive(&b, &of_a);
    of_a.challenge[3] ^= 1;
    CU_ASSERT_EQUAL(handshake_receive(&b, &of_a), HANDSHAKE_OTHER_START);
    CU_ASSERT_EQUAL(memcmp(b.own.echo, a.own.challenge, sizeof b.own.echo), 0);
}

static void the_highest_version_of_both_is_taken(void)
{
    static const uint8_t pairs[][5] = {
        {1, 4, 2, 3, 3}, {1, 2, 2, 5, 2}, {3, 3, 1, 9, 3}, {7, 9, 7, 9, 9}};
    for (uint32_t i = 0; i < 4; i++) {
        now = 1000;
        start_with(&a, 5, pairs[i][0], pairs[i][1]);
        start_with(&b, 9, pairs[i][2], pairs[i][3]);
        (void)talk();
        CU_ASSERT_TRUE(a.up && b.up);
        CU_ASSERT_EQUAL(a.version, pairs[i][4]);
        CU_ASSERT_EQUAL(b.version, pairs[i][4]);
    }
}

static void versions_that_do_not_meet_are_named(void)
{
    now = 1000;
    start_with(&a, 5, 1, 2);
    start_with(&b, 9, 3, 4);
    struct handshake_hello of_a = sent(&a);
    struct handshake_hello of_b = sent(&b);
    CU_ASSERT_EQUAL(handshake_receive(&a, &of_b), HANDSHAKE_VERSION_NEWER);
    CU_ASSERT_EQUAL(handshake_receive(&b, &of_a), HANDSHAKE_VERSION_OLDER);
    CU_ASSERT(talk() < 5);
    CU_ASSERT_FALSE(a.up || b.up);
    uint32_t said = 0;
    for (uint32_t i = 0; i < 10000; i++) { /* ten seconds */
        now += NS_PER_MS;
        said += talk();
    }
    CU_ASSERT(said < 60); /* they do not keep each other going */
    CU_ASSERT_FALSE(a.up || b.up);
    start_with(&a, 6, 1, 3); /* upgraded */
    (void)talk();
    CU_ASSERT_TRUE(a.up && b.up);
    CU_ASSERT_EQUAL(b.version, 3);
}

static void a_peer_that_became_too_old_is_not_up(void)
{
    now = 1000;
    start_with(&a, 5, 1, 3);
    start_with(&b, 9, 3, 4);
    (void)talk();
    CU_ASSERT_TRUE(b.up);
    start_with(&a, 6, 1, 2);
    now += NS_PER_S;
    struct handshake_hello of_a = sent(&a);
    CU_ASSERT_EQUAL(handshake_receive(&b, &of_a), HANDSHAKE_VERSION_OLDER);
    CU_ASSERT_FALSE(b.up);
}

static void what_was_agreed_on_stays(void)
{
    start_both();
    (void)talk();
    struct handshake_hello of_a = a.own;
    of_a.features = 1;
    of_a.version_lowest = of_a.version_highest = 7;
    CU_ASSERT_EQUAL(handshake_receive(&b, &of_a), HANDSHAKE_NOTHING);
    CU_ASSERT_TRUE(b.up);
    CU_ASSERT_EQUAL(b.version, 1);
    CU_ASSERT_EQUAL(b.features, a.features);
}

static void what_is_no_hello_is_refused(void)
{
    struct handshake_hello hello = {.version_lowest = 1, .version_highest = 2, .features = 7};
    struct handshake_hello copy;
    uint8_t wire[HANDSHAKE_HELLO_BYTES + 8] = {0};
    CU_ASSERT_FALSE(handshake_hello_decode(&copy, wire, sizeof wire)); /* challenge of zeros */
    memset(hello.challenge, 3, sizeof hello.challenge);
    memset(hello.echo, 4, sizeof hello.echo);
    handshake_hello_encode(&hello, wire);
    CU_ASSERT_TRUE(handshake_hello_decode(&copy, wire, HANDSHAKE_HELLO_BYTES));
    CU_ASSERT_TRUE(handshake_hello_decode(&copy, wire, sizeof wire)); /* of a newer version */
    CU_ASSERT_EQUAL(copy.features, 7);
    CU_ASSERT_EQUAL(copy.echo[15], 4);
    CU_ASSERT_FALSE(handshake_hello_decode(&copy, wire, HANDSHAKE_HELLO_BYTES - 1));
    wire[10] = 2;
    CU_ASSERT_FALSE(handshake_hello_decode(&copy, wire, sizeof wire));
    wire[10] = 1;
    wire[8] = 3; /* lowest above highest */
    CU_ASSERT_FALSE(handshake_hello_decode(&copy, wire, sizeof wire));
}

static const struct unit_test tests[] = {
    UNIT_TEST(both_come_up_when_hellos_cross),
    UNIT_TEST(one_side_alone_brings_both_up),
    UNIT_TEST(the_last_hello_may_be_lost),
    UNIT_TEST(resends_back_off),
    UNIT_TEST(answers_to_the_same_hello_are_limited),
    UNIT_TEST(a_replayed_hello_changes_nothing),
    UNIT_TEST(a_recording_brings_nobody_up),
    UNIT_TEST(a_restart_replaces_the_pair),
    UNIT_TEST(a_pair_that_ended_begins_anew),
    UNIT_TEST(who_may_be_understood_now_speaks_at_once),
    UNIT_TEST(a_lower_start_is_refused),
    UNIT_TEST(the_same_start_with_another_challenge_is_refused),
    UNIT_TEST(the_highest_version_of_both_is_taken),
    UNIT_TEST(versions_that_do_not_meet_are_named),
    UNIT_TEST(a_peer_that_became_too_old_is_not_up),
    UNIT_TEST(what_was_agreed_on_stays),
    UNIT_TEST(what_is_no_hello_is_refused),
};
UNIT_MAIN("handshake", tests)
