#include "dataplane/pair.h"

#include "dataplane/lease.h"
#include "engine/plant.h"

#include <string.h>

size_t pair_bytes(uint32_t shards)
{
    return (size_t)shards * (PAIR_CHANGES_PER_SHARD + 1) * sizeof(struct pair_change);
}

void pair_init(struct pair *p, uint32_t node, uint32_t shards, void *memory)
{
    *p = (struct pair){
        .peer.node = node,
        .journal = memory,
        .capacity = shards * PAIR_CHANGES_PER_SHARD,
        .excluded_capacity = shards,
    };
    p->excluded = p->journal + p->capacity;
    p->cell.generation = 1;
    pair_restart(p);
}

void pair_begin(struct pair *p, uint32_t node)
{
    ASSERT(p->peer.node == PAIR_NOBODY && node != PAIR_NOBODY);
    p->peer.node = node;
    pair_restart(p);
}

void pair_end(struct pair *p)
{
    ASSERT(p->listed == 0 && p->reader_count == 0 && p->excluded_count == 0);
    *p = (struct pair){
        .peer.node = PAIR_NOBODY,
        .journal = p->journal,
        .capacity = p->capacity,
        .excluded = p->excluded,
        .excluded_capacity = p->excluded_capacity,
        /* All of it was said: there is nothing to send. */
        .number_first = p->number,
        .number = p->number,
        .number_sent = p->number,
        .number_echoed = p->number,
        .cell.generation = p->cell.generation + 1,
    };
}

void pair_limit(struct pair *p, uint32_t shards)
{
    p->capacity = shards * PAIR_CHANGES_PER_SHARD;
    p->excluded_capacity = shards;
}

/* ---- leader's side ---- */

uint64_t pair_change(struct pair *p, const struct pair_change *change)
{
    uint64_t count = p->number + 1 - p->number_first;
    if (count >= p->capacity)
        return 0;
    p->journal[count] = *change;
    p->number++;
    if (change->what == PAIR_ADD) {
        /* What was echoed so far does not promise it. */
        p->number_promise = p->number;
        if (!PLANTED(OLD_LIST_ECHOED))
            p->ask_echoed = 0;
    }
    return p->number;
}

void pair_restart(struct pair *p)
{
    p->number_first = ++p->number;
    p->number_promise = p->number;
    p->journal[0] = (struct pair_change){.what = PAIR_RESET};
    p->ask_echoed = 0;
    p->want = 0;
    p->listed = 0;
    p->learner_count = 0;
    p->behind = 0;
}

bool pair_pulse_due(const struct pair *p, uint64_t now, uint64_t heartbeat)
{
    uint64_t nameable = max_u64(p->number_echoed + 1, p->number_first) + PAIR_ITEMS - 1;
    if (p->number_sent < min_u64(p->number, nameable))
        return true;
    return pair_pulse_wait(p, now, heartbeat) == 0;
}

uint64_t pair_pulse_wait(const struct pair *p, uint64_t now, uint64_t heartbeat)
{
    if (p->listed == 0 && p->number_echoed >= p->number)
        return UINT64_MAX;
    uint64_t since = now - p->ticks_pulse;
    return since < heartbeat ? heartbeat - since : 0;
}

void pair_pulse(struct pair *p, struct pair_frame *f, uint64_t now, uint64_t now_late,
                uint64_t duration)
{
    uint64_t from = max_u64(p->number_echoed + 1, p->number_first);
    uint64_t left = p->number + 1 - from;
    *f = (struct pair_frame){
        .kind = PAIR_PULSE,
        .count = (uint8_t)min_u64(left, PAIR_ITEMS),
        .to = p->peer.incarnation,
        .ask = now,
        .number = p->number,
        .number_from = from,
        .current = p->behind == 0,
    };
    memcpy(f->items, &p->journal[from - p->number_first], f->count * sizeof f->items[0]);
    p->number_sent = max_u64(p->number_sent, from + f->count - 1);
    p->ticks_pulse = now;
    f->want = p->want;
    if (p->want != 0 && duration != 0) {
        f->duration = duration;
        p->holder_until = max_u64(p->holder_until, lease_promise_end(now_late, duration));
    }
    p->want = 0;
}

int pair_on_echo(struct pair *p, const struct pair_frame *f, uint64_t now)
{
    if (f->ask > now || f->number > p->number)
        return -EPROTO;
    p->want = max_u64(p->want, f->want);
    if (f->number < p->number_first)
        return 0; /* of a list before this one */
    p->number_echoed = max_u64(p->number_echoed, f->number);
    if (f->number >= p->number_promise || PLANTED(OLD_LIST_ECHOED))
        p->ask_echoed = max_u64(p->ask_echoed, f->ask);
    return 0;
}

/* ---- follower's side ---- */

/* Which of the changes named are new, if they continue what is known. */
static bool changes_continue(const struct pair *p, const struct pair_frame *f, uint32_t *first)
{
    *first = 0;
    if (f->count == 0)
        return false;
    if (f->number_from > p->list_number + 1) {
        /* A list that begins anew needs nothing of the one before. */
        return f->items[0].what == PAIR_RESET;
    }
    if (f->number_from + f->count - 1 <= p->list_number)
        return false;
    *first = (uint32_t)(p->list_number + 1 - f->number_from);
    return true;
}

int pair_on_pulse(struct pair *p, const struct pair_frame *f, uint32_t *first, uint32_t *count)
{
    *count = 0;
    if (f->number_from == 0 || f->number_from > f->number + 1 ||
        f->count > f->number + 1 - f->number_from)
        return -EPROTO;
    if (changes_continue(p, f, first)) {
        *count = f->count - *first;
        p->list_number = f->number_from + f->count - 1;
    }
    /* The newest ask; one that comes late would only be worth less. */
    p->ask_unechoed = max_u64(p->ask_unechoed, f->ask);
    return 0;
}

void pair_on_grant(struct pair *p, const struct pair_frame *f, uint64_t now)
{
    if (f->want == 0 || f->want > now || f->number != p->list_number)
        return;
    if (f->current)
        p->ticks_current = max_u64(p->ticks_current, f->want);
    uint64_t end = f->duration != 0 ? lease_right_end(f->want, f->duration) : 0;
    if (end <= now || end <= p->cell.end)
        return;
    if (now >= p->cell.end)
        p->cell.generation++; /* or it would validate what was loaded before it began */
    p->cell.end = end;
}

void pair_exclude(struct pair *p, uint32_t log, uint64_t epoch)
{
    for (uint32_t i = 0; i < p->excluded_count; i++)
        if (p->excluded[i].log == log) {
            p->excluded[i].epoch = max_u64(p->excluded[i].epoch, epoch);
            return;
        }
    ASSERT(p->excluded_count < p->excluded_capacity); /* each shard stands there once */
    p->excluded[p->excluded_count++] =
        (struct pair_change){.log = log, .what = PAIR_REMOVE, .epoch = epoch};
}

void pair_include(struct pair *p, uint32_t log, uint64_t epoch)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->excluded_count; i++)
        if (p->excluded[i].log != log || p->excluded[i].epoch > epoch)
            p->excluded[kept++] = p->excluded[i];
    p->excluded_count = kept;
}

void pair_include_all(struct pair *p)
{
    p->excluded_count = 0;
}

bool pair_echo(struct pair *p, struct pair_frame *f, uint64_t want, uint64_t now_late,
               uint64_t lease)
{
    if (p->ask_unechoed == 0)
        return false;
    bool promises = p->excluded_count <= PAIR_ITEMS && p->list_number != 0;
    *f = (struct pair_frame){
        .kind = PAIR_ECHO,
        .count = (uint8_t)min_u64(p->excluded_count, PAIR_ITEMS),
        .to = p->peer.incarnation,
        .ask = promises ? p->ask_unechoed : 0,
        .number = p->list_number,
        .number_from = 1,
        .want = want,
    };
    memcpy(f->items, p->excluded, f->count * sizeof f->items[0]);
    if (promises)
        p->promise_end = max_u64(p->promise_end, lease_promise_end(now_late, lease));
    p->ask_unechoed = 0;
    return true;
}

/* ---- wire ---- */

struct head {
    uint8_t kind, count, current, reserved;
    uint32_t node;
    uint64_t incarnation, to, ask, number, number_from, want, duration, reserved2;
};
_Static_assert(sizeof(struct head) == PAIR_FRAME_HEAD_BYTES, "no holes on the wire");
_Static_assert(sizeof(struct pair_change) == 24, "nor in an item");

uint64_t pair_frame_bytes(const struct pair_frame *f)
{
    return PAIR_FRAME_HEAD_BYTES + (uint64_t)f->count * sizeof f->items[0];
}

void pair_frame_encode(const struct pair_frame *f, uint8_t *into)
{
    ASSERT(f->count <= PAIR_ITEMS);
    struct head head = {
        .kind = f->kind,
        .count = f->count,
        .current = f->current,
        .node = f->from.node,
        .incarnation = f->from.incarnation,
        .to = f->to,
        .ask = f->ask,
        .number = f->number,
        .number_from = f->number_from,
        .want = f->want,
        .duration = f->duration,
    };
    memcpy(into, &head, sizeof head);
    memcpy(into + sizeof head, f->items, f->count * sizeof f->items[0]);
}

int pair_frame_decode(struct pair_frame *f, const uint8_t *bytes, uint64_t length)
{
    struct head head;
    if (length < sizeof head)
        return -EBADMSG;
    memcpy(&head, bytes, sizeof head);
    if ((head.kind != PAIR_PULSE && head.kind != PAIR_ECHO) || head.count > PAIR_ITEMS ||
        head.current > 1 || head.incarnation == 0)
        return -EBADMSG;
    *f = (struct pair_frame){
        .kind = head.kind,
        .count = head.count,
        .from = {.node = head.node, .incarnation = head.incarnation},
        .to = head.to,
        .ask = head.ask,
        .number = head.number,
        .number_from = head.number_from,
        .want = head.want,
        .duration = head.duration,
        .current = head.current != 0,
    };
    if (pair_frame_bytes(f) != length)
        return -EBADMSG;
    memcpy(f->items, bytes + sizeof head, f->count * sizeof f->items[0]);
    for (uint32_t i = 0; i < f->count; i++)
        if (f->items[i].what == 0 || f->items[i].what >= PAIR_WHAT_COUNT)
            return -EBADMSG;
    return 0;
}
