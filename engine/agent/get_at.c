/* get_at - a key as it was at a version: in place at any replica, under no lease, since what is committed
 * never changes. */
#include "engine/agent/agent.h"

#define AT_AGAIN 1 /* it changed meanwhile */
#define AT_WAIT 2  /* the version is not committed here yet */
#define AT_MAP 3   /* it lies in memory that is not mapped yet */

static void at_answer(struct dunlin_space *space, const struct read_point *p,
                      const struct read_found *found, struct dunlin_read *read)
{
    read->length = 0;
    read->version = (struct dunlin_version){0};
    if (found->lsn != 0)
        read->version = (struct dunlin_version){.log = p->board->log, .lsn = found->lsn};
    read->epoch = get_epoch(p);
    read->age_ns = 0;
    read->stale = 0;
    space->reads_in_place++;
}

/* One attempt.  Returns as dunlin_get, or AT_*. */
static int at_once(struct dunlin_space *space, const struct read_key *k,
                   const struct get_target *target, struct dunlin_read *read)
{
    const struct read_space *s = &space->read;
    const struct read_found none = {.lsn = 0};
    struct read_point p;
    struct read_found found = none;
    read_begin(&p, s, k->shard);
    if (p.board->log != read->at.log) {
        at_answer(space, &p, &none, read);
        return -ENODATA;
    }
    if (read->at.lsn >= p.lsn)
        return AT_WAIT;
    int result = read_find_at(&p, s, k, read->at.lsn, &found);
    if (result == -EFAULT)
        return AT_MAP;
    if (result == 1)
        read_copy(&found, target->buffer, target->capacity);
    if (result == -EAGAIN || !read_validate(&p, s, false)) {
        space->reads_retried++;
        return AT_AGAIN;
    }
    if (result == 0) {
        at_answer(space, &p, &none, read);
        return found.lsn != 0 || read_missed_at(&p, read->at.lsn) ? -ENOENT : -ENODATA;
    }
    at_answer(space, &p, &found, read);
    if (result != 1)
        return result;
    read->length = found.value_length;
    return read->length > target->capacity ? -ENOBUFS : 0;
}

int agent_get_at(struct dunlin_space *space, const struct get_key *key,
                 const struct get_target *target, struct dunlin_read *read)
{
    struct dunlin *d = space->handle;
    const struct waiter w = agent_wait_begin(d, d->options.timeout_ns);
    for (unsigned i = 0;; i++) {
        struct read_key k;
        int result = space->bound ? AT_AGAIN : agent_space_again(space);
        if (result < 0)
            return result;
        if (space->bound) {
            read_key_init(&k, &space->read, key->bytes, key->length);
            result = at_once(space, &k, target, read);
        }
        if (result <= 0)
            return result;
        if (result == AT_MAP && agent_space_map_more(space) != 0 && !agent_attach_look(d))
            return -ENOTCONN;
        if (i < LIMIT_READ_RETRIES && result != AT_WAIT)
            cpu_relax();
        else if (!agent_wait_pause(d, &w, WAIT_ANY_LCORE))
            return -ENOTCONN;
    }
}
