/* What administrators ask of a node of a cluster, and of a node alone. */
#include "control/server.h"

#include "tests/unit/control/server_cluster.h"
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

static struct server_cluster cluster;
static const char *cluster_json;

static char *nodes_json(void *context)
{
    (void)context;
    return cluster_json != NULL ? strdup(cluster_json) : NULL;
}

static const struct server_admin admin = {.move = server_cluster_move,
                                          .node = server_cluster_node,
                                          .recover = server_cluster_recover,
                                          .nodes_json = nodes_json,
                                          .context = &cluster};

static void cluster_open(void)
{
    cluster = (struct server_cluster){.answer = 5};
    cluster_json = "{\"cluster\":\"flock\",\"moving\":3}";
    fixture_open(f);
    server_set_admin(f->server, &admin);
}

static struct attach_request request_move(uint32_t node, const char *space, uint32_t shard)
{
    struct attach_request r = request_space(space);
    r.kind = ATTACH_MOVE;
    r.node = node;
    r.shard = shard;
    return r;
}

static struct attach_request request_node(uint32_t kind, uint32_t node)
{
    struct attach_request r = request_of(kind);
    r.node = node;
    return r;
}

static struct attach_request request_recover(const char *space, uint32_t shard, uint32_t from)
{
    struct attach_request r = request_move(from, space, shard);
    r.kind = ATTACH_RECOVER;
    return r;
}

/* Returns the error of the answer, whose descriptors are closed. */
static int ask(int fd, const struct attach_request *request, struct reply *r)
{
    CU_ASSERT_EQUAL_FATAL(peer_ask(f, fd, request, r), 1);
    CU_ASSERT_EQUAL(r->message.kind, request->kind);
    return r->message.error;
}

static json_t *json_of(int fd, uint32_t kind)
{
    struct reply r;
    struct attach_request request = request_of(kind);
    CU_ASSERT_EQUAL_FATAL(ask(fd, &request, &r), 0);
    CU_ASSERT_EQUAL_FATAL(r.fd_count, 1);
    char *text = calloc(1, r.message.bytes + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_EQUAL(pread(r.fds[0], text, r.message.bytes, 0), (ssize_t)r.message.bytes);
    CU_ASSERT_EQUAL(pwrite(r.fds[0], "x", 1, 0), -1);
    json_t *o = json_loads(text, 0, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o);
    free(text);
    reply_close(&r);
    return o;
}

static void a_node_alone_has_no_cluster(void)
{
    fixture_open(f);
    struct reply r;
    int fd = peer_connect(f);
    struct attach_request nodes = request_of(ATTACH_NODES);
    struct attach_request all = request_move(2, "", ATTACH_SHARDS_ALL);
    CU_ASSERT_EQUAL(ask(fd, &nodes, &r), -EOPNOTSUPP);
    CU_ASSERT_EQUAL(r.fd_count, 0);
    CU_ASSERT_EQUAL(ask(fd, &all, &r), -EOPNOTSUPP);
    struct attach_request drain = request_node(ATTACH_NODE_DRAIN, 2);
    struct attach_request lost = request_recover("open", 0, 0);
    CU_ASSERT_EQUAL(ask(fd, &drain, &r), -EOPNOTSUPP);
    CU_ASSERT_EQUAL(ask(fd, &lost, &r), -EOPNOTSUPP);
    json_t *status = json_of(fd, ATTACH_STATUS);
    CU_ASSERT_PTR_NULL(json_object_get(status, "cluster"));
    json_decref(status);
    (void)close(fd);
    fixture_close(f);
}

static void the_cluster_is_told(void)
{
    cluster_open();
    int fd = peer_connect(f);
    json_t *nodes = json_of(fd, ATTACH_NODES), *status = json_of(fd, ATTACH_STATUS);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(nodes, "moving")), 3);
    CU_ASSERT(json_equal(json_object_get(status, "cluster"), nodes));
    json_decref(nodes);
    json_decref(status);
    cluster_json = "{\"moving\":0}";
    nodes = json_of(fd, ATTACH_NODES);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(nodes, "moving")), 0);
    json_decref(nodes);
    (void)close(fd);
    fixture_close(f);
}

static void a_lack_of_memory_is_named(void)
{
    cluster_open();
    struct reply r;
    int fd = peer_connect(f);
    struct attach_request nodes = request_of(ATTACH_NODES), status = request_of(ATTACH_STATUS);
    json_decref(json_of(fd, ATTACH_STATUS));
    cluster_json = NULL;
    CU_ASSERT_EQUAL(ask(fd, &nodes, &r), -ENOMEM);
    CU_ASSERT_EQUAL(ask(fd, &status, &r), -ENOMEM);
    CU_ASSERT_EQUAL(r.fd_count, 0);
    cluster_json = "{}";
    json_decref(json_of(fd, ATTACH_STATUS));
    (void)close(fd);
    fixture_close(f);
}

static void a_move_names_logs(void)
{
    cluster_open();
    const struct layout_board *open = f->node.spaces[1]->boards,
                              *closed = f->node.spaces[2]->boards;
    const struct {
        struct attach_request request;
        uint32_t first_log, last_log, node;
    } moves[] = {
        {request_move(2, "", ATTACH_SHARDS_ALL), 0, UINT32_MAX, 2},
        {request_move(UINT32_MAX, "open", ATTACH_SHARDS_ALL), open[0].log, open[1].log, UINT32_MAX},
        {request_move(7, "closed", 0), closed[0].log, closed[0].log, 7},
        {request_move(7, "closed", 1), closed[1].log, closed[1].log, 7},
    };
    int fd = peer_connect(f);
    for (uint32_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
        struct reply r;
        CU_ASSERT_EQUAL(ask(fd, &moves[i].request, &r), 0);
        CU_ASSERT_EQUAL(r.fd_count, 0);
        CU_ASSERT_EQUAL(r.message.shard_count, 5);
        CU_ASSERT_EQUAL(cluster.moves, i + 1);
        CU_ASSERT_EQUAL(cluster.first_log, moves[i].first_log);
        CU_ASSERT_EQUAL(cluster.last_log, moves[i].last_log);
        CU_ASSERT_EQUAL(cluster.node, moves[i].node);
    }
    (void)close(fd);
    fixture_close(f);
}

static void what_is_not_there_is_not_moved(void)
{
    cluster_open();
    struct reply r;
    struct attach_request none[] = {
        request_move(2, "nowhere", ATTACH_SHARDS_ALL),
        request_move(2, "open", 2),
        request_move(2, "open", LIMIT_SHARDS - 1),
    };
    int fd = peer_connect(f);
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        CU_ASSERT_EQUAL(ask(fd, &none[i], &r), -ENOENT);
    CU_ASSERT_EQUAL(cluster.moves, 0);
    struct attach_request all = request_move(2, "", ATTACH_SHARDS_ALL);
    static const int errors[] = {-ENOENT, -EAGAIN, -EIO};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        cluster.answer = errors[i];
        CU_ASSERT_EQUAL(ask(fd, &all, &r), errors[i]);
    }
    CU_ASSERT_EQUAL(cluster.moves, 3);
    (void)close(fd);
    fixture_close(f);
}

/* A request with words behind it; returns the error of the answer. */
static int ask_words(int fd, const struct attach_request *request, const char *words)
{
    struct reply r;
    uint8_t bytes[ATTACH_MESSAGE_MAX];
    size_t length = strlen(words) + 1;
    memcpy(bytes, request, sizeof *request);
    memcpy(bytes + sizeof *request, words, length);
    CU_ASSERT_EQUAL(peer_send(fd, bytes, sizeof *request + length), 0);
    fixture_pump(f);
    CU_ASSERT_EQUAL_FATAL(peer_receive(fd, &r), 1);
    return r.message.error;
}

static void nodes_come_and_go(void)
{
    cluster_open();
    struct reply r;
    int fd = peer_connect(f);
    struct attach_request add = request_node(ATTACH_NODE_ADD, 4);
    CU_ASSERT_EQUAL(ask_words(fd, &add, "address=10.0.0.4:7700\nzone=hall-2\nweight=7\n"), 0);
    CU_ASSERT_EQUAL(cluster.changes, 1);
    CU_ASSERT_EQUAL(cluster.change.kind, SERVER_NODE_ADD);
    CU_ASSERT_EQUAL(cluster.change.id, 4);
    CU_ASSERT_STRING_EQUAL(cluster.change.words.address, "10.0.0.4:7700");
    CU_ASSERT_STRING_EQUAL(cluster.change.words.zone, "hall-2");
    CU_ASSERT_EQUAL(cluster.change.words.weight, 7);
    CU_ASSERT_EQUAL(ask_words(fd, &add, "address=nowhere\n"), -EINVAL);
    CU_ASSERT_EQUAL(ask_words(fd, &add, ""), -EINVAL);
    CU_ASSERT_EQUAL(cluster.changes, 1);
    static const struct {
        uint32_t attach;
        enum server_node_kind kind;
    } kinds[] = {{ATTACH_NODE_DRAIN, SERVER_NODE_DRAIN},
                 {ATTACH_NODE_UNDRAIN, SERVER_NODE_UNDRAIN},
                 {ATTACH_NODE_REMOVE, SERVER_NODE_REMOVE}};
    for (uint32_t i = 0; i < 3; i++) {
        struct attach_request request = request_node(kinds[i].attach, UINT32_MAX - i);
        CU_ASSERT_EQUAL(ask(fd, &request, &r), 0);
        CU_ASSERT_EQUAL(cluster.changes, 2 + i);
        CU_ASSERT_EQUAL(cluster.change.kind, kinds[i].kind);
        CU_ASSERT_EQUAL(cluster.change.id, UINT32_MAX - i);
    }
    cluster.answer = -EPERM;
    struct attach_request remove_one = request_node(ATTACH_NODE_REMOVE, 1);
    CU_ASSERT_EQUAL(ask(fd, &remove_one, &r), -EPERM);
    (void)close(fd);
    fixture_close(f);
}

static void lost_shards_are_named_by_their_logs(void)
{
    cluster_open();
    struct reply r;
    const struct layout_board *open = f->node.spaces[1]->boards;
    int fd = peer_connect(f);
    struct attach_request all = request_recover("open", ATTACH_SHARDS_ALL, 0);
    CU_ASSERT_EQUAL(ask(fd, &all, &r), 0);
    CU_ASSERT_EQUAL(r.message.shard_count, 5);
    CU_ASSERT_EQUAL(cluster.first_log, open[0].log);
    CU_ASSERT_EQUAL(cluster.last_log, open[1].log);
    CU_ASSERT_EQUAL(cluster.from, 0);
    struct attach_request one = request_recover("open", 1, 3);
    CU_ASSERT_EQUAL(ask(fd, &one, &r), 0);
    CU_ASSERT_EQUAL(cluster.first_log, open[1].log);
    CU_ASSERT_EQUAL(cluster.from, 3);
    CU_ASSERT_EQUAL(cluster.recovers, 2);
    struct attach_request nowhere = request_recover("nowhere", 0, 0);
    CU_ASSERT_EQUAL(ask(fd, &nowhere, &r), -ENOENT);
    CU_ASSERT_EQUAL(cluster.recovers, 2);
    cluster.answer = -ENOENT;
    CU_ASSERT_EQUAL(ask(fd, &one, &r), -ENOENT);
    (void)close(fd);
    fixture_close(f);
}

static void malformed_changes_end_the_connection(void)
{
    cluster_open();
    struct attach_request bad[] = {
        request_node(ATTACH_NODE_DRAIN, 0),  request_node(ATTACH_NODE_UNDRAIN, 0),
        request_node(ATTACH_NODE_REMOVE, 0), request_node(ATTACH_NODE_ADD, 4), /* no words */
        request_recover("", 0, 0),           request_recover("open", LIMIT_SHARDS, 0),
        request_recover("open", 0, 0),
    };
    memset(bad[6].space, 'x', sizeof(bad[6].space));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct reply r;
        int fd = peer_connect(f);
        CU_ASSERT_EQUAL(ask(fd, &bad[i], &r), -EPROTO);
        CU_ASSERT_EQUAL(peer_receive(fd, &r), 0);
        (void)close(fd);
    }
    int fd = peer_connect(f);
    struct attach_request add = request_node(ATTACH_NODE_ADD, 0);
    CU_ASSERT_EQUAL(ask_words(fd, &add, "address=10.0.0.4:7700\n"), -EPROTO);
    (void)close(fd);
    CU_ASSERT_EQUAL(cluster.changes + cluster.recovers, 0);
    fixture_close(f);
}

static void malformed_moves_end_the_connection(void)
{
    cluster_open();
    struct attach_request bad[] = {
        request_move(0, "", ATTACH_SHARDS_ALL), request_move(2, "", 0),
        request_move(2, "open", LIMIT_SHARDS),  request_move(2, "open", ATTACH_SHARDS_ALL - 1),
        request_move(2, "", ATTACH_SHARDS_ALL),
    };
    memset(bad[4].space, 'x', sizeof(bad[4].space));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct reply r;
        int fd = peer_connect(f);
        CU_ASSERT_EQUAL(ask(fd, &bad[i], &r), -EPROTO);
        CU_ASSERT_EQUAL(peer_receive(fd, &r), 0);
        (void)close(fd);
    }
    CU_ASSERT_EQUAL(cluster.moves, 0);
    fixture_close(f);
}

/* As another user: what is wrong, as a number; 0 nothing. */
static int talk(int fd)
{
    struct reply r;
    struct attach_request all = request_move(2, "", ATTACH_SHARDS_ALL);
    struct attach_request open = request_move(2, "open", 0), nodes = request_of(ATTACH_NODES);
    struct attach_request drain = request_node(ATTACH_NODE_DRAIN, 2);
    struct attach_request undrain = request_node(ATTACH_NODE_UNDRAIN, 2);
    struct attach_request remove_one = request_node(ATTACH_NODE_REMOVE, 2);
    struct attach_request recover_all = request_recover("open", ATTACH_SHARDS_ALL, 0);
    const struct attach_request *asks[] = {&all,        &open,        &drain, &undrain,
                                           &remove_one, &recover_all, &nodes};
    static const int error_expected[] = {-EACCES, -EACCES, -EACCES, -EACCES, -EACCES, -EACCES, 0};
    for (int i = 0; i < 7; i++) {
        if (peer_send(fd, asks[i], sizeof(*asks[i])) != 0 || peer_receive(fd, &r) != 1)
            return 10 + i;
        if (r.message.error != error_expected[i])
            return 20 + i;
    }
    uint8_t bytes[sizeof(struct attach_request) + 32] = {0};
    struct attach_request add = request_node(ATTACH_NODE_ADD, 2);
    memcpy(bytes, &add, sizeof add);
    (void)snprintf((char *)bytes + sizeof add, 32, "address=10.0.0.4:1\n");
    if (peer_send(fd, bytes, sizeof add + 20) != 0 || peer_receive(fd, &r) != 1)
        return 30;
    return r.message.error != -EACCES ? 31 : 0;
}

static void strangers_move_nothing(void)
{
    if (geteuid() != 0) {
        CU_PASS("skipped: only root can become somebody else");
        return;
    }
    cluster_open();
    peer_as_stranger(f, talk);
    CU_ASSERT_EQUAL(cluster.moves + cluster.changes + cluster.recovers, 0);
    fixture_close(f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(nodes_come_and_go),
    UNIT_TEST(lost_shards_are_named_by_their_logs),
    UNIT_TEST(malformed_changes_end_the_connection),
    UNIT_TEST(a_node_alone_has_no_cluster),
    UNIT_TEST(the_cluster_is_told),
    UNIT_TEST(a_lack_of_memory_is_named),
    UNIT_TEST(a_move_names_logs),
    UNIT_TEST(what_is_not_there_is_not_moved),
    UNIT_TEST(malformed_moves_end_the_connection),
    UNIT_TEST(strangers_move_nothing),
};
UNIT_MAIN("server_admin", tests)
