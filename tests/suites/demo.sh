# shellcheck shell=bash
# The demo as a newcomer runs it, only shorter; then with each planted bug, which it must find.
suite_demo() {
    local bug
    script_test demo short 600 bench/demo.sh --seconds 10
    for bug in compare-ignored ack-before-append reuse-before-grace; do
        script_test demo "finds-$bug" 600 tests/suites/planted.sh "$bug"
    done
}
