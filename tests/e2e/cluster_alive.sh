#!/usr/bin/env bash
# Who is up, how far others are behind, and a daemon whose id another one takes.
#
#   cluster_alive.sh BUILD [killed|frozen|silent_leader|stranger]...
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

put() { "$dunlin" --socket "${sockets[1]}" put telemetry "key$1" "$2" >/dev/null; }
lags() { [ "$(node 1 "$1" lag)" -gt 0 ] && [ "$(node 1 "$1" lag_max)" -gt 0 ] && [ "$(node 1 "$1" lag_ms)" -ge 500 ]; }
shard_lag() { # NODE: bytes that it lacks of the shards of telemetry that node 1 leads
    "$dunlin" --socket "${sockets[1]}" shards telemetry --json |
        tr '{' '\n' | sed -n "s/^\"node\":$1,\"bytes\":\([0-9]*\).*/\1/p" | awk '{ sum += $1 } END { print sum + 0 }'
}
shards_lag() { [ "$(shard_lag "$1")" -gt 0 ]; }
shards_have_no_lag() { [ "$(shard_lag "$1")" = 0 ]; }
has_no_lag() { [ "$(node 1 "$1" lag)" = 0 ] && [ "$(node 1 "$1" lag_ms)" = 0 ]; }

# A follower that has nothing to say to the other is heard of all the same.
all_up() {
    local n m
    for n in 1 2 3; do
        for m in 1 2 3; do
            await 20 "node $n sees node $m" is_up "$n" "$m"
        done
    done
}

killed() {
    local n
    scene "a node is killed, and comes back"
    cluster_move 1
    all_up
    sleep 2 # twice as long as who says nothing counts as up
    all_up
    check "a follower leads nothing, so it knows of no lag" [ "$(node 2 3 lag)$(node 2 1 lag_ms)" = nullnull ]
    await 20 "nobody is behind" has_no_lag 2
    cluster_kill 3
    for n in 1 2; do
        await 20 "node $n notices" is_down "$n" 3
        told "node $n noticed after $took_ms ms more; heard of $(node "$n" 3 heard_ms) ms ago"
        check "node $n says since when" [ "$(node "$n" 3 heard_ms)" -gt 1000 ]
    done
    for n in 1 2 3 4 5 6 7 8; do
        check "a put" put "$n" "$(head -c 1000 /dev/zero | tr '\0' x)"
    done
    await 20 "node 3 is behind" lags 3
    told "lag $(node 1 3 lag) bytes, $(node 1 3 lag_max) of one shard, $(node 1 3 lag_ms) ms"
    # Why until then: a look every half second finds what is just under way.
    await 20 "the other is not" has_no_lag 2
    await 20 "its shards say so, too" shards_lag 3
    await 20 "those of the other do not" shards_have_no_lag 2
    check "a follower knows who leads" grep -qE '^telemetry +0 +1 +[0-9]+ follower active ' \
        <("$dunlin" --socket "${sockets[2]}" shards)
    check "the table says so" grep -qE '^ +3 .* no ' <("$dunlin" --socket "${sockets[1]}" nodes)
    cluster_start 3
    cluster_ready 3
    all_up
    await 20 "node 3 is behind no more" has_no_lag 3
}

frozen() {
    scene "a node is stopped, and goes on"
    all_up
    kill -STOP "${pids[3]}"
    await 20 "node 2 notices" is_down 2 3
    kill -CONT "${pids[3]}"
    all_up
}

# What is said of a leader that does not answer.
silent_leader() {
    local text
    scene "the leader is stopped: what others say of it"
    cluster_move 1
    all_up
    kill -STOP "${pids[1]}"
    await 20 "node 2 notices" is_down 2 1
    text=$("$dunlin" --socket "${sockets[2]}" --timeout 1500 get telemetry key1 2>&1)
    check "status of the get" [ $? -eq 3 ]
    check "it names the leader: $text" grep -qE \
        'attached to node 2; node 1 leads shard [0-7] of the space and did not answer \(up: no' <<<"$text"
    kill -CONT "${pids[1]}"
    all_up
}

# Who has a node's id and certificate, but not what it promised to others, is not that node: it ends, and the
# one that is goes on.
stranger() {
    local at status
    at=$(net_address 4):7700
    scene "another daemon has the id of node 1"
    sed -e "s|path: ${sockets[1]}|path: ${sockets[1]}.other|; s|$scratch/control1|$scratch/control-other|" \
        -e "s|$(net_address 1):7700|$at|g" "${configs[1]}" >"${configs[1]}.other"
    net_run 4 timeout 60 "$dunlind" --config "${configs[1]}.other" >"${logs[1]}.other" 2>&1
    status=$?
    check "it ends by itself, and not well: $status" [ "$status" -ne 0 ]
    check "it is not killed: $status" [ "$status" -ne 124 ]
    check "it said why" grep -q 'event=control_lost ' "${logs[1]}.other"
    all_up
    check "a write is done at node 1" "$dunlin" --socket "${sockets[1]}" put telemetry key1 still >/dev/null
}

# Why so long: what is silent is to go on leading.
leader_lease=10s
cluster_make 3 1
cluster_begin
scenes killed frozen silent_leader stranger
verdict
