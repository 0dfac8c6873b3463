#!/usr/bin/env bash
# Nodes come and go while others are down or die; and what is left is recovered when most are lost for good.
#
#   cluster_nodes_crash.sh BUILD [dead|leader_dies_add|leader_dies_remove|recovered|directory_lost]...
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

lists() { [ -n "$(node "$1" "$2" standing)" ]; }
# other n: a node of the first three that is not n.
other() { echo $(($1 % 3 + 1)); }

# Four nodes, one of which is dead for good: it is removed without being asked, and the fourth votes instead.
dead() {
    local n
    scene "a node is added while one is down, which then is removed"
    cluster_anew
    cluster_prepare 4
    agent_start near --writer "${sockets[1]}" --reader "${sockets[2]}"
    cluster_kill 3
    await 30 "node 1 sees it" is_down 1 3
    for n in 1 2; do
        check "two of which one is down are too few: no removal of node $n" says_status 5 1 node remove "$n"
        check "it says why" grep -q 'too few are up' "$scratch/said"
        check "nor a drain of node $n" says_status 5 2 node drain "$n"
    done
    agent_goes_on near w.done
    check "shards have fewer voters than they are to have" [ "$(redundancy 1 below)" = "$(of 1 shards)" ]
    check "node 4 is added" cluster_add 4 1 >/dev/null
    cluster_start 4
    cluster_ready 4
    await 60 "node 4 votes" votes_some 1 4
    check "the dead one is removed" quietly 2 node remove 3
    await 60 "all is whole" is_whole 1 3
    check "node 4 votes in place of it" [ "$(node 1 4 votes)" = "$(of 1 shards)" ]
    agent_goes_on near w.done
    told "whole after $took_ms ms; the longest put took $(agent near w.longest_ms) ms"
    agent_end near
    cluster_start 3 # as if somebody had found it
    await 30 "node 3 ends" has_ended "${pids[3]}" || kill -KILL "${pids[3]}"
    wait "${pids[3]}" 2>/dev/null
    check "nobody lists it" is_gone 1 3
}

# The command may have said that it does not know; asked again, it is done or was.
leader_dies_add() {
    local round leader n status
    scene "kill -9 of the control log's leader while a node is added"
    for round in 1 2; do
        cluster_anew
        cluster_prepare 4
        leader=$(control 1 leader)
        n=$(other "$leader")
        cluster_add 4 "$n" --timeout 5000 >/dev/null 2>>"$scratch/errors" &
        [ "$round" -eq 1 ] || sleep 0.02
        cluster_kill "$leader"
        wait $!
        status=$?
        [ $status -eq 0 ] || await 60 "it is added, now or before" added_or_is_there "$n" 4
        cluster_start 4
        cluster_ready 4
        cluster_start "$leader"
        await 30 "node $leader serves" answers "$leader"
        await 60 "node 4 votes" votes_some "$n" 4
        for n in 1 2 3 4; do
            await 60 "node $n finds all whole" is_whole "$n" 4
        done
        told "round $round: node $leader led; the command ended by $status"
    done
}

added_or_is_there() {
    lists "$1" "$2" && return
    cluster_add "$2" "$1" --timeout 5000 >/dev/null 2>>"$scratch/errors"
    lists "$1" "$2"
}

leader_dies_remove() {
    local round leader n status victim remover
    scene "kill -9 of the control log's leader while a node is removed"
    for round in 1 2; do
        cluster_anew
        cluster_prepare 4
        check "node 4 is added" cluster_add 4 1 >/dev/null
        cluster_start 4
        cluster_ready 4
        await 60 "all is whole with it" is_whole 1 4
        leader=$(control 1 leader)
        victim=$(other "$leader")
        n=$(other "$victim")
        at "$n" node remove "$victim" --timeout 60000 >/dev/null &
        remover=$!
        [ "$round" -eq 1 ] || sleep 0.05
        cluster_kill "$leader"
        sleep 1
        cluster_start "$leader"
        wait "$remover"
        await 30 "node $leader serves" answers "$leader"
        await 60 "node $victim is gone" removed_or_is_gone "$n" "$victim"
        await 30 "its daemon ends" has_ended "${pids[victim]}" || kill -KILL "${pids[victim]}"
        wait "${pids[victim]}" 2>/dev/null
        status=$?
        check "well, not by $status" [ $status -eq 0 ]
        for n in "$leader" "$n" 4; do
            await 60 "node $n finds all whole" is_whole "$n" 3
        done
        told "round $round: node $leader led, node $victim went"
    done
}

removed_or_is_gone() {
    is_gone "$1" "$2" && return
    at "$1" node remove "$2" --timeout 5000 >/dev/null
    is_gone "$1" "$2"
}

# Two of three nodes are killed at once and come back with nothing: what the third one held is all there is.
recovered() {
    local i n begun shards said
    scene "two of three nodes lose their memory, and the third one's is recovered"
    cluster_anew
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
        check "a key is written" quietly 2 put telemetry "key$i" "value$i"
    done
    shards=$(of 1 shards)
    await 30 "nobody is behind" all_hold
    kill -KILL "${pids[2]}" "${pids[3]}"
    wait "${pids[2]}" "${pids[3]}" 2>/dev/null
    for n in 2 3; do
        cluster_start "$n"
    done
    for n in 2 3; do
        await 30 "node $n serves" answers "$n"
    done
    for n in 1 2 3; do
        await 60 "node $n says that all is lost" all_are_lost "$n"
    done
    check "a get is not available" says_status 3 1 --timeout 500 get telemetry key1
    check "without --accept-loss nothing is done" says_status 2 1 recover telemetry
    check "a space that is not there is not recovered" says_status 1 1 recover nothing --accept-loss
    check "of a node without it nothing is recovered" says_status 1 1 recover telemetry --accept-loss --from 2
    begun=$(now_ms)
    said=$(at 2 recover telemetry --accept-loss)
    check "it is recovered, and counted: $said" grep -q '^8 shards of telemetry' <<<"$said"
    told "$said, after $(($(now_ms) - begun)) ms"
    check "the other space is still lost" [ "$(lost 1)" = $((shards - 8)) ]
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
        await 30 "key$i is there" has_key $((i % 3 + 1)) "key$i" "value$i"
    done
    check "the rest of it" quietly 3 recover sectors --accept-loss
    check "nothing is left to recover" grep -q '^nothing is lost' <<<"$(at 1 recover sectors --accept-loss)"
    for n in 1 2 3; do
        await 60 "node $n finds all whole" is_whole "$n" 3
    done
    check "a write is done" quietly 2 put telemetry key1 after
    for n in 1 2 3; do
        check "node $n reads it" has_key "$n" key1 after
    done
    check "the log says so" grep -qhE 'event=(recover_asked|shards_recovered|space_recovered)' "${logs[@]}"
}

all_are_lost() { [ "$(lost "$1")" = "$(of "$1" shards)" ]; }
all_hold() {
    local n
    for n in 1 2 3; do
        is_whole "$n" || return 1
    done
}

# What the log calls for, both ways: of a cluster that has begun, and of one that never did.
directory_lost() {
    local n tries=0
    scene "a node loses the directory of its control log, and comes back by what its log says"
    cluster_anew
    loses_directory 3
    check "what to do is said" grep -q 'event=control_lost .*dunlin node remove' "${logs[3]}"
    check "node 3 is removed" quietly 1 node remove 3
    check "and added" cluster_add 3 2 >/dev/null
    cluster_start 3
    cluster_ready 3
    for n in 1 2 3; do
        await 60 "node $n finds all whole" is_whole "$n" 3
    done
    until begins_without 3; do
        [ $((tries += 1)) -lt 40 ] || { fault "node 3 was not lost in time"; return; }
    done
    loses_directory 3
    check "what to do is said" grep -q 'event=control_lost .*empty this directory' "${logs[3]}"
    for n in 1 2; do
        check "node $n has never served" [ "$(grep -cx ready "${logs[n]}")" = 0 ]
        check "node $n says what it waits for" grep -qE 'event=(nodes|control)_awaited .*help=' "${logs[n]}"
        cluster_stop "$n"
    done
    cluster_anew
    told "lost in time after $tries more tries"
}

# loses_directory n: killed, and refused without it.
loses_directory() {
    has_ended "${pids[$1]}" || cluster_kill "$1"
    rm -rf "$scratch/control$1"
    cluster_start "$1"
    await 30 "node $1 is refused" has_ended "${pids[$1]}" || kill -KILL "${pids[$1]}"
    wait "${pids[$1]}" 2>/dev/null
}

# begins_without n: all nodes of a new cluster take part in its control log, and node n and another one are killed
# before it has begun; 1: it has.
begins_without() {
    local m other=$(($1 % 3 + 1))
    cluster_end
    nodes=3
    for m in 1 2 3; do
        cluster_configure "$m"
        cluster_start "$m"
    done
    for m in 1 2 3; do
        [ "$m" -eq "$1" ] || await 30 "node $m takes part" takes_part "$m"
    done
    kill -KILL "${pids[$1]}" "${pids[other]}"
    wait "${pids[$1]}" "${pids[other]}" 2>/dev/null
    ! grep -q event=epochs_decided "${logs[@]}" && cluster_start "$other" &&
        await 30 "node $other waits" waits_or_has_begun "$other" &&
        ! grep -q event=epochs_decided "${logs[@]}"
}
waits_or_has_begun() {
    grep -qE 'event=(nodes|control)_awaited' "${logs[$1]}" || grep -q event=epochs_decided "${logs[@]}"
}
takes_part() { compgen -G "$scratch/control$1/log-*" >/dev/null || compgen -G "$scratch/control$1/open-*" >/dev/null; }

cluster_make 3 1
scenes dead leader_dies_add leader_dies_remove recovered directory_lost
verdict
