#!/usr/bin/env bash
# transport_rdma.test.sh BUILD [SCENE...] - the rdma transport over a device: datagrams, credit, log writes, connections that end under load,
# a peer that is killed; see tests/unit/dataplane/transport_rdma_guest.c.
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 1024 -t 400
# shellcheck source=tests/vm/rdma.sh
. "$here/rdma.sh"

device_up() {
    rdma_modules && rdma_cable && ip address add 10.99.0.1/24 dev va && ip address add 10.99.0.2/24 dev va &&
        rdma_device va
}

check "the device comes up" device_up
check "the transport" timeout 350 "$build/tests/unit/dataplane/transport_rdma_guest" 10.99.0.1 10.99.0.2 \
    "${arguments[@]}"
verdict
