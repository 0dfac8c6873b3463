#include "engine/topic.h"
#include "tests/unit/unit.h"

static bool matches(const char *pattern, const char *key)
{
    struct topic t;
    CU_ASSERT_EQUAL_FATAL(topic_pattern(&t, pattern, strlen(pattern)), 0);
    return topic_match(&t, key, strlen(key));
}

static void a_prefix_is_the_first_bytes(void)
{
    struct topic t;
    CU_ASSERT_EQUAL(topic_prefix(&t, "ab/", 3), 0);
    CU_ASSERT_TRUE(topic_match(&t, "ab/", 3));
    CU_ASSERT_TRUE(topic_match(&t, "ab/c", 4));
    CU_ASSERT_FALSE(topic_match(&t, "ab", 2));
    CU_ASSERT_FALSE(topic_match(&t, "ac/c", 4));
    CU_ASSERT_EQUAL(topic_prefix(&t, "*/>", 3), 0); /* it has no signs */
    CU_ASSERT_TRUE(topic_match(&t, "*/>x", 4));
    CU_ASSERT_FALSE(topic_match(&t, "a/b", 3));
    CU_ASSERT_EQUAL(topic_prefix(&t, NULL, 0), 0);
    CU_ASSERT_TRUE(topic_match(&t, "anything", 8));
}

static void a_star_is_one_level(void)
{
    CU_ASSERT_TRUE(matches("air/*/claim", "air/u0q/claim"));
    CU_ASSERT_TRUE(matches("air/*/claim", "air//claim"));
    CU_ASSERT_FALSE(matches("air/*/claim", "air/u0q/x/claim"));
    CU_ASSERT_FALSE(matches("air/*/claim", "air/claim"));
    CU_ASSERT_FALSE(matches("air/*/claim", "air/u0q/claims"));
    CU_ASSERT_TRUE(matches("*", "air"));
    CU_ASSERT_FALSE(matches("*", "air/x"));
    CU_ASSERT_TRUE(matches("air/*", "air/"));
    CU_ASSERT_FALSE(matches("air/*", "air"));
    CU_ASSERT_TRUE(matches("*/*", "a/b"));
    CU_ASSERT_FALSE(matches("*/*", "a/b/c"));
}

static void a_greater_sign_is_what_is_left(void)
{
    CU_ASSERT_TRUE(matches("air/>", "air/a"));
    CU_ASSERT_TRUE(matches("air/>", "air/a/b/c"));
    CU_ASSERT_TRUE(matches("air/>", "air/"));
    CU_ASSERT_FALSE(matches("air/>", "air"));
    CU_ASSERT_TRUE(matches(">", "anything/at/all"));
    CU_ASSERT_TRUE(matches("*/b/>", "a/b/c/d"));
    CU_ASSERT_FALSE(matches("*/b/>", "a/b"));
    CU_ASSERT_FALSE(matches("*/b/>", "a/c/d"));
}

static void other_signs_stand_for_themselves(void)
{
    CU_ASSERT_TRUE(matches("a*/b>", "a*/b>"));
    CU_ASSERT_FALSE(matches("a*/b>", "ax/bx"));
    CU_ASSERT_TRUE(matches("one/key", "one/key"));
    CU_ASSERT_FALSE(matches("one/key", "one/key/more"));
    CU_ASSERT_TRUE(topic_has_wildcard("a/*", 3));
    CU_ASSERT_TRUE(topic_has_wildcard(">", 1));
    CU_ASSERT_FALSE(topic_has_wildcard("a*/b", 4));
    CU_ASSERT_FALSE(topic_has_wildcard("a/", 2));
    CU_ASSERT_FALSE(topic_has_wildcard("", 0));
}

static void what_cannot_be_is_refused(void)
{
    struct topic t;
    char longest[LIMIT_KEY_BYTES + 1];
    memset(longest, 'x', sizeof longest);
    CU_ASSERT_EQUAL(topic_pattern(&t, "", 0), -EINVAL);
    CU_ASSERT_EQUAL(topic_pattern(&t, "a/>/b", 5), -EINVAL);
    CU_ASSERT_EQUAL(topic_pattern(&t, ">/", 2), -EINVAL);
    CU_ASSERT_EQUAL(topic_pattern(&t, longest, sizeof longest), -EMSGSIZE);
    CU_ASSERT_EQUAL(topic_prefix(&t, longest, sizeof longest), -EMSGSIZE);
    CU_ASSERT_EQUAL(topic_pattern(&t, longest, LIMIT_KEY_BYTES), 0);
    CU_ASSERT_TRUE(topic_match(&t, longest, LIMIT_KEY_BYTES));
    CU_ASSERT_FALSE(topic_match(&t, longest, LIMIT_KEY_BYTES - 1));
}

/* What a pattern says of the literal holds for all that it matches. */
static void every_match_begins_with_the_literal(void)
{
    static const char *const patterns[] = {"air/*/x", "air/>", ">", "*", "a/b", "a/b/*"};
    static const uint32_t literals[] = {4, 4, 0, 0, 3, 4};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        struct topic t;
        CU_ASSERT_EQUAL_FATAL(topic_pattern(&t, patterns[i], strlen(patterns[i])), 0);
        CU_ASSERT_EQUAL(t.literal_length, literals[i]);
        CU_ASSERT_EQUAL(t.prefix, i == 1 || i == 2);
    }
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_prefix_is_the_first_bytes),    UNIT_TEST(a_star_is_one_level),
    UNIT_TEST(a_greater_sign_is_what_is_left), UNIT_TEST(other_signs_stand_for_themselves),
    UNIT_TEST(what_cannot_be_is_refused),      UNIT_TEST(every_match_begins_with_the_literal),
};
UNIT_MAIN("topic", tests)
