#include "dataplane/transport_framed.h"

#include <string.h>
#include <sys/random.h>

/* ---- keys ---- */

/* Both ends of the pair; without challenges for HELLOs. */
int transport_framed_key_set(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                             struct frame_key *key, uint32_t place)
{
    bool hello = key == p->hello_out || key == p->hello_in[place];
    bool outward = key == p->hello_out || key == p->out;
    const struct handshake *h = &p->handshake;
    struct frame_end own = {.node = e->transport.node,
                            .start = h->own.start,
                            .challenge = hello ? NULL : h->own.challenge};
    struct frame_end other = {
        .node = p->node, .start = h->peer_start, .challenge = hello ? NULL : h->peer_challenge};
    const struct frame_key_source source = {
        .secret = p->secrets[place].bytes,
        .cluster = e->local.cluster,
        .key_id = p->secrets[place].key_id,
        .lcore = e->local.lcore,
        .from = outward ? own : other,
        .to = outward ? other : own,
    };
    return frame_key_set(key, &source);
}

static int keys_open(struct transport_framed_endpoint *e, struct transport_framed_peer *p)
{
    int error = frame_key_open(&p->out);
    if (error == 0)
        error = frame_key_open(&p->hello_out);
    for (uint32_t i = 0; error == 0 && i < transport_framed_secret_places(e); i++) {
        error = frame_key_open(&p->in[i]);
        if (error == 0)
            error = frame_key_open(&p->hello_in[i]);
    }
    return error;
}

/* Those of the cluster are there from the beginning, and the first seals. */
static int secrets_set(struct transport_framed_endpoint *e, struct transport_framed_peer *p)
{
    int error = 0;
    p->seals = FRAME_SECRETS_MAX;
    for (uint32_t i = 0; error == 0 && i < e->config.secret_count; i++) {
        p->secrets[i] = e->secrets[i];
        error = transport_framed_key_set(e, p, p->hello_in[i], i);
    }
    if (error != 0 || e->config.secret_count == 0)
        return error;
    p->seals = 0;
    p->key_id = p->secrets[0].key_id;
    return transport_framed_key_set(e, p, p->hello_out, 0);
}

void transport_framed_pair_close(struct transport_framed_peer *p)
{
    frame_key_close(p->out);
    frame_key_close(p->hello_out);
    for (uint32_t i = 0; i < FRAME_SECRETS_MAX; i++) {
        frame_key_close(p->in[i]);
        frame_key_close(p->hello_in[i]);
    }
    explicit_bzero(p->secrets, sizeof p->secrets);
}

static int random_bytes(void *bytes, uint64_t length)
{
    /* Why one call is enough: up to 256 bytes come whole. */
    return getrandom(bytes, length, 0) == (ssize_t)length ? 0 : -errno;
}

int transport_framed_pair_open(struct transport_framed_endpoint *e, struct transport_framed_peer *p)
{
    struct handshake_hello own = {
        .start = e->config.start,
        .features = e->config.features,
        .version_lowest = e->local.version_lowest,
        .version_highest = e->local.version_highest,
    };
    int error = random_bytes(own.challenge, sizeof own.challenge);
    if (error == 0)
        error = random_bytes(&p->hello_nonce, sizeof p->hello_nonce);
    if (error != 0)
        return error;
    own.challenge[0] |= 1; /* not all 0 */
    handshake_init(&p->handshake, &own, transport_framed_now(e));
    error = keys_open(e, p);
    if (error == 0)
        error = secrets_set(e, p);
    if (error != 0)
        transport_framed_pair_close(p);
    return error;
}

void transport_framed_pair_forget(struct transport_framed_endpoint *e,
                                  struct transport_framed_peer *p)
{
    e->counters.frames_ended += p->tail - p->head;
    if (e->body->drop != NULL)
        e->body->drop(e, p);
    transport_framed_left(e, p, p->tail - p->head);
}

static void came_up(struct transport_framed_endpoint *e, struct transport_framed_peer *p)
{
    e->counters.pairs_up++;
    p->nonce = p->sealed_before = p->sealed_long = 0;
    memset(p->windows, 0, sizeof p->windows);
    int error = -ENOMEM; /* none seals: there was none for its key, and it is tried again */
    if (p->seals != FRAME_SECRETS_MAX)
        error = transport_framed_key_set(e, p, p->out, p->seals);
    for (uint32_t i = 0; error == 0 && i < transport_framed_secret_places(e); i++)
        if (p->secrets[i].key_id != 0 || e->config.pair_secrets == NULL)
            error = transport_framed_key_set(e, p, p->in[i], i);
    /* Keys that are not set seal and open nothing: both are counted there. */
    e->counters.seal_failures += error != 0;
}

/* ---- HELLOs ---- */

static void hello_send(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                       const struct handshake_hello *hello)
{
    uint8_t frame[FRAME_HEADER_BYTES + HANDSHAKE_HELLO_BYTES];
    uint8_t payload[HANDSHAKE_HELLO_BYTES];
    if (p->seals == FRAME_SECRETS_MAX)
        return; /* there is nothing to seal it with before the control plane has told us */
    const struct frame_header h = {
        .version = FRAME_VERSION_HELLO,
        .flags = FRAME_HELLO,
        .lcore = e->local.lcore,
        .key_id = p->key_id,
        .node = e->transport.node,
        .cluster = e->local.cluster,
        .start = hello->start,
        .nonce = ++p->hello_nonce,
    };
    handshake_hello_encode(hello, payload);
    if (!frame_seal(p->hello_out, &h, frame, payload, sizeof payload)) {
        e->counters.seal_failures++;
        return;
    }
    if (e->body->send_beside(e, p, frame, sizeof frame))
        e->counters.hellos_sent++;
    else
        e->counters.send_errors++; /* the next one follows by itself */
}

static void hello_send_due(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                           uint64_t now)
{
    struct handshake_hello hello;
    if (handshake_send(&p->handshake, now, &hello))
        hello_send(e, p, &hello);
}

/* Of a HELLO that was taken, of the start that we are up with.  Why its nonce must be new: a HELLO that was
 * recorded opens as it did then. */
static void hello_heard(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                        uint64_t nonce, bool came_up_now)
{
    if (!p->handshake.up || (!came_up_now && (int64_t)(nonce - p->hello_heard) <= 0))
        return;
    p->hello_heard = nonce;
    p->heard_at = transport_framed_now(e);
}

static enum frame_refusal refusal_of(enum handshake_result result)
{
    switch (result) {
    case HANDSHAKE_OLDER_START:
    case HANDSHAKE_OTHER_START:
        return FRAME_OTHER_START;
    case HANDSHAKE_VERSION_OLDER:
        return FRAME_VERSION_OLDER;
    case HANDSHAKE_VERSION_NEWER:
        return FRAME_VERSION_NEWER;
    case HANDSHAKE_NOTHING:
    case HANDSHAKE_REPLACED:
    case HANDSHAKE_UP:
        return FRAME_TAKEN;
    }
    return FRAME_MALFORMED;
}

enum frame_refusal transport_framed_pair_hello(struct transport_framed_endpoint *e,
                                               struct transport_framed_peer *p,
                                               const struct frame_header *h, uint8_t *frame,
                                               uint32_t length)
{
    struct handshake_hello hello;
    uint32_t place = transport_framed_secret_find(e, p, h->key_id);
    if (!frame_open(p->hello_in[place], h, frame, length))
        return FRAME_WRONG_TAG;
    if (!frame_is_sound(h, length) ||
        !handshake_hello_decode(&hello, frame + FRAME_HEADER_BYTES, length) || h->start == 0)
        return FRAME_MALFORMED;
    /* Why: whoever has the secret is of that start, and says so. */
    if (e->config.pair_secrets != NULL && h->start != p->secrets_start)
        return FRAME_OTHER_START;
    hello.start = h->start;
    e->counters.hellos_received++;
    bool was_up = p->handshake.up;
    enum handshake_result result = handshake_receive(&p->handshake, &hello);
    if (was_up && (!p->handshake.up || result == HANDSHAKE_UP))
        transport_framed_pair_forget(e, p);
    if (result == HANDSHAKE_UP)
        came_up(e, p);
    if (result == HANDSHAKE_UP || result == HANDSHAKE_NOTHING)
        hello_heard(e, p, h->nonce, result == HANDSHAKE_UP);
    hello_send_due(e, p, transport_framed_now(e));
    return refusal_of(result);
}

/* ---- time ---- */

/* When a peer that is up is asked whether it is there. */
static uint64_t ask_deadline(const struct transport_framed_endpoint *e,
                             const struct transport_framed_peer *p)
{
    if (!p->handshake.up)
        return UINT64_MAX; /* HELLOs go to it anyhow */
    return max_u64(p->heard_at, p->asked_at) + e->config.silence_ns;
}

static void ask_due(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                    uint64_t now)
{
    if (now < ask_deadline(e, p))
        return;
    /* Why as if it were not up: that is what is answered (handshake.h), by every version. */
    struct handshake_hello hello = p->handshake.own;
    hello.up = false;
    p->asked_at = now;
    hello_send(e, p, &hello);
}

void transport_framed_pair_tick(struct transport_framed_endpoint *e, uint64_t now)
{
    if (now < e->tick_at)
        return;
    e->tick_at = now + TRANSPORT_FRAMED_TICK_NS;
    transport_framed_secrets_look(e);
    if (e->body->tick != NULL)
        e->body->tick(e, now);
    for (uint32_t i = 0; i < e->peer_count; i++) {
        fragments_expire(&e->peers[i]->fragments, now);
        hello_send_due(e, e->peers[i], now);
        ask_due(e, e->peers[i], now);
        transport_framed_secrets_spend(e, e->peers[i]);
    }
}

uint64_t transport_framed_deadline(const struct transport *t)
{
    const struct transport_framed_endpoint *e =
        (const struct transport_framed_endpoint *)(const void *)t;
    uint64_t deadline = e->wakes_nobody ? 0 : UINT64_MAX;
    for (uint32_t i = 0; i < e->peer_count; i++) {
        const struct transport_framed_peer *p = e->peers[i];
        deadline = min_u64(deadline, handshake_deadline(&p->handshake));
        deadline = min_u64(deadline, ask_deadline(e, p));
        if (p->head != p->tail)
            deadline = min_u64(deadline, p->pacing.since + pacing_wait(&p->pacing));
    }
    return deadline;
}
