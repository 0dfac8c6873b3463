#!/bin/sh
# Sources stand as clang-format 14 sets them. Other versions set them otherwise, so no other will do.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
arguments ROOT "$@"
cd "$1" || exit 2

formatter=
for candidate in clang-format-14 clang-format; do
    if "$candidate" --version 2>/dev/null | grep -q 'version 14\.'; then
        formatter=$candidate
        break
    fi
done
if [ -z "$formatter" ]; then
    echo "no clang-format 14 here"
    exit 77
fi
sources '*.c' '*.h' | xargs -r "$formatter" --dry-run -Werror --style=file 2>&1 |
    grep -E '^[^ :]+:[0-9]+:[0-9]+: error:|^[^ :]*: ' >>"$faults"
verdict
