/* Clients with sessions, and readers that look at a node's memory in place. */
#include "tests/sim/sim_scenario.h"

#include <string.h>

#define TIMEOUT_NS (8 * NS_PER_MS)
#define TRIES_MAX 200u
#define NAP_ONCE 200u /* in so many operations */

/* ---- sending ---- */

static void request_send(struct sim *s, uint32_t client)
{
    struct sim_client *c = &s->clients[client];
    c->attempt++;
    if (!sim_chance(s, s->loss_percent))
        sim_schedule(
            s, 20000 + sim_below(s, 200000),
            (struct sim_event){
                .kind = EVENT_REQUEST, .node = c->leader, .client = client, .a = c->attempt});
    sim_schedule(s, TIMEOUT_NS + sim_below(s, TIMEOUT_NS),
                 (struct sim_event){.kind = EVENT_CLIENT, .client = client, .a = c->attempt});
}

void sim_client_next(struct sim *s, uint32_t client)
{
    struct sim_client *c = &s->clients[client];
    c->tries = 0;
    c->refused = false;
    c->unsure = false;
    c->busy = true;
    c->grows = sim_client_grows(s);
    uint32_t key = c->grows ? SIM_SHARD_GROWS : sim_below(s, SIM_KEYS);
    c->shard = sim_shard_of(key);
    struct sim_session *session = &c->sessions[c->shard];
    c->resuming = session->lsn != 0 && sim_chance(s, c->napped ? 40 : 1);
    c->opening = session->lsn == 0 || c->resuming;
    c->closing = !c->opening && sim_chance(s, 1);
    c->napped = false;
    if (c->resuming) {
        /* as who it was, or it is told that nobody knows it any more */
    } else if (c->opening) {
        uint64_t id[2] = {sim_random(s), sim_random(s)};
        /* Why never an id again where a majority may be lost: with it goes that the id was closed, and what was
         * answered under it before would be the answer once more. */
        if (!session->closed || s->scenario->weights[FAULT_LOSE] != 0)
            memcpy(session->id, id, sizeof session->id);
        session->closed = false;
        session->sequence = 0;
    } else if (!c->closing) {
        sim_client_choose(s, client, key);
    }
    request_send(s, client);
}

static void record(struct sim *s, struct sim_client *c, bool answered)
{
    c->now.returned = answered ? s->time : 0;
    s->history[s->operation_count++] = c->now;
    c->busy = false;
}

/* Now and then for so long that its sessions may be forgotten meanwhile, where they ever are. */
static void think(struct sim *s, uint32_t client)
{
    uint64_t delay = 10000 + sim_below(s, 1500000);
    s->clients[client].napped = s->session_ttl_ns < NS_PER_S && sim_below(s, NAP_ONCE) == 0;
    if (s->clients[client].napped)
        delay += sim_below(s, (uint32_t)(3 * s->session_ttl_ns));
    sim_schedule(s, delay, (struct sim_event){.kind = EVENT_CLIENT, .client = client, .a = 0});
}

static void try_again(struct sim *s, uint32_t client)
{
    struct sim_client *c = &s->clients[client];
    if (++c->tries < TRIES_MAX) {
        c->leader = sim_chance(s, 50) ? s->shards[c->shard].active.leader.node
                                      : sim_below(s, s->node_count);
        request_send(s, client);
        return;
    }
    /* Nobody can say: a write stays of unknown fate, and the session is given up with it. */
    if (!c->opening && !c->closing && c->now.kind != OPERATION_GET)
        record(s, c, false);
    s->close_unknown |= c->closing;
    c->sessions[c->shard].lsn = 0;
    c->busy = false;
    think(s, client);
}

void sim_client_timeout(struct sim *s, const struct sim_event *e)
{
    struct sim_client *c = &s->clients[e->client];
    if (e->a == 0 && !c->busy)
        sim_client_next(s, e->client);
    else if (c->busy && e->a == c->attempt) {
        c->unsure |= !c->refused;
        c->refused = false;
        try_again(s, e->client);
    }
}

/* ---- answers ---- */

static bool must_retry(uint32_t status)
{
    return status == RING_UNAVAILABLE || status == RING_RETRY;
}

/* Its session is open, or is not. */
static void opened(struct sim *s, uint32_t client, uint32_t status, const struct sim_event *e)
{
    struct sim_client *c = &s->clients[client];
    struct sim_session *session = &c->sessions[c->shard];
    if (c->resuming && status == RING_OK && s->shards[c->shard].epoch_lossy == 0 &&
        session->lsn != e->b)
        sim_broken(s, "S24", "client %u resumes session %llu and is told of %llu", client,
                   (unsigned long long)session->lsn, (unsigned long long)e->b);
    s->sessions_resumed += c->resuming && status == RING_OK;
    s->sessions_late += c->resuming && status == RING_FATE_UNKNOWN;
    session->closed = c->resuming && status == RING_FATE_UNKNOWN;
    session->lsn = status == RING_OK ? e->b : 0;
    session->slot = (uint32_t)e->c;
}

/* Its session is forgotten, so what it asked for is not done now; nor was it before, if it was refused
 * whenever it was asked for. */
static void forgotten(struct sim *s, uint32_t client)
{
    struct sim_client *c = &s->clients[client];
    struct sim_session *session = &c->sessions[c->shard];
    c->now.status = RING_FATE_UNKNOWN;
    s->sessions_late++;
    /* Why its id is not used again: what forgets it may not be committed yet, and cut. */
    session->lsn = 0;
    session->closed = false;
    record(s, c, !c->unsure);
}

void sim_client_reply(struct sim *s, const struct sim_event *e)
{
    struct sim_client *c = &s->clients[e->client];
    uint32_t status = (uint32_t)(e->a >> 32);
    if (!c->busy || (uint32_t)e->a != c->attempt)
        return;
    if (must_retry(status)) {
        c->attempt++; /* its timer is stale */
        c->refused = status == RING_UNAVAILABLE;
        c->leader = sim_below(s, s->node_count);
        sim_schedule(
            s, 200000 + sim_below(s, 2000000),
            (struct sim_event){.kind = EVENT_CLIENT, .client = e->client, .a = c->attempt});
        return;
    }
    struct sim_shard *shard = &s->shards[c->shard];
    shard->lsn_told = max_u64(shard->lsn_told, e->b);
    if (c->closing) {
        struct sim_session *closed = &c->sessions[c->shard];
        closed->closed = status == RING_OK || status == RING_NOT_FOUND;
        closed->lsn = closed->closed ? 0 : closed->lsn;
        c->busy = false;
        think(s, e->client);
        return;
    }
    if (c->opening) {
        opened(s, e->client, status, e);
        c->busy = false;
        think(s, e->client);
        return;
    }
    if (status == RING_FATE_UNKNOWN) {
        forgotten(s, e->client);
        think(s, e->client);
        return;
    }
    if (status == RING_SEQUENCE)
        c->sessions[c->shard].lsn = 0; /* what it had was lost: it begins anew */
    c->now.status = status;
    c->now.lsn = e->b;
    c->now.read_value = e->c;
    c->now.number = e->number;
    sim_client_learn(s, e->client);
    record(s, c, true);
    think(s, e->client);
}
