#!/usr/bin/env bash
# rdma_bench.test.sh BUILD - dunlin-bench over an RDMA device in software: every row is there. Whether goals are met says
# nothing here, where every instruction is emulated.
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 2560 -t 900
# shellcheck source=tests/vm/rdma.sh
. "$here/rdma.sh"

# bench NAME ROWS SECONDS: a report with so many rows that have both sides; 1 is a baseline that swung.
bench() {
    local status found out=/tmp/$1
    "$build/bench/dunlin-bench" "$1" --transport rdma --device rxe0 --seconds "$3" --json >"$out" 2>"$out.err"
    status=$?
    check "$1: ended by $status" test "$status" -le 1 || tail -n 20 "$out.err"
    found=$(jq '[.rows[] | select(.median > 0 and .baseline_median > 0)] | length' "$out")
    check "$1: ${found:-no} rows" test "${found:-0}" -eq "$2" || tail -n 20 "$out.err"
    jq -r '.rows[] | "      \(.name): \(.median) \(.unit), against \(.baseline_median): \(.pair_ratio.median), \(.pairs) pairs, \(.verdict)"' "$out"
}

"$build/bench/dunlin-bench" transport --transport rdma --json >/tmp/none
check "without a device rows say so" [ "$(jq '[.rows[] | select(.note | startswith("skipped: no RDMA"))] | length' /tmp/none)" = 7 ]
check "the device comes up" rdma_up
bench transport 7 200
bench replicate 6 240
verdict
