#include "engine/checksum.h"

#include <isa-l/crc.h>
#include <nmmintrin.h>
#include <string.h>

/* Below this the instruction's latency costs less than ISA-L's set-up of three streams. */
#define LONG_BYTES 1024u

static uint32_t checksum_short(uint32_t crc, const uint8_t *bytes, size_t length)
{
    uint64_t wide = crc;
    for (; length >= 8; bytes += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; length != 0; bytes++, length--)
        crc = _mm_crc32_u8(crc, *bytes);
    return crc;
}

uint32_t checksum(uint32_t seed, const void *bytes, size_t length)
{
    if (length < LONG_BYTES)
        return ~checksum_short(~seed, bytes, length);
    const uint8_t *at = bytes;
    /* Why in pieces: crc32_iscsi counts in an int. */
    uint32_t crc = ~seed;
    while (length != 0) {
        size_t piece = length < (1u << 30) ? length : (1u << 30);
        crc = crc32_iscsi((unsigned char *)(uintptr_t)at, (int)piece, crc);
        at += piece;
        length -= piece;
    }
    return ~crc;
}

uint32_t checksum_copy(uint32_t seed, void *destination, const void *source, size_t length)
{
    _Atomic uint64_t *to = destination;
    const uint8_t *from = source;
    uint64_t crc = ~seed;
    /* relaxed: the commit LSN publishes the bytes; optimistic readers validate what they loaded */
    for (; length >= 8; from += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, from, 8);
        crc = _mm_crc32_u64(crc, word);
        atomic_store_explicit(to++, word, memory_order_relaxed);
    }
    if (length != 0) {
        uint64_t word = 0;
        memcpy(&word, from, length);
        crc = _mm_crc32_u64(crc, word);
        atomic_store_explicit(to, word, memory_order_relaxed);
    }
    return ~(uint32_t)crc;
}
