#include "engine/expire.h"

#include "engine/extension.h"
#include "engine/pending.h"
#include "engine/plant.h"
#include "engine/write.h"

#define NOWHERE UINT32_MAX
#define CAPACITY_MAX (1u << 28)
#define LOOKS_PER_CALL 256u  /* entries whose time has come by the heap */
#define EXPIRED_PER_CALL 64u /* records appended */
#define SWEEP_PER_ADD 8u

uint32_t expire_capacity(const struct layout_geometry *g)
{
    uint64_t blocks = (uint64_t)g->frames_per_shard << g->segment_shift;
    return (uint32_t)min_u64(blocks / RECORD_SMALL_BYTES, CAPACITY_MAX);
}

/* ---- entries ---- */

/* Whether no key has that version any more, in the state that counts or in the one being built. */
static bool is_gone(struct shard *s, const struct expiry_entry *entry)
{
    struct index_place place;
    if (index_find_version(&s->index, entry->hash, entry->lsn, &place) != 0 || place.value != 0)
        return false;
    return s->install.beside != INSTALL_BUILDING ||
           (index_find_version(&s->install.index, entry->hash, entry->lsn, &place) == 0 &&
            place.value == 0);
}

static void sweep_step(struct shard *s)
{
    struct expiry *e = &s->expiry;
    if (e->sweep >= e->count)
        e->sweep = 0;
    if (e->count != 0 && is_gone(s, &e->heap[e->sweep]))
        expiry_remove(e, e->sweep);
    else
        e->sweep++;
}

/* Why here: entries outlive their keys only where a state was given up for a snapshot.  Why not looked
 * for while the heap is half empty: there is room for all that both states can hold. */
static void sweep(struct shard *s)
{
    const struct expiry *e = &s->expiry;
    if (LIKELY(e->count < e->capacity / 2))
        return;
    for (uint32_t i = 0; i < SWEEP_PER_ADD; i++)
        sweep_step(s);
    for (uint32_t i = 0; expiry_is_full(e) && i < e->capacity; i++)
        sweep_step(s);
}

bool expire_has_room(struct shard *s, uint32_t count)
{
    const struct expiry *e = &s->expiry;
    if (UNLIKELY(e->count + count > e->capacity))
        sweep(s);
    return e->count + count <= e->capacity;
}

void expire_follow(struct shard *s, const struct record *from, const struct record *to,
                   uint64_t steady_ns)
{
    struct expiry *e = &s->expiry;
    uint64_t ttl_ns = to != NULL ? extension_ttl(to) : 0;
    /* Why not while another state is being built: it may have that version, too. */
    bool is_known =
        from != NULL && extension_ttl(from) != 0 && s->install.beside != INSTALL_BUILDING;
    uint32_t place = is_known ? expiry_find(e, from->lsn) : NOWHERE;
    if (ttl_ns == 0) {
        if (place != NOWHERE)
            expiry_remove(e, place);
        return;
    }
    struct expiry_entry entry = {
        .due_ns = steady_ns != 0 ? steady_ns + ttl_ns : 0,
        .counted_ns = steady_ns,
        .lsn = to->lsn,
        .hash = to->hash,
    };
    /* Why there may be one: of a version that went with its log, or with an install, while another state was
     * being built, and whose LSN is another record's now. */
    uint32_t same = expiry_find(e, entry.lsn);
    if (UNLIKELY(same != NOWHERE) && place != NOWHERE && same != place) {
        expiry_remove(e, place);
        same = expiry_find(e, entry.lsn);
    }
    place = same != NOWHERE ? same : place;
    if (place != NOWHERE) {
        entry.due_ns = min_u64(entry.due_ns, e->heap[place].due_ns);
        expiry_set(e, place, &entry);
        return;
    }
    sweep(s);
    /* Why full is passed over: the leader refused what there is no room for, and counts no less. */
    if (!expiry_is_full(e))
        expiry_add(e, &entry);
}

/* ---- the leader ---- */

/* The first record of the epoch that this node leads in. */
static const struct log_epoch *epoch_now(const struct shard *s)
{
    return &s->log.epochs[s->log.epoch_count - 1];
}

uint64_t expire_counted(const struct shard *s, const struct record *r)
{
    const struct expiry *e = &s->expiry;
    uint32_t place = expiry_find(e, r->lsn);
    if (place == NOWHERE || e->epoch != epoch_now(s)->epoch)
        return 0;
    uint64_t counted_ns = e->heap[place].counted_ns;
    return r->lsn < epoch_now(s)->lsn_start ? max_u64(counted_ns, e->active_ns) : counted_ns;
}

/* From when on the ttl of a version is counted. */
static uint64_t counted_from(const struct shard *s, const struct record *r, uint64_t steady_ns,
                             uint64_t clock_ns)
{
    const struct expiry *e = &s->expiry;
    if (PLANTED(TTL_COUNTED_FROM_WRITE)) {
        uint64_t age_ns = clock_ns > r->hybrid_clock ? clock_ns - r->hybrid_clock : 0;
        return steady_ns > age_ns ? steady_ns - age_ns : 0;
    }
    uint64_t counted_ns = e->heap[0].counted_ns;
    if (r->lsn < epoch_now(s)->lsn_start)
        return max_u64(counted_ns, e->active_ns);
    return counted_ns != 0 ? counted_ns : steady_ns; /* our own: counted since it was written */
}

static int expire_append(struct shard *s, const struct index_place *place, uint64_t clock_ns)
{
    const struct write_judgement j = {
        .place = *place,
        .head = shard_record(s, layout_slot_offset(place->value)),
    };
    struct record header = {
        .kind = RECORD_EXPIRE,
        .flags = RECORD_FLAG_TRANSACTION_END | RECORD_FLAG_KEY,
        .key_length = j.head->key_length,
        .hash = j.head->hash,
        .lsn_previous = j.head->lsn,
    };
    const struct record_parts parts = {.key = record_key(j.head)};
    const struct shard_origin nobody = {.operation = 0};
    uint64_t offset;
    if (!pending_has_room(s, 1))
        return -EAGAIN;
    int error = write_append(s, &header, &parts, clock_ns, &offset);
    if (error != 0)
        return error;
    write_point(s, &j, &header, offset);
    struct shard_pending *p = pending_add(s, &nobody);
    p->lsn = header.lsn;
    p->offset = offset;
    p->record_kind = RECORD_TOMBSTONE; /* what it acts as from here on */
    counter_add(s->counters, COUNTER_KEYS_EXPIRED, 1);
    return 0;
}

/* The entry on top: drop it, put it off, or expire its key.  Returns 1: a record was appended; 0; or
 * -EAGAIN. */
static int first_judge(struct shard *s, uint64_t steady_ns, uint64_t clock_ns)
{
    struct expiry *e = &s->expiry;
    struct expiry_entry entry = e->heap[0];
    struct index_place place;
    int error = index_find_version(&s->index, entry.hash, entry.lsn, &place);
    if (error != 0)
        return error;
    const struct record *r =
        place.value != 0 ? shard_record(s, layout_slot_offset(place.value)) : NULL;
    uint64_t ttl_ns = r != NULL ? extension_ttl(r) : 0;
    if (ttl_ns == 0) {
        expiry_remove(e, 0);
        return 0;
    }
    entry.counted_ns = counted_from(s, r, steady_ns, clock_ns);
    entry.due_ns = entry.counted_ns + (PLANTED(EXPIRED_TOO_SOON) ? ttl_ns / 2 : ttl_ns);
    if (entry.due_ns > steady_ns) {
        expiry_set(e, 0, &entry);
        return 0;
    }
    return expire_append(s, &place, clock_ns) == 0 ? 1 : -EAGAIN;
}

uint64_t shard_expire(struct shard *s, uint64_t steady_ns, uint64_t clock_ns)
{
    struct expiry *e = &s->expiry;
    ASSERT(s->log.epoch_count != 0);
    if (e->epoch != epoch_now(s)->epoch) {
        e->epoch = epoch_now(s)->epoch;
        e->active_ns = steady_ns;
    }
    uint32_t expired = 0;
    for (uint32_t i = 0; i < LOOKS_PER_CALL && expired < EXPIRED_PER_CALL; i++) {
        const struct expiry_entry *first = expiry_first(e);
        if (first == NULL)
            return UINT64_MAX;
        if (first->due_ns > steady_ns)
            return first->due_ns;
        int result = first_judge(s, steady_ns, clock_ns);
        if (result < 0)
            break;
        expired += (uint32_t)result;
    }
    return steady_ns;
}
