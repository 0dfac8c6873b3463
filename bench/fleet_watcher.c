/* One process of watchers: hundreds of watches (dunlin.h), spread over all nodes, served in turn.
 *
 * Each pass looks at all of them; what is left of the pass's time is waited in one of them, each in turn,
 * so that the way through the daemon that wakes who sleeps is taken, too.
 * Checks: what fleet_watched.h says; values are whole; keys are those that were asked for; two watches that
 * are given the end of a key agree on what came last before it. */
#include "bench/fleet.h"

#include "bench/fleet_interest.h"
#include "bench/fleet_watched.h"
#include "bench/geohash.h"
#include "engine/clock.h"
#include "engine/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PASS_NS (4 * NS_PER_MS)
#define EVENTS 256u
#define ROUNDS 4u /* calls in a row for one watch */
#define QUIET_NS (30 * NS_PER_S)
#define QUIET_PAUSE_NS (20 * NS_PER_MS)
#define ENDED 16384u
#define GAPS 256u
#define TOLD_MAX 5u

struct watch {
    struct dunlin_watch *watch; /* NULL: it broke, and was told */
    uint32_t number, node;
    struct fleet_interest interest;
    struct fleet_watched watched;
};

/* Puts that a watch was not given: as many may have failed. */
struct gap {
    const struct watch *watch;
    struct fleet_omission omission;
    struct fleet_key key;
};

/* A key as it stands in the end. */
struct standing {
    uint64_t hash, lsn;
    struct fleet_key key;
};

struct standings {
    struct standing *items;
    uint32_t count, room;
};

struct watcher {
    const struct fleet *fleet;
    struct fleet_region *region;
    struct fleet_seat seats[FLEET_NODES_MAX];
    struct watch *watches;
    uint32_t count, turn, told;
    bool out_of_memory;
    uint32_t gap_count;
    struct gap gaps[GAPS];
    struct {
        uint64_t hash, number;
    } ended[ENDED]; /* telemetry: what a watch was given last before it was deleted */
    struct standings standings[2]; /* telemetry, sectors */
};

static void found(struct watcher *p, const struct watch *w, const struct fleet_key *key,
                  enum fleet_finding finding, const struct fleet_omission *o)
{
    struct fleet_entry entry = {
        .start = atomic_load_explicit(&p->region->start, memory_order_relaxed), /* own */
        .kind = FLEET_ENTRY_FINDING,
        .node = (uint8_t)w->node,
        .detail = (uint16_t)finding,
        .cell = key->length > GEOHASH_CHARACTERS ? geohash_parse(key->bytes, GEOHASH_CHARACTERS)
                                                 : GEOHASH_NONE,
        .lsn_expected = o->expected,
        .lsn = o->found,
    };
    if (p->told++ < TOLD_MAX)
        (void)fprintf(stderr, "watcher %u at node %u, of %s %s '%.*s': key %.*s:\n", w->number,
                      w->node + 1, w->interest.sectors ? "sectors" : "telemetry",
                      w->interest.is_pattern ? "pattern" : "prefix", (int)w->interest.length,
                      w->interest.text, (int)key->length, key->bytes);
    fleet_journal_put(p->region, &entry);
}

/* ---- events ---- */

static bool is_telemetry(const char *key)
{
    return key[1] == '/'; /* no character of a cell */
}

/* Keys of another run are nobody's here. */
static bool is_ours(const struct watcher *p, const void *bytes, size_t length)
{
    struct fleet_key cell;
    fleet_key_sector(&cell, p->fleet->run, 0);
    const char *run = cell.bytes + cell.length - 8, *key = bytes;
    if (length < cell.length || length > FLEET_KEY_BYTES)
        return false;
    return is_telemetry(key) ? memcmp(key + 2, run, 8) == 0
                             : length == cell.length && memcmp(key + length - 8, run, 8) == 0;
}

/* Two watches that are told that a key was deleted were given the same before. */
static void judge_end(struct watcher *p, const struct watch *w, const struct fleet_key *key,
                      uint64_t hash)
{
    const struct fleet_watched_key *known = fleet_watched_find(&w->watched, hash);
    if (known == NULL)
        return;
    uint32_t at = (uint32_t)(hash % ENDED);
    if (p->ended[at].hash == hash && p->ended[at].number != known->number) {
        struct fleet_omission o = {p->ended[at].number, known->number, UINT64_MAX};
        found(p, w, key, FLEET_FINDING_WATCH_SKIPPED, &o);
    }
    p->ended[at].hash = hash;
    p->ended[at].number = known->number;
}

static int read_value(struct watcher *p, const struct dunlin_event *d, const struct fleet_key *key,
                      struct fleet_event *e)
{
    uint64_t stamp_ns, now_ns = clock_boottime_ns();
    if (fleet_value_parse(d->value, d->value_length, key, &stamp_ns, &e->number) != 0)
        return -EBADMSG;
    histogram_add(&p->region->latency, now_ns > stamp_ns ? now_ns - stamp_ns : 0);
    if (!e->is_sector)
        return 0;
    e->number = 0; /* the owner's name is nothing that counts */
    return fleet_value_expected(d->value, d->value_length, &e->lsn_before);
}

static void skipped(struct watcher *p, const struct watch *w, const struct fleet_key *key,
                    const struct fleet_omission *o)
{
    if (o->missing != UINT64_MAX && p->gap_count < GAPS)
        p->gaps[p->gap_count++] = (struct gap){w, *o, *key};
    else
        found(p, w, key, FLEET_FINDING_WATCH_SKIPPED, o);
}

static void take(struct watcher *p, struct watch *w, const struct dunlin_event *d)
{
    struct fleet_key key = {.length = (uint32_t)d->key_length};
    struct fleet_event e = {
        .hash = hash_key(d->key, d->key_length),
        .log = d->version.log,
        .lsn = d->version.lsn,
        .is_delete = d->kind != DUNLIN_EVENT_PUT,
    };
    struct fleet_omission o = {.found = d->version.lsn};
    if (!is_ours(p, d->key, d->key_length))
        return;
    memcpy(key.bytes, d->key, key.length);
    e.is_sector = !is_telemetry(key.bytes);
    fleet_count(p->region, FLEET_EVENTS, 1);
    if (!fleet_interest_match(&w->interest, key.bytes, key.length)) {
        found(p, w, &key, FLEET_FINDING_WATCH_FOREIGN, &o);
        return;
    }
    if (!e.is_delete && read_value(p, d, &key, &e) != 0) {
        found(p, w, &key, FLEET_FINDING_TORN, &o);
        return;
    }
    if (e.is_delete && !e.is_sector)
        judge_end(p, w, &key, e.hash);
    int result = fleet_watched_take(&w->watched, &e, &o);
    if (result == -ENOMEM)
        p->out_of_memory = true;
    else if (result == FLEET_FINDING_WATCH_SKIPPED)
        skipped(p, w, &key, &o);
    else if (result != 0)
        found(p, w, &key, (enum fleet_finding)result, &o);
}

/* What a watch says instead of events.  True: it may have more at once. */
static bool take_error(struct watcher *p, struct watch *w, int error)
{
    struct fleet_key none = {.length = 0};
    struct dunlin_version version;
    if (error == -ENOTCONN || error == -ENOENT)
        return false; /* its daemon is away, or cannot answer: it goes on by itself */
    if (error == -ENODATA) {
        dunlin_watch_lagged(w->watch, &version, NULL);
        fleet_watched_lag(&w->watched, version.log, version.lsn);
        fleet_count(p->region, FLEET_LAGS, 1);
        return true;
    }
    struct fleet_omission o = {.found = (uint64_t)-error};
    found(p, w, &none, FLEET_FINDING_WATCH_BROKEN, &o);
    dunlin_watch_close(w->watch);
    w->watch = NULL;
    return false;
}

/* One call.  True: there may be more. */
static bool look(struct watcher *p, struct watch *w, uint64_t timeout_ns)
{
    struct dunlin_event events[EVENTS];
    if (w->watch == NULL)
        return false;
    int64_t n = dunlin_watch_next(w->watch, events, EVENTS, timeout_ns);
    if (n < 0)
        return take_error(p, w, (int)n);
    for (int64_t i = 0; i < n; i++)
        take(p, w, &events[i]);
    return n != 0;
}

/* ---- the loop ---- */

static void tell_cpu(const struct watcher *p)
{
    struct timespec used;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0)
        return;
    uint64_t ns = (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
    fleet_count(p->region, FLEET_CPU_NS, ns - fleet_counted(p->region, FLEET_CPU_NS));
}

static void sleep_ns(uint64_t ns)
{
    const struct timespec sleep = {.tv_nsec = (long)ns};
    (void)nanosleep(&sleep, NULL); /* a signal shortens it: looked again all the same */
}

static void pass(struct watcher *p)
{
    uint64_t until_ns = clock_boottime_ns() + PASS_NS;
    bool more = false;
    ASSERT(p->count > 0); /* there are as many watches as processes, at least */
    for (uint32_t i = 0; i < p->count; i++) {
        bool has_more = true;
        for (uint32_t n = 0; has_more && n < ROUNDS; n++)
            has_more = look(p, &p->watches[i], 0);
        more |= has_more;
    }
    tell_cpu(p);
    uint64_t now_ns = clock_boottime_ns();
    if (more || now_ns >= until_ns)
        return;
    (void)look(p, &p->watches[p->turn++ % p->count], until_ns - now_ns);
    now_ns = clock_boottime_ns();
    if (now_ns < until_ns)
        sleep_ns(until_ns - now_ns);
}

/* ---- the end ---- */

static int standings_add(struct standings *s, const struct dunlin_scan_entry *e)
{
    if (s->count == s->room) {
        uint32_t room = s->room == 0 ? 1024 : s->room * 2;
        struct standing *items = realloc(s->items, room * sizeof(*items));
        if (items == NULL)
            return -ENOMEM;
        s->items = items;
        s->room = room;
    }
    struct standing *item = &s->items[s->count++];
    item->hash = hash_key(e->key, e->key_length);
    item->lsn = e->version.lsn;
    item->key.length = (uint32_t)e->key_length;
    memcpy(item->key.bytes, e->key, e->key_length);
    return 0;
}

/* All keys of the run as they stand now, linearizable: nobody writes any more. */
static int standings_read(struct watcher *p, struct dunlin_space *space, struct standings *s)
{
    const struct dunlin_scan_options options = {.keys_only = 1};
    struct dunlin_scan_entry entry;
    struct dunlin_scan *scan;
    int error = dunlin_scan_open(space, &options, &scan);
    if (error != 0)
        return error;
    while ((error = dunlin_scan_next(scan, &entry)) == 0)
        if (is_ours(p, entry.key, entry.key_length) && (error = standings_add(s, &entry)) != 0)
            break;
    dunlin_scan_close(scan);
    return error == -ENOENT ? 0 : error;
}

/* A watch against what stands.  Returns how many keys differ; tells: each is a finding. */
static uint32_t compare(struct watcher *p, const struct watch *w, bool tells)
{
    const struct standings *s = &p->standings[w->interest.sectors];
    struct fleet_key none = {.length = 0};
    struct fleet_omission o;
    uint32_t given = 0, wrong = 0;
    if (w->watch == NULL)
        return 0; /* told already */
    for (uint32_t i = 0; i < s->count; i++) {
        const struct standing *item = &s->items[i];
        if (!fleet_interest_match(&w->interest, item->key.bytes, item->key.length))
            continue;
        given += fleet_watched_find(&w->watched, item->hash) != NULL;
        if (fleet_watched_judge(&w->watched, item->hash, item->lsn, &o) == 0)
            continue;
        wrong++;
        if (tells)
            found(p, w, &item->key, FLEET_FINDING_WATCH_MISSED, &o);
    }
    if (given == w->watched.count)
        return wrong;
    o = (struct fleet_omission){given, w->watched.count, UINT64_MAX};
    if (tells)
        found(p, w, &none, FLEET_FINDING_WATCH_REMAINS, &o);
    return wrong + 1;
}

static uint32_t compare_all(struct watcher *p, bool tells)
{
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < p->count && (wrong == 0 || tells); i++)
        wrong += compare(p, &p->watches[i], tells);
    return wrong;
}

/* Only what failed may be left out. */
static void judge_gaps(struct watcher *p)
{
    uint64_t failed = 0;
    for (uint32_t life = 0; life < p->fleet->life_count; life++)
        failed += fleet_counted(p->fleet->regions[life], FLEET_PUTS_FAILED);
    for (uint32_t i = 0; i < p->gap_count; i++) {
        const struct gap *g = &p->gaps[i];
        if (g->omission.missing > failed)
            found(p, g->watch, &g->key, FLEET_FINDING_WATCH_SKIPPED, &g->omission);
    }
}

static int judge(struct watcher *p)
{
    uint64_t until_ns = clock_boottime_ns() + QUIET_NS;
    int error = standings_read(p, p->seats[0].telemetry, &p->standings[0]);
    if (error == 0)
        error = standings_read(p, p->seats[0].sectors, &p->standings[1]);
    if (error != 0) {
        (void)fprintf(stderr, "watchers cannot read what stands at the end: %s\n",
                      strerror(-error));
        return error;
    }
    do {
        pass(p);
        sleep_ns(QUIET_PAUSE_NS);
    } while (compare_all(p, false) != 0 && clock_boottime_ns() < until_ns);
    (void)compare_all(p, true);
    judge_gaps(p);
    for (uint32_t i = 0; i < p->count; i++)
        fleet_count(p->region, FLEET_WATCHES_JUDGED, p->watches[i].watch != NULL);
    return 0;
}

/* ---- the beginning ---- */

static int open_watch(struct watcher *p, struct watch *w)
{
    const struct fleet_interest *i = &w->interest;
    const struct fleet_seat *seat = &p->seats[w->node];
    /* Why from the oldest: of what comes later nothing may be missed, and this run's keys are new. */
    const struct dunlin_watch_options options = {
        .prefix = i->is_pattern ? NULL : i->text,
        .prefix_length = i->is_pattern ? 0 : i->length,
        .pattern = i->is_pattern ? i->text : NULL,
        .pattern_length = i->is_pattern ? i->length : 0,
        .from = "oldest",
    };
    return dunlin_watch_open(i->sectors ? seat->sectors : seat->telemetry, &options, &w->watch);
}

static int prepare(struct watcher *p)
{
    const struct fleet *f = p->fleet;
    const struct fleet_interest_from from = {f->sources, f->source_count, f->run};
    uint64_t random = f->options.seed + p->region->process;
    uint32_t first = p->region->process;
    const uint32_t nodes = fleet_staying(f);
    ASSERT(f->watcher_count > 0 && nodes > 0);
    for (uint32_t i = 0; i < nodes; i++) {
        int error = fleet_attach(f, i, i == 0, &p->seats[i]);
        if (error != 0)
            return error;
    }
    p->watches = calloc(f->options.watches / f->watcher_count + 1, sizeof(*p->watches));
    if (p->watches == NULL)
        return -ENOMEM;
    for (uint32_t number = first; number < f->options.watches; number += f->watcher_count) {
        struct watch *w = &p->watches[p->count];
        w->number = number;
        w->node = p->count % nodes;
        fleet_interest_choose(&w->interest, &from, p->count / nodes, &random);
        int error = open_watch(p, w);
        if (error != 0) {
            (void)fprintf(stderr, "dunlin-bench fleet: watch %u at node %u: %s\n", number,
                          w->node + 1, strerror(-error));
            return error;
        }
        p->count++;
    }
    fleet_count(p->region, FLEET_WATCHES, p->count);
    return 0;
}

static void release(struct watcher *p)
{
    for (uint32_t i = 0; i < p->count; i++) {
        dunlin_watch_close(p->watches[i].watch);
        fleet_watched_free(&p->watches[i].watched);
    }
    for (uint32_t i = 0; i < fleet_staying(p->fleet); i++)
        fleet_detach(&p->seats[i]);
    free(p->watches);
    free(p->standings[0].items);
    free(p->standings[1].items);
    free(p);
}

static int watch_all(struct watcher *p)
{
    const struct fleet *f = p->fleet;
    int error = prepare(p);
    if (error != 0)
        return error;
    atomic_store_explicit(&p->region->start, fleet_start(f, p->seats[0].handle),
                          memory_order_release); /* S1 */
    /* acquire: Q2 */
    while (atomic_load_explicit(&f->shared->is_quiet, memory_order_acquire) == 0 &&
           !p->out_of_memory)
        pass(p);
    error = p->out_of_memory ? -ENOMEM : judge(p);
    tell_cpu(p);
    return error;
}

int fleet_watcher_main(const struct fleet *f, struct fleet_region *region)
{
    struct watcher *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return 1;
    p->fleet = f;
    p->region = region;
    int error = watch_all(p);
    release(p);
    return error == 0 ? 0 : 1;
}
