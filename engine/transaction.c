/* transaction - several writes and conditions that count together or not at all.
 *
 * All conditions are judged, the branch that they lead to is chosen, and all room for it is seen to before
 * the first record is appended; from there on nothing can fail.  The records stand next to each other in one segment, and only the last of them has
 * the end flag and the (session, sequence): until it is there, a follower, a reader and a recovery take
 * none of them for anything. */
#include "engine/expire.h"
#include "engine/pending.h"
#include "engine/plant.h"
#include "engine/write.h"

#include <string.h>

/* What was found out about it before anything is appended. */
struct plan {
    struct write_judgement items[LIMIT_TRANSACTION_RECORDS];
    bool effect[LIMIT_TRANSACTION_RECORDS]; /* a record will be appended */
    uint32_t last;                          /* of these; if effect_count is not 0 */
    uint32_t effect_count;
    uint8_t section; /* enum ring_section: what is done */
};

static bool is_write(const struct shard_item *i)
{
    return i->operation == RING_PUT || i->operation == RING_DELETE ||
           i->operation == RING_INCREMENT;
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
        .delta = i->delta,
        .session_slot = last ? t->session_slot : SESSION_NONE,
        .uid = t->uid,
        .session = t->session,
        .sequence = last ? t->sequence : 0,
        .clock_ns = t->clock_ns,
        .steady_ns = t->steady_ns,
    };
    w.origin.operation = i->operation;
    return w;
}

/* Bytes of the record that an item of the plan makes. */
static uint64_t item_bytes(const struct shard_transaction *t, const struct plan *plan, uint32_t i)
{
    struct shard_write w = write_of(t, &t->items[i], false);
    const struct write_judgement *j = &plan->items[i];
    return record_bytes(write_extension_length(&w, j), w.key_length, write_value_length(&w, j));
}

/* Where a record of so many bytes ends that is appended at a position of a segment. */
static uint64_t end_after(uint64_t position, uint64_t size)
{
    return position + record_pad_before(position, size) + size;
}

/* Where those of the plan that start at a position of a segment end, pads included. */
static uint64_t end_of(const struct shard_transaction *t, const struct plan *plan,
                       uint64_t position)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (plan->effect[i])
            position = end_after(position, item_bytes(t, plan, i));
    return position;
}

/* Where a sum ends at the latest that starts at a position.  Why every length, with a ttl and without: a longer
 * record may need no pad where a shorter one does. */
static uint64_t sum_end_at_most(const struct shard_item *i, uint64_t position)
{
    uint64_t end = position;
    for (uint64_t length = 1; length <= NUMBER_BYTES_MAX; length++) {
        end = max_u64(end, end_after(position, record_bytes(0, i->key_length, length)));
        end = max_u64(end, end_after(position, record_bytes(sizeof(struct record_ttl),
                                                            i->key_length, length)));
    }
    return end;
}

/* Where all writes of a section end at the latest, whichever of them make a record and whatever the sums
 * are. */
static uint64_t end_at_most(const struct shard_transaction *t, uint8_t section)
{
    uint64_t position = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        const struct shard_item *item = &t->items[i];
        uint64_t value_length = item->operation == RING_PUT ? item->value_length : 0;
        uint64_t size = record_bytes(item->extension_length, item->key_length, value_length);
        if (!is_write(item) || item->section != section)
            continue;
        position =
            max_u64(position, item->operation == RING_INCREMENT ? sum_end_at_most(item, position)
                                                                : end_after(position, size));
    }
    return position;
}

static bool is_twice(const struct shard_transaction *t, uint32_t n)
{
    const struct shard_item *a = &t->items[n];
    for (uint32_t i = 0; i < n && a->section != RING_SECTION_COMPARE; i++) {
        const struct shard_item *b = &t->items[i];
        if (a->section == b->section && a->hash == b->hash && a->key_length == b->key_length &&
            memcmp(a->key, b->key, a->key_length) == 0)
            return true;
    }
    return false;
}

/* What an item says has a meaning in its section. */
static bool is_known(const struct shard_item *i)
{
    bool is_condition = i->operation == RING_NOP && i->compare != RING_COMPARE_NONE;
    switch (i->section) {
    case RING_SECTION_THEN:
        return is_condition || is_write(i);
    case RING_SECTION_COMPARE:
        return is_condition;
    case RING_SECTION_ELSE:
        return is_write(i) && i->compare == RING_COMPARE_NONE;
    default:
        return false;
    }
}

static bool is_too_large(const struct shard *s, const struct shard_item *i)
{
    return (i->operation == RING_PUT && i->value_length > s->value_bytes_max) ||
           (i->operation == RING_INCREMENT && s->value_bytes_max < NUMBER_BYTES_MAX);
}

/* What can be said without a look at the shard's state.  Returns 0, RING_INPUT or RING_TOO_LARGE. */
static int form_judge(const struct shard *s, const struct shard_transaction *t)
{
    if (t->count == 0 || t->count > LIMIT_TRANSACTION_RECORDS)
        return t->count == 0 ? RING_INPUT : RING_TOO_LARGE;
    for (uint32_t i = 0; i < t->count; i++) {
        const struct shard_item *item = &t->items[i];
        if (!is_known(item) || item->compare >= RING_COMPARE_COUNT || is_twice(t, i))
            return RING_INPUT;
        if (is_too_large(s, item))
            return RING_TOO_LARGE;
    }
    uint64_t segment = UINT64_C(1) << s->geometry.segment_shift;
    return end_at_most(t, RING_SECTION_THEN) > segment ||
                   end_at_most(t, RING_SECTION_ELSE) > segment
               ? RING_TOO_LARGE
               : 0;
}

/* ---- conditions ---- */

static bool has_section(const struct shard_transaction *t, uint8_t section)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->items[i].section == section)
            return true;
    return false;
}

/* Judge them all, and choose what is done.  Returns 0 with *refused naming the first whose condition does
 * not hold, if nothing is to be done then, else t->count; or -EAGAIN. */
static int conditions_judge(struct shard *s, const struct shard_transaction *t, struct plan *plan,
                            uint32_t *refused)
{
    *refused = t->count;
    for (uint32_t i = 0; i < t->count; i++) {
        if (t->items[i].compare == RING_COMPARE_NONE)
            continue;
        struct shard_write w = write_of(t, &t->items[i], false);
        /* Why: that a key is leased says no to the write, not to what it asks for. */
        w.origin.operation = RING_NOP;
        int error = write_judge(s, &w, &plan->items[i]);
        if (error != 0)
            return error;
        if (plan->items[i].status == RING_CONDITION && *refused == t->count)
            *refused = i;
    }
    plan->section = *refused == t->count ? RING_SECTION_THEN : RING_SECTION_ELSE;
    if (!has_section(t, RING_SECTION_ELSE)) {
        plan->section = RING_SECTION_THEN;
        return 0;
    }
    if (PLANTED(ELSE_IGNORES_CONDITION))
        plan->section = RING_SECTION_ELSE;
    *refused = t->count;
    return 0;
}

/* Judge what is to be done.  Returns as conditions_judge, of what cannot be. */
static int writes_judge(struct shard *s, const struct shard_transaction *t, struct plan *plan,
                        uint32_t *refused)
{
    *refused = t->count;
    plan->effect_count = plan->last = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        plan->effect[i] = false;
        if (!is_write(&t->items[i]) || t->items[i].section != plan->section)
            continue;
        struct shard_write w = write_of(t, &t->items[i], false);
        w.compare = RING_COMPARE_NONE; /* it was asked already */
        int error = write_judge(s, &w, &plan->items[i]);
        if (error != 0)
            return error;
        enum ring_status status = plan->items[i].status;
        if (status != RING_OK && status != RING_NOT_FOUND && *refused == t->count)
            *refused = i;
        /* what is to be deleted and is not there needs no record */
        plan->effect[i] = status == RING_OK;
        plan->last = plan->effect[i] ? i : plan->last;
        plan->effect_count += plan->effect[i];
    }
    return 0;
}

/* What the last record says of the whole, if it is one that agents asked for. */
static void end_mark(const struct shard_transaction *t, uint8_t section, struct write_judgement *j)
{
    if (t->origin.operation != RING_TRANSACTION)
        return;
    j->operation = RING_TRANSACTION;
    j->flags = section == RING_SECTION_ELSE ? RECORD_FLAG_ELSE : 0;
    j->number = section == RING_SECTION_THEN;
}

/* ---- room ---- */

/* The shard may hold what they leave behind.  Returns as write_admit_charge. */
static int charge_admit(struct shard *s, const struct shard_transaction *t, const struct plan *plan)
{
    uint64_t charge = 0, freed = 0;
    unsigned eighths = WRITE_EIGHTHS_SESSIONS; /* as of one delete */
    for (uint32_t i = 0; i < t->count; i++) {
        if (!plan->effect[i] || (t->items[i].operation == RING_DELETE && !s->has_history))
            continue;
        eighths = t->items[i].operation == RING_DELETE ? eighths : WRITE_EIGHTHS;
        charge += shard_charge(s, item_bytes(t, plan, i));
        freed += write_freed(s, plan->items[i].head);
    }
    return charge <= freed ? 0 : write_admit_charge(s, s->live_charge + charge - freed, eighths);
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

/* Memory for the new ones in the ordered index.  Returns 0, -EAGAIN or RING_QUOTA. */
static int order_promise(struct shard *s, const struct shard_transaction *t,
                         const struct plan *plan)
{
    uint32_t words = 0, splits = 0;
    if (!s->order.enabled)
        return 0;
    for (uint32_t i = 0; i < t->count; i++)
        if (plan->effect[i] && plan->items[i].place.value == 0)
            words += order_key_words(t->items[i].key_length);
    for (uint32_t i = 0; i < t->count; i++)
        if (plan->effect[i] && plan->items[i].place.value == 0)
            splits += order_splits_for(&s->order, t->items[i].key, t->items[i].key_length, words);
    /* Why: what could never be had must not wait for it. */
    uint64_t taken = index_pages(&s->index) + s->order.frame_count + WRITE_FRAMES_WORKING +
                     (s->live_charge >> s->geometry.segment_shift);
    uint32_t wanted = order_frames_for(&s->order, splits);
    int error = wanted != 0 && taken + wanted >= frames_total(&s->frames)
                    ? -ENOSPC
                    : order_make_room(&s->order, splits);
    s->starved |= error == -EAGAIN;
    return error == -ENOSPC ? RING_QUOTA : error;
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
    return order_promise(s, t, plan);
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

/* So many more keys may have a ttl as it gives one. */
static bool ttls_fit(struct shard *s, const struct shard_transaction *t, const struct plan *plan)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->count; i++)
        count += plan->effect[i] && t->items[i].extension_length != 0;
    return count == 0 || expire_has_room(s, count);
}

static int room_make(struct shard *s, const struct shard_transaction *t, struct plan *plan)
{
    int error = charge_admit(s, t, plan);
    if (UNLIKELY(error != 0) && s->has_history)
        versions_refused(s, t->clock_ns);
    if (error == 0 && !ttls_fit(s, t, plan))
        error = RING_QUOTA;
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
    uint32_t refused;
    int error = conditions_judge(s, t, &plan, &refused);
    if (error == 0 && refused == t->count)
        error = writes_judge(s, t, &plan, &refused);
    if (error != 0)
        return error;
    if (refused != t->count || plan.effect_count == 0) {
        struct write_judgement result = {.status = RING_OK};
        if (refused != t->count)
            result = plan.items[refused];
        result.flags = 0;
        result.number = 0;
        if (refused == t->count)
            end_mark(t, plan.section, &result);
        struct shard_write w = write_of(t, &t->items[0], true);
        w.origin.operation = t->origin.operation;
        return void_append(s, &w, &result, answer);
    }
    end_mark(t, plan.section, &plan.items[plan.last]);
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
