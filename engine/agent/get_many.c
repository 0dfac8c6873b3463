#include "engine/agent/agent.h"

#include <string.h>

struct batch_point {
    bool missed; /* a key of it was not there */
    bool again;  /* nothing of it counts */
    int judged;
    struct dunlin_read read; /* epoch and age */
};

/* One read point per shard of a batch: so its keys are seen at one commit LSN. */
struct batch {
    struct dunlin_space *space;
    struct dunlin_get_entry *entries;
    size_t count;
    enum dunlin_mode mode;
    uint64_t max_age_ns;
    uint32_t point_count;
    uint8_t point_of[LIMIT_GET_BATCH]; /* by entry */
    uint8_t point_at[LIMIT_GET_BATCH]; /* by low bits of the shard: point + 1 */
    struct batch_point of_point[LIMIT_GET_BATCH];
    struct read_point points[LIMIT_GET_BATCH];
    struct read_key keys[LIMIT_GET_BATCH];
};

static uint32_t point_find(struct batch *b, uint32_t shard)
{
    const struct read_space *s = &b->space->read;
    uint8_t *at = &b->point_at[shard % LIMIT_GET_BATCH];
    if (LIKELY(*at != 0 && b->points[*at - 1].board == &s->boards[shard]))
        return *at - 1u;
    for (uint32_t i = 0; *at != 0 && i < b->point_count; i++)
        if (b->points[i].board == &s->boards[shard])
            return i;
    uint32_t point = b->point_count++;
    *at = (uint8_t)(point + 1);
    b->of_point[point].missed = b->of_point[point].again = false;
    read_begin(&b->points[point], s, shard);
    return point;
}

/* Three passes, so that the cache misses of one overlap. */
static void batch_find(struct batch *b)
{
    const struct read_space *s = &b->space->read;
    for (size_t i = 0; i < b->count; i++) {
        read_key_init(&b->keys[i], s, b->entries[i].key, b->entries[i].key_length);
        read_prefetch_bucket(s, &b->keys[i]);
    }
    for (size_t i = 0; i < b->count; i++)
        read_prefetch_record(s, &b->keys[i]);
    for (size_t i = 0; i < b->count; i++) {
        struct dunlin_get_entry *e = &b->entries[i];
        uint32_t point = point_find(b, b->keys[i].shard);
        struct read_found found;
        int result = read_find(&b->points[point], s, &b->keys[i], &found);
        b->point_of[i] = (uint8_t)point;
        get_entry_found(e, &b->points[point], result, &found);
        b->of_point[point].missed |= result == 0;
        b->of_point[point].again |= result < 0;
    }
}

/* R7 for all shards with one look at the clock.  Returns false if one of them is not covered. */
static bool batch_lease(const struct batch *b)
{
    uint64_t deadline = UINT64_MAX;
    if (!b->space->in_place)
        return false;
    for (uint32_t i = 0; i < b->point_count; i++)
        deadline = min_u64(deadline, read_lease_deadline(&b->points[i], &b->space->read));
    return deadline != 0 && read_lease_holds(&b->space->read, deadline);
}

/* Some lease lapsed: each shard by itself. */
static COLD void batch_judge_each(struct batch *b)
{
    const struct dunlin *d = b->space->handle;
    const uint64_t attached_count = d->attached_count;
    for (uint32_t i = 0; i < b->point_count; i++) {
        struct batch_point *at = &b->of_point[i];
        /* Judging may find another daemon: then the points that follow lead nowhere. */
        at->again = at->again || d->attached_count != attached_count;
        if (at->again)
            continue;
        at->read.mode = b->mode;
        at->read.max_age_ns = b->max_age_ns;
        at->judged = agent_get_judge(b->space, &b->points[i], &at->read);
        at->again = at->judged == -EAGAIN;
    }
}

/* R5 to R7, once per shard. */
static void batch_judge(struct batch *b)
{
    for (uint32_t i = 0; i < b->point_count; i++) {
        struct batch_point *at = &b->of_point[i];
        at->again = at->again || !read_validate(&b->points[i], &b->space->read, at->missed);
        at->read.epoch = get_epoch(&b->points[i]);
        at->read.age_ns = 0;
        at->read.stale = 0;
        at->judged = 0;
    }
    if (UNLIKELY(!batch_lease(b)))
        batch_judge_each(b);
}

static void get_each(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        struct dunlin_get_entry *e = &b->entries[i];
        e->read.mode = b->mode;
        e->read.max_age_ns = b->max_age_ns;
        e->result = dunlin_get(b->space, e->key, e->key_length, e->buffer, e->capacity, &e->read);
    }
}

/* Nothing counts of what was found at some of the points. */
static COLD void batch_again(struct batch *b)
{
    uint32_t shard_of[LIMIT_GET_BATCH] = {0};
    for (size_t i = 0; i < b->count; i++)
        shard_of[b->point_of[i]] = b->keys[i].shard;
    for (uint32_t i = 0; i < b->point_count; i++) {
        const struct agent_whole whole = {.space = b->space,
                                          .entries = b->entries,
                                          .count = b->count,
                                          .point_of = b->point_of,
                                          .point = (uint8_t)i,
                                          .shard = shard_of[i],
                                          .mode = b->mode,
                                          .max_age_ns = b->max_age_ns};
        if (b->of_point[i].again)
            agent_get_whole(&whole);
    }
}

static void batch_answer(struct batch *b)
{
    bool again = false;
    for (size_t i = 0; i < b->count; i++) {
        struct dunlin_get_entry *e = &b->entries[i];
        uint32_t point = b->point_of[i];
        const struct batch_point *at = &b->of_point[point];
        if (UNLIKELY(at->again)) {
            again = true;
            continue;
        }
        b->space->reads_in_place++;
        e->read.epoch = at->read.epoch;
        e->read.age_ns = at->read.age_ns;
        e->read.stale = at->read.stale;
        if (e->read.length > e->capacity)
            e->result = -ENOBUFS;
        else if (at->judged != 0)
            e->result = at->judged;
    }
    if (UNLIKELY(again))
        batch_again(b);
}

static void batch_run(struct batch *b)
{
    b->point_count = 0;
    memset(b->point_at, 0, sizeof b->point_at);
    if (UNLIKELY(!b->space->bound) && agent_space_again(b->space) != 0) {
        get_each(b); /* which says why */
        return;
    }
    batch_find(b);
    batch_judge(b);
    batch_answer(b);
}

int dunlin_get_many(struct dunlin_space *space, struct dunlin_get_entry *entries, size_t count)
{
    if (space == NULL || (entries == NULL && count != 0))
        return -EINVAL;
    for (size_t i = 0; i < count; i++)
        if (get_check_key(entries[i].key, entries[i].key_length) != 0 ||
            (entries[i].buffer == NULL && entries[i].capacity != 0) || entries[i].read.at.lsn != 0)
            return -EINVAL;
    for (size_t done = 0; done < count; done += LIMIT_GET_BATCH) {
        struct batch b; /* not zeroed: 40 KiB, of which a batch uses little */
        b.space = space;
        b.entries = entries + done;
        b.count = min_u64(count - done, LIMIT_GET_BATCH);
        b.mode = entries[0].read.mode;
        b.max_age_ns = entries[0].read.max_age_ns;
        batch_run(&b);
    }
    return 0;
}
