# shellcheck shell=bash
# Bugs of the core that -Dplant=true can switch on; the rest of the list is found by the demo,
# or, as below, by readers interleaved with a follower.
sim_bugs=(commit-without-majority commit-old-epoch-by-count holder-not-waited-for skip-seal
    one-epoch-pair commit-before-cut ack-before-check corrupt-is-absent vote-after-amnesia
    seal-without-wait ack-after-seal lease-from-echo lease-before-active read-lease-short
    show-above-indexed generation-ignored retry-applied-twice answer-uncommitted
    hand-over-delayed clock-read-once same-epoch-twice holds-ignored reuse-before-grace
    rewrite-in-place half-transaction
    announce-unchecked quarantine-skipped grant-outlives-seal
    board-after-echo read-deadline-before-loads batch-lsn-per-key
    else-ignores-condition increment-applied-twice ttl-counted-from-write ttl-counted-from-pass
    expired-too-soon lease-token-reused version-trimmed-early link-not-swung cursor-half-transaction
    order-not-undone node-version-skipped cursor-unvalidated increment-wraps not-number-is-zero
    session-forgotten-applied position-unjudged span-halved cut-is-nothing horizon-skipped)

suite_sim() {
    local bug
    meson_tests sim plain sim
    build sim plant || return 1
    for bug in "${sim_bugs[@]}"; do
        script_test sim "planted/$bug" 300 tests/sim/planted.sh build/plant/tests/sim/dunlin-sim "$bug"
    done
    # It takes an echo on its way while a shard is added, the next pulse lost, and another seal at once.
    script_test sim planted/old-list-echoed 300 tests/sim/planted.sh \
        build/plant/tests/sim/dunlin-sim old-list-echoed leader-moves
    # It takes thousands of keys, and a reader that stands still while its bucket moves.
    script_test sim planted/bucket-emptied 300 tests/sim/planted.sh \
        build/plant/tests/sim/dunlin-sim bucket-emptied growth
    script_test sim planted/lossy-floor-ignored 300 tests/sim/planted.sh \
        build/plant/tests/sim/dunlin-sim lossy-floor-ignored lost-majority
    for bug in lease-after-amnesia leader-lease-from-answer lease-over-unbound activate-unchecked start-reused \
        ceiling-ignored raft-ack-before-sync lost-directory-votes \
        raft-change-late raft-standby-refuses raft-voters-at-once raft-demoted-at-once lease-of-old-voters removed-node-counted; do
        script_test sim "planted/$bug" 300 tests/sim/planted.sh build/plant/tests/sim/dunlin-sim "$bug" control
    done
    for bug in rewrite_in_place reuse_before_grace; do
        script_test sim "planted/read-$bug" 300 \
            build/plant/tests/unit/engine/test_engine_read_interleaved_follow "planted_${bug}_is_found"
    done
    script_test sim planted/leader-lease 300 \
        build/plant/tests/unit/control/test_control_leader_lease_random planted_bugs_are_found
}
