/* Who is asked for a connection while one is there already, of the same peer: what becomes of the one before, and when the
 * next one is answered. */
#include "tests/unit/dataplane/rdma_cm.h"
#include "tests/unit/unit.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NUMBER_0 1000u /* peers' numbers of their connections begin behind it */

static struct rdma_link *link_to(uint32_t node, uint32_t lcore)
{
    struct rdma_link *link = NULL;
    const struct rdma_link_config config = {.node = node,
                                            .lcore = lcore,
                                            .address = cm_address_of(node),
                                            .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                                            .send_bytes = 4096};
    CU_ASSERT_EQUAL_FATAL(rdma_link_open(&cm_port, &config, &link), 0);
    return link;
}

static bool was_woken(const struct rdma_link *link)
{
    eventfd_t times;
    return eventfd_read(link->config.wake_fd, &times) == 0;
}

/* What librdmacm and the device were told since. */
static void was_done(const char *what)
{
    CU_ASSERT_STRING_EQUAL(cm.done, what);
    if (strcmp(cm.done, what) != 0)
        printf("      done: %s\n      not:  %s\n", cm.done, what);
    cm.done[0] = '\0';
}

static uint64_t shown(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed); /* a number */
}

static bool is_broken(const struct rdma_connection *c)
{
    return atomic_load_explicit(&c->broken, memory_order_acquire) != 0;
}

static struct rdma_hello hello_of(uint32_t from, uint32_t lcore)
{
    return (struct rdma_hello){.version = RDMA_HELLO_VERSION,
                               .lcore = (uint16_t)lcore,
                               .from = from,
                               .to = CM_OWN,
                               .cluster = CM_CLUSTER,
                               .number = NUMBER_0 + cm.peer_count + 1,
                               .messages = 4,
                               .address = 64,
                               .message_bytes = 4096};
}

static struct cm_peer *asked_by_peer(uint32_t lcore)
{
    const struct rdma_hello h = hello_of(CM_ASKS, lcore);
    return cm_asked(CM_ASKS, &h);
}

static void established(struct cm_peer *p)
{
    cm_established(p);
    cm_pass();
}

/* The lcore has it. */
static struct rdma_connection *taken(struct rdma_link *link)
{
    struct rdma_connection *c = rdma_link_take(link);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_TRUE(was_woken(link));
    return c;
}

static struct rdma_connection *connected(struct rdma_link *link)
{
    struct cm_peer *p = asked_by_peer(link->config.lcore);
    cm_pass();
    established(p);
    cm.done[0] = '\0';
    return taken(link);
}

/* ---- tests ---- */

/* A peer that restarted, or whose end broke: we hear of that by its request alone, and it asks until it is answered. */
static void who_asks_again_ends_the_connection_before(void)
{
    cm_begin();
    struct rdma_link *link = link_to(CM_ASKS, 0);
    struct rdma_connection *c = connected(link);
    uint32_t number = c->number;
    (void)asked_by_peer(0);
    cm_pass();
    was_done("reject 2, destroy 2");
    CU_ASSERT(is_broken(c) && was_woken(link));
    /* It is the lcore's, whole, until it gives it back. */
    CU_ASSERT(cm.peers[1].has_qp && c->qp == &cm.peers[1].qp && link->connection == c);
    CU_ASSERT(c->peer_number == NUMBER_0 + 1 && !rdma_link_is_gone(link));
    (void)asked_by_peer(0);
    cm_pass();
    was_done("reject 3, destroy 3");
    rdma_link_retire(link);
    (void)asked_by_peer(0);
    cm_pass();
    was_done("reject 4, destroy 4, disconnect 1, no qp 1, destroy 1");
    CU_ASSERT_TRUE(rdma_link_is_gone(link));
    /* What it had under way may be looked at. */
    (void)asked_by_peer(0);
    cm_pass();
    was_done("reject 5, destroy 5");
    CU_ASSERT(rdma_link_is_gone(link) && cm.resources == CM_RESOURCES);
    rdma_link_free(link);
    (void)was_woken(link);
    established(asked_by_peer(0)); /* both in one pass: as fast as it goes */
    was_done("qp 6, accept 6");
    c = taken(link);
    CU_ASSERT(c->number == number + 1 && cm.answer.number == c->number && !is_broken(c));
    CU_ASSERT(c->peer_number == NUMBER_0 + 6 && cm.resources == CM_RESOURCES);
    CU_ASSERT_EQUAL(shown(&cm_port.shown.refusals), 4);
    CU_ASSERT_EQUAL(shown(&cm_port.shown.broken), 1);
    CU_ASSERT_EQUAL(shown(&cm_port.shown.connections), 2);
    cm_end();
}

/* The lcore has not looked for it yet: it finds one that is over, and gives it back. */
static void one_that_nobody_took_is_over_too(void)
{
    cm_begin();
    struct rdma_link *link = link_to(CM_ASKS, 0);
    struct cm_peer *first = asked_by_peer(0);
    cm_pass();
    established(first);
    CU_ASSERT_TRUE(was_woken(link));
    was_done("qp 1, accept 1");
    (void)asked_by_peer(0);
    cm_pass();
    was_done("reject 2, destroy 2");
    const struct rdma_connection *c = taken(link);
    CU_ASSERT_TRUE(is_broken(c));
    rdma_link_retire(link);
    cm_pass();
    was_done("disconnect 1, no qp 1, destroy 1");
    rdma_link_free(link);
    cm_pass();
    CU_ASSERT_EQUAL(cm.resources, 0);
    (void)asked_by_peer(0);
    cm_pass();
    was_done("qp 3, accept 3");
    cm_end();
}

/* An answer that its peer did not wait for: no lcore knows of it, so it goes at once, and before the next one is there. */
static void an_attempt_gives_way_at_once(void)
{
    cm_begin();
    struct rdma_link *link = link_to(CM_ASKS, 0);
    (void)asked_by_peer(0);
    cm_pass();
    was_done("qp 1, accept 1");
    struct cm_peer *second = asked_by_peer(0);
    cm_pass();
    was_done("disconnect 1, no qp 1, destroy 1, qp 2, accept 2");
    CU_ASSERT(cm.resources == CM_RESOURCES && cm_port.connection_count == 1 && !was_woken(link));
    established(second);
    const struct rdma_connection *c = taken(link);
    CU_ASSERT(c->peer_number == NUMBER_0 + 2 && cm.answer.number == c->number && !is_broken(c));
    CU_ASSERT_EQUAL(shown(&cm_port.shown.refusals), 0);
    cm_end();
}

/* The next one is not answered while the device still has it. */
static void an_attempt_that_cannot_go_is_waited_for(void)
{
    cm_begin();
    struct rdma_link *link = link_to(CM_ASKS, 0);
    (void)asked_by_peer(0);
    cm_pass();
    was_done("qp 1, accept 1");
    cm.destroy_error = EBUSY;
    (void)asked_by_peer(0);
    cm_pass();
    was_done("disconnect 1, reject 2, destroy 2");
    CU_ASSERT(cm_port.connection_count == 1 && shown(&cm_port.shown.refusals) == 1);
    cm.destroy_error = 0;
    cm_pass();
    was_done(""); /* not so soon */
    cm.now_ns += NS_PER_S;
    cm_pass();
    was_done("disconnect 1, no qp 1, destroy 1");
    (void)asked_by_peer(0);
    cm_pass();
    was_done("qp 3, accept 3");
    CU_ASSERT_FALSE(was_woken(link));
    cm_end();
}

/* Others of the same peer go on; so does what we ask for ourselves. */
static void only_the_link_that_is_asked_for_is_over(void)
{
    cm_begin();
    struct rdma_link *links[2] = {link_to(CM_ASKS, 0), link_to(CM_ASKS, 1)};
    struct rdma_connection *first = connected(links[0]), *second = connected(links[1]);
    struct rdma_link *ours = link_to(CM_ASKED, 0);
    cm_pass();
    was_done("resolve 3");
    (void)asked_by_peer(1);
    cm_pass();
    was_done("reject 4, destroy 4");
    CU_ASSERT(is_broken(second) && was_woken(links[1]));
    CU_ASSERT(!is_broken(first) && !was_woken(links[0]));
    const struct rdma_hello h = hello_of(CM_ASKED, 0); /* who is to wait until we ask */
    (void)cm_asked(CM_ASKED, &h);
    cm_pass();
    was_done("reject 5, destroy 5");
    CU_ASSERT(ours->connection != NULL && ours->connection->id == &cm.peers[3].id);
    CU_ASSERT(!is_broken(first) && !was_woken(links[0]) && !was_woken(ours));
    (void)asked_by_peer(0);
    cm_pass();
    was_done("reject 6, destroy 6");
    CU_ASSERT(is_broken(first) && was_woken(links[0]) && !was_woken(links[1]));
    cm_end();
}

/* Whose words do not fit is refused, and what is there goes on. */
static void a_stranger_ends_nothing(void)
{
    cm_begin();
    struct rdma_link *link = link_to(CM_ASKS, 0);
    const struct rdma_connection *c = connected(link);
    struct rdma_hello wrongs[5];
    for (uint32_t i = 0; i < 5; i++)
        wrongs[i] = hello_of(CM_ASKS, 0);
    wrongs[0].cluster++;
    wrongs[1].from = CM_ASKED;
    wrongs[2].to = CM_ASKED;
    wrongs[3].lcore = 1;
    wrongs[4].version++;
    for (uint32_t i = 0; i < 5; i++)
        (void)cm_asked(CM_ASKS, &wrongs[i]);
    cm_pass();
    was_done("reject 2, destroy 2, reject 3, destroy 3, reject 4, destroy 4, reject 5, destroy 5, "
             "reject 6, destroy 6");
    const struct rdma_hello h = hello_of(CM_ASKS, 0);
    (void)cm_asked(CM_ASKED, &h); /* from elsewhere */
    cm_pass();
    was_done("reject 7, destroy 7");
    CU_ASSERT(!is_broken(c) && !was_woken(link) && link->connection == c && cm.peers[1].has_qp);
    CU_ASSERT_EQUAL(shown(&cm_port.shown.refusals), 6);
    cm_end();
}

static const struct unit_test tests[] = {
    UNIT_TEST(who_asks_again_ends_the_connection_before),
    UNIT_TEST(one_that_nobody_took_is_over_too),
    UNIT_TEST(an_attempt_gives_way_at_once),
    UNIT_TEST(an_attempt_that_cannot_go_is_waited_for),
    UNIT_TEST(only_the_link_that_is_asked_for_is_over),
    UNIT_TEST(a_stranger_ends_nothing),
};
UNIT_MAIN("rdma_port_connect", tests)
