#include "engine/space.h"

#include "engine/record.h"

/* Room that the link arrays of a segment take: one word per 64 bytes. */
#define LINK_SHARE 8u
/* Segments and chunks are cut for the quota, or for such a share of what it may become if that is more.  Why
 * not for that itself: most spaces never come to it, and would begin with most of their quota. */
#define QUOTA_MAX_SHARE 4u

void space_config_default(struct space_config *c)
{
    *c = (struct space_config){
        .consistency = SPACE_STRONG,
        .durability = SPACE_DURABILITY_NONE,
        .shard_count = 16,
        .quota_bytes = UINT64_C(256) << 20,
        .sessions_max = 1024,
        .session_ttl_ns = 600 * NS_PER_S,
        .ordered = true,
        .history = 1,
    };
}

static uint32_t log2_floor(uint64_t value)
{
    return 63u - (uint32_t)__builtin_clzll(value);
}

static uint32_t clamp_u32(uint32_t value, uint32_t low, uint32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* A shard's segments are a sixty-fourth of its memory, so that cleaning one is a small step. */
static uint32_t segment_shift_for(uint64_t shard_bytes)
{
    return clamp_u32(log2_floor(shard_bytes / 64 | 1), LIMIT_SEGMENT_SHIFT_MIN,
                     LIMIT_SEGMENT_SHIFT_MAX);
}

static uint32_t chunk_shift_for(uint64_t quota_bytes, uint32_t segment_shift)
{
    uint32_t low =
        segment_shift + 4 > LIMIT_CHUNK_SHIFT_MIN ? segment_shift + 4 : LIMIT_CHUNK_SHIFT_MIN;
    return clamp_u32(log2_floor(quota_bytes / 64 | 1), low, LIMIT_CHUNK_SHIFT_MAX);
}

int space_geometry(const struct space_config *c, struct layout_geometry *g)
{
    if (c->shard_count == 0 || c->shard_count > LIMIT_SHARDS || c->sessions_max == 0 ||
        c->sessions_max > LIMIT_SESSIONS || c->value_bytes_max > LIMIT_VALUE_BYTES ||
        c->history == 0 || c->history > LIMIT_VERSION_WALK ||
        (c->quota_bytes | c->quota_max_bytes) >> LIMIT_ARENA_SHIFT != 0)
        return -EINVAL;
    /* Why not by the quota alone: nothing of this changes while the space lives. */
    const uint64_t quota = max_u64(c->quota_bytes, c->quota_max_bytes / QUOTA_MAX_SHARE);
    uint32_t segment_shift = segment_shift_for(quota / c->shard_count);
    uint32_t chunk_shift = chunk_shift_for(quota, segment_shift);
    uint64_t chunks = max_u64(c->quota_bytes, c->quota_max_bytes) >> chunk_shift;
    uint64_t segment = UINT64_C(1) << segment_shift;
    uint32_t frames_per_chunk =
        (uint32_t)((UINT64_C(1) << chunk_shift) / (segment + segment / LINK_SHARE));
    uint64_t frames_per_shard = chunks * frames_per_chunk / c->shard_count;
    if (chunks > LIMIT_CHUNKS)
        return -EINVAL;
    uint64_t frames_at_first = (c->quota_bytes >> chunk_shift) * frames_per_chunk / c->shard_count;
    if (frames_at_first < LIMIT_SHARD_FRAMES_MIN)
        return -ENOSPC;
    *g = (struct layout_geometry){
        .segment_shift = segment_shift,
        .chunk_shift = chunk_shift,
        .frames_per_chunk = frames_per_chunk,
        .frames_per_shard = (uint32_t)frames_per_shard,
        .shard_count = c->shard_count,
        .chunk_count_max = (uint32_t)chunks,
    };
    return 0;
}

uint64_t space_quota_min(uint32_t shard_count)
{
    struct space_config c;
    struct layout_geometry g;
    space_config_default(&c);
    c.shard_count = shard_count;
    c.quota_bytes = UINT64_C(1) << LIMIT_CHUNK_SHIFT_MIN;
    while (space_geometry(&c, &g) == -ENOSPC)
        c.quota_bytes += UINT64_C(1) << LIMIT_CHUNK_SHIFT_MIN;
    return c.quota_bytes;
}

uint32_t space_value_max(const struct space_config *c, const struct layout_geometry *g)
{
    uint64_t fits = (UINT64_C(1) << g->segment_shift) - record_bytes(0, LIMIT_KEY_BYTES, 0);
    uint64_t limit = min_u64(fits, LIMIT_VALUE_BYTES);
    return (uint32_t)(c->value_bytes_max != 0 ? min_u64(c->value_bytes_max, limit) : limit);
}

bool space_access_allows(const struct space_access *a, uint32_t uid, uint32_t own_uid)
{
    if (uid == 0 || uid == own_uid || a->everyone)
        return true;
    for (uint32_t i = 0; i < a->uid_count && i < LIMIT_ACCESS_RULES; i++)
        if (a->uids[i] == uid)
            return true;
    return false;
}
