#!/bin/bash
# The life of one daemon: its command line, how it starts, is refused, is killed and ends.
# usage: daemon.sh BUILD
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
dir=$scratch

# expect WHAT GOT WANTED
expect() {
    [ "$2" = "$3" ] && return
    fault "$1: got '$2', expected '$3'"
}

# exit_of COMMAND...: its exit status; output in $dir/said.
exit_of() {
    "$@" >"$dir/said" 2>&1 </dev/null
    echo $?
}

# start [ULIMIT]: sets daemon; returns when it is ready, or 1 when it ended before.
start() {
    rm -f "$dir/out"
    mkfifo "$dir/out"
    (
        [ $# -eq 0 ] || ulimit -n "$1"
        exec "$dunlind" --config "$dir/good.yaml" >"$dir/out" 2>>"$dir/err"
    ) &
    daemon=$!
    children+=("$daemon")
    local word=
    read -r word <"$dir/out"
    [ "$word" = ready ]
}

# expect_end WHAT WANTED: waits for the daemon; its exit status.
expect_end() {
    wait "$daemon"
    expect "$1" $? "$2"
}

export DUNLIN_SOCKET=$dir/run/socket
cat >"$dir/good.yaml" <<END
node: {name: e2e, id: 1}
socket: {path: $DUNLIN_SOCKET, mode: 0600}
spaces:
  - {name: things, id: 1, shards: 4, quota: 32MiB}
END
sed 's/32MiB/32/' "$dir/good.yaml" >"$dir/bad.yaml"

# The command line.
expect "help" "$(exit_of "$dunlind" --help)" 0
expect "version" "$(exit_of "$dunlind" --version)" 0
expect "nothing" "$(exit_of "$dunlind")" 2
expect "unknown option" "$(exit_of "$dunlind" --confug x)" 2
expect "extra word" "$(exit_of "$dunlind" --config "$dir/good.yaml" more)" 2
expect "check of a good file" "$(exit_of "$dunlind" --config "$dir/good.yaml" --check)" 0
expect "check of a bad file" "$(exit_of "$dunlind" --config "$dir/bad.yaml" --check)" 2
expect "its fault has file and line" "$(grep -c "^$dir/bad.yaml:4:" "$dir/said")" 1
expect "start with a bad file" "$(exit_of "$dunlind" --config "$dir/bad.yaml")" 2
expect "start without a file" "$(exit_of "$dunlind" --config "$dir/none.yaml")" 2
expect "nothing was made" "$(test -e "$dir/run" && echo there)" ""

# Start, refuse a second one, stop.
start || { cat "$dir/err"; exit 1; }
expect "socket mode" "$(stat -c %a "$DUNLIN_SOCKET")" 600
first=$("$dunlin" put things key one)
expect "second daemon" "$(exit_of "$dunlind" --config "$dir/good.yaml")" 1
expect "it says why" "$(grep -c 'event=start_failed step=socket' "$dir/said")" 1
expect "the first one still serves" "$("$dunlin" get things key)" one
kill -TERM "$daemon"
expect_end "stop" 0
expect "no socket is left" "$(test -e "$DUNLIN_SOCKET" && echo there)" ""
expect "no daemon, no answer" "$(exit_of "$dunlin" get things key)" 3

# Killed: the next one takes over the path, and versions go on growing.
start || { cat "$dir/err"; exit 1; }
expect "a restart empties the space" "$(exit_of "$dunlin" get things key)" 1
second=$("$dunlin" put things key two)
kill -KILL "$daemon"
{ wait "$daemon"; } 2>/dev/null
expect "a killed daemon leaves its socket" "$(test -S "$DUNLIN_SOCKET" && echo there)" there
start || { cat "$dir/err"; exit 1; }
third=$("$dunlin" put things key three)
expect "versions of one key only grow" \
    "$(printf '%s\n' "$third" "$first" "$second" | sort -t . -k 2 -g | tr '\n' ' ')" \
    "$first $second $third "

# SIGINT ends it too; a second signal meanwhile changes nothing.
kill -INT "$daemon"
kill -TERM "$daemon" 2>/dev/null
expect_end "interrupt" 0

# Descriptors: too few to start is an error with a name and leaves no socket; just enough serves.
for limit in 6 10 14 18; do
    start "$limit" && expect "start with $limit descriptors" started refused
    expect_end "exit with $limit descriptors" 1
    expect "nothing is left with $limit descriptors" "$(test -e "$DUNLIN_SOCKET" && echo there)" ""
done
start 64 || { cat "$dir/err"; exit 1; }
rush=()
for i in $(seq 40); do
    "$dunlin" put things "key$i" value >/dev/null 2>&1 &
    rush+=($!)
done
wait "${rush[@]}"
expect "it serves on after a rush" "$("$dunlin" put things key four | grep -c .)" 1
kill -TERM "$daemon"
expect_end "stop after a rush" 0

log=$dir/err
[ $faults -eq 0 ]
finish $?
