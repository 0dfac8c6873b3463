#include "dataplane/transport_framed.h"

#include "engine/clock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const struct transport_framed_endpoint *endpoint_of(const struct transport *t)
{
    return (const struct transport_framed_endpoint *)(const void *)t; /* its first member */
}

/* Nothing was set: a body that can wake does so by itself.  Why drained: what woke is there. */
void transport_framed_awake(struct transport *t)
{
    struct transport_framed_endpoint *e = transport_framed_endpoint_of(t);
    e->drained = false;
    if (e->body->awake != NULL)
        e->body->awake(e);
}

uint8_t transport_framed_version(const struct transport *t, uint32_t node)
{
    uint8_t version = 0;
    return transport_framed_is_up(t, node, &version, NULL) ? version : 0;
}

uint64_t transport_framed_now(const struct transport_framed_endpoint *e)
{
    return e->config.clock != NULL ? e->config.clock(e->config.clock_context) : clock_boottime_ns();
}

struct transport_framed_peer *transport_framed_find(struct transport_framed_endpoint *e,
                                                    uint32_t node)
{
    if (LIKELY(e->found < e->peer_count && e->nodes[e->found] == node))
        return e->peers[e->found];
    for (uint32_t i = 0; i < e->peer_count; i++)
        if (e->nodes[i] == node) {
            e->found = i;
            return e->peers[i];
        }
    return NULL;
}

/* ---- configuration ---- */

static void or_default(uint32_t *value, uint32_t otherwise)
{
    *value = *value != 0 ? *value : otherwise;
}

static void defaults_set(struct transport_framed_config *c)
{
    or_default(&c->frame_bytes, TRANSPORT_FRAMED_FRAME_BYTES);
    or_default(&c->length_max, TRANSPORT_FRAMED_LENGTH_MAX);
    or_default(&c->queue_frames, TRANSPORT_FRAMED_QUEUE_FRAMES);
    or_default(&c->places, TRANSPORT_FRAMED_PLACES);
    if (c->timeout_ns == 0)
        c->timeout_ns = TRANSPORT_FRAMED_TIMEOUT_NS;
    if (c->silence_ns == 0)
        c->silence_ns = TRANSPORT_FRAMED_SILENCE_NS;
    if (c->version_highest == 0) {
        c->version_lowest = FRAME_VERSION_LOWEST;
        c->version_highest = FRAME_VERSION_HIGHEST;
    }
}

static uint32_t content_max(const struct transport_framed_config *c)
{
    return (uint32_t)align_up(frame_content(TRANSPORT_HEAD_MAX, c->length_max), 8);
}

static uint32_t piece_of(uint32_t frame_bytes)
{
    return (frame_bytes - FRAME_HEADER_BYTES) & ~7u;
}

static bool secrets_are_sound(const struct transport_framed_config *c)
{
    if (c->pair_secrets != NULL)
        return c->secret_count == 0;
    if (c->secret_count == 0 || c->secret_count > FRAME_SECRETS_MAX)
        return false;
    for (uint32_t i = 0; i < c->secret_count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (c->secrets[i].key_id == c->secrets[j].key_id)
                return false;
    return true;
}

static bool is_sound(const struct transport_framed_config *c)
{
    bool path = c->frame_bytes == TRANSPORT_FRAMED_FRAME_PATH;
    if (!path && (c->frame_bytes < FRAME_BYTES_MIN || c->frame_bytes > FRAME_BYTES_MAX))
        return false;
    if (c->length_max > FRAME_LENGTH_MAX || c->places > FRAGMENTS_PLACES_MAX ||
        c->rate > PACING_RATE_MAX || c->burst > PACING_BURST_MAX || (c->rate != 0 && c->burst == 0))
        return false;
    /* Why the smallest: what the path to a peer carries is known only when the peer is. */
    uint32_t piece = piece_of(path ? FRAME_BYTES_MIN : c->frame_bytes);
    if (!is_power_of_two(c->queue_frames) || c->queue_frames > TRANSPORT_FRAMED_QUEUE_FRAMES_MAX ||
        c->queue_frames < frame_fragments(content_max(c), piece))
        return false;
    return c->start != 0 && c->version_lowest != 0 && c->version_lowest <= c->version_highest &&
           secrets_are_sound(c);
}

/* ---- endpoint ---- */

uint8_t *transport_framed_map(uint64_t bytes)
{
    void *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return m == MAP_FAILED ? NULL : m;
}

int transport_framed_init(struct transport_framed_endpoint *e,
                          const struct transport_framed_config *config,
                          const struct transport_framed_body *body)
{
    struct transport_framed_config *c = &e->config;
    *c = *config;
    defaults_set(c);
    if (!is_sound(c))
        return -EINVAL;
    if (c->secret_count != 0)
        memcpy(e->secrets, c->secrets, c->secret_count * sizeof e->secrets[0]);
    c->secrets = NULL;
    e->body = body;
    e->transport = (struct transport){
        .ops = body->ops, .node = c->node, .length_max = c->length_max, .wake_fd = -1};
    e->local = (struct frame_local){.cluster = c->cluster,
                                    .lcore = c->lcore,
                                    .version_lowest = c->version_lowest,
                                    .version_highest = c->version_highest};
    for (uint32_t i = 0; i < LIMIT_NODES; i++)
        /* relaxed: no other thread knows the endpoint yet */
        atomic_store_explicit(&e->shown[i].node, TRANSPORT_FRAMED_NOBODY, memory_order_relaxed);
    uint32_t longest =
        c->frame_bytes == TRANSPORT_FRAMED_FRAME_PATH ? FRAME_BYTES_MAX : c->frame_bytes;
    e->slot_bytes = (uint32_t)align_up(longest, 8);
    e->chain_bytes = UINT32_MAX;
    return 0;
}

static void peer_free(struct transport_framed_peer *p)
{
    transport_framed_pair_close(p);
    (void)munmap(p->memory, p->memory_bytes);
    p->body->peer_close(p);
    free(p);
}

void transport_framed_fini(struct transport_framed_endpoint *e)
{
    for (uint32_t i = 0; i < e->peer_count; i++)
        peer_free(e->peers[i]);
    explicit_bzero(e->secrets, sizeof e->secrets);
}

/* ---- peers ---- */

static void fragments_count(struct transport_framed_counters *c, const struct fragments *f)
{
    c->fragments_timed_out += f->timed_out;
    c->fragments_evicted += f->evicted;
    c->fragments_doubled += f->doubled;
    c->fragments_unlike += f->unlike;
    c->datagrams_too_long += f->too_long;
}

static int fragments_open(const struct transport_framed_config *c, struct transport_framed_peer *p)
{
    p->memory_bytes = fragments_bytes(c->places, content_max(c));
    p->memory = transport_framed_map(p->memory_bytes);
    if (p->memory == NULL)
        return -ENOMEM;
    fragments_init(&p->fragments, p->memory, c->places, content_max(c));
    p->fragments.timeout = c->timeout_ns;
    return 0;
}

/* Behind the body's part. */
static int peer_open(struct transport_framed_endpoint *e, struct transport_framed_peer *p)
{
    p->piece = piece_of(p->frame_bytes);
    pacing_init(&p->pacing, e->config.rate, e->config.burst, transport_framed_now(e));
    int error = fragments_open(&e->config, p);
    if (error != 0)
        return error;
    error = transport_framed_pair_open(e, p);
    if (error != 0)
        (void)munmap(p->memory, p->memory_bytes);
    return error;
}

static struct transport_framed_peer *peer_of(struct transport_peer *peer)
{
    return (struct transport_framed_peer *)(void *)peer; /* ours */
}

/* Control's thread, while the endpoint's may run: it reads what is constant since open. */
int transport_framed_peer_make(struct transport *t, uint32_t node,
                               const struct sockaddr_storage *address, struct transport_peer **peer)
{
    struct transport_framed_endpoint *e = transport_framed_endpoint_of(t);
    struct transport_framed_peer *p = calloc(1, e->body->peer_bytes);
    if (p == NULL)
        return -ENOMEM;
    p->body = e->body;
    p->node = node;
    int error = e->body->peer_open(e, p, address);
    if (error != 0)
        goto free_peer;
    error = peer_open(e, p);
    if (error != 0)
        goto close_peer;
    *peer = (struct transport_peer *)(void *)p;
    return 0;
close_peer:
    p->body->peer_close(p);
free_peer:
    free(p);
    return error;
}

void transport_framed_peer_join(struct transport *t, struct transport_peer *peer)
{
    struct transport_framed_endpoint *e = transport_framed_endpoint_of(t);
    struct transport_framed_peer *p = peer_of(peer);
    ASSERT(e->peer_count < LIMIT_NODES && transport_framed_find(e, p->node) == NULL);
    if (e->transport.head_whole == 0 || p->piece < e->transport.head_whole)
        e->transport.head_whole = p->piece;
    e->nodes[e->peer_count] = p->node;
    e->peers[e->peer_count++] = p;
    transport_framed_show(e, p);
    if (e->body->join != NULL)
        e->body->join(e, p);
    e->tick_at = 0;               /* its first HELLO leaves at once */
    e->secrets_seen = UINT64_MAX; /* of this peer nothing was seen yet */
}

struct transport_peer *transport_framed_peer_leave(struct transport *t, uint32_t node)
{
    struct transport_framed_endpoint *e = transport_framed_endpoint_of(t);
    struct transport_framed_peer *p = transport_framed_find(e, node);
    if (p == NULL)
        return NULL;
    uint32_t i = e->found;
    /* Why: fragments count of their own; what they counted goes on in the endpoint's. */
    fragments_count(&e->counters, &p->fragments);
    e->queued -= p->tail - p->head;
    if (e->frame != NULL && e->from == p) {
        e->opened = false;
        e->frame = NULL;
        e->body->pass(e);
    }
    transport_framed_show_none(p);
    if (e->body->leave != NULL)
        e->body->leave(e, p);
    e->nodes[i] = e->nodes[--e->peer_count];
    e->peers[i] = e->peers[e->peer_count];
    return (struct transport_peer *)(void *)p;
}

void transport_framed_peer_free(struct transport_peer *peer)
{
    peer_free(peer_of(peer));
}

int transport_framed_add(struct transport *t, uint32_t node, const struct sockaddr_storage *address)
{
    struct transport_framed_endpoint *e = transport_framed_endpoint_of(t);
    struct transport_peer *peer;
    if (node == t->node)
        return -EINVAL;
    if (transport_framed_find(e, node) != NULL)
        return -EEXIST;
    if (e->peer_count == LIMIT_NODES)
        return -ENOSPC;
    int error = transport_framed_peer_make(t, node, address, &peer);
    if (error == 0)
        transport_framed_peer_join(t, peer);
    return error;
}

int transport_framed_remove(struct transport *t, uint32_t node)
{
    struct transport_peer *peer = transport_framed_peer_leave(t, node);
    transport_peer_free(t, peer);
    return peer != NULL ? 0 : -ENOENT;
}

/* ---- what others see ---- */

void transport_framed_count(const struct transport *t, struct transport_framed_counters *counters)
{
    const struct transport_framed_endpoint *e = endpoint_of(t);
    *counters = e->counters;
    for (uint32_t i = 0; i < e->peer_count; i++)
        fragments_count(counters, &e->peers[i]->fragments);
}

bool transport_framed_is_up(const struct transport *t, uint32_t node, uint8_t *version,
                            uint64_t *features)
{
    const struct transport_framed_endpoint *e = endpoint_of(t);
    for (uint32_t i = 0; i < e->peer_count; i++) {
        const struct handshake *h = &e->peers[i]->handshake;
        if (e->nodes[i] != node || !h->up)
            continue;
        if (version != NULL)
            *version = h->version;
        if (features != NULL)
            *features = h->features;
        return true;
    }
    return false;
}
