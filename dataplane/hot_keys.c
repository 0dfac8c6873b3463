#include "dataplane/hot_keys.h"

#include <string.h>

#define COPY_TRIES 1000u

static bool is_key(const struct hot_keys_key *a, const struct hot_keys_asked *b)
{
    return a->space == b->space && a->length == b->length &&
           memcmp(a->bytes, b->bytes, a->length) == 0;
}

static void key_set(struct hot_keys_key *to, const struct hot_keys_asked *from)
{
    to->space = from->space;
    to->length = from->length;
    memcpy(to->bytes, from->bytes, from->length);
}

/* Why over all entries at once: it is a few vector instructions, and most keys are in none. */
static bool has_tag(const struct hot_keys *h, uint32_t tag)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < HOT_KEYS_COUNT; i++)
        found |= h->tags[i] == tag;
    return found != 0;
}

/* The entry of a key, or HOT_KEYS_COUNT. */
static uint32_t find(const struct hot_keys *h, const struct hot_keys_asked *key, uint32_t tag)
{
    if (!has_tag(h, tag))
        return HOT_KEYS_COUNT;
    for (uint32_t i = 0; i < h->entry_count; i++)
        if (h->tags[i] == tag && is_key(&h->keys[i], key))
            return i;
    return HOT_KEYS_COUNT;
}

static uint32_t least_count(const struct hot_keys *h)
{
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < HOT_KEYS_COUNT; i++)
        least = h->counts[i] < least ? h->counts[i] : least;
    return least;
}

/* An entry with the least count, of a full table.  Why a cursor: counts only grow, so what it passed is
 * above least, and a search costs a step or two; all are looked at once for each value of least. */
static uint32_t victim(struct hot_keys *h)
{
    for (;;) {
        for (; h->cursor < HOT_KEYS_COUNT; h->cursor++)
            if (h->counts[h->cursor] == h->least)
                return h->cursor;
        h->cursor = 0;
        h->least = least_count(h);
    }
}

static void window_halve(struct hot_keys *h)
{
    for (uint32_t i = 0; i < h->entry_count; i++) {
        h->counts[i] /= 2;
        /* Why up: a count must not be told for more certain than it is. */
        h->errors[i] = (uint32_t)min_u64((h->errors[i] + 1) / 2, h->counts[i]);
    }
    h->noted /= 2;
    h->cursor = HOT_KEYS_COUNT;
}

void hot_keys_note(struct hot_keys *h, const struct hot_keys_asked *key)
{
    ASSERT(key->length <= LIMIT_KEY_BYTES);
    uint32_t tag = (uint32_t)(key->hash >> 32) ^ key->space;
    uint32_t i = find(h, key, tag);
    if (i == HOT_KEYS_COUNT) {
        i = h->entry_count < HOT_KEYS_COUNT ? h->entry_count++ : victim(h);
        /* The newcomer may have been noted as often as who goes: section 3 of the paper. */
        h->errors[i] = h->counts[i];
        h->tags[i] = tag;
        key_set(&h->keys[i], key);
    }
    h->counts[i]++;
    if (++h->noted == HOT_KEYS_WINDOW)
        window_halve(h);
}

/* xorshift64*. */
uint32_t hot_keys_gap(struct hot_keys *h)
{
    uint64_t x = h->random != 0 ? h->random : UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    h->random = x;
    uint64_t high = (x * UINT64_C(0x2545f4914f6cdd1d)) >> 32;
    return 1 + (uint32_t)(high * (2 * HOT_KEYS_GAP_MEAN - 1) >> 32);
}

static uint32_t guaranteed(const struct hot_keys *h, uint32_t i)
{
    return h->counts[i] - h->errors[i];
}

void hot_keys_top(const struct hot_keys *h, struct hot_keys_top *top)
{
    uint64_t taken = 0;
    *top = (struct hot_keys_top){.noted = h->noted};
    while (top->count < HOT_KEYS_TOP) {
        uint32_t best = HOT_KEYS_COUNT;
        for (uint32_t i = 0; i < h->entry_count; i++)
            if ((taken >> i & 1) == 0 && guaranteed(h, i) >= HOT_KEYS_GUARANTEED_LEAST &&
                (best == HOT_KEYS_COUNT || guaranteed(h, i) > guaranteed(h, best)))
                best = i;
        if (best == HOT_KEYS_COUNT)
            return;
        taken |= UINT64_C(1) << best;
        top->entries[top->count].count = h->counts[best];
        top->entries[top->count].error = h->errors[best];
        top->entries[top->count++].key = h->keys[best];
    }
}
_Static_assert(HOT_KEYS_COUNT <= 64, "a bit for each");

void hot_keys_show(const struct hot_keys *h, struct hot_keys_shown *shown)
{
    union {
        struct hot_keys_top top;
        uint64_t words[HOT_KEYS_WORDS];
    } now;
    hot_keys_top(h, &now.top);
    /* relaxed: this lcore is the only writer */
    uint64_t sequence = atomic_load_explicit(&shown->sequence, memory_order_relaxed);
    atomic_store_explicit(&shown->sequence, sequence + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* H1 */
    for (size_t i = 0; i < HOT_KEYS_WORDS; i++)
        /* relaxed: ordered by the sequence on both sides */
        atomic_store_explicit(&shown->words[i], now.words[i], memory_order_relaxed);
    atomic_store_explicit(&shown->sequence, sequence + 2, memory_order_release); /* H2 */
}

bool hot_keys_copy(const struct hot_keys_shown *shown, struct hot_keys_top *top)
{
    union {
        struct hot_keys_top top;
        uint64_t words[HOT_KEYS_WORDS];
    } copy;
    for (uint32_t try = 0; try < COPY_TRIES; try++) {
        uint64_t sequence = atomic_load_explicit(&shown->sequence, memory_order_acquire); /* H3 */
        for (size_t i = 0; i < HOT_KEYS_WORDS; i++)
            /* relaxed: ordered by the sequence on both sides */
            copy.words[i] = atomic_load_explicit(&shown->words[i], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire); /* H4 */
        /* relaxed: behind the fence */
        if ((sequence & 1) == 0 &&
            sequence == atomic_load_explicit(&shown->sequence, memory_order_relaxed)) {
            *top = copy.top;
            return true;
        }
        cpu_relax();
    }
    return false;
}
