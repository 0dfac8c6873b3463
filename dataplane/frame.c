#include "dataplane/frame.h"

#include <string.h>

static void put16(uint8_t *bytes, uint16_t v)
{
    bytes[0] = (uint8_t)v;
    bytes[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *bytes, uint32_t v)
{
    put16(bytes, (uint16_t)v);
    put16(bytes + 2, (uint16_t)(v >> 16));
}

static void put64(uint8_t *bytes, uint64_t v)
{
    put32(bytes, (uint32_t)v);
    put32(bytes + 4, (uint32_t)(v >> 32));
}

static uint16_t get16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static uint32_t get32(const uint8_t *bytes)
{
    return get16(bytes) | (uint32_t)get16(bytes + 2) << 16;
}

static uint64_t get64(const uint8_t *bytes)
{
    return get32(bytes) | (uint64_t)get32(bytes + 4) << 32;
}

const char *frame_refusal_name(enum frame_refusal refusal)
{
    static const char *const names[FRAME_REFUSALS] = {
        [FRAME_TAKEN] = "taken",
        [FRAME_TOO_SHORT] = "too short",
        [FRAME_OTHER_MAGIC] = "other magic",
        [FRAME_VERSION_OLDER] = "older wire version",
        [FRAME_VERSION_NEWER] = "newer wire version",
        [FRAME_OTHER_CLUSTER] = "other cluster",
        [FRAME_OTHER_LCORE] = "other lcore",
        [FRAME_UNKNOWN_PEER] = "unknown peer",
        [FRAME_UNKNOWN_KEY] = "unknown key id",
        [FRAME_NOT_UP] = "pair not up",
        [FRAME_OTHER_START] = "other start",
        [FRAME_REPLAYED] = "replayed",
        [FRAME_TOO_OLD] = "too old for the window",
        [FRAME_WRONG_TAG] = "wrong tag",
        [FRAME_MALFORMED] = "malformed",
    };
    return refusal < FRAME_REFUSALS ? names[refusal] : "unknown";
}

/* ---- header ---- */

void frame_header_encode(const struct frame_header *h, uint8_t *bytes)
{
    put32(bytes, FRAME_MAGIC);
    bytes[4] = h->version;
    bytes[5] = h->flags;
    put16(bytes + 6, h->key_id);
    put64(bytes + 8, h->cluster);
    put32(bytes + 16, h->node);
    put16(bytes + 20, h->head_length);
    put16(bytes + 22, h->piece);
    put64(bytes + 24, h->start);
    put64(bytes + 32, h->nonce);
    put32(bytes + 40, h->length);
    put16(bytes + 44, h->index);
    bytes[46] = h->lcore;
    bytes[47] = 0;
}

static enum frame_refusal version_check(const struct frame_header *h,
                                        const struct frame_local *local)
{
    bool hello = (h->flags & FRAME_HELLO) != 0;
    if (h->version < (hello ? FRAME_VERSION_HELLO : local->version_lowest))
        return FRAME_VERSION_OLDER;
    if (h->version > (hello ? FRAME_VERSION_HELLO : local->version_highest))
        return FRAME_VERSION_NEWER;
    return FRAME_TAKEN;
}

enum frame_refusal frame_header_decode(struct frame_header *h, const uint8_t *bytes,
                                       uint64_t length, const struct frame_local *local)
{
    if (length < FRAME_HEADER_BYTES)
        return FRAME_TOO_SHORT;
    if (get32(bytes) != FRAME_MAGIC)
        return FRAME_OTHER_MAGIC;
    *h = (struct frame_header){
        .version = bytes[4],
        .flags = bytes[5],
        .key_id = get16(bytes + 6),
        .cluster = get64(bytes + 8),
        .node = get32(bytes + 16),
        .head_length = get16(bytes + 20),
        .piece = get16(bytes + 22),
        .start = get64(bytes + 24),
        .nonce = get64(bytes + 32),
        .length = get32(bytes + 40),
        .index = get16(bytes + 44),
        .lcore = bytes[46],
    };
    enum frame_refusal refusal = version_check(h, local);
    if (refusal != FRAME_TAKEN)
        return refusal;
    if (h->cluster != local->cluster)
        return FRAME_OTHER_CLUSTER;
    return h->lcore != local->lcore ? FRAME_OTHER_LCORE : FRAME_TAKEN;
}

bool frame_is_sound(const struct frame_header *h, uint64_t payload_length)
{
    if ((h->flags & ~FRAME_FLAGS) != 0)
        return false;
    if ((h->flags & FRAME_HELLO) != 0)
        return h->flags == FRAME_HELLO && h->head_length == 0 && h->piece == 0 && h->length == 0 &&
               h->index == 0;
    if (h->head_length > TRANSPORT_HEAD_MAX || h->length > FRAME_LENGTH_MAX)
        return false;
    if (h->piece == 0 || h->piece % 8 != 0)
        return false;
    uint32_t content = frame_content(h->head_length, h->length);
    uint32_t fragments = frame_fragments(content, h->piece);
    /* nonce <= index: the datagram would have begun before the key's first frame */
    return fragments <= FRAME_FRAGMENTS_MAX && h->index < fragments && h->nonce > h->index &&
           payload_length == frame_payload(content, h->piece, h->index);
}

/* ---- replay ---- */

static uint64_t *word_of(struct frame_window *w, uint64_t nonce)
{
    return &w->seen[nonce / 64 % FRAME_WINDOW_WORDS];
}

enum frame_refusal frame_window_check(const struct frame_window *w, uint64_t nonce)
{
    if (nonce > w->highest)
        return FRAME_TAKEN;
    if (nonce == 0 || w->highest - nonce >= FRAME_WINDOW)
        return FRAME_TOO_OLD;
    uint64_t word = w->seen[nonce / 64 % FRAME_WINDOW_WORDS];
    return (word >> (nonce % 64) & 1) != 0 ? FRAME_REPLAYED : FRAME_TAKEN;
}

void frame_window_mark(struct frame_window *w, uint64_t nonce)
{
    /* Words between the old highest and the new one begin anew: RFC 6479, 3. */
    if (nonce / 64 - w->highest / 64 >= FRAME_WINDOW_WORDS && nonce > w->highest)
        memset(w->seen, 0, sizeof w->seen);
    else
        for (uint64_t at = w->highest / 64 + 1; at <= nonce / 64; at++)
            w->seen[at % FRAME_WINDOW_WORDS] = 0;
    *word_of(w, nonce) |= UINT64_C(1) << (nonce % 64);
    w->highest = max_u64(w->highest, nonce);
}
