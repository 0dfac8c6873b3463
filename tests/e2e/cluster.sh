# shellcheck shell=bash disable=SC2154 # those of common.sh
# cluster - a cluster of real processes, each in a network namespace of its own, with agents at their
# sockets, which any namespace reaches. To be sourced after common.sh, by a script that needs root.
#
#   cluster_make N [SPARE]       a network of N nodes and SPARE without one of ours, a key, and the files
#                                below; starts nothing
#   cluster_begin                all nodes started and serving
#   cluster_up N                 both
#   cluster_configure n          writes ${configs[n]} anew from the settings below
#   cluster_prepare n [m...]     what node n needs that is to be added: a certificate, and a configuration that
#                                lists the nodes m (1 to n); starts nothing
#   cluster_add n AT [OPTION...] `dunlin node add` of it at node AT
#   cluster_end                  kills all nodes, and forgets what they kept: cluster_begin begins anew
#   cluster_anew                 cluster_end, and three nodes that have never been, until all is whole
#   cluster_start n              starts node n; its process is ${pids[n]}, its log ${logs[n]}
#   cluster_ready n [SECONDS]    until it serves; 1: it ended, or took too long
#   cluster_kill n               kill -9, and gone
#   cluster_stop n [SECONDS]     SIGTERM; its exit status in $stopped, and how long in $took_ms
#   cluster_move n [AT]          leadership of everything to node n, asked for at node AT (n), and until it is there
#   cluster_lead n [AT]          the same until node n leads all, as node AT says: again where it lost a shard meanwhile
#
#   at n COMMAND...              `dunlin` at node n; what it complains of goes to $scratch/errors
#   quietly n COMMAND...         the same without its output
#   says_status STATUS n COMMAND...  whether it exits so; what it says is in $scratch/said
#
#   status n NAME                sum of the numbers of this name in its `dunlin status`
#   published n                  until its lcores told their transports' counters, which they do ten times a second:
#                                what was counted before the call is in `status n` then
#   start n                      number of its start
#   committed n                  bytes of its logs that are committed, over all shards
#   caught_up n BYTES [SECONDS]  until committed n is so much; how long in $took_ms
#   leads n [AT]                 shards that n leads, as node AT says
#   pending n, lost n            shards without an active epoch, or lost, as node n says
#   node n m NAME                what node n says of node m, in one word: up, heard_ms, lag, votes ...
#   votes_some n m, is_gone n m  as node n says: m votes on some shard, or is no node
#   control n NAME               what node n says of the control log: leader, voter, applied ...
#   answers n                    its daemon serves
#   has_key n KEY VALUE          a linearizable get of a key of telemetry there
#   redundancy n NAME            what node n says of it: least, below, changing
#   is_whole n [COUNT]           as node n says all shards have their voters, and nothing is on its way; of
#                                so many nodes
#
#   fleet_start SECONDS LAST [OPTION...]
#                                a fleet with agents at all nodes, or at those of flown, but LAST, which is
#                                watched all the same
#   fleet_end [may-fail|cut-short]  until it is over; judges it: no violation, no failed write (unless they may:
#                                what a dead leader had not told has no known fate), all exercised (unless it was
#                                cut short: over before a node was back)
#   agent_start NAME OPTION...   a cluster_agent (see there)
#   agent NAME FIELD             what it counted last
#   agent_end NAME               ends it; judges it: nothing wrong
#
#   await SECONDS WHAT COMMAND...  until it succeeds; else a fault
#   check WHAT COMMAND...        a fault unless it succeeds
#   scene NAME                   a heading; told NAME=VALUE... prints what was measured in it
#   scenes SCENE...              functions; runs those that the command line names after BUILD, or all
#   verdict                      ends the script; what went wrong are its last lines
#
# Settings, before cluster_begin or cluster_configure: quota_telemetry, quota_sectors, cluster_name,
# key_files[n] (none: secrets come over the control plane), wires[n] (version), losts[n] (stop, reopen), lease, leader_lease, listed[n] (nodes, all),
# zones[n], replicas, transports[n] (udp, rdma, or a port of DPDK, which has that of net_second), eals[n] (for that port, else
# eal), mtu (of those ports), frame, encrypt (false: frames have tags alone), lcore_count, behind[n] (on its command
# line, behind --), patience (seconds that a deadline is, where none is given), pause (seconds between two looks
# at what is awaited), and seen[n,m] (where node n believes that m is).
#
# Deadlines are long, and only say that something hangs: no result depends on how fast a machine is.
# shellcheck source=tests/e2e/netns.sh
. "$(dirname "${BASH_SOURCE[0]}")/netns.sh"

bench=$build/bench/dunlin-bench
cluster_agent=$programs/cluster_agent
for program in "$bench" "$cluster_agent"; do
    [ -x "$program" ] || { echo "$e2e_name: no $program: build first" >&2; exit 2; }
done

chosen=("${@:2}")
quota_telemetry=16MiB
quota_sectors=16MiB
cluster_name=$e2e_name
lease=50ms
leader_lease=300ms
eal="--no-huge -m 128 --no-pci"
nodes=0
took_ms=0
stopped=0
replicas=
encrypt=
lcore_count=
mtu=
frame=
patience=30
pause=0.02
flown=
pids=() logs=() configs=() sockets=() key_files=() wires=() losts=() listed=() zones=() transports=() eals=() behind=()
declare -A seen agent_pids
fleet_pid=
fleet_seconds=0

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# ---- what a test says ------------------------------------------------------------------------------

scene() {
    scene_ms=$(now_ms)
    echo "== $*"
}

told() { printf '   %s; %s s\n' "$*" "$((($(now_ms) - scene_ms) / 1000))"; }

check() {
    local what=$1
    shift
    "$@" || fault "$what ($*)"
}

# await SECONDS WHAT COMMAND...: sets took_ms; 1, and a fault, if it never did.
await() {
    local seconds=$1 what=$2 begun
    begun=$(now_ms)
    shift 2
    until "$@"; do
        took_ms=$(($(now_ms) - begun))
        [ $took_ms -lt $((seconds * 1000)) ] || { fault "$what: not within $seconds s ($*)"; return 1; }
        sleep "$pause"
    done
    took_ms=$(($(now_ms) - begun))
}

# scenes SCENE...: those named on the command line, or all of these.
scenes() {
    local name
    [ ${#chosen[@]} -gt 0 ] || chosen=("$@")
    for name in "${chosen[@]}"; do
        [[ " $* " == *" $name "* ]] || { echo "$e2e_name: no scene '$name'; there are: $*" >&2; exit 2; }
    done
    for name in "${chosen[@]}"; do
        "$name"
    done
}

verdict() {
    local n
    [ $faults -eq 0 ] || [ ! -s "$scratch/errors" ] ||
        { echo "-- the last complaints of commands:" && tail -n 8 "$scratch/errors"; }
    for n in "${!logs[@]}"; do
        if grep -aqE 'assertion failed|Sanitizer|runtime error' "${logs[n]}"* 2>/dev/null; then
            fault "node $n said:"
            grep -ahE -A 5 'assertion failed|Sanitizer|runtime error' "${logs[n]}"* | head -n 20
        fi
        [ $faults -eq 0 ] || { echo "-- the end of the log of node $n:" && tail -n 12 "${logs[n]}"; }
    done
    faults_again
    [ $faults -eq 0 ] && echo "all as it should be"
    exit
}

# ---- nodes -----------------------------------------------------------------------------------------

# Its frames go to the address that its kernel has.
is_kernels() { [[ ${transports[$1]:-udp} =~ ^(udp|rdma)$ ]]; }

# Where frames to it go.
data_address() { if is_kernels "$1"; then net_address "$1"; else net_second_address "$1"; fi; }

cluster_configure() {
    local n=$1 m
    {
        printf 'node: {name: %s-%s, id: %s}\nsocket: {path: %s, mode: 0600}\ntimes: {lease: %s}\n' \
            "$e2e_name" "$n" "$n" "${sockets[n]}" "$lease"
        [ -z "$lcore_count" ] || echo "lcores: {count: $lcore_count}"
        printf 'cluster:\n  name: %s\n' "$cluster_name"
        [ "${key_files[n]:-}" = none ] || printf '  key_file: %s\n' "${key_files[n]:-$scratch/key}"
        printf '  control:\n    directory: %s\n    certificate: %s\n    key: %s\n    authority: %s\n' \
            "$scratch/control$n" "$scratch/ca/node-$n.crt" "$scratch/ca/node-$n.key" "$scratch/ca/authority.crt"
        echo "    lease: $leader_lease"
        [ -z "${wires[n]:-}" ] || echo "  wire: ${wires[n]}"
        [ -z "${losts[n]:-}" ] || echo "  lost: ${losts[n]}"
        [ -z "$replicas" ] || echo "  replicas: $replicas"
        [ -z "$encrypt" ] || echo "  encrypt: $encrypt"
        [ -z "$frame" ] || echo "  frame: $frame"
        [ "${transports[n]:-}" != rdma ] || echo "  transport: rdma"
        is_kernels "$n" || printf '  transport: dpdk\n  dpdk: {port: "%s", eal: "%s"%s}\n' \
            "${transports[n]}" "${eals[n]:-$eal}" "${mtu:+, mtu: $mtu}"
        echo "  nodes:"
        for m in ${listed[n]:-$(seq 1 "$nodes")}; do
            printf '    - {id: %s, address: "%s", control: "%s"%s}\n' "$m" \
                "${seen[$n,$m]:-$(data_address "$m"):7700}" "$(net_address "$m"):7700" \
                "${zones[m]:+, zone: ${zones[m]}}"
        done
        echo "spaces:"
        space telemetry 1 8 "$quota_telemetry"
        space sectors 2 8 "$quota_sectors" "partition_prefix: 6"
    } >"${configs[n]}"
}

cluster_make() {
    local n status
    net_up $(($1 + ${2:-0}))
    status=$?
    [ $status -eq 0 ] || exit $status
    nodes=$1
    (umask 077 && "$dunlin" key >"$scratch/key") || exit 2
    "$dunlin" authority create "$scratch/ca" --cluster "$cluster_name" >/dev/null || exit 2
    for ((n = 1; n <= nodes; n++)); do
        cluster_files "$n"
    done
}

cluster_files() {
    sockets[$1]=$scratch/node$1.sock
    configs[$1]=$scratch/node$1.yaml
    logs[$1]=$scratch/node$1.log
    "$dunlin" authority issue "$scratch/ca" --node "$1" --force >/dev/null || exit 2
}

cluster_prepare() {
    local n=$1
    shift
    cluster_files "$n"
    listed[n]=${*:-$(seq -s ' ' 1 "$n")}
    cluster_configure "$n"
}

cluster_add() {
    local n=$1 at=$2
    shift 2
    "$dunlin" --socket "${sockets[at]}" node add "$n" --address "$(data_address "$n"):7700" \
        --control "$(net_address "$n"):7700" "$@"
}

cluster_end() {
    local n
    for n in "${!pids[@]}"; do
        has_ended "${pids[n]}" || kill -KILL "${pids[n]}"
        wait "${pids[n]}" 2>/dev/null
        rm -rf "$scratch/control$n" "${sockets[n]}"*
        cat "${logs[n]}" >>"${logs[n]}.before" && : >"${logs[n]}"
    done
    pids=()
}

cluster_start() {
    : >>"${logs[$1]}"
    ready_before=$(grep -cx ready "${logs[$1]}")
    # shellcheck disable=SC2086 # words
    net_start "$1" "$dunlind" --config "${configs[$1]}" ${behind[$1]:+-- ${behind[$1]}} >>"${logs[$1]}" 2>&1
    pids[$1]=$net_pid
}

is_ready() { [ "$(grep -cx ready "${logs[$1]}")" -gt "$2" ]; }
has_ended() { ! kill -0 "$1" 2>/dev/null; }

cluster_ready() {
    local n=$1 before=${ready_before:-0} limit_ms=$(($(now_ms) + ${2:-$patience} * 1000))
    until is_ready "$n" "$before"; do
        if has_ended "${pids[n]}" || [ "$(now_ms)" -gt "$limit_ms" ]; then
            fault "node $n does not serve"
            return 1
        fi
        sleep "$pause"
    done
}

cluster_up() {
    cluster_make "$1"
    cluster_begin
}

cluster_begin() {
    local n
    for ((n = 1; n <= nodes; n++)); do
        cluster_configure "$n"
        cluster_start "$n"
    done
    for ((n = 1; n <= nodes; n++)); do
        ready_before=0
        cluster_ready "$n" || verdict
    done
    for ((n = 1; n <= nodes; n++)); do
        await "$patience" "all shards active at node $n" is_active "$n" || verdict
    done
}

cluster_anew() {
    local n
    cluster_end
    nodes=3
    listed=()
    cluster_begin
    for n in 1 2 3; do
        await "$patience" "node $n finds all whole" is_whole "$n" 3
    done
}

cluster_kill() {
    kill -KILL "${pids[$1]}"
    wait "${pids[$1]}" 2>/dev/null
}

cluster_stop() {
    kill -TERM "${pids[$1]}"
    cluster_stopped "$@"
}

# cluster_stopped n [SECONDS]: the second half of it, for several at once.
cluster_stopped() {
    await "${2:-20}" "node $1 ends by SIGTERM" has_ended "${pids[$1]}" || kill -KILL "${pids[$1]}"
    wait "${pids[$1]}" 2>/dev/null
    stopped=$?
    [ $stopped -eq 0 ] || fault "node $1 ended by $stopped after SIGTERM"
}

# Why again: a node whose lease ended while it was to lead is passed over.
cluster_move() {
    local at=${2:-$1} until=$((SECONDS + patience)) status
    while :; do
        "$dunlin" --socket "${sockets[at]}" move "$1" >/dev/null 2>"$scratch/move"
        status=$?
        [ $status -eq 3 ] && [ $SECONDS -lt $until ] || break
        sleep "$pause"
    done
    [ $status -eq 0 ] || cat "$scratch/move" >&2
    return $status
}

moves_all() { cluster_move "$@" 2>>"$scratch/errors" && leads_all "$@"; }
cluster_lead() { await "$patience" "node $1 leads all" moves_all "$1" "${2:-$1}"; }

# ---- commands --------------------------------------------------------------------------------------

at() {
    local n=$1
    shift
    "$dunlin" --socket "${sockets[n]}" "$@" 2>>"$scratch/errors"
}

quietly() { at "$@" >/dev/null; }

says_status() {
    local expected=$1 n=$2
    shift 2
    "$dunlin" --socket "${sockets[n]}" "$@" >"$scratch/said" 2>&1
    [ $? -eq "$expected" ]
}

# ---- what nodes say --------------------------------------------------------------------------------

# start n: number of its start.
start() {
    "$dunlin" --socket "${sockets[$1]}" --json status 2>/dev/null |
        grep -oE '"start": ?[0-9]+' | head -n 1 | grep -oE '[0-9]+$'
}

# Why not for what is under "counters": those stand there twice, by lcore, and all together.
status() {
    "$dunlin" --socket "${sockets[$1]}" --json status 2>/dev/null |
        grep -oE "\"$2\": ?[0-9]+" | awk -F: '{ sum += $2 } END { printf "%.0f\n", sum }'
}

sent_by_each() {
    "$dunlin" --socket "${sockets[$1]}" --json status 2>/dev/null | grep -oE '"frames_sent": ?[0-9]+' |
        grep -oE '[0-9]+$'
}
# Of each lcore, as all of them send all the time.
told_anew() { paste -d ' ' <(echo "$2") <(sent_by_each "$1") | awk '$1 == $2 { same = 1 } END { exit same || NR == 0 }'; }

published() { await "$patience" "node $1 tells what it counted" told_anew "$1" "$(sent_by_each "$1")"; }

# Why never below 0: a node that has just started knows of no commit yet.
committed() {
    "$dunlin" --socket "${sockets[$1]}" --json status 2>/dev/null |
        grep -oE '"(log_bytes|uncommitted_bytes)": ?[0-9]+' |
        awk -F: '/uncommitted/ { sum -= $2; next } { sum += $2 } END { printf "%.0f\n", (sum > 0 ? sum : 0) }'
}

has_committed() { [ "$(committed "$1")" -ge "$2" ]; }

caught_up() { await "${3:-$patience}" "node $1 has caught up" has_committed "$1" "$2"; }

# of n NAME: a number of `dunlin nodes`.
of() {
    "$dunlin" --socket "${sockets[$1]}" --json nodes 2>/dev/null |
        grep -oE "\"$2\": [0-9]+" | head -n 1 | grep -oE '[0-9]+$'
}

pending() { of "$1" pending; }
lost() { of "$1" lost; }
is_active() { [ "$(pending "$1")" = 0 ]; }

# node n m NAME: what n says of m.
node() {
    "$dunlin" --socket "${sockets[$1]}" --json nodes 2>/dev/null | tr -d ' \n' |
        grep -oE "\"id\":$2,[^}]*" | grep -oE "\"$3\":[^,}]*" | cut -d: -f2-
}
is_up() { [ "$(node "$1" "$2" up)" = true ]; }
is_down() { [ "$(node "$1" "$2" up)" = false ]; }

votes_some() { [ "$(node "$1" "$2" votes)" -gt 0 ]; }
is_gone() { [ -n "$(of "$1" shards)" ] && [ -z "$(node "$1" "$2" standing)" ]; }

control() {
    "$dunlin" --socket "${sockets[$1]}" --json nodes 2>/dev/null | tr -d ' \n' |
        grep -oE '"control":\{[^}]*' | grep -oE "\"$2\":[^,}]*" | cut -d: -f2-
}

answers() { quietly "$1" status; }
has_key() { [ "$(at "$1" get telemetry "$2" --linearizable)" = "$3" ]; }

redundancy() {
    "$dunlin" --socket "${sockets[$1]}" --json nodes 2>/dev/null | tr -d ' \n' |
        grep -oE '"redundancy":\{[^}]*' | grep -oE "\"$2\":[^,}]*" | cut -d: -f2-
}

# Why not moving either: a leader that hands over has not the voters yet that it is to have.
is_whole() {
    [ "$(redundancy "$1" below)$(redundancy "$1" changing)$(pending "$1")$(of "$1" moving)$(lost "$1")" = 00000 ] &&
        { [ -z "${2:-}" ] || [ "$(node_count "$1")" = "$2" ]; }
}
node_count() { "$dunlin" --socket "${sockets[$1]}" --json nodes 2>/dev/null | grep -c '"standing"'; }

# leads n [AT]
leads() { node "${2:-$1}" "$1" leads; }

leads_all() { [ "$(leads "$1" "${2:-$1}")" = "$(of "${2:-$1}" shards)" ]; }

# ---- agents ----------------------------------------------------------------------------------------

# Why a move near the end: with it the fleet counts failed writes, and leadership still moves then.
fleet_start() {
    local seconds=$1 last=$2 n order=() options=()
    shift 2
    for n in ${flown:-$(seq 1 "$nodes")}; do
        [ "$n" -eq "$last" ] || order+=("$n")
    done
    for n in "${order[@]}" "$last"; do
        options+=(--socket "${sockets[n]}" --daemon-pid "${pids[n]}")
    done
    fleet_seconds=$seconds
    : >"$scratch/fleet.err" # of one before, which is looked into below
    "$bench" fleet "${options[@]}" --seconds "$seconds" --agents 6 --kill 0 --seed 7 --json \
        --generate crowd --chaos "move:$((seconds - 1))s" --dunlin "$dunlin" "$@" \
        >"$scratch/fleet.json" 2>"$scratch/fleet.err" </dev/null &
    fleet_pid=$!
    children+=("$fleet_pid")
    await "$patience" "the fleet flies" fleet_flies
}

fleet_flies() { has_ended "$fleet_pid" || grep -qs '^ *[0-9.]* .*x ' "$scratch/fleet.err"; }

# fleet NAME: a row of its report.
fleet() {
    awk -v name="\"name\": \"$1\"" 'index($0, name) { found = 1 }
        found && /"median"/ { sub(/.*: /, ""); sub(/,$/, ""); print; exit }' "$scratch/fleet.json"
}

fleet_end() {
    local status violations failed note
    await $((fleet_seconds + 60)) "the fleet ends" has_ended "$fleet_pid" || kill -KILL "$fleet_pid"
    wait "$fleet_pid"
    status=$?
    violations=$(fleet violations)
    failed=$(fleet "failed writes")
    echo "   fleet: violations ${violations:-unknown}, failed writes ${failed:-unknown}, longest claim" \
        "$(fleet "longest claim") ms, $(fleet updates) updates/s"
    [ $status -eq 0 ] && return
    [ "${1:-}" = cut-short ] && [ "$violations" = 0.0 ] && return
    note=$(grep -A 9 '"exercised"' "$scratch/fleet.json" | sed -n 's/.*"note": "\(.*\)".*/\1/p')
    [ "${1:-}" = may-fail ] && [ "$violations" = 0.0 ] && [[ $note =~ ^[0-9]+\ writes\ failed$ ]] && return
    fault "the fleet ended by $status: $note"
    grep -v '^ *[0-9.]* .*x \|updates/s' "$scratch/fleet.err" | head -n 20
}

agent_start() {
    local name=$1
    shift
    : >"$scratch/agent-$name" # of one before, which is looked into below
    "$cluster_agent" "$@" >"$scratch/agent-$name" 2>"$scratch/agent-$name.err" </dev/null &
    agent_pids[$name]=$!
    children+=("$!")
    await "$patience" "agent $name writes and reads" agent_works "$name"
}

agent_works() { has_ended "${agent_pids[$1]}" || grep -qs 'end=1$' "$scratch/agent-$1"; }

# Why the last whole line: another may be on its way.
agent() {
    grep 'end=1$' "$scratch/agent-$1" | tail -n 1 | tr ' ' '\n' | sed -n "s/^$2=//p"
}

# agent_grows NAME FIELD FROM [BY]: it counted on.
agent_grows() { [ "$(agent "$1" "$2")" -ge $(($3 + ${4:-1})) ]; }

# agent_goes_on NAME FIELD [SECONDS]: from now on.
agent_goes_on() {
    await "${3:-$patience}" "agent $1 goes on: $2" agent_grows "$1" "$2" "$(agent "$1" "$2")" 20
}

agent_end() {
    local pid=${agent_pids[$1]} status
    kill -TERM "$pid" 2>/dev/null
    await "$patience" "agent $1 ends" has_ended "$pid" || kill -KILL "$pid"
    wait "$pid"
    status=$?
    [ $status -eq 0 ] && return
    fault "agent $1 ended by $status"
    head -n 12 "$scratch/agent-$1.err"
}
