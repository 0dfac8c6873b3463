/* What datagrams of forwarded operations say, which of them come late, and the places that wait. */
#include "dataplane/forward.h"

#include "tests/unit/unit.h"

#include <stdlib.h>

static struct forward_pack pack;
static struct forward_reader reader;
static const uint8_t *key, *value;

static const struct forward_ask put = {
    .number = 7,
    .epoch = 3,
    .session = 640,
    .sequence = 12,
    .expected_lsn = 128,
    .log = 0x30002,
    .uid = 1000,
    .session_slot = 5,
    .value_length = 11,
    .value_here = 11,
    .flags = RING_FLAG_COMPARE,
    .key_length = 5,
    .operation = RING_PUT,
};
static const struct forward_answer ok = {
    .start = 99,
    .number = 7,
    .lsn = 640,
    .epoch = 3,
    .session_slot = 5,
    .value_length = 11,
    .value_here = 11,
    .status = RING_OK,
};

static struct transport_received datagram(void)
{
    return (struct transport_received){.from = 2, .head = pack.bytes, .head_length = pack.length};
}

static void put_ask(const struct forward_ask *a)
{
    CU_ASSERT_TRUE_FATAL(forward_put_ask(&pack, a, "heron", "grey as sky"));
}

/* Whether a datagram with this ask alone is read as it was written. */
static int ask_alone(const struct forward_ask *a, const uint8_t *beside, uint32_t length)
{
    static uint8_t bytes[LIMIT_KEY_BYTES + 2048];
    struct forward_ask got;
    pack.length = 0;
    CU_ASSERT_TRUE_FATAL(forward_put_ask(&pack, a, bytes, bytes));
    forward_seal(&pack, 99, 1);
    struct transport_received d = datagram();
    d.bytes = beside;
    d.length = length;
    int error = forward_open(&reader, &d);
    return error != 0 ? error : forward_next_ask(&reader, &got, &key, &value);
}

static int answer_alone(const struct forward_answer *a)
{
    static uint8_t bytes[2048];
    struct forward_answer got;
    pack.length = 0;
    CU_ASSERT_TRUE_FATAL(forward_put_answer(&pack, a, bytes, bytes));
    forward_seal(&pack, 99, 0);
    struct transport_received d = datagram();
    int error = forward_open(&reader, &d);
    return error != 0 ? error : forward_next_answer(&reader, &got, &key, &value);
}

/* ---- codec ---- */

static void asks_come_out_as_they_went_in(void)
{
    struct forward_ask got, second = put;
    second.number = 8;
    second.operation = RING_DELETE;
    second.value_length = second.value_here = 0;
    pack.length = 0;
    put_ask(&put);
    put_ask(&second);
    forward_seal(&pack, 99, 41);
    struct transport_received d = datagram();
    CU_ASSERT_TRUE(forward_is(d.head, d.head_length));
    CU_ASSERT_EQUAL_FATAL(forward_open(&reader, &d), 0);
    CU_ASSERT_EQUAL(reader.kind, FORWARD_ASK);
    CU_ASSERT_EQUAL(reader.start, 99);
    CU_ASSERT_EQUAL(reader.number, 41);
    CU_ASSERT_EQUAL_FATAL(forward_next_ask(&reader, &got, &key, &value), 1);
    CU_ASSERT_EQUAL(memcmp(&got, &put, sizeof got), 0);
    CU_ASSERT_EQUAL(memcmp(key, "heron\0\0\0", 8), 0);
    CU_ASSERT_EQUAL(memcmp(value, "grey as sky\0\0\0\0\0", 16), 0);
    CU_ASSERT_EQUAL_FATAL(forward_next_ask(&reader, &got, &key, &value), 1);
    CU_ASSERT_EQUAL(memcmp(&got, &second, sizeof got), 0);
    CU_ASSERT_EQUAL(memcmp(key, "heron", 5), 0);
    CU_ASSERT_EQUAL(forward_next_ask(&reader, &got, &key, &value), 0);
    struct forward_answer other;
    CU_ASSERT_EQUAL_FATAL(forward_open(&reader, &d), 0);
    CU_ASSERT_EQUAL(forward_next_answer(&reader, &other, &key, &value), -EBADMSG);
}

static void answers_come_out_as_they_went_in(void)
{
    struct forward_answer got;
    pack.length = 0;
    CU_ASSERT_TRUE_FATAL(forward_put_answer(&pack, &ok, NULL, "grey as sky"));
    forward_seal(&pack, 5, 0);
    struct transport_received d = datagram();
    CU_ASSERT_EQUAL_FATAL(forward_open(&reader, &d), 0);
    CU_ASSERT_EQUAL_FATAL(forward_next_answer(&reader, &got, &key, &value), 1);
    CU_ASSERT_EQUAL(memcmp(&got, &ok, sizeof got), 0);
    CU_ASSERT_EQUAL(memcmp(value, "grey as sky", 11), 0);
    CU_ASSERT_EQUAL(forward_next_answer(&reader, &got, &key, &value), 0);
}

static void a_full_pack_takes_no_more(void)
{
    uint32_t count = 0, read = 0;
    struct forward_ask got, a = put;
    pack.length = 0;
    for (a.number = 1; forward_put_ask(&pack, &a, "heron", "grey as sky"); a.number++)
        count++;
    uint64_t each = forward_item_bytes(FORWARD_ASK_BYTES, 5, 11);
    CU_ASSERT_EQUAL(each, 96);
    CU_ASSERT_EQUAL(count, (TRANSPORT_HEAD_MAX - FORWARD_HEAD_BYTES) / each);
    CU_ASSERT_EQUAL(pack.length, FORWARD_HEAD_BYTES + count * each);
    forward_seal(&pack, 99, 1);
    struct transport_received d = datagram();
    CU_ASSERT_EQUAL_FATAL(forward_open(&reader, &d), 0);
    while (forward_next_ask(&reader, &got, &key, &value) > 0)
        CU_ASSERT_EQUAL(got.number, ++read);
    CU_ASSERT_EQUAL(read, count);
    /* the longest key beside the longest small value */
    pack.length = 0;
    static const uint8_t zeros[FORWARD_SMALL_BYTES];
    a.key_length = LIMIT_KEY_BYTES;
    a.value_length = a.value_here = FORWARD_SMALL_BYTES;
    CU_ASSERT_TRUE(forward_put_ask(&pack, &a, zeros, zeros));
    CU_ASSERT(FORWARD_ASKS_MAX * FORWARD_ASK_BYTES <= TRANSPORT_HEAD_MAX - FORWARD_HEAD_BYTES);
    CU_ASSERT((FORWARD_ASKS_MAX + 1) * FORWARD_ASK_BYTES > TRANSPORT_HEAD_MAX - FORWARD_HEAD_BYTES);
}

static void a_value_beside_is_alone_and_all_there_is(void)
{
    static const uint8_t bytes[4096];
    struct forward_ask a = put, got;
    a.how = FORWARD_BESIDE;
    a.value_length = a.value_here = sizeof bytes;
    CU_ASSERT_EQUAL(ask_alone(&a, bytes, sizeof bytes), 1);
    CU_ASSERT_PTR_EQUAL(value, bytes);
    CU_ASSERT_EQUAL(ask_alone(&a, bytes, sizeof bytes - 1), -EBADMSG);
    CU_ASSERT_EQUAL(ask_alone(&a, NULL, 0), -EBADMSG);
    CU_ASSERT_EQUAL(ask_alone(&put, bytes, 11), -EBADMSG); /* it is inside */
    a.value_here = 8; /* the first of several parts, then one without a key */
    CU_ASSERT_EQUAL(ask_alone(&a, bytes, 8), 1);
    a.value_offset = 8;
    CU_ASSERT_EQUAL(ask_alone(&a, bytes, 8), -EBADMSG);
    a.key_length = 0;
    CU_ASSERT_EQUAL(ask_alone(&a, bytes, 8), 1);
    a.value_offset = sizeof bytes - 7;
    CU_ASSERT_EQUAL(ask_alone(&a, bytes, 8), -EBADMSG);
    a.value_offset = UINT32_MAX;
    CU_ASSERT_EQUAL(ask_alone(&a, bytes, 8), -EBADMSG);
    /* two in one datagram */
    a = put;
    a.how = FORWARD_BESIDE;
    pack.length = 0;
    put_ask(&a);
    put_ask(&put);
    forward_seal(&pack, 99, 1);
    struct transport_received d = datagram();
    d.bytes = bytes;
    d.length = a.value_here;
    CU_ASSERT_EQUAL_FATAL(forward_open(&reader, &d), 0);
    CU_ASSERT_EQUAL(forward_next_ask(&reader, &got, &key, &value), 1);
    CU_ASSERT_EQUAL(forward_next_ask(&reader, &got, &key, &value), -EBADMSG);
}

static void asks_that_no_correct_peer_sends_are_refused(void)
{
    struct forward_ask wrong[24];
    uint32_t count = 0;
    CU_ASSERT_EQUAL(ask_alone(&put, NULL, 0), 1);
#define WRONG(field, with)                                                                         \
    do {                                                                                           \
        wrong[count] = put;                                                                        \
        wrong[count++].field = (with);                                                             \
    } while (0)
    WRONG(number, 0);
    WRONG(epoch, 0);
    WRONG(reserved, 1);
    WRONG(how, FORWARD_MORE);
    WRONG(how, FORWARD_TTL);              /* of 0 */
    WRONG(operation, RING_LEASE_ACQUIRE); /* without one */
    WRONG(value_length, LIMIT_VALUE_BYTES + 1);
    WRONG(value_length, 10); /* less than is here */
    WRONG(value_offset, 1);
    WRONG(value_here, 0); /* a part without anything */
    WRONG(key_length, 0);
    WRONG(operation, RING_NOP);
    WRONG(operation, RING_OPERATION_COUNT);
    WRONG(operation, RING_GET);
    WRONG(operation, RING_DELETE);
    WRONG(operation, RING_SESSION_OPEN);
    WRONG(operation, RING_SESSION_CLOSE);
#undef WRONG
    for (uint32_t i = 0; i < count; i++)
        CU_ASSERT_EQUAL(ask_alone(&wrong[i], NULL, 0), -EBADMSG);
    struct forward_ask get = put, open = put;
    get.operation = RING_GET;
    get.value_here = 0;
    CU_ASSERT_EQUAL(ask_alone(&get, NULL, 0), 1);
    open.operation = RING_SESSION_OPEN;
    open.value_length = open.value_here = 0;
    open.key_length = SESSION_ID_BYTES;
    CU_ASSERT_EQUAL(ask_alone(&open, NULL, 0), 1);
}

static void a_ttl_goes_where_it_means_something(void)
{
    struct forward_ask a = put, got;
    a.how = FORWARD_TTL;
    a.ttl_ns = LIMIT_TTL_NS_MIN;
    CU_ASSERT_EQUAL(ask_alone(&a, NULL, 0), 1);
    pack.length = 0;
    put_ask(&a);
    put_ask(&put);
    forward_seal(&pack, 99, 1);
    struct transport_received d = datagram();
    CU_ASSERT_EQUAL_FATAL(forward_open(&reader, &d), 0);
    CU_ASSERT_EQUAL_FATAL(forward_next_ask(&reader, &got, &key, &value), 1);
    CU_ASSERT_EQUAL(got.ttl_ns, LIMIT_TTL_NS_MIN);
    CU_ASSERT_EQUAL(memcmp(key, "heron", 5), 0);
    CU_ASSERT_EQUAL_FATAL(forward_next_ask(&reader, &got, &key, &value), 1);
    CU_ASSERT_EQUAL(got.ttl_ns, 0);
    a.ttl_ns = LIMIT_TTL_NS_MAX + 1;
    CU_ASSERT_EQUAL(ask_alone(&a, NULL, 0), -EBADMSG);
    a.ttl_ns = LIMIT_TTL_NS_MAX;
    a.operation = RING_LEASE_ACQUIRE;
    CU_ASSERT_EQUAL(ask_alone(&a, NULL, 0), 1);
    CU_ASSERT_EQUAL(forward_version(&a), FORWARD_WIRE_TRANSACTIONS);
    a.operation = RING_DELETE;
    a.value_length = a.value_here = 0;
    CU_ASSERT_EQUAL(ask_alone(&a, NULL, 0), -EBADMSG);
    a.operation = RING_LEASE_RENEW;
    CU_ASSERT_EQUAL(ask_alone(&a, NULL, 0), 1);
    a.operation = RING_LEASE_RELEASE;
    CU_ASSERT_EQUAL(ask_alone(&a, NULL, 0), -EBADMSG);
    a.how = 0;
    CU_ASSERT_EQUAL(ask_alone(&a, NULL, 0), 1);
    a = put;
    CU_ASSERT_EQUAL(forward_version(&a), FORWARD_WIRE_VERSION);
    a.ttl_ns = 1;
    CU_ASSERT_EQUAL(forward_version(&a), FORWARD_WIRE_TRANSACTIONS);
}

static void answers_that_no_correct_peer_sends_are_refused(void)
{
    struct forward_answer wrong[16];
    uint32_t count = 0;
    CU_ASSERT_EQUAL(answer_alone(&ok), 1);
#define WRONG(field, with)                                                                         \
    do {                                                                                           \
        wrong[count] = ok;                                                                         \
        wrong[count++].field = (with);                                                             \
    } while (0)
    WRONG(start, 0);
    WRONG(number, 0);
    WRONG(reserved, 1);
    WRONG(how, 4);
    WRONG(how, FORWARD_MORE); /* it confirms a value, and has one */
    WRONG(how, FORWARD_BESIDE);
    WRONG(status, RING_STATUS_COUNT);
    WRONG(status, RING_RETRY); /* with a value */
    WRONG(value_length, LIMIT_VALUE_BYTES + 1);
    WRONG(value_length, 10);
    WRONG(value_offset, 1);
    WRONG(value_offset, UINT32_MAX);
#undef WRONG
    for (uint32_t i = 0; i < count; i++)
        CU_ASSERT_EQUAL(answer_alone(&wrong[i]), -EBADMSG);
}

static void heads_that_no_correct_peer_sends_are_refused(void)
{
    pack.length = 0;
    put_ask(&put);
    forward_seal(&pack, 99, 1);
    struct transport_received d = datagram();
    CU_ASSERT_EQUAL(forward_open(&reader, &d), 0);
    d.length = 1; /* of nothing */
    CU_ASSERT_EQUAL(forward_open(&reader, &d), -EBADMSG);
    d.length = 0;
    for (uint32_t length = 0; length < pack.length; length++) {
        struct forward_ask got;
        d.head_length = length;
        int error = forward_open(&reader, &d);
        CU_ASSERT(error == -EBADMSG || forward_next_ask(&reader, &got, &key, &value) == -EBADMSG);
    }
    d.head_length = pack.length;
    static const struct {
        uint32_t at;
        uint8_t with;
    } wrong[] = {{0, 0}, {0, 47}, {0, FORWARD_ANSWER}, {1, 1}, {7, 1}, {8, 0}, {16, 0}};
    for (uint32_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint8_t was = pack.bytes[wrong[i].at];
        pack.bytes[wrong[i].at] = wrong[i].with;
        CU_ASSERT_EQUAL(forward_open(&reader, &d), -EBADMSG);
        pack.bytes[wrong[i].at] = was;
    }
    CU_ASSERT_EQUAL(forward_open(&reader, &d), 0);
}

/* ---- datagrams that come late ---- */

static void numbers_are_taken_in_order_and_once(void)
{
    struct forward_window w = {0};
    CU_ASSERT_EQUAL(forward_window_take(&w, 10, 1), FORWARD_IN_ORDER);
    CU_ASSERT_EQUAL(forward_window_take(&w, 10, 1), FORWARD_SEEN);
    CU_ASSERT_EQUAL(forward_window_take(&w, 10, 4), FORWARD_IN_ORDER);
    CU_ASSERT_EQUAL(forward_window_take(&w, 10, 3), FORWARD_LATE);
    CU_ASSERT_EQUAL(forward_window_take(&w, 10, 3), FORWARD_SEEN);
    CU_ASSERT_EQUAL(forward_window_take(&w, 10, 67), FORWARD_IN_ORDER);
    CU_ASSERT_EQUAL(forward_window_take(&w, 10, 4), FORWARD_SEEN);
    CU_ASSERT_EQUAL(forward_window_take(&w, 10, 5), FORWARD_LATE);
    CU_ASSERT_EQUAL(forward_window_take(&w, 10, 3), FORWARD_SEEN); /* too late to tell */
    CU_ASSERT_EQUAL(forward_window_take(&w, 10, 131), FORWARD_IN_ORDER);
    CU_ASSERT_EQUAL(forward_window_take(&w, 10, 68), FORWARD_LATE);
    CU_ASSERT_EQUAL(forward_window_take(&w, 10, 67), FORWARD_SEEN);
    /* a new start begins anew, and the one before says nothing any more */
    CU_ASSERT_EQUAL(forward_window_take(&w, 11, 2), FORWARD_IN_ORDER);
    CU_ASSERT_EQUAL(forward_window_take(&w, 11, 1), FORWARD_LATE);
    CU_ASSERT_EQUAL(forward_window_take(&w, 10, 132), FORWARD_SEEN);
}

/* ---- places ---- */

static void numbers_of_places_never_repeat(void)
{
    struct forward_table t;
    struct forward_place *memory = calloc(LIMIT_FORWARDS, sizeof *memory);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    forward_table_init(&t, memory);
    for (uint64_t i = 1; i <= LIMIT_FORWARDS; i++) {
        struct forward_place *p = forward_table_next(&t);
        CU_ASSERT_PTR_NOT_NULL_FATAL(p);
        CU_ASSERT_PTR_NULL(forward_table_find(&t, i, 2)); /* not taken yet */
        p->leader = 2;
        forward_table_take(&t);
        CU_ASSERT_PTR_EQUAL(forward_table_find(&t, i, 2), p);
        CU_ASSERT_PTR_NULL(forward_table_find(&t, i, 3));
    }
    CU_ASSERT_PTR_NULL(forward_table_next(&t));
    CU_ASSERT_EQUAL(t.open_count, LIMIT_FORWARDS);
    forward_table_end(&t, 2); /* the oldest still waits */
    struct forward_place *p = forward_table_next(&t);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p);
    p->leader = 2;
    forward_table_take(&t);
    CU_ASSERT_PTR_NULL(forward_table_find(&t, 2, 2)); /* its place is another's now */
    CU_ASSERT_PTR_EQUAL(forward_table_find(&t, LIMIT_FORWARDS + 2, 2), p);
    CU_ASSERT_PTR_NOT_NULL(forward_table_find(&t, 1, 2));
    CU_ASSERT_PTR_NULL(forward_table_find(&t, LIMIT_FORWARDS + 1, 2));
    CU_ASSERT_PTR_NULL(forward_table_next(&t));
    CU_ASSERT_PTR_NULL(forward_table_find(&t, 0, 2));
    CU_ASSERT_PTR_NULL(forward_table_find(&t, UINT64_MAX, 2));
    uint64_t tail = t.tail;
    for (uint64_t i = t.head; i < tail; i++)
        forward_table_end(&t, forward_table_at(&t, i)->number);
    CU_ASSERT_EQUAL(t.open_count, 0);
    CU_ASSERT_EQUAL(t.head, t.tail);
    free(memory);
}

/* Against a plain list: what is open is found, by its number alone, and walked to, however long it
 * waits. */
static void places_end_in_any_order(void)
{
    static bool is_open[10 * LIMIT_FORWARDS];
    struct forward_table t;
    struct forward_place *memory = calloc(LIMIT_FORWARDS, sizeof *memory);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    forward_table_init(&t, memory);
    uint64_t random = 1, last = 0;
    uint32_t count = 0;
    memset(is_open, 0, sizeof is_open);
    while (t.tail < 9 * LIMIT_FORWARDS) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint64_t number = 1 + (random >> 33) % t.tail;
        bool found = forward_table_find(&t, number, 0) != NULL;
        CU_ASSERT_EQUAL(found, is_open[number]);
        if (found && (number % 16 != 0 || random >> 62 == 0)) {
            forward_table_end(&t, number);
            is_open[number] = false;
            count--;
        } else if (forward_table_next(&t) != NULL) {
            CU_ASSERT(t.tail > last);
            last = t.tail;
            forward_table_take(&t);
            is_open[last] = true;
            count++;
        }
        CU_ASSERT_EQUAL(t.open_count, count);
    }
    uint32_t walked = 0;
    for (uint64_t i = t.head; i < t.tail; i++)
        walked += forward_table_at(&t, i) != NULL;
    CU_ASSERT(walked != 0);
    CU_ASSERT_EQUAL(walked, count);
    uint64_t tail = t.tail;
    for (uint64_t i = t.head; i < tail; i++)
        if (forward_table_at(&t, i) != NULL)
            forward_table_end(&t, forward_table_at(&t, i)->number);
    CU_ASSERT_EQUAL(t.head, t.tail);
    free(memory);
}

static const struct unit_test tests[] = {
    UNIT_TEST(asks_come_out_as_they_went_in),
    UNIT_TEST(answers_come_out_as_they_went_in),
    UNIT_TEST(a_full_pack_takes_no_more),
    UNIT_TEST(a_value_beside_is_alone_and_all_there_is),
    UNIT_TEST(asks_that_no_correct_peer_sends_are_refused),
    UNIT_TEST(a_ttl_goes_where_it_means_something),
    UNIT_TEST(answers_that_no_correct_peer_sends_are_refused),
    UNIT_TEST(heads_that_no_correct_peer_sends_are_refused),
    UNIT_TEST(numbers_are_taken_in_order_and_once),
    UNIT_TEST(numbers_of_places_never_repeat),
    UNIT_TEST(places_end_in_any_order),
};
UNIT_MAIN("forward", tests)
