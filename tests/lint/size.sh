#!/bin/sh
# A source file is about 600 lines at most: above that it is named, above 800 it is a fault. Functions
# are measured by clang-tidy.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
arguments ROOT "$@"
cd "$1" || exit 2

sources '*.c' '*.h' '*.sh' | while read -r file; do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt 800 ]; then
        fault "$file:800: has $lines lines; split it"
    elif [ "$lines" -gt 600 ]; then
        echo "note: $file has $lines lines; is it one thing?"
    fi
done
verdict
