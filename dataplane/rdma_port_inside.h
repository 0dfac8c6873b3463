/* rdma_port_inside - what the files of rdma_port.h share, and nobody else includes but a test of one of them.
 *
 * Threads: control calls rdma_port_* and rdma_link_open and _close under lock (memory: under memory_lock); the port's
 * thread holds lock whenever it does not wait.  lock is taken before memory_lock.  Lcores take neither. */
#ifndef DUNLIN_DATAPLANE_RDMA_PORT_INSIDE_H
#define DUNLIN_DATAPLANE_RDMA_PORT_INSIDE_H

#include "dataplane/rdma_port.h"

#include <pthread.h>
#include <sys/epoll.h>

/* Of struct rdma_link; who may change it is named. */
enum rdma_link_state {
    RDMA_LINK_IDLE,       /* thread */
    RDMA_LINK_CONNECTING, /* thread */
    RDMA_LINK_READY,      /* lcore */
    RDMA_LINK_TAKEN,      /* lcore */
    RDMA_LINK_RETIRED,    /* thread */
    RDMA_LINK_GONE,       /* lcore */
    RDMA_LINK_FREED       /* thread */
};

struct rdma_link {
    struct rdma_port *port;
    struct rdma_link_config config;
    _Atomic uint32_t state;             /* enum rdma_link_state */
    struct rdma_connection *connection; /* NULL: IDLE */
    bool closing, closed;               /* control asks, the thread says so; under lock */
    /* The thread's; nanoseconds of CLOCK_BOOTTIME. */
    uint64_t deadline; /* of an attempt */
    uint64_t next;     /* when another one may begin */
    uint64_t pause;    /* before that */
    uint64_t ready;    /* when its connection was made */
};

struct rdma_region {
    struct rdma_region *next; /* of those that are left */
    struct ibv_mr *mr;
};

struct rdma_chunk {
    struct rdma_region *region; /* NULL: the device has it not */
    bool wanted;
};

/* Read by lcores while control changes it: what they found counts if version is the same before and behind, and even.
 * Allocated once, then used again. */
struct rdma_range {
    _Atomic uint64_t version;
    _Atomic uint64_t base, bytes; /* bytes 0: unused */
    _Atomic uint32_t chunk_shift;
    uint32_t chunk_count;
    _Atomic uint64_t keys[LIMIT_CHUNKS]; /* remote, then local; 0: the device has it not */
    _Atomic(struct ibv_mr *) bindable[LIMIT_CHUNKS]; /* NULL: no window can be bound to it */
    struct rdma_chunk chunks[LIMIT_CHUNKS];
};
#define RDMA_RANGES (LIMIT_SPACES + 1u)
#define RDMA_LINKS (LIMIT_NODES * LIMIT_LCORES)

/* What the thread waits for. */
enum rdma_fd { RDMA_FD_EVENT, RDMA_FD_CHANNEL, RDMA_FD_WATCH };

struct rdma_port {
    struct rdma_port_config config;
    struct rdma_port_facts facts;
    struct rdma_port_shown shown;

    struct rdma_event_channel *channel;
    int epoll_fd;
    int event_fd; /* the thread is wanted */
    pthread_t thread;
    bool thread_runs;
    _Atomic uint32_t stops;

    pthread_mutex_t lock;
    pthread_cond_t closed;
    /* What rdma_port_begin returned; then begun is told. */
    bool has_begun;
    int begin_error;
    pthread_cond_t begun;
    struct rdma_link *links[RDMA_LINKS];
    uint32_t link_count;
    uint32_t connection_count; /* made and not freed */
    uint32_t number;           /* of the last connection; begins anywhere */

    /* The device; there from open on, but for the time after it was removed. */
    struct rdma_cm_id *listen;
    /* Why a context of its own: events of the device and its ports are told once to each; librdmacm's is shared by all
     * ports of the process. */
    struct ibv_context *watch;
    struct ibv_device_attr device;
    uint32_t messages, sends; /* as it can */
    bool is_lost;             /* it is being removed: nothing more is made on it */
    /* Ids of connections that are gone, to be destroyed when the port is up.  Why: who destroys one tells the peer; what
     * is told with the port down fails, and the queue pair that such messages share may not recover from it (that of rxe
     * in Linux 6.1 sends, and hears nothing any more). */
    struct rdma_cm_id *parked[RDMA_LINKS];
    uint32_t parked_count;
    uint64_t device_next; /* when it is looked for again */

    pthread_mutex_t memory_lock;
    struct ibv_pd *pd; /* changed under both locks */
    _Atomic uint32_t range_count;
    struct rdma_range *ranges[RDMA_RANGES];
    /* Chunks that were unmapped, with windows bound to them; counted in shown.chunks. */
    struct rdma_region *left;
    bool is_left; /* the thread's: some were when it looked */
};

static inline void rdma_port_count(_Atomic uint64_t *counter)
{
    /* relaxed: a number for people */
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* Of type 2B; of the device that is there now. */
static inline bool rdma_has_windows(const struct rdma_port *port)
{
    return (port->device.device_cap_flags & IBV_DEVICE_MEM_WINDOW_TYPE_2B) != 0;
}

/* Counts and shows an error of a call; error: of errno, positive.  Returns -error (-EIO if it is 0). */
int rdma_port_failed(struct rdma_port *port, const char *call, int error);
/* The thread is wanted. */
void rdma_port_kick(struct rdma_port *port);

/* ---- rdma_port.c ---- */

/* The thread, before all else: 0, or as rdma_port_open.  Why not who opens the port: librdmacm 44 keeps devices by where
 * libibverbs has them in memory, in an order that is wrong where they are 2 GiB and more apart.  Of devices that go and
 * come it then forgets those that are there, and waits for itself for ever.  Whatever lists devices lists new ones, so
 * all of it is done by one thread, whose malloc has them near each other (others have memory elsewhere). */
MUST_USE int rdma_port_begin(struct rdma_port *port);
/* 0, or as rdma_port_open; nothing is left behind. */
MUST_USE int rdma_device_open(struct rdma_port *port);
/* There is no connection. */
void rdma_device_close(struct rdma_port *port);
MUST_USE bool rdma_same_host(const struct sockaddr *a, const struct sockaddr_storage *b);
/* Whether its port can carry anything now, and our address's network device is up; milliseconds. */
MUST_USE bool rdma_device_is_active(struct rdma_port *port);
/* librdmacm keeps its context of a device that nobody uses any more until it looks at the list of devices again, and
 * drivers that cannot be separated from their contexts wait for that (rxe does).  Why again and again: the device is
 * taken off that list some time after it was said to go.  Where it was the only one, librdmacm does not look. */
void rdma_contexts_forget(void);
/* What happened to it; true: it is over with it. */
MUST_USE bool rdma_device_heard(struct rdma_port *port);

/* ---- rdma_port_memory.c ---- */

/* The device goes: no keys are given any more. */
void rdma_memory_lost(struct rdma_port *port);
/* No connection is left, and pd goes: the device has no chunk any more. */
void rdma_memory_drop(struct rdma_port *port);
/* There is another pd: it gets all chunks that are wanted. */
void rdma_memory_regain(struct rdma_port *port);
void rdma_memory_free(struct rdma_port *port);
/* Chunks that were unmapped and could not go.  Whether some still cannot. */
MUST_USE bool rdma_memory_sweep(struct rdma_port *port);
/* Windows for a connection that is there: as many as it may have and the device gives. */
void rdma_windows_make(struct rdma_port *port, struct rdma_connection *c);
/* Bound or not; nothing is posted any more.  0, or -errno: not now. */
MUST_USE int rdma_windows_free(struct rdma_port *port, struct rdma_connection *c);

/* ---- rdma_port_connect.c ---- */

/* As rdma_port_open. */
MUST_USE int rdma_thread_start(struct rdma_port *port);
void rdma_thread_stop(struct rdma_port *port);
void rdma_link_wake(const struct rdma_link *link);

/* ---- rdma_port_connection.c; the thread ---- */

/* Resources for a queue pair on id, RECVs posted.  0, or -errno: destroy what is there. */
MUST_USE int rdma_connection_make(struct rdma_link *link, struct rdma_connection *c);
void rdma_connection_hello(const struct rdma_link *link, const struct rdma_connection *c,
                           uint8_t bytes[RDMA_HELLO_BYTES]);
/* Ids that were parked; of a port that is up, or that goes. */
void rdma_connections_unpark(struct rdma_port *port);
/* Its queue pair and id.  0: gone, nothing lands or leaves any more; else -errno: not now. */
MUST_USE int rdma_connection_sever(struct rdma_port *port, struct rdma_connection *c);
/* The rest; it was severed. */
void rdma_connection_free(struct rdma_port *port, struct rdma_connection *c);

#endif
