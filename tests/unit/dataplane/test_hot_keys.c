/* The sketch against exact counts, and what control is shown. */
#include "dataplane/hot_keys.h"
#include "tests/unit/unit.h"

#include <pthread.h>

static struct hot_keys h;
static struct hot_keys_top top;

static void note(uint32_t space, uint32_t number)
{
    char text[16];
    int length = snprintf(text, sizeof text, "key%u", number);
    const struct hot_keys_asked key = {.space = space,
                                       .length = (uint32_t)length,
                                       .hash = number * UINT64_C(0x9e3779b97f4a7c15),
                                       .bytes = (const uint8_t *)text};
    hot_keys_note(&h, &key);
}

/* Place of a key in the top; HOT_KEYS_TOP: it is not there. */
static uint32_t place(uint32_t space, uint32_t number)
{
    char text[16];
    int length = snprintf(text, sizeof text, "key%u", number);
    for (uint32_t i = 0; i < top.count; i++) {
        const struct hot_keys_key *k = &top.entries[i].key;
        if (k->space == space && k->length == (uint32_t)length &&
            memcmp(k->bytes, text, (size_t)length) == 0)
            return i;
    }
    return HOT_KEYS_TOP;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return *state >> 33;
}

static void few_keys_are_counted_exactly(void)
{
    h = (struct hot_keys){.noted = 0};
    for (uint32_t key = 0; key < HOT_KEYS_COUNT; key++)
        for (uint32_t i = 0; i <= key; i++)
            note(1, key);
    hot_keys_top(&h, &top);
    CU_ASSERT_EQUAL(top.noted, HOT_KEYS_COUNT * (HOT_KEYS_COUNT + 1) / 2);
    CU_ASSERT_EQUAL_FATAL(top.count, HOT_KEYS_TOP);
    for (uint32_t i = 0; i < HOT_KEYS_TOP; i++) {
        CU_ASSERT_EQUAL(place(1, HOT_KEYS_COUNT - 1 - i), i);
        CU_ASSERT_EQUAL(top.entries[i].count, HOT_KEYS_COUNT - i);
        CU_ASSERT_EQUAL(top.entries[i].error, 0);
    }
}

static void keys_of_two_spaces_are_two(void)
{
    h = (struct hot_keys){.noted = 0};
    for (uint32_t i = 0; i < 5; i++)
        note(1, 7);
    for (uint32_t i = 0; i < 3; i++)
        note(2, 7);
    hot_keys_top(&h, &top);
    CU_ASSERT_EQUAL(top.count, 2);
    CU_ASSERT_EQUAL(place(1, 7), 0);
    CU_ASSERT_EQUAL(place(2, 7), 1);
}

static void one_time_is_no_heat(void)
{
    h = (struct hot_keys){.noted = 0};
    for (uint32_t key = 0; key < 3 * HOT_KEYS_COUNT; key++)
        note(1, key);
    hot_keys_top(&h, &top);
    CU_ASSERT_EQUAL(top.noted, 3 * HOT_KEYS_COUNT);
    CU_ASSERT_EQUAL(top.count, 0);
}

/* The promises of the header, over a stream in which some keys are hot and most are cold. */
#define MANY_KEYS 5000u
static void counts_keep_their_bounds(void)
{
    static uint32_t exact[MANY_KEYS];
    uint64_t seed = 42, total = 0;
    memset(exact, 0, sizeof exact);
    h = (struct hot_keys){.noted = 0};
    while (++total < HOT_KEYS_WINDOW) {
        uint32_t key = (uint32_t)(next_random(&seed) % MANY_KEYS);
        if (next_random(&seed) % 4 == 0)
            key %= 8;
        exact[key]++;
        note(1, key);
        uint64_t sum = 0;
        for (uint32_t i = 0; total % 4096 == 0 && i < h.entry_count; i++)
            sum += h.counts[i];
        CU_ASSERT(total % 4096 != 0 || sum == total);
    }
    for (uint32_t i = 0; i < h.entry_count; i++) {
        char text[16] = {0};
        memcpy(text, h.keys[i].bytes, h.keys[i].length);
        uint32_t key = 0;
        CU_ASSERT_EQUAL(sscanf(text, "key%u", &key), 1);
        CU_ASSERT(h.counts[i] >= exact[key]);
        CU_ASSERT(h.counts[i] - h.errors[i] <= exact[key]);
        CU_ASSERT(h.errors[i] <= total / HOT_KEYS_COUNT);
    }
    hot_keys_top(&h, &top);
    for (uint32_t key = 0; key < 8; key++) {
        CU_ASSERT(exact[key] > total / HOT_KEYS_COUNT); /* so it must be there */
        CU_ASSERT(place(1, key) < 8);
    }
}

/* A key that was hot gives way to one that is. */
static void what_is_long_ago_counts_less(void)
{
    h = (struct hot_keys){.noted = 0};
    for (uint32_t i = 0; i < HOT_KEYS_WINDOW; i++)
        note(1, 1);
    CU_ASSERT_EQUAL(h.noted, HOT_KEYS_WINDOW / 2);
    for (uint32_t i = 0; i < HOT_KEYS_WINDOW; i++)
        note(1, i % 4 == 0 ? 2 : 100 + i);
    hot_keys_top(&h, &top);
    CU_ASSERT_EQUAL(place(1, 2), 1);
    for (uint32_t i = 0; i < 2 * HOT_KEYS_WINDOW; i++)
        note(1, i % 4 == 0 ? 2 : 100 + i);
    hot_keys_top(&h, &top);
    CU_ASSERT_EQUAL(place(1, 2), 0);
    CU_ASSERT(top.noted < HOT_KEYS_WINDOW);
}

static void gaps_have_their_mean_and_are_the_same_each_time(void)
{
    struct hot_keys a = {.noted = 0}, b = {.noted = 0};
    uint64_t sum = 0;
    uint32_t longest = 0, shortest = UINT32_MAX;
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t gap = hot_keys_gap(&a);
        CU_ASSERT_EQUAL(gap, hot_keys_gap(&b));
        sum += gap;
        longest = gap > longest ? gap : longest;
        shortest = gap < shortest ? gap : shortest;
    }
    CU_ASSERT_EQUAL(shortest, 1);
    CU_ASSERT_EQUAL(longest, 2 * HOT_KEYS_GAP_MEAN - 1);
    CU_ASSERT(sum > 100000 * (HOT_KEYS_GAP_MEAN - 1) && sum < 100000 * (HOT_KEYS_GAP_MEAN + 1));
}

/* ---- what is shown ---- */

static struct hot_keys_shown shown;
static _Atomic bool stop;

/* Each showing has one key, whose every byte, length and count follow from one number. */
static void *shower(void *unused)
{
    (void)unused;
    for (uint32_t n = 2; !atomic_load_explicit(&stop, memory_order_acquire); n = n % 250 + 2) {
        uint8_t bytes[LIMIT_KEY_BYTES];
        static struct hot_keys one;
        memset(bytes, (int)n, sizeof bytes);
        one = (struct hot_keys){.noted = 0};
        const struct hot_keys_asked key = {.space = n, .length = n, .hash = n, .bytes = bytes};
        for (uint32_t i = 0; i < n; i++)
            hot_keys_note(&one, &key);
        hot_keys_show(&one, &shown);
    }
    return NULL;
}

static void what_is_read_was_shown_at_once(void)
{
    pthread_t thread;
    uint32_t copies = 0, torn = 0, different = 0, last = 0;
    shown = (struct hot_keys_shown){.sequence = 0};
    CU_ASSERT_TRUE(hot_keys_copy(&shown, &top));
    CU_ASSERT_EQUAL(top.count, 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, shower, NULL), 0);
    while (copies < 20000 || different < 10) {
        if (!hot_keys_copy(&shown, &top) || top.count == 0)
            continue;
        copies++;
        const struct hot_keys_key *k = &top.entries[0].key;
        uint32_t n = top.noted;
        bool whole = top.count == 1 && top.entries[0].count == n && k->space == n && k->length == n;
        for (uint32_t i = 0; whole && i < n; i++)
            whole = k->bytes[i] == (uint8_t)n;
        torn += !whole;
        different += n != last;
        last = n;
    }
    atomic_store_explicit(&stop, true, memory_order_release);
    (void)pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(torn, 0);
}

static void one_that_is_being_shown_is_not_read(void)
{
    shown = (struct hot_keys_shown){.sequence = 1};
    CU_ASSERT_FALSE(hot_keys_copy(&shown, &top));
}

static const struct unit_test tests[] = {
    UNIT_TEST(few_keys_are_counted_exactly),
    UNIT_TEST(keys_of_two_spaces_are_two),
    UNIT_TEST(one_time_is_no_heat),
    UNIT_TEST(counts_keep_their_bounds),
    UNIT_TEST(what_is_long_ago_counts_less),
    UNIT_TEST(gaps_have_their_mean_and_are_the_same_each_time),
    UNIT_TEST(what_is_read_was_shown_at_once),
    UNIT_TEST(one_that_is_being_shown_is_not_read),
};
UNIT_MAIN("hot_keys", tests)
