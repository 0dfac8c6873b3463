#include "tests/e2e/hostile.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PINNERS 100u
#define SILENT 16u
#define SESSION_SLOTS 64u
#define KEY "stranger"

static uint32_t lcores(const struct raw *r)
{
    return r->hello.file.lcore_count;
}

static void pause_us(uint32_t us)
{
    const struct timespec pause = {.tv_nsec = (long)us * 1000};
    (void)nanosleep(&pause, NULL);
}

/* ---- doorbell ---- */

/* Bits of everybody, set or cleared as fast as one can. */
static void doorbell_store(struct hostile *h, uint64_t bits)
{
    struct raw r;
    hostile_attach(h, &r, 0);
    while (hostile_goes_on(h))
        for (uint32_t lcore = 0; lcore < LIMIT_LCORES; lcore++)
            for (uint32_t word = 0; word < LIMIT_AGENTS / 64; word++)
                /* relaxed: any value at any time is the attack */
                atomic_store_explicit(&r.doorbell->lcores[lcore].bits[word], bits,
                                      memory_order_relaxed);
}

void attack_doorbell_clear(struct hostile *h)
{
    doorbell_store(h, 0);
}

void attack_doorbell_set(struct hostile *h)
{
    doorbell_store(h, UINT64_MAX);
}

/* ---- bytes ---- */

static void scribble(uint8_t *at, uint64_t bytes, uint64_t *random)
{
    for (uint64_t done = 0; done + 8 <= bytes; done += 8) {
        uint64_t word = e2e_random(random);
        memcpy(at + done, &word, sizeof word);
    }
}

/* Everything, one of its pages, or some words: each reaches other checks. */
static void scribble_somewhere(struct raw *r, uint64_t *random)
{
    uint64_t bytes = r->hello.file.bytes;
    uint64_t at;
    switch (e2e_random(random) % 4) {
    case 0:
        scribble(r->file, bytes, random);
        break;
    case 1:
        at = e2e_random(random) % (bytes / PAGE) * PAGE;
        scribble(r->file + at, PAGE, random);
        break;
    case 2:
        memset(r->file, (int)(e2e_random(random) & 0xff), bytes);
        break;
    default:
        for (uint32_t i = 0; i < 64; i++) {
            at = e2e_random(random) % (bytes / 8) * 8;
            scribble(r->file + at, 8, random);
        }
        break;
    }
}

void attack_random_bytes(struct hostile *h)
{
    uint32_t detached = 0;
    while (hostile_goes_on(h)) {
        struct raw r;
        hostile_attach(h, &r, 1 << 16);
        for (uint32_t i = 0; i < 64 && !raw_detached(&r); i++) {
            scribble_somewhere(&r, &h->seed);
            for (uint32_t l = 0; l < lcores(&r); l++)
                raw_bell(&r, l);
            pause_us(50);
        }
        pause_us(1000);
        detached += raw_detached(&r);
        raw_close(&r);
    }
    if (detached == 0)
        e2e_fail("random bytes in its file cost no agent its attachment");
}

/* ---- positions and heads ---- */

static const struct raw_message nop = {.request = {.head = {.operation = RING_NOP}}};

/* The daemon must have answered this agent until now. */
static void expect_served(struct raw *r, uint32_t lcore)
{
    struct ring_completion c;
    int status = raw_ask(r, lcore, &nop, &c);
    if (status != RING_OK)
        e2e_fail("a fresh agent was not served: %d", status);
}

static uint64_t forged_position(const struct ring *ring, uint64_t *random)
{
    uint64_t true_one = ring->position;
    switch (e2e_random(random) % 6) {
    case 0:
        return UINT64_MAX;
    case 1:
        return true_one + RING_CELL;
    case 2:
        return true_one + 2 * ring->bytes;
    case 3:
        return true_one + 1;
    case 4:
        return true_one - ring->bytes - RING_CELL;
    default:
        return e2e_random(random);
    }
}

/* Enough requests that their answers do not fit without a look at the forged position. */
static void fill_answers(struct raw *r, uint32_t lcore)
{
    uint64_t enough = 2 * r->completion[lcore].bytes / RING_CELL;
    for (uint64_t i = 0; i < enough && !raw_detached(r); i++)
        if (raw_send(r, lcore, &nop) != 0)
            pause_us(20);
}

void attack_positions(struct hostile *h)
{
    uint32_t detached = 0;
    while (hostile_goes_on(h)) {
        struct raw r;
        hostile_attach(h, &r, 0);
        uint32_t lcore = (uint32_t)(e2e_random(&h->seed) % lcores(&r));
        expect_served(&r, lcore);
        for (uint32_t i = 0; i < 4 && !raw_detached(&r); i++) {
            uint64_t position = forged_position(&r.completion[lcore], &h->seed);
            atomic_store_explicit(&r.completion[lcore].shared->consumed, position,
                                  memory_order_release);
            atomic_store_explicit(&r.request[lcore].shared->consumer_state,
                                  (uint32_t)e2e_random(&h->seed), memory_order_relaxed);
            fill_answers(&r, lcore);
        }
        detached += raw_detached(&r);
        raw_close(&r);
    }
    if (detached == 0)
        e2e_fail("no forged position cost an agent its attachment");
}

static struct ring_head forged_head(const struct ring *ring, uint64_t *random)
{
    static const uint32_t lengths[] = {1, 7, 8, 63, 64, 65, 0x7fffffff, 0x80000000, 0xffffffff};
    uint64_t word = e2e_random(random);
    struct ring_head head = {.operation = (uint8_t)(word >> 32), .flags = (uint16_t)(word >> 40)};
    switch (word % 4) {
    case 0:
        head.length = (uint32_t)ring->bytes / 4 + (uint32_t)(word >> 56) % 3;
        break;
    case 1:
        head.length = (uint32_t)(ring->bytes - ring->position % ring->bytes) + 1;
        break;
    default:
        head.length = lengths[(word >> 3) % (sizeof lengths / sizeof lengths[0])];
        break;
    }
    return head;
}

void attack_heads(struct hostile *h)
{
    uint32_t detached = 0;
    while (hostile_goes_on(h)) {
        struct raw r;
        hostile_attach(h, &r, 0);
        uint32_t lcore = (uint32_t)(e2e_random(&h->seed) % lcores(&r));
        expect_served(&r, lcore);
        struct ring *ring = &r.request[lcore];
        uint8_t *at = ring->data + ring->position % ring->bytes;
        scribble(at + 8, RING_CELL - 8, &h->seed);
        struct ring_head head = forged_head(ring, &h->seed);
        uint64_t word;
        memcpy(&word, &head, sizeof word);
        atomic_store_explicit((_Atomic uint64_t *)(void *)at, word, memory_order_release);
        raw_bell(&r, lcore);
        pause_us(200);
        detached += raw_detached(&r);
        raw_close(&r);
    }
    if (detached == 0)
        e2e_fail("no forged head cost an agent its attachment");
}

/* ---- fields: each wrong one has its own refusal ---- */

struct forger {
    struct raw agent;
    struct raw_space space;
    struct raw_session session;
    struct raw_message good; /* a put that would be taken */
    uint32_t lcore;
};

static void expect_status(struct forger *f, const char *what, const struct raw_message *m,
                          uint32_t expected)
{
    struct ring_completion c;
    int status = raw_ask(&f->agent, f->lcore, m, &c);
    if (status != (int)expected)
        e2e_fail("%s: answered %d instead of %" PRIu32, what, status, expected);
}

static void forger_open(struct hostile *h, struct forger *f)
{
    hostile_attach(h, &f->agent, 1 << 16);
    hostile_space(&f->agent, HOSTILE_SHARED, &f->space);
    f->session.shard = raw_shard(&f->space, KEY, strlen(KEY));
    f->lcore = f->space.boards[f->session.shard].lcore;
    scribble(f->session.id, sizeof f->session.id, &h->seed);
    int status = raw_session_open(&f->agent, &f->space, &f->session);
    if (status != RING_OK)
        e2e_die("no session for the stranger: %d", status);
    f->good = raw_message_make(&f->space, RING_PUT, KEY, "good one", 8);
    f->good.request.session_slot = f->session.slot;
    f->good.request.session = f->session.lsn;
    f->good.request.sequence = 1;
    expect_status(f, "an honest put", &f->good, RING_OK);
    f->good.request.sequence = 2;
    f->good.value = "evil one";
}

#define WITH(field, wrong, expected)                                                               \
    do {                                                                                           \
        struct raw_message m = f->good;                                                            \
        m.request.field = (wrong);                                                                 \
        m.request.head.length = (uint32_t)ring_request_bytes(0, strlen(KEY), 8);                   \
        expect_status(f, #field " " #wrong, &m, expected);                                         \
    } while (0)

static void forge_places(struct forger *f)
{
    uint32_t shards = f->space.header->geometry.shard_count;
    WITH(shard, shards, RING_INPUT);
    WITH(shard, UINT32_MAX, RING_INPUT);
    WITH(shard, (f->session.shard + 1) % shards, RING_INPUT);
    WITH(space, 0, RING_UNAVAILABLE);
    WITH(space, LIMIT_SPACES, RING_UNAVAILABLE);
    WITH(space, LIMIT_SPACES + 1, RING_UNAVAILABLE);
    WITH(space, UINT16_MAX, RING_UNAVAILABLE);
}

static void forge_lengths(struct forger *f)
{
    WITH(key_length, 0, RING_INPUT);
    WITH(key_length, LIMIT_KEY_BYTES + 1, RING_INPUT);
    WITH(key_length, UINT16_MAX, RING_INPUT);
    WITH(extension_length, 8, RING_INPUT);
    WITH(extension_length, UINT16_MAX, RING_INPUT);
    WITH(value_length, 17, RING_INPUT);
    WITH(value_length, UINT32_MAX, RING_INPUT);
    WITH(head.operation, RING_OPERATION_COUNT, RING_INPUT);
    WITH(head.operation, UINT8_MAX, RING_INPUT);
    WITH(head.operation, RING_DELETE, RING_INPUT);
    WITH(head.operation, RING_SESSION_OPEN, RING_INPUT);
    WITH(head.flags, 0x8000, RING_INPUT);
    WITH(head.flags, RING_FLAG_EXISTING, RING_INPUT);
}

/* Shorter than its header: the tag is not among it, so none is to be expected back. */
static void forge_stumps(struct forger *f)
{
    static const uint32_t lengths[] = {8, 16, 56, 63};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const struct raw_message m = {
            .request.head = {.length = lengths[i], .operation = RING_PUT}};
        struct ring_completion c;
        int error = raw_send(&f->agent, f->lcore, &m);
        error = error != 0 ? error : raw_receive(&f->agent, f->lcore, &c, 5000);
        if (error != 0 || c.status != RING_INPUT)
            e2e_fail("a message of %" PRIu32 " bytes: answered %d", lengths[i],
                     error != 0 ? error : (int)c.status);
    }
}

static void forge_bulk(struct forger *f)
{
    const uint32_t room = f->agent.hello.file.bulk_bytes;
    const struct {
        const char *what;
        uint32_t offset, length, expected;
    } places[] = {
        {"bulk behind the buffer", room, 8, RING_INPUT},
        {"bulk across the end", room - 8, 16, RING_INPUT},
        {"bulk that wraps", UINT32_MAX - 7, 16, RING_INPUT},
        {"bulk not aligned", 4, 8, RING_INPUT},
        {"bulk of 4 GiB", 0, UINT32_MAX, RING_INPUT},
        {"bulk of everything at the end", room, room, RING_INPUT},
    };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct raw_message m = f->good;
        m.request.head.flags = RING_FLAG_BULK;
        m.request.head.length = (uint32_t)ring_request_bytes(0, strlen(KEY), 0);
        m.request.bulk_offset = places[i].offset;
        m.request.value_length = places[i].length;
        expect_status(f, places[i].what, &m, places[i].expected);
        m.request.head.operation = RING_GET;
        expect_status(f, places[i].what, &m, places[i].expected);
    }
}

static void forge_sequences(struct forger *f)
{
    WITH(session, 0, RING_FATE_UNKNOWN);
    WITH(session, f->session.lsn + 8, RING_FATE_UNKNOWN);
    WITH(session, UINT64_MAX, RING_FATE_UNKNOWN);
    WITH(sequence, 0, RING_SEQUENCE);
    WITH(sequence, 3, RING_SEQUENCE);
    WITH(sequence, UINT64_MAX, RING_SEQUENCE);
}

/* The LSN names the session, the slot is a hint: a wrong one may be refused and must do no harm. */
static void forge_slots(struct forger *f)
{
    struct raw_message again = f->good;
    struct ring_completion c;
    again.request.sequence = 1;
    uint64_t lsn = 0;
    for (uint64_t slot = 0; slot <= UINT32_MAX; slot += 1 + slot * 3) {
        again.request.session_slot = (uint32_t)slot;
        int status = raw_ask(&f->agent, f->lcore, &again, &c);
        if (status != RING_FATE_UNKNOWN && (status != RING_OK || (lsn != 0 && c.lsn != lsn)))
            e2e_fail("session slot %" PRIu64 ": answered %d", slot, status);
        lsn = status == RING_OK ? c.lsn : lsn;
    }
}

/* The key still has the value of the honest put; only that, by the honest name, changes it. */
static void expect_untouched(struct forger *f)
{
    struct raw_message get = raw_message_make(&f->space, RING_GET, KEY, NULL, 64);
    struct ring_completion c;
    int status = raw_ask(&f->agent, f->lcore, &get, &c);
    if (status != RING_OK || c.value_length != 8)
        e2e_fail("the forger's key: status %d, %" PRIu32 " bytes", status, c.value_length);
    uint64_t lsn = c.lsn;
    f->good.request.sequence = 1;
    status = raw_ask(&f->agent, f->lcore, &f->good, &c);
    if (status != RING_OK || c.lsn != lsn)
        e2e_fail("a repeated put gave status %d and another version", status);
    f->good.request.sequence = 2;
    expect_status(f, "an honest put after the forged ones", &f->good, RING_OK);
}

void attack_fields(struct hostile *h)
{
    struct forger forger;
    struct forger *f = &forger;
    forger_open(h, f);
    forge_places(f);
    forge_lengths(f);
    forge_stumps(f);
    forge_bulk(f);
    forge_sequences(f);
    forge_slots(f);
    /* A space that exists, to be had by its number without ever having been opened. */
    for (uint16_t id = 1; id <= LIMIT_SPACES; id++) {
        struct raw_message m = f->good;
        struct ring_completion c;
        m.request.space = id;
        m.request.shard = 0;
        int status = raw_ask(&f->agent, 0, &m, &c);
        m.request.head.operation = RING_GET;
        int read = raw_ask(&f->agent, 0, &m, &c);
        if (status == RING_OK || (read != RING_UNAVAILABLE && read != RING_ACCESS &&
                                  read != RING_INPUT && read != RING_NOT_FOUND))
            e2e_fail("space %u by its number: put %d, get %d", id, status, read);
    }
    expect_untouched(f);
}

/* ---- sessions of others ---- */

void attack_sessions(struct hostile *h)
{
    struct forger forger;
    struct forger *f = &forger;
    forger_open(h, f);
    struct raw_message m = raw_message_make(&f->space, RING_PUT, h->session_key, "stolen", 6);
    f->lcore = f->space.boards[h->session.shard].lcore;
    m.request.session = h->session.lsn;
    m.request.sequence = 2;
    for (uint32_t slot = 0; slot < SESSION_SLOTS; slot++) {
        m.request.session_slot = slot;
        expect_status(f, "another's session", &m, RING_FATE_UNKNOWN);
    }
    m.request.session_slot = h->session.slot;
    for (int64_t shift = -4096; shift <= 4096; shift += 64) {
        m.request.session = h->session.lsn + (uint64_t)shift;
        expect_status(f, "another's session, LSN guessed", &m, RING_FATE_UNKNOWN);
    }
    struct raw_session same = h->session;
    int status = raw_session_open(&f->agent, &f->space, &same);
    if (status != RING_ACCESS)
        e2e_fail("opening another's session again: answered %d", status);
    struct raw_message named = {.request = {.head = {.operation = RING_SESSION_OPEN},
                                            .space = (uint16_t)f->space.id,
                                            .shard = h->session.shard,
                                            .key_length = sizeof h->session.id},
                                .key = h->session.id,
                                .key_bytes = sizeof h->session.id};
    named.request.head.flags = RING_FLAG_EXISTING;
    expect_status(f, "finding another's session", &named, RING_ACCESS);
    named.request.head = (struct ring_head){.operation = RING_SESSION_CLOSE};
    expect_status(f, "closing another's session", &named, RING_ACCESS);
}

void attack_retry(struct hostile *h)
{
    struct dunlin *handle = e2e_open(h->socket_path, 5000);
    struct dunlin_space *space = e2e_space(handle, HOSTILE_SHARED);
    struct dunlin_space *secret;
    char key[32];
    int error = dunlin_space(handle, HOSTILE_SECRET, &secret);
    if (error != -EACCES)
        e2e_fail("space secret opened by a stranger: %d", error);
    /* Under the name of the good agent's last write, and of those before and after it. */
    for (uint64_t i = 0; i < 8192; i++) {
        struct dunlin_write_id id = h->victim;
        id.sequence += i % 16 - (i % 16 < 8 ? 0 : 16);
        int length = snprintf(key, sizeof key, "good-%05" PRIu64, i % 4096);
        const struct dunlin_write w = {.operation = i % 2 == 0 ? DUNLIN_PUT : DUNLIN_DELETE,
                                       .key = key,
                                       .key_length = (size_t)length,
                                       .value = "stolen",
                                       .value_length = i % 2 == 0 ? 6 : 0};
        error = id.sequence != 0 ? dunlin_retry(space, &id, &w, NULL) : -EINVAL;
        if (error != -EACCES && error != -EOWNERDEAD && error != -EINVAL)
            e2e_fail("repeating another's write: %d", error);
    }
    dunlin_close(handle);
}

/* ---- pins
 * -------------------------------------------------------------------------------------------------
 */

static void pin_store(struct raw *r, uint32_t pin, uint64_t value)
{
    struct ring_pins *pins = &((struct ring_file *)(void *)r->file)->pins;
    atomic_store_explicit(&pins->pin[pin], value, memory_order_seq_cst);
}

/* Every frame of the space pinned at once and kept so, longer than any pin counts; in between other
 * agents' worth of pins that come, go, and name what cannot be. */
void attack_pins(struct hostile *h)
{
    static struct raw agents[PINNERS];
    struct raw_space space;
    hostile_attach(h, &agents[0], 0);
    hostile_space(&agents[0], HOSTILE_SHARED, &space);
    uint64_t frames = layout_frame_count(&space.header->geometry);
    uint32_t keepers = (uint32_t)((frames + LIMIT_PINS - 1) / LIMIT_PINS);
    if (keepers >= PINNERS)
        e2e_die("too few agents to pin %" PRIu64 " frames", frames);
    for (uint32_t i = 1; i < PINNERS; i++)
        hostile_attach(h, &agents[i], 0);
    for (uint64_t frame = 0; frame < frames; frame++)
        pin_store(&agents[frame / LIMIT_PINS], frame % LIMIT_PINS, ring_pin_make(space.id, frame));
    while (hostile_goes_on(h)) {
        for (uint32_t i = keepers; i < PINNERS; i++)
            for (uint32_t p = 0; p < LIMIT_PINS; p++) {
                uint64_t word = e2e_random(&h->seed);
                pin_store(&agents[i], p,
                          word % 8 == 0 ? word : ring_pin_make(space.id, word % frames));
            }
        pause_us(100);
    }
}

/* ---- agents that do not take what they asked for ---- */

void attack_never_consume(struct hostile *h)
{
    static struct raw agents[SILENT];
    struct raw_space space;
    for (uint32_t i = 0; i < SILENT; i++)
        hostile_attach(h, &agents[i], 0);
    hostile_space(&agents[0], HOSTILE_SHARED, &space);
    while (hostile_goes_on(h)) {
        for (uint32_t i = 0; i < SILENT; i++) {
            struct raw_message get = raw_message_make(&space, RING_GET, "good-00001", NULL, 4096);
            uint32_t lcore = space.boards[get.request.shard].lcore;
            while (raw_send(&agents[i], lcore, i % 2 == 0 ? &get : &nop) == 0)
                continue;
            raw_bell(&agents[i], lcore);
        }
        pause_us(20);
    }
    for (uint32_t i = 0; i < SILENT; i++)
        if (raw_detached(&agents[i]))
            e2e_fail("an agent that is merely slow was detached");
}

void attack_eventfd(struct hostile *h)
{
    const uint64_t poison = UINT64_MAX - 1;
    struct raw r;
    hostile_attach(h, &r, 0);
    for (uint32_t l = 0; l < lcores(&r); l++)
        if (fcntl(r.fds[3 + l], F_SETFL, 0) != 0)
            e2e_die("cannot make the eventfd blocking: %s", strerror(errno));
    while (hostile_goes_on(h)) {
        for (uint32_t l = 0; l < lcores(&r); l++) {
            uint64_t word;
            (void)!write(r.fds[3 + l], &poison, sizeof poison);
            (void)!read(r.fds[3 + l], &word, sizeof word);
        }
    }
    for (uint32_t l = 0; l < lcores(&r); l++) {
        if (fcntl(r.fds[3 + l], F_SETFL, O_NONBLOCK) != 0)
            e2e_die("cannot make the eventfd nonblocking: %s", strerror(errno));
        (void)!write(r.fds[3 + l], &poison, sizeof poison);
        expect_served(&r, l);
    }
}

/* ---- memory
 * -----------------------------------------------------------------------------------------------------
 */

void attack_quota(struct hostile *h)
{
    static uint8_t value[8000];
    struct dunlin *handle = e2e_open(h->socket_path, 5000);
    struct dunlin_space *space = e2e_space(handle, HOSTILE_FLOOD);
    uint32_t refused = 0;
    for (uint32_t i = 0; hostile_goes_on(h); i++) {
        char key[32];
        int length = snprintf(key, sizeof key, "flood-%" PRIu32, i);
        int error = dunlin_put(space, key, (size_t)length, value, sizeof value, NULL);
        refused += error == -EDQUOT;
        if (error != 0 && error != -EDQUOT) {
            e2e_fail("put number %" PRIu32 " into a full space: %d", i, error);
            break;
        }
    }
    if (refused == 0)
        e2e_fail("the flood was never refused");
    dunlin_close(handle);
}
