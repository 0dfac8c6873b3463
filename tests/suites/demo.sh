# shellcheck shell=bash
# The demo as a newcomer runs it, only shorter, and with three nodes; then with each planted bug, which
# it must find.
suite_demo() {
    local bug
    script_test demo short 600 bench/demo.sh --seconds 10
    script_test demo nodes-3 600 bench/demo.sh --seconds 10 --nodes 3 --moves 2000
    for bug in compare-ignored ack-before-append reuse-before-grace; do
        script_test demo "finds-$bug" 600 tests/suites/planted.sh "$bug"
    done
    for bug in commit-without-majority skip-seal holder-not-waited-for; do
        script_test demo "finds-$bug" 600 tests/suites/planted.sh "$bug" --nodes 3
    done
}
