#include "dataplane/handshake.h"

#include <string.h>

static const uint8_t nothing[HANDSHAKE_CHALLENGE_BYTES];

void handshake_hello_encode(const struct handshake_hello *hello, uint8_t *bytes)
{
    memset(bytes, 0, HANDSHAKE_HELLO_BYTES);
    for (uint32_t i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(hello->features >> (8 * i));
    bytes[8] = hello->version_lowest;
    bytes[9] = hello->version_highest;
    bytes[10] = hello->up;
    memcpy(bytes + 16, hello->challenge, HANDSHAKE_CHALLENGE_BYTES);
    memcpy(bytes + 32, hello->echo, HANDSHAKE_CHALLENGE_BYTES);
}

bool handshake_hello_decode(struct handshake_hello *hello, const uint8_t *bytes, uint64_t length)
{
    *hello = (struct handshake_hello){.start = 0};
    if (length < HANDSHAKE_HELLO_BYTES)
        return false;
    for (uint32_t i = 0; i < 8; i++)
        hello->features |= (uint64_t)bytes[i] << (8 * i);
    hello->version_lowest = bytes[8];
    hello->version_highest = bytes[9];
    hello->up = bytes[10] == 1;
    memcpy(hello->challenge, bytes + 16, HANDSHAKE_CHALLENGE_BYTES);
    memcpy(hello->echo, bytes + 32, HANDSHAKE_CHALLENGE_BYTES);
    /* A challenge of zeros would be echoed by who never heard it. */
    return bytes[10] <= 1 && hello->version_lowest <= hello->version_highest &&
           memcmp(hello->challenge, nothing, sizeof nothing) != 0;
}

static void resend_begin(struct handshake *h, uint64_t at)
{
    h->resend_at = at;
    h->resend_after = HANDSHAKE_RESEND_NS;
}

void handshake_init(struct handshake *h, const struct handshake_hello *own, uint64_t now)
{
    ASSERT(own->start != 0 && own->version_lowest <= own->version_highest &&
           memcmp(own->challenge, nothing, sizeof nothing) != 0);
    *h = (struct handshake){.own = *own};
    h->own.up = false;
    memset(h->own.echo, 0, sizeof h->own.echo);
    resend_begin(h, now);
}

/* A start of the peer that we did not know. */
static void replace(struct handshake *h, const struct handshake_hello *hello)
{
    h->peer_start = hello->start;
    memcpy(h->peer_challenge, hello->challenge, sizeof h->peer_challenge);
    memcpy(h->own.echo, hello->challenge, sizeof h->own.echo);
    h->up = h->own.up = false;
    h->answered_at = 0;
    /* Why at once: it is the answer, and from here on we ask as at the beginning. */
    resend_begin(h, 0);
}

static bool negotiate(struct handshake *h, const struct handshake_hello *hello)
{
    uint8_t highest = (uint8_t)min_u64(h->own.version_highest, hello->version_highest);
    h->version = highest;
    h->features = h->own.features & hello->features;
    return highest >= h->own.version_lowest && highest >= hello->version_lowest;
}

enum handshake_result handshake_receive(struct handshake *h, const struct handshake_hello *hello)
{
    if (hello->start == 0 || hello->start < h->peer_start)
        return HANDSHAKE_OLDER_START;
    bool replaced = hello->start > h->peer_start;
    if (replaced)
        replace(h, hello);
    else if (memcmp(hello->challenge, h->peer_challenge, sizeof h->peer_challenge) != 0)
        return HANDSHAKE_OTHER_START;
    if (h->up) { /* it says what we know; what was agreed on stays, whatever else it says */
        h->answer = h->answer || !hello->up;
        return HANDSHAKE_NOTHING;
    }
    /* Why no answer to the same HELLO again: two that never come up would answer each other forever. */
    if (!negotiate(h, hello))
        return hello->version_highest < h->own.version_lowest ? HANDSHAKE_VERSION_OLDER
                                                              : HANDSHAKE_VERSION_NEWER;
    h->answer = h->answer || !hello->up;
    if (memcmp(hello->echo, h->own.challenge, sizeof h->own.challenge) != 0)
        return replaced ? HANDSHAKE_REPLACED : HANDSHAKE_NOTHING;
    h->up = h->own.up = true;
    h->answered_at = 0; /* what we owe from here on says something new */
    return HANDSHAKE_UP;
}

void handshake_end(struct handshake *h)
{
    h->up = h->own.up = false;
    h->answer = false;
    resend_begin(h, 0);
}

void handshake_hurry(struct handshake *h)
{
    if (!h->up)
        resend_begin(h, 0);
}

uint64_t handshake_deadline(const struct handshake *h)
{
    uint64_t answer = h->answer ? h->answered_at : UINT64_MAX;
    return h->up ? answer : min_u64(answer, h->resend_at);
}

bool handshake_send(struct handshake *h, uint64_t now, struct handshake_hello *hello)
{
    if (now < handshake_deadline(h))
        return false;
    if (!h->up && now >= h->resend_at) {
        h->resend_at = now + h->resend_after;
        h->resend_after = min_u64(2 * h->resend_after, HANDSHAKE_RESEND_MAX_NS);
    }
    h->answer = false;
    h->answered_at = now + HANDSHAKE_ANSWER_NS;
    *hello = h->own;
    return true;
}
