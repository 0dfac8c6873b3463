/* Transactions that are none, and whole ones that change while they are read. */
#include "tests/e2e/hostile.h"

#include <inttypes.h>
#include <string.h>

#define KEY "stranger's parts"
#define TORN 2000u

struct packer {
    struct raw agent;
    struct raw_space space;
    struct raw_message message; /* a transaction, but for its length and its parts */
    uint32_t lcore;
};

static void packer_open(struct hostile *h, struct packer *p)
{
    struct raw_session session;
    hostile_attach(h, &p->agent, 1 << 16);
    hostile_space(&p->agent, HOSTILE_SHARED, &p->space);
    session.shard = raw_shard(&p->space, KEY, strlen(KEY));
    p->lcore = p->space.boards[session.shard].lcore;
    for (uint32_t i = 0; i < 3; i++) { /* Why thrice: the first words name others' sessions */
        uint64_t words[2] = {e2e_random(&h->seed), e2e_random(&h->seed)};
        memcpy(session.id, words, sizeof session.id);
    }
    if (raw_session_open(&p->agent, &p->space, &session) != RING_OK)
        e2e_die("no session for the stranger's transactions");
    p->message = raw_message_make(&p->space, RING_TRANSACTION, KEY, NULL, 0);
    p->message.request.session_slot = session.slot;
    p->message.request.session = session.lsn;
    p->message.request.sequence = 1;
    p->message.request.key_length = 0;
    p->message.key_bytes = 0;
}

/* A put as the only part; returns its length. */
static uint32_t pack_put(uint8_t *packed)
{
    const struct ring_item item = {
        .operation = RING_PUT, .key_length = sizeof KEY - 1, .value_length = 8};
    memcpy(packed, &item, sizeof item);
    (void)ring_put_padded(ring_put_padded(packed + sizeof item, KEY, sizeof KEY - 1), "good one",
                          8);
    return (uint32_t)ring_item_bytes(sizeof KEY - 1, 8);
}

static void expect_refused(struct packer *p, const char *what, const uint8_t *packed,
                           uint32_t length)
{
    struct raw_message m = p->message;
    struct ring_completion c;
    m.request.value_length = m.value_bytes = length;
    m.value = packed;
    int status = raw_ask(&p->agent, p->lcore, &m, &c);
    if (status != RING_INPUT)
        e2e_fail("%s: answered %d instead of %d", what, status, RING_INPUT);
}

static void forge(struct packer *p, uint64_t *random)
{
    alignas(8) uint8_t packed[128];
    uint32_t whole = pack_put(packed);
    for (uint32_t length = 8; length < whole; length += 8)
        expect_refused(p, "a transaction cut short", packed, length);
    packed[1] = RING_GET;
    expect_refused(p, "a transaction that gets", packed, whole);
    (void)pack_put(packed);
    packed[0] = RING_SECTION_ELSE + 1;
    expect_refused(p, "a section that is none", packed, whole);
    (void)pack_put(packed);
    memset(packed + offsetof(struct ring_item, value_length), 0xff, 4);
    expect_refused(p, "a value of 4 GiB in it", packed, whole);
    for (uint32_t i = 0; i < 64; i++) {
        for (uint32_t at = 0; at < sizeof packed; at += 8) {
            uint64_t word = e2e_random(random);
            memcpy(packed + at, &word, sizeof word);
        }
        packed[3] = 1; /* a reserved byte, so that chance makes none of them whole */
        expect_refused(p, "random items", packed, sizeof packed);
    }
}

/* Answers that a copy of such bytes can get; *logged: its sequence is used up. */
static bool is_answer(uint32_t status, bool *logged)
{
    *logged = status == RING_OK || status == RING_CONDITION || status == RING_NOT_NUMBER ||
              status == RING_RANGE;
    return *logged || status == RING_INPUT || status == RING_TOO_LARGE;
}

/* In the bulk buffer, while its words change: what is judged is what is done. */
static void tear(struct packer *p, uint64_t *random)
{
    struct raw_message m = p->message;
    struct ring_completion c = {.status = RING_OK};
    uint8_t *bulk = p->agent.file + ring_file_bulk(&p->agent.hello.file);
    m.request.head.flags = RING_FLAG_BULK;
    for (uint32_t i = 0; i < TORN; i++) {
        bool logged = false;
        m.request.value_length = pack_put(bulk);
        int error = raw_send(&p->agent, p->lcore, &m);
        for (uint32_t n = 0; n < 16; n++) {
            uint64_t at = e2e_random(random) % (sizeof(struct ring_item) / 8) * 8;
            uint64_t word = e2e_random(random);
            memcpy(bulk + at, &word, sizeof word);
        }
        error = error != 0 ? error : raw_receive(&p->agent, p->lcore, &c, 5000);
        if (error != 0 || !is_answer(c.status, &logged)) {
            e2e_fail("a transaction that changes meanwhile: answered %d",
                     error != 0 ? error : (int)c.status);
            return;
        }
        m.request.sequence += logged;
    }
    m.request.value_length = pack_put(bulk);
    int status = raw_ask(&p->agent, p->lcore, &m, &c);
    if (status != RING_OK)
        e2e_fail("an honest transaction after torn ones: answered %d", status);
}

void attack_items(struct hostile *h)
{
    struct packer p;
    packer_open(h, &p);
    forge(&p, &h->seed);
    tear(&p, &h->seed);
}
