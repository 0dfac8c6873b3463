#!/usr/bin/env bash
# Who does not belong to the cluster is not heard, and counted: a node with another key, one of a
# cluster of another name.  One that speaks the version of the wire before the newest belongs to it.
#
#   cluster_key.sh BUILD [wrong_key|other_cluster|older_wire|no_transactions|no_file|one_file]...
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

# start_shown n AT: of node n, as `dunlin nodes` at AT says: the last one that it agreed about keys with.
start_shown() {
    "$dunlin" --socket "${sockets[$2]}" --json nodes 2>/dev/null | tr -d ' \n' |
        grep -oE "\"id\":$1,[^}]*" | grep -oE '"start":[0-9]+' | grep -oE '[0-9]+$'
}
is_met() { [ "$(start_shown "$1" "$2")" = "$(start "$1")" ]; }

refused() { status "$1" "$2"; }
rises() { [ "$(refused "$1" "$2")" -gt "$3" ]; }

begin_watch() {
    agent_start single --writer "${sockets[1]}" --reader "${sockets[2]}"
    agent_goes_on single w.done
}

end_watch() {
    agent_goes_on single w.done
    agent_goes_on single r0.done
    told "longest put $(agent single w.longest_ms) ms, $(agent single w.unknown) of unknown fate," \
        "$(agent single w.refused) refused"
    check "nobody else is disturbed" [ "$(agent single w.unknown)$(agent single w.refused)" = 00 ]
    agent_end single
}

wrong_key() {
    local n bytes
    scene "a node with another key"
    cluster_move 1
    cluster_stop 3
    begin_watch
    (umask 077 && "$dunlin" key >"$scratch/key.other") || exit 2
    key_files[3]=$scratch/key.other
    cluster_configure 3
    cluster_start 3
    cluster_ready 3
    for n in 1 2; do
        await 20 "it is refused at node $n for its key" rises "$n" refused_unknown_key 0
        check "it is not up for node $n" [ "$(start_shown 3 "$n")" != "$(start 3)" ]
    done
    check "a linearizable get there is not available" said_unavailable 3
    told "unknown key at node 1: $(refused 1 refused_unknown_key) times"
    end_watch
    cluster_stop 3
    unset "key_files[3]"
    cluster_configure 3
    cluster_start 3
    cluster_ready 3
    await 20 "with the right key it is up" is_met 3 1
    bytes=$(committed 1)
    caught_up 3 "$bytes"
}

said_unavailable() {
    "$dunlin" --socket "${sockets[$1]}" --timeout 500 get telemetry nothing >/dev/null 2>&1
    [ $? -eq 3 ]
}

# other_start n NODE: number n of the other cluster, on node NODE of the network.  Its control plane is whole:
# nodes 1 and 2 of it are on nodes 4 and 5.
other_start() {
    local n=$1 at
    at=$(net_address "$2"):7700
    "$dunlin" authority issue "$scratch/ca-other" --node "$n" >/dev/null || return
    sed -e "s|$scratch/node$n|$scratch/other$n|; s|$scratch/control$n|$scratch/control-other$n|" \
        -e "s|$scratch/ca/|$scratch/ca-other/|; s|name: $cluster_name\$|name: other|" \
        -e "s|{id: $n, address: \"[^\"]*\"|{id: $n, address: \"$at\"|" \
        -e "s|{id: 1, \(.*\)control: \"[^\"]*\"|{id: 1, \1control: \"$(net_address 4):7700\"|" \
        -e "s|{id: 2, \(.*\)control: \"[^\"]*\"|{id: 2, \1control: \"$(net_address 5):7700\"|" \
        "${configs[n]}" >"$scratch/other$n.yaml"
    net_start "$2" "$dunlind" --config "$scratch/other$n.yaml" >"$scratch/other$n.log" 2>&1
    others+=("$net_pid")
}

# The other cluster has nodes of its own, so that it begins; its third node sends what is for the first and the
# second to the addresses of ours.
other_cluster() {
    local n pid bytes began_ms
    scene "a node of another cluster, with the same key"
    cluster_move 1
    cluster_stop 3
    begin_watch
    others=()
    "$dunlin" authority create "$scratch/ca-other" --cluster other >/dev/null || verdict
    began_ms=$(now_ms) # a start is not below the time in milliseconds at which it was
    other_start 1 4 && other_start 2 5 && other_start 3 3 || verdict
    for n in 1 2; do
        await 30 "it is refused at node $n for its cluster" rises "$n" refused_other_cluster 0
        check "it is not up for node $n" [ "$(start_shown 3 "$n")" -lt "$began_ms" ]
    done
    told "other cluster at node 1: $(refused 1 refused_other_cluster) times"
    for pid in "${others[@]}"; do
        kill -KILL "$pid"
        wait "$pid" 2>/dev/null
    done
    sed "s|name: $cluster_name\$|name: other|" "${configs[3]}" >"$scratch/stray.yaml"
    check "a certificate of ours is none there" refuses_to_start "$scratch/stray.yaml"
    end_watch
    cluster_start 3
    cluster_ready 3
    bytes=$(committed 1)
    caught_up 3 "$bytes"
}

refuses_to_start() {
    net_run 3 timeout 20 "$dunlind" --config "$1" >"$scratch/stray.log" 2>&1
    local status=$?
    [ "$status" -ne 0 ] && [ "$status" -ne 124 ] && grep -q 'event=start_failed' "$scratch/stray.log"
}

# put_at n, get_at n [OPTION...]: at node n; the exit status of the command.
put_at() { "$dunlin" --socket "${sockets[$1]}" --timeout 2000 put telemetry wire x >/dev/null 2>&1; }
get_at() { [ "$("$dunlin" --socket "${sockets[$1]}" get telemetry wire "${@:2}" 2>/dev/null)" = x ]; }

older_wire() {
    local bytes
    scene "a node that speaks the version before"
    cluster_move 1
    cluster_stop 3
    wires[3]=1
    cluster_configure 3
    cluster_start 3
    cluster_ready 3
    await 20 "a write at node 2 goes on to the leader" put_at 2
    bytes=$(committed 1)
    caught_up 3 "$bytes"
    await 20 "it answers linearizable reads in place" get_at 3
    check "a write at it is not available" [ "$(put_at 3; echo $?)" = 3 ]
    cluster_lead 3
    check "as the leader it takes writes" put_at 3
    check "and others may not ask it" [ "$(put_at 2; echo $?)" = 3 ]
    cluster_lead 1
    told "it follows and leads"
    cluster_stop 3
    unset "wires[3]"
    cluster_configure 3
    cluster_start 3
    cluster_ready 3
    await 20 "with the newest it may ask" put_at 3
    bytes=$(committed 1)
    caught_up 3 "$bytes"
}

# incr_at n: adds 1 at node n; the exit status of the command, the sum in $scratch/sum.
incr_at() { "$dunlin" --socket "${sockets[$1]}" --timeout 5000 incr telemetry '{w}sum' 1 >"$scratch/sum" 2>"$scratch/sum.err"; }
# txn_at n: a transaction that adds 100, wherever it is asked.
txn_at() {
    "$dunlin" --socket "${sockets[$1]}" --timeout 5000 txn telemetry >/dev/null 2>&1 \
        <<<'{"compare":[{"key":"{w}none","exists":true}],"else":[{"incr":{"key":"{w}sum","by":100}}]}'
}

# While a node speaks 2 there are no records of transactions, wherever the agent and the leader are.
no_transactions() {
    local n bytes
    scene "a node whose release knows no transactions"
    cluster_move 1
    for n in 1 2 3; do
        check "an increment at node $n" incr_at "$n"
        check "a transaction at node $n" [ "$(txn_at "$n"; echo $?)" = 1 ] # its else branch
    done
    check "each counted once" [ "$("$dunlin" --socket "${sockets[2]}" get telemetry '{w}sum')" = 303 ]
    cluster_stop 3
    wires[3]=2
    cluster_configure 3
    cluster_start 3
    cluster_ready 3
    await 20 "a put at it goes on to the leader" put_at 3
    for n in 1 2 3; do
        check "an increment at node $n is refused" [ "$(incr_at "$n"; echo $?)" = 5 ]
        check "it says why" grep -q 'older release' "$scratch/sum.err"
        check "a transaction at node $n is refused" [ "$(txn_at "$n"; echo $?)" = 5 ]
    done
    cluster_stop 3
    unset "wires[3]"
    cluster_configure 3
    cluster_start 3
    cluster_ready 3
    await 20 "with the newest all may" incr_at 3
    check "none of the refused ones counted" [ "$(cat "$scratch/sum")" = 304 ]
    bytes=$(committed 1)
    caught_up 3 "$bytes"
}

# all_again FILE: another cluster, with that key file for all nodes, or none.
all_again() {
    local n
    cluster_end
    for n in 1 2 3; do key_files[n]=$1; done
    cluster_begin
}

started_after() { local now; now=$(start "$1") && [ "${now:-0}" -gt "$2" ]; }

# Each lcore counts for itself: what one counted, of node 1 and of those that have as many.
counted_each() { echo $(($(status "$1" "$2") / lcores)); }
secrets_drawn() { [ "$(counted_each "$1" secrets_taken)" -ge "$2" ]; }
are_met() {
    local n m
    for n in 1 2 3; do
        for m in 1 2 3; do
            [ "$n" = "$m" ] || is_met "$m" "$n" || return
        done
    done
}

# Each two nodes have secrets of their own, over the control plane.
no_file() {
    local n m bytes before
    scene "a cluster without a key file"
    all_again none
    await 20 "all are up for each other" are_met
    await 20 "a put" put_at 2
    for n in 1 2 3; do
        published "$n"
    done
    lcores=$(($(status 1 secrets_taken) / 2))
    check "node 1 has a secret with each of the others" [ "$lcores" -gt 0 ]
    for n in 1 2 3; do
        check "so has node $n, and no other" [ "$(status "$n" secrets_taken)" = $((2 * lcores)) ]
    done
    scene "one of them starts again"
    cluster_move 1
    begin_watch
    for m in KILL TERM; do
        before=$(start 3)
        if [ $m = KILL ]; then cluster_kill 3; else cluster_stop 3; fi
        cluster_start 3
        cluster_ready 3
        await 20 "it is up for node 1" is_met 3 1
        await 20 "it is up for node 2" is_met 3 2
        await 20 "it is another start" started_after 3 "$before"
    done
    bytes=$(committed 1)
    caught_up 3 "$bytes"
    await 20 "it answers linearizable reads in place" get_at 3
    published 1
    check "what was shared with its former starts is void" [ "$(counted_each 1 secrets_void)" = 2 ]
    end_watch
    scene "other secrets follow those that there are"
    begin_watch
    before=$(status 1 pairs_up)
    check "node 1 reads its certificates anew" "$dunlind" --config "${configs[1]}" --reload
    await 20 "node 1 has others with both" secrets_drawn 1 6
    check "node 3 reads its certificates anew" "$dunlind" --config "${configs[3]}" --reload
    await 40 "node 2 has others with both, too" secrets_drawn 2 6
    for n in 1 2 3; do
        check "a put at node $n" put_at "$n"
        await 60 "those before are void at node $n" has_void "$n"
    done
    published 1
    check "no pair came up anew" [ "$(status 1 pairs_up)" = "$before" ]
    told "frames refused at node 1: $(status 1 refused_wrong_tag) for their tag," \
        "$(status 1 refused_unknown_key) for their key"
    end_watch
}

# Two places for each of two peers: as many are in use as there are peers.
has_void() { [ "$(($(counted_each "$1" secrets_taken) - $(counted_each "$1" secrets_void)))" = 2 ]; }

one_file() {
    local n bytes
    [ "${key_files[1]:-}" = none ] || all_again none
    scene "a node with a key file among others without"
    cluster_move 1
    cluster_stop 3
    begin_watch
    key_files[3]=$scratch/key
    cluster_configure 3
    cluster_start 3
    for n in 1 2; do
        await 20 "node $n says why" grep -q 'event=frame_keys_differ peer=3 .*key_file' "${logs[n]}"
        check "it is not up for node $n" [ "$(start_shown 3 "$n")" != "$(start 3)" ]
    done
    await 20 "node 3 says why" grep -q 'event=frame_keys_differ' "${logs[3]}"
    end_watch
    cluster_stop 3
    key_files[3]=none
    cluster_configure 3
    cluster_start 3
    cluster_ready 3
    await 20 "without one it is up" is_met 3 1
    bytes=$(committed 1)
    caught_up 3 "$bytes"
}

cluster_make 3 2
cluster_begin
scenes wrong_key other_cluster older_wire no_transactions no_file one_file
verdict
