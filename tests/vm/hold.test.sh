#!/usr/bin/env bash
# hold.test.sh BUILD - segments of a log that a card may still read: two e1000 behind an IOMMU, given to vfio, the
# transmit ring of one stopped while cleaning runs; see tests/unit/dataplane/hold_guest.c.
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"

# Why 48 bits: the log lies where the kernel puts it, above what the IOMMU has by default. Why iomem: the test writes a
# register of a card that vfio has.
in_guest -m 1536 -t 500 -k "intel_iommu=on iomem=relaxed" -d "-device intel-iommu,aw-bits=48 \
    -netdev hubport,id=h1.1,hubid=1 -device e1000,netdev=h1.1 \
    -netdev hubport,id=h1.2,hubid=1 -device e1000,netdev=h1.2"
# shellcheck source=tests/vm/vfio.sh
. "$here/vfio.sh"

check "vfio takes all cards" vfio_bind
mapfile -t pair < <(printf '%s\n' "${!cards[@]}" | sort)
check "there are two" [ ${#pair[@]} -eq 2 ]
check "the hold rule" "$build/tests/unit/dataplane/hold_guest" "${pair[@]}"
verdict
