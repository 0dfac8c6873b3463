#!/usr/bin/env bash
# steer.test.sh BUILD - a port that puts each packet into the queue of its lcore by rules of its own: net_tap, which
# hands them to the kernel's classifier. See tests/unit/dataplane/steer_guest.c.
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
in_guest -m 1024 -t 200

check "the kernel has what the rules take" modprobe -a tun sch_multiq sch_ingress cls_flower act_skbedit act_gact act_mirred
check "packets go to their lcores" "$build/tests/unit/dataplane/steer_guest"
verdict
