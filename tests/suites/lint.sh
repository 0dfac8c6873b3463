# shellcheck shell=bash
# Rules that a machine can check. selftest.sh first: it proves that each of them can fail.
suite_lint() {
    local check
    script_test lint selftest 300 tests/lint/selftest.sh
    for check in names words layers size shell headers; do
        script_test lint "$check" 300 "tests/lint/$check.sh" .
    done
    if build lint plain; then
        script_test lint purity 60 tests/lint/purity.sh build/plain
        script_test lint exports 60 tests/lint/exports.sh . build/plain
        script_test lint package 120 tests/lint/package.sh . build/plain
    fi
    script_test lint clang 1200 tests/build.sh clang
    if [ -f build/clang/compile_commands.json ]; then
        script_test lint tidy 1200 tests/lint/tidy.sh . build/clang
    fi
}
