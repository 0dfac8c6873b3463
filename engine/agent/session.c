#include "engine/agent/agent.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Why not left to chance that the kernel's pool is ready: a name that is not random could be
 * somebody else's. */
static void name_anew(struct agent_session *s)
{
    size_t have = 0;
    while (have < sizeof s->id) {
        ssize_t got = getrandom(s->id + have, sizeof s->id - have, 0);
        ASSERT(got > 0 || errno == EINTR);
        have += got > 0 ? (size_t)got : 0;
    }
    s->state = SESSION_WANTED;
    s->existing = s->told = false;
    s->sequence_next = 1;
    s->sequence_consumed = 0;
}

int agent_session_prepare(struct dunlin_space *space)
{
    uint32_t count = space->read.geometry.shard_count;
    if (space->session_count == count)
        return 0;
    struct agent_session *sessions = calloc(count, sizeof *sessions);
    if (sessions == NULL)
        return -ENOMEM;
    for (uint32_t shard = 0; shard < count; shard++) {
        sessions[shard].space = space;
        sessions[shard].shard = shard;
    }
    free(space->sessions);
    space->sessions = sessions;
    space->session_count = count;
    return 0;
}

/* ---- sending ---- */

static int send_name(struct attachment *a, struct agent_session *s, uint8_t operation,
                     uint16_t flags)
{
    const struct ask_message m = {
        .head = {.head = {.operation = operation, .flags = flags},
                 .space = (uint16_t)s->space->id,
                 .shard = s->shard,
                 .tag = agent_session_tag(s),
                 .key_length = sizeof s->id},
        .key = s->id,
    };
    struct lane *lane = &a->lanes[agent_session_lcore(s)];
    void *at;
    int error = ring_claim(&lane->request, agent_ask_bytes(&m), &at);
    if (error != 0)
        return error;
    ring_commit(&lane->request, at, agent_ask_build(at, &m));
    lane->unanswered++;
    a->unanswered++;
    s->state = operation == RING_SESSION_OPEN ? SESSION_OPENING : SESSION_CLOSING;
    return 0;
}

static int send_write(struct attachment *a, struct agent_session *s, struct operation *o)
{
    struct ring_request *copy = o->message;
    struct lane *lane = &a->lanes[agent_session_lcore(s)];
    void *at;
    int error = ring_claim(&lane->request, copy->head.length, &at);
    if (error != 0)
        return error;
    copy->session_slot = s->slot;
    copy->session = s->lsn;
    memcpy((uint8_t *)at + sizeof copy->head, (const uint8_t *)copy + sizeof copy->head,
           copy->head.length - sizeof copy->head);
    ring_commit(&lane->request, at, copy->head);
    lane->unanswered++;
    a->unanswered++;
    o->state = OPERATION_SENT;
    o->sent = true;
    o->lcore = agent_session_lcore(s);
    s->sent++;
    return 0;
}

static void block(struct dunlin *d, struct agent_session *s)
{
    if (s->blocked)
        return;
    s->blocked = true;
    s->next_blocked = d->blocked;
    d->blocked = s;
}

static void not_led_give_up(struct dunlin *d, struct agent_session *s);

/* Its shard is not led here now: nothing is sent before a pause is over. */
static void retry_set(struct agent_session *s)
{
    uint64_t now = clock_boottime_ns();
    if (s->retry_since_ns == 0) {
        s->retry_since_ns = now;
        s->retry_pause_ns = AGENT_RETRY_MIN_NS;
    }
    s->retry_ns = now + s->retry_pause_ns;
    s->retry_pause_ns = min_u64(2 * s->retry_pause_ns, AGENT_RETRY_MAX_NS);
}

/* The same once more, then. */
static void retry_later(struct dunlin *d, struct agent_session *s)
{
    retry_set(s);
    agent_session_pump(d, s);
}

void agent_session_retry_end(struct agent_session *s)
{
    s->retry_ns = s->retry_since_ns = 0;
}

/* Whether the session must still wait; then it is on the list of those that do. */
static bool retry_waits(struct dunlin *d, struct agent_session *s)
{
    uint64_t now = clock_boottime_ns();
    if (s->retry_since_ns != 0 && now - s->retry_since_ns >= d->options.timeout_ns) {
        not_led_give_up(d, s);
        return true;
    }
    if (now >= s->retry_ns) {
        s->retry_ns = 0;
        /* Why: what is put into the ring of a daemon that died meanwhile is of unknown fate for no
         * need. */
        if (d->now->unanswered == 0 && !agent_link_alive(d->now->socket))
            agent_attach_lost(d);
        return !agent_attached(d);
    }
    if (d->retry_ns == 0 || s->retry_ns < d->retry_ns)
        d->retry_ns = s->retry_ns;
    block(d, s);
    return true;
}

struct operation *agent_session_unanswered(struct operation *o)
{
    while (o != NULL && o->state == OPERATION_ANSWERED)
        o = o->next;
    return o;
}

void agent_session_pump(struct dunlin *d, struct agent_session *s)
{
    struct attachment *a = d->now;
    int error = 0;
    bool told = false;
    if (agent_attached(d) && !s->space->bound)
        agent_space_unsent(s);
    if (!agent_attached(d) || !s->space->bound)
        return;
    if (s->retry_ns != 0 && retry_waits(d, s))
        return;
    if (s->state == SESSION_WANTED && s->first != NULL) {
        error = send_name(a, s, RING_SESSION_OPEN, s->existing ? RING_FLAG_EXISTING : 0);
        told = error == 0;
    }
    if (s->state == SESSION_OPEN && s->rewind == REWIND_NONE)
        while (s->unsent != NULL && (error = send_write(a, s, s->unsent)) == 0) {
            s->unsent = agent_session_unanswered(s->unsent->next);
            told = true;
        }
    if (told)
        agent_wait_bell(a, agent_session_lcore(s));
    if (error == -EAGAIN)
        block(d, s);
    else if (error != 0)
        agent_attach_lost(d);
}

void agent_session_pump_blocked(struct dunlin *d)
{
    struct agent_session *s = d->blocked;
    d->blocked = NULL;
    d->retry_ns = 0;
    while (s != NULL) {
        struct agent_session *next = s->next_blocked;
        s->blocked = false;
        agent_session_pump(d, s);
        s = next;
    }
}

/* ---- the queue ---- */

static void give_name(struct dunlin *d, struct agent_session *s, struct operation *o)
{
    o->message->sequence = s->sequence_next++;
    o->sent = o->resent = false;
    if (d->last_write != o)
        return;
    memcpy(d->last_id.session, s->id, sizeof s->id);
    d->last_id.shard = s->shard;
    d->last_id.sequence = o->message->sequence;
}

void agent_session_append(struct dunlin *d, struct agent_session *s, struct operation *o)
{
    if (s->state == SESSION_CLOSED)
        name_anew(s);
    if (s->first == NULL)
        s->retry_since_ns = 0; /* who comes now has all his time */
    o->session = s;
    o->state = OPERATION_QUEUED;
    o->lcore = agent_session_lcore(s);
    o->next = NULL;
    d->last_write = o;
    give_name(d, s, o);
    if (s->last == NULL)
        s->first = o;
    else
        s->last->next = o;
    s->last = o;
    s->count++;
    if (s->unsent == NULL && s->rewind == REWIND_NONE)
        s->unsent = o;
    agent_session_pump(d, s);
}

static void unlink_operation(struct agent_session *s, struct operation *o)
{
    struct operation *previous = NULL;
    struct operation *at = s->first;
    while (at != o) {
        previous = at;
        at = at->next;
    }
    if (previous == NULL)
        s->first = o->next;
    else
        previous->next = o->next;
    if (s->last == o)
        s->last = previous;
    if (s->unsent == o)
        s->unsent = agent_session_unanswered(o->next);
    o->next = NULL;
    s->count--;
}

static void finish(struct dunlin *d, struct agent_session *s, struct operation *o, int result)
{
    unlink_operation(s, o);
    agent_operation_finish(d, o, result);
}

/* Why held: an answer may have been lost on its way between nodes while a later one got through; callers
 * see them in the order of their writes.  One that nobody waits for any more holds up none. */
static void finish_answered(struct dunlin *d, struct agent_session *s)
{
    struct operation *o = s->first;
    while (o != NULL && (o->state == OPERATION_ANSWERED || o->abandoned)) {
        struct operation *next = o->next;
        if (o->state == OPERATION_ANSWERED)
            finish(d, s, o, o->result);
        o = next;
    }
}

void agent_session_withdraw(struct dunlin *d, struct operation *o)
{
    struct agent_session *s = o->session;
    ASSERT(s->last == o && !o->sent && o->state == OPERATION_QUEUED);
    s->sequence_next--;
    d->ended_not_led += s->retry_since_ns != 0;
    finish(d, s, o, -ENOTCONN);
}

/* What was in a ring of an earlier attachment, and is not answered in this one, stays unknown. */
static void fail_resent(struct dunlin *d, struct agent_session *s)
{
    struct operation *o = s->first;
    while (o != NULL) {
        struct operation *next = o->next;
        if (o->resent && o->state != OPERATION_ANSWERED) {
            s->rewind = REWIND_SESSION;
            finish(d, s, o, -EOWNERDEAD);
        }
        o = next;
    }
}

void agent_session_restart(struct dunlin *d, struct agent_session *s)
{
    ASSERT(s->sent == 0);
    if (s->rewind == REWIND_AGAIN) {
        s->rewind = REWIND_NONE;
        s->unsent = agent_session_unanswered(s->first);
        retry_later(d, s);
        return;
    }
    fail_resent(d, s);
    finish_answered(d, s);
    if (s->rewind == REWIND_SESSION)
        s->state = SESSION_CLOSED;
    s->rewind = REWIND_NONE;
    s->unsent = agent_session_unanswered(s->first);
    if (s->state == SESSION_CLOSED) {
        if (s->first == NULL)
            return;
        name_anew(s);
    }
    s->sequence_next = s->sequence_consumed + 1;
    for (struct operation *o = s->unsent; o != NULL; o = agent_session_unanswered(o->next))
        give_name(d, s, o);
    agent_session_pump(d, s);
}

static void rewind_to(struct agent_session *s, enum session_rewind rewind)
{
    if (s->rewind < rewind)
        s->rewind = (uint8_t)rewind;
    s->unsent = NULL; /* restart finds it again */
}

void agent_session_drop(struct dunlin *d, struct operation *o)
{
    struct agent_session *s = o->session;
    ASSERT(o->state == OPERATION_QUEUED && o->abandoned);
    rewind_to(s, REWIND_SESSION);
    finish(d, s, o, -EOWNERDEAD);
    /* Why not while it opens: the answer to that would be taken for the next session's. */
    if (s->sent == 0 && s->state != SESSION_OPENING)
        agent_session_restart(d, s);
}

/* ---- answers ---- */

/* The daemon does not know the session or the place in it, so it applied nothing now.  What was
 * sent only now is certainly not applied and goes again; what was sent before may have been applied
 * then. */
static void not_applied(struct dunlin *d, struct operation *o, enum session_rewind rewind)
{
    struct agent_session *s = o->session;
    if (o->message->sequence == s->sequence_consumed + 1)
        rewind = REWIND_SESSION; /* no gap, and refused all the same: the sessions are not one */
    if (o->resent || o->abandoned) {
        /* Why a new session: the caller learns this name, so it must not come to mean another
         * write. */
        rewind_to(s, REWIND_SESSION);
        finish(d, s, o, -EOWNERDEAD);
    } else {
        rewind_to(s, rewind);
        o->state = OPERATION_QUEUED;
    }
}

/* The shard is not led here, or the record was cut: the same again is safe.  What was never appended
 * is certainly not applied. */
static void not_led(struct dunlin *d, struct operation *o, bool appended)
{
    struct agent_session *s = o->session;
    o->resent = o->resent || appended;
    o->sent = o->resent;
    o->state = OPERATION_QUEUED;
    rewind_to(s, o->abandoned ? REWIND_SESSION : REWIND_AGAIN);
    if (o->abandoned)
        finish(d, s, o, -EOWNERDEAD);
}

/* A gap.  As long as a write before it is not settled, that says nothing of this one. */
static void out_of_sequence(struct dunlin *d, struct operation *o)
{
    if (o == o->session->first || o->abandoned)
        not_applied(d, o, REWIND_NUMBERS);
    else
        not_led(d, o, false);
}

void agent_session_answered(struct dunlin *d, struct operation *o, const struct ring_completion *c)
{
    struct agent_session *s = o->session;
    uint64_t sequence = o->message->sequence;
    s->sent--;
    switch (c->status) {
    case RING_RETRY:
        not_led(d, o, c->epoch != 0);
        break;
    case RING_FATE_UNKNOWN:
        not_applied(d, o, REWIND_SESSION);
        break;
    case RING_SEQUENCE:
        out_of_sequence(d, o);
        break;
    case RING_OK:
    case RING_NOT_FOUND:
    case RING_CONDITION:
    case RING_NOT_NUMBER:
    case RING_RANGE:
        s->sequence_consumed = max_u64(s->sequence_consumed, sequence);
        agent_session_retry_end(s);
        o->state = OPERATION_ANSWERED;
        o->result = agent_status_error(c->status);
        break;
    default:
        /* Refused before it got into the log: its number is free again, unless the caller learns it as a
         * name, and those behind it in the ring are refused for the gap. */
        rewind_to(s, o->resent || o->abandoned ? REWIND_SESSION : REWIND_NUMBERS);
        finish(d, s, o, o->resent ? -EOWNERDEAD : agent_space_error(s->space, c->status));
        break;
    }
    finish_answered(d, s);
    if (s->rewind != REWIND_NONE && s->sent == 0)
        agent_session_restart(d, s);
}

/* What is left of a session is answered, or of unknown fate, or was never sent. */
static int result_of(const struct operation *o, int unsent_error)
{
    if (o->state == OPERATION_ANSWERED)
        return o->result;
    return o->sent ? -EOWNERDEAD : unsent_error;
}

void agent_session_fail_all(struct dunlin *d, struct agent_session *s, int unsent_error)
{
    while (s->first != NULL)
        finish(d, s, s->first, result_of(s->first, unsent_error));
    s->unsent = NULL;
    s->sent = 0;
    s->rewind = REWIND_NONE;
    s->state = SESSION_CLOSED;
    agent_session_retry_end(s);
}

static void not_led_give_up(struct dunlin *d, struct agent_session *s)
{
    bool sent = false;
    for (const struct operation *o = s->first; o != NULL; o = o->next)
        sent = sent || o->sent;
    d->ended_not_led += s->count;
    if (sent || s->state != SESSION_OPEN) {
        agent_session_fail_all(d, s, -ENOTCONN);
        return;
    }
    /* Why the session stays: no name of it can mean anything but what it will mean next. */
    while (s->first != NULL)
        finish(d, s, s->first, -ENOTCONN);
    s->sequence_next = s->sequence_consumed + 1;
    agent_session_retry_end(s);
}

/* What was not led is closed again, after a pause; a session that is not known is closed as well. */
static void closed(struct agent_session *s, uint32_t status)
{
    s->state = status == RING_RETRY ? SESSION_OPEN : SESSION_CLOSED;
    if (status == RING_RETRY)
        retry_set(s);
}

void agent_session_opened(struct dunlin *d, struct agent_session *s,
                          const struct ring_completion *c)
{
    if (s->state == SESSION_CLOSING) {
        closed(s, c->status);
        return;
    }
    if (s->rewind != REWIND_NONE) {
        agent_session_restart(d, s); /* who needed this one was given up meanwhile */
        return;
    }
    switch (c->status) {
    case RING_OK:
        s->state = SESSION_OPEN;
        s->slot = c->session_slot;
        s->lsn = c->lsn;
        agent_session_retry_end(s);
        agent_session_pump(d, s);
        break;
    case RING_RETRY:
        s->state = SESSION_WANTED;
        retry_later(d, s);
        break;
    case RING_FATE_UNKNOWN:
        rewind_to(s, REWIND_SESSION);
        agent_session_restart(d, s);
        break;
    default:
        agent_session_fail_all(
            d, s,
            c->status == RING_SESSION_LIMIT ? -EUSERS : agent_space_error(s->space, c->status));
        break;
    }
}

/* ---- the handle is being closed ---- */

static bool may_close(const struct agent_session *s)
{
    return s->state == SESSION_OPEN && s->first == NULL && !s->told;
}

/* Returns 0, -EAGAIN: no room in the ring now, or -errno.  d->retry_ns: when one is to be asked again, 0:
 * none is. */
static int close_some(struct dunlin *d, struct dunlin_space *space)
{
    struct attachment *a = d->now;
    uint64_t now = clock_boottime_ns();
    for (uint32_t shard = 0; shard < space->session_count && space->bound; shard++) {
        struct agent_session *s = &space->sessions[shard];
        if (!may_close(s))
            continue;
        if (now < s->retry_ns) {
            d->retry_ns = d->retry_ns == 0 ? s->retry_ns : min_u64(d->retry_ns, s->retry_ns);
            continue;
        }
        int error = send_name(a, s, RING_SESSION_CLOSE, 0);
        if (error != 0)
            return error;
        agent_wait_bell(a, agent_session_lcore(s));
    }
    return 0;
}

void agent_session_close_all(struct dunlin *d)
{
    struct waiter w = agent_wait_begin(d, min_u64(d->options.timeout_ns, AGENT_CLOSE_NS));
    agent_complete_all(d);
    while (agent_attached(d)) {
        int error = 0;
        d->retry_ns = 0;
        for (uint32_t i = 0; i < d->space_count && error == 0; i++)
            error = close_some(d, d->spaces[i]);
        if (error != 0 && error != -EAGAIN)
            return;
        if ((d->now->unanswered == 0 && d->retry_ns == 0) ||
            !agent_wait_pause(d, &w, WAIT_ANY_LCORE))
            return;
        agent_complete_all(d);
    }
}
