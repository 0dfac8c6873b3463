/* Chunks that go and come again under readers in place and a writer, on real polling threads: torture_arena
 * [SECONDS].  Each reader has mapped what control gave it, as libdunlin does, and so may hold chunks that were
 * taken since.
 *
 * What must hold: a read that validates gives a value that was written whole, and none older than what was
 * acknowledged before it began.  Exit 0: no violation, and chunks went and came while readers read. */
#include "dataplane/node_arena.h"
#include "engine/leave.h"
#include "engine/read.h"
#include "tests/unit/dataplane/ring_agent.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPACE 2u
#define LCORES 2u
#define SHARDS 4u
#define READERS 2u
#define KEYS 200u
#define VALUE 3000u
#define QUOTA (UINT64_C(24) << 20)
#define CALM_US 60000u
#define BUSY_US 30000u
#define LEAVE_US 300000u

struct reader {
    pthread_t thread;
    uint32_t number;
    struct read_space space;
    uint8_t *arena;
    uint32_t count; /* of chunks */
    uint64_t random, reads, again, mapped, unmapped, violations;
};

static struct ring_node r;
static struct reader readers[READERS];
static _Atomic uint64_t acknowledged[KEYS];
static _Atomic bool stop, calm;
static _Atomic uint64_t written;
/* Held by control where it makes or takes chunks, and by who asks it for one. */
static pthread_mutex_t control_lock = PTHREAD_MUTEX_INITIALIZER;

static struct node_space *space_of(void)
{
    return r.node.spaces[SPACE];
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static uint32_t key_make(uint64_t n, char key[16])
{
    return (uint32_t)snprintf(key, 16, "key-%llu", (unsigned long long)n);
}

/* Every word of a value tells key and version. */
static void value_make(uint64_t n, uint64_t version, uint64_t *words)
{
    for (uint32_t i = 0; i < VALUE / 8; i++)
        words[i] = version << 16 | n;
}

/* ---- the writer ---- */

static struct ring_completion ask(struct ring_agent *pair, const struct ring_request *q,
                                  const char *key, const void *value)
{
    struct ring_completion c;
    while (ring_agent_send(pair, *q, key, value) != 0)
        (void)usleep(10);
    atomic_thread_fence(memory_order_seq_cst);
    ring_agent_doorbell(&r, pair);
    if (atomic_load_explicit(&r.node.shared->lcores[pair->lcore].sleeping, memory_order_seq_cst)) {
        uint64_t one = 1;
        ssize_t rung = write(pair->agent->event_fds[pair->lcore], &one, sizeof one);
        (void)rung; /* full is as good as rung */
    }
    for (uint64_t i = 0; !ring_agent_take(pair, &c, NULL); i++) {
        if (i % 64 == 63)
            (void)usleep(20);
        ASSERT(i < 10000000);
    }
    ASSERT(c.tag == q->tag);
    return c;
}

static void *writer_main(void *argument)
{
    struct ring_agent *pairs = argument;
    struct {
        uint64_t lsn, sequence;
        uint32_t slot;
    } sessions[SHARDS] = {{0}};
    static uint64_t words[VALUE / 8];
    uint64_t random = 88172645463325252u;
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        struct ring_agent *pair = &pairs[space_of()->boards[shard].lcore];
        struct ring_request q = ring_agent_request(&r, pair, RING_SESSION_OPEN, "torture writer 0");
        q.space = SPACE;
        q.shard = shard;
        struct ring_completion c = ask(pair, &q, "torture writer 0", NULL);
        ASSERT(c.status == RING_OK);
        sessions[shard].lsn = c.lsn;
        sessions[shard].slot = c.session_slot;
    }
    for (uint64_t version = 1; !atomic_load_explicit(&stop, memory_order_acquire); version++) {
        char key[16];
        uint64_t n = random_next(&random) % KEYS;
        uint32_t length = key_make(n, key);
        struct read_key k;
        struct ring_request q = ring_agent_request(&r, &pairs[0], RING_PUT, key);
        read_key_init(&k, &readers[0].space, key, length);
        q.shard = k.shard;
        struct ring_agent *pair = &pairs[space_of()->boards[q.shard].lcore];
        q.space = SPACE;
        q.session = sessions[q.shard].lsn;
        q.session_slot = sessions[q.shard].slot;
        q.sequence = ++sessions[q.shard].sequence;
        q.value_length = VALUE / 8 * 8;
        value_make(n, version, words);
        struct ring_completion c = ask(pair, &q, key, words);
        ASSERT(c.status == RING_OK);
        atomic_store_explicit(&acknowledged[n], version, memory_order_release);
        /* relaxed: a count */
        atomic_fetch_add_explicit(&written, 1, memory_order_relaxed);
        while (atomic_load_explicit(&calm, memory_order_acquire) &&
               !atomic_load_explicit(&stop, memory_order_acquire))
            (void)usleep(1000);
    }
    return NULL;
}

/* ---- readers ---- */

/* As engine/agent/space.c does, with a call instead of a message to control. */
static void map_anew(struct reader *a)
{
    const struct layout_space *h = space_of()->header;
    uint64_t bytes = UINT64_C(1) << a->space.geometry.chunk_shift;
    uint32_t generation = atomic_load_explicit(&h->arena_generation, memory_order_acquire);
    uint32_t exist = atomic_load_explicit(&h->chunk_count, memory_order_acquire);
    uint32_t before = a->count;
    a->count = (uint32_t)min_u64(a->count, exist);
    while (a->count != 0 && (int32_t)(atomic_load_explicit(layout_chunk_generation(h, a->count - 1),
                                                           memory_order_relaxed) -
                                      a->space.arena_generation) > 0)
        a->count--;
    if (a->count != before)
        memory_unmap(a->arena + a->count * bytes, (before - a->count) * bytes);
    a->unmapped += before - a->count;
    (void)pthread_mutex_lock(&control_lock);
    exist = atomic_load_explicit(&h->chunk_count, memory_order_acquire);
    for (; a->count < exist; a->count++, a->mapped++) {
        uint8_t *at;
        int error = memory_map(&at, dup(space_of()->chunks[a->count].fd), bytes, MEMORY_READ_ONLY,
                               false, a->arena + a->count * bytes);
        ASSERT(error == 0);
    }
    (void)pthread_mutex_unlock(&control_lock);
    a->space.arena_generation = generation;
    a->space.mapped_bytes = a->count * bytes;
}

static void violation(struct reader *a, const char *what, uint64_t n)
{
    if (a->violations++ < 5)
        (void)fprintf(stderr, "torture_arena: reader %u: %s, key %llu\n", a->number, what,
                      (unsigned long long)n);
}

static void judge(struct reader *a, uint64_t n, uint64_t least, const uint64_t *words)
{
    for (uint32_t i = 0; i < VALUE / 8; i++) {
        if (words[i] != words[0] || (words[0] & 0xffff) != n) {
            violation(a, "bytes of something else", n);
            return;
        }
    }
    if (words[0] >> 16 < least)
        violation(a, "an older value than was acknowledged", n);
}

static void read_one(struct reader *a)
{
    uint64_t words[VALUE / 8], n = random_next(&a->random) % KEYS;
    uint64_t least = atomic_load_explicit(&acknowledged[n], memory_order_acquire);
    char key[16];
    struct read_key k;
    struct read_point p;
    struct read_found found = {.value_length = 0};
    read_key_init(&k, &a->space, key, key_make(n, key));
    read_begin(&p, &a->space, k.shard);
    int result = read_find(&p, &a->space, &k, &found);
    if (result == -EFAULT)
        map_anew(a);
    if (result == 1)
        read_copy(&found, words, sizeof words);
    if (result < 0 || !read_validate(&p, &a->space, result == 0)) {
        a->again++;
        return;
    }
    a->reads++;
    if (result == 1 && found.value_length == sizeof words)
        judge(a, n, least, words);
    else if (result == 1)
        violation(a, "another length", n);
    else if (least != 0)
        violation(a, "an acknowledged value is missing", n);
}

static void *reader_main(void *argument)
{
    struct reader *a = argument;
    while (!atomic_load_explicit(&stop, memory_order_acquire)) {
        read_one(a);
        /* Why: two cores serve all, and who sleeps in between holds chunks longer than the others. */
        if (a->reads % 512 == 0)
            (void)usleep(a->number * 3000u + 50);
    }
    return NULL;
}

static void reader_begin(struct reader *a, uint32_t number)
{
    const struct node_space *n = space_of();
    uint64_t bytes = (uint64_t)n->geometry.chunk_count_max << n->geometry.chunk_shift;
    *a = (struct reader){.number = number, .random = 1234567u + number};
    ASSERT(memory_reserve(&a->arena, bytes) == 0);
    a->space = (struct read_space){
        .arena = a->arena,
        .geometry = n->geometry,
        .boards = n->boards,
        .directory = n->directory,
        .node = r.node.shared,
    };
    ASSERT(pthread_create(&a->thread, NULL, reader_main, a) == 0);
}

static void reader_end(struct reader *a)
{
    const struct layout_geometry *g = &a->space.geometry;
    ASSERT(pthread_join(a->thread, NULL) == 0);
    memory_unreserve(a->arena, (uint64_t)g->chunk_count_max << g->chunk_shift);
}

/* ---- control ---- */

static void control_for(uint64_t us)
{
    uint64_t end = clock_boottime_ns() + us * 1000;
    while (clock_boottime_ns() < end) {
        (void)pthread_mutex_lock(&control_lock);
        ASSERT(node_chunks_grow(&r.node, space_of()) >= 0);
        (void)pthread_mutex_unlock(&control_lock);
        (void)usleep(500);
    }
}

/* Returns how many chunks went. */
static uint32_t shrink(uint64_t *random)
{
    struct node_space *s = space_of();
    uint32_t count = atomic_load_explicit(&s->header->chunk_count, memory_order_relaxed);
    uint32_t least = (LIMIT_SHARD_FRAMES_MIN * SHARDS) / s->geometry.frames_per_chunk + 3;
    uint64_t end = clock_boottime_ns() + LEAVE_US * UINT64_C(1000);
    uint32_t taken = 0;
    if (count <= least)
        return 0;
    node_arena_leave(&r.node, s, least + (uint32_t)(random_next(random) % (count - least)),
                     clock_boottime_ns());
    while (taken == 0 && (uint32_t)atomic_load_explicit(&s->header->leave, memory_order_relaxed) !=
                             LAYOUT_LEAVE_NONE) {
        uint64_t now = clock_boottime_ns();
        (void)pthread_mutex_lock(&control_lock);
        taken = node_arena_step(&r.node, s, now < end ? now : now + NODE_ARENA_LEAVE_NS);
        (void)pthread_mutex_unlock(&control_lock);
        (void)usleep(500);
    }
    return taken;
}

static int report(uint64_t taken, uint64_t given_up)
{
    uint64_t reads = 0, again = 0, unmapped = 0, violations = 0;
    for (uint32_t i = 0; i < READERS; i++) {
        reads += readers[i].reads;
        again += readers[i].again;
        unmapped += readers[i].unmapped;
        violations += readers[i].violations;
    }
    uint64_t writes = atomic_load_explicit(&written, memory_order_relaxed);
    printf("writes %llu reads %llu again %llu taken %llu given up %llu unmapped %llu violations "
           "%llu\n",
           (unsigned long long)writes, (unsigned long long)reads, (unsigned long long)again,
           (unsigned long long)taken, (unsigned long long)given_up, (unsigned long long)unmapped,
           (unsigned long long)violations);
    bool met = writes != 0 && reads != 0 && taken != 0 && unmapped != 0;
    if (!met)
        (void)fprintf(stderr, "torture_arena: something never happened\n");
    return violations == 0 && met ? 0 : 1;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 5;
    uint64_t random = 42, taken = 0, given_up = 0;
    struct ring_agent pairs[LCORES];
    struct space_config c;
    pthread_t writer;
    ring_node_open(&r, LCORES, 1);
    space_config_default(&c);
    c.id = SPACE;
    (void)snprintf(c.name, sizeof c.name, "marsh");
    c.shard_count = SHARDS;
    c.quota_bytes = QUOTA;
    c.sessions_max = 8;
    c.read.everyone = c.write.everyone = true;
    ASSERT(node_space_add(&r.node, &c) == 0);
    ASSERT(node_lcores_start(&r.node) == 0);
    ring_agent_attach(&r, &pairs[0], 0, 1u << 15);
    for (uint32_t i = 1; i < LCORES; i++)
        ring_agent_join(&pairs[i], pairs[0].agent, i);
    for (uint32_t i = 0; i < READERS; i++)
        reader_begin(&readers[i], i);
    ASSERT(pthread_create(&writer, NULL, writer_main, pairs) == 0);
    uint64_t end = clock_boottime_ns() + (uint64_t)(seconds * 1e9);
    for (uint64_t turn = 0; clock_boottime_ns() < end; turn++) {
        control_for(BUSY_US + turn % 3 * CALM_US);
        /* Now and then the writer goes on: then it may come to nothing. */
        atomic_store_explicit(&calm, turn % 4 != 3, memory_order_release);
        uint32_t went = shrink(&random);
        taken += went;
        given_up += went == 0;
        atomic_store_explicit(&calm, false, memory_order_release);
    }
    atomic_store_explicit(&stop, true, memory_order_release);
    control_for(1);
    while (pthread_tryjoin_np(writer, NULL) != 0)
        control_for(1000);
    for (uint32_t i = 0; i < READERS; i++)
        reader_end(&readers[i]);
    int status = report(taken, given_up);
    node_lcores_stop(&r.node);
    node_agent_detach(&r.node, pairs[0].agent);
    ring_node_close(&r);
    return status;
}
