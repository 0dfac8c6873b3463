# shellcheck shell=bash disable=SC2034,SC2154 # those of tests/e2e
# guests - two guests at a time, a and b, on two cables, with a disk each, told from this machine what to do; and a
# cluster over them. To be sourced, behind cluster.sh, by a test that runs here, and in both guests (DUNLIN_GUEST), where
# it only does what it is told. The interfaces: data, with an RDMA device, rxe0, and frames of 4200 bytes; control.
#
#   guests_serve                  in a guest: do so, until it is told to end; the functions that a test has by then may be
#                                 told, too
#   guests_begin                  both are there
#   guest_kill G, guest_start G   its machine is gone at once; and is there again, with its disk as it was
#   in_ G LINE...                 a line for its shell: output and status; 125 when the guest is gone, or silent
#   cluster_over G1 G2 G3         of three nodes in those guests, which serve; cluster.sh's functions know where they are
#   node_begin n, node_await n    start node n; until it serves
#   node_signal n SIGNAL          to its process
#   agent_begin G NAME OPTION...  a cluster_agent there; agent and agent_goes_on know it
#   agent_over NAME               ends it; judges it
#   counted n NAME                what its one lcore counts, which status tells first
#   keys_of n                     a hash of all that node n has in telemetry
#   guests_equal                  nodes 2 and 3 end with what node 1 has
#   guests_verdict                ends the test
#
# Node n has 10.99.0.n on data and 10.98.0.n on control. More settings, before cluster_over: ack_timeout (of RDMA), and
# shards (of each space). DUNLIN_PLANT is passed on to nodes.
declare -A guest_pid guest_in guest_out where agent_where
guest_mark=@dunlin-guest-said@
guest_seconds=900 # for all of a guest's life
guest_patience=90 # for one line
ack_timeout=
shards=
real_dunlin=$dunlin

# ---- in a guest ----------------------------------------------------------------------------------------------------

# guest_card MAC NAME: the interface of that address gets that name, and is up.
guest_card() {
    local card
    card=$(ip -o link | awk -v mac="$1" 'index($0, mac) { sub(/:$/, "", $2); print $2 }')
    ip link set "$card" name "$2" && ip link set "$2" addrgenmode none up
}

# Why a disk: the nodes' files outlive the guest.
guest_set_up() {
    local letter=$1
    modprobe -a virtio_net virtio_blk ext4 rdma_rxe rdma_ucm ib_uverbs sch_netem sch_prio cls_u32 nf_tables &&
        guest_card "52:54:00:00:01:0$letter" data && guest_card "52:54:00:00:02:0$letter" control &&
        ip link set data mtu 4200 && mkdir /disk || return 1
    mount -t ext4 /dev/vda /disk 2>/dev/null || { mkfs.ext4 -q /dev/vda && mount -t ext4 /dev/vda /disk; }
}

# keys_hash n: of all that the node has in telemetry, if it answers. Why here: it is long.
keys_hash() { "$dunlin" --socket "/run/node$1.sock" scan telemetry >/tmp/keys && sha256sum </tmp/keys; }

guests_serve() {
    local port number=0 line status
    for port in /sys/class/virtio-ports/vport*; do
        [ "$(cat "$port/name")" = shell ] && exec 5<>"/dev/${port##*/}"
    done
    guest_set_up "${arguments[0]}" >/tmp/said 2>&1
    status=$?
    while true; do
        {
            [ ! -s /tmp/said ] || printf '%s\n' "$(cat /tmp/said)"
            echo "$guest_mark $number $status"
        } >&5
        IFS=' ' read -r -u 5 number line && [ "$line" != end ] || exit 0
        eval "$line" >/tmp/said 2>&1 </dev/null 5>&-
        status=$?
    done
}

# ---- guests, from here ---------------------------------------------------------------------------------------------

guest_is_gone() { has_ended "${guest_pid[$1]}"; }

# guest_hear G NUMBER: what it says until it has done what it was told by the line of that number; its status. Lines of
# before may have taken longer than anybody waited for.
guest_hear() {
    local said='' part='' line limit_ms=$(($(now_ms) + guest_patience * 1000))
    while [ "$(now_ms)" -lt $limit_ms ]; do
        if ! IFS= read -r -t 1 -u "${guest_out[$1]}" line; then
            part+=$line
            guest_is_gone "$1" && return 125
            continue
        fi
        line=$part$line
        part=
        if [[ $line != "$guest_mark "* ]]; then
            said+=$line$'\n'
        elif [[ $line == "$guest_mark $2 "* ]]; then
            printf '%s' "$said"
            return "${line##* }"
        else
            said=
        fi
    done
    return 125
}

in_() {
    local guest=$1 number=${EPOCHREALTIME/./}
    shift
    guest_is_gone "$guest" && return 125
    printf '%s\n' "$number $*" >&"${guest_in[$guest]}" && guest_hear "$guest" "$number"
}

# guest_words G OTHER NUMBER: of qemu.
guest_words() {
    local cable number=1
    printf '%s' "-drive file=$scratch/$1.img,format=raw,if=virtio"
    printf ' %s' "-chardev pipe,id=shell,path=$scratch/$1.shell -device virtserialport,chardev=shell,name=shell"
    for cable in data control; do
        printf ' %s' "-netdev dgram,id=$cable,local.type=unix,local.path=$scratch/$1.$cable"
        printf ',%s' "remote.type=unix,remote.path=$scratch/$2.$cable"
        printf ' %s' "-device virtio-net-pci,netdev=$cable,mac=52:54:00:00:0$number:0$1,host_mtu=4200"
        number=$((number + 1))
    done
}

guest_start() {
    local other=b fd
    [ "$1" = a ] || other=a
    rm -f "$scratch/$1.shell.in" "$scratch/$1.shell.out"
    mkfifo "$scratch/$1.shell.in" "$scratch/$1.shell.out" || exit 2
    # Why for both: neither waits for the other end to be opened, nor ends with it.
    exec {fd}<>"$scratch/$1.shell.in"
    guest_in[$1]=$fd
    exec {fd}<>"$scratch/$1.shell.out"
    guest_out[$1]=$fd
    "$here/run-in-guest.sh" -m 1280 -t "$guest_seconds" -d "$(guest_words "$1" "$other")" \
        "$here/$(basename "$0")" "$build" "$1" >"$scratch/$1.out" 2>&1 </dev/null &
    guest_pid[$1]=$!
    children+=("$!")
}

guest_await() {
    guest_hear "$1" 0 && return
    echo "guest $1 is not there: $(tail -n 3 "$scratch/$1.out")"
    # Why: where no guest can be had, the test is skipped.
    guest_is_gone "$1" && wait "${guest_pid[$1]}"
    [ $? -ne 77 ] || exit 77
    exit 1
}

guests_begin() {
    local guest
    for guest in a b; do
        truncate -s 512M "$scratch/$guest.img"
        guest_start $guest
    done
    for guest in a b; do
        guest_await $guest
    done
}

# Why TERM: run-in-guest.sh then ends its machine, which does not hear of it, and leaves nothing behind.
guests_end() {
    local guest
    for guest in "${!guest_pid[@]}"; do
        kill -TERM "${guest_pid[$guest]}" 2>/dev/null && wait "${guest_pid[$guest]}" 2>/dev/null
    done
    clean_up
}
[ -n "${DUNLIN_GUEST:-}" ] || trap guests_end EXIT

guest_kill() {
    local fd
    kill -TERM "${guest_pid[$1]}"
    wait "${guest_pid[$1]}" 2>/dev/null
    for fd in "${guest_in[$1]}" "${guest_out[$1]}"; do
        exec {fd}>&-
    done
}

# ---- the cluster ---------------------------------------------------------------------------------------------------

net_up() { return 0; }
net_address() { echo "10.98.0.$1"; }
data_address() { echo "10.99.0.$1"; }

# `dunlin --socket PATH ...`, where that node is.
dunlin_there() {
    local n=${2//[^0-9]/}
    in_ "${where[$n]}" "$(printf '%q ' "$real_dunlin" "$@")"
}

counted() {
    dunlin_there --socket "${sockets[$1]}" --json status | grep -oE "\"$2\": ?[0-9]+" | head -n 1 | grep -oE '[0-9]+$'
}

# addresses_set G: those of its nodes, and the device; again after each start of the guest.
addresses_set() {
    local n
    for n in 1 2 3; do
        [ "${where[$n]}" != "$1" ] || check "addresses of node $n" in_ "$1" \
            "ip address add 10.99.0.$n/24 dev data && ip address add 10.98.0.$n/24 dev control"
    done
    check "the device of guest $1" in_ "$1" "rdma link add rxe0 type rxe netdev data"
}

cluster_over() {
    local n
    cluster_make 3
    for n in 1 2 3; do
        where[$n]=${!n}
        sockets[n]=/run/node$n.sock
        transports[n]=rdma
        cluster_configure "$n"
        sed -i "s|directory: .*|directory: /disk/control$n|
            ${ack_timeout:+s|^  transport: rdma|&\\n  rdma: {ack_timeout: $ack_timeout\}|}
            ${shards:+s|shards: .*|shards: $shards|}" "${configs[n]}"
    done
    guests_begin
    dunlin=dunlin_there
    addresses_set a
    addresses_set b
    for n in 1 2 3; do
        node_begin "$n"
    done
    for n in 1 2 3; do
        node_await "$n"
    done
    for n in 1 2 3; do
        await "$patience" "node $n finds all whole" is_whole "$n" || guests_verdict
    done
}

node_begin() {
    local n=$1
    in_ "${where[$n]}" "rm -f ${sockets[n]}; ${DUNLIN_PLANT:+DUNLIN_PLANT=$DUNLIN_PLANT} $dunlind --config ${configs[n]} >>/disk/node$n.log 2>&1 & echo \$! >/run/node$n.pid; disown"
}

node_await() { await "$patience" "node $1 serves" answers "$1" || guests_verdict; }

node_signal() { in_ "${where[$1]}" "kill -$2 \$(cat /run/node$1.pid)"; }

# ---- agents --------------------------------------------------------------------------------------------------------

agent_begin() {
    local guest=$1 name=$2
    shift 2
    agent_where[$name]=$guest
    in_ "$guest" "$(printf '%q ' "$cluster_agent" "$@") >/tmp/agent-$name 2>/tmp/agent-$name.err & echo \$! >/run/agent-$name.pid"
    await "$patience" "agent $name writes and reads" agent_counts "$name"
}

agent_line() { in_ "${agent_where[$1]}" "grep 'end=1\$' /tmp/agent-$1 | tail -n 1"; }
agent_counts() { [ -n "$(agent_line "$1")" ]; }
agent() { agent_line "$1" | tr ' ' '\n' | sed -n "s/^$2=//p"; }

agent_over() {
    in_ "${agent_where[$1]}" "kill \$(cat /run/agent-$1.pid); wait \$(cat /run/agent-$1.pid)" ||
        { fault "agent $1 ended by $?" && in_ "${agent_where[$1]}" "head -n 12 /tmp/agent-$1.err"; }
}

# ---- the end -------------------------------------------------------------------------------------------------------

keys_of() { in_ "${where[$1]}" keys_hash "$1"; }

has_equal() {
    local one other
    one=$(keys_of 1) && other=$(keys_of "$1") && [ "$one" = "$other" ]
}

guests_equal() {
    local n bytes
    bytes=$(committed 1)
    for n in 2 3; do
        caught_up "$n" "$bytes"
        await "$patience" "node $n ends with what node 1 has" has_equal "$n"
    done
}

guests_verdict() {
    local n guest
    for n in 1 2 3; do
        in_ "${where[$n]}" "cat /disk/node$n.log" >"${logs[n]}" 2>/dev/null
    done
    for guest in a b; do
        guest_is_gone $guest || echo 0 end >&"${guest_in[$guest]}"
    done
    verdict
}
