#include "tests/unit/dataplane/udp_ends.h"

#include "tests/unit/dataplane/datagrams.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

const struct transport_framed_secret secrets[2] = {{.key_id = 4, .bytes = {1, 2, 3}},
                                                   {.key_id = 9, .bytes = {4, 5, 6}}};
struct transport_framed_config config_a, config_b;
struct transport_udp_socket socket_a, socket_b;
struct transport *a, *b;
struct transport_received in[256];
uint64_t holds[TRANSPORT_FRAMED_HOLDS];
uint8_t bytes[FRAME_LENGTH_MAX];
uint64_t now;
struct transport_framed_counters counters;
struct transport_udp_counters udp_counters;
int wire = -1;
struct frame_on_wire caught[CAUGHT_MAX], hello_a, hello_b;

static uint64_t clock_read(void *context)
{
    return *(uint64_t *)context;
}

struct sockaddr_storage loopback(sa_family_t family, uint16_t port)
{
    struct sockaddr_storage address = {.ss_family = family};
    if (family == AF_INET6) {
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        v6.sin6_addr = in6addr_loopback;
        memcpy(&address, &v6, sizeof v6);
    } else {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
        v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        memcpy(&address, &v4, sizeof v4);
    }
    return address;
}

void configure(void)
{
    now = 1000;
    for (uint32_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + i / 256 + 11);
    config_a = (struct transport_framed_config){
        .node = 7,
        .lcore = 2,
        .cluster = CLUSTER,
        .start = 50,
        .address = loopback(AF_INET, 0),
        .secrets = secrets,
        .secret_count = 1,
        .features = 6,
        .clock = clock_read,
        .clock_context = &now,
    };
    config_b = config_a;
    config_b.node = 3;
    config_b.start = 60;
    config_b.features = 3;
    socket_a = socket_b = (struct transport_udp_socket){.plain = false};
}

struct sockaddr_storage address_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    return address;
}

/* ---- opening ---- */

void introduce(struct transport *t, struct transport *to)
{
    struct sockaddr_storage address = address_of(transport_wake_fd(to));
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(t, to->node, &address), 0);
}

void open_both(void)
{
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&a, &config_a, &socket_a), 0);
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&b, &config_b, &socket_b), 0);
    introduce(a, b);
    introduce(b, a);
}

struct transport *wire_open_one(const struct transport_framed_config *config, uint32_t peer)
{
    struct transport *t;
    struct sockaddr_storage address = address_of(wire);
    const struct transport_udp_socket *s = config == &config_b ? &socket_b : &socket_a;
    CU_ASSERT_EQUAL_FATAL(transport_udp_open(&t, config, s), 0);
    CU_ASSERT_EQUAL_FATAL(transport_framed_add(t, peer, &address), 0);
    return t;
}

void wire_open_both(void)
{
    struct sockaddr_storage address = loopback(AF_INET, 0);
    wire = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(wire, (struct sockaddr *)&address, sizeof(struct sockaddr_in)), 0);
    a = wire_open_one(&config_a, 3);
    b = wire_open_one(&config_b, 7);
}

void close_both(void)
{
    transport_udp_close(a);
    transport_udp_close(b);
    if (wire >= 0)
        (void)close(wire);
    wire = -1;
}

static bool both_are_up(void)
{
    return transport_framed_is_up(a, 3, NULL, NULL) && transport_framed_is_up(b, 7, NULL, NULL);
}

static void pass(void)
{
    CU_ASSERT_EQUAL(receive(a, 8), 0);
    CU_ASSERT_EQUAL(receive(b, 8), 0);
    transport_release(a);
    transport_release(b);
    now += NS_PER_MS;
}

void come_up(void)
{
    for (uint32_t i = 0; i < WAIT_MS && !both_are_up(); i++)
        pass();
    CU_ASSERT_TRUE_FATAL(both_are_up());
}

void wire_come_up(void)
{
    struct frame_on_wire f;
    for (uint32_t i = 0; i < WAIT_MS && !both_are_up(); i++) {
        pass();
        while (wire_take(&f, 0))
            wire_put(&f);
    }
    CU_ASSERT_TRUE_FATAL(both_are_up());
}

void open_up(void)
{
    open_both();
    come_up();
}

void wire_open_up(void)
{
    wire_open_both();
    wire_come_up();
}

/* ---- datagrams ---- */

struct transport_datagram datagram(uint32_t to, const char *head, uint32_t length)
{
    return datagram_of(to, head, bytes, length);
}

bool send_one(struct transport *t, uint32_t to, const char *head, uint32_t length)
{
    struct transport_datagram d = datagram(to, head, length);
    return transport_send(t, &d, 1) == 1;
}

void flush(struct transport *t)
{
    CU_ASSERT_EQUAL(transport_complete(t, holds, 0), 0);
}

uint32_t receive(struct transport *t, uint32_t count)
{
    struct pollfd fd = {.fd = transport_wake_fd(t), .events = POLLIN};
    uint32_t got = transport_receive(t, in, count);
    if (got == 0 && poll(&fd, 1, 1) == 1)
        got = transport_receive(t, in, count);
    return got;
}

bool comes(struct transport *t)
{
    for (uint32_t i = 0; i < WAIT_MS; i++)
        if (receive(t, 1) == 1)
            return true;
    return false;
}

bool is(const struct transport_received *r, const char *head, uint32_t length)
{
    return datagram_came(r, head, bytes, length);
}

void count(const struct transport *t)
{
    transport_framed_count(t, &counters);
    transport_udp_count(t, &udp_counters);
}

bool reaches(struct transport *t, const uint64_t *counter, uint64_t wanted)
{
    for (uint32_t i = 0; i < WAIT_MS; i++) {
        count(t);
        if (*counter >= wanted)
            return *counter == wanted;
        CU_ASSERT_EQUAL(receive(t, 8), 0);
        transport_release(t);
    }
    return false;
}

bool refuses(struct transport *t, enum frame_refusal refusal, uint64_t wanted)
{
    return reaches(t, &counters.refused[refusal], wanted);
}

/* ---- the wire ---- */

bool is_hello(const struct frame_on_wire *f)
{
    return f->length >= FRAME_HEADER_BYTES && (f->frame[5] & FRAME_HELLO) != 0;
}

bool wire_take(struct frame_on_wire *f, int ms)
{
    struct pollfd fd = {.fd = wire, .events = POLLIN};
    struct sockaddr_in from;
    socklen_t from_length = sizeof from;
    if (poll(&fd, 1, ms) != 1)
        return false;
    ssize_t got =
        recvfrom(wire, f->frame, sizeof f->frame, 0, (struct sockaddr *)&from, &from_length);
    CU_ASSERT_FATAL(got > 0);
    f->length = (uint32_t)got;
    f->from_a = ntohs(from.sin_port) == transport_udp_port(a);
    if (is_hello(f))
        *(f->from_a ? &hello_a : &hello_b) = *f;
    return true;
}

void wire_take_next(struct frame_on_wire *f)
{
    do {
        CU_ASSERT_TRUE_FATAL(wire_take(f, WAIT_MS));
    } while (is_hello(f));
}

void wire_put(const struct frame_on_wire *f)
{
    struct sockaddr_storage to = address_of(transport_wake_fd(f->from_a ? b : a));
    CU_ASSERT_EQUAL(
        sendto(wire, f->frame, f->length, 0, (struct sockaddr *)&to, sizeof(struct sockaddr_in)),
        (ssize_t)f->length);
}

uint32_t wire_catch(const char *head, uint32_t length)
{
    uint32_t wanted = frame_fragments(frame_content((uint32_t)strlen(head), length),
                                      TRANSPORT_FRAMED_FRAME_BYTES - FRAME_HEADER_BYTES);
    CU_ASSERT_TRUE_FATAL(send_one(a, 3, head, length));
    (void)!transport_complete(a, holds, 8);
    for (uint32_t i = 0; i < wanted; i++)
        wire_take_next(&caught[i]);
    return wanted;
}
