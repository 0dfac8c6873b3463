#!/usr/bin/env bash
# planted.sh DUNLIN-SIM BUG [SCENARIO]: exit 0 when the scenario, or the default one, finds the planted
# bug, and how soon.
set -u
output=$("$1" --scenario "${3:-default}" --seeds 4000 --plant "$2")
status=$?
echo "$output"
if [ $status -ne 1 ] || ! grep -q 'does not hold' <<<"$output"; then
    echo "planted $2: the simulator ended by $status and did not find it"
    exit 1
fi
