#include "control/raft_roster.h"

#include "control/logline.h"
#include "control/raft_body.h"
#include "control/raft_repair.h"
#include "engine/clock.h"
#include "engine/hash.h"
#include "engine/plant.h"

#include <string.h>

#define AGAIN_NS (200 * NS_PER_MS)
#define RATE 500u /* two clocks differ by less than one in so many */

static uint64_t voters_rest(const struct raft_roster *r)
{
    return PLANTED(RAFT_VOTERS_AT_ONCE) ? 0 : r->lease_max_ns + r->lease_max_ns / RATE + 1;
}

/* ---- what is under way ---- */

static const char *role_name(const struct raft_members_step *s)
{
    if (s->kind == RAFT_MEMBERS_REMOVE)
        return "removed";
    if (s->kind == RAFT_MEMBERS_ADD)
        return "spare";
    return s->role == RAFT_VOTER ? "voter" : "standby";
}

static void on_changed(struct raft_change *change, int status)
{
    struct raft_roster *r = change->data;
    uint64_t now = clock_boottime_ns();
    r->has_change = false;
    if (r->step.is_of_voters) /* also one that failed: another leader may have it decided */
        r->voters_ns = now + voters_rest(r);
    r->next_ns = status != 0 ? now + AGAIN_NS : now;
    if (status == 0)
        log_event(LOG_INFO, "control_member", LOG_NUMBER("id", r->step.node),
                  LOG_TEXT("role", role_name(&r->step)));
    else if (status == RAFT_NOCONNECTION)
        log_event(LOG_WARN, "control_member_failed", LOG_NUMBER("id", r->step.node),
                  LOG_TEXT("help", "it does not keep up with the control log: see to that node"));
}

static void on_transferred(struct raft_transfer *transfer)
{
    struct raft_roster *r = transfer->data;
    r->has_transfer = false;
    r->next_ns = clock_boottime_ns() + AGAIN_NS;
}

/* ---- who is there ---- */

static struct raft_member *member_of(struct raft_member *members, uint32_t *count, uint32_t node)
{
    uint32_t at = 0;
    while (at < *count && members[at].node < node)
        at++;
    if (at < *count && members[at].node == node)
        return &members[at];
    if (*count == RAFT_MEMBERS_MAX)
        return NULL;
    memmove(&members[at + 1], &members[at], (*count - at) * sizeof members[0]);
    (*count)++;
    members[at] = (struct raft_member){.node = node, .role = RAFT_MEMBERS_ABSENT};
    return &members[at];
}

static uint32_t members_make(const struct raft *raft, const struct raft_roster_now *now,
                             struct raft_member members[RAFT_MEMBERS_MAX])
{
    uint32_t count = 0;
    for (unsigned i = 0; i < raft->configuration.n; i++) {
        const struct raft_server *s = &raft->configuration.servers[i];
        struct raft_member *m = member_of(members, &count, (uint32_t)s->id);
        if (m != NULL)
            m->role = s->role;
    }
    for (uint32_t i = 0; i < now->state->node_count; i++) {
        const struct coordinator_node *n = &now->state->nodes[i];
        struct raft_member *m = member_of(members, &count, n->id);
        if (m == NULL)
            continue;
        m->is_named = true;
        m->is_eligible = n->start != 0 && n->standing != COORDINATOR_LEAVING;
    }
    for (uint32_t i = 0; i < count; i++)
        members[i].is_up =
            members[i].node == now->self || control_net_is_up(now->net, members[i].node);
    return count;
}

/* Since when who is not named is not. */
static void gone_follow(struct raft_roster *r, struct raft_member *members, uint32_t count,
                        uint64_t now)
{
    struct raft_roster before = *r;
    r->gone_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t since = now;
        if (members[i].is_named)
            continue;
        for (uint32_t k = 0; k < before.gone_count; k++)
            if (before.gone[k].node == members[i].node)
                since = before.gone[k].since_ns;
        r->gone[r->gone_count].node = members[i].node;
        r->gone[r->gone_count++].since_ns = since;
        members[i].is_due = now - since >= RAFT_ROSTER_GONE_NS;
    }
}

/* ---- the next step ---- */

/* Those that may be tried again; what else libraft says leaves it in between. */
static int verdict(struct raft_roster *r, int code, uint64_t now)
{
    if (code == 0)
        return 0;
    r->next_ns = now + AGAIN_NS;
    if (code != RAFT_NOTLEADER && code != RAFT_CANTCHANGE && code != RAFT_BADROLE &&
        code != RAFT_BADID && code != RAFT_NOTFOUND && code != RAFT_DUPLICATEID &&
        code != RAFT_DUPLICATEADDRESS)
        return code; /* has_change stays: libraft may have kept the request */
    r->has_change = false;
    r->has_transfer = false;
    return 0;
}

/* What libraft knows a node as: where it lives, if the state says so.  Why: who starts again finds the others
 * before it has applied anything. */
static void address_of(const struct coordinator_state *s, uint32_t node,
                       char address[COORDINATOR_ADDRESS_BYTES])
{
    const struct coordinator_node *n = coordinator_state_node(s, node);
    _Static_assert(RAFT_BODY_ADDRESS_BYTES <= COORDINATOR_ADDRESS_BYTES, "either fits");
    if (n != NULL && n->control[0] != 0)
        memcpy(address, n->control, sizeof n->control);
    else
        raft_body_address(address, node);
}

static int carry_out(struct raft_roster *r, struct raft *raft, const struct raft_roster_now *about)
{
    const struct raft_members_step *s = &r->step;
    char address[COORDINATOR_ADDRESS_BYTES];
    uint64_t now = about->now_ns;
    r->change.data = r;
    r->transfer.data = r;
    /* Why before: with one voter it may be decided from within. */
    r->has_change = s->kind != RAFT_MEMBERS_TRANSFER;
    r->has_transfer = s->kind == RAFT_MEMBERS_TRANSFER;
    switch (s->kind) {
    case RAFT_MEMBERS_ADD:
        address_of(about->state, s->node, address);
        return verdict(r, raft_add(raft, &r->change, s->node, address, on_changed), now);
    case RAFT_MEMBERS_ASSIGN:
        return verdict(r, raft_assign(raft, &r->change, s->node, s->role, on_changed), now);
    case RAFT_MEMBERS_REMOVE:
        return verdict(r, raft_remove(raft, &r->change, s->node, on_changed), now);
    default:
        return verdict(r, raft_transfer(raft, &r->transfer, s->node, on_transferred), now);
    }
}

static bool is_promotion(const struct raft_members_step *s)
{
    return s->kind == RAFT_MEMBERS_ASSIGN && s->role == RAFT_VOTER;
}

bool raft_roster_promotes(const struct raft_roster *r, uint32_t node)
{
    return r->has_change && is_promotion(&r->step) && r->step.node == node;
}

int raft_roster_step(struct raft_roster *r, struct raft *raft, const struct raft_roster_now *now)
{
    struct raft_member members[RAFT_MEMBERS_MAX];
    if (now->index_first == 0 || raft_last_applied(raft) < now->index_first || now->state == NULL ||
        now->state->shard_count == 0 || r->has_change || r->has_transfer)
        return 0;
    r->lease_max_ns = now->lease_max_ns;
    if (r->index_first != now->index_first) {
        r->index_first = now->index_first;
        r->voters_ns = now->now_ns + voters_rest(r);
        r->gone_count = 0;
    }
    raft_repair_look(raft);
    if (raft->configuration_uncommitted_index != 0 || now->now_ns < r->next_ns)
        return 0;
    uint32_t count = members_make(raft, now, members);
    gone_follow(r, members, count, now->now_ns);
    r->step = raft_members_next(members, count, now->self);
    if (r->step.kind == RAFT_MEMBERS_NONE || (r->step.is_of_voters && now->now_ns < r->voters_ns))
        return 0;
    if (is_promotion(&r->step) && raft_last_applied(raft) != raft_last_index(raft))
        return 0;
    return carry_out(r, raft, now);
}

void raft_roster_voters(const struct raft *raft, struct raft_roster_voters *voters)
{
    *voters = (struct raft_roster_voters){.count = 0};
    for (unsigned i = 0; i < raft->configuration.n && voters->count < LIMIT_VOTERS; i++) {
        const struct raft_server *s = &raft->configuration.servers[i];
        uint32_t at = voters->count;
        if (s->role != RAFT_VOTER)
            continue;
        for (; at != 0 && voters->ids[at - 1] > s->id; at--)
            voters->ids[at] = voters->ids[at - 1];
        voters->ids[at] = (uint32_t)s->id;
        voters->count++;
    }
    voters->set = hash_key(voters->ids, voters->count * sizeof voters->ids[0]);
}

bool raft_roster_has(const struct raft_roster_voters *voters, uint32_t node)
{
    for (uint32_t i = 0; voters != NULL && i < voters->count; i++)
        if (voters->ids[i] == node)
            return true;
    return false;
}
