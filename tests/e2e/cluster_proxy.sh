#!/usr/bin/env bash
# Two nodes of a cluster hear each other through a network that loses, doubles, reorders, delays, damages
# and replays datagrams, in both directions: udp_proxy.c.
#
#   cluster_proxy.sh BUILD [faulty]
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

# proxy_start a b OPTION...: it stands at a, between a and b.
proxy_start() {
    local a=$1 b=$2
    shift 2
    seen[$a,$b]=$(net_address "$a"):$((7800 + 2 * b))
    seen[$b,$a]=$(net_address "$a"):$((7801 + 2 * b))
    net_start "$a" "$programs/udp_proxy" --listen "${seen[$a,$b]}" --to "$(net_address "$b"):7700" \
        --bind-upstream "${seen[$b,$a]}" "$@" >"$scratch/proxy$a$b" 2>&1
    proxies[$a$b]=$net_pid
    await 10 "the proxy listens" grep -qs '^listening' "$scratch/proxy$a$b"
}

# counted AB NAME: what a proxy did, both ways.
counted() {
    tr ' ' '\n' <"$scratch/proxy$1" |
        awk -F= -v name="$2" '$1 ~ "[.]" name "$" { sum += $2 } END { print sum + 0 }'
}

rose() { [ "$(status "$1" "$2")" -gt 0 ]; }

faulty() {
    local bytes kind
    scene "a bad network between nodes 1 and 3, and 1 and 2"
    cluster_move 1
    agent_start single --writer "${sockets[3]}" --reader "${sockets[1]}" --reader "${sockets[3]}"
    fleet_start 9 3
    agent_goes_on single w.done
    check "leadership moves" cluster_move 3 1
    agent_goes_on single w.done
    agent_goes_on single r0.done
    check "leadership moves back" cluster_move 1
    agent_goes_on single r1.done
    for kind in refused_wrong_tag refused_replayed refused_too_old; do
        await 20 "$kind rises at node 1" rose 1 "$kind"
        await 20 "$kind rises at node 3" rose 3 "$kind"
    done
    told "refused at node 1: wrong tag $(status 1 refused_wrong_tag)," \
        "replayed $(status 1 refused_replayed), too old $(status 1 refused_too_old)"
    told "longest put $(agent single w.longest_ms) ms," \
        "$(agent single w.unknown) of unknown fate, $(agent single w.refused) refused"
    check "no put failed" [ "$(agent single w.unknown)$(agent single w.refused)" = 00 ]
    agent_end single
    fleet_end
    bytes=$(committed 1)
    caught_up 3 "$bytes"
    caught_up 2 "$bytes"
    kill -TERM "${proxies[13]}" "${proxies[12]}"
    await 10 "a proxy ends" has_ended "${proxies[13]}"
    for kind in lost duplicated corrupted reordered replayed; do
        check "the proxy did it: $kind" [ "$(counted 13 "$kind")" -gt 0 ]
    done
    told "between 1 and 3: $(counted 13 received) datagrams, $(counted 13 lost) lost," \
        "$(counted 13 duplicated) doubled, $(counted 13 corrupted) damaged," \
        "$(counted 13 reordered) reordered, $(counted 13 replayed) replayed"
}

declare -A proxies
cluster_make 3
proxy_start 1 3 --seed 11 --loss 0.03 --duplicate 0.03 --reorder 0.05 --replay 0.02 --corrupt 0.02 --delay-us 500
proxy_start 1 2 --seed 12 --duplicate 0.03 --reorder 0.02 --replay 0.01 --corrupt 0.005
cluster_begin
scenes faulty
verdict
