/* Readers in place and the writer of a shard, interleaved at every step: see interleave.h. */
#include "tests/unit/engine/interleave.h"
#include "tests/unit/unit.h"

/* ---- one stop, at every step of a read ---- */

static void script_bury(void)
{
    interleave_bury(interleave.focus);
}

static void script_bury_and_put(void)
{
    interleave_bury(interleave.focus);
    interleave_put(interleave.focus, 50);
    fixture_commit(interleave.f);
}

static void script_replace(void)
{
    interleave_put(interleave.focus, 50);
    fixture_commit(interleave.f);
    for (unsigned i = 0; i < 24; i++) {
        interleave_put(INTERLEAVE_HOT_KEYS, 16000);
        fixture_settle(interleave.f);
    }
}

/* Why the writes: they take the frames of the old pages, which would give the reader away. */
static void script_grow(void)
{
    struct index *x = &interleave.f->shard->index;
    for (unsigned i = 0; x->growing || interleave.f->shard->reclaim.count != 0; i++) {
        interleave_maintain(1);
        ASSERT(i < 100);
    }
    for (unsigned i = 0; i < 8; i++)
        interleave_put(INTERLEAVE_HOT_KEYS, 24000);
    fixture_commit(interleave.f);
    interleave_maintain(1);
}

static void script_grow_to_the_end(void)
{
    script_grow();
    interleave_maintain(60);
}

static void open_with_reuse(struct interleave_scene *s)
{
    interleave_open(s, UINT64_C(2) << 20, 8);
    for (uint32_t i = 0; i < INTERLEAVE_HOT_KEYS; i += 2)
        interleave_put(i, 100);
    for (uint32_t i = 0; i < 30; i++) {
        interleave_put(INTERLEAVE_HOT_KEYS, 20000);
        fixture_settle(&s->f);
    }
    interleave_keep(s);
}

/* The commit LSN stands where the tombstone will begin: the horizon must tell the two apart. */
static void a_read_may_stop_at_any_step_while_its_segment_is_reused(void)
{
    static struct interleave_scene s;
    interleave_begin(1);
    open_with_reuse(&s);
    interleave_stop_everywhere(&s, script_bury);
    interleave_stop_everywhere(&s, script_bury_and_put);
    interleave_stop_everywhere(&s, script_replace);
    interleave_print("stops, reuse");
    CU_ASSERT_EQUAL(interleave.failures, 0);
    CU_ASSERT(interleave.met.found != 0 && interleave.met.missed != 0 &&
              interleave.met.stamped != 0 && interleave.met.horizon != 0);
    interleave_close(&s);
}

/* The order of the writer's stores: the horizon before the slot is empty, the commit LSN before
 * links are cut, the stamp before the frame is used. */
static void a_read_may_end_between_any_two_stores_of_the_writer(void)
{
    static void (*const scripts[])(void) = {script_bury, script_bury_and_put, script_replace};
    static struct interleave_scene s;
    interleave_begin(1);
    open_with_reuse(&s);
    uint64_t stores = 0;
    for (unsigned i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        for (uint32_t stop = 5; stop <= 17; stop += 4) {
            interleave.focus = 4;
            for (uint64_t store = 1; interleave.failures == 0; store++, stores++)
                if (!interleave_stop_stores(&s, stop, store, scripts[i]))
                    break;
        }
    }
    interleave_print("stores");
    printf("    %llu stores\n", (unsigned long long)stores);
    CU_ASSERT_EQUAL(interleave.failures, 0);
    CU_ASSERT(stores > 100 && interleave.met.found != 0 && interleave.met.stamped != 0 &&
              interleave.met.horizon != 0);
    interleave_close(&s);
}

static void open_between_growths(struct interleave_scene *s)
{
    interleave_open(s, UINT64_C(4) << 20, 0);
    interleave_fill(INTERLEAVE_HOT_KEYS + 1, 4700);
    fixture_commit(&s->f);
    s->f.shard->bytes_appended = 0;
    (void)fixture_maintain(&s->f);
    CU_ASSERT(s->f.shard->index.growing);
    interleave_fill(4700, 9400);
    for (uint32_t i = 0; i < INTERLEAVE_HOT_KEYS; i++)
        interleave_put(i, 100);
    fixture_commit(&s->f);
    s->f.shard->bytes_appended = 0;
    while (s->f.shard->index.growing &&
           s->f.shard->index.moved + 200 < (1u << s->f.shard->index.table.bits))
        (void)fixture_maintain(&s->f);
    CU_ASSERT(s->f.shard->index.growing);
    interleave_keep(s);
}

/* A reader that stood still finds the page array of its root used for another table. */
static void a_read_may_stop_at_any_step_while_one_growth_follows_another(void)
{
    static struct interleave_scene s;
    interleave_begin(1);
    open_between_growths(&s);
    interleave_stop_everywhere(&s, script_grow);
    interleave_stop_everywhere(&s, script_grow_to_the_end);
    interleave_print("stops, growths");
    CU_ASSERT_EQUAL(interleave.failures, 0);
    CU_ASSERT(interleave.met.found != 0 && interleave.met.moved != 0 &&
              interleave.met.stamped != 0);
    interleave_close(&s);
}

/* ---- tests ---- */

static void reads_hold_while_segments_are_reused(void)
{
    static struct interleave_scene s;
    interleave_begin(24);
    open_with_reuse(&s);
    interleave_seeds(&s, 1, 1500);
    interleave_print("reuse");
    CU_ASSERT_EQUAL(interleave.failures, 0);
    CU_ASSERT(interleave.met.found != 0 && interleave.met.missed != 0 &&
              interleave.met.tombstones != 0);
    CU_ASSERT(interleave.met.again != 0 && interleave.met.cut != 0);
    CU_ASSERT(interleave.met.stamped != 0 && interleave.met.survived_count != 0 &&
              interleave.met.reuses != 0);
    CU_ASSERT(interleave.met.horizon != 0);
    CU_ASSERT(interleave.met.together != 0 && interleave.met.batches != 0);
    CU_ASSERT(interleave.met.pins != 0 && interleave.met.pins_kept != 0 &&
              interleave.met.pins_refused != 0);
    CU_ASSERT(interleave.met.leases != 0 && interleave.met.leases_lost != 0);
    interleave_close(&s);
}

static void reads_hold_while_the_index_grows(void)
{
    static struct interleave_scene s;
    interleave_begin(16);
    interleave_open(&s, UINT64_C(4) << 20, 0);
    interleave_fill(INTERLEAVE_HOT_KEYS + 1, 4700);
    for (uint32_t i = 0; i < INTERLEAVE_HOT_KEYS; i += 2)
        interleave_put(i, 100);
    fixture_commit(&s.f);
    interleave_keep(&s);
    interleave_seeds(&s, 100000, 300);
    interleave_print("growth");
    CU_ASSERT_EQUAL(interleave.failures, 0);
    CU_ASSERT(interleave.met.moved != 0 && interleave.met.growths != 0 &&
              interleave.met.stamped != 0);
    CU_ASSERT(interleave.met.found != 0 && interleave.met.missed != 0 &&
              interleave.met.tombstones != 0);
    interleave_close(&s);
}

/* So many keys that the next growth begins as soon as the pages of the last are stamped: a reader
 * that stood still meanwhile finds the page array of its root used for another table. */
static void reads_hold_when_one_growth_follows_another(void)
{
    static struct interleave_scene s;
    interleave_begin(4);
    open_between_growths(&s);
    interleave_seeds(&s, 200000, 600);
    interleave_print("growths");
    CU_ASSERT_EQUAL(interleave.failures, 0);
    CU_ASSERT(interleave.met.moved != 0 && interleave.met.growths != 0 &&
              interleave.met.stamped != 0);
    interleave_close(&s);
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
