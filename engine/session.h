/* session - exactly-once: which operations of a session a shard has applied, and their results.
 *
 * Pure; the shard's lcore only.  A session is opened by a log record, whose LSN names it within the
 * shard for ever, is 128-bit random, and belongs to the uid that opened it.  Its sequences are
 * contiguous; results of the last LIMIT_SESSION_WINDOW are kept, as many as may be in flight. State
 * changes at commit (session_commit_*); what is appended above it is counted in appended and cut
 * off with the log. A session is forgotten only by a log record (EXPIRE).  When the table is full
 * no session is evicted: a new one is refused.
 * An id may be opened again behind its EXPIRE.  At a follower, which learns later what is committed, both
 * sessions are there for a while: the id finds the newer one, and the older one when that is cut. */
#ifndef DUNLIN_ENGINE_SESSION_H
#define DUNLIN_ENGINE_SESSION_H

#include "engine/base.h"
#include "engine/limits.h"

#define SESSION_ID_BYTES 16u
#define SESSION_NONE UINT32_MAX

struct session_result {
    uint64_t lsn;
    uint32_t status; /* enum ring_status */
    int64_t number;  /* as in struct ring_completion */
};

/* As it is kept.  Why the number apart: most results have none, and touch no line for it. */
struct session_kept {
    uint64_t lsn;
    uint32_t status;
    uint32_t has_number; /* 1: it is in numbers */
};

struct session {
    uint8_t id[SESSION_ID_BYTES];
    uint64_t lsn_opened; /* 0: free entry */
    uint64_t offset;     /* of the opening record in the arena, as the cleaner moves it */
    uint64_t committed;  /* highest sequence whose result is known */
    uint64_t appended;   /* highest sequence in the log */
    uint64_t traffic_ns; /* when it was last used, in the caller's clock */
    uint32_t uid;
    uint32_t next_free;
    uint32_t older; /* entry + 1 of one of the same id that is about to be forgotten; 0: none */
    bool opening;   /* its opening record is not committed */
    bool expiring;  /* its expire record is appended and not committed */
    struct session_kept results[LIMIT_SESSION_WINDOW]; /* by sequence modulo the window */
    int64_t numbers[LIMIT_SESSION_WINDOW];             /* of those that have one */
};

struct session_table {
    struct session *entries;
    uint32_t *by_id;  /* open addressing, linear: entry + 1; 0 empty */
    uint32_t *by_lsn; /* the same, by opening LSN */
    uint32_t capacity;
    uint32_t mask; /* of both */
    uint32_t used;
    uint32_t fresh; /* entries never used */
    uint32_t free;  /* list of forgotten ones */
    uint32_t sweep; /* next entry that session_sweep looks at */
};

/* Bytes of zeroed memory for capacity sessions; only what is used gets touched. */
size_t session_table_bytes(uint32_t capacity);
void session_table_init(struct session_table *t, uint32_t capacity, void *memory);

/* Forget every session. */
void session_table_clear(struct session_table *t);

/* Entry of an id, the newest if it was opened again, or SESSION_NONE. */
uint32_t session_find(const struct session_table *t, const uint8_t id[SESSION_ID_BYTES]);

/* Take an entry for an opening record that was appended at lsn.  SESSION_NONE: the table is full.
 */
uint32_t session_open(struct session_table *t, const uint8_t id[SESSION_ID_BYTES], uint32_t uid,
                      uint64_t lsn, uint64_t now_ns);
bool session_table_is_full(const struct session_table *t);

static ALWAYS_INLINE uint32_t session_spread(uint64_t word)
{
    return (uint32_t)((word * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

/* Fetch where session_find_lsn begins. */
static ALWAYS_INLINE void session_prefetch(const struct session_table *t, uint64_t lsn_opened)
{
    PREFETCH(&t->by_lsn[session_spread(lsn_opened) & t->mask]);
}

/* Entry of the session that an LSN opened, or SESSION_NONE.  hint: the slot it may have; a slot
 * that another replica gave out is a wrong hint, and does no harm. */
uint32_t session_find_lsn(const struct session_table *t, uint64_t lsn_opened, uint32_t hint);

/* The entry if an LSN names a living session of this uid, else NULL. */
struct session *session_get(struct session_table *t, uint64_t lsn_opened, uint32_t hint,
                            uint32_t uid);

/* How a sequence relates to what was applied. */
enum session_order {
    SESSION_NEXT,      /* apply it */
    SESSION_PENDING,   /* appended, not committed: answer when it is */
    SESSION_DUPLICATE, /* *result is the answer */
    SESSION_REFUSED,   /* a gap, or older than the results that are kept */
};
enum session_order session_order(const struct session *s, uint64_t sequence,
                                 struct session_result *result);

void session_commit_result(struct session *s, uint64_t sequence, struct session_result result);
void session_forget(struct session_table *t, uint32_t slot);

/* Look at up to count entries: the next one without traffic for ttl_ns that is not expiring yet, or
 * SESSION_NONE. */
uint32_t session_sweep(struct session_table *t, uint32_t count, uint64_t now_ns, uint64_t ttl_ns);

#endif
