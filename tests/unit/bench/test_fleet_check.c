/* Hand-made journals: sound ones, and one of each kind that must be found. */
#include "bench/fleet_check.h"
#include "bench/geohash.h"
#include "tests/unit/unit.h"

#define A UINT64_C(0x8000000000000001)
#define B UINT64_C(0x8000000000000002)
#define C UINT64_C(0x8000000000000003)
#define NOBODY UINT64_C(0)
#define START UINT64_C(7)
#define CELL 12345u

static struct fleet_check check;
static char last[FLEET_VIOLATION_BYTES];
static struct fleet_final final_state;

static void keep(void *context, enum fleet_violation kind, const char *text)
{
    (void)context, (void)kind;
    (void)snprintf(last, sizeof(last), "%s", text);
}

static void begin(void)
{
    last[0] = 0;
    final_state = (struct fleet_final){0, NOBODY};
    fleet_check_init(&check, &(struct fleet_check_hooks){.on_violation = keep});
}

static void entry(const struct fleet_entry *e)
{
    struct fleet_entry full = *e;
    full.start = full.start == 0 ? START : full.start;
    full.cell = CELL;
    CU_ASSERT_FATAL(fleet_check_entry(&check, &full) == 0);
}

static void write(uint64_t expected, uint64_t lsn, uint64_t before, uint64_t after)
{
    entry(&(struct fleet_entry){.kind = FLEET_ENTRY_WRITE,
                                .owner_before = before,
                                .owner_after = after,
                                .lsn_expected = expected,
                                .lsn = lsn});
}

static void unknown(uint64_t expected, uint64_t before)
{
    entry(&(struct fleet_entry){
        .kind = FLEET_ENTRY_UNKNOWN, .owner_before = before, .lsn_expected = expected});
}

static void hold(uint64_t owner, uint64_t from, uint64_t until)
{
    entry(&(struct fleet_entry){
        .kind = FLEET_ENTRY_HELD, .owner_before = owner, .ns_from = from, .ns_until = until});
}

static int find(void *context, uint32_t cell, struct fleet_final *final)
{
    (void)context, (void)cell;
    *final = final_state;
    return 0;
}

/* Judges with this final state; returns the violations and forgets everything. */
static uint64_t end(uint64_t lsn, uint64_t owner, enum fleet_violation kind)
{
    final_state = (struct fleet_final){lsn, owner};
    CU_ASSERT_FATAL(fleet_check_final(&check, START, find, NULL) == 0);
    fleet_check_holes(&check);
    uint64_t all = fleet_check_violations(&check), of_kind = check.counts[kind];
    CU_ASSERT(all == of_kind);
    fleet_check_fini(&check);
    return all;
}

#define SOUND FLEET_VIOLATION_VERSION_FELL /* any kind: none is expected */

static void a_sound_chain_in_any_order_is_good(void)
{
    static const uint64_t writes[][4] = {{0, 10, NOBODY, A},
                                         {10, 20, A, NOBODY},
                                         {20, 30, NOBODY, B},
                                         {30, 41, B, NOBODY},
                                         {41, 52, NOBODY, A}};
    uint32_t order[] = {0, 1, 2, 3, 4};
    /* All 120 orders, by Heap's algorithm. */
    uint32_t counters[5] = {0};
    for (uint32_t i = 0; i < 5;) {
        begin();
        for (uint32_t k = 0; k < 5; k++)
            write(writes[order[k]][0], writes[order[k]][1], writes[order[k]][2],
                  writes[order[k]][3]);
        CU_ASSERT(end(52, A, SOUND) == 0);
        while (i < 5 && counters[i] >= i)
            counters[i++] = 0;
        if (i < 5) {
            uint32_t other = i % 2 == 0 ? 0 : counters[i], kept = order[i];
            order[i] = order[other];
            order[other] = kept;
            counters[i]++;
            i = 0;
        }
    }
}

static void two_writes_for_one_version_are_found(void)
{
    begin();
    write(0, 10, NOBODY, A);
    write(0, 20, NOBODY, B);
    CU_ASSERT(check.counts[FLEET_VIOLATION_VERSION_TWICE] == 1);
    CU_ASSERT(strstr(last, "another write lies in between") != NULL);
    fleet_check_fini(&check);
    /* In the middle of a chain, and seen late. */
    begin();
    write(0, 10, NOBODY, A);
    write(10, 20, A, NOBODY);
    write(20, 30, NOBODY, B);
    write(10, 15, A, NOBODY);
    CU_ASSERT(end(30, B, FLEET_VIOLATION_VERSION_TWICE) == 1);
    /* Inside a gap, but over its end. */
    begin();
    write(40, 50, NOBODY, B);
    write(30, 45, A, NOBODY);
    CU_ASSERT(check.counts[FLEET_VIOLATION_VERSION_TWICE] == 1);
    fleet_check_fini(&check);
}

static void a_version_that_does_not_grow_is_found(void)
{
    begin();
    write(0, 10, NOBODY, A);
    write(10, 10, A, NOBODY);
    CU_ASSERT(end(10, A, FLEET_VIOLATION_VERSION_FELL) == 1);
    begin();
    write(0, 10, NOBODY, A);
    write(10, 5, A, NOBODY);
    CU_ASSERT(end(10, A, FLEET_VIOLATION_VERSION_FELL) == 1);
}

static void neighbours_that_disagree_about_the_owner_are_found(void)
{
    /* A claim on a claimed sector. */
    begin();
    write(0, 10, NOBODY, A);
    write(10, 20, NOBODY, B);
    CU_ASSERT(end(20, B, FLEET_VIOLATION_OWNERS) == 1);
    /* A release of another's sector, seen before what it released. */
    begin();
    write(10, 20, B, NOBODY);
    write(0, 10, NOBODY, A);
    CU_ASSERT(end(20, NOBODY, FLEET_VIOLATION_OWNERS) == 1);
    /* On the right side of a gap that closes. */
    begin();
    write(0, 10, NOBODY, A);
    write(20, 30, B, NOBODY);
    write(10, 20, A, NOBODY);
    CU_ASSERT(end(30, NOBODY, FLEET_VIOLATION_OWNERS) == 1);
    /* The value at the end names another. */
    begin();
    write(0, 10, NOBODY, A);
    CU_ASSERT(end(10, B, FLEET_VIOLATION_OWNERS) == 1);
}

static void a_hole_is_found_unless_a_write_of_unknown_fate_explains_it(void)
{
    begin();
    write(0, 10, NOBODY, A);
    write(20, 30, NOBODY, B);
    CU_ASSERT(end(30, B, FLEET_VIOLATION_HOLE) == 1);
    begin();
    write(0, 10, NOBODY, A);
    write(20, 30, NOBODY, B);
    unknown(10, A);
    CU_ASSERT(check.explained == 0);
    CU_ASSERT(end(30, B, SOUND) == 0);
    /* One that expected another version explains nothing. */
    begin();
    write(0, 10, NOBODY, A);
    unknown(9, A);
    write(20, 30, NOBODY, B);
    CU_ASSERT(end(30, B, FLEET_VIOLATION_HOLE) == 1);
    /* One hole was explained; the other was not. */
    begin();
    write(0, 10, NOBODY, A);
    unknown(10, A);
    write(20, 30, NOBODY, B);
    write(40, 50, NOBODY, C);
    CU_ASSERT(end(50, C, FLEET_VIOLATION_HOLE) == 1);
}

static void the_start_of_a_chain_must_be_known(void)
{
    begin();
    write(10, 20, NOBODY, A);
    CU_ASSERT(end(20, A, FLEET_VIOLATION_HOLE) == 1);
}

static void the_final_state_must_be_the_end_of_the_chain(void)
{
    begin();
    write(0, 10, NOBODY, A);
    CU_ASSERT(end(0, NOBODY, FLEET_VIOLATION_LOST) == 1);
    begin();
    write(0, 10, NOBODY, A);
    write(10, 20, A, NOBODY);
    CU_ASSERT(end(10, A, FLEET_VIOLATION_LOST) == 1);
    begin();
    write(0, 10, NOBODY, A);
    CU_ASSERT(end(15, B, FLEET_VIOLATION_FOREIGN) == 1);
    begin();
    write(0, 10, NOBODY, A);
    unknown(10, A);
    CU_ASSERT(end(15, NOBODY, SOUND) == 0);
    /* Nothing but a claim of unknown fate: both are good. */
    begin();
    unknown(0, NOBODY);
    CU_ASSERT(end(0, NOBODY, SOUND) == 0);
    begin();
    unknown(0, NOBODY);
    CU_ASSERT(end(10, A, SOUND) == 0);
}

static void owners_at_the_same_time_are_found_by_the_clock_alone(void)
{
    begin();
    hold(A, 100, 200);
    hold(B, 200, 300);
    hold(C, 50, 100);
    hold(B, 10, 20);
    CU_ASSERT(fleet_check_violations(&check) == 0);
    hold(C, 299, 400);
    CU_ASSERT(check.counts[FLEET_VIOLATION_OVERLAP] == 1);
    CU_ASSERT(strstr(last, "8000000000000002 had it from 200 to 300 ns") != NULL);
    fleet_check_fini(&check);
    /* One inside the other; the same owner twice is none. */
    begin();
    hold(A, 100, 1000);
    hold(A, 200, 300);
    CU_ASSERT(fleet_check_violations(&check) == 0);
    hold(B, 400, 500);
    CU_ASSERT(check.counts[FLEET_VIOLATION_OVERLAP] == 1);
    fleet_check_fini(&check);
}

static void holds_that_come_too_late_are_counted(void)
{
    begin();
    for (uint64_t i = 0; i < 100; i++)
        hold(i % 2 == 0 ? A : B, i * 10, i * 10 + 10);
    CU_ASSERT(fleet_check_violations(&check) == 0 && check.unjudged == 0);
    hold(C, 5, 6);
    CU_ASSERT(check.unjudged == 1);
    hold(C, 985, 986);
    CU_ASSERT(check.counts[FLEET_VIOLATION_OVERLAP] == 1);
    fleet_check_fini(&check);
}

static void a_release_brings_its_hold(void)
{
    begin();
    hold(B, 150, 160);
    entry(&(struct fleet_entry){.kind = FLEET_ENTRY_WRITE,
                                .owner_before = A,
                                .lsn_expected = 10,
                                .lsn = 20,
                                .ns_from = 100,
                                .ns_until = 200});
    CU_ASSERT(check.counts[FLEET_VIOLATION_OVERLAP] == 1);
    fleet_check_fini(&check);
}

static void each_start_of_the_daemon_has_its_own_chains(void)
{
    begin();
    write(0, 10, NOBODY, A);
    entry(&(struct fleet_entry){
        .kind = FLEET_ENTRY_WRITE, .start = START + 1, .owner_after = B, .lsn = 5});
    hold(A, 100, 200);
    entry(&(struct fleet_entry){.kind = FLEET_ENTRY_HELD,
                                .start = START + 1,
                                .owner_before = B,
                                .ns_from = 150,
                                .ns_until = 160});
    CU_ASSERT(check.sector_count == 2);
    CU_ASSERT(end(10, A, SOUND) == 0);
}

static void findings_of_processes_are_violations(void)
{
    begin();
    entry(&(struct fleet_entry){.kind = FLEET_ENTRY_FINDING,
                                .detail = FLEET_FINDING_MISSING,
                                .owner_before = A,
                                .lsn_expected = 10});
    CU_ASSERT(check.counts[FLEET_VIOLATION_FINDING] == 1);
    CU_ASSERT(strstr(last, "an acknowledged put is missing: expected version 10, found 0") != NULL);
    CU_ASSERT(strstr(last, "at node") == NULL);
    entry(&(struct fleet_entry){.kind = FLEET_ENTRY_FINDING, .detail = 999});
    CU_ASSERT(fleet_check_violations(&check) == 2);
    entry(&(struct fleet_entry){.kind = FLEET_ENTRY_FINDING,
                                .node = 2,
                                .detail = FLEET_FINDING_REPLICA_VERSION,
                                .lsn_expected = 10,
                                .lsn = 9});
    CU_ASSERT(strstr(last, " at node 3: its replica has another version") != NULL);
    CU_ASSERT(fleet_check_violations(&check) == 3);
    fleet_check_fini(&check);
}

static void name(void *context, uint64_t owner, char text[FLEET_OWNER_BYTES])
{
    (void)context;
    (void)snprintf(text, FLEET_OWNER_BYTES, "agent-%u", (unsigned)(owner & 0xf));
}

static void owners_have_names_if_told(void)
{
    begin();
    fleet_check_init(&check, &(struct fleet_check_hooks){.on_violation = keep, .name = name});
    write(0, 10, NOBODY, A);
    write(10, 20, B, NOBODY);
    CU_ASSERT(strstr(last, "made the owner agent-1, but the next write found agent-2") != NULL);
    fleet_check_fini(&check);
}

static void many_sectors_are_kept_apart(void)
{
    begin();
    for (uint32_t cell = 0; cell < 20000; cell++) {
        struct fleet_entry e = {.start = START,
                                .kind = FLEET_ENTRY_WRITE,
                                .cell = cell * 7919,
                                .owner_after = A,
                                .lsn = 10};
        CU_ASSERT_FATAL(fleet_check_entry(&check, &e) == 0);
    }
    CU_ASSERT(check.sector_count == 20000);
    CU_ASSERT(end(10, A, SOUND) == 0);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_sound_chain_in_any_order_is_good),
    UNIT_TEST(two_writes_for_one_version_are_found),
    UNIT_TEST(a_version_that_does_not_grow_is_found),
    UNIT_TEST(neighbours_that_disagree_about_the_owner_are_found),
    UNIT_TEST(a_hole_is_found_unless_a_write_of_unknown_fate_explains_it),
    UNIT_TEST(the_start_of_a_chain_must_be_known),
    UNIT_TEST(the_final_state_must_be_the_end_of_the_chain),
    UNIT_TEST(owners_at_the_same_time_are_found_by_the_clock_alone),
    UNIT_TEST(holds_that_come_too_late_are_counted),
    UNIT_TEST(a_release_brings_its_hold),
    UNIT_TEST(each_start_of_the_daemon_has_its_own_chains),
    UNIT_TEST(findings_of_processes_are_violations),
    UNIT_TEST(owners_have_names_if_told),
    UNIT_TEST(many_sectors_are_kept_apart),
};
UNIT_MAIN("fleet_check", tests)
