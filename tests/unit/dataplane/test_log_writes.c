/* The table of log writes under way. */
#include "dataplane/holds.h"
#include "dataplane/log_writes.h"
#include "tests/unit/unit.h"

#define CAPACITY 5u

static struct log_write memory[CAPACITY];
static struct log_writes w;

static uint64_t add(uint32_t log, uint32_t node, uint64_t number)
{
    const struct log_write write = {
        .peer = {.node = node, .incarnation = 10},
        .number = number,
        .hold = hold_word(1, (uint32_t)number),
        .log = log,
    };
    return log_writes_add(&w, &write);
}

static void what_was_added_comes_back(void)
{
    log_writes_init(&w, memory, CAPACITY);
    uint64_t a = add(65536, 1, 100), b = add(65537, 2, 200);
    CU_ASSERT(log_writes_is_word(a) && log_writes_is_word(b) && a != b);
    CU_ASSERT_FALSE(log_writes_is_word(hold_word(64, UINT32_MAX))); /* a frame's */
    CU_ASSERT_EQUAL(w.count, 2);
    struct log_write back = log_writes_end(&w, b);
    CU_ASSERT(back.log == 65537 && back.peer.node == 2 && back.number == 200);
    CU_ASSERT_EQUAL(back.hold, hold_word(1, 200));
    CU_ASSERT_EQUAL(log_writes_end(&w, a).number, 100);
    CU_ASSERT_EQUAL(w.count, 0);
}

static void a_full_table_takes_no_more_until_one_ends(void)
{
    uint64_t words[CAPACITY];
    log_writes_init(&w, memory, CAPACITY);
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < CAPACITY; i++) {
            words[i] = add(65536 + i, 1, i + 1);
            CU_ASSERT_NOT_EQUAL(words[i], 0);
        }
        CU_ASSERT_EQUAL(add(65536, 1, 9), 0);
        CU_ASSERT_EQUAL(log_writes_end(&w, words[round]).log, 65536 + round);
        words[round] = add(7, 1, 70);
        CU_ASSERT_NOT_EQUAL(words[round], 0);
        CU_ASSERT_EQUAL(add(65536, 1, 9), 0);
        for (uint32_t i = CAPACITY; i-- > 0;)
            CU_ASSERT_EQUAL(log_writes_end(&w, words[i]).number, i == round ? 70 : i + 1);
        CU_ASSERT_EQUAL(w.count, 0);
    }
}

static void whether_any_is_under_way_for_a_log_and_a_start(void)
{
    const struct member here = {.node = 3, .incarnation = 10};
    const struct member other_node = {.node = 4, .incarnation = 10};
    const struct member other_start = {.node = 3, .incarnation = 11};
    log_writes_init(&w, memory, CAPACITY);
    CU_ASSERT_FALSE(log_writes_any(&w, 65536, &here));
    uint64_t a = add(65536, 3, 1), b = add(65536, 3, 2);
    CU_ASSERT_TRUE(log_writes_any(&w, 65536, &here));
    CU_ASSERT_FALSE(log_writes_any(&w, 65537, &here));
    CU_ASSERT_FALSE(log_writes_any(&w, 65536, &other_node));
    CU_ASSERT_FALSE(log_writes_any(&w, 65536, &other_start));
    (void)log_writes_end(&w, a);
    CU_ASSERT_TRUE(log_writes_any(&w, 65536, &here));
    (void)log_writes_end(&w, b);
    CU_ASSERT_FALSE(log_writes_any(&w, 65536, &here));
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_was_added_comes_back),
    UNIT_TEST(a_full_table_takes_no_more_until_one_ends),
    UNIT_TEST(whether_any_is_under_way_for_a_log_and_a_start),
};
UNIT_MAIN("log_writes", tests)
