#include "engine/agent/agent.h"

#include <string.h>

/* A tag names what its completion is for.  An operation: its number and generation; the opening of
 * a session: number of the space and shard. */
#define TAG_SESSION (UINT64_C(1) << 63)

uint64_t agent_operation_tag(const struct dunlin *d, const struct operation *o)
{
    return (uint64_t)(o->generation & 0x7fffffffu) << 32 | (uint64_t)(o - d->operations);
}

uint64_t agent_session_tag(const struct agent_session *s)
{
    return TAG_SESSION | (uint64_t)s->space->number << 32 | s->shard;
}

/* ---- operations ---- */

struct operation *agent_operation_take(struct dunlin *d, bool synchronous)
{
    struct operation *o = d->free_first;
    uint32_t kept = synchronous ? 0 : AGENT_OPERATIONS_KEPT;
    if (d->operations_taken + kept >= LIMIT_AGENT_OPERATIONS)
        return NULL;
    d->operations_taken++;
    if (o != NULL)
        d->free_first = o->next;
    else
        o = &d->operations[d->operations_used++];
    *o = (struct operation){.generation = o->generation + 1,
                            .copy_piece = FIFO_NONE,
                            .bulk_piece = FIFO_NONE,
                            .state = OPERATION_QUEUED,
                            .synchronous = synchronous};
    return o;
}

static void return_pieces(struct dunlin *d, struct operation *o)
{
    if (o->copy_piece != FIFO_NONE)
        agent_fifo_return(&d->copy_pieces, o->copy_piece);
    if (o->bulk_piece != FIFO_NONE)
        agent_fifo_return(&d->now->bulk_pieces, o->bulk_piece);
    o->copy_piece = o->bulk_piece = FIFO_NONE;
}

void agent_operation_free(struct dunlin *d, struct operation *o)
{
    return_pieces(d, o);
    if (d->last_write == o)
        d->last_write = NULL;
    d->operations_taken--;
    o->state = OPERATION_FREE;
    o->next = d->free_first;
    d->free_first = o;
}

static bool is_read(uint8_t kind)
{
    return kind == RING_GET || kind == RING_POSITION;
}

void agent_operation_finish(struct dunlin *d, struct operation *o, int result)
{
    return_pieces(d, o);
    if (o->session != NULL && result == -EOWNERDEAD)
        o->session->told = true;
    o->state = OPERATION_DONE;
    o->result = result;
    if (o->abandoned) {
        d->gets_abandoned -= is_read(o->kind);
        agent_operation_free(d, o);
        return;
    }
    if (o->synchronous)
        return;
    o->next = NULL;
    if (d->done_last == NULL)
        d->done_first = o;
    else
        d->done_last->next = o;
    d->done_last = o;
}

void agent_operation_abandon(struct dunlin *d, struct operation *o)
{
    if (o->state == OPERATION_DONE) {
        agent_operation_free(d, o);
        return;
    }
    if (o->session != NULL)
        o->session->told = true;
    o->abandoned = true;
    o->buffer = NULL;
    o->capacity = 0;
    d->gets_abandoned += is_read(o->kind);
    if (o->session != NULL && o->state == OPERATION_QUEUED)
        agent_session_drop(d, o);
}

/* ---- completions ---- */

int agent_status_error(uint32_t status)
{
    switch (status) {
    case RING_OK:
        return 0;
    case RING_NOT_FOUND:
        return -ENOENT;
    case RING_CONDITION:
        return -ECANCELED;
    case RING_UNAVAILABLE:
    case RING_RETRY:
        return -ENOTCONN;
    case RING_ACCESS:
        return -EACCES;
    case RING_QUOTA:
        return -EDQUOT;
    case RING_TOO_LARGE:
        return -EMSGSIZE;
    case RING_FATE_UNKNOWN:
    case RING_SEQUENCE:
        return -EOWNERDEAD;
    case RING_SESSION_LIMIT:
        return -EUSERS;
    case RING_NOT_NUMBER:
        return -EDOM;
    case RING_RANGE:
        return -ERANGE;
    case RING_UNSUPPORTED:
        return -EOPNOTSUPP;
    default: /* RING_INPUT: it did not understand what we built */
        return -EPROTO;
    }
}

static struct agent_session *session_of(const struct dunlin *d, uint64_t tag)
{
    uint64_t space = (tag & ~TAG_SESSION) >> 32;
    uint64_t shard = tag & UINT32_MAX;
    if (space >= d->space_count || shard >= d->spaces[space]->session_count)
        return NULL;
    struct agent_session *s = &d->spaces[space]->sessions[shard];
    return s->state == SESSION_OPENING || s->state == SESSION_CLOSING ? s : NULL;
}

static struct operation *operation_of(struct dunlin *d, uint64_t tag)
{
    uint64_t number = tag & UINT32_MAX;
    if (number >= d->operations_used)
        return NULL;
    struct operation *o = &d->operations[number];
    return o->state == OPERATION_SENT && agent_operation_tag(d, o) == tag ? o : NULL;
}

static int dispatch(struct dunlin *d, const struct ring_completion *c, const uint8_t *payload)
{
    if ((c->tag & TAG_SESSION) != 0) {
        struct agent_session *s = session_of(d, c->tag);
        if (s == NULL)
            return -EPROTO;
        agent_session_opened(d, s, c);
        return 0;
    }
    struct operation *o = operation_of(d, c->tag);
    if (o == NULL)
        return -EPROTO;
    o->status = c->status;
    o->version = (struct dunlin_version){.log = c->log, .lsn = c->lsn};
    o->number = c->number;
    if (o->session != NULL)
        agent_session_answered(d, o, c);
    else
        agent_ask_answered(d, o, c, payload);
    return 0;
}

/* Bounded by what can be unanswered.  Returns 0 or -EPROTO. */
static int complete_lane(struct dunlin *d, struct lane *lane)
{
    struct ring *r = &lane->completion;
    struct ring_head head;
    void *message;
    int got = 0;
    while (lane->unanswered != 0 && (got = ring_peek(r, &message, &head)) > 0) {
        struct ring_completion c;
        if (head.length < sizeof c)
            return -EPROTO;
        memcpy(&c, message, sizeof c);
        c.head = head;
        lane->unanswered--;
        d->now->unanswered--;
        if (dispatch(d, &c, (const uint8_t *)message + sizeof c) != 0)
            return -EPROTO;
        ring_consume(r, &head);
    }
    ring_publish_due(r);
    return got < 0 ? got : 0;
}

void agent_complete_all(struct dunlin *d)
{
    struct attachment *a = d->now;
    if (!agent_attached(d))
        return;
    for (uint32_t l = 0; l < a->lcore_count; l++) {
        if (a->lanes[l].unanswered != 0 && complete_lane(d, &a->lanes[l]) != 0) {
            agent_attach_lost(d);
            return;
        }
    }
    if (d->blocked != NULL && agent_attached(d))
        agent_session_pump_blocked(d);
    if (UNLIKELY(d->waiting != 0))
        agent_policy_pump(d);
}
