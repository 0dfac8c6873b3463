#include "tests/torture/torture_readers.h"

#include "engine/cursor.h"
#include "engine/scan.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TRIES 200u
#define PAGE_BYTES (1u << 15)
#define BATCH_BYTES (1u << 18)
#define DAWDLE_US 3000u
#define OLDEST_CALLS 3u /* the first finds out where it is */
#define STALL_NS 2000000u
#define STALL_LONG_NS 60000000u /* a segment is used again meanwhile */

void torture_key_pair(uint32_t pair, bool second, char key[32])
{
    (void)snprintf(key, 32, "p%05u/%c", pair, second ? 'b' : 'a');
}

void torture_key_queue(uint32_t number, char key[32])
{
    (void)snprintf(key, 32, "s%07u", TORTURE_QUEUE_TOP - number);
}

static void violation(struct torture_reader *r, const char *what, uint64_t detail)
{
    if (r->counts.violations++ < 5)
        (void)fprintf(stderr, "torture: %s (%llu)\n", what, (unsigned long long)detail);
}

static uint64_t bound(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

/* As an agent that maps what exists.  acquire: chunks below the count are made. */
static void map_more(struct torture_reader *r)
{
    const struct fixture *f = r->shown->f;
    uint64_t count = atomic_load_explicit(&f->header->chunk_count, memory_order_acquire);
    r->space.mapped_bytes = count << f->geometry.chunk_shift;
    r->counts.mapped++;
}

static bool is_sound(uint32_t id, const uint8_t *value, uint64_t length, struct torture_value *v)
{
    if (length < sizeof *v || length > TORTURE_VALUE_MAX)
        return false;
    memcpy(v, value, sizeof *v);
    return fixture_value_is(id, v->version, value + sizeof *v, (uint32_t)(length - sizeof *v));
}

/* ---- stalls ---- */

/* Why a signal: it comes between any two instructions, as a processor taken away does, only oftener. */
static void stalled(int signal)
{
    static _Thread_local uint64_t seed;
    bool long_one = fixture_below(&seed, 8) == 0;
    const struct timespec pause = {
        .tv_nsec = (long)fixture_below(&seed, long_one ? STALL_LONG_NS : STALL_NS)};
    (void)signal;
    (void)nanosleep(&pause, NULL);
}

void torture_stalls_prepare(void)
{
    struct sigaction action = {.sa_handler = stalled, .sa_flags = SA_RESTART};
    ASSERT(sigemptyset(&action.sa_mask) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
}

void torture_stall(const struct torture_reader *r)
{
    ASSERT(pthread_kill(r->thread, SIGUSR1) == 0);
}

/* ---- gets and views ---- */

struct half {
    int result;
    struct read_found found;
    uint8_t value[TORTURE_VALUE_MAX + 8];
};

/* Hold one in place for a while: what is read of it counts only if its segment was not given up. */
static void view(struct torture_reader *r, const struct read_point *p, const struct half *h,
                 uint32_t id)
{
    uint8_t value[TORTURE_VALUE_MAX + 8];
    struct torture_value v;
    _Atomic uint64_t *pin = &r->pins.pin[0];
    /* relaxed: V1's fence orders it */
    atomic_store_explicit(pin, ring_pin_make(1, h->found.frame), memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (read_pin_holds(p, &r->space, h->found.frame) && read_validate(p, &r->space, false)) {
        for (uint32_t i = fixture_below(&r->seed, 200); i != 0; i--)
            cpu_relax();
        if (fixture_below(&r->seed, 64) == 0)
            (void)usleep(fixture_below(&r->seed, 3000)); /* sometimes beyond the time of a view */
        read_copy(&h->found, value, TORTURE_VALUE_MAX);
        bool sound = is_sound(id, value, h->found.value_length, &v);
        atomic_thread_fence(memory_order_acquire);
        const struct layout_frame *frame = &r->space.directory[h->found.frame];
        /* relaxed: the fence orders it */
        bool safe = atomic_load_explicit(&frame->stamp, memory_order_relaxed) <= p->reclaim_count;
        r->counts.views++;
        r->counts.views_unsafe += !safe;
        if (safe && !sound)
            violation(r, "a safe view changed, of key", id);
    }
    atomic_store_explicit(pin, 0, memory_order_release);
}

/* Both keys of a pair at one point.  1: h is good; 0: again. */
static int read_halves(struct torture_reader *r, struct read_point *p, uint32_t pair,
                       struct half h[2])
{
    read_begin(p, &r->space, 0);
    for (uint32_t i = 0; i < 2; i++) {
        char name[32];
        struct read_key k;
        torture_key_pair(pair, i == 1, name);
        read_key_init(&k, &r->space, name, TORTURE_KEY_BYTES);
        h[i].result = read_find(p, &r->space, &k, &h[i].found);
        if (h[i].result == -EFAULT)
            map_more(r);
        if (h[i].result < 0)
            return 0;
        if (h[i].result == 1)
            read_copy(&h[i].found, h[i].value, TORTURE_VALUE_MAX);
    }
    return read_validate(p, &r->space, h[0].result == 0 || h[1].result == 0);
}

static void judge_pair(struct torture_reader *r, uint32_t pair, uint64_t must,
                       const struct half h[2])
{
    struct torture_value v[2];
    uint64_t may = bound(&r->shown->pairs[pair].may);
    if (h[0].result != h[1].result) {
        violation(r, "half of a transaction, of pair", pair);
        return;
    }
    if (h[0].result == 0) {
        r->counts.missed++;
        if (must % 2 == 1 && may == must)
            violation(r, "nothing where something was, of pair", pair);
        return;
    }
    for (uint32_t i = 0; i < 2; i++)
        if (!is_sound(torture_id_pair(pair, i == 1), h[i].value, h[i].found.value_length, &v[i])) {
            violation(r, "a value of no version, of pair", pair);
            return;
        }
    if (v[0].version != v[1].version)
        violation(r, "two versions of one transaction, of pair", pair);
    if (v[0].version < must || v[0].version > may)
        violation(r, "a version out of its time, of pair", pair);
}

static void get(struct torture_reader *r)
{
    static _Thread_local struct half h[2];
    uint32_t pair = fixture_below(&r->seed, TORTURE_PAIRS);
    uint64_t must = bound(&r->shown->pairs[pair].must);
    struct read_point p;
    for (uint32_t i = 0; read_halves(r, &p, pair, h) == 0; i++) {
        r->counts.again++;
        if (i == TRIES) {
            r->counts.hidden++; /* nothing is shown while a snapshot is taken over */
            return;
        }
        if (i % 16 == 15)
            (void)sched_yield(); /* the writer may be in the middle of a change */
    }
    r->counts.gets++;
    judge_pair(r, pair, must, h);
    if (h[0].result == 1 && fixture_below(&r->seed, 8) == 0)
        view(r, &p, &h[0], torture_id_pair(pair, false));
}

/* ---- scans ---- */

struct scanned {
    uint32_t next;  /* of the queue in this page; 0: any may come */
    uint64_t count; /* numbers given, by the newest of the queue that was met; 0: none was */
    uint32_t pair;  /* of the entry before in this page, if it was a first half */
    uint64_t version;
    bool is_half;
};

static void judge_entry(struct torture_reader *r, const struct scan_entry *e, struct scanned *s,
                        bool first)
{
    const char *key = (const char *)scan_entry_key(e);
    uint32_t number = (uint32_t)strtoul(key + 1, NULL, 10);
    bool second = key[0] == 'p' && key[7] == 'b', is_pair = key[0] == 'p';
    number = is_pair ? number : TORTURE_QUEUE_TOP - number;
    uint32_t id = is_pair ? torture_id_pair(number, second) : torture_id_queue(number);
    struct torture_value v;
    if (!is_sound(id, scan_entry_value(e), e->value_length, &v)) {
        violation(r, "a page with a value of no version, of key", id);
        return;
    }
    if (is_pair && second && !first &&
        (!s->is_half || s->pair != number || s->version != v.version))
        violation(r, "half of a transaction in a page, of pair", number);
    if ((!is_pair || !second) && s->is_half)
        violation(r, "half of a transaction in a page, of pair", s->pair);
    if (!is_pair && s->next != 0 && number != s->next)
        violation(r, "a page without a key that was there", s->next);
    s->is_half = is_pair && !second;
    s->pair = number;
    s->version = v.version;
    s->next = is_pair ? s->next : number - 1;
    if (!is_pair && s->count == 0)
        s->count = number + UINT64_C(1);
}

static void judge_page(struct torture_reader *r, const struct scan_page *page, struct scanned *s)
{
    const struct scan_entry *e = (const void *)page->buffer;
    uint8_t before[TORTURE_KEY_BYTES] = {0};
    s->is_half = false;
    s->next = 0; /* a page later the oldest may be gone */
    for (uint32_t i = 0; i < page->count; i++, e = scan_entry_next(e, false)) {
        if (e->key_length != TORTURE_KEY_BYTES) {
            violation(r, "a page with a key of another length", e->key_length);
            return;
        }
        if (memcmp(before, scan_entry_key(e), sizeof before) >= 0)
            violation(r, "a page out of order", i);
        memcpy(before, scan_entry_key(e), sizeof before);
        judge_entry(r, e, s, i == 0);
    }
}

/* One page.  Returns false: not now, and often so. */
static bool scan_page(struct torture_reader *r, struct scan_page *page, struct scanned *s)
{
    struct read_point p;
    for (uint32_t i = 0; i < TRIES; i++) {
        page->count_max = 1 + fixture_below(&r->seed, i > 3 ? 4 : 60);
        int error = scan_read(page, &r->space, &p);
        if (error == 0) {
            r->counts.pages++;
            judge_page(r, page, s);
            return true;
        }
        if (error == -EFAULT)
            map_more(r);
        if (i % 16 == 15)
            (void)sched_yield();
        r->counts.pages_again++;
    }
    r->counts.hidden++;
    return false;
}

/* All keys. */
static void scan(struct torture_reader *r)
{
    alignas(8) static _Thread_local uint8_t bytes[PAGE_BYTES];
    struct scan_page page = {.buffer = bytes, .capacity = sizeof bytes};
    struct scanned s = {.next = 0};
    uint64_t must = bound(&r->shown->queue.must);
    scan_begin(&page, "", 0, "", 0);
    while (!page.done)
        if (!scan_page(r, &page, &s))
            return;
    r->counts.scans++;
    uint64_t may = bound(&r->shown->queue.may);
    /* Why it may be: newer keys stand in front of it, and a reader that was stopped between two pages for long enough
     * finds that all which stood behind the first one are gone. */
    bool may_be_gone = may - must >= TORTURE_QUEUE_MAX;
    if ((s.count < must && !may_be_gone) || s.count > may)
        violation(r, "a scan without the newest key", s.count);
}

/* A few pages at the queue's newest key, or near its oldest. */
static void scan_end(struct torture_reader *r)
{
    alignas(8) static _Thread_local uint8_t bytes[PAGE_BYTES];
    struct scan_page page = {.buffer = bytes, .capacity = sizeof bytes};
    struct scanned s = {.next = 0};
    char after[32];
    uint64_t newest = bound(&r->shown->queue.must);
    if (fixture_below(&r->seed, 4) != 0 || newest < TORTURE_QUEUE_MAX)
        torture_key_pair(TORTURE_PAIRS, true, after);
    else
        torture_key_queue((uint32_t)newest - TORTURE_QUEUE_MAX + fixture_below(&r->seed, 100),
                          after);
    scan_begin(&page, "", 0, after, TORTURE_KEY_BYTES);
    for (uint32_t i = 0; i < 3 && !page.done; i++)
        if (!scan_page(r, &page, &s))
            return;
}

/* ---- cursors ---- */

struct followed {
    struct cursor cursor;
    struct topic everything;
    uint8_t *bytes;
    uint64_t number; /* of the last value; 0: any may come */
    uint64_t calls;
    bool is_half; /* the first key of a pair came, and not the second */
};

static void judge_record(struct torture_reader *r, struct followed *f, const uint8_t *at,
                         struct record *h)
{
    struct torture_value v;
    if (record_check(at, record_size(h), h) != (int64_t)record_size(h)) {
        violation(r, "a damaged record", f->number);
        return;
    }
    const char *key = (const char *)record_key((const void *)at);
    f->is_half = key[0] == 'p' && key[7] == 'a';
    r->counts.events++;
    if (h->kind != RECORD_DATA)
        return;
    memcpy(&v, record_value((const void *)at), sizeof v);
    if (f->number != 0 && v.number_before != f->number)
        violation(r, "a cursor left something out, or gave it twice, behind", f->number);
    f->number = v.number;
}

static void judge_batch(struct torture_reader *r, struct followed *f, const struct cursor_batch *b)
{
    for (uint64_t at = 0; at < b->length;) {
        struct record h;
        uint64_t size = record_step(b->bytes + at, &h);
        if (size == 0 || size > b->length - at) {
            violation(r, "a cursor gave out no record", at);
            return;
        }
        if (h.kind != RECORD_PAD)
            judge_record(r, f, b->bytes + at, &h);
        else if (f->is_half)
            violation(r, "half of a transaction from a cursor, behind", f->number);
        at += size;
    }
}

static void follow(struct torture_reader *r, struct followed *f)
{
    struct cursor_batch b = {.bytes = f->bytes, .capacity = BATCH_BYTES};
    if (r->kind == TORTURE_CURSOR_OLDEST && ++f->calls % OLDEST_CALLS == 0) {
        f->cursor = (struct cursor){.start = CURSOR_OLDEST};
        f->number = 0;
    }
    int result = cursor_read(&f->cursor, &r->space, &f->everything, &b);
    if (result == 1)
        judge_batch(r, f, &b);
    else if (result == -EAGAIN)
        r->counts.again++;
    else if (result == -EFAULT)
        map_more(r);
    else if (result == -ENODATA && cursor_resume(&f->cursor, &r->space) != 0) {
        r->counts.lags++;
        f->number = 0;
    } else if (result != 0 && result != -ENODATA) {
        violation(r, "no log", (uint64_t)-result);
    }
    if (r->kind == TORTURE_CURSOR_DAWDLING)
        (void)usleep(fixture_below(&r->seed, 2 * DAWDLE_US));
    else if (result == 0)
        cpu_relax();
}

static struct followed *followed_new(void)
{
    struct followed *f = calloc(1, sizeof *f);
    ASSERT(f != NULL);
    f->cursor.start = CURSOR_OLDEST;
    f->bytes = aligned_alloc(8, BATCH_BYTES);
    ASSERT(f->bytes != NULL && topic_prefix(&f->everything, NULL, 0) == 0);
    return f;
}

void *torture_reader_main(void *argument)
{
    struct torture_reader *r = argument;
    struct followed *f = followed_new();
    /* acquire: the end is after the last commit */
    while (!atomic_load_explicit(&r->shown->stop, memory_order_acquire)) {
        if (r->kind == TORTURE_GETS)
            get(r);
        else if (r->kind == TORTURE_SCANS)
            scan(r);
        else if (r->kind == TORTURE_SCANS_OF_ENDS)
            scan_end(r);
        else
            follow(r, f);
    }
    free(f->bytes);
    free(f);
    return NULL;
}
