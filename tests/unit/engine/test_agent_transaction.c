/* Transactions and increments of libdunlin, at a real node. */
#include "tests/unit/engine/agent_node.h"
#include "tests/unit/unit.h"

#include "engine/base.h"
#include "engine/limits.h"

#include <stdlib.h>
#include <unistd.h>

#define LONG_MS 5000u
#define IN_FLIGHT 200u

static struct agent_node *n;
static struct dunlin *d;
static struct dunlin_space *s;

static void open_node(void)
{
    static const struct agent_node_options options = {.shard_count = 4};
    n = agent_node_make(&options);
    d = agent_node_attach(n, LONG_MS, &s);
}

static void close_node(void)
{
    dunlin_close(d);
    agent_node_free(n);
}

static struct dunlin_write put(const char *key, const char *value)
{
    return (struct dunlin_write){.operation = DUNLIN_PUT,
                                 .key = key,
                                 .key_length = strlen(key),
                                 .value = value,
                                 .value_length = strlen(value)};
}

static struct dunlin_write plus(const char *key, int64_t delta)
{
    return (struct dunlin_write){
        .operation = DUNLIN_INCREMENT, .key = key, .key_length = strlen(key), .delta = delta};
}

static struct dunlin_condition when(enum dunlin_compare compare, const char *key, uint64_t expected)
{
    return (struct dunlin_condition){
        .compare = compare, .key = key, .key_length = strlen(key), .expected = expected};
}

static bool holds(const char *key, const char *value)
{
    char got[64];
    struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
    return dunlin_get(s, key, strlen(key), got, sizeof got, &read) == 0 &&
           read.length == strlen(value) && memcmp(got, value, read.length) == 0;
}

static int add(const char *key, int64_t delta, int64_t *value)
{
    struct dunlin_version version;
    return dunlin_increment(s, key, strlen(key), delta, value, &version);
}

static void increments_return_the_sum(void)
{
    struct dunlin_version version = {.log = 0}, word;
    int64_t value = 7;
    open_node();
    CU_ASSERT_EQUAL(dunlin_increment(s, "n", 1, 5, &value, &version), 0);
    CU_ASSERT(value == 5 && version.lsn != 0);
    CU_ASSERT_EQUAL(dunlin_increment(s, "n", 1, -6, NULL, NULL), 0);
    CU_ASSERT_TRUE(holds("n", "-1"));
    CU_ASSERT_EQUAL(dunlin_put(s, "word", 4, "heron", 5, &word), 0);
    CU_ASSERT_EQUAL(dunlin_increment(s, "word", 4, 1, &value, &version), -EDOM);
    CU_ASSERT_EQUAL(version.lsn, word.lsn);
    CU_ASSERT_EQUAL(add("n", INT64_MIN, &value), -ERANGE);
    CU_ASSERT_EQUAL(add("n", INT64_MAX, &value), 0);
    CU_ASSERT_EQUAL(value, INT64_MAX - 1);
    CU_ASSERT_EQUAL(add("", 1, &value), -EINVAL);
    struct dunlin_write w = plus("n", 1);
    w.value = "x";
    w.value_length = 1;
    CU_ASSERT_EQUAL(dunlin_submit(s, &w), -EINVAL);
    close_node();
}

static void a_transaction_is_one_of_two_branches(void)
{
    struct dunlin_transaction_result r;
    open_node();
    const struct dunlin_condition absent[] = {when(DUNLIN_COMPARE_ABSENT, "{p}a", 0)};
    const struct dunlin_write then_writes[] = {put("{p}a", "1"), plus("{p}n", 1)};
    const struct dunlin_write else_writes[] = {
        plus("{p}n", 100), {.operation = DUNLIN_DELETE, .key = "{p}a", .key_length = 4}};
    struct dunlin_transaction t = {.conditions = absent,
                                   .condition_count = 1,
                                   .then_writes = then_writes,
                                   .then_count = 2,
                                   .else_writes = else_writes,
                                   .else_count = 2};
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(dunlin_transaction(s, &t, &r), 0);
        CU_ASSERT_EQUAL(r.branch, i % 2 == 0);
        CU_ASSERT(r.version.lsn != 0);
    }
    CU_ASSERT_TRUE(holds("{p}n", "202"));
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, NULL), 0);
    t.else_count = 0;
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, &r), -ECANCELED);
    CU_ASSERT(r.version.lsn != 0);
    const struct dunlin_condition same[] = {when(DUNLIN_COMPARE_VERSION, "{p}a", r.version.lsn),
                                            when(DUNLIN_COMPARE_EXISTS, "{p}n", 0)};
    t.conditions = same;
    t.condition_count = 2;
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, &r), 0);
    CU_ASSERT_EQUAL(r.branch, 1);
    const struct dunlin_write number[] = {plus("{p}a", 1), plus("{p}w", 1)};
    CU_ASSERT_EQUAL(dunlin_put(s, "{p}w", 4, "word", 4, NULL), 0);
    const struct dunlin_transaction impossible = {.then_writes = number, .then_count = 2};
    CU_ASSERT_EQUAL(dunlin_transaction(s, &impossible, &r), -EDOM);
    CU_ASSERT_TRUE(holds("{p}a", "1"));
    close_node();
}

static void what_cannot_be_is_refused_by_name(void)
{
    struct dunlin_write many[LIMIT_TRANSACTION_RECORDS + 1];
    char keys[LIMIT_TRANSACTION_RECORDS + 1][16];
    open_node();
    struct dunlin_transaction t = {.then_writes = many, .then_count = 0};
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, NULL), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_transaction(s, NULL, NULL), -EINVAL);
    for (uint32_t i = 0; i <= LIMIT_TRANSACTION_RECORDS; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "{p}%u", i);
        many[i] = put(keys[i], "v");
    }
    t.then_count = LIMIT_TRANSACTION_RECORDS + 1;
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, NULL), -EMSGSIZE);
    t.then_count = LIMIT_TRANSACTION_RECORDS;
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, NULL), 0);
    t.then_count = 2;
    many[1].compare = 1;
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, NULL), -EINVAL);
    many[1] = many[0];
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, NULL), -EINVAL); /* a key twice */
    int error = 0;
    for (char c = 'a'; c <= 'z' && error == 0; c++) {
        char other[] = "{a}";
        other[1] = c;
        many[1] = put(other, "v");
        error = dunlin_transaction(s, &t, NULL);
    }
    CU_ASSERT_EQUAL(error, -EXDEV);
    struct dunlin_condition c = when(0, "{p}1", 0);
    t = (struct dunlin_transaction){.conditions = &c, .condition_count = 1};
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, NULL), -EINVAL);
    c.compare = DUNLIN_COMPARE_TOKEN;
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, NULL), -ECANCELED);
    c.key_length = 0;
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, NULL), -EINVAL);
    close_node();
}

static void large_ones_go_through_the_bulk_buffer(void)
{
    static char value[16000];
    open_node();
    memset(value, 'v', sizeof value);
    struct dunlin_write w[8];
    char keys[8][16];
    for (uint32_t i = 0; i < 8; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "{p}%u", i);
        w[i] = put(keys[i], "");
        w[i].value = value;
        w[i].value_length = sizeof value - i;
    }
    struct dunlin_transaction t = {.then_writes = w, .then_count = 8};
    struct dunlin_transaction_result r = {.branch = 0};
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, &r), 0);
    CU_ASSERT_EQUAL(r.branch, 1);
    for (uint32_t i = 0; i < 8; i++) {
        static char got[sizeof value];
        struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
        CU_ASSERT_EQUAL(dunlin_get(s, keys[i], strlen(keys[i]), got, sizeof got, &read), 0);
        CU_ASSERT_EQUAL(read.length, sizeof value - i);
        CU_ASSERT_EQUAL(memcmp(got, value, read.length), 0);
    }
    close_node();
}

static size_t collect(struct dunlin_completion *c, size_t count)
{
    return dunlin_poll(d, c, count, LONG_MS * NS_PER_MS);
}

static void asynchronous_ones_keep_their_order(void)
{
    int64_t expected = 0;
    uint64_t next = 0;
    open_node();
    const struct dunlin_condition c = when(DUNLIN_COMPARE_EXISTS, "{p}n", 0);
    const struct dunlin_write one = plus("{p}n", 1), ten = plus("{p}n", 10);
    const struct dunlin_transaction t = {.conditions = &c,
                                         .condition_count = 1,
                                         .then_writes = &one,
                                         .then_count = 1,
                                         .else_writes = &ten,
                                         .else_count = 1};
    for (uint64_t i = 0; next < IN_FLIGHT;) {
        struct dunlin_write w = plus("{p}n", (int64_t)i);
        struct dunlin_completion done;
        w.context = i;
        int error = -EAGAIN;
        if (i < IN_FLIGHT)
            error = i % 2 == 0 ? dunlin_submit_transaction(s, &t, i) : dunlin_submit(s, &w);
        i += error == 0;
        if (error == 0 || collect(&done, 1) == 0)
            continue;
        CU_ASSERT_EQUAL(done.context, next);
        CU_ASSERT_EQUAL(done.result, 0);
        expected += next % 2 != 0 ? (int64_t)next : next == 0 ? 10 : 1;
        CU_ASSERT_EQUAL(done.number, next % 2 != 0 ? expected : next != 0);
        next++;
    }
    CU_ASSERT_EQUAL(dunlin_in_flight(d), 0);
    close_node();
}

static void they_are_repeated_under_their_names(void)
{
    struct dunlin_write_id id;
    struct dunlin_version version = {.log = 0}, again = {.log = 0};
    struct dunlin_transaction_result first, second;
    int64_t value = 0;
    open_node();
    CU_ASSERT_EQUAL(dunlin_increment(s, "{p}n", 4, 5, &value, &version), 0);
    CU_ASSERT_EQUAL(dunlin_last_write(d, &id), 0);
    CU_ASSERT_EQUAL(add("{p}n", 10, &value), 0);
    const struct dunlin_write w = plus("{p}n", 5), other = put("{p}n", "5");
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(dunlin_retry_increment(s, &id, &w, &value, &again), 0);
        CU_ASSERT_EQUAL(value, 5);
        CU_ASSERT_EQUAL(again.lsn, version.lsn);
        CU_ASSERT_EQUAL(dunlin_retry(s, &id, &w, &again), 0);
        CU_ASSERT_EQUAL(again.lsn, version.lsn);
    }
    CU_ASSERT_EQUAL(dunlin_retry_increment(s, &id, &other, &value, &again), -EINVAL);
    CU_ASSERT_TRUE(holds("{p}n", "15"));
    const struct dunlin_condition c = when(DUNLIN_COMPARE_ABSENT, "{p}n", 0);
    const struct dunlin_transaction t = {.conditions = &c,
                                         .condition_count = 1,
                                         .then_writes = &w,
                                         .then_count = 1,
                                         .else_writes = &w,
                                         .else_count = 1};
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, &first), 0);
    CU_ASSERT_EQUAL(dunlin_last_write(d, &id), 0);
    CU_ASSERT_EQUAL(dunlin_retry_transaction(s, &id, &t, &second), 0);
    CU_ASSERT(first.branch == 0 && second.branch == 0);
    CU_ASSERT_EQUAL(first.version.lsn, second.version.lsn);
    CU_ASSERT_TRUE(holds("{p}n", "20"));
    id.session[0] ^= 1;
    CU_ASSERT_EQUAL(dunlin_retry_transaction(s, &id, &t, &second), -EOWNERDEAD);
    id.sequence = 0;
    CU_ASSERT_EQUAL(dunlin_retry_transaction(s, &id, &t, &second), -EINVAL);
    close_node();
}

/* One of its values goes by itself, the other stays. */
static void a_value_of_a_transaction_may_have_a_ttl(void)
{
    open_node();
    struct dunlin_write writes[] = {put("{t}goes", "1"), put("{t}stays", "2")};
    const struct dunlin_transaction t = {.then_writes = writes, .then_count = 2};
    writes[0].ttl_ns = 20 * NS_PER_MS;
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, NULL), 0);
    int result = 0;
    for (unsigned i = 0; i < 10000 && result != -ENOENT; i++) {
        struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
        result = dunlin_get(s, "{t}goes", strlen("{t}goes"), NULL, 0, &read);
        (void)usleep(1000);
    }
    CU_ASSERT_EQUAL(result, -ENOENT);
    CU_ASSERT_TRUE(holds("{t}stays", "2"));
    writes[0].ttl_ns = 1;
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, NULL), -EINVAL);
    writes[0] = (struct dunlin_write){
        .operation = DUNLIN_DELETE, .key = "{t}a", .key_length = 4, .ttl_ns = NS_PER_S};
    CU_ASSERT_EQUAL(dunlin_transaction(s, &t, NULL), -EINVAL);
    close_node();
}

static const struct unit_test tests[] = {
    UNIT_TEST(increments_return_the_sum),
    UNIT_TEST(a_transaction_is_one_of_two_branches),
    UNIT_TEST(what_cannot_be_is_refused_by_name),
    UNIT_TEST(large_ones_go_through_the_bulk_buffer),
    UNIT_TEST(asynchronous_ones_keep_their_order),
    UNIT_TEST(they_are_repeated_under_their_names),
    UNIT_TEST(a_value_of_a_transaction_may_have_a_ttl),
};
UNIT_MAIN("agent_transaction", tests)
