/* What is put right of libraft's configurations, on a log made by hand. */
#include "control/raft_repair.h"

#include "tests/unit/unit.h"

#include <string.h>

#define ENTRIES 4u

static struct raft_entry entries[ENTRIES];
static struct raft raft;
static struct raft_repair repair;

static void configuration_make(struct raft_configuration *c, uint32_t voters)
{
    raft_configuration_init(c);
    for (uint32_t id = 1; id <= voters; id++) {
        const char address[] = {(char)('0' + id), 0};
        CU_ASSERT_EQUAL_FATAL(raft_configuration_add(c, id, address, RAFT_VOTER), 0);
    }
}

static void change_make(struct raft_entry *e, uint32_t voters)
{
    struct raft_configuration c;
    configuration_make(&c, voters);
    *e = (struct raft_entry){.term = 1, .type = RAFT_CHANGE};
    CU_ASSERT_EQUAL_FATAL(raft_configuration_encode(&c, &e->buf), 0);
    raft_configuration_close(&c);
}

/* Entries 11 .. 13 behind a snapshot: a change to two voters, a command, a change to three; the snapshot has one. */
static void begin(void)
{
    struct raft_snapshot s = {.index = 10, .configuration_index = 4};
    memset(&raft, 0, sizeof raft);
    raft_repair_init(&repair);
    configuration_make(&s.configuration, 1);
    CU_ASSERT_EQUAL_FATAL(raft_repair_loaded(&repair, &s), 0);
    raft_configuration_close(&s.configuration);
    change_make(&entries[3], 2); /* the log wraps around */
    entries[0] = (struct raft_entry){.term = 1, .type = RAFT_COMMAND};
    change_make(&entries[1], 3);
    raft.id = 1;
    raft.current_term = 2;
    raft.state = RAFT_FOLLOWER;
    raft.log =
        (struct raft_log){.entries = entries, .size = ENTRIES, .front = 3, .back = 2, .offset = 10};
    raft.log.snapshot.last_index = 10;
    raft.log.snapshot.last_term = 1;
    configuration_make(&raft.configuration, 3);
    raft.configuration_index = 13; /* as libraft has it after a start */
}

static void end(void)
{
    raft_configuration_close(&raft.configuration);
    raft_repair_fini(&repair);
    raft_free(entries[3].buf.base);
    raft_free(entries[1].buf.base);
}

/* Entries of term 2 from there on come. */
static void receive(raft_index from)
{
    struct raft_entry other = {.term = 2, .type = RAFT_COMMAND};
    const struct raft_append_entries a = {.term = 2,
                                          .prev_log_index = from - 1,
                                          .prev_log_term = 1,
                                          .entries = &other,
                                          .n_entries = 1};
    CU_ASSERT_EQUAL(raft_repair_receive(&repair, &raft, &a), 0);
}

static void a_change_that_is_overwritten_is_taken_back(void)
{
    static const struct {
        raft_index from;
        unsigned voters;
        raft_index index;
    } cases[] = {{14, 3, 13}, {13, 2, 11}, {12, 2, 11}, {11, 1, 4}};
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin();
        receive(cases[i].from);
        CU_ASSERT_EQUAL(raft.configuration.n, cases[i].voters);
        CU_ASSERT_EQUAL(raft.configuration_index, cases[i].index);
        CU_ASSERT_EQUAL(raft.configuration_uncommitted_index, 0);
        end();
    }
}

static void what_libraft_refuses_takes_nothing_back(void)
{
    struct raft_entry other = {.term = 2, .type = RAFT_COMMAND};
    struct raft_append_entries a = {
        .term = 1, .prev_log_index = 11, .prev_log_term = 1, .entries = &other, .n_entries = 1};
    begin();
    CU_ASSERT_EQUAL(raft_repair_receive(&repair, &raft, &a), 0); /* an older leader's */
    a.term = 2;
    a.prev_log_term = 2; /* not behind what is there */
    CU_ASSERT_EQUAL(raft_repair_receive(&repair, &raft, &a), 0);
    CU_ASSERT_EQUAL(raft.configuration.n, 3);
    end();
}

static void a_snapshot_has_the_configuration_of_its_index(void)
{
    begin();
    raft.snapshot.pending.index = 12;
    configuration_make(&raft.snapshot.pending.configuration, 3);
    CU_ASSERT_EQUAL(raft_repair_taken(&repair, &raft), 0);
    CU_ASSERT_EQUAL(raft.snapshot.pending.configuration.n, 2);
    CU_ASSERT_EQUAL(raft.snapshot.pending.configuration_index, 11);
    CU_ASSERT_EQUAL(repair.base.n, 2);
    raft_configuration_close(&raft.snapshot.pending.configuration);
    end();
}

static void a_follower_goes_by_what_it_has_just_got(void)
{
    begin();
    raft_configuration_close(&raft.configuration);
    configuration_make(&raft.configuration, 2);
    raft.configuration_index = 11;
    raft_repair_received(&raft);
    CU_ASSERT_EQUAL(raft.configuration.n, 3);
    CU_ASSERT_EQUAL(raft.configuration_uncommitted_index, 13);
    end();
}

static void a_change_that_is_gone_is_forgotten(void)
{
    begin();
    raft.configuration_uncommitted_index = 13;
    raft_repair_look(&raft);
    CU_ASSERT_EQUAL(raft.configuration_uncommitted_index, 13);
    raft.last_applied = 13;
    raft_repair_look(&raft);
    CU_ASSERT_EQUAL(raft.configuration_uncommitted_index, 0);
    raft.configuration_uncommitted_index = 14;
    raft_repair_look(&raft);
    CU_ASSERT_EQUAL(raft.configuration_uncommitted_index, 0);
    end();
}

static void a_voter_that_is_alone_is_found(void)
{
    begin();
    CU_ASSERT_TRUE(raft_repair_is_alone(&repair, NULL, 0, 1));
    CU_ASSERT_FALSE(raft_repair_is_alone(&repair, NULL, 0, 2));
    CU_ASSERT_FALSE(raft_repair_is_alone(&repair, &entries[1], 1, 1));
    CU_ASSERT_TRUE(
        raft_repair_is_alone(&repair, &entries[0], 1, 1)); /* no change: the snapshot's */
    end();
}

static void who_is_asked_for_a_vote_is_a_voter_meanwhile(void)
{
    begin();
    raft.configuration.servers[0].role = RAFT_STANDBY;
    int role = raft_repair_asked(&raft);
    CU_ASSERT_EQUAL(role, RAFT_STANDBY);
    CU_ASSERT_EQUAL(raft.configuration.servers[0].role, RAFT_VOTER);
    raft_repair_answered(&raft, role);
    CU_ASSERT_EQUAL(raft.configuration.servers[0].role, RAFT_STANDBY);
    end();
}

/* The leader 1 sends entries 11 .. 13 to node 2. */
static unsigned sent(raft_index committed)
{
    struct raft_entry sequence[3] = {entries[3], entries[0], entries[1]};
    const struct raft_append_entries a = {
        .prev_log_index = 10, .leader_commit = committed, .entries = sequence, .n_entries = 3};
    return raft_repair_sent(&raft, 2, &a);
}

/* Seed 5317 of the scenario `control`: of two voters 2 was demoted, wrote that, and 1 could not.  So 2 had the longer log
 * and no vote, 1 needed its vote, and nobody was elected again. */
static void a_voter_hears_of_its_demotion_when_it_is_committed(void)
{
    begin();
    raft_free(entries[1].buf.base);
    change_make(&entries[1], 1);
    raft.configuration.servers[1].role = RAFT_STANDBY;
    CU_ASSERT_EQUAL(sent(10), 2); /* 11 makes it a voter */
    CU_ASSERT_EQUAL(sent(12), 2);
    CU_ASSERT_EQUAL(sent(13), 3);
    raft.configuration.n = 1; /* it is not even a standby any more */
    CU_ASSERT_EQUAL(sent(12), 2);
    raft.configuration.n = 3;
    raft.configuration.servers[1].role = RAFT_VOTER; /* made one again since */
    CU_ASSERT_EQUAL(sent(10), 3);
    end();
}

#define TIMER_MS 1000u
#define TIMEOUT_MS 20u

static raft_term term_written;
static int disk_answers;

static int set_term(struct raft_io *io, raft_term term)
{
    (void)io;
    term_written = term;
    return disk_answers;
}

/* Node 1 is alone with its vote, and hears of nobody. */
static void begin_alone(struct raft_io *io)
{
    begin();
    *io = (struct raft_io){.set_term = set_term};
    raft.io = io;
    raft.pre_vote = true;
    raft.voted_for = 3;
    raft.configuration.servers[1].role = RAFT_STANDBY;
    raft.configuration.servers[2].role = RAFT_STANDBY;
    raft.election_timer_start = TIMER_MS;
    raft.follower_state.randomized_election_timeout = TIMEOUT_MS;
    term_written = 0;
    disk_answers = 0;
}

/* Seed 2023 of the scenario `control`: who had not heard that it votes no more stood for election each time that the only
 * voter led, in the term after that. */
static void a_voter_that_is_alone_leads_in_a_new_term(void)
{
    struct raft_io io;
    bool is_earnest = false;
    begin_alone(&io);
    CU_ASSERT_EQUAL(raft_repair_tick(&raft, TIMER_MS + TIMEOUT_MS - 1, &is_earnest), 0);
    CU_ASSERT_EQUAL(raft.current_term, 2);
    CU_ASSERT_EQUAL(raft_repair_tick(&raft, TIMER_MS + TIMEOUT_MS, &is_earnest), 0);
    CU_ASSERT_EQUAL(raft.current_term, 3);
    CU_ASSERT_EQUAL(term_written, 3);
    CU_ASSERT_EQUAL(raft.voted_for, 0);
    disk_answers = RAFT_IOERR;
    CU_ASSERT_EQUAL(raft_repair_tick(&raft, TIMER_MS + TIMEOUT_MS, &is_earnest), RAFT_IOERR);
    CU_ASSERT_EQUAL(raft.current_term, 3);
    disk_answers = 0;
    raft.configuration.servers[1].role = RAFT_VOTER; /* libraft has it stand for election */
    CU_ASSERT_EQUAL(raft_repair_tick(&raft, TIMER_MS + TIMEOUT_MS, &is_earnest), 0);
    CU_ASSERT_EQUAL(raft.current_term, 3);
    raft.configuration.servers[1].role = RAFT_STANDBY;
    raft.configuration.servers[0].role = RAFT_STANDBY; /* nobody votes: least of all itself */
    CU_ASSERT_EQUAL(raft_repair_tick(&raft, TIMER_MS + TIMEOUT_MS, &is_earnest), 0);
    raft.configuration.servers[0].role = RAFT_VOTER;
    raft.state = RAFT_LEADER;
    CU_ASSERT_EQUAL(raft_repair_tick(&raft, TIMER_MS + TIMEOUT_MS, &is_earnest), 0);
    CU_ASSERT_EQUAL(raft.current_term, 3);
    end();
}

/* Seed 23171 of the scenario `control`: elected by the voters of long ago, with the log of a snapshot that has others. */
static void who_installs_a_snapshot_does_not_stand_for_election(void)
{
    struct raft_io io;
    bool is_earnest = false;
    begin_alone(&io);
    raft.snapshot.put.data = &raft;
    CU_ASSERT_EQUAL(raft_repair_tick(&raft, TIMER_MS + TIMEOUT_MS, &is_earnest), 0);
    CU_ASSERT_EQUAL(raft.election_timer_start, TIMER_MS + TIMEOUT_MS);
    CU_ASSERT_EQUAL(raft.current_term, 2);
    raft.snapshot.pending.term = 1; /* its own */
    raft.election_timer_start = TIMER_MS;
    CU_ASSERT_EQUAL(raft_repair_tick(&raft, TIMER_MS + TIMEOUT_MS, &is_earnest), 0);
    CU_ASSERT_EQUAL(raft.election_timer_start, TIMER_MS);
    CU_ASSERT_EQUAL(raft.current_term, 3);
    end();
}

static void a_candidate_asks_in_earnest_once(void)
{
    struct raft_io io;
    bool is_earnest = true;
    begin_alone(&io);
    raft.configuration.servers[1].role = RAFT_VOTER;
    raft.state = RAFT_CANDIDATE;
    raft.candidate_state.in_pre_vote = true;
    CU_ASSERT_EQUAL(raft_repair_tick(&raft, TIMER_MS + TIMEOUT_MS - 1, &is_earnest), 0);
    CU_ASSERT_TRUE(raft.candidate_state.in_pre_vote && is_earnest);
    CU_ASSERT_EQUAL(raft_repair_tick(&raft, TIMER_MS + TIMEOUT_MS, &is_earnest), 0);
    CU_ASSERT_FALSE(raft.candidate_state.in_pre_vote || is_earnest);
    CU_ASSERT_EQUAL(raft_repair_tick(&raft, TIMER_MS + TIMEOUT_MS, &is_earnest), 0);
    CU_ASSERT_TRUE(raft.candidate_state.in_pre_vote);
    end();
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_change_that_is_overwritten_is_taken_back),
    UNIT_TEST(what_libraft_refuses_takes_nothing_back),
    UNIT_TEST(a_snapshot_has_the_configuration_of_its_index),
    UNIT_TEST(a_follower_goes_by_what_it_has_just_got),
    UNIT_TEST(a_change_that_is_gone_is_forgotten),
    UNIT_TEST(a_voter_that_is_alone_is_found),
    UNIT_TEST(who_is_asked_for_a_vote_is_a_voter_meanwhile),
    UNIT_TEST(a_voter_hears_of_its_demotion_when_it_is_committed),
    UNIT_TEST(a_voter_that_is_alone_leads_in_a_new_term),
    UNIT_TEST(who_installs_a_snapshot_does_not_stand_for_election),
    UNIT_TEST(a_candidate_asks_in_earnest_once),
};
UNIT_MAIN("raft_repair", tests)
