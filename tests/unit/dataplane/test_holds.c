#include "dataplane/holds.h"
#include "tests/unit/unit.h"

#define FRAMES 5u

static uint32_t memory[FRAMES];
static struct holds h;

static void open(void)
{
    memset(memory, 0xff, sizeof memory);
    holds_init(&h, memory, FRAMES);
}

static void nothing_is_held_at_first(void)
{
    open();
    for (uint32_t i = 0; i < FRAMES; i++)
        CU_ASSERT_FALSE(hold_is_held(&h, i));
    CU_ASSERT_EQUAL(h.total, 0);
}

static void a_frame_is_held_until_the_last_hold_is_back(void)
{
    open();
    hold_add(&h, 3);
    hold_add(&h, 3);
    CU_ASSERT_EQUAL(h.total, 2);
    hold_sub(&h, 3);
    CU_ASSERT_TRUE(hold_is_held(&h, 3));
    hold_sub(&h, 3);
    CU_ASSERT_FALSE(hold_is_held(&h, 3));
    CU_ASSERT_EQUAL(h.total, 0);
}

static void frames_are_held_each_for_itself(void)
{
    open();
    hold_add(&h, 0);
    hold_add(&h, FRAMES - 1);
    for (uint32_t i = 0; i < FRAMES; i++)
        CU_ASSERT_EQUAL(hold_is_held(&h, i), i == 0 || i == FRAMES - 1);
    hold_sub(&h, 0);
    CU_ASSERT_FALSE(hold_is_held(&h, 0));
    CU_ASSERT_TRUE(hold_is_held(&h, FRAMES - 1));
    CU_ASSERT_EQUAL(h.total, 1);
}

static void a_word_keeps_owner_and_frame(void)
{
    uint64_t word = hold_word(UINT32_MAX, 7);
    CU_ASSERT_EQUAL(hold_word_owner(word), UINT32_MAX);
    CU_ASSERT_EQUAL(hold_word_frame(word), 7);
    word = hold_word(3, UINT32_MAX);
    CU_ASSERT_EQUAL(hold_word_owner(word), 3);
    CU_ASSERT_EQUAL(hold_word_frame(word), UINT32_MAX);
}

static const struct unit_test tests[] = {
    UNIT_TEST(nothing_is_held_at_first),
    UNIT_TEST(a_frame_is_held_until_the_last_hold_is_back),
    UNIT_TEST(frames_are_held_each_for_itself),
    UNIT_TEST(a_word_keeps_owner_and_frame),
};
UNIT_MAIN("holds", tests)
