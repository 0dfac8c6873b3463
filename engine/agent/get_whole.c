/* get_whole - keys of one shard at one commit LSN, where a batch (get_many.c) met them changing or no lease
 * covers this machine.  Why not one by one: that could show half of a transaction. */
#include "engine/agent/agent.h"

#define WHOLE_AGAIN 1 /* they changed meanwhile */
#define WHOLE_MAP 2   /* one lies in memory that is not mapped yet */
#define WHOLE_WAIT 3  /* what they must show is not committed here yet */
#define WHOLE_ASK 4   /* linearizable, and no lease covers them */
#define WHOLE_EACH 5  /* only one by one */

struct whole {
    const struct agent_whole *of;
    struct dunlin_read read; /* mode and age of all */
    /* LINEARIZABLE, not 0: what is read at or above it is new enough */
    uint64_t lsn_floor;
    uint64_t epoch;       /* it holds in: a pending one may be cut; 0: it is committed */
    uint64_t epoch_begun; /* before this attempt's loads */
};

/* Why before the loads: what they meet above the commit LSN is of this epoch, or of one that the next attempt
 * begins in. */
static void epoch_look(struct whole *w)
{
    const struct layout_board *board = &w->of->space->read.boards[w->of->shard];
    /* acquire: before what is read */
    w->epoch_begun =
        atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)&board->epoch, memory_order_acquire);
}

/* R1 to R6 of all. */
static int find_all(const struct agent_whole *w, struct read_point *p)
{
    const struct read_space *s = &w->space->read;
    bool missed = false;
    read_begin(p, s, w->shard);
    for (size_t i = 0; i < w->count; i++) {
        struct dunlin_get_entry *e = &w->entries[i];
        struct read_key k;
        struct read_found found;
        if (w->point_of[i] != w->point)
            continue;
        read_key_init(&k, s, e->key, e->key_length);
        int result = k.shard == w->shard ? read_find(p, s, &k, &found) : -EXDEV;
        if (result < 0)
            return result == -EFAULT ? WHOLE_MAP : result == -EXDEV ? WHOLE_EACH : WHOLE_AGAIN;
        get_entry_found(e, p, result, &found);
        missed |= result == 0;
    }
    return read_validate(p, s, missed) ? 0 : WHOLE_AGAIN;
}

/* R7, and what follows where it does not hold.  Returns 0, WHOLE_*, or -ESTALE. */
static int judge(struct whole *w, const struct read_point *p)
{
    struct dunlin_space *space = w->of->space;
    if (w->read.mode == DUNLIN_LINEARIZABLE && w->lsn_floor != 0 &&
        (w->epoch == 0 || w->epoch == w->epoch_begun)) {
        w->read.age_ns = 0;
        w->read.stale = 0;
        return p->lsn >= w->lsn_floor ? 0 : WHOLE_WAIT;
    }
    int judged = agent_get_judge(space, p, &w->read);
    if (judged != -EAGAIN)
        return judged;
    w->lsn_floor = agent_get_floor(space, p);
    w->epoch = w->epoch_begun;
    return w->lsn_floor != 0 ? WHOLE_WAIT : WHOLE_ASK;
}

static int whole_once(struct whole *w)
{
    struct dunlin_space *space = w->of->space;
    struct read_point p;
    if (!space->bound) {
        int error = agent_space_again(space);
        return error != 0 ? error : WHOLE_AGAIN;
    }
    if (w->of->shard >= space->read.geometry.shard_count)
        return WHOLE_EACH;
    epoch_look(w);
    int result = find_all(w->of, &p);
    space->reads_retried += result == WHOLE_AGAIN;
    if (result != 0)
        return result;
    w->read.epoch = get_epoch(&p);
    return judge(w, &p);
}

/* The leader is asked, or there is a better clock or another daemon now. */
static int unleased(struct whole *w)
{
    int error = agent_get_unleased(w->of->space, w->of->shard, &w->lsn_floor);
    w->epoch = 0;
    return error == 0 ? WHOLE_AGAIN : error == -EOPNOTSUPP ? WHOLE_EACH : error;
}

/* What to do about an attempt that is none.  Returns WHOLE_AGAIN, WHOLE_EACH or an error. */
static int help(struct whole *w, int what, unsigned attempts, const struct waiter *until)
{
    struct dunlin_space *space = w->of->space;
    struct dunlin *d = space->handle;
    switch (what) {
    case WHOLE_MAP:
        return agent_space_map_more(space) == 0 || agent_attach_look(d) ? WHOLE_AGAIN : -ENOTCONN;
    case WHOLE_ASK:
        return unleased(w);
    case WHOLE_EACH:
        return WHOLE_EACH;
    default:
        break;
    }
    if (what == WHOLE_AGAIN && attempts < LIMIT_READ_RETRIES) {
        cpu_relax();
        return WHOLE_AGAIN;
    }
    /* Why not for long: there may be nothing to show here, and the leader has it. */
    if (w->read.mode == DUNLIN_LOCAL)
        return WHOLE_EACH;
    return agent_wait_pause(d, until, WAIT_ANY_LCORE) ? WHOLE_AGAIN : -ENOTCONN;
}

static void answer(const struct whole *w, struct dunlin_get_entry *e, int result)
{
    if (result == WHOLE_EACH) {
        e->read.mode = w->read.mode;
        e->read.max_age_ns = w->read.max_age_ns;
        e->result =
            dunlin_get(w->of->space, e->key, e->key_length, e->buffer, e->capacity, &e->read);
        return;
    }
    e->read.epoch = w->read.epoch;
    e->read.age_ns = w->read.age_ns;
    e->read.stale = w->read.stale;
    if (result != 0 && result != -ESTALE) {
        e->read.length = 0;
        e->read.version = (struct dunlin_version){0};
        e->result = result;
        return;
    }
    w->of->space->reads_in_place++;
    if (e->read.length > e->capacity)
        e->result = -ENOBUFS;
    else if (result != 0)
        e->result = result;
}

static bool is_one(const struct agent_whole *of)
{
    uint32_t entries = 0;
    for (size_t i = 0; i < of->count; i++)
        entries += of->point_of[i] == of->point;
    return entries == 1;
}

void agent_get_whole(const struct agent_whole *of)
{
    struct dunlin *d = of->space->handle;
    const struct waiter until = agent_wait_begin(d, d->options.timeout_ns);
    struct whole w = {.of = of, .read = {.mode = of->mode, .max_age_ns = of->max_age_ns}};
    int result = is_one(of) ? WHOLE_EACH : WHOLE_AGAIN;
    for (unsigned i = 1; result == WHOLE_AGAIN; i++) {
        result = whole_once(&w);
        if (result > 0)
            result = help(&w, result, i, &until);
    }
    for (size_t i = 0; i < of->count; i++)
        if (of->point_of[i] == of->point)
            answer(&w, &of->entries[i], result);
}
