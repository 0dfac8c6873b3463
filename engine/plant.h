/* plant - known bugs that a build with -Dplant=true can switch on by name, to see that the checks
 * of the demo, the simulator and the tests fail.  In every other build PLANTED() is the constant
 * false. Set before any thread starts; constant afterwards. */
#ifndef DUNLIN_ENGINE_PLANT_H
#define DUNLIN_ENGINE_PLANT_H

#include "engine/base.h"

enum plant {
    PLANT_NONE = 0,
    PLANT_COMPARE_IGNORED,    /* a compare always holds */
    PLANT_ACK_BEFORE_APPEND,  /* one write in 64 is acknowledged and dropped */
    PLANT_REUSE_BEFORE_GRACE, /* memory is reused without grace period, pins or stamp */
    /* of the replication core; found by the simulator */
    PLANT_COMMIT_WITHOUT_MAJORITY,   /* the leader's own copy commits */
    PLANT_COMMIT_OLD_EPOCH_BY_COUNT, /* records of older epochs commit without one of this epoch */
    PLANT_HOLDER_NOT_WAITED_FOR,     /* commit without the holders of read leases */
    PLANT_SKIP_SEAL,                 /* a new leader recovers from its own log alone */
    PLANT_ONE_EPOCH_PAIR,            /* the cut looks at the last epoch only, not at the table */
    PLANT_LOSSY_FLOOR_IGNORED,       /* a lossy epoch goes on right behind the survivor's end */
    PLANT_COMMIT_BEFORE_CUT,         /* a follower takes over a commit LSN before it joined */
    PLANT_ACK_BEFORE_CHECK,          /* bytes are acknowledged as they arrive */
    PLANT_CORRUPT_IS_ABSENT,   /* a recovering leader takes a damaged range for the log's end */
    PLANT_VOTE_AFTER_AMNESIA,  /* a restarted voter answers seals as who it was */
    PLANT_SEAL_WITHOUT_WAIT,   /* a seal is answered before the last promise ran out */
    PLANT_ACK_AFTER_SEAL,      /* a sealed voter goes on acknowledging the old epoch */
    PLANT_LEASE_FROM_ECHO,     /* the right to read runs from the echo's arrival, not the ask */
    PLANT_LEASE_BEFORE_ACTIVE, /* asks from before activation give a right */
    PLANT_READ_LEASE_SHORT,    /* a holder answers before its log reached the grant's end */
    PLANT_SHOW_ABOVE_INDEXED,  /* a follower shows the leader's commit LSN above its own end */
    PLANT_RETRY_APPLIED_TWICE, /* a sequence that was applied is applied again */
    PLANT_ANSWER_UNCOMMITTED, /* a read by the ring is answered at a record that is not committed */
    PLANT_GENERATION_IGNORED, /* a lease granted anew validates what was loaded before it */
    PLANT_OLD_LIST_ECHOED,    /* an echo of an older list counts for what was added since */
    PLANT_HAND_OVER_DELAYED,  /* a delayed notice of a hand-over voids what was promised since */
    PLANT_CLOCK_READ_ONCE,    /* an answer leaves by the clock of the pass's start */
    PLANT_SAME_EPOCH_TWICE,   /* a restarted leader recovers its epoch again */
    PLANT_ANNOUNCE_UNCHECKED, /* what a leader says to have written is taken for received unseen */
    PLANT_QUARANTINE_SKIPPED, /* a granted segment is reused before its grant is returned */
    PLANT_GRANT_OUTLIVES_SEAL, /* a segment granted in an older epoch stays the log's tail */
    PLANT_HALF_TRANSACTION,    /* a follower takes each record for the end of its transaction */
    PLANT_BOARD_AFTER_ECHO,    /* frames leave before boards say what they tell of */
    PLANT_READ_DEADLINE_BEFORE_LOADS, /* a reader judges its lease before it knows what it found */
    PLANT_BATCH_LSN_PER_KEY, /* a batch of reads sees each key at the commit LSN of its own moment */
    PLANT_VERSION_TRIMMED_EARLY, /* a chain is cut one version too early */
    PLANT_LINK_NOT_SWUNG, /* an older version is copied forward, and its link leads where it was */
    /* found by readers interleaved with a follower */
    PLANT_REWRITE_IN_PLACE, /* after a cut the log goes on in the same segment, not in a copy */
    PLANT_HOLDS_IGNORED,    /* memory is reused while a transport still reads it */
    /* found by the model of a shard */
    PLANT_INCREMENT_APPLIED_TWICE, /* an increment that was applied is applied again */
    PLANT_ELSE_IGNORES_CONDITION,  /* the else branch is done whether or not the conditions hold */
    /* found by cursors interleaved with a writer */
    PLANT_CURSOR_UNVALIDATED,      /* a cursor gives out what it read without R6 */
    PLANT_CURSOR_HALF_TRANSACTION, /* a cursor takes each record for the end of its transaction */
    /* of keys that expire, and leases */
    PLANT_TTL_COUNTED_FROM_WRITE, /* a new leader counts a ttl from what the record says */
    PLANT_TTL_COUNTED_FROM_PASS,  /* a ttl is counted by the clock of the pass's start */
    PLANT_LEASE_TOKEN_REUSED,     /* a release does not look at the token */
    PLANT_EXPIRED_TOO_SOON,       /* a ttl is over after half of it */
    /* of the ordered index */
    PLANT_ORDER_NOT_UNDONE,     /* a cut leaves a key in it that it takes out of the index */
    PLANT_NODE_VERSION_SKIPPED, /* nodes are written under their readers without a new version */
    /* of chunks that go and come again */
    PLANT_CHUNK_GENERATION_IGNORED, /* a reader goes on with what it mapped of the chunk before */
    /* of leader leases, found by their own simulation */
    PLANT_LEASE_AFTER_AMNESIA,      /* a restarted control voter answers at once */
    PLANT_LEADER_LEASE_FROM_ANSWER, /* a leader lease runs from the answer's arrival, not the ask */
    PLANT_LEASE_OVER_UNBOUND,       /* a control voter grants what it has said to be over */
    PLANT_LEADER_RATE_IGNORED,      /* leader leases take all clocks to go alike */
    /* of what is counted with, sessions, and scans at followers */
    PLANT_INCREMENT_WRAPS,           /* a sum past the largest goes on at the smallest */
    PLANT_NOT_NUMBER_IS_ZERO,        /* what is no number counts as 0 */
    PLANT_SESSION_FORGOTTEN_APPLIED, /* a write of a session that is forgotten is applied */
    PLANT_POSITION_UNJUDGED,         /* a position leaves though somebody else may lead by now */
    /* of history */
    PLANT_SPAN_HALVED,     /* versions are kept for half the time that the space says */
    PLANT_CUT_IS_NOTHING,  /* a trimmed chain ends as if there had never been more */
    PLANT_HORIZON_SKIPPED, /* a tombstone is given up, and what was there before with it, untold */
    /* of the index */
    PLANT_BUCKET_EMPTIED, /* a bucket that has moved is emptied under its readers */
    /* of the control plane, found by its own scenario */
    PLANT_ACTIVATE_UNCHECKED,   /* an epoch is made active by who led another one */
    PLANT_START_REUSED,         /* a daemon starts again under its old number */
    PLANT_CEILING_IGNORED,      /* what begins again begins where the first logs did */
    PLANT_RAFT_ACK_BEFORE_SYNC, /* the control log is acknowledged before it is on the disk */
    PLANT_RAFT_STANDBY_REFUSES, /* who does not know yet that it votes refuses to */
    PLANT_RAFT_CHANGE_LATE,     /* a change of control voters counts when it is on the disk */
    PLANT_RAFT_DEMOTED_AT_ONCE, /* a control voter hears of its demotion before that is committed */
    PLANT_RAFT_VOTERS_AT_ONCE,  /* control voters change without a lease between */
    PLANT_LEASE_OF_OLD_VOTERS,  /* a grant counts, whatever set of voters its voter is of */
    PLANT_REMOVED_NODE_COUNTED, /* a node that was removed is granted leases */
    PLANT_LOST_DIRECTORY_VOTES, /* a control voter that lost its directory takes part */
    PLANT_COUNT
};

#ifdef DUNLIN_PLANT
extern enum plant plant_active;
#define PLANTED(name) UNLIKELY(plant_active == PLANT_##name)
#else
#define PLANTED(name) false
#endif

/* Name of a plant as people type it, NULL above PLANT_COUNT - 1. */
const char *plant_name(enum plant plant);

/* Switch one on.  Returns 0, -ENOENT (no such name), -ENOTSUP (not a -Dplant=true build). */
MUST_USE int plant_set(const char *name);

#endif
