/* Sessions over the end of an attachment: what was not answered goes to the next daemon under its names, or is
 * given up.  See agent.h. */
#include "engine/agent/agent.h"

#include <string.h>

/* The value lies in the bulk buffer of the attachment before: take it along. */
static int move_bulk(const struct attachment *previous, struct attachment *a, struct operation *o)
{
    struct ring_request *m = o->message;
    uint32_t offset;
    if (o->bulk_piece == FIFO_NONE)
        return 0;
    o->bulk_piece = FIFO_NONE;
    int error = agent_fifo_take(&a->bulk_pieces, m->value_length, &offset, &o->bulk_piece);
    if (error != 0)
        return error;
    memcpy(a->bulk + offset, previous->bulk + m->bulk_offset, m->value_length);
    m->bulk_offset = offset;
    return 0;
}

static void resume(struct dunlin *d, struct agent_session *s, bool same_daemon)
{
    bool sent = false;
    s->blocked = false;
    s->rewind = REWIND_NONE;
    s->sent = 0;
    agent_session_retry_end(s);
    s->unsent = agent_session_unanswered(s->first);
    for (struct operation *o = s->unsent; o != NULL; o = agent_session_unanswered(o->next)) {
        o->state = OPERATION_QUEUED;
        o->resent = o->sent;
        o->lcore = agent_session_lcore(s);
        sent = sent || o->sent;
    }
    if (same_daemon && s->state == SESSION_OPEN) {
        agent_session_pump(d, s);
    } else if (sent) {
        s->existing = true;
        s->state = SESSION_WANTED;
        agent_session_pump(d, s);
    } else {
        s->rewind = REWIND_SESSION;
        agent_session_restart(d, s);
    }
}

/* The bulk pieces of the attachment before are gone with it. */
static void forget_bulk(struct operation *o)
{
    for (; o != NULL; o = o->next)
        o->bulk_piece = FIFO_NONE;
}

static void resume_session(struct dunlin *d, struct agent_session *s, bool same_space,
                           const struct attachment *previous)
{
    struct operation *o = s->first;
    while (same_space && o != NULL && move_bulk(previous, d->now, o) == 0)
        o = o->next;
    if (o == NULL) {
        resume(d, s, previous->start == d->now->start);
        return;
    }
    /* The space is gone or another one, or the new daemon gives less room. */
    forget_bulk(o);
    agent_session_fail_all(d, s, -ENOTCONN);
}

/* Messages that were built for the space before mean the same in the present one. */
static bool is_same_space(const struct dunlin_space *space, const struct layout_space *before)
{
    return space->bound && before != NULL && before->id == space->id &&
           before->geometry.shard_count == space->read.geometry.shard_count &&
           before->partition_prefix == space->read.partition_prefix;
}

void agent_session_resume(struct dunlin *d, struct attachment *previous)
{
    d->blocked = NULL;
    d->retry_ns = 0;
    for (uint32_t i = 0; i < d->space_count; i++) {
        struct dunlin_space *space = d->spaces[i];
        bool same = is_same_space(space, previous->mappings[i].header);
        for (uint32_t shard = 0; shard < space->session_count; shard++) {
            space->sessions[shard].blocked = false;
            resume_session(d, &space->sessions[shard], same, previous);
        }
        if (!same && space->bound && space->writable && agent_session_prepare(space) != 0)
            space->writable = false;
    }
}

void agent_session_give_up(struct dunlin *d)
{
    d->blocked = NULL;
    d->retry_ns = 0;
    for (uint32_t i = 0; i < d->space_count; i++) {
        for (uint32_t shard = 0; shard < d->spaces[i]->session_count; shard++) {
            d->spaces[i]->sessions[shard].blocked = false;
            agent_session_fail_all(d, &d->spaces[i]->sessions[shard], -ENOTCONN);
        }
        agent_policy_give_up(d->spaces[i]);
    }
}
