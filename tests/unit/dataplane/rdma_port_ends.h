/* rdma_port_ends - nodes of one process with a port of a verbs device each, one link between two of them, and what an
 * lcore does with its end.  For programs that run in the guest: what fails is said to stdout, and ends them by 1. */
#ifndef DUNLIN_TESTS_UNIT_DATAPLANE_RDMA_PORT_ENDS_H
#define DUNLIN_TESTS_UNIT_DATAPLANE_RDMA_PORT_ENDS_H

#include "dataplane/rdma_port.h"

#define ENDS_CLUSTER UINT64_C(0xd0d0)
#define ENDS_MESSAGE_BYTES 4096u
#define ENDS_UDP_PORT 7000u

/* One node's end of one link. */
struct port_end {
    struct rdma_port *port;
    struct rdma_link *link;
    struct rdma_connection *c; /* taken */
    int wake_fd;
    bool retired;
    uint32_t taken, freed; /* connections */
};

extern const char *ends_addresses[3];  /* of nodes; the program sets them */
extern struct port_end ends_a, ends_b; /* nodes 1 and 2, if not said otherwise */

_Noreturn void ends_fail(const char *what);
void ends_check(bool is, const char *what);
uint64_t ends_shown(const _Atomic uint64_t *counter);

/* ---- nodes ---- */

struct sockaddr_storage ends_address_of(const char *text, uint16_t port);
struct rdma_port_config ends_config_of(uint32_t node, const char *address);
void ends_port_open(struct port_end *e, const struct rdma_port_config *config);
/* As rdma_link_open; of lcore 0. */
int ends_link_try(struct port_end *e, uint32_t node, const char *address);
void ends_link_open(struct port_end *e, uint32_t node, const char *address);
void ends_end_close(struct port_end *e);
/* What an lcore does each pass: takes, retires what is broken, frees what is gone. */
void ends_pass(struct port_end *e);
void ends_retire(struct port_end *e);
/* Passes of both until it is so; nanoseconds that it took.  Sleeps as an lcore does: of what it waits for somebody
 * has to wake it. */
uint64_t ends_await(bool (*is_so)(void), const char *what);
/* As that, of what nobody tells: it looks again and again. */
uint64_t ends_await_shown(bool (*is_so)(void), const char *what);
/* It has a connection that is not over. */
bool ends_usable(const struct port_end *e);
/* Both have the same one. */
bool ends_both_up(void);
/* Both, connected; nanoseconds that it took. */
uint64_t ends_pair_open(void);
void ends_pair_close(void);

/* ---- work requests ---- */

struct ends_target {
    const void *from;
    uint32_t length, local; /* its key */
    uint64_t address;
    uint32_t key; /* of what is written to */
};

void ends_post(struct port_end *e, enum ibv_wr_opcode opcode, const struct ends_target *t);
void ends_completion(struct port_end *e, struct ibv_wc *wc);
/* How the next one that was posted ended; RECVs before it are passed over. */
enum ibv_wc_status ends_done(struct port_end *e);
/* Bytes of the connection's memory to send, of its number. */
struct ends_target ends_from_send(const struct port_end *e, uint32_t length);
/* A message of either kind, from one to the other, and judged there; n: how many came there before. */
void ends_message(struct port_end *from, struct port_end *to, uint32_t n);

/* rdma_port_guest_window.c */
void ends_scene_windows(void);

/* Asks the second address for a connection by hand, with those words; how it ended. */
enum rdma_cm_event_type ends_asked(const void *hello, uint8_t bytes);

#endif
