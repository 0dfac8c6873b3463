# shellcheck shell=bash
suite_tsan() {
    export TSAN_OPTIONS=second_deadlock_stack=1:history_size=4
    meson_tests tsan tsan unit torture
    unset TSAN_OPTIONS
}
