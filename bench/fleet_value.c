#include "bench/fleet_value.h"

#include "bench/geohash.h"
#include "engine/checksum.h"

#include <stdio.h>
#include <string.h>

#define STAMP_AT 9u
#define NUMBER_AT 26u
#define OWNER_BIT (UINT64_C(1) << 63)
#define EXPECTED_BYTES 17u /* a space and the digits */

_Static_assert(FLEET_SOURCES_MAX <= 8 && FLEET_AGENTS_MAX <= 1u << 22, "fit an owner's bits");
_Static_assert(FLEET_NAME_BYTES + EXPECTED_BYTES <= FLEET_VALUE_BYTES - FLEET_VALUE_HEAD,
               "a sector's text fits");

uint64_t fleet_owner(struct fleet_identity id)
{
    ASSERT(id.source < FLEET_SOURCES_MAX && id.agent < FLEET_AGENTS_MAX &&
           id.repetition < FLEET_REPETITIONS_MAX && id.life < FLEET_LIVES_MAX);
    return OWNER_BIT | (uint64_t)id.life << 49 | (uint64_t)id.source << 46 |
           (uint64_t)id.repetition << 22 | id.agent;
}

struct fleet_identity fleet_identity(uint64_t owner)
{
    return (struct fleet_identity){
        .source = owner >> 46 & (FLEET_SOURCES_MAX - 1),
        .agent = owner & (FLEET_AGENTS_MAX - 1),
        .repetition = owner >> 22 & (FLEET_REPETITIONS_MAX - 1),
        .life = owner >> 49 & (FLEET_LIVES_MAX - 1),
    };
}

/* Decimal without printf: names are made for every agent that comes and goes. */
static size_t decimal(char *out, uint32_t value)
{
    char digits[10];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    return n;
}

size_t fleet_name(const struct fleet_source *sources, uint64_t owner, char name[FLEET_NAME_BYTES])
{
    struct fleet_identity id = fleet_identity(owner);
    const struct fleet_source *s = &sources[id.source];
    if (owner == 0 || id.agent >= s->agent_count)
        return (size_t)snprintf(name, FLEET_NAME_BYTES, "%s", owner == 0 ? "nobody" : "unknown");
    size_t n = s->agents[id.agent].name_length;
    memcpy(name, s->text + s->agents[id.agent].name, n);
    if (id.repetition != 0 || id.life != 0) {
        name[n++] = '.';
        n += decimal(name + n, id.repetition);
    }
    if (id.life != 0) {
        name[n++] = '.';
        n += decimal(name + n, id.life);
    }
    /* Two sources may name the same agent; the first keeps the bare name. */
    if (id.source != 0) {
        name[n++] = '@';
        n += decimal(name + n, id.source);
    }
    return n;
}

static void hex(char *out, uint64_t value, uint32_t digits)
{
    for (uint32_t i = digits; i-- > 0; value >>= 4)
        out[i] = "0123456789abcdef"[value & 15];
}

static int unhex(const char *in, uint32_t digits, uint64_t *value)
{
    uint64_t v = 0;
    for (uint32_t i = 0; i < digits; i++) {
        char c = in[i];
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint32_t)(c - 'a') + 10;
        else
            return -EBADMSG;
        v = v << 4 | digit;
    }
    *value = v;
    return 0;
}

void fleet_key_sector(struct fleet_key *key, uint32_t run, uint32_t cell)
{
    geohash_text(cell, key->bytes);
    key->bytes[GEOHASH_CHARACTERS] = '.';
    hex(key->bytes + GEOHASH_CHARACTERS + 1, run, 8);
    key->length = GEOHASH_CHARACTERS + 9;
}

void fleet_key_telemetry(struct fleet_key *key, uint32_t run, const struct fleet_source *sources,
                         uint64_t owner)
{
    memcpy(key->bytes, "t/", 2);
    hex(key->bytes + 2, run, 8);
    key->bytes[10] = '/';
    key->length = (uint32_t)(11 + fleet_name(sources, owner, key->bytes + 11));
}

static uint32_t sum(const struct fleet_key *key, const char *value, size_t length)
{
    return checksum(checksum(0, key->bytes, key->length), value + 8, length - 8);
}

size_t fleet_value_make(char value[FLEET_VALUE_BYTES], const struct fleet_key *key,
                        uint64_t stamp_ns, uint64_t number, struct csv_text text)
{
    size_t length = FLEET_VALUE_HEAD + text.length;
    ASSERT(length <= FLEET_VALUE_BYTES);
    value[STAMP_AT - 1] = value[NUMBER_AT - 1] = value[FLEET_VALUE_HEAD - 1] = ' ';
    hex(value + STAMP_AT, stamp_ns, 16);
    hex(value + NUMBER_AT, number, 16);
    if (text.length > 0)
        memcpy(value + FLEET_VALUE_HEAD, text.bytes, text.length);
    hex(value, sum(key, value, length), 8);
    return length;
}

size_t fleet_value_make_sector(char value[FLEET_VALUE_BYTES], const struct fleet_key *key,
                               const struct fleet_source *sources,
                               const struct fleet_sector_state *state)
{
    char text[FLEET_NAME_BYTES + EXPECTED_BYTES];
    size_t length = fleet_name(sources, state->owner, text);
    text[length] = ' ';
    hex(text + length + 1, state->lsn, EXPECTED_BYTES - 1);
    return fleet_value_make(value, key, state->stamp_ns, state->owner,
                            (struct csv_text){text, length + EXPECTED_BYTES});
}

int fleet_value_expected(const char *value, size_t length, uint64_t *lsn)
{
    if (length < FLEET_VALUE_HEAD + EXPECTED_BYTES)
        return -EBADMSG;
    return unhex(value + length - (EXPECTED_BYTES - 1), EXPECTED_BYTES - 1, lsn);
}

int fleet_value_parse(const char *value, size_t length, const struct fleet_key *key,
                      uint64_t *stamp_ns, uint64_t *number)
{
    uint64_t crc;
    if (length < FLEET_VALUE_HEAD || unhex(value, 8, &crc) != 0 || crc != sum(key, value, length) ||
        unhex(value + STAMP_AT, 16, stamp_ns) != 0 || unhex(value + NUMBER_AT, 16, number) != 0)
        return -EBADMSG;
    return 0;
}
