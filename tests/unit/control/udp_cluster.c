#include "tests/unit/control/udp_cluster.h"

#include "dataplane/cluster.h"
#include "engine/shard.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define START UINT64_C(1795249235478)
#define KEYS 97u

enum command { COMMAND_RUN, COMMAND_HOLD, COMMAND_RENEW };

/* Between a lcore and its endpoint. */
struct link {
    struct transport transport; /* first: the ops get it */
    struct transport *inner;
    struct transport_framed_config config;
    uint32_t node, lcore; /* indices */
    _Atomic uint32_t command;
    _Atomic bool stands;
};

struct ring_node nodes[UDP_NODES];
struct coordinator_script *coordinator;
static struct link links[UDP_NODES][LIMIT_LCORES];
static uint16_t ports[UDP_NODES][LIMIT_LCORES];
static _Atomic uint32_t cut_off;
static struct udp_cluster_options as_opened;
static bool running[UDP_NODES];
static const struct transport_framed_secret secret = {.key_id = 3, .bytes = {5, 6, 7}};

static struct sockaddr_storage loopback(uint16_t port)
{
    struct sockaddr_storage address = {.ss_family = AF_INET};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(&address, &v4, sizeof v4);
    return address;
}

/* ---- links ---- */

static struct link *link_of(struct transport *t)
{
    return (struct link *)(void *)t;
}

static void introduce(struct link *l)
{
    for (uint32_t i = 0; i < UDP_NODES; i++) {
        struct sockaddr_storage address = loopback(ports[i][l->lcore]);
        if (i != l->node)
            ASSERT(transport_framed_add(l->inner, i + 1, &address) == 0);
    }
}

/* By the lcore: nothing is received or to complete, as in transport_receive of the poll loop. */
static void renew(struct link *l)
{
    transport_udp_close(l->inner);
    l->config.start++;
    l->config.address = loopback(ports[l->node][l->lcore]);
    l->config.secrets = &secret;
    ASSERT(transport_udp_open(&l->inner, &l->config, NULL) == 0);
    introduce(l);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = LIMIT_AGENTS};
    l->transport.wake_fd = transport_wake_fd(l->inner);
    ASSERT(epoll_ctl(nodes[l->node].node.sleep_fds[l->lcore], EPOLL_CTL_ADD, l->transport.wake_fd,
                     &event) == 0);
}

static void stand(struct link *l)
{
    uint32_t command = atomic_load_explicit(&l->command, memory_order_acquire);
    if (LIKELY(command == COMMAND_RUN))
        return;
    qsbr_offline();
    if (command == COMMAND_RENEW)
        renew(l);
    atomic_store_explicit(&l->stands, true, memory_order_release);
    while (atomic_load_explicit(&l->command, memory_order_acquire) != COMMAND_RUN)
        (void)usleep(500);
    atomic_store_explicit(&l->stands, false, memory_order_release);
    qsbr_online();
}

static uint32_t link_send(struct transport *t, const struct transport_datagram *datagrams,
                          uint32_t count)
{
    return transport_send(link_of(t)->inner, datagrams, count);
}

static uint32_t link_receive(struct transport *t, struct transport_received *received,
                             uint32_t count)
{
    struct link *l = link_of(t);
    stand(l);
    uint32_t got = transport_receive(l->inner, received, count);
    /* relaxed: a network may lose what it likes */
    uint32_t lost = atomic_load_explicit(&cut_off, memory_order_relaxed);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < got; i++)
        if (l->node != lost && received[i].from != lost + 1)
            received[kept++] = received[i];
    return kept;
}

static void link_release(struct transport *t)
{
    transport_release(link_of(t)->inner);
}

static uint32_t link_complete(struct transport *t, uint64_t *holds, uint32_t count)
{
    return transport_complete(link_of(t)->inner, holds, count);
}

static bool link_sleep(struct transport *t)
{
    return transport_sleep(link_of(t)->inner);
}

static void link_awake(struct transport *t)
{
    transport_awake(link_of(t)->inner);
}

static uint64_t link_deadline(const struct transport *t)
{
    return transport_deadline(((const struct link *)(const void *)t)->inner);
}

static void link_count(struct transport *t, uint64_t *counted)
{
    struct transport *inner = link_of(t)->inner;
    inner->ops->count(inner, counted);
}

static const struct transport_ops link_ops = {
    .send = link_send,
    .receive = link_receive,
    .release = link_release,
    .complete = link_complete,
    .sleep = link_sleep,
    .awake = link_awake,
    .deadline = link_deadline,
    .count = link_count,
    .count_names = transport_udp_count_names,
};

static void link_open(uint32_t node, uint32_t lcore)
{
    struct link *l = &links[node][lcore];
    *l = (struct link){.node = node, .lcore = lcore};
    l->config = (struct transport_framed_config){
        .node = node + 1,
        .lcore = (uint8_t)lcore,
        .cluster = 77,
        .start = 10,
        .address = loopback(0),
        .secrets = &secret,
        .secret_count = 1,
        .authentic_only = as_opened.authentic_only,
        .rate = as_opened.rate,
        .burst = as_opened.burst,
        .silence_ns = as_opened.hours ? HOUR_NS : 0,
    };
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&l->inner, &l->config, NULL), 0);
    ports[node][lcore] = transport_udp_port(l->inner);
    l->transport = *l->inner;
    l->transport.ops = &link_ops;
    nodes[node].node.cluster->transports[lcore] = &l->transport;
}

/* ---- set-up ---- */

static void count_wake(void *context)
{
    struct ring_node *r = context;
    /* relaxed: a count */
    atomic_fetch_add_explicit(&r->control_wakes, 1, memory_order_relaxed);
}

static void node_make(uint32_t i)
{
    struct node_config c = {.id = i + 1,
                            .lcore_count = as_opened.lcore_count,
                            .lease_ns = as_opened.hours ? HOUR_NS : LEASE_NS,
                            .heartbeat_ns = as_opened.hours ? HOUR_NS : 100 * NS_PER_MS,
                            .view_ns = NS_PER_S,
                            .spin = as_opened.spin,
                            .replicated = true};
    struct space_config s;
    for (uint32_t l = 0; l < LIMIT_LCORES; l++)
        c.lcore_cpus[l] = -1;
    (void)snprintf(c.name, sizeof c.name, "node%u", i + 1);
    memset(&nodes[i], 0, sizeof nodes[i]);
    CU_ASSERT_EQUAL_FATAL(node_open(&nodes[i].node, &c, START), 0);
    nodes[i].node.wake_control = count_wake;
    nodes[i].node.wake_context = &nodes[i];
    space_config_default(&s);
    s.id = RING_AGENT_SPACE;
    (void)snprintf(s.name, sizeof s.name, "reeds");
    s.shard_count = UDP_SHARDS;
    s.quota_bytes = space_quota_min(UDP_SHARDS);
    s.sessions_max = 64;
    CU_ASSERT_EQUAL_FATAL(node_space_add(&nodes[i].node, &s), 0);
}

/* For something to become so. */
static bool comes(bool (*is)(const struct coordinator_script *c))
{
    for (unsigned i = 0; i < WAIT_MS && !is(coordinator); i++)
        (void)usleep(1000);
    return is(coordinator);
}

/* The lcores do not run yet. */
static void come_up(void)
{
    uint32_t up = 0;
    for (unsigned wait = 0; wait < WAIT_MS && up < UDP_NODES * (UDP_NODES - 1); wait++) {
        up = 0;
        for (uint32_t i = 0; i < UDP_NODES; i++) {
            struct transport_received none[1];
            struct transport *t = links[i][0].inner;
            CU_ASSERT_EQUAL_FATAL(transport_receive(t, none, 1), 0);
            transport_release(t);
            for (uint32_t peer = 1; peer <= UDP_NODES; peer++)
                up += transport_framed_is_up(t, peer, NULL, NULL);
        }
        (void)usleep(1000);
    }
    CU_ASSERT_EQUAL_FATAL(up, UDP_NODES * (UDP_NODES - 1));
}

void udp_cluster_arrive(uint32_t node)
{
    CU_ASSERT_EQUAL_FATAL(node_lcores_start(&nodes[node].node), 0);
    running[node] = true;
}

void udp_cluster_open(const struct udp_cluster_options *options)
{
    static struct node *const all[UDP_NODES] = {&nodes[0].node, &nodes[1].node, &nodes[2].node};
    static bool registered;
    if (!registered) {
        qsbr_thread_register();
        qsbr_offline();
        registered = true;
    }
    as_opened = *options;
    udp_cluster_cut_off(UDP_NODES);
    for (uint32_t i = 0; i < UDP_NODES; i++)
        node_make(i);
    CU_ASSERT_EQUAL_FATAL(coordinator_script_open(&coordinator, all, UDP_NODES, START), 0);
    for (uint32_t i = 0; i < UDP_NODES; i++)
        for (uint32_t l = 0; l < options->lcore_count; l++)
            link_open(i, l);
    for (uint32_t i = 0; i < UDP_NODES; i++)
        for (uint32_t l = 0; l < options->lcore_count; l++)
            introduce(&links[i][l]);
    if (options->hours)
        come_up();
    for (uint32_t i = 0; i < UDP_NODES; i++)
        if (i + 1 != options->absent)
            udp_cluster_arrive(i);
    CU_ASSERT_TRUE_FATAL(comes(coordinator_script_is_active));
}

/* Why: who sleeps looks at stop when it wakes, which may be in half an hour.  Whatever arrives wakes. */
static void stop_begin(uint32_t node, int fd)
{
    for (uint32_t l = 0; l < as_opened.lcore_count; l++) {
        struct sockaddr_storage to = loopback(ports[node][l]);
        atomic_store_explicit(&nodes[node].node.lcores[l]->stop, true, memory_order_release);
        CU_ASSERT_EQUAL(
            sendto(fd, "", 1, 0, (const struct sockaddr *)&to, sizeof(struct sockaddr_in)), 1);
    }
}

void udp_cluster_stop(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (uint32_t i = 0; i < UDP_NODES; i++)
        if (running[i])
            stop_begin(i, fd);
    (void)close(fd);
    for (uint32_t i = 0; i < UDP_NODES; i++)
        if (running[i])
            node_lcores_stop(&nodes[i].node);
    memset(running, 0, sizeof running);
}

void udp_cluster_close(void)
{
    udp_cluster_stop();
    coordinator_script_close(coordinator);
    for (uint32_t i = 0; i < UDP_NODES; i++) {
        for (uint32_t l = 0; l < as_opened.lcore_count; l++)
            transport_udp_close(links[i][l].inner);
        ring_node_close(&nodes[i]);
    }
}

/* ---- faults ---- */

static void command(uint32_t node, enum command what)
{
    for (uint32_t l = 0; l < as_opened.lcore_count; l++)
        atomic_store_explicit(&links[node][l].command, (uint32_t)what, memory_order_release);
    for (uint32_t l = 0; l < as_opened.lcore_count; l++)
        while (atomic_load_explicit(&links[node][l].stands, memory_order_acquire) ==
               (what == COMMAND_RUN))
            (void)usleep(200);
}

void udp_cluster_hold(uint32_t node)
{
    command(node, COMMAND_HOLD);
}

void udp_cluster_release(uint32_t node)
{
    command(node, COMMAND_RUN);
}

void udp_cluster_renew(uint32_t node)
{
    command(node, COMMAND_RENEW);
    command(node, COMMAND_RUN);
}

void udp_cluster_cut_off(uint32_t node)
{
    /* relaxed: as in link_receive */
    atomic_store_explicit(&cut_off, node, memory_order_relaxed);
}

void udp_cluster_move(uint32_t leader)
{
    CU_ASSERT_EQUAL_FATAL(coordinator_script_move(coordinator, leader), 0);
    CU_ASSERT_TRUE_FATAL(comes(coordinator_script_is_active));
}

/* ---- what was counted ---- */

struct transport *udp_cluster_endpoint(uint32_t node, uint32_t lcore)
{
    return &links[node][lcore].transport;
}

uint16_t udp_cluster_port(uint32_t node, uint32_t lcore)
{
    return ports[node][lcore];
}

uint64_t udp_cluster_counted(uint32_t node, uint32_t lcore, const char *name)
{
    const struct transport *t = udp_cluster_endpoint(node, lcore);
    const char *found;
    for (uint32_t i = 0; (found = transport_count_name(t, i)) != NULL; i++)
        if (strcmp(found, name) == 0)
            return transport_counted(t, i);
    return UINT64_MAX;
}

uint64_t udp_cluster_counter(uint32_t node, enum counter counter)
{
    uint64_t sum = 0;
    for (uint32_t l = 0; l < as_opened.lcore_count; l++)
        /* relaxed: a number */
        sum += atomic_load_explicit(&nodes[node].node.shared->counters[l].value[counter],
                                    memory_order_relaxed);
    return sum;
}

/* ---- clients ---- */

static const struct node_space *space_of(uint32_t node)
{
    return nodes[node].node.spaces[RING_AGENT_SPACE];
}

static uint32_t lcore_of(uint32_t node, uint32_t shard)
{
    return space_of(node)->boards[shard].lcore;
}

/* As libdunlin does: the bell, then the event if the lcore sleeps. */
static void wake(struct ring_node *r, const struct ring_agent *a)
{
    ring_agent_doorbell(r, a);
    /* relaxed: the doorbell's seq_cst operation stands in front; the lcore fences on its side */
    if (atomic_load_explicit(&r->node.shared->lcores[a->lcore].sleeping, memory_order_relaxed) !=
        0) {
        const uint64_t one = 1;
        CU_ASSERT_EQUAL_FATAL(write(a->agent->event_fds[a->lcore], &one, sizeof one), 8);
    }
}

static void request_send(struct udp_client *c, struct ring_request q, const char *key,
                         const void *value)
{
    struct ring_agent *lane = &c->lanes[lcore_of(c->node, q.shard)];
    for (unsigned i = 0; ring_agent_send(lane, q, key, value) != 0; i++) {
        CU_ASSERT_TRUE_FATAL(i < WAIT_MS);
        (void)usleep(1000);
    }
    wake(&nodes[c->node], lane);
}

/* The next answer on a lane. */
static struct ring_completion answer(struct ring_agent *lane)
{
    struct ring_completion completion;
    for (unsigned i = 0; !ring_agent_take(lane, &completion, NULL); i++) {
        CU_ASSERT_TRUE_FATAL(i < WAIT_MS * 20);
        (void)usleep(i < 100 ? 0 : 50);
    }
    return completion;
}

static void session_begin(struct udp_client *c, uint32_t shard)
{
    static uint32_t opened;
    char id[17];
    struct ring_completion completion;
    (void)snprintf(id, sizeof id, "session %08u", ++opened);
    do {
        struct ring_agent *lane = &c->lanes[lcore_of(c->node, shard)];
        struct ring_request q = ring_agent_request(&nodes[c->node], lane, RING_SESSION_OPEN, id);
        q.shard = shard;
        request_send(c, q, id, NULL);
        completion = answer(lane);
    } while (completion.status == RING_RETRY);
    CU_ASSERT_EQUAL_FATAL(completion.status, RING_OK);
    c->sessions[shard].lsn = completion.lsn;
    c->sessions[shard].slot = completion.session_slot;
    c->sessions[shard].sequence = 0;
}

void udp_client_open(struct udp_client *c, uint32_t node)
{
    *c = (struct udp_client){.node = node};
    ring_agent_attach(&nodes[node], &c->lanes[0], 0, 1u << 16);
    for (uint32_t l = 1; l < as_opened.lcore_count; l++)
        ring_agent_join(&c->lanes[l], c->lanes[0].agent, l);
    for (uint32_t s = 0; s < UDP_SHARDS; s++)
        session_begin(c, s);
}

void udp_client_close(struct udp_client *c)
{
    qsbr_online();
    node_agent_detach(&nodes[c->node].node, c->lanes[0].agent);
    qsbr_offline();
}

/* Returns the lcore that answers it. */
static uint32_t put(struct udp_client *c, uint32_t number, uint32_t bytes)
{
    static uint8_t value[1u << 14];
    char key[24];
    (void)snprintf(key, sizeof key, "key %u", number % KEYS);
    memset(value, (int)number, bytes);
    struct ring_request q = ring_agent_request(&nodes[c->node], &c->lanes[0], RING_PUT, key);
    q.session = c->sessions[q.shard].lsn;
    q.session_slot = c->sessions[q.shard].slot;
    q.sequence = ++c->sessions[q.shard].sequence;
    q.value_length = bytes;
    request_send(c, q, key, value);
    return lcore_of(c->node, q.shard);
}

void udp_client_write(struct udp_client *c, uint32_t count, uint32_t bytes, uint32_t flight)
{
    uint32_t lanes[LIMIT_SESSION_WINDOW];
    for (uint32_t i = 0, taken = 0; taken < count;) {
        while (i < count && i - taken < flight) {
            lanes[i % LIMIT_SESSION_WINDOW] = put(c, i, bytes);
            i++;
        }
        struct ring_completion completion =
            answer(&c->lanes[lanes[taken++ % LIMIT_SESSION_WINDOW]]);
        CU_ASSERT_EQUAL_FATAL(completion.status, RING_OK);
    }
}

/* ---- all alike ---- */

static bool is_level(uint32_t node, uint32_t leader)
{
    for (uint32_t s = 0; s < UDP_SHARDS; s++) {
        struct layout_board *board = &space_of(node)->boards[s];
        struct layout_board *ahead = &space_of(leader)->boards[s];
        uint64_t end = atomic_load_explicit(&ahead->lsn_end, memory_order_acquire);
        if (atomic_load_explicit(&ahead->lsn_committed, memory_order_acquire) != end ||
            atomic_load_explicit(&board->lsn_committed, memory_order_acquire) != end ||
            atomic_load_explicit(&board->lsn_end, memory_order_acquire) != end)
            return false;
    }
    return true;
}

bool udp_cluster_converges(uint32_t leader, uint32_t mask)
{
    bool level = false;
    for (unsigned i = 0; i < WAIT_MS && !level; i++) {
        level = true;
        for (uint32_t n = 0; n < UDP_NODES; n++)
            level = level && ((mask >> n & 1) == 0 || is_level(n, leader));
        if (!level)
            (void)usleep(1000);
    }
    return level;
}

/* Where the bytes begin that are still there, up to the end of the log. */
static uint64_t kept_from(const struct log *l)
{
    const uint64_t segment = UINT64_C(1) << l->segment_shift;
    uint64_t lsn = l->lsn_end, available;
    while (lsn > segment && log_bytes_at(l, (lsn - 1) & ~(segment - 1), &available) != NULL)
        lsn = (lsn - 1) & ~(segment - 1);
    return max_u64(lsn, l->lsn_base);
}

static bool is_same(const struct log *a, const struct log *b)
{
    uint64_t lsn = max_u64(kept_from(a), kept_from(b));
    while (lsn < a->lsn_end) {
        uint64_t left_a, left_b;
        const uint8_t *in_a = log_bytes_at(a, lsn, &left_a);
        const uint8_t *in_b = log_bytes_at(b, lsn, &left_b);
        if (in_a == NULL || in_b == NULL)
            return false;
        uint64_t length = min_u64(min_u64(left_a, left_b), a->lsn_end - lsn);
        if (memcmp(in_a, in_b, length) != 0)
            return false;
        lsn += length;
    }
    return a->lsn_end == b->lsn_end && kept_from(a) < a->lsn_end;
}

void udp_cluster_compare(void)
{
    for (uint32_t n = 0; n < UDP_NODES; n++) {
        CU_ASSERT_EQUAL(udp_cluster_counter(n, COUNTER_STOPPED), 0);
        for (uint32_t s = 0; s < UDP_SHARDS; s++) {
            const struct shard *first = space_of(0)->shards[s], *other = space_of(n)->shards[s];
            CU_ASSERT_TRUE(is_same(&first->log, &other->log));
            /* relaxed: no lcore runs */
            CU_ASSERT_EQUAL(atomic_load_explicit(&first->board->key_count, memory_order_relaxed),
                            atomic_load_explicit(&other->board->key_count, memory_order_relaxed));
        }
    }
}
