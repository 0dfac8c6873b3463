/* The checker of reads: by the ring, in place, and at a version; the LSN is the witness. */
#include "tests/sim/sim.h"

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
    const struct sim_record *newest = sim_version_at(s, key, lsn_floor);
    if (lsn == 0)
        return newest == NULL || newest->kind != RECORD_DATA || was_deleted(s, key, lsn_floor);
    if (newest != NULL && newest->lsn > lsn)
        return false;
    const struct sim_record *found = sim_record_find(s, lsn);
    return found != NULL && found->key == key;
}

static void check_found(struct sim *s, const struct sim_read *r, const struct sim_found *f)
{
    const struct sim_shard *shard = &s->shards[sim_shard_of(f->key)];
    if (!read_is_right(shard, f->key, f->lsn, r->lsn_floor)) {
        sim_broken(s, "S10", "read in place at node %u: key %u at %llu, told of %llu before",
                   r->node, f->key, (unsigned long long)f->lsn, (unsigned long long)r->lsn_floor);
        return;
    }
    const struct sim_record *found = sim_record_find(shard, f->lsn);
    if (f->result == 1 && (found == NULL || found->value != f->value))
        sim_broken(s, "S11", "read in place at node %u: another value at %llu", r->node,
                   (unsigned long long)f->lsn);
}

/* All keys of a batch as they stood at its commit LSN, which is the end of a transaction (S6): so it
 * saw each of them whole, or not at all. */
static void check_batch(struct sim *s, const struct sim_read *r, const struct sim_found *f)
{
    uint64_t below =
        r->point.lsn != 0 ? r->point.lsn - 1 : 0; /* 0: nothing is committed here yet */
    const struct sim_record *stands =
        sim_version_at(&s->shards[sim_shard_of(f->key)], f->key, below);
    uint64_t lsn = stands != NULL && stands->kind == RECORD_DATA ? stands->lsn : 0;
    uint64_t seen = f->result == 1 ? f->lsn : 0;
    if (seen != lsn)
        sim_broken(s, "S6", "batch at node %u: key %u at %llu, at its commit LSN %llu stood %llu",
                   r->node, f->key, (unsigned long long)seen, (unsigned long long)r->point.lsn,
                   (unsigned long long)lsn);
}

void sim_check_read(struct sim *s, const struct sim_read *r)
{
    for (uint32_t i = 0; i < r->count; i++) {
        check_found(s, r, &r->found[i]);
        if (r->count > 1)
            check_batch(s, r, &r->found[i]);
    }
}

/* ---- at a version ---- */

/* Newer versions of a key than this one.  UINT32_MAX: one of them is a tombstone, and what is below may
 * have gone with it; or it may belong to the transaction that is read at, which nothing tells once the
 * record was copied forward. */
static uint32_t newer_count(const struct sim_shard *shard, const struct sim_record *of,
                            uint64_t segment_at, uint32_t segment_shift)
{
    uint32_t count = 0;
    for (const struct sim_record *r = of + 1; r != shard->records + shard->record_count; r++) {
        bool continues =
            (r->flags & RECORD_FLAG_CONTINUES) != 0 && r->lsn >> segment_shift == segment_at;
        if (r->key != of->key)
            continue;
        if (r->kind != RECORD_DATA || continues)
            return UINT32_MAX;
        count++;
    }
    return count;
}

/* The version that replaced it is so young that it is kept for that.  Why the other bound: so many versions
 * of a key may come before the next look at how many there are. */
static bool is_kept_for_time(const struct shard *shard, const struct sim_shard *known,
                             const struct sim_record *stands, uint32_t newer)
{
    const struct versions *v = &shard->versions;
    const struct sim_record *end = known->records + known->record_count;
    const struct sim_record *next = stands + 1;
    uint64_t now = max_u64(shard->log.hybrid_clock, v->clock_ns);
    while (next != end && next->key != stands->key)
        next++;
    return v->span_ns != 0 && next != end && newer < LIMIT_VERSION_WALK - LAYOUT_LINK_COUNTS &&
           now <= next->clock_ns + v->span_ns;
}

/* S21: of a key that nobody wrote yet, "compacted" is said below the newest tombstone at most.  Why not of
 * one that was written since: its versions may be trimmed. */
static void check_horizon(struct sim *s, const struct sim_read *r, const struct sim_found *f)
{
    uint32_t k = sim_shard_of(f->key);
    const struct sim_node *n = &s->nodes[r->node];
    const struct sim_shard *shard = &s->shards[k];
    /* relaxed: in one thread */
    uint64_t horizon =
        atomic_load_explicit(&n->boards[k].lsn_tombstone_horizon, memory_order_relaxed);
    if (n->shards[k].replica.counts[REPLICA_COUNT_INSTALLS] != 0)
        return;
    bool is_told = false;
    for (uint32_t i = shard->record_count; i-- > 0;) {
        if (shard->records[i].key == f->key)
            return;
        is_told |=
            shard->records[i].kind == RECORD_TOMBSTONE && shard->records[i].lsn_end >= horizon;
    }
    if (is_told && horizon > r->lsn_at)
        return;
    sim_broken(s, "S21", "node %u: key %u is compacted at %llu, below %llu, where no tombstone was",
               r->node, f->key, (unsigned long long)r->lsn_at, (unsigned long long)horizon);
}

/* S21: what is among the versions that are kept is not compacted, unless the log is gone by which the end
 * of the transaction is known, or this replica took over a snapshot, or was short of memory. */
static void check_compacted(struct sim *s, const struct sim_read *r,
                            const struct sim_record *stands)
{
    const struct sim_node *n = &s->nodes[r->node];
    const struct sim_replica *at = &n->shards[sim_shard_of(stands->key)];
    const struct sim_shard *shard = &s->shards[sim_shard_of(stands->key)];
    uint32_t shift = n->header->geometry.segment_shift;
    uint64_t available;
    /* relaxed: in one thread */
    uint64_t cut = atomic_load_explicit(&n->page->counters[0].value[COUNTER_HISTORIES_CUT],
                                        memory_order_relaxed);
    if (stands->kind != RECORD_DATA || cut != 0 ||
        at->replica.counts[REPLICA_COUNT_INSTALLS] != 0 ||
        log_bytes_at(&at->shard->log, r->lsn_at, &available) == NULL)
        return;
    uint32_t newer = newer_count(shard, stands, r->lsn_at >> shift, shift);
    if (newer >= at->shard->versions.count && !is_kept_for_time(at->shard, shard, stands, newer))
        return;
    sim_broken(s, "S21", "node %u: key %u at %llu is compacted at %llu, and ought to be kept",
               r->node, stands->key, (unsigned long long)stands->lsn,
               (unsigned long long)r->lsn_at);
}

/* S21: a key at a version is what the log said of it up to the end of the transaction there. */
static void check_at(struct sim *s, const struct sim_read *r, const struct sim_found *f)
{
    const struct sim_shard *shard = &s->shards[sim_shard_of(f->key)];
    const struct sim_record *end = sim_record_find(shard, r->lsn_at);
    while (end != NULL && !end->ends)
        end++;
    const struct sim_record *stands = end != NULL ? sim_version_at(shard, f->key, end->lsn) : NULL;
    uint64_t lsn = stands != NULL && stands->kind == RECORD_DATA ? stands->lsn : 0;
    uint64_t seen = f->result == 1 ? f->lsn : 0;
    if (f->result == -ENODATA) {
        s->reads_compacted++;
        if (stands != NULL)
            check_compacted(s, r, stands);
        else
            check_horizon(s, r, f);
        return;
    }
    s->reads_at++;
    if (seen != lsn)
        sim_broken(s, "S21", "node %u: key %u at %llu was %llu, it read %llu", r->node, f->key,
                   (unsigned long long)r->lsn_at, (unsigned long long)lsn,
                   (unsigned long long)seen);
    else if (seen != 0 && stands->value != f->value)
        sim_broken(s, "S11", "node %u: another value at %llu, read at %llu", r->node,
                   (unsigned long long)seen, (unsigned long long)r->lsn_at);
}

void sim_check_read_at(struct sim *s, const struct sim_read *r)
{
    /* Why not: what was lost there has no versions. */
    if (s->shards[sim_shard_of(r->found[0].key)].epoch_lossy != 0)
        return;
    for (uint32_t i = 0; i < r->count; i++)
        check_at(s, r, &r->found[i]);
}

/* ---- by the ring ---- */

void sim_check_gets(struct sim *s)
{
    for (uint32_t i = 0; i < s->operation_count && s->broken == NULL; i++) {
        const struct sim_operation *o = &s->history[i];
        const struct sim_shard *shard = &s->shards[sim_shard_of(o->key)];
        /* Why the second: it may have been given up with the majority that knew of it. */
        if (o->returned == 0 || o->kind != OPERATION_GET ||
            (shard->epoch_lossy != 0 && o->invoked < shard->time_lossy))
            continue;
        if (!read_is_right(shard, o->key, o->lsn, o->lsn_floor))
            sim_broken(s, "S10", "get of key %u at %llu, told of %llu before", o->key,
                       (unsigned long long)o->lsn, (unsigned long long)o->lsn_floor);
        const struct sim_record *found = sim_record_find(shard, o->lsn);
        if (o->status == RING_OK && (found == NULL || found->value != o->read_value))
            sim_broken(s, "S11", "get of key %u: another value at %llu", o->key,
                       (unsigned long long)o->lsn);
    }
}
