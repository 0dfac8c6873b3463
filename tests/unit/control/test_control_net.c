/* Three nodes in one loop: what is sent arrives, whole, once and in order, both ways; queues are bounded;
 * links come back; certificates are judged when a node opens and when it reads them anew. */
#include "control/authority_make.h"

#include "tests/unit/control/control_net_nodes.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MESSAGES 2000u

static struct net_nodes nodes;
static struct net_nodes *const t = &nodes;

/* ---- messages ---- */

static bool all_received(struct net_nodes *n)
{
    for (uint32_t a = 1; a <= NET_NODES; a++)
        for (uint32_t b = 1; b <= NET_NODES; b++)
            if (a != b && n->nodes[a].received[b] < MESSAGES)
                return false;
    return true;
}

static void messages_arrive_in_order_both_ways(void)
{
    net_nodes_init(t);
    net_open_all(t);
    for (uint64_t number = 0; number < MESSAGES; number++) {
        for (uint32_t a = 1; a <= NET_NODES; a++)
            for (uint32_t b = 1; b <= NET_NODES; b++)
                if (a != b)
                    CU_ASSERT_EQUAL(net_send(t, a, b, number), 0);
        if (number % 100 == 99)
            (void)uv_run(&t->loop, UV_RUN_NOWAIT);
    }
    CU_ASSERT(net_until(t, all_received));
    for (uint32_t a = 1; a <= NET_NODES; a++) {
        CU_ASSERT_EQUAL(t->nodes[a].disordered, 0);
        CU_ASSERT_EQUAL(t->nodes[a].damaged, 0);
        for (uint32_t b = 1; b <= NET_NODES; b++)
            CU_ASSERT_EQUAL(t->nodes[a].received[b], a != b ? MESSAGES : 0);
    }
    net_nodes_fini(t);
}

/* Requests, and what they were told. */
struct told {
    struct control_net_request request;
    uint32_t calls;
    int error;
};

static void on_sent(struct control_net_request *r, int error)
{
    struct told *told = r->data;
    told->calls++;
    told->error = error;
}

static void told_init(struct told *told)
{
    *told = (struct told){.request = {.sent = on_sent, .data = told}, .error = 1};
}

static struct told first, second;

static bool second_is_told(struct net_nodes *n)
{
    (void)n;
    return second.calls != 0;
}

static bool two_got_two(struct net_nodes *n)
{
    return n->nodes[2].received[1] == 2;
}

static void long_messages_arrive_and_short_ones_behind_them(void)
{
    size_t length = CONTROL_FRAME_LENGTH_MAX;
    uint8_t *bytes = calloc(1, length + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    struct iovec pieces[] = {{.iov_base = bytes, .iov_len = length}, {.iov_base = bytes}};
    net_nodes_init(t);
    net_open_all(t);
    told_init(&first);
    told_init(&second);
    pieces[1].iov_len = 1;
    CU_ASSERT_EQUAL(control_net_send(t->nodes[1].net, 2, 9, pieces, 2, &first.request), -EMSGSIZE);
    CU_ASSERT_EQUAL(control_net_send(t->nodes[1].net, 2, 9, pieces, 1, &first.request), 0);
    CU_ASSERT_EQUAL(control_net_send(t->nodes[1].net, 2, 9, pieces, 1, &second.request), -ENOBUFS);
    CU_ASSERT_EQUAL(first.calls + second.calls, 0);
    CU_ASSERT(net_until(t, net_all_up));
    /* Another peer's queue is its own. */
    CU_ASSERT_EQUAL(net_send(t, 1, 3, 0), 0);
    while (control_net_send(t->nodes[1].net, 2, 9, NULL, 0, &second.request) == -ENOBUFS)
        net_once(t);
    CU_ASSERT(net_until(t, two_got_two));
    CU_ASSERT(net_until(t, second_is_told));
    CU_ASSERT(first.calls == 1 && first.error == 0);
    CU_ASSERT(second.calls == 1 && second.error == 0);
    CU_ASSERT_EQUAL(t->nodes[2].received_bytes[1], length);
    CU_ASSERT_EQUAL(t->nodes[3].disordered + t->nodes[3].damaged, 0);
    net_nodes_fini(t);
    free(bytes);
}

#define SLOTS 8192u
static struct told slots[SLOTS];

static bool slots_are_told(struct net_nodes *n)
{
    (void)n;
    for (uint32_t i = 0; i < SLOTS; i++)
        if (slots[i].error == 1)
            return false;
    return true;
}

static void queues_are_bounded(void)
{
    static const uint8_t bytes[4096];
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = sizeof(bytes)};
    uint32_t taken = 0;
    int error = 0;
    net_nodes_init(t);
    net_open_all(t);
    for (uint32_t i = 0; i < SLOTS; i++) {
        told_init(&slots[i]);
        if (error == 0)
            error = control_net_send(t->nodes[2].net, 1, 3, &piece, 1, &slots[i].request);
        taken += error == 0;
        slots[i].error = error == 0 ? 1 : 0;
    }
    CU_ASSERT_EQUAL(error, -ENOBUFS);
    CU_ASSERT(taken * sizeof(bytes) <= CONTROL_NET_QUEUE_BYTES + (256u << 10));
    CU_ASSERT(taken * sizeof(bytes) >= CONTROL_NET_QUEUE_BYTES / 2);
    CU_ASSERT(net_until(t, slots_are_told));
    for (uint32_t i = 0; i < SLOTS; i++)
        CU_ASSERT(slots[i].calls == (i < taken) && slots[i].error == 0);
    CU_ASSERT_EQUAL(control_net_send(t->nodes[2].net, 1, 3, &piece, 1, NULL), 0);
    net_nodes_fini(t);
}

static void what_can_not_be_sent_is_refused(void)
{
    net_nodes_init(t);
    net_open(t, 2);
    told_init(&first);
    CU_ASSERT_EQUAL(control_net_send(t->nodes[2].net, 1, 1, NULL, 0, &first.request), -ENOTCONN);
    CU_ASSERT_EQUAL(control_net_send(t->nodes[2].net, 1, 0, NULL, 0, &first.request), -EINVAL);
    CU_ASSERT_EQUAL(control_net_send(t->nodes[2].net, 2, 1, NULL, 0, &first.request), -EINVAL);
    CU_ASSERT_EQUAL(control_net_send(t->nodes[2].net, 9, 1, NULL, 0, &first.request), -EINVAL);
    CU_ASSERT(!control_net_is_up(t->nodes[2].net, 1) && !control_net_is_up(t->nodes[2].net, 9));
    net_nodes_fini(t);
    CU_ASSERT_EQUAL(first.calls, 0);
}

/* ---- links ---- */

static bool one_lost_two(struct net_nodes *n)
{
    return n->nodes[1].downs[2] == 1 && n->nodes[3].downs[2] == 1;
}

static bool both_are_told(struct net_nodes *n)
{
    (void)n;
    return first.calls != 0 && second.calls != 0;
}

static void links_go_down_and_come_back(void)
{
    static const uint8_t bytes[1 << 20];
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = sizeof(bytes)};
    net_nodes_init(t);
    net_open_all(t);
    told_init(&first);
    told_init(&second);
    /* More than sockets hold: the last of them is in a queue when the node closes. */
    for (uint32_t i = 0; i < 16; i++) {
        CU_ASSERT_EQUAL(
            control_net_send(t->nodes[1].net, 2, 5, &piece, 1, i == 15 ? &first.request : NULL), 0);
        CU_ASSERT_EQUAL(
            control_net_send(t->nodes[2].net, 1, 5, &piece, 1, i == 15 ? &second.request : NULL),
            0);
    }
    net_close(t, 2);
    CU_ASSERT(net_until(t, both_are_told));
    CU_ASSERT(first.calls == 1 && first.error == -ECONNRESET);
    CU_ASSERT(second.calls == 1 && second.error == -ECANCELED);
    CU_ASSERT(net_until(t, one_lost_two));
    CU_ASSERT_EQUAL(control_net_send(t->nodes[1].net, 2, 5, &piece, 1, NULL), -ENOTCONN);
    CU_ASSERT(control_net_is_up(t->nodes[1].net, 3));
    net_open(t, 2); /* where it was before */
    CU_ASSERT(net_until(t, net_all_up));
    CU_ASSERT_EQUAL(t->nodes[1].ups[2], 2);
    CU_ASSERT_EQUAL(t->nodes[3].ups[2], 2);
    CU_ASSERT_EQUAL(t->nodes[1].ups[3], 1);
    net_close(t, 1);
    net_open(t, 1);
    CU_ASSERT(net_until(t, net_all_up));
    net_nodes_fini(t);
}

/* A callback that closes its own net, in the middle of what came. */
static struct control_net *closing_net;
static uint32_t received_before_closing;

static void close_when_received(void *context, uint32_t node, uint8_t type, const uint8_t *bytes,
                                size_t length)
{
    (void)context;
    (void)node;
    (void)type;
    (void)bytes;
    (void)length;
    received_before_closing++;
    control_net_close(closing_net, NULL, NULL);
}

static void link_is_nothing(void *context, uint32_t node, bool up)
{
    (void)context;
    (void)node;
    (void)up;
}

static bool two_is_up_to_three(struct net_nodes *n)
{
    return control_net_is_up(n->nodes[3].net, 2);
}

static bool three_lost_two(struct net_nodes *n)
{
    return n->nodes[3].downs[2] == 1;
}

static void a_callback_may_close_the_net(void)
{
    struct control_net_peer peers[NET_NODES];
    net_nodes_init(t);
    net_open(t, 3);
    struct control_net_config c = net_config(t, 2, peers);
    c.received = close_when_received;
    c.link = link_is_nothing;
    received_before_closing = 0;
    CU_ASSERT_EQUAL_FATAL(control_net_open(&closing_net, &c, stderr), 0);
    CU_ASSERT_FATAL(net_until(t, two_is_up_to_three));
    for (uint64_t i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(net_send(t, 3, 2, i), 0);
    CU_ASSERT(net_until(t, three_lost_two));
    CU_ASSERT_EQUAL(received_before_closing, 1);
    net_nodes_fini(t);
}

/* ---- certificates ---- */

static void expect_refused(const struct control_net_config *c, int error, const char *words)
{
    struct control_net *n = NULL;
    char *said = NULL;
    size_t size = 0;
    FILE *errors = open_memstream(&said, &size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(errors);
    CU_ASSERT_EQUAL(control_net_open(&n, c, errors), error);
    (void)fclose(errors);
    CU_ASSERT_PTR_NULL(n);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, words));
    CU_ASSERT_PTR_EQUAL(strchr(said, '\n'), said + size - 1); /* one line */
    free(said);
}

static void what_can_not_work_is_refused_at_once(void)
{
    struct control_net_peer peers[NET_NODES];
    net_nodes_init(t);
    struct control_net_config c = net_config(t, 1, peers);
    c.cluster = "herd";
    expect_refused(&c, -EINVAL, "node 1 of cluster flock; expected node 1 of cluster herd");
    c = net_config(t, 1, peers);
    c.self = 2;
    expect_refused(&c, -EINVAL, "expected node 2");
    c = net_config(t, 1, peers);
    c.key_path = net_path(t, "key", 2);
    expect_refused(&c, -EINVAL, "does not belong to the certificate");
    c = net_config(t, 1, peers);
    c.certificate_path = c.authority_path;
    expect_refused(&c, -EINVAL, "no node's certificate");
    c = net_config(t, 1, peers);
    c.authority_path = c.certificate_path;
    expect_refused(&c, -EINVAL, "no authority's");
    c = net_config(t, 1, peers);
    c.authority_path = "/nowhere/authority.crt";
    expect_refused(&c, -ENOENT, "not readable");
    c = net_config(t, 1, peers);
    CU_ASSERT_EQUAL(chmod(c.key_path, 0640), 0);
    expect_refused(&c, -EPERM, "make its mode 0600");
    CU_ASSERT_EQUAL(chmod(c.key_path, 0600), 0);
    c.self = 5;
    c.certificate_path = net_path(t, "crt", 5);
    c.key_path = net_path(t, "key", 5);
    expect_refused(&c, -EKEYEXPIRED, "certificate has expired");
    c = net_config(t, 1, peers);
    peers[2].node = 2;
    expect_refused(&c, -EINVAL, "node 2 twice");
    net_open(t, 2);
    c = net_config(t, 1, peers);
    c.listen = t->nodes[2].address;
    expect_refused(&c, -EADDRINUSE, "cannot listen there");
    net_nodes_fini(t);
}

static void reissue(uint32_t id, const char *directory)
{
    struct authority_made made;
    const struct authority_issue issue = {.directory = directory,
                                          .out = t->directory,
                                          .node = id,
                                          .validity_s = 86400,
                                          .force = true};
    CU_ASSERT_EQUAL_FATAL(authority_issue(&issue, &made, stderr), 0);
}

static void certificates_are_read_anew(void)
{
    char *said = NULL;
    size_t size = 0;
    net_nodes_init(t);
    net_open_all(t);
    reissue(1, t->directory);
    CU_ASSERT_EQUAL(control_net_reload(t->nodes[1].net, stderr), 0);
    CU_ASSERT(net_until(t, net_all_up));
    CU_ASSERT_EQUAL(t->nodes[1].downs[2] + t->nodes[1].downs[3], 0);
    /* A file that is no good changes nothing. */
    CU_ASSERT_EQUAL(chmod(net_path(t, "key", 1), 0644), 0);
    FILE *errors = open_memstream(&said, &size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(errors);
    CU_ASSERT_EQUAL(control_net_reload(t->nodes[1].net, errors), -EPERM);
    (void)fclose(errors);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "make its mode 0600"));
    free(said);
    CU_ASSERT_EQUAL(net_send(t, 1, 2, 0), 0);
    net_close(t, 2);
    net_open(t, 2);
    CU_ASSERT(net_until(t, net_all_up)); /* by the new certificate */
    net_nodes_fini(t);
}

static void file_append(const char *to, const char *from)
{
    char bytes[4096];
    FILE *in = fopen(from, "r"), *out = fopen(to, "a");
    CU_ASSERT_FATAL(in != NULL && out != NULL);
    size_t length = fread(bytes, 1, sizeof(bytes), in);
    CU_ASSERT(length > 0 && fwrite(bytes, 1, length, out) == length);
    (void)fclose(in);
    CU_ASSERT_EQUAL(fclose(out), 0);
}

static void issue_anew(const struct net_nodes *by, uint32_t id)
{
    struct authority_made made;
    const struct authority_issue issue = {.directory = by->directory,
                                          .out = t->directory,
                                          .node = id,
                                          .validity_s = 90 * INT64_C(86400),
                                          .force = true};
    CU_ASSERT_EQUAL_FATAL(authority_issue(&issue, &made, stderr), 0);
}

static bool one_and_two_are_up(struct net_nodes *n)
{
    return control_net_is_up(n->nodes[1].net, 2) && control_net_is_up(n->nodes[2].net, 1);
}

/* Node 1 goes over to a new authority of the same name while nodes 2 and 3 stay with the old one; then node
 * 2, which knows the new one alone. */
static void an_authority_can_be_changed_online(void)
{
    struct net_nodes other;
    net_nodes_init(t);
    net_open_all(t);
    net_nodes_init(&other); /* whose authority is the new one */
    file_append(net_path(t, "authority.crt", 0), net_path(&other, "authority.crt", 0));
    for (uint32_t id = 1; id <= NET_NODES; id++)
        CU_ASSERT_EQUAL(control_net_reload(t->nodes[id].net, stderr), 0);
    issue_anew(&other, 1);
    CU_ASSERT_EQUAL(control_net_reload(t->nodes[1].net, stderr), 0);
    CU_ASSERT_EQUAL(t->nodes[1].downs[2] + t->nodes[1].downs[3], 0);
    net_close(t, 2);
    net_open(t, 2);
    CU_ASSERT(net_until(t, net_all_up));
    CU_ASSERT_EQUAL(t->nodes[1].ups[2], 2);
    net_close(t, 2);
    issue_anew(&other, 2);
    CU_ASSERT_EQUAL(truncate(net_path(t, "authority.crt", 0), 0), 0);
    file_append(net_path(t, "authority.crt", 0), net_path(&other, "authority.crt", 0));
    net_open(t, 2);
    CU_ASSERT(net_until(t, one_and_two_are_up));
    CU_ASSERT_EQUAL(t->nodes[2].ups[3], 0); /* of the old one still */
    net_nodes_fini(&other);
    net_nodes_fini(t);
}

/* ---- peers that come and go ---- */

static bool three_is_down(struct net_nodes *n)
{
    return n->nodes[1].downs[3] == 1 && n->nodes[3].downs[1] != 0 && n->nodes[2].downs[3] == 0;
}

static bool three_is_up(struct net_nodes *n)
{
    return control_net_is_up(n->nodes[1].net, 3) && control_net_is_up(n->nodes[3].net, 1);
}

static void a_peer_is_removed_and_added(void)
{
    net_nodes_init(t);
    net_open_all(t);
    struct control_net *net = t->nodes[1].net;
    const struct control_net_peer three = {.node = 3, .address = t->nodes[3].address};
    CU_ASSERT_EQUAL(control_net_add(net, &three), -EINVAL);
    for (uint32_t round = 0; round < 2; round++) {
        memset(t->nodes[1].ups, 0, sizeof(t->nodes[1].ups));
        memset(t->nodes[1].downs, 0, sizeof(t->nodes[1].downs));
        t->nodes[1].ups[3] = t->nodes[1].ups[2] = 1;
        uint32_t before = t->nodes[3].downs[1];
        control_net_remove(net, 3);
        control_net_remove(net, 3);
        CU_ASSERT_EQUAL(t->nodes[1].downs[3], 0); /* nothing is told from within */
        CU_ASSERT_EQUAL(net_send(t, 1, 3, 0), -EINVAL);
        CU_ASSERT_FALSE(control_net_is_up(net, 3));
        CU_ASSERT(net_until(t, three_is_down));
        CU_ASSERT_EQUAL(t->nodes[3].downs[1], before + 1);
        CU_ASSERT_EQUAL(control_net_add(net, &three), 0);
        CU_ASSERT(net_until(t, three_is_up));
        CU_ASSERT_EQUAL(net_send(t, 1, 3, 0), 0);
        CU_ASSERT_EQUAL(net_send(t, 3, 1, 0), 0);
    }
    net_nodes_fini(t);
}

static void one_that_was_removed_is_a_stranger(void)
{
    net_nodes_init(t);
    net_open_all(t);
    /* Node 1 connects, so 3 sees it come again and again. */
    control_net_remove(t->nodes[3].net, 1);
    while (t->nodes[1].downs[3] == 0)
        net_once(t);
    uint32_t ups = t->nodes[3].ups[1];
    for (uint32_t round = 0; round < 20; round++) {
        CU_ASSERT_EQUAL(net_send(t, 2, 3, round), 0); /* others are not touched */
        net_once(t);
    }
    CU_ASSERT_FALSE(control_net_is_up(t->nodes[1].net, 3));
    CU_ASSERT_EQUAL(t->nodes[3].ups[1], ups);
    const struct control_net_peer one = {.node = 1, .address = t->nodes[1].address};
    CU_ASSERT_EQUAL(control_net_add(t->nodes[3].net, &one), 0);
    CU_ASSERT(net_until(t, net_all_up));
    net_nodes_fini(t);
}

static void peers_are_bounded(void)
{
    net_nodes_init(t);
    net_open_all(t);
    struct control_net *net = t->nodes[3].net;
    struct control_net_peer peer = {.node = 3, .address = t->nodes[1].address};
    CU_ASSERT_EQUAL(control_net_add(net, &peer), -EINVAL); /* itself */
    peer.node = 0;
    CU_ASSERT_EQUAL(control_net_add(net, &peer), -EINVAL);
    for (uint32_t i = 2; i < LIMIT_NODES; i++) {
        peer.node = 100 + i;
        CU_ASSERT_EQUAL(control_net_add(net, &peer), 0);
    }
    peer.node = 1000;
    CU_ASSERT_EQUAL(control_net_add(net, &peer), -ENOSPC);
    control_net_remove(net, 102);
    int error;
    while ((error = control_net_add(net, &peer)) == -ENOSPC)
        net_once(t);
    CU_ASSERT_EQUAL(error, 0);
    CU_ASSERT(net_until(t, net_all_up));
    net_nodes_fini(t); /* some of them are about to be tried */
}

static const struct unit_test tests[] = {
    UNIT_TEST(messages_arrive_in_order_both_ways),
    UNIT_TEST(long_messages_arrive_and_short_ones_behind_them),
    UNIT_TEST(queues_are_bounded),
    UNIT_TEST(what_can_not_be_sent_is_refused),
    UNIT_TEST(links_go_down_and_come_back),
    UNIT_TEST(a_callback_may_close_the_net),
    UNIT_TEST(what_can_not_work_is_refused_at_once),
    UNIT_TEST(a_peer_is_removed_and_added),
    UNIT_TEST(one_that_was_removed_is_a_stranger),
    UNIT_TEST(peers_are_bounded),
    UNIT_TEST(certificates_are_read_anew),
    UNIT_TEST(an_authority_can_be_changed_online),
};
UNIT_MAIN("control_net", tests)
