/* lcore - one polling thread and the shards it owns; shared by the files of the poll loop.
 *
 *   poll.c          the loop: its phases on one screen, and the thread around it
 *   poll_request.c  agents' requests: gather, prefetch, execute
 *   poll_answer.c   commit, completions, wakes
 *   poll_doorbell.c which rings are looked at, and sleeping when none has anything
 *   poll_upkeep.c   leases, ages, housekeeping of shards, grace periods
 *   poll_expiry.c   keys that expire
 *   poll_hot_keys.c what is asked for most
 *   poll_cluster.c  replication, where the node is one of several (lcore_cluster.h)
 *   poll_forward.c  requests that another node leads (lcore_forward.h)
 *   poll_change.c   spaces that come, change and go (node_change.h)
 *
 * Run to completion, shared nothing: everything here belongs to the thread, but for the fields that
 * name another writer.  The clock is read twice per pass (DESIGN section 5, clocks): now, after the
 * requests were gathered, stamps what is granted to us; now_late, after the pass's reads were judged,
 * says whether their answers may leave. */
#ifndef DUNLIN_DATAPLANE_LCORE_H
#define DUNLIN_DATAPLANE_LCORE_H

#include "dataplane/hot_keys.h"
#include "dataplane/node.h"
#include "dataplane/node_change.h"
#include "engine/bucket.h"
#include "engine/rcu.h"
#include "engine/shard.h"

#include <pthread.h>

#define LCORE_SHARDS_MAX (LIMIT_SHARDS * LIMIT_SPACES)

struct lcore;

/* One request of a batch: what was judged is a copy. */
struct lcore_request {
    struct agent *agent;
    struct shard *shard;
    const uint8_t *payload; /* in the ring, behind the header */
    uint64_t position;      /* of the message in its ring, to put it back */
    uint64_t hash;
    uint64_t ttl_ns; /* that it asks for; 0: none */
    uint64_t owed;   /* completion bytes reserved for it */
    uint32_t status; /* RING_OK: execute; else the refusal to answer */
    bool put_back;   /* it, or one before it in the same ring, could not be taken now */
    struct ring_head head;
    struct ring_request copy;
    alignas(8) uint8_t key[LIMIT_KEY_BYTES];
};

/* Why beforehand: a division of 128 bits per pass and duration is most of an idle pass. */
struct lcore_ticks {
    uint64_t lease, view;
    uint64_t cool;           /* a ring without requests for so long is not polled each pass */
    uint64_t pause, yield;   /* idle: this long with pause, that long with yield, then blocked */
    uint64_t soon;           /* as yield where nothing wakes, after a wait that was no longer */
    uint64_t look;           /* for so long counts a yield at most: others had the rest of it */
    uint64_t slice;          /* one that took longer: somebody computes on this processor */
    uint64_t crowded;        /* for so long from then on: blocked rather than yielding */
    uint64_t stuck;          /* requests wait and none could be taken for so long: blocked, too */
    uint64_t sweep;          /* between visits to every ring */
    uint64_t sweep_sessions; /* between looks at sessions */
    uint64_t show;           /* between showings of the keys that are asked for most */
};

struct lcore_cluster;

struct pin_question {
    const struct lcore *lcore;
    uint32_t space;
};

struct lcore {
    struct node *node;
    uint32_t number;
    struct layout_lcore *shared;
    struct layout_lease *lease;
    struct layout_counters *counters;
    uint64_t now, now_late;        /* ticks */
    uint64_t clock_ns;             /* since 1970, for records; read when a pass has requests */
    uint32_t key_gap;              /* operations on keys until one is noted */
    bool keys_noted;               /* since they were shown */
    struct lcore_ticks ticks;      /* durations, in ticks */
    struct bucket_rate agent_rate; /* of each agent that is limited, in ticks */
    uint64_t ticks_deadline;       /* as stored in the lease cell */
    uint64_t ticks_upkeep;         /* when the slow work was last done */
    uint64_t ticks_sweep;          /* when every ring was last visited */
    uint64_t sweep_interval;       /* until the next time; at most ticks.sweep */
    uint64_t ticks_busy;           /* last pass with work */
    bool eager;                    /* after this pass another one at once */
    uint64_t idle_since;           /* ticks_busy of whom the next two belong to */
    uint64_t ticks_idle;           /* last time that there was nothing to do */
    uint64_t idle_spent;           /* of our own time in vain; of a team, the first one's */
    bool was_soon;                 /* the wait before this one was short; likewise */
    uint64_t ticks_crowded;        /* until then a yield would take long */
    uint32_t sleep_number;         /* of the last sleep; not 0 while one lasts */
    uint64_t ticks_cooled;         /* when quiet rings were last let go */
    uint64_t ticks_passed;         /* now of the last pass, or when a sleep ended; 0: neither yet */
    struct lcore_cluster *cluster; /* NULL: the node is alone */
    struct reclaim_now reclaim;    /* what housekeeping and cuts know of this pass */
    struct pin_question question;  /* its context */
    struct node_space *spaces[LIMIT_SPACES + 1]; /* by id: those it has taken over */
    struct shard **shards;                       /* all that it owns, by log */
    uint32_t shard_count;
    uint32_t sweep_shard;  /* next to have its sessions looked at */
    uint64_t ticks_expiry; /* when keys are looked at whose ttl may be over */
    bool expires;          /* there are some with a ttl */
    struct shard **dirty;  /* something to commit or answer in this pass */
    uint32_t dirty_count;
    struct shard **active; /* housekeeping to do */
    uint32_t active_count;
    uint16_t hot[LIMIT_AGENTS]; /* slots of rings polled each pass */
    uint32_t hot_count;
    bool is_hot[LIMIT_AGENTS]; /* by slot; says that it is in hot */
    uint32_t hot_next;         /* where the next pass begins, so that nobody is always last */
    uint16_t cooling[LIMIT_AGENTS];
    uint16_t wakes[LIMIT_AGENTS];
    uint32_t wake_count;
    uint32_t chunks_told[LIMIT_SPACES + 1]; /* chunks_wanted when control was last woken */
    uint64_t arena_round;                   /* the node's, when shards were last looked at for it */
    uint64_t grace_started;
    _Atomic uint64_t grace_done; /* written by liburcu's thread when there are several lcores */
    struct qsbr_head grace;
    uint8_t *transaction; /* LIMIT_TRANSACTION_BYTES: the copy that is judged */
    struct lcore_request requests[LIMIT_BATCH];
    uint32_t request_count;
    /* Lcores of the same number of several nodes may share a thread (node.h); the first one's has it. */
    struct lcore *team[LIMIT_PROCESS_NODES];
    uint32_t team_count;
    int team_fd; /* epoll descriptor over those of the team; -1: there is but one */
    int stop_fd; /* eventfd in its sleep_fd: ends its sleep when it is to stop */
    pthread_t thread;
    _Atomic bool stop; /* written by control */
    bool running;
    /* Id of a space that it left, and whose memory its transport has still; 0: none.  Read by control. */
    _Atomic uint32_t leaving;
    _Atomic(const struct node_change *) change; /* posted by control; NULL: there is none */
    uint64_t ticks_keys_shown;
    struct hot_keys hot_keys;
    struct hot_keys_shown hot_keys_shown; /* read by control */
};

/* Agent in a slot, good until the pass ends; NULL: none. */
static inline struct agent *lcore_agent(const struct lcore *l, uint32_t slot)
{
    /* N2: acquire, pairs with N1 */
    return atomic_load_explicit(&l->node->agents[slot], memory_order_acquire);
}

static inline void lcore_mark_dirty(struct lcore *l, struct shard *s)
{
    if (!s->dirty) {
        s->dirty = true;
        l->dirty[l->dirty_count++] = s;
    }
}

/* An agent wrote what no honest one writes: have control detach it. */
void lcore_fault(struct lcore *l, struct agent *a, enum agent_fault fault);

/* An operation that was judged, of an agent here or of one that is attached to another node. */
struct lcore_operation {
    struct shard *shard;
    struct shard_origin origin;
    const uint8_t *key; /* stable */
    const void *value;  /* may change under us: read once */
    uint64_t hash, session, sequence, expected_lsn;
    uint64_t ttl_ns; /* 0: none */
    uint32_t value_length, session_slot, uid;
    uint16_t key_length, flags; /* RING_FLAG_* */
};

/* Carry it out; the shard may be written here, or, for a GET, answered.  l->clock_ns is recent.  As
 * shard_write: 0, an enum ring_status to answer now, or -EAGAIN. */
MUST_USE int poll_execute(struct lcore *l, const struct lcore_operation *o);
/* An operation on a key of a shard that is led here: now and then one is noted (poll_hot_keys.c); space is
 * filled in. */
void poll_key_note(struct lcore *l, const struct shard *s, const struct hot_keys_asked *key);
static inline void poll_key_count(struct lcore *l, const struct shard *s,
                                  const struct hot_keys_asked *key)
{
    if (UNLIKELY(--l->key_gap == 0))
        poll_key_note(l, s, key);
}
/* Those asked for most to where control finds them, if it is time. */
void poll_keys_show(struct lcore *l);
/* A RING_TRANSACTION, as poll_execute (poll_transaction.c). */
MUST_USE int poll_execute_transaction(struct lcore *l, const struct lcore_operation *o);
/* RING_OK: every peer of a shard that is led here runs a release that takes records of transactions,
 * increments and what has a ttl; else what these are answered: RING_UNSUPPORTED, one does not; RING_RETRY,
 * one was not heard of yet since this node's start, which is not long ago. */
enum ring_status poll_transactions_supported(const struct lcore *l, const struct shard *s);

/* Take up to a batch of requests from the hot rings and carry them out.  Returns how many. */
uint32_t poll_requests(struct lcore *l);

/* Commit what the dirty shards appended and send the answers that are due. */
void poll_commit(struct lcore *l);
void poll_answers(struct lcore *l);
/* Complete one request.  Its room was reserved when it was taken. */
struct ring_completion;
void poll_complete(struct lcore *l, struct agent *a, const struct ring_completion *completion,
                   const void *value);
void poll_wakes(struct lcore *l);

/* Look at doorbell bits; now and then at every ring. */
void poll_doorbell(struct lcore *l);
/* Stop polling rings that have been quiet. */
void poll_cool(struct lcore *l);
/* Nothing to do for all of its team: pause, yield, at last block until a doorbell, a message, a
 * deadline or control. */
void poll_idle(struct lcore *l);

/* Renew lease and age; maintain shards; sessions. */
void poll_lease(struct lcore *l);
void poll_upkeep(struct lcore *l);
/* Expire keys (poll_expiry.c); and when that is due at the latest, in ticks, because of a ttl that was
 * just taken. */
void poll_expiry(struct lcore *l);
void poll_expiry_due(struct lcore *l, uint64_t ttl_ns);
/* Until the next look. */
uint64_t poll_expiry_wait_ms(const struct lcore *l);
/* What reclamation may rely on in this pass. */
void poll_reclaim(struct lcore *l);

/* Carry out what control posted. */
void poll_change(struct lcore *l, const struct node_change *change);
/* Say so of the space that it is leaving once its transport has nothing of it: each pass, while there is one. */
void poll_leave(struct lcore *l);
/* Every operation that waits in a shard ends, its fate unknown: the shard goes. */
void poll_give_up(struct lcore *l, struct shard *s);

/* The agent of an operation that was appended and is not committed is answered RING_RETRY: it may be, later. */
void poll_refuse_waiting(struct lcore *l, const struct shard *s, const struct shard_origin *origin);

/* One pass, for benchmarks and tests that drive an lcore themselves.  Returns true if it had work. */
bool poll_pass(struct lcore *l);

/* Make and free what poll_pass needs, without a thread. */
MUST_USE int lcore_open(struct node *n, uint32_t number, struct lcore **lcore);
void lcore_close(struct lcore *l);

#endif
