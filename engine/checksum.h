/* checksum - crc32c (Castagnoli), seeded and finished like RFC 3720 B.4: crc of "123456789" is
 * 0xe3069283.  Chain by passing the last result as seed; start with 0.
 *
 * Short buffers use the SSE4.2 instruction in line, long ones ISA-L's crc32_iscsi.
 * checksum_copy is fused: each source byte is read once (the source may be an agent's ring, which
 * changes under us; what was summed is what was stored) and stores are relaxed 8-byte atomics, so
 * optimistic readers of the destination see no torn word. */
#ifndef DUNLIN_ENGINE_CHECKSUM_H
#define DUNLIN_ENGINE_CHECKSUM_H

#include "engine/base.h"

uint32_t checksum(uint32_t seed, const void *bytes, size_t length);

/* Copy length bytes to 8-aligned memory, fill the last word with zeros, and return the crc over what
 * was stored, zeros included, chained to seed. */
uint32_t checksum_copy(uint32_t seed, void *destination, const void *source, size_t length);

/* The crc over bytes 4 to 63 of a 64-byte header, chained to seed; bytes 8 to 63 are copied to
 * 8-aligned memory in the same pass.  The first word, which holds the crc, is the caller's to store. */
uint32_t checksum_header(uint32_t seed, void *destination, const void *header);

#endif
