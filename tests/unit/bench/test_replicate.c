/* Both sides of the replicate bench do what they are measured for: every write reaches all replicas. */
#include "bench/raft_store.h"
#include "bench/replicate_rig.h"
#include "engine/hash.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <urcu/urcu-qsbr.h>

#define KEYS 3000u
#define DURATION_NS (2 * NS_PER_MS)

static struct raft_command command(uint32_t number, uint8_t fill)
{
    struct raft_command c;
    keys_text(number, c.key);
    c.hash = hash_key(c.key, KEYS_LENGTH);
    memset(c.value, fill, sizeof c.value);
    return c;
}

static void a_table_holds_what_was_put_last(void)
{
    urcu_qsbr_register_thread();
    for (int kind = RAFT_TABLE_PLAIN; kind <= RAFT_TABLE_SHARED; kind++) {
        struct raft_table t;
        uint32_t wrong = 0;
        CU_ASSERT_EQUAL_FATAL(raft_table_open(&t, (enum raft_table_kind)kind, KEYS), 0);
        for (uint32_t i = 0; i < 2 * KEYS; i++) {
            struct raft_command c = command(i % KEYS, (uint8_t)(i / KEYS + i));
            wrong += raft_table_put(&t, &c) != 0;
        }
        for (uint32_t i = 0; i < KEYS; i++) {
            struct raft_command c = command(i, (uint8_t)(1 + i + KEYS));
            uint8_t value[KEYS_VALUE_BYTES];
            wrong += !raft_table_get(&t, &c, value) || memcmp(value, c.value, sizeof value) != 0;
        }
        struct raft_command other = command(KEYS, 0);
        CU_ASSERT_FALSE(raft_table_get(&t, &other, other.value));
        CU_ASSERT_EQUAL(wrong, 0);
        raft_table_close(&t);
    }
    urcu_qsbr_unregister_thread();
}

static void libraft_applies_every_write_on_all_servers(void)
{
    static const uint32_t batches[] = {1, 8, 512};
    for (int kind = RAFT_TABLE_PLAIN; kind <= RAFT_TABLE_SHARED; kind++) {
        struct raft_store s;
        double value;
        CU_ASSERT_EQUAL_FATAL(raft_store_open(&s, (enum raft_table_kind)kind, KEYS), 0);
        CU_ASSERT_TRUE(raft_store_agrees(&s));
        for (unsigned i = 0; i < 3; i++) {
            s.batch = batches[i];
            s.sampler = sampler_new(s.batch < 16 ? 16 : s.batch, 1);
            CU_ASSERT_PTR_NOT_NULL_FATAL(s.sampler);
            CU_ASSERT_EQUAL(raft_store_measure(&s, DURATION_NS, &value), 0);
            sampler_delete(s.sampler);
        }
        CU_ASSERT(s.position > 512);
        CU_ASSERT_TRUE(raft_store_agrees(&s));
        raft_store_close(&s);
    }
}

static void check_rig(uint32_t shard_count)
{
    static const uint32_t batches[] = {1, 8, 512};
    const struct replicate_shape shape = {
        .key_count = KEYS,
        .shard_count = shard_count,
        .quota_bytes = max_u64(UINT64_C(8) << 20, space_quota_min(shard_count)),
        .ticks_per_ns = 1,
    };
    struct replicate_rig *r = replicate_rig_new(&shape);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r);
    for (unsigned i = 0; i < 3; i++) {
        struct replicate_side side = {.rig = r, .batch = batches[i]};
        double value;
        side.sampler = sampler_new(side.batch < 16 ? 16 : side.batch, 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(side.sampler);
        CU_ASSERT_EQUAL(replicate_rig_measure(&side, DURATION_NS, &value), 0);
        sampler_delete(side.sampler);
    }
    uint64_t keys = 0, opened = (uint64_t)shard_count * REPLICATE_SESSIONS;
    for (uint32_t i = 0; i < shard_count; i++)
        keys += r->nodes[1].shards[i]->index.key_count;
    CU_ASSERT_EQUAL(keys, KEYS);
    CU_ASSERT_EQUAL(r->nodes[0].answer_count, r->position + opened);
    CU_ASSERT_TRUE(replicate_rig_agrees(r));
    /* a follower that lacks something is noticed */
    r->nodes[2].shards[0]->log.lsn_end -= 8;
    CU_ASSERT_FALSE(replicate_rig_agrees(r));
    r->nodes[2].shards[0]->log.lsn_end += 8;
    replicate_rig_delete(r);
}

static void replicas_hold_every_write(void)
{
    check_rig(1);
    check_rig(16);
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_table_holds_what_was_put_last),
    UNIT_TEST(libraft_applies_every_write_on_all_servers),
    UNIT_TEST(replicas_hold_every_write),
};
UNIT_MAIN("replicate", tests)
