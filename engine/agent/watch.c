/* Watches: cursors (engine/cursor.h) on the logs of a space's shards. */
#include "engine/agent/agent.h"
#include "engine/cursor.h"
#include "engine/hash.h"

#include <inttypes.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BYTES_AT_FIRST (32u << 10) /* of the buffer; it grows with the largest transaction */
#define SPIN_ROUND 32u
#define SLEEP_MAX_NS                                                                               \
    (100 * NS_PER_MS)          /* whoever clears our word in the doorbell file costs us that */
#define PAUSE_MIN_NS NS_PER_MS /* behind a round in which nothing matched ... */
#define PAUSE_MAX_NS (16 * NS_PER_MS) /* ... doubling up to this */
#define POSITION_BYTES 42u            /* of one shard, as text */
#define WAKES 2                       /* that who was woken passes on */

/* lsn: where a resumed watch begins; cursor.lsn, but while a batch of this shard is being given out. */
struct watch_shard {
    struct cursor cursor;
    uint64_t lsn;
    uint32_t log; /* Why here, too: the board goes with its daemon. */
};

struct dunlin_watch {
    struct dunlin_space *space;
    struct topic topic;
    struct watch_shard *shards;
    uint32_t shard_count;
    uint32_t shard_next; /* looked at first */
    uint64_t pause_ns;
    struct cursor_batch batch;
    uint64_t batch_at;    /* given out up to here */
    uint32_t batch_shard; /* it is of */
    uint64_t missed;      /* by the last lag */
    struct dunlin_version lagged;
};

/* ---- opening ---- */

static int topic_of(const struct dunlin_watch_options *o, struct topic *t)
{
    if (o == NULL || (o->prefix == NULL && o->pattern == NULL))
        return topic_prefix(t, NULL, 0);
    if (o->prefix != NULL && o->pattern != NULL)
        return -EINVAL;
    return o->pattern != NULL ? topic_pattern(t, o->pattern, o->pattern_length)
                              : topic_prefix(t, o->prefix, o->prefix_length);
}

/* Digits from *text on. */
static int take_number(const char **text, uint64_t *number)
{
    const char *at = *text;
    *number = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (*number > (UINT64_MAX - digit) / 10)
            return -EINVAL;
        *number = *number * 10 + digit;
    }
    if (at == *text)
        return -EINVAL;
    *text = at;
    return 0;
}

static struct watch_shard *shard_of_log(const struct dunlin_watch *w, uint64_t log)
{
    for (uint32_t i = 0; i < w->shard_count; i++)
        if (w->shards[i].log == log)
            return &w->shards[i];
    return NULL;
}

/* LOG.LSN[,LOG.LSN]... */
static int positions_take(struct dunlin_watch *w, const char *text)
{
    for (;;) {
        uint64_t log, lsn;
        if (take_number(&text, &log) != 0 || *text++ != '.' || take_number(&text, &lsn) != 0)
            return -EINVAL;
        struct watch_shard *shard = shard_of_log(w, log);
        if (shard == NULL || lsn == 0)
            return -EINVAL;
        shard->cursor.lsn = shard->lsn = lsn;
        shard->cursor.start = CURSOR_SEEK;
        if (*text == 0)
            return 0;
        if (*text++ != ',')
            return -EINVAL;
    }
}

/* Positions are known from here on, where the board shows something already. */
static void positions_find(struct dunlin_watch *w)
{
    for (uint32_t i = 0; i < w->shard_count; i++) {
        struct watch_shard *shard = &w->shards[i];
        if (shard->cursor.start == CURSOR_SEEK)
            continue;
        if (cursor_begin(&shard->cursor, &w->space->read))
            shard->lsn = shard->cursor.lsn;
    }
}

static int shards_init(struct dunlin_watch *w, const char *from)
{
    bool oldest = from != NULL && strcmp(from, "oldest") == 0;
    for (uint32_t i = 0; i < w->shard_count; i++)
        w->shards[i] = (struct watch_shard){
            .cursor = {.shard = i, .start = oldest ? CURSOR_OLDEST : CURSOR_NOW},
            .log = w->space->read.boards[i].log,
        };
    if (from != NULL && !oldest && strcmp(from, "now") != 0) {
        int error = positions_take(w, from);
        if (error != 0)
            return error;
    }
    positions_find(w);
    return 0;
}

static int watch_make(struct dunlin_space *space, const struct dunlin_watch_options *o,
                      struct dunlin_watch *w)
{
    w->space = space;
    w->shard_count = space->read.geometry.shard_count;
    int error = topic_of(o, &w->topic);
    if (error != 0)
        return error;
    w->shards = calloc(w->shard_count, sizeof *w->shards);
    w->batch.bytes = malloc(BYTES_AT_FIRST);
    w->batch.capacity = BYTES_AT_FIRST;
    if (w->shards == NULL || w->batch.bytes == NULL)
        return -ENOMEM;
    return shards_init(w, o != NULL ? o->from : NULL);
}

int dunlin_watch_open(struct dunlin_space *space, const struct dunlin_watch_options *options,
                      struct dunlin_watch **watch)
{
    if (space == NULL || watch == NULL)
        return -EINVAL;
    *watch = NULL;
    int error = space->bound ? 0 : agent_space_again(space);
    if (error != 0)
        return error;
    struct dunlin_watch *w = calloc(1, sizeof *w);
    if (w == NULL)
        return -ENOMEM;
    error = watch_make(space, options, w);
    if (error != 0) {
        dunlin_watch_close(w);
        return error;
    }
    *watch = w;
    return 0;
}

void dunlin_watch_close(struct dunlin_watch *watch)
{
    if (watch == NULL)
        return;
    free(watch->shards);
    free(watch->batch.bytes);
    free(watch);
}

/* ---- positions ---- */

int64_t dunlin_watch_position(const struct dunlin_watch *watch, char *buffer, size_t capacity)
{
    size_t length = 0;
    if (watch == NULL || (buffer == NULL && capacity != 0))
        return -EINVAL;
    if (capacity != 0)
        buffer[0] = 0;
    for (uint32_t i = 0; i < watch->shard_count; i++) {
        char text[POSITION_BYTES];
        if (watch->shards[i].lsn == 0)
            continue; /* nothing is shown of it yet: from now on */
        int n = snprintf(text, sizeof text, "%s%" PRIu32 ".%" PRIu64, length != 0 ? "," : "",
                         watch->shards[i].log, watch->shards[i].lsn);
        if (buffer != NULL && length + (size_t)n < capacity)
            memcpy(buffer + length, text, (size_t)n + 1);
        length += (size_t)n;
    }
    return length < capacity ? (int64_t)length : -ENOBUFS;
}

void dunlin_watch_lagged(const struct dunlin_watch *watch, struct dunlin_version *version,
                         uint64_t *missed)
{
    if (version != NULL)
        *version = watch->lagged;
    if (missed != NULL)
        *missed = watch->missed;
}

/* ---- giving out ---- */

static enum dunlin_event_kind kind_of(const struct record *r)
{
    if (r->kind == RECORD_DATA)
        return DUNLIN_EVENT_PUT;
    return r->kind == RECORD_TOMBSTONE ? DUNLIN_EVENT_DELETE : DUNLIN_EVENT_EXPIRE;
}

static struct dunlin_event event_of(const struct record *r)
{
    bool has_value = r->kind == RECORD_DATA;
    return (struct dunlin_event){
        .kind = kind_of(r),
        .key = record_key(r),
        .key_length = r->key_length,
        .value = has_value ? record_value(r) : NULL,
        .value_length = has_value ? r->value_length : 0,
        .version = {.log = r->log, .lsn = r->lsn},
        .clock_ns = r->hybrid_clock,
    };
}

/* Events of the batch that were not given out yet. */
static int64_t give_out(struct dunlin_watch *w, struct dunlin_event *events, size_t capacity)
{
    struct watch_shard *shard = &w->shards[w->batch_shard];
    size_t count = 0;
    while (w->batch_at < w->batch.length && count < capacity) {
        const uint8_t *at = w->batch.bytes + w->batch_at;
        struct record h;
        uint64_t size = record_step(at, &h);
        events[count++] = event_of((const void *)at);
        at += size;
        w->batch_at += size;
        if (at[offsetof(struct cursor_mark, kind)] != RECORD_PAD)
            continue;
        events[count - 1].last = 1;
        memcpy(&shard->lsn, at + offsetof(struct cursor_mark, lsn_end), sizeof shard->lsn);
        w->batch_at += sizeof(struct cursor_mark);
    }
    if (w->batch_at == w->batch.length)
        shard->lsn = shard->cursor.lsn;
    return (int64_t)count;
}

/* ---- reading ---- */

static int buffer_grow(struct dunlin_watch *w)
{
    uint8_t *bytes = realloc(w->batch.bytes, w->batch.needed);
    if (bytes == NULL)
        return -ENOMEM;
    w->batch.bytes = bytes;
    w->batch.capacity = w->batch.needed;
    return 0;
}

static int lag_take(struct dunlin_watch *w, struct watch_shard *shard)
{
    const struct read_space *s = &w->space->read;
    w->missed = cursor_resume(&shard->cursor, s);
    if (w->missed == 0)
        return 0;
    shard->lsn = shard->cursor.lsn;
    w->lagged = (struct dunlin_version){.log = s->boards[shard->cursor.shard].log,
                                        .lsn = shard->cursor.lsn};
    return -ENODATA;
}

/* One shard.  Returns 1: the batch has events, 0: it moved or not, and has none, or an error for the
 * caller. */
static int read_shard(struct dunlin_watch *w, struct watch_shard *shard)
{
    struct dunlin *d = w->space->handle;
    for (uint32_t i = 0; i < LIMIT_READ_RETRIES; i++) {
        int result = cursor_read(&shard->cursor, &w->space->read, &w->topic, &w->batch);
        switch (result) {
        case 1:
            if (w->batch.length != 0)
                return 1;
            shard->lsn = shard->cursor.lsn;
            break;
        case 0:
            return 0;
        case -EAGAIN:
            cpu_relax();
            break;
        case -EFAULT:
            if (agent_space_map_more(w->space) != 0)
                return 0; /* it comes with the next daemon, or with an answer of this one */
            break;
        case -ENODATA:
            result = lag_take(w, shard);
            if (result != 0)
                return result;
            break;
        case -ENOBUFS:
            result = buffer_grow(w);
            if (result != 0)
                return result;
            break;
        default:
            agent_attach_lost(d);
            return -EPROTO;
        }
    }
    return 0;
}

static bool has_more(const struct dunlin_watch *w)
{
    for (uint32_t i = 0; i < w->shard_count; i++)
        if (cursor_has_more(&w->shards[i].cursor, &w->space->read))
            return true;
    return false;
}

/* All shards in turn, until one has events.  *moved: some log was walked. */
static int read_round(struct dunlin_watch *w, bool *moved)
{
    w->batch.length = w->batch_at = 0;
    for (uint32_t i = 0; i < w->shard_count; i++) {
        uint32_t number = (w->shard_next + i) % w->shard_count;
        struct watch_shard *shard = &w->shards[number];
        if (!cursor_has_more(&shard->cursor, &w->space->read))
            continue;
        *moved = true;
        w->batch_shard = number;
        int result = read_shard(w, shard);
        if (result == 0)
            continue;
        w->shard_next = (number + 1) % w->shard_count;
        return result;
    }
    return 0;
}

/* The space is what it was when the watch was opened, and mapped. */
static int space_check(struct dunlin_watch *w)
{
    int error = w->space->bound ? 0 : agent_space_again(w->space);
    if (error == 0 && (w->space->read.geometry.shard_count != w->shard_count ||
                       w->space->read.boards[0].log != w->shards[0].log))
        error = -EPROTO;
    return error;
}

/* ---- waiting ---- */

static void nap(uint64_t for_ns)
{
    const struct timespec pause = {.tv_sec = (time_t)(for_ns / NS_PER_S),
                                   .tv_nsec = (long)(for_ns % NS_PER_S)};
    (void)nanosleep(&pause, NULL);
}

/* So that the daemon looks if we sleep: once for each attachment.  Returns false: not now. */
static bool sleep_announce(struct dunlin *d, uint64_t left_ns)
{
    struct attachment *a = d->now;
    if (a->watch_told)
        return true;
    const struct attach_request request = {.kind = ATTACH_WATCH};
    struct attach_answer answer;
    /* Why at least so long: a call that waits but shortly must get through, too. */
    uint64_t deadline_ns = clock_boottime_ns() + max_u64(left_ns, AGENT_EXCHANGE_MIN_NS);
    int error = agent_link_exchange(a, &request, &answer, NULL, deadline_ns);
    if (agent_attach_error(d, error) != 0)
        return false;
    a->watch_told = true;
    return true;
}

static void watched_set(_Atomic uint64_t *watched, uint32_t space)
{
    const uint64_t bit = UINT64_C(1) << ((space - 1) % 64);
    /* relaxed: who clears it has changed the round since X1, or we see it cleared.  Why only where it is not:
     * thousands do. */
    if ((atomic_load_explicit(watched, memory_order_relaxed) & bit) == 0)
        atomic_fetch_or_explicit(watched, bit, memory_order_relaxed);
}

/* Woken: wake others that slept for as long.  Why we: it is nothing that the daemon's threads should do for
 * each of thousands. */
static void wake_on(_Atomic uint32_t *word, uint32_t slept)
{
    /* relaxed: a number; who wakes changed it before */
    const uint32_t round = atomic_load_explicit(word, memory_order_relaxed);
    if (round != slept)
        /* Why ignored: the word is mapped, waking nobody is fine. */
        (void)syscall(SYS_futex, word, FUTEX_WAKE_BITSET, WAKES, NULL, NULL,
                      ~layout_watch_bit(round));
}

/* Until something was committed in the space. */
static void sleep_now(struct dunlin_watch *w, uint64_t for_ns)
{
    struct attachment *a = w->space->handle->now;
    const struct layout_space *header = a->mappings[w->space->number].header;
    _Atomic uint32_t *word = (_Atomic uint32_t *)(uintptr_t)&header->watch_round;
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    const uint64_t until_ns = (uint64_t)until.tv_sec * NS_PER_S + (uint64_t)until.tv_nsec + for_ns;
    until = (struct timespec){.tv_sec = (time_t)(until_ns / NS_PER_S),
                              .tv_nsec = (long)(until_ns % NS_PER_S)};
    /* X1: acquire, pairs with X4 (control/waker.c): what a newer round is about is found below */
    const uint32_t round = atomic_load_explicit(word, memory_order_acquire);
    /* X2: our bit, fence, the boards; control clears it and changes the round before it wakes (X3, X4). */
    watched_set(&a->doorbell->watched, w->space->id);
    atomic_thread_fence(memory_order_seq_cst);
    if (has_more(w))
        return;
    /* Why errors do not matter: the caller looks at the boards and at the clock anyway.  Why not private: it
     * is another process that wakes. */
    if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET, round, &until, NULL, layout_watch_bit(round)) ==
        0)
        wake_on(word, round);
}

static bool spin(const struct dunlin_watch *w)
{
    for (uint32_t i = 0; i < SPIN_ROUND; i++) {
        if (has_more(w))
            return true;
        cpu_relax();
    }
    return false;
}

/* Nothing matched: let time pass.  False: the time is up. */
static bool wait_pause(struct dunlin_watch *w, const struct waiter *waiter)
{
    struct dunlin *d = w->space->handle;
    uint64_t now = clock_boottime_ns();
    if (now >= waiter->deadline_ns)
        return false;
    if (!agent_attached(d))
        return agent_wait_pause(d, waiter, WAIT_ANY_LCORE);
    if (agent_space_gone(w->space))
        return true;
    uint64_t left = min_u64(waiter->deadline_ns - now, SLEEP_MAX_NS);
    if (now < waiter->spin_end_ns && w->pause_ns == 0) {
        (void)spin(w);
        return true;
    }
    /* Why: where much is written and little of it is for us, each of thousands would be woken for all
     * of it. */
    if (w->pause_ns != 0)
        nap(min_u64(w->pause_ns, left));
    else if (sleep_announce(d, left))
        sleep_now(w, min_u64(left, d->now->node->heartbeat_ns));
    (void)agent_attach_look(d);
    return true;
}

static void pause_learn(struct dunlin_watch *w, bool moved)
{
    if (moved)
        w->pause_ns = min_u64(max_u64(2 * w->pause_ns, PAUSE_MIN_NS), PAUSE_MAX_NS);
    else
        w->pause_ns = 0;
}

int64_t dunlin_watch_next(struct dunlin_watch *watch, struct dunlin_event *events, size_t capacity,
                          uint64_t timeout_ns)
{
    if (watch == NULL || events == NULL || capacity == 0)
        return -EINVAL;
    if (watch->batch_at != watch->batch.length)
        return give_out(watch, events, capacity);
    struct dunlin *d = watch->space->handle;
    struct waiter waiter = agent_wait_begin(d, timeout_ns);
    for (;;) {
        bool moved = false;
        int result = space_check(watch);
        if (result == 0)
            result = read_round(watch, &moved);
        if (result < 0)
            return result;
        if (result == 1) {
            watch->pause_ns = 0;
            return give_out(watch, events, capacity);
        }
        if (timeout_ns == 0 && agent_attach_look(d))
            return 0;
        pause_learn(watch, moved);
        if (timeout_ns == 0 || !wait_pause(watch, &waiter))
            return agent_attached(d) ? 0 : -ENOTCONN;
    }
}
