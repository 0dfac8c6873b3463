#!/bin/sh
# Shell scripts pass shellcheck, and what is meant to be run can be run.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
arguments ROOT "$@"
cd "$1" || exit 2

scripts() { { sources '*.sh'; ls .ci/run 2>/dev/null; } }
scripts | while read -r file; do
    head -n 1 "$file" | grep -q '^#!' || continue
    [ -x "$file" ] || fault "$file:1: starts with #! and is not executable"
done
command -v shellcheck >/dev/null || { echo "no shellcheck here"; exit 77; }
# Why SC1090, SC1091: it cannot follow a path that is computed, unless the script names it. SC2034: what
# a file without #! sets is used by who sources it.
check() { xargs -r shellcheck -x --severity=warning --exclude="$1" --format=gcc >>"$faults" 2>&1; }
scripts | xargs -r grep -lE '^#!' | check SC1090,SC1091
scripts | xargs -r grep -LE '^#!' | check SC1090,SC1091,SC2034
verdict
