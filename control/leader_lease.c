#include "control/leader_lease.h"

#include "dataplane/lease.h"
#include "engine/plant.h"

#include <string.h>

static uint64_t promise_end(uint64_t now, uint64_t duration)
{
    return PLANTED(LEADER_RATE_IGNORED) ? now + duration : lease_promise_end(now, duration);
}

static uint64_t right_end(uint64_t asked, uint64_t duration)
{
    return PLANTED(LEADER_RATE_IGNORED) ? asked + duration : lease_right_end(asked, duration);
}

/* ---- voter ---- */

void leader_lease_voter_init(struct leader_lease_voter *v,
                             const struct leader_lease_voter_config *config, uint64_t now)
{
    ASSERT(config->duration_ns != 0 && config->duration_ns <= config->duration_max_ns &&
           config->duration_max_ns <= LEADER_LEASE_NS_MAX);
    memset(v, 0, sizeof *v);
    v->config = *config;
    v->silent_until_ns =
        PLANTED(LEASE_AFTER_AMNESIA) ? now : promise_end(now, config->duration_max_ns);
}

void leader_lease_voter_begin(struct leader_lease_voter *v)
{
    memset(v->entries, 0, sizeof v->entries); /* as init leaves those that are not in use */
    v->count = 0;
}

void leader_lease_voter_end(struct leader_lease_voter *v, uint64_t now)
{
    v->silent_until_ns = max_u64(v->silent_until_ns, promise_end(now, v->config.duration_max_ns));
}

static struct leader_lease_entry *entry_of(struct leader_lease_voter *v, uint32_t node)
{
    for (uint32_t i = 0; i < v->count; i++)
        if (v->entries[i].node == node)
            return &v->entries[i];
    return NULL;
}

/* Why not less than a lease behind the silence: until then it could not be granted anything. */
static void expect(const struct leader_lease_voter *v, struct leader_lease_entry *e, uint64_t now)
{
    e->standing = LEADER_LEASE_EXPECTED;
    e->until_ns = PLANTED(LEASE_AFTER_AMNESIA)
                      ? now
                      : promise_end(max_u64(now, v->silent_until_ns), v->config.duration_ns);
}

/* The entry of this start, unless a later one is known; NULL: there is no room. */
static struct leader_lease_entry *meet(struct leader_lease_voter *v, uint32_t node, uint64_t start,
                                       uint64_t now)
{
    struct leader_lease_entry *e = entry_of(v, node);
    if (e == NULL && v->count < LIMIT_NODES)
        e = &v->entries[v->count++];
    if (e == NULL || e->start >= start)
        return e;
    *e = (struct leader_lease_entry){.node = node, .start = start};
    expect(v, e, now);
    return e;
}

int leader_lease_know(struct leader_lease_voter *v, uint32_t node, uint64_t start, uint64_t now)
{
    return meet(v, node, start, now) != NULL ? 0 : -ENOSPC;
}

void leader_lease_forget(struct leader_lease_voter *v, uint32_t node)
{
    struct leader_lease_entry *e = entry_of(v, node);
    if (e == NULL)
        return;
    *e = v->entries[--v->count];
    v->entries[v->count] = (struct leader_lease_entry){.node = 0};
}

static bool is_bound(const struct leader_lease_entry *e, uint64_t now)
{
    return e->standing == LEADER_LEASE_OVER && now < e->until_ns && !PLANTED(LEASE_OVER_UNBOUND);
}

int leader_lease_ask(struct leader_lease_voter *v, const struct leader_lease_ask *ask, uint64_t now,
                     bool denied, struct leader_lease_grant *grant)
{
    struct leader_lease_entry *e = meet(v, ask->node, ask->start, now);
    if (e == NULL)
        return -ENOSPC;
    if (e->start > ask->start)
        return -ESTALE;
    if (now < v->silent_until_ns)
        return -EAGAIN;
    if (denied)
        return -EACCES;
    e->has_asked = true;
    if (is_bound(e, now))
        return -EBUSY;
    e->standing = LEADER_LEASE_GRANTED;
    e->until_ns = promise_end(now, v->config.duration_ns);
    *grant = (struct leader_lease_grant){.voter = v->config.voter,
                                         .start = ask->start,
                                         .number = ask->number,
                                         .duration_ns = v->config.duration_ns};
    return 0;
}

/* So long by anybody's clock is no longer than left by ours. */
static uint64_t told_ns(uint64_t left)
{
    uint64_t margin = PLANTED(LEADER_RATE_IGNORED) ? 0 : left / LEASE_RATE + 2;
    return left > margin ? left - margin : 0;
}

static struct leader_lease_over statement_of(const struct leader_lease_entry *e, uint64_t now)
{
    return (struct leader_lease_over){
        .node = e->node, .start = e->start, .bound_ns = told_ns(e->until_ns - now)};
}

/* Its standing has ended.  Returns whether that is said. */
static bool entry_end(const struct leader_lease_voter *v, struct leader_lease_entry *e,
                      uint64_t now)
{
    bool was_bound = e->standing == LEADER_LEASE_OVER;
    if (was_bound && e->has_asked) {
        e->has_asked = false;
        expect(v, e, now);
        return false;
    }
    e->standing = LEADER_LEASE_OVER;
    e->until_ns = promise_end(now, v->config.duration_max_ns);
    e->has_asked = false;
    return true;
}

uint32_t leader_lease_step(struct leader_lease_voter *v, uint64_t now,
                           struct leader_lease_over *over)
{
    uint32_t count = 0;
    if (now < v->silent_until_ns)
        return 0;
    for (uint32_t i = 0; i < v->count; i++) {
        struct leader_lease_entry *e = &v->entries[i];
        if (now >= e->until_ns && entry_end(v, e, now))
            over[count++] = statement_of(e, now);
    }
    return count;
}

uint64_t leader_lease_next(const struct leader_lease_voter *v)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < v->count; i++)
        next = min_u64(next, v->entries[i].until_ns);
    return max_u64(next, v->silent_until_ns);
}

uint32_t leader_lease_bound(const struct leader_lease_voter *v, uint64_t now,
                            struct leader_lease_over *over)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < v->count; i++) {
        const struct leader_lease_entry *e = &v->entries[i];
        if (e->standing == LEADER_LEASE_OVER && now < e->until_ns)
            over[count++] = statement_of(e, now);
    }
    return count;
}

/* Why it is said again after a while of who does not ask: what nobody could take over then, somebody may
 * later. */
void leader_lease_decided(struct leader_lease_voter *v, uint32_t node, uint64_t start, uint64_t now)
{
    struct leader_lease_entry *e = entry_of(v, node);
    if (e == NULL || e->start != start || e->standing != LEADER_LEASE_OVER)
        return;
    e->standing = LEADER_LEASE_DECIDED;
    e->until_ns = promise_end(now, v->config.duration_max_ns);
}

enum leader_lease_standing leader_lease_standing(const struct leader_lease_voter *v, uint32_t node,
                                                 uint64_t start, uint64_t now)
{
    for (uint32_t i = 0; i < v->count; i++) {
        const struct leader_lease_entry *e = &v->entries[i];
        if (e->node == node)
            return e->start == start && now < e->until_ns ? e->standing : LEADER_LEASE_UNKNOWN;
    }
    return LEADER_LEASE_UNKNOWN;
}

/* ---- holder ---- */

void leader_lease_holder_init(struct leader_lease_holder *h, uint32_t node, uint64_t start,
                              const uint32_t *voters, uint32_t voter_count)
{
    ASSERT(voter_count != 0 && voter_count <= LIMIT_VOTERS);
    memset(h, 0, sizeof *h);
    h->node = node;
    h->start = start;
    h->voter_count = voter_count;
    memcpy(h->voters, voters, voter_count * sizeof voters[0]);
}

void leader_lease_holder_voters(struct leader_lease_holder *h, const uint32_t *voters,
                                uint32_t voter_count)
{
    ASSERT(voter_count != 0 && voter_count <= LIMIT_VOTERS);
    h->until_ns = leader_lease_until(h);
    h->voter_count = voter_count;
    memcpy(h->voters, voters, voter_count * sizeof voters[0]);
    memset(h->right_end_ns, 0, sizeof h->right_end_ns);
}

struct leader_lease_ask leader_lease_asked(struct leader_lease_holder *h, uint64_t now)
{
    h->number++;
    h->asked_ns[h->number % LEADER_LEASE_ASKS] = now;
    return (struct leader_lease_ask){.node = h->node, .start = h->start, .number = h->number};
}

int leader_lease_granted(struct leader_lease_holder *h, const struct leader_lease_grant *grant,
                         uint64_t now)
{
    uint32_t i = 0;
    while (i < h->voter_count && h->voters[i] != grant->voter)
        i++;
    if (grant->start != h->start)
        return -ESTALE;
    if (i == h->voter_count || grant->number == 0 || grant->number > h->number)
        return -ENOENT;
    if (h->number - grant->number >= LEADER_LEASE_ASKS)
        return -ESTALE;
    uint64_t asked =
        PLANTED(LEADER_LEASE_FROM_ANSWER) ? now : h->asked_ns[grant->number % LEADER_LEASE_ASKS];
    uint64_t end = right_end(asked, min_u64(grant->duration_ns, LEADER_LEASE_NS_MAX));
    h->right_end_ns[i] = max_u64(h->right_end_ns[i], end);
    return 0;
}

uint64_t leader_lease_until(const struct leader_lease_holder *h)
{
    uint64_t ends[LIMIT_VOTERS] = {0}; /* falling */
    for (uint32_t i = 0; i < h->voter_count; i++) {
        uint32_t at = i;
        for (; at != 0 && ends[at - 1] < h->right_end_ns[i]; at--)
            ends[at] = ends[at - 1];
        ends[at] = h->right_end_ns[i];
    }
    return max_u64(ends[h->voter_count / 2], h->until_ns);
}

int64_t leader_lease_margin_ns(const struct leader_lease_holder *h, uint64_t now)
{
    uint64_t until = leader_lease_until(h);
    return until != 0 ? (int64_t)(until - now) : INT64_MIN;
}
