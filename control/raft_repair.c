#include "control/raft_repair.h"

#include "control/raft_members.h"
#include "engine/plant.h"

#include <endian.h>
#include <string.h>

/* ---- libraft's log ---- */

static raft_index log_last(const struct raft_log *l)
{
    size_t count = l->front <= l->back ? l->back - l->front : l->size - l->front + l->back;
    return l->offset + count;
}

/* NULL: it is not there. */
static const struct raft_entry *entry_of(const struct raft_log *l, raft_index index)
{
    if (index <= l->offset || index > log_last(l))
        return NULL;
    return &l->entries[(l->front + (size_t)(index - 1 - l->offset)) % l->size];
}

raft_index raft_repair_last(const struct raft *raft)
{
    return log_last(&raft->log);
}

bool raft_repair_has(const struct raft *raft, raft_index index, raft_term term)
{
    const struct raft_entry *e = entry_of(&raft->log, index);
    return e != NULL && e->term == term;
}

static raft_term term_of(const struct raft_log *l, raft_index index)
{
    const struct raft_entry *e = entry_of(l, index);
    if (e != NULL)
        return e->term;
    return index == l->snapshot.last_index ? l->snapshot.last_term : 0;
}

/* Newest change up to that index; 0: there is none. */
static raft_index change_before(const struct raft_log *l, raft_index index)
{
    for (; index > l->offset; index--) {
        const struct raft_entry *e = entry_of(l, index);
        if (e != NULL && e->type == RAFT_CHANGE)
            return index;
    }
    return 0;
}

/* ---- configurations ---- */

static uint64_t take_u64(const uint8_t **at)
{
    uint64_t wire;
    memcpy(&wire, *at, sizeof wire);
    *at += sizeof wire;
    return le64toh(wire);
}

/* A server of a change, as raft_configuration_encode makes it: u64 id, its address with a final 0, u8 role.  Why no
 * bounds: raft_wire.h has judged what came from others, the disk's checksum the rest. */
static raft_id server_take(const uint8_t **at, const char **address, int *role)
{
    raft_id id = take_u64(at);
    *address = (const char *)*at;
    *at += strlen(*address) + 1;
    *role = *(*at)++;
    return id;
}

static int decode(const struct raft_buffer *b, struct raft_configuration *c)
{
    const uint8_t *at = (const uint8_t *)b->base + 1; /* behind the format */
    int code = 0;
    raft_configuration_init(c);
    for (uint64_t left = take_u64(&at); left != 0 && code == 0; left--) {
        const char *address;
        int role;
        raft_id id = server_take(&at, &address, &role);
        code = raft_configuration_add(c, id, address, role);
    }
    if (code != 0)
        raft_configuration_close(c);
    return code;
}

static int copy(const struct raft_configuration *from, struct raft_configuration *to)
{
    int code = 0;
    raft_configuration_init(to);
    for (unsigned i = 0; i < from->n && code == 0; i++)
        code = raft_configuration_add(to, from->servers[i].id, from->servers[i].address,
                                      from->servers[i].role);
    if (code != 0)
        raft_configuration_close(to);
    return code;
}

/* The one that holds at an index, and its own index. */
static int configuration_at(const struct raft_repair *r, const struct raft_log *l, raft_index index,
                            struct raft_configuration *c, raft_index *own)
{
    raft_index change = change_before(l, index);
    *own = max_u64(change, r->base_index);
    return *own == r->base_index ? copy(&r->base, c) : decode(&entry_of(l, change)->buf, c);
}

static int base_set(struct raft_repair *r, const struct raft_snapshot *s)
{
    struct raft_configuration c;
    int code = copy(&s->configuration, &c);
    if (code != 0)
        return code;
    raft_configuration_close(&r->base);
    r->base = c;
    r->base_index = s->configuration_index;
    return 0;
}

void raft_repair_init(struct raft_repair *r)
{
    raft_configuration_init(&r->base);
    r->base_index = 0;
}

void raft_repair_fini(struct raft_repair *r)
{
    raft_configuration_close(&r->base);
    raft_repair_init(r);
}

/* ---- what libraft starts with ---- */

int raft_repair_loaded(struct raft_repair *r, const struct raft_snapshot *snapshot)
{
    raft_repair_fini(r);
    return snapshot != NULL ? base_set(r, snapshot) : 0;
}

struct voters {
    uint32_t own, others; /* self, and who is not */
};

static void voter_count(struct voters *v, raft_id id, int role, raft_id self)
{
    if (role != RAFT_VOTER)
        return;
    v->own += id == self ? 1 : 0;
    v->others += id != self ? 1 : 0;
}

static void voters_of_change(struct voters *v, const struct raft_buffer *b, raft_id self)
{
    const uint8_t *at = (const uint8_t *)b->base + 1; /* behind the format */
    for (uint64_t left = take_u64(&at); left != 0; left--) {
        const char *address;
        int role;
        raft_id id = server_take(&at, &address, &role);
        voter_count(v, id, role, self);
    }
}

bool raft_repair_is_alone(const struct raft_repair *r, const struct raft_entry *entries, size_t n,
                          raft_id self)
{
    struct voters v = {0};
    while (n != 0 && entries[n - 1].type != RAFT_CHANGE)
        n--;
    for (unsigned i = 0; n == 0 && i < r->base.n; i++)
        voter_count(&v, r->base.servers[i].id, r->base.servers[i].role, self);
    if (n != 0)
        voters_of_change(&v, &entries[n - 1].buf, self);
    return v.own != 0 && v.others == 0;
}

/* ---- elections ---- */

static bool is_alone(const struct raft *raft)
{
    struct voters v = {0};
    for (unsigned i = 0; i < raft->configuration.n; i++)
        voter_count(&v, raft->configuration.servers[i].id, raft->configuration.servers[i].role,
                    raft->id);
    return v.own != 0 && v.others == 0;
}

/* Not one of its own. */
static bool is_installing(const struct raft *raft)
{
    return raft->snapshot.put.data != NULL && raft->snapshot.pending.term == 0;
}

int raft_repair_tick(struct raft *raft, raft_time now_ms, bool *is_earnest)
{
    bool stands = raft->state == RAFT_FOLLOWER || raft->state == RAFT_CANDIDATE;
    /* Both states begin with it: raft.h. */
    if (!stands ||
        now_ms - raft->election_timer_start < raft->follower_state.randomized_election_timeout)
        return 0;
    if (raft->state == RAFT_CANDIDATE) {
        raft->candidate_state.in_pre_vote = raft->pre_vote && !*is_earnest;
        *is_earnest = false;
        return 0;
    }
    if (is_installing(raft)) {
        raft->election_timer_start = now_ms;
        return 0;
    }
    if (!is_alone(raft))
        return 0;
    int code = raft->io->set_term(raft->io, raft->current_term + 1);
    if (code != 0)
        return code;
    raft->current_term++;
    raft->voted_for = 0;
    return 0;
}

/* ---- what a leader sends ---- */

unsigned raft_repair_sent(const struct raft *raft, raft_id node,
                          const struct raft_append_entries *a)
{
    const struct raft_server *to = raft_members_server(&raft->configuration, node);
    /* Why all to a voter: without it nothing might be committed. */
    if ((to != NULL && to->role == RAFT_VOTER) || PLANTED(RAFT_DEMOTED_AT_ONCE))
        return a->n_entries;
    for (unsigned i = 0; i < a->n_entries; i++) {
        struct voters v = {0};
        if (a->entries[i].type != RAFT_CHANGE || a->prev_log_index + 1 + i <= a->leader_commit)
            continue;
        voters_of_change(&v, &a->entries[i].buf, node);
        if (v.own == 0)
            return i;
    }
    return a->n_entries;
}

/* ---- what others overwrite ---- */

/* First index at which libraft will find its own log another one than these entries, and drop it from there; 0: none. */
static raft_index conflict_of(const struct raft *raft, const struct raft_append_entries *a)
{
    const struct raft_log *l = &raft->log;
    if (a->term < raft->current_term ||
        (a->prev_log_index != 0 && term_of(l, a->prev_log_index) != a->prev_log_term))
        return 0;
    for (unsigned i = 0; i < a->n_entries; i++) {
        raft_index index = a->prev_log_index + 1 + i;
        const struct raft_entry *e = entry_of(l, index);
        if (e != NULL && e->term != a->entries[i].term)
            return index;
    }
    return 0;
}

int raft_repair_receive(const struct raft_repair *r, struct raft *raft,
                        const struct raft_append_entries *a)
{
    struct raft_configuration c;
    raft_index own, conflict = conflict_of(raft, a);
    raft_repair_look(raft);
    if (conflict == 0 || change_before(&raft->log, log_last(&raft->log)) < conflict)
        return 0;
    int code = configuration_at(r, &raft->log, conflict - 1, &c, &own);
    if (code != 0)
        return code;
    raft_configuration_close(&raft->configuration);
    raft->configuration = c;
    raft->configuration_index = own;
    raft->configuration_uncommitted_index = 0;
    return 0;
}

static struct raft_server *self_of(struct raft *raft)
{
    return raft_members_server(&raft->configuration, raft->id);
}

/* As a voter would have become a candidate. */
static void leader_forget(struct raft *raft)
{
    if (raft->state != RAFT_FOLLOWER || raft->follower_state.current_leader.id == 0 ||
        raft->io->time(raft->io) - raft->election_timer_start < raft->election_timeout)
        return;
    raft->follower_state.current_leader.id = 0;
    raft_free(raft->follower_state.current_leader.address);
    raft->follower_state.current_leader.address = NULL;
}

int raft_repair_asked(struct raft *raft)
{
    struct raft_server *self = self_of(raft);
    int role = self != NULL ? self->role : RAFT_STANDBY;
    if (role != RAFT_VOTER)
        leader_forget(raft);
    if (self != NULL && !PLANTED(RAFT_STANDBY_REFUSES))
        self->role = RAFT_VOTER;
    return role;
}

void raft_repair_answered(struct raft *raft, int role)
{
    struct raft_server *self = self_of(raft);
    if (self != NULL)
        self->role = role;
}

void raft_repair_received(struct raft *raft)
{
    struct raft_configuration c;
    raft_index newest = change_before(&raft->log, log_last(&raft->log));
    if (raft->state != RAFT_FOLLOWER || newest <= raft->configuration_index ||
        newest <= raft->configuration_uncommitted_index || PLANTED(RAFT_CHANGE_LATE) ||
        decode(&entry_of(&raft->log, newest)->buf, &c) != 0)
        return;
    raft_configuration_close(&raft->configuration);
    raft->configuration = c;
    raft->configuration_uncommitted_index = newest;
}

void raft_repair_look(struct raft *raft)
{
    raft_index index = raft->configuration_uncommitted_index;
    if (index != 0 && (index <= raft->last_applied || index > log_last(&raft->log)))
        raft->configuration_uncommitted_index = 0;
}

/* ---- snapshots ---- */

int raft_repair_taken(struct raft_repair *r, struct raft *raft)
{
    struct raft_snapshot *s = &raft->snapshot.pending;
    struct raft_configuration c;
    raft_index own;
    int code = configuration_at(r, &raft->log, s->index, &c, &own);
    if (code != 0)
        return code;
    raft_configuration_close(&s->configuration);
    s->configuration = c;
    s->configuration_index = own;
    return base_set(r, s);
}

int raft_repair_installed(struct raft_repair *r, const struct raft_snapshot *snapshot)
{
    return base_set(r, snapshot);
}
