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
    CU_ASSERT_EQUAL_FATAL(fleet_chaos_parse("kill-leader:5s,partition:2s", &c), 0);
    CU_ASSERT(c.events[0].kind == FLEET_CHAOS_KILL_LEADER && c.events[0].from_ns == 5 * NS_PER_S);
    CU_ASSERT(fleet_chaos_has(&c, FLEET_CHAOS_PARTITION));
    CU_ASSERT(!fleet_chaos_has(&c, FLEET_CHAOS_MOVE));
    CU_ASSERT_EQUAL_FATAL(fleet_chaos_parse("add-node:10s,remove-node:20s", &c), 0);
    CU_ASSERT(c.events[0].kind == FLEET_CHAOS_ADD && c.events[0].from_ns == 10 * NS_PER_S);
    CU_ASSERT(c.events[1].kind == FLEET_CHAOS_REMOVE && c.events[1].from_ns == 20 * NS_PER_S);
}

/* ---- what nodes say ---- */

#define NODES                                                                                      \
    "\"nodes\": [{\"id\": 1, \"up\": true, \"votes\": 24, \"leads\": 8},"                          \
    "{\"id\": 2, \"up\": false, \"votes\": 20, \"leads\": 16},"                                    \
    "{\"id\": 4, \"up\": true, \"votes\": 19, \"leads\": 0}]"
#define REDUNDANCY "\"redundancy\": {\"least\": 3, \"below\": 0, \"changing\": 0}"
#define COUNTS "\"node\": 2, \"shards\": 24, \"pending\": 0, \"moving\": 0, \"lost\": 0"

static void what_nodes_say_is_read(void)
{
    struct fleet_chaos_view v;
    CU_ASSERT_EQUAL_FATAL(fleet_chaos_view_parse("{" COUNTS "," REDUNDANCY "," NODES "}", &v), 0);
    CU_ASSERT_EQUAL(v.self, 1);
    CU_ASSERT_EQUAL(v.is_whole, true);
    CU_ASSERT_EQUAL(v.listed_mask, 0xb);
    CU_ASSERT_EQUAL(v.up_mask, 0x9);
    CU_ASSERT_EQUAL(v.votes[0], 24);
    CU_ASSERT_EQUAL(v.votes[3], 19);
    CU_ASSERT_EQUAL(v.votes[2], 0);
    CU_ASSERT_EQUAL(v.leads[1], 16);
}

static void anything_that_is_missing_makes_it_less_than_whole(void)
{
    static const char *const texts[] = {
        "{\"node\": 1, \"shards\": 24, \"pending\": 1, \"moving\": 0, \"lost\": 0," REDUNDANCY
        "," NODES "}",
        "{\"node\": 1, \"shards\": 24, \"pending\": 0, \"moving\": 1, \"lost\": 0," REDUNDANCY
        "," NODES "}",
        "{\"node\": 1, \"shards\": 24, \"pending\": 0, \"moving\": 0, \"lost\": 1," REDUNDANCY
        "," NODES "}",
        "{\"node\": 1, \"shards\": 0, \"pending\": 0, \"moving\": 0, \"lost\": 0," REDUNDANCY
        "," NODES "}",
        "{" COUNTS ", \"redundancy\": {\"below\": 1, \"changing\": 0}," NODES "}",
        "{" COUNTS ", \"redundancy\": {\"below\": 0, \"changing\": 1}," NODES "}",
    };
    struct fleet_chaos_view v;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        CU_ASSERT_EQUAL(fleet_chaos_view_parse(texts[i], &v), 0);
        CU_ASSERT_EQUAL(v.is_whole, false);
    }
}

static void what_no_node_says_is_refused(void)
{
    static const char *const texts[] = {
        "",
        "{}",
        "{" COUNTS "," NODES "}",
        "{" COUNTS "," REDUNDANCY "}",
        "{" COUNTS ", \"redundancy\": {\"below\": 0}," NODES "}",
        "{" COUNTS "," REDUNDANCY ", \"nodes\": [{\"id\": 1, \"up\": true, \"leads\": 8}]}",
        "{" COUNTS "," REDUNDANCY
        ", \"nodes\": [{\"id\": 8, \"up\": true, \"votes\": 1, \"leads\": 8}]}",
        "{" COUNTS "," REDUNDANCY
        ", \"nodes\": [{\"id\": 0, \"up\": true, \"votes\": 1, \"leads\": 8}]}",
    };
    struct fleet_chaos_view v;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        CU_ASSERT_EQUAL(fleet_chaos_view_parse(texts[i], &v), -EBADMSG);
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
        "kill-leader:0s",
        "kill-leader",
        "kill-leader:1s,kill-leader:2s",
        "partition:2-3s",
        "add-node:0s",
        "add-node:1s,add-node:2s",
        "remove-node",
        "remove-node:2-3s",
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
    UNIT_TEST(what_nodes_say_is_read),
    UNIT_TEST(anything_that_is_missing_makes_it_less_than_whole),
    UNIT_TEST(what_no_node_says_is_refused),
    UNIT_TEST(there_is_an_end_of_events),
};
UNIT_MAIN("fleet_chaos", tests)
