# shellcheck shell=bash disable=SC2034,SC2154 # those of tests/e2e/cluster.sh
# rdma - an RDMA device in software (RoCE v2), rxe0, in the guest. To be sourced there, behind cluster.sh if that is.
#
#   rdma_modules              what the kernel needs for it
#   rdma_device INTERFACE     the device on it; to be there again, too
#   rdma_up                   all of that, on va, which has 10.99.0.1
#   rdma_without              the device away
#   rdma_is_up                its port is
#   rdma_nodes                from then on cluster.sh has nodes that are processes of this guest, all over the one device:
#                             two of them in one kernel do not reach each other. Node n has 10.99.0.n, on va
rdma_modules() { modprobe -a rdma_rxe rdma_ucm ib_uverbs veth; }

# Why these frames: the greatest that RoCE has fit in.
rdma_cable() {
    ip link add va mtu 4200 type veth peer name vb mtu 4200 && ip link set va up && ip link set vb up
}

rdma_device() { rdma link add rxe0 type rxe netdev "$1"; }
rdma_up() { rdma_modules && rdma_cable && ip address add 10.99.0.1/24 dev va && rdma_device va; }
rdma_without() { rdma link delete rxe0; }
rdma_is_up() { grep -qs ACTIVE /sys/class/infiniband/rxe0/ports/1/state; }

# What netns.sh has for nodes in namespaces.
rdma_nodes() {
    net_up() {
        local n
        rdma_modules && rdma_cable || return 1
        for ((n = 1; n <= $1; n++)); do
            ip address add "$(net_address "$n")/24" dev va || return 1
        done
        # Why another one: librdmacm keeps the last device of all, and rxe0 could not be taken away from under nodes.
        rdma_device va && rdma link add rxe1 type rxe netdev vb
    }
    net_address() { echo "10.99.0.$1"; }
    net_start() {
        shift
        setpriv --pdeathsig KILL "$@" </dev/null &
        net_pid=$!
        children+=("$net_pid")
    }
}
