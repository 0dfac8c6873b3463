#include "bench/fleet_chaos.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

static void what_is_asked_for_is_read(void)
{
    struct fleet_chaos c;
    CU_ASSERT_EQUAL_FATAL(fleet_chaos_parse("freeze:10-20s", &c), 0);
    CU_ASSERT_EQUAL(c.event_count, 1);
    CU_ASSERT_EQUAL(c.events[0].kind, FLEET_CHAOS_FREEZE);
    CU_ASSERT_EQUAL(c.events[0].from_ns, 10 * NS_PER_S);
    CU_ASSERT_EQUAL(c.events[0].until_ns, 20 * NS_PER_S);
    CU_ASSERT_EQUAL_FATAL(fleet_chaos_parse("freeze:1-2s,move:3s,freeze:2-4s", &c), 0);
    CU_ASSERT_EQUAL(c.event_count, 3);
    CU_ASSERT_EQUAL(c.events[1].kind, FLEET_CHAOS_MOVE);
    CU_ASSERT_EQUAL(c.events[1].from_ns, 3 * NS_PER_S);
}

static void anything_else_is_refused(void)
{
    static const char *const faults[] = {
        "",
        ",",
        "freeze",
        "freeze:10s",
        "freeze:10-20",
        "freeze:20-10s",
        "freeze:10-10s",
        "freeze:-1-2s",
        "freeze:1-2s,",
        "freeze:1-2s move:3s",
        "freeze:1-5s,freeze:4-8s",
        "move:0s",
        "move:s",
        "move:3",
        "move:3s,move:4s",
        "move:99999999999999999999s",
        "kill-leader:5s",
        "move:1s,x",
    };
    struct fleet_chaos c;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        CU_ASSERT_EQUAL(fleet_chaos_parse(faults[i], &c), -EINVAL);
}

static void there_is_an_end_of_events(void)
{
    char text[256] = "freeze:0-1s";
    struct fleet_chaos c;
    for (uint32_t i = 1; i < FLEET_CHAOS_EVENTS; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), ",freeze:%u-%us", i, i + 1);
    CU_ASSERT_EQUAL(fleet_chaos_parse(text, &c), 0);
    CU_ASSERT_EQUAL(c.event_count, FLEET_CHAOS_EVENTS);
    (void)snprintf(text + strlen(text), sizeof text - strlen(text), ",move:1s");
    CU_ASSERT_EQUAL(fleet_chaos_parse(text, &c), -EINVAL);
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_is_asked_for_is_read),
    UNIT_TEST(anything_else_is_refused),
    UNIT_TEST(there_is_an_end_of_events),
};
UNIT_MAIN("fleet_chaos", tests)
