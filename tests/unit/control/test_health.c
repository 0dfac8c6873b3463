/* The table of cases: who hears whom, and who is denied a lease for it. */
#include "control/health.h"

#include "tests/unit/unit.h"

#define LEASE_MS 50u
#define REPORT_NS (100 * NS_PER_MS)
#define NOW (5 * NS_PER_S)

static struct health made(uint32_t node_count)
{
    struct health h;
    struct health_config config = {
        .node_count = node_count, .silent_ms_max = LEASE_MS, .report_ns_max = REPORT_NS};
    for (uint32_t i = 0; i < node_count; i++)
        config.nodes[i] = 10 * (i + 1);
    health_init(&h, &config);
    return h;
}

/* One row for each node that reports, a letter for each that it may hear: 'y' it does, 'n' it does not;
 * NULL: it does not report. */
static struct health heard(uint32_t node_count, const char *const *rows)
{
    struct health h = made(node_count);
    for (uint32_t i = 0; i < node_count; i++) {
        struct health_report r = {.from = 10 * (i + 1)};
        for (uint32_t j = 0; rows[i] != NULL && j < node_count; j++)
            if (j != i)
                r.views[r.count++] = (struct health_view){
                    .node = 10 * (j + 1), .silent_ms = rows[i][j] == 'y' ? LEASE_MS : LEASE_MS + 1};
        if (rows[i] != NULL)
            CU_ASSERT_EQUAL(health_report(&h, &r, NOW), 0);
    }
    return h;
}

/* denied: a letter for each node, 'd' for denied. */
static void denies(const char *what, const char *denied, const char *const *rows)
{
    uint32_t count = (uint32_t)strlen(denied);
    const struct health h = heard(count, rows);
    char is[LIMIT_VOTERS + 1] = {0};
    for (uint32_t i = 0; i < count; i++)
        is[i] = health_is_denied(&h, 10 * (i + 1), NOW) ? 'd' : '.';
    if (strcmp(is, denied) != 0)
        printf("\n    %s: %s instead of %s", what, is, denied);
    CU_ASSERT_STRING_EQUAL(is, denied);
}

#define ROWS(...) ((const char *const[]){__VA_ARGS__})

static void cases_of_three_nodes(void)
{
    denies("all is well", "...", ROWS("-yy", "y-y", "yy-"));
    denies("isolated", "d..", ROWS("-nn", "n-y", "ny-"));
    denies("dead: no report either", "d..", ROWS(NULL, "n-y", "ny-"));
    denies("mute: it hears, and is not heard", "d..", ROWS("-yy", "n-y", "ny-"));
    denies("deaf: it is heard, and hears nobody", "d..", ROWS("-nn", "y-y", "yy-"));
    denies("one link, one way", "...", ROWS("-ny", "y-y", "yy-"));
    denies("one link, both ways", "...", ROWS("-ny", "n-y", "yy-"));
    denies("two one-way cuts in a ring", "...", ROWS("-ny", "y-n", "yy-"));
    denies("one-way cuts all around", "...", ROWS("-ny", "y-n", "ny-"));
    denies("nobody hears anybody", "...", ROWS("-nn", "n-n", "nn-"));
    denies("two reports of three are lost", "...", ROWS(NULL, NULL, "ny-"));
    denies("its report and that of a witness are lost", "...", ROWS(NULL, NULL, "nn-"));
    denies("no reports", "...", ROWS(NULL, NULL, NULL));
    denies("a chain: the middle hears both ends", "...", ROWS("-yn", "y-y", "ny-"));
}

static void cases_of_five_nodes(void)
{
    denies("all is well", ".....", ROWS("-yyyy", "y-yyy", "yy-yy", "yyy-y", "yyyy-"));
    denies("isolated", "d....", ROWS("-nnnn", "n-yyy", "ny-yy", "nyy-y", "nyyy-"));
    denies("two against three", "dd...", ROWS("-ynnn", "y-nnn", "nn-yy", "nny-y", "nnyy-"));
    denies("the two do not report", "dd...", ROWS(NULL, NULL, "nn-yy", "nny-y", "nnyy-"));
    denies("and one of the three does not", ".....", ROWS(NULL, NULL, NULL, "nny-y", "nnyy-"));
    denies("two do not hear it", ".....", ROWS("-yyyy", "n-yyy", "ny-yy", "yyy-y", "yyyy-"));
    denies("three do not hear it", "d....", ROWS("-yyyy", "n-yyy", "ny-yy", "nyy-y", "yyyy-"));
    denies("three, two of which do not hear each other", ".....",
           ROWS("-yyyy", "n-nyy", "ny-yy", "nyy-y", "yyyy-"));
    denies("four, two of which do not hear each other", "d....",
           ROWS("-yyyy", "n-nyy", "nn-yy", "nyy-y", "nyyy-"));
    denies("deaf to all but one", "d....", ROWS("-ynnn", "y-yyy", "yy-yy", "yyy-y", "yyyy-"));
    denies("deaf to two", ".....", ROWS("-yynn", "y-yyy", "yy-yy", "yyy-y", "yyyy-"));
    denies("two two-way cuts", ".....", ROWS("-nyyy", "n-yyy", "yy-ny", "yyn-y", "yyyy-"));
    denies("two, two and one alone", ".....", ROWS("-ynnn", "y-nnn", "nn-yn", "nny-n", "nnnn-"));
}

static void two_nodes_prove_nothing(void)
{
    denies("neither hears the other", "..", ROWS("-n", "n-"));
}

static void a_node_is_granted_again_when_it_is_heard(void)
{
    struct health h = heard(3, ROWS("-nn", "n-y", "ny-"));
    struct health_report r = {
        .from = 20, .count = 2, .views = {{.node = 10, .silent_ms = 0}, {.node = 30}}};
    CU_ASSERT_TRUE(health_is_denied(&h, 10, NOW));
    CU_ASSERT_FALSE(health_is_denied(&h, 99, NOW));
    CU_ASSERT_EQUAL(health_report(&h, &r, NOW + 1), 0);
    CU_ASSERT_TRUE(health_is_denied(&h, 10, NOW + 1)); /* it says itself that it hears nobody */
    r = (struct health_report){.from = 10, .count = 1, .views = {{.node = 20}}};
    CU_ASSERT_EQUAL(health_report(&h, &r, NOW + 1), 0);
    CU_ASSERT_FALSE(health_is_denied(&h, 10, NOW + 1));
}

static void old_reports_are_none(void)
{
    struct health h = heard(3, ROWS("-nn", "n-y", "ny-"));
    CU_ASSERT_TRUE(health_is_denied(&h, 10, NOW + REPORT_NS));
    CU_ASSERT_FALSE(health_is_denied(&h, 10, NOW + REPORT_NS + 1));
}

/* It said that it heard nobody, and nothing since: they hear it, or they would say so. */
static void an_old_word_of_its_own_is_none(void)
{
    struct health h = heard(3, ROWS("-nn", "y-y", "yy-"));
    CU_ASSERT_TRUE(health_is_denied(&h, 10, NOW));
    for (uint32_t node = 20; node <= 30; node += 10) {
        const struct health_report r = {
            .from = node, .count = 2, .views = {{.node = 10}, {.node = 50 - node}}};
        CU_ASSERT_EQUAL(health_report(&h, &r, NOW + REPORT_NS + 1), 0);
    }
    CU_ASSERT_FALSE(health_is_denied(&h, 10, NOW + REPORT_NS + 1));
}

static void reports_that_cannot_be_are_refused(void)
{
    struct health h = made(3);
    struct health_report r = {.from = 40, .count = 1, .views = {{.node = 10}}};
    CU_ASSERT_EQUAL(health_report(&h, &r, NOW), -ENOENT);
    r.from = 20;
    r.views[0].node = 40;
    CU_ASSERT_EQUAL(health_report(&h, &r, NOW), -ENOENT);
    r.count = 2;
    r.views[0].node = r.views[1].node = 10;
    CU_ASSERT_EQUAL(health_report(&h, &r, NOW), -ENOENT);
    r.count = LIMIT_VOTERS + 1;
    CU_ASSERT_EQUAL(health_report(&h, &r, NOW), -ENOENT);
    CU_ASSERT_FALSE(h.has_reported[1]);
}

static void stuck_is_what_a_majority_says(void)
{
    struct health h = made(3);
    for (uint32_t i = 0; i < 3; i++) {
        const struct health_report r = {
            .from = 10 * (i + 1), .count = 1, .views = {{.node = 10, .stuck_shards = 7 * i}}};
        CU_ASSERT_EQUAL(health_stuck(&h, 10, NOW), 0);
        CU_ASSERT_EQUAL(health_report(&h, &r, NOW), 0);
    }
    CU_ASSERT_EQUAL(health_stuck(&h, 10, NOW), 7);
    CU_ASSERT_EQUAL(health_stuck(&h, 20, NOW), 0);
    CU_ASSERT_EQUAL(health_stuck(&h, 99, NOW), 0);
    CU_ASSERT_EQUAL(health_stuck(&h, 10, NOW + REPORT_NS + 1), 0);
}

static const struct unit_test tests[] = {
    UNIT_TEST(cases_of_three_nodes),
    UNIT_TEST(cases_of_five_nodes),
    UNIT_TEST(two_nodes_prove_nothing),
    UNIT_TEST(a_node_is_granted_again_when_it_is_heard),
    UNIT_TEST(an_old_word_of_its_own_is_none),
    UNIT_TEST(old_reports_are_none),
    UNIT_TEST(reports_that_cannot_be_are_refused),
    UNIT_TEST(stuck_is_what_a_majority_says),
};
UNIT_MAIN("health", tests)
