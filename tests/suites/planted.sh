#!/usr/bin/env bash
# planted.sh BUG [OPTION...]: runs the demo with a known bug; exit 0 when it ended by 1 and named
# violations.
set -u
log=$(mktemp) || exit 2
demo=
trap 'rm -f "$log"' EXIT
trap '[ -z "$demo" ] || kill -TERM "$demo"; wait; exit 143' TERM INT HUP
bench/demo.sh --seconds 10 --plant "$@" >"$log" 2>&1 &
demo=$!
wait "$demo"
status=$?
demo=
cat "$log"
if [ $status -ne 1 ] || ! grep -qE '^violations: [1-9]' "$log"; then
    echo "planted $1: the demo ended by $status instead of 1, or named no violation"
    exit 1
fi
