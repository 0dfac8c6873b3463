/* dunlin - the agent's side: attach to the daemon on this machine, read in place, write through
 * rings.
 *
 * Threads    A `struct dunlin` belongs to one thread at a time, and to the process that opened it:
 *            open one per thread; a child of fork opens its own.  The library starts no thread,
 *            installs no signal handler and raises no SIGPIPE.
 * Lifetime   The daemon may die and come back at any time.  Reads go on from the memory that is
 *            mapped (local reads with growing age, linearizable ones -ENOTCONN); every call looks
 *            for the new daemon by itself, at most every few milliseconds, and unanswered writes
 *            are sent again under the same sequence numbers.  The program needs no code for this.
 *            The same holds when the leadership of a shard moves: what was refused or taken back for
 *            that is tried again, in order and applied at most once, until the call's time is up.
 * Units      *_ns nanoseconds, *_length and capacity bytes.
 * Waiting    Synchronous calls return at the latest after the timeout of dunlin_options.
 * Errors     0 or a negative errno, the same ones everywhere; what the caller does about each:
 *
 *   -ENOENT      no such key (or space).
 *   -ECANCELED   the condition of a compare did not hold; *version is what stands there.  Read,
 *                then decide.
 *   -ENOTCONN    unavailable: no daemon, no lease, no quorum, or this node does not lead the shard
 *                (all that while the library tried again).  For a write: it was never applied.
 *                Try later, or go to your fail-safe state.
 *   -EOWNERDEAD  fate unknown: the write was sent and nobody can say any more whether it was
 *                applied (the daemon lost its memory, the timeout passed, also after it was
 *                appended by a node that then ceased to lead, or the session was forgotten).
 *                Read before you write again; dunlin_last_write names it.
 *   -ESTALE      the value is older than max_age_ns; it is returned all the same, with its age.
 *   -EACCES      the space's access list does not let you.  Ask its administrator.
 *   -EDQUOT      the shard is full of live data.  Delete, or raise the space's quota.
 *   -EUSERS      the shard holds as many sessions as it may, or the daemon as many agents.  Try
 *                later.
 *   -EMSGSIZE    key or value above the limit of the space.
 *   -ENOBUFS     the buffer is too small; length says how much is needed.
 *   -EAGAIN      asynchronous calls: ring or window is full.  Call dunlin_poll, then again.
 *   -EOPNOTSUPP  asked of a cluster, and the daemon's node is alone.
 *   -EPROTO      daemon and library disagree (version, or the ring was damaged): update one.
 *   -EINVAL      a null pointer, an empty key, a bad argument: mend the program.
 *   -ENOMEM, other  the system's own answer at open and attach.
 */
#ifndef DUNLIN_H
#define DUNLIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DUNLIN_MUST_USE __attribute__((warn_unused_result))
#else
#define DUNLIN_MUST_USE
#endif
#define DUNLIN_API __attribute__((visibility("default")))

#define DUNLIN_VERSION_STRING "0.1.0"
#define DUNLIN_SOCKET_DEFAULT "/run/dunlin/dunlin.sock"
#define DUNLIN_KEY_MAX 512u

struct dunlin;       /* an attachment */
struct dunlin_space; /* a space it has opened; lives as long as the attachment */

/* Identity of a value: which log, where in it.  lsn 0 means "no such key"; lsn only grows within a
 * log, also over deletes, restarts and losses, so it serves as a fencing token. */
struct dunlin_version {
    uint64_t log;
    uint64_t lsn;
};

struct dunlin_options {
    const char *socket;  /* NULL: $DUNLIN_SOCKET, else DUNLIN_SOCKET_DEFAULT */
    uint64_t timeout_ns; /* of a synchronous call; 0: 5 s */
    uint64_t spin_ns;    /* busy waiting before sleeping; 0: none when cores are few, else 20 us */
    uint32_t request_bytes;    /* of each request ring, power of two; 0: 64 KiB */
    uint32_t completion_bytes; /* 0: 64 KiB */
    uint32_t bulk_bytes;       /* for values that do not fit a ring; 0: 4 MiB */
    uint32_t flags;            /* DUNLIN_OPEN_* */
};

#define DUNLIN_OPEN_WAIT 0x1u /* if no daemon answers, wait up to timeout_ns instead of failing */

/* Attach.  options may be NULL.  Returns 0 and *handle (close it with dunlin_close), or -ENOTCONN,
 * -EACCES, -EPROTO, -ENOMEM, -EINVAL. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_open(const struct dunlin_options *options,
                                           struct dunlin **handle);

/* Detach and free everything, views and spaces included.  Has the daemon forget this handle's
 * sessions first (for 20 ms at most), but for those in which a write is of unknown fate: it can be
 * repeated later.  What becomes of writes still in flight is not told.  handle may be NULL. */
DUNLIN_API void dunlin_close(struct dunlin *handle);

/* Open a space by name for reading (and writing, if the access list says so).  Returns 0 and
 * *space, owned by the handle, the same pointer for the same name, or -ENOENT, -EACCES, -ENOTCONN.
 * It stays good when the daemon comes back; calls say -ENOENT while that one has no such space. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_space(struct dunlin *handle, const char *name,
                                            struct dunlin_space **space);

/* ---- reading ---- */

enum dunlin_mode {
    DUNLIN_LINEARIZABLE = 0, /* reflects every write completed before the call began */
    /* What this machine has, with its age.  Where it has nothing to show (it takes over a snapshot) the
     * leader answers, with age 0; so an answer that says an age may be older than one before it. */
    DUNLIN_LOCAL = 1
};

struct dunlin_read {
    /* asked */
    enum dunlin_mode mode;
    uint64_t max_age_ns; /* 0: any; else an older answer is -ESTALE */
    /* answered */
    size_t length; /* of the value, also with -ENOBUFS */
    struct dunlin_version version;
    uint64_t epoch;
    uint64_t age_ns; /* how long ago this machine was sure that it is the newest */
    int stale;       /* 1: the daemon is gone or silent, age_ns grows */
};

/* Copy the newest value of a key into buffer.  read may be NULL (linearizable).  In place: no
 * system call, no message, while the daemon's lease covers this machine; else a linearizable read
 * asks the owner through the ring.  Returns 0, -ENOENT, -ENOTCONN (linearizable; local only if the
 * value lies in memory that was never touched before the daemon died), -ESTALE (version.lsn 0: as
 * far as known there is no such key), -ENOBUFS, -EMSGSIZE, -EINVAL. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_get(struct dunlin_space *space, const void *key,
                                          size_t key_length, void *buffer, size_t capacity,
                                          struct dunlin_read *read);

/* Many keys at once, their cache misses overlapped; the same lease check covers all.  mode and
 * max_age_ns of every entry are those of the first. */
struct dunlin_get_entry {
    const void *key;
    size_t key_length;
    void *buffer;
    size_t capacity;
    int result; /* as dunlin_get */
    struct dunlin_read read;
};
/* Returns 0 if every entry has a result (each may be an error of its own), or -EINVAL. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_get_many(struct dunlin_space *space,
                                               struct dunlin_get_entry *entries, size_t count);

/* A value in place: no copy.  Good until dunlin_release, which tells whether it was safe all the
 * time: a view held longer than deadline_ns may have been overwritten under you. */
struct dunlin_view {
    const void *value;
    struct dunlin_read read;
    uint64_t deadline_ns; /* CLOCK_BOOTTIME until which it is safe for sure */
    uint64_t internal[4];
};
/* Returns as dunlin_get, or -EAGAIN when 8 views are held already, or the key changes too fast to
 * be pinned: use dunlin_get.  With -ESTALE there is a view unless value is NULL. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_view(struct dunlin_space *space, const void *key,
                                           size_t key_length, struct dunlin_view *view);
/* Returns 0: everything read through the view was good; -ESTALE: it was held too long, throw away
 * what was read. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_release(struct dunlin_space *space, struct dunlin_view *view);

/* ---- writing ---- */

/* Write, and wait until it is committed.  version may be NULL. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_put(struct dunlin_space *space, const void *key,
                                          size_t key_length, const void *value, size_t value_length,
                                          struct dunlin_version *version);

/* Write only if the newest version is expected_lsn (0: the key must not exist).  On -ECANCELED
 * *version is what stands there instead. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_put_if(struct dunlin_space *space, const void *key,
                                             size_t key_length, const void *value,
                                             size_t value_length, uint64_t expected_lsn,
                                             struct dunlin_version *version);

/* Delete; -ENOENT if there was nothing. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_delete(struct dunlin_space *space, const void *key,
                                             size_t key_length, struct dunlin_version *version);
DUNLIN_API DUNLIN_MUST_USE int dunlin_delete_if(struct dunlin_space *space, const void *key,
                                                size_t key_length, uint64_t expected_lsn,
                                                struct dunlin_version *version);

/* Asynchronous writes: submit many, poll for their completions.  Per shard they are applied in the
 * order submitted, and completed in that order.  At most 64 per shard and session are in flight. */
enum dunlin_operation { DUNLIN_PUT = 1, DUNLIN_DELETE = 2 };
struct dunlin_write {
    enum dunlin_operation operation;
    const void *key;
    size_t key_length;
    const void *value; /* copied before the call returns */
    size_t value_length;
    int compare; /* 1: only if the newest version is expected_lsn */
    uint64_t expected_lsn;
    uint64_t context; /* yours, given back */
};
struct dunlin_completion {
    uint64_t context;
    int result; /* 0, -ENOENT, -ECANCELED, -EOWNERDEAD, -EACCES, -EDQUOT, -EUSERS, -EMSGSIZE,
                   -ENOTCONN */
    struct dunlin_space *space;
    struct dunlin_version version;
};
/* Returns 0, or -EAGAIN, -EMSGSIZE, -EINVAL, -ENOTCONN, -EACCES: then nothing was submitted. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_submit(struct dunlin_space *space,
                                             const struct dunlin_write *write);
/* Collect completions, waiting up to timeout_ns for the first (0: do not wait).  Returns how many
 * were stored (0 .. capacity), never an error.  Writes that can no longer be answered, because the
 * daemon lost its memory, or none came back or led the shard within the handle's timeout, complete
 * with -EOWNERDEAD, or -ENOTCONN if they were certainly not applied. */
DUNLIN_API size_t dunlin_poll(struct dunlin *handle, struct dunlin_completion *completions,
                              size_t capacity, uint64_t timeout_ns);
/* Writes submitted and not yet collected. */
DUNLIN_API size_t dunlin_in_flight(const struct dunlin *handle);

/* ---- sessions ---- */

/* Name of a write for exactly-once: whoever repeats it under this name applies it at most once. */
struct dunlin_write_id {
    uint8_t session[16];
    uint32_t shard;
    uint32_t reserved;
    uint64_t sequence;
};
/* The last write this handle submitted (of use after -EOWNERDEAD).  -ENOENT: none yet. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_last_write(const struct dunlin *handle,
                                                 struct dunlin_write_id *id);
/* Repeat a write under its name, from the same user: applied now, or answered with the result of
 * the first time, or -EOWNERDEAD when the session is forgotten (then read before writing). */
DUNLIN_API DUNLIN_MUST_USE int dunlin_retry(struct dunlin_space *space,
                                            const struct dunlin_write_id *id,
                                            const struct dunlin_write *write,
                                            struct dunlin_version *version);

/* ---- the daemon ---- */

struct dunlin_info {
    uint64_t start; /* number of the daemon's start: changes when it was restarted */
    uint32_t node_id;
    uint32_t lcores;
    uint64_t lease_ns;
    uint64_t attached_count;                               /* times this handle attached */
    uint64_t reads_in_place, reads_by_ring, reads_retried; /* of this handle */
    uint64_t ended_not_led; /* reads and writes given up while this node did not lead the shard */
};
DUNLIN_API void dunlin_info(const struct dunlin *handle, struct dunlin_info *info);

/* Ask the daemon for its status as JSON text into buffer (ends with 0).  Returns the length, or
 * -ENOBUFS, -ENOTCONN. */
DUNLIN_API DUNLIN_MUST_USE int64_t dunlin_status_json(struct dunlin *handle, char *buffer,
                                                      size_t capacity);

/* ---- the cluster ---- */

/* Ask the daemon for its cluster as JSON text, as dunlin_status_json: its name, this node's id, how
 * many shards there are, are moving, are without an active leader (pending) or lost for good, and
 * the nodes with their addresses and how many shards each leads.  Returns the length, or
 * -EOPNOTSUPP (the node is alone), -ENOBUFS, -ENOTCONN, -EPROTO (an older daemon). */
DUNLIN_API DUNLIN_MUST_USE int64_t dunlin_nodes_json(struct dunlin *handle, char *buffer,
                                                     size_t capacity);

#define DUNLIN_SHARDS_ALL UINT32_MAX

/* Have a node lead shards: all there are (space NULL or empty, shard DUNLIN_SHARDS_ALL), those of a
 * space, or one of them.  Writes and reads go on meanwhile.  Returns how many are to move, 0 if it
 * leads them all or is to; they have moved when "moving" of dunlin_nodes_json is 0.  Or
 *   -EACCES      you are neither root nor the daemon's user
 *   -EOPNOTSUPP  the node is alone
 *   -ENOENT      no such node, space or shard
 *   -EAGAIN      a shard has no leader yet: the cluster begins; try again
 *   -EINVAL      node 0, a name too long, a shard without its space
 *   -ENOTCONN    unavailable; asking twice does no harm
 *   -EPROTO      an older daemon; other: the coordinator's own, see the daemon's log. */
DUNLIN_API DUNLIN_MUST_USE int64_t dunlin_move(struct dunlin *handle, uint32_t node,
                                               const char *space, uint32_t shard);

/* One round trip through lcore's ring; says nothing about writes that were sent before. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_ping(struct dunlin *handle, uint32_t lcore);

#ifdef __cplusplus
}
#endif
#endif
