#!/usr/bin/env bash
# rdma_cluster.test.sh BUILD [SCENE]... - three nodes over one RDMA device: a fleet flies, a leader dies by kill -9 and
# comes back, the port is down for a while, the device is taken away and comes back; with tags alone, when the log goes
# by one-sided writes, and encrypted, when it must not.
# shellcheck disable=SC2317,SC2034 # scenes are called by name; settings of cluster.sh
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 2560 -t 1500
# shellcheck source=tests/e2e/common.sh
. "$here/../e2e/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$here/../e2e/cluster.sh"
# shellcheck source=tests/e2e/flight.sh
. "$here/../e2e/flight.sh"
# shellcheck source=tests/vm/rdma.sh
. "$here/rdma.sh"
rdma_nodes
# Why so long, and so few agents: as in cluster.test.sh.
lease=500ms
leader_lease=2s
patience=120
pause=0.5
flight_seconds=40
flight_options=(--agents 3 --speed 30)

all_of() { for n in 1 2 3; do status "$n" "$1"; done | awk '{ sum += $1 } END { print sum + 0 }'; }

counted() {
    told "$(all_of log_writes) log writes; $(all_of ranges_taken) ranges found as announced, $(all_of ranges_refused)" \
        "not; $(all_of connections_taken) connections, $(all_of connections_retired) ended"
}

fly() {
    flight rdma rdma rdma
    for n in 1 2 3; do
        check "node $n sent over the device" [ "$(status "$n" frames_sent)" -gt 0 ]
    done
    counted
}

# goes_on WHAT: an agent wrote and reads all the while, and nodes end with the same.
goes_on() {
    local n
    await "$patience" "$1: all shards active" is_active 1
    for n in 1 2 3; do
        await "$patience" "$1: node $n has all nodes" hears_all "$n"
    done
    agent_goes_on single w.done
    agent_goes_on single r0.done
    agent_goes_on single r1.done
}

hears_all() {
    local m
    for m in 1 2 3; do
        [ "$m" -eq "$1" ] || is_up "$1" "$m" || return 1
    done
}

# What a cluster goes through that is up.
trouble() {
    local n bytes
    agent_start single --writer "${sockets[1]}" --reader "${sockets[2]}" --reader "${sockets[3]}" --bytes 4000 \
        --timeout-ms 60000
    agent_goes_on single w.done
    check "the port goes down" ip link set va down
    sleep 2
    check "the port comes back" ip link set va up
    await "$patience" "the device's port is up" rdma_is_up
    goes_on "after the port was down"
    check "the device goes" rdma_without
    sleep 2
    check "the device comes back" rdma_device va
    goes_on "after the device was away"
    counted
    told "longest put $(agent single w.longest_ms) ms, $(agent single w.unknown) of unknown fate"
    agent_end single
    bytes=$(committed 1)
    for n in 2 3; do
        caught_up "$n" "$bytes"
    done
    for n in 1 2 3; do
        cluster_stop "$n" "$patience"
    done
}

tags() {
    scene "tags alone"
    encrypt=false
    fly
    check "ranges were found written as announced" [ "$(all_of ranges_taken)" -gt 0 ]
    trouble
}

encrypted() {
    scene "encrypted"
    encrypt=true
    fly
    check "nothing was written where all is encrypted" [ "$(all_of log_writes)" -eq 0 ]
    trouble
}

cluster_make 3
scenes tags encrypted
verdict
