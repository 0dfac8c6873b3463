# shellcheck shell=bash
suite_asan() {
    export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1
    export UBSAN_OPTIONS=print_stacktrace=1
    meson_tests asan asan unit torture
    unset ASAN_OPTIONS UBSAN_OPTIONS
}
