/* What a node that is added is to be, in words: what is taken, and what is said of what is not. */
#include "control/node_words.h"

#include "tests/unit/unit.h"

#include <string.h>

static struct node_words words;
static char fault[NODE_WORDS_FAULT_BYTES];

static int take(const char *text)
{
    fault[0] = '\0';
    return node_words_read(&words, text, fault);
}

static void all_that_is_said_arrives(void)
{
    CU_ASSERT_EQUAL(take("weight=1000\naddress=[fd00::4]:7700\nzone=hall-2\n"
                         "control=[fd00::4]:7800"),
                    0);
    CU_ASSERT_STRING_EQUAL(words.address, "[fd00::4]:7700");
    CU_ASSERT_STRING_EQUAL(words.control, "[fd00::4]:7800");
    CU_ASSERT_STRING_EQUAL(words.zone, "hall-2");
    CU_ASSERT_EQUAL(words.weight, 1000);
    CU_ASSERT_STRING_EQUAL(fault, "");
}

static void what_is_left_out_has_its_default(void)
{
    CU_ASSERT_EQUAL(take("address=10.0.0.4:7700\n"), 0);
    CU_ASSERT_STRING_EQUAL(words.control, "10.0.0.4:7700");
    CU_ASSERT_STRING_EQUAL(words.zone, "");
    CU_ASSERT_EQUAL(words.weight, 100);
}

static void the_rest_of_a_text_is_zero(void)
{
    static const char none[NODE_WORDS_ADDRESS_BYTES];
    memset(&words, 'x', sizeof words);
    CU_ASSERT_EQUAL(take("address=10.0.0.4:1\nzone=a\n"), 0);
    CU_ASSERT_EQUAL(memcmp(words.address + 10, none, sizeof words.address - 10), 0);
    CU_ASSERT_EQUAL(memcmp(words.zone + 1, none, sizeof words.zone - 1), 0);
}

static void the_longest_of_each_fits(void)
{
    const char *address = "[1234:5678:9abc:def0:1234:5678:9abc:def0]:65535";
    char text[256];
    (void)snprintf(text, sizeof text, "address=%s\nzone=%s\n", address,
                   "a123456789012345678901234567890");
    CU_ASSERT_EQUAL(take(text), 0);
    CU_ASSERT_STRING_EQUAL(words.address, address);
    CU_ASSERT_EQUAL(strlen(words.zone), LIMIT_NAME_BYTES - 1);
}

static void what_is_wrong_is_said(void)
{
    static const struct {
        const char *text, *fault;
    } bad[] = {
        {"", "it has no address"},
        {"zone=a\n", "it has no address"},
        {"address=\n", "'' for address; expected the numeric address"},
        {"address=host:7700\n", "'host:7700' for address; expected the numeric address"},
        {"address=10.0.0.4:0\n", "'10.0.0.4:0' for address"},
        {"address", "'' for address"},
        {"address=10.0.0.4:1\naddress=10.0.0.4:1\n", "address is given twice"},
        {"address=10.0.0.4:1\ncontrol=x\n", "'x' for control; expected the numeric address"},
        {"address=10.0.0.4:1\nweight=0\n",
         "'0' for weight; expected a whole number from 1 to 1000"},
        {"address=10.0.0.4:1\nweight=1001\n", "'1001' for weight"},
        {"address=10.0.0.4:1\nzone=2nd\n", "'2nd' for zone; expected a name"},
        {"address=10.0.0.4:1\nzone=\n", "'' for zone"},
        {"address=10.0.0.4:1\nzone=a1234567890123456789012345678901\n", "for zone"},
        {"address=10.0.0.4:1\nid=4\n", "'id=4' is nothing that can be given"},
        {"address=10.0.0.4:1\n\n", "'' is nothing that can be given"},
        {"address=10.0.0.4:1\nADDRESS=10.0.0.4:1\n", "is nothing that can be given"},
        {"addres=10.0.0.4:1\n", "is nothing that can be given"},
        {"address =10.0.0.4:1\n", "is nothing that can be given"},
        {"address=10.0.0.4:1 \n", "'10.0.0.4:1 ' for address"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CU_ASSERT_EQUAL(take(bad[i].text), -EINVAL);
        if (strstr(fault, bad[i].fault) == NULL)
            (void)fprintf(stderr, "%s: %s\n", bad[i].text, fault);
        CU_ASSERT_PTR_NOT_NULL(strstr(fault, bad[i].fault));
    }
}

/* A word as long as a request may be is cut in what is said of it. */
static void long_words_are_cut(void)
{
    char text[NODE_WORDS_BYTES];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    CU_ASSERT_EQUAL(take(text), -EINVAL);
    CU_ASSERT(strlen(fault) < 128);
    memcpy(text, "address=", 8);
    CU_ASSERT_EQUAL(take(text), -EINVAL);
    CU_ASSERT(strlen(fault) < 200);
}

static const struct unit_test tests[] = {
    UNIT_TEST(all_that_is_said_arrives),   UNIT_TEST(what_is_left_out_has_its_default),
    UNIT_TEST(the_rest_of_a_text_is_zero), UNIT_TEST(the_longest_of_each_fits),
    UNIT_TEST(what_is_wrong_is_said),      UNIT_TEST(long_words_are_cut),
};
UNIT_MAIN("node_words", tests)
