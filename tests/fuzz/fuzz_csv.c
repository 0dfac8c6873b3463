/* Any bytes as a recording: rows within their limits, or one sentence that names a line. The first
 * byte chooses the options and how the rest is cut into pieces; another cut must give the same. */
#include "bench/csv.h"
#include "bench/geohash.h"

#include <string.h>

struct seen {
    uint64_t rows, sum;
    int64_t time_us;
    bool any_order;
};

static int on_row(void *context, const struct csv_row *row)
{
    struct seen *seen = context;
    ASSERT(row->line > seen->rows + 1 && row->line < UINT32_MAX);
    ASSERT(row->lat_e7 >= -GEOHASH_LAT_E7_MAX && row->lat_e7 <= GEOHASH_LAT_E7_MAX);
    ASSERT(row->lon_e7 >= -GEOHASH_LON_E7_MAX && row->lon_e7 <= GEOHASH_LON_E7_MAX);
    ASSERT(row->agent.length >= 1 && row->agent.length <= CSV_AGENT_BYTES);
    ASSERT(row->value.length <= CSV_VALUE_BYTES);
    ASSERT(seen->rows == 0 || seen->any_order || row->time_us >= seen->time_us);
    for (size_t i = 0; i < row->agent.length; i++)
        seen->sum = seen->sum * 31 + (unsigned char)row->agent.bytes[i];
    for (size_t i = 0; i < row->value.length; i++)
        seen->sum = seen->sum * 31 + (unsigned char)row->value.bytes[i];
    ASSERT(geohash_cell(row->lat_e7, row->lon_e7) < 1u << GEOHASH_BITS);
    seen->time_us = row->time_us;
    seen->rows++;
    return 0;
}

static int parse(struct csv *csv, struct seen *seen, const char *bytes, size_t length, size_t piece)
{
    struct csv_options options = {.agent_column = seen->any_order ? "x" : NULL,
                                  .any_order = seen->any_order};
    int error = 0;
    csv_init(csv, &options, on_row, seen);
    for (size_t at = 0; error == 0 && at < length; at += piece)
        error = csv_feed(csv, bytes + at, length - at < piece ? length - at : piece);
    return error != 0 ? error : csv_end(csv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct csv whole, cut;
    if (size == 0)
        return 0;
    bool any_order = (data[0] & 1) != 0;
    struct seen in_whole = {.any_order = any_order}, in_pieces = {.any_order = any_order};
    const char *bytes = (const char *)data + 1;
    int one = parse(&whole, &in_whole, bytes, size - 1, size);
    int other = parse(&cut, &in_pieces, bytes, size - 1, 1 + (size_t)(data[0] >> 1));
    ASSERT(one == other && (one == 0 || one == -EINVAL));
    ASSERT(in_whole.rows == in_pieces.rows && in_whole.sum == in_pieces.sum);
    ASSERT(memchr(whole.error, 0, sizeof(whole.error)) != NULL);
    ASSERT(strcmp(whole.error, cut.error) == 0 && (one == 0) == (whole.error[0] == 0));
    ASSERT(one == 0 || strncmp(whole.error, "line ", 5) == 0);
    return 0;
}
