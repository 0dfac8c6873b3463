/* rdma_port_guest DEVICE NETDEV ADDRESS ADDRESS ADDRESS [SCENE...] - ports of a verbs device, their connections and log
 * memory, with a real device (rxe of the guest: tests/vm/rdma_port.test.sh, which makes all that is named here, and
 * another device: see a_device_goes_and_comes).  Two nodes live in this process, or one, and one in another that is
 * killed.
 *
 * Exit 0; 1 with a word to stdout; 2. */
#include "engine/clock.h"
#include "tests/unit/dataplane/rdma_port_ends.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK (UINT64_C(2) << 20)
#define CHUNKS 4u

static const char *device, *netdev, *program;

/* ---- scenes ---- */

static void facts(void)
{
    const struct rdma_port_facts *f = rdma_port_facts(ends_a.port);
    ends_check(strcmp(f->device, device) == 0 && f->port == 1, "its device");
    ends_check(f->mtu == 4096 && f->is_ethernet, "its mtu and its kind");
    ends_check(f->queue_pairs_max != 0 && f->work_requests_max != 0 && f->registrations_max != 0,
               "its bounds");
    printf("      %s: mtu %u, %lu Mbit/s, memory windows 2B %s\n", f->device, f->mtu,
           (unsigned long)f->speed_mbps, f->memory_windows ? "yes" : "no");
}

/* Both ends have what rdma_port_connect.c asks for. */
static void attributes(const struct port_end *e)
{
    struct ibv_qp_attr attr;
    struct ibv_qp_init_attr init;
    int mask = IBV_QP_STATE | IBV_QP_PATH_MTU | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
               IBV_QP_RNR_RETRY | IBV_QP_ACCESS_FLAGS;
    ends_check(ibv_query_qp(e->c->qp, &attr, mask, &init) == 0, "a queue pair tells of itself");
    ends_check(attr.qp_state == IBV_QPS_RTS && attr.path_mtu == IBV_MTU_4096, "its path");
    ends_check(attr.timeout == RDMA_PORT_ACK_TIMEOUT && attr.retry_cnt == RDMA_PORT_RETRIES &&
                   attr.rnr_retry == 7,
               "how long it waits for its peer");
    ends_check((attr.qp_access_flags & (IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC)) == 0,
               "its peer may write only");
}

static void connects_and_carries(void)
{
    uint64_t took = ends_pair_open();
    printf("      connected after %lu us, inline %u bytes, %u requests\n",
           (unsigned long)(took / 1000), ends_a.c->inline_bytes, ends_a.c->sends);
    facts();
    ends_check(ends_a.c->peer.from == 2 && ends_b.c->peer.from == 1 &&
                   ends_a.c->peer.messages == RDMA_PORT_MESSAGES,
               "each knows the other");
    ends_check(ends_a.c->sends == RDMA_PORT_SENDS && ends_a.c->inline_bytes >= 64,
               "the device grants enough");
    ends_check(atomic_load_explicit(&rdma_port_shown(ends_a.port)->is_up, memory_order_relaxed) ==
                   1,
               "the port is up");
    ends_check(ends_shown(&rdma_port_shown(ends_a.port)->connections) == 1, "one connection");
    attributes(&ends_a);
    attributes(&ends_b);
    for (uint32_t n = 0; n < 8; n += 2) {
        ends_message(&ends_a, &ends_b, n);
        ends_message(&ends_b, &ends_a, n);
    }
    ends_pair_close();
}

static bool both_up_again(void)
{
    return ends_a.freed == 1 && ends_b.freed == 1 && ends_both_up();
}

static bool gone_a(void)
{
    return ends_a.freed != 0;
}

static void who_hears_of_the_end_retires_and_connects_again(void)
{
    (void)ends_pair_open();
    uint32_t first = ends_a.c->number;
    ends_retire(&ends_a);
    uint64_t gone = ends_await(gone_a, "what was retired goes");
    uint64_t again = ends_await(both_up_again, "they connect again");
    printf("      gone after %lu us, connected again after %lu us\n", (unsigned long)(gone / 1000),
           (unsigned long)(again / 1000));
    ends_check(ends_a.c->number != first, "by another number");
    ends_check(ends_shown(&rdma_port_shown(ends_a.port)->broken) == 1 &&
                   ends_shown(&rdma_port_shown(ends_b.port)->broken) == 1,
               "counted");
    ends_message(&ends_a, &ends_b, 0);
    ends_pair_close();
}

static bool lost_b(void)
{
    return ends_b.freed != 0;
}

static void a_port_that_closes_is_heard(void)
{
    (void)ends_pair_open();
    ends_end_close(&ends_a);
    ends_port_open(&ends_a, &(struct rdma_port_config){
                                .address = ends_address_of(ends_addresses[0], ENDS_UDP_PORT),
                                .node = 1,
                                .cluster = ENDS_CLUSTER,
                                .lcore_count = 1,
                                .message_bytes = ENDS_MESSAGE_BYTES});
    (void)ends_await(lost_b, "the other end hears of it");
    ends_link_open(&ends_a, 2, ends_addresses[1]);
    (void)ends_await(ends_both_up, "its next start connects");
    ends_pair_close();
}

/* A peer may write to the inlet, and to nothing else. */
static void only_the_inlet_may_be_written_to(void)
{
    (void)ends_pair_open();
    struct ends_target t = ends_from_send(&ends_a, 8);
    t.key = ends_a.c->peer.key;
    t.address = ends_a.c->peer.address;
    ends_post(&ends_a, IBV_WR_RDMA_WRITE, &t);
    ends_check(ends_done(&ends_a) == IBV_WC_SUCCESS, "credit may be written");
    t.address = (uintptr_t)ends_b.c->received;
    ends_post(&ends_a, IBV_WR_RDMA_WRITE, &t);
    enum ibv_wc_status status = ends_done(&ends_a);
    ends_check(status == IBV_WC_REM_ACCESS_ERR || status == IBV_WC_REM_INV_REQ_ERR,
               "memory of messages may not");
    ends_retire(&ends_a);
    (void)ends_await(both_up_again, "they connect again after that");
    ends_pair_close();
}

/* ---- log memory ---- */

static uint8_t *arena(void)
{
    void *memory =
        mmap(NULL, CHUNKS * CHUNK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ends_check(memory != MAP_FAILED, "memory");
    return memory;
}

static bool has(const struct port_end *e, const uint8_t *memory, uint64_t bytes)
{
    struct rdma_keys keys;
    return rdma_port_keys(e->port, memory, bytes, &keys);
}

static enum ibv_wc_status log_write(const uint8_t *from, const uint8_t *to, uint32_t remote)
{
    struct rdma_keys keys;
    ends_check(rdma_port_keys(ends_a.port, from, 1000, &keys), "the leader has its own memory");
    struct ends_target t = {
        .from = from, .length = 1000, .local = keys.local, .address = (uintptr_t)to, .key = remote};
    ends_post(&ends_a, IBV_WR_RDMA_WRITE, &t);
    return ends_done(&ends_a);
}

static void ranges_are_judged(uint8_t *base)
{
    ends_check(rdma_port_range_open(ends_a.port, base, CHUNKS * CHUNK, CHUNK - 1) == -EINVAL,
               "chunks are a power of two");
    ends_check(rdma_port_range_open(ends_a.port, base, CHUNK + 1, CHUNK) == -EINVAL, "whole ones");
    ends_check(rdma_port_range_open(ends_a.port, base, CHUNKS * CHUNK, CHUNK) == 0, "a range");
    ends_check(rdma_port_range_open(ends_a.port, base, CHUNK, CHUNK) == -EEXIST, "is there");
    ends_check(rdma_port_range_open(ends_a.port, base + CHUNK, CHUNK, CHUNK) == -EEXIST, "in part");
    ends_check(!has(&ends_a, base, 1), "a range has no chunk");
}

static void log_memory_is_written_where_it_is_mapped(void)
{
    uint8_t *ours = arena(), *theirs = arena();
    struct rdma_keys keys;
    (void)ends_pair_open();
    ranges_are_judged(ours);
    ends_check(rdma_port_range_open(ends_b.port, theirs, CHUNKS * CHUNK, CHUNK) == 0, "a range");
    ends_check(rdma_port_map(ends_a.port, ours + CHUNK) == 0 &&
                   rdma_port_map(ends_b.port, theirs) == 0 &&
                   rdma_port_map(ends_b.port, theirs + CHUNK) == 0,
               "chunks are mapped");
    ends_check(ends_shown(&rdma_port_shown(ends_b.port)->chunks) == 2, "counted");
    ends_check(has(&ends_a, ours + CHUNK, CHUNK) && !has(&ends_a, ours, 1) &&
                   !has(&ends_a, ours + 2 * CHUNK, 1),
               "that one");
    ends_check(has(&ends_b, theirs + CHUNK - 8, 8) && !has(&ends_b, theirs + CHUNK - 8, 9),
               "within one chunk");
    ends_check(!has(&ends_b, ours + CHUNK, 1), "each its own");
    memset(ours + CHUNK, 0x5a, 1000);
    ends_check(rdma_port_keys(ends_b.port, theirs + 64, 1000, &keys), "keys");
    ends_check(log_write(ours + CHUNK, theirs + 64, keys.remote) == IBV_WC_SUCCESS, "a log write");
    ends_check(memcmp(theirs + 64, ours + CHUNK, 1000) == 0 && theirs[63] == 0 && theirs[1064] == 0,
               "its bytes are there, and no others");
    rdma_port_unmap(ends_b.port, theirs);
    ends_check(!has(&ends_b, theirs, 1) && has(&ends_b, theirs + CHUNK, 1), "unmapped");
    ends_check(log_write(ours + CHUNK, theirs + 2048, keys.remote) != IBV_WC_SUCCESS,
               "nobody writes there any more");
    ends_check(theirs[2048] == 0, "nothing is there");
    rdma_port_unmap(ends_b.port, theirs + CHUNK);
    rdma_port_unmap(ends_a.port, ours + CHUNK);
    rdma_port_range_close(ends_b.port, theirs);
    rdma_port_range_close(ends_a.port, ours);
    ends_check(rdma_port_range_open(ends_a.port, theirs, CHUNK, CHUNK / 2) == 0,
               "its place is used again");
    ends_check(rdma_port_map(ends_a.port, theirs + CHUNK / 2) == 0 &&
                   has(&ends_a, theirs + CHUNK / 2, 1),
               "with other chunks");
    rdma_port_unmap(ends_a.port, theirs + CHUNK / 2);
    rdma_port_range_close(ends_a.port, theirs);
    ends_pair_close();
    (void)munmap(ours, CHUNKS * CHUNK);
    (void)munmap(theirs, CHUNKS * CHUNK);
}

/* ---- who is refused ---- */

static uint64_t refusals_before;

static bool refused_b(void)
{
    return ends_shown(&rdma_port_shown(ends_b.port)->refusals) >= refusals_before + 2;
}

/* Node 2 knows node 1 at the first address.  Somebody else asks it. */
static void refused(const struct rdma_port_config *config, const char *what)
{
    struct rdma_port_config two = ends_config_of(2, ends_addresses[1]);
    ends_port_open(&ends_b, &two);
    ends_link_open(&ends_b, 1, ends_addresses[0]);
    ends_port_open(&ends_a, config);
    ends_link_open(&ends_a, 2, ends_addresses[1]);
    refusals_before = 0;
    (void)ends_await_shown(refused_b, what);
    ends_check(ends_a.taken == 0 && ends_b.taken == 0, "nobody has a connection");
    ends_check(ends_shown(&rdma_port_shown(ends_a.port)->failures) != 0, "who asks knows");
    ends_pair_close();
}

static void strangers_are_refused(void)
{
    struct rdma_port_config c = ends_config_of(0, ends_addresses[0]);
    refused(&c, "an unknown node");
    c = ends_config_of(1, ends_addresses[2]);
    refused(&c, "a node at another address");
    c = ends_config_of(1, ends_addresses[0]);
    c.cluster++;
    refused(&c, "another cluster");
}

static void hostile_hellos_are_refused(void)
{
    uint8_t hello[RDMA_HELLO_BYTES];
    struct rdma_port_config two = ends_config_of(2, ends_addresses[1]);
    struct rdma_hello h = {.version = RDMA_HELLO_VERSION,
                           .from = 1,
                           .to = 2,
                           .cluster = ENDS_CLUSTER,
                           .number = 1,
                           .messages = 256,
                           .address = 64,
                           .message_bytes = ENDS_MESSAGE_BYTES};
    ends_port_open(&ends_b, &two);
    ends_link_open(&ends_b, 1, ends_addresses[0]);
    memset(hello, 0xff, sizeof hello);
    ends_check(ends_asked(hello, sizeof hello) == RDMA_CM_EVENT_REJECTED, "noise is refused");
    ends_check(ends_asked(NULL, 0) == RDMA_CM_EVENT_REJECTED, "silence is refused");
    h.lcore = 1;
    rdma_hello_encode(&h, hello);
    ends_check(ends_asked(hello, sizeof hello) == RDMA_CM_EVENT_REJECTED,
               "a link that is not there");
    h.lcore = 0;
    h.version++;
    rdma_hello_encode(&h, hello);
    ends_check(ends_asked(hello, sizeof hello) == RDMA_CM_EVENT_REJECTED, "another version");
    ends_check(ends_shown(&rdma_port_shown(ends_b.port)->refusals) == 4, "all were counted");
    h.version--;
    rdma_hello_encode(&h, hello);
    ends_check(ends_asked(hello, sizeof hello) == RDMA_CM_EVENT_CONNECT_RESPONSE,
               "a sound one is answered");
    /* Its asker left without a word more. */
    struct rdma_port_config one = ends_config_of(1, ends_addresses[0]);
    ends_port_open(&ends_a, &one);
    ends_link_open(&ends_a, 2, ends_addresses[1]);
    (void)ends_await(ends_both_up, "who means it connects");
    ends_pair_close();
}

/* ---- links that come and go ---- */

static bool tried(void)
{
    const struct rdma_port_shown *s = rdma_port_shown(ends_a.port);
    return ends_shown(&s->failures) >= 2;
}

static void links_close_whatever_they_do(void)
{
    struct rdma_port_config one = ends_config_of(1, ends_addresses[0]);
    ends_port_open(&ends_a, &one);
    ends_link_open(&ends_a, 2, ends_addresses[1]);
    struct rdma_link *first = ends_a.link;
    ends_check(ends_link_try(&ends_a, 2, ends_addresses[1]) == -EEXIST, "a link is there once");
    ends_a.link = first;
    (void)ends_await_shown(tried, "nobody answers");
    rdma_link_close(ends_a.link);
    ends_link_open(&ends_a, 2, "10.99.0.99"); /* on the link, and nobody: it is being looked for */
    rdma_link_close(ends_a.link);
    ends_link_open(&ends_a, 2, ends_addresses[1]);
    struct rdma_port_config two = ends_config_of(2, ends_addresses[1]);
    ends_port_open(&ends_b, &two);
    ends_link_open(&ends_b, 1, ends_addresses[0]);
    (void)ends_await(ends_both_up, "they connect after all");
    rdma_link_close(ends_a.link); /* as it was taken */
    ends_a.link = NULL;
    ends_a.c = NULL;
    (void)ends_await(lost_b, "the other end hears of it");
    ends_link_open(&ends_a, 2, ends_addresses[1]);
    (void)ends_await(ends_both_up, "and again");
    ends_pair_close();
}

/* ---- another process ---- */

static pid_t peer_start(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        char *const words[] = {(char *)program,
                               (char *)device,
                               (char *)netdev,
                               (char *)ends_addresses[0],
                               (char *)ends_addresses[1],
                               (char *)ends_addresses[2],
                               "peer",
                               NULL};
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)execv(program, words);
        _exit(2);
    }
    ends_check(pid > 0, "another process");
    return pid;
}

static void peer(void)
{
    struct rdma_port_config two = ends_config_of(2, ends_addresses[1]);
    ends_port_open(&ends_b, &two);
    ends_link_open(&ends_b, 1, ends_addresses[0]);
    for (;;) {
        ends_pass(&ends_b);
        (void)usleep(1000);
    }
}

static bool up_a(void)
{
    return ends_usable(&ends_a);
}

static void a_killed_process_is_heard_and_its_next_start_connects(void)
{
    struct rdma_port_config one = ends_config_of(1, ends_addresses[0]);
    ends_port_open(&ends_a, &one);
    ends_link_open(&ends_a, 2, ends_addresses[1]);
    for (uint32_t i = 1; i <= 3; i++) {
        pid_t pid = peer_start();
        (void)ends_await(up_a, "another process connects");
        ends_check(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid, "it is killed");
        ends_a.freed = 0;
        uint64_t heard = ends_await(gone_a, "it is heard");
        printf("      heard of, retired and gone after %lu us\n", (unsigned long)(heard / 1000));
    }
    ends_end_close(&ends_a);
}

/* ---- the device ---- */

static void command(const char *format)
{
    char words[256];
    (void)snprintf(words, sizeof words, format, device, netdev);
    ends_check(system(words) == 0, words);
}

static bool down_shown(void)
{
    return atomic_load_explicit(&rdma_port_shown(ends_a.port)->is_up, memory_order_relaxed) == 0;
}

static bool up_shown(void)
{
    return !down_shown();
}

static void cable_put_back(void)
{
    command("sleep 0.5; ip link set %2$s up");
    (void)ends_await_shown(up_shown, "that it is up again");
    uint64_t again = ends_await(ends_both_up, "they connect again");
    printf("      connected again %lu ms after it was up\n", (unsigned long)(again / NS_PER_MS));
}

static void a_cable_is_pulled_and_put_back(void)
{
    struct ibv_wc wc;
    (void)ends_pair_open();
    command("ip link set %2$s down");
    (void)ends_await_shown(down_shown, "a port that is down is shown");
    struct ends_target t = ends_from_send(&ends_a, 64);
    ends_post(&ends_a, IBV_WR_SEND_WITH_IMM, &t);
    ends_completion(&ends_a, &wc);
    printf("      a SEND with the port down: %s\n", ibv_wc_status_str(wc.status));
    ends_check(wc.status != IBV_WC_SUCCESS, "what is sent meanwhile fails");
    ends_retire(&ends_a);
    (void)ends_await(gone_a, "what was retired goes");
    cable_put_back();
    ends_check(ends_shown(&rdma_port_shown(ends_a.port)->downs) == 1 &&
                   ends_shown(&rdma_port_shown(ends_a.port)->ups) == 2,
               "counted");
    ends_pair_close();
}

/* Writes of that end fail from the moment on at which its network device is down, before anybody is told so. */
static void written_until_it_fails(struct port_end *e)
{
    struct ends_target t = ends_from_send(e, 64);
    t.address = e->c->peer.address + offsetof(struct rdma_inlet, ring);
    t.key = e->c->peer.key;
    do
        ends_post(e, IBV_WR_RDMA_WRITE, &t);
    while (ends_done(e) == IBV_WC_SUCCESS);
    ends_retire(e);
}

/* Why several times: what goes wrong does so within the time that the system takes to shut an interface. */
static void a_cable_is_pulled_from_under_writes(void)
{
    (void)ends_pair_open();
    for (uint32_t i = 0; i < 6; i++) {
        command("(sleep 0.2; ip link set %2$s down) &");
        written_until_it_fails(i % 2 == 0 ? &ends_a : &ends_b);
        (void)ends_await_shown(down_shown, "a port that is down is shown");
        cable_put_back();
    }
    ends_pair_close();
}

static bool lost_both(void)
{
    return ends_a.freed != 0 && ends_b.freed != 0;
}

/* Why it needs another device to be there: librdmacm does not let go of the last one, and rxe waits for that. */
static void device_take(uint32_t times)
{
    int status;
    ends_a.freed = ends_b.freed = 0;
    pid_t pid = fork();
    if (pid == 0) {
        (void)execlp("rdma", "rdma", "link", "delete", device, NULL);
        _exit(2);
    }
    (void)ends_await(lost_both, "a device that goes is heard");
    ends_check(waitpid(pid, &status, 0) == pid && status == 0, "it is let go");
    ends_check(ends_shown(&rdma_port_shown(ends_a.port)->removals) == times, "counted");
}

static void device_put(void)
{
    command("rdma link add %1$s type rxe netdev %2$s");
    uint64_t took = ends_await(ends_both_up, "they connect over the next one");
    printf("      connected %lu ms after the device was back\n", (unsigned long)(took / NS_PER_MS));
}

static void a_device_goes_and_comes(void)
{
    uint8_t *ours = arena(), *theirs = arena();
    struct rdma_keys keys;
    (void)ends_pair_open();
    ends_check(rdma_port_range_open(ends_a.port, ours, CHUNKS * CHUNK, CHUNK) == 0 &&
                   rdma_port_range_open(ends_b.port, theirs, CHUNKS * CHUNK, CHUNK) == 0,
               "ranges");
    ends_check(rdma_port_map(ends_a.port, ours) == 0 && rdma_port_map(ends_b.port, theirs) == 0,
               "chunks");
    device_take(1);
    ends_check(!has(&ends_a, ours, 1) && !has(&ends_b, theirs, 1), "it has no memory any more");
    ends_check(rdma_port_map(ends_a.port, ours + CHUNK) == 0, "a chunk for the next one");
    rdma_port_unmap(ends_a.port, ours);
    ends_check(rdma_port_map(ends_a.port, ours) == 0, "and one that it had");
    device_put();
    ends_check(has(&ends_a, ours, 1) && has(&ends_a, ours + CHUNK, 1) && has(&ends_b, theirs, 1),
               "it has the memory");
    memset(ours, 0x77, 1000);
    ends_check(rdma_port_keys(ends_b.port, theirs, 1000, &keys) &&
                   log_write(ours, theirs, keys.remote) == IBV_WC_SUCCESS && theirs[999] == 0x77,
               "a log write over it");
    for (uint32_t times = 2; times <= 4; times++) {
        ends_message(&ends_b, &ends_a, 0);
        device_take(times);
        device_put();
    }
    rdma_port_unmap(ends_a.port, ours);
    rdma_port_unmap(ends_a.port, ours + CHUNK);
    rdma_port_unmap(ends_b.port, theirs);
    rdma_port_range_close(ends_a.port, ours);
    rdma_port_range_close(ends_b.port, theirs);
    ends_pair_close();
    (void)munmap(ours, CHUNKS * CHUNK);
    (void)munmap(theirs, CHUNKS * CHUNK);
}

static void what_cannot_be_opened_is_said(void)
{
    struct rdma_port *port;
    struct rdma_port_config c = ends_config_of(1, "127.0.0.1");
    ends_check(rdma_port_open(&port, &c) == -ENODEV, "an address without a device");
    c = ends_config_of(1, "10.98.0.1");
    ends_check(rdma_port_open(&port, &c) == -ENODEV, "an address that is not here");
    c = ends_config_of(1, ends_addresses[0]);
    c.lcore_count = 0;
    ends_check(rdma_port_open(&port, &c) == -EINVAL, "no lcore");
    c = ends_config_of(1, ends_addresses[0]);
    c.message_bytes = 100;
    ends_check(rdma_port_open(&port, &c) == -EINVAL, "an odd length");
    c = ends_config_of(1, ends_addresses[0]);
    c.messages = 3;
    ends_check(rdma_port_open(&port, &c) == -EINVAL, "odd places");
    c = ends_config_of(1, ends_addresses[0]);
    c.ack_timeout = RDMA_PORT_ACK_TIMEOUT_MAX + 1;
    ends_check(rdma_port_open(&port, &c) == -EINVAL, "a timeout that cannot be told");
    c = ends_config_of(1, ends_addresses[0]);
    ends_port_open(&ends_a, &c);
    ends_check(rdma_port_open(&port, &c) == -EADDRINUSE, "an address that is taken");
    ends_end_close(&ends_a);
}

static const struct {
    const char *name;
    void (*run)(void);
} scenes[] = {
    {"open", what_cannot_be_opened_is_said},
    {"connect", connects_and_carries},
    {"retire", who_hears_of_the_end_retires_and_connects_again},
    {"close", a_port_that_closes_is_heard},
    {"inlet", only_the_inlet_may_be_written_to},
    {"memory", log_memory_is_written_where_it_is_mapped},
    {"windows", ends_scene_windows},
    {"strangers", strangers_are_refused},
    {"hello", hostile_hellos_are_refused},
    {"links", links_close_whatever_they_do},
    {"killed", a_killed_process_is_heard_and_its_next_start_connects},
    {"cable", a_cable_is_pulled_and_put_back},
    {"cable-busy", a_cable_is_pulled_from_under_writes},
    {"device", a_device_goes_and_comes},
};

static bool is_wanted(const char *name, int count, char **names)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return count == 0;
}

int main(int argc, char **argv)
{
    if (argc < 6)
        return 2;
    program = argv[0];
    device = argv[1];
    netdev = argv[2];
    for (uint32_t i = 0; i < 3; i++)
        ends_addresses[i] = argv[3 + i];
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 7 && strcmp(argv[6], "peer") == 0)
        peer();
    for (uint32_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++)
        if (is_wanted(scenes[i].name, argc - 6, argv + 6)) {
            scenes[i].run();
            printf("ok    %s\n", scenes[i].name);
        }
    return 0;
}
