#include "engine/agent/agent.h"

/* ---- judging a read that no lease covers ---- */

static COLD int judge_age(struct dunlin_space *space, const struct read_point *p,
                          struct dunlin_read *read)
{
    struct dunlin *d = space->handle;
    const struct attachment *a = d->now;
    if (agent_space_gone(space))
        return -ENOENT;
    read->age_ns = UINT64_MAX; /* another clock than the daemon's tells nothing */
    if (!a->clock_good)
        agent_attach_clock(d, d->now);
    if (a->clock_good)
        read->age_ns =
            read_age_ns(p, &space->read, clock_ticks((enum clock_kind)a->node->clock_kind));
    read->stale = read->age_ns > a->node->heartbeat_ns;
    if (read->stale)
        (void)agent_attach_look(d); /* this answer stands; the next may come from a new daemon */
    return read->max_age_ns != 0 && read->age_ns > read->max_age_ns ? -ESTALE : 0;
}

int agent_get_judge(struct dunlin_space *space, const struct read_point *p,
                    struct dunlin_read *read)
{
    read->age_ns = 0;
    read->stale = 0;
    if (LIKELY(space->in_place) && LIKELY(read_lease(p, &space->read)))
        return 0;
    return read->mode == DUNLIN_LOCAL ? judge_age(space, p, read) : -EAGAIN;
}

uint64_t agent_get_floor(const struct dunlin_space *space, const struct read_point *p)
{
    /* A lease holds all that is committed: where it covers this machine, what was committed before is in
     * what was read, or among what that met above its commit LSN. */
    struct read_point above = *p;
    above.pending = 0;
    return p->pending != 0 && space->in_place && read_lease(&above, &space->read) ? p->pending : 0;
}

int agent_get_unleased(struct dunlin_space *space, uint32_t shard, uint64_t *floor)
{
    struct dunlin *d = space->handle;
    uint64_t attached_count = d->attached_count;
    bool in_place = space->in_place;
    if (agent_space_gone(space))
        return 0;
    if (!agent_attach_look(d))
        return -ENOTCONN;
    agent_attach_clock(d, d->now);
    if (d->attached_count != attached_count || space->in_place != in_place)
        return 0;
    return agent_ask_position(space, shard, floor);
}

/* ---- one key ---- */

#define GET_AGAIN 1 /* it changed meanwhile */
#define GET_MAP 2   /* it lies in memory that is not mapped yet */
#define GET_LEASE 3 /* linearizable, and no lease covers it */

/* One attempt in place.  Returns as dunlin_get, or GET_*. */
static ALWAYS_INLINE int get_in_place(struct dunlin_space *space, const struct read_key *k,
                                      const struct get_target *target, struct dunlin_read *read)
{
    const struct read_space *s = &space->read;
    struct read_point p;
    struct read_found found;
    read_begin(&p, s, k->shard);
    int result = read_find(&p, s, k, &found);
    if (UNLIKELY(result < 0))
        return result == -EFAULT ? GET_MAP : GET_AGAIN;
    if (LIKELY(result == 1))
        read_copy(&found, target->buffer, target->capacity);
    if (UNLIKELY(!read_validate(&p, s, result == 0))) {
        space->reads_retried++;
        return GET_AGAIN;
    }
    read->length = result == 1 ? found.value_length : 0;
    read->version = result == 1 ? (struct dunlin_version){.log = p.board->log, .lsn = found.lsn}
                                : (struct dunlin_version){0};
    read->epoch = get_epoch(&p);
    /* From here on p may lead to unmapped memory: judging may find another daemon. */
    int judged = agent_get_judge(space, &p, read);
    if (UNLIKELY(judged == -EAGAIN))
        return GET_LEASE;
    space->reads_in_place++;
    if (UNLIKELY(read->length > target->capacity))
        return -ENOBUFS;
    return UNLIKELY(judged != 0 || result == 1) ? judged : -ENOENT;
}

/* No lease: the clock is unproven, the daemon idles, is slow, or gone.  Returns as dunlin_get, or
 * GET_AGAIN: there is another daemon now, or a better clock. */
static int get_unleased(struct dunlin_space *space, const struct read_key *k,
                        const struct get_target *target, struct dunlin_read *read)
{
    struct dunlin *d = space->handle;
    uint64_t attached_count = d->attached_count;
    if (agent_space_gone(space))
        return GET_AGAIN;
    if (!agent_attach_look(d))
        return -ENOTCONN;
    agent_attach_clock(d, d->now);
    if (d->attached_count != attached_count)
        return GET_AGAIN;
    return agent_ask_get(space, k, target, read);
}

static COLD int get_slowly(struct dunlin_space *space, const void *key, size_t key_length,
                           const struct get_target *target, struct dunlin_read *read)
{
    struct read_key k;
    for (unsigned i = 0; i < LIMIT_READ_RETRIES; i++) {
        int result = space->bound ? 0 : agent_space_again(space);
        if (result != 0)
            return result;
        read_key_init(&k, &space->read, key, key_length);
        result = get_in_place(space, &k, target, read);
        if (result == GET_MAP && agent_space_map_more(space) != 0)
            break;
        if (result == GET_LEASE)
            result = get_unleased(space, &k, target, read);
        if (result <= 0)
            return result;
        cpu_relax();
    }
    if (!agent_attach_look(space->handle) || !space->bound)
        return -ENOTCONN;
    read_key_init(&k, &space->read, key, key_length);
    return agent_ask_get(space, &k, target, read);
}

/* NOLINTNEXTLINE(readability-function-size): six parameters are the contract of dunlin.h */
int dunlin_get(struct dunlin_space *space, const void *key, size_t key_length, void *buffer,
               size_t capacity, struct dunlin_read *read)
{
    const struct get_target target = {.buffer = buffer, .capacity = capacity};
    struct dunlin_read unasked;
    int result = get_check_key(key, key_length);
    if (UNLIKELY(result != 0 || space == NULL || (buffer == NULL && capacity != 0)))
        return result != 0 ? result : -EINVAL;
    if (read == NULL) {
        unasked.mode = DUNLIN_LINEARIZABLE;
        unasked.max_age_ns = 0;
        unasked.at.lsn = 0;
        read = &unasked;
    }
    if (UNLIKELY(read->at.lsn != 0)) {
        const struct get_key at_key = {.bytes = key, .length = key_length};
        return agent_get_at(space, &at_key, &target, read);
    }
    if (LIKELY(space->bound)) {
        struct read_key k; /* not zeroed: read_key_init writes what is used */
        read_key_init(&k, &space->read, key, key_length);
        result = get_in_place(space, &k, &target, read);
        if (LIKELY(result <= 0))
            return result;
    }
    return get_slowly(space, key, key_length, &target, read);
}
