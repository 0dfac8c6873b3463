#include "engine/record.h"
#include "engine/space.h"
#include "tests/unit/unit.h"

static struct space_config config_of(uint32_t shards, uint64_t quota)
{
    struct space_config c;
    space_config_default(&c);
    c.shard_count = shards;
    c.quota_bytes = quota;
    return c;
}

static void the_default_is_a_sound_space(void)
{
    struct space_config c;
    struct layout_geometry g;
    space_config_default(&c);
    CU_ASSERT_EQUAL(space_geometry(&c, &g), 0);
    CU_ASSERT_EQUAL(g.shard_count, c.shard_count);
}

static void a_geometry_is_sound(const struct space_config *c, const struct layout_geometry *g)
{
    uint64_t segment = UINT64_C(1) << g->segment_shift, chunk = UINT64_C(1) << g->chunk_shift;
    uint64_t most = c->quota_max_bytes != 0 ? c->quota_max_bytes : c->quota_bytes;
    CU_ASSERT((uint64_t)g->chunk_count_max << g->chunk_shift <= most);
    CU_ASSERT(g->chunk_count_max <= LIMIT_CHUNKS);
    CU_ASSERT(g->segment_shift >= LIMIT_SEGMENT_SHIFT_MIN &&
              g->segment_shift <= LIMIT_SEGMENT_SHIFT_MAX);
    CU_ASSERT(g->frames_per_shard >= LIMIT_SHARD_FRAMES_MIN);
    CU_ASSERT((uint64_t)g->frames_per_shard * g->shard_count <=
              (uint64_t)g->chunk_count_max * g->frames_per_chunk);
    CU_ASSERT(g->frames_per_chunk * (segment + segment / 8) <= chunk);
    uint64_t last = g->frames_per_chunk - 1;
    CU_ASSERT((last + 1) * segment <= layout_links_of(g, last));
    CU_ASSERT_EQUAL(layout_links_of(g, 0) + segment / 8, chunk);
    uint32_t value = space_value_max(c, g);
    CU_ASSERT(record_bytes(0, LIMIT_KEY_BYTES, value) <= segment);
}

/* Whatever the quota: within it, limits kept, frames and link arrays disjoint and inside their
 * chunk. */
static void a_geometry_keeps_its_promises(void)
{
    for (uint32_t shards = 1; shards <= LIMIT_SHARDS; shards = shards * 3 / 2 + 1) {
        for (unsigned shift = 21; shift < LIMIT_ARENA_SHIFT; shift++) {
            struct space_config c = config_of(shards, (UINT64_C(1) << shift) + (shift * 12345));
            struct layout_geometry g;
            for (unsigned times = 0; times < 10; times++) {
                c.quota_max_bytes = times * c.quota_bytes;
                int r = space_geometry(&c, &g);
                CU_ASSERT(r == 0 || r == -ENOSPC || c.quota_max_bytes >> LIMIT_ARENA_SHIFT != 0);
                if (r == 0)
                    a_geometry_is_sound(&c, &g);
            }
        }
    }
}

/* Why it matters: what is cut for a quota that it never gets begins with most of the quota, takes less, and
 * can give next to nothing back. */
static void a_quota_that_may_grow_is_cut_as_finely(void)
{
    for (unsigned shift = 23; shift < LIMIT_ARENA_SHIFT - 3; shift++) {
        struct space_config c = config_of(4, UINT64_C(1) << shift);
        struct layout_geometry g, grows;
        CU_ASSERT_EQUAL(space_geometry(&c, &g), 0);
        c.quota_max_bytes = 4 * c.quota_bytes;
        CU_ASSERT_EQUAL(space_geometry(&c, &grows), 0);
        CU_ASSERT_EQUAL(grows.segment_shift, g.segment_shift);
        CU_ASSERT_EQUAL(grows.chunk_shift, g.chunk_shift);
        CU_ASSERT_EQUAL(grows.chunk_count_max, 4 * g.chunk_count_max);
    }
}

static void frames_of_shards_never_meet(void)
{
    static uint8_t owner[1u << 16];
    for (uint32_t shards = 1; shards <= 7; shards++) {
        struct space_config c = config_of(shards, UINT64_C(32) << 20);
        struct layout_geometry g;
        CU_ASSERT_EQUAL_FATAL(space_geometry(&c, &g), 0);
        memset(owner, 0, sizeof owner);
        for (uint32_t shard = 0; shard < shards; shard++) {
            uint64_t chunk_before = 0;
            for (uint32_t n = 0; n < g.frames_per_shard; n++) {
                uint64_t frame = layout_frame_of(&g, shard, n);
                CU_ASSERT_FATAL(frame < layout_frame_count(&g) && frame < sizeof owner);
                CU_ASSERT_EQUAL(owner[frame], 0);
                owner[frame] = 1;
                uint64_t chunk = frame >> (g.chunk_shift - g.segment_shift);
                CU_ASSERT(chunk >= chunk_before); /* chunks are needed in order */
                chunk_before = chunk;
                CU_ASSERT(frame - (chunk << (g.chunk_shift - g.segment_shift)) <
                          g.frames_per_chunk);
            }
        }
    }
}

static void the_least_quota_is_enough_and_less_is_not(void)
{
    for (uint32_t shards = 1; shards <= LIMIT_SHARDS; shards = shards * 2 + 1) {
        uint64_t least = space_quota_min(shards);
        struct space_config c = config_of(shards, least);
        struct layout_geometry g;
        CU_ASSERT_EQUAL(space_geometry(&c, &g), 0);
        c.quota_bytes = least - 1;
        CU_ASSERT_EQUAL(space_geometry(&c, &g), -ENOSPC);
    }
}

static void numbers_outside_their_limits_are_refused(void)
{
    struct layout_geometry g;
    struct space_config c = config_of(0, UINT64_C(1) << 28);
    CU_ASSERT_EQUAL(space_geometry(&c, &g), -EINVAL);
    c = config_of(LIMIT_SHARDS + 1, UINT64_C(1) << 36);
    CU_ASSERT_EQUAL(space_geometry(&c, &g), -EINVAL);
    c = config_of(1, UINT64_C(1) << LIMIT_ARENA_SHIFT);
    CU_ASSERT_EQUAL(space_geometry(&c, &g), -EINVAL);
    c = config_of(1, UINT64_C(1) << 28);
    c.sessions_max = 0;
    CU_ASSERT_EQUAL(space_geometry(&c, &g), -EINVAL);
    c.sessions_max = LIMIT_SESSIONS + 1;
    CU_ASSERT_EQUAL(space_geometry(&c, &g), -EINVAL);
    c = config_of(1, UINT64_C(1) << 28);
    c.value_bytes_max = LIMIT_VALUE_BYTES + 1;
    CU_ASSERT_EQUAL(space_geometry(&c, &g), -EINVAL);
}

static void access_is_root_owner_everyone_or_named(void)
{
    struct space_access nobody = {.everyone = false};
    struct space_access some = {.uid_count = 2, .uids = {1000, 2000}};
    struct space_access all = {.everyone = true};
    struct space_access lying = {.uid_count = UINT32_MAX, .uids = {5}};
    CU_ASSERT_TRUE(space_access_allows(&nobody, 0, 500));
    CU_ASSERT_TRUE(space_access_allows(&nobody, 500, 500));
    CU_ASSERT_FALSE(space_access_allows(&nobody, 1000, 500));
    CU_ASSERT_TRUE(space_access_allows(&some, 2000, 500));
    CU_ASSERT_FALSE(space_access_allows(&some, 3000, 500));
    CU_ASSERT_TRUE(space_access_allows(&all, 3000, 500));
    CU_ASSERT_FALSE(space_access_allows(&lying, 6, 500));
}

static const struct unit_test tests[] = {
    UNIT_TEST(the_default_is_a_sound_space),
    UNIT_TEST(a_geometry_keeps_its_promises),
    UNIT_TEST(a_quota_that_may_grow_is_cut_as_finely),
    UNIT_TEST(frames_of_shards_never_meet),
    UNIT_TEST(the_least_quota_is_enough_and_less_is_not),
    UNIT_TEST(numbers_outside_their_limits_are_refused),
    UNIT_TEST(access_is_root_owner_everyone_or_named),
};
UNIT_MAIN("space", tests)
