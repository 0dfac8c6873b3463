#!/bin/sh
# Includes point downward only: engine <- dataplane <- control <- bench, tests; paths start at the
# root. What agents link (engine/agent) includes nothing above engine, its public header only libc.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
arguments ROOT "$@"
cd "$1" || exit 2

sources '*.c' '*.h' | xargs -r awk '
    BEGIN { level["engine"] = 1; level["dataplane"] = 2; level["control"] = 3; level["bench"] = 4; level["tests"] = 5 }
    function fault(text) { print FILENAME ":" FNR ": " text }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split($0, quoted, "\""); path = quoted[2]
        split(path, parts, "/"); split(FILENAME, own, "/")
        if (!(parts[1] in level) || path ~ /(^|\/)\.\.?\//)
            fault("include \"" path "\" does not start at the root")
        else if (level[parts[1]] > level[own[1]])
            fault(own[1] " includes " path ", which lies above it")
        else if (path ~ /\.c$/)
            fault("includes the source file " path)
        if (FILENAME == "engine/agent/dunlin.h")
            fault("the public header includes " path "; it stands alone")
    }
    FILENAME == "engine/agent/dunlin.h" && /^[ \t]*#[ \t]*include[ \t]*</ && !/<std[a-z]+\.h>/ {
        fault("the public header includes more than the C standard has")
    }' >>"$faults"
# Why by library too: a system header reaches hardware or the network as surely as one of ours.
sources '*.c' '*.h' | grep -E '^(engine|dataplane)/' |
    xargs -r grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*<(uv|raft|jansson|cyaml|yaml|lmdb)[./]' |
    sed 's/$/  -- a library of the layers above/' >>"$faults"
verdict
