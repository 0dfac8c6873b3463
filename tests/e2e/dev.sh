#!/usr/bin/env bash
# A whole cluster in one process: its command line, its directory, and how it ends.
#
#   dev.sh BUILD
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"

# expect WHAT GOT WANTED
expect() {
    [ "$2" = "$3" ] && return
    fault "$1: got '$2', expected '$3'"
}

# exit_of COMMAND...: its exit status; output in $scratch/said.
exit_of() {
    "$@" >"$scratch/said" 2>&1 </dev/null
    echo $?
}

# start ARGUMENT...: dunlind dev in the background; sets dev. Returns when it is ready, or 1.
start() {
    : >"$scratch/out"
    # Why setpriv: should this script be killed, nobody else would end it.
    setpriv --pdeathsig KILL "$dunlind" dev "$@" >"$scratch/out" 2>>"$log" &
    dev=$!
    children+=("$dev")
    for _ in $(seq 1 400); do
        grep -qx ready "$scratch/out" && return
        kill -0 "$dev" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}

# stop SIGNAL: ends it, which must be well.
stop() {
    kill -"$1" "$dev"
    wait "$dev"
    expect "end by SIG$1" $? 0
}

# socket_of N: as dev said.
socket_of() { sed -n "s|^node $1 socket ||p" "$scratch/out"; }

# ---- the command line ------------------------------------------------------------------------------

for bad in 0 8 10 x 3x '' -1; do
    expect "--nodes '$bad'" "$(exit_of "$dunlind" dev --nodes "$bad")" 2
    expect "it says why" "$(grep -c 'expected 1 to 7' "$scratch/said")" 1
done
for bad in 0 19 3600001 x 1s '' -20; do
    expect "--moves '$bad'" "$(exit_of "$dunlind" dev --moves "$bad")" 2
    expect "it says why" "$(grep -c 'expected 20 to 3600000' "$scratch/said")" 1
done
expect "--moves with one node" "$(exit_of "$dunlind" dev --nodes 1 --moves 500)" 2
expect "an unknown option" "$(exit_of "$dunlind" dev --colour green)" 2
expect "an option without its value" "$(exit_of "$dunlind" dev --nodes)" 2
expect "a word too many" "$(exit_of "$dunlind" dev more)" 2
expect "--config is not of dev" "$(exit_of "$dunlind" dev --config "$scratch/none")" 2
expect "--nodes is of dev alone" "$(exit_of "$dunlind" --nodes 3)" 2
expect "help" "$(exit_of "$dunlind" dev --help)" 0
expect "help says what dev prints" "$(grep -c 'node ID socket PATH' "$scratch/said")" 1
expect "no such spaces" "$(exit_of "$dunlind" dev --spaces "$scratch/none.yaml")" 2
printf 'spaces:\n  - name: pond\n    id: 1\n    colour: green\n' >"$scratch/bad.yaml"
expect "bad spaces" "$(exit_of "$dunlind" dev --spaces "$scratch/bad.yaml")" 2
expect "the fault has file and line" "$(grep -c "^$scratch/bad.yaml:4:" "$scratch/said")" 1
: >"$scratch/file"
expect "a file for a directory" "$(exit_of "$dunlind" dev --dir "$scratch/file")" 2
expect "no place for a directory" "$(exit_of "$dunlind" dev --dir "$scratch/none/none")" 2
long=$scratch/$(printf 'a%.0s' {1..100})
expect "a directory too long for sockets" "$(exit_of "$dunlind" dev --dir "$long")" 2
expect "it was not made" "$(test -e "$long" && echo there)" ""
expect "a bug in a sound build" "$(exit_of env DUNLIN_PLANT=no-such-bug "$dunlind" dev)" 2

# ---- a private directory ---------------------------------------------------------------------------

# private_run DIRECTORY ARGUMENT...: three nodes by default, in a fresh directory below DIRECTORY.
private_run() {
    local below=$1 where i
    shift
    start "$@" || { echo "dunlind dev $* does not start"; finish 1; }
    expect "what it prints" "$(sed 's| socket .*||' "$scratch/out" | tr '\n' ' ')" \
        "node 1 node 2 node 3 ready "
    where=$(dirname "$(socket_of 1)")
    expect "where its directory is" "$(dirname "$where")" "$below"
    expect "whose it is" "$(stat -c '%a %u' "$where")" "700 $(id -u)"
    for i in 1 2 3; do
        expect "socket $i" "$(socket_of $i)" "$where/node$i.sock"
        expect "its permissions" "$(stat -c %a "$where/node$i.sock")" 600
        expect "status of node $i" "$("$dunlin" --socket "$where/node$i.sock" --json status |
            grep -c "\"name\": *\"node$i\"")" 1
    done
    expect "put" "$(exit_of "$dunlin" --socket "$(socket_of 1)" put airspace u0qj2c drone-7)" 0
    expect "get" "$("$dunlin" --socket "$(socket_of 1)" get airspace u0qj2c)" drone-7
    expect "the other space" "$(exit_of "$dunlin" --socket "$(socket_of 1)" get fleet u0qj2c)" 1
    stop TERM
    expect "its directory is gone" "$(test -e "$where" && echo there)" ""
}

mkdir "$scratch/runtime"
export XDG_RUNTIME_DIR=$scratch/runtime
private_run "$scratch/runtime"
start --nodes 1 || finish 1
where=$(dirname "$(socket_of 1)")
expect "a space is made" "$(exit_of "$dunlin" --socket "$(socket_of 1)" space create lake --quota 16MiB)" 0
stop TERM
expect "its directory is gone" "$(test -e "$where" && echo there)" ""
XDG_RUNTIME_DIR=$scratch/none
private_run /tmp --nodes 3
unset XDG_RUNTIME_DIR
private_run /tmp

# ---- a directory of ours ---------------------------------------------------------------------------

nest=$scratch/nest
{
    config_head 0666
    space pond 4 2 16MiB
} >"$scratch/whole.yaml"
start --nodes 2 --dir "$nest" --spaces "$scratch/whole.yaml" || finish 1
expect "how many nodes" "$(grep -c ^node "$scratch/out")" 2
expect "where they are" "$(socket_of 2)" "$nest/node2.sock"
first=$("$dunlin" --socket "$nest/node1.sock" put pond key one)
expect "a second cluster in the same place" "$(exit_of "$dunlind" dev --dir "$nest")" 1
expect "it says why" "$(grep -c 'event=start_failed step=socket.*node=node1' "$scratch/said")" 1
expect "the first one still serves" "$("$dunlin" --socket "$nest/node1.sock" get pond key)" one
stop INT
expect "no socket is left" "$(find "$nest" -name '*.sock')" ""
expect "the directory stays" "$(test -d "$nest" && echo there)" there
printf 'spaces:\n  - {name: pond, id: 4, shards: 2, quota: 16MiB}\n' >"$scratch/spaces.yaml"
cd "$scratch" || finish 2
start --nodes 1 --dir nest --spaces spaces.yaml || finish 1
expect "a relative directory" "$(socket_of 1)" "$nest/node1.sock"
expect "it starts empty" "$(exit_of "$dunlin" --socket "$nest/node1.sock" get pond key)" 1
second=$("$dunlin" --socket "$nest/node1.sock" put pond key two)
expect "versions only grow" "$(printf '%s\n' "$second" "$first" | sort -t . -k 2 -g | tr '\n' ' ')" \
    "$first $second "
{ kill -KILL "$dev"; wait "$dev"; } 2>/dev/null
start --nodes 1 --dir nest --spaces spaces.yaml || finish 1
expect "a space is made" "$(exit_of "$dunlin" --socket "$nest/node1.sock" space create lake --quota 16MiB)" 0
expect "it is served" "$(exit_of "$dunlin" --socket "$nest/node1.sock" put lake key one)" 0
expect "no node is added" "$(exit_of "$dunlin" --socket "$nest/node1.sock" node add 2 --address 127.0.0.1:1)" 3
stop TERM
start --nodes 1 --dir nest --spaces spaces.yaml || finish 1
expect "it is there again" "$(exit_of "$dunlin" --socket "$nest/node1.sock" put lake key two)" 0
expect "it is dropped" "$(exit_of "$dunlin" --socket "$nest/node1.sock" space drop lake --yes)" 0
stop TERM
start --nodes 2 --dir nest --spaces spaces.yaml || finish 1
expect "several make none" "$(exit_of "$dunlin" --socket "$nest/node2.sock" space create lake --quota 16MiB)" 5
expect "it says why" "$(grep -c 'dunlind dev of several nodes' "$scratch/said")" 1
expect "no node goes" "$(exit_of "$dunlin" --socket "$nest/node2.sock" node remove 1)" 3
expect "it says why" "$(grep -c 'of a dunlind dev' "$scratch/said")" 1
stop TERM

# ---- leaders that move -----------------------------------------------------------------------------

# activations N: of the shards of node N, as its status counts them.
activations() {
    "$dunlin" --socket "$(socket_of "$1")" --json status | grep -o '"activations": *[0-9]*' | tail -n 1 |
        grep -o '[0-9]*$'
}

start --nodes 3 --moves 100 --spaces "$scratch/spaces.yaml" || finish 1
for i in $(seq 1 60); do
    expect "put $i while leaders move" "$(exit_of "$dunlin" --socket "$(socket_of 1)" put pond key "$i")" 0
    sleep 0.02
done
expect "get" "$("$dunlin" --socket "$(socket_of 1)" get pond key)" 60
for _ in $(seq 1 100); do
    [ "$(activations 1)" -ge 8 ] && [ "$(activations 2)" -ge 2 ] && [ "$(activations 3)" -ge 2 ] && break
    sleep 0.1
done
expect "node 1 led again and again" "$(($(activations 1) >= 8))" 1
expect "node 2 led" "$(($(activations 2) >= 2))" 1
expect "node 3 led" "$(($(activations 3) >= 2))" 1
stop TERM

# ---- a version says the same at every node ---------------------------------------------------------

printf 'spaces:\n  - {name: pond, id: 4, shards: 2, quota: 16MiB, history: 4}\n' >"$scratch/kept.yaml"
start --nodes 3 --moves 150 --spaces "$scratch/kept.yaml" || finish 1
versions=()
for i in $(seq 1 30); do
    versions+=("$("$dunlin" --socket "$(socket_of $((i % 3 + 1)))" put pond key "$i")")
    [ "$i" -ge 4 ] || continue
    for node in 1 2 3; do
        for back in 0 3; do
            expect "node $node, $back before version $i" \
                "$("$dunlin" --socket "$(socket_of $node)" get pond key --at "${versions[i - 1 - back]}")" \
                "$((i - back))"
        done
    done
done
for node in 1 2 3; do
    expect "too old, at node $node" "$(exit_of "$dunlin" --socket "$(socket_of $node)" \
        get pond key --at "${versions[20]}")" 7
    expect "the oldest kept, at node $node" "$(grep -cx "${versions[26]}" "$scratch/said")" 1
done
stop TERM

# ---- a lease outlives its leaders --------------------------------------------------------------

start --nodes 3 --moves 150 --spaces "$scratch/spaces.yaml" || finish 1
at() { "$dunlin" --socket "$(socket_of "$1")" "${@:2}"; }
token=$(at 1 lease acquire pond boat --ttl 60000 --owner ann)
expect "a value with a ttl" "$(exit_of at 2 put pond mortal soon --ttl 50)" 0
for i in $(seq 1 200); do
    node=$((i % 3 + 1))
    expect "who holds it, at node $node" \
        "$(at $node --json lease show pond boat | grep -o '"owner":.*"token":"[0-9]*"')" \
        "\"owner\":\"ann\",\"token\":\"$token\""
    expect "another gets it at node $node" \
        "$(exit_of at $node lease acquire pond boat --ttl 60000 --owner bob)" 1
    expect "a renewal at node $node keeps the token" \
        "$(at $node lease renew pond boat --token "$token" --ttl 60000)" "$token"
    [ "$i" -ge 10 ] && [ "$(activations 1)" -ge 6 ] && [ "$(activations 2)" -ge 2 ] && break
    sleep 0.02
done
expect "leaders moved" "$(($(activations 1) >= 6))" 1
expect "its end, wherever" "$(exit_of at 3 lease release pond boat --token "$token")" 0
other=$(at 2 lease acquire pond boat --ttl 60000 --owner bob)
expect "tokens only grow" "$((other > token))" 1
expect "the first owner's renewal" "$(exit_of at 1 lease renew pond boat --token "$token" --ttl 1)" 1
for _ in $(seq 1 200); do
    [ "$(exit_of at 2 get pond mortal)" = 1 ] && break
    sleep 0.05
done
for node in 1 2 3; do
    expect "a value whose ttl is over, at node $node" "$(exit_of at $node get pond mortal)" 1
    expect "a ttl at any node" "$(exit_of at $node put pond "mortal-$node" again --ttl 60000)" 0
    expect "is of a value" "$(at 1 get pond "mortal-$node")" again
done
stop TERM

start --nodes 2 --spaces "$scratch/spaces.yaml" || finish 1
expect "put at a node that does not lead goes on to the leader" \
    "$(exit_of "$dunlin" --socket "$(socket_of 2)" put pond key x)" 0
expect "it counts there" "$("$dunlin" --socket "$(socket_of 1)" get pond key)" x
expect "as does what is deleted there" "$(exit_of "$dunlin" --socket "$(socket_of 2)" del pond key)" 0
expect "which is gone" "$(exit_of "$dunlin" --socket "$(socket_of 1)" get pond key)" 1
stop TERM

[ $faults -eq 0 ]
finish $?
