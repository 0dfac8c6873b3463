# shellcheck shell=bash
# Bugs of the replication core that -Dplant=true can switch on; the rest of the list is found by the demo.
sim_bugs=(commit-without-majority commit-old-epoch-by-count holder-not-waited-for skip-seal
    one-epoch-pair commit-before-cut ack-before-check corrupt-is-absent vote-after-amnesia
    seal-without-wait ack-after-seal lease-from-echo lease-before-active read-lease-short
    show-above-indexed generation-ignored retry-applied-twice answer-uncommitted)

suite_sim() {
    local bug
    meson_tests sim plain sim
    build sim plant || return 1
    for bug in "${sim_bugs[@]}"; do
        script_test sim "planted/$bug" 300 tests/sim/planted.sh build/plant/tests/sim/dunlin-sim "$bug"
    done
}
