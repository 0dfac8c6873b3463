# shellcheck shell=bash
# Each tests/e2e/*.sh is a test: it gets the build directory, and exits 0, or 77 to be skipped.
suite_e2e() {
    local script
    build e2e plain || return 1
    for script in tests/e2e/*.sh; do
        [ -x "$script" ] || continue
        script_test e2e "$(basename "$script" .sh)" 300 "$script" "$PWD/build/plain"
    done
}
