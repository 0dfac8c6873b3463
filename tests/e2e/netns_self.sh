#!/usr/bin/env bash
# netns.sh does what it says: each of its functions by datagrams that arrive or do not, and nothing is
# left behind, however it ends.
#
#   netns_self.sh BUILD
#   netns_self.sh BUILD hold    a network with processes on it, until a signal comes
#
# That something does not arrive is shown by what is sent after it on the same way, and does.
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/netns.sh
. "$(dirname "$0")/netns.sh"

proxy=$programs/udp_proxy
[ -x "$proxy" ] || { echo "$e2e_name: no $proxy: build first" >&2; exit 2; }
sinks=()  # processes that count what comes, by node
wanted=() # what they should have counted

# expect WHAT GOT WANTED
expect() {
    [ "$2" = "$3" ] && return
    fault "$1: got '$2', expected '$3'"
}

# status_of COMMAND...: its exit status; output in $scratch/said.
status_of() {
    "$@" >"$scratch/said" 2>&1
    echo $?
}

# up N: a network with a sink on each node.
up() {
    local n status
    net_up "$1"
    status=$?
    [ $status -eq 0 ] || exit $status
    for n in $(seq 1 "$1"); do
        net_start "$n" "$proxy" --listen "$(net_address "$n"):9000" --to 127.0.0.1:9 >"$scratch/sink$n"
        sinks[n]=$net_pid
        wanted[n]=0
        for _ in $(seq 1 500); do
            grep -q '^listening' "$scratch/sink$n" && continue 2
            sleep 0.01
        done
        echo "the sink of node $n does not start"
        exit 1
    done
}

# received n: so many datagrams have arrived there. Why the refused ones, too: each sender is another
# client, and the proxy has no place for more than some.
received() {
    local before
    before=$(grep -c '^counts' "$scratch/sink$1")
    kill -USR1 "${sinks[$1]}"
    for _ in $(seq 1 1000); do
        [ "$(grep -c '^counts' "$scratch/sink$1")" -gt "$before" ] && break
        sleep 0.01
    done
    tail -n 1 "$scratch/sink$1" | tr ' =' '\n ' |
        awk '$1 == "refused" || $1 == "to_server.received" { sum += $2 } END { print sum + 0 }'
}

# send a b [COUNT [BYTES]]
send() {
    # shellcheck disable=SC2016
    net_run "$1" bash -c 'exec 3>"/dev/udp/$0/9000"; for ((i = 0; i < $1; i++)); do printf "%*s" "$2" "" >&3; done' \
        "$(net_address "$2")" "${3:-1}" "${4:-1}" || expect "send from $1 to $2" failed sent
}

# arrives WHAT a b: one sent from a to b does, and with it all that were to arrive there, and no more.
arrives() {
    local got
    send "$2" "$3"
    wanted[$3]=$((${wanted[$3]} + 1))
    for _ in $(seq 1 500); do
        got=$(received "$3")
        [ "$got" -ge "${wanted[$3]}" ] && break
        sleep 0.02
    done
    expect "$1: arrived at $3" "$got" "${wanted[$3]}"
    wanted[$3]=$got
}

# The machine's own network, as far as a network of ours could leave something in it.
machine() {
    ip -o link | awk -F ': ' '{ print $2 }'
    ip rule
    grep -E ' (/run|/var/run)/netns| nsfs ' /proc/self/mounts
    ls /run/netns 2>/dev/null
    ! command -v nft >/dev/null || nft list ruleset 2>/dev/null
}

# ---- until a signal comes --------------------------------------------------------------------------

if [ "${2:-}" = hold ]; then
    up 2
    # Why a grandchild: it is of the nodes, but no child of this script. SIGKILL cannot reach it.
    # shellcheck disable=SC2016
    [ "${3:-}" = KILL ] || net_start 1 bash -c 'trap "" TERM INT; sleep 300 & wait'
    printf '%s\n' "$scratch" "${net_ids[@]}" holding
    net_run 2 sleep 300
    exit 1
fi

before=$(machine)

# ---- one network -----------------------------------------------------------------------------------

up 3
expect "the machine's own network while there is one" "$(machine)" "$before"
expect "a second network of one script" "$(status_of net_up 2)" 2
expect "an address" "$(net_run 2 ip -o -4 address show dev eth0 | grep -cF "$(net_address 2)/24")" 1
expect "input, output and status of a command" \
    "$(echo word | net_run 3 sh -c 'cat; exit 9'; echo $?)" "word"$'\n'"9"
for node in 0 4 x '' -1; do
    expect "node '$node'" "$(status_of net_run "$node" true)" 2
    expect "a cut of node '$node'" "$(status_of net_cut 1 "$node")" 2
    expect "a cut of node '$node' alone" "$(status_of net_cut_node "$node")" 2
    expect "a rate of node '$node'" "$(status_of net_rate "$node" 1000)" 2
done
for pair in '1 2' '1 3' '2 1' '2 3' '3 1' '3 2'; do
    # shellcheck disable=SC2086
    arrives "everybody reaches everybody" $pair
done

# ---- cuts ------------------------------------------------------------------------------------------

# cuts HOW: by what they are made.
cuts() {
    expect "how cuts are made" "$net_cuts" "$1"
    net_cut 1 2
    net_cut 1 2
    send 1 2
    arrives "the other way of a cut ($1)" 2 1
    arrives "somebody else ($1)" 3 2
    arrives "the cut one to somebody else ($1)" 1 3
    net_heal 2 1
    send 1 2
    net_heal 1 2
    net_heal 1 2
    arrives "after a cut ($1)" 1 2
    net_cut 1 2
    net_cut 3 2
    send 1 2
    send 3 2
    net_heal
    arrives "after two cuts ($1)" 1 2
    arrives "after two cuts ($1)" 3 2
}

if command -v nft >/dev/null; then
    cuts nft
    # shellcheck disable=SC2034
    DUNLIN_NET_CUT=rule
    net_cuts_prepare
fi
cuts rule

net_cut_node 3
net_cut_node 3
send 1 3
send 3 1
send 3 2
arrives "two others" 1 2
arrives "two others" 2 1
expect "its carrier" "$(net_run 3 cat /proc/net/dev | grep -c eth0) $(net_run 3 ip -o link show eth0 |
    grep -c LOWER_UP)" "1 1"
net_heal 3
for pair in '1 3' '2 3' '3 1' '3 2'; do
    # shellcheck disable=SC2086
    arrives "after a node was cut off" $pair
done
net_cut_node 1
net_cut_node 2
send 1 2
net_heal
arrives "after two nodes were cut off" 1 2
arrives "after two nodes were cut off" 2 1

disabled() { net_in 0 bridge link show | grep -cE "(port|second)$1@.* state disabled "; }
net_second 2
net_cut_node 2
expect "both ports of a node that is cut off" "$(disabled 2)" 2
net_heal
expect "both ports when all is healed" "$(disabled 2)" 0
arrives "after it was cut off" 1 2

# ---- slow links ------------------------------------------------------------------------------------

# limited a b KBIT: 300 frames in one burst; no more arrive than the rate lets through until they are
# counted. A slow machine makes that more.
limited() {
    local start got most
    start=${EPOCHREALTIME/./}
    send "$1" "$2" 300 1000
    for _ in $(seq 1 500); do
        got=$(($(received "$2") - ${wanted[$2]}))
        [ $got -gt 0 ] && break
        sleep 0.02
    done
    most=$((3100 + (${EPOCHREALTIME/./} - start) * $3 / 8000))
    expect "something passes" $((got > 0)) 1
    expect "$got frames of 1000 bytes by the rate of $3 kbit/s" $((got * 1000 <= most)) 1
    echo "rate of $3 kbit/s from $1 to $2: $got of 300 frames of 1000 bytes, at most $most bytes"
}

# unlimited a b: as many of one burst arrive as a rate would have thrown away.
unlimited() {
    local before got
    before=$(received "$2")
    send "$1" "$2" 300 1000
    for _ in $(seq 1 500); do
        got=$(($(received "$2") - before))
        [ $got -ge 300 ] && break
        sleep 0.02
    done
    expect "without a rate from $1 to $2" $((got >= 300)) 1
}

net_rate 1 400
limited 1 2 400
limited 2 1 400
expect "a delay, too" "$(status_of net_delay 1 1000)" 2
net_rate 1 0
net_rate 1 0
unlimited 1 2
unlimited 2 1
expect "a rate that is none" "$(status_of net_rate 1 fast)" 2
net_down # with what may still be on its way
up 2

status=$(status_of net_delay 1 30)
if [ "$status" = 77 ]; then
    expect "it says why" "$(grep -c '^skipped: this kernel has no netem' "$scratch/said")" 1
    echo "net_delay: $(cat "$scratch/said")"
    arrives "without a delay" 1 2
else
    expect "a delay" "$status" 0
    net_delay 1 30 # in this shell: the one above was another's
    expect "a rate, too" "$(status_of net_rate 1 1000)" 2
    for pair in '1 2' '2 1'; do
        start=${EPOCHREALTIME/./}
        # shellcheck disable=SC2086
        arrives "with a delay" $pair
        expect "it takes its time" $((${EPOCHREALTIME/./} - start >= 30000)) 1
    done
    net_delay 1 0
fi

# ---- the end ---------------------------------------------------------------------------------------

ids=("${net_ids[@]}")
expect "processes while it is up" "$(net_processes | wc -l)" 5
net_down
expect "down" $? 0
net_ids=("${ids[@]}")
expect "processes after it" "$(net_processes)" ""
net_ids=()
expect "down again" "$(status_of net_down)" 0
expect "a command on no network" "$(status_of net_run 1 true)" 2

# Why the holders last: a namespace that has ended leaves its number to the next one, and net_down goes by numbers.
up 2
mapfile -t last < <(printf -- '-KILL %s\n' "${net_holders[@]}")
kill() {
    echo "$*" >>"$scratch/kills"
    builtin kill "$@"
}
net_down
unset -f kill
expect "what ends first" "$(head -n 1 "$scratch/kills" | wc -w)" 3
expect "what ends last" "$(tail -n 3 "$scratch/kills")" "$(printf '%s\n' "${last[@]}")"

# As if the namespace of node 1 had ended, and another run had its number now.
up 2
setpriv --pdeathsig KILL unshare --net sleep 300 &
stranger=$!
children+=("$stranger")
for _ in $(seq 1 1000); do
    [ "$(readlink "/proc/$stranger/ns/net")" != "$(readlink /proc/self/ns/net)" ] && break
    sleep 0.01
done
kill -KILL "${net_holders[1]}" "${sinks[1]}"
net_ids[1]=$(readlink "/proc/$stranger/ns/net")
net_down
expect "down without a holder" $? 0
expect "a stranger" "$(kill -0 "$stranger" && echo alive)" alive
kill -KILL "$stranger"
up 2
arrives "the next network" 1 2

for signal in INT TERM KILL; do
    # Why: what a shell starts in the background ignores SIGINT, and could not even trap it.
    : >"$scratch/held"
    env --default-signal=INT "$0" "$build" hold $signal >"$scratch/held" 2>&1 &
    held=$!
    children+=("$held")
    for _ in $(seq 1 1000); do
        grep -qx holding "$scratch/held" && break
        sleep 0.01
    done
    mapfile -t theirs < <(grep '^net:' "$scratch/held")
    expect "networks at the same time" "${#theirs[@]}" 3
    at_work=$([ $signal = KILL ] && echo 6 || echo 8)
    for _ in $(seq 1 500); do
        found=$(net_ids=("${theirs[@]}") && net_processes | wc -l)
        [ "$found" -ge "$at_work" ] && break
        sleep 0.01
    done
    expect "processes on theirs" "$found" "$at_work"
    kill -$signal $held
    { wait $held; } 2>/dev/null
    expect "end by SIG$signal" $? $((128 + $(kill -l $signal)))
    # Why a wait: after SIGKILL it is the kernel that ends the others. After the rest it is the script.
    for _ in $(seq 1 500); do
        left=$(net_ids=("${theirs[@]}") && net_processes)
        [ -n "$left" ] && [ $signal = KILL ] || break
        sleep 0.01
    done
    expect "processes left after SIG$signal" "$left" ""
    if [ $signal = KILL ]; then
        rm -rf "$(grep "^/tmp/dunlin-$e2e_name\." "$scratch/held")"
    fi
done
arrives "our own network after that" 2 1
net_down
expect "the machine's own network" "$(machine)" "$before"

[ $faults -eq 0 ]
finish $?
