/* Two nodes that take turns to lead, and a list of what every key should be: whatever is written, expired
 * and handed over at random, each key is there exactly as long as it should be.  Takes a seed. */
#include "tests/unit/engine/ttl_writes.h"

#include <stdlib.h>

#define KEYS 120u
#define STEPS 20000u

struct model_key {
    bool is_there;
    uint64_t ttl_ns;     /* 0: it stays */
    uint64_t counted_ns; /* from when on */
};

static struct fixture nodes[2];
static struct model_key keys[KEYS];
static uint32_t lead;
static uint64_t seed, epoch, written, expired, moved;

static void check_all(const char *what)
{
    struct fixture *f = &nodes[lead];
    uint32_t mortal = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        char key[32];
        (void)fixture_key(i, key);
        bool is_there = ttl_is_there(f, key);
        if (is_there != keys[i].is_there)
            printf("\n%s: key %u: there %d, should be %d\n", what, i, is_there, keys[i].is_there);
        CU_ASSERT_EQUAL_FATAL(is_there, keys[i].is_there);
        mortal += keys[i].is_there && keys[i].ttl_ns != 0;
    }
    CU_ASSERT_EQUAL_FATAL(f->shard->expiry.count, mortal);
    CU_ASSERT_EQUAL_FATAL(f->shard->live_bytes, fixture_live_bytes(f, NULL));
}

static void write_one(void)
{
    struct fixture *f = &nodes[lead];
    struct model_key *k = &keys[fixture_below(&seed, KEYS)];
    char key[32];
    uint32_t length = fixture_key((uint32_t)(k - keys), key);
    uint32_t kind = fixture_below(&seed, 4);
    uint64_t ttl_ns = kind < 2 ? MS + fixture_below(&seed, 400) * MS / 8 : 0;
    int result = kind == 3 ? fixture_delete(f, key, length) : ttl_put(f, key, ttl_ns);
    if (result == -EAGAIN)
        return; /* until it is cleaned */
    CU_ASSERT_EQUAL_FATAL(result, 0);
    *k = (struct model_key){kind != 3, ttl_ns, steady_ns};
    written++;
}

static void look(void)
{
    ttl_look_all(&nodes[lead]);
    for (uint32_t i = 0; i < KEYS; i++) {
        struct model_key *k = &keys[i];
        if (!k->is_there || k->ttl_ns == 0 || k->counted_ns + k->ttl_ns > steady_ns)
            continue;
        *k = (struct model_key){.is_there = false};
        expired++;
    }
}

static void hand_over(void)
{
    fixture_commit(&nodes[lead]);
    fixture_answers(&nodes[lead]);
    ttl_land(&nodes[lead], &nodes[1 - lead]);
    lead = 1 - lead;
    ttl_lead(&nodes[lead], ++epoch);
    (void)ttl_look(&nodes[lead]);
    for (uint32_t i = 0; i < KEYS; i++)
        keys[i].counted_ns = steady_ns;
    moved++;
}

static void step(uint32_t i)
{
    struct fixture *f = &nodes[lead];
    uint32_t kind = fixture_below(&seed, 40);
    if (kind < 20)
        write_one();
    else if (kind < 30)
        steady_ns += fixture_below(&seed, 3) * MS / 2;
    else if (kind == 30)
        look();
    else if (kind == 31 && i % 4 == 0 && epoch < LIMIT_EPOCHS) /* live bytes count those */
        hand_over();
    if (kind == 32)
        ttl_land(f, &nodes[1 - lead]);
    f = &nodes[lead];
    fixture_commit(f);
    (void)fixture_maintain(f);
    (void)fixture_maintain(&nodes[1 - lead]);
}

static void each_key_is_there_as_long_as_it_should_be(void)
{
    const char *given = getenv("DUNLIN_TEST_SEED");
    uint64_t first = given != NULL ? strtoull(given, NULL, 10) : 1;
    for (uint64_t run = first; run < first + 4; run++) {
        fixture_open(&nodes[0], &ttl_small);
        fixture_open(&nodes[1], &ttl_small);
        memset(keys, 0, sizeof keys);
        seed = run;
        steady_ns = NS_PER_S;
        epoch = 1;
        lead = 0;
        printf("seed %llu ", (unsigned long long)run);
        for (uint32_t i = 0; i < STEPS; i++) {
            /* kept for the follower: it lacks nothing that was cleaned */
            nodes[lead].shard->lsn_kept = nodes[1 - lead].shard->log.lsn_end;
            step(i);
            if (i % 50 == 0) {
                look();
                check_all("look");
            }
        }
        fixture_close(&nodes[0]);
        fixture_close(&nodes[1]);
    }
    CU_ASSERT(written > 10000 && expired > 1000 && moved > 100);
}

static const struct unit_test tests[] = {
    UNIT_TEST(each_key_is_there_as_long_as_it_should_be),
};
UNIT_MAIN("expire_model", tests)
