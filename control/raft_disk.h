/* raft_disk - the disk of a node that takes part in the control plane: the file body of libraft's raft_io.
 *
 * One directory (mode 0700, its file `lock` flocked: one process at a time), in it
 *   metadata1, metadata2                term and vote, written alternately            raft_disk_meta.h
 *   log-COUNTER-FIRST-LAST, open-COUNTER  segments of the log; only the newest is open  raft_disk_log.h
 *   snapshot-TERM-INDEX                 the newest snapshot, whole or not there at all  raft_disk_snapshot.h
 *   reserve                             the next segment, zeros; given up for metadata if the disk is full
 *   NAME.new                            what NAME becomes; whatever a crash left of it is removed
 * Formats: raft_disk_format.h.  All bytes have checksums that name cluster, node, file and place.
 *
 * Writes and syncs run off the loop, one after the other in the order in which they were asked for; appends
 * that wait become one write and one sync.  Callbacks come from the loop, never from within the call.  Term
 * and vote are written within the call, as libraft wants it.
 *
 * A write that failed.  All that waits behind it fails, too, and so does every later append, truncate and
 * snapshot_put, with the same code, until the directory is closed and opened again (raft_close, then a new
 * instance: no restart of the process).  Two reasons:
 *   libraft   an append carries no index.  After a failed one a follower keeps the entries in memory, and its
 *             next append would be written where they are missing; a leader (0.15) drops them, stays leader,
 *             and uses their index again in the same term, after it has sent them to others.  Either way two
 *             nodes end with different entries under one index and term.  Only a new instance, which knows
 *             what the disk holds, is safe; `failed` says when: from then on nothing may be sent or proposed.
 *   fsync     after one failed, pages that are not on the disk may read as if they were, also for the next
 *             process.  So raft_disk_load trusts no open segment: it writes what it read of it to a new file,
 *             and syncs that.
 * Opening again succeeds only when the reserve can be made, so that a full disk is left alone until there is
 * room.  Failures are told newest first: libraft 0.15 takes the entries of a failed append out of its log
 * from their index on, and runs wild when they are gone already.
 *
 * Damage.  Term, vote and log entries that were acknowledged are promises to other nodes: what cannot be read
 * is unknown, never absent, and raft_disk_load says RAFT_CORRUPT, with file and place.  Only the last write
 * of the last segment may be cut, and only where it is certain that its sync had not returned:
 * raft_disk_format.h.
 *
 * Thread: the loop's, all calls and all callbacks.
 * Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014), 3.8; Pillai et al., "All File Systems Are
 * Not Created Equal" (OSDI 2014); Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage"
 * (FAST 2018); Rebello et al., "Can Applications Recover from fsync Failures?" (USENIX ATC 2020). */
#ifndef DUNLIN_CONTROL_RAFT_DISK_H
#define DUNLIN_CONTROL_RAFT_DISK_H

#include "engine/base.h"

#include <raft.h>
#include <uv.h>

struct raft_disk;

struct raft_disk_config {
    uv_loop_t *loop;
    const char *directory; /* made if it is not there; its parent must be */
    uint64_t cluster, node;
    /* A write failed, with this RAFT_ code: called once, before the callbacks of what failed.  The raft
     * instance must be closed: send nothing, propose nothing from here on.  May be NULL. */
    void (*failed)(void *context, int status);
    void *context;
};

/* Lock the directory, make what is not there, look at the metadata.  Returns 0, or with nothing left open
 *   -EWOULDBLOCK  another process has it
 *   -ENOSPC       no room for one segment: try again later
 *   -ENOMEM, or another -errno of the files. */
MUST_USE int raft_disk_open(struct raft_disk **d, const struct raft_disk_config *config);

/* What the disk holds; all of it is libraft's to free.  Before anything else is asked for.  Returns 0 or
 *   RAFT_CORRUPT  raft_disk_error says where; nobody touched it
 *   RAFT_NOSPACE, RAFT_IOERR, RAFT_NOMEM. */
/* NOLINTNEXTLINE(readability-function-size): as libraft's load */
MUST_USE int raft_disk_load(struct raft_disk *d, raft_term *term, raft_id *voted_for,
                            struct raft_snapshot **snapshot, raft_index *start_index,
                            struct raft_entry **entries, size_t *n_entries);

/* Look at what raft_disk_load would give, and no more: what is damaged is found.  As that. */
MUST_USE int raft_disk_look(struct raft_disk *d);

/* First configuration of a directory that has no term yet, else RAFT_CANTBOOTSTRAP; done again after a crash
 * in the middle.  Otherwise as raft_disk_load. */
MUST_USE int raft_disk_bootstrap(struct raft_disk *d, const struct raft_configuration *conf);
/* Append a configuration by force: raft_recover. */
MUST_USE int raft_disk_recover(struct raft_disk *d, const struct raft_configuration *conf);

/* On the disk when they return 0; RAFT_NOSPACE, RAFT_IOERR: unknown, call again.  A new term has no vote. */
MUST_USE int raft_disk_set_term(struct raft_disk *d, raft_term term);
MUST_USE int raft_disk_set_vote(struct raft_disk *d, raft_id server);

/* entries are the caller's, and stay as they are until cb.  Returns 0, RAFT_NOMEM, or RAFT_TOOBIG (an entry
 * above RAFT_DISK_ENTRY_MAX). */
MUST_USE int raft_disk_append(struct raft_disk *d, struct raft_io_append *req,
                              const struct raft_entry entries[], unsigned n, raft_io_append_cb cb);
/* Entries from index on are void for every later call; on the disk with the next append.  0 or RAFT_NOMEM. */
MUST_USE int raft_disk_truncate(struct raft_disk *d, raft_index index);

/* trailing: entries up to the snapshot's that are to be kept; 0: it was installed, and replaces the whole log
 * (so an own snapshot needs one at least: raft_set_snapshot_trailing).  The snapshot is the caller's, and
 * stays until cb.  0, RAFT_NOMEM, or RAFT_TOOBIG (RAFT_DISK_SNAPSHOT_MAX).  An own snapshot that failed for
 * want of space is just not there; failed is not called, the next one may work. */
MUST_USE int raft_disk_snapshot_put(struct raft_disk *d, unsigned trailing,
                                    struct raft_io_snapshot_put *req,
                                    const struct raft_snapshot *snapshot,
                                    raft_io_snapshot_put_cb cb);
/* cb gets the newest snapshot, which is then its receiver's.  0 or RAFT_NOMEM. */
MUST_USE int raft_disk_snapshot_get(struct raft_disk *d, struct raft_io_snapshot_get *req,
                                    raft_io_snapshot_get_cb cb);

/* Once it was loaded. */
raft_term raft_disk_term(const struct raft_disk *d);

/* Once it was loaded: no election and no entry has ever reached this directory, so its node has promised nothing
 * to anybody. */
bool raft_disk_is_new(const struct raft_disk *d);

/* Text of the last failure: what, which file, what to do; "" if there was none.  Good until the next call. */
const char *raft_disk_error(const struct raft_disk *d);
/* The last write failed for want of space, and none has worked since. */
bool raft_disk_is_full(const struct raft_disk *d);

/* Wait for what is under way; what waits gets RAFT_CANCELED; then closed, once, and d is gone. */
void raft_disk_close(struct raft_disk *d, void (*closed)(void *context), void *context);

#endif
