#include "dataplane/forward.h"

#include <string.h>

_Static_assert((LIMIT_FORWARDS & (LIMIT_FORWARDS - 1)) == 0, "a ring");

#define WINDOW 64u

struct head {
    uint8_t kind,
        zeros[7]; /* Why zeros: a message has its log there, which prefetching looks at. */
    uint64_t start, number;
};
_Static_assert(sizeof(struct head) == FORWARD_HEAD_BYTES, "no holes");

/* ---- writing ---- */

uint64_t forward_item_bytes(uint64_t fixed, uint64_t key_length, uint64_t value_inside)
{
    return fixed + align_up(key_length, 8) + align_up(value_inside, 8);
}

/* Room for an item of so many bytes, where an empty pack first gets a head of its kind. */
static uint8_t *claim(struct forward_pack *p, uint8_t kind, uint64_t bytes)
{
    uint32_t length = p->length != 0 ? p->length : FORWARD_HEAD_BYTES;
    if (bytes > sizeof p->bytes - length)
        return NULL;
    if (p->length == 0)
        memcpy(p->bytes, &(struct head){.kind = kind}, sizeof(struct head));
    ASSERT(p->bytes[0] == kind);
    p->length = length + (uint32_t)bytes;
    return p->bytes + length;
}

bool forward_put_ask(struct forward_pack *p, const struct forward_ask *a, const void *key,
                     const void *value)
{
    uint32_t inside = (a->how & FORWARD_BESIDE) != 0 ? 0 : a->value_here;
    uint64_t fixed = FORWARD_ASK_BYTES + ((a->how & FORWARD_TTL) != 0 ? sizeof a->ttl_ns : 0);
    uint8_t *at = claim(p, FORWARD_ASK, forward_item_bytes(fixed, a->key_length, inside));
    if (at == NULL)
        return false;
    memcpy(at, a, fixed);
    (void)ring_put_padded(ring_put_padded(at + fixed, key, a->key_length), value, inside);
    return true;
}

bool forward_put_answer(struct forward_pack *p, const struct forward_answer *a, const void *key,
                        const void *value)
{
    uint32_t inside = (a->how & FORWARD_BESIDE) != 0 ? 0 : a->value_here;
    uint8_t *at = claim(p, FORWARD_ANSWER, forward_item_bytes(sizeof *a, a->key_length, inside));
    if (at == NULL)
        return false;
    memcpy(at, a, sizeof *a);
    (void)ring_put_padded(ring_put_padded(at + sizeof *a, key, a->key_length), value, inside);
    return true;
}

void forward_seal(struct forward_pack *p, uint64_t start, uint64_t number)
{
    const struct head h = {.kind = p->bytes[0], .start = start, .number = number};
    memcpy(p->bytes, &h, sizeof h);
}

/* ---- reading ---- */

int forward_open(struct forward_reader *r, const struct transport_received *d)
{
    struct head h;
    static const uint8_t zeros[sizeof h.zeros];
    if (d->head_length <= sizeof h || d->head_length > TRANSPORT_HEAD_MAX ||
        d->head_length % 8 != 0)
        return -EBADMSG;
    memcpy(&h, d->head, sizeof h);
    bool is_ask = h.kind == FORWARD_ASK;
    if ((!is_ask && h.kind != FORWARD_ANSWER) || memcmp(h.zeros, zeros, sizeof zeros) != 0 ||
        h.start == 0 || is_ask != (h.number != 0) || (d->bytes == NULL && d->length != 0))
        return -EBADMSG;
    *r = (struct forward_reader){
        .kind = h.kind,
        .start = h.start,
        .number = h.number,
        .at = d->head + sizeof h,
        .end = d->head + d->head_length,
        .bytes = d->bytes,
        .length = d->bytes != NULL ? d->length : 0,
    };
    return 0;
}

/* Copy the fixed part of the next item: 1, or as forward_next_ask. */
static int next_fixed(struct forward_reader *r, void *fixed, uint64_t bytes)
{
    uint64_t left = (uint64_t)(r->end - r->at);
    if (left == 0)
        return 0;
    /* Why: what travels beside belongs to the only item. */
    if (left < bytes || (r->count != 0 && r->length != 0))
        return -EBADMSG;
    memcpy(fixed, r->at, bytes);
    r->at += bytes;
    r->count++;
    return 1;
}

/* Where its key and its value lie. */
static int next_parts(struct forward_reader *r, uint16_t key_length, uint32_t here, uint8_t how,
                      const uint8_t **parts)
{
    bool beside = (how & FORWARD_BESIDE) != 0;
    uint64_t key_bytes = align_up(key_length, 8);
    uint64_t inside = beside ? 0 : align_up(here, 8);
    /* Why the length: a value beside is all there is beside, and nothing else is. */
    if (key_length > LIMIT_KEY_BYTES || r->length != (beside ? here : 0) || (beside && here == 0) ||
        key_bytes + inside > (uint64_t)(r->end - r->at))
        return -EBADMSG;
    parts[0] = r->at;
    parts[1] = beside ? r->bytes : r->at + key_bytes;
    r->at += key_bytes + inside;
    return 1;
}

/* A ttl where it means something, and nowhere else. */
static bool ask_ttl_is_sound(const struct forward_ask *a)
{
    bool has_ttl = (a->how & FORWARD_TTL) != 0;
    if (has_ttl && (a->ttl_ns < LIMIT_TTL_NS_MIN || a->ttl_ns > LIMIT_TTL_NS_MAX))
        return false;
    switch (a->operation) {
    case RING_LEASE_ACQUIRE:
    case RING_LEASE_RENEW:
        return has_ttl;
    case RING_PUT:
        return !has_ttl || a->value_offset == 0;
    default:
        return !has_ttl;
    }
}

static bool ask_is_sound(const struct forward_ask *a)
{
    if (a->number == 0 || a->epoch == 0 || a->reserved != 0 ||
        (a->how & ~(FORWARD_BESIDE | FORWARD_TTL)) != 0 || !ask_ttl_is_sound(a) ||
        a->value_length > LIMIT_VALUE_BYTES || a->value_offset > a->value_length)
        return false;
    switch (a->operation) {
    case RING_PUT:
        /* Only the first part has a key, and only an empty value is in no part. */
        return a->value_here <= a->value_length - a->value_offset &&
               (a->value_offset == 0) == (a->key_length != 0) &&
               (a->value_here != 0 || a->value_length == 0);
    case RING_TRANSACTION:
        return a->value_here <= a->value_length - a->value_offset && a->key_length == 0 &&
               a->value_here != 0;
    case RING_INCREMENT:
        return a->value_length == sizeof(int64_t) && a->value_here == sizeof(int64_t) &&
               a->value_offset == 0 && a->key_length != 0;
    case RING_LEASE_ACQUIRE:
        return a->value_length != 0 && a->value_length <= LIMIT_LEASE_OWNER_BYTES &&
               a->value_here == a->value_length && a->value_offset == 0 && a->key_length != 0;
    case RING_GET:
        return a->value_here == 0 && a->key_length != 0;
    case RING_LEASE_RENEW:
    case RING_LEASE_RELEASE:
    case RING_DELETE:
        return a->value_length == 0 && a->value_here == 0 && a->key_length != 0;
    case RING_SESSION_OPEN:
    case RING_SESSION_CLOSE:
        return a->value_length == 0 && a->value_here == 0 && a->key_length == SESSION_ID_BYTES;
    case RING_POSITION:
        return a->value_length == 0 && a->value_here == 0 && a->key_length == 0;
    default:
        return false;
    }
}

int forward_next_ask(struct forward_reader *r, struct forward_ask *a, const uint8_t **key,
                     const uint8_t **value)
{
    const uint8_t *parts[2];
    int more = r->kind == FORWARD_ASK ? next_fixed(r, a, FORWARD_ASK_BYTES) : -EBADMSG;
    if (more <= 0)
        return more;
    a->ttl_ns = 0;
    if ((a->how & FORWARD_TTL) != 0) {
        if ((uint64_t)(r->end - r->at) < sizeof a->ttl_ns)
            return -EBADMSG;
        memcpy(&a->ttl_ns, r->at, sizeof a->ttl_ns);
        r->at += sizeof a->ttl_ns;
    }
    if (!ask_is_sound(a) || next_parts(r, a->key_length, a->value_here, a->how, parts) < 0)
        return -EBADMSG;
    *key = parts[0];
    *value = parts[1];
    return 1;
}

static bool answer_is_sound(const struct forward_answer *a)
{
    bool more = (a->how & FORWARD_MORE) != 0;
    return a->start != 0 && a->number != 0 && a->status < RING_STATUS_COUNT && a->reserved == 0 &&
           (a->how & ~(FORWARD_BESIDE | FORWARD_MORE)) == 0 &&
           a->value_length <= LIMIT_VALUE_BYTES && a->value_offset <= a->value_length &&
           a->value_here <= a->value_length - a->value_offset &&
           (!more || (a->value_here == 0 && a->key_length == 0)) &&
           /* with a condition that did not hold: the number of who holds the lease */
           (a->status == RING_OK || a->value_here == 0 ||
            (a->status == RING_CONDITION && a->value_here == sizeof(int64_t)));
}

int forward_next_answer(struct forward_reader *r, struct forward_answer *a, const uint8_t **key,
                        const uint8_t **value)
{
    const uint8_t *parts[2];
    int more = r->kind == FORWARD_ANSWER ? next_fixed(r, a, sizeof *a) : -EBADMSG;
    if (more <= 0)
        return more;
    if (!answer_is_sound(a) || next_parts(r, a->key_length, a->value_here, a->how, parts) < 0)
        return -EBADMSG;
    *key = parts[0];
    *value = parts[1];
    return 1;
}

/* ---- datagrams that come late ---- */

enum forward_order forward_window_take(struct forward_window *w, uint64_t start, uint64_t number)
{
    if (start < w->start)
        return FORWARD_SEEN;
    if (start > w->start)
        *w = (struct forward_window){.start = start};
    if (number > w->highest) {
        uint64_t ahead = number - w->highest;
        w->seen = (ahead < WINDOW ? w->seen << ahead : 0) | 1;
        w->highest = number;
        return FORWARD_IN_ORDER;
    }
    uint64_t behind = w->highest - number;
    if (behind >= WINDOW || (w->seen >> behind & 1) != 0)
        return FORWARD_SEEN;
    w->seen |= UINT64_C(1) << behind;
    return FORWARD_LATE;
}

/* ---- places ---- */

void forward_table_init(struct forward_table *t, struct forward_place *memory)
{
    *t = (struct forward_table){.places = memory, .head = 1, .tail = 1};
}

/* The number tail is used up. */
static void pass_tail(struct forward_table *t)
{
    t->tail++;
    if (t->tail - t->head > LIMIT_FORWARDS)
        t->head = t->tail - LIMIT_FORWARDS; /* which is every place */
}

struct forward_place *forward_table_next(struct forward_table *t)
{
    if (t->open_count == LIMIT_FORWARDS)
        return NULL;
    while (t->places[t->tail % LIMIT_FORWARDS].open)
        pass_tail(t);
    struct forward_place *p = &t->places[t->tail % LIMIT_FORWARDS];
    *p = (struct forward_place){.open = false};
    return p;
}

void forward_table_take(struct forward_table *t)
{
    struct forward_place *p = &t->places[t->tail % LIMIT_FORWARDS];
    ASSERT(!p->open);
    p->number = t->tail;
    p->open = true;
    pass_tail(t);
    t->open_count++;
}

struct forward_place *forward_table_find(const struct forward_table *t, uint64_t number,
                                         uint32_t leader)
{
    struct forward_place *p = forward_table_at(t, number);
    return p != NULL && p->number == number && p->leader == leader ? p : NULL;
}

void forward_table_end(struct forward_table *t, uint64_t number)
{
    struct forward_place *p = &t->places[number % LIMIT_FORWARDS];
    ASSERT(p->number == number && p->open);
    p->open = false;
    t->open_count--;
    while (t->head != t->tail && !t->places[t->head % LIMIT_FORWARDS].open)
        t->head++;
}
