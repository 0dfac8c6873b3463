/* agent - what the files of libdunlin share: a handle, its attachment, its sessions and operations.
 *
 * The way of a write: write.c (built into a private copy) -> session.c (its place in the session of
 * its shard) -> ring (request) -> the lcore -> ring (completion) -> complete.c -> session.c ->
 * poll.c or the waiting call.  wait.c waits, link.c speaks on the socket, attach.c makes and loses
 * attachments, space.c maps; get.c, get_many.c and view.c read in place, ask.c reads through the
 * ring.
 *
 * One thread at a time; nothing here is shared between threads.  Memory of the daemon is trusted
 * not to be malicious, but a value that cannot be ends the attachment (agent_attach_lost) rather
 * than us.
 */
#ifndef DUNLIN_ENGINE_AGENT_AGENT_H
#define DUNLIN_ENGINE_AGENT_AGENT_H

#include "engine/agent/attach_protocol.h"
#include "engine/agent/dunlin.h"
#include "engine/agent/fifo.h"
#include "engine/base.h"
#include "engine/layout.h"
#include "engine/memory.h"
#include "engine/read.h"
#include "engine/ring.h"

#include <sys/un.h>

#define AGENT_TIMEOUT_DEFAULT_NS (5 * NS_PER_S)
#define AGENT_SPIN_DEFAULT_NS UINT64_C(20000)
#define AGENT_SPIN_FEW_CORES_NS UINT64_C(2000)
#define AGENT_LOOK_NS NS_PER_MS                /* between looks at the socket */
#define AGENT_TRY_MIN_NS (5 * NS_PER_MS)       /* between attempts to attach ... */
#define AGENT_TRY_MAX_NS (100 * NS_PER_MS)     /* ... while nobody answers */
#define AGENT_EXCHANGE_NS (250 * NS_PER_MS)    /* an answer of the control thread after its first */
#define AGENT_EXCHANGE_MIN_NS (50 * NS_PER_MS) /* ... also for a call that may not wait so long */
#define AGENT_CLOSE_NS (20 * NS_PER_MS)        /* for the daemon to forget our sessions */
#define AGENT_CLOCK_BRACKET_NS NS_PER_MS       /* a wider bracket proves nothing */
#define AGENT_OPERATIONS_KEPT 16u              /* for calls that wait */
#define AGENT_CLOCK_AGAIN_NS (50 * NS_PER_MS)
#define AGENT_RETRY_MIN_NS UINT64_C(200000) /* a shard that is not led here is asked again ... */
#define AGENT_RETRY_MAX_NS (5 * NS_PER_MS)  /* ... after a pause that doubles up to this */

/* ---- attachment: one connection to one start of a daemon, and all memory got through it ---- */

struct mapping {                       /* one space */
    const struct layout_space *header; /* NULL: not there */
    uint64_t file_bytes;
    uint8_t *arena; /* reserved range; the first chunks of it are mapped */
    uint64_t arena_bytes;
    uint32_t chunk_count;
    uint32_t chunks_mapped; /* those behind chunk_count are gone, but views may lie there */
    uint32_t generation;    /* the header's, before what is mapped was: leave.h */
    bool writable;
};

struct mapping_left { /* of a space that is no more: views may lie there */
    struct mapping mapping;
    struct mapping_left *next;
};

struct lane { /* to one lcore and back */
    struct ring request, completion;
    int event_fd;
    uint32_t rung;       /* the lcore's sleep that the eventfd was last rung for */
    uint32_t unanswered; /* messages sent and not answered; also counted in the attachment */
};

struct attachment {
    struct attachment *next; /* of the older ones that views still need */
    int socket;              /* -1: lost */
    uint32_t owed;           /* answers that we gave up waiting for and that may still come */
    uint32_t pins_held;      /* bit per pin */
    uint32_t agent_slot;
    uint32_t lcore_count;
    uint32_t unanswered; /* messages, on all lanes */
    bool clock_good;     /* the daemon's clock and ours are one */
    bool light_fences;   /* its lcores fence for us too: see agent_wait_bell */
    bool rest_mapped;    /* chunks that are gone, for views: agent_space_unmap_rest */
    bool watch_told;     /* the daemon wakes who sleeps on a watch_round: ATTACH_WATCH */
    uint64_t clock_checked_ns;
    uint32_t clock_asked; /* times, while it was greeted */
    uint64_t start;
    const struct layout_node *node;
    struct layout_doorbell *doorbell;
    struct ring_file geometry; /* private copy, checked */
    uint8_t *file;             /* rings and bulk buffer */
    struct ring_pins *pins;    /* in it */
    uint8_t *bulk;             /* in it */
    struct fifo bulk_pieces;
    struct lane lanes[LIMIT_LCORES];
    struct mapping mappings[LIMIT_SPACES]; /* by number of the space in the handle */
    struct mapping_left *left;             /* of spaces that were dropped meanwhile */
};

/* ---- operations ---- */

enum operation_state {
    OPERATION_FREE = 0,
    OPERATION_QUEUED,   /* waits for its session or for room in the ring */
    OPERATION_SENT,     /* in a request ring of the present attachment, or answered soon */
    OPERATION_ANSWERED, /* of a session: result is there, one before it is not answered */
    OPERATION_DONE,     /* result is there */
};

struct operation {
    struct operation *next; /* of its session, the free or the done ones */
    struct dunlin_space *space;
    struct agent_session *session; /* NULL: a message outside of sessions (ask.c) */
    struct ring_request *message;  /* copy to send (again) from; writes of sessions only */
    uint32_t copy_piece;
    uint32_t bulk_piece;  /* in the present attachment, or FIFO_NONE */
    uint32_t bulk_offset; /* GET: where the value is to go, and how much of it may */
    uint32_t bulk_room;
    uint32_t generation;
    uint32_t lcore;
    uint8_t state;    /* enum operation_state */
    uint8_t kind;     /* enum ring_operation */
    bool synchronous; /* a call waits for it; else it goes to dunlin_poll */
    bool abandoned;   /* nobody waits any more */
    bool sent;        /* was in a ring under its present name: may have been applied */
    bool resent;      /* may so by an earlier attempt: of another attachment, or cut (RING_RETRY) */
    int result;
    uint32_t status; /* enum ring_status */
    uint64_t context;
    struct dunlin_version version;
    int64_t number; /* as in struct ring_completion */
    uint64_t epoch;
    uint32_t session_slot; /* answer of a SESSION_OPEN */
    uint32_t value_length;
    uint32_t conflated; /* earlier writes that it stands for */
    size_t capacity;
    void *buffer; /* GET: where the value goes */
};

/* ---- sessions: one per space and shard that is written ---- */

enum session_state {
    SESSION_CLOSED = 0, /* no name */
    SESSION_WANTED,     /* named; its opening is to be sent */
    SESSION_OPENING,
    SESSION_OPEN,
    SESSION_CLOSING, /* the handle is being closed */
};

enum session_rewind {
    REWIND_NONE = 0,
    REWIND_AGAIN,   /* the shard is not led here now: the same names again, after a pause */
    REWIND_NUMBERS, /* an earlier write was refused and so the later ones, too: number them anew */
    REWIND_SESSION, /* the daemon does not know the session: begin a new one */
};

struct agent_session {
    struct dunlin_space *space;
    struct agent_session *next_blocked;
    bool blocked;  /* in the list of those that wait for room in a ring, or until retry_ns */
    bool told;     /* a caller holds the name of a write of unknown fate: it may be asked for */
    bool existing; /* writes were sent under this name: find it, do not open another of that name */
    uint8_t state; /* enum session_state */
    uint8_t rewind; /* enum session_rewind: takes place once nothing of it is in a ring */
    uint8_t id[16];
    uint32_t shard;
    uint32_t slot;
    uint64_t lsn; /* of the opening record */
    uint64_t sequence_next;
    uint64_t sequence_consumed;     /* last known to stand in the daemon's log */
    uint64_t retry_ns;              /* CLOCK_BOOTTIME: nothing is sent before; 0: it may be */
    uint64_t retry_since_ns;        /* nothing got through since then; 0: something did */
    uint64_t retry_pause_ns;        /* the next one */
    uint32_t count;                 /* unanswered operations */
    uint32_t sent;                  /* of them in a ring */
    struct operation *first, *last; /* unanswered, in order */
    struct operation *unsent;       /* the first of them that is not in a ring; no later one is */
};

/* ---- handle ---- */

struct dunlin_space {
    struct read_space read; /* of the present attachment */
    struct dunlin *handle;
    bool bound;    /* the daemon has this space */
    bool in_place; /* leases may be judged here: same clock, and not lease_virtual */
    bool writable;
    bool ordered; /* it can be scanned */
    uint32_t id;
    uint32_t value_bytes_max;
    uint32_t number; /* in handle->spaces */
    uint64_t reads_in_place, reads_retried;
    uint64_t writes_blocked, writes_dropped, writes_conflated, writes_sampled;
    struct agent_policy *policy;    /* NULL: what finds no room is refused */
    struct agent_session *sessions; /* by shard; NULL until it may be written */
    uint32_t session_count;
    char name[LIMIT_NAME_BYTES];
};

struct dunlin {
    struct attachment *now;      /* also when lost: local reads go on from it */
    struct attachment *greeting; /* connected, HELLO sent, not all answered that is asked then */
    struct attachment *old;      /* that views still need */
    struct dunlin_options options;
    struct sockaddr_un address;
    uint64_t lost_ns, look_ns, try_ns, try_pause_ns, bind_ns; /* CLOCK_BOOTTIME */
    uint64_t retry_ns; /* the earliest of the blocked sessions; 0: none waits for a time */
    uint64_t ended_not_led;
    uint32_t polls_in_vain;
    uint32_t gets_abandoned; /* and positions */
    uint64_t attached_count, reads_by_ring;
    struct dunlin_space *spaces[LIMIT_SPACES];
    uint32_t space_count;
    struct agent_session *blocked;
    struct operation *done_first, *done_last;
    struct agent_waiting *given_up_first;
    struct agent_waiting *given_up_last; /* never sent; policy.c */
    uint32_t waiting;                    /* writes that wait to be conflated */
    size_t in_flight;                    /* asynchronous, not collected */
    struct operation *last_write;        /* while it is alive: its name may still change */
    struct dunlin_write_id last_id;      /* sequence 0: none */
    uint8_t *copies;
    struct fifo copy_pieces;
    struct operation *free_first;
    uint32_t operations_taken;
    uint32_t operations_used; /* those above were never touched */
    struct operation operations[LIMIT_AGENT_OPERATIONS];
};

static inline bool agent_attached(const struct dunlin *d)
{
    return d->now != NULL && d->now->socket >= 0;
}

/* ---- link.c: the socket ---- */

/* A connected, nonblocking socket, or -ENOTCONN (nobody listens, or its queue is full), -EACCES,
 * other. */
MUST_USE int agent_link_connect(const struct sockaddr_un *address);
MUST_USE int agent_link_send(int fd, const struct attach_request *request);
/* Receive one answer, waiting for it until deadline_ns.  fds must have room for ATTACH_FDS_MAX; the
 * caller owns them.  Returns 0 (the answer says answer->fd_count of them came), -ETIMEDOUT,
 * -ENOTCONN (the connection ended), -EPROTO. */
MUST_USE int agent_link_receive(int fd, struct attach_answer *answer, int *fds,
                                uint64_t deadline_ns);
void agent_link_close_fds(const int *fds, uint32_t count);
/* One request and its answer, with fd_count descriptors expected if it is not an error.
 * Returns the answer's error, or as agent_link_receive; -ENOTCONN and -EPROTO: the attachment is
 * lost. */
MUST_USE int agent_link_exchange(struct attachment *a, const struct attach_request *request,
                                 struct attach_answer *answer, int *fd, uint64_t deadline_ns);
struct attach_message {
    const struct attach_request *request;
    const char *words; /* that follow it; NULL: none */
};
/* The same with words, for an answer without descriptors. */
MUST_USE int agent_link_exchange_words(struct attachment *a, const struct attach_message *message,
                                       struct attach_answer *answer, uint64_t deadline_ns);
/* False once the daemon is gone. */
bool agent_link_alive(int fd);

/* ---- attach.c ---- */

/* One step towards an attachment, waiting up to wait_ns for the greeting's answer, and for those to what is
 * asked behind it as AGENT_EXCHANGE_NS says.  Returns 0 attached, -EAGAIN not all is answered yet: what is
 * stays so, and the next step goes on there; -ENOTCONN nobody there (or tried just now), -EACCES, -EPROTO,
 * other. */
MUST_USE int agent_attach_try(struct dunlin *d, uint64_t wait_ns);
/* The daemon wrote what cannot be, or is gone and all that it answered is taken. */
void agent_attach_lost(struct dunlin *d);
/* Judge an error of agent_link_exchange: take the last answers and give the attachment up if it is
 * over. Returns the error, -ENOTCONN for a lack of an answer. */
MUST_USE int agent_attach_error(struct dunlin *d, int error);
/* See if the daemon lives, at most every AGENT_LOOK_NS, and go to the next one if not; never waits
 * for long.  True: attached now. */
bool agent_attach_look(struct dunlin *d);
/* Prove that both clocks are one, if that is open still and was not tried just now. */
void agent_attach_clock(struct dunlin *d, struct attachment *a);
/* Free it if it is an old one that no view needs any more. */
void agent_attach_view_gone(struct dunlin *d, struct attachment *a);
void agent_attach_free(struct attachment *a);

/* ---- space.c ---- */

/* Ask for space number n by name and map its file.  Returns 0, -ENOENT, -EACCES, or as
 * agent_link_exchange. */
MUST_USE int agent_space_map(struct attachment *a, const char *name, struct mapping *m,
                             uint64_t deadline_ns);
void agent_space_unmap(struct mapping *m);
/* Let the space read from what a has mapped for it (or from nothing). */
void agent_space_bind(struct dunlin_space *space, struct attachment *a);
/* Map the chunks that were made since, and let those go that are there no more.  Returns 0 if anything is
 * other now, -ENOTCONN if not. */
MUST_USE int agent_space_map_more(struct dunlin_space *space);
/* No view is held any more: let go of what only they kept mapped. */
void agent_space_unmap_rest(struct attachment *a);
/* A space that the present daemon does not have: ask again now and then.  Returns 0 or -ENOENT,
 * -ENOTCONN. */
MUST_USE int agent_space_again(struct dunlin_space *space);

/* ---- space_change.c: spaces that come and go ---- */

/* Whether the space was dropped.  It is bound no more then; agent_space_again finds one that was made again.
 * Looked at where a space does not answer as it should, never in a read that a lease covers. */
bool agent_space_gone(struct dunlin_space *space);
/* As agent_status_error, of an answer about this space (NULL: about none). */
int agent_space_error(struct dunlin_space *space, uint32_t status);
/* An unbound space lets go of what was mapped for it.  False: answers are still to come, or no memory. */
MUST_USE bool agent_space_leave(struct dunlin_space *space);
void agent_space_left_free(struct attachment *a);
/* What a session of an unbound space has not sent ends, once all that it sent is answered. */
void agent_space_unsent(struct agent_session *s);

/* ---- session.c ---- */

/* Room for the sessions of the space's shards.  Returns 0 or -ENOMEM. */
MUST_USE int agent_session_prepare(struct dunlin_space *space);
/* Put a built operation at the end of its session and send what can be sent. */
void agent_session_append(struct dunlin *d, struct agent_session *s, struct operation *o);
/* Take back the newest operation, which was never sent. */
void agent_session_withdraw(struct dunlin *d, struct operation *o);
/* Nobody waits any more for one that is not in a ring and may have been applied: it is not sent
 * again, and its name is given to no other.  Frees it. */
void agent_session_drop(struct dunlin *d, struct operation *o);
void agent_session_pump(struct dunlin *d, struct agent_session *s);
void agent_session_pump_blocked(struct dunlin *d);
void agent_session_opened(struct dunlin *d, struct agent_session *s,
                          const struct ring_completion *c);
void agent_session_answered(struct dunlin *d, struct operation *o, const struct ring_completion *c);
/* The handle is being closed: let the daemon forget the sessions that nobody can ask for, so that
 * programs that come and go leave none behind until their ttl.  Waits a little for the answers. */
void agent_session_close_all(struct dunlin *d);
/* The lcore that owns its shard. */
static inline uint32_t agent_session_lcore(const struct agent_session *s)
{
    return s->space->read.boards[s->shard].lcore;
}
/* The first from o on that is not answered. */
struct operation *agent_session_unanswered(struct operation *o);
/* Something got through: it waits for nothing any more. */
void agent_session_retry_end(struct agent_session *s);
/* Everything of the session that was in a ring is answered: number what is left and send it. */
void agent_session_restart(struct dunlin *d, struct agent_session *s);
/* No answer will come: what was sent is of unknown fate, unsent_error is the result of the rest. */
void agent_session_fail_all(struct dunlin *d, struct agent_session *s, int unsent_error);

/* ---- reattach.c: sessions over the end of an attachment ---- */

/* d->now is a new attachment and previous the one before (whose bulk buffer is still mapped):
 * send again what was not answered. */
void agent_session_resume(struct dunlin *d, struct attachment *previous);
/* Nobody will answer any more: everything sent is of unknown fate, the rest was never sent. */
void agent_session_give_up(struct dunlin *d);

/* ---- complete.c: operations and their completions ---- */

/* Returns NULL when all are taken, or all but those kept for calls that wait. */
struct operation *agent_operation_take(struct dunlin *d, bool synchronous);
void agent_operation_free(struct dunlin *d, struct operation *o);
/* The result is there: give it to who waits, or to dunlin_poll. */
void agent_operation_finish(struct dunlin *d, struct operation *o, int result);
/* Nobody waits for it any more. */
void agent_operation_abandon(struct dunlin *d, struct operation *o);
uint64_t agent_operation_tag(const struct dunlin *d, const struct operation *o);
uint64_t agent_session_tag(const struct agent_session *s);
/* 0 or -errno for a status; the fate of a write is session.c's matter. */
int agent_status_error(uint32_t status);
/* Take all completions that are there, send what waited for room. */
void agent_complete_all(struct dunlin *d);

/* ---- ask.c: messages outside of sessions ---- */

struct waiter { /* wait.c */
    uint64_t deadline_ns;
    uint64_t spin_end_ns;
};

struct ask_message {          /* parts of a request */
    struct ring_request head; /* head.length is computed */
    const void *key;          /* head.key_length bytes */
    const void *value;        /* head.value_length bytes, unless BULK */
    struct record_ttl ttl;    /* if head.extension_length is not 0 */
};
/* Write everything but the first word; returns the head to commit. */
struct ring_head agent_ask_build(struct ring_request *at, const struct ask_message *m);
uint64_t agent_ask_bytes(const struct ask_message *m);
/* Send one message and wait for its answer.  0: the answer is in o, which the caller frees;
 * -ENOTCONN: never sent; -ETIMEDOUT: sent and not answered.  Then o is taken care of.  RING_RETRY is
 * no answer: it is sent again until the time is up, and then -ENOTCONN is its result. */
MUST_USE int agent_ask(struct dunlin *d, struct operation *o, struct ask_message *m,
                       const struct waiter *w);
void agent_ask_answered(struct dunlin *d, struct operation *o, const struct ring_completion *c,
                        const uint8_t *payload);
struct get_target {
    void *buffer;
    size_t capacity;
};
/* GET by the owner of the shard.  Fills read; returns as dunlin_get. */
MUST_USE int agent_ask_get(struct dunlin_space *space, const struct read_key *k,
                           const struct get_target *target, struct dunlin_read *read);

/* A position up to which all is committed that was when this began.  Returns 0, -ENOTCONN, -EOPNOTSUPP: the
 * leader runs an older release, ... */
MUST_USE int agent_ask_position(struct dunlin_space *space, uint32_t shard, uint64_t *lsn);

/* ---- write.c, transaction.c: writes in sessions ---- */

/* What is wanted of a lease. */
struct agent_lease {
    uint8_t operation; /* RING_LEASE_* */
    const void *key;
    size_t key_length;
    const char *owner; /* ACQUIRE */
    size_t owner_length;
    uint64_t token;  /* RENEW, RELEASE */
    uint64_t ttl_ns; /* 0: none */
};
/* What a caller wants written: a write, or a transaction and what of it travels. */
struct agent_wanted {
    const struct dunlin_write *write; /* NULL: the lease, or the transaction */
    const struct agent_lease *lease;  /* NULL: the transaction */
    const struct dunlin_transaction *transaction;
    uint8_t *packed; /* struct ring_item and so on; the caller's */
    uint32_t packed_length;
    uint32_t conflated; /* writes that it replaced */
    uint64_t context;
};
struct agent_outcome {
    struct dunlin_version version;
    int64_t number;
    bool is_known; /* else it was never answered */
};
/* What can be said of a write without its space: 0, -EINVAL or -EMSGSIZE. */
MUST_USE int agent_write_check(const struct dunlin_write *w);
uint8_t agent_write_operation(const struct dunlin_write *w);
/* As dunlin_put; dunlin_submit; dunlin_retry: of what was judged. */
MUST_USE int agent_write_now(struct dunlin_space *space, const struct agent_wanted *wanted,
                             struct agent_outcome *outcome);
MUST_USE int agent_write_submit(struct dunlin_space *space, const struct agent_wanted *wanted);
/* The same whatever the policy says: -EAGAIN, or as soon as there is room, within the timeout. */
MUST_USE int agent_write_enter(struct dunlin_space *space, const struct agent_wanted *wanted);
MUST_USE int agent_write_patiently(struct dunlin_space *space, const struct agent_wanted *wanted);
MUST_USE int agent_write_repeat(struct dunlin_space *space, const struct dunlin_write_id *id,
                                const struct agent_wanted *wanted, struct agent_outcome *outcome);
/* The shard of all keys of a transaction, in the space as the present daemon has it.  Returns 0, -EXDEV, or
 * -EMSGSIZE: a value is above the space's limit. */
MUST_USE int agent_transaction_shard(const struct dunlin_space *space,
                                     const struct dunlin_transaction *t, uint32_t *shard);

/* ---- policy.c: what finds no room ---- */

/* As dunlin_submit, of a space that has a policy. */
MUST_USE int agent_policy_submit(struct dunlin_space *space, const struct agent_wanted *wanted);
/* Whether a write of the same key waits, and must be sent first. */
bool agent_policy_holds(const struct dunlin_space *space, const struct agent_wanted *wanted);
/* Send what waits and has room now. */
void agent_policy_pump(struct dunlin *d);
/* Nobody will take what waits. */
void agent_policy_give_up(struct dunlin_space *space);
/* The next one that was given up.  False: there is none. */
bool agent_policy_collect(struct dunlin *d, struct dunlin_completion *completion);
void agent_policy_free(struct dunlin_space *space);

/* ---- wait.c ---- */

#define WAIT_ANY_LCORE UINT32_MAX
struct waiter agent_wait_begin(const struct dunlin *d, uint64_t timeout_ns);
/* Let a little time pass, or wait for a completion of lcore, or for a daemon.  False: the time is
 * up. */
MUST_USE bool agent_wait_pause(struct dunlin *d, const struct waiter *w, uint32_t lcore);
/* Until the operation is done.  Returns 0 or -ETIMEDOUT. */
MUST_USE int agent_wait_operation(struct dunlin *d, const struct operation *o,
                                  const struct waiter *w);
/* Tell the lcore of a message, if it does not look by itself. */
void agent_wait_bell(struct attachment *a, uint32_t lcore);

/* ---- get.c ---- */

/* A key and a place to put the answer that can be looked up. */
static ALWAYS_INLINE int get_check_key(const void *key, size_t key_length)
{
    if (UNLIKELY(key == NULL || key_length == 0))
        return -EINVAL;
    return UNLIKELY(key_length > LIMIT_KEY_BYTES) ? -EMSGSIZE : 0;
}
static ALWAYS_INLINE uint64_t get_epoch(const struct read_point *p)
{
    /* relaxed: it belongs to the validated read or a later one; it only grows */
    return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)&p->board->epoch,
                                memory_order_relaxed);
}
/* Judge a validated read: by the lease, else: by age (local), or not at all.
 * Returns 0, -ESTALE; linearizable: -EAGAIN go by the ring. */
MUST_USE int agent_get_judge(struct dunlin_space *space, const struct read_point *p,
                             struct dunlin_read *read);

/* What read_find gave for an entry of a batch: 0 or 1. */
static ALWAYS_INLINE void get_entry_found(struct dunlin_get_entry *e, const struct read_point *p,
                                          int result, const struct read_found *found)
{
    e->result = result == 1 ? 0 : -ENOENT;
    e->read.length = 0;
    e->read.version = (struct dunlin_version){0};
    if (LIKELY(result == 1)) {
        read_copy(found, e->buffer, e->capacity);
        e->read.length = found->value_length;
        e->read.version.log = p->board->log;
        e->read.version.lsn = found->lsn;
    }
}

/* What a linearizable answer has to hold when this machine has met something above its commit LSN: up to
 * there, by a lease that covers all but that.  0: none does. */
uint64_t agent_get_floor(const struct dunlin_space *space, const struct read_point *p);
/* No lease: the clock is unproven, the daemon idles, is slow, or gone.  Returns 0, with *floor set if the leader
 * had to be asked for a position, else there is a better clock or another daemon now; or -ENOTCONN or as
 * agent_ask_position. */
MUST_USE int agent_get_unleased(struct dunlin_space *space, uint32_t shard, uint64_t *floor);

/* ---- get_whole.c ---- */

/* Entries of a batch: those of one point, which is a shard. */
struct agent_whole {
    struct dunlin_space *space;
    struct dunlin_get_entry *entries;
    size_t count;
    const uint8_t *point_of; /* by entry */
    uint8_t point;
    uint32_t shard;
    enum dunlin_mode mode;
    uint64_t max_age_ns;
};
/* Answer them as dunlin_get does, but at one commit LSN.  One by one where nothing else is left: when this
 * machine has nothing to show (local), and beside a leader of an older release. */
void agent_get_whole(const struct agent_whole *of);

/* ---- get_at.c ---- */

struct get_key {
    const void *bytes;
    size_t length;
};
/* dunlin_get at read->at. */
MUST_USE int agent_get_at(struct dunlin_space *space, const struct get_key *key,
                          const struct get_target *target, struct dunlin_read *read);

/* ---- handle.c ---- */

/* Attached by now, or -ENOTCONN when the waiter's time is up. */
MUST_USE int agent_handle_attached(struct dunlin *d, const struct waiter *w);

#endif
