/* keys - the keys that the benches read and write: a fixed number of fixed length, in random order.
 *
 * All sides of a comparison visit the same keys in the same order.  The order is a permutation that
 * is computed, not stored, so that no side pays for reading it. */
#ifndef DUNLIN_BENCH_KEYS_H
#define DUNLIN_BENCH_KEYS_H

#include "engine/base.h"

#include <string.h>

#define KEYS_LENGTH 16u
#define KEYS_VALUE_BYTES 64u

/* The nth key in random order: a bijection on [0, 2^bits), bits 10 .. 32. */
static ALWAYS_INLINE uint32_t keys_shuffle(uint64_t nth, uint32_t bits)
{
    uint64_t mask = (UINT64_C(1) << bits) - 1;
    uint32_t half = bits / 2;
    uint64_t x = nth & mask;
    x = (x * UINT64_C(0x9e3779b1) + 0x7f4a7c15) & mask;
    x ^= x >> half;
    x = (x * UINT64_C(0x85ebca6b)) & mask;
    x ^= x >> half;
    x = (x * UINT64_C(0xc2b2ae35)) & mask;
    return (uint32_t)(x ^ x >> half);
}

/* The nth key in another random order, in which the benches write: were it the order of reading,
 * the records would lie in it, too, and reading them would be no random access. */
static ALWAYS_INLINE uint32_t keys_shuffle_write(uint64_t nth, uint32_t bits)
{
    return keys_shuffle((uint64_t)keys_shuffle(nth, bits) * 5 + 3, bits);
}

/* Key number to text: "bench-k:" and eight letters a .. p, which sort as the numbers do.
 * Why one store of 16 bytes: whoever copies the key with one load would otherwise wait until both
 * halves are written back, and with that for every read before it. */
static ALWAYS_INLINE void keys_text(uint32_t number, char key[KEYS_LENGTH])
{
    typedef uint64_t pair __attribute__((vector_size(KEYS_LENGTH)));
    uint64_t x = number;
    x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
    x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    x = __builtin_bswap64(x + UINT64_C(0x6161616161616161));
    pair text = {UINT64_C(0x3a6b2d68636e6562), x}; /* "bench-k:" */
    memcpy(key, &text, KEYS_LENGTH);
}

/* 0, but only known once the word is: makes the next operation wait for this one's result, as a
 * program does that uses what it reads. */
static ALWAYS_INLINE uint64_t keys_wait_for(uint64_t word)
{
    __asm__ volatile("andq $0, %0" : "+r"(word) : : "cc");
    return word;
}

#endif
