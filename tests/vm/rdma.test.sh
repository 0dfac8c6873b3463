#!/usr/bin/env bash
# rdma.test.sh BUILD - RDMA over Ethernet in software: the device comes up on a virtual network card, and one
# process writes into another's memory through it.
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 1024 -t 300

device_up() {
    modprobe -a rdma_rxe rdma_ucm ib_uverbs veth || return 1
    ip link add va mtu 4200 type veth peer name vb mtu 4200 &&
        ip address add 10.99.0.1/24 dev va && ip link set va up && ip link set vb up &&
        rdma link add rxe0 type rxe netdev va
}

writes() {
    local server
    # Index 1 of the addresses is RoCE v2 over IPv4.
    timeout 30 ib_write_lat -d rxe0 -x 1 -n 200 -s 64 >/tmp/server 2>&1 &
    server=$!
    sleep 1
    timeout 30 ib_write_lat -d rxe0 -x 1 -n 200 -s 64 10.99.0.1 >/tmp/client 2>&1 && wait $server
}

check "the device comes up" device_up
ibv_devinfo -d rxe0 >/tmp/info 2>&1
said "its port is active" /tmp/info 'state:[[:space:]]+PORT_ACTIVE'
said "frames of 4096 bytes" /tmp/info 'active_mtu:[[:space:]]+4096'
check "one process writes into another" writes
said "200 writes of 64 bytes" /tmp/client '^ *64 +200 '
verdict
