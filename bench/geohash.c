#include "bench/geohash.h"

#include <string.h>

static const char alphabet[] = "0123456789bcdefghjkmnpqrstuvwxyz";
_Static_assert(sizeof(alphabet) == 33, "base 32");

#define AXIS_BITS (GEOHASH_BITS / 2)
#define AXIS_CELLS (1 << AXIS_BITS)

/* Bits 0, 1, 2 ... of a 15-bit number to places 0, 2, 4 ... */
static uint32_t spread(uint32_t bits)
{
    bits = (bits | bits << 8) & 0x00ff00ffu;
    bits = (bits | bits << 4) & 0x0f0f0f0fu;
    bits = (bits | bits << 2) & 0x33333333u;
    return (bits | bits << 1) & 0x55555555u;
}

static uint32_t gather(uint32_t bits)
{
    bits &= 0x55555555u;
    bits = (bits | bits >> 1) & 0x33333333u;
    bits = (bits | bits >> 2) & 0x0f0f0f0fu;
    bits = (bits | bits >> 4) & 0x00ff00ffu;
    return (bits | bits >> 8) & 0x0000ffffu;
}

static uint32_t axis(int32_t value_e7, int32_t max_e7)
{
    int64_t from_edge = (int64_t)value_e7 + max_e7;
    int64_t index = from_edge * AXIS_CELLS / (2 * (int64_t)max_e7);
    return (uint32_t)(index < AXIS_CELLS ? index : AXIS_CELLS - 1);
}

/* First whole 1e-7 degree of a cell, so that the corner lies in its own cell. */
static int32_t axis_corner(uint32_t index, int32_t max_e7)
{
    int64_t scaled = (int64_t)index * 2 * max_e7;
    return (int32_t)((scaled + AXIS_CELLS - 1) / AXIS_CELLS - max_e7);
}

uint32_t geohash_cell(int32_t lat_e7, int32_t lon_e7)
{
    ASSERT(lat_e7 >= -GEOHASH_LAT_E7_MAX && lat_e7 <= GEOHASH_LAT_E7_MAX);
    ASSERT(lon_e7 >= -GEOHASH_LON_E7_MAX && lon_e7 <= GEOHASH_LON_E7_MAX);
    return spread(axis(lon_e7, GEOHASH_LON_E7_MAX)) << 1 | spread(axis(lat_e7, GEOHASH_LAT_E7_MAX));
}

void geohash_text(uint32_t cell, char text[GEOHASH_CHARACTERS])
{
    for (uint32_t i = 0; i < GEOHASH_CHARACTERS; i++)
        text[i] = alphabet[cell >> (GEOHASH_BITS - 5 * (i + 1)) & 31];
}

uint32_t geohash_parse(const char *text, size_t length)
{
    uint32_t cell = 0;
    if (length != GEOHASH_CHARACTERS)
        return GEOHASH_NONE;
    for (size_t i = 0; i < length; i++) {
        const char *found = text[i] == 0 ? NULL : strchr(alphabet, text[i]);
        if (found == NULL)
            return GEOHASH_NONE;
        cell = cell << 5 | (uint32_t)(found - alphabet);
    }
    return cell;
}

struct geohash_box geohash_box(uint32_t cell)
{
    uint32_t lat = gather(cell), lon = gather(cell >> 1);
    struct geohash_box box = {
        .lat_e7 = axis_corner(lat, GEOHASH_LAT_E7_MAX),
        .lon_e7 = axis_corner(lon, GEOHASH_LON_E7_MAX),
    };
    box.lat_extent_e7 = (int32_t)(axis_corner(lat + 1, GEOHASH_LAT_E7_MAX) - box.lat_e7);
    box.lon_extent_e7 = (int32_t)(axis_corner(lon + 1, GEOHASH_LON_E7_MAX) - box.lon_e7);
    return box;
}
