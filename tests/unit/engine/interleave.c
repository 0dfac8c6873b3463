#include "tests/unit/engine/interleave.h"

#include "tests/unit/engine/hooked_atomics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct interleave interleave;

/* ---- switching ---- */

/* Mostly a few steps, sometimes so many that whole segments are written and reused meanwhile. */
static uint64_t steps(bool reader)
{
    switch (fixture_below(&interleave.random, 8)) {
    case 0:
    case 1:
        return 1;
    case 2:
    case 3:
        return 1 + fixture_below(&interleave.random, 8);
    case 4:
    case 5:
        return 1 + fixture_below(&interleave.random, 64);
    case 6:
        return 1 + fixture_below(&interleave.random, reader ? 128 : 2000);
    default:
        return 1 + fixture_below(&interleave.random, reader ? 512 : 200000);
    }
}

static void writer_budget(void)
{
    interleave.words_only = fixture_below(&interleave.random, 2) == 0;
    interleave.budget =
        interleave.words_only ? 1 + fixture_below(&interleave.random, 400) : steps(false);
}

static void run_reader(void)
{
    interleave.budget = interleave.to_the_end ? UINT64_MAX : steps(true);
    interleave.reader_done |= !coroutine_resume(interleave.reader);
    writer_budget();
}

static void step(void)
{
    if (--interleave.budget != 0)
        return;
    if (coroutine_is_inside(interleave.reader))
        coroutine_yield(interleave.reader);
    else if (!interleave.reader_done)
        run_reader();
    else
        interleave.active = false;
}

void interleave_point(void)
{
    if (interleave.active && (!interleave.words_only || coroutine_is_inside(interleave.reader)))
        step();
}

/* Slots, links, the board, the directory; not the bytes of records. */
static bool is_word(uintptr_t address)
{
    const struct layout_geometry *geometry = &interleave.f->geometry;
    uint64_t offset = address - (uintptr_t)interleave.f->arena;
    uint64_t frame = offset >> geometry->segment_shift;
    if (frame >= layout_frame_count(geometry))
        return true;
    uint64_t in_chunk = frame & ((1u << (geometry->chunk_shift - geometry->segment_shift)) - 1);
    return in_chunk >= geometry->frames_per_chunk ||
           HOOKED_LOAD(&interleave.f->directory[frame].kind, memory_order_relaxed) == FRAME_INDEX;
}

void interleave_store(uintptr_t address)
{
    if (interleave.active && (!interleave.words_only || is_word(address)))
        step();
}

void interleave_loaded(uintptr_t address, uint64_t value)
{
    if (!interleave.active || !coroutine_is_inside(interleave.reader))
        return;
    interleave.met.cut += value == LAYOUT_LINK_CUT;
    uint64_t offset = address - (uintptr_t)interleave.f->arena;
    uint64_t frame = offset >> interleave.f->geometry.segment_shift;
    bool is_meta =
        offset % CACHE_LINE == 0 && frame < layout_frame_count(&interleave.f->geometry) &&
        HOOKED_LOAD(&interleave.f->directory[frame].kind, memory_order_relaxed) == FRAME_INDEX;
    interleave.met.moved += is_meta && (value & LAYOUT_BUCKET_MOVED) != 0;
}

void interleave_fail(const char *what, uint32_t key)
{
    if (interleave.failures++ < 5)
        (void)fprintf(stderr, "    seed %llu: %s, key %u\n", (unsigned long long)interleave.seed,
                      what, key);
}

uint32_t interleave_some_key(void)
{
    return fixture_below(&interleave.random, 2) == 0
               ? interleave.focus
               : fixture_below(&interleave.random, INTERLEAVE_HOT_KEYS);
}

/* ---- the reader ---- */

const struct interleave_past *interleave_past_at(uint32_t key, uint64_t lsn)
{
    static const struct interleave_past never = {.version = 0};
    const struct interleave_history *h = &interleave.histories[key];
    for (uint32_t i = h->count; i-- > 0;)
        if (h->past[i].lsn_end <= lsn)
            return &h->past[i];
    return &never;
}

/* Hold a view for a while. */
static void hold(const struct read_point *p, const struct read_found *found, uint32_t key,
                 const struct interleave_past *past)
{
    struct fixture *f = interleave.f;
    f->pinned[found->frame] = true;
    if (!read_pin_holds(p, &f->space, found->frame) || !read_validate(p, &f->space, false)) {
        f->pinned[found->frame] = false;
        interleave.met.pins_refused++;
        return;
    }
    interleave.met.pins++;
    bool retired = false;
    for (unsigned i = 0; i < 16; i++) {
        interleave_point();
        read_copy(found, interleave.check, INTERLEAVE_VALUE_MAX);
        const struct layout_frame *entry = &f->directory[found->frame];
        bool stamped = atomic_load_explicit(&entry->stamp, memory_order_relaxed) > p->reclaim_count;
        retired |= (atomic_load_explicit(&entry->kind, memory_order_relaxed) & FRAME_RETIRING) != 0;
        if (stamped) {
            interleave.met.pins_lapsed++;
            break;
        }
        if (!fixture_value_is(key, past->version, interleave.check, past->length)) {
            interleave_fail("a pinned record changed", key);
            break;
        }
    }
    interleave.met.pins_kept += retired;
    f->pinned[found->frame] = false;
}

static void count_invalid(const struct read_point *p)
{
    struct fixture *f = interleave.f;
    interleave.met.invalid++;
    for (uint32_t i = 0; i < p->frame_count && i < READ_FRAMES_MAX; i++) {
        if (HOOKED_LOAD(&f->directory[p->frames[i]].stamp, memory_order_relaxed) >
            p->reclaim_count) {
            interleave.met.stamped++;
            return;
        }
    }
    interleave.met.horizon +=
        HOOKED_LOAD(&f->board->lsn_tombstone_horizon, memory_order_relaxed) > p->lsn;
}

/* One key of a read. */
struct asked {
    uint32_t key;
    int result;
    struct read_key name;
    struct read_found found;
};

static void judge(const struct read_point *p, const struct asked *a, const uint8_t *value)
{
    const struct interleave_past *past = interleave_past_at(a->key, p->lsn);
    bool found = a->result == 1;
    interleave.met.found += found;
    interleave.met.missed += !found && a->found.lsn == 0;
    interleave.met.tombstones += !found && a->found.lsn != 0;
    if (found != (past->version != 0))
        interleave_fail(found ? "found what was not there" : "missed what was there", a->key);
    else if (a->found.lsn != 0 && a->found.lsn != past->lsn)
        interleave_fail("found another version", a->key);
    else if (found && (a->found.value_length != past->length ||
                       !fixture_value_is(a->key, past->version, value, past->length)))
        interleave_fail("found something else", a->key);
    else if (found && fixture_below(&interleave.random, 4) == 0)
        hold(p, &a->found, a->key, past);
}

/* R3 and R4 of each.  Returns 1 all found, 0 some missed, or the first that is to be tried again. */
static int find_all(struct read_point *p, struct asked *asked, uint32_t count)
{
    const struct read_space *s = &interleave.f->space;
    int all = 1;
    for (uint32_t i = 0; i < count; i++) {
        struct asked *a = &asked[i];
        a->result = read_find(p, s, &a->name, &a->found);
        if (a->result < 0)
            return a->result;
        if (a->result == 1)
            read_copy(&a->found, interleave.values[i], INTERLEAVE_VALUE_MAX);
        else
            all = 0;
    }
    return all;
}

/* R5 to R7.  Returns whether what was found may be judged. */
static bool validate(const struct read_point *p, bool missed, uint64_t lapses)
{
    struct fixture *f = interleave.f;
    if (!read_validate(p, &f->space, missed)) {
        count_invalid(p);
        return false;
    }
    bool lapsed = interleave.lapses != lapses;
    bool lease = read_lease(p, &f->space);
    interleave.met.leases += lease;
    interleave.met.leases_lost += lapsed;
    if (lease && lapsed)
        interleave_fail("linearizable although the lease lapsed", interleave.focus);
    interleave.met.survived_count +=
        HOOKED_LOAD(&f->board->reclaim_count, memory_order_relaxed) != p->reclaim_count;
    return true;
}

static void read_all(struct asked *asked, uint32_t count)
{
    struct fixture *f = interleave.f;
    struct read_point p;
    uint64_t committed = HOOKED_LOAD(&f->board->lsn_committed, memory_order_relaxed);
    read_begin(&p, &f->space, 0);
    uint64_t lapses = interleave.lapses;
    if (p.lsn < committed)
        interleave_fail("read at an LSN below what was committed", asked[0].key);
    int result = find_all(&p, asked, count);
    interleave.met.reads++;
    if (result < 0) {
        interleave.met.again++;
        return;
    }
    if (!validate(&p, result == 0, lapses))
        return;
    if (p.lsn > HOOKED_LOAD(&f->board->lsn_committed, memory_order_relaxed))
        interleave_fail("read at an LSN that was never committed", asked[0].key);
    interleave.met.batches += count > 1;
    for (uint32_t i = 0; i < count; i++)
        judge(&p, &asked[i], interleave.values[i]);
}

static void ask(struct asked *a, uint32_t key)
{
    char name[32];
    a->key = key;
    read_key_init(&a->name, &interleave.f->space, name, fixture_key(key, name));
}

void interleave_read_once(void)
{
    struct asked asked;
    ask(&asked, interleave_some_key());
    read_all(&asked, 1);
}

void interleave_read_batch(uint32_t count)
{
    struct asked asked[INTERLEAVE_BATCH_MAX];
    ASSERT(count <= INTERLEAVE_BATCH_MAX);
    for (uint32_t i = 0; i < count; i++) {
        ask(&asked[i], interleave_some_key());
        read_prefetch_bucket(&interleave.f->space, &asked[i].name);
    }
    for (uint32_t i = 0; i < count; i++)
        read_prefetch_record(&interleave.f->space, &asked[i].name);
    read_all(asked, count);
}

static void reader_main(void *argument)
{
    (void)argument;
    for (unsigned i = 0; i < interleave.reads; i++) {
        if (i % 4 == 3)
            interleave_read_batch(2 + fixture_below(&interleave.random, INTERLEAVE_BATCH_MAX - 1));
        else
            interleave_read_once();
        interleave_point();
    }
}

/* ---- the writer ---- */

void interleave_history_add(uint32_t key, const struct interleave_past *past)
{
    struct interleave_history *h = &interleave.histories[key];
    if (h->count == INTERLEAVE_HISTORY_MAX) {
        memmove(h->past, h->past + INTERLEAVE_HISTORY_MAX / 2, sizeof h->past / 2);
        h->count = INTERLEAVE_HISTORY_MAX / 2;
    }
    h->past[h->count++] = *past;
}

/* What the leader appended just now. */
static void history_add(uint32_t key, uint64_t version, uint32_t length)
{
    char name[32];
    uint64_t lsn_end = interleave.f->shard->log.lsn_end;
    interleave_history_add(key,
                           &(struct interleave_past){
                               .lsn_end = lsn_end,
                               .lsn = lsn_end - record_bytes(0, fixture_key(key, name), length),
                               .version = version,
                               .length = length,
                           });
}

void interleave_put(uint32_t key, uint32_t length)
{
    static uint8_t value[INTERLEAVE_VALUE_MAX + 8];
    char name[32];
    uint64_t version = ++interleave.version;
    fixture_value(key, version, value, length);
    int r = fixture_put(interleave.f, name, fixture_key(key, name), value, length);
    if (r == 0 && key < INTERLEAVE_HOT_KEYS)
        history_add(key, version, length);
    else if (r != 0 && r != -EAGAIN && r != RING_QUOTA)
        interleave_fail("put", key);
}

static void delete (uint32_t key)
{
    char name[32];
    uint64_t end = interleave.f->shard->log.lsn_end;
    int r = fixture_delete(interleave.f, name, fixture_key(key, name));
    /* where nothing stood it is a void */
    bool stood = interleave_past_at(key, UINT64_MAX)->version != 0;
    if (r == 0 && interleave.f->shard->log.lsn_end != end && stood)
        history_add(key, 0, 0);
    else if (r != 0 && r != -EAGAIN)
        interleave_fail("delete", key);
}

/* Two or three hot keys at once: visible together from the end of the last record on. */
static void put_together(void)
{
    static uint8_t values[3][304];
    char names[3][32];
    struct shard_item items[3];
    struct interleave_past past[3];
    uint32_t count = 2 + fixture_below(&interleave.random, 2);
    uint32_t first = interleave_some_key();
    struct shard *s = interleave.f->shard;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key = (first + i) % INTERLEAVE_HOT_KEYS;
        past[i].version = ++interleave.version;
        past[i].length = fixture_below(&interleave.random, 300);
        fixture_value(key, past[i].version, values[i], past[i].length);
        uint32_t name_length = fixture_key(key, names[i]);
        struct shard_write w = fixture_write_of(interleave.f, RING_PUT, names[i], name_length);
        items[i] = (struct shard_item){.operation = RING_PUT, .hash = w.hash, .key = names[i]};
        items[i].key_length = w.key_length;
        items[i].value = values[i];
        items[i].value_length = past[i].length;
    }
    struct shard_transaction t = {.items = items, .count = count, .session_slot = SESSION_NONE};
    int r = shard_transaction(s, &t);
    if (r != 0 && r != -EAGAIN && r != RING_QUOTA)
        interleave_fail("transaction", first);
    for (uint32_t i = 0; i < count && r == 0; i++) {
        past[i].lsn = s->pending[(s->pending_tail - count + i) % LIMIT_PENDING].lsn;
        past[i].lsn_end = s->log.lsn_whole;
        interleave_history_add((first + i) % INTERLEAVE_HOT_KEYS, &past[i]);
    }
    interleave.met.together += r == 0;
}

/* Some of what is appended, at the end of an operation. */
static void commit_some(void)
{
    struct shard *s = interleave.f->shard;
    uint32_t waiting = s->pending_tail - s->pending_applied;
    if (waiting == 0)
        return;
    uint32_t upto = s->pending_applied + fixture_below(&interleave.random, waiting);
    shard_commit(s, s->pending[upto % LIMIT_PENDING].lsn_wait);
}

void interleave_lease_lapse(void)
{
    struct layout_lease *cell = &interleave.f->node->leases[0];
    uint64_t generation = HOOKED_LOAD(&cell->generation, memory_order_relaxed) + 1;
    interleave_point();
    interleave.lapses++;
    HOOKED_STORE(&cell->generation, generation, memory_order_release);
    atomic_store_explicit(&interleave.f->board->lease_generation,
                          generation << 1 | LAYOUT_GENERATION_MAY_READ, memory_order_release);
    atomic_store_explicit(&cell->ticks_deadline, UINT64_MAX, memory_order_release);
}

void interleave_maintain(uint32_t passes)
{
    while (passes-- != 0)
        (void)fixture_maintain(interleave.f);
}

void interleave_bury(uint32_t key)
{
    if (fixture_below(&interleave.random, 2) == 0)
        fixture_commit(interleave.f);
    delete (key);
    for (unsigned i = 0; i < 24; i++) {
        fixture_commit(interleave.f);
        interleave_maintain(3);
        interleave_put(INTERLEAVE_HOT_KEYS, 16000);
    }
}

static void act(void)
{
    uint32_t key = interleave_some_key();
    switch (fixture_below(&interleave.random, 20)) {
    case 16:
        if (fixture_below(&interleave.random, 4) == 0)
            interleave_bury(key);
        break;
    case 0:
    case 1:
    case 2:
        interleave_put(key, fixture_below(&interleave.random, 300));
        break;
    case 3:
    case 4:
        delete (key);
        break;
    case 5:
        interleave_put(INTERLEAVE_HOT_KEYS,
                       4000 + fixture_below(&interleave.random,
                                            INTERLEAVE_VALUE_MAX - 4000)); /* moves the log on */
        break;
    case 6:
        interleave_put(100 + interleave.filler++, 8); /* a new key, for the index */
        break;
    case 7:
        commit_some();
        break;
    case 8:
        if (fixture_below(&interleave.random, 4) == 0)
            interleave_lease_lapse();
        break;
    case 9:
    case 10:
    case 11:
        fixture_commit(interleave.f);
        break;
    case 17:
    case 18:
        put_together();
        break;
    default:
        interleave_maintain(1 + fixture_below(&interleave.random, 8));
    }
}

static const struct interleave_writer leader = {.act = act};

static void run_seed(struct interleave_scene *scene, uint64_t seed)
{
    const struct interleave_writer *writer = scene->writer != NULL ? scene->writer : &leader;
    interleave.scene = scene;
    interleave.f = &scene->f;
    fixture_restore(&scene->f, scene->saved);
    scene->f = scene->saved_f;
    memcpy(interleave.histories, scene->saved_histories, sizeof interleave.histories);
    interleave.seed = seed;
    interleave.random = seed;
    interleave.version = 1000;
    interleave.filler = 100000;
    interleave.focus = fixture_below(&interleave.random, INTERLEAVE_HOT_KEYS);
    if (writer->begin != NULL)
        writer->begin();
    interleave.reader_done = false;
    interleave.reader = coroutine_make(reader_main, NULL);
    uint32_t bits = interleave.f->shard->index.table.bits;
    uint64_t reuses = HOOKED_LOAD(&interleave.f->board->reclaim_count, memory_order_relaxed);
    interleave.budget = 1;
    interleave.active = true;
    while (!interleave.reader_done)
        writer->act();
    interleave.active = false;
    interleave.met.growths += interleave.f->shard->index.table.bits - bits;
    interleave.met.reuses +=
        HOOKED_LOAD(&interleave.f->board->reclaim_count, memory_order_relaxed) - reuses;
    coroutine_free(interleave.reader);
    if (interleave.f->shard->live_bytes != fixture_live_bytes(interleave.f, NULL))
        interleave_fail("live bytes", 0);
}

/* ---- scenes ---- */

void interleave_keep(struct interleave_scene *s)
{
    s->saved = fixture_save(&s->f);
    s->saved_f = s->f;
    memcpy(s->saved_histories, interleave.histories, sizeof interleave.histories);
}

void interleave_open(struct interleave_scene *s, uint64_t quota, uint32_t frames)
{
    memset(s, 0, sizeof *s);
    memset(interleave.histories, 0, sizeof interleave.histories);
    fixture_open(&s->f, &(struct fixture_config){
                            .quota_bytes = quota,
                            .shard_count = 1,
                            .frames_per_shard = frames,
                        });
    interleave.f = &s->f;
    atomic_store_explicit(&s->f.node->leases[0].ticks_deadline, UINT64_MAX, memory_order_relaxed);
}

void interleave_close(struct interleave_scene *s)
{
    free(s->saved);
    fixture_close(&s->f);
}

void interleave_fill(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        interleave_put(i, 8);
        if (i % 64 == 0) {
            struct shard_answer answer;
            fixture_commit(interleave.f);
            while (shard_answer_next(interleave.f->shard, &answer))
                interleave.f->answers++;
            shard_grant(interleave.f->shard,
                        interleave.f->shard->log.lsn_end + (UINT64_C(1) << 30));
        }
    }
}

void interleave_seeds(struct interleave_scene *s, uint64_t first, uint64_t count)
{
    const char *only = getenv("DUNLIN_SEED");
    if (only != NULL) {
        run_seed(s, strtoull(only, NULL, 10));
        return;
    }
    for (uint64_t i = 0; i < count && interleave.failures == 0; i++)
        run_seed(s, first + i);
}

void interleave_begin(uint32_t reads)
{
    interleave.reads = reads;
    memset(&interleave.met, 0, sizeof interleave.met);
    interleave.failures = 0;
}

void interleave_print(const char *scene)
{
    const struct interleave_met *m = &interleave.met;
    const struct {
        const char *name;
        uint64_t count;
    } rows[] = {
        {"reads", m->reads},
        {"found", m->found},
        {"missed", m->missed},
        {"tombstones", m->tombstones},
        {"again", m->again},
        {"invalid", m->invalid},
        {"stamped", m->stamped},
        {"horizon", m->horizon},
        {"survived", m->survived_count},
        {"moved", m->moved},
        {"cut", m->cut},
        {"growths", m->growths},
        {"reuses", m->reuses},
        {"pins", m->pins},
        {"pins refused", m->pins_refused},
        {"pins kept", m->pins_kept},
        {"pins lapsed", m->pins_lapsed},
        {"leases", m->leases},
        {"leases lost", m->leases_lost},
        {"batches", m->batches},
        {"cuts", m->cuts},
        {"cuts waited", m->cuts_waited},
        {"cut records", m->cut_records},
        {"rewritten", m->rewritten},
    };
    printf("\n    %s:", scene);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        printf(" %s %llu", rows[i].name, (unsigned long long)rows[i].count);
    printf("\n");
}
