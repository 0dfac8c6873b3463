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
 *   -ECANCELED   the condition of a compare did not hold, or the key is a lease that is held; *version
 *                is what stands there.  Read, then decide.
 *   -ENODATA     compacted: what is asked for at that version is not kept any more (the space's
 *                history), or the version is of another shard.  version: the oldest that is kept,
 *                lsn 0: not known.  Read without a version.  Of a watch: it lagged.
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
 *   -EBUSY       asynchronous calls: the write was left out, as the space's policy says.  Or, of
 *                dunlin_move: see there.
 *   -EDOM        an increment of a value that is not a decimal number.  Nothing was changed.
 *   -ERANGE      an increment past an int64_t.  Nothing was changed.
 *   -EXDEV       the keys of a transaction lie in several shards.  Give those that belong together the
 *                same partition: of a key with braces, like seat{flight7}/12A, only what is in the
 *                first ones says the shard.
 *   -EOPNOTSUPP  asked of a cluster, and the daemon's node is alone; or a node of the cluster runs an
 *                older release that does not know it: update that one.
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
    /* lsn 0: the newest.  Else the key as it was when the write of that version was visible, the whole
     * transaction around it included; mode and max_age_ns then mean nothing.  dunlin_get alone. */
    struct dunlin_version at;
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
 * far as known there is no such key), -ENOBUFS, -EMSGSIZE, -EINVAL.
 * At a version: in place, on any machine that has the space, and waiting up to the timeout for one that
 * has not come here yet (then -ENOTCONN); -ENODATA if it is not kept any more. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_get(struct dunlin_space *space, const void *key,
                                          size_t key_length, void *buffer, size_t capacity,
                                          struct dunlin_read *read);

/* Many keys at once, their cache misses overlapped; of each 64, those of a shard as of one moment.  mode and
 * max_age_ns of every entry are those of the first; at a version: -EINVAL. */
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

/* ---- scanning ---- */

/* The keys of a space that begin with a prefix, in the order of their bytes, each with its value.  Read in
 * place, page by page; a page is a part of one shard exactly as it was at one moment, with transactions
 * whole.  The shards are merged, and pages and shards are not one snapshot: a key that is there all the
 * time is given once; one that is written or deleted meanwhile as it was at some moment of the scan, if at
 * all.  Linearizable: each page reflects every write that was completed before the first call of
 * dunlin_scan_next, at least.  Where the prefix has the partition of its keys (user{7}/), one shard is read.
 * A scan may stay open as long as one likes; it holds up nobody. */
struct dunlin_scan;

struct dunlin_scan_options {
    const void *prefix;
    size_t prefix_length; /* 0: all keys */
    const void *after;
    size_t after_length; /* 0: from the beginning; else only what comes behind this key */
    enum dunlin_mode mode;
    uint64_t max_age_ns; /* as in dunlin_read */
    int keys_only;       /* 1: values are not copied */
};

struct dunlin_scan_entry {
    const void *key; /* this and value: good until the next call with this scan */
    size_t key_length;
    const void *value; /* NULL: keys only */
    size_t value_length;
    struct dunlin_version version;
    uint64_t epoch, age_ns;
    int stale;
};

/* Begin.  options may be NULL (all keys, linearizable).  Returns 0 and *scan (end it with
 * dunlin_scan_close, before its handle is closed), or -EOPNOTSUPP: the space keeps no order (`ordered:
 * false` in its configuration); -EMSGSIZE, -EINVAL, -ENOMEM, -ENOENT or -ENOTCONN. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_scan_open(struct dunlin_space *space,
                                                const struct dunlin_scan_options *options,
                                                struct dunlin_scan **scan);

/* The next key.  Returns 0; -ENOENT: there is none any more; -ENOTCONN, -ESTALE as dunlin_get, also where
 * this machine takes over a snapshot, or the daemon came back with other shards: then open it again,
 * behind the last key; -EOPNOTSUPP: the shard's leader runs an older release.  After an error the same
 * call may be made again. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_scan_next(struct dunlin_scan *scan,
                                                struct dunlin_scan_entry *entry);
DUNLIN_API void dunlin_scan_close(struct dunlin_scan *scan);

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

/* Write a value that goes by itself ttl_ns (1 ms to ten years; else -EINVAL) after it was written, not
 * earlier and, while the shard is led, not much later; a new leader begins to count anew.  Then there is
 * no such key.  An increment leaves the ttl as it is; every other write ends it: after dunlin_put it stays. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_put_ttl(struct dunlin_space *space, const void *key,
                                              size_t key_length, const void *value,
                                              size_t value_length, uint64_t ttl_ns,
                                              struct dunlin_version *version);

/* Add delta to the number that a key holds as decimal text ("-17"), so that dunlin_get shows it; a key
 * that is not there counts as 0.  *value (may be NULL) is what it is now.  -EDOM, -ERANGE: *version is
 * what stands there. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_increment(struct dunlin_space *space, const void *key,
                                                size_t key_length, int64_t delta, int64_t *value,
                                                struct dunlin_version *version);

/* Asynchronous writes: submit many, poll for their completions.  Per shard they are applied in the
 * order submitted, and completed in that order.  At most 64 per shard and session are in flight. */
enum dunlin_operation {
    DUNLIN_PUT = 1,
    DUNLIN_DELETE = 2,
    DUNLIN_INCREMENT = 3 /* no value; delta is added, as by dunlin_increment */
};
struct dunlin_write {
    enum dunlin_operation operation;
    const void *key;
    size_t key_length;
    const void *value; /* copied before the call returns */
    size_t value_length;
    int compare; /* 1: only if the newest version is expected_lsn */
    uint64_t expected_lsn;
    uint64_t context; /* yours, given back */
    int64_t delta;    /* INCREMENT */
    uint64_t ttl_ns;  /* PUT: as dunlin_put_ttl; 0: the value stays */
};
struct dunlin_completion {
    uint64_t context;
    int result; /* 0, -ENOENT, -ECANCELED, -EOWNERDEAD, -EACCES, -EDQUOT, -EUSERS, -EMSGSIZE,
                   -ENOTCONN, -EDOM, -ERANGE, -EOPNOTSUPP */
    struct dunlin_space *space;
    struct dunlin_version version;
    int64_t number; /* INCREMENT: the value now; transaction: its branch */
    /* Earlier writes of the key that this one replaced while it waited (DUNLIN_CONFLATE).  They have no
     * completions of their own: this one says what became of the last of them. */
    uint32_t conflated;
};
/* Returns 0, or -EAGAIN, -EMSGSIZE, -EINVAL, -ENOTCONN, -EACCES, -EBUSY (left out, by the policy): then
 * nothing was submitted. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_submit(struct dunlin_space *space,
                                             const struct dunlin_write *write);

/* What dunlin_submit does where ring or window is full: the agent's choice, for each space. */
enum dunlin_policy_kind {
    DUNLIN_REFUSE = 0, /* -EAGAIN */
    /* Wait for room, or for a daemon, up to the handle's timeout; then -EAGAIN or -ENOTCONN.  -EAGAIN at once
     * when nothing but dunlin_poll makes room. */
    DUNLIN_BLOCK = 1,
    DUNLIN_DROP = 2, /* the newest is dropped: -EBUSY, and counted */
    /* The latest per key: a put or delete without a compare waits in a table, where a newer one of its key
     * takes its place; it is sent, and gets its sequence, once there is room.  Writes of one key keep their
     * order, those of different keys may change theirs: what waits is passed by what finds room.  -EAGAIN
     * when the table is full, for values above value_max, and, where a write of the key waits (a
     * transaction: any write), for all that cannot be replaced.  Calls that wait are sent behind what waits
     * of their key. */
    DUNLIN_CONFLATE = 3,
    /* Thin out, room or not: one of `every` writes, or of each key one per interval_ns.  The others are left
     * out: -EBUSY, and counted.  Where there is no room: as DROP, and the next one is kept instead. */
    DUNLIN_SAMPLE = 4
};
struct dunlin_policy {
    enum dunlin_policy_kind kind;
    uint32_t capacity;  /* keys that wait, or are told apart by interval; 0: 1,024; most: 65,536 */
    uint32_t value_max; /* CONFLATE: bytes of the largest value that may wait; 0: 256 */
    uint32_t every;     /* SAMPLE: this, or: */
    uint64_t interval_ns;
};
/* From now on, for asynchronous writes to this space by this handle.  All memory is taken here, none per
 * write.  Returns 0, -EINVAL, -ENOMEM, or -EAGAIN: writes wait by the policy before; collect them first. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_space_policy(struct dunlin_space *space,
                                                   const struct dunlin_policy *policy);

/* The same, and wait until it is committed, as dunlin_put does. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_apply(struct dunlin_space *space,
                                            const struct dunlin_write *write,
                                            struct dunlin_version *version);

/* ---- leases ---- */

/* A lease is a key with an owner and a ttl: at most one owner at a time holds it, whatever node leads the
 * shard.  Its value, for dunlin_get, is the owner's name.  While it is held every other write of the key
 * is refused with -ECANCELED, in transactions, too; when its ttl is over there is no such key.
 * The token is the LSN of the acquire: it only grows from owner to owner, and stays over renewals.  Hand
 * it on with all that is done under the lease (DUNLIN_COMPARE_TOKEN of a transaction; another system's
 * fence), since only who looks at the token is safe from an owner that was asleep. */
#define DUNLIN_OWNER_MAX 64u

struct dunlin_lease {
    uint64_t token;
    /* CLOCK_BOOTTIME up to which it is yours for sure: counted from before it was asked for, less
     * 1,000 ppm for clocks that do not go alike.  dunlin_lease_show: 0. */
    uint64_t deadline_ns;
    uint64_t ttl_ns;
    struct dunlin_version version; /* of the last renewal */
    char owner[65];                /* up to DUNLIN_OWNER_MAX bytes, then a 0 */
};

/* Become the owner, if there is no such key.  owner: 1 to 64 bytes; ttl_ns as for dunlin_put_ttl.  Returns
 * as dunlin_put, and -ECANCELED: it is held, by this owner's name or another (renewing is another call),
 * or is a key that is no lease; lease->version is what stands there. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_lease_acquire(struct dunlin_space *space, const void *key,
                                                    size_t key_length, const char *owner,
                                                    uint64_t ttl_ns, struct dunlin_lease *lease);

/* Hold it on for ttl_ns from now, under lease->token; deadline, ttl and version are then new.  Returns as
 * dunlin_put, and -ECANCELED: nobody holds it under that token any more; lease is as it was, but after
 * -EOWNERDEAD, when a shorter ttl may count already, for a deadline that allows for it. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_lease_renew(struct dunlin_space *space, const void *key,
                                                  size_t key_length, uint64_t ttl_ns,
                                                  struct dunlin_lease *lease);

/* Give it up.  version may be NULL.  As dunlin_lease_renew. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_lease_release(struct dunlin_space *space, const void *key,
                                                    size_t key_length, uint64_t token,
                                                    struct dunlin_version *version);

/* Who holds it, linearizable.  Returns as dunlin_get; -ENOENT: nobody, or the key is no lease. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_lease_show(struct dunlin_space *space, const void *key,
                                                 size_t key_length, struct dunlin_lease *lease);

/* A lease per region: each region (zone of nodes, as the cluster's configuration names them) has an owner of
 * its own, with tokens of its own, for the same key.  It is a lease like any other, of the key that
 * dunlin_region_key makes; all calls above take that one. */
#define DUNLIN_ZONE_MAX 31u     /* bytes of its name */
#define DUNLIN_REGION_BYTES 39u /* that a region's key may be longer than its key */

/* Zone of the node that the handle is attached to (attaching first if need be) into buffer, ended with 0;
 * DUNLIN_ZONE_MAX + 1 bytes hold any.  It is that of the cluster's list of nodes, and stays while the daemon
 * runs; after another start ask again.  Returns its length (0: the node has none), or -ENOBUFS, -ENOTCONN,
 * -EINVAL. */
DUNLIN_API DUNLIN_MUST_USE int64_t dunlin_zone(struct dunlin *handle, char *buffer,
                                               size_t capacity);

/* The key of what a region has instead of key: the key, a 0, "region", a 0, and the zone's name (a letter,
 * then letters, digits, '-', '_' and '.').  zone NULL: what those of all regions begin with, for a scan or a
 * watch.  buffer may be key.  Keep keys of your own free of that separator; no text has it.
 * Its shard: that of the key where the key names one (braces, or a partition_prefix of the space that is
 * no longer than the key), so a transaction may compare the region's token and write what is beside it;
 * else one of its own, like any other key.  In order the regions' keys come right behind the key itself, so a
 * scan or watch of a prefix that the key has gives them, too.
 * Returns its length, or -EINVAL: no key, no such zone; -EMSGSIZE: the key is longer than DUNLIN_KEY_MAX -
 * DUNLIN_REGION_BYTES; -ENOBUFS: DUNLIN_KEY_MAX bytes hold any. */
DUNLIN_API DUNLIN_MUST_USE int64_t dunlin_region_key(const void *key, size_t key_length,
                                                     const char *zone, void *buffer,
                                                     size_t capacity);

/* ---- transactions ---- */

enum dunlin_compare {
    DUNLIN_COMPARE_VERSION = 1, /* the newest version is expected; 0: there is no such key */
    DUNLIN_COMPARE_EXISTS = 2,
    DUNLIN_COMPARE_ABSENT = 3,
    DUNLIN_COMPARE_TOKEN = 4 /* the key is there, and expected is the fencing token it carries */
};
struct dunlin_condition {
    enum dunlin_compare compare;
    const void *key;
    size_t key_length;
    uint64_t expected; /* LSN of a version, or token */
};

/* All conditions are judged at one moment; if every one holds, then_writes are done, else else_writes: all
 * of a branch or nothing, visible together, and at most once.  Every key belongs to one shard (-EXDEV).
 * At most 64 conditions and writes together, and as much in a branch as a segment of the space holds
 * (-EMSGSIZE).  Of a write, operation, key, value, ttl and delta count; its compare must be 0.  No key is
 * written twice in a branch (-EINVAL).  A key that is to be deleted and is not there is no failure. */
struct dunlin_transaction {
    const struct dunlin_condition *conditions;
    size_t condition_count; /* 0: then_writes are done */
    const struct dunlin_write *then_writes;
    size_t then_count;
    const struct dunlin_write *else_writes;
    size_t else_count;
};
struct dunlin_transaction_result {
    int branch;                    /* 1: then_writes, 0: else_writes */
    struct dunlin_version version; /* of the last write; lsn 0: nothing had to be changed */
};

/* Carry it out, and wait until it is committed.  result may be NULL.  Returns 0: one of the branches was
 * done, or
 *   -ECANCELED      a condition does not hold, and else_writes are none: nothing was done;
 *                   result->version is what stands at the first such key
 *   -EDOM, -ERANGE  an increment cannot be done: nothing was; result->version stands at that key. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_transaction(struct dunlin_space *space,
                                                  const struct dunlin_transaction *transaction,
                                                  struct dunlin_transaction_result *result);

/* As dunlin_submit; its completion says the branch in number. */
DUNLIN_API DUNLIN_MUST_USE int
dunlin_submit_transaction(struct dunlin_space *space, const struct dunlin_transaction *transaction,
                          uint64_t context);

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
 * the first time, or -EOWNERDEAD: its fate is unknown still.  dunlin_last_write then names it, if nobody
 * answered in time (no daemon, no leader: repeat it once more), or nothing, if its session is forgotten (then
 * read before writing). */
DUNLIN_API DUNLIN_MUST_USE int dunlin_retry(struct dunlin_space *space,
                                            const struct dunlin_write_id *id,
                                            const struct dunlin_write *write,
                                            struct dunlin_version *version);
/* The same of an increment, with the value that it made, and of a transaction. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_retry_increment(struct dunlin_space *space,
                                                      const struct dunlin_write_id *id,
                                                      const struct dunlin_write *write,
                                                      int64_t *value,
                                                      struct dunlin_version *version);
DUNLIN_API DUNLIN_MUST_USE int
dunlin_retry_transaction(struct dunlin_space *space, const struct dunlin_write_id *id,
                         const struct dunlin_transaction *transaction,
                         struct dunlin_transaction_result *result);

/* ---- watching ---- */

/* What was committed, as it is committed: a watch reads the logs of a space's shards in place, at any node
 * of the cluster, and costs the daemon nothing.
 *
 * Order      per shard, as in its log; of two shards nothing is said.  Transactions come whole, the last
 *            event of each with last = 1.
 * Once       every event, unless a lag is told: -ENODATA.  Then what lies between is gone (read the keys
 *            that matter), and the next call goes on at the oldest that is kept.  A lag comes to who does
 *            not keep up with what the space's quota keeps; where a majority was lost; where this node, or
 *            the daemon, begins anew from what others hold.
 * Position   of a watch as text, "LOG.LSN" of every shard with commas between; it outlives the program, and
 *            is good at every node.  A version is one, too: what it names is the first event of its shard.
 * Waiting    a call that finds nothing sleeps; events come within a few milliseconds, and within a few
 *            dozen where most of what is written does not match.
 * Daemon     when it dies and comes back, or the space's chunks grow, the watch goes on by itself. */
struct dunlin_watch;

enum dunlin_event_kind {
    DUNLIN_EVENT_PUT = 1,
    DUNLIN_EVENT_DELETE = 2,
    DUNLIN_EVENT_EXPIRE = 3 /* the key's ttl, or its lease, ran out */
};

struct dunlin_event {
    enum dunlin_event_kind kind;
    int last;        /* 1: there is no more of its transaction */
    const void *key; /* this and value: good until the watch's next call */
    size_t key_length;
    const void *value; /* NULL but for PUT */
    size_t value_length;
    struct dunlin_version version;
    uint64_t clock_ns; /* since 1970, by the writer's clock, made to grow within a shard */
};

/* Which keys: those that begin with prefix; or those that pattern matches, whose levels are separated by
 * '/': a level * is any one level, a last level > is one or more; or, with neither, all.
 * From where: "now" or NULL, "oldest" (that is kept), or a position; shards that it does not name begin
 * now. */
struct dunlin_watch_options {
    const void *prefix;
    size_t prefix_length;
    const void *pattern;
    size_t pattern_length;
    const char *from;
};

/* options may be NULL: all keys from now on.  Returns 0 and *watch, to be closed before its handle, or
 * -EINVAL (a pattern with > inside, both of prefix and pattern, no such position in this space),
 * -EMSGSIZE (longer than any key), -ENOENT, -ENOTCONN, -ENOMEM. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_watch_open(struct dunlin_space *space,
                                                 const struct dunlin_watch_options *options,
                                                 struct dunlin_watch **watch);
DUNLIN_API void dunlin_watch_close(struct dunlin_watch *watch);

/* Wait up to timeout_ns for events (0: do not wait).  Returns how many were stored (1 .. capacity), 0 when
 * the time is up, or
 *   -ENODATA   lagged: see dunlin_watch_lagged; call again to go on
 *   -ENOTCONN  the time is up, and no daemon is there: call again
 *   -ENOENT    the daemon has no such space now: call again later
 *   -EPROTO    the space is another one than it was (open the watch anew), or its memory is damaged
 *   -ENOMEM, -EINVAL. */
DUNLIN_API DUNLIN_MUST_USE int64_t dunlin_watch_next(struct dunlin_watch *watch,
                                                     struct dunlin_event *events, size_t capacity,
                                                     uint64_t timeout_ns);

/* The last lag: in which log, and from where, it goes on; and how many bytes of the log were missed.
 * version and missed may be NULL. */
DUNLIN_API void dunlin_watch_lagged(const struct dunlin_watch *watch,
                                    struct dunlin_version *version, uint64_t *missed);

/* The position behind the last event given out (of a transaction that was given out in part: in front of
 * it), as text that ends with 0.  Returns its length, or -ENOBUFS: 42 bytes per shard are enough. */
DUNLIN_API DUNLIN_MUST_USE int64_t dunlin_watch_position(const struct dunlin_watch *watch,
                                                         char *buffer, size_t capacity);

/* ---- the daemon ---- */

struct dunlin_info {
    uint64_t start; /* number of the daemon's start: changes when it was restarted */
    uint32_t node_id;
    uint32_t lcores;
    uint64_t lease_ns;
    uint64_t attached_count;                               /* times this handle attached */
    uint64_t reads_in_place, reads_by_ring, reads_retried; /* of this handle */
    uint64_t ended_not_led; /* reads and writes given up while this node did not lead the shard */
    /* By the policies: submits that waited, writes that were dropped, replaced, left out by sampling. */
    uint64_t writes_blocked, writes_dropped, writes_conflated, writes_sampled;
};
DUNLIN_API void dunlin_info(const struct dunlin *handle, struct dunlin_info *info);

/* Ask the daemon for its status as JSON text into buffer (ends with 0).  Returns the length, or
 * -ENOBUFS, -ENOTCONN. */
DUNLIN_API DUNLIN_MUST_USE int64_t dunlin_status_json(struct dunlin *handle, char *buffer,
                                                      size_t capacity);

/* ---- the cluster ---- */

/* Ask the daemon for its cluster as JSON text, as dunlin_status_json: its name, this node's id, how
 * many shards there are, are moving, are without an active leader (pending), lost for good, or held
 * by nobody any more (gone); the nodes with their addresses, zone, weight and standing ("member",
 * "draining", "leaving"), whether this one has heard of them lately (up, heard_ms), in how many shards each
 * votes and learns, how many each leads, and how many bytes of log each has yet to acknowledge of the shards led here (lag, their sum; lag_max, of one shard; lag_ms: missing for at
 * least so long; null when none is led here); who leads which shards (leaders); how many voters a shard is
 * to have (replicas), and the redundancy: the least number of voters of any shard that are up and hold all
 * of it, as far as is known here (least), shards with fewer than there are to be (below), and shards whose
 * members or leader change (changing).  Returns the length, or -EOPNOTSUPP (the node is alone), -ENOBUFS, -ENOTCONN, -EPROTO (an older daemon). */
DUNLIN_API DUNLIN_MUST_USE int64_t dunlin_nodes_json(struct dunlin *handle, char *buffer,
                                                     size_t capacity);

/* Ask the daemon for all shards as JSON text, as dunlin_status_json: of each its space, number, leader, epoch,
 * role of this node, state, where its log begins (lsn_start: a space that is made again begins elsewhere), commit
 * LSN, log end, keys, bytes, lcore, in a cluster who votes (voters) and who only holds it (learners), and, where
 * it is led here, how many bytes of log each other node has yet to acknowledge (lag).  800 bytes per shard are
 * enough.  Returns the length, or -ENOBUFS, -ENOTCONN, -EPROTO (an older daemon). */
DUNLIN_API DUNLIN_MUST_USE int64_t dunlin_shards_json(struct dunlin *handle, char *buffer,
                                                      size_t capacity);

#define DUNLIN_SHARDS_ALL UINT32_MAX

/* Have a node lead shards: all there are (space NULL or empty, shard DUNLIN_SHARDS_ALL), those of a
 * space, or one of them.  Writes and reads go on meanwhile.  Returns how many are to move, 0 if it
 * leads them all or is to; each has moved when its state in dunlin_shards_json is "moving" no more, all when
 * "moving" of dunlin_nodes_json is 0.  Or
 *   -EACCES      you are neither root nor the daemon's user
 *   -EOPNOTSUPP  the node is alone
 *   -ENOENT      no such node, space or shard
 *   -EAGAIN      a shard has no leader yet: the cluster, or a space, begins; try again
 *   -EBUSY       the control log does not answer: most of its voters are down, or it has no leader just now;
 *                asking again does no harm
 *   -EBADMSG     the control log's leader is of an older release
 *   -EINVAL      node 0, a name too long, a shard without its space
 *   -ENOTCONN    unavailable; asking twice does no harm
 *   -EPROTO      an older daemon; other: the coordinator's own, see the daemon's log. */
DUNLIN_API DUNLIN_MUST_USE int64_t dunlin_move(struct dunlin *handle, uint32_t node,
                                               const char *space, uint32_t shard);

/* Spaces made, altered and dropped while the daemons run; of a cluster at any of its nodes.  For root and for the
 * daemon's own user.
 * words: lines KEY=VALUE with the keys of a space in the configuration, but for its id, like
 *   "name=orders\nquota=64MiB\nread=any\nwrite=1000,1001\n"
 * To create, name and whatever shall not have its default (quota_max: four times the quota); to alter, some of
 * quota (up to quota_max; less refuses writes that need more, at once), history, history_time, session_ttl,
 * read, write.  id 0: one that is free.  A space is served when all nodes that are up have made it; until then its
 * operations are unavailable.  Who uses one that is dropped gets -ENOENT, and what was under way -EOWNERDEAD; one
 * that is made again under its name is found by the same handle, and its versions are above all that there were.
 * Return the id, or
 *   -EACCES      you are neither root nor the daemon's user
 *   -EEXIST      there is a space of that name, or the id is used; of one that is being dropped it is, too
 *   -ENOENT      no such space
 *   -EPERM       it is the configuration's: change that, on all nodes
 *   -EINVAL      words that are no such keys or values, a name too long
 *   -ENOSPC      the quota is too small for the shards, or no id is free
 *   -EDQUOT      a quota above quota_max
 *   -EOPNOTSUPP  this daemon makes no spaces while it runs (dunlind dev of several nodes)
 *   -ENOMEM      no memory for it at this node
 *   -EBUSY, -EBADMSG, -ENOTCONN, -EPROTO  as dunlin_move */
DUNLIN_API DUNLIN_MUST_USE int dunlin_space_create(struct dunlin *handle, const char *name,
                                                   uint32_t id, const char *words);
DUNLIN_API DUNLIN_MUST_USE int dunlin_space_alter(struct dunlin *handle, const char *name,
                                                  const char *words);
DUNLIN_API DUNLIN_MUST_USE int dunlin_space_drop(struct dunlin *handle, const char *name);

/* Nodes that come and go while the cluster runs, asked for at any of its nodes.  For root and for the daemon's own
 * user.
 * words: lines KEY=VALUE with the keys of a node in the configuration, but for its id, like
 *   "address=10.0.0.4:7700\ncontrol=10.0.1.4:7700\nzone=hall-2\nweight=100\n"
 *   of which address is needed; control is by default the same.
 * add     the node may come: its daemon is started with a configuration of its own that lists all nodes
 * drain   it votes and leads no more, as soon as others can in its place; it holds and reads on.  undo: that it
 *         is not to be so any more
 * remove  the same, and when others can do without it, it is none of the cluster any more and its daemon ends
 * Return 0: it is decided, and goes on by itself (see dunlin_nodes_json); or
 *   -EACCES      you are neither root nor the daemon's user
 *   -EEXIST      add: there is a node of that id
 *   -EADDRINUSE  add: another node has that address, or one so near that ports of its lcores are the same
 *   -EAFNOSUPPORT  add: the cluster's addresses are of the other family
 *   -ENOSPC      add: there are as many nodes as there can be
 *   -ENOENT      there is no such node
 *   -EPERM       fewer than two nodes that vote would stay
 *   -EHOSTDOWN   drain, remove: of the nodes that would vote on a shard then, most are not up.  Start them, or
 *                remove them first
 *   -EAGAIN      the cluster has not begun yet
 *   -EINVAL      node 0, words that are no such keys or values
 *   -EOPNOTSUPP  the node is alone
 *   -EBUSY       the control log does not answer: most of its voters are down, or it has no leader just now; what
 *                was asked may be done all the same, and asking again does no harm
 *   -EBADMSG     the control log's leader is of an older release
 *   -ENOTCONN, -EPROTO  as dunlin_move */
DUNLIN_API DUNLIN_MUST_USE int dunlin_node_add(struct dunlin *handle, uint32_t node,
                                               const char *words);
DUNLIN_API DUNLIN_MUST_USE int dunlin_node_drain(struct dunlin *handle, uint32_t node, int undo);
DUNLIN_API DUNLIN_MUST_USE int dunlin_node_remove(struct dunlin *handle, uint32_t node);

/* Begin shards again whose majority is lost for good, from what those voters hold that are up: what only the lost
 * ones held is lost, although it was acknowledged.  A space, or one shard of it; from: the node whose log it is
 * to be, 0: the best there is.  For root and for the daemon's own user.
 * Returns how many begin again, 0 if none of them is lost, or
 *   -ENOENT      no such space or shard, or that node is no survivor of one
 *   -EACCES, -EINVAL, -EAGAIN, -EOPNOTSUPP, -EBUSY, -EBADMSG, -ENOTCONN, -EPROTO  as dunlin_node_add */
DUNLIN_API DUNLIN_MUST_USE int64_t dunlin_recover(struct dunlin *handle, const char *space,
                                                  uint32_t shard, uint32_t from);

/* Number of the shard that a key of the space belongs to, as dunlin_move takes it.  Or
 *   -EINVAL, -EMSGSIZE  no key, or one that is too long
 *   -ENOTCONN           the space is not known now */
DUNLIN_API DUNLIN_MUST_USE int64_t dunlin_shard(const struct dunlin_space *space, const void *key,
                                                size_t key_length);

/* One round trip through lcore's ring; says nothing about writes that were sent before. */
DUNLIN_API DUNLIN_MUST_USE int dunlin_ping(struct dunlin *handle, uint32_t lcore);

#ifdef __cplusplus
}
#endif
#endif
