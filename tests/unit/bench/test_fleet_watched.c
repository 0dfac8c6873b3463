#include "bench/fleet_watched.h"

#include "bench/fleet_interest.h"
#include "bench/geohash.h"
#include "tests/unit/unit.h"

#include <string.h>

#define LOG 7u
#define MANY 5000u

static struct fleet_watched w;
static struct fleet_omission omission;

static int put(uint64_t hash, uint64_t lsn, uint64_t number)
{
    const struct fleet_event e = {.hash = hash, .log = LOG, .lsn = lsn, .number = number};
    return fleet_watched_take(&w, &e, &omission);
}

static int sector(uint64_t hash, uint64_t lsn, uint64_t lsn_before)
{
    const struct fleet_event e = {
        .hash = hash, .log = LOG, .lsn = lsn, .is_sector = true, .lsn_before = lsn_before};
    return fleet_watched_take(&w, &e, &omission);
}

static int erase(uint64_t hash, uint64_t lsn)
{
    const struct fleet_event e = {.hash = hash, .log = LOG, .lsn = lsn, .is_delete = true};
    return fleet_watched_take(&w, &e, &omission);
}

static void numbers_count_from_one(void)
{
    CU_ASSERT_EQUAL(put(1, 10, 1), 0);
    CU_ASSERT_EQUAL(put(1, 20, 2), 0);
    CU_ASSERT_EQUAL(put(1, 30, 5), FLEET_FINDING_WATCH_SKIPPED);
    CU_ASSERT_EQUAL(omission.missing, 2);
    /* It goes on from there. */
    CU_ASSERT_EQUAL(put(1, 40, 6), 0);
    CU_ASSERT_EQUAL(put(1, 50, 6), FLEET_FINDING_WATCH_SKIPPED);
    CU_ASSERT_EQUAL(omission.missing, UINT64_MAX);
    CU_ASSERT_EQUAL(put(2, 60, 2), FLEET_FINDING_WATCH_SKIPPED);
    CU_ASSERT_EQUAL(omission.missing, 1);
    fleet_watched_free(&w);
}

static void versions_grow(void)
{
    CU_ASSERT_EQUAL(put(1, 10, 1), 0);
    CU_ASSERT_EQUAL(put(1, 10, 2), FLEET_FINDING_WATCH_VERSION);
    CU_ASSERT_EQUAL(put(1, 9, 2), FLEET_FINDING_WATCH_VERSION);
    CU_ASSERT(omission.expected == 10 && omission.found == 9);
    CU_ASSERT_EQUAL(erase(1, 10), FLEET_FINDING_WATCH_VERSION);
    CU_ASSERT_EQUAL(put(1, 11, 2), 0);
    fleet_watched_free(&w);
}

static void a_sector_is_a_chain(void)
{
    CU_ASSERT_EQUAL(sector(1, 10, 0), 0);
    CU_ASSERT_EQUAL(sector(1, 20, 10), 0);
    CU_ASSERT_EQUAL(sector(1, 40, 30), FLEET_FINDING_WATCH_SKIPPED);
    CU_ASSERT(omission.expected == 20 && omission.found == 30 && omission.missing == UINT64_MAX);
    CU_ASSERT_EQUAL(sector(1, 50, 40), 0);
    CU_ASSERT_EQUAL(sector(2, 60, 5), FLEET_FINDING_WATCH_SKIPPED);
    fleet_watched_free(&w);
}

static void what_was_deleted_begins_anew(void)
{
    CU_ASSERT_EQUAL(put(1, 10, 1), 0);
    CU_ASSERT_EQUAL(erase(1, 20), 0);
    CU_ASSERT_PTR_NULL(fleet_watched_find(&w, 1));
    CU_ASSERT_EQUAL(put(1, 30, 2), FLEET_FINDING_WATCH_SKIPPED);
    CU_ASSERT_EQUAL(erase(5, 40), 0);
    CU_ASSERT_EQUAL(w.count, 1);
    fleet_watched_free(&w);
}

static void a_lag_forgets_one_log(void)
{
    const struct fleet_event other = {.hash = 2, .log = LOG + 1, .lsn = 10, .number = 1};
    CU_ASSERT_EQUAL(put(1, 10, 1), 0);
    CU_ASSERT_EQUAL(fleet_watched_take(&w, &other, &omission), 0);
    fleet_watched_lag(&w, LOG, 100);
    CU_ASSERT_PTR_NULL(fleet_watched_find(&w, 1));
    CU_ASSERT_EQUAL(put(1, 200, 9), 0);
    CU_ASSERT_EQUAL(put(1, 300, 11), FLEET_FINDING_WATCH_SKIPPED);
    CU_ASSERT_EQUAL(put(2, 9, 2), 0); /* a version of another log says nothing */
    fleet_watched_free(&w);
}

static void the_end_is_what_stands(void)
{
    CU_ASSERT_EQUAL(fleet_watched_judge(&w, 1, 10, &omission), FLEET_FINDING_WATCH_MISSED);
    CU_ASSERT_EQUAL(put(1, 10, 1), 0);
    CU_ASSERT_EQUAL(fleet_watched_judge(&w, 1, 10, &omission), 0);
    CU_ASSERT_EQUAL(fleet_watched_judge(&w, 1, 20, &omission), FLEET_FINDING_WATCH_MISSED);
    CU_ASSERT(omission.expected == 20 && omission.found == 10);
    fleet_watched_lag(&w, LOG, 100);
    /* Below the lag it may have been missed, above not. */
    CU_ASSERT_EQUAL(fleet_watched_judge(&w, 1, 20, &omission), 0);
    CU_ASSERT_EQUAL(fleet_watched_judge(&w, 1, 100, &omission), FLEET_FINDING_WATCH_MISSED);
    fleet_watched_free(&w);
}

/* Many keys that meet in the same places, half of them deleted again, some by a lag. */
static void many_keys_are_found(void)
{
    for (uint64_t i = 0; i < MANY; i++)
        CU_ASSERT_EQUAL_FATAL(put(i % 100 + (i << 32), i + 1, 1), 0);
    for (uint64_t i = 0; i < MANY; i += 2)
        CU_ASSERT_EQUAL_FATAL(erase(i % 100 + (i << 32), MANY + i), 0);
    CU_ASSERT_EQUAL(w.count, MANY / 2);
    for (uint64_t i = 0; i < MANY; i++) {
        const struct fleet_watched_key *key = fleet_watched_find(&w, i % 100 + (i << 32));
        CU_ASSERT_FATAL((key != NULL) == (i % 2 == 1) && (key == NULL || key->lsn == i + 1));
    }
    fleet_watched_lag(&w, LOG, 1);
    CU_ASSERT_EQUAL(w.count, 0);
    fleet_watched_free(&w);
}

/* ---- who asks for what ---- */

static bool match(const char *text, bool is_pattern, const char *key)
{
    struct fleet_interest i = {.is_pattern = is_pattern, .length = (uint32_t)strlen(text)};
    memcpy(i.text, text, i.length);
    return fleet_interest_match(&i, key, strlen(key));
}

static void prefixes_match(void)
{
    CU_ASSERT_TRUE(match("", false, "t/1/a"));
    CU_ASSERT_TRUE(match("t/1", false, "t/1/a"));
    CU_ASSERT_TRUE(match("t/1/a", false, "t/1/a"));
    CU_ASSERT_FALSE(match("t/1/ab", false, "t/1/a"));
    CU_ASSERT_FALSE(match("t/2", false, "t/1/a"));
    CU_ASSERT_FALSE(match("*", false, "t/1/a"));
}

static void patterns_match(void)
{
    CU_ASSERT_TRUE(match("t/*/a", true, "t/1/a"));
    CU_ASSERT_TRUE(match("*/1/>", true, "t/1/a"));
    CU_ASSERT_TRUE(match("t/>", true, "t/1/a"));
    CU_ASSERT_TRUE(match("t/1/a", true, "t/1/a"));
    CU_ASSERT_TRUE(match("*", true, "u0k1.1"));
    CU_ASSERT_FALSE(match("*", true, "t/1/a"));
    CU_ASSERT_FALSE(match("t/*", true, "t/1/a"));
    CU_ASSERT_FALSE(match("t/1/a/>", true, "t/1/a"));
    CU_ASSERT_FALSE(match("t/1/a/*", true, "t/1/a"));
    CU_ASSERT_FALSE(match("t/*/b", true, "t/1/a"));
    CU_ASSERT_FALSE(match("t/1", true, "t/1/a"));
}

static void interests_are_met_by_keys(void)
{
    struct fleet_source source = {0};
    CU_ASSERT_EQUAL_FATAL(fleet_source_generate(&source, FLEET_CROWD, 1, 1), 0);
    const struct fleet_interest_from from = {&source, 1, 0x1234};
    uint64_t random = 1;
    uint32_t sectors = 0, patterns = 0;
    for (uint32_t n = 0; n < 500; n++) {
        struct fleet_interest i;
        struct fleet_key key;
        bool met = false;
        fleet_interest_choose(&i, &from, n, &random);
        CU_ASSERT(n >= 2 || (i.length == 0 && i.sectors == (n == 1)));
        for (uint32_t a = 0; !i.sectors && !met && a < source.agent_count; a++) {
            fleet_key_telemetry(&key, from.run, &source,
                                fleet_owner((struct fleet_identity){.agent = a}));
            met = fleet_interest_match(&i, key.bytes, key.length);
        }
        for (uint32_t row = 0; i.sectors && !met && row < source.row_count; row++) {
            fleet_key_sector(&key, from.run, source.rows[row].cell);
            met = fleet_interest_match(&i, key.bytes, key.length);
        }
        CU_ASSERT_TRUE(met);
        sectors += i.sectors;
        patterns += i.is_pattern;
    }
    CU_ASSERT(sectors > 100 && sectors < 300 && patterns > 100 && patterns < 300);
    fleet_source_free(&source);
}

static void a_sector_says_what_it_expected(void)
{
    struct fleet_key key;
    char value[FLEET_VALUE_BYTES];
    struct fleet_source source = {0};
    struct fleet_sector_state state = {0x123456789abcdef0, 0, 77};
    uint64_t stamp_ns, owner = 1, lsn;
    fleet_key_sector(&key, 1, 2);
    size_t length = fleet_value_make_sector(value, &key, &source, &state);
    CU_ASSERT_EQUAL(fleet_value_parse(value, length, &key, &stamp_ns, &owner), 0);
    CU_ASSERT(stamp_ns == 77 && owner == 0);
    CU_ASSERT_EQUAL(fleet_value_expected(value, length, &lsn), 0);
    CU_ASSERT_EQUAL(lsn, state.lsn);
    CU_ASSERT_EQUAL(fleet_value_expected(value, length - 1, &lsn), -EBADMSG);
    CU_ASSERT_EQUAL(fleet_value_expected(value, FLEET_VALUE_HEAD + 16, &lsn), -EBADMSG);
}

static const struct unit_test tests[] = {
    UNIT_TEST(numbers_count_from_one),
    UNIT_TEST(versions_grow),
    UNIT_TEST(a_sector_is_a_chain),
    UNIT_TEST(what_was_deleted_begins_anew),
    UNIT_TEST(a_lag_forgets_one_log),
    UNIT_TEST(the_end_is_what_stands),
    UNIT_TEST(many_keys_are_found),
    UNIT_TEST(prefixes_match),
    UNIT_TEST(patterns_match),
    UNIT_TEST(interests_are_met_by_keys),
    UNIT_TEST(a_sector_says_what_it_expected),
};
UNIT_MAIN("fleet_watched", tests)
