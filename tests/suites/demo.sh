# shellcheck shell=bash
# The demo as a newcomer runs it, only shorter; and with a planted bug, which it must find.
suite_demo() {
    script_test demo short 600 bench/demo.sh --seconds 10
}
