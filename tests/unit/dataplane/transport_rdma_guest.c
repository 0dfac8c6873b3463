/* transport_rdma_guest ADDRESS ADDRESS [SCENE...] - the rdma transport over a real device: node 1 here, and node 2 in a
 * process of its own, which is killed and comes back.  Both know the same bytes; whatever comes is compared with them.
 *
 * Both sleep whenever transport_sleep lets them, and are never asked whether they are there (silence): a wake that is
 * forgotten shows as a hang.  Run by tests/vm/transport_rdma.test.sh; exit 0, 1 with a word to stdout, 2. */
#include "engine/clock.h"
#include "tests/unit/dataplane/transport_rdma_nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PINGS 400u
#define STREAM 50000u /* each way */
#define STREAM_SMALL 4000u
#define WRITES 1500u
#define WINDOW 16u

/* ---- scenes ---- */

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

static struct grant_token token_of(uint32_t at, uint32_t length)
{
    do
        ask(&(struct command){.what = TOKEN, .at = at, .length = length});
    while (answer.is_right == 0);
    wrong = 0;
    return answer.token;
}

static struct grant_token token_get(void)
{
    return token_of(0, (uint32_t)CHUNK);
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

/* ---- windows ---- */

#define SEGMENT 65536u
#define ROUNDS (2 * RDMA_PORT_WINDOWS + 100)

/* Of the pattern from at on, to the same place, under a token that is for begin. */
static int write_to(const struct grant_token *token, uint32_t begin, uint32_t at, uint32_t length)
{
    const struct transport_log_write w = {
        .to = peer,
        .token = {.address = token->address + at - begin, .key = token->key},
        .bytes = pattern + at,
        .length = length};
    return transport_log_write(t, &w);
}

static bool lands(const struct grant_token *token, uint32_t begin, uint32_t at, uint32_t length)
{
    struct command c = {.what = ANNOUNCE, .at = at, .length = length};
    const struct grant_range range = {.bytes = pattern + at, .length = length};
    check(write_to(token, begin, at, length) == 0, "a write is taken");
    check(transport_prove(t, peer, &range, &c.proof), "a proof");
    ask(&c);
    return answer.is_right != 0;
}

/* It costs the connection, and nothing of it is there. */
static void refused(const struct grant_token *token, uint32_t begin, uint32_t at)
{
    holds_wanted = given_back + 1;
    named_wanted = named + 1;
    check(write_to(token, begin, at, 1000) == 0, "a write is taken");
    await(is_over, "its connection ends");
    await(is_connected, "there is another one");
    greet();
    ask(&(struct command){.what = BLANK, .at = at, .length = 1000});
    check(answer.is_right != 0, "nothing of it is there");
}

static void revoke_all(uint32_t at)
{
    ask(&(struct command){.what = REVOKE, .at = at, .length = SEGMENT});
}

/* Why none beside the window: rxe (of Linux 6.1) holds a write under a window's key to the bounds of its region
 * alone. */
static void scene_windows(void)
{
    struct transport_rdma_counters own;
    both_open();
    transport_rdma_count(t, &own);
    check(own.windows == RDMA_PORT_WINDOWS, "the connection has windows");
    struct grant_token token = token_of(SEGMENT, SEGMENT);
    check(lands(&token, SEGMENT, SEGMENT, 1000), "a write at the window's begin lands");
    check(lands(&token, SEGMENT, 2 * SEGMENT - 1000, 1000), "and one at its end");
    revoke_all(SEGMENT);
    refused(&token, SEGMENT, SEGMENT + 3000);
    struct grant_token other = token_of(SEGMENT, SEGMENT);
    transport_disconnect(t, peer);
    named_wanted = named + 1;
    await(is_over, "a connection ends");
    await(is_connected, "there is another one");
    greet();
    token = token_of(SEGMENT, SEGMENT);
    token.key = (token.key & ~(uint64_t)UINT32_MAX) | (uint32_t)other.key;
    refused(&token, SEGMENT, SEGMENT + 5000); /* a window of the connection before */
    uint64_t begun = clock_boottime_ns();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t at = (1 + i % 8) * SEGMENT;
        token = token_of(at, SEGMENT);
        check(lands(&token, at, at + i, 500), "a write in a window that was used before lands");
        revoke_all(at);
    }
    transport_rdma_count(t, &own);
    check(own.connections_taken == 4, "over one connection");
    printf("ok    a write lands in its window, and is refused after it was revoked; "
           "%u windows bound "
           "and revoked, %llu ns each\n",
           ROUNDS, (unsigned long long)((clock_boottime_ns() - begun) / ROUNDS));
    both_close();
}

static const struct {
    const char *name;
    void (*run)(void);
} scenes[] = {
    {"echo", scene_echo},           {"stream", scene_stream},   {"credit", scene_credit},
    {"encrypted", scene_encrypted}, {"writes", scene_writes},   {"disconnect", scene_disconnect},
    {"kill", scene_kill},           {"windows", scene_windows},
};

static uint32_t number(const char *text)
{
    return (uint32_t)strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
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
