#include "dataplane/pair_secrets.h"

#include <string.h>

#define SECRET_WORDS (FRAME_SECRET_BYTES / 8)

_Static_assert(FRAME_SECRET_BYTES % 8 == 0 && PAIR_SECRETS_HELD == 2, "words of an entry");

static uint32_t node_of(const struct pair_secrets_entry *e)
{
    /* relaxed: who looks for an entry checks it under the sequence */
    return (uint32_t)atomic_load_explicit(&e->words[0], memory_order_relaxed);
}

static struct pair_secrets_entry *find(const struct pair_secrets *s, uint32_t node)
{
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        if (node_of(&s->entries[i]) == node)
            return (struct pair_secrets_entry *)(uintptr_t)&s->entries[i];
    return NULL;
}

/* ---- words, one at a time: no copy of a secret is left on the stack ---- */

static uint64_t word_of(const struct pair_secrets_view *v, uint32_t node, uint32_t i)
{
    uint64_t word;
    if (i == 0)
        return node | (uint64_t)v->seals << 32;
    if (i == 1)
        return v->start;
    if (i == 2)
        return v->secrets[0].number | (uint64_t)v->secrets[1].number << 32;
    memcpy(&word, v->secrets[(i - 3) / SECRET_WORDS].bytes + (uint64_t)(i - 3) % SECRET_WORDS * 8,
           sizeof word);
    return word;
}

static void word_set(struct pair_secrets_view *v, uint32_t i, uint64_t word)
{
    if (i == 0) {
        v->seals = (uint32_t)(word >> 32);
    } else if (i == 1) {
        v->start = word;
    } else if (i == 2) {
        v->secrets[0].number = (uint32_t)word;
        v->secrets[1].number = (uint32_t)(word >> 32);
    } else {
        memcpy(v->secrets[(i - 3) / SECRET_WORDS].bytes + (uint64_t)(i - 3) % SECRET_WORDS * 8,
               &word, sizeof word);
    }
}

/* view NULL: zeros. */
static void store(struct pair_secrets_entry *e, uint32_t node, const struct pair_secrets_view *view)
{
    /* relaxed: nobody else writes it */
    uint64_t sequence = atomic_load_explicit(&e->sequence, memory_order_relaxed);
    /* relaxed: T2 brings it in front of every word */
    atomic_store_explicit(&e->sequence, sequence + 1, memory_order_relaxed);
    for (uint32_t i = 0; i < PAIR_SECRETS_WORDS; i++)
        atomic_store_explicit(&e->words[i], view != NULL ? word_of(view, node, i) : 0,
                              memory_order_release);                         /* T2 */
    atomic_store_explicit(&e->sequence, sequence + 2, memory_order_release); /* T1 */
}

/* ---- put, get ---- */

void pair_secrets_init(struct pair_secrets *s)
{
    *s = (struct pair_secrets){.changes = 0};
}

void pair_secrets_fini(struct pair_secrets *s)
{
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        store(&s->entries[i], 0, NULL);
}

int pair_secrets_put(struct pair_secrets *s, uint32_t node, const struct pair_secrets_view *view)
{
    ASSERT(node != 0);
    struct pair_secrets_entry *e = find(s, node);
    if (e == NULL && view->start == 0)
        return 0;
    if (e == NULL) {
        e = find(s, 0);
        if (e == NULL)
            return -ENOSPC;
    }
    /* relaxed: this thread's own; and what lcores said of other secrets they say again of these */
    if (atomic_load_explicit(&e->words[1], memory_order_relaxed) != view->start)
        atomic_store_explicit(&e->spent, 0, memory_order_relaxed);
    store(e, node, view->start != 0 ? view : NULL);
    atomic_fetch_add_explicit(&s->changes, 1, memory_order_release); /* T3 */
    return 0;
}

int pair_secrets_get(const struct pair_secrets *s, uint32_t node, struct pair_secrets_view *view)
{
    const struct pair_secrets_entry *e = find(s, node);
    if (e == NULL)
        return 0;
    uint64_t before = atomic_load_explicit(&e->sequence, memory_order_acquire); /* G1 */
    uint64_t first = atomic_load_explicit(&e->words[0], memory_order_acquire);  /* G2 */
    word_set(view, 0, first);
    for (uint32_t i = 1; i < PAIR_SECRETS_WORDS; i++)
        word_set(view, i, atomic_load_explicit(&e->words[i], memory_order_acquire)); /* G2 */
    /* relaxed: G2 keeps it behind the words */
    uint64_t after = atomic_load_explicit(&e->sequence, memory_order_relaxed);
    if (before != after || before % 2 != 0)
        return -EAGAIN;
    return (uint32_t)first == node ? 1 : 0;
}

/* ---- what is used up ---- */

void pair_secrets_spend(struct pair_secrets *s, uint32_t node, uint32_t number)
{
    struct pair_secrets_entry *e = find(s, node);
    /* relaxed: a wish, which nothing is concluded from but that it is one */
    if (e != NULL && atomic_load_explicit(&e->spent, memory_order_relaxed) != number)
        atomic_store_explicit(&e->spent, number, memory_order_relaxed);
}

uint32_t pair_secrets_spent(const struct pair_secrets *s, uint32_t node)
{
    const struct pair_secrets_entry *e = find(s, node);
    /* relaxed: as above */
    return e != NULL ? atomic_load_explicit(&e->spent, memory_order_relaxed) : 0;
}
