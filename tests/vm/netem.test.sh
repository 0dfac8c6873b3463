#!/usr/bin/env bash
# netem.test.sh BUILD - two nodes over links that lose, double, reorder and damage packets, which the machine's
# own kernel may not be able to do: an agent writes and reads on, and both nodes end with the same.
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 1536 -t 480
# shellcheck source=tests/e2e/common.sh
. "$here/../e2e/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$here/../e2e/cluster.sh"
# Why so long: an emulated processor may be away for a while.
lease=500ms
leader_lease=2s

# disturb NETEM...: what goes to each node, and what comes from it.
disturb() {
    local n
    for n in 1 2; do
        net_in 0 tc qdisc replace dev "port$n" root netem "$@" &&
            net_in "$n" tc qdisc replace dev eth0 root netem "$@" || return 1
    done
}

# shaken NAME NETEM...: the agent goes on meanwhile.
shaken() {
    scene "$1"
    shift
    check "netem $*" disturb "$@" limit 10000
    agent_goes_on single w.done 60
    agent_goes_on single r0.done 60
    told "$(dropped 1) packets to node 1 dropped"
}

dropped() { net_in 0 tc -s qdisc show dev "port$1" | grep -oE 'dropped [0-9]+' | grep -oE '[0-9]+'; }
has_dropped() { [ "$(dropped "$1")" -gt 0 ]; }

modprobe -a veth bridge sch_netem nf_tables
cluster_up 2
agent_start single --writer "${sockets[2]}" --reader "${sockets[1]}" --timeout-ms 60000
shaken "packets are lost" delay 1ms loss 10%
check "some were lost" has_dropped 1
shaken "they come twice, and in another order" delay 3ms reorder 25% 50% duplicate 10%
shaken "they are damaged" delay 1ms corrupt 5%
check "the links are good again" disturb delay 0ms
agent_goes_on single w.done 60
agent_end single
bytes=$(committed 1)
caught_up 2 "$bytes" 60
told "the agent wrote $(agent single w.done) times"
for n in 1 2; do
    cluster_stop "$n" 60
done
verdict
