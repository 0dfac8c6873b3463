#include "control/raft_proposals.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define NUMBERS_SHIFT 22u /* proposals of one start */

/* On the mesh, in the byte order of the machines that it runs on. */
struct proposed {
    uint64_t number;
    int64_t status, result;
    uint64_t index;
};
_Static_assert(sizeof(struct proposed) == 32, "no padding");

struct raft_proposals {
    struct raft_proposals_config config;
    struct raft *raft;
    struct raft_proposal *first; /* of this node */
    uint64_t number;             /* last given */
    uint32_t applies;            /* that raft has */
};

/* One entry that raft has: of this node, or of another one that waits for the answer. */
struct apply {
    struct raft_apply request;
    struct raft_proposals *proposals;
    uint32_t node;
    uint64_t number;
};

static struct raft_proposal *find(const struct raft_proposals *p, uint64_t number)
{
    struct raft_proposal *at = p->first;
    while (at != NULL && at->number != number)
        at = at->next;
    return at;
}

static void finish(struct raft_proposal *proposal, int status)
{
    struct raft_proposal **at = &proposal->proposals->first;
    while (*at != proposal)
        at = &(*at)->next;
    *at = proposal->next;
    proposal->done(proposal, status, status == 0 ? proposal->result : 0);
}

/* For this node, whoever gave it. */
static void answered(struct raft_proposals *p, const struct proposed *a)
{
    struct raft_proposal *proposal = find(p, a->number);
    if (proposal == NULL || proposal->is_decided)
        return;
    if (a->status == -EBADMSG) {
        finish(proposal, -EBADMSG);
    } else if (a->status != 0) {
        proposal->asked = 0; /* it did not lead, or leads no more: whoever does is asked */
    } else {
        proposal->is_decided = true;
        proposal->result = a->result;
        proposal->index = a->index;
    }
}

static void answer(struct raft_proposals *p, uint32_t node, const struct proposed *a)
{
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)a, .iov_len = sizeof *a};
    if (node == p->config.self) {
        answered(p, a);
        return;
    }
    /* Why the result does not matter: who gets no answer asks again. */
    (void)!control_net_send(p->config.net, node, p->config.type_proposed, &piece, 1, NULL);
}

static void on_applied(struct raft_apply *request, int status, void *result)
{
    struct apply *a = request->data;
    const struct proposed told = {.number = a->number,
                                  .status = status == 0 ? 0 : -EAGAIN,
                                  .result = (int64_t)(intptr_t)result,
                                  .index = request->index};
    a->proposals->applies--;
    answer(a->proposals, a->node, &told);
    free(a);
}

/* The command enters the log.  0, or -EAGAIN: not here, or not now; -EBADMSG. */
static int append(struct raft_proposals *p, uint32_t node, uint64_t number, const uint8_t *bytes,
                  size_t length)
{
    if (p->raft == NULL || raft_state(p->raft) != RAFT_LEADER || p->applies >= RAFT_PROPOSALS_MAX)
        return -EAGAIN;
    if (length == 0 || length > RAFT_PROPOSAL_BYTES_MAX)
        return -EBADMSG;
    int refused = p->config.check(p->config.context, node, bytes, length);
    if (refused != 0)
        return refused;
    struct apply *a = malloc(sizeof *a);
    struct raft_buffer buffer = {.base = raft_malloc(length), .len = length};
    if (a == NULL || buffer.base == NULL) {
        free(a);
        raft_free(buffer.base);
        return -EAGAIN;
    }
    memcpy(buffer.base, bytes, length);
    *a = (struct apply){.proposals = p, .node = node, .number = number};
    a->request.data = a;
    /* Why before: a cluster of one voter may call back from within. */
    p->applies++;
    if (raft_apply(p->raft, &a->request, &buffer, 1, on_applied) != 0) {
        p->applies--;
        raft_free(buffer.base);
        free(a);
        return -EAGAIN;
    }
    return 0;
}

static void propose_received(struct raft_proposals *p, uint32_t node, const uint8_t *bytes,
                             size_t length)
{
    struct proposed refused = {.status = 0};
    if (length < sizeof refused.number)
        return;
    memcpy(&refused.number, bytes, sizeof refused.number);
    refused.status = append(p, node, refused.number, bytes + sizeof refused.number,
                            length - sizeof refused.number);
    if (refused.status != 0)
        answer(p, node, &refused);
}

void raft_proposals_received(struct raft_proposals *p, uint32_t node, uint8_t type,
                             const uint8_t *bytes, size_t length)
{
    if (type == p->config.type_propose) {
        propose_received(p, node, bytes, length);
    } else if (type == p->config.type_proposed && length == sizeof(struct proposed)) {
        struct proposed a;
        memcpy(&a, bytes, sizeof a);
        const struct raft_proposal *proposal = find(p, a.number);
        /* Why: an answer of one that was asked before may be late. */
        if (proposal != NULL && proposal->asked == node)
            answered(p, &a);
    }
}

/* ---- those of this node ---- */

static void forward(struct raft_proposals *p, struct raft_proposal *proposal, uint32_t leader)
{
    const struct iovec pieces[2] = {
        {.iov_base = &proposal->number, .iov_len = sizeof proposal->number},
        {.iov_base = (void *)(uintptr_t)proposal->bytes, .iov_len = proposal->length}};
    if (control_net_send(p->config.net, leader, p->config.type_propose, pieces, 2, NULL) == 0)
        proposal->asked = leader;
}

static void ask(struct raft_proposals *p, struct raft_proposal *proposal, uint64_t now)
{
    raft_id leader = 0;
    const char *address;
    if (p->raft != NULL)
        raft_leader(p->raft, &leader, &address);
    bool is_waited_for =
        proposal->asked == leader && now - proposal->sent_ns < RAFT_PROPOSAL_AGAIN_NS;
    if (leader == 0 || is_waited_for)
        return;
    proposal->sent_ns = now;
    if (leader != p->config.self) {
        forward(p, proposal, (uint32_t)leader);
        return;
    }
    proposal->asked = p->config.self;
    const struct proposed refused = {
        .number = proposal->number,
        .status = append(p, p->config.self, proposal->number, proposal->bytes, proposal->length)};
    if (refused.status != 0)
        answered(p, &refused);
}

void raft_proposals_step(struct raft_proposals *p, uint64_t now_ns)
{
    raft_index applied = p->raft != NULL ? raft_last_applied(p->raft) : 0;
    for (struct raft_proposal *at = p->first, *next; at != NULL; at = next) {
        next = at->next;
        if (at->is_decided && at->index <= applied)
            finish(at, 0);
        else if (now_ns >= at->deadline_ns)
            finish(at, -ETIMEDOUT);
        else if (!at->is_decided)
            ask(p, at, now_ns);
    }
}

void raft_proposals_add(struct raft_proposals *p, struct raft_proposal *proposal)
{
    proposal->proposals = p;
    proposal->number = ++p->number;
    proposal->sent_ns = 0;
    proposal->asked = 0;
    proposal->is_decided = false;
    proposal->next = p->first;
    p->first = proposal;
}

bool raft_proposals_is_busy(const struct raft_proposals *p)
{
    return p->applies != 0;
}

/* ---- open and close ---- */

int raft_proposals_open(struct raft_proposals **proposals,
                        const struct raft_proposals_config *config)
{
    struct raft_proposals *p = calloc(1, sizeof *p);
    if (p == NULL)
        return -ENOMEM;
    p->config = *config;
    p->number = config->start << NUMBERS_SHIFT;
    *proposals = p;
    return 0;
}

void raft_proposals_raft(struct raft_proposals *p, struct raft *raft)
{
    p->raft = raft;
}

void raft_proposals_close(struct raft_proposals *p)
{
    if (p == NULL)
        return;
    ASSERT(p->applies == 0);
    while (p->first != NULL)
        finish(p->first, -ESHUTDOWN);
    free(p);
}
