/* Cursors at three nodes whose lcores are threads, over sockets, while the leadership of every shard moves
 * from node to node: each node's cursors give out every write once and in the log's order, the same at
 * all. */
#include "engine/cursor.h"
#include "tests/unit/control/udp_cluster.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdlib.h>

#define ALL 7u
#define ROUNDS 6u
#define WRITES 200u
#define FIRST_WRITES 60u
#define EVENTS_MAX (4 * (FIRST_WRITES + ROUNDS * WRITES))
#define BYTES (1u << 18)

struct event {
    uint64_t lsn;
    uint32_t crc;
    uint32_t shard;
};

static struct watcher {
    pthread_t thread;
    struct read_space space;
    struct cursor cursors[UDP_SHARDS];
    struct event events[EVENTS_MAX];
    uint32_t count, lagged, damaged;
    uint8_t *bytes;
    _Atomic bool stop;
} watchers[UDP_NODES];

static struct udp_client client;
static struct topic everything;

static void take(struct watcher *w, uint32_t shard, const struct cursor_batch *b)
{
    for (uint64_t at = 0; at < b->length;) {
        struct record h;
        uint64_t size = record_step(b->bytes + at, &h);
        if (h.kind != RECORD_PAD) {
            w->damaged += record_check(b->bytes + at, size, &h) != (int64_t)size;
            if (w->count < EVENTS_MAX)
                w->events[w->count++] = (struct event){h.lsn, h.crc, shard};
        }
        at += size;
    }
}

/* One read of each shard.  True: some log moved. */
static bool read_all(struct watcher *w)
{
    bool moved = false;
    for (uint32_t i = 0; i < UDP_SHARDS; i++) {
        struct cursor_batch b = {.bytes = w->bytes, .capacity = BYTES};
        int result = cursor_read(&w->cursors[i], &w->space, &everything, &b);
        w->lagged += result == -ENODATA;
        w->damaged += result == -EBADMSG || result == -ENOBUFS;
        if (result == 1)
            take(w, i, &b);
        moved |= result == 1 || result == -EAGAIN;
    }
    return moved;
}

static void *watch(void *argument)
{
    struct watcher *w = argument;
    while (!atomic_load_explicit(&w->stop, memory_order_acquire))
        if (!read_all(w))
            cpu_relax();
    while (read_all(w))
        continue;
    return NULL;
}

static void watch_begin(uint32_t number)
{
    struct watcher *w = &watchers[number];
    struct node *n = &nodes[number].node;
    const struct node_space *s = NULL;
    for (uint32_t id = 1; id <= LIMIT_SPACES && s == NULL; id++)
        s = n->spaces[id];
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    *w = (struct watcher){
        .space = {.arena = s->arena,
                  .mapped_bytes = (uint64_t)s->geometry.chunk_count_max << s->geometry.chunk_shift,
                  .geometry = s->geometry,
                  .boards = s->boards,
                  .directory = s->directory,
                  .node = n->shared},
        .bytes = aligned_alloc(8, BYTES),
    };
    CU_ASSERT_PTR_NOT_NULL_FATAL(w->bytes);
    for (uint32_t i = 0; i < UDP_SHARDS; i++)
        w->cursors[i] = (struct cursor){.shard = i, .start = CURSOR_OLDEST};
    CU_ASSERT_EQUAL_FATAL(pthread_create(&w->thread, NULL, watch, w), 0);
}

static void watch_end(struct watcher *w)
{
    atomic_store_explicit(&w->stop, true, memory_order_release);
    CU_ASSERT_EQUAL(pthread_join(w->thread, NULL), 0);
    free(w->bytes);
}

/* The nth event of a shard, or NULL. */
static const struct event *nth(const struct watcher *w, uint32_t shard, uint32_t n)
{
    for (uint32_t i = 0; i < w->count; i++)
        if (w->events[i].shard == shard && n-- == 0)
            return &w->events[i];
    return NULL;
}

static void compare(const struct watcher *w, const struct watcher *with)
{
    CU_ASSERT_EQUAL(w->count, with->count);
    for (uint32_t shard = 0; shard < UDP_SHARDS; shard++) {
        uint64_t lsn = 0;
        for (uint32_t n = 0;; n++) {
            const struct event *a = nth(w, shard, n), *b = nth(with, shard, n);
            CU_ASSERT_TRUE_FATAL((a == NULL) == (b == NULL));
            if (a == NULL)
                break;
            CU_ASSERT_TRUE(a->lsn > lsn);
            CU_ASSERT_TRUE(a->lsn == b->lsn && a->crc == b->crc);
            lsn = a->lsn;
        }
    }
}

static void nothing_is_missing_and_nothing_comes_twice(void)
{
    const struct udp_cluster_options options = {.lcore_count = 1};
    CU_ASSERT_EQUAL_FATAL(topic_prefix(&everything, NULL, 0), 0);
    udp_cluster_open(&options);
    for (uint32_t i = 0; i < UDP_NODES; i++)
        watch_begin(i);
    udp_client_open(&client, 0);
    udp_client_write(&client, FIRST_WRITES, 40, 1);
    uint32_t written = FIRST_WRITES, leader = 0;
    for (uint32_t round = 1; round <= ROUNDS; round++, written += WRITES) {
        udp_client_close(&client);
        leader = round % UDP_NODES;
        udp_cluster_move(leader);
        udp_client_open(&client, leader);
        udp_client_write(&client, WRITES, 300, 16);
    }
    CU_ASSERT_TRUE_FATAL(udp_cluster_converges(leader, ALL));
    for (uint32_t i = 0; i < UDP_NODES; i++)
        watch_end(&watchers[i]);
    for (uint32_t i = 0; i < UDP_NODES; i++) {
        CU_ASSERT_EQUAL(watchers[i].lagged, 0);
        CU_ASSERT_EQUAL(watchers[i].damaged, 0);
        CU_ASSERT_EQUAL(watchers[i].count, written);
        compare(&watchers[i], &watchers[0]);
    }
    udp_client_close(&client);
    udp_cluster_stop();
    udp_cluster_close();
}

static const struct unit_test tests[] = {UNIT_TEST(nothing_is_missing_and_nothing_comes_twice)};
UNIT_MAIN("watch_udp", tests)
