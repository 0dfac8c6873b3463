#!/usr/bin/env bash
# Linearizable scans at all nodes of a cluster, with read leases and without, while leadership moves and
# while no leader can be reached: nobody finds less than what was acknowledged elsewhere before.
#
#   cluster_scan.sh BUILD [leased|moves|alone]...
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

scans_go_on() { await 60 "reader $1 scans" agent_grows scans "$1.scanned" "$(agent scans "$1.scanned")" 20; }
# Why until then: a grant may have lapsed, or not be there yet.
few_asked() { [ "$(agent scans "$1.asked")" -lt "$(agent scans "$1.scanned")" ]; }
all_asked() { [ "$(agent scans "$1.asked")" -ge "$(agent scans "$1.scanned")" ]; }

# r0 and r1: followers under their leases; r2: one without; r3: the leader's own machine, without.
scans_start() {
    cluster_lead 1
    agent_start scans --writer "${sockets[1]}" --reader "${sockets[2]}" --reader "${sockets[3]}" \
        --unleased "${sockets[3]}" --unleased "${sockets[1]}" "$@"
}

scans_told() {
    local n words=()
    for n in 0 1 2 3; do
        words+=("r$n $(agent scans "r$n.scanned") scans, $(agent scans "r$n.asked") leaders asked")
    done
    told "$@" "${words[@]}"
}

# A scan has a page of each of eight shards: without a lease all their leaders are asked.
leased() {
    local n
    scene "scans at followers that hold leases, and without any"
    scans_start
    for n in 0 1 2 3; do
        scans_go_on "r$n"
    done
    await 60 "a follower under its lease reads in place" few_asked r0
    await 60 "a follower under its lease reads in place" few_asked r1
    check "without a lease the leader is asked" all_asked r2
    check "without a lease the leader is asked" all_asked r3
    check "no scan was refused" [ "$(agent scans r0.scans_refused)$(agent scans r2.scans_refused)" = 00 ]
    scans_told
    agent_end scans
}

moves() {
    local round n
    scene "scans while leadership moves"
    scans_start --pause-us 0
    for round in 2 3 1 3 2 1; do
        cluster_lead "$round" 1
        for n in 0 1 2 3; do
            scans_go_on "r$n"
        done
    done
    scans_told "6 moves"
    agent_end scans
}

# Two of three stand still: what was granted lapses, and then nothing linearizable can be said.
alone() {
    local n refused=()
    scene "scans where no leader can be reached"
    scans_start --timeout-ms 500
    for n in 1 2; do
        refused[n]=$(agent scans "r$n.scans_refused")
    done
    kill -STOP "${pids[1]}" "${pids[2]}"
    for n in 1 2; do
        await 60 "reader $n is refused" agent_grows scans "r$n.scans_refused" "${refused[n]}" 2
    done
    kill -CONT "${pids[1]}" "${pids[2]}"
    for n in 0 1 2 3; do
        scans_go_on "r$n"
    done
    check "refused as out of reach" [ "$(agent scans r1.other)$(agent scans r2.other)" = 00 ]
    scans_told "refused after at most $(agent scans r1.scan_refused_ms) ms, $(agent scans r2.scan_refused_ms) ms"
    agent_end scans
}

# Why so long: a read lease that lapses, or that is not given for a while to who was late, makes all scans ask.
lease=500ms
cluster_up 3
scenes leased moves alone
verdict
