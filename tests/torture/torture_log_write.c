/* Three nodes whose lcores run on threads of their own, over transport_mem with log writes and delays:
 * torture_log_write [SECONDS].  Values are written while leaders change, connections for log writes are torn down and
 * log writes refused at random, a node is removed and comes back, and a space is dropped and made again.
 *
 * What must hold: every write is answered, a read finds what was acknowledged last, no memory changes before its
 * transport let go of it, the logs of all nodes are equal at the end, and no replica stops.  Exit 0: no violation, and
 * everything that is counted happened. */
#include "dataplane/lcore_cluster.h"
#include "dataplane/node_change.h"
#include "dataplane/transport_mem.h"
#include "engine/rcu.h"
#include "tests/unit/dataplane/no_hand_over.h"
#include "tests/unit/dataplane/ring_agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NODES 3u
#define SHARDS 2u
#define SPACES 2u /* ids 1, which stays, and 2, which comes and goes */
#define START UINT64_C(1000)
#define EPOCHS 4096u
#define LOOKS 600000u /* of 100 microseconds: what has not happened by then never does */
#define KEYS 8u
#define VALUE_BYTES_MAX 6000u
#define DISCONNECT_SHARE 500u /* of the receives that brought something */
#define REFUSE_SHARE 16u      /* of log writes */
#define WITHHOLD_SHARE 8u     /* of tokens */

/* ---- links: what disturbs ---- */

struct link {
    struct transport transport; /* first: the ops get it */
    struct transport *inner;
    uint64_t random;
    uint64_t disconnects, refused, withheld; /* the lcore's; read when it has ended */
};

static struct link links[NODES];

static uint32_t below(uint64_t *random, uint32_t bound)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (uint32_t)(*random >> 33) % bound;
}

static struct link *link_of(struct transport *t)
{
    return (struct link *)(void *)t;
}

static uint32_t link_send(struct transport *t, const struct transport_datagram *datagrams,
                          uint32_t count)
{
    return transport_send(link_of(t)->inner, datagrams, count);
}

static void link_place(void *context, uint32_t from, const struct grant_token *token,
                       const uint8_t *bytes, uint32_t length)
{
    const struct link *l = context;
    l->transport.place(l->transport.place_context, from, token, bytes, length);
}

static uint32_t link_receive(struct transport *t, struct transport_received *received,
                             uint32_t count)
{
    struct link *l = link_of(t);
    uint32_t got = transport_receive(l->inner, received, count);
    if (got != 0 && below(&l->random, DISCONNECT_SHARE) == 0) {
        l->disconnects++;
        transport_disconnect(l->inner, received[0].from);
    }
    return got;
}

static void link_release(struct transport *t)
{
    transport_release(link_of(t)->inner);
}

static uint32_t link_complete(struct transport *t, uint64_t *holds, uint32_t count)
{
    return transport_complete(link_of(t)->inner, holds, count);
}

static int link_log_write(struct transport *t, const struct transport_log_write *write)
{
    struct link *l = link_of(t);
    bool refuses = below(&l->random, REFUSE_SHARE) == 0;
    l->refused += refuses;
    return refuses ? -EAGAIN : transport_log_write(l->inner, write);
}

static void link_disconnect(struct transport *t, uint32_t node)
{
    transport_disconnect(link_of(t)->inner, node);
}

static uint32_t link_disconnected(struct transport *t)
{
    return transport_disconnected(link_of(t)->inner);
}

static bool link_token(struct transport *t, uint32_t node, const uint8_t *memory, uint64_t bytes,
                       struct grant_token *token)
{
    struct link *l = link_of(t);
    bool withholds = below(&l->random, WITHHOLD_SHARE) == 0;
    (void)node, (void)memory, (void)bytes, (void)token;
    l->withheld += withholds;
    return !withholds;
}

static bool link_sleep(struct transport *t)
{
    return transport_sleep(link_of(t)->inner);
}

static void link_awake(struct transport *t)
{
    transport_awake(link_of(t)->inner);
}

static const struct transport_ops link_ops = {
    .send = link_send,
    .receive = link_receive,
    .release = link_release,
    .complete = link_complete,
    .log_write = link_log_write,
    .disconnect = link_disconnect,
    .disconnected = link_disconnected,
    .token = link_token,
    .sleep = link_sleep,
    .awake = link_awake,
};

/* ---- the coordinator ---- */

static struct configuration decided[EPOCHS];
static _Atomic uint32_t decided_count;
static _Atomic uint64_t version, active[SPACES + 1][SHARDS];
static _Atomic uint64_t first[SPACES + 1]; /* epoch that a space begins with; 0: it is not there */

static bool configuration_of(void *context, uint32_t log, uint64_t known_epoch,
                             struct configuration *copy)
{
    (void)context;
    uint32_t space = log >> NODE_LOG_SPACE_SHIFT;
    uint32_t count = atomic_load_explicit(&decided_count, memory_order_acquire);
    uint64_t begins = atomic_load_explicit(&first[space], memory_order_acquire);
    if (begins == 0 || count == 0 || decided[count - 1].epoch < begins ||
        decided[count - 1].epoch <= known_epoch)
        return false;
    *copy = decided[count - 1];
    if (copy->epoch == begins)
        copy->epoch_before = copy->voter_before_count = 0;
    copy->active =
        atomic_load_explicit(&active[space][log % SHARDS], memory_order_acquire) == copy->epoch;
    return true;
}

static enum cluster_activation activate(void *context, uint32_t log, uint64_t epoch)
{
    (void)context;
    uint32_t count = atomic_load_explicit(&decided_count, memory_order_acquire);
    if (decided[count - 1].epoch != epoch)
        return CLUSTER_REFUSED;
    atomic_store_explicit(&active[log >> NODE_LOG_SPACE_SHIFT][log % SHARDS], epoch,
                          memory_order_release);
    return CLUSTER_ACTIVE;
}

/* ---- the nodes ---- */

static struct ring_node nodes[NODES];
static struct node_cluster clusters[NODES];
static struct transport_mem_hub *hub;
static const struct sockaddr_storage addresses[LIMIT_LCORES];
static uint64_t random_state = 88172645463325252u;
static uint64_t lsn_start; /* of the space that comes and goes */

static struct space_config space_of(uint32_t id)
{
    struct space_config s;
    space_config_default(&s);
    s.id = id;
    (void)snprintf(s.name, sizeof s.name, "space%u", id);
    s.shard_count = SHARDS;
    s.quota_bytes = 2 * space_quota_min(SHARDS);
    s.sessions_max = 4;
    return s;
}

/* What control does all the while. */
static void control(void)
{
    for (uint32_t i = 0; i < NODES; i++)
        for (uint32_t id = 1; id <= SPACES; id++)
            if (nodes[i].node.spaces[id] != NULL)
                ASSERT(node_chunks_grow(&nodes[i].node, nodes[i].node.spaces[id]) >= 0);
    (void)usleep(100);
}

static void node_make(uint32_t i)
{
    struct node *n = &nodes[i].node;
    const struct space_config s = space_of(1);
    struct node_config c = {.id = i + 1,
                            .lcore_count = 1,
                            .lcore_cpus = {-1},
                            .lease_ns = 100 * NS_PER_MS,
                            .heartbeat_ns = 100 * NS_PER_MS,
                            .view_ns = 10 * NS_PER_MS,
                            .copy_rate = UINT64_C(1) << 26,
                            .replicated = true};
    (void)snprintf(c.name, sizeof c.name, "roost%u", i + 1);
    ASSERT(node_open(n, &c, START) == 0);
    ASSERT(node_space_add(n, &s) == 0);
    lsn_start = n->lsn_start;
    clusters[i] = (struct node_cluster){
        .self = {.node = i + 1, .incarnation = START},
        .node_count = NODES,
        .nodes = {1, 2, 3},
        .version = &version,
        .configuration = configuration_of,
        .activate = activate,
        .hands_over = hands_over,
        .handed_over = handed_over,
        .transports = {&links[i].transport},
    };
    links[i].inner = transport_mem_endpoint(hub, i + 1, 0);
    links[i].transport = *links[i].inner;
    links[i].transport.ops = &link_ops;
    links[i].random = 7919 * (i + 1);
    links[i].inner->place = link_place;
    links[i].inner->place_context = &links[i];
    n->cluster = &clusters[i];
}

static bool all_active(uint64_t epoch)
{
    bool all = true;
    for (uint32_t id = 1; id <= SPACES; id++)
        for (uint32_t k = 0; k < SHARDS; k++)
            all &= atomic_load_explicit(&first[id], memory_order_acquire) == 0 ||
                   atomic_load_explicit(&active[id][k], memory_order_acquire) == epoch;
    return all;
}

/* The first count nodes vote, one of them leads. */
static void decide(uint32_t count)
{
    /* relaxed: this thread alone writes it */
    uint32_t at = atomic_load_explicit(&decided_count, memory_order_relaxed);
    struct configuration *c = &decided[at];
    ASSERT(at < EPOCHS);
    *c = (struct configuration){.epoch = START + at, .voter_count = count};
    for (uint32_t i = 0; i < count; i++)
        c->voters[i] = clusters[i].self;
    c->leader = c->voters[below(&random_state, count)];
    if (at != 0) {
        c->epoch_before = decided[at - 1].epoch;
        c->voter_before_count = decided[at - 1].voter_count;
        memcpy(c->voters_before, decided[at - 1].voters, sizeof c->voters);
    }
    ASSERT(configuration_is_valid(c));
    atomic_store_explicit(&decided_count, at + 1, memory_order_release);
    atomic_fetch_add_explicit(&version, 1, memory_order_release);
    for (uint32_t i = 0; i < LOOKS && !all_active(c->epoch); i++)
        control();
    ASSERT(all_active(c->epoch));
}

/* ---- the agent ---- */

static struct ring_agent agents[NODES];
static struct writer {
    uint64_t session, sequence;
    uint32_t slot;
} writers[SPACES + 1][SHARDS];
static uint64_t written[SPACES + 1][KEYS]; /* what was acknowledged last */
static uint64_t writes, reads, retries, drops, removals, violations;

static void violation(const char *what)
{
    if (violations++ < 5)
        (void)fprintf(stderr, "torture_log_write: %s\n", what);
}

static struct ring_completion answer(struct ring_agent *a, uint64_t tag, void *value)
{
    struct ring_completion c = {.status = RING_RETRY};
    uint32_t looks = 0;
    while (looks < LOOKS && !(ring_agent_take(a, &c, value) && c.tag == tag)) {
        control();
        looks++;
    }
    ASSERT(looks < LOOKS); /* every operation is answered */
    return c;
}

/* At whichever node, until it is not to be asked again. */
static struct ring_completion ask(struct ring_request q, const char *key, void *value)
{
    struct ring_completion c;
    do {
        uint32_t node = below(&random_state, NODES);
        struct ring_agent *a = &agents[node];
        const uint64_t one = 1;
        q.tag = ++a->tag;
        while (ring_agent_send(a, q, key, value) != 0)
            control();
        ring_agent_doorbell(&nodes[node], a);
        /* Why ignored: one that cannot be written rings already. */
        (void)!write(a->agent->event_fds[0], &one, sizeof one);
        c = answer(a, q.tag, q.head.operation == RING_GET ? value : NULL);
        retries += c.status == RING_RETRY;
    } while (c.status == RING_RETRY);
    return c;
}

static struct ring_request request_of(uint32_t space, uint8_t operation, const char *key)
{
    struct ring_request q = ring_agent_request(&nodes[0], &agents[0], operation, key);
    q.space = (uint16_t)space; /* of as many shards */
    return q;
}

static void sessions_open(uint32_t space)
{
    static const char id[] = "a log write test";
    for (uint32_t k = 0; k < SHARDS; k++) {
        struct ring_request q = request_of(space, RING_SESSION_OPEN, id);
        q.shard = k;
        struct ring_completion c = ask(q, id, NULL);
        ASSERT(c.status == RING_OK);
        writers[space][k] = (struct writer){.session = c.lsn, .slot = c.session_slot};
    }
    memset(written[space], 0, sizeof written[space]);
}

static void put(uint32_t space)
{
    static uint64_t value[VALUE_BYTES_MAX / 8];
    char key[8];
    uint32_t number = below(&random_state, KEYS);
    (void)snprintf(key, sizeof key, "k%u", number);
    struct ring_request q = request_of(space, RING_PUT, key);
    struct writer *w = &writers[space][q.shard];
    q.session = w->session;
    q.session_slot = w->slot;
    q.sequence = ++w->sequence;
    uint32_t words =
        1 + below(&random_state, below(&random_state, 4) == 0 ? VALUE_BYTES_MAX / 8 : 16);
    q.value_length = 8 * words;
    writes++;
    for (uint32_t i = 0; i < words; i++)
        value[i] = writes + i;
    struct ring_completion c = ask(q, key, value);
    if (c.status != RING_OK)
        violation("a write was refused");
    written[space][number] = writes;
}

static void get(uint32_t space)
{
    static uint64_t value[VALUE_BYTES_MAX / 8 + 64];
    char key[8];
    uint32_t number = below(&random_state, KEYS);
    (void)snprintf(key, sizeof key, "k%u", number);
    struct ring_request q = request_of(space, RING_GET, key);
    q.value_length = VALUE_BYTES_MAX;
    value[0] = 0;
    struct ring_completion c = ask(q, key, value);
    reads++;
    if (c.status != (written[space][number] != 0 ? RING_OK : RING_NOT_FOUND) ||
        value[0] != written[space][number])
        violation("a read found something else than was written last");
}

/* ---- what happens ---- */

static void space_make(uint32_t id)
{
    const struct space_config s = space_of(id);
    lsn_start += UINT64_C(1) << 30;
    for (uint32_t k = 0; k < SHARDS; k++)
        atomic_store_explicit(&active[id][k], 0, memory_order_release);
    for (uint32_t i = 0; i < NODES; i++)
        ASSERT(node_space_add_online(&nodes[i].node, &s, lsn_start, 0) == 0);
    atomic_store_explicit(&first[id],
                          START + atomic_load_explicit(&decided_count, memory_order_relaxed),
                          memory_order_release);
    decide(NODES);
    sessions_open(id);
}

static void space_drop(uint32_t id)
{
    uint32_t begin = below(&random_state, NODES);
    atomic_store_explicit(&first[id], 0, memory_order_release);
    for (uint32_t i = 0; i < NODES; i++) {
        struct node *n = &nodes[(begin + i) % NODES].node;
        node_space_drop(n, n->spaces[id], 0);
    }
    drops++;
}

/* Why the last one's pairs go, too: who was removed begins anew when it comes back. */
static void node_leave_and_come(void)
{
    struct node *last = &nodes[NODES - 1].node;
    decide(NODES - 1);
    for (uint32_t i = 0; i < NODES - 1; i++) {
        node_peer_remove(&nodes[i].node, NODES);
        node_peer_remove(last, i + 1);
    }
    for (uint32_t i = 0; i < 20; i++)
        control();
    for (uint32_t i = 0; i < NODES - 1; i++) {
        const struct node_peer come = {.node = NODES, .addresses = addresses};
        const struct node_peer other = {.node = i + 1, .addresses = addresses};
        ASSERT(node_peer_add(&nodes[i].node, &come) == 0);
        ASSERT(node_peer_add(last, &other) == 0);
    }
    decide(NODES);
    removals++;
}

static void happen(void)
{
    uint32_t dice = below(&random_state, 400);
    if (dice < 3)
        decide(NODES);
    else if (dice == 3)
        node_leave_and_come();
    else if (dice == 4 && atomic_load_explicit(&first[2], memory_order_relaxed) != 0)
        space_drop(2);
    else if (dice == 4)
        space_make(2);
}

static void work(double seconds)
{
    uint64_t end = clock_boottime_ns() + (uint64_t)(seconds * 1e9);
    while (clock_boottime_ns() < end || drops == 0 || removals == 0) {
        uint32_t space = atomic_load_explicit(&first[2], memory_order_relaxed) != 0
                             ? 1 + below(&random_state, 2)
                             : 1;
        happen();
        if (space == 2 && atomic_load_explicit(&first[2], memory_order_relaxed) == 0)
            continue;
        (below(&random_state, 4) == 0 ? get : put)(space);
    }
}

/* ---- the end ---- */

static bool all_committed(void)
{
    bool all = true;
    for (uint32_t i = 1; i < NODES; i++)
        for (uint32_t k = 0; k < SHARDS; k++)
            all &= atomic_load_explicit(&nodes[i].node.spaces[1]->boards[k].lsn_committed,
                                        memory_order_acquire) ==
                   atomic_load_explicit(&nodes[0].node.spaces[1]->boards[k].lsn_committed,
                                        memory_order_acquire);
    return all;
}

/* Bytes that two logs have both, from their common end back.  Returns how many. */
static uint64_t logs_compare(const struct log *x, const struct log *y)
{
    uint64_t compared = 0, segment = UINT64_C(1) << x->segment_shift;
    if (x->lsn_end != y->lsn_end)
        violation("logs end at different places");
    for (uint64_t lsn = (x->lsn_end - 1) & ~(segment - 1); lsn >= START; lsn -= segment) {
        uint64_t there, here;
        const uint8_t *a = log_bytes_at(x, lsn, &there), *b = log_bytes_at(y, lsn, &here);
        if (a == NULL || b == NULL || x->lsn_end != y->lsn_end)
            break;
        if (there != here || memcmp(a, b, there) != 0)
            violation("logs differ");
        compared += there;
    }
    return compared;
}

static uint64_t counted(enum replica_count which)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < NODES; i++)
        for (uint32_t k = 0; k < SHARDS; k++)
            sum += nodes[i].node.spaces[1]->parts[0]->replicas[k].replica.counts[which];
    return sum;
}

static uint64_t counter_of(enum counter which)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < NODES; i++)
        sum += atomic_load_explicit(&nodes[i].node.shared->counters[0].value[which],
                                    memory_order_relaxed);
    return sum;
}

static int report(void)
{
    uint64_t compared = 0, refused = 0, withheld = 0, disconnects = 0;
    for (uint32_t i = 1; i < NODES; i++)
        for (uint32_t k = 0; k < SHARDS; k++)
            compared += logs_compare(&nodes[0].node.spaces[1]->shards[k]->log,
                                     &nodes[i].node.spaces[1]->shards[k]->log);
    for (uint32_t i = 0; i < NODES; i++) {
        refused += links[i].refused;
        withheld += links[i].withheld;
        disconnects += links[i].disconnects;
    }
    if (transport_mem_damaged(hub) != 0)
        violation("memory changed before the transport let go of it");
    if (counter_of(COUNTER_STOPPED) != 0)
        violation("a replica stopped");
    (void)printf("writes %lu reads %lu retries %lu epochs %u drops %lu removals %lu log writes %lu "
                 "refused %lu announced %lu unwritten %lu stray %lu returned %lu disconnects %lu "
                 "by links %lu tokens withheld %lu bytes compared %lu violations %lu\n",
                 writes, reads, retries, atomic_load_explicit(&decided_count, memory_order_relaxed),
                 drops, removals, counter_of(COUNTER_LOG_WRITES),
                 counter_of(COUNTER_LOG_WRITES_REFUSED), counted(REPLICA_COUNT_ANNOUNCED),
                 counted(REPLICA_COUNT_UNWRITTEN), counter_of(COUNTER_LOG_WRITES_STRAY),
                 counted(REPLICA_COUNT_RETURNED), counter_of(COUNTER_DISCONNECTS), disconnects,
                 withheld, compared, violations);
    bool met = counted(REPLICA_COUNT_ANNOUNCED) != 0 && counted(REPLICA_COUNT_RETURNED) != 0 &&
               refused != 0 && withheld != 0 && disconnects != 0 && compared != 0;
    if (!met)
        (void)fprintf(stderr, "torture_log_write: something never happened\n");
    return violations == 0 && met ? 0 : 1;
}

static void open_all(void)
{
    static const uint32_t ids[NODES] = {1, 2, 3};
    static const struct ring_file wanted = {
        .request_bytes = 1u << 16, .completion_bytes = 1u << 16, .bulk_bytes = 1u << 16};
    const struct transport_mem_config config = {
        .nodes = ids, .node_count = NODES, .lcore_count = 1, .log_writes = true};
    qsbr_thread_register();
    qsbr_offline();
    ASSERT(transport_mem_open(&hub, &config) == 0);
    transport_mem_delay(hub, 1);
    for (uint32_t i = 0; i < NODES; i++)
        node_make(i);
    atomic_store_explicit(&first[1], START, memory_order_release);
    for (uint32_t i = 0; i < NODES; i++) {
        struct agent *agent;
        ASSERT(node_lcores_start(&nodes[i].node) == 0);
        ASSERT(node_agent_attach(&nodes[i].node, 0, 0, &wanted, &agent) == 0);
        ring_agent_join(&agents[i], agent, 0);
    }
    decide(NODES);
    sessions_open(1);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 5;
    open_all();
    space_make(2);
    work(seconds);
    for (uint32_t i = 0; i < LOOKS && !all_committed(); i++)
        control();
    ASSERT(all_committed());
    for (uint32_t i = 0; i < NODES; i++)
        node_agent_detach(&nodes[i].node, agents[i].agent);
    for (uint32_t i = 0; i < NODES; i++)
        node_lcores_stop(&nodes[i].node);
    int status = report();
    for (uint32_t i = 0; i < NODES; i++)
        node_close(&nodes[i].node);
    transport_mem_close(hub);
    qsbr_thread_unregister();
    return status;
}
