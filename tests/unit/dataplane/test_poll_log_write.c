/* Log writes between lcores that the test drives: written and announced, refused, misdirected, and memory that is not
 * let go of while somebody may write to it. */
#include "dataplane/replica_grant.h"
#include "tests/unit/dataplane/forward_nodes.h"
#include "tests/unit/unit.h"

#include <unistd.h>

static struct forward_nodes n;
static struct ring_agent a;
static struct ring_completion c;
static uint64_t session, sequence;

#define LEADER 0u
#define FOLLOWER 1u
#define OTHER 2u
#define ID(node) ((node) + 1)
#define SESSION "0123456789abcdef"
#define PASSES 100000u /* what has not come by then never comes */

static struct lcore_cluster *cluster(uint32_t node)
{
    return n.nodes[node].lcore->cluster;
}

static struct replica *replica(uint32_t node)
{
    return &lcore_replica_at(cluster(node), 0)->replica;
}

static uint32_t ask(uint8_t operation, const char *key, uint32_t value_length)
{
    static const uint8_t value[30000] = "value";
    struct ring_request q = ring_agent_request(&n.nodes[LEADER], &a, operation, key);
    q.value_length = value_length;
    if (operation == RING_PUT) {
        q.session = session;
        q.session_slot = c.session_slot;
        q.sequence = ++sequence;
    }
    CU_ASSERT_EQUAL_FATAL(ring_agent_send(&a, q, key, value), 0);
    forward_agent_ring(&n, &a);
    uint32_t slot = c.session_slot;
    CU_ASSERT_TRUE_FATAL(forward_agent_wait(&n, &a, &c, NULL));
    if (operation == RING_PUT)
        c.session_slot = slot;
    return c.status;
}

static void put(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        CU_ASSERT_EQUAL_FATAL(ask(RING_PUT, "k", 8 + i * 100 % 4000), RING_OK);
}

/* Until the log has grown by so many segments.  Returns how many values that took. */
static uint32_t put_segments(uint64_t segments)
{
    const struct shard *s = forward_shard(&n, LEADER);
    uint64_t end = s->log.lsn_end + (segments << s->geometry.segment_shift);
    uint32_t puts = 0;
    for (; s->log.lsn_end < end; puts += 10)
        put(10);
    return puts;
}

static void open_nodes(void)
{
    forward_nodes_open_writing(&n);
    forward_agent_attach(&n, LEADER, &a, 0);
    CU_ASSERT_EQUAL_FATAL(ask(RING_SESSION_OPEN, SESSION, 0), RING_OK);
    session = c.lsn;
    sequence = 0;
}

static uint32_t grants_out(uint32_t node, uint32_t to)
{
    const struct grants *g = &forward_shard(&n, node)->grants;
    uint32_t count = 0;
    for (uint32_t i = 0; i < LIMIT_GRANTS; i++)
        count += g->out[i].number != 0 && g->out[i].holder.node == ID(to);
    return count;
}

/* Everything that was said arrives, and what was written completes. */
static void settle(void)
{
    for (uint32_t i = 0; i < 200; i++)
        forward_nodes_pass(&n);
}

static bool all_equal(void)
{
    const struct log *l = &forward_shard(&n, LEADER)->log;
    bool equal = true;
    for (uint32_t i = 1; i < FORWARD_NODES; i++) {
        const struct log *of = &forward_shard(&n, i)->log;
        uint64_t there, here;
        uint64_t lsn = l->lsn_end - 64;
        const uint8_t *x = log_bytes_at(l, lsn, &there), *y = log_bytes_at(of, lsn, &here);
        equal &= of->lsn_end == l->lsn_end && x != NULL && y != NULL && memcmp(x, y, 64) == 0;
    }
    return equal;
}

static void nothing_is_under_way(uint32_t node)
{
    CU_ASSERT_EQUAL(cluster(node)->writes.count, 0);
    CU_ASSERT_EQUAL(cluster(node)->holds[RING_AGENT_SPACE].total, 0);
    for (uint32_t i = 0; i < LIMIT_GRANTS_HELD; i++)
        CU_ASSERT_EQUAL(replica(node)->held[i].writes, 0);
}

/* The transport lets others write to what is granted, and to nothing else. */
static void tokens_are_of_grants(uint32_t node)
{
    const struct forward_link *l = &n.links[node];
    const struct shard *s = forward_shard(&n, node);
    uint32_t count = 0;
    for (uint32_t i = 0; i < FORWARD_NODES; i++)
        count += grants_out(node, i);
    CU_ASSERT(l->granted_count == count && l->revoked_unknown == 0);
    for (uint32_t i = 0; i < l->granted_count; i++) {
        uint64_t offset = (uint64_t)(l->granted[i].memory - s->arena);
        uint32_t frame = (uint32_t)(offset >> s->geometry.segment_shift);
        CU_ASSERT_TRUE(grant_is_out_to(&s->grants, frame, l->granted[i].node));
    }
}

/* ---- on the way ---- */

static void ranges_are_written_and_announced(void)
{
    open_nodes();
    uint32_t puts = put_segments(3);
    settle();
    uint64_t written = forward_counted(&n, LEADER, COUNTER_LOG_WRITES);
    CU_ASSERT(written >= 2 * puts - 10); /* the first ones went before there were grants */
    CU_ASSERT_EQUAL(forward_counted(&n, LEADER, COUNTER_LOG_WRITES_REFUSED), 0);
    CU_ASSERT_EQUAL(replica(1)->counts[REPLICA_COUNT_ANNOUNCED] +
                        replica(2)->counts[REPLICA_COUNT_ANNOUNCED],
                    written);
    for (uint32_t i = 0; i < FORWARD_NODES; i++) {
        CU_ASSERT_EQUAL(replica(i)->counts[REPLICA_COUNT_UNWRITTEN], 0);
        CU_ASSERT_EQUAL(forward_counted(&n, i, COUNTER_LOG_WRITES_STRAY), 0);
        CU_ASSERT_EQUAL(forward_counted(&n, i, COUNTER_PEER_PROTOCOL), 0);
        nothing_is_under_way(i);
        tokens_are_of_grants(i);
        CU_ASSERT_EQUAL(n.links[i].revoked, replica(i)->counts[REPLICA_COUNT_RETURNED]);
    }
    CU_ASSERT(replica(FOLLOWER)->counts[REPLICA_COUNT_RETURNED] != 0);
    CU_ASSERT_TRUE(all_equal());
    forward_nodes_close(&n);
}

static void all_that_come_back_at_once_are_revoked(void)
{
    open_nodes();
    put(3);
    settle();
    uint32_t out = grants_out(FOLLOWER, LEADER), revoked = n.links[FOLLOWER].revoked;
    CU_ASSERT(out > 1);
    const struct message m = {.kind = MESSAGE_RETURN,
                              .from = {.node = ID(LEADER), .incarnation = FORWARD_START},
                              .lsn = forward_shard(&n, FOLLOWER)->grants.number,
                              .lsn_end = cluster(FOLLOWER)->group.self.incarnation};
    CU_ASSERT_EQUAL(replica_on_return(replica(FOLLOWER), &m), 0);
    CU_ASSERT_EQUAL(grants_out(FOLLOWER, LEADER), 0);
    CU_ASSERT_EQUAL(n.links[FOLLOWER].revoked, revoked + out);
    tokens_are_of_grants(FOLLOWER);
    forward_nodes_close(&n);
}

static void what_the_transport_refuses_goes_by_message(void)
{
    open_nodes();
    put(2);
    uint64_t written = forward_counted(&n, LEADER, COUNTER_LOG_WRITES);
    n.links[LEADER].refuses_writes = true;
    put(20);
    CU_ASSERT_EQUAL(ask(RING_PUT, "long", 30000), RING_OK);
    settle();
    CU_ASSERT_EQUAL(forward_counted(&n, LEADER, COUNTER_LOG_WRITES), written);
    CU_ASSERT(forward_counted(&n, LEADER, COUNTER_LOG_WRITES_REFUSED) >= 40);
    CU_ASSERT_EQUAL(replica(FOLLOWER)->counts[REPLICA_COUNT_UNWRITTEN], 0); /* nor announced */
    CU_ASSERT_EQUAL(replica(FOLLOWER)->counts[REPLICA_COUNT_NAKS], 0);
    nothing_is_under_way(LEADER);
    CU_ASSERT_TRUE(all_equal());
    n.links[LEADER].refuses_writes = false;
    put(2);
    CU_ASSERT(forward_counted(&n, LEADER, COUNTER_LOG_WRITES) > written);
    forward_nodes_close(&n);
}

static void a_full_table_goes_by_message(void)
{
    open_nodes();
    put(1);
    settle();
    struct log_writes *w = &cluster(LEADER)->writes;
    log_writes_init(w, w->entries, 1); /* for two peers */
    uint64_t written = forward_counted(&n, LEADER, COUNTER_LOG_WRITES);
    put(10);
    settle();
    CU_ASSERT_EQUAL(forward_counted(&n, LEADER, COUNTER_LOG_WRITES), written + 10);
    CU_ASSERT_EQUAL(forward_counted(&n, LEADER, COUNTER_LOG_WRITES_REFUSED), 10);
    nothing_is_under_way(LEADER);
    CU_ASSERT_TRUE(all_equal());
    forward_nodes_close(&n);
}

static void what_is_written_is_held_until_it_is_complete(void)
{
    open_nodes();
    put(2);
    settle();
    n.links[LEADER].keeps_holds = true;
    put(5);
    settle();
    CU_ASSERT_EQUAL(cluster(LEADER)->writes.count, 10);
    CU_ASSERT_EQUAL(cluster(LEADER)->holds[RING_AGENT_SPACE].total, 10);
    uint32_t frame = forward_shard(&n, LEADER)->log.tail.frame, writes = 0;
    CU_ASSERT_TRUE(poll_cluster_holds(n.nodes[LEADER].lcore, RING_AGENT_SPACE, frame));
    for (uint32_t i = 0; i < LIMIT_GRANTS_HELD; i++)
        writes += replica(LEADER)->held[i].writes;
    CU_ASSERT_EQUAL(writes, 10);
    n.links[LEADER].keeps_holds = false;
    settle();
    nothing_is_under_way(LEADER);
    forward_nodes_close(&n);
}

/* ---- tokens ---- */

static void a_grant_without_a_token_was_not_given(void)
{
    forward_nodes_open_writing(&n);
    n.links[FOLLOWER].has_no_token = true;
    forward_agent_attach(&n, LEADER, &a, 0);
    CU_ASSERT_EQUAL_FATAL(ask(RING_SESSION_OPEN, SESSION, 0), RING_OK);
    session = c.lsn;
    sequence = 0;
    put(200);
    forward_nodes_lead(&n, OTHER); /* it hears of no grant */
    CU_ASSERT_EQUAL(grants_out(FOLLOWER, OTHER), 0);
    forward_nodes_lead(&n, LEADER);
    put(20);
    CU_ASSERT_EQUAL(grants_out(FOLLOWER, LEADER), 0);
    CU_ASSERT_NOT_EQUAL(grants_out(OTHER, LEADER), 0);
    n.links[FOLLOWER].has_no_token = false;
    put(2);
    settle();
    CU_ASSERT_NOT_EQUAL(grants_out(FOLLOWER, LEADER), 0); /* as soon as there is one */
    CU_ASSERT_TRUE(all_equal());
    forward_nodes_close(&n);
}

/* What node LEADER says to write, at FOLLOWER; whether it is written. */
static bool lands(uint32_t from, struct grant_token token, uint32_t length)
{
    static alignas(8) uint8_t bytes[1u << LIMIT_SEGMENT_SHIFT_MAX];
    struct transport *t = cluster(FOLLOWER)->transport;
    uint64_t stray = forward_counted(&n, FOLLOWER, COUNTER_LOG_WRITES_STRAY);
    t->place(t->place_context, from, &token, bytes, length);
    return forward_counted(&n, FOLLOWER, COUNTER_LOG_WRITES_STRAY) == stray;
}

static struct grant_token at(struct grant_token token, int64_t offset)
{
    token.address += (uint64_t)offset;
    return token;
}

static void hostile_tokens_have_no_place(void)
{
    open_nodes();
    put(2);
    settle();
    const struct shard *s = forward_shard(&n, FOLLOWER);
    const struct grant *g = NULL;
    for (uint32_t i = 0; i < LIMIT_GRANTS; i++)
        if (s->grants.out[i].number != 0 && s->grants.out[i].lsn_start > s->log.lsn_end)
            g = &s->grants.out[i]; /* the next segment's: nothing is there yet */
    CU_ASSERT_PTR_NOT_NULL_FATAL(g);
    const uint32_t shift = s->geometry.segment_shift;
    const int64_t segment = INT64_C(1) << shift;
    const struct grant_token token = {
        .address = (uint64_t)RING_AGENT_SPACE << LIMIT_ARENA_SHIFT | (uint64_t)g->frame << shift,
        .key = group_connection_key(&cluster(FOLLOWER)->group, ID(LEADER)),
    };
    CU_ASSERT_TRUE(lands(ID(LEADER), token, 64));
    CU_ASSERT_TRUE(lands(ID(LEADER), at(token, segment - 64), 64));
    CU_ASSERT_TRUE(lands(ID(LEADER), token, (uint32_t)segment));
    CU_ASSERT_FALSE(lands(ID(OTHER), token, 64)); /* granted to another */
    CU_ASSERT_FALSE(lands(77, token, 64));        /* of nobody */
    struct grant_token bad = token;
    bad.key++;
    CU_ASSERT_FALSE(lands(ID(LEADER), bad, 64)); /* another connection's */
    CU_ASSERT_FALSE(lands(ID(LEADER), at(token, segment - 56), 64));
    CU_ASSERT_FALSE(lands(ID(LEADER), at(token, 8), (uint32_t)segment));
    CU_ASSERT_FALSE(lands(ID(LEADER), at(token, 4), 64));
    CU_ASSERT_FALSE(lands(ID(LEADER), token, 60));
    CU_ASSERT_FALSE(lands(ID(LEADER), token, 0));
    for (uint32_t frame = 0; frame < layout_frame_count(&s->geometry); frame++)
        if (!grant_is_out(&s->grants, frame))
            CU_ASSERT_FALSE(
                lands(ID(LEADER), at(token, ((int64_t)frame - g->frame) * segment), 64));
    bad = token;
    bad.address =
        (uint64_t)RING_AGENT_SPACE << LIMIT_ARENA_SHIFT | layout_arena_bytes(&s->geometry);
    CU_ASSERT_FALSE(lands(ID(LEADER), bad, 64));
    for (uint64_t space = 0; space < 300; space++) {
        bad.address = token.address + ((space - RING_AGENT_SPACE) << LIMIT_ARENA_SHIFT);
        CU_ASSERT_EQUAL(lands(ID(LEADER), bad, 64), space == RING_AGENT_SPACE);
    }
    bad.address = UINT64_MAX - 63;
    CU_ASSERT_FALSE(lands(ID(LEADER), bad, 64));
    put(2);
    settle();
    CU_ASSERT_TRUE(all_equal());
    forward_nodes_close(&n);
}

/* ---- what goes ---- */

static void disconnect_a_node_that_does_not_return_grants(void)
{
    open_nodes();
    put(3);
    settle();
    CU_ASSERT_NOT_EQUAL(grants_out(OTHER, LEADER), 0);
    struct configuration *d = &n.configuration;
    d->epoch_before = d->epoch++;
    d->voter_before_count = d->voter_count;
    memcpy(d->voters_before, d->voters, sizeof d->voters_before);
    d->active = false;
    d->leader = d->voters[FOLLOWER];
    atomic_fetch_add_explicit(&n.version, 1, memory_order_release);
    /* The one that led stands still. */
    uint32_t passes = 0;
    for (; passes < PASSES && (grants_out(OTHER, LEADER) != 0 || !d->active); passes++) {
        ring_node_passes(&n.nodes[FOLLOWER], 1);
        ring_node_passes(&n.nodes[OTHER], 1);
        (void)usleep(100);
    }
    CU_ASSERT_EQUAL(grants_out(OTHER, LEADER), 0);
    CU_ASSERT_TRUE(d->active);
    CU_ASSERT_EQUAL(replica(OTHER)->counts[REPLICA_COUNT_DISCONNECTS], 1);
    CU_ASSERT_EQUAL(forward_counted(&n, OTHER, COUNTER_DISCONNECTS), 1);
    forward_nodes_close(&n);
}

static struct node_space *drop_begin(uint32_t node, struct node_change *change)
{
    struct node_space *s = n.nodes[node].node.spaces[RING_AGENT_SPACE];
    *change = (struct node_change){.kind = NODE_SPACE_REMOVE, .space = s};
    node_change_post(&n.nodes[node].node, change);
    ring_node_passes(&n.nodes[node], 1);
    CU_ASSERT_TRUE(node_change_is_done(&n.nodes[node].node));
    CU_ASSERT_NOT_EQUAL(grants_out(node, LEADER), 0); /* still */
    return s;
}

static bool has_left(uint32_t node)
{
    return atomic_load_explicit(&n.nodes[node].lcore->leaving, memory_order_acquire) == 0;
}

static void pass_until_left(uint32_t node)
{
    for (uint32_t i = 0; i < PASSES && !has_left(node); i++) {
        forward_nodes_pass(&n);
        (void)usleep(100);
    }
    CU_ASSERT_TRUE(has_left(node));
    CU_ASSERT_EQUAL(grants_out(node, LEADER), 0);
    CU_ASSERT(n.links[node].granted_count == 0 && n.links[node].revoked_unknown == 0);
}

/* The leader has it still, and returns them. */
static void a_space_that_goes_waits_for_its_grants(void)
{
    struct node_change change;
    open_nodes();
    put(3);
    (void)drop_begin(FOLLOWER, &change);
    CU_ASSERT_FALSE(has_left(FOLLOWER));
    pass_until_left(FOLLOWER);
    CU_ASSERT_NOT_EQUAL(n.links[FOLLOWER].revoked, 0);
    CU_ASSERT_EQUAL(forward_counted(&n, FOLLOWER, COUNTER_DISCONNECTS), 0);
    CU_ASSERT_EQUAL(forward_counted(&n, FOLLOWER, COUNTER_PEER_PROTOCOL), 0);
    forward_nodes_close(&n);
}

/* The leader let go of it first: it says so for a shard that it does not have. */
static void a_space_that_goes_everywhere(void)
{
    struct node_change changes[FORWARD_NODES];
    open_nodes();
    put(3);
    changes[LEADER] = (struct node_change){.kind = NODE_SPACE_REMOVE,
                                           .space = n.nodes[LEADER].node.spaces[RING_AGENT_SPACE]};
    node_change_post(&n.nodes[LEADER].node, &changes[LEADER]);
    ring_node_passes(&n.nodes[LEADER], 1);
    (void)drop_begin(FOLLOWER, &changes[FOLLOWER]);
    (void)drop_begin(OTHER, &changes[OTHER]);
    for (uint32_t i = 0; i < FORWARD_NODES; i++)
        pass_until_left(i);
    for (uint32_t i = 0; i < FORWARD_NODES; i++)
        CU_ASSERT_EQUAL(forward_counted(&n, i, COUNTER_DISCONNECTS), 0);
    forward_nodes_close(&n);
}

/* Writes of the replica that went are under way: its grants are not returned before. */
static void a_leader_that_went_returns_when_its_writes_are_over(void)
{
    const struct member to = {.node = ID(FOLLOWER), .incarnation = FORWARD_START};
    struct node_change changes[2];
    open_nodes();
    put(3);
    settle();
    const struct log_write write = {.peer = to,
                                    .number = 1,
                                    .hold = hold_word(RING_AGENT_SPACE, 0),
                                    .log = RING_AGENT_SPACE << NODE_LOG_SPACE_SHIFT};
    uint64_t word = log_writes_add(&cluster(LEADER)->writes, &write);
    hold_add(&cluster(LEADER)->holds[RING_AGENT_SPACE], 0);
    (void)drop_begin(FOLLOWER, &changes[FOLLOWER]);
    changes[LEADER] = (struct node_change){.kind = NODE_SPACE_REMOVE,
                                           .space = n.nodes[LEADER].node.spaces[RING_AGENT_SPACE]};
    node_change_post(&n.nodes[LEADER].node, &changes[LEADER]);
    n.links[FOLLOWER].hides_torn = true;
    for (uint32_t i = 0; i < 100; i++)
        forward_nodes_pass(&n);
    CU_ASSERT_FALSE(has_left(FOLLOWER));
    CU_ASSERT_FALSE(has_left(LEADER)); /* its memory is read */
    poll_log_write_completed(cluster(LEADER), word);
    pass_until_left(LEADER);
    pass_until_left(FOLLOWER);
    forward_nodes_close(&n);
}

static void a_space_that_goes_disconnects_who_does_not_answer(void)
{
    struct node_change change;
    open_nodes();
    put(3);
    settle();
    (void)drop_begin(FOLLOWER, &change);
    n.links[LEADER].deaf = true;
    n.links[FOLLOWER].hides_torn = true;
    for (uint32_t i = 0; i < 1000; i++) {
        forward_nodes_pass(&n);
        (void)usleep(100);
    }
    CU_ASSERT_FALSE(has_left(FOLLOWER));
    n.links[FOLLOWER].hides_torn = false;
    pass_until_left(FOLLOWER);
    CU_ASSERT(forward_counted(&n, FOLLOWER, COUNTER_DISCONNECTS) != 0);
    n.links[LEADER].deaf = false;
    forward_nodes_close(&n);
}

static void a_node_goes_when_its_connection_is_torn_down(void)
{
    struct transport_peer *peers[LIMIT_LCORES] = {NULL};
    const struct node_change change = {
        .kind = NODE_PEER_REMOVE, .node = ID(LEADER), .peers = peers};
    open_nodes();
    put(3);
    settle();
    n.links[FOLLOWER].hides_torn = true;
    node_change_post(&n.nodes[FOLLOWER].node, &change);
    uint32_t before = grants_out(FOLLOWER, LEADER);
    uint64_t number = forward_shard(&n, FOLLOWER)->grants.number;
    CU_ASSERT_NOT_EQUAL(before, 0);
    (void)put_segments(2); /* it is a peer as ever, but is granted nothing more */
    settle();
    CU_ASSERT_FALSE(node_change_is_done(&n.nodes[FOLLOWER].node));
    CU_ASSERT_PTR_NOT_NULL(group_pair(&cluster(FOLLOWER)->group, ID(LEADER)));
    CU_ASSERT(grants_out(FOLLOWER, LEADER) <= before);
    CU_ASSERT(forward_shard(&n, FOLLOWER)->grants.number > number); /* they were withdrawn */
    const struct grants *g = &forward_shard(&n, FOLLOWER)->grants;
    for (uint32_t i = 0; i < LIMIT_GRANTS; i++)
        CU_ASSERT(g->out[i].number <= number);
    n.links[FOLLOWER].hides_torn = false;
    for (uint32_t i = 0; i < 10; i++)
        ring_node_passes(&n.nodes[FOLLOWER], 1);
    CU_ASSERT_TRUE(node_change_is_done(&n.nodes[FOLLOWER].node));
    CU_ASSERT_PTR_NULL(group_pair(&cluster(FOLLOWER)->group, ID(LEADER)));
    CU_ASSERT_EQUAL(grants_out(FOLLOWER, LEADER), 0);
    CU_ASSERT_EQUAL(cluster(FOLLOWER)->parting, TRANSPORT_NOBODY);
    forward_nodes_close(&n);
}

/* What it was told before it went leads nowhere when it is back. */
static void keys_differ_for_good(void)
{
    uint64_t keys[9];
    open_nodes();
    const struct group *g = &cluster(FOLLOWER)->group;
    for (uint32_t i = 0; i < 9; i++) {
        uint32_t node = i % 3 == 2 ? ID(OTHER) : ID(LEADER);
        keys[i] = group_connection_key(g, node);
        for (uint32_t k = 0; k < i; k++)
            CU_ASSERT_NOT_EQUAL(keys[i], keys[k]);
        if (i % 2 == 0) {
            group_disconnected(&cluster(FOLLOWER)->group, node);
            continue;
        }
        CU_ASSERT_PTR_NULL(poll_cluster_part(n.nodes[FOLLOWER].lcore, node));
        poll_cluster_meet(n.nodes[FOLLOWER].lcore, node, NULL);
    }
    forward_nodes_close(&n);
}

static const struct unit_test tests[] = {
    UNIT_TEST(ranges_are_written_and_announced),
    UNIT_TEST(all_that_come_back_at_once_are_revoked),
    UNIT_TEST(what_the_transport_refuses_goes_by_message),
    UNIT_TEST(a_full_table_goes_by_message),
    UNIT_TEST(what_is_written_is_held_until_it_is_complete),
    UNIT_TEST(a_grant_without_a_token_was_not_given),
    UNIT_TEST(hostile_tokens_have_no_place),
    UNIT_TEST(disconnect_a_node_that_does_not_return_grants),
    UNIT_TEST(a_space_that_goes_waits_for_its_grants),
    UNIT_TEST(a_space_that_goes_everywhere),
    UNIT_TEST(a_leader_that_went_returns_when_its_writes_are_over),
    UNIT_TEST(a_space_that_goes_disconnects_who_does_not_answer),
    UNIT_TEST(a_node_goes_when_its_connection_is_torn_down),
    UNIT_TEST(keys_differ_for_good),
};
UNIT_MAIN("poll_log_write", tests)
