/* What a connection is made of, made and destroyed by the port's thread. */
#include "dataplane/rdma_port_inside.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

#define INLINE_LEAST 32u

/* ---- memory ---- */

/* Inlet, messages, frames to send, each from a page of its own on. */
static int memory_make(const struct rdma_link *link, struct rdma_connection *c)
{
    const struct rdma_port *port = link->port;
    uint64_t inlet_bytes =
        align_up(sizeof *c->inlet + (uint64_t)port->messages * RDMA_PORT_SLOT_BYTES, PAGE);
    uint64_t received_bytes = align_up((uint64_t)port->messages * port->config.message_bytes, PAGE);
    uint64_t bytes = inlet_bytes + received_bytes + align_up(link->config.send_bytes, PAGE);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    c->memory = memory;
    c->memory_bytes = bytes;
    c->inlet = (struct rdma_inlet *)memory;
    c->received = c->memory + inlet_bytes;
    c->send = c->received + received_bytes;
    c->messages = port->messages;
    c->message_bytes = port->config.message_bytes;
    /* Why: a child of this process would share the pages, and the first who writes to one has another one then, of
     * which the device knows nothing. */
    return madvise(memory, bytes, MADV_DONTFORK) == 0 ? 0 : -errno;
}

static int memory_register(struct rdma_port *port, struct rdma_connection *c)
{
    c->mr = ibv_reg_mr(port->pd, c->memory, c->memory_bytes, IBV_ACCESS_LOCAL_WRITE);
    if (c->mr == NULL)
        return rdma_port_failed(port, "ibv_reg_mr", errno);
    uint64_t bytes = sizeof *c->inlet + (uint64_t)c->messages * RDMA_PORT_SLOT_BYTES;
    c->inlet_mr =
        ibv_reg_mr(port->pd, c->inlet, bytes, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
    return c->inlet_mr != NULL ? 0 : rdma_port_failed(port, "ibv_reg_mr", errno);
}

/* ---- queues ---- */

static int queue_make(struct rdma_port *port, struct rdma_connection *c)
{
    c->channel = ibv_create_comp_channel(c->id->verbs);
    if (c->channel == NULL)
        return rdma_port_failed(port, "ibv_create_comp_channel", errno);
    if (fcntl(c->channel->fd, F_SETFL, O_NONBLOCK) != 0)
        return rdma_port_failed(port, "fcntl", errno);
    /* Why so many: when the queue pair fails, all that is posted completes. */
    int entries = (int)(port->messages + port->sends);
    c->cq = ibv_create_cq(c->id->verbs, entries, c, c->channel, 0);
    return c->cq != NULL ? 0 : rdma_port_failed(port, "ibv_create_cq", errno);
}

/* Why it tries: no device says how much it takes inline, and most count it against other things. */
static int queue_pair_make(struct rdma_port *port, struct rdma_connection *c)
{
    for (uint32_t inlined = RDMA_PORT_INLINE;; inlined = inlined > INLINE_LEAST ? inlined / 2 : 0) {
        struct ibv_qp_init_attr attr = {.qp_context = c,
                                        .send_cq = c->cq,
                                        .recv_cq = c->cq,
                                        .cap = {.max_send_wr = port->sends,
                                                .max_recv_wr = port->messages,
                                                .max_send_sge = 1,
                                                .max_recv_sge = 1,
                                                .max_inline_data = inlined},
                                        .qp_type = IBV_QPT_RC};
        if (rdma_create_qp(c->id, port->pd, &attr) == 0) {
            c->qp = c->id->qp;
            c->inline_bytes = attr.cap.max_inline_data;
            c->sends = port->sends; /* some grant more; the completion queue is not made for it */
            return 0;
        }
        if (inlined == 0 || (errno != EINVAL && errno != ENOMEM))
            return rdma_port_failed(port, "rdma_create_qp", errno);
    }
}

static int receives_post(struct rdma_port *port, struct rdma_connection *c)
{
    for (uint32_t i = 0; i < c->messages; i++) {
        struct ibv_sge piece = {.addr = (uintptr_t)(c->received + (uint64_t)i * c->message_bytes),
                                .length = c->message_bytes,
                                .lkey = c->mr->lkey};
        struct ibv_recv_wr request = {.wr_id = i, .sg_list = &piece, .num_sge = 1}, *bad;
        int error = ibv_post_recv(c->qp, &request, &bad);
        if (error != 0)
            return rdma_port_failed(port, "ibv_post_recv", error);
    }
    return 0;
}

int rdma_connection_make(struct rdma_link *link, struct rdma_connection *c)
{
    struct rdma_port *port = link->port;
    /* Why: peers behind another device than that of our address would need memory registered with that one, too. */
    if (c->id->verbs != port->listen->verbs)
        return rdma_port_failed(port, "rdma_resolve_addr", EXDEV);
    port->number = port->number != UINT32_MAX ? port->number + 1 : 1;
    c->number = port->number;
    int error = memory_make(link, c);
    if (error == 0)
        error = memory_register(port, c);
    if (error == 0)
        error = queue_make(port, c);
    if (error == 0)
        error = queue_pair_make(port, c);
    return error != 0 ? error : receives_post(port, c);
}

void rdma_connection_hello(const struct rdma_link *link, const struct rdma_connection *c,
                           uint8_t bytes[RDMA_HELLO_BYTES])
{
    const struct rdma_port_config *own = &link->port->config;
    struct rdma_hello h = {.version = RDMA_HELLO_VERSION,
                           .lcore = (uint16_t)link->config.lcore,
                           .from = own->node,
                           .to = link->config.node,
                           .cluster = own->cluster,
                           .number = c->number,
                           .messages = c->messages,
                           .key = c->inlet_mr->rkey,
                           .address = (uintptr_t)c->inlet,
                           .message_bytes = c->message_bytes};
    rdma_hello_encode(&h, bytes);
}

/* ---- the end ---- */

static int id_destroy(struct rdma_port *port, struct rdma_cm_id *id)
{
    return rdma_destroy_id(id) == 0 ? 0 : rdma_port_failed(port, "rdma_destroy_id", errno);
}

void rdma_connections_unpark(struct rdma_port *port)
{
    while (port->parked_count != 0)
        (void)id_destroy(port, port->parked[--port->parked_count]); /* an error is shown */
}

/* Its peer is to hear of the end, but not now. */
static bool parks(struct rdma_port *port)
{
    return !port->is_lost && port->parked_count < RDMA_LINKS && !rdma_device_is_active(port);
}

int rdma_connection_sever(struct rdma_port *port, struct rdma_connection *c)
{
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};
    bool parked = c->qp != NULL && parks(port);
    if (c->qp != NULL) {
        /* Why first: what is under way ends as failed, and nothing new is begun.  Why not RESET: under traffic it is not
         * clean everywhere.  A queue pair that failed already, or whose device is gone, may refuse it. */
        (void)ibv_modify_qp(c->qp, &attr, IBV_QP_STATE);
        if (!parked)
            (void)rdma_disconnect(c->id); /* so that the peer hears; it may have told us the same */
        /* Why before the queue pair: windows that are bound hold it.  rxe waits 50 s for them, then destroys it all the
         * same, and they still point to it. */
        int error = rdma_windows_free(port, c);
        if (error != 0)
            return error;
        /* Why not rdma_destroy_qp: it does not say whether it did.  EIO: the driver destroyed it with its device. */
        error = ibv_destroy_qp(c->qp);
        if (error != 0 && !(error == EIO && port->is_lost))
            return rdma_port_failed(port, "ibv_destroy_qp", error);
        c->qp = c->id->qp = NULL;
    }
    if (parked) {
        c->id->context = NULL; /* what is heard of it concerns nobody */
        port->parked[port->parked_count++] = c->id;
        c->id = NULL;
    }
    int error = c->id != NULL ? id_destroy(port, c->id) : 0;
    if (error == 0)
        c->id = NULL;
    return error;
}

/* Of a device that is gone its driver destroyed all before. */
static void destroyed(struct rdma_port *port, const char *call, int error)
{
    if (error != 0 && !port->is_lost)
        (void)rdma_port_failed(port, call, error);
}

void rdma_connection_free(struct rdma_port *port, struct rdma_connection *c)
{
    ASSERT(c->qp == NULL && c->id == NULL && c->window_count == 0);
    if (c->cq != NULL)
        destroyed(port, "ibv_destroy_cq", ibv_destroy_cq(c->cq));
    if (c->channel != NULL)
        destroyed(port, "ibv_destroy_comp_channel", ibv_destroy_comp_channel(c->channel));
    if (c->inlet_mr != NULL)
        destroyed(port, "ibv_dereg_mr", ibv_dereg_mr(c->inlet_mr));
    if (c->mr != NULL)
        destroyed(port, "ibv_dereg_mr", ibv_dereg_mr(c->mr));
    if (c->memory != NULL)
        (void)munmap(c->memory, c->memory_bytes);
    free(c);
}
