/* A follower is written as an lcore does it, while readers read it in place from threads of their own:
 * torture_follower [SECONDS [BUG]].
 *
 * One thread drives a leader, which nobody reads, and the follower: what the leader writes lands in pieces,
 * is checked, committed a part at a time, or cut on both, after which other bytes come at the same LSNs;
 * snapshots are taken over; the index and the tree grow, chunks are made as they are asked for, and the
 * memory is so small that segments are reused all the time.  Readers are stopped wherever they are.
 * Exit 0: no violation, and everything that is counted happened; with BUG, which a -Dplant=true build can
 * switch on: no violation, the bug was not found. */
#include "engine/clock.h"
#include "engine/hash.h"
#include "engine/install.h"
#include "engine/plant.h"
#include "engine/snapshot.h"
#include "tests/torture/torture_readers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READERS 7u
#define TOLD_MAX 16384u /* writes that are not committed at the follower; the leader waits then */
#define KEPT_MAX (UINT64_C(1) << 20)
#define PIECE_BYTES (1u << 14)
#define SHIP_MAX (1u << 14)
#define SLOW_TIMES 4u
#define TURNS_MAX 100000u

/* A transaction that the leader has, and the follower has not shown. */
struct told {
    uint64_t lsn_end;
    uint32_t pair; /* TORTURE_PAIRS: the queue */
    uint64_t version;
    uint64_t number; /* of its last value; of a delete: of the one before */
};

struct install_run {
    bool active, has_piece;
    uint64_t id;
    struct snapshot_cursor cursor;
    struct snapshot_piece piece;
};

/* A follower that took a snapshot and is not whole yet: since its commit LSN last rose. */
struct catching_up {
    uint64_t lsn_committed;
    uint64_t segments_freed; /* the counter, then */
    uint32_t turns;
};

static struct {
    struct fixture leader, follower;
    struct torture_shown shown;
    struct torture_reader readers[READERS];
    uint64_t seed;
    /* the leader's, appended */
    uint64_t version_last[TORTURE_PAIRS];   /* given, also if it was cut */
    uint64_t version[TORTURE_PAIRS], queue; /* as it stands */
    uint64_t number, number_last;           /* as it stands; given */
    uint64_t version_committed[TORTURE_PAIRS], queue_committed, number_committed;
    struct told told[TOLD_MAX];
    uint64_t told_head, told_committed, told_tail;
    struct install_run install;
    struct catching_up catching_up;
    uint64_t cuts, installs, discarded;
} t;

static uint32_t below(uint32_t n)
{
    return fixture_below(&t.seed, n);
}

static struct told *told_at(uint64_t i)
{
    return &t.told[i % TOLD_MAX];
}

/* ---- the leader ---- */

static struct shard_item put_of(const char *key, uint32_t id, uint8_t *value)
{
    struct torture_value v;
    uint32_t length = (uint32_t)sizeof v + 8 + below(TORTURE_VALUE_MAX - (uint32_t)sizeof v - 8);
    memcpy(&v, value, sizeof v);
    if (id >= 2 * TORTURE_PAIRS)
        length = sizeof v + 8; /* there are many of these, and they stay */
    fixture_value(id, v.version, value + sizeof v, length - (uint32_t)sizeof v);
    return (struct shard_item){
        .hash = hash_key(key, TORTURE_KEY_BYTES),
        .key = key,
        .key_length = TORTURE_KEY_BYTES,
        .value = value,
        .value_length = length,
        .operation = RING_PUT,
    };
}

/* Returns false: nothing was appended. */
static bool append(const struct shard_item *items, uint32_t count)
{
    uint64_t before = t.leader.shard->log.lsn_end;
    const struct shard_transaction transaction = {
        .origin = {.operation = RING_PUT},
        .items = items,
        .count = count,
        .session_slot = SESSION_NONE,
    };
    return shard_transaction(t.leader.shard, &transaction) == 0 &&
           t.leader.shard->log.lsn_end != before;
}

static void tell(uint32_t pair, uint64_t version)
{
    *told_at(t.told_tail++) = (struct told){
        .lsn_end = t.leader.shard->log.lsn_end,
        .pair = pair,
        .version = version,
        .number = t.number,
    };
}

static void write_pair(void)
{
    static uint8_t values[2][TORTURE_VALUE_MAX];
    char keys[2][32];
    struct shard_item items[2];
    uint32_t pair = below(TORTURE_PAIRS);
    bool there = t.version[pair] % 2 == 1, put = !there || below(4) != 0;
    uint64_t version = t.version_last[pair] + 1;
    version += version % 2 != put;
    for (uint32_t i = 0; i < 2; i++) {
        struct torture_value v = {version, t.number_last + 1 + i,
                                  i == 0 ? t.number : t.number_last + 1};
        torture_key_pair(pair, i == 1, keys[i]);
        memcpy(values[i], &v, sizeof v);
        items[i] = put_of(keys[i], torture_id_pair(pair, i == 1), values[i]);
        items[i].operation = put ? RING_PUT : RING_DELETE;
    }
    if (!append(items, 2))
        return;
    t.version[pair] = t.version_last[pair] = version;
    if (put)
        t.number = t.number_last += 2;
    tell(pair, version);
}

/* The next one, and with it the oldest goes when there are many. */
static void write_queue(void)
{
    static uint8_t value[TORTURE_VALUE_MAX];
    char keys[2][32];
    struct shard_item items[2];
    struct torture_value v = {1, t.number_last + 1, t.number};
    uint32_t number = (uint32_t)t.queue, count = 1;
    torture_key_queue(number, keys[0]);
    memcpy(value, &v, sizeof v);
    items[0] = put_of(keys[0], torture_id_queue(number), value);
    if (number >= TORTURE_QUEUE_MAX) {
        torture_key_queue(number - TORTURE_QUEUE_MAX, keys[1]);
        items[count] = items[0];
        items[count].hash = hash_key(keys[1], TORTURE_KEY_BYTES);
        items[count].key = keys[1];
        items[count++].operation = RING_DELETE;
    }
    if (!append(items, count))
        return;
    t.number = ++t.number_last;
    tell(TORTURE_PAIRS, ++t.queue);
}

static void leader_commits(void)
{
    fixture_commit(&t.leader);
    for (; t.told_committed != t.told_tail; t.told_committed++) {
        const struct told *e = told_at(t.told_committed);
        if (e->pair < TORTURE_PAIRS)
            t.version_committed[e->pair] = e->version;
        else
            t.queue_committed = e->version;
        t.number_committed = e->number;
    }
}

/* Why not always: what the follower needs of the log is kept, and it must not fill the leader's memory. */
static bool may_write(uint64_t lsn_kept)
{
    return t.told_tail - t.told_head < TOLD_MAX &&
           t.leader.shard->log.lsn_end - lsn_kept < KEPT_MAX;
}

static void leader_goes_on(void)
{
    uint64_t kept = t.follower.shard->log.lsn_end;
    if (t.install.active)
        kept = t.install.cursor.lsn_start;
    for (uint32_t i = below(12); i != 0 && may_write(kept); i--) {
        write_pair();
        if (below(3) == 0)
            write_queue();
    }
    if (below(3) == 0)
        leader_commits();
    t.leader.shard->lsn_kept = kept;
    (void)fixture_maintain(&t.leader);
}

/* ---- the follower ---- */

static void ship(void)
{
    struct land_range missing;
    uint64_t available;
    if (land_missing(t.follower.shard, t.leader.shard->log.lsn_end, &missing)) {
        const uint8_t *bytes = log_bytes_at(&t.leader.shard->log, missing.lsn_start, &available);
        ASSERT(bytes != NULL);
        available = min_u64(available, 8 + 8 * (uint64_t)below(SHIP_MAX / 8));
        int placed = land_bytes(t.follower.shard, missing.lsn_start, bytes, available);
        ASSERT(placed >= 0 || placed == -EAGAIN);
    }
    int checked = land_check(t.follower.shard);
    ASSERT(checked >= 0 || checked == -EAGAIN);
}

static struct torture_bounds *bounds_of(const struct told *e)
{
    return e->pair < TORTURE_PAIRS ? &t.shown.pairs[e->pair] : &t.shown.queue;
}

/* Readers are told before of what they may see from now on, and afterwards of what they must. */
static void follower_commits(void)
{
    uint64_t lsn = min_u64(t.leader.shard->lsn_committed, t.follower.shard->log.lsn_end);
    for (uint64_t i = t.told_head; i != t.told_tail && told_at(i)->lsn_end <= lsn; i++)
        atomic_store_explicit(&bounds_of(told_at(i))->may, told_at(i)->version,
                              memory_order_release);
    shard_commit(t.follower.shard, lsn);
    /* relaxed: this thread stored it */
    uint64_t shown = atomic_load_explicit(&t.follower.board->lsn_committed, memory_order_relaxed);
    for (; t.told_head != t.told_tail && told_at(t.told_head)->lsn_end <= shown; t.told_head++)
        atomic_store_explicit(&bounds_of(told_at(t.told_head))->must, told_at(t.told_head)->version,
                              memory_order_release);
}

/* Chunks that the shard asked for exist a pass later, zeros as a file's are. */
static void chunks_grow(void)
{
    struct fixture *f = &t.follower;
    uint32_t wanted = atomic_load_explicit(f->chunks_wanted, memory_order_acquire);
    uint32_t count = atomic_load_explicit(&f->header->chunk_count, memory_order_relaxed);
    if (wanted > count && count < f->geometry.chunk_count_max)
        /* release: what is in them is there before the count says so */
        atomic_store_explicit(&f->header->chunk_count, count + 1, memory_order_release);
}

static void follower_maintains(void)
{
    t.follower.now.ticks = clock_tsc_ordered();
    (void)fixture_maintain(&t.follower);
    chunks_grow();
}

/* ---- cuts ---- */

static void cut_at(struct fixture *f, uint64_t lsn)
{
    fixture_answers(f);
    for (uint32_t i = 0; land_cut(f->shard, lsn, &f->now) != 0; i++) {
        ASSERT(i < TURNS_MAX);
        (void)fixture_maintain(f);
        fixture_answers(f);
    }
}

/* All that is not committed at the leader is gone on both. */
static void cut(void)
{
    uint64_t lsn = t.leader.shard->lsn_committed;
    cut_at(&t.leader, lsn);
    cut_at(&t.follower, min_u64(lsn, t.follower.shard->log.lsn_end));
    t.cuts += t.told_tail != t.told_committed;
    t.told_tail = t.told_committed;
    memcpy(t.version, t.version_committed, sizeof t.version);
    t.queue = t.queue_committed;
    t.number = t.number_committed;
}

/* ---- snapshots ---- */

static void install_begins(void)
{
    struct install_run *r = &t.install;
    leader_commits();
    int begun = install_begin(t.follower.shard, ++r->id);
    if (begun == -EBUSY && below(4) != 0)
        return; /* one was taken and is not whole yet: it becomes so by itself */
    if (begun == -EBUSY) {
        /* As a replica: this one takes its place. */
        t.discarded++;
        install_discard(t.follower.shard);
        begun = install_begin(t.follower.shard, r->id);
    }
    if (begun == -EAGAIN)
        return;
    ASSERT(begun == 0);
    ASSERT(snapshot_begin(&r->cursor, t.leader.shard, r->id) == 0);
    r->active = true;
    r->has_piece = false;
}

/* A piece more, if there is memory for it. */
static void install_goes_on(void)
{
    struct install_run *r = &t.install;
    if (!r->has_piece) {
        r->piece.capacity =
            SNAPSHOT_PIECE_MIN + 8 * (uint64_t)below((PIECE_BYTES - SNAPSHOT_PIECE_MIN) / 8);
        int made = snapshot_next(&r->cursor, t.leader.shard, &r->piece);
        ASSERT(made >= 0 || made == -EAGAIN);
        r->has_piece = made >= 0;
        if (made < 0)
            return;
    }
    int taken = install_piece(t.follower.shard, r->piece.bytes, r->piece.length);
    if (taken == -ENOSPC) {
        t.discarded++;
        install_discard(t.follower.shard);
        return;
    }
    ASSERT(taken >= 0 || taken == -EAGAIN);
    r->has_piece = taken < 0;
    r->active = taken != 1;
    t.installs += taken == 1;
}

/* Whatever the memory: it comes to the end, and the cleaner does not go round and round meanwhile. */
static void check_catching_up(void)
{
    const struct shard *s = t.follower.shard;
    struct catching_up *c = &t.catching_up;
    uint64_t freed = fixture_counter(&t.follower, COUNTER_SEGMENTS_FREED);
    if (t.install.active || install_lsn_visible(s) == 0 || c->lsn_committed != s->lsn_committed)
        *c = (struct catching_up){.lsn_committed = s->lsn_committed, .segments_freed = freed};
    ASSERT(c->turns++ < TURNS_MAX);
    ASSERT(freed - c->segments_freed <= s->geometry.frames_per_shard);
}

/* ---- the whole ---- */

static bool all_happened(void)
{
    return t.cuts > 5 && t.installs > 1 && t.follower.shard->order.levels > 1 &&
           fixture_counter(&t.follower, COUNTER_SEGMENTS_FREED) > 20;
}

/* Longer where the machine is slow, so that all of it comes about. */
static void drive(double seconds)
{
    uint64_t begin_ns = clock_boottime_ns(), passed_ns;
    uint64_t least_ns = (uint64_t)(seconds * 1e9);
    while ((passed_ns = clock_boottime_ns() - begin_ns) < least_ns ||
           (passed_ns < SLOW_TIMES * least_ns && !all_happened())) {
        leader_goes_on();
        if (t.install.active)
            install_goes_on();
        else
            for (uint32_t i = 1 + below(6); i != 0; i--)
                ship();
        if (!t.install.active && below(300) == 0)
            install_begins();
        if (!t.install.active && below(40) == 0)
            cut();
        follower_commits();
        follower_maintains();
        check_catching_up();
        if (below(20) == 0)
            torture_stall(&t.readers[below(READERS)]);
    }
}

static bool any_pin(void *context, uint32_t frame)
{
    (void)context;
    for (uint32_t i = 0; i < READERS; i++)
        /* relaxed: W2's fence orders it */
        if (atomic_load_explicit(&t.readers[i].pins.pin[0], memory_order_relaxed) ==
            ring_pin_make(1, frame))
            return true;
    return false;
}

static void open_all(void)
{
    const struct fixture_config leader = {
        .quota_bytes = UINT64_C(4) << 20, .shard_count = 1, .ordered = true};
    struct fixture_config follower = leader;
    follower.chunks = 1;
    follower.follower = true;
    t.seed = 1;
    torture_stalls_prepare();
    fixture_open(&t.leader, &leader);
    fixture_open(&t.follower, &follower);
    t.follower.now.pinned = any_pin;
    t.follower.now.view_ticks = 2000000; /* about a millisecond */
    t.shown.f = &t.follower;
    t.install.piece.bytes = aligned_alloc(64, PIECE_BYTES);
    ASSERT(t.install.piece.bytes != NULL);
}

static void readers_start(void)
{
    static const enum torture_kind kinds[READERS] = {
        TORTURE_GETS,          TORTURE_GETS,   TORTURE_SCANS,
        TORTURE_SCANS_OF_ENDS, TORTURE_CURSOR, TORTURE_CURSOR_DAWDLING,
        TORTURE_CURSOR_OLDEST,
    };
    for (uint32_t i = 0; i < READERS; i++) {
        struct torture_reader *r = &t.readers[i];
        r->shown = &t.shown;
        r->space = t.follower.space;
        r->kind = kinds[i];
        r->seed = 100 + i;
        ASSERT(pthread_create(&r->thread, NULL, torture_reader_main, r) == 0);
    }
}

static void readers_stop(struct torture_counts *sum)
{
    uint64_t *to = (uint64_t *)sum;
    atomic_store_explicit(&t.shown.stop, true, memory_order_release);
    for (uint32_t i = 0; i < READERS; i++) {
        ASSERT(pthread_join(t.readers[i].thread, NULL) == 0);
        const uint64_t *from = (const uint64_t *)&t.readers[i].counts;
        for (size_t k = 0; k < sizeof *sum / sizeof *to; k++)
            to[k] += from[k];
    }
}

static bool report(const struct torture_counts *c)
{
    uint64_t freed = fixture_counter(&t.follower, COUNTER_SEGMENTS_FREED);
    uint32_t bits = t.follower.shard->index.table.bits;
    (void)printf("gets %llu missed %llu again %llu hidden %llu, views %llu unsafe %llu, scans %llu "
                 "pages %llu again %llu, events %llu lags %llu, mapped %llu times\n",
                 (unsigned long long)c->gets, (unsigned long long)c->missed,
                 (unsigned long long)c->again, (unsigned long long)c->hidden,
                 (unsigned long long)c->views, (unsigned long long)c->views_unsafe,
                 (unsigned long long)c->scans, (unsigned long long)c->pages,
                 (unsigned long long)c->pages_again, (unsigned long long)c->events,
                 (unsigned long long)c->lags, (unsigned long long)c->mapped);
    (void)printf("values %llu, queue %llu, cuts %llu, snapshots %llu, discarded %llu, segments "
                 "freed %llu, index bits %u, levels %u, violations %llu\n",
                 (unsigned long long)t.number_last, (unsigned long long)t.queue,
                 (unsigned long long)t.cuts, (unsigned long long)t.installs,
                 (unsigned long long)t.discarded, (unsigned long long)freed, bits,
                 t.follower.shard->order.levels, (unsigned long long)c->violations);
    bool met = c->gets != 0 && c->missed != 0 && c->views != 0 && c->scans != 0 && c->events != 0 &&
               c->lags != 0 && c->mapped != 0 && all_happened();
    if (!met)
        (void)fprintf(stderr, "torture_follower: something never happened\n");
    return met;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 5;
    struct torture_counts sum = {0};
    bool planted = argc > 2;
    if (planted && plant_set(argv[2]) != 0) {
        (void)fprintf(stderr, "torture_follower: this build has no bug '%s'\n", argv[2]);
        return 2;
    }
    open_all();
    readers_start();
    drive(seconds);
    readers_stop(&sum);
    bool met = report(&sum);
    free(t.install.piece.bytes);
    fixture_close(&t.leader);
    fixture_close(&t.follower);
    return sum.violations == 0 && (met || planted) ? 0 : 1;
}
