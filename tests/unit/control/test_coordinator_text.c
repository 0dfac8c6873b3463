#include "control/coordinator_text.h"

#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#define SHARDS 5u

/* Three nodes, of which the second came back, and shards in all states. */
static struct coordinator_state *made(void)
{
    struct coordinator_state *s = calloc(1, coordinator_state_bytes(SHARDS));
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    s->cluster = UINT64_MAX;
    s->spaces = UINT64_C(0x0123456789abcdef);
    s->origin = INT64_MAX;
    s->revision = 1;
    s->replicas = s->node_count = 3;
    for (uint32_t i = 0; i < 3; i++)
        s->nodes[i] = (struct coordinator_node){
            .id = 10 * (i + 1), .weight = i == 0 ? 1000 : 1, .start = 1000 + i};
    s->nodes[2].id = UINT32_MAX;
    s->shard_count = SHARDS;
    for (uint32_t i = 0; i < SHARDS; i++)
        s->shards[i].log = 64u << 16 | (i * 3);
    coordinator_state_begin(s);
    for (uint32_t i = 0; i + 1 < SHARDS; i++) {
        const struct member leader = s->shards[i].configuration.leader;
        CU_ASSERT_TRUE(coordinator_state_activate(s, s->shards[i].log, 1002, &leader));
    }
    CU_ASSERT_EQUAL(coordinator_state_move(s, 64u << 16, 64u << 16 | 3, 20), 2);
    CU_ASSERT_EQUAL(coordinator_state_register(s, UINT32_MAX, 2000), 1);
    CU_ASSERT_PTR_NULL_FATAL(coordinator_state_fault(s));
    return s;
}

static bool is_equal(const struct coordinator_state *a, const struct coordinator_state *b)
{
    return a->shard_count == b->shard_count &&
           memcmp(a, b, coordinator_state_bytes(a->shard_count)) == 0;
}

static void a_state_comes_back_as_it_was(void)
{
    struct coordinator_state *s = made(), *back = NULL;
    struct coordinator_fault fault;
    char *bytes;
    size_t length;
    CU_ASSERT_EQUAL_FATAL(coordinator_print(s, &bytes, &length), 0);
    CU_ASSERT_EQUAL_FATAL(coordinator_parse(bytes, length, &back, &fault), 0);
    CU_ASSERT_TRUE(is_equal(s, back));
    /* Every prefix is named as what it is: not whole. */
    for (size_t i = 0; i + 1 < length; i++) { /* the last byte ends the line */
        struct coordinator_state *none = NULL;
        CU_ASSERT_EQUAL(coordinator_parse(bytes, i, &none, &fault), -EBADMSG);
        CU_ASSERT_PTR_NULL(none);
        CU_ASSERT_NOT_EQUAL(fault.text[0], 0);
    }
    free(bytes);
    free(back);
    free(s);
}

/* What is lossy, and the ceiling that its floor lies above. */
static void a_state_that_gave_something_up_comes_back(void)
{
    struct coordinator_state *s = made(), *back = NULL;
    struct coordinator_fault fault;
    char *bytes;
    size_t length;
    s->origin = s->lsn_ceiling = UINT64_C(1) << 61;
    for (uint32_t i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(coordinator_state_register(s, s->nodes[i].id, 3000 + i), 1);
    CU_ASSERT_EQUAL(coordinator_state_give_up(s), SHARDS - 1); /* one was never active */
    CU_ASSERT_EQUAL_FATAL(coordinator_print(s, &bytes, &length), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(bytes, "\"floor\":2305843009213693953"));
    CU_ASSERT_PTR_NOT_NULL(strstr(bytes, ",\"ceiling\":2305843284091600897,"));
    CU_ASSERT_EQUAL_FATAL(coordinator_parse(bytes, length, &back, &fault), 0);
    CU_ASSERT_TRUE(is_equal(s, back));
    free(bytes);
    free(back);
    free(s);
}

/* The file with the first old in it replaced. */
static void spoiled(const char *old, const char *new, const char *says)
{
    struct coordinator_state *s = made(), *back = NULL;
    struct coordinator_fault fault;
    char *bytes, *text;
    size_t length;
    CU_ASSERT_EQUAL_FATAL(coordinator_print(s, &bytes, &length), 0);
    char *at = strstr(bytes, old);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    CU_ASSERT_TRUE_FATAL(
        asprintf(&text, "%.*s%s%s", (int)(at - bytes), bytes, new, at + strlen(old)) > 0);
    CU_ASSERT_EQUAL(coordinator_parse(text, strlen(text), &back, &fault), -EBADMSG);
    CU_ASSERT_PTR_NULL(back);
    if (strstr(fault.text, says) == NULL)
        printf("%s for %s: %s\n", old, new, fault.text);
    CU_ASSERT_PTR_NOT_NULL(strstr(fault.text, says));
    free(text);
    free(bytes);
    free(s);
}

static void what_is_wrong_with_bytes_is_named(void)
{
    spoiled("dunlin coordinator 2", "dunlin coordinator 1", "format");
    spoiled("\"revision\"", "\"revisions\"", "revision");
    spoiled("\"revision\":1", "\"revision\":-1", "revision");
    spoiled("\"revision\":1", "\"revision\":1.5", "revision");
    spoiled("\"revision\":1", "\"revision\":99999999999999999999", "line 1 column");
    spoiled("\"revision\":1", "\"revision\":0", "impossible: revision");
    spoiled("ffffffffffffffff", "fffffffffffffff", "cluster");
    spoiled("ffffffffffffffff", "fffffffffffffffF", "cluster");
    spoiled("0123456789abcdef", "0123456789abcdeg", "spaces");
    spoiled("{", "[", "line 1");
    spoiled("\"nodes\":[", "\"nodes\":[7,", "nodes[0]");
    spoiled("\"start\":1001", "\"start\":\"1001\"", "nodes[1]: start");
    spoiled("\"start\":1001", "\"start\":2199023255552", "nodes[1]: start");
    spoiled("\"since\":1", "\"since\":1,\"more\":2", "nodes[2]: names");
    spoiled("\"id\":20", "\"id\":10", "impossible: id of a node");
    spoiled("\"id\":20", "\"id\":4294967296", "nodes[1]: id");
    spoiled("\"active\":false", "\"active\":0", "shards[0]: active");
    spoiled("\"leader\":[10", "\"leader\":[[10]", "shards[0]: leader");
    spoiled("\"leader\":[10,", "\"leader\":[10,10,", "shards[0]: leader");
    spoiled("\"leader\":[10,", "\"leader\":[11,", "impossible: configuration");
    spoiled("\"voters\":[[10,1000]", "\"voters\":[7,[10,1000]", "shards[0]: voters");
    spoiled("\"voters\":[[10,1000],", "\"voters\":[", "impossible: ");
    spoiled("\"voters_before\":[[10", "\"voters_before\":[[10,1],[10", "impossible: ");
    spoiled("\"voters_before\":[[10,1000]", "\"voters_before\":[1,2,3,4,5,6,7,8,[10,1000]",
            "shards[0]: voters_before");
    spoiled("\"move\":20", "\"move\":20,\"move\":20", "duplicate");
    spoiled("\"move\":20", "\"move\":null", "shards[0]: move");
    spoiled("\"log\":4194304", "\"log\":4259840", "impossible: log");
    spoiled("\"log\":4194304", "\"log\":4194307", "impossible: order");
    spoiled(",\"leader\"", ",\"floor\":0,\"leader\"", "shards[0]: floor");
    spoiled(",\"leader\"", ",\"floor\":-7,\"leader\"", "shards[0]: floor");
    spoiled(",\"leader\"", ",\"roof\":7,\"leader\"", "shards[0]: names");
    spoiled(",\"spaces\"", ",\"ceiling\":0,\"spaces\"", "names");
    spoiled(",\"spaces\"", ",\"ceilings\":7,\"spaces\"", "names");
    spoiled("\"epoch\":1003", "\"epoch\":1002", "impossible: configuration");
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_state_comes_back_as_it_was),
    UNIT_TEST(a_state_that_gave_something_up_comes_back),
    UNIT_TEST(what_is_wrong_with_bytes_is_named),
};
UNIT_MAIN("coordinator_text", tests)
