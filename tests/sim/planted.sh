#!/usr/bin/env bash
# planted.sh DUNLIN-SIM BUG: exit 0 when the default scenario finds the planted bug, and how soon.
set -u
output=$("$1" --seeds 4000 --plant "$2")
status=$?
echo "$output"
if [ $status -ne 1 ] || ! grep -q 'does not hold' <<<"$output"; then
    echo "planted $2: the simulator ended by $status and did not find it"
    exit 1
fi
