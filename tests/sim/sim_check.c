/* The checker: it sees every node, and learns the committed log from whoever commits first. */
#include "tests/sim/sim.h"
#include "tests/sim/sim_search.h"

#include "engine/install.h"
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

static const struct sim_record *record_find(const struct sim_shard *s, uint64_t lsn)
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
    return low < s->record_count && s->records[low].lsn == lsn && !s->records[low].lost
               ? &s->records[low]
               : NULL;
}

static void record_learn(struct sim_shard *s, const struct record *r, uint64_t size, uint64_t epoch)
{
    if (s->record_count == SIM_RECORDS_MAX)
        return;
    struct sim_record *known = &s->records[s->record_count++];
    *known = (struct sim_record){
        .lsn = r->lsn,
        .lsn_end = r->lsn + size,
        .epoch = epoch,
        .session = r->session,
        .sequence = r->sequence,
        .key = key_of(r),
        .kind = r->kind,
        .ends = (r->flags & RECORD_FLAG_TRANSACTION_END) != 0,
        .crc = r->crc,
    };
    if (r->kind == RECORD_DATA && r->value_length >= SIM_VALUE_BYTES)
        memcpy(&known->value, record_value(r), SIM_VALUE_BYTES);
}

static uint64_t committed_end(const struct sim_shard *shard)
{
    for (uint32_t i = shard->record_count; i-- > 0;)
        if (!shard->records[i].lost)
            return shard->records[i].lsn_end;
    return 0;
}

/* Behind a snapshot the log is not there; what the node shows is checked by its state. */
static void installed_skip(struct sim_replica *at, uint64_t shown)
{
    uint64_t segment = UINT64_C(1) << at->shard->geometry.segment_shift;
    uint64_t available;
    if (at->installs == at->replica.counts[REPLICA_COUNT_INSTALLS] ||
        install_lsn_visible(at->shard) != 0)
        return;
    at->installs = at->replica.counts[REPLICA_COUNT_INSTALLS];
    while (at->lsn_checked < shown &&
           log_bytes_at(&at->shard->log, at->lsn_checked, &available) == NULL)
        at->lsn_checked = (at->lsn_checked | (segment - 1)) + 1;
    at->amid = false; /* a segment holds whole transactions */
}

/* Whether what was committed in an epoch at an LSN is in a log: between the end of an epoch and the start
 * of the next, which may be lossy, nothing lies. */
static bool log_holds(const struct log *l, const struct sim_record *known)
{
    uint64_t lsn_end = l->lsn_whole;
    for (uint32_t i = l->epoch_count; i-- > 0;) {
        const struct log_epoch *e = &l->epochs[i];
        if (e->epoch == known->epoch)
            return known->lsn >= e->lsn_start && known->lsn < lsn_end;
        lsn_end = e->lsn_end_before;
    }
    return false;
}

/* A lossy epoch begins: what is not in its leader's log is given up (and, where a log from before an
 * earlier lossy epoch is all there is, what was given up then is back). */
static void lossy_learn(struct sim *s, uint32_t node, uint32_t k)
{
    struct sim_shard *shard = &s->shards[k];
    const struct replica *r = &s->nodes[node].shards[k].replica;
    const struct log *l = &r->shard->log;
    if (!r->configuration.lossy || r->configuration.epoch != r->promised ||
        r->role < REPLICA_BRINGING || r->role == REPLICA_STOPPED ||
        r->promised <= shard->epoch_lossy)
        return;
    const struct log_epoch *e = &l->epochs[l->epoch_count - 1];
    if (e->lsn_start < r->configuration.lsn_floor || e->lsn_start <= shard->lsn_told)
        sim_broken(s, "S18", "a lossy epoch begins at %llu, told of was %llu",
                   (unsigned long long)e->lsn_start, (unsigned long long)shard->lsn_told);
    for (uint32_t i = 0; i < shard->record_count; i++)
        shard->records[i].lost = !log_holds(l, &shard->records[i]);
    shard->lsn_lossy = e->lsn_start;
    shard->epoch_lossy = r->promised;
    shard->time_lossy = s->time;
}

/* Where nothing lies, between the end of a log and where a lossy epoch goes on. */
static void gap_skip(struct sim_replica *at)
{
    const struct log *l = &at->shard->log;
    for (uint32_t i = 0; i < l->epoch_count; i++)
        if (l->epochs[i].lossy != 0 && at->lsn_checked >= l->epochs[i].lsn_end_before &&
            at->lsn_checked < l->epochs[i].lsn_start)
            at->lsn_checked = l->epochs[i].lsn_start;
}

/* S4, S5, S6: what a node commits is what was committed there before, and nothing else. */
static void committed_compare(struct sim *s, uint32_t node, uint32_t k)
{
    struct sim_shard *shard = &s->shards[k];
    struct sim_replica *at = &s->nodes[node].shards[k];
    const struct log *log = &at->shard->log;
    uint64_t shown = atomic_load_explicit(&at->shard->board->lsn_committed, memory_order_relaxed);
    if (shown > log->lsn_end) {
        sim_broken(s, "S6", "node %u shows commit %llu above its checked end %llu", node,
                   (unsigned long long)shown, (unsigned long long)log->lsn_end);
        return;
    }
    lossy_learn(s, node, k);
    installed_skip(at, shown);
    if (shown < shard->lsn_lossy)
        return; /* what it shows may have been given up, and it does not know */
    while (at->lsn_checked < shown && s->broken == NULL) {
        gap_skip(at);
        uint64_t available;
        const uint8_t *bytes = log_bytes_at(log, at->lsn_checked, &available);
        struct record r;
        int64_t size = bytes != NULL ? record_check(bytes, available, &r) : -ENOENT;
        if (size <= 0) {
            sim_broken(s, "S4", "node %u: no sound record at %llu", node,
                       (unsigned long long)at->lsn_checked);
            return;
        }
        if (r.kind != RECORD_PAD) {
            at->amid = (r.flags & RECORD_FLAG_TRANSACTION_END) == 0;
            const struct sim_record *known = record_find(shard, r.lsn);
            if (known == NULL && r.lsn >= committed_end(shard))
                record_learn(shard, (const void *)bytes, (uint64_t)size, log_epoch_at(log, r.lsn));
            else if (known == NULL || known->crc != r.crc)
                sim_broken(s, "S5", "node %u commits another record at %llu", node,
                           (unsigned long long)r.lsn);
        }
        at->lsn_checked += (uint64_t)size;
    }
    if (at->amid)
        sim_broken(s, "S6", "node %u shows commit %llu amid a transaction", node,
                   (unsigned long long)shown);
}

/* Newest committed version of a key at or below lsn; NULL: none. */
static const struct sim_record *version_at(const struct sim_shard *s, uint32_t key, uint64_t lsn)
{
    for (uint32_t i = s->record_count; i-- > 0;)
        if (s->records[i].lsn <= lsn && s->records[i].key == key && !s->records[i].lost)
            return &s->records[i];
    return NULL;
}

/* ---- one node after each step ---- */

/* A follower received records of a transaction, and not its end. */
static bool has_half(const struct shard *s)
{
    const struct log *l = &s->log;
    uint64_t segment = UINT64_C(1) << s->geometry.segment_shift;
    if (l->tail.base == NULL || s->landing.lsn_received <= l->lsn_end)
        return false;
    uint64_t there = min_u64(s->landing.lsn_received - l->lsn_end, segment - l->tail.used);
    bool half = false;
    for (uint64_t at = 0; at < there;) {
        struct record h;
        int64_t size = record_check(l->tail.base + l->tail.used + at, there - at, &h);
        if (size < 0)
            break;
        if (h.kind != RECORD_PAD && (h.flags & RECORD_FLAG_TRANSACTION_END) != 0)
            return false;
        half |= h.kind != RECORD_PAD;
        at += (uint64_t)size;
    }
    return half;
}

static void check_promise(struct sim *s, uint32_t node, uint32_t k)
{
    struct sim_replica *at = &s->nodes[node].shards[k];
    if (at->replica.promised < at->promised_max)
        sim_broken(s, "S2", "node %u promised %llu after %llu", node,
                   (unsigned long long)at->replica.promised, (unsigned long long)at->promised_max);
    s->halves +=
        at->promised_max != 0 && at->replica.promised > at->promised_max && has_half(at->shard);
    at->promised_max = at->replica.promised;
}

/* S1: an epoch is led by one start of one node, ever. */
static void check_leader(struct sim *s, uint32_t node, uint32_t k)
{
    struct sim_shard *shard = &s->shards[k];
    const struct replica *r = &s->nodes[node].shards[k].replica;
    if (r->role < REPLICA_BRINGING || r->role == REPLICA_STOPPED || r->promised < shard->epoch_led)
        return;
    if (r->promised == shard->epoch_led && !member_equal(&shard->led_by, &r->self))
        sim_broken(s, "S1", "nodes %u and %u (incarnations %llu, %llu) both lead epoch %llu",
                   shard->led_by.node, node, (unsigned long long)shard->led_by.incarnation,
                   (unsigned long long)r->self.incarnation, (unsigned long long)r->promised);
    shard->epoch_led = r->promised;
    shard->led_by = r->self;
}

/* S5 at the moment that matters: an active leader's log holds all that was ever committed. */
static void check_complete(struct sim *s, uint32_t node, uint32_t k)
{
    const struct sim_replica *at = &s->nodes[node].shards[k];
    const struct sim_shard *shard = &s->shards[k];
    if (at->replica.role == REPLICA_LEADING && shard->active.epoch == at->replica.promised &&
        at->shard->log.lsn_end < committed_end(shard))
        sim_broken(s, "S5", "leader %u ends at %llu, committed is %llu", node,
                   (unsigned long long)at->shard->log.lsn_end,
                   (unsigned long long)committed_end(shard));
}

/* S18: what is written lies below what was granted, so that who begins above repeats no version. */
static void check_ceiling(struct sim *s, uint32_t node, uint32_t k)
{
    uint64_t lsn_end = s->nodes[node].shards[k].shard->log.lsn_end;
    if (lsn_end > s->shards[k].lsn_granted)
        sim_broken(s, "S18", "node %u wrote to %llu, granted is %llu", node,
                   (unsigned long long)lsn_end, (unsigned long long)s->shards[k].lsn_granted);
}

/* S8: rights to read of different epochs never overlap in real time.  S9: who may answer from its
 * memory holds all that is committed. */
static void check_rights(struct sim *s, uint32_t node, uint32_t k)
{
    const struct sim_node *stepped = &s->nodes[node];
    uint64_t epoch = 0, lsn_committed = committed_end(&s->shards[k]);
    /* Why enough: a right begins in a step of its node. */
    if (lsn_committed == s->shards[k].lsn_rights &&
        !replica_may_answer(&stepped->shards[k].replica, sim_clock(s, stepped)))
        return;
    s->shards[k].lsn_rights = lsn_committed;
    for (uint32_t i = 0; i < s->node_count; i++) {
        const struct sim_node *n = &s->nodes[i];
        const struct replica *r = &n->shards[k].replica;
        uint64_t lsn_end = n->up ? n->shards[k].shard->log.lsn_end : 0;
        if (!n->up || !replica_may_answer(r, sim_clock(s, n)))
            continue;
        if (epoch != 0 && epoch != r->promised)
            sim_broken(s, "S8", "rights to read in epochs %llu and %llu at once",
                       (unsigned long long)epoch, (unsigned long long)r->promised);
        epoch = r->promised;
        if (lsn_end < lsn_committed)
            sim_broken(s, "S9", "node %u may answer and ends at %llu, committed is %llu", i,
                       (unsigned long long)lsn_end, (unsigned long long)lsn_committed);
    }
}

/* S11: the bytes of a visible version are what they were. */
static void check_whole(struct sim *s, uint32_t node, const struct read_found *found)
{
    const struct sim_node *n = &s->nodes[node];
    uint64_t segment = UINT64_C(1) << n->header->geometry.segment_shift;
    uint64_t position = (uint64_t)(found->record - n->arena) & (segment - 1);
    struct record r;
    if (record_check(found->record, segment - position, &r) <= 0)
        sim_broken(s, "S11", "node %u: the bytes of a visible version at %llu changed", node,
                   (unsigned long long)found->lsn);
}

/* S5, S6, S11 once more, by what readers find: every key as it stands at the commit LSN shown. */
static void check_state(struct sim *s, uint32_t node, uint32_t k)
{
    const struct sim_node *n = &s->nodes[node];
    for (uint64_t key = 0; key < SIM_KEYS; key++) {
        struct read_point p;
        struct read_key ready;
        struct read_found found;
        if (sim_shard_of(key) != k)
            continue;
        read_key_init(&ready, &n->read, &key, sizeof key);
        ready.shard = k;
        read_begin(&p, &n->read, k);
        int result = read_find(&p, &n->read, &ready, &found);
        if (result < 0 || !read_validate(&p, &n->read, result == 0))
            continue; /* compacted, or given up for a snapshot: no answer is no wrong one */
        if (p.lsn < s->shards[k].lsn_lossy)
            return; /* as above */
        const struct sim_record *stands =
            version_at(&s->shards[k], (uint32_t)key, p.lsn != 0 ? p.lsn - 1 : 0);
        uint64_t lsn = stands != NULL && stands->kind == RECORD_DATA ? stands->lsn : 0;
        uint64_t seen = result == 1 ? found.lsn : 0;
        if (result == 1)
            check_whole(s, node, &found);
        if (seen != lsn)
            sim_broken(s, "S5", "node %u shows key %llu at %llu, committed at %llu is %llu", node,
                       (unsigned long long)key, (unsigned long long)seen, (unsigned long long)p.lsn,
                       (unsigned long long)lsn);
    }
}

#define STATE_STEPS 64u /* it is checked as often */

void sim_check_node(struct sim *s, uint32_t node)
{
    for (uint32_t k = 0; k < SIM_SHARDS; k++) {
        check_promise(s, node, k);
        check_leader(s, node, k);
        committed_compare(s, node, k);
        check_complete(s, node, k);
        check_ceiling(s, node, k);
        check_rights(s, node, k);
        if (s->steps % STATE_STEPS == 0)
            check_state(s, node, k);
    }
}

/* ---- linearizability, the LSN as witness ---- */

static bool was_deleted(const struct sim_shard *s, uint32_t key, uint64_t since)
{
    for (uint32_t i = s->record_count; i-- > 0 && s->records[i].lsn > since;)
        if (s->records[i].key == key && s->records[i].kind == RECORD_TOMBSTONE &&
            !s->records[i].lost)
            return true;
    return false;
}

/* A read that found lsn (0: it was never there, or its tombstone is cleaned) was right at some moment between its invocation and now: it is
 * a committed version, and no newer one was known to anybody before the read was invoked. */
static bool read_is_right(const struct sim_shard *s, uint32_t key, uint64_t lsn, uint64_t lsn_floor)
{
    const struct sim_record *newest = version_at(s, key, lsn_floor);
    if (lsn == 0)
        return newest == NULL || newest->kind != RECORD_DATA || was_deleted(s, key, lsn_floor);
    if (newest != NULL && newest->lsn > lsn)
        return false;
    const struct sim_record *found = record_find(s, lsn);
    return found != NULL && found->key == key;
}

void sim_check_read(struct sim *s, const struct sim_read *r)
{
    const struct sim_shard *shard = &s->shards[sim_shard_of(r->key)];
    if (!read_is_right(shard, r->key, r->lsn, r->lsn_floor)) {
        sim_broken(s, "S10", "read in place at node %u: key %u at %llu, told of %llu before",
                   r->node, r->key, (unsigned long long)r->lsn, (unsigned long long)r->lsn_floor);
        return;
    }
    const struct sim_record *found = record_find(shard, r->lsn);
    if (r->result == 1 && (found == NULL || found->value != r->value))
        sim_broken(s, "S11", "read in place at node %u: another value at %llu", r->node,
                   (unsigned long long)r->lsn);
}

/* ---- transactions ---- */

/* The record that ends what a session asked for under a sequence; NULL: it is not there. */
static const struct sim_record *sequence_find(const struct sim_shard *shard,
                                              const struct sim_operation *o)
{
    for (uint32_t i = 0; i < shard->record_count; i++) {
        const struct sim_record *r = &shard->records[i];
        if (r->session == o->session && r->sequence == o->sequence && !r->lost)
            return r;
    }
    return NULL;
}

/* Whether a part left what it must: a put its record, a delete one or none, a condition none. */
static bool part_is_there(const struct sim_part *part, const struct sim_record **next,
                          const struct sim_record *end)
{
    const struct sim_record *r = *next;
    bool matches = r != end && r->key == part->key;
    if (part->kind == OPERATION_PUT)
        matches = matches && r->kind == RECORD_DATA && r->value == part->value;
    else
        matches = matches && part->kind == OPERATION_DELETE && r->kind == RECORD_TOMBSTONE;
    *next += matches;
    return matches || part->kind != OPERATION_PUT;
}

/* Whether what the conditions of a transaction name stood right before it. */
static bool conditions_held(const struct sim_shard *shard, const struct sim_operation *o,
                            uint64_t lsn_first)
{
    for (uint32_t i = 0; i < o->part_count; i++) {
        const struct sim_record *before = version_at(shard, o->parts[i].key, lsn_first - 1);
        uint64_t stood = before != NULL && before->kind == RECORD_DATA ? before->lsn : 0;
        if (o->parts[i].compare && stood != o->parts[i].expected)
            return false;
    }
    return true;
}

/* All of a transaction's records stand next to each other in the committed log, or none does. */
static void check_transaction(struct sim *s, const struct sim_operation *o)
{
    const struct sim_shard *shard = &s->shards[sim_shard_of(o->key)];
    const struct sim_record *last = sequence_find(shard, o);
    bool done = o->returned != 0 && o->status == RING_OK;
    if (last == NULL || last->kind == RECORD_VOID) {
        if ((done && o->lsn != 0) ||
            (o->returned != 0 && last == NULL && o->status != RING_SEQUENCE))
            sim_broken(s, "S5", "acknowledged transaction at %llu is not in the log",
                       (unsigned long long)o->lsn);
        return;
    }
    const struct sim_record *first = last;
    while (first != shard->records && !first[-1].ends && !first[-1].lost)
        first--;
    const struct sim_record *next = first;
    bool whole = last->ends;
    for (uint32_t i = 0; i < o->part_count; i++)
        whole = part_is_there(&o->parts[i], &next, last + 1) && whole;
    if (!whole || next != last + 1)
        sim_broken(s, "S6", "the transaction at %llu is not whole in the log",
                   (unsigned long long)last->lsn);
    else if (o->returned != 0 && (!done || o->lsn != last->lsn))
        sim_broken(s, "S10", "transaction at %llu answered with status %u at %llu",
                   (unsigned long long)last->lsn, o->status, (unsigned long long)o->lsn);
    else if (first->lsn <= o->lsn_floor)
        sim_broken(s, "S10", "transaction at %llu lies before %llu, known when it began",
                   (unsigned long long)first->lsn, (unsigned long long)o->lsn_floor);
    else if (!conditions_held(shard, o, first->lsn))
        sim_broken(s, "S10", "a condition of the transaction at %llu did not hold",
                   (unsigned long long)first->lsn);
}

static void check_write(struct sim *s, const struct sim_operation *o)
{
    const struct sim_shard *shard = &s->shards[sim_shard_of(o->key)];
    const struct sim_record *made = record_find(shard, o->lsn);
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
        const struct sim_record *before = version_at(shard, o->key, o->lsn - 1);
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
static void check_once(struct sim *s, const struct sim_shard *shard)
{
    for (uint32_t i = 0; i < shard->record_count && s->broken == NULL; i++) {
        const struct sim_record *a = &shard->records[i];
        if (a->sequence == 0 || a->session == 0 || a->lost)
            continue;
        /* sequences of a session are in order, so its next record tells */
        for (uint32_t j = i + 1; j < shard->record_count; j++) {
            const struct sim_record *b = &shard->records[j];
            if (b->session != a->session || b->sequence == 0 || b->lost)
                continue;
            if (b->sequence != a->sequence + 1)
                sim_broken(s, "S15", "session %llu: sequence %llu after %llu",
                           (unsigned long long)a->session, (unsigned long long)b->sequence,
                           (unsigned long long)a->sequence);
            break;
        }
    }
}

void sim_check_history(struct sim *s)
{
    for (uint32_t i = 0; i < s->operation_count && s->broken == NULL; i++) {
        const struct sim_operation *o = &s->history[i];
        const struct sim_shard *shard = &s->shards[sim_shard_of(o->key)];
        /* Why the second: it may have been given up with the majority that knew of it. */
        if (shard->epoch_lossy != 0 && o->invoked < shard->time_lossy)
            continue;
        if (o->kind == OPERATION_TRANSACTION)
            check_transaction(s, o);
        if (o->returned == 0 || o->kind == OPERATION_TRANSACTION)
            continue;
        if (o->kind != OPERATION_GET) {
            check_write(s, o);
            continue;
        }
        if (!read_is_right(shard, o->key, o->lsn, o->lsn_floor))
            sim_broken(s, "S10", "get of key %u at %llu, told of %llu before", o->key,
                       (unsigned long long)o->lsn, (unsigned long long)o->lsn_floor);
        const struct sim_record *found = record_find(shard, o->lsn);
        if (o->status == RING_OK && (found == NULL || found->value != o->read_value))
            sim_broken(s, "S11", "get of key %u: another value at %llu", o->key,
                       (unsigned long long)o->lsn);
    }
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        check_once(s, &s->shards[k]);
    uint32_t shard, undecided = 0;
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        if (s->shards[k].epoch_lossy != 0)
            return; /* what was lost has no order */
    if (s->broken == NULL && !sim_search(s, &shard, &undecided))
        sim_broken(s, "linearizability", "no order of the operations of shard %u explains them",
                   shard);
    s->undecided = undecided;
}
