# shellcheck shell=bash
suite_torture() {
    local bug
    meson_tests torture plain torture
    build torture plant || return 1
    for bug in cursor-unvalidated cursor-half-transaction node-version-skipped reuse-before-grace; do
        script_test torture "planted/$bug" 120 tests/torture/planted.sh \
            build/plant/tests/torture/torture_follower "$bug"
    done
}
