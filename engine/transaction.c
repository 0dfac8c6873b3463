/* transaction - several puts, deletes and conditions that count together or not at all.
 *
 * All conditions are judged and all room is seen to before the first record is appended; from there on
 * nothing can fail.  The records stand next to each other in one segment, and only the last of them has
 * the end flag and the (session, sequence): until it is there, a follower, a reader and a recovery take
 * none of them for anything. */
#include "engine/pending.h"
#include "engine/write.h"

#include <string.h>

/* What was found out about it before anything is appended. */
struct plan {
    struct write_judgement items[LIMIT_TRANSACTION_RECORDS];
    bool effect[LIMIT_TRANSACTION_RECORDS]; /* a record will be appended */
    uint32_t last;                          /* of these; if effect_count is not 0 */
    uint32_t effect_count;
};

static bool is_write(const struct shard_item *i)
{
    return i->operation == RING_PUT || i->operation == RING_DELETE;
}

/* One of them as a write of its own.  Only the last carries what the session is told by. */
static struct shard_write write_of(const struct shard_transaction *t, const struct shard_item *i,
                                   bool last)
{
    struct shard_write w = {
        .origin = t->origin,
        .hash = i->hash,
        .key = i->key,
        .value = i->value,
        .extension = i->extension,
        .value_length = i->value_length,
        .key_length = i->key_length,
        .extension_length = i->extension_length,
        .compare = i->compare,
        .expected_lsn = i->expected_lsn,
        .session_slot = last ? t->session_slot : SESSION_NONE,
        .uid = t->uid,
        .session = t->session,
        .sequence = last ? t->sequence : 0,
        .clock_ns = t->clock_ns,
    };
    w.origin.operation = i->operation;
    return w;
}

/* Bytes of the record that an item makes. */
static uint64_t item_bytes(const struct shard_item *i)
{
    return record_bytes(i->extension_length, i->key_length,
                        i->operation == RING_PUT ? i->value_length : 0);
}

/* Where those that start at a position of a segment end, pads included.  plan NULL: if all of them make
 * a record, which never ends earlier than fewer of them do. */
static uint64_t end_of(const struct shard_transaction *t, const struct plan *plan,
                       uint64_t position)
{
    for (uint32_t i = 0; i < t->count; i++) {
        if (plan != NULL ? !plan->effect[i] : !is_write(&t->items[i]))
            continue;
        uint64_t size = item_bytes(&t->items[i]);
        position += record_pad_before(position, size) + size;
    }
    return position;
}

static bool is_twice(const struct shard_transaction *t, uint32_t n)
{
    const struct shard_item *a = &t->items[n];
    for (uint32_t i = 0; i < n; i++) {
        const struct shard_item *b = &t->items[i];
        if (a->hash == b->hash && a->key_length == b->key_length &&
            memcmp(a->key, b->key, a->key_length) == 0)
            return true;
    }
    return false;
}

/* What can be said without a look at the shard's state.  Returns 0, RING_INPUT or RING_TOO_LARGE. */
static int form_judge(const struct shard *s, const struct shard_transaction *t)
{
    if (t->count == 0 || t->count > LIMIT_TRANSACTION_RECORDS)
        return t->count == 0 ? RING_INPUT : RING_TOO_LARGE;
    for (uint32_t i = 0; i < t->count; i++) {
        const struct shard_item *item = &t->items[i];
        bool is_known = is_write(item) || (item->operation == RING_NOP && item->compare);
        if (!is_known || is_twice(t, i))
            return RING_INPUT;
        if (item->operation == RING_PUT && item->value_length > s->value_bytes_max)
            return RING_TOO_LARGE;
    }
    return end_of(t, NULL, 0) > UINT64_C(1) << s->geometry.segment_shift ? RING_TOO_LARGE : 0;
}

/* ---- conditions ---- */

/* Judge them all.  Returns 0 with *failed naming the first whose condition does not hold, t->count if
 * there is none, or -EAGAIN. */
static int conditions_judge(struct shard *s, const struct shard_transaction *t, struct plan *plan,
                            uint32_t *failed)
{
    *failed = t->count;
    plan->effect_count = plan->last = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        struct shard_write w = write_of(t, &t->items[i], false);
        int error = write_judge(s, &w, &plan->items[i]);
        if (error != 0)
            return error;
        if (plan->items[i].status == RING_CONDITION && *failed == t->count)
            *failed = i;
        /* what is to be deleted and is not there needs no record */
        plan->effect[i] = is_write(&t->items[i]) && plan->items[i].status == RING_OK;
        plan->last = plan->effect[i] ? i : plan->last;
        plan->effect_count += plan->effect[i];
    }
    return 0;
}

/* ---- room ---- */

/* The shard may hold what they leave behind.  Returns as write_admit_charge. */
static int charge_admit(struct shard *s, const struct shard_transaction *t, const struct plan *plan)
{
    uint64_t charge = 0, freed = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        if (!plan->effect[i] || t->items[i].operation != RING_PUT)
            continue;
        const struct record *head = plan->items[i].head;
        charge += shard_charge(s, item_bytes(&t->items[i]));
        freed += head != NULL ? shard_charge(s, record_size(head)) : 0;
    }
    return charge <= freed ? 0
                           : write_admit_charge(s, s->live_charge + charge - freed, WRITE_EIGHTHS);
}

/* One of the first n has been promised this slot. */
static bool is_promised(const struct plan *plan, uint32_t n, const _Atomic uint64_t *slot)
{
    for (uint32_t i = 0; i < n; i++)
        if (plan->effect[i] && plan->items[i].place.slot == slot)
            return true;
    return false;
}

/* A slot for the nth, which is new, that none of those before it was promised: empty slots of one chain
 * look free until they are set.  As index_make_room. */
static int slot_promise(struct shard *s, const struct shard_item *item, struct plan *plan,
                        uint32_t n)
{
    struct index_place *place = &plan->items[n].place;
    /* Why again: the chain may be longer by now. */
    int error = index_find(&s->index, (uint32_t)item->hash, item->key, item->key_length, place);
    if (error != 0)
        return error;
    if (place->slot != NULL && is_promised(plan, n, place->slot)) {
        place->slot = NULL;
        for (unsigned i = 0; i < LAYOUT_BUCKET_SLOTS && place->slot == NULL; i++) {
            _Atomic uint64_t *slot = &place->last->slots[i];
            /* relaxed: written by this thread */
            if (atomic_load_explicit(slot, memory_order_relaxed) == 0 &&
                !is_promised(plan, n, slot))
                place->slot = slot;
        }
    }
    return index_make_room(&s->index, place);
}

static int slots_promise(struct shard *s, const struct shard_transaction *t, struct plan *plan)
{
    for (uint32_t i = 0; i < t->count; i++) {
        if (!plan->effect[i] || plan->items[i].place.value != 0)
            continue;
        int error = slot_promise(s, &t->items[i], plan, i);
        if (error == -ENOSPC) {
            counter_add(s->counters, COUNTER_REFUSED_QUOTA, 1);
            return RING_QUOTA;
        }
        if (error != 0)
            return error;
    }
    return 0;
}

/* All of them fit what is left of the tail's segment, or it is filled up and they begin the next one;
 * and the ceiling is beyond their end, as log_append wants it.  Returns 0 or -EAGAIN. */
static int segment_prepare(struct shard *s, const struct shard_transaction *t,
                           const struct plan *plan)
{
    struct log *l = &s->log;
    uint64_t segment = UINT64_C(1) << s->geometry.segment_shift;
    uint64_t position = l->tail.base != NULL ? l->tail.used : 0;
    uint64_t end = end_of(t, plan, position);
    bool fits = end <= segment;
    uint64_t left = fits ? 0 : segment - position;
    uint64_t length = fits ? end - position : left + end_of(t, plan, 0);
    if (l->lsn_end + length + segment > l->lsn_ceiling)
        return -EAGAIN;
    if (!fits) {
        record_write_pad(l->tail.base + l->tail.used, left);
        log_tail_advance(l, left);
        s->bytes_appended += left; /* the cleaner has to make up for it */
    }
    return 0;
}

static int room_make(struct shard *s, const struct shard_transaction *t, struct plan *plan)
{
    int error = charge_admit(s, t, plan);
    if (error == 0)
        error = slots_promise(s, t, plan);
    return error != 0 ? error : segment_prepare(s, t, plan);
}

/* ---- all of it ---- */

/* Append their records.  Returns 0, or -EAGAIN with none appended: only the first can meet a segment
 * that has to be opened. */
static int effects_append(struct shard *s, const struct shard_transaction *t,
                          const struct plan *plan, struct shard_pending *answer)
{
    uint32_t tail = s->pending_tail;
    for (uint32_t i = 0; i <= plan->last; i++) {
        if (!plan->effect[i])
            continue;
        bool last = i == plan->last;
        struct shard_write w = write_of(t, &t->items[i], last);
        struct shard_pending entry = {.offset = SHARD_NO_OFFSET, .session_slot = SESSION_NONE};
        struct shard_pending *p = last ? answer : &entry;
        int error = write_effect(s, &w, &plan->items[i], last, p);
        ASSERT(error == 0 || s->pending_tail == tail);
        if (error != 0)
            return error;
        *pending_at(s, s->pending_tail++) = *p;
    }
    for (uint32_t i = tail; i != s->pending_tail; i++)
        pending_at(s, i)->lsn_wait = s->log.lsn_whole;
    return 0;
}

/* Nothing changes: a void holds the result, so that the sequence goes on. */
static int void_append(struct shard *s, const struct shard_write *w,
                       const struct write_judgement *j, struct shard_pending *answer)
{
    answer->status = (uint8_t)j->status;
    int error = write_void(s, w, j, answer);
    if (error != 0)
        return error;
    answer->lsn_wait = s->log.lsn_whole;
    *pending_at(s, s->pending_tail++) = *answer;
    return 0;
}

static int transaction_next(struct shard *s, const struct shard_transaction *t,
                            struct shard_pending *answer)
{
    struct plan plan;
    uint32_t failed;
    int error = conditions_judge(s, t, &plan, &failed);
    if (error != 0)
        return error;
    if (failed != t->count || plan.effect_count == 0) {
        const struct write_judgement nothing = {.status = RING_OK};
        struct shard_write w = write_of(t, &t->items[0], true);
        w.origin.operation = t->origin.operation;
        return void_append(s, &w, failed != t->count ? &plan.items[failed] : &nothing, answer);
    }
    error = room_make(s, t, &plan);
    return error != 0 ? error : effects_append(s, t, &plan, answer);
}

int shard_transaction(struct shard *s, const struct shard_transaction *t)
{
    int result = form_judge(s, t);
    if (result != 0)
        return result;
    if (!pending_has_room(s, t->count))
        return -EAGAIN;
    struct shard_write w = write_of(t, &t->items[0], true);
    w.origin = t->origin;
    struct session *session;
    bool done;
    result = write_judge_session(s, &w, &session, &done);
    if (done)
        return result;
    struct shard_pending answer = {
        .origin = t->origin,
        .offset = SHARD_NO_OFFSET,
        .session_slot = write_session_slot(s, session),
        .sequence = t->sequence,
    };
    result = transaction_next(s, t, &answer);
    if (result != 0)
        return result;
    if (session != NULL)
        session->appended = t->sequence;
    counter_add(s->counters, COUNTER_OPERATIONS, 1);
    return 0;
}
