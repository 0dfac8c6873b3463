/* What administrators ask of a node of a cluster, and of a node alone. */
#include "control/server.h"

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

/* The cluster's side: does nothing, and remembers what it was asked. */
struct cluster {
    uint32_t moves, first_log, last_log, node;
    int64_t answer;
    const char *json;
};
static struct cluster cluster;

static int64_t move(void *context, uint32_t first_log, uint32_t last_log, uint32_t node)
{
    struct cluster *c = context;
    c->moves++;
    c->first_log = first_log;
    c->last_log = last_log;
    c->node = node;
    return c->answer;
}

static char *nodes_json(void *context)
{
    const struct cluster *c = context;
    return c->json != NULL ? strdup(c->json) : NULL;
}

static const struct server_admin admin = {
    .move = move, .nodes_json = nodes_json, .context = &cluster};

static void cluster_open(void)
{
    cluster = (struct cluster){.answer = 5, .json = "{\"cluster\":\"flock\",\"moving\":3}"};
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
    cluster.json = "{\"moving\":0}";
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
    cluster.json = NULL;
    CU_ASSERT_EQUAL(ask(fd, &nodes, &r), -ENOMEM);
    CU_ASSERT_EQUAL(ask(fd, &status, &r), -ENOMEM);
    CU_ASSERT_EQUAL(r.fd_count, 0);
    cluster.json = "{}";
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
static int stranger_main(void)
{
    struct reply r;
    struct attach_request all = request_move(2, "", ATTACH_SHARDS_ALL);
    struct attach_request open = request_move(2, "open", 0), nodes = request_of(ATTACH_NODES);
    if (setgid(65534) != 0 || setuid(65534) != 0)
        return 1;
    int fd = peer_connect(f);
    if (fd < 0 || fcntl(fd, F_SETFL, 0) != 0)
        return 2;
    const struct attach_request *asks[] = {&all, &open, &nodes};
    static const int error_expected[] = {-EACCES, -EACCES, 0};
    for (int i = 0; i < 3; i++) {
        if (peer_send(fd, asks[i], sizeof(*asks[i])) != 0 || peer_receive(fd, &r) != 1)
            return 10 + i;
        if (r.message.error != error_expected[i])
            return 20 + i;
    }
    return 0;
}

struct child {
    pid_t pid;
    int status;
    bool ended;
};

static bool child_ended(void *context)
{
    struct child *c = context;
    if (!c->ended)
        c->ended = waitpid(c->pid, &c->status, WNOHANG) == c->pid;
    return c->ended;
}

static void strangers_move_nothing(void)
{
    if (geteuid() != 0) {
        CU_PASS("skipped: only root can become somebody else");
        return;
    }
    cluster_open();
    CU_ASSERT_EQUAL(chmod(f->directory, 0755), 0);
    (void)fflush(stdout);
    struct child c = {.pid = fork()};
    if (c.pid == 0)
        _exit(stranger_main());
    CU_ASSERT_FATAL(fixture_wait(f, child_ended, &c));
    CU_ASSERT(WIFEXITED(c.status));
    CU_ASSERT_EQUAL(WEXITSTATUS(c.status), 0);
    CU_ASSERT_EQUAL(cluster.moves, 0);
    fixture_close(f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_node_alone_has_no_cluster),    UNIT_TEST(the_cluster_is_told),
    UNIT_TEST(a_lack_of_memory_is_named),      UNIT_TEST(a_move_names_logs),
    UNIT_TEST(what_is_not_there_is_not_moved), UNIT_TEST(malformed_moves_end_the_connection),
    UNIT_TEST(strangers_move_nothing),
};
UNIT_MAIN("server_admin", tests)
