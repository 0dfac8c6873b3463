/* What agents find on boards and in lease cells, by the reader's own protocol (engine/read.h), and that
 * they find it before a frame leaves.  One node with two shards and two peers, whose replicas are set by
 * hand: nothing here follows from what anybody said. */
#include "dataplane/boards.h"
#include "engine/read.h"
#include "tests/unit/unit.h"

#define SHARDS 2u
#define PEERS 2u
#define CELL_FIRST 5u
#define NOW UINT64_C(10000)

static const struct replica_times times = {
    .lease = 1000, .heartbeat = 100, .retry = 40, .read_leases = true};

struct scene {
    struct group group;
    struct boards shown;
    struct pair pairs[PEERS];
    uint64_t memory[PEERS][SHARDS * (PAIR_CHANGES_PER_SHARD + 1) * 3];
    struct shard shards[SHARDS];
    struct replica replicas[SHARDS];
    struct replica *all[SHARDS], *busy[SHARDS];
    struct layout_board boards[SHARDS];
    struct layout_node page;
    struct read_space space;
};

static struct scene s;

static void open_scene(void)
{
    const struct member self = {.node = 0, .incarnation = 1};
    memset(&s, 0, sizeof s);
    group_init(&s.group, &self, &times);
    s.group.pairs = s.pairs;
    s.group.replicas = s.all;
    s.group.busy = s.busy;
    s.group.replica_count = SHARDS;
    s.group.right_count = LIMIT_RIGHTS;
    for (uint32_t i = 0; i < PEERS; i++)
        pair_init(&s.pairs[s.group.pair_count++], i + 1, SHARDS, s.memory[i]);
    for (uint32_t i = 0; i < SHARDS; i++) {
        s.shards[i].board = &s.boards[i];
        s.all[i] = &s.replicas[i];
        replica_init(s.all[i], &s.shards[i], &self, &times);
    }
    s.space = (struct read_space){.boards = s.boards, .node = &s.page};
    s.page.ticks_per_s = NS_PER_S;
    boards_init(&s.shown, &s.group, &s.page.leases[CELL_FIRST], CELL_FIRST);
    group_begin(&s.group, NOW);
}

/* A replica reads under a cell from now on, or under none. */
static void reads(uint32_t shard, struct lease_cell *cell)
{
    struct replica *r = s.all[shard];
    r->may_read = cell != NULL;
    r->cell = cell != NULL ? cell : r->cell;
    r->generation++;
    s.group.reads_changed = true;
}

static void right_holds(struct lease_cell *cell, uint64_t end)
{
    cell->generation += cell->end <= NOW;
    cell->end = end;
}

/* A leader lists a follower's shard from now on, or nobody does. */
static void listed(uint32_t shard, struct pair *p, uint64_t epoch)
{
    s.all[shard]->list_pair = p;
    s.all[shard]->list_epoch = epoch;
    s.group.reads_changed = true;
}

/* Everything is shown, and every frame that is due leaves. */
static void show(void)
{
    struct pair_frame f;
    uint32_t to;
    for (unsigned i = 0; i < 2 * PEERS && boards_frame(&s.shown, &f, &to, NOW); i++)
        CU_ASSERT_EQUAL(f.from.incarnation, 1);
    CU_ASSERT_FALSE(boards_frame(&s.shown, &f, &to, NOW));
}

static struct read_point begin(uint32_t shard)
{
    struct read_point p;
    read_begin(&p, &s.space, shard);
    return p;
}

static uint64_t deadline(const struct read_point *p)
{
    return read_lease_deadline(p, &s.space);
}

static uint64_t age(uint32_t shard, uint64_t ticks)
{
    const struct read_point p = begin(shard);
    return read_age_ns(&p, &s.space, ticks);
}

/* ---- tests ---- */

static void a_right_covers_what_was_loaded_under_it(void)
{
    open_scene();
    struct read_point before = begin(0);
    s.all[0]->role = REPLICA_LEADING;
    right_holds(&s.group.rights[3].cell, NOW + 900);
    reads(0, &s.group.rights[3].cell);
    show();
    struct read_point under = begin(0), other = begin(1);
    CU_ASSERT_EQUAL(deadline(&before), 0);
    CU_ASSERT_EQUAL(deadline(&under), NOW + 900);
    CU_ASSERT_EQUAL(deadline(&other), 0);
    right_holds(&s.group.rights[3].cell, NOW + 950);
    show();
    CU_ASSERT_EQUAL(deadline(&under), NOW + 950);
}

static void a_right_that_lapsed_covers_nothing_once_it_is_renewed(void)
{
    open_scene();
    right_holds(&s.pairs[1].cell, NOW);
    reads(0, &s.pairs[1].cell);
    show();
    struct read_point lapsed = begin(0);
    right_holds(&s.pairs[1].cell, NOW + 900);
    show();
    struct read_point under = begin(0);
    CU_ASSERT_EQUAL(deadline(&lapsed), 0);
    CU_ASSERT_EQUAL(deadline(&under), NOW + 900);
}

static void an_echo_leaves_after_boards_say_no_more(void)
{
    struct pair_frame f;
    uint32_t to;
    open_scene();
    right_holds(&s.pairs[0].cell, NOW + 900);
    reads(0, &s.pairs[0].cell);
    reads(1, &s.pairs[0].cell);
    show();
    struct read_point first = begin(0), second = begin(1);
    /* a frame of the peer takes shard 0 off its list, and asks for an echo */
    reads(0, NULL);
    s.pairs[0].list_number = 1;
    s.pairs[0].ask_unechoed = 77;
    CU_ASSERT_TRUE_FATAL(boards_frame(&s.shown, &f, &to, NOW));
    CU_ASSERT_EQUAL(f.kind, PAIR_ECHO);
    CU_ASSERT_EQUAL(deadline(&first), 0);
    CU_ASSERT_EQUAL(deadline(&second), NOW + 900);
    struct read_point after = begin(0);
    CU_ASSERT_EQUAL(deadline(&after), 0);
}

static void a_grant_that_is_dropped_is_gone_before_a_frame_leaves(void)
{
    struct pair_frame f;
    uint32_t to;
    open_scene();
    right_holds(&s.pairs[0].cell, NOW + 900);
    reads(0, &s.pairs[0].cell);
    show();
    struct read_point p = begin(0);
    s.pairs[0].cell.end = 0;
    s.pairs[0].cell.generation++;
    s.pairs[1].list_number = 1;
    s.pairs[1].ask_unechoed = 77;
    CU_ASSERT_TRUE_FATAL(boards_frame(&s.shown, &f, &to, NOW));
    CU_ASSERT_EQUAL(to, 2);
    CU_ASSERT_EQUAL(deadline(&p), 0);
}

/* What a message says: the board alone, without the cells. */
static void a_step_shows_its_own_board(void)
{
    open_scene();
    right_holds(&s.pairs[0].cell, NOW + 900);
    reads(0, &s.pairs[0].cell);
    reads(1, &s.pairs[0].cell);
    show();
    struct read_point first = begin(0), second = begin(1);
    reads(0, NULL);
    reads(1, NULL);
    board_show(&s.shown, s.all[0]);
    CU_ASSERT_EQUAL(deadline(&first), 0);
    CU_ASSERT_EQUAL(deadline(&second), NOW + 900);
    show();
    CU_ASSERT_EQUAL(deadline(&second), 0);
}

static void a_follower_shows_that_what_is_pending_may_be_committed(void)
{
    open_scene();
    right_holds(&s.pairs[0].cell, NOW + 900);
    reads(0, &s.pairs[0].cell);
    show();
    struct read_point p = begin(0);
    p.pending = true;
    CU_ASSERT_EQUAL(deadline(&p), 0);
    s.all[0]->role = REPLICA_LEADING; /* the same generation: the role alone changed */
    board_show(&s.shown, s.all[0]);
    CU_ASSERT_EQUAL(deadline(&p), NOW + 900);
}

static void a_board_names_the_cell_of_its_right_or_its_leader(void)
{
    open_scene();
    s.all[0]->role = REPLICA_LEADING;
    reads(0, &s.group.rights[2].cell);
    listed(1, &s.pairs[1], 1); /* no right; its age counts from the leader's frames */
    s.pairs[1].ticks_current = 4711;
    show();
    CU_ASSERT_EQUAL(atomic_load_explicit(&s.boards[0].lease_cell, memory_order_relaxed),
                    CELL_FIRST + 2);
    CU_ASSERT_EQUAL(atomic_load_explicit(&s.boards[1].lease_cell, memory_order_relaxed),
                    CELL_FIRST + LIMIT_RIGHTS + 1);
    const struct layout_lease *cell = &s.page.leases[CELL_FIRST + LIMIT_RIGHTS + 1];
    CU_ASSERT_EQUAL(atomic_load_explicit(&cell->ticks_current, memory_order_relaxed), 4711);
}

static void who_was_never_told_has_no_age(void)
{
    open_scene();
    reads(0, NULL);
    show();
    CU_ASSERT_EQUAL(age(0, NOW + 20), UINT64_MAX);
    s.pairs[1].ticks_current = NOW - 1; /* the leader of other shards, for long */
    listed(0, &s.pairs[1], 1);
    show();
    CU_ASSERT_EQUAL(age(0, NOW + 20), UINT64_MAX);
    s.pairs[1].ticks_current = NOW;
    show();
    CU_ASSERT_EQUAL(age(0, NOW + 20), 20);
}

/* Between the word of one leader and of the next, the age counts from the first one's. */
static void an_age_goes_on_through_a_change_of_epoch(void)
{
    open_scene();
    listed(0, &s.pairs[1], 3);
    s.pairs[1].ticks_current = NOW + 5;
    show();
    CU_ASSERT_EQUAL(age(0, NOW + 20), 15);
    listed(0, NULL, 3); /* it has promised the next epoch */
    s.pairs[1].ticks_current = NOW + 15;
    s.pairs[0].ticks_current = NOW + 16;
    board_show(&s.shown, s.all[0]);
    show();
    CU_ASSERT_EQUAL(age(0, NOW + 20), 15);
    group_begin(&s.group, NOW + 30);
    listed(0, &s.pairs[0], 4);
    show();
    CU_ASSERT_EQUAL(age(0, NOW + 40), 35);
    s.pairs[0].ticks_current = NOW + 31;
    show();
    CU_ASSERT_EQUAL(age(0, NOW + 40), 9);
}

/* Whoever led and is sealed: from the end of its right, or from when it gave that up. */
static void an_age_goes_on_when_a_leader_leads_no_more(void)
{
    static const uint64_t ends[] = {NOW + 900, NOW + 40};
    for (unsigned i = 0; i < 2; i++) {
        open_scene();
        s.all[0]->role = REPLICA_LEADING;
        right_holds(&s.group.rights[2].cell, ends[i]);
        reads(0, &s.group.rights[2].cell);
        show();
        group_begin(&s.group, NOW + 50);
        s.all[0]->role = REPLICA_SEALING;
        reads(0, NULL);
        show();
        CU_ASSERT_EQUAL(age(0, NOW + 60), NOW + 60 - min_u64(ends[i], NOW + 50));
        s.all[0]->role = REPLICA_FOLLOWER;
        show();
        CU_ASSERT_EQUAL(age(0, NOW + 60), NOW + 60 - min_u64(ends[i], NOW + 50));
    }
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_right_covers_what_was_loaded_under_it),
    UNIT_TEST(a_right_that_lapsed_covers_nothing_once_it_is_renewed),
    UNIT_TEST(an_echo_leaves_after_boards_say_no_more),
    UNIT_TEST(a_grant_that_is_dropped_is_gone_before_a_frame_leaves),
    UNIT_TEST(a_step_shows_its_own_board),
    UNIT_TEST(a_follower_shows_that_what_is_pending_may_be_committed),
    UNIT_TEST(a_board_names_the_cell_of_its_right_or_its_leader),
    UNIT_TEST(who_was_never_told_has_no_age),
    UNIT_TEST(an_age_goes_on_through_a_change_of_epoch),
    UNIT_TEST(an_age_goes_on_when_a_leader_leads_no_more),
};
UNIT_MAIN("boards", tests)
