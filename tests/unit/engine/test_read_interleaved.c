/* The read protocol against the writer, step by step: before every atomic load and store of either the
 * other may run on, for one step or for thousands.  One thread, two stacks, all from one seed.
 *
 * What is held against the writer's own history of each key:
 *   a validated read equals the history at the LSN it read at: a value, a tombstone, nothing;
 *   that LSN is not below what was committed when the read began;
 *   a pinned record keeps its bytes until it is let go, or its segment's stamp says otherwise;
 *   after a lapsed lease no read that began before calls itself linearizable.
 * A failure prints the seed; `test_engine_read_interleaved SEED` as environment DUNLIN_SEED repeats it. */
#include "tests/unit/engine/coroutine.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/engine/hooked_atomics.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define HOT_KEYS 12u
#define HISTORY_MAX 512u
#define VALUE_MAX 24000u

struct past {
    uint64_t lsn_end; /* visible from here on */
    uint64_t version; /* 0: deleted */
    uint32_t length;
};

struct history {
    struct past past[HISTORY_MAX];
    uint32_t count;
};

/* What readers met; a run in which one of them stayed zero has not tested it. */
struct met {
    uint64_t reads, found, missed, tombstones, again, invalid, stamped, horizon, survived_count, moved,
        cut, growths, reuses, pins, pins_refused, pins_kept, pins_lapsed, leases, leases_lost;
};

struct scene {
    struct fixture f;
    uint8_t *saved;
    struct fixture saved_f;
    struct history saved_histories[HOT_KEYS];
};

static struct {
    struct scene *scene;
    struct fixture *f;
    struct coroutine *reader;
    struct history histories[HOT_KEYS];
    struct met met;
    uint64_t seed, random;
    uint64_t budget;  /* steps until the other side runs */
    bool words_only;  /* of the writer's steps only stores of words that lead readers count */
    uint64_t version, lapses;
    uint32_t filler, focus; /* the key that most of it is about */
    uint32_t reads;         /* of a seed */
    bool active, reader_done;
    bool to_the_end; /* the reader stops no more */
    uint32_t failures;
    uint8_t value[VALUE_MAX + 8], check[VALUE_MAX + 8];
} g;

/* ---- switching ------------------------------------------------------------------------------------- */

/* Mostly a few steps, sometimes so many that whole segments are written and reused meanwhile. */
static uint64_t steps(bool reader)
{
    switch (fixture_below(&g.random, 8)) {
    case 0:
    case 1:
        return 1;
    case 2:
    case 3:
        return 1 + fixture_below(&g.random, 8);
    case 4:
    case 5:
        return 1 + fixture_below(&g.random, 64);
    case 6:
        return 1 + fixture_below(&g.random, reader ? 128 : 2000);
    default:
        return 1 + fixture_below(&g.random, reader ? 512 : 200000);
    }
}

static void writer_budget(void)
{
    g.words_only = fixture_below(&g.random, 2) == 0;
    g.budget = g.words_only ? 1 + fixture_below(&g.random, 400) : steps(false);
}

static void run_reader(void)
{
    g.budget = g.to_the_end ? UINT64_MAX : steps(true);
    g.reader_done |= !coroutine_resume(g.reader);
    writer_budget();
}

static void step(void)
{
    if (--g.budget != 0)
        return;
    if (coroutine_is_inside(g.reader))
        coroutine_yield(g.reader);
    else if (!g.reader_done)
        run_reader();
    else
        g.active = false;
}

void interleave_point(void)
{
    if (g.active && (!g.words_only || coroutine_is_inside(g.reader)))
        step();
}

/* Slots, links, the board, the directory; not the bytes of records. */
static bool is_word(uintptr_t address)
{
    const struct layout_geometry *geometry = &g.f->geometry;
    uint64_t offset = address - (uintptr_t)g.f->arena;
    uint64_t frame = offset >> geometry->segment_shift;
    if (frame >= layout_frame_count(geometry))
        return true;
    uint64_t in_chunk = frame & ((1u << (geometry->chunk_shift - geometry->segment_shift)) - 1);
    return in_chunk >= geometry->frames_per_chunk ||
           HOOKED_LOAD(&g.f->directory[frame].kind, memory_order_relaxed) == FRAME_INDEX;
}

void interleave_store(uintptr_t address)
{
    if (g.active && (!g.words_only || is_word(address)))
        step();
}

void interleave_loaded(uintptr_t address, uint64_t value)
{
    if (!g.active || !coroutine_is_inside(g.reader))
        return;
    g.met.cut += value == LAYOUT_LINK_CUT;
    uint64_t offset = address - (uintptr_t)g.f->arena;
    uint64_t frame = offset >> g.f->geometry.segment_shift;
    bool is_meta = offset % CACHE_LINE == 0 && frame < layout_frame_count(&g.f->geometry) &&
                   HOOKED_LOAD(&g.f->directory[frame].kind, memory_order_relaxed) == FRAME_INDEX;
    g.met.moved += is_meta && (value & LAYOUT_BUCKET_MOVED) != 0;
}

static void fail(const char *what, uint32_t key)
{
    if (g.failures++ < 5)
        (void)fprintf(stderr, "    seed %llu: %s, key %u\n", (unsigned long long)g.seed, what, key);
}

static uint32_t some_key(void)
{
    return fixture_below(&g.random, 2) == 0 ? g.focus : fixture_below(&g.random, HOT_KEYS);
}

/* ---- the reader ------------------------------------------------------------------------------------- */

static const struct past *past_at(uint32_t key, uint64_t lsn)
{
    static const struct past never = {.version = 0};
    const struct history *h = &g.histories[key];
    for (uint32_t i = h->count; i-- > 0;)
        if (h->past[i].lsn_end <= lsn)
            return &h->past[i];
    return &never;
}

/* Hold a view for a while. */
static void hold(const struct read_point *p, const struct read_found *found, uint32_t key,
                 const struct past *past)
{
    struct fixture *f = g.f;
    f->pinned[found->frame] = true;
    if (!read_pin_holds(p, &f->space, found->frame) || !read_validate(p, &f->space, false)) {
        f->pinned[found->frame] = false;
        g.met.pins_refused++;
        return;
    }
    g.met.pins++;
    bool retired = false;
    for (unsigned i = 0; i < 16; i++) {
        interleave_point();
        read_copy(found, g.check, VALUE_MAX);
        const struct layout_frame *entry = &f->directory[found->frame];
        bool stamped = atomic_load_explicit(&entry->stamp, memory_order_relaxed) > p->reclaim_count;
        retired |= (atomic_load_explicit(&entry->kind, memory_order_relaxed) & FRAME_RETIRING) != 0;
        if (stamped) {
            g.met.pins_lapsed++;
            break;
        }
        if (!fixture_value_is(key, past->version, g.check, past->length)) {
            fail("a pinned record changed", key);
            break;
        }
    }
    g.met.pins_kept += retired;
    f->pinned[found->frame] = false;
}

static void count_invalid(const struct read_point *p)
{
    struct fixture *f = g.f;
    g.met.invalid++;
    for (uint32_t i = 0; i < p->frame_count && i < READ_FRAMES_MAX; i++) {
        if (HOOKED_LOAD(&f->directory[p->frames[i]].stamp, memory_order_relaxed) >
            p->reclaim_count) {
            g.met.stamped++;
            return;
        }
    }
    g.met.horizon +=
        HOOKED_LOAD(&f->board->lsn_tombstone_horizon, memory_order_relaxed) > p->lsn;
}

static void judge(const struct read_point *p, int result, const struct read_found *found,
                  uint32_t key)
{
    const struct past *past = past_at(key, p->lsn);
    g.met.found += result == 1;
    g.met.missed += result == 0 && found->lsn == 0;
    g.met.tombstones += result == 0 && found->lsn != 0;
    g.met.survived_count +=
        HOOKED_LOAD(&g.f->board->reclaim_count, memory_order_relaxed) != p->reclaim_count;
    if ((result == 1) != (past->version != 0))
        fail(result == 1 ? "found what was not there" : "missed what was there", key);
    else if (result == 1 && (found->value_length != past->length ||
                             !fixture_value_is(key, past->version, g.value, past->length)))
        fail("found something else", key);
    else if (result == 1 && fixture_below(&g.random, 4) == 0)
        hold(p, found, key, past);
}

static void read_once(void)
{
    struct fixture *f = g.f;
    uint32_t key = some_key();
    char name[32];
    struct read_key k;
    read_key_init(&k, &f->space, name, fixture_key(key, name));
    struct read_point p;
    struct read_found found;
    uint64_t committed = HOOKED_LOAD(&f->board->lsn_committed, memory_order_relaxed);
    read_begin(&p, &f->space, 0);
    uint64_t lapses = g.lapses;
    if (p.lsn < committed)
        fail("read at an LSN below what was committed", key);
    int result = read_find(&p, &f->space, &k, &found);
    g.met.reads++;
    if (result < 0) {
        g.met.again++;
        return;
    }
    if (result == 1)
        read_copy(&found, g.value, VALUE_MAX);
    if (!read_validate(&p, &f->space, result == 0)) {
        count_invalid(&p);
        return;
    }
    bool lapsed = g.lapses != lapses;
    bool lease = read_lease(&p, &f->space);
    g.met.leases += lease;
    g.met.leases_lost += lapsed;
    if (lease && lapsed)
        fail("linearizable although the lease lapsed", key);
    judge(&p, result, &found, key);
}

static void reader_main(void *argument)
{
    (void)argument;
    for (unsigned i = 0; i < g.reads; i++) {
        read_once();
        interleave_point();
    }
}

/* ---- the writer -------------------------------------------------------------------------------------- */

static void history_add(uint32_t key, uint64_t version, uint32_t length)
{
    struct history *h = &g.histories[key];
    if (h->count == HISTORY_MAX) {
        memmove(h->past, h->past + HISTORY_MAX / 2, sizeof h->past / 2);
        h->count = HISTORY_MAX / 2;
    }
    h->past[h->count++] = (struct past){
        .lsn_end = g.f->shard->log.lsn_end,
        .version = version,
        .length = length,
    };
}

static void put(uint32_t key, uint32_t length)
{
    static uint8_t value[VALUE_MAX + 8];
    char name[32];
    uint64_t version = ++g.version;
    fixture_value(key, version, value, length);
    int r = fixture_put(g.f, name, fixture_key(key, name), value, length);
    if (r == 0 && key < HOT_KEYS)
        history_add(key, version, length);
    else if (r != 0 && r != -EAGAIN && r != RING_QUOTA)
        fail("put", key);
}

static void delete(uint32_t key)
{
    char name[32];
    uint64_t end = g.f->shard->log.lsn_end;
    int r = fixture_delete(g.f, name, fixture_key(key, name));
    if (r == 0 && g.f->shard->log.lsn_end != end)
        history_add(key, 0, 0);
    else if (r != 0 && r != -EAGAIN)
        fail("delete", key);
}

/* Some of what is appended, at the end of an operation. */
static void commit_some(void)
{
    struct shard *s = g.f->shard;
    uint32_t waiting = s->pending_tail - s->pending_applied;
    if (waiting == 0)
        return;
    uint32_t upto = s->pending_applied + fixture_below(&g.random, waiting);
    shard_commit(s, s->pending[upto % LIMIT_PENDING].lsn_wait);
}

static void lease_lapse(void)
{
    struct layout_lease *cell = &g.f->node->leases[0];
    uint64_t generation = HOOKED_LOAD(&cell->generation, memory_order_relaxed) + 1;
    interleave_point();
    g.lapses++;
    HOOKED_STORE(&cell->generation, generation, memory_order_release);
    atomic_store_explicit(&g.f->board->lease_generation, generation, memory_order_release);
    atomic_store_explicit(&cell->ticks_deadline, UINT64_MAX, memory_order_release);
}

static void maintain(uint32_t passes)
{
    while (passes-- != 0)
        (void)fixture_maintain(g.f);
}

/* Delete, and let so much log go by that the tombstone is given up. */
static void bury(uint32_t key)
{
    if (fixture_below(&g.random, 2) == 0)
        fixture_commit(g.f);
    delete (key);
    for (unsigned i = 0; i < 24; i++) {
        fixture_commit(g.f);
        maintain(3);
        put(HOT_KEYS, 16000);
    }
}

static void act(void)
{
    uint32_t key = some_key();
    switch (fixture_below(&g.random, 18)) {
    case 16:
        if (fixture_below(&g.random, 4) == 0)
            bury(key);
        break;
    case 0:
    case 1:
    case 2:
        put(key, fixture_below(&g.random, 300));
        break;
    case 3:
    case 4:
        delete (key);
        break;
    case 5:
        put(HOT_KEYS, 4000 + fixture_below(&g.random, VALUE_MAX - 4000)); /* moves the log on */
        break;
    case 6:
        put(100 + g.filler++, 8); /* a new key, for the index */
        break;
    case 7:
        commit_some();
        break;
    case 8:
        if (fixture_below(&g.random, 4) == 0)
            lease_lapse();
        break;
    case 9:
    case 10:
    case 11:
        fixture_commit(g.f);
        break;
    default:
        maintain(1 + fixture_below(&g.random, 8));
    }
}

static void run_seed(struct scene *scene, uint64_t seed)
{
    g.scene = scene;
    g.f = &scene->f;
    fixture_restore(&scene->f, scene->saved);
    scene->f = scene->saved_f;
    memcpy(g.histories, scene->saved_histories, sizeof g.histories);
    g.seed = seed;
    g.random = seed;
    g.version = 1000;
    g.filler = 100000;
    g.focus = fixture_below(&g.random, HOT_KEYS);
    g.reader_done = false;
    g.reader = coroutine_make(reader_main, NULL);
    uint32_t bits = g.f->shard->index.table.bits;
    uint64_t reuses = HOOKED_LOAD(&g.f->board->reclaim_count, memory_order_relaxed);
    g.budget = 1;
    g.active = true;
    while (!g.reader_done)
        act();
    g.active = false;
    g.met.growths += g.f->shard->index.table.bits - bits;
    g.met.reuses += HOOKED_LOAD(&g.f->board->reclaim_count, memory_order_relaxed) - reuses;
    coroutine_free(g.reader);
    if (g.f->shard->live_bytes != fixture_live_bytes(g.f, NULL))
        fail("live bytes", 0);
}

/* ---- scenes ------------------------------------------------------------------------------------------ */

static void scene_keep(struct scene *s)
{
    s->saved = fixture_save(&s->f);
    s->saved_f = s->f;
    memcpy(s->saved_histories, g.histories, sizeof g.histories);
}

static void scene_open(struct scene *s, uint64_t quota, uint32_t frames)
{
    memset(s, 0, sizeof *s);
    memset(g.histories, 0, sizeof g.histories);
    fixture_open(&s->f, &(struct fixture_config){
                            .quota_bytes = quota,
                            .shard_count = 1,
                            .frames_per_shard = frames,
                        });
    g.f = &s->f;
    atomic_store_explicit(&s->f.node->leases[0].ticks_deadline, UINT64_MAX, memory_order_relaxed);
}

static void scene_close(struct scene *s)
{
    free(s->saved);
    fixture_close(&s->f);
}

static void fill(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        put(i, 8);
        if (i % 64 == 0) {
            struct shard_answer answer;
            fixture_commit(g.f);
            while (shard_answer_next(g.f->shard, &answer))
                g.f->answers++;
            shard_grant(g.f->shard, g.f->shard->log.lsn_end + (UINT64_C(1) << 30));
        }
    }
}

static void run_seeds(struct scene *s, uint64_t first, uint64_t count)
{
    const char *only = getenv("DUNLIN_SEED");
    if (only != NULL) {
        run_seed(s, strtoull(only, NULL, 10));
        return;
    }
    for (uint64_t i = 0; i < count && g.failures == 0; i++)
        run_seed(s, first + i);
}

static void begin(uint32_t reads)
{
    g.reads = reads;
    memset(&g.met, 0, sizeof g.met);
    g.failures = 0;
}

static void met_print(const char *scene)
{
    const struct met *m = &g.met;
    const struct {
        const char *name;
        uint64_t count;
    } rows[] = {
        {"reads", m->reads},       {"found", m->found},
        {"missed", m->missed},     {"tombstones", m->tombstones},
        {"again", m->again},       {"invalid", m->invalid},
        {"stamped", m->stamped},   {"horizon", m->horizon},
        {"survived", m->survived_count}, {"moved", m->moved},
        {"cut", m->cut},           {"growths", m->growths},
        {"reuses", m->reuses},     {"pins", m->pins},
        {"pins refused", m->pins_refused}, {"pins kept", m->pins_kept},
        {"pins lapsed", m->pins_lapsed},   {"leases", m->leases},
        {"leases lost", m->leases_lost},
    };
    printf("\n    %s:", scene);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        printf(" %s %llu", rows[i].name, (unsigned long long)rows[i].count);
    printf("\n");
}

/* ---- one stop, at every step of a read ---------------------------------------------------------------- */

#define STOPS 48u

static void stop_reader(void *argument)
{
    (void)argument;
    read_once();
}

static void stop_begin(struct scene *scene, uint32_t stop)
{
    g.f = &scene->f;
    fixture_restore(&scene->f, scene->saved);
    scene->f = scene->saved_f;
    memcpy(g.histories, scene->saved_histories, sizeof g.histories);
    g.seed = stop;
    g.random = UINT64_MAX / 3; /* its first draw says: the focus key */
    g.version = 1000;
    g.filler = 200000;
    g.words_only = false;
    g.reader = coroutine_make(stop_reader, NULL);
    g.budget = stop;
    g.active = true;
    g.reader_done = !coroutine_resume(g.reader);
    g.active = false;
}

static void stop_end(void)
{
    g.budget = UINT64_MAX;
    g.active = true;
    if (!g.reader_done)
        g.reader_done = !coroutine_resume(g.reader);
    g.active = false;
    CU_ASSERT_TRUE(g.reader_done);
    coroutine_free(g.reader);
}

/* One read of the focus key that stops before its nth step, script, and the rest of the read. */
static void read_with_a_stop(struct scene *scene, uint32_t stop, void (*script)(void))
{
    stop_begin(scene, stop);
    if (!g.reader_done)
        script();
    stop_end();
}

/* The same, but the rest of the read runs before the script's mth store of a word that leads readers.
 * Returns false when the script has no so many. */
static bool read_between_stores(struct scene *scene, uint32_t stop, uint64_t store,
                                void (*script)(void))
{
    stop_begin(scene, stop);
    g.to_the_end = true;
    g.words_only = true;
    g.budget = store;
    g.active = !g.reader_done;
    script();
    g.active = false;
    g.to_the_end = false;
    bool more = g.reader_done;
    stop_end();
    return more;
}

static void script_bury(void)
{
    bury(g.focus);
}

static void script_bury_and_put(void)
{
    bury(g.focus);
    put(g.focus, 50);
    fixture_commit(g.f);
}

static void script_replace(void)
{
    put(g.focus, 50);
    fixture_commit(g.f);
    for (unsigned i = 0; i < 24; i++) {
        put(HOT_KEYS, 16000);
        fixture_settle(g.f);
    }
}

/* Why the writes: they take the frames of the old pages, which would give the reader away. */
static void script_grow(void)
{
    struct index *x = &g.f->shard->index;
    for (unsigned i = 0; x->growing || g.f->shard->reclaim.count != 0; i++) {
        maintain(1);
        ASSERT(i < 100);
    }
    for (unsigned i = 0; i < 8; i++)
        put(HOT_KEYS, 24000);
    fixture_commit(g.f);
    maintain(1);
}

static void script_grow_to_the_end(void)
{
    script_grow();
    maintain(60);
}

static void stop_everywhere(struct scene *s, void (*script)(void))
{
    for (g.focus = 0; g.focus < HOT_KEYS; g.focus++)
        for (uint32_t stop = 1; stop <= STOPS && g.failures == 0; stop++)
            read_with_a_stop(s, stop, script);
}

static void open_with_reuse(struct scene *s)
{
    scene_open(s, UINT64_C(2) << 20, 8);
    for (uint32_t i = 0; i < HOT_KEYS; i += 2)
        put(i, 100);
    for (uint32_t i = 0; i < 30; i++) {
        put(HOT_KEYS, 20000);
        fixture_settle(&s->f);
    }
    scene_keep(s);
}

/* The commit LSN stands where the tombstone will begin: the horizon must tell the two apart. */
static void a_read_may_stop_at_any_step_while_its_segment_is_reused(void)
{
    static struct scene s;
    begin(1);
    open_with_reuse(&s);
    stop_everywhere(&s, script_bury);
    stop_everywhere(&s, script_bury_and_put);
    stop_everywhere(&s, script_replace);
    met_print("stops, reuse");
    CU_ASSERT_EQUAL(g.failures, 0);
    CU_ASSERT(g.met.found != 0 && g.met.missed != 0 && g.met.stamped != 0 && g.met.horizon != 0);
    scene_close(&s);
}

/* The order of the writer's stores: the horizon before the slot is empty, the commit LSN before links are
 * cut, the stamp before the frame is used. */
static void a_read_may_end_between_any_two_stores_of_the_writer(void)
{
    static void (*const scripts[])(void) = {script_bury, script_bury_and_put, script_replace};
    static struct scene s;
    begin(1);
    open_with_reuse(&s);
    uint64_t stores = 0;
    for (unsigned i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        for (uint32_t stop = 5; stop <= 17; stop += 4) {
            g.focus = 4;
            for (uint64_t store = 1; g.failures == 0; store++, stores++)
                if (!read_between_stores(&s, stop, store, scripts[i]))
                    break;
        }
    }
    met_print("stores");
    printf("    %llu stores\n", (unsigned long long)stores);
    CU_ASSERT_EQUAL(g.failures, 0);
    CU_ASSERT(stores > 100 && g.met.found != 0 && g.met.stamped != 0 && g.met.horizon != 0);
    scene_close(&s);
}

static void open_between_growths(struct scene *s)
{
    scene_open(s, UINT64_C(4) << 20, 0);
    fill(HOT_KEYS + 1, 4700);
    fixture_commit(&s->f);
    s->f.shard->bytes_appended = 0;
    (void)fixture_maintain(&s->f);
    CU_ASSERT(s->f.shard->index.growing);
    fill(4700, 9400);
    for (uint32_t i = 0; i < HOT_KEYS; i++)
        put(i, 100);
    fixture_commit(&s->f);
    s->f.shard->bytes_appended = 0;
    while (s->f.shard->index.growing &&
           s->f.shard->index.moved + 200 < (1u << s->f.shard->index.table.bits))
        (void)fixture_maintain(&s->f);
    CU_ASSERT(s->f.shard->index.growing);
    scene_keep(s);
}

/* A reader that stood still finds the page array of its root used for another table. */
static void a_read_may_stop_at_any_step_while_one_growth_follows_another(void)
{
    static struct scene s;
    begin(1);
    open_between_growths(&s);
    stop_everywhere(&s, script_grow);
    stop_everywhere(&s, script_grow_to_the_end);
    met_print("stops, growths");
    CU_ASSERT_EQUAL(g.failures, 0);
    CU_ASSERT(g.met.found != 0 && g.met.moved != 0 && g.met.stamped != 0);
    scene_close(&s);
}

/* ---- tests ------------------------------------------------------------------------------------------- */

static void reads_hold_while_segments_are_reused(void)
{
    static struct scene s;
    begin(24);
    open_with_reuse(&s);
    run_seeds(&s, 1, 1500);
    met_print("reuse");
    CU_ASSERT_EQUAL(g.failures, 0);
    CU_ASSERT(g.met.found != 0 && g.met.missed != 0 && g.met.tombstones != 0);
    CU_ASSERT(g.met.again != 0 && g.met.cut != 0);
    CU_ASSERT(g.met.stamped != 0 && g.met.survived_count != 0 && g.met.reuses != 0);
    CU_ASSERT(g.met.horizon != 0);
    CU_ASSERT(g.met.pins != 0 && g.met.pins_kept != 0 && g.met.pins_refused != 0);
    CU_ASSERT(g.met.leases != 0 && g.met.leases_lost != 0);
    scene_close(&s);
}

static void reads_hold_while_the_index_grows(void)
{
    static struct scene s;
    begin(16);
    scene_open(&s, UINT64_C(4) << 20, 0);
    fill(HOT_KEYS + 1, 4700);
    for (uint32_t i = 0; i < HOT_KEYS; i += 2)
        put(i, 100);
    fixture_commit(&s.f);
    scene_keep(&s);
    run_seeds(&s, 100000, 300);
    met_print("growth");
    CU_ASSERT_EQUAL(g.failures, 0);
    CU_ASSERT(g.met.moved != 0 && g.met.growths != 0 && g.met.stamped != 0);
    CU_ASSERT(g.met.found != 0 && g.met.missed != 0 && g.met.tombstones != 0);
    scene_close(&s);
}

/* So many keys that the next growth begins as soon as the pages of the last are stamped: a reader that
 * stood still meanwhile finds the page array of its root used for another table. */
static void reads_hold_when_one_growth_follows_another(void)
{
    static struct scene s;
    begin(4);
    open_between_growths(&s);
    run_seeds(&s, 200000, 600);
    met_print("growths");
    CU_ASSERT_EQUAL(g.failures, 0);
    CU_ASSERT(g.met.moved != 0 && g.met.growths != 0 && g.met.stamped != 0);
    scene_close(&s);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_read_may_stop_at_any_step_while_its_segment_is_reused),
    UNIT_TEST(a_read_may_end_between_any_two_stores_of_the_writer),
    UNIT_TEST(a_read_may_stop_at_any_step_while_one_growth_follows_another),
    UNIT_TEST(reads_hold_while_segments_are_reused),
    UNIT_TEST(reads_hold_while_the_index_grows),
    UNIT_TEST(reads_hold_when_one_growth_follows_another),
};
UNIT_MAIN("read_interleaved", tests)
