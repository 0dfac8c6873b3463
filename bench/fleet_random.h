/* fleet_random - numbers that look random and are the same for the same seed.
 * Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014). */
#ifndef DUNLIN_BENCH_FLEET_RANDOM_H
#define DUNLIN_BENCH_FLEET_RANDOM_H

#include <stdint.h>

static inline uint64_t fleet_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* 0 .. below - 1 */
static inline uint64_t fleet_random_below(uint64_t *state, uint32_t below)
{
    return (fleet_random(state) >> 32) * below >> 32;
}

/* low .. high */
static inline double fleet_random_between(uint64_t *state, double low, double high)
{
    return low + (high - low) * (double)(fleet_random(state) >> 11) * 0x1p-53;
}

#endif
