# shellcheck shell=bash
# By name only: DUNLIN_SOAK_SECONDS (600) of everything at once, on three processes. Why five times that: it
# goes on until the arena was written often enough, however slow the machine is.
suite_soak() {
    build soak plain || return 1
    script_test soak three-nodes $((${DUNLIN_SOAK_SECONDS:-600} * 5 + 300)) tests/soak/soak.sh "$PWD/build/plain"
}
