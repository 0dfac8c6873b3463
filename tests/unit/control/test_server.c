#include "control/server.h"

#include "tests/unit/control/server_peer.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct fixture fixture;
static struct fixture *const f = &fixture;

/* ---- what honest peers get ---- */

static void hello_gives_everything(void)
{
    fixture_open(f);
    struct reply r;
    struct attach_request hello = request_hello();
    int fd = peer_connect(f);
    uint64_t before = clock_ticks(f->node.clock_kind);
    CU_ASSERT_EQUAL_FATAL(peer_ask(f, fd, &hello, &r), 1);
    uint64_t after = clock_ticks(f->node.clock_kind);
    CU_ASSERT_EQUAL(r.message.kind, ATTACH_HELLO);
    CU_ASSERT_EQUAL(r.message.error, 0);
    CU_ASSERT_EQUAL(r.message.start, f->node.start);
    CU_ASSERT_EQUAL(r.message.agent_slot, 0);
    CU_ASSERT(r.message.clock_ticks >= before && r.message.clock_ticks <= after);
    CU_ASSERT_EQUAL_FATAL(r.fd_count, 5); /* node, doorbell, agent, two eventfds */
    struct layout_node *node = mmap(NULL, sizeof(*node), PROT_READ, MAP_SHARED, r.fds[0], 0);
    CU_ASSERT_FATAL(node != MAP_FAILED);
    CU_ASSERT_EQUAL(node->magic, LAYOUT_MAGIC_NODE);
    CU_ASSERT_PTR_EQUAL(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r.fds[0], 0),
                        MAP_FAILED);
    struct ring_file *file =
        mmap(NULL, r.message.file.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r.fds[2], 0);
    CU_ASSERT_FATAL(file != MAP_FAILED);
    CU_ASSERT_EQUAL(memcmp(file, &r.message.file, offsetof(struct ring_file, pins)), 0);
    CU_ASSERT_EQUAL(munmap(file, r.message.file.bytes), 0);
    CU_ASSERT_EQUAL(munmap(node, sizeof(*node)), 0);
    reply_close(&r);
    (void)close(fd);
    fixture_pump(f);
    CU_ASSERT_PTR_NULL(f->node.agents[0]);
    CU_ASSERT_EQUAL(counts_of(f).connections, 0);
    fixture_close(f);
}

static void spaces_and_chunks_are_passed_on(void)
{
    fixture_open(f);
    struct reply r;
    int fd = peer_attach(f, &r);
    struct attach_request ask = request_space("open");
    CU_ASSERT_EQUAL_FATAL(peer_ask(f, fd, &ask, &r), 1);
    CU_ASSERT_EQUAL(r.message.error, 0);
    CU_ASSERT_EQUAL(r.message.space_id, 1);
    CU_ASSERT_EQUAL(r.message.writable, 1);
    CU_ASSERT_EQUAL(r.message.bytes, f->node.spaces[1]->file.bytes);
    CU_ASSERT_EQUAL(r.fd_count, 1);
    reply_close(&r);
    ask = request_chunk(1, 0);
    CU_ASSERT_EQUAL_FATAL(peer_ask(f, fd, &ask, &r), 1);
    CU_ASSERT_EQUAL(r.message.error, 0);
    CU_ASSERT_EQUAL(r.message.bytes, UINT64_C(1) << f->node.spaces[1]->geometry.chunk_shift);
    CU_ASSERT_EQUAL(r.fd_count, 1);
    reply_close(&r);
    struct attach_request none[] = {
        request_space("nowhere"),
        request_chunk(3, 0),
        request_chunk(1, f->node.spaces[1]->header->chunk_count),
        request_chunk(1, LIMIT_CHUNKS - 1),
    };
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        CU_ASSERT_EQUAL_FATAL(peer_ask(f, fd, &none[i], &r), 1);
        CU_ASSERT_EQUAL(r.message.error, -ENOENT);
        CU_ASSERT_EQUAL(r.fd_count, 0);
    }
    (void)close(fd);
    fixture_close(f);
}

static json_t *status_of(const struct reply *r)
{
    char *text = calloc(1, r->message.bytes + 1);
    CU_ASSERT_FATAL(text != NULL && r->fd_count == 1);
    CU_ASSERT_EQUAL(pread(r->fds[0], text, r->message.bytes, 0), (ssize_t)r->message.bytes);
    CU_ASSERT_EQUAL(pwrite(r->fds[0], "x", 1, 0), -1);
    json_t *o = json_loads(text, 0, NULL);
    free(text);
    return o;
}

static json_int_t number_at(json_t *o, const char *outer, const char *inner)
{
    return json_integer_value(json_object_get(json_object_get(o, outer), inner));
}

static void status_is_json_with_every_counter(void)
{
    fixture_open(f);
    struct reply r;
    int fd = peer_attach(f, &r);
    struct attach_request ask = request_of(ATTACH_STATUS);
    f->node.shared->counters[0].value[COUNTER_RECORDS] += 40;
    f->node.shared->counters[1].value[COUNTER_RECORDS] += 2;
    CU_ASSERT_EQUAL_FATAL(peer_ask(f, fd, &ask, &r), 1);
    json_t *o = status_of(&r);
    CU_ASSERT_PTR_NOT_NULL_FATAL(o);
    CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(json_object_get(o, "node"), "name")),
                           "roost");
    CU_ASSERT_EQUAL(number_at(o, "agents", "attached"), 1);
    CU_ASSERT_EQUAL(number_at(o, "server", "connections"), 1);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(o, "start")), (json_int_t)f->node.start);
    json_int_t records = 0;
    for (uint32_t i = 0; i < 2; i++) {
        json_t *lcore = json_array_get(json_object_get(o, "lcores"), i);
        records += number_at(lcore, "counters", "records");
    }
    CU_ASSERT_EQUAL(number_at(o, "counters", "records"), records);
    CU_ASSERT(records >= 42);
    for (uint32_t c = 0; c < COUNTER_COUNT; c++)
        CU_ASSERT_PTR_NOT_NULL(
            json_object_get(json_object_get(o, "counters"), status_counter_name((enum counter)c)));
    CU_ASSERT_EQUAL(json_array_size(json_object_get(o, "spaces")), 2);
    json_t *space = json_array_get(json_object_get(o, "spaces"), 0);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(space, "shards")), 2);
    CU_ASSERT_EQUAL(number_at(space, "segments", "index"), 4); /* two pages for each shard */
    json_decref(o);
    reply_close(&r);
    (void)close(fd);
    fixture_close(f);
}

/* A command that only wants the status need not become an agent. */
static void status_and_clock_need_no_hello(void)
{
    fixture_open(f);
    struct reply r;
    int fd = peer_connect(f);
    struct attach_request ask = request_of(ATTACH_STATUS);
    CU_ASSERT_EQUAL_FATAL(peer_ask(f, fd, &ask, &r), 1);
    CU_ASSERT_EQUAL(r.message.error, 0);
    reply_close(&r);
    ask = request_of(ATTACH_CLOCK);
    CU_ASSERT_EQUAL_FATAL(peer_ask(f, fd, &ask, &r), 1);
    CU_ASSERT_EQUAL(r.message.error, 0);
    CU_ASSERT_EQUAL(r.fd_count, 0);
    CU_ASSERT(r.message.clock_ticks != 0);
    (void)close(fd);
    fixture_close(f);
}

/* ---- access ---- */

/* As another user: what is wrong, as a number; 0 nothing. */
static int talk(int fd)
{
    struct reply r;
    struct attach_request hello = request_hello();
    struct attach_request open = request_space("open"), closed = request_space("closed");
    struct attach_request open_chunk = request_chunk(1, 0), closed_chunk = request_chunk(2, 0);
    static const int error_expected[] = {0, 0, -EACCES, 0, -EACCES};
    const struct attach_request *asks[] = {&hello, &open, &closed, &open_chunk, &closed_chunk};
    for (int i = 0; i < 5; i++) {
        if (peer_send(fd, asks[i], sizeof(*asks[i])) != 0 || peer_receive(fd, &r) != 1)
            return 10 + i;
        if (r.message.error != error_expected[i])
            return 20 + i;
        if (i == 1 && r.message.writable != 0)
            return 30;
    }
    return 0;
}

static void strangers_get_what_the_access_list_gives(void)
{
    if (geteuid() != 0) {
        CU_PASS("skipped: only root can become somebody else");
        return;
    }
    fixture_open(f);
    peer_as_stranger(f, talk);
    fixture_close(f);
}

/* ---- ends ---- */

static void a_fault_costs_one_agent(void)
{
    fixture_open(f);
    struct reply r;
    int fds[3];
    for (int i = 0; i < 3; i++)
        fds[i] = peer_attach(f, &r);
    atomic_store_explicit(&f->node.agents[1]->fault, AGENT_FAULT_RING, memory_order_release);
    server_detach_faulty(f->server);
    fixture_pump(f);
    CU_ASSERT_PTR_NOT_NULL(f->node.agents[0]);
    CU_ASSERT_PTR_NULL(f->node.agents[1]);
    CU_ASSERT_PTR_NOT_NULL(f->node.agents[2]);
    CU_ASSERT_EQUAL(peer_receive(fds[0], &r), -EAGAIN);
    CU_ASSERT_EQUAL(peer_receive(fds[1], &r), 0);
    CU_ASSERT_EQUAL(peer_receive(fds[2], &r), -EAGAIN);
    struct status_server counts;
    server_counts(f->server, &counts);
    CU_ASSERT_EQUAL(counts.faults, 1);
    for (int i = 0; i < 3; i++)
        (void)close(fds[i]);
    fixture_close(f);
}

static void coming_and_going_leaves_nothing(void)
{
    fixture_open(f);
    struct reply r;
    int keep = peer_attach(f, &r);
    int before = open_fds();
    uint64_t state = 7;
    for (int round = 0; round < 30; round++) {
        int fds[32];
        for (int i = 0; i < 32; i++)
            fds[i] = peer_attach(f, &r);
        for (int i = 0; i < 32; i++) {
            if (next_random(&state) % 2 == 0)
                continue;
            CU_ASSERT_EQUAL(close(fds[i]), 0);
            fds[i] = -1;
        }
        fixture_pump(f);
        for (uint32_t i = 0; i < f->server->connection_count; i++)
            CU_ASSERT_EQUAL(f->server->connections[i]->place, i);
        for (int i = 0; i < 32; i++)
            if (fds[i] >= 0)
                (void)close(fds[i]);
        fixture_pump(f);
    }
    CU_ASSERT_EQUAL(counts_of(f).connections, 1);
    CU_ASSERT_EQUAL(open_fds(), before);
    CU_ASSERT_EQUAL(f->node.agent_slots, 33);
    (void)close(keep);
    fixture_close(f);
}

static void stopping_with_agents_attached_is_clean(void)
{
    int before = open_fds();
    fixture_open(f);
    struct reply r;
    int fds[5];
    for (int i = 0; i < 5; i++)
        fds[i] = peer_attach(f, &r);
    fixture_close(f);
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(peer_receive(fds[i], &r), 0);
        (void)close(fds[i]);
    }
    CU_ASSERT_EQUAL(open_fds(), before);
}

static void allow_fds(int more)
{
    struct rlimit limit;
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int next = dup(0);
    (void)close(next);
    limit.rlim_cur = more < 0 ? limit.rlim_max : (rlim_t)(next + more);
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* No descriptor for the accept: the loop must rest, and go on when there are some again. */
static void running_out_of_descriptors_is_waited_out(void)
{
    fixture_open(f);
    struct attach_request hello = request_hello();
    struct waiting w = {.fd = peer_connect(f)};
    CU_ASSERT_EQUAL(peer_send(w.fd, &hello, sizeof(hello)), 0);
    allow_fds(0);
    fixture_pump(f);
    CU_ASSERT(f->server->paused);
    CU_ASSERT_EQUAL(uv_is_active((uv_handle_t *)&f->server->listen), 0);
    allow_fds(-1);
    CU_ASSERT(fixture_wait(f, is_answered, &w));
    CU_ASSERT_EQUAL(w.reply.message.error, 0);
    CU_ASSERT(!f->server->paused);
    reply_close(&w.reply);
    (void)close(w.fd);
    fixture_close(f);
}

/* Too few for the attachment: the peer is told, the others stay, nothing leaks. */
static void an_attachment_without_descriptors_is_refused(void)
{
    fixture_open(f);
    struct reply r;
    struct attach_request hello = request_hello();
    int fd = peer_connect(f);
    fixture_pump(f);
    int before = open_fds();
    for (int more = 0; more < 3; more++) {
        allow_fds(more);
        CU_ASSERT_EQUAL(peer_ask(f, fd, &hello, &r), 1);
        allow_fds(-1);
        CU_ASSERT_EQUAL(r.message.error, -EUSERS);
        CU_ASSERT_EQUAL(open_fds(), before);
    }
    CU_ASSERT_EQUAL(peer_ask(f, fd, &hello, &r), 1);
    CU_ASSERT_EQUAL(r.message.error, 0);
    reply_close(&r);
    (void)close(fd);
    fixture_close(f);
}

static const struct unit_test tests[] = {
    UNIT_TEST(hello_gives_everything),
    UNIT_TEST(spaces_and_chunks_are_passed_on),
    UNIT_TEST(status_is_json_with_every_counter),
    UNIT_TEST(status_and_clock_need_no_hello),
    UNIT_TEST(strangers_get_what_the_access_list_gives),
    UNIT_TEST(a_fault_costs_one_agent),
    UNIT_TEST(coming_and_going_leaves_nothing),
    UNIT_TEST(stopping_with_agents_attached_is_clean),
    UNIT_TEST(running_out_of_descriptors_is_waited_out),
    UNIT_TEST(an_attachment_without_descriptors_is_refused),
};
UNIT_MAIN("server", tests)
