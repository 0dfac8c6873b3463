#!/usr/bin/env bash
# bench.test.sh BUILD - dunlin-bench on network cards behind vfio: its rows of transport, on virtio-net. Whether goals are
# met says nothing here, where every instruction is emulated.
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 2560 -t 600 -k intel_iommu=on -d "$(iommu_cards 2)"
# shellcheck source=tests/vm/vfio.sh
. "$here/vfio.sh"

# bench NAME ID WHAT CARDS ROWS: a report with so many rows that have both sides; 1 is a baseline that swung.
bench() {
    local list ports=() address status found out=/tmp/$1$2
    mapfile -t list < <(cards_of "$2")
    for address in "${list[@]:0:$4}"; do
        ports+=(--port "$address")
    done
    "$build/bench/dunlin-bench" "$1" --transport dpdk --seconds 60 --json "${ports[@]}" >"$out" 2>"$out.err"
    status=$?
    check "$1 on $3: ended by $status" test "$status" -le 1 || tail -n 20 "$out.err"
    found=$(jq '[.rows[] | select(.median > 0 and .baseline_median > 0)] | length' "$out")
    check "$1 on $3: ${found:-no} rows" test "${found:-0}" -eq "$5" || tail -n 20 "$out.err"
    jq -r '.rows[] | "      \(.name): \(.median) \(.unit), against \(.baseline_median): \(.pair_ratio.median)"' "$out"
}

check "vfio takes all cards" vfio_bind
bench transport 0x1041 virtio-net 2 12
verdict
