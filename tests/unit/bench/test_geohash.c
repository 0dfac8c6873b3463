#include "bench/geohash.h"
#include "tests/unit/unit.h"

static uint32_t cell_of(double lat, double lon)
{
    return geohash_cell((int32_t)(lat * 1e7 + (lat < 0 ? -0.5 : 0.5)),
                        (int32_t)(lon * 1e7 + (lon < 0 ? -0.5 : 0.5)));
}

static bool is_cell(double lat, double lon, const char *expected)
{
    char text[GEOHASH_CHARACTERS];
    geohash_text(cell_of(lat, lon), text);
    return memcmp(text, expected, sizeof(text)) == 0;
}

/* The first two are Wikipedia's examples. */
static void known_places_have_their_cells(void)
{
    CU_ASSERT(is_cell(57.64911, 10.40744, "u4pruy"));
    CU_ASSERT(is_cell(42.605, -5.603, "ezs42s"));
    CU_ASSERT(is_cell(37.990046, 23.730362, "swbb5g"));
    CU_ASSERT(is_cell(0, 0, "s00000"));
    CU_ASSERT(is_cell(-0.0000001, -0.0000001, "7zzzzz"));
}

static void edges_of_the_world_belong_to_the_last_cells(void)
{
    CU_ASSERT(is_cell(-90, -180, "000000"));
    CU_ASSERT(is_cell(90, 180, "zzzzzz"));
    CU_ASSERT(is_cell(90, -180, "bpbpbp"));
    CU_ASSERT(is_cell(-90, 180, "pbpbpb"));
}

static void text_and_cell_are_the_same(void)
{
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t cell = i * 2654435761u >> 2;
        char text[GEOHASH_CHARACTERS];
        geohash_text(cell, text);
        CU_ASSERT_FATAL(geohash_parse(text, sizeof(text)) == cell);
    }
}

static void what_is_no_cell_is_refused(void)
{
    CU_ASSERT(geohash_parse("u4pru", 5) == GEOHASH_NONE);
    CU_ASSERT(geohash_parse("u4pruyd", 7) == GEOHASH_NONE);
    CU_ASSERT(geohash_parse("u4prua", 6) == GEOHASH_NONE);
    CU_ASSERT(geohash_parse("u4pru\0", 6) == GEOHASH_NONE);
    CU_ASSERT(geohash_parse("U4PRUY", 6) == GEOHASH_NONE);
}

static void a_box_holds_its_cell_and_ends_where_the_next_begins(void)
{
    uint32_t cell = cell_of(37.985, 23.735);
    struct geohash_box b = geohash_box(cell);
    CU_ASSERT(b.lat_extent_e7 > 54000 && b.lat_extent_e7 < 56000);
    CU_ASSERT(b.lon_extent_e7 > 109000 && b.lon_extent_e7 < 111000);
    CU_ASSERT(geohash_cell(b.lat_e7, b.lon_e7) == cell);
    CU_ASSERT(geohash_cell(b.lat_e7 + b.lat_extent_e7 - 1, b.lon_e7 + b.lon_extent_e7 - 1) == cell);
    CU_ASSERT(geohash_cell(b.lat_e7 - 1, b.lon_e7) != cell);
    CU_ASSERT(geohash_cell(b.lat_e7, b.lon_e7 - 1) != cell);
    CU_ASSERT(geohash_cell(b.lat_e7 + b.lat_extent_e7, b.lon_e7) != cell);
    CU_ASSERT(geohash_cell(b.lat_e7, b.lon_e7 + b.lon_extent_e7) != cell);
}

static const struct unit_test tests[] = {
    UNIT_TEST(known_places_have_their_cells),
    UNIT_TEST(edges_of_the_world_belong_to_the_last_cells),
    UNIT_TEST(text_and_cell_are_the_same),
    UNIT_TEST(what_is_no_cell_is_refused),
    UNIT_TEST(a_box_holds_its_cell_and_ends_where_the_next_begins),
};
UNIT_MAIN("geohash", tests)
