/* dunlin_get at a version, beside a real node. */
#include "engine/agent/agent.h"
#include "tests/unit/engine/agent_node.h"
#include "tests/unit/unit.h"

#include <errno.h>

#define LONG_MS 20000u
#define SHORT_NS (60 * NS_PER_MS) /* for calls that are to time out */

static struct dunlin_version put(struct dunlin_space *s, const char *key, const char *value)
{
    struct dunlin_version version = {.lsn = 0};
    CU_ASSERT_EQUAL(dunlin_put(s, key, strlen(key), value, strlen(value), &version), 0);
    return version;
}

static int get_at(struct dunlin_space *s, const char *key, struct dunlin_version at,
                  struct dunlin_read *read)
{
    static char value[64];
    memset(value, 0, sizeof value);
    *read = (struct dunlin_read){.at = at};
    int result = dunlin_get(s, key, strlen(key), value, sizeof value, read);
    if (result == 0)
        CU_ASSERT_EQUAL(read->length, strlen(value));
    if (result == 0)
        CU_ASSERT_EQUAL(memcmp(value, "value", 5), 0);
    return result == 0 ? value[5] : result;
}

static void versions_that_are_kept_are_read_and_older_ones_named(void)
{
    const struct agent_node_options options = {.history = 3, .shard_count = 1};
    struct agent_node *n = agent_node_make(&options);
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_version v[5], other;
    struct dunlin_read read;
    for (int i = 0; i < 5; i++) {
        const char text[] = {'v', 'a', 'l', 'u', 'e', (char)('0' + i), 0};
        v[i] = put(s, "k", text);
    }
    other = put(s, "other", "valueX");
    for (int i = 2; i < 5; i++) {
        CU_ASSERT_EQUAL(get_at(s, "k", v[i], &read), '0' + i);
        CU_ASSERT(read.version.lsn == v[i].lsn && read.version.log == v[i].log);
        CU_ASSERT(read.age_ns == 0 && read.stale == 0);
    }
    CU_ASSERT_EQUAL(get_at(s, "k", other, &read), '4');
    CU_ASSERT_EQUAL(read.version.lsn, v[4].lsn);
    CU_ASSERT_EQUAL(get_at(s, "k", v[1], &read), -ENODATA);
    CU_ASSERT(read.version.lsn == v[2].lsn && read.version.log == v[2].log);
    CU_ASSERT_EQUAL(get_at(s, "other", v[4], &read), -ENOENT);
    CU_ASSERT_EQUAL(read.version.lsn, 0);
    other.log++;
    CU_ASSERT_EQUAL(get_at(s, "k", other, &read), -ENODATA);
    CU_ASSERT_EQUAL(read.version.lsn, 0);
    dunlin_close(d);
    agent_node_free(n);
}

static void a_buffer_that_is_too_small_says_how_much_is_needed(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.shard_count = 1});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_read read = {.at = put(s, "k", "value and more")};
    char small[5];
    CU_ASSERT_EQUAL(dunlin_get(s, "k", 1, small, sizeof small, &read), -ENOBUFS);
    CU_ASSERT_EQUAL(read.length, strlen("value and more"));
    CU_ASSERT_EQUAL(memcmp(small, "value", 5), 0);
    dunlin_close(d);
    agent_node_free(n);
}

/* Nobody got it as an answer; it is waited for, as one of another node would be. */
static void a_version_to_come_is_waited_for(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.shard_count = 1});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_version v = put(s, "k", "value0");
    struct dunlin_read read;
    CU_ASSERT_EQUAL(get_at(s, "k", v, &read), '0');
    v.lsn += 1 << 20;
    d->options.timeout_ns = SHORT_NS;
    CU_ASSERT_EQUAL(get_at(s, "k", v, &read), -ENOTCONN);
    agent_node_kill(n);
    CU_ASSERT_EQUAL(get_at(s, "k", v, &read), -ENOTCONN);
    v.lsn -= 1 << 20;
    CU_ASSERT_EQUAL(get_at(s, "k", v, &read), '0'); /* needs no daemon */
    dunlin_close(d);
    agent_node_free(n);
}

static void other_calls_refuse_it(void)
{
    struct agent_node *n = agent_node_make(&(struct agent_node_options){.shard_count = 1});
    struct dunlin_space *s;
    struct dunlin *d = agent_node_attach(n, LONG_MS, &s);
    struct dunlin_version v = put(s, "k", "value0");
    struct dunlin_view view = {.read = {.at = v}};
    char value[8];
    struct dunlin_get_entry entries[2] = {
        {.key = "k", .key_length = 1, .buffer = value, .capacity = sizeof value},
        {.key = "k", .key_length = 1, .buffer = value, .capacity = sizeof value, .read.at = v}};
    CU_ASSERT_EQUAL(dunlin_view(s, "k", 1, &view), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_get_many(s, entries, 2), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_get_many(s, entries, 1), 0);
    dunlin_close(d);
    agent_node_free(n);
}

static const struct unit_test tests[] = {
    UNIT_TEST(versions_that_are_kept_are_read_and_older_ones_named),
    UNIT_TEST(a_buffer_that_is_too_small_says_how_much_is_needed),
    UNIT_TEST(a_version_to_come_is_waited_for),
    UNIT_TEST(other_calls_refuse_it),
};
UNIT_MAIN("agent_at", tests)
