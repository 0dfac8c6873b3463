#include "control/space_words.h"

#include "tests/unit/unit.h"

#include <errno.h>

#define MIB (UINT64_C(1) << 20)

static char fault[SPACE_WORDS_FAULT_BYTES];

static void defaults_are_those_of_the_configuration(void)
{
    struct space_config c, expected;
    memset(&expected, 0, sizeof expected);
    space_config_default(&expected);
    memcpy(expected.name, "orders", 7);
    expected.quota_max_bytes = 1024 * MIB;
    CU_ASSERT_EQUAL(space_words_apply(&c, "name=orders\n", SPACE_WORDS_CREATE, fault), 0);
    CU_ASSERT_STRING_EQUAL(c.name, "orders");
    CU_ASSERT_EQUAL(c.shard_count, expected.shard_count);
    CU_ASSERT_EQUAL(c.quota_bytes, expected.quota_bytes);
    CU_ASSERT_EQUAL(c.quota_max_bytes, expected.quota_max_bytes);
    CU_ASSERT_EQUAL(c.sessions_max, expected.sessions_max);
    CU_ASSERT_EQUAL(c.session_ttl_ns, expected.session_ttl_ns);
    CU_ASSERT_EQUAL(c.history, 1);
    CU_ASSERT_EQUAL(c.consistency, SPACE_STRONG);
    CU_ASSERT_TRUE(c.ordered);
    CU_ASSERT_FALSE(c.read.everyone || c.write.everyone);
    CU_ASSERT_EQUAL(c.read.uid_count, 0);
}

static void every_key_is_taken(void)
{
    struct space_config c;
    CU_ASSERT_EQUAL(space_words_apply(
                        &c,
                        "name=a.b-c_d\nconsistency=strong\ndurability=none\nshards=3\nquota=8MiB\n"
                        "quota_max=0B\npartition_prefix=4\nvalue_max=100KiB\nsessions=7\n"
                        "session_ttl=2min\nhistory=9\nhistory_time=3s\nordered=false\nread=any\n"
                        "write=1000,4294967294",
                        SPACE_WORDS_CREATE, fault),
                    0);
    CU_ASSERT_STRING_EQUAL(c.name, "a.b-c_d");
    CU_ASSERT_EQUAL(c.shard_count, 3);
    CU_ASSERT_EQUAL(c.quota_bytes, 8 * MIB);
    CU_ASSERT_EQUAL(c.quota_max_bytes, 0);
    CU_ASSERT_EQUAL(c.partition_prefix, 4);
    CU_ASSERT_EQUAL(c.value_bytes_max, 100 << 10);
    CU_ASSERT_EQUAL(c.sessions_max, 7);
    CU_ASSERT_EQUAL(c.session_ttl_ns, 120 * NS_PER_S);
    CU_ASSERT_EQUAL(c.history, 9);
    CU_ASSERT_EQUAL(c.history_ns, 3 * NS_PER_S);
    CU_ASSERT_FALSE(c.ordered);
    CU_ASSERT_TRUE(c.read.everyone);
    CU_ASSERT_EQUAL(c.write.uid_count, 2);
    CU_ASSERT_EQUAL(c.write.uids[0], 1000);
    CU_ASSERT_EQUAL(c.write.uids[1], UINT32_MAX - 1);
}

/* What cannot be, and a word of what is said about it. */
static const struct {
    const char *words, *said;
    enum space_words_use use;
} refused[] = {
    {"", "no name", SPACE_WORDS_CREATE},
    {"quota=8MiB\n", "no name", SPACE_WORDS_CREATE},
    {"name=a\nname=b\n", "twice", SPACE_WORDS_CREATE},
    {"name=1a\n", "a letter", SPACE_WORDS_CREATE},
    {"name=\n", "a name", SPACE_WORDS_CREATE},
    {"name=a\nid=3\n", "'id=3'", SPACE_WORDS_CREATE},
    {"name=a\ncolour=red\n", "'colour=red'", SPACE_WORDS_CREATE},
    {"name=a\nquota\n", "size with its unit", SPACE_WORDS_CREATE},
    {"name=a\nquota=8\n", "size with its unit", SPACE_WORDS_CREATE},
    {"name=a\nshards=0\n", "from 1 to 1024", SPACE_WORDS_CREATE},
    {"name=a\nhistory=65\n", "from 1 to 64", SPACE_WORDS_CREATE},
    {"name=a\nconsistency=causal\n", "strong", SPACE_WORDS_CREATE},
    {"name=a\nread=1,1\n", "user ids", SPACE_WORDS_CREATE},
    {"name=a\nread=1,\n", "user ids", SPACE_WORDS_CREATE},
    {"name=a\nread=x\n", "user ids", SPACE_WORDS_CREATE},
    {"name=a\nread=4294967295\n", "user ids", SPACE_WORDS_CREATE},
    {"name=a\nread=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17\n", "at most 16", SPACE_WORDS_CREATE},
    {"name=a\nquota=8MiB\nquota_max=4MiB\n", "below the quota", SPACE_WORDS_CREATE},
    {"name=a\n\n", "''", SPACE_WORDS_CREATE},
    {"", "nothing", SPACE_WORDS_ALTER},
    {"shards=4\n", "altered", SPACE_WORDS_ALTER},
    {"name=b\n", "altered", SPACE_WORDS_ALTER},
    {"quota=1\n", "size", SPACE_WORDS_ALTER},
};

static void what_cannot_be_is_said(void)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct space_config c = {.id = 1};
        CU_ASSERT_EQUAL(space_words_apply(&c, refused[i].words, refused[i].use, fault), -EINVAL);
        if (strstr(fault, refused[i].said) == NULL)
            (void)fprintf(stderr, "%s: %s\n", refused[i].words, fault);
        CU_ASSERT_PTR_NOT_NULL(strstr(fault, refused[i].said));
    }
}

static void what_is_absent_stays(void)
{
    struct space_config c;
    CU_ASSERT_EQUAL(space_words_apply(&c, "name=a\nquota=8MiB\nread=any\nhistory=3\n",
                                      SPACE_WORDS_CREATE, fault),
                    0);
    CU_ASSERT_EQUAL(
        space_words_apply(&c, "quota=16MiB\nread=\nsession_ttl=5s\n", SPACE_WORDS_ALTER, fault), 0);
    CU_ASSERT_EQUAL(c.quota_bytes, 16 * MIB);
    CU_ASSERT_EQUAL(c.quota_max_bytes, 32 * MIB);
    CU_ASSERT_EQUAL(c.session_ttl_ns, 5 * NS_PER_S);
    CU_ASSERT_EQUAL(c.history, 3);
    CU_ASSERT_FALSE(c.read.everyone);
    CU_ASSERT_EQUAL(c.read.uid_count, 0);
}

static const struct unit_test tests[] = {
    UNIT_TEST(defaults_are_those_of_the_configuration),
    UNIT_TEST(every_key_is_taken),
    UNIT_TEST(what_cannot_be_is_said),
    UNIT_TEST(what_is_absent_stays),
};
UNIT_MAIN("space_words", tests)
