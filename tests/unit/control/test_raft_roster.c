/* When libraft's configuration changes, and which way: libraft is --wrap'ped, and answers what a test says. */
#include "control/raft_roster.h"

#include "engine/clock.h"
#include "tests/unit/unit.h"

#define SELF 1u
#define ADDED 4u
#define LEASE_NS (50 * NS_PER_MS)
#define LATER_NS (1000 * NS_PER_S) /* whatever was to wait is over */

/* ---- libraft ---- */

enum asked { NOTHING, ADD, ASSIGN, REMOVE, TRANSFER };

static struct {
    enum asked kind;
    raft_id node;
    int role;
    char address[COORDINATOR_ADDRESS_BYTES];
    struct raft_change *change;
    raft_change_cb changed;
    struct raft_transfer *transfer;
    raft_transfer_cb transferred;
    uint32_t count;
} asked;
static int answer; /* of libraft */
static raft_index applied, last;

static int ask(enum asked kind, raft_id node)
{
    asked.kind = kind;
    asked.node = node;
    asked.count++;
    return answer;
}

int __wrap_raft_add(struct raft *r, struct raft_change *req, raft_id id, const char *address,
                    raft_change_cb cb);
int __wrap_raft_add(struct raft *r, struct raft_change *req, raft_id id, const char *address,
                    raft_change_cb cb)
{
    (void)r;
    asked.change = req;
    asked.changed = cb;
    (void)snprintf(asked.address, sizeof asked.address, "%s", address);
    return ask(ADD, id);
}

int __wrap_raft_assign(struct raft *r, struct raft_change *req, raft_id id, int role,
                       raft_change_cb cb);
int __wrap_raft_assign(struct raft *r, struct raft_change *req, raft_id id, int role,
                       raft_change_cb cb)
{
    (void)r;
    asked.change = req;
    asked.changed = cb;
    asked.role = role;
    return ask(ASSIGN, id);
}

int __wrap_raft_remove(struct raft *r, struct raft_change *req, raft_id id, raft_change_cb cb);
int __wrap_raft_remove(struct raft *r, struct raft_change *req, raft_id id, raft_change_cb cb)
{
    (void)r;
    asked.change = req;
    asked.changed = cb;
    return ask(REMOVE, id);
}

int __wrap_raft_transfer(struct raft *r, struct raft_transfer *req, raft_id id,
                         raft_transfer_cb cb);
int __wrap_raft_transfer(struct raft *r, struct raft_transfer *req, raft_id id, raft_transfer_cb cb)
{
    (void)r;
    asked.transfer = req;
    asked.transferred = cb;
    return ask(TRANSFER, id);
}

raft_index __wrap_raft_last_applied(struct raft *r);
raft_index __wrap_raft_last_applied(struct raft *r)
{
    (void)r;
    return applied;
}

raft_index __wrap_raft_last_index(struct raft *r);
raft_index __wrap_raft_last_index(struct raft *r)
{
    (void)r;
    return last;
}

bool __wrap_control_net_is_up(const struct control_net *n, uint32_t node);
bool __wrap_control_net_is_up(const struct control_net *n, uint32_t node)
{
    (void)n, (void)node;
    return true;
}

/* ---- a leader ---- */

static struct raft raft;
static struct raft_roster roster;
static struct coordinator_state state;
static struct raft_roster_now now;

/* Nodes 1 .. of the configuration, by their roles; RAFT_MEMBERS_ABSENT: it is not in it. */
static void configuration_make(const int *roles, uint32_t count)
{
    raft_configuration_close(&raft.configuration);
    raft_configuration_init(&raft.configuration);
    for (uint32_t i = 0; i < count; i++) {
        const char address[] = {(char)('1' + i), 0};
        if (roles[i] != RAFT_MEMBERS_ABSENT)
            CU_ASSERT_EQUAL_FATAL(
                raft_configuration_add(&raft.configuration, i + 1, address, roles[i]), 0);
    }
}

static void nodes_make(uint32_t count)
{
    memset(&state, 0, sizeof state);
    state.shard_count = 1;
    state.node_count = count;
    for (uint32_t i = 0; i < count; i++)
        state.nodes[i] = (struct coordinator_node){.id = i + 1, .start = 100};
}

/* Three voters, which is what there should be, and long after the leader's first entry, 10. */
static void begin(void)
{
    const int roles[] = {RAFT_VOTER, RAFT_VOTER, RAFT_VOTER};
    memset(&raft, 0, sizeof raft);
    memset(&roster, 0, sizeof roster);
    memset(&asked, 0, sizeof asked);
    raft_configuration_init(&raft.configuration);
    configuration_make(roles, 3);
    nodes_make(3);
    answer = 0;
    applied = last = 20;
    now = (struct raft_roster_now){.now_ns = clock_boottime_ns(),
                                   .state = &state,
                                   .self = SELF,
                                   .index_first = 10,
                                   .lease_max_ns = LEASE_NS};
    CU_ASSERT_EQUAL(raft_roster_step(&roster, &raft, &now), 0);
    CU_ASSERT_EQUAL(asked.count, 0);
    now.now_ns += LATER_NS;
}

static void end(void)
{
    raft_configuration_close(&raft.configuration);
}

/* What is asked of libraft by a step: its kind, or NOTHING. */
static enum asked step(void)
{
    asked.kind = NOTHING;
    CU_ASSERT_EQUAL(raft_roster_step(&roster, &raft, &now), 0);
    return asked.kind;
}

/* Of four nodes only two vote. */
static void promotion_due(void)
{
    const int roles[] = {RAFT_VOTER, RAFT_VOTER, RAFT_MEMBERS_ABSENT, RAFT_STANDBY};
    configuration_make(roles, 4);
    nodes_make(4);
    state.nodes[2] = state.nodes[3];
    state.node_count = 3;
}

static void nothing_changes_before_its_first_entry_is_applied(void)
{
    begin();
    promotion_due();
    now.index_first = 0;
    CU_ASSERT_EQUAL(step(), NOTHING);
    now.index_first = 10;
    applied = last = 9;
    CU_ASSERT_EQUAL(step(), NOTHING);
    applied = last = 20;
    state.shard_count = 0;
    CU_ASSERT_EQUAL(step(), NOTHING);
    state.shard_count = 1;
    now.state = NULL;
    CU_ASSERT_EQUAL(step(), NOTHING);
    now.state = &state;
    raft.log.offset = 20; /* it ends there */
    raft.configuration_uncommitted_index = 20;
    CU_ASSERT_EQUAL(step(), NOTHING);
    raft.last_applied = 20; /* libraft has forgotten that it is committed */
    CU_ASSERT_EQUAL(step(), ASSIGN);
    end();
}

static void a_node_comes_with_its_address(void)
{
    begin();
    nodes_make(4);
    (void)snprintf(state.nodes[3].control, sizeof state.nodes[3].control, "10.0.0.4:7700");
    CU_ASSERT_EQUAL(step(), ADD);
    CU_ASSERT_EQUAL(asked.node, ADDED);
    CU_ASSERT_STRING_EQUAL(asked.address, "10.0.0.4:7700");
    asked.changed(asked.change, RAFT_LEADERSHIPLOST);
    state.nodes[3].control[0] = 0;
    CU_ASSERT_EQUAL(step(), ADD);
    CU_ASSERT_STRING_EQUAL(asked.address, "4"); /* each node's own configuration says where */
    end();
}

static void changes_come_one_at_a_time(void)
{
    begin();
    promotion_due();
    CU_ASSERT_EQUAL(step(), ASSIGN);
    CU_ASSERT_EQUAL(asked.node, ADDED);
    CU_ASSERT_EQUAL(asked.role, RAFT_VOTER);
    now.now_ns += LATER_NS;
    CU_ASSERT_EQUAL(step(), NOTHING);
    asked.changed(asked.change, 0);
    now.now_ns += LATER_NS;
    CU_ASSERT_EQUAL(step(), ASSIGN); /* nothing has changed in the configuration of this test */
    end();
}

static void voters_change_once_in_a_longest_lease(void)
{
    begin();
    promotion_due();
    now.index_first = 20; /* it leads anew */
    CU_ASSERT_EQUAL(step(), NOTHING);
    now.now_ns += LEASE_NS + LEASE_NS / 500;
    CU_ASSERT_EQUAL(step(), NOTHING);
    now.now_ns += 1;
    CU_ASSERT_EQUAL(step(), ASSIGN);
    asked.changed(asked.change, RAFT_NOCONNECTION); /* perhaps another leader has it decided */
    const uint64_t after = clock_boottime_ns();
    CU_ASSERT_TRUE(roster.voters_ns <= after + LEASE_NS + LEASE_NS / 500 + 1);
    now.now_ns = roster.voters_ns - 1;
    roster.next_ns = 0;
    CU_ASSERT_EQUAL(step(), NOTHING);
    now.now_ns = roster.voters_ns;
    CU_ASSERT_EQUAL(step(), ASSIGN);
    end();
}

static void one_that_is_no_voter_does_not_wait_for_leases(void)
{
    begin();
    nodes_make(4);
    now.index_first = 20;
    CU_ASSERT_EQUAL(step(), ADD);
    asked.changed(asked.change, 0);
    CU_ASSERT_EQUAL(roster.voters_ns, now.now_ns + LEASE_NS + LEASE_NS / 500 + 1); /* as it was */
    end();
}

/* Seed 7087 of the scenario `control`: a node was being made the second voter as it was removed, and ended. */
static void who_may_have_been_removed_is_not_promoted(void)
{
    begin();
    promotion_due();
    last = 21; /* that may say so */
    CU_ASSERT_EQUAL(step(), NOTHING);
    CU_ASSERT_FALSE(raft_roster_promotes(&roster, ADDED));
    applied = 21;
    CU_ASSERT_EQUAL(step(), ASSIGN);
    CU_ASSERT_TRUE(raft_roster_promotes(&roster, ADDED));
    CU_ASSERT_FALSE(raft_roster_promotes(&roster, 2));
    asked.changed(asked.change, 0);
    CU_ASSERT_FALSE(raft_roster_promotes(&roster, ADDED));
    state.nodes[2].standing = COORDINATOR_LEAVING;
    now.now_ns += LATER_NS;
    CU_ASSERT_EQUAL(step(), ASSIGN); /* of three voters one is too many without it */
    CU_ASSERT_EQUAL(asked.role, RAFT_STANDBY);
    CU_ASSERT_FALSE(raft_roster_promotes(&roster, (uint32_t)asked.node));
    end();
}

static void what_libraft_refuses_is_tried_again_later(void)
{
    static const int codes[] = {RAFT_NOTLEADER, RAFT_CANTCHANGE,  RAFT_BADROLE,
                                RAFT_BADID,     RAFT_DUPLICATEID, RAFT_NOTFOUND};
    begin();
    promotion_due();
    for (uint32_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        answer = codes[i];
        CU_ASSERT_EQUAL(step(), ASSIGN);
        now.now_ns += 200 * NS_PER_MS - 1;
        CU_ASSERT_EQUAL(step(), NOTHING);
        now.now_ns += 1;
    }
    answer = RAFT_NOMEM;
    CU_ASSERT_EQUAL(raft_roster_step(&roster, &raft, &now), RAFT_NOMEM);
    answer = 0;
    now.now_ns += LATER_NS;
    CU_ASSERT_EQUAL(step(), NOTHING); /* libraft may have kept the request */
    end();
}

static void who_is_gone_is_removed_after_a_while(void)
{
    const int roles[] = {RAFT_VOTER, RAFT_VOTER, RAFT_VOTER, RAFT_STANDBY};
    begin();
    configuration_make(roles, 4);
    CU_ASSERT_EQUAL(step(), NOTHING);
    now.now_ns += RAFT_ROSTER_GONE_NS - 1;
    CU_ASSERT_EQUAL(step(), NOTHING);
    now.index_first = 15; /* it leads anew, and counts anew */
    CU_ASSERT_EQUAL(step(), NOTHING);
    now.now_ns += RAFT_ROSTER_GONE_NS - 1;
    CU_ASSERT_EQUAL(step(), NOTHING);
    now.now_ns += 1;
    CU_ASSERT_EQUAL(step(), REMOVE);
    CU_ASSERT_EQUAL(asked.node, 4);
    end();
}

static void a_leader_that_goes_hands_over_first(void)
{
    const int roles[] = {RAFT_VOTER, RAFT_VOTER, RAFT_VOTER, RAFT_VOTER};
    begin();
    configuration_make(roles, 4);
    nodes_make(4);
    state.nodes[0].standing = COORDINATOR_LEAVING;
    CU_ASSERT_EQUAL(step(), TRANSFER);
    CU_ASSERT_EQUAL(asked.node, 2);
    CU_ASSERT_FALSE(raft_roster_promotes(&roster, 2));
    now.now_ns += LATER_NS;
    CU_ASSERT_EQUAL(step(), NOTHING); /* until it is over */
    asked.transferred(asked.transfer);
    CU_ASSERT_EQUAL(step(), TRANSFER);
    end();
}

static void voters_are_a_set(void)
{
    const int two[] = {RAFT_VOTER, RAFT_STANDBY, RAFT_VOTER};
    struct raft_roster_voters some, same;
    begin();
    configuration_make(two, 3);
    raft_roster_voters(&raft, &some);
    CU_ASSERT_EQUAL(some.count, 2);
    CU_ASSERT_TRUE(some.ids[0] == 1 && some.ids[1] == 3);
    CU_ASSERT_TRUE(raft_roster_has(&some, 3));
    CU_ASSERT_FALSE(raft_roster_has(&some, 2));
    CU_ASSERT_FALSE(raft_roster_has(NULL, 1));
    struct raft_server first = raft.configuration.servers[0];
    raft.configuration.servers[0] = raft.configuration.servers[2];
    raft.configuration.servers[2] = first;
    raft_roster_voters(&raft, &same);
    CU_ASSERT_EQUAL(same.set, some.set);
    CU_ASSERT_TRUE(same.ids[0] == 1 && same.ids[1] == 3);
    raft.configuration.servers[1].role = RAFT_VOTER;
    raft_roster_voters(&raft, &same);
    CU_ASSERT_NOT_EQUAL(same.set, some.set);
    end();
}

static const struct unit_test tests[] = {
    UNIT_TEST(nothing_changes_before_its_first_entry_is_applied),
    UNIT_TEST(a_node_comes_with_its_address),
    UNIT_TEST(changes_come_one_at_a_time),
    UNIT_TEST(voters_change_once_in_a_longest_lease),
    UNIT_TEST(one_that_is_no_voter_does_not_wait_for_leases),
    UNIT_TEST(who_may_have_been_removed_is_not_promoted),
    UNIT_TEST(what_libraft_refuses_is_tried_again_later),
    UNIT_TEST(who_is_gone_is_removed_after_a_while),
    UNIT_TEST(a_leader_that_goes_hands_over_first),
    UNIT_TEST(voters_are_a_set),
};
UNIT_MAIN("raft_roster", tests)
