#!/bin/sh
# clang-tidy with .clang-tidy over every source that the build compiles, as many at a time as there
# are processors; its analyzer, which takes nearly all of the time, over what users run.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
arguments "ROOT BUILD" "$@"

root=$(cd "$1" && pwd) || exit 2
build=$(cd "$2" && pwd) || exit 2
cd "$root" || exit 2
database=$(mktemp -d) || exit 2
trap 'rm -rf "$faults" "$database"' EXIT
# Why not the build's own database: tests compile some sources a second time, with their atomics
# replaced, and macros expanded to blocks are no fault of the source.
awk '/^  \{/ { entry = ""; file = ""; output = "" }
    /^ *"file":/ { file = $0 }
    /^ *"output":/ { output = $0 }
    /^  \{/, /^  \}/ { entry = entry $0 "\n" }
    /^  \}/ {
        sub(/,\n$/, "\n", entry)
        if (output !~ /"tests\// || file ~ /[\/"]tests\//) { all = all separator entry; separator = "," }
    }
    END { printf "[\n%s]\n", all }' "$build/compile_commands.json" >"$database/compile_commands.json"
# Why not every source: what the build does not compile has no flags to be looked at with.
files=$(sed -nE 's/^ *"file": "(.*)",?$/\1/p' "$database/compile_commands.json" | sort -u |
    while read -r file; do (cd "$build" && realpath --relative-to="$root" "$file"); done |
    grep -E '^(engine|dataplane|control|bench|tests)/.*\.c$')
if [ -z "$files" ]; then
    echo "$build compiles no source of ours"
    exit 1
fi
# Why its errors are kept: a clang-tidy that is missing or crashes must not pass for content.
# Why each in one piece: what two of them say at a time would be mixed within its lines.
look() {
    # shellcheck disable=SC2016
    xargs -r -n 1 -P "$(nproc)" \
        sh -c 'said=$(clang-tidy --quiet -p "$@" 2>&1); [ -z "$said" ] || printf "%s\n" "$said"' look "$database" "$@"
}
{
    echo "$files" | grep -vE '^(bench|tests)/' | look
    echo "$files" | grep -E '^(bench|tests)/' | look --checks='-clang-analyzer-*'
} |
    grep -vE '^([0-9]+ warnings? (and [0-9]+ errors? )?generated\.|[0-9]+ warnings? treated as errors?|Error while processing .*)$' |
    sed -E 's#^[^ ]*\.\./##' >"$faults"
# Why twice: the way to a fault can be long, and the end of a log is what people see.
grep -E ': error: ' "$faults" | sort -u >"$database/short"
cat "$database/short" >>"$faults"
verdict
