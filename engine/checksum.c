#include "engine/checksum.h"

#include <isa-l/crc.h>
#include <nmmintrin.h>
#include <string.h>

/* Below this the instruction's latency costs less than ISA-L's set-up of three streams. */
#define LONG_BYTES 1024u
#define PIECE_BYTES 2048u

static uint32_t checksum_short(uint32_t crc, const uint8_t *bytes, size_t length)
{
    uint64_t wide = crc;
    if ((length & 4) != 0) { /* first, so that a record's header takes eight steps, not eleven */
        uint32_t word;
        memcpy(&word, bytes, 4);
        wide = _mm_crc32_u32((uint32_t)wide, word);
        bytes += 4;
        length -= 4;
    }
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

/* Load a word, sum it, store it; returns the crc. */
static ALWAYS_INLINE uint64_t copy_word(uint64_t crc, _Atomic uint64_t *to, const uint8_t *from)
{
    uint64_t word;
    memcpy(&word, from, 8);
    /* relaxed: the commit LSN publishes the bytes; optimistic readers validate what they loaded */
    atomic_store_explicit(to, word, memory_order_relaxed);
    return _mm_crc32_u64(crc, word);
}

/* Whole words, four at a time: the loop's own instructions would be half of the work. */
static ALWAYS_INLINE uint64_t copy_words(uint64_t crc, _Atomic uint64_t *to, const uint8_t *from,
                                         size_t words)
{
    for (; words >= 4; to += 4, from += 32, words -= 4) {
        crc = copy_word(crc, to, from);
        crc = copy_word(crc, to + 1, from + 8);
        crc = copy_word(crc, to + 2, from + 16);
        crc = copy_word(crc, to + 3, from + 24);
    }
    for (; words != 0; to++, from += 8, words--)
        crc = copy_word(crc, to, from);
    return crc;
}

/* Pieces are copied, then summed where they were put, still in the first cache: three streams at a
 * time sum more than twice as fast as one. */
static uint64_t copy_pieces(uint64_t crc, uint8_t *to, const uint8_t *from, size_t length)
{
    for (; length != 0; to += PIECE_BYTES, from += PIECE_BYTES, length -= PIECE_BYTES) {
        for (size_t i = 0; i < PIECE_BYTES; i += 8) {
            uint64_t word;
            memcpy(&word, from + i, 8);
            /* relaxed: as in copy_word */
            atomic_store_explicit((_Atomic uint64_t *)(void *)(to + i), word, memory_order_relaxed);
        }
        crc = crc32_iscsi(to, (int)PIECE_BYTES, (uint32_t)crc);
    }
    return crc;
}

uint32_t checksum_copy(uint32_t seed, void *destination, const void *source, size_t length)
{
    _Atomic uint64_t *to = destination;
    const uint8_t *from = source;
    size_t pieces = length & ~(size_t)(PIECE_BYTES - 1);
    uint64_t crc = ~seed;
    if (pieces != 0) {
        crc = copy_pieces(crc, destination, from, pieces);
        to += pieces / 8;
        from += pieces;
        length -= pieces;
    }
    crc = copy_words(crc, to, from, length / 8);
    if (length % 8 != 0) {
        uint64_t word = 0;
        memcpy(&word, from + (length & ~(size_t)7), length % 8);
        crc = _mm_crc32_u64(crc, word);
        atomic_store_explicit(to + length / 8, word, memory_order_relaxed);
    }
    return ~(uint32_t)crc;
}

uint32_t checksum_header(uint32_t seed, void *destination, const void *header)
{
    const uint8_t *from = header;
    uint32_t half;
    memcpy(&half, from + 4, 4);
    uint64_t crc = _mm_crc32_u32(~seed, half);
    return ~(uint32_t)copy_words(crc, (_Atomic uint64_t *)destination + 1, from + 8, 7);
}
