/* Readers in place and a follower that lands, commits and cuts, interleaved at every step: see
 * interleave.h and interleave_follow.h. */
#include "engine/plant.h"
#include "tests/unit/engine/interleave_follow.h"
#include "tests/unit/unit.h"

#define HOT_BYTES 100u

/* A segment or two of log, landed and committed. */
static void pass_by(uint32_t bytes, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        interleave_follow_put(INTERLEAVE_HOT_KEYS, bytes);
        interleave_follow_catch_up();
        interleave_follow_commit();
        interleave_maintain(4);
    }
}

/* ---- scenes ---- */

/* Few frames, so that they are reused; half of the hot keys are there. */
static void open_with_reuse(struct interleave_scene *s)
{
    interleave_follow_open(s, UINT64_C(2) << 20, 8);
    for (uint32_t i = 0; i < INTERLEAVE_HOT_KEYS; i += 2)
        interleave_follow_put(i, HOT_BYTES);
    pass_by(20000, 30);
}

/* Every hot key once more, in another order: the nth record lies where the nth of any other order
 * would. */
static void put_all(uint32_t first)
{
    for (uint32_t i = 0; i < INTERLEAVE_HOT_KEYS; i++)
        interleave_follow_put((first + i) % INTERLEAVE_HOT_KEYS, HOT_BYTES);
}

/* Two versions of every hot key that are not committed, above one that is. */
static void open_with_tail(struct interleave_scene *s)
{
    open_with_reuse(s);
    put_all(0);
    interleave_follow_catch_up();
    interleave_follow_commit();
    put_all(0);
    put_all(1);
    interleave_follow_catch_up();
    interleave_follow_keep(s);
}

static void open_before_growth(struct interleave_scene *s)
{
    interleave_follow_open(s, UINT64_C(4) << 20, 0);
    interleave_follow_fill(INTERLEAVE_HOT_KEYS + 1, 4700);
    for (uint32_t i = 0; i < INTERLEAVE_HOT_KEYS; i += 2)
        interleave_follow_put(i, HOT_BYTES);
    interleave_follow_catch_up();
    interleave_follow_commit();
    interleave_follow_keep(s);
}

/* ---- one stop, at every step of a read ---- */

static void script_cut(void)
{
    interleave_follow_cut();
}

static void script_commit(void)
{
    interleave_follow_commit();
    interleave_maintain(2);
}

/* Other bytes at the LSNs of what was cut. */
static void script_cut_and_land(void)
{
    interleave_follow_cut();
    put_all(5);
    put_all(3);
    interleave_follow_catch_up();
}

static void script_cut_and_commit(void)
{
    script_cut_and_land();
    interleave_follow_commit();
}

static void script_cut_and_reuse(void)
{
    script_cut_and_commit();
    pass_by(16000, 24);
}

static void (*const scripts[])(void) = {script_cut, script_commit, script_cut_and_land,
                                        script_cut_and_commit, script_cut_and_reuse};
#define SCRIPTS (sizeof scripts / sizeof scripts[0])

static void a_read_may_stop_at_any_step_while_its_key_is_cut(void)
{
    static struct interleave_scene s;
    interleave_begin(1);
    open_with_tail(&s);
    for (unsigned i = 0; i < SCRIPTS; i++)
        interleave_stop_everywhere(&s, scripts[i]);
    interleave_print("stops, cut");
    CU_ASSERT_EQUAL(interleave.failures, 0);
    CU_ASSERT(interleave.met.found != 0 && interleave.met.stamped != 0 &&
              interleave.met.cut_records != 0 && interleave.met.rewritten != 0);
    interleave_close(&s);
}

/* The order of the follower's stores: slots swing to the copy before the segment is given up, what
 * is undone leads back before other bytes land. */
static void a_read_may_end_between_any_two_stores_of_a_cut(void)
{
    static struct interleave_scene s;
    interleave_begin(1);
    open_with_tail(&s);
    uint64_t stores = 0;
    for (unsigned i = 0; i < SCRIPTS - 1; i++) {
        for (uint32_t stop = 5; stop <= 17; stop += 4) {
            interleave.focus = 4;
            for (uint64_t store = 1; interleave.failures == 0; store++, stores++)
                if (!interleave_stop_stores(&s, stop, store, scripts[i]))
                    break;
        }
    }
    interleave_print("stores, cut");
    printf("    %llu stores\n", (unsigned long long)stores);
    CU_ASSERT_EQUAL(interleave.failures, 0);
    CU_ASSERT(stores > 100 && interleave.met.found != 0);
    interleave_close(&s);
}

/* ---- seeds ---- */

static void reads_hold_while_a_follower_lands_and_cuts(void)
{
    static struct interleave_scene s;
    interleave_begin(24);
    open_with_reuse(&s);
    interleave_follow_keep(&s);
    interleave_seeds(&s, 1, 1500);
    interleave_print("follow, reuse");
    const struct interleave_met *met = &interleave.met;
    CU_ASSERT_EQUAL(interleave.failures, 0);
    CU_ASSERT(met->found != 0 && met->missed != 0 && met->tombstones != 0 && met->batches != 0);
    CU_ASSERT(met->cuts != 0 && met->cut_records > met->cuts && met->rewritten != 0 &&
              met->cuts_waited != 0);
    CU_ASSERT(met->again != 0 && met->cut != 0 && met->horizon != 0);
    CU_ASSERT(met->stamped != 0 && met->survived_count != 0 && met->reuses != 0);
    CU_ASSERT(met->pins != 0 && met->pins_kept != 0 && met->pins_refused != 0);
    CU_ASSERT(met->leases != 0 && met->leases_lost != 0);
    interleave_close(&s);
}

static void reads_hold_while_the_index_of_a_follower_grows(void)
{
    static struct interleave_scene s;
    interleave_begin(16);
    open_before_growth(&s);
    interleave_seeds(&s, 100000, 300);
    interleave_print("follow, growth");
    CU_ASSERT_EQUAL(interleave.failures, 0);
    CU_ASSERT(interleave.met.moved != 0 && interleave.met.growths != 0 &&
              interleave.met.stamped != 0);
    CU_ASSERT(interleave.met.found != 0 && interleave.met.missed != 0 &&
              interleave.met.batches != 0 && interleave.met.cut_records != 0);
    interleave_close(&s);
}

/* ---- planted bugs, which all this must find ---- */

#ifdef DUNLIN_PLANT
static void planted(const char *bug)
{
    static struct interleave_scene s;
    interleave_begin(24);
    open_with_reuse(&s);
    interleave_follow_keep(&s);
    CU_ASSERT_EQUAL(plant_set(bug), 0);
    interleave_seeds(&s, 1, 1500);
    CU_ASSERT_EQUAL(plant_set("none"), 0);
    CU_ASSERT(interleave.failures != 0);
    interleave_close(&s);
}

static void planted_rewrite_in_place_is_found(void)
{
    planted("rewrite-in-place");
}

static void planted_reuse_before_grace_is_found(void)
{
    planted("reuse-before-grace");
}
#endif

static const struct unit_test tests[] = {
    UNIT_TEST(a_read_may_stop_at_any_step_while_its_key_is_cut),
    UNIT_TEST(a_read_may_end_between_any_two_stores_of_a_cut),
    UNIT_TEST(reads_hold_while_a_follower_lands_and_cuts),
    UNIT_TEST(reads_hold_while_the_index_of_a_follower_grows),
#ifdef DUNLIN_PLANT
    UNIT_TEST(planted_rewrite_in_place_is_found),
    UNIT_TEST(planted_reuse_before_grace_is_found),
#endif
};
UNIT_MAIN("read_interleaved_follow", tests)
