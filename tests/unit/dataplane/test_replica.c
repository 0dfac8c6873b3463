/* Golden traces of the replication core: three replicas, a network that keeps order, and what they
 * say to each other, as it would stand in a paper.  LSNs are told from the log's start. */
#include "dataplane/replica.h"
#include "tests/unit/engine/fixture.h"
#include "tests/unit/unit.h"

#include <stdarg.h>
#include <stdlib.h>

#define NODES 3u
#define QUEUE 256u
#define TRACE_BYTES 8192u
#define LEASE 1000u

static const struct replica_times times = {.lease = LEASE, .heartbeat = 100, .retry = 40};

static const struct fixture_config small = {
    .quota_bytes = UINT64_C(2) << 20,
    .shard_count = 1,
    .sessions_max = 4,
    .follower = true,
};

struct letter {
    uint32_t from, to;
    struct message message;
    uint8_t *bytes;
};

struct cluster {
    struct fixture shards[NODES];
    struct replica replicas[NODES];
    struct configuration configuration;
    struct letter queue[QUEUE];
    uint32_t head, tail;
    uint64_t now;
    uint64_t start;    /* LSN */
    uint64_t activate; /* asked for */
    bool cut_off[NODES];
    bool quiet; /* trace nothing */
    char trace[TRACE_BYTES];
    size_t trace_bytes;
};

static void say(struct cluster *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct cluster *c, const char *format, ...)
{
    va_list arguments;
    if (c->quiet)
        return;
    va_start(arguments, format);
    int length =
        vsnprintf(c->trace + c->trace_bytes, TRACE_BYTES - c->trace_bytes, format, arguments);
    va_end(arguments);
    c->trace_bytes += (size_t)length;
    CU_ASSERT_FATAL(c->trace_bytes < TRACE_BYTES);
}

static unsigned long long from_start(const struct cluster *c, uint64_t lsn)
{
    return lsn >= c->start ? lsn - c->start : 0;
}

static void trace_message(struct cluster *c, uint32_t from, uint32_t to, const struct message *m)
{
    static const char *const names[MESSAGE_KIND_COUNT] = {
        "", "SEAL", "SEALED", "FETCH", "JOIN", "CUT", "APPEND", "ACK", "NAK", "GRANT", "WANT"};
    say(c, "%u>%u %s e%llu", from, to, names[m->kind], (unsigned long long)m->epoch);
    switch (m->kind) {
    case MESSAGE_SEALED:
    case MESSAGE_JOIN:
        say(c, " end=%llu commit=%llu table=", from_start(c, m->lsn_end),
            from_start(c, m->lsn_committed));
        for (uint32_t i = 0; i < m->table_count; i++)
            say(c, "(e%llu,%llu)", (unsigned long long)m->table[i].epoch,
                from_start(c, m->table[i].lsn_start));
        break;
    case MESSAGE_APPEND:
        if (m->length != 0)
            say(c, " [%llu,%llu)", from_start(c, m->lsn), from_start(c, m->lsn + m->length));
        say(c, " commit=%llu%s", from_start(c, m->lsn_committed), m->ask != 0 ? " ask" : "");
        break;
    case MESSAGE_NAK:
        say(c, " [%llu,%llu)", from_start(c, m->lsn), from_start(c, m->lsn_end));
        break;
    case MESSAGE_SEAL:
        break;
    default:
        say(c, " %llu%s", from_start(c, m->lsn), m->ask != 0 ? " echo" : "");
    }
    say(c, "\n");
}

/* Everything that a step wants done. */
static void post(struct cluster *c, uint32_t from, struct replica_update *u)
{
    for (uint32_t i = 0; i < u->out_count; i++) {
        const struct message *m = &u->out[i].message;
        uint32_t to = u->out[i].to;
        if (c->cut_off[from] || c->cut_off[to])
            continue;
        struct letter *l = &c->queue[c->tail++ % QUEUE];
        CU_ASSERT_FATAL(c->tail - c->head < QUEUE);
        *l = (struct letter){.from = from, .to = to, .message = *m};
        if (m->length != 0 && m->bytes != NULL) {
            l->bytes = malloc(m->length);
            CU_ASSERT_PTR_NOT_NULL_FATAL(l->bytes);
            memcpy(l->bytes, m->bytes, m->length);
            l->message.bytes = l->bytes;
        }
    }
    if (u->activate != 0 && u->activate != c->activate) {
        c->activate = u->activate;
        say(c, "%u activate? e%llu\n", from, (unsigned long long)u->activate);
    }
}

static void deliver(struct cluster *c)
{
    while (c->head != c->tail) {
        struct letter l = c->queue[c->head++ % QUEUE];
        static struct replica_update u;
        replica_update_reset(&u);
        trace_message(c, l.from, l.to, &l.message);
        (void)!replica_receive(&c->replicas[l.to], &l.message, c->now, &u);
        free(l.bytes);
        post(c, l.to, &u);
        fixture_answers(&c->shards[l.to]);
    }
}

static void tick(struct cluster *c, uint32_t node)
{
    static struct replica_update u;
    replica_update_reset(&u);
    replica_tick(&c->replicas[node], c->now, &u);
    post(c, node, &u);
    deliver(c);
}

static void tick_all(struct cluster *c, uint64_t ticks)
{
    c->now += ticks;
    for (uint32_t i = 0; i < NODES; i++)
        if (!c->cut_off[i])
            tick(c, i);
}

static void cluster_open(struct cluster *c)
{
    memset(c, 0, sizeof *c);
    c->now = 10000;
    for (uint32_t i = 0; i < NODES; i++) {
        fixture_open(&c->shards[i], &small);
        struct member self = {.node = i, .incarnation = i + 1};
        replica_init(&c->replicas[i], c->shards[i].shard, &self, &times);
        c->replicas[i].reclaim = &c->shards[i].now;
        c->shards[i].shard->lsn_kept = 0;
    }
    c->start = c->shards[0].shard->log.lsn_end;
}

static void cluster_close(struct cluster *c)
{
    for (uint32_t i = 0; i < NODES; i++)
        fixture_close(&c->shards[i]);
}

/* The control plane: a pending configuration of all three, led by leader, told to it alone. */
static void configure(struct cluster *c, uint64_t epoch, uint32_t leader, bool active)
{
    struct configuration before = c->configuration;
    struct configuration *n = &c->configuration;
    if (!active) {
        *n = (struct configuration){
            .epoch = epoch, .epoch_before = before.epoch, .voter_count = NODES};
        n->voter_before_count = before.voter_count;
        memcpy(n->voters_before, before.voters, sizeof n->voters_before);
        for (uint32_t i = 0; i < NODES; i++)
            n->voters[i] = c->replicas[i].self;
        n->leader = n->voters[leader];
        CU_ASSERT(configuration_is_valid(n));
    }
    n->active = active;
    say(c, "%s e%llu led by %u\n", active ? "active" : "pending", (unsigned long long)epoch,
        leader);
    static struct replica_update u;
    replica_update_reset(&u);
    replica_configure(&c->replicas[leader], n, c->now, &u);
    post(c, leader, &u);
    deliver(c);
}

static void put(struct cluster *c, uint32_t node, uint64_t key)
{
    say(c, "put at %u\n", node);
    CU_ASSERT_EQUAL(fixture_put(&c->shards[node], &key, sizeof key, &key, sizeof key), 0);
    tick(c, node);
}

static void expect(struct cluster *c, const char *golden)
{
    if (strcmp(c->trace, golden) != 0)
        printf("\n--- got\n%s--- expected\n%s---\n", c->trace, golden);
    CU_ASSERT_STRING_EQUAL(c->trace, golden);
    c->trace_bytes = 0;
    c->trace[0] = 0;
}

static uint64_t committed(const struct cluster *c, uint32_t node)
{
    return from_start(c, c->shards[node].shard->lsn_committed);
}

/* ---- the traces ---- */

static void first_epoch_opens_and_commits_a_write(void)
{
    static struct cluster c;
    cluster_open(&c);
    configure(&c, 1, 0, false);
    expect(&c, "pending e1 led by 0\n"
               "0>1 APPEND e1 commit=0\n"
               "0>2 APPEND e1 commit=0\n"
               "1>0 JOIN e1 end=0 commit=0 table=\n"
               "2>0 JOIN e1 end=0 commit=0 table=\n"
               "0>1 CUT e1 0\n"
               "0>2 CUT e1 0\n"
               "1>0 ACK e1 0\n"
               "2>0 ACK e1 0\n"
               "0>1 APPEND e1 [0,96) commit=0\n"
               "0>2 APPEND e1 [0,96) commit=0\n"
               "1>0 ACK e1 96\n"
               "0 activate? e1\n"
               "2>0 ACK e1 96\n");
    CU_ASSERT_EQUAL(committed(&c, 0), 0); /* before e1 is active nothing commits in it */
    configure(&c, 1, 0, true);
    put(&c, 0, 7);
    expect(&c, "active e1 led by 0\n"
               "put at 0\n"
               "0>1 APPEND e1 [96,208) commit=96 ask\n"
               "0>2 APPEND e1 [96,208) commit=96 ask\n"
               "1>0 ACK e1 208 echo\n"
               "2>0 ACK e1 208 echo\n");
    CU_ASSERT_EQUAL(committed(&c, 0), 208);
    cluster_close(&c);
}

/* An active first epoch led by 0, untraced, with one committed write everywhere. */
static void cluster_lead(struct cluster *c)
{
    cluster_open(c);
    c->quiet = true;
    configure(c, 1, 0, false);
    configure(c, 1, 0, true);
    put(c, 0, 7);
    tick_all(c, 100); /* the commit LSN travels with the next frame */
    CU_ASSERT_EQUAL(committed(c, 1), 208);
    CU_ASSERT_EQUAL(committed(c, 2), 208);
    c->quiet = false;
}

static void a_tail_that_one_voter_holds_survives_its_leader(void)
{
    static struct cluster c;
    cluster_lead(&c);
    c.cut_off[2] = true;
    put(&c, 0, 8); /* committed by 0 and 1 */
    c.cut_off[0] = true;
    c.cut_off[2] = false;
    expect(&c, "put at 0\n"
               "0>1 APPEND e1 [208,336) commit=208 ask\n"
               "1>0 ACK e1 336 echo\n");
    c.now += 2 * LEASE; /* every promise has run out */
    configure(&c, 2, 2, false);
    expect(&c, "pending e2 led by 2\n"
               "2>1 SEAL e2\n"
               "1>2 SEALED e2 end=336 commit=208 table=(e1,0)\n"
               "2>1 FETCH e2 208\n"
               "1>2 APPEND e2 [208,336) commit=0\n"
               "2>1 APPEND e2 commit=208\n"
               "1>2 JOIN e2 end=336 commit=208 table=(e1,0)\n"
               "2>1 CUT e2 336\n"
               "1>2 ACK e2 336\n"
               "2>1 APPEND e2 [336,480) commit=208\n"
               "1>2 ACK e2 480\n"
               "2 activate? e2\n");
    configure(&c, 2, 2, true);
    CU_ASSERT_EQUAL(committed(&c, 2), 480);
    expect(&c, "active e2 led by 2\n");
    cluster_close(&c);
}

static void a_deposed_leader_cuts_what_was_never_committed(void)
{
    static struct cluster c;
    cluster_lead(&c);
    c.cut_off[0] = true;
    put(&c, 0, 9); /* nobody hears it */
    c.now += 2 * LEASE;
    configure(&c, 2, 1, false);
    configure(&c, 2, 1, true);
    c.trace_bytes = 0;
    c.cut_off[0] = false;
    tick_all(&c, 200);
    expect(&c, "0>1 APPEND e1 [208,336) commit=208 ask\n"
               "0>2 APPEND e1 [208,336) commit=208 ask\n"
               "1>0 APPEND e2 commit=352 ask\n"
               "1>2 APPEND e2 commit=352 ask\n"
               "0>1 JOIN e2 end=336 commit=208 table=(e1,0)\n"
               "2>1 ACK e2 352 echo\n"
               "1>0 CUT e2 208\n"
               "0>1 ACK e2 208\n"
               "1>0 APPEND e2 [208,352) commit=352 ask\n"
               "0>1 ACK e2 352 echo\n");
    CU_ASSERT_EQUAL(c.shards[0].shard->log.lsn_end, c.shards[1].shard->log.lsn_end);
    CU_ASSERT_EQUAL(committed(&c, 0), committed(&c, 1));
    CU_ASSERT_EQUAL(c.replicas[0].counts[REPLICA_COUNT_CUTS], 1);
    cluster_close(&c);
}

static void lost_bytes_are_asked_for(void)
{
    static struct cluster c;
    cluster_lead(&c);
    c.cut_off[2] = true;
    put(&c, 0, 10);
    c.cut_off[2] = false;
    c.trace_bytes = 0;
    put(&c, 0, 11);
    expect(&c, "put at 0\n"
               "0>1 APPEND e1 [336,464) commit=336 ask\n"
               "0>2 APPEND e1 [336,464) commit=336 ask\n"
               "1>0 ACK e1 464 echo\n"
               "2>0 ACK e1 208 echo\n"
               "2>0 NAK e1 [208,336)\n"
               "0>2 APPEND e1 [208,464) commit=464 ask\n"
               "2>0 ACK e1 464 echo\n");
    CU_ASSERT_EQUAL(c.shards[2].shard->log.lsn_end, c.shards[0].shard->log.lsn_end);
    cluster_close(&c);
}

static void a_voter_answers_a_seal_when_its_promise_has_run_out(void)
{
    static struct cluster c;
    cluster_lead(&c);
    c.cut_off[0] = true;
    c.now += LEASE / 2; /* 1 and 2 answered the leader's ask a moment ago */
    configure(&c, 2, 1, false);
    expect(&c, "pending e2 led by 1\n"
               "1>2 SEAL e2\n");
    CU_ASSERT_EQUAL(c.replicas[1].role, REPLICA_SEALING);
    CU_ASSERT(replica_may_answer(&c.replicas[0], c.now)); /* the old leader may still read */
    c.now += LEASE;
    CU_ASSERT_FALSE(replica_may_answer(&c.replicas[0], c.now));
    tick(&c, 2);
    tick(&c, 1);
    expect(&c, "2>1 SEALED e2 end=208 commit=208 table=(e1,0)\n"
               "1>2 APPEND e2 commit=208\n"
               "2>1 JOIN e2 end=208 commit=208 table=(e1,0)\n"
               "1>2 CUT e2 208\n"
               "2>1 ACK e2 208\n"
               "1>2 APPEND e2 [208,352) commit=208\n"
               "2>1 ACK e2 352\n"
               "1 activate? e2\n");
    cluster_close(&c);
}

static void a_message_of_an_older_epoch_is_stale(void)
{
    static struct cluster c;
    static struct replica_update u;
    cluster_lead(&c);
    struct message m = {.kind = MESSAGE_APPEND, .log = 7, .epoch = 0, .from = c.replicas[0].self};
    CU_ASSERT_EQUAL(replica_receive(&c.replicas[1], &m, c.now, &u), -ESTALE);
    m.epoch = 1;
    m.from = c.replicas[2].self; /* S1: not the leader of that epoch */
    CU_ASSERT_EQUAL(replica_receive(&c.replicas[1], &m, c.now, &u), -EPROTO);
    m.from = c.replicas[0].self;
    m.log = 8;
    CU_ASSERT_EQUAL(replica_receive(&c.replicas[1], &m, c.now, &u), -EPROTO);
    struct message ack = {.kind = MESSAGE_ACK, .log = 7, .epoch = 1, .from = c.replicas[1].self};
    ack.from.incarnation = 99; /* S13 */
    CU_ASSERT_EQUAL(replica_receive(&c.replicas[0], &ack, c.now, &u), -EPROTO);
    cluster_close(&c);
}

static const struct unit_test tests[] = {
    UNIT_TEST(first_epoch_opens_and_commits_a_write),
    UNIT_TEST(a_tail_that_one_voter_holds_survives_its_leader),
    UNIT_TEST(a_deposed_leader_cuts_what_was_never_committed),
    UNIT_TEST(lost_bytes_are_asked_for),
    UNIT_TEST(a_voter_answers_a_seal_when_its_promise_has_run_out),
    UNIT_TEST(a_message_of_an_older_epoch_is_stale),
};
UNIT_MAIN("replica", tests)
