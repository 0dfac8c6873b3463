#include "engine/session.h"

#include <string.h>

static uint32_t by_id_size(uint32_t capacity)
{
    uint32_t size = 4;
    while (size < 2 * capacity)
        size *= 2;
    return size;
}

size_t session_table_bytes(uint32_t capacity)
{
    return (size_t)capacity * sizeof(struct session) + by_id_size(capacity) * sizeof(uint32_t);
}

void session_table_init(struct session_table *t, uint32_t capacity, void *memory)
{
    ASSERT(capacity != 0 && capacity <= LIMIT_SESSIONS);
    *t = (struct session_table){
        .entries = memory,
        .by_id = (uint32_t *)(void *)((struct session *)memory + capacity),
        .capacity = capacity,
        .by_id_mask = by_id_size(capacity) - 1,
        .free = SESSION_NONE,
    };
}

/* The id is random already; an agent that picks its ids badly only slows down this table's walks,
 * which its uid's share of sessions bounds. */
static uint32_t id_hash(const uint8_t id[SESSION_ID_BYTES])
{
    uint64_t words[2];
    memcpy(words, id, sizeof words);
    return (uint32_t)(((words[0] ^ words[1]) * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

static uint32_t position_of(const struct session_table *t, const uint8_t id[SESSION_ID_BYTES])
{
    uint32_t at = id_hash(id) & t->by_id_mask;
    while (t->by_id[at] != 0 &&
           memcmp(t->entries[t->by_id[at] - 1].id, id, SESSION_ID_BYTES) != 0)
        at = (at + 1) & t->by_id_mask;
    return at;
}

uint32_t session_find(const struct session_table *t, const uint8_t id[SESSION_ID_BYTES])
{
    uint32_t entry = t->by_id[position_of(t, id)];
    return entry != 0 ? entry - 1 : SESSION_NONE;
}

bool session_table_is_full(const struct session_table *t)
{
    return t->used == t->capacity;
}

uint32_t session_open(struct session_table *t, const uint8_t id[SESSION_ID_BYTES], uint32_t uid,
                      uint64_t lsn, uint64_t now_ns)
{
    if (session_table_is_full(t))
        return SESSION_NONE;
    uint32_t slot = t->free;
    if (slot != SESSION_NONE)
        t->free = t->entries[slot].next_free;
    else
        slot = t->fresh++;
    t->used++;
    struct session *s = &t->entries[slot];
    memcpy(s->id, id, SESSION_ID_BYTES);
    s->lsn_opened = lsn;
    s->committed = 0;
    s->appended = 0;
    s->traffic_ns = now_ns;
    s->uid = uid;
    s->opening = true;
    s->expiring = false;
    t->by_id[position_of(t, id)] = slot + 1;
    return slot;
}

struct session *session_get(struct session_table *t, uint32_t slot, uint64_t lsn_opened,
                            uint32_t uid)
{
    if (slot >= t->fresh || lsn_opened == 0)
        return NULL;
    struct session *s = &t->entries[slot];
    return s->lsn_opened == lsn_opened && s->uid == uid && !s->expiring ? s : NULL;
}

enum session_order session_order(const struct session *s, uint64_t sequence,
                                 struct session_result *result)
{
    if (sequence == s->appended + 1)
        return SESSION_NEXT;
    if (sequence == 0 || sequence > s->appended)
        return SESSION_REFUSED;
    if (sequence > s->committed)
        return SESSION_PENDING;
    if (sequence + LIMIT_SESSION_WINDOW <= s->committed)
        return SESSION_REFUSED;
    *result = s->results[sequence % LIMIT_SESSION_WINDOW];
    return SESSION_DUPLICATE;
}

void session_commit_result(struct session *s, uint64_t sequence, struct session_result result)
{
    ASSERT(sequence == s->committed + 1);
    s->committed = sequence;
    s->results[sequence % LIMIT_SESSION_WINDOW] = result;
}

/* Knuth, TAOCP 3, 6.4, algorithm R: close the gap, so that no walk meets a tombstone. */
static void by_id_remove(struct session_table *t, uint32_t at)
{
    uint32_t gap = at;
    for (uint32_t next = (at + 1) & t->by_id_mask; t->by_id[next] != 0;
         next = (next + 1) & t->by_id_mask) {
        uint32_t home = id_hash(t->entries[t->by_id[next] - 1].id) & t->by_id_mask;
        if (((next - home) & t->by_id_mask) >= ((next - gap) & t->by_id_mask)) {
            t->by_id[gap] = t->by_id[next];
            gap = next;
        }
    }
    t->by_id[gap] = 0;
}

void session_forget(struct session_table *t, uint32_t slot)
{
    struct session *s = &t->entries[slot];
    ASSERT(s->lsn_opened != 0);
    by_id_remove(t, position_of(t, s->id));
    s->lsn_opened = 0;
    s->next_free = t->free;
    t->free = slot;
    t->used--;
}

uint32_t session_sweep(struct session_table *t, uint32_t count, uint64_t now_ns, uint64_t ttl_ns)
{
    for (; count != 0 && t->fresh != 0; count--) {
        uint32_t slot = t->sweep++ % t->fresh;
        const struct session *s = &t->entries[slot];
        if (s->lsn_opened != 0 && !s->opening && !s->expiring &&
            s->committed == s->appended && s->traffic_ns + ttl_ns <= now_ns)
            return slot;
    }
    return SESSION_NONE;
}
