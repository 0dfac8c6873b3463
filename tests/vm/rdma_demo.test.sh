#!/usr/bin/env bash
# rdma_demo.test.sh BUILD - bench/demo.sh over an RDMA device in software, as a user would start it: one of
# its agents dies by kill -9, and nothing that must hold is violated. Its build is this tree's own.
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 2560 -t 600
# shellcheck source=tests/vm/rdma.sh
. "$here/rdma.sh"

"$here/../../bench/demo.sh" --transport rdma >/tmp/none 2>&1
status=$?
check "without a device: ended by $status" [ "$status" -eq 77 ]
check "the device comes up" rdma_up
"$here/../../bench/demo.sh" --transport rdma --seconds 60 --agents 3 --kill 1 --speed 30 --json >/tmp/out 2>/tmp/err
status=$?
check "demo: ended by $status" [ "$status" -eq 0 ] || tail -n 40 /tmp/err
jq -r '.rows[] | select(.name | test("^(updates|command latency|keys compared|violations)")) | "      \(.name): \(.median) \(.unit)"' /tmp/out
verdict
