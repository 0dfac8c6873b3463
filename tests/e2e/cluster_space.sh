#!/usr/bin/env bash
# Spaces that are made, altered and dropped while a cluster runs: at all nodes, under a fleet, while one is
# down, frozen or killed; what is made again under its name has versions above all that there were.
#
#   cluster_space.sh BUILD [comes_and_goes|down|frozen|killed]...
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

lists() { at "$1" spaces | grep -q "^$2 "; }
lists_not() { ! lists "$1" "$2"; }
reads() { [ "$(at "$1" get "$2" "$3" --linearizable)" = "$4" ]; }
puts() { at "$1" put "$2" "$3" "$4" >/dev/null; }
lsn_of() { at "$1" put "$2" "$3" "$4" | cut -d. -f2; }
# quota_of n NAME
quota_of() {
    at "$1" --json spaces | tr -d ' \n' | grep -oE "\"name\":\"$2\"[^}]*" | grep -oE '"quota_bytes":[0-9]+' | cut -d: -f2
}
has_quota() { [ "$(quota_of "$1" "$2")" = "$3" ]; }

create() { check "space $2 is made" quietly "$1" space create "$2" --quota 16MiB --shards "${3:-3}"; }

comes_and_goes() {
    local n round before=0 after
    scene "a space comes, changes and goes five times under a fleet"
    fleet_start 12 3
    for round in 1 2 3 4 5; do
        create $((round % 3 + 1)) orders
        for n in 1 2 3; do
            await 30 "node $n has it" puts "$n" orders "k$n" "v$round"
        done
        for n in 1 2 3; do
            check "node $n reads what the others wrote" reads "$n" orders "k$((n % 3 + 1))" "v$round"
        done
        after=$(lsn_of 2 orders k1 "w$round")
        check "versions grow ($before, $after)" [ "$after" -gt "$before" ]
        before=$after
        check "it is altered" quietly 3 space alter orders --quota 32MiB --history 4
        for n in 1 2 3; do
            await 30 "node $n knows" has_quota "$n" orders 33554432
        done
        check "what is above quota_max is refused" says_status 5 1 space alter orders --quota 65MiB
        check "without --yes nothing is dropped" says_status 2 1 space drop orders
        check "it is dropped" quietly $((round % 3 + 1)) space drop orders --yes
        for n in 1 2 3; do
            await 30 "node $n has it no more" lists_not "$n" orders
            check "node $n finds nothing" says_status 1 "$n" get orders k1
        done
    done
    check "a space of the configuration stays" says_status 5 1 space drop telemetry --yes
    fleet_end
    told "5 rounds"
}

down() {
    local n
    scene "a node is down while the list changes"
    create 1 early
    cluster_kill 3
    await 30 "node 1 sees it" is_down 1 3
    await 30 "node 2 sees it" is_down 2 3
    create 2 late
    check "it is written" puts 1 late a 1
    check "and read" reads 2 late a 1
    check "the other is dropped" quietly 1 space drop early --yes
    cluster_start 3
    cluster_ready 3
    await 30 "node 3 reads it" reads 3 late a 1
    check "node 3 has dropped the other" lists_not 3 early
    check "node 3 writes" puts 3 late a 2
    for n in 1 2 3; do
        await 30 "all is active at node $n" is_active "$n"
    done
    check "its id is free again" quietly 3 space create early --quota 16MiB --shards 1
    check "all of it is dropped" quietly 1 space drop early --yes
    check "all of it is dropped" quietly 1 space drop late --yes
    told "done"
}

# One that stands still is taken for down; it thaws as who it was, and promises nothing for what it has not made.
frozen() {
    local round
    scene "a node is frozen while a space is made"
    for round in 1 2 3; do
        kill -STOP "${pids[2]}"
        await 30 "node 1 sees it" is_down 1 2
        create 1 "thaw$round"
        check "it is written" puts 3 "thaw$round" a "$round"
        kill -CONT "${pids[2]}"
        await 30 "node 2 reads it" reads 2 "thaw$round" a "$round"
        await 30 "node 2 writes" puts 2 "thaw$round" b "$round"
        check "node 3 reads it" reads 3 "thaw$round" b "$round"
        cluster_move 2 1
        check "node 2 leads it" reads 2 "thaw$round" b "$round"
        check "it is dropped" quietly 2 space drop "thaw$round" --yes
    done
    told "3 rounds"
}

killed() {
    local n round
    scene "kill -9 in the middle of a create"
    for round in 1 2 3; do
        n=$((round % 3 + 1))
        check "it is asked for" quietly "$n" space create "mid$round" --quota 16MiB --shards 3 --no-wait
        [ "$round" -eq 1 ] || sleep "0.0$((round * 3))"
        cluster_kill "$n"
        await 60 "others serve it" puts $((n % 3 + 1)) "mid$round" a "$round"
        cluster_start "$n"
        cluster_ready "$n"
        await 30 "the killed one reads it" reads "$n" "mid$round" a "$round"
        await 30 "all is active" is_active "$n"
        check "it is dropped" quietly "$n" space drop "mid$round" --yes
    done
    told "3 rounds"
}

need_root
cluster_up 3
scenes comes_and_goes down frozen killed
verdict
