#!/usr/bin/env bash
# Nodes come and go while a cluster runs: added, drained, removed, under a fleet that sees no failed write.
#
#   cluster_nodes.sh BUILD [comes_and_goes|refused|two_at_once|voter_goes|zones]...
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

votes() { node "$1" "$2" votes; }
votes_none() { [ "$(votes "$1" "$2")$(leads "$2" "$1")" = 00 ]; }
learns_all() { [ "$(node "$1" "$2" learns)" = "$(of "$1" shards)" ]; }

# come n AT [OPTION...]: node n, which is prepared, is added at node AT, started, and votes in its share.
come() {
    local n=$1 at=$2 count
    shift 2
    count=$(node_count "$at")
    check "node $n is added" cluster_add "$n" "$at" "$@" >/dev/null
    start_added "$n"
    await 60 "node $n votes" votes_some "$at" "$n"
    await 60 "all is whole with node $n" is_whole "$at" $((count + 1))
}

start_added() {
    cluster_start "$1"
    cluster_ready "$1"
}

# ends n: its daemon, by itself, as one of a node that was removed.
ends() {
    local status
    await 30 "the daemon of node $1 ends" has_ended "${pids[$1]}" || kill -KILL "${pids[$1]}"
    wait "${pids[$1]}" 2>/dev/null
    status=$?
    check "it ends well, not by $status" [ "$status" -eq 0 ]
    check "it says why" grep -q 'event=removed' "${logs[$1]}"
}

# goes n AT: node n is removed at node AT, and its daemon ends by itself.
goes() {
    local begun
    begun=$(now_ms)
    check "node $1 is removed" quietly "$2" node remove "$1"
    told "node $1 is removed after $(($(now_ms) - begun)) ms"
    check "node $2 does not list it" is_gone "$2" "$1"
    ends "$1"
}

# leads_after_move n AT: it leads where it votes, which need not be everywhere.
leads_after_move() { cluster_move "$1" "$2" 2>>"$scratch/errors" && [ "$(leads "$1" "$2")" -gt 0 ]; }

comes_and_goes() {
    local n
    scene "a node is added, one is drained, one that leads everything is removed, under a fleet"
    cluster_anew
    cluster_prepare 4
    agent_start near --writer "${sockets[1]}" --reader "${sockets[2]}"
    flown="1 2" fleet_start 24 2
    come 4 1
    told "node 4 votes in $(votes 1 4) of $(of 1 shards) shards after $took_ms ms more"
    check "its share, not all" [ "$(votes 1 4)" -lt "$(of 1 shards)" ]
    check "all votes are three of each shard" [ "$(sum_of_votes 1)" = $((3 * $(of 1 shards))) ]
    agent_goes_on near w.done
    check "node 3 is drained" quietly 1 node drain 3
    check "it votes and leads no more" votes_none 1 3
    check "it says so" [ "$(node 2 3 standing)" = '"draining"' ]
    await 30 "it learns all" learns_all 1 3
    check "a key is written" quietly 1 put telemetry drained x
    check "node 3 reads it" has_key 3 drained x
    check "it may again" quietly 2 node drain 3 --undo
    await 60 "it votes again" votes_some 1 3
    await 60 "all is whole" is_whole 1 4
    agent_goes_on near w.done
    await "$patience" "node 3 leads" leads_after_move 3 1
    goes 3 1
    await 60 "all is whole without it" is_whole 1 3
    agent_goes_on near w.done
    told "the longest put took $(agent near w.longest_ms) ms"
    check "no put failed" [ "$(agent near w.unknown)$(agent near w.refused)" = 00 ]
    agent_end near
    fleet_end
    rm -rf "$scratch/control3"
    cluster_prepare 3 1 2 3 4
    come 3 4
    check "node 3 is back with an empty directory" has_key 3 drained x
    for n in 1 2 3 4; do
        await 60 "node $n finds all whole" is_whole "$n" 4
    done
}

sum_of_votes() {
    "$dunlin" --socket "${sockets[$1]}" --json nodes | grep -oE '"votes": [0-9]+' | awk '{ sum += $2 } END { print sum }'
}

not_said() { ! grep -qx "$1" "$scratch/heard"; }

# A daemon whose node nobody added, and what there is not to be added, drained, removed.
refused() {
    local status
    scene "who is not added is refused by name"
    cluster_anew
    cluster_prepare 4
    listen_to_notify
    await 10 "somebody listens" [ -S "$scratch/notify" ]
    NOTIFY_SOCKET=$scratch/notify cluster_start 4
    await 30 "node 4 says that it waits to be added" grep -q 'event=control_no_node id=4' "${logs[4]}"
    check "and by which command" grep -q "dunlin node add 4 --address $(net_address 4):7700" "${logs[4]}"
    await 10 "to the service manager, too" grep -q "^STATUS=.*dunlin node add 4" "$scratch/heard"
    check "once" [ "$(grep -c 'event=control_no_node' "${logs[4]}")" = 1 ]
    check "it is not ready" not_said READY=1
    check "nobody lists it" is_gone 1 4
    check "it does not serve" [ "$(grep -cx ready "${logs[4]}")" = 0 ]
    check "a node that is there is not added" says_status 5 1 node add 2 --address "$(net_address 4):7700"
    check "an address is needed" says_status 2 1 node add 4
    check "one that is none is refused" says_status 2 1 node add 4 --address nowhere
    check "that is no id" says_status 2 1 node add 0 --address "$(net_address 4):7700"
    check "nobody is drained that is not there" says_status 1 1 node drain 4
    check "nor removed" says_status 1 1 node remove 4
    check "node 4 is added" cluster_add 4 2 >/dev/null
    cluster_ready 4
    await 30 "it is ready" grep -qx READY=1 "$scratch/heard"
    await 60 "it votes" votes_some 1 4
    check "node 4 is removed" quietly 1 node remove 4
    ends 4
    check "node 3 is drained" quietly 1 node drain 3
    check "two that vote have to stay: no drain" says_status 5 1 node drain 2
    check "two that vote have to stay: no removal" says_status 5 1 node remove 2
    check "node 3 is removed" quietly 2 node remove 3
    ends 3
    check "a write is done by two" quietly 1 put telemetry two x
    cluster_start 3
    await 30 "the daemon of node 3 ends again" has_ended "${pids[3]}" || kill -KILL "${pids[3]}"
    wait "${pids[3]}" 2>/dev/null
    status=$?
    check "by 3, not by $status: it is not of the cluster any more" [ "$status" -eq 3 ]
    check "it says so" grep -q 'event=control_removed' "${logs[3]}"
    told "done"
}

two_at_once() {
    local n first second
    scene "two nodes are added at once, at different nodes"
    cluster_anew
    cluster_prepare 4 1 2 3 4 5
    cluster_prepare 5 1 2 3 4 5
    agent_start near --writer "${sockets[1]}" --reader "${sockets[2]}"
    cluster_add 4 1 >/dev/null 2>>"$scratch/errors" &
    first=$!
    cluster_add 5 2 >/dev/null 2>>"$scratch/errors" &
    second=$!
    wait "$first"
    check "node 4 is added" [ $? -eq 0 ]
    wait "$second"
    check "node 5 is added" [ $? -eq 0 ]
    cluster_start 5
    start_added 4
    await 30 "node 5 serves" answers 5
    for n in 4 5; do
        await 60 "node $n votes" votes_some 1 "$n"
    done
    for n in 1 2 3 4 5; do
        await 60 "node $n finds all whole" is_whole "$n" 5
    done
    check "all votes are three of each shard" [ "$(sum_of_votes 1)" = $((3 * $(of 1 shards))) ]
    told "votes: $(for n in 1 2 3 4 5; do votes 1 "$n"; done | paste -sd ' ')"
    agent_goes_on near w.done
    check "no put failed" [ "$(agent near w.unknown)$(agent near w.refused)" = 00 ]
    agent_end near
    check "two leave at once" quietly 1 node remove 4 --no-wait
    check "two leave at once" quietly 2 node remove 5
    await 60 "node 4 is gone, too" is_gone 1 4
    ends 4
    ends 5
    for n in 1 2 3; do
        await 60 "node $n finds all whole" is_whole "$n" 3
    done
}

# Of three nodes all vote on the control log: another one takes the place of the first, which leads it.
voter_goes() {
    local n
    scene "the leader of the control log is removed"
    cluster_anew
    cluster_prepare 4
    come 4 2
    check "it does not vote on the control log" [ "$(control 4 voter)" = false ]
    n=$(control 2 leader)
    told "node $n leads the control log"
    agent_start near --writer "${sockets[4]}" --reader "${sockets[4]}"
    goes "$n" 4
    await 30 "node 4 votes on the control log" is_control_voter 4
    await 60 "all is whole" is_whole 4 3
    agent_goes_on near w.done
    agent_end near
    # Two of the three that vote now are enough to decide.
    n=$((n % 3 + 1))
    cluster_kill "$n"
    agent_start left --writer "${sockets[4]}"
    agent_goes_on left w.done
    check "what is decided by two of them is decided" quietly 4 space create later --quota 16MiB --shards 2
    agent_end left
    cluster_start "$n"
    cluster_ready "$n"
    await 60 "all is whole again" is_whole 4 3
}

is_control_voter() { [ "$(control "$1" voter)" = true ]; }

# Two voters are not in one zone while there are enough of them.
zones() {
    local n
    scene "voters are of different zones"
    zones=([1]=east [2]=west [3]=north [4]=north)
    cluster_anew
    cluster_prepare 4
    come 4 1 --zone north
    check "nobody else had to give" [ "$(votes 1 1)$(votes 1 2)" = "$(of 1 shards)$(of 1 shards)" ]
    check "north votes once for each" [ $(($(votes 1 3) + $(votes 1 4))) = "$(of 1 shards)" ]
    told "votes: $(for n in 1 2 3 4; do votes 1 "$n"; done | paste -sd ' ')"
    check "the zone is told" [ "$(node 2 4 zone)" = '"north"' ]
    zones=()
}

cluster_make 3 2
scenes comes_and_goes refused two_at_once voter_goes zones
verdict
