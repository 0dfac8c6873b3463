#!/usr/bin/env bash
# The network between the nodes of a cluster is cut, in both directions and in one, and made slow.
#
#   cluster_network.sh BUILD [follower_cut|follower_deaf|follower_mute|leader_cut|slow]...
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

# cut_for_a_while WHAT CUT...: the commands cut node 3, a follower, off.
cut_for_a_while() {
    local bytes
    scene "$1"
    shift
    cluster_move 1
    agent_start single --writer "${sockets[1]}" --reader "${sockets[2]}" --reader "${sockets[3]}"
    fleet_start 6 3
    "$@"
    agent_goes_on single w.done
    agent_goes_on single r0.done
    sleep 2
    agent_goes_on single w.done
    bytes=$(committed 1)
    net_heal
    caught_up 3 "$bytes"
    told "caught up after $took_ms ms" "longest put $(agent single w.longest_ms) ms" \
        "reads at it: $(agent single r1.done), the longest $(agent single r1.longest_ms) ms," \
        "local ones up to $(agent single r1.age_ms) ms old"
    agent_goes_on single r1.done
    agent_end single
    fleet_end
}

deafen() { net_cut 1 3 && net_cut 2 3; }
mute() { net_cut 3 1 && net_cut 3 2; }

follower_cut() { cut_for_a_while "a follower is cut off" net_cut_node 3; }
follower_deaf() { cut_for_a_while "a follower hears nothing" deafen; }
follower_mute() { cut_for_a_while "a follower is not heard" mute; }

# age_of n: of what a local get there says, in milliseconds.
age_of() {
    "$dunlin" --socket "${sockets[$1]}" --json get telemetry here --local |
        grep -oE '"age_ms": ?[0-9]+' | grep -oE '[0-9]+$'
}

is_older() { [ "$(age_of "$1")" -ge "$2" ] 2>/dev/null; } # no answer is no age
is_young() { [ "$(age_of "$1")" -lt "$2" ] 2>/dev/null; }

leader_cut() {
    local unknown
    scene "the leader is cut off from both followers"
    cluster_lead 1
    "$dunlin" --socket "${sockets[1]}" put telemetry here now >/dev/null
    agent_start single --writer "${sockets[2]}" --reader "${sockets[1]}" --reader "${sockets[2]}" \
        --reader "${sockets[3]}" --timeout-ms 20000
    agent_goes_on single w.done
    net_cut_node 1
    await 20 "others lead" leads_nothing 1 2
    agent_goes_on single w.done
    for n in 1 2 3; do
        check "a local get at node $n is answered" "$dunlin" --socket "${sockets[n]}" get telemetry here --local \
            >/dev/null
    done
    await 10 "the age of its own copy grows" is_older 1 1000
    check "a linearizable get at it says that it is not available" said_unavailable 1
    net_heal
    agent_goes_on single w.done
    await 20 "its copy is young again" is_young 1 500
    unknown=$(agent single w.unknown)
    told "the longest write took $(agent single w.longest_ms) ms, $unknown of unknown fate," \
        "$(agent single w.refused) refused"
    check "no write failed, within its time" [ "$unknown$(agent single w.refused)" = 00 ]
    for n in 0 1 2; do
        agent_goes_on single "r$n.done"
    done
    agent_end single
}

leads_nothing() { [ "$(leads "$1" "$2")" = 0 ]; }
said_unavailable() {
    "$dunlin" --socket "${sockets[$1]}" --timeout 300 get telemetry here --linearizable >/dev/null 2>&1
    [ $? -eq 3 ]
}

# A link that carries a part of what is written: the others do not wait for it, and keep no more for it.
slow() {
    local bytes arena before
    scene "a follower's link carries 2 Mbit/s"
    cluster_lead 1
    agent_start single --writer "${sockets[1]}" --reader "${sockets[2]}" --reader "${sockets[3]}"
    agent_start bulk --writer "${sockets[2]}" --reader "${sockets[3]}" --bytes 4096 --pause-us 500
    agent_goes_on bulk w.done
    net_rate 3 2000 || verdict
    before=$(committed 1)
    await 200 "the others carry on" has_committed 1 $((before + 2 * $(status 1 quota_bytes)))
    arena=$(status 1 arena_bytes)
    told "$((2 * $(status 1 quota_bytes) / took_ms)) kB/s at the others" \
        "it is $((($(committed 1) - $(committed 3)) / 1024)) KiB behind" \
        "arena of the leader $((arena / 1024)) KiB"
    check "it lags" [ "$(committed 3)" -lt "$(committed 1)" ]
    check "no more memory than allowed" [ "$arena" -le "$(status 1 quota_bytes)" ]
    net_rate 3 0
    bytes=$(committed 1)
    caught_up 3 "$bytes"
    told "caught up after $took_ms ms" "longest put $(agent single w.longest_ms) ms, of 4 KiB" \
        "$(agent bulk w.longest_ms) ms"
    check "no put failed" [ "$(agent bulk w.unknown)$(agent bulk w.refused)" = 00 ]
    check "no put failed" [ "$(agent single w.unknown)$(agent single w.refused)" = 00 ]
    agent_goes_on single r1.done
    agent_end bulk
    agent_end single
}

quota_telemetry=8MiB
quota_sectors=8MiB
cluster_up 3
scenes follower_cut follower_deaf follower_mute leader_cut slow
verdict
