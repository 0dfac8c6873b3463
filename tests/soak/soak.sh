#!/usr/bin/env bash
# Every operation at all nodes of a cluster of three processes, for DUNLIN_SOAK_SECONDS (600), while leadership
# moves and followers stop: see soak.h. Loopback addresses of its own; needs no root.
#
#   soak.sh BUILD [OPTION OF THE PROGRAM...]
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/../e2e/common.sh"
shift

soak=$build/tests/soak/soak
[ -x "$soak" ] || { echo "$e2e_name: no $soak: build first" >&2; exit 2; }

# Why by process id: two of these may run on one machine.
net=127.$(($$ / 65536 % 64 + 100)).$(($$ / 256 % 256))
host=$(($$ % 64 * 4))

nodes=(1 2 3)
options=()

configure() {
    local n=$1 m
    printf 'node: {name: soak-%s, id: %s}\nsocket: {path: %s, mode: 0600}\n' "$n" "$n" "$scratch/$n.sock"
    printf 'cluster:\n  name: soak\n  key_file: %s\n  control:\n' "$scratch/key"
    # Why so long a lease: nodes are stopped, and moves are what is meant here.
    printf '    directory: %s\n    certificate: %s\n    key: %s\n    authority: %s\n    lease: 300ms\n  nodes:\n' \
        "$scratch/control$n" "$scratch/ca/node-$n.crt" "$scratch/ca/node-$n.key" "$scratch/ca/authority.crt"
    for m in "${nodes[@]}"; do
        printf '    - {id: %s, address: "%s.%s:7700"}\n' "$m" "$net" "$((host + m))"
    done
    echo "spaces:"
    # Why so few sessions, and so long: what a handle left behind is to be missed, what waits for a
    # stopped node is not to be forgotten.
    space soak 1 2 16MiB "history: 4" "value_max: 64KiB" "sessions: 128" "session_ttl: 20s"
}

# begin n: starts node n.
begin() {
    local n=$1
    configure "$n" >"$scratch/$n.yaml"
    # Why setpriv: should this script be killed, nobody else would end it.
    setpriv --pdeathsig KILL "$dunlind" --config "$scratch/$n.yaml" >>"$scratch/$n.log" 2>&1 </dev/null &
    children+=("$!")
    options+=(--socket "$scratch/$n.sock" --daemon-pid "$!")
    started+=("$!")
}

is_active() { "$dunlin" --socket "$scratch/$1.sock" --json nodes 2>/dev/null | grep -q '"pending": 0'; }

# until_active n: 1 if it never is.
until_active() {
    local tries=1500
    until is_active "$1"; do
        [ $((tries -= 1)) -gt 0 ] && kill -0 "${started[$1 - 1]}" 2>/dev/null || return 1
        sleep 0.02
    done
}

last_words() {
    local n
    for n in "${nodes[@]}"; do
        echo "-- the end of the log of node $n:"
        tail -n 12 "$scratch/$n.log"
    done
}

started=()
(umask 077 && "$dunlin" key >"$scratch/key") || exit 2
"$dunlin" authority create "$scratch/ca" --cluster soak >/dev/null || exit 2
for n in "${nodes[@]}"; do
    "$dunlin" authority issue "$scratch/ca" --node "$n" >/dev/null || exit 2
done
for n in "${nodes[@]}"; do
    begin "$n"
done
for n in "${nodes[@]}"; do
    until_active "$n" || { echo "node $n does not serve"; last_words; exit 1; }
done

run setpriv --pdeathsig KILL "$soak" "${options[@]}" --seconds "${DUNLIN_SOAK_SECONDS:-600}" "$@"
status=$?
if grep -aE -A 5 'assertion failed|Sanitizer|runtime error' "$scratch"/?.log; then
    status=1
fi
for pid in "${started[@]}"; do
    kill -TERM "$pid" 2>/dev/null
done
for pid in "${started[@]}"; do
    wait "$pid" || { echo "a daemon ended by $? after SIGTERM"; status=1; }
done
[ $status -eq 0 ] || last_words
exit $status
