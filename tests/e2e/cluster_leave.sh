#!/usr/bin/env bash
# Leadership moves by hand; nodes end by SIGTERM, one and all, and come back.
#
#   cluster_leave.sh BUILD [moves|moves_read|terminated|restarted]...
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

moves() {
    local i to moved_ms=0 longest=0 before
    scene "leadership moves ten times by hand"
    agent_start single --writer "${sockets[1]}" --reader "${sockets[2]}" --reader "${sockets[3]}"
    fleet_start 8 3
    for i in 1 2 3 4 5 6 7 8 9 10; do
        to=$((i % 3 + 1))
        before=$(now_ms)
        check "move $i" cluster_move "$to" 1
        moved_ms=$(($(now_ms) - before))
        [ "$moved_ms" -le "$longest" ] || longest=$moved_ms
        check "node $to leads all" leads_all "$to"
        agent_goes_on single w.done
    done
    told "the longest move took $longest ms, the longest put $(agent single w.longest_ms) ms"
    check "no put failed" [ "$(agent single w.unknown)$(agent single w.refused)" = 00 ]
    agent_end single
    fleet_end
}

# As many as fit, while every node is read: what a read lease allows ends before the next leader commits.
moves_read() {
    local until moves=0 to n
    scene "leadership moves all the time, and every node is read"
    agent_start single --writer "${sockets[3]}" --reader "${sockets[1]}" --reader "${sockets[2]}" \
        --reader "${sockets[3]}" --pause-us 50
    until=$(($(now_ms) + 12000))
    while [ "$(now_ms)" -lt "$until" ]; do
        for to in 3 1; do
            check "a move" cluster_move "$to" 1
            moves=$((moves + 1))
        done
    done
    for n in 0 1 2; do
        agent_goes_on single "r$n.done"
    done
    told "$moves moves, $(agent single w.done) puts, the longest $(agent single w.longest_ms) ms," \
        "$(agent single r0.done), $(agent single r1.done) and $(agent single r2.done) linearizable reads"
    check "no put failed" [ "$(agent single w.unknown)$(agent single w.refused)" = 00 ]
    agent_end single
}

terminated() {
    local bytes
    scene "SIGTERM of the leader"
    cluster_move 3
    agent_start near --writer "${sockets[1]}" --reader "${sockets[2]}"
    agent_start there --writer "${sockets[3]}" --reader "${sockets[1]}"
    fleet_start 7 3
    cluster_stop 3
    told "ended within $took_ms ms, by $stopped"
    agent_goes_on near w.done
    agent_goes_on near r0.done
    cluster_start 3
    cluster_ready 3
    bytes=$(committed 1)
    caught_up 3 "$bytes"
    told "caught up after $took_ms ms" "longest put near $(agent near w.longest_ms) ms," \
        "there $(agent there w.longest_ms) ms; there $(agent there w.unknown) of unknown fate"
    check "no put failed at others" [ "$(agent near w.unknown)$(agent near w.refused)" = 00 ]
    agent_goes_on there w.done
    agent_end near
    agent_end there
    fleet_end
}

exit_of() {
    "$@" >/dev/null 2>&1
    echo $?
}

put() { "$dunlin" --socket "${sockets[$1]}" --timeout 500 put telemetry kept "$2"; }
get() { "$dunlin" --socket "${sockets[$1]}" --timeout 500 get telemetry kept; }

all_are_lost() { [ "$(lost "$1")" = "$(of "$1" shards)" ]; }

start_all() {
    local n
    for n in 1 2 3; do
        cluster_start "$n"
    done
    for n in 1 2 3; do
        await 30 "node $n serves" is_up_again "$n"
    done
}
is_up_again() { "$dunlin" --socket "${sockets[$1]}" status >/dev/null 2>&1; }

# Nothing is on any disk: what was there is gone, and the coordinator's file says so, rather than let
# an empty cluster pass for the one that was.
restarted() {
    local n before after
    scene "all nodes end by SIGTERM, and are started again"
    before=$(put 1 old)
    for n in 1 2 3; do
        cluster_stop "$n" 20
        told "node $n ended within $took_ms ms"
    done
    start_all
    for n in 1 2 3; do
        await 20 "node $n says that all shards are lost" all_are_lost "$n"
        check "a get at node $n says that it is not available" [ "$(exit_of get "$n")" = 3 ]
        check "a put at node $n says that it is not available" [ "$(exit_of put "$n" new)" = 3 ]
    done
    for n in 1 2 3; do
        cluster_stop "$n" 20
        told "lost, node $n ended within $took_ms ms"
    done
    rm -f "$scratch/coordinator.json" # what the README tells to do
    start_all
    for n in 1 2 3; do
        await 30 "without the file all shards are active at node $n" is_active "$n"
    done
    check "it is empty" [ "$(exit_of get 2)" = 1 ]
    after=$(put 3 new)
    check "a version is never given twice" [ "${after##*.}" -gt "${before##*.}" ]
    told "version $before, then $after"
}

cluster_up 3
scenes moves moves_read terminated restarted
verdict
