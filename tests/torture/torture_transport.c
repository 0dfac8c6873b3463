/* Three nodes as threads of this process talk over one hub, as fast as they can and then not at all:
 * torture_transport [SECONDS].  Plain first, with delays afterwards; at last two of them take turns,
 * each asleep until the other has sent, so that looking at the flag and setting it meet.
 *
 * Each has an arena of slots.  A slot is filled, sent as the bytes of a datagram or a log write, and
 * filled with something else the moment its hold comes back, never before.  What must hold: all that
 * was taken arrives, once, in the order of its sender, with the bytes of that message; every hold
 * comes back once; who sleeps is woken by what arrives; who left holds nothing.  Exit 0: no
 * violation, and everything that is counted happened. */
#include "dataplane/transport_mem.h"
#include "engine/clock.h"
#include "engine/hash.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define NODES 3u
#define SLOTS 24u
#define SLOT_BYTES 2048u
#define BURST 8u
#define NAP_MS 1
#define LOST_MS 20000 /* a wake that takes longer never comes */

/* What a message says of itself, in its head or at the start of its bytes. */
struct label {
    uint64_t number; /* of this kind, between these two, from 1 on */
    uint64_t sum;    /* of what follows */
    uint32_t length;
    uint32_t from;
};

struct peer {
    alignas(CACHE_LINE) uint64_t random;
    pthread_t thread;
    struct transport *t;
    int epoll;
    uint32_t index;
    bool leaves; /* when time is up, with whatever is on its way to it */
    uint64_t sent[NODES], written[NODES], received[NODES], placed[NODES];
    bool busy[SLOTS];
    uint32_t out;   /* slots whose holds are not back */
    uint64_t quiet; /* rounds without sending still to come */
    uint64_t taken, refused, completed, sleeps, wakes, naps, violations;
    alignas(8) uint8_t arena[SLOTS][SLOT_BYTES];
    uint8_t heads[BURST][TRANSPORT_HEAD_MAX];
};

static struct peer peers[NODES];
static _Atomic bool stop;
static _Atomic uint32_t finished; /* nodes that send no more */

static uint64_t random_next(struct peer *p)
{
    p->random ^= p->random << 13;
    p->random ^= p->random >> 7;
    return p->random ^= p->random << 17;
}

static uint32_t below(struct peer *p, uint32_t bound)
{
    return (uint32_t)((random_next(p) >> 32) * bound >> 32);
}

static void violation(struct peer *p, const char *what, uint64_t number)
{
    if (p->violations++ < 5)
        (void)fprintf(stderr, "torture_transport: node %u: %s (%llu)\n", p->index, what,
                      (unsigned long long)number);
}

static bool label_is_sound(const struct label *l, const uint8_t *content, uint64_t length)
{
    return l->length == length && l->from < NODES && hash_key(content, length) == l->sum;
}

/* ---- sending ---- */

static uint32_t other(struct peer *p)
{
    return (p->index + 1 + below(p, NODES - 1)) % NODES;
}

/* A free slot, filled anew with such a label and length bytes; SLOTS: none is free. */
static uint32_t slot_fill(struct peer *p, struct label l, uint32_t length)
{
    uint32_t slot = below(p, SLOTS);
    for (uint32_t i = 0; i < SLOTS && p->busy[slot]; i++)
        slot = (slot + 1) % SLOTS;
    if (p->busy[slot])
        return SLOTS;
    uint8_t *content = p->arena[slot] + sizeof l;
    memset(content, (int)below(p, 256), length);
    l.length = length;
    l.from = p->index;
    l.sum = hash_key(content, length);
    memcpy(p->arena[slot], &l, sizeof l);
    return slot;
}

static void slot_taken(struct peer *p, uint32_t slot)
{
    p->busy[slot] = true;
    p->out++;
    p->taken++;
}

static void datagram_make(struct peer *p, struct transport_datagram *d, uint8_t *head)
{
    uint32_t to = other(p);
    struct label l = {.from = p->index};
    l.length = below(p, below(p, 16) == 0 ? TRANSPORT_HEAD_MAX - sizeof l : 160);
    memset(head + sizeof l, (int)below(p, 256), l.length);
    *d = (struct transport_datagram){
        .to = to + 1,
        .head = head,
        .head_length = (uint32_t)sizeof l + l.length,
    };
    uint32_t length = below(p, SLOT_BYTES - sizeof l);
    uint32_t slot =
        below(p, 4) != 0 ? slot_fill(p, (struct label){.number = random_next(p)}, length) : SLOTS;
    if (slot == SLOTS)
        return;
    p->busy[slot] = true; /* until it is known whether it was taken */
    d->bytes = p->arena[slot];
    d->length = (uint32_t)sizeof l + length;
    d->hold = slot;
}

/* Number the datagrams as they would arrive, if all are taken. */
static void burst_label(struct peer *p, const struct transport_datagram *d, uint32_t count)
{
    uint64_t numbers[NODES];
    memcpy(numbers, p->sent, sizeof numbers);
    for (uint32_t i = 0; i < count; i++) {
        struct label l = {.number = ++numbers[d[i].to - 1], .from = p->index};
        l.length = d[i].head_length - (uint32_t)sizeof l;
        l.sum = hash_key(d[i].head + sizeof l, l.length);
        memcpy(p->heads[i], &l, sizeof l);
    }
}

static void burst(struct peer *p)
{
    struct transport_datagram d[BURST];
    uint32_t count = 1 + below(p, BURST);
    for (uint32_t i = 0; i < count; i++)
        datagram_make(p, &d[i], p->heads[i]);
    burst_label(p, d, count);
    uint32_t taken = transport_send(p->t, d, count);
    p->refused += taken != count;
    for (uint32_t i = 0; i < count; i++) {
        if (d[i].bytes != NULL)
            p->busy[d[i].hold] = false;
        if (i >= taken)
            continue;
        p->sent[d[i].to - 1]++;
        if (d[i].bytes != NULL)
            slot_taken(p, (uint32_t)d[i].hold);
    }
}

static void log_write(struct peer *p)
{
    uint32_t to = other(p);
    uint32_t length = below(p, SLOT_BYTES - sizeof(struct label));
    uint32_t slot = slot_fill(p, (struct label){.number = p->written[to] + 1}, length);
    if (slot == SLOTS)
        return;
    struct transport_log_write w = {
        .to = to + 1,
        .token = {.address = p->written[to] + 1, .key = p->index},
        .bytes = p->arena[slot],
        .length = (uint32_t)sizeof(struct label) + length,
        .hold = slot,
    };
    int error = transport_log_write(p->t, &w);
    if (error == 0) {
        p->written[to]++;
        slot_taken(p, slot);
    } else if (error != -EAGAIN) {
        violation(p, "a log write failed", (uint64_t)-error);
    }
}

/* ---- receiving ---- */

static bool content_is_sound(const uint8_t *bytes, uint32_t length, struct label *l)
{
    if (length < sizeof *l)
        return false;
    memcpy(l, bytes, sizeof *l);
    return label_is_sound(l, bytes + sizeof *l, length - sizeof *l);
}

/* Why the address counts: in this body writes of one node come in order. */
static void placed(void *context, uint32_t from, const struct grant_token *token,
                   const uint8_t *bytes, uint32_t length)
{
    struct peer *p = context;
    struct label l;
    if (!content_is_sound(bytes, length, &l) || l.from != token->key || l.from + 1 != from)
        violation(p, "a log write with other bytes", token->address);
    else if (l.number != token->address || token->address != ++p->placed[l.from])
        violation(p, "a log write out of order", token->address);
}

static void judge(struct peer *p, const struct transport_received *r)
{
    struct label l;
    struct label inner;
    if (!content_is_sound(r->head, r->head_length, &l) || l.from + 1 != r->from)
        violation(p, "a head that nobody sent", r->from);
    else if (l.number != ++p->received[l.from])
        violation(p, "a datagram out of order", l.number);
    if (r->bytes != NULL &&
        (!content_is_sound(r->bytes, r->length, &inner) || inner.from + 1 != r->from))
        violation(p, "bytes changed before they were released", l.number);
}

/* Receive what is there.  Returns how much. */
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

/* ---- sleeping ---- */

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
    bool woken = wait_for_wake(p, NAP_MS);
    p->wakes += woken;
    p->naps += !woken;
    /* Something came, and the flag is up: its wake is on its way, or was lost. */
    if (!woken && receive(p) != 0 && !wait_for_wake(p, LOST_MS))
        violation(p, "a wake was lost", p->sleeps);
    transport_awake(p->t);
}

/* ---- a node ---- */

static void *peer_main(void *argument)
{
    struct peer *p = argument;
    while (!atomic_load_explicit(&stop, memory_order_acquire)) {
        if (p->quiet != 0)
            p->quiet--;
        else
            below(p, 4) == 0 ? log_write(p) : burst(p);
        if (below(p, 2000) == 0)
            p->quiet = below(p, 100);
        if (receive(p) + complete(p) == 0 && p->quiet != 0)
            nap(p);
    }
    transport_release(p->t);
    if (p->leaves)
        transport_mem_leave(p->t);
    /* release: all was sent for who sees all finished */
    atomic_fetch_add_explicit(&finished, 1, memory_order_release);
    bool all = false;
    for (uint32_t got = 0; !all || got != 0 || p->out != 0;) {
        all = atomic_load_explicit(&finished, memory_order_acquire) == NODES;
        got = p->leaves ? 0 : receive(p);
        got += complete(p);
        if (!p->leaves && !transport_sleep(p->t))
            got++; /* delayed */
        transport_awake(p->t);
    }
    return NULL;
}

/* ---- taking turns ---- */

static bool turn_wait(struct peer *p)
{
    /* Why not at once: so that the sleep begins when the message comes. */
    uint32_t patience = below(p, 150);
    while (receive(p) == 0) {
        (void)complete(p);
        if (patience != 0 || !transport_sleep(p->t)) {
            patience -= patience != 0;
            continue;
        }
        p->sleeps++;
        bool woken = false;
        /* Why not block at once: what matters is the moment before, and blocking makes it rare. */
        for (uint32_t i = 0; i < 20 && !woken; i++)
            woken = wait_for_wake(p, 0);
        if (!woken && !wait_for_wake(p, LOST_MS)) {
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
    struct transport_datagram d = {.to = 2 - p->index, .head = p->heads[0]};
    d.head_length = sizeof(struct label);
    burst_label(p, &d, 1);
    for (uint32_t i = below(p, 100); i != 0; i--)
        cpu_relax();
    p->sent[d.to - 1]++;
    return transport_send(p->t, &d, 1) == 1;
}

/* Node 0 begins and, when time is up, is the one who ends: its last message is answered. */
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
    }
    if (p->index == 0) {
        atomic_store_explicit(&finished, 1, memory_order_release);
        sound = turn_send(p) && sound;
    }
    if (!sound)
        violation(p, "the turn was not passed on", p->sent[1 - p->index]);
    return NULL;
}

static void peer_open(struct peer *p, struct transport_mem_hub *hub, uint32_t index)
{
    memset(p, 0, sizeof *p);
    p->random = 88172645463325252u + index;
    p->index = index;
    p->leaves = index == NODES - 1;
    p->t = transport_mem_endpoint(hub, index + 1, 0);
    p->t->place = placed;
    p->t->place_context = p;
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    ASSERT(p->epoll >= 0 &&
           epoll_ctl(p->epoll, EPOLL_CTL_ADD, transport_wake_fd(p->t), &event) == 0);
}

static bool all_arrived(void)
{
    bool all = true;
    for (uint32_t to = 0; to < NODES; to++)
        for (uint32_t from = 0; from < NODES && !peers[to].leaves; from++)
            all = all && peers[to].received[from] == peers[from].sent[to] &&
                  peers[to].placed[from] == peers[from].written[to];
    return all;
}

static int report(const char *name, uint64_t damaged)
{
    uint64_t violations = damaged;
    bool met = true;
    for (uint32_t i = 0; i < NODES; i++) {
        const struct peer *p = &peers[i];
        uint64_t received = 0;
        uint64_t written = 0;
        for (uint32_t from = 0; from < NODES; from++) {
            received += p->received[from];
            written += p->placed[from];
        }
        printf("%s node %u: received %llu placed %llu taken %llu refused %llu completed %llu "
               "sleeps %llu wakes %llu naps %llu violations %llu\n",
               name, i, (unsigned long long)received, (unsigned long long)written,
               (unsigned long long)p->taken, (unsigned long long)p->refused,
               (unsigned long long)p->completed, (unsigned long long)p->sleeps,
               (unsigned long long)p->wakes, (unsigned long long)p->naps,
               (unsigned long long)p->violations);
        violations += p->violations + (p->completed != p->taken);
        met = met && received != 0 && written != 0 && p->taken != 0 && p->refused != 0 &&
              p->sleeps != 0 && p->wakes != 0;
    }
    if (damaged != 0)
        (void)fprintf(stderr, "torture_transport: %llu messages damaged\n",
                      (unsigned long long)damaged);
    if (!met)
        (void)fprintf(stderr, "torture_transport: something never happened\n");
    if (!all_arrived())
        (void)fprintf(stderr, "torture_transport: something never arrived\n");
    return violations == 0 && met && all_arrived() ? 0 : 1;
}

static struct transport_mem_hub *nodes_open(void)
{
    static const uint32_t ids[NODES] = {1, 2, 3};
    struct transport_mem_hub *hub;
    struct transport_mem_config config = {
        .nodes = ids,
        .node_count = NODES,
        .lcore_count = 1,
        .queue_bytes = TRANSPORT_MEM_QUEUE_BYTES_MIN,
        .log_writes = true,
    };
    ASSERT(transport_mem_open(&hub, &config) == 0);
    for (uint32_t i = 0; i < NODES; i++)
        peer_open(&peers[i], hub, i);
    atomic_store_explicit(&stop, false, memory_order_relaxed);
    atomic_store_explicit(&finished, 0, memory_order_relaxed);
    return hub;
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
        (void)close(peers[i].epoll);
}

static int run(const char *name, double seconds, bool delays)
{
    struct transport_mem_hub *hub = nodes_open();
    if (delays)
        transport_mem_delay(hub, 1);
    nodes_run(NODES, peer_main, seconds);
    int status = report(name, transport_mem_damaged(hub));
    transport_mem_close(hub);
    return status;
}

static int run_turns(double seconds)
{
    struct transport_mem_hub *hub = nodes_open();
    nodes_run(2, turns_main, seconds);
    transport_mem_close(hub);
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
    int status = run("plain", seconds / 3, false);
    status |= run("delayed", seconds / 3, true);
    return status | run_turns(seconds / 3);
}
