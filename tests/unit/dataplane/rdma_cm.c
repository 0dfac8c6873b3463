#include "tests/unit/dataplane/rdma_cm.h"

#include "tests/unit/unit.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS (2 * CM_PEERS)

/* ---- librdmacm and verbs ---- */

struct cm cm;
struct rdma_port cm_port;
static struct rdma_cm_event events[EVENTS];
static uint32_t event_head, event_tail, acknowledged;
static bool one_pass;
static struct rdma_cm_id listening;
static struct rdma_event_channel channel;
static struct ibv_context context;
static struct ibv_pd pd = {.context = &context};

static void did(const char *what, const struct cm_peer *p)
{
    size_t length = strlen(cm.done);
    int got = snprintf(cm.done + length, sizeof cm.done - length, "%s%s %u",
                       length != 0 ? ", " : "", what, (unsigned)(p - cm.peers));
    cm.wrong += (size_t)got >= sizeof cm.done - length;
}

static struct cm_peer *peer_of(struct rdma_cm_id *id)
{
    struct cm_peer *p = (struct cm_peer *)(void *)id;
    cm.wrong += p->destroyed;
    return p;
}

static struct cm_peer *peer_new(void)
{
    struct cm_peer *p = &cm.peers[++cm.peer_count % CM_PEERS];
    cm.wrong += cm.peer_count >= CM_PEERS;
    *p = (struct cm_peer){.id = {.verbs = &context, .channel = &channel},
                          .qp = {.context = &context, .qp_context = p}};
    return p;
}

int rdma_create_id(struct rdma_event_channel *of, struct rdma_cm_id **id, void *owner,
                   enum rdma_port_space space)
{
    cm.wrong += of != &channel || space != RDMA_PS_TCP;
    *id = &peer_new()->id;
    (*id)->context = owner;
    return 0;
}

int rdma_destroy_id(struct rdma_cm_id *id)
{
    struct cm_peer *p = peer_of(id);
    cm.wrong += p->has_qp || acknowledged != event_head; /* it would wait for that for ever */
    did("destroy", p);
    p->destroyed = true;
    return 0;
}

int rdma_set_option(struct rdma_cm_id *id, int level, int name, void *value, size_t length)
{
    (void)peer_of(id);
    cm.wrong += level != RDMA_OPTION_ID || name != RDMA_OPTION_ID_ACK_TIMEOUT || value == NULL ||
                length != 1;
    return 0;
}

int rdma_resolve_addr(struct rdma_cm_id *id, struct sockaddr *from, struct sockaddr *to, int ms)
{
    cm.wrong += from->sa_family != AF_INET || to->sa_family != AF_INET || ms <= 0;
    did("resolve", peer_of(id));
    return 0;
}

int rdma_resolve_route(struct rdma_cm_id *id, int ms)
{
    (void)ms;
    did("route", peer_of(id));
    return 0;
}

int rdma_connect(struct rdma_cm_id *id, struct rdma_conn_param *p)
{
    (void)p;
    did("connect", peer_of(id));
    return 0;
}

int rdma_create_qp(struct rdma_cm_id *id, struct ibv_pd *of, struct ibv_qp_init_attr *attr)
{
    struct cm_peer *p = peer_of(id);
    cm.wrong += of != &pd || p->has_qp || attr->cap.max_send_wr != cm_port.sends;
    did("qp", p);
    p->has_qp = true;
    id->qp = &p->qp;
    return 0;
}

int rdma_accept(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
    struct cm_peer *p = peer_of(id);
    cm.wrong += !p->has_qp || p->recvs != cm_port.messages ||
                rdma_hello_decode(&cm.answer, param->private_data, param->private_data_len) != 0;
    did("accept", p);
    return 0;
}

int rdma_reject(struct rdma_cm_id *id, const void *words, uint8_t length)
{
    (void)words;
    cm.wrong += length != 0;
    did("reject", peer_of(id));
    return 0;
}

int rdma_disconnect(struct rdma_cm_id *id)
{
    did("disconnect", peer_of(id));
    return 0;
}

int rdma_get_cm_event(struct rdma_event_channel *of, struct rdma_cm_event **event)
{
    cm.wrong += of != &channel;
    errno = EAGAIN;
    if (event_head == event_tail)
        return -1;
    *event = &events[event_head++];
    return 0;
}

int rdma_ack_cm_event(struct rdma_cm_event *event)
{
    cm.wrong += event != &events[acknowledged++];
    return 0;
}

const char *rdma_event_str(enum rdma_cm_event_type type)
{
    (void)type;
    return "event";
}

static void *resource_new(size_t bytes)
{
    cm.resources++;
    return calloc(1, bytes);
}

static int resource_free(void *r)
{
    cm.resources--;
    free(r);
    return 0;
}

#undef ibv_reg_mr
struct ibv_mr *ibv_reg_mr(struct ibv_pd *of, void *from, size_t length, int access)
{
    cm.wrong += of != &pd || from == NULL || length == 0 || (access & IBV_ACCESS_REMOTE_READ) != 0;
    return resource_new(sizeof(struct ibv_mr));
}

/* libibverbs' own macro names it, for flags that nobody uses here. */
struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *of, void *from, size_t length, uint64_t iova,
                                unsigned int access)
{
    cm.wrong++;
    return iova == 0 ? NULL : ibv_reg_mr(of, from, length, (int)access);
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
    return resource_free(mr);
}

struct ibv_comp_channel *ibv_create_comp_channel(struct ibv_context *of)
{
    struct ibv_comp_channel *c = resource_new(sizeof *c);
    cm.wrong += of != &context;
    c->fd = cm_port.event_fd; /* one that can be set not to block, and is so already */
    return c;
}

int ibv_destroy_comp_channel(struct ibv_comp_channel *c)
{
    return resource_free(c);
}

struct ibv_cq *ibv_create_cq(struct ibv_context *of, int entries, void *owner,
                             struct ibv_comp_channel *c, int vector)
{
    cm.wrong += of != &context || entries <= 0 || owner == NULL || c == NULL || vector != 0;
    return resource_new(sizeof(struct ibv_cq));
}

int ibv_destroy_cq(struct ibv_cq *cq)
{
    return resource_free(cq);
}

int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
    const struct cm_peer *p = qp->qp_context;
    cm.wrong += !p->has_qp || mask != IBV_QP_STATE || attr->qp_state != IBV_QPS_ERR;
    return 0;
}

int ibv_destroy_qp(struct ibv_qp *qp)
{
    struct cm_peer *p = qp->qp_context;
    cm.wrong += !p->has_qp;
    if (cm.destroy_error != 0)
        return cm.destroy_error;
    did("no qp", p);
    p->has_qp = false;
    return 0;
}

static int post_recv(struct ibv_qp *qp, struct ibv_recv_wr *w, struct ibv_recv_wr **bad)
{
    struct cm_peer *p = qp->qp_context;
    (void)bad;
    cm.wrong += !p->has_qp || w->next != NULL;
    p->recvs++;
    return 0;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *to);
int __wrap_clock_gettime(clockid_t clock, struct timespec *to)
{
    (void)clock;
    *to = (struct timespec){.tv_sec = (time_t)(cm.now_ns / NS_PER_S),
                            .tv_nsec = (long)(cm.now_ns % NS_PER_S)};
    return 0;
}

/* ---- the port's other files ---- */

int rdma_port_failed(struct rdma_port *p, const char *call, int error)
{
    cm.wrong += call == NULL;
    rdma_port_count(&p->shown.errors);
    return error != 0 ? -error : -EIO;
}

void rdma_port_kick(struct rdma_port *p)
{
    (void)eventfd_write(p->event_fd, 1);
}

int rdma_port_begin(struct rdma_port *p)
{
    cm.wrong += p != &cm_port;
    return 0;
}

int rdma_device_open(struct rdma_port *p)
{
    cm.wrong += p == &cm_port; /* it is there */
    return -ENODEV;
}

void rdma_device_close(struct rdma_port *p)
{
    cm.wrong += p == &cm_port;
}

bool rdma_device_heard(struct rdma_port *p)
{
    return p != &cm_port;
}

bool rdma_device_is_active(struct rdma_port *p)
{
    return p == &cm_port;
}

void rdma_contexts_forget(void)
{
}

bool rdma_same_host(const struct sockaddr *a, const struct sockaddr_storage *b)
{
    return ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr ==
           ((const struct sockaddr_in *)b)->sin_addr.s_addr;
}

void rdma_memory_lost(struct rdma_port *p)
{
    cm.wrong += p == &cm_port;
}

void rdma_memory_regain(struct rdma_port *p)
{
    cm.wrong += p == &cm_port;
}

/* The last thing of a pass. */
bool rdma_memory_sweep(struct rdma_port *p)
{
    if (one_pass)
        atomic_store_explicit(&p->stops, 1, memory_order_relaxed); /* of its own thread */
    return false;
}

void rdma_windows_make(struct rdma_port *p, struct rdma_connection *c)
{
    cm.wrong += p != &cm_port || c->window_count != 0;
}

int rdma_windows_free(struct rdma_port *p, struct rdma_connection *c)
{
    cm.wrong += p != &cm_port || c->window_count != 0;
    return 0;
}

/* ---- a port and its links ---- */

struct sockaddr_storage cm_address_of(uint32_t node)
{
    struct sockaddr_storage s = {0};
    *(struct sockaddr_in *)&s = (struct sockaddr_in){.sin_family = AF_INET,
                                                     .sin_port = htons(7000),
                                                     .sin_addr.s_addr = htonl(0x0a630000 + node)};
    return s;
}

static void thread_start(bool for_one_pass)
{
    one_pass = for_one_pass;
    cm_port.has_begun = false;
    atomic_store_explicit(&cm_port.stops, 0, memory_order_relaxed); /* of nobody else now */
    CU_ASSERT_EQUAL_FATAL(rdma_thread_start(&cm_port), 0);
}

/* Why there is one, whole: the thread has the lock from its begin to the end of its first pass. */
void cm_pass(void)
{
    thread_start(true);
    rdma_thread_stop(&cm_port);
    CU_ASSERT_EQUAL(event_head, event_tail);
}

void cm_begin(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    memset(&cm_port, 0, sizeof cm_port);
    cm = (struct cm){.now_ns = NS_PER_S};
    event_head = event_tail = acknowledged = 0;
    context.ops.post_recv = post_recv;
    listening.verbs = &context;
    pthread_mutex_init(&cm_port.lock, NULL);
    pthread_cond_init(&cm_port.closed, NULL);
    pthread_cond_init(&cm_port.begun, NULL);
    cm_port.config = (struct rdma_port_config){.address = cm_address_of(CM_OWN),
                                               .node = CM_OWN,
                                               .cluster = CM_CLUSTER,
                                               .lcore_count = 2,
                                               .message_bytes = 4096};
    cm_port.channel = &channel;
    cm_port.listen = &listening;
    cm_port.pd = &pd;
    cm_port.messages = 4;
    cm_port.sends = 8;
    cm_port.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    cm_port.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    CU_ASSERT_EQUAL_FATAL(epoll_ctl(cm_port.epoll_fd, EPOLL_CTL_ADD, cm_port.event_fd, &event), 0);
}

void cm_end(void)
{
    thread_start(false);
    while (cm_port.link_count != 0) {
        int wake_fd = cm_port.links[0]->config.wake_fd;
        rdma_link_close(cm_port.links[0]);
        (void)close(wake_fd);
    }
    rdma_thread_stop(&cm_port);
    CU_ASSERT(cm.wrong == 0 && cm.resources == 0 && cm_port.connection_count == 0);
    for (uint32_t i = 1; i <= cm.peer_count; i++)
        CU_ASSERT(cm.peers[i].destroyed && !cm.peers[i].has_qp);
    (void)close(cm_port.epoll_fd);
    (void)close(cm_port.event_fd);
    pthread_cond_destroy(&cm_port.begun);
    pthread_cond_destroy(&cm_port.closed);
    pthread_mutex_destroy(&cm_port.lock);
}

/* ---- peers ---- */

static struct rdma_cm_event *event_new(struct rdma_cm_id *id, enum rdma_cm_event_type type)
{
    struct rdma_cm_event *event = &events[event_tail++];
    CU_ASSERT_FATAL(event_tail <= EVENTS);
    *event = (struct rdma_cm_event){.id = id, .listen_id = &listening, .event = type};
    return event;
}

struct cm_peer *cm_asked(uint32_t at, const struct rdma_hello *h)
{
    struct cm_peer *p = peer_new();
    const struct sockaddr_storage address = cm_address_of(at);
    memcpy(&p->id.route.addr.dst_storage, &address, sizeof address);
    rdma_hello_encode(h, p->hello);
    struct rdma_cm_event *event = event_new(&p->id, RDMA_CM_EVENT_CONNECT_REQUEST);
    event->param.conn.private_data = p->hello;
    event->param.conn.private_data_len = sizeof p->hello;
    return p;
}

void cm_established(struct cm_peer *p)
{
    (void)event_new(&p->id, RDMA_CM_EVENT_ESTABLISHED);
}
