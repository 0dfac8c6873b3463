#include "bench/fleet_data.h"

#include "bench/geohash.h"
#include "engine/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POSITION_BYTES 32u /* "-90.0000000,-180.0000000," */

/* Room for wanted elements of size bytes behind the pointer at member, of whatever type it is.
 * Returns 0, -E2BIG above max, or -ENOMEM. */
static int reserve(void *member, uint32_t *room, uint64_t wanted, size_t size, uint64_t max)
{
    void *memory;
    if (wanted <= *room)
        return 0;
    if (wanted > max)
        return -E2BIG;
    uint64_t bigger = min_u64(max_u64(max_u64(wanted, (uint64_t)*room * 2), 1024), max);
    memcpy(&memory, member, sizeof(memory));
    memory = realloc(memory, bigger * size);
    if (memory == NULL)
        return -ENOMEM;
    memcpy(member, &memory, sizeof(memory));
    *room = (uint32_t)bigger;
    return 0;
}

static int add_text(struct fleet_source *s, const char *bytes, size_t length, uint32_t *offset)
{
    int error =
        reserve(&s->text, &s->text_room, (uint64_t)s->text_bytes + length, 1, FLEET_TEXT_BYTES_MAX);
    if (error != 0)
        return error;
    memcpy(s->text + s->text_bytes, bytes, length);
    *offset = s->text_bytes;
    s->text_bytes += (uint32_t)length;
    return 0;
}

static bool is_named(const struct fleet_source *s, uint32_t agent, const struct csv_text *name)
{
    return s->agents[agent].name_length == name->length &&
           memcmp(s->text + s->agents[agent].name, name->bytes, name->length) == 0;
}

/* Place of a name in the map: of the agent that has it, or the empty one. */
static uint32_t map_place(const struct fleet_source *s, uint64_t hash, const struct csv_text *name)
{
    uint32_t at = (uint32_t)hash & (s->map_room - 1);
    while (s->map[at] != 0 && (name == NULL || s->agents[s->map[at] - 1].hash != hash ||
                               !is_named(s, s->map[at] - 1, name)))
        at = (at + 1) & (s->map_room - 1);
    return at;
}

static int map_grow(struct fleet_source *s)
{
    uint32_t room = s->map_room == 0 ? 1024 : s->map_room * 2;
    uint32_t *map = calloc(room, sizeof(*map));
    if (map == NULL)
        return -ENOMEM;
    free(s->map);
    s->map = map;
    s->map_room = room;
    for (uint32_t i = 0; i < s->agent_count; i++)
        map[map_place(s, s->agents[i].hash, NULL)] = i + 1;
    return 0;
}

/* The number of an agent, a new one if the name is new. */
static int agent_of(struct fleet_source *s, const struct csv_text *name, uint32_t *agent)
{
    uint64_t hash = hash_key(name->bytes, name->length);
    int error = s->agent_count * 2 >= s->map_room ? map_grow(s) : 0;
    if (error != 0)
        return error;
    uint32_t at = map_place(s, hash, name);
    if (s->map[at] != 0) {
        *agent = s->map[at] - 1;
        return 0;
    }
    struct fleet_agent made = {.name_length = (uint32_t)name->length, .hash = hash};
    if ((error = reserve(&s->agents, &s->agent_room, (uint64_t)s->agent_count + 1,
                         sizeof(*s->agents), FLEET_AGENTS_MAX)) != 0 ||
        (error = add_text(s, name->bytes, name->length, &made.name)) != 0)
        return error;
    *agent = s->agent_count++;
    s->agents[*agent] = made;
    s->map[at] = *agent + 1;
    return 0;
}

int fleet_source_add(struct fleet_source *s, const struct csv_row *row)
{
    char text[POSITION_BYTES + CSV_VALUE_BYTES];
    struct fleet_row made = {.time_us = row->time_us,
                             .cell = geohash_cell(row->lat_e7, row->lon_e7)};
    int n = snprintf(text, POSITION_BYTES, "%.6f,%.6f%s", row->lat_e7 / 1e7, row->lon_e7 / 1e7,
                     row->value.length > 0 ? "," : "");
    ASSERT(n > 0 && (size_t)n < POSITION_BYTES && row->value.length <= CSV_VALUE_BYTES);
    if (row->value.length > 0)
        memcpy(text + n, row->value.bytes, row->value.length);
    made.text_length = (uint16_t)((size_t)n + row->value.length);
    int error = agent_of(s, &row->agent, &made.agent);
    if (error != 0 || (error = add_text(s, text, made.text_length, &made.text)) != 0 ||
        (error = reserve(&s->rows, &s->row_room, (uint64_t)s->row_count + 1, sizeof(*s->rows),
                         FLEET_ROWS_MAX)) != 0)
        return error;
    s->rows[s->row_count++] = made;
    return 0;
}

/* By time; rows of the same time as they came, which their text tells. */
static int compare_rows(const void *left, const void *right)
{
    const struct fleet_row *a = left, *b = right;
    if (a->time_us != b->time_us)
        return a->time_us < b->time_us ? -1 : 1;
    return a->text < b->text ? -1 : a->text > b->text;
}

/* Walks backwards, so that the row an agent goes on with is known.  next_us: scratch per agent. */
static void mark_leaves(struct fleet_source *s, int64_t *next_us)
{
    for (uint32_t i = 0; i < s->agent_count; i++)
        next_us[i] = INT64_MAX;
    for (uint32_t i = s->row_count; i-- > 0;) {
        struct fleet_row *row = &s->rows[i];
        int64_t next = next_us[row->agent];
        row->flags = 0;
        if (next == INT64_MAX)
            row->flags = FLEET_ROW_LAST | FLEET_ROW_LEAVES;
        else if (next - row->time_us > FLEET_LEAVE_US)
            row->flags = FLEET_ROW_LEAVES;
        next_us[row->agent] = row->time_us;
    }
}

static void shorten_silences(struct fleet_source *s)
{
    int64_t before = s->rows[0].time_us, cut = before;
    for (uint32_t i = 0; i < s->row_count; i++) {
        int64_t time_us = s->rows[i].time_us;
        if (time_us - before > FLEET_SILENCE_US) {
            cut += time_us - before - FLEET_SILENCE_US;
            s->silences_cut++;
        }
        before = time_us;
        s->rows[i].time_us = time_us - cut;
    }
    s->period_us = s->rows[s->row_count - 1].time_us + FLEET_PAUSE_US;
}

static int deal(struct fleet_source *s, uint32_t process_count)
{
    s->order = malloc(s->row_count * sizeof(*s->order));
    s->order_start = calloc((size_t)process_count + 2, sizeof(*s->order_start));
    if (s->order == NULL || s->order_start == NULL)
        return -ENOMEM;
    /* Counting sort: counts one place too far, so that filling moves each start to its own place.
     */
    for (uint32_t i = 0; i < s->row_count; i++)
        s->order_start[fleet_process_of(s, s->rows[i].agent, process_count) + 2]++;
    for (uint32_t p = 2; p <= process_count + 1; p++)
        s->order_start[p] += s->order_start[p - 1];
    for (uint32_t i = 0; i < s->row_count; i++)
        s->order[s->order_start[fleet_process_of(s, s->rows[i].agent, process_count) + 1]++] = i;
    return 0;
}

int fleet_source_finish(struct fleet_source *s, bool sort, uint32_t process_count)
{
    ASSERT(s->row_count > 0 && process_count > 0);
    int64_t *next_us = malloc(s->agent_count * sizeof(*next_us));
    if (next_us == NULL)
        return -ENOMEM;
    if (sort)
        qsort(s->rows, s->row_count, sizeof(*s->rows), compare_rows);
    mark_leaves(s, next_us);
    free(next_us);
    shorten_silences(s);
    free(s->map);
    s->map = NULL;
    s->map_room = 0;
    return deal(s, process_count);
}

void fleet_source_free(struct fleet_source *s)
{
    free(s->rows);
    free(s->agents);
    free(s->text);
    free(s->map);
    free(s->order);
    free(s->order_start);
    *s = (struct fleet_source){0};
}
