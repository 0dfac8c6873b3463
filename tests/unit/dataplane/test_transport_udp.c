/* Two endpoints on the loopback interface: what passes between them, and what they refuse to take. */
#include "tests/unit/dataplane/udp_ends.h"
#include "tests/unit/unit.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <unistd.h>

/* ---- datagrams ---- */

static void a_pair_comes_up_and_agrees(void)
{
    uint8_t version = 0;
    uint64_t features = 0;
    configure();
    open_both();
    CU_ASSERT_FALSE(transport_framed_is_up(a, 3, &version, &features));
    come_up();
    CU_ASSERT_TRUE(transport_framed_is_up(a, 3, &version, &features));
    CU_ASSERT_EQUAL(version, FRAME_VERSION_HIGHEST);
    CU_ASSERT_EQUAL(features, 2);
    CU_ASSERT_FALSE(transport_framed_is_up(a, 7, NULL, NULL));
    count(a);
    CU_ASSERT_EQUAL(counters.pairs_up, 1);
    CU_ASSERT(counters.hellos_sent >= 1 && counters.hellos_received >= 1);
    CU_ASSERT(transport_framed_deadline(a) > now &&
              transport_framed_deadline(a) <= now + TRANSPORT_FRAMED_SILENCE_NS);
    close_both();
}

static void a_datagram_arrives(void)
{
    configure();
    open_up();
    CU_ASSERT_TRUE(send_one(a, 3, "append", 100));
    flush(a);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_EQUAL(in[0].from, 7);
    CU_ASSERT_TRUE(is(&in[0], "append", 100));
    transport_release(b);
    CU_ASSERT_TRUE(send_one(b, 7, "", 0));
    flush(b);
    CU_ASSERT_TRUE_FATAL(comes(a));
    CU_ASSERT_TRUE(is(&in[0], "", 0));
    transport_release(a);
    close_both();
}

static void pass_all_shapes(void)
{
    static uint8_t head[TRANSPORT_HEAD_MAX];
    for (uint32_t i = 0; i < sizeof head; i++)
        head[i] = (uint8_t)(i * 11 + 5);
    for (uint32_t i = 0; i < 60; i++) {
        uint32_t head_length = i % 3 == 0 ? TRANSPORT_HEAD_MAX - i : i * 7;
        uint32_t length = i % 4 == 0 ? i * 3 : TRANSPORT_FRAMED_LENGTH_MAX - 1000 * (i / 2);
        struct transport_datagram d = {.to = 3,
                                       .head = head,
                                       .head_length = head_length,
                                       .bytes = bytes,
                                       .length = length,
                                       .hold = i};
        CU_ASSERT_EQUAL_FATAL(transport_send(a, &d, 1), 1);
        CU_ASSERT_EQUAL_FATAL(transport_complete(a, holds, 8), 1);
        CU_ASSERT_EQUAL(holds[0], i);
        CU_ASSERT_TRUE_FATAL(comes(b));
        CU_ASSERT_EQUAL_FATAL(in[0].head_length, head_length);
        CU_ASSERT_EQUAL_FATAL(in[0].length, length);
        CU_ASSERT_EQUAL((uintptr_t)in[0].head % 8, 0);
        CU_ASSERT_EQUAL(memcmp(in[0].head, head, head_length), 0);
        CU_ASSERT_EQUAL(length == 0 ? 0 : memcmp(in[0].bytes, bytes, length), 0);
        transport_release(b);
    }
    count(b);
    CU_ASSERT_EQUAL(counters.datagrams_received, 60);
}

static void datagrams_of_every_shape_pass(void)
{
    configure();
    open_up();
    pass_all_shapes();
    count(a);
    CU_ASSERT(counters.calls_sent < counters.frames_sent); /* many frames in one call */
    close_both();
}

static void they_pass_with_tags_alone(void)
{
    configure();
    config_a.authentic_only = true; /* b is not told: the frame says it */
    open_up();
    pass_all_shapes();
    close_both();
}

static void they_pass_without_offload(void)
{
    configure();
    socket_a.plain = socket_b.plain = true;
    open_up();
    pass_all_shapes();
    close_both();
    configure();
    socket_b.plain = true; /* the kernel cuts on the way */
    config_a.frame_bytes = FRAME_BYTES_MAX;
    open_up();
    pass_all_shapes();
    close_both();
}

static void they_pass_in_frames_of_any_size(void)
{
    static const uint32_t sizes[] = {FRAME_BYTES_MIN, 777, FRAME_BYTES_MAX,
                                     TRANSPORT_FRAMED_FRAME_PATH};
    for (uint32_t i = 0; i < 4; i++) {
        configure();
        config_a.frame_bytes = sizes[i]; /* b's own are another size */
        open_up();
        pass_all_shapes();
        close_both();
    }
}

static void they_pass_over_ipv6_and_from_ipv6_to_ipv4(void)
{
    configure();
    config_a.address = config_b.address = loopback(AF_INET6, 0);
    config_a.frame_bytes = TRANSPORT_FRAMED_FRAME_PATH;
    int error = transport_udp_open(&a, &config_a, NULL);
    if (error == -EADDRNOTAVAIL || error == -EAFNOSUPPORT)
        return; /* this machine has none */
    CU_ASSERT_EQUAL_FATAL(error, 0);
    transport_udp_close(a);
    open_up();
    pass_all_shapes();
    close_both();
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    configure();
    memset(&config_a.address, 0, sizeof config_a.address);
    memcpy(&config_a.address, &any, sizeof any);
    ((struct sockaddr_in *)&config_b.address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&a, &config_a, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&b, &config_b, NULL), 0);
    introduce(a, b);
    struct sockaddr_storage v4 = loopback(AF_INET, transport_udp_port(a));
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(b, 7, &v4), 0);
    come_up();
    pass_all_shapes();
    struct sockaddr_storage v6 = loopback(AF_INET6, 9);
    CU_ASSERT_EQUAL(transport_framed_add(b, 8, &v6), -EAFNOSUPPORT);
    close_both();
}

static void every_hold_comes_back_once(void)
{
    configure();
    open_up();
    struct transport_datagram d[3] = {datagram(3, "x", 0), datagram(3, "y", 100),
                                      datagram(3, "z", 0)};
    d[0].hold = 1; /* no bytes: no completion */
    d[1].hold = 2;
    d[2].hold = 3;
    d[2].bytes = bytes; /* none of them, but bytes */
    CU_ASSERT_EQUAL(transport_send(a, d, 3), 3);
    CU_ASSERT_EQUAL(transport_complete(a, holds, 1), 1);
    CU_ASSERT_EQUAL(holds[0], 2);
    bytes[5] ^= 1; /* ours again: what was taken left as it was */
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 1);
    CU_ASSERT_EQUAL(holds[0], 3);
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 0);
    bytes[5] ^= 1;
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "x", 0));
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "y", 100));
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "z", 0));
    close_both();
}

static void nobody_and_oneself_are_refused(void)
{
    configure();
    open_up();
    struct transport_datagram d[3] = {datagram(3, "x", 0), datagram(8, "y", 10),
                                      datagram(3, "z", 0)};
    CU_ASSERT_EQUAL(transport_send(a, d, 3), 1);
    d[1].to = 7;
    CU_ASSERT_EQUAL(transport_send(a, d + 1, 1), 0);
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 0);
    CU_ASSERT_FALSE(transport_can_log_write(a));
    CU_ASSERT_TRUE_FATAL(comes(b));
    close_both();
}

static void what_is_sent_before_the_pair_is_up_is_lost(void)
{
    configure();
    open_both();
    CU_ASSERT_TRUE(send_one(a, 3, "too early", 100));
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 1);
    CU_ASSERT_EQUAL(holds[0], 1100);
    count(a);
    CU_ASSERT_EQUAL(counters.not_up, 1);
    come_up();
    CU_ASSERT_TRUE(send_one(a, 3, "now", 0));
    flush(a);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "now", 0));
    close_both();
}

/* ---- queues, pace ---- */

static void a_full_queue_refuses(void)
{
    configure();
    config_a.rate = 1;
    config_a.burst = 1;
    config_a.queue_frames = 128;
    open_up();
    uint32_t taken = 0;
    while (taken < 1000 && send_one(a, 3, "full", 8))
        taken++;
    CU_ASSERT_EQUAL(taken, 129); /* the burst lets one go */
    CU_ASSERT_EQUAL(transport_complete(a, holds, 1000), 129);
    CU_ASSERT_FALSE(send_one(a, 3, "full", 8));
    CU_ASSERT_EQUAL(transport_complete(a, holds, 1000), 0);
    count(a);
    CU_ASSERT_EQUAL(counters.queue_full, 2);
    for (uint32_t i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(receive(a, 8), 0);
        transport_release(a);
        CU_ASSERT_TRUE(transport_sleep(a)); /* nothing may leave before the deadline */
    }
    CU_ASSERT(transport_framed_deadline(a) > now && transport_framed_deadline(a) != UINT64_MAX);
    now = transport_framed_deadline(a) - NS_PER_MS + 1;
    CU_ASSERT_FALSE(transport_sleep(a)); /* too soon to sleep until then */
    now += 1000 * NS_PER_S;
    CU_ASSERT_TRUE(send_one(a, 3, "full", 8));
    CU_ASSERT_FALSE(send_one(a, 3, "long", 5000)); /* all of its fragments, or none */
    close_both();
}

static void a_long_datagram_is_refused_whole(void)
{
    configure();
    config_a.rate = 1;
    config_a.burst = 1;
    config_a.queue_frames = 32;
    open_up();
    CU_ASSERT_TRUE(send_one(a, 3, "", 1336));
    CU_ASSERT_TRUE(send_one(a, 3, "", 5 * 1336));
    CU_ASSERT_TRUE(send_one(a, 3, "", 24 * 1336));
    CU_ASSERT_FALSE(send_one(a, 3, "", 4 * 1336)); /* one leaves, four do not fit */
    CU_ASSERT_TRUE(send_one(a, 3, "", 3 * 1336));
    CU_ASSERT_FALSE(send_one(a, 3, "", 8));
    close_both();
}

static void frames_leave_at_the_pace(void)
{
    configure();
    config_a.rate = 72 * 1000; /* frames a second */
    config_a.burst = 10 * 72;
    open_up();
    for (uint32_t i = 0; i < 100; i++)
        CU_ASSERT_TRUE(send_one(a, 3, "1", 0));
    for (uint32_t i = 0; i <= 20; i++) {
        flush(a);
        count(a);
        CU_ASSERT_EQUAL(counters.frames_sent, 10 + i);
        now += NS_PER_MS;
    }
    now += NS_PER_S;
    flush(a);
    count(a);
    CU_ASSERT_EQUAL(counters.frames_sent, 40);
    close_both();
}

/* Frames of all lengths through a queue that is never empty, many times round its memory. */
static void a_queue_goes_round(void)
{
    configure();
    config_a.rate = 1000 * 1000;
    config_a.burst = 4000;
    config_a.queue_frames = 32;
    open_up();
    uint32_t sent = 0, came = 0;
    for (uint32_t pass = 0; pass < 2000; pass++) {
        uint32_t length = sent * 56 % 4001;
        if (send_one(a, 3, "round", length))
            sent++;
        now += NS_PER_MS;
        flush(a);
        CU_ASSERT(pass < 32 || transport_framed_endpoint_of(a)->queued != 0);
        uint32_t got = receive(b, 256);
        for (uint32_t i = 0; i < got; i++, came++)
            CU_ASSERT_TRUE(is(&in[i], "round", came * 56 % 4001));
        transport_release(b);
    }
    CU_ASSERT(came > 500);
    close_both();
}

static void completions_are_bounded(void)
{
    configure();
    open_both();
    uint32_t taken = 0;
    while (taken < 2 * TRANSPORT_FRAMED_HOLDS && send_one(a, 3, "", 8))
        taken++;
    CU_ASSERT_EQUAL(taken, TRANSPORT_FRAMED_HOLDS);
    CU_ASSERT_TRUE(send_one(a, 3, "head alone", 0));
    CU_ASSERT_EQUAL(transport_complete(a, holds, 1), 1);
    CU_ASSERT_TRUE(send_one(a, 3, "", 8));
    CU_ASSERT_EQUAL(transport_complete(a, holds, TRANSPORT_FRAMED_HOLDS), TRANSPORT_FRAMED_HOLDS);
    close_both();
}

static void a_key_without_nonces_refuses(void)
{
    configure();
    open_up();
    transport_framed_endpoint_of(a)->peers[0]->nonce = FRAME_NONCE_MAX - 3;
    CU_ASSERT_FALSE(send_one(a, 3, "four frames", 4000));
    CU_ASSERT_TRUE(send_one(a, 3, "two", 2000));
    CU_ASSERT_TRUE(send_one(a, 3, "the last", 0));
    CU_ASSERT_FALSE(send_one(a, 3, "none", 0));
    CU_ASSERT_EQUAL(transport_framed_endpoint_of(a)->peers[0]->nonce, FRAME_NONCE_MAX);
    count(a);
    CU_ASSERT_EQUAL(counters.nonces_out, 2);
    flush(a);
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "two", 2000));
    CU_ASSERT_TRUE_FATAL(comes(b));
    CU_ASSERT_TRUE(is(&in[0], "the last", 0));
    close_both();
}

/* ---- receiving ---- */

static void all_received_stays_until_the_release(void)
{
    uint32_t got = 0;
    uint32_t without_release = 0;
    configure();
    config_b.places = 4;
    open_up();
    for (uint32_t i = 0; i < 7; i++)
        CU_ASSERT_TRUE(send_one(a, 3, "long", 30000 + i));
    flush(a);
    for (uint32_t i = 0; i < WAIT_MS && got < 4; i++) {
        uint32_t more = transport_receive(b, in + got, 8);
        got += more;
        (void)usleep(more == 0 ? 1000 : 0);
    }
    CU_ASSERT_EQUAL_FATAL(got, 4);
    for (uint32_t i = 0; i < 20; i++)
        without_release += transport_receive(b, in + got, 1);
    CU_ASSERT_EQUAL(without_release, 0);
    CU_ASSERT_FALSE(transport_sleep(b));
    for (uint32_t i = 0; i < 4; i++)
        CU_ASSERT_TRUE(is(&in[i], "long", 30000 + i));
    transport_release(b);
    for (uint32_t i = 4; i < 7; i++) {
        CU_ASSERT_TRUE_FATAL(comes(b));
        CU_ASSERT_TRUE(is(&in[0], "long", 30000 + i));
        transport_release(b);
    }
    count(b);
    CU_ASSERT_EQUAL(counters.fragments_evicted + counters.fragments_timed_out, 0);
    close_both();
}

static void more_come_than_there_are_buffers(void)
{
    configure();
    socket_a.plain = socket_b.plain = true;
    open_up();
    for (uint32_t i = 0; i < 200; i++)
        CU_ASSERT_TRUE(send_one(a, 3, "many", i));
    flush(a);
    uint32_t got = 0;
    for (uint32_t i = 0; i < WAIT_MS && got < 200; i++) {
        uint32_t more = receive(b, i % 40);
        for (uint32_t j = 0; j < more; j++)
            CU_ASSERT_TRUE(is(&in[j], "many", got + j));
        got += more;
        if (i % 3 == 0 || more == 0)
            transport_release(b);
    }
    CU_ASSERT_EQUAL(got, 200);
    close_both();
}

static void what_the_kernel_drops_is_counted(void)
{
    uint32_t got = 0;
    uint32_t sent = 300;
    configure();
    socket_b.plain = true;
    socket_b.bytes = 1; /* as little as the kernel allows */
    open_up();
    for (uint32_t i = 0; i < sent; i++)
        CU_ASSERT_TRUE(send_one(a, 3, "flood", 800));
    flush(a);
    /* The kernel says so with what it does not drop, later. */
    for (uint32_t i = 0; i < WAIT_MS; i++) {
        for (uint32_t more = 1; more != 0; got += more) {
            more = receive(b, 32);
            transport_release(b);
        }
        count(b);
        if (got + udp_counters.kernel_dropped == sent)
            break;
        CU_ASSERT_TRUE(send_one(a, 3, "late", 0));
        sent++;
        flush(a);
    }
    CU_ASSERT(got < 300 && udp_counters.kernel_dropped != 0);
    CU_ASSERT_EQUAL(got + udp_counters.kernel_dropped, sent);
    close_both();
}

/* ---- sleeping ---- */

static int watch(struct transport *t)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    CU_ASSERT_EQUAL_FATAL(epoll_ctl(epoll, EPOLL_CTL_ADD, transport_wake_fd(t), &event), 0);
    return epoll;
}

static bool wakes(int epoll, int ms)
{
    struct epoll_event event;
    return epoll_wait(epoll, &event, 1, ms) == 1;
}

static bool falls_asleep(struct transport *t)
{
    for (uint32_t i = 0; i < WAIT_MS; i++) {
        CU_ASSERT_EQUAL(receive(t, 8), 0);
        transport_release(t);
        if (transport_sleep(t))
            return true;
    }
    return false;
}

static void what_arrives_wakes(void)
{
    configure();
    open_up();
    int epoll = watch(b);
    CU_ASSERT_TRUE_FATAL(falls_asleep(b));
    (void)wakes(epoll, 0); /* of what came before */
    for (uint32_t i = 0; i < 5; i++) {
        CU_ASSERT_FALSE(wakes(epoll, 0));
        CU_ASSERT_TRUE(send_one(a, 3, "wake", 0));
        flush(a);
        CU_ASSERT_TRUE(wakes(epoll, WAIT_MS));
        transport_awake(b);
        CU_ASSERT_FALSE(transport_sleep(b)); /* not received */
        CU_ASSERT_TRUE_FATAL(comes(b));
        transport_release(b);
        CU_ASSERT_TRUE_FATAL(falls_asleep(b));
    }
    (void)close(epoll);
    close_both();
}

static void who_emptied_the_socket_sleeps_without_another_call(void)
{
    struct transport_framed_counters before, after;
    configure();
    open_up();
    CU_ASSERT_EQUAL(receive(b, 8), 0);
    transport_release(b);
    transport_framed_count(b, &before);
    (void)!transport_sleep(b);
    transport_framed_count(b, &after);
    CU_ASSERT_EQUAL(after.calls_received, before.calls_received);
    close_both();
}

static void who_has_completions_does_not_sleep(void)
{
    configure();
    open_up();
    CU_ASSERT_TRUE(falls_asleep(a));
    CU_ASSERT_TRUE(send_one(a, 3, "x", 10));
    CU_ASSERT_FALSE(transport_sleep(a));
    CU_ASSERT_TRUE(comes(b)); /* but sleep sent it */
    CU_ASSERT_EQUAL(transport_complete(a, holds, 8), 1);
    CU_ASSERT_TRUE(falls_asleep(a));
    close_both();
}

/* ---- set-up ---- */

static void what_is_out_of_bounds_is_refused(void)
{
    static const struct transport_framed_secret same[2] = {{.key_id = 4}, {.key_id = 4}};
    struct transport_framed_config bad[16];
    configure();
    for (uint32_t i = 0; i < 16; i++)
        bad[i] = config_a;
    bad[0].start = 0;
    bad[1].secret_count = 0;
    bad[2].secret_count = FRAME_SECRETS_MAX + 1;
    bad[3].secrets = same;
    bad[3].secret_count = 2;
    bad[4].frame_bytes = FRAME_BYTES_MIN - 1;
    bad[5].frame_bytes = FRAME_BYTES_MAX + 1;
    bad[6].length_max = FRAME_LENGTH_MAX + 1;
    bad[7].queue_frames = 100;
    bad[8].queue_frames = 16; /* shorter than the longest datagram */
    bad[9].queue_frames = 2 * TRANSPORT_FRAMED_QUEUE_FRAMES_MAX;
    bad[10].places = FRAGMENTS_PLACES_MAX + 1;
    bad[11].rate = 5; /* without a burst nothing would leave */
    bad[12].rate = PACING_RATE_MAX + 1;
    bad[12].burst = 1;
    bad[13].version_lowest = 3;
    bad[13].version_highest = 2;
    bad[14].version_highest = 2;
    bad[15].burst = PACING_BURST_MAX + 1;
    for (uint32_t i = 0; i < 16; i++)
        CU_ASSERT_EQUAL(transport_udp_open(&a, &bad[i], NULL), -EINVAL);
    config_a.address.ss_family = AF_UNIX;
    CU_ASSERT_EQUAL(transport_udp_open(&a, &config_a, NULL), -EAFNOSUPPORT);
}

static void addresses_are_refused_by_name(void)
{
    configure();
    open_both();
    struct transport *c;
    config_a.address = loopback(AF_INET, transport_udp_port(a));
    CU_ASSERT_EQUAL(transport_udp_open(&c, &config_a, NULL), -EADDRINUSE);
    struct sockaddr_storage address = loopback(AF_INET, 9);
    CU_ASSERT_EQUAL(transport_framed_add(a, 7, &address), -EINVAL);
    CU_ASSERT_EQUAL(transport_framed_add(a, 3, &address), -EEXIST);
    for (uint32_t i = 1; i < LIMIT_NODES; i++)
        CU_ASSERT_EQUAL(transport_framed_add(a, 1000 + i, &address), 0);
    CU_ASSERT_EQUAL(transport_framed_add(a, 2000, &address), -ENOSPC);
    CU_ASSERT_EQUAL(transport_framed_remove(a, 1001), 0);
    CU_ASSERT_EQUAL(transport_framed_remove(a, 1001), -ENOENT);
    address.ss_family = AF_UNIX;
    CU_ASSERT_EQUAL(transport_framed_add(a, 2000, &address), -EAFNOSUPPORT);
    come_up(); /* the others are dead, and disturb nobody */
    CU_ASSERT_TRUE(send_one(a, 3, "x", 0));
    flush(a);
    CU_ASSERT_TRUE(comes(b));
    transport_release(b);
    CU_ASSERT_TRUE(falls_asleep(a)); /* all HELLOs are in */
    CU_ASSERT_TRUE(send_one(a, 3, "never leaves", 0));
    CU_ASSERT_EQUAL(transport_framed_remove(a, 3), 0);
    CU_ASSERT_EQUAL(transport_framed_endpoint_of(a)->queued, 0);
    CU_ASSERT_FALSE(send_one(a, 3, "x", 0));
    CU_ASSERT_TRUE(send_one(b, 7, "x", 0));
    flush(b);
    CU_ASSERT_TRUE(refuses(a, FRAME_UNKNOWN_PEER, 1));
    close_both();
}

static const struct unit_test tests[] = {
    UNIT_TEST(a_pair_comes_up_and_agrees),
    UNIT_TEST(a_datagram_arrives),
    UNIT_TEST(datagrams_of_every_shape_pass),
    UNIT_TEST(they_pass_with_tags_alone),
    UNIT_TEST(they_pass_without_offload),
    UNIT_TEST(they_pass_in_frames_of_any_size),
    UNIT_TEST(they_pass_over_ipv6_and_from_ipv6_to_ipv4),
    UNIT_TEST(every_hold_comes_back_once),
    UNIT_TEST(nobody_and_oneself_are_refused),
    UNIT_TEST(what_is_sent_before_the_pair_is_up_is_lost),
    UNIT_TEST(a_full_queue_refuses),
    UNIT_TEST(a_long_datagram_is_refused_whole),
    UNIT_TEST(frames_leave_at_the_pace),
    UNIT_TEST(a_queue_goes_round),
    UNIT_TEST(completions_are_bounded),
    UNIT_TEST(a_key_without_nonces_refuses),
    UNIT_TEST(all_received_stays_until_the_release),
    UNIT_TEST(more_come_than_there_are_buffers),
    UNIT_TEST(what_the_kernel_drops_is_counted),
    UNIT_TEST(what_arrives_wakes),
    UNIT_TEST(who_emptied_the_socket_sleeps_without_another_call),
    UNIT_TEST(who_has_completions_does_not_sleep),
    UNIT_TEST(what_is_out_of_bounds_is_refused),
    UNIT_TEST(addresses_are_refused_by_name),
};
UNIT_MAIN("transport_udp", tests)
