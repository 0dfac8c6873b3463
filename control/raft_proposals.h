/* raft_proposals - commands on their way into the control log, of this node and of others.
 *
 * A node that is raft's leader appends its own; another one sends them to the leader, which answers when they
 * were applied.  A proposal is done here when the entry was applied here: whoever asked then sees its effect
 * in the state.  It is sent again to whoever leads now when no answer comes, so one may be applied twice:
 * commands are compare-and-sets on what the asker knew, and the second one changes nothing.
 *
 * On the mesh:  propose  u64 number, then the command
 *               proposed u64 number, i64 status, i64 result, u64 index
 *
 * Thread: the loop's. */
#ifndef DUNLIN_CONTROL_RAFT_PROPOSALS_H
#define DUNLIN_CONTROL_RAFT_PROPOSALS_H

#include "control/control_net.h"
#include "engine/base.h"

#include <raft.h>

#define RAFT_PROPOSALS_MAX 256u /* under way for other nodes: more are refused with -EAGAIN */
#define RAFT_PROPOSAL_BYTES_MAX (1u << 20)
#define RAFT_PROPOSAL_AGAIN_NS (200 * NS_PER_MS) /* without an answer, it is sent again */

struct raft_proposals;

/* One of this node.  The maker's until done was called. */
struct raft_proposal {
    const uint8_t *bytes; /* a command */
    size_t length;
    uint64_t deadline_ns;
    /* 0: it was applied, with this result; -ETIMEDOUT: it may be, or may yet be; -ESHUTDOWN: likewise;
     * -EBADMSG: the leader refuses such a command, it never is. */
    void (*done)(struct raft_proposal *p, int status, int64_t result);
    void *data;
    /* internal */
    struct raft_proposals *proposals;
    struct raft_proposal *next;
    uint64_t number, sent_ns;
    uint32_t asked; /* node that it was sent to; 0: to nobody yet */
    raft_index index;
    int64_t result;
    bool is_decided; /* result and index are known */
};

struct raft_proposals_config {
    struct control_net *net;
    uint32_t self;
    uint64_t start; /* of this node, below 2^41: answers to an earlier one are none to this one */
    uint8_t type_propose, type_proposed;
    /* Whether a node may ask for this command, which is whole bytes of a stranger: 0, -EBADMSG, or -EAGAIN: not now. */
    int (*check)(void *context, uint32_t node, const uint8_t *bytes, size_t length);
    void *context;
};

MUST_USE int raft_proposals_open(struct raft_proposals **p,
                                 const struct raft_proposals_config *config);
/* raft is another instance now, or NULL: none for a while. */
void raft_proposals_raft(struct raft_proposals *p, struct raft *raft);
/* Those of this node are done with -ESHUTDOWN.  Raft is closed. */
void raft_proposals_close(struct raft_proposals *p);

void raft_proposals_add(struct raft_proposals *p, struct raft_proposal *proposal);
void raft_proposals_received(struct raft_proposals *p, uint32_t node, uint8_t type,
                             const uint8_t *bytes, size_t length);
/* Send what is to be sent, end what is applied or late; with every turn of the loop. */
void raft_proposals_step(struct raft_proposals *p, uint64_t now_ns);
/* Whether raft still has entries of ours, or of others, that it has not answered. */
bool raft_proposals_is_busy(const struct raft_proposals *p);

#endif
