#!/usr/bin/env bash
# bench.test.sh BUILD [SCENE]... - dunlin-bench on network cards behind vfio: its rows of transport and of replicate, on
# virtio-net and on e1000. Whether goals are met says nothing here, where every instruction is emulated.
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 2560 -t 1200 -k intel_iommu=on -d "$(iommu_cards 3)"
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
    check "$1 on $3: ended by $status" test "$status" -le 1 || tail -n 200 "$out.err"
    found=$(jq '[.rows[] | select(.median > 0 and .baseline_median > 0)] | length' "$out")
    check "$1 on $3: ${found:-no} rows" test "${found:-0}" -eq "$5" || tail -n 200 "$out.err"
    jq -r '.rows[] | "      \(.name): \(.median) \(.unit), against \(.baseline_median): \(.pair_ratio.median)"' "$out"
}

transport_virtio() { bench transport 0x1041 virtio-net 2 12; }
transport_e1000() { bench transport 0x100e e1000 2 12; }
replicate_virtio() { bench replicate 0x1041 virtio-net 3 5; }
replicate_e1000() { bench replicate 0x100e e1000 3 5; }

check "vfio takes all cards" vfio_bind
scenes=("${arguments[@]}")
[ ${#scenes[@]} -gt 0 ] || scenes=(transport_virtio transport_e1000 replicate_virtio replicate_e1000)
for scene in "${scenes[@]}"; do
    "$scene"
    echo "      after $(cut -d. -f1 /proc/uptime) s"
done
verdict
