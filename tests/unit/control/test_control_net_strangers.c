/* Whoever is no node of the cluster gets no HELLO and no word through, on either side of a connection, and
 * holds up nobody; a node of its authority that is in no list is told so; a node that breaks the protocol loses its link, and nothing else happens. */
#include "control/authority_make.h"

#include "tests/unit/control/control_net_raw.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct net_nodes nodes;
static struct net_nodes *const t = &nodes;

#define CROWD 200u
static struct raw crowd[CROWD];
static struct raw *const raw = &crowd[0];

static bool raw_is_over(struct net_nodes *n)
{
    (void)n;
    return raw_is_done(raw);
}

/* Runs until the other end was closed. */
static void raw_run(void)
{
    raw_start(raw);
    CU_ASSERT_FATAL(net_until(t, raw_is_over));
    raw_join(raw);
    CU_ASSERT(raw->connected);
}

/* ---- what is logged ---- */

static int log_before;
static char log_path[64];

static void log_take(void)
{
    (void)snprintf(log_path, sizeof(log_path), "/tmp/dunlin-log-XXXXXX");
    int fd = mkstemp(log_path);
    CU_ASSERT_FATAL(fd >= 0);
    log_before = dup(STDERR_FILENO);
    CU_ASSERT(dup2(fd, STDERR_FILENO) >= 0);
    (void)close(fd);
}

/* How many lines hold the words; the log is given back. */
static uint32_t log_count(const char *words)
{
    char line[2048];
    uint32_t count = 0;
    CU_ASSERT(dup2(log_before, STDERR_FILENO) >= 0);
    (void)close(log_before);
    FILE *in = fopen(log_path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(in);
    while (fgets(line, sizeof(line), in) != NULL)
        count += strstr(line, words) != NULL;
    (void)fclose(in);
    (void)unlink(log_path);
    return count;
}

/* ---- who comes ---- */

static bool heard_refusal(void)
{
    uint8_t bytes[CONTROL_FRAME_HEAD_BYTES + CONTROL_FRAME_HELLO_BYTES];
    control_frame_head_encode(bytes, CONTROL_FRAME_HELLO, CONTROL_FRAME_HELLO_BYTES);
    control_frame_hello_encode_refusal(bytes + CONTROL_FRAME_HEAD_BYTES);
    return raw->heard_length == sizeof bytes && memcmp(raw->heard, bytes, sizeof bytes) == 0;
}

static bool is_told_by_all(struct net_nodes *n)
{
    for (uint32_t id = 1; id <= NET_NODES; id++)
        if (id != n->hidden && n->nodes[n->hidden].refused[id] == 0)
            return false;
    return true;
}

/* Of the lowest id, which connects, and of the highest, to whom the others would: none has it in its list. */
static void who_is_in_no_list_learns_it_and_comes_when_it_is(void)
{
    static const uint32_t orders[][NET_NODES] = {{3, 2, 1}, {2, 1, 3}};
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        net_nodes_init(t);
        t->hidden = orders[i][NET_NODES - 1];
        for (uint32_t n = 0; n < NET_NODES; n++)
            net_open(t, orders[i][n]);
        CU_ASSERT_FATAL(net_until(t, is_told_by_all));
        const struct control_net_peer peer = {t->hidden, t->nodes[t->hidden].address};
        for (uint32_t id = 1; id <= NET_NODES; id++)
            if (id != t->hidden)
                CU_ASSERT_EQUAL(t->nodes[id].ups[t->hidden], 0);
        for (uint32_t id = 1; id <= NET_NODES; id++)
            if (id != t->hidden)
                CU_ASSERT_EQUAL(control_net_add(t->nodes[id].net, &peer), 0);
        CU_ASSERT(net_until(t, net_all_up));
        net_nodes_fini(t);
    }
}

static bool two_has_three(struct net_nodes *n)
{
    return control_net_is_up(n->nodes[2].net, 3) && control_net_is_up(n->nodes[3].net, 2);
}

static bool two_is_alone(struct net_nodes *n)
{
    return !control_net_is_up(n->nodes[2].net, 3);
}

/* It is no link itself, and one that is up stays. */
static void a_knock_of_a_node_is_answered_by_a_link_of_ours(void)
{
    net_nodes_init(t);
    net_open(t, 3);
    net_open(t, 2);
    CU_ASSERT_FATAL(net_until(t, two_has_three));
    raw_init(raw, t, 3);
    raw->address = t->nodes[2].address;
    log_take();
    raw_run();
    CU_ASSERT(raw->tls);
    CU_ASSERT_EQUAL(raw->heard_length, 0);
    CU_ASSERT_EQUAL(t->nodes[2].ups[3], 1);
    CU_ASSERT_EQUAL(t->nodes[2].downs[3], 0);
    net_close(t, 3);
    CU_ASSERT(net_until(t, two_is_alone));
    net_open(t, 3);
    CU_ASSERT(net_until(t, two_has_three));
    CU_ASSERT_EQUAL(t->nodes[3].refused[2], 0);
    CU_ASSERT_EQUAL(log_count("event=control_refused"), 0);
    net_nodes_fini(t);
}

static void who_is_no_node_gets_no_word(void)
{
    struct authority_made made;
    char other[96];
    net_nodes_init(t);
    net_open_all(t);
    log_take();
    for (uint32_t id = 0; id <= NET_CERTIFICATES; id++) {
        if (id == 1 || id == 2)
            continue;
        /* 0: no certificate; 3: the node's own; 4: not in the list; 5: its time is over. */
        raw_init(raw, t, id);
        raw->address = t->nodes[3].address;
        raw_run();
        if (id == 4)
            CU_ASSERT(heard_refusal());
        if (id != 4)
            CU_ASSERT_EQUAL(raw->heard_length, 0);
    }
    raw_init(raw, t, 1);
    raw->address = t->nodes[3].address;
    raw->old_tls = true;
    raw_run();
    CU_ASSERT(!raw->tls);
    /* Node 1, as another authority of a cluster of the same name says. */
    (void)snprintf(other, sizeof(other), "%s-other", t->directory);
    const struct authority_create create = {.directory = other, .cluster = "flock"};
    const struct authority_issue issue = {.directory = other, .node = 1, .validity_s = 3600};
    CU_ASSERT_EQUAL(authority_create(&create, &made, stderr), 0);
    CU_ASSERT_EQUAL(unlink(made.key_path), 0);
    CU_ASSERT_EQUAL(unlink(made.certificate_path), 0);
    CU_ASSERT_EQUAL(authority_create(&create, &made, stderr), 0);
    CU_ASSERT_EQUAL(authority_issue(&issue, &made, stderr), 0);
    raw_init(raw, t, 1);
    raw->address = t->nodes[3].address;
    raw->certificate_path = made.certificate_path;
    raw->key_path = made.key_path;
    raw_run();
    CU_ASSERT_EQUAL(raw->heard_length, 0);
    uint32_t logged = log_count("event=control_refused");
    CU_ASSERT(logged >= 1 && logged < 6);
    CU_ASSERT_EQUAL(t->nodes[3].ups[1] + t->nodes[3].ups[2], 2);
    CU_ASSERT_EQUAL(t->nodes[3].downs[1] + t->nodes[3].downs[2], 0);
    CU_ASSERT(net_all_up(t));
    (void)unlink(made.certificate_path);
    (void)unlink(made.key_path);
    (void)snprintf(made.key_path, sizeof(made.key_path), "%s/authority.key", other);
    (void)unlink(made.key_path);
    (void)snprintf(made.key_path, sizeof(made.key_path), "%s/authority.crt", other);
    (void)unlink(made.key_path);
    CU_ASSERT_EQUAL(rmdir(other), 0);
    net_nodes_fini(t);
}

static void names_are_judged(void)
{
    static const char *const bad[] = {
        "URI:dunlin://herd/node/1",
        "URI:dunlin://flock/node/01",
        "URI:dunlin://flock/node/4294967297",
        "URI:dunlin://flock/node/1,URI:dunlin://flock/node/2",
        "URI:dunlin://flock/node/1,URI:dunlin://flock/node/",
        "DNS:flock.example",
    };
    net_nodes_init(t);
    net_open_all(t);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        raw_certificate_make(t, bad[i]);
        raw_init(raw, t, 1);
        raw->certificate_path = net_path(t, "strange.crt", 0);
        raw->key_path = net_path(t, "strange.key", 0);
        raw->address = t->nodes[3].address;
        raw_run();
        CU_ASSERT_EQUAL(raw->heard_length, 0);
        CU_ASSERT_EQUAL(t->nodes[3].downs[1], 0);
    }
    CU_ASSERT(net_all_up(t));
    net_nodes_fini(t);
}

/* Node 1 connects to what says that it is node 2. */
static void who_serves_is_judged_too(void)
{
    const uint32_t ids[] = {3, 4, 5, 1};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        net_nodes_init(t);
        raw_init(raw, t, ids[i]);
        t->nodes[2].address = raw_listen(raw);
        raw_start(raw);
        net_open(t, 1);
        CU_ASSERT_FATAL(net_until(t, raw_is_over));
        raw_join(raw);
        CU_ASSERT(raw->connected);
        CU_ASSERT_EQUAL(raw->heard_length, 0);
        CU_ASSERT(!control_net_is_up(t->nodes[1].net, 2));
        CU_ASSERT_EQUAL(t->nodes[1].ups[2], 0);
        net_nodes_fini(t);
    }
}

/* ---- who says nonsense ---- */

static void nonsense_before_tls_ends_the_connection(void)
{
    static const char *const said[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\xff\xff\x01",
                                       "\x17\x03\x03\x00\x01x", "\x15\x03\x03\x00\x02\x02\x28"};
    const size_t lengths[] = {18, 6, 6, 7};
    net_nodes_init(t);
    net_open_all(t);
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        raw_init(raw, t, 1);
        raw->address = t->nodes[3].address;
        memcpy(raw->clear, said[i], lengths[i]);
        raw->clear_length = lengths[i];
        raw_run();
    }
    CU_ASSERT_EQUAL(t->nodes[3].downs[1] + t->nodes[3].downs[2], 0);
    CU_ASSERT(net_all_up(t));
    net_nodes_fini(t);
}

static void said_add(const void *bytes, size_t length)
{
    ASSERT(raw->said_length + length <= RAW_BYTES);
    memcpy(raw->said + raw->said_length, bytes, length);
    raw->said_length += length;
}

static void hello_add(void)
{
    uint8_t bytes[CONTROL_FRAME_HEAD_BYTES + CONTROL_FRAME_HELLO_BYTES];
    control_frame_head_encode(bytes, CONTROL_FRAME_HELLO, CONTROL_FRAME_HELLO_BYTES);
    control_frame_hello_encode(bytes + CONTROL_FRAME_HEAD_BYTES);
    said_add(bytes, sizeof(bytes));
}

/* Node 1 as it should not be; it is heard until it breaks the rules. */
static void nonsense_of_a_node_ends_its_link(void)
{
    static const struct {
        uint8_t bytes[12];
        size_t length;
        uint32_t ups;
        bool says_hello;
        const char *reason;
    } cases[] = {
        {{1, 0, 0, 4, 9, 0, 0, 0}, 8, 1, true, "that is too long"}, /* 64 MiB and one */
        {{0xff, 0xff, 0xff, 0xff, 9, 0, 0, 0}, 8, 1, true, "that is too long"},
        {{1, 0, 0, 0, 9, 0, 1, 0, 5}, 9, 1, true, "bytes that are no message"},
        {{4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0}, 12, 1, true, "a second HELLO"},
        {{4, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0}, 12, 0, false, "no version that both know"},
        {{4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, 12, 0, false, "no HELLO"},
        {{4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0}, 12, 0, false, "no HELLO"},         /* another type */
        {{1, 4, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0}, 12, 0, false, "that is too long"}, /* 1025 bytes */
        {{3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1}, 11, 0, false, "no HELLO"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        net_nodes_init(t);
        log_take();
        net_open(t, 3);
        net_open(t, 2);
        CU_ASSERT_FATAL(net_until(t, two_has_three));
        raw_init(raw, t, 1);
        raw->address = t->nodes[3].address;
        if (cases[i].says_hello)
            hello_add();
        said_add(cases[i].bytes, cases[i].length);
        raw_run();
        CU_ASSERT(raw->tls);
        CU_ASSERT(raw->heard_length >= CONTROL_FRAME_HEAD_BYTES + CONTROL_FRAME_HELLO_BYTES);
        CU_ASSERT_EQUAL(t->nodes[3].ups[1], cases[i].ups);
        CU_ASSERT_EQUAL(t->nodes[3].received[1], 0);
        CU_ASSERT_EQUAL(t->nodes[3].downs[1], cases[i].ups);
        CU_ASSERT(two_has_three(t));
        CU_ASSERT_EQUAL(log_count(cases[i].reason), 1);
        net_nodes_fini(t);
    }
}

/* ---- who stays ---- */

static bool one_was_replaced(struct net_nodes *n)
{
    return n->nodes[3].ups[1] >= 2;
}

static bool one_is_back(struct net_nodes *n)
{
    return n->nodes[3].ups[1] >= 3 && raw_is_done(raw) && net_all_up(n);
}

static void the_newer_connection_of_a_node_stays(void)
{
    net_nodes_init(t);
    net_open_all(t);
    raw_init(raw, t, 1);
    raw->address = t->nodes[3].address;
    hello_add();
    raw_start(raw);
    CU_ASSERT(net_until(t, one_was_replaced));
    CU_ASSERT_EQUAL(t->nodes[3].downs[1], 1);
    CU_ASSERT_EQUAL(t->nodes[3].downs[2], 0);
    /* The right one connects again, and is the newer one then. */
    CU_ASSERT(net_until(t, one_is_back));
    raw_join(raw);
    CU_ASSERT(raw->tls);
    net_nodes_fini(t);
}

static uint32_t crowd_done(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < CROWD; i++)
        count += raw_is_done(&crowd[i]);
    return count;
}

static bool most_had_to_go(struct net_nodes *n)
{
    (void)n;
    return crowd_done() >= CROWD - CONTROL_NET_STRANGERS;
}

static bool all_had_to_go(struct net_nodes *n)
{
    (void)n;
    return crowd_done() == CROWD;
}

/* All of them are there before the first is accepted, so that not time decides who has to go. */
static void crowd_come(uint32_t source)
{
    for (uint32_t i = 0; i < CROWD; i++) {
        raw_init(&crowd[i], t, 0);
        crowd[i].address = t->nodes[3].address;
        crowd[i].source = source;
        crowd[i].is_silent = true;
        raw_start(&crowd[i]);
    }
    for (uint32_t i = 0; i < CROWD; i++)
        while (!raw_is_connected(&crowd[i]) && !raw_is_done(&crowd[i]))
            (void)sched_yield();
}

/* Silent ones, from the address of the nodes and from another: places are few, and time is short. */
static void a_crowd_that_says_nothing_holds_up_nobody(void)
{
    static const struct {
        uint32_t source;
        const char *reason; /* of the one that came last and had to go */
    } cases[] = {{0, "others came while it was slow"},
                 {INADDR_LOOPBACK + 1, "too many came in this second"}};
    for (size_t s = 0; s < 2; s++) {
        net_nodes_init(t);
        log_take();
        net_open(t, 3);
        crowd_come(cases[s].source);
        CU_ASSERT(net_until(t, most_had_to_go));
        net_open(t, 2);
        CU_ASSERT(net_until(t, two_has_three));
        CU_ASSERT_EQUAL(net_send(t, 2, 3, 0), 0);
        CU_ASSERT(net_until(t, all_had_to_go));
        for (uint32_t i = 0; i < CROWD; i++)
            raw_join(&crowd[i]);
        CU_ASSERT(two_has_three(t));
        CU_ASSERT_EQUAL(t->nodes[3].received[2], 1);
        CU_ASSERT(log_count(cases[s].reason) >= 1);
        net_nodes_fini(t);
    }
}

static const struct unit_test tests[] = {
    UNIT_TEST(who_is_no_node_gets_no_word),
    UNIT_TEST(who_is_in_no_list_learns_it_and_comes_when_it_is),
    UNIT_TEST(a_knock_of_a_node_is_answered_by_a_link_of_ours),
    UNIT_TEST(names_are_judged),
    UNIT_TEST(who_serves_is_judged_too),
    UNIT_TEST(nonsense_before_tls_ends_the_connection),
    UNIT_TEST(nonsense_of_a_node_ends_its_link),
    UNIT_TEST(the_newer_connection_of_a_node_stays),
    UNIT_TEST(a_crowd_that_says_nothing_holds_up_nobody),
};
UNIT_MAIN("control_net_strangers", tests)
