/* Headers written and judged: every refusal, checksums against RFC 1071 and against sums made word by word, ARP and
 * ICMP echo. */
#include "dataplane/packet.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

#define OURS 0x0a000001u   /* 10.0.0.1 */
#define THEIRS 0x0a000002u /* 10.0.0.2 */
#define PORT 7000u

static const struct packet_local local = {
    .mac = {{2, 0, 0, 0, 0, 1}}, .address = OURS, .port = PORT, .port_count = 4};
static const struct packet_path to_us = {.from_mac = {{2, 0, 0, 0, 0, 2}},
                                         .to_mac = {{2, 0, 0, 0, 0, 1}},
                                         .from = THEIRS,
                                         .to = OURS,
                                         .from_port = 9,
                                         .to_port = PORT + 3};
static uint8_t packet[PACKET_HEADER_BYTES + PACKET_PAYLOAD_MAX];
static struct packet_received r;

/* As in RFC 1071, 4.1, on 16-bit words. */
static uint16_t plain_checksum(const uint8_t *bytes, uint32_t length, uint32_t sum)
{
    for (; length > 1; bytes += 2, length -= 2)
        sum += (uint32_t)(bytes[0] << 8 | bytes[1]);
    if (length == 1)
        sum += (uint32_t)bytes[0] << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void fill(uint8_t *bytes, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(i * 151 + i / 256 + 1);
}

/* A packet of UDP for us with that many bytes of payload; its length. */
static uint32_t make(uint32_t length)
{
    uint8_t *payload = packet + PACKET_HEADER_BYTES;
    fill(payload, length);
    packet_write(packet, &to_us, length, 0, packet_sum(0, payload, length));
    return PACKET_HEADER_BYTES + length;
}

static uint32_t make_echo(uint32_t length)
{
    struct packet_path path = to_us;
    uint8_t *payload = packet + PACKET_HEADER_BYTES;
    path.from_port = 0x1234;
    path.to_port = 0x5678;
    fill(payload, length);
    packet_echo_write(packet, &path, length, 0, packet_sum(0, payload, length));
    return PACKET_HEADER_BYTES + length;
}

/* After a change inside the IPv4 header. */
static void ip_checksum_set(void)
{
    packet[24] = packet[25] = 0;
    uint16_t checksum = plain_checksum(packet + 14, 20, 0);
    packet[24] = (uint8_t)(checksum >> 8);
    packet[25] = (uint8_t)checksum;
}

static enum packet_verdict judge(uint32_t length)
{
    memset(&r, 0xee, sizeof r);
    return packet_judge(&r, packet, length, &local, 0);
}

/* ---- checksums ---- */

static void sums_are_those_of_rfc_1071(void)
{
    /* 3, "Numerical Examples": 0001 f203 f4f5 f6f7 is 2ddf0, folded ddf2. */
    static const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    CU_ASSERT_EQUAL(packet_sum(0, example, 8), 0xddf2);
    CU_ASSERT_EQUAL(packet_checksum(packet_sum(0, example, 8)), 0x220d);
    CU_ASSERT_EQUAL(packet_checksum(packet_sum(packet_sum(0, example, 2), example + 2, 6)), 0x220d);
    CU_ASSERT_EQUAL(packet_checksum(0), 0xffff);
}

static void sums_are_those_of_words_at_every_length(void)
{
    uint8_t bytes[300];
    bool same = true;
    fill(bytes, sizeof bytes);
    memset(bytes + 100, 0xff, 80); /* carries */
    for (uint32_t from = 0; from < 9; from++)
        for (uint32_t length = 0; from + length <= sizeof bytes; length++) {
            uint32_t half = length / 2 & ~1u;
            uint16_t whole = packet_checksum(packet_sum(0, bytes + from, length));
            uint32_t parts =
                packet_sum(packet_sum(0, bytes + from, half), bytes + from + half, length - half);
            same = same && whole == plain_checksum(bytes + from, length, 0) &&
                   packet_checksum(parts) == whole;
        }
    CU_ASSERT_TRUE(same);
}

static void sums_of_the_longest_packets_do_not_overflow(void)
{
    static uint8_t bytes[65534];
    memset(bytes, 0xff, sizeof bytes);
    CU_ASSERT_EQUAL(packet_checksum(packet_sum(0xffff, bytes, sizeof bytes)), 0);
    bytes[65533] = 0xfe;
    CU_ASSERT_EQUAL(packet_checksum(packet_sum(0, bytes, sizeof bytes)), 1);
}

/* ---- UDP ---- */

static void headers_stand_where_the_rfcs_say(void)
{
    static const uint8_t expected[PACKET_HEADER_BYTES] = {
        2,    0, 0,    0,    0,  1,  2,    0,    0,  0,  0,    2,    0x08, 0x00, /* Ethernet */
        0x45, 0, 0,    33,   0,  0,  0x40, 0,    64, 17, 0x26, 0xca,             /* IPv4 */
        10,   0, 0,    2,    10, 0,  0,    1,                                    /* addresses */
        0,    9, 0x1b, 0x5b, 0,  13, 0x21, 0xd0,                                 /* UDP */
    };
    uint8_t payload[5] = {0xde, 0xad, 0xbe, 0xef, 0x11};
    packet_write(packet, &to_us, 5, 0, packet_sum(0, payload, 5));
    CU_ASSERT_EQUAL(memcmp(packet, expected, sizeof expected), 0);
}

static void what_is_written_is_taken(void)
{
    static const uint32_t lengths[] = {0, 1, 2, 17, 18, 63, 64, 1400, 1472, PACKET_PAYLOAD_MAX};
    for (uint32_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint32_t length = make(lengths[i]);
        CU_ASSERT_EQUAL(judge(length), PACKET_UDP);
        CU_ASSERT_PTR_EQUAL(r.payload, packet + PACKET_HEADER_BYTES);
        CU_ASSERT_EQUAL(r.length, lengths[i]);
        CU_ASSERT_EQUAL(r.source, THEIRS);
        CU_ASSERT_EQUAL(r.source_port, 9);
        CU_ASSERT_EQUAL(r.port, PORT + 3);
        CU_ASSERT_EQUAL(memcmp(&r.source_mac, &to_us.from_mac, sizeof r.source_mac), 0);
    }
}

static void bytes_behind_a_short_packet_are_allowed(void)
{
    make(3);
    memset(packet + 45, 0xaa, 15); /* padding, and not of zeros */
    CU_ASSERT_EQUAL(judge(PACKET_BYTES_MIN), PACKET_UDP);
    CU_ASSERT_EQUAL(r.length, 3);
}

static void a_checksum_that_would_be_none_is_sent_as_the_other_zero(void)
{
    uint8_t payload[2] = {0, 0};
    packet_write(packet, &to_us, 2, 0, 0);
    uint16_t checksum = (uint16_t)(packet[40] << 8 | packet[41]);
    payload[0] = (uint8_t)(checksum >> 8); /* now the rest sums up to 0xffff */
    payload[1] = (uint8_t)checksum;
    packet_write(packet, &to_us, 2, 0, packet_sum(0, payload, 2));
    CU_ASSERT_EQUAL(packet[40] << 8 | packet[41], 0xffff);
    memcpy(packet + PACKET_HEADER_BYTES, payload, 2);
    CU_ASSERT_EQUAL(judge(44), PACKET_UDP);
}

static void a_port_that_writes_checksums_gets_what_it_expects(void)
{
    fill(packet + PACKET_HEADER_BYTES, 100);
    packet_write(packet, &to_us, 100, PACKET_IP_BY_PORT | PACKET_UDP_BY_PORT, 12345);
    CU_ASSERT_EQUAL(packet[24] << 8 | packet[25], 0);
    /* The sum of the pseudo-header, not inverted: the port adds the rest and inverts. */
    uint16_t sum = (uint16_t)(packet[40] << 8 | packet[41]);
    packet[40] = packet[41] = 0;
    uint16_t checksum = plain_checksum(packet + 34, 108, sum);
    packet[40] = (uint8_t)(checksum >> 8);
    packet[41] = (uint8_t)checksum;
    CU_ASSERT_EQUAL(judge(142), PACKET_WRONG_IP_CHECKSUM);
    ip_checksum_set();
    CU_ASSERT_EQUAL(judge(142), PACKET_UDP);
}

static void checksums_that_the_port_looked_at_are_not_looked_at_again(void)
{
    uint32_t length = make(100);
    packet[24] ^= 1;
    CU_ASSERT_EQUAL(packet_judge(&r, packet, length, &local, PACKET_UDP_BY_PORT),
                    PACKET_WRONG_IP_CHECKSUM);
    CU_ASSERT_EQUAL(packet_judge(&r, packet, length, &local, PACKET_IP_BY_PORT), PACKET_UDP);
    packet[60] ^= 1;
    CU_ASSERT_EQUAL(packet_judge(&r, packet, length, &local, PACKET_IP_BY_PORT),
                    PACKET_WRONG_CHECKSUM);
    CU_ASSERT_EQUAL(
        packet_judge(&r, packet, length, &local, PACKET_IP_BY_PORT | PACKET_UDP_BY_PORT),
        PACKET_UDP);
}

static void no_checksum_is_taken(void)
{
    uint32_t length = make(100);
    packet[40] = packet[41] = 0;
    CU_ASSERT_EQUAL(judge(length), PACKET_UDP);
}

/* ---- refusals ---- */

struct change {
    uint32_t at;
    uint8_t value;
    bool checksum; /* of IPv4 is set anew */
    enum packet_verdict verdict;
};

static void each_change_has_its_refusal(void)
{
    static const struct change changes[] = {
        {5, 9, false, PACKET_OTHER_MAC},
        {0, 3, false, PACKET_OTHER_MAC},
        {6, 3, false, PACKET_OTHER_MAC}, /* from a group */
        {12, 0x86, false, PACKET_OTHER_TYPE},
        {13, 1, false, PACKET_OTHER_TYPE},
        {12, 0x81, false, PACKET_VLAN_TAGGED},
        {14, 0x65, true, PACKET_OTHER_VERSION},
        {14, 0x46, true, PACKET_IP_OPTIONS},
        {14, 0x4f, true, PACKET_IP_OPTIONS},
        {14, 0x44, true, PACKET_WRONG_LENGTH},
        {17, 19, true, PACKET_WRONG_LENGTH},
        {17, 129, true, PACKET_WRONG_LENGTH},
        {16, 0xff, true, PACKET_WRONG_LENGTH},
        {24, 1, false, PACKET_WRONG_IP_CHECKSUM},
        {22, 63, false, PACKET_WRONG_IP_CHECKSUM},
        {20, 0x60, true, PACKET_FRAGMENT},
        {20, 0x20, true, PACKET_FRAGMENT},
        {20, 0x1f, true, PACKET_FRAGMENT},
        {21, 1, true, PACKET_FRAGMENT},
        {33, 3, true, PACKET_OTHER_ADDRESS},
        {33, 0xff, true, PACKET_OTHER_ADDRESS},
        {30, 224, true, PACKET_OTHER_ADDRESS},
        {26, 0, true, PACKET_WRONG_SOURCE},
        {26, 127, true, PACKET_WRONG_SOURCE},
        {26, 224, true, PACKET_WRONG_SOURCE},
        {26, 255, true, PACKET_WRONG_SOURCE},
        {23, 6, true, PACKET_OTHER_PROTOCOL},
        {17, 27, true, PACKET_WRONG_UDP_LENGTH}, /* no room for its head */
        {39, 7, false, PACKET_WRONG_UDP_LENGTH},
        {39, 109, false, PACKET_WRONG_UDP_LENGTH},
        {38, 0xff, false, PACKET_WRONG_UDP_LENGTH},
        {37, 0x57, false, PACKET_OTHER_PORT}, /* 6999 */
        {37, 0x5c, false, PACKET_OTHER_PORT}, /* 7004 */
        {36, 0xff, false, PACKET_OTHER_PORT},
        {40, 1, false, PACKET_WRONG_CHECKSUM},
        {141, 0, false, PACKET_WRONG_CHECKSUM},
    };
    for (uint32_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        uint32_t length = make(100);
        CU_ASSERT_EQUAL(judge(length), PACKET_UDP);
        CU_ASSERT_NOT_EQUAL(packet[changes[i].at], changes[i].value);
        packet[changes[i].at] = changes[i].value;
        if (changes[i].checksum)
            ip_checksum_set();
        enum packet_verdict verdict = judge(length);
        CU_ASSERT_EQUAL(verdict, changes[i].verdict);
        if (verdict != changes[i].verdict)
            fprintf(stderr, "change %u: %s\n", i, packet_verdict_name(verdict));
    }
}

static void outer_vlan_tags_are_refused_by_name(void)
{
    uint32_t length = make(100);
    packet[12] = 0x88;
    packet[13] = 0xa8;
    CU_ASSERT_EQUAL(judge(length), PACKET_VLAN_TAGGED);
}

static void other_flags_of_ip_are_no_fragments(void)
{
    uint32_t length = make(100);
    packet[20] = 0xc0; /* reserved, do not fragment */
    ip_checksum_set();
    CU_ASSERT_EQUAL(judge(length), PACKET_UDP);
    packet[20] = 0;
    ip_checksum_set();
    CU_ASSERT_EQUAL(judge(length), PACKET_UDP);
}

/* In memory that ends with the packet, so that sanitizers see each byte too many. */
static void a_packet_that_is_cut_off_is_refused(void)
{
    uint32_t length = make(100);
    for (uint32_t cut = 0; cut < length; cut++) {
        uint8_t *copy = malloc(cut != 0 ? cut : 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
        memcpy(copy, packet, cut);
        CU_ASSERT_EQUAL(packet_judge(&r, copy, cut, &local, 0),
                        cut < 34 ? PACKET_TOO_SHORT : PACKET_WRONG_LENGTH);
        free(copy);
    }
}

static void a_shorter_udp_length_is_taken_at_its_word(void)
{
    make(100);
    packet[39] = 50;
    packet[40] = packet[41] = 0;
    CU_ASSERT_EQUAL(judge(142), PACKET_UDP);
    CU_ASSERT_EQUAL(r.length, 42);
}

static void names_are_there_for_all(void)
{
    for (uint32_t v = 0; v < PACKET_VERDICTS; v++)
        for (uint32_t w = 0; w < v; w++)
            CU_ASSERT_STRING_NOT_EQUAL(packet_verdict_name((enum packet_verdict)v),
                                       packet_verdict_name((enum packet_verdict)w));
    CU_ASSERT_STRING_EQUAL(packet_verdict_name(PACKET_VERDICTS), "unknown");
}

/* ---- ARP ---- */

static void arp_is_written_as_rfc_826_says_and_read_back(void)
{
    static const uint8_t expected[PACKET_BYTES_MIN] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,  0, 0, 0, 0, 2, 0x08, 0x06, /* Ethernet */
        0,    1,    8,    0,    6,    4,    0,  1,                         /* request */
        2,    0,    0,    0,    0,    2,    10, 0, 0, 2,                   /* sender */
        0,    0,    0,    0,    0,    0,    10, 0, 0, 1,                   /* target */
    };
    struct packet_arp arp = {.operation = PACKET_ARP_REQUEST,
                             .sender_mac = to_us.from_mac,
                             .sender = THEIRS,
                             .target = OURS};
    struct packet_arp again;
    memset(packet, 0xee, PACKET_BYTES_MIN + 1);
    packet_arp_write(packet, &arp, &packet_broadcast);
    CU_ASSERT_EQUAL(memcmp(packet, expected, sizeof expected), 0);
    CU_ASSERT_EQUAL(packet[PACKET_BYTES_MIN], 0xee);
    CU_ASSERT_EQUAL(judge(PACKET_BYTES_MIN), PACKET_ARP);
    packet_arp_read(&again, packet);
    CU_ASSERT_EQUAL(again.operation, PACKET_ARP_REQUEST);
    CU_ASSERT_EQUAL(again.sender, THEIRS);
    CU_ASSERT_EQUAL(again.target, OURS);
    CU_ASSERT_EQUAL(memcmp(&again.sender_mac, &arp.sender_mac, PACKET_MAC_BYTES), 0);
    CU_ASSERT_EQUAL(memcmp(&again.target_mac, &arp.target_mac, PACKET_MAC_BYTES), 0);
    arp.operation = PACKET_ARP_REPLY;
    packet_arp_write(packet, &arp, &local.mac);
    CU_ASSERT_EQUAL(judge(42), PACKET_ARP);
    CU_ASSERT_EQUAL(judge(41), PACKET_TOO_SHORT);
}

static void arp_of_other_kinds_is_refused(void)
{
    static const struct change changes[] = {
        {15, 6, false, PACKET_OTHER_ARP},   {16, 0x86, false, PACKET_OTHER_ARP},
        {18, 8, false, PACKET_OTHER_ARP},   {19, 16, false, PACKET_OTHER_ARP},
        {21, 0, false, PACKET_OTHER_ARP},   {21, 3, false, PACKET_OTHER_ARP},
        {0, 0xfd, false, PACKET_OTHER_MAC}, {6, 0xff, false, PACKET_OTHER_MAC},
    };
    struct packet_arp arp = {.operation = PACKET_ARP_REQUEST,
                             .sender_mac = to_us.from_mac,
                             .sender = THEIRS,
                             .target = OURS};
    for (uint32_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        packet_arp_write(packet, &arp, &packet_broadcast);
        packet[changes[i].at] = changes[i].value;
        CU_ASSERT_EQUAL(judge(PACKET_BYTES_MIN), changes[i].verdict);
    }
}

static void only_arp_may_be_broadcast(void)
{
    uint32_t length = make(100);
    memset(packet, 0xff, PACKET_MAC_BYTES);
    CU_ASSERT_EQUAL(judge(length), PACKET_OTHER_MAC);
}

/* ---- ICMP echo ---- */

static void echoes_are_told_apart_and_answered(void)
{
    static const uint32_t lengths[] = {0, 1, 10, 18, 1464, PACKET_PAYLOAD_MAX};
    static const struct packet_local peer = {
        .mac = {{2, 0, 0, 0, 0, 2}}, .address = THEIRS, .port = 1, .port_count = 1};
    for (uint32_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint8_t expected[PACKET_PAYLOAD_MAX];
        uint32_t length = make_echo(lengths[i]);
        fill(expected, lengths[i]);
        CU_ASSERT_EQUAL(judge(length), PACKET_ECHO_REQUEST);
        CU_ASSERT_EQUAL(r.identifier, 0x1234);
        CU_ASSERT_EQUAL(r.sequence, 0x5678);
        CU_ASSERT_EQUAL(r.length, lengths[i]);
        CU_ASSERT_EQUAL(packet_echo_answer(packet, &r, &local), length);
        CU_ASSERT_EQUAL(judge(length), PACKET_OTHER_MAC);
        CU_ASSERT_EQUAL(packet_judge(&r, packet, length, &peer, 0), PACKET_ECHO_REPLY);
        CU_ASSERT_EQUAL(r.source, OURS);
        CU_ASSERT_EQUAL(r.identifier, 0x1234);
        CU_ASSERT_EQUAL(r.sequence, 0x5678);
        CU_ASSERT_EQUAL(r.length, lengths[i]);
        CU_ASSERT_EQUAL(memcmp(r.payload, expected, r.length), 0);
    }
}

static void echoes_are_checked(void)
{
    uint32_t length = make_echo(20);
    packet[50] ^= 1;
    CU_ASSERT_EQUAL(judge(length), PACKET_WRONG_CHECKSUM);
    CU_ASSERT_EQUAL(
        packet_judge(&r, packet, length, &local, PACKET_IP_BY_PORT | PACKET_UDP_BY_PORT),
        PACKET_WRONG_CHECKSUM);
    packet[34] = 3; /* unreachable */
    CU_ASSERT_EQUAL(judge(length), PACKET_OTHER_PROTOCOL);
    packet[34] = 8;
    packet[35] = 1;
    CU_ASSERT_EQUAL(judge(length), PACKET_OTHER_PROTOCOL);
    make_echo(0);
    packet[17] = 27; /* no room for the head of an echo */
    ip_checksum_set();
    CU_ASSERT_EQUAL(judge(length), PACKET_TOO_SHORT);
}

static void hosts_have_addresses_of_hosts(void)
{
    CU_ASSERT_TRUE(packet_is_host(OURS));
    CU_ASSERT_TRUE(packet_is_host(0xdfffffff));
    CU_ASSERT_FALSE(packet_is_host(0));
    CU_ASSERT_FALSE(packet_is_host(0x7f000001));
    CU_ASSERT_FALSE(packet_is_host(0xe0000001));
    CU_ASSERT_FALSE(packet_is_host(0xffffffff));
}

static const struct unit_test tests[] = {
    UNIT_TEST(sums_are_those_of_rfc_1071),
    UNIT_TEST(sums_are_those_of_words_at_every_length),
    UNIT_TEST(sums_of_the_longest_packets_do_not_overflow),
    UNIT_TEST(headers_stand_where_the_rfcs_say),
    UNIT_TEST(what_is_written_is_taken),
    UNIT_TEST(bytes_behind_a_short_packet_are_allowed),
    UNIT_TEST(a_checksum_that_would_be_none_is_sent_as_the_other_zero),
    UNIT_TEST(a_port_that_writes_checksums_gets_what_it_expects),
    UNIT_TEST(checksums_that_the_port_looked_at_are_not_looked_at_again),
    UNIT_TEST(no_checksum_is_taken),
    UNIT_TEST(each_change_has_its_refusal),
    UNIT_TEST(outer_vlan_tags_are_refused_by_name),
    UNIT_TEST(other_flags_of_ip_are_no_fragments),
    UNIT_TEST(a_packet_that_is_cut_off_is_refused),
    UNIT_TEST(a_shorter_udp_length_is_taken_at_its_word),
    UNIT_TEST(names_are_there_for_all),
    UNIT_TEST(arp_is_written_as_rfc_826_says_and_read_back),
    UNIT_TEST(arp_of_other_kinds_is_refused),
    UNIT_TEST(only_arp_may_be_broadcast),
    UNIT_TEST(echoes_are_told_apart_and_answered),
    UNIT_TEST(echoes_are_checked),
    UNIT_TEST(hosts_have_addresses_of_hosts),
};
UNIT_MAIN("packet", tests)
