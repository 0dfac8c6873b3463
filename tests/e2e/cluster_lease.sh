#!/usr/bin/env bash
# A global leader flag, and one per region, contended for at all nodes of a cluster, while those that lead the shard
# are moved, frozen and killed, and holders are: never two at a time, and nothing that was done under an older
# token counts after something under a newer one.
#
#   cluster_lease.sh BUILD [moved|frozen|killed|holder_frozen|holder_killed|cli]...
# shellcheck disable=SC2317 # scenes are called by name
# shellcheck source=tests/e2e/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=tests/e2e/cluster.sh
. "$(dirname "$0")/cluster.sh"

ttl_ms=500
# What a busy machine may hold everything up for, beside what the protocol does.
patience_ms=5000
journal=$scratch/journal
declare -A contenders # by owner: process
flags=(global eu us)
# By flag: the node that is killed with its holder. Others contend for it elsewhere.
declare -A beside=([global]=1 [eu]=2 [us]=3)

# contender OWNER NODE [OPTION...]
contender() {
    local owner=$1 at=$2
    shift 2
    "$programs/lease_agent" --socket "${sockets[at]}" --owner "$owner" --journal "$journal" \
        --fence "$scratch/fence" --ttl-ms $ttl_ms --seed "$((16#$(printf %s "$owner" | md5sum | head -c 6)))" "$@" \
        >"$scratch/$owner.out" 2>&1 </dev/null &
    contenders[$owner]=$!
    children+=("$!")
}

# Tokens that the flag was held under.
holdings() { grep "^held $1 " "$journal" | cut -d ' ' -f 4 | sort -u | wc -l; }
has_holdings() { [ "$(holdings "$1")" -ge "$2" ]; }

# goes_on [TIMES]: every flag is taken so often again.
goes_on() {
    local flag
    for flag in "${flags[@]}"; do
        await 60 "flag $flag goes on" has_holdings "$flag" $(($(holdings "$flag") + ${1:-2}))
    done
}

# Its holder's owner and token in $owner and $token; 1: nobody holds it.
holder() {
    local event
    read -r event _ owner token _ < <(grep -E "^(held|ended) $1 " "$journal" | tail -n 1)
    [ "$event" = held ]
}
has_newer() {
    local owner token
    holder "$1" && [ "$token" != "$2" ]
}

# counted FLAG NAME: what lease_check says.
counted() { grep "^$1 " "$scratch/checked" | grep -oE " $2=[0-9]+" | cut -d= -f2; }
sum() {
    local flag total=0
    for flag in "${flags[@]}"; do
        total=$((total + $(counted "$flag" "$1")))
    done
    echo "$total"
}

# Of all that was done up to now.
judge() {
    local owner
    for owner in "${!contenders[@]}"; do
        ! has_ended "${contenders[$owner]}" || fault "$owner has ended: $(head -n 3 "$scratch/$owner.out")"
    done
    check "the journal holds" lease_check
    sed 's/^/   /' "$scratch/checked"
}
lease_check() { "$programs/lease_check" "$journal" >"$scratch/checked" 2>&1; }
has_changed() { lease_check && [ "$(sum changes)" -ge "$1" ]; }

moved() {
    local round
    scene "leadership moves every half second"
    for round in 1 2 3 4 5 6 7 8 9 10 11 12; do
        check "moved" cluster_move $((round % 3 + 1))
        sleep 0.5
    done
    goes_on
    judge
    await 60 "it changed hands" has_changed 10
}

frozen() {
    local n
    scene "SIGSTOP of who leads the shard, for longer than a leader's lease and the ttl"
    for n in 1 2 3; do
        cluster_lead $n
        kill -STOP "${pids[n]}"
        # Why those alone: contenders at a frozen node wait for it.
        await 60 "the flag goes on without node $n" has_holdings global $(($(holdings global) + 2))
        sleep 1
        kill -CONT "${pids[n]}"
        goes_on
    done
    judge
}

killed() {
    local n
    scene "kill -9 of who leads the shard"
    for n in 1 2 3; do
        cluster_lead $n
        cluster_kill $n
        await 60 "the flag goes on without node $n" has_holdings global $(($(holdings global) + 2))
        cluster_start $n
        cluster_ready $n
        await 60 "node $n holds all again" is_whole $n
        goes_on
    done
    judge
}

holder_frozen() {
    local flag token owner round before
    scene "SIGSTOP of who holds a flag, until somebody else holds it"
    check "the journal holds" lease_check
    before=$(($(sum stale) + $(sum fenced)))
    for round in 1 2 3 4; do
        for flag in "${flags[@]}"; do
            await 60 "somebody holds $flag" holder "$flag"
            kill -STOP "${contenders[$owner]}"
            await 60 "somebody else holds $flag ($round)" has_newer "$flag" "$token"
            kill -CONT "${contenders[$owner]}"
        done
    done
    goes_on
    judge
    check "who came late was refused" [ $(($(sum stale) + $(sum fenced))) -ge $((before + 4)) ]
}

# The ttl is what is waited for where the shard's leader lives; a new one counts it from its beginning, which is after
# the leader's lease.
holder_killed() {
    local flag token owner longest=0
    scene "kill -9 of who holds a flag"
    for flag in "${flags[@]}"; do
        comes_back "$flag" ""
    done
    told "the flag came back after $longest ms at most, ttl $ttl_ms ms"
    check "within the ttl" [ "$longest" -le $((ttl_ms + patience_ms)) ]
    longest=0
    for flag in "${flags[@]}"; do
        comes_back "$flag" "${beside[$flag]}"
    done
    told "and after $longest ms where the leader went with it, leader lease $leader_lease"
    check "within the ttl, counted anew, and the lease" [ "$longest" -le $((2 * ttl_ms + 300 + patience_ms)) ]
    goes_on
    judge
}

# comes_back FLAG NODE|"": who holds it is killed, perhaps with that node, which leads all; then there is another one.
comes_back() {
    [ -z "$2" ] || cluster_lead "$2"
    await 60 "somebody holds $1" holder "$1"
    kill -KILL "${contenders[$owner]}"
    wait "${contenders[$owner]}" 2>/dev/null
    [ -z "$2" ] || cluster_kill "$2"
    await 60 "somebody else holds $1" has_newer "$1" "$token"
    [ $took_ms -le "$longest" ] || longest=$took_ms
    unset "contenders[$owner]"
    [ -z "$2" ] || { cluster_start "$2" && cluster_ready "$2" && await 60 "node $2 holds all again" is_whole "$2"; }
    again "$owner"
}

# again OWNER: another one in its place, under a name of its own.
again() {
    local at=${1:1:1} options=()
    [ "${1:0:1}" = g ] || options=(--region)
    contender "$1x" "$at" "${options[@]}"
}

# The command, of a key of its own.
cli() {
    local eu us whole shown
    scene "dunlin lease --region"
    whole=$(on 1 lease acquire sectors '{c}pad' --ttl 600000 --owner ann)
    eu=$(on 1 lease acquire sectors '{c}pad' --ttl 600000 --owner bob --region)
    us=$(on 2 lease acquire sectors '{c}pad' --region --ttl 600000 --owner cid)
    check "three tokens that grow" [ "$whole" -lt "$eu" -a "$eu" -lt "$us" ]
    check "eu is held, as seen from there" refuses 3 lease acquire sectors '{c}pad' --ttl 1 --region
    check "eu is held, as seen from elsewhere" refuses 2 lease acquire sectors '{c}pad' --region eu --ttl 1
    check "a token of another region is none" refuses 2 lease renew sectors '{c}pad' --region=eu --token "$us" --ttl 1
    cluster_move 2
    shown=$(on 3 lease show sectors '{c}pad' --regions)
    check "all regions" [ "$(echo "$shown" | cut -d ' ' -f 1-4)" = "eu bob token $eu"$'\n'"us cid token $us" ]
    check "released" on 3 lease release sectors '{c}pad' --region --token "$eu" >/dev/null
    check "free" refuses 1 lease show sectors '{c}pad' --region
    check "the key itself is held" [ "$(on 2 lease show sectors '{c}pad' | cut -d ' ' -f 1-3)" = "ann token $whole" ]
    told "tokens $whole $eu $us"
}
on() {
    local n=$1
    shift
    "$dunlin" --socket "${sockets[n]}" "$@"
}
# refuses NODE ARGUMENT...: exit 1.
refuses() {
    on "$@" >"$scratch/refused" 2>&1
    [ $? -eq 1 ]
}

zones=([1]=eu [2]=us [3]=eu)
: >"$journal"
cluster_up 3
for n in 1 2 3; do
    contender g$n $n
    contender r$n $n --region
done
contender s2 2 --region
goes_on 1
scenes moved frozen killed holder_frozen holder_killed cli
for owner in "${!contenders[@]}"; do
    kill -TERM "${contenders[$owner]}"
    await 30 "$owner ends" has_ended "${contenders[$owner]}"
done
check "nothing is lost" [ "$(lost 1)" = 0 ]
verdict
