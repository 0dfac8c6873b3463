#include "bench/fleet_speed.h"
#include "tests/unit/unit.h"

/* A fleet that keeps up to keeps_up and whose commands are slow in slow_share of the cases above
 * limit. */
struct model {
    double limit, slow_share, keeps_up, cpu_share;
};

static double period(struct fleet_speed *s, const struct model *m)
{
    double commands = s->speed;
    struct fleet_seen seen = {
        .command_count = (uint64_t)commands,
        .slow_count = s->speed > m->limit ? (uint64_t)(commands * m->slow_share) : 0,
        .achieved = s->speed < m->keeps_up ? s->speed : m->keeps_up,
        .cpu_share = m->cpu_share == 0 ? 1 : m->cpu_share,
    };
    return fleet_speed_next(s, &seen);
}

static void it_finds_the_limit_soon_and_stays_there(void)
{
    struct model m = {.limit = 20000, .slow_share = 0.05, .keeps_up = 1e9};
    struct fleet_speed s;
    uint64_t slow = 0, all = 0;
    fleet_speed_init(&s, 500);
    for (uint32_t i = 0; i < 12; i++)
        (void)period(&s, &m);
    CU_ASSERT(s.speed > 0.5 * m.limit);
    for (uint32_t i = 0; i < 400; i++) {
        CU_ASSERT(s.speed > 0.5 * m.limit && s.speed < 1.5 * m.limit);
        all += (uint64_t)s.speed;
        slow += s.speed > m.limit ? (uint64_t)(s.speed * m.slow_share) : 0;
        (void)period(&s, &m);
    }
    CU_ASSERT((double)slow < 0.011 * (double)all);
}

static void a_single_bad_period_costs_little(void)
{
    struct model good = {.limit = 1e9, .keeps_up = 1e9},
                 bad = {.slow_share = 0.03, .keeps_up = 1e9};
    struct fleet_speed s;
    fleet_speed_init(&s, 1000);
    for (uint32_t i = 0; i < 10; i++)
        (void)period(&s, &good);
    double before = s.speed;
    (void)period(&s, &bad);
    for (uint32_t i = 0; i < 10; i++)
        (void)period(&s, &good);
    CU_ASSERT(s.speed > 0.9 * before);
}

static void when_it_is_always_slow_it_goes_down_to_the_least(void)
{
    struct model m = {.limit = 0, .slow_share = 0.5, .keeps_up = 1e9};
    struct fleet_speed s;
    fleet_speed_init(&s, 100000);
    for (uint32_t i = 0; i < 100; i++)
        (void)period(&s, &m);
    CU_ASSERT(s.speed == FLEET_SPEED_MIN);
}

static void the_slowness_of_others_is_not_ours(void)
{
    struct model m = {.limit = 0, .slow_share = 0.5, .keeps_up = 1e9, .cpu_share = 0.05};
    struct fleet_speed s;
    fleet_speed_init(&s, 500);
    for (uint32_t i = 0; i < 10; i++)
        (void)period(&s, &m);
    CU_ASSERT(s.speed > 5000);
}

static void it_recovers_when_the_machine_does(void)
{
    struct model bad = {.limit = 0, .slow_share = 0.5, .keeps_up = 1e9};
    struct model good = {.limit = 30000, .slow_share = 0.5, .keeps_up = 1e9};
    struct fleet_speed s;
    fleet_speed_init(&s, 30000);
    for (uint32_t i = 0; i < 40; i++)
        (void)period(&s, &bad);
    for (uint32_t i = 0; i < 300; i++)
        (void)period(&s, &good);
    CU_ASSERT(s.speed > 10000);
}

static void a_fleet_that_falls_behind_is_not_driven_on(void)
{
    struct model m = {.limit = 1e9, .keeps_up = 7000};
    struct fleet_speed s;
    fleet_speed_init(&s, 500);
    for (uint32_t i = 0; i < 200; i++)
        (void)period(&s, &m);
    CU_ASSERT(s.speed > 5600 && s.speed < 7000 / 0.8 * 1.3);
}

static void without_news_it_stays(void)
{
    struct fleet_speed s;
    fleet_speed_init(&s, 5000);
    CU_ASSERT(fleet_speed_next(&s, &(struct fleet_seen){0}) == 5000);
}

static void it_never_runs_away(void)
{
    struct model m = {.limit = 1e12, .keeps_up = 1e12};
    struct fleet_speed s;
    fleet_speed_init(&s, 500);
    for (uint32_t i = 0; i < 200; i++)
        (void)period(&s, &m);
    CU_ASSERT(s.speed == FLEET_SPEED_MAX);
}

static const struct unit_test tests[] = {
    UNIT_TEST(it_finds_the_limit_soon_and_stays_there),
    UNIT_TEST(a_single_bad_period_costs_little),
    UNIT_TEST(when_it_is_always_slow_it_goes_down_to_the_least),
    UNIT_TEST(the_slowness_of_others_is_not_ours),
    UNIT_TEST(it_recovers_when_the_machine_does),
    UNIT_TEST(a_fleet_that_falls_behind_is_not_driven_on),
    UNIT_TEST(without_news_it_stays),
    UNIT_TEST(it_never_runs_away),
};
UNIT_MAIN("fleet_speed", tests)
