/* The heap of keys that have a ttl against a plain list. */
#include "engine/expiry.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define ENTRIES 300u
#define STEPS 60000u

static struct expiry e;
static uint64_t list_lsn[ENTRIES], list_due[ENTRIES];
static uint32_t list_count;
static uint64_t seed;

static uint64_t below(uint64_t n)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (seed >> 33) % n;
}

static void check_all(void)
{
    uint64_t first = UINT64_MAX;
    CU_ASSERT_EQUAL_FATAL(e.count, list_count);
    for (uint32_t i = 0; i < list_count; i++) {
        uint32_t place = expiry_find(&e, list_lsn[i]);
        CU_ASSERT_FATAL(place < e.count);
        CU_ASSERT_EQUAL_FATAL(e.heap[place].lsn, list_lsn[i]);
        CU_ASSERT_EQUAL_FATAL(e.heap[place].due_ns, list_due[i]);
        CU_ASSERT_EQUAL_FATAL(e.heap[place].hash, (uint32_t)list_lsn[i]);
        first = list_due[i] < first ? list_due[i] : first;
    }
    if (list_count != 0)
        CU_ASSERT_EQUAL_FATAL(expiry_first(&e)->due_ns, first);
}

static void step(uint64_t *lsn_next)
{
    uint32_t which = list_count != 0 ? (uint32_t)below(list_count) : 0;
    uint64_t kind = below(8);
    if (list_count != ENTRIES && (list_count == 0 || kind < 3)) {
        *lsn_next += 8 * (1 + below(100));
        const struct expiry_entry added = {
            .lsn = *lsn_next, .due_ns = below(50), .hash = (uint32_t)*lsn_next};
        expiry_add(&e, &added);
        list_lsn[list_count] = added.lsn;
        list_due[list_count++] = added.due_ns;
    } else if (kind < 6) {
        struct expiry_entry changed = e.heap[expiry_find(&e, list_lsn[which])];
        changed.due_ns = below(50);
        if (kind == 5)
            changed.lsn = *lsn_next += 8;
        changed.hash = (uint32_t)changed.lsn;
        expiry_set(&e, expiry_find(&e, list_lsn[which]), &changed);
        list_lsn[which] = changed.lsn;
        list_due[which] = changed.due_ns;
    } else {
        expiry_remove(&e, expiry_find(&e, list_lsn[which]));
        list_lsn[which] = list_lsn[--list_count];
        list_due[which] = list_due[list_count];
    }
}

static void it_is_a_list_that_knows_its_first(void)
{
    void *memory = calloc(1, expiry_bytes(ENTRIES));
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    uint64_t lsn = 0;
    bool was_full = false;
    expiry_init(&e, ENTRIES, memory);
    list_count = 0;
    seed = 1;
    CU_ASSERT_PTR_NULL(expiry_first(&e));
    CU_ASSERT_EQUAL(expiry_find(&e, 8), UINT32_MAX);
    for (uint32_t i = 0; i < STEPS; i++) {
        step(&lsn);
        was_full |= expiry_is_full(&e);
        if (i % 16 == 0)
            check_all();
    }
    CU_ASSERT(was_full);
    CU_ASSERT_EQUAL(expiry_find(&e, lsn + 8), UINT32_MAX);
    while (list_count != 0) {
        expiry_remove(&e, 0);
        list_count--;
    }
    CU_ASSERT_PTR_NULL(expiry_first(&e));
    free(memory);
}

static void it_gives_them_out_in_order(void)
{
    void *memory = calloc(1, expiry_bytes(1000));
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    uint64_t last = 0;
    seed = 2;
    expiry_init(&e, 1000, memory);
    for (uint64_t lsn = 8; lsn <= 8000; lsn += 8) {
        const struct expiry_entry added = {.lsn = lsn, .due_ns = below(UINT32_MAX)};
        expiry_add(&e, &added);
    }
    while (e.count != 0) {
        CU_ASSERT(expiry_first(&e)->due_ns >= last);
        last = expiry_first(&e)->due_ns;
        expiry_remove(&e, 0);
    }
    free(memory);
}

static const struct unit_test tests[] = {
    UNIT_TEST(it_is_a_list_that_knows_its_first),
    UNIT_TEST(it_gives_them_out_in_order),
};
UNIT_MAIN("expiry", tests)
