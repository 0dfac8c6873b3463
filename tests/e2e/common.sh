# shellcheck shell=bash
# common - what the end-to-end scripts share. Sourced by them; each gets the build directory as $1.
#
# A script makes a directory of its own under /tmp (short paths: a socket's is limited), starts what it
# needs, and ends only that, also when it is interrupted.
set -u
export LC_ALL=C
unset DUNLIN_SOCKET

e2e_name=$(basename "$0" .sh)
[ $# -ge 1 ] || { echo "usage: $e2e_name.sh BUILD [ARGUMENT...]" >&2; exit 2; }
build=$(cd "$1" && pwd) || exit 2
dunlind=$build/control/dunlind
dunlin=$build/control/dunlin
programs=$build/tests/e2e
for program in "$dunlind" "$dunlin"; do
    [ -x "$program" ] || { echo "$e2e_name: no $program: build first" >&2; exit 2; }
done

scratch=$(mktemp -d "/tmp/dunlin-$e2e_name.XXXXXX") || exit 2
socket=$scratch/dunlind.sock
config=$scratch/dunlind.yaml
log=$scratch/dunlind.log
children=()
faults=0
fault_texts=()

clean_up() {
    local pid
    trap '' INT TERM HUP # a second one must not leave anything behind
    for pid in "${children[@]}"; do
        kill -KILL "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

skip() {
    echo "$*"
    exit 77
}

need_root() { [ "$(id -u)" -eq 0 ] || skip "needs root: agents of another uid are a part of it"; }

# listen_to_notify: what daemons tell a service manager at $scratch/notify, by lines in $scratch/heard; it listens when
# the socket is there. Why not by a pipe: each datagram is a line.
listen_to_notify() {
    python3 - "$scratch/notify" >"$scratch/heard" <<'END' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    print(s.recv(4096).decode(), flush=True)
END
    children+=($!)
}

# config_head [MODE [LCORES]]: the configuration without its spaces; lease and heartbeat at their defaults.
config_head() {
    cat <<END
node:
  name: $e2e_name
  id: 1
socket:
  path: $socket
  mode: ${1:-0600}
lcores:
  count: ${2:-1}
spaces:
END
}

# space NAME ID SHARDS QUOTA [MORE...]: one entry; MORE are lines like `read: any`.
space() {
    printf '  - name: %s\n    id: %s\n    shards: %s\n    quota: %s\n' "$1" "$2" "$3" "$4"
    shift 4
    [ $# -eq 0 ] || printf '    %s\n' "$@"
}

# run PROGRAM ARGUMENT...: one of ours, in the background, so that a trap is not kept waiting.
run() {
    local pid
    "$@" &
    pid=$!
    children+=("$pid")
    wait "$pid"
}

# fault WHAT...: something is not as it should be. fault_details: more to say of it, for who sources this to redefine.
fault_details() { :; }
fault() {
    echo "FAIL $*"
    fault_texts+=("$*")
    faults=$((faults + 1))
    fault_details
}

# faults_again: the first of them, and how many. Why again: who shows only the end of a long output shows logs else.
faults_again() {
    [ "$faults" -ne 0 ] || return 0
    [ ${#fault_texts[@]} -eq 0 ] || printf 'FAIL %s\n' "${fault_texts[@]:0:30}"
    echo "$faults faults"
}

# finish STATUS: end by it; with the daemon's last words if it is bad.
finish() {
    if [ "$1" -ne 0 ] && [ -s "$log" ]; then
        echo "-- the end of the daemon's log:"
        tail -n 25 "$log"
        faults_again
    fi
    exit "$1"
}
