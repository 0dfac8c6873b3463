/* Whether a peer is there: who is silent is asked, who answers is heard of, and recordings are not. */
#include "tests/unit/dataplane/udp_ends.h"
#include "tests/unit/unit.h"

#define ROUNDS 20u

static uint64_t heard(struct transport *t, uint32_t node)
{
    transport_publish(t);
    return transport_framed_heard_shown(t, node);
}

/* Until both have heard of each other at this time of the clock or later. */
static bool both_hear(uint64_t since)
{
    for (uint32_t i = 0; i < WAIT_MS && (heard(a, 3) < since || heard(b, 7) < since); i++) {
        CU_ASSERT_EQUAL(receive(a, 8), 0);
        CU_ASSERT_EQUAL(receive(b, 8), 0);
        transport_release(a);
        transport_release(b);
    }
    return heard(a, 3) >= since && heard(b, 7) >= since;
}

static uint64_t hellos_of(struct transport *t)
{
    transport_framed_count(t, &counters);
    return counters.hellos_sent;
}

static uint64_t hellos_at(struct transport *t)
{
    transport_framed_count(t, &counters);
    return counters.hellos_received;
}

/* Up, with no HELLO under way any more. */
static void wire_settle(void)
{
    struct frame_on_wire f;
    wire_open_up();
    for (uint32_t i = 0;
         i < WAIT_MS && (hellos_at(a) != hellos_of(b) || hellos_at(b) != hellos_of(a)); i++) {
        CU_ASSERT_EQUAL(receive(a, 8), 0);
        CU_ASSERT_EQUAL(receive(b, 8), 0);
        while (wire_take(&f, 0))
            wire_put(&f);
    }
    CU_ASSERT_EQUAL_FATAL(hellos_at(a), hellos_of(b));
    CU_ASSERT_EQUAL_FATAL(hellos_at(b), hellos_of(a));
}

static void who_has_nothing_to_say_answers(void)
{
    configure();
    open_both();
    CU_ASSERT_EQUAL(heard(a, 3), 0);
    come_up();
    CU_ASSERT_TRUE(both_hear(1));
    CU_ASSERT_EQUAL(heard(a, 7), 0);
    uint64_t before = hellos_of(a) + hellos_of(b);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        now = transport_framed_deadline(a);
        CU_ASSERT_EQUAL_FATAL(now, heard(a, 3) + TRANSPORT_FRAMED_SILENCE_NS);
        CU_ASSERT_TRUE_FATAL(both_hear(now));
    }
    /* One asks and the other answers; both may ask before either has heard. */
    uint64_t sent = hellos_of(a) + hellos_of(b) - before;
    CU_ASSERT(sent >= 2 * (uint64_t)ROUNDS && sent <= 4 * (uint64_t)ROUNDS);
    CU_ASSERT_TRUE(transport_framed_is_up(a, 3, NULL, NULL));
    close_both();
}

static void who_talks_is_not_asked(void)
{
    configure();
    open_up();
    CU_ASSERT_TRUE(both_hear(1));
    uint64_t before = hellos_of(a) + hellos_of(b);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        now += TRANSPORT_FRAMED_SILENCE_NS / 2;
        CU_ASSERT_TRUE(send_one(a, 3, "to b", 0) && send_one(b, 7, "to a", 0));
        flush(a);
        flush(b);
        CU_ASSERT_TRUE_FATAL(comes(a));
        CU_ASSERT_TRUE_FATAL(comes(b));
        transport_release(a);
        transport_release(b);
        CU_ASSERT_EQUAL(heard(a, 3), now);
    }
    CU_ASSERT_EQUAL(hellos_of(a) + hellos_of(b), before);
    close_both();
}

static void who_is_gone_is_asked_and_not_heard_of(void)
{
    struct frame_on_wire f;
    configure();
    config_a.silence_ns = 70 * NS_PER_MS;
    wire_settle();
    uint64_t last = heard(a, 3), before = hellos_of(a);
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        now += 70 * NS_PER_MS;
        CU_ASSERT_EQUAL(receive(a, 8), 0);
        CU_ASSERT_EQUAL(receive(a, 8), 0); /* once in that time, not once for each look */
        CU_ASSERT_EQUAL(hellos_of(a), before + i);
        while (wire_take(&f, 0))
            CU_ASSERT_TRUE(is_hello(&f));
    }
    CU_ASSERT_EQUAL(heard(a, 3), last);
    CU_ASSERT_TRUE(transport_framed_is_up(a, 3, NULL, NULL)); /* its keys stay: it may be frozen */
    close_both();
}

static bool is_heard_after(const struct frame_on_wire *f)
{
    now += NS_PER_MS;
    uint64_t received = hellos_at(a);
    wire_put(f);
    CU_ASSERT_TRUE(reaches(a, &counters.hellos_received, received + 1));
    return heard(a, 3) == now;
}

static void a_recording_is_not_heard(void)
{
    struct frame_on_wire f, first;
    configure();
    config_b.silence_ns = 3600 * NS_PER_S; /* it only answers */
    wire_settle();
    for (uint32_t i = 0; i < 2; i++) { /* two answers of b to a */
        now += TRANSPORT_FRAMED_SILENCE_NS;
        CU_ASSERT_EQUAL(receive(a, 8), 0);
        CU_ASSERT_TRUE_FATAL(wire_take(&f, WAIT_MS));
        CU_ASSERT_TRUE(f.from_a);
        hello_b.length = 0;
        wire_put(&f);
        for (uint32_t j = 0; j < WAIT_MS && hello_b.length == 0; j++) {
            CU_ASSERT_EQUAL(receive(b, 8), 0);
            (void)wire_take(&f, 1);
        }
        CU_ASSERT_FATAL(hello_b.length != 0);
        if (i == 0)
            first = hello_b;
    }
    CU_ASSERT_TRUE(is_heard_after(&hello_b));
    CU_ASSERT_FALSE(is_heard_after(&hello_b)); /* the same again */
    CU_ASSERT_FALSE(is_heard_after(&first));   /* an older one, even if it never came */
    close_both();
}

static const struct unit_test tests[] = {
    UNIT_TEST(who_has_nothing_to_say_answers),
    UNIT_TEST(who_talks_is_not_asked),
    UNIT_TEST(who_is_gone_is_asked_and_not_heard_of),
    UNIT_TEST(a_recording_is_not_heard),
};
UNIT_MAIN("transport_udp_alive", tests)
