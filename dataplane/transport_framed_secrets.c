#include "dataplane/transport_framed.h"

#include <string.h>

_Static_assert(PAIR_SECRETS_HELD <= FRAME_SECRETS_MAX, "places for secrets");

uint32_t transport_framed_secret_places(const struct transport_framed_endpoint *e)
{
    return e->config.pair_secrets != NULL ? PAIR_SECRETS_HELD : e->config.secret_count;
}

static uint32_t find(const struct transport_framed_endpoint *e,
                     const struct transport_framed_peer *p, uint16_t key_id)
{
    bool may_be_free = e->config.pair_secrets != NULL;
    for (uint32_t i = 0; i < transport_framed_secret_places(e); i++)
        if (p->secrets[i].key_id == key_id && (key_id != 0 || !may_be_free))
            return i;
    return FRAME_SECRETS_MAX;
}

uint32_t transport_framed_secret_find(struct transport_framed_endpoint *e,
                                      struct transport_framed_peer *p, uint16_t key_id)
{
    uint32_t place = find(e, p, key_id);
    if (LIKELY(place != FRAME_SECRETS_MAX))
        return place;
    /* Why before the next tick: the peer was told first, and seals with it already. */
    transport_framed_secrets_look(e);
    return find(e, p, key_id);
}

/* ---- places ---- */

static void place_void(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                       uint32_t place)
{
    if (p->numbers[place] == 0)
        return;
    e->counters.secrets_void++;
    frame_key_unset(p->in[place]);
    frame_key_unset(p->hello_in[place]);
    explicit_bzero(&p->secrets[place], sizeof p->secrets[place]);
    p->numbers[place] = 0;
    if (p->seals != place)
        return;
    frame_key_unset(p->out);
    frame_key_unset(p->hello_out);
    p->seals = FRAME_SECRETS_MAX;
}

static uint32_t place_of(const struct transport_framed_peer *p, uint32_t number)
{
    for (uint32_t i = 0; i < PAIR_SECRETS_HELD; i++)
        if (p->numbers[i] == number)
            return i;
    return FRAME_SECRETS_MAX;
}

static int place_fill(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                      const struct pair_secret *secret)
{
    uint32_t place = place_of(p, 0);
    ASSERT(place < PAIR_SECRETS_HELD); /* those that are not in the view are void by now */
    p->numbers[place] = secret->number;
    p->secrets[place].key_id = pair_secret_key_id(secret->number);
    memcpy(p->secrets[place].bytes, secret->bytes, sizeof secret->bytes);
    int error = transport_framed_key_set(e, p, p->hello_in[place], place);
    /* Why no handshake: starts and challenges are those that the pair is up with. */
    if (error == 0 && p->handshake.up)
        error = transport_framed_key_set(e, p, p->in[place], place);
    if (error != 0) {
        place_void(e, p, place);
        return error;
    }
    e->counters.secrets_taken++;
    handshake_hurry(&p->handshake);
    return 0;
}

/* Why nonces go on rather than begin anew: a key can then never see one twice, fragments of two datagrams, one under
 * each key, are never taken for those of one, and the window of a place serves the next secret there. */
static int seal_with(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                     uint32_t place)
{
    int error = transport_framed_key_set(e, p, p->hello_out, place);
    if (error == 0 && p->handshake.up)
        error = transport_framed_key_set(e, p, p->out, place);
    p->seals = error == 0 ? place : FRAME_SECRETS_MAX;
    p->key_id = p->secrets[place].key_id;
    p->sealed_before = p->nonce;
    p->sealed_long = 0;
    return error;
}

/* ---- what the control plane says ---- */

/* The peer has another start: all that was shared with the one before is void, and so is the pair. */
static void start_follow(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                         uint64_t start)
{
    for (uint32_t i = 0; i < PAIR_SECRETS_HELD; i++)
        place_void(e, p, i);
    if (p->handshake.up) {
        transport_framed_pair_forget(e, p);
        handshake_end(&p->handshake);
    }
    p->secrets_start = start;
}

static int view_follow(struct transport_framed_endpoint *e, struct transport_framed_peer *p,
                       const struct pair_secrets_view *v)
{
    if (v->start != p->secrets_start)
        start_follow(e, p, v->start);
    for (uint32_t i = 0; i < PAIR_SECRETS_HELD; i++)
        if (p->numbers[i] != v->secrets[0].number && p->numbers[i] != v->secrets[1].number)
            place_void(e, p, i);
    for (uint32_t i = 0; i < PAIR_SECRETS_HELD; i++) {
        const struct pair_secret *secret = &v->secrets[i];
        if (secret->number == 0 || place_of(p, secret->number) != FRAME_SECRETS_MAX)
            continue;
        int error = place_fill(e, p, secret);
        if (error != 0)
            return error;
    }
    uint32_t seals = v->seals != 0 ? place_of(p, v->seals) : FRAME_SECRETS_MAX;
    return seals == p->seals || seals == FRAME_SECRETS_MAX ? 0 : seal_with(e, p, seals);
}

static int peer_look(struct transport_framed_endpoint *e, struct transport_framed_peer *p)
{
    struct pair_secrets_view view;
    int got = pair_secrets_get(e->config.pair_secrets, p->node, &view);
    if (got == 0)
        view = (struct pair_secrets_view){.start = 0};
    int error = got < 0 ? got : view_follow(e, p, &view);
    explicit_bzero(&view, sizeof view);
    return error;
}

void transport_framed_secrets_look(struct transport_framed_endpoint *e)
{
    const struct pair_secrets *s = e->config.pair_secrets;
    int error = 0;
    if (s == NULL)
        return;
    uint64_t changes = pair_secrets_changes(s);
    if (LIKELY(changes == e->secrets_seen))
        return;
    for (uint32_t i = 0; i < e->peer_count; i++) {
        int failed = peer_look(e, e->peers[i]);
        error = failed != 0 ? failed : error;
    }
    if (error == 0)
        e->secrets_seen = changes;
}

void transport_framed_secrets_spend(struct transport_framed_endpoint *e,
                                    struct transport_framed_peer *p)
{
    uint64_t limit = e->config.key_frames != 0 ? e->config.key_frames
                                               : FRAME_KEY_BLOCKS / (p->frame_bytes / 16 + 1);
    if (e->config.pair_secrets != NULL && p->seals != FRAME_SECRETS_MAX &&
        p->nonce - p->sealed_before + p->sealed_long >= limit)
        pair_secrets_spend(e->config.pair_secrets, p->node, p->numbers[p->seals]);
}
