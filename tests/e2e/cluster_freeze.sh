#!/usr/bin/env bash
# Nodes of a cluster are stopped (SIGSTOP) under load, go on (SIGCONT), and nobody reads anything old.
#
#   cluster_freeze.sh BUILD [follower|follower_behind|leader|leader_moved]...
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

freeze() { kill -STOP "${pids[$1]}"; }
thaw() { kill -CONT "${pids[$1]}"; }

# Longer than the lease, shorter than what the log keeps.
follower() {
    local bytes
    scene "SIGSTOP of a follower for longer than the lease"
    cluster_move 1
    agent_start single --writer "${sockets[1]}" --reader "${sockets[2]}" --reader "${sockets[3]}"
    fleet_start 6 3
    freeze 3
    agent_goes_on single w.done
    agent_goes_on single r0.done
    sleep 1
    bytes=$(committed 1)
    thaw 3
    caught_up 3 "$bytes"
    told "caught up after $took_ms ms" "longest put $(agent single w.longest_ms) ms"
    agent_goes_on single r1.done
    agent_end single
    fleet_end
}

# More is written meanwhile than the memory of the space: it comes back by a snapshot.
follower_behind() {
    local bytes wanted
    scene "SIGSTOP of a follower for longer than the log is kept"
    cluster_move 1
    agent_start bulk --writer "${sockets[1]}" --reader "${sockets[3]}" --bytes 8192 --pause-us 0
    agent_start single --writer "${sockets[2]}" --reader "${sockets[1]}" --reader "${sockets[3]}"
    agent_goes_on bulk w.done
    wanted=$(($(committed 1) + 2 * $(status 1 quota_bytes)))
    freeze 3
    await 60 "more is written than the memory of all spaces" has_committed 1 "$wanted"
    told "that took $took_ms ms"
    bytes=$(committed 1)
    thaw 3
    caught_up 3 "$bytes"
    told "caught up after $took_ms ms, $((2 * $(status 1 quota_bytes) / 1048576)) MiB behind" \
        "longest put $(agent single w.longest_ms) ms, of 8 KiB $(agent bulk w.longest_ms) ms"
    agent_goes_on bulk r0.done
    agent_goes_on single r1.done
    check "no put failed" [ "$(agent bulk w.unknown)$(agent bulk w.refused)$(agent bulk w.other)" = 000 ]
    check "no put failed" [ "$(agent single w.unknown)$(agent single w.refused)" = 00 ]
    agent_end single
    agent_end bulk
}

leader() {
    local bytes
    scene "SIGSTOP of the leader for a second"
    cluster_lead 3
    agent_start single --writer "${sockets[1]}" --reader "${sockets[2]}" --reader "${sockets[3]}"
    fleet_start 7 3
    freeze 3
    sleep 1
    bytes=$(committed 1)
    thaw 3
    agent_goes_on single w.done
    told "longest put $(agent single w.longest_ms) ms"
    agent_goes_on single r0.done
    agent_goes_on single r1.done
    caught_up 3 "$bytes"
    agent_end single
    fleet_end may-fail
}

# It is frozen while its leadership is taken from it, again and again: what it answers after SIGCONT, in
# place as well, is never older than what was acknowledged elsewhere by then.
leader_moved() {
    local done_before moves
    scene "SIGSTOP of the leader while its leadership moves"
    agent_start single --writer "${sockets[1]}" --reader "${sockets[3]}" --reader "${sockets[3]}" \
        --reader "${sockets[2]}" --pause-us 0
    for moves in 1 2 3 4 5; do
        cluster_lead 3 1
        done_before=$(agent single r0.done)
        await 30 "node 3 is read" agent_grows single r0.done "$done_before" 1000
        freeze 3
        check "leadership moves without node 3" cluster_move 1
        agent_goes_on single w.done
        agent_goes_on single r2.done
        thaw 3
        agent_goes_on single r0.done
        agent_goes_on single r1.done
    done
    told "$moves moves" "longest put $(agent single w.longest_ms) ms" \
        "unknown $(agent single w.unknown)" \
        "$(agent single r0.done) and $(agent single r1.done) linearizable reads at the frozen node"
    agent_end single
}

quota_telemetry=8MiB
quota_sectors=8MiB
cluster_up 3
scenes follower follower_behind leader leader_moved
verdict
