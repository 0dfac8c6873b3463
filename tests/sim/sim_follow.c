/* Agents that follow a shard's log by a cursor (engine/cursor.h), at one node and then another, and the
 * checker of what they get: every committed record of their topic, once and in order, in whole
 * transactions, or to be told that they lagged. */
#include "tests/sim/sim.h"

#include <string.h>

#define BATCH_BYTES (128u << 10)
#define BATCH_SMALL 3000u /* a transaction or two */

/* The first committed record at or behind an LSN. */
static const struct sim_record *record_from(const struct sim_shard *shard, uint64_t lsn)
{
    uint32_t low = 0, high = shard->record_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (shard->records[middle].lsn < lsn)
            low = middle + 1;
        else
            high = middle;
    }
    return &shard->records[low];
}

static bool is_wanted(const struct sim_follower *f, const struct sim_record *r)
{
    uint64_t key = r->key;
    return r->key != SIM_KEYS && topic_match(&f->topic, &key, sizeof key);
}

/* The next record of a batch, marks passed over; NULL: there is none. */
static const uint8_t *batch_next(const struct cursor_batch *b, uint64_t *at)
{
    while (*at < b->length) {
        const uint8_t *bytes = b->bytes + *at;
        struct record h;
        *at += record_step(bytes, &h);
        if (h.kind != RECORD_PAD)
            return bytes;
    }
    return NULL;
}

static void broken(struct sim *s, const struct sim_follower *f, const char *what, uint64_t lsn)
{
    sim_broken(s, "S23", "a cursor of shard %u at node %u, at %llu: %s", f->cursor.shard, f->node,
               (unsigned long long)lsn, what);
}

/* What it was given between two positions. */
static void check_batch(struct sim *s, const struct sim_follower *f, uint64_t from,
                        const struct cursor_batch *b)
{
    const struct sim_shard *shard = &s->shards[f->cursor.shard];
    const struct sim_record *end = shard->records + shard->record_count;
    const struct sim_record *r = record_from(shard, from);
    uint64_t at = 0;
    for (; r != end && r->lsn < f->cursor.lsn; r++) {
        if (!is_wanted(f, r))
            continue;
        const uint8_t *given = batch_next(b, &at);
        struct record h;
        if (given != NULL)
            memcpy(&h, given, sizeof h);
        if (given == NULL || h.lsn != r->lsn || h.crc != r->crc) {
            broken(s, f, "not the next committed record", r->lsn);
            return;
        }
        s->followed++;
    }
    if (batch_next(b, &at) != NULL)
        broken(s, f, "more than what is committed", f->cursor.lsn);
    else if (r != shard->records && !r[-1].ends)
        broken(s, f, "amid a transaction", f->cursor.lsn);
}

/* Told that it lagged: the node does not hold what comes next. */
static void check_lagged(struct sim *s, const struct sim_follower *f)
{
    const struct sim_node *n = &s->nodes[f->node];
    uint64_t available;
    if (log_bytes_at(&n->shards[f->cursor.shard].shard->log, f->cursor.lsn, &available) != NULL)
        broken(s, f, "lagged, and what follows is held", f->cursor.lsn);
}

static alignas(8) uint8_t buffers[SIM_FOLLOWERS][BATCH_BYTES];

static void follow_start(struct sim *s, struct sim_follower *f)
{
    uint8_t key = (uint8_t)sim_below(s, SIM_KEYS);
    uint32_t k = sim_below(s, SIM_SHARDS);
    const struct sim_shard *shard = &s->shards[k];
    *f = (struct sim_follower){.node = f->node, .begun = true};
    f->cursor.shard = k;
    f->cursor.start = sim_chance(s, 50) ? CURSOR_NOW : CURSOR_OLDEST;
    if (shard->record_count != 0 && sim_chance(s, 50)) {
        f->cursor.start = CURSOR_SEEK;
        f->cursor.lsn = shard->records[sim_below(s, shard->record_count)].lsn;
    }
    int error = topic_prefix(&f->topic, &key, sim_chance(s, 30));
    ASSERT(error == 0);
}

static void follow_read(void *argument)
{
    struct sim_follower *f = argument;
    f->result = cursor_read(&f->cursor, f->space, &f->topic, &f->batch);
}

/* One read, of where it stands. */
static void read_begin_at(struct sim *s, uint32_t number, uint32_t node)
{
    struct sim_follower *f = &s->followers[number];
    const struct sim_node *n = &s->nodes[node];
    s->follow_moves += f->node != node;
    f->node = node;
    f->incarnation = n->incarnation;
    f->space = &n->read;
    f->batch = (struct cursor_batch){
        .bytes = buffers[number],
        .capacity = sim_chance(s, 50) ? BATCH_SMALL : BATCH_BYTES,
    };
    f->was_ready = f->cursor.start == CURSOR_READY;
    f->from = f->cursor.lsn;
    sim_call_begin(&s->follow_calls[number], follow_read, f);
}

static void read_end(struct sim *s, struct sim_follower *f, bool split)
{
    if (f->result == 1 && f->was_ready)
        check_batch(s, f, f->from, &f->batch);
    else if (f->result == 1 && f->cursor.lsn > f->from && f->from != 0 &&
             f->cursor.start == CURSOR_READY)
        broken(s, f, "beyond what was looked for", f->cursor.lsn);
    else if (f->result == -EBADMSG)
        broken(s, f, "no log", f->cursor.lsn);
    if (f->result != -ENODATA)
        return;
    s->lagged++;
    if (!split)
        check_lagged(s, f);
    (void)cursor_resume(&f->cursor, f->space);
}

void sim_follow_step(struct sim *s, uint32_t node)
{
    uint32_t number = sim_below(s, SIM_FOLLOWERS);
    struct sim_follower *f = &s->followers[number];
    struct sim_call *call = &s->follow_calls[number];
    node = call->is_amid ? f->node : node;
    const struct sim_node *n = &s->nodes[node];
    if (call->is_amid && (!n->up || f->incarnation != n->incarnation)) {
        sim_call_drop(call); /* that memory is gone, and where it stood is not known */
        f->begun = false;
    }
    if (!n->up || (call->is_amid && s->time < call->wakes))
        return;
    sim_check_shown(s, node);
    bool is_lossy = s->shards[f->cursor.shard].epoch_lossy != 0;
    if (!call->is_amid) {
        if (!f->begun || is_lossy || sim_chance(s, 2))
            follow_start(s, f);
        /* Why not: what was lost there was given to some, and is not what others find. */
        if (s->shards[f->cursor.shard].epoch_lossy != 0)
            return;
        read_begin_at(s, number, node);
    }
    if (!sim_call_go_on(s, call))
        return;
    s->pages_split += call->split;
    s->pages_again += call->split && f->result == -EAGAIN;
    if (s->shards[f->cursor.shard].epoch_lossy == 0)
        read_end(s, f, call->split);
}
