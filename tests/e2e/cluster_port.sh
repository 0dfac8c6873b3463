#!/usr/bin/env bash
# What can be seen of a port that a daemon drives: DPDK's telemetry answers, `dunlin status` and `dunlin top` tell of it,
# lcores have caches of their own, and `dunlin doctor` looks at one that is free, in use, or not there.
#
#   cluster_port.sh BUILD [telemetry|shown|doctor|woken]...
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

# telemetry_of n COMMAND: what DPDK's telemetry of that daemon answers, without blanks.
telemetry_of() {
    python3 - "/var/run/dpdk/dunlin-${pids[$1]}/dpdk_telemetry.v2" "$2" <<'END'
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(20)
s.connect(sys.argv[1])
s.recv(65536)  # who it is
s.send(sys.argv[2].encode())
print(json.dumps(json.loads(s.recv(65536)), separators=(",", ":")))
END
}

has_told() {
    local told
    told=$(telemetry_of "$1" "$2")
    [[ $told =~ $3 ]] || { echo "   $told"; return 1; }
}

telemetry() {
    local n
    scene "telemetry of DPDK"
    for n in 1 2; do
        # Why not /ethdev/list: it leaves out ports that have an owner.
        check "node $n names its port" has_told "$n" /ethdev/info,0 '"name":"net_af_packet0"'
        check "node $n counts packets" has_told "$n" /ethdev/stats,0 '"ipackets":[1-9]'
        check "node $n lists its pools" has_told "$n" /mempool/list '"dunlin_1","dunlin_1_chain"'
    done
    check "switched off, there is none" [ ! -e "/var/run/dpdk/dunlin-${pids[3]}/dpdk_telemetry.v2" ]
}

port_of() {
    "$dunlin" --socket "${sockets[$1]}" --json nodes 2>/dev/null | tr -d ' \n' |
        grep -oE '"port":\{[^}]*' | grep -oE "\"$2\":[^,}]*" | cut -d: -f2-
}
port_is() { [ "$(port_of "$1" "$2")" = "$3" ]; }
has_line() { "${@:2}" 2>/dev/null | grep -qE -- "$1"; }

shown() {
    scene "the port in status and top"
    await "$patience" "the link is told" port_is 1 link_up true
    check "state" port_is 1 state '"running"'
    check "resets" port_is 1 resets 0
    check "such a port has no interrupts" port_is 1 interrupts false
    check "its lcore joined DPDK" [ "$(of 1 threads_joined)" = 1 ]
    check "status shows it" has_line '^port net_af_packet0, driver net_af_packet, running, link up' at 1 status
    check "top shows it" has_line '^port net_af_packet0 \(net_af_packet\) running, link up' at 1 top --once
}

# looked n OPTION...: what the doctor says, in $scratch/doctor, on node n, where it sees no process of anybody else.
looked() {
    local n=$1
    shift
    net_in "$n" unshare --pid --fork --mount-proc "$dunlin" doctor "$@" >"$scratch/doctor" 2>"$scratch/errors"
}

says() { grep -qE -- "$1" "$scratch/doctor" || { grep -A 2 -E "port" "$scratch/doctor" "$scratch/errors"; return 1; }; }

doctor() {
    scene "the doctor looks at the port"
    net_in 1 "$dunlin" doctor --config "${configs[1]}" >"$scratch/doctor" 2>"$scratch/errors"
    check "one that is driven is left alone" says '^warning  port net_af_packet0: not looked at: process [0-9]+'
    check "and works" port_is 1 state '"running"'
    cluster_kill 1
    looked 1 --config "${configs[1]}"
    check "one that is free is opened" says '^ok       port net_af_packet0: opened, driver net_af_packet, packets in (small|huge) pages$'
    check "link" says '^ok       port_link net_af_packet0: up'
    check "mtu" says '^ok       port_mtu net_af_packet0: 1500, packets to other nodes have up to 1428$'
    check "queues" says '^ok       port_queues net_af_packet0: 1 pairs for 1 lcores$'
    check "offloads" says '^ok       port_offloads net_af_packet0: checksums out by the processor'
    check "self-test, with another node" says '^ok       port_chain net_af_packet0: it does: a neighbour returned'
    check "interrupts" says '^warning  port_interrupts net_af_packet0: none$'
    looked 1 --port net_af_packet0,iface=nosuch --json
    check "one that is not there is a fault" [ $? -eq 1 ]
    check "and a finding" says '"is":"not opened [(]port: No such device[)]'
    cluster_start 1
    cluster_ready 1
    check "the node has its port again" port_is 1 state '"running"'
}

# Two nodes whose ports are the two ends of one wire, that of node 2 with interrupts.
woken() {
    local slept
    scene "an lcore that sleeps is woken by its port"
    cluster_end
    nodes=2
    transports[1]=net_vhost0,iface=$scratch/wire,client=1
    transports[2]=net_virtio_user0,path=$scratch/wire,server=1
    cluster_begin
    check "node 2 has interrupts" port_is 2 interrupts true
    cluster_move 2 1
    slept=$(of_counters 2 sleeps)
    agent_start there --writer "${sockets[1]}" --reader "${sockets[1]}"
    agent_goes_on there w.done
    sleep 2
    agent_goes_on there w.done
    told "node 2 slept $(($(of_counters 2 sleeps) - slept)) times, $(agent there w.done) puts, the longest took $(agent there w.longest_ms) ms"
    agent_end there
    check "its port woke it" [ "$(of 2 interrupts_proven)" = 1 ]
    check "it slept" [ "$(of_counters 2 sleeps)" -gt "$slept" ]
}

# of_counters n NAME: of all its lcores.
of_counters() {
    "$dunlin" --socket "${sockets[$1]}" --json status 2>/dev/null |
        grep -oE "\"$2\": ?[0-9]+" | head -n 1 | grep -oE '[0-9]+$'
}

cluster_make 3
for node in 1 2 3; do
    net_second "$node" || verdict
    transports[node]=net_af_packet0,iface=eth1
done
# shellcheck disable=SC2034 # of cluster.sh
behind[3]=--no-telemetry
cluster_begin
scenes telemetry shown doctor woken
verdict
