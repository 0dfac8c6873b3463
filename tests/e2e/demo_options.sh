#!/usr/bin/env bash
# What bench/demo.sh refuses, and why, before it installs or builds anything.
#
#   demo_options.sh BUILD
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/expect.sh
. "$(dirname "$0")/expect.sh"

demo=$(dirname "$0")/../../bench/demo.sh

expect 0 "$demo" --help
says '--transport T'
expect 2 "$demo" --transport
complains 'needs a value'
for list in '' tcp 'dpdk,' ',dpdk' 'dpdk,,udp' 'dpdk,tcp,udp' 'dpdk dpdk udp' udp,udp,rdma rdma,rdma,rdma; do
    expect 2 "$demo" --transport "$list"
    complains "takes rdma, udp or dpdk, or one of the last two for each node and commas between, not '$list'"
done
expect 2 "$demo" --transport rdma --in-process
complains 'processes of their own'
expect 2 "$demo" --transport rdma --nodes 1
complains 'processes of their own'
expect 2 "$demo" --transport rdma --chaos partition:2s
complains 'exclude each other'
if [ -z "$(ls /sys/class/infiniband 2>/dev/null)" ]; then
    expect 77 "$demo" --transport rdma
    complains 'no RDMA device here has an IPv4 address of RoCE v2'
fi
expect 2 "$demo" --transport dpdk,udp
complains '2 nodes with --nodes 3'
expect 2 "$demo" --transport udp,dpdk,udp --nodes 2
complains '3 nodes with --nodes 2'
expect 2 "$demo" --transport dpdk --nodes 1
complains 'processes of their own'
expect 2 "$demo" --transport udp,udp,dpdk --in-process
complains 'processes of their own'
expect 2 "$demo" --chaos partition:2s --nodes 2
complains 'needs --nodes 3'
expect 2 "$demo" --chaos partition
complains 'takes freeze'
if [ "$(id -u)" -ne 0 ]; then
    expect 2 "$demo" --transport udp,udp,dpdk
    complains 'need root'
fi
echo "$checks checks, $faults faults"
[ $faults -eq 0 ]
