/* geohash - the cell of the earth that a position lies in: 6 characters, 30 bits, about 1.2 km by
 * 0.6 km.  The fleet's airspace sectors.
 *
 * Pure, and exact: positions are whole numbers of 1e-7 degrees, so that no rounding moves a
 * position across a border. Source: Niemeyer's geohash; bits alternate longitude first, base 32
 * without a, i, l, o. */
#ifndef DUNLIN_BENCH_GEOHASH_H
#define DUNLIN_BENCH_GEOHASH_H

#include "engine/base.h"

#define GEOHASH_CHARACTERS 6u
#define GEOHASH_BITS 30u
#define GEOHASH_NONE UINT32_MAX /* no cell: cells have 30 bits */

#define GEOHASH_LAT_E7_MAX 900000000
#define GEOHASH_LON_E7_MAX 1800000000

/* lat_e7 in [-90, 90] degrees, lon_e7 in [-180, 180]; the upper edges belong to the last cell. */
uint32_t geohash_cell(int32_t lat_e7, int32_t lon_e7);

/* Writes GEOHASH_CHARACTERS characters and no final 0. */
void geohash_text(uint32_t cell, char text[GEOHASH_CHARACTERS]);

/* The cell of a text, or GEOHASH_NONE if it is not GEOHASH_CHARACTERS characters of the alphabet.
 */
uint32_t geohash_parse(const char *text, size_t length);

/* South-west corner of a cell and its extent. */
struct geohash_box {
    int32_t lat_e7, lon_e7;
    int32_t lat_extent_e7, lon_extent_e7;
};
struct geohash_box geohash_box(uint32_t cell);

#endif
