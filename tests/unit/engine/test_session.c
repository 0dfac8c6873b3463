#include "engine/session.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define CAPACITY 64u

static struct session_table t;
static void *memory;

static void open(uint32_t capacity)
{
    memory = calloc(1, session_table_bytes(capacity));
    ASSERT(memory != NULL);
    session_table_init(&t, capacity, memory);
}

static void close(void)
{
    free(memory);
}

static const uint8_t *id_of(uint64_t n)
{
    static uint64_t id[2];
    id[0] = n;
    id[1] = n * 3 + 1;
    return (const uint8_t *)id;
}

static enum session_order order_of(const struct session *s, uint64_t sequence)
{
    struct session_result result;
    return session_order(s, sequence, &result);
}

static struct session *one(void)
{
    open(CAPACITY);
    uint32_t slot = session_open(&t, id_of(1), 7, 1000, 0);
    CU_ASSERT_EQUAL(session_find(&t, id_of(1)), slot);
    return session_get(&t, 1000, slot, 7);
}

static void sequences_are_contiguous(void)
{
    struct session *s = one();
    CU_ASSERT_EQUAL(order_of(s, 0), SESSION_REFUSED);
    CU_ASSERT_EQUAL(order_of(s, 1), SESSION_NEXT);
    CU_ASSERT_EQUAL(order_of(s, 2), SESSION_REFUSED);
    CU_ASSERT_EQUAL(order_of(s, UINT64_MAX), SESSION_REFUSED);
    s->appended = 1;
    CU_ASSERT_EQUAL(order_of(s, 1), SESSION_PENDING);
    CU_ASSERT_EQUAL(order_of(s, 2), SESSION_NEXT);
    session_commit_result(s, 1, (struct session_result){.lsn = 5, .status = 2});
    struct session_result r;
    CU_ASSERT_EQUAL(session_order(s, 1, &r), SESSION_DUPLICATE);
    CU_ASSERT(r.lsn == 5 && r.status == 2);
    close();
}

static void the_last_results_are_kept_and_no_more(void)
{
    struct session *s = one();
    for (uint64_t i = 1; i <= 1000; i++) {
        s->appended = i;
        session_commit_result(s, i, (struct session_result){.lsn = i * 8});
        uint64_t oldest = i > LIMIT_SESSION_WINDOW ? i - LIMIT_SESSION_WINDOW + 1 : 1;
        struct session_result r = {.lsn = 0};
        CU_ASSERT_EQUAL(session_order(s, oldest, &r), SESSION_DUPLICATE);
        CU_ASSERT_EQUAL(r.lsn, oldest * 8);
        CU_ASSERT_EQUAL(session_order(s, i, &r), SESSION_DUPLICATE);
        CU_ASSERT_EQUAL(r.lsn, i * 8);
        CU_ASSERT_EQUAL(order_of(s, oldest - 1), SESSION_REFUSED);
    }
    close();
}

static void another_uid_or_opening_finds_nothing(void)
{
    (void)one();
    CU_ASSERT_PTR_NOT_NULL(session_get(&t, 1000, 0, 7));
    CU_ASSERT_PTR_NOT_NULL(session_get(&t, 1000, 55, 7)); /* a wrong hint does no harm */
    CU_ASSERT_PTR_NOT_NULL(session_get(&t, 1000, UINT32_MAX, 7));
    CU_ASSERT_PTR_NULL(session_get(&t, 1000, 0, 8));
    CU_ASSERT_PTR_NULL(session_get(&t, 1008, 0, 7));
    CU_ASSERT_PTR_NULL(session_get(&t, 0, 1, 7));
    t.entries[0].expiring = true;
    CU_ASSERT_PTR_NULL(session_get(&t, 1000, 0, 7));
    close();
}

static void a_full_table_evicts_nobody(void)
{
    open(CAPACITY);
    for (uint64_t i = 0; i < CAPACITY; i++)
        CU_ASSERT(session_open(&t, id_of(i), 1, 1000 + i, 0) != SESSION_NONE);
    CU_ASSERT_TRUE(session_table_is_full(&t));
    CU_ASSERT_EQUAL(session_open(&t, id_of(999), 1, 99999, 0), SESSION_NONE);
    for (uint64_t i = 0; i < CAPACITY; i++)
        CU_ASSERT(session_find(&t, id_of(i)) != SESSION_NONE);
    session_forget(&t, session_find(&t, id_of(5)));
    CU_ASSERT_EQUAL(session_find(&t, id_of(5)), SESSION_NONE);
    CU_ASSERT_PTR_NULL(session_get(&t, 1005, 5, 1));
    CU_ASSERT(session_open(&t, id_of(999), 1, 99999, 0) != SESSION_NONE);
    close();
}

/* A follower learns of both before it learns that the first is over, or that the second is cut. */
static void an_id_opened_again_is_the_newer_session_until_one_is_gone(void)
{
    for (unsigned forgotten = 0; forgotten < 3; forgotten++) {
        uint32_t slots[3];
        open(CAPACITY);
        /* one that hashes alike stands behind them */
        const uint64_t alike[2] = {0, 0}, other[2] = {5, 5};
        for (uint64_t i = 0; i < 3; i++) {
            slots[i] = session_open(&t, (const uint8_t *)alike, 7, 1000 + 8 * i, 0);
            CU_ASSERT_EQUAL(session_find(&t, (const uint8_t *)alike), slots[i]);
        }
        uint32_t neighbour = session_open(&t, (const uint8_t *)other, 7, 2000, 0);
        session_forget(&t, slots[forgotten]);
        uint32_t newest = forgotten == 2 ? 1 : 2, oldest = forgotten == 0 ? 1 : 0;
        CU_ASSERT_EQUAL(session_find(&t, (const uint8_t *)alike), slots[newest]);
        CU_ASSERT_EQUAL(session_find_lsn(&t, 1000 + 8 * oldest, SESSION_NONE), slots[oldest]);
        session_forget(&t, slots[newest]);
        CU_ASSERT_EQUAL(session_find(&t, (const uint8_t *)alike), slots[oldest]);
        CU_ASSERT_EQUAL(session_find(&t, (const uint8_t *)other), neighbour);
        session_forget(&t, slots[oldest]);
        CU_ASSERT_EQUAL(session_find(&t, (const uint8_t *)alike), SESSION_NONE);
        CU_ASSERT_EQUAL(session_find(&t, (const uint8_t *)other), neighbour);
        CU_ASSERT_EQUAL(t.used, 1);
        close();
    }
}

/* Random opens and forgets in a table that is nearly full, so that walks collide and gaps close. */
static void both_tables_survive_deletions_under_collisions(void)
{
    static uint64_t lsn[400];
    open(100);
    memset(lsn, 0, sizeof lsn);
    uint64_t seed = 4, next = 8;
    uint32_t used = 0, wrong = 0;
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t n = fixture_below(&seed, 400);
        if (lsn[n] != 0) {
            session_forget(&t, session_find(&t, id_of(n)));
            lsn[n] = 0;
            used--;
        } else if (used < 100) {
            wrong += session_open(&t, id_of(n), n, next, 0) == SESSION_NONE;
            lsn[n] = next;
            next += 8 * (1 + fixture_below(&seed, 4));
            used++;
        }
        if (i % 16 != 0)
            continue;
        for (uint32_t j = 0; j < 400; j++) {
            uint32_t slot = session_find(&t, id_of(j));
            wrong += (slot != SESSION_NONE) != (lsn[j] != 0);
            if (lsn[j] != 0) {
                wrong += session_find_lsn(&t, lsn[j], SESSION_NONE) != slot;
                wrong += session_get(&t, lsn[j], 0, j) != &t.entries[slot];
            }
        }
        wrong += t.used != used;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    close();
}

/* Ids whose words cancel out all hash alike: walks get long, and nothing else. */
static void equal_hashes_only_make_walks_longer(void)
{
    open(CAPACITY);
    uint64_t id[2];
    for (uint64_t i = 0; i < CAPACITY; i++) {
        id[0] = id[1] = i;
        CU_ASSERT(session_open(&t, (const uint8_t *)id, 1, 1000 + i, 0) != SESSION_NONE);
    }
    for (uint64_t i = 0; i < CAPACITY; i += 2) {
        id[0] = id[1] = i;
        session_forget(&t, session_find(&t, (const uint8_t *)id));
    }
    for (uint64_t i = 0; i < CAPACITY; i++) {
        id[0] = id[1] = i;
        CU_ASSERT((session_find(&t, (const uint8_t *)id) != SESSION_NONE) == (i % 2 == 1));
    }
    close();
}

static void only_the_silent_are_swept(void)
{
    open(CAPACITY);
    for (uint64_t i = 0; i < 10; i++)
        t.entries[session_open(&t, id_of(i), 1, 1000 + i, i * 100)].opening = false;
    CU_ASSERT_EQUAL(session_sweep(&t, 1000, 99, 100), SESSION_NONE);
    CU_ASSERT_EQUAL(session_sweep(&t, 1000, 100, 100), 0);
    t.entries[0].opening = true;
    CU_ASSERT_EQUAL(session_sweep(&t, 1000, 100, 100), SESSION_NONE);
    t.entries[0].opening = false;
    t.entries[0].appended = 1; /* a write in flight */
    CU_ASSERT_EQUAL(session_sweep(&t, 1000, 100, 100), SESSION_NONE);
    t.entries[0].appended = 0;
    t.entries[0].expiring = true;
    CU_ASSERT_EQUAL(session_sweep(&t, 1000, 100, 100), SESSION_NONE);
    CU_ASSERT_EQUAL(session_sweep(&t, 1000, 200, 100), 1);
    uint32_t looked = 0; /* a few at a time, and all in the end */
    while (session_sweep(&t, 1, 1000, 100) != 9 && looked < 100)
        looked++;
    CU_ASSERT(looked < 100);
    close();
}

static const struct unit_test tests[] = {
    UNIT_TEST(sequences_are_contiguous),
    UNIT_TEST(the_last_results_are_kept_and_no_more),
    UNIT_TEST(another_uid_or_opening_finds_nothing),
    UNIT_TEST(a_full_table_evicts_nobody),
    UNIT_TEST(an_id_opened_again_is_the_newer_session_until_one_is_gone),
    UNIT_TEST(both_tables_survive_deletions_under_collisions),
    UNIT_TEST(equal_hashes_only_make_walks_longer),
    UNIT_TEST(only_the_silent_are_swept),
};
UNIT_MAIN("session", tests)
