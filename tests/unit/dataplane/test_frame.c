/* Headers, fragment fields and replay windows of frames. */
#include "dataplane/frame.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

static const struct frame_local local = {
    .cluster = UINT64_C(0x1122334455667788), .lcore = 3, .version_lowest = 2, .version_highest = 4};

static const struct frame_header header = {
    .version = 3,
    .flags = FRAME_ENCRYPTED,
    .lcore = 3,
    .key_id = 0x0506,
    .head_length = 0x0708,
    .piece = 0x0538,
    .index = 0x0102,
    .node = 0x090a0b0c,
    .length = 0x0d0e0f10,
    .cluster = UINT64_C(0x1122334455667788),
    .start = UINT64_C(0x2122232425262728),
    .nonce = UINT64_C(0x3132333435363738),
};

static uint8_t bytes[FRAME_HEADER_BYTES];

static enum frame_refusal decode(struct frame_header *h)
{
    return frame_header_decode(h, bytes, sizeof bytes, &local);
}

static void a_header_stands_on_the_wire_as_documented(void)
{
    static const uint8_t wire[FRAME_TAG_AT] = {
        'D',  'U',  'N',  '1',  3,    1,    0x06, 0x05, 0x88, 0x77, 0x66, 0x55,
        0x44, 0x33, 0x22, 0x11, 0x0c, 0x0b, 0x0a, 0x09, 0x08, 0x07, 0x38, 0x05,
        0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x38, 0x37, 0x36, 0x35,
        0x34, 0x33, 0x32, 0x31, 0x10, 0x0f, 0x0e, 0x0d, 0x02, 0x01, 3,    0};
    memset(bytes, 0xee, sizeof bytes);
    frame_header_encode(&header, bytes);
    CU_ASSERT_EQUAL(memcmp(bytes, wire, sizeof wire), 0);
    for (uint32_t i = FRAME_TAG_AT; i < sizeof bytes; i++)
        CU_ASSERT_EQUAL(bytes[i], 0xee);
    struct frame_header h;
    CU_ASSERT_EQUAL(decode(&h), FRAME_TAKEN);
    CU_ASSERT_EQUAL(h.version, header.version);
    CU_ASSERT_EQUAL(h.flags, header.flags);
    CU_ASSERT_EQUAL(h.lcore, header.lcore);
    CU_ASSERT_EQUAL(h.key_id, header.key_id);
    CU_ASSERT_EQUAL(h.head_length, header.head_length);
    CU_ASSERT_EQUAL(h.piece, header.piece);
    CU_ASSERT_EQUAL(h.index, header.index);
    CU_ASSERT_EQUAL(h.node, header.node);
    CU_ASSERT_EQUAL(h.length, header.length);
    CU_ASSERT_EQUAL(h.cluster, header.cluster);
    CU_ASSERT_EQUAL(h.start, header.start);
    CU_ASSERT_EQUAL(h.nonce, header.nonce);
}

static void each_refusal_of_a_header_has_its_name(void)
{
    struct frame_header h;
    frame_header_encode(&header, bytes);
    for (uint64_t length = 0; length < FRAME_HEADER_BYTES; length++)
        CU_ASSERT_EQUAL(frame_header_decode(&h, bytes, length, &local), FRAME_TOO_SHORT);
    for (uint32_t i = 0; i < 4; i++) {
        bytes[i] ^= 0x10;
        CU_ASSERT_EQUAL(decode(&h), FRAME_OTHER_MAGIC);
        bytes[i] ^= 0x10;
    }
    static const enum frame_refusal by_version[] = {FRAME_VERSION_OLDER, FRAME_VERSION_OLDER,
                                                    FRAME_TAKEN,         FRAME_TAKEN,
                                                    FRAME_TAKEN,         FRAME_VERSION_NEWER};
    for (uint8_t v = 0; v < 6; v++) {
        bytes[4] = v;
        CU_ASSERT_EQUAL(decode(&h), by_version[v]);
    }
    bytes[4] = 3;
    bytes[15] ^= 1;
    CU_ASSERT_EQUAL(decode(&h), FRAME_OTHER_CLUSTER);
    bytes[15] ^= 1;
    bytes[46] = 4;
    CU_ASSERT_EQUAL(decode(&h), FRAME_OTHER_LCORE);
    bytes[46] = 3;
    CU_ASSERT_EQUAL(decode(&h), FRAME_TAKEN);
}

static void a_hello_has_one_version_for_ever(void)
{
    struct frame_header h;
    frame_header_encode(&header, bytes);
    bytes[5] = FRAME_HELLO;
    CU_ASSERT_EQUAL(decode(&h), FRAME_VERSION_NEWER);
    bytes[4] = FRAME_VERSION_HELLO;
    CU_ASSERT_EQUAL(decode(&h), FRAME_TAKEN);
    bytes[4] = FRAME_VERSION_HELLO - 1;
    CU_ASSERT_EQUAL(decode(&h), FRAME_VERSION_OLDER);
}

static void refusals_have_different_names(void)
{
    for (uint32_t i = 0; i < FRAME_REFUSALS; i++)
        for (uint32_t j = 0; j < i; j++)
            CU_ASSERT_STRING_NOT_EQUAL(frame_refusal_name(i), frame_refusal_name(j));
    CU_ASSERT_STRING_EQUAL(frame_refusal_name(FRAME_REFUSALS), "unknown");
}

/* ---- fragments ---- */

static void fragments_add_up_to_the_content(void)
{
    static const uint32_t pieces[] = {8, 448, 1336, 8888};
    for (uint32_t p = 0; p < 4; p++)
        for (uint32_t head = 0; head <= 200; head += 13)
            for (uint32_t length = 0; length < 3000; length += 97) {
                uint32_t content = frame_content(head, length);
                uint32_t fragments = frame_fragments(content, pieces[p]);
                uint64_t sum = 0;
                CU_ASSERT(fragments >= 1);
                for (uint32_t i = 0; i < fragments; i++) {
                    uint32_t payload = frame_payload(content, pieces[p], i);
                    CU_ASSERT(payload % 8 == 0 && payload <= pieces[p]);
                    CU_ASSERT(i + 1 == fragments || payload == pieces[p]);
                    sum += payload;
                }
                CU_ASSERT_EQUAL(sum, align_up(content, 8));
            }
}

static struct frame_header sound(void)
{
    /* content 96 + 1000, in pieces of 448: 448, 448, 200 */
    return (struct frame_header){
        .flags = FRAME_ENCRYPTED, .head_length = 89, .length = 1000, .piece = 448, .nonce = 9};
}

static void sound_fields_pass(void)
{
    static const uint64_t payloads[] = {448, 448, 200};
    struct frame_header h = sound();
    for (h.index = 0; h.index < 3; h.index++) {
        CU_ASSERT_TRUE(frame_is_sound(&h, payloads[h.index]));
        CU_ASSERT_FALSE(frame_is_sound(&h, payloads[h.index] - 8));
        CU_ASSERT_FALSE(frame_is_sound(&h, payloads[h.index] + 8));
    }
    struct frame_header empty = {.piece = 8, .nonce = 1};
    CU_ASSERT_TRUE(frame_is_sound(&empty, 0));
    CU_ASSERT_FALSE(frame_is_sound(&empty, 8));
    struct frame_header hello = {.flags = FRAME_HELLO, .nonce = 0};
    CU_ASSERT_TRUE(frame_is_sound(&hello, 48));
}

static void fields_that_disagree_are_refused(void)
{
    struct frame_header h = sound();
    h.index = 3; /* behind the last one */
    CU_ASSERT_FALSE(frame_is_sound(&h, 0));
    CU_ASSERT_FALSE(frame_is_sound(&h, 448));
    h.index = UINT16_MAX;
    CU_ASSERT_FALSE(frame_is_sound(&h, 448));
    h = sound();
    h.flags = 4;
    CU_ASSERT_FALSE(frame_is_sound(&h, 448));
    h = sound();
    h.piece = 0;
    CU_ASSERT_FALSE(frame_is_sound(&h, 448));
    h.piece = 450;
    CU_ASSERT_FALSE(frame_is_sound(&h, 456));
    h = sound();
    h.head_length = TRANSPORT_HEAD_MAX + 1;
    CU_ASSERT_FALSE(frame_is_sound(&h, 448));
    h = sound();
    h.length = FRAME_LENGTH_MAX + 1;
    CU_ASSERT_FALSE(frame_is_sound(&h, 448));
    h.length = UINT32_MAX; /* the content would go round */
    CU_ASSERT_FALSE(frame_is_sound(&h, 448));
    h = sound();
    h.index = 2;
    h.nonce = 2; /* its datagram would begin at nonce 0 */
    CU_ASSERT_FALSE(frame_is_sound(&h, 200));
    h.nonce = 3;
    CU_ASSERT_TRUE(frame_is_sound(&h, 200));
}

static void too_many_fragments_are_refused(void)
{
    struct frame_header h = {.piece = 8, .length = 8 * FRAME_FRAGMENTS_MAX, .nonce = 1000};
    CU_ASSERT_TRUE(frame_is_sound(&h, 8));
    h.length++;
    CU_ASSERT_FALSE(frame_is_sound(&h, 8));
    h.length = FRAME_LENGTH_MAX;
    CU_ASSERT_FALSE(frame_is_sound(&h, 8));
}

static void a_hello_is_never_a_fragment(void)
{
    static const struct frame_header hellos[] = {{.flags = FRAME_HELLO | FRAME_ENCRYPTED},
                                                 {.flags = FRAME_HELLO, .head_length = 8},
                                                 {.flags = FRAME_HELLO, .piece = 8},
                                                 {.flags = FRAME_HELLO, .length = 8},
                                                 {.flags = FRAME_HELLO, .piece = 8, .index = 1}};
    for (uint32_t i = 0; i < 5; i++)
        CU_ASSERT_FALSE(frame_is_sound(&hellos[i], 48));
}

/* ---- replay ---- */

static struct frame_window window;

static enum frame_refusal come(uint64_t nonce)
{
    enum frame_refusal refusal = frame_window_check(&window, nonce);
    if (refusal == FRAME_TAKEN)
        frame_window_mark(&window, nonce);
    return refusal;
}

static void window_open(void)
{
    memset(&window, 0, sizeof window);
}

static void nonces_come_once_in_any_order(void)
{
    window_open();
    CU_ASSERT_EQUAL(come(0), FRAME_TOO_OLD);
    for (uint64_t n = 1; n < 300; n += 2)
        CU_ASSERT_EQUAL(come(n), FRAME_TAKEN);
    for (uint64_t n = 2; n < 300; n += 2)
        CU_ASSERT_EQUAL(come(n), FRAME_TAKEN);
    for (uint64_t n = 1; n < 300; n++)
        CU_ASSERT_EQUAL(come(n), FRAME_REPLAYED);
}

static void the_window_ends_where_it_says(void)
{
    window_open();
    uint64_t top = 5 * FRAME_WINDOW;
    CU_ASSERT_EQUAL(come(top), FRAME_TAKEN);
    CU_ASSERT_EQUAL(come(top - FRAME_WINDOW), FRAME_TOO_OLD);
    CU_ASSERT_EQUAL(come(top - FRAME_WINDOW + 1), FRAME_TAKEN);
    CU_ASSERT_EQUAL(come(top - FRAME_WINDOW + 1), FRAME_REPLAYED);
    CU_ASSERT_EQUAL(come(top + 1), FRAME_TAKEN);
    CU_ASSERT_EQUAL(come(top - FRAME_WINDOW + 1), FRAME_TOO_OLD);
    CU_ASSERT_EQUAL(come(top - FRAME_WINDOW + 2), FRAME_TAKEN);
    CU_ASSERT_EQUAL(come(top), FRAME_REPLAYED);
}

static void a_jump_forgets_no_more_than_the_window(void)
{
    static const uint64_t jumps[] = {
        1, 63, 64, FRAME_WINDOW - 1, FRAME_WINDOW, FRAME_WINDOW_WORDS * 64, UINT64_C(1) << 40};
    for (uint32_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
        window_open();
        CU_ASSERT_EQUAL(come(1000), FRAME_TAKEN);
        CU_ASSERT_EQUAL(come(1000 + jumps[i]), FRAME_TAKEN);
        CU_ASSERT_EQUAL(come(1000), jumps[i] < FRAME_WINDOW ? FRAME_REPLAYED : FRAME_TOO_OLD);
        CU_ASSERT_EQUAL(come(999 + jumps[i]), jumps[i] == 1 ? FRAME_REPLAYED : FRAME_TAKEN);
    }
    window_open();
    CU_ASSERT_EQUAL(come(FRAME_NONCE_MAX), FRAME_TAKEN);
    CU_ASSERT_EQUAL(come(FRAME_NONCE_MAX), FRAME_REPLAYED);
    CU_ASSERT_EQUAL(come(FRAME_NONCE_MAX - 1), FRAME_TAKEN);
    CU_ASSERT_EQUAL(come(1), FRAME_TOO_OLD);
}

static void a_check_alone_changes_nothing(void)
{
    window_open();
    CU_ASSERT_EQUAL(frame_window_check(&window, 77), FRAME_TAKEN);
    CU_ASSERT_EQUAL(frame_window_check(&window, 77), FRAME_TAKEN);
    CU_ASSERT_EQUAL(frame_window_check(&window, 1), FRAME_TAKEN);
}

/* Against a list of all that came. */
static void any_order_agrees_with_a_list(void)
{
    static uint8_t came[100000];
    uint64_t random = 1, highest = 0;
    window_open();
    memset(came, 0, sizeof came);
    for (uint32_t i = 0; i < 200000; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        uint64_t around = 1 + i / 2 + random % 12000;
        uint64_t nonce = around < sizeof came ? around : sizeof came - 1;
        enum frame_refusal wanted = came[nonce] ? FRAME_REPLAYED : FRAME_TAKEN;
        if (highest >= nonce + FRAME_WINDOW)
            wanted = FRAME_TOO_OLD;
        CU_ASSERT_EQUAL_FATAL(come(nonce), wanted);
        came[nonce] = 1;
        highest = max_u64(highest, nonce);
    }
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_header_stands_on_the_wire_as_documented),
    UNIT_TEST(each_refusal_of_a_header_has_its_name),
    UNIT_TEST(a_hello_has_one_version_for_ever),
    UNIT_TEST(refusals_have_different_names),
    UNIT_TEST(fragments_add_up_to_the_content),
    UNIT_TEST(sound_fields_pass),
    UNIT_TEST(fields_that_disagree_are_refused),
    UNIT_TEST(too_many_fragments_are_refused),
    UNIT_TEST(a_hello_is_never_a_fragment),
    UNIT_TEST(nonces_come_once_in_any_order),
    UNIT_TEST(the_window_ends_where_it_says),
    UNIT_TEST(a_jump_forgets_no_more_than_the_window),
    UNIT_TEST(a_check_alone_changes_nothing),
    UNIT_TEST(any_order_agrees_with_a_list),
};
UNIT_MAIN("frame", tests)
