#include "control/server.h"

#include "tests/unit/control/server_peer.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct fixture fixture;
static struct fixture *const f = &fixture;

static uint64_t counted(uint64_t (*which)(const struct status_server *))
{
    struct status_server counts;
    server_counts(f->server, &counts);
    return which(&counts);
}

static uint64_t connections(const struct status_server *s)
{
    return s->connections;
}

static uint64_t refused(const struct status_server *s)
{
    return s->refused_requests;
}

static uint64_t slow(const struct status_server *s)
{
    return s->closed_slow;
}

static struct attach_request request_of(uint32_t kind)
{
    return (struct attach_request){.kind = kind};
}

static struct attach_request request_space(const char *name)
{
    struct attach_request r = request_of(ATTACH_SPACE);
    (void)snprintf(r.space, sizeof(r.space), "%s", name);
    return r;
}

static struct attach_request request_chunk(uint32_t space, uint32_t chunk)
{
    struct attach_request r = request_of(ATTACH_CHUNK);
    r.space_id = space;
    r.chunk = chunk;
    return r;
}

/* ---- what honest peers get
 * ------------------------------------------------------------------------- */

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
    CU_ASSERT_EQUAL(counted(connections), 0);
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

/* ---- access
 * ---------------------------------------------------------------------------------------- */

/* As another user: what is wrong, as a number; 0 nothing. */
static int stranger_main(void)
{
    struct reply r;
    struct attach_request hello = request_hello();
    struct attach_request open = request_space("open"), closed = request_space("closed");
    struct attach_request open_chunk = request_chunk(1, 0), closed_chunk = request_chunk(2, 0);
    if (setgid(65534) != 0 || setuid(65534) != 0)
        return 1;
    int fd = peer_connect(f);
    if (fd < 0 || fcntl(fd, F_SETFL, 0) != 0)
        return 2;
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

static void strangers_get_what_the_access_list_gives(void)
{
    if (geteuid() != 0) {
        CU_PASS("skipped: only root can become somebody else");
        return;
    }
    fixture_open(f);
    CU_ASSERT_EQUAL(chmod(f->directory, 0755), 0);
    (void)fflush(stdout);
    struct child c = {.pid = fork()};
    if (c.pid == 0)
        _exit(stranger_main());
    CU_ASSERT_FATAL(fixture_wait(f, child_ended, &c));
    CU_ASSERT(WIFEXITED(c.status));
    CU_ASSERT_EQUAL(WEXITSTATUS(c.status), 0);
    fixture_close(f);
}

/* ---- what others get
 * ------------------------------------------------------------------------------- */

/* Ask, expect a refusal and the end of the connection. */
static void expect_refused(const void *bytes, size_t length, bool attached)
{
    struct reply r;
    uint64_t before = counted(refused);
    int fd = attached ? peer_attach(f, &r) : peer_connect(f);
    CU_ASSERT_EQUAL(peer_send(fd, bytes, length), 0);
    fixture_pump(f);
    CU_ASSERT_EQUAL(peer_receive(fd, &r), 1);
    CU_ASSERT_EQUAL(r.message.error, -EPROTO);
    CU_ASSERT_EQUAL(r.fd_count, 0);
    CU_ASSERT_EQUAL(peer_receive(fd, &r), 0);
    CU_ASSERT_EQUAL(counted(refused), before + 1);
    (void)close(fd);
}

static void malformed_requests_are_refused_and_closed(void)
{
    fixture_open(f);
    struct attach_request r = request_hello();
    expect_refused(&r, sizeof(r) - 1, false);
    expect_refused(&r, 1, false);
    expect_refused(&r, sizeof(r), true); /* a second HELLO */
    r.fingerprint ^= 1;
    expect_refused(&r, sizeof(r), false);
    r = request_hello();
    r.request_bytes = 3;
    expect_refused(&r, sizeof(r), false);
    r = request_hello();
    r.bulk_bytes = UINT32_MAX;
    expect_refused(&r, sizeof(r), false);
    r = request_space("open");
    expect_refused(&r, sizeof(r), false); /* before HELLO */
    memset(r.space, 'a', sizeof(r.space));
    expect_refused(&r, sizeof(r), true);
    r = request_chunk(0, 0);
    expect_refused(&r, sizeof(r), true);
    r = request_chunk(LIMIT_SPACES + 1, 0);
    expect_refused(&r, sizeof(r), true);
    r = request_chunk(1, LIMIT_CHUNKS);
    expect_refused(&r, sizeof(r), true);
    r = request_of(0);
    expect_refused(&r, sizeof(r), true);
    r = request_of(UINT32_MAX);
    expect_refused(&r, sizeof(r), false);
    static uint8_t large[2 * ATTACH_MESSAGE_MAX];
    expect_refused(large, sizeof(large), false);
    CU_ASSERT_EQUAL(counted(connections), 0);
    fixture_close(f);
}

/* xorshift64*: any bytes, the same ones every time. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static void any_bytes_hurt_nobody_else(void)
{
    fixture_open(f);
    struct reply r;
    struct attach_request chunk = request_chunk(1, 0);
    int honest = peer_attach(f, &r);
    int fds_before = open_fds();
    uint64_t state = 20261121;
    for (int round = 0; round < 3000; round++) {
        uint8_t bytes[sizeof(struct attach_request) + 40];
        struct attach_request like = request_hello();
        size_t length = next_random(&state) % sizeof(bytes) + 1;
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)next_random(&state);
        if (round % 2 != 0) { /* nearly right */
            like.kind = (uint32_t)(next_random(&state) % 7);
            memcpy(bytes, &like, sizeof(like));
            bytes[next_random(&state) % sizeof(like)] = (uint8_t)next_random(&state);
            length = sizeof(like);
        }
        int fd = peer_connect(f);
        CU_ASSERT_FATAL(fd >= 0);
        CU_ASSERT_EQUAL(peer_send(fd, bytes, length), 0);
        fixture_pump(f);
        while (peer_receive(fd, &r) == 1)
            reply_close(&r);
        (void)close(fd);
    }
    fixture_pump(f);
    CU_ASSERT_EQUAL(counted(connections), 1);
    CU_ASSERT_EQUAL(open_fds(), fds_before);
    CU_ASSERT_EQUAL_FATAL(peer_ask(f, honest, &chunk, &r), 1);
    CU_ASSERT_EQUAL(r.message.error, 0);
    reply_close(&r);
    (void)close(honest);
    fixture_close(f);
}

static void a_peer_that_does_not_read_is_closed(void)
{
    fixture_open(f);
    struct reply r;
    struct attach_request ask = request_chunk(1, 0);
    int deaf = peer_attach(f, &r);
    int honest = peer_attach(f, &r);
    for (int i = 0; i < 400 && counted(slow) == 0; i++) {
        if (peer_send(deaf, &ask, sizeof(ask)) != 0)
            break;
        fixture_pump(f);
    }
    CU_ASSERT_EQUAL(counted(slow), 1);
    CU_ASSERT_PTR_NULL(f->node.agents[0]);
    CU_ASSERT_EQUAL_FATAL(peer_ask(f, honest, &ask, &r), 1);
    reply_close(&r);
    (void)close(deaf);
    (void)close(honest);
    fixture_close(f);
}

/* A peer that sends as fast as it can is served in turns, then has to wait; others do not. */
static void a_flood_is_served_in_turns(void)
{
    fixture_open(f);
    struct reply r;
    struct attach_request ask = request_of(ATTACH_CLOCK);
    int flood = peer_attach(f, &r);
    int honest = peer_attach(f, &r);
    uint32_t answered = 0;
    uint64_t worst = 0;
    for (int i = 0; i < 200; i++) {
        while (peer_send(flood, &ask, sizeof(ask)) == 0)
            continue;
        CU_ASSERT_EQUAL(peer_send(honest, &ask, sizeof(ask)), 0);
        uint32_t turns = 0;
        uint32_t meanwhile = 0;
        int got = -EAGAIN;
        for (; got == -EAGAIN && turns < 4; turns++) {
            (void)uv_run(&f->loop, UV_RUN_NOWAIT);
            while (peer_receive(flood, &r) == 1)
                meanwhile++;
            got = peer_receive(honest, &r);
        }
        CU_ASSERT_EQUAL(got, 1);
        CU_ASSERT(meanwhile <= turns * SERVER_REQUESTS_PER_TURN);
        worst = max_u64(worst, turns);
        answered += meanwhile;
    }
    CU_ASSERT(answered > 0);
    CU_ASSERT(worst <= 2);
    struct status_server counts;
    server_counts(f->server, &counts);
    CU_ASSERT(counts.throttled > 0);
    (void)close(flood);
    (void)close(honest);
    fixture_close(f);
}

struct waiting {
    int fd;
    struct reply reply;
    bool answered;
};

static bool is_answered(void *context)
{
    struct waiting *w = context;
    w->answered = w->answered || peer_receive(w->fd, &w->reply) == 1;
    return w->answered;
}

/* A throttled peer goes on by itself. */
static void who_had_to_wait_is_served_later(void)
{
    fixture_open(f);
    struct reply r;
    struct attach_request ask = request_of(ATTACH_CLOCK);
    struct waiting w = {.fd = peer_attach(f, &r)};
    struct status_server counts;
    do {
        (void)peer_send(w.fd, &ask, sizeof(ask));
        fixture_pump(f);
        while (peer_receive(w.fd, &r) == 1)
            continue;
        server_counts(f->server, &counts);
    } while (counts.throttled == 0);
    (void)peer_send(w.fd, &ask, sizeof(ask));
    CU_ASSERT(fixture_wait(f, is_answered, &w));
    (void)close(w.fd);
    fixture_close(f);
}

static void silent_strangers_are_closed(void)
{
    fixture_open(f);
    struct reply r;
    int attached = peer_attach(f, &r);
    int silent = peer_connect(f);
    fixture_pump(f);
    CU_ASSERT_EQUAL_FATAL(f->server->connection_count, 2);
    uint64_t now = clock_boottime_ns();
    for (uint32_t i = 2; i-- > 0;)
        (void)connection_tick(f->server->connections[i], now);
    CU_ASSERT_EQUAL(f->server->connection_count, 2);
    for (uint32_t i = 2; i-- > 0;)
        (void)connection_tick(f->server->connections[i], now + 2 * SERVER_IDLE_NS);
    CU_ASSERT_EQUAL(f->server->connection_count, 1);
    CU_ASSERT_EQUAL(peer_receive(silent, &r), 0);
    CU_ASSERT_EQUAL(peer_receive(attached, &r), -EAGAIN);
    (void)close(silent);
    (void)close(attached);
    fixture_close(f);
}

/* One user who comes and goes without end; another one and root are not held up by it. */
static void who_comes_too_often_waits(void)
{
    fixture_open(f);
    uint64_t now = NS_PER_S;
    uint32_t served = 0;
    for (int i = 0; i < 10000; i++)
        served += server_admits(f->server, 1000, now) ? 1 : 0;
    CU_ASSERT_EQUAL(served, LIMIT_AGENTS_PER_UID);
    CU_ASSERT_FALSE(server_admits(f->server, 1000, now));
    CU_ASSERT_TRUE(server_admits(f->server, 1001, now));
    CU_ASSERT_TRUE(server_admits(f->server, 0, now));
    served = 0;
    for (int i = 0; i < 1000; i++)
        served += server_admits(f->server, 1000, now + NS_PER_S) ? 1 : 0;
    CU_ASSERT_EQUAL(served, 200);
    /* Many names do not wash it off while there is room for all. */
    for (uint32_t uid = 2000; uid < 2000 + SERVER_VISITORS - 2; uid++)
        CU_ASSERT_TRUE(server_admits(f->server, uid, now + NS_PER_S));
    CU_ASSERT_FALSE(server_admits(f->server, 1000, now + NS_PER_S));
    fixture_close(f);
}

/* It waits with its request unread, and is served when its turn comes. */
static void who_waits_for_his_turn_is_served(void)
{
    fixture_open(f);
    struct reply r;
    struct attach_request hello = request_hello();
    int pair[2];
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    uint64_t now = clock_boottime_ns();
    while (server_admits(f->server, 1000, now))
        continue;
    /* Far in debt, so that the server's own clock does not pay it back meanwhile. */
    for (uint32_t i = 0; i < SERVER_VISITORS; i++)
        if (f->server->visitors[i].uid == 1000)
            f->server->visitors[i].bucket = now + 1000 * NS_PER_S;
    CU_ASSERT_EQUAL_FATAL(connection_open(f->server, pair[0], 1000, 1), 0);
    CU_ASSERT_EQUAL(peer_ask(f, pair[1], &hello, &r), -EAGAIN);
    struct connection *c = f->server->connections[0];
    CU_ASSERT_TRUE(connection_tick(c, now));
    CU_ASSERT_TRUE(c->paused);
    CU_ASSERT_TRUE(connection_tick(c, now + 2000 * NS_PER_S));
    CU_ASSERT_FALSE(c->paused);
    fixture_pump(f);
    CU_ASSERT_EQUAL_FATAL(peer_receive(pair[1], &r), 1);
    CU_ASSERT_EQUAL(r.message.error, 0);
    reply_close(&r);
    (void)close(pair[1]);
    fixture_close(f);
}

/* ---- ends
 * ------------------------------------------------------------------------------------------- */

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
    CU_ASSERT_EQUAL(counted(connections), 1);
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
    UNIT_TEST(malformed_requests_are_refused_and_closed),
    UNIT_TEST(any_bytes_hurt_nobody_else),
    UNIT_TEST(a_peer_that_does_not_read_is_closed),
    UNIT_TEST(a_flood_is_served_in_turns),
    UNIT_TEST(who_had_to_wait_is_served_later),
    UNIT_TEST(silent_strangers_are_closed),
    UNIT_TEST(who_comes_too_often_waits),
    UNIT_TEST(who_waits_for_his_turn_is_served),
    UNIT_TEST(a_fault_costs_one_agent),
    UNIT_TEST(coming_and_going_leaves_nothing),
    UNIT_TEST(stopping_with_agents_attached_is_clean),
    UNIT_TEST(running_out_of_descriptors_is_waited_out),
    UNIT_TEST(an_attachment_without_descriptors_is_refused),
};
UNIT_MAIN("server", tests)
