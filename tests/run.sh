#!/usr/bin/env bash
# Installs what is missing, builds, runs the suites, and says how it went.
#
#   tests/run.sh [SUITE...]
#
#   format   clang-format over all sources           tsan     unit and torture under the thread sanitizer
#   lint     rules of the house; clang; clang-tidy   fuzz     each fuzzer for DUNLIN_FUZZ_SECONDS (20)
#   unit     CUnit, plain build                      e2e      tests/e2e/*.sh: real processes
#   torture  real threads, plain build               demo     bench/demo.sh, short
#   asan     unit and torture under ASan and UBSan   sim      dunlin-sim, and bugs it must find
#
# By name only:
#   soak     everything at once on three processes, for DUNLIN_SOAK_SECONDS (600)
#   vm       tests/vm/*.test.sh in a throw-away guest: cards behind vfio and an IOMMU, RDMA, bad links
#
# Without an argument: all of the others. Each torture test runs DUNLIN_TORTURE_SECONDS (5). Logs lie in
# build/logs. The last line is `N passed, N failed, N skipped`. Exit 0 when something passed and
# nothing failed, 1 otherwise, 2 for an unknown suite, 130 or 143 when interrupted.
set -u
export LC_ALL=C
cd "$(dirname "$0")/.." || exit 1

all_suites=(format lint unit torture sim asan tsan fuzz e2e demo)
named_suites=(soak vm)

for suite in "$@"; do
    case " ${all_suites[*]} ${named_suites[*]} " in
    *" $suite "*) ;;
    *)
        [ "$suite" = --help ] && sed -n '2,/^set/{s/^# \{0,1\}//;/^set/!p}' "$0" && exit 0
        echo "run.sh: no suite '$suite' in this version; suites: ${all_suites[*]} ${named_suites[*]}" >&2
        exit 2
        ;;
    esac
done
[ $# -gt 0 ] || set -- "${all_suites[@]}"

mkdir -p build/logs
exec 8>build/run.lock
if ! flock -n 8; then
    echo "run.sh: another tests/run.sh is at work in this tree" >&2
    exit 1
fi

. tests/suites/common.sh
for suite in "${all_suites[@]}" "${named_suites[@]}"; do
    . "tests/suites/$suite.sh"
done

if ! tests/install.sh 8>&-; then
    report FAIL install packages 0 "see above"
    finish
fi
for suite in "$@"; do
    "suite_$suite"
done
finish
