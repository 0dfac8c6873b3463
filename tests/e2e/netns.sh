# shellcheck shell=bash
# netns - a network of their own for real processes: nodes 1 to N, each in a network namespace, joined by
# a switch that can be cut. To be sourced by bash; needs root, iproute2, util-linux.
#
#   net_up N                nodes 1 to N, at most 200; all reach each other
#   net_address n           prints the address of node n: 10.77.X.n
#   net_second n            gives node n (1 to 54) a second interface, eth1, that its kernel leaves alone; what
#                           leaves eth0 has whole checksums then
#   net_second_address n    prints an address for what uses that: 10.77.X.(200 + n)
#   net_run n COMMAND...    runs it on node n; its status. SIGINT and SIGTERM to the script end the wait
#   net_start n COMMAND...  the same in the background, its input empty; its process id is in $net_pid
#   net_cut a b             what a sends to b no longer arrives, at the first interface; what b sends to a does
#   net_cut_node n          nothing from or to n arrives, at either of its interfaces
#   net_heal [a b | n]      takes back that cut; without arguments: all of them
#   net_rate n KBIT         both ways of node n's link carry so much, with 50 ms of buffer; 0: no limit
#   net_delay n MS          both ways of node n's link take so long; 0: no time
#   net_down                ends all processes on the nodes, and the network; also at the script's end
#
# Each returns 0, 1 with a word to stderr if it failed, 2 on bad usage, and 77 with the reason as last line of
# output when this machine cannot do it. No sender notices a cut: no error, no lost carrier, and neighbours are
# known without asking, so that after net_heal all is as it was at once.
#
# Why namespaces without names: each is held by a process that dies with the script (dunlin-net-PID-NODE
# in ps), even if it is killed. So nothing of a network can be left behind, two runs cannot
# meet, and on the machine itself there is no interface, rule, mount or setting to clean up. A grandchild
# of a script that was killed outright (SIGKILL) is the exception: it is not told.
#
# DUNLIN_NET_CUT=rule makes cuts by routing rules, as if there were no nft.

net_nodes=0
net_pid=
net_holders=() # process that holds the namespace: [0] switch, [n] node n
net_ids=()     # its name, net:[INODE]
net_shaped=()  # rate or delay, by node
net_seconds=() # yes: it has a second interface
net_cuts=
net_trapped=
net_x=$(($$ % 250 + 1))

net_fail() {
    echo "netns: $*" >&2
    return 1
}

net_skip() {
    echo "skipped: $*"
    return 77
}

# net_is_node n...: each is one, or 2.
net_is_node() {
    local n
    [ "$net_nodes" -gt 0 ] || { net_fail "no network: net_up first" || return 2; }
    for n in "$@"; do
        [[ $n =~ ^[1-9][0-9]{0,2}$ ]] && [ "$n" -le "$net_nodes" ] ||
            { net_fail "no node '$n': 1 to $net_nodes" || return 2; }
    done
}

# net_in n COMMAND...: short ones, in the foreground; 0 is the switch.
net_in() {
    local n=$1
    shift
    nsenter --net="/proc/${net_holders[$n]}/ns/net" -- "$@"
}

net_address() { echo "10.77.$net_x.$1"; }
net_mac() { printf '02:4e:45:54:%02x:%02x' "$net_x" "$1"; }

# ---- up and down -----------------------------------------------------------------------------------

# A new namespace, number n, held by a process. Why signals to all of the script's processes do not end that:
# net_down finds by it what else there is.
net_hold() {
    local n=$1 own id='' tries=1000
    own=$(readlink /proc/self/ns/net)
    # shellcheck disable=SC2016
    setpriv --pdeathsig KILL unshare --net bash -c 'trap "" INT TERM HUP; exec -a "$0" sleep infinity' \
        "dunlin-net-$$-$n" </dev/null >/dev/null 2>&1 &
    net_holders[n]=$!
    disown $! # or the shell would report its end
    while id=$(readlink "/proc/${net_holders[$n]}/ns/net") && [ "$id" = "$own" ]; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.01
    done
    [ -n "$id" ] && net_ids[n]=$id
}

# One node: its namespace, and a cable to the switch.
net_plug() {
    local n=$1
    net_hold "$n" &&
        net_in 0 ip link add "port$n" type veth peer name eth0 address "$(net_mac "$n")" \
            netns "${net_holders[$n]}" &&
        net_in 0 ip link set "port$n" addrgenmode none master switch up &&
        net_in "$n" ip link set lo up &&
        net_in "$n" ip link set eth0 addrgenmode none up &&
        net_in "$n" ip address add "$(net_address "$n")/24" dev eth0
}

net_second_address() { echo "10.77.$net_x.$((200 + $1))"; }

# Why without ARP: the kernel would answer there for what is at eth0.  Why one queue: AF_XDP serves those that it is
# told of, and what comes to others is not for it.  Why sums on eth0: between virtual cables it
# leaves them out, which only another kernel knows.
net_second() {
    net_is_node "${1:-}" || return
    [ "$1" -le 54 ] || { net_fail "net_second $1: 1 to 54" || return 2; }
    net_in 0 ip link add "second$1" numtxqueues 1 numrxqueues 1 type veth peer name eth1 \
        numtxqueues 1 numrxqueues 1 netns "${net_holders[$1]}" &&
        net_in 0 ip link set "second$1" addrgenmode none master switch up &&
        net_in "$1" ip link set eth1 addrgenmode none arp off up &&
        net_in "$1" ethtool -K eth0 tx off >/dev/null &&
        net_seconds[$1]=yes
}

# Every node knows where every other is.
net_neighbours() {
    local n other
    for n in $(seq 1 "$net_nodes"); do
        for other in $(seq 1 "$net_nodes"); do
            [ "$n" -eq "$other" ] ||
                echo "neighbour replace $(net_address "$other") lladdr $(net_mac "$other") dev eth0 nud permanent"
        done | net_in "$n" ip -batch - || return 1
    done
}

# How to cut: in the switch where nft is, which even counts what it drops; else at the receiver.
net_cuts_prepare() {
    net_cuts=rule
    [ "${DUNLIN_NET_CUT:-}" != rule ] && command -v nft >/dev/null || return 0
    net_in 0 nft -f - 2>/dev/null <<'END' && net_cuts=nft
table bridge dunlin {
    set cuts { type ipv4_addr . ipv4_addr; }
    chain forward {
        type filter hook forward priority 0; policy accept;
        ip saddr . ip daddr @cuts counter drop
    }
}
END
    return 0
}

net_exit() {
    local status=$?
    net_down
    return $status
}

# The script's own traps stay; net_down comes before them.
net_traps() {
    local entry words
    [ -z "$net_trapped" ] || return 0
    net_trapped=yes
    eval "words=($(trap -p EXIT))"
    # shellcheck disable=SC2064
    trap "net_exit; ${words[2]:-}" EXIT
    for entry in INT:130 TERM:143 HUP:129; do
        # shellcheck disable=SC2064
        [ -n "$(trap -p "${entry%:*}")" ] || trap "exit ${entry#*:}" "${entry%:*}"
    done
}

net_up() {
    local n tool
    [[ ${1:-} =~ ^[1-9][0-9]{0,2}$ ]] && [ "$1" -le 200 ] ||
        { net_fail "net_up '${1:-}': 1 to 200 nodes" || return 2; }
    [ "$net_nodes" -eq 0 ] || { net_fail "there is a network already: net_down first" || return 2; }
    [ "$(id -u)" -eq 0 ] || { net_skip "networks of its own need root" || return; }
    for tool in ip tc bridge nsenter unshare setpriv; do
        command -v $tool >/dev/null || { net_skip "no $tool here: tests/install.sh" || return; }
    done
    net_traps
    net_nodes=$1
    if ! net_hold 0; then
        net_down
        net_skip "this machine gives no network namespaces"
        return
    fi
    if ! net_in 0 ip link add switch type bridge stp_state 0 forward_delay 0 mcast_snooping 0; then
        net_down
        net_skip "this kernel has no bridge"
        return
    fi
    net_in 0 ip link set switch addrgenmode none up
    for n in $(seq 1 "$1"); do
        net_plug "$n" || break
    done
    if [ "${#net_ids[@]}" -le "$1" ] || ! net_neighbours; then
        net_down
        net_fail "node $n does not come up"
        return
    fi
    net_cuts_prepare
}

# net_is_held n: its holder is there, so that net_ids[n] is its namespace. Why that matters: when one has ended, the
# kernel gives its number to the next that is made, and that is another run's.
net_is_held() {
    [ -n "${net_ids[$1]:-}" ] && [ "$(readlink "/proc/${net_holders[$1]}/ns/net")" = "${net_ids[$1]}" ]
}

# Processes in the namespaces, one a line.
net_processes() {
    stat -L -c 'net:[%i] %n' /proc/[0-9]*/ns/net 2>/dev/null | awk -v ids=" ${net_ids[*]} " '
        index(ids, " " $1 " ") { split($2, path, "/"); print path[3] }'
}

# The same without those that hold them.
net_held_processes() { net_processes | grep -vxFf <(printf '%s\n' "${net_holders[@]}"); }

# Holders last: once they end, nothing is looked for by its number any more.
net_down() {
    local n pid pids tries=200
    for n in "${!net_holders[@]}"; do
        net_is_held "$n" && continue
        # Why by number: one that was on its way when a signal came is in no namespace of ours yet.
        [ -n "${net_ids[$n]:-}" ] || kill -KILL "${net_holders[$n]}" 2>/dev/null
        unset "net_ids[$n]"
    done
    while pids=$(net_held_processes) && [ -n "$pids" ]; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { net_fail "these processes do not end:" $pids || break; }
        # shellcheck disable=SC2086
        kill -KILL $pids 2>/dev/null
        for pid in $pids; do
            wait "$pid" 2>/dev/null
        done
        sleep 0.02
    done
    for n in "${!net_ids[@]}"; do
        kill -KILL "${net_holders[$n]}" 2>/dev/null
    done
    for n in "${!net_ids[@]}"; do
        for ((tries = tries > 0 ? 500 : 0; tries > 0; tries--)); do
            net_is_held "$n" || break
            sleep 0.01
        done
    done
    net_nodes=0
    net_holders=() net_ids=() net_shaped=() net_seconds=()
    [ $tries -gt 0 ]
}

# ---- processes -------------------------------------------------------------------------------------

net_start() {
    net_is_node "${1:-}" || return
    local n=$1
    shift
    setpriv --pdeathsig KILL nsenter --net="/proc/${net_holders[$n]}/ns/net" -- "$@" </dev/null &
    # shellcheck disable=SC2034
    net_pid=$!
}

# Why not in the foreground: a trap would be kept waiting.
net_run() {
    net_is_node "${1:-}" || return
    local n=$1
    shift
    setpriv --pdeathsig KILL nsenter --net="/proc/${net_holders[$n]}/ns/net" -- "$@" <&0 &
    wait $!
}

# ---- cuts ------------------------------------------------------------------------------------------

# net_rule add|delete a b: the routing rule that drops at b what comes from a.
net_rule() {
    local rules wanted
    wanted="from $(net_address "$2") iif eth0 blackhole"
    rules=$(net_in "$3" ip rule list) || { net_fail "this kernel has no routing rules" || return; }
    # Why: what is for the node itself is decided by the first rule, which has to come after ours.
    if grep -q '^0:' <<<"$rules"; then
        net_in "$3" ip rule add priority 200 lookup local && net_in "$3" ip rule delete priority 0 ||
            { net_fail "the rules of node $3 are not to be changed" || return; }
    fi
    case "$1$(grep -cF "$wanted" <<<"$rules")" in
    add0 | delete[1-9]*)
        # shellcheck disable=SC2086
        net_in "$3" ip rule "$1" $wanted priority 100 || net_fail "no rule on node $3: $wanted"
        ;;
    esac
}

net_cut() {
    net_is_node "${1:-}" "${2:-}" || return
    if [ "$net_cuts" = nft ]; then
        net_in 0 nft add element bridge dunlin cuts "{ $(net_address "$1") . $(net_address "$2") }"
    else
        net_rule add "$1" "$2"
    fi
}

# Why the port's state and not the link's: the node would see its carrier go.
net_port() {
    net_in 0 bridge link set dev "port$1" state "$2" &&
        { [ -z "${net_seconds[$1]:-}" ] || net_in 0 bridge link set dev "second$1" state "$2"; } ||
        net_fail "ports of node $1: not to be set to state $2"
}

net_cut_node() { net_is_node "${1:-}" && net_port "$1" 0; }

net_heal_pair() {
    local pair
    pair="{ $(net_address "$1") . $(net_address "$2") }"
    if [ "$net_cuts" = rule ]; then
        net_rule delete "$1" "$2"
    else # added before: to delete what is not there is an error
        net_in 0 nft "add element bridge dunlin cuts $pair; delete element bridge dunlin cuts $pair"
    fi
}

net_heal() {
    local n
    net_is_node "$@" || return
    case $# in
    2) net_heal_pair "$1" "$2" ;;
    1) net_port "$1" 3 ;;
    0)
        for n in $(seq 1 "$net_nodes"); do
            net_port "$n" 3 || return
            [ "$net_cuts" = nft ] || net_in "$n" ip rule flush priority 100 2>/dev/null
        done
        [ "$net_cuts" = rule ] || net_in 0 nft flush set bridge dunlin cuts
        ;;
    *) net_fail "net_heal [a b | n]" || return 2 ;;
    esac
}

# ---- slow links ------------------------------------------------------------------------------------

# net_shape n rate|delay VALUE QDISC...: on both ends of node n's cable; VALUE 0 takes it away.
net_shape() {
    local n=$1 kind=$2 value=$3 said
    shift 3
    net_is_node "$n" || return
    [[ $value =~ ^[0-9]{1,9}$ ]] || { net_fail "net_$kind $n '$value': expected a number" || return 2; }
    [ "${net_shaped[$n]:-$kind}" = "$kind" ] ||
        { net_fail "node $n has a ${net_shaped[$n]}: a link has one of both" || return 2; }
    if [ "$value" -eq 0 ]; then
        [ -z "${net_shaped[$n]:-}" ] || { net_in "$n" tc qdisc del dev eth0 root &&
            net_in 0 tc qdisc del dev "port$n" root; } || return 1
        unset "net_shaped[$n]"
        return 0
    fi
    if ! said=$(net_in "$n" tc qdisc replace dev eth0 root "$@" 2>&1); then
        [[ $said == *kind*unknown* || $said == *"qdisc not found"* ]] &&
            { net_skip "this kernel has no ${1}, so no net_$kind" || return; }
        net_fail "net_$kind $n $value: $said"
        return
    fi
    net_shaped[n]=$kind
    net_in 0 tc qdisc replace dev "port$n" root "$@"
}

# Why this burst: 10 ms of the rate, and two frames at least; less would not reach the rate.
net_rate() {
    local burst=3100
    [[ ${2:-} =~ ^[0-9]{1,9}$ ]] && [ "$2" -gt 2480 ] && burst=$(($2 * 125 / 100))
    net_shape "${1:-}" rate "${2:-}" tbf rate "${2:-}kbit" burst "$burst" latency 50ms
}

# Why this limit: the default one, of 1,000 frames, would drop what a fast sender has on its way.
net_delay() { net_shape "${1:-}" delay "${2:-}" netem delay "${2:-}ms" limit 10000; }
