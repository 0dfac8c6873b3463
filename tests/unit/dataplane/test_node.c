#include "dataplane/node.h"

#include "engine/rcu.h"
#include "engine/shard.h"
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN_UID 4000u
#define STRANGER 5000u
#define START UINT64_C(1795249235478)
#define START_END (UINT64_C(1) << 41) /* milliseconds: in the year 2039 */

static struct node node;

static struct node_config node_config_small(void)
{
    struct node_config c = {
        .name = "roost",
        .id = 7,
        .lcore_count = 2,
        .lease_ns = 50 * NS_PER_MS,
        .heartbeat_ns = 100 * NS_PER_MS,
        .view_ns = NS_PER_S,
    };
    for (uint32_t i = 0; i < LIMIT_LCORES; i++)
        c.lcore_cpus[i] = -1;
    return c;
}

static struct space_config space_config_small(uint32_t id, const char *name)
{
    struct space_config c;
    space_config_default(&c);
    c.id = id;
    (void)snprintf(c.name, sizeof(c.name), "%s", name);
    c.shard_count = 3;
    c.quota_bytes = UINT64_C(32) << 20;
    c.sessions_max = 16;
    return c;
}

static void open_small(void)
{
    static bool registered;
    if (!registered) {
        qsbr_thread_register();
        qsbr_offline();
        registered = true;
    }
    struct node_config c = node_config_small();
    CU_ASSERT_EQUAL_FATAL(node_open(&node, &c, START), 0);
}

static int open_fds(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    CU_ASSERT_PTR_NOT_NULL_FATAL(directory);
    while (readdir(directory) != NULL)
        count++;
    (void)closedir(directory);
    return count;
}

/* Let the process have so many descriptors more than it has now; a negative number: all again. */
static void allow_fds(int more)
{
    struct rlimit limit;
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int next = dup(0);
    (void)close(next);
    limit.rlim_cur = more < 0 ? limit.rlim_max : (rlim_t)(next + more);
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int attach(uint32_t uid, struct agent **agent)
{
    struct ring_file wanted = {.request_bytes = LIMIT_RING_BYTES_MIN,
                               .completion_bytes = LIMIT_RING_BYTES_MIN};
    return node_agent_attach(&node, uid, OWN_UID, &wanted, agent);
}

/* ---- node ---- */

static void node_file_says_who_we_are(void)
{
    open_small();
    const struct layout_node *shared = node.shared;
    CU_ASSERT_EQUAL(shared->magic, LAYOUT_MAGIC_NODE);
    CU_ASSERT_EQUAL(shared->fingerprint, LAYOUT_FINGERPRINT);
    CU_ASSERT_EQUAL(shared->start, START);
    CU_ASSERT_EQUAL(shared->node_id, 7);
    CU_ASSERT_EQUAL(shared->lcore_count, 2);
    CU_ASSERT_EQUAL(shared->lease_ns, 50 * NS_PER_MS);
    CU_ASSERT_STRING_EQUAL(shared->name, "roost");
    CU_ASSERT(shared->clock_kind == CLOCK_KIND_TSC || shared->clock_kind == CLOCK_KIND_BOOTTIME);
    CU_ASSERT(shared->clock_kind == CLOCK_KIND_TSC || shared->ticks_per_s == NS_PER_S);
    CU_ASSERT(shared->ticks_per_s >= 100000000 && shared->ticks_per_s <= UINT64_C(1) << 36);
    int sealed = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
    CU_ASSERT_EQUAL(fcntl(node.node_file.fd, F_GET_SEALS), sealed | F_SEAL_FUTURE_WRITE);
    CU_ASSERT_EQUAL(fcntl(node.doorbell_file.fd, F_GET_SEALS), sealed);
    node_close(&node);
}

static void node_open_refuses_bad_configurations(void)
{
    struct node_config c = node_config_small();
    CU_ASSERT_EQUAL(node_open(&node, &c, 0), -EINVAL);
    CU_ASSERT_EQUAL(node_open(&node, &c, UINT64_MAX), -EINVAL);
    CU_ASSERT_EQUAL(node_open(&node, &c, START_END), -EINVAL);
    c.lcore_count = 0;
    CU_ASSERT_EQUAL(node_open(&node, &c, START), -EINVAL);
    c.lcore_count = LIMIT_LCORES + 1;
    CU_ASSERT_EQUAL(node_open(&node, &c, START), -EINVAL);
    c = node_config_small();
    memset(c.name, 'x', sizeof(c.name));
    CU_ASSERT_EQUAL(node_open(&node, &c, START), -EINVAL);
}

/* LSNs fit 63 bits; the start number that begins its logs highest is the last good one. */
static void the_last_start_number_begins_its_logs_in_63_bits(void)
{
    struct node_config c = node_config_small();
    CU_ASSERT_EQUAL_FATAL(node_open(&node, &c, START_END - 1), 0);
    CU_ASSERT_EQUAL(node.lsn_start >> NODE_LSN_PER_START_SHIFT, START_END - 1);
    CU_ASSERT(node.lsn_start <= INT64_MAX);
    CU_ASSERT(node.lsn_ceiling > node.lsn_start);
    node_close(&node);
}

/* Fail at every descriptor in turn; nothing may be left behind. */
static void node_open_unwinds(void)
{
    struct node_config c = node_config_small();
    int before = open_fds();
    int error = -EMFILE;
    int failures = 0;
    for (int more = 0; error != 0 && more < 32; more++) {
        allow_fds(more);
        error = node_open(&node, &c, START);
        allow_fds(-1);
        CU_ASSERT(error == 0 || error == -EMFILE);
        failures += error != 0 ? 1 : 0;
        if (error != 0)
            CU_ASSERT_EQUAL(open_fds(), before);
    }
    CU_ASSERT_EQUAL(failures, 4); /* node file, doorbell, a sleep descriptor for each lcore */
    CU_ASSERT_EQUAL_FATAL(error, 0);
    node_close(&node);
    CU_ASSERT_EQUAL(open_fds(), before);
}

/* ---- spaces ---- */

static void space_is_made_whole(void)
{
    open_small();
    struct space_config c = space_config_small(5, "claims");
    CU_ASSERT_EQUAL_FATAL(node_space_add(&node, &c), 0);
    struct node_space *s = node_space_find(&node, "claims");
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    CU_ASSERT_PTR_EQUAL(node.spaces[5], s);
    CU_ASSERT_PTR_NULL(node_space_find(&node, "claim"));
    const struct layout_space *h = s->header;
    CU_ASSERT_EQUAL(h->magic, LAYOUT_MAGIC_SPACE);
    CU_ASSERT_EQUAL(h->fingerprint, LAYOUT_FINGERPRINT);
    CU_ASSERT_EQUAL(h->start, START);
    CU_ASSERT_EQUAL(h->id, 5);
    CU_ASSERT_EQUAL(h->bytes, s->file.bytes);
    CU_ASSERT_EQUAL(h->geometry.shard_count, 3);
    CU_ASSERT_STRING_EQUAL(h->name, "claims");
    CU_ASSERT(h->value_bytes_max > 0);
    uint32_t chunks = atomic_load_explicit(&h->chunk_count, memory_order_relaxed);
    CU_ASSERT(chunks >= 1);
    CU_ASSERT((uint64_t)chunks * h->geometry.frames_per_chunk >= 3u * LIMIT_SHARD_FRAMES_MIN);
    CU_ASSERT_EQUAL(h->chunk_limit, h->geometry.chunk_count_max);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(s->boards[i].lcore, (i + 5) % 2);
        CU_ASSERT_EQUAL(s->boards[i].log, 5u << 16 | i);
        CU_ASSERT_EQUAL(s->boards[i].epoch, START);
        CU_ASSERT(s->boards[i].lsn_committed >= node.lsn_start);
        CU_ASSERT(s->boards[i].lsn_committed < node.lsn_start + (1 << 20));
    }
    int sealed = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL | F_SEAL_FUTURE_WRITE;
    CU_ASSERT_EQUAL(fcntl(s->file.fd, F_GET_SEALS), sealed);
    CU_ASSERT_EQUAL(fcntl(s->chunks[0].fd, F_GET_SEALS), sealed);
    struct stat status;
    CU_ASSERT_EQUAL(fstat(s->chunks[0].fd, &status), 0);
    CU_ASSERT_EQUAL(status.st_mode & 0777, 0600);
    CU_ASSERT_EQUAL((uint64_t)status.st_size, UINT64_C(1) << h->geometry.chunk_shift);
    node_close(&node);
}

static void space_refusals_name_the_reason(void)
{
    int before = open_fds();
    open_small();
    struct space_config c = space_config_small(1, "a");
    CU_ASSERT_EQUAL_FATAL(node_space_add(&node, &c), 0);
    CU_ASSERT_EQUAL(node_space_add(&node, &c), -EEXIST);
    c.id = 2;
    CU_ASSERT_EQUAL(node_space_add(&node, &c), -EEXIST); /* the name */
    c = space_config_small(1, "b");
    CU_ASSERT_EQUAL(node_space_add(&node, &c), -EEXIST); /* the id */
    c = space_config_small(0, "b");
    CU_ASSERT_EQUAL(node_space_add(&node, &c), -EINVAL);
    c = space_config_small(LIMIT_SPACES + 1, "b");
    CU_ASSERT_EQUAL(node_space_add(&node, &c), -EINVAL);
    c = space_config_small(2, "");
    CU_ASSERT_EQUAL(node_space_add(&node, &c), -EINVAL);
    c = space_config_small(2, "b");
    c.quota_bytes = UINT64_C(4) << 20;
    c.shard_count = 64;
    CU_ASSERT_EQUAL(node_space_add(&node, &c), -ENOSPC);
    c = space_config_small(2, "b");
    c.shard_count = LIMIT_SHARDS + 1;
    CU_ASSERT_EQUAL(node_space_add(&node, &c), -EINVAL);
    allow_fds(1); /* its file, no chunk */
    c = space_config_small(2, "b");
    CU_ASSERT_EQUAL(node_space_add(&node, &c), -EMFILE);
    allow_fds(-1);
    CU_ASSERT_EQUAL(node_space_add(&node, &c), 0);
    node_close(&node);
    CU_ASSERT_EQUAL(open_fds(), before);
}

static void chunks_grow_as_far_as_asked_and_possible(void)
{
    open_small();
    struct space_config c = space_config_small(1, "a");
    CU_ASSERT_EQUAL_FATAL(node_space_add(&node, &c), 0);
    struct node_space *s = node.spaces[1];
    struct layout_space *h = s->header;
    uint32_t first = h->chunk_count;
    uint32_t most = h->geometry.chunk_count_max;
    CU_ASSERT_FATAL(first + 3 < most);
    CU_ASSERT_EQUAL(node_chunks_grow(&node, s), 0);
    s->chunks_wanted = first + 1;
    CU_ASSERT_EQUAL(node_chunks_grow(&node, s), 1);
    CU_ASSERT_EQUAL(h->chunk_count, first + 1);

    s->chunks_wanted = first + 3;
    allow_fds(1);
    CU_ASSERT_EQUAL(node_chunks_grow(&node, s), -EMFILE);
    allow_fds(-1);
    CU_ASSERT_EQUAL(h->chunk_count, first + 2);
    CU_ASSERT_EQUAL(h->chunk_limit, first + 2);
    CU_ASSERT_EQUAL(node_chunks_grow(&node, s), 1);
    CU_ASSERT_EQUAL(h->chunk_count, first + 3);
    CU_ASSERT_EQUAL(h->chunk_limit, most);

    s->chunks_wanted = UINT32_MAX;
    CU_ASSERT_EQUAL(node_chunks_grow(&node, s), (int)(most - first - 3));
    CU_ASSERT_EQUAL(h->chunk_count, most);
    uint64_t last = (uint64_t)most << h->geometry.chunk_shift;
    s->arena[last - 1] = 1; /* the whole arena is there */
    CU_ASSERT_EQUAL(s->arena[last - 1], 1);
    node_close(&node);
}

/* ---- agents ---- */

static void agents_take_the_lowest_slot(void)
{
    struct agent *a[3], *again;
    int before = open_fds();
    open_small();
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL_FATAL(attach(0, &a[i]), 0);
        CU_ASSERT_EQUAL(a[i]->slot, i);
        CU_ASSERT_PTR_EQUAL(node.agents[i], a[i]);
    }
    CU_ASSERT_EQUAL(node.agent_slots, 3);
    uint64_t generation = a[2]->generation;
    node_agent_detach(&node, a[1]);
    CU_ASSERT_PTR_NULL(node.agents[1]);
    CU_ASSERT_EQUAL_FATAL(attach(0, &again), 0);
    CU_ASSERT_EQUAL(again->slot, 1);
    CU_ASSERT(again->generation > generation);
    CU_ASSERT_EQUAL(node.agent_slots, 3);
    node_agent_detach(&node, a[0]);
    node_agent_detach(&node, again);
    node_agent_detach(&node, a[2]);
    node_close(&node);
    CU_ASSERT_EQUAL(open_fds(), before);
}

static void agent_file_has_the_geometry_that_was_asked_for(void)
{
    struct agent *a;
    struct ring_file wanted = {.request_bytes = 8192,
                               .bulk_bytes = 12345,
                               .lcore_count = 99,
                               .agent_slot = 77,
                               .bytes = 1};
    open_small();
    CU_ASSERT_EQUAL_FATAL(node_agent_attach(&node, 0, OWN_UID, &wanted, &a), 0);
    const struct ring_file *f = (const struct ring_file *)(void *)a->memory.base;
    CU_ASSERT_EQUAL(f->magic, LAYOUT_MAGIC_AGENT);
    CU_ASSERT_EQUAL(f->fingerprint, LAYOUT_FINGERPRINT);
    CU_ASSERT_EQUAL(f->lcore_count, 2);
    CU_ASSERT_EQUAL(f->agent_slot, 0);
    CU_ASSERT_EQUAL(f->request_bytes, 8192);
    CU_ASSERT_EQUAL(f->completion_bytes, NODE_RING_BYTES);
    CU_ASSERT_EQUAL(f->bulk_bytes, 12345);
    CU_ASSERT_EQUAL(f->bytes, ring_file_bytes(f));
    CU_ASSERT_EQUAL(f->bytes, a->memory.bytes);
    CU_ASSERT_PTR_EQUAL(a->pins, &f->pins);
    CU_ASSERT_PTR_EQUAL(a->bulk, a->memory.base + ring_file_bulk(f));
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_PTR_EQUAL(a->rings[i].request.data, a->memory.base + ring_file_data(f, i, false));
        CU_ASSERT_EQUAL(a->rings[i].request.bytes, 8192);
        CU_ASSERT_PTR_EQUAL(a->rings[i].completion.data,
                            a->memory.base + ring_file_data(f, i, true));
        CU_ASSERT_EQUAL(a->rings[i].completion.bytes, NODE_RING_BYTES);
    }
    int sealed = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
    CU_ASSERT_EQUAL(fcntl(a->memory.fd, F_GET_SEALS), sealed);
    node_agent_detach(&node, a);
    node_close(&node);
}

static void bad_ring_sizes_are_refused(void)
{
    static const struct ring_file bad[] = {
        {.request_bytes = LIMIT_RING_BYTES_MIN / 2},
        {.request_bytes = 2 * LIMIT_RING_BYTES_MAX},
        {.request_bytes = 12288},
        {.completion_bytes = 1},
        {.completion_bytes = UINT32_MAX},
        {.bulk_bytes = LIMIT_BULK_BYTES_MAX + 1},
        {.bulk_bytes = UINT32_MAX},
    };
    struct agent *a = NULL;
    open_small();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CU_ASSERT_EQUAL(node_agent_attach(&node, 0, OWN_UID, &bad[i], &a), -EINVAL);
    CU_ASSERT_PTR_NULL(a);
    node_close(&node);
}

static void attach_unwinds(void)
{
    struct agent *a = NULL;
    open_small();
    int before = open_fds();
    int error = -EMFILE;
    int failures = 0;
    for (int more = 0; error != 0 && more < 16; more++) {
        allow_fds(more);
        error = attach(0, &a);
        allow_fds(-1);
        failures += error != 0 ? 1 : 0;
        CU_ASSERT(error == 0 || error == -EMFILE);
        if (error != 0)
            CU_ASSERT_EQUAL(open_fds(), before);
    }
    CU_ASSERT_EQUAL(failures, 3); /* its file, an eventfd for each lcore */
    CU_ASSERT_EQUAL_FATAL(error, 0);
    CU_ASSERT_EQUAL(a->slot, 0);
    node_agent_detach(&node, a);
    CU_ASSERT_EQUAL(open_fds(), before);
    node_close(&node);
}

static void access_follows_the_rules_of_each_space(void)
{
    struct agent *a;
    open_small();
    struct space_config open = space_config_small(1, "open");
    open.read.everyone = true;
    open.write = (struct space_access){.uid_count = 1, .uids = {STRANGER}};
    struct space_config closed = space_config_small(2, "closed");
    CU_ASSERT_EQUAL_FATAL(node_space_add(&node, &open), 0);
    CU_ASSERT_EQUAL_FATAL(node_space_add(&node, &closed), 0);
    static const struct {
        uint32_t uid;
        uint8_t open, closed;
    } expected[] = {
        {0, AGENT_MAY_READ | AGENT_MAY_WRITE, AGENT_MAY_READ | AGENT_MAY_WRITE},
        {OWN_UID, AGENT_MAY_READ | AGENT_MAY_WRITE, AGENT_MAY_READ | AGENT_MAY_WRITE},
        {STRANGER, AGENT_MAY_READ | AGENT_MAY_WRITE, 0},
        {STRANGER + 1, AGENT_MAY_READ, 0},
    };
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        CU_ASSERT_EQUAL_FATAL(attach(expected[i].uid, &a), 0);
        CU_ASSERT_EQUAL(a->access[1], expected[i].open);
        CU_ASSERT_EQUAL(a->access[2], expected[i].closed);
        CU_ASSERT_EQUAL(a->access[3], 0);
        node_agent_detach(&node, a);
    }
    node_close(&node);
}

static void a_stranger_cannot_take_every_slot(void)
{
    static struct agent *agents[LIMIT_AGENTS_PER_UID];
    struct agent *one;
    struct rlimit limit;
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < 4 * LIMIT_AGENTS) {
        printf("not run: %lu descriptors are too few ... ", (unsigned long)limit.rlim_max);
        CU_PASS("skipped");
        return;
    }
    allow_fds(-1);
    open_small();
    for (uint32_t i = 0; i < LIMIT_AGENTS_PER_UID; i++)
        CU_ASSERT_EQUAL_FATAL(attach(STRANGER, &agents[i]), 0);
    CU_ASSERT_EQUAL(attach(STRANGER, &one), -EUSERS);
    CU_ASSERT_EQUAL_FATAL(attach(STRANGER + 1, &one), 0);
    node_agent_detach(&node, one);
    CU_ASSERT_EQUAL_FATAL(attach(0, &one), 0);
    node_agent_detach(&node, one);
    for (uint32_t i = 0; i < LIMIT_AGENTS_PER_UID; i++)
        node_agent_detach(&node, agents[i]);
    node_close(&node);
}

/* ---- sleeping ---- */

static int wakes(uint32_t lcore, uint64_t *slot)
{
    struct epoll_event event = {.data.u64 = UINT64_MAX};
    int count = epoll_wait(node.sleep_fds[lcore], &event, 1, 0);
    *slot = event.data.u64;
    return count;
}

static void every_ring_of_an_eventfd_wakes_once(void)
{
    struct agent *a, *b;
    uint64_t slot, one = 1;
    open_small();
    CU_ASSERT_EQUAL_FATAL(attach(0, &a), 0);
    CU_ASSERT_EQUAL_FATAL(attach(0, &b), 0);
    CU_ASSERT_EQUAL(wakes(1, &slot), 0);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(write(b->event_fds[1], &one, sizeof(one)), sizeof(one));
        CU_ASSERT_EQUAL(wakes(0, &slot), 0);
        CU_ASSERT_EQUAL(wakes(1, &slot), 1);
        CU_ASSERT_EQUAL(slot, b->slot);
        CU_ASSERT_EQUAL(wakes(1, &slot), 0); /* nobody read it, and it is silent all the same */
    }
    node_agent_detach(&node, a);
    node_agent_detach(&node, b);
    node_close(&node);
}

static void an_agent_that_is_gone_wakes_nobody(void)
{
    struct agent *a;
    uint64_t slot, one = 1;
    open_small();
    CU_ASSERT_EQUAL_FATAL(attach(0, &a), 0);
    int kept = dup(a->event_fds[0]); /* as its process has it */
    node_agent_detach(&node, a);
    CU_ASSERT_EQUAL(write(kept, &one, sizeof(one)), sizeof(one));
    CU_ASSERT_EQUAL(wakes(0, &slot), 0);
    (void)close(kept);
    node_close(&node);
}

static const struct unit_test tests[] = {
    UNIT_TEST(node_file_says_who_we_are),
    UNIT_TEST(node_open_refuses_bad_configurations),
    UNIT_TEST(the_last_start_number_begins_its_logs_in_63_bits),
    UNIT_TEST(node_open_unwinds),
    UNIT_TEST(space_is_made_whole),
    UNIT_TEST(space_refusals_name_the_reason),
    UNIT_TEST(chunks_grow_as_far_as_asked_and_possible),
    UNIT_TEST(agents_take_the_lowest_slot),
    UNIT_TEST(agent_file_has_the_geometry_that_was_asked_for),
    UNIT_TEST(bad_ring_sizes_are_refused),
    UNIT_TEST(attach_unwinds),
    UNIT_TEST(access_follows_the_rules_of_each_space),
    UNIT_TEST(a_stranger_cannot_take_every_slot),
    UNIT_TEST(every_ring_of_an_eventfd_wakes_once),
    UNIT_TEST(an_agent_that_is_gone_wakes_nobody),
};
UNIT_MAIN("node", tests)
