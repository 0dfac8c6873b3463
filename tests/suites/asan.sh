# shellcheck shell=bash
# Unit and torture, and the end-to-end scripts that measure nothing, with instrumented programs.
suite_asan() {
    local name
    export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1
    export UBSAN_OPTIONS=print_stacktrace=1
    meson_tests asan asan unit torture &&
        for name in cli daemon daemon_killed dev; do
            script_test asan "e2e/$name" 300 "tests/e2e/$name.sh" "$PWD/build/asan"
        done
    unset ASAN_OPTIONS UBSAN_OPTIONS
}
