#include "engine/plant.h"

#include <string.h>

static const char *const names[PLANT_COUNT] = {
    [PLANT_NONE] = "none",
    [PLANT_COMPARE_IGNORED] = "compare-ignored",
    [PLANT_ACK_BEFORE_APPEND] = "ack-before-append",
    [PLANT_REUSE_BEFORE_GRACE] = "reuse-before-grace",
    [PLANT_COMMIT_WITHOUT_MAJORITY] = "commit-without-majority",
    [PLANT_COMMIT_OLD_EPOCH_BY_COUNT] = "commit-old-epoch-by-count",
    [PLANT_HOLDER_NOT_WAITED_FOR] = "holder-not-waited-for",
    [PLANT_SKIP_SEAL] = "skip-seal",
    [PLANT_ONE_EPOCH_PAIR] = "one-epoch-pair",
    [PLANT_LOSSY_FLOOR_IGNORED] = "lossy-floor-ignored",
    [PLANT_COMMIT_BEFORE_CUT] = "commit-before-cut",
    [PLANT_ACK_BEFORE_CHECK] = "ack-before-check",
    [PLANT_CORRUPT_IS_ABSENT] = "corrupt-is-absent",
    [PLANT_VOTE_AFTER_AMNESIA] = "vote-after-amnesia",
    [PLANT_SEAL_WITHOUT_WAIT] = "seal-without-wait",
    [PLANT_ACK_AFTER_SEAL] = "ack-after-seal",
    [PLANT_LEASE_FROM_ECHO] = "lease-from-echo",
    [PLANT_LEASE_BEFORE_ACTIVE] = "lease-before-active",
    [PLANT_READ_LEASE_SHORT] = "read-lease-short",
    [PLANT_SHOW_ABOVE_INDEXED] = "show-above-indexed",
    [PLANT_RETRY_APPLIED_TWICE] = "retry-applied-twice",
    [PLANT_ANSWER_UNCOMMITTED] = "answer-uncommitted",
    [PLANT_GENERATION_IGNORED] = "generation-ignored",
    [PLANT_REWRITE_IN_PLACE] = "rewrite-in-place",
    [PLANT_OLD_LIST_ECHOED] = "old-list-echoed",
    [PLANT_HAND_OVER_DELAYED] = "hand-over-delayed",
    [PLANT_CLOCK_READ_ONCE] = "clock-read-once",
    [PLANT_SAME_EPOCH_TWICE] = "same-epoch-twice",
    [PLANT_HALF_TRANSACTION] = "half-transaction",
    [PLANT_HOLDS_IGNORED] = "holds-ignored",
    [PLANT_VERSION_TRIMMED_EARLY] = "version-trimmed-early",
    [PLANT_LINK_NOT_SWUNG] = "link-not-swung",
    [PLANT_ANNOUNCE_UNCHECKED] = "announce-unchecked",
    [PLANT_QUARANTINE_SKIPPED] = "quarantine-skipped",
    [PLANT_GRANT_OUTLIVES_SEAL] = "grant-outlives-seal",
    [PLANT_BOARD_AFTER_ECHO] = "board-after-echo",
    [PLANT_READ_DEADLINE_BEFORE_LOADS] = "read-deadline-before-loads",
    [PLANT_BATCH_LSN_PER_KEY] = "batch-lsn-per-key",
    [PLANT_INCREMENT_APPLIED_TWICE] = "increment-applied-twice",
    [PLANT_ELSE_IGNORES_CONDITION] = "else-ignores-condition",
    [PLANT_CURSOR_UNVALIDATED] = "cursor-unvalidated",
    [PLANT_CURSOR_HALF_TRANSACTION] = "cursor-half-transaction",
    [PLANT_TTL_COUNTED_FROM_WRITE] = "ttl-counted-from-write",
    [PLANT_TTL_COUNTED_FROM_PASS] = "ttl-counted-from-pass",
    [PLANT_LEASE_TOKEN_REUSED] = "lease-token-reused",
    [PLANT_EXPIRED_TOO_SOON] = "expired-too-soon",
    [PLANT_ORDER_NOT_UNDONE] = "order-not-undone",
    [PLANT_NODE_VERSION_SKIPPED] = "node-version-skipped",
    [PLANT_LEASE_AFTER_AMNESIA] = "lease-after-amnesia",
    [PLANT_LEADER_LEASE_FROM_ANSWER] = "leader-lease-from-answer",
    [PLANT_LEASE_OVER_UNBOUND] = "lease-over-unbound",
    [PLANT_LEADER_RATE_IGNORED] = "leader-rate-ignored",
    [PLANT_CHUNK_GENERATION_IGNORED] = "chunk-generation-ignored",
    [PLANT_INCREMENT_WRAPS] = "increment-wraps",
    [PLANT_NOT_NUMBER_IS_ZERO] = "not-number-is-zero",
    [PLANT_SESSION_FORGOTTEN_APPLIED] = "session-forgotten-applied",
    [PLANT_POSITION_UNJUDGED] = "position-unjudged",
    [PLANT_SPAN_HALVED] = "span-halved",
    [PLANT_CUT_IS_NOTHING] = "cut-is-nothing",
    [PLANT_HORIZON_SKIPPED] = "horizon-skipped",
    [PLANT_BUCKET_EMPTIED] = "bucket-emptied",
    [PLANT_ACTIVATE_UNCHECKED] = "activate-unchecked",
    [PLANT_START_REUSED] = "start-reused",
    [PLANT_CEILING_IGNORED] = "ceiling-ignored",
    [PLANT_RAFT_ACK_BEFORE_SYNC] = "raft-ack-before-sync",
    [PLANT_RAFT_STANDBY_REFUSES] = "raft-standby-refuses",
    [PLANT_RAFT_DEMOTED_AT_ONCE] = "raft-demoted-at-once",
    [PLANT_RAFT_CHANGE_LATE] = "raft-change-late",
    [PLANT_RAFT_VOTERS_AT_ONCE] = "raft-voters-at-once",
    [PLANT_LEASE_OF_OLD_VOTERS] = "lease-of-old-voters",
    [PLANT_REMOVED_NODE_COUNTED] = "removed-node-counted",
    [PLANT_LOST_DIRECTORY_VOTES] = "lost-directory-votes",
};

#ifdef DUNLIN_PLANT
enum plant plant_active = PLANT_NONE;
#endif

const char *plant_name(enum plant plant)
{
    return (unsigned)plant < PLANT_COUNT ? names[plant] : NULL;
}

int plant_set(const char *name)
{
    for (unsigned i = 0; i < PLANT_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
#ifdef DUNLIN_PLANT
            plant_active = (enum plant)i;
            return 0;
#else
            return -ENOTSUP;
#endif
        }
    }
    return -ENOENT;
}
