/* A cursor and the writer, interleaved at every atomic step of either: puts, deletes, transactions,
 * commits, cuts, cleaning and reuse of segments run while a read stands between two of its loads.  What a
 * read gives out is what was committed in the range that it says it passed: record by record, by their
 * checksums, whole transactions.  One thread, two stacks, all from one seed. */
#include "engine/cursor.h"
#include "engine/land.h"
#include "engine/plant.h"
#include "tests/unit/engine/alternate.h"
#include "tests/unit/engine/hooked_atomics.h"
#include "tests/unit/engine/transaction_items.h"

#include <stdlib.h>

#define SEEDS 1500u
#define READS 30u
#define FRAMES 12u
#define BYTES (1u << 17)
#define COMMITTED_MAX 20000u

struct past {
    uint64_t lsn, lsn_end;
    uint32_t crc;
    bool keyed, end;
};

static struct {
    struct fixture f, saved_f;
    uint8_t *saved;
    struct past *past, *past_saved; /* committed records, oldest first */
    uint32_t count, count_saved;
    uint64_t lsn_to, lsn_to_saved; /* that they reach */
    struct topic everything;
    uint8_t *bytes;
    uint64_t seed;
    uint32_t failures;
    uint64_t events, lagged, again, cuts, transactions, grown;
} w;

static void fail(const char *what)
{
    if (w.failures++ < 5)
        (void)fprintf(stderr, "    seed %llu: %s\n", (unsigned long long)w.seed, what);
}

/* ---- the writer ---- */

/* Before it is committed, so that no reader can be ahead of this list. */
static void learn(void)
{
    const struct log *l = &w.f.shard->log;
    bool active = alternate.active;
    alternate.active = false;
    while (w.lsn_to < l->lsn_end) {
        uint64_t available;
        const uint8_t *at = log_bytes_at(l, w.lsn_to, &available);
        ASSERT(at != NULL);
        for (const uint8_t *end = at + available; at < end;) {
            struct record h;
            uint64_t size = record_step(at, &h);
            ASSERT(w.count < COMMITTED_MAX);
            if (h.kind != RECORD_PAD)
                w.past[w.count++] = (struct past){
                    .lsn = w.lsn_to,
                    .lsn_end = w.lsn_to + size,
                    .crc = h.crc,
                    .keyed = h.kind == RECORD_DATA || h.kind == RECORD_TOMBSTONE,
                    .end = (h.flags & RECORD_FLAG_TRANSACTION_END) != 0,
                };
            w.lsn_to += size;
            at += size;
        }
    }
    alternate.active = active;
}

static void commit(void)
{
    learn();
    fixture_commit(&w.f);
}

static void cut(void)
{
    fixture_answers(&w.f);
    if (land_cut(w.f.shard, w.f.shard->lsn_committed, &w.f.now) == 0)
        w.cuts++;
    fixture_answers(&w.f);
}

static void put_one(void)
{
    static uint8_t value[20000];
    char key[32];
    uint32_t number = alternate_below(20);
    uint32_t length =
        alternate_below(4) == 0 ? alternate_below(sizeof value) : alternate_below(200);
    fixture_value(number, alternate.random, value, length);
    (void)!fixture_put(&w.f, key, fixture_key(number, key), value, length);
}

static void put_many(void)
{
    uint32_t count = 2 + alternate_below(20);
    if (transaction_try(&w.f, many(alternate_below(20), count, alternate_below(500)), count) == 0)
        w.transactions++;
}

static void act(void)
{
    char key[32];
    w.f.clock_ns++;
    switch (alternate_below(10)) {
    case 0:
    case 1:
    case 2:
        put_one();
        break;
    case 3:
        put_many();
        break;
    case 4:
        (void)!fixture_delete(&w.f, key, fixture_key(alternate_below(20), key));
        break;
    case 5:
        if (alternate_below(4) == 0)
            cut();
        break;
    case 6:
    case 7:
        commit();
        break;
    default:
        (void)fixture_maintain(&w.f);
    }
}

/* ---- the reader ---- */

static uint32_t past_from(uint64_t lsn)
{
    uint32_t at = 0;
    while (at < w.count && w.past[at].lsn < lsn)
        at++;
    return at;
}

static void batch_check(uint64_t from, uint64_t to, const struct cursor_batch *b)
{
    uint32_t next = past_from(from);
    uint64_t at = 0;
    for (; next < w.count && w.past[next].lsn < to; next++) {
        const struct past *p = &w.past[next];
        struct record h;
        if (!p->keyed)
            continue;
        if (at >= b->length || record_check(b->bytes + at, b->length - at, &h) <= 0 ||
            h.crc != p->crc || h.lsn != p->lsn) {
            fail("a record is missing or another one");
            return;
        }
        at += record_size(&h);
        if (p->end)
            at += sizeof(struct cursor_mark);
        w.events++;
    }
    if (at != b->length)
        fail("records came that were not committed there");
    if (next != 0 && !w.past[next - 1].end)
        fail("half a transaction");
}

static void read_once(struct cursor *c)
{
    struct cursor_batch b = {.bytes = w.bytes, .capacity = alternate_below(3) == 0 ? 4096 : BYTES};
    bool begins = c->start != CURSOR_READY;
    uint64_t from = c->lsn;
    int result = cursor_read(c, &w.f.space, &w.everything, &b);
    bool active = alternate.active;
    alternate.active = false; /* what is checked now is private */
    if (result == 1 && !begins)
        batch_check(from, c->lsn, &b);
    if (result == -EBADMSG)
        fail("damaged");
    if (result == -ENODATA && cursor_resume(c, &w.f.space) != 0)
        w.lagged++;
    w.again += result == -EAGAIN;
    w.grown += result == -ENOBUFS;
    alternate.active = active;
}

static void read_all(void *argument)
{
    (void)argument;
    struct cursor c = {.start = CURSOR_OLDEST};
    struct cursor other = {.start = CURSOR_NOW};
    for (uint32_t i = 0; i < READS; i++)
        read_once(i % 3 == 0 ? &other : &c);
}

/* ---- seeds ---- */

static void open(void)
{
    memset(&w, 0, sizeof w);
    alternate = (struct alternate){.reader_steps = 1000, .writer_steps = 10000};
    fixture_open(&w.f, &(struct fixture_config){.quota_bytes = UINT64_C(2) << 20,
                                                .shard_count = 1,
                                                .frames_per_shard = FRAMES});
    CU_ASSERT_EQUAL_FATAL(topic_prefix(&w.everything, NULL, 0), 0);
    w.bytes = aligned_alloc(8, BYTES);
    w.past = calloc(COMMITTED_MAX, sizeof *w.past);
    w.past_saved = calloc(COMMITTED_MAX, sizeof *w.past);
    CU_ASSERT_TRUE_FATAL(w.bytes != NULL && w.past != NULL && w.past_saved != NULL);
    w.lsn_to = w.f.shard->log.lsn_origin;
    shard_grant(w.f.shard, w.lsn_to + (UINT64_C(1) << 32));
    for (uint32_t i = 0; i < 300;
         i++) { /* so much that segments are reused from the first step on */
        put_one();
        commit();
        (void)fixture_maintain(&w.f);
    }
    fixture_settle(&w.f);
    w.saved = fixture_save(&w.f);
    w.saved_f = w.f;
    w.count_saved = w.count;
    w.lsn_to_saved = w.lsn_to;
    memcpy(w.past_saved, w.past, w.count * sizeof *w.past);
}

static void close_all(void)
{
    fixture_close(&w.f);
    free(w.saved);
    free(w.bytes);
    free(w.past);
    free(w.past_saved);
}

static void run(uint64_t seed)
{
    fixture_restore(&w.f, w.saved);
    w.f = w.saved_f;
    w.count = w.count_saved;
    w.lsn_to = w.lsn_to_saved;
    memcpy(w.past, w.past_saved, w.count * sizeof *w.past);
    w.seed = seed;
    alternate_begin(seed, read_all);
    for (uint32_t turn = 0; !alternate.reader_done && turn < 100000; turn++)
        act();
    if (!alternate.reader_done)
        fail("the reader does not end");
    alternate_end();
}

static void a_cursor_gives_out_what_was_committed(void)
{
    open();
    bool all = alternate_seeds(SEEDS, run, &w.failures);
    CU_ASSERT_EQUAL(w.failures, 0);
    (void)printf(" (%llu events, %llu lagged, %llu again, %llu cuts) ",
                 (unsigned long long)w.events, (unsigned long long)w.lagged,
                 (unsigned long long)w.again, (unsigned long long)w.cuts);
    CU_ASSERT(!all || (w.events != 0 && w.lagged != 0 && w.again != 0 && w.cuts != 0 &&
                       w.transactions != 0 && w.grown != 0));
    close_all();
}

#ifdef DUNLIN_PLANT
static void is_found(const char *bug)
{
    open();
    CU_ASSERT_EQUAL(plant_set(bug), 0);
    for (uint64_t seed = 1; seed <= SEEDS && w.failures == 0; seed++)
        run(seed);
    CU_ASSERT_EQUAL(plant_set("none"), 0);
    CU_ASSERT(w.failures != 0);
    close_all();
}

static void planted_bugs_are_found(void)
{
    is_found("cursor-unvalidated");
    is_found("cursor-half-transaction");
}
#endif

static const struct unit_test tests[] = {
    UNIT_TEST(a_cursor_gives_out_what_was_committed),
#ifdef DUNLIN_PLANT
    UNIT_TEST(planted_bugs_are_found),
#endif
};
UNIT_MAIN("cursor_interleaved", tests)
