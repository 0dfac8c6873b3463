#!/usr/bin/env bash
# dunlin-bench over ports of DPDK: every row is there, whatever it says; bad command lines; and nothing stays behind,
# also when it is interrupted.
#
#   bench_ports.sh BUILD
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/expect.sh
. "$(dirname "$0")/expect.sh"

bench=$build/bench/dunlin-bench
for program in "$bench" "$bench-node"; do
    [ -x "$program" ] || { echo "bench_ports: no $program: build first" >&2; exit 2; }
done

# ---- command lines ---------------------------------------------------------------------------------

expect 2 "$bench" transport --transport mem
complains 'no such --transport'
expect 2 "$bench" transport --transport dpdk --port net_memif0
complains 'twice'
expect 2 "$bench" transport --port net_memif0 --port net_memif0
complains '--transport dpdk'
expect 2 "$bench" transport --cpus 0,1
complains '--cpus'
expect 2 "$bench" replicate --transport dpdk --port a --port b
complains 'three times'
expect 2 "$bench" replicate --transport tcp
complains 'mem, udp, dpdk or rdma'
expect 2 "$bench" replicate --cpus 0
complains '--transport udp, dpdk or rdma'

[ "$(id -u)" -eq 0 ] || { echo "needs root: the rest is with namespaces"; exit 77; }
for tool in ip jq setpriv unshare; do
    command -v $tool >/dev/null || skip "no $tool here: tests/install.sh"
done
unshare --net ip link add cable type veth 2>/dev/null || skip "this machine gives no namespaces, or no virtual cables"
unshare --net ip link add switch type bridge 2>/dev/null || skip "this kernel has no bridge"
for name in transport replicate; do
    expect 2 setpriv --reuid 65534 --clear-groups "$bench" $name --transport dpdk
    complains 'needs root'
done

# ---- rows ------------------------------------------------------------------------------------------

# No process of a bench is left, and so no namespace and no cable.
check_left() {
    checks=$((checks + 1))
    ! pgrep -af "^$bench" >"$scratch/left" || fault "$1 left $(cat "$scratch/left")"
}

# rows NAME SECONDS DRIVER:COUNT...: so many of each driver, or one that says why there are none. Exit 1 is a baseline
# that swung.
rows() {
    local count driver found status
    checks=$((checks + 1))
    run "$bench" "$1" --transport dpdk --json --seconds "$2" >"$out" 2>"$err"
    status=$?
    [ $status -le 1 ] || fault "$1: ended by $status"
    [ -s "$out" ] || fault "$1: not measured: $(tail -n 1 "$err")"
    for driver in "${@:3}"; do
        count=${driver#*:}
        driver=${driver%:*}
        checks=$((checks + 1))
        if [ "$driver" = net_af_xdp ] && jq -e '.rows[] | select(.name == "net_af_xdp" and .note != "")' "$out" >"$scratch/why"; then
            echo "$1: net_af_xdp: $(jq -r .note "$scratch/why")"
            continue
        fi
        found=$(jq --arg d "$driver, " '[.rows[] | select((.name | startswith($d)) and .median > 0 and
            .baseline_median > 0)] | length' "$out")
        [ "$found" = "$count" ] || fault "$1: ${found:-no} rows of $driver instead of $count"
    done
    check_left "$1"
}

# Of the last run: what went over limited cables, by either side, is no more than they let through. The same processes
# do several times that, and a batch that ends in the time of a measurement has begun in it: no wait makes it less true.
check_limited() {
    local driver row median baseline
    for driver in "$@"; do
        row=$(jq -c --arg d "$driver, " '.rows[] | select((.name | startswith($d)) and .unit == "Mbit/s")' "$out")
        [ -n "$row" ] || continue
        checks=$((checks + 1))
        median=$(jq .median <<<"$row")
        baseline=$(jq .baseline_median <<<"$row")
        jq -e '(.name | capture("cables of (?<n>[0-9]+) Mbit/s").n | tonumber) as $n |
            .median <= $n * 1.02 and .baseline_median <= $n * 1.02' <<<"$row" >/dev/null ||
            fault "$driver: $median and $baseline Mbit/s: $(jq -r .name <<<"$row")"
        echo "$driver: $(jq -r '"\(.median) Mbit/s, plain \(.baseline_median), \(.note)"' <<<"$row")"
    done
}

rows transport 9 net_af_packet:12 net_af_xdp:12 net_memif:12
limited=2
unshare --net sh -c 'ip link add cable type veth && exec tc qdisc add dev cable root tbf rate 1mbit burst 2000 limit 2000' 2>/dev/null ||
    limited=0
[ $limited -ne 0 ] || echo "no tc, or no token buckets in this kernel: no row of limited cables"
rows replicate 12 net_af_packet:$((5 + limited)) net_af_xdp:$((5 + limited)) net_memif:5
if [ $limited -ne 0 ]; then
    check_limited net_af_packet net_af_xdp
else
    checks=$((checks + 1))
    jq -e '[.rows[] | select(.unit == "Mbit/s" and .median == null and (.note | startswith("skipped: ")))] | length > 0' \
        "$out" >/dev/null || fault "replicate: nothing says that there are no limited cables"
fi

# ---- interrupted -----------------------------------------------------------------------------------

for name in transport replicate; do
    "$bench" $name --transport dpdk --seconds 30 >"$out" 2>"$err" &
    started=$!
    children+=("$started")
    group=()
    # Why the same twice: what makes cables ends at once, and is not at work.
    for ((tries = 0; tries < 200; tries++)); do
        before=${group[*]}
        worker=$(pgrep -o -P "$started") && mapfile -t group < <(pgrep -g "$worker")
        [ ${#group[@]} -lt 2 ] || [ "${group[*]}" != "$before" ] || break
        sleep 0.1
    done
    checks=$((checks + 2))
    [ ${#group[@]} -ge 2 ] || fault "$name: ${#group[@]} processes at work"
    kill -TERM "$started"
    wait "$started"
    [ $? -eq 143 ] || fault "$name: interrupted, but not ended by it"
    check_left "$name, interrupted,"
    for pid in "${group[@]}"; do
        [ ! -e "/proc/$pid" ] || fault "$name: interrupted, but process $pid is left"
        [ ! -e "/run/dpdk/dunlin-$pid" ] || fault "$name: interrupted, and left /run/dpdk/dunlin-$pid"
    done
done

echo "$checks checks, $faults failed"
[ "$faults" -eq 0 ]
