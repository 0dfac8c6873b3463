/* What leaves for a peer in a pass, and in which order: over a transport that notes what it is given. */
#include "dataplane/lcore_cluster.h"
#include "tests/unit/unit.h"

#include <string.h>

#define PEER 2u
#define OTHER 5u

struct sent {
    uint32_t to, length;
    uint8_t first;
    int items; /* 0: no bundle */
};

static struct sent sent[8];
static uint32_t sent_count;
static uint8_t version;
static bool refuses;

static uint32_t note(struct transport *t, const struct transport_datagram *d, uint32_t count)
{
    struct bundle_item items[BUNDLE_ITEMS_MAX];
    (void)t;
    CU_ASSERT_FATAL(count == 1 && sent_count < 8);
    if (refuses)
        return 0;
    struct sent *s = &sent[sent_count++];
    *s = (struct sent){.to = d->to, .length = d->head_length, .first = d->head[0]};
    if (bundle_is(d->head, d->head_length)) {
        s->items = bundle_split(d->head, d->head_length, items);
        CU_ASSERT_FATAL(s->items > 1);
        s->first = items[0].bytes[0];
    }
    return 1;
}

static uint8_t version_of(const struct transport *t, uint32_t node)
{
    (void)t;
    (void)node;
    return version;
}

static const struct transport_ops ops = {.send = note, .version = version_of};
static struct transport transport;
static struct lcore_cluster c;
static struct pair pairs[2];
static struct bundle bundles[2];

static void begin(void)
{
    memset(bundles, 0, sizeof bundles);
    transport = (struct transport){.ops = &ops};
    pairs[0].peer.node = PEER;
    pairs[1].peer.node = OTHER;
    c.transport = &transport;
    c.group.pairs = pairs;
    c.group.pair_count = 2;
    c.bundles = bundles;
    sent_count = 0;
    version = BUNDLE_WIRE_VERSION;
    refuses = false;
}

static bool place(uint32_t node, uint8_t first, uint64_t length)
{
    uint8_t *at = poll_bundle_place(&c, node, length);
    if (at != NULL)
        memset(at, first, length);
    return at != NULL;
}

static void short_ones_leave_together_for_each_peer(void)
{
    begin();
    CU_ASSERT(place(PEER, 1, 64) && place(OTHER, 2, 64) && place(PEER, 3, 128));
    CU_ASSERT_EQUAL(sent_count, 0);
    poll_bundle_flush(&c);
    CU_ASSERT_EQUAL_FATAL(sent_count, 2);
    CU_ASSERT(sent[0].to == PEER && sent[0].items == 2 && sent[0].first == 1);
    CU_ASSERT(sent[1].to == OTHER && sent[1].items == 0 && sent[1].length == 64);
    poll_bundle_flush(&c);
    CU_ASSERT_EQUAL(sent_count, 2);
}

static void one_that_goes_alone_comes_behind_them(void)
{
    static const uint8_t head[8] = {9};
    const struct transport_datagram d = {.to = PEER, .head = head, .head_length = sizeof head};
    begin();
    CU_ASSERT(place(PEER, 1, 64) && place(PEER, 2, 64) && place(OTHER, 3, 64));
    poll_bundle_alone(&c, &d);
    CU_ASSERT_EQUAL_FATAL(sent_count, 2);
    CU_ASSERT(sent[0].items == 2 && sent[1].first == 9 && sent[1].length == sizeof head);
    CU_ASSERT(place(PEER, 4, 64));
    poll_bundle_flush(&c);
    CU_ASSERT_EQUAL_FATAL(sent_count, 4);
    CU_ASSERT(sent[2].first == 4 && sent[3].first == 3);
}

static void what_fits_no_more_begins_another(void)
{
    begin();
    transport.head_whole = 512;
    for (uint8_t i = 0; i < 5; i++)
        CU_ASSERT_TRUE(place(PEER, i, 128));
    CU_ASSERT_EQUAL(sent_count, 1);
    poll_bundle_flush(&c);
    CU_ASSERT_EQUAL_FATAL(sent_count, 2);
    CU_ASSERT(sent[0].items == 3 && sent[0].length <= 512 && sent[0].first == 0);
    CU_ASSERT(sent[1].items == 2 && sent[1].first == 3);
    CU_ASSERT_FALSE(place(PEER, 1, 512)); /* not in one piece */
}

static void who_is_older_gets_none(void)
{
    begin();
    version = BUNDLE_WIRE_VERSION - 1;
    CU_ASSERT_FALSE(place(PEER, 1, 64));
    version = BUNDLE_WIRE_VERSION;
    CU_ASSERT_FALSE(place(PEER, 1, BUNDLE_ITEM_BYTES_MAX + 1));
    CU_ASSERT_FALSE(place(PEER + 1, 1, 64)); /* nobody */
    CU_ASSERT_TRUE(place(PEER, 1, BUNDLE_ITEM_BYTES_MAX));
}

static void what_is_refused_holds_nothing(void)
{
    static const uint8_t head[8] = {9};
    static uint32_t counts[4];
    begin();
    holds_init(&c.holds[1], counts, 4);
    const struct transport_datagram d = {
        .to = PEER,
        .head = head,
        .head_length = sizeof head,
        .bytes = head,
        .length = sizeof head,
        .hold = hold_word(1, 3),
    };
    hold_add(&c.holds[1], 3);
    poll_bundle_alone(&c, &d);
    CU_ASSERT_TRUE(hold_is_held(&c.holds[1], 3)); /* until the transport lets go */
    refuses = true;
    poll_bundle_alone(&c, &d);
    CU_ASSERT_FALSE(hold_is_held(&c.holds[1], 3));
}

static const struct unit_test tests[] = {
    UNIT_TEST(short_ones_leave_together_for_each_peer),
    UNIT_TEST(one_that_goes_alone_comes_behind_them),
    UNIT_TEST(what_fits_no_more_begins_another),
    UNIT_TEST(who_is_older_gets_none),
    UNIT_TEST(what_is_refused_holds_nothing),
};
UNIT_MAIN("poll_bundle", tests)
