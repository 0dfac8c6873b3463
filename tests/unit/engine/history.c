#include "tests/unit/engine/history.h"

#include "engine/pending.h"

#include <stdlib.h>
#include <string.h>

struct history *history_open(uint64_t seed, uint32_t keys)
{
    struct history *h = calloc(1, sizeof *h);
    ASSERT(h != NULL && keys <= HISTORY_KEYS);
    h->seed = seed;
    h->keys_in_use = keys;
    h->epoch = 1;
    return h;
}

void history_close(struct history *h)
{
    for (uint32_t i = 0; i < HISTORY_KEYS; i++)
        free(h->keys[i].entries);
    free(h);
}

static void entry_add(struct history *h, uint32_t number, const struct history_entry *e)
{
    struct history_key *k = &h->keys[number];
    if (k->count == k->room) {
        k->room = k->room != 0 ? 2 * k->room : 4;
        k->entries = realloc(k->entries, k->room * sizeof k->entries[0]);
        ASSERT(k->entries != NULL);
    }
    k->entries[k->count++] = *e;
}

const struct history_entry *history_at(const struct history *h, uint32_t number, uint64_t lsn)
{
    const struct history_key *k = &h->keys[number];
    for (uint32_t i = k->count; i-- > 0;)
        if (k->entries[i].lsn_end <= lsn)
            return k->entries[i].version != 0 ? &k->entries[i] : NULL;
    return NULL;
}

/* Through a session or not; the model follows what was appended. */
static int write_one(struct history *h, struct fixture *leader, uint32_t number,
                     struct shard_write *w)
{
    struct shard *s = leader->shard;
    uint32_t i = fixture_below(&h->seed, 2 * HISTORY_SESSIONS);
    bool in_session = i < HISTORY_SESSIONS && h->sessions[i].lsn != 0;
    if (in_session) {
        w->session_slot = 0; /* a hint: any will do */
        w->session = h->sessions[i].lsn;
        w->sequence = h->sessions[i].sequence + 1;
        w->uid = 7;
    }
    int result = shard_write(s, w);
    if (result != 0)
        return result;
    if (in_session)
        h->sessions[i].sequence++;
    const struct shard_pending *p = pending_at(s, s->pending_tail - 1);
    struct history_entry e = {.lsn = p->lsn, .lsn_end = s->log.lsn_end};
    if (p->record_kind == RECORD_DATA) {
        memcpy(&e.version, w->value, sizeof e.version);
        e.length = w->value_length;
    }
    if (p->record_kind == RECORD_DATA || p->record_kind == RECORD_TOMBSTONE)
        entry_add(h, number, &e);
    return 0;
}

/* A value names its version first; the rest follows from that. */
static void value_make(uint32_t number, uint64_t version, uint8_t *value, uint32_t length)
{
    memcpy(value, &version, sizeof version);
    fixture_value(number, version, value + sizeof version, length - (uint32_t)sizeof version);
}

int history_put(struct history *h, struct fixture *leader, uint32_t number, uint32_t length)
{
    static uint8_t value[HISTORY_VALUE_MAX];
    char key[32];
    uint32_t key_length = fixture_key(number, key);
    struct shard_write w = fixture_write_of(leader, RING_DELETE, key, key_length);
    w.compare = fixture_below(&h->seed, 10) == 0;
    w.expected_lsn = 1; /* never holds */
    if (length != 0) {
        ASSERT(length >= 8 && length <= HISTORY_VALUE_MAX);
        w.origin.operation = RING_PUT;
        w.value = value;
        w.value_length = length;
        value_make(number, fixture_random(&h->seed) | 1, value, length);
    }
    return write_one(h, leader, number, &w);
}

static void session_change(struct history *h, struct fixture *leader)
{
    uint32_t i = fixture_below(&h->seed, HISTORY_SESSIONS);
    struct shard_origin origin = {.operation = RING_SESSION_OPEN};
    if (h->sessions[i].lsn != 0) {
        origin.operation = RING_SESSION_CLOSE;
        if (shard_session_close(leader->shard, &origin, h->sessions[i].id, 7, 0) == 0)
            h->sessions[i].lsn = 0;
        return;
    }
    for (uint32_t at = 0; at < SESSION_ID_BYTES; at += 8) {
        uint64_t word = fixture_random(&h->seed);
        memcpy(h->sessions[i].id + at, &word, sizeof word);
    }
    if (shard_session_open(leader->shard, &origin, h->sessions[i].id, 7, 0) != 0)
        return;
    const struct shard_pending *p = pending_at(leader->shard, leader->shard->pending_tail - 1);
    h->sessions[i].lsn = p->lsn;
    h->sessions[i].sequence = 0;
    h->sessions_opened++;
}

static uint32_t random_length(struct history *h)
{
    uint32_t kind = fixture_below(&h->seed, 400);
    return 8 + fixture_below(&h->seed, kind == 0 ? HISTORY_VALUE_MAX - 8 : kind < 20 ? 1500 : 150);
}

void history_write(struct history *h, struct fixture *leader, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t kind = fixture_below(&h->seed, 500);
        if (kind < 4) {
            session_change(h, leader);
        } else if (kind == 4 && fixture_below(&h->seed, 10) == 0) {
            h->epoch += shard_epoch_begin(leader->shard, h->epoch + 1, 0) == 0;
        } else {
            uint32_t number = fixture_below(&h->seed, h->keys_in_use);
            uint32_t length = fixture_below(&h->seed, 8) == 0 ? 0 : random_length(h);
            h->refused += history_put(h, leader, number, length) != 0;
        }
        if (fixture_below(&h->seed, 30) == 0)
            history_commit(h, leader);
    }
}

void history_commit(struct history *h, struct fixture *leader)
{
    (void)h;
    fixture_commit(leader);
    (void)fixture_maintain(leader);
}

uint32_t history_differences(const struct history *h, const struct fixture *f)
{
    static uint8_t value[HISTORY_VALUE_MAX];
    uint64_t lsn = atomic_load_explicit(&f->board->lsn_committed, memory_order_relaxed);
    uint32_t different = 0;
    for (uint32_t number = 0; number < HISTORY_KEYS; number++) {
        char key[32];
        struct read_found found;
        int result = fixture_read(f, key, fixture_key(number, key), &found);
        const struct history_entry *e = history_at(h, number, lsn);
        if (result != (e != NULL)) {
            different++;
            continue;
        }
        if (e == NULL)
            continue;
        read_copy(&found, value, sizeof value);
        uint64_t version;
        memcpy(&version, value, sizeof version);
        different += found.lsn != e->lsn || found.value_length != e->length ||
                     version != e->version ||
                     !fixture_value_is(number, version, value + 8, e->length - 8);
    }
    return different;
}
