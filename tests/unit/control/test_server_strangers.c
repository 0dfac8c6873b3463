/* What peers that break the rules of the socket get, and that nobody else notices. */
#include "control/server.h"

#include "tests/unit/control/server_peer.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct fixture fixture;
static struct fixture *const f = &fixture;

/* ---- what others get ---- */

/* Ask, expect a refusal and the end of the connection. */
static void expect_refused(const void *bytes, size_t length, bool attached)
{
    struct reply r;
    uint64_t before = counts_of(f).refused_requests;
    int fd = attached ? peer_attach(f, &r) : peer_connect(f);
    CU_ASSERT_EQUAL(peer_send(fd, bytes, length), 0);
    fixture_pump(f);
    CU_ASSERT_EQUAL(peer_receive(fd, &r), 1);
    CU_ASSERT_EQUAL(r.message.error, -EPROTO);
    CU_ASSERT_EQUAL(r.fd_count, 0);
    CU_ASSERT_EQUAL(peer_receive(fd, &r), 0);
    CU_ASSERT_EQUAL(counts_of(f).refused_requests, before + 1);
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
    CU_ASSERT_EQUAL(counts_of(f).connections, 0);
    fixture_close(f);
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
            like.kind = (uint32_t)(next_random(&state) % 9);
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
    CU_ASSERT_EQUAL(counts_of(f).connections, 1);
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
    for (int i = 0; i < 400 && counts_of(f).closed_slow == 0; i++) {
        if (peer_send(deaf, &ask, sizeof(ask)) != 0)
            break;
        fixture_pump(f);
    }
    CU_ASSERT_EQUAL(counts_of(f).closed_slow, 1);
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

static const struct unit_test tests[] = {
    UNIT_TEST(malformed_requests_are_refused_and_closed),
    UNIT_TEST(any_bytes_hurt_nobody_else),
    UNIT_TEST(a_peer_that_does_not_read_is_closed),
    UNIT_TEST(a_flood_is_served_in_turns),
    UNIT_TEST(who_had_to_wait_is_served_later),
    UNIT_TEST(silent_strangers_are_closed),
    UNIT_TEST(who_comes_too_often_waits),
    UNIT_TEST(who_waits_for_his_turn_is_served),
};
UNIT_MAIN("server_strangers", tests)
