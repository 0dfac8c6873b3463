#include "tests/unit/dataplane/transport_rdma_nodes.h"
#include "engine/clock.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORT 7000u
#define BURST 64u
#define REPLIES 8192u
#define HANGS_NS (100 * NS_PER_S) /* so long nothing takes; it decides nothing else */

struct mode mode = {.authentic = 1};
const char *addresses[2];
struct transport *t;
uint8_t *pattern, *target;
uint32_t self, peer;
uint64_t given_back, named, answers, answers_wanted, wrong;
struct command answer = {.n = UINT64_MAX};
struct stream stream;

static const char *const program = "/proc/self/exe";
static struct rdma_port *port;
static struct transport_received in[BURST];
static uint64_t holds[BURST];
static struct command replies[REPLIES]; /* that could not be sent at once */
static uint32_t replies_head, replies_tail;

_Noreturn void fail(const char *what)
{
    printf("FAIL  node %u: %s\n", self, what);
    (void)fflush(stdout);
    exit(1);
}

void check(bool is, const char *what)
{
    if (!is)
        fail(what);
}

uint32_t random_below(uint32_t bound)
{
    static uint64_t state = 1;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((state >> 33) % bound);
}

/* ---- a node ---- */

static struct sockaddr_storage address_of(uint32_t node)
{
    struct sockaddr_storage s = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&s;
    v4->sin_family = AF_INET;
    v4->sin_port = htons(PORT);
    check(inet_pton(AF_INET, addresses[node - 1], &v4->sin_addr) == 1, "an address");
    return s;
}

void memory_open(void)
{
    uint8_t *memory =
        mmap(NULL, 3 * CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED, "mmap");
    pattern = (uint8_t *)align_up((uintptr_t)memory, CHUNK);
    target = pattern + CHUNK;
    for (uint64_t i = 0; i < CHUNK; i++)
        pattern[i] = (uint8_t)(i * 37 + i / 256 + i / 65536 + 11);
}

void node_open(void)
{
    static const struct transport_framed_secret secret = {.key_id = 4, .bytes = {1, 2, 3}};
    const struct rdma_port_config config = {.address = address_of(self),
                                            .node = self,
                                            .cluster = 5,
                                            .lcore_count = 1,
                                            .message_bytes = TRANSPORT_RDMA_MESSAGE_BYTES,
                                            .messages = mode.messages,
                                            .sends = mode.sends};
    const struct transport_framed_config framed = {.node = self,
                                                   .cluster = 5,
                                                   .start = mode.start,
                                                   .secrets = &secret,
                                                   .secret_count = 1,
                                                   .authentic_only = mode.authentic != 0,
                                                   .length_max = FRAME_LENGTH_MAX,
                                                   .silence_ns = 3600 * NS_PER_S};
    const struct sockaddr_storage address = address_of(peer);
    check(rdma_port_open(&port, &config) == 0, "the port opens");
    check(rdma_port_range_open(port, pattern, 2 * CHUNK, CHUNK) == 0, "the range opens");
    check(rdma_port_map(port, pattern) == 0 && rdma_port_map(port, target) == 0, "memory");
    check(transport_rdma_open(&t, &framed, port) == 0, "the endpoint opens");
    check(transport_framed_add(t, peer, &address) == 0, "the peer");
}

static void node_close(void)
{
    transport_rdma_close(t);
    rdma_port_unmap(port, pattern);
    rdma_port_unmap(port, target);
    rdma_port_range_close(port, pattern);
    rdma_port_close(port);
}

/* ---- messages ---- */

/* Shape of the nth datagram of a stream. */
static void shape(uint64_t n, uint32_t *at, uint32_t *length)
{
    uint32_t x = (uint32_t)(n * 2654435761u);
    uint32_t kind = x >> 30;
    uint32_t most = kind < 2 ? 1 : kind == 2 ? 1000 : (x & 0xf0000) == 0 ? 40000 : 5000;
    *at = (x >> 7) % 4096;
    *length = (x >> 3) % most;
}

bool send_command(const struct command *c)
{
    bool has_bytes = c->length != 0 && (c->what == ECHO || c->what == STREAMED || c->what == REPLY);
    const struct transport_datagram d = {.to = peer,
                                         .head = (const uint8_t *)c,
                                         .head_length = sizeof *c,
                                         .bytes = has_bytes ? pattern + c->at : NULL,
                                         .length = has_bytes ? c->length : 0,
                                         .hold = UINT64_MAX};
    return transport_send(t, &d, 1) == 1;
}

static void reply(struct command c)
{
    c.what = REPLY;
    check(replies_tail - replies_head < REPLIES, "replies");
    replies[replies_tail++ % REPLIES] = c;
}

static void streamed(const struct command *c)
{
    uint32_t at, length;
    shape(stream.received, &at, &length);
    check(c->n == stream.received && c->at == at && c->length == length, "a stream in order");
    stream.received++;
}

static bool is_blank(uint32_t at, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        if (target[at + i] != 0)
            return false;
    return true;
}

static void command_do(struct command c)
{
    switch (c.what) {
    case ECHO:
        reply(c);
        break;
    case TOKEN:
        c.is_right = transport_token(t, peer, target + c.at, c.length, &c.token);
        c.length = 0;
        reply(c);
        break;
    case REVOKE:
        transport_revoke(t, peer, target + c.at);
        memset(target + c.at, 0, c.length);
        c.length = 0;
        c.is_right = true;
        reply(c);
        break;
    case BLANK:
        c.is_right = is_blank(c.at, c.length);
        c.length = 0;
        reply(c);
        break;
    case ANNOUNCE: {
        const struct grant_range range = {.bytes = target + c.at, .length = c.length};
        c.is_right = transport_proves(t, peer, &range, &c.proof) &&
                     memcmp(target + c.at, pattern + c.at, c.length) == 0;
        c.length = 0;
        reply(c);
        break;
    }
    case DISCONNECT:
        transport_disconnect(t, peer);
        break;
    case STREAM_BEGIN:
        stream.to_send = c.n;
        stream.sent = stream.received = 0;
        break;
    case STREAMED:
        streamed(&c);
        break;
    case REPLY:
        answer = c;
        answers++;
        wrong += c.is_right == 0;
        break;
    default:
        fail("a command");
    }
}

static void message_take(const struct transport_received *r)
{
    struct command c;
    check(r->from == peer && r->head_length == sizeof c, "a message");
    memcpy(&c, r->head, sizeof c);
    if (r->length != 0)
        check(r->length == c.length && memcmp(r->bytes, pattern + c.at, r->length) == 0,
              "bytes as they were sent");
    command_do(c);
}

/* ---- the loop ---- */

static bool stream_send(void)
{
    bool any = false;
    for (uint32_t i = 0; i < BURST && stream.sent < stream.to_send; i++) {
        struct command c = {.what = STREAMED, .n = stream.sent};
        shape(stream.sent, &c.at, &c.length);
        if (!send_command(&c))
            break;
        stream.sent++;
        any = true;
    }
    return any;
}

static bool replies_send(void)
{
    bool any = false;
    while (replies_head != replies_tail && send_command(&replies[replies_head % REPLIES])) {
        replies_head++;
        any = true;
    }
    return any;
}

/* Asleep until something comes; the longest sleep ends as a hang. */
static void doze(void)
{
    if (!transport_sleep(t))
        return;
    uint64_t deadline = transport_deadline(t), now = clock_boottime_ns();
    uint64_t ns = deadline <= now ? 0 : min_u64(deadline - now, HANGS_NS);
    struct pollfd fd = {.fd = transport_wake_fd(t), .events = POLLIN};
    int ready = poll(&fd, 1, (int)(ns / NS_PER_MS) + 1);
    check(ready == 1 || ns != HANGS_NS || self != HERE, "a wake");
    transport_awake(t);
}

/* False: nothing was there to do. */
bool pass(void)
{
    uint32_t got = transport_receive(t, in, BURST);
    for (uint32_t i = 0; i < got; i++)
        message_take(&in[i]);
    transport_release(t);
    while (transport_disconnected(t) != TRANSPORT_NOBODY)
        named++;
    bool any = stream_send();
    any = replies_send() || any || got != 0;
    for (uint32_t back = BURST; back == BURST;) {
        back = transport_complete(t, holds, BURST);
        for (uint32_t i = 0; i < back; i++)
            given_back += holds[i] != UINT64_MAX;
        any = any || back != 0;
    }
    return any;
}

void await(bool (*is_so)(void), const char *what)
{
    uint64_t begun = clock_boottime_ns();
    while (!is_so()) {
        if (!pass() && !is_so())
            doze();
        if (clock_boottime_ns() - begun > HANGS_NS)
            fail(what);
    }
}

_Noreturn void serve(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
        if (!pass())
            doze();
}

/* ---- node 2, from here ---- */

static pid_t child;

void peer_start(void)
{
    char words[4][24];
    (void)snprintf(words[0], sizeof words[0], "%u", mode.authentic);
    (void)snprintf(words[1], sizeof words[1], "%u", mode.messages);
    (void)snprintf(words[2], sizeof words[2], "%u", mode.sends);
    (void)snprintf(words[3], sizeof words[3], "%llu", (unsigned long long)clock_boottime_ns());
    child = fork();
    check(child >= 0, "fork");
    if (child != 0)
        return;
    (void)execl(program, program, "--serve", addresses[0], addresses[1], words[0], words[1],
                words[2], words[3], (char *)NULL);
    _exit(2);
}

void peer_kill(void)
{
    check(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child, "node 2 is killed");
}

bool is_up(void)
{
    return transport_framed_is_up(t, peer, NULL, NULL);
}

static uint64_t greeting = UINT64_C(1) << 32;

static bool is_greeted(void)
{
    return answer.what == REPLY && answer.n == greeting;
}

/* Until the peer answers.  Why again and again: what it gets before it is up itself is lost. */
void greet(void)
{
    await(is_up, "the pair comes up");
    while (!is_greeted()) {
        struct command c = {.what = ECHO, .n = ++greeting};
        (void)!send_command(&c);
        for (uint32_t i = 0; i < 20 && !is_greeted(); i++)
            if (!pass())
                (void)poll(NULL, 0, 1);
    }
}

void both_open(void)
{
    mode.start = clock_boottime_ns();
    wrong = given_back = named = 0;
    peer_start();
    node_open();
    greet();
    answers = 0;
}

void both_close(void)
{
    node_close();
    peer_kill();
}

bool is_answered(void)
{
    return answers >= answers_wanted;
}

void ask(const struct command *c)
{
    answers_wanted = answers + 1;
    while (!send_command(c))
        (void)pass();
    await(is_answered, "an answer");
}
