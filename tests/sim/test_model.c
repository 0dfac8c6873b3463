/* What operations do to the keys of a shard: step by step, each with an answer that fits or does not. */
#include "tests/sim/sim_model.h"

#include "tests/unit/unit.h"

#define KEY 3u
#define OTHER (KEY + SIM_SHARDS)
#define NOTHING ((struct sim_model_state){.keys = {{.there = false}}})

/* Answered: with a status, a version, and a number (first of what follows). */
#define TOLD(what, status_, lsn_, ...)                                                             \
    (struct sim_operation)                                                                         \
    {                                                                                              \
        .kind = OPERATION_##what, .key = KEY, .returned = 1, .status = RING_##status_,             \
        .lsn = (lsn_), .number = __VA_ARGS__                                                       \
    }
#define UNTOLD(what, ...)                                                                          \
    (struct sim_operation)                                                                         \
    {                                                                                              \
        .kind = OPERATION_##what, .key = KEY, __VA_ARGS__                                          \
    }

static bool step(struct sim_model_state *state, struct sim_operation o)
{
    return sim_model_step(&o, state);
}

/* Whether it fits; the state stays. */
static bool fits(const struct sim_model_state *state, struct sim_operation o)
{
    struct sim_model_state copy = *state;
    return sim_model_step(&o, &copy);
}

static void a_number_is_counted_with(void)
{
    struct sim_model_state state = NOTHING;
    CU_ASSERT_TRUE(step(&state, TOLD(INCREMENT, OK, 50, -3, .delta = -3)));
    CU_ASSERT_FALSE(fits(&state, TOLD(INCREMENT, OK, 51, 5, .delta = 5)));
    CU_ASSERT_FALSE(fits(&state, TOLD(INCREMENT, NOT_NUMBER, 50, 0, .delta = 5)));
    CU_ASSERT_TRUE(step(&state, TOLD(INCREMENT, OK, 51, 2, .delta = 5)));
    CU_ASSERT_TRUE(fits(&state, TOLD(GET, OK, 51, 0, .read_value = (uint64_t)(2))));
    CU_ASSERT_FALSE(fits(&state, TOLD(GET, OK, 51, 0, .read_value = (uint64_t)(5))));
    CU_ASSERT_TRUE(step(&state, UNTOLD(INCREMENT, .delta = 1)));
    CU_ASSERT_TRUE(fits(&state, TOLD(INCREMENT, OK, 53, 4, .delta = 1)));
    CU_ASSERT_FALSE(fits(&state, TOLD(INCREMENT, RANGE, 51, 0, .delta = 1)));
    CU_ASSERT_TRUE(step(&state, TOLD(PUT, OK, 54, 0, .value = SIM_NO_NUMBER)));
    CU_ASSERT_TRUE(fits(&state, TOLD(INCREMENT, NOT_NUMBER, 54, 0, .delta = 1)));
    CU_ASSERT_FALSE(fits(&state, TOLD(INCREMENT, NOT_NUMBER, 53, 0, .delta = 1)));
    CU_ASSERT_FALSE(fits(&state, TOLD(INCREMENT, OK, 55, 1, .delta = 1)));
}

static void a_sum_has_ends(void)
{
    struct sim_model_state state = NOTHING;
    CU_ASSERT_TRUE(step(&state, TOLD(INCREMENT, OK, 50, INT64_MAX, .delta = INT64_MAX)));
    CU_ASSERT_TRUE(fits(&state, TOLD(INCREMENT, RANGE, 50, 0, .delta = 1)));
    CU_ASSERT_FALSE(fits(&state, TOLD(INCREMENT, RANGE, 49, 0, .delta = 1)));
    CU_ASSERT_FALSE(fits(&state, TOLD(INCREMENT, OK, 51, INT64_MIN, .delta = 1)));
    CU_ASSERT_FALSE(fits(&state, TOLD(INCREMENT, RANGE, 50, 0, .delta = -1)));
    CU_ASSERT_FALSE(fits(&state, UNTOLD(INCREMENT, .delta = 1)));
    CU_ASSERT_TRUE(fits(&state, TOLD(INCREMENT, OK, 51, -1, .delta = INT64_MIN)));
}

static void a_value_is_a_number_or_its_first_bytes(void)
{
    const uint64_t bytes[2] = {SIM_NO_NUMBER | 7, 0};
    int64_t number;
    CU_ASSERT_TRUE(sim_model_number(sim_model_value("-9223372036854775808", 20), &number));
    CU_ASSERT_EQUAL(number, INT64_MIN);
    CU_ASSERT_EQUAL(sim_model_value("12", 2), 12);
    CU_ASSERT_EQUAL(sim_model_value(bytes, sizeof bytes), SIM_NO_NUMBER | 7);
    CU_ASSERT_FALSE(sim_model_number(SIM_NO_NUMBER | 7, &number));
}

#define TWO_SUMS                                                                                   \
    .part_count = 2, .parts = {{.kind = OPERATION_INCREMENT, .key = KEY, .delta = 1},              \
                               {.kind = OPERATION_INCREMENT, .key = OTHER, .delta = 1}}

static void a_transaction_names_the_sum_that_cannot_be(void)
{
    struct sim_model_state state = NOTHING;
    CU_ASSERT_FALSE(fits(&state, TOLD(TRANSACTION, RANGE, 50, 0, TWO_SUMS)));
    CU_ASSERT_TRUE(step(&state, TOLD(INCREMENT, OK, 50, INT64_MAX, .delta = INT64_MAX)));
    CU_ASSERT_TRUE(fits(&state, TOLD(TRANSACTION, RANGE, 50, 0, TWO_SUMS)));
    CU_ASSERT_FALSE(fits(&state, TOLD(TRANSACTION, NOT_NUMBER, 50, 0, TWO_SUMS)));
    CU_ASSERT_FALSE(fits(&state, TOLD(TRANSACTION, OK, 51, 1, TWO_SUMS)));
    CU_ASSERT_TRUE(step(&state, TOLD(PUT, OK, 51, 0, .value = SIM_NO_NUMBER)));
    CU_ASSERT_TRUE(fits(&state, TOLD(TRANSACTION, NOT_NUMBER, 51, 0, TWO_SUMS)));
    CU_ASSERT_FALSE(fits(&state, TOLD(TRANSACTION, RANGE, 51, 0, TWO_SUMS)));
}

static void a_lease_has_one_owner(void)
{
    struct sim_model_state state = NOTHING;
    CU_ASSERT_FALSE(fits(&state, TOLD(RENEW, OK, 50, 49, .expected = 49)));
    CU_ASSERT_TRUE(fits(&state, TOLD(RENEW, CONDITION, 0, 0, .expected = 49)));
    CU_ASSERT_FALSE(fits(&state, TOLD(ACQUIRE, OK, 50, 49)));
    CU_ASSERT_TRUE(step(&state, TOLD(ACQUIRE, OK, 50, 50)));
    CU_ASSERT_FALSE(fits(&state, TOLD(ACQUIRE, OK, 51, 51)));
    CU_ASSERT_TRUE(fits(&state, TOLD(ACQUIRE, CONDITION, 50, 50)));
    CU_ASSERT_FALSE(fits(&state, TOLD(ACQUIRE, CONDITION, 50, 49)));
    CU_ASSERT_TRUE(step(&state, TOLD(RENEW, OK, 51, 50, .expected = 50)));
    CU_ASSERT_FALSE(fits(&state, TOLD(RENEW, OK, 52, 50, .expected = 51)));
    CU_ASSERT_TRUE(fits(&state, TOLD(PUT, CONDITION, 51, 50)));
    CU_ASSERT_FALSE(fits(&state, TOLD(PUT, OK, 52, 0)));
    CU_ASSERT_FALSE(fits(&state, TOLD(DELETE, OK, 0, 0)));
    CU_ASSERT_FALSE(fits(&state, TOLD(RELEASE, OK, 52, 0, .expected = 49)));
    CU_ASSERT_TRUE(step(&state, TOLD(RELEASE, OK, 52, 0, .expected = 50)));
    CU_ASSERT_TRUE(fits(&state, TOLD(GET, NOT_FOUND, 0, 0)));
    CU_ASSERT_TRUE(fits(&state, TOLD(ACQUIRE, OK, 53, 53)));
}

static void what_expires_is_the_version_that_stands(void)
{
    struct sim_model_state state = NOTHING;
    CU_ASSERT_FALSE(fits(&state, TOLD(EXPIRE, OK, 0, 0, .expected = 50)));
    CU_ASSERT_TRUE(step(&state, TOLD(PUT, OK, 50, 0, .value = 7)));
    CU_ASSERT_TRUE(step(&state, TOLD(PUT, OK, 51, 0, .value = 8)));
    CU_ASSERT_FALSE(fits(&state, TOLD(EXPIRE, OK, 0, 0, .expected = 50)));
    CU_ASSERT_TRUE(step(&state, TOLD(EXPIRE, OK, 0, 0, .expected = 51)));
    CU_ASSERT_TRUE(fits(&state, TOLD(GET, NOT_FOUND, 0, 0)));
}

/* If the key is there: count the other one; else put it. */
#define EITHER                                                                                     \
    .part_count = 3,                                                                               \
    .parts = {{.kind = OPERATION_CHECK, .key = KEY, .compare = RING_COMPARE_EXISTS},               \
              {.kind = OPERATION_INCREMENT, .key = OTHER, .delta = 2},                             \
              {.kind = OPERATION_PUT, .key = KEY, .section = RING_SECTION_ELSE, .value = 7}}

static void one_branch_of_a_transaction_is_done(void)
{
    struct sim_model_state state = NOTHING;
    CU_ASSERT_FALSE(fits(&state, TOLD(TRANSACTION, OK, 50, 1, EITHER)));
    CU_ASSERT_FALSE(fits(&state, TOLD(TRANSACTION, CONDITION, 0, 0, EITHER)));
    CU_ASSERT_FALSE(fits(&state, TOLD(TRANSACTION, OK, 0, 0, EITHER)));
    CU_ASSERT_TRUE(step(&state, TOLD(TRANSACTION, OK, 50, 0, EITHER)));
    CU_ASSERT_TRUE(fits(&state, TOLD(GET, OK, 50, 0, .read_value = 7)));
    CU_ASSERT_FALSE(fits(&state, TOLD(TRANSACTION, OK, 51, 0, EITHER)));
    CU_ASSERT_TRUE(step(&state, TOLD(TRANSACTION, OK, 51, 1, EITHER)));
    CU_ASSERT_EQUAL(sim_model_at(&state, OTHER)->value, (uint64_t)(2));
    CU_ASSERT_EQUAL(sim_model_at(&state, OTHER)->version, 51);
    CU_ASSERT_EQUAL(sim_model_at(&state, KEY)->version, 50);
}

#define FENCED(token)                                                                              \
    .part_count = 2,                                                                               \
    .parts = {                                                                                     \
        {.kind = OPERATION_CHECK, .key = KEY, .compare = RING_COMPARE_TOKEN, .expected = (token)}, \
        {.kind = OPERATION_PUT, .key = OTHER, .value = 9}}

static void a_transaction_is_fenced_by_a_token(void)
{
    struct sim_model_state state = NOTHING;
    CU_ASSERT_FALSE(fits(&state, TOLD(TRANSACTION, OK, 50, 1, FENCED(49))));
    CU_ASSERT_TRUE(fits(&state, TOLD(TRANSACTION, CONDITION, 0, 0, FENCED(49))));
    CU_ASSERT_TRUE(step(&state, TOLD(ACQUIRE, OK, 50, 50)));
    CU_ASSERT_TRUE(fits(&state, TOLD(TRANSACTION, CONDITION, 50, 0, FENCED(49))));
    CU_ASSERT_FALSE(fits(&state, TOLD(TRANSACTION, CONDITION, 50, 0, FENCED(50))));
    CU_ASSERT_TRUE(fits(&state, TOLD(TRANSACTION, OK, 51, 1, FENCED(50))));
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_number_is_counted_with),
    UNIT_TEST(a_sum_has_ends),
    UNIT_TEST(a_value_is_a_number_or_its_first_bytes),
    UNIT_TEST(a_transaction_names_the_sum_that_cannot_be),
    UNIT_TEST(a_lease_has_one_owner),
    UNIT_TEST(what_expires_is_the_version_that_stands),
    UNIT_TEST(one_branch_of_a_transaction_is_done),
    UNIT_TEST(a_transaction_is_fenced_by_a_token),
};
UNIT_MAIN("model", tests)
