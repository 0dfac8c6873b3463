#!/usr/bin/env bash
# Leadership moves by hand; nodes end by SIGTERM, one and all, and come back.
#
#   cluster_leave.sh BUILD [moves|moves_read|terminated|restarted|together]...
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

# With wait_ms where the answer is waited for, however late.
put() { "$dunlin" --socket "${sockets[$1]}" --timeout "${wait_ms:-500}" put telemetry kept "$2"; }
get() { "$dunlin" --socket "${sockets[$1]}" --timeout "${wait_ms:-500}" get telemetry kept; }

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

# What cannot be handed over is waited for by nobody: less than the five seconds that a hand-over may take.
ended_soon() { [ "$took_ms" -lt 4000 ]; }

# Nothing is on any disk: what was there is gone, and the control log says so, rather than let
# an empty cluster pass for the one that was; unless that is what it is told.
restarted() {
    local n before after
    scene "all nodes end by SIGTERM, and are started again"
    await 100 "node 3 takes all" cluster_move 3
    before=$(wait_ms=20000 put 1 old)
    for n in 1 2; do
        cluster_stop "$n" 20
        told "node $n ended within $took_ms ms"
    done
    for n in 1 2; do
        await 20 "node 3 notices that node $n is gone" is_down 3 "$n"
    done
    cluster_stop 3 20
    told "node 3, the last one, ended within $took_ms ms"
    check "node 3 ended soon" ended_soon
    check "the last one says why" grep -q 'event=hand_over_skipped' "${logs[3]}"
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
    for n in 1 2 3; do
        check "node $n says for each space that it is lost" \
            [ "$(grep -c 'event=space_lost .*gone=8' "${logs[n]}")" = 2 ]
    done
    losts[2]=reopen # what the README tells to do; one of them is enough
    cluster_configure 2
    start_all
    for n in 1 2 3; do
        await 100 "all shards are active at node $n" is_active "$n"
    done
    check "it is empty" [ "$(wait_ms=20000 exit_of get 2)" = 1 ]
    after=$(wait_ms=20000 put 3 new)
    check "a version is never given twice" [ "${after##*.}" -gt "${before##*.}" ]
    await 20 "it is everywhere" has_new
    told "version $before, then $after"
}

has_new() { [ "$(get 1)$(get 2)$(get 3)" = newnewnew ]; }

# Whoever is asked first, nobody is left to lead what the others have.
together() {
    local n
    scene "two nodes end together, then all three"
    for n in 1 2 3; do
        await 30 "node $n is up" is_up 3 "$n"
    done
    losts[2]=reopen
    cluster_configure 2
    await 100 "node 1 takes all" cluster_move 1 # once it holds all
    kill -TERM "${pids[1]}" "${pids[2]}"
    for n in 1 2; do
        cluster_stopped "$n"
        told "node $n ended within $took_ms ms"
        check "node $n ended soon" ended_soon
    done
    cluster_stop 3 # nobody holds anything then: they begin again, as they are told
    start_all
    for n in 1 2 3; do
        await 100 "all shards are active at node $n" is_active "$n"
    done
    await 100 "node 1 takes all" cluster_move 1
    kill -TERM "${pids[1]}" "${pids[2]}" "${pids[3]}"
    for n in 1 2 3; do
        cluster_stopped "$n"
        told "node $n ended within $took_ms ms"
        check "node $n ended soon" ended_soon
    done
}

cluster_up 3
scenes moves moves_read terminated restarted together
verdict
