/* ring: messages come out whole and in order; a hostile other side is named, never followed. */
#include "engine/ring.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define BYTES LIMIT_RING_BYTES_MIN
#define CELLS (BYTES / RING_CELL)

struct pair {
    struct ring_shared shared;
    alignas(RING_CELL) uint8_t data[BYTES];
    struct ring producer, consumer;
};

static struct pair *pair_make(void)
{
    struct pair *p = aligned_alloc(alignof(struct pair), sizeof *p);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p);
    memset(p, 0, sizeof *p);
    ring_join(&p->producer, &p->shared, p->data, BYTES);
    ring_join(&p->consumer, &p->shared, p->data, BYTES);
    return p;
}

static struct ring_head head_of(uint32_t length)
{
    return (struct ring_head){.length = length, .operation = RING_NOP};
}

static int put(struct pair *p, uint32_t length, uint8_t fill)
{
    void *at;
    int error = ring_claim(&p->producer, length, &at);
    if (error != 0)
        return error;
    memset((uint8_t *)at + sizeof(struct ring_head), fill, length - sizeof(struct ring_head));
    ring_commit(&p->producer, at, head_of(length));
    return 0;
}

/* Take one message and check it; publishes.  False: none, or not the one expected. */
static bool take(struct pair *p, uint32_t length, uint8_t fill)
{
    void *at;
    struct ring_head head;
    if (ring_peek(&p->consumer, &at, &head) != 1 || head.length != length)
        return false;
    const uint8_t *bytes = at;
    bool same = true;
    for (uint32_t i = sizeof head; i < length; i++)
        same = same && bytes[i] == fill;
    ring_consume(&p->consumer, &head);
    ring_publish(&p->consumer);
    return same;
}

static void nothing_is_there_before_commit(void)
{
    struct pair *p = pair_make();
    void *at;
    struct ring_head head;
    CU_ASSERT_EQUAL(ring_peek(&p->consumer, &at, &head), 0);
    CU_ASSERT_EQUAL(ring_claim(&p->producer, 64, &at), 0);
    CU_ASSERT_EQUAL(ring_peek(&p->consumer, &at, &head), 0);
    ring_commit(&p->producer, p->data, head_of(64));
    CU_ASSERT_EQUAL(ring_peek(&p->consumer, &at, &head), 1);
    CU_ASSERT_EQUAL(ring_peek(&p->consumer, &at, &head), 1); /* stays until consumed */
    CU_ASSERT_EQUAL(head.operation, RING_NOP);
    free(p);
}

static void messages_of_all_lengths_wrap_in_order(void)
{
    struct pair *p = pair_make();
    uint32_t length = sizeof(struct ring_head);
    for (unsigned i = 0; i < 20000; i++) {
        CU_ASSERT_EQUAL_FATAL(put(p, length, (uint8_t)i), 0);
        CU_ASSERT_TRUE_FATAL(take(p, length, (uint8_t)i));
        length = length + 7 > BYTES / 4 ? (uint32_t)sizeof(struct ring_head) : length + 7;
    }
    CU_ASSERT_TRUE(p->producer.position > 100 * BYTES);
    free(p);
}

static void a_full_ring_says_so_and_loses_nothing(void)
{
    struct pair *p = pair_make();
    unsigned count = 0;
    while (put(p, 64, (uint8_t)count) == 0)
        count++;
    CU_ASSERT_EQUAL(count, CELLS - 1); /* one cell stays free for the next first word */
    CU_ASSERT_EQUAL(ring_has_room(&p->producer, 64), 0);
    CU_ASSERT_TRUE(take(p, 64, 0));
    CU_ASSERT_EQUAL(ring_has_room(&p->producer, 64), 1);
    CU_ASSERT_EQUAL(put(p, 64, (uint8_t)count), 0);
    CU_ASSERT_EQUAL(put(p, 64, 0), -EAGAIN);
    for (unsigned i = 1; i <= count; i++)
        CU_ASSERT_TRUE(take(p, 64, (uint8_t)i));
    CU_ASSERT_FALSE(take(p, 64, 0));
    free(p);
}

static void a_long_message_skips_the_end_of_the_ring(void)
{
    struct pair *p = pair_make();
    for (unsigned i = 0; i < CELLS - 2; i++) {
        CU_ASSERT_EQUAL(put(p, 64, 1), 0);
        CU_ASSERT_TRUE(take(p, 64, 1));
    }
    CU_ASSERT_EQUAL(p->producer.position, BYTES - 128);
    CU_ASSERT_EQUAL(put(p, 1000, 2), 0); /* two cells of filler, then at the start */
    CU_ASSERT_TRUE(take(p, 1000, 2));
    CU_ASSERT_EQUAL(p->consumer.position, BYTES + 1024);
    free(p);
}

/* A claim that is given up leaves its filler behind: the next, smaller one must cope. */
static void an_abandoned_claim_does_no_harm(void)
{
    struct pair *p = pair_make();
    void *at;
    for (unsigned i = 0; i < CELLS - 2; i++) {
        CU_ASSERT_EQUAL(put(p, 64, 1), 0);
        CU_ASSERT_TRUE(take(p, 64, 1));
    }
    CU_ASSERT_EQUAL(ring_claim(&p->producer, 1000, &at), 0);
    CU_ASSERT_FALSE(take(p, 64, 0));
    CU_ASSERT_EQUAL(put(p, 64, 3), 0);
    CU_ASSERT_TRUE(take(p, 64, 3));
    CU_ASSERT_FALSE(take(p, 64, 0));
    free(p);
}

static void too_long_and_too_short_are_named(void)
{
    struct pair *p = pair_make();
    void *at;
    CU_ASSERT_EQUAL(ring_claim(&p->producer, BYTES / 4 + 1, &at), -EMSGSIZE);
    CU_ASSERT_EQUAL(ring_claim(&p->producer, UINT32_MAX, &at), -EMSGSIZE);
    CU_ASSERT_EQUAL(ring_claim(&p->producer, sizeof(struct ring_head) - 1, &at), -EMSGSIZE);
    CU_ASSERT_EQUAL(ring_claim(&p->producer, BYTES / 4, &at), 0);
    free(p);
}

static int peek_at(struct pair *p, struct ring_head head, uint64_t position)
{
    void *at;
    struct ring_head seen;
    p->consumer.position = position;
    memcpy(p->data + position % BYTES, &head, sizeof head);
    return ring_peek(&p->consumer, &at, &seen);
}

static void impossible_heads_are_refused(void)
{
    struct pair *p = pair_make();
    const uint64_t near_end = BYTES - 128;
    CU_ASSERT_EQUAL(peek_at(p, head_of(1), 0), -EPROTO);
    CU_ASSERT_EQUAL(peek_at(p, head_of(sizeof(struct ring_head) - 1), 0), -EPROTO);
    CU_ASSERT_EQUAL(peek_at(p, head_of(BYTES / 4 + 1), 0), -EPROTO);
    CU_ASSERT_EQUAL(peek_at(p, head_of(UINT32_MAX), 0), -EPROTO);
    CU_ASSERT_EQUAL(peek_at(p, head_of(129), near_end), -EPROTO); /* across the end */
    CU_ASSERT_EQUAL(peek_at(p, head_of(128), near_end), 1);
    /* filler: only up to the end, and never the whole ring */
    CU_ASSERT_EQUAL(peek_at(p, (struct ring_head){.length = 64}, near_end), -EPROTO);
    CU_ASSERT_EQUAL(peek_at(p, (struct ring_head){.length = 192}, near_end), -EPROTO);
    CU_ASSERT_EQUAL(peek_at(p, (struct ring_head){.length = BYTES}, 0), -EPROTO);
    memset(p->data, 0, RING_CELL);
    CU_ASSERT_EQUAL(peek_at(p, (struct ring_head){.length = 128}, near_end), 0);
    free(p);
}

/* Random first words: always an answer, and a message that is accepted lies inside the ring. */
static void random_heads_never_lead_outside(void)
{
    struct pair *p = pair_make();
    uint64_t random = 88172645463325252u;
    unsigned accepted = 0;
    for (unsigned i = 0; i < 200000; i++) {
        void *at;
        struct ring_head head;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint64_t word = i % 2 != 0 ? random : random & UINT64_C(0x000000ff00000fff);
        p->consumer.position = random % CELLS * RING_CELL;
        memcpy(p->data + p->consumer.position, &word, sizeof word);
        int result = ring_peek(&p->consumer, &at, &head);
        CU_ASSERT_FATAL(result == 0 || result == 1 || result == -EPROTO);
        if (result != 1)
            continue;
        accepted++;
        CU_ASSERT_FATAL((uint8_t *)at >= p->data && head.length <= BYTES / 4 &&
                        (uint8_t *)at + head.length <= p->data + BYTES);
    }
    CU_ASSERT_TRUE(accepted > 100);
    free(p);
}

static void impossible_positions_are_refused(void)
{
    struct pair *p = pair_make();
    const uint64_t bad[] = {BYTES, UINT64_MAX, 1, RING_CELL + 1};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        void *at;
        struct ring r = p->producer;
        r.position = BYTES - RING_CELL; /* full as far as it knows */
        atomic_store_explicit(&p->shared.consumed, bad[i], memory_order_relaxed);
        CU_ASSERT_EQUAL(ring_claim(&r, 64, &at), -EPROTO);
        CU_ASSERT_EQUAL(ring_has_room(&r, 64), -EPROTO);
    }
    /* going backwards */
    struct ring r = p->producer;
    void *at;
    r.position = 3 * BYTES;
    r.seen = 2 * BYTES;
    atomic_store_explicit(&p->shared.consumed, BYTES, memory_order_relaxed);
    CU_ASSERT_EQUAL(ring_claim(&r, 64, &at), -EPROTO);
    free(p);
}

static void publishing_nothing_stores_nothing(void)
{
    struct pair *p = pair_make();
    atomic_store_explicit(&p->shared.consumed, 4711, memory_order_relaxed);
    ring_publish(&p->consumer);
    CU_ASSERT_EQUAL(atomic_load_explicit(&p->shared.consumed, memory_order_relaxed), 4711);
    free(p);
}

/* ---- two threads ---- */

#define EXCHANGES 1000000u

static uint32_t length_of(uint32_t i)
{
    return (uint32_t)sizeof(struct ring_head) + 8 + i * 2654435761u % 500;
}

static void *produce(void *argument)
{
    struct pair *p = argument;
    for (uint32_t i = 0; i < EXCHANGES;) {
        void *at;
        uint32_t length = length_of(i);
        int error = ring_claim(&p->producer, length, &at);
        if (error == -EAGAIN) {
            (void)sched_yield();
            continue;
        }
        if (error != 0)
            return "claim failed";
        memcpy((uint8_t *)at + sizeof(struct ring_head), &i, sizeof i);
        memcpy((uint8_t *)at + length - sizeof i, &i, sizeof i);
        ring_commit(&p->producer, at, head_of(length));
        i++;
    }
    return NULL;
}

static const char *consume_all(struct pair *p)
{
    for (uint32_t i = 0; i < EXCHANGES;) {
        void *at;
        struct ring_head head;
        uint32_t first, last;
        int found = ring_peek(&p->consumer, &at, &head);
        if (found < 0)
            return "peek failed";
        if (found == 0) {
            ring_publish(&p->consumer);
            (void)sched_yield();
            continue;
        }
        if (head.length != length_of(i))
            return "wrong length";
        memcpy(&first, (uint8_t *)at + sizeof head, sizeof first);
        memcpy(&last, (uint8_t *)at + head.length - sizeof last, sizeof last);
        if (first != i || last != i)
            return "wrong bytes";
        ring_consume(&p->consumer, &head);
        if (i % 7 == 0)
            ring_publish(&p->consumer);
        i++;
    }
    ring_publish(&p->consumer);
    return NULL;
}

static void two_threads_exchange_a_million(void)
{
    struct pair *p = pair_make();
    pthread_t thread;
    void *producer_fault;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, produce, p), 0);
    const char *consumer_fault = consume_all(p);
    if (consumer_fault != NULL) {
        printf("%s\n", consumer_fault);
        /* let the producer finish: everything it waits for is free */
        atomic_store_explicit(&p->shared.consumed, 1, memory_order_release);
    }
    (void)pthread_join(thread, &producer_fault);
    CU_ASSERT_PTR_NULL(consumer_fault);
    CU_ASSERT_PTR_NULL(producer_fault);
    CU_ASSERT_EQUAL(p->producer.position, p->consumer.position);
    free(p);
}

static void a_request_knows_its_length(void)
{
    CU_ASSERT_EQUAL(ring_request_bytes(0, 1, 0), 72);
    CU_ASSERT_EQUAL(ring_request_bytes(0, 16, 0), 80);
    CU_ASSERT_EQUAL(ring_request_bytes(4, 9, 17), 64 + 8 + 16 + 24);
}

static const struct unit_test tests[] = {
    UNIT_TEST(nothing_is_there_before_commit),
    UNIT_TEST(messages_of_all_lengths_wrap_in_order),
    UNIT_TEST(a_full_ring_says_so_and_loses_nothing),
    UNIT_TEST(a_long_message_skips_the_end_of_the_ring),
    UNIT_TEST(an_abandoned_claim_does_no_harm),
    UNIT_TEST(too_long_and_too_short_are_named),
    UNIT_TEST(impossible_heads_are_refused),
    UNIT_TEST(random_heads_never_lead_outside),
    UNIT_TEST(impossible_positions_are_refused),
    UNIT_TEST(publishing_nothing_stores_nothing),
    UNIT_TEST(two_threads_exchange_a_million),
    UNIT_TEST(a_request_knows_its_length),
};
UNIT_MAIN("ring", tests)
