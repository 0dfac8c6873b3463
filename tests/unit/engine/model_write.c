/* Operations at the leader of a model, and what the map says of them. */
#include "engine/pending.h"
#include "tests/unit/engine/model.h"

#define NONE MODEL_SESSIONS  /* no session */
#define TAG_OTHER UINT64_MAX /* of what is no read */

/* ---- puts, deletes, conditions ---- */

struct attempt {
    uint32_t count, session; /* count: with what is done else */
    bool transaction;
    struct shard_item items[LIMIT_TRANSACTION_RECORDS];
    uint32_t numbers[LIMIT_TRANSACTION_RECORDS];
};

static uint32_t some_session(struct model *m)
{
    uint32_t i = model_below(m, 2 * MODEL_SESSIONS);
    return i < MODEL_SESSIONS && m->sessions[i].lsn != 0 ? i : NONE;
}

static uint32_t some_length(struct model *m)
{
    uint32_t dice = model_below(m, 100);
    if (dice == 0)
        return 8 + model_below(m, MODEL_VALUE_MAX - 8);
    return 8 + (dice < 40 ? model_below(m, 120) & ~7u : model_below(m, 150));
}

static struct shard_item item_make(struct model *m, uint32_t place, uint32_t number)
{
    const struct model_key *k = &m->keys[number];
    const struct model_version *newest = model_newest(m, number);
    uint32_t dice = model_below(m, 10);
    struct shard_item item = {
        .hash = k->hash,
        .key = k->name,
        .key_length = (uint16_t)k->length,
        .operation = dice < 7   ? RING_PUT
                     : dice < 9 ? RING_DELETE
                                : RING_NOP,
        .expected_lsn = newest != NULL ? newest->lsn : 0,
    };
    if (item.operation == RING_PUT && (number >= MODEL_KEYS || model_below(m, 25) == 0)) {
        item.operation = RING_INCREMENT;
        item.delta = (int64_t)model_below(m, 2000) - 900;
        if (model_below(m, 3) == 0)
            item.delta *= INT64_C(1) << 52;
    }
    item.compare = item.operation == RING_NOP || model_below(m, 8) == 0;
    if (item.compare && model_below(m, 3) == 0)
        item.compare = newest != NULL ? RING_COMPARE_EXISTS : RING_COMPARE_ABSENT;
    if (item.compare == RING_COMPARE_VERSION && model_below(m, 40) == 0)
        item.expected_lsn += 8;
    if (item.compare > RING_COMPARE_VERSION && model_below(m, 40) == 0)
        item.compare = newest != NULL ? RING_COMPARE_ABSENT : RING_COMPARE_TOKEN;
    if (item.operation == RING_PUT) {
        uint64_t version = ++m->versions;
        item.value = m->values[place];
        item.value_length = some_length(m);
        memcpy(m->values[place], &version, sizeof version);
        fixture_value(number, version, m->values[place] + 8, item.value_length - 8);
    }
    return item;
}

static bool has_key(const struct attempt *a, uint32_t number)
{
    for (uint32_t i = 0; i < a->count; i++)
        if (a->numbers[i] == number)
            return true;
    return false;
}

static void attempt_make(struct model *m, struct attempt *a, uint32_t count)
{
    a->count = 0;
    while (a->count < count) {
        uint32_t number =
            model_below(m, 6) == 0 ? MODEL_KEYS + model_below(m, MODEL_SUMS) : model_some_key(m);
        if (has_key(a, number))
            number = model_below(m, m->keys_in_use);
        if (has_key(a, number))
            continue;
        a->items[a->count] = item_make(m, a->count, number);
        a->numbers[a->count++] = number;
    }
    a->session = some_session(m);
}

/* The last ones are for the case that a condition does not hold, which is made likelier then. */
static void attempt_else(struct model *m, struct attempt *a)
{
    uint32_t count = model_below(m, a->count);
    for (uint32_t i = a->count - count; i < a->count; i++) {
        struct shard_item *item = &a->items[i];
        if (item->operation == RING_NOP)
            item->operation = RING_DELETE;
        item->section = RING_SECTION_ELSE;
        item->compare = RING_COMPARE_NONE;
    }
    if (count != 0 && a->items[0].compare == RING_COMPARE_VERSION)
        a->items[0].expected_lsn += 8 * (uint64_t)model_below(m, 2);
}

static int attempt_submit(struct model *m, const struct attempt *a)
{
    struct fixture *f = model_leader(m);
    const struct model_session *session = &m->sessions[a->session % MODEL_SESSIONS];
    bool sequenced = a->session != NONE;
    uint32_t slot = sequenced ? model_below(m, 4) : SESSION_NONE; /* a hint, seldom right */
    uint64_t lsn = sequenced ? session->lsn : 0, sequence = sequenced ? session->sequence + 1 : 0;
    if (a->transaction) {
        const struct shard_transaction t = {
            .origin = {.operation = RING_TRANSACTION, .tag = TAG_OTHER},
            .items = a->items,
            .count = a->count,
            .session_slot = slot,
            .uid = MODEL_UID,
            .session = lsn,
            .sequence = sequence,
            .clock_ns = f->clock_ns,
        };
        m->counts.transactions++;
        return shard_transaction(f->shard, &t);
    }
    const struct shard_item *item = &a->items[0];
    const struct shard_write w = {
        .origin = {.operation = item->operation, .tag = TAG_OTHER},
        .hash = item->hash,
        .key = item->key,
        .value = item->value,
        .value_length = item->value_length,
        .key_length = item->key_length,
        .compare = item->compare,
        .expected_lsn = item->expected_lsn,
        .delta = item->delta,
        .session_slot = slot,
        .uid = MODEL_UID,
        .session = lsn,
        .sequence = sequence,
        .clock_ns = f->clock_ns,
    };
    return shard_write(f->shard, &w);
}

static bool holds(const struct shard_item *item, const struct model_version *newest)
{
    switch (item->compare) {
    case RING_COMPARE_NONE:
        return true;
    case RING_COMPARE_VERSION:
        return item->expected_lsn == (newest != NULL ? newest->lsn : 0);
    case RING_COMPARE_EXISTS:
        return newest != NULL;
    case RING_COMPARE_ABSENT:
        return newest == NULL;
    default:
        return false; /* nobody here holds a token */
    }
}

/* The first item whose condition does not hold; count: all hold. */
static uint32_t first_failed(const struct model *m, const struct attempt *a)
{
    for (uint32_t i = 0; i < a->count; i++)
        if (!holds(&a->items[i], model_newest(m, a->numbers[i])))
            return i;
    return a->count;
}

/* The first increment of a section that cannot be, with its status; count: all can. */
static uint32_t first_impossible(struct model *m, const struct attempt *a, uint8_t section,
                                 uint32_t *status)
{
    for (uint32_t i = 0; i < a->count; i++) {
        const struct shard_item *item = &a->items[i];
        const struct model_version *newest = model_newest(m, a->numbers[i]);
        int64_t sum;
        if (item->section != section || item->operation != RING_INCREMENT || newest == NULL)
            continue;
        bool is_number = newest->length == 0;
        if (is_number && !__builtin_add_overflow(newest->sum, item->delta, &sum))
            continue;
        *status = is_number ? RING_RANGE : RING_NOT_NUMBER;
        m->counts.not_numbers += !is_number;
        m->counts.out_of_range += is_number;
        return i;
    }
    return a->count;
}

/* The map learns what was written, from pending entry at on.  Returns how many records that were; lsn: of
 * the last one. */
static uint32_t effects_learn(struct model *m, const struct attempt *a, uint8_t section,
                              uint32_t at, struct model_outcome *outcome)
{
    const struct shard *s = model_leader(m)->shard;
    uint32_t records = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct shard_item *item = &a->items[i];
        const struct model_version *newest = model_newest(m, a->numbers[i]);
        if (item->operation == RING_NOP || item->section != section ||
            (item->operation == RING_DELETE && newest == NULL))
            continue;
        const struct shard_pending *p = pending_at(s, at + records++);
        struct model_version v = {.lsn = p->lsn, .lsn_end = s->log.lsn_whole};
        if (item->operation == RING_PUT) {
            memcpy(&v.version, item->value, sizeof v.version);
            v.length = item->value_length;
        }
        if (item->operation == RING_INCREMENT) {
            v.version = ++m->versions;
            v.sum = item->delta + (newest != NULL ? newest->sum : 0);
            outcome->number = v.sum;
            m->counts.sums++;
        }
        MODEL_CHECK(m, p->lsn_wait == v.lsn_end);
        model_add(m, a->numbers[i], v);
        outcome->lsn = p->lsn;
    }
    return records;
}

/* What an attempt that was taken comes to, by the map, which learns of it.  Returns how many records it
 * made. */
static uint32_t outcome_learn(struct model *m, const struct attempt *a, uint32_t tail,
                              struct model_outcome *outcome)
{
    bool has_else = a->items[a->count - 1].section == RING_SECTION_ELSE;
    uint32_t failed = first_failed(m, a), records = 0;
    uint8_t section = failed == a->count ? RING_SECTION_THEN : RING_SECTION_ELSE;
    outcome->status = RING_CONDITION;
    if (failed == a->count || has_else) {
        outcome->status = RING_OK;
        failed = first_impossible(m, a, section, &outcome->status);
    }
    if (failed != a->count) {
        const struct model_version *newest = model_newest(m, a->numbers[failed]);
        outcome->lsn = newest != NULL ? newest->lsn : 0;
        return 0;
    }
    m->counts.elses += section == RING_SECTION_ELSE;
    records = effects_learn(m, a, section, tail, outcome);
    if (a->transaction)
        outcome->number = section == RING_SECTION_THEN;
    else if (records == 0)
        outcome->status = RING_NOT_FOUND;
    return records;
}

static void write_items(struct model *m, uint32_t count, bool transaction)
{
    static struct attempt a;
    const struct shard *s = model_leader(m)->shard;
    uint64_t before = s->log.lsn_whole;
    uint32_t tail = s->pending_tail;
    a.transaction = transaction;
    attempt_make(m, &a, count);
    if (transaction && model_below(m, 3) == 0)
        attempt_else(m, &a);
    if (!transaction && a.items[0].operation == RING_NOP)
        return;
    int result = attempt_submit(m, &a);
    if (result != 0) {
        MODEL_CHECK(m, result == -EAGAIN || result == RING_QUOTA || result == RING_TOO_LARGE);
        MODEL_CHECK(m, s->pending_tail == tail && s->log.lsn_whole == before);
        return;
    }
    struct model_outcome outcome = {.lsn_end = s->log.lsn_whole};
    uint32_t records = outcome_learn(m, &a, tail, &outcome);
    MODEL_CHECK(m, s->pending_tail == tail + (records != 0 ? records : 1));
    const struct shard_pending *last = pending_at(s, s->pending_tail - 1);
    MODEL_CHECK(m, last->status == outcome.status && last->lsn == outcome.lsn);
    MODEL_CHECK(m, last->number == outcome.number);
    if (a.session == NONE)
        return;
    struct model_session *session = &m->sessions[a.session];
    session->sequence++;
    session->outcomes[session->sequence % MODEL_OUTCOMES] = outcome;
}

/* ---- sessions ---- */

static int write_as(struct model *m, uint64_t session, uint64_t sequence)
{
    const struct fixture *f = model_leader(m);
    const struct shard_write w = {
        .origin = {.operation = model_below(m, 2) == 0 ? RING_PUT : RING_INCREMENT,
                   .tag = TAG_OTHER},
        .hash = m->keys[0].hash,
        .key = m->keys[0].name,
        .key_length = (uint16_t)m->keys[0].length,
        .value = m->values[0],
        .value_length = 8,
        .session_slot = model_below(m, 8),
        .uid = MODEL_UID,
        .session = session,
        .sequence = sequence,
        .clock_ns = f->clock_ns,
    };
    return shard_write(f->shard, &w);
}

/* An old sequence once more: the same answer, and nothing is appended. */
static void duplicate(struct model *m)
{
    uint32_t which = some_session(m);
    const struct shard *s = model_leader(m)->shard;
    const struct model_session *session = &m->sessions[which % MODEL_SESSIONS];
    if (which == NONE || session->sequence == 0)
        return;
    uint32_t back = model_below(m, (uint32_t)min_u64(session->sequence, LIMIT_SESSION_WINDOW + 6));
    const struct model_outcome *o = &session->outcomes[(session->sequence - back) % MODEL_OUTCOMES];
    uint64_t end = s->log.lsn_end;
    uint32_t tail = s->pending_tail;
    int result = write_as(m, session->lsn, session->sequence - back);
    MODEL_CHECK(m, s->log.lsn_end == end);
    if (result == -EAGAIN)
        return;
    if (result == RING_SEQUENCE) {
        MODEL_CHECK(m, back >= LIMIT_SESSION_WINDOW);
        return;
    }
    MODEL_CHECK(m, result == 0 && s->pending_tail == tail + 1);
    const struct shard_pending *p = pending_at(s, tail);
    MODEL_CHECK(m, p->status == o->status && p->lsn == o->lsn && p->number == o->number);
    m->counts.duplicates++;
}

/* What was closed, or is being closed, applies nothing. */
static void write_of_the_past(struct model *m)
{
    const struct model_session *session = &m->sessions[model_below(m, MODEL_SESSIONS)];
    uint64_t end = model_leader(m)->shard->log.lsn_end;
    if (session->lsn_old == 0 || (session->lsn != 0 && session->lsn_old >= session->lsn))
        return;
    int result = write_as(m, session->lsn_old, 1 + model_below(m, 3));
    MODEL_CHECK(m, result == RING_FATE_UNKNOWN || result == -EAGAIN);
    MODEL_CHECK(m, model_leader(m)->shard->log.lsn_end == end);
}

static void session_closed(struct model_session *session, uint64_t lsn_close)
{
    session->lsn_old = session->lsn;
    session->lsn = 0;
    session->lsn_close = lsn_close;
}

static void session_close(struct model *m, struct model_session *session)
{
    struct fixture *f = model_leader(m);
    const struct shard_origin origin = {.operation = RING_SESSION_CLOSE, .tag = TAG_OTHER};
    int result = shard_session_close(f->shard, &origin, session->id, MODEL_UID, f->clock_ns);
    MODEL_CHECK(m, result == 0 || result == -EAGAIN || result == RING_SEQUENCE);
    if (result == 0)
        session_closed(session, f->shard->log.lsn_whole);
}

static void session_open_one(struct model *m, struct model_session *session)
{
    struct fixture *f = model_leader(m);
    const struct shard_origin origin = {.operation = RING_SESSION_OPEN, .tag = TAG_OTHER};
    int result = shard_session_open(f->shard, &origin, session->id, MODEL_UID, f->clock_ns);
    MODEL_CHECK(m, result == 0 || result == -EAGAIN ||
                       (result == RING_QUOTA && f->shard->has_history));
    if (result != 0)
        return;
    const struct shard_pending *p = pending_at(f->shard, f->shard->pending_tail - 1);
    MODEL_CHECK(m, p->record_kind == RECORD_SESSION);
    session->lsn = p->lsn;
    session->sequence = 0;
    session->lsn_close = 0;
}

/* Sessions that were silent for long: the clock jumps for those that look. */
static void sweep(struct model *m)
{
    struct fixture *f = model_leader(m);
    const struct shard *s = f->shard;
    uint32_t tail = s->pending_tail;
    shard_sweep_sessions(f->shard, 8, f->clock_ns + (model_below(m, 8) == 0 ? 2 * NS_PER_S : 0));
    if (s->pending_tail == tail)
        return;
    const struct shard_pending *p = pending_at(s, tail);
    MODEL_CHECK(m, p->record_kind == RECORD_EXPIRE);
    uint64_t lsn = s->sessions.entries[p->session_slot].lsn_opened;
    for (uint32_t i = 0; i < MODEL_SESSIONS; i++)
        if (m->sessions[i].lsn == lsn)
            session_closed(&m->sessions[i], s->log.lsn_whole);
}

/* ---- reads by the ring, and answers ---- */

static void ask(struct model *m)
{
    uint32_t number = model_some_key(m);
    const struct model_key *k = &m->keys[number];
    const struct shard_read r = {
        .origin = {.operation = RING_GET, .tag = m->reads_asked},
        .hash = k->hash,
        .key = k->name,
        .key_length = (uint16_t)k->length,
    };
    int result = shard_read(model_leader(m)->shard, &r);
    MODEL_CHECK(m, result == 0 || result == -EAGAIN);
    if (result != 0)
        return;
    const struct model_version *newest = model_newest(m, number);
    m->reads[m->reads_asked++ % MODEL_OUTCOMES] = (struct model_read){
        .lsn = newest != NULL ? newest->lsn : 0,
        .version = newest != NULL ? newest->version : 0,
        .is_sum = newest != NULL && newest->length == 0,
    };
}

void model_answers(struct model *m, struct fixture *f)
{
    struct shard_answer a;
    while (shard_answer_next(f->shard, &a)) {
        if (a.origin.operation != RING_GET)
            continue;
        if (a.status == RING_RETRY) {
            MODEL_CHECK(m, a.record == NULL);
            m->counts.retried++;
            continue;
        }
        const struct model_read *r = &m->reads[a.origin.tag % MODEL_OUTCOMES];
        MODEL_CHECK(m, (a.status == RING_OK) == (r->version != 0));
        MODEL_CHECK(m, (a.record != NULL) == (r->version != 0));
        m->counts.asked++;
        if (a.record == NULL)
            continue;
        uint64_t version = r->version;
        if (!r->is_sum)
            memcpy(&version, record_value(a.record), sizeof version);
        MODEL_CHECK(m, a.record->lsn == r->lsn && a.lsn == r->lsn && version == r->version);
    }
    if (f->shard->pending_head == f->shard->pending_tail)
        MODEL_CHECK(m, f->shard->reads_waiting == 0);
}

void model_maintain(struct model *m, struct fixture *f)
{
    model_answers(m, f);
    if (model_below(m, 40) == 0)
        f->grace_held = !f->grace_held;
    if (model_below(m, 20) == 0) {
        uint32_t frame = model_below(m, 64);
        f->pinned[frame] = !f->pinned[frame];
    }
    (void)fixture_maintain(f);
}

/* ---- any of them ---- */

void model_write(struct model *m)
{
    uint32_t dice = model_below(m, 100);
    struct model_session *session = &m->sessions[model_below(m, MODEL_SESSIONS)];
    if (dice < 60)
        write_items(m, 1, false);
    else if (dice < 80)
        write_items(m, 1 + model_below(m, dice < 64 ? LIMIT_TRANSACTION_RECORDS : 6), true);
    else if (dice < 93)
        duplicate(m);
    else if (dice < 95 && session->lsn != 0)
        session_close(m, session);
    else if (dice < 95)
        session_open_one(m, session);
    else if (dice < 96)
        write_of_the_past(m);
    else if (dice < 99)
        ask(m);
    else
        sweep(m);
}
