#!/usr/bin/env bash
# Nodes of a cluster die by kill -9 under a fleet and come back a second later, with nothing in memory.
#
#   cluster_crash.sh BUILD [follower|leader]...
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

# back n: killed, away for a second, started, and caught up with what node AT had by then.
back() {
    local n=$1 at=$2 bytes before
    before=$(start "$n")
    cluster_kill "$n"
    sleep 1
    cluster_start "$n"
    cluster_ready "$n"
    check "node $n has another start" [ "$(start "$n")" -gt "$before" ]
    await 30 "all shards active" is_active "$at"
    active_ms=$took_ms
    bytes=$(committed "$at")
    caught_up "$n" "$bytes"
}

follower() {
    scene "kill -9 of a follower"
    cluster_move 1
    agent_start there --writer "${sockets[3]}" --reader "${sockets[3]}" --reader "${sockets[1]}"
    fleet_start 16 3
    agent_goes_on there w.done
    back 3 1
    told "active after $active_ms ms" "caught up after $took_ms ms"
    agent_goes_on there w.done
    agent_goes_on there r0.done
    check "the agents at node 3 attached once more" [ "$(agent there w.attached)" -ge 2 ]
    told "agents there: $(agent there w.unknown) of unknown fate" \
        "$(agent there w.refused) refused" "longest put $(agent there w.longest_ms) ms"
    agent_end there
    fleet_end
}

leader() {
    scene "kill -9 of the leader"
    cluster_lead 3 1
    agent_start near --writer "${sockets[1]}" --reader "${sockets[2]}" --reader "${sockets[3]}"
    fleet_start 16 3
    agent_goes_on near w.done
    back 3 1
    told "active after $active_ms ms" "caught up after $took_ms ms"
    check "others lead now" [ "$(leads 3 1)" = 0 ]
    agent_goes_on near w.done
    agent_goes_on near r0.done
    agent_goes_on near r1.done
    told "agents near: $(agent near w.unknown) of unknown fate" \
        "$(agent near w.refused) refused" "longest put $(agent near w.longest_ms) ms"
    agent_end near
    fleet_end may-fail
}

cluster_up 3
scenes follower leader
check "nothing is lost" [ "$(lost 1)" = 0 ]
verdict
