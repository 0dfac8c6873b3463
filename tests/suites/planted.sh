#!/usr/bin/env bash
# planted.sh BUG [OPTION...]: runs the demo with a known bug, up to three times, since some bugs have few chances
# in a run; exit 0 when a run ended by 1 and named violations.
set -u
log=$(mktemp) || exit 2
demo=
trap 'rm -f "$log"' EXIT
trap '[ -z "$demo" ] || kill -TERM "$demo"; wait; exit 143' TERM INT HUP
for _ in 1 2 3; do
    bench/demo.sh --seconds 10 --plant "$@" >"$log" 2>&1 &
    demo=$!
    wait "$demo"
    status=$?
    demo=
    cat "$log"
    [ $status -ne 1 ] || ! grep -qE '^violations: [1-9]' "$log" || exit 0
    # Why: only a run that went well may have missed the bug by chance.
    [ $status -eq 0 ] || break
done
echo "planted $1: the demo ended by $status instead of 1, or named no violation"
exit 1
