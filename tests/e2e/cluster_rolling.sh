#!/usr/bin/env bash
# A rolling restart: under a fleet every node is ended by SIGTERM in its turn, started again, and waited for until
# it holds all again. No write fails. Likewise certificates: new ones for every node, by `dunlind --reload`.
#
#   cluster_rolling.sh BUILD [restarted|reissued]...
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

# knows n m: node n has heard of node m's new start, and leaderships may go there again.
knows() { is_up "$1" "$2" && [ "$(node "$1" "$2" start)" = "$(start "$2")" ]; }

# holds n: all that is committed at the others; the node that leads says so.
holds() {
    local leader
    for ((leader = 1; leader <= nodes; leader++)); do
        [ "$leader" -eq "$1" ] || [ "$(leads "$leader")" = 0 ] || lacks_little "$leader" "$1" || return 1
    done
}

# lacks_little LEADER n: a fleet writes on, so a little is always under way.
lacks_little() {
    local lag
    lag=$(node "$1" "$2" lag)
    [[ $lag =~ ^[0-9]+$ ]] && [ "$lag" -lt 65536 ]
}

# other n: a node that is not n.
other() { echo $(($1 % nodes + 1)); }

restart() {
    local n=$1 at
    at=$(other "$n")
    cluster_stop "$n"
    told "node $n ended within $took_ms ms"
    cluster_start "$n"
    cluster_ready "$n"
    await 30 "all shards are active at node $n" is_active "$n"
    for ((at = 1; at <= nodes; at++)); do
        [ "$at" -eq "$n" ] || await 30 "node $at knows node $n again" knows "$at" "$n"
    done
    await 30 "node $n holds all again" holds "$n"
    told "node $n holds all again after $took_ms ms"
}

# The fleet has its agents at nodes 1 and 2, which they survive; node 3 it watches.
restarted() {
    local n
    scene "every node is restarted in its turn, under a fleet"
    cluster_move 1
    agent_start near --writer "${sockets[2]}" --reader "${sockets[3]}"
    fleet_start 25 3
    for n in 3 2 1; do
        restart "$n"
        agent_goes_on near w.done
    done
    check "the fleet flew all the while" kill -0 "$fleet_pid"
    told "the longest put took $(agent near w.longest_ms) ms; $(agent near w.unknown) of unknown fate," \
        "$(agent near w.refused) refused"
    check "no put was refused" [ "$(agent near w.refused)" = 0 ]
    agent_end near
    fleet_end
}

reload() { "$dunlind" --config "${configs[$1]}" --reload >"$scratch/reload$1" 2>&1; }

reissued() {
    local n
    scene "every node gets a new certificate, and keeps its connections"
    for n in 1 2 3; do
        "$dunlin" authority issue "$scratch/ca" --node "$n" --force >/dev/null || fault "issue"
        check "node $n reads it" reload "$n"
        check "node $n says so" grep -q 'certificates: loaded' "$scratch/reload$n"
        check "node $n logs it" grep -q 'event=reloaded .*certificates=loaded' "${logs[n]}"
        is_active "$n" || fault "node $n has shards that wait"
    done
    echo none >"$scratch/ca/node-2.crt"
    reload 2
    check "a file that is none is an error" [ $? = 1 ]
    check "and the old one stays" grep -q 'certificates: kept' "$scratch/reload2"
    cluster_lead 2
    "$dunlin" authority issue "$scratch/ca" --node 2 --force >/dev/null || fault "issue"
}

cluster_up 3
scenes restarted reissued
verdict
