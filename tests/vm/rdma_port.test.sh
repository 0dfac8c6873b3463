#!/usr/bin/env bash
# rdma_port.test.sh BUILD [SCENE...] - ports of a verbs device: connections, log memory, a device and a cable that go and
# come; see tests/unit/dataplane/rdma_port_guest.c.
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 1024 -t 400

# Two devices: see the scene "device".
devices_up() {
    modprobe -a rdma_rxe rdma_ucm ib_uverbs veth || return 1
    ip link add va mtu 4200 type veth peer name vb mtu 4200 || return 1
    for address in 1 2 3; do
        ip address add "10.99.0.$address/24" dev va || return 1
    done
    ip link set va up && ip link set vb up && rdma link add rxe0 type rxe netdev va &&
        rdma link add rxe1 type rxe netdev vb
}

check "the devices come up" devices_up
check "the ports" timeout 350 "$build/tests/unit/dataplane/rdma_port_guest" rxe0 va 10.99.0.1 10.99.0.2 10.99.0.3 \
    "${arguments[@]}"
verdict
