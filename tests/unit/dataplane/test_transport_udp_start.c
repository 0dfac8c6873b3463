/* Starts of two endpoints, and what is on the wire from before: HELLOs, versions, secrets. */
#include "tests/unit/dataplane/udp_ends.h"
#include "tests/unit/unit.h"

#include <unistd.h>

static const struct transport_framed_secret other_secret = {.key_id = 4, .bytes = {7}};

static void restart(struct transport **t, struct transport_framed_config *config, uint32_t peer)
{
    transport_udp_close(*t);
    config->start++;
    *t = wire_open_one(config, peer);
}

static void pass_one(const char *head)
{
    CU_ASSERT_EQUAL(wire_catch(head, 3000), 3);
    for (uint32_t i = 0; i < 3; i++)
        wire_put(&caught[i]);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], head, 3000));
    transport_release(b);
}

static void either_side_may_restart(void)
{
    configure();
    wire_open_up();
    pass_one("first");
    restart(&a, &config_a, 3);
    wire_come_up();
    pass_one("after a restart of a");
    restart(&b, &config_b, 7);
    wire_come_up();
    pass_one("after a restart of b");
    CU_ASSERT_EQUAL(caught[0].frame[32], 1); /* another key, counted from 1 */
    restart(&a, &config_a, 3);
    restart(&b, &config_b, 7);
    wire_come_up();
    pass_one("after both");
    close_both();
}

static void queued_frames_end_with_the_start_of_the_peer(void)
{
    configure();
    config_a.rate = config_a.burst = 1;
    wire_open_both();
    wire_come_up();
    struct transport_datagram d = {.to = 3};
    for (uint32_t i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(transport_send(a, &d, 1), 1);
    (void)!transport_complete(a, holds, 8); /* one leaves */
    restart(&b, &config_b, 7);
    wire_come_up();
    transport_framed_count(a, &counters);
    CU_ASSERT_EQUAL(counters.frames_ended, 9);
    CU_ASSERT_EQUAL(transport_framed_endpoint_of(a)->queued, 0);
    close_both();
}

static void hellos_of_older_starts_change_nothing(void)
{
    configure();
    wire_open_up();
    struct frame_on_wire old = hello_a;
    wire_put(&old); /* the current one, once more */
    restart(&a, &config_a, 3);
    wire_come_up();
    transport_framed_count(b, &counters);
    CU_ASSERT_EQUAL(counters.pairs_up, 2);
    CU_ASSERT_EQUAL(counters.refused[FRAME_OTHER_START], 0);
    wire_put(&old);
    CU_ASSERT_TRUE(refuses(b, FRAME_OTHER_START, 1));
    CU_ASSERT_TRUE(transport_framed_is_up(b, 7, NULL, NULL));
    pass_one("still up");
    config_a.start -= 2; /* a daemon that came back from the past */
    restart(&a, &config_a, 3);
    CU_ASSERT_EQUAL(transport_receive(a, in, 8), 0);
    do {
        CU_ASSERT_TRUE_FATAL(wire_take(&caught[0], WAIT_MS));
    } while (!caught[0].from_a);
    wire_put(&caught[0]);
    CU_ASSERT_TRUE(refuses(b, FRAME_OTHER_START, 2));
    CU_ASSERT_TRUE(transport_framed_is_up(b, 7, NULL, NULL));
    close_both();
}

/* Hand HELLOs to and fro for a while; they do not come up. */
static void stay_down(void)
{
    struct frame_on_wire f;
    for (uint32_t i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(transport_receive(a, in, 8) + transport_receive(b, in, 8), 0);
        transport_release(a);
        transport_release(b);
        while (wire_take(&f, 0))
            wire_put(&f);
        now += NS_PER_MS;
    }
    CU_ASSERT_FALSE(transport_framed_is_up(a, 3, NULL, NULL) ||
                    transport_framed_is_up(b, 7, NULL, NULL));
}

static void versions_that_do_not_meet_stay_down(void)
{
    configure();
    config_b.version_lowest = FRAME_VERSION_HIGHEST + 1;
    config_b.version_highest = FRAME_VERSION_HIGHEST + 2;
    wire_open_both();
    stay_down();
    transport_framed_count(a, &counters);
    CU_ASSERT(counters.refused[FRAME_VERSION_NEWER] != 0);
    transport_framed_count(b, &counters);
    CU_ASSERT(counters.refused[FRAME_VERSION_OLDER] != 0);
    transport_udp_close(b);
    config_b.version_lowest = 1; /* speaks the older ones, too */
    config_b.start++;
    b = wire_open_one(&config_b, 7);
    wire_come_up();
    pass_one("together");
    close_both();
}

static void another_secret_stays_down(void)
{
    configure();
    config_b.secrets = &other_secret;
    wire_open_both();
    stay_down();
    transport_framed_count(a, &counters);
    CU_ASSERT(counters.refused[FRAME_WRONG_TAG] != 0);
    close_both();
}

static void another_key_id_stays_down(void)
{
    configure();
    config_b.secrets = secrets + 1;
    wire_open_both();
    stay_down();
    transport_framed_count(a, &counters);
    CU_ASSERT(counters.refused[FRAME_UNKNOWN_KEY] != 0);
    close_both();
}

/* As when secrets are changed: a seals with the new one already, b with the old one still. */
static void both_secrets_open(void)
{
    static const struct transport_framed_secret turned[2] = {{.key_id = 9, .bytes = {4, 5, 6}},
                                                             {.key_id = 4, .bytes = {1, 2, 3}}};
    configure();
    config_a.secrets = turned;
    config_a.secret_count = config_b.secret_count = 2;
    wire_open_both();
    wire_come_up();
    pass_one("new");
    CU_ASSERT_EQUAL(caught[0].frame[6], 9);
    struct transport_datagram d = {.to = 7};
    CU_ASSERT_EQUAL(transport_send(b, &d, 1), 1);
    (void)!transport_complete(b, holds, 8);
    wire_take_next(&caught[0]);
    CU_ASSERT_EQUAL(caught[0].frame[6], 4);
    transport_framed_count(a, &counters);
    uint64_t before = counters.datagrams_received;
    wire_put(&caught[0]);
    for (uint32_t i = 0; i < WAIT_MS && transport_receive(a, in, 1) == 0; i++)
        (void)usleep(1000);
    transport_framed_count(a, &counters);
    CU_ASSERT_EQUAL(counters.datagrams_received, before + 1);
    close_both();
}

static const struct unit_test tests[] = {
    UNIT_TEST(either_side_may_restart),
    UNIT_TEST(queued_frames_end_with_the_start_of_the_peer),
    UNIT_TEST(hellos_of_older_starts_change_nothing),
    UNIT_TEST(versions_that_do_not_meet_stay_down),
    UNIT_TEST(another_secret_stays_down),
    UNIT_TEST(another_key_id_stays_down),
    UNIT_TEST(both_secrets_open),
};
UNIT_MAIN("transport_udp_start", tests)
