#!/usr/bin/env bash
# cluster.test.sh BUILD [SCENE]... - three nodes, each of which drives a card behind an IOMMU by itself, through vfio:
# a fleet flies, a leader dies by kill -9 and takes its card again, a cable is out for a while; encrypted, and by tags
# alone in frames that are long enough to leave from the log's own memory.
# shellcheck disable=SC2317,SC2034 # scenes are called by name; settings of cluster.sh
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 2560 -t 1500 -k intel_iommu=on -w -d "$(iommu_cards 3)"
# shellcheck source=tests/vm/vfio.sh
. "$here/vfio.sh"
# shellcheck source=tests/e2e/common.sh
. "$here/../e2e/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$here/../e2e/cluster.sh"
# shellcheck source=tests/e2e/flight.sh
. "$here/../e2e/flight.sh"
# Why so long: an emulated processor may be away for a while.
lease=500ms
leader_lease=2s
patience=120
# Why: to look is a process, which takes time from those that it looks at.
pause=0.5
flight_seconds=40
# Why few and no faster: a node that starts is to have some of two emulated processors, too.
flight_options=(--agents 3 --speed 30)

# fly DEVICE_ID HUB HUGE_PAGES: each node with a card of that kind, all of them on that hub.
fly() {
    local list n pages=
    mapfile -t list < <(cards_of "$1")
    [ ${#list[@]} -eq 3 ] || { fault "${#list[@]} cards instead of 3"; return; }
    hub=$2
    cluster_end
    echo "$3" >/proc/sys/vm/nr_hugepages
    [ "$3" -gt 0 ] || pages=--no-huge
    for n in 1 2 3; do
        eals[n]="-a ${list[n - 1]} -m 128 --iova-mode=va $pages"
    done
    flight "${list[@]}"
    for n in 1 2 3; do
        check "node $n sent by its card" [ "$(status "$n" packets_sent)" -gt 0 ]
    done
    [ "$3" -eq 0 ] || check "in huge pages" [ "$(huge_pages_taken)" -gt 0 ]
    flap 1 2
}

huge_pages_taken() { awk '/^HugePages_Total/ { all = $2 } /^HugePages_Free/ { print all - $2 }' /proc/meminfo; }

cable() { monitor set_link "h$hub.$1" "$([ "$2" = up ] && echo on || echo off)"; }

# fly_by_tags DEVICE_ID HUB HUGE_PAGES
fly_by_tags() {
    encrypt=false mtu=9000B frame=8952B
    fly "$@"
    await "$patience" "long values leave from the log's own memory" sends_from_log
    told "$(frames_chained) frames did"
    encrypt='' mtu='' frame=''
}

# One more value that takes half of a frame and more. Why all nodes: who leads its shard sends it.
sends_from_log() {
    printf '%08000d' 7 | quietly 1 put telemetry "long $EPOCHREALTIME" - && [ "$(frames_chained)" -gt 0 ]
}

frames_chained() { for n in 1 2 3; do status "$n" frames_chained; done | awk '{ sum += $1 } END { print sum }'; }

virtio() {
    scene "virtio-net"
    fly 0x1041 1 256
}

virtio_tags() {
    scene "virtio-net, tags alone"
    fly_by_tags 0x1041 1 256
}

e1000() {
    scene "e1000"
    fly 0x100e 2 0
}

e1000_tags() {
    scene "e1000, tags alone"
    fly_by_tags 0x100e 2 0
}

modprobe -a veth bridge nf_tables
check "vfio takes all cards" vfio_bind
check "each card is in a group of the IOMMU" vfio_grouped
cluster_make 3
scenes virtio virtio_tags e1000 e1000_tags
verdict
