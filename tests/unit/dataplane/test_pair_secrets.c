/* The memory in which lcores find secrets: what is put is got whole, by as many as look, while it is put. */
#include "dataplane/pair_secrets.h"

#include "tests/unit/unit.h"

#include <pthread.h>

#define READERS 2u
#define READS 20000u
#define PUTS_MAX 20000000u

static struct pair_secrets table;

static struct pair_secrets_view view_of(uint64_t start, uint32_t number)
{
    struct pair_secrets_view v = {.start = start, .seals = number};
    v.secrets[0].number = number;
    v.secrets[1].number = number - 1;
    memset(v.secrets[0].bytes, (int)(number & 255), FRAME_SECRET_BYTES);
    memset(v.secrets[1].bytes, (int)((number - 1) & 255), FRAME_SECRET_BYTES);
    return v;
}

static bool is_view(const struct pair_secrets_view *v, uint64_t start, uint32_t number)
{
    struct pair_secrets_view wanted = view_of(start, number);
    return v->start == start && v->seals == number && v->secrets[0].number == number &&
           v->secrets[1].number == number - 1 &&
           memcmp(v->secrets[0].bytes, wanted.secrets[0].bytes, FRAME_SECRET_BYTES) == 0 &&
           memcmp(v->secrets[1].bytes, wanted.secrets[1].bytes, FRAME_SECRET_BYTES) == 0;
}

static void put(uint32_t node, uint64_t start, uint32_t number)
{
    struct pair_secrets_view v = view_of(start, number);
    CU_ASSERT_EQUAL(pair_secrets_put(&table, node, &v), 0);
}

static void what_is_put_is_got(void)
{
    struct pair_secrets_view v;
    pair_secrets_init(&table);
    CU_ASSERT_EQUAL(pair_secrets_changes(&table), 0);
    CU_ASSERT_EQUAL(pair_secrets_get(&table, 3, &v), 0);
    put(3, 60, 5);
    put(UINT32_MAX, UINT64_MAX, UINT32_MAX);
    CU_ASSERT_EQUAL(pair_secrets_changes(&table), 2);
    CU_ASSERT_EQUAL(pair_secrets_get(&table, 3, &v), 1);
    CU_ASSERT_TRUE(is_view(&v, 60, 5));
    CU_ASSERT_EQUAL(pair_secrets_get(&table, UINT32_MAX, &v), 1);
    CU_ASSERT_TRUE(is_view(&v, UINT64_MAX, UINT32_MAX));
    put(3, 60, 6);
    CU_ASSERT_EQUAL(pair_secrets_get(&table, 3, &v), 1);
    CU_ASSERT_TRUE(is_view(&v, 60, 6));
    CU_ASSERT_EQUAL(pair_secrets_get(&table, 4, &v), 0);
}

static void what_is_given_up_is_free(void)
{
    struct pair_secrets_view v = view_of(1, 1);
    pair_secrets_init(&table);
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        put(i + 1, 1, 1);
    CU_ASSERT_EQUAL(pair_secrets_put(&table, 1000, &v), -ENOSPC);
    v.start = 0;
    CU_ASSERT_EQUAL(pair_secrets_put(&table, 1000, &v), 0); /* it never was there */
    CU_ASSERT_EQUAL(pair_secrets_put(&table, 7, &v), 0);
    CU_ASSERT_EQUAL(pair_secrets_get(&table, 7, &v), 0);
    put(1000, 2, 3);
    CU_ASSERT_EQUAL(pair_secrets_get(&table, 1000, &v), 1);
    CU_ASSERT_TRUE(is_view(&v, 2, 3));
    pair_secrets_fini(&table);
    uint64_t left = 0;
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        for (uint32_t w = 0; w < PAIR_SECRETS_WORDS; w++)
            left |= table.entries[i].words[w];
    CU_ASSERT_EQUAL(left, 0);
}

static void one_being_written_is_got_later(void)
{
    struct pair_secrets_view v;
    pair_secrets_init(&table);
    put(3, 60, 5);
    table.entries[0].sequence++; /* as in the middle of a put */
    CU_ASSERT_EQUAL(pair_secrets_get(&table, 3, &v), -EAGAIN);
    table.entries[0].sequence++;
    CU_ASSERT_EQUAL(pair_secrets_get(&table, 3, &v), 1);
    CU_ASSERT_TRUE(is_view(&v, 60, 5));
}

static void what_is_used_up_ends_with_the_start(void)
{
    pair_secrets_init(&table);
    pair_secrets_spend(&table, 3, 1);
    CU_ASSERT_EQUAL(pair_secrets_spent(&table, 3), 0);
    put(3, 60, 1);
    pair_secrets_spend(&table, 3, 1);
    CU_ASSERT_EQUAL(pair_secrets_spent(&table, 3), 1);
    put(3, 60, 2);
    CU_ASSERT_EQUAL(pair_secrets_spent(&table, 3), 1);
    put(3, 61, 1);
    CU_ASSERT_EQUAL(pair_secrets_spent(&table, 3), 0);
}

static void key_ids_are_never_zero(void)
{
    CU_ASSERT_EQUAL(pair_secret_key_id(1), 1);
    CU_ASSERT_EQUAL(pair_secret_key_id(65535), 65535);
    CU_ASSERT_EQUAL(pair_secret_key_id(65536), 1);
    CU_ASSERT_EQUAL(pair_secret_key_id(UINT32_MAX), 65535);
}

/* ---- at the same time ---- */

static _Atomic bool is_over;

struct reader {
    pthread_t thread;
    uint32_t node;
    uint64_t start; /* of that node */
    uint64_t wrong;
    _Atomic uint64_t got;
};

static struct reader readers[READERS];

static void *read_all(void *argument)
{
    struct reader *r = argument;
    struct pair_secrets_view v;
    uint32_t last = 0;
    while (!atomic_load_explicit(&is_over, memory_order_acquire)) {
        if (pair_secrets_get(&table, r->node, &v) != 1)
            continue;
        /* relaxed: how far it is */
        atomic_fetch_add_explicit(&r->got, 1, memory_order_relaxed);
        r->wrong += is_view(&v, r->start, v.seals) && v.seals >= last ? 0 : 1;
        last = v.seals;
    }
    return NULL;
}

static bool have_read(void)
{
    bool have = true;
    for (uint32_t i = 0; i < READERS; i++) /* relaxed: as above */
        have = have && atomic_load_explicit(&readers[i].got, memory_order_relaxed) >= READS;
    return have;
}

static void put_quiet(uint32_t node, uint64_t start, uint32_t number)
{
    struct pair_secrets_view v = view_of(start, number);
    (void)!pair_secrets_put(&table, node, &v);
}

/* Numbers only grow: a put of node 3, and with apart one of node 4 in the same place. */
static void put_while_it_is_read(bool apart)
{
    pair_secrets_init(&table);
    atomic_store_explicit(&is_over, false, memory_order_release);
    for (uint32_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.node = apart ? 3 + i : 3, .start = apart ? 60 + i : 60};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&readers[i].thread, NULL, read_all, &readers[i]), 0);
    }
    for (uint32_t i = 1; !have_read() && i < PUTS_MAX; i++) {
        put_quiet(3, 60, i);
        if (!apart)
            continue;
        put_quiet(3, 0, i);
        put_quiet(4, 61, i);
        put_quiet(4, 0, i);
    }
    atomic_store_explicit(&is_over, true, memory_order_release);
    for (uint32_t i = 0; i < READERS; i++) {
        CU_ASSERT_EQUAL(pthread_join(readers[i].thread, NULL), 0);
        CU_ASSERT_EQUAL(readers[i].wrong, 0);
        CU_ASSERT(readers[i].got != 0);
    }
}

static void it_is_got_whole_while_it_is_put(void)
{
    put_while_it_is_read(false);
}

static void it_is_of_that_node_while_its_place_becomes_another_s(void)
{
    put_while_it_is_read(true);
}

static const struct unit_test tests[] = {
    UNIT_TEST(what_is_put_is_got),
    UNIT_TEST(what_is_given_up_is_free),
    UNIT_TEST(one_being_written_is_got_later),
    UNIT_TEST(what_is_used_up_ends_with_the_start),
    UNIT_TEST(key_ids_are_never_zero),
    UNIT_TEST(it_is_got_whole_while_it_is_put),
    UNIT_TEST(it_is_of_that_node_while_its_place_becomes_another_s),
};
UNIT_MAIN("pair_secrets", tests)
