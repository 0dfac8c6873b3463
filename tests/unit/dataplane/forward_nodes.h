/* forward_nodes - three nodes of one cluster in the test's own thread, over transport_mem, with agents
 * whose rings the test drives, links that the test disturbs, and a leader that it names. */
#ifndef DUNLIN_TESTS_UNIT_DATAPLANE_FORWARD_NODES_H
#define DUNLIN_TESTS_UNIT_DATAPLANE_FORWARD_NODES_H

#include "dataplane/lcore_forward.h"
#include "tests/unit/dataplane/ring_agent.h"

#define FORWARD_NODES 3u
#define FORWARD_START UINT64_C(1000)

enum link_fault {
    LINK_WHOLE,
    LINK_LOSE,
    LINK_DOUBLE,
    LINK_KEEP,   /* until link_deliver */
    LINK_RANDOM, /* one of the above; what is kept is delivered behind the next ones */
};

/* What arrives at a node: the ops of a transport over another one.  Only datagrams of forward.h are
 * disturbed. */
struct forward_link {
    struct transport transport; /* first: the ops get it */
    struct transport *inner;
    enum link_fault fault;
    uint8_t kind;         /* enum forward_kind that is disturbed; 0: both */
    bool refuses;         /* takes none from this node */
    bool unheard;         /* nothing is agreed with any peer */
    uint8_t version;      /* of the wire, as agreed with every peer; 0: no other program is there */
    bool only;            /* all but datagrams of forward.h are lost */
    bool refuses_writes;  /* log writes of this node */
    bool has_no_token;    /* for memory of this node */
    bool hides_torn;      /* says nothing of connections that were torn down */
    bool deaf;            /* nothing arrives */
    bool keeps_holds;     /* completes nothing */
    uint64_t random;      /* state, LINK_RANDOM */
    uint32_t disturbed;   /* so often */
    uint32_t kept, ready; /* kept datagrams; the first ready of them are delivered next */
    uint32_t lent_count;  /* until the next release */
    /* Memory of this node that others were given tokens for, until that is revoked or their connection torn down. */
    struct {
        uint32_t node;
        const uint8_t *memory;
    } granted[16];
    uint32_t granted_count, revoked;
    uint32_t revoked_unknown; /* that was not granted */
    struct transport_received store[64], lent[64];
};

struct forward_nodes {
    struct ring_node nodes[FORWARD_NODES];
    struct node_cluster clusters[FORWARD_NODES];
    struct forward_link links[FORWARD_NODES]; /* by who receives */
    struct transport_mem_hub *hub;
    struct configuration configuration; /* of every shard */
    _Atomic uint64_t version;
};

/* One shard, led by node 0; read_leases: followers may answer reads.  Aborts when it fails. */
void forward_nodes_open(struct forward_nodes *n, bool read_leases);
/* The same over a transport that has log writes; without read leases. */
void forward_nodes_open_writing(struct forward_nodes *n);
void forward_nodes_close(struct forward_nodes *n);
/* One pass of each. */
void forward_nodes_pass(struct forward_nodes *n);
/* Let another node lead, and wait until it does. */
void forward_nodes_lead(struct forward_nodes *n, uint32_t leader);
bool forward_nodes_leads(const struct forward_nodes *n, uint32_t node);
/* What is not answered is given up in a tenth of the time, until this is taken back.  Why not all along: on a busy
 * machine we may not run for so long. */
void forward_nodes_give_up_soon(struct forward_nodes *n, bool soon);
/* From now on leases last a tenth: for tests that let leaders move often, each of which waits for them. */
void forward_nodes_shorten(struct forward_nodes *n);

void forward_agent_attach(struct forward_nodes *n, uint32_t node, struct ring_agent *a,
                          uint32_t uid);
/* Tell its node that there is something in its ring. */
void forward_agent_ring(struct forward_nodes *n, const struct ring_agent *a);
/* Let the nodes go on until its next completion comes: as ring_agent_take.  False: none does. */
bool forward_agent_wait(struct forward_nodes *n, struct ring_agent *a, struct ring_completion *c,
                        void *value);
uint64_t forward_counted(const struct forward_nodes *n, uint32_t node, enum counter counter);
struct shard *forward_shard(const struct forward_nodes *n, uint32_t node);
/* Places that wait at a node. */
uint32_t forward_waiting(const struct forward_nodes *n, uint32_t node);

/* All that a link kept arrives with the next receive. */
void forward_link_deliver(struct forward_link *l);

#endif
