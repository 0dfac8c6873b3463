#!/usr/bin/env bash
# dpdk.test.sh BUILD - network cards behind an IOMMU come up as ports of DPDK through vfio, two of each kind on a
# hub of their own, and packets go round between them: what a transport over DPDK can rest on here.
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 1536 -t 400 -k intel_iommu=on -d "$(iommu_cards 2)"
# shellcheck source=tests/vm/vfio.sh
. "$here/vfio.sh"

# steer LOG: the commands of testpmd, each when what it printed says that the time has come. Why not by the clock:
# how long an emulated card takes for its link depends on who else is at work.
steer() {
    local tries
    for ((tries = 0; tries < 60; tries++)); do
        echo "show port summary all"
        sleep 1
        [ "$(grep -E '^[01] +[0-9A-F:]{17} ' "$1" | tail -n 2 | grep -cE ' up ')" -lt 2 ] || break
    done
    echo "start tx_first 4"
    for ((tries = 0; tries < 60; tries++)); do
        sleep 1
        echo "show port stats all"
        ! both_received "$1" || break
    done
    echo stop
    echo quit
}

# both_received LOG: the statistics of each port that were asked for last, not the summary at the end.
both_received() {
    [ "$(grep -E 'RX-packets:.*RX-missed:' "$1" | tail -n 2 | awk '$2 > 100' | wc -l)" -eq 2 ]
}

# circulate DEVICE_ID WHAT: testpmd sends what one port receives out of the other; the packets that start never
# stop.
circulate() {
    local list log=/tmp/$1
    mapfile -t list < <(cards_of "$1")
    [ ${#list[@]} -eq 2 ] || { fault "$2: ${#list[@]} cards instead of 2"; return; }
    : >"$log"
    steer "$log" | dpdk-testpmd -l 0,1 "${list[@]/#/-a}" --no-huge -m 256 --iova-mode=va --no-telemetry \
        --file-prefix "${1#0x}" -- -i --nb-cores=1 --total-num-mbufs=8192 >"$log" 2>&1
    check "$2: both ports received more than a hundred packets" both_received "$log" || tail -n 60 "$log"
    grep -E 'RX-packets:.*RX-missed:' "$log" | tail -n 2
}

check "the kernel has an IOMMU" test -n "$(ls /sys/class/iommu)"
check "vfio takes all cards" vfio_bind
check "each card is in a group of the IOMMU" vfio_grouped
circulate 0x1041 virtio-net
circulate 0x100e e1000
verdict
