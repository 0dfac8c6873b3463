#!/usr/bin/env bash
# A recorded fleet and a crowd, replayed into nodes on this machine by processes that get killed.
#
#   bench/demo.sh [--seconds N] [--data FILE.csv[.gz]]... [--nodes N] [--plant BUG] [OPTION]...
#
# Installs what is missing, builds, starts the nodes, runs the fleet, prints what happened, stops
# everything it started. Exit 0: no violation, and the run was exercised (enough claims met a conflict,
# every process wrote, every kill happened). Exit 1: otherwise. Exit 2: bad usage. Exit 77: this machine has no
# networks of their own for nodes.
#
#   --seconds N       how long the fleet flies (20, and 15 beyond the last second that --chaos names); the data
#                     repeats with new agents until then
#   --data FILE       recording to replay: time_s,lat_deg,lon_deg, an agent column, further columns; may
#                     be given several times. A crowd is mixed in, so that there is something to quarrel
#                     about. Default: the recordings beside this project, else made-up ones
#   --no-crowd        replay the files alone
#   --agent-column NAME, --sort    as of dunlin-bench fleet
#   --speed X|max     replay X times faster than recorded; default: as fast as commands stay quick
#   --agents P        agent processes (20)
#   --kill N          of them are killed with -9 at random moments, and replaced (5)
#   --watchers N      watches at all nodes, of a part of the keys or of all (0): each must be given every
#                     write once and in its order, and whatever it is not given it must be told of
#   --seed N          of the kills and of made-up data (printed)
#   --nodes N         nodes, 1 to 7 (3), each a process; agents attach to all of them in turn, all are
#                     read in place, and must be equal at the end
#   --transport T[,T]...
#                     between them: udp, the kernel's sockets (default), or dpdk: each drives a port by itself, one
#                     end of a virtual cable, in a network namespace of its own, which needs root. One for all
#                     nodes, or one for each; a node that is added has that of the last. Or rdma, for all: over
#                     this machine's RDMA device, whose IPv4 address all nodes share; tags alone (encrypt: false),
#                     so that leaders write their logs into the memory of the others
#   --chaos SPEC      freeze:A-Bs stops the last node's process from second A to B of the run; move:Ns moves
#                     all leaderships to the next node every N seconds.  Agents then stay away from the last
#                     node, and no write may fail.  kill-leader:Ns kills (SIGKILL) the leader of most shards
#                     every N seconds, when redundancy is full; it is started again a second later.
#                     partition:Ns cuts the next node off from the others for a second every N seconds: nodes
#                     then are in network namespaces of their own, which needs root.  add-node:Ns adds one
#                     more node at second N, remove-node:Ns removes the last of the others; no write may
#                     fail.  Several with commas
#   --in-process      all nodes in one process (dunlind dev); agents write at the first
#   --moves MS        with --in-process: so often the leadership of everything moves from the first
#                     to another and back (4000; 0: never), now handed over, now not, now while one of
#                     them is cut off for a moment
#   --plant BUG       run a build with a known bug, which the checks must find; list: says which
#   --json            the report as JSON on stdout, the rest on stderr
set -u
export LC_ALL=C

nodes=3
nodes_max=7
plants=(compare-ignored ack-before-append reuse-before-grace)
plants_cluster=(commit-without-majority skip-seal holder-not-waited-for)

origin=$PWD
cd "$(dirname "$0")/.." || exit 1

usage() {
    echo "demo.sh: $1 (--help)" >&2
    exit 2
}

seconds=
kills=5
agents=20
plant=
moves=
chaos=
transports=(udp)
in_process=
json=
crowd=yes
data=()
pass=()
while [ $# -gt 0 ]; do
    case "$1" in
    --help)
        sed -n '2,/^set/{s/^# \{0,1\}//;/^set/!p}' "$0"
        exit 0
        ;;
    --no-crowd) crowd= ;;
    --sort) pass+=(--sort) ;;
    --json) json=yes pass+=(--json) ;;
    --in-process) in_process=yes ;;
    --transport | --chaos | --seconds | --data | --agent-column | --speed | --agents | --kill | --watchers | --seed | --nodes | --moves | --plant)
        [ $# -ge 2 ] || usage "$1 needs a value"
        case "$1" in
        --seconds) seconds=$2 ;;
        --data)
            # Why: relative to where it was typed, not to the project.
            case "$2" in
            /*) data+=(--data "$2") ;;
            *) data+=(--data "$origin/$2") ;;
            esac
            ;;
        --transport)
            [[ $2 =~ ^(rdma|(udp|dpdk)(,(udp|dpdk))*)$ ]] ||
                usage "--transport takes rdma, udp or dpdk, or one of the last two for each node and commas between, not '$2'"
            IFS=, read -ra transports <<<"$2"
            ;;
        --chaos)
            [[ $2 =~ ^((freeze:[0-9]+-[0-9]+s|(move|kill-leader|partition|add-node|remove-node):[0-9]+s)(,|$))+$ ]] ||
                usage "--chaos takes freeze:A-Bs, and move, kill-leader, partition, add-node and remove-node with :Ns, and commas between, not '$2'"
            chaos=$2
            ;;
        --agents) agents=$2 ;;
        --kill) kills=$2 ;;
        --plant) plant=$2 ;;
        --moves)
            [[ $2 =~ ^(0|[1-9][0-9]{1,6})$ ]] || usage "--moves takes 0 or 20 to 3600000, not '$2'"
            moves=$2
            ;;
        --nodes)
            case "$2" in
            [1-9]) [ "$2" -le $nodes_max ] || usage "--nodes takes 1 to $nodes_max, not '$2'" ;;
            *) usage "--nodes takes 1 to $nodes_max, not '$2'" ;;
            esac
            nodes=$2
            ;;
        *) pass+=("$1" "$2") ;;
        esac
        shift
        ;;
    *) usage "unknown argument '$1'" ;;
    esac
    shift
done
case " ${plants[*]} ${plants_cluster[*]} " in
*" $plant "*) ;;
*)
    if [ "$plant" = list ]; then
        printf '%s\n' "${plants[@]}"
        printf '%s (all nodes in one process)\n' "${plants_cluster[@]}"
        exit 0
    fi
    [ -z "$plant" ] || usage "--plant: no bug '$plant'; there are ${plants[*]} ${plants_cluster[*]}"
    ;;
esac
case " ${plants_cluster[*]} " in
*" $plant "*)
    [ -z "$plant" ] || [ "$nodes" -ge 3 ] || usage "--plant $plant needs --nodes 3"
    # Why in one process and so often: these bugs show when leaders change, with and without hand-over, and
    # while they are cut off.
    [ -z "$plant" ] || in_process=yes moves=${moves:-600}
    ;;
esac
[ -n "$in_process" ] || [ "${moves:-0}" = 0 ] || usage "--moves needs --in-process; else --chaos move:Ns"
[ "$nodes" -gt 1 ] || [ "${moves:-0}" = 0 ] || usage "--moves needs --nodes 2 or more"
[ -z "$in_process" ] || [ "$nodes" -eq 1 ] || moves=${moves:-4000}
moves=${moves:-0}
[ -z "$chaos" ] || { [ -z "$in_process" ] && [ "$nodes" -gt 1 ]; } ||
    usage "--chaos needs nodes that are processes of their own"
[[ ! $chaos =~ kill-leader|partition|remove-node ]] || [ "$nodes" -ge 3 ] ||
    usage "--chaos $chaos needs --nodes 3 or more: those that are left are to be most of them"
[[ $chaos != *add-node* ]] || [ "$nodes" -lt $nodes_max ] ||
    usage "--chaos $chaos needs --nodes $((nodes_max - 1)) or less: one more comes"
[ ${#transports[@]} -eq 1 ] || [ ${#transports[@]} -eq "$nodes" ] ||
    usage "--transport of ${#transports[@]} nodes with --nodes $nodes: one for all, or one for each"
dpdk=
[[ " ${transports[*]} " != *" dpdk "* ]] || dpdk=yes
[ -z "$dpdk" ] || { [ -z "$in_process" ] && [ "$nodes" -gt 1 ]; } ||
    usage "--transport dpdk needs nodes that are processes of their own"
# The IPv4 address of the first RDMA device that has one: a GID of ::ffff:a.b.c.d.
rdma_address() {
    local gid kind hex
    for gid in /sys/class/infiniband/*/ports/*/gids/*; do
        kind=$(cat "${gid%/gids/*}/gid_attrs/types/${gid##*/}" 2>/dev/null)
        hex=$(cat "$gid" 2>/dev/null)
        [[ $kind = "RoCE v2" && $hex =~ ^(0000:){5}ffff:(..)(..):(..)(..)$ ]] || continue
        printf '%d.%d.%d.%d\n' "0x${BASH_REMATCH[2]}" "0x${BASH_REMATCH[3]}" "0x${BASH_REMATCH[4]}" \
            "0x${BASH_REMATCH[5]}"
        return
    done
}
rdma=
if [ "${transports[0]}" = rdma ]; then
    { [ -z "$in_process" ] && [ "$nodes" -gt 1 ]; } ||
        usage "--transport rdma needs nodes that are processes of their own"
    [[ $chaos != *partition* ]] ||
        usage "--chaos partition and --transport rdma exclude each other: one device is in one network"
    rdma=$(rdma_address)
    if [ -z "$rdma" ]; then
        echo "demo.sh: --transport rdma: no RDMA device here has an IPv4 address of RoCE v2; one in software:" \
            "modprobe -a rdma_rxe rdma_ucm && rdma link add rxe0 type rxe netdev LINK (dunlin doctor --transport rdma)" >&2
        exit 77
    fi
fi
namespaces=
[[ $chaos != *partition* ]] && [ -z "$dpdk" ] || namespaces=yes
[ -z "$namespaces" ] || [ "$(id -u)" -eq 0 ] ||
    usage "--chaos partition and --transport dpdk need root, for network namespaces of the nodes"
# Why a speed of its own: the fleet slows down while commands are slow, and here they are by intent.
[[ $chaos != *partition* ]] || pass=(--speed 300 "${pass[@]}")
# What comes once comes early enough to be judged.
until_second() {
    local event last=5
    for event in ${chaos//,/ }; do
        [[ $event =~ ^(freeze:[0-9]+-|add-node:|remove-node:)([0-9]+)s$ ]] || continue
        [ "${BASH_REMATCH[2]}" -le "$last" ] || last=${BASH_REMATCH[2]}
    done
    echo $((last + 15))
}
seconds=${seconds:-$(until_second)}
for i in "${!data[@]}"; do
    [ "${data[i]}" = --data ] || [ -r "${data[i]}" ] || usage "cannot read ${data[i]}"
done

sparse_file=../shared/data/aircraft_switzerland/aircraft.csv.gz
crowd_file=../shared/data/vehicles_athens/vehicles.csv
if [ ${#data[@]} -eq 0 ] && [ -r $sparse_file ] && [ -r $crowd_file ]; then
    data=(--data "$sparse_file" --data "$crowd_file")
elif [ ${#data[@]} -eq 0 ]; then
    data=(--generate "sparse,crowd")
elif [ -n "$crowd" ]; then
    data+=(--generate crowd)
fi

say() {
    if [ -n "$json" ]; then
        echo "$*" >&2
    else
        echo "$*"
    fi
}

dir=
daemons=()
fleet=
installer=
in_network=
# shellcheck source=tests/e2e/netns.sh
[ -z "$namespaces" ] || . tests/e2e/netns.sh

# shellcheck disable=SC2317 # called from traps
# end PID: SIGTERM to it and all of its group, ten seconds, SIGKILL; returns when they are gone.
end() {
    local tries=100
    [ -n "$1" ] || return 0
    kill -TERM -- "-$1" 2>/dev/null
    kill -CONT -- "-$1" 2>/dev/null
    while kill -0 -- "-$1" 2>/dev/null && [ "$tries" -gt 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
    kill -KILL -- "-$1" 2>/dev/null
    wait "$1" 2>/dev/null
}

# shellcheck disable=SC2317 # called from traps
clean_up() {
    trap '' INT TERM HUP
    trap - EXIT
    end "$installer"
    end "$fleet"
    # All at once, so that none hands its leaderships to one that is about to go.
    for pid in "${daemons[@]}"; do
        kill -TERM -- "-$pid" 2>/dev/null
    done
    for pid in "${daemons[@]}"; do
        end "$pid"
    done
    [ -z "$in_network" ] || net_down
    [ -z "$dir" ] || rm -rf "$dir"
}
trap clean_up EXIT
trap 'clean_up; exit 130' INT
trap 'clean_up; exit 143' TERM
trap 'clean_up; exit 129' HUP

# Every child is a session of its own, to be ended with all that it starts; and runs in the background
# and is waited for, so that a signal is answered at once.
run() {
    local status
    setsid -- "$@" </dev/null &
    installer=$!
    wait $installer
    status=$?
    installer=
    return $status
}

flavour=plain
[ -z "$plant" ] || flavour=plant
say "packages: looking for what is missing"
if [ -n "$json" ]; then
    run tests/install.sh build >&2 || exit 1
else
    run tests/install.sh build || exit 1
fi
say "building build/$flavour"
run tests/build.sh $flavour control/dunlind control/dunlin bench/dunlin-bench || exit 1

# Why little memory and all speed for that bug: it shows when memory is reused while somebody looks at it.
quota=32MiB
if [ "$plant" = reuse-before-grace ]; then
    quota=8MiB
    pass=(--speed max "${pass[@]}")
fi

dir=$(mktemp -d) || exit 1
# Why: a daemon that is killed leaves what DPDK keeps for it.
export RUNTIME_DIRECTORY=$dir
cat >"$dir/spaces.yaml" <<EOF
spaces:
  - name: telemetry
    id: 1
    shards: 8
    quota: $quota
  - name: sectors
    id: 2
    shards: 16
    quota: 64MiB
    partition_prefix: 6
EOF

# start_daemon I ARGUMENT...: a session of its own, in the network of node I + 1 if it has one; its pid is daemons[I].
start_daemon() {
    local i=$1 enter=()
    shift
    # shellcheck disable=SC2154
    [ -z "$in_network" ] || enter=(nsenter --net="/proc/${net_holders[i + 1]}/ns/net" --)
    DUNLIN_PLANT=$plant setsid -- "${enter[@]}" build/$flavour/control/dunlind "$@" \
        >>"$dir/dunlind$i.log" 2>&1 </dev/null &
    daemons[i]=$!
}

# was_removed I STATUS: its daemon has ended by itself, as that of the node which is removed does.
was_removed() { [[ $chaos == *remove-node* ]] && [ "$1" -eq $((nodes - 1)) ] && [ "$2" -eq 0 ]; }

# attend: until the fleet has ended; a daemon that was killed meanwhile is started again a second later, as whoever
# watches over services does; one that was added is started.
attend() {
    local i status
    while [[ $chaos =~ kill-leader|add-node|remove-node ]] && kill -0 "$fleet" 2>/dev/null; do
        if [ -e "$dir/added" ] && [ -z "${daemons[nodes]:-}" ]; then
            start_daemon "$nodes" --config "$dir/node$((nodes + 1)).yaml"
        fi
        for i in "${!daemons[@]}"; do
            kill -0 "${daemons[i]}" 2>/dev/null && continue
            wait "${daemons[i]}"
            status=$?
            if was_removed "$i" $status; then
                unset "daemons[i]"
                continue
            fi
            [ $status -eq 137 ] || return
            sleep 1
            start_daemon "$i" --config "$dir/node$((i + 1)).yaml"
        done
        sleep 0.05
    done
}

# await_ready: until all of them say so.  1: one of them ended, or it took too long.
await_ready() {
    local i tries=400
    for i in "${!daemons[@]}"; do
        until grep -qx ready "$dir/dunlind$i.log"; do
            kill -0 "${daemons[i]}" 2>/dev/null && [ $tries -gt 0 ] || return 1
            tries=$((tries - 1))
            sleep 0.05
        done
    done
}

# is_dpdk NODE
is_dpdk() {
    local last=$((${#transports[@]} - 1))
    [ "${transports[$1 - 1 < last ? $1 - 1 : last]}" = dpdk ]
}

# address NODE PORT: where it receives; control_address: of its control plane.
address() {
    if is_dpdk "$1"; then
        echo "$(net_second_address "$1"):$(($2 + $1))"
    elif [ -n "$rdma" ]; then
        echo "$rdma:$(($2 + $1))"
    else
        control_address "$1" "$2"
    fi
}
control_address() { echo "$([ -n "$in_network" ] && net_address "$1" || echo 127.0.0.1):$(($2 + $1))"; }

# configure NODE PORT [COUNT]: its configuration, in a cluster of so many.
configure() {
    local n count=${3:-$nodes}
    printf 'node: {name: demo-%s, id: %s}\nsocket: {path: %s, mode: 0600}\n' \
        "$1" "$1" "$dir/node$1.sock"
    if [ "$nodes" -gt 1 ]; then
        printf 'cluster:\n  name: demo\n  key_file: %s\n' "$dir/key"
        ! is_dpdk "$1" || printf '  transport: dpdk\n  dpdk: {port: "%s", eal: "%s"}\n' \
            net_af_packet0,iface=eth1 "--no-huge -m 128 --no-pci"
        [ -z "$rdma" ] || printf '  transport: rdma\n  encrypt: false\n'
        printf '  control:\n'
        printf '    directory: %s\n    certificate: %s\n    key: %s\n    authority: %s\n  nodes:\n' \
            "$dir/control$1" "$dir/ca/node-$1.crt" "$dir/ca/node-$1.key" "$dir/ca/authority.crt"
        for ((n = 1; n <= count; n++)); do
            printf '    - {id: %s, address: "%s", control: "%s"}\n' "$n" "$(address "$n" "$2")" \
                "$(control_address "$n" "$2")"
        done
    fi
    cat "$dir/spaces.yaml"
}

# start_cluster PORT: a process for each node.
start_cluster() {
    local n
    daemons=()
    port=$1
    rm -rf "$dir"/control* "$dir"/dunlind*.log
    for ((n = 1; n <= nodes; n++)); do
        configure "$n" "$1" >"$dir/node$n.yaml"
        start_daemon $((n - 1)) --config "$dir/node$n.yaml"
    done
    await_ready
}

# The ports may be somebody's: a few tries.
start_somewhere() {
    local try pid
    for try in 1 2 3 4; do
        start_cluster $((10000 + RANDOM % 20000)) && return
        [ "$try" -lt 4 ] && grep -qi 'address already in use' "$dir"/dunlind*.log || return 1
        for pid in "${daemons[@]}"; do
            end "$pid"
        done
    done
}

# The secrets that servers share, and who they are for each other.  Why the mask: a key that others may read
# is refused.
make_secrets() {
    local dunlin=build/$flavour/control/dunlin n
    (umask 077 && "$dunlin" key >"$dir/key") || return 1
    "$dunlin" authority create "$dir/ca" --cluster demo >/dev/null || return 1
    for ((n = 1; n <= nodes; n++)); do
        "$dunlin" authority issue "$dir/ca" --node "$n" >/dev/null || return 1
    done
}

# prepare_addition: what the node that is to come needs, and the program that adds it; attend starts it then.
prepare_addition() {
    local n=$((nodes + 1)) dunlin=$PWD/build/$flavour/control/dunlin
    configure $n "$port" $n >"$dir/node$n.yaml"
    cat >"$dir/add-node" <<EOF
#!/bin/sh
'$dunlin' authority issue '$dir/ca' --node $n >/dev/null &&
    '$dunlin' --socket '$dir/node1.sock' node add $n --address '$(address $n "$port")' \
        --control '$(control_address $n "$port")' && : >'$dir/added'
EOF
    chmod 700 "$dir/add-node"
    sockets+=(--socket "$dir/node$n.sock")
    pids+=(--add-node "$dir/add-node")
}

sockets=()
pids=()
for ((i = 1; i <= nodes; i++)); do
    sockets+=(--socket "$dir/node$i.sock")
done
if [ -n "$in_process" ] && [ "$nodes" -gt 1 ]; then
    start=(dev --nodes "$nodes" --dir "$dir" --spaces "$dir/spaces.yaml")
    [ "$moves" = 0 ] || start+=(--moves "$moves")
    start_daemon 0 "${start[@]}"
    await_ready
else
    [ "$nodes" -eq 1 ] || make_secrets || exit 1
    if [ -n "$namespaces" ]; then
        networked=$nodes
        [[ $chaos != *add-node* ]] || networked=$((nodes + 1))
        net_up "$networked" || exit
        # Why again: it has set traps of its own.
        trap clean_up EXIT
        in_network=yes
        [[ $chaos != *partition* ]] || pids+=(--switch-pid "${net_holders[0]}")
        # Why for all: who sends by a socket to a port of DPDK is to write whole checksums.
        for ((i = 1; i <= networked; i++)); do
            [ -z "$dpdk" ] || net_second "$i" || exit 1
        done
    fi
    start_somewhere
fi || {
    echo "demo.sh: dunlind does not start; it said:" >&2
    cat "$dir"/dunlind*.log >&2
    exit 1
}
for pid in "${daemons[@]}"; do
    pids+=(--daemon-pid "$pid")
done
[[ $chaos != *add-node* ]] || prepare_addition || exit 1
few=
[ "$nodes" -eq 1 ] || few="$nodes nodes${in_process:+ in one process}${dpdk:+ over ${transports[*]}}${rdma:+ over rdma}, "
[ "$moves" = 0 ] || few="${few}leaders move every $moves ms, "
say "dunlind runs (${few}pid ${daemons[*]}${plant:+, planted bug: $plant}); $agents agent processes, $kills of them will be killed"
[ -z "$chaos" ] || pids+=(--chaos "$chaos" --dunlin "$PWD/build/$flavour/control/dunlin")

setsid -- build/$flavour/bench/dunlin-bench fleet "${sockets[@]}" "${pids[@]}" \
    --seconds "$seconds" --agents "$agents" --kill "$kills" "${data[@]}" "${pass[@]}" </dev/null &
fleet=$!
# Why quiet: the shell would tell of each that was killed.
attend 2>/dev/null
wait $fleet
status=$?
fleet=

for i in "${!daemons[@]}"; do
    kill -0 "${daemons[i]}" 2>/dev/null && continue
    wait "${daemons[i]}" 2>/dev/null
    was_removed "$i" $? && continue
    echo "demo.sh: dunlind died; its last words:" >&2
    tail -n 20 "$dir/dunlind$i.log" >&2
    status=1
done
exit $status
