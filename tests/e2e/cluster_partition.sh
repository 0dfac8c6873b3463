#!/usr/bin/env bash
# Partitions of the network and of its two planes, a leader that stands still, and a full disk under the control log:
# who is with most of the others goes on, who is not refuses at once, and nobody flaps.
#
#   cluster_partition.sh BUILD [both_ways|leader_deaf|leader_mute|partial|control_cut|data_cut|stopped|disk_full]...
#
# Why a mount namespace of its own: the small disk of one scene goes with it, whatever ends the script.
# shellcheck disable=SC2317 # scenes are called by name
[ "$(id -u)" -ne 0 ] || [ -n "${DUNLIN_PARTITION_MOUNTS:-}" ] ||
    exec unshare --mount env DUNLIN_PARTITION_MOUNTS=yes bash "$0" "$@"
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

timeout_ms=20000

# ask n COMMAND...: its exit code in $code, and how long it took in $asked_ms.
ask() {
    local n=$1 begun
    shift
    begun=$(now_ms)
    "$dunlin" --socket "${sockets[n]}" --timeout "$timeout_ms" "$@" >"$scratch/said" 2>&1
    code=$?
    asked_ms=$(($(now_ms) - begun))
}

# Not by its time-out, which is long.
is_refused() {
    ask "$1" put telemetry "cut-$1" now
    [ "$code" -eq 3 ] && [ "$asked_ms" -lt $((timeout_ms / 2)) ]
}

refuses_all() {
    local tries=5
    while [ $((tries -= 1)) -ge 0 ]; do
        is_refused "$1" || { echo "   node $1 answered a put by $code after $asked_ms ms"; return 1; }
    done
}

reads_locally() {
    ask "$1" --json get telemetry here --local
    [ "$code" -eq 0 ] && grep -qE '"age_ms": ?[0-9]+' "$scratch/said"
}

writes() {
    ask "$1" put telemetry here now
    [ "$code" -eq 0 ]
}

leads_none() { [ "$(leads "$1" "$2")" = 0 ]; }

# epochs n: all of them, as node n knows.
epochs() { "$dunlin" --socket "${sockets[$1]}" --json shards | grep -oE '"epoch": ?[0-9]+' | sort | md5sum; }

# All reach each other, and node n leads everything.
from_here() {
    local m
    net_heal # all
    for m in 1 2 3; do
        await 30 "node $m hears all others" is_connected "$m"
    done
    await 30 "node $1 leads" moved_to "$1"
    check "a put at node $1" writes "$1"
}

is_connected() { [ "$(of "$1" connected)" = 2 ] && [ "$(of "$1" pending)" = 0 ]; }
# Why twice: what was decided of it before it was heard again may still be on its way.
moved_to() {
    cluster_move "$1" 2>/dev/null
    leads_all "$1" && sleep 0.5 && leads_all "$1"
}

# minority_leader WHAT CUT...: node 3 leads, then the commands take it from the others.
minority_leader() {
    scene "$1"
    shift
    from_here 3
    agent_start single --writer "${sockets[1]}" --reader "${sockets[2]}" --reader "${sockets[3]}"
    agent_goes_on single w.done
    "$@"
    await 20 "others lead what node 3 led" leads_none 3 1
    told "others lead after $took_ms ms"
    agent_goes_on single w.done
    agent_goes_on single r0.done
}

both_ways() {
    minority_leader "the leader is cut off from both others" net_cut_node 3
    told "longest put $(agent single w.longest_ms) ms"
    await 10 "node 3 refuses a put" is_refused 3
    check "node 3 refuses every put at once" refuses_all 3
    told "it took $asked_ms ms"
    check "a local get at node 3 is answered, with its age" reads_locally 3
    agent_goes_on single w.done
    net_heal # all
    await 20 "a put at node 3 is done again" writes 3
    agent_goes_on single r1.done
    agent_end single
}

deaf() { net_cut 1 3 && net_cut 2 3; }
mute() { net_cut 3 1 && net_cut 3 2; }

one_way() {
    minority_leader "$@"
    told "longest put $(agent single w.longest_ms) ms"
    check "a local get at node 3 is answered" reads_locally 3
    net_heal # all
    await 20 "a put at node 3 is done again" writes 3
    agent_goes_on single r1.done
    agent_end single
}

leader_deaf() { one_way "the leader hears nothing" deaf; }
leader_mute() { one_way "the leader is not heard" mute; }

# Nodes 1 and 2 do not reach each other, node 3 reaches both.
partial() {
    local before after round
    scene "two nodes do not reach each other, the third reaches both"
    from_here 1
    agent_start single --writer "${sockets[1]}" --reader "${sockets[3]}"
    agent_goes_on single w.done
    # Why again: a leader that was late loses a shard, cut or not; what the cut does it does each time.
    for round in 1 2 3; do
        before=$(epochs 3)
        net_cut 1 2
        net_cut 2 1
        sleep 3
        agent_goes_on single w.done
        after=$(epochs 3)
        [ "$before" != "$after" ] || break
        told "round $round: a shard has another epoch"
        from_here 1
    done
    check "no shard has another epoch" [ "$before" = "$after" ]
    told "longest put $(agent single w.longest_ms) ms"
    check "no put failed" [ "$(agent single w.unknown)$(agent single w.refused)" = 00 ]
    net_heal # all
    agent_goes_on single r0.done
    agent_end single
}

# cut_plane tcp|udp: of node 3 alone.
cut_plane() {
    net_in 0 nft -f - <<END
table bridge planes {
    chain forward {
        type filter hook forward priority 10; policy accept;
        ip saddr $(net_address 3) ip protocol $1 drop
        ip daddr $(net_address 3) ip protocol $1 drop
    }
}
END
}

heal_plane() { net_in 0 nft delete table bridge planes; }

# shellcheck disable=SC2154
planes_can_be_cut() {
    [ "$net_cuts" = nft ] && return
    told "not here: no nft for bridges"
    return 1
}

control_cut() {
    planes_can_be_cut || return 0
    minority_leader "the control plane alone of the leader is cut" cut_plane tcp
    told "longest put $(agent single w.longest_ms) ms"
    await 20 "a put at node 3 is done by way of the data plane" writes 3
    heal_plane
    await 30 "node 3 hears all others" is_connected 3
    agent_goes_on single r1.done
    agent_end single
}

data_cut() {
    planes_can_be_cut || return 0
    minority_leader "the data plane alone of the leader is cut" cut_plane udp
    told "longest put $(agent single w.longest_ms) ms"
    check "a local get at node 3 is answered" reads_locally 3
    heal_plane
    await 20 "a put at node 3 is done again" writes 3
    agent_goes_on single r1.done
    agent_end single
}

freeze() { kill -STOP "${pids[3]}"; }

stopped() {
    minority_leader "SIGSTOP of the leader beyond its lease, then SIGCONT" freeze
    told "longest put $(agent single w.longest_ms) ms"
    kill -CONT "${pids[3]}"
    await 20 "a put at node 3 is done again" writes 3
    agent_goes_on single r1.done
    check "it still runs" kill -0 "${pids[3]}"
    agent_end single
}

said_by() { grep -aq "event=$2" "${logs[$1]}"; }

disk_full() {
    local pid=${pids[3]}
    scene "the disk under the control log of node 3 is full"
    from_here 1
    agent_start single --writer "${sockets[1]}" --reader "${sockets[2]}" --reader "${sockets[3]}"
    head -c 100000000 /dev/zero >"$scratch/control3/filler" 2>/dev/null
    await 120 "node 3 says that it is full" moves_until_full
    for n in 2 1 2; do
        await 20 "leadership moves to node $n without node 3's vote" moved_to $n
    done
    agent_goes_on single w.done
    rm "$scratch/control3/filler"
    await 30 "node 3 says that there is room" said_by 3 control_disk_back
    await 30 "node 3 follows again" is_connected 3
    await 20 "node 3 leads, as it knows by itself" moved_to 3
    check "it is the same process" [ "$pid" = "${pids[3]}" ]
    check "which still runs" kill -0 "$pid"
    agent_goes_on single r1.done
    agent_end single
}

# What is decided meanwhile is what it has no room for.  Why one shard at a time, many at once: each decision is a
# write of its own, and it takes thousands to use up what the log has reserved.
moves_until_full() {
    local shard movers=()
    for shard in 0 1 2 3 4 5 6 7; do
        "$dunlin" --socket "${sockets[1]}" move $((1 + RANDOM % 2)) telemetry "$shard" --no-wait >/dev/null 2>&1 &
        movers+=($!)
        "$dunlin" --socket "${sockets[2]}" move $((1 + RANDOM % 2)) sectors "$shard" --no-wait >/dev/null 2>&1 &
        movers+=($!)
    done
    wait "${movers[@]}"
    said_by 3 control_disk_full
}

quota_telemetry=8MiB
quota_sectors=8MiB
cluster_make 3
mkdir -m 0700 "$scratch/control3" && mount -t tmpfs -o size=8m,mode=0700 dunlin-small "$scratch/control3" ||
    { echo "skipped: no small disk can be mounted here"; exit 77; }
# Why the network first: it ends the processes that use the disk.
trap 'net_down; umount -l "$scratch/control3"; clean_up' EXIT
cluster_begin
check "a first put" writes 1
scenes both_ways leader_deaf leader_mute partial control_cut data_cut stopped disk_full
verdict
