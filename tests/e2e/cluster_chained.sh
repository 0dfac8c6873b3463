#!/usr/bin/env bash
# Nodes whose frames are authentic only, over ports that send chained mbufs: what is long enough leaves from the
# log's own memory, wherever that comes from: there at the start, more of it since, or a space that was made since.
#
#   cluster_chained.sh BUILD [chained]
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

# In one frame of 9,000 bytes, of which more than 4 KiB are the log's: so much is worth a chain.
value=$(printf '%08000d' 7)

puts() { printf '%s' "$value$4" | at "$1" put "$2" "$3" - >/dev/null; }
reads() { [ "$(at "$1" get "$2" "$3" --linearizable)" = "$value$4" ]; }
# Of each of its two lcores.
is_proven() { [ "$(status "$1" chain_state)" = 2 ]; }
# chains_all n BEFORE WRITES: one frame for each at the least, as each was acknowledged by another node. Why twice: by
# lcore, and of them all.
chains_all() { [ "$(status "$1" frames_chained)" -ge $(($2 + 2 * $3)) ]; }
lists() { at "$1" spaces | grep -q "^$2 "; }
lists_not() { ! lists "$1" "$2"; }

# write COUNT SPACE KEY: values under that many keys, at the leader, until what it counted of them can be seen.
write() {
    local i
    for ((i = 0; i < $1; i++)); do
        puts 1 "$2" "$3$i" "$i" || { fault "$2 $3$i is not written"; return 1; }
    done
    published 1
}

# led WHAT...: it is written while node 1 leads all; what it counted until then in $before and $copied.
# Why again: a leader that was late lost a shard; what is forwarded to the next one leaves from memory of no log.
led() {
    local round forwarded
    for round in 1 2 3; do
        cluster_lead 1
        published 1
        before=$(status 1 frames_chained)
        copied=$(status 1 chain_unmapped)
        forwarded=$(status 1 forwarded)
        write "$@"
        [ "$(status 1 forwarded)" != "$forwarded" ] || return 0
        told "round $round: node 1 did not lead all of it"
    done
}

chained() {
    local n before copied arenas
    scene "frames chained to log memory"
    await "$patience" "the port of node 1 proves itself" is_proven 1
    told "proven after $took_ms ms"
    led 20 telemetry k
    check "what was there at the start is chained" chains_all 1 "$before" 20
    arenas=$(status 1 arena_bytes)
    led 600 telemetry more
    check "more memory came" [ "$(status 1 arena_bytes)" -gt "$arenas" ]
    check "and what came to it" chains_all 1 "$before" 600
    check "all memory of it is the port's" [ "$(status 1 chain_unmapped)" = "$copied" ]
    check "a space is made" quietly 1 space create late --quota 16MiB --shards 3
    await "$patience" "it is there" puts 1 late k x
    led 20 late k
    check "its memory is chained" chains_all 1 "$before" 20
    check "it is dropped" quietly 1 space drop late --yes
    await "$patience" "node 1 has it no more" lists_not 1 late
    write 20 telemetry k
    for n in 1 2 3; do
        check "node $n reads it" reads "$n" telemetry k7 7
        check "node $n refused no frame" [ "$(status "$n" frames_wrong_tag)" = 0 ]
        check "node $n knew no shortage" [ "$(grep -c port_memory_short "${logs[n]}")" = 0 ]
    done
    told "$(status 1 frames_chained) frames chained"
    for n in 2 3 1; do
        cluster_stop "$n"
    done
}

# shellcheck disable=SC2034 # of cluster.sh
encrypt=false mtu=9000B frame=8952B eal="--no-huge -m 192 --no-pci"
cluster_make 3
for node in 1 2 3; do
    net_second "$node" || verdict
    net_in 0 ip link set "second$node" mtu "${mtu%B}"
    net_in "$node" ip link set eth1 mtu "${mtu%B}"
    # shellcheck disable=SC2034 # of cluster.sh
    transports[node]='net_af_packet0,iface=eth1,blocksz=40960,framesz=10240,framecnt=512'
done
cluster_begin
scenes chained
verdict
