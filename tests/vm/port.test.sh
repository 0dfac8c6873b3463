#!/usr/bin/env bash
# shellcheck disable=SC2317 # called by name
# port.test.sh BUILD - ports of DPDK on virtio-net and e1000 behind vfio: who sleeps on one is woken by its interrupts,
# with small pages, and what the doctor tells of one, with huge ones.
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 1536 -t 400 -k intel_iommu=on -d "$(iommu_cards 2)"
# shellcheck source=tests/vm/vfio.sh
. "$here/vfio.sh"

# wake PORT OTHER ARGUMENT: the unit test on these cards; what it says is in /tmp/said.
wake() {
    DUNLIN_WAKE_PORT=$1 DUNLIN_WAKE_OTHER=$2 DUNLIN_WAKE_EAL=$3 \
        "$build/tests/unit/dataplane/test_dataplane_dpdk_port_wake" >/tmp/said 2>&1
}

# woken DEVICE_ID WHAT ARGUMENT of the environment
woken() {
    local list
    readarray -t list < <(cards_of "$1")
    check "$2: packets, hand-overs and resets wake lcores" wake "${list[@]}" "$3" || tail -n 60 /tmp/said
}

# told DEVICE_ID WHAT. Why again and again: how long an emulated card takes for its link depends on who else is at work.
told() {
    local address tries
    address=$(cards_of "$1" | head -n 1)
    for ((tries = 0; tries < 5; tries++)); do
        "$build/control/dunlin" doctor --port "$address" >/tmp/said 2>&1
        ! grep -q "^ok  *port_link" /tmp/said || break
    done
    said "$2: the port is opened, in huge pages" /tmp/said "^ok +port $address: opened, driver net_.*, packets in huge pages"
    said "$2: its interrupts are told" /tmp/said "^ok +port_interrupts $address: its receive queues offer them"
    said "$2: its link is up" /tmp/said "^ok +port_link $address: up"
}

check "vfio takes all cards" vfio_bind
ulimit -l unlimited
woken 0x1041 virtio-net --vfio-intr=msix
# Why so: it has no MSI-X, which DPDK takes for granted otherwise.
woken 0x100e e1000 --vfio-intr=legacy
mkdir -p /dev/hugepages
mount -t hugetlbfs hugetlbfs /dev/hugepages
echo 160 >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
check "huge pages are there" test "$(cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages)" -eq 160
told 0x1041 virtio-net
told 0x100e e1000
verdict
