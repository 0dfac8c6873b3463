#include "bench/csv.h"

#include "bench/geohash.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NO_COLUMN UINT32_MAX
#define QUOTED_BYTES 32u /* of a field in an error */
#define EXPONENT_MAX 10000
#define MANTISSA_MAX INT64_C(1000000000000000000)

static const char *const agent_columns[] = {"agent", "icao24", "mmsi", "track_id", "device"};

__attribute__((format(printf, 3, 4))) static int refuse(struct csv *c, uint64_t line,
                                                        const char *format, ...)
{
    va_list arguments;
    int head = snprintf(c->error, sizeof(c->error), "line %llu: ", (unsigned long long)line);
    va_start(arguments, format);
    (void)vsnprintf(c->error + head, sizeof(c->error) - (size_t)head, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

struct quoted {
    char text[QUOTED_BYTES + 6];
};

/* A field as it can stand in a message: hostile bytes become '?', long ones are cut. */
static struct quoted quote(struct csv_text field)
{
    struct quoted q;
    size_t n = field.length < QUOTED_BYTES ? field.length : QUOTED_BYTES;
    q.text[0] = '"';
    for (size_t i = 0; i < n; i++) {
        char byte = field.bytes[i];
        q.text[1 + i] = byte >= 0x20 && byte < 0x7f ? byte : '?';
    }
    memcpy(q.text + 1 + n, n < field.length ? "..\"" : "\"", n < field.length ? 4 : 2);
    return q;
}

/* The digits after an e, with their sign.  Returns 0 or -EINVAL. */
static int exponent_of(const char *at, const char *end, int32_t *exponent)
{
    bool negative = at < end && *at == '-';
    int32_t e = 0;
    at += at < end && (*at == '-' || *at == '+');
    if (at == end)
        return -EINVAL;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return -EINVAL;
        e = e < EXPONENT_MAX ? e * 10 + (*at - '0') : e;
    }
    *exponent += negative ? -e : e;
    return 0;
}

/* mantissa * 10^exponent, towards zero. */
static int scale(int64_t mantissa, int32_t exponent, int64_t *value)
{
    for (; exponent < 0 && mantissa != 0; exponent++)
        mantissa /= 10;
    for (; exponent > 0 && mantissa != 0; exponent--) {
        if (mantissa > INT64_MAX / 10)
            return -ERANGE;
        mantissa *= 10;
    }
    *value = mantissa;
    return 0;
}

int csv_decimal(struct csv_text text, uint32_t decimals, int64_t *value)
{
    const char *at = text.bytes, *end = text.bytes + text.length;
    bool negative = at < end && *at == '-', fraction = false, any = false;
    int32_t exponent = (int32_t)decimals;
    int64_t mantissa = 0;
    at += at < end && (*at == '-' || *at == '+');
    for (; at < end && *at != 'e' && *at != 'E'; at++) {
        if (*at == '.' && !fraction) {
            fraction = true;
            continue;
        }
        if (*at < '0' || *at > '9')
            return -EINVAL;
        any = true;
        /* What does not fit any more only moves the point. */
        bool fits = mantissa < MANTISSA_MAX / 10;
        mantissa = fits ? mantissa * 10 + (*at - '0') : mantissa;
        exponent += fraction ? -(int32_t)fits : (int32_t)!fits;
    }
    if (!any || (at < end && exponent_of(at + 1, end, &exponent) != 0))
        return -EINVAL;
    int error = scale(mantissa, exponent, value);
    if (error == 0 && negative)
        *value = -*value;
    return error;
}

/* Cuts the line into raw fields.  Returns 0 or what refuse returned. */
static int split(struct csv *c, struct csv_text fields[CSV_COLUMNS], uint32_t *count)
{
    const char *at = c->buffer, *end = c->buffer + c->length;
    *count = 0;
    for (;;) {
        const char *start = at;
        if (*count == CSV_COLUMNS)
            return refuse(c, c->line, "more than %u fields", CSV_COLUMNS);
        if (at < end && *at == '"') {
            at++;
            while (at < end && !(*at == '"' && (at + 1 == end || at[1] != '"')))
                at += *at == '"' ? 2 : 1;
            if (at >= end)
                return refuse(c, c->line, "the quote of field %u does not end on its line",
                              *count + 1);
            at++;
            if (at < end && *at != ',')
                return refuse(c, c->line, "text after the closing quote of field %u", *count + 1);
        } else {
            const char *comma = memchr(at, ',', (size_t)(end - at));
            at = comma != NULL ? comma : end;
        }
        fields[(*count)++] = (struct csv_text){start, (size_t)(at - start)};
        if (at == end)
            return 0;
        at++;
    }
}

/* What a field says: spaces around it and quotes taken away.  Rewrites the bytes in place. */
static struct csv_text content(struct csv_text raw, char *line)
{
    char *bytes = line + (raw.bytes - line);
    size_t n = 0;
    if (raw.length >= 2 && bytes[0] == '"') {
        for (size_t i = 1; i + 1 < raw.length; i++) {
            bytes[n++] = bytes[i];
            if (bytes[i] == '"')
                i++;
        }
        raw.length = n;
    }
    while (raw.length > 0 && raw.bytes[0] == ' ') {
        raw.bytes++;
        raw.length--;
    }
    while (raw.length > 0 && raw.bytes[raw.length - 1] == ' ')
        raw.length--;
    return raw;
}

static uint32_t find_column(const struct csv_text *fields, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (fields[i].length == strlen(name) &&
            memcmp(fields[i].bytes, name, fields[i].length) == 0)
            return i;
    }
    return NO_COLUMN;
}

static int header(struct csv *c, struct csv_text *fields, uint32_t count)
{
    struct {
        const char *name;
        uint32_t *column;
    } needed[] = {
        {"time_s", &c->column_time}, {"lat_deg", &c->column_lat}, {"lon_deg", &c->column_lon}};
    for (uint32_t i = 0; i < count; i++)
        fields[i] = content(fields[i], c->buffer);
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        *needed[i].column = find_column(fields, count, needed[i].name);
        if (*needed[i].column == NO_COLUMN)
            return refuse(c, c->line, "the header has no column %s", needed[i].name);
    }
    c->column_agent = NO_COLUMN;
    if (c->options.agent_column != NULL) {
        c->column_agent = find_column(fields, count, c->options.agent_column);
        if (c->column_agent == NO_COLUMN)
            return refuse(c, c->line, "the header has no column %.64s (--agent-column)",
                          c->options.agent_column);
    }
    for (size_t i = 0; i < sizeof(agent_columns) / sizeof(agent_columns[0]); i++) {
        if (c->column_agent == NO_COLUMN)
            c->column_agent = find_column(fields, count, agent_columns[i]);
    }
    if (c->column_agent == NO_COLUMN)
        return refuse(c, c->line,
                      "the header has none of the agent columns agent, icao24, mmsi, "
                      "track_id, device: name one with --agent-column");
    if (c->column_agent == c->column_time || c->column_agent == c->column_lat ||
        c->column_agent == c->column_lon)
        return refuse(c, c->line, "the agent column cannot be time_s, lat_deg or lon_deg");
    c->column_count = count;
    return 0;
}

/* One number of the row, within +-limit (in its units). */
static int number(struct csv *c, struct csv_text field, const char *name, int64_t limit,
                  int64_t *value)
{
    uint32_t decimals = limit > INT32_MAX ? 6 : 7;
    struct csv_text text = content(field, c->buffer);
    if (text.length == 0)
        return refuse(c, c->line, "%s is empty", name);
    int error = csv_decimal(text, decimals, value);
    if (error == -EINVAL)
        return refuse(c, c->line, "%s is not a number: %s", name, quote(text).text);
    if (error != 0 || *value > limit || *value < -limit)
        return refuse(c, c->line, "%s is out of range: %s", name, quote(text).text);
    return 0;
}

static int value_of(struct csv *c, const struct csv_text *fields, struct csv_text *value)
{
    size_t n = 0;
    bool first = true;
    for (uint32_t i = 0; i < c->column_count; i++) {
        if (i == c->column_time || i == c->column_lat || i == c->column_lon || i == c->column_agent)
            continue;
        if (n + !first + fields[i].length > CSV_VALUE_BYTES)
            return refuse(c, c->line, "the further columns have more than %u bytes",
                          CSV_VALUE_BYTES);
        if (!first)
            c->value[n++] = ',';
        memcpy(c->value + n, fields[i].bytes, fields[i].length);
        n += fields[i].length;
        first = false;
    }
    *value = (struct csv_text){c->value, n};
    return 0;
}

static int row(struct csv *c, struct csv_text *fields, uint32_t count)
{
    struct csv_row r = {.line = c->line};
    int64_t lat = 0, lon = 0;
    int error;
    if (count != c->column_count)
        return refuse(c, c->line, "%u fields, the header has %u", count, c->column_count);
    /* First: contents are cut out in place, so the value is taken from the raw fields before. */
    if ((error = value_of(c, fields, &r.value)) != 0 ||
        (error = number(c, fields[c->column_time], "time_s", CSV_TIME_S_MAX * INT64_C(1000000),
                        &r.time_us)) != 0 ||
        (error = number(c, fields[c->column_lat], "lat_deg", GEOHASH_LAT_E7_MAX, &lat)) != 0 ||
        (error = number(c, fields[c->column_lon], "lon_deg", GEOHASH_LON_E7_MAX, &lon)) != 0)
        return error;
    r.lat_e7 = (int32_t)lat;
    r.lon_e7 = (int32_t)lon;
    r.agent = content(fields[c->column_agent], c->buffer);
    if (r.agent.length == 0)
        return refuse(c, c->line, "the agent is empty");
    if (r.agent.length > CSV_AGENT_BYTES)
        return refuse(c, c->line, "the agent has more than %u bytes: %s", CSV_AGENT_BYTES,
                      quote(r.agent).text);
    if (!c->options.any_order && c->row_count > 0 && r.time_us < c->time_us)
        return refuse(c, c->line,
                      "time_s %.6f is before %.6f of line %llu: sort the file by time, or give "
                      "--sort",
                      (double)r.time_us / 1e6, (double)c->time_us / 1e6,
                      (unsigned long long)c->time_line);
    c->time_us = r.time_us;
    c->time_line = c->line;
    c->row_count++;
    return c->on_row(c->context, &r);
}

/* A line is whole in the buffer, without its end. */
static int line(struct csv *c)
{
    struct csv_text fields[CSV_COLUMNS];
    uint32_t count;
    c->line++;
    if (c->length > 0 && c->buffer[c->length - 1] == '\r')
        c->length--;
    if (c->line == 1 && c->length >= 3 && memcmp(c->buffer, "\xef\xbb\xbf", 3) == 0) {
        c->length -= 3;
        memmove(c->buffer, c->buffer + 3, c->length);
    }
    if (c->length == 0) {
        c->blank_line = c->blank_line != 0 ? c->blank_line : c->line;
        return 0;
    }
    if (c->blank_line != 0)
        return refuse(c, c->blank_line, "the line is empty");
    for (uint32_t i = 0; i < c->length; i++) {
        unsigned char byte = (unsigned char)c->buffer[i];
        if (byte < 0x20 || byte == 0x7f)
            return refuse(c, c->line, "control byte 0x%02x in column %u", byte, i + 1);
    }
    int error = split(c, fields, &count);
    if (error != 0)
        return error;
    return c->column_count == 0 ? header(c, fields, count) : row(c, fields, count);
}

void csv_init(struct csv *c, const struct csv_options *options, csv_on_row *on_row, void *context)
{
    *c = (struct csv){.options = *options, .on_row = on_row, .context = context};
}

int csv_feed(struct csv *c, const char *bytes, size_t length)
{
    while (length > 0) {
        const char *end = memchr(bytes, '\n', length);
        size_t n = end != NULL ? (size_t)(end - bytes) : length;
        if (n > CSV_LINE_BYTES - c->length)
            return refuse(c, c->line + 1, "the line has more than %u bytes", CSV_LINE_BYTES);
        memcpy(c->buffer + c->length, bytes, n);
        c->length += (uint32_t)n;
        if (end == NULL)
            return 0;
        int error = line(c);
        if (error != 0)
            return error;
        c->length = 0;
        bytes = end + 1;
        length -= n + 1;
    }
    return 0;
}

int csv_end(struct csv *c)
{
    int error = c->length > 0 ? line(c) : 0;
    c->length = 0;
    if (error != 0)
        return error;
    if (c->column_count == 0)
        return refuse(c, 1, "no header");
    if (c->row_count == 0)
        return refuse(c, c->line + 1, "no row");
    return 0;
}
