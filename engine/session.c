#include "engine/session.h"

#include <string.h>

static uint32_t slots_for(uint32_t capacity)
{
    uint32_t size = 4;
    while (size < 2 * capacity)
        size *= 2;
    return size;
}

size_t session_table_bytes(uint32_t capacity)
{
    return (size_t)capacity * sizeof(struct session) +
           2 * (size_t)slots_for(capacity) * sizeof(uint32_t);
}

void session_table_init(struct session_table *t, uint32_t capacity, void *memory)
{
    ASSERT(capacity != 0 && capacity <= LIMIT_SESSIONS);
    uint32_t *slots = (uint32_t *)(void *)((struct session *)memory + capacity);
    *t = (struct session_table){
        .entries = memory,
        .by_id = slots,
        .by_lsn = slots + slots_for(capacity),
        .capacity = capacity,
        .mask = slots_for(capacity) - 1,
        .free = SESSION_NONE,
    };
}

void session_table_clear(struct session_table *t)
{
    memset(t->by_id, 0, ((size_t)t->mask + 1) * sizeof t->by_id[0]);
    memset(t->by_lsn, 0, ((size_t)t->mask + 1) * sizeof t->by_lsn[0]);
    for (uint32_t i = 0; i < t->fresh; i++)
        t->entries[i].lsn_opened = 0;
    t->used = t->fresh = t->sweep = 0;
    t->free = SESSION_NONE;
}

/* The id is random already; an agent that picks its ids badly only slows down this table's walks,
 * which its uid's share of sessions bounds. */
static uint32_t id_hash(const uint8_t id[SESSION_ID_BYTES])
{
    uint64_t words[2];
    memcpy(words, id, sizeof words);
    return session_spread(words[0] ^ words[1]);
}

static uint32_t id_position(const struct session_table *t, const uint8_t id[SESSION_ID_BYTES])
{
    uint32_t at = id_hash(id) & t->mask;
    while (t->by_id[at] != 0 && memcmp(t->entries[t->by_id[at] - 1].id, id, SESSION_ID_BYTES) != 0)
        at = (at + 1) & t->mask;
    return at;
}

static uint32_t lsn_position(const struct session_table *t, uint64_t lsn)
{
    uint32_t at = session_spread(lsn) & t->mask;
    while (t->by_lsn[at] != 0 && t->entries[t->by_lsn[at] - 1].lsn_opened != lsn)
        at = (at + 1) & t->mask;
    return at;
}

uint32_t session_find(const struct session_table *t, const uint8_t id[SESSION_ID_BYTES])
{
    uint32_t entry = t->by_id[id_position(t, id)];
    return entry != 0 ? entry - 1 : SESSION_NONE;
}

uint32_t session_find_lsn(const struct session_table *t, uint64_t lsn_opened, uint32_t hint)
{
    if (hint < t->fresh && t->entries[hint].lsn_opened == lsn_opened)
        return hint;
    uint32_t entry = t->by_lsn[lsn_position(t, lsn_opened)];
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
    uint32_t *newest = &t->by_id[id_position(t, id)];
    s->older = *newest;
    *newest = slot + 1;
    t->by_lsn[lsn_position(t, lsn)] = slot + 1;
    return slot;
}

struct session *session_get(struct session_table *t, uint64_t lsn_opened, uint32_t hint,
                            uint32_t uid)
{
    if (lsn_opened == 0)
        return NULL;
    uint32_t slot = session_find_lsn(t, lsn_opened, hint);
    if (slot == SESSION_NONE)
        return NULL;
    struct session *s = &t->entries[slot];
    return s->uid == uid && !s->expiring ? s : NULL;
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
    const struct session_kept *kept = &s->results[sequence % LIMIT_SESSION_WINDOW];
    *result = (struct session_result){
        .lsn = kept->lsn,
        .status = kept->status,
        .number = kept->has_number != 0 ? s->numbers[sequence % LIMIT_SESSION_WINDOW] : 0,
    };
    return SESSION_DUPLICATE;
}

void session_commit_result(struct session *s, uint64_t sequence, struct session_result result)
{
    ASSERT(sequence == s->committed + 1);
    s->committed = sequence;
    s->results[sequence % LIMIT_SESSION_WINDOW] = (struct session_kept){
        .lsn = result.lsn,
        .status = result.status,
        .has_number = result.number != 0,
    };
    if (UNLIKELY(result.number != 0))
        s->numbers[sequence % LIMIT_SESSION_WINDOW] = result.number;
}

typedef uint32_t home_function(const struct session *s);

static uint32_t home_by_id(const struct session *s)
{
    return id_hash(s->id);
}

static uint32_t home_by_lsn(const struct session *s)
{
    return session_spread(s->lsn_opened);
}

/* Knuth, TAOCP 3, 6.4, algorithm R: close the gap, so that no walk meets a tombstone. */
static void slot_remove(const struct session_table *t, uint32_t *slots, uint32_t at,
                        home_function *home_of)
{
    uint32_t gap = at;
    for (uint32_t next = (at + 1) & t->mask; slots[next] != 0; next = (next + 1) & t->mask) {
        uint32_t home = home_of(&t->entries[slots[next] - 1]) & t->mask;
        if (((next - home) & t->mask) >= ((next - gap) & t->mask)) {
            slots[gap] = slots[next];
            gap = next;
        }
    }
    slots[gap] = 0;
}

/* Take an entry out of those of its id. */
static void id_remove(struct session_table *t, uint32_t slot)
{
    const struct session *s = &t->entries[slot];
    uint32_t at = id_position(t, s->id);
    uint32_t *link = &t->by_id[at];
    while (*link != slot + 1)
        link = &t->entries[*link - 1].older;
    *link = s->older;
    if (t->by_id[at] == 0)
        slot_remove(t, t->by_id, at, home_by_id);
}

void session_forget(struct session_table *t, uint32_t slot)
{
    struct session *s = &t->entries[slot];
    ASSERT(s->lsn_opened != 0);
    id_remove(t, slot);
    slot_remove(t, t->by_lsn, lsn_position(t, s->lsn_opened), home_by_lsn);
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
        if (s->lsn_opened != 0 && !s->opening && !s->expiring && s->committed == s->appended &&
            s->traffic_ns + ttl_ns <= now_ns)
            return slot;
    }
    return SESSION_NONE;
}
