/* What the server says of shards, spaces, agents and the keys that are asked for most: texts that a test reads
 * as JSON. */
#include "control/server.h"

#include "dataplane/lcore.h"
#include "tests/unit/control/server_peer.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct fixture fixture;
static struct fixture *const f = &fixture;

static json_t *json_of(int fd, uint32_t kind)
{
    struct reply r;
    struct attach_request request = request_of(kind);
    CU_ASSERT_EQUAL_FATAL(peer_ask(f, fd, &request, &r), 1);
    CU_ASSERT_EQUAL_FATAL(r.message.error, 0);
    CU_ASSERT_EQUAL_FATAL(r.fd_count, 1);
    char *text = calloc(1, r.message.bytes + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_EQUAL(pread(r.fds[0], text, r.message.bytes, 0), (ssize_t)r.message.bytes);
    json_t *o = json_loads(text, 0, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o);
    free(text);
    reply_close(&r);
    return o;
}

static json_int_t number(const json_t *o, const char *name)
{
    const json_t *value = json_object_get(o, name);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

static const char *text(const json_t *o, const char *name)
{
    const char *value = json_string_value(json_object_get(o, name));
    return value != NULL ? value : "";
}

/* ---- shards ---- */

static void shards_of_a_node_alone_are_led_here(void)
{
    fixture_open(f);
    int fd = peer_connect(f);
    atomic_store_explicit(&f->node.spaces[2]->boards[1].key_count, 7, memory_order_relaxed);
    atomic_store_explicit(&f->node.spaces[2]->boards[1].live_bytes, 700, memory_order_relaxed);
    f->node.spaces[2]->lsn_start += NODE_LSN_GRANT;
    json_t *all = json_of(fd, ATTACH_SHARDS);
    json_t *shards = json_object_get(all, "shards");
    CU_ASSERT_EQUAL(number(all, "node"), f->node.config.id);
    CU_ASSERT_EQUAL_FATAL(json_array_size(shards), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *s = json_array_get(shards, i);
        const struct layout_board *board = &f->node.spaces[i / 2 + 1]->boards[i % 2];
        char lsn[24], lsn_start[24];
        (void)snprintf(lsn_start, sizeof lsn_start, "%llu",
                       (unsigned long long)f->node.spaces[i / 2 + 1]->lsn_start);
        (void)snprintf(
            lsn, sizeof lsn, "%llu",
            (unsigned long long)atomic_load_explicit(&board->lsn_committed, memory_order_relaxed));
        CU_ASSERT_STRING_EQUAL(text(s, "space"), i < 2 ? "open" : "closed");
        CU_ASSERT_EQUAL(number(s, "shard"), i % 2);
        CU_ASSERT_EQUAL(number(s, "lcore"), board->lcore);
        CU_ASSERT_EQUAL(number(s, "log"), board->log);
        CU_ASSERT_EQUAL(number(s, "leader"), f->node.config.id);
        CU_ASSERT_EQUAL(number(s, "epoch"), (json_int_t)f->node.start);
        CU_ASSERT_STRING_EQUAL(text(s, "role"), "leader");
        CU_ASSERT_STRING_EQUAL(text(s, "state"), "active");
        CU_ASSERT_STRING_EQUAL(text(s, "lsn_start"), lsn_start);
        CU_ASSERT_STRING_EQUAL(text(s, "lsn_committed"), lsn);
        CU_ASSERT_STRING_EQUAL(text(s, "lsn_end"), lsn);
        CU_ASSERT_EQUAL(number(s, "keys"), i == 3 ? 7 : 0);
        CU_ASSERT_PTR_NULL(json_object_get(s, "lag"));
    }
    CU_ASSERT_EQUAL(number(json_array_get(shards, 3), "live_bytes"), 700);
    json_decref(all);
    (void)close(fd);
    fixture_close(f);
}

/* The cluster's side: shard n of an lcore is in state n, of a leader n. */
static struct server_shard_asked asked[8];
static uint32_t asked_count;

static void shard(void *context, const struct server_shard_asked *a, struct server_shard *told)
{
    (void)context;
    asked[asked_count++ % 8] = *a;
    *told = (struct server_shard){
        .leader = a->number,
        .epoch = 100 + a->log,
        .state = (enum server_shard_state)(2 * a->lcore + a->number),
        .peer_count = a->number,
    };
    told->peers[0].node = 3;
    told->peers[0].missing = 4096;
}

static void shards_of_a_cluster_are_as_it_says(void)
{
    static const char *const states[] = {"active", "pending", "moving", "lost"};
    static const struct server_admin admin = {.shard = shard};
    bool seen[4] = {false};
    fixture_open(f);
    server_set_admin(f->server, &admin);
    int fd = peer_connect(f);
    asked_count = 0;
    json_t *all = json_of(fd, ATTACH_SHARDS);
    json_t *shards = json_object_get(all, "shards");
    CU_ASSERT_EQUAL_FATAL(json_array_size(shards), 4);
    CU_ASSERT_EQUAL_FATAL(asked_count, 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *s = json_array_get(shards, i);
        CU_ASSERT_EQUAL(asked[i].log, number(s, "log"));
        CU_ASSERT_EQUAL(asked[i].lcore, number(s, "lcore"));
        CU_ASSERT_EQUAL(number(s, "leader"), asked[i].number);
        CU_ASSERT_EQUAL(number(s, "epoch"), 100 + number(s, "log"));
        CU_ASSERT_STRING_EQUAL(text(s, "role"), "follower");
        uint32_t state = 2 * asked[i].lcore + asked[i].number;
        CU_ASSERT_FATAL(state < 4);
        seen[state] = true;
        CU_ASSERT_STRING_EQUAL(text(s, "state"), states[state]);
        const json_t *lag = json_object_get(s, "lag");
        CU_ASSERT_EQUAL(json_array_size(lag), asked[i].number);
        if (asked[i].number == 0)
            continue;
        CU_ASSERT_EQUAL(number(json_array_get(lag, 0), "node"), 3);
        CU_ASSERT_EQUAL(number(json_array_get(lag, 0), "bytes"), 4096);
    }
    CU_ASSERT(seen[0] && seen[1] && seen[2] && seen[3]); /* each lcore's are counted from 0 */
    json_decref(all);
    (void)close(fd);
    fixture_close(f);
}

/* ---- spaces ---- */

static void spaces_say_their_policy(void)
{
    fixture_open(f);
    int fd = peer_connect(f);
    f->node.spaces[2]->config.history = 5;
    f->node.spaces[2]->config.history_ns = 3 * NS_PER_S;
    f->node.spaces[2]->config.write.uid_count = 2;
    f->node.spaces[2]->config.write.uids[0] = 1000;
    f->node.spaces[2]->config.write.uids[1] = 1001;
    json_t *status = json_of(fd, ATTACH_STATUS);
    const json_t *open = json_array_get(json_object_get(status, "spaces"), 0);
    const json_t *closed = json_array_get(json_object_get(status, "spaces"), 1);
    CU_ASSERT_STRING_EQUAL(text(open, "read"), "any");
    CU_ASSERT_EQUAL(number(open, "history"), 1);
    CU_ASSERT_EQUAL(number(closed, "history"), 5);
    CU_ASSERT_EQUAL(number(closed, "history_ms"), 3000);
    CU_ASSERT_EQUAL(json_array_size(json_object_get(closed, "read")), 0);
    const json_t *write = json_object_get(closed, "write");
    CU_ASSERT_EQUAL(json_array_size(write), 2);
    CU_ASSERT_EQUAL(json_integer_value(json_array_get(write, 1)), 1001);
    /* Index, tail: what is not free. */
    const json_t *segments = json_object_get(closed, "segments");
    json_int_t used = number(segments, "tail") + number(segments, "base") +
                      number(segments, "index") + number(segments, "order") +
                      number(segments, "retiring");
    CU_ASSERT(used > 0);
    CU_ASSERT_EQUAL(number(closed, "used_bytes"),
                    used << f->node.spaces[2]->geometry.segment_shift);
    json_decref(status);
    (void)close(fd);
    fixture_close(f);
}

/* ---- agents ---- */

static void agents_say_how_often_they_were_throttled(void)
{
    fixture_open(f);
    struct reply r;
    int fd = peer_attach(f, &r);
    struct agent *a =
        atomic_load_explicit(&f->node.agents[r.message.agent_slot], memory_order_relaxed);
    atomic_store_explicit(&a->rings[0].throttled, 3, memory_order_relaxed);
    atomic_store_explicit(&a->rings[1].throttled, 4, memory_order_relaxed);
    json_t *status = json_of(fd, ATTACH_STATUS);
    const json_t *list = json_object_get(json_object_get(status, "agents"), "list");
    CU_ASSERT_EQUAL(number(json_array_get(list, 0), "throttled"), 7);
    json_decref(status);
    (void)close(fd);
    fixture_close(f);
}

/* ---- keys ---- */

/* An lcore that nobody runs, and what it was asked for: key number n of a count. */
static void asked_for(struct lcore *l, uint32_t space, const char *key, uint32_t count)
{
    const struct hot_keys_asked k = {.space = space,
                                     .length = (uint32_t)strlen(key),
                                     .hash = (uint64_t)key[0] << 32,
                                     .bytes = (const uint8_t *)key};
    while (count-- > 0)
        hot_keys_note(&l->hot_keys, &k);
    hot_keys_show(&l->hot_keys, &l->hot_keys_shown);
}

static void keys_of_all_lcores_are_merged(void)
{
    struct lcore *lcores[2];
    fixture_open(f);
    for (uint32_t i = 0; i < 2; i++)
        CU_ASSERT_EQUAL_FATAL(lcore_open(&f->node, i, &lcores[i]), 0);
    asked_for(lcores[0], 1, "a", 60);
    asked_for(lcores[0], 2, "b", 20);
    asked_for(lcores[1], 2, "\xff\xfe", 40);
    asked_for(lcores[1], 1, "once", 1);
    int fd = peer_connect(f);
    json_t *status = json_of(fd, ATTACH_STATUS);
    const json_t *keys = json_object_get(status, "hot_keys");
    CU_ASSERT_EQUAL_FATAL(json_array_size(keys), 3);
    const json_t *first = json_array_get(keys, 0), *second = json_array_get(keys, 1);
    CU_ASSERT_STRING_EQUAL(text(first, "key"), "a");
    CU_ASSERT_STRING_EQUAL(text(first, "space"), "open");
    CU_ASSERT_EQUAL(number(first, "lcore"), 0);
    CU_ASSERT_DOUBLE_EQUAL(json_real_value(json_object_get(first, "share")), 0.75, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(json_real_value(json_object_get(first, "share_most")), 0.75, 1e-9);
    CU_ASSERT_STRING_EQUAL(text(second, "key"), "//4=");
    CU_ASSERT_STRING_EQUAL(text(second, "encoding"), "base64");
    CU_ASSERT_STRING_EQUAL(text(second, "space"), "closed");
    CU_ASSERT_EQUAL(number(second, "lcore"), 1);
    CU_ASSERT_STRING_EQUAL(text(json_array_get(keys, 2), "key"), "b");
    json_decref(status);
    (void)close(fd);
    for (uint32_t i = 0; i < 2; i++)
        lcore_close(lcores[i]);
    fixture_close(f);
}

/* As another user: what is wrong, as a number; 0 nothing. */
static int talk(int fd)
{
    static char said[1 << 16];
    struct reply r;
    struct attach_request status = request_of(ATTACH_STATUS);
    if (peer_send(fd, &status, sizeof status) != 0 || peer_receive(fd, &r) != 1)
        return 3;
    if (r.message.error != 0 || pread(r.fds[0], said, sizeof said - 1, 0) <= 0)
        return 4;
    if (strstr(said, "\"spaces\"") == NULL)
        return 5;
    return strstr(said, "hot_keys") != NULL || strstr(said, "secret") != NULL ? 6 : 0;
}

/* Not even of the text that was made for somebody else just now. */
static void strangers_see_no_keys(void)
{
    struct lcore *l;
    if (geteuid() != 0) {
        CU_PASS("skipped: only root can become somebody else");
        return;
    }
    fixture_open(f);
    CU_ASSERT_EQUAL_FATAL(lcore_open(&f->node, 0, &l), 0);
    asked_for(l, 2, "secret", 5);
    int fd = peer_connect(f);
    json_t *status = json_of(fd, ATTACH_STATUS);
    CU_ASSERT_EQUAL(json_array_size(json_object_get(status, "hot_keys")), 1);
    json_decref(status);
    peer_as_stranger(f, talk);
    (void)close(fd);
    lcore_close(l);
    fixture_close(f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(shards_of_a_node_alone_are_led_here),
    UNIT_TEST(shards_of_a_cluster_are_as_it_says),
    UNIT_TEST(spaces_say_their_policy),
    UNIT_TEST(agents_say_how_often_they_were_throttled),
    UNIT_TEST(keys_of_all_lcores_are_merged),
    UNIT_TEST(strangers_see_no_keys),
};
UNIT_MAIN("server_shards", tests)
