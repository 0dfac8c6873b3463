#include "tests/e2e/udp_faults.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define HELD_PLACES (UDP_FAULTS_HELD + 1)

/* What one datagram draws. */
struct draws {
    bool loss, corrupt, duplicate, reorder, replay;
    uint64_t bit, behind, keep, old;
};

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014) */
static uint64_t draw(struct udp_faults *f)
{
    uint64_t z = (f->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static bool chance(struct udp_faults *f, double probability)
{
    return (double)(draw(f) >> 11) * 0x1p-53 < probability;
}

static struct draws draw_all(struct udp_faults *f)
{
    const struct udp_faults_config *c = &f->config;
    struct draws d;
    d.loss = chance(f, c->loss);
    d.corrupt = chance(f, c->corrupt);
    d.duplicate = chance(f, c->duplicate);
    d.reorder = chance(f, c->reorder);
    d.replay = chance(f, c->replay);
    d.bit = draw(f);
    d.behind = draw(f);
    d.keep = draw(f);
    d.old = draw(f);
    return d;
}

void udp_faults_init(struct udp_faults *f, const struct udp_faults_config *config, uint64_t stream)
{
    memset(f, 0, sizeof *f);
    f->config = *config;
    f->random = stream;
    /* Why drawn: neighbouring seeds and streams would else be the same numbers, a few places on. */
    f->random = draw(f) ^ config->seed;
    f->random = draw(f);
}

void udp_faults_fini(struct udp_faults *f)
{
    for (struct udp_datagram *d = f->head, *next; d != NULL; d = next) {
        next = d->next;
        free(d);
    }
    for (uint32_t i = 0; i < HELD_PLACES; i++)
        free(f->held[i].datagram);
    for (uint32_t i = 0; i < UDP_FAULTS_HISTORY; i++)
        free(f->history[i]);
    memset(f, 0, sizeof *f);
}

static struct udp_datagram *copy_make(const void *bytes, uint32_t length, uint64_t number)
{
    struct udp_datagram *d = malloc(sizeof *d + length);
    if (d == NULL)
        return NULL;
    *d = (struct udp_datagram){.number = number, .length = length};
    if (length != 0)
        memcpy(d->bytes, bytes, length);
    return d;
}

/* Ready but for the delay. */
static void push(struct udp_faults *f, struct udp_datagram *d, uint64_t now)
{
    if (d == NULL || f->queued_bytes + d->length > UDP_FAULTS_QUEUE_BYTES) {
        f->counters.dropped++;
        free(d);
        return;
    }
    uint64_t delay = f->config.delay_ns;
    d->due = now > UINT64_MAX - delay ? UINT64_MAX : now + delay;
    d->next = NULL;
    if (f->head == NULL)
        f->head = d;
    else
        f->tail->next = d;
    f->tail = d;
    f->queued_bytes += d->length;
    if (d->number > f->number_left_max)
        f->number_left_max = d->number;
}

/* ---- held back ---- */

static void hold_end(struct udp_faults *f, struct udp_faults_held *h, uint64_t now)
{
    struct udp_datagram *d = h->datagram;
    h->datagram = NULL;
    f->counters.reordered += d->number < f->number_left_max;
    push(f, d, now);
}

/* One more was taken: those that have waited for enough of them leave. */
static void hold_pass(struct udp_faults *f, uint64_t now)
{
    for (uint32_t i = 0; i < HELD_PLACES; i++) {
        struct udp_faults_held *h = &f->held[i];
        if (h->datagram != NULL && --h->behind == 0)
            hold_end(f, h, now);
    }
}

static void hold_expire(struct udp_faults *f, uint64_t now)
{
    for (uint32_t i = 0; i < HELD_PLACES; i++)
        if (f->held[i].datagram != NULL && f->held[i].until <= now)
            hold_end(f, &f->held[i], now);
}

/* Why a place is free: only the UDP_FAULTS_HELD ones before this one can still be held. */
static void hold(struct udp_faults *f, struct udp_datagram *d, uint32_t behind, uint64_t now)
{
    struct udp_faults_held *h = f->held;
    while (h->datagram != NULL)
        h++;
    assert(h < f->held + HELD_PLACES);
    *h = (struct udp_faults_held){
        .datagram = d, .behind = behind, .until = now + UDP_FAULTS_HOLD_NS};
}

/* ---- seen before ---- */

static void replay(struct udp_faults *f, uint64_t random, uint64_t now)
{
    uint64_t kept = f->taken < UDP_FAULTS_HISTORY ? f->taken : UDP_FAULTS_HISTORY;
    const struct udp_datagram *old = kept == 0 ? NULL : f->history[random % kept];
    if (old == NULL)
        return;
    f->counters.replayed++;
    push(f, copy_make(old->bytes, old->length, old->number), now);
}

/* Algorithm R: each one taken so far is kept with the same probability. */
static void remember(struct udp_faults *f, const void *bytes, uint32_t length, uint64_t random)
{
    uint64_t place = f->taken < UDP_FAULTS_HISTORY ? f->taken : random % (f->taken + 1);
    f->taken++;
    if (place >= UDP_FAULTS_HISTORY)
        return;
    free(f->history[place]);
    f->history[place] = copy_make(bytes, length, f->counters.received);
}

/* ---- in and out ---- */

void udp_faults_take(struct udp_faults *f, const void *bytes, uint32_t length, uint64_t now)
{
    const struct draws d = draw_all(f);
    f->counters.received++;
    if (d.loss) {
        f->counters.lost++;
        return;
    }
    struct udp_datagram *first = copy_make(bytes, length, f->counters.received);
    if (first != NULL && d.corrupt && length != 0) {
        first->bytes[d.bit / 8 % length] ^= (uint8_t)(1u << d.bit % 8);
        f->counters.corrupted++;
    }
    struct udp_datagram *second = NULL;
    if (first != NULL && d.duplicate)
        second = copy_make(first->bytes, length, first->number);
    /* Why + 2: this one itself passes below. */
    if (first != NULL && d.reorder)
        hold(f, first, (uint32_t)(d.behind % UDP_FAULTS_HELD) + 2, now);
    else
        push(f, first, now);
    if (second != NULL) {
        f->counters.duplicated++;
        push(f, second, now);
    }
    hold_pass(f, now);
    if (d.replay)
        replay(f, d.old, now);
    if (f->config.replay > 0)
        remember(f, bytes, length, d.keep);
}

struct udp_datagram *udp_faults_next(struct udp_faults *f, uint64_t now)
{
    hold_expire(f, now);
    struct udp_datagram *d = f->head;
    if (d == NULL || d->due > now)
        return NULL;
    f->head = d->next;
    f->queued_bytes -= d->length;
    return d;
}

uint64_t udp_faults_deadline(const struct udp_faults *f)
{
    uint64_t deadline = f->head == NULL ? UINT64_MAX : f->head->due;
    for (uint32_t i = 0; i < HELD_PLACES; i++)
        if (f->held[i].datagram != NULL && f->held[i].until < deadline)
            deadline = f->held[i].until;
    return deadline;
}
