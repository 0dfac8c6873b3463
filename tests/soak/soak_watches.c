/* Watches of all writers' keys, at every node, and one that sleeps until what it has not seen is gone.
 *
 * Each value names the LSN of the change of its key before it; so a watch that has not seen that one, and
 * was not told that it lagged past it, has missed it. */
#include "tests/soak/soak.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS_MAX 16u
#define EVENTS 32u
#define POSITION_BYTES 1024u
#define RESUME_EVERY 400u /* calls */
#define SLEEP_ARENAS 2u   /* written meanwhile: more than there is room for */
#define AWAKE_CALLS 200u
#define END_MS 60000u

struct place {
    uint64_t log, lsn, lagged; /* last event's; where it went on after a lag */
};

struct observer {
    struct soak_thread t;
    struct dunlin_watch *watch;
    bool sleeps;
    uint64_t last[SOAK_NODES][SOAK_KEYS]; /* LSN of the last event of a key */
    struct place places[SHARDS_MAX];
    uint64_t lags, calls;
};

static struct observer observers[SOAK_NODES + 1];
static struct dunlin_version ends[SOAK_NODES][SOAK_KEYS];
/* W1 ends are stored (release) -> W2 looked at (acquire) */
static _Atomic bool ended;

static struct place *place_of(struct observer *o, uint64_t log)
{
    for (uint32_t i = 0; i < SHARDS_MAX; i++)
        if (o->places[i].log == log || o->places[i].log == 0) {
            o->places[i].log = log;
            return &o->places[i];
        }
    e2e_die("more than %u logs", SHARDS_MAX);
}

static void open_at(struct observer *o, const char *from)
{
    const struct dunlin_watch_options options = {.prefix = "k/", .prefix_length = 2, .from = from};
    int error;
    do
        error = dunlin_watch_open(o->t.space, &options, &o->watch);
    while (soak_unavailable(error));
    if (error != 0)
        e2e_die("cannot watch at node %u: %s", o->t.node + 1, strerror(-error));
}

/* Another watch goes on where this one is. */
static void resume(struct observer *o)
{
    char position[POSITION_BYTES];
    int64_t length = dunlin_watch_position(o->watch, position, sizeof position);
    if (length < 0)
        e2e_fail("no position of a watch: %s", strerror((int)-length));
    dunlin_watch_close(o->watch);
    open_at(o, length < 0 ? "oldest" : position);
    soak_count(SOAK_RESUMED);
}

static void seen(struct observer *o, const struct dunlin_event *e)
{
    char name[16] = "";
    unsigned writer = SOAK_NODES, key = SOAK_KEYS;
    uint64_t previous = 0;
    struct place *place = place_of(o, e->version.log);
    memcpy(name, e->key, min_u64(e->key_length, sizeof name - 1));
    if (sscanf(name, "k/%u/%u", &writer, &key) != 2 || writer >= SOAK_NODES || key >= SOAK_KEYS) {
        e2e_fail("a watch at node %u gives %s, which nobody wrote", o->t.node + 1, name);
        return;
    }
    if (e->version.lsn <= place->lsn)
        e2e_fail("a watch at node %u gives %s at lsn %" PRIu64 " after lsn %" PRIu64, o->t.node + 1,
                 name, e->version.lsn, place->lsn);
    if (e->kind == DUNLIN_EVENT_PUT &&
        !soak_value_check(writer * SOAK_KEYS + key, e->value, e->value_length, &previous))
        e2e_fail("a watch at node %u gives %s at lsn %" PRIu64 " with a value that is not whole",
                 o->t.node + 1, name, e->version.lsn);
    if (previous > o->last[writer][key] && previous >= place->lagged)
        e2e_fail("a watch at node %u missed lsn %" PRIu64 " of %s: it gives %" PRIu64
                 " after %" PRIu64 ", lagged up to %" PRIu64,
                 o->t.node + 1, previous, name, e->version.lsn, o->last[writer][key],
                 place->lagged);
    if (previous != 0)
        soak_count(SOAK_CHAINED);
    place->lsn = e->version.lsn;
    o->last[writer][key] = e->version.lsn;
    soak_count(SOAK_EVENTS);
}

static void lagged(struct observer *o)
{
    struct dunlin_version to;
    dunlin_watch_lagged(o->watch, &to, NULL);
    struct place *place = place_of(o, to.log);
    if (to.lsn <= place->lsn)
        e2e_fail("a watch at node %u lagged back to lsn %" PRIu64 ", from %" PRIu64, o->t.node + 1,
                 to.lsn, place->lsn);
    place->lagged = max_u64(place->lagged, to.lsn);
    o->lags++;
    soak_count(SOAK_LAGGED);
}

/* One call.  Returns how many events there were; a lag is one. */
static int64_t look(struct observer *o)
{
    struct dunlin_event events[EVENTS];
    int64_t n = dunlin_watch_next(o->watch, events, EVENTS, 100 * NS_PER_MS);
    for (int64_t i = 0; i < n; i++)
        seen(o, &events[i]);
    if (n > 0 && events[n - 1].last != 0 && ++o->calls % RESUME_EVERY == 0)
        resume(o);
    if (n == -ENODATA) {
        lagged(o);
        return 1;
    }
    if (n < 0 && !soak_unavailable((int)n))
        e2e_fail("a watch at node %u: %s", o->t.node + 1, strerror((int)-n));
    return n < 0 ? 0 : n;
}

/* Until more was written at its node than there is room for; then it must be told, and goes on. */
static void sleep_long(struct observer *o)
{
    uint64_t enough = soak_written(o->t.node) + SLEEP_ARENAS * soak_arena();
    while (soak_written(o->t.node) < enough && !soak_over())
        e2e_sleep_ms(20);
    if (soak_over())
        return;
    uint64_t lags = o->lags;
    while (o->lags == lags && look(o) > 0)
        ;
    if (o->lags == lags)
        e2e_fail("a watch at node %u slept through %u arenas and was not told", o->t.node + 1,
                 SLEEP_ARENAS);
    for (uint32_t i = 0; i < AWAKE_CALLS; i++)
        (void)look(o);
}

/* False: not all that was written was seen, or lagged past. */
static bool is_at_end(struct observer *o, bool tell)
{
    bool all = true;
    for (uint32_t w = 0; w < SOAK_NODES; w++)
        for (uint32_t k = 0; k < SOAK_KEYS; k++) {
            uint64_t end = ends[w][k].lsn;
            if (end == 0 || o->last[w][k] >= end || end < place_of(o, ends[w][k].log)->lagged)
                continue;
            all = false;
            if (tell)
                e2e_fail("a watch at node %u has not seen lsn %" PRIu64
                         " of k/%u/%02u, only %" PRIu64,
                         o->t.node + 1, end, w, k, o->last[w][k]);
        }
    return all;
}

static void *observer_run(void *context)
{
    struct observer *o = context;
    while (!atomic_load_explicit(&ended, memory_order_acquire)) { /* W2 */
        if (o->sleeps && !soak_over())
            sleep_long(o);
        else
            (void)look(o);
    }
    uint64_t until = clock_boottime_ns() + END_MS * NS_PER_MS;
    while (!is_at_end(o, false) && clock_boottime_ns() < until)
        (void)look(o);
    (void)is_at_end(o, true);
    dunlin_watch_close(o->watch);
    return NULL;
}

void soak_watches_begin(void)
{
    for (uint32_t i = 0; i <= SOAK_NODES; i++) {
        struct observer *o = &observers[i];
        o->sleeps = i == SOAK_NODES;
        o->t.handle = e2e_open(soak_socket(i % SOAK_NODES), SOAK_TIMEOUT_MS);
        o->t.space = e2e_space(o->t.handle, SOAK_SPACE);
        o->t.node = i % SOAK_NODES;
        open_at(o, "now");
    }
    for (uint32_t i = 0; i <= SOAK_NODES; i++)
        if (pthread_create(&observers[i].t.thread, NULL, observer_run, &observers[i]) != 0)
            e2e_die("no thread");
}

void soak_watches_end(void)
{
    for (uint32_t w = 0; w < SOAK_NODES; w++)
        for (uint32_t k = 0; k < SOAK_KEYS; k++)
            ends[w][k] = soak_keys_last(w, k);
    atomic_store_explicit(&ended, true, memory_order_release); /* W1 */
    for (uint32_t i = 0; i <= SOAK_NODES; i++)
        soak_join(&observers[i].t);
}
