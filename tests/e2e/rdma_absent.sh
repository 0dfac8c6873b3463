#!/usr/bin/env bash
# A node of transport rdma on a machine that has no RDMA device: it ends, and says why and what to do; so does the
# doctor.
#
#   rdma_absent.sh BUILD
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/expect.sh
. "$(dirname "$0")/expect.sh"
[ -z "$(ls /sys/class/infiniband 2>/dev/null)" ] || { echo "this machine has an RDMA device"; exit 77; }

expect 0 "$dunlin" authority create "$scratch/ca" --cluster flock
expect 0 "$dunlin" authority issue "$scratch/ca" --node 1
# Of two nodes the first one decides, and waits for nobody.
cat >"$config" <<END
node: {name: $e2e_name, id: 1}
socket: {path: $socket, mode: 0600}
cluster:
  name: flock
  transport: rdma
  control:
    directory: $scratch/control
    certificate: $scratch/ca/node-1.crt
    key: $scratch/ca/node-1.key
    authority: $scratch/ca/authority.crt
  nodes:
    - {id: 1, address: 127.0.0.1:17790}
    - {id: 2, address: 127.0.0.1:17791}
spaces: [{name: s, id: 1}]
END
expect 1 timeout 60 "$dunlind" --config "$config"
complains 'event=port_failed address=127.0.0.1 port=17790 .*help="no RDMA device here has this node.s address'
complains 'event=join_failed step=port'
expect 2 "$dunlind" --config "$config" -- -m 64
complains 'behind -- is for DPDK'
"$dunlin" doctor --config "$config" >"$out" 2>"$err"
says '^fault +rdma_device: there is none:'
says 'mend: .*rdma link add rxe0 type rxe netdev lo$'
echo "$checks checks, $faults faults"
[ $faults -eq 0 ]
