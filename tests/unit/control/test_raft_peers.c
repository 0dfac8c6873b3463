/* Who is a peer, what peers tell each other, and what one with an empty directory makes of it.  Each node of the tests
 * is a raft_peers whose connections are --wrap'ped: what it sends is kept, and given to the others. */
#include "control/raft_peers.h"

#include "control/config_address.h"
#include "control/coordinator_command.h"
#include "tests/unit/unit.h"

#include <errno.h>

#define NODES 3u
#define SELF 1u
#define LEADER 2u
#define OTHER 3u
#define ADDED 4u
#define NOW (1000 * NS_PER_S)

/* ---- the mesh ---- */

static struct raft_peers_hello said; /* the newest one */
static uint32_t said_count, said_to;
static uint32_t heard_by; /* what others are told is dropped; 0: nothing is */
static uint32_t removed_count;
static uint32_t linked[LIMIT_NODES], linked_count; /* peers of the mesh, beside the members */

int __wrap_control_net_add(struct control_net *n, const struct control_net_peer *peer);
int __wrap_control_net_add(struct control_net *n, const struct control_net_peer *peer)
{
    (void)n;
    for (uint32_t i = 0; i < linked_count; i++)
        if (linked[i] == peer->node)
            return -EINVAL;
    linked[linked_count++] = peer->node;
    return 0;
}

void __wrap_control_net_remove(struct control_net *n, uint32_t node);
void __wrap_control_net_remove(struct control_net *n, uint32_t node)
{
    (void)n;
    removed_count++;
    for (uint32_t i = 0; i < linked_count; i++)
        if (linked[i] == node)
            linked[i] = linked[--linked_count];
}

bool __wrap_control_net_is_up(const struct control_net *n, uint32_t node);
bool __wrap_control_net_is_up(const struct control_net *n, uint32_t node)
{
    (void)n;
    return node <= ADDED;
}

int __wrap_control_net_send(struct control_net *n, uint32_t node, uint8_t type,
                            const struct iovec *pieces, unsigned count,
                            struct control_net_request *request);
/* NOLINTNEXTLINE(readability-function-size): as what it stands for */
int __wrap_control_net_send(struct control_net *n, uint32_t node, uint8_t type,
                            const struct iovec *pieces, unsigned count,
                            struct control_net_request *request)
{
    (void)n, (void)type, (void)request;
    if (heard_by != 0 && node != heard_by)
        return 0;
    CU_ASSERT_FATAL(count == 1 && pieces[0].iov_len == sizeof said);
    memcpy(&said, pieces[0].iov_base, sizeof said);
    said_to = node;
    said_count++;
    return 0;
}

static bool is_linked(uint32_t node)
{
    for (uint32_t i = 0; i < linked_count; i++)
        if (linked[i] == node)
            return true;
    return false;
}

/* ---- nodes ---- */

struct seat {
    struct raft_node_config config;
    struct raft_peers peers;
};

static struct seat self, peer;
static struct coordinator_state state; /* of whoever has one */

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage a;
    CU_ASSERT_EQUAL_FATAL(config_address_parse(text, strlen(text), &a), 0);
    return a;
}

static void seat_init(struct seat *s, uint32_t node, uint32_t members)
{
    memset(s, 0, sizeof *s);
    s->config.node = node;
    s->config.member_count = members;
    for (uint32_t i = 0; i < members; i++)
        s->config.members[i] = (struct raft_node_member){
            .node = i + 1, .is_voter = true, .address = address("10.0.0.1:7700")};
    s->peers.config = &s->config;
    raft_peers_init(&s->peers);
}

static void nodes_of_state(uint32_t count, uint64_t revision)
{
    memset(&state, 0, sizeof state);
    state.revision = revision;
    state.shard_count = 1;
    state.node_count = count;
    for (uint32_t i = 0; i < count; i++)
        state.nodes[i] = (struct coordinator_node){.id = i + 1, .start = 100 + i};
}

/* Ourselves, with an empty directory. */
static void begin(void)
{
    seat_init(&self, SELF, NODES);
    self.peers.is_held = self.peers.was_new = true;
    nodes_of_state(0, 0);
    linked_count = removed_count = said_count = 0;
}

/* A node with that state (NULL: none) says to us what it knows. */
static void hear(uint32_t from, const struct coordinator_state *s, bool leads, bool is_new)
{
    struct raft_roster_voters voters = {.count = 0};
    const struct raft_peers_now now = {
        .now_ns = NOW, .state = s, .voters = &voters, .leads = leads};
    seat_init(&peer, from, NODES);
    peer.peers.was_new = is_new;
    uint32_t own = linked_count; /* the mesh of the other is not ours */
    said_count = 0;
    heard_by = SELF;
    raft_peers_follow(&peer.peers, &now);
    heard_by = 0;
    linked_count = own;
    CU_ASSERT_FATAL(said_count != 0);
    raft_peers_received(&self.peers, from, (const uint8_t *)&said, sizeof said, NOW);
}

static enum raft_peers_verdict verdict(uint64_t later_ns)
{
    return raft_peers_verdict(&self.peers, NOW + later_ns);
}

static void follow(const struct coordinator_state *s, const struct raft_configuration *log)
{
    struct raft_roster_voters voters = {.count = 1, .ids = {LEADER}};
    const struct raft_peers_now now = {.now_ns = NOW, .state = s, .voters = &voters, .log = log};
    raft_peers_follow(&self.peers, &now);
}

/* ---- an empty directory ---- */

static void a_cluster_begins_when_all_say_that_they_are_new(void)
{
    begin();
    CU_ASSERT_EQUAL(verdict(0), RAFT_PEERS_WAIT);
    hear(LEADER, NULL, false, true);
    hear(LEADER, NULL, false, true);
    CU_ASSERT_EQUAL(verdict(0), RAFT_PEERS_WAIT);
    hear(OTHER, NULL, false, true);
    CU_ASSERT_EQUAL(verdict(0), RAFT_PEERS_BEGIN);
    hear(OTHER, NULL, false, false); /* it has begun since, and has started again */
    CU_ASSERT_EQUAL(verdict(0), RAFT_PEERS_BEGIN);
}

/* Of two nodes one has lost its directory; the other was removed, and is added again, to a cluster of others. */
static void one_that_lists_other_members_is_none_of_a_new_cluster(void)
{
    begin();
    hear(LEADER, NULL, false, true);
    struct raft_peers_hello h = said;
    struct seat added;
    seat_init(&added, OTHER, ADDED);
    CU_ASSERT_NOT_EQUAL(added.peers.members, self.peers.members);
    h.members = added.peers.members;
    raft_peers_received(&self.peers, OTHER, (const uint8_t *)&h, sizeof h, NOW);
    CU_ASSERT_EQUAL(self.peers.differs_peer, OTHER);
    CU_ASSERT_EQUAL(verdict(RAFT_PEERS_LOST_NS), RAFT_PEERS_WAIT);
    /* Its list is put right. */
    hear(OTHER, NULL, false, true);
    CU_ASSERT_EQUAL(verdict(0), RAFT_PEERS_BEGIN);
}

static void lists_of_members_are_compared_whatever_their_order(void)
{
    struct seat other;
    seat_init(&self, SELF, NODES);
    seat_init(&other, LEADER, NODES);
    CU_ASSERT_EQUAL(self.peers.members, other.peers.members);
    other.config.members[0].node = OTHER;
    other.config.members[2].node = SELF;
    raft_peers_init(&other.peers);
    CU_ASSERT_EQUAL(self.peers.members, other.peers.members);
    other.config.members[2].is_voter = false;
    raft_peers_init(&other.peers);
    CU_ASSERT_NOT_EQUAL(self.peers.members, other.peers.members);
}

static void one_of_a_release_before_names_no_list(void)
{
    begin();
    hear(LEADER, NULL, false, true);
    raft_peers_received(&self.peers, OTHER, (const uint8_t *)&said,
                        offsetof(struct raft_peers_hello, members), NOW);
    CU_ASSERT_EQUAL(self.peers.differs_peer, 0);
    CU_ASSERT_EQUAL(verdict(0), RAFT_PEERS_BEGIN);
    begin();
    nodes_of_state(NODES, 7);
    state.nodes[0].start = 0;
    hear(LEADER, &state, true, false);
    begin(); /* the same again, without the number */
    raft_peers_received(&self.peers, LEADER, (const uint8_t *)&said,
                        offsetof(struct raft_peers_hello, members), NOW);
    CU_ASSERT_EQUAL(verdict(0), RAFT_PEERS_JOIN);
}

static void what_the_leader_knows_was_lost(void)
{
    begin();
    nodes_of_state(NODES, 7);
    hear(LEADER, &state, true, false);
    CU_ASSERT_EQUAL(verdict(0), RAFT_PEERS_LOST);
    CU_ASSERT_EQUAL(self.peers.lost_peer, LEADER);
}

static void what_another_knows_was_lost_unless_a_leader_says_more(void)
{
    begin();
    nodes_of_state(NODES, 7);
    hear(OTHER, &state, false, false);
    CU_ASSERT_EQUAL(verdict(RAFT_PEERS_LOST_NS - 1), RAFT_PEERS_WAIT);
    CU_ASSERT_EQUAL(verdict(RAFT_PEERS_LOST_NS), RAFT_PEERS_LOST);
    state.nodes[0].start = 0; /* added anew since */
    state.revision = 6;
    hear(LEADER, &state, true, false);
    CU_ASSERT_EQUAL(verdict(RAFT_PEERS_LOST_NS), RAFT_PEERS_LOST); /* a leader's word, but older */
    state.revision = 8;
    hear(LEADER, &state, true, false);
    CU_ASSERT_EQUAL(verdict(0), RAFT_PEERS_JOIN);
    state.nodes[0].start = 5; /* who knows less than the leader says nothing by it */
    state.revision = 7;
    hear(OTHER, &state, false, false);
    CU_ASSERT_EQUAL(verdict(RAFT_PEERS_LOST_NS), RAFT_PEERS_JOIN);
}

static void a_node_that_knows_nothing_and_is_not_new_is_suspect(void)
{
    begin();
    hear(OTHER, NULL, false, false);
    CU_ASSERT_EQUAL(verdict(0), RAFT_PEERS_WAIT);
    CU_ASSERT_EQUAL(verdict(RAFT_PEERS_LOST_NS), RAFT_PEERS_LOST);
}

static void who_was_not_added_waits_for_that(void)
{
    begin();
    nodes_of_state(NODES, 7);
    state.nodes[0].id = 9;
    hear(LEADER, &state, true, false);
    CU_ASSERT_TRUE(self.peers.is_no_node);
    CU_ASSERT_EQUAL(self.peers.no_node_peer, LEADER);
    CU_ASSERT_EQUAL(verdict(RAFT_PEERS_LOST_NS), RAFT_PEERS_WAIT);
    CU_ASSERT_FALSE(self.peers.is_removed);
    nodes_of_state(NODES, 8);
    state.nodes[0].start = 0;
    hear(LEADER, &state, true, false);
    CU_ASSERT_EQUAL(verdict(0), RAFT_PEERS_JOIN);
}

/* ---- one that is removed ---- */

static void a_newer_state_of_the_leader_without_us_removes_us(void)
{
    begin();
    self.peers.is_held = false;
    nodes_of_state(NODES, 7);
    follow(&state, NULL);
    struct coordinator_state newer = state;
    newer.nodes[0].id = 9;
    hear(LEADER, &newer, true, false); /* of the same revision */
    CU_ASSERT_FALSE(self.peers.is_removed);
    newer.revision = 8;
    hear(LEADER, &newer, true, false);
    CU_ASSERT_TRUE(self.peers.is_removed);
}

static void our_own_state_removes_us_when_we_vote_no_more(void)
{
    struct raft_roster_voters voters = {.count = 1, .ids = {SELF}};
    struct raft_peers_now now = {.now_ns = NOW, .state = &state, .voters = &voters};
    begin();
    self.peers.is_held = false;
    nodes_of_state(NODES, 7);
    state.nodes[0].id = 9;
    voters.ids[0] = LEADER;
    raft_peers_follow(&self.peers, &now);
    CU_ASSERT_FALSE(self.peers.is_removed); /* from before we were added */
    state.nodes[0].id = SELF;
    raft_peers_follow(&self.peers, &now);
    voters.ids[0] = SELF;
    state.nodes[0].id = 9;
    state.revision = 8;
    raft_peers_follow(&self.peers, &now);
    CU_ASSERT_FALSE(self.peers.is_removed);
    voters.ids[0] = LEADER;
    raft_peers_follow(&self.peers, &now);
    CU_ASSERT_TRUE(self.peers.is_removed);
}

/* ---- who is a peer ---- */

static void added_nodes_are_peers_until_they_are_gone_for_a_while(void)
{
    struct raft_peers_now now = {.now_ns = NOW, .state = &state};
    begin();
    nodes_of_state(ADDED, 7);
    follow(&state, NULL);
    CU_ASSERT_EQUAL(linked_count, 0); /* nobody says where it lives */
    (void)snprintf(state.nodes[3].control, sizeof state.nodes[3].control, "10.0.0.4:7700");
    follow(&state, NULL);
    CU_ASSERT_TRUE(is_linked(ADDED));
    CU_ASSERT_FALSE(is_linked(SELF));
    nodes_of_state(1, 8); /* all others are gone */
    follow(&state, NULL);
    now.now_ns += RAFT_PEERS_GONE_NS - 1;
    raft_peers_follow(&self.peers, &now);
    CU_ASSERT_TRUE(is_linked(ADDED));
    now.now_ns += 1;
    raft_peers_follow(&self.peers, &now);
    CU_ASSERT_FALSE(is_linked(ADDED));
    uint32_t left = 0;
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        left += self.peers.peers[i].node != 0 ? 1 : 0;
    CU_ASSERT_EQUAL(left, NODES - 1); /* members of the configuration stay */
}

static void those_of_the_log_are_peers_too(void)
{
    struct raft_configuration log;
    struct raft_peers_now now = {.now_ns = NOW, .state = &state, .log = &log};
    begin();
    raft_configuration_init(&log);
    CU_ASSERT_EQUAL(raft_configuration_add(&log, ADDED, "10.0.0.4:7700", RAFT_STANDBY), 0);
    CU_ASSERT_EQUAL(raft_configuration_add(&log, 5, "5", RAFT_STANDBY), 0); /* nowhere */
    follow(NULL, &log);
    CU_ASSERT_TRUE(is_linked(ADDED));
    CU_ASSERT_EQUAL(linked_count, 1);
    nodes_of_state(NODES, 8); /* whatever the state says */
    for (uint32_t i = 0; i < 2; i++, now.now_ns += RAFT_PEERS_GONE_NS)
        raft_peers_follow(&self.peers, &now);
    CU_ASSERT_TRUE(is_linked(ADDED));
    CU_ASSERT_EQUAL(removed_count, 0); /* not even for a moment */
    now.log = NULL;
    for (uint32_t i = 0; i < 2; i++, now.now_ns += RAFT_PEERS_GONE_NS)
        raft_peers_follow(&self.peers, &now);
    CU_ASSERT_FALSE(is_linked(ADDED));
    raft_configuration_close(&log);
}

static void one_that_lives_elsewhere_now_is_another_peer(void)
{
    begin();
    nodes_of_state(ADDED, 7);
    (void)snprintf(state.nodes[3].control, sizeof state.nodes[3].control, "10.0.0.4:7700");
    follow(&state, NULL);
    (void)snprintf(state.nodes[3].control, sizeof state.nodes[3].control, "10.0.0.5:7700");
    follow(&state, NULL);
    const struct sockaddr_storage wanted = address("10.0.0.5:7700");
    bool is_there = false;
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        is_there = is_there || (self.peers.peers[i].node == ADDED &&
                                memcmp(&self.peers.peers[i].address, &wanted, sizeof wanted) == 0);
    CU_ASSERT_TRUE(is_there);
    CU_ASSERT_EQUAL(linked_count, 1);
}

static void a_peer_tells_where_added_nodes_live(void)
{
    begin();
    nodes_of_state(ADDED, 7);
    (void)snprintf(state.nodes[3].control, sizeof state.nodes[3].control, "10.0.0.4:7700");
    hear(OTHER, &state, false, false);
    bool is_there = false;
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        is_there = is_there || self.peers.peers[i].node == ADDED;
    CU_ASSERT_TRUE(is_there);
    CU_ASSERT_TRUE(is_linked(ADDED));
}

/* ---- what is said ---- */

static void what_is_known_of_a_peer_is_said_once(void)
{
    begin();
    nodes_of_state(NODES, 7);
    follow(&state, NULL);
    CU_ASSERT_EQUAL(said_count, NODES - 1);
    CU_ASSERT_EQUAL(said.known, RAFT_PEERS_REGISTERED);
    CU_ASSERT_EQUAL(said.start_known, 99u + said_to);
    state.revision = 8; /* alone nobody needs it */
    follow(&state, NULL);
    CU_ASSERT_EQUAL(said_count, NODES - 1);
    state.nodes[2].start = 200;
    follow(&state, NULL);
    CU_ASSERT_EQUAL(said_count, NODES);
    CU_ASSERT_EQUAL(said_to, OTHER);
    CU_ASSERT_EQUAL(said.start_known, 200);
    raft_peers_link(&self.peers, LEADER); /* on a new link all over */
    follow(&state, NULL);
    CU_ASSERT_EQUAL(said_count, NODES + 1);
    CU_ASSERT_EQUAL(said_to, LEADER);
}

static void the_oldest_format_of_those_met_counts(void)
{
    begin();
    nodes_of_state(NODES, 7);
    CU_ASSERT_EQUAL(raft_peers_format(&self.peers, &state), COORDINATOR_COMMAND_FORMAT);
    hear(LEADER, &state, true, false);
    CU_ASSERT_EQUAL(raft_peers_format(&self.peers, &state), COORDINATOR_COMMAND_FORMAT);
    raft_peers_received(&self.peers, OTHER, (const uint8_t *)&said,
                        offsetof(struct raft_peers_hello, revision), NOW);
    CU_ASSERT_EQUAL(raft_peers_format(&self.peers, &state), 1);
    state.node_count = 2; /* it is no node any more */
    CU_ASSERT_EQUAL(raft_peers_format(&self.peers, &state), COORDINATOR_COMMAND_FORMAT);
    CU_ASSERT_EQUAL(raft_peers_format(&self.peers, NULL), 1);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_cluster_begins_when_all_say_that_they_are_new),
    UNIT_TEST(one_that_lists_other_members_is_none_of_a_new_cluster),
    UNIT_TEST(lists_of_members_are_compared_whatever_their_order),
    UNIT_TEST(one_of_a_release_before_names_no_list),
    UNIT_TEST(what_the_leader_knows_was_lost),
    UNIT_TEST(what_another_knows_was_lost_unless_a_leader_says_more),
    UNIT_TEST(a_node_that_knows_nothing_and_is_not_new_is_suspect),
    UNIT_TEST(who_was_not_added_waits_for_that),
    UNIT_TEST(a_newer_state_of_the_leader_without_us_removes_us),
    UNIT_TEST(our_own_state_removes_us_when_we_vote_no_more),
    UNIT_TEST(added_nodes_are_peers_until_they_are_gone_for_a_while),
    UNIT_TEST(those_of_the_log_are_peers_too),
    UNIT_TEST(one_that_lives_elsewhere_now_is_another_peer),
    UNIT_TEST(a_peer_tells_where_added_nodes_live),
    UNIT_TEST(what_is_known_of_a_peer_is_said_once),
    UNIT_TEST(the_oldest_format_of_those_met_counts),
};
UNIT_MAIN("raft_peers", tests)
