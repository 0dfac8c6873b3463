#!/usr/bin/env bash
# rdma_late.test.sh BUILD - what a leader of the past still writes into its followers' memory, by its device alone: node 2,
# in a guest of its own, leads; its log writes go out slowly; its process is stopped, and nodes 1 and 3, in the other
# guest, have another leader. Meanwhile, and afterwards, those writes land. And the same when nothing of it comes through
# before the others have ended their connections: then they land nowhere. Nobody reads anything wrong, and all nodes end
# with the same.
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/common.sh
. "$here/../e2e/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$here/../e2e/cluster.sh"
# shellcheck source=tests/vm/guests.sh
. "$here/guests.sh"
[ -z "${DUNLIN_GUEST:-}" ] || guests_serve
lease=500ms
leader_lease=2s
patience=120
pause=0.5
encrypt=false
agents=(one two three four)

# Packets of RDMA that b sends and that are no acknowledgements go by a queue of their own: the first byte of such a
# packet's header is below 16. Why not all: then the other end would not be told that its own packets arrived, and would
# break the connection.
priorities="prio bands 2 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"
requests="match ip protocol 17 0xff match ip dport 4791 0xffff match u8 0x00 0xf0 at 28"
queue_make="tc qdisc replace dev data root handle 1: $priorities &&
    tc filter add dev data parent 1: protocol ip u32 $requests flowid 1:2 && tc qdisc add dev data parent 1:2 handle 20:"

# Log writes that reach a from node 2: RDMA WRITEs without immediate data.
counter='nft "table ip late { chain in { type filter hook input priority 0; ip saddr 10.99.0.2 udp dport 4791 @th,64,8
    { 6, 7, 8, 10 } counter; }; }"'

queue() { in_ b "${queue_make//$'\n'/ } $*"; }
queued() { in_ b "tc -s qdisc show dev data" | awk '/^qdisc/ { ours = $3 == "20:" } ours && /backlog/ { print $3 + 0 }'; }
is_drained() { [ "$(queued)" = 0 ]; }
writes_come() { in_ a "nft list table ip late" | grep -oE 'packets [0-9]+' | grep -oE '[0-9]+'; }
come_later() { [ "$(writes_come)" -gt "$1" ]; }

all_of() { for n in 1 3; do status "$n" "$1"; done | awk '{ sum += $1 } END { print sum + 0 }'; }
leads_nothing() { [ "$(leads 2 1)" = 0 ] && is_active 1 && is_active 3; }
leads_everything() { leads_all 2 1; }

begin() {
    local name
    cluster_move 2 1
    await "$patience" "node 2 leads" leads_everything
    for name in "${agents[@]}"; do
        agent_begin a "$name" --key "late-$name" --writer "${sockets[1]}" --reader "${sockets[3]}" --bytes 60000 \
            --timeout-ms 60000
    done
}

go_on() {
    local name
    for name in "${agents[@]}"; do
        agent_goes_on "$name" w.done
        agent_goes_on "$name" r0.done
    done
}

has_equal() { [ "$(keys_of "$1")" = "$(keys_of 1)" ]; }
keys_of() { in_ "${where[$1]}" "$(printf '%q ' "$real_dunlin" --socket "${sockets[$1]}") scan telemetry | sha256sum"; }

# The old leader runs again, and is one of three.
end() {
    local name n bytes
    check "the cable is good again" in_ b "tc qdisc del dev data root"
    check "node 2 runs again" node_signal 2 CONT
    await "$patience" "node 1 finds all whole" is_whole 1
    go_on
    for name in "${agents[@]}"; do
        agent_over "$name"
    done
    bytes=$(committed 1)
    for n in 2 3; do
        caught_up "$n" "$bytes"
        await "$patience" "node $n ends with what node 1 has" has_equal "$n"
    done
    told "$(all_of ranges_taken) ranges found as announced, $(all_of ranges_refused) not; $(all_of connections_taken)" \
        "connections, $(all_of connections_retired) ended"
}

# Why this rate: some packets a second, so that most of what is under way is late, and that each side hears of the other
# often enough. Why no more packets: the device repeats those that were not acknowledged soon.
late() {
    local came
    scene "writes of a leader of the past land"
    begin
    go_on
    check "log writes come" come_later 0
    check "its writes leave slowly" queue netem rate 400kbit limit 1000
    sleep 3
    check "the leader stops" node_signal 2 STOP
    await "$patience" "another leads" leads_nothing
    came=$(writes_come)
    told "$(queued) packets of it are on their way, $came came; $(all_of connections_retired) connections ended"
    await "$patience" "log writes of it come afterwards" come_later "$came"
    go_on
    check "the rest leaves at once" in_ b "tc qdisc change dev data parent 1:2 handle 20: netem rate 1gbit limit 1000"
    await "$patience" "all of them have left" is_drained
    told "$(($(writes_come) - came)) more came"
    go_on
    end
}

nowhere() {
    local before
    scene "writes of a leader of the past come to an end that is gone"
    begin
    go_on
    before=$(all_of log_writes)
    check "nothing leaves" queue plug limit 100000000
    sleep 1
    check "the leader stops" node_signal 2 STOP
    await "$patience" "another leads" leads_nothing
    go_on
    check "some is on its way" [ "$(queued)" -gt 0 ]
    told "$(queued) packets are on their way, after $before log writes"
    check "all of it leaves" in_ b "tc qdisc change dev data parent 1:2 handle 20: plug release_indefinite"
    await "$patience" "all of it has left" is_drained
    go_on
    end
}

cluster_over a b a
check "log writes are counted" in_ a "${counter//$'\n'/ }"
scenes late nowhere
guests_verdict
