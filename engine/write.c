/* write - one put or delete, from its session to its record: the steps, and the whole. */
#include "engine/write.h"

#include "engine/expire.h"
#include "engine/extension.h"
#include "engine/lease.h"
#include "engine/pending.h"
#include "engine/plant.h"

#define LIVE_EIGHTHS_ASK 5u /* ask for a chunk before it is needed */

/* ---- room ---- */

int write_append(struct shard *s, struct record *header, const struct record_parts *parts,
                 uint64_t clock_ns, uint64_t *offset)
{
    int error = log_append(&s->log, header, parts, clock_ns, offset);
    if (UNLIKELY(error != 0)) {
        s->starved |= error == -ENOSPC;
        return -EAGAIN;
    }
    uint64_t size = record_size(header);
    s->bytes_appended += size;
    counter_add(s->counters, COUNTER_RECORDS, 1);
    counter_add(s->counters, COUNTER_RECORD_BYTES, size);
    return 0;
}

uint64_t write_live_max(const struct shard *s, uint32_t frames, unsigned eighths)
{
    uint32_t taken = index_pages(&s->index) + index_pages_wanted(&s->index) + WRITE_FRAMES_WORKING;
    taken += s->order.frame_count + order_frames_wanted(&s->order);
    uint64_t usable = frames > taken ? frames - taken : 0;
    return (usable << s->geometry.segment_shift) * eighths / 8;
}

bool write_is_over(const struct shard *s)
{
    return s->live_charge > write_live_max(s, frames_total(&s->frames), WRITE_EIGHTHS_SESSIONS);
}

int write_admit_charge(struct shard *s, uint64_t charge, unsigned eighths)
{
    uint32_t existing = frames_existing(&s->frames);
    if (LIKELY(charge <= write_live_max(s, existing, LIVE_EIGHTHS_ASK)))
        return 0;
    if (charge > write_live_max(s, frames_total(&s->frames), eighths)) {
        counter_add(s->counters, COUNTER_REFUSED_QUOTA, 1);
        return RING_QUOTA;
    }
    frames_ask(&s->frames);
    return charge <= write_live_max(s, existing, eighths) ? 0 : -EAGAIN;
}

/* A put must fit once it is committed, when what it replaces counts no more; a value that is no larger
 * than the one before always may. */
static int put_admit(struct shard *s, const struct shard_write *w, const struct write_judgement *j)
{
    uint64_t size =
        record_bytes(write_extension_length(w, j), w->key_length, write_value_length(w, j));
    uint64_t charge = shard_charge(s, size);
    uint64_t freed = write_freed(s, j->head);
    return charge <= freed ? 0
                           : write_admit_charge(s, s->live_charge + charge - freed, WRITE_EIGHTHS);
}

/* Where history is kept a delete frees nothing at once, and what it leaves must fit, too. */
static int delete_admit(struct shard *s, const struct shard_write *w)
{
    uint64_t charge = shard_charge(s, record_bytes(w->extension_length, w->key_length, 0));
    return s->has_history ? write_admit_charge(s, s->live_charge + charge, WRITE_EIGHTHS_SESSIONS)
                          : 0;
}

/* A session's write that is not next in order: answered from what is known, or refused. */
static int write_out_of_order(struct shard *s, const struct shard_write *w, uint32_t slot,
                              enum session_order order, const struct session_result *result)
{
    if (order == SESSION_REFUSED)
        return RING_SEQUENCE;
    counter_add(s->counters, COUNTER_DUPLICATES, 1);
    struct shard_pending *p = pending_add(s, &w->origin);
    p->session_slot = slot;
    p->sequence = w->sequence;
    if (order == SESSION_DUPLICATE) {
        p->lsn = result->lsn;
        p->status = (uint8_t)result->status;
        p->number = result->number;
        return 0;
    }
    for (uint32_t i = s->pending_head; i != s->pending_tail - 1; i++) {
        const struct shard_pending *original = pending_at(s, i);
        if (original->session_slot == slot && original->sequence == w->sequence &&
            original->record_kind != 0) {
            p->lsn = original->lsn;
            p->status = original->status;
            p->number = original->number;
            return 0;
        }
    }
    ASSERT(false); /* appended above committed means: it is on the list */
    return 0;
}

int write_judge_session(struct shard *s, const struct shard_write *w, struct session **session,
                        bool *done)
{
    *session = NULL;
    *done = false;
    if (w->session_slot == SESSION_NONE)
        return 0;
    *done = true;
    struct session *found = session_get(&s->sessions, w->session, w->session_slot, w->uid);
    if (found == NULL && PLANTED(SESSION_FORGOTTEN_APPLIED)) {
        *done = false;
        return 0;
    }
    if (found == NULL) {
        counter_add(s->counters, COUNTER_REFUSED_SESSION, 1);
        return RING_FATE_UNKNOWN;
    }
    found->traffic_ns = w->clock_ns;
    struct session_result result;
    enum session_order order = session_order(found, w->sequence, &result);
    bool is_planted = PLANTED(RETRY_APPLIED_TWICE) ||
                      (PLANTED(INCREMENT_APPLIED_TWICE) && w->origin.operation == RING_INCREMENT);
    if (order != SESSION_NEXT && !is_planted)
        return write_out_of_order(s, w, write_session_slot(s, found), order, &result);
    *session = found;
    *done = false;
    return 0;
}

/* ---- what it does ---- */

static bool condition_holds(const struct shard_write *w, const struct write_judgement *j)
{
    switch (w->compare) {
    case RING_COMPARE_NONE:
        return true;
    case RING_COMPARE_VERSION:
        return w->expected_lsn == j->lsn_current;
    case RING_COMPARE_EXISTS:
        return j->lsn_current != 0;
    case RING_COMPARE_ABSENT:
        return j->lsn_current == 0;
    default:
        /* Why not 0: a value without a token has none that anybody could hold. */
        return j->lsn_current != 0 && w->expected_lsn != 0 &&
               extension_token(j->head) == w->expected_lsn;
    }
}

/* The sum, as number and as text; the key's ttl stays what it was. */
static enum ring_status increment_judge(const struct shard *s, const struct shard_write *w,
                                        struct write_judgement *j)
{
    int64_t stands = 0;
    j->ttl_ns = j->lsn_current != 0 ? extension_ttl(j->head) : 0;
    if (j->ttl_ns != 0)
        j->steady_ns = expire_counted(s, j->head);
    if (j->lsn_current != 0 &&
        number_parse(record_value(j->head), j->head->value_length, &stands) != 0 &&
        !PLANTED(NOT_NUMBER_IS_ZERO))
        return RING_NOT_NUMBER;
    if (__builtin_add_overflow(stands, w->delta, &j->number) && !PLANTED(INCREMENT_WRAPS)) {
        j->number = 0;
        return RING_RANGE;
    }
    j->text_length = number_print(j->number, j->text);
    return RING_OK;
}

int write_judge(struct shard *s, const struct shard_write *w, struct write_judgement *j)
{
    int error = index_find(&s->index, (uint32_t)w->hash, w->key, w->key_length, &j->place);
    if (error != 0)
        return error;
    j->head = j->place.value != 0 ? shard_record(s, layout_slot_offset(j->place.value)) : NULL;
    j->lsn_current = j->head != NULL && j->head->kind == RECORD_DATA ? j->head->lsn : 0;
    j->operation = w->origin.operation;
    j->steady_ns = w->steady_ns;
    j->flags = 0;
    j->number = 0;
    bool holds = LIKELY(w->compare == RING_COMPARE_NONE) || condition_holds(w, j) ||
                 PLANTED(COMPARE_IGNORED);
    j->status = !holds                                                      ? RING_CONDITION
                : w->origin.operation == RING_DELETE && j->lsn_current == 0 ? RING_NOT_FOUND
                                                                            : RING_OK;
    if (UNLIKELY(w->origin.operation == RING_INCREMENT) && holds)
        j->status = increment_judge(s, w, j);
    if (UNLIKELY(lease_is_operation(w->origin.operation) ||
                 (j->head != NULL && j->head->extension_length != 0)))
        lease_judge(w, j);
    return 0;
}

/* Room for a new record and, if the key is new, its slot. */
static int admit(struct shard *s, const struct shard_write *w, struct write_judgement *j)
{
    int error = write_is_value(w) ? put_admit(s, w, j) : delete_admit(s, w);
    if (UNLIKELY(error != 0)) {
        if (s->has_history)
            versions_refused(s, w->clock_ns);
        return error;
    }
    if (UNLIKELY(w->extension_length != 0) && !expire_has_room(s, 1))
        return RING_QUOTA;
    error = index_make_room(&s->index, &j->place);
    if (error == 0 && j->place.value == 0)
        error = order_make_room(&s->order, 1);
    if (error == -ENOSPC) {
        counter_add(s->counters, COUNTER_REFUSED_QUOTA, 1);
        return RING_QUOTA;
    }
    return error;
}

static void fill_header(struct record *header, const struct shard_write *w, bool last)
{
    *header = (struct record){
        .flags = last ? RECORD_FLAG_TRANSACTION_END : 0,
        .operation = w->origin.operation,
        .session = w->session_slot != SESSION_NONE ? w->session : 0,
        .sequence = w->sequence,
    };
}

void write_point(struct shard *s, const struct write_judgement *j, const struct record *header,
                 uint64_t offset)
{
    const struct index_record record = {.offset = offset, .size = record_size(header)};
    uint64_t link = j->head != NULL ? layout_link_make(layout_slot_offset(j->place.value)) |
                                          layout_link_units(record_size(j->head))
                                    : 0;
    /* relaxed: W0 publishes it together with the record */
    atomic_store_explicit(shard_link(s, offset), link, memory_order_relaxed);
    shard_live_add(s, offset, record.size);
    index_set_sized(&s->index, &j->place, header->hash, record);
    if (j->place.value == 0)
        order_insert(&s->order, record_key(shard_record(s, offset)), header->key_length,
                     header->hash);
    if (UNLIKELY(header->extension_length != 0 ||
                 (j->head != NULL && j->head->extension_length != 0)))
        expire_follow(s, j->head, shard_record(s, offset), j->steady_ns);
}

/* Where the parts of its record come from. */
static struct record_parts parts_of(const struct shard_write *w, const struct write_judgement *j)
{
    struct record_parts parts = {.extension = w->extension, .key = w->key, .value = w->value};
    if (UNLIKELY(w->origin.operation == RING_INCREMENT))
        parts.value = j->text;
    else if (UNLIKELY(w->origin.operation == RING_LEASE_RENEW))
        parts.value = record_value(j->head); /* the owner stays */
    return parts;
}

int write_effect(struct shard *s, const struct shard_write *w, const struct write_judgement *j,
                 bool last, struct shard_pending *p)
{
    struct record header;
    struct lease_extensions lease;
    struct record_ttl ttl;
    fill_header(&header, w, last);
    header.operation = j->operation;
    header.flags |= j->flags;
    header.kind = write_is_value(w) ? RECORD_DATA : RECORD_TOMBSTONE;
    header.value_length = write_value_length(w, j);
    header.key_length = w->key_length;
    header.extension_length = write_extension_length(w, j);
    header.hash = (uint32_t)w->hash;
    header.lsn_previous = j->head != NULL ? j->head->lsn : 0;
    struct record_parts parts = parts_of(w, j);
    if (UNLIKELY(lease_is_operation(w->origin.operation))) {
        lease = lease_extensions_of(w, j);
        parts.extension = &lease;
    }
    if (UNLIKELY(w->origin.operation == RING_INCREMENT && j->ttl_ns != 0)) {
        ttl = extension_ttl_make(j->ttl_ns);
        parts.extension = &ttl;
    }
    uint64_t offset;
    int error = write_append(s, &header, &parts, w->clock_ns, &offset);
    if (error != 0)
        return error;
    write_point(s, j, &header, offset);
    p->lsn = header.lsn;
    p->offset = offset;
    p->number =
        UNLIKELY(w->origin.operation == RING_LEASE_ACQUIRE) ? (int64_t)header.lsn : j->number;
    p->record_kind = header.kind;
    return 0;
}

int write_void(struct shard *s, const struct shard_write *w, const struct write_judgement *j,
               struct shard_pending *p)
{
    bool is_held = j->status == RING_CONDITION && j->number != 0;
    const struct lease_void extensions = {
        .result = {.type = RECORD_EXTENSION_RESULT,
                   .length = sizeof extensions.result - 4,
                   .status = j->status},
        .token = extension_token_make((uint64_t)j->number),
    };
    struct record header;
    fill_header(&header, w, true);
    header.flags |= j->flags;
    header.kind = RECORD_VOID;
    header.extension_length = is_held ? sizeof extensions : sizeof extensions.result;
    header.lsn_previous = j->lsn_current;
    struct record_parts parts = {.extension = &extensions};
    uint64_t offset;
    int error = write_append(s, &header, &parts, w->clock_ns, &offset);
    if (error != 0)
        return error;
    if (j->status != RING_OK)
        counter_add(s->counters, COUNTER_CONDITIONS_FAILED, 1);
    p->lsn = j->lsn_current;
    p->number = j->number;
    p->record_kind = RECORD_VOID;
    return 0;
}

static int write_next(struct shard *s, const struct shard_write *w, struct shard_pending *p)
{
    static _Atomic uint32_t planted_writes;
    struct write_judgement j;
    int error = write_judge(s, w, &j);
    if (error == 0 && j.status == RING_OK)
        error = admit(s, w, &j);
    if (error != 0)
        return error;
    p->status = (uint8_t)j.status;
    if (PLANTED(ACK_BEFORE_APPEND) && j.status == RING_OK &&
        atomic_fetch_add_explicit(&planted_writes, 1, memory_order_relaxed) % 64 == 63) {
        /* Why a void and not nothing: the session's sequence must go on, only the write is lost. */
        error = write_void(s, w, &j, p);
        p->lsn = s->log.lsn_end;
        return error;
    }
    return j.status == RING_OK ? write_effect(s, w, &j, true, p) : write_void(s, w, &j, p);
}

int shard_write(struct shard *s, const struct shard_write *w)
{
    if (UNLIKELY(w->value_length > s->value_bytes_max ||
                 (w->origin.operation == RING_INCREMENT && s->value_bytes_max < NUMBER_BYTES_MAX)))
        return RING_TOO_LARGE;
    /* Why beside the limit of values: that leaves room for no extension. */
    if (UNLIKELY(w->extension_length != 0) &&
        record_bytes(write_extension_asked(w), w->key_length, w->value_length) >
            UINT64_C(1) << s->geometry.segment_shift)
        return RING_TOO_LARGE;
    if (UNLIKELY(!pending_has_room(s, 1)))
        return -EAGAIN;
    struct session *session;
    bool done;
    int result = write_judge_session(s, w, &session, &done);
    if (done)
        return result;
    struct shard_pending entry = {
        .origin = w->origin,
        .offset = SHARD_NO_OFFSET,
        .session_slot = write_session_slot(s, session),
        .sequence = w->sequence,
    };
    result = write_next(s, w, &entry);
    if (UNLIKELY(result != 0))
        return result;
    entry.lsn_wait = s->log.lsn_whole;
    *pending_at(s, s->pending_tail++) = entry;
    if (session != NULL)
        session->appended = w->sequence;
    counter_add(s->counters, COUNTER_OPERATIONS, 1);
    return 0;
}
