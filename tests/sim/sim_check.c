/* The checker: it sees every node, and learns the committed log from whoever commits first. */
#include "tests/sim/sim.h"
#include "tests/sim/sim_search.h"

#include "engine/extension.h"
#include "engine/install.h"
#include "engine/pending.h"

#include <string.h>

static uint32_t key_of(const struct record *r)
{
    uint64_t key = SIM_KEYS;
    if (record_is_keyed(r) && r->key_length == sizeof key)
        memcpy(&key, record_key(r), sizeof key);
    return (uint32_t)key;
}

/* ---- the committed log ---- */

const struct sim_record *sim_record_find(const struct sim_shard *s, uint64_t lsn)
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

/* When a leader appended first what a client asked for, if that still waits for its answer. */
static uint64_t written_of(const struct sim *s, const struct record *r, uint32_t k)
{
    for (uint32_t i = 0; i < SIM_CLIENTS && r->session != 0; i++) {
        const struct sim_client *c = &s->clients[i];
        /* Why not one that opens or closes: its last operation was another shard's, perhaps. */
        if (c->busy && !c->opening && !c->closing && c->shard == k &&
            c->now.session == r->session && c->now.sequence == r->sequence)
            return c->now.written;
    }
    return 0;
}

/* S19: by no clock is a ttl over before it is. */
static void expired_learn(struct sim *s, struct sim_shard *shard, const struct sim_record *r)
{
    const struct sim_record *before = sim_record_find(shard, r->lsn_previous);
    if (before == NULL || before->key != r->key || before->ttl_ns == 0) {
        sim_broken(s, "S19", "the expiry at %llu is of no version that has a ttl",
                   (unsigned long long)r->lsn);
        return;
    }
    uint64_t least_ns = before->ttl_ns - before->ttl_ns / 1000;
    if (before->written != 0 && s->time < before->written + least_ns)
        sim_broken(s, "S19", "key %u at %llu expired after %llu ns, its ttl is %llu", r->key,
                   (unsigned long long)before->lsn, (unsigned long long)(s->time - before->written),
                   (unsigned long long)before->ttl_ns);
    s->expired++;
    const struct sim_operation o = {
        .kind = OPERATION_EXPIRE,
        .key = r->key,
        .invoked = max_u64(before->learned, before->written + least_ns),
        .returned = s->time,
        .status = RING_OK,
        .expected = before->lsn,
    };
    sim_place_add(s, &o);
}

/* Somebody asked for its end. */
static bool is_closed(const struct sim *s, uint32_t k, uint64_t session)
{
    for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
        const struct sim_client *c = &s->clients[i];
        if (c->busy && c->closing && c->shard == k && c->sessions[k].lsn == session)
            return true;
    }
    return s->close_unknown;
}

#define DAYS_APART_NS (50 * NS_PER_MS) /* times of day, at most, as long as nobody sets one */

/* S24: a session is not forgotten before its ttl is over, by the clocks of the log. */
static void forgotten_learn(struct sim *s, const struct sim_shard *shard,
                            const struct sim_record *r)
{
    uint32_t k = (uint32_t)(shard - s->shards);
    if (is_closed(s, k, r->session))
        return;
    s->sessions_expired++;
    if (s->fault_counts[FAULT_JUMP] != 0 || shard->epoch_lossy != 0)
        return;
    const struct sim_record *last = r - 1;
    while (last != shard->records && last->session != r->session && last->lsn != r->session)
        last--;
    if (last->clock_ns + s->session_ttl_ns > r->clock_ns + DAYS_APART_NS)
        sim_broken(
            s, "S24", "session %llu is forgotten %llu ns after its last record, its ttl is %llu",
            (unsigned long long)r->session, (unsigned long long)(r->clock_ns - last->clock_ns),
            (unsigned long long)s->session_ttl_ns);
}

/* A place by LSN, which is what all look it up by.  Why not the last: what a lossy epoch gave up may lie above
 * what its leader's log had. */
static struct sim_record *record_place(struct sim_shard *shard, uint64_t lsn)
{
    uint32_t at = shard->record_count++;
    for (; at != 0 && shard->records[at - 1].lsn > lsn; at--)
        shard->records[at] = shard->records[at - 1];
    return &shard->records[at];
}

static void record_learn(struct sim *s, uint32_t k, const struct record *r, uint64_t size,
                         uint64_t epoch)
{
    struct sim_shard *shard = &s->shards[k];
    if (shard->record_count == SIM_RECORDS_MAX)
        return;
    struct sim_record *known = record_place(shard, r->lsn);
    *known = (struct sim_record){
        .lsn = r->lsn,
        .lsn_end = r->lsn + size,
        .lsn_previous = r->lsn_previous,
        .epoch = epoch,
        .session = r->session,
        .sequence = r->sequence,
        .token = extension_token(r),
        .ttl_ns = extension_ttl(r),
        .learned = s->time,
        .written = written_of(s, r, k),
        .clock_ns = r->hybrid_clock,
        .key = key_of(r),
        .kind = r->kind,
        .operation = r->operation,
        .flags = r->flags,
        .ends = (r->flags & RECORD_FLAG_TRANSACTION_END) != 0,
        .crc = r->crc,
    };
    if (r->kind == RECORD_VOID) {
        struct record_result result = {.status = RING_OK};
        struct record_token token = {.token = 0};
        if (record_extension(r, RECORD_EXTENSION_RESULT, &result, sizeof result))
            known->status = (uint8_t)result.status;
        if (record_extension(r, RECORD_EXTENSION_TOKEN, &token, sizeof token))
            known->token = token.token;
    }
    if (r->kind == RECORD_DATA)
        known->value = sim_model_value(record_value(r), r->value_length);
    if (r->kind == RECORD_EXPIRE && known->key != SIM_KEYS) {
        known->kind = RECORD_TOMBSTONE; /* what it acts as */
        known->expired = true;
        expired_learn(s, shard, known);
    } else if (r->kind == RECORD_EXPIRE)
        forgotten_learn(s, shard, known);
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
        /* Why not those before a full table: it forgot their epochs, which says nothing of them. */
        if (l->epoch_count < LIMIT_EPOCHS || shard->records[i].epoch >= l->epochs[0].epoch)
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
            const struct sim_record *known = sim_record_find(shard, r.lsn);
            if (known == NULL && r.lsn >= committed_end(shard))
                record_learn(s, k, (const void *)bytes, (uint64_t)size, log_epoch_at(log, r.lsn));
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

const struct sim_record *sim_version_at(const struct sim_shard *s, uint32_t key, uint64_t lsn)
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

/* What a node shows lets agents read a shard there, whatever its replica knows by now. */
static bool is_shown_readable(const struct sim *s, const struct sim_node *n, uint32_t k)
{
    struct read_point p;
    read_begin(&p, &n->read, k);
    return sim_clock(s, n) < read_lease_deadline(&p, &n->read);
}

/* S9: who lets read holds all that is committed. */
static void check_holds(struct sim *s, uint32_t node, uint32_t k, bool shown)
{
    uint64_t lsn_end = s->nodes[node].shards[k].shard->log.lsn_end;
    uint64_t lsn_committed = committed_end(&s->shards[k]);
    if (lsn_end < lsn_committed)
        sim_broken(s, "S9", "node %u %s and ends at %llu, committed is %llu", node,
                   shown ? "shows that it may be read" : "may answer", (unsigned long long)lsn_end,
                   (unsigned long long)lsn_committed);
}

/* S8: rights to read of different epochs never overlap in real time.  S9, too. */
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
        if (n->up && is_shown_readable(s, n, k))
            check_holds(s, i, k, true);
        if (!n->up || !replica_may_answer(r, sim_clock(s, n)))
            continue;
        if (epoch != 0 && epoch != r->promised)
            sim_broken(s, "S8", "rights to read in epochs %llu and %llu at once",
                       (unsigned long long)epoch, (unsigned long long)r->promised);
        epoch = r->promised;
        check_holds(s, i, k, false);
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
            sim_version_at(&s->shards[k], (uint32_t)key, p.lsn != 0 ? p.lsn - 1 : 0);
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

void sim_check_shown(struct sim *s, uint32_t node)
{
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        committed_compare(s, node, k);
}

void sim_check_node(struct sim *s, uint32_t node)
{
    for (uint32_t k = 0; k < SIM_SHARDS; k++) {
        check_promise(s, node, k);
        check_leader(s, node, k);
        committed_compare(s, node, k);
        check_complete(s, node, k);
        check_ceiling(s, node, k);
        check_rights(s, node, k);
        sim_check_order(s, node, k);
        if (s->steps % STATE_STEPS == 0)
            check_state(s, node, k);
    }
}

/* ---- the history ---- */

/* S24: nothing of a session stands behind where it is forgotten. */
static void check_forgotten(struct sim *s, const struct sim_shard *shard, uint32_t i)
{
    uint64_t session = shard->records[i].session;
    for (uint32_t j = i + 1; j < shard->record_count; j++)
        if (shard->records[j].session == session && !shard->records[j].lost)
            sim_broken(s, "S24", "session %llu is forgotten at %llu, and writes at %llu",
                       (unsigned long long)session, (unsigned long long)shard->records[i].lsn,
                       (unsigned long long)shard->records[j].lsn);
}

/* S15: a (session, sequence) stands in the log once. */
static void check_once(struct sim *s, const struct sim_shard *shard)
{
    for (uint32_t i = 0; i < shard->record_count && s->broken == NULL; i++) {
        const struct sim_record *a = &shard->records[i];
        if (a->kind == RECORD_EXPIRE && !a->lost)
            check_forgotten(s, shard, i);
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
    sim_check_gets(s);
    for (uint32_t k = 0; k < SIM_SHARDS; k++) {
        check_once(s, &s->shards[k]);
        sim_replay(s, k);
    }
    uint32_t shard, undecided = 0;
    for (uint32_t k = 0; k < SIM_SHARDS; k++)
        if (s->shards[k].epoch_lossy != 0)
            return; /* what was lost has no order */
    if (s->broken == NULL && !sim_search(s, &shard, &undecided))
        sim_broken(s, "linearizability", "no order of the operations of shard %u explains them",
                   shard);
    s->undecided = undecided;
}
