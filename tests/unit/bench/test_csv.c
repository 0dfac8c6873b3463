#include "bench/csv.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define ROWS_MAX 16u

struct rows {
    uint32_t count;
    struct csv_row rows[ROWS_MAX];
    char texts[ROWS_MAX][2][CSV_VALUE_BYTES];
    int refuse; /* what the callback returns */
};

static int keep(void *context, const struct csv_row *row)
{
    struct rows *r = context;
    if (r->count == ROWS_MAX)
        return -E2BIG;
    struct csv_row *kept = &r->rows[r->count];
    *kept = *row;
    memcpy(r->texts[r->count][0], row->agent.bytes, row->agent.length);
    memcpy(r->texts[r->count][1], row->value.bytes, row->value.length);
    kept->agent.bytes = r->texts[r->count][0];
    kept->value.bytes = r->texts[r->count][1];
    r->count++;
    return r->refuse;
}

static struct csv csv;
static struct rows rows;

static int parse_in_pieces(const char *text, size_t length, size_t piece,
                           const struct csv_options *options)
{
    int error = 0;
    rows.count = 0;
    csv_init(&csv, options, keep, &rows);
    for (size_t at = 0; error == 0 && at < length; at += piece)
        error = csv_feed(&csv, text + at, length - at < piece ? length - at : piece);
    return error != 0 ? error : csv_end(&csv);
}

static int parse(const char *text)
{
    return parse_in_pieces(text, strlen(text), 4096, &(struct csv_options){0});
}

static bool says(const char *text, const char *error)
{
    if (parse(text) != -EINVAL)
        return false;
    if (strcmp(csv.error, error) == 0)
        return true;
    printf("    said: %s\n", csv.error);
    return false;
}

static bool is(struct csv_text text, const char *expected)
{
    return text.length == strlen(expected) && memcmp(text.bytes, expected, text.length) == 0;
}

#define HEAD "time_s,icao24,callsign,lat_deg,lon_deg,alt_ft\n"

static void rows_come_out(void)
{
    CU_ASSERT(parse(HEAD "1533099600,4067f2,TOM2XE,46.679232,10.202179,38000\n"
                         "1533099600.5,44093b,,-47.7052,-6.4,\n") == 0);
    CU_ASSERT_FATAL(rows.count == 2);
    CU_ASSERT(rows.rows[0].time_us == INT64_C(1533099600000000));
    CU_ASSERT(rows.rows[0].lat_e7 == 466792320 && rows.rows[0].lon_e7 == 102021790);
    CU_ASSERT(is(rows.rows[0].agent, "4067f2") && is(rows.rows[0].value, "TOM2XE,38000"));
    CU_ASSERT(rows.rows[0].line == 2 && rows.rows[1].line == 3);
    CU_ASSERT(rows.rows[1].time_us == INT64_C(1533099600500000));
    CU_ASSERT(rows.rows[1].lat_e7 == -477052000 && is(rows.rows[1].value, ","));
}

static void pieces_of_any_size_give_the_same(void)
{
    const char *text =
        "\xef\xbb\xbf" HEAD "1,a,\"x,\"\"y\",1,2,3\r\n2,\"b,b\", c,1,2,3\n3,c,d,1,2,3";
    for (size_t piece = 1; piece < 80; piece++) {
        CU_ASSERT_FATAL(parse_in_pieces(text, strlen(text), piece, &(struct csv_options){0}) == 0);
        CU_ASSERT_FATAL(rows.count == 3);
        CU_ASSERT(is(rows.rows[0].value, "\"x,\"\"y\",3"));
        CU_ASSERT(is(rows.rows[1].agent, "b,b") && is(rows.rows[1].value, " c,3"));
        CU_ASSERT(is(rows.rows[2].agent, "c"));
    }
}

static void the_agent_column_is_the_first_of_the_list_or_named(void)
{
    const char *text = "time_s,track_id,icao24,lat_deg,lon_deg,pilot\n1,t,i,1,2,p\n";
    CU_ASSERT(parse(text) == 0 && is(rows.rows[0].agent, "i"));
    CU_ASSERT(is(rows.rows[0].value, "t,p"));
    struct csv_options named = {.agent_column = "pilot"};
    CU_ASSERT(parse_in_pieces(text, strlen(text), 7, &named) == 0);
    CU_ASSERT(is(rows.rows[0].agent, "p") && is(rows.rows[0].value, "t,i"));
    named.agent_column = "missing";
    CU_ASSERT(parse_in_pieces(text, strlen(text), 7, &named) == -EINVAL);
    CU_ASSERT(strcmp(csv.error, "line 1: the header has no column missing (--agent-column)") == 0);
    named.agent_column = "lat_deg";
    CU_ASSERT(parse_in_pieces(text, strlen(text), 7, &named) == -EINVAL);
}

static void headers_that_lack_something_are_refused(void)
{
    CU_ASSERT(says("", "line 1: no header"));
    CU_ASSERT(says("\n", "line 1: no header"));
    CU_ASSERT(says("time,agent,lat_deg,lon_deg\n", "line 1: the header has no column time_s"));
    CU_ASSERT(says("time_s,agent,lon_deg\n", "line 1: the header has no column lat_deg"));
    CU_ASSERT(says("time_s,agent,lat_deg,lon\n", "line 1: the header has no column lon_deg"));
    CU_ASSERT(
        says("time_s,who,lat_deg,lon_deg\n",
             "line 1: the header has none of the agent columns agent, icao24, mmsi, track_id, "
             "device: name one with --agent-column"));
    CU_ASSERT(says("time_s,agent,lat_deg,lon_deg\n", "line 2: no row"));
}

#define SHORT "time_s,agent,lat_deg,lon_deg\n"

static void bad_lines_are_refused_by_name(void)
{
    CU_ASSERT(says(SHORT "1,a,1,2\n2,a,1\n", "line 3: 3 fields, the header has 4"));
    CU_ASSERT(says(SHORT "1,a,1,2,\n", "line 2: 5 fields, the header has 4"));
    CU_ASSERT(says(SHORT ",a,1,2\n", "line 2: time_s is empty"));
    CU_ASSERT(says(SHORT "1,a,,2\n", "line 2: lat_deg is empty"));
    CU_ASSERT(says(SHORT "1,,1,2\n", "line 2: the agent is empty"));
    CU_ASSERT(says(SHORT "1,\"\",1,2\n", "line 2: the agent is empty"));
    CU_ASSERT(says(SHORT "1e,a,1,2\n", "line 2: time_s is not a number: \"1e\""));
    CU_ASSERT(says(SHORT "nan,a,1,2\n", "line 2: time_s is not a number: \"nan\""));
    CU_ASSERT(says(SHORT "1,a,0x1,2\n", "line 2: lat_deg is not a number: \"0x1\""));
    CU_ASSERT(says(SHORT "1,a,-,2\n", "line 2: lat_deg is not a number: \"-\""));
    CU_ASSERT(says(SHORT "1,a,1.2.3,2\n", "line 2: lat_deg is not a number: \"1.2.3\""));
    CU_ASSERT(says(SHORT "1,a,90.1,2\n", "line 2: lat_deg is out of range: \"90.1\""));
    CU_ASSERT(
        says(SHORT "1,a,1,-180.0000001\n", "line 2: lon_deg is out of range: \"-180.0000001\""));
    CU_ASSERT(
        says(SHORT "100000000001,a,1,2\n", "line 2: time_s is out of range: \"100000000001\""));
    CU_ASSERT(says(SHORT "99999999999999999999999999999999999999,a,1,2\n",
                   "line 2: time_s is out of range: \"99999999999999999999999999999999..\""));
    CU_ASSERT(says(SHORT "1,\"a,1,2\n", "line 2: the quote of field 2 does not end on its line"));
    CU_ASSERT(says(SHORT "1,\"a\"b,1,2\n", "line 2: text after the closing quote of field 2"));
    CU_ASSERT(says(SHORT "1,a\tb,1,2\n", "line 2: control byte 0x09 in column 4"));
    CU_ASSERT(says(SHORT "1,a\x7f,1,2\n", "line 2: control byte 0x7f in column 4"));
    CU_ASSERT(says(SHORT "1,a,1,2\n\n\n2,a,1,2\n", "line 3: the line is empty"));
    CU_ASSERT(says(SHORT "1,a,\xff\xfe,2\n", "line 2: lat_deg is not a number: \"??\""));
}

static void zero_bytes_and_long_lines_are_refused(void)
{
    static const char zero[] = SHORT "1,a\0b,1,2\n";
    CU_ASSERT(parse_in_pieces(zero, sizeof(zero) - 1, 3, &(struct csv_options){0}) == -EINVAL);
    CU_ASSERT(strcmp(csv.error, "line 2: control byte 0x00 in column 4") == 0);
    size_t length = strlen(SHORT) + CSV_LINE_BYTES + 1;
    char *long_line = malloc(length);
    memset(long_line, 'x', length);
    memcpy(long_line, SHORT, strlen(SHORT));
    CU_ASSERT(parse_in_pieces(long_line, length, 100, &(struct csv_options){0}) == -EINVAL);
    CU_ASSERT(strcmp(csv.error, "line 2: the line has more than 4096 bytes") == 0);
    free(long_line);
}

static void long_fields_are_refused(void)
{
    char text[1024];
    (void)snprintf(text, sizeof(text), SHORT "1,%065d,1,2\n", 7);
    CU_ASSERT(says(text, "line 2: the agent has more than 64 bytes: "
                         "\"00000000000000000000000000000000..\""));
    (void)snprintf(text, sizeof(text), SHORT "1,%064d,1,2\n", 7);
    CU_ASSERT(parse(text) == 0 && rows.rows[0].agent.length == 64);
    (void)snprintf(text, sizeof(text), "time_s,agent,lat_deg,lon_deg,x,y\n1,a,1,2,%0506d,y2345\n",
                   7);
    CU_ASSERT(parse(text) == 0 && rows.rows[0].value.length == CSV_VALUE_BYTES);
    (void)snprintf(text, sizeof(text), "time_s,agent,lat_deg,lon_deg,x,y\n1,a,1,2,%0506d,y23456\n",
                   7);
    CU_ASSERT(says(text, "line 2: the further columns have more than 512 bytes"));
}

static void the_first_line_out_of_order_is_named(void)
{
    const char *text = SHORT "1,a,1,2\n3,b,1,2\n3,c,1,2\n2.5,a,1,2\n1,a,1,2\n";
    CU_ASSERT(says(text,
                   "line 5: time_s 2.500000 is before 3.000000 of line 4: sort the file by time, "
                   "or give --sort"));
    CU_ASSERT(parse_in_pieces(text, strlen(text), 9, &(struct csv_options){.any_order = true}) ==
              0);
    CU_ASSERT(rows.count == 5 && rows.rows[3].time_us == 2500000);
}

static void blank_lines_at_the_end_are_good(void)
{
    CU_ASSERT(parse(SHORT "1,a,1,2\n\n\r\n\n") == 0 && rows.count == 1);
}

static void the_callback_can_stop_it(void)
{
    rows.refuse = -ENOSPC;
    CU_ASSERT(parse(SHORT "1,a,1,2\n2,a,1,2\n") == -ENOSPC && rows.count == 1);
    rows.refuse = 0;
}

static bool decimal_is(const char *text, uint32_t decimals, int64_t expected)
{
    int64_t value;
    return csv_decimal((struct csv_text){text, strlen(text)}, decimals, &value) == 0 &&
           value == expected;
}

static void decimals_are_exact(void)
{
    int64_t value;
    CU_ASSERT(decimal_is("0", 6, 0) && decimal_is("-0.5", 1, -5) && decimal_is("+7", 0, 7));
    CU_ASSERT(decimal_is(".5", 6, 500000) && decimal_is("5.", 6, 5000000));
    CU_ASSERT(decimal_is("1.23456789", 6, 1234567));
    CU_ASSERT(decimal_is("000000000000000000000000001", 6, 1000000));
    CU_ASSERT(decimal_is("999999999999.999999", 6, INT64_C(999999999999999999)));
    CU_ASSERT(decimal_is("-5.7e-05", 7, -570) && decimal_is("1.5E3", 0, 1500));
    CU_ASSERT(decimal_is("0e99999999", 6, 0) && decimal_is("1e-99999999", 6, 0));
    CU_ASSERT(decimal_is("0.000000000000000000000000012e+26", 1, 12));
    CU_ASSERT(decimal_is("9223372036854775807", 0, INT64_C(9223372036854775800)));
    CU_ASSERT(csv_decimal((struct csv_text){"12345678901234567890", 20}, 0, &value) == -ERANGE);
    CU_ASSERT(csv_decimal((struct csv_text){"1e19", 4}, 0, &value) == -ERANGE);
    CU_ASSERT(csv_decimal((struct csv_text){"1e99999999999999999999", 22}, 0, &value) == -ERANGE);
    CU_ASSERT(csv_decimal((struct csv_text){"1e", 2}, 6, &value) == -EINVAL);
    CU_ASSERT(csv_decimal((struct csv_text){"1e+", 3}, 6, &value) == -EINVAL);
    CU_ASSERT(csv_decimal((struct csv_text){"e5", 2}, 6, &value) == -EINVAL);
    CU_ASSERT(csv_decimal((struct csv_text){"1e5.0", 5}, 6, &value) == -EINVAL);
    CU_ASSERT(csv_decimal((struct csv_text){".", 1}, 6, &value) == -EINVAL);
    CU_ASSERT(csv_decimal((struct csv_text){"", 0}, 6, &value) == -EINVAL);
    CU_ASSERT(csv_decimal((struct csv_text){"--1", 3}, 6, &value) == -EINVAL);
    CU_ASSERT(csv_decimal((struct csv_text){"1 ", 2}, 6, &value) == -EINVAL);
}

static const struct unit_test tests[] = {
    UNIT_TEST(rows_come_out),
    UNIT_TEST(pieces_of_any_size_give_the_same),
    UNIT_TEST(the_agent_column_is_the_first_of_the_list_or_named),
    UNIT_TEST(headers_that_lack_something_are_refused),
    UNIT_TEST(bad_lines_are_refused_by_name),
    UNIT_TEST(zero_bytes_and_long_lines_are_refused),
    UNIT_TEST(long_fields_are_refused),
    UNIT_TEST(the_first_line_out_of_order_is_named),
    UNIT_TEST(blank_lines_at_the_end_are_good),
    UNIT_TEST(the_callback_can_stop_it),
    UNIT_TEST(decimals_are_exact),
};
UNIT_MAIN("csv", tests)
