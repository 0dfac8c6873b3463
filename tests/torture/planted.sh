#!/usr/bin/env bash
# planted.sh PROGRAM BUG: runs a torture program of a -Dplant=true build with a known bug, a few times, since
# threads meet by chance; exit 0 when one run named a violation, or died of what it read.
set -u
program=$1 bug=$2
log=$(mktemp) || exit 2
job=
trap 'rm -f "$log"' EXIT
trap '[ -z "$job" ] || kill -TERM "$job"; wait; exit 143' TERM INT HUP
for _ in 1 2 3 4 5; do
    "$program" 8 "$bug" >"$log" 2>&1 &
    job=$!
    wait "$job"
    status=$?
    job=
    cat "$log"
    [ $status -ne 139 ] || exit 0
    [ $status -ne 1 ] || ! grep -qE 'violations [1-9]' "$log" || exit 0
    [ $status -le 1 ] || break
done
echo "planted $bug: not found, the last run ended by $status"
exit 1
