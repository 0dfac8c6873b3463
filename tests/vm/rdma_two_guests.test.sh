#!/usr/bin/env bash
# rdma_two_guests.test.sh BUILD [SCENE]... - a cluster over RDMA between two machines, which are guests on a cable: nodes
# 1 and 3 in one, node 2 in the other. Its packets are lost, doubled and late; the cable is out; the machine of a
# follower, then that of the leader, is gone in the middle of long writes; at last that of the majority is.
# shellcheck disable=SC2317,SC2034 # scenes are called by name; settings of guests.sh
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/common.sh
. "$here/../e2e/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$here/../e2e/cluster.sh"
# shellcheck source=tests/vm/guests.sh
. "$here/guests.sh"
[ -z "${DUNLIN_GUEST:-}" ] || guests_serve
# Why so long: an emulated processor may be away for a while.
lease=500ms
leader_lease=2s
patience=120
pause=0.5
encrypt=false

all_of() { for n in 1 2 3; do counted "$n" "$1"; done | awk '{ sum += $1 } END { print sum + 0 }'; }

writes_go_on() {
    agent_goes_on long w.done
    agent_goes_on long r0.done
}

# All nodes end with the same.
equal() {
    agent_over long
    guests_equal
    told "$(committed 1) bytes; $(all_of log_writes) log writes, $(all_of ranges_taken) ranges found as announced," \
        "$(all_of ranges_refused) not; $(all_of connections_taken) connections, $(all_of connections_retired) ended"
}

begin() {
    agent_begin a long --writer "${sockets[1]}" --reader "${sockets[3]}" --bytes 60000 --timeout-ms 60000
    writes_go_on
}

leads_all_as_1_says() { leads_all "$1" 1; }

lead() {
    cluster_move "$1" 1
    await "$patience" "node $1 leads" leads_all_as_1_says "$1"
}

# netem WORD...: what leaves either machine by the cable.
netem() {
    for guest in a b; do
        check "netem $*" in_ "$guest" "tc qdisc replace dev data root netem $* limit 10000"
    done
}

# dropped: packets that b sent and that nobody got.
dropped() { in_ b "tc -s qdisc show dev data" | grep -oE 'dropped [0-9]+' | head -n 1 | grep -oE '[0-9]+'; }

shaken() {
    scene "packets are lost, late, doubled, and in another order"
    lead 2
    begin
    for words in "delay 2ms loss 1%" "delay 3ms reorder 25% 50%" "delay 1ms duplicate 10%"; do
        # shellcheck disable=SC2086 # words
        netem $words
        writes_go_on
        [[ $words != *loss* ]] || check "some were lost" [ "$(dropped)" -gt 0 ]
    done
    for guest in a b; do
        check "the cable is good again" in_ "$guest" "tc qdisc del dev data root"
    done
    writes_go_on
    check "ranges were found written as announced" [ "$(all_of ranges_taken)" -gt 0 ]
    equal
}

is_cut() { is_down 1 2; }
is_heard() { is_up 1 2; }

cable() {
    scene "the cable is out for a while"
    begin
    check "the cable is out" in_ b "ip link set data down"
    await "$patience" "node 2 is heard no more" is_cut
    writes_go_on
    check "and in again" in_ b "ip link set data up"
    await "$patience" "node 2 is heard again" is_heard
    writes_go_on
    equal
}

# Its machine is gone, and comes back.
loss() {
    begin
    guest_kill b
    told "the machine of node 2 is gone"
    writes_go_on
    guest_start b
    guest_await b
    addresses_set b
    node_begin 2
    node_await 2
    told "node 2 serves again"
    await "$patience" "node 1 finds all whole" is_whole 1
    writes_go_on
    equal
}

follower() {
    scene "the machine of a follower is gone in the middle of writes"
    lead 1
    loss
}

leader() {
    scene "the machine of the leader is gone in the middle of writes"
    lead 2
    loss
}

refuses() { ! quietly 2 put telemetry left "$EPOCHREALTIME" && ! quietly 2 get telemetry left --linearizable; }

majority() {
    scene "the machine of two of three nodes is gone"
    check "a write at node 2" quietly 2 put telemetry left before
    guest_kill a
    await "$patience" "node 2 refuses" refuses
    check "node 2 answers what needs no majority" [ "$(at 2 get telemetry left --local)" = before ]
}

guest_seconds=1400
cluster_over a b a
scenes shaken cable follower leader majority
guests_verdict
