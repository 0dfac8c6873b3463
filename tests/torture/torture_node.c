/* Real polling threads and agents as threads of the same process, over rings, without a socket:
 * torture_node [SECONDS].  Agents live and die with requests in flight, under the same sessions.
 *
 * What must hold: an acknowledged put is there at once, in place, for its own agent and, with the
 * lease, for everybody; compare-and-set increments of shared counters add up exactly, duplicates
 * included; answers come once, with their tags.  Exit 0: no violation, and everything that is
 * counted happened. */
#include "engine/hash.h"
#include "engine/read.h"
#include "tests/unit/dataplane/ring_agent.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AGENTS 3u
#define LCORES 2u
#define SHARDS 4u
#define COUNTERS 4u
#define OWN_KEYS 16u

struct session_named {
    uint64_t lsn, sequence;
    uint32_t slot;
};

struct life {
    pthread_t thread;
    uint32_t number;
    struct agent *agent;
    struct ring_agent pair[LCORES];
    struct session_named sessions[SHARDS];
    uint64_t random;
    uint64_t own[OWN_KEYS]; /* version acknowledged last */
    uint64_t added[COUNTERS];
    struct ring_request open_request; /* the one in flight at death; length 0: none */
    char open_key[16];
    uint64_t open_value;
    uint32_t open_counter;
    uint64_t puts, conflicts, duplicates, reads, linearizable, retries, deaths, violations;
    bool die; /* in the middle of an increment */
};

static struct ring_node r;
static struct life lives[AGENTS];
static _Atomic bool stop;

static uint64_t random_next(struct life *a)
{
    a->random ^= a->random << 13;
    a->random ^= a->random >> 7;
    return a->random ^= a->random << 17;
}

static void violation(struct life *a, const char *what, const char *key)
{
    if (a->violations++ < 5)
        (void)fprintf(stderr, "torture_node: agent %u: %s, key %s\n", a->number, what, key);
}

/* ---- rings ---- */

static uint32_t lcore_of(uint32_t shard)
{
    return r.node.spaces[RING_AGENT_SPACE]->boards[shard].lcore;
}

static void send_request(struct life *a, struct ring_request q, const char *key, const void *value)
{
    struct ring_agent *pair = &a->pair[lcore_of(q.shard)];
    while (ring_agent_send(pair, q, key, value) != 0)
        (void)usleep(10);
    atomic_thread_fence(memory_order_seq_cst);
    ring_agent_doorbell(&r, pair);
    if (atomic_load_explicit(&r.node.shared->lcores[pair->lcore].sleeping, memory_order_seq_cst)) {
        uint64_t one = 1;
        ssize_t written = write(a->agent->event_fds[pair->lcore], &one, sizeof one);
        (void)written; /* full is as good as rung */
    }
}

/* Wait for the one answer that is due; yield, since two cores serve all. */
static struct ring_completion take(struct life *a, const struct ring_request *q, const char *key)
{
    struct ring_agent *pair = &a->pair[lcore_of(q->shard)];
    struct ring_completion c;
    for (uint64_t i = 0; !ring_agent_take(pair, &c, NULL); i++) {
        if (i % 64 == 63)
            (void)usleep(20);
        if (i > 3000000) {
            violation(a, "no answer", key);
            abort();
        }
    }
    if (c.tag != q->tag)
        violation(a, "an answer to something else", key);
    return c;
}

static struct ring_completion ask(struct life *a, struct ring_request q, const char *key,
                                  const void *value)
{
    send_request(a, q, key, value);
    return take(a, &q, key);
}

static struct ring_request request_of(struct life *a, uint8_t operation, const char *key)
{
    struct ring_request q = ring_agent_request(&r, &a->pair[0], operation, key);
    static _Atomic uint64_t tags;
    q.tag = atomic_fetch_add_explicit(&tags, 1, memory_order_relaxed) + 1;
    return q;
}

static struct ring_request write_of(struct life *a, const char *key)
{
    struct ring_request q = request_of(a, RING_PUT, key);
    struct session_named *s = &a->sessions[q.shard];
    q.session = s->lsn;
    q.session_slot = s->slot;
    q.sequence = ++s->sequence;
    q.value_length = 8;
    return q;
}

static void sessions_open(struct life *a)
{
    char id[17];
    (void)snprintf(id, sizeof id, "torture agent %02u", a->number);
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        struct ring_request q = request_of(a, RING_SESSION_OPEN, id);
        q.shard = shard;
        struct ring_completion c = ask(a, q, id, NULL);
        while (c.status == RING_RETRY) {
            (void)usleep(20);
            q.tag = request_of(a, RING_SESSION_OPEN, id).tag;
            c = ask(a, q, id, NULL);
        }
        if (c.status != RING_OK)
            violation(a, "no session", id);
        if (a->sessions[shard].lsn != 0 && a->sessions[shard].lsn != c.lsn)
            violation(a, "another session under the same id", id);
        a->sessions[shard].lsn = c.lsn;
        a->sessions[shard].slot = c.session_slot;
    }
}

/* ---- in place ---- */

/* Returns 1 or 0 as read_find; *linearizable as read_lease. */
static int read_in_place(struct life *a, const char *key, uint64_t *value, uint64_t *lsn,
                         bool *linearizable)
{
    const struct node_space *n = r.node.spaces[RING_AGENT_SPACE];
    struct read_space s = {
        .arena = n->arena,
        .geometry = n->geometry,
        .boards = n->boards,
        .directory = n->directory,
        .node = r.node.shared,
    };
    struct read_key k;
    read_key_init(&k, &s, key, strlen(key));
    for (;;) {
        uint32_t chunks = atomic_load_explicit(&n->header->chunk_count, memory_order_acquire);
        s.mapped_bytes = (uint64_t)chunks << n->geometry.chunk_shift;
        struct read_point p;
        struct read_found found;
        read_begin(&p, &s, k.shard);
        int result = read_find(&p, &s, &k, &found);
        if (result == 1)
            read_copy(&found, value, sizeof *value);
        if (result >= 0 && read_validate(&p, &s, result == 0)) {
            *lsn = found.lsn;
            *linearizable = read_lease(&p, &s);
            a->reads++;
            a->linearizable += *linearizable;
            return result;
        }
        a->retries++;
    }
}

/* ---- what agents do ---- */

static void put_own(struct life *a)
{
    uint32_t n = (uint32_t)(random_next(a) % OWN_KEYS);
    char key[16];
    (void)snprintf(key, sizeof key, "own-%u-%u", a->number, n);
    uint64_t value = random_next(a), seen = 0, lsn = 0;
    struct ring_completion c = ask(a, write_of(a, key), key, &value);
    if (c.status != RING_OK || c.lsn <= a->own[n])
        violation(a, "put", key);
    a->own[n] = c.lsn;
    a->puts++;
    bool linearizable;
    int found = read_in_place(a, key, &seen, &lsn, &linearizable);
    if (found != 1 || seen != value || lsn != c.lsn)
        violation(a, "an acknowledged put is not there", key);
}

/* The answer to an increment: done, or somebody was faster. */
static void increment_judge(struct life *a, const struct ring_completion *c, uint32_t n)
{
    a->added[n] += c->status == RING_OK;
    a->conflicts += c->status == RING_CONDITION;
    if (c->status != RING_OK && c->status != RING_CONDITION)
        violation(a, "an increment failed", "counter");
}

static void increment(struct life *a)
{
    uint32_t n = (uint32_t)(random_next(a) % COUNTERS);
    char key[16];
    (void)snprintf(key, sizeof key, "counter-%u", n);
    uint64_t value = 0, lsn = 0;
    bool linearizable;
    if (read_in_place(a, key, &value, &lsn, &linearizable) == 0)
        value = lsn = 0;
    value++;
    struct ring_request q = write_of(a, key);
    q.head.flags = RING_FLAG_COMPARE;
    q.expected_lsn = lsn;
    send_request(a, q, key, &value);
    a->die = random_next(a) % 512 == 0;
    if (a->die) {
        a->open_request = q;
        a->open_value = value;
        a->open_counter = n;
        memcpy(a->open_key, key, sizeof key);
        return;
    }
    struct ring_completion c = take(a, &q, key);
    increment_judge(a, &c, n);
    if (random_next(a) % 16 == 0) { /* as if the answer had been lost */
        struct ring_completion again = ask(a, q, key, &value);
        a->duplicates++;
        if (again.status != c.status || again.lsn != c.lsn)
            violation(a, "a duplicate was answered otherwise", key);
    }
}

static void *life_main(void *argument)
{
    struct life *a = argument;
    sessions_open(a);
    if (a->open_request.tag != 0) { /* what became of the last one of the life before */
        a->open_request.session_slot = a->sessions[a->open_request.shard].slot;
        struct ring_completion c = ask(a, a->open_request, a->open_key, &a->open_value);
        increment_judge(a, &c, a->open_counter);
        a->open_request.tag = 0;
    }
    a->die = false;
    while (!atomic_load_explicit(&stop, memory_order_acquire) && !a->die) {
        if (random_next(a) % 2 == 0)
            put_own(a);
        else
            increment(a);
    }
    return NULL;
}

/* ---- control ---- */

static void life_begin(struct life *a)
{
    struct ring_agent first;
    ring_agent_attach(&r, &first, 0, 1u << 13);
    a->agent = first.agent;
    for (uint32_t i = 0; i < LCORES; i++)
        ring_agent_join(&a->pair[i], a->agent, i);
    ASSERT(pthread_create(&a->thread, NULL, life_main, a) == 0);
}

static void life_end(struct life *a)
{
    ASSERT(pthread_join(a->thread, NULL) == 0);
    node_agent_detach(&r.node, a->agent);
    a->deaths++;
}

static void control(double seconds)
{
    struct node_space *s = r.node.spaces[RING_AGENT_SPACE];
    uint64_t end = clock_boottime_ns() + (uint64_t)(seconds * 1e9);
    while (clock_boottime_ns() < end) {
        ASSERT(node_chunks_grow(&r.node, s) >= 0);
        for (uint32_t i = 0; i < AGENTS; i++) {
            if (pthread_tryjoin_np(lives[i].thread, NULL) == 0) {
                node_agent_detach(&r.node, lives[i].agent);
                lives[i].deaths++;
                life_begin(&lives[i]);
            }
        }
        (void)usleep(1000);
    }
    atomic_store_explicit(&stop, true, memory_order_release);
    for (uint32_t i = 0; i < AGENTS; i++)
        life_end(&lives[i]);
}

/* An increment that was in flight when all ended is settled by one more life. */
static void settle(void)
{
    for (uint32_t i = 0; i < AGENTS; i++) {
        if (lives[i].open_request.tag == 0)
            continue;
        life_begin(&lives[i]);
        life_end(&lives[i]);
    }
}

static int report(void)
{
    struct life sum = {.puts = 0};
    for (uint32_t i = 0; i < AGENTS; i++) {
        const struct life *a = &lives[i];
        sum.puts += a->puts;
        sum.conflicts += a->conflicts;
        sum.duplicates += a->duplicates;
        sum.reads += a->reads;
        sum.linearizable += a->linearizable;
        sum.retries += a->retries;
        sum.deaths += a->deaths;
        sum.violations += a->violations;
        for (uint32_t n = 0; n < COUNTERS; n++)
            sum.added[n] += a->added[n];
    }
    for (uint32_t n = 0; n < COUNTERS; n++) {
        char key[16];
        (void)snprintf(key, sizeof key, "counter-%u", n);
        uint64_t value = 0, lsn;
        bool linearizable;
        (void)read_in_place(&sum, key, &value, &lsn, &linearizable);
        if (value != sum.added[n]) {
            (void)fprintf(stderr, "torture_node: %s is %llu, acknowledged %llu\n", key,
                          (unsigned long long)value, (unsigned long long)sum.added[n]);
            sum.violations++;
        }
    }
    printf("puts %llu conflicts %llu duplicates %llu reads %llu linearizable %llu retries %llu "
           "deaths %llu violations %llu\n",
           (unsigned long long)sum.puts, (unsigned long long)sum.conflicts,
           (unsigned long long)sum.duplicates, (unsigned long long)sum.reads,
           (unsigned long long)sum.linearizable, (unsigned long long)sum.retries,
           (unsigned long long)sum.deaths, (unsigned long long)sum.violations);
    bool met = sum.puts != 0 && sum.duplicates != 0 && sum.linearizable != 0 && sum.deaths > AGENTS;
    if (!met)
        (void)fprintf(stderr, "torture_node: something never happened\n");
    return sum.violations == 0 && met ? 0 : 1;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 5;
    ring_node_open(&r, LCORES, SHARDS);
    ASSERT(node_lcores_start(&r.node) == 0);
    for (uint32_t i = 0; i < AGENTS; i++) {
        lives[i].number = i;
        lives[i].random = 88172645463325252u + i;
        life_begin(&lives[i]);
    }
    control(seconds);
    settle();
    int status = report();
    node_lcores_stop(&r.node);
    ring_node_close(&r);
    return status;
}
