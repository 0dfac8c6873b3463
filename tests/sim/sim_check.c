/* The checker: it sees every node, and learns the committed log from whoever commits first. */
#include "tests/sim/sim.h"

#include "engine/pending.h"

#include <string.h>

static uint32_t key_of(const struct record *r)
{
    uint64_t key = SIM_KEYS;
    if ((r->kind == RECORD_DATA || r->kind == RECORD_TOMBSTONE) && r->key_length == sizeof key)
        memcpy(&key, record_key(r), sizeof key);
    return (uint32_t)key;
}

/* ---- the committed log ---- */

static const struct sim_record *record_find(const struct sim *s, uint64_t lsn)
{
    uint32_t low = 0;
    uint32_t high = s->record_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (s->records[middle].lsn < lsn)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->record_count && s->records[low].lsn == lsn ? &s->records[low] : NULL;
}

static void record_learn(struct sim *s, const struct record *r, uint64_t size)
{
    if (s->record_count == SIM_RECORDS_MAX)
        return;
    struct sim_record *known = &s->records[s->record_count++];
    *known = (struct sim_record){
        .lsn = r->lsn,
        .lsn_end = r->lsn + size,
        .session = r->session,
        .sequence = r->sequence,
        .key = key_of(r),
        .kind = r->kind,
        .crc = r->crc,
    };
    if (r->kind == RECORD_DATA && r->value_length >= SIM_VALUE_BYTES)
        memcpy(&known->value, record_value(r), SIM_VALUE_BYTES);
}

/* S4, S5, S6: what a node commits is what was committed there before, and nothing else. */
static void committed_compare(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    uint64_t shown = atomic_load_explicit(&n->board->lsn_committed, memory_order_relaxed);
    if (shown > n->shard->log.lsn_end) {
        sim_broken(s, "S6", "node %u shows commit %llu above its checked end %llu", node,
                   (unsigned long long)shown, (unsigned long long)n->shard->log.lsn_end);
        return;
    }
    while (n->lsn_checked < shown && s->broken == NULL) {
        uint64_t available;
        const uint8_t *bytes = log_bytes_at(&n->shard->log, n->lsn_checked, &available);
        struct record r;
        int64_t size = bytes != NULL ? record_check(bytes, available, &r) : -ENOENT;
        if (size <= 0) {
            sim_broken(s, "S4", "node %u: no sound record at %llu", node,
                       (unsigned long long)n->lsn_checked);
            return;
        }
        if (r.kind != RECORD_PAD) {
            const struct sim_record *known = record_find(s, r.lsn);
            uint64_t end = s->record_count != 0 ? s->records[s->record_count - 1].lsn_end : 0;
            if (known == NULL && r.lsn >= end)
                record_learn(s, (const void *)bytes, (uint64_t)size);
            else if (known == NULL || known->crc != r.crc)
                sim_broken(s, "S5", "node %u commits another record at %llu", node,
                           (unsigned long long)r.lsn);
        }
        n->lsn_checked += (uint64_t)size;
    }
}

/* ---- one node after each step ---- */

static void check_promise(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    if (n->replica.promised < n->promised_max)
        sim_broken(s, "S2", "node %u promised %llu after %llu", node,
                   (unsigned long long)n->replica.promised, (unsigned long long)n->promised_max);
    n->promised_max = n->replica.promised;
}

static void check_leaders(struct sim *s, uint32_t node)
{
    const struct replica *r = &s->nodes[node].replica;
    if (r->role < REPLICA_BRINGING || r->role == REPLICA_STOPPED)
        return;
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct replica *other = &s->nodes[i].replica;
        if (i != node && s->nodes[i].up && other->promised == r->promised &&
            other->role >= REPLICA_BRINGING && other->role != REPLICA_STOPPED)
            sim_broken(s, "S1", "nodes %u and %u both lead epoch %llu", node, i,
                       (unsigned long long)r->promised);
    }
}

/* S5 at the moment that matters: an active leader's log holds all that was ever committed. */
static void check_complete(struct sim *s, uint32_t node)
{
    const struct sim_node *n = &s->nodes[node];
    if (n->replica.role != REPLICA_LEADING || s->record_count == 0)
        return;
    if (s->active.epoch == n->replica.promised &&
        n->shard->log.lsn_end < s->records[s->record_count - 1].lsn_end)
        sim_broken(s, "S5", "leader %u ends at %llu, committed is %llu", node,
                   (unsigned long long)n->shard->log.lsn_end,
                   (unsigned long long)s->records[s->record_count - 1].lsn_end);
}

/* S8: rights to read of different epochs never overlap in real time.  S9: who may answer from its
 * memory holds all that is committed. */
static void check_rights(struct sim *s)
{
    uint64_t epoch = 0;
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct sim_node *n = &s->nodes[i];
        if (!n->up || !replica_may_answer(&n->replica, sim_clock(s, n)))
            continue;
        if (epoch != 0 && epoch != n->replica.promised)
            sim_broken(s, "S8", "rights to read in epochs %llu and %llu at once",
                       (unsigned long long)epoch, (unsigned long long)n->replica.promised);
        epoch = n->replica.promised;
        if (s->record_count != 0 && n->shard->log.lsn_end < s->records[s->record_count - 1].lsn_end)
            sim_broken(s, "S9", "node %u may answer and ends at %llu, committed is %llu", i,
                       (unsigned long long)n->shard->log.lsn_end,
                       (unsigned long long)s->records[s->record_count - 1].lsn_end);
    }
}

void sim_check_node(struct sim *s, uint32_t node)
{
    check_promise(s, node);
    check_leaders(s, node);
    committed_compare(s, node);
    check_complete(s, node);
    check_rights(s);
}

/* ---- linearizability, the LSN as witness ---- */

/* Newest committed version of a key at or below lsn; NULL: none. */
static const struct sim_record *version_at(const struct sim *s, uint32_t key, uint64_t lsn)
{
    for (uint32_t i = s->record_count; i-- > 0;)
        if (s->records[i].lsn <= lsn && s->records[i].key == key)
            return &s->records[i];
    return NULL;
}

/* A read that found lsn (0: nothing) was right at some moment between its invocation and now: it is
 * a committed version, and no newer one was known to anybody before the read was invoked. */
static bool read_is_right(const struct sim *s, uint32_t key, uint64_t lsn, uint64_t lsn_floor)
{
    const struct sim_record *newest = version_at(s, key, lsn_floor);
    if (newest != NULL && newest->lsn > lsn)
        return false;
    if (lsn == 0)
        return newest == NULL;
    const struct sim_record *found = record_find(s, lsn);
    return found != NULL && found->key == key;
}

void sim_check_read(struct sim *s, const struct sim_read *r)
{
    if (!read_is_right(s, r->key, r->lsn, r->lsn_floor)) {
        sim_broken(s, "S10", "read in place at node %u: key %u at %llu, told of %llu before",
                   r->node, r->key, (unsigned long long)r->lsn, (unsigned long long)r->lsn_floor);
        return;
    }
    const struct sim_record *found = record_find(s, r->lsn);
    if (r->found && (found == NULL || found->value != r->value))
        sim_broken(s, "S11", "read in place at node %u: another value at %llu", r->node,
                   (unsigned long long)r->lsn);
}

static void check_write(struct sim *s, const struct sim_operation *o)
{
    const struct sim_record *made = record_find(s, o->lsn);
    if (o->status == RING_OK) {
        uint8_t kind = o->kind == OPERATION_DELETE ? RECORD_TOMBSTONE : RECORD_DATA;
        if (made == NULL || made->key != o->key || made->kind != kind ||
            made->session != o->session || made->sequence != o->sequence)
            sim_broken(s, "S5", "acknowledged write at %llu is not in the log",
                       (unsigned long long)o->lsn);
        else if (made->lsn <= o->lsn_floor)
            sim_broken(s, "S10", "write at %llu lies before %llu, known when it began",
                       (unsigned long long)o->lsn, (unsigned long long)o->lsn_floor);
        if (made == NULL || o->kind != OPERATION_PUT_IF)
            return;
        const struct sim_record *before = version_at(s, o->key, o->lsn - 1);
        uint64_t stood = before != NULL && before->kind == RECORD_DATA ? before->lsn : 0;
        if (stood != o->expected)
            sim_broken(s, "S10", "compare with %llu held where %llu stood",
                       (unsigned long long)o->expected, (unsigned long long)stood);
    } else if (o->status != RING_CONDITION && o->status != RING_NOT_FOUND &&
               o->status != RING_SEQUENCE) {
        sim_broken(s, "S10", "write answered with status %u", o->status);
    }
}

/* S15: a (session, sequence) stands in the log once. */
static void check_once(struct sim *s)
{
    for (uint32_t i = 0; i < s->record_count && s->broken == NULL; i++) {
        const struct sim_record *a = &s->records[i];
        if (a->sequence == 0 || a->session == 0)
            continue;
        /* sequences of a session are in order, so its next record tells */
        for (uint32_t j = i + 1; j < s->record_count; j++) {
            if (s->records[j].session != a->session || s->records[j].sequence == 0)
                continue;
            if (s->records[j].sequence != a->sequence + 1)
                sim_broken(s, "S15", "session %llu: sequence %llu after %llu",
                           (unsigned long long)a->session,
                           (unsigned long long)s->records[j].sequence,
                           (unsigned long long)a->sequence);
            break;
        }
    }
}

void sim_check_history(struct sim *s)
{
    for (uint32_t i = 0; i < s->operation_count && s->broken == NULL; i++) {
        const struct sim_operation *o = &s->history[i];
        if (o->returned == 0)
            continue;
        if (o->kind != OPERATION_GET) {
            check_write(s, o);
            continue;
        }
        if (!read_is_right(s, o->key, o->lsn, o->lsn_floor))
            sim_broken(s, "S10", "get of key %u at %llu, told of %llu before", o->key,
                       (unsigned long long)o->lsn, (unsigned long long)o->lsn_floor);
        const struct sim_record *found = record_find(s, o->lsn);
        if (o->status == RING_OK && (found == NULL || found->value != o->read_value))
            sim_broken(s, "S11", "get of key %u: another value at %llu", o->key,
                       (unsigned long long)o->lsn);
    }
    check_once(s);
}
