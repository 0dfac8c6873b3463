/* Two endpoints and the wire between them in the hands of this test: what is lost, doubled, changed,
 * kept for later, or was never sent by any of the two. */
#include "tests/unit/dataplane/udp_ends.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>
#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

/* That frame is refused for that reason. */
static void refused(const struct frame_on_wire *f, enum frame_refusal refusal)
{
    transport_framed_count(b, &counters);
    uint64_t before = counters.refused[refusal];
    wire_put(f);
    CU_ASSERT_TRUE(refuses(b, refusal, before + 1));
}

/* A sound frame of a, changed at one place. */
static void changed(uint32_t at, uint8_t to, enum frame_refusal refusal)
{
    CU_ASSERT_EQUAL(wire_catch("changed", 100), 1);
    struct frame_on_wire f = caught[0];
    CU_ASSERT_NOT_EQUAL(f.frame[at], to);
    f.frame[at] = to;
    refused(&f, refusal);
}

/* Where it may be anything. */
static void flipped(uint32_t at, enum frame_refusal refusal)
{
    CU_ASSERT_EQUAL(wire_catch("changed", 100), 1);
    struct frame_on_wire f = caught[0];
    f.frame[at] ^= 0xff;
    refused(&f, refusal);
}

/* ---- refusals ---- */

static void each_change_has_its_refusal(void)
{
    configure();
    wire_open_up();
    changed(0, 0xff, FRAME_OTHER_MAGIC);
    changed(4, 0, FRAME_VERSION_OLDER);
    changed(4, FRAME_VERSION_HIGHEST - 1, FRAME_VERSION_OLDER); /* than the pair's */
    changed(4, FRAME_VERSION_HIGHEST + 1, FRAME_VERSION_NEWER);
    changed(5, FRAME_ENCRYPTED | 128, FRAME_WRONG_TAG);
    changed(5, 0, FRAME_WRONG_TAG); /* not encrypted, it says */
    changed(6, 5, FRAME_UNKNOWN_KEY);
    changed(8, 0, FRAME_OTHER_CLUSTER);
    changed(16, 8, FRAME_UNKNOWN_PEER);
    changed(16, 3, FRAME_UNKNOWN_PEER); /* ourselves */
    changed(20, 1, FRAME_WRONG_TAG);
    changed(24, 49, FRAME_OTHER_START);
    changed(24, 51, FRAME_OTHER_START);
    changed(32, 0, FRAME_TOO_OLD);
    changed(39, 1, FRAME_WRONG_TAG); /* a nonce far ahead moves no window */
    changed(40, 0, FRAME_WRONG_TAG);
    changed(44, 1, FRAME_WRONG_TAG);
    changed(46, 1, FRAME_OTHER_LCORE);
    changed(47, 1, FRAME_WRONG_TAG);
    flipped(50, FRAME_WRONG_TAG);
    (void)wire_catch("short", 0);
    caught[0].length = FRAME_HEADER_BYTES - 1;
    wire_put(&caught[0]);
    CU_ASSERT_TRUE(refuses(b, FRAME_TOO_SHORT, 1));
    (void)wire_catch("sound", 500);
    wire_put(&caught[0]);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "sound", 500));
    close_both();
}

static void a_replayed_frame_is_refused(void)
{
    configure();
    wire_open_up();
    (void)wire_catch("once", 10);
    for (uint32_t i = 0; i < 3; i++)
        wire_put(&caught[0]);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "once", 10));
    CU_ASSERT_TRUE(refuses(b, FRAME_REPLAYED, 2));
    close_both();
}

static void a_frame_below_the_window_is_refused(void)
{
    configure();
    wire_open_up();
    (void)wire_catch("late", 0);
    struct frame_on_wire late = caught[0];
    (void)wire_catch("in time", 0);
    struct frame_on_wire in_time = caught[0];
    transport_framed_endpoint_of(a)->peers[0]->nonce += FRAME_WINDOW - 2; /* as many are lost */
    (void)wire_catch("new", 0);
    wire_put(&caught[0]);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "new", 0));
    wire_put(&late);
    CU_ASSERT_TRUE(refuses(b, FRAME_TOO_OLD, 1));
    wire_put(&in_time);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "in time", 0));
    close_both();
}

static void frames_before_the_pair_is_up_are_refused(void)
{
    configure();
    wire_open_up();
    (void)wire_catch("early", 0);
    transport_udp_close(b);
    config_b.start++;
    b = wire_open_one(&config_b, 7);
    wire_put(&caught[0]);
    CU_ASSERT_TRUE(refuses(b, FRAME_NOT_UP, 1));
    wire_come_up();
    wire_put(&caught[0]); /* sealed for the start before */
    CU_ASSERT_TRUE(refuses(b, FRAME_WRONG_TAG, 1));
    close_both();
}

/* Seal a frame as a would, whatever it says; the key comes from what the HELLOs showed. */
static void forge(struct frame_header h, uint32_t payload_length, struct frame_on_wire *f)
{
    static uint8_t payload[2048];
    struct frame_key *key;
    struct frame_key_source source = {
        .secret = secrets[0].bytes,
        .cluster = CLUSTER,
        .key_id = 4,
        .lcore = 2,
        .from = {.node = 7, .start = 50, .challenge = hello_a.frame + FRAME_HEADER_BYTES + 16},
        .to = {.node = 3, .start = 60, .challenge = hello_b.frame + FRAME_HEADER_BYTES + 16},
    };
    h.version = FRAME_VERSION_HIGHEST;
    h.lcore = 2;
    h.key_id = 4;
    h.node = 7;
    h.cluster = CLUSTER;
    h.start = 50;
    h.nonce = h.nonce != 0 ? h.nonce : 100;
    CU_ASSERT_EQUAL_FATAL(frame_key_open(&key), 0);
    CU_ASSERT_EQUAL_FATAL(frame_key_set(key, &source), 0);
    CU_ASSERT_TRUE(frame_seal(key, &h, f->frame, payload, payload_length));
    frame_key_close(key);
    f->length = FRAME_HEADER_BYTES + payload_length;
    f->from_a = true;
}

static void a_peer_that_talks_nonsense_is_refused(void)
{
    static const struct frame_header nonsense[] = {
        {.piece = 0, .length = 8, .nonce = 101},
        {.piece = 12, .length = 8, .nonce = 102},
        {.piece = 16, .length = 16, .nonce = 103}, /* 8 bytes of it are here */
        {.piece = 8, .length = 16, .index = 2, .nonce = 104},
        {.piece = 8, .length = UINT32_MAX, .nonce = 105},
        {.piece = 8, .length = FRAME_LENGTH_MAX, .nonce = 106}, /* 8,192 fragments */
        {.piece = 8, .head_length = TRANSPORT_HEAD_MAX + 1, .nonce = 107},
        {.piece = 8, .length = 8, .flags = 8, .nonce = 108},
    };
    struct frame_on_wire f;
    configure();
    wire_open_up();
    for (uint32_t i = 0; i < 8; i++) {
        forge(nonsense[i], 8, &f);
        wire_put(&f);
        CU_ASSERT_TRUE(refuses(b, FRAME_MALFORMED, i + 1));
    }
    forge((struct frame_header){.piece = 8, .head_length = 8, .nonce = 109}, 8, &f);
    wire_put(&f);
    CU_ASSERT_TRUE_FATAL(comes(b)); /* sound */
    CU_ASSERT_EQUAL(in[0].head_length, 8);
    close_both();
}

static void fragments_that_disagree_are_counted(void)
{
    struct frame_on_wire f;
    configure();
    wire_open_up();
    forge((struct frame_header){.piece = 64, .length = 128, .nonce = 200}, 64, &f);
    wire_put(&f);
    forge((struct frame_header){.piece = 56, .length = 128, .index = 1, .nonce = 201}, 56, &f);
    wire_put(&f);
    CU_ASSERT_TRUE(reaches(b, &counters.fragments_unlike, 1));
    forge((struct frame_header){.piece = 1024, .length = FRAME_LENGTH_MAX, .nonce = 300}, 1024, &f);
    wire_put(&f);
    CU_ASSERT_TRUE(reaches(b, &counters.datagrams_too_long, 1));
    close_both();
}

static void what_is_longer_than_a_frame_is_dropped(void)
{
    configure();
    socket_b.plain = true;
    wire_open_both();
    wire_come_up();
    struct sockaddr_storage to = address_of(transport_wake_fd(b));
    CU_ASSERT_EQUAL(
        sendto(wire, bytes, 20000, 0, (struct sockaddr *)&to, sizeof(struct sockaddr_in)), 20000);
    (void)wire_catch("behind it", 0);
    wire_put(&caught[0]);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "behind it", 0));
    count(b);
    CU_ASSERT_EQUAL(udp_counters.truncated, 1);
    close_both();
}

/* ---- fragments ---- */

static void fragments_come_in_any_order(void)
{
    configure();
    wire_open_up();
    uint32_t count = wire_catch("long", 20000);
    CU_ASSERT_EQUAL(count, 15);
    for (uint32_t i = 0; i < count; i++)
        wire_put(&caught[(i * 7 + 3) % count]);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "long", 20000));
    close_both();
}

static void a_doubled_fragment_does_no_harm(void)
{
    configure();
    wire_open_up();
    uint32_t count = wire_catch("long", 20000);
    for (uint32_t i = 0; i < 2 * count; i++)
        wire_put(&caught[i / 2]);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "long", 20000));
    CU_ASSERT_TRUE(refuses(b, FRAME_REPLAYED, count));
    close_both();
}

static void a_lost_fragment_costs_its_datagram(void)
{
    configure();
    wire_open_up();
    uint32_t count = wire_catch("lost", 20000);
    for (uint32_t i = 0; i < count; i++)
        if (i != 4)
            wire_put(&caught[i]);
    count = wire_catch("next", 20000);
    for (uint32_t i = 0; i < count; i++)
        wire_put(&caught[i]);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "next", 20000));
    transport_release(b);
    now += TRANSPORT_FRAMED_TIMEOUT_NS;
    CU_ASSERT_EQUAL(transport_receive(b, in, 8), 0);
    transport_framed_count(b, &counters);
    CU_ASSERT_EQUAL(counters.fragments_timed_out, 1);
    close_both();
}

static void a_stranger_fills_no_place(void)
{
    configure();
    wire_open_up();
    uint32_t count = wire_catch("long", 20000);
    for (uint32_t i = 0; i < count; i++) {
        caught[i].frame[16] = 9;
        wire_put(&caught[i]);
    }
    CU_ASSERT_TRUE(refuses(b, FRAME_UNKNOWN_PEER, count));
    for (uint32_t i = 0; i < count; i++) {
        caught[i].frame[16] = 7;
        caught[i].frame[80] ^= 1;
        wire_put(&caught[i]);
    }
    CU_ASSERT_TRUE(refuses(b, FRAME_WRONG_TAG, count));
    CU_ASSERT_EQUAL(transport_framed_endpoint_of(b)->peers[0]->fragments.filling, 0);
    for (uint32_t i = 0; i < count; i++) { /* and takes away no nonce */
        caught[i].frame[80] ^= 1;
        wire_put(&caught[i]);
    }
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "long", 20000));
    close_both();
}

static void what_is_between_the_parts_is_zero(void)
{
    static const uint8_t zeros[8];
    configure();
    config_a.authentic_only = true; /* to see it */
    wire_open_up();
    (void)wire_catch("what was in the slot before, in the head and in the bytes", 100);
    (void)wire_catch("twelve bytes", 5);
    const uint8_t *payload = caught[0].frame + FRAME_HEADER_BYTES;
    CU_ASSERT_EQUAL(caught[0].length, FRAME_HEADER_BYTES + 24);
    CU_ASSERT_EQUAL(memcmp(payload, "twelve bytes", 12), 0);
    CU_ASSERT_EQUAL(memcmp(payload + 12, zeros, 4), 0);
    CU_ASSERT_EQUAL(memcmp(payload + 16, bytes, 5), 0);
    CU_ASSERT_EQUAL(memcmp(payload + 21, zeros, 3), 0);
    close_both();
}

/* The kernel hands datagrams on as one buffer, cut where the sender said. */
static void a_frame_behind_a_strangers_is_aligned(void)
{
    static uint8_t both[2 * FRAME_BYTES_MAX];
    union {
        uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
        uint64_t aligned[4];
    } control = {.bytes = {0}};
    uint16_t segment = 1003;
    configure();
    wire_open_up();
    (void)wire_catch("aligned", 400);
    memcpy(both + segment, caught[0].frame, caught[0].length);
    struct sockaddr_storage to = address_of(transport_wake_fd(b));
    struct iovec part = {.iov_base = both, .iov_len = segment + caught[0].length};
    struct msghdr m = {.msg_name = &to,
                       .msg_namelen = sizeof(struct sockaddr_in),
                       .msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof segment);
    memcpy(CMSG_DATA(c), &segment, sizeof segment);
    if (sendmsg(wire, &m, 0) < 0)
        wire_put(&caught[0]); /* a kernel without offload cannot do it either */
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "aligned", 400));
    close_both();
}

static const struct unit_test tests[] = {
    UNIT_TEST(each_change_has_its_refusal),
    UNIT_TEST(a_replayed_frame_is_refused),
    UNIT_TEST(a_frame_below_the_window_is_refused),
    UNIT_TEST(frames_before_the_pair_is_up_are_refused),
    UNIT_TEST(a_peer_that_talks_nonsense_is_refused),
    UNIT_TEST(fragments_that_disagree_are_counted),
    UNIT_TEST(what_is_longer_than_a_frame_is_dropped),
    UNIT_TEST(fragments_come_in_any_order),
    UNIT_TEST(a_doubled_fragment_does_no_harm),
    UNIT_TEST(a_lost_fragment_costs_its_datagram),
    UNIT_TEST(a_stranger_fills_no_place),
    UNIT_TEST(what_is_between_the_parts_is_zero),
    UNIT_TEST(a_frame_behind_a_strangers_is_aligned),
};
UNIT_MAIN("transport_udp_wire", tests)
