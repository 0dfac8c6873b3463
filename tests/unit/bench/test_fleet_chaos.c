#include "bench/fleet_chaos.h"
#include "tests/unit/unit.h"

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
        "freeze:1-2s,freeze:3-4s,freeze:5-6s,freeze:7-8s,freeze:9-10s,freeze:11-12s,freeze:13-14s,"
        "freeze:15-16s,freeze:17-18s",
    };
    struct fleet_chaos c;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        CU_ASSERT_EQUAL(fleet_chaos_parse(faults[i], &c), -EINVAL);
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_is_asked_for_is_read),
    UNIT_TEST(anything_else_is_refused),
};
UNIT_MAIN("fleet_chaos", tests)
