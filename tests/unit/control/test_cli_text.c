/* cli_text: what people type is read exactly or refused; what scripts read can be typed again. */
#include "control/cli_text.h"
#include "tests/unit/unit.h"

#include <inttypes.h>
#include <stdlib.h>

static void versions_survive_print_and_parse(void)
{
    static const struct dunlin_version versions[] = {
        {.log = 65537, .lsn = 8192}, {.log = 0, .lsn = 1}, {.log = UINT64_MAX, .lsn = UINT64_MAX}};
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        char text[CLI_VERSION_BYTES];
        struct dunlin_version back;
        cli_version_print(text, versions[i]);
        CU_ASSERT_EQUAL(cli_version_parse(text, &back), 0);
        CU_ASSERT_EQUAL(back.log, versions[i].log);
        CU_ASSERT_EQUAL(back.lsn, versions[i].lsn);
    }
    struct dunlin_version zero = {.log = 1, .lsn = 1};
    CU_ASSERT_EQUAL(cli_version_parse("0", &zero), 0);
    CU_ASSERT_EQUAL(zero.lsn, 0);
}

static void what_is_no_version_is_refused(void)
{
    static const char *const bad[] = {"",
                                      ".",
                                      "1",
                                      "1.",
                                      ".1",
                                      "1.0",
                                      "00",
                                      "01.5",
                                      "1.05",
                                      "1.5 ",
                                      " 1.5",
                                      "1.5.6",
                                      "+1.5",
                                      "-1.5",
                                      "1,5",
                                      "0x1.5",
                                      "1.5\n",
                                      "a.b",
                                      "1.18446744073709551616",
                                      "99999999999999999999.1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct dunlin_version version;
        CU_ASSERT_EQUAL(cli_version_parse(bad[i], &version), -EINVAL);
    }
}

static void numbers_are_exact_or_refused(void)
{
    uint64_t n = 0;
    CU_ASSERT_EQUAL(cli_number_parse("0", 0, &n), 0);
    CU_ASSERT_EQUAL(n, 0);
    CU_ASSERT_EQUAL(cli_number_parse("18446744073709551615", UINT64_MAX, &n), 0);
    CU_ASSERT_EQUAL(n, UINT64_MAX);
    CU_ASSERT_EQUAL(cli_number_parse("18446744073709551616", UINT64_MAX, &n), -EINVAL);
    CU_ASSERT_EQUAL(cli_number_parse("100", 100, &n), 0);
    CU_ASSERT_EQUAL(cli_number_parse("101", 100, &n), -EINVAL);
    CU_ASSERT_EQUAL(cli_number_parse("7", 6, &n), -EINVAL);
    CU_ASSERT_EQUAL(cli_number_parse("", 100, &n), -EINVAL);
    CU_ASSERT_EQUAL(cli_number_parse("-1", 100, &n), -EINVAL);
    CU_ASSERT_EQUAL(cli_number_parse("1.5", 100, &n), -EINVAL);
    CU_ASSERT_EQUAL(cli_number_parse("08", 100, &n), -EINVAL);
    CU_ASSERT_EQUAL(cli_number_parse("5ms", 100, &n), -EINVAL);
}

#define SESSION "00112233445566778899aabbccddeeff"

static void names_of_writes_survive_print_and_parse(void)
{
    struct dunlin_write_id id = {.shard = 4294967295u, .sequence = UINT64_MAX}, back;
    char text[CLI_WRITE_ID_BYTES];
    for (size_t i = 0; i < sizeof id.session; i++)
        id.session[i] = (uint8_t)(i * 17);
    cli_write_id_print(text, &id);
    CU_ASSERT_STRING_EQUAL(text, SESSION ".4294967295:18446744073709551615");
    CU_ASSERT_EQUAL(cli_write_id_parse(text, &back), 0);
    CU_ASSERT_EQUAL(memcmp(back.session, id.session, sizeof id.session), 0);
    CU_ASSERT_EQUAL(back.shard, id.shard);
    CU_ASSERT_EQUAL(back.sequence, id.sequence);
}

static void what_is_no_name_is_refused(void)
{
    static const char *const bad[] = {"",
                                      SESSION,
                                      SESSION ".1",
                                      SESSION ".1:",
                                      SESSION ".1:0",
                                      SESSION ".1:01",
                                      SESSION ".:1",
                                      SESSION ":1",
                                      SESSION "0.1:1",
                                      SESSION ".4294967296:1",
                                      SESSION ".1:1 ",
                                      "0" SESSION ".1:1",
                                      "00112233445566778899AABBCCDDEEFF.1:1",
                                      "0011223344556677889.1:1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct dunlin_write_id id;
        CU_ASSERT_EQUAL(cli_write_id_parse(bad[i], &id), -EINVAL);
    }
}

static void text_is_utf8_and_nothing_else(void)
{
    static const char *const good[] = {"",
                                       "abc\t\n\x7f",
                                       "\xc3\xa4",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\x90\xa6",
                                       "\xed\x9f\xbf",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {
        "\x80",             /* a continuation alone */
        "\xc3",             /* cut */
        "\xe2\x82",         /* cut */
        "\xc0\xaf",         /* overlong */
        "\xe0\x80\xaf",     /* overlong */
        "\xf0\x80\x80\xaf", /* overlong */
        "\xed\xa0\x80",     /* surrogate */
        "\xf4\x90\x80\x80", /* above U+10FFFF */
        "\xf8\x88\x80\x80\x80",
        "\xff",
        "a\xc3z",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        CU_ASSERT_TRUE(cli_is_text(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_FALSE(cli_is_text(bad[i], strlen(bad[i])));
    CU_ASSERT_FALSE(cli_is_text("a\0b", 3));
}

/* RFC 4648, section 10 */
static void base64_is_that_of_the_rfc(void)
{
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        char *text = cli_base64(vectors[i][0], strlen(vectors[i][0]));
        CU_ASSERT_PTR_NOT_NULL_FATAL(text);
        CU_ASSERT_STRING_EQUAL(text, vectors[i][1]);
        free(text);
    }
    char *text = cli_base64("\xff\xfe\xfd\x00", 4);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_STRING_EQUAL(text, "//79AA==");
    free(text);
}

static const struct unit_test tests[] = {
    UNIT_TEST(versions_survive_print_and_parse), UNIT_TEST(what_is_no_version_is_refused),
    UNIT_TEST(numbers_are_exact_or_refused),     UNIT_TEST(names_of_writes_survive_print_and_parse),
    UNIT_TEST(what_is_no_name_is_refused),       UNIT_TEST(text_is_utf8_and_nothing_else),
    UNIT_TEST(base64_is_that_of_the_rfc),
};
UNIT_MAIN("cli_text", tests)
