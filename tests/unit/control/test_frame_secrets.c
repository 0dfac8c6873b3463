/* Secrets of one pair of nodes: who draws, who is told when, and that at no time one seals with what the other cannot
 * open, whatever becomes of connections, starts, memory and random numbers. */
#include "control/frame_secrets.h"

#include "tests/unit/unit.h"

#define LOW 3u
#define HIGH 7u
#define QUEUE 64u
#define GRACE (10 * NS_PER_S)
#define AGE (100 * NS_PER_S)

struct side {
    struct frame_secrets secrets;
    uint32_t other;
    uint64_t start;
    struct pair_secrets_view shared; /* as its lcores know it */
    uint32_t shares, draws, sends;
    bool cannot_draw, cannot_share, cannot_send;
    uint32_t spent;
    /* Messages to it, in order. */
    uint8_t queue[QUEUE][FRAME_SECRETS_MESSAGE_BYTES];
    uint32_t head, tail;
    struct side *peer;
};

static struct side low, high;
static uint64_t now;
static uint64_t random_state;

/* xorshift64* (Vigna 2016) */
static uint64_t random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

static uint32_t random_below(uint32_t bound)
{
    return (uint32_t)(random_next() >> 33) % bound;
}

/* ---- edges ---- */

static bool draw(void *context, uint8_t bytes[FRAME_SECRET_BYTES])
{
    struct side *s = context;
    if (s->cannot_draw)
        return false;
    s->draws++;
    for (uint32_t i = 0; i < FRAME_SECRET_BYTES; i++)
        bytes[i] = (uint8_t)random_next();
    return true;
}

static bool share(void *context, uint32_t node, const struct pair_secrets_view *view)
{
    struct side *s = context;
    if (s->cannot_share)
        return false;
    CU_ASSERT_EQUAL(node, s->other);
    s->shared = *view;
    s->shares++;
    return true;
}

static bool send_one(void *context, uint32_t node, const uint8_t *bytes, uint32_t length)
{
    struct side *s = context;
    struct side *to = s->peer;
    if (s->cannot_send)
        return false;
    CU_ASSERT_EQUAL(node, s->other);
    CU_ASSERT_EQUAL(length, FRAME_SECRETS_MESSAGE_BYTES);
    CU_ASSERT_FATAL(to->tail - to->head < QUEUE);
    memcpy(to->queue[to->tail++ % QUEUE], bytes, length);
    s->sends++;
    return true;
}

static uint32_t spent(void *context, uint32_t node)
{
    (void)node;
    return ((struct side *)context)->spent;
}

static void step(struct side *s)
{
    const struct frame_secrets_edge edge = {
        .draw = draw, .share = share, .send = send_one, .spent = spent, .context = s};
    frame_secrets_step(&s->secrets, now, &edge);
}

static void link_both(bool up)
{
    low.head = low.tail = high.head = high.tail = 0;
    frame_secrets_link(&low.secrets, HIGH, up);
    frame_secrets_link(&high.secrets, LOW, up);
    step(&low);
    step(&high);
}

/* One message to that side; false: there is none. */
static bool deliver(struct side *s)
{
    if (s->head == s->tail)
        return false;
    CU_ASSERT_EQUAL(frame_secrets_received(&s->secrets, s->other, s->queue[s->head++ % QUEUE],
                                           FRAME_SECRETS_MESSAGE_BYTES),
                    0);
    step(s);
    return true;
}

static void settle(void)
{
    bool is_moving = true;
    while (is_moving) {
        is_moving = deliver(&low);
        is_moving = deliver(&high) || is_moving;
    }
}

static void restart(struct side *s)
{
    const struct frame_secrets_config config = {
        .node = s == &low ? LOW : HIGH, .start = ++s->start, .age_ns = AGE, .grace_ns = GRACE};
    frame_secrets_init(&s->secrets, &config);
    memset(&s->shared, 0, sizeof s->shared);
    s->spent = 0;
}

static void begin(void)
{
    random_state = 1;
    now = NS_PER_S;
    memset(&low, 0, sizeof low);
    memset(&high, 0, sizeof high);
    low.other = HIGH;
    high.other = LOW;
    low.peer = &high;
    high.peer = &low;
    low.start = 100;
    high.start = 200;
    restart(&low);
    restart(&high);
}

static void begin_linked(void)
{
    begin();
    link_both(true);
    settle();
}

/* ---- what is so ---- */

static bool is_pair(void)
{
    return low.shared.start == high.start && high.shared.start == low.start;
}

static const struct pair_secret *find(const struct side *s, uint32_t number)
{
    for (uint32_t i = 0; i < PAIR_SECRETS_HELD; i++)
        if (number != 0 && s->shared.secrets[i].number == number)
            return &s->shared.secrets[i];
    return NULL;
}

static bool opens(const struct side *s, uint32_t number)
{
    const struct pair_secret *mine = find(s, number), *other = find(s->peer, number);
    return mine != NULL && other != NULL &&
           memcmp(mine->bytes, other->bytes, FRAME_SECRET_BYTES) == 0;
}

/* Both have number alone, and seal with it. */
static bool is_settled(uint32_t number)
{
    return is_pair() && low.shared.seals == number && high.shared.seals == number &&
           opens(&low, number) && opens(&high, number) && low.shared.secrets[1].number == 0 &&
           high.shared.secrets[1].number == 0;
}

static void pass_time(uint64_t ns)
{
    now += ns;
    step(&low);
    step(&high);
    settle();
}

/* ---- */

static void the_lower_draws_and_tells(void)
{
    begin();
    link_both(true);
    CU_ASSERT_EQUAL(low.sends + high.sends, 2); /* START, START */
    CU_ASSERT_EQUAL(low.draws, 0);
    CU_ASSERT_TRUE(deliver(&low));
    CU_ASSERT_EQUAL(low.draws, 1);
    CU_ASSERT_EQUAL(low.shared.start, high.start);
    CU_ASSERT_EQUAL(low.shared.seals, 1);
    settle();
    CU_ASSERT_TRUE(is_settled(1));
    CU_ASSERT_EQUAL(low.draws, 1);
    CU_ASSERT_EQUAL(high.draws, 0);
    CU_ASSERT_EQUAL(low.sends, 2);  /* START, SECRET */
    CU_ASSERT_EQUAL(high.sends, 2); /* START, HELD */
    uint32_t sends = low.sends + high.sends;
    for (uint32_t i = 0; i < 50; i++)
        pass_time(NS_PER_S);
    CU_ASSERT_EQUAL(low.sends + high.sends, sends);
}

static void a_link_that_comes_back_changes_nothing(void)
{
    begin_linked();
    uint32_t shares = low.shares + high.shares;
    link_both(false);
    pass_time(5 * NS_PER_S);
    CU_ASSERT_TRUE(is_settled(1));
    link_both(true);
    settle();
    CU_ASSERT_TRUE(is_settled(1));
    CU_ASSERT_EQUAL(low.draws, 1);
    CU_ASSERT_EQUAL(low.shares + high.shares, shares);
}

static void a_restart_gets_another_secret(void)
{
    begin_linked();
    struct pair_secret before = low.shared.secrets[0];
    link_both(false);
    restart(&high);
    link_both(true);
    CU_ASSERT_TRUE(find(&low, 1) != NULL); /* not yet told */
    settle();
    CU_ASSERT_TRUE(is_settled(1));
    CU_ASSERT_NOT_EQUAL(memcmp(before.bytes, low.shared.secrets[0].bytes, FRAME_SECRET_BYTES), 0);
    before = low.shared.secrets[0];
    link_both(false);
    restart(&low);
    link_both(true);
    settle();
    CU_ASSERT_TRUE(is_settled(1));
    CU_ASSERT_NOT_EQUAL(memcmp(before.bytes, low.shared.secrets[0].bytes, FRAME_SECRET_BYTES), 0);
}

/* The lower one knows that the higher has started anew before there is another secret. */
static void what_was_shared_is_void_at_once(void)
{
    begin_linked();
    low.cannot_draw = true;
    link_both(false);
    restart(&high);
    link_both(true);
    settle();
    CU_ASSERT_EQUAL(low.shared.start, 0);
    CU_ASSERT_PTR_NULL(find(&low, 1));
    low.cannot_draw = false;
    pass_time(NS_PER_S);
    CU_ASSERT_TRUE(is_settled(1));
}

static void a_start_that_is_over_is_not_heard(void)
{
    uint8_t old[FRAME_SECRETS_MESSAGE_BYTES];
    begin();
    link_both(true);
    memcpy(old, low.queue[0], sizeof old);
    settle();
    link_both(false);
    restart(&high);
    link_both(true);
    settle();
    CU_ASSERT_TRUE(is_settled(1));
    CU_ASSERT_EQUAL(frame_secrets_received(&low.secrets, HIGH, old, sizeof old), 0);
    step(&low);
    CU_ASSERT_TRUE(is_settled(1));
}

static void nor_is_a_secret_of_one(void)
{
    uint8_t old[FRAME_SECRETS_MESSAGE_BYTES];
    begin();
    link_both(true);
    CU_ASSERT_TRUE(deliver(&low));
    CU_ASSERT_TRUE(deliver(&high));
    memcpy(old, high.queue[high.head % QUEUE], sizeof old);
    CU_ASSERT_EQUAL(old[1], 2);
    old[4] = 9; /* newer than any */
    settle();
    link_both(false);
    restart(&low);
    link_both(true);
    settle();
    CU_ASSERT_EQUAL(frame_secrets_received(&high.secrets, LOW, old, sizeof old), 0);
    step(&high);
    CU_ASSERT_TRUE(is_settled(1));
}

/* Before START nobody knows which start is at the other end of the link. */
static void nothing_is_said_before_start(void)
{
    begin_linked();
    pass_time(AGE);
    CU_ASSERT_EQUAL(low.shared.seals, 2);
    link_both(false);
    restart(&high);
    link_both(true);
    now += GRACE;
    step(&low);
    CU_ASSERT_EQUAL(low.shared.secrets[1].number, 0);
    CU_ASSERT_EQUAL(high.tail - high.head, 1);
    settle();
    CU_ASSERT_TRUE(is_settled(1));
}

/* ---- one after another ---- */

static void an_hour_later_another_follows(void)
{
    begin_linked();
    pass_time(AGE - NS_PER_S);
    CU_ASSERT_EQUAL(low.draws, 1);
    now += NS_PER_S;
    step(&low);
    CU_ASSERT_EQUAL(low.draws, 2);
    CU_ASSERT_EQUAL(low.shared.seals, 1); /* nobody else can open the other */
    CU_ASSERT_TRUE(find(&low, 1) != NULL && find(&low, 2) != NULL);
    CU_ASSERT_TRUE(deliver(&high));
    CU_ASSERT_EQUAL(high.shared.seals, 2);
    CU_ASSERT_TRUE(opens(&high, 1));
    CU_ASSERT_TRUE(deliver(&low));
    CU_ASSERT_EQUAL(low.shared.seals, 2);
    CU_ASSERT_TRUE(opens(&low, 1)); /* on its way */
    settle();
    pass_time(GRACE - 1);
    CU_ASSERT_TRUE(opens(&low, 1) && opens(&high, 1));
    pass_time(1);
    CU_ASSERT_TRUE(is_settled(2));
    pass_time(AGE);
    pass_time(GRACE);
    CU_ASSERT_TRUE(is_settled(3));
}

static void one_that_is_used_up_is_followed(void)
{
    begin_linked();
    low.spent = 1;
    pass_time(1);
    CU_ASSERT_EQUAL(low.shared.seals, 2);
    pass_time(GRACE);
    CU_ASSERT_TRUE(is_settled(2));
    high.spent = 2;
    pass_time(1);
    CU_ASSERT_EQUAL(low.shared.seals, 3);
    high.spent = 3; /* while the one before is still there */
    pass_time(1);
    CU_ASSERT_EQUAL(low.shared.secrets[0].number, 3);
    pass_time(GRACE);
    CU_ASSERT_EQUAL(low.shared.secrets[0].number, 4);
    pass_time(GRACE);
    CU_ASSERT_TRUE(is_settled(4));
    frame_secrets_renew(&high.secrets);
    pass_time(1);
    CU_ASSERT_EQUAL(low.shared.secrets[0].number, 5);
    pass_time(GRACE);
    CU_ASSERT_TRUE(is_settled(5));
    frame_secrets_renew(&low.secrets);
    pass_time(1);
    pass_time(GRACE);
    CU_ASSERT_TRUE(is_settled(6));
    CU_ASSERT_EQUAL(low.draws, 6);
}

static void it_is_asked_for_once(void)
{
    begin_linked();
    uint32_t sends = high.sends;
    low.cannot_draw = true;
    high.spent = 1;
    for (uint32_t i = 0; i < 10; i++)
        pass_time(NS_PER_S);
    CU_ASSERT_EQUAL(high.sends, sends + 1);
    low.cannot_draw = false;
    pass_time(1);
    pass_time(GRACE);
    CU_ASSERT_TRUE(is_settled(2));
}

static void without_a_connection_it_stays_as_it_is(void)
{
    begin_linked();
    link_both(false);
    low.spent = high.spent = 1;
    pass_time(10 * AGE);
    CU_ASSERT_TRUE(is_settled(1));
    CU_ASSERT_EQUAL(low.draws, 1);
    link_both(true);
    settle();
    CU_ASSERT_EQUAL(low.draws, 2);
    pass_time(GRACE);
    CU_ASSERT_TRUE(is_settled(2));
}

/* The link breaks behind each of the messages. */
static void it_goes_on_wherever_it_broke(void)
{
    for (uint32_t arrived = 0; arrived < 3; arrived++) {
        begin_linked();
        now += AGE;
        step(&low);
        for (uint32_t i = 0; i < arrived; i++)
            CU_ASSERT_TRUE_FATAL(deliver(i % 2 == 0 ? &high : &low));
        link_both(false);
        pass_time(3 * GRACE);
        CU_ASSERT_TRUE(opens(&low, high.shared.seals) && opens(&high, low.shared.seals));
        link_both(true);
        settle();
        CU_ASSERT_EQUAL(low.shared.seals, 2);
        CU_ASSERT_EQUAL(high.shared.seals, 2);
        pass_time(GRACE);
        CU_ASSERT_TRUE(is_settled(2));
    }
}

/* ---- what is no message, or not for us ---- */

static void strange_messages_are_dropped(void)
{
    static const struct {
        uint32_t at;
        uint8_t value;
    } faults[] = {{0, 0}, {0, 2}, {1, 0}, {1, 6}, {2, 2}, {16, 99}, {4, 0}, {1, 3}, {1, 5}};
    uint8_t secret[FRAME_SECRETS_MESSAGE_BYTES], bytes[FRAME_SECRETS_MESSAGE_BYTES];
    begin();
    link_both(true);
    CU_ASSERT_TRUE(deliver(&low));
    CU_ASSERT_TRUE(deliver(&high)); /* START */
    memcpy(secret, high.queue[high.head], sizeof secret);
    CU_ASSERT_EQUAL(secret[1], 2);
    for (uint32_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        memcpy(bytes, secret, sizeof bytes);
        bytes[faults[i].at] = faults[i].value;
        CU_ASSERT_EQUAL(frame_secrets_received(&high.secrets, LOW, bytes, sizeof bytes), -EPROTO);
    }
    CU_ASSERT_EQUAL(frame_secrets_received(&high.secrets, LOW, secret, sizeof secret - 1), -EPROTO);
    CU_ASSERT_EQUAL(frame_secrets_received(&high.secrets, 9, secret, sizeof secret), -EPROTO);
    /* From the higher to the lower: it is not his to draw. */
    memcpy(bytes, secret, sizeof bytes);
    memcpy(bytes + 8, secret + 16, 8);
    memcpy(bytes + 16, secret + 8, 8);
    CU_ASSERT_EQUAL(frame_secrets_received(&low.secrets, HIGH, bytes, sizeof bytes), -EPROTO);
    step(&high);
    CU_ASSERT_EQUAL(high.shared.start, 0);
    uint8_t longer[FRAME_SECRETS_MESSAGE_BYTES + 8] = {0}; /* of a newer release */
    memcpy(longer, secret, sizeof secret);
    CU_ASSERT_EQUAL(frame_secrets_received(&high.secrets, LOW, longer, sizeof longer), 0);
    step(&high);
    CU_ASSERT_EQUAL(high.shared.seals, 1);
}

static void with_a_file_on_one_side_nothing_is_shared(void)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct side *with = i == 0 ? &low : &high;
        begin();
        const struct frame_secrets_config config = {
            .node = with->peer->other, .start = with->start, .has_file = true};
        frame_secrets_init(&with->secrets, &config);
        link_both(true);
        for (uint32_t again = 0; again < 2; again++) {
            int error = again == 0 ? -EXDEV : 0; /* said once */
            CU_ASSERT_EQUAL(frame_secrets_received(&low.secrets, HIGH, low.queue[0],
                                                   FRAME_SECRETS_MESSAGE_BYTES),
                            error);
            CU_ASSERT_EQUAL(frame_secrets_received(&high.secrets, LOW, high.queue[0],
                                                   FRAME_SECRETS_MESSAGE_BYTES),
                            error);
            step(&low);
            step(&high);
        }
        CU_ASSERT_EQUAL(low.draws + low.shared.start + high.shared.start, 0);
    }
}

static void with_files_nothing_is_drawn(void)
{
    begin();
    low.secrets.config.has_file = high.secrets.config.has_file = true;
    link_both(true);
    settle();
    pass_time(2 * AGE);
    CU_ASSERT_EQUAL(low.draws + low.shared.start + high.shared.start, 0);
    CU_ASSERT_EQUAL(low.sends + high.sends, 2);
}

static void a_node_that_is_forgotten_shares_nothing(void)
{
    begin_linked();
    frame_secrets_forget(&low.secrets, HIGH);
    step(&low);
    CU_ASSERT_EQUAL(low.shared.start, 0);
    CU_ASSERT_EQUAL(low.secrets.peers[0].node, 0);
    link_both(false);
    link_both(true); /* it is added again, as the same start */
    settle();
    CU_ASSERT_TRUE(is_settled(2));
    pass_time(GRACE);
    CU_ASSERT_TRUE(is_settled(2));
}

/* ---- at random ---- */

static struct {
    uint32_t followed, broken, restarted, failed, starts;
} reached;

/* Who seals with any but the first, which nobody opens before he is told, is understood. */
static void invariant(void)
{
    if (!is_pair())
        return;
    CU_ASSERT_TRUE_FATAL(low.shared.seals <= 1 || opens(&high, low.shared.seals));
    CU_ASSERT_TRUE_FATAL(high.shared.seals == 0 || opens(&low, high.shared.seals));
}

static void act(struct side *s)
{
    uint32_t what = random_below(1000);
    if (what < 640) {
        (void)deliver(s);
    } else if (what < 790) {
        now += random_below(4) * NS_PER_S;
        step(s);
    } else if (what < 850) {
        s->spent = s->shared.secrets[0].number;
    } else if (what < 870) {
        frame_secrets_renew(&s->secrets);
    } else if (what < 930) {
        s->cannot_send = random_below(2) == 0;
        s->cannot_share = random_below(3) == 0;
        s->cannot_draw = random_below(2) == 0;
        reached.failed++;
    } else if (what < 960) {
        link_both(false);
        if (random_below(3) != 0)
            link_both(true);
        reached.broken++;
    } else if (what < 963) {
        link_both(false);
        restart(s);
        link_both(true);
        reached.restarted++;
    }
}

static void whatever_happens_who_seals_is_understood(void)
{
    memset(&reached, 0, sizeof reached);
    for (uint32_t seed = 0; seed < 300; seed++) {
        begin();
        random_state = seed + 1;
        link_both(true);
        for (uint32_t i = 0; i < 600; i++) {
            act(random_below(2) == 0 ? &low : &high);
            invariant();
        }
        reached.followed += low.shared.secrets[0].number > 2 ? 1 : 0;
        low.cannot_draw = low.cannot_send = low.cannot_share = false;
        high.cannot_draw = high.cannot_send = high.cannot_share = false;
        low.spent = high.spent = 0;
        link_both(false);
        link_both(true);
        settle();
        /* Why more than once: another may have followed in the end because it was time. */
        for (uint32_t i = 0; i < 5 && !is_settled(low.shared.secrets[0].number); i++)
            pass_time(GRACE);
        CU_ASSERT_TRUE_FATAL(is_settled(low.shared.secrets[0].number));
    }
    CU_ASSERT(reached.followed > 50 && reached.broken > 1000 && reached.restarted > 200 &&
              reached.failed > 1000);
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_lower_draws_and_tells),
    UNIT_TEST(a_link_that_comes_back_changes_nothing),
    UNIT_TEST(a_restart_gets_another_secret),
    UNIT_TEST(what_was_shared_is_void_at_once),
    UNIT_TEST(a_start_that_is_over_is_not_heard),
    UNIT_TEST(nor_is_a_secret_of_one),
    UNIT_TEST(nothing_is_said_before_start),
    UNIT_TEST(an_hour_later_another_follows),
    UNIT_TEST(one_that_is_used_up_is_followed),
    UNIT_TEST(it_is_asked_for_once),
    UNIT_TEST(without_a_connection_it_stays_as_it_is),
    UNIT_TEST(it_goes_on_wherever_it_broke),
    UNIT_TEST(strange_messages_are_dropped),
    UNIT_TEST(with_a_file_on_one_side_nothing_is_shared),
    UNIT_TEST(with_files_nothing_is_drawn),
    UNIT_TEST(a_node_that_is_forgotten_shares_nothing),
    UNIT_TEST(whatever_happens_who_seals_is_understood),
};
UNIT_MAIN("frame_secrets", tests)
