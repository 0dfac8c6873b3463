/* Numbers as decimal text. */
#include "engine/number.h"
#include "tests/unit/unit.h"

static int parse(const char *text, int64_t *number)
{
    return number_parse((const uint8_t *)text, strlen(text), number);
}

static bool says(const char *text, int64_t expected)
{
    int64_t number = ~expected;
    return parse(text, &number) == 0 && number == expected;
}

static void text_of_a_number_is_read(void)
{
    CU_ASSERT_TRUE(says("0", 0));
    CU_ASSERT_TRUE(says("-0", 0));
    CU_ASSERT_TRUE(says("7", 7));
    CU_ASSERT_TRUE(says("-7", -7));
    CU_ASSERT_TRUE(says("007", 7));
    CU_ASSERT_TRUE(says("1234567890", 1234567890));
    CU_ASSERT_TRUE(says("9223372036854775807", INT64_MAX));
    CU_ASSERT_TRUE(says("-9223372036854775808", INT64_MIN));
}

static void what_is_none_is_refused(void)
{
    static const char *const none[] = {
        "",
        "-",
        "+1",
        " 1",
        "1 ",
        "1.5",
        "0x10",
        "--1",
        "1-",
        "seven",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        "00000000000000000000001",
    };
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        int64_t number = 42;
        CU_ASSERT_EQUAL(parse(none[i], &number), -EDOM);
        CU_ASSERT_EQUAL(number, 42);
    }
    int64_t number;
    CU_ASSERT_EQUAL(number_parse((const uint8_t *)"1\0002", 3, &number), -EDOM);
}

static void what_is_printed_is_read_again(void)
{
    static const int64_t numbers[] = {0,  1,   -1,        9,         10,           -10,
                                      99, 100, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    uint8_t text[NUMBER_BYTES_MAX];
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        int64_t number = ~numbers[i];
        uint32_t length = number_print(numbers[i], text);
        CU_ASSERT_EQUAL(number_parse(text, length, &number), 0);
        CU_ASSERT_EQUAL(number, numbers[i]);
    }
    CU_ASSERT_EQUAL(number_print(-1234, text), 5);
    CU_ASSERT_EQUAL(memcmp(text, "-1234", 5), 0);
    CU_ASSERT_EQUAL(number_print(INT64_MIN, text), NUMBER_BYTES_MAX);
}

static const struct unit_test tests[] = {
    UNIT_TEST(text_of_a_number_is_read),
    UNIT_TEST(what_is_none_is_refused),
    UNIT_TEST(what_is_printed_is_read_again),
};
UNIT_MAIN("number", tests)
