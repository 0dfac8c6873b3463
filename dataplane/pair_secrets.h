/* pair_secrets - secrets that this start of a node shares with starts of others, each with one of them: told by
 * the control plane to the transports of all lcores, from which they derive keys (frame_key.h).
 *
 * One thread puts, any number of lcores get: an entry of each peer is a sequence lock in memory of the daemon,
 * so nobody waits for anybody.  Of each peer there are up to two secrets: the newest, and while the two sides
 * change over the one before.  Both open what comes, one of them seals what is sent.
 *
 *   numbers   count the secrets of a pair of starts from 1 on; their low bits are the key id in a frame
 *   start     of the peer whose secrets these are; with another one all of them are void
 *
 * What is void is overwritten: by put here, by the transports within a millisecond of their next receive.
 *
 * Memory order, by entry:
 *   T1 -> G1  the second store of the sequence and the first load of it: the words of before are there
 *   T2 -> G2  each word and its load: who read a word of a newer put sees its sequence at the second load
 *   T3 -> G3  changes: who sees the new count gets the words that it counts
 * Source: Boehm, "Can Seqlocks Get Along With Programming Language Memory Models?" (MSPC 2012). */
#ifndef DUNLIN_DATAPLANE_PAIR_SECRETS_H
#define DUNLIN_DATAPLANE_PAIR_SECRETS_H

#include "dataplane/frame_key.h"
#include "engine/limits.h"

#define PAIR_SECRETS_HELD 2u

struct pair_secret {
    uint32_t number; /* 0: none */
    uint8_t bytes[FRAME_SECRET_BYTES];
};

/* Of one peer. */
struct pair_secrets_view {
    uint64_t start;                                /* 0: nothing is shared */
    uint32_t seals;                                /* number of one of the two */
    struct pair_secret secrets[PAIR_SECRETS_HELD]; /* the newest, the one before */
};

/* Node and seals, start, two numbers, the bytes of both. */
#define PAIR_SECRETS_WORDS (3 + PAIR_SECRETS_HELD * FRAME_SECRET_BYTES / 8)

struct pair_secrets_entry {
    _Atomic uint64_t sequence; /* odd: being written */
    _Atomic uint64_t words[PAIR_SECRETS_WORDS];
    _Atomic uint32_t spent; /* lcores write it */
};

struct pair_secrets {
    _Atomic uint64_t changes; /* puts */
    struct pair_secrets_entry entries[LIMIT_NODES];
};

/* The caller's memory.  fini overwrites all; nobody gets any more. */
void pair_secrets_init(struct pair_secrets *s);
void pair_secrets_fini(struct pair_secrets *s);

/* The thread that puts.  A view whose start is 0 gives the entry up.  Returns 0 or -ENOSPC: LIMIT_NODES
 * peers are there. */
MUST_USE int pair_secrets_put(struct pair_secrets *s, uint32_t node,
                              const struct pair_secrets_view *view);

/* Any thread.  Returns 1 and the view; 0: nothing is shared with that node; -EAGAIN: it is being written, later.
 * Whatever it returns, the caller overwrites the view when it is done with it. */
MUST_USE int pair_secrets_get(const struct pair_secrets *s, uint32_t node,
                              struct pair_secrets_view *view);

/* Another number than before: there is something to get. */
static inline uint64_t pair_secrets_changes(const struct pair_secrets *s)
{
    return atomic_load_explicit(&s->changes, memory_order_acquire); /* G3 */
}

/* An lcore has sealed as much as it should with a key of that secret (FRAME_KEY_BLOCKS): another one is wanted.
 * Said again and again while it is so. */
void pair_secrets_spend(struct pair_secrets *s, uint32_t node, uint32_t number);
/* The number that was said last; 0: none. */
uint32_t pair_secrets_spent(const struct pair_secrets *s, uint32_t node);

/* Never 0. */
static inline uint16_t pair_secret_key_id(uint32_t number)
{
    return (uint16_t)((number - 1) % UINT16_MAX + 1);
}

#endif
