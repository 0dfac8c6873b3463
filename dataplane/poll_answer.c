#include "dataplane/lcore_forward.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* All but the head, which ring_commit writes.  Why not a memcpy: its wide loads would wait for the
 * narrow stores that have just made the completion. */
static ALWAYS_INLINE void fill(struct ring_completion *to, const struct ring_completion *from)
{
    to->tag = from->tag;
    to->status = from->status;
    to->value_length = from->value_length;
    to->lsn = from->lsn;
    to->epoch = from->epoch;
    to->log = from->log;
    to->session_slot = from->session_slot;
    to->sequence = from->sequence;
    to->number = from->number;
}

void poll_complete(struct lcore *l, struct agent *a, const struct ring_completion *completion,
                   const void *value)
{
    struct ring *ring = &a->rings[l->number].completion;
    uint32_t value_length = value != NULL ? completion->value_length : 0;
    struct ring_head head = completion->head;
    head.length = (uint32_t)sizeof *completion + value_length;
    void *message;
    if (ring_claim(ring, head.length, &message) != 0) {
        /* Room was reserved, so only a forged position leads here. */
        lcore_fault(l, a, AGENT_FAULT_RING);
        return;
    }
    fill(message, completion);
    if (value_length != 0)
        memcpy((uint8_t *)message + sizeof *completion, value, value_length);
    ring_commit(ring, message, head);
    if (!a->rings[l->number].wake_pending) {
        a->rings[l->number].wake_pending = true;
        l->wakes[l->wake_count++] = (uint16_t)a->slot;
    }
}

/* Put the value where the asker wants it.  Returns the value to send behind the completion. */
static const void *place_value(const struct agent *a, const struct shard_answer *answer,
                               struct ring_completion *c)
{
    const struct record *r = answer->record;
    c->value_length = r->value_length;
    if (r->value_length > answer->origin.room) {
        c->status = RING_TOO_LARGE;
        return NULL;
    }
    if (answer->origin.bulk) {
        memcpy(a->bulk + answer->origin.bulk_offset, record_value(r), r->value_length);
        return NULL;
    }
    if (sizeof *c + r->value_length > answer->origin.owed) {
        c->status = RING_TOO_LARGE;
        return NULL;
    }
    return record_value(r);
}

static void answer_send(struct lcore *l, const struct shard *s, const struct shard_answer *answer)
{
    struct ring_completion c = {
        .head.operation = answer->origin.operation,
        .tag = answer->origin.tag,
        .status = answer->status,
        .lsn = answer->lsn,
        .epoch = atomic_load_explicit(&s->board->epoch, memory_order_relaxed),
        .log = s->log.number,
        .session_slot = answer->session_slot,
        .sequence = answer->sequence,
        .number = answer->number,
    };
    bool leaves = !answer->judged || poll_cluster_may_answer(l, s, l->now_late);
    if (!leaves)
        c.status = RING_RETRY;
    if (poll_forward_is_origin(&answer->origin)) {
        poll_forward_answer(l, s, answer, &c);
        return;
    }
    struct agent *a = lcore_agent(l, answer->origin.agent);
    if (a == NULL || a->generation != answer->origin.generation)
        return; /* it is gone; who comes back under its session is answered from the results */
    const void *value = leaves && answer->record != NULL ? place_value(a, answer, &c) : NULL;
    a->rings[l->number].owed -= answer->origin.owed;
    poll_complete(l, a, &c, value);
}

/* Why by hand: what is not committed will never be, and an answer by shard_answer_next says that it is. */
void poll_give_up(struct lcore *l, struct shard *s)
{
    for (uint32_t at = s->pending_head; at != s->pending_tail; at++) {
        const struct shard_pending *p = &s->pending[at % LIMIT_PENDING];
        const struct shard_answer answer = {
            .origin = p->origin,
            .status = p->session_slot != SESSION_NONE ? RING_FATE_UNKNOWN : RING_UNAVAILABLE,
            .session_slot = SESSION_NONE,
            .sequence = p->sequence,
        };
        if (p->origin.operation != RING_NOP)
            answer_send(l, s, &answer);
    }
    s->pending_head = s->pending_applied = s->pending_tail = 0;
}

void poll_refuse_waiting(struct lcore *l, const struct shard *s, const struct shard_origin *origin)
{
    const struct shard_answer answer = {
        .origin = *origin, .status = RING_RETRY, .session_slot = SESSION_NONE};
    answer_send(l, s, &answer);
}

/* One voter: what is appended is held by a majority. */
void poll_commit(struct lcore *l)
{
    if (l->cluster != NULL) {
        poll_cluster_decide(l);
        return;
    }
    for (uint32_t i = 0; i < l->dirty_count; i++)
        shard_commit(l->dirty[i], l->dirty[i]->log.lsn_end);
}

/* For who wakes the space's sleeping watchers (control/waker.h). */
static void commit_count(struct lcore *l, struct shard *s)
{
    if (!s->shown)
        return;
    s->shown = false;
    const uint32_t space = s->log.number >> NODE_LOG_SPACE_SHIFT;
    _Atomic uint32_t *count = &l->shared->commits[space - 1];
    /* relaxed: one writer */
    uint32_t commits = atomic_load_explicit(count, memory_order_relaxed);
    /* release: the board is stored before */
    atomic_store_explicit(count, commits + 1, memory_order_release);
}

void poll_answers(struct lcore *l)
{
    for (uint32_t i = 0; i < l->dirty_count; i++) {
        struct shard *s = l->dirty[i];
        struct shard_answer answer;
        commit_count(l, s);
        while (shard_answer_next(s, &answer))
            answer_send(l, s, &answer);
        s->dirty = false;
        if (!s->active) {
            s->active = true;
            l->active[l->active_count++] = s;
        }
    }
    l->dirty_count = 0;
    poll_forward_flush(l);
}

void poll_wakes(struct lcore *l)
{
    if (l->wake_count == 0)
        return;
    /* pairs with the agent's fence between setting agent_sleeping and looking at its ring */
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i < l->wake_count; i++) {
        struct agent *a = lcore_agent(l, l->wakes[i]);
        if (a == NULL)
            continue;
        a->rings[l->number].wake_pending = false;
        struct ring_shared *shared = a->rings[l->number].completion.shared;
        if (atomic_load_explicit(&shared->agent_sleeping, memory_order_relaxed) == 0)
            continue;
        atomic_fetch_add_explicit(&shared->wake, 1, memory_order_release);
        /* Why ignored: the word is mapped, waking nobody is fine */
        (void)syscall(SYS_futex, &shared->wake, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
    l->wake_count = 0;
}
