#!/usr/bin/env bash
# Nodes whose frames go past the kernel, by DPDK over virtual cables, alone and beside one that uses sockets: a
# fleet flies, a leader dies by kill -9 and comes back.
#
#   cluster_dpdk.sh BUILD [packet|xdp|mixed]...
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

# flight KIND1 KIND2 KIND3: what nodes use.
flight() {
    local n
    for n in 1 2 3; do
        # shellcheck disable=SC2034 # of cluster.sh
        transports[n]=${!n}
    done
    cluster_end
    cluster_begin
    cluster_move 3
    fleet_start 8 2
    agent_start there --writer "${sockets[1]}" --reader "${sockets[2]}" --reader "${sockets[1]}"
    agent_goes_on there w.done
    cluster_kill 3
    sleep 1
    cluster_start 3
    cluster_ready 3
    await 30 "all shards active" is_active 1
    caught_up 3 "$(committed 1)"
    told "caught up after $took_ms ms"
    agent_goes_on there w.done
    agent_goes_on there r0.done
    agent_end there
    fleet_end may-fail
    for n in 1 2 3; do
        check "node $n refused no frame of another cluster" [ "$(status "$n" frames_other_cluster)" = 0 ]
    done
}

is_up() { [ "$(node "$1" "$2" up)" = "$3" ]; }

# flap n AT: the cable of what n drives is out for a second.
flap() {
    net_in 0 ip link set "second$1" down
    await 30 "node $1 is heard no more" is_up "$2" "$1" false
    sleep 1
    net_in 0 ip link set "second$1" up
    await 30 "node $1 is heard again" is_up "$2" "$1" true
    told "cable out and in again, heard after $took_ms ms"
    await 30 "all shards active" is_active "$2"
    caught_up "$1" "$(committed "$2")"
}

packet_port=net_af_packet0,iface=eth1
xdp_port=net_af_xdp0,iface=eth1,busy_budget=0

packet() {
    scene "three nodes over AF_PACKET"
    flight "$packet_port" "$packet_port" "$packet_port"
    flap 1 2
}

xdp() {
    scene "three nodes over AF_XDP"
    flight "$xdp_port" "$xdp_port" "$xdp_port"
    flap 3 1
}

mixed() {
    scene "two nodes with DPDK and one with sockets"
    # shellcheck disable=SC2034 # of cluster.sh
    behind[1]="--log-level=*:error --single-file-segments"
    flight "$packet_port" "$xdp_port" udp
}

# The kernel has AF_XDP.
has_xdp() { python3 -c 'import socket; socket.socket(44, socket.SOCK_RAW)' 2>/dev/null; }

cluster_make 3
for node in 1 2 3; do
    net_second "$node" || verdict
done
if has_xdp; then
    scenes packet xdp mixed
else
    echo "this kernel has no AF_XDP: only what does without"
    scenes packet
fi
verdict
