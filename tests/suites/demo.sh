# shellcheck shell=bash
# The demo as a newcomer runs it, only shorter: three processes, one, all nodes in one process, and with
# a frozen node and moving leaders, and with a node that comes and one that goes; as root with nodes that drive ports
# by themselves beside one that does not, which are cut off, killed, added and removed; then with each planted bug,
# which it must find.
suite_demo() {
    local bug
    script_test demo short 600 bench/demo.sh --seconds 10
    script_test demo one-node 600 bench/demo.sh --seconds 10 --nodes 1
    script_test demo in-process 600 bench/demo.sh --seconds 10 --in-process --moves 2000
    script_test demo watchers 600 bench/demo.sh --seconds 10 --watchers 1000
    script_test demo chaos 600 bench/demo.sh --seconds 14 --chaos freeze:3-8s,move:2s
    script_test demo nodes 600 bench/demo.sh --seconds 16 --chaos add-node:3s,remove-node:8s
    if [ "$(id -u)" -eq 0 ]; then
        script_test demo mixed 600 bench/demo.sh --seconds 16 --transport dpdk,dpdk,udp \
            --chaos partition:3s,kill-leader:5s
        script_test demo ports 600 bench/demo.sh --seconds 16 --transport dpdk --chaos add-node:3s,remove-node:8s
    else
        report skip demo mixed 0 "needs root, for networks of the nodes' own"
        report skip demo ports 0 "needs root, for networks of the nodes' own"
    fi
    for bug in compare-ignored ack-before-append reuse-before-grace; do
        script_test demo "finds-$bug" 600 tests/suites/planted.sh "$bug" --nodes 1
    done
    for bug in commit-without-majority skip-seal holder-not-waited-for; do
        script_test demo "finds-$bug" 600 tests/suites/planted.sh "$bug"
    done
}
