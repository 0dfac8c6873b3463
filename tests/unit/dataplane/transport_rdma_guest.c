/* transport_rdma_guest ADDRESS ADDRESS [SCENE...] - the rdma transport over a real device: node 1 here, and node 2 in a
 * process of its own, which is killed and comes back.  Both know the same bytes; whatever comes is compared with them.
 *
 * Both sleep whenever transport_sleep lets them, and are never asked whether they are there (silence): a wake that is
 * forgotten shows as a hang.  Run by tests/vm/transport_rdma.test.sh; exit 0, 1 with a word to stdout, 2. */
#include "dataplane/transport_rdma.h"
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
#define HERE 1u /* nodes */
#define THERE 2u
#define CHUNK (UINT64_C(2) << 20)
#define HANGS_NS (100 * NS_PER_S) /* so long nothing takes; it decides nothing else */
#define BURST 64u
#define REPLIES 8192u
#define PINGS 400u
#define STREAM 50000u /* each way */
#define STREAM_SMALL 4000u
#define WRITES 1500u
#define WINDOW 16u

enum what { ECHO, TOKEN, ANNOUNCE, DISCONNECT, STREAM_BEGIN, STREAMED, REPLY };

struct command {
    uint32_t what, is_right;
    uint64_t n;
    uint32_t at, length;
    struct grant_token token;
    struct grant_proof proof;
};

/* How both are opened: arguments of the process of node 2. */
static struct {
    uint32_t authentic, messages, sends;
    uint64_t start;
} mode = {.authentic = 1};

static const char *addresses[2], *program;
static struct rdma_port *port;
static struct transport *t;
static uint8_t *pattern, *target; /* chunks of log memory */
static uint32_t self, peer;
static struct transport_received in[BURST];
static uint64_t holds[BURST];
static uint64_t given_back, named;
static struct command replies[REPLIES]; /* that could not be sent at once */
static uint32_t replies_head, replies_tail;
static struct {
    uint64_t to_send, sent, received;
} stream;
static struct command answer = {.n = UINT64_MAX}; /* the last one, and how many came */
static uint64_t answers, wrong;

static void fail(const char *what)
{
    printf("FAIL  node %u: %s\n", self, what);
    (void)fflush(stdout);
    exit(1);
}

static void check(bool is, const char *what)
{
    if (!is)
        fail(what);
}

static uint32_t random_below(uint32_t bound)
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

static void memory_open(void)
{
    uint8_t *memory =
        mmap(NULL, 3 * CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED, "mmap");
    pattern = (uint8_t *)align_up((uintptr_t)memory, CHUNK);
    target = pattern + CHUNK;
    for (uint64_t i = 0; i < CHUNK; i++)
        pattern[i] = (uint8_t)(i * 37 + i / 256 + i / 65536 + 11);
}

static void node_open(void)
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

static bool send_command(const struct command *c)
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

static void command_do(struct command c)
{
    switch (c.what) {
    case ECHO:
        reply(c);
        break;
    case TOKEN:
        c.length = 0;
        c.is_right = transport_token(t, peer, target, CHUNK, &c.token);
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
static bool pass(void)
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

static void await(bool (*is_so)(void), const char *what)
{
    uint64_t begun = clock_boottime_ns();
    while (!is_so()) {
        if (!pass() && !is_so())
            doze();
        if (clock_boottime_ns() - begun > HANGS_NS)
            fail(what);
    }
}

static void serve(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
        if (!pass())
            doze();
}

/* ---- node 2, from here ---- */

static pid_t child;

static void peer_start(void)
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

static void peer_kill(void)
{
    check(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child, "node 2 is killed");
}

static bool is_up(void)
{
    return transport_framed_is_up(t, peer, NULL, NULL);
}

static uint64_t greeting = UINT64_C(1) << 32;

static bool is_greeted(void)
{
    return answer.what == REPLY && answer.n == greeting;
}

/* Until the peer answers.  Why again and again: what it gets before it is up itself is lost. */
static void greet(void)
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

static void both_open(void)
{
    mode.start = clock_boottime_ns();
    wrong = given_back = named = 0;
    peer_start();
    node_open();
    greet();
    answers = 0;
}

static void both_close(void)
{
    node_close();
    peer_kill();
}

/* ---- scenes ---- */

static uint64_t answers_wanted;

static bool is_answered(void)
{
    return answers >= answers_wanted;
}

static void ask(const struct command *c)
{
    answers_wanted = answers + 1;
    while (!send_command(c))
        (void)pass();
    await(is_answered, "an answer");
}

/* Every shape there and back. */
static void echoes(void)
{
    static const uint32_t lengths[] = {0,    1,    8,    200,   300,   304,   305,  2000,
                                       4096, 8760, 8880, 17000, 32768, 65529, 65536};
    for (uint32_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        ask(&(struct command){.what = ECHO, .n = i, .at = i * 3, .length = lengths[i]});
        check(answer.n == i && answer.length == lengths[i], "an echo");
    }
}

static void scene_echo(void)
{
    both_open();
    echoes();
    uint64_t begun = clock_boottime_ns();
    for (uint32_t i = 0; i < PINGS; i++)
        ask(&(struct command){.what = ECHO});
    printf("ok    echoes; %llu ns there and back, both asleep between\n",
           (unsigned long long)((clock_boottime_ns() - begun) / PINGS));
    both_close();
}

static bool is_streamed(void)
{
    return stream.received == stream.to_send && stream.sent == stream.to_send;
}

static void stream_run(uint32_t count)
{
    struct transport_framed_counters counters;
    struct transport_rdma_counters own;
    struct command c = {.what = STREAM_BEGIN, .n = count};
    stream.to_send = stream.sent = stream.received = 0;
    check(send_command(&c), "the stream begins");
    stream.to_send = count;
    uint64_t begun = clock_boottime_ns();
    await(is_streamed, "a stream arrives");
    transport_framed_count(t, &counters);
    transport_rdma_count(t, &own);
    printf("ok    %u datagrams each way, %llu ns each; %llu frames, %llu posts, %llu waits for "
           "credit\n",
           count, (unsigned long long)((clock_boottime_ns() - begun) / (2 * (uint64_t)count)),
           (unsigned long long)counters.frames_sent, (unsigned long long)counters.calls_sent,
           (unsigned long long)own.no_credit);
    check(own.connections_taken == 1 && own.connections_retired == 0, "one connection");
    check(counters.refused[FRAME_WRONG_TAG] == 0 && counters.refused[FRAME_REPLAYED] == 0,
          "no frame is refused");
}

static void scene_stream(void)
{
    both_open();
    stream_run(STREAM);
    both_close();
}

/* With few places, so that each end waits for the other's credit most of the time. */
static void scene_credit(void)
{
    mode.messages = 8;
    mode.sends = 32;
    both_open();
    stream_run(STREAM_SMALL);
    both_close();
    mode.messages = mode.sends = 0;
}

static void scene_encrypted(void)
{
    mode.authentic = 0;
    both_open();
    check(!transport_can_log_write(t), "no log writes");
    echoes();
    stream_run(STREAM_SMALL);
    both_close();
    mode.authentic = 1;
}

static struct grant_token token_get(void)
{
    do
        ask(&(struct command){.what = TOKEN});
    while (answer.is_right == 0);
    wrong = 0;
    return answer.token;
}

/* A write, and where announced is set what announces it. */
static int write_one(const struct grant_token *token, bool announced, uint32_t length)
{
    uint32_t at = random_below((uint32_t)CHUNK - FRAME_LENGTH_MAX);
    const struct transport_log_write w = {
        .to = peer,
        .token = {.address = token->address + at, .key = token->key},
        .bytes = pattern + at,
        .length = length};
    int error = transport_log_write(t, &w);
    if (error != 0 || !announced)
        return error;
    struct command c = {.what = ANNOUNCE, .at = at, .length = length};
    const struct grant_range range = {.bytes = w.bytes, .length = length};
    check(transport_prove(t, peer, &range, &c.proof), "a proof");
    while (!send_command(&c))
        (void)pass();
    return 0;
}

static void scene_writes(void)
{
    both_open();
    const struct grant_token token = token_get();
    uint64_t first = answers, begun = clock_boottime_ns();
    for (uint32_t i = 0; i < WRITES; i++) {
        while (write_one(&token, true, 1 + random_below(i % 4 == 0 ? 32768 : 500)) != 0)
            (void)pass();
        answers_wanted = first + i + 1 - min_u64(i + 1, WINDOW);
        await(is_answered, "an announced range is proven");
    }
    answers_wanted = first + WRITES;
    await(is_answered, "all are");
    check(wrong == 0, "each range is as it was written");
    check(given_back == WRITES, "each hold is back");
    printf("ok    %u log writes, announced, proven and answered, %llu ns each\n", WRITES,
           (unsigned long long)((clock_boottime_ns() - begun) / WRITES));
    both_close();
}

static uint64_t holds_wanted, named_wanted;

static bool is_over(void)
{
    return given_back == holds_wanted && named == named_wanted;
}

static uint32_t writes_under_way(const struct grant_token *token)
{
    uint32_t taken = 0, wanted = 20 + random_below(60);
    for (uint32_t i = 0; i < wanted; i++)
        taken += write_one(token, false, 20000) == 0;
    return taken;
}

static bool is_connected(void)
{
    struct grant_token none;
    return is_up() && transport_token(t, peer, target, CHUNK, &none);
}

/* What was under way comes back, who was connected is named once, and what was granted before is void. */
static void over_and_again(const struct grant_token *before, uint32_t taken)
{
    holds_wanted += taken;
    named_wanted++;
    await(is_over, "holds come back, and the connection is named");
    await(is_connected, "there is another one");
    check(write_one(before, false, 100) == -EAGAIN, "a token of before is refused");
}

static void scene_disconnect(void)
{
    both_open();
    holds_wanted = named_wanted = 0;
    uint64_t begun = clock_boottime_ns();
    for (uint32_t round = 0; round < 12; round++) {
        const struct grant_token token = token_get();
        uint32_t taken = writes_under_way(&token);
        if (round % 2 == 0)
            transport_disconnect(t, peer);
        else
            check(send_command(&(struct command){.what = DISCONNECT}), "node 2 disconnects");
        taken += writes_under_way(&token);
        over_and_again(&token, taken);
    }
    printf("ok    12 times disconnected under load, %llu ms each\n",
           (unsigned long long)((clock_boottime_ns() - begun) / 12 / NS_PER_MS));
    echoes();
    both_close();
}

static void scene_kill(void)
{
    both_open();
    holds_wanted = named_wanted = 0;
    for (uint32_t round = 0; round < 3; round++) {
        const struct grant_token token = token_get();
        uint32_t taken = writes_under_way(&token);
        peer_kill();
        taken += writes_under_way(&token);
        uint64_t begun = clock_boottime_ns();
        holds_wanted += taken;
        named_wanted++;
        await(is_over, "holds of a killed peer come back, and it is named");
        uint64_t known = clock_boottime_ns();
        peer_start();
        await(is_connected, "it is back");
        check(write_one(&token, false, 100) == -EAGAIN, "a token of before is refused");
        printf("ok    killed with %u writes under way: over after %llu ms, back after %llu ms\n",
               taken, (unsigned long long)((known - begun) / NS_PER_MS),
               (unsigned long long)((clock_boottime_ns() - known) / NS_PER_MS));
        greet();
    }
    echoes();
    both_close();
}

static const struct {
    const char *name;
    void (*run)(void);
} scenes[] = {
    {"echo", scene_echo},           {"stream", scene_stream}, {"credit", scene_credit},
    {"encrypted", scene_encrypted}, {"writes", scene_writes}, {"disconnect", scene_disconnect},
    {"kill", scene_kill},
};

static uint32_t number(const char *text)
{
    return (uint32_t)strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
    program = "/proc/self/exe";
    setvbuf(stdout, NULL, _IOLBF, 0);
    bool serves = argc == 8 && strcmp(argv[1], "--serve") == 0;
    if (!serves && argc < 3) {
        fprintf(stderr, "usage: transport_rdma_guest ADDRESS ADDRESS [SCENE...]\n");
        return 2;
    }
    addresses[0] = argv[serves ? 2 : 1];
    addresses[1] = argv[serves ? 3 : 2];
    self = serves ? THERE : HERE;
    peer = serves ? HERE : THERE;
    memory_open();
    if (serves) {
        mode.authentic = number(argv[4]);
        mode.messages = number(argv[5]);
        mode.sends = number(argv[6]);
        mode.start = strtoull(argv[7], NULL, 10);
        node_open();
        serve();
    }
    for (uint32_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++) {
        bool wanted = argc == 3;
        for (int j = 3; j < argc; j++)
            wanted = wanted || strcmp(argv[j], scenes[i].name) == 0;
        if (wanted)
            scenes[i].run();
    }
    return 0;
}
