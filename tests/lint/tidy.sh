#!/bin/sh
# clang-tidy with .clang-tidy over every source that the build compiles, as many at a time as there
# are processors.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
arguments "ROOT BUILD" "$@"

root=$(cd "$1" && pwd) || exit 2
build=$(cd "$2" && pwd) || exit 2
cd "$root" || exit 2
# Why not every source: what the build does not compile has no flags to be looked at with.
sed -nE 's/^ *"file": "(.*)",?$/\1/p' "$build/compile_commands.json" | sort -u |
    while read -r file; do (cd "$build" && realpath --relative-to="$root" "$file"); done |
    grep -E '^(engine|dataplane|control|bench|tests)/.*\.c$' |
    xargs -r -n 1 -P "$(nproc)" clang-tidy --quiet -p "$build" 2>/dev/null |
    sed -E 's#^[^ ]*\.\./##' >"$faults"
# Why twice: the way to a fault can be long, and the end of a log is what people see.
grep -E ': error: ' "$faults" | sort -u >"$faults.short"
cat "$faults.short" >>"$faults"
rm -f "$faults.short"
verdict
