/* Three nodes as threads of this process talk over the loopback interface, as fast as they can and then
 * not at all: torture_transport_udp [SECONDS].  One of them starts anew again and again, and a stranger
 * sends to all of them what looks like frames.  At last two take turns, each asleep until the other has
 * sent, so that looking at the socket and falling asleep meet.
 *
 * Each has an arena of slots.  A slot is filled, sent as the bytes of a datagram, and filled with
 * something else the moment its hold comes back.  What must hold: what arrives is what was sent, and
 * arrives once; every hold comes back once; who sleeps is woken by what arrives; the pair comes up with
 * every start.  Datagrams may be lost: by the kernel, and by those who start anew.  Exit 0: no violation,
 * and everything that is counted happened. */
#include "dataplane/transport_udp.h"
#include "engine/hash.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define NODES 3u
#define SLOTS 24u
#define SLOT_BYTES 12000u
#define BURST 8u
#define NUMBERS (1u << 16) /* datagrams told apart, behind the newest */
#define NAP_MS 1
#define LOST_MS 20000 /* a wake that takes longer never comes */

/* What a datagram says of itself, at the start of its head. */
struct label {
    uint64_t number; /* between these two, from 1 on */
    uint64_t sum;    /* of the rest of the head, and of the bytes */
    uint32_t head_length, length;
    uint32_t from, to;
};

struct peer {
    alignas(CACHE_LINE) uint64_t random;
    pthread_t thread;
    struct transport *t;
    struct transport_framed_config config;
    struct transport_udp_socket socket;
    int epoll;
    uint32_t index;
    uint64_t sent[NODES], received[NODES], newest[NODES];
    uint64_t seen[NODES][NUMBERS / 64];
    bool busy[SLOTS];
    uint32_t out;
    uint64_t quiet; /* rounds without sending still to come */
    uint64_t taken, refused, completed, sleeps, wakes, starts, violations;
    struct transport_framed_counters counters; /* of all starts */
    uint64_t kernel_dropped;
    alignas(8) uint8_t arena[SLOTS][SLOT_BYTES];
    uint8_t heads[BURST][TRANSPORT_HEAD_MAX];
};

static const struct transport_framed_secret secret = {.key_id = 1, .bytes = {1, 2, 3}};
static struct peer peers[NODES];
static struct sockaddr_storage addresses[NODES];
static _Atomic bool stop, finished;

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static uint32_t below(struct peer *p, uint32_t bound)
{
    return (uint32_t)((random_next(&p->random) >> 32) * bound >> 32);
}

static void violation(struct peer *p, const char *what, uint64_t number)
{
    if (p->violations++ < 5)
        (void)fprintf(stderr, "torture_transport_udp: node %u: %s (%llu)\n", p->index, what,
                      (unsigned long long)number);
}

/* ---- sending ---- */

static uint64_t sum_of(const struct label *l, const uint8_t *head, const uint8_t *bytes)
{
    uint64_t sum = hash_key(head + sizeof *l, l->head_length - sizeof *l);
    return l->length != 0 ? sum ^ hash_key(bytes, l->length) : sum;
}

static void slot_fill(struct peer *p, struct transport_datagram *d)
{
    uint32_t slot = below(p, SLOTS);
    for (uint32_t i = 0; i < SLOTS && p->busy[slot]; i++)
        slot = (slot + 1) % SLOTS;
    if (p->busy[slot])
        return;
    p->busy[slot] = true; /* until it is known whether it was taken */
    d->length = 1 + below(p, below(p, 8) == 0 ? SLOT_BYTES : 300);
    memset(p->arena[slot], (int)below(p, 256), d->length);
    memcpy(p->arena[slot], &p->random, min_u64(sizeof p->random, d->length));
    d->bytes = p->arena[slot];
    d->hold = slot;
}

static void datagram_make(struct peer *p, struct transport_datagram *d, uint8_t *head,
                          uint64_t *numbers)
{
    uint32_t to = (p->index + 1 + below(p, NODES - 1)) % NODES;
    struct label l = {.number = ++numbers[to], .from = p->index, .to = to};
    uint32_t more = below(p, below(p, 16) == 0 ? TRANSPORT_HEAD_MAX - sizeof l : 160);
    memset(head + sizeof l, (int)below(p, 256), more);
    *d = (struct transport_datagram){
        .to = to + 1, .head = head, .head_length = (uint32_t)sizeof l + more};
    if (below(p, 4) != 0)
        slot_fill(p, d);
    l.head_length = d->head_length;
    l.length = d->length;
    l.sum = sum_of(&l, head, d->bytes);
    memcpy(head, &l, sizeof l);
}

static void burst(struct peer *p)
{
    struct transport_datagram d[BURST];
    uint64_t numbers[NODES];
    uint32_t count = 1 + below(p, BURST);
    memcpy(numbers, p->sent, sizeof numbers);
    for (uint32_t i = 0; i < count; i++)
        datagram_make(p, &d[i], p->heads[i], numbers);
    uint32_t taken = transport_send(p->t, d, count);
    p->refused += taken != count;
    for (uint32_t i = 0; i < count; i++) {
        if (i < taken)
            p->sent[d[i].to - 1]++;
        if (d[i].bytes == NULL)
            continue;
        p->busy[d[i].hold] = i < taken;
        p->out += i < taken;
        p->taken += i < taken;
    }
}

static uint32_t complete(struct peer *p)
{
    uint64_t holds[16];
    uint32_t got = transport_complete(p->t, holds, 1 + below(p, 16));
    for (uint32_t i = 0; i < got; i++) {
        if (holds[i] >= SLOTS || !p->busy[holds[i]]) {
            violation(p, "a hold that was not out", holds[i]);
            continue;
        }
        memset(p->arena[holds[i]], 0xdd, SLOT_BYTES);
        p->busy[holds[i]] = false;
        p->out--;
        p->completed++;
    }
    return got;
}

/* ---- receiving ---- */

/* Whether that datagram comes for the first time. */
static bool is_first(struct peer *p, uint32_t from, uint64_t number)
{
    uint64_t *newest = &p->newest[from];
    if (number + NUMBERS <= *newest)
        return true; /* too long ago to tell */
    for (; *newest < number; ++*newest)
        p->seen[from][(*newest + 1) % NUMBERS / 64] &= ~(UINT64_C(1) << ((*newest + 1) % 64));
    uint64_t *word = &p->seen[from][number % NUMBERS / 64];
    bool first = (*word >> (number % 64) & 1) == 0;
    *word |= UINT64_C(1) << (number % 64);
    return first;
}

static void judge(struct peer *p, const struct transport_received *r)
{
    struct label l = {.number = 0};
    if (r->head_length >= sizeof l)
        memcpy(&l, r->head, sizeof l);
    if (l.from >= NODES || l.from + 1 != r->from || l.to != p->index ||
        l.head_length != r->head_length || l.length != r->length || (uintptr_t)r->head % 8 != 0 ||
        sum_of(&l, r->head, r->bytes) != l.sum)
        violation(p, "something else than was sent", l.number);
    else if (!is_first(p, l.from, l.number))
        violation(p, "a datagram came twice", l.number);
    else
        p->received[l.from]++;
}

static uint32_t receive(struct peer *p)
{
    struct transport_received in[16];
    uint32_t got = transport_receive(p->t, in, 1 + below(p, 16));
    for (uint32_t i = 0; i < got; i++)
        judge(p, &in[i]);
    if (below(p, 8) != 0 || got == 0)
        transport_release(p->t);
    return got;
}

/* ---- a node ---- */

/* The socket, at the same port as before. */
static void peer_bind(struct peer *p)
{
    int error;
    p->config.start++;
    while ((error = transport_udp_open(&p->t, &p->config, &p->socket)) == -EADDRINUSE)
        (void)usleep(1000); /* somebody else got the port for a moment */
    ASSERT(error == 0);
}

static void peer_introduce(struct peer *p)
{
    for (uint32_t i = 0; i < NODES; i++)
        ASSERT(i == p->index || transport_framed_add(p->t, i + 1, &addresses[i]) == 0);
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    ASSERT(p->epoll >= 0 &&
           epoll_ctl(p->epoll, EPOLL_CTL_ADD, transport_wake_fd(p->t), &event) == 0);
    p->starts++;
}

static void peer_close(struct peer *p)
{
    struct transport_framed_counters c;
    struct transport_udp_counters udp;
    uint64_t *sums = (uint64_t *)&p->counters;
    while (p->out != 0)
        (void)complete(p);
    transport_release(p->t);
    transport_framed_count(p->t, &c);
    for (uint32_t i = 0; i < sizeof c / sizeof sums[0]; i++)
        sums[i] += ((const uint64_t *)&c)[i];
    transport_udp_count(p->t, &udp);
    p->kernel_dropped += udp.kernel_dropped;
    transport_udp_close(p->t);
    (void)close(p->epoll);
}

static bool wait_for_wake(struct peer *p, int ms)
{
    struct epoll_event event;
    return epoll_wait(p->epoll, &event, 1, ms) == 1;
}

static void nap(struct peer *p)
{
    if (!transport_sleep(p->t))
        return;
    p->sleeps++;
    p->wakes += wait_for_wake(p, NAP_MS);
    transport_awake(p->t);
}

static bool pair_is_up(const struct peer *p)
{
    bool up = true;
    for (uint32_t i = 0; i < NODES; i++)
        up = up && (i == p->index || transport_framed_is_up(p->t, i + 1, NULL, NULL));
    return up;
}

static void *peer_main(void *argument)
{
    struct peer *p = argument;
    uint64_t rounds_up = 0;
    while (!atomic_load_explicit(&stop, memory_order_acquire)) {
        if (p->quiet != 0)
            p->quiet--;
        else
            burst(p);
        if (below(p, 200) == 0)
            p->quiet = below(p, 100);
        if (receive(p) + complete(p) == 0 && p->quiet != 0)
            nap(p);
        rounds_up += pair_is_up(p);
        if (p->index == 0 && rounds_up > 500) {
            rounds_up = 0;
            peer_close(p);
            peer_bind(p);
            peer_introduce(p);
        }
    }
    return NULL;
}

/* What comes from nowhere: headers with something right in them, and something wrong. */
static void *stranger_main(void *argument)
{
    uint64_t random = 99;
    uint8_t frame[FRAME_HEADER_BYTES + 256];
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ASSERT(fd >= 0 && argument == NULL);
    while (!atomic_load_explicit(&stop, memory_order_acquire)) {
        uint64_t r = random_next(&random);
        const struct frame_header h = {
            .version = 1,
            .flags = (uint8_t)(r & FRAME_FLAGS),
            .key_id = 1,
            .head_length = 8,
            .piece = 64,
            .index = (uint16_t)(r >> 2 & 1),
            .node = 1 + (uint32_t)(r >> 4 & 3),
            .length = (uint32_t)(r >> 8 & 127),
            .start = 1 + (r >> 16 & 1023),
            .nonce = r >> 32 & 4095,
        };
        frame_header_encode(&h, frame);
        const struct sockaddr_storage *to = &addresses[r % NODES];
        (void)sendto(fd, frame, r >> 40 & 255, 0, (const struct sockaddr *)to,
                     sizeof(struct sockaddr_in));
        (void)usleep(100);
    }
    (void)close(fd);
    return NULL;
}

/* ---- taking turns ---- */

static bool turn_wait(struct peer *p)
{
    /* Why not at once: so that the sleep begins when the datagram comes. */
    uint32_t patience = below(p, 50);
    while (receive(p) == 0) {
        (void)complete(p);
        if (patience != 0 || !transport_sleep(p->t)) {
            patience -= patience != 0;
            continue;
        }
        p->sleeps++;
        if (!wait_for_wake(p, LOST_MS)) {
            violation(p, "a wake was lost", p->sleeps);
            return false;
        }
        p->wakes++;
        transport_awake(p->t);
    }
    transport_release(p->t);
    return true;
}

static bool turn_send(struct peer *p)
{
    struct label l = {.number = ++p->sent[1 - p->index], .from = p->index, .to = 1 - p->index};
    l.head_length = sizeof l;
    l.sum = sum_of(&l, (const uint8_t *)&l, NULL);
    struct transport_datagram d = {
        .to = 2 - p->index, .head = (const uint8_t *)&l, .head_length = sizeof l};
    return transport_send(p->t, &d, 1) == 1;
}

/* Node 0 begins and, when time is up, is the one who ends: its last datagram is answered. */
static void *turns_main(void *argument)
{
    struct peer *p = argument;
    bool sound = true;
    while (sound && !(p->index == 0 && atomic_load_explicit(&stop, memory_order_acquire)) &&
           !atomic_load_explicit(&finished, memory_order_acquire)) {
        if (p->index == 0)
            sound = turn_send(p) && turn_wait(p);
        else
            sound = turn_wait(p) && turn_send(p);
        (void)complete(p); /* or it would wait for the next receive */
    }
    if (p->index == 0) {
        atomic_store_explicit(&finished, true, memory_order_release);
        sound = turn_send(p) && sound;
        (void)complete(p);
    }
    if (!sound)
        violation(p, "the turn was not passed on", p->sent[1 - p->index]);
    return NULL;
}

/* ---- both ---- */

static void node_init(struct peer *p, uint32_t index)
{
    memset(p, 0, sizeof *p);
    p->random = 88172645463325252u + index;
    p->index = index;
    p->config = (struct transport_framed_config){
        .node = index + 1, .start = 1, .secrets = &secret, .secret_count = 1};
    /* All of them understand each other. */
    p->config.authentic_only = index == 1;
    p->socket.plain = index == 2;
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(&p->config.address, &v4, sizeof v4);
    peer_bind(p);
    v4.sin_port = htons(transport_udp_port(p->t));
    memcpy(&p->config.address, &v4, sizeof v4);
    addresses[index] = p->config.address;
}

/* All are up with each other before anybody's thread starts. */
static void nodes_open(void)
{
    bool up = false;
    for (uint32_t i = 0; i < NODES; i++)
        node_init(&peers[i], i);
    for (uint32_t i = 0; i < NODES; i++)
        peer_introduce(&peers[i]);
    while (!up) {
        up = true;
        for (uint32_t i = 0; i < NODES; i++) {
            (void)receive(&peers[i]);
            up = up && pair_is_up(&peers[i]);
        }
    }
    atomic_store_explicit(&stop, false, memory_order_relaxed); /* threads start behind it */
    atomic_store_explicit(&finished, false, memory_order_relaxed);
}

static void nodes_run(uint32_t count, void *(*main_of_node)(void *), double seconds)
{
    for (uint32_t i = 0; i < count; i++)
        ASSERT(pthread_create(&peers[i].thread, NULL, main_of_node, &peers[i]) == 0);
    (void)usleep((unsigned)(seconds * 1e6));
    atomic_store_explicit(&stop, true, memory_order_release);
    for (uint32_t i = 0; i < count; i++)
        ASSERT(pthread_join(peers[i].thread, NULL) == 0);
    for (uint32_t i = 0; i < NODES; i++)
        peer_close(&peers[i]);
}

static bool peer_report(const struct peer *p)
{
    uint64_t received = 0;
    const struct transport_framed_counters *c = &p->counters;
    uint64_t fragments = c->fragments_timed_out + c->fragments_evicted;
    bool sound = p->violations == 0 && p->completed == p->taken;
    for (uint32_t from = 0; from < NODES; from++) {
        received += p->received[from];
        sound = sound && p->received[from] <= peers[from].sent[p->index];
    }
    printf("node %u: received %llu taken %llu refused %llu completed %llu sleeps %llu wakes %llu "
           "starts %llu violations %llu\n",
           p->index, (unsigned long long)received, (unsigned long long)p->taken,
           (unsigned long long)p->refused, (unsigned long long)p->completed,
           (unsigned long long)p->sleeps, (unsigned long long)p->wakes,
           (unsigned long long)p->starts, (unsigned long long)p->violations);
    printf("  pairs up %llu, lost: not up %llu kernel %llu fragments %llu; frames %llu in %llu "
           "calls\n",
           (unsigned long long)c->pairs_up, (unsigned long long)c->not_up,
           (unsigned long long)p->kernel_dropped, (unsigned long long)fragments,
           (unsigned long long)c->frames_sent, (unsigned long long)c->calls_sent);
    for (uint32_t i = 1; i < FRAME_REFUSALS; i++)
        if (c->refused[i] != 0)
            printf("  %s: %llu\n", frame_refusal_name(i), (unsigned long long)c->refused[i]);
    bool strange = c->refused[FRAME_TOO_SHORT] != 0 && c->refused[FRAME_WRONG_TAG] != 0 &&
                   c->refused[FRAME_UNKNOWN_PEER] != 0;
    return sound && received != 0 && p->taken != 0 && p->sleeps != 0 && strange &&
           c->seal_failures == 0 && c->refused[FRAME_MALFORMED] == 0;
}

static int run_all(double seconds)
{
    pthread_t stranger;
    nodes_open();
    ASSERT(pthread_create(&stranger, NULL, stranger_main, NULL) == 0);
    nodes_run(NODES, peer_main, seconds);
    ASSERT(pthread_join(stranger, NULL) == 0);
    bool sound = true;
    for (uint32_t i = 0; i < NODES; i++)
        sound = peer_report(&peers[i]) && sound;
    sound = sound && peers[0].starts > 1 && peers[1].counters.pairs_up > 2;
    if (!sound)
        (void)fprintf(stderr, "torture_transport_udp: something went wrong, or never happened\n");
    return sound ? 0 : 1;
}

static int run_turns(double seconds)
{
    nodes_open();
    nodes_run(2, turns_main, seconds);
    uint64_t sleeps = peers[0].sleeps + peers[1].sleeps;
    uint64_t wakes = peers[0].wakes + peers[1].wakes;
    printf("turns: %llu, sleeps %llu wakes %llu\n", (unsigned long long)peers[0].sent[1],
           (unsigned long long)sleeps, (unsigned long long)wakes);
    return peers[0].violations + peers[1].violations == 0 && peers[1].received[0] > 1000 &&
                   peers[0].wakes != 0 && peers[1].wakes != 0
               ? 0
               : 1;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 5;
    int status = run_all(seconds * 2 / 3);
    return status | run_turns(seconds / 3);
}
