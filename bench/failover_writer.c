#include "bench/failover_writer.h"

#include "engine/clock.h"
#include "engine/hash.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CALL_NS                                                                                    \
    (5 * NS_PER_S) /* longer than any gap: a write that fails did not just wait too long */
#define KEYS_TRIED 10000u

_Static_assert(FAILOVER_SHARDS < 32, "a bit for each");

/* ---- the thread ---- */

struct task {
    uint32_t node, shard;
    uint64_t begun_ns;
};

static void count(struct failover_writer *w, const struct task *t, int rc, uint64_t ended_ns)
{
    struct failover_served *s = &w->served;
    s->writes++;
    s->failed += rc != 0;
    s->unknown += rc == -EOWNERDEAD;
    if (w->killed_ns == 0 || ended_ns < w->killed_ns)
        return;
    s->longest_ns = max_u64(s->longest_ns, ended_ns - t->begun_ns);
    if (rc != 0 || t->begun_ns < w->killed_ns)
        return;
    if (s->first_ns == 0)
        s->first_ns = ended_ns - w->killed_ns;
    w->served_mask |= 1u << t->shard;
    if (s->all_ns == 0 && w->served_mask == (1u << FAILOVER_SHARDS) - 1)
        s->all_ns = ended_ns - w->killed_ns;
}

static void *write_on(void *argument)
{
    struct failover_writer *w = argument;
    struct task t = {.shard = 0};
    uint64_t value = 0;
    bool is_ending = false;
    while (!is_ending) {
        t.begun_ns = clock_boottime_ns();
        pthread_mutex_lock(&w->mutex);
        t.node = w->node;
        pthread_mutex_unlock(&w->mutex);
        const char *key = w->keys[t.shard];
        int rc = dunlin_put(w->spaces[t.node], key, strlen(key), &value, sizeof value, NULL);
        uint64_t ended_ns = clock_boottime_ns();
        pthread_mutex_lock(&w->mutex);
        count(w, &t, rc, ended_ns);
        is_ending = w->is_ending;
        pthread_mutex_unlock(&w->mutex);
        t.shard = (t.shard + 1) % FAILOVER_SHARDS;
        value++;
    }
    return NULL;
}

/* ---- the main thread's ---- */

void failover_writer_go(struct failover_writer *w, uint32_t node)
{
    pthread_mutex_lock(&w->mutex);
    w->node = node;
    uint64_t writes = w->served.writes;
    pthread_mutex_unlock(&w->mutex);
    struct failover_served now;
    do {
        (void)usleep(1000);
        failover_writer_served(w, &now);
    } while (now.writes < writes + 2);
}

void failover_writer_killed(struct failover_writer *w)
{
    pthread_mutex_lock(&w->mutex);
    w->served = (struct failover_served){.first_ns = 0};
    w->served_mask = 0;
    w->killed_ns = clock_boottime_ns();
    pthread_mutex_unlock(&w->mutex);
}

void failover_writer_served(struct failover_writer *w, struct failover_served *served)
{
    pthread_mutex_lock(&w->mutex);
    *served = w->served;
    pthread_mutex_unlock(&w->mutex);
}

/* ---- open and close ---- */

/* Why never inlined: the compiler would warn of reads past a short key that the hash does not make. */
__attribute__((noinline)) static uint32_t shard_of(const char *key, size_t length)
{
    return hash_shard(key, length, hash_key(key, (uint32_t)length), 0, FAILOVER_SHARDS);
}

static void keys_find(struct failover_writer *w)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < KEYS_TRIED && found != (1u << FAILOVER_SHARDS) - 1; i++) {
        char key[16];
        size_t length = (size_t)snprintf(key, sizeof key, "key-%u", i);
        uint32_t shard = shard_of(key, length);
        if ((found & 1u << shard) == 0)
            memcpy(w->keys[shard], key, sizeof key);
        found |= 1u << shard;
    }
    ASSERT(found == (1u << FAILOVER_SHARDS) - 1);
}

static void detach(struct failover_writer *w)
{
    for (uint32_t i = 0; i < NET_SERVERS; i++)
        dunlin_close(w->handles[i]);
}

int failover_writer_open(struct failover_writer *w, const struct failover_cluster *c)
{
    *w = (struct failover_writer){.node = 0};
    int rc = 0;
    keys_find(w);
    for (uint32_t i = 0; i < NET_SERVERS && rc == 0; i++) {
        const struct dunlin_options options = {.socket = c->daemons[i].socket_path,
                                               .timeout_ns = CALL_NS};
        rc = dunlin_open(&options, &w->handles[i]);
        if (rc == 0)
            rc = dunlin_space(w->handles[i], FAILOVER_SPACE, &w->spaces[i]);
    }
    if (rc == 0)
        rc = -pthread_mutex_init(&w->mutex, NULL);
    if (rc == 0)
        rc = -pthread_create(&w->thread, NULL, write_on, w);
    if (rc != 0) {
        (void)fprintf(stderr, "dunlin-bench failover: no writer: %s\n", strerror(-rc));
        detach(w);
    }
    return rc;
}

void failover_writer_close(struct failover_writer *w)
{
    pthread_mutex_lock(&w->mutex);
    w->is_ending = true;
    pthread_mutex_unlock(&w->mutex);
    (void)pthread_join(w->thread, NULL);
    (void)pthread_mutex_destroy(&w->mutex);
    detach(w);
}
