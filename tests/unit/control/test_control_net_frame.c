/* Frames from pieces: whatever the pieces, the messages are the same, whole and in order; what is no head, or
 * too long, ends it; a message that claims to be long costs memory only as its bytes come. */
#include "control/control_net_frame.h"

#include "tests/unit/unit.h"

#include <stdlib.h>

#define STREAM_BYTES ((size_t)1 << 20)

static uint64_t random_state;

/* splitmix64 */
static uint64_t any(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static size_t length_of(uint32_t number)
{
    static const size_t lengths[] = {0, 1, 7, 8, 100, 4095, 4096, 4097, 20000, 70000};
    return lengths[number % (sizeof(lengths) / sizeof(lengths[0]))];
}

/* Messages number 0, 1, ... as long as they fit; returns how many. */
static uint32_t stream_fill(uint8_t *stream, size_t *length)
{
    uint32_t count = 0;
    *length = 0;
    while (*length + CONTROL_FRAME_HEAD_BYTES + length_of(count) <= STREAM_BYTES) {
        control_frame_head_encode(stream + *length, (uint8_t)(count % 255 + 1), length_of(count));
        *length += CONTROL_FRAME_HEAD_BYTES;
        memset(stream + *length, (int)(count & 0xff), length_of(count));
        *length += length_of(count++);
    }
    return count;
}

static bool is_message(const struct control_frame *f, uint32_t number)
{
    bool same = f->type == number % 255 + 1 && f->length == length_of(number);
    for (size_t i = 0; same && i < f->length; i++)
        same = f->bytes[i] == (uint8_t)number;
    return same;
}

/* piece 0: of any size. */
static void pieces_make(size_t piece)
{
    uint8_t *stream = malloc(STREAM_BYTES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    size_t length;
    uint32_t count = stream_fill(stream, &length), taken = 0;
    struct control_frame_reader r = {.length_max = 70000};
    struct control_frame f;
    for (size_t at = 0; at < length;) {
        size_t n = min_u64(piece != 0 ? piece : 1 + any() % 10000, length - at);
        uint8_t *copy = malloc(n); /* ends where the piece does */
        const uint8_t *bytes = copy;
        memcpy(copy, stream + at, n);
        at += n;
        int rc;
        while ((rc = control_frame_take(&r, &bytes, &n, &f)) == 1) {
            CU_ASSERT_FATAL(is_message(&f, taken));
            taken++;
        }
        CU_ASSERT_EQUAL_FATAL(rc, 0);
        CU_ASSERT_EQUAL(n, 0);
        free(copy);
    }
    CU_ASSERT_EQUAL(taken, count);
    CU_ASSERT(count > 50);
    control_frame_reader_fini(&r);
    free(stream);
}

static void any_pieces_give_the_same_messages(void)
{
    random_state = 7;
    pieces_make(1);
    pieces_make(7);
    pieces_make(8);
    pieces_make(9);
    pieces_make(4096);
    pieces_make(STREAM_BYTES);
    for (uint32_t i = 0; i < 50; i++)
        pieces_make(0);
}

/* As one piece and byte by byte. */
static int head_take(const uint8_t *head, size_t length_max, size_t piece)
{
    struct control_frame_reader r = {.length_max = length_max};
    struct control_frame f;
    int rc = 0;
    for (size_t at = 0; at < CONTROL_FRAME_HEAD_BYTES && rc == 0; at += piece) {
        const uint8_t *bytes = head + at;
        size_t n = piece;
        rc = control_frame_take(&r, &bytes, &n, &f);
    }
    control_frame_reader_fini(&r);
    return rc;
}

static void heads_are_judged(void)
{
    static const struct {
        uint8_t head[CONTROL_FRAME_HEAD_BYTES];
        size_t length_max;
        int result;
    } cases[] = {
        {{0, 0, 0, 0, 1}, 0, 1},
        {{1, 0, 0, 0, 1}, 0, -EMSGSIZE},
        {{0, 1, 0, 0, 1}, 256, 0},
        {{0, 1, 0, 0, 1}, 255, -EMSGSIZE},
        {{0, 0, 0, 4, 1}, CONTROL_FRAME_LENGTH_MAX, 0},
        {{1, 0, 0, 4, 1}, CONTROL_FRAME_LENGTH_MAX, -EMSGSIZE},
        {{255, 255, 255, 255, 1}, CONTROL_FRAME_LENGTH_MAX, -EMSGSIZE},
        {{0, 0, 0, 0, 1, 1, 0, 0}, 9, -EPROTO},
        {{0, 0, 0, 0, 1, 0, 1, 0}, 9, -EPROTO},
        {{0, 0, 0, 0, 1, 0, 0, 1}, 9, -EPROTO},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t piece = 1; piece <= CONTROL_FRAME_HEAD_BYTES; piece *= 2)
            CU_ASSERT_EQUAL(head_take(cases[i].head, cases[i].length_max, piece), cases[i].result);
}

static void memory_follows_what_came(void)
{
    static uint8_t bytes[100000];
    struct control_frame_reader r = {.length_max = CONTROL_FRAME_LENGTH_MAX};
    struct control_frame f;
    const uint8_t *at = bytes;
    size_t n = sizeof(bytes);
    control_frame_head_encode(bytes, 1, CONTROL_FRAME_LENGTH_MAX);
    CU_ASSERT_EQUAL(control_frame_take(&r, &at, &n, &f), 0);
    CU_ASSERT(r.body_capacity >= sizeof(bytes) - CONTROL_FRAME_HEAD_BYTES);
    CU_ASSERT(r.body_capacity <= 2 * sizeof(bytes));
    while (r.body_used < CONTROL_FRAME_LENGTH_MAX - sizeof(bytes)) {
        at = bytes;
        n = sizeof(bytes);
        CU_ASSERT_EQUAL_FATAL(control_frame_take(&r, &at, &n, &f), 0);
    }
    CU_ASSERT(r.body_capacity <= CONTROL_FRAME_LENGTH_MAX);
    /* The rest, and the head of an empty one, which lets go of it. */
    memset(bytes, 0, sizeof(bytes));
    n = CONTROL_FRAME_LENGTH_MAX - r.body_used + CONTROL_FRAME_HEAD_BYTES;
    CU_ASSERT_FATAL(n <= sizeof(bytes));
    at = bytes;
    CU_ASSERT_EQUAL(control_frame_take(&r, &at, &n, &f), 1);
    CU_ASSERT_EQUAL(f.length, CONTROL_FRAME_LENGTH_MAX);
    CU_ASSERT_EQUAL(control_frame_take(&r, &at, &n, &f), 1);
    CU_ASSERT_EQUAL(f.length, 0);
    CU_ASSERT_EQUAL(r.body_capacity, 0);
    control_frame_reader_fini(&r);
}

static void hellos_are_judged(void)
{
    uint8_t hello[CONTROL_FRAME_HELLO_BYTES + 1] = {0};
    struct control_frame f = {.bytes = hello, .length = CONTROL_FRAME_HELLO_BYTES};
    control_frame_hello_encode(hello);
    CU_ASSERT_EQUAL(control_frame_hello_judge(&f), CONTROL_FRAME_VERSION);
    f.length++; /* a later version says more */
    CU_ASSERT_EQUAL(control_frame_hello_judge(&f), CONTROL_FRAME_VERSION);
    f.length = CONTROL_FRAME_HELLO_BYTES - 1;
    CU_ASSERT_EQUAL(control_frame_hello_judge(&f), -EPROTO);
    f.length = CONTROL_FRAME_HELLO_BYTES;
    f.type = 1;
    CU_ASSERT_EQUAL(control_frame_hello_judge(&f), -EPROTO);
    f.type = CONTROL_FRAME_HELLO;
    memcpy(hello, "\x01\x00\x09\x00", 4);
    CU_ASSERT_EQUAL(control_frame_hello_judge(&f), CONTROL_FRAME_VERSION);
    memcpy(hello, "\x02\x00\x09\x00", 4);
    CU_ASSERT_EQUAL(control_frame_hello_judge(&f), -EPROTONOSUPPORT);
    memcpy(hello, "\x02\x00\x01\x00", 4);
    CU_ASSERT_EQUAL(control_frame_hello_judge(&f), -EPROTO);
    memcpy(hello, "\x00\x00\x01\x00", 4);
    CU_ASSERT_EQUAL(control_frame_hello_judge(&f), -EPROTO);
    control_frame_hello_encode_refusal(hello);
    CU_ASSERT_EQUAL(control_frame_hello_judge(&f), -ENOENT);
}

static const struct unit_test tests[] = {
    UNIT_TEST(any_pieces_give_the_same_messages),
    UNIT_TEST(heads_are_judged),
    UNIT_TEST(memory_follows_what_came),
    UNIT_TEST(hellos_are_judged),
};
UNIT_MAIN("control_net_frame", tests)
