/* What becomes of an asynchronous write that finds no room: dunlin_policy of dunlin.h.
 *
 * Writes that wait to be conflated stand in a table of fixed size, one for each key: found by the key's hash,
 * and sent in the order in which their keys came, in lanes, so that a shard whose window is full holds up
 * only what shares its lane.  A write takes its sequence when it leaves the table (DESIGN section 3: drop
 * and conflate happen before a sequence is given), and then needs an operation like every other. */
#include "engine/agent/agent.h"

#include "engine/hash.h"

#include <stdlib.h>
#include <string.h>

#define POLICY_LANES 64u
#define POLICY_CAPACITY_DEFAULT 1024u
#define POLICY_VALUE_DEFAULT 256u

/* One write that waits, or that was given up and is not collected yet. */
struct agent_waiting {
    struct agent_waiting *next;  /* of its lane, of the free ones, or of those given up */
    struct agent_waiting *chain; /* of its bucket */
    struct dunlin_space *space;
    uint64_t hash, context, ttl_ns;
    uint32_t value_length, conflated;
    uint16_t key_length;
    enum dunlin_operation operation;
    int result;      /* given up */
    uint8_t bytes[]; /* LIMIT_KEY_BYTES of key, then the value */
};

struct lane_of_waiting {
    struct agent_waiting *first, *last;
};

struct sample {
    uint64_t hash, kept_ns;
};

struct agent_policy {
    struct dunlin_policy asked; /* with its defaults */
    uint32_t mask;              /* of buckets and samples: their number less 1 */
    uint32_t used;              /* entries that wait or were given up */
    uint32_t waiting;
    uint32_t skipped; /* SAMPLE by every: since the last that was kept; every at first */
    uint64_t lanes_used;
    struct lane_of_waiting lanes[POLICY_LANES];
    struct agent_waiting *free_first;
    struct agent_waiting **buckets; /* CONFLATE */
    uint8_t *entries;
    struct sample *samples; /* SAMPLE by interval */
};

/* ---- set-up ---- */

static bool is_valid(const struct dunlin_policy *p)
{
    if (p->capacity > LIMIT_POLICY_KEYS || p->value_max > LIMIT_VALUE_BYTES)
        return false;
    switch (p->kind) {
    case DUNLIN_REFUSE:
    case DUNLIN_BLOCK:
    case DUNLIN_DROP:
    case DUNLIN_CONFLATE:
        return p->every == 0 && p->interval_ns == 0;
    case DUNLIN_SAMPLE:
        return (p->every == 0) != (p->interval_ns == 0);
    default:
        return false;
    }
}

static int entries_make(struct agent_policy *p)
{
    size_t bytes =
        align_up(sizeof(struct agent_waiting) + LIMIT_KEY_BYTES + p->asked.value_max, CACHE_LINE);
    p->buckets = calloc((size_t)p->mask + 1, sizeof(void *));
    p->entries = calloc(p->asked.capacity, bytes);
    if (p->buckets == NULL || p->entries == NULL)
        return -ENOMEM;
    for (uint32_t i = p->asked.capacity; i-- > 0;) {
        struct agent_waiting *w = (void *)(p->entries + i * bytes);
        w->next = p->free_first;
        p->free_first = w;
    }
    return 0;
}

static int tables_make(struct agent_policy *p)
{
    while (p->mask < 2 * p->asked.capacity)
        p->mask = p->mask * 2 + 1;
    if (p->asked.kind == DUNLIN_CONFLATE)
        return entries_make(p);
    if (p->asked.interval_ns == 0)
        return 0;
    p->samples = calloc((size_t)p->mask + 1, sizeof *p->samples);
    return p->samples != NULL ? 0 : -ENOMEM;
}

static void policy_free(struct agent_policy *p)
{
    if (p == NULL)
        return;
    free(p->buckets);
    free(p->entries);
    free(p->samples);
    free(p);
}

void agent_policy_free(struct dunlin_space *space)
{
    policy_free(space->policy);
    space->policy = NULL;
}

static int policy_make(const struct dunlin_policy *asked, struct agent_policy **policy)
{
    struct agent_policy *p = calloc(1, sizeof *p);
    if (p == NULL)
        return -ENOMEM;
    p->asked = *asked;
    if (p->asked.capacity == 0)
        p->asked.capacity = POLICY_CAPACITY_DEFAULT;
    if (p->asked.value_max == 0)
        p->asked.value_max = POLICY_VALUE_DEFAULT;
    p->skipped = p->asked.every;
    int error = tables_make(p);
    if (error == 0)
        *policy = p;
    else
        policy_free(p);
    return error;
}

int dunlin_space_policy(struct dunlin_space *space, const struct dunlin_policy *policy)
{
    struct agent_policy *made = NULL;
    if (space == NULL || policy == NULL || !is_valid(policy))
        return -EINVAL;
    if (space->policy != NULL && space->policy->used != 0)
        return -EAGAIN;
    int error = policy->kind != DUNLIN_REFUSE ? policy_make(policy, &made) : 0;
    if (error != 0)
        return error;
    agent_policy_free(space);
    space->policy = made;
    return 0;
}

/* ---- the table ---- */

static struct agent_waiting *find(const struct agent_policy *p, const void *key, size_t key_length)
{
    uint64_t hash = hash_key(key, key_length);
    struct agent_waiting *w = p->buckets[hash & p->mask];
    while (w != NULL && (w->hash != hash || w->key_length != key_length ||
                         memcmp(w->bytes, key, key_length) != 0))
        w = w->chain;
    return w;
}

static void fill(struct agent_waiting *w, const struct dunlin_write *write)
{
    w->operation = write->operation;
    w->context = write->context;
    w->ttl_ns = write->ttl_ns;
    w->value_length = (uint32_t)write->value_length;
    if (write->value_length != 0)
        memcpy(w->bytes + LIMIT_KEY_BYTES, write->value, write->value_length);
}

/* Any number will do that is the same for all keys of a shard. */
static uint32_t lane_of(const struct dunlin_space *space, const struct agent_waiting *w)
{
    return hash_shard(w->bytes, w->key_length, w->hash, space->read.partition_prefix,
                      space->read.geometry.shard_count) %
           POLICY_LANES;
}

static int wait_begin(struct dunlin_space *space, const struct dunlin_write *write)
{
    struct agent_policy *p = space->policy;
    struct agent_waiting *w = p->free_first;
    if (w == NULL)
        return -EAGAIN;
    p->free_first = w->next;
    w->next = NULL;
    w->space = space;
    w->hash = hash_key(write->key, write->key_length);
    w->key_length = (uint16_t)write->key_length;
    w->conflated = 0;
    memcpy(w->bytes, write->key, write->key_length);
    fill(w, write);
    w->chain = p->buckets[w->hash & p->mask];
    p->buckets[w->hash & p->mask] = w;
    uint32_t lane = lane_of(space, w);
    if (p->lanes[lane].first == NULL)
        p->lanes[lane].first = w;
    else
        p->lanes[lane].last->next = w;
    p->lanes[lane].last = w;
    p->lanes_used |= UINT64_C(1) << lane;
    p->used++;
    p->waiting++;
    space->handle->waiting++;
    space->handle->in_flight++;
    return 0;
}

/* The first of a lane leaves the table; it is still used. */
static struct agent_waiting *wait_end(struct agent_policy *p, uint32_t lane)
{
    struct agent_waiting *w = p->lanes[lane].first;
    struct agent_waiting **at = &p->buckets[w->hash & p->mask];
    while (*at != w)
        at = &(*at)->chain;
    *at = w->chain;
    p->lanes[lane].first = w->next;
    if (w->next == NULL)
        p->lanes_used &= ~(UINT64_C(1) << lane);
    p->waiting--;
    w->space->handle->waiting--;
    return w;
}

static void entry_free(struct agent_policy *p, struct agent_waiting *w)
{
    w->next = p->free_first;
    p->free_first = w;
    p->used--;
}

/* It will never be sent: for dunlin_poll. */
static void give_up(struct dunlin *d, struct agent_waiting *w, int result)
{
    w->result = result;
    w->next = NULL;
    if (d->given_up_first == NULL)
        d->given_up_first = w;
    else
        d->given_up_last->next = w;
    d->given_up_last = w;
}

bool agent_policy_collect(struct dunlin *d, struct dunlin_completion *completion)
{
    struct agent_waiting *w = d->given_up_first;
    if (w == NULL)
        return false;
    *completion = (struct dunlin_completion){
        .context = w->context, .result = w->result, .space = w->space, .conflated = w->conflated};
    d->given_up_first = w->next;
    entry_free(w->space->policy, w);
    return true;
}

void agent_policy_give_up(struct dunlin_space *space)
{
    struct agent_policy *p = space->policy;
    while (p != NULL && p->lanes_used != 0)
        give_up(space->handle, wait_end(p, (uint32_t)__builtin_ctzll(p->lanes_used)), -ENOTCONN);
}

/* ---- sending what waits ---- */

static int enter(struct dunlin_space *space, const struct agent_waiting *w)
{
    const struct dunlin_write write = {.operation = w->operation,
                                       .key = w->bytes,
                                       .key_length = w->key_length,
                                       .value = w->bytes + LIMIT_KEY_BYTES,
                                       .value_length = w->value_length,
                                       .ttl_ns = w->ttl_ns};
    const struct agent_wanted wanted = {
        .write = &write, .context = w->context, .conflated = w->conflated};
    return agent_write_enter(space, &wanted);
}

static void lane_pump(struct dunlin_space *space, uint32_t lane)
{
    struct agent_policy *p = space->policy;
    struct dunlin *d = space->handle;
    while ((p->lanes_used >> lane & 1) != 0) {
        int error = enter(space, p->lanes[lane].first);
        if (error == -EAGAIN || error == -ENOTCONN)
            return; /* Why not first again: the table may have been given up meanwhile. */
        struct agent_waiting *w = wait_end(p, lane);
        if (error == 0) {
            d->in_flight--; /* its operation counts now */
            entry_free(p, w);
        } else {
            give_up(d, w, error == -ENOENT ? -ENOTCONN : error);
        }
    }
}

void agent_policy_pump(struct dunlin *d)
{
    for (uint32_t i = 0; i < d->space_count && d->waiting != 0; i++) {
        const struct agent_policy *p = d->spaces[i]->policy;
        for (uint64_t lanes = p != NULL ? p->lanes_used : 0; lanes != 0; lanes &= lanes - 1)
            lane_pump(d->spaces[i], (uint32_t)__builtin_ctzll(lanes));
    }
}

bool agent_policy_holds(const struct dunlin_space *space, const struct agent_wanted *w)
{
    const struct agent_policy *p = space->policy;
    if (p == NULL || p->waiting == 0)
        return false;
    if (w->write != NULL)
        return find(p, w->write->key, w->write->key_length) != NULL;
    /* Why all: its keys are many, and what waits goes soon. */
    return w->lease == NULL || find(p, w->lease->key, w->lease->key_length) != NULL;
}

/* ---- a write is submitted ---- */

/* Why a second time: answers that came meanwhile make room, and who submits need not poll for that. */
static int enter_now(struct dunlin_space *space, const struct agent_wanted *wanted)
{
    int error = agent_write_enter(space, wanted);
    if (error != -EAGAIN)
        return error;
    agent_complete_all(space->handle);
    return agent_policy_holds(space, wanted) ? -EAGAIN : agent_write_enter(space, wanted);
}

/* Whether a later write of the key makes it needless. */
static bool is_replaceable(const struct agent_policy *p, const struct dunlin_write *w)
{
    return w != NULL && w->operation != DUNLIN_INCREMENT && w->compare == 0 &&
           w->value_length <= p->asked.value_max;
}

static int conflate(struct dunlin_space *space, const struct agent_wanted *wanted)
{
    struct agent_policy *p = space->policy;
    const struct dunlin_write *write = wanted->write;
    if (p->waiting != 0)
        agent_complete_all(space->handle);
    if (!agent_policy_holds(space, wanted)) {
        int error = enter_now(space, wanted);
        return error == -EAGAIN && is_replaceable(p, write) ? wait_begin(space, write) : error;
    }
    if (!is_replaceable(p, write))
        return -EAGAIN;
    struct agent_waiting *w = find(p, write->key, write->key_length);
    fill(w, write);
    w->conflated++;
    space->writes_conflated++;
    return 0;
}

static struct sample *sample_of(const struct agent_policy *p, uint64_t hash)
{
    return &p->samples[hash & p->mask];
}

/* Why one entry for several keys is good enough: a key that another one has displaced is kept once too often,
 * never too seldom. */
static bool is_chosen(const struct agent_policy *p, uint64_t hash, uint64_t now_ns)
{
    if (p->samples == NULL)
        return p->skipped >= p->asked.every - 1;
    const struct sample *s = sample_of(p, hash);
    return s->hash != hash || s->kept_ns == 0 || now_ns - s->kept_ns >= p->asked.interval_ns;
}

static int drop(struct dunlin_space *space, int error)
{
    if (error != -EAGAIN)
        return error;
    space->writes_dropped++;
    return -EBUSY;
}

static int sample(struct dunlin_space *space, const struct agent_wanted *wanted)
{
    struct agent_policy *p = space->policy;
    const struct dunlin_write *w = wanted->write;
    if (w == NULL)
        return drop(space, enter_now(space, wanted));
    uint64_t hash = p->samples != NULL ? hash_key(w->key, w->key_length) : 0;
    uint64_t now_ns = p->samples != NULL ? clock_boottime_ns() : 0;
    if (!is_chosen(p, hash, now_ns)) {
        p->skipped++;
        space->writes_sampled++;
        return -EBUSY;
    }
    /* Why the state moves only with a write that went: else the next one takes its place. */
    int error = enter_now(space, wanted);
    if (error == 0 && p->samples != NULL)
        *sample_of(p, hash) = (struct sample){.hash = hash, .kept_ns = now_ns};
    if (error == 0)
        p->skipped = 0;
    return drop(space, error);
}

static int block(struct dunlin_space *space, const struct agent_wanted *wanted)
{
    int error = agent_write_enter(space, wanted);
    if (error != -EAGAIN && error != -ENOTCONN)
        return error;
    space->writes_blocked++;
    return agent_write_patiently(space, wanted);
}

int agent_policy_submit(struct dunlin_space *space, const struct agent_wanted *wanted)
{
    switch (space->policy->asked.kind) {
    case DUNLIN_BLOCK:
        return block(space, wanted);
    case DUNLIN_DROP:
        return drop(space, enter_now(space, wanted));
    case DUNLIN_CONFLATE:
        return conflate(space, wanted);
    default:
        return sample(space, wanted);
    }
}
