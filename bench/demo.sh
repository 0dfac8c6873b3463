#!/usr/bin/env bash
# A recorded fleet and a crowd, replayed into nodes on this machine by processes that get killed.
#
#   bench/demo.sh [--seconds N] [--data FILE.csv[.gz]]... [--nodes N] [--plant BUG] [OPTION]...
#
# Installs what is missing, builds, starts the nodes, runs the fleet, prints what happened, stops
# everything it started. Exit 0: no violation, and the run was exercised (enough claims met a conflict,
# every process wrote, every kill happened). Exit 1: otherwise. Exit 2: bad usage.
#
#   --seconds N       how long the fleet flies (20); the data repeats with new agents until then
#   --data FILE       recording to replay: time_s,lat_deg,lon_deg, an agent column, further columns; may
#                     be given several times. A crowd is mixed in, so that there is something to quarrel
#                     about. Default: the recordings beside this project, else made-up ones
#   --no-crowd        replay the files alone
#   --agent-column NAME, --sort    as of dunlin-bench fleet
#   --speed X|max     replay X times faster than recorded; default: as fast as commands stay quick
#   --agents P        agent processes (20)
#   --kill N          of them are killed with -9 at random moments, and replaced (5)
#   --seed N          of the kills and of made-up data (printed)
#   --nodes N         nodes, 1 to 7 (1): one is dunlind, more are dunlind dev; agents write at the
#                     first, all are read in place, and must be equal at the end
#   --moves MS        with more nodes than one: so often the leadership of everything moves from the first
#                     to another and back (4000; 0: never), now handed over, now not, now while one of
#                     them is cut off for a moment
#   --plant BUG       run a build with a known bug, which the checks must find; list: says which
#   --json            the report as JSON on stdout, the rest on stderr
set -u
export LC_ALL=C

nodes=1
nodes_max=7
plants=(compare-ignored ack-before-append reuse-before-grace)
plants_cluster=(commit-without-majority skip-seal holder-not-waited-for)

origin=$PWD
cd "$(dirname "$0")/.." || exit 1

usage() {
    echo "demo.sh: $1 (--help)" >&2
    exit 2
}

seconds=20
kills=5
agents=20
plant=
moves=
json=
crowd=yes
data=()
pass=()
while [ $# -gt 0 ]; do
    case "$1" in
    --help)
        sed -n '2,/^set/{s/^# \{0,1\}//;/^set/!p}' "$0"
        exit 0
        ;;
    --no-crowd) crowd= ;;
    --sort) pass+=(--sort) ;;
    --json) json=yes pass+=(--json) ;;
    --transport | --chaos)
        echo "demo.sh: $1: not in this version" >&2
        exit 2
        ;;
    --seconds | --data | --agent-column | --speed | --agents | --kill | --seed | --nodes | --moves | --plant)
        [ $# -ge 2 ] || usage "$1 needs a value"
        case "$1" in
        --seconds) seconds=$2 ;;
        --data)
            # Why: relative to where it was typed, not to the project.
            case "$2" in
            /*) data+=(--data "$2") ;;
            *) data+=(--data "$origin/$2") ;;
            esac
            ;;
        --agents) agents=$2 ;;
        --kill) kills=$2 ;;
        --plant) plant=$2 ;;
        --moves)
            [[ $2 =~ ^(0|[1-9][0-9]{1,6})$ ]] || usage "--moves takes 0 or 20 to 3600000, not '$2'"
            moves=$2
            ;;
        --nodes)
            case "$2" in
            [1-9]) [ "$2" -le $nodes_max ] || usage "--nodes takes 1 to $nodes_max, not '$2'" ;;
            *) usage "--nodes takes 1 to $nodes_max, not '$2'" ;;
            esac
            nodes=$2
            ;;
        *) pass+=("$1" "$2") ;;
        esac
        shift
        ;;
    *) usage "unknown argument '$1'" ;;
    esac
    shift
done
case " ${plants[*]} ${plants_cluster[*]} " in
*" $plant "*) ;;
*)
    if [ "$plant" = list ]; then
        printf '%s\n' "${plants[@]}"
        printf '%s (with --nodes 3)\n' "${plants_cluster[@]}"
        exit 0
    fi
    [ -z "$plant" ] || usage "--plant: no bug '$plant'; there are ${plants[*]} ${plants_cluster[*]}"
    ;;
esac
case " ${plants_cluster[*]} " in
*" $plant "*)
    [ -z "$plant" ] || [ "$nodes" -ge 3 ] || usage "--plant $plant needs --nodes 3"
    # Why so often: these bugs show when leaders change.
    [ -z "$plant" ] || moves=${moves:-600}
    ;;
esac
[ "$nodes" -gt 1 ] || [ "${moves:-0}" = 0 ] || usage "--moves needs --nodes 2 or more"
[ "$nodes" -eq 1 ] || moves=${moves:-4000}
for i in "${!data[@]}"; do
    [ "${data[i]}" = --data ] || [ -r "${data[i]}" ] || usage "cannot read ${data[i]}"
done

sparse_file=../shared/data/aircraft_switzerland/aircraft.csv.gz
crowd_file=../shared/data/vehicles_athens/vehicles.csv
if [ ${#data[@]} -eq 0 ] && [ -r $sparse_file ] && [ -r $crowd_file ]; then
    data=(--data "$sparse_file" --data "$crowd_file")
elif [ ${#data[@]} -eq 0 ]; then
    data=(--generate "sparse,crowd")
elif [ -n "$crowd" ]; then
    data+=(--generate crowd)
fi

say() {
    if [ -n "$json" ]; then
        echo "$*" >&2
    else
        echo "$*"
    fi
}

dir=
daemon=
fleet=
installer=

# shellcheck disable=SC2317 # called from traps
# end PID: SIGTERM to it and all of its group, ten seconds, SIGKILL; returns when they are gone.
end() {
    local tries=100
    [ -n "$1" ] || return 0
    kill -TERM -- "-$1" 2>/dev/null
    while kill -0 -- "-$1" 2>/dev/null && [ "$tries" -gt 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
    kill -KILL -- "-$1" 2>/dev/null
    wait "$1" 2>/dev/null
}

# shellcheck disable=SC2317 # called from traps
clean_up() {
    trap '' INT TERM HUP
    trap - EXIT
    end "$installer"
    end "$fleet"
    end "$daemon"
    [ -z "$dir" ] || rm -rf "$dir"
}
trap clean_up EXIT
trap 'clean_up; exit 130' INT
trap 'clean_up; exit 143' TERM
trap 'clean_up; exit 129' HUP

# Every child is a session of its own, to be ended with all that it starts; and runs in the background
# and is waited for, so that a signal is answered at once.
run() {
    local status
    setsid -- "$@" </dev/null &
    installer=$!
    wait $installer
    status=$?
    installer=
    return $status
}

flavour=plain
[ -z "$plant" ] || flavour=plant
say "packages: looking for what is missing"
if [ -n "$json" ]; then
    run tests/install.sh build >&2 || exit 1
else
    run tests/install.sh build || exit 1
fi
say "building build/$flavour"
run tests/build.sh $flavour control/dunlind bench/dunlin-bench || exit 1

# Why little memory and all speed for that bug: it shows when memory is reused while somebody looks at it.
quota=32MiB
if [ "$plant" = reuse-before-grace ]; then
    quota=8MiB
    pass=(--speed max "${pass[@]}")
fi

dir=$(mktemp -d) || exit 1
cat >"$dir/spaces.yaml" <<EOF
spaces:
  - name: telemetry
    id: 1
    shards: 8
    quota: $quota
  - name: sectors
    id: 2
    shards: 16
    quota: 64MiB
    partition_prefix: 6
EOF

sockets=()
if [ "$nodes" -eq 1 ]; then
    {
        printf 'node:\n  name: demo-1\n  id: 1\n'
        printf 'socket:\n  path: %s\n  mode: 0600\n' "$dir/dunlin.sock"
        cat "$dir/spaces.yaml"
    } >"$dir/dunlind.yaml"
    start=(--config "$dir/dunlind.yaml")
    sockets=(--socket "$dir/dunlin.sock")
else
    start=(dev --nodes "$nodes" --dir "$dir" --spaces "$dir/spaces.yaml")
    [ "$moves" = 0 ] || start+=(--moves "$moves")
    for ((i = 1; i <= nodes; i++)); do
        sockets+=(--socket "$dir/node$i.sock")
    done
fi
DUNLIN_PLANT=$plant setsid -- build/$flavour/control/dunlind "${start[@]}" \
    >"$dir/dunlind.log" 2>&1 </dev/null &
daemon=$!
tries=200
until grep -qx ready "$dir/dunlind.log"; do
    if ! kill -0 $daemon 2>/dev/null || [ $tries -eq 0 ]; then
        echo "demo.sh: dunlind does not start; it said:" >&2
        cat "$dir/dunlind.log" >&2
        exit 1
    fi
    tries=$((tries - 1))
    sleep 0.05
done
few=
[ "$nodes" -eq 1 ] || few="$nodes nodes, "
[ "$nodes" -eq 1 ] || [ "$moves" = 0 ] || few="${few}leaders move every $moves ms, "
say "dunlind runs (${few}pid $daemon${plant:+, planted bug: $plant}); $agents agent processes, $kills of them will be killed"

setsid -- build/$flavour/bench/dunlin-bench fleet "${sockets[@]}" --daemon-pid $daemon \
    --seconds "$seconds" --agents "$agents" --kill "$kills" "${data[@]}" "${pass[@]}" </dev/null &
fleet=$!
wait $fleet
status=$?
fleet=

if ! kill -0 $daemon 2>/dev/null; then
    echo "demo.sh: dunlind died; its last words:" >&2
    tail -n 20 "$dir/dunlind.log" >&2
    status=1
fi
exit $status
