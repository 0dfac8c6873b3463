#!/usr/bin/env bash
# Nodes whose frames go past the kernel, by DPDK over virtual cables or shared memory, alone and beside one that uses
# sockets, with as many pairs of queues as lcores and with fewer: a fleet flies, a leader dies by kill -9 and comes back.
#
#   cluster_dpdk.sh BUILD [packet|shared|pairs|memif|xdp|mixed]...
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"
# shellcheck source=tests/e2e/flight.sh
. "$(dirname "$0")/flight.sh"

# cable n up|down: of node n; with shared memory those of all nodes, by their switch.
cable() {
    if [[ ${transports[$1]} != net_memif* ]]; then
        net_in 0 ip link set "second$1" "$2"
    elif [ "$2" = up ]; then
        switch_start
    else
        kill -KILL "$switch"
        wait "$switch" 2>/dev/null
    fi
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

# port n NAME: what node n says of its port, in one word.
port() {
    "$dunlin" --socket "${sockets[$1]}" --json nodes 2>/dev/null | tr -d ' \n' |
        grep -oE '"port":\{[^}]*' | grep -oE "\"$2\":[^,}]*" | cut -d: -f2-
}

# ---- two lcores of each node -------------------------------------------------------------------------

hands_over() { [ "$(status "$1" packets_handed_over)" -gt 0 ]; }

# flight_of_two PORT PAIRS
flight_of_two() {
    local n
    # shellcheck disable=SC2034 # of cluster.sh
    lcore_count=2
    flight "$1" "$1" "$1"
    lcore_count=
    for n in 1 2 3; do
        check "pairs of queues of node $n: $2" [ "$(port "$n" queues)" = "$2" ]
    done
}

shared() {
    local n
    scene "three nodes of two lcores that share a pair of queues"
    flight_of_two "$packet_port" 1
    for n in 1 2 3; do
        check "lcores of node $n hand over to each other" hands_over "$n"
    done
}

# Why no AF_XDP here: on a virtual cable its driver knows of one queue.
pairs() {
    scene "three nodes of two lcores, each with a pair of queues"
    flight_of_two "$packet_port,qpairs=2" 2
}

# ---- shared memory ---------------------------------------------------------------------------------

switch_start() {
    rm -f "$scratch/memif"
    setpriv --pdeathsig KILL "$programs/memif_switch" "$scratch/memif" 3 >"$scratch/switch.log" 2>&1 </dev/null &
    switch=$!
    children+=("$switch")
    await 30 "the switch forwards" grep -qx ready "$scratch/switch.log"
}

# It ends as it is told, and says what it did.
switch_end() {
    local did
    kill -TERM "$switch"
    check "the switch ends by SIGTERM" wait "$switch"
    read -ra did < <(tail -n 1 "$scratch/switch.log")
    told "the switch: ${did[*]}"
    check "the switch learns where stations are" [ "${did[1]}" -gt 0 ]
}

memif_port() { echo "net_memif0,id=$1,socket=$scratch/memif,socket-abstract=no"; }

# has_flapped n: its link was down once, and is up.
has_flapped() { [ "$(port "$1" link_downs)$(port "$1" link_up)" = 1true ]; }

# Of a daemon with one lcore: DPDK_CHAIN_PROVEN.
chains() { [ "$(of "$1" chain_state)" = 1 ]; }

# Node 3 is a process again since, whose link was never down.
memif() {
    local n
    scene "three nodes over shared memory and a switch"
    switch_start
    # shellcheck disable=SC2034 # of cluster.sh
    encrypt=false
    flight "$(memif_port 1)" "$(memif_port 2)" "$(memif_port 3)"
    encrypt=
    for n in 1 2 3; do
        await "$patience" "the port of node $n has shown that it sends chained frames" chains "$n"
        check "the link of node $n was never down" [ "$(port "$n" link_downs)" = 0 ]
    done
    flap 1 2
    for n in 1 2 3; do
        await "$patience" "the link of node $n was down once, and is up" has_flapped "$n"
    done
    switch_end
}

# ---- all ---------------------------------------------------------------------------------------------

# The kernel has AF_XDP.
has_xdp() { python3 -c 'import socket; socket.socket(44, socket.SOCK_RAW)' 2>/dev/null; }

# Why: processes that are killed leave what DPDK keeps for them, and that is to go with the rest.
export RUNTIME_DIRECTORY=$scratch
cluster_make 3
for node in 1 2 3; do
    net_second "$node" || verdict
done
if has_xdp; then
    scenes packet shared pairs memif xdp mixed
else
    echo "this kernel has no AF_XDP: only what does without"
    scenes packet shared pairs memif
fi
verdict
