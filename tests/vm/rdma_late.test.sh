#!/usr/bin/env bash
# rdma_late.test.sh BUILD [SCENE]... - what a leader of the past still writes into its followers' memory, by its device
# alone. Node 2, in a guest of its own, leads; what its device sends is on its way for long; a value is put, and its
# process dies. Nodes 1 and 3, in the other guest, agree on another leader and write on. Only then the writes of before
# land: in memory that was kept for them, where nobody reads. And when they come after the others have ended their
# connections, they land nowhere. Nothing of it is ever found by a read, all nodes end with the same, and what was kept
# for the late writes is used again.
#
# What is on its way is held by netem: all RDMA that node 2 sends but acknowledgements, without which the others would
# end their connections, and so also the word by which its kernel says that the process died. That things happen in this
# order is looked at, not left to time: log writes are counted where they leave and where they come, and that none has
# come yet is the last thing said of what was before.
# shellcheck disable=SC2317,SC2034 # scenes are called by name; settings of guests.sh
# shellcheck source=tests/vm/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/common.sh
. "$here/../e2e/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$here/../e2e/cluster.sh"
# shellcheck source=tests/vm/guests.sh
. "$here/guests.sh"
# Why so long: a follower ends the connection of who does not return its grants, here after 31 s where memory is short.
lease=3s
leader_lease=2s
patience=120
pause=0.5
encrypt=false
# Two MiB are 28 segments of 64 KiB, and eight values are an eighth of that.
shards=1
quota_telemetry=2MiB
quota_sectors=2MiB
segments=28
keys=8
value_bytes=30000
# A device sends seven times, each after 8.6 s: so long a connection lives with nobody at its other end.
ack_timeout=8s
# Seconds that writes are late: within those 60 s, or behind them.
delay_tail=20
delay_reused=32
delay_nowhere=72

# ---- in the guests -------------------------------------------------------------------------------------------------

# queue_make: in b. An acknowledgement has 0x11 as first byte of what UDP carries.
queue_make() {
    local rdma="match ip protocol 17 0xff match ip dport 4791 0xffff"
    # shellcheck disable=SC2086 # words
    tc qdisc replace dev data root handle 1: prio bands 2 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 &&
        tc qdisc add dev data parent 1:2 handle 20: netem limit 100000 &&
        tc filter add dev data parent 1: protocol ip prio 1 u32 $rdma match u8 0x11 0xff at 28 flowid 1:1 &&
        tc filter add dev data parent 1: protocol ip prio 2 u32 $rdma flowid 1:2
}

# count_writes, writes_counted: packets of node 2's log writes that left b, or that a has got: first, middle and last of
# several, and only. Why none that is short: it may be credit that is written.
count_writes() {
    local writes='ip saddr 10.99.0.2 udp dport 4791 meta length > 500 @th,64,8 { 6, 7, 8, 10 } counter'
    nft "table ip late { chain in { type filter hook input priority 0; $writes; }
        chain out { type filter hook output priority 0; $writes; }; }"
}

writes_counted() {
    nft list table ip late |
        awk '{ for (i = 1; i < NF; i++) if ($i == "packets") sum += $(i + 1) } END { print sum + 0 }'
}

# writer_begin MARKER: in b. A value of it is put at node 2 as soon as strike says so. Why not by `dunlin put`: its
# session would have to be agreed on first, which takes as long as the delay.
writer_begin() {
    rm -f /run/ready /run/go
    DUNLIN_LIBRARY=$build/engine/agent/libdunlin.so.0 PYTHONPATH=$here/../../engine/agent/python \
        python3 - "$1" >/tmp/writer 2>&1 <<'PYTHON' &
import os, sys, time
import dunlin
with dunlin.attach("/run/node2.sock") as node:
    space = node.space("telemetry")
    space.put("ready", "ready")
    open("/run/ready", "w").close()
    while not os.path.exists("/run/go"):
        time.sleep(0.01)
    space.put("late-" + sys.argv[1], sys.argv[1] * 1500)
PYTHON
    writer=$!
}

# strike SECONDS: in b. From now on all is late; the value is put, which nobody can acknowledge; and when its bytes are
# on their way to both others, six packets each, the process dies. /run/left has how many log writes left before, and
# how many in all.
strike() {
    local before
    tc qdisc change dev data parent 1:2 handle 20: netem delay "$1s" limit 100000 || return 1
    before=$(writes_counted) && touch /run/go
    until [ "$(writes_counted)" -ge $((before + 12)) ]; do
        sleep 0.05
    done
    kill -KILL "$(cat /run/node2.pid)"
    echo "$before $(writes_counted)" >/run/left
}

# writer_failed: what it put was not acknowledged.
writer_failed() { ! wait "$writer" && grep -qE 'FateUnknown|Unavailable' /tmp/writer; }

# marks n MARKER: how often it stands in the log memory of node n.
marks() {
    find "/proc/$(cat "/run/node$1.pid")/fd" -lname '*memfd:dunlin-chunk*' -exec cat {} + | grep -a -o "$2" | wc -l
}

# reads n MARKER: lines of what node n answers that have it.
reads() {
    local how
    for how in --linearizable --local; do
        "$dunlin" --socket "/run/node$1.sock" scan telemetry "$how" || echo "$2: node $1 answers no scan $how"
    done | grep -a -c "$2"
}

# watches n MARKER: lines of all that node n's log still has that have it. A watch does not end by itself.
watches() {
    {
        timeout 4 "$dunlin" --socket "/run/node$1.sock" watch telemetry '' --from oldest
        [ $? -eq 124 ] || echo "$2: node $1 watches no more"
    } | grep -a -c "$2"
}

# put_each WORD: values of that word, half a segment of them in all.
put_each() {
    local i value
    value=$(printf "$1-%.0s" {1..1300})
    for i in 1 2 3 4; do
        "$dunlin" --socket /run/node1.sock put telemetry "$1-$i" "$value" >/dev/null || return 1
    done
}

# write_all: values, again and again, until all of the log's memory was used again; each by an agent of its own, which
# writes at node 1 and reads at node 3. Why all in one go: it is to be over soon.
write_all() {
    local i agents=() status=0 limit=$((SECONDS + 60)) before
    rm -f /tmp/agent-*
    before=$(segments_freed)
    for ((i = 0; i < keys; i++)); do
        "$cluster_agent" --key "key-$i" --writer /run/node1.sock --reader /run/node3.sock --bytes "$value_bytes" \
            --timeout-ms 60000 >"/tmp/agent-$i" 2>"/tmp/agent-$i.err" &
        agents+=($!)
    done
    until [ $(($(segments_freed) - before)) -ge "$segments" ] && [ "$(written_least)" -gt 0 ]; do
        [ "$SECONDS" -lt "$limit" ] || { status=1 && tail -q -n 1 /tmp/agent-*[0-9] && break; }
        sleep 0.1
    done
    kill -TERM "${agents[@]}"
    for ((i = 0; i < keys; i++)); do
        wait "${agents[i]}" || { status=1 && head -n 3 "/tmp/agent-$i.err"; }
    done
    echo "each value written $(written_least) times and more, $(($(segments_freed) - before)) segments used again" \
        >/tmp/written
    return "$status"
}

segments_freed() {
    "$dunlin" --socket /run/node1.sock --json status | grep -oE '"segments_freed": ?[0-9]+' | head -n 1 |
        grep -oE '[0-9]+$'
}

# written_least: by the agent that wrote least.
written_least() {
    awk -v all="$keys" '
        match($0, /w\.done=[0-9]+.*end=1$/) { last[FILENAME] = substr($0, RSTART + 7) + 0 }
        END { for (f in last) if (++count == 1 || last[f] < least) least = last[f]; print count == all ? least : 0 }
    ' /tmp/agent-*[0-9]
}

# delete_all: these values, or agents to come take them for their own.
delete_all() {
    local i
    for ((i = 0; i < keys; i++)); do
        "$dunlin" --socket /run/node1.sock del telemetry "key-$i" >/dev/null 2>&1
    done
}

[ -z "${DUNLIN_GUEST:-}" ] || guests_serve

# ---- here ----------------------------------------------------------------------------------------------------------

leads_nothing() { [ "$(leads 2 1)" = 0 ] && is_active 1 && is_active 3; }
leads_everything() { leads_all 2 1; }
none_came() { [ "$(in_ a writes_counted)" = "${left% *}" ]; }
all_came() { [ "$(in_ a writes_counted)" = "${left#* }" ]; }
is_marked() { [ "$(in_ a marks 1 "$marker")" -gt 0 ] && [ "$(in_ a marks 3 "$marker")" -gt 0 ]; }
is_unmarked() { [ "$(in_ a marks 1 "$marker")$(in_ a marks 3 "$marker")" = 00 ]; }
is_unwatched() { [ "$(in_ a watches "$1" "$marker")" = 0 ]; }
is_unread() { [ "$(in_ "${where[$1]}" reads "$1" "$marker")" = 0 ]; }
retired() { echo "$(counted 1 connections_retired) $(counted 3 connections_retired)"; }
has_ended_connections() { [ "$(retired)" = "$((${before% *} + 1)) $((${before#* } + 1))" ]; }

# is_given_back n: no segment of it is kept for anybody.
is_given_back() { [ "$(status "$1" retiring)" = 0 ]; }
is_kept() { ! is_given_back 1 && ! is_given_back 3; }

write_round() {
    check "values are written, and read, until all segments were used again" in_ a write_all
    told "$(in_ a cat /tmp/written)"
}

# begin SECONDS: until node 2 is dead, others lead, and what it wrote is on its way.
begin() {
    marker=$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
    cluster_move 2 1
    await "$patience" "node 2 leads" leads_everything
    check "values before" in_ a put_each before
    check "log writes are used" [ "$(counted 2 log_writes)" -gt 0 ]
    check "a writer begins" in_ b writer_begin "$marker"
    await "$patience" "it has a session" in_ b test -e /run/ready
    before=$(retired)
    check "a value is put that nobody can acknowledge" in_ b strike "$1"
    left=$(in_ b cat /run/left)
    told "node 2 is dead"
    await "$patience" "others lead" leads_nothing
    check "values of the new epoch" in_ a put_each after
    check "nothing of it stands in memory" is_unmarked
    check "nothing of node 2 has come yet" none_came
    told "values of the new epoch are acknowledged"
}

# Nobody reads any of it, now or later; what was kept for it is free; and node 2 is one of three again.
end() {
    local n
    check "it was not acknowledged" in_ b writer_failed
    for n in 1 3; do
        check "nobody reads it at node $n" is_unread "$n"
        check "nobody watches it at node $n" is_unwatched "$n"
    done
    check "nodes 1 and 3 have the same" has_equal 3
    in_ a delete_all
    write_round
    for n in 1 3; do
        await "$patience" "what was kept for it is used again, at node $n" is_given_back "$n"
        check "nobody reads it at node $n" is_unread "$n"
    done
    check "the cable is good again" in_ b "tc qdisc change dev data parent 1:2 handle 20: netem limit 100000"
    node_begin 2
    node_await 2
    await "$patience" "node 1 finds all whole" is_whole 1
    guests_equal
    for n in 1 2 3; do
        check "nobody reads it at node $n" is_unread "$n"
    done
    in_ a delete_all
    told "$(counted 1 ranges_taken) and $(counted 3 ranges_taken) ranges found as announced," \
        "$(counted 1 ranges_refused) and $(counted 3 ranges_refused) not"
}

# land: they come, over the connections of before.
land() {
    check "memory is kept for it" is_kept
    check "its connections are there" [ "$(retired)" = "$before" ]
    check "nothing of node 2 has come yet" none_came
    await "$patience" "all of its writes come" all_came
    check "they landed in the memory of both" is_marked
    told "$((${left#* } - ${left% *})) packets came; $(in_ a marks 1 "$marker") and" \
        "$(in_ a marks 3 "$marker") times it stands there"
    await "$patience" "its connections end" has_ended_connections
    end
}

tail_end() {
    scene "writes of a leader of the past land, beside what was written since at the same places of the log"
    begin "$delay_tail"
    land
}

reused() {
    scene "writes of a leader of the past land, when all else of the log's memory was used again"
    begin "$delay_reused"
    write_round
    land
}

nowhere() {
    scene "writes of a leader of the past come when its connections are gone"
    begin "$delay_nowhere"
    await "$patience" "its connections end" has_ended_connections
    check "nothing of node 2 has come yet" none_came
    told "its connections are gone"
    await "$patience" "all of its writes come" all_came
    check "they land nowhere" is_unmarked
    told "$((${left#* } - ${left% *})) packets came"
    end
    check "they landed nowhere" is_unmarked
}

cluster_over a b a
check "log writes that come are counted" in_ a count_writes
check "log writes that leave are counted" in_ b count_writes
check "packets of node 2 have a queue" in_ b queue_make
scenes tail_end reused nowhere
guests_verdict
