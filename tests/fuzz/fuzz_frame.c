/* Any bytes as frames and HELLOs: decoding stays inside, what decodes encodes to the same bytes again,
 * fields that are sound keep within their bounds, no nonce is taken twice, and whatever a peer says, a
 * handshake never goes back to an older start or comes up without the echo of its challenge. */
#include "dataplane/frame.h"
#include "dataplane/handshake.h"

#include <stdlib.h>
#include <string.h>

static const struct frame_local local = {
    .cluster = 7, .lcore = 1, .version_lowest = 1, .version_highest = 3};

/* ---- headers ---- */

static void sound_fields_fit(const struct frame_header *h, uint64_t payload)
{
    uint32_t content = frame_content(h->head_length, h->length);
    ASSERT(payload <= FRAME_BYTES_MAX || payload <= h->piece);
    ASSERT((uint64_t)h->index * h->piece + payload <= align_up(content, 8));
    ASSERT(frame_fragments(content, h->piece) <= FRAME_FRAGMENTS_MAX);
    ASSERT(h->head_length <= TRANSPORT_HEAD_MAX && h->length <= FRAME_LENGTH_MAX);
}

/* The copy ends with its memory. */
static void frame_take(const uint8_t *data, size_t size)
{
    struct frame_header h;
    uint8_t again[FRAME_HEADER_BYTES];
    uint8_t *copy = malloc(size != 0 ? size : 1);
    ASSERT(copy != NULL);
    memcpy(copy, data, size);
    enum frame_refusal refusal = frame_header_decode(&h, copy, size, &local);
    ASSERT(refusal <= FRAME_OTHER_LCORE && frame_refusal_name(refusal) != NULL);
    if (refusal == FRAME_TAKEN) {
        frame_header_encode(&h, again);
        again[FRAME_TAG_AT - 1] = copy[FRAME_TAG_AT - 1]; /* reserved */
        ASSERT(memcmp(copy, again, FRAME_TAG_AT) == 0);
        if (frame_is_sound(&h, size - FRAME_HEADER_BYTES) && (h.flags & FRAME_HELLO) == 0)
            sound_fields_fit(&h, size - FRAME_HEADER_BYTES);
    }
    free(copy);
}

/* ---- nonces ---- */

#define NONCES (1u << 16)

static void nonces_take(const uint8_t *data, size_t size)
{
    static struct frame_window w;
    static uint8_t taken[NONCES / 8];
    memset(&w, 0, sizeof w);
    memset(taken, 0, sizeof taken);
    for (size_t at = 0; at + 2 <= size; at += 2) {
        uint32_t nonce = data[at] | (uint32_t)data[at + 1] << 8;
        enum frame_refusal refusal = frame_window_check(&w, nonce);
        bool seen = (taken[nonce / 8] >> (nonce % 8) & 1) != 0;
        bool old = nonce == 0 || nonce + (uint64_t)FRAME_WINDOW <= w.highest;
        ASSERT(refusal == (old ? FRAME_TOO_OLD : seen ? FRAME_REPLAYED : FRAME_TAKEN));
        if (refusal != FRAME_TAKEN)
            continue;
        frame_window_mark(&w, nonce);
        taken[nonce / 8] |= (uint8_t)(1u << (nonce % 8));
    }
}

/* ---- handshakes ---- */

struct event {
    uint8_t start, what, wait, length;
    uint8_t hello[HANDSHAKE_HELLO_BYTES];
};

static void hello_take(struct handshake *h, const struct event *e)
{
    struct handshake_hello hello;
    uint8_t wire[HANDSHAKE_HELLO_BYTES];
    memcpy(wire, e->hello, sizeof wire);
    /* Hardly any would be sound, or know our challenge, by chance. */
    if ((e->what & 1) != 0)
        memcpy(wire + 32, h->own.challenge, sizeof h->own.challenge);
    if ((e->what & 2) != 0) {
        wire[8] = 1;
        wire[9] = 2;
        wire[10] &= 1;
    }
    uint64_t length = (e->what & 4) != 0 ? sizeof wire : e->length % (sizeof wire + 1);
    if (!handshake_hello_decode(&hello, wire, length))
        return;
    ASSERT(length == sizeof wire && hello.version_lowest <= hello.version_highest);
    hello.start = e->start;
    bool echoed = memcmp(hello.echo, h->own.challenge, sizeof hello.echo) == 0;
    struct handshake before = *h;
    enum handshake_result result = handshake_receive(h, &hello);
    ASSERT(h->peer_start >= before.peer_start);
    ASSERT(h->up == (result == HANDSHAKE_UP || (before.up && h->peer_start == before.peer_start)));
    ASSERT(result != HANDSHAKE_UP || (echoed && !before.up) || h->peer_start != before.peer_start);
    ASSERT(result != HANDSHAKE_UP || echoed);
    ASSERT(!h->up || (h->version >= h->own.version_lowest && h->version <= h->own.version_highest));
    if (result == HANDSHAKE_OLDER_START || result == HANDSHAKE_OTHER_START)
        ASSERT(memcmp(&before, h, sizeof *h) == 0);
}

static void handshake_take(const uint8_t *data, size_t size)
{
    static struct handshake h;
    struct handshake_hello own = {
        .start = 5, .features = 3, .version_lowest = 2, .version_highest = 4, .challenge = {9}};
    struct handshake_hello hello;
    uint64_t now = 100;
    memset(&h, 0, sizeof h);
    handshake_init(&h, &own, now);
    for (size_t at = 0; at + sizeof(struct event) <= size; at += sizeof(struct event)) {
        struct event e;
        memcpy(&e, data + at, sizeof e);
        now += e.wait * NS_PER_MS / 4;
        hello_take(&h, &e);
        bool due = now >= handshake_deadline(&h);
        ASSERT(handshake_send(&h, now, &hello) == due);
        ASSERT(!due || (hello.start == 5 && hello.up == h.up));
        ASSERT(handshake_deadline(&h) > now); /* one at a time */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    switch (data[0] % 3) {
    case 0:
        frame_take(data + 1, size - 1);
        break;
    case 1:
        nonces_take(data + 1, size - 1);
        break;
    default:
        handshake_take(data + 1, size - 1);
    }
    return 0;
}
