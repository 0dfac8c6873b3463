/* Three nodes in this process, each with its loop, its directory and its certificate; links over loopback. */
#include "control/raft_node.h"

#include "control/authority_make.h"
#include "control/coordinator_register.h"
#include "engine/clock.h"
#include "tests/unit/control/coordinator_fixture.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define NODES FIXTURE_NODES
#define SHARDS 6u
#define WAIT_NS (60 * NS_PER_S) /* for what is to come; none of it takes a second */
#define ASK_MS 20000u
#define LEASE_NS (500 * NS_PER_MS)

struct member_node {
    struct fixture_node fixture;
    struct raft_node_config config;
    char directory[128], certificate[AUTHORITY_PATH_BYTES], key[AUTHORITY_PATH_BYTES],
        authority[AUTHORITY_PATH_BYTES];
    struct raft_node *raft; /* NULL: it is down */
    struct coordinator_state *state;
};

static struct member_node nodes[NODES];

/* Ports that are free now, and most likely still so when they are used.  Why all are held until the last one is
 * chosen: one that is let go of may be given again. */
static void addresses_free(struct sockaddr_storage addresses[NODES])
{
    int fds[NODES];
    for (uint32_t i = 0; i < NODES; i++) {
        addresses[i] = (struct sockaddr_storage){.ss_family = AF_INET};
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)&addresses[i];
        socklen_t length = sizeof *in;
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CU_ASSERT_EQUAL_FATAL(bind(fds[i], (struct sockaddr *)(void *)in, sizeof *in), 0);
        CU_ASSERT_EQUAL_FATAL(getsockname(fds[i], (struct sockaddr *)(void *)in, &length), 0);
    }
    for (uint32_t i = 0; i < NODES; i++)
        (void)close(fds[i]);
}

static void certificates_make(void)
{
    struct authority_made made;
    const struct authority_create create = {.directory = fixture_directory, .cluster = "flock"};
    CU_ASSERT_EQUAL_FATAL(authority_create(&create, &made, stderr), 0);
    for (uint32_t i = 0; i < NODES; i++) {
        struct member_node *n = &nodes[i];
        const struct authority_issue issue = {
            .directory = fixture_directory, .node = n->fixture.config.node, .validity_s = 3600};
        (void)snprintf(n->authority, sizeof n->authority, "%s", made.certificate_path);
        struct authority_made issued;
        CU_ASSERT_EQUAL_FATAL(authority_issue(&issue, &issued, stderr), 0);
        (void)snprintf(n->certificate, sizeof n->certificate, "%s", issued.certificate_path);
        (void)snprintf(n->key, sizeof n->key, "%s", issued.key_path);
    }
}

static void begin(void)
{
    struct sockaddr_storage addresses[NODES];
    (void)signal(SIGPIPE, SIG_IGN); /* as daemon_prepare does */
    fixture_begin();
    for (uint32_t i = 0; i < NODES; i++) {
        memset(&nodes[i], 0, sizeof nodes[i]);
        fixture_node_init(&nodes[i].fixture, i, FIXTURE_START + i, SHARDS);
    }
    addresses_free(addresses);
    certificates_make();
    for (uint32_t i = 0; i < NODES; i++) {
        struct member_node *n = &nodes[i];
        (void)snprintf(n->directory, sizeof n->directory, "%s/control-%u", fixture_directory, i);
        n->config = (struct raft_node_config){.node = n->fixture.config.node,
                                              .start = n->fixture.config.start,
                                              .cluster = n->fixture.config.cluster,
                                              .cluster_name = "flock",
                                              .directory = n->directory,
                                              .certificate_path = n->certificate,
                                              .key_path = n->key,
                                              .authority_path = n->authority,
                                              .member_count = NODES,
                                              .lease_ns = LEASE_NS,
                                              .lease_max_ns = LEASE_NS,
                                              .silent_ns_max = LEASE_NS};
        for (uint32_t m = 0; m < NODES; m++)
            n->config.members[m] = (struct raft_node_member){
                .node = nodes[m].fixture.config.node, .is_voter = true, .address = addresses[m]};
    }
}

static void down(uint32_t number)
{
    raft_node_close(nodes[number].raft);
    nodes[number].raft = NULL;
    free(nodes[number].state);
    nodes[number].state = NULL;
}

static void end(void)
{
    for (uint32_t i = 0; i < NODES; i++)
        down(i);
    fixture_end();
}

static void up(uint32_t number, uint64_t start)
{
    struct member_node *n = &nodes[number];
    n->fixture.config.start = start;
    n->config.start = start;
    CU_ASSERT_EQUAL_FATAL(raft_node_open(&n->raft, &n->config, stderr), 0);
}

static int64_t enter(uint32_t number)
{
    struct coordinator_command command;
    CU_ASSERT_EQUAL_FATAL(coordinator_register_command(&nodes[number].fixture.config, &command), 0);
    return raft_node_ask(nodes[number].raft, &command, ASK_MS);
}

static void look(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        struct coordinator_state *s = nodes[i].raft != NULL ? raft_node_take(nodes[i].raft) : NULL;
        if (s == NULL)
            continue;
        free(nodes[i].state);
        nodes[i].state = s;
    }
}

/* Whether it comes true, on every node that is up. */
static bool comes(bool (*is_true)(const struct coordinator_state *s, uint64_t argument),
                  uint64_t argument)
{
    uint64_t until = clock_boottime_ns() + WAIT_NS;
    for (;;) {
        bool all = true;
        look();
        for (uint32_t i = 0; i < NODES; i++)
            all = all && (nodes[i].raft == NULL ||
                          (nodes[i].state != NULL && is_true(nodes[i].state, argument)));
        if (all || clock_boottime_ns() > until)
            return all;
        (void)poll(NULL, 0, 2);
    }
}

static bool has_shards(const struct coordinator_state *s, uint64_t count)
{
    return s->shard_count == count;
}

static bool is_active(const struct coordinator_state *s, uint64_t argument)
{
    (void)argument;
    for (uint32_t i = 0; i < s->shard_count; i++)
        if (!s->shards[i].configuration.active)
            return false;
    return s->shard_count != 0;
}

static bool leads_nothing(const struct coordinator_state *s, uint64_t node)
{
    for (uint32_t i = 0; i < s->shard_count; i++)
        if (s->shards[i].configuration.leader.node == node)
            return false;
    return s->shard_count != 0;
}

/* As the lcores of that node would ask, for all that it leads. */
static int64_t activate(uint32_t number)
{
    struct member_node *n = &nodes[number];
    struct coordinator_epoch epochs[SHARDS];
    struct coordinator_command command = {.type = COORDINATOR_ACTIVATE,
                                          .node = n->config.node,
                                          .start = n->config.start,
                                          .epochs = {.list = epochs}};
    look();
    for (uint32_t i = 0; i < n->state->shard_count; i++) {
        const struct coordinator_shard *s = &n->state->shards[i];
        if (!s->configuration.active && s->configuration.leader.node == n->config.node)
            epochs[command.epochs.count++] =
                (struct coordinator_epoch){s->log, s->configuration.epoch};
    }
    return command.epochs.count != 0 ? raft_node_ask(n->raft, &command, ASK_MS) : 0;
}

/* All are up, and the first epochs are active. */
static void cluster_begin(void)
{
    begin();
    for (uint32_t i = 0; i < NODES; i++)
        up(i, FIXTURE_START + i);
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_TRUE(enter(i) > 0);
    CU_ASSERT_TRUE_FATAL(comes(has_shards, SHARDS));
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_TRUE(activate(i) >= 0);
    CU_ASSERT_TRUE(comes(is_active, 0));
}

static uint32_t leader(void)
{
    struct raft_node_shown shown;
    raft_node_shown(nodes[0].raft, &shown);
    for (uint32_t i = 0; i < NODES; i++)
        if (nodes[i].config.node == shown.leader)
            return i;
    return NODES;
}

/* ---- tests ---- */

static void every_node_learns_what_one_asked_for(void)
{
    cluster_begin();
    CU_ASSERT_EQUAL(nodes[0].state->node_count, NODES);
    for (uint32_t i = 1; i < NODES; i++) {
        CU_ASSERT_EQUAL(nodes[i].state->revision, nodes[0].state->revision);
        CU_ASSERT_EQUAL(memcmp(nodes[i].state->shards, nodes[0].state->shards,
                               SHARDS * sizeof nodes[0].state->shards[0]),
                        0);
    }
    CU_ASSERT_EQUAL(enter(1), 0); /* known already */
    end();
}

static void what_was_decided_is_on_the_disks(void)
{
    cluster_begin();
    look();
    uint64_t revision = nodes[0].state->revision;
    for (uint32_t i = 0; i < NODES; i++)
        down(i);
    for (uint32_t i = 0; i < NODES; i++)
        up(i, FIXTURE_START + i);
    CU_ASSERT_TRUE_FATAL(comes(has_shards, SHARDS));
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_TRUE(nodes[i].state->revision >= revision);
    end();
}

static void what_a_node_led_is_led_by_others_when_its_lease_is_over(void)
{
    cluster_begin();
    for (uint32_t round = 0; round < 2; round++) {
        /* One that is not raft's leader, then one that is. */
        uint32_t gone = round == 0 ? (leader() + 1) % NODES : leader();
        CU_ASSERT_TRUE_FATAL(gone < NODES);
        const struct coordinator_command move = {.type = COORDINATOR_MOVE,
                                                 .node = nodes[gone].config.node,
                                                 .logs = {.first = 0, .last = UINT32_MAX}};
        CU_ASSERT_TRUE(raft_node_ask(nodes[gone].raft, &move, ASK_MS) >= 0);
        uint32_t id = nodes[gone].config.node;
        down(gone);
        CU_ASSERT_TRUE(comes(leads_nothing, id));
        up(gone, FIXTURE_START + NODES + round);
        CU_ASSERT_TRUE(enter(gone) > 0);
        for (uint32_t i = 0; i < NODES; i++)
            CU_ASSERT_TRUE(activate(i) >= 0);
        CU_ASSERT_TRUE(comes(is_active, 0));
    }
    end();
}

static void without_a_majority_nothing_is_decided(void)
{
    cluster_begin();
    const struct coordinator_command retire = {
        .type = COORDINATOR_RETIRE, .node = nodes[2].config.node, .start = nodes[2].config.start};
    down(0);
    down(1);
    look();
    uint64_t revision = nodes[2].state->revision;
    CU_ASSERT_EQUAL(raft_node_ask(nodes[2].raft, &retire, 300), -ETIMEDOUT);
    look();
    CU_ASSERT_EQUAL(nodes[2].state->revision, revision);
    up(0, FIXTURE_START);
    CU_ASSERT_TRUE(raft_node_ask(nodes[2].raft, &retire, ASK_MS) >= 0);
    end();
}

static void nobody_speaks_for_another_node(void)
{
    cluster_begin();
    struct coordinator_command command = {
        .type = COORDINATOR_RETIRE, .node = nodes[1].config.node, .start = nodes[1].config.start};
    uint32_t other = leader() == 0 ? 2 : 0;
    if (leader() == 1)
        other = 2;
    CU_ASSERT_EQUAL(raft_node_ask(nodes[other].raft, &command, ASK_MS), -EBADMSG);
    command.type = COORDINATOR_FAIL;
    CU_ASSERT_EQUAL(raft_node_ask(nodes[other].raft, &command, ASK_MS), -EBADMSG);
    end();
}

static void one_that_lost_its_directory_takes_no_part(void)
{
    struct raft_node_shown shown = {.is_lost = false};
    char lost[160];
    cluster_begin();
    down(2);
    (void)snprintf(lost, sizeof lost, "%s.lost", nodes[2].directory);
    CU_ASSERT_EQUAL_FATAL(rename(nodes[2].directory, lost), 0);
    up(2, FIXTURE_START + NODES);
    for (uint64_t until = clock_boottime_ns() + WAIT_NS;
         !shown.is_lost && clock_boottime_ns() < until; (void)poll(NULL, 0, 2))
        raft_node_shown(nodes[2].raft, &shown);
    CU_ASSERT_TRUE(shown.is_lost);
    CU_ASSERT_EQUAL(shown.leader, 0);
    down(2);
    CU_ASSERT_EQUAL(enter(0), 0); /* the others go on */
    end();
}

static bool votes(uint32_t number)
{
    struct raft_node_shown shown;
    raft_node_shown(nodes[number].raft, &shown);
    return shown.is_voter;
}

/* Changes of libraft's configuration: of two that stay one votes. */
static void who_is_to_go_votes_in_the_log_no_more(void)
{
    uint32_t voters = NODES;
    cluster_begin();
    const uint32_t gone = (leader() + 1) % NODES;
    const uint32_t id = nodes[gone].config.node;
    const struct coordinator_command command = {
        .type = COORDINATOR_NODE,
        .node = id,
        .change = {.kind = COORDINATOR_NODE_REMOVE, .id = id}};
    CU_ASSERT_TRUE(raft_node_ask(nodes[gone].raft, &command, ASK_MS) > 0);
    for (uint64_t until = clock_boottime_ns() + WAIT_NS; voters != 1 && clock_boottime_ns() < until;
         (void)poll(NULL, 0, 2)) {
        voters = 0;
        for (uint32_t i = 0; i < NODES; i++)
            voters += votes(i) ? 1 : 0;
    }
    CU_ASSERT_EQUAL(voters, 1);
    CU_ASSERT_FALSE(votes(gone));
    end();
}

static const struct unit_test tests[] = {
    UNIT_TEST(every_node_learns_what_one_asked_for),
    UNIT_TEST(what_was_decided_is_on_the_disks),
    UNIT_TEST(what_a_node_led_is_led_by_others_when_its_lease_is_over),
    UNIT_TEST(without_a_majority_nothing_is_decided),
    UNIT_TEST(nobody_speaks_for_another_node),
    UNIT_TEST(one_that_lost_its_directory_takes_no_part),
    UNIT_TEST(who_is_to_go_votes_in_the_log_no_more),
};
UNIT_MAIN("raft_node", tests)
