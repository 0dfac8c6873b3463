/* The JSON of `dunlin txn`: what it means, and what is said of every fault. */
#include "control/cli_txn_text.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

static struct cli_txn t;
static char said[CLI_TXN_FAULT_BYTES];

static int parse(const char *text)
{
    said[0] = 0;
    return cli_txn_parse(&t, text, strlen(text), said);
}

/* Refused with exactly these words. */
static bool refused(const char *text, const char *expected)
{
    int error = parse(text);
    cli_txn_free(&t);
    if (strcmp(said, expected) != 0)
        printf("\n%s\n  said     %s\n  expected %s\n", text, said, expected);
    return error == -EINVAL && strcmp(said, expected) == 0;
}

static bool is(const void *bytes, size_t length, const char *expected)
{
    return length == strlen(expected) && memcmp(bytes, expected, length) == 0;
}

static void every_part_is_taken(void)
{
    CU_ASSERT_EQUAL_FATAL(
        parse("{\"compare\":[{\"key\":\"a\",\"version\":\"17.4096\"},{\"key\":\"b\",\"version\":"
              "\"0\"},"
              "{\"key\":\"c\",\"exists\":true},{\"key\":\"d\",\"exists\":false},"
              "{\"key\":\"e\",\"token\":77}],"
              "\"then\":[{\"put\":{\"key\":\"f\",\"value\":\"grey\",\"ttl_ms\":7}},"
              "{\"put\":{\"key\":\"g\",\"value\":\"AP8=\",\"encoding\":\"base64\"}}],"
              "\"else\":[{\"delete\":{\"key\":\"h\"}},{\"incr\":{\"key\":\"i\",\"by\":-5}}]}"),
        0);
    const struct dunlin_transaction *w = &t.transaction;
    CU_ASSERT(w->condition_count == 5 && w->then_count == 2 && w->else_count == 2);
    const struct dunlin_condition *c = w->conditions;
    CU_ASSERT(c[0].compare == DUNLIN_COMPARE_VERSION && c[0].expected == 4096 && t.logs[0] == 17);
    CU_ASSERT_TRUE(is(c[0].key, c[0].key_length, "a"));
    CU_ASSERT(c[1].compare == DUNLIN_COMPARE_VERSION && c[1].expected == 0 && t.logs[1] == 0);
    CU_ASSERT(c[2].compare == DUNLIN_COMPARE_EXISTS && c[3].compare == DUNLIN_COMPARE_ABSENT);
    CU_ASSERT(c[4].compare == DUNLIN_COMPARE_TOKEN && c[4].expected == 77);
    CU_ASSERT_EQUAL(w->then_writes[0].operation, DUNLIN_PUT);
    CU_ASSERT_TRUE(is(w->then_writes[0].key, w->then_writes[0].key_length, "f"));
    CU_ASSERT_TRUE(is(w->then_writes[0].value, w->then_writes[0].value_length, "grey"));
    CU_ASSERT_EQUAL(w->then_writes[0].ttl_ns, 7 * NS_PER_MS);
    CU_ASSERT_EQUAL(w->then_writes[1].ttl_ns, 0);
    CU_ASSERT_EQUAL(w->then_writes[1].value_length, 2);
    CU_ASSERT_EQUAL(memcmp(w->then_writes[1].value, "\0\xff", 2), 0);
    CU_ASSERT_EQUAL(w->else_writes[0].operation, DUNLIN_DELETE);
    CU_ASSERT_EQUAL(w->else_writes[1].operation, DUNLIN_INCREMENT);
    CU_ASSERT_EQUAL(w->else_writes[1].delta, -5);
    cli_txn_free(&t);
    CU_ASSERT_EQUAL(parse("{\"then\":[{\"delete\":{\"key\":\"h\"}}]}"), 0);
    CU_ASSERT(t.transaction.then_count == 1 && t.transaction.condition_count == 0);
    cli_txn_free(&t);
}

#define ONE(part) "{\"then\":[{\"delete\":{\"key\":\"a\"}}," part "]}"
#define CONDITION(part) "{\"compare\":[" part "]}"

static void every_fault_has_its_place(void)
{
    CU_ASSERT_TRUE(refused("[]", "not an object; expected {\"compare\": [...], \"then\": [...], "
                                 "\"else\": [...]}"));
    CU_ASSERT_TRUE(refused("{}", "0 parts; expected 1 to 64"));
    CU_ASSERT_TRUE(
        refused("{\"if\":[]}", "unknown \"if\"; expected \"compare\", \"then\", \"else\""));
    CU_ASSERT_TRUE(refused("{\"then\":{}}", "\"then\" is not a list"));
    CU_ASSERT_TRUE(refused("{\n\"then\":", "line 2, column 7: unexpected token near end of file"));
    CU_ASSERT_TRUE(refused("{\"then\":[],\"then\":[]}",
                           "line 1, column 17: duplicate object key near '\"then\"'"));
    CU_ASSERT_TRUE(refused(ONE("7"), "then[1]: expected an object with one of \"put\", \"delete\" "
                                     "and \"incr\""));
    CU_ASSERT_TRUE(refused(ONE("{\"append\":{}}"), "then[1]: expected one of \"put\", \"delete\" "
                                                   "and \"incr\", not \"append\""));
    CU_ASSERT_TRUE(refused(ONE("{\"put\":7}"), "then[1]: \"put\" is not an object"));
    CU_ASSERT_TRUE(
        refused(ONE("{\"put\":{\"key\":\"a\"}}"), "then[1]: no \"value\"; expected one, a string"));
    CU_ASSERT_TRUE(
        refused(ONE("{\"put\":{\"value\":\"a\"}}"), "then[1]: no \"key\"; expected one, a string"));
    CU_ASSERT_TRUE(refused(ONE("{\"put\":{\"key\":\"\",\"value\":\"a\"}}"),
                           "then[1]: a key of 0 bytes; expected 1 to 512"));
    CU_ASSERT_TRUE(refused(ONE("{\"put\":{\"key\":\"a\",\"value\":\"a\",\"ttl\":1}}"),
                           "then[1]: \"put\" has no \"ttl\""));
    CU_ASSERT_TRUE(
        refused(ONE("{\"put\":{\"key\":\"a\",\"value\":\"a\",\"ttl_ms\":0}}"),
                "then[1]: \"ttl_ms\" is none; expected milliseconds, 1 to 315360000000"));
    CU_ASSERT_TRUE(refused(ONE("{\"put\":{\"key\":\"a\",\"value\":\"a\",\"encoding\":\"hex\"}}"),
                           "then[1]: \"encoding\" is not \"base64\", the only one there is"));
    CU_ASSERT_TRUE(refused(ONE("{\"put\":{\"key\":\"a\",\"value\":\"a\",\"encoding\":\"base64\"}}"),
                           "then[1]: \"value\" is not base64 with its padding"));
    CU_ASSERT_TRUE(refused(ONE("{\"incr\":{\"key\":\"a\",\"by\":1.5}}"),
                           "then[1]: no \"by\"; expected one, a whole number"));
    CU_ASSERT_TRUE(
        refused(ONE("{\"delete\":{\"key\":\"a\",\"by\":1}}"), "then[1]: \"delete\" has no \"by\""));
    CU_ASSERT_TRUE(refused(CONDITION("[]"), "compare[0]: not an object; expected {\"key\": ..., "
                                            "\"version\": ...}"));
    CU_ASSERT_TRUE(refused(CONDITION("{\"key\":\"a\"}"), "compare[0]: expected one of \"version\", "
                                                         "\"exists\" and \"token\""));
    CU_ASSERT_TRUE(refused(CONDITION("{\"key\":\"a\",\"exists\":true,\"token\":1}"),
                           "compare[0]: expected one of \"version\", \"exists\" and \"token\""));
    CU_ASSERT_TRUE(
        refused(CONDITION("{\"key\":\"a\",\"version\":7}"),
                "compare[0]: \"version\" is none; expected a string as put prints it, or "
                "\"0\" for a key that is not there"));
    CU_ASSERT_TRUE(refused(CONDITION("{\"key\":\"a\",\"exists\":1}"),
                           "compare[0]: \"exists\" is neither true nor false"));
    CU_ASSERT_TRUE(
        refused(CONDITION("{\"key\":\"a\",\"token\":-1}"),
                "compare[0]: \"token\" is none; expected a whole number as lease acquire "
                "prints it"));
    CU_ASSERT_TRUE(refused(CONDITION("{\"key\":\"a\",\"exists\":true,\"or\":1}"),
                           "compare[0]: a condition has no \"or\""));
}

static void a_key_that_is_there_twice_is_named(void)
{
    CU_ASSERT_TRUE(
        refused("{\"else\":[{\"delete\":{\"key\":\"b\"}},{\"incr\":{\"key\":\"a\",\"by\":1}},"
                "{\"put\":{\"key\":\"a\",\"value\":\"\"}}]}",
                "else[2]: the key \"a\" is there twice, in else[1] too; write each key once"));
    /* a condition, and the other branch, may name it too */
    CU_ASSERT_EQUAL(parse("{\"compare\":[{\"key\":\"a\",\"exists\":true},"
                          "{\"key\":\"a\",\"exists\":true}],"
                          "\"then\":[{\"delete\":{\"key\":\"a\"}},{\"delete\":{\"key\":\"ab\"}}],"
                          "\"else\":[{\"delete\":{\"key\":\"a\"}}]}"),
                    0);
    cli_txn_free(&t);
}

static void too_many_parts_are_refused(void)
{
    static char text[8192];
    size_t used = (size_t)snprintf(text, sizeof text, "{\"then\":[");
    for (uint32_t i = 0; i <= CLI_TXN_PARTS; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "%s{\"delete\":{\"key\":\"k%u\"}}", i != 0 ? "," : "", i);
    (void)snprintf(text + used, sizeof text - used, "]}");
    CU_ASSERT_TRUE(refused(text, "then[64]: one too many; at most 64 parts"));
}

static void base64_is_read_as_it_is_printed(void)
{
    static const char *const wrong[] = {"A",        "AB",   "ABC",   "A===", "====", "AB=C",
                                        "AA==AA==", "AB==", "ABD=x", "AB C", "ABB=", "_-AA"};
    uint8_t bytes[64], got[64];
    size_t length;
    for (size_t n = 0; n < sizeof bytes; n++) {
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)(i * 37 + n);
        char *text = cli_base64(bytes, n);
        CU_ASSERT_EQUAL(cli_base64_parse(text, strlen(text), got, &length), 0);
        CU_ASSERT(length == n && memcmp(got, bytes, n) == 0);
        free(text);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CU_ASSERT_EQUAL(cli_base64_parse(wrong[i], strlen(wrong[i]), got, &length), -EINVAL);
}

static const struct unit_test tests[] = {
    UNIT_TEST(every_part_is_taken),
    UNIT_TEST(every_fault_has_its_place),
    UNIT_TEST(a_key_that_is_there_twice_is_named),
    UNIT_TEST(too_many_parts_are_refused),
    UNIT_TEST(base64_is_read_as_it_is_printed),
};
UNIT_MAIN("cli_txn_text", tests)
