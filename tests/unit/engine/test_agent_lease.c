/* Keys that go by themselves, and leases, through libdunlin at a real node.  Nothing is decided by how fast
 * it goes: what is to end is waited for, what is to last is long. */
#include "engine/clock.h"
#include "tests/unit/engine/agent_node.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <unistd.h>

#define LONG_NS (600 * NS_PER_S)
#define SHORT_NS (20 * NS_PER_MS)

static struct agent_node *node;
static struct dunlin *d, *other;
static struct dunlin_space *space, *others;

static void open_all(void)
{
    static const struct agent_node_options options = {.lcore_count = 1};
    node = agent_node_make(&options);
    d = agent_node_attach(node, 20000, &space);
    other = agent_node_attach(node, 20000, &others);
}

static void close_all(void)
{
    dunlin_close(d);
    dunlin_close(other);
    agent_node_free(node);
}

static bool is_there(const char *key)
{
    struct dunlin_read read = {.mode = DUNLIN_LINEARIZABLE};
    int error = dunlin_get(space, key, strlen(key), NULL, 0, &read);
    CU_ASSERT(error == 0 || error == -ENOBUFS || error == -ENOENT);
    return error != -ENOENT;
}

/* Until it is gone: no sooner than the clock says, as told by the clock read before it was written. */
static void await_end(const char *key, uint64_t begun_ns, uint64_t ttl_ns)
{
    for (uint32_t i = 0; is_there(key); i++) {
        CU_ASSERT_FATAL(i < 20000);
        (void)usleep(1000);
    }
    CU_ASSERT(clock_boottime_ns() - begun_ns >= ttl_ns - ttl_ns / 1000);
}

static void a_value_goes_by_itself(void)
{
    struct dunlin_version first, second;
    open_all();
    uint64_t begun_ns = clock_boottime_ns();
    CU_ASSERT_EQUAL(dunlin_put_ttl(space, "k", 1, "v", 1, SHORT_NS, &first), 0);
    await_end("k", begun_ns, SHORT_NS);
    struct dunlin_write w = {.operation = DUNLIN_PUT,
                             .key = "k",
                             .key_length = 1,
                             .value = "w",
                             .value_length = 1,
                             .compare = 1,
                             .ttl_ns = LONG_NS};
    CU_ASSERT_EQUAL(dunlin_apply(space, &w, &second), 0);
    CU_ASSERT(second.lsn > first.lsn);
    CU_ASSERT(is_there("k"));
    CU_ASSERT_EQUAL(dunlin_apply(space, &w, &first), -ECANCELED);
    CU_ASSERT_EQUAL(first.lsn, second.lsn);
    /* asynchronous, and then not mortal any more */
    w.compare = 0;
    w.ttl_ns = SHORT_NS;
    CU_ASSERT_EQUAL(dunlin_submit(space, &w), 0);
    CU_ASSERT_EQUAL(dunlin_put(space, "k", 1, "x", 1, NULL), 0);
    CU_ASSERT_EQUAL(dunlin_put_ttl(space, "later", 5, "v", 1, 2 * SHORT_NS, NULL), 0);
    await_end("later", begun_ns, SHORT_NS);
    CU_ASSERT(is_there("k"));
    close_all();
}

static void what_is_no_ttl_is_refused(void)
{
    open_all();
    CU_ASSERT_EQUAL(dunlin_put_ttl(space, "k", 1, "v", 1, 0, NULL), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_put_ttl(space, "k", 1, "v", 1, NS_PER_MS - 1, NULL), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_put_ttl(space, "k", 1, "v", 1, LIMIT_TTL_NS_MAX + 1, NULL), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_put_ttl(space, "k", 1, "v", 1, LIMIT_TTL_NS_MAX, NULL), 0);
    const struct dunlin_write w = {
        .operation = DUNLIN_DELETE, .key = "k", .key_length = 1, .ttl_ns = LONG_NS};
    CU_ASSERT_EQUAL(dunlin_apply(space, &w, NULL), -EINVAL);
    close_all();
}

static void a_lease_has_one_owner(void)
{
    struct dunlin_lease mine, theirs, seen;
    open_all();
    uint64_t before_ns = clock_boottime_ns();
    CU_ASSERT_EQUAL_FATAL(dunlin_lease_acquire(space, "l", 1, "me", LONG_NS, &mine), 0);
    CU_ASSERT(mine.token != 0 && mine.token == mine.version.lsn);
    CU_ASSERT(mine.deadline_ns >= before_ns + LONG_NS - LONG_NS / 1000);
    CU_ASSERT(mine.deadline_ns <= clock_boottime_ns() + LONG_NS - LONG_NS / 1000);
    CU_ASSERT_EQUAL(dunlin_lease_acquire(others, "l", 1, "you", LONG_NS, &theirs), -ECANCELED);
    CU_ASSERT_EQUAL(theirs.token, 0);
    CU_ASSERT_EQUAL(theirs.version.lsn, mine.version.lsn);
    CU_ASSERT_EQUAL_FATAL(dunlin_lease_show(others, "l", 1, &seen), 0);
    CU_ASSERT_STRING_EQUAL(seen.owner, "me");
    CU_ASSERT_EQUAL(seen.token, mine.token);
    CU_ASSERT_EQUAL(seen.ttl_ns, LONG_NS);
    CU_ASSERT_EQUAL(seen.deadline_ns, 0);
    CU_ASSERT_EQUAL(dunlin_put(space, "l", 1, "mine", 4, NULL), -ECANCELED);
    CU_ASSERT_EQUAL(dunlin_delete(space, "l", 1, NULL), -ECANCELED);
    uint64_t token = mine.token, lsn = mine.version.lsn;
    CU_ASSERT_EQUAL(dunlin_lease_renew(space, "l", 1, 2 * LONG_NS, &mine), 0);
    CU_ASSERT_EQUAL(mine.token, token);
    CU_ASSERT(mine.version.lsn > lsn && mine.ttl_ns == 2 * LONG_NS);
    CU_ASSERT_STRING_EQUAL(mine.owner, "me");
    theirs.token = token + 8;
    seen = theirs;
    CU_ASSERT_EQUAL(dunlin_lease_renew(others, "l", 1, LONG_NS, &theirs), -ECANCELED);
    CU_ASSERT_EQUAL(memcmp(&theirs, &seen, sizeof seen), 0); /* as it was */
    CU_ASSERT_EQUAL(dunlin_lease_release(others, "l", 1, token + 8, NULL), -ECANCELED);
    CU_ASSERT_EQUAL(dunlin_lease_release(space, "l", 1, token, NULL), 0);
    CU_ASSERT_EQUAL(dunlin_lease_show(others, "l", 1, &seen), -ENOENT);
    CU_ASSERT_EQUAL(dunlin_lease_acquire(others, "l", 1, "you", LONG_NS, &theirs), 0);
    CU_ASSERT(theirs.token > token);
    CU_ASSERT_EQUAL(dunlin_lease_renew(space, "l", 1, LONG_NS, &mine), -ECANCELED);
    close_all();
}

static void a_lease_ends_with_its_ttl(void)
{
    struct dunlin_lease mine, theirs;
    open_all();
    uint64_t begun_ns = clock_boottime_ns();
    CU_ASSERT_EQUAL_FATAL(dunlin_lease_acquire(space, "l", 1, "me", SHORT_NS, &mine), 0);
    int error;
    for (uint32_t i = 0; i < 20000; i++) {
        error = dunlin_lease_acquire(others, "l", 1, "you", LONG_NS, &theirs);
        if (error != -ECANCELED)
            break;
        (void)usleep(1000);
    }
    CU_ASSERT_EQUAL_FATAL(error, 0);
    CU_ASSERT(clock_boottime_ns() >= mine.deadline_ns);
    CU_ASSERT(mine.deadline_ns >= begun_ns + SHORT_NS - SHORT_NS / 1000);
    CU_ASSERT(theirs.token > mine.token);
    close_all();
}

static void what_is_no_lease_is_refused(void)
{
    struct dunlin_lease lease = {.token = 0};
    char owner[DUNLIN_OWNER_MAX + 2] = {0};
    open_all();
    memset(owner, 'o', sizeof owner - 1);
    CU_ASSERT_EQUAL(dunlin_lease_acquire(space, "l", 1, owner, LONG_NS, &lease), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_lease_acquire(space, "l", 1, "", LONG_NS, &lease), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_lease_acquire(space, "l", 1, NULL, LONG_NS, &lease), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_lease_acquire(space, "l", 1, "me", 1, &lease), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_lease_acquire(space, "l", 1, "me", LONG_NS, NULL), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_lease_acquire(space, "", 0, "me", LONG_NS, &lease), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_lease_acquire(NULL, "l", 1, "me", LONG_NS, &lease), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_lease_renew(space, "l", 1, LONG_NS, &lease), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_lease_release(space, "l", 1, 0, NULL), -EINVAL);
    CU_ASSERT_EQUAL(dunlin_lease_show(space, "l", 1, NULL), -EINVAL);
    owner[DUNLIN_OWNER_MAX] = 0;
    CU_ASSERT_EQUAL(dunlin_lease_acquire(space, "l", 1, owner, LONG_NS, &lease), 0);
    CU_ASSERT_EQUAL(dunlin_lease_show(others, "l", 1, &lease), 0);
    CU_ASSERT_STRING_EQUAL(lease.owner, owner);
    CU_ASSERT_EQUAL(dunlin_put(space, "plain", 5, "v", 1, NULL), 0);
    CU_ASSERT_EQUAL(dunlin_lease_show(space, "plain", 5, &lease), -ENOENT);
    CU_ASSERT_EQUAL(dunlin_lease_acquire(space, "plain", 5, "me", LONG_NS, &lease), -ECANCELED);
    CU_ASSERT_EQUAL(dunlin_put_ttl(space, "mortal", 6, "v", 1, LONG_NS, NULL), 0);
    CU_ASSERT_EQUAL(dunlin_lease_show(space, "mortal", 6, &lease), -ENOENT);
    close_all();
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_value_goes_by_itself),      UNIT_TEST(what_is_no_ttl_is_refused),
    UNIT_TEST(a_lease_has_one_owner),       UNIT_TEST(a_lease_ends_with_its_ttl),
    UNIT_TEST(what_is_no_lease_is_refused),
};
UNIT_MAIN("agent_lease", tests)
