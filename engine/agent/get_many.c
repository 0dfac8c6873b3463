#include "engine/agent/agent.h"

#include <string.h>

/* One read point per shard of a batch: so its keys are seen at one commit LSN. */
struct batch {
    struct dunlin_space *space;
    struct dunlin_get_entry *entries;
    size_t count;
    uint32_t point_count;
    uint8_t point_of[LIMIT_GET_BATCH];        /* by entry */
    uint8_t point_at[LIMIT_GET_BATCH];        /* by low bits of the shard: point + 1 */
    bool missed[LIMIT_GET_BATCH];             /* by point: a key of it was not there */
    bool again[LIMIT_GET_BATCH];              /* by point: nothing of it counts */
    int judged[LIMIT_GET_BATCH];              /* by point */
    struct dunlin_read read[LIMIT_GET_BATCH]; /* by point: age */
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
    b->missed[point] = b->again[point] = false;
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
        e->result = result == 1 ? 0 : -ENOENT;
        e->read.length = 0;
        e->read.version = (struct dunlin_version){0};
        if (LIKELY(result == 1)) {
            read_copy(&found, e->buffer, e->capacity);
            e->read.length = found.value_length;
            e->read.version.log = b->points[point].board->log;
            e->read.version.lsn = found.lsn;
        }
        b->missed[point] = b->missed[point] || result == 0;
        b->again[point] = b->again[point] || result < 0;
    }
}

/* R5 to R7, once per shard. */
static void batch_judge(struct batch *b)
{
    const struct dunlin_read *asked = &b->entries[0].read;
    for (uint32_t i = 0; i < b->point_count; i++) {
        struct read_point *p = &b->points[i];
        b->read[i].mode = asked->mode;
        b->read[i].max_age_ns = asked->max_age_ns;
        b->again[i] = b->again[i] || !read_validate(p, &b->space->read, b->missed[i]);
        b->read[i].epoch = get_epoch(p);
    }
    const uint64_t attached_count = b->space->handle->attached_count;
    for (uint32_t i = 0; i < b->point_count; i++) {
        b->judged[i] = b->again[i] ? -EAGAIN : get_judge(b->space, &b->points[i], &b->read[i]);
        b->again[i] = b->judged[i] == -EAGAIN;
        if (UNLIKELY(b->space->handle->attached_count != attached_count)) {
            /* Judging found another daemon: the points that follow lead nowhere. */
            while (++i < b->point_count)
                b->again[i] = true;
        }
    }
}

static void batch_answer(struct batch *b)
{
    const struct dunlin_read asked = b->entries[0].read;
    for (size_t i = 0; i < b->count; i++) {
        struct dunlin_get_entry *e = &b->entries[i];
        uint32_t point = b->point_of[i];
        if (UNLIKELY(b->again[point])) {
            e->read.mode = asked.mode;
            e->read.max_age_ns = asked.max_age_ns;
            e->result =
                dunlin_get(b->space, e->key, e->key_length, e->buffer, e->capacity, &e->read);
            continue;
        }
        b->space->reads_in_place++;
        e->read.epoch = b->read[point].epoch;
        e->read.age_ns = b->read[point].age_ns;
        e->read.stale = b->read[point].stale;
        if (e->read.length > e->capacity)
            e->result = -ENOBUFS;
        else if (b->judged[point] != 0)
            e->result = b->judged[point];
    }
}

int dunlin_get_many(struct dunlin_space *space, struct dunlin_get_entry *entries, size_t count)
{
    if (space == NULL || (entries == NULL && count != 0))
        return -EINVAL;
    for (size_t i = 0; i < count; i++)
        if (get_check_key(entries[i].key, entries[i].key_length) != 0 ||
            (entries[i].buffer == NULL && entries[i].capacity != 0))
            return -EINVAL;
    for (size_t done = 0; done < count;) {
        struct batch b; /* not zeroed: 40 KiB, of which a batch uses little */
        b.space = space;
        b.entries = entries + done;
        b.count = min_u64(count - done, LIMIT_GET_BATCH);
        b.point_count = 0;
        memset(b.point_at, 0, sizeof b.point_at);
        done += b.count;
        if (done != b.count)
            b.entries[0].read.mode = entries[0].read.mode;
        if (LIKELY(space->bound)) {
            batch_find(&b);
            batch_judge(&b);
        } else {
            memset(b.point_of, 0, sizeof b.point_of);
            b.again[0] = true;
        }
        batch_answer(&b);
    }
    return 0;
}
