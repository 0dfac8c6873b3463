#!/usr/bin/env bash
# boot.test.sh BUILD - the guest boots, has what the other tests rest on, and runs programs of ours.
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 1024 -t 300

runs() { "$@" >/tmp/log 2>&1 || { tail -n 20 /tmp/log; return 1; }; }
can_write() { echo here >/root/written && grep -q here /root/written; }

echo "Linux $(uname -r), $(nproc) processors, shell after $(cat /job/boot) s"
check "its root can be written to, for itself" can_write
check "modules of its kernel can be loaded" modprobe -a veth sch_netem dummy
check "test of the ring" runs "$build/tests/unit/engine/test_engine_ring"
check "test of records" runs "$build/tests/unit/engine/test_engine_record"
check "test of frames: the processor has what sealing takes" runs "$build/tests/unit/dataplane/test_dataplane_frame"
check "dunlind answers" runs "$build/control/dunlind" --version
verdict
