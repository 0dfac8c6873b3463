#!/usr/bin/env bash
# doctor.test.sh BUILD - what `dunlin doctor` says of a machine with an IOMMU and two network cards: before the cards
# are given to vfio, after it did as it was told, and when nothing is left to mend.
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 1024 -t 300 -k intel_iommu=on -d "$(iommu_cards 1)"
# shellcheck source=tests/vm/vfio.sh
. "$here/vfio.sh"
dunlin=$build/control/dunlin

# doctor FILE: its status.
doctor() { "$dunlin" doctor --transport dpdk >"$1" 2>&1; }

# mend FILE FINDING: carries out the command that stands below the finding. Modules are loaded for this guest
# alone: what it writes to /etc is gone with it.
mend() {
    local command
    command=$(grep -A 2 -E "^(warning|fault) +$2" "$1" | sed -n 's/^ *mend: //p' | head -n 1)
    [ -n "$command" ] || { fault "nothing mends $2"; return 1; }
    echo "      $command"
    bash -c "$command"
}

e1000=$(cards_of 0x100e)
ulimit -l 8192
modprobe e1000

doctor /tmp/before
check "something is at fault" test $? -eq 1
said "the IOMMU is on" /tmp/before '^ok +iommu: on, [1-9][0-9]* groups$'
said "vfio is missed" /tmp/before '^fault +vfio: vfio-pci is not loaded$'
said "the card is the kernel's" /tmp/before "^warning +card $e1000: 8086:100e, driver e1000, link [a-z0-9]+$"
said "no huge pages" /tmp/before '^warning +huge_pages: none reserved$'
said "too little may be locked" /tmp/before '^fault +memlock: 8\.0 MiB'
said "this is a guest" /tmp/before '^warning +hypervisor: this is a guest$'

for finding in vfio "card $e1000" huge_pages transparent_huge_pages shared_huge_pages; do
    ! grep -qE "^(warning|fault) +$finding" /tmp/before || mend /tmp/before "$finding"
done
doctor /tmp/after
said "vfio is there" /tmp/after '^ok +vfio: vfio-pci is loaded$'
said "the card is DPDK's" /tmp/after "^ok +card $e1000: 8086:100e, driver vfio-pci, IOMMU group [0-9]+$"
said "huge pages are there" /tmp/after '^ok +huge_pages: [1-9][0-9]* of 2\.0 MiB, [1-9][0-9]* free, mounted$'
said "the other card may stay the kernel's" /tmp/after '^ok +card .*driver virtio-pci'
ulimit -l unlimited
doctor /tmp/after
check "nothing is at fault" test $? -eq 0
verdict
