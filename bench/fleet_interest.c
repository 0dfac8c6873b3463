#include "bench/fleet_interest.h"

#include "bench/fleet_random.h"
#include "bench/geohash.h"

#include <string.h>

#define RUN_AT 2u         /* in a key of telemetry */
#define NAME_AT 11u       /* in it */
#define NAME_MIN 2u       /* characters of a name in a prefix: fewer are nearly everybody */
#define CELL_MIN 3u       /* of a cell */
#define ALL_ONE_IN 16u    /* patterns that match everything */
#define TELEMETRY_IN_8 5u /* so many of eight */
#define PATTERNS_IN_8 3u

static void set(struct fleet_interest *i, const char *text, size_t length)
{
    memcpy(i->text, text, length);
    i->length = (uint32_t)length;
}

/* "t/RUN/NAME...", "t/RUN/NAME" or any run's "NAME". */
static void choose_telemetry(struct fleet_interest *i, const struct fleet_interest_from *from,
                             const struct fleet_source *source, uint64_t *random)
{
    struct fleet_identity id = {
        .source = (uint32_t)(source - from->sources),
        .agent = (uint32_t)fleet_random_below(random, source->agent_count),
    };
    struct fleet_key key;
    fleet_key_telemetry(&key, from->run, from->sources, fleet_owner(id));
    if (!i->is_pattern) {
        uint32_t name = key.length - NAME_AT;
        uint32_t kept = NAME_MIN + (uint32_t)fleet_random_below(random, name);
        set(i, key.bytes, NAME_AT + (kept < name ? kept : name));
        return;
    }
    if (fleet_random_below(random, ALL_ONE_IN) == 0) {
        set(i, "*/", 2);
        memcpy(i->text + 2, key.bytes + RUN_AT, NAME_AT - RUN_AT);
        i->text[NAME_AT] = '>';
        i->length = NAME_AT + 1;
        return;
    }
    if (fleet_random_below(random, 2) == 0) {
        set(i, key.bytes, key.length);
        return;
    }
    set(i, "t/*/", 4);
    memcpy(i->text + 4, key.bytes + NAME_AT, key.length - NAME_AT);
    i->length = 4 + key.length - NAME_AT;
}

/* "CEL...", "CELL.RUN" or any cell. */
static void choose_sector(struct fleet_interest *i, const struct fleet_interest_from *from,
                          const struct fleet_source *source, uint64_t *random)
{
    struct fleet_key key;
    uint32_t cell = source->rows[fleet_random_below(random, source->row_count)].cell;
    fleet_key_sector(&key, from->run, cell);
    if (!i->is_pattern)
        set(i, key.bytes, CELL_MIN + fleet_random_below(random, GEOHASH_CHARACTERS - CELL_MIN + 1));
    else if (fleet_random_below(random, ALL_ONE_IN) == 0)
        set(i, "*", 1);
    else
        set(i, key.bytes, key.length);
}

void fleet_interest_choose(struct fleet_interest *i, const struct fleet_interest_from *from,
                           uint32_t n, uint64_t *random)
{
    const struct fleet_source *source =
        &from->sources[fleet_random_below(random, from->source_count)];
    *i = (struct fleet_interest){.sectors = n == 1};
    if (n < 2)
        return;
    i->sectors = fleet_random_below(random, 8) >= TELEMETRY_IN_8;
    i->is_pattern = fleet_random_below(random, 8) < PATTERNS_IN_8;
    if (i->sectors)
        choose_sector(i, from, source, random);
    else
        choose_telemetry(i, from, source, random);
}

/* Bytes up to the next '/' or the end. */
static size_t level(const char *text, size_t length)
{
    const char *end = memchr(text, '/', length);
    return end != NULL ? (size_t)(end - text) : length;
}

bool fleet_interest_match(const struct fleet_interest *i, const char *key, size_t length)
{
    const char *pattern = i->text;
    size_t left = i->length;
    if (!i->is_pattern)
        return length >= left && memcmp(key, pattern, left) == 0;
    for (;;) {
        size_t wanted = level(pattern, left), got = level(key, length);
        if (wanted == 1 && *pattern == '>' && wanted == left)
            return true;
        bool any = wanted == 1 && *pattern == '*';
        if (!any && (wanted != got || memcmp(pattern, key, got) != 0))
            return false;
        if (wanted == left || got == length)
            return wanted == left && got == length;
        pattern += wanted + 1;
        left -= wanted + 1;
        key += got + 1;
        length -= got + 1;
    }
}
